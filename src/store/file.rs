//! The files of the state directory: read, replace, put aside. Knows nothing of what is in them.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use super::{StoreError, Unusable};

/// How many unusable files are kept.
const SIDELINED: u32 = 3;

/// One of the two generations.
#[derive(Debug, Clone, Copy)]
pub(super) enum Generation {
    Current,
    Previous,
}

impl Generation {
    pub(super) fn path(self, dir: &Path) -> PathBuf {
        dir.join(match self {
            Self::Current => "state.json",
            Self::Previous => "state.json.previous",
        })
    }

    /// Its bytes; `None` if there is none.
    pub(super) fn read(self, dir: &Path) -> Result<Option<Vec<u8>>, Unusable> {
        match fs::read(self.path(dir)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Moves it to `state.json.sidelined-1`; those that are there move up, and only the oldest is lost.
    pub(super) fn sideline(self, dir: &Path) -> Result<PathBuf, StoreError> {
        let place = |n| sidelined_path(dir, n);
        for n in (1..SIDELINED).rev() {
            match fs::rename(place(n), place(n + 1)) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    return Err(StoreError::io("move", &place(n))(e));
                }
                _ => {}
            }
        }
        let path = self.path(dir);
        fs::rename(&path, place(1)).map_err(StoreError::io("move", &path))?;
        Ok(place(1))
    }
}

/// What was put aside, the newest first, as far as it can be read.
pub(super) fn sidelined(dir: &Path) -> impl Iterator<Item = Vec<u8>> {
    (1..=SIDELINED).filter_map(move |n| fs::read(sidelined_path(dir, n)).ok())
}

fn sidelined_path(dir: &Path, n: u32) -> PathBuf {
    dir.join(format!("state.json.sidelined-{n}"))
}

/// One operation of [`replace`].
pub(super) type Operation = fn(&Path, &File, &[u8]) -> Result<(), StoreError>;

/// The operations of [`replace`], in order. After a crash behind any of them a generation is there: the new one is
/// complete on the disk before the current one moves, and while there is no current one the previous one is the last
/// that was saved.
pub(super) const REPLACE: [Operation; 4] = [write, keep_previous, make_current, sync_dir];

/// Puts `bytes` in the place of the current generation, which becomes the previous one.
pub(super) fn replace(dir: &Path, handle: &File, bytes: &[u8]) -> Result<(), StoreError> {
    for operation in REPLACE {
        if let Err(e) = operation(dir, handle, bytes) {
            // Half a file must not fill the disk for others.
            let _ = fs::remove_file(new(dir));
            return Err(e);
        }
    }
    Ok(())
}

fn new(dir: &Path) -> PathBuf {
    dir.join("state.json.new")
}

fn write(dir: &Path, _: &File, bytes: &[u8]) -> Result<(), StoreError> {
    let path = new(dir);
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&path)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_data()));
    written.map_err(StoreError::io("write", &path))
}

fn keep_previous(dir: &Path, _: &File, _: &[u8]) -> Result<(), StoreError> {
    let path = Generation::Current.path(dir);
    match fs::rename(&path, Generation::Previous.path(dir)) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(StoreError::io("move", &path)(e)),
        _ => Ok(()),
    }
}

fn make_current(dir: &Path, _: &File, _: &[u8]) -> Result<(), StoreError> {
    let path = new(dir);
    fs::rename(&path, Generation::Current.path(dir)).map_err(StoreError::io("move", &path))
}

fn sync_dir(dir: &Path, handle: &File, _: &[u8]) -> Result<(), StoreError> {
    handle.sync_all().map_err(StoreError::io("fsync", dir))
}
