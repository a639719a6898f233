//! `run`: the agent.

use std::process::ExitCode;

use anyhow::Context;
use tracing::level_filters::LevelFilter;

use super::{Output, settings::Settings};
use crate::agent::Agent;

/// Run the agent: put the assigned addresses on the SFs and keep them right
///
/// Reads what the cluster (or the manifests) assigned to this node, leases an address of the slice for every binding of the
/// configuration, and configures addresses, routes and rules on the SFs by netlink. Whatever somebody takes away comes
/// back. Stopping the agent leaves the network as it is.
///
/// SIGHUP reads configuration and manifests again; SIGTERM ends at once. Needs CAP_NET_ADMIN and a writable state directory.
///
/// Manifests are split over nodes by what they say alone: .status.allocations first, then the Node objects by name. Without
/// Node objects this node is the only one. To keep every node's block when nodes come and go, ship the pools as
/// `dpu-ipam split` printed them.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dpu-ipam run
  dpu-ipam run --config ./config.yaml --node dpu-1
  dpu-ipam run --once          # one pass, for scripts and boot

Exit codes: 0 ended as asked, 1 failed, 2 wrong usage; with --once: 0 every binding is ready, 1 some are not")]
pub(super) struct Args {
    /// Make one pass and end
    #[arg(long)]
    once: bool,
    /// How much to log to standard error: off, error, warn, info, debug
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log_level: LevelFilter,
    #[command(flatten)]
    settings: Settings,
}

pub(super) fn run(args: &Args, out: &Output) -> anyhow::Result<ExitCode> {
    out.log(args.log_level);
    let config = args.settings.load()?;
    if config.bindings.is_empty() {
        tracing::warn!("the configuration has no interfaces: nothing to do until it has");
    }
    let settings = args.settings.clone();
    let agent = Agent::open(config, Box::new(move || settings.load()))?;
    if args.once {
        let ready = agent.once()?.ready();
        return Ok(if ready { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?;
    runtime.block_on(agent.run())?;
    Ok(ExitCode::SUCCESS)
}
