//! Every step, with its witness, its repetition and its refusal.

use dpu_ipam::{
    kernel::{ErrorKind, Kernel},
    model::{Ipv4Key, Step},
};
use serde_json::json;

use super::{OURS, address, apply, netns::netns, refused, route, rule};

#[test]
fn address_v4_is_marked_has_a_broadcast_and_goes_again() {
    netns(|ns| {
        let (sf, _) = ns.veth("sf0", "rep0");
        let mut kernel = Kernel::open().unwrap();
        let a = address(sf, "10.0.0.2/24");
        apply(&mut kernel, Step::AddAddress(a.clone())).unwrap();

        let seen = &ns.ip_json("-4 addr show dev sf0")[0]["addr_info"][0];
        assert_eq!(seen["local"], "10.0.0.2");
        assert_eq!(seen["prefixlen"], 24);
        assert_eq!(seen["broadcast"], "10.0.0.255");
        assert_eq!(seen.get("noprefixroute"), None);
        assert_eq!(kernel.observe().unwrap().addresses.iter().filter(|o| **o == a).count(), 1);

        assert_eq!(refused(&mut kernel, Step::AddAddress(a.clone())), ErrorKind::Exists);
        apply(&mut kernel, Step::DelAddress(a.clone())).unwrap();
        assert_eq!(ns.addresses("sf0"), Vec::<String>::new());
        apply(&mut kernel, Step::DelAddress(a)).expect("gone already is no error");
    });
}

#[test]
fn noprefixroute_makes_no_route_to_the_subnet() {
    netns(|ns| {
        let (sf, _) = ns.veth("sf0", "rep0");
        let mut kernel = Kernel::open().unwrap();
        for net in ["10.0.0.2/24", "fd00::2/64"] {
            let a = dpu_ipam::model::Address { noprefixroute: true, ..address(sf, net) };
            apply(&mut kernel, Step::AddAddress(a.clone())).unwrap();
            assert!(kernel.observe().unwrap().addresses.contains(&a), "{net}");
        }
        assert_eq!(ns.ip_json("-4 route show dev sf0"), json!([]));
        assert_eq!(ns.ip_json("-6 route show fd00::/64"), json!([]));
    });
}

#[test]
fn point_to_point_prefixes_have_no_broadcast() {
    netns(|ns| {
        let (sf, _) = ns.veth("sf0", "rep0");
        let mut kernel = Kernel::open().unwrap();
        for net in ["10.0.0.2/31", "10.0.1.7/32"] {
            apply(&mut kernel, Step::AddAddress(address(sf, net))).unwrap();
        }
        let seen = ns.ip_json("-4 addr show dev sf0");
        let seen = seen[0]["addr_info"].as_array().unwrap();
        assert_eq!(seen.len(), 2);
        assert!(seen.iter().all(|a| a.get("broadcast").is_none()), "{seen:?}");
    });
}

#[test]
fn address_v6() {
    netns(|ns| {
        let (sf, _) = ns.veth("sf0", "rep0");
        let mut kernel = Kernel::open().unwrap();
        let a = address(sf, "fd00:1::2/64");
        apply(&mut kernel, Step::AddAddress(a.clone())).unwrap();
        assert_eq!(ns.addresses("sf0"), ["fd00:1::2/64"]);
        assert!(kernel.observe_links(&[sf].into()).unwrap().addresses.contains(&a));
        assert_eq!(refused(&mut kernel, Step::AddAddress(a.clone())), ErrorKind::Exists);
        apply(&mut kernel, Step::DelAddress(a.clone())).unwrap();
        assert_eq!(ns.addresses("sf0"), Vec::<String>::new());
        apply(&mut kernel, Step::DelAddress(a)).unwrap();
    });
}

#[test]
fn routes_are_added_replaced_and_removed_exactly() {
    netns(|ns| {
        let (sf, _) = ns.veth("sf0", "rep0");
        ns.ip("addr add 10.0.0.2/24 dev sf0");
        ns.ip("addr add fd00::2/64 dev sf0 nodad");
        let mut kernel = Kernel::open().unwrap();
        for (dst, first, second) in [
            ("10.9.0.0/16", "10.0.0.1", "10.0.0.9"),
            ("0.0.0.0/0", "10.0.0.1", "10.0.0.9"),
            ("fd09::/32", "fd00::1", "fd00::9"),
            ("::/0", "fd00::1", "fd00::9"),
        ] {
            let r = route(dst, Some(first), sf);
            apply(&mut kernel, Step::AddRoute(r.clone())).unwrap();
            let witness = || {
                let family = if dst.contains(':') { "-6" } else { "-4" };
                ns.ip_json(format!("{family} route show exact {dst} proto {OURS}"))
            };
            let seen = witness();
            assert_eq!(seen[0]["gateway"], first, "{seen}");
            assert_eq!(seen[0]["metric"], 2000);
            assert_eq!(seen[0]["dev"], "sf0");
            assert!(kernel.observe().unwrap().routes.contains(&r), "{r:?}");
            assert_eq!(refused(&mut kernel, Step::AddRoute(r)), ErrorKind::Exists);

            let r = route(dst, Some(second), sf);
            apply(&mut kernel, Step::ReplaceRoute(r.clone())).unwrap();
            assert_eq!(witness().as_array().unwrap().len(), 1);
            assert_eq!(witness()[0]["gateway"], second);

            apply(&mut kernel, Step::DelRoute(r.clone())).unwrap();
            assert_eq!(witness(), json!([]));
            apply(&mut kernel, Step::DelRoute(r)).expect("gone already is no error");
        }
    });
}

#[test]
fn the_kinds_of_routes_that_the_agent_uses() {
    netns(|ns| {
        let (sf, _) = ns.veth("sf0", "rep0");
        let mut kernel = Kernel::open().unwrap();
        apply(&mut kernel, Step::AddAddress(address(sf, "10.0.0.2/32"))).unwrap();
        let on_link_gateway = dpu_ipam::model::Route {
            onlink: true,
            source: Some("10.0.0.2".parse().unwrap()),
            ..route("10.9.0.0/16", Some("10.5.5.1"), sf)
        };
        let scope_link = route("10.0.0.0/24", None, sf);
        let own_table = dpu_ipam::model::Route { table: 20_001, metric: 0, ..route("10.0.0.0/24", None, sf) };
        let v6_gateway = dpu_ipam::model::Route { onlink: true, ..route("10.8.0.0/16", Some("fe80::1"), sf) };
        for r in [on_link_gateway, scope_link, own_table, v6_gateway] {
            apply(&mut kernel, Step::AddRoute(r.clone())).unwrap();
            assert!(kernel.observe().unwrap().routes.contains(&r), "{r:?}");
            assert!(kernel.observe_links(&[sf].into()).unwrap().routes.contains(&r), "{r:?}");
        }
        let seen = ns.ip_json("-4 route show 10.9.0.0/16");
        assert_eq!(seen[0]["flags"], json!(["onlink"]));
        assert_eq!(seen[0]["prefsrc"], "10.0.0.2");
        assert_eq!(ns.ip_json("-4 route show 10.0.0.0/24")[0]["scope"], "link");
        assert_eq!(ns.ip_json("-4 route show table 20001")[0]["dst"], "10.0.0.0/24");
        assert_eq!(ns.ip_json("-4 route show 10.8.0.0/16")[0]["via"]["host"], "fe80::1");
        for r in kernel.observe().unwrap().routes.into_iter().filter(|r| r.protocol == OURS) {
            apply(&mut kernel, Step::DelRoute(r)).unwrap();
        }
        assert_eq!(ns.ip_json(format!("-4 route show table all proto {OURS}")), json!([]));
    });
}

#[test]
fn the_kernels_route_to_a_subnet_goes_and_ours_beside_it_stays() {
    netns(|ns| {
        let (sf, _) = ns.veth("sf0", "rep0");
        let mut kernel = Kernel::open().unwrap();
        apply(&mut kernel, Step::AddAddress(address(sf, "10.0.0.2/24"))).unwrap();
        apply(&mut kernel, Step::AddAddress(address(sf, "fd00::2/64"))).unwrap();
        for (dst, family) in [("10.0.0.0/24", "-4"), ("fd00::/64", "-6")] {
            let ours = route(dst, None, sf);
            apply(&mut kernel, Step::AddRoute(ours.clone())).unwrap();
            let all = kernel.observe().unwrap().routes;
            let stray = all.into_iter().find(|r| r.dst == ours.dst && r.protocol != OURS).unwrap();
            apply(&mut kernel, Step::DelSubnetRoute(stray.clone())).unwrap();
            apply(&mut kernel, Step::DelSubnetRoute(stray)).expect("gone already is no error");
            let left = ns.ip_json(format!("{family} route show exact {dst}"));
            assert_eq!(left.as_array().unwrap().len(), 1, "{left}");
            assert_eq!(left[0]["protocol"], "133");
        }
    });
}

#[test]
fn what_is_foreign_is_never_removed() {
    netns(|ns| {
        let (sf, rep) = ns.veth("sf0", "rep0");
        ns.ip("addr add 10.0.0.2/24 dev sf0");
        ns.ip("route add 10.9.0.0/16 via 10.0.0.1 dev sf0 metric 2000 proto static");
        ns.ip("rule add from 10.0.0.2 lookup 20001 priority 20000 proto static");
        let mut kernel = Kernel::open().unwrap();
        let foreign = route("10.9.0.0/16", Some("10.0.0.1"), sf);
        let steps = [
            // The same but for who set it.
            Step::DelRoute(foreign.clone()),
            Step::DelRule(rule("10.0.0.2/32", 20_001)),
            Step::DelAddress(address(sf, "10.0.0.2/25")),
            Step::DelAddress(address(rep, "10.0.0.2/24")),
        ];
        assert!(kernel.apply(&steps, OURS).iter().all(Result::is_ok), "nothing of ours is there");
        // 0 would mean any protocol.
        assert!(kernel.apply(&steps, 0).iter().all(Result::is_err));
        assert_eq!(ns.ip_json("route show 10.9.0.0/16")[0]["protocol"], "static");
        assert_eq!(ns.ip_json("rule show priority 20000")[0]["src"], "10.0.0.2");
        assert_eq!(ns.addresses("sf0"), ["10.0.0.2/24"]);

        // Ours beside it, then each difference alone must miss it.
        ns.ip("route add 10.7.0.0/16 via 10.0.0.1 dev sf0 metric 2000 proto 133");
        let ours = route("10.7.0.0/16", Some("10.0.0.1"), sf);
        for miss in [
            dpu_ipam::model::Route { metric: 2001, ..ours.clone() },
            dpu_ipam::model::Route { table: 20_001, ..ours.clone() },
            dpu_ipam::model::Route { gateway: Some("10.0.0.3".parse().unwrap()), ..ours.clone() },
            dpu_ipam::model::Route { oif: rep, ..ours.clone() },
            dpu_ipam::model::Route { dst: "10.7.0.0/17".parse().unwrap(), ..ours.clone() },
        ] {
            apply(&mut kernel, Step::DelRoute(miss)).unwrap();
        }
        assert_eq!(ns.ip_json("route show 10.7.0.0/16").as_array().unwrap().len(), 1);
    });
}

#[test]
fn rules_of_both_families() {
    netns(|ns| {
        let mut kernel = Kernel::open().unwrap();
        for (family, from, host) in [("-4", "10.0.0.2/32", "10.0.0.2"), ("-6", "fd00::2/128", "fd00::2")] {
            let r = rule(from, 20_001);
            apply(&mut kernel, Step::AddRule(r.clone())).unwrap();
            let seen = ns.ip_json(format!("{family} rule show priority 20000"));
            assert_eq!(seen[0]["src"], host, "{seen}");
            assert_eq!(seen[0]["table"], "20001");
            assert_eq!(seen[0]["protocol"], OURS.to_string());
            assert!(kernel.observe().unwrap().rules.contains(&r));
            assert_eq!(refused(&mut kernel, Step::AddRule(r.clone())), ErrorKind::Exists);
            apply(&mut kernel, Step::DelRule(r.clone())).unwrap();
            assert_eq!(ns.ip_json(format!("{family} rule show priority 20000")), json!([]));
            apply(&mut kernel, Step::DelRule(r)).expect("gone already is no error");
        }
    });
}

#[test]
fn settings_of_one_interface_by_netlink() {
    netns(|ns| {
        let (sf, rep) = ns.veth("sf0", "rep0");
        let mut kernel = Kernel::open().unwrap();
        let before = kernel.observe().unwrap();
        for (key, value) in
            [(Ipv4Key::ArpIgnore, 1), (Ipv4Key::ArpAnnounce, 2), (Ipv4Key::PromoteSecondaries, 1)]
        {
            apply(&mut kernel, Step::SetIpv4 { ifindex: sf, key, value }).unwrap();
            let file = format!("/proc/sys/net/ipv4/conf/sf0/{key}");
            assert_eq!(std::fs::read_to_string(file).unwrap().trim(), value.to_string());
            assert_eq!(kernel.observe().unwrap().links[&sf].ipv4.get(key), value);
        }
        assert_eq!(kernel.observe().unwrap().links[&rep], before.links[&rep], "the other one is untouched");
    });
}

#[test]
fn promoted_secondaries_survive_their_primary() {
    netns(|ns| {
        let (sf, _) = ns.veth("sf0", "rep0");
        let mut kernel = Kernel::open().unwrap();
        let [first, second] = ["10.0.0.2/24", "10.0.0.3/24"].map(|a| address(sf, a));
        for (value, left) in [(0, Vec::new()), (1, vec!["10.0.0.3/24".to_owned()])] {
            let steps = [
                Step::SetIpv4 { ifindex: sf, key: Ipv4Key::PromoteSecondaries, value },
                Step::AddAddress(first.clone()),
                Step::AddAddress(second.clone()),
                Step::DelAddress(first.clone()),
            ];
            assert!(kernel.apply(&steps, OURS).iter().all(Result::is_ok));
            assert_eq!(ns.addresses("sf0"), left);
        }
    });
}

#[test]
fn link_up_changes_nothing_else() {
    netns(|ns| {
        ns.ip("link add sf0 type veth peer name rep0");
        ns.ip("link set sf0 promisc on arp off");
        let sf = ns.ifindex("sf0");
        let mut kernel = Kernel::open().unwrap();
        assert!(!kernel.observe().unwrap().links[&sf].up);
        apply(&mut kernel, Step::LinkUp { ifindex: sf }).unwrap();
        apply(&mut kernel, Step::LinkUp { ifindex: sf }).expect("up already is no error");
        let flags = ns.ip_json("link show sf0")[0]["flags"].clone();
        let flags: Vec<_> = flags.as_array().unwrap().iter().map(|f| f.as_str().unwrap()).collect();
        for flag in ["UP", "PROMISC", "NOARP"] {
            assert!(flags.contains(&flag), "{flags:?}");
        }
        assert!(kernel.observe().unwrap().links[&sf].up);
    });
}

#[test]
fn an_interface_that_went_fails_its_own_steps_only() {
    netns(|ns| {
        let (sf0, _) = ns.veth("sf0", "rep0");
        let (sf1, _) = ns.veth("sf1", "rep1");
        let mut kernel = Kernel::open().unwrap();
        ns.ip("link del sf0");
        let steps = [
            Step::SetIpv4 { ifindex: sf0, key: Ipv4Key::ArpIgnore, value: 1 },
            Step::AddAddress(address(sf0, "10.0.0.2/24")),
            Step::AddAddress(address(sf1, "10.1.0.2/24")),
            Step::LinkUp { ifindex: sf0 },
            Step::AddRoute(route("10.8.0.0/16", Some("10.0.0.1"), sf0)),
            Step::AddRoute(route("10.9.0.0/16", Some("10.1.0.1"), sf1)),
            Step::DelAddress(address(sf0, "10.0.0.3/24")),
            Step::DelRoute(route("10.7.0.0/16", Some("10.0.0.1"), sf0)),
            Step::DelRoute(route("fd07::/16", Some("fd00::1"), sf0)),
            Step::DelAddress(address(sf0, "fd00::3/64")),
        ];
        let kinds: Vec<_> = kernel.apply(&steps, OURS).into_iter().map(|r| r.map_err(|e| e.kind())).collect();
        let gone = Err(ErrorKind::NoSuchDevice);
        // To the kernel a gateway behind no interface is out of reach.
        let unreachable = Err(ErrorKind::Unreachable);
        assert_eq!(kinds, [gone, gone, Ok(()), gone, unreachable, Ok(()), Ok(()), Ok(()), Ok(()), Ok(())]);
        assert_eq!(ns.addresses("sf1"), ["10.1.0.2/24"]);
    });
}

#[test]
fn refusals_carry_the_step_and_the_kernels_words() {
    netns(|ns| {
        let (sf, _) = ns.veth("sf0", "rep0");
        let mut kernel = Kernel::open().unwrap();
        let step = Step::AddRoute(route("10.9.0.0/16", Some("10.0.0.1"), sf));
        let error = apply(&mut kernel, step).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unreachable);
        let text = error.to_string();
        assert!(text.starts_with("add route 10.9.0.0/16 via 10.0.0.1 dev "), "{text}");
        assert!(text.contains("invalid gateway"), "{text}");

        ns.ip("link set sf0 down");
        let down = Step::AddRoute(dpu_ipam::model::Route {
            onlink: true,
            ..route("10.9.0.0/16", Some("10.0.0.1"), sf)
        });
        assert_eq!(refused(&mut kernel, down), ErrorKind::Unreachable);
    });
}

#[test]
fn thousands_of_steps_have_one_answer_each() {
    netns(|ns| {
        let (sf, _) = ns.veth("sf0", "rep0");
        let mut kernel = Kernel::open().unwrap();
        let net = |n: u32| format!("10.{}.{}.1/32", n / 250, n % 250);
        let all: Vec<_> = (0..2000).map(|n| Step::AddAddress(address(sf, &net(n)))).collect();
        let results = kernel.apply(&all, OURS);
        assert_eq!(results.len(), 2000);
        assert!(results.iter().all(Result::is_ok));
        // All refused: the worst case for lost answers. Every tenth is new, so that a mix-up shows.
        let mixed: Vec<_> = (0..2000)
            .map(|n| Step::AddAddress(address(sf, &net(if n % 10 == 0 { n + 2000 } else { n }))))
            .collect();
        let results = kernel.apply(&mixed, OURS);
        assert_eq!(results.len(), 2000);
        for (n, (result, step)) in results.iter().zip(&mixed).enumerate() {
            match result {
                Ok(()) => assert_eq!(n % 10, 0, "{step:?}"),
                Err(error) => {
                    assert_ne!(n % 10, 0, "{error}");
                    assert_eq!(error.kind(), ErrorKind::Exists);
                    assert_eq!(*error.step, *step);
                }
            }
        }
        assert_eq!(
            kernel
                .observe()
                .unwrap()
                .addresses
                .iter()
                .filter(|a| a.ifindex == sf && a.protocol == OURS)
                .count(),
            2200
        );
        assert!(kernel.apply(&[], OURS).is_empty());
    });
}

#[test]
fn without_the_right_the_error_names_it() {
    netns(|ns| {
        ns.veth("sf0", "rep0");
        // All capabilities in a user namespace of its own, none over this network namespace.
        let child = std::process::Command::new("unshare")
            .args(["--user", "--map-root-user"])
            .arg(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "apply::without_rights"])
            .output()
            .expect("unshare starts");
        let said = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success() && said.contains("1 passed"), "{said}");
        assert!(Kernel::open().unwrap().probe().unwrap().may_change);
    });
}

#[test]
#[ignore = "the child process of without_the_right_the_error_names_it"]
fn without_rights() {
    let mut kernel = Kernel::open().unwrap();
    assert!(!kernel.probe().unwrap().may_change);
    let observed = kernel.observe().expect("reading needs no right");
    let (sf, _) = observed.links.iter().find(|(_, link)| link.name.as_str() == "sf0").unwrap();
    for step in [Step::LinkUp { ifindex: *sf }, Step::AddAddress(address(*sf, "10.0.0.2/24"))] {
        let error = apply(&mut kernel, step).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert!(error.to_string().contains("CAP_NET_ADMIN"), "{error}");
    }
}
