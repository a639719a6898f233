//! Flags, environment and `/etc/dpu-ipam/config.yaml`, merged and checked. Texts end here: what comes out are the nouns
//! of [`crate::model`]. Never touches the network, and reads no variable by itself: the environment comes in.
//!
//! A value is taken from the first that has it: flag, environment, file, default.

mod check;
mod duration;
mod file;
mod position;
#[cfg(test)]
mod tests;

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::model::{Binding, NodeName, RoutingNumbers};

/// Where the file is when nobody says otherwise. Only this one may be missing.
pub const DEFAULT_FILE: &str = "/etc/dpu-ipam/config.yaml";
/// Default of `source.files.path`.
pub const DEFAULT_MANIFESTS: &str = "/etc/dpu-ipam/manifests.d";
/// Default of the state directory.
pub const DEFAULT_STATE_DIR: &str = "/var/lib/dpu-ipam";
/// Default of the run-time directory.
pub const DEFAULT_RUNTIME_DIR: &str = "/run/dpu-ipam";
/// Where nv-ipam's node daemon keeps its store unless its `--store-file` says otherwise.
pub const DEFAULT_NV_IPAM_STORE: &str = "/var/lib/cni/nv-ipam/store";

/// Everything that the user may decide, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// This node's name in the cluster.
    pub node: NodeName,
    /// Where the assignment comes from.
    pub source: SourceConfig,
    /// Which SF gets an address from which pool, in the file's order.
    pub bindings: Vec<Binding>,
    /// Where the store is.
    pub state_dir: PathBuf,
    /// Where the status file is.
    pub runtime_dir: PathBuf,
    /// Protocol, metric, tables and priority of our routes and rules.
    pub numbers: RoutingNumbers,
    /// How long an address rests before another binding may have it.
    pub quarantine: Duration,
    /// How often everything is looked at even if nothing woke us.
    pub resync: Duration,
    /// The store of nv-ipam's node daemon, whose addresses count as used; `None` = do not look.
    pub nv_ipam_store: Option<PathBuf>,
}

/// Where the assignment comes from. The file may also say `kubernetes`; the check refuses that, so that no code below
/// has to handle a source that this version does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceConfig {
    /// Manifests in these files and directories; never empty.
    Files {
        /// Absolute paths.
        paths: Vec<PathBuf>,
    },
}

/// What the command line says. `None` = not said.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Flags {
    /// `--config`
    pub config: Option<PathBuf>,
    /// `--node`
    pub node: Option<String>,
    /// `--state-dir`
    pub state_dir: Option<PathBuf>,
    /// `--runtime-dir`
    pub runtime_dir: Option<PathBuf>,
}

/// The process's surroundings: what an environment variable says, and the host name.
pub struct Surroundings<'a> {
    /// The value of a variable; `None` if unset.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// The host name, in any case.
    pub hostname: &'a dyn Fn() -> io::Result<String>,
}

impl Surroundings<'static> {
    /// Those of this process.
    #[must_use]
    pub fn of_process() -> Self {
        Self {
            variable: &|name| std::env::var(name).ok(),
            hostname: &|| fs::read_to_string("/proc/sys/kernel/hostname").map(|name| name.trim().to_owned()),
        }
    }
}

/// One thing that is wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file, or the flag or variable that said it.
    pub origin: String,
    /// Line in the file, from 1.
    pub line: Option<u64>,
    /// The field's path, as in `interfaces[1].match.netdev`; empty when the whole is meant.
    pub field: String,
    /// What is wrong, and how to mend it.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.field.is_empty() {
            write!(f, ": {}", self.field)?;
        }
        write!(f, ": {}", self.message)
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read configuration {}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// All that is wrong with it, one line each, in the file's order.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Invalid(Vec<Problem>),
}

impl Config {
    /// Reads the file that flags or `DPU_IPAM_CONFIG` name, or the default one if it is there, and checks everything.
    ///
    /// # Errors
    /// The file cannot be read, or it and the rest do not make a valid configuration (all problems at once).
    pub fn load(flags: &Flags, around: &Surroundings<'_>) -> Result<Self, ConfigError> {
        let named = flags.config.clone().or_else(|| (around.variable)("DPU_IPAM_CONFIG").map(PathBuf::from));
        let path = named.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_FILE));
        let text = match fs::read_to_string(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound && named.is_none() => String::new(),
            Err(source) => return Err(ConfigError::Read { path, source }),
            Ok(text) => text,
        };
        Self::from_text(&path, &text, flags, around)
    }

    /// Checks `text` as if it stood in the file `path`, together with flags and environment.
    ///
    /// # Errors
    /// All that is wrong: the first problem of form, or else every problem of meaning.
    pub fn from_text(
        path: &Path,
        text: &str,
        flags: &Flags,
        around: &Surroundings<'_>,
    ) -> Result<Self, ConfigError> {
        let origin = path.display().to_string();
        let file = file::parse(&origin, text).map_err(|problem| ConfigError::Invalid(vec![problem]))?;
        check::check(&origin, text, file, flags, around).map_err(ConfigError::Invalid)
    }

    /// A file with every field, its default and its meaning. It parses, and says what an empty file says.
    #[must_use]
    pub fn default_yaml() -> &'static str {
        include_str!("config/default.yaml")
    }

    /// The effective configuration as a file.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        // Only an unwritable sink or a key that is no text can fail; there is neither.
        serde_saphyr::to_string(&file::File::from(self)).unwrap_or_default()
    }
}
