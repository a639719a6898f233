//! What the idle agent costs: resident memory and wake-ups.

use std::{fs, process::Command, thread, time::Duration};

use dpu_ipam::model::Link;

use super::machine::Machine;

/// The word that makes this program the idle peer.
pub(crate) const IDLE_PEER: &str = "idle-peer";
const WATCHED: Duration = Duration::from_secs(20);

const POOL: &str = "apiVersion: nv-ipam.nvidia.com/v1alpha1
kind: IPPool
metadata: {name: pool1, namespace: dpf-operator-system}
spec: {subnet: 10.0.0.0/16, perNodeBlockSize: 1000, gateway: 10.0.0.1, defaultGateway: true}
";

pub(crate) fn run(links: &[Link]) {
    println!("\nidle, 256 SFs, seen for {} s", WATCHED.as_secs());
    for isolation in ["none", "auto"] {
        let pool = |_| format!("pool: {{name: pool1}}, isolation: {isolation}");
        let machine = Machine::new(links, pool, POOL);
        let agent = machine.agent();
        watch(&format!("dpu-ipam run, isolation {isolation}"), agent.0.id());
    }
    let mut peer = Command::new(std::env::current_exe().unwrap()).arg(IDLE_PEER).spawn().unwrap();
    watch("bare tokio and rtnetlink", peer.id());
    peer.kill().unwrap();
    peer.wait().unwrap();
}

fn watch(name: &str, pid: u32) {
    thread::sleep(Duration::from_secs(2));
    let before = field(pid, "voluntary_ctxt_switches:");
    thread::sleep(WATCHED);
    let wakes = field(pid, "voluntary_ctxt_switches:") - before;
    let (resident, own) = (field(pid, "VmRSS:"), field(pid, "RssAnon:"));
    println!("  {name:<32} {resident:>6} KiB resident, of which {own} KiB anonymous; {wakes} wake-ups");
}

fn field(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// A process that has a runtime, a netlink connection and a multicast subscription, and does nothing.
pub(crate) fn idle_peer() -> ! {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let groups = [rtnetlink::MulticastGroup::Ipv4Ifaddr];
        let (connection, _handle, _messages) = rtnetlink::new_multicast_connection(&groups).unwrap();
        tokio::spawn(connection);
        std::future::pending::<()>().await;
    });
    unreachable!()
}
