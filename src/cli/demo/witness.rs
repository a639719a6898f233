//! The witness: looks at the kernel and at the agent's status with eyes of its own, and plays the one who deletes. Shares
//! nothing with the agent.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, bail, ensure};
use ipnet::IpNet;
use tokio::{
    sync::oneshot,
    time::{sleep, timeout},
};

use super::world::{World, take};
use crate::{
    engine::status::Status,
    kernel::{Kernel, Watch},
    model::{Address, Route, Rule, Step},
    report::local,
};

/// Nothing here takes longer, or it does not happen.
const LIMIT: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// The witness.
pub(super) struct Witness {
    kernel: Kernel,
    sfs: BTreeSet<u32>,
    runtime_dir: PathBuf,
}

/// What the kernel has on the SFs, as far as the agent is answerable for it: IPv4, and the rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct View {
    /// As (index, address).
    pub(super) addresses: BTreeSet<(u32, IpNet)>,
    pub(super) routes: BTreeSet<Route>,
    pub(super) rules: BTreeSet<Rule>,
}

impl Witness {
    pub(super) fn new(world: &World, runtime_dir: PathBuf) -> anyhow::Result<Self> {
        Ok(Self { kernel: Kernel::open()?, sfs: world.sfs.iter().copied().collect(), runtime_dir })
    }

    /// What the kernel has now.
    pub(super) fn look(&mut self) -> anyhow::Result<View> {
        let observed = self.kernel.observe()?;
        let on_sf = |ifindex: u32| self.sfs.contains(&ifindex);
        let addresses = observed.addresses.iter().filter(|a| on_sf(a.ifindex) && is_ipv4(a));
        Ok(View {
            addresses: addresses.map(|a| (a.ifindex, a.address)).collect(),
            routes: observed.routes.into_iter().filter(|r| on_sf(r.oif) && r.dst.addr().is_ipv4()).collect(),
            rules: observed.rules.into_iter().filter(|r| !r.ipv6).collect(),
        })
    }

    /// Waits until the kernel has `wanted`.
    pub(super) async fn until(&mut self, wanted: &View) -> anyhow::Result<bool> {
        let begun = Instant::now();
        while self.look()? != *wanted {
            if begun.elapsed() > LIMIT {
                return Ok(false);
            }
            sleep(LOOK_EVERY).await;
        }
        Ok(true)
    }

    /// Waits until the agent's status is as `holds` wants it; `what` says this in words.
    pub(super) async fn status(&self, what: &str, holds: impl Fn(&Status) -> bool) -> anyhow::Result<Status> {
        let begun = Instant::now();
        loop {
            match local::read(&self.runtime_dir) {
                Ok(status) if holds(&status) => return Ok(status),
                last if begun.elapsed() > LIMIT => {
                    let last = last.map_or_else(|e| e.to_string(), |s| format!("{:?}", s.bindings));
                    bail!("the agent did not report that {what}; its last word: {last}");
                }
                _ => sleep(LOOK_EVERY).await,
            }
        }
    }

    /// Deletes an address on an SF, with a socket and a thread of its own, and waits until it is there again: from the
    /// kernel's word that it is deleted to the look that finds it.
    pub(super) async fn delete(&mut self, ifindex: u32, address: IpNet) -> anyhow::Result<Duration> {
        let present = self.kernel.observe_addresses(&BTreeSet::from([ifindex]))?;
        let present = present.into_iter().find(|a| a.address == address);
        let present = present.with_context(|| format!("{address} is not there"))?;
        let (tx, rx) = oneshot::channel();
        thread::spawn(move || tx.send(delete(&present)));
        rx.await?
    }

    /// Begins to look at the SFs again and again.
    pub(super) fn stare(&self) -> Stare {
        let (sfs, stop) = (self.sfs.clone(), Arc::new(AtomicBool::new(false)));
        let until = Arc::clone(&stop);
        Stare { stop, thread: thread::spawn(move || stare(&sfs, &until)) }
    }
}

fn is_ipv4(address: &Address) -> bool {
    matches!(address.address.addr(), IpAddr::V4(_))
}

fn delete(address: &Address) -> anyhow::Result<Duration> {
    let link = BTreeSet::from([address.ifindex]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut kernel = Kernel::open()?;
        // It does not hear of what this kernel socket does.
        let mut watch = Watch::open(&mut kernel)?;
        take(&mut kernel, &[Step::DelAddress(address.clone())])?;
        let deleted = Instant::now();
        let back = async {
            loop {
                watch.next().await?;
                if kernel.observe_addresses(&link)?.contains(address) {
                    return Ok(deleted.elapsed());
                }
            }
        };
        timeout(LIMIT, back).await.with_context(|| format!("{} did not come back", address.address))?
    })
}

/// A look at the SFs that goes on.
pub(super) struct Stare {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<anyhow::Result<Seen>>,
}

/// What a [`Stare`] saw.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) looks: u32,
    /// Looks at which an SF had no address.
    pub(super) bare: u32,
}

impl Stare {
    /// Ends it.
    pub(super) fn end(self) -> anyhow::Result<Seen> {
        self.stop.store(true, Ordering::Relaxed);
        let seen = self.thread.join().map_err(|_| anyhow!("the witness broke down"))??;
        ensure!(seen.looks > 0, "the witness did not look");
        Ok(seen)
    }
}

fn stare(sfs: &BTreeSet<u32>, stop: &AtomicBool) -> anyhow::Result<Seen> {
    let mut kernel = Kernel::open()?;
    let mut seen = Seen::default();
    // A script that fails forgets to say stop.
    let begun = Instant::now();
    while !stop.load(Ordering::Relaxed) && begun.elapsed() < LIMIT {
        let addresses = kernel.observe_addresses(sfs)?;
        let dressed: BTreeSet<u32> = addresses.iter().filter(|a| is_ipv4(a)).map(|a| a.ifindex).collect();
        seen.looks += 1;
        seen.bare += u32::from(dressed != *sfs);
    }
    Ok(seen)
}
