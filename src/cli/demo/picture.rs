//! The picture: pool, slice, leases and SFs, drawn in characters. Draws what it is given.

use std::net::IpAddr;

use anyhow::Context;
use ipnet::IpNet;

use super::stage::Paint;
use crate::{
    api::{Fleet, manifest, nvipam::Pool},
    engine::status::BindingStatus,
    model::{AddrRange, NodeName, Slice},
    pool::Allocation,
};

/// The pool is drawn as so many cells, each with the blank behind it so wide.
const CELLS: usize = 16;
const CELL: usize = 4;
/// Width of the labels on the left.
const MARGIN: usize = 10;

/// The pool of the manifests, and what it gives to whom.
pub(super) struct Scene {
    name: String,
    network: IpNet,
    /// What every node gets, in words.
    share: String,
    /// The first address of every other node's slice.
    others: Vec<IpAddr>,
    node: NodeName,
    pub(super) slice: Slice,
}

impl Scene {
    /// The one pool of these manifests.
    ///
    /// # Errors
    /// There is none, or it gives the node nothing.
    pub(super) fn of(sources: &[manifest::Source], node: &NodeName) -> anyhow::Result<Self> {
        let objects = manifest::decode(sources);
        let fleet = Fleet::build(&objects);
        let pool = fleet.pools().next().context("there is no pool")?;
        let slice = fleet.assignment(node).pools.into_iter().find_map(|p| p.slice);
        let (network, share) = match pool {
            Pool::IpPool(pool) => {
                (&pool.spec.subnet, format!("{} addresses per node", pool.spec.per_node_block_size))
            }
            Pool::CidrPool(pool) => {
                (&pool.spec.cidr, format!("a /{} per node", pool.spec.per_node_network_prefix))
            }
        };
        let others = pool.allocations().unwrap_or_default();
        Ok(Self {
            name: pool.reference().to_string(),
            network: network.parse()?,
            share,
            others: others.iter().filter_map(|a| first_of_other(a, node)).collect(),
            node: node.clone(),
            slice: slice.with_context(|| format!("the pool gives nothing to {node}"))?,
        })
    }

    /// The picture, with the bindings that lease from the slice.
    pub(super) fn draw(&self, bindings: &[BindingStatus], paint: Paint) -> String {
        let label = |text: &str| paint.bold(&format!("  {text:<0$}", MARGIN - 2));
        let mine = self.cell(self.slice.range.first());
        let others: Vec<_> = self.others.iter().map(|first| self.cell(*first)).collect();
        let bar: Vec<String> = (0..CELLS)
            .map(|cell| match cell {
                _ if Some(cell) == mine => paint.cyan("███"),
                _ if others.contains(&Some(cell)) => "▒▒▒".to_owned(),
                _ => paint.dim("···"),
            })
            .collect();
        let indent = " ".repeat(CELL * mine.unwrap_or_default() + 1);
        let margin = " ".repeat(MARGIN);
        let legend = paint.dim("    ███ this node  ▒▒▒ other nodes  ··· free");
        let gateway = self.slice.gateway.map_or_else(|| "none".to_owned(), |g| g.to_string());
        let range = format!("{} - {}", self.slice.range.first(), self.slice.range.last());
        let mut lines = vec![
            format!("{}{}  {}, {}", label("POOL"), self.name, self.network, self.share),
            format!("{margin}{}", bar.join(" ")),
            format!("{margin}{indent}│{legend}"),
            format!("{}{indent}└─ {}: {}, gateway {gateway}", label("SLICE"), self.node, paint.cyan(&range)),
            format!("{margin}{indent}   │"),
        ];
        for (at, binding) in bindings.iter().enumerate() {
            let label = if at == 0 { label("LEASES") } else { margin.clone() };
            let branch = if at + 1 == bindings.len() { "└" } else { "├" };
            let addresses: Vec<_> = binding.addresses.iter().map(ToString::to_string).collect();
            let sf = binding.interface.as_ref().map_or_else(String::new, |sf| {
                let mac = sf.mac.map_or_else(String::new, |mac| mac.to_string());
                format!("{}  {}", sf.netdev, paint.dim(&mac))
            });
            lines.push(format!(
                "{label}{indent}   {branch}─ {}  {} ──▶ {sf}",
                binding.name,
                paint.cyan(&addresses.join(", ")),
            ));
        }
        lines.join("\n")
    }

    /// In which cell of the bar an address lies.
    fn cell(&self, address: IpAddr) -> Option<usize> {
        let span = |last: IpAddr| AddrRange::new(self.network.network(), last).map(|range| range.span());
        let size = span(self.network.broadcast())? + 1;
        usize::try_from(span(address)? * CELLS as u128 / size).ok()
    }
}

fn first_of_other(allocation: &Allocation, node: &NodeName) -> Option<IpAddr> {
    let (owner, first) = match allocation {
        Allocation::Block { node_name, start, .. } => (node_name, start.parse().ok()?),
        Allocation::Prefix { node_name, prefix, .. } => (node_name, prefix.parse::<IpNet>().ok()?.network()),
    };
    (owner != node.as_str()).then_some(first)
}
