//! Cutting NDJSON at line ends.

use gristmill_core::Result;
use memchr::{memchr, memrchr};

use super::cut::{Cut, Records, Source, long_span};

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
        if source.buffer.is_empty() {
            return Ok(None);
        }
        let len = if source.end && source.buffer.len() <= chunk {
            source.buffer.len()
        } else if let Some(at) = memrchr(b'\n', &source.buffer[..chunk]) {
            at + 1
        } else {
            match Self::long_line(source)? {
                Some(len) => len,
                None => return Self::cut_short(source).map(Some),
            }
        };
        let (bytes, offset) = source.cut(len, 0);
        Ok(Some(Cut { bytes, offset, records: Records::Lines, cut_short: None }))
    }

    /// The length of a first line that is longer than a chunk; none if it is longer than a record
    /// may be.
    fn long_line(source: &mut Source) -> Result<Option<usize>> {
        let chunk = source.sizes.chunk;
        let limit = chunk.max(source.sizes.max_record.saturating_add(1));
        let mut searched = chunk;
        loop {
            let until = source.buffer.len().min(limit);
            if let Some(at) = memchr(b'\n', &source.buffer[searched..until]) {
                return Ok(Some(searched + at + 1));
            }
            if source.end && source.buffer.len() <= limit {
                return Ok(Some(source.buffer.len()));
            }
            if until == limit {
                return Ok(None);
            }
            searched = until;
            source.fill(source.buffer.len().saturating_add(source.step()))?;
        }
    }

    /// The beginning of a first line that is too long; the rest of it is dropped.
    fn cut_short(source: &mut Source) -> Result<Cut> {
        let offset = source.offset;
        let mut kept = source.buffer[..source.kept()].to_vec();
        let len = loop {
            if let Some(at) = memchr(b'\n', &source.buffer) {
                source.cut(at + 1, 0);
                kept.push(b'\n');
                break source.offset - offset - 1;
            }
            source.cut(source.buffer.len(), 0);
            if source.end {
                break source.offset - offset;
            }
            source.fill(source.step())?;
        };
        let cut_short = Some(long_span(0, len));
        Ok(Cut { bytes: kept.into(), offset, records: Records::Lines, cut_short })
    }
}
