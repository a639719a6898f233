//! The agent is killed at every system call of a pass, and at random moments. Whatever happens: no address on two
//! interfaces, no address leased twice, no lease lost, the store readable, and the next pass puts everything right.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::world::{
    GUIDE_BLOCK, GUIDE_PREFIX, World, binding, block_pool, exists, plain, tool, until, world,
};

const SFS: [&str; 3] = ["sf0", "sf1", "sf2"];

fn guide(name: &str) -> String {
    binding(name, &format!("netdev: {name}"), "pool: {name: example-pool1}")
}

fn machine(w: &World<'_>) {
    for sf in SFS {
        w.sf(sf);
    }
    w.manifest("ipam", GUIDE_BLOCK);
    w.bindings(&SFS.map(guide));
}

/// Leases and resting ones as stored. `None` before the first save.
fn stored(w: &World<'_>) -> Option<(Vec<Value>, Vec<Value>)> {
    let mut files =
        fs::read_dir(w.path("state")).ok()?.map(|e| e.unwrap().file_name().into_string().unwrap());
    let sidelined = files.find(|name| name.contains("sidelined"));
    assert_eq!(sidelined, None, "a stored file could not be used");
    let name = ["state/state.json", "state/state.json.previous"].into_iter().find(|n| exists(&w.path(n)))?;
    let bytes = fs::read(w.path(name)).unwrap();
    let body = &bytes[bytes.iter().position(|b| *b == b'\n').expect("a first line") + 1..];
    let state: Value = serde_json::from_slice(body).expect("the store is readable");
    let list = |name: &str| state["leases"][name].as_array().cloned().unwrap_or_default();
    Some((list("leases"), list("quarantine").iter().map(|q| q["lease"].clone()).collect()))
}

/// Leases as stored: binding to address.
fn leases(w: &World<'_>) -> Option<BTreeMap<String, String>> {
    let (leases, _) = stored(w)?;
    let text = |lease: &Value, field: &str| lease[field].as_str().unwrap().to_owned();
    let all: BTreeMap<_, _> = leases.iter().map(|l| (text(l, "binding"), text(l, "address"))).collect();
    assert_eq!(all.len(), leases.len(), "one lease each: {leases:?}");
    Some(all)
}

/// What must hold at any moment.
fn sane(w: &World<'_>) {
    let mut seen = BTreeMap::new();
    for link in w.ip_json("addr show").as_array().unwrap() {
        for address in link["addr_info"].as_array().unwrap().iter().filter(|a| a["scope"] == "global") {
            let local = address["local"].as_str().unwrap().to_owned();
            if let Some(other) = seen.insert(local.clone(), link["ifname"].clone()) {
                assert_eq!(other, link["ifname"], "{local} is on two interfaces");
            }
        }
    }
    let (leases, resting) = stored(w).unwrap_or_default();
    let held: BTreeSet<_> = leases.iter().map(|l| l["address"].as_str()).collect();
    assert_eq!(held.len(), leases.len(), "an address is leased twice: {leases:?}");
    for (address, sf) in &seen {
        // One that is about to go rests already.
        let known = leases.iter().chain(&resting).any(|l| l["address"] == **address);
        assert!(known, "{address} on {sf} was not stored before it was set");
    }
}

fn expect(w: &World<'_>, length: u8) {
    for (n, sf) in SFS.iter().enumerate() {
        assert_eq!(w.addresses(sf), [format!("192.168.0.{}/{length}", n + 2)], "{sf}");
    }
}

#[test]
fn killed_at_every_system_call_of_a_pass() {
    // From nothing to the first addresses, each time on a new machine.
    at_every_call(|kill| {
        let mut killed = false;
        world(|w| {
            machine(w);
            killed = kill(w);
            sane(w);
            w.once();
            sane(w);
            expect(w, 20);
        });
        killed
    });
}

#[test]
fn killed_at_every_system_call_of_a_change_of_mode() {
    world(|w| {
        machine(w);
        w.once();
        let before = leases(w);
        let mut modes = [(GUIDE_PREFIX, 24), (GUIDE_BLOCK, 20)].into_iter().cycle();
        at_every_call(|kill| {
            let (manifest, length) = modes.next().unwrap();
            w.manifest("ipam", manifest);
            let killed = kill(w);
            sane(w);
            w.once();
            sane(w);
            expect(w, length);
            assert_eq!(leases(w), before, "a lease was lost");
            killed
        });
    });
}

#[test]
fn killed_at_every_system_call_while_bindings_trade_their_sfs() {
    world(|w| {
        machine(w);
        w.once();
        let before = leases(w);
        let cross = |a: &str, b: &str| binding(a, &format!("netdev: {b}"), "pool: {name: example-pool1}");
        let crossed = [cross("sf0", "sf1"), cross("sf1", "sf0"), guide("sf2")];
        at_every_call(|kill| {
            w.bindings(&crossed);
            let killed = kill(w);
            sane(w);
            w.once();
            sane(w);
            assert_eq!(w.addresses("sf1"), ["192.168.0.2/20"]);
            assert_eq!(w.addresses("sf0"), ["192.168.0.3/20"]);
            assert_eq!(leases(w), before, "a lease was lost");
            w.bindings(&SFS.map(guide));
            w.once();
            expect(w, 20);
            killed
        });
    });
}

#[test]
fn killed_at_every_system_call_while_the_slice_moves() {
    world(|w| {
        machine(w);
        w.bindings(&SFS.map(plain));
        // A new subnet each time: none of its addresses rests.
        let mut subnets = 1..;
        at_every_call(|kill| {
            let net = subnets.next().unwrap();
            let pool = block_pool(
                &format!("10.{net}.0.0/24"),
                &format!("10.{net}.0.1"),
                8,
                ", defaultGateway: true",
            );
            w.manifest("pool", &pool);
            let killed = kill(w);
            sane(w);
            w.once();
            sane(w);
            for (n, sf) in SFS.iter().enumerate() {
                assert_eq!(w.addresses(sf), [format!("10.{net}.0.{}/24", n + 2)], "{sf}");
            }
            killed
        });
    });
}

/// System calls whose effect others can see.
const CALLS: [&str; 8] = ["sendto", "sendmsg", "write", "fdatasync", "fsync", "rename", "mkdir", "unlink"];

/// Kills a pass at the first call of each kind, then at the second, and so on, until it gets through with all kinds.
/// `round` prepares a pass, kills it with the function that it is given, and says whether that killed it.
fn at_every_call(mut round: impl FnMut(&(dyn Fn(&World<'_>) -> bool + Sync)) -> bool) {
    tool("strace", "strace");
    let mut kills = 0;
    for call in CALLS {
        for n in 1.. {
            if !round(&|w| killed_at(w, call, n)) {
                break;
            }
            kills += 1;
        }
    }
    assert!(kills > 20, "a pass has more system calls than {kills}");
}

/// Kills a pass when it is about to do its `n`th `call`; false if it ended before.
fn killed_at(w: &World<'_>, call: &str, n: u32) -> bool {
    let pass = w.command("run --once");
    let status = Command::new("strace")
        .args(["-qq", "-f", "-o", "/dev/null", "-e", &format!("trace={call}")])
        .args(["-e", &format!("inject={call}:signal=KILL:when={n}")])
        .arg(pass.get_program())
        .args(pass.get_args())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    status.code().is_none()
}

/// Numbers that look random (xorshift), the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

#[test]
fn killed_at_random_moments() {
    const ROUNDS: u32 = 300;
    world(|w| {
        machine(w);
        let begin = Instant::now();
        w.once();
        let pass = begin.elapsed();
        let before = leases(w).unwrap();
        let mut random = Random(0x2545_F491_4F6C_DD1D);
        for round in 0..ROUNDS {
            match random.below(6) {
                0 => w.manifest("ipam", GUIDE_PREFIX),
                1 => w.manifest("ipam", GUIDE_BLOCK),
                2 => w.manifest("ipam", "# nothing\n"),
                3 => {
                    let bound = 1 + usize::try_from(random.below(3)).unwrap();
                    w.bindings(&SFS.map(guide)[..bound]);
                }
                4 => w.ip(format!("link set sf{} down", random.below(3))),
                _ => w.ip(format!("addr flush dev sf{}", random.below(3))),
            }
            let words = if random.below(2) == 0 { "run --once" } else { "run" };
            let mut child = w
                .command(words)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .stdin(Stdio::null())
                .spawn()
                .unwrap();
            let nanos = u64::try_from(pass.as_nanos()).unwrap();
            let end = Instant::now() + Duration::from_nanos(random.below(nanos + nanos / 2));
            until("the moment to kill", || Instant::now() >= end);
            let _ = child.kill();
            child.wait().unwrap();
            sane(w);
            for (binding, address) in leases(w).unwrap() {
                assert_eq!(before[&binding], address, "round {round}: the lease of {binding} was lost");
            }
        }
        w.manifest("ipam", GUIDE_BLOCK);
        w.bindings(&SFS.map(guide));
        w.once();
        assert_eq!(leases(w).unwrap(), before);
        expect(w, 20);
    });
}
