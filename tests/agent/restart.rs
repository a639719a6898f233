//! Stops, starts, new configurations, second instances, and stores of every bad kind.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    process::Command,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use crate::world::{World, binding, block_pool, plain, world};

fn machine(w: &World<'_>) {
    w.sf("sf0");
    w.sf("sf1");
    w.manifest("pool", &block_pool("10.1.0.0/24", "10.1.0.1", 8, ", defaultGateway: true"));
    w.bindings(&[plain("sf0"), plain("sf1")]);
}

fn right(w: &World<'_>) -> bool {
    w.addresses("sf0") == ["10.1.0.2/24"] && w.addresses("sf1") == ["10.1.0.3/24"] && w.rules().len() == 2
}

#[test]
fn a_stop_leaves_the_network_and_a_start_changes_nothing() {
    world(|w| {
        machine(w);
        let agent = w.ready();
        let before = w.dump();
        assert_eq!(agent.stop(), Some(0));
        before.assert_same(&w.dump());
        let changes = w.changes(|| {
            let agent = w.ready();
            assert_eq!(agent.stop(), Some(0));
        });
        assert_eq!(changes, [""; 0]);
        before.assert_same(&w.dump());
    });
}

#[test]
fn drift_while_nobody_looks_is_mended_at_the_start() {
    world(|w| {
        machine(w);
        w.once();
        let before = w.dump();
        for words in
            ["addr flush dev sf0", "route flush table 20001", "rule del from 10.1.0.2", "link set sf1 down"]
        {
            w.ip(words);
        }
        w.once();
        before.assert_same(&w.dump());
    });
}

#[test]
fn hangup_reads_the_configuration_again() {
    world(|w| {
        machine(w);
        w.sf("sf2");
        let agent = w.ready();
        w.bindings(&[plain("sf0"), plain("sf1"), plain("sf2")]);
        agent.signal(Signal::SIGHUP);
        agent.until("a new binding has its address", || w.addresses("sf2") == ["10.1.0.4/24"]);

        w.bindings(&[plain("sf0"), plain("sf2")]);
        agent.signal(Signal::SIGHUP);
        agent.until("a removed binding's address goes", || w.addresses("sf1").is_empty());
        // It rests: another binding gets another one, the same binding gets it back.
        let other = binding("other", "netdev: sf1", "pool: {name: pool1}");
        w.bindings(&[plain("sf0"), plain("sf2"), other]);
        agent.signal(Signal::SIGHUP);
        agent.until("another address", || w.addresses("sf1") == ["10.1.0.5/24"]);
        w.bindings(&[plain("sf0"), plain("sf1"), plain("sf2")]);
        agent.signal(Signal::SIGHUP);
        agent.until("the same binding has it again", || w.addresses("sf1") == ["10.1.0.3/24"]);

        let before = w.dump();
        fs::write(w.path("config.yaml"), "node: dpu-1\ninterfaces: nonsense\n").unwrap();
        agent.signal(Signal::SIGHUP);
        agent.until("says that it keeps the old one", || {
            let log = agent.log();
            log.contains("configuration left as it was") && log.contains("config.yaml:2: interfaces")
        });
        before.assert_same(&w.dump());
        w.ip("addr flush dev sf0");
        agent.until("and works with it", || w.dump() == before);
        assert_eq!(agent.stop(), Some(0));
    });
}

#[test]
fn hangup_moves_the_status_file() {
    world(|w| {
        machine(w);
        let agent = w.ready();
        let config = fs::read_to_string(w.path("config.yaml")).unwrap();
        fs::write(w.path("config.yaml"), config.replace("/run\n", "/run2\n")).unwrap();
        agent.signal(Signal::SIGHUP);
        agent.until("the status is in the new place", || w.path("run2/status.json").exists());
    });
}

#[test]
fn a_second_instance_says_so_and_ends() {
    world(|w| {
        machine(w);
        let mut agent = w.ready();
        let before = w.dump();
        for words in ["run", "run --once"] {
            let second = w.run(words);
            assert_eq!(second.code(), Some(1));
            let (pid, err) = (agent.pid(), second.err());
            assert!(err.contains(&format!("another dpu-ipam (process {pid}) is at work")), "{err}");
        }
        assert!(agent.runs());
        before.assert_same(&w.dump());
        w.ip("addr flush dev sf0");
        agent.until("the first one is undisturbed", || w.dump() == before);
    });
}

type Spoil = fn(Vec<u8>) -> Vec<u8>;

/// Stores in which nothing can be used. The addresses are in the kernel, and that is where the leases come from again.
#[test]
fn a_bad_store_is_put_aside_and_nothing_moves() {
    let newer: Spoil = |bytes| {
        let text = String::from_utf8(bytes).unwrap();
        text.replacen("dpu-ipam-state 1 ", "dpu-ipam-state 99 ", 1).into_bytes()
    };
    let bad: [(&str, Spoil, &str); 4] = [
        ("torn", |bytes| bytes[..bytes.len() / 2].to_vec(), "it is damaged"),
        ("empty", |_| Vec::new(), "it is damaged"),
        (
            "flipped",
            |mut bytes| {
                *bytes.last_mut().unwrap() ^= 1;
                bytes
            },
            "checksum",
        ),
        ("newer", newer, "it is of version 99"),
    ];
    for (name, spoil, words) in bad {
        world(|w| {
            machine(w);
            // The second address was given in a way that the lowest free one would not give again.
            w.sf("gone");
            w.bindings(&[plain("sf0"), plain("gone"), plain("sf1")]);
            w.once();
            w.bindings(&[plain("sf0"), plain("sf1")]);
            w.once();
            assert_eq!(w.addresses("sf1"), ["10.1.0.4/24"]);
            let before = w.dump();
            for file in ["state/state.json", "state/state.json.previous"] {
                let bytes = fs::read(w.path(file)).unwrap();
                fs::write(w.path(file), spoil(bytes)).unwrap();
            }
            let ended = w.run("run --once");
            assert_eq!(ended.code(), Some(0), "{name}: {ended}");
            assert!(ended.err().contains("stored state not used"), "{name}: {ended}");
            assert!(ended.err().contains(words), "{name}: {ended}");
            assert!(w.status().unwrap()["notes"].to_string().contains(words), "{name}");
            before.assert_same(&w.dump());
            w.ip("addr flush dev sf1");
            w.once();
            before.assert_same(&w.dump());
        });
    }
}

#[test]
fn the_store_of_another_node_is_not_used() {
    world(|w| {
        machine(w);
        w.once();
        let config = fs::read_to_string(w.path("config.yaml")).unwrap();
        fs::write(w.path("config.yaml"), config.replace("node: dpu-1", "node: dpu-2")).unwrap();
        let ended = w.run("run --once");
        assert_eq!(ended.code(), Some(0), "{ended}");
        assert!(ended.err().contains("it belongs to node dpu-1, and this is node dpu-2"), "{ended}");
        assert!(right(w), "the only node again, with the same addresses");
    });
}

/// Runs an agent in a mount namespace where `prepare` (shell words, `$1` is the state directory) was done before.
fn with_state_dir(w: &World<'_>, prepare: &str) {
    let run = w.command("run");
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-ec", &format!("{prepare}\nshift\nexec \"$@\""), "sh"]);
    command.arg(w.path("state")).arg(run.get_program()).args(run.get_args());
    let agent = w.start_as(command);
    agent.until("the network is right all the same", || right(w) && w.is_ready());
    assert!(agent.log().contains("the store cannot be written"), "{}", agent.log());
    assert!(
        w.status().unwrap()["notes"].to_string().contains("the store cannot be written"),
        "{:?}",
        w.status()
    );
    w.ip("addr flush dev sf0");
    agent.until("repairs go on", || right(w));
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn the_disk_is_full() {
    world(|w| {
        machine(w);
        fs::create_dir(w.path("state")).unwrap();
        with_state_dir(w, "mount -t tmpfs -o size=64k tmpfs $1; ! cat /dev/zero 2>/dev/null > $1/filler");
    });
}

#[test]
fn the_disk_is_read_only() {
    world(|w| {
        machine(w);
        fs::create_dir(w.path("state")).unwrap();
        with_state_dir(w, "mount -t tmpfs -o ro tmpfs $1");
    });
}

#[test]
fn the_state_directory_cannot_even_be_made() {
    world(|w| {
        machine(w);
        fs::write(w.path("state"), "a file where the directory should be").unwrap();
        with_state_dir(w, ":");
        // Leases come from the kernel then, as with any other store that is lost.
        fs::remove_file(w.path("state")).unwrap();
        let before = w.dump();
        w.once();
        before.assert_same(&w.dump());
    });
}

#[test]
fn the_store_is_written_as_soon_as_it_can_be() {
    world(|w| {
        machine(w);
        w.also("resync: 1s");
        w.bindings(&[plain("sf0"), plain("sf1")]);
        fs::write(w.path("state"), "a file where the directory should be").unwrap();
        let agent = w.ready();
        fs::remove_file(w.path("state")).unwrap();
        agent.until("written", || w.path("state/state.json").exists());
        agent.until("and no longer said", || w.status().unwrap()["notes"].is_null());
    });
}

#[test]
fn a_resync_that_finds_nothing_writes_nothing() {
    world(|w| {
        machine(w);
        w.also("resync: 1s");
        w.bindings(&[plain("sf0"), plain("sf1")]);
        let agent = w.ready();
        let stamp = || fs::metadata(w.path("state/state.json")).unwrap().ino();
        let before = stamp();
        // The clock ticks, and the manifests are read again, at least once.
        let begin = Instant::now();
        agent.until("three resyncs", || begin.elapsed() > Duration::from_secs(3));
        w.manifest("more", "# nothing\n");
        w.ip("addr flush dev sf0");
        agent.until("repaired", || right(w));
        assert_eq!(stamp(), before, "the store was written again");
    });
}
