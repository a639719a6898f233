//! Pools: address ranges, validation, and the split of a pool over nodes. Pure arithmetic; no walk over addresses.

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
