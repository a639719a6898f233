//! Whatever somebody changes while the agent runs comes back, and nothing else moves.

use std::fs;

use crate::world::{Agent, World, binding, block_pool, plain, until, within_patience, world};

const POOL: &str = ", defaultGateway: true, routes: [{dst: 172.16.0.0/12}]";

/// Two SFs of one subnet and one of another, beside things that are none of the agent's business.
fn machine(w: &World<'_>) {
    for sf in ["sf0", "sf1", "sf2"] {
        w.sf(sf);
    }
    w.ip("link add other type veth peer name otherrep");
    w.ip("link set other up");
    w.ip("link set otherrep up");
    w.manifest("one", &block_pool("10.1.0.0/24", "10.1.0.1", 8, POOL));
    w.manifest("two", &block_pool("10.2.0.0/24", "10.2.0.1", 8, "").replace("pool1", "pool2"));
    w.bindings(&[plain("sf0"), plain("sf1"), binding("sf2", "netdev: sf2", "pool: {name: pool2}")]);
    // Foreign things, some of them right beside ours.
    w.ip("link set sf0 up");
    w.ip("addr add 192.0.2.1/24 dev sf0");
    w.ip("addr add 10.1.0.200/24 dev other noprefixroute");
    w.ip("route add 198.51.100.0/24 via 192.0.2.9 dev sf0 proto static");
    w.ip("route add default via 192.0.2.254 dev sf0 metric 100");
    w.ip("route add 203.0.113.0/24 dev other table 20000 metric 7");
    w.ip("rule add from 192.0.2.1 lookup 77 priority 20000");
    w.ip("rule add from 10.1.0.77 lookup 77 priority 100 proto static");
}

/// Each of `harms` is undone, and afterwards all is as it was.
fn undone(w: &World<'_>, harms: &[&str]) {
    let agent = w.ready();
    let before = w.dump();
    for harm in harms {
        for words in harm.split(';') {
            w.ip(words.trim());
        }
        if !within_patience(|| w.dump() == before) {
            eprintln!("{harm} was not undone; log:\n{}", agent.log());
            before.assert_same(&w.dump());
        }
    }
    assert_eq!(agent.stop(), Some(0));
    before.assert_same(&w.dump());
}

#[test]
fn addresses() {
    world(|w| {
        machine(w);
        undone(
            w,
            &[
                "addr del 10.1.0.2/24 dev sf0",
                "addr del 10.2.0.2/24 dev sf2",
                "addr flush dev sf1; addr flush dev sf2",
            ],
        );
    });
}

#[test]
fn routes_and_rules() {
    world(|w| {
        machine(w);
        undone(
            w,
            &[
                "route del default dev sf0 metric 2000",
                "route del 172.16.0.0/12 dev sf1",
                "route flush table 20001",
                "route del default dev sf0 table 20000",
                "route flush proto 133",
                "rule del from 10.1.0.2 priority 20000",
                "rule del from 10.1.0.3; rule del from 10.1.0.2 lookup 20000",
            ],
        );
    });
}

#[test]
fn the_kernels_route_to_a_subnet_is_stood_in_for() {
    world(|w| {
        machine(w);
        let agent = w.ready();
        w.ip("route del 10.2.0.0/24 dev sf2");
        agent.until("a route to the subnet", || {
            w.routes("main").contains(&"10.2.0.0/24 dev sf2 metric 2000 proto 133".to_owned())
        });
        assert!(w.is_ready());
        // When the kernel makes its own again, ours is one too many.
        w.ip("link set sf2 down");
        agent.until("the kernel's again", || {
            let routes = w.routes("main");
            routes.iter().filter(|r| r.contains("dev sf2")).collect::<Vec<_>>()
                == ["10.2.0.0/24 dev sf2 src 10.2.0.2 proto kernel"]
        });
    });
}

#[test]
fn links() {
    world(|w| {
        machine(w);
        // Foreign routes go with the link and are not ours to restore: none on these two.
        undone(
            w,
            &[
                "link set sf1 down",
                "link set sf2 down",
                "link set sf1rep down; link set sf1rep up",
                "link set sf2rep down; link set sf2rep up",
                "link set sf1 down; link set sf1 up",
            ],
        );
    });
}

#[test]
fn a_primary_address_that_takes_secondaries_along() {
    world(|w| {
        w.sf("sf0");
        w.manifest("pool", &block_pool("10.1.0.0/24", "10.1.0.1", 8, ""));
        w.bindings(&[plain("sf0")]);
        w.ip("link set sf0 up");
        w.ip("addr add 10.1.0.100/24 dev sf0");
        let agent = w.ready();
        assert_eq!(w.addresses("sf0"), ["10.1.0.100/24", "10.1.0.2/24"]);
        // Ours is the secondary one and goes with the foreign primary one.
        w.ip("addr del 10.1.0.100/24 dev sf0");
        agent.until("ours is back alone", || w.addresses("sf0") == ["10.1.0.2/24"]);
        w.ip("addr add 10.1.0.101/24 dev sf0");
        // Now ours is the primary one, and takes the foreign one along; that one is its owner's business.
        w.ip("addr del 10.1.0.2/24 dev sf0");
        agent.until("ours is back", || w.addresses("sf0") == ["10.1.0.2/24"]);
    });
}

#[test]
fn arp_settings_come_back_with_the_resync() {
    world(|w| {
        // The kernel tells nobody of a write to these.
        w.also("resync: 1s");
        machine(w);
        let agent = w.ready();
        let path = "/proc/sys/net/ipv4/conf/sf1/arp_ignore";
        fs::write(path, "0").unwrap();
        agent.until("arp_ignore is 1 again", || fs::read_to_string(path).unwrap().trim() == "1");
    });
}

#[test]
fn what_is_foreign_stays_for_ever() {
    world(|w| {
        w.also("resync: 1s");
        machine(w);
        let agent = w.ready();
        for words in [
            "addr add 192.0.2.50/32 dev sf1",
            "addr add 10.1.0.250/24 dev sf1 noprefixroute",
            "addr add fd77::1/64 dev sf1",
            "route add 198.51.100.128/25 dev sf1 table 20001 metric 2000",
            "route add 198.51.100.128/25 dev sf1 metric 2000",
            "route add default via 10.1.0.9 dev sf1 metric 5",
            "rule add from 10.1.0.3 lookup 99 priority 20001",
            "rule add from 10.1.0.2 lookup 20000 priority 20000 iif other",
            "route add fd78::/64 dev sf1",
        ] {
            w.ip(words);
        }
        let before = w.dump();
        passes(w, &agent, 3);
        before.assert_same(&w.dump());
        assert_eq!(agent.stop(), Some(0));
        w.once();
        before.assert_same(&w.dump());
    });
}

/// Waits for so many repairs, each of which looks at everything.
fn passes(w: &World<'_>, agent: &Agent, count: usize) {
    for _ in 0..count {
        w.ip("rule del from 10.1.0.3 lookup 20001 priority 20000");
        agent
            .until("the rule is back", || w.rules().iter().any(|r| r == "20000: from 10.1.0.3 lookup 20001"));
    }
}

#[test]
fn a_renamed_sf() {
    world(|w| {
        w.sf("sf0");
        w.sf("sf1");
        w.manifest("pool", &block_pool("10.1.0.0/24", "10.1.0.1", 8, ""));
        let mac = binding("by-mac", &format!("mac: \"{}\"", w.mac("sf0")), "pool: {name: pool1}");
        w.bindings(&[mac, plain("sf1")]);
        let agent = w.ready();
        let addresses =
            || (w.rules(), w.ip_json("-4 addr").to_string().matches("\"local\":\"10.1.0.").count());
        let before = addresses();
        for sf in ["sf0", "sf1"] {
            w.ip(format!("link set {sf} down"));
            w.ip(format!("link set {sf} name new{sf}"));
            w.ip(format!("link set new{sf} up"));
        }
        agent.until("found by MAC address, not by name", || {
            let status = w.status().unwrap_or_default();
            status["bindings"][0]["interface"]["netdev"] == "newsf0"
                && w.reason("by-mac").0 == "Applied"
                && w.reason("sf1").0 == "InterfaceAbsent"
        });
        assert_eq!(addresses(), before, "what nobody can name stays in place");
        assert_eq!(w.addresses("newsf1"), ["10.1.0.3/24"]);
        w.ip("link set newsf1 down");
        w.ip("link set newsf1 name sf1");
        agent.until("its name is back", || w.is_ready());
        until("and all it had", || w.ip_json("link show sf1")[0]["operstate"] == "UP");
        assert_eq!(w.addresses("sf1"), ["10.1.0.3/24"]);
    });
}

#[test]
fn an_sf_under_the_old_name_of_another_gets_the_address_alone() {
    world(|w| {
        w.sf("sf0");
        w.manifest("pool", &block_pool("10.1.0.0/24", "10.1.0.1", 8, ""));
        w.bindings(&[plain("sf0")]);
        let agent = w.ready();
        w.ip("link set sf0rep name oldrep");
        w.ip("link set sf0 name old");
        w.sf("sf0");
        agent.until("the address moves", || w.addresses("sf0") == ["10.1.0.2/24"]);
        agent.until("and leaves the old interface", || w.addresses("old").is_empty());
    });
}

#[test]
fn an_sf_that_is_made_again() {
    world(|w| {
        w.sf("sf0");
        w.sf("sf1");
        w.manifest("pool", &block_pool("10.1.0.0/24", "10.1.0.1", 8, POOL));
        let mac = w.mac("sf1");
        w.bindings(&[plain("sf0"), binding("by-mac", &format!("mac: \"{mac}\""), "pool: {name: pool1}")]);
        let agent = w.ready();
        let facts =
            || (w.rules(), w.routes("20000"), w.addresses("sf0"), w.addresses("sf1"), w.routes("main"));
        let (before, index) = (facts(), w.ifindex("sf0"));
        w.ip("link del sf0");
        agent.until("absent", || w.reason("sf0").0 == "InterfaceAbsent");
        assert_eq!(w.addresses("sf1"), ["10.1.0.3/24"], "the other one has all it had");
        w.sf("sf0");
        assert_ne!(w.ifindex("sf0"), index);
        agent.until("by name: as before", || w.is_ready());
        assert_eq!(facts(), before);

        w.ip("link del sf1");
        w.ip(format!("link add sf1 address {mac} type veth peer name sf1rep"));
        w.ip("link set sf1rep up");
        agent.until("by MAC address: as before", || facts() == before && w.is_ready());
    });
}

#[test]
fn an_address_that_another_interface_has() {
    world(|w| {
        w.sf("sf0");
        w.sf("sf1");
        w.sf("other");
        w.manifest("pool", &block_pool("10.1.0.0/24", "10.1.0.1", 8, ""));
        // Only a lease makes the agent ask for an address that is somewhere else.
        w.bindings(&[plain("sf0"), plain("sf1")]);
        w.once();
        w.ip("addr del 10.1.0.2/24 dev sf0");
        w.ip("addr add 10.1.0.2/24 dev other");
        let agent = w.start();
        agent.until("said so", || w.reason("sf0").0 == "AddressElsewhere");
        assert!(w.reason("sf0").1.contains("10.1.0.2 is already on other"), "{:?}", w.reason("sf0"));
        assert_eq!(
            (w.reason("sf1").0.as_str(), w.addresses("sf1")),
            ("Applied", vec!["10.1.0.3/24".to_owned()])
        );
        assert_eq!((w.addresses("sf0"), w.addresses("other")), (vec![], vec!["10.1.0.2/24".to_owned()]));
        w.ip("addr del 10.1.0.2/24 dev other");
        agent.until("resolved", || w.is_ready());
        assert_eq!(w.addresses("sf0"), ["10.1.0.2/24"]);
    });
}
