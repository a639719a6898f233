//! Pools: address ranges, validation, and the split of a pool over nodes. Pure arithmetic on intervals: the time depends
//! on the number of nodes, entries and exclusions, never on the number of addresses or blocks.
//!
//! # Example
//!
//! A pool of 192.168.0.0/20 with 256 addresses per node, split over two nodes, and what the first may lease:
//!
//! ```
//! use dpu_ipam::pool::{Allocation, IpPoolSpec, Node, PoolSpec, slice, split, validate};
//!
//! let spec = PoolSpec::IpPool(IpPoolSpec {
//!     subnet: "192.168.0.0/20".into(),
//!     gateway: "192.168.0.1".into(),
//!     per_node_block_size: 256,
//!     ..Default::default()
//! });
//! assert!(validate("pool1", &spec).is_empty());
//!
//! let nodes = ["dpu-2", "dpu-1"].map(|name| Node { name: name.into(), labels: Default::default() });
//! let split = split("pool1", &spec, None, &nodes);
//! let block = |node_name: &str, start: &str, end: &str| Allocation::Block {
//!     node_name: node_name.into(),
//!     start: start.into(),
//!     end: end.into(),
//! };
//! assert_eq!(
//!     split.allocations,
//!     [block("dpu-1", "192.168.0.1", "192.168.1.0"), block("dpu-2", "192.168.1.1", "192.168.2.0")],
//! );
//!
//! let slice = slice(&spec, &split.allocations[0])?;
//! let first = slice.free_from(0).next();
//! assert_eq!(first, "192.168.0.2".parse().ok(), "192.168.0.1 is the gateway");
//! assert_eq!(slice.capacity(), 255);
//! # Ok::<(), dpu_ipam::pool::SliceError>(())
//! ```
//!
//! # Equal to nv-ipam
//!
//! Validation and split are those of nv-ipam, texts included, as recorded in `tests/vectors/`: nodes are served in the
//! order of their names, each gets the lowest free block, standing entries that are right stay, nothing else is
//! remembered. `tests/vectors.rs` runs every recorded case.
//!
//! # Better than nv-ipam
//!
//! Where nv-ipam can lose an address or give it to two nodes, this room differs:
//!
//! | when | nv-ipam | here | cases |
//! |---|---|---|---|
//! | the spec is invalid | empties the status; after the repair all is dealt again | everything stands as it is, `InvalidSpec` | `ip-invalid-clears`, `ip-chain-invalid-restore/03`, `cidr-invalid`, `cidr-chain-prefix/04`, `cidr-chain-invalid/03`, `cidr-rand-0009`, `cidr-rand-0019`, `cidr-rand-0034` |
//! | the selector cannot be evaluated (bad label value, `Gt` or `Lt` without integer) | silently drops the nodes | a node that no other term matches keeps its entry and gets no new one; `InvalidSelector` | `ip-sel-gt-bad`, `ip-sel-gt-bad-or`, `ip-sel-in-bad-value`, `ip-sel-bad-value-drops`, `cidr-sel-bad` |
//! | a prefix is not written in canonical form | gives it away a second time, as it compares texts | compares values; the text stays as written, because nv-ipam's node daemon compares it with the spec's | `cidr-static-noncanonical`, `cidr-static-noncanonical-reserved`, `cidr-static-leadingzero`, `cidr-keep-noncanonical`, `cidr-chain-noncanonical/03` |
//! | only the gateway of a prefix is wrong, as after an edit of `gatewayIndex` | deals the prefix again, so that prefixes change hands | keeps the prefix, rewrites the gateway | `cidr-drop-nogw`, `cidr-drop-wronggw`, `cidr-drop-gw-unexpected`, `cidr-chain-gi/03`, `cidr-rand-0007`, `cidr-rand-0018`, `cidr-rand-0023`, `cidr-rand-0028` |
//! | a prefix is listed for two nodes, one of them perhaps gone | drops both | the first entry of a served node keeps it | `cidr-drop-dupprefix`, `cidr-drop-staleconflict`, `cidr-rand-0014`, `cidr-rand-0032` |
//! | a node is listed twice | IPPool: moves it to its last block, gives the other away one pass later; CIDRPool: drops both | its first good entry stays: the one that its daemon serves; the others are free at once | `ip-drop-same-node-twice`, `ip-drop-same-node-twice-full`, `cidr-drop-dupnode`, `cidr-rand-0013`, `cidr-rand-0026` |
//! | a standing block ends on the broadcast address | the node leases it | the block stays, so that nobody moves, and [`slice()`] excludes the address | `ip-broadcast-block` |
//! | exclusions overlap, cross a prefix's border or span it | the node refuses everything, or leases excluded addresses | joined and clipped | `ip-ex-overlap`, `ip-pne-overlap-ex`, `cidr-ex-cross-network`, `cidr-ex-cross-broadcast`, `cidr-ex-overlap`, `cidr6-ex-cross`, `cidr-ex-spanning-static` |
//! | the entry of an IPPool is no range of its subnet | taken unchecked, every allocation fails | [`SliceError`] | `ip-badrange` |
//! | a block lies more than 2^53 addresses from the start | its place is computed in floats, it may be dropped | whole numbers | |
//! | huge or whole exclusions | walks for hours, or its arithmetic overflows | answers at once | |
//! | the network is written as IPv4-mapped IPv6 | crashes, or finds nothing free | it is the IPv4 network, lengths less 96 | |

mod exclusions;
mod field;
mod intervals;
mod labels;
mod network;
mod parse;
mod range;
mod selector;
mod slice;
mod spec;
mod split;
mod validate;

pub use field::{ErrorKind, FieldError};
pub use range::AddrRange;
pub use selector::{Node, NodeSelector, Operator, Requirement, SelectorError, Term};
pub use slice::{Slice, SliceError, slice};
pub use spec::{
    Allocation, CidrPoolSpec, ExcludeRange, IndexRange, IpPoolSpec, PoolKind, PoolSpec, StaticAllocation,
};
pub use split::{Split, Warning, split};
pub use validate::validate;
