//! The plan: ordered steps from observed to desired. Data, never code.
//!
//! Order: settings, addresses, links, routes, rules, and only then removals, so that the new stands before the old goes
//! (but for an address that changes its interface).
//! (Addresses before links: bringing a device up is what costs, and its kernel routes come with it.) The plan never
//! names anything that is not marked or recorded as ours.

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap, HashSet},
    net::IpAddr,
};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::desired::{Desired, DesiredLink};
use crate::model::{Address, IfName, Ipv4Key, Link, Observed, Route, RoutingNumbers, Rule, Step, TABLE_MAIN};

/// What the agent put into the kernel where the kernel itself cannot tell whose it is. Recorded before it becomes
/// visible; valid for one boot only, as a reboot takes it all away.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Owned {
    /// Addresses that the agent added.
    pub addresses: BTreeSet<OwnedAddress>,
    /// Settings that the agent changed.
    pub settings: BTreeSet<OwnedSetting>,
}

/// An address that the agent added.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OwnedAddress {
    /// Index of the interface.
    pub ifindex: u32,
    /// The address with its length.
    pub address: IpNet,
}

/// A setting that the agent changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OwnedSetting {
    /// Index of the interface.
    pub ifindex: u32,
    /// Name of the interface at that time.
    pub netdev: IfName,
    /// Which.
    pub key: Ipv4Key,
    /// The value that stood before.
    pub previous: u32,
}

impl Owned {
    /// Whether `address` is ours: recorded, or marked so by the kernel (IFA_PROTO, 5.18+).
    #[must_use]
    pub fn has(&self, address: &Address, numbers: &RoutingNumbers) -> bool {
        address.protocol == numbers.protocol
            || self.addresses.contains(&OwnedAddress { ifindex: address.ifindex, address: address.address })
    }
}

/// Ordered steps, and what must be recorded before the first of them is taken.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// What to do, in order.
    pub steps: Vec<Step>,
    /// What is in the way, and is not ours to remove.
    pub findings: Vec<Finding>,
    /// The record of what is ours, with what the steps will add; `None` = as it was.
    pub owned: Option<Owned>,
}

/// Something foreign in the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "finding", rename_all = "kebab-case")]
pub enum Finding {
    /// Another route has the place (table, destination, metric) of ours.
    RouteTaken {
        /// Ours.
        wanted: Route,
        /// The one that is there.
        present: Route,
    },
}

/// How much of the kernel's state `observed` shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    All,
    /// Some links with their addresses and routes.
    Links,
}

/// The steps from `observed` to `desired`.
#[must_use]
pub fn plan(
    desired: &Desired,
    observed: &Observed,
    owned: &Owned,
    numbers: &RoutingNumbers,
    scope: Scope,
) -> Plan {
    let mut draft = Draft { owned: Cow::Borrowed(owned), ..Draft::default() };
    let view = View::new(observed, owned, numbers);
    let nothing = DesiredLink::default();
    let mut held = desired.unplaced.clone();
    for (ifindex, link) in &observed.links {
        let wanted = desired.links.get(ifindex);
        let addresses = view.addresses.get(*ifindex);
        if wanted.is_some_and(|w| w.hold) {
            held.extend(addresses.iter().map(|a| a.address.addr()));
        }
        if let Some(wanted) = wanted {
            draft.add(link, wanted, addresses, &view);
        }
        let keeps = addresses.iter().any(|a| desired.unplaced.contains(&a.address.addr()));
        if !keeps && !wanted.is_some_and(|w| w.hold) {
            draft.remove(link, wanted.unwrap_or(&nothing), addresses, &view);
        }
    }
    if scope == Scope::All {
        draft.rules(desired, observed, numbers, |rule| rule.from.is_some_and(|f| held.contains(&f.addr())));
        // What is neither there nor about to be is no longer on record, lest an administrator's address be taken for ours.
        let there = |o: &OwnedAddress| view.has(o) || desired.has(o);
        let stands = |s: &OwnedSetting| observed.links.get(&s.ifindex).is_some_and(|l| l.name == s.netdev);
        if !draft.owned.addresses.iter().all(there) || !draft.owned.settings.iter().all(stands) {
            let owned = draft.owned.to_mut();
            owned.addresses.retain(there);
            owned.settings.retain(stands);
        }
    }
    draft.finish()
}

impl Desired {
    fn has(&self, owned: &OwnedAddress) -> bool {
        let link = self.links.get(&owned.ifindex);
        link.is_some_and(|l| l.addresses.iter().any(|a| a.address == owned.address))
    }
}

/// The observed state and the record, by what they are looked up by.
struct View<'a> {
    addresses: Groups<'a, Address, u32>,
    routes: Groups<'a, Route, RouteKey>,
    by_link: Groups<'a, Route, u32>,
    settings: Groups<'a, OwnedSetting, u32>,
    owned: &'a Owned,
    numbers: &'a RoutingNumbers,
}

impl<'a> View<'a> {
    fn new(observed: &'a Observed, owned: &'a Owned, numbers: &'a RoutingNumbers) -> Self {
        Self {
            addresses: Groups::new(&observed.addresses, |a| a.ifindex),
            routes: Groups::new(&observed.routes, key),
            by_link: Groups::new(&observed.routes, |r| r.oif),
            settings: Groups::new(&owned.settings, |s| s.ifindex),
            owned,
            numbers,
        }
    }

    fn has(&self, owned: &OwnedAddress) -> bool {
        self.addresses.get(owned.ifindex).iter().any(|a| a.address == owned.address)
    }

    /// Whether the main table has any plain route by the same interface to the same subnet.
    fn reaches(&self, subnet: &Route) -> bool {
        let same = |r: &&Route| (r.table, r.dst) == (subnet.table, subnet.dst) && r.gateway.is_none();
        self.by_link.get(subnet.oif).iter().any(same)
    }
}

/// Items sorted by a key: the kernel tells them nearly so, which makes this cheaper than a map.
struct Groups<'a, T, K> {
    items: Vec<&'a T>,
    key: fn(&T) -> K,
}

impl<'a, T, K: Ord + Copy> Groups<'a, T, K> {
    fn new(items: impl IntoIterator<Item = &'a T>, key: fn(&T) -> K) -> Self {
        let mut items: Vec<_> = items.into_iter().collect();
        items.sort_by_key(|item| key(item));
        Self { items, key }
    }

    fn get(&self, key: K) -> &[&'a T] {
        let from = self.items.partition_point(|item| (self.key)(item) < key);
        let count = self.items[from..].partition_point(|item| (self.key)(item) == key);
        &self.items[from..from + count]
    }
}

type RouteKey = (u32, IpNet, u32);

/// What the kernel tells IPv4 routes apart by (RFC 1812 TOS aside).
fn key(route: &Route) -> RouteKey {
    (route.table, route.dst, route.metric)
}

/// The same way, whoever set it.
fn same_way(a: &Route, b: &Route) -> bool {
    Route { protocol: b.protocol, ..a.clone() } == *b
}

/// Steps by kind, in the order in which they will be taken.
#[derive(Default)]
struct Draft<'a> {
    settings: Vec<Step>,
    add_addresses: Vec<Step>,
    links: Vec<Step>,
    add_routes: Vec<Step>,
    add_rules: Vec<Step>,
    del_rules: Vec<Step>,
    del_routes: Vec<Step>,
    del_addresses: Vec<Step>,
    findings: Vec<Finding>,
    owned: Cow<'a, Owned>,
}

impl Draft<'_> {
    fn add(&mut self, link: &Link, wanted: &DesiredLink, present: &[&Address], view: &View<'_>) {
        for (key, value) in &wanted.settings {
            self.set(link, *key, *value, view);
        }
        if !link.up && !wanted.addresses.is_empty() {
            self.links.push(Step::LinkUp { ifindex: link.ifindex });
        }
        for want in &wanted.addresses {
            let there = present.iter().find(|a| a.address == want.address);
            let Some(there) = there else {
                let record = OwnedAddress { ifindex: link.ifindex, address: want.address };
                if !self.owned.addresses.contains(&record) {
                    self.owned.to_mut().addresses.insert(record);
                }
                self.add_addresses.push(Step::AddAddress(Address {
                    ifindex: link.ifindex,
                    address: want.address,
                    noprefixroute: want.subnet_route.is_none(),
                    dad_failed: false,
                    protocol: view.numbers.protocol,
                }));
                continue;
            };
            // The flag cannot be changed on a living address, but the route that it stands for can come and go.
            match &want.subnet_route {
                Some(route) if link.up && !view.reaches(route) => self.route(route, view),
                None if view.owned.has(there, view.numbers)
                    && !foreign_subnet(want.address, present, view) =>
                {
                    let stray = kernel_subnet_routes(link.ifindex, want.address, view);
                    self.del_routes.extend(stray.map(|r| Step::DelSubnetRoute(r.clone())));
                }
                _ => {}
            }
        }
        for route in &wanted.routes {
            self.route(route, view);
        }
    }

    fn route(&mut self, wanted: &Route, view: &View<'_>) {
        let present = view.routes.get(key(wanted));
        if present.iter().any(|r| same_way(r, wanted)) {
            return;
        }
        match present.iter().find(|r| r.protocol == view.numbers.protocol).or(present.first()) {
            None => self.add_routes.push(Step::AddRoute(wanted.clone())),
            Some(r) if r.protocol == view.numbers.protocol => {
                self.add_routes.push(Step::ReplaceRoute(wanted.clone()));
            }
            Some(r) => {
                self.findings.push(Finding::RouteTaken { wanted: wanted.clone(), present: (*r).clone() });
            }
        }
    }

    fn remove(&mut self, link: &Link, wanted: &DesiredLink, present: &[&Address], view: &View<'_>) {
        let places: HashSet<_> = wanted.routes.iter().map(key).collect();
        for route in view.by_link.get(link.ifindex) {
            let ours = route.protocol == view.numbers.protocol;
            // A route that was replaced in its place is gone already.
            if ours && !places.contains(&key(route)) && !stands_in(route, wanted, view) {
                self.del_routes.push(Step::DelRoute((*route).clone()));
            }
        }
        let mut removed = false;
        for address in present.iter().filter(|a| view.owned.has(a, view.numbers)) {
            if !wanted.addresses.iter().any(|w| w.address == address.address) {
                removed |= address.address.addr().is_ipv4();
                self.del_addresses.push(Step::DelAddress((*address).clone()));
            }
        }
        // Without it the kernel would take every other address of the subnet along with a primary one.
        let others =
            present.iter().filter(|a| a.address.addr().is_ipv4()).count() + wanted.addresses.len() > 1;
        if removed && others {
            self.set(link, Ipv4Key::PromoteSecondaries, 1, view);
        } else {
            self.restore(link, wanted, view);
        }
    }

    fn set(&mut self, link: &Link, key: Ipv4Key, value: u32, view: &View<'_>) {
        let previous = link.ipv4.get(key);
        if previous == value {
            return;
        }
        if view.settings.get(link.ifindex).iter().all(|s| s.key != key) {
            let netdev = link.name.clone();
            self.owned.to_mut().settings.insert(OwnedSetting {
                ifindex: link.ifindex,
                netdev,
                key,
                previous,
            });
        }
        self.settings.push(Step::SetIpv4 { ifindex: link.ifindex, key, value });
    }

    /// Puts back the settings of `link` that the agent changed and that nobody asks for any more.
    fn restore(&mut self, link: &Link, wanted: &DesiredLink, view: &View<'_>) {
        let done = |s: &&&OwnedSetting| s.netdev == link.name && !wanted.settings.contains_key(&s.key);
        for setting in view.settings.get(link.ifindex).iter().filter(done) {
            if link.ipv4.get(setting.key) == setting.previous {
                // On record until the kernel shows the old value again.
                self.owned.to_mut().settings.remove(setting);
            } else {
                let (ifindex, key, value) = (link.ifindex, setting.key, setting.previous);
                self.settings.push(Step::SetIpv4 { ifindex, key, value });
            }
        }
    }

    fn rules(
        &mut self,
        desired: &Desired,
        observed: &Observed,
        numbers: &RoutingNumbers,
        held: impl Fn(&Rule) -> bool,
    ) {
        let id = |rule: &Rule| (rule.priority, rule.from, rule.table);
        let plain = || observed.rules.iter().filter(|r| !r.complex);
        let present: HashSet<_> = plain().map(id).collect();
        let missing = desired.rules.iter().filter(|r| !present.contains(&id(r)));
        self.add_rules.extend(missing.cloned().map(Step::AddRule));
        let wanted: HashSet<_> = desired.rules.iter().map(id).collect();
        let mut seen = HashSet::new();
        for rule in plain().filter(|r| r.protocol == numbers.protocol) {
            let double = !seen.insert(id(rule));
            if double || (!wanted.contains(&id(rule)) && !held(rule)) {
                self.del_rules.push(Step::DelRule(rule.clone()));
            }
        }
    }

    fn finish(self) -> Plan {
        // An address that moves to another interface leaves the old one first: never two owners, not even for a moment.
        let arrives: HashMap<_, _> = self.add_addresses.iter().filter_map(place_of).collect();
        let (moved, removed) = self.del_addresses.into_iter().partition(|step| {
            place_of(step).is_some_and(|(address, from)| arrives.get(&address).is_some_and(|to| *to != from))
        });
        let steps = [
            self.settings,
            moved,
            self.add_addresses,
            self.links,
            self.add_routes,
            self.add_rules,
            self.del_rules,
            self.del_routes,
            removed,
        ];
        let owned = match self.owned {
            Cow::Owned(owned) => Some(owned),
            Cow::Borrowed(_) => None,
        };
        Plan { steps: steps.into_iter().flatten().collect(), findings: self.findings, owned }
    }
}

/// Address and interface of a step that adds or removes an address.
fn place_of(step: &Step) -> Option<(IpAddr, u32)> {
    match step {
        Step::AddAddress(a) | Step::DelAddress(a) => Some((a.address.addr(), a.ifindex)),
        _ => None,
    }
}

/// The kernel's own route to the subnet of `address` in the main table.
fn kernel_subnet_routes<'a>(
    ifindex: u32,
    address: IpNet,
    view: &'a View<'a>,
) -> impl Iterator<Item = &'a Route> {
    const RTPROT_KERNEL: u8 = 2;
    view.by_link.get(ifindex).iter().copied().filter(move |r| {
        r.table == TABLE_MAIN
            && r.protocol == RTPROT_KERNEL
            && r.dst == address.trunc()
            && r.gateway.is_none()
    })
}

/// Whether the kernel's route to the subnet of `address` belongs to an address of somebody else.
fn foreign_subnet(address: IpNet, present: &[&Address], view: &View<'_>) -> bool {
    let same = |a: &&&Address| a.address.trunc() == address.trunc() && !a.noprefixroute;
    present.iter().filter(same).any(|a| !view.owned.has(a, view.numbers))
}

/// Whether `route` stands in for the kernel's to the subnet of a wanted address, and the kernel's is not there itself.
fn stands_in(route: &Route, wanted: &DesiredLink, view: &View<'_>) -> bool {
    wanted.addresses.iter().any(|a| {
        a.subnet_route.as_ref().is_some_and(|r| same_way(r, route))
            && kernel_subnet_routes(route.oif, a.address, view).next().is_none()
    })
}
