//! Where the fields of regular records are.

use super::grammar::Grammar;
use crate::simd::{BLOCK, Kernel, Level, Simd, before, block};

/// The records of a batch and their fields, as positions in the chunk's text.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub records: Vec<Entry>,
    /// Where fields end: at the delimiters, and for the last field of a record at its line end.
    ends: Vec<u32>,
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
        let Self { index: Index { records, ends }, text, from, to, limit, grammar } = self;
        let (quote, quotes_on) = grammar.quote.map_or((0, 0), |quote| (quote, u64::MAX));
        let mut inside = 0u64; // all ones inside of quotes
        let mut start = from;
        let mut first = ends.len();
        let mut close = |start: usize, at: usize, first: usize, fields: usize| {
            let end = grammar.content_end(text, start, at);
            if fields > 1 || end > start {
                records.push(Entry {
                    start: start as u32,
                    end: end as u32,
                    first: first as u32,
                    fields: fields as u32,
                });
            }
        };
        let mut at = from;
        while at < to {
            let bytes = simd.load(block(text, at));
            let valid = before(to, at);
            let quotes = simd.equal(bytes, quote) & quotes_on & valid;
            let mut quoted = inside;
            if quotes != 0 {
                quoted ^= simd.prefix_xor(quotes);
                inside = (quoted.cast_signed() >> 63).cast_unsigned();
            }
            let lines = simd.equal(bytes, grammar.line_end) & valid & !quoted;
            let all = lines | (simd.equal(bytes, grammar.delimiter) & valid & !quoted);
            let base = ends.len();
            push_bits(ends, all, at);
            let mut rest = lines;
            while rest != 0 {
                let bit = rest.trailing_zeros();
                let end = at + bit as usize;
                let upto = base + (all & (u64::MAX >> (63 - bit))).count_ones() as usize;
                close(start, end, first, upto - first);
                start = end + 1;
                first = upto;
                if start >= limit {
                    ends.truncate(upto);
                    return start;
                }
                rest &= rest - 1;
            }
            at += BLOCK;
        }
        if start < to {
            ends.push(to as u32);
            close(start, to, first, ends.len() - first);
        }
        to
    }
}

/// Appends `at + i` for every bit `i` that is set.
#[inline(always)]
fn push_bits(out: &mut Vec<u32>, mut bits: u64, at: usize) {
    let count = bits.count_ones() as usize;
    let old = out.len();
    // Written four at a time without a look at the count, and cut to it afterwards.
    out.resize(old + count.next_multiple_of(4), 0);
    for slots in out[old..].as_chunks_mut::<4>().0 {
        for slot in slots {
            *slot = at as u32 + bits.trailing_zeros();
            bits &= bits.wrapping_sub(1);
        }
    }
    out.truncate(old + count);
}
