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

use clap::{Parser, Subcommand, ValueEnum};

pub use output::Output;

/// The arguments of the program.
#[derive(Debug, Parser)]
#[command(name = "dpu-ipam", version, about, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options that every subcommand takes.
#[derive(Debug, clap::Args)]
pub struct Global {
    /// How to print the result (the default depends on the command)
    #[arg(short, long, global = true, value_enum, value_name = "FORMAT")]
    output: Option<Format>,
    /// Print without colors
    #[arg(long, global = true)]
    no_color: bool,
}

/// Formats of the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Columns for humans
    Table,
    /// YAML
    Yaml,
    /// JSON
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
        out.error(&format!("{error:#}"));
        ExitCode::from(failure)
    })
}
