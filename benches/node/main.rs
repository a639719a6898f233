//! The agent and its kernel room against their peers in the same run: `cargo bench --bench node`, as root; a word after `--`
//! chooses a part (`apply`, `observe`, `pass`, `drift`, `footprint`). Works in network namespaces of its own with 1,000 veths
//! (500 pairs, both ends used). Prints medians, and their ratio to the peer that counts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::cast_precision_loss)]

mod apply;
mod bare;
mod drift;
mod footprint;
mod machine;
#[path = "../../tests/common/netns.rs"]
mod netns;
mod observe;
mod pass;

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use dpu_ipam::model::{Address, Link, Route, TABLE_MAIN};
use netns::{Netns, netns};

const LINKS: usize = 1000;
const OURS: u8 = 133;

type Part = fn(&Netns, &[Link]);

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    match words.first().map(String::as_str) {
        Some(footprint::IDLE_PEER) => footprint::idle_peer(),
        Some(drift::BARE_PEER) => drift::bare_peer(),
        _ => {}
    }
    let parts: [(&str, Part); 5] = [
        ("apply", |ns, links| apply::run(ns, links)),
        ("observe", |ns, _| observe::run(ns)),
        ("pass", |ns, links| pass::run(ns, links)),
        ("drift", |_, links| drift::run(&links[..250])),
        ("footprint", |_, links| footprint::run(&links[..256])),
    ];
    for (name, part) in parts.iter().filter(|(name, _)| words.is_empty() || words.iter().any(|w| w == name)) {
        println!("\n== {name}");
        netns(|ns| part(ns, &make_links(ns)));
    }
}

/// 1,000 veths, all up. In the order of their indices.
fn make_links(ns: &Netns) -> Vec<Link> {
    // Duplicate address detection would go on in the background for seconds.
    std::fs::write("/proc/sys/net/ipv6/conf/default/accept_dad", "0").unwrap();
    let mut batch = String::new();
    for n in 0..LINKS / 2 {
        writeln!(batch, "link add name a{n} up type veth peer name b{n}\nlink set b{n} up").unwrap();
    }
    ns.ip_batch(&batch);
    let links = dpu_ipam::kernel::Kernel::open().unwrap().observe().unwrap().links;
    let links: Vec<_> = links.into_values().filter(|link| link.ifindex != 1).collect();
    assert_eq!(links.len(), LINKS);
    links
}

/// The address that the `n`th link gets.
fn address(n: usize, ifindex: u32) -> Address {
    Address {
        ifindex,
        address: format!("10.{}.{}.1/24", n / 250, n % 250).parse().unwrap(),
        noprefixroute: false,
        dad_failed: false,
        protocol: OURS,
    }
}

/// The route that the `n`th link gets.
fn route(n: usize, ifindex: u32) -> Route {
    Route {
        table: TABLE_MAIN,
        dst: format!("20.{}.{}.0/24", n / 250, n % 250).parse().unwrap(),
        metric: 2000,
        gateway: Some(format!("10.{}.{}.254", n / 250, n % 250).parse().unwrap()),
        oif: ifindex,
        source: None,
        onlink: false,
        protocol: OURS,
    }
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Prints rows of names and times; the ratio is to the row with this number.
fn table(title: &str, peer: usize, rows: &[(&str, Duration)]) {
    println!("\n{title}");
    let peer = rows[peer].1.as_secs_f64();
    for (name, time) in rows {
        let time = time.as_secs_f64();
        println!("  {name:<44} {:>10.3} ms {:>7.2} x", time * 1e3, time / peer);
    }
}
