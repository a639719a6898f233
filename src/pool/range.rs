//! A contiguous range of addresses of one family.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// An inclusive range of addresses of one family, first <= last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "RawRange")]
pub struct AddrRange {
    first: IpAddr,
    last: IpAddr,
}

#[derive(Deserialize)]
struct RawRange {
    first: IpAddr,
    last: IpAddr,
}

impl TryFrom<RawRange> for AddrRange {
    type Error = &'static str;
    fn try_from(raw: RawRange) -> Result<Self, Self::Error> {
        Self::new(raw.first, raw.last).ok_or("first and last are not an ordered range of one family")
    }
}

impl AddrRange {
    /// `None` if the families differ or `first` comes after `last`.
    #[must_use]
    pub fn new(first: IpAddr, last: IpAddr) -> Option<Self> {
        (first.is_ipv4() == last.is_ipv4() && first <= last).then_some(Self { first, last })
    }

    /// Both ends as numbers, for arithmetic inside this room.
    pub(super) fn to_bits(self) -> (u128, u128) {
        (bits(self.first), bits(self.last))
    }

    /// The reverse of [`Self::to_bits`]: ordered, and inside the family's space.
    pub(super) fn of_bits((first, last): (u128, u128), ipv4: bool) -> Self {
        debug_assert!(first <= last, "ranges are ordered");
        Self { first: from_bits(first, ipv4), last: from_bits(last, ipv4) }
    }

    /// The lowest address.
    #[must_use]
    pub fn first(&self) -> IpAddr {
        self.first
    }

    /// The highest address.
    #[must_use]
    pub fn last(&self) -> IpAddr {
        self.last
    }

    /// Whether `address` is of this family and lies in the range.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.first.is_ipv4() && self.first <= address && address <= self.last
    }

    /// Number of addresses minus one, so that the whole IPv6 space fits.
    #[must_use]
    pub fn span(&self) -> u128 {
        bits(self.last) - bits(self.first)
    }

    /// The address at `index`, counted from the first; `None` outside the range.
    #[must_use]
    pub fn nth(&self, index: u128) -> Option<IpAddr> {
        (index <= self.span()).then(|| from_bits(bits(self.first) + index, self.first.is_ipv4()))
    }
}

/// The address as a number.
#[must_use]
pub(super) fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// The number as an address; IPv4 takes the low 32 bits.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "callers stay inside the family's space")]
pub(super) fn from_bits(bits: u128, ipv4: bool) -> IpAddr {
    if ipv4 { IpAddr::V4((bits as u32).into()) } else { IpAddr::V6(bits.into()) }
}
