//! `validate`: one line for each thing that is wrong with manifests.

use std::process::ExitCode;

use serde::Serialize;

use super::{Format, Global, Output, input::Filenames};
use crate::api::{lint::lint, manifest};

/// Could not read.
const UNREADABLE: u8 = 2;

/// Check manifests: one line per problem, all problems at once
///
/// Checks fields and values of every known object as admission would, and what no API server checks: that chains find
/// their interfaces and pools, and that no two nodes share an address. Lines read `Kind/name field.path: message`; with
/// -o json the result is [{object, field, message}].
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dpu-ipam validate -f ipam.yaml
  dpu-ipam validate -f manifests/ -o json
  helm template chart | dpu-ipam validate -f -

Exit codes: 0 valid, 1 invalid, 2 could not read")]
pub(super) struct Args {
    #[command(flatten)]
    files: Filenames,
}

/// A problem with all its fields, also an empty `field`.
#[derive(Serialize)]
struct Line<'a> {
    object: &'a str,
    field: &'a str,
    message: &'a str,
}

pub(super) fn run(args: &Args, global: &Global, out: &Output) -> anyhow::Result<ExitCode> {
    let sources = match args.files.read() {
        Ok(sources) => sources,
        Err(error) => {
            out.error(&super::in_full(&error));
            return Ok(ExitCode::from(UNREADABLE));
        }
    };
    let objects = manifest::decode(&sources);
    let findings = lint(&objects);
    for name in &objects.skipped {
        out.note(&format!("{name} is skipped: its kind plays no part here"));
    }
    for note in &findings.notes {
        out.note(note);
    }
    let lines: Vec<_> = findings
        .problems
        .iter()
        .map(|p| Line { object: &p.object, field: &p.field, message: &p.message })
        .collect();
    match global.output.unwrap_or(Format::Table) {
        Format::Table => out.text(&findings.problems.iter().map(|p| format!("{p}\n")).collect::<String>())?,
        Format::Yaml => out.yaml(&lines)?,
        Format::Json => out.json(&lines)?,
    }
    Ok(if findings.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
