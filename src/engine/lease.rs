//! Leases: which binding holds which address of which slice. Sticky, never doubled, not reused at once.
//!
//! [`allot`] is deterministic: the same book, bindings and assignment give the same answer, and so does an empty book,
//! because new leases are given in the order of the configuration, lowest free address first.

use std::{
    cell::OnceCell,
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fmt,
    net::IpAddr,
};

use serde::{Deserialize, Serialize};

use super::{
    Inputs,
    assignment::Assignment,
    attach::Match,
    want::{self, Want, WantError},
};
use crate::model::{Binding, BindingName, PoolRef, Timestamp};

/// One address of a slice held by one binding.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lease {
    /// Who holds it.
    pub binding: BindingName,
    /// From which pool.
    pub pool: PoolRef,
    /// The address.
    pub address: IpAddr,
}

/// An address that was held and must not be given to another binding yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Quarantined {
    /// What was held, and by whom: only this binding may have it back at once.
    pub lease: Lease,
    /// Free for others from then on.
    pub until: Timestamp,
}

/// All leases of this node: what the store must never lose.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LeaseBook {
    /// Living leases, by the order of the configuration.
    pub leases: Vec<Lease>,
    /// Resting addresses.
    pub quarantine: Vec<Quarantined>,
    /// The slot of each binding, from which its routing table follows.
    pub slots: BTreeMap<BindingName, u16>,
}

impl LeaseBook {
    /// The pools from which something is leased.
    #[must_use]
    pub fn pools(&self) -> BTreeSet<PoolRef> {
        self.leases.iter().map(|l| l.pool.clone()).collect()
    }
}

/// What one wish for an address came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Whose wish; an index into the bindings.
    pub binding: usize,
    /// The lease, if there is one. It may be an older one that is kept although the present wish cannot be met.
    pub lease: Option<Lease>,
    /// A default route was asked for by the chain, beside what the pool asks for.
    pub default_route: bool,
    /// Why the wish is not (wholly) met.
    pub trouble: Option<Trouble>,
}

/// Why a wish for an address is not, or not wholly, met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// No pool for this wish.
    Want(WantError),
    /// Every address of the slice is leased, excluded, held by a Pod or resting.
    Exhausted {
        /// The pool.
        pool: PoolRef,
        /// Addresses of the slice that may be leased at all.
        capacity: u128,
        /// Of these, how many rest until their quarantine ends.
        resting: usize,
    },
    /// The wished index or gateway address cannot be had.
    Index {
        /// The pool.
        pool: PoolRef,
        /// Which address, in words.
        wish: String,
        /// Why not.
        why: IndexError,
    },
    /// nv-ipam gave the same address to a Pod of this node.
    HeldByPod {
        /// The address.
        address: IpAddr,
        /// The Pod's interface, as nv-ipam's store names it.
        owner: String,
    },
}

/// Why a certain address of the slice cannot be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IndexError {
    /// The slice is smaller.
    Outside {
        /// Number of addresses minus one.
        last: u128,
    },
    /// The index is the gateway's.
    Gateway(IpAddr),
    /// The address is excluded.
    Excluded(IpAddr),
    /// Another holds or recently held it.
    Held {
        /// The address.
        address: IpAddr,
        /// By whom.
        by: String,
    },
    /// The pool has no gateway.
    NoGateway,
}

impl fmt::Display for IndexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outside { last } => write!(f, "lies outside the slice, whose last index is {last}"),
            Self::Gateway(address) => write!(f, "is the gateway {address}"),
            Self::Excluded(address) => write!(f, "is {address}, which the pool excludes"),
            Self::Held { address, by } => write!(f, "is {address}, held by {by}"),
            Self::NoGateway => f.write_str("cannot be had: the pool has no gateway"),
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Want(error) => error.fmt(f),
            Self::Exhausted { pool, capacity, resting } => {
                write!(f, "{pool}: all {capacity} addresses of this node's slice are in use")?;
                if *resting > 0 {
                    write!(f, " ({resting} of them rest until their quarantine ends)")?;
                }
                Ok(())
            }
            Self::Index { pool, wish, why } => write!(f, "{pool}: {wish} {why}"),
            Self::HeldByPod { address, owner } => {
                write!(f, "nv-ipam gave {address} to a Pod of this node as well ({owner})")
            }
        }
    }
}

/// Addresses that nv-ipam's node store on this machine holds for Pods, with their holders.
pub type PodHeld = BTreeMap<IpAddr, String>;

/// Gives every binding its addresses, and returns the next book beside one grant per wish. `book` goes before
/// `inputs.book`.
///
/// What is held and still fits stays, whoever else would like it; then fixed indexes and gateways; then the lowest
/// free address in the order of the configuration. What is given up rests for the time of the quarantine.
#[must_use]
pub fn allot(inputs: &Inputs<'_>, book: &LeaseBook) -> (LeaseBook, Vec<Grant>) {
    let Inputs { bindings, assignment, now, quarantine, .. } = *inputs;
    let rest_until = Timestamp(now.0.saturating_add(quarantine.as_secs()));
    let resting: Vec<Quarantined> = book
        .quarantine
        .iter()
        .filter(|q| q.until > now)
        // A clock that was set back must not make addresses rest for years.
        .map(|q| Quarantined { lease: q.lease.clone(), until: q.until.min(rest_until) })
        .collect();
    let mut round = Round::new(inputs, book, &resting);
    let wishes = pair(book, bindings, assignment);

    let mut grants: Vec<Option<Grant>> = wishes.iter().map(|wish| round.keep(wish)).collect();
    for (wish, grant) in wishes.iter().zip(&mut grants).filter(|(w, _)| w.is_fixed()) {
        if grant.is_none() {
            *grant = Some(round.fixed(wish));
        }
    }
    for (wish, grant) in wishes.iter().zip(&mut grants) {
        if grant.is_none() {
            *grant = Some(round.lowest(wish));
        }
    }
    let grants: Vec<Grant> = grants.into_iter().flatten().collect();

    let leases: Vec<Lease> = grants.iter().filter_map(|g| g.lease.clone()).collect();
    let held: HashSet<IpAddr> = leases.iter().map(|l| l.address).collect();
    let given_up = book.leases.iter().map(|l| Quarantined { lease: l.clone(), until: rest_until });
    let mut seen = HashSet::new();
    let quarantine = given_up
        .chain(resting.iter().cloned())
        .filter(|q| !held.contains(&q.lease.address) && seen.insert(q.lease.address))
        .collect();
    (LeaseBook { leases, quarantine, slots: slots(&book.slots, bindings) }, grants)
}

/// A wish with the lease that its binding holds for it.
struct Wish<'a> {
    binding: usize,
    want: Result<Want<'a>, WantError>,
    held: Option<&'a Lease>,
}

impl Wish<'_> {
    fn is_fixed(&self) -> bool {
        self.want.as_ref().is_ok_and(|w| w.index.is_some() || w.is_gateway)
    }

    fn grant(&self, lease: Option<Lease>, trouble: Option<Trouble>) -> Grant {
        let default_route = self.want.as_ref().is_ok_and(|w| w.default_route);
        Grant { binding: self.binding, lease, default_route, trouble }
    }
}

/// Every wish with the lease it continues: that of the same pool, else one that no other wish of the binding continues.
fn pair<'a>(book: &'a LeaseBook, bindings: &'a [Binding], assignment: &'a Assignment) -> Vec<Wish<'a>> {
    let mut held: HashMap<&BindingName, Vec<&Lease>> = HashMap::new();
    for lease in &book.leases {
        held.entry(&lease.binding).or_default().push(lease);
    }
    let mut wishes = Vec::with_capacity(bindings.len());
    for (index, binding) in bindings.iter().enumerate() {
        let mut old = held.remove(&binding.name).unwrap_or_default();
        let first = wishes.len();
        for want in want::resolve(binding, assignment, &old) {
            let same = want.as_ref().ok().and_then(|w| old.iter().position(|l| l.pool == w.pool.pool));
            let lease = same.map(|at| old.remove(at));
            wishes.push(Wish { binding: index, want, held: lease });
        }
        for wish in wishes[first..].iter_mut().filter(|w| w.held.is_none()) {
            if !old.is_empty() {
                wish.held = Some(old.remove(0));
            }
        }
    }
    wishes
}

/// The state of one allotment.
struct Round<'a> {
    inputs: &'a Inputs<'a>,
    /// Who has or had an address: none but this one may have it, unless it is kept.
    before: HashMap<IpAddr, &'a Lease>,
    reclaim: HashMap<&'a BindingName, Vec<&'a Lease>>,
    /// Addresses on interfaces of this machine, whoever put them there. Only asked where something new is leased.
    standing: OnceCell<HashMap<IpAddr, u32>>,
    taken: HashMap<IpAddr, usize>,
    /// Where to go on looking for free addresses; nothing is freed within a round.
    cursor: HashMap<&'a PoolRef, u128>,
}

impl<'a> Round<'a> {
    fn new(inputs: &'a Inputs<'a>, book: &'a LeaseBook, resting: &'a [Quarantined]) -> Self {
        let mut reclaim: HashMap<_, Vec<_>> = HashMap::new();
        for q in resting {
            reclaim.entry(&q.lease.binding).or_default().push(&q.lease);
        }
        Self {
            inputs,
            before: resting.iter().map(|q| &q.lease).chain(&book.leases).map(|l| (l.address, l)).collect(),
            reclaim,
            standing: OnceCell::new(),
            taken: HashMap::new(),
            cursor: HashMap::new(),
        }
    }

    fn name(&self, binding: usize) -> &'a BindingName {
        &self.inputs.bindings[binding].name
    }

    fn lease(&mut self, wish: &Wish<'_>, pool: &PoolRef, address: IpAddr) -> Lease {
        self.taken.insert(address, wish.binding);
        Lease { binding: self.name(wish.binding).clone(), pool: pool.clone(), address }
    }

    /// Who else has or had `address`, in words.
    fn holder(&self, address: IpAddr, binding: usize) -> Option<String> {
        if let Some(other) = self.taken.get(&address) {
            return Some(format!("binding {}", self.name(*other)));
        }
        if let Some(pod) = self.inputs.pods.get(&address) {
            return Some(format!("a Pod ({pod})"));
        }
        let observed = self.inputs.observed;
        let standing = || observed.addresses.iter().map(|a| (a.address.addr(), a.ifindex)).collect();
        let ifindex = self.standing.get_or_init(standing).get(&address);
        let found = self.inputs.matches.get(self.name(binding));
        let own = matches!((found, ifindex), (Some(Match::Found(sf)), Some(i)) if sf.ifindex == *i);
        if own {
            return None;
        }
        if let Some(before) = self.before.get(&address).filter(|l| l.binding != *self.name(binding)) {
            return Some(format!("binding {} until its quarantine ends", before.binding));
        }
        let link = |i: &u32| observed.links.get(i).map_or_else(|| i.to_string(), |l| l.name.to_string());
        ifindex.map(|i| format!("interface {}", link(i)))
    }

    /// The lease that is held and still fits the wish; also the lease of a wish that cannot be resolved now.
    fn keep(&mut self, wish: &Wish<'a>) -> Option<Grant> {
        let held = wish.held.filter(|l| !self.taken.contains_key(&l.address));
        match (&wish.want, held) {
            (Err(error), None) => Some(wish.grant(None, Some(Trouble::Want(error.clone())))),
            (Err(error), Some(held)) => {
                let lease = self.lease(wish, &held.pool, held.address);
                Some(wish.grant(Some(lease), Some(Trouble::Want(error.clone()))))
            }
            (Ok(want), Some(held)) if want.accepts(held) => {
                let trouble = self
                    .inputs
                    .pods
                    .get(&held.address)
                    .map(|owner| Trouble::HeldByPod { address: held.address, owner: owner.clone() });
                let lease = self.lease(wish, &want.pool.pool, held.address);
                Some(wish.grant(Some(lease), trouble))
            }
            (Ok(_), _) => None,
        }
    }

    /// The lease that is held, for as long as its own slice still allows it: better than nothing where the wish itself
    /// cannot be met.
    fn fall_back(&mut self, wish: &Wish<'_>, trouble: Trouble) -> Grant {
        let lease = wish
            .held
            .filter(|l| {
                let slice = self.inputs.assignment.pool(&l.pool).and_then(|p| p.slice.as_ref());
                slice.is_some_and(|s| s.usable(l.address)) && !self.taken.contains_key(&l.address)
            })
            .map(|l| self.lease(wish, &l.pool, l.address));
        wish.grant(lease, Some(trouble))
    }

    /// A wish for one certain address.
    fn fixed(&mut self, wish: &Wish<'a>) -> Grant {
        let Ok(want) = &wish.want else { return self.lowest(wish) };
        match self.pick(wish, want) {
            Ok(address) => {
                let lease = self.lease(wish, &want.pool.pool, address);
                wish.grant(Some(lease), None)
            }
            Err(why) => {
                let trouble = Trouble::Index { pool: want.pool.pool.clone(), wish: want.wish(), why };
                self.fall_back(wish, trouble)
            }
        }
    }

    fn pick(&self, wish: &Wish<'_>, want: &Want<'_>) -> Result<IpAddr, IndexError> {
        let slice = want.slice;
        let address = if want.is_gateway {
            slice.gateway.ok_or(IndexError::NoGateway)?
        } else {
            let index = u128::from(want.index.unwrap_or_default());
            let address = slice.range.nth(index).ok_or(IndexError::Outside { last: slice.range.span() })?;
            if slice.gateway == Some(address) {
                return Err(IndexError::Gateway(address));
            }
            if !slice.usable(address) {
                return Err(IndexError::Excluded(address));
            }
            address
        };
        match self.holder(address, wish.binding) {
            Some(by) => Err(IndexError::Held { address, by }),
            None => Ok(address),
        }
    }

    /// The address that the binding had here before, else the lowest free one.
    fn lowest(&mut self, wish: &Wish<'a>) -> Grant {
        let want = match &wish.want {
            Ok(want) => want,
            Err(error) => return wish.grant(None, Some(Trouble::Want(error.clone()))),
        };
        let pool = &want.pool.pool;
        let name = self.name(wish.binding);
        // What the binding had of this very pool comes back; else an address moves with its binding from one pool to the
        // next, as in a change of mode, where it fits.
        let (same, others): (Vec<&Lease>, Vec<&Lease>) =
            self.reclaim.get(name).into_iter().flatten().partition(|l| l.pool == *pool);
        let before = same.into_iter().chain(wish.held).chain(others);
        let again = before
            .map(|l| l.address)
            .find(|a| want.slice.usable(*a) && self.holder(*a, wish.binding).is_none());
        let found = again.or_else(|| {
            let from = self.cursor.get(pool).copied().unwrap_or(0);
            want.slice
                .free_from(from)
                .find(|a| !self.before.contains_key(a) && self.holder(*a, wish.binding).is_none())
        });
        let Some(address) = found else {
            let capacity = want.slice.capacity();
            let rests = |a: &&IpAddr| want.slice.usable(**a) && !self.taken.contains_key(a);
            let resting = self.before.keys().filter(rests).count();
            let trouble = Trouble::Exhausted { pool: pool.clone(), capacity, resting };
            return self.fall_back(wish, trouble);
        };
        if again.is_none() {
            let next = want.slice.index_of(address).map_or(0, |i| i + 1);
            self.cursor.insert(pool, next);
        }
        let lease = self.lease(wish, pool, address);
        wish.grant(Some(lease), None)
    }
}

/// Every binding's slot: the one it has, else the lowest free one.
fn slots(old: &BTreeMap<BindingName, u16>, bindings: &[Binding]) -> BTreeMap<BindingName, u16> {
    let mut slots: BTreeMap<_, _> =
        bindings.iter().filter_map(|b| Some((b.name.clone(), *old.get(&b.name)?))).collect();
    let mut used: BTreeSet<u16> = slots.values().copied().collect();
    let mut next = 0;
    for binding in bindings {
        if slots.contains_key(&binding.name) {
            continue;
        }
        while !used.insert(next) {
            next += 1;
        }
        slots.insert(binding.name.clone(), next);
    }
    slots
}
