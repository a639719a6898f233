//! Leases found again in the kernel, when the store has none to tell.

use std::collections::{BTreeMap, HashSet};

use super::{assignment::Assignment, attach::Match, lease::Lease, want};
use crate::model::{Address, Binding, BindingName, Observed, RoutingNumbers};

/// The leases that the addresses on the bindings' SFs stand for: those that the binding could be given now. Addresses
/// that carry our protocol go before others, so that a foreign one is only taken where the choice is ours anyway.
#[must_use]
pub fn recover(
    bindings: &[Binding],
    assignment: &Assignment,
    matches: &BTreeMap<BindingName, Match>,
    observed: &Observed,
    numbers: &RoutingNumbers,
) -> Vec<Lease> {
    let mut leases = Vec::new();
    let mut used = HashSet::new();
    for binding in bindings {
        let Some(Match::Found(sf)) = matches.get(&binding.name) else { continue };
        let mut present: Vec<&Address> =
            observed.addresses.iter().filter(|a| a.ifindex == sf.ifindex).collect();
        present.sort_by_key(|a| a.protocol != numbers.protocol);
        for want in want::resolve(binding, assignment, &[]).into_iter().flatten() {
            let found = present
                .iter()
                .filter(|a| a.address.prefix_len() == want.slice.network.prefix_len())
                .map(|a| Lease {
                    binding: binding.name.clone(),
                    pool: want.pool.pool.clone(),
                    address: a.address.addr(),
                })
                .find(|lease| want.accepts(lease) && !used.contains(&lease.address));
            used.extend(found.iter().map(|l| l.address));
            leases.extend(found);
        }
    }
    leases
}
