//! A directory with configuration and manifests for the real agent, and the agent as a process.

use std::{
    fmt::Write as _,
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use dpu_ipam::{
    config::{Config, Flags, Surroundings},
    model::Link,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

/// Everything that an agent needs.
pub(crate) struct Machine(TempDir);

impl Machine {
    /// Bindings for `links`, with this YAML for each one's pool, and these manifests.
    pub(crate) fn new(links: &[Link], pool: impl Fn(usize) -> String, manifests: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().display();
        let mut config = format!(
            "node: dpu-1\nsource: {{files: {{path: {path}/manifests.yaml}}}}\nresync: 1h\ninterfaces:\n"
        );
        for (n, link) in links.iter().enumerate() {
            writeln!(config, "  - {{name: b{n}, match: {{netdev: {}}}, {}}}", link.name, pool(n)).unwrap();
        }
        fs::write(dir.path().join("config.yaml"), config).unwrap();
        fs::write(dir.path().join("manifests.yaml"), manifests).unwrap();
        Self(dir)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Forgets what was stored.
    pub(crate) fn forget(&self) {
        let _ = fs::remove_dir_all(self.path().join("state"));
    }

    pub(crate) fn config(&self) -> Config {
        let flags = Flags {
            config: Some(self.path().join("config.yaml")),
            state_dir: Some(self.path().join("state")),
            runtime_dir: Some(self.path().join("run")),
            ..Flags::default()
        };
        Config::load(&flags, &Surroundings::of_process()).unwrap()
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dpu-ipam"));
        command.args(words).stderr(Stdio::null());
        for (flag, name) in [("--config", "config.yaml"), ("--state-dir", "state"), ("--runtime-dir", "run")]
        {
            command.arg(flag).arg(self.path().join(name));
        }
        command
    }

    /// The agent, ready.
    pub(crate) fn agent(&self) -> Agent {
        let status = self.path().join("run/status.json");
        let _ = fs::remove_file(&status);
        let agent = Agent(self.command(&["run"]).spawn().unwrap());
        let start = Instant::now();
        while !fs::read_to_string(&status).is_ok_and(|s| s.contains("\"AllBindingsReady\"")) {
            assert!(start.elapsed() < Duration::from_secs(30), "the agent does not become ready");
            std::thread::sleep(Duration::from_millis(5));
        }
        agent
    }
}

/// A running agent; ended with its value.
pub(crate) struct Agent(pub(crate) Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let pid = Pid::from_raw(i32::try_from(self.0.id()).unwrap());
        let _ = kill(pid, Signal::SIGTERM);
        let _ = self.0.wait();
    }
}
