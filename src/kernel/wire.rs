//! Bytes of netlink: messages and attributes, written and read. Knows the framing only, never what a number means.
//!
//! A full decode of every attribute would cost more than the kernel's dump itself, so readers walk the attributes and take
//! the few that they need.

/// Bytes that are no netlink message, or an attribute of the wrong size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

const MESSAGE_HEADER: usize = 16;
const ATTR_HEADER: usize = 4;
/// `NLA_F_NESTED` and `NLA_F_NET_BYTEORDER` share the field with the type.
const ATTR_TYPE_MASK: u16 = 0x3fff;
const NESTED: u16 = 0x8000;

/// Everything in netlink is padded to 4 bytes.
const fn aligned(len: usize) -> usize {
    len.saturating_add(3) & !3
}

/// The `N` bytes at `at`.
pub(super) fn bytes<const N: usize>(from: &[u8], at: usize) -> Result<[u8; N], Malformed> {
    from.get(at..).and_then(<[u8]>::first_chunk).copied().ok_or(Malformed)
}

/// The native-endian number at `at`.
pub(super) fn u16_at(from: &[u8], at: usize) -> Result<u16, Malformed> {
    bytes(from, at).map(u16::from_ne_bytes)
}

/// The native-endian number at `at`.
pub(super) fn u32_at(from: &[u8], at: usize) -> Result<u32, Malformed> {
    bytes(from, at).map(u32::from_ne_bytes)
}

/// The byte at `at`.
pub(super) fn u8_at(from: &[u8], at: usize) -> Result<u8, Malformed> {
    from.get(at).copied().ok_or(Malformed)
}

/// One received message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Message<'a> {
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) seq: u32,
    /// Port of the request that caused it; 0 for the kernel itself.
    pub(super) port: u32,
    pub(super) body: &'a [u8],
}

/// The messages of one datagram. Ends after the first malformed one.
#[derive(Debug, Clone)]
pub(super) struct Messages<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = std::mem::take(&mut self.0);
        if rest.is_empty() {
            return None;
        }
        let message = (|| {
            let len = usize::try_from(u32_at(rest, 0)?).map_err(|_| Malformed)?;
            let body = rest.get(MESSAGE_HEADER..len).ok_or(Malformed)?;
            self.0 = rest.get(aligned(len)..).unwrap_or_default();
            Ok(Message {
                kind: u16_at(rest, 4)?,
                flags: u16_at(rest, 6)?,
                seq: u32_at(rest, 8)?,
                port: u32_at(rest, 12)?,
                body,
            })
        })();
        Some(message)
    }
}

/// The attributes in a message's body or in another attribute, as (type, value). Ends after the first malformed one.
#[derive(Debug, Clone)]
pub(super) struct Attrs<'a>(&'a [u8]);

impl<'a> Attrs<'a> {
    /// Those in `nest`.
    pub(super) fn new(nest: &'a [u8]) -> Self {
        Self(nest)
    }

    /// Those behind a fixed header of `header` bytes.
    pub(super) fn behind(body: &'a [u8], header: usize) -> Result<Self, Malformed> {
        body.get(aligned(header)..).map(Self).ok_or(Malformed)
    }

    /// The first one of this type.
    pub(super) fn find(self, kind: u16) -> Result<Option<&'a [u8]>, Malformed> {
        for attr in self {
            let (found, value) = attr?;
            if found == kind {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }
}

impl<'a> Iterator for Attrs<'a> {
    type Item = Result<(u16, &'a [u8]), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = std::mem::take(&mut self.0);
        if rest.is_empty() {
            return None;
        }
        let attr = (|| {
            let len = usize::from(u16_at(rest, 0)?);
            let value = rest.get(ATTR_HEADER..len).ok_or(Malformed)?;
            self.0 = rest.get(aligned(len)..).unwrap_or_default();
            Ok((u16_at(rest, 2)? & ATTR_TYPE_MASK, value))
        })();
        Some(attr)
    }
}

/// A buffer of requests, one behind the other.
#[derive(Debug, Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    /// Empties it; its memory stays.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// All messages so far.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Adds a message with a fixed header and what `attrs` adds behind it.
    pub(super) fn message(
        &mut self,
        kind: u16,
        flags: u16,
        seq: u32,
        header: &[u8],
        attrs: impl FnOnce(&mut Self),
    ) {
        let start = self.0.len();
        self.0.extend_from_slice(&[0; 4]);
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(&flags.to_ne_bytes());
        self.0.extend_from_slice(&seq.to_ne_bytes());
        // Port 0: the kernel fills in the socket's own.
        self.0.extend_from_slice(&[0; 4]);
        self.0.extend_from_slice(header);
        self.pad();
        attrs(self);
        let len = u32::try_from(self.0.len() - start).unwrap_or(u32::MAX);
        self.set(start, &len.to_ne_bytes());
    }

    /// Adds an attribute.
    pub(super) fn attr(&mut self, kind: u16, value: &[u8]) {
        self.attr_with(kind, |w| w.0.extend_from_slice(value));
    }

    /// Adds an attribute that holds a number.
    pub(super) fn attr_u32(&mut self, kind: u16, value: u32) {
        self.attr(kind, &value.to_ne_bytes());
    }

    /// Adds an attribute that holds the attributes which `attrs` adds.
    pub(super) fn nest(&mut self, kind: u16, attrs: impl FnOnce(&mut Self)) {
        self.attr_with(kind | NESTED, attrs);
    }

    /// The same with a fixed header, of a multiple of 4 bytes, before the attributes.
    pub(super) fn nest_behind(&mut self, kind: u16, header: &[u8], attrs: impl FnOnce(&mut Self)) {
        self.nest(kind, |w| {
            w.0.extend_from_slice(header);
            attrs(w);
        });
    }

    fn attr_with(&mut self, kind: u16, value: impl FnOnce(&mut Self)) {
        let start = self.0.len();
        self.0.extend_from_slice(&[0; 2]);
        self.0.extend_from_slice(&kind.to_ne_bytes());
        value(self);
        // Our attributes have some dozens of bytes. A length that does not fit would be refused by the kernel.
        let len = u16::try_from(self.0.len() - start).unwrap_or(u16::MAX);
        self.set(start, &len.to_ne_bytes());
        self.pad();
    }

    fn set(&mut self, at: usize, value: &[u8]) {
        if let Some(field) = self.0.get_mut(at..at + value.len()) {
            field.copy_from_slice(value);
        }
    }

    fn pad(&mut self) {
        self.0.resize(aligned(self.0.len()), 0);
    }
}

#[cfg(test)]
mod tests;
