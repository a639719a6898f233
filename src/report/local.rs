//! The status as a file in the run-time directory, for `dpu-ipam status` and everything else on this machine.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use tracing::warn;

use crate::engine::status::Status;

/// `status.json`, replaced in one piece. It lives in memory (`/run`), so nothing is synced.
#[derive(Debug)]
pub struct StatusFile {
    path: PathBuf,
    written: Option<Status>,
    failed: bool,
}

impl StatusFile {
    /// The file in `dir`, which is made with the first status.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self { path: dir.join("status.json"), written: None, failed: false }
    }

    /// Writes `status` unless the file says the same but for the time. A failure is logged once and stops nothing.
    pub fn write(&mut self, status: &Status) {
        if self.written.as_ref().is_some_and(|w| Status { time: status.time, ..w.clone() } == *status) {
            return;
        }
        match self.replace(status) {
            Ok(()) => {
                self.written = Some(status.clone());
                self.failed = false;
            }
            Err(error) if !self.failed => {
                warn!("the status cannot be written to {}: {error}", self.path.display());
                self.failed = true;
            }
            Err(_) => {}
        }
    }

    fn replace(&self, status: &Status) -> io::Result<()> {
        if let Some(dir) = self.path.parent() {
            fs::create_dir_all(dir)?;
        }
        let new = self.path.with_extension("json.new");
        fs::write(&new, serde_json::to_vec_pretty(status)?)?;
        fs::rename(&new, &self.path)
    }
}

/// The status that the agent wrote last into `dir`.
///
/// # Errors
/// There is none, or it cannot be read.
pub fn read(dir: &Path) -> io::Result<Status> {
    Ok(serde_json::from_slice(&fs::read(dir.join("status.json"))?)?)
}
