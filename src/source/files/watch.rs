//! An inotify watch on everything that decides what stands under some paths: each directory on the way, each symlink
//! that is followed, and the directories themselves. So a swap of a directory, a symlink far up, or a directory that is
//! made later are all seen. Reads no file.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    ffi::OsString,
    fs, io,
    os::fd::{AsFd, AsRawFd, RawFd},
    path::{Component, Path, PathBuf},
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor},
};
use tokio::{
    io::unix::AsyncFd,
    time::{Instant, timeout_at},
};

use super::{SourceError, is_manifest};

/// A change has come to rest when nothing happened for this long ...
const QUIET: Duration = Duration::from_millis(50);
/// ... or when it has been going on for this long.
const LONGEST: Duration = Duration::from_secs(1);
/// As many symlinks as the kernel follows in one path.
const LINKS: u32 = 40;

/// A watch.
#[derive(Debug)]
pub(super) struct Watch {
    inotify: AsyncFd<Fd>,
    watched: HashMap<WatchDescriptor, Interest>,
    /// When the change began that was seen and not yet told.
    pending: Option<Instant>,
}

/// Which names of a directory matter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Interest {
    names: BTreeSet<OsString>,
    manifests: bool,
}

impl Interest {
    fn covers(&self, event: &InotifyEvent) -> bool {
        match &event.name {
            // The directory itself: gone, moved, unmounted.
            None => true,
            Some(name) => self.names.contains(name) || (self.manifests && is_manifest(Path::new(name))),
        }
    }
}

/// [`AsyncFd`] wants a raw descriptor, which nix's type does not offer.
#[derive(Debug)]
struct Fd(Inotify);

impl AsRawFd for Fd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Watch {
    pub(super) fn new(paths: &[PathBuf]) -> Result<Self, SourceError> {
        let error = |source| SourceError::Watch { path: paths.first().cloned().unwrap_or_default(), source };
        let inotify =
            Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).map_err(|e| error(e.into()))?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe; `Fd` keeps what that asks for: it owns its descriptor"
        )]
        let inotify = AsyncFd::new(Fd(inotify)).map_err(error)?;
        let mut watch = Self { inotify, watched: HashMap::new(), pending: None };
        watch.renew(paths)?;
        Ok(watch)
    }

    /// Keeps what it saw in `self`, so that dropping the future loses nothing.
    pub(super) async fn changed(&mut self, paths: &[PathBuf]) -> Result<(), SourceError> {
        let error = |source| SourceError::Watch { path: paths.first().cloned().unwrap_or_default(), source };
        let mut quiet_at = self.pending.map(|_| Instant::now() + QUIET);
        loop {
            let readable = self.inotify.readable();
            let ready = match self.pending.zip(quiet_at) {
                None => readable.await,
                Some((begun, quiet_at)) => match timeout_at(quiet_at.min(begun + LONGEST), readable).await {
                    Ok(ready) => ready,
                    Err(_rested) => break,
                },
            };
            let relevant = match ready.map_err(error)?.try_io(|fd| Ok(fd.get_ref().0.read_events()?)) {
                Ok(events) => events.map_err(error)?.iter().any(|event| relevant(&self.watched, event)),
                Err(_would_block) => false,
            };
            if relevant {
                let now = Instant::now();
                quiet_at = Some(now + QUIET);
                // A flood of events would always be ahead of the timer.
                if now >= *self.pending.get_or_insert(now) + LONGEST {
                    break;
                }
            }
        }
        self.pending = None;
        self.renew(paths)
    }

    /// Watches what matters now. Looks again until nothing new was found: what changed before a watch began would
    /// otherwise stay unseen.
    fn renew(&mut self, paths: &[PathBuf]) -> Result<(), SourceError> {
        let flags = AddWatchFlags::IN_ONLYDIR
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_MOVE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_ATTRIB
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF;
        let mut points = BTreeMap::new();
        loop {
            let found = points_of(paths);
            if found == points {
                return Ok(());
            }
            let mut watched: HashMap<WatchDescriptor, Interest> = HashMap::new();
            for (dir, interest) in &found {
                match self.inotify.get_ref().0.add_watch(dir, flags) {
                    Ok(wd) => {
                        // Two paths may lead to one directory, which then has one watch.
                        let both = watched.entry(wd).or_default();
                        both.names.extend(interest.names.iter().cloned());
                        both.manifests |= interest.manifests;
                    }
                    // Gone again (the next look sees it), or not ours to look into (reading will say so).
                    Err(Errno::ENOENT | Errno::ENOTDIR | Errno::EACCES) => {}
                    Err(e) => return Err(SourceError::Watch { path: dir.clone(), source: e.into() }),
                }
            }
            for wd in self.watched.keys().filter(|wd| !watched.contains_key(wd)) {
                // It may have ended by itself, with its directory.
                let _ = self.inotify.get_ref().0.rm_watch(*wd);
            }
            self.watched = watched;
            points = found;
        }
    }
}

fn relevant(watched: &HashMap<WatchDescriptor, Interest>, event: &InotifyEvent) -> bool {
    // After an overflow anything may have happened. Of a watch that we ended ourselves nothing is of interest.
    event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW)
        || watched.get(&event.wd).is_some_and(|interest| interest.covers(event))
}

/// Every directory that decides what stands under `paths`.
fn points_of(paths: &[PathBuf]) -> BTreeMap<PathBuf, Interest> {
    let mut points = BTreeMap::new();
    for path in paths {
        let Some(end) = walk(path, &mut points) else { continue };
        let Ok(entries) = fs::read_dir(&end) else { continue };
        points.entry(end.clone()).or_default().manifests = true;
        // Manifests are often symlinks themselves, as in a mounted ConfigMap.
        for entry in entries.filter_map(io::Result::ok) {
            if is_manifest(&entry.path()) && entry.file_type().is_ok_and(|kind| kind.is_symlink()) {
                walk(&entry.path(), &mut points);
            }
        }
    }
    points
}

/// Adds each directory on the way to `path`, with the name that is looked for in it. The place where the way ends;
/// `None` if it breaks off.
fn walk(path: &Path, points: &mut BTreeMap<PathBuf, Interest>) -> Option<PathBuf> {
    let mut here = PathBuf::from("/");
    let mut rest: VecDeque<OsString> = names(path).collect();
    let mut links = 0;
    while let Some(name) = rest.pop_front() {
        if name == ".." {
            here.pop();
            continue;
        }
        points.entry(here.clone()).or_default().names.insert(name.clone());
        let next = here.join(&name);
        if !fs::symlink_metadata(&next).ok()?.is_symlink() {
            here = next;
            continue;
        }
        links += 1;
        if links > LINKS {
            return None;
        }
        let target = fs::read_link(&next).ok()?;
        if target.is_absolute() {
            here = PathBuf::from("/");
        }
        for name in names(&target).collect::<Vec<_>>().into_iter().rev() {
            rest.push_front(name);
        }
    }
    Some(here)
}

/// The names on the way, `..` among them.
fn names(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}
