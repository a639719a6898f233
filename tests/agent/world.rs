//! A machine for one test: network namespace, SFs, configuration, manifests, and the agent as a child process.

use std::{
    cell::Cell,
    collections::BTreeSet,
    fmt::{self, Write as _},
    fs::{self, File},
    io,
    ops::Deref,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tempfile::TempDir;

use crate::netns::{Netns, netns};

/// Nothing that a test waits for takes a second; a busy machine may take longer.
const PATIENCE: Duration = Duration::from_secs(20);
const BINARY: &str = env!("CARGO_BIN_EXE_dpu-ipam");
pub(crate) const GUIDE_BLOCK: &str = include_str!("../manifests/ipam-subnet.yaml");
pub(crate) const GUIDE_PREFIX: &str = include_str!("../manifests/ipam-network.yaml");
pub(crate) const GUIDE_CHAIN: &str = include_str!("../manifests/producer-consumer.yaml");
pub(crate) const GUIDE_CHAIN_AS_PRINTED: &str =
    include_str!("../manifests/producer-consumer-as-printed.yaml");

/// A machine.
pub(crate) struct World<'a> {
    ns: &'a Netns,
    dir: TempDir,
    /// Fields of the configuration beside the bindings.
    extra: Cell<&'static str>,
}

impl Deref for World<'_> {
    type Target = Netns;
    fn deref(&self) -> &Netns {
        self.ns
    }
}

/// Runs `test` on a fresh machine.
pub(crate) fn world(test: impl FnOnce(&World<'_>) + Send) {
    netns(|ns| {
        // Link-local addresses come when they like: no IPv6 address that nobody asked for.
        fs::write("/proc/sys/net/ipv6/conf/default/addr_gen_mode", "1").unwrap();
        fs::write("/proc/sys/net/ipv6/conf/default/accept_dad", "0").unwrap();
        let world = World { ns, dir: TempDir::new().unwrap(), extra: Cell::new("") };
        fs::create_dir(world.path("manifests")).unwrap();
        world.bindings::<String>(&[]);
        test(&world);
    });
}

/// An entry of `interfaces`: `name`, what it matches, where its address is from, more fields.
pub(crate) fn binding(name: &str, sf: &str, pool: &str) -> String {
    format!("- {{name: {name}, match: {{{sf}}}, {pool}}}")
}

/// The usual binding: by the name of the netdev, from the pool `pool1`.
pub(crate) fn plain(name: &str) -> String {
    binding(name, &format!("netdev: {name}"), "pool: {name: pool1}")
}

/// The binding of a service of the guide's chain.
pub(crate) fn service(name: &str, netdev: &str) -> String {
    let port = format!("serviceInterface: {{serviceID: {name}, interfaceName: app-iface}}");
    binding(name, &format!("netdev: {netdev}"), &port)
}

/// An IPPool `pool1`; `more` are further fields of its spec in flow style, each with a comma before it.
pub(crate) fn block_pool(subnet: &str, gateway: &str, count: u32, more: &str) -> String {
    pool("IPPool", &format!("subnet: {subnet}, gateway: {gateway}, perNodeBlockSize: {count}{more}"))
}

/// A CIDRPool `pool1`.
pub(crate) fn prefix_pool(cidr: &str, length: u8, more: &str) -> String {
    pool("CIDRPool", &format!("cidr: {cidr}, perNodeNetworkPrefix: {length}{more}"))
}

fn pool(kind: &str, spec: &str) -> String {
    format!(
        "apiVersion: nv-ipam.nvidia.com/v1alpha1\nkind: {kind}\nmetadata: {{name: pool1, namespace: dpf-operator-system}}\nspec: {{{}}}\n",
        quoted(spec)
    )
}

/// Colons of IPv6 addresses would end a plain scalar.
fn quoted(spec: &str) -> String {
    let word = |word: &str| {
        let (text, comma) = word.strip_suffix(',').map_or((word, ""), |w| (w, ","));
        if text.contains("::") && !text.contains(['{', '[']) {
            format!("\"{text}\"{comma}")
        } else {
            word.to_owned()
        }
    };
    spec.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

impl World<'_> {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Makes an SF `name`, still down, with a representor that is up.
    pub(crate) fn sf(&self, name: &str) {
        self.ip(format!("link add {name} type veth peer name {name}rep"));
        self.ip(format!("link set {name}rep up"));
    }

    pub(crate) fn mac(&self, name: &str) -> String {
        self.ip_json(format!("link show {name}"))[0]["address"].as_str().unwrap().to_owned()
    }

    /// Further fields of the configuration, from the next [`Self::bindings`] on.
    pub(crate) fn also(&self, fields: &'static str) {
        self.extra.set(fields);
    }

    /// Writes the configuration.
    pub(crate) fn bindings<T: AsRef<str>>(&self, bindings: &[T]) {
        let mut text = format!(
            "node: dpu-1\nstateDir: {}\nruntimeDir: {}\nsource: {{files: {{path: {}}}}}\nnvIpamStore: {}\n{}\ninterfaces:",
            self.path("state").display(),
            self.path("run").display(),
            self.path("manifests").display(),
            self.path("nv-ipam").display(),
            self.extra.get(),
        );
        if bindings.is_empty() {
            text.push_str(" []");
        }
        for binding in bindings {
            write!(text, "\n{}", binding.as_ref()).unwrap();
        }
        fs::write(self.path("config.yaml"), text + "\n").unwrap();
    }

    /// Puts a manifest in place in one step.
    pub(crate) fn manifest(&self, name: &str, text: &str) {
        let new = self.path("manifest.new");
        fs::write(&new, text).unwrap();
        fs::rename(new, self.path("manifests").join(format!("{name}.yaml"))).unwrap();
    }

    pub(crate) fn remove_manifest(&self, name: &str) {
        fs::remove_file(self.path("manifests").join(format!("{name}.yaml"))).unwrap();
    }

    /// The program with this machine's configuration.
    pub(crate) fn command(&self, words: &str) -> Command {
        let mut command = Command::new(BINARY);
        command.args(words.split_whitespace()).arg("--config").arg(self.path("config.yaml"));
        command
    }

    /// Runs a subcommand to its end.
    pub(crate) fn run(&self, words: &str) -> Ended {
        Ended(self.command(words).output().unwrap())
    }

    /// One pass that must leave every binding ready.
    pub(crate) fn once(&self) {
        let ended = self.run("run --once");
        assert_eq!(ended.code(), Some(0), "{ended}\n{}", self.status().unwrap_or_default());
    }

    /// Starts the agent. It ends with the value.
    pub(crate) fn start(&self) -> Agent {
        self.start_as(self.command("run"))
    }

    /// Starts the agent, and waits until every binding is ready.
    pub(crate) fn ready(&self) -> Agent {
        let agent = self.start();
        agent.until("every binding is ready", || self.is_ready());
        agent
    }

    pub(crate) fn start_as(&self, mut command: Command) -> Agent {
        let _ = fs::remove_file(self.path("run/status.json"));
        let log = self.path("log");
        let file = File::create(&log).unwrap();
        let child =
            command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file).process_group(0);
        Agent { child: child.spawn().unwrap(), log, status: self.path("run/status.json") }
    }

    /// What the agent reported last.
    pub(crate) fn status(&self) -> Option<Value> {
        serde_json::from_slice(&fs::read(self.path("run/status.json")).ok()?).ok()
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.status().is_some_and(|s| {
            let bindings = s["bindings"].as_array().unwrap();
            !bindings.is_empty() && bindings.iter().all(|b| b["state"] == "Ready")
        })
    }

    /// Reason and message of a binding.
    pub(crate) fn reason(&self, name: &str) -> (String, String) {
        let status = self.status().unwrap_or_default();
        let binding = status["bindings"].as_array().and_then(|all| all.iter().find(|b| b["name"] == name));
        let text = |field: &str| binding.and_then(|b| b[field].as_str()).unwrap_or_default().to_owned();
        (text("reason"), text("message"))
    }

    /// Everything that `ip` shows, one line each: links, addresses, routes of all tables, rules of both families.
    pub(crate) fn dump(&self) -> Dump {
        let words = [
            "addr show",
            "-4 route show table all",
            "-6 route show table all",
            "-4 rule show",
            "-6 rule show",
        ];
        let mut lines = BTreeSet::new();
        for words in words {
            for mut item in self.ip_json(words).as_array_mut().unwrap().drain(..) {
                let name = item["ifname"].clone();
                // The kernel finds out about carriers and duplicates when it likes; multicast comes with the carrier.
                if item["type"] == "multicast" {
                    continue;
                }
                item.as_object_mut().unwrap().remove("operstate");
                if let Some(flags) = item["flags"].as_array_mut() {
                    flags.retain(|flag| flag != "NO-CARRIER" && flag != "LOWER_UP");
                }
                for address in item["addr_info"].take().as_array_mut().into_iter().flatten() {
                    address.as_object_mut().unwrap().remove("tentative");
                    lines.insert(format!("{name} {address}"));
                }
                lines.insert(format!("{words} {item}"));
            }
        }
        Dump(lines)
    }

    /// Routes of a table as `dst via gateway dev oif metric m src s`, as far as these are there.
    pub(crate) fn routes(&self, table: &str) -> Vec<String> {
        let all = self.try_ip(format!("-j route show table {table}")).unwrap_or_default();
        let all: Value = serde_json::from_str(&all).unwrap_or_default();
        let text = |route: &Value, field: &str, word: &str| match &route[field] {
            Value::Null => String::new(),
            Value::String(value) => format!(" {word} {value}"),
            value => format!(" {word} {value}"),
        };
        let fields = [
            ("gateway", "via"),
            ("dev", "dev"),
            ("metric", "metric"),
            ("prefsrc", "src"),
            ("protocol", "proto"),
        ];
        all.as_array()
            .into_iter()
            .flatten()
            .map(|r| {
                let rest: String = fields.iter().map(|(f, w)| text(r, f, w)).collect();
                format!("{}{rest}", r["dst"].as_str().unwrap())
            })
            .collect()
    }

    /// Rules that are ours, as `priority: from address lookup table`.
    pub(crate) fn rules(&self) -> Vec<String> {
        let rules = self.ip_json("rule show");
        let ours = rules.as_array().unwrap().iter().filter(|r| r["protocol"] == "133");
        ours.map(|r| {
            format!(
                "{}: from {} lookup {}",
                r["priority"],
                r["src"].as_str().unwrap(),
                r["table"].as_str().unwrap()
            )
        })
        .collect()
    }

    /// What changed in the kernel during `work`, as `ip monitor` tells it.
    pub(crate) fn changes(&self, work: impl FnOnce()) -> Vec<String> {
        until("the kernel has found out about carriers and duplicates", || {
            let links = self.ip_json("addr show").to_string();
            !links.contains("LOWERLAYERDOWN") && !links.contains("tentative")
        });
        let path = self.path("monitor");
        let out = File::create(&path).unwrap();
        let mut monitor = Command::new("ip").args(["-o", "monitor", "all"]).stdout(out).spawn().unwrap();
        let read = || fs::read_to_string(&path).unwrap();
        let mark = |address: &str| {
            until(&format!("ip monitor shows {address}"), || {
                let _ = self.try_ip(format!("addr del {address}/32 dev lo"));
                self.ip(format!("addr add {address}/32 dev lo"));
                read().contains(address)
            });
        };
        mark("127.0.0.8");
        let before = read().len();
        work();
        let seen = read().len();
        mark("127.0.0.9");
        until("ip monitor has told all", || read().len() > seen);
        let _ = monitor.kill();
        monitor.wait().unwrap();
        self.ip("addr del 127.0.0.8/32 dev lo");
        self.ip("addr del 127.0.0.9/32 dev lo");
        let told = |line: &&str| !line.contains("127.0.0.") && !line.contains("multicast ff00::/8");
        read()[before..].lines().filter(told).map(str::to_owned).collect()
    }
}

/// What `ip` shows; an unequal pair is printed as its difference.
#[derive(Clone, PartialEq)]
pub(crate) struct Dump(BTreeSet<String>);

impl Dump {
    /// Without the lines that contain one of `words`.
    pub(crate) fn without(mut self, words: &[&str]) -> Self {
        self.0.retain(|line| !words.iter().any(|word| line.contains(word)));
        self
    }

    #[track_caller]
    pub(crate) fn assert_same(&self, after: &Self) {
        let gone: Vec<_> = self.0.difference(&after.0).collect();
        let new: Vec<_> = after.0.difference(&self.0).collect();
        assert!(gone.is_empty() && new.is_empty(), "gone: {gone:#?}\nnew: {new:#?}");
    }
}

/// A subcommand that ended.
pub(crate) struct Ended(Output);

impl Ended {
    pub(crate) fn code(&self) -> Option<i32> {
        self.0.status.code()
    }

    pub(crate) fn out(&self) -> String {
        String::from_utf8_lossy(&self.0.stdout).into_owned()
    }

    pub(crate) fn err(&self) -> String {
        String::from_utf8_lossy(&self.0.stderr).into_owned()
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}\n{}", self.0.status, self.out(), self.err())
    }
}

/// A running agent.
pub(crate) struct Agent {
    child: Child,
    log: PathBuf,
    status: PathBuf,
}

impl Agent {
    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).unwrap();
    }

    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for a condition, and shows log and status if it does not come.
    #[track_caller]
    pub(crate) fn until(&self, what: &str, condition: impl FnMut() -> bool) {
        if let Err(late) = wait(condition) {
            let status: Option<Value> =
                fs::read(&self.status).ok().and_then(|s| serde_json::from_slice(&s).ok());
            let status = status.unwrap_or_default();
            panic!("{what}: not within {late:?}; log:\n{}\nstatus:\n{status}", self.log());
        }
    }

    /// Ends it by SIGTERM; its exit code.
    pub(crate) fn stop(mut self) -> Option<i32> {
        self.signal(Signal::SIGTERM);
        let mut code = None;
        until("the agent ends on SIGTERM", || {
            code = self.child.try_wait().unwrap();
            code.is_some()
        });
        code.and_then(|c| c.code())
    }

    /// Processor time used so far.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        // utime and stime, in ticks of 10 ms, are the 12th and 13th behind the name.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        Duration::from_millis((11..13).map(|i| fields[i].parse::<u64>().unwrap()).sum::<u64>() * 10)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("log of the agent:\n{}", self.log());
        }
    }
}

/// Polls `condition`; the time it had if it does not come true.
fn wait(mut condition: impl FnMut() -> bool) -> Result<(), Duration> {
    let begin = Instant::now();
    while !condition() {
        if begin.elapsed() > PATIENCE {
            return Err(begin.elapsed());
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Whether a condition comes true.
pub(crate) fn within_patience(condition: impl FnMut() -> bool) -> bool {
    wait(condition).is_ok()
}

/// Waits for a condition.
#[track_caller]
pub(crate) fn until(what: &str, condition: impl FnMut() -> bool) {
    if let Err(late) = wait(condition) {
        panic!("{what}: not within {late:?}");
    }
}

/// Runs a tool, and names its package if it is not there.
pub(crate) fn tool(name: &str, package: &str) -> Command {
    let found =
        std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).any(|d| d.join(name).exists());
    assert!(found, "these tests need {name}: install the package {package}");
    Command::new(name)
}

/// Whether a file is there.
pub(crate) fn exists(path: &Path) -> bool {
    match fs::metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => false,
        other => other.is_ok(),
    }
}
