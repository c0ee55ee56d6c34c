//! Which records are the last with their key.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

use gristmill_core::{Result, Space};
use hashbrown::HashTable;

use super::{failed, file};
use crate::key::KeyHash;

/// Keys are told apart by the first byte of their hash, so that they need not all be looked at at
/// once.
const PARTS: usize = 256;
const HASH: usize = 16;
/// Memory that a waiting key takes at most, in a list that has just grown.
const WAITING: usize = 2 * HASH;
/// Memory that a key takes at most in the set of keys seen from behind.
const KEY: usize = 40;
/// Words of marks that are read together.
const WINDOW: usize = 64;

/// Finds out which records are the last with their key: takes the key of each record, and, after
/// the last one, says of each record in turn whether it stays.
///
/// Keys wait in 256 parts, by hash, 16 bytes for each record; what does not fit in half of the
/// memory goes to disk. At the end each part is read from behind, and the first record seen there
/// with its key is marked. Where the keys of a part do not fit in the other half of the memory, it
/// is read several times, for a share of its keys each time.
///
/// ```
/// use gristmill_core::Space;
/// use gristmill_parallel::{Key, KeyForm, spill::Lasts};
///
/// let keys = ["a", "b", "a"].map(|key| KeyForm::of(key).hash_wide());
/// let mut lasts = Lasts::new(Space::default());
/// lasts.add(&keys)?;
/// lasts.resolve()?;
/// assert_eq!(lasts.take(&keys.map(Lasts::part))?, [false, true, true]);
/// # Ok::<(), gristmill_core::Error>(())
/// ```
pub struct Lasts {
    space: Space,
    parts: Vec<Part>,
    waiting: usize,
    file: Option<File>,
    end: u64,
    /// Bytes of marks in memory.
    marked: usize,
}

#[derive(Default)]
struct Part {
    /// Where keys are on disk: offset and number, in record order.
    blocks: Vec<(u64, usize)>,
    /// Keys of the latest records.
    waiting: Vec<KeyHash>,
    marks: Marks,
}

/// One bit for each record of a part: whether it stays.
#[derive(Default)]
struct Marks {
    /// All of them, or those read last.
    words: Vec<u64>,
    /// Where the others are on disk, and how many words.
    on_disk: Option<(u64, usize)>,
    /// The record that is asked for next.
    next: usize,
}

impl Lasts {
    /// No record yet.
    pub fn new(space: Space) -> Self {
        let parts = (0..PARTS).map(|_| Part::default()).collect();
        Self { space, parts, waiting: 0, file: None, end: 0, marked: 0 }
    }

    /// The part that a key belongs to: what is needed of it to ask for its record's mark.
    pub fn part([high, _]: KeyHash) -> u8 {
        (high >> 56) as u8
    }

    /// Takes the keys of the next records.
    ///
    /// # Errors
    /// When the disk cannot be written.
    pub fn add(&mut self, keys: &[KeyHash]) -> Result<()> {
        for key in keys {
            self.parts[usize::from(Self::part(*key))].waiting.push(*key);
        }
        self.waiting += keys.len();
        if self.waiting * WAITING > self.space.memory / 2 && self.waiting > PARTS * 16 {
            self.spill().map_err(|source| failed(&self.space, source))?;
        }
        Ok(())
    }

    fn spill(&mut self) -> Result<(), io::Error> {
        let Self { space, file: spilled, parts, end, .. } = self;
        let target = match spilled {
            Some(file) => file,
            None => spilled.insert(file(space).map_err(io::Error::other)?),
        };
        let mut out = io::BufWriter::with_capacity(256 << 10, target);
        for part in parts.iter_mut().filter(|part| !part.waiting.is_empty()) {
            for [high, low] in &part.waiting {
                out.write_all(&high.to_le_bytes())?;
                out.write_all(&low.to_le_bytes())?;
            }
            part.blocks.push((*end, part.waiting.len()));
            *end += (part.waiting.len() * HASH) as u64;
            part.waiting.clear();
        }
        self.waiting = 0;
        out.flush()
    }

    /// Marks the last record of each key. Called once, after the last record.
    ///
    /// # Errors
    /// When the disk cannot be written or read.
    pub fn resolve(&mut self) -> Result<()> {
        let mut set = HashTable::new();
        for at in 0..PARTS {
            self.resolve_part(at, &mut set).map_err(|source| failed(&self.space, source))?;
        }
        Ok(())
    }

    fn resolve_part(&mut self, at: usize, set: &mut HashTable<KeyHash>) -> io::Result<()> {
        let part = &mut self.parts[at];
        let on_disk: usize = part.blocks.iter().map(|(_, len)| len).sum();
        let records = on_disk + part.waiting.len();
        let mut words = vec![0u64; records.div_ceil(64)];
        let passes = (records * KEY).div_ceil((self.space.memory / 2).max(1 << 10));
        let passes = passes.next_power_of_two() as u64;
        let mut block = Vec::new();
        for pass in 0..passes {
            set.clear();
            let mut left = records;
            let mut look = |keys: &[KeyHash]| {
                for key in keys.iter().rev() {
                    left -= 1;
                    // Bits that the table does not look at: it takes the lowest and the highest.
                    if (key[1] >> 32) & (passes - 1) != pass {
                        continue;
                    }
                    if set.find(key[1], |seen| seen == key).is_none() {
                        set.insert_unique(key[1], *key, |key| key[1]);
                        words[left / 64] |= 1 << (left % 64);
                    }
                }
            };
            look(&part.waiting);
            for (offset, len) in part.blocks.iter().rev() {
                let Some(file) = &self.file else { break };
                read_block(file, *offset, *len, &mut block)?;
                look(&block);
            }
        }
        part.waiting = Vec::new();
        part.blocks = Vec::new();
        let bytes = words.len() * 8;
        match &self.file {
            Some(file) if self.marked + bytes > self.space.memory / 4 => {
                let raw: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
                file.write_all_at(&raw, self.end)?;
                part.marks.on_disk = Some((self.end, words.len()));
                self.end += bytes as u64;
            }
            _ => {
                self.marked += bytes;
                part.marks.words = words;
            }
        }
        Ok(())
    }

    /// Of the next records, whose keys belong to these parts: which of them stay.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn take(&mut self, parts: &[u8]) -> Result<Vec<bool>> {
        let mut keep = Vec::with_capacity(parts.len());
        for part in parts {
            let marks = &mut self.parts[usize::from(*part)].marks;
            let at = match (&self.file, marks.on_disk) {
                (Some(file), Some(place)) => {
                    marks.load(file, place).map_err(|source| failed(&self.space, source))?;
                    marks.next % (WINDOW * 64)
                }
                _ => marks.next,
            };
            marks.next += 1;
            keep.push(marks.words[at / 64] >> (at % 64) & 1 == 1);
        }
        Ok(keep)
    }
}

impl Marks {
    /// Reads on where the words in memory end.
    fn load(&mut self, file: &File, (offset, len): (u64, usize)) -> io::Result<()> {
        if !self.next.is_multiple_of(WINDOW * 64) {
            return Ok(());
        }
        let first = self.next / 64;
        let mut raw = vec![0; WINDOW.min(len - first) * 8];
        file.read_exact_at(&mut raw, offset + first as u64 * 8)?;
        self.words.clear();
        self.words.extend(raw.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word)));
        Ok(())
    }
}

fn read_block(file: &File, offset: u64, len: usize, keys: &mut Vec<KeyHash>) -> io::Result<()> {
    let mut raw = vec![0; len * HASH];
    file.read_exact_at(&mut raw, offset)?;
    keys.clear();
    keys.extend(
        raw.as_chunks::<8>()
            .0
            .as_chunks::<2>()
            .0
            .iter()
            .map(|[high, low]| [u64::from_le_bytes(*high), u64::from_le_bytes(*low)]),
    );
    Ok(())
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
        fn the_last_record_of_each_key_stays(
            keys in prop::collection::vec(prop_oneof![0u32..3, 0u32..30_000], 0..20_000),
            batch in 1usize..3_000,
            memory in prop_oneof![Just(0usize), Just(100_000), Just(1 << 24)],
        ) {
            let hashes: Vec<KeyHash> = keys.iter().map(|key| KeyForm::of(key).hash_wide()).collect();
            let mut lasts = Lasts::new(Space { memory, ..Space::default() });
            hashes.chunks(batch).try_for_each(|keys| lasts.add(keys)).unwrap();
            prop_assert_eq!(lasts.file.is_some(), memory < 1 << 24 && keys.len() > PARTS * 16);
            lasts.resolve().unwrap();
            let last: HashMap<u32, usize> = keys.iter().copied().zip(0..).collect();
            let expected: Vec<bool> = (0..keys.len()).map(|row| last[&keys[row]] == row).collect();
            let parts: Vec<u8> = hashes.iter().map(|hash| Lasts::part(*hash)).collect();
            let mut kept = Vec::new();
            for parts in parts.chunks(7) {
                kept.extend(lasts.take(parts).unwrap());
            }
            prop_assert_eq!(kept, expected);
        }
    }
}
