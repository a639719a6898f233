//! A full pass of reading, against the same dumps thrown away; and a look at single links.

use std::{collections::BTreeSet, fmt::Write as _};

use dpu_ipam::kernel::Kernel;
use netlink_sys::Socket;
use nix::libc::{RTM_GETADDR, RTM_GETLINK, RTM_GETROUTE, RTM_GETRULE};

use super::{LINKS, bare, median, netns::Netns, table, timed};

const ROUNDS: usize = 41;

pub(crate) fn run(ns: &Netns) {
    for rules in [false, true] {
        if rules {
            let mut batch = String::new();
            for n in 0..LINKS {
                writeln!(
                    batch,
                    "rule add from 10.{}.{}.1 lookup {} priority 20000",
                    n / 250,
                    n % 250,
                    20_000 + n
                )
                .unwrap();
            }
            ns.ip_batch(&batch);
        }
        let mut kernel = Kernel::open().unwrap();
        let socket = bare::socket(None);
        let (mut ours, mut bare_times, mut ip) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            ours.push(timed(|| assert!(kernel.observe().unwrap().links.len() > LINKS)));
            bare_times.push(timed(|| bare_dumps(&socket)));
            if round < 5 {
                ip.push(timed(|| {
                    for words in
                        ["addr show", "-4 route show table all", "-6 route show table all", "rule show"]
                    {
                        ns.ip_json(words);
                    }
                }));
            }
        }
        table(
            &format!("observe, {LINKS} links{}", if rules { " and as many rules" } else { "" }),
            1,
            &[
                ("Kernel::observe", median(ours)),
                ("bare dumps, thrown away", median(bare_times)),
                ("ip -json (four processes, parsed)", median(ip)),
            ],
        );
    }

    let mut kernel = Kernel::open().unwrap();
    let links: Vec<u32> = kernel.observe().unwrap().links.into_keys().collect();
    let mut rows = Vec::new();
    for (name, count) in [
        ("1 link", 1),
        ("2 links", 2),
        ("8 links", 8),
        ("32 links", 32),
        ("256 links", 256),
        ("all links", LINKS),
    ] {
        let some: BTreeSet<u32> = links.iter().rev().copied().take(count).collect();
        let time = |_| timed(|| assert_eq!(kernel.observe_links(&some).unwrap().links.len(), count));
        rows.push((name, median((0..ROUNDS).map(time).collect())));
    }
    table("observe_links", 0, &rows);
}

/// What [`Kernel::observe`] asks for, received and thrown away.
pub(crate) fn bare_dumps(socket: &Socket) {
    let mut buffer = Vec::with_capacity(65_536);
    let skip_statistics: (u16, &[u8]) = (29, &8_u32.to_ne_bytes());
    assert!(bare::dump(socket, RTM_GETLINK, &[0; 16], &[skip_statistics], &mut buffer) > LINKS);
    bare::dump(socket, RTM_GETADDR, &[0; 8], &[], &mut buffer);
    for family in [2, 10] {
        let unicast = [family, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0];
        bare::dump(socket, RTM_GETROUTE, &unicast, &[], &mut buffer);
        let rules = [family, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        bare::dump(socket, RTM_GETRULE, &rules, &[], &mut buffer);
    }
}
