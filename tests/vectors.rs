//! The golden cases of nv-ipam in `tests/vectors/`, each by name. A case fails unless it comes out exactly as nv-ipam
//! does it, or as the table of divergences says; all failing cases of a file are reported together.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests: clippy.toml only excuses the test functions themselves"
)]

use std::{collections::BTreeMap, fmt::Write as _, fs, net::IpAddr, path::Path};

use dpu_ipam::pool::{
    AddrRange, Allocation, CidrPoolSpec, ErrorKind, ExcludeRange, IndexRange, IpPoolSpec, Node, NodeSelector,
    PoolSpec, Requirement, Slice, Split, StaticAllocation, Term, slice, split, validate,
};
use serde_json::{Value, json};

/// Runs `check` on every case of the file; a case fails with the text that `check` returns.
fn run(file: &str, expected_count: usize, check: impl Fn(&str, &Value, &Value) -> Result<(), String>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(file);
    let text = fs::read_to_string(&path).unwrap();
    let mut failures = String::new();
    let (mut count, mut failed) = (0, 0);
    for line in text.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let name = case["name"].as_str().unwrap();
        count += 1;
        if let Err(difference) = check(name, &case["input"], &case["output"]) {
            failed += 1;
            writeln!(failures, "{name}: {difference}").unwrap();
        }
    }
    assert!(failures.is_empty(), "{failed} of {count} cases of {file} fail:\n{failures}");
    assert_eq!(count, expected_count, "cases in {file}");
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, got: &T, expected: &T) -> Result<(), String> {
    if got == expected { Ok(()) } else { Err(format!("{what}\n  got      {got:?}\n  expected {expected:?}")) }
}

// ---- from JSON to the room's types ----

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn list<T>(value: &Value, item: impl Fn(&Value) -> T) -> Vec<T> {
    value.as_array().map(|items| items.iter().map(item).collect()).unwrap_or_default()
}

fn spec(pool: &Value) -> PoolSpec {
    let spec = &pool["spec"];
    let exclusions =
        list(&spec["exclusions"], |v| ExcludeRange { start: text(&v["startIP"]), end: text(&v["endIP"]) });
    let number = |value: &Value| value.as_i64().unwrap_or_default();
    let per_node_exclusions = list(&spec["perNodeExclusions"], |v| IndexRange {
        start: number(&v["startIndex"]),
        end: number(&v["endIndex"]),
    });
    let node_selector = spec.get("nodeSelector").map(selector);
    let default_gateway = spec["defaultGateway"].as_bool().unwrap_or_default();
    let routes = list(&spec["routes"], |route| text(&route["dst"]));
    match pool["kind"].as_str() {
        Some("IPPool") => PoolSpec::IpPool(IpPoolSpec {
            subnet: text(&spec["subnet"]),
            per_node_block_size: number(&spec["perNodeBlockSize"]),
            gateway: text(&spec["gateway"]),
            exclusions,
            per_node_exclusions,
            node_selector,
            default_gateway,
            routes,
        }),
        Some("CIDRPool") => PoolSpec::CidrPool(CidrPoolSpec {
            cidr: text(&spec["cidr"]),
            gateway_index: spec["gatewayIndex"].as_i64(),
            per_node_network_prefix: number(&spec["perNodeNetworkPrefix"]),
            exclusions,
            per_node_exclusions,
            static_allocations: list(&spec["staticAllocations"], |v| StaticAllocation {
                node_name: text(&v["nodeName"]),
                prefix: text(&v["prefix"]),
                gateway: text(&v["gateway"]),
            }),
            node_selector,
            default_gateway,
            routes,
        }),
        kind => panic!("kind {kind:?}"),
    }
}

fn selector(value: &Value) -> NodeSelector {
    let requirement = |v: &Value| Requirement {
        key: text(&v["key"]),
        operator: text(&v["operator"]),
        values: list(&v["values"], text),
    };
    let term = |v: &Value| Term {
        expressions: list(&v["matchExpressions"], requirement),
        fields: list(&v["matchFields"], requirement),
    };
    NodeSelector { terms: list(&value["nodeSelectorTerms"], term) }
}

fn allocations(spec: &PoolSpec, value: &Value) -> Vec<Allocation> {
    list(value, |v| match spec {
        PoolSpec::IpPool(_) => Allocation::Block {
            node_name: text(&v["nodeName"]),
            start: text(&v["startIP"]),
            end: text(&v["endIP"]),
        },
        PoolSpec::CidrPool(_) => Allocation::Prefix {
            node_name: text(&v["nodeName"]),
            prefix: text(&v["prefix"]),
            gateway: text(&v["gateway"]),
        },
    })
}

fn node(value: &Value) -> Node {
    let labels = value["labels"].as_object().into_iter().flatten();
    Node {
        name: text(&value["name"]),
        labels: labels.map(|(key, value)| (key.clone(), text(value))).collect(),
    }
}

// ---- validate ----

#[test]
fn validate_cases() {
    run("validate.jsonl", 245, |_, input, output| {
        let errors = validate(&text(&input["metadata"]["name"]), &spec(input));
        let kind = |kind| match kind {
            ErrorKind::Invalid => "FieldValueInvalid",
            ErrorKind::Required => "FieldValueRequired",
            ErrorKind::Forbidden => "FieldValueForbidden",
            ErrorKind::Duplicate => "FieldValueDuplicate",
            ErrorKind::NotSupported => "FieldValueNotSupported",
        };
        let errors: Vec<_> = errors
            .iter()
            .map(|e| {
                json!({"field": e.field, "type": kind(e.kind), "value": e.value, "detail": e.detail,
                    "message": e.to_string()})
            })
            .collect();
        same("errors", &Value::Array(errors), &output["errors"])
    });
}

// ---- split ----

/// Where the split is better than nv-ipam: the case, and what comes out instead, as `allocations | warnings`, each
/// allocation as `node start end` or `node prefix gateway`. The reasons are in the documentation of `dpu_ipam::pool`.
const DIVERGENT: &[(&str, &str)] = &[
    // A node that is listed twice keeps its first entry, which its daemon serves.
    ("ip-drop-same-node-twice", "a 10.0.0.1 10.0.0.10, b 10.0.0.11 10.0.0.20 |"),
    ("ip-drop-same-node-twice-full", "a 10.0.0.1 10.0.0.3, b 10.0.0.4 10.0.0.6 |"),
    ("cidr-drop-dupnode", "a 10.0.9.0/24 10.0.9.1, b 10.0.0.0/24 10.0.0.1 |"),
    (
        "cidr-rand-0013",
        "w0.example.org 10.65.7.0/31 10.65.7.1, w12.example.org 10.65.7.2/31 10.65.7.3, \
         w15.example.org 10.65.7.12/31 10.65.7.13, w18.example.org 10.65.7.14/31 10.65.7.15, \
         w22.example.org 10.65.7.6/31 10.65.7.7, w23.example.org 10.65.7.8/31 10.65.7.9 \
         | NoFreePrefixes",
    ),
    (
        "cidr-rand-0026",
        "node01 10.59.80.128/25 10.59.80.131, node03 10.59.84.128/25 10.59.84.131, \
         node04 10.59.81.0/25 10.59.81.3, node05 10.59.81.128/25 10.59.81.131, \
         node14 10.59.82.0/25 10.59.82.3, node15 10.59.82.128/25 10.59.82.131, \
         node21 10.59.83.0/25 10.59.83.3, node22 10.59.85.0/25 10.59.85.3, \
         static-0 10.59.80.0/25 10.59.80.3, static-1 10.59.84.0/25 10.59.84.3, \
         static-2 10.59.83.128/25 10.59.83.131 |",
    ),
    // A selector that cannot be evaluated leaves the nodes what they have, and warns.
    ("ip-sel-gt-bad", "| InvalidSelector"),
    ("ip-sel-gt-bad-or", "b 10.0.0.1 10.0.0.16 | InvalidSelector"),
    ("ip-sel-in-bad-value", "| InvalidSelector"),
    ("ip-sel-bad-value-drops", "a 10.0.0.1 10.0.0.16 | InvalidSelector"),
    ("cidr-sel-bad", "a 10.0.1.0/24 10.0.1.1 | InvalidSelector"),
    // An invalid spec leaves everything as it stands (written only if nothing was ever written).
    ("ip-invalid-clears", "a 10.0.0.1 10.0.0.16, b 10.0.0.17 10.0.0.32 | InvalidSpec"),
    (
        "ip-chain-invalid-restore/03",
        "a 10.0.0.21 10.0.0.30, m 10.0.0.1 10.0.0.10, z 10.0.0.11 10.0.0.20 | InvalidSpec",
    ),
    ("cidr-invalid", "a 10.0.1.0/24 10.0.1.1 | InvalidSpec"),
    ("cidr-chain-prefix/04", "a 10.0.0.0/31 10.0.0.1, b 10.0.0.2/31 10.0.0.3 | InvalidSpec"),
    (
        "cidr-chain-invalid/03",
        "a 10.0.2.0/24 10.0.2.1, m 10.0.0.0/24 10.0.0.1, z 10.0.1.0/24 10.0.1.1 | InvalidSpec",
    ),
    (
        "cidr-rand-0009",
        "node02 10.194.96.0/32, node07 10.194.96.1/32, node08 10.194.96.2/32, \
         node13 10.194.96.3/32, node22 10.194.96.4/32, static-0 10.194.96.5/32 | InvalidSpec",
    ),
    ("cidr-rand-0019", "| InvalidSpec"),
    ("cidr-rand-0034", "| InvalidSpec"),
    // Prefixes are compared by value.
    ("cidr-static-noncanonical", "a fd00:0:0:1::/64, b fd00:0:0:0::/64 |"),
    ("cidr-static-noncanonical-reserved", "a fd00:0:0:1::/64 |"),
    ("cidr-static-leadingzero", "a 10.0.1.0/24 10.0.1.1, b 10.0.0.0/024 10.0.0.1 |"),
    ("cidr-keep-noncanonical", "a fd00:0:0:1::/64, b fd00:0:0:0::/64 |"),
    ("cidr-chain-noncanonical/03", "a fd00:0:0:1::/64, b fd00:0:0:0::/64 |"),
    // Only the gateway is wrong: the prefix is kept, the gateway rewritten.
    ("cidr-drop-nogw", "a 10.0.9.0/24 10.0.9.1, b 10.0.7.0/24 10.0.7.1 |"),
    ("cidr-drop-wronggw", "a 10.0.9.0/24 10.0.9.1, b 10.0.7.0/24 10.0.7.1 |"),
    ("cidr-drop-gw-unexpected", "a 10.0.9.0/24, b 10.0.8.0/24 |"),
    ("cidr-chain-gi/03", "a 10.0.2.0/24 10.0.2.2, m 10.0.0.0/24 10.0.0.2, z 10.0.1.0/24 10.0.1.2 |"),
    (
        "cidr-rand-0007",
        "node02 10.161.128.32/27 10.161.128.33, node05 10.161.128.128/27 10.161.128.129, \
         node13 10.161.128.64/27 10.161.128.65, node14 10.161.128.0/27 10.161.128.1, \
         node19 10.161.128.96/27 10.161.128.97, node21 10.161.128.160/27 10.161.128.161, \
         node22 10.161.128.192/27 10.161.128.193, static-1 10.161.131.128/27 10.161.131.145 |",
    ),
    (
        "cidr-rand-0018",
        "node00 fd66:0:0:3::/64 fd66:0:0:3::1, node02 fd66:0:0:1::/64 fd66:0:0:1::1, \
         node04 fd66:0:0:4::/64 fd66:0:0:4::1, node07 fd66:0:0:2::/64 fd66:0:0:2::1, \
         node09 fd66:0:0:7::/64 fd66:0:0:7::1, node10 fd66::/64 fd66::1, \
         node11 fd66:0:0:8::/64 fd66:0:0:8::1, node13 fd66:0:0:5::/64 fd66:0:0:5::1, \
         node22 fd66:0:0:6::/64 fd66:0:0:6::1 |",
    ),
    (
        "cidr-rand-0023",
        "static-1 10.145.161.128/26 10.145.161.131, static-2 10.145.160.0/26 10.145.160.3, \
         w13.example.org 10.145.161.0/26 10.145.161.3, \
         w22.example.org 10.145.160.64/26 10.145.160.67, \
         w3.example.org 10.145.161.192/26 10.145.161.195, \
         w5.example.org 10.145.161.64/26 10.145.161.67 | NoFreePrefixes",
    ),
    (
        "cidr-rand-0028",
        "static-2 fdc2:0:0:2::/64 fdc2:0:0:2::1, w15.example.org fdc2:0:0:3::/64 fdc2:0:0:3::1, \
         w17.example.org fdc2:0:0:6::/64 fdc2:0:0:6::1, \
         w18.example.org fdc2:0:0:7::/64 fdc2:0:0:7::1, \
         w21.example.org fdc2:0:0:4::/64 fdc2:0:0:4::1, \
         w23.example.org fdc2:0:0:8::/64 fdc2:0:0:8::1, \
         w3.example.org fdc2:0:0:9::/64 fdc2:0:0:9::1, \
         w5.example.org fdc2:0:0:5::/64 fdc2:0:0:5::1, w6.example.org fdc2::/64 fdc2::1, \
         w7.example.org fdc2:0:0:1::/64 fdc2:0:0:1::1, \
         w8.example.org fdc2:0:0:a::/64 fdc2:0:0:a::1 |",
    ),
    // One owner of a prefix keeps it: the first good entry, whatever entries of vanished nodes say.
    ("cidr-drop-dupprefix", "a 10.0.9.0/24 10.0.9.1, b 10.0.0.0/24 10.0.0.1 |"),
    ("cidr-drop-staleconflict", "a 10.0.9.0/24 10.0.9.1, b 10.0.0.0/24 10.0.0.1 |"),
    (
        "cidr-rand-0014",
        "node08 10.113.132.0/24 10.113.132.1, node11 10.113.137.0/24 10.113.137.1, \
         node13 10.113.138.0/24 10.113.138.1, node14 10.113.139.0/24 10.113.139.1, \
         node17 10.113.131.0/24 10.113.131.1, node18 10.113.140.0/24 10.113.140.1, \
         node19 10.113.141.0/24 10.113.141.1, node22 10.113.135.0/24 10.113.135.1, \
         node23 10.113.136.0/24 10.113.136.1, static-1 10.113.130.0/24 10.113.130.15, \
         static-2 10.113.133.0/24 10.113.133.1 |",
    ),
    (
        "cidr-rand-0032",
        "0n 10.153.9.1/32 10.153.9.1, 12n 10.153.9.5/32 10.153.9.5, 13n 10.153.9.6/32 10.153.9.6, \
         17n 10.153.9.0/32 10.153.9.0, 21n 10.153.9.9/32 10.153.9.9, \
         23n 10.153.9.12/32 10.153.9.12, 5n 10.153.9.10/32 10.153.9.10, \
         7n 10.153.9.11/32 10.153.9.11, static-1 10.153.9.13/32 10.153.9.13 |",
    ),
];

fn brief(allocation: &Allocation) -> String {
    match allocation {
        Allocation::Block { node_name, start, end } => format!("{node_name} {start} {end}"),
        Allocation::Prefix { node_name, prefix, gateway } => {
            format!("{node_name} {prefix} {gateway}").trim_end().to_owned()
        }
    }
}

fn summary(split: &Split) -> String {
    let allocations: Vec<_> = split.allocations.iter().map(brief).collect();
    let warnings: Vec<_> = split.warnings.iter().map(|warning| warning.reason).collect();
    format!("{} | {}", allocations.join(", "), warnings.join(", ")).trim().to_owned()
}

#[test]
fn split_cases() {
    let divergent: BTreeMap<_, _> = DIVERGENT.iter().copied().collect();
    run("split.jsonl", 379, |case, input, output| {
        let spec = spec(input);
        let name = text(&input["metadata"]["name"]);
        let current = input["status"].get("allocations").map(|list| allocations(&spec, list));
        let mut nodes = list(&input["nodes"], node);
        let got = split(&name, &spec, current.as_deref(), &nodes);
        same("changed", &got.changed, &(current.as_ref() != Some(&got.allocations)))?;
        nodes.reverse();
        same("with the nodes reversed", &split(&name, &spec, current.as_deref(), &nodes), &got)?;
        let again = split(&name, &spec, Some(&got.allocations), &nodes);
        same("next pass", &again.allocations, &got.allocations)?;
        let warnings: Vec<_> = got
            .warnings
            .iter()
            .map(|warning| json!({"type": "Warning", "reason": warning.reason, "message": warning.message}))
            .collect();
        let exact =
            same("allocations", &got.allocations, &allocations(&spec, &output["status"]["allocations"]))
                .and_then(|()| same("events", &Value::Array(warnings), &output["events"]))
                .and_then(|()| same("changed", &Value::Bool(got.changed), &output["statusWritten"]))
                .and_then(|()| same("settled", &None, &output.get("settled")));
        match divergent.get(case) {
            None => exact,
            Some(_) if exact.is_ok() => Err("is listed as divergent, but is not".to_owned()),
            Some(expected) => same("divergent", &summary(&got), &(*expected).to_owned()),
        }
    });
}

// ---- slice ----

/// Where a slice is better than what nv-ipam's node daemon derives: the case, and what is excluded instead.
const DIVERGENT_SLICES: &[(&str, &[&str])] = &[
    // An exclusion wider than the prefix counts.
    ("cidr-ex-spanning-static", &["10.1.0.9-10.1.0.14"]),
    // The broadcast address in a standing block is never leased.
    ("ip-broadcast-block", &["10.0.0.15-10.0.0.15"]),
];

fn address(value: &Value) -> Option<IpAddr> {
    value.as_str().filter(|text| !text.is_empty()).map(|text| text.parse().unwrap())
}

/// nv-ipam's exclusions of a node pool are as written: joined, possibly reversed or outside of the range. Address by
/// address, as the pools of these cases are small at that place.
fn excluded(range: AddrRange, exclusions: &Value) -> Vec<bool> {
    let exclusions: Vec<_> =
        list(exclusions, |v| (address(&v["startIP"]).unwrap(), address(&v["endIP"]).unwrap()));
    let is_excluded = |ip: IpAddr| exclusions.iter().any(|(first, last)| *first <= ip && ip <= *last);
    (0..64).map_while(|i| range.nth(i)).map(is_excluded).collect()
}

fn check_slice(case: &str, got: &Slice, expected: &Value) -> Result<(), String> {
    let range = AddrRange::new(address(&expected["startIP"]).unwrap(), address(&expected["endIP"]).unwrap());
    same("range", &Some(got.range), &range)?;
    let network: ipnet::IpNet = expected["subnet"].as_str().unwrap().parse().unwrap();
    same("network", &got.network, &network.trunc())?;
    same("gateway", &got.gateway, &address(&expected["gateway"]))?;
    let route = |v: &Value| v["dst"].as_str().unwrap().parse::<ipnet::IpNet>().unwrap().trunc();
    let mut routes = list(&expected["routes"], route);
    if expected["defaultGateway"] == json!(true) {
        routes.push(if network.addr().is_ipv4() { "0.0.0.0/0" } else { "::/0" }.parse().unwrap());
    }
    routes.sort_by_key(|route| (route.addr(), route.prefix_len()));
    routes.dedup();
    same("routes", &got.routes, &routes)?;
    match DIVERGENT_SLICES.iter().find(|(name, _)| *name == case) {
        Some((_, excluded)) => {
            let text: Vec<_> = got.excluded.iter().map(|r| format!("{}-{}", r.first(), r.last())).collect();
            same("divergent excluded", &text, &excluded.iter().map(ToString::to_string).collect())
        }
        None => {
            let bits = (0..64).map_while(|i| got.range.nth(i));
            let bits = bits.map(|ip| got.excluded.iter().any(|range| range.contains(ip))).collect();
            same("excluded", &bits, &excluded(got.range, &expected["exclusions"]))
        }
    }
}

#[test]
fn node_side_cases() {
    run("allocate.jsonl", 117, |case, input, output| {
        let key = |kind: &Value, name: &Value| {
            let name = name.as_str().unwrap();
            if kind == "IPPool" { name.to_owned() } else { format!("cidrpool/{name}") }
        };
        let at_start = input["pools"]
            .as_array()
            .unwrap()
            .iter()
            .map(|pool| (pool, &output["nodePools"][key(&pool["kind"], &pool["metadata"]["name"])]));
        let operations = input["ops"].as_array().unwrap().iter().zip(output["results"].as_array().unwrap());
        let updated = operations
            .filter(|(operation, _)| operation["op"] == "updatePool")
            .map(|(operation, result)| (&operation["pool"], &result["nodePool"]));
        for (pool, expected) in at_start.chain(updated) {
            let spec = spec(pool);
            let entries = allocations(&spec, &pool["status"]["allocations"]);
            let entry = entries.iter().find(|entry| Some(entry.node_name()) == input["node"].as_str());
            let valid = validate(case, &spec).is_empty();
            match entry.filter(|_| valid).map(|entry| slice(&spec, entry)) {
                // nv-ipam serves a range that is none, and only fails when it allocates.
                Some(Err(_)) if case == "ip-badrange" => {}
                None | Some(Err(_)) => same("served", &Value::Null, expected)?,
                Some(Ok(_)) if expected.is_null() => return Err("must not be served".to_owned()),
                Some(Ok(slice)) => check_slice(case, &slice, expected)?,
            }
        }
        Ok(())
    });
}
