//! Drift: addresses removed by another socket, seen to be back by a third.
//!
//! Our side is the least loop that the room allows: listen, look at the addresses of the interfaces named, put back what is
//! missing, and when it is quiet look at all they have. The peer
//! puts back whatever it hears to be removed, without looking.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use dpu_ipam::{
    kernel::{Kernel, Watch},
    model::{Address, Link, Observed, Step},
};
use netlink_sys::Socket;
use nix::libc::{MSG_DONTWAIT, RTM_DELADDR, RTM_NEWADDR, RTNLGRP_IPV4_IFADDR};

use super::{OURS, bare, median, table};

const SINGLE: usize = 1000;
const BURST: usize = 1000;
const BURSTS: usize = 9;
/// After this long without news the second look comes.
const QUIET: Duration = Duration::from_millis(5);
const REQUEST: u16 = 1;
const CREATE: u16 = 0x600 | REQUEST;

pub(crate) fn run(links: &[Link]) {
    let wanted: Vec<_> = (0..BURST).map(|n| address(n, links[n % links.len()].ifindex)).collect();
    let mut kernel = Kernel::open().unwrap();
    let all: Vec<_> = kernel.observe().unwrap().addresses;
    let old = all.into_iter().filter(|a| a.protocol == OURS).map(Step::DelAddress).collect::<Vec<_>>();
    kernel.apply(&old, OURS);
    let add: Vec<_> = wanted.iter().cloned().map(Step::AddAddress).collect();
    assert!(kernel.apply(&add, OURS).iter().all(Result::is_ok));

    let loops: [fn(&[Address], &AtomicBool); 2] = [our_loop, bare_loop];
    let mut singles = [const { Vec::new() }; 2];
    let mut bursts = [const { Vec::new() }; 2];
    // Alternating, so that noise of the machine hits both.
    for _ in 0..BURSTS {
        for (contender, repair) in loops.iter().enumerate() {
            let stop = AtomicBool::new(false);
            thread::scope(|scope| {
                scope.spawn(|| repair(&wanted, &stop));
                let meddler = Meddler::new();
                meddler.until_repaired(&wanted[..1]);
                for n in 0..SINGLE / BURSTS {
                    singles[contender].push(meddler.until_repaired(&wanted[n * 7 % 256..][..1]));
                }
                bursts[contender].push(meddler.until_repaired(&wanted));
                stop.store(true, Ordering::Relaxed);
                // Wakes it for the last time; the next one finds it missing.
                meddler.remove(&wanted[..1]);
            });
        }
    }
    let [ours, peer] = singles.map(median);
    let rows =
        [("Watch, observe_addresses, apply, observe_links", ours), ("bare listen-and-re-add loop", peer)];
    table(&format!("drift, one address of {} interfaces removed: until it is back", links.len()), 1, &rows);
    let [ours, peer] = bursts.map(median);
    let rows =
        [("Watch, observe_addresses, apply, observe_links", ours), ("bare listen-and-re-add loop", peer)];
    table(&format!("drift, {BURST} addresses removed in one send: until the last is back"), 1, &rows);
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

fn our_loop(wanted: &[Address], stop: &AtomicBool) {
    let mut by_link: BTreeMap<u32, Vec<&Address>> = BTreeMap::new();
    for a in wanted {
        by_link.entry(a.ifindex).or_default().push(a);
    }
    let missing = |observed: &Observed, links: &mut dyn Iterator<Item = &u32>| -> Vec<Step> {
        let there: BTreeSet<_> = observed.addresses.iter().map(|a| (a.ifindex, a.address)).collect();
        links
            .filter_map(|link| by_link.get(link))
            .flatten()
            .filter(|a| !there.contains(&(a.ifindex, a.address)))
            .map(|a| Step::AddAddress((*a).clone()))
            .collect()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut kernel = Kernel::open().unwrap();
        let mut watch = Watch::open(&mut kernel).unwrap();
        let observed = kernel.observe().unwrap();
        kernel.apply(&missing(&observed, &mut by_link.keys()), OURS);
        let mut later = BTreeSet::new();
        loop {
            let Ok(wake) = tokio::time::timeout(QUIET, watch.next()).await else {
                // Quiet: now the look at everything that these links have.
                if !later.is_empty() {
                    let observed = kernel.observe_links(&later).unwrap();
                    kernel.apply(&missing(&observed, &mut later.iter()), OURS);
                    later.clear();
                }
                continue;
            };
            let wake = wake.unwrap();
            let steps = if wake.all {
                missing(&kernel.observe().unwrap(), &mut by_link.keys())
            } else {
                let addresses = kernel.observe_addresses(&wake.links).unwrap();
                missing(&Observed { addresses, ..Observed::default() }, &mut wake.links.iter())
            };
            assert!(kernel.apply(&steps, OURS).iter().all(Result::is_ok));
            later.extend(wake.links);
            if stop.load(Ordering::Relaxed) {
                return;
            }
        }
    });
}

fn bare_loop(wanted: &[Address], stop: &AtomicBool) {
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
    loop {
        buffer.clear();
        listen.recv(&mut buffer, 0).unwrap();
        if u16::from_ne_bytes([buffer[4], buffer[5]]) == RTM_DELADDR {
            // ifaddrmsg, then IFA_ADDRESS first.
            let address: [u8; 4] = buffer[28..32].try_into().unwrap();
            out.clear();
            bare::address(&mut out, by_address[&address], RTM_NEWADDR, CREATE);
            send.send(&out, 0).unwrap();
            if stop.load(Ordering::Relaxed) {
                return;
            }
        }
    }
}
