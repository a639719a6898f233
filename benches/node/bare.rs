//! The peers: as little code as can do the job, packed by hand.

use std::net::Ipv4Addr;

use dpu_ipam::model::{Address, Route};
use ipnet::IpNet;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::{
    libc,
    sys::socket::{setsockopt, sockopt::RcvBufForce},
};

pub(crate) fn socket(group: Option<u32>) -> Socket {
    let mut socket = Socket::new(NETLINK_ROUTE).unwrap();
    socket.bind_auto().unwrap();
    setsockopt(&socket, RcvBufForce, &(16 << 20)).unwrap();
    socket.set_netlink_get_strict_chk(true).unwrap();
    if let Some(group) = group {
        socket.add_membership(group).unwrap();
    } else {
        socket.connect(&SocketAddr::new(0, 0)).unwrap();
    }
    socket
}

/// Adds a message to `to`.
pub(crate) fn message(to: &mut Vec<u8>, kind: u16, flags: u16, header: &[u8], attrs: &[(u16, &[u8])]) {
    let start = to.len();
    to.extend_from_slice(&[0; 4]);
    to.extend_from_slice(&kind.to_ne_bytes());
    to.extend_from_slice(&flags.to_ne_bytes());
    to.extend_from_slice(&[0; 8]);
    to.extend_from_slice(header);
    for (kind, value) in attrs {
        to.extend_from_slice(&u16::try_from(4 + value.len()).unwrap().to_ne_bytes());
        to.extend_from_slice(&kind.to_ne_bytes());
        to.extend_from_slice(value);
        to.resize(to.len().next_multiple_of(4), 0);
    }
    let len = u32::try_from(to.len() - start).unwrap();
    to[start..start + 4].copy_from_slice(&len.to_ne_bytes());
}

fn v4(address: std::net::IpAddr) -> [u8; 4] {
    let std::net::IpAddr::V4(address) = address else { panic!("IPv4 only") };
    address.octets()
}

pub(crate) fn address(to: &mut Vec<u8>, a: &Address, kind: u16, flags: u16) {
    let IpNet::V4(net) = a.address else { panic!("IPv4 only") };
    let [i, j, k, l] = a.ifindex.to_ne_bytes();
    let (local, broadcast): ([u8; 4], Ipv4Addr) = (net.addr().octets(), net.broadcast());
    let attrs: [(u16, &[u8]); 4] = [(2, &local), (1, &local), (4, &broadcast.octets()), (11, &[a.protocol])];
    message(to, kind, flags, &[2, net.prefix_len(), 0, 0, i, j, k, l], &attrs);
}

pub(crate) fn route(to: &mut Vec<u8>, r: &Route, flags: u16) {
    let header = [2, r.dst.prefix_len(), 0, 0, 254, r.protocol, 0, 1, 0, 0, 0, 0];
    let attrs: [(u16, &[u8]); 4] = [
        (1, &v4(r.dst.addr())),
        (6, &r.metric.to_ne_bytes()),
        (5, &v4(r.gateway.unwrap())),
        (4, &r.oif.to_ne_bytes()),
    ];
    message(to, libc::RTM_NEWROUTE, flags, &header, &attrs);
}

pub(crate) fn link_up(to: &mut Vec<u8>, ifindex: u32, flags: u16) {
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&ifindex.to_ne_bytes());
    header[8] = 1;
    header[12] = 1;
    message(to, libc::RTM_SETLINK, flags, &header, &[]);
}

/// Sends what `pack` packs, `at_once` messages in one send, an acknowledgement for each.
pub(crate) fn send_acked(
    socket: &Socket,
    count: usize,
    at_once: usize,
    pack: impl Fn(usize, &mut Vec<u8>, u16),
) {
    let flags =
        u16::try_from(libc::NLM_F_REQUEST | libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL).unwrap();
    let (mut out, mut answer) = (Vec::new(), Vec::with_capacity(65_536));
    for first in (0..count).step_by(at_once) {
        let end = count.min(first + at_once);
        out.clear();
        for n in first..end {
            pack(n, &mut out, flags);
        }
        socket.send(&out, 0).unwrap();
        let mut left = end - first;
        while left > 0 {
            answer.clear();
            socket.recv(&mut answer, 0).unwrap();
            for message in messages(&answer) {
                assert_eq!(message[16..20], [0; 4], "an error");
                left -= 1;
            }
        }
    }
}

/// The messages of a datagram, with their headers.
pub(crate) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let len = u32::from_ne_bytes(*bytes.first_chunk::<4>()?) as usize;
        let (message, rest) = bytes.split_at(len.min(bytes.len()));
        bytes = rest;
        Some(message)
    })
}

/// One dump, received and thrown away. Gives the number of messages.
pub(crate) fn dump(
    socket: &Socket,
    kind: u16,
    header: &[u8],
    attrs: &[(u16, &[u8])],
    buffer: &mut Vec<u8>,
) -> usize {
    let mut out = Vec::new();
    message(&mut out, kind, u16::try_from(libc::NLM_F_REQUEST | libc::NLM_F_DUMP).unwrap(), header, attrs);
    socket.send(&out, 0).unwrap();
    let mut count = 0;
    loop {
        buffer.clear();
        socket.recv(buffer, 0).unwrap();
        for message in messages(buffer) {
            let kind = u16::from_ne_bytes([message[4], message[5]]);
            assert_ne!(kind, 2, "an error");
            if kind == 3 {
                return count;
            }
            count += 1;
        }
    }
}
