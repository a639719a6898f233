//! `split` and `validate` as users meet them: the built binary on manifests.
//!
//! Each folder in `tests/cli` is a case: `cmd` holds the arguments, `stdin` (if there) the input, `expected` the exit code,
//! standard output and standard error; the program runs inside of the folder. A new behaviour is a new folder. With
//! `UPDATE_EXPECT=1` the expected files are written anew; read the difference before it is committed.

#![expect(clippy::unwrap_used, reason = "helpers of tests end the test")]

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};

fn run(dir: &Path, args: &[&str], stdin: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_dpu-ipam"))
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read its input may be gone already.
    let _ = child.stdin.take().unwrap().write_all(stdin);
    child.wait_with_output().unwrap()
}

#[test]
fn cases() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli");
    let mut failed = Vec::new();
    let mut cases: Vec<_> = fs::read_dir(&root).unwrap().map(|e| e.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() > 20, "the cases are there");
    for case in cases {
        let cmd = fs::read_to_string(case.join("cmd")).unwrap();
        let stdin = fs::read(case.join("stdin")).unwrap_or_default();
        let output = run(&case, &cmd.split_whitespace().collect::<Vec<_>>(), &stdin);
        let got = format!(
            "exit {}\n--- stdout\n{}--- stderr\n{}",
            output.status.code().unwrap(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap()
        );
        let expected = case.join("expected");
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            fs::write(expected, got).unwrap();
        } else if fs::read_to_string(&expected).unwrap_or_default() != got {
            failed.push(format!("{} ({}):\n{got}", case.display(), cmd.trim()));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

const NODES: &str = "
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Node, metadata: {name: dpu-2}}
- {apiVersion: v1, kind: Node, metadata: {name: dpu-1}}
- {apiVersion: v1, kind: Node, metadata: {name: dpu-4}}
";

fn manifests() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/manifests"))
}

fn split(args: &[&str], stdin: &str) -> String {
    let output = run(manifests(), &[&["split"], args].concat(), stdin.as_bytes());
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn owners(json: &str, field: &str) -> Vec<(String, String)> {
    let list: Value = serde_json::from_str(json).unwrap();
    let entries = list["items"][0]["status"]["allocations"].as_array().unwrap();
    let text = |v: &Value| v.as_str().unwrap().to_owned();
    entries.iter().map(|e| (text(&e["nodeName"]), text(&e[field]))).collect()
}

#[test]
fn the_output_is_an_input_that_changes_nothing() {
    for ipam in ["ipam-subnet.yaml", "ipam-network.yaml"] {
        let once = split(&["-f", ipam, "-f", "-"], NODES);
        assert_eq!(split(&["-f", "-"], &once), once, "{ipam}: the pools alone");
        assert_eq!(split(&["-f", "-"], &format!("{once}\n---\n{NODES}")), once, "{ipam}: with the nodes");
        assert_eq!(split(&["-f", ipam, "-f", "-"], &once), once, "{ipam}: with the DPUServiceIPAM");
        let json = split(&["-f", ipam, "-f", "-", "-o", "json"], NODES);
        assert_eq!(split(&["-f", "-"], &json), once, "{ipam}: JSON says the same as YAML");
    }
}

#[test]
fn a_node_that_joins_or_leaves_moves_nobody() {
    let before = split(&["-f", "ipam-subnet.yaml", "-f", "-"], NODES);
    let joined =
        format!("{before}\n---\n{NODES}\n---\n{{apiVersion: v1, kind: Node, metadata: {{name: dpu-0}}}}");
    let joined = split(&["-f", "-", "-o", "json"], &joined);
    let expected = [
        ("dpu-0", "192.168.3.1"),
        ("dpu-1", "192.168.0.1"),
        ("dpu-2", "192.168.1.1"),
        ("dpu-4", "192.168.2.1"),
    ];
    let expected: Vec<_> = expected.map(|(n, a)| (n.to_owned(), a.to_owned())).into();
    assert_eq!(owners(&joined, "startIP"), expected);

    let left = format!(
        "{joined}\n---\n{}",
        NODES.replace("- {apiVersion: v1, kind: Node, metadata: {name: dpu-1}}\n", "")
    );
    let left = split(&["-f", "-", "-o", "json"], &left);
    let expected: Vec<_> = expected.into_iter().filter(|(n, _)| n == "dpu-2" || n == "dpu-4").collect();
    assert_eq!(owners(&left, "startIP"), expected);
}

#[test]
fn a_switch_of_the_mode_replaces_the_pool() {
    let old = split(&["-f", "ipam-subnet.yaml", "-f", "-"], NODES);
    let new = split(&["-f", "ipam-network.yaml", "-f", "-", "-o", "json"], &format!("{old}\n---\n{NODES}"));
    let list: Value = serde_json::from_str(&new).unwrap();
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    assert_eq!(list["items"][0]["kind"], "CIDRPool");
    assert_eq!(owners(&new, "prefix")[0], ("dpu-1".to_owned(), "192.168.0.0/24".to_owned()));
}

#[test]
fn an_empty_directory_and_a_missing_file_cannot_be_read() {
    let dir = tempfile::tempdir().unwrap();
    for (args, code) in
        [(["validate", "-f", "."], 2), (["split", "-f", "."], 1), (["validate", "-f", "gone.yaml"], 2)]
    {
        let output = run(dir.path(), &args, b"");
        assert_eq!(output.status.code(), Some(code), "{args:?}");
        assert!(output.stdout.is_empty());
        assert_eq!(String::from_utf8(output.stderr).unwrap().lines().count(), 1, "one clear line");
    }
}

#[test]
fn a_reader_that_went_away_is_no_error() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_dpu-ipam"))
        .args(["split", "-f", "ipam-subnet.yaml"])
        .current_dir(manifests())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
}

/// Cases by name, with `apiVersion` filled in. What the pool room decides has its own test of all cases; here counts that
/// nothing is lost on the way from a manifest and back.
fn vectors(file: &str) -> Vec<(String, Value, Value)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(file);
    let text = fs::read_to_string(path).unwrap();
    let cases = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    cases
        .map(|mut case| {
            let mut input = case["input"].take();
            input["apiVersion"] = "nv-ipam.nvidia.com/v1alpha1".into();
            (case["name"].as_str().unwrap().to_owned(), input, case["output"].take())
        })
        .collect()
}

#[test]
fn split_vectors_hold_from_manifest_to_list() {
    let mut checked = 0;
    for (name, mut pool, expected) in vectors("split.jsonl") {
        let nodes = pool.as_object_mut().unwrap().remove("nodes").unwrap_or_default();
        let plain =
            ["ip-fresh", "cidr-fresh", "ip-sel", "ip-ex", "cidr-ex", "cidr-static", "ip-keep", "cidr-keep"];
        // Where the pool room differs from nv-ipam on purpose.
        let differs = ["noncanonical", "leadingzero", "-bad"].iter().any(|part| name.contains(part));
        let chosen = !differs && plain.iter().any(|prefix| name.starts_with(prefix));
        let Some(nodes) = nodes.as_array().filter(|n| chosen && !n.is_empty()) else { continue };
        let nodes = nodes.iter().map(|n| json!({"apiVersion": "v1", "kind": "Node", "metadata": n}));
        let items: Vec<_> = std::iter::once(pool).chain(nodes).collect();
        let list = json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string();
        let got: Value = serde_json::from_str(&split(&["-f", "-", "-o", "json"], &list)).unwrap();
        assert_eq!(got["items"][0]["status"]["allocations"], expected["status"]["allocations"], "{name}");
        let fields =
            |event: &Value| [event["type"].clone(), event["reason"].clone(), event["message"].clone()];
        let events: Vec<_> = got["items"].as_array().unwrap()[1..].iter().map(fields).collect();
        let wanted: Vec<_> = expected["events"].as_array().unwrap().iter().map(fields).collect();
        assert_eq!(events, wanted, "{name}");
        checked += 1;
    }
    assert!(checked > 50, "{checked} cases");
}

#[test]
fn validate_vectors_hold_from_manifest_to_lines() {
    for (name, pool, expected) in vectors("validate.jsonl") {
        let output = run(manifests(), &["validate", "-f", "-", "-o", "json"], pool.to_string().as_bytes());
        let got: Value = serde_json::from_slice(&output.stdout).unwrap();
        let fields: BTreeSet<_> =
            got.as_array().unwrap().iter().map(|line| line["field"].clone().to_string()).collect();
        let wanted: BTreeSet<_> =
            expected["fields"].as_array().unwrap().iter().map(Value::to_string).collect();
        assert_eq!(fields, wanted, "{name}");
        assert_eq!(output.status.code(), Some(i32::from(!wanted.is_empty())), "{name}");
    }
}
