//! Finds the ends of records, and the records that only the exact machine can tell.

use memchr::memchr_iter;

use super::grammar::{CR, Grammar, LF};
use crate::simd::{AHEAD, BLOCK, Kernel, Level, Simd, before, block, prefetch};

/// What a scan found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    /// Where the record starts that did not end before the scan did. All before it are regular.
    pub start: usize,
    /// How many lines end before it.
    pub lines: usize,
    /// Why the scan ended there.
    pub why: Why,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// The text ends, outside of quotes.
    Outside,
    /// The text ends inside of quotes.
    Inside,
    /// The record has a quote where the masks do not expect one, or is too long.
    Irregular,
}

/// Scans a padded text from the start of a record to `to`. A record is regular when each of its
/// quotes opens at the start of a field, closes at its end or is doubled, and it has at most `max`
/// bytes.
pub(super) fn scan(
    text: &[u8],
    from: usize,
    to: usize,
    grammar: &Grammar,
    max: usize,
    level: Level,
) -> Found {
    level.run(Scan { text, from, to, grammar, max })
}

struct Scan<'a> {
    text: &'a [u8],
    from: usize,
    to: usize,
    grammar: &'a Grammar,
    max: usize,
}

impl Kernel for Scan<'_> {
    type Output = Found;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Found {
        let Self { text, from, to, grammar, max } = self;
        let (quote, quotes_on) = grammar.quote.map_or((0, 0), |quote| (quote, u64::MAX));
        let crs_on = if grammar.line_end == LF { u64::MAX } else { 0 };
        let mut start = from;
        let mut lines_seen = 0;
        let mut inside = 0u64; // all ones inside of quotes
        // What the last bytes of the block before mean for the first of this one.
        let mut after_structure = 1u64; // a quote may open
        let mut after_close = 0u64; // the field has just been closed
        let mut after_cr = 0u64; // … and a CR followed
        let mut at = from;
        let why = loop {
            if at >= to {
                break match inside {
                    _ if to - start > max => Why::Irregular,
                    0 => Why::Outside,
                    _ => Why::Inside,
                };
            }
            prefetch(text, at + AHEAD);
            let bytes = simd.load(block(text, at));
            let valid = before(to, at);
            let quotes = simd.equal(bytes, quote) & quotes_on & valid;
            let lines = simd.equal(bytes, grammar.line_end) & valid;
            let delimiters = simd.equal(bytes, grammar.delimiter) & valid;
            let crs = simd.equal(bytes, CR) & crs_on & valid;
            // Inside of quotes, the opening one included and the closing one not.
            let quoted = simd.prefix_xor(quotes) ^ inside;
            let (opens, closes) = (quotes & quoted, quotes & !quoted);
            let structure = delimiters | lines | quotes;
            let may_open = structure << 1 | after_structure;
            let closed = closes << 1 | after_close;
            let closed_cr = (closed & crs) << 1 | after_cr;
            let wrong = (opens & !may_open) | (closed & !(structure | crs)) | (closed_cr & !lines);
            let wrong = wrong & valid;
            let ends = lines & !quoted & wrong.wrapping_sub(1) & !wrong;
            lines_seen += lines.count_ones() as usize;
            at += BLOCK;
            // Only the first end may be that of a record that is longer than a block.
            let first = at - BLOCK + ends.trailing_zeros() as usize;
            let too_long = first.min(to) - start > max;
            if too_long {
                break Why::Irregular;
            }
            start = if ends == 0 { start } else { at - ends.leading_zeros() as usize };
            if wrong != 0 {
                break Why::Irregular;
            }
            inside = (quoted.cast_signed() >> 63).cast_unsigned();
            after_structure = structure >> 63;
            after_close = closes >> 63;
            after_cr = (closed & crs) >> 63;
        };
        let behind = &text[start..at.min(to)];
        let lines = lines_seen - memchr_iter(grammar.line_end, behind).count();
        Found { start, lines, why }
    }
}
