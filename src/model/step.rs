//! Steps: all that connects the planner with the kernel room.

use serde::{Deserialize, Serialize};

use super::{Address, Ipv4Key, Route, Rule, TABLE_MAIN};

/// One change of the kernel's state: all that connects the planner with the kernel room.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum Step {
    /// Change a per-interface IPv4 setting.
    SetIpv4 {
        /// Interface index.
        ifindex: u32,
        /// Which.
        key: Ipv4Key,
        /// New value.
        value: u32,
    },
    /// Add an address, marked with our protocol.
    AddAddress(Address),
    /// Set the link administratively up.
    LinkUp {
        /// Interface index.
        ifindex: u32,
    },
    /// Add a route; never replaces another one.
    AddRoute(Route),
    /// Replace our own route that has the same table, destination and metric.
    ReplaceRoute(Route),
    /// Add a rule.
    AddRule(Rule),
    /// Remove one of our rules.
    DelRule(Rule),
    /// Remove one of our routes.
    DelRoute(Route),
    /// Remove the route to the subnet that the kernel made together with one of our addresses.
    DelSubnetRoute(Route),
    /// Remove one of our addresses.
    DelAddress(Address),
}

impl Step {
    /// The interface that it concerns; none for rules.
    #[must_use]
    pub fn ifindex(&self) -> Option<u32> {
        match self {
            Self::SetIpv4 { ifindex, .. } | Self::LinkUp { ifindex } => Some(*ifindex),
            Self::AddAddress(address) | Self::DelAddress(address) => Some(address.ifindex),
            Self::AddRoute(route)
            | Self::ReplaceRoute(route)
            | Self::DelRoute(route)
            | Self::DelSubnetRoute(route) => Some(route.oif),
            Self::AddRule(_) | Self::DelRule(_) => None,
        }
    }

    /// Whether it takes something away.
    #[must_use]
    pub fn removes(&self) -> bool {
        matches!(self, Self::DelAddress(_) | Self::DelRoute(_) | Self::DelSubnetRoute(_) | Self::DelRule(_))
    }

    /// The step in words; `name` gives an interface's name by its index.
    #[must_use]
    pub fn words(&self, name: impl Fn(u32) -> String) -> String {
        let via = |route: &Route| {
            let via = route.gateway.map_or_else(String::new, |g| format!(" via {g}"));
            let onlink = if route.onlink { " onlink" } else { "" };
            let source = route.source.map_or_else(String::new, |s| format!(" src {s}"));
            let table =
                if route.table == TABLE_MAIN { String::new() } else { format!(" table {}", route.table) };
            let dst = if route.dst.prefix_len() == 0 { "default".to_owned() } else { route.dst.to_string() };
            format!("{dst}{via} dev {}{onlink}{source} metric {}{table}", name(route.oif), route.metric)
        };
        let rule = |rule: &Rule| {
            let from = rule.from.map_or_else(|| "all".to_owned(), |f| f.to_string());
            format!("from {from} lookup {} priority {}", rule.table, rule.priority)
        };
        match self {
            Self::SetIpv4 { ifindex, key, value } => format!("set {key}={value} on {}", name(*ifindex)),
            Self::AddAddress(a) => {
                let flag = if a.noprefixroute { " noprefixroute" } else { "" };
                format!("add address {} dev {}{flag}", a.address, name(a.ifindex))
            }
            Self::LinkUp { ifindex } => format!("set {} up", name(*ifindex)),
            Self::AddRoute(r) => format!("add route {}", via(r)),
            Self::ReplaceRoute(r) => format!("replace route {}", via(r)),
            Self::AddRule(r) => format!("add rule {}", rule(r)),
            Self::DelRule(r) => format!("remove rule {}", rule(r)),
            Self::DelRoute(r) => format!("remove route {}", via(r)),
            Self::DelSubnetRoute(r) => format!("remove the kernel's route {}", via(r)),
            Self::DelAddress(a) => format!("remove address {} dev {}", a.address, name(a.ifindex)),
        }
    }
}
