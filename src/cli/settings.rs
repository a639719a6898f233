//! Options that say which configuration a subcommand works with.

use std::path::PathBuf;

use crate::config::{Config, ConfigError, Flags, Surroundings};

/// `--config`, `--node`, `--state-dir`, `--runtime-dir`.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Configuration")]
pub(super) struct Settings {
    /// Configuration file [env: DPU_IPAM_CONFIG; default: /etc/dpu-ipam/config.yaml]
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// This node's name in the cluster [env: DPU_IPAM_NODE; default: the host name]
    #[arg(long, value_name = "NAME")]
    pub(super) node: Option<String>,
    /// Where the leases are kept [env: DPU_IPAM_STATE_DIR, STATE_DIRECTORY; default: /var/lib/dpu-ipam]
    #[arg(long, value_name = "DIR")]
    pub(super) state_dir: Option<PathBuf>,
    /// Where the status file is [env: DPU_IPAM_RUNTIME_DIR, RUNTIME_DIRECTORY; default: /run/dpu-ipam]
    #[arg(long, value_name = "DIR")]
    pub(super) runtime_dir: Option<PathBuf>,
}

impl Settings {
    /// The checked configuration.
    ///
    /// # Errors
    /// It cannot be read, or is not valid.
    pub(super) fn load(&self) -> Result<Config, ConfigError> {
        let Self { config, node, state_dir, runtime_dir } = self.clone();
        Config::load(&Flags { config, node, state_dir, runtime_dir }, &Surroundings::of_process())
    }
}
