//! `split`: pools with their allocations, as the controller would write them.

use std::process::ExitCode;

use anyhow::bail;
use k8s_openapi::{api::core::v1::Event, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use serde::Serialize;

use super::{Format, Global, Output, input::Filenames};
use crate::{
    api::{Fleet, manifest, nvipam::Pool},
    pool::Allocation,
};

/// Split pools over nodes and print them with their allocations
///
/// Reads Node, IPPool, CIDRPool and DPUServiceIPAM manifests and prints a v1 List of the pools with .status.allocations as
/// the controller would write them, followed by v1 Events for what it would warn about.
///
/// Allocations that the manifests hold already stay, so the output is also an input: to keep each node's block when nodes
/// come and go, give every node the pools as printed here. Without Node objects the nodes named by .status.allocations are
/// the nodes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dpu-ipam split -f pools.yaml -f nodes.yaml
  dpu-ipam split -f manifests/ -o table
  kubectl get nodes,ippools,cidrpools -A -o yaml | dpu-ipam split -f -

Exit codes: 0 ok, 1 failed or some object could not be used, 2 wrong usage")]
pub(super) struct Args {
    #[command(flatten)]
    files: Filenames,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List<'a> {
    api_version: &'static str,
    kind: &'static str,
    items: Vec<Item<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Item<'a> {
    Pool(Box<Pool>),
    Event(&'a Event),
}

pub(super) fn run(args: &Args, global: &Global, out: &Output) -> anyhow::Result<ExitCode> {
    let objects = manifest::decode(&args.files.read()?);
    let fleet = Fleet::build(&objects);
    for name in &objects.skipped {
        out.note(&format!("{name} is skipped: its kind plays no part here"));
    }
    for problem in &objects.problems {
        out.error(&problem.to_string());
    }
    if objects.incomplete {
        bail!("nothing is split: there may be nodes and allocations in what could not be read");
    }
    if objects.nodes.is_empty() && fleet.pools().any(|p| p.allocations().is_none_or(|a| a.is_empty())) {
        out.note("no Node objects: there is nothing to split new pools over");
    }
    // Also for those who sent the list into a file.
    for event in fleet.events() {
        let object = &event.involved_object;
        out.warning(&format!(
            "{}/{} {}: {}",
            object.kind.as_deref().unwrap_or_default(),
            object.name.as_deref().unwrap_or_default(),
            event.reason.as_deref().unwrap_or_default(),
            event.message.as_deref().unwrap_or_default()
        ));
    }
    match global.output.unwrap_or(Format::Yaml) {
        Format::Table => table(&fleet, out)?,
        Format::Yaml => out.yaml(&list(&fleet))?,
        Format::Json => out.json(&list(&fleet))?,
    }
    Ok(if objects.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn list<'a>(fleet: &'a Fleet<'_>) -> List<'a> {
    let pools = fleet.pools().map(|pool| Item::Pool(Box::new(shippable(pool))));
    let events = fleet.events().iter().map(Item::Event);
    List { api_version: "v1", kind: "List", items: pools.chain(events).collect() }
}

/// The pool without what an API server added, so that it can be applied anywhere.
fn shippable(pool: &Pool) -> Pool {
    let mut pool = pool.clone();
    let meta = std::mem::take(pool.meta_mut());
    *pool.meta_mut() = ObjectMeta {
        name: meta.name,
        namespace: meta.namespace,
        labels: meta.labels,
        annotations: meta.annotations,
        ..ObjectMeta::default()
    };
    pool
}

fn table(fleet: &Fleet<'_>, out: &Output) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    for pool in fleet.pools() {
        let name = pool.reference().to_string();
        for allocation in pool.allocations().unwrap_or_default() {
            let (node, slice, gateway) = match (allocation, pool) {
                (Allocation::Block { node_name, start, end }, Pool::IpPool(pool)) => {
                    (node_name, format!("{start}-{end}"), pool.spec.gateway.clone())
                }
                (Allocation::Block { node_name, start, end }, Pool::CidrPool(_)) => {
                    (node_name, format!("{start}-{end}"), String::new())
                }
                (Allocation::Prefix { node_name, prefix, gateway }, _) => (node_name, prefix, gateway),
            };
            rows.push([name.clone(), node, slice, gateway]);
        }
    }
    out.table(["POOL", "NODE", "SLICE", "GATEWAY"], &rows)?;
    Ok(())
}
