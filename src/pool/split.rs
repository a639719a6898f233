//! The split of a pool over nodes: keeps what is good, then gives every other node the lowest free block. Its only
//! memory is the status that is passed in.

mod grid;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

use self::grid::Grid;
use super::{Allocation, Node, NodeSelector, PoolKind, PoolSpec, SelectorError, field, validate};

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
    /// `InvalidSpec`, `InvalidSelector`, `NoFreeRanges`, `NoFreePrefixes`.
    pub reason: &'static str,
    /// Human text.
    pub message: String,
}

/// Splits the pool `name` over `nodes`. `current` is `status.allocations` as it stands; `None` = never written.
///
/// The order of `nodes` and their past do not matter. Of a valid pool no two allocations overlap, whatever `current`
/// says; of an invalid one `current` stands as it is.
#[must_use]
pub fn split(name: &str, spec: &PoolSpec, current: Option<&[Allocation]>, nodes: &[Node]) -> Split {
    let errors = validate(name, spec);
    let Some(grid) = Grid::new(spec).filter(|_| errors.is_empty()) else {
        let allocations = current.unwrap_or_default().to_vec();
        let warning = Warning { reason: "InvalidSpec", message: field::aggregate(&errors) };
        return Split { allocations, warnings: vec![warning], changed: current.is_none() };
    };
    let standing = current.unwrap_or_default();
    let (names, unknown) = served(spec.node_selector(), standing, nodes);
    let mut warnings: Vec<_> = unknown.into_iter().map(Warning::invalid_selector).collect();

    let mut kept: Vec<Option<(u128, &Allocation)>> = vec![None; names.len()];
    let mut taken = HashSet::with_capacity(names.len());
    let mut expected = 0;
    for entry in standing {
        let Some(position) = position(&names, entry.node_name(), expected) else { continue };
        expected = position + 1;
        // The first good entry counts: it is the one that the node's daemon serves.
        if kept[position].is_none()
            && let Some(block) = grid.block_of(entry)
            && taken.insert(block)
        {
            kept[position] = Some((block, entry));
        }
    }

    // Computed for the first node that needs it.
    let owned = || kept.iter().flatten().map(|(block, _)| *block);
    let mut free = None;
    let mut allocations = Vec::with_capacity(names.len());
    for (name, kept) in names.iter().zip(&kept) {
        let allocation = match (grid.static_allocation(name), kept) {
            (Some(allocation), _) => Some(allocation),
            (None, Some((block, entry))) => Some(grid.kept(entry, *block)),
            (None, None) => free
                .get_or_insert_with(|| grid.free_blocks(owned()))
                .next()
                .map(|block| grid.allocation(name, block)),
        };
        match allocation {
            Some(allocation) => allocations.push(allocation),
            None => warnings.push(Warning::pool_full(spec.kind(), name)),
        }
    }
    let changed = current != Some(allocations.as_slice());
    Split { allocations, warnings, changed }
}

/// Where `name` is in the sorted `names`. A status is sorted as well, so that it mostly is where it is `expected`.
fn position(names: &[&str], name: &str, expected: usize) -> Option<usize> {
    match names.get(expected) {
        Some(next) if *next == name => Some(expected),
        _ => names.binary_search(&name).ok(),
    }
}

/// The names of the nodes that the pool serves, sorted bytewise, each once. Where the selector cannot say whether a
/// node belongs to the pool, the node stays what it is: served if it has an entry, otherwise not. The first such
/// problem comes along.
fn served<'a>(
    selector: Option<&NodeSelector>,
    standing: &[Allocation],
    nodes: &'a [Node],
) -> (Vec<&'a str>, Option<SelectorError>) {
    let mut unknown = None;
    let mut undecided = Vec::new();
    let mut names = Vec::with_capacity(nodes.len());
    for node in nodes {
        match selector.map_or(Ok(true), |selector| selector.matches(node)) {
            Ok(true) => names.push(node.name.as_str()),
            Ok(false) => {}
            Err(error) => {
                undecided.push(node.name.as_str());
                unknown = unknown.or(Some(error));
            }
        }
    }
    if !undecided.is_empty() {
        let owners: HashSet<_> = standing.iter().map(Allocation::node_name).collect();
        names.extend(undecided.into_iter().filter(|name| owners.contains(name)));
    }
    names.sort_unstable();
    names.dedup();
    (names, unknown)
}

impl Warning {
    #[expect(clippy::needless_pass_by_value, reason = "the error ends here")]
    fn invalid_selector(error: SelectorError) -> Self {
        Self {
            reason: "InvalidSelector",
            message: format!("spec.nodeSelector: {error}; nodes keep what they have"),
        }
    }

    fn pool_full(kind: PoolKind, node: &str) -> Self {
        match kind {
            PoolKind::IpPool => {
                Self { reason: "NoFreeRanges", message: format!("failed to allocate IPs on Node: {node}") }
            }
            PoolKind::CidrPool => Self {
                reason: "NoFreePrefixes",
                message: format!("failed to allocated prefix for Node: {node}, no free prefixes"),
            },
        }
    }
}
