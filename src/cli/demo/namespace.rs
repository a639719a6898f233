//! The private network namespace: made for this process, checked to be new. Must run while the process has one thread.

use std::{fs, io, path::PathBuf};

use anyhow::{Context, anyhow, ensure};
use nix::{
    errno::Errno,
    sched::{CloneFlags, unshare},
    unistd::{getegid, geteuid},
};

use crate::kernel::Kernel;

/// In which namespaces the process is now.
pub(super) struct Entered {
    /// A user namespace had to be made as well.
    pub(super) user: bool,
}

/// Moves the process into a new network namespace; where that needs more rights, into a new user namespace that has them.
///
/// # Errors
/// The system forbids it, or what was made is not new.
pub(super) fn enter() -> anyhow::Result<Entered> {
    let before = current()?;
    let user = match unshare(CloneFlags::CLONE_NEWNET) {
        Ok(()) => false,
        Err(Errno::EPERM) => {
            enter_as_user().map_err(|error| forbidden(&error))?;
            true
        }
        Err(errno) => return Err(forbidden(&errno.into())),
    };
    // Nothing is done before it is certain that these are not the machine's own interfaces. (A new namespace may have more
    // than `lo`, as tunnel drivers put a device into each; but nothing is up and nothing has an address.)
    ensure!(current()? != before, "the network namespace is still the old one; nothing was done");
    let mut kernel = Kernel::open()?;
    let there = kernel.observe()?;
    let untouched = there.addresses.is_empty() && there.links.values().all(|link| !link.up);
    ensure!(untouched, "the network namespace is not new; nothing was done");
    if !kernel.probe()?.may_change {
        return Err(forbidden(&io::ErrorKind::PermissionDenied.into()));
    }
    Ok(Entered { user })
}

/// The same user, as root of a new user namespace.
fn enter_as_user() -> io::Result<()> {
    let (uid, gid) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET)?;
    // Without this the kernel refuses a group map to the unprivileged (user_namespaces(7)).
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    fs::write("/proc/self/gid_map", format!("0 {gid} 1"))
}

/// What to do where the system says no.
fn forbidden(why: &io::Error) -> anyhow::Error {
    anyhow!(
        "a private network namespace cannot be made ({why}): run as root, or allow user namespaces (sysctl \
         user.max_user_namespaces; Debian: kernel.unprivileged_userns_clone; Ubuntu: \
         kernel.apparmor_restrict_unprivileged_userns; in a container CAP_SYS_ADMIN)"
    )
}

/// What names the network namespace.
fn current() -> anyhow::Result<PathBuf> {
    fs::read_link("/proc/self/ns/net").context("read /proc/self/ns/net")
}
