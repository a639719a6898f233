//! `plan` and `check`: what a pass would do now. Nothing is changed, nothing stored.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use serde::Serialize;

use super::{Format, Global, Output, input, settings::Settings, snapshot::Snapshot};
use crate::{
    agent::{Reading, now},
    config::Config,
    engine::{
        self, Inputs, Pass,
        assignment::Assignment,
        lease::Lease,
        status::{BindingStatus, Facts, SourceState, State, status},
    },
    model::Step,
    source::files::Word,
    store,
};

/// Show the leases and the steps that the agent would take now
///
/// Reads the manifests (those of the configuration unless -f is given), the store and the kernel, and prints what `run`
/// would do, without doing it. With --observed the kernel's state, the SFs and the stored leases come from a file that
/// `dpu-ipam inspect -o json` wrote, here or on another machine.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dpu-ipam plan
  dpu-ipam plan -f manifests/ --node dpu-1 --config ./config.yaml
  dpu-ipam plan -f manifests/ --node dpu-1 --config ./config.yaml --observed snapshot.json -o json

Exit codes: 0 nothing to do, 1 something to do, 2 error")]
pub(super) struct PlanArgs {
    /// Manifest to read instead of those of the configuration: a file, a directory, or - for standard input; repeatable
    #[arg(short, long, value_name = "FILE|DIR|-")]
    filename: Vec<PathBuf>,
    #[command(flatten)]
    settings: Settings,
    /// Plan against this state instead of the kernel's (what `inspect -o json` prints)
    #[arg(long, value_name = "FILE")]
    observed: Option<PathBuf>,
}

/// Compare source, store and kernel
///
/// Says what differs from what the agent would have it: problems of the manifests, bindings that are not ready, and the
/// steps that would mend the kernel's state.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dpu-ipam check && echo fine
  dpu-ipam check -o json

Exit codes: 0 no differences, 1 differences, 2 error")]
pub(super) struct CheckArgs {
    #[command(flatten)]
    settings: Settings,
}

pub(super) fn plan(args: &PlanArgs, global: &Global, out: &Output) -> anyhow::Result<ExitCode> {
    let config = args.settings.load()?;
    let dry = Dry::run(config, &args.filename, args.observed.as_deref())?;
    match global.output.unwrap_or(Format::Table) {
        Format::Table => {
            out.text(&dry.bindings_table())?;
            let steps = dry.steps_in_words();
            out.text(if steps.is_empty() { "\nnothing to do\n" } else { "\n" })?;
            for step in steps {
                out.text(&format!("{step}\n"))?;
            }
        }
        Format::Yaml => out.yaml(&dry.report())?,
        Format::Json => out.json(&dry.report())?,
    }
    for problem in &dry.assignment.problems {
        out.error(&problem.to_string());
    }
    Ok(if dry.pass.plan.steps.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

pub(super) fn check(args: &CheckArgs, global: &Global, out: &Output) -> anyhow::Result<ExitCode> {
    let config = args.settings.load()?;
    let dry = Dry::run(config, &[], None)?;
    let differences = dry.differences();
    match global.output.unwrap_or(Format::Table) {
        Format::Table => {
            for difference in &differences {
                out.text(&format!("{}: {}\n", difference.about, difference.message))?;
            }
            if differences.is_empty() {
                out.text("source, store and kernel agree\n")?;
            }
        }
        Format::Yaml => out.yaml(&differences)?,
        Format::Json => out.json(&differences)?,
    }
    Ok(if differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A pass that was only computed.
struct Dry {
    snapshot: Snapshot,
    assignment: Assignment,
    pass: Pass,
    bindings: Vec<BindingStatus>,
    source: SourceState,
    agent_runs: bool,
}

/// What `plan` prints for machines.
#[derive(Serialize)]
struct Report<'a> {
    bindings: &'a [BindingStatus],
    leases: &'a [Lease],
    steps: &'a [Step],
    findings: &'a [engine::plan::Finding],
    problems: &'a [engine::assignment::Problem],
}

/// What `check` prints.
#[derive(Serialize)]
struct Difference {
    about: String,
    message: String,
}

impl Dry {
    fn run(config: Config, manifests: &[PathBuf], observed: Option<&Path>) -> anyhow::Result<Self> {
        let snapshot = match observed {
            Some(path) => Snapshot::read(path)?,
            None => Snapshot::take(&config)?,
        };
        let state = &snapshot.state;
        let mut reading = Reading::new(&config);
        if manifests.is_empty() {
            reading.read(&config);
        } else {
            reading.take(Ok(Word::of(&input::read(manifests)?, &config.node)));
            reading.refresh_pods();
        }
        let (assignment, _) =
            reading.assignment(state).unwrap_or_else(|| (Assignment::empty(config.node.clone()), None));
        let source = reading.source_state().clone();
        let matches = snapshot.matches(&config);
        let now = now();
        let pass = engine::pass(&Inputs {
            bindings: &config.bindings,
            numbers: &config.numbers,
            quarantine: config.quarantine,
            assignment: &assignment,
            book: &state.leases,
            owned: &state.owned,
            matches: &matches,
            observed: &snapshot.observed,
            pods: reading.pods(),
            now,
        });
        let facts = Facts {
            bindings: &config.bindings,
            assignment: &assignment,
            assignment_time: None,
            source: &source,
            matches: &matches,
            failures: &[],
            notes: &[],
            agent_version: env!("CARGO_PKG_VERSION"),
            now,
        };
        let bindings = status(&facts, &pass).bindings;
        Ok(Self {
            agent_runs: store::is_held(&config.state_dir),
            snapshot,
            assignment,
            pass,
            bindings,
            source,
        })
    }

    fn report(&self) -> Report<'_> {
        Report {
            bindings: &self.bindings,
            leases: &self.pass.book.leases,
            steps: &self.pass.plan.steps,
            findings: &self.pass.plan.findings,
            problems: &self.assignment.problems,
        }
    }

    fn steps_in_words(&self) -> Vec<String> {
        self.pass.plan.steps.iter().map(|s| s.words(|i| self.snapshot.name(i))).collect()
    }

    fn bindings_table(&self) -> String {
        let rows: Vec<_> = self.bindings.iter().map(super::status::row).collect();
        let mut text = super::output::table(super::status::HEADS, &rows);
        for binding in self.bindings.iter().filter(|b| !b.message.is_empty()) {
            text.push_str(&format!("\n{}: {}\n", binding.name, binding.message));
        }
        text
    }

    fn differences(&self) -> Vec<Difference> {
        let difference = |about: &str, message: String| Difference { about: about.to_owned(), message };
        let mut all = Vec::new();
        if let SourceState::Lost(why) = &self.source {
            all.push(difference("source", why.clone()));
        }
        all.extend(self.assignment.problems.iter().map(|p| difference("source", p.to_string())));
        for binding in self.bindings.iter().filter(|b| b.state != State::Ready) {
            all.push(difference(&format!("binding {}", binding.name), binding.message.clone()));
        }
        let stored = &self.snapshot.state.leases;
        if self.pass.book != *stored {
            let new = self.pass.book.leases.iter().filter(|l| !stored.leases.contains(l));
            all.extend(new.map(|l| {
                difference("store", format!("{} is to lease {} of {}", l.binding, l.address, l.pool))
            }));
            let gone = stored.leases.iter().filter(|l| !self.pass.book.leases.contains(l));
            all.extend(gone.map(|l| {
                difference("store", format!("{} is to give up {} of {}", l.binding, l.address, l.pool))
            }));
        }
        all.extend(
            self.steps_in_words().into_iter().map(|words| difference("kernel", format!("to do: {words}"))),
        );
        if !all.is_empty() && !self.agent_runs {
            all.push(difference("agent", "none is running on this state directory".to_owned()));
        }
        all
    }
}
