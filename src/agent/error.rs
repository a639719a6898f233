//! Why the agent, or a pass of it, ends.

use std::io;

use crate::{kernel::KernelError, sf::SfError, store::StoreError};

/// Why the agent ends.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The kernel's state cannot be read, or the netlink sockets cannot be had.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The first pass could not read something.
    #[error(transparent)]
    Pass(#[from] PassError),
    /// Another instance runs.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nothing may be changed here.
    #[error("not allowed to change network settings: run as root, or give the process CAP_NET_ADMIN")]
    NotPermitted,
    /// Signals or inotify.
    #[error("cannot {operation}: {source}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// Why a pass was given up before it changed anything.
#[derive(Debug, thiserror::Error)]
pub enum PassError {
    /// The kernel cannot be read.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The SFs cannot be read.
    #[error(transparent)]
    Sf(#[from] SfError),
}
