//! Addresses, routes and rules of every shape, and that a second pass finds nothing to do.

use std::fs;

use crate::world::{
    GUIDE_BLOCK, GUIDE_CHAIN, GUIDE_PREFIX, World, binding, block_pool, plain, prefix_pool, service, until,
    world,
};

/// One pass, then one more that must not touch the kernel or the store.
fn applied(w: &World<'_>) {
    w.once();
    let (before, stored) = (w.dump(), fs::read(w.path("state/state.json")).unwrap());
    let changes = w.changes(|| w.once());
    assert_eq!(changes, Vec::<String>::new(), "the second pass changed something");
    before.assert_same(&w.dump());
    assert_eq!(fs::read(w.path("state/state.json")).unwrap(), stored);
}

#[test]
fn the_guide_in_both_modes() {
    for (manifest, length, gateway) in [(GUIDE_BLOCK, 20, "192.168.0.1"), (GUIDE_PREFIX, 24, "192.168.0.1")] {
        world(|w| {
            w.sf("sf10");
            w.sf("sf20");
            w.manifest("ipam", manifest);
            w.manifest("chain", GUIDE_CHAIN);
            w.bindings(&[service("producer", "sf10"), service("consumer", "sf20")]);
            applied(w);
            assert_eq!(w.addresses("sf10"), [format!("192.168.0.2/{length}")]);
            assert_eq!(w.addresses("sf20"), [format!("192.168.0.3/{length}")]);
            // Two in one subnet: each has its table, and answers for itself.
            assert_eq!(
                w.rules(),
                ["20000: from 192.168.0.2 lookup 20000", "20000: from 192.168.0.3 lookup 20001"]
            );
            for (table, sf, address) in [("20000", "sf10", "192.168.0.2"), ("20001", "sf20", "192.168.0.3")] {
                assert_eq!(
                    w.routes(table),
                    [
                        format!("default via {gateway} dev {sf} metric 2000 src {address} proto 133"),
                        format!("192.168.0.0/{length} dev {sf} metric 2000 src {address} proto 133"),
                    ]
                );
            }
            for sf in ["sf10", "sf20"] {
                let conf = |key: &str| {
                    fs::read_to_string(format!("/proc/sys/net/ipv4/conf/{sf}/{key}"))
                        .unwrap()
                        .trim()
                        .to_owned()
                };
                assert_eq!((conf("arp_ignore"), conf("arp_announce")), ("1".into(), "2".into()));
            }
            assert_eq!(w.addresses("sf10rep"), [""; 0], "never on the representor");
        });
    }
}

#[test]
fn one_sf_gets_a_plain_address_and_the_routes_of_its_pool() {
    world(|w| {
        w.sf("sf0");
        w.manifest(
            "pool",
            &block_pool(
                "10.1.0.0/16",
                "10.1.0.1",
                8,
                ", defaultGateway: true, routes: [{dst: 172.16.0.0/12}, {dst: 10.9.0.0/24}]",
            ),
        );
        w.bindings(&[plain("sf0")]);
        applied(w);
        assert_eq!(w.addresses("sf0"), ["10.1.0.2/16"]);
        assert_eq!(w.rules(), [""; 0]);
        let mut routes = w.routes("main");
        routes.sort();
        assert_eq!(
            routes,
            [
                "10.1.0.0/16 dev sf0 src 10.1.0.2 proto kernel",
                "10.9.0.0/24 via 10.1.0.1 dev sf0 metric 2000 proto 133",
                "172.16.0.0/12 via 10.1.0.1 dev sf0 metric 2000 proto 133",
                "default via 10.1.0.1 dev sf0 metric 2000 proto 133",
            ]
        );
        until("the link is up", || w.ip_json("link show sf0")[0]["operstate"] == "UP");
    });
}

#[test]
fn slices_of_one_and_two_addresses() {
    world(|w| {
        w.sf("sf0");
        w.bindings(&[plain("sf0")]);
        w.manifest(
            "pool",
            &prefix_pool("10.2.0.0/24", 31, ", gatewayIndex: 1, routes: [{dst: 10.8.0.0/16}]"),
        );
        applied(w);
        assert_eq!(w.addresses("sf0"), ["10.2.0.0/31"]);
        assert_eq!(
            w.routes("main"),
            [
                "10.2.0.0/31 dev sf0 src 10.2.0.0 proto kernel",
                "10.8.0.0/16 via 10.2.0.1 dev sf0 metric 2000 proto 133"
            ]
        );
    });
    world(|w| {
        w.sf("sf0");
        w.bindings(&[plain("sf0")]);
        w.manifest(
            "pool",
            &prefix_pool("10.3.0.0/24", 32, ", staticAllocations: [{nodeName: dpu-1, prefix: 10.3.0.7/32}]"),
        );
        applied(w);
        assert_eq!(w.addresses("sf0"), ["10.3.0.7/32"]);
        assert_eq!(w.routes("main"), [""; 0]);
    });
}

#[test]
fn both_families_on_one_sf() {
    world(|w| {
        w.sf("sf0");
        w.manifest("v4", &block_pool("10.1.0.0/24", "10.1.0.1", 8, ""));
        let v6 = block_pool("fd00::/64", "fd00::1", 8, ", defaultGateway: true").replace("pool1", "pool6");
        w.manifest("v6", &v6);
        w.bindings(&[binding("sf0", "netdev: sf0", "pool: [{name: pool1}, {name: pool6}]")]);
        applied(w);
        assert_eq!(w.addresses("sf0"), ["10.1.0.2/24", "fd00::2/64"]);
        let routes = w.ip_json("-6 route show default");
        assert_eq!((&routes[0]["gateway"], &routes[0]["metric"]), (&"fd00::1".into(), &2000.into()));
    });
}

#[test]
fn several_sfs_of_two_subnets() {
    world(|w| {
        let names = ["sf0", "sf1", "sf2", "sf3"];
        for name in names {
            w.sf(name);
        }
        w.manifest("one", &block_pool("10.1.0.0/24", "10.1.0.1", 8, ", defaultGateway: true"));
        w.manifest("two", &block_pool("10.2.0.0/24", "10.2.0.1", 8, "").replace("pool1", "pool2"));
        let mut bindings: Vec<String> = names[..3].iter().map(|n| plain(n)).collect();
        bindings.push(binding("sf3", "netdev: sf3", "pool: {name: pool2}"));
        w.bindings(&bindings);
        applied(w);
        for (n, name) in names[..3].iter().enumerate() {
            assert_eq!(w.addresses(name), [format!("10.1.0.{}/24", n + 2)]);
        }
        assert_eq!(w.addresses("sf3"), ["10.2.0.2/24"]);
        assert_eq!(w.rules().len(), 3, "only those that share a subnet are isolated");
        // Traffic that is bound to no address takes the first binding.
        assert_eq!(w.ip_json("route get 10.1.0.99")[0]["dev"], "sf0");
        assert_eq!(w.ip_json("route get 8.8.8.8")[0]["dev"], "sf0");
        assert_eq!(w.ip_json("route get 8.8.8.8 from 10.1.0.4")[0]["dev"], "sf2");
    });
}

#[test]
fn an_sf_that_joins_and_leaves_changes_how_the_other_is_set() {
    world(|w| {
        w.sf("sf0");
        w.sf("sf1");
        w.ip("link set sf1 up");
        w.manifest("pool", &block_pool("10.1.0.0/24", "10.1.0.1", 8, ""));
        w.bindings(&[plain("sf0")]);
        applied(w);
        w.bindings(&[plain("sf0"), plain("sf1")]);
        applied(w);
        assert_eq!(w.rules().len(), 2);
        let mut connected = w.routes("main");
        connected.sort();
        assert!(connected.iter().all(|r| r.contains("proto 133")), "{connected:?}");
        // A link that comes up again brings the kernel's route of the address that was there before.
        w.ip("link set sf0 down");
        w.ip("link set sf0 up");
        applied(w);
        let mut after = w.routes("main");
        after.sort();
        assert_eq!(after, connected);
        w.bindings(&[plain("sf0")]);
        applied(w);
        assert_eq!(w.rules(), [""; 0]);
        assert_eq!((w.addresses("sf0"), w.addresses("sf1")), (vec!["10.1.0.2/24".to_owned()], vec![]));
        assert_eq!(w.ip_json("route get 10.1.0.99")[0]["dev"], "sf0");
        let arp = fs::read_to_string("/proc/sys/net/ipv4/conf/sf0/arp_ignore").unwrap();
        assert_eq!(arp.trim(), "0", "as it was before");
    });
}

#[test]
fn two_sfs_of_one_ipv6_subnet_while_the_kernel_looks_for_duplicates() {
    world(|w| {
        fs::write("/proc/sys/net/ipv6/conf/default/accept_dad", "1").unwrap();
        w.sf("sf0");
        w.sf("sf1");
        w.manifest("pool", &block_pool("fd00::/64", "fd00::1", 8, ", defaultGateway: true"));
        w.bindings(&[plain("sf0"), plain("sf1")]);
        w.once();
        for (table, sf) in [("20000", "sf0"), ("20001", "sf1")] {
            let routes = w.ip_json(format!("-6 route show table {table}"));
            assert_eq!(
                (&routes[0]["dst"], &routes[1]["dst"]),
                (&"fd00::/64".into(), &"default".into()),
                "{sf}: {routes}"
            );
        }
        until("both addresses are no longer tentative", || {
            !w.ip_json("-6 addr").to_string().contains("tentative")
        });
        for (sf, address) in [("sf0", "fd00::2"), ("sf1", "fd00::3")] {
            let way = w.ip_json(format!("route get 2001:db8::1 from {address}"));
            assert_eq!((&way[0]["dev"], &way[0]["gateway"]), (&sf.into(), &"fd00::1".into()));
        }
        // Unbound traffic takes the first binding's way and address.
        assert_eq!(w.ip_json("route get 2001:db8::1")[0]["prefsrc"], "fd00::2");
        w.ip("link set sf1 down");
        w.once();
        assert_eq!(w.addresses("sf1"), ["fd00::3/64"], "the kernel takes IPv6 addresses with the link");
    });
}
