//! The text of a source, cut into chunks at record ends.

use std::io::Read;
use std::sync::Arc;

use gristmill_core::Result;
use memchr::{memchr, memchr_iter};

use super::chunk::{Irregular, Layout, TextChunk};
use super::exact::{self, Cause, Flaw, LOOKAHEAD, Line, Step};
use super::grammar::{CR, LF};
use super::scan::{Why, scan};
use super::sniff;
use crate::buffer::{Buffer, Pool};
use crate::compression::read_error;

/// How much is read before it is scanned.
const STRETCH: usize = 512 << 10;

/// The text from the first byte that is in no chunk yet.
pub(super) struct Text {
    input: Box<dyn Read + Send>,
    buffer: Buffer,
    /// Where it starts in the source's UTF-8 text.
    offset: u64,
    /// The line it starts on, from 1.
    line: u64,
    /// Whether it is the source's beginning.
    first: bool,
}

/// Where a chunk ends.
enum Cut {
    /// Between two records.
    At(usize),
    /// In the record that starts there, which is too long to be kept.
    Long(usize, Flaw),
}

impl Text {
    /// The text of `input`, for chunks of `chunk` bytes.
    pub(super) fn new(input: Box<dyn Read + Send>, chunk: usize) -> Self {
        let buffer = Buffer::new(Pool::new(chunk));
        Self { input, buffer, offset: 0, line: 1, first: true }
    }

    /// What is there of it.
    pub(super) fn bytes(&self) -> &[u8] {
        self.buffer.text()
    }

    /// Whether nothing comes after what is there.
    pub(super) fn eof(&self) -> bool {
        self.buffer.eof()
    }

    /// Reads until there are `want` bytes or the input ends.
    pub(super) fn fill(&mut self, name: &str, want: usize) -> Result<()> {
        self.buffer.fill(&mut self.input, want).map_err(|error| read_error(name, error))
    }

    /// The chunk that starts where the text does; its first record is at `body`.
    pub(super) fn next_chunk(
        &mut self,
        layout: &Arc<Layout>,
        body: usize,
    ) -> Result<Option<TextChunk>> {
        self.fill(&layout.name, body + layout.sizes.chunk.min(STRETCH))?;
        if self.buffer.text().len() <= body && self.buffer.eof() {
            return Ok(None);
        }
        let mut irregular = Vec::new();
        let mut lines = Lines { at: 0, line: self.line };
        let cut = self.cut(layout, body, &mut irregular, &mut lines)?;
        let (offset, first, line_end) = (self.offset, self.first, layout.grammar.line_end);
        self.first = false;
        let (end, long) = match cut {
            Cut::At(end) => (end, None),
            Cut::Long(start, flaw) => {
                let text = self.buffer.text();
                let mut end = text.len().min(start + layout.sizes.max_record);
                // Not within a character.
                while end > start + 1 && text.get(end).is_some_and(|byte| byte & 0xC0 == 0x80) {
                    end -= 1;
                }
                if flaw.cause == Cause::LongComment {
                    irregular.push(Irregular::comment(start, end));
                } else {
                    let line = lines.of(text, start, flaw.at, line_end);
                    irregular.push(Irregular::malformed(start, end, flaw, line));
                }
                (end, Some(start))
            }
        };
        self.line = lines.of(self.buffer.text(), end, end, line_end);
        self.offset += end as u64;
        let text = self.buffer.split(end);
        let long = match long {
            None => None,
            Some(start) => Some(self.drop_line(layout)? - (offset + start as u64)),
        };
        Ok(Some(TextChunk::new(Arc::clone(layout), text, body, offset, first, irregular, long)))
    }

    fn cut(
        &mut self,
        layout: &Layout,
        body: usize,
        irregular: &mut Vec<Irregular>,
        lines: &mut Lines,
    ) -> Result<Cut> {
        let Layout { grammar, sizes, level, .. } = layout;
        let max = sizes.max_record;
        let target = body + sizes.chunk;
        let mut at = body;
        loop {
            // Read a stretch at a time, it is still in the cache when it is scanned.
            let stretch = if grammar.is_plain() { STRETCH } else { sizes.chunk };
            self.fill(&layout.name, target.min(self.buffer.text().len() + stretch))?;
            let len = self.buffer.text().len();
            let window = len.min(target);
            if at >= window && at > body {
                return Ok(Cut::At(at));
            }
            if grammar.is_plain() {
                lines.of(self.buffer.text(), at, at, grammar.line_end);
                let found = scan(self.buffer.padded(), at, window, grammar, max, *level);
                at = found.start;
                lines.skip(at, found.lines);
                let last = window == len && self.buffer.eof();
                match found.why {
                    Why::Outside | Why::Inside if window < target && !last => continue,
                    Why::Outside if last => return Ok(Cut::At(len)),
                    Why::Outside | Why::Inside if at > body && !last => return Ok(Cut::At(at)),
                    _ => {}
                }
            }
            // One record by the exact machine, which wants to see all of the window.
            self.fill(&layout.name, target)?;
            let window = self.buffer.text().len().min(target);
            loop {
                let (text, eof) = (self.buffer.text(), self.buffer.eof());
                let step = exact::record(text, at, eof, grammar, max, |_| {});
                let next = match step {
                    Step::Skip { next } => next,
                    Step::Record { next, .. } if next > window && at > body => {
                        return Ok(Cut::At(at));
                    }
                    Step::Record { next, .. } => {
                        if grammar.is_plain() {
                            irregular.push(Irregular::exact(at, next));
                        }
                        next
                    }
                    Step::More if at > body => return Ok(Cut::At(at)),
                    Step::More => {
                        let want = (2 * text.len()).min(at + max + LOOKAHEAD).max(text.len() + 1);
                        self.fill(&layout.name, want)?;
                        continue;
                    }
                    Step::Malformed(flaw) => {
                        let flaw_line = exact::line(text, at, eof, grammar, max);
                        match flaw_line {
                            Line::Ends { next, .. } => {
                                let line = lines.of(text, at, flaw.at, grammar.line_end);
                                irregular.push(Irregular::malformed(at, next, flaw, line));
                                next
                            }
                            _ if at > body => return Ok(Cut::At(at)),
                            Line::Long => {
                                let cause = match flaw.cause {
                                    Cause::UnclosedInLimit => Cause::TooLong,
                                    cause => cause,
                                };
                                return Ok(Cut::Long(at, Flaw { cause, ..flaw }));
                            }
                            Line::More => {
                                self.fill(&layout.name, at + max + LOOKAHEAD)?;
                                continue;
                            }
                        }
                    }
                };
                at = next;
                break;
            }
            if at == self.buffer.text().len() && self.buffer.eof() {
                return Ok(Cut::At(at));
            }
        }
    }

    /// Drops the rest of a line, up to its line end. Answers where its content ended.
    fn drop_line(&mut self, layout: &Layout) -> Result<u64> {
        let line_end = layout.grammar.line_end;
        let mut last = 0;
        loop {
            let text = self.buffer.text();
            let found = memchr(line_end, text);
            let n = found.unwrap_or(text.len());
            if n > 0 {
                last = text[n - 1];
            }
            self.buffer.skip(n);
            self.offset += n as u64;
            if found.is_some() || self.buffer.eof() {
                let cr = line_end == LF && last == CR;
                return Ok(self.offset - u64::from(cr));
            }
            self.fill(&layout.name, layout.sizes.chunk.max(sniff::SAMPLE))?;
        }
    }
}

/// Counts lines forward, once.
struct Lines {
    at: usize,
    line: u64,
}

impl Lines {
    /// The line of `at`, which is in the record at `start`. Records come in order.
    fn of(&mut self, text: &[u8], start: usize, at: usize, line_end: u8) -> u64 {
        self.line += memchr_iter(line_end, &text[self.at..start]).count() as u64;
        self.at = start;
        self.line + memchr_iter(line_end, &text[start..at]).count() as u64
    }

    /// Goes forward to `at`, before which so many more lines end.
    fn skip(&mut self, at: usize, lines: usize) {
        self.line += lines as u64;
        self.at = at;
    }
}
