//! The split of a pool over nodes.

use super::{Allocation, Node, PoolSpec};

/// What one reconcile of a pool decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// The new `status.allocations`, sorted by node name.
    pub allocations: Vec<Allocation>,
    /// Warnings, in the order in which nv-ipam sends them.
    pub warnings: Vec<Warning>,
    /// Whether `allocations` differs from what stood (absent differs from empty).
    pub changed: bool,
}

/// An event of type Warning on the pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// `InvalidSpec`, `NoFreeRanges`, `NoFreePrefixes`, ...
    pub reason: &'static str,
    /// Human text.
    pub message: String,
}

/// Splits the pool `name` over `nodes`. `current` is `status.allocations` as it stands; `None` = never written.
#[must_use]
pub fn split(_name: &str, _spec: &PoolSpec, _current: Option<&[Allocation]>, _nodes: &[Node]) -> Split {
    Split { allocations: Vec::new(), warnings: Vec::new(), changed: false }
}
