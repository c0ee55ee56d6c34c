//! The reader: finds the header and cuts the rest into chunks.

use std::io::Read;
use std::sync::Arc;

use arrow_schema::{Schema, SchemaRef};
use gristmill_core::text::ColumnPlan;
use gristmill_core::{Chunk, Error, ErrorKind, FieldType, ReadPlan, Result};
use memchr::memchr_iter;

use super::buffer::{Buffer, Pool};
use super::chunk::{Irregular, Layout, TextChunk, Width};
use super::encoding::{self, Start};
use super::exact::{self, Cause, Flaw, LOOKAHEAD, Line, Step};
use super::grammar::{CR, Grammar, LF};
use super::options::{self, Dialect, Encoding, Header, ReadOptions};
use super::scan::{Why, scan};
use super::simd::Level;
use super::{header, sniff};
use crate::compression::read_error;
use crate::{Reader as FormatReader, Sizes};

/// Reads one CSV file.
///
/// Holds no more of it than a chunk or the longest record allowed, whichever is larger.
pub struct Reader {
    name: Arc<str>,
    options: ReadOptions,
    sizes: Sizes,
    level: Level,
    grammar: Grammar,
    state: State,
    notes: Vec<String>,
}

enum State {
    Unopened(Box<dyn Read + Send>),
    Open(Box<Open>),
    Done,
}

/// A file whose header is read.
struct Open {
    text: Text,
    /// Names of the fields, each once.
    names: Vec<String>,
    width: Width,
    /// Where the first record starts in the text.
    body: usize,
    layout: Option<Arc<Layout>>,
}

/// The text from the first byte that is in no chunk yet.
struct Text {
    input: Box<dyn Read + Send>,
    buffer: Buffer,
    /// Where it starts in the source's UTF-8 text.
    offset: u64,
    /// The line it starts on, from 1.
    line: u64,
    /// Whether it is the source's beginning.
    first: bool,
}

impl Reader {
    /// A reader of `input`, which messages call `name`. Reads nothing yet.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] for options that [`super::check`] finds a mistake in.
    pub fn open(
        name: Arc<str>,
        input: Box<dyn Read + Send>,
        options: &ReadOptions,
        sizes: Sizes,
    ) -> Result<Self> {
        if let Some(mistake) = options::check(options).into_iter().next() {
            return Err(Error::new(ErrorKind::Configuration, mistake.to_string()));
        }
        let grammar = Grammar::new(options)
            .map_err(|_| Error::internal("options without mistakes have no grammar"))?;
        let max = options.max_record_size.map_or(sizes.max_record, |size| size.0 as usize);
        let sizes = Sizes {
            chunk: sizes.chunk.clamp(1, MAX_CHUNK),
            batch: sizes.batch.max(1),
            max_record: max.clamp(options::MIN_RECORD as usize, options::MAX_RECORD as usize),
        };
        let state = State::Unopened(input);
        let level = Level::detect();
        let options = options.clone();
        Ok(Self { name, options, sizes, level, grammar, state, notes: Vec::new() })
    }

    /// Reads with the instructions of this level: for tests and measurements. The result is the
    /// same with all of them.
    #[must_use]
    pub fn with_level(mut self, level: Level) -> Self {
        self.level = level;
        self
    }

    fn opened(&mut self) -> Result<&mut Open> {
        if let State::Unopened(_) = self.state {
            let State::Unopened(input) = std::mem::replace(&mut self.state, State::Done) else {
                unreachable!("the state was looked at above");
            };
            self.state = State::Open(Box::new(self.read_header(input)?));
        }
        match &mut self.state {
            State::Open(open) => Ok(open),
            _ => Err(Error::internal("a reader was asked for columns after its end")),
        }
    }

    fn read_header(&mut self, input: Box<dyn Read + Send>) -> Result<Open> {
        let name = Arc::clone(&self.name);
        let (input, Start { encoding, mark }) = encoding::utf8(input, self.options.encoding)
            .map_err(|error| read_error(&name, error))?;
        if self.options.encoding == Encoding::Auto && encoding != Encoding::Utf8 {
            let order = if encoding == Encoding::Utf16le { "little" } else { "big" };
            self.notes.push(format!("`{name}` is in UTF-16, {order}-endian"));
        } else if mark > 0 {
            self.notes.push(format!("`{name}` begins with a byte order mark"));
        }
        let pool = Pool::new(self.sizes.chunk);
        let buffer = Buffer::new(pool);
        let mut text = Text { input, buffer, offset: 0, line: 1, first: true };
        text.fill(&name, sniff::SAMPLE)?;

        let mut at = mark;
        self.grammar.line_end = self.line_end(&mut text, at)?;
        for _ in 0..self.options.skip_rows {
            at = self.skip_line(&mut text, at)?;
        }
        self.guess_dialect(&text, at);
        if self.grammar.line_end == CR {
            self.notes.push(format!("lines of `{name}` end in CR alone"));
        }

        let found = self.first_record(&mut text, at)?;
        let given = self.options.names.clone();
        let (names, width, body) = match (found, self.options.header) {
            (None, _) => {
                if text.offset == 0 && text.buffer.text().len() == mark {
                    self.notes.push(format!("`{name}` is empty"));
                } else {
                    self.notes.push(format!("`{name}` has no header and no record"));
                }
                (given, Width::Names, text.buffer.text().len())
            }
            (Some(first), Header::Present) => {
                let width = Width::Header;
                if given.is_empty() {
                    let names = header::unique(first.names(&name)?, &name, &mut self.notes);
                    (names, width, first.next)
                } else if given.len() == first.fields.len() {
                    (given, width, first.next)
                } else {
                    return Err(Error::new(
                        ErrorKind::Schema,
                        format!(
                            "`names` has {} where the header of `{name}` has {}",
                            given.len(),
                            first.fields.len()
                        ),
                    )
                    .hint("give every column a name, or leave `names` out"));
                }
            }
            (Some(first), Header::Absent) if given.is_empty() => {
                let count = first.fields.len();
                let names = (1..=count).map(|position| format!("column_{position}")).collect();
                (names, Width::FirstRecord, first.start)
            }
            (Some(first), Header::Absent) => (given, Width::Names, first.start),
        };
        Ok(Open { text, names, width, body, layout: None })
    }

    fn line_end(&self, text: &mut Text, at: usize) -> Result<u8> {
        loop {
            let rest = &text.buffer.text()[at..];
            let comment =
                self.grammar.comment.is_some() && self.grammar.comment == rest.first().copied();
            let quotes = self.options.skip_rows == 0 && !comment;
            if let Some(byte) = sniff::line_end(rest, &self.grammar, text.buffer.eof(), quotes) {
                return Ok(byte);
            }
            if rest.len() > self.sizes.max_record {
                return Ok(LF);
            }
            text.fill(&self.name, 2 * text.buffer.text().len())?;
        }
    }

    fn guess_dialect(&mut self, text: &Text, at: usize) {
        if self.options.dialect == Dialect::Fixed {
            return;
        }
        let text_len = text.buffer.text().len();
        let mut sample = &text.buffer.text()[at..text_len.min(at + sniff::SAMPLE)];
        if !(text.buffer.eof() && at + sample.len() == text_len)
            && let Some(end) = memchr::memrchr(self.grammar.line_end, sample)
        {
            sample = &sample[..=end];
        }
        let Some((delimiter, quote)) = sniff::dialect(sample, &self.grammar) else { return };
        self.grammar.delimiter = delimiter;
        self.grammar.quote = quote;
        let quote = match quote {
            Some(quote) => format!("quote `{}`", char::from(quote)),
            None => "no quote".to_owned(),
        };
        self.notes.push(format!(
            "`{}` was taken to have the delimiter `{}` and {quote}",
            self.name,
            char::from(delimiter).escape_default()
        ));
    }

    /// Answers where the line after the one at `at` starts.
    fn skip_line(&self, text: &mut Text, at: usize) -> Result<usize> {
        loop {
            let buffer = &text.buffer;
            match exact::line(buffer.text(), at, buffer.eof(), &self.grammar, self.sizes.max_record)
            {
                Line::Ends { next, .. } => return Ok(next),
                Line::More => text.fill(&self.name, 2 * text.buffer.text().len())?,
                Line::Long => {
                    return Err(self.no_header("a line that is to be skipped is too long"));
                }
            }
        }
    }

    /// The record at `at` or behind the blank lines and comments there; `None` at the end.
    fn first_record(&self, text: &mut Text, mut at: usize) -> Result<Option<First>> {
        let max = self.sizes.max_record;
        loop {
            let buffer = &text.buffer;
            if at == buffer.text().len() && buffer.eof() {
                return Ok(None);
            }
            let mut delimiters = Vec::new();
            match exact::record(buffer.text(), at, buffer.eof(), &self.grammar, max, |delimiter| {
                delimiters.push(delimiter);
            }) {
                Step::Skip { next } => at = next,
                Step::More => text.fill(&self.name, 2 * text.buffer.text().len())?,
                Step::Record { end, next } => {
                    delimiters.push(end);
                    let mut scratch = Vec::new();
                    let mut start = at;
                    let fields = delimiters
                        .into_iter()
                        .map(|end| {
                            let field = &buffer.text()[start..end];
                            start = end + 1;
                            exact::content(field, &self.grammar, &mut scratch).0.to_vec()
                        })
                        .collect();
                    return Ok(Some(First { start: at, next, fields }));
                }
                Step::Malformed(_) if self.options.header == Header::Absent => {
                    if self.options.names.is_empty() {
                        return Err(self.no_header(
                            "there are no names, and the first record does not tell how many \
                             fields there are",
                        ));
                    }
                    return Ok(Some(First { start: at, next: at, fields: Vec::new() }));
                }
                Step::Malformed(flaw) => {
                    return Err(self.no_header(match flaw.cause {
                        Cause::TextAfterQuote => "there is text after a closing quote",
                        Cause::Unclosed | Cause::UnclosedInLimit => "a quote is not closed",
                        Cause::TooLong | Cause::LongComment => "it is too long",
                    }));
                }
            }
        }
    }

    fn no_header(&self, why: &str) -> Error {
        Error::new(
            ErrorKind::Corrupt,
            format!("the header of `{}` cannot be read: {why}", self.name),
        )
        .hint("check `delimiter`, `quote`, `skip_rows` and `encoding`")
    }
}

/// The first record: the header, if there is one.
struct First {
    start: usize,
    next: usize,
    fields: Vec<Vec<u8>>,
}

impl First {
    fn names(&self, source: &str) -> Result<Vec<String>> {
        let name = |(index, field): (usize, &Vec<u8>)| {
            let what = match String::from_utf8(field.clone()) {
                Ok(name) if !name.contains('\0') => return Ok(name),
                Ok(_) => "holds a NUL byte",
                Err(_) => "is not UTF-8",
            };
            let position = index + 1;
            Err(Error::new(
                ErrorKind::Corrupt,
                format!("name {position} in the header of `{source}` {what}"),
            )
            .hint("say the file's `encoding`, for example `latin1` or `utf16`"))
        };
        self.fields.iter().enumerate().map(name).collect()
    }
}

impl FormatReader for Reader {
    fn read_plan(&mut self) -> Result<Option<ReadPlan>> {
        let open = self.opened()?;
        let columns = open.names.iter().map(|name| ColumnPlan::new(name, FieldType::String));
        Ok(Some(ReadPlan { columns: columns.collect() }))
    }

    fn begin(&mut self, plan: Option<&ReadPlan>) -> Result<SchemaRef> {
        let whole = match plan {
            None => self.read_plan()?,
            Some(_) => None,
        };
        let plan = plan.or(whole.as_ref());
        self.opened()?;
        let State::Open(open) = &mut self.state else {
            return Err(Error::internal("a reader was begun after its end"));
        };
        let columns = plan.map(|plan| plan.columns.clone()).unwrap_or_default();
        let fields: Vec<_> = columns.iter().map(ColumnPlan::field).collect();
        let schema = Arc::new(Schema::new(fields));
        let field_of = |column: &ColumnPlan| open.names.iter().position(|n| *n == column.source);
        let labels = open.names.iter().map(|name| {
            let column = columns.iter().find(|column| column.source == *name);
            column.map_or_else(|| name.clone(), |column| column.name.clone())
        });
        open.layout = Some(Arc::new(Layout {
            name: Arc::clone(&self.name),
            grammar: self.grammar,
            level: self.level,
            sizes: self.sizes,
            nulls: self.options.nulls.iter().map(|null| null.clone().into_bytes()).collect(),
            labels: labels.collect(),
            width: open.width,
            columns: columns.iter().map(|column| (column.clone(), field_of(column))).collect(),
            schema: Arc::clone(&schema),
        }));
        Ok(schema)
    }

    fn next_chunk(&mut self) -> Result<Option<Box<dyn Chunk>>> {
        let State::Open(open) = &mut self.state else { return Ok(None) };
        let Some(layout) = &open.layout else {
            return Err(Error::internal("a reader was asked for chunks before it began"));
        };
        match open.text.next_chunk(layout, open.body) {
            Ok(Some(chunk)) => {
                open.body = 0;
                Ok(Some(Box::new(chunk)))
            }
            other => {
                self.state = State::Done;
                other.map(|_| None)
            }
        }
    }

    fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }
}

/// The largest chunk, so that positions in it fit 32 bits.
const MAX_CHUNK: usize = 1 << 30;

/// Where a chunk ends.
enum Cut {
    /// Between two records.
    At(usize),
    /// In the record that starts there, which is too long to be kept.
    Long(usize, Flaw),
}

impl Text {
    fn fill(&mut self, name: &str, want: usize) -> Result<()> {
        self.buffer.fill(&mut self.input, want).map_err(|error| read_error(name, error))
    }

    /// The chunk that starts where the text does; its first record is at `body`.
    fn next_chunk(&mut self, layout: &Arc<Layout>, body: usize) -> Result<Option<TextChunk>> {
        self.fill(&layout.name, body + layout.sizes.chunk)?;
        if self.buffer.text().len() <= body && self.buffer.eof() {
            return Ok(None);
        }
        let mut irregular = Vec::new();
        let cut = self.cut(layout, body, &mut irregular)?;
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
                    let mut lines = Lines { at: 0, line: self.line };
                    let line = lines.of(text, start, flaw.at, line_end);
                    irregular.push(Irregular::malformed(start, end, flaw, line));
                }
                (end, Some(start))
            }
        };
        self.line += memchr_iter(line_end, &self.buffer.text()[..end]).count() as u64;
        self.offset += end as u64;
        let text = self.buffer.split(end);
        let long = match long {
            None => None,
            Some(start) => Some(self.drop_line(layout)? - (offset + start as u64)),
        };
        Ok(Some(TextChunk::new(Arc::clone(layout), text, body, offset, first, irregular, long)))
    }

    fn cut(&mut self, layout: &Layout, body: usize, irregular: &mut Vec<Irregular>) -> Result<Cut> {
        let Layout { grammar, sizes, level, .. } = layout;
        let max = sizes.max_record;
        let mut lines = Lines { at: 0, line: self.line };
        let mut at = body;
        loop {
            let len = self.buffer.text().len();
            let window = len.min(body + sizes.chunk);
            if at >= window && at > body {
                return Ok(Cut::At(at));
            }
            if grammar.is_plain() {
                let found = scan(self.buffer.padded(), at, window, grammar, max, *level);
                at = found.start;
                let last = window == len && self.buffer.eof();
                match found.why {
                    Why::Outside if last => return Ok(Cut::At(len)),
                    Why::Outside | Why::Inside if at > body && !last => return Ok(Cut::At(at)),
                    _ => {}
                }
            }
            // One record by the exact machine.
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
            let found = memchr::memchr(line_end, text);
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
}
