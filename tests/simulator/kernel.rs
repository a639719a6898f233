//! The model of the kernel: links, addresses, routes, rules, and what happens to the ones with the others.

use std::net::IpAddr;

use dpu_ipam::model::{Address, Ipv4Conf, Link, Observed, Route, Step, TABLE_MAIN};

#[derive(Debug, Clone, Default)]
pub(crate) struct Kernel {
    pub(crate) state: Observed,
    /// Before 5.18 the kernel does not keep who set an address.
    pub(crate) forgets: bool,
}

impl Kernel {
    pub(crate) fn add_link(&mut self, ifindex: u32, name: &str) {
        let link = Link {
            ifindex,
            name: name.parse().unwrap(),
            mac: None,
            up: false,
            carrier: true,
            mtu: 1500,
            kind: None,
            phys_port_name: None,
            parent_dev: None,
            ipv4: Ipv4Conf::default(),
        };
        self.state.links.insert(ifindex, link);
    }

    pub(crate) fn remove_link(&mut self, ifindex: u32) {
        self.state.links.remove(&ifindex);
        self.state.addresses.retain(|a| a.ifindex != ifindex);
        self.state.routes.retain(|r| r.oif != ifindex);
    }

    pub(crate) fn subnet_route(address: &Address) -> Route {
        Route {
            table: TABLE_MAIN,
            dst: address.address.trunc(),
            metric: 0,
            gateway: None,
            oif: address.ifindex,
            source: Some(address.address.addr()),
            onlink: false,
            protocol: 2,
        }
    }

    pub(crate) fn add_subnet_route(&mut self, address: &Address) {
        let route = Self::subnet_route(address);
        let has_one =
            self.state.routes.iter().any(|r| r.oif == route.oif && r.dst == route.dst && r.protocol == 2);
        let host = address.address.prefix_len() == address.address.max_prefix_len();
        if !address.noprefixroute && !host && !has_one && self.state.links[&address.ifindex].up {
            self.state.routes.push(route);
        }
    }

    pub(crate) fn del_address(&mut self, ifindex: u32, address: ipnet::IpNet) -> bool {
        let on_link = |a: &Address| a.ifindex == ifindex;
        let Some(at) = self.state.addresses.iter().position(|a| on_link(a) && a.address == address) else {
            return false;
        };
        let gone = self.state.addresses.remove(at);
        let same_subnet = |a: &Address| on_link(a) && a.address.trunc() == address.trunc();
        let was_primary = !self.state.addresses[..at].iter().any(same_subnet);
        if was_primary && self.state.links[&ifindex].ipv4.promote_secondaries == 0 {
            self.state.addresses.retain(|a| !same_subnet(a));
        }
        // Routes that name a vanished source go; so does the kernel's own route with the last address of its subnet.
        let left: Vec<Address> = self.state.addresses.iter().filter(|a| on_link(a)).cloned().collect();
        let has_source = |ip: IpAddr| left.iter().any(|a| a.address.addr() == ip);
        self.state.routes.retain(|r| r.oif != ifindex || r.source.is_none_or(&has_source));
        if let Some(next) = left.iter().find(|a| a.address.trunc() == gone.address.trunc()) {
            self.add_subnet_route(&next.clone());
        }
        if left.is_empty() {
            self.state.routes.retain(|r| r.oif != ifindex);
        }
        true
    }

    pub(crate) fn link_down(&mut self, ifindex: u32) {
        if let Some(link) = self.state.links.get_mut(&ifindex) {
            link.up = false;
            self.state.routes.retain(|r| r.oif != ifindex);
        }
    }

    pub(crate) fn apply(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::SetIpv4 { ifindex, key, value } => {
                self.state.links.get_mut(ifindex).ok_or("no such device")?.ipv4.set(*key, *value);
            }
            Step::LinkUp { ifindex } => {
                self.state.links.get_mut(ifindex).ok_or("no such device")?.up = true;
                for address in self.state.addresses.clone().iter().filter(|a| a.ifindex == *ifindex) {
                    self.add_subnet_route(address);
                }
            }
            Step::AddAddress(address) => {
                if !self.state.links.contains_key(&address.ifindex) {
                    return Err("no such device".into());
                }
                let same = |a: &Address| (a.ifindex, a.address) == (address.ifindex, address.address);
                if self.state.addresses.iter().any(same) {
                    return Err("exists".into());
                }
                let protocol = if self.forgets { 0 } else { address.protocol };
                self.state.addresses.push(Address { protocol, ..address.clone() });
                self.add_subnet_route(address);
            }
            Step::AddRoute(route) | Step::ReplaceRoute(route) => {
                let link = self.state.links.get(&route.oif).ok_or("no such device")?;
                if !link.up {
                    return Err("network is down".into());
                }
                let mine = |a: &&Address| a.ifindex == route.oif;
                let addresses: Vec<&Address> = self.state.addresses.iter().filter(mine).collect();
                if route.source.is_some_and(|s| !addresses.iter().any(|a| a.address.addr() == s)) {
                    return Err("invalid source".into());
                }
                let key = |r: &Route| (r.table, r.dst, r.metric);
                let taken = self.state.routes.iter().position(|r| key(r) == key(route));
                match (step, taken) {
                    (Step::AddRoute(_), Some(_)) => return Err("exists".into()),
                    (_, Some(at)) => self.state.routes[at] = route.clone(),
                    (_, None) => self.state.routes.push(route.clone()),
                }
            }
            Step::AddRule(rule) => self.state.rules.push(rule.clone()),
            Step::DelRule(rule) => {
                let at = self.state.rules.iter().position(|r| r == rule).ok_or("not found")?;
                self.state.rules.remove(at);
            }
            Step::DelRoute(route) | Step::DelSubnetRoute(route) => self.state.routes.retain(|r| r != route),
            Step::DelAddress(address) => {
                self.del_address(address.ifindex, address.address);
            }
        }
        Ok(())
    }
}
