//! `config`: the configuration in force, or the documented default.

use std::process::ExitCode;

use super::{Format, Global, Output, settings::Settings};
use crate::config::Config;

/// Print the configuration in force, or with --default a file that explains every field
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dpu-ipam config --default > /etc/dpu-ipam/config.yaml
  dpu-ipam config --config ./config.yaml

Exit codes: 0 ok, 1 the configuration is not valid, 2 wrong usage")]
pub(super) struct Args {
    /// Print the default configuration with its explanations
    #[arg(long)]
    default: bool,
    #[command(flatten)]
    settings: Settings,
}

pub(super) fn run(args: &Args, global: &Global, out: &Output) -> anyhow::Result<ExitCode> {
    let text = if args.default { Config::default_yaml().to_owned() } else { args.settings.load()?.to_yaml() };
    if global.output == Some(Format::Json) {
        out.json(&serde_saphyr::from_str::<serde_json::Value>(&text)?)?;
    } else {
        out.text(&text)?;
    }
    Ok(ExitCode::SUCCESS)
}
