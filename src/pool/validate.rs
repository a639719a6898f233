//! Validation of pool specs: nv-ipam's checks, in its order, with its field paths and texts. Never changes a spec.

mod parts;
mod selector;

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::{Value, json};

use self::parts::{Errors, check_exclusions, check_index_ranges, check_routes, check_static_allocations};
use super::{CidrPoolSpec, FieldError, IpPoolSpec, PoolSpec, network, parse};

/// Every problem of the pool called `name`, in nv-ipam's order; empty = valid.
///
/// Of a CIDRPool's network, length and `gatewayIndex` sign, only the first problem is listed, and what depends on them
/// is not looked at (vector `cidr-first-error-only`).
#[must_use]
pub fn validate(name: &str, spec: &PoolSpec) -> Vec<FieldError> {
    let mut errors = Errors::default();
    match spec {
        PoolSpec::IpPool(spec) => {
            check_name(&mut errors, name, "IP");
            check_ip_pool(&mut errors, spec);
        }
        PoolSpec::CidrPool(spec) => {
            check_name(&mut errors, name, "CIDR");
            check_cidr_pool(&mut errors, spec);
        }
    }
    errors.into_vec()
}

/// The name becomes the name of a CNI network.
fn check_name(errors: &mut Errors, name: &str, kind: &str) {
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if !(starts_well && name.bytes().all(|c| c.is_ascii_alphanumeric() || b"_.-".contains(&c))) {
        let detail = format!("invalid {kind} pool name, should be compatible with CNI network name");
        errors.invalid("metadata.name", name, &detail);
    }
}

fn check_ip_pool(errors: &mut Errors, spec: &IpPoolSpec) {
    let subnet = parse::network(&spec.subnet).map(|subnet| subnet.trunc());
    if subnet.is_none() {
        errors.invalid("spec.subnet", spec.subnet.as_str(), "is invalid subnet");
    }
    let size = u128::try_from(spec.per_node_block_size).ok().filter(|size| *size >= 1);
    match (size, subnet) {
        (None, _) => errors.invalid("spec.perNodeBlockSize", spec.per_node_block_size, "must be at least 1"),
        (Some(size), Some(subnet)) if size - 1 > network::hosts(&subnet).span() => {
            let detail = "is larger then amount of IPs available in the subnet";
            errors.invalid("spec.perNodeBlockSize", spec.per_node_block_size, detail);
        }
        _ => {}
    }
    if let Some(subnet) = subnet {
        check_exclusions(errors, &spec.exclusions, &subnet);
    }
    if let Some(size) = size {
        check_index_ranges(errors, &spec.per_node_exclusions, size - 1, "block");
    }
    if !spec.gateway.is_empty() {
        match (parse::address(&spec.gateway), subnet) {
            (None, _) => errors.invalid("spec.gateway", spec.gateway.as_str(), "is invalid IP address"),
            (Some(gateway), Some(subnet)) if !subnet.contains(&gateway) => {
                errors.invalid("spec.gateway", spec.gateway.as_str(), "is not part of the subnet");
            }
            _ => {}
        }
    }
    selector::check(errors, spec.node_selector.as_ref());
    check_needs_gateway(errors, spec.gateway.is_empty(), "gateway", spec.default_gateway, &spec.routes);
    check_routes(errors, &spec.routes, subnet.as_ref(), spec.default_gateway);
}

fn check_cidr_pool(errors: &mut Errors, spec: &CidrPoolSpec) {
    if let Some((cidr, prefix)) = check_cut(errors, spec) {
        if let Some(index) = spec.gateway_index
            && network::gateway(&prefix, index).is_none()
        {
            errors.invalid("spec.gatewayIndex", index, "gateway index is outside of the node prefix");
        }
        check_exclusions(errors, &spec.exclusions, &cidr);
        let (first, last) = (prefix.network(), prefix.broadcast());
        let top = super::AddrRange::new(first, last).map_or(0, |range| range.span());
        check_index_ranges(errors, &spec.per_node_exclusions, top, "subnet");
        check_static_allocations(errors, &spec.static_allocations, &cidr, prefix.prefix_len());
    }
    selector::check(errors, spec.node_selector.as_ref());
    let no_gateway = spec.gateway_index.is_none();
    check_needs_gateway(errors, no_gateway, "gatewayIndex", spec.default_gateway, &spec.routes);
    check_routes(errors, &spec.routes, parse::network(&spec.cidr).as_ref(), spec.default_gateway);
}

/// The pool's network and its first prefix, or the first problem with them.
fn check_cut(errors: &mut Errors, spec: &CidrPoolSpec) -> Option<(IpNet, IpNet)> {
    let length = spec.per_node_network_prefix;
    let (field, value, detail): (_, Value, _) = match parse::network(&spec.cidr) {
        None => ("spec.cidr", json!(spec.cidr), "is invalid cidr"),
        Some(cidr) if cidr != cidr.trunc() => {
            ("spec.cidr", json!(spec.cidr), "network prefix has host bits set")
        }
        Some(_) if spec.gateway_index.is_some_and(|index| index < 0) => {
            ("spec.gatewayIndex", json!(spec.gateway_index), "must not be negative")
        }
        Some(_) if length < 0 => ("spec.perNodeNetworkPrefix", json!(length), "must not be negative"),
        Some(cidr) => match first_prefix(spec, &cidr) {
            Some(prefix) => return Some((cidr, prefix)),
            None => (
                "spec.perNodeNetworkPrefix",
                json!(length),
                "must be less or equal than network prefix size in the \"cidr\" field",
            ),
        },
    };
    errors.invalid(field, value, detail);
    None
}

/// The first of the prefixes that `cidr` is cut into; `None` if the length does not fit. In a CIDR written as
/// IPv4-mapped IPv6 the lengths count the 96 bits of the mapping.
pub(super) fn first_prefix(spec: &CidrPoolSpec, cidr: &IpNet) -> Option<IpNet> {
    let mapped = matches!(cidr, IpNet::V4(_)) && spec.cidr.contains(':');
    let offset = if mapped { parse::MAPPED_BITS } else { 0 };
    let length = u8::try_from(spec.per_node_network_prefix).ok()?.checked_sub(offset)?;
    IpNet::new(cidr.network(), length).ok().filter(|_| length > 0 && length >= cidr.prefix_len())
}

fn check_needs_gateway(errors: &mut Errors, missing: bool, field: &str, default: bool, routes: &[String]) {
    if missing && default {
        let detail = format!("cannot be true if spec.{field} is not set");
        errors.invalid("spec.defaultGateway", true, &detail);
    }
    if missing && !routes.is_empty() {
        let value: Vec<_> = routes.iter().map(|dst| json!({"dst": dst})).collect();
        errors.invalid("spec.routes", value, &format!("cannot be set if spec.{field} is not set"));
    }
}

/// Same family, ends included.
fn ordered(first: IpAddr, last: IpAddr) -> bool {
    super::AddrRange::new(first, last).is_some()
}
