//! Manifests named on the command line: files, directories, standard input. Reads them; their meaning is the business of
//! `api`.

use std::{
    fs, io,
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};

use crate::api::manifest::Source;

/// `-f`, for every subcommand that reads manifests.
#[derive(Debug, clap::Args)]
pub(super) struct Filenames {
    /// Manifest to read: a file, a directory (all its *.yaml, *.yml, *.json), or - for standard input; repeatable
    #[arg(short, long, required = true, value_name = "FILE|DIR|-")]
    filename: Vec<PathBuf>,
}

impl Filenames {
    /// Reads everything, files of a directory in the order of their names.
    ///
    /// # Errors
    /// The first file or directory that cannot be read; a directory without manifests is one.
    pub(super) fn read(&self) -> anyhow::Result<Vec<Source>> {
        let mut sources = Vec::new();
        for path in &self.filename {
            if path.as_os_str() == "-" {
                let mut bytes = Vec::new();
                io::stdin().lock().read_to_end(&mut bytes).context("cannot read standard input")?;
                sources.push(Source { name: "<stdin>".to_owned(), bytes });
            } else if path.is_dir() {
                for file in manifests(path)? {
                    sources.push(file_source(&file)?);
                }
            } else {
                sources.push(file_source(path)?);
            }
        }
        Ok(sources)
    }
}

fn file_source(path: &Path) -> anyhow::Result<Source> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Source { name: path.display().to_string(), bytes })
}

fn manifests(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let context = || format!("cannot read directory {}", dir.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).with_context(context)? {
        let path = entry.with_context(context)?.path();
        let known = path.extension().is_some_and(|e| e == "yaml" || e == "yml" || e == "json");
        let hidden = path.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(b"."));
        if known && !hidden && path.is_file() {
            files.push(path);
        }
    }
    if files.is_empty() {
        bail!("no *.yaml, *.yml or *.json in directory {}", dir.display());
    }
    files.sort();
    Ok(files)
}
