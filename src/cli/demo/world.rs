//! The network that is played: two SFs with their representors on a switch, and behind it a gateway in a namespace of its
//! own.
//!
//! ```text
//!  enp3s0f0s10 == en3f0pf0sf10 --+
//!                                br-sfc -- p0 == gw0 | the gateway's namespace
//!  enp3s0f0s11 == en3f0pf0sf11 --+
//! ```

use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, Ipv4Addr, UdpSocket},
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::{Context, bail};
use ipnet::IpNet;
use nix::{
    sched::{CloneFlags, unshare},
    unistd::gettid,
};
use tokio::time::timeout;

use crate::{
    kernel::{Kernel, VethPeer},
    model::{Address, IfName, Ipv4Key, Link, MacAddr, Step},
};

/// The service whose SF it is, and its netdevs as udev names them on a BlueField.
pub(super) struct Sf {
    pub(super) service: &'static str,
    pub(super) netdev: &'static str,
    representor: &'static str,
    mac: MacAddr,
}

/// The SFs of the world.
pub(super) const SFS: [Sf; 2] = [
    Sf {
        service: "producer",
        netdev: "enp3s0f0s10",
        representor: "en3f0pf0sf10",
        mac: MacAddr([2, 0, 0, 0, 0, 10]),
    },
    Sf {
        service: "consumer",
        netdev: "enp3s0f0s11",
        representor: "en3f0pf0sf11",
        mac: MacAddr([2, 0, 0, 0, 0, 11]),
    },
];
/// As DPF names the bridge of its service chains.
const SWITCH: &str = "br-sfc";
const UPLINK: &str = "p0";
const GATEWAY: &str = "gw0";
/// The well-known echo service (RFC 862).
const ECHO: u16 = 7;
/// Tries to reach the gateway, and how long each may take.
const TRIES: (u32, Duration) = (20, Duration::from_millis(100));

/// The world, in the namespace of this process.
pub(super) struct World {
    /// Indices of the SFs' netdevs, in the order of [`SFS`].
    pub(super) sfs: Vec<u32>,
    pub(super) gateway: Gateway,
}

impl World {
    /// Makes it. The SFs are down and bare: what is to be on them is the agent's business.
    ///
    /// # Errors
    /// The kernel has no bridges or veths.
    pub(super) fn make() -> anyhow::Result<Self> {
        let mut kernel = Kernel::open()?;
        let name = |text: &str| text.parse::<IfName>();
        kernel.add_bridge(&name(SWITCH)?)?;
        let switch = index(&links(&mut kernel)?, SWITCH)?;
        // A bridge is also an interface of this host, and would answer ARP requests for the SFs. A switch does not.
        let silent = Step::SetIpv4 { ifindex: switch, key: Ipv4Key::ArpIgnore, value: 8 };
        take(&mut kernel, &[silent])?;
        for sf in &SFS {
            let peer = VethPeer { name: &name(sf.netdev)?, mac: Some(sf.mac), task: None };
            kernel.add_veth(&name(sf.representor)?, switch, peer)?;
        }
        let mut gateway = Gateway::start()?;
        let peer = VethPeer { name: &name(GATEWAY)?, mac: None, task: Some(gateway.thread) };
        kernel.add_veth(&name(UPLINK)?, switch, peer)?;
        gateway.connect()?;
        let links = links(&mut kernel)?;
        // Local addresses are reached through it.
        up(&mut kernel, index(&links, "lo")?)?;
        let sfs = SFS.iter().map(|sf| index(&links, sf.netdev)).collect::<anyhow::Result<_>>()?;
        Ok(Self { sfs, gateway })
    }
}

/// The gateway: a thread in another network namespace that answers whoever reaches it.
pub(super) struct Gateway {
    kernel: Kernel,
    thread: u32,
    ifindex: u32,
    address: Option<Address>,
}

impl Gateway {
    fn start() -> anyhow::Result<Self> {
        let (tx, rx) = mpsc::channel();
        thread::spawn(move || match open() {
            Ok((kernel, socket)) => {
                // The thread holds the namespace, and ends with the process.
                let _ = tx.send(Ok((kernel, gettid().as_raw())));
                let mut buffer = [0; 64];
                while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                    let _ = socket.send_to(&buffer[..length], from);
                }
            }
            Err(error) => {
                let _ = tx.send(Err(error));
            }
        });
        let (kernel, thread) = rx.recv()??;
        Ok(Self { kernel, thread: thread.try_into()?, ifindex: 0, address: None })
    }

    fn connect(&mut self) -> anyhow::Result<()> {
        self.ifindex = index(&links(&mut self.kernel)?, GATEWAY)?;
        up(&mut self.kernel, self.ifindex)
    }

    /// Gives it this address and takes the one before.
    pub(super) fn set(&mut self, address: IpNet) -> anyhow::Result<()> {
        let new =
            Address { ifindex: self.ifindex, address, noprefixroute: false, dad_failed: false, protocol: 0 };
        if self.address.as_ref() == Some(&new) {
            return Ok(());
        }
        let old = self.address.replace(new.clone()).map(Step::DelAddress);
        let steps: Vec<Step> = old.into_iter().chain([Step::AddAddress(new)]).collect();
        take(&mut self.kernel, &steps)
    }

    /// The MAC address from which `address` reached it last, by its ARP table.
    pub(super) fn mac_of(&self, address: IpAddr) -> anyhow::Result<Option<MacAddr>> {
        let table = fs::read_to_string(format!("/proc/self/task/{}/net/arp", self.thread))?;
        // IP address, HW type, Flags, HW address, Mask, Device
        let columns = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let entry = columns.into_iter().find(|c| c.first() == Some(&address.to_string().as_str()));
        Ok(entry.and_then(|c| c.get(3)?.parse().ok()))
    }
}

/// What the gateway works with, opened in a new namespace of the calling thread.
fn open() -> anyhow::Result<(Kernel, UdpSocket)> {
    unshare(CloneFlags::CLONE_NEWNET).context("make the gateway's network namespace")?;
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, ECHO)).context("open the gateway's socket")?;
    Ok((Kernel::open()?, socket))
}

/// Whether the gateway answers to a packet that carries the address `from`.
pub(super) async fn answers(from: IpAddr, gateway: IpAddr) -> anyhow::Result<bool> {
    let socket = tokio::net::UdpSocket::bind((from, 0)).await.with_context(|| format!("bind to {from}"))?;
    socket.connect((gateway, ECHO)).await?;
    for _ in 0..TRIES.0 {
        // While there is no answer to the ARP request, sending fails.
        let _ = socket.send(b"dpu-ipam").await;
        if let Ok(Ok(8)) = timeout(TRIES.1, socket.recv(&mut [0; 64])).await {
            return Ok(true);
        }
    }
    Ok(false)
}

fn links(kernel: &mut Kernel) -> anyhow::Result<BTreeMap<u32, Link>> {
    Ok(kernel.observe()?.links)
}

fn index(links: &BTreeMap<u32, Link>, name: &str) -> anyhow::Result<u32> {
    let link = links.values().find(|link| link.name.as_str() == name);
    Ok(link.with_context(|| format!("the kernel made no {name}"))?.ifindex)
}

fn up(kernel: &mut Kernel, ifindex: u32) -> anyhow::Result<()> {
    take(kernel, &[Step::LinkUp { ifindex }])
}

/// Takes steps that are nobody's: with the protocol of what an administrator sets (RTPROT_STATIC).
pub(super) fn take(kernel: &mut Kernel, steps: &[Step]) -> anyhow::Result<()> {
    const STATIC: u8 = 4;
    for result in kernel.apply(steps, STATIC) {
        if let Err(error) = result {
            bail!(error);
        }
    }
    Ok(())
}
