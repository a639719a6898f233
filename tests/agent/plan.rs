//! `plan`, `check` and `inspect`: what they say, that they change nothing, and golden folders: each folder of
//! `tests/plans/` has manifests, a configuration, an observed state and the expected plan. UPDATE_EXPECT=1 writes the
//! last anew.

use std::{fs, path::Path, process::Command};

use crate::world::{World, block_pool, plain, world};

fn machine(w: &World<'_>) {
    w.sf("sf0");
    w.sf("sf1");
    w.manifest("pool", &block_pool("10.1.0.0/24", "10.1.0.1", 4, ", defaultGateway: true"));
    w.bindings(&[plain("sf0"), plain("sf1")]);
}

#[test]
fn exit_codes_and_that_nothing_changes() {
    world(|w| {
        machine(w);
        let before = w.dump();
        let plan = w.run("plan");
        assert_eq!(plan.code(), Some(1), "{plan}");
        assert!(plan.out().contains("add address 10.1.0.2/24 dev sf0 noprefixroute"), "{plan}");
        assert_eq!(w.run("check").code(), Some(1));
        before.assert_same(&w.dump());
        assert!(!w.path("state").exists() && !w.path("run").exists(), "nothing is stored");

        w.once();
        let before = w.dump();
        for words in ["plan", "check", "plan -o json", "check -o yaml"] {
            let ended = w.run(words);
            assert_eq!(ended.code(), Some(0), "{words}: {ended}");
        }
        assert!(w.run("plan").out().contains("nothing to do"));
        assert!(w.run("check").out().contains("source, store and kernel agree"));

        w.ip("addr del 10.1.0.2/24 dev sf0");
        let check = w.run("check");
        assert_eq!(check.code(), Some(1));
        assert!(check.out().contains("kernel: to do: add address 10.1.0.2/24 dev sf0"), "{check}");
        w.once();
        before.assert_same(&w.dump());

        // Manifests that cannot be read are an error of `plan -f`; what is asked of the configuration carries on.
        assert_eq!(w.run("plan -f /nonexistent").code(), Some(2));
        assert_eq!(w.run("plan --observed /nonexistent").code(), Some(2));
        fs::write(w.path("config.yaml"), "nonsense: true\n").unwrap();
        assert_eq!(w.run("plan").code(), Some(2));
        assert_eq!(w.run("check").code(), Some(2));
        before.assert_same(&w.dump());
    });
}

#[test]
fn status_tells_whether_an_agent_runs() {
    world(|w| {
        machine(w);
        assert_eq!(w.run("status").code(), Some(1));
        let agent = w.ready();
        let status = w.run("status");
        assert_eq!(status.code(), Some(0), "{status}");
        assert!(status.out().contains("10.1.0.2/24"), "{status}");
        w.ip("link del sf1");
        agent.until("not ready", || w.run("status").code() == Some(1));
        assert_eq!(agent.stop(), Some(0));
        assert!(w.run("status").err().contains("no agent is running"));
    });
}

#[test]
fn a_plan_can_be_replayed_elsewhere() {
    let snapshot = tempfile::NamedTempFile::new().unwrap();
    let mut live = String::new();
    let path = snapshot.path().to_owned();
    let mut config = String::new();
    let mut manifests = String::new();
    world(|w| {
        machine(w);
        w.once();
        w.ip("addr flush dev sf0");
        w.ip("route flush table 20001");
        w.ip("link set sf1 down");
        fs::write(&path, w.run("inspect -o json").out()).unwrap();
        let plan = w.run("plan -o json");
        assert_eq!(plan.code(), Some(1));
        live = plan.out();
        config = fs::read_to_string(w.path("config.yaml")).unwrap();
        manifests = fs::read_to_string(w.path("manifests/pool.yaml")).unwrap();
        let inspect = w.run("inspect").out();
        for words in ["sf0", "10.1.0.3/24", "dpu-ipam"] {
            assert!(inspect.contains(words), "{words}: {inspect}");
        }
    });
    world(|w| {
        fs::write(w.path("config.yaml"), &config).unwrap();
        w.manifest("pool", &manifests);
        let words =
            format!("plan -o json -f {} --observed {}", w.path("manifests").display(), path.display());
        let replayed = w.run(&words);
        assert_eq!(replayed.code(), Some(1), "{replayed}");
        assert_eq!(replayed.out(), live);
    });
}

#[test]
fn golden_plans() {
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plans");
    let mut cases: Vec<_> = fs::read_dir(root).unwrap().map(|e| e.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() > 10);
    let mut failed = Vec::new();
    for case in cases {
        let dir = tempfile::tempdir().unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_dpu-ipam"))
            .args(["plan", "--node", "dpu-1", "-f", "manifests.yaml", "--config", "config.yaml"])
            .args(["--observed", "observed.json", "--state-dir"])
            .arg(dir.path())
            .current_dir(&case)
            .output()
            .unwrap();
        let text = format!(
            "{}{}exit code {}\n",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
            output.status.code().unwrap()
        );
        let expected = case.join("expected");
        if update {
            fs::write(expected, text).unwrap();
        } else if fs::read_to_string(expected).unwrap_or_default() != text {
            failed.push(format!("{}:\n{text}", case.display()));
        }
    }
    assert!(failed.is_empty(), "not as expected:\n{}", failed.join("\n"));
}
