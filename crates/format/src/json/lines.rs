//! Cutting NDJSON at line ends, into chunks and into records.

use gristmill_core::{Result, Span};
use memchr::{memchr, memrchr};

use super::cut::{Cut, Records, Source, long_span};
use super::token::is_blank;
use crate::simd::{BLOCK, Kernel, Level, PAD, Simd, before, block};

pub(super) struct Lines {
    pub(super) source: Source,
}

impl Lines {
    pub(super) fn new(source: Source) -> Self {
        Self { source }
    }

    /// As many lines as fit into a chunk, at least one.
    pub(super) fn next(&mut self) -> Result<Option<Cut>> {
        let source = &mut self.source;
        let chunk = source.sizes.chunk;
        source.fill(chunk.saturating_add(1))?; // one more tells whether this is all
        if source.text().is_empty() {
            return Ok(None);
        }
        let len = if source.end() && source.text().len() <= chunk {
            source.text().len()
        } else if let Some(at) = memrchr(b'\n', &source.text()[..chunk]) {
            at + 1
        } else {
            match Self::long_line(source)? {
                Some(len) => len,
                None => return Self::cut_short(source).map(Some),
            }
        };
        let (padded, offset) = source.cut(len, 0);
        Ok(Some(Cut { padded, offset, records: Records::Lines, cut_short: None }))
    }

    /// The length of a first line that is longer than a chunk; none if it is longer than a record
    /// may be.
    fn long_line(source: &mut Source) -> Result<Option<usize>> {
        let chunk = source.sizes.chunk;
        let limit = chunk.max(source.sizes.max_record.saturating_add(1));
        let mut searched = chunk;
        loop {
            let until = source.text().len().min(limit);
            if let Some(at) = memchr(b'\n', &source.text()[searched..until]) {
                return Ok(Some(searched + at + 1));
            }
            if source.end() && source.text().len() <= limit {
                return Ok(Some(source.text().len()));
            }
            if until == limit {
                return Ok(None);
            }
            searched = until;
            source.fill(source.text().len().saturating_add(source.step()))?;
        }
    }

    /// The beginning of a first line that is too long; the rest of it is dropped.
    fn cut_short(source: &mut Source) -> Result<Cut> {
        let offset = source.offset;
        let mut kept = source.text()[..source.kept()].to_vec();
        let len = loop {
            if let Some(at) = memchr(b'\n', source.text()) {
                source.skip(at + 1);
                kept.push(b'\n');
                break source.offset - offset - 1;
            }
            source.skip(source.text().len());
            if source.end() {
                break source.offset - offset;
            }
            source.fill(source.step())?;
        };
        let cut_short = Some(long_span(0, len));
        kept.extend([0; PAD]);
        Ok(Cut { padded: kept.into(), offset, records: Records::Lines, cut_short })
    }
}

/// The lines of a padded text that are not blank, from `start` on, up to the one with which they
/// have `size` bytes or are `most`; and where the next line starts.
pub(super) fn spans(
    padded: &[u8],
    start: usize,
    size: usize,
    most: usize,
    level: Level,
) -> (usize, Vec<Span>) {
    let mut spans = Vec::new();
    let end = level.run(Spans { padded, start, size, most, spans: &mut spans });
    (end, spans)
}

struct Spans<'a> {
    padded: &'a [u8],
    start: usize,
    size: usize,
    most: usize,
    spans: &'a mut Vec<Span>,
}

impl Kernel for Spans<'_> {
    type Output = usize;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> usize {
        let Self { padded, start, size, most, spans } = self;
        let len = padded.len() - PAD;
        let mut line = start;
        let mut at = start;
        while at < len {
            let mut ends = simd.equal(simd.load(block(padded, at)), b'\n') & before(len, at);
            while ends != 0 {
                let end = at + ends.trailing_zeros() as usize;
                ends &= ends - 1;
                spans.extend(span(padded, line, end));
                line = end + 1;
                if line - start >= size || spans.len() == most {
                    return line;
                }
            }
            at += BLOCK;
        }
        if line < len {
            spans.extend(span(padded, line, len));
        }
        len
    }
}

/// The record on a line, if it is not blank.
#[inline(always)]
fn span(text: &[u8], start: usize, end: usize) -> Option<Span> {
    let line = &text[start..end];
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let blank = line.iter().all(|&byte| is_blank(byte));
    (!blank).then_some(Span { start: start as u32, len: line.len() as u32 })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn lines_are_those_of_split(
            text in prop::collection::vec(prop::sample::select(b"{} \r\n\nabcdefgh".as_slice()), 0..400),
            size in 1usize..200,
            most in 1usize..20,
        ) {
            let mut padded = text.clone();
            padded.extend([b'\n'; PAD]);
            for level in Level::supported() {
                let (mut at, mut found) = (0, Vec::new());
                while at < text.len() {
                    let (end, spans) = spans(&padded, at, size, most, level);
                    let full = end - at >= size || spans.len() == most;
                    prop_assert!(spans.len() <= most && (full || end == text.len()));
                    let record = |span: &Span| &text[span.start as usize..][..span.len as usize];
                    found.extend(spans.iter().map(record));
                    at = end;
                }
                let lines = text.split(|&byte| byte == b'\n');
                let lines = lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line));
                let expected: Vec<_> = lines.filter(|line| !line.trim_ascii().is_empty()).collect();
                prop_assert_eq!(&found, &expected);
            }
        }
    }
}
