//! A network namespace for a test or a benchmark: made for one thread, gone with it. Needs root; fails loudly without.

#![allow(dead_code, reason = "each test takes what it needs")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    fmt,
    io::Write as _,
    process::{Command, Stdio},
    thread,
};

use nix::sched::{CloneFlags, unshare};
use serde_json::Value;

/// The namespace of the present thread.
#[derive(Debug)]
pub(crate) struct Netns(());

/// Runs `test` in a new network namespace (loopback up, nothing else), on a thread of its own. Sockets that it opens and
/// processes that it starts are in there. A panic goes through.
///
/// ```ignore
/// netns(|ns| {
///     ns.ip("link add sf0 type veth peer name rep0");
///     assert_eq!(ns.ip_json("link show sf0")[0]["ifname"], "sf0");
/// });
/// ```
pub(crate) fn netns<T: Send>(test: impl FnOnce(&Netns) -> T + Send) -> T {
    thread::scope(|scope| {
        let run = || {
            unshare(CloneFlags::CLONE_NEWNET)
                .expect("cannot make a network namespace: these tests need root (CAP_SYS_ADMIN)");
            let ns = Netns(());
            ns.ip("link set lo up");
            test(&ns)
        };
        match scope.spawn(run).join() {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

impl Netns {
    /// Runs `ip` with these words (split at spaces).
    ///
    /// A flush that does not last is none that failed: `ip` looks ten times whether everything is gone, and gives up
    /// against an agent that puts it back in between.
    ///
    /// # Panics
    ///
    /// If it fails.
    pub(crate) fn ip(&self, words: impl fmt::Display) {
        match self.try_ip(&words) {
            Err(error) if !error.contains("Flush remains incomplete") => panic!("ip {words}: {error}"),
            _ => {}
        }
    }

    /// Runs `ip`; what it says is the error.
    ///
    /// # Errors
    ///
    /// What it wrote if it failed.
    pub(crate) fn try_ip(&self, words: impl fmt::Display) -> Result<String, String> {
        let words = words.to_string();
        let output = Command::new("ip").args(words.split_whitespace()).output().expect("ip starts");
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// Runs many `ip` commands, one a line, in one process.
    ///
    /// # Panics
    ///
    /// If one fails.
    pub(crate) fn ip_batch(&self, lines: &str) {
        let mut ip =
            Command::new("ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn().expect("ip starts");
        ip.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        assert!(ip.wait().unwrap().success(), "ip -batch failed");
    }

    /// The witness: what `ip -json -details` shows.
    ///
    /// # Panics
    ///
    /// If it fails.
    pub(crate) fn ip_json(&self, words: impl fmt::Display) -> Value {
        let text = self.try_ip(format!("-j -d {words}")).unwrap_or_else(|e| panic!("ip {words}: {e}"));
        if text.trim().is_empty() { Value::Array(Vec::new()) } else { serde_json::from_str(&text).unwrap() }
    }

    /// Makes a pair of veths, both up, and gives their indices.
    pub(crate) fn veth(&self, a: &str, b: &str) -> (u32, u32) {
        self.ip(format!("link add {a} type veth peer name {b}"));
        self.ip(format!("link set {a} up"));
        self.ip(format!("link set {b} up"));
        (self.ifindex(a), self.ifindex(b))
    }

    /// The index of an interface.
    pub(crate) fn ifindex(&self, name: &str) -> u32 {
        let index = self.ip_json(format!("link show {name}"))[0]["ifindex"].as_u64().unwrap();
        u32::try_from(index).unwrap()
    }

    /// The addresses (`local/prefixlen`) of an interface that have global scope, as `ip` shows them.
    pub(crate) fn addresses(&self, name: &str) -> Vec<String> {
        let links = self.ip_json(format!("addr show {name}"));
        let all = links[0]["addr_info"].as_array().unwrap();
        all.iter()
            .filter(|a| a["scope"] == "global")
            .map(|a| format!("{}/{}", a["local"].as_str().unwrap(), a["prefixlen"]))
            .collect()
    }
}
