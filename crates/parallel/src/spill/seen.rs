//! Keys seen before, and what was noted when each was first seen.

use gristmill_core::{Result, Space};
use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Place;

use super::run::{Entry, Run};
use super::{failed, file};
use crate::key::KeyHash;

/// Memory that a key takes at most: its place in a table that has just doubled, and its place in
/// the list that is sorted when the table goes to disk.
const KEY: usize = 80;
/// Runs of one level that are merged into one of the next.
const FAN: usize = 8;

/// The keys seen so far, each with a number noted when it was first seen. Answers at once, whether
/// the keys fit in memory or not.
///
/// Half of the memory holds the latest keys. When it is full they go to disk, in order, as a *run*;
/// runs are merged as they become many. A filter for each run, in the other half of the memory,
/// says of most new keys that they need not be looked for on disk; where there is no room for
/// filters, every key is. On disk a key takes 24 bytes, in memory 1 byte for 32 keys on disk.
///
/// ```
/// use gristmill_core::Space;
/// use gristmill_parallel::{Key, KeyForm, spill::Seen};
///
/// let keys = ["a", "b", "a"].map(|key| KeyForm::of(key).hash_wide());
/// let mut seen = Seen::new(Space::default());
/// seen.fetch(&keys)?;
/// let first: Vec<u64> = (0..3).map(|row| seen.get_or_insert(keys[row as usize], row).unwrap_or(row)).collect();
/// assert_eq!(first, [0, 1, 0]);
/// # Ok::<(), gristmill_core::Error>(())
/// ```
pub struct Seen {
    space: Space,
    recent: HashTable<Entry>,
    most_recent: usize,
    runs: Vec<Run>,
    /// Those of the keys asked for last that are on disk.
    fetched: HashTable<Entry>,
    page: Vec<u8>,
}

impl Seen {
    /// No key seen yet.
    pub fn new(space: Space) -> Self {
        let most_recent = (space.memory / 2 / KEY).max(16);
        Self {
            space,
            recent: HashTable::new(),
            most_recent,
            runs: Vec::new(),
            fetched: HashTable::new(),
            page: Vec::new(),
        }
    }

    /// Makes room for keys, and looks on disk for those of them that are there. After that, and
    /// until the next call, [`Self::get`] and [`Self::get_or_insert`] can be called for these keys
    /// only.
    ///
    /// # Errors
    /// When the disk cannot be written or read.
    pub fn fetch(&mut self, keys: &[KeyHash]) -> Result<()> {
        if self.recent.len() + keys.len() > self.most_recent && !self.recent.is_empty() {
            self.spill()?;
        }
        self.fetched.clear();
        if self.runs.is_empty() {
            return Ok(());
        }
        let mut wanted: Vec<KeyHash> =
            keys.iter().copied().filter(|key| find(&self.recent, *key).is_none()).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let Self { runs, fetched, page, space, .. } = self;
        for run in runs {
            let add = |entry: Entry| {
                fetched.insert_unique(entry.0[1], entry, |entry| entry.0[1]);
            };
            run.find(&wanted, page, add).map_err(|source| failed(space, source))?;
        }
        Ok(())
    }

    /// What was noted when the key was first seen.
    pub fn get(&self, key: KeyHash) -> Option<u64> {
        find(&self.recent, key).or_else(|| find(&self.fetched, key))
    }

    /// As [`Self::get`]; a key that was not seen before is from now on, with this number.
    pub fn get_or_insert(&mut self, key: KeyHash, value: u64) -> Option<u64> {
        let place = self.recent.entry(key[1], |entry| entry.0 == key, |entry| entry.0[1]);
        match place {
            Place::Occupied(known) => Some(known.get().1),
            Place::Vacant(place) => {
                let known = find(&self.fetched, key);
                if known.is_none() {
                    place.insert((key, value));
                }
                known
            }
        }
    }

    fn spill(&mut self) -> Result<()> {
        let mut entries: Vec<Entry> = self.recent.drain().collect();
        entries.sort_unstable();
        let len = entries.len();
        let (target, room) = (file(&self.space)?, self.room_for_filter());
        let run = Run::write(target, entries.into_iter().map(Ok), len, 0, room);
        self.runs.push(run.map_err(|source| failed(&self.space, source))?);
        while let Some(last) = self.runs.last() {
            let level = last.level;
            let start = self.runs.partition_point(|run| run.level > level);
            if self.runs.len() - start < FAN {
                break;
            }
            let merged = self.runs.split_off(start);
            let target = file(&self.space)?;
            let run = Run::merge(merged, target, self.room_for_filter());
            self.runs.push(run.map_err(|source| failed(&self.space, source))?);
        }
        Ok(())
    }

    fn room_for_filter(&self) -> usize {
        let taken: usize = self.runs.iter().map(Run::filter_bytes).sum();
        (self.space.memory / 2).saturating_sub(taken)
    }
}

fn find(table: &HashTable<Entry>, key: KeyHash) -> Option<u64> {
    table.find(key[1], |entry| entry.0 == key).map(|entry| entry.1)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::key::KeyForm;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn answers_as_a_map_would(
            keys in prop::collection::vec(prop_oneof![0u32..4, 0u32..3_000], 0..6_000),
            batch in 1usize..400,
            memory in prop_oneof![Just(0usize), Just(20_000), Just(1 << 20)],
        ) {
            let mut seen = Seen::new(Space { memory, ..Space::default() });
            let mut model: HashMap<u32, u64> = HashMap::new();
            for (number, keys) in keys.chunks(batch).enumerate() {
                let hashes: Vec<KeyHash> = keys.iter().map(|key| KeyForm::of(key).hash_wide()).collect();
                seen.fetch(&hashes).unwrap();
                for (row, (key, hash)) in keys.iter().zip(hashes).enumerate() {
                    let value = (number * batch + row) as u64;
                    let expected = model.get(key).copied();
                    model.entry(*key).or_insert(value);
                    prop_assert_eq!(seen.get(hash), expected);
                    prop_assert_eq!(seen.get_or_insert(hash, value), expected);
                }
            }
        }
    }

    #[test]
    fn keys_on_disk_are_merged_into_few_runs() {
        let mut seen = Seen::new(Space { memory: 0, ..Space::default() });
        let hash = |n: u64| KeyForm::of(&n).hash_wide();
        for n in 0..16 * 600 {
            seen.fetch(&[hash(n)]).unwrap();
            assert_eq!(seen.get_or_insert(hash(n), n), None);
        }
        assert!(seen.runs.len() <= 4 * FAN, "{}", seen.runs.len());
        for n in (0..16 * 600).step_by(7) {
            seen.fetch(&[hash(n)]).unwrap();
            assert_eq!(seen.get(hash(n)), Some(n));
        }
    }
}
