//! Makes links that exist in software only: a bridge, and veth pairs with one end on it. For networks that are played, as
//! in the demonstration; the agent itself never makes a link.

use super::{
    Kernel,
    error::{Failure, KernelError},
    request::link_header,
    uapi::*,
    wire::Writer,
};
use crate::model::{IfName, MacAddr};

/// The far end of a veth pair.
#[derive(Debug, Clone, Copy)]
pub struct VethPeer<'a> {
    /// Its name.
    pub name: &'a IfName,
    /// Its MAC address; `None` = the kernel chooses one.
    pub mac: Option<MacAddr>,
    /// The process or thread whose network namespace it is made in; `None` = the same as the near end.
    pub task: Option<u32>,
}

impl Kernel {
    /// Makes a bridge that is up.
    ///
    /// # Errors
    ///
    /// The kernel refused, or has no bridges.
    pub fn add_bridge(&mut self, name: &IfName) -> Result<(), KernelError> {
        self.add_link("make a bridge", name, |w| {
            w.nest(IFLA_LINKINFO, |w| w.attr(IFLA_INFO_KIND, b"bridge"));
        })
    }

    /// Makes a veth pair: its near end is up and a port of the bridge with index `bridge`, its far end is down.
    ///
    /// # Errors
    ///
    /// The kernel refused, or has no veths.
    pub fn add_veth(&mut self, name: &IfName, bridge: u32, peer: VethPeer<'_>) -> Result<(), KernelError> {
        self.add_link("make a veth pair", name, |w| {
            w.attr_u32(IFLA_MASTER, bridge);
            w.nest(IFLA_LINKINFO, |w| {
                w.attr(IFLA_INFO_KIND, b"veth");
                w.nest(IFLA_INFO_DATA, |w| {
                    w.nest_behind(VETH_INFO_PEER, &link_header(0, 0), |w| {
                        w.attr(IFLA_IFNAME, peer.name.as_str().as_bytes());
                        if let Some(MacAddr(mac)) = peer.mac {
                            w.attr(IFLA_ADDRESS, &mac);
                        }
                        if let Some(task) = peer.task {
                            w.attr_u32(IFLA_NET_NS_PID, task);
                        }
                    });
                });
            });
        })
    }

    fn add_link(
        &mut self,
        operation: &'static str,
        name: &IfName,
        attrs: impl Fn(&mut Writer),
    ) -> Result<(), KernelError> {
        let refused = self.requests.change(1, |_, w, flags, seq| {
            let flags = flags | NLM_F_CREATE | NLM_F_EXCL;
            w.message(RTM_NEWLINK, flags, seq, &link_header(0, IFF_UP), |w| {
                w.attr(IFLA_IFNAME, name.as_str().as_bytes());
                attrs(w);
            });
        });
        match refused.map_err(|e| e.of(operation))?.pop() {
            Some((_, refusal)) => Err(Failure::Refused(refusal).of(operation)),
            None => Ok(()),
        }
    }
}
