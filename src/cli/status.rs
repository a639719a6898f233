//! `status`: what the running agent last reported.

use std::process::ExitCode;

use anyhow::Context;

use super::{Format, Global, Output, settings::Settings};
use crate::{
    agent::now,
    engine::status::{BindingStatus, ConditionType, Status},
    report::local,
    store,
};

/// Show what the agent on this machine last reported
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dpu-ipam status
  dpu-ipam status -o json | jq '.bindings[] | select(.state != \"Ready\")'

Exit codes: 0 every binding is ready, 1 some are not, or no agent runs, 2 wrong usage")]
pub(super) struct Args {
    #[command(flatten)]
    settings: Settings,
}

pub(super) fn run(args: &Args, global: &Global, out: &Output) -> anyhow::Result<ExitCode> {
    let config = args.settings.load()?;
    let file = config.runtime_dir.join("status.json");
    let status = local::read(&config.runtime_dir)
        .with_context(|| format!("no agent has reported here: cannot read {}", file.display()))?;
    let running = store::is_held(&config.state_dir);
    match global.output.unwrap_or(Format::Table) {
        Format::Table => table(&status, out)?,
        Format::Yaml => out.yaml(&status)?,
        Format::Json => out.json(&status)?,
    }
    if !running {
        out.error("no agent is running; this is what the last one reported");
    }
    Ok(if running && status.ready() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn table(status: &Status, out: &Output) -> anyhow::Result<()> {
    let assignment = status.assignment_time.map_or_else(
        || "no assignment yet".to_owned(),
        |time| format!("assignment known for {}", ago(now().0.saturating_sub(time.0))),
    );
    out.text(&format!("node {}, dpu-ipam {}, {assignment}\n\n", status.node, status.agent_version))?;
    let rows: Vec<_> = status
        .bindings
        .iter()
        .map(|binding| {
            let [name, netdev, address, gateway, pool] = cells(binding);
            let (state, reason) = (format!("{:?}", binding.state), format!("{:?}", binding.reason));
            [name, netdev, address, gateway, pool, state, reason]
        })
        .collect();
    let [name, netdev, address, gateway, pool] = HEADS;
    out.table([name, netdev, address, gateway, pool, "STATE", "REASON"], &rows)?;
    out.paragraph(status.bindings.iter().filter_map(message))?;
    // Whether all is ready stands in the rows.
    let conditions = status.conditions.iter().filter(|c| !c.status && c.kind != ConditionType::Ready);
    out.paragraph(conditions.map(|c| format!("{:?} is false ({}): {}", c.kind, c.reason, c.message)))?;
    out.paragraph(status.problems.iter().map(ToString::to_string))?;
    out.paragraph(status.notes.iter().cloned())?;
    Ok(())
}

/// A length of time in the unit that suits it.
fn ago(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// The columns of [`cells`].
pub(super) const HEADS: [&str; 5] = ["BINDING", "NETDEV", "ADDRESS", "GATEWAY", "POOL"];

/// What a binding has, as the beginning of a table's row.
pub(super) fn cells(binding: &BindingStatus) -> [String; 5] {
    let list = |items: Vec<String>| if items.is_empty() { "-".to_owned() } else { items.join(",") };
    [
        binding.name.to_string(),
        binding.interface.as_ref().map_or_else(|| "-".to_owned(), |i| i.netdev.to_string()),
        list(binding.addresses.iter().map(ToString::to_string).collect()),
        list(binding.gateways.iter().map(ToString::to_string).collect()),
        list(binding.pools.iter().map(ToString::to_string).collect()),
    ]
}

/// What there is to say of a binding.
pub(super) fn message(binding: &BindingStatus) -> Option<String> {
    (!binding.message.is_empty()).then(|| format!("{}: {}", binding.name, binding.message))
}
