//! The bytes of a generation: a line that says what follows, and the JSON. Touches no file.

use std::io;

use super::{Identity, State};

/// First word of a generation.
const MAGIC: &str = "dpu-ipam-state";
/// The only version so far. A later one may add fields to it as long as their absence means what it means today.
const VERSION: u32 = 1;

/// Why a stored generation is not used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// The file cannot be read.
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// Written by a later version of the agent.
    #[error("it is of version {0}, and this agent knows version {VERSION}")]
    Newer(u32),
    /// Cut short, overwritten, or no such file at all.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// It belongs to somebody else.
    #[error("it belongs to {stored}, and this is {ours}")]
    OtherIdentity {
        /// To whom.
        stored: Box<Identity>,
        /// Who we are.
        ours: Box<Identity>,
    },
}

pub(super) fn encode(state: &State) -> Result<Vec<u8>, serde_json::Error> {
    let json = serde_json::to_vec(state)?;
    let mut bytes = format!("{MAGIC} {VERSION} {} {:08x}\n", json.len(), crc32fast::hash(&json)).into_bytes();
    bytes.extend(json);
    Ok(bytes)
}

pub(super) fn decode(bytes: &[u8]) -> Result<State, Unusable> {
    let damaged = |what: &str| Unusable::Damaged(what.to_owned());
    let end = bytes.iter().position(|b| *b == b'\n').ok_or_else(|| damaged("it has no first line"))?;
    let (head, json) = (&bytes[..end], &bytes[end + 1..]);
    let head = str::from_utf8(head).map_err(|_| damaged("its first line is no text"))?;
    let mut words = head.split(' ');
    if words.next() != Some(MAGIC) {
        return Err(damaged("it is no state of dpu-ipam"));
    }
    let version: u32 =
        words.next().and_then(|word| word.parse().ok()).ok_or_else(|| damaged("it names no version"))?;
    // Before anything else is understood: a later version may have another first line from here on.
    if version > VERSION {
        return Err(Unusable::Newer(version));
    }
    let length = words.next().and_then(|word| word.parse::<usize>().ok());
    let checksum = words.next().and_then(|word| u32::from_str_radix(word, 16).ok());
    if version != VERSION || length.is_none() || checksum.is_none() || words.next().is_some() {
        return Err(damaged("its first line is wrong"));
    }
    if length != Some(json.len()) {
        return Err(Unusable::Damaged(format!("its length is {}, not {}", json.len(), length.unwrap_or(0))));
    }
    if checksum != Some(crc32fast::hash(json)) {
        return Err(damaged("its checksum is wrong"));
    }
    serde_json::from_slice(json).map_err(|e| Unusable::Damaged(e.to_string()))
}
