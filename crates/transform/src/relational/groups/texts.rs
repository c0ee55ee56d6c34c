//! The texts of a key's column, each of which has a number.

use std::cmp::Ordering;

use arrow_array::{Array, StringViewArray};
use arrow_buffer::Buffer;
use datafusion_common::Result;

use super::slots::{FULL, NONE, Slots, hash};
use crate::relational::parallel::sort;

/// Texts and their numbers, from 0 in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Texts {
    slots: Slots,
    /// Arrow's views: of up to 12 bytes the text itself, of more where it stands in `long`.
    views: Vec<u128>,
    /// The higher half of each text's hash: all that [`Slots`] looks at.
    hashes: Vec<u32>,
    long: Vec<Vec<u8>>,
    /// Bytes of `long`.
    held: usize,
    /// Bytes of the longest text.
    longest: usize,
}

/// Bytes of long texts that are kept in one piece.
const PIECE: usize = 64 << 10;
/// Length and beginning of a text.
const BEGINNING: u128 = u64::MAX as u128;

/// Where a text stands among others, as far as its first bytes tell, and its number.
type Start = ([u64; 2], u32);

impl Texts {
    pub(super) fn bytes(&self) -> usize {
        // To be sorted they take more than their slots and hashes do.
        let each = size_of::<u128>() + size_of::<Start>();
        self.slots.bytes() + self.views.capacity() * each + self.held
    }

    /// Bytes of the longest text.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    /// Whether there may be too many soon.
    pub(super) fn is_full(&self) -> bool {
        self.views.len() > FULL
    }

    /// The number of each text, and the rows of those that have none yet. The numbers of nulls
    /// mean nothing.
    pub(super) fn find(
        &self,
        texts: &StringViewArray,
        hashes: &[u64],
        found: &mut Vec<u32>,
    ) -> Vec<u32> {
        // One look into memory for each, then the next: none has to wait for the one before.
        found.extend(hashes.iter().map(|hash| self.slots.first(*hash)));
        let mut new = Vec::new();
        for (row, (view, found)) in texts.views().iter().zip(found).enumerate() {
            let same = |number| self.is(number, *view, texts, row);
            if *found != NONE && same(*found) || texts.is_null(row) {
                continue;
            }
            match self.slots.find(hashes[row], same) {
                Some(number) => *found = number,
                None => new.push(row as u32),
            }
        }
        new
    }

    /// Numbers the texts of these rows.
    pub(super) fn add(
        &mut self,
        texts: &StringViewArray,
        hashes: &[u64],
        rows: &[u32],
        found: &mut [u32],
    ) {
        for row in rows.iter().map(|row| *row as usize) {
            let (view, hash) = (texts.views()[row], hashes[row]);
            let known = self.slots.find(hash, |number| self.is(number, view, texts, row));
            found[row] = known.unwrap_or_else(|| {
                let number = self.views.len();
                let view = self.keep(view, texts, row);
                if number == self.views.capacity() {
                    let more = (number / 4).max(64);
                    self.views.reserve_exact(more);
                    self.hashes.reserve_exact(more);
                }
                let Self { slots, hashes, .. } = self;
                slots.add(hash, number, |number| u64::from(hashes[number as usize]) << 32);
                self.hashes.push((hash >> 32) as u32);
                self.views.push(view);
                number as u32
            });
        }
    }

    /// The view of a text that is kept here.
    fn keep(&mut self, view: u128, texts: &StringViewArray, row: usize) -> u128 {
        let len = view as u32 as usize;
        self.longest = self.longest.max(len);
        if len <= 12 {
            return view;
        }
        if self.long.last().is_none_or(|last| last.capacity() - last.len() < len) {
            self.long.push(Vec::with_capacity(len.max(PIECE)));
            self.held += len.max(PIECE);
        }
        let piece = self.long.len() - 1;
        let offset = self.long[piece].len();
        self.long[piece].extend_from_slice(texts.value(row).as_bytes());
        view & BEGINNING | (piece as u128) << 64 | (offset as u128) << 96
    }

    /// Whether the text of this number is that of a row.
    #[inline]
    fn is(&self, number: u32, view: u128, texts: &StringViewArray, row: usize) -> bool {
        let known = self.views[number as usize];
        match view as u32 {
            0..=12 => known == view,
            _ => {
                (known ^ view) & BEGINNING == 0
                    && text(&self.long, known) == texts.value(row).as_bytes()
            }
        }
    }

    /// The place of each number's text among all, in order. No more texts are added.
    pub(super) fn ranks(&mut self, threads: usize) -> Vec<u32> {
        (self.slots, self.hashes) = (Slots::default(), Vec::new());
        let shared = self.shared();
        let start = |view: u128| {
            let mut start = [0; 16];
            self.with(view, |text| {
                let len = (text.len() - shared).min(16);
                start[..len].copy_from_slice(&text[shared..shared + len]);
            });
            let start = u128::from_be_bytes(start);
            [(start >> 64) as u64, start as u64]
        };
        let views = self.views.iter().zip(0u32..);
        let mut order: Vec<Start> = views.map(|(view, number)| (start(*view), number)).collect();
        sort(&mut order, threads, &|(one, left), (other, right)| match one.cmp(other) {
            Ordering::Equal => self.with(self.views[*left as usize], |one| {
                self.with(self.views[*right as usize], |other| one.cmp(other))
            }),
            unequal => unequal,
        });
        let mut ranks = vec![0; order.len()];
        for ((_, number), rank) in order.into_iter().zip(0..) {
            ranks[number as usize] = rank;
        }
        ranks
    }

    /// Bytes that all texts begin with.
    fn shared(&self) -> usize {
        let Some(first) = self.views.first() else { return 0 };
        self.with(*first, |first| {
            self.views.iter().fold(first.len(), |shared, view| {
                self.with(*view, |text| {
                    let both = text.iter().zip(&first[..shared]);
                    both.take_while(|(one, other)| one == other).count()
                })
            })
        })
    }

    /// Hands over the text of a view.
    fn with<T>(&self, view: u128, take: impl FnOnce(&[u8]) -> T) -> T {
        let len = view as u32 as usize;
        if len > 12 {
            return take(text(&self.long, view));
        }
        take(&view.to_le_bytes()[4..4 + len])
    }

    /// All texts, in the order of their numbers.
    pub(super) fn into_column(self) -> Result<StringViewArray> {
        let buffers: Vec<Buffer> = self.long.into_iter().map(Buffer::from).collect();
        Ok(StringViewArray::try_new(self.views.into(), buffers, None)?)
    }
}

/// A text of more than 12 bytes.
fn text(long: &[Vec<u8>], view: u128) -> &[u8] {
    let (piece, offset) = ((view >> 64) as u32 as usize, (view >> 96) as usize);
    &long[piece][offset..offset + view as u32 as usize]
}

/// The hash of each text.
pub(super) fn hashes(texts: &StringViewArray) -> Vec<u64> {
    let views = texts.views().iter().enumerate();
    views.map(|(row, view)| hash_of_text(*view, || texts.value(row).as_bytes())).collect()
}

#[inline]
fn hash_of_text<'a>(view: u128, text: impl FnOnce() -> &'a [u8]) -> u64 {
    if view as u32 <= 12 {
        return hash([view as u64, (view >> 64) as u64]);
    }
    let (words, rest) = text().as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let words = words.iter().chain([&last]).map(|word| u64::from_le_bytes(*word));
    hash(words.chain([u64::from(view as u32)]))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn each_text_has_one_number_and_its_place_in_the_order(
            batches in prop::collection::vec(
                prop::collection::vec(proptest::option::of("[a-c\u{0}é]{0,14}"), 0..40), 0..6,
            ),
        ) {
            let mut texts = Texts::default();
            let mut numbers: BTreeMap<String, u32> = BTreeMap::new();
            for batch in batches {
                let column = StringViewArray::from_iter(&batch);
                let mut found = Vec::new();
                let hashes = hashes(&column);
                let new = texts.find(&column, &hashes, &mut found);
                texts.add(&column, &hashes, &new, &mut found);
                for (text, found) in batch.into_iter().zip(found) {
                    let Some(text) = text else { continue };
                    let next = numbers.len() as u32;
                    prop_assert_eq!(*numbers.entry(text).or_insert(next), found);
                }
            }
            let ranks = texts.ranks(2);
            let column = texts.into_column().unwrap();
            prop_assert_eq!(column.len(), numbers.len());
            for (rank, (text, number)) in numbers.into_iter().enumerate() {
                prop_assert_eq!(column.value(number as usize), text);
                prop_assert_eq!(ranks[number as usize], rank as u32);
            }
        }
    }
}
