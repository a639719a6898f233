//! The state of a machine as `inspect -o json` prints and `plan --observed` reads it, so that a user's case can be replayed
//! elsewhere.

use std::{collections::BTreeMap, fs, io, path::Path};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::Output;
use crate::{
    agent::{boot_id, identity},
    config::Config,
    engine::attach::{Discovery, Match, match_bindings},
    kernel::Kernel,
    model::{BindingName, Observed},
    sf::Finder,
    store::{State, Store},
};

/// Everything that the planner looks at on a machine.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Snapshot {
    /// The kernel's state.
    #[serde(flatten)]
    pub(super) observed: Observed,
    /// The SFs.
    #[serde(default)]
    pub(super) sfs: Discovery,
    /// What is stored.
    pub(super) state: State,
}

impl Snapshot {
    /// Of this machine, now. Says so if the store is closed to the user.
    ///
    /// # Errors
    /// The kernel or sysfs cannot be read.
    pub(super) fn take(config: &Config, out: &Output) -> anyhow::Result<Self> {
        // Only root may look into it.
        if let Err(error) = fs::read_dir(&config.state_dir)
            && error.kind() != io::ErrorKind::NotFound
        {
            let dir = config.state_dir.display();
            out.warning(&format!("cannot read {dir}: {error}; the stored leases count as none"));
        }
        let observed = Kernel::open()?.observe()?;
        let sfs = Finder::new(Path::new("/sys")).discover(&observed.links)?;
        let (state, _) = Store::peek(&config.state_dir, &identity(config), &boot_id());
        Ok(Self { observed, sfs, state })
    }

    /// Out of a file.
    ///
    /// # Errors
    /// It cannot be read, or is not what `inspect -o json` prints.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_slice(&text)
            .with_context(|| format!("{} is not what `dpu-ipam inspect -o json` prints", path.display()))
    }

    /// Which SF each binding of `config` means.
    pub(super) fn matches(&self, config: &Config) -> BTreeMap<BindingName, Match> {
        match_bindings(&config.bindings, &self.sfs)
    }

    /// An interface's name.
    pub(super) fn name(&self, ifindex: u32) -> String {
        self.observed
            .links
            .get(&ifindex)
            .map_or_else(|| format!("interface {ifindex}"), |l| l.name.to_string())
    }
}
