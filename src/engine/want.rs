//! From a binding's choice to the pool and slice it means now.

use std::fmt;

use super::{
    assignment::{AssignedPool, Assignment, Standing, nearest_pool},
    lease::Lease,
};
use crate::model::{Binding, PoolChoice, PoolRef, PoolSelector, Slice};

/// One wish for an address, with the slice that it can come from.
#[derive(Debug)]
pub(super) struct Want<'a> {
    /// The pool.
    pub(super) pool: &'a AssignedPool,
    /// This node's slice of it.
    pub(super) slice: &'a Slice,
    /// This index and no other.
    pub(super) index: Option<u32>,
    /// The gateway's own address.
    pub(super) is_gateway: bool,
    /// A default route via the gateway, whatever the pool says.
    pub(super) default_route: bool,
}

impl Want<'_> {
    /// Whether the lease `held` is what is wished for.
    #[must_use]
    pub(super) fn accepts(&self, held: &Lease) -> bool {
        held.pool == self.pool.pool
            && match (self.is_gateway, self.index) {
                (true, _) => self.slice.gateway == Some(held.address),
                (false, Some(index)) => {
                    self.slice.range.nth(index.into()) == Some(held.address)
                        && self.slice.usable(held.address)
                }
                (false, None) => self.slice.usable(held.address),
            }
    }

    /// A fixed wish in words.
    #[must_use]
    pub(super) fn wish(&self) -> String {
        match self.index {
            Some(index) if !self.is_gateway => format!("index {index}"),
            _ => "the gateway's address".to_owned(),
        }
    }
}

/// Why a wish has no pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WantError {
    /// No ServiceChain of this node has a port for the service's interface.
    NoPort {
        /// `serviceID`
        service_id: String,
        /// `interfaceName`
        interface_name: String,
    },
    /// No pool is selected.
    NoPool {
        /// What was asked for.
        selector: PoolSelector,
        /// A pool that comes near, in words.
        near: Option<String>,
    },
    /// The pool gives this node nothing.
    NoSlice {
        /// The pool.
        pool: PoolRef,
        /// Why, where it is known.
        why: Option<String>,
    },
}

impl fmt::Display for WantError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPort { service_id, interface_name } => write!(
                f,
                "no ServiceChain of this node has a port with an address for the interface {interface_name} of the service {service_id}"
            ),
            Self::NoPool { selector, near: None } => write!(f, "no pool has {selector}"),
            Self::NoPool { near: Some(near), .. } => f.write_str(near),
            Self::NoSlice { pool, why: None } => write!(f, "{pool} gives this node no slice"),
            Self::NoSlice { pool, why: Some(why) } => write!(f, "{pool} gives this node no slice: {why}"),
        }
    }
}

/// The wishes of a binding: one per pool that it chooses. `held` are its present leases.
pub(super) fn resolve<'a>(
    binding: &Binding,
    assignment: &'a Assignment,
    held: &[&Lease],
) -> Vec<Result<Want<'a>, WantError>> {
    match &binding.pool {
        PoolChoice::Pools(selectors) => selectors
            .iter()
            .map(|selector| {
                let (pool, slice) = choose(selector, assignment, held)?;
                Ok(Want { pool, slice, index: binding.index, is_gateway: false, default_route: false })
            })
            .collect(),
        PoolChoice::ServiceInterface { service_id, interface_name } => {
            let wish = || {
                let port = assignment.port(service_id, interface_name).ok_or_else(|| WantError::NoPort {
                    service_id: service_id.clone(),
                    interface_name: interface_name.clone(),
                })?;
                let selector = PoolSelector::Labels(port.pool_labels.clone());
                let (pool, slice) = choose(&selector, assignment, held)?;
                Ok(Want {
                    pool,
                    slice,
                    index: binding.index,
                    is_gateway: port.is_gateway,
                    default_route: port.set_default_route,
                })
            };
            vec![wish()]
        }
    }
}

/// The pool that `selector` means. Among several: one from which the binding holds a lease, then IPPools before CIDRPools
/// (as NVIDIA's chain controller looks them up), then by name.
///
/// A pool that is gone goes on serving those who hold a lease of it, with one exception: a change of a DPUServiceIPAM's
/// mode, which deletes the pool of one kind and makes one of the other kind with the same name.
fn choose<'a>(
    selector: &PoolSelector,
    assignment: &'a Assignment,
    held: &[&Lease],
) -> Result<(&'a AssignedPool, &'a Slice), WantError> {
    let matching: Vec<&AssignedPool> =
        assignment.pools.iter().filter(|p| selector.matches(&p.pool.name, &p.labels)).collect();
    let leased = |p: &AssignedPool| held.iter().any(|l| l.pool == p.pool);
    let replaced = |p: &AssignedPool| {
        p.standing == Standing::Gone
            && matching.iter().any(|other| {
                other.standing == Standing::Current
                    && other.slice.is_some()
                    && (&other.pool.namespace, &other.pool.name) == (&p.pool.namespace, &p.pool.name)
                    && other.pool.kind != p.pool.kind
            })
    };
    // `false` sorts first; the sort is stable and the pools stand in order of PoolRef.
    let mut order = matching.clone();
    order.sort_by_key(|p| (replaced(p), !leased(p), p.slice.is_none(), p.standing == Standing::Gone));
    let Some(pool) = order.first() else {
        let near = match selector {
            PoolSelector::Labels(wanted) => {
                nearest_pool(wanted, assignment.pools.iter().map(|p| (&p.pool, &p.labels)))
            }
            PoolSelector::Name(_) => None,
        };
        return Err(WantError::NoPool { selector: selector.clone(), near });
    };
    match &pool.slice {
        Some(slice) => Ok((pool, slice)),
        None => Err(WantError::NoSlice {
            pool: pool.pool.clone(),
            why: match &pool.standing {
                Standing::Unusable(why) => Some(why.clone()),
                Standing::Current | Standing::Gone => None,
            },
        }),
    }
}
