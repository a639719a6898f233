//! Arguments and output of the program; one file per subcommand. Nothing is decided here.

mod input;
mod output;
mod split;
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
    Split(split::Args),
    Validate(validate::Args),
}

/// Reads the arguments and runs the subcommand. Wrong usage ends the process with 2, as clap does.
#[must_use]
pub fn main() -> ExitCode {
    let Cli { global, command } = Cli::parse();
    let out = Output::new(global.no_color);
    let result = match command {
        Command::Split(args) => split::run(&args, &global, &out),
        Command::Validate(args) => validate::run(&args, &global, &out),
    };
    result.unwrap_or_else(|error| {
        out.error(&format!("{error:#}"));
        ExitCode::FAILURE
    })
}
