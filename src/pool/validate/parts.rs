//! The checks of the lists that both kinds of pools have, and of static allocations.

use std::collections::HashSet;

use ipnet::IpNet;
use serde_json::{Map, Value, json};

use super::{super::parse, ordered};
use crate::pool::{ErrorKind, ExcludeRange, FieldError, IndexRange, StaticAllocation};

/// Collects errors in order.
#[derive(Default)]
pub(super) struct Errors(Vec<FieldError>);

impl Errors {
    pub(super) fn invalid(&mut self, field: impl Into<String>, value: impl Into<Value>, detail: &str) {
        self.push(field, ErrorKind::Invalid, value, detail);
    }

    /// Of a kind that names no value.
    pub(super) fn bare(&mut self, field: impl Into<String>, kind: ErrorKind, detail: &str) {
        self.push(field, kind, Value::Null, detail);
    }

    fn push(&mut self, field: impl Into<String>, kind: ErrorKind, value: impl Into<Value>, detail: &str) {
        self.0.push(FieldError { field: field.into(), kind, value: value.into(), detail: detail.to_owned() });
    }

    pub(super) fn into_vec(self) -> Vec<FieldError> {
        self.0
    }
}

pub(super) fn check_exclusions(errors: &mut Errors, exclusions: &[ExcludeRange], network: &IpNet) {
    for (i, exclusion) in exclusions.iter().enumerate() {
        let field = format!("spec.exclusions[{i}]");
        let mut end = |name: &str, text: &str| {
            let address = parse::address(text);
            match address {
                None => errors.invalid(format!("{field}.{name}"), text, "is invalid IP address"),
                Some(address) if !network.contains(&address) => {
                    let detail = format!("is not part of the {network} subnet");
                    errors.invalid(format!("{field}.{name}"), text, &detail);
                }
                Some(_) => {}
            }
            address
        };
        let (first, last) = (end("startIP", &exclusion.start), end("endIP", &exclusion.end));
        if let (Some(first), Some(last)) = (first, last)
            && !ordered(first, last)
        {
            let value = json!({"startIP": exclusion.start, "endIP": exclusion.end});
            errors.invalid(field, value, "endIP should be equal or greater than startIP");
        }
    }
}

/// Indexes are 32-bit in nv-ipam: none is above 2^31-1, however large the node's part.
pub(super) fn check_index_ranges(errors: &mut Errors, ranges: &[IndexRange], top: u128, part: &str) {
    let top = i64::try_from(top).unwrap_or(i64::MAX).min(i64::from(i32::MAX));
    for (i, range) in ranges.iter().enumerate() {
        let field = format!("spec.perNodeExclusions[{i}]");
        let ends = [("startIndex", range.start), ("endIndex", range.end)];
        for (name, index) in ends {
            if index < 0 {
                errors.invalid(format!("{field}.{name}"), index, "must be non-negative");
            }
        }
        if range.end < range.start {
            let value = json!({"startIndex": range.start, "endIndex": range.end});
            errors.invalid(field.as_str(), value, "endIndex must be greater than or equal to startIndex");
        }
        for (name, index) in ends {
            if index > top {
                let detail = format!("index is outside of the per-node {part} range (max: {top})");
                errors.invalid(format!("{field}.{name}"), index, &detail);
            }
        }
    }
}

pub(super) fn check_routes(
    errors: &mut Errors,
    routes: &[String],
    pool: Option<&IpNet>,
    default_gateway: bool,
) {
    for (i, text) in routes.iter().enumerate() {
        let field = || format!("spec.routes[{i}].dst");
        let Some(route) = parse::network(text) else {
            errors.invalid(field(), text.as_str(), "is invalid subnet");
            continue;
        };
        if pool.is_some_and(|pool| pool.addr().is_ipv4() != route.addr().is_ipv4()) {
            errors.invalid(field(), text.as_str(), "is not same address family IPv4/IPv6");
        }
        if default_gateway && route.prefix_len() == 0 {
            let detail = "default route is not allowed if 'defaultGateway' is true";
            errors.invalid(field(), text.as_str(), detail);
        }
    }
}

pub(super) fn check_static_allocations(
    errors: &mut Errors,
    list: &[StaticAllocation],
    cidr: &IpNet,
    length: u8,
) {
    let (mut names, mut prefixes) = (HashSet::new(), HashSet::new());
    let whole = || Value::Array(list.iter().map(as_written).collect());
    for (i, item) in list.iter().enumerate() {
        let field = format!("spec.staticAllocations[{i}]");
        let prefix = parse::network(&item.prefix);
        let problem = match prefix {
            None => Some("is not a valid network prefix"),
            Some(prefix) if prefix != prefix.trunc() => Some("network prefix has host bits set"),
            Some(prefix) if !cidr.contains(&prefix.addr()) => Some("prefix is not part of the pool cidr"),
            Some(prefix) if prefix.prefix_len() != length => {
                Some("prefix size doesn't match spec.perNodeNetworkPrefix")
            }
            Some(_) => None,
        };
        if let Some(problem) = problem {
            errors.invalid(format!("{field}.prefix"), item.prefix.as_str(), problem);
        } else if let Some(prefix) = prefix
            && !item.gateway.is_empty()
        {
            let problem = match parse::address(&item.gateway) {
                None => Some("is not a valid IP"),
                Some(gateway) if !prefix.contains(&gateway) => Some("is outside of the node prefix"),
                Some(_) => None,
            };
            if let Some(problem) = problem {
                errors.invalid(format!("{field}.gateway"), item.gateway.as_str(), problem);
            }
        }
        if !item.node_name.is_empty() && !names.insert(&item.node_name) {
            let detail = format!("contains multiple entries for node {}", item.node_name);
            errors.invalid("spec.staticAllocations", whole(), &detail);
        }
        if let Some(prefix) = prefix.filter(|_| problem.is_none())
            && !prefixes.insert(prefix)
        {
            let detail = format!("contains multiple entries for prefix {prefix}");
            errors.invalid("spec.staticAllocations", whole(), &detail);
        }
    }
}

/// Empty fields are left out but for `prefix`.
fn as_written(item: &StaticAllocation) -> Value {
    let mut fields = Map::new();
    for (key, text) in [("nodeName", &item.node_name), ("gateway", &item.gateway)] {
        if !text.is_empty() {
            fields.insert(key.to_owned(), json!(text));
        }
    }
    fields.insert("prefix".to_owned(), json!(item.prefix));
    Value::Object(fields)
}
