//! Finds the SFs of this machine: which netdevs are SFs, of which PCI function and with which number. Reads sysfs and
//! nothing else; never decides which binding means which SF.
//!
//! # How an SF shows itself
//!
//! The driver puts each SF on the auxiliary bus as `mlx5_core.sf.<N>`, a child of its PCI function, with the file
//! `sfnum`. The kernel names this device as the parent of the SF's netdev, so the way from a link to its SF leads over
//! the device's name. The netdev's own directory in sysfs is not used: its name may change between the dump and the
//! look, and a mount of sysfs may show another network namespace than ours, while the auxiliary bus is the same for all.
//!
//! devlink, which also knows an SF's state and its hardware address before there is a netdev, is not asked.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    os::unix::fs::DirEntryExt,
    path::{Path, PathBuf},
};

use crate::{
    engine::attach::{Discovery, SfDevice, SkipReason, Skipped},
    model::{Attachment, Link, PciAddr},
};

/// Names of SF devices on the auxiliary bus begin so.
const DEVICE_PREFIX: &str = "mlx5_core.sf.";
/// Reserved for DMA on BlueField-4.
const DMA_SFNUM: u32 = 8000;

/// Sysfs cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}: {source}", path.display())]
pub struct SfError {
    path: PathBuf,
    source: io::Error,
}

/// Finds SFs, and remembers what it read: a pass over known links touches no file.
#[derive(Debug)]
pub struct Finder {
    bus: PathBuf,
    /// The links whose parent is an SF device, as (index, device), at the last complete look.
    seen: Option<Vec<(u32, String)>>,
    /// SF devices by name, with the inode of their entry: a device that was removed and made again has another one.
    devices: HashMap<String, (u64, SfDevice)>,
}

impl Finder {
    /// A finder on a sysfs that is mounted at `sysfs` (`/sys`, but in tests).
    #[must_use]
    pub fn new(sysfs: &Path) -> Self {
        Self { bus: sysfs.join("bus/auxiliary/devices"), seen: None, devices: HashMap::new() }
    }

    /// What there is, given the links of a complete dump. Every link but the loopback device is an attachment, so that a
    /// binding may name it, unless it is one that no binding may have.
    ///
    /// # Errors
    /// Sysfs is there and cannot be read. No auxiliary bus at all means no SFs.
    pub fn discover(&mut self, links: &BTreeMap<u32, Link>) -> Result<Discovery, SfError> {
        let wanted: Vec<_> =
            links.values().filter_map(|l| Some((l.ifindex, sf_device(l)?.to_owned()))).collect();
        if self.seen.as_ref() != Some(&wanted) {
            self.seen = None;
            self.scan()?;
            // A device that came after the dump of links is found at the next look.
            if wanted.iter().all(|(_, device)| self.devices.contains_key(device)) {
                self.seen = Some(wanted);
            }
        }
        let mut discovery = Discovery::default();
        let mut here = Vec::new();
        for link in links.values().filter(|l| l.name.as_str() != "lo") {
            let sf = sf_device(link).and_then(|device| self.devices.get(device)).map(|(_, sf)| sf);
            here.extend(sf);
            let attachment = Attachment {
                netdev: link.name.clone(),
                ifindex: link.ifindex,
                mac: link.mac,
                pci: sf.map(|sf| sf.pci),
                sfnum: sf.map(|sf| sf.sfnum),
            };
            let reason = if is_representor(link) {
                Some(SkipReason::Representor)
            } else {
                sf.filter(|sf| sf.sfnum == DMA_SFNUM).map(|_| SkipReason::Dma)
            };
            match reason {
                Some(reason) => discovery.skipped.push(Skipped { attachment, reason }),
                None => discovery.attachments.push(attachment),
            }
        }
        here.sort_unstable();
        discovery.elsewhere = self
            .devices
            .values()
            .map(|(_, sf)| sf)
            .filter(|sf| here.binary_search(sf).is_err())
            .cloned()
            .collect();
        discovery.elsewhere.sort_unstable();
        Ok(discovery)
    }

    /// Reads the bus; of devices that were there before only the names.
    fn scan(&mut self) -> Result<(), SfError> {
        let error = |path: &Path| {
            let path = path.to_owned();
            move |source| SfError { path, source }
        };
        let entries = match fs::read_dir(&self.bus) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                self.devices.clear();
                return Ok(());
            }
            entries => entries.map_err(error(&self.bus))?,
        };
        let mut devices = HashMap::new();
        for entry in entries {
            let entry = entry.map_err(error(&self.bus))?;
            let inode = entry.ino();
            let name = match entry.file_name().into_string() {
                Ok(name) if name.starts_with(DEVICE_PREFIX) => name,
                _ => continue,
            };
            let known = self.devices.remove(&name).filter(|(known, _)| *known == inode);
            let device = match known {
                Some((_, device)) => Some(device),
                None => read_device(&entry.path()).map_err(error(&entry.path()))?,
            };
            if let Some(device) = device {
                devices.insert(name, (inode, device));
            }
        }
        self.devices = devices;
        Ok(())
    }
}

/// The SF device that is the link's parent.
fn sf_device(link: &Link) -> Option<&str> {
    link.parent_dev.as_deref().filter(|device| device.starts_with(DEVICE_PREFIX))
}

/// Reads one SF device; `None` if it went away meanwhile or is not one after all.
fn read_device(path: &Path) -> io::Result<Option<SfDevice>> {
    let read = || -> io::Result<Option<SfDevice>> {
        let sfnum = fs::read_to_string(path.join("sfnum"))?;
        let home = fs::canonicalize(path)?;
        let parent = home.parent().and_then(Path::file_name).and_then(|name| name.to_str());
        let pci: Option<PciAddr> = parent.and_then(|name| name.parse().ok());
        Ok(pci.zip(sfnum.trim().parse().ok()).map(|(pci, sfnum)| SfDevice { pci, sfnum }))
    };
    match read() {
        // ENODEV is what an attribute of a device that is being removed answers.
        Err(e) if e.kind() == io::ErrorKind::NotFound || e.raw_os_error() == Some(nix::libc::ENODEV) => {
            Ok(None)
        }
        other => other,
    }
}

/// Whether the link is the switch's side of a function: by its port name (`pf0sf10`, `c1pf0vf3`, `c1pf0`), which an SF
/// does not have; without one, as with the veth of a demonstration, by the name that udev gives to representors
/// (`en3f0pf0sf10`).
fn is_representor(link: &Link) -> bool {
    match &link.phys_port_name {
        Some(port) => {
            let local = port.strip_prefix('c').map_or(port.as_str(), |rest| rest.trim_start_matches(digit));
            matches!(function_port(local), Some("" | "sf" | "vf"))
        }
        None => {
            let name = link.name.as_str();
            let port = name.find("pf").and_then(|at| function_port(&name[at..]));
            sf_device(link).is_none() && name.starts_with("en") && matches!(port, Some("sf" | "vf"))
        }
    }
}

/// What stands between the numbers in `pf<N>`, `pf<N>sf<M>` or `pf<N>vf<M>`; `None` if it is no such text.
fn function_port(port: &str) -> Option<&str> {
    let rest = port.strip_prefix("pf")?;
    let function = rest.trim_start_matches(digit);
    let kind = function.trim_end_matches(digit);
    (rest != function && (function.is_empty() || kind != function)).then_some(kind)
}

fn digit(c: char) -> bool {
    c.is_ascii_digit()
}
