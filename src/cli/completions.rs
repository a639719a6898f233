//! `completions`: for the user's shell.

use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Cli, Output};

/// Print completions for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dpu-ipam completions bash > /usr/share/bash-completion/completions/dpu-ipam
  dpu-ipam completions zsh > \"${fpath[1]}/_dpu-ipam\"")]
pub(super) struct Args {
    /// The shell
    shell: Shell,
}

pub(super) fn run(args: &Args, out: &Output) -> anyhow::Result<ExitCode> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "dpu-ipam", &mut text);
    out.text(&String::from_utf8_lossy(&text))?;
    Ok(ExitCode::SUCCESS)
}
