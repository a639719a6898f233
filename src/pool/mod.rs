//! Pools: address ranges, validation, and the split of a pool over nodes. Pure arithmetic; no walk over addresses.

mod range;
mod selector;
mod slice;
mod spec;
mod split;
mod validate;

pub use range::AddrRange;
pub use selector::{Node, NodeSelector, Operator, Requirement, Term};
pub use slice::{Slice, SliceError, slice};
pub use spec::{
    Allocation, CidrPoolSpec, ExcludeRange, IndexRange, IpPoolSpec, PoolKind, PoolSpec, StaticAllocation,
};
pub use split::{Split, Warning, split};
pub use validate::{ErrorKind, FieldError, validate};
