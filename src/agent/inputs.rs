//! What a pass reads beside the kernel: the source, the SFs, nv-ipam's store, the clock and who we are.

use std::{
    fs,
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use tracing::{info, warn};

use crate::{
    config::{Config, SourceConfig},
    engine::{
        assignment::{Assignment, Problem},
        lease::PodHeld,
        status::SourceState,
    },
    model::Timestamp,
    source::{
        files::{self, SourceError, Word},
        nvipam_store::NvIpamStore,
    },
    store::{Identity, State},
};

/// The clock on the wall.
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
#[derive(Debug)]
pub struct Reading {
    /// The last complete word of the source.
    fresh: Option<Assignment>,
    fresh_time: Option<Timestamp>,
    /// What the source says of which a part cannot be read: only good where nothing better is known.
    partial: Option<Assignment>,
    /// What is wrong with the source now.
    problems: Vec<Problem>,
    state: SourceState,
    pod_store: Option<NvIpamStore>,
    pods: PodHeld,
    pods_error: Option<String>,
    /// Whether anything is another than when [`Self::news`] was asked last.
    changed: bool,
}

impl Reading {
    /// Nothing read yet.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self {
            fresh: None,
            fresh_time: None,
            partial: None,
            problems: Vec::new(),
            state: SourceState::Lost("the manifests were not read yet".to_owned()),
            pod_store: config.nv_ipam_store.clone().map(NvIpamStore::new),
            pods: PodHeld::new(),
            pods_error: None,
            changed: true,
        }
    }

    /// Whether anything was read since the last question that was not so before.
    pub fn news(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Looks at another store of nv-ipam from the next read on.
    pub fn set_pod_store(&mut self, path: Option<PathBuf>) {
        self.pod_store = path.map(NvIpamStore::new);
        self.pods = PodHeld::new();
        self.pods_error = None;
        self.changed = true;
    }

    /// Reads source and nv-ipam's store again. What cannot be read stays as it was read last.
    pub fn read(&mut self, config: &Config) {
        let SourceConfig::Files { paths } = &config.source;
        self.take(files::load(paths, &config.node));
        self.refresh_pods();
    }

    /// Takes note of what the source says.
    pub fn take(&mut self, word: Result<Word, SourceError>) {
        let state = match word {
            Ok(Word { mut assignment, complete }) => {
                let problems = std::mem::take(&mut assignment.problems);
                for problem in problems.iter().filter(|p| !self.problems.contains(p)) {
                    warn!("{problem}");
                }
                let place = if complete { &mut self.fresh } else { &mut self.partial };
                self.changed |= self.problems != problems || place.as_ref() != Some(&assignment);
                *place = Some(assignment);
                self.problems = problems;
                if complete {
                    self.fresh_time = Some(now());
                    SourceState::Synced
                } else {
                    SourceState::Lost(
                        "some manifest is not whole, and until it is nothing new is taken over".to_owned(),
                    )
                }
            }
            Err(error) => SourceState::Lost(error.to_string()),
        };
        if state != self.state {
            match &state {
                SourceState::Lost(why) => warn!("the last good assignment carries on: {why}"),
                SourceState::Synced => info!("manifests read"),
            }
            self.state = state;
            self.changed = true;
        }
    }

    /// Reads nv-ipam's store if it changed.
    pub fn refresh_pods(&mut self) {
        let Some(store) = &mut self.pod_store else { return };
        let error = match store.refresh() {
            Ok(pools) => {
                let all = pools.values().flatten();
                let pods: PodHeld = all.map(|(address, owner)| (*address, owner.clone())).collect();
                self.changed |= pods != self.pods;
                self.pods = pods;
                None
            }
            Err(error) => Some(error.to_string()),
        };
        if error != self.pods_error {
            if let Some(error) = &error {
                warn!("{error}; the addresses of Pods read before still count as used");
            }
            self.pods_error = error;
            self.changed = true;
        }
    }

    /// The assignment in force, and since when it is known: the last reading, completed by what is stored. `None` if
    /// nothing was ever heard.
    #[must_use]
    pub fn assignment(&self, state: &State) -> Option<(Assignment, Option<Timestamp>)> {
        let stored = state.assignment.as_ref();
        let (assignment, time) = match (&self.fresh, stored) {
            (Some(fresh), Some(stored)) => {
                (fresh.clone().succeed(stored, &state.leases.pools()), self.fresh_time)
            }
            (Some(fresh), None) => (fresh.clone(), self.fresh_time),
            (None, Some(stored)) => (stored.clone(), state.assignment_time),
            (None, None) => (self.partial.clone()?, None),
        };
        Some((Assignment { problems: self.problems.clone(), ..assignment }, time))
    }

    /// What nv-ipam holds for Pods of this node.
    #[must_use]
    pub fn pods(&self) -> &PodHeld {
        &self.pods
    }

    /// How the source is.
    #[must_use]
    pub fn source_state(&self) -> &SourceState {
        &self.state
    }

    /// What an operator should know of it.
    pub fn notes(&self) -> impl Iterator<Item = String> {
        self.pods_error.iter().cloned()
    }
}
