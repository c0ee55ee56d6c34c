//! Groups by key.

use super::fold::{Layout, Long, Record};
use super::keys::{Codes, hash};
use super::slots::{FULL, NONE, Slots};

/// Groups, numbered from 0 in the order in which they came.
#[derive(Debug)]
pub(super) struct Table {
    slots: Slots,
    /// Each group's key, and behind it its words.
    groups: Groups,
    /// Sums that words do not hold.
    pub(super) long: Long,
}

/// Rows of words, in pieces that stay where they are.
#[derive(Debug)]
pub(super) struct Groups {
    pieces: Vec<Box<[u64]>>,
    len: usize,
    key: usize,
    width: usize,
}

/// Groups of a piece.
const PIECE: usize = 256;

impl Groups {
    /// A group's key and its words.
    #[inline]
    fn row(&self, group: u32) -> &[u64] {
        let (piece, at) = (group as usize / PIECE, group as usize % PIECE);
        &self.pieces[piece][at * self.width..][..self.width]
    }

    #[inline]
    pub(super) fn words(&mut self, group: u32) -> &mut [u64] {
        let (piece, at) = (group as usize / PIECE, group as usize % PIECE);
        &mut self.pieces[piece][at * self.width..][self.key..self.width]
    }

    #[inline]
    fn key(&self, group: u32) -> &[u64] {
        &self.row(group)[..self.key]
    }

    /// Looks at both ends of groups, one after the other and without a branch between, so that they
    /// come from memory together.
    #[inline]
    fn touch(&self, groups: &[u32]) {
        if self.len > 0 {
            let ends = groups.iter().map(|group| {
                let row = self.row(if *group == NONE { 0 } else { *group });
                row.first().copied().unwrap_or_default() ^ row[self.width - 1]
            });
            std::hint::black_box(ends.fold(0, |all, ends| all ^ ends));
        }
    }

    fn push(&mut self, key: &[u64]) {
        let (piece, at) = (self.len / PIECE, self.len % PIECE);
        if at == 0 {
            self.pieces.push(vec![0; PIECE * self.width].into());
        }
        self.pieces[piece][at * self.width..][..self.key].copy_from_slice(key);
        self.len += 1;
    }
}

impl Table {
    /// No groups yet. Their keys have so many words.
    pub(super) fn new(key: usize, layout: &Layout) -> Self {
        let groups = Groups { pieces: Vec::new(), len: 0, key, width: key + layout.width };
        Self { slots: Slots::default(), groups, long: Long::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.groups.len
    }

    /// Whether there may be too many groups soon.
    pub(super) fn is_full(&self) -> bool {
        self.len() > FULL
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        let piece = PIECE * self.groups.width * size_of::<u64>();
        self.slots.bytes() + self.groups.pieces.len() * piece + self.long.len() * 700
    }

    pub(super) fn key(&self, group: u32) -> &[u64] {
        self.groups.key(group)
    }

    /// The words of a group.
    pub(super) fn words(&self, group: u32) -> &[u64] {
        &self.groups.row(group)[self.groups.key..]
    }

    /// Folds the records of these rows into their groups.
    pub(super) fn fold(&mut self, codes: &Codes, rows: &[u32], records: &[Record]) {
        let (key, words) = (self.groups.key, &codes.words);
        let code = |row: u32| &words[row as usize * key..][..key];
        // One look into memory for each, then the next: none has to wait for the one before.
        let first = rows.iter().map(|row| self.slots.first(codes.hashes[*row as usize]));
        let mut groups: Vec<u32> = first.collect();
        self.groups.touch(&groups);
        for (row, group) in rows.iter().zip(&mut groups) {
            if *group == NONE || !same(self.groups.key(*group), code(*row)) {
                *group = self.group(codes.hashes[*row as usize], code(*row));
            }
        }
        let Self { groups: all, long, .. } = self;
        records.iter().for_each(|record| record.fold(rows, &groups, all, long));
    }

    /// Merges groups of another table.
    pub(super) fn merge(&mut self, layout: &Layout, other: &Table, groups: &[u32]) {
        for from in groups.iter().copied() {
            let key = other.key(from);
            let into = self.group(hash(key), key);
            let words = self.groups.words(into);
            layout.merge((words, into, &mut self.long), (other.words(from), from, &other.long));
        }
    }

    /// The number of the group with this key, perhaps a new one.
    fn group(&mut self, hash: u64, key: &[u64]) -> u32 {
        let Self { slots, groups, .. } = self;
        if let Some(group) = slots.find(hash, |group| same(groups.key(group), key)) {
            return group;
        }
        let group = groups.len;
        slots.add(hash, group, |group| super::keys::hash(groups.key(group)));
        groups.push(key);
        group as u32
    }

    /// Drops what is only needed to find groups.
    pub(super) fn complete(&mut self) {
        self.slots = Slots::default();
    }
}

/// Whether two keys are the same one. They are too short for a call.
#[inline]
fn same(one: &[u64], other: &[u64]) -> bool {
    one.iter().zip(other).all(|(one, other)| one == other)
}
