//! `dpu-ipam`: puts the addresses that a DPU cluster assigned to its node on the scalable functions (SFs) of a
//! BlueField DPU, and keeps them right.
//!
//! # The way of the data
//!
//! `source -> assignment -> leases -> desired -> plan -> apply -> observe -> status -> report`
//!
//! One pass reads all inputs, computes, saves the store *before* an address becomes visible, applies, observes and plans
//! again (what is left is the failure report). Every wake-up only means "look again", perhaps at one interface: events carry
//! no facts.
//!
//! # The rooms, top floor first; imports point down only
//!
//! | room | owns |
//! |---|---|
//! | [`cli`] | arguments and output, one file per subcommand |
//! | [`agent`] | the node's loop |
//! | [`source`], [`report`] | where the assignment comes from, where the status goes to |
//! | [`config`] | flags, environment and file, checked |
//! | [`sf`] | finds SF netdevs in sysfs |
//! | [`kernel`] | the only room with netlink |
//! | [`store`] | what must survive a restart |
//! | [`api`] | Kubernetes objects as on the wire, and what a set of them gives to a node |
//! | [`engine`] | pure: assignment, leases, desired state, plan, status |
//! | [`model`] | the nouns, with fallible constructors |
//! | [`pool`] | pure: address ranges, validation and split of pools |
//!
//! `pool`, `model` and `engine` know no tokio, kube, netlink, file system, environment, clock, randomness or logging: time
//! comes in as an argument. Rooms on one floor do not import each other. A test (`tests/tidy.rs`) keeps both rules.
//!
//! # Invariants
//!
//! 1. Absence is not deletion: a pool that is gone, cleared, undecodable or unreachable leaves its addresses in place.
//! 2. No two owners: a lease stays in its slice, is no gateway (unless asked), not excluded, held once, and not reused
//!    before its quarantine ends.
//! 3. A pool that is added again gives every binding the address that it had.
//! 4. Nothing destructive before the first complete snapshot of source and kernel.
//! 5. What the agent did not put there it never changes or removes.
//! 6. The store is never the reason that a node is down.
//! 7. State belongs to one identity; on a mismatch nothing stored is used.
//! 8. Stopping, crashing or upgrading the agent leaves the network as it is.
//! 9. One bad SF, pool or binding never stops the others.

pub mod api;
pub mod cli;
pub mod config;
pub mod engine;
pub mod model;
pub mod pool;
pub mod sf;
pub mod source;
pub mod store;
