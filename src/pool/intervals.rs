//! Sets of numbers as intervals: addresses, indexes of addresses, indexes of blocks. Never walks over the numbers.

/// Inclusive intervals, sorted, disjoint and not adjoining.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Intervals(Vec<(u128, u128)>);

impl FromIterator<(u128, u128)> for Intervals {
    /// Joins intervals that overlap or adjoin; those that end before they start are left out.
    fn from_iter<T: IntoIterator<Item = (u128, u128)>>(intervals: T) -> Self {
        let mut sorted: Vec<_> = intervals.into_iter().filter(|(first, last)| first <= last).collect();
        sorted.sort_unstable();
        sorted.dedup_by(|next, joined| {
            let touches = joined.1.checked_add(1).is_none_or(|behind| next.0 <= behind);
            if touches {
                joined.1 = joined.1.max(next.1);
            }
            touches
        });
        Self(sorted)
    }
}

impl IntoIterator for Intervals {
    type Item = (u128, u128);
    type IntoIter = std::vec::IntoIter<(u128, u128)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl Intervals {
    /// In ascending order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u128, u128)> + '_ {
        self.0.iter().copied()
    }

    /// Whether all numbers from `first` to `last` are in the set.
    pub(super) fn cover(&self, first: u128, last: u128) -> bool {
        let at = self.0.partition_point(|interval| interval.1 < first);
        self.0.get(at).is_some_and(|interval| interval.0 <= first && last <= interval.1)
    }

    /// What lies between `first` and `last`, inclusive.
    pub(super) fn clip(&self, first: u128, last: u128) -> Self {
        self.iter().map(|interval| (interval.0.max(first), interval.1.min(last))).collect()
    }

    /// What is missing between `first` and `last`, inclusive.
    pub(super) fn gaps(&self, first: u128, last: u128) -> Self {
        let mut next = Some(first);
        let mut gaps = Vec::new();
        for interval in self.clip(first, last).0 {
            if let (Some(start), Some(end)) = (next, interval.0.checked_sub(1)) {
                gaps.push((start, end));
            }
            next = interval.1.checked_add(1);
        }
        gaps.extend(next.map(|start| (start, last)));
        gaps.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_space_has_no_overflow() {
        let all: Intervals = [(5, u128::MAX), (0, 4), (7, 9)].into_iter().collect();
        assert_eq!(all, Intervals(vec![(0, u128::MAX)]));
        assert_eq!(all.gaps(0, u128::MAX), Intervals::default());
        assert_eq!(Intervals::default().gaps(0, u128::MAX), all);
    }

    #[test]
    fn gaps_and_cover() {
        let set: Intervals = [(0, 1), (4, 5), (6, 7), (12, 20), (9, 3)].into_iter().collect();
        assert_eq!(set, Intervals(vec![(0, 1), (4, 7), (12, 20)]));
        assert_eq!(set.gaps(1, 15), Intervals(vec![(2, 3), (8, 11)]));
        assert!(set.cover(4, 7) && !set.cover(4, 8) && !set.cover(2, 2));
    }
}
