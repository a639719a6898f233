//! The agent against the real kernel: the built program in network namespaces of its own, with veth pairs as SFs and
//! representors. What the kernel has is asked of `ip`, never of the program under test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

#[path = "../common/netns.rs"]
mod netns;
mod world;

mod apply;
mod contention;
mod drift;
mod inputs;
mod kill;
mod plan;
mod restart;
mod traffic;
