//! Every field that is read, against what `ip` set or shows.

use std::collections::BTreeSet;

use dpu_ipam::{
    kernel::{Failure, Kernel},
    model::{Observed, TABLE_MAIN},
};

use super::netns::netns;

#[test]
fn links() {
    netns(|ns| {
        let (sf, rep) = ns.veth("sf0", "rep0");
        ns.ip("link set sf0 address 02:00:00:00:00:0a mtu 9000");
        ns.ip("link add br0 type bridge");
        ns.ip("link set rep0 master br0");
        ns.ip("link set rep0 down");
        std::fs::write("/proc/sys/net/ipv4/conf/sf0/rp_filter", "2").unwrap();
        let observed = Kernel::open().unwrap().observe().unwrap();

        let link = &observed.links[&sf];
        assert_eq!(link.ifindex, sf);
        assert_eq!(link.name.as_str(), "sf0");
        assert_eq!(link.mac.unwrap().to_string(), "02:00:00:00:00:0a");
        assert_eq!((link.up, link.carrier, link.mtu), (true, false, 9000));
        assert_eq!(link.kind.as_deref(), Some("veth"));
        assert_eq!(link.ipv4.rp_filter, 2);
        assert!(!observed.links[&rep].up);
        assert_eq!(observed.links[&ns.ifindex("br0")].kind.as_deref(), Some("bridge"));
        let lo = &observed.links[&1];
        assert_eq!((lo.name.as_str(), lo.mac, lo.mtu), ("lo", None, 65_536));
        assert_eq!(observed.links.len(), ns.ip_json("link show").as_array().unwrap().len());
    });
}

#[test]
fn odd_names_are_shown_and_stop_nothing() {
    netns(|ns| {
        // The kernel takes any byte but '/', ':' and white space.
        ns.ip("link add größe type bridge");
        let observed = Kernel::open().unwrap().observe().unwrap();
        assert!(observed.links.values().any(|link| link.name.as_str() == "gr????e"));
    });
}

#[test]
fn addresses() {
    netns(|ns| {
        let (sf, _) = ns.veth("sf0", "rep0");
        let mut kernel = Kernel::open().unwrap();
        let marked = super::address(sf, "10.0.0.2/24");
        super::apply(&mut kernel, dpu_ipam::model::Step::AddAddress(marked)).unwrap();
        ns.ip("addr add 10.0.0.3/24 dev sf0 noprefixroute");
        ns.ip("addr add 10.0.5.1 peer 10.0.5.2/32 dev sf0");
        ns.ip("addr add fd00::2/64 dev sf0 nodad");
        let observed = kernel.observe().unwrap();
        let seen: Vec<_> = observed
            .addresses
            .iter()
            .filter(|a| a.ifindex == sf && !a.address.addr().to_string().starts_with("fe80"))
            .map(|a| (a.address.to_string(), a.noprefixroute, a.dad_failed, a.protocol))
            .collect();
        let expected = [
            ("10.0.0.2/24", false, 133),
            ("10.0.5.1/32", false, 0),
            ("10.0.0.3/24", true, 0),
            ("fd00::2/64", false, 0),
        ];
        for (address, noprefixroute, protocol) in expected {
            assert!(
                seen.contains(&(address.to_owned(), noprefixroute, false, protocol)),
                "{address}: {seen:?}"
            );
        }
        assert_eq!(seen.len(), expected.len());
        let witness = ns.ip_json("addr show");
        let count: usize =
            witness.as_array().unwrap().iter().map(|l| l["addr_info"].as_array().unwrap().len()).sum();
        assert_eq!(observed.addresses.len(), count, "of all interfaces, link-local ones too");
    });
}

#[test]
fn routes() {
    netns(|ns| {
        let (sf0, _) = ns.veth("sf0", "rep0");
        let (sf1, _) = ns.veth("sf1", "rep1");
        ns.ip("addr add 10.0.0.2/24 dev sf0");
        ns.ip("addr add 10.1.0.2/24 dev sf1");
        ns.ip("addr add fd00::2/64 dev sf0 nodad");
        ns.ip("route add default via 10.0.0.1 dev sf0 metric 2000 proto 133 src 10.0.0.2");
        ns.ip("route add 10.9.0.0/16 via 10.7.7.7 dev sf0 onlink table 20001");
        ns.ip("route add 10.8.0.0/16 nexthop via 10.0.0.1 dev sf0 nexthop via 10.1.0.1 dev sf1");
        ns.ip("route add blackhole 10.66.0.0/16");
        ns.ip("route add unreachable fd66::/32");
        ns.ip("-6 route add fd09::/32 via fd00::1 dev sf0 metric 77");
        let mut kernel = Kernel::open().unwrap();
        let all = kernel.observe().unwrap();
        let find = |observed: &Observed, dst: &str| {
            let dst = dst.parse().unwrap();
            observed.routes.iter().filter(|r| r.dst == dst).cloned().collect::<Vec<_>>()
        };

        let [default] = &find(&all, "0.0.0.0/0")[..] else { panic!() };
        assert_eq!((default.table, default.metric, default.oif), (TABLE_MAIN, 2000, sf0));
        assert_eq!((default.protocol, default.onlink), (133, false));
        assert_eq!(default.gateway.unwrap().to_string(), "10.0.0.1");
        assert_eq!(default.source.unwrap().to_string(), "10.0.0.2");
        let [onlink] = &find(&all, "10.9.0.0/16")[..] else { panic!() };
        assert_eq!((onlink.table, onlink.onlink), (20_001, true));
        let [multipath] = &find(&all, "10.8.0.0/16")[..] else { panic!() };
        assert_eq!((multipath.oif, multipath.gateway), (0, None));
        let [v6] = &find(&all, "fd09::/32")[..] else { panic!() };
        assert_eq!((v6.metric, v6.gateway.unwrap().to_string()), (77, "fd00::1".to_owned()));
        let [kernels] = &find(&all, "10.0.0.0/24")[..] else { panic!() };
        assert_eq!((kernels.protocol, kernels.gateway), (2, None));
        for absent in ["10.66.0.0/16", "fd66::/32", "10.0.0.2/32", "10.0.0.255/32", "ff00::/8"] {
            assert_eq!(find(&all, absent), [], "not unicast, or of the table local");
        }

        // A part agrees with the whole, for one link and for several.
        for links in [BTreeSet::from([sf0]), BTreeSet::from([sf1]), BTreeSet::from([sf0, sf1])] {
            let part = kernel.observe_links(&links).unwrap();
            let through_multipath = |r: &dpu_ipam::model::Route| r.oif == 0;
            let expected: Vec<_> = all
                .routes
                .iter()
                .filter(|r| links.contains(&r.oif) || through_multipath(r))
                .cloned()
                .collect();
            assert_eq!(sorted_routes(part.routes), sorted_routes(expected));
            let expected: Vec<_> =
                all.addresses.iter().filter(|a| links.contains(&a.ifindex)).cloned().collect();
            assert_eq!(sorted(part.addresses), sorted(expected));
            assert!(part.links.keys().eq(&links));
            assert!(part.links.iter().all(|(index, link)| all.links[index] == *link));
            assert!(part.rules.is_empty());
        }
    });
}

fn sorted_routes(mut routes: Vec<dpu_ipam::model::Route>) -> Vec<dpu_ipam::model::Route> {
    routes.sort();
    routes
}

fn sorted(mut addresses: Vec<dpu_ipam::model::Address>) -> Vec<dpu_ipam::model::Address> {
    addresses.sort_by_key(|a| (a.ifindex, a.address));
    addresses
}

#[test]
fn rules() {
    netns(|ns| {
        ns.ip("rule add from 10.0.0.2 lookup 20001 priority 20000 protocol 133");
        ns.ip("-6 rule add from fd00::/64 lookup 20002 priority 20001 protocol 133");
        for (priority, complex) in [
            (1, "from 10.0.0.2 to 10.9.0.0/16 lookup 9"),
            (2, "from 10.0.0.2 fwmark 5 lookup 9"),
            (3, "from 10.0.0.2 iif lo lookup 9"),
            (4, "from 10.0.0.2 lookup main suppress_prefixlength 0"),
            (5, "from 10.0.0.2 blackhole"),
            (6, "not from 10.0.0.2 lookup 9"),
            (7, "from 10.0.0.2 tos 0x10 lookup 9"),
            (8, "from 10.0.0.2 ipproto tcp lookup 9"),
            (9, "from 10.0.0.2 goto 32766"),
        ] {
            ns.ip(format!("rule add {complex} priority {priority}"));
        }
        let observed = Kernel::open().unwrap().observe().unwrap();
        let seen: Vec<_> = observed
            .rules
            .iter()
            .map(|r| (r.priority, r.from.map(|f| f.to_string()), r.table, r.ipv6, r.complex, r.protocol))
            .collect();
        assert!(seen.contains(&(20_000, Some("10.0.0.2/32".into()), 20_001, false, false, 133)), "{seen:?}");
        assert!(seen.contains(&(20_001, Some("fd00::/64".into()), 20_002, true, false, 133)), "{seen:?}");
        for priority in 1..10 {
            let rule = observed.rules.iter().find(|r| r.priority == priority).unwrap();
            assert!(rule.complex, "{rule:?}");
            assert_eq!(rule.table == 0, [5, 9].contains(&priority), "{rule:?}");
        }
        assert!(observed.rules.iter().filter(|r| r.priority == 0 || r.priority > 30_000).all(|r| !r.complex));
    });
}

#[test]
fn a_link_that_is_gone_is_absent() {
    netns(|ns| {
        let (sf0, rep0) = ns.veth("sf0", "rep0");
        let (sf1, _) = ns.veth("sf1", "rep1");
        ns.ip("link del sf0");
        let mut kernel = Kernel::open().unwrap();
        let gone = kernel.observe_links(&[sf0].into()).unwrap();
        assert_eq!(gone, Observed::default());
        let one = kernel.observe_links(&[sf0, sf1, rep0].into()).unwrap();
        assert!(one.links.keys().eq([&sf1]));
        assert_eq!(kernel.observe_links(&BTreeSet::new()).unwrap(), Observed::default());
    });
}

/// Many links: more than one part of a dump, and the way in which many are looked at.
#[test]
fn many_links() {
    netns(|ns| {
        let mut batch = String::new();
        for n in 0..100 {
            batch += &format!("link add sf{n} type veth peer name rep{n}\n");
            batch += &format!("link set sf{n} up\nlink set rep{n} up\naddr add 10.0.{n}.2/24 dev sf{n}\n");
            batch += &format!("route add 10.1.{n}.0/24 via 10.0.{n}.1 dev sf{n} proto 133\n");
        }
        ns.ip_batch(&batch);
        let mut kernel = Kernel::open().unwrap();
        let all = kernel.observe().unwrap();
        assert_eq!(all.links.len(), 201);
        assert_eq!(all.routes.iter().filter(|r| r.protocol == 133).count(), 100);
        assert_eq!(all.addresses.iter().filter(|a| a.address.to_string().starts_with("10.0.")).count(), 100);
        let sfs: BTreeSet<u32> =
            all.links.values().filter(|l| l.name.as_str().starts_with("sf")).map(|l| l.ifindex).collect();
        let part = kernel.observe_links(&sfs).unwrap();
        assert!(part.links.keys().eq(&sfs));
        assert_eq!(
            part.addresses,
            all.addresses.into_iter().filter(|a| sfs.contains(&a.ifindex)).collect::<Vec<_>>()
        );
        assert_eq!(part.routes, all.routes.into_iter().filter(|r| sfs.contains(&r.oif)).collect::<Vec<_>>());
    });
}

/// Dumps while another thread changes everything: an error that says so or a complete list, never a short one.
#[test]
fn under_change_a_dump_is_complete_or_an_error() {
    netns(|ns| {
        let (sf, rep) = ns.veth("sf0", "rep0");
        let mut kernel = Kernel::open().unwrap();
        let stable: Vec<_> = (0..200)
            .map(|n| dpu_ipam::model::Step::AddAddress(super::address(sf, &format!("10.0.{n}.1/32"))))
            .collect();
        assert!(kernel.apply(&stable, super::OURS).iter().all(Result::is_ok));
        let mut other = Kernel::open().unwrap();
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    let a = super::address(rep, "10.200.0.1/32");
                    super::apply(&mut other, dpu_ipam::model::Step::AddAddress(a.clone())).unwrap();
                    super::apply(&mut other, dpu_ipam::model::Step::DelAddress(a)).unwrap();
                }
            });
            let mut complete = 0;
            for _ in 0..300 {
                match kernel.observe() {
                    Ok(observed) => {
                        complete += 1;
                        assert_eq!(
                            observed
                                .addresses
                                .iter()
                                .filter(|a| a.ifindex == sf && a.protocol == super::OURS)
                                .count(),
                            200
                        );
                    }
                    Err(error) => {
                        assert!(matches!(error.source, Failure::Lost | Failure::Interrupted), "{error}");
                    }
                }
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            assert!(complete > 0, "never complete");
        });
    });
}
