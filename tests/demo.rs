//! `demo` as users meet it: the built binary, as root and without, with `ip -json` as the witness that its claims are true
//! and that the machine's own interfaces stay as they are. Needs root.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests end the test")]

use std::{
    fs,
    io::{Read, Write},
    os::unix::{fs::PermissionsExt, fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(60);
/// A user without any right.
const NOBODY: u32 = 65_534;

/// What a demonstration that went well has said, in this order.
const STORY: [&str; 16] = [
    "1  The pool is there (ipv4Subnet)",
    "IPPool/example-pool1  192.168.0.0/20, 256 addresses per node",
    "▒▒▒ ███ ▒▒▒ ··· ···",
    "└─ dpu-2: 192.168.1.1 - 192.168.2.0, gateway 192.168.0.1",
    "├─ producer  192.168.1.1/20 ──▶ enp3s0f0s10  02:00:00:00:00:0a",
    "└─ consumer  192.168.1.2/20 ──▶ enp3s0f0s11  02:00:00:00:00:0b",
    "✓ gateway 192.168.0.1 answers to each",
    "✓ 192.168.1.1/20 deleted 5 times, back after",
    "✓ median",
    "✓ the kernel has what it had: 2 addresses",
    "✓ status PoolGone: IPPool/example-pool1 is gone",
    "✓ the same addresses: 192.168.1.1/20 and 192.168.1.2/20",
    "└─ dpu-2: 192.168.1.1 - 192.168.1.254, gateway 192.168.1.1",
    "✓ gateway 192.168.1.1 answers to each",
    "6  And back to ipv4Subnet",
    "✓ the agent has ended, and left the network as it was",
];

fn demo(temp: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dpu-ipam"));
    command.arg("demo").env("TMPDIR", temp).stdin(Stdio::null());
    command
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn tells(story: &[&str], output: &Output) {
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{stdout}{stderr}");
    assert_eq!(stderr, "");
    let mut rest = stdout;
    for line in story {
        let at = rest.find(line).unwrap_or_else(|| panic!("{line:?} is missing, or too early:\n{stdout}"));
        rest = &rest[at..];
    }
    assert!(!stdout.contains('✗') && !stdout.contains('\x1b'), "{stdout}");
}

fn is_empty(dir: &Path) -> bool {
    fs::read_dir(dir).unwrap().next().is_none()
}

/// What may not change on this machine: interfaces, addresses, routes, rules, and named namespaces.
fn machine() -> Vec<Value> {
    let ip = |words: &str| {
        let output = Command::new("ip").arg("-j").args(words.split(' ')).output().expect("ip starts");
        let mut value: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        forget_times(&mut value);
        value
    };
    ["addr", "route show table all", "rule", "netns"].map(ip).into()
}

/// Lifetimes run down by themselves.
fn forget_times(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !name.contains("life_time") && name != "expires");
            fields.values_mut().for_each(forget_times);
        }
        Value::Array(items) => items.iter_mut().for_each(forget_times),
        _ => {}
    }
}

#[test]
fn as_root_it_tells_its_story_and_leaves_nothing() {
    let temp = TempDir::new().unwrap();
    let before = machine();
    tells(&STORY, &demo(temp.path()).output().unwrap());
    assert_eq!(machine(), before);
    assert!(is_empty(temp.path()));
}

#[test]
fn it_starts_in_either_mode() {
    let temp = TempDir::new().unwrap();
    let story = [
        "1  The pool is there (ipv4Network)",
        "├─ producer  192.168.1.2/24 ──▶ enp3s0f0s10",
        "└─ consumer  192.168.1.3/24 ──▶ enp3s0f0s11",
        "5  The mode changes to ipv4Subnet",
        "├─ producer  192.168.1.2/20 ──▶ enp3s0f0s10",
        "6  And back to ipv4Network",
    ];
    tells(&story, &demo(temp.path()).args(["--mode", "network"]).output().unwrap());
}

/// The binary where anybody may run it, and a directory where nobody may write.
fn for_nobody() -> (TempDir, PathBuf, PathBuf) {
    let temp = TempDir::new().unwrap();
    fs::set_permissions(temp.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let (binary, dir) = (temp.path().join("dpu-ipam"), temp.path().join("tmp"));
    fs::copy(env!("CARGO_BIN_EXE_dpu-ipam"), &binary).unwrap();
    fs::create_dir(&dir).unwrap();
    chown(&dir, Some(NOBODY), Some(NOBODY)).unwrap();
    (temp, binary, dir)
}

fn as_nobody(command: &mut Command, dir: &Path) -> Output {
    command.env("TMPDIR", dir).stdin(Stdio::null()).current_dir("/").uid(NOBODY).gid(NOBODY);
    command.output().unwrap()
}

#[test]
fn without_root_it_tells_the_same_story() {
    let (_temp, binary, dir) = for_nobody();
    if !as_nobody(Command::new("unshare").args(["-Urn", "true"]), &dir).status.success() {
        println!("SKIPPED: this machine forbids user namespaces");
        return;
    }
    let before = machine();
    tells(&STORY, &as_nobody(Command::new(binary).arg("demo"), &dir));
    assert_eq!(machine(), before);
    assert!(is_empty(&dir));
}

#[test]
fn where_namespaces_are_forbidden_it_says_what_to_do() {
    let temp = TempDir::new().unwrap();
    // A user namespace that forbids further ones, and in it no capability: as on a machine that forbids them.
    let script = "echo 0 > /proc/sys/user/max_user_namespaces && \
                  exec setpriv --bounding-set -all --inh-caps -all --no-new-privs \"$0\" demo";
    let mut unshare = Command::new("unshare");
    unshare.args(["-U", "-r", "sh", "-c", script, env!("CARGO_BIN_EXE_dpu-ipam")]);
    let output = unshare.env("TMPDIR", temp.path()).stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(text(&output.stdout), "");
    let said = text(&output.stderr);
    assert!(said.starts_with("error: a private network namespace cannot be made ("), "{said}");
    assert!(said.contains("run as root, or allow user namespaces"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(is_empty(temp.path()));
}

#[test]
fn what_it_keeps_can_be_played_with() {
    let temp = TempDir::new().unwrap();
    let play = temp.path().join("play");
    let output = demo(temp.path()).arg("--keep").arg(&play).output().unwrap();
    tells(&STORY, &output);
    // The commands that it prints do what they should.
    let printed = text(&output.stdout);
    let commands: Vec<_> = printed.lines().filter_map(|l| l.trim().strip_prefix("dpu-ipam ")).collect();
    let (codes, shown): (Vec<_>, Vec<_>) = commands
        .iter()
        .filter(|line| !line.starts_with("demo"))
        .map(|line| {
            let words = line.split_whitespace();
            let output = Command::new(env!("CARGO_BIN_EXE_dpu-ipam")).args(words).output().unwrap();
            (output.status.code().unwrap(), text(&output.stdout).to_owned())
        })
        .unzip();
    // validate: valid; split: fine; plan: something to do.
    assert_eq!(codes, [0, 0, 1], "{commands:?} {shown:?}");
    assert!(shown[1].contains("dpu-2  192.168.1.1-192.168.2.0"), "{}", shown[1]);
    assert!(shown[2].contains("add address 192.168.1.1/20 dev enp3s0f0s10"), "{}", shown[2]);
    assert!(!play.join("state").exists() && !play.join("run").exists());

    let again = demo(temp.path()).arg("--keep").arg(&play).output().unwrap();
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("is not empty"), "{again:?}");
    assert!(play.join("config.yaml").exists());
}

#[test]
fn without_a_standard_input_it_does_not_wait() {
    let temp = TempDir::new().unwrap();
    let script = "exec \"$0\" demo --step <&-";
    let mut command = Command::new("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_dpu-ipam")]).env("TMPDIR", temp.path());
    tells(&STORY, &command.output().unwrap());
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let temp = TempDir::new().unwrap();
    let mut child = demo(temp.path()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdout.take().unwrap().read_exact(&mut [0; 8]).unwrap();
    assert!(wait(&mut child).success());
    assert!(is_empty(temp.path()));
}

/// A demonstration that waits for Enter.
struct Steps {
    child: Child,
    output: Receiver<Vec<u8>>,
    seen: String,
}

impl Steps {
    fn start(temp: &Path) -> Self {
        let mut command = demo(temp);
        command.arg("--step").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let (tx, output) = channel();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = stdout.read(&mut buffer) {
                tx.send(buffer[..length].to_vec()).unwrap();
            }
        });
        Self { child, output, seen: String::new() }
    }

    /// Waits until it waits for Enter.
    fn until_it_waits(&mut self) {
        self.seen.clear();
        let begun = Instant::now();
        while !self.seen.ends_with("press Enter ") {
            match self.output.recv_timeout(LIMIT.saturating_sub(begun.elapsed())) {
                // Whole lines are written at once.
                Ok(bytes) => self.seen.push_str(text(&bytes)),
                Err(RecvTimeoutError::Timeout) => panic!("it hangs after {}", self.seen),
                Err(RecvTimeoutError::Disconnected) => panic!("it ended after {}", self.seen),
            }
        }
    }

    fn enter(&mut self) {
        self.child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    }

    /// Runs `ip` in its namespace: another process, and a witness.
    fn ip(&self, words: &str) -> Output {
        let pid = self.child.id().to_string();
        let output =
            Command::new("nsenter").args(["-t", &pid, "-n", "ip"]).args(words.split(' ')).output().unwrap();
        assert!(output.status.success(), "ip {words}: {output:?}");
        output
    }

    /// The IPv4 addresses of an SF.
    fn addresses(&self, netdev: &str) -> Vec<String> {
        let links: Value =
            serde_json::from_slice(&self.ip(&format!("-4 -j addr show {netdev}")).stdout).unwrap();
        let all = links[0]["addr_info"].as_array().unwrap();
        all.iter().map(|a| format!("{}/{}", a["local"].as_str().unwrap(), a["prefixlen"])).collect()
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wait(child: &mut Child) -> ExitStatus {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        assert!(begun.elapsed() < LIMIT, "it does not end");
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn what_it_shows_is_what_ip_shows() {
    let temp = TempDir::new().unwrap();
    let mut steps = Steps::start(temp.path());
    let subnet = (vec!["192.168.1.1/20".to_owned()], vec!["192.168.1.2/20".to_owned()]);
    let network = (vec!["192.168.1.3/24".to_owned()], vec!["192.168.1.2/24".to_owned()]);
    let sfs = |steps: &Steps| (steps.addresses("enp3s0f0s10"), steps.addresses("enp3s0f0s11"));

    steps.until_it_waits();
    assert!(steps.seen.contains(&format!("nsenter -t {} -n ip addr", steps.child.id())), "{}", steps.seen);
    assert_eq!(sfs(&steps), subnet);
    // A real other process may also delete; the agent works while the audience looks around.
    steps.ip("addr del 192.168.1.2/20 dev enp3s0f0s11");
    let begun = Instant::now();
    while sfs(&steps) != subnet {
        assert!(begun.elapsed() < LIMIT, "the address does not come back");
    }
    // Deleted ones, the pool gone, the pool back: always the same.
    for part in ["2  ", "3  ", "4  "] {
        steps.enter();
        steps.until_it_waits();
        assert!(steps.seen.contains(&format!("\n{part}")), "{}", steps.seen);
        assert_eq!(sfs(&steps), subnet);
    }
    steps.enter();
    steps.until_it_waits();
    assert_eq!(sfs(&steps), network);
    steps.enter();
    assert!(wait(&mut steps.child).success());
    assert!(is_empty(temp.path()));
}

#[test]
fn a_claim_that_is_not_true_is_not_made() {
    let temp = TempDir::new().unwrap();
    let mut steps = Steps::start(temp.path());
    for _ in 0..3 {
        steps.until_it_waits();
        steps.enter();
    }
    steps.until_it_waits();
    // What comes next is wrong by an address that is not the agent's.
    steps.ip("addr add 198.51.100.7/32 dev enp3s0f0s10");
    steps.enter();
    assert_eq!(wait(&mut steps.child).code(), Some(1));
    let rest: Vec<u8> = steps.output.iter().flatten().collect();
    assert!(text(&rest).contains("✗ NOT TRUE: the addresses are now"), "{}", text(&rest));
    assert!(is_empty(temp.path()));
}

#[test]
fn interrupted_it_cleans_up() {
    let temp = TempDir::new().unwrap();
    let mut steps = Steps::start(temp.path());
    steps.until_it_waits();
    kill(Pid::from_raw(steps.child.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    assert_eq!(wait(&mut steps.child).code(), Some(1));
    assert!(is_empty(temp.path()));
}
