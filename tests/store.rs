//! The store on real file systems: killed at random moments, and on a disk that is full or read-only.
#![expect(clippy::unwrap_used, reason = "helpers of tests end the test")]

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use dpu_ipam::{
    engine::lease::Lease,
    model::{PoolKind, PoolRef},
    store::{Identity, Origin, State, Store, StoreError},
};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

/// Where a child process of these tests finds its directory.
const DIR: &str = "DPU_IPAM_TEST_DIR";

fn identity() -> Identity {
    Identity { node: "dpu-1".parse().unwrap(), node_uid: None, dpu_serial: None }
}

/// A state that tells its generation, and is wrong if its parts are of different ones.
fn state(generation: u32) -> State {
    let mut state = State::empty(identity(), "boot".into());
    let pool = PoolRef { kind: PoolKind::IpPool, namespace: "ns".into(), name: "pool1".into() };
    for n in 0..50 {
        let binding = format!("sf-{n}").parse().unwrap();
        let address = (u32::from_be_bytes([10, 0, 0, 0]) + generation).to_be_bytes().into();
        state.leases.leases.push(Lease { binding, pool: pool.clone(), address });
    }
    state
}

fn generation(state: &State) -> u32 {
    let address = state.leases.leases.first().map(|l| l.address);
    let Some(std::net::IpAddr::V4(address)) = address else { panic!("no lease in {state:?}") };
    let generation = address.to_bits() - u32::from_be_bytes([10, 0, 0, 0]);
    assert_eq!(*state, self::state(generation), "parts of several generations");
    generation
}

/// This test program again, running only `test`.
fn child(test: &str, dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
#[ignore = "runs as a child of the next test"]
fn child_saves_for_ever() {
    let dir = std::env::var_os(DIR).unwrap();
    let mut store = Store::open(dir.as_ref()).unwrap();
    let loaded = store.load(&identity(), "boot");
    let first = if loaded.origin == Origin::Nothing { 0 } else { generation(&loaded.state) + 1 };
    for generation in first.. {
        store.save(&state(generation)).unwrap();
        // What was saved counts from here on: this is the promise that the parent checks.
        fs::write(Path::new(&dir).join("promised"), generation.to_string()).unwrap();
    }
}

#[test]
fn a_kill_at_any_moment_loses_nothing_that_was_saved() {
    let dir = tempfile::tempdir().unwrap();
    let promised =
        || fs::read_to_string(dir.path().join("promised")).ok().and_then(|t| t.parse::<u32>().ok());
    let mut last = 0;
    let mut from_previous = 0;
    for round in 0_u64..100 {
        let mut saver = child("child_saves_for_ever", dir.path());
        // From the first save of this round on, at a moment that differs from round to round.
        let deadline = Instant::now() + Duration::from_secs(20);
        while promised().is_none_or(|p| p <= last) && Instant::now() < deadline {
            thread::sleep(Duration::from_micros(200));
        }
        thread::sleep(Duration::from_micros(round * 7919 % 3000));
        saver.kill().unwrap();
        saver.wait().unwrap();
        let mut store = Store::open(dir.path()).expect("the lock ends with its holder");
        let loaded = store.load(&identity(), "boot");
        assert!(loaded.sidelined.is_empty(), "round {round}: {:?}", loaded.sidelined);
        let found = generation(&loaded.state);
        // The note of the promise may itself be cut; then what was known before still holds.
        let saved = promised().unwrap_or(last);
        assert!(found >= saved && found > last, "round {round}: {saved} was saved, {found} is there");
        from_previous += u32::from(loaded.origin == Origin::Previous);
        last = found;
    }
    println!("100 kills over {last} generations; {from_previous} fell between the two renames");
}

#[test]
#[ignore = "runs as a child of the next test, in a mount namespace of its own"]
fn child_on_a_small_disk() {
    let dir = std::env::var_os(DIR).unwrap();
    let dir: &Path = dir.as_ref();
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
    mount(Some("tmpfs"), dir, Some("tmpfs"), MsFlags::empty(), Some("size=2m")).unwrap();

    let mut store = Store::open(dir).unwrap();
    for generation in 1..=2 {
        store.save(&state(generation)).unwrap();
    }
    let filler = dir.join("filler");
    fs::write(&filler, vec![0; 4 << 20]).expect_err("the disk is full now");
    let error = store.save(&state(3)).expect_err("no room");
    assert!(
        matches!(&error, StoreError::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull)
    );
    assert!(error.to_string().starts_with("cannot write "), "{error}");
    assert_eq!(generation(&store.load(&identity(), "boot").state), 2);
    drop(store);
    let mut store = Store::open(dir).expect("a full disk stops nobody");
    assert_eq!(generation(&store.load(&identity(), "boot").state), 2);
    fs::remove_file(&filler).unwrap();
    assert!(store.save(&state(3)).unwrap(), "room again");

    mount(none, dir, none, MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY, none).unwrap();
    drop(store);
    let mut store = Store::open(dir).expect("a read-only disk stops nobody");
    assert_eq!(generation(&store.load(&identity(), "boot").state), 3);
    let error = store.save(&state(4)).expect_err("read-only");
    assert!(error.to_string().contains("Read-only file system"), "{error}");
    assert!(!store.save(&state(3)).is_ok_and(|written| written), "nothing is claimed");
    assert_eq!(generation(&store.load(&identity(), "boot").state), 3);
    println!("child finished");
}

#[test]
fn a_full_or_read_only_disk_keeps_the_last_state_readable() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIPPED: needs root for a mount namespace");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let output = child("child_on_a_small_disk", dir.path()).wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("child finished"), "{text}\n{errors}");
}
