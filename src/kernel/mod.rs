//! The only room with netlink: reads what the kernel has ([`Kernel::observe`]), executes steps ([`Kernel::apply`]), listens
//! ([`Watch`]) and tells what we may do ([`Kernel::probe`]). Never decides what should be; never touches sysfs or files.
//!
//! # Blocking on purpose
//!
//! Requests are plain system calls in the caller's thread. The kernel works on a route netlink request inside `sendmsg`, so
//! there is nothing to wait for that a second thread or a future could overlap with. Only [`Watch`] is asynchronous.
//!
//! # Few attributes on purpose
//!
//! Messages are packed and read here byte by byte ([`wire`]), as decoding every attribute of 1,000 links costs more than the
//! kernel needs to make them.
//!
//! # Network namespaces
//!
//! A socket belongs to the namespace that the thread was in when it was opened, for good.

mod apply;
mod convert;
mod error;
mod link;
mod observe;
mod probe;
mod request;
mod socket;
mod uapi;
mod watch;
mod wire;

pub use error::{ErrorKind, Failure, KernelError, Refusal, StepError};
pub use link::VethPeer;
pub use probe::Probe;
pub use watch::{Culprit, Wake, Watch};

/// The kernel's network configuration in one network namespace.
#[derive(Debug)]
pub struct Kernel {
    requests: socket::Requests,
}

impl Kernel {
    /// Opens it in the network namespace of the calling thread. Reading needs no privilege, changing needs CAP_NET_ADMIN.
    ///
    /// # Errors
    ///
    /// No netlink socket, or a kernel older than 4.20.
    pub fn open() -> Result<Self, KernelError> {
        let requests =
            socket::Requests::open().map_err(|e| Failure::Io(e).of("open the netlink request socket"))?;
        Ok(Self { requests })
    }
}
