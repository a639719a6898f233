//! Tests on trees that have the form of sysfs on a BlueField.

use std::{collections::BTreeMap, fs, os::unix::fs::symlink, path::Path};

use super::Finder;
use crate::{
    engine::attach::{SfDevice, SkipReason},
    model::{Link, PciAddr},
};

/// A sysfs of BlueField's shape: devices under the PCI function, and the bus's directory of links to them.
struct Sysfs(tempfile::TempDir);

impl Sysfs {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("bus/auxiliary/devices")).unwrap();
        Self(root)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn home(&self, pci: &str, device: &str) -> std::path::PathBuf {
        self.path().join("devices/pci0000:00/0000:00:00.0").join(pci).join(device)
    }

    fn add(&self, pci: &str, device: &str, sfnum: Option<u32>) {
        let home = self.home(pci, device);
        fs::create_dir_all(&home).unwrap();
        if let Some(sfnum) = sfnum {
            fs::write(home.join("sfnum"), format!("{sfnum}\n")).unwrap();
        }
        symlink(&home, self.path().join("bus/auxiliary/devices").join(device)).unwrap();
    }

    fn remove(&self, pci: &str, device: &str) {
        fs::remove_file(self.path().join("bus/auxiliary/devices").join(device)).unwrap();
        fs::remove_dir_all(self.home(pci, device)).unwrap();
    }
}

fn link(ifindex: u32, name: &str, parent: Option<&str>, port: Option<&str>) -> (u32, Link) {
    let link = Link {
        ifindex,
        name: name.parse().unwrap(),
        mac: None,
        up: true,
        carrier: true,
        mtu: 1500,
        kind: None,
        phys_port_name: port.map(ToOwned::to_owned),
        parent_dev: parent.map(ToOwned::to_owned),
        ipv4: crate::model::Ipv4Conf::default(),
    };
    (ifindex, link)
}

const PF0: &str = "0000:03:00.0";
const PF1: &str = "0000:03:00.1";

/// As on a BlueField-3: uplinks, host representors, two SFs of one number under two functions, one of them renamed, an
/// SF that a Pod has, the DMA SF, and other devices on the bus.
fn bluefield() -> (Sysfs, BTreeMap<u32, Link>) {
    let sysfs = Sysfs::new();
    sysfs.add(PF0, "mlx5_core.sf.2", Some(88));
    sysfs.add(PF1, "mlx5_core.sf.3", Some(88));
    sysfs.add(PF0, "mlx5_core.sf.4", Some(10));
    sysfs.add(PF0, "mlx5_core.sf.5", Some(8000));
    sysfs.add(PF0, "mlx5_core.eth.0", None);
    sysfs.add(PF0, "mlx5_core.rdma.0", None);
    let links = [
        link(1, "lo", None, None),
        link(2, "oob_net0", Some("MLNXBF17:00"), None),
        link(3, "p0", Some(PF0), Some("p0")),
        link(4, "pf0hpf", Some(PF0), Some("c1pf0")),
        link(5, "en3f0pf0sf88", Some(PF0), Some("pf0sf88")),
        link(6, "enp3s0f0s88", Some("mlx5_core.sf.2"), None),
        link(7, "p1_if", Some("mlx5_core.sf.3"), None),
        link(8, "enp3s0f0s8000", Some("mlx5_core.sf.5"), None),
        link(9, "pf0vf3", Some(PF0), Some("c1pf0vf3")),
        link(10, "renamed-rep", Some(PF0), Some("pf0sf10")),
        link(11, "en3f0pf0sf12", None, None),
    ];
    (sysfs, links.into_iter().collect())
}

fn names(discovery: &crate::engine::attach::Discovery) -> Vec<(String, Option<String>, Option<u32>)> {
    discovery
        .attachments
        .iter()
        .map(|a| (a.netdev.to_string(), a.pci.map(|p| p.to_string()), a.sfnum))
        .collect()
}

#[test]
fn sfs_are_found_by_device_whatever_their_name() {
    let (sysfs, links) = bluefield();
    let discovery = Finder::new(sysfs.path()).discover(&links).unwrap();
    let plain = |name: &str| (name.to_owned(), None, None);
    let sf = |name: &str, pci: &str, sfnum| (name.to_owned(), Some(pci.to_owned()), Some(sfnum));
    assert_eq!(
        names(&discovery),
        [plain("oob_net0"), plain("p0"), sf("enp3s0f0s88", PF0, 88), sf("p1_if", PF1, 88),]
    );
}

#[test]
fn representors_and_the_dma_sf_are_skipped_with_a_reason() {
    let (sysfs, links) = bluefield();
    let discovery = Finder::new(sysfs.path()).discover(&links).unwrap();
    let skipped: Vec<_> =
        discovery.skipped.iter().map(|s| (s.attachment.netdev.to_string(), s.reason)).collect();
    assert_eq!(
        skipped,
        [
            ("pf0hpf".into(), SkipReason::Representor),
            ("en3f0pf0sf88".into(), SkipReason::Representor),
            ("enp3s0f0s8000".into(), SkipReason::Dma),
            ("pf0vf3".into(), SkipReason::Representor),
            ("renamed-rep".into(), SkipReason::Representor),
            ("en3f0pf0sf12".to_owned(), SkipReason::Representor),
        ]
    );
}

#[test]
fn an_sf_without_a_netdev_here_is_elsewhere() {
    let (sysfs, links) = bluefield();
    let discovery = Finder::new(sysfs.path()).discover(&links).unwrap();
    let pci: PciAddr = PF0.parse().unwrap();
    assert_eq!(discovery.elsewhere, [SfDevice { pci, sfnum: 10 }]);
}

#[test]
fn names_that_only_look_like_representors_are_none() {
    for (name, parent, port) in [
        // An SF that somebody named like its representor.
        ("en3f0pf0sf88", Some("mlx5_core.sf.2"), None),
        ("pf0sf10", None, None),
        ("enpfsf1", None, None),
        ("en3f0pf0sf", None, None),
        ("p0", Some(PF0), Some("p0")),
        ("c1", None, Some("c1")),
    ] {
        let (_, link) = link(2, name, parent, port);
        assert!(!super::is_representor(&link), "{name}");
    }
}

#[test]
fn known_links_touch_no_file_and_changes_are_seen() {
    let (sysfs, mut links) = bluefield();
    let mut finder = Finder::new(sysfs.path());
    let first = finder.discover(&links).unwrap();
    // Without its directory the finder can only know what it remembers. A rename and a new veth need no look either.
    let bus = sysfs.path().join("bus");
    fs::rename(&bus, sysfs.path().join("away")).unwrap();
    assert_eq!(finder.discover(&links).unwrap(), first);
    links.extend([link(6, "renamed", Some("mlx5_core.sf.2"), None), link(20, "veth0", None, None)]);
    let renamed = finder.discover(&links).unwrap();
    assert!(names(&renamed).contains(&("renamed".into(), Some(PF0.into()), Some(88))));
    fs::rename(sysfs.path().join("away"), &bus).unwrap();

    // The driver is bound again: the same device name, another SF, a new index.
    sysfs.remove(PF0, "mlx5_core.sf.2");
    links.remove(&6);
    finder.discover(&links).unwrap();
    sysfs.add(PF1, "mlx5_core.sf.2", Some(77));
    links.extend([link(30, "enp3s0f1s77", Some("mlx5_core.sf.2"), None)]);
    let rebound = finder.discover(&links).unwrap();
    assert!(names(&rebound).contains(&("enp3s0f1s77".into(), Some(PF1.into()), Some(77))));
}

#[test]
fn a_device_that_comes_after_its_link_is_found_at_the_next_look() {
    let sysfs = Sysfs::new();
    let links = [link(6, "enp3s0f0s88", Some("mlx5_core.sf.2"), None)].into();
    let mut finder = Finder::new(sysfs.path());
    assert_eq!(finder.discover(&links).unwrap().attachments[0].sfnum, None);
    sysfs.add(PF0, "mlx5_core.sf.2", Some(88));
    assert_eq!(finder.discover(&links).unwrap().attachments[0].sfnum, Some(88));
}

#[test]
fn no_auxiliary_bus_means_no_sfs() {
    let empty = tempfile::tempdir().unwrap();
    let (_, links) = bluefield();
    let discovery = Finder::new(empty.path()).discover(&links).unwrap();
    assert!(discovery.attachments.iter().all(|a| a.sfnum.is_none()));
    fs::create_dir_all(empty.path().join("bus/auxiliary")).unwrap();
    fs::write(empty.path().join("bus/auxiliary/devices"), "").unwrap();
    let error = Finder::new(empty.path()).discover(&links).expect_err("unreadable").to_string();
    assert!(error.contains("bus/auxiliary/devices"), "{error}");
}
