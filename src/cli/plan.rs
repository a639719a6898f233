//! `plan` and `check`: what a pass would do now. Nothing is changed, nothing stored.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use ipnet::IpNet;
use serde::Serialize;

use super::{
    Format, Global, Output, input,
    settings::Settings,
    snapshot::Snapshot,
    status::{HEADS, cells, message},
};
use crate::{
    agent::{Reading, now},
    config::Config,
    engine::{
        self, Inputs, Pass,
        assignment::Assignment,
        lease::Lease,
        status::{BindingStatus, Facts, Reason, SourceState, State, status},
    },
    model::{Attachment, BindingName, PoolRef, Step},
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
    /// Plan against this state instead of the kernel's (what `inspect -o json` prints)
    #[arg(long, value_name = "FILE")]
    observed: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
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
    let dry = Dry::run(&config, &args.filename, args.observed.as_deref(), out)?;
    match global.output.unwrap_or(Format::Table) {
        Format::Table => {
            dry.bindings_table(out)?;
            let steps = dry.steps_in_words();
            out.text(if steps.is_empty() { "\nnothing to do\n" } else { "\nto do:\n" })?;
            for step in steps {
                out.text(&format!("  {step}\n"))?;
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
    let dry = Dry::run(&config, &[], None, out)?;
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
    bindings: Vec<Outlook<'a>>,
    leases: &'a [Lease],
    steps: &'a [Step],
    findings: &'a [engine::plan::Finding],
    problems: &'a [engine::assignment::Problem],
}

/// What a binding is going to have. Not whether it is ready: nothing was applied.
#[derive(Serialize)]
struct Outlook<'a> {
    name: &'a BindingName,
    #[serde(skip_serializing_if = "Option::is_none")]
    interface: Option<&'a Attachment>,
    pools: &'a [PoolRef],
    addresses: &'a [IpNet],
    gateways: &'a [IpAddr],
    /// What is in the way, or what is to be known.
    #[serde(skip_serializing_if = "Option::is_none")]
    remark: Option<Remark<'a>>,
}

#[derive(Serialize)]
struct Remark<'a> {
    reason: Reason,
    message: &'a str,
}

impl<'a> From<&'a BindingStatus> for Outlook<'a> {
    fn from(binding: &'a BindingStatus) -> Self {
        let BindingStatus { name, state: _, reason, message, interface, pools, addresses, gateways } =
            binding;
        let remark = (*reason != Reason::Applied).then_some(Remark { reason: *reason, message });
        Self { name, interface: interface.as_ref(), pools, addresses, gateways, remark }
    }
}

/// What `check` prints.
#[derive(Serialize)]
struct Difference {
    about: String,
    message: String,
}

impl Dry {
    fn run(
        config: &Config,
        manifests: &[PathBuf],
        observed: Option<&Path>,
        out: &Output,
    ) -> anyhow::Result<Self> {
        let snapshot = match observed {
            Some(path) => Snapshot::read(path)?,
            None => Snapshot::take(config, out)?,
        };
        let state = &snapshot.state;
        let mut reading = Reading::new(config);
        if manifests.is_empty() {
            reading.read(config);
        } else {
            reading.take(Ok(Word::of(&input::read(manifests)?, &config.node)));
            reading.refresh_pods();
        }
        let heard = reading.assignment(state).map(|(assignment, _)| assignment);
        let unheard = heard.is_none();
        let assignment = heard.unwrap_or_else(|| Assignment::empty(config.node.clone()));
        let source = reading.source_state().clone();
        let matches = snapshot.matches(config);
        let now = now();
        let mut pass = engine::pass(&Inputs {
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
        if unheard {
            // The agent touches nothing before it heard something.
            pass.plan.steps.clear();
        }
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
            bindings: self.bindings.iter().map(Outlook::from).collect(),
            leases: &self.pass.book.leases,
            steps: &self.pass.plan.steps,
            findings: &self.pass.plan.findings,
            problems: &self.assignment.problems,
        }
    }

    fn steps_in_words(&self) -> Vec<String> {
        self.pass.plan.steps.iter().map(|s| s.words(|i| self.snapshot.name(i))).collect()
    }

    fn bindings_table(&self, out: &Output) -> anyhow::Result<()> {
        let rows: Vec<_> = self.bindings.iter().map(cells).collect();
        out.table(HEADS, &rows)?;
        Ok(out.paragraph(self.bindings.iter().filter_map(message))?)
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
