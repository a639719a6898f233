//! What a valid spec excludes, as sets of numbers, and the blocks of which nothing is left.

use super::{ExcludeRange, IndexRange, intervals::Intervals, parse, range::bits};

/// The excluded addresses. Overlapping and adjoining ranges are joined; nv-ipam's node daemon refuses them (vector
/// `ip-ex-overlap`).
pub(super) fn addresses(exclusions: &[ExcludeRange]) -> Intervals {
    let range = |exclusion: &ExcludeRange| {
        Some((bits(parse::address(&exclusion.start)?), bits(parse::address(&exclusion.end)?)))
    };
    exclusions.iter().filter_map(range).collect()
}

/// The indexes that every node leaves out.
pub(super) fn indexes(ranges: &[IndexRange]) -> Intervals {
    let range =
        |range: &IndexRange| Some((u128::try_from(range.start).ok()?, u128::try_from(range.end).ok()?));
    ranges.iter().filter_map(range).collect()
}

/// The blocks of which nothing is left. Block k is `base + k * stride` up to `window` addresses further; it is wholly
/// excluded if the exclusions cover everything that the per-node exclusions leave of it.
///
/// A block that an exclusion covers alone is found by division. Any other needs a piece of an exclusion, so it holds an
/// end of one: two candidates per exclusion. So the time depends on the number of exclusions alone.
pub(super) fn whole_blocks(
    base: u128,
    stride: u128,
    window: u128,
    exclusions: &[ExcludeRange],
    per_node: &[IndexRange],
) -> Intervals {
    let left = indexes(per_node).gaps(0, window);
    if left.iter().next().is_none() {
        return [(0, u128::MAX)].into_iter().collect();
    }
    let excluded = addresses(exclusions).clip(base, u128::MAX);
    let is_excluded = |block: u128| {
        let covered = |(first, last): (u128, u128)| {
            let start = base + block * stride;
            start.checked_add(last).is_some_and(|last| excluded.cover(start + first, last))
        };
        left.iter().all(covered)
    };
    let mut blocks = Vec::new();
    for (first, last) in excluded.iter() {
        let (first, last) = (first - base, last - base);
        if let Some(end) = last.checked_sub(window) {
            blocks.push((first.div_ceil(stride), end / stride));
        }
        let ends = [first / stride, last / stride];
        blocks.extend(ends.into_iter().filter(|block| is_excluded(*block)).map(|block| (block, block)));
    }
    blocks.into_iter().collect()
}
