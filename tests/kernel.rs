//! The kernel room against the real kernel, with `ip` as the witness.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "common/netns.rs"]
mod netns;

use dpu_ipam::kernel::Kernel;
use netns::netns;

#[test]
fn smoke() {
    netns(|ns| {
        let (a, _) = ns.veth("sf0", "rep0");
        ns.ip("addr add 10.0.0.2/24 dev sf0");
        ns.ip("route add 10.9.0.0/16 via 10.0.0.1 dev sf0");
        ns.ip("rule add from 10.0.0.2 table 77 priority 5");
        let mut k = Kernel::open().unwrap();
        println!("{:#?}", k.observe().unwrap());
        println!("{:#?}", k.observe_links(&[a, 99].into()).unwrap());
        println!("{:#?}", k.probe().unwrap());
    });
}
