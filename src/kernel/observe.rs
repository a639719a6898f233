//! What the kernel has: complete dumps, or a quick look at single links. Never changes anything.

use std::collections::BTreeSet;

use super::{
    Kernel,
    convert::{self, LINK_HEADER, ROUTE_HEADER, RULE_HEADER},
    error::{ErrorKind, Failure, KernelError},
    request::{address_header, link_header},
    socket::Query,
    uapi::*,
};
use crate::model::{Address, Link, Observed, Route, Rule};

/// Asked for one by one: while one family changes (IPv6 does for a while after a link comes up), the other's dump is
/// consistent.
const FAMILIES: [u8; 2] = [AF_INET, AF_INET6];

/// For more links than this a full dump is cheaper than a question for each (at 1,000 interfaces: 2 us against 200).
const FEW_FOR_ADDRESSES: usize = 64;

/// The same for routes (120 us against 800).
const FEW_FOR_ROUTES: usize = 6;

/// Questions about links in one send: their answers take about 4 KiB each and must fit the default receive buffer.
const LINKS_AT_ONCE: usize = 32;

/// Statistics are the greater part of a link's message, and no use here.
const NO_STATISTICS: [(u16, u32); 1] = [(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS)];

impl Kernel {
    /// Everything in this network namespace.
    ///
    /// # Errors
    ///
    /// A dump that failed, was cut short, or was not consistent after several attempts. Never a short list.
    pub fn observe(&mut self) -> Result<Observed, KernelError> {
        let mut observed = Observed::default();
        for link in self.dump_links()? {
            observed.links.insert(link.ifindex, link);
        }
        for family in FAMILIES {
            observed.addresses.extend(self.dump_addresses(family, 0)?);
            observed.routes.extend(self.dump_routes(family, None)?);
            observed.rules.extend(self.dump_rules(family)?);
        }
        Ok(observed)
    }

    /// These links with their addresses and routes; no rules. A link that is gone is absent.
    ///
    /// A multipath route belongs to each of its links. The kernel walks its whole table for the routes of one link: some
    /// 120 us at 1,000 links.
    ///
    /// # Errors
    ///
    /// As [`Self::observe`].
    pub fn observe_links(&mut self, links: &BTreeSet<u32>) -> Result<Observed, KernelError> {
        let mut observed = Observed { addresses: self.observe_addresses(links)?, ..Observed::default() };
        for link in self.get_links(links)? {
            observed.links.insert(link.ifindex, link);
        }
        for family in FAMILIES {
            if links.len() > FEW_FOR_ROUTES {
                observed.routes.extend(self.dump_routes(family, Some(links))?);
                continue;
            }
            for link in links {
                for route in self.dump_routes(family, Some(&BTreeSet::from([*link])))? {
                    // A multipath route shows at each of its links.
                    if route.oif != 0 || !observed.routes.contains(&route) {
                        observed.routes.push(route);
                    }
                }
            }
        }
        Ok(observed)
    }

    /// The addresses of these links, and nothing else.
    ///
    /// Some microseconds a link, and without the lock that the author of a change may still hold: for a first repair before
    /// [`Self::observe_links`] finds out what else is missing.
    ///
    /// # Errors
    ///
    /// As [`Self::observe`].
    pub fn observe_addresses(&mut self, links: &BTreeSet<u32>) -> Result<Vec<Address>, KernelError> {
        let mut addresses = Vec::new();
        for family in FAMILIES {
            if links.len() > FEW_FOR_ADDRESSES {
                let mut all = self.dump_addresses(family, 0)?;
                all.retain(|address| links.contains(&address.ifindex));
                addresses.extend(all);
                continue;
            }
            for link in links {
                addresses.extend(self.dump_addresses(family, *link)?);
            }
        }
        Ok(addresses)
    }

    pub(super) fn dump_links(&mut self) -> Result<Vec<Link>, KernelError> {
        let query = Query { kind: RTM_GETLINK, header: &[0; LINK_HEADER], attrs: &NO_STATISTICS };
        self.requests
            .dump(&query, |links: &mut Vec<Link>, body| {
                links.push(convert::link(body)?);
                Ok(())
            })
            .map_err(|e| e.of("read the links"))
    }

    fn get_links(&mut self, links: &BTreeSet<u32>) -> Result<Vec<Link>, KernelError> {
        let headers: Vec<_> = links.iter().map(|ifindex| link_header(*ifindex, 0)).collect();
        let mut found = Vec::with_capacity(links.len());
        for headers in headers.chunks(LINKS_AT_ONCE) {
            let queries: Vec<_> = headers
                .iter()
                .map(|header| Query { kind: RTM_GETLINK, header, attrs: &NO_STATISTICS })
                .collect();
            self.requests
                .get(&queries, |_, answer| {
                    match answer {
                        Ok(body) => found.push(convert::link(body)?),
                        Err(refusal) if refusal.kind() == ErrorKind::NoSuchDevice => {}
                        Err(refusal) => return Err(Failure::Refused(refusal)),
                    }
                    Ok(())
                })
                .map_err(|e| e.of("look at links"))?;
        }
        Ok(found)
    }

    /// Addresses of one family, of one link or of all (0).
    fn dump_addresses(&mut self, family: u8, ifindex: u32) -> Result<Vec<Address>, KernelError> {
        let header = address_header(family, 0, ifindex);
        let query = Query { kind: RTM_GETADDR, header: &header, attrs: &[] };
        let addresses = self.requests.dump(&query, |addresses: &mut Vec<Address>, body| {
            addresses.extend(convert::address(body)?);
            Ok(())
        });
        absent_if_gone(addresses).map_err(|e| e.of("read the addresses"))
    }

    /// Unicast routes of one family, through some links or all.
    fn dump_routes(
        &mut self,
        family: u8,
        through: Option<&BTreeSet<u32>>,
    ) -> Result<Vec<Route>, KernelError> {
        let mut header = [0; ROUTE_HEADER];
        header[0] = family;
        header[7] = RTN_UNICAST;
        // The kernel can filter by one interface.
        let mut attrs = Vec::new();
        if let Some(through) = through
            && through.len() == 1
        {
            attrs.extend(through.first().map(|oif| (RTA_OIF, *oif)));
        }
        let query = Query { kind: RTM_GETROUTE, header: &header, attrs: &attrs };
        let routes = self.requests.dump(&query, |routes: &mut Vec<Route>, body| {
            routes.extend(convert::route(body, through)?);
            Ok(())
        });
        absent_if_gone(routes).map_err(|e| e.of("read the routes"))
    }

    fn dump_rules(&mut self, family: u8) -> Result<Vec<Rule>, KernelError> {
        let mut header = [0; RULE_HEADER];
        header[0] = family;
        let query = Query { kind: RTM_GETRULE, header: &header, attrs: &[] };
        self.requests
            .dump(&query, |rules: &mut Vec<Rule>, body| {
                rules.extend(convert::rule(body)?);
                Ok(())
            })
            .map_err(|e| e.of("read the rules"))
    }
}

/// A filter that names an interface which is gone has no results.
fn absent_if_gone<T>(list: Result<Vec<T>, Failure>) -> Result<Vec<T>, Failure> {
    match list {
        Err(Failure::Refused(refusal)) if refusal.kind() == ErrorKind::NoSuchDevice => Ok(Vec::new()),
        other => other,
    }
}
