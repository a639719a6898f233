//! Manifests named on the command line: files, directories, pipes, standard input. Their meaning is the business of `api`.

use std::{fs, io, io::Read, path::PathBuf, slice};

use anyhow::{Context, bail};

use crate::{api::manifest::Source, source::files};

/// `-f`, for every subcommand that cannot do without manifests.
#[derive(Debug, clap::Args)]
pub(super) struct Filenames {
    /// Manifest to read: a file, a directory (all its *.yaml, *.yml, *.json), or - for standard input; repeatable
    #[arg(short, long, required = true, value_name = "FILE|DIR|-")]
    filename: Vec<PathBuf>,
}

impl Filenames {
    /// [`read`] of what the user named.
    ///
    /// # Errors
    /// As there.
    pub(super) fn read(&self) -> anyhow::Result<Vec<Source>> {
        read(&self.filename)
    }
}

/// Reads everything, files of a directory in the order of their names.
///
/// # Errors
/// The first file or directory that cannot be read; a directory without manifests is one.
pub(super) fn read(paths: &[PathBuf]) -> anyhow::Result<Vec<Source>> {
    let mut sources = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            let mut bytes = Vec::new();
            io::stdin().lock().read_to_end(&mut bytes).context("cannot read standard input")?;
            sources.push(Source { name: "<stdin>".to_owned(), bytes });
        } else if fs::metadata(path).is_ok_and(|m| !m.is_file() && !m.is_dir()) {
            // The shell's `<(command)`, which can be read once.
            let name = path.display().to_string();
            let bytes = fs::read(path).with_context(|| format!("cannot read {name}"))?;
            sources.push(Source { name, bytes });
        } else {
            let found = files::read(slice::from_ref(path))?;
            if found.is_empty() {
                bail!("no *.yaml, *.yml or *.json in directory {}", path.display());
            }
            sources.extend(found);
        }
    }
    Ok(sources)
}
