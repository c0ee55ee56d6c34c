//! Where the fields of regular records are.

use std::ops::{Deref, Range};

use gristmill_core::Rows;

use super::grammar::{CR, Grammar};
use crate::simd::{AHEAD, BLOCK, Kernel, Level, Simd, before, block, prefetch};

/// The records of a batch and their fields, as positions in the chunk's text.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub records: Vec<Entry>,
    /// Where fields end: at the delimiters, and for the last field of a record at its line end.
    ends: Positions,
    /// The places in `ends` of the last fields of the records being added.
    lasts: Positions,
}

/// One record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    /// First byte.
    pub start: u32,
    /// Where its content ends: before the line end.
    pub end: u32,
    /// Its first field's place in `ends`.
    first: u32,
    /// How many fields it has; 0 for a record that could not be read.
    pub fields: u32,
}

impl Index {
    pub(super) fn clear(&mut self) {
        self.records.clear();
        self.ends.clear();
    }

    /// Where a field stands in some of these records, all of `width` fields, from `base` on, quotes
    /// included.
    pub(super) fn places(
        &self,
        rows: &Rows,
        some: Range<usize>,
        (field, width): (usize, usize),
        base: usize,
        places: &mut Vec<Range<u32>>,
    ) {
        let base = base as u32;
        places.clear();
        if let Rows::All(_) = rows {
            let records = &self.records[some.clone()];
            let (Some(first), Some(last)) = (records.first(), records.last()) else { return };
            let ends = &self.ends[first.first as usize..last.first as usize + width];
            // Mostly nothing stands between records.
            if ends.len() == records.len() * width {
                let rows = ends.chunks_exact(width).zip(records);
                match (field, field + 1 == width) {
                    (0, true) => places.extend(rows.map(|(_, of)| of.start - base..of.end - base)),
                    (0, false) => places.extend(rows.map(|(at, of)| of.start - base..at[0] - base)),
                    (_, true) => {
                        places.extend(rows.map(|(at, of)| at[field - 1] + 1 - base..of.end - base));
                    }
                    _ => {
                        let place = |at: &[u32]| at[field - 1] + 1 - base..at[field] - base;
                        places.extend(rows.map(|(at, _)| place(at)));
                    }
                }
                return;
            }
        }
        let ends: &[u32] = &self.ends;
        let place = |row: usize| {
            let record = &self.records[rows.ordinal(row) as usize];
            let at = record.first as usize + field;
            let start = if field == 0 { record.start } else { ends[at - 1] + 1 };
            let end = if field + 1 == width { record.end } else { ends[at] };
            start - base..end - base
        };
        places.extend(some.map(place));
    }

    /// The bytes of a field of a record that has it, quotes included.
    #[inline]
    pub(super) fn field<'a>(&self, text: &'a [u8], record: &Entry, field: usize) -> &'a [u8] {
        let ends = &self.ends[record.first as usize..][..record.fields as usize];
        let start = if field == 0 { record.start } else { ends[field - 1] + 1 };
        let end = if field + 1 == ends.len() { record.end } else { ends[field] };
        &text[start as usize..end as usize]
    }

    /// Adds a record whose delimiters have been added by [`Self::delimiter`] since `mark`.
    pub(super) fn close(&mut self, mark: usize, start: usize, end: usize) {
        self.ends.push(end as u32);
        let fields = (self.ends.len() - mark) as u32;
        let entry = Entry { start: start as u32, end: end as u32, first: mark as u32, fields };
        self.records.push(entry);
    }

    /// Where the next record's fields begin.
    pub(super) fn mark(&self) -> usize {
        self.ends.len()
    }

    /// Adds a delimiter.
    pub(super) fn delimiter(&mut self, at: usize) {
        self.ends.push(at as u32);
    }

    /// Adds a record that could not be read.
    pub(super) fn malformed(&mut self, start: usize, end: usize) {
        let entry = Entry { start: start as u32, end: end as u32, first: 0, fields: 0 };
        self.records.push(entry);
    }

    /// Adds the regular records of a padded text from `from` to `to`, up to the first that ends at
    /// `limit` or behind it. Answers where the next one starts.
    pub(super) fn add(
        &mut self,
        text: &[u8],
        from: usize,
        to: usize,
        limit: usize,
        grammar: &Grammar,
        level: Level,
    ) -> usize {
        level.run(Fields { index: self, text, from, to, limit, grammar })
    }
}

struct Fields<'a> {
    index: &'a mut Index,
    text: &'a [u8],
    from: usize,
    to: usize,
    limit: usize,
    grammar: &'a Grammar,
}

impl Kernel for Fields<'_> {
    type Output = usize;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> usize {
        let Self { index, text, from, to, limit, grammar } = self;
        let (quote, quotes_on) = grammar.quote.map_or((0, 0), |quote| (quote, u64::MAX));
        let Index { records, ends, lasts } = index;
        lasts.clear();
        let first = ends.len();
        let mut inside = 0u64; // all ones inside of quotes
        let mut crs = 0; // whether there is one
        let mut at = from;
        let mut next = to;
        while at < to {
            prefetch(text, at + AHEAD);
            let bytes = simd.load(block(text, at));
            let valid = before(to, at);
            crs |= simd.equal(bytes, CR);
            let quotes = simd.equal(bytes, quote) & quotes_on & valid;
            let quoted = simd.prefix_xor(quotes) ^ inside;
            inside = (quoted.cast_signed() >> 63).cast_unsigned();
            let mut lines = simd.equal(bytes, grammar.line_end) & valid & !quoted;
            let mut all = lines | (simd.equal(bytes, grammar.delimiter) & valid & !quoted);
            if at + BLOCK >= limit {
                // The line ends after which the next record starts at the limit or behind it.
                let enough = lines & !before((limit - 1).max(at), at);
                if enough != 0 {
                    let upto = enough ^ (enough - 1);
                    (lines, all) = (lines & upto, all & upto);
                    next = at + enough.trailing_zeros() as usize + 1;
                }
            }
            lasts.add::<1, _>(simd, simd.ranks(lines, all), ends.len());
            ends.add::<8, _>(simd, all, at);
            if next < to {
                break;
            }
            at += BLOCK;
        }
        if next == to {
            let start = lasts.last().map_or(from, |&last| ends[last as usize] as usize + 1);
            if start < to {
                lasts.push(ends.len() as u32);
                ends.push(to as u32);
            }
        }
        records.reserve(lasts.len());
        let (mut start, mut first) = (from, first as u32);
        for &last in lasts.iter() {
            let at = ends[last as usize] as usize;
            let end = if crs == 0 { at } else { grammar.content_end(text, start, at) };
            let fields = last + 1 - first;
            // Blank lines are no records.
            if fields > 1 || end > start {
                records.push(Entry { start: start as u32, end: end as u32, first, fields });
            }
            (start, first) = (at + 1, last + 1);
        }
        next
    }
}

/// Numbers of bits, to which a block's are added without a look at how many they are.
#[derive(Debug, Default)]
struct Positions {
    /// The first `len` of them mean something.
    slots: Vec<u32>,
    len: usize,
}

impl Deref for Positions {
    type Target = [u32];

    #[inline(always)]
    fn deref(&self) -> &[u32] {
        &self.slots[..self.len]
    }
}

impl Positions {
    fn clear(&mut self) {
        self.len = 0;
    }

    fn push(&mut self, position: u32) {
        self.room()[0] = position;
        self.len += 1;
    }

    /// Adds `base + i` for each bit `i` that is set.
    #[inline(always)]
    fn add<const AT_ONCE: usize, S: Simd>(&mut self, simd: S, mask: u64, base: usize) {
        simd.positions::<AT_ONCE>(mask, base as u32, self.room());
        self.len += mask.count_ones() as usize;
    }

    /// Slots for the next block.
    #[inline(always)]
    fn room(&mut self) -> &mut [u32; BLOCK] {
        if self.slots.len() < self.len + BLOCK {
            self.grow();
        }
        self.slots[self.len..].first_chunk_mut().expect("there is room for a block")
    }

    #[cold]
    fn grow(&mut self) {
        self.slots.resize((2 * self.slots.len()).max(16 * BLOCK), 0);
    }
}
