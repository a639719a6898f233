//! Drift: addresses removed by this process, put back by the agent in a process of its own, seen to be back by a third socket.
//! The peer puts back whatever it hears to be removed, without looking.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read as _,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use dpu_ipam::{
    kernel::Kernel,
    model::{Address, Link},
};
use netlink_sys::Socket;
use nix::libc::{MSG_DONTWAIT, RTM_DELADDR, RTM_NEWADDR, RTNLGRP_IPV4_IFADDR};

use super::{OURS, bare, machine::Machine, median, table};

/// The word that makes this program the peer.
pub(crate) const BARE_PEER: &str = "bare-peer";
const SINGLE: usize = 1000;
const BURST: usize = 1000;
const BURSTS: usize = 9;
const REQUEST: u16 = 1;
const CREATE: u16 = 0x600 | REQUEST;

/// So many addresses has each interface, each of a pool of its own.
const EACH: usize = 4;

pub(crate) fn run(links: &[Link]) {
    assert_eq!(links.len() * EACH, BURST);
    let wanted = wanted(links);
    let pools = |n| {
        let names: Vec<_> = (n * EACH..(n + 1) * EACH).map(|n| format!("{{name: p{n}}}")).collect();
        format!("pool: [{}]", names.join(", "))
    };
    let manifests: Vec<_> = (0..BURST).map(manifest).collect();
    let machine = Machine::new(links, pools, &manifests.join("---\n"));

    let mut singles = [const { Vec::new() }; 2];
    let mut bursts = [const { Vec::new() }; 2];
    // Alternating, so that noise of the machine hits both.
    for _ in 0..BURSTS {
        for contender in 0..2 {
            let mut measure = || {
                let meddler = Meddler::new();
                meddler.until_repaired(&wanted[..1]);
                for n in 0..SINGLE / BURSTS {
                    singles[contender].push(meddler.until_repaired(&wanted[n * 7 % BURST..][..1]));
                }
                bursts[contender].push(meddler.until_repaired(&wanted));
            };
            if contender == 0 {
                let _agent = machine.agent();
                measure();
            } else {
                let mut peer = Command::new(std::env::current_exe().unwrap())
                    .arg(BARE_PEER)
                    .stdout(Stdio::piped())
                    .spawn()
                    .unwrap();
                // It says so when it listens.
                peer.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
                measure();
                peer.kill().unwrap();
                peer.wait().unwrap();
            }
        }
    }
    let names = ["dpu-ipam run, as a process", "bare listen-and-re-add loop, as a process"];
    let [ours, peer] = singles.map(median);
    let title = format!("drift, one address of {} SFs removed: until it is back", links.len());
    table(&title, 1, &[(names[0], ours), (names[1], peer)]);
    let [ours, peer] = bursts.map(median);
    let title = format!(
        "drift, {BURST} addresses of {} SFs removed in one send: until the last is back",
        links.len()
    );
    table(&title, 1, &[(names[0], ours), (names[1], peer)]);
}

/// A prefix with a gateway and a default route by it.
fn manifest(n: usize) -> String {
    format!(
        "apiVersion: nv-ipam.nvidia.com/v1alpha1
kind: CIDRPool
metadata: {{name: p{n}, namespace: dpf-operator-system}}
spec: {{cidr: {}, perNodeNetworkPrefix: 24, gatewayIndex: 254, defaultGateway: true}}
",
        address(n, 0).address.trunc()
    )
}

fn address(n: usize, ifindex: u32) -> Address {
    let address = format!("30.{}.{}.1/24", n / 250, n % 250).parse().unwrap();
    Address { ifindex, address, noprefixroute: false, dad_failed: false, protocol: OURS }
}

/// Removes addresses with one socket and watches with another.
struct Meddler {
    remove: Socket,
    see: Socket,
}

impl Meddler {
    fn new() -> Self {
        Self { remove: bare::socket(None), see: bare::socket(Some(RTNLGRP_IPV4_IFADDR)) }
    }

    fn remove(&self, addresses: &[Address]) {
        let mut out = Vec::new();
        for a in addresses {
            bare::address(&mut out, a, RTM_DELADDR, REQUEST);
        }
        self.remove.send(&out, 0).unwrap();
    }

    fn until_repaired(&self, addresses: &[Address]) -> Duration {
        let mut buffer = Vec::with_capacity(65_536);
        while self.see.recv(&mut buffer, MSG_DONTWAIT).is_ok() {
            buffer.clear();
        }
        let mut missing: BTreeSet<[u8; 4]> = addresses.iter().map(|a| a.ifindex.to_ne_bytes()).collect();
        let mut left = addresses.len();
        let start = Instant::now();
        self.remove(addresses);
        while left > 0 {
            assert!(start.elapsed() < Duration::from_secs(10), "{left} are not back");
            buffer.clear();
            self.see.recv(&mut buffer, 0).unwrap();
            if u16::from_ne_bytes([buffer[4], buffer[5]]) == RTM_NEWADDR {
                left -= 1;
                missing.remove(&buffer[20..24]);
            }
        }
        let time = start.elapsed();
        assert!(missing.is_empty());
        time
    }
}

/// The peer, as a process of its own.
pub(crate) fn bare_peer() -> ! {
    let links: Vec<_> = Kernel::open().unwrap().observe().unwrap().links.into_values().collect();
    let links: Vec<_> = links.into_iter().filter(|link| link.ifindex != 1).take(BURST / EACH).collect();
    bare_loop(&wanted(&links))
}

fn wanted(links: &[Link]) -> Vec<Address> {
    (0..BURST).map(|n| address(n, links[n / EACH].ifindex)).collect()
}

fn bare_loop(wanted: &[Address]) -> ! {
    let listen = bare::socket(Some(RTNLGRP_IPV4_IFADDR));
    let send = bare::socket(None);
    let (mut buffer, mut out) = (Vec::with_capacity(65_536), Vec::new());
    // What was removed before it listened.
    for a in wanted {
        out.clear();
        bare::address(&mut out, a, RTM_NEWADDR, CREATE);
        send.send(&out, 0).unwrap();
    }
    let by_address: BTreeMap<[u8; 4], &Address> = wanted
        .iter()
        .map(|a| match a.address.addr() {
            std::net::IpAddr::V4(addr) => (addr.octets(), a),
            std::net::IpAddr::V6(_) => unreachable!(),
        })
        .collect();
    println!();
    loop {
        buffer.clear();
        listen.recv(&mut buffer, 0).unwrap();
        if u16::from_ne_bytes([buffer[4], buffer[5]]) == RTM_DELADDR {
            // ifaddrmsg, then IFA_ADDRESS first.
            let address: [u8; 4] = buffer[28..32].try_into().unwrap();
            out.clear();
            bare::address(&mut out, by_address[&address], RTM_NEWADDR, CREATE);
            send.send(&out, 0).unwrap();
        }
    }
}
