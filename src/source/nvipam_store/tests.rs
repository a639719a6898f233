//! Tests of reading nv-ipam's store.

use std::{collections::BTreeMap, fs, net::IpAddr};

use super::{NvIpamError, NvIpamStore};
use crate::model::PoolKind;

/// Written by nv-ipam's own types and checksum (2026-07): two entries of an IPPool, one of a CIDRPool, an empty pool.
const STORE: &str = r#"{"version":1,"checksum":2653391061,"pools":{"cidrpool/pool2":{"name":"cidrpool/pool2","entries":{"c1_net2":{"container_id":"c1","interface_name":"net2","ip_address":"fd00::5","metadata":{"create_time":"","pod_uuid":"","pod_name":"web-0","pod_namespace":"apps","device_id":"","pool_config_snapshot":""}}},"last_pool_config":"","last_reserved_ip":""},"empty":{"name":"empty","entries":{},"last_pool_config":"","last_reserved_ip":""},"pool1":{"name":"pool1","entries":{"c1_net1":{"container_id":"c1","interface_name":"net1","ip_address":"10.0.0.3","metadata":{"create_time":"2026-07-01T10:00:00Z","pod_uuid":"u1","pod_name":"web-0","pod_namespace":"apps","device_id":"mlx5_core.sf.2","pool_config_snapshot":"{\"subnet\":\"10.0.0.0/24\"}"}},"c2_net1":{"container_id":"c2","interface_name":"net1","ip_address":"10.0.0.4","metadata":{"create_time":"","pod_uuid":"","pod_name":"","pod_namespace":"","device_id":"","pool_config_snapshot":""}}},"last_pool_config":"","last_reserved_ip":"10.0.0.4"}}}"#;

fn expected() -> super::Reserved {
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    BTreeMap::from([
        (
            (PoolKind::IpPool, "pool1".to_owned()),
            BTreeMap::from([
                (ip("10.0.0.3"), "Pod apps/web-0, interface net1".to_owned()),
                (ip("10.0.0.4"), "container c2, interface net1".to_owned()),
            ]),
        ),
        (
            (PoolKind::CidrPool, "pool2".to_owned()),
            BTreeMap::from([(ip("fd00::5"), "Pod apps/web-0, interface net2".to_owned())]),
        ),
    ])
}

#[test]
fn a_store_of_nv_ipam_is_read() {
    assert_eq!(super::parse(STORE.as_bytes()), Ok(expected()));
}

#[test]
fn an_empty_file_is_an_empty_store_as_for_nv_ipam() {
    assert_eq!(super::parse(b""), Ok(BTreeMap::new()));
}

#[test]
fn what_is_damaged_is_refused() {
    for (from, to, reason) in [
        ("10.0.0.3\"", "10.0.0.5\"", "checksum"),
        ("2653391061", "2653391062", "checksum"),
        ("\"version\":1", "\"version\":2", "version 2"),
    ] {
        let error = super::parse(STORE.replacen(from, to, 1).as_bytes()).expect_err(from);
        assert!(error.contains(reason), "{error}");
    }
    for length in [1, 20, STORE.len() / 2, STORE.len() - 1] {
        assert!(super::parse(&STORE.as_bytes()[..length]).is_err(), "cut at {length}");
    }
}

#[test]
fn neither_an_error_nor_absence_ends_what_was_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let mut store = NvIpamStore::new(path.clone());
    assert_eq!(store.refresh().unwrap().len(), 0, "nv-ipam does not run here");
    // As nv-ipam does it: a new file in the place of the old one.
    let replace = |text: &str| {
        fs::write(dir.path().join("new"), text).unwrap();
        fs::rename(dir.path().join("new"), &path).unwrap();
    };
    replace(STORE);
    assert_eq!(store.refresh().unwrap(), &expected());
    replace(&STORE[..100]);
    for _ in 0..2 {
        let error = store.refresh().expect_err("cut");
        assert!(matches!(&error, NvIpamError::Unusable { path: p, .. } if *p == path), "{error}");
        assert_eq!(store.reserved(), &expected());
    }
    replace(STORE);
    assert_eq!(store.refresh().unwrap(), &expected());
    fs::remove_file(&path).unwrap();
    assert!(matches!(store.refresh(), Err(NvIpamError::Read { .. })), "perhaps only unmounted");
    assert_eq!(store.reserved(), &expected());
    assert_eq!(
        NvIpamStore::new(path.clone()).refresh().unwrap().len(),
        0,
        "with the next start it is absent"
    );
    fs::create_dir(&path).unwrap();
    assert!(matches!(store.refresh(), Err(NvIpamError::Read { .. })));
}
