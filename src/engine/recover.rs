//! Leases and slots found again in the kernel, when the store has none to tell.

use std::{collections::HashSet, net::IpAddr};

use super::{
    Inputs,
    attach::Match,
    lease::{Lease, LeaseBook, Quarantined},
    want,
};
use crate::model::{Address, BindingName, Rule};

/// Adds to `book` what the kernel still knows: leases, and the slots of their bindings.
pub(super) fn recover(inputs: &Inputs<'_>, book: &mut LeaseBook) {
    let found = leases(inputs);
    for lease in &found {
        let slot = slot(inputs, lease).filter(|slot| !book.slots.values().any(|used| used == slot));
        if let Some(slot) = slot {
            book.slots.entry(lease.binding.clone()).or_insert(slot);
        }
    }
    book.leases.extend(found);
}

/// The slot whose table our rule for the lease's address asks, so that its routes stay in that table.
fn slot(inputs: &Inputs<'_>, lease: &Lease) -> Option<u16> {
    let Inputs { observed, numbers, .. } = *inputs;
    let ours = |r: &&Rule| r.protocol == numbers.protocol && r.from == Some(lease.address.into());
    let table = observed.rules.iter().find(ours)?.table;
    table.checked_sub(numbers.table_base)?.try_into().ok()
}

/// The leases that the addresses on SFs stand for whose bindings have none in the book: those that the binding could be
/// given now. Addresses that carry our protocol go before others, so that a foreign one is only taken where the
/// choice is ours anyway.
#[must_use]
fn leases(inputs: &Inputs<'_>) -> Vec<Lease> {
    let Inputs { book, assignment, matches, observed, numbers, .. } = *inputs;
    let leased: HashSet<&BindingName> = book.leases.iter().map(|l| &l.binding).collect();
    let bare = inputs.bindings.iter().filter(|b| !leased.contains(&b.name));
    let mut leases = Vec::new();
    let mut used: HashSet<IpAddr> = book.leases.iter().map(|l| l.address).collect();
    for binding in bare {
        let Some(Match::Found(sf)) = matches.get(&binding.name) else { continue };
        let mut present: Vec<&Address> =
            observed.addresses.iter().filter(|a| a.ifindex == sf.ifindex).collect();
        present.sort_by_key(|a| a.protocol != numbers.protocol);
        for want in want::resolve(binding, assignment, &[]).into_iter().flatten() {
            let rests = |lease: &Lease| {
                let of_another = |q: &Quarantined| q.lease.binding != lease.binding;
                book.quarantine.iter().any(|q| q.lease.address == lease.address && of_another(q))
            };
            let found = present
                .iter()
                .filter(|a| a.address.prefix_len() == want.slice.network.prefix_len())
                .map(|a| Lease {
                    binding: binding.name.clone(),
                    pool: want.pool.pool.clone(),
                    address: a.address.addr(),
                })
                .find(|lease| want.accepts(lease) && !used.contains(&lease.address) && !rests(lease));
            used.extend(found.iter().map(|l| l.address));
            leases.extend(found);
        }
    }
    leases
}
