//! The store of nv-ipam's node daemon on this machine, read only: which addresses of which pool Pods hold. So SFs and
//! Pods of one pool do not collide. Never writes, never locks.

use std::{
    collections::BTreeMap,
    fs, io,
    net::IpAddr,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::model::PoolKind;

/// Addresses that Pods hold, with their holder for messages, by pool. nv-ipam's keys carry no namespace: a daemon reads
/// the pools of one only.
pub type Reserved = BTreeMap<(PoolKind, String), BTreeMap<IpAddr, String>>;

/// Why the store could not be read. The addresses read last are still taken.
#[derive(Debug, thiserror::Error)]
pub enum NvIpamError {
    /// The file refuses.
    #[error("cannot read nv-ipam's store {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is not what nv-ipam writes, or a part of it.
    #[error("nv-ipam's store {} is not usable: {reason}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// The store, and what it said last.
#[derive(Debug)]
pub struct NvIpamStore {
    path: PathBuf,
    /// By what a change of the file shows; `None` = read it.
    stamp: Option<Stamp>,
    reserved: Reserved,
}

/// Device, inode, size and times. nv-ipam replaces its file with each change, so that the inode alone nearly does.
type Stamp = (u64, u64, u64, (i64, i64), (i64, i64));

impl NvIpamStore {
    /// The store at `path`, not read yet.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path, stamp: None, reserved: Reserved::new() }
    }

    /// What was read last.
    #[must_use]
    pub fn reserved(&self) -> &Reserved {
        &self.reserved
    }

    /// Reads the file if it changed. No file means that nv-ipam does not run here: no reservations. A file that was there
    /// and is gone is an error.
    ///
    /// # Errors
    /// The file cannot be read or understood; [`Self::reserved`] keeps what it had.
    pub fn refresh(&mut self) -> Result<&Reserved, NvIpamError> {
        let stamp = match fs::metadata(&self.path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound && self.stamp.is_none() => {
                return Ok(&self.reserved);
            }
            Err(source) => return Err(NvIpamError::Read { path: self.path.clone(), source }),
            Ok(m) => (m.dev(), m.ino(), m.size(), (m.mtime(), m.mtime_nsec()), (m.ctime(), m.ctime_nsec())),
        };
        if self.stamp != Some(stamp) {
            self.reserved = read(&self.path)?;
            self.stamp = Some(stamp);
        }
        Ok(&self.reserved)
    }
}

fn read(path: &Path) -> Result<Reserved, NvIpamError> {
    let bytes = fs::read(path).map_err(|source| NvIpamError::Read { path: path.to_owned(), source })?;
    parse(&bytes).map_err(|reason| NvIpamError::Unusable { path: path.to_owned(), reason })
}

/// The file's root, as far as it matters here.
#[derive(Deserialize)]
struct Root {
    version: u32,
    checksum: u32,
    #[serde(default)]
    pools: Option<BTreeMap<String, Pool>>,
}

#[derive(Deserialize)]
struct Pool {
    #[serde(default)]
    entries: Option<BTreeMap<String, Entry>>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    container_id: String,
    #[serde(default)]
    interface_name: String,
    /// Go writes an address that is not set as an empty text.
    ip_address: String,
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Default, Deserialize)]
struct Metadata {
    #[serde(default)]
    pod_name: String,
    #[serde(default)]
    pod_namespace: String,
}

impl Entry {
    fn owner(&self) -> String {
        let Metadata { pod_name, pod_namespace } = &self.metadata;
        if pod_name.is_empty() {
            format!("container {}, interface {}", self.container_id, self.interface_name)
        } else {
            format!("Pod {pod_namespace}/{pod_name}, interface {}", self.interface_name)
        }
    }
}

fn parse(bytes: &[u8]) -> Result<Reserved, String> {
    // nv-ipam itself takes an empty file for a new store.
    if bytes.is_empty() {
        return Ok(Reserved::new());
    }
    let root: Root = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
    if root.version != 1 {
        return Err(format!("it is of version {}, and only 1 is known", root.version));
    }
    if root.checksum != checksum(bytes, root.checksum) {
        return Err("its checksum is wrong".to_owned());
    }
    let mut reserved = Reserved::new();
    for (key, pool) in root.pools.unwrap_or_default() {
        let pool_ref = match key.split_once('/') {
            None => (PoolKind::IpPool, key),
            Some(("cidrpool", name)) => (PoolKind::CidrPool, name.to_owned()),
            // A kind that we lease nothing from.
            Some(_) => continue,
        };
        let addresses = reserved.entry(pool_ref).or_default();
        for entry in pool.entries.unwrap_or_default().into_values().filter(|e| !e.ip_address.is_empty()) {
            let address: IpAddr =
                entry.ip_address.parse().map_err(|_| format!("{:?} is not an address", entry.ip_address))?;
            addresses.insert(address, entry.owner());
        }
    }
    reserved.retain(|_, addresses| !addresses.is_empty());
    Ok(reserved)
}

/// The checksum that nv-ipam makes: FNV-1a of the text with 0 in the place of the checksum. Over the bytes as they
/// stand, so that fields which we do not know count as well.
fn checksum(bytes: &[u8], stated: u32) -> u32 {
    let field = format!("\"checksum\":{stated}");
    let at = bytes.windows(field.len()).position(|window| window == field.as_bytes());
    let (before, after) = at.map_or((bytes, &[][..]), |at| (&bytes[..at], &bytes[at + field.len()..]));
    let zeroed = before.iter().chain(b"\"checksum\":0").chain(after);
    zeroed.fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests;
