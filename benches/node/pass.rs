//! Whole passes: the cold start as a process, and the pass that finds nothing to do.

use std::{fmt::Write as _, path::Path};

use dpu_ipam::{
    agent::Agent,
    engine::{
        self, Inputs,
        attach::match_bindings,
        lease::{LeaseBook, PodHeld},
        plan::Owned,
    },
    kernel::Kernel,
    model::{Link, Step, Timestamp},
    sf::Finder,
    source::files,
    store::{Identity, State, Store},
};

use super::{LINKS, OURS, bare, machine::Machine, median, netns::Netns, observe, table, timed};

const ROUNDS: usize = 11;

/// One subnet, one gateway, one route: an address and a route for every SF.
const POOL: &str = "apiVersion: nv-ipam.nvidia.com/v1alpha1
kind: IPPool
metadata: {name: pool1, namespace: dpf-operator-system}
spec: {subnet: 10.0.0.0/16, perNodeBlockSize: 2000, gateway: 10.0.0.1, routes: [{dst: 20.0.0.0/8}]}
";

pub(crate) fn run(ns: &Netns, links: &[Link]) {
    isolated(ns, links);
    let machine = Machine::new(links, |_| "pool: {name: pool1}, isolation: none".to_owned(), POOL);
    for up in [false, true] {
        let (mut ours, mut ip) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            clean(ns, links, up);
            machine.forget();
            ours.push(timed(|| assert!(machine.command(&["run", "--once"]).status().unwrap().success())));
            verify();
            clean(ns, links, up);
            ip.push(timed(|| ns.ip_batch(&batch(links, up))));
            verify();
        }
        table(
            &format!("cold start, {LINKS} SFs not isolated{}", if up { ", with link up" } else { "" }),
            1,
            &[("dpu-ipam run --once, as a process", median(ours)), ("ip -batch, as a process", median(ip))],
        );
    }
    nothing_to_do(&machine);
    store(&machine);
}

/// As SFs of one subnet are by default: each with a table and a rule of its own. (`ip` cannot set the ARP settings.)
fn isolated(ns: &Netns, links: &[Link]) {
    let machine = Machine::new(links, |_| "pool: {name: pool1}".to_owned(), POOL);
    let mut batch = String::new();
    for (n, link) in links.iter().enumerate() {
        let (host, name) = (address(n), &link.name);
        writeln!(batch, "addr add {host}/16 brd + dev {name} noprefixroute").unwrap();
    }
    for (n, link) in links.iter().enumerate() {
        let (host, name, table, metric) = (address(n), &link.name, 20_000 + n, 2000 + n);
        let tail = format!("dev {name} src {host} proto {OURS}");
        writeln!(batch, "route add 10.0.0.0/16 {tail} metric {metric}").unwrap();
        writeln!(batch, "route add 10.0.0.0/16 {tail} metric 2000 table {table}").unwrap();
        writeln!(batch, "route add 20.0.0.0/8 via 10.0.0.1 {tail} metric {metric}").unwrap();
        writeln!(batch, "route add default via 10.0.0.1 {tail} metric 2000 table {table}").unwrap();
    }
    for n in 0..links.len() {
        let (host, table) = (address(n), 20_000 + n);
        writeln!(batch, "rule add from {host} lookup {table} priority 20000 protocol {OURS}").unwrap();
    }
    let (mut ours, mut ip) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        for (contender, times) in [&mut ours, &mut ip].into_iter().enumerate() {
            clean(ns, links, false);
            machine.forget();
            times.push(timed(|| match contender {
                0 => assert!(machine.command(&["run", "--once"]).status().unwrap().success()),
                _ => ns.ip_batch(&batch),
            }));
            let observed = Kernel::open().unwrap().observe().unwrap();
            assert_eq!(observed.routes.iter().filter(|r| r.protocol == OURS).count(), 4 * LINKS);
            assert_eq!(observed.rules.iter().filter(|r| r.protocol == OURS).count(), LINKS);
        }
    }
    clean(ns, links, false);
    table(
        &format!("cold start, {LINKS} SFs of one subnet, isolated"),
        1,
        &[("dpu-ipam run --once, as a process", median(ours)), ("ip -batch, as a process", median(ip))],
    );
}

/// The address that the `n`th SF gets.
fn address(n: usize) -> String {
    format!("10.0.{}.{}", (n + 2) / 256, (n + 2) % 256)
}

fn clean(ns: &Netns, links: &[Link], down: bool) {
    let mut kernel = Kernel::open().unwrap();
    let observed = kernel.observe().unwrap();
    let rules = observed.rules.into_iter().filter(|r| r.protocol == OURS).map(Step::DelRule);
    let ipv4 = observed.addresses.into_iter().filter(|a| a.ifindex != 1 && a.address.addr().is_ipv4());
    let steps: Vec<_> = rules.chain(ipv4.map(Step::DelAddress)).collect();
    assert!(kernel.apply(&steps, OURS).iter().all(Result::is_ok));
    if down {
        let lines = links.iter().map(|link| format!("link set {} down\n", link.name));
        ns.ip_batch(&lines.collect::<String>());
    }
}

/// An address and a route for every link, whoever made them.
fn verify() {
    let observed = Kernel::open().unwrap().observe().unwrap();
    assert_eq!(
        observed.addresses.iter().filter(|a| a.address.to_string().starts_with("10.0.")).count(),
        LINKS
    );
    assert_eq!(observed.routes.iter().filter(|r| r.dst.to_string() == "20.0.0.0/8").count(), LINKS);
    assert!(observed.links.values().all(|link| link.up));
}

fn batch(links: &[Link], up: bool) -> String {
    let mut batch = String::new();
    for link in links.iter().filter(|_| up) {
        writeln!(batch, "link set {} up", link.name).unwrap();
    }
    for (n, link) in links.iter().enumerate() {
        writeln!(batch, "addr add {}/16 brd + dev {}", address(n), link.name).unwrap();
    }
    for (n, link) in links.iter().enumerate() {
        let metric = 2000 + n;
        writeln!(batch, "route add 20.0.0.0/8 via 10.0.0.1 dev {} metric {metric} proto {OURS}", link.name)
            .unwrap();
    }
    batch
}

fn nothing_to_do(machine: &Machine) {
    let config = machine.config();
    let word = files::load(&[machine.path().join("manifests.yaml")], &config.node).unwrap();
    let reload = machine.config();
    let mut agent = Agent::open(machine.config(), Box::new(move || Ok(reload.clone()))).unwrap();
    agent.read();
    agent.pass().unwrap();

    let mut kernel = Kernel::open().unwrap();
    let observed = kernel.observe().unwrap();
    let matches =
        match_bindings(&config.bindings, &Finder::new(Path::new("/sys")).discover(&observed.links).unwrap());
    let mut inputs = Inputs {
        bindings: &config.bindings,
        numbers: &config.numbers,
        quarantine: config.quarantine,
        assignment: &word.assignment,
        book: &LeaseBook::default(),
        owned: &Owned::default(),
        matches: &matches,
        observed: &observed,
        pods: &PodHeld::new(),
        now: Timestamp(0),
    };
    let first = engine::pass(&inputs);
    assert!(first.plan.steps.is_empty());
    inputs.book = &first.book;
    let (mut ours, mut dumps, mut pure) = (Vec::new(), Vec::new(), Vec::new());
    let socket = bare::socket(None);
    for _ in 0..41 {
        ours.push(timed(|| agent.pass().unwrap()));
        dumps.push(timed(|| observe::bare_dumps(&socket)));
        pure.push(timed(|| assert!(engine::pass(&inputs).plan.steps.is_empty())));
    }
    table(
        &format!("a pass with nothing to do, {LINKS} SFs"),
        1,
        &[
            ("Agent::pass", median(ours)),
            ("bare dumps, thrown away", median(dumps)),
            ("of which pure: leases, desired, plan", median(pure)),
        ],
    );
}

fn store(machine: &Machine) {
    let identity = Identity { node: "dpu-1".parse().unwrap(), node_uid: None, dpu_serial: None };
    let (state, _) = Store::peek(&machine.path().join("state"), &identity, "");
    assert_eq!(state.leases.leases.len(), LINKS);
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path()).unwrap();
    let mut times = Vec::new();
    for n in 0..101 {
        let state = State { assignment_time: Some(Timestamp(n)), ..state.clone() };
        times.push(timed(|| assert!(store.save(&state).unwrap())));
    }
    let bytes = std::fs::read(dir.path().join("state.json")).unwrap();
    let peer = (0..101).map(|_| timed(|| rewrite(dir.path(), &bytes))).collect();
    let title = format!("store of {LINKS} leases, {} kB", bytes.len() / 1000);
    let rows = [("Store::save", median(times)), ("write, fsync, rename, fsync", median(peer))];
    table(&title, 1, &rows);
}

fn rewrite(dir: &Path, bytes: &[u8]) {
    use std::{fs, io::Write as _};
    let new = dir.join("peer.new");
    let mut file = fs::File::create(&new).unwrap();
    file.write_all(bytes).unwrap();
    file.sync_data().unwrap();
    fs::rename(&new, dir.join("peer")).unwrap();
    fs::File::open(dir).unwrap().sync_all().unwrap();
}
