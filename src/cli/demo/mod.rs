//! `demo`: the guide's example on this machine, with the real agent, in a network namespace that nobody else sees. This
//! file owns the arguments and the order of things; what is shown is in `script`.

mod home;
mod namespace;
mod picture;
mod script;
mod stage;
mod witness;
mod world;

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, bail};
use clap::ValueEnum;

use self::{home::Home, script::Script, stage::Stage, witness::Witness, world::World};
use super::{Output, snapshot::Snapshot};
use crate::{agent::Agent, model::PoolKind};

/// Show on this machine what the agent does, in a private network namespace
///
/// Runs the example of NVIDIA's guide (a pool, two services, one chain) with the real agent: pool, slice, leases and SFs
/// as a picture, the repair of a deleted address with its time, the pool gone and back, a change of the pool's mode.
/// Everything that is claimed is read back from the kernel, and a gateway answers from a namespace of its own.
///
/// Needs root or user namespaces, and no BlueField: veth pairs play the SFs and their representors. The machine's own
/// interfaces are never touched; all is gone at the end.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dpu-ipam demo
  dpu-ipam demo --mode network
  dpu-ipam demo --step                # waits for Enter: time to look around with nsenter
  dpu-ipam demo --fast --keep play    # leaves manifests and configuration in play/

Exit codes: 0 all claims held, 1 one did not, or no namespace can be made, 2 wrong usage")]
pub(super) struct Args {
    /// The pool's mode at the start; later it changes to the other one
    #[arg(long, value_enum, default_value_t = Mode::Subnet)]
    mode: Mode,
    /// Leave manifests, configuration and a snapshot in this directory, new or empty, to play with
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Wait for Enter before each next part
    #[arg(long)]
    step: bool,
    /// Without pauses (as whenever the output is not a terminal)
    #[arg(long, conflicts_with = "step")]
    fast: bool,
}

/// The two modes of a DPUServiceIPAM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// ipv4Subnet: one subnet, a block of it for each node
    Subnet,
    /// ipv4Network: a subnet of its own for each node
    Network,
}

impl Mode {
    fn other(self) -> Self {
        match self {
            Self::Subnet => Self::Network,
            Self::Network => Self::Subnet,
        }
    }

    /// The field of the DPUServiceIPAM.
    fn field(self) -> &'static str {
        match self {
            Self::Subnet => "ipv4Subnet",
            Self::Network => "ipv4Network",
        }
    }

    /// The kind of pool that it becomes.
    fn kind(self) -> PoolKind {
        match self {
            Self::Subnet => PoolKind::IpPool,
            Self::Network => PoolKind::CidrPool,
        }
    }
}

pub(super) fn run(args: &Args, out: &Output) -> anyhow::Result<ExitCode> {
    let home = Home::new(args.keep.as_deref())?;
    let who = namespace::enter()?;
    let world = World::make().context("the demonstration's network cannot be made")?;
    home.apply(args.mode)?;
    let config = home.config()?;
    if args.keep.is_some() {
        home.save_snapshot(&Snapshot::take(&config, out)?)?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?;
    let reload = home.clone_config();
    let mut script = Script {
        stage: Stage::new(out, args.step, args.fast),
        witness: Witness::new(&world, config.runtime_dir.clone())?,
        home: &home,
        world,
    };
    script.prologue(&who)?;
    let last = runtime.block_on(async {
        let agent = Agent::open(config, Box::new(reload))?;
        tokio::select! {
            ended = agent.run() => {
                ended?;
                // Behind what the terminal shows of Ctrl-C.
                out.text("\n")?;
                bail!("interrupted; the network namespace and {} go with this process", home.what_goes())
            }
            played = script.play(args.mode) => played,
        }
    })?;
    script.epilogue(&last)?;
    Ok(ExitCode::SUCCESS)
}
