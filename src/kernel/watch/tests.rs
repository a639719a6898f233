//! Tests of what an event wakes.

use super::super::wire::Writer;
use super::*;

fn memory() -> Memory {
    Memory { own: 7, links: BTreeMap::new() }
}

fn noted(kind: u16, port: u32, header: &[u8], attrs: impl FnOnce(&mut Writer)) -> Wake {
    let mut w = Writer::default();
    w.message(kind, 0, 0, header, attrs);
    let mut datagram = w.as_bytes().to_vec();
    datagram[12..16].copy_from_slice(&port.to_ne_bytes());
    let mut wake = Wake::default();
    memory().note(&datagram, &mut wake);
    wake
}

fn route(protocol: u8, port: u32, oif: u32) -> Wake {
    let header = [AF_INET, 0, 0, 0, 254, protocol, 0, RTN_UNICAST, 0, 0, 0, 0];
    noted(RTM_NEWROUTE, port, &header, |w| w.attr_u32(RTA_OIF, oif))
}

#[test]
fn what_cannot_be_read_is_as_good_as_lost() {
    let mut wake = Wake::default();
    memory().note(&[1, 2, 3], &mut wake);
    assert!(wake.lost && wake.all);
    assert!(noted(RTM_NEWADDR, 1, &[], |_| {}).lost);
}

#[test]
fn own_changes_and_the_kernels_consequences_are_passed_over() {
    assert!(route(133, 7, 3).is_empty(), "our own port");
    assert!(route(RTPROT_KERNEL, 0, 3).is_empty(), "follows an address");
    assert_eq!(route(RTPROT_KERNEL, 9, 3).links, BTreeSet::from([3]), "another process meddles with it");
    assert_eq!(route(133, 0, 3).links, BTreeSet::from([3]));
}

#[test]
fn a_route_without_an_interface_can_be_anywhere() {
    let header = [AF_INET, 0, 0, 0, 254, 4, 0, RTN_UNICAST, 0, 0, 0, 0];
    assert!(noted(RTM_NEWROUTE, 9, &header, |_| {}).all);
}

#[test]
fn ports_that_are_no_process_name_none() {
    let own = std::process::id();
    assert_eq!(process(own), fs::read_to_string("/proc/self/comm").ok().map(|c| c.trim_end().to_owned()));
    // libnl: the second socket of the same process.
    assert_eq!(process(own | 1 << 22), process(own));
    assert_eq!(process(u32::MAX), None);
}
