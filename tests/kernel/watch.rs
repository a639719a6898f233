//! What wakes, what does not, and who is named.

use std::{
    collections::BTreeSet,
    future::Future,
    io::Write as _,
    process::{Command, Stdio},
    time::Duration,
};

use dpu_ipam::{
    kernel::{Culprit, Kernel, Wake, Watch},
    model::Step,
};

use super::{OURS, address, apply, netns::netns, route};

/// Runs `test` on a runtime of this thread.
fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

/// Gathers wake-ups until `enough`, at most ten seconds.
async fn until(watch: &mut Watch, enough: impl Fn(&Wake) -> bool) -> Wake {
    let mut all = Wake::default();
    let gather = async {
        while !enough(&all) {
            let wake = watch.next().await.unwrap();
            all.links.extend(wake.links);
            all.by.extend(wake.by);
            all.all |= wake.all;
            all.lost |= wake.lost;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(10), gather).await;
    assert!(in_time.is_ok(), "no such wake-up; so far: {all:?}");
    all
}

/// Reads away what is pending: makes a change that is certain to be seen and waits for it.
async fn settle(watch: &mut Watch, ns: &super::netns::Netns) {
    ns.ip("rule add from 192.0.2.1 lookup 9 priority 9");
    ns.ip("rule del priority 9");
    until(watch, |wake| wake.all && wake.by.iter().any(|culprit| culprit.ifindex == 0)).await;
}

#[test]
fn changes_of_others_say_where_to_look() {
    netns(|ns| {
        let (sf, rep) = ns.veth("sf0", "rep0");
        run(async {
            let mut kernel = Kernel::open().unwrap();
            let mut watch = Watch::open(&mut kernel).unwrap();
            settle(&mut watch, ns).await;
            for (change, at) in [
                ("addr add 10.0.0.2/24 dev sf0", sf),
                ("addr add fd00::2/64 dev rep0 nodad", rep),
                ("route add 10.9.0.0/16 via 10.0.0.1 dev sf0", sf),
                ("-6 route add fd09::/32 via fd00::1 dev rep0", rep),
                ("route del 10.9.0.0/16", sf),
                ("-6 route del fd09::/32", rep),
                ("addr del 10.0.0.2/24 dev sf0", sf),
                ("addr del fd00::2/64 dev rep0", rep),
                ("link set sf0 down", sf),
                ("link set sf0 up", sf),
            ] {
                ns.ip(change);
                let wake = until(&mut watch, |wake| wake.links.contains(&at)).await;
                assert!(!wake.lost, "{change}: {wake:?}");
                assert!(!wake.all, "{change}: {wake:?}");
                settle(&mut watch, ns).await;
            }
        });
    });
}

#[test]
fn links_that_come_go_or_change_identity_ask_for_everything() {
    netns(|ns| {
        ns.veth("sf0", "rep0");
        run(async {
            let mut kernel = Kernel::open().unwrap();
            let mut watch = Watch::open(&mut kernel).unwrap();
            settle(&mut watch, ns).await;
            for change in [
                "link add sf1 type veth peer name rep1",
                "link set sf1 name p0_if",
                "link set p0_if address 02:00:00:00:00:0b",
                "link del p0_if",
                "rule add from 10.0.0.2 lookup 9",
                "-6 rule add from fd00::2 lookup 9",
            ] {
                ns.ip(change);
                until(&mut watch, |wake| wake.all).await;
                settle(&mut watch, ns).await;
            }
            // A bridge port that leaves is no link that goes.
            ns.ip("link add br0 address 02:00:00:00:00:0c type bridge");
            ns.ip("link set rep0 master br0");
            settle(&mut watch, ns).await;
            ns.ip("link set rep0 nomaster");
            let rep = ns.ifindex("rep0");
            let wake = until(&mut watch, |wake| wake.links.contains(&rep)).await;
            assert!(!wake.all, "{wake:?}");
        });
    });
}

#[test]
fn own_changes_do_not_wake() {
    netns(|ns| {
        let (sf, rep) = ns.veth("sf0", "rep0");
        run(async {
            let mut kernel = Kernel::open().unwrap();
            let mut watch = Watch::open(&mut kernel).unwrap();
            settle(&mut watch, ns).await;
            let steps = [
                Step::AddAddress(address(sf, "10.0.0.2/24")),
                Step::AddRoute(route("10.9.0.0/16", Some("10.0.0.1"), sf)),
                Step::AddRule(super::rule("10.0.0.2/32", 20_001)),
                Step::DelRule(super::rule("10.0.0.2/32", 20_001)),
                Step::DelRoute(route("10.9.0.0/16", Some("10.0.0.1"), sf)),
                Step::DelAddress(address(sf, "10.0.0.2/24")),
            ];
            assert!(kernel.apply(&steps, OURS).iter().all(Result::is_ok));
            ns.ip("addr add 10.1.0.2/24 dev rep0");
            let wake = until(&mut watch, |wake| wake.links.contains(&rep)).await;
            assert_eq!(wake, Wake { links: BTreeSet::from([rep]), ..Wake::default() });
        });
    });
}

/// A removal's port is the process that asked for it, if its socket is that process's first.
#[test]
fn removals_name_their_author() {
    netns(|ns| {
        let (sf, _) = ns.veth("sf0", "rep0");
        ns.ip("addr add 10.0.0.2/24 dev sf0");
        ns.ip("addr add 10.1.0.2/24 dev sf0");
        run(async {
            let mut kernel = Kernel::open().unwrap();
            let mut watch = Watch::open(&mut kernel).unwrap();
            settle(&mut watch, ns).await;
            let mut ip = Command::new("ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn().unwrap();
            ip.stdin.as_mut().unwrap().write_all(b"addr del 10.0.0.2/24 dev sf0\n").unwrap();
            let wake = until(&mut watch, |wake| wake.links.contains(&sf)).await;
            let author = Culprit { ifindex: sf, port: ip.id(), process: Some("ip".to_owned()) };
            assert_eq!(wake.by, BTreeSet::from([author]));
            drop(ip.stdin.take());
            ip.wait().unwrap();

            // A further socket of a process, here of this one: a number that names nobody.
            let mut other = Kernel::open().unwrap();
            apply(&mut other, Step::DelAddress(address(sf, "10.1.0.2/24"))).unwrap();
            let wake = until(&mut watch, |wake| wake.links.contains(&sf)).await;
            assert_eq!(wake.by.len(), 1);
            assert!(wake.by.iter().all(|culprit| culprit.process.is_none()), "{wake:?}");
        });
    });
}

/// What falls with a link is the kernel's work, and so (for notifications) is every removal of an IPv6 address.
#[test]
fn the_kernel_itself_is_no_author() {
    netns(|ns| {
        let (sf, _) = ns.veth("sf0", "rep0");
        ns.ip("addr add fd00::2/64 dev sf0 nodad");
        ns.ip("addr add fd01::2/64 dev sf0 nodad");
        run(async {
            let mut kernel = Kernel::open().unwrap();
            let mut watch = Watch::open(&mut kernel).unwrap();
            for change in ["addr del fd00::2/64 dev sf0", "link set sf0 down"] {
                settle(&mut watch, ns).await;
                ns.ip(change);
                let wake = until(&mut watch, |wake| wake.links.contains(&sf)).await;
                assert_eq!(wake.by, BTreeSet::new(), "{change}");
            }
        });
    });
}

/// Removing the last address removes gateway routes without a word about them: the address's event must be enough.
#[test]
fn routes_that_go_silently_are_seen_missing() {
    netns(|ns| {
        let (sf, _) = ns.veth("sf0", "rep0");
        run(async {
            let mut kernel = Kernel::open().unwrap();
            let mut watch = Watch::open(&mut kernel).unwrap();
            let r = route("10.9.0.0/16", Some("10.0.0.1"), sf);
            let steps = [Step::AddAddress(address(sf, "10.0.0.2/24")), Step::AddRoute(r.clone())];
            assert!(kernel.apply(&steps, OURS).iter().all(Result::is_ok));
            settle(&mut watch, ns).await;
            ns.ip("addr del 10.0.0.2/24 dev sf0");
            until(&mut watch, |wake| wake.links.contains(&sf)).await;
            let seen = kernel.observe_links(&[sf].into()).unwrap();
            assert!(!seen.routes.contains(&r));
        });
    });
}

#[test]
fn lost_events_ask_for_everything() {
    netns(|ns| {
        let (sf, _) = ns.veth("sf0", "rep0");
        run(async {
            let mut kernel = Kernel::open().unwrap();
            let mut watch = Watch::open(&mut kernel).unwrap();
            // Nobody reads while others make more events than there is room for.
            let mut other = Kernel::open().unwrap();
            let nets: Vec<_> =
                (0..2000).map(|n| address(sf, &format!("10.{}.{}.1/32", n / 250, n % 250))).collect();
            let add: Vec<_> = nets.iter().cloned().map(Step::AddAddress).collect();
            let del: Vec<_> = nets.iter().cloned().map(Step::DelAddress).collect();
            for _ in 0..12 {
                assert!(other.apply(&add, OURS).iter().all(Result::is_ok));
                assert!(other.apply(&del, OURS).iter().all(Result::is_ok));
            }
            let wake = until(&mut watch, |wake| wake.lost).await;
            assert!(wake.all);
            // And it goes on.
            settle(&mut watch, ns).await;
            ns.ip("addr add 10.0.0.2/24 dev sf0");
            let wake = until(&mut watch, |wake| wake.links.contains(&sf)).await;
            assert!(!wake.lost);
        });
    });
}
