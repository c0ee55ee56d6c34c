//! How many times each key came.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

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

/// The keys that came, and how many times each. What it answers does not depend on the order in
/// which keys are added, nor on whether they fit in memory.
///
/// A key is any 128 bits: a hash, or a value itself in a form whose order is that of the values, so
/// that [`Self::each`] gives the values in their order.
///
/// ```
/// use gristmill_core::Space;
/// use gristmill_parallel::spill::Counts;
///
/// let mut counts = Counts::new(Space::default());
/// counts.add(&[[0, 2], [0, 1], [0, 2]])?;
/// let mut all = Vec::new();
/// counts.each(|key, count| all.push((key, count)))?;
/// assert_eq!(all, [([0, 1], 1), ([0, 2], 2)]);
/// # Ok::<(), gristmill_core::Error>(())
/// ```
pub struct Counts {
    space: Space,
    /// The latest keys, each in one of several tables, so that threads seldom wait for each other.
    recent: Vec<Mutex<HashTable<Entry>>>,
    /// How many keys one of them has at most.
    most_recent: usize,
    runs: Mutex<Vec<Run>>,
}

/// Tables of the latest keys.
const TABLES: usize = 8;

impl Counts {
    /// No key yet.
    pub fn new(space: Space) -> Self {
        let most_recent = (space.memory / KEY / TABLES).max(16);
        let recent = std::iter::repeat_with(Mutex::default).take(TABLES).collect();
        Self { space, recent, most_recent, runs: Mutex::default() }
    }

    /// Counts keys, one for each time that it is there. Several threads may do so at once.
    ///
    /// # Errors
    /// When the disk cannot be written.
    pub fn add(&self, keys: &[KeyHash]) -> Result<()> {
        self.add_times(keys.iter().map(|key| (*key, 1)))
    }

    /// As [`Self::add`], each key so many times.
    ///
    /// # Errors
    /// When the disk cannot be written.
    pub fn add_times(&self, keys: impl ExactSizeIterator<Item = (KeyHash, u64)>) -> Result<()> {
        let mut by_table: [Vec<(u64, KeyHash, u64)>; TABLES] = Default::default();
        by_table.iter_mut().for_each(|keys_of| keys_of.reserve(keys.len() / TABLES + 16));
        for (key, times) in keys {
            // Both halves: a key that is a value may have all that tells it apart in either.
            let hash = spread(key);
            by_table[(hash >> 32) as usize % TABLES].push((hash, key, times));
        }
        for (table, keys) in self.recent.iter().zip(by_table) {
            let mut recent = table.lock().unwrap_or_else(PoisonError::into_inner);
            for (hash, key, times) in keys {
                match recent.entry(hash, |entry| entry.0 == key, |entry| spread(entry.0)) {
                    Place::Occupied(mut known) => known.get_mut().1 += times,
                    Place::Vacant(place) => {
                        place.insert((key, times));
                        if recent.len() >= self.most_recent {
                            self.spill(&mut recent)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Each key with its count, ascending.
    ///
    /// # Errors
    /// When the disk cannot be read or written.
    pub fn each(&mut self, mut each: impl FnMut(KeyHash, u64)) -> Result<()> {
        for entry in self.entries()? {
            let (key, count) = entry?;
            each(key, count);
        }
        Ok(())
    }

    /// As [`Self::each`], one after the other.
    ///
    /// # Errors
    /// When the disk cannot be written; each entry, when it cannot be read.
    pub fn entries(&mut self) -> Result<impl Iterator<Item = Result<(KeyHash, u64)>>> {
        let all = |table: &Mutex<HashTable<Entry>>| {
            let table = table.lock().unwrap_or_else(PoisonError::into_inner);
            table.iter().copied().collect::<Vec<_>>()
        };
        let mut recent = Vec::new();
        if self.runs().is_empty() {
            recent.extend(self.recent.iter().flat_map(all));
            recent.sort_unstable();
        } else {
            for table in &self.recent {
                self.spill(&mut table.lock().unwrap_or_else(PoisonError::into_inner))?;
            }
        }
        let runs = self.runs.get_mut().unwrap_or_else(PoisonError::into_inner);
        let space = &self.space;
        let spilled = Summed::of(runs).map(|entry| entry.map_err(|source| failed(space, source)));
        Ok(recent.into_iter().map(Ok).chain(spilled))
    }

    fn runs(&self) -> MutexGuard<'_, Vec<Run>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the keys of a table to disk.
    fn spill(&self, recent: &mut HashTable<Entry>) -> Result<()> {
        if recent.is_empty() {
            return Ok(());
        }
        let mut entries: Vec<Entry> = recent.drain().collect();
        entries.sort_unstable();
        let len = entries.len();
        let write = |write: &dyn Fn(File) -> io::Result<Run>| {
            write(file(&self.space)?).map_err(|source| failed(&self.space, source))
        };
        let mut runs = self.runs();
        runs.push(write(&|target| Run::write(target, entries.iter().copied().map(Ok), len, 0, 0))?);
        while let Some(last) = runs.last() {
            let level = last.level;
            let start = runs.partition_point(|run| run.level > level);
            if runs.len() - start < FAN {
                break;
            }
            let merged = runs.split_off(start);
            let len = merged.iter().map(Run::len).sum();
            let level = level + 1;
            runs.push(write(&|target| Run::write(target, Summed::of(&merged), len, level, 0))?);
        }
        Ok(())
    }
}

fn spread([high, low]: KeyHash) -> u64 {
    (high.rotate_left(32) ^ low).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// The entries of runs together, ascending; counts of one key are added.
struct Summed<I> {
    sources: Vec<I>,
    heads: BinaryHeap<Reverse<(Entry, usize)>>,
    failed: Option<io::Error>,
}

impl<'a> Summed<super::run::Reader<'a>> {
    fn of(runs: &'a [Run]) -> Self {
        let sources: Vec<_> = runs.iter().map(Run::reader).collect();
        let mut summed = Self { sources, heads: BinaryHeap::new(), failed: None };
        (0..runs.len()).for_each(|source| summed.advance(source));
        summed
    }
}

impl<I: Iterator<Item = io::Result<Entry>>> Summed<I> {
    fn advance(&mut self, source: usize) {
        match self.sources[source].next() {
            Some(Ok(entry)) => self.heads.push(Reverse((entry, source))),
            Some(Err(error)) => self.failed = Some(error),
            None => {}
        }
    }
}

impl<I: Iterator<Item = io::Result<Entry>>> Iterator for Summed<I> {
    type Item = io::Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut sum: Option<Entry> = None;
        while let Some(&Reverse(((key, count), source))) = self.heads.peek() {
            match &mut sum {
                Some((first, _)) if *first != key => break,
                Some((_, total)) => *total += count,
                None => sum = Some((key, count)),
            }
            self.heads.pop();
            self.advance(source);
        }
        match self.failed.take() {
            Some(error) => Some(Err(error)),
            None => sum.map(Ok),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn counts_as_a_map_would(
            keys in prop::collection::vec(prop_oneof![0u64..4, 0u64..3_000], 0..6_000),
            batch in 1usize..400,
            memory in prop_oneof![Just(0usize), Just(20_000), Just(1 << 20)],
        ) {
            let mut counts = Counts::new(Space { memory, ..Space::default() });
            let mut model: BTreeMap<KeyHash, u64> = BTreeMap::new();
            let keys: Vec<KeyHash> = keys.iter().map(|key| [key % 7, *key]).collect();
            keys.iter().for_each(|key| *model.entry(*key).or_default() += 1);
            let batches: Vec<&[KeyHash]> = keys.chunks(batch).collect();
            std::thread::scope(|scope| {
                for half in batches.chunks(batches.len().div_ceil(2).max(1)) {
                    let counts = &counts;
                    scope.spawn(move || half.iter().for_each(|keys| counts.add(keys).unwrap()));
                }
            });
            for _ in 0..2 {
                let mut all = Vec::new();
                counts.each(|key, count| all.push((key, count))).unwrap();
                prop_assert_eq!(&all, &model.iter().map(|(key, count)| (*key, *count)).collect::<Vec<_>>());
            }
            prop_assert!(counts.runs().len() <= 4 * FAN);
        }
    }
}
