//! Listens to the kernel's notifications and says where to look again, and who was there. Never a source of facts: what a
//! notification says may be overtaken, what was missed is only known to be missed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    future::poll_fn,
    io,
};

use netlink_sys::{AsyncSocket, TokioSocket, protocols::NETLINK_ROUTE};

use super::{
    Kernel,
    convert::{self, RouteHead},
    error::{Failure, KernelError},
    socket::{is_lost, prepare, read},
    uapi::*,
    wire::{Malformed, Message, Messages},
};
use crate::model::{IfName, Link, MacAddr};

/// Room for unread notifications. Setting 1,000 links up makes some 10,000 of about 1 KiB each; more than that is lost and
/// then looked up.
const ROOM: i32 = 8 << 20;

/// Datagrams read before the first of them is acted on, so that a flood cannot hold up the repair.
const AT_ONCE: usize = 16_384;

const GROUPS: [u32; 7] = [
    RTNLGRP_LINK,
    RTNLGRP_IPV4_IFADDR,
    RTNLGRP_IPV6_IFADDR,
    RTNLGRP_IPV4_ROUTE,
    RTNLGRP_IPV6_ROUTE,
    RTNLGRP_IPV4_RULE,
    RTNLGRP_IPV6_RULE,
];

/// A listener in one network namespace.
pub struct Watch {
    socket: TokioSocket,
    buffer: Vec<u8>,
    memory: Memory,
}

/// Why to look again, and where.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wake {
    /// Interfaces whose link, addresses or routes changed.
    pub links: BTreeSet<u32>,
    /// Look at everything: a rule changed, a link came, went or got another name or MAC address, or events were lost.
    pub all: bool,
    /// The kernel had no room for some events (ENOBUFS); implies `all`.
    pub lost: bool,
    /// Who removed something, each once per interface.
    pub by: BTreeSet<Culprit>,
}

impl Wake {
    fn is_empty(&self) -> bool {
        self.links.is_empty() && !self.all
    }

    fn everything(&mut self) {
        self.all = true;
        self.lost = true;
    }
}

/// A process that removed an address, a route or a rule. The kernel names the netlink port only, and only for IPv4
/// addresses, routes and rules; what it removes itself has no culprit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Culprit {
    /// The interface that lost it; 0 for a rule.
    pub ifindex: u32,
    /// Netlink port of the request; for the first socket of most programs it is the process id.
    pub port: u32,
    /// Name of that process (`comm`), where one is found: a program that ended at once, or lives in another PID namespace,
    /// is not.
    pub process: Option<String>,
}

impl fmt::Display for Culprit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.process {
            Some(process) => write!(f, "{process} (netlink port {})", self.port),
            None => write!(f, "a process that is gone (netlink port {})", self.port),
        }
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

impl Watch {
    /// Listens in the network namespace of the calling thread, from now on. Changes made through `kernel` do not wake.
    ///
    /// Open it before the first [`Kernel::observe`], so that no change falls between the two.
    ///
    /// # Errors
    ///
    /// No socket, or the links could not be read.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with IO enabled.
    pub fn open(kernel: &mut Kernel) -> Result<Self, KernelError> {
        let subscribe = || -> io::Result<_> {
            let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
            prepare(socket.socket_mut(), ROOM)?;
            for group in GROUPS {
                socket.socket_mut().add_membership(group)?;
            }
            Ok(socket)
        };
        let socket = subscribe().map_err(|e| Failure::Io(e).of("open the notification socket"))?;
        let mut memory = Memory { own: kernel.requests.port(), links: BTreeMap::new() };
        for link in kernel.dump_links()? {
            memory.links.insert(link.ifindex, identity(link));
        }
        Ok(Self { socket, buffer: Vec::with_capacity(64 * 1024), memory })
    }

    /// Waits until there is a reason to look again, and gathers all that is pending. Cancel safe.
    ///
    /// # Errors
    ///
    /// The socket failed; open a new one.
    pub async fn next(&mut self) -> Result<Wake, KernelError> {
        loop {
            let mut wake = Wake::default();
            self.buffer.clear();
            let Self { socket, buffer, memory } = self;
            // Waits for the first datagram; what is pending behind it is there already.
            let first = poll_fn(|cx| socket.poll_recv(cx, buffer)).await;
            memory.take(first.map_err(Failure::Io), buffer, &mut wake)?;
            let mut count = 0;
            // After an overrun the kernel drops all that comes, without another word, until the queue is empty: only then
            // is a look at the state newer than what is missed.
            while wake.lost || count < AT_ONCE {
                let next = read(socket.socket_ref(), buffer);
                if !memory.take(next, buffer, &mut wake)? {
                    break;
                }
                count += 1;
            }
            if !wake.is_empty() {
                return Ok(wake);
            }
        }
    }
}

/// What tells a link from another to those who look for it.
type Identity = (IfName, Option<MacAddr>);

fn identity(link: Link) -> Identity {
    (link.name, link.mac)
}

/// What the listener must know to tell what matters.
#[derive(Debug)]
struct Memory {
    /// Port of our requests.
    own: u32,
    links: BTreeMap<u32, Identity>,
}

impl Memory {
    /// Takes note of one read; false when there was nothing to read.
    fn take(
        &mut self,
        result: Result<(), Failure>,
        datagram: &[u8],
        wake: &mut Wake,
    ) -> Result<bool, KernelError> {
        match result {
            Ok(()) => self.note(datagram, wake),
            Err(Failure::Io(e)) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(Failure::Io(e)) if !is_lost(&e) => return Err(Failure::Io(e).of("read notifications")),
            Err(_) => wake.everything(),
        }
        Ok(true)
    }

    fn note(&mut self, datagram: &[u8], wake: &mut Wake) {
        for message in Messages(datagram) {
            // What cannot be read is as good as lost.
            if message.and_then(|message| self.message(&message, wake)).is_err() {
                wake.everything();
            }
        }
    }

    fn message(&mut self, message: &Message<'_>, wake: &mut Wake) -> Result<(), Malformed> {
        if message.port == self.own {
            return Ok(());
        }
        match message.kind {
            RTM_NEWLINK | RTM_DELLINK => self.link(message, wake)?,
            RTM_NEWADDR | RTM_DELADDR => {
                let ifindex = convert::ifindex(message.body)?;
                wake.links.insert(ifindex);
                if message.kind == RTM_DELADDR {
                    blame(ifindex, message.port, wake);
                }
            }
            RTM_NEWROUTE | RTM_DELROUTE => {
                let RouteHead { relevant, protocol, oifs } = convert::route_head(message.body)?;
                // The kernel's own routes follow an address or a link, whose event says the same.
                if !relevant || (message.port == 0 && protocol == RTPROT_KERNEL) {
                    return Ok(());
                }
                // A route without an interface (through a next hop object, say) can be anywhere.
                wake.all |= oifs.is_empty();
                for ifindex in oifs {
                    wake.links.insert(ifindex);
                    if message.kind == RTM_DELROUTE {
                        blame(ifindex, message.port, wake);
                    }
                }
            }
            RTM_NEWRULE | RTM_DELRULE => {
                wake.all = true;
                if message.kind == RTM_DELRULE {
                    blame(0, message.port, wake);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn link(&mut self, message: &Message<'_>, wake: &mut Wake) -> Result<(), Malformed> {
        // Bridges report their ports as links of their own family, and a port that leaves as a removal.
        if message.body.first() != Some(&AF_UNSPEC) {
            return Ok(());
        }
        let ifindex = convert::ifindex(message.body)?;
        if message.kind == RTM_DELLINK {
            self.links.remove(&ifindex);
            wake.all = true;
        } else {
            let identity = identity(convert::link(message.body)?);
            let before = self.links.insert(ifindex, identity.clone());
            wake.all |= before != Some(identity);
        }
        wake.links.insert(ifindex);
        Ok(())
    }
}

/// Notes who did it, unless it was the kernel itself.
fn blame(ifindex: u32, port: u32, wake: &mut Wake) {
    if port == 0 {
        return;
    }
    // A burst has one author: look its name up once.
    let known = wake.by.iter().find(|culprit| culprit.port == port).map(|culprit| culprit.process.clone());
    let process = known.unwrap_or_else(|| process(port));
    wake.by.insert(Culprit { ifindex, port, process });
}

/// The process behind a port, at best: the kernel gives a program's first socket its process id as port, and further ones
/// numbers from the upper half; libnl puts a counter into the upper ten bits.
fn process(port: u32) -> Option<String> {
    const PID_BITS: u32 = 22;
    if port > u32::MAX / 2 {
        return None;
    }
    let pid = port & ((1 << PID_BITS) - 1);
    let comm = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(comm.trim_end().to_owned())
}

#[cfg(test)]
mod tests;
