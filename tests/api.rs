//! What a set of manifests gives to each node, and the definitions of the kinds. No process, no files but the guide's.

#![expect(clippy::unwrap_used, reason = "helpers of tests end the test")]

use std::{collections::BTreeSet, fs};

use dpu_ipam::{
    api::{self, Fleet, Objects, manifest},
    engine::assignment::{Assignment, Standing},
    model::NodeName,
    pool::PoolKind,
};

fn objects(texts: &[&str]) -> Objects {
    let sources: Vec<_> = texts
        .iter()
        .enumerate()
        .map(|(i, text)| manifest::Source { name: format!("{i}.yaml"), bytes: text.as_bytes().to_vec() })
        .collect();
    manifest::decode(&sources)
}

fn guide(file: &str) -> String {
    fs::read_to_string(format!("{}/tests/manifests/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn assignment(objects: &Objects, node: &str) -> Assignment {
    Fleet::build(objects).assignment(&node.parse::<NodeName>().unwrap())
}

/// The first address of each slice, or how it stands.
fn slices(assignment: &Assignment) -> Vec<String> {
    let text = |p: &dpu_ipam::engine::assignment::AssignedPool| match (&p.slice, &p.standing) {
        (Some(slice), Standing::Current) => format!("{} {}", p.pool, slice.range.first()),
        (None, Standing::Current) => format!("{} none", p.pool),
        (_, standing) => format!("{} {standing:?}", p.pool),
    };
    assignment.pools.iter().map(text).collect()
}

fn problems(assignment: &Assignment) -> String {
    assignment.problems.iter().map(|p| format!("{p}\n")).collect()
}

const NODES: &str = "
{apiVersion: v1, kind: Node, metadata: {name: dpu-1, labels: {zone: a}}}
---
{apiVersion: v1, kind: Node, metadata: {name: dpu-2, labels: {zone: b}}}
";

#[test]
fn every_definition_generates() {
    let crds = api::crds();
    let names: Vec<_> = crds.iter().map(|c| c.metadata.name.as_deref().unwrap()).collect();
    assert_eq!(
        names,
        [
            "cidrpools.nv-ipam.nvidia.com",
            "dpuservicechains.svc.dpu.nvidia.com",
            "dpuserviceinterfaces.svc.dpu.nvidia.com",
            "dpuserviceipams.svc.dpu.nvidia.com",
            "ippools.nv-ipam.nvidia.com",
            "nodeserviceinterfaces.svc.dpu.nvidia.com",
            "servicechains.svc.dpu.nvidia.com",
            "servicechainsets.svc.dpu.nvidia.com",
            "serviceinterfaces.svc.dpu.nvidia.com",
            "serviceinterfacesets.svc.dpu.nvidia.com",
        ]
    );
    for crd in &crds {
        assert_eq!(crd.spec.scope, "Namespaced");
        let version = &crd.spec.versions[0];
        assert_eq!(version.name, "v1alpha1");
        assert!(
            version.subresources.as_ref().unwrap().status.is_some(),
            "{:?} has a status",
            crd.metadata.name
        );
        let schema = serde_json::to_string(&version.schema).unwrap();
        assert!(!schema.contains("$ref"), "an API server takes no references");
    }
    let columns = |name: &str| -> Vec<String> {
        let crd = crds.iter().find(|c| c.spec.names.kind == name).unwrap();
        crd.spec.versions[0].additional_printer_columns.iter().flatten().map(|c| c.name.clone()).collect()
    };
    assert_eq!(columns("IPPool"), ["Subnet", "Gateway", "Block Size"]);
    assert_eq!(columns("CIDRPool"), ["CIDR", "Gateway index", "Per Node Network Prefix"]);
    assert_eq!(columns("DPUServiceIPAM"), ["Ready", "Phase", "Age"]);
}

#[test]
fn the_guide_gives_each_node_its_block_and_two_ports() {
    let (subnet, chain) = (guide("ipam-subnet.yaml"), guide("producer-consumer.yaml"));
    let objects = objects(&[&subnet, &chain, NODES]);
    let second = assignment(&objects, "dpu-2");
    assert_eq!(slices(&second), ["IPPool/example-pool1 192.168.1.1"]);
    assert_eq!(second.pools[0].labels["svc.dpu.nvidia.com/pool"], "example-pool1");
    assert_eq!(problems(&second), "");
    let ports: Vec<_> =
        second.ports.iter().map(|p| (p.service_id.as_str(), p.interface_name.as_str())).collect();
    assert_eq!(ports, [("consumer", "app-iface"), ("producer", "app-iface")]);
    assert_eq!(second.ports[0].pool_labels["svc.dpu.nvidia.com/pool"], "example-pool1");
    assert!(!second.ports[0].is_gateway && !second.ports[0].set_default_route);
}

#[test]
fn without_node_objects_the_node_is_the_only_one() {
    let objects = objects(&[&guide("ipam-network.yaml")]);
    for node in ["dpu-1", "dpu-7"] {
        assert_eq!(slices(&assignment(&objects, node)), ["CIDRPool/example-pool1 192.168.0.1"]);
    }
}

#[test]
fn nodes_that_vanish_make_nobody_the_only_one() {
    let pool = guide("ipam-subnet.yaml");
    let with_nodes = assignment(&objects(&[&pool, NODES]), "dpu-2");
    assert_eq!(slices(&with_nodes), ["IPPool/example-pool1 192.168.1.1"]);
    let in_use = with_nodes.pools.iter().map(|p| p.pool.clone()).collect();
    let alone = assignment(&objects(&[&pool]), "dpu-2");
    assert_eq!(slices(&alone), ["IPPool/example-pool1 192.168.0.1"], "taken for itself it would be");
    let kept = alone.clone().succeed(&with_nodes, &in_use);
    assert_eq!(kept.pools[0].slice, with_nodes.pools[0].slice);
    assert!(matches!(&kept.pools[0].standing, Standing::Unusable(why) if why.contains("Node objects")));
    // The same again changes nothing, and a pool that nobody uses yet gives nothing.
    assert_eq!(alone.clone().succeed(&kept, &in_use), kept);
    assert_eq!(alone.clone().succeed(&with_nodes, &BTreeSet::new()).pools[0].slice, None);
    // Who was alone from the beginning stays so.
    assert_eq!(alone.clone().succeed(&alone, &in_use), alone);
}

const STANDING: &str = "
apiVersion: nv-ipam.nvidia.com/v1alpha1
kind: IPPool
metadata: {name: p, namespace: default}
spec: {subnet: 10.0.0.0/24, perNodeBlockSize: 10, gateway: 10.0.0.1}
status: {allocations: [{nodeName: dpu-2, startIP: 10.0.0.41, endIP: 10.0.0.50}]}
";

#[test]
fn without_node_objects_the_status_says_who_owns_what() {
    let objects = objects(&[STANDING]);
    assert_eq!(slices(&assignment(&objects, "dpu-2")), ["IPPool/p 10.0.0.41"]);
    let stranger = assignment(&objects, "dpu-3");
    assert_eq!(slices(&stranger), ["IPPool/p none"]);
    assert_eq!(
        problems(&stranger),
        "IPPool/p status.allocations: names other nodes, but not dpu-3: split the pool again with the Node objects of all\n"
    );
}

#[test]
fn a_node_is_not_alone_where_any_status_names_another() {
    let own = |objects: &Objects, node| slices(&assignment(objects, node));
    // A new pool beside one that was split: both nodes must see the same split of it.
    let two = STANDING.replace("]}", ", {nodeName: dpu-1, startIP: 10.0.0.1, endIP: 10.0.0.10}]}");
    let with_new_pool = objects(&[&two, &guide("ipam-subnet.yaml")]);
    assert_eq!(own(&with_new_pool, "dpu-1"), ["IPPool/p 10.0.0.1", "IPPool/example-pool1 192.168.0.1"]);
    assert_eq!(own(&with_new_pool, "dpu-2"), ["IPPool/p 10.0.0.41", "IPPool/example-pool1 192.168.1.1"]);
    assert_eq!(own(&with_new_pool, "dpu-3"), ["IPPool/p none", "IPPool/example-pool1 none"]);
    // The same when the mode of the DPUServiceIPAM was switched and the split pool is the old one.
    let made = two.replace(
        "{name: p, namespace: default}",
        "{name: example-pool1, namespace: dpf-operator-system, \
                  labels: {dpu.nvidia.com/dpuserviceipam-name: example-pool1}}",
    );
    let switched = objects(&[&made, &guide("ipam-network.yaml")]);
    assert_eq!(own(&switched, "dpu-2"), ["CIDRPool/example-pool1 192.168.1.1"]);
}

#[test]
fn an_unknown_node_gets_nothing_and_hears_why() {
    let objects = objects(&[STANDING, NODES]);
    let stranger = assignment(&objects, "dpu-3");
    assert_eq!(slices(&stranger), ["IPPool/p none"]);
    assert!(problems(&stranger).starts_with("Node/dpu-3: is not among the Node objects"));
}

#[test]
fn nothing_new_is_given_from_half_a_set() {
    let objects = objects(&[&guide("ipam-subnet.yaml"), STANDING, "kind: [Node"]);
    assert!(objects.incomplete);
    let own = assignment(&objects, "dpu-2");
    assert_eq!(slices(&own)[0], "IPPool/p 10.0.0.41", "what stands stays");
    assert!(
        matches!(&own.pools[1].standing, Standing::Unusable(why) if why.starts_with("not split")),
        "{own:?}"
    );
    assert!(problems(&own).contains("2.yaml:1: broken YAML"));
}

#[test]
fn an_invalid_pool_is_unusable_and_the_others_are_not() {
    let invalid =
        STANDING.replace("name: p,", "name: broken,").replace("gateway: 10.0.0.1", "gateway: 10.9.0.1");
    let objects = objects(&[&invalid, STANDING, NODES]);
    let own = assignment(&objects, "dpu-2");
    assert!(matches!(&own.pools[0].standing, Standing::Unusable(why) if why.contains("spec.gateway")));
    assert_eq!(own.pools[0].slice, None);
    assert_eq!(slices(&own)[1], "IPPool/p 10.0.0.41");
    assert!(problems(&own).contains("IPPool/broken spec.gateway: Invalid value"));
    let fleet = Fleet::build(&objects);
    let kept = fleet.pools().next().unwrap().allocations().unwrap();
    assert_eq!(kept[0].node_name(), "dpu-2", "what stood is kept");
    assert_eq!(fleet.events()[0].reason.as_deref(), Some("InvalidSpec"));
}

#[test]
fn a_refused_ipam_leaves_the_pool_that_it_made() {
    let made = STANDING
        .replace("{name: p, namespace: default}", "{name: example-pool1, namespace: dpf-operator-system}");
    let both = guide("ipam-subnet.yaml") + "  ipv4Network: {network: 10.0.0.0/8, prefixSize: 24}\n";
    let objects = objects(&[&made, &both, NODES]);
    let own = assignment(&objects, "dpu-2");
    assert_eq!(slices(&own), ["IPPool/example-pool1 10.0.0.41"]);
    assert!(problems(&own).contains("DPUServiceIPAM/example-pool1 spec: has two modes"));
}

#[test]
fn a_full_pool_tells_the_node_that_is_left_out() {
    let small = STANDING.replace("10.0.0.0/24", "10.0.0.0/28").replace("status", "#");
    let objects = objects(&[&small, NODES]);
    assert_eq!(problems(&assignment(&objects, "dpu-1")), "");
    assert_eq!(
        problems(&assignment(&objects, "dpu-2")),
        "IPPool/p: NoFreeRanges: failed to allocate IPs on Node: dpu-2\n"
    );
}

#[test]
fn slices_of_two_nodes_that_overlap_are_refused_and_only_those() {
    let other = STANDING.replace("name: p,", "name: q,").replace("dpu-2", "dpu-1");
    let objects = objects(&[STANDING, &other, NODES]);
    // Of each pool, one node has the standing block 41 to 50 and the other gets 1 to 10: both pairs cross.
    for node in ["dpu-1", "dpu-2"] {
        let own = assignment(&objects, node);
        assert!(
            own.pools.iter().all(|p| p.slice.is_none() && matches!(p.standing, Standing::Unusable(_))),
            "{own:?}"
        );
        assert!(problems(&own).contains("overlaps"), "{}", problems(&own));
    }
    let same = STANDING.replace("name: p,", "name: q,");
    let objects = self::objects(&[STANDING, &same, NODES]);
    assert_eq!(
        slices(&assignment(&objects, "dpu-2")),
        ["IPPool/p 10.0.0.41", "IPPool/q 10.0.0.41"],
        "one owner"
    );
}

const CLUSTER: &str = r#"
apiVersion: svc.dpu.nvidia.com/v1alpha1
kind: ServiceInterfaceSet
metadata: {name: app, namespace: ns}
spec:
  nodeSelector: {matchExpressions: [{key: zone, operator: In, values: [a, c]}]}
  template:
    metadata: {labels: {app: x}}
    spec: {interfaceType: service, service: {serviceID: svc, network: net, interfaceName: eth1}}
---
# What the set made for dpu-1, and what later versions make instead.
apiVersion: svc.dpu.nvidia.com/v1alpha1
kind: ServiceInterface
metadata: {name: app-dpu-1, namespace: ns, labels: {app: x, made-by: controller}}
spec: {node: dpu-1, interfaceType: service, service: {serviceID: svc, network: ns/net, interfaceName: eth1}}
---
apiVersion: svc.dpu.nvidia.com/v1alpha1
kind: NodeServiceInterfaces
metadata: {name: dpu-1, namespace: ns}
spec:
  node: dpu-1
  type: sfc
  interfaces:
  - {name: ns_app, labels: {app: x}, interfaceType: service, service: {serviceID: svc, network: net, interfaceName: eth1}}
  - {name: ns_old, terminating: true, labels: {app: x}, interfaceType: service, service: {serviceID: old, network: net, interfaceName: eth1}}
  - {name: ns_p0, labels: {uplink: p0}, interfaceType: physical, physical: {interfaceName: p0}}
---
apiVersion: svc.dpu.nvidia.com/v1alpha1
kind: ServiceChainSet
metadata: {name: chain, namespace: ns}
spec:
  nodeSelector: {matchLabels: {zone: a}}
  template:
    spec:
      switches:
      - serviceMTU: 9000
        ports:
        - serviceInterface: {matchLabels: {app: x}, ipam: {matchLabels: {pool: p}, defaultGateway: true, setDefaultRoute: true}}
        - serviceInterface: {matchLabels: {uplink: p0}, ipam: {matchLabels: {pool: p}}}
---
apiVersion: svc.dpu.nvidia.com/v1alpha1
kind: ServiceChain
metadata: {name: chain-dpu-1, namespace: ns}
spec:
  node: dpu-1
  switches:
  - ports:
    - serviceInterface: {matchLabels: {app: x}, ipam: {matchLabels: {pool: p}, defaultGateway: true, setDefaultRoute: true}}
"#;

#[test]
fn one_interface_that_comes_by_several_objects_is_one_port() {
    let objects = objects(&[CLUSTER, NODES]);
    let own = assignment(&objects, "dpu-1");
    assert_eq!(problems(&own), "");
    assert_eq!(own.ports.len(), 1, "{:?}", own.ports);
    assert_eq!((own.ports[0].service_id.as_str(), own.ports[0].interface_name.as_str()), ("svc", "eth1"));
    assert!(own.ports[0].is_gateway && own.ports[0].set_default_route);
    assert_eq!(assignment(&objects, "dpu-2").ports, [], "the chain is meant for zone a");
}

#[test]
fn labels_of_an_unknown_node_are_not_guessed() {
    let own = assignment(&objects(&[CLUSTER]), "dpu-2");
    assert_eq!(own.ports, []);
    assert!(problems(&own).contains("no Node object tells its labels"));
}

#[test]
fn pools_are_sorted_ip_pools_first() {
    let cidr = "{apiVersion: nv-ipam.nvidia.com/v1alpha1, kind: CIDRPool, metadata: {name: a}, \
                spec: {cidr: 10.8.0.0/16, perNodeNetworkPrefix: 24}}";
    let kinds: Vec<_> =
        assignment(&objects(&[cidr, STANDING]), "dpu-2").pools.iter().map(|p| p.pool.kind).collect();
    assert_eq!(kinds, [PoolKind::IpPool, PoolKind::CidrPool]);
}

proptest::proptest! {
    /// Whatever is done to a manifest: it is read or refused, and the rest of the set lives on.
    #[test]
    fn no_text_brings_it_down(
        cuts in proptest::collection::vec((0..4000_usize, 0..12_usize, "[ -~\\n]{0,6}"), 1..4),
        file in 0..4_usize,
    ) {
        let names = ["ipam-subnet.yaml", "ipam-network.yaml", "producer-consumer.yaml", ""];
        let mut bytes = if names[file].is_empty() { CLUSTER.to_owned() } else { guide(names[file]) }.into_bytes();
        for (at, length, text) in cuts {
            let at = at % bytes.len();
            bytes.splice(at..(at + length).min(bytes.len()), text.into_bytes());
        }
        let broken = String::from_utf8_lossy(&bytes);
        let objects = objects(&[&broken, STANDING, NODES]);
        let own = assignment(&objects, "dpu-2");
        proptest::prop_assert!(slices(&own).contains(&"IPPool/p 10.0.0.41".to_owned()), "{own:?}");
        let _ = api::lint::lint(&objects);
    }
}

#[test]
fn a_node_is_not_alone_beside_a_pool_that_cannot_be_read() {
    let unreadable = STANDING.replace("perNodeBlockSize", "perNodeBlocksize");
    let objects = objects(&[&unreadable, &guide("ipam-subnet.yaml")]);
    assert_eq!(slices(&assignment(&objects, "dpu-1")), ["IPPool/example-pool1 none"]);
}
