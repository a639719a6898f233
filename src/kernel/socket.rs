//! The request socket: sends requests and reads exactly their answers. Knows sequence numbers, dumps and lost answers;
//! never what a message says.
//!
//! It is synchronous on purpose: the kernel works on a route netlink request inside `sendmsg`, and makes the next part of a
//! dump inside `recvmsg`, so when the system call returns, the answer is there. Nothing ever waits, hence reads do not
//! block either: an answer that is not there is lost, and that is an error and never a hang.

use std::io;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::{
    libc::{MSG_DONTWAIT, MSG_TRUNC},
    sys::socket::{setsockopt, sockopt::RcvBufForce},
};

use super::{
    error::{Failure, Refusal},
    uapi::{
        NLM_F_ACK, NLM_F_ACK_TLVS, NLM_F_CAPPED, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE,
        NLMSG_ERROR, NLMSGERR_ATTR_MSG,
    },
    wire::{Attrs, Malformed, Message, Messages, Writer, bytes, u32_at},
};

/// Larger than any answer: dumps come in parts of at most 32 KiB, whatever the page size.
const READ_BUFFER: usize = 64 * 1024;

/// Attempts for a dump that the kernel says was not consistent. While 1,000 links come up, IPv6 addresses appear one by one:
/// there the tenth attempt was the first without a change.
const DUMP_ATTEMPTS: usize = 32;

/// Binds a new socket so that only the kernel can send to it, with room for `room` bytes of unread messages where allowed.
/// Gives its port.
pub(super) fn prepare(socket: &mut Socket, room: i32) -> io::Result<u32> {
    let port = socket.bind_auto()?.port_number();
    socket.connect(&SocketAddr::new(0, 0))?;
    let bytes = usize::try_from(room).unwrap_or_default();
    if setsockopt(socket, RcvBufForce, &bytes).is_err() {
        // Without the right to force it, as much as net.core.rmem_max allows.
        socket.set_rx_buf_sz(room)?;
    }
    Ok(port)
}

/// Reads one datagram into `buffer`, without waiting.
pub(super) fn read(socket: &Socket, buffer: &mut Vec<u8>) -> Result<(), Failure> {
    buffer.clear();
    loop {
        match socket.recv(buffer, MSG_DONTWAIT | MSG_TRUNC) {
            Ok(len) if len > buffer.len() => return Err(Failure::Truncated),
            Ok(_) => return Ok(()),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(Failure::Io(e)),
        }
    }
}

/// A socket for requests.
#[derive(Debug)]
pub(super) struct Requests {
    socket: Socket,
    port: u32,
    seq: u32,
    writer: Writer,
    buffer: Vec<u8>,
}

/// What a request asks for: message type, its fixed header, its attributes.
pub(super) struct Query<'a> {
    pub(super) kind: u16,
    pub(super) header: &'a [u8],
    pub(super) attrs: &'a [(u16, u32)],
}

impl Requests {
    /// Opens one in the network namespace of the calling thread.
    pub(super) fn open() -> io::Result<Self> {
        // An answer takes about 1 KiB of the buffer, a link's about 4 KiB; batches are far smaller than this.
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        let port = prepare(&mut socket, 2 << 20)?;
        // Filters in dump requests count (Linux 4.20), errors carry text (4.12) and no copy of the request (4.3).
        socket.set_netlink_get_strict_chk(true)?;
        socket.set_ext_ack(true)?;
        socket.set_cap_ack(true)?;
        Ok(Self { socket, port, seq: 0, writer: Writer::default(), buffer: Vec::with_capacity(READ_BUFFER) })
    }

    /// The socket's port, which notifications about its changes carry.
    pub(super) fn port(&self) -> u32 {
        self.port
    }

    /// Dumps: calls `each` for every message of a complete and consistent answer, with a fresh `T` at each attempt.
    pub(super) fn dump<T: Default>(
        &mut self,
        query: &Query<'_>,
        mut each: impl FnMut(&mut T, &[u8]) -> Result<(), Malformed>,
    ) -> Result<T, Failure> {
        for _ in 0..DUMP_ATTEMPTS {
            self.seq = self.seq.wrapping_add(1);
            self.writer.clear();
            write(&mut self.writer, query, NLM_F_REQUEST | NLM_F_DUMP, self.seq);
            self.socket.send(self.writer.as_bytes(), 0)?;
            let mut all = T::default();
            if self.read_dump(|body| each(&mut all, body))? == Consistent(true) {
                return Ok(all);
            }
        }
        Err(Failure::Interrupted)
    }

    /// Reads to the end of the dump even after a failure, as the kernel refuses a new dump before.
    fn read_dump(
        &mut self,
        mut each: impl FnMut(&[u8]) -> Result<(), Malformed>,
    ) -> Result<Consistent, Failure> {
        let mut consistent = true;
        let mut failure = None;
        loop {
            match read(&self.socket, &mut self.buffer) {
                Ok(()) => {}
                Err(Failure::Truncated) => {
                    failure = Some(Failure::Truncated);
                    // The end may be in the part that was cut off: a fresh read then says that nothing is left.
                    continue;
                }
                Err(e) => return Err(failure.unwrap_or(lost_or(e))),
            }
            for message in Messages(&self.buffer) {
                let Ok(message) = message else {
                    failure = failure.or(Some(Failure::Malformed));
                    continue;
                };
                if message.seq != self.seq {
                    continue;
                }
                consistent &= message.flags & NLM_F_DUMP_INTR == 0;
                match message.kind {
                    NLMSG_DONE | NLMSG_ERROR => {
                        let refusal = answer(&message)?;
                        return match failure.or(refusal.map(Failure::Refused)) {
                            Some(failure) => Err(failure),
                            None => Ok(Consistent(consistent)),
                        };
                    }
                    _ => {
                        if each(message.body).is_err() {
                            failure = failure.or(Some(Failure::Malformed));
                        }
                    }
                }
            }
        }
    }

    /// Asks single questions (at most some dozens, so that the answers fit) and calls `each` with the number of the question
    /// and its answer.
    pub(super) fn get(
        &mut self,
        queries: &[Query<'_>],
        mut each: impl FnMut(usize, Result<&[u8], Refusal>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let first = self.seq.wrapping_add(1);
        self.writer.clear();
        for query in queries {
            self.seq = self.seq.wrapping_add(1);
            write(&mut self.writer, query, NLM_F_REQUEST, self.seq);
        }
        self.socket.send(self.writer.as_bytes(), 0)?;
        let mut left = queries.len();
        while left > 0 {
            read(&self.socket, &mut self.buffer).map_err(lost_or)?;
            for message in Messages(&self.buffer) {
                let message = message?;
                let Some(index) = index(message.seq, first, queries.len()) else { continue };
                left = left.saturating_sub(1);
                match message.kind {
                    NLMSG_ERROR => match answer(&message)? {
                        Some(refusal) => each(index, Err(refusal))?,
                        None => return Err(Failure::Malformed),
                    },
                    _ => each(index, Ok(message.body))?,
                }
            }
        }
        Ok(())
    }

    /// Sends `count` changes in one system call and returns those that the kernel refused, by number. `encode` writes the
    /// message of the given number with the given flags and sequence number.
    ///
    /// Only the last one asks for an acknowledgement: the kernel works on them in order, refusals come without being asked
    /// for, and a refusal that finds no room makes the next read fail (ENOBUFS). So the acknowledgement of the last one
    /// speaks for all that were not refused, at the price of one answer instead of `count`.
    pub(super) fn change(
        &mut self,
        count: usize,
        mut encode: impl FnMut(usize, &mut Writer, u16, u32),
    ) -> Result<Vec<(usize, Refusal)>, Failure> {
        let mut refusals = Vec::new();
        let Some(last) = count.checked_sub(1) else { return Ok(refusals) };
        let first = self.seq.wrapping_add(1);
        self.writer.clear();
        for number in 0..count {
            self.seq = self.seq.wrapping_add(1);
            let ack = if number == last { NLM_F_ACK } else { 0 };
            encode(number, &mut self.writer, NLM_F_REQUEST | ack, self.seq);
        }
        self.socket.send(self.writer.as_bytes(), 0)?;
        loop {
            read(&self.socket, &mut self.buffer).map_err(lost_or)?;
            for message in Messages(&self.buffer) {
                let message = message?;
                let Some(index) = index(message.seq, first, count) else { continue };
                if message.kind != NLMSG_ERROR {
                    continue;
                }
                refusals.extend(answer(&message)?.map(|refusal| (index, refusal)));
                if index == last {
                    return Ok(refusals);
                }
            }
        }
    }
}

/// Whether nothing changed during a dump.
#[derive(Debug, PartialEq, Eq)]
struct Consistent(bool);

fn write(writer: &mut Writer, query: &Query<'_>, flags: u16, seq: u32) {
    writer.message(query.kind, flags, seq, query.header, |w| {
        for (kind, value) in query.attrs {
            w.attr_u32(*kind, *value);
        }
    });
}

/// Which of `count` requests, the first of them with the number `first`, this answers. Others are late answers to a call that
/// failed before.
fn index(seq: u32, first: u32, count: usize) -> Option<usize> {
    usize::try_from(seq.wrapping_sub(first)).ok().filter(|index| *index < count)
}

/// Nothing there, or an overrun: answers were lost.
fn lost_or(failure: Failure) -> Failure {
    match failure {
        Failure::Io(e) if is_lost(&e) || e.kind() == io::ErrorKind::WouldBlock => Failure::Lost,
        other => other,
    }
}

/// Whether the kernel had no room for a message to this socket (ENOBUFS).
pub(super) fn is_lost(error: &io::Error) -> bool {
    error.raw_os_error() == Some(nix::libc::ENOBUFS)
}

/// The refusal in an NLMSG_ERROR or NLMSG_DONE, if it is one.
fn answer(message: &Message<'_>) -> Result<Option<Refusal>, Malformed> {
    let errno = i32::from_ne_bytes(bytes(message.body, 0)?);
    if errno >= 0 {
        return Ok(None);
    }
    let text = if message.flags & NLM_F_ACK_TLVS == 0 {
        None
    } else {
        // Behind the number stands (in an NLMSG_ERROR) the request's header, with its body unless capped.
        let echo = match message.kind {
            NLMSG_ERROR if message.flags & NLM_F_CAPPED == 0 => u32_at(message.body, 4)?,
            NLMSG_ERROR => 16,
            _ => 0,
        };
        let header = usize::try_from(echo).ok().and_then(|echo| echo.checked_add(4)).ok_or(Malformed)?;
        Attrs::behind(message.body, header)?.find(NLMSGERR_ATTR_MSG)?
    };
    Ok(Some(Refusal {
        errno: errno.saturating_neg(),
        text: text.map(super::convert::text).unwrap_or_default(),
    }))
}
