//! What comes from outside, good and bad: one clear line each, and nothing that stood is lost.

use std::{fs, process::Command};

use crate::world::{
    Agent, GUIDE_BLOCK, GUIDE_CHAIN, GUIDE_CHAIN_AS_PRINTED, GUIDE_PREFIX, World, binding, block_pool, plain,
    service, world,
};

const SMALL: &str = ", routes: [{dst: 172.16.0.0/12}]";

/// One SF with a lease of `pool1`, and an agent.
fn machine(w: &World<'_>) -> Agent {
    w.sf("sf0");
    w.manifest("pool", &block_pool("10.1.0.0/24", "10.1.0.1", 4, SMALL));
    w.bindings(&[plain("sf0")]);
    w.ready()
}

/// Waits until the binding says so, with these words.
fn says(w: &World<'_>, agent: &Agent, name: &str, reason: &str, words: &str) {
    agent.until(&format!("{name} says {reason}: {words}"), || {
        let (r, message) = w.reason(name);
        r == reason && message.contains(words)
    });
}

#[test]
fn a_pool_that_goes_and_comes_again() {
    world(|w| {
        let agent = machine(w);
        let before = w.dump();
        w.remove_manifest("pool");
        says(w, &agent, "sf0", "PoolGone", "is kept");
        before.assert_same(&w.dump());
        w.ip("addr flush dev sf0");
        agent.until("kept means repaired, too", || w.dump() == before);
        w.manifest("pool", &block_pool("10.1.0.0/24", "10.1.0.1", 4, SMALL));
        says(w, &agent, "sf0", "Applied", "");
        before.assert_same(&w.dump());
    });
}

#[test]
fn all_manifests_gone_even_with_their_directory() {
    world(|w| {
        let agent = machine(w);
        let before = w.dump();
        fs::remove_dir_all(w.path("manifests")).unwrap();
        agent.until("said so", || {
            w.status().is_some_and(|s| s["conditions"].to_string().contains("SourceLost"))
        });
        before.assert_same(&w.dump());
        assert_eq!(agent.stop(), Some(0));
        // Neither does a start without any manifest touch what stands; the stored assignment carries on.
        w.ip("addr flush dev sf0");
        let agent = w.start();
        agent.until("the stored assignment carries on", || w.dump() == before);
        fs::create_dir(w.path("manifests")).unwrap();
        says(w, &agent, "sf0", "PoolGone", "is kept");
        before.assert_same(&w.dump());
    });
}

#[test]
fn without_any_word_nothing_is_touched() {
    world(|w| {
        w.sf("sf0");
        w.ip("addr add 10.1.0.2/24 dev sf0");
        w.ip("route add 10.9.0.0/16 dev lo proto 133");
        w.ip("link set sf0 up");
        w.bindings(&[plain("sf0")]);
        fs::remove_dir(w.path("manifests")).unwrap();
        let before = w.dump();
        let agent = w.start();
        agent.until("waits", || {
            w.status().is_some_and(|s| s["notes"].to_string().contains("no assignment yet"))
        });
        assert_eq!(agent.stop(), Some(0));
        before.assert_same(&w.dump());
    });
}

#[test]
fn a_file_that_is_half_written() {
    world(|w| {
        let agent = machine(w);
        let before = w.dump();
        let text = block_pool("10.1.0.0/24", "10.1.0.1", 4, SMALL);
        let broken = &text[..text.len() - 3];
        let problem = |words: &str| w.status().is_some_and(|s| s["problems"].to_string().contains(words));
        w.manifest("pool", broken);
        agent.until("file and line are named", || {
            problem("pool.yaml:4") && agent.log().contains("pool.yaml:4: broken YAML")
        });
        assert_eq!(w.reason("sf0").0, "Applied", "half a file is no change");
        before.assert_same(&w.dump());
        w.manifest("pool", &text);
        agent.until("whole again", || !problem("pool.yaml"));
        w.manifest("more", "kind: IPPool\nspec: {subnet: [\n");
        agent.until("said so", || problem("more.yaml"));
        before.assert_same(&w.dump());
        w.ip("addr flush dev sf0");
        agent.until("repairs go on", || w.dump() == before);
        // An invalid pool: the field is named, and what stood is kept.
        w.remove_manifest("more");
        w.manifest("pool", &block_pool("10.1.0.0/24", "10.9.0.1", 4, SMALL));
        says(w, &agent, "sf0", "PoolUnusable", "spec.gateway");
        w.manifest("pool", &text.replace("perNodeBlockSize", "perNodeBlocksize"));
        says(w, &agent, "sf0", "PoolUnusable", "not among the manifests that can be read");
        assert!(
            agent.log().contains("spec.perNodeBlocksize: unknown field, did you mean \"perNodeBlockSize\"?")
        );
        before.assert_same(&w.dump());
    });
}

#[test]
fn the_directory_is_swapped_in_one_step() {
    world(|w| {
        w.sf("sf0");
        // As a ConfigMap volume: `manifests` is a link to a directory that is replaced by a rename.
        fs::remove_dir(w.path("manifests")).unwrap();
        let generation = |name: &str, text: &str| {
            fs::create_dir(w.path(name)).unwrap();
            fs::write(w.path(name).join("ipam.yaml"), text).unwrap();
            std::os::unix::fs::symlink(name, w.path("link.new")).unwrap();
            fs::rename(w.path("link.new"), w.path("manifests")).unwrap();
        };
        generation("one", &block_pool("10.1.0.0/24", "10.1.0.1", 4, ""));
        w.bindings(&[plain("sf0")]);
        let agent = w.ready();
        generation("two", &block_pool("10.7.0.0/24", "10.7.0.1", 4, ""));
        agent.until("the new slice", || w.addresses("sf0") == ["10.7.0.2/24"] && w.is_ready());
        assert!(!agent.log().contains("carries on"), "never a moment without manifests: {}", agent.log());
    });
}

#[test]
fn the_mode_is_switched_there_and_back() {
    world(|w| {
        w.sf("sf10");
        w.sf("sf20");
        w.manifest("ipam", GUIDE_BLOCK);
        w.manifest("chain", GUIDE_CHAIN);
        w.bindings(&[service("producer", "sf10"), service("consumer", "sf20")]);
        let agent = w.ready();
        let block = w.dump();
        w.manifest("ipam", GUIDE_PREFIX);
        agent.until("prefix mode", || {
            w.addresses("sf10") == ["192.168.0.2/24"] && w.addresses("sf20") == ["192.168.0.3/24"]
        });
        agent.until("ready", || w.is_ready());
        w.manifest("ipam", GUIDE_BLOCK);
        agent.until("block mode again, as before", || w.dump() == block && w.is_ready());
    });
}

#[test]
fn the_chain_as_printed_asks_for_a_label_that_no_pool_has() {
    world(|w| {
        w.sf("sf10");
        w.manifest("ipam", GUIDE_BLOCK);
        w.manifest("chain", GUIDE_CHAIN_AS_PRINTED);
        w.bindings(&[service("producer", "sf10")]);
        let agent = w.start();
        says(
            w,
            &agent,
            "producer",
            "PoolNotFound",
            "no pool has label svc.dpu.nvidia.com/pool=pool1; IPPool/example-pool1 comes near with svc.dpu.nvidia.com/pool=example-pool1",
        );
        assert_eq!(w.addresses("sf10"), [""; 0]);
        w.manifest("chain", GUIDE_CHAIN);
        says(w, &agent, "producer", "Applied", "");
    });
}

#[test]
fn a_match_of_two_interfaces() {
    world(|w| {
        w.sf("sf0");
        w.sf("sf1");
        let mac = w.mac("sf0");
        w.ip(format!("link set sf1 address {mac}"));
        w.manifest("pool", &block_pool("10.1.0.0/24", "10.1.0.1", 4, ""));
        w.bindings(&[binding("sf0", &format!("mac: \"{mac}\""), "pool: {name: pool1}")]);
        let agent = w.start();
        says(w, &agent, "sf0", "InterfaceAmbiguous", "several interfaces match: sf0, sf1");
        w.ip("link set sf1 address 02:00:00:00:00:99");
        says(w, &agent, "sf0", "Applied", "");
    });
}

#[test]
fn two_bindings_of_one_sf() {
    world(|w| {
        w.sf("sf0");
        let mac = binding("second", &format!("mac: \"{}\"", w.mac("sf0")), "pool: {name: pool1}");
        w.manifest("pool", &block_pool("10.1.0.0/24", "10.1.0.1", 4, ""));
        w.bindings(&[plain("sf0"), mac]);
        let agent = w.start();
        says(w, &agent, "second", "InterfaceShared", "sf0 already belongs to the binding sf0");
        says(w, &agent, "sf0", "Applied", "");
        assert_eq!(w.addresses("sf0"), ["10.1.0.2/24"]);
    });
}

#[test]
fn a_slice_without_room_and_indexes_that_cannot_be() {
    world(|w| {
        for sf in ["sfa", "sfb", "sfc", "sfd", "sfe", "sff"] {
            w.sf(sf);
        }
        // Addresses .1 to .4, of which .1 is the gateway and .4 excluded: room for two.
        let pool = ", exclusions: [{startIP: 10.1.0.4, endIP: 10.1.0.4}]";
        w.manifest("pool", &block_pool("10.1.0.0/24", "10.1.0.1", 4, pool));
        let fixed = |name: &str, index: u32| {
            binding(name, &format!("netdev: {name}"), &format!("pool: {{name: pool1}}, index: {index}"))
        };
        w.bindings(&[
            plain("sfa"),
            fixed("sfb", 2),
            plain("sfc"),
            fixed("sfd", 0),
            fixed("sfe", 99),
            fixed("sff", 3),
        ]);
        let agent = w.start();
        says(
            w,
            &agent,
            "sfc",
            "SliceExhausted",
            "IPPool/pool1: all 2 addresses of this node's slice are in use",
        );
        says(w, &agent, "sfd", "AddressUnavailable", "index 0 is the gateway 10.1.0.1");
        says(
            w,
            &agent,
            "sfe",
            "AddressUnavailable",
            "index 99 lies outside the slice, whose last index is 3",
        );
        says(w, &agent, "sff", "AddressUnavailable", "index 3 is 10.1.0.4, which the pool excludes");
        says(w, &agent, "sfa", "Applied", "");
        says(w, &agent, "sfb", "Applied", "");
        assert_eq!(
            (w.addresses("sfa"), w.addresses("sfb")),
            (vec!["10.1.0.2/24".into()], vec!["10.1.0.3/24".to_owned()])
        );
        for sf in ["sfc", "sfd", "sfe", "sff"] {
            assert_eq!(w.addresses(sf), [""; 0]);
        }
    });
}

#[test]
fn an_sf_that_comes_late() {
    world(|w| {
        w.sf("sf1");
        w.manifest("pool", &block_pool("10.1.0.0/24", "10.1.0.1", 4, ""));
        w.bindings(&[plain("sf0"), plain("sf1")]);
        let agent = w.start();
        says(w, &agent, "sf0", "InterfaceAbsent", "sf0");
        says(w, &agent, "sf1", "Applied", "");
        let others = ["\"sf0\"", "\"10.1.0.2\"", "sf0rep"];
        let before = w.dump().without(&others);
        w.sf("sf0");
        agent.until("ready", || w.is_ready());
        assert_eq!(
            (w.addresses("sf0"), w.addresses("sf1")),
            (vec!["10.1.0.2/24".into()], vec!["10.1.0.3/24".to_owned()])
        );
        before.assert_same(&w.dump().without(&others));
    });
}

#[test]
fn addresses_of_pods_are_stepped_over() {
    world(|w| {
        w.sf("sf0");
        w.sf("sf1");
        w.manifest("pool", &block_pool("10.1.0.0/24", "10.1.0.1", 8, ""));
        // As nv-ipam writes it: FNV-1a of the text with 0 in the place of the checksum.
        let text = |checksum: u32, address: &str| {
            format!(
                r#"{{"version":1,"checksum":{checksum},"pools":{{"pool1":{{"name":"pool1","entries":{{"c1_net0":{{"id":"c1_net0","container_id":"c1","interface_name":"net0","ip_address":"{address}","metadata":{{}}}}}},"last_reserved_ip":"{address}","last_pool_config":null}}}}}}"#
            )
        };
        let store = |address: &str| {
            let fnv = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
            let checksum = text(0, address).bytes().fold(0x811c_9dc5, fnv);
            fs::write(w.path("nv-ipam.new"), text(checksum, address)).unwrap();
            fs::rename(w.path("nv-ipam.new"), w.path("nv-ipam")).unwrap();
        };
        store("10.1.0.2");
        w.also("resync: 1s");
        w.bindings(&[plain("sf0")]);
        let agent = w.ready();
        assert_eq!(w.addresses("sf0"), ["10.1.0.3/24"]);
        store("10.1.0.3");
        says(w, &agent, "sf0", "HeldByPod", "nv-ipam gave 10.1.0.3 to a Pod of this node as well");
        assert_eq!(w.addresses("sf0"), ["10.1.0.3/24"], "an address that is in use does not go away");
        fs::write(w.path("nv-ipam"), "half").unwrap();
        agent.until("said so", || {
            w.status().is_some_and(|s| s["notes"].to_string().contains("nv-ipam's store"))
        });
    });
}

#[test]
fn not_allowed_to_change_the_network() {
    world(|w| {
        w.sf("sf0");
        w.manifest("pool", &block_pool("10.1.0.0/24", "10.1.0.1", 4, ""));
        w.bindings(&[plain("sf0")]);
        let run = w.command("run --once");
        let output = Command::new("setpriv")
            .args(["--bounding-set", "-net_admin", "--inh-caps", "-net_admin"])
            .arg(run.get_program())
            .args(run.get_args())
            .output()
            .expect("these tests need setpriv: install the package util-linux");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains("run as root, or give the process CAP_NET_ADMIN"), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(!w.path("state").exists(), "nothing was begun");
    });
}

#[test]
fn an_interface_name_that_is_too_long() {
    world(|w| {
        w.bindings(&[binding("sf0", "netdev: a-name-of-16-byte", "pool: {name: pool1}")]);
        let ended = w.run("run --once");
        assert_eq!(ended.code(), Some(1));
        assert!(ended.err().contains("interfaces[0].match.netdev"), "{ended}");
    });
}
