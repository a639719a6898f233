//! Manifests in files and directories: reads them as one consistent set, and says when they changed. What the manifests
//! mean is up to `api`.

mod watch;

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use watch::Watch;

use crate::{
    api::{
        fleet::Fleet,
        manifest::{Source, decode},
    },
    engine::assignment::Assignment,
    model::NodeName,
};

/// How often a set that changes under our eyes is read again before giving up until the next change.
const ATTEMPTS: u32 = 8;

/// Why the files could not be read or watched. What was read before stays true until a read succeeds.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A file or directory is missing or refuses.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A pipe, a device or the like: reading it might never end.
    #[error("cannot read {}: neither a file nor a directory", .0.display())]
    Kind(PathBuf),
    /// The files changed during each of several attempts to read them.
    #[error("the files keep changing while they are read; trying again with the next change")]
    Unstable,
    /// The kernel does not let us watch.
    #[error("cannot watch {}: {source}", path.display())]
    Watch {
        /// What.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl SourceError {
    fn read(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Read { path: path.to_owned(), source }
    }
}

/// Files and directories of manifests, and a watch on them.
#[derive(Debug)]
pub struct FilesSource {
    paths: Vec<PathBuf>,
    watch: Watch,
}

impl FilesSource {
    /// Begins to watch `paths`, which are absolute and need not exist yet. Needs a tokio runtime with I/O.
    ///
    /// # Errors
    /// The kernel's limits of inotify are reached.
    pub fn new(paths: Vec<PathBuf>) -> Result<Self, SourceError> {
        let watch = Watch::new(&paths)?;
        Ok(Self { paths, watch })
    }

    /// Waits until something has changed and has come to rest. It says only "read again"; it may do so without need. A
    /// change that happens before the read that follows is never lost, even if this future is dropped in between.
    ///
    /// # Errors
    /// The watch broke. The files can still be read; the caller looks at them from time to time.
    pub async fn changed(&mut self) -> Result<(), SourceError> {
        self.watch.changed(&self.paths).await
    }

    /// Reads all files, directories in the order of their names. Either the whole set as it stood at one moment, or an
    /// error.
    ///
    /// # Errors
    /// A path is missing, or a file cannot be read or keeps changing.
    pub fn read(&self) -> Result<Vec<Source>, SourceError> {
        read(&self.paths)
    }
}

/// Reads all files and works out what they give to `node`.
///
/// # Errors
/// As [`read`]. What is wrong inside a file is a problem of the assignment instead.
pub fn load(paths: &[PathBuf], node: &NodeName) -> Result<Word, SourceError> {
    Ok(Word::of(&read(paths)?, node))
}

/// What the files say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// What they give to the node, and everything that is wrong with them.
    pub assignment: Assignment,
    /// Every file is whole. If not, one of them is perhaps half written: only what stood before, or nothing, may be
    /// concluded from what is missing in the assignment.
    pub complete: bool,
}

impl Word {
    /// What `sources` give to `node`.
    #[must_use]
    pub fn of(sources: &[Source], node: &NodeName) -> Self {
        let objects = decode(sources);
        Self { assignment: Fleet::build(&objects).assignment(node), complete: !objects.incomplete }
    }
}

/// [`FilesSource::read`] without a watch.
///
/// # Errors
/// As there.
pub fn read(paths: &[PathBuf]) -> Result<Vec<Source>, SourceError> {
    let mut before = list(paths);
    for _ in 0..ATTEMPTS {
        let texts = before.as_deref().ok().map(|stamps| stamps.iter().map(read_one).collect());
        match (before, texts, list(paths)) {
            // Nothing moved meanwhile: what was read, or why it cannot be, is true.
            (Ok(before), Some(texts), Ok(after)) if before == after => return texts,
            (Err(_), _, Err(e)) => return Err(e),
            (_, _, after) => before = after,
        }
    }
    Err(SourceError::Unstable)
}

fn read_one(stamp: &Stamp) -> Result<Source, SourceError> {
    let bytes = fs::read(&stamp.path).map_err(SourceError::read(&stamp.path))?;
    Ok(Source { name: stamp.path.display().to_string(), bytes })
}

/// A file, and by what a change of it shows.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    path: PathBuf,
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// All files that count, in order.
fn list(paths: &[PathBuf]) -> Result<Vec<Stamp>, SourceError> {
    let mut stamps = Vec::new();
    for path in paths {
        if !fs::metadata(path).map_err(SourceError::read(path))?.is_dir() {
            stamps.push(stamp(path)?);
            continue;
        }
        let mut files = Vec::new();
        for entry in fs::read_dir(path).map_err(SourceError::read(path))? {
            let file = entry.map_err(SourceError::read(path))?.path();
            if is_manifest(&file) {
                files.push(stamp(&file)?);
            }
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        stamps.extend(files);
    }
    Ok(stamps)
}

fn stamp(path: &Path) -> Result<Stamp, SourceError> {
    let meta = fs::metadata(path).map_err(SourceError::read(path))?;
    if !meta.is_file() {
        return Err(SourceError::Kind(path.to_owned()));
    }
    Ok(Stamp {
        path: path.to_owned(),
        device: meta.dev(),
        inode: meta.ino(),
        size: meta.size(),
        modified: (meta.mtime(), meta.mtime_nsec()),
        changed: (meta.ctime(), meta.ctime_nsec()),
    })
}

/// Whether a file of a directory counts: `*.yaml`, `*.yml`, `*.json`, and neither hidden nor an editor's own
/// (`.x.yaml.swp`, `x.yaml~`, `#x.yaml#`, which all miss one of the two).
fn is_manifest(path: &Path) -> bool {
    let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    let known = path.extension().is_some_and(|e| e == "yaml" || e == "yml" || e == "json");
    known && !hidden
}
