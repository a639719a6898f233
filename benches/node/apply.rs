//! 1,000 addresses and 1,000 routes, with and without link up.

use std::fmt::Write as _;

use dpu_ipam::{
    kernel::Kernel,
    model::{Link, Step},
};
use nix::libc::RTM_NEWADDR;
use rtnetlink::{RouteMessageBuilder, packet_route::route::RouteProtocol};

use super::{LINKS, OURS, address, bare, median, netns::Netns, route, table, timed};

const ROUNDS: usize = 9;

pub(crate) fn run(ns: &Netns, links: &[Link]) {
    for up in [false, true] {
        let mut times = [const { Vec::new() }; 5];
        for _ in 0..ROUNDS {
            for (contender, times) in times.iter_mut().enumerate() {
                prepare(ns, links, up);
                times.push(match contender {
                    0 => ours(links, up),
                    1 => packed(links, up, 64),
                    2 => packed(links, up, 1),
                    3 => ip_batch(ns, links, up),
                    _ => one_by_one(links, up),
                });
                verify(links);
            }
        }
        let [ours, packed, single, ip, rtnetlink] = times.map(median);
        table(
            &format!("apply, {LINKS} addresses and routes{}", if up { ", with link up" } else { "" }),
            1,
            &[
                ("Kernel::apply", ours),
                ("bare sender, 64 at once, all acknowledged", packed),
                ("bare sender, one by one", single),
                ("ip -batch, as a process", ip),
                ("rtnetlink, one by one", rtnetlink),
            ],
        );
    }
}

/// No addresses and no routes; links up or down.
fn prepare(ns: &Netns, links: &[Link], down: bool) {
    let mut kernel = Kernel::open().unwrap();
    let steps: Vec<_> =
        links.iter().enumerate().map(|(n, link)| Step::DelAddress(address(n, link.ifindex))).collect();
    assert!(kernel.apply(&steps, OURS).iter().all(Result::is_ok));
    if down {
        let lines = links.iter().map(|link| format!("link set {} down\n", link.name));
        ns.ip_batch(&lines.collect::<String>());
    }
}

/// All of them did all of the work.
fn verify(links: &[Link]) {
    let observed = Kernel::open().unwrap().observe().unwrap();
    assert_eq!(observed.routes.iter().filter(|r| r.protocol == OURS).count(), links.len());
    assert!(observed.links.values().all(|link| link.up));
}

/// Links first, then addresses, then routes: faster than device by device.
fn steps(links: &[Link], up: bool) -> Vec<Step> {
    let ups = links.iter().filter(|_| up).map(|link| Step::LinkUp { ifindex: link.ifindex });
    let addresses = links.iter().enumerate().map(|(n, link)| Step::AddAddress(address(n, link.ifindex)));
    let routes = links.iter().enumerate().map(|(n, link)| Step::AddRoute(route(n, link.ifindex)));
    ups.chain(addresses).chain(routes).collect()
}

fn ours(links: &[Link], up: bool) -> std::time::Duration {
    let steps = steps(links, up);
    let mut kernel = Kernel::open().unwrap();
    timed(|| assert!(kernel.apply(&steps, OURS).iter().all(Result::is_ok)))
}

fn packed(links: &[Link], up: bool, at_once: usize) -> std::time::Duration {
    let steps = steps(links, up);
    let socket = bare::socket(None);
    timed(|| {
        bare::send_acked(&socket, steps.len(), at_once, |n, out, flags| match &steps[n] {
            Step::LinkUp { ifindex } => bare::link_up(out, *ifindex, flags),
            Step::AddAddress(a) => bare::address(out, a, RTM_NEWADDR, flags),
            Step::AddRoute(r) => bare::route(out, r, flags),
            other => unreachable!("{other:?}"),
        });
    })
}

fn ip_batch(ns: &Netns, links: &[Link], up: bool) -> std::time::Duration {
    let mut batch = String::new();
    if up {
        links.iter().for_each(|link| writeln!(batch, "link set {} up", link.name).unwrap());
    }
    for (n, link) in links.iter().enumerate() {
        writeln!(batch, "addr add {} brd + dev {}", address(n, link.ifindex).address, link.name).unwrap();
    }
    for (n, link) in links.iter().enumerate() {
        let r = route(n, link.ifindex);
        let gateway = r.gateway.unwrap();
        writeln!(batch, "route add {} via {gateway} dev {} metric 2000 proto {OURS}", r.dst, link.name)
            .unwrap();
    }
    timed(|| ns.ip_batch(&batch))
}

fn one_by_one(links: &[Link], up: bool) -> std::time::Duration {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let steps = steps(links, up);
    runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection().unwrap();
        let connection = tokio::spawn(connection);
        let start = std::time::Instant::now();
        for step in &steps {
            match step {
                Step::LinkUp { ifindex } => {
                    let up = rtnetlink::LinkUnspec::new_with_index(*ifindex).up().build();
                    handle.link().set(up).execute().await.unwrap();
                }
                Step::AddAddress(a) => {
                    let request = handle.address().add(a.ifindex, a.address.addr(), a.address.prefix_len());
                    request.execute().await.unwrap();
                }
                Step::AddRoute(r) => {
                    let (std::net::IpAddr::V4(dst), Some(std::net::IpAddr::V4(gateway))) =
                        (r.dst.addr(), r.gateway)
                    else {
                        panic!("IPv4 only")
                    };
                    let route = RouteMessageBuilder::<std::net::Ipv4Addr>::new()
                        .destination_prefix(dst, r.dst.prefix_len())
                        .gateway(gateway)
                        .output_interface(r.oif)
                        .priority(r.metric)
                        .protocol(RouteProtocol::Other(OURS));
                    handle.route().add(route.build()).execute().await.unwrap();
                }
                other => unreachable!("{other:?}"),
            }
        }
        let time = start.elapsed();
        connection.abort();
        time
    })
}
