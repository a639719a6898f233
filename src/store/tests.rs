//! Tests of the store on real directories.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use super::{Identity, Origin, State, Store, StoreError, Unusable, file, format};
use crate::{
    engine::{
        lease::Lease,
        plan::{Owned, OwnedAddress},
    },
    model::{PoolKind, PoolRef},
};

fn identity() -> Identity {
    Identity { node: "dpu-1".parse().unwrap(), node_uid: Some("u1".into()), dpu_serial: None }
}

fn state(leases: u16) -> State {
    let mut state = State::empty(identity(), "boot-1".into());
    for n in 0..leases {
        let [high, low] = n.to_be_bytes();
        let address = [10, 0, high, low].into();
        let pool =
            PoolRef { kind: PoolKind::IpPool, namespace: "dpf-operator-system".into(), name: "pool1".into() };
        let binding = format!("sf-{n}").parse().unwrap();
        state.leases.leases.push(Lease { binding, pool, address });
        state.owned.addresses.insert(OwnedAddress {
            ifindex: 100 + u32::from(n),
            address: ipnet::IpNet::new(address, 16).unwrap(),
        });
    }
    state
}

fn open(dir: &Path) -> Store {
    Store::open(dir).unwrap_or_else(|e| panic!("{e}"))
}

fn load(dir: &Path) -> super::Loaded {
    open(dir).load(&identity(), "boot-1")
}

#[test]
fn saved_state_comes_back_and_is_private() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("a/b");
    let fresh = load(&dir);
    assert_eq!((fresh.origin, fresh.sidelined.len()), (Origin::Nothing, 0));
    assert!(open(&dir).save(&state(3)).unwrap());
    let loaded = load(&dir);
    assert_eq!((loaded.origin, &loaded.state), (Origin::Current, &state(3)));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&dir), mode(&dir.join("state.json"))), (0o700, 0o600));
}

#[test]
fn the_same_state_is_not_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    assert!(store.save(&state(1)).unwrap());
    assert!(!store.save(&state(1)).unwrap());
    assert!(store.save(&state(2)).unwrap());
    drop(store);
    let mut store = open(dir.path());
    let _ = store.load(&identity(), "boot-1");
    assert!(!store.save(&state(2)).unwrap(), "what was read counts as written");
}

#[test]
fn a_second_instance_names_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path());
    match Store::open(dir.path()) {
        Err(e @ StoreError::Held { pid, .. }) => {
            assert_eq!(pid, Some(std::process::id()));
            assert!(e.to_string().contains(&format!("(process {})", std::process::id())), "{e}");
        }
        other => panic!("{other:?}"),
    }
    fs::remove_file(dir.path().join("pid")).unwrap();
    assert!(
        matches!(Store::open(dir.path()), Err(StoreError::Held { pid: None, .. })),
        "the lock needs no file"
    );
    drop(first);
    open(dir.path());
}

#[test]
fn a_look_needs_no_lock_and_moves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut holder = open(dir.path());
    holder.save(&state(1)).unwrap();
    holder.save(&state(2)).unwrap();
    assert_eq!(Store::peek(dir.path(), &identity(), "boot-1"), (state(2), Origin::Current));
    fs::write(dir.path().join("state.json"), "bad").unwrap();
    assert_eq!(Store::peek(dir.path(), &identity(), "boot-1"), (state(1), Origin::Previous));
    assert_eq!(fs::read(dir.path().join("state.json")).unwrap(), b"bad");
}

#[test]
fn every_torn_or_flipped_file_falls_back_to_the_generation_before() {
    let good = format::encode(&state(2)).unwrap();
    let torn = (0..good.len()).map(|n| good[..n].to_vec());
    let flipped = (0..good.len()).map(|n| {
        let mut bytes = good.clone();
        bytes[n] ^= 0x10;
        bytes
    });
    for bytes in torn.chain(flipped).chain([b"{}".to_vec(), vec![0; 4096], [&good[..], b"x"].concat()]) {
        // A flipped digit of the version may make it a newer one: also not used.
        assert!(format::decode(&bytes).is_err(), "{}", String::from_utf8_lossy(&bytes));
    }
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    store.save(&state(1)).unwrap();
    store.save(&state(2)).unwrap();
    drop(store);
    fs::write(dir.path().join("state.json"), &good[..good.len() / 2]).unwrap();
    let loaded = load(dir.path());
    assert_eq!((loaded.origin, &loaded.state), (Origin::Previous, &state(1)));
    let [sidelined] = &loaded.sidelined[..] else { panic!("{:?}", loaded.sidelined) };
    assert!(matches!(sidelined.reason, Unusable::Damaged(_)), "{sidelined}");
    assert_eq!(fs::read(sidelined.kept.as_ref().unwrap()).unwrap(), good[..good.len() / 2], "kept as it was");
    // Loading changed nothing but the bad file's name: the next load says the same without a complaint.
    let loaded = load(dir.path());
    assert_eq!((loaded.origin, loaded.sidelined.len()), (Origin::Previous, 0));
}

#[test]
fn a_newer_version_is_put_aside_and_named() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("state.json"), "dpu-ipam-state 2 whatever comes then\n\0\0").unwrap();
    let loaded = load(dir.path());
    assert_eq!((loaded.origin, &loaded.state), (Origin::Nothing, &State::empty(identity(), "boot-1".into())));
    assert!(matches!(loaded.sidelined[0].reason, Unusable::Newer(2)));
    assert!(loaded.sidelined[0].to_string().contains("version 2, and this agent knows version 1"));
}

#[test]
fn unknown_fields_of_this_version_are_tolerated() {
    let mut json = serde_json::to_value(state(1)).unwrap();
    json["added"] = 1.into();
    json["identity"]["added"] = 1.into();
    let json = json.to_string();
    let text = format!("dpu-ipam-state 1 {} {:08x}\n{json}", json.len(), crc32fast::hash(json.as_bytes()));
    assert_eq!(format::decode(text.as_bytes()).unwrap(), state(1));
}

#[test]
fn a_state_of_another_identity_is_not_used() {
    let ours = identity();
    let others = [
        Identity { node: "dpu-2".parse().unwrap(), ..ours.clone() },
        Identity { node_uid: Some("u2".into()), ..ours.clone() },
    ];
    for other in others {
        let dir = tempfile::tempdir().unwrap();
        let mut store = open(dir.path());
        for n in [1, 2] {
            store.save(&State { identity: other.clone(), ..state(n) }).unwrap();
        }
        let loaded = store.load(&ours, "boot-1");
        assert_eq!(
            (loaded.origin, &loaded.state),
            (Origin::Nothing, &State::empty(ours.clone(), "boot-1".into()))
        );
        assert_eq!(loaded.sidelined.len(), 2, "both generations");
        assert!(
            loaded.sidelined[0].to_string().contains("it belongs to node dpu-"),
            "{}",
            loaded.sidelined[0]
        );
    }
}

#[test]
fn an_identity_once_learned_is_not_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    store.save(&state(1)).unwrap();
    let unknown = Identity { node_uid: None, ..identity() };
    let loaded = store.load(&unknown, "boot-1");
    assert_eq!((loaded.origin, loaded.state.identity), (Origin::Current, identity()));
}

#[test]
fn ownership_ends_with_the_boot() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    store.save(&state(2)).unwrap();
    let loaded = store.load(&identity(), "boot-2").state;
    assert_eq!((loaded.boot_id.as_str(), &loaded.owned), ("boot-2", &Owned::default()));
    assert_eq!(loaded.leases, state(2).leases);
}

#[test]
fn sidelined_files_are_bounded_and_the_oldest_goes_first() {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..5 {
        fs::write(dir.path().join("state.json"), format!("bad {n}")).unwrap();
        assert_eq!(load(dir.path()).sidelined.len(), 1);
    }
    let text = |n| fs::read_to_string(dir.path().join(format!("state.json.sidelined-{n}"))).ok();
    assert_eq!(
        [text(1), text(2), text(3), text(4)],
        [Some("bad 4".into()), Some("bad 3".into()), Some("bad 2".into()), None]
    );
}

/// Every place where a crash can cut `replace`, each byte of the write among them.
#[test]
fn a_crash_at_any_point_of_a_save_leaves_the_old_or_the_new_state() {
    let (old, new) = (state(1), state(2));
    let bytes = format::encode(&new).unwrap();
    let crash = |cut: &dyn Fn(&Path, &fs::File)| {
        let dir = tempfile::tempdir().unwrap();
        let mut store = open(dir.path());
        store.save(&state(0)).unwrap();
        store.save(&old).unwrap();
        cut(dir.path(), &store.handle);
        drop(store);
        let loaded = load(dir.path());
        assert!(loaded.sidelined.is_empty(), "{:?}", loaded.sidelined);
        // The next save works from there, and what it says counts.
        open(dir.path()).save(&state(3)).unwrap();
        assert_eq!(load(dir.path()).state, state(3));
        loaded.state
    };
    for length in 0..=bytes.len() {
        let state = crash(&|dir, _| fs::write(dir.join("state.json.new"), &bytes[..length]).unwrap());
        assert_eq!(state, old, "cut at byte {length}");
    }
    for done in 0..=file::REPLACE.len() {
        let state = crash(&|dir, handle| {
            for operation in &file::REPLACE[..done] {
                operation(dir, handle, &bytes).unwrap();
            }
        });
        // The third operation makes it current.
        assert_eq!(state, if done < 3 { old.clone() } else { new.clone() }, "after {done} operations");
    }
}

#[test]
fn how_long_a_save_of_1000_leases_takes() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let mut times: Vec<_> = (0..21)
        .map(|n| {
            let mut state = state(1000);
            state.boot_id = format!("boot-{n}");
            let start = std::time::Instant::now();
            assert!(store.save(&state).unwrap());
            start.elapsed()
        })
        .collect();
    times.sort();
    let size = fs::metadata(dir.path().join("state.json")).unwrap().len();
    println!(
        "save of 1,000 leases with their records ({size} bytes): median {:?}, best {:?}",
        times[10], times[0]
    );
}

#[test]
fn a_start_under_a_wrong_name_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    Store::open(dir.path()).unwrap().save(&state(7)).unwrap();
    let late = Identity { node: "localhost".parse().unwrap(), ..identity() };
    let mut store = Store::open(dir.path()).unwrap();
    let loaded = store.load(&late, "boot-1");
    assert_eq!((loaded.origin, loaded.sidelined.len()), (Origin::Nothing, 1), "nothing of another is used");
    store.save(&loaded.state).unwrap();
    drop(store);
    let loaded = Store::open(dir.path()).unwrap().load(&identity(), "boot-1");
    assert_eq!((loaded.origin, &loaded.state), (Origin::Sidelined, &state(7)));
}
