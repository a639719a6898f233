//! What must survive a restart: one file, versioned and checksummed, replaced in one piece, with the generation before
//! it beside it. A bad file is never the reason that a node is down: it is put aside, and the agent goes on. Never
//! decides what is in the file.
//!
//! The directory (mode 0700) holds
//!
//! | file | what |
//! |---|---|
//! | `state.json` | the current generation |
//! | `state.json.previous` | the one before |
//! | `state.json.new` | one that is being written; never read |
//! | `state.json.sidelined-1` to `-3` | files that could not be used, the latest first |
//! | `pid` | who holds the directory, for the message to a second instance |
//!
//! A generation is a line `dpu-ipam-state <version> <length> <crc32>` and then `length` bytes of JSON.

mod file;
mod format;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    fs::{self, DirBuilder, File, TryLockError},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    engine::{assignment::Assignment, lease::LeaseBook, plan::Owned},
    model::{NodeName, Timestamp},
};
use file::Generation;
pub use format::Unusable;

/// Everything that the store keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// Whose state this is.
    pub identity: Identity,
    /// `/proc/sys/kernel/random/boot_id` when it was written.
    pub boot_id: String,
    /// Leases, quarantine and slots.
    #[serde(default)]
    pub leases: LeaseBook,
    /// The last good assignment, which carries on while the source is lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assignment: Option<Assignment>,
    /// Since when it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assignment_time: Option<Timestamp>,
    /// What the agent put into the kernel during this boot.
    #[serde(default)]
    pub owned: Owned,
}

impl State {
    /// One that knows nothing yet.
    #[must_use]
    pub fn empty(identity: Identity, boot_id: String) -> Self {
        Self {
            identity,
            boot_id,
            leases: LeaseBook::default(),
            assignment: None,
            assignment_time: None,
            owned: Owned::default(),
        }
    }
}

/// To whom a state belongs. What is not known is `None` and agrees with everything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// Node name.
    pub node: NodeName,
    /// UID of the Node object: another one means that the node was deleted and made again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_uid: Option<String>,
    /// Serial number of the DPU: another one means that a disk image was copied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dpu_serial: Option<String>,
}

impl Identity {
    /// Whether both can be the same.
    fn agrees(&self, other: &Self) -> bool {
        let same = |a: &Option<String>, b: &Option<String>| a.is_none() || b.is_none() || a == b;
        self.node == other.node
            && same(&self.node_uid, &other.node_uid)
            && same(&self.dpu_serial, &other.dpu_serial)
    }

    /// Ours, with what only the stored one knows: a UID learned once must be able to disagree later.
    fn completed_by(&self, stored: Self) -> Self {
        Self {
            node: self.node.clone(),
            node_uid: self.node_uid.clone().or(stored.node_uid),
            dpu_serial: self.dpu_serial.clone().or(stored.dpu_serial),
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {}", self.node)?;
        if let Some(uid) = &self.node_uid {
            write!(f, ", UID {uid}")?;
        }
        if let Some(serial) = &self.dpu_serial {
            write!(f, ", serial number {serial}")?;
        }
        Ok(())
    }
}

/// Why the store cannot be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another instance has it.
    #[error(
        "another dpu-ipam{} is at work in {}; only one may be",
        pid.map(|pid| format!(" (process {pid})")).unwrap_or_default(),
        dir.display()
    )]
    Held {
        /// The state directory.
        dir: PathBuf,
        /// The other's process id, if it could be read.
        pid: Option<u32>,
    },
    /// The file system refuses.
    #[error("cannot {operation} {}: {source}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The state has no JSON form.
    #[error("encode the state: {0}")]
    Encode(#[from] serde_json::Error),
}

impl StoreError {
    fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { operation, path: path.to_owned(), source }
    }
}

/// Where the loaded state comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Nothing usable is stored: the state is empty.
    Nothing,
    /// The current generation.
    Current,
    /// The generation before: the current one is missing or unusable.
    Previous,
    /// A state of ours that was put aside, as the agent ran under another identity meanwhile.
    Sidelined,
}

/// A stored file that was not used, and where it is now.
#[derive(Debug)]
pub struct Sidelined {
    /// Why.
    pub reason: Unusable,
    /// Its new place; the error if it could not be moved.
    pub kept: Result<PathBuf, StoreError>,
}

impl fmt::Display for Sidelined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kept {
            Ok(path) => write!(f, "stored state not used: {}; it is kept as {}", self.reason, path.display()),
            Err(e) => write!(f, "stored state not used: {}; it stays where it is: {e}", self.reason),
        }
    }
}

/// The answer of [`Store::load`].
#[derive(Debug)]
pub struct Loaded {
    /// What to go on with: of our identity and of this boot.
    pub state: State,
    /// Where it comes from.
    pub origin: Origin,
    /// What was found and not used.
    pub sidelined: Vec<Sidelined>,
}

/// The state directory, held exclusively.
#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    /// Open for its lock and for its fsync.
    handle: File,
    /// The bytes of the current generation, if they were read or written here: the same are not written again.
    current: Option<Vec<u8>>,
}

impl Store {
    /// Makes the directory if it is not there, and takes it for this process.
    ///
    /// The lock is on the directory itself: unlike a lock file it cannot be removed under us, and it works on a file
    /// system that is full or read-only.
    ///
    /// # Errors
    /// Another instance holds it, or it cannot be made or opened.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(StoreError::io("create", dir))?;
        let handle = File::open(dir).map_err(StoreError::io("open", dir))?;
        let pid_file = dir.join("pid");
        match lock(&handle) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let pid = fs::read_to_string(&pid_file).ok().and_then(|text| text.trim().parse().ok());
                return Err(StoreError::Held { dir: dir.to_owned(), pid });
            }
            Err(TryLockError::Error(source)) => return Err(StoreError::io("lock", dir)(source)),
        }
        // Both are niceties that a full or read-only disk may refuse. The mode is for a directory that someone else made.
        let _ = fs::set_permissions(dir, fs::Permissions::from_mode(0o700));
        let _ = File::create(&pid_file).and_then(|mut file| writeln!(file, "{}", std::process::id()));
        Ok(Self { dir: dir.to_owned(), handle, current: None })
    }

    /// Reads the best generation there is. What cannot be used is put aside and named.
    ///
    /// A state of another identity is never used. A state of another boot comes without its records of ownership, as
    /// the reboot took away what they are about.
    #[must_use]
    pub fn load(&mut self, identity: &Identity, boot_id: &str) -> Loaded {
        let mut sidelined = Vec::new();
        let found = find(&self.dir, identity, boot_id, |generation, reason| {
            sidelined.push(Sidelined { reason, kept: generation.sideline(&self.dir) });
        });
        self.current = found.bytes.filter(|_| found.origin == Origin::Current);
        Loaded { state: found.state, origin: found.origin, sidelined }
    }

    /// What [`Self::load`] would give, without the lock and without touching anything: for commands that only look.
    #[must_use]
    pub fn peek(dir: &Path, identity: &Identity, boot_id: &str) -> (State, Origin) {
        let found = find(dir, identity, boot_id, |_, _| {});
        (found.state, found.origin)
    }

    /// Replaces the current generation in one piece and waits until it is on the disk. Does nothing if it is the same.
    /// `true` = written.
    ///
    /// # Errors
    /// The file system refuses (full, read-only). What was stored before stays readable.
    pub fn save(&mut self, state: &State) -> Result<bool, StoreError> {
        let bytes = format::encode(state)?;
        if self.current.as_ref() == Some(&bytes) {
            return Ok(false);
        }
        // Whatever happens next: what is on the disk is no longer known to be `current`.
        self.current = None;
        file::replace(&self.dir, &self.handle, &bytes)?;
        self.current = Some(bytes);
        Ok(true)
    }
}

/// Takes the lock, with a little patience: who looks whether an agent runs ([`is_held`]) has it for a moment, and an agent
/// that is ending for some more.
fn lock(dir: &File) -> Result<(), TryLockError> {
    const TRIES: u32 = 5;
    for _ in 1..TRIES {
        match dir.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(20)),
            other => return other,
        }
    }
    dir.try_lock()
}

/// Whether an agent holds `dir` now.
#[must_use]
pub fn is_held(dir: &Path) -> bool {
    File::open(dir).is_ok_and(|dir| matches!(dir.try_lock(), Err(TryLockError::WouldBlock)))
}

/// The best generation, as ours.
struct Found {
    state: State,
    origin: Origin,
    bytes: Option<Vec<u8>>,
}

/// Looks for the first generation that can be used; `refuse` gets those before it.
fn find(
    dir: &Path,
    identity: &Identity,
    boot_id: &str,
    mut refuse: impl FnMut(Generation, Unusable),
) -> Found {
    let usable = |bytes: &[u8]| {
        let state = format::decode(bytes)?;
        if !state.identity.agrees(identity) {
            let ours = Box::new(identity.clone());
            return Err(Unusable::OtherIdentity { stored: Box::new(state.identity), ours });
        }
        Ok(adopt(state, identity, boot_id))
    };
    for (generation, origin) in
        [(Generation::Current, Origin::Current), (Generation::Previous, Origin::Previous)]
    {
        let state = match generation.read(dir) {
            Ok(None) => continue,
            Ok(Some(bytes)) => usable(&bytes).map(|state| Found { state, origin, bytes: Some(bytes) }),
            Err(e) => Err(e),
        };
        match state {
            Ok(found) => return found,
            Err(reason) => refuse(generation, reason),
        }
    }
    // A start under a wrong name (a host name that came late) put our own state aside.
    let aside = file::sidelined(dir).find_map(|bytes| usable(&bytes).ok());
    let origin = if aside.is_some() { Origin::Sidelined } else { Origin::Nothing };
    let state = aside.unwrap_or_else(|| State::empty(identity.clone(), boot_id.to_owned()));
    Found { state, origin, bytes: None }
}

/// The stored state as ours.
fn adopt(stored: State, identity: &Identity, boot_id: &str) -> State {
    let owned = if stored.boot_id == boot_id { stored.owned } else { Owned::default() };
    State {
        identity: identity.completed_by(stored.identity),
        boot_id: boot_id.to_owned(),
        leases: stored.leases,
        assignment: stored.assignment,
        assignment_time: stored.assignment_time,
        owned,
    }
}
