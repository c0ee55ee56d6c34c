//! Cutting JSON documents at record ends.
//!
//! The structure around records is read strictly. A record itself is only delimited, by its
//! strings and the depth of its brackets, so that a malformed one can be rejected and the next
//! found. Where brackets do not match, the next record cannot be found: that is an error.

use gristmill_core::{Error, ErrorKind, Result, Span};
use memchr::memchr_iter;

use super::cut::{Cut, Records, Source, long_span};
use super::delimit::{Delimiter, Found, Until};
use super::token::{is_blank, trimmed_len};
use crate::simd::Level;

const CUT_OFF: &str = "it was cut off while it was written or copied: get it again";
const CANNOT_GO_ON: &str = "the records after it cannot be told apart; mend the line";

/// What the structure may go on with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expect {
    /// A top-level value, or the end.
    Top,
    /// An element of the array of records.
    Element { first: bool },
    /// `,` or `]` of the array of records.
    Separator,
    /// A key of an object on the path, whose level it is.
    Key { level: usize, first: bool },
    /// `:` behind a key.
    Colon { level: usize, on_path: bool },
    /// The value of a key.
    Member { level: usize, on_path: bool },
    /// `,` or `}` of an object on the path.
    NextMember { level: usize },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Record,
    Key { level: usize },
    Skipped,
}

/// A value being delimited.
struct Open {
    start: usize,
    role: Role,
    then: Expect,
    delimiter: Delimiter,
}

pub(super) struct Document {
    pub(super) source: Source,
    level: Level,
    path: Vec<String>,
    expect: Expect,
    open: Option<Open>,
    /// The next byte to look at.
    at: usize,
    spans: Vec<Span>,
    /// Whether the records of the current top-level value were found.
    found: bool,
    /// Lines cut off.
    lines: u64,
    /// Bytes of the open record that were dropped because it is too long, and where in the buffer
    /// they are missing.
    dropped: Option<(u64, usize)>,
}

impl Document {
    pub(super) fn new(source: Source, path: Vec<String>) -> Self {
        Self {
            source,
            level: Level::detect(),
            path,
            expect: Expect::Top,
            open: None,
            at: 0,
            spans: Vec::new(),
            found: false,
            lines: 0,
            dropped: None,
        }
    }

    /// A chunk of records, or of text between records.
    pub(super) fn next(&mut self) -> Result<Option<Cut>> {
        loop {
            while self.at < self.source.text().len() {
                let record_ended = self.advance()?;
                if record_ended && (self.at >= self.source.sizes.chunk || self.dropped.is_some()) {
                    return Ok(Some(self.cut()));
                }
            }
            if self.source.end() {
                return self.finish();
            }
            match self.open.as_ref().map(|open| open.role) {
                Some(Role::Record) => self.drop_excess(),
                Some(Role::Key { .. }) => self.check_key()?,
                Some(Role::Skipped) | None => {
                    if self.at >= self.source.sizes.chunk {
                        return Ok(Some(self.cut()));
                    }
                }
            }
            let len = self.source.text().len() + self.source.step();
            self.source.fill(len)?;
        }
    }

    fn cut(&mut self) -> Cut {
        let (dropped, cut_short) = match self.dropped.take() {
            Some((dropped, from)) => {
                let more = self.drop_text(from, self.at);
                self.at -= more;
                (dropped + more as u64, self.spans.last().copied())
            }
            None => (0, None),
        };
        let line_ends = memchr_iter(b'\n', &self.source.text()[..self.at]).count();
        self.lines += line_ends as u64;
        let (padded, offset) = self.source.cut(self.at, dropped);
        self.at = 0;
        if let Some(open) = &mut self.open {
            open.start = 0; // only a skipped value is open across a cut
        }
        Cut { padded, offset, records: Records::Spans(std::mem::take(&mut self.spans)), cut_short }
    }

    fn finish(&mut self) -> Result<Option<Cut>> {
        if let Some(open) = self.open.take_if(|open| open.delimiter.until == Until::Break) {
            self.close(open, self.at);
        }
        let complete = |open: &Open| {
            let text = &self.source.text()[open.start..];
            let begun = !text.iter().all(|&byte| is_blank(byte));
            let Delimiter { until, depth, in_string, .. } = open.delimiter;
            until == Until::Separator && depth == 0 && !in_string && begun
        };
        if let Some(open) = &self.open {
            if complete(open) {
                return Err(self.truncated("array"));
            }
            let what = if open.role == Role::Record { "the record" } else { "the value" };
            let line = self.line(open.start);
            return Err(self
                .error(
                    ErrorKind::Truncated,
                    format!("ends in the middle of {what} that starts on line {line}"),
                )
                .hint(CUT_OFF));
        }
        match self.expect {
            Expect::Top if self.source.text().is_empty() => Ok(None),
            Expect::Top => Ok(Some(self.cut())),
            Expect::Element { .. } | Expect::Separator => Err(self.truncated("array")),
            _ => Err(self.truncated("object")),
        }
    }

    fn truncated(&self, what: &str) -> Error {
        let line = self.line(self.at);
        self.error(ErrorKind::Truncated, format!("ends on line {line} before its {what} is closed"))
            .hint(CUT_OFF)
    }

    /// Reads on from `self.at` up to the end of a value or one structural character. Answers
    /// whether a record ended.
    fn advance(&mut self) -> Result<bool> {
        if self.open.is_some() {
            return self.delimit();
        }
        let byte = self.source.text()[self.at];
        if is_blank(byte) {
            let rest = &self.source.text()[self.at..];
            self.at += rest.iter().position(|&byte| !is_blank(byte)).unwrap_or(rest.len());
            return Ok(false);
        }
        match self.expect {
            Expect::Top => self.top(byte)?,
            Expect::Element { first } => {
                if byte == b']' && first {
                    self.at += 1;
                    self.end_array();
                } else {
                    // An empty element, between commas or before the bracket, is a bad record.
                    self.begin(Role::Record, Until::Separator, Expect::Separator);
                }
            }
            Expect::Separator => {
                self.at += 1;
                if byte == b',' {
                    self.expect = Expect::Element { first: false };
                } else {
                    self.end_array(); // a record only ends before `,` and `]`
                }
            }
            Expect::Key { level, first } => match byte {
                b'"' => {
                    let then = Expect::Colon { level, on_path: false };
                    self.begin(Role::Key { level }, Until::Closed, then);
                }
                b'}' if first => {
                    self.at += 1;
                    self.end_object(level)?;
                }
                _ => return Err(self.unexpected("a key in quotes")),
            },
            Expect::Colon { level, on_path } => {
                if byte != b':' {
                    return Err(self.unexpected("`:`"));
                }
                self.at += 1;
                self.expect = Expect::Member { level, on_path };
            }
            Expect::Member { level, on_path } => self.member(byte, level, on_path)?,
            Expect::NextMember { level } => match byte {
                b',' => {
                    self.at += 1;
                    self.expect = Expect::Key { level, first: false };
                }
                b'}' => {
                    self.at += 1;
                    self.end_object(level)?;
                }
                _ => return Err(self.unexpected("`,` or `}`")),
            },
        }
        Ok(false)
    }

    fn top(&mut self, byte: u8) -> Result<()> {
        match byte {
            b'{' if !self.path.is_empty() => {
                self.at += 1;
                self.found = false;
                self.expect = Expect::Key { level: 0, first: true };
            }
            b'[' if self.path.is_empty() => {
                self.at += 1;
                self.expect = Expect::Element { first: true };
            }
            b'{' => self.begin(Role::Record, Until::Closed, Expect::Top),
            b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n' if self.path.is_empty() => {
                let until = if byte == b'"' { Until::Closed } else { Until::Break };
                self.begin(Role::Record, until, Expect::Top);
            }
            b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => {
                let line = self.line(self.at);
                let path = self.path.join(".");
                let message = format!("has no `{path}`: the value on line {line} is not an object");
                return Err(self.error(ErrorKind::Schema, message));
            }
            _ => return Err(self.unexpected("a JSON value")),
        }
        Ok(())
    }

    fn member(&mut self, byte: u8, level: usize, on_path: bool) -> Result<()> {
        let then = Expect::NextMember { level };
        let last = level + 1 == self.path.len();
        match byte {
            b',' | b'}' | b']' | b':' => return Err(self.unexpected("a value")),
            b'[' if on_path && last => {
                self.at += 1;
                self.found = true;
                self.expect = Expect::Element { first: true };
            }
            b'{' if on_path && last => {
                self.found = true;
                self.begin(Role::Record, Until::Closed, then);
            }
            b'{' if on_path => {
                self.at += 1;
                self.expect = Expect::Key { level: level + 1, first: true };
            }
            b'n' if on_path => {
                self.found = true; // a null in place of the records: none
                self.begin(Role::Skipped, Until::Break, then);
            }
            _ if on_path => {
                let path = self.path[..=level].join(".");
                let what = if last { "an array or an object" } else { "an object" };
                let line = self.line(self.at);
                let message = format!("has a `{path}` on line {line} that is not {what}");
                return Err(self.error(ErrorKind::Schema, message));
            }
            b'{' | b'[' | b'"' => self.begin(Role::Skipped, Until::Closed, then),
            _ => self.begin(Role::Skipped, Until::Break, then),
        }
        Ok(())
    }

    fn end_array(&mut self) {
        self.expect = match self.path.len().checked_sub(1) {
            Some(level) => Expect::NextMember { level },
            None => Expect::Top,
        };
    }

    fn end_object(&mut self, level: usize) -> Result<()> {
        if let Some(level) = level.checked_sub(1) {
            self.expect = Expect::NextMember { level };
            return Ok(());
        }
        if !self.found {
            let line = self.line(self.at);
            let path = self.path.join(".");
            let message = format!("has no `{path}` in the object that ends on line {line}");
            return Err(self
                .error(ErrorKind::Schema, message)
                .hint("`records` takes the keys that lead to the records, separated by dots"));
        }
        self.expect = Expect::Top;
        Ok(())
    }

    fn begin(&mut self, role: Role, until: Until, then: Expect) {
        let delimiter = Delimiter::new(until);
        self.open = Some(Open { start: self.at, role, then, delimiter });
    }

    /// Looks for the end of the open value in what is buffered.
    fn delimit(&mut self) -> Result<bool> {
        let Some(mut open) = self.open.take() else {
            return Ok(false);
        };
        let (buffer, len) = (&self.source.buffer, self.source.text().len());
        match open.delimiter.find(buffer.padded(), self.at, len, self.level) {
            Found::More => {
                self.at = len;
                self.open = Some(open);
                Ok(false)
            }
            Found::Mismatch(at) => {
                self.at = at;
                Err(self.mismatch(&open))
            }
            Found::End(end) => {
                self.at = end;
                Ok(self.close(open, end))
            }
        }
    }

    /// Notes the value that ended at `end`. Answers whether it is a record.
    fn close(&mut self, open: Open, end: usize) -> bool {
        self.expect = open.then;
        let text = &self.source.text()[open.start..end];
        match open.role {
            Role::Record => {
                let len = match self.dropped {
                    Some((dropped, _)) => text.len() as u64 + dropped,
                    None => trimmed_len(text) as u64,
                };
                self.spans.push(long_span(open.start, len));
            }
            Role::Key { level } => {
                let on_path =
                    serde_json::from_slice::<String>(text).is_ok_and(|key| key == self.path[level]);
                self.expect = Expect::Colon { level, on_path };
            }
            Role::Skipped => {}
        }
        open.role == Role::Record
    }

    /// Keeps the buffer small while a record is too long: its beginning stays, and its line ends,
    /// which are needed to count lines.
    fn drop_excess(&mut self) {
        let Some(open) = &self.open else {
            return;
        };
        if self.dropped.is_none() && self.at - open.start <= self.source.sizes.max_record {
            return;
        }
        let (dropped, from) = self.dropped.unwrap_or((0, open.start + self.source.kept()));
        let more = self.drop_text(from, self.source.text().len()); // all of it is looked at
        self.at = self.source.text().len();
        self.dropped = Some((dropped + more as u64, self.at));
    }

    /// Drops a part of the buffer but for its line ends. Answers how many bytes that were.
    fn drop_text(&mut self, from: usize, to: usize) -> usize {
        let line_ends = memchr_iter(b'\n', &self.source.text()[from..to]).count();
        self.source.buffer.shrink(from, to, b'\n', line_ends);
        to - from - line_ends
    }

    fn check_key(&self) -> Result<()> {
        let start = self.open.as_ref().map_or(self.at, |open| open.start);
        if self.at - start <= self.source.sizes.max_record {
            return Ok(());
        }
        let line = self.line(start);
        Err(self.error(ErrorKind::Corrupt, format!("has a key on line {line} that is too long")))
    }

    fn line(&self, at: usize) -> u64 {
        let before = &self.source.text()[..at.min(self.source.text().len())];
        self.lines + memchr_iter(b'\n', before).count() as u64 + 1
    }

    fn error(&self, kind: ErrorKind, what: impl std::fmt::Display) -> Error {
        Error::new(kind, format!("`{}` {what}", self.source.name))
    }

    fn unexpected(&self, expected: &str) -> Error {
        // Of a character beyond ASCII, the rest may not have been read yet.
        let found = match self.source.text().get(self.at) {
            Some(byte) if byte.is_ascii() => format!("`{}`", char::from(*byte).escape_debug()),
            Some(byte) => format!("byte 0x{byte:02X}"),
            None => "its end".to_owned(),
        };
        let line = self.line(self.at);
        let message =
            format!("is not valid JSON on line {line}: expected {expected} but found {found}");
        self.error(ErrorKind::Corrupt, message).hint(match self.expect {
            Expect::Top => "say what it is with `format:`, or mend the line",
            _ => CANNOT_GO_ON,
        })
    }

    fn mismatch(&self, open: &Open) -> Error {
        let byte = char::from(self.source.text()[self.at]);
        let (line, start) = (self.line(self.at), self.line(open.start));
        let message = format!(
            "is not valid JSON on line {line}: `{byte}` closes what it does not open, in the record \
             that starts on line {start}"
        );
        self.error(ErrorKind::Corrupt, message).hint(CANNOT_GO_ON)
    }
}
