//! Durations as a user writes them: a whole number and a unit, as in `30s` or `5m`.

use std::time::Duration;

/// Units and their length in milliseconds, the longest first.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Reads `30s`; `None` if it is no such text or too large.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let (_, millis) = UNITS.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*millis).map(Duration::from_millis)
}

/// Writes what [`parse`] reads, in the longest unit that is exact.
pub(super) fn format(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let (unit, length) = UNITS.iter().find(|(_, l)| millis != 0 && millis % l == 0).unwrap_or(&("s", 1000));
    format!("{}{unit}", millis / length)
}
