//! The exact machine: reads one record byte by byte, and says what is wrong with it.
//!
//! It is the definition of the grammar. The masks of [`super::scan`] and [`super::index`] give the
//! same result where they can tell, and leave the rest to it.

use memchr::{memchr, memchr2};

use super::grammar::{CR, Grammar, LF};

/// Bytes that the machine wants to see beyond the longest record before it judges one: a closing
/// quote, CR, LF, and one to know that there is more.
pub(super) const LOOKAHEAD: usize = 4;

/// What stands at the start of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// No record but a blank line or a comment.
    Skip { next: usize },
    /// A record. `end` is where its last field ends, `next` where the next record starts.
    Record { end: usize, next: usize },
    /// Not a record. Costs one line: see [`line`].
    Malformed(Flaw),
    /// The text ends before the answer is known, and there is more to read.
    More,
}

/// Why a text is not a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flaw {
    pub cause: Cause,
    /// Position of the field, from 0.
    pub field: usize,
    /// Where the field starts.
    pub at: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// Text after the closing quote.
    TextAfterQuote,
    /// The input ends inside of quotes.
    Unclosed,
    /// The quote is not closed within the longest record.
    UnclosedInLimit,
    /// The record is longer than the longest allowed.
    TooLong,
    /// A comment longer than the longest record. Not a record; it is skipped.
    LongComment,
}

/// A physical line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    /// Its content ends at `end`, the next line starts at `next`.
    Ends { end: usize, next: usize },
    /// It is longer than the longest record.
    Long,
    /// The text ends before the line does, and there is more to read.
    More,
}

/// Reads the record at `start` of a text that ends there (`eof`) or goes on. `delimiter_at` is
/// called with the position of every delimiter between its fields. A record has at most `max`
/// bytes, and the answer does not depend on how much of the text is there.
pub(super) fn record(
    text: &[u8],
    start: usize,
    eof: bool,
    grammar: &Grammar,
    max: usize,
    mut delimiter_at: impl FnMut(usize),
) -> Step {
    let reach = text.len().min(start + max + LOOKAHEAD);
    let limit = start + max;
    let whole = reach - start == max + LOOKAHEAD;
    let eof = eof && !whole;
    let text = &text[..reach];
    match text.get(start) {
        None if eof => return Step::Skip { next: start },
        None => return Step::More,
        Some(&byte) if byte == grammar.line_end => return Step::Skip { next: start + 1 },
        Some(&CR) if grammar.line_end == LF => match text.get(start + 1) {
            Some(&LF) => return Step::Skip { next: start + 2 },
            None if eof => return Step::Skip { next: start + 1 },
            None if !whole => return Step::More,
            _ => {}
        },
        Some(&byte) if grammar.comment == Some(byte) => {
            return match line(text, start, eof, grammar, max) {
                Line::Ends { next, .. } => Step::Skip { next },
                Line::Long => malformed(Cause::LongComment, 0, start),
                Line::More => Step::More,
            };
        }
        Some(_) => {}
    }

    let mut at = start;
    let mut field = 0;
    loop {
        // From the field's start to the delimiter, line end or end of text that ends it.
        let (end, content_end) = match grammar.quote {
            Some(quote) if text.get(at) == Some(&quote) => {
                if at >= limit {
                    return malformed(Cause::TooLong, field, at);
                }
                match closing_quote(text, at, quote, grammar.escape) {
                    Some(close) if close < limit => (close + 1, close + 1),
                    None if eof && text.len() <= limit => {
                        return malformed(Cause::Unclosed, field, at);
                    }
                    None if !whole && !eof => return Step::More,
                    _ => return malformed(Cause::UnclosedInLimit, field, at),
                }
            }
            _ => {
                let end = match memchr2(grammar.delimiter, grammar.line_end, &text[at..]) {
                    Some(length) => at + length,
                    None if whole => return malformed(Cause::TooLong, field, at),
                    None if eof => text.len(),
                    None => return Step::More,
                };
                (end, grammar.content_end(text, at, end))
            }
        };
        match text.get(end) {
            Some(&byte) if byte == grammar.delimiter => {
                if end >= limit {
                    return malformed(Cause::TooLong, field, at);
                }
                delimiter_at(end);
                at = end + 1;
                field += 1;
                continue;
            }
            Some(&byte) if byte == grammar.line_end => {
                return ended(content_end, end + 1, limit, field, at);
            }
            // Only after a closing quote.
            Some(&CR) if grammar.line_end == LF => match text.get(end + 1) {
                Some(&LF) => return ended(end, end + 2, limit, field, at),
                None if eof => return ended(end, end + 1, limit, field, at),
                None if !whole => return Step::More,
                _ => return malformed(Cause::TextAfterQuote, field, at),
            },
            Some(_) => return malformed(Cause::TextAfterQuote, field, at),
            None if eof => return ended(content_end, end, limit, field, at),
            None => return Step::More,
        }
    }
}

/// The physical line at `start`; quotes do not count.
pub(super) fn line(text: &[u8], start: usize, eof: bool, grammar: &Grammar, max: usize) -> Line {
    let reach = text.len().min(start + max + LOOKAHEAD);
    let (at, next) = match memchr(grammar.line_end, &text[start..reach]) {
        Some(length) => (start + length, start + length + 1),
        None if reach - start == max + LOOKAHEAD => return Line::Long,
        None if eof => (reach, reach),
        None => return Line::More,
    };
    let end = grammar.content_end(text, start, at);
    if end - start > max { Line::Long } else { Line::Ends { end, next } }
}

/// The content of a field: without its quotes, doubled quotes and escapes undone. `scratch` holds
/// it where it is not a part of the text.
#[inline]
pub(super) fn content<'a>(
    field: &'a [u8],
    grammar: &Grammar,
    scratch: &'a mut Vec<u8>,
) -> (&'a [u8], Quoted) {
    let Some(quote) = grammar.quote else { return (field, Quoted::No) };
    if field.first() != Some(&quote) {
        return (field, Quoted::No);
    }
    let inner = &field[1..field.len() - 1];
    let special = match grammar.escape {
        None => memchr(quote, inner),
        Some(escape) => memchr2(quote, escape, inner),
    };
    let Some(first) = special else { return (inner, Quoted::Yes) };
    scratch.clear();
    scratch.extend_from_slice(&inner[..first]);
    let mut rest = &inner[first..];
    while let [byte, tail @ ..] = rest {
        // Either is followed by the byte that it stands for.
        let skipped = *byte == quote || Some(*byte) == grammar.escape;
        rest = match tail {
            [literal, tail @ ..] if skipped => {
                scratch.push(*literal);
                tail
            }
            _ => {
                scratch.push(*byte);
                tail
            }
        };
    }
    (scratch, Quoted::Yes)
}

/// Whether a field stood in quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quoted {
    Yes,
    No,
}

/// The quote that closes the field opened at `open`.
fn closing_quote(text: &[u8], open: usize, quote: u8, escape: Option<u8>) -> Option<usize> {
    let mut at = open + 1;
    loop {
        let rest = text.get(at..)?;
        let found = match escape {
            None => at + memchr(quote, rest)?,
            Some(escape) => at + memchr2(quote, escape, rest)?,
        };
        if text[found] == quote && text.get(found + 1) != Some(&quote) {
            return Some(found);
        }
        at = found + 2;
    }
}

fn malformed(cause: Cause, field: usize, at: usize) -> Step {
    Step::Malformed(Flaw { cause, field, at })
}

fn ended(end: usize, next: usize, limit: usize, field: usize, at: usize) -> Step {
    if end > limit { malformed(Cause::TooLong, field, at) } else { Step::Record { end, next } }
}
