//! Making links.

use std::{process, thread};

use dpu_ipam::kernel::{Kernel, VethPeer};

use crate::netns::netns;

#[test]
fn a_bridge_with_a_veth_as_its_port() {
    netns(|ns| {
        let mut kernel = Kernel::open().unwrap();
        kernel.add_bridge(&"br0".parse().unwrap()).unwrap();
        let name = "sf0".parse().unwrap();
        let peer = VethPeer { name: &name, mac: Some("02:00:00:00:00:0a".parse().unwrap()), task: None };
        kernel.add_veth(&"rep0".parse().unwrap(), ns.ifindex("br0"), peer).unwrap();

        let bridge = &ns.ip_json("link show br0")[0];
        assert_eq!(bridge["linkinfo"]["info_kind"], "bridge");
        let rep = &ns.ip_json("link show rep0")[0];
        assert_eq!((&rep["master"], &rep["link"]), (&"br0".into(), &"sf0".into()));
        let sf = &ns.ip_json("link show sf0")[0];
        assert_eq!((&sf["address"], &sf["operstate"]), (&"02:00:00:00:00:0a".into(), &"DOWN".into()));

        let again = kernel.add_bridge(&"br0".parse().unwrap()).unwrap_err().to_string();
        assert!(again.contains("make a bridge") && again.contains("exists"), "{again}");
    });
}

#[test]
fn a_veth_into_the_namespace_of_another_thread() {
    netns(|ns| {
        let mut kernel = Kernel::open().unwrap();
        kernel.add_bridge(&"br0".parse().unwrap()).unwrap();
        let bridge = ns.ifindex("br0");
        netns(|there| {
            let task = u32::try_from(nix::unistd::gettid().as_raw()).unwrap();
            assert_ne!(task, process::id(), "{:?} is not the main thread", thread::current().id());
            let name = "far".parse().unwrap();
            let peer = VethPeer { name: &name, mac: None, task: Some(task) };
            kernel.add_veth(&"near".parse().unwrap(), bridge, peer).unwrap();
            assert_eq!(there.ip_json("link show far")[0]["linkinfo"]["info_kind"], "veth");
        });
        // With its namespace the far end goes, and the pair with it.
        let begun = std::time::Instant::now();
        while ns.try_ip("link show near").is_ok() {
            assert!(begun.elapsed().as_secs() < 10, "the near end stays");
        }
    });
}
