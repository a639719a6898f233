//! Arguments and output of the program; one file per subcommand. Nothing is decided here.

mod completions;
mod config;
mod demo;
mod input;
mod inspect;
mod output;
mod plan;
mod run;
mod settings;
mod snapshot;
mod split;
mod status;
mod validate;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand, ValueEnum};

pub use output::Output;

/// Puts the addresses that a DPU cluster assigned to its node on the scalable functions (SFs) of a BlueField DPU, and keeps
/// them right
#[derive(Debug, Parser)]
#[command(
    name = "dpu-ipam",
    version,
    max_term_width = 100,
    after_help = "\
Begin with:
  dpu-ipam demo                             see it work, without a DPU or a cluster
  dpu-ipam validate -f manifests/           check the pools and chains of a cluster
  dpu-ipam split -f manifests/ -o table     see which node gets which slice
  dpu-ipam config --default                 a configuration to start from
  dpu-ipam plan                             see what `run` would do on this node
  dpu-ipam run                              do it, and keep it so

`dpu-ipam COMMAND --help` has the particulars, examples and exit codes."
)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options that every subcommand takes.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Output")]
pub struct Global {
    /// How to print the result; the default depends on the command
    #[arg(short, long, global = true, value_enum, value_name = "FORMAT")]
    output: Option<Format>,
    /// Print without colors
    #[arg(long, global = true)]
    no_color: bool,
}

/// Formats of the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Yaml,
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    Demo(demo::Args),
    Plan(plan::PlanArgs),
    Split(split::Args),
    Validate(validate::Args),
    Status(status::Args),
    Check(plan::CheckArgs),
    Inspect(inspect::Args),
    Config(config::Args),
    Completions(completions::Args),
}

impl Command {
    /// The exit code of a failure: `plan`, `check` and `validate` say 1 for what they found.
    fn failure(&self) -> u8 {
        match self {
            Self::Plan(_) | Self::Check(_) | Self::Validate(_) => 2,
            _ => 1,
        }
    }
}

/// Reads the arguments and runs the subcommand. Wrong usage ends the process with 2, as clap does.
#[must_use]
pub fn main() -> ExitCode {
    let Cli { global, command } = Cli::parse();
    let out = Output::new(global.no_color);
    if global.output.is_some() && matches!(command, Command::Run(_) | Command::Completions(_)) {
        let message = "this command prints no result that --output could form";
        Cli::command().error(clap::error::ErrorKind::ArgumentConflict, message).exit();
    }
    let failure = command.failure();
    let result = match command {
        Command::Run(args) => run::run(&args, &out),
        Command::Demo(args) => demo::run(&args, &out),
        Command::Plan(args) => plan::plan(&args, &global, &out),
        Command::Split(args) => split::run(&args, &global, &out),
        Command::Validate(args) => validate::run(&args, &global, &out),
        Command::Status(args) => status::run(&args, &global, &out),
        Command::Check(args) => plan::check(&args, &global, &out),
        Command::Inspect(args) => inspect::run(&args, &global, &out),
        Command::Config(args) => config::run(&args, &global, &out),
        Command::Completions(args) => completions::run(&args, &out),
    };
    result.unwrap_or_else(|error| {
        out.error(&in_full(&error));
        ExitCode::from(failure)
    })
}

/// An error with its causes. Many errors here say their cause themselves; it is not said twice.
fn in_full(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |text, cause| match cause.to_string() {
        cause if text.contains(&cause) => text,
        cause if text.is_empty() => cause,
        cause => format!("{text}: {cause}"),
    })
}
