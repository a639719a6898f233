//! The kernel room against the real kernel, each test in a network namespace of its own, with `ip -json` as the witness.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../common/netns.rs"]
mod netns;

mod apply;
mod link;
mod observe;
mod watch;

use dpu_ipam::{
    kernel::{ErrorKind, Kernel, StepError},
    model::{Address, Route, Rule, Step, TABLE_MAIN},
};

/// The agent's protocol number in these tests.
const OURS: u8 = 133;

fn address(ifindex: u32, address: &str) -> Address {
    Address {
        ifindex,
        address: address.parse().unwrap(),
        noprefixroute: false,
        dad_failed: false,
        protocol: OURS,
    }
}

/// A route in the main table with metric 2000.
fn route(dst: &str, gateway: Option<&str>, oif: u32) -> Route {
    Route {
        table: TABLE_MAIN,
        dst: dst.parse().unwrap(),
        metric: 2000,
        gateway: gateway.map(|g| g.parse().unwrap()),
        oif,
        source: None,
        onlink: false,
        protocol: OURS,
    }
}

fn rule(from: &str, table: u32) -> Rule {
    let from: ipnet::IpNet = from.parse().unwrap();
    let ipv6 = from.addr().is_ipv6();
    Rule { priority: 20_000, from: Some(from), table, ipv6, complex: false, protocol: OURS }
}

/// Applies one step.
fn apply(kernel: &mut Kernel, step: Step) -> Result<(), StepError> {
    let mut results = kernel.apply(&[step], OURS);
    assert_eq!(results.len(), 1);
    results.remove(0)
}

/// Why one step fails.
fn refused(kernel: &mut Kernel, step: Step) -> ErrorKind {
    apply(kernel, step).expect_err("this step must fail").kind()
}
