//! Names and numbers with a syntax of their own: checked once, where they come in. Texts are shared, as a pass clones
//! thousands of them.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

/// A text that cannot be the noun it was meant to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} is not {expected}")]
pub struct ParseError {
    /// The text as it came.
    pub value: String,
    /// What it should have been, with its article.
    pub expected: &'static str,
}

impl ParseError {
    fn new(value: &str, expected: &'static str) -> Self {
        Self { value: value.to_owned(), expected }
    }
}

/// Serialized as text, read through `FromStr`.
macro_rules! text_serde {
    ($($ty:ty),+) => {$(
        impl Serialize for $ty {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $ty {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = String::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )+};
}
text_serde!(IfName, MacAddr, PciAddr, NodeName, BindingName);

/// A netdev name as the kernel takes it: 1 to 15 bytes, no `/`, `:` or white space, not `.` or `..`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IfName(Arc<str>);

impl FromStr for IfName {
    type Err = ParseError;
    fn from_str(s: &str) -> Result<Self, ParseError> {
        // dev_valid_name() in the kernel's net/core/dev.c.
        let ok = (1..16).contains(&s.len())
            && s != "."
            && s != ".."
            && !s.bytes().any(|b| b == b'/' || b == b':' || b.is_ascii_whitespace() || b == 0);
        ok.then(|| Self(s.into())).ok_or_else(|| {
            ParseError::new(s, "an interface name (1 to 15 bytes, without '/', ':' and white space)")
        })
    }
}

impl IfName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for IfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A Kubernetes node name: a lower-case DNS subdomain of at most 253 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeName(Arc<str>);

impl FromStr for NodeName {
    type Err = ParseError;
    fn from_str(s: &str) -> Result<Self, ParseError> {
        dns_subdomain(s).then(|| Self(s.into())).ok_or_else(|| {
            ParseError::new(s, "a node name (lower-case letters, digits, '-' and '.', at most 253 bytes)")
        })
    }
}

impl NodeName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The name of a binding, shown in status: a DNS label of at most 63 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BindingName(Arc<str>);

impl FromStr for BindingName {
    type Err = ParseError;
    fn from_str(s: &str) -> Result<Self, ParseError> {
        (s.len() <= 63 && dns_subdomain(s)).then(|| Self(s.into())).ok_or_else(|| {
            ParseError::new(s, "a name (lower-case letters, digits, '-' and '.', at most 63 bytes)")
        })
    }
}

impl BindingName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BindingName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// RFC 1123 subdomain, as Kubernetes checks object names.
fn dns_subdomain(s: &str) -> bool {
    s.len() <= 253
        && s.split('.').all(|label| {
            !label.is_empty()
                && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}

/// An Ethernet address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MacAddr(pub [u8; 6]);

impl FromStr for MacAddr {
    type Err = ParseError;
    fn from_str(s: &str) -> Result<Self, ParseError> {
        let error = || ParseError::new(s, "a MAC address (six pairs of hex digits with ':')");
        let mut mac = [0; 6];
        let mut parts = s.split(':');
        for byte in &mut mac {
            let part = parts.next().filter(|p| p.len() == 2).ok_or_else(error)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| error())?;
        }
        if parts.next().is_some() { Err(error()) } else { Ok(Self(mac)) }
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// The address of a PCI function, `domain:bus:device.function`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PciAddr {
    /// PCI domain.
    pub domain: u32,
    /// Bus.
    pub bus: u8,
    /// Device, 0 to 31.
    pub device: u8,
    /// Function, 0 to 7.
    pub function: u8,
}

impl FromStr for PciAddr {
    type Err = ParseError;
    fn from_str(s: &str) -> Result<Self, ParseError> {
        let parse = || {
            let (rest, function) = s.split_once('.')?;
            let mut parts = rest.rsplit(':');
            let device = u8::from_str_radix(parts.next()?, 16).ok().filter(|d| *d < 32)?;
            let bus = u8::from_str_radix(parts.next()?, 16).ok()?;
            // Without a domain it is 0, as lspci writes it.
            let domain = parts.next().map_or(Some(0), |d| u32::from_str_radix(d, 16).ok())?;
            let function = function.parse().ok().filter(|f| *f < 8)?;
            parts.next().is_none().then_some(Self { domain, bus, device, function })
        };
        parse().ok_or_else(|| ParseError::new(s, "a PCI address (like 0000:03:00.0)"))
    }
}

impl fmt::Display for PciAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}:{:02x}:{:02x}.{}", self.domain, self.bus, self.device, self.function)
    }
}
