//! `status`: what the running agent last reported.

use std::process::ExitCode;

use anyhow::Context;

use super::{Format, Global, Output, settings::Settings};
use crate::{
    agent::now,
    engine::status::{BindingStatus, Status},
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
        .with_context(|| format!("no status in {}; is the agent running?", file.display()))?;
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
    let age = |t: crate::model::Timestamp| now().0.saturating_sub(t.0);
    let assignment = status
        .assignment_time
        .map_or_else(|| "no assignment yet".to_owned(), |t| format!("assignment known for {}s", age(t)));
    out.text(&format!("node {}, dpu-ipam {}, {assignment}\n\n", status.node, status.agent_version))?;
    let rows: Vec<_> = status.bindings.iter().map(row).collect();
    out.table(HEADS, &rows)?;
    for binding in status.bindings.iter().filter(|b| !b.message.is_empty()) {
        out.text(&format!("\n{}: {}\n", binding.name, binding.message))?;
    }
    for condition in status.conditions.iter().filter(|c| !c.status) {
        out.text(&format!(
            "\n{:?} is false ({}): {}\n",
            condition.kind, condition.reason, condition.message
        ))?;
    }
    for problem in &status.problems {
        out.text(&format!("\n{problem}\n"))?;
    }
    for note in &status.notes {
        out.text(&format!("\n{note}\n"))?;
    }
    Ok(())
}

/// The columns of [`row`].
pub(super) const HEADS: [&str; 7] = ["BINDING", "NETDEV", "ADDRESS", "GATEWAY", "POOL", "STATE", "REASON"];

/// A binding as a row of a table.
pub(super) fn row(binding: &BindingStatus) -> [String; 7] {
    let list = |items: Vec<String>| if items.is_empty() { "-".to_owned() } else { items.join(",") };
    [
        binding.name.to_string(),
        binding.interface.as_ref().map_or_else(|| "-".to_owned(), |i| i.netdev.to_string()),
        list(binding.addresses.iter().map(ToString::to_string).collect()),
        list(binding.gateways.iter().map(ToString::to_string).collect()),
        list(binding.pools.iter().map(ToString::to_string).collect()),
        format!("{:?}", binding.state),
        format!("{:?}", binding.reason),
    ]
}
