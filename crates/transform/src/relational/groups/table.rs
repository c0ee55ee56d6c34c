//! Groups by key, and rows of a key and numbers on their way into them.

use super::fold::{Layout, Long};

/// A row: its hash, the length of its key in bytes, the key, and a group's words.
///
/// Keys are in words, the first byte highest and zeros behind the last, so that they compare as
/// their bytes do. No key begins another.
const HEAD: usize = 2;

/// Makes it the beginning of a row, up to the words.
#[inline]
pub(super) fn start_row(row: &mut Vec<u64>, key: &[u8]) {
    row.clear();
    row.extend_from_slice(&[0, key.len() as u64]);
    let (whole, rest) = key.as_chunks::<8>();
    row.extend(whole.iter().map(|word| u64::from_be_bytes(*word)));
    if !rest.is_empty() {
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        row.push(u64::from_be_bytes(last));
    }
    row[0] = hash(&row[HEAD..]);
}

/// As [`start_row`] with a key in words.
pub(super) fn restart_row(row: &mut Vec<u64>, (key, bytes): (&[u64], usize)) {
    row.clear();
    row.extend_from_slice(&[hash(key), bytes as u64]);
    row.extend_from_slice(key);
}

/// Words of a key of so many bytes.
pub(super) fn key_words(bytes: usize) -> usize {
    bytes.div_ceil(8)
}

fn hash(key: &[u64]) -> u64 {
    const A: u64 = 0x9e37_79b9_7f4a_7c15;
    const B: u64 = 0xf39c_c060_5ced_c835;
    let mixed = key.iter().fold(A, |mixed, word| {
        let wide = u128::from(mixed ^ word) * u128::from(B);
        (wide >> 64) as u64 ^ wide as u64 ^ A
    });
    let wide = u128::from(mixed ^ B) * u128::from(A);
    (wide >> 64) as u64 ^ wide as u64
}

/// Groups.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// Half a hash and the number of the group, from 1; 0 where there is none.
    slots: Vec<u64>,
    /// The keys, one behind the other.
    keys: Vec<u64>,
    /// Where each key ends, and how many bytes of its last word are none of it.
    ends: Vec<(u32, u8)>,
    words: Vec<u64>,
    long: Long,
}

const SLOT: u64 = 0xFFFF_FFFF;

impl Table {
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        let words = self.slots.capacity() + self.keys.capacity() + self.words.capacity();
        words * size_of::<u64>()
            + self.ends.capacity() * size_of::<(u32, u8)>()
            + self.long.len() * 700
    }

    /// Merges rows into their groups.
    pub(super) fn fold(&mut self, layout: &Layout, mut rows: &[u64]) {
        while let [_, bytes, ..] = rows {
            let (row, rest) = rows.split_at(HEAD + key_words(*bytes as usize));
            let (words, rest) = rest.split_at(layout.width);
            rows = rest;
            self.fold_row(layout, row, words);
        }
    }

    /// Merges one row, whose words stand elsewhere, into its group.
    pub(super) fn fold_row(&mut self, layout: &Layout, row: &[u64], words: &[u64]) {
        let [hash, bytes, key @ ..] = row else { return };
        let (group, known) = self.group(*hash, key, *bytes as usize);
        let at = group as usize * layout.width;
        if known {
            let into = &mut self.words[at..at + layout.width];
            layout.merge(into, words, group, &mut self.long);
            return;
        }
        reserve(&mut self.words, layout.width);
        if layout.is_short(words) {
            self.words.extend_from_slice(words);
        } else {
            self.words.resize(at + layout.width, 0);
            layout.merge(&mut self.words[at..], words, group, &mut self.long);
        }
    }

    /// The number of the group with this key, and whether it was there: if not, its words are to be
    /// added.
    fn group(&mut self, hash: u64, key: &[u64], bytes: usize) -> (u32, bool) {
        if (self.ends.len() + 1) * 4 > self.slots.len() * 3 {
            self.grow();
        }
        let mask = self.slots.len() - 1;
        let tag = hash & !SLOT;
        let mut at = place(tag, mask);
        loop {
            match self.slots[at] {
                0 => break,
                slot if slot & !SLOT == tag => {
                    let group = (slot & SLOT) as u32 - 1;
                    if self.key(group).0 == key {
                        return (group, true);
                    }
                }
                _ => {}
            }
            at = (at + 1) & mask;
        }
        let group = self.ends.len() as u32;
        self.slots[at] = tag | u64::from(group + 1);
        reserve(&mut self.keys, key.len());
        self.keys.extend_from_slice(key);
        reserve(&mut self.ends, 1);
        self.ends.push((self.keys.len() as u32, (key.len() * 8 - bytes) as u8));
        (group, false)
    }

    fn grow(&mut self) {
        let mask = (self.slots.len() * 2).max(64) - 1;
        let mut slots = vec![0; mask + 1];
        for slot in self.slots.iter().filter(|slot| **slot != 0) {
            let mut at = place(slot & !SLOT, mask);
            while slots[at] != 0 {
                at = (at + 1) & mask;
            }
            slots[at] = *slot;
        }
        self.slots = slots;
    }

    /// The key of a group, and its length in bytes.
    pub(super) fn key(&self, group: u32) -> (&[u64], usize) {
        let group = group as usize;
        let start = group.checked_sub(1).map_or(0, |before| self.ends[before].0 as usize);
        let (end, unused) = self.ends[group];
        let key = &self.keys[start..end as usize];
        (key, key.len() * 8 - usize::from(unused))
    }

    /// The words of a group, in as many parts as it takes.
    pub(super) fn parts(&self, layout: &Layout, group: u32, mut take: impl FnMut(&[u64])) {
        let at = group as usize * layout.width;
        let words = &self.words[at..at + layout.width];
        let long = match self.long.is_empty() {
            true => None,
            false => layout.parts(group, words, &self.long),
        };
        match long {
            None => take(words),
            Some(parts) => parts.iter().for_each(|part| take(part)),
        }
    }

    /// The groups in the order of their keys, each as the length of its key in bytes, the key and
    /// the words, in as many such rows as it takes.
    pub(super) fn sorted_rows(&self, layout: &Layout) -> Vec<u64> {
        let mut order: Vec<([u64; 2], u32)> =
            (0..self.len() as u32).map(|group| (front(self.key(group).0), group)).collect();
        order.sort_unstable_by(|(one, left), (other, right)| match one == other {
            false => one.cmp(other),
            true => self.key(*left).0.cmp(self.key(*right).0),
        });
        let mut rows = Vec::with_capacity(self.len() + self.keys.len() + self.words.len());
        for (_, group) in order {
            let (key, bytes) = self.key(group);
            self.parts(layout, group, |words| {
                rows.push(bytes as u64);
                rows.extend_from_slice(key);
                rows.extend_from_slice(words);
            });
        }
        rows
    }

    /// Whether there may be too many keys for one table.
    pub(super) fn is_full(&self) -> bool {
        self.keys.len() > (u32::MAX / 2) as usize || self.len() > (u32::MAX / 2) as usize
    }
}

/// The first words of a key: keys that differ in them are in their order.
pub(super) fn front(key: &[u64]) -> [u64; 2] {
    [key.first().copied().unwrap_or_default(), key.get(1).copied().unwrap_or_default()]
}

fn place(tag: u64, mask: usize) -> usize {
    (tag >> 32) as usize & mask
}

/// Room for more in steps of a quarter: what a table does not need, another one can have.
fn reserve<T>(values: &mut Vec<T>, more: usize) {
    if values.capacity() - values.len() < more {
        values.reserve_exact((values.len() / 4).max(more).max(64));
    }
}
