//! The node's loop: looks at everything, lets the engine decide, stores, applies, looks again, reports. Decides nothing
//! about addresses itself.
//!
//! Every wake-up means only "look again". Where the kernel says on which interface something moved, only that one is looked at
//! (`repair`), which brings a lost address back in the time of a few system calls; everything else is a full
//! pass.

mod error;
mod inputs;
mod repair;
mod waits;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::Path,
    time::{Duration, Instant},
};

use tokio::signal::unix::{SignalKind, signal};
use tracing::{debug, error, info, warn};

use repair::asks_for;

pub use error::{AgentError, PassError};
pub use inputs::{Reading, boot_id, identity, now};

use self::{
    repair::Pending,
    waits::{Changes, until},
};
use crate::{
    config::{Config, ConfigError},
    engine::{
        self, Inputs, Pass,
        assignment::Assignment,
        attach::{Match, match_bindings},
        drift::Repairs,
        status::{Facts, Failure, SourceState, State as BindingState, Status, status},
    },
    kernel::{Kernel, Watch},
    model::{BindingName, Link, Observed, Step, Timestamp},
    report::local::StatusFile,
    sf::Finder,
    store::{State, Store, StoreError},
};

/// A pass applies and looks again at most so often before it reports what is left.
const ROUNDS: usize = 3;
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// First and longest pause after a pass that could not read the kernel.
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));

/// Reads the configuration again.
pub type Reload = Box<dyn Fn() -> Result<Config, ConfigError>>;

/// The agent of one node.
pub struct Agent {
    config: Config,
    reload: Reload,
    kernel: Kernel,
    finder: Finder,
    /// `None` while it cannot be had: the agent goes on without.
    store: Option<Store>,
    state: State,
    reading: Reading,
    report: StatusFile,
    repairs: Repairs,
    started: Instant,
    settled: Option<Settled>,
    pending: Option<Pending>,
    /// Something beside the kernel's state is another than when the last complete pass was computed.
    news: bool,
    /// The last attempt to store failed.
    unsaved: bool,
    /// When everything is looked at since something moved elsewhere.
    sweep: Option<Instant>,
    /// When and by whom something was removed last from an interface of ours (0 = a rule).
    culprits: HashMap<u32, (Instant, String)>,
    notes: Vec<String>,
}

/// What the last complete pass came to; scoped repairs work towards it.
#[derive(Debug)]
struct Settled {
    pass: Pass,
    /// What the kernel had in the end.
    observed: Observed,
    status: Status,
    /// Repairs that are held back.
    contended: HashSet<Step>,
    /// All is as it should be, and no clock runs: as long as nothing changes there is nothing to compute.
    rests: bool,
}

impl Agent {
    /// Opens all that the agent works with. Changes nothing in the network.
    ///
    /// `reload` reads the configuration again on SIGHUP.
    ///
    /// # Errors
    /// Another instance runs, netlink cannot be used, or the process may not change the network.
    pub fn open(config: Config, reload: Reload) -> Result<Self, AgentError> {
        let mut kernel = Kernel::open()?;
        if !kernel.probe()?.may_change {
            return Err(AgentError::NotPermitted);
        }
        let (store, state, notes) = open_store(&config)?;
        Ok(Self {
            report: StatusFile::new(&config.runtime_dir),
            reading: Reading::new(&config),
            config,
            reload,
            kernel,
            finder: Finder::new(Path::new("/sys")),
            store,
            state,
            repairs: Repairs::default(),
            started: Instant::now(),
            settled: None,
            pending: None,
            sweep: None,
            news: true,
            unsaved: false,
            culprits: HashMap::new(),
            notes,
        })
    }

    /// One pass, then the end. True if every binding is ready.
    ///
    /// # Errors
    /// The kernel cannot be read.
    pub fn once(mut self) -> Result<Status, AgentError> {
        self.read();
        self.pass()?;
        Ok(self.settled.map_or_else(|| Status::empty(self.config.node, VERSION, now()), |s| s.status))
    }

    /// Reads the source and nv-ipam's store. What cannot be read stays as it was read last.
    pub fn read(&mut self) {
        self.reading.read(&self.config);
    }

    /// Runs until SIGTERM or SIGINT, and leaves the network as it is then.
    ///
    /// # Errors
    /// What ends the agent before that; its supervisor starts it again.
    pub async fn run(mut self) -> Result<(), AgentError> {
        let io = |operation| move |source| AgentError::Io { operation, source };
        let mut hup = signal(SignalKind::hangup()).map_err(io("listen for SIGHUP"))?;
        let mut term = signal(SignalKind::terminate()).map_err(io("listen for SIGTERM"))?;
        let mut int = signal(SignalKind::interrupt()).map_err(io("listen for SIGINT"))?;
        // Both listen before the first look, so that no change falls between.
        let mut watch = Watch::open(&mut self.kernel)?;
        let mut changes = Changes::watch(&self.config);
        self.read();
        let mut look = true;
        let mut retry = RETRY.0;
        let mut resync = Instant::now();
        loop {
            if look {
                resync = Instant::now() + self.config.resync;
                match self.pass() {
                    Ok(()) => retry = RETRY.0,
                    Err(error) => {
                        error!("pass given up, the network stays as it is: {error}");
                        resync = Instant::now() + retry;
                        retry = (retry * 2).min(RETRY.1);
                    }
                }
            }
            let now = Instant::now();
            let held = self.repairs.next_due(self.started.elapsed()).map(|due| now + due);
            let quiet = self.pending.as_ref().map(Pending::due);
            look = tokio::select! {
                biased;
                _ = term.recv() => break,
                _ = int.recv() => break,
                _ = hup.recv() => {
                    if self.on_hangup() {
                        changes = Changes::watch(&self.config);
                    }
                    true
                }
                () = until(quiet) => self.look_again(),
                () = until(self.sweep) => true,
                () = changes.changed() => {
                    self.read();
                    true
                }
                () = until(held) => {
                    self.repairs.forget(self.started.elapsed());
                    true
                }
                () = until(Some(resync)) => {
                    self.repairs.forget(self.started.elapsed());
                    self.read();
                    true
                }
                // Last, lest a flood of events keeps all else away for ever.
                wake = watch.next() => match wake {
                    Ok(wake) => self.on_wake(&wake),
                    Err(error) => {
                        warn!("{error}; opened anew");
                        watch = Watch::open(&mut self.kernel)?;
                        true
                    }
                },
            };
        }
        info!("ending; the network stays as it is");
        Ok(())
    }

    /// Reads configuration and source again. True if the source is another one.
    fn on_hangup(&mut self) -> bool {
        let before = self.config.source.clone();
        match (self.reload)() {
            Ok(config)
                if (&config.state_dir, &config.node) == (&self.config.state_dir, &self.config.node) =>
            {
                info!("configuration read again");
                if config.runtime_dir != self.config.runtime_dir {
                    self.report = StatusFile::new(&config.runtime_dir);
                }
                if config.nv_ipam_store != self.config.nv_ipam_store {
                    self.reading.set_pod_store(config.nv_ipam_store.clone());
                }
                self.config = config;
                self.news = true;
            }
            Ok(_) => error!("the node's name or the state directory changed; start the agent anew for that"),
            Err(error) => error!("configuration left as it was: {error}"),
        }
        self.read();
        self.config.source != before
    }

    /// A complete pass: look at everything, compute, store, apply, look again, report.
    ///
    /// # Errors
    /// The kernel or the SFs cannot be read; nothing was changed.
    pub fn pass(&mut self) -> Result<(), PassError> {
        let mut failures: Vec<Failure> = Vec::new();
        let mut contended = HashSet::new();
        self.pending = None;
        self.sweep = None;
        for round in 0..=ROUNDS {
            let observed = self.kernel.observe()?;
            self.news |= self.reading.news();
            if !self.news && self.settled.as_ref().is_some_and(|s| s.rests(&observed)) {
                return Ok(());
            }
            let sfs = self.finder.discover(&observed.links)?;
            let matches = match_bindings(&self.config.bindings, &sfs);
            let Some((assignment, assignment_time)) = self.reading.assignment(&self.state) else {
                // Never was anything heard: nothing is known well enough to touch anything.
                self.report_unheard();
                return Ok(());
            };
            let pass = engine::pass(&Inputs {
                bindings: &self.config.bindings,
                numbers: &self.config.numbers,
                quarantine: self.config.quarantine,
                assignment: &assignment,
                book: &self.state.leases,
                owned: &self.state.owned,
                matches: &matches,
                observed: &observed,
                pods: self.reading.pods(),
                now: now(),
            });
            self.store(&pass, assignment, assignment_time);

            let name = |ifindex: u32| name_of(&observed.links, ifindex);
            if round == ROUNDS || pass.plan.steps.iter().all(|s| contended.contains(s)) {
                failures.retain(|f| pass.plan.steps.contains(&f.step));
                let said = |s: &&Step| contended.contains(*s) || failures.iter().any(|f| f.step == **s);
                let left = pass.plan.steps.iter().filter(|s| !said(s));
                let left: Vec<Failure> = left.map(|s| Failure::unconfirmed(s, name)).collect();
                failures.extend(left);
                let fights = self.repairs.fights().filter(|step| asks_for(&pass.desired, step));
                let mut fights: Vec<_> = fights
                    .map(|s| Failure::contended(s, self.culprit(s.ifindex().unwrap_or(0)), name))
                    .collect();
                fights.sort_by(|a, b| a.message.cmp(&b.message));
                failures.extend(fights);
                self.settle(pass, observed, &matches, &failures, contended);
                return Ok(());
            }
            let at = self.started.elapsed();
            let settled = self.settled.as_ref();
            let undone = |step: &Step| settled.is_some_and(|s| asks_for(&s.pass.desired, step));
            let repairs = &mut self.repairs;
            let (admitted, held): (Vec<Step>, Vec<Step>) =
                pass.plan.steps.into_iter().partition(|step| !undone(step) || repairs.admit(step, at));
            contended.extend(held);
            let results = self.kernel.apply(&admitted, self.config.numbers.protocol);
            let mut repaired = Vec::new();
            for (step, result) in admitted.iter().zip(results) {
                debug!("{}", step.words(name));
                failures.retain(|f| f.step != *step);
                match result {
                    Ok(()) if undone(step) => repaired.push(step),
                    Ok(()) => {}
                    Err(error) => {
                        self.repairs.refund(step);
                        let message = format!("{}: {}", step.words(name), error.source);
                        failures.push(Failure { message, contended: false, step: step.clone() });
                    }
                }
            }
            self.log_repairs(&repaired, &observed.links);
        }
        Ok(())
    }

    /// Takes over what the pass decided, and stores it before the first step is taken.
    fn store(&mut self, pass: &Pass, assignment: Assignment, time: Option<Timestamp>) {
        let state = &mut self.state;
        let news = state.assignment.as_ref() != Some(&assignment);
        let same = pass.plan.owned.is_none() && state.leases == pass.book && !news;
        if same && !self.unsaved {
            return;
        }
        state.leases.clone_from(&pass.book);
        if let Some(owned) = &pass.plan.owned {
            state.owned.clone_from(owned);
        }
        if news {
            // The time alone is no news: a resync must not cost a write to the disk.
            state.assignment = Some(assignment);
            state.assignment_time = time;
        }
        self.save();
    }

    /// Stores what must not be lost. A store that cannot be written is said, and never stops the network.
    fn save(&mut self) {
        const NOTE: &str = "the store cannot be written";
        let result = match &mut self.store {
            Some(store) => store.save(&self.state),
            // What is known by now is newer than what may be found there.
            None => Store::open(&self.config.state_dir).and_then(|s| self.store.insert(s).save(&self.state)),
        };
        self.unsaved = result.is_err();
        let had = self.notes.iter().position(|n| n.starts_with(NOTE));
        match result {
            Ok(_) => {
                if let Some(at) = had {
                    info!("the store can be written again");
                    self.notes.remove(at);
                }
            }
            Err(error) if had.is_none() => {
                error!("{NOTE}: {error}; going on without");
                self.notes.push(format!("{NOTE}: {error}"));
            }
            Err(_) => {}
        }
    }

    fn settle(
        &mut self,
        pass: Pass,
        observed: Observed,
        matches: &BTreeMap<BindingName, Match>,
        failures: &[Failure],
        contended: HashSet<Step>,
    ) {
        let Some(assignment) = &self.state.assignment else { return };
        let mut notes = self.notes.clone();
        notes.extend(self.reading.notes());
        let status = status(
            &Facts {
                bindings: &self.config.bindings,
                assignment,
                assignment_time: self.state.assignment_time,
                source: self.reading.source_state(),
                matches,
                failures,
                notes: &notes,
                agent_version: VERSION,
                now: now(),
            },
            &pass,
        );
        log_changes(self.settled.as_ref().map(|s| &s.status), &status);
        self.report.write(&status);
        let done = status.ready() && failures.is_empty() && pass.plan.findings.is_empty();
        let rests = done && !self.unsaved && pass.book.quarantine.is_empty();
        self.settled = Some(Settled { pass, observed, status, contended, rests });
        self.news = false;
    }

    fn report_unheard(&mut self) {
        let mut status = Status::empty(self.config.node.clone(), VERSION, now());
        if let SourceState::Lost(why) = self.reading.source_state() {
            status.notes.push(format!("no assignment yet: {why}"));
        }
        self.report.write(&status);
    }
}

/// The store with what is in it, and what an operator should know of that. A directory that cannot be used stops nobody.
fn open_store(config: &Config) -> Result<(Option<Store>, State, Vec<String>), StoreError> {
    let mut store = match Store::open(&config.state_dir) {
        Ok(store) => store,
        Err(held @ StoreError::Held { .. }) => return Err(held),
        // The first attempt to save says why.
        Err(_) => return Ok((None, State::empty(identity(config), boot_id()), Vec::new())),
    };
    let loaded = store.load(&identity(config), &boot_id());
    let notes: Vec<_> = loaded.sidelined.iter().map(ToString::to_string).collect();
    for note in &notes {
        warn!("{note}");
    }
    Ok((Some(store), loaded.state, notes))
}

/// One line for every binding whose state or addresses changed.
fn log_changes(before: Option<&Status>, after: &Status) {
    for binding in &after.bindings {
        let old = before.and_then(|s| s.bindings.iter().find(|b| b.name == binding.name));
        if old == Some(binding) {
            continue;
        }
        let netdev = binding.interface.as_ref().map_or("-", |i| i.netdev.as_str());
        let addresses: Vec<_> = binding.addresses.iter().map(ToString::to_string).collect();
        let addresses = addresses.join(", ");
        let message =
            if binding.message.is_empty() { String::new() } else { format!(": {}", binding.message) };
        let line = format!("{} on {netdev} [{addresses}] {:?}{message}", binding.name, binding.reason);
        match binding.state {
            BindingState::Ready => info!("{line}"),
            BindingState::Waiting | BindingState::Failed => warn!("{line}"),
        }
    }
}

fn name_of(links: &BTreeMap<u32, Link>, ifindex: u32) -> String {
    links.get(&ifindex).map_or_else(|| format!("interface {ifindex}"), |l| l.name.to_string())
}
