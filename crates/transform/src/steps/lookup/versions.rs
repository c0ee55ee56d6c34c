//! Which of the versions of a key holds at an instant: half-open intervals, ascending.

use std::ops::Range;

/// One version: its key's number, its row, and from when to when it holds, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version {
    pub(super) key: u32,
    pub(super) start: i64,
    pub(super) row: u32,
    pub(super) end: i64,
}

/// The versions of all keys.
#[derive(Debug, Default)]
pub(super) struct Versions {
    /// Those of key `i` are at `bounds[i]..bounds[i + 1]`.
    bounds: Vec<u32>,
    all: Vec<Version>,
}

/// What an instant finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Held {
    /// The row of the version that holds.
    Row(u32),
    /// None: all are later. The first of them.
    Early(Version),
    /// None: one has ended, and none has begun.
    Gap,
}

impl Versions {
    /// Sorts the versions of keys with numbers below `keys`, and answers pairs of those that hold
    /// at the same time, by row. Versions that end as they begin never hold, and are left out.
    pub(super) fn new(keys: usize, mut all: Vec<Version>) -> (Self, Vec<[u32; 2]>) {
        all.retain(|version| version.start < version.end);
        all.sort_unstable();
        let overlap = |pair: &[Version]| match pair {
            [one, next] if one.key == next.key && next.start < one.end => Some([one.row, next.row]),
            _ => None,
        };
        let overlaps = all.windows(2).filter_map(overlap).collect();
        let mut bounds = vec![0; keys + 1];
        for version in &all {
            bounds[version.key as usize + 1] += 1;
        }
        for i in 1..bounds.len() {
            bounds[i] += bounds[i - 1];
        }
        (Self { bounds, all }, overlaps)
    }

    /// Where the versions of the key with this number are.
    pub(super) fn of(&self, key: usize) -> Range<u32> {
        self.bounds[key]..self.bounds[key + 1]
    }

    /// Which of these versions of a key holds at an instant.
    pub(super) fn at(&self, versions: &Range<u32>, instant: i64) -> Held {
        let versions = &self.all[versions.start as usize..versions.end as usize];
        let begun = versions.partition_point(|version| version.start <= instant);
        match (begun.checked_sub(1).map(|last| versions[last]), versions.first()) {
            (Some(last), _) if instant < last.end => Held::Row(last.row),
            (None, Some(first)) => Held::Early(*first),
            _ => Held::Gap,
        }
    }

    /// Bytes that they take.
    pub(super) fn size(versions: usize) -> usize {
        versions * size_of::<Version>()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_version_that_holds_is_found(
            versions in prop::collection::vec((0u32..4, -5i64..10, -5i64..10), 0..20)
        ) {
            let all: Vec<Version> = versions
                .iter()
                .zip(0..)
                .map(|(&(key, start, end), row)| Version { key, start, row, end })
                .collect();
            let (found, overlaps) = Versions::new(4, all.clone());
            let holds = |version: &Version, at: i64| version.start <= at && at < version.end;
            let mut overlapping = false;
            for key in 0..4 {
                for at in -6..11 {
                    let of_key = || all.iter().filter(|v| v.key == key && v.start < v.end);
                    let holding: Vec<_> = of_key().filter(|v| holds(v, at)).collect();
                    overlapping |= holding.len() > 1;
                    if !overlaps.is_empty() {
                        continue;
                    }
                    let expected = match (holding.first(), of_key().map(|v| v.start).min()) {
                        (Some(version), _) => Held::Row(version.row),
                        (None, Some(first)) if at < first => {
                            Held::Early(*of_key().find(|v| v.start == first).unwrap())
                        }
                        _ => Held::Gap,
                    };
                    prop_assert_eq!(found.at(&found.of(key as usize), at), expected);
                }
            }
            prop_assert_eq!(overlapping, !overlaps.is_empty());
        }
    }
}
