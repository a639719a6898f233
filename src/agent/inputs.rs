//! What a pass reads beside the kernel: the source, the SFs, nv-ipam's store, the clock and who we are.

use std::{
    collections::BTreeMap,
    fs,
    time::{SystemTime, UNIX_EPOCH},
};

use tracing::{info, warn};

use crate::{
    config::Config,
    engine::{
        assignment::Assignment,
        attach::{Match, match_bindings},
        lease::PodHeld,
        status::SourceState,
    },
    model::{BindingName, Observed, Timestamp},
    sf::Finder,
    source::{files::FilesSource, nvipam_store},
    store::{Identity, State},
};

/// The clock of the wall, in seconds.
#[must_use]
pub fn now() -> Timestamp {
    Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
}

/// The identity that the stored state is bound to.
#[must_use]
pub fn identity(config: &Config) -> Identity {
    Identity { node: config.node.clone(), node_uid: None, dpu_serial: None }
}

/// The kernel's name for this boot.
#[must_use]
pub fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

/// The last reading of everything that changes outside the kernel.
#[derive(Debug, Default)]
pub struct Reading {
    fresh: Option<Assignment>,
    state: Option<SourceState>,
    pods: PodHeld,
    pods_error: Option<String>,
}

impl Reading {
    /// Reads the source and nv-ipam's store again. What cannot be read stays as it was read last.
    pub fn read(&mut self, source: &FilesSource, config: &Config) {
        let before = self.state.clone();
        match source.load(&config.node) {
            Ok(assignment) => {
                for problem in &assignment.problems {
                    if self.fresh.as_ref().is_none_or(|f| !f.problems.contains(problem)) {
                        warn!("{problem}");
                    }
                }
                self.fresh = Some(assignment);
                self.state = Some(SourceState::Synced);
            }
            Err(error) => self.state = Some(SourceState::Lost(error.to_string())),
        }
        if before != self.state {
            match &self.state {
                Some(SourceState::Lost(why)) => warn!("the last good assignment carries on: {why}"),
                _ => info!("manifests read"),
            }
        }
        if let Some(path) = &config.nv_ipam_store {
            match nvipam_store::read(path) {
                Ok(pods) => {
                    self.pods = pods;
                    self.pods_error = None;
                }
                Err(error) => self.pods_error = Some(error.to_string()),
            }
        }
    }

    /// The assignment in force: the last reading, completed by what is stored. `None` if nothing was ever heard.
    #[must_use]
    pub fn assignment(&self, state: &State) -> Option<Assignment> {
        match (&self.fresh, &state.assignment) {
            (Some(fresh), Some(stored)) => Some(fresh.clone().succeed(stored, &state.leases.pools())),
            (Some(fresh), None) => Some(fresh.clone()),
            (None, stored) => stored.clone(),
        }
    }

    /// Which SF each binding means now.
    pub fn matches(&self, finder: &mut Finder, observed: &Observed, config: &Config) -> BTreeMap<BindingName, Match> {
    X(&observed.links))
    }

    /// What nv-ipam holds for Pods of this node.
    #[must_use]
    pub fn pods(&self) -> &PodHeld {
        &self.pods
    }

    /// How the source is.
    #[must_use]
    pub fn source_state(&self) -> SourceState {
        self.state.clone().unwrap_or_else(|| SourceState::Lost("not read yet".to_owned()))
    }

    /// What an operator should know of it.
    pub fn notes(&self) -> impl Iterator<Item = String> {
        self.pods_error.iter().cloned()
    }
}
