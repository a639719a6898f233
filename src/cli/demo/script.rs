//! The play: what happens in which order, and what is claimed of it. Every claim is looked up in the kernel, by the witness,
//! at the moment when it is made.

use std::{collections::BTreeSet, process, time::Duration};

use anyhow::Context;
use ipnet::IpNet;

use super::{
    Mode,
    home::{Home, NODE},
    namespace::Entered,
    picture::Scene,
    stage::Stage,
    witness::{View, Witness},
    world::{self, World},
};
use crate::engine::status::{BindingStatus, Reason, Status};

/// Deletions per SF; fewer than the agent takes for a fight.
const DELETIONS: usize = 5;

/// The play with all that it needs.
pub(super) struct Script<'a> {
    pub(super) stage: Stage<'a>,
    pub(super) witness: Witness,
    pub(super) home: &'a Home,
    pub(super) world: World,
}

impl Script<'_> {
    /// Who and where.
    pub(super) fn prologue(&self, entered: &Entered) -> anyhow::Result<()> {
        let paint = self.stage.paint;
        let with = if entered.user { "user and network namespace" } else { "network namespace" };
        self.stage.say(&format!(
            "{}: the guide's example, in a private {with}\n\
             Node {NODE} has two services, each with an SF (here a veth), behind a gateway.",
            paint.bold("dpu-ipam demo")
        ))?;
        if self.stage.waits() {
            let user = if entered.user { "-U --preserve-credentials " } else { "" };
            let look = format!("nsenter -t {} {user}-n ip addr", process::id());
            self.stage.say(&paint.dim(&format!("Look around at any time: {look}")))?;
        }
        Ok(())
    }

    /// Plays everything that needs the agent. What the kernel has at the end.
    pub(super) async fn play(&mut self, mode: Mode) -> anyhow::Result<View> {
        self.stage.part(&format!("The pool is there ({})", mode.field())).await?;
        let first = self.settled(mode).await?;
        self.picture(&first, mode).await?;

        self.stage.part("Somebody deletes addresses behind the agent's back").await?;
        self.deletions(&first).await?;

        self.stage.part("The pool is deleted").await?;
        let before = self.witness.look()?;
        self.home.remove_pool()?;
        let gone = |b: &BindingStatus| b.reason == Reason::PoolGone;
        let status = self.witness.status("the pool is gone", |s| all(s, gone)).await?;
        let same = self.witness.look()? == before;
        self.stage.show(same, &format!("the kernel has what it had: {}", counts(&before))).await?;
        let message = status.bindings.first().map_or("", |b| b.message.as_str());
        self.stage.show(all(&status, gone), &format!("status PoolGone: {message}")).await?;
        self.gateway_answers(&status).await?;

        self.stage.part("The pool is added again").await?;
        self.home.apply(mode)?;
        let again = self.settled(mode).await?;
        let same = addresses(&again) == addresses(&first) && self.witness.look()? == before;
        self.stage.show(same, &format!("the same addresses: {}", list(&again))).await?;

        let other = mode.other();
        self.stage.part(&format!("The mode changes to {}", other.field())).await?;
        let moved = self.switch(other).await?;
        self.picture(&moved, other).await?;

        self.stage.part(&format!("And back to {}", mode.field())).await?;
        let back = self.switch(mode).await?;
        self.checked(&back).await?;
        self.gateway_answers(&back).await?;
        self.witness.look()
    }

    /// What is left when the agent is gone, and when all is.
    pub(super) fn epilogue(&mut self, last: &View) -> anyhow::Result<()> {
        let left = self.witness.look()? == *last;
        self.stage.say("")?;
        self.stage.claim(left, "the agent has ended, and left the network as it was")?;
        let gone = self.home.clean();
        let text = format!("removed: {}; the namespaces end with this process", self.home.what_goes());
        self.stage.claim(gone, &text)?;
        self.home.how_to_play().map_or(Ok(()), |text| self.stage.say(&text))
    }

    /// Waits until the agent says that every SF has an address of the pool in this mode.
    async fn settled(&self, mode: Mode) -> anyhow::Result<Status> {
        let applied = |b: &BindingStatus| {
            b.reason == Reason::Applied && b.pools.iter().map(|p| p.kind).eq([mode.kind()])
        };
        self.witness.status("every SF has its address", |s| all(s, applied)).await
    }

    async fn picture(&mut self, status: &Status, mode: Mode) -> anyhow::Result<()> {
        let scene = Scene::of(&self.home.read()?, &NODE.parse()?)?;
        self.stage.say(&scene.draw(&status.bindings, self.stage.paint))?;
        let range = scene.slice.range;
        let inside = status.bindings.iter().flat_map(|b| &b.addresses).all(|a| range.contains(a.addr()));
        self.stage
            .show(inside, &format!("every lease is in the node's slice of the {}", mode.kind()))
            .await?;
        self.checked(status).await?;
        self.gateway_answers(status).await
    }

    /// Claims that the kernel has the addresses of the status, and no others.
    async fn checked(&mut self, status: &Status) -> anyhow::Result<()> {
        let said: BTreeSet<(u32, IpNet)> = addresses(status).into_iter().collect();
        let view = self.witness.look()?;
        let text = format!("the kernel has exactly these: {}", counts(&view));
        self.stage.show(view.addresses == said, &text).await
    }

    /// Claims that every address reaches its gateway, through the SF that has it.
    async fn gateway_answers(&mut self, status: &Status) -> anyhow::Result<()> {
        let mut lost = Vec::new();
        let mut gateways = BTreeSet::new();
        for binding in &status.bindings {
            let sf = binding.interface.as_ref().context("the SF is gone")?;
            for (address, gateway) in binding.addresses.iter().zip(&binding.gateways) {
                // The router is where the pool says.
                self.world.gateway.set(IpNet::new(*gateway, address.prefix_len())?)?;
                let answers = world::answers(address.addr(), *gateway).await?;
                let seen = self.world.gateway.mac_of(address.addr())?;
                if !answers || sf.mac.is_none() || seen != sf.mac {
                    lost.push(format!(" ({} on {}: answer {answers}, MAC {seen:?})", address, sf.netdev));
                }
                gateways.insert(gateway.to_string());
            }
        }
        let gateways: Vec<_> = gateways.into_iter().collect();
        let holds = lost.is_empty() && !gateways.is_empty();
        let text = format!(
            "gateway {} answers to each, and sees each with its own SF's MAC{}",
            gateways.join(", "),
            lost.concat()
        );
        self.stage.show(holds, &text).await
    }

    async fn deletions(&mut self, status: &Status) -> anyhow::Result<()> {
        let before = self.witness.look()?;
        let mut all = Vec::new();
        for (ifindex, address) in addresses(status) {
            let mut times = Vec::new();
            let mut whole = true;
            for _ in 0..DELETIONS {
                times.push(self.witness.delete(ifindex, address).await?);
                whole &= self.witness.until(&before).await?;
            }
            let text: Vec<_> = times.iter().map(|t| t.as_micros().to_string()).collect();
            let text = format!("{address} deleted {DELETIONS} times, back after {} µs", text.join(", "));
            self.stage.show(whole, &text).await?;
            all.extend(times);
        }
        let median = median(&mut all).as_micros();
        let held = self.witness.look()? == before;
        let text = format!("median {median} µs; all is as it was: {}", counts(&before));
        self.stage.show(held, &text).await
    }

    /// Changes the pool's mode and looks on while the addresses move.
    async fn switch(&mut self, mode: Mode) -> anyhow::Result<Status> {
        let stare = self.witness.stare();
        self.home.apply(mode)?;
        let status = self.settled(mode).await?;
        let seen = stare.end()?;
        let there = self.witness.look()?.addresses == addresses(&status).into_iter().collect();
        self.stage.show(there, &format!("the addresses are now {}", list(&status))).await?;
        let text =
            format!("make before break: in {} looks meanwhile no SF was without an address", seen.looks);
        self.stage.show(seen.bare == 0, &text).await?;
        Ok(status)
    }
}

fn all(status: &Status, holds: impl Fn(&BindingStatus) -> bool) -> bool {
    !status.bindings.is_empty() && status.bindings.iter().all(holds)
}

/// The addresses of the bindings, each with its SF's index.
fn addresses(status: &Status) -> Vec<(u32, IpNet)> {
    let of = |b: &BindingStatus| {
        let ifindex = b.interface.as_ref().map_or(0, |sf| sf.ifindex);
        b.addresses.iter().map(move |a| (ifindex, *a)).collect::<Vec<_>>()
    };
    status.bindings.iter().flat_map(of).collect()
}

fn list(status: &Status) -> String {
    let text: Vec<_> = addresses(status).iter().map(|(_, address)| address.to_string()).collect();
    text.join(" and ")
}

/// Without the rules that every namespace has.
fn counts(view: &View) -> String {
    let rules = view.rules.iter().filter(|rule| rule.from.is_some()).count();
    format!("{} addresses, {} routes, {rules} rules", view.addresses.len(), view.routes.len())
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
