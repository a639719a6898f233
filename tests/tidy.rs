//! Keeps the order of the house: every file of `src` is read, and each break of a rule is named with file and line. The rules
//! are tried on files that break them, so a rule that stopped working shows.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "tidy/tokens.rs"]
mod tokens;

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use tokens::Tokens;

const LONGEST: usize = 450;
/// Rooms that compute and do nothing else.
const PURE: [&str; 3] = ["pool", "model", "engine"];
/// What these must not know, as the beginning of a path.
const WORLD: [&str; 22] = [
    "tokio",
    "kube",
    "k8s_openapi",
    "nix",
    "tracing",
    "tracing_subscriber",
    "rand",
    "anyhow",
    "clap",
    "std::fs",
    "std::env",
    "std::io",
    "std::os",
    "std::process",
    "std::thread",
    "std::time::SystemTime",
    "std::time::Instant",
    "std::net::TcpStream",
    "std::net::TcpListener",
    "std::net::UdpSocket",
    "std::net::ToSocketAddrs",
    "std::collections::hash_map::RandomState",
];
const PRINTERS: [&str; 5] = ["print", "println", "eprint", "eprintln", "dbg"];
const NETLINK: [&str; 5] =
    ["netlink_packet_core", "netlink_packet_route", "netlink_sys", "netlink_proto", "rtnetlink"];

#[derive(Debug, PartialEq, Eq)]
struct Violation {
    file: String,
    line: usize,
    rule: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.rule)
    }
}

/// The rooms, top floor first, as the table in `lib.rs` has them.
struct House(Vec<Vec<String>>);

impl House {
    fn of(lib: &str) -> Self {
        let rows = lib.lines().filter_map(|line| line.strip_prefix("//! | [`")?.split_once(" | "));
        let rooms =
            |cell: &str| cell.split("], [`").map(|r| r.trim_matches(['`', ']', ' ']).to_owned()).collect();
        Self(rows.map(|(cell, _)| rooms(cell)).collect())
    }

    fn floor(&self, room: &str) -> Option<usize> {
        self.0.iter().position(|floor| floor.iter().any(|r| r == room))
    }

    /// Why `from` may not import `to`.
    fn refuses(&self, from: &str, to: &str) -> Option<String> {
        let (Some(here), Some(there)) = (self.floor(from), self.floor(to)) else { return None };
        if from == to || there > here {
            return None;
        }
        let why = if there == here { "on the same floor" } else { "on a floor above" };
        Some(format!("{from} imports {to}, which is {why}; imports point down only (see lib.rs)"))
    }
}

/// Everything that is wrong with one file. `file` is its path from the root of the project.
fn check(house: &House, file: &str, text: &str) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut broken = |line, rule: String| found.push(Violation { file: file.to_owned(), line, rule });
    if !text.starts_with("//! ") {
        broken(1, "does not begin with a `//!` paragraph: what it owns, what it never does".to_owned());
    }
    let lines = text.lines().count();
    if lines > LONGEST {
        broken(lines, format!("{lines} lines; split files that are longer than {LONGEST}"));
    }
    for (line, text) in (1..).zip(text.lines()) {
        for word in ["TODO", "FIXME"] {
            if text.contains(word) {
                broken(line, format!("`{word}`: do it, or leave it out"));
            }
        }
    }

    let tokens = Tokens::of(text);
    for (line, name) in tokens.macros() {
        if name == "todo" || name == "unimplemented" {
            broken(line, format!("`{name}!`: unfinished"));
        }
    }
    for line in tokens.attributes("ignore") {
        broken(line, "`#[ignore]`: a test that does not run proves nothing".to_owned());
    }

    let inside = file.strip_prefix("src/").unwrap_or(file).strip_suffix(".rs").unwrap_or(file);
    let module: Vec<&str> = inside.split('/').filter(|part| !["mod", "lib", "main"].contains(part)).collect();
    let Some(room) = module.first().copied() else { return found };
    if house.floor(room).is_none() {
        broken(1, format!("{room} is not in the table of rooms in lib.rs"));
    }
    let paths = tokens.paths();
    for path in &paths {
        let target = path.room(module.len());
        if let Some(rule) = target.and_then(|to| house.refuses(room, to)) {
            broken(path.line, rule);
        }
    }
    if room != "kernel" {
        let demo = module.starts_with(&["cli", "demo"]);
        for path in &paths {
            let netlink = NETLINK.iter().find(|c| path.touches(c) && !(demo && **c == "rtnetlink"));
            if let Some(name) = netlink {
                broken(path.line, format!("{room} uses {name}; only kernel speaks netlink"));
            }
        }
    }
    if PURE.contains(&room) && module.last() != Some(&"tests") {
        for path in &paths {
            if let Some(what) = WORLD.iter().find(|what| path.touches(what)) {
                broken(
                    path.line,
                    format!("{room} uses {what}; it computes, and what it needs comes as an argument"),
                );
            }
        }
        for (line, name) in tokens.macros().filter(|(_, name)| PRINTERS.contains(name)) {
            broken(line, format!("{room} uses {name}!; it computes and says nothing"));
        }
    }
    found
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn house() -> House {
    let house = House::of(include_str!("../src/lib.rs"));
    assert!(house.0.len() > 8 && house.floor("cli") == Some(0), "the table of rooms is read: {:?}", house.0);
    house
}

#[test]
fn the_house_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (house, files) = (house(), sources(&root.join("src")));
    assert!(files.len() > 50, "the sources are there");
    let found: Vec<String> = files
        .iter()
        .flat_map(|path| {
            let file = path.strip_prefix(root).unwrap().to_str().unwrap();
            check(&house, file, &fs::read_to_string(path).unwrap())
        })
        .map(|violation| violation.to_string())
        .collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

/// What `text` in `file` breaks: the line, and the beginning of the rule.
#[track_caller]
fn breaks(file: &str, text: &str, expected: &[(usize, &str)]) {
    let found = check(&house(), file, &format!("//! About.\n{text}"));
    let fits = found.len() == expected.len()
        && found.iter().zip(expected).all(|(v, (line, rule))| v.line == *line && v.rule.starts_with(rule));
    assert!(fits, "{text}\nexpected {expected:?}\nfound {found:?}");
}

#[test]
fn imports_that_point_up_or_sideways_are_found() {
    breaks(
        "src/engine/plan.rs",
        "use crate::kernel::Kernel;",
        &[(2, "engine imports kernel, which is on a floor above")],
    );
    breaks(
        "src/source/files.rs",
        "use crate::report::local;",
        &[(2, "source imports report, which is on the same floor")],
    );
    breaks("src/store.rs", "use crate::{model::NodeName,\n    sf::Finder};", &[(3, "store imports sf")]);
    breaks("src/config/check.rs", "fn f() { crate::cli::main(); }", &[(2, "config imports cli")]);
    breaks(
        "src/pool/split/grid.rs",
        "use super::super::super::{model::PoolRef};",
        &[(2, "pool imports model")],
    );
    breaks("src/api/mod.rs", "use super::store;", &[(2, "api imports store")]);
    breaks("src/api/mod.rs", "mod tests { use super::super::store; }", &[(2, "api imports store")]);
    breaks("src/garage.rs", "", &[(1, "garage is not in the table")]);
}

#[test]
fn imports_that_point_down_or_stay_at_home_are_fine() {
    breaks(
        "src/agent/mod.rs",
        "use crate::{config::Config, engine::{self, plan::{Scope, plan}}, kernel::Kernel};",
        &[],
    );
    breaks("src/engine/plan.rs", "use super::assignment::Assignment; use crate::{engine::lease, pool};", &[]);
    breaks("src/engine/plan.rs", "mod tests { use super::{agent, super::attach}; }", &[]);
    breaks(
        "src/model.rs",
        "// use crate::cli;\n/* crate::cli::x /* nested */ */ const A: &str = \"crate::cli\";",
        &[],
    );
    breaks(
        "src/model.rs",
        "const A: &str = r#\"\"crate::cli::x\"#; const B: char = '\"'; fn f<'a>(x: &'a u8) {}",
        &[],
    );
    breaks("src/main.rs", "fn main() { dpu_ipam::cli::main() }", &[]);
}

#[test]
fn the_world_in_a_pure_room_is_found() {
    for (text, what) in [
        ("use std::{net::IpAddr, fs};", "std::fs"),
        ("use std::time::{Duration, Instant};", "std::time::Instant"),
        ("use std::time;", "std::time::"),
        ("use std::net::*;", "std::net::"),
        ("fn f() { std::env::var(\"X\"); }", "std::env"),
        ("use tokio::sync::mpsc;", "tokio"),
        ("use ::tracing::info;", "tracing"),
        ("fn f() { tracing::info!(\"x\"); }", "tracing"),
        ("use k8s_openapi::api::core::v1::Node;", "k8s_openapi"),
        ("fn f() { println!(); }", "println!"),
    ] {
        for file in ["src/pool/mod.rs", "src/model/names.rs", "src/engine/lease.rs"] {
            let room = file.split(['/', '.']).nth(1).unwrap();
            breaks(file, text, &[(2, &format!("{room} uses {what}"))]);
        }
        breaks("src/agent/mod.rs", text, &[]);
    }
    breaks("src/model.rs", "use std::{net::IpAddr, time::Duration}; use serde::Serialize;", &[]);
}

#[test]
fn netlink_outside_of_the_kernel_room_is_found() {
    breaks(
        "src/sf.rs",
        "use netlink_packet_route::link::LinkMessage;",
        &[(2, "sf uses netlink_packet_route")],
    );
    breaks("src/cli/run.rs", "use rtnetlink::Handle;", &[(2, "cli uses rtnetlink")]);
    breaks("src/kernel/wire.rs", "use netlink_packet_core::NetlinkHeader;", &[]);
    breaks("src/cli/demo/links.rs", "use rtnetlink::Handle;", &[]);
    breaks("src/cli/demo.rs", "use netlink_sys::Socket;", &[(2, "cli uses netlink_sys")]);
}

#[test]
fn files_without_form_are_found() {
    let found = check(&house(), "src/sf.rs", "use std::fs;\n");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].to_string().starts_with("src/sf.rs:1: does not begin with a `//!` paragraph"));
    breaks("src/sf.rs", &"\n".repeat(LONGEST - 1), &[]);
    breaks("src/sf.rs", &"\n".repeat(LONGEST), &[(451, "451 lines")]);
    breaks(
        "src/sf.rs",
        "fn f() { todo!() }\nfn g() { unimplemented!() }",
        &[(2, "`todo!`"), (3, "`unimplemented!`")],
    );
    breaks("src/sf.rs", "#[test]\n#[ignore = \"slow\"]\nfn f() {}", &[(3, "`#[ignore]`")]);
    breaks("src/sf.rs", "// TODO: later\nconst A: &str = \"FIXME\";", &[(2, "`TODO`"), (3, "`FIXME`")]);
    breaks("src/sf.rs", "let todo = ignore(\"todo!()\");", &[]);
}
