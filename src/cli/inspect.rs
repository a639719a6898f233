//! `inspect`: the kernel's state of the SFs, and whose every piece of it is.

use std::{collections::BTreeSet, process::ExitCode};

use super::{Format, Global, Output, settings::Settings, snapshot::Snapshot};
use crate::{
    config::Config,
    engine::attach::Match,
    model::{Address, BindingName, Link, TABLE_MAIN},
};

/// Show links, addresses, routes and rules of the SFs, and whose they are
///
/// With -o json it prints the whole state, which `dpu-ipam plan --observed` takes on any machine.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dpu-ipam inspect
  dpu-ipam inspect --all
  dpu-ipam inspect -o json > snapshot.json

Exit codes: 0 ok, 1 failed, 2 wrong usage")]
pub(super) struct Args {
    /// Every interface and rule, not only those of the bindings' SFs
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    settings: Settings,
}

pub(super) fn run(args: &Args, global: &Global, out: &Output) -> anyhow::Result<ExitCode> {
    let config = args.settings.load()?;
    let snapshot = Snapshot::take(&config, out)?;
    match global.output.unwrap_or(Format::Table) {
        Format::Table => tables(&snapshot, &config, args.all, out)?,
        Format::Yaml => out.yaml(&snapshot)?,
        Format::Json => out.json(&snapshot)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn tables(snapshot: &Snapshot, config: &Config, all: bool, out: &Output) -> anyhow::Result<()> {
    let matches = snapshot.matches(config);
    let bound: Vec<(u32, &BindingName)> = matches
        .iter()
        .filter_map(|(name, found)| match found {
            Match::Found(sf) => Some((sf.ifindex, name)),
            _ => None,
        })
        .collect();
    let shown: BTreeSet<u32> = if all {
        snapshot.observed.links.keys().copied().collect()
    } else {
        bound.iter().map(|(ifindex, _)| *ifindex).collect()
    };
    if shown.is_empty() {
        out.note("no binding has an SF here; --all shows every interface");
    }
    let numbers = &config.numbers;
    let owner = |protocol| owner(protocol, numbers.protocol);
    let links: Vec<_> = shown.iter().filter_map(|i| snapshot.observed.links.get(i)).collect();
    let rows: Vec<_> = links
        .iter()
        .map(|link| {
            let binding =
                bound.iter().find(|(i, _)| *i == link.ifindex).map_or("-", |(_, name)| name.as_str());
            let sf = snapshot.sfs.attachments.iter().find(|a| a.ifindex == link.ifindex);
            let pci = sf.and_then(|a| a.pci).map_or_else(|| "-".to_owned(), |p| p.to_string());
            let sfnum = sf.and_then(|a| a.sfnum).map_or_else(|| "-".to_owned(), |n| n.to_string());
            let mac = link.mac.map_or_else(|| "-".to_owned(), |m| m.to_string());
            [link.name.to_string(), binding.to_owned(), pci, sfnum, mac, state(link), link.mtu.to_string()]
        })
        .collect();
    out.table(["LINK", "BINDING", "PCI", "SFNUM", "MAC", "STATE", "MTU"], &rows)?;

    let ours = |a: &Address| snapshot.state.owned.has(a, numbers);
    let rows: Vec<_> = snapshot
        .observed
        .addresses
        .iter()
        .filter(|a| shown.contains(&a.ifindex))
        .map(|a| {
            let whose = if ours(a) { OURS.to_owned() } else { address_owner(a.protocol) };
            [a.address.to_string(), snapshot.name(a.ifindex), whose]
        })
        .collect();
    section(out, ["ADDRESS", "LINK", "OWNER"], &rows)?;

    let rows: Vec<_> = snapshot
        .observed
        .routes
        .iter()
        .filter(|r| shown.contains(&r.oif))
        .map(|r| {
            let dst = if r.dst.prefix_len() == 0 { "default".to_owned() } else { r.dst.to_string() };
            let via = r.gateway.map_or_else(|| "-".to_owned(), |g| g.to_string());
            [dst, via, snapshot.name(r.oif), table(r.table), r.metric.to_string(), owner(r.protocol)]
        })
        .collect();
    section(out, ["ROUTE", "VIA", "LINK", "TABLE", "METRIC", "OWNER"], &rows)?;

    let rows: Vec<_> = snapshot
        .observed
        .rules
        .iter()
        // The kernel's own three say nothing about the SFs.
        .filter(|r| all || r.protocol != KERNEL)
        .map(|r| {
            let from = r.from.map_or_else(|| "all".to_owned(), |f| f.to_string());
            let more = if r.complex { " and more" } else { "" };
            let family = if r.ipv6 { "inet6" } else { "inet" };
            [
                r.priority.to_string(),
                family.to_owned(),
                format!("{from}{more}"),
                table(r.table),
                owner(r.protocol),
            ]
        })
        .collect();
    section(out, ["RULE", "FAMILY", "FROM", "TABLE", "OWNER"], &rows)?;
    Ok(())
}

/// A table with a blank line before it; nothing if it has no rows.
fn section<const N: usize>(out: &Output, heads: [&str; N], rows: &[[String; N]]) -> anyhow::Result<()> {
    if !rows.is_empty() {
        out.text("\n")?;
        out.table(heads, rows)?;
    }
    Ok(())
}

const OURS: &str = "dpu-ipam";
/// RTPROT_KERNEL
const KERNEL: u8 = 2;

/// A routing table as `ip` names it.
fn table(id: u32) -> String {
    match id {
        253 => "default".to_owned(),
        TABLE_MAIN => "main".to_owned(),
        255 => "local".to_owned(),
        other => other.to_string(),
    }
}

fn state(link: &Link) -> String {
    match (link.up, link.carrier) {
        (true, true) => "up",
        (true, false) => "up, no carrier",
        (false, _) => "down",
    }
    .to_owned()
}

/// Who set a route or rule, by the protocols that iproute2 knows (`rt_protos`).
fn owner(protocol: u8, ours: u8) -> String {
    let name = match protocol {
        p if p == ours => OURS,
        0 => "unspecified",
        1 => "redirect",
        KERNEL => "kernel",
        3 => "boot (ip route add)",
        4 => "static",
        8 => "gated",
        9 => "ra",
        10 => "mrt",
        11 => "zebra",
        12 => "bird",
        13 => "dnrouted",
        14 => "xorp",
        15 => "ntk",
        16 => "dhcp",
        17 => "mrouted",
        18 => "keepalived",
        42 => "babel",
        84 => "ovn",
        99 => "openr",
        186 => "bgp",
        187 => "isis",
        188 => "ospf",
        189 => "rip",
        192 => "eigrp",
        other => return format!("protocol {other}"),
    };
    name.to_owned()
}

/// Who set an address, by IFA_PROTO.
fn address_owner(protocol: u8) -> String {
    match protocol {
        0 => "foreign".to_owned(),
        1 => "kernel (loopback)".to_owned(),
        2 => "kernel (router advertisement)".to_owned(),
        3 => "kernel (link-local)".to_owned(),
        other => format!("foreign (protocol {other})"),
    }
}
