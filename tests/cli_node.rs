//! The commands of a node as users meet them: the built binary in a network namespace with veths for SFs. What it prints, what
//! it ends with, and that looking changes nothing.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "common/netns.rs"]
mod netns;

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    process::{Command, Stdio},
};

use netns::{Netns, netns};
use serde_json::Value;
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_dpu-ipam");

/// A node with one SF, its configuration, and the guide's pool and chain.
struct Node<'a> {
    ns: &'a Netns,
    dir: TempDir,
}

/// What a command came to.
#[derive(Debug)]
struct Outcome {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Outcome {
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

fn outcome(command: &mut Command) -> Outcome {
    let output = command.stdin(Stdio::null()).output().expect("the binary starts");
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Outcome { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

fn node(test: impl FnOnce(&Node<'_>) + Send) {
    netns(|ns| {
        ns.ip("link add sf10 type veth peer name rep10");
        ns.ip("link set rep10 up");
        let node = Node { ns, dir: tempfile::tempdir().unwrap() };
        fs::create_dir(node.path("manifests")).unwrap();
        let manifests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifests");
        for file in ["ipam-subnet.yaml", "producer-consumer.yaml"] {
            fs::copy(manifests.join(file), node.path("manifests").join(file)).unwrap();
        }
        node.configure("serviceInterface: {serviceID: producer, interfaceName: app-iface}");
        test(&node);
    });
}

impl Node<'_> {
    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    fn configure(&self, pool: &str) {
        let dir = self.dir.path().display();
        let text = format!(
            "node: dpu-1\nsource: {{files: {{path: {dir}/manifests}}}}\nstateDir: {dir}/state\nruntimeDir: {dir}/run\n\
             interfaces:\n- name: producer\n  match: {{netdev: sf10}}\n  {pool}\n"
        );
        fs::write(self.path("config.yaml"), text).unwrap();
    }

    fn command(&self, args: &str) -> Command {
        let mut command = Command::new(BINARY);
        command.args(args.split_whitespace()).current_dir(self.dir.path());
        command.env("DPU_IPAM_CONFIG", self.path("config.yaml")).env_remove("JOURNAL_STREAM");
        command
    }

    fn run(&self, args: &str) -> Outcome {
        outcome(&mut self.command(args))
    }

    /// Runs it and wants this exit code.
    #[track_caller]
    fn ends(&self, code: i32, args: &str) -> Outcome {
        let outcome = self.run(args);
        assert_eq!(outcome.code, code, "{args}: {outcome:#?}");
        outcome
    }
}

#[test]
fn plan_says_what_is_to_be_and_changes_nothing() {
    node(|n| {
        let plan = n.ends(1, "plan");
        let expected = "\
BINDING   NETDEV  ADDRESS         GATEWAY      POOL
producer  sf10    192.168.0.2/20  192.168.0.1  IPPool/example-pool1

to do:
  add address 192.168.0.2/20 dev sf10
  set sf10 up
";
        assert_eq!(plan.stdout, expected);
        let json = n.ends(1, "plan -o json").json();
        assert_eq!(json["bindings"][0]["addresses"][0], "192.168.0.2/20");
        assert_eq!(json["steps"][0]["step"], "add-address");
        let binding = json["bindings"][0].as_object().unwrap();
        assert!(!binding.contains_key("state") && !binding.contains_key("remark"), "{binding:?}");
        assert!(n.ns.addresses("sf10").is_empty());
        assert!(!n.path("state").exists() && !n.path("run").exists());
    });
}

#[test]
fn what_is_in_the_way_stands_below_the_table() {
    node(|n| {
        n.configure("pool: {matchLabels: {svc.dpu.nvidia.com/pool: pool1}}");
        let why = "no pool has label svc.dpu.nvidia.com/pool=pool1";
        let plan = n.ends(0, "plan").stdout;
        assert!(
            plan.contains(&format!("\nproducer: {why}")) && plan.ends_with("\nnothing to do\n"),
            "{plan}"
        );
        let remark = &n.ends(0, "plan -o json").json()["bindings"][0]["remark"];
        assert_eq!(remark["reason"], "PoolNotFound");
        assert!(remark["message"].as_str().unwrap().starts_with(why));
        assert!(n.ends(1, "check").stdout.starts_with(&format!("binding producer: {why}")));
        n.ends(1, "run --once");
        assert!(n.ends(1, "status").stdout.contains("Waiting  PoolNotFound"));
    });
}

#[test]
fn one_pass_then_nothing_is_left_to_do() {
    node(|n| {
        let run = n.ends(0, "run --once");
        assert!(run.stdout.is_empty() && run.stderr.contains("producer on sf10 [192.168.0.2/20]"), "{run:?}");
        assert_eq!(n.ns.addresses("sf10"), ["192.168.0.2/20"]);
        assert!(n.ends(0, "plan").stdout.ends_with("\nnothing to do\n"));
        assert_eq!(n.ends(0, "check").stdout, "source, store and kernel agree\n");
        assert_eq!(n.ends(0, "check -o json").json(), serde_json::json!([]));
        let status = n.ends(1, "status");
        assert!(status.stdout.contains("IPPool/example-pool1  Ready  Applied"), "{status:?}");
        assert_eq!(status.stderr, "error: no agent is running; this is what the last one reported\n");

        n.ns.ip("addr del 192.168.0.2/20 dev sf10");
        let check = n.ends(1, "check").stdout;
        assert!(check.starts_with("kernel: to do: add address 192.168.0.2/20 dev sf10\n"), "{check}");
        assert_eq!(n.ends(1, "check -o json").json()[0]["about"], "kernel");
        n.ends(1, "plan");
    });
}

#[test]
fn inspect_names_owners_and_its_json_can_be_replayed_elsewhere() {
    node(|n| {
        n.ends(0, "run --once");
        n.ns.ip("addr add 10.9.9.9/24 dev sf10");
        n.ns.ip("addr del 192.168.0.2/20 dev sf10");
        n.ns.ip("route add 10.8.0.0/16 via 10.9.9.1 dev sf10");
        let table = n.ends(0, "inspect").stdout;
        let owner = |start: &str| {
            let row = table.lines().find(|l| l.starts_with(start)).unwrap_or_else(|| panic!("{table}"));
            row.split("  ").last().unwrap().trim().to_owned()
        };
        assert_eq!(owner("10.9.9.9/24"), "foreign");
        assert_eq!(owner("10.9.9.0/24"), "kernel");
        assert_eq!(owner("10.8.0.0/16"), "boot (ip route add)");
        assert!(!table.contains("RULE") && !table.contains("rep10"), "{table}");
        let all = n.ends(0, "inspect --all").stdout;
        assert!(all.contains("RULE") && all.contains("rep10"), "{all}");

        fs::write(n.path("snapshot.json"), n.ends(0, "inspect -o json").stdout).unwrap();
        let here = n.ends(1, "plan").stdout;
        netns(|_| {
            let there = n.ends(1, "plan --observed snapshot.json");
            assert_eq!(there.stdout, here);
            let other = n.ends(2, "plan --observed config.yaml").stderr;
            assert!(other.contains("config.yaml is not what `dpu-ipam inspect -o json` prints"), "{other}");
        });
    });
}

#[test]
fn every_form_of_every_result_can_be_read() {
    node(|n| {
        n.ends(0, "run --once");
        for command in ["plan", "check", "status", "inspect", "config", "config --default"] {
            let json = n.run(&format!("{command} -o json")).json();
            let yaml = n.run(&format!("{command} -o yaml")).stdout;
            let yaml: Value = serde_saphyr::from_str(&yaml).unwrap_or_else(|e| panic!("{command}: {e}"));
            // Without the clock.
            let strip = |mut value: Value| {
                value.as_object_mut().map(|o| o.remove("time"));
                value
            };
            assert_eq!(strip(json), strip(yaml), "{command}");
            assert!(!n.run(&format!("{command} -o table")).stdout.is_empty(), "{command}");
        }
        fs::write(n.path("default.yaml"), n.ends(0, "config --default").stdout).unwrap();
        n.ends(0, "config --config default.yaml");
        for command in
            ["run --once -o json", "completions bash -o json", "plan -o xml", "plan --what", "what", ""]
        {
            let wrong = n.ends(2, command);
            assert!(wrong.stdout.is_empty() && wrong.stderr.contains("--help"), "{command}: {wrong:?}");
        }
    });
}

#[test]
fn nothing_heard_is_not_ready() {
    node(|n| {
        fs::remove_dir_all(n.path("manifests")).unwrap();
        let run = n.ends(1, "run --once").stderr;
        assert!(run.contains("/manifests: No such file or directory"), "{run}");
        let status = n.ends(1, "status").stdout;
        assert!(
            status.starts_with("node dpu-1, dpu-ipam ") && status.contains("no assignment yet"),
            "{status}"
        );
        assert!(n.ends(1, "check").stdout.starts_with("source: cannot read "));
    });
}

#[test]
fn each_mistake_has_its_line_and_its_exit_code() {
    node(|n| {
        let missing = "error: cannot read configuration gone.yaml: No such file or directory (os error 2)\n";
        for (command, code) in
            [("run", 1), ("plan", 2), ("check", 2), ("status", 1), ("inspect", 1), ("config", 1)]
        {
            assert_eq!(n.ends(code, &format!("{command} --config gone.yaml")).stderr, missing);
        }
        fs::write(n.path("bad.yaml"), "interfaces:\n- name: x\n  matsch: {}\n").unwrap();
        let unknown =
            "error: bad.yaml:3: interfaces[0].matsch: unknown field `matsch`, did you mean `match`?\n";
        assert_eq!(n.ends(2, "plan --config bad.yaml").stderr, unknown);
        assert_eq!(n.ends(1, "run --config bad.yaml").stderr, unknown);
        let gone = "error: cannot read gone.yaml: No such file or directory (os error 2)\n";
        assert_eq!(n.ends(2, "plan -f gone.yaml").stderr, gone);
        assert!(n.ends(2, "plan --node Dpu_1").stderr.contains("\"Dpu_1\" is not a node name"));
        let status = n.ends(1, "status").stderr;
        assert!(status.starts_with("error: no agent has reported here: cannot read "), "{status}");
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut command = n.command("config --default");
        let output = command.stdout(full).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.starts_with("error: cannot write to standard output: No space left"), "{text}");
    });
}

#[test]
fn without_privileges_it_says_what_it_needs() {
    node(|n| {
        // Where nobody may read it.
        fs::copy(BINARY, n.path("dpu-ipam")).unwrap();
        for path in [".", "dpu-ipam"] {
            fs::set_permissions(n.path(path), fs::Permissions::from_mode(0o755)).unwrap();
        }
        n.ends(0, "run --once");
        let unprivileged = |args: &str| {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(n.path("dpu-ipam"));
            command.args(args.split_whitespace()).env("DPU_IPAM_CONFIG", n.path("config.yaml"));
            outcome(&mut command)
        };
        let run = unprivileged("run");
        assert_eq!(run.code, 1);
        let needs =
            "error: not allowed to change network settings: run as root, or give the process CAP_NET_ADMIN\n";
        assert_eq!(run.stderr, needs);
        let plan = unprivileged("plan");
        assert!(
            plan.stderr.contains("/state: Permission denied (os error 13); the stored leases count as none")
        );
        let status = unprivileged("status");
        assert!(status.stdout.contains("192.168.0.2/20"), "{status:?}");
    });
}

#[test]
fn the_log_suits_its_reader() {
    node(|n| {
        n.configure("pool: {name: nowhere}");
        let file = n.ends(1, "run --once").stderr;
        let first = file.lines().next().unwrap();
        assert!(first.starts_with("20") && first.contains("Z  INFO manifests read"), "{first}");

        let journal = fs::File::create(n.path("journal")).unwrap();
        let meta = journal.metadata().unwrap();
        let mut command = n.command("run --once");
        command.env("JOURNAL_STREAM", format!("{}:{}", meta.dev(), meta.ino())).stderr(journal);
        assert_eq!(command.status().unwrap().code(), Some(1));
        let journal = fs::read_to_string(n.path("journal")).unwrap();
        assert!(journal.starts_with("<6>manifests read\n<4>producer on sf10"), "{journal}");
        assert_eq!(n.ends(1, "run --once --log-level off").stderr, "");

        // A terminal, which `script` makes.
        let terminal = |command: String| {
            let mut script = Command::new("script");
            script.args(["-qec", &command, "/dev/null"]).env("DPU_IPAM_CONFIG", n.path("config.yaml"));
            outcome(script.env_remove("NO_COLOR")).stdout
        };
        let colored = terminal(format!("{BINARY} run --once"));
        assert!(colored.starts_with("\u{1b}[32minfo:\u{1b}[0m manifests read"), "{colored}");
        assert!(!terminal(format!("{BINARY} run --once --no-color")).contains('\u{1b}'));
        assert!(
            terminal(format!("{BINARY} config --config gone.yaml")).starts_with("\u{1b}[31merror:\u{1b}[0m")
        );
    });
}

#[test]
fn help_names_every_command_and_completions_are_made() {
    let help = |args: &[&str]| outcome(Command::new(BINARY).args(args));
    let top = help(&["--help"]).stdout;
    let commands: Vec<_> = top
        .lines()
        .skip_while(|l| *l != "Commands:")
        .skip(1)
        .take_while(|l| !l.is_empty())
        .filter_map(|l| l.strip_prefix("  ")?.split(' ').next().filter(|name| !name.is_empty()))
        .collect();
    assert!(commands.len() > 8, "{top}");
    for command in commands.iter().filter(|c| **c != "help") {
        let help = help(&[command, "--help"]);
        assert!(help.code == 0 && help.stdout.contains("\nExamples:\n"), "{command}: {help:?}");
    }
    assert!(top.contains("\nBegin with:\n"));
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = help(&["completions", shell]).stdout;
        assert!(commands.iter().all(|c| script.contains(c)), "{shell}");
    }
    assert_eq!(help(&["--version"]).stdout, format!("dpu-ipam {}\n", env!("CARGO_PKG_VERSION")));
}
