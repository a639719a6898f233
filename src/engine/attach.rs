//! Which SF each binding means. Pure: what was found comes in, and why something was not found is part of the answer.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::model::{Attachment, Binding, BindingName, IfName, PciAddr, SfMatch};

/// SF netdevs on this machine, and what looked like one and is none for us.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Discovery {
    /// What bindings may have, by interface index.
    pub attachments: Vec<Attachment>,
    /// Interfaces that no binding may have.
    pub skipped: Vec<Skipped>,
    /// SFs that are here without a netdev in our network namespace.
    pub elsewhere: Vec<SfDevice>,
}

/// An interface that no binding may have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Its name and what else is known of it.
    pub attachment: Attachment,
    /// Why.
    pub reason: SkipReason,
}

/// Why an interface is never used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SkipReason {
    /// It is an SF's port in the switch; addresses belong on the SF itself.
    Representor,
    /// SF 8000, which BlueField reserves for DMA.
    Dma,
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Representor => "a representor; addresses belong on the SF itself",
            Self::Dma => "SF 8000, which is reserved for DMA",
        })
    }
}

/// An SF as the auxiliary bus shows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SfDevice {
    /// PCI parent.
    pub pci: PciAddr,
    /// Number under the parent.
    pub sfnum: u32,
}

/// What was found for a binding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Match {
    /// Exactly one, and it is this binding's.
    Found(Attachment),
    /// None.
    Absent {
        /// What is missing, and what came near.
        why: String,
    },
    /// Several; the binding's `match` must say more.
    Ambiguous(Vec<IfName>),
    /// One, but a binding that comes first in the configuration has it.
    Shared {
        /// That binding.
        with: BindingName,
        /// The interface.
        netdev: IfName,
    },
}

impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Found(attachment) => write!(f, "{}", attachment.netdev),
            Self::Absent { why } => f.write_str(why),
            Self::Ambiguous(names) => {
                let names: Vec<_> = names.iter().map(IfName::as_str).collect();
                write!(f, "matches {}; say more in `match`", names.join(" and "))
            }
            Self::Shared { with, netdev } => write!(f, "matches {netdev}, which {with} has"),
        }
    }
}

/// What each binding means. Of two bindings that mean the same interface the first in configuration order has it.
#[must_use]
pub fn match_bindings(bindings: &[Binding], discovery: &Discovery) -> BTreeMap<BindingName, Match> {
    let index = Index::of(&discovery.attachments);
    let mut holders: BTreeMap<u32, &BindingName> = BTreeMap::new();
    let mut matches = BTreeMap::new();
    for binding in bindings {
        let found = match index.candidates(&binding.sf)[..] {
            [] => Match::Absent { why: why_absent(&binding.sf, discovery) },
            [one] => match holders.get(&one.ifindex) {
                Some(with) => Match::Shared { with: (*with).clone(), netdev: one.netdev.clone() },
                None => {
                    holders.insert(one.ifindex, &binding.name);
                    Match::Found(one.clone())
                }
            },
            ref several => Match::Ambiguous(several.iter().map(|a| a.netdev.clone()).collect()),
        };
        matches.insert(binding.name.clone(), found);
    }
    matches
}

/// Attachments by what a `match` may name, so that a thousand bindings do not mean a million comparisons.
struct Index<'a> {
    by_sfnum: BTreeMap<u32, Vec<&'a Attachment>>,
    by_netdev: BTreeMap<&'a IfName, Vec<&'a Attachment>>,
    all: Vec<&'a Attachment>,
}

impl<'a> Index<'a> {
    fn of(attachments: &'a [Attachment]) -> Self {
        let mut index =
            Self { by_sfnum: BTreeMap::new(), by_netdev: BTreeMap::new(), all: attachments.iter().collect() };
        for attachment in attachments {
            if let Some(sfnum) = attachment.sfnum {
                index.by_sfnum.entry(sfnum).or_default().push(attachment);
            }
            index.by_netdev.entry(&attachment.netdev).or_default().push(attachment);
        }
        index
    }

    /// All that show everything that is wanted.
    fn candidates(&self, wanted: &SfMatch) -> Vec<&'a Attachment> {
        let few: &[&Attachment] = match (&wanted.netdev, wanted.sfnum) {
            (Some(netdev), _) => self.by_netdev.get(netdev).map_or(&[], Vec::as_slice),
            (None, Some(sfnum)) => self.by_sfnum.get(&sfnum).map_or(&[], Vec::as_slice),
            (None, None) => &self.all,
        };
        few.iter().copied().filter(|a| matches(wanted, a)).collect()
    }
}

/// Whether all that is given matches. What is not known of an attachment does not match.
fn matches(wanted: &SfMatch, have: &Attachment) -> bool {
    wanted.pci.is_none_or(|pci| have.pci == Some(pci))
        && wanted.sfnum.is_none_or(|sfnum| have.sfnum == Some(sfnum))
        && wanted.netdev.as_ref().is_none_or(|netdev| have.netdev == *netdev)
        && wanted.mac.is_none_or(|mac| have.mac == Some(mac))
}

/// What came near, from the surest to the vaguest.
fn why_absent(wanted: &SfMatch, discovery: &Discovery) -> String {
    if let Some(skipped) = discovery.skipped.iter().find(|s| matches(wanted, &s.attachment)) {
        return format!("{} is {}", skipped.attachment.netdev, skipped.reason);
    }
    if let Some(sfnum) = wanted.sfnum
        && let Some(sf) = discovery
            .elsewhere
            .iter()
            .find(|sf| sf.sfnum == sfnum && wanted.pci.is_none_or(|pci| pci == sf.pci))
    {
        return format!(
            "SF {sfnum} of {} is present, but its netdev is in another network namespace",
            sf.pci
        );
    }
    // A matching SF with another name or MAC address says more than a list of numbers.
    let (number, rest) = (
        SfMatch { pci: wanted.pci, sfnum: wanted.sfnum, ..SfMatch::default() },
        SfMatch { pci: None, sfnum: None, ..wanted.clone() },
    );
    for part in [&number, &rest] {
        if *part != SfMatch::default()
            && part != wanted
            && (part.sfnum.is_some() || part == &rest)
            && let Some(near) = discovery.attachments.iter().find(|a| matches(part, a))
        {
            return format!("nothing matches {wanted}; {} is near: {}", near.netdev, describe(near));
        }
    }
    let Some(sfnum) = wanted.sfnum else { return format!("nothing matches {wanted}") };
    let under = wanted.pci.map_or_else(String::new, |pci| format!(" under {pci}"));
    let mut there: Vec<u32> = discovery
        .attachments
        .iter()
        .filter(|a| wanted.pci.is_none_or(|pci| a.pci == Some(pci)))
        .filter_map(|a| a.sfnum)
        .collect();
    there.sort_unstable();
    there.dedup();
    if there.is_empty() {
        return format!("no SF {sfnum}{under}; there is none at all");
    }
    format!("no SF {sfnum}{under}; there are {}", nearest(&there, sfnum))
}

/// At most eight of the numbers, those around `wanted`.
fn nearest(there: &[u32], wanted: u32) -> String {
    const SHOWN: usize = 8;
    let middle = there.partition_point(|n| *n < wanted);
    let start = middle.saturating_sub(SHOWN / 2).min(there.len().saturating_sub(SHOWN));
    let shown: Vec<_> = there.iter().skip(start).take(SHOWN).map(ToString::to_string).collect();
    let more = there.len() - shown.len();
    let tail = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("{}{tail}", shown.join(", "))
}

/// What is known of an attachment, in the words of a `match`.
fn describe(a: &Attachment) -> String {
    let all = SfMatch { pci: a.pci, sfnum: a.sfnum, netdev: Some(a.netdev.clone()), mac: a.mac };
    all.to_string()
}

#[cfg(test)]
mod tests;
