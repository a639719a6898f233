//! A node: the real engine, a stored state, and a model kernel in which others have things of their own.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use dpu_ipam::{
    engine::{
        self, Inputs, Pass,
        assignment::Assignment,
        attach::Match,
        lease::{LeaseBook, PodHeld},
        plan::Owned,
    },
    model::{
        Address, Attachment, Binding, Isolation, Labels, PoolChoice, PoolSelector, Route, Rule, SfMatch,
        Step, TABLE_MAIN, Timestamp,
    },
};

use super::{NUMBERS, QUARANTINE, kernel::Kernel};

pub(crate) const FOREIGN_LINK: u32 = 1;

#[derive(Debug, Clone, Default)]
pub(crate) struct Stored {
    pub(crate) book: LeaseBook,
    pub(crate) owned: Owned,
    pub(crate) assignment: Option<Assignment>,
}

#[derive(Debug, Clone)]
pub(crate) struct NodeSim {
    pub(crate) name: String,
    pub(crate) kernel: Kernel,
    pub(crate) store: Stored,
    pub(crate) bindings: Vec<Binding>,
    pub(crate) next_ifindex: u32,
    /// Who held an address last, and when; for the quarantine.
    pub(crate) holders: HashMap<IpAddr, (String, u64)>,
}

/// What the agent did not put into the kernel; it must never change by a pass.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Foreign {
    pub(crate) addresses: Vec<Address>,
    pub(crate) routes: Vec<Route>,
    pub(crate) rules: Vec<Rule>,
}

pub(crate) fn binding(number: usize, isolation: Isolation, index: Option<u32>) -> Binding {
    Binding {
        name: format!("sf{number}").parse().unwrap(),
        sf: SfMatch { netdev: Some(format!("sf{number}").parse().unwrap()), ..SfMatch::default() },
        pool: PoolChoice::Pools(vec![PoolSelector::Labels(labels())]),
        index,
        isolation,
    }
}

pub(crate) fn labels() -> Labels {
    Labels::from([("svc.dpu.nvidia.com/pool".to_owned(), "p".to_owned())])
}

impl NodeSim {
    pub(crate) fn new(name: &str, bindings: Vec<Binding>) -> Self {
        let mut node = Self {
            name: name.to_owned(),
            kernel: Kernel::default(),
            store: Stored::default(),
            bindings,
            next_ifindex: 10,
            holders: HashMap::new(),
        };
        node.kernel.add_link(FOREIGN_LINK, "oob_net0");
        node.kernel.state.links.get_mut(&FOREIGN_LINK).unwrap().up = true;
        for number in 0..4 {
            node.create_sf(number);
        }
        node.disturb_foreign();
        node
    }

    pub(crate) fn create_sf(&mut self, number: usize) {
        let name = format!("sf{number}");
        if self.kernel.state.links.values().all(|l| l.name.as_str() != name) {
            self.kernel.add_link(self.next_ifindex, &name);
            self.next_ifindex += 1;
        }
    }

    pub(crate) fn sf(&self, number: usize) -> Option<u32> {
        let name = format!("sf{number}");
        self.kernel.state.links.values().find(|l| l.name.as_str() == name).map(|l| l.ifindex)
    }

    /// Puts foreign things where the agent has nothing to do.
    pub(crate) fn disturb_foreign(&mut self) {
        self.foreign_address(FOREIGN_LINK, "172.16.0.5/24");
        let route = Route {
            table: TABLE_MAIN,
            dst: "0.0.0.0/0".parse().unwrap(),
            metric: 0,
            gateway: Some("172.16.0.1".parse().unwrap()),
            oif: FOREIGN_LINK,
            source: None,
            onlink: false,
            protocol: 16,
        };
        self.kernel.state.routes.push(route);
        self.kernel.state.rules.push(Rule {
            priority: 31_000,
            from: Some("172.16.0.5/32".parse().unwrap()),
            table: 60,
            ipv6: false,
            complex: false,
            protocol: 4,
        });
    }

    /// An administrator's address.
    pub(crate) fn foreign_address(&mut self, ifindex: u32, address: &str) {
        let address = Address {
            ifindex,
            address: address.parse().unwrap(),
            noprefixroute: false,
            dad_failed: false,
            protocol: 0,
        };
        let _ = self.kernel.apply(&Step::AddAddress(address));
    }

    pub(crate) fn is_ours(&self, address: &Address) -> bool {
        self.store.owned.has(address, &NUMBERS())
    }

    pub(crate) fn foreign(&self) -> Foreign {
        let state = &self.kernel.state;
        let addresses: Vec<_> = state.addresses.iter().filter(|a| !self.is_ours(a)).cloned().collect();
        // A kernel's route belongs to whoever set the address that it is for.
        let of_foreign = |r: &Route| {
            r.source.is_some_and(|s| addresses.iter().any(|a| (a.ifindex, a.address.addr()) == (r.oif, s)))
        };
        let ours = |r: &&Route| r.protocol == NUMBERS().protocol || (r.protocol == 2 && !of_foreign(r));
        let routes = state.routes.iter().filter(|r| !ours(r)).cloned().collect();
        let rules = state.rules.iter().filter(|r| r.protocol != NUMBERS().protocol).cloned().collect();
        Foreign { addresses, routes, rules }
    }

    pub(crate) fn matches(&self) -> BTreeMap<dpu_ipam::model::BindingName, Match> {
        let links = &self.kernel.state.links;
        self.bindings
            .iter()
            .map(|b| {
                let found = links.values().find(|l| Some(&l.name) == b.sf.netdev.as_ref());
                let found = found.map_or(Match::Absent { why: "not there".into() }, |l| {
                    Match::Found(Attachment {
                        netdev: l.name.clone(),
                        ifindex: l.ifindex,
                        mac: None,
                        pci: None,
                        sfnum: None,
                    })
                });
                (b.name.clone(), found)
            })
            .collect()
    }

    pub(crate) fn compute(&self, fresh: &Assignment, now: Timestamp) -> (Pass, Assignment) {
        let empty = Assignment::empty(fresh.node.clone());
        let matches = self.matches();
        let book = self.store.book.clone();
        let in_use = book.pools();
        let assignment = fresh.clone().succeed(self.store.assignment.as_ref().unwrap_or(&empty), &in_use);
        let pass = engine::pass(&Inputs {
            bindings: &self.bindings,
            numbers: &NUMBERS(),
            quarantine: QUARANTINE,
            assignment: &assignment,
            book: &book,
            owned: &self.store.owned,
            matches: &matches,
            observed: &self.kernel.state,
            pods: &PodHeld::new(),
            now,
        });
        (pass, assignment)
    }

    /// One pass as the agent makes it, cut off after `steps` steps.
    pub(crate) fn pass(&mut self, fresh: &Assignment, now: Timestamp, steps: usize) {
        let foreign = self.foreign();
        self.steps(fresh, now, steps);
        self.assert_foreign_untouched(&foreign);
        self.assert_quarantine(now.0);
    }

    pub(crate) fn steps(&mut self, fresh: &Assignment, now: Timestamp, steps: usize) {
        let mut left = steps;
        for _ in 0..4 {
            let (pass, assignment) = self.compute(fresh, now);
            let owned = pass.plan.owned.unwrap_or_else(|| self.store.owned.clone());
            self.store = Stored { book: pass.book, owned, assignment: Some(assignment) };
            if pass.plan.steps.is_empty() {
                return;
            }
            for step in &pass.plan.steps {
                if left == 0 {
                    return;
                }
                left -= 1;
                let _ = self.kernel.apply(step);
            }
        }
    }

    pub(crate) fn assert_foreign_untouched(&self, before: &Foreign) {
        let after = self.foreign();
        for address in &before.addresses {
            assert!(after.addresses.contains(address), "{}: foreign address {address:?} is gone", self.name);
        }
        for route in &before.routes {
            assert!(after.routes.contains(route), "{}: foreign route {route:?} is gone", self.name);
        }
        for rule in &before.rules {
            assert!(after.rules.contains(rule), "{}: foreign rule {rule:?} is gone", self.name);
        }
    }

    /// No address goes from one binding to another before it has rested.
    pub(crate) fn assert_quarantine(&mut self, now: u64) {
        for lease in &self.store.book.leases {
            let holder = lease.binding.to_string();
            if let Some((before, when)) = self.holders.insert(lease.address, (holder.clone(), now)) {
                let rested = before == holder || now >= when + QUARANTINE.as_secs();
                assert!(rested, "{}: {} went from {before} to {holder} at once", self.name, lease.address);
            }
        }
    }
}
