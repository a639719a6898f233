//! What can go wrong with the kernel, in types. Never decides what to do about it.

use std::{fmt, io, sync::Arc};

use nix::errno::Errno;

use super::wire::Malformed;
use crate::model::Step;

/// Why the kernel's state could not be read or watched. A failed read is never a short answer.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation}: {source}")]
pub struct KernelError {
    /// What was tried, as in "read the addresses".
    pub operation: &'static str,
    /// What happened.
    pub source: Failure,
}

/// What happened to a request.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The system call failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The kernel said no.
    #[error("{0}")]
    Refused(Refusal),
    /// Answers were lost or never came; whether the requests took effect is not known.
    #[error("the kernel's answer was lost")]
    Lost,
    /// The state changed during every attempt.
    #[error("the state kept changing while it was read")]
    Interrupted,
    /// An answer was larger than the receive buffer.
    #[error("the kernel's answer is larger than the receive buffer")]
    Truncated,
    /// An answer is not netlink as it is known here.
    #[error("the kernel's answer is malformed")]
    Malformed,
}

impl From<Malformed> for Failure {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

impl Failure {
    /// Names the operation.
    pub(super) fn of(self, operation: &'static str) -> KernelError {
        KernelError { operation, source: self }
    }
}

/// The kernel's no: its number and, where it gives one, its text (extended acknowledgement).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The error number, positive.
    pub errno: i32,
    /// The kernel's own words; empty when it has none.
    pub text: String,
}

impl Refusal {
    /// What kind of no it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match Errno::from_raw(self.errno) {
            Errno::EEXIST => ErrorKind::Exists,
            Errno::ESRCH | Errno::ENOENT | Errno::EADDRNOTAVAIL => ErrorKind::NotFound,
            Errno::EPERM => ErrorKind::PermissionDenied,
            Errno::ENETUNREACH | Errno::EHOSTUNREACH | Errno::ENETDOWN => ErrorKind::Unreachable,
            Errno::ENODEV | Errno::ENXIO => ErrorKind::NoSuchDevice,
            Errno::EINVAL => ErrorKind::Invalid,
            _ => ErrorKind::Other(self.errno),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kind() == ErrorKind::PermissionDenied {
            return f.write_str("permission denied; changing network settings needs CAP_NET_ADMIN");
        }
        let errno = Errno::from_raw(self.errno).desc();
        if self.text.is_empty() { f.write_str(errno) } else { write!(f, "{} ({errno})", self.text) }
    }
}

/// Why a step failed, as far as a caller decides by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// What was to be added is there already.
    Exists,
    /// What the step works on is not there.
    NotFound,
    /// CAP_NET_ADMIN is missing.
    PermissionDenied,
    /// The gateway cannot be reached through the interface, or the interface is down.
    Unreachable,
    /// The interface is gone.
    NoSuchDevice,
    /// The kernel finds the request wrong: a bug here, or a kernel that lacks a feature.
    Invalid,
    /// The answer was lost; whether the step took effect is not known.
    Lost,
    /// Another error number.
    Other(i32),
}

/// A step that failed.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", step.words(|ifindex| format!("interface {ifindex}")))]
pub struct StepError {
    /// Which step.
    pub step: Box<Step>,
    /// What happened; shared with the other steps of the send where it concerns all of them.
    pub source: Arc<Failure>,
}

impl StepError {
    /// Why, as far as a caller decides by it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match &*self.source {
            Failure::Refused(refusal) => refusal.kind(),
            Failure::Io(error) => ErrorKind::Other(error.raw_os_error().unwrap_or_default()),
            Failure::Lost | Failure::Interrupted | Failure::Truncated | Failure::Malformed => ErrorKind::Lost,
        }
    }
}
