//! A chunk of text, decoded by whichever worker takes it.

use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::SchemaRef;
use bytes::Bytes;
use gristmill_core::batch::Flaw as Open;
use gristmill_core::text::{ColumnBuilder, ColumnPlan, FieldSyntax, SharedText, ValueError};
use gristmill_core::{
    Batch, ByteSize, Chunk, Error, Findings, Origin, Reason, Reject, Result, Rows, Span, Stage,
};
use memchr::memchr;

use super::exact::{self, Cause, Flaw, Quoted, Step};
use super::grammar::Grammar;
use super::index::{Entry, Index};
use crate::Sizes;
use crate::simd::{Level, PAD};

/// How many rows are decoded column by column before the next ones.
const ROWS: usize = 256;

/// What all chunks of a file share.
pub(super) struct Layout {
    pub name: Arc<str>,
    /// Whether the text is that of the file in another encoding.
    pub transcoded: bool,
    pub grammar: Grammar,
    pub level: Level,
    pub sizes: Sizes,
    pub nulls: Vec<Vec<u8>>,
    /// What a glance at a field tells.
    pub syntax: FieldSyntax,
    /// What each field is called in messages: the column's name, or the header's for a field that
    /// is left out.
    pub labels: Vec<String>,
    pub width: Width,
    /// The columns, and the field that each is read from.
    pub columns: Vec<(ColumnPlan, Option<usize>)>,
    pub schema: SchemaRef,
}

/// What says how many fields a record has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Width {
    Header,
    FirstRecord,
    Names,
}

/// A stretch of a chunk's text that the masks cannot tell.
#[derive(Debug, Clone, Copy)]
pub(super) struct Irregular {
    start: u32,
    next: u32,
    what: What,
}

#[derive(Debug, Clone, Copy)]
enum What {
    /// A record that the exact machine splits.
    Exact,
    /// One line of a malformed record.
    Malformed { cause: Cause, field: u32, line: u64 },
    /// A comment of which only the beginning is here.
    Comment,
}

impl Irregular {
    pub(super) fn exact(start: usize, next: usize) -> Self {
        Self { start: start as u32, next: next as u32, what: What::Exact }
    }

    pub(super) fn malformed(start: usize, next: usize, flaw: Flaw, line: u64) -> Self {
        let what = What::Malformed { cause: flaw.cause, field: flaw.field as u32, line };
        Self { start: start as u32, next: next as u32, what }
    }

    pub(super) fn comment(start: usize, next: usize) -> Self {
        Self { start: start as u32, next: next as u32, what: What::Comment }
    }
}

/// A chunk that ends between two records.
pub(super) struct TextChunk {
    layout: Arc<Layout>,
    /// The text, and [`PAD`] bytes behind it.
    padded: Bytes,
    /// The text's position in the source.
    offset: u64,
    starts_source: bool,
    irregular: std::vec::IntoIter<Irregular>,
    /// The full length of the last record, where only its beginning is here.
    long: Option<u64>,
    /// Where the next batch's text starts.
    start: usize,
    /// Where its first record is: behind the header.
    at: usize,
    builders: Vec<ColumnBuilder>,
    index: Index,
    malformed: Vec<(u32, What)>,
}

impl TextChunk {
    pub(super) fn new(
        layout: Arc<Layout>,
        padded: Bytes,
        body: usize,
        offset: u64,
        starts_source: bool,
        irregular: Vec<Irregular>,
        long: Option<u64>,
    ) -> Self {
        Self {
            layout,
            padded,
            offset,
            starts_source,
            irregular: irregular.into_iter(),
            long,
            start: 0,
            at: body,
            builders: Vec::new(),
            index: Index::default(),
            malformed: Vec::new(),
        }
    }

    /// Indexes records up to the first that ends at the batch's size or behind it.
    fn index(&mut self) -> Result<()> {
        let Self { layout, padded, index, irregular, malformed, .. } = self;
        let Layout { grammar, level, sizes, .. } = &**layout;
        let text = &padded[..padded.len() - PAD];
        let limit = self.at.saturating_add(sizes.batch);
        index.clear();
        malformed.clear();
        while self.at < text.len() && self.at < limit {
            let special = irregular.as_slice().first();
            if let Some(&Irregular { start, next, what }) = special
                && start as usize == self.at
                && !matches!(what, What::Exact)
            {
                irregular.next();
                if matches!(what, What::Malformed { .. }) {
                    let end = self.at + content_len(&text[self.at..next as usize], grammar);
                    malformed.push((index.records.len() as u32, what));
                    index.malformed(self.at, end);
                }
                self.at = next as usize;
                continue;
            }
            let until = special.map_or(text.len(), |special| special.start as usize);
            if grammar.is_plain() && until > self.at {
                self.at = index.add(padded, self.at, until, limit, grammar, *level);
                continue;
            }
            if until == self.at {
                irregular.next();
            }
            let mark = index.mark();
            let max = sizes.max_record;
            match exact::record(text, self.at, true, grammar, max, |at| index.delimiter(at)) {
                Step::Skip { next } => self.at = next,
                Step::Record { end, next } => {
                    index.close(mark, self.at, end);
                    self.at = next;
                }
                Step::Malformed(_) | Step::More => {
                    return Err(Error::internal(format!(
                        "a chunk of `{}` does not end between two records",
                        layout.name
                    )));
                }
            }
        }
        Ok(())
    }

    /// Why a record cannot be decoded.
    fn reasons(&self, record: &Entry, what: Option<What>, check_text: bool) -> Vec<Reason> {
        let layout = &*self.layout;
        if let Some(What::Malformed { cause, field, line }) = what {
            return vec![layout.malformed(cause, field, line)];
        }
        let mut reasons = Vec::new();
        let (found, expected) = (record.fields as usize, layout.labels.len());
        if found != expected {
            let fields = if found == 1 { "field" } else { "fields" };
            let message = match layout.width {
                Width::Header => format!("{found} {fields} where the header has {expected}"),
                Width::FirstRecord => {
                    format!("{found} {fields} where the first record has {expected}")
                }
                Width::Names => format!("{found} {fields} where `names` has {expected}"),
            };
            reasons.push(Reason::record("fields", message));
        }
        if check_text {
            for field in 0..found {
                let text = self.index.field(&self.padded, record, field);
                self.check_text(text, record, field, &mut reasons);
            }
        }
        reasons
    }

    fn check_text(&self, text: &[u8], record: &Entry, field: usize, reasons: &mut Vec<Reason>) {
        let position = text.as_ptr() as usize - self.padded.as_ptr() as usize;
        let in_record = |at: usize| position + at - record.start as usize + 1;
        let mut say = |rule: &'static str, message: String| {
            let value = Some(String::from_utf8_lossy(text).into_owned());
            reasons.push(match self.layout.labels.get(field) {
                Some(label) => Reason::field(label.clone(), rule, message, value),
                None => Reason { value, ..Reason::record(rule, message) },
            });
        };
        if let Err(error) = str::from_utf8(text) {
            let at = error.valid_up_to();
            let message = if self.layout.transcoded {
                // What stands there now is not what stood in the file.
                let before = &self.padded[record.start as usize..position + at];
                let before = before.iter().filter(|byte| **byte & 0xC0 != 0x80).count();
                format!("character {} of the record is not valid in its encoding", before + 1)
            } else {
                format!("byte {} of the record (0x{:02X}) is not UTF-8", in_record(at), text[at])
            };
            say("encoding", message);
        }
        if let Some(at) = memchr(0, text) {
            say("nul", format!("byte {} of the record is a NUL byte", in_record(at)));
        }
    }
}

impl Layout {
    fn malformed(&self, cause: Cause, field: u32, line: u64) -> Reason {
        let limit = ByteSize(self.sizes.max_record as u64);
        let (rule, message) = match cause {
            Cause::TextAfterQuote => (
                "quote",
                format!("text follows the closing quote of a field that starts on line {line}"),
            ),
            Cause::Unclosed => (
                "quote",
                format!("a quote opened on line {line} is not closed before the end of the input"),
            ),
            Cause::UnclosedInLimit => {
                ("quote", format!("a quote opened on line {line} is not closed within {limit}"))
            }
            Cause::TooLong | Cause::LongComment => {
                ("record_size", format!("the record is longer than {limit}"))
            }
        };
        match self.labels.get(field as usize) {
            Some(label) if rule == "quote" => Reason::field(label.clone(), rule, message, None),
            _ => Reason::record(rule, message),
        }
    }
}

impl Chunk for TextChunk {
    fn size(&self) -> usize {
        self.padded.len()
    }

    fn starts_source(&self) -> bool {
        self.starts_source
    }

    fn next_batch(&mut self, findings: &mut Findings) -> Result<Option<Batch>> {
        let len = self.padded.len() - PAD;
        if self.at >= len {
            return Ok(None);
        }
        let start = self.start;
        self.index()?;
        self.start = self.at;
        let text = self.padded.slice(start..self.at);
        let shared = SharedText::new(self.padded.slice(start..self.at + PAD), text.len());
        // One look at all of it; at single records only where something is wrong.
        let check_text = shared.is_none() || memchr(0, &text).is_some();

        let records = &self.index.records;
        let mut spans: Vec<Span> = records
            .iter()
            .map(|record| Span {
                start: record.start - start as u32,
                len: record.end - record.start,
            })
            .collect();
        if let (true, Some(length), Some(span)) = (self.at == len, self.long, spans.last_mut()) {
            span.len = u32::try_from(length).unwrap_or(u32::MAX);
        }
        let origin = Arc::new(Origin::text(
            Arc::clone(&self.layout.name),
            text,
            self.offset + start as u64,
            spans,
            self.layout.grammar.line_end,
        ));

        let expected = self.layout.labels.len() as u32;
        let rows = if check_text || records.iter().any(|record| record.fields != expected) {
            let mut malformed = self.malformed.iter().copied().peekable();
            let mut good = Vec::with_capacity(records.len());
            for (ordinal, record) in (0u32..).zip(records) {
                let what = malformed.next_if(|(at, _)| *at == ordinal).map(|(_, what)| what);
                let errors = self.reasons(record, what, check_text);
                if errors.is_empty() {
                    good.push(ordinal);
                    continue;
                }
                let origin = Arc::clone(&origin);
                findings.reject(Reject { origin, ordinal, stage: Stage::Parse, errors });
            }
            Rows::Some(good.into())
        } else {
            Rows::All(records.len() as u32)
        };
        self.decode(start, shared.as_ref(), origin, rows).map(Some)
    }
}

impl TextChunk {
    /// Columns from the good records of the batch that begins at `start`. `shared` is its text, if
    /// that is UTF-8.
    fn decode(
        &mut self,
        start: usize,
        shared: Option<&SharedText>,
        origin: Arc<Origin>,
        rows: Rows,
    ) -> Result<Batch> {
        let Self { layout, padded, index, builders, .. } = self;
        if builders.is_empty() {
            let builder = |(plan, _): &(ColumnPlan, _)| ColumnBuilder::new(plan, rows.len());
            builders.extend(layout.columns.iter().map(builder));
        }
        let record = |row: usize| &index.records[rows.ordinal(row) as usize];
        let mut flaws = Vec::new();
        let (mut scratch, mut places) = (Vec::new(), Vec::new());
        // Some rows at a time, so that their text is still in the nearest cache for the next column.
        for from in (0..rows.len()).step_by(ROWS) {
            let some = from..rows.len().min(from + ROWS);
            for (builder, (plan, field)) in builders.iter_mut().zip(&layout.columns) {
                let mut column = Column { plan, layout, scratch: &mut scratch, flaws: &mut flaws };
                match (field, shared) {
                    (None, _) => some.clone().for_each(|row| column.missing(builder, row)),
                    (Some(field), Some(text)) => {
                        let width = layout.labels.len();
                        index.places(&rows, some.clone(), (*field, width), start, &mut places);
                        builder.extend(text, &layout.syntax, &places, |builder, row| {
                            let row = from + row;
                            column.push(builder, row, index.field(padded, record(row), *field));
                        });
                    }
                    (Some(field), None) => {
                        for row in some.clone() {
                            column.push(builder, row, index.field(padded, record(row), *field));
                        }
                    }
                }
            }
        }
        let arrays = builders.iter_mut().map(ColumnBuilder::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        let schema = Arc::clone(&layout.schema);
        let columns = RecordBatch::try_new_with_options(schema, arrays, &options)?;
        let mut batch = Batch::new(columns, origin, rows)?;
        batch.add_flaws(flaws);
        Ok(batch)
    }
}

/// One column being decoded.
struct Column<'a> {
    plan: &'a ColumnPlan,
    layout: &'a Layout,
    scratch: &'a mut Vec<u8>,
    flaws: &'a mut Vec<Open>,
}

impl Column<'_> {
    fn push(&mut self, builder: &mut ColumnBuilder, row: usize, field: &[u8]) {
        let (text, quoted) = exact::content(field, &self.layout.grammar, self.scratch);
        let null = quoted == Quoted::No && self.layout.nulls.iter().any(|null| null == text);
        let result = if null { builder.push_null() } else { builder.push(text) };
        if let Err(error) = result {
            let value = if null { error.value.clone() } else { lossy(text) };
            self.flaw(row, &error, value);
        }
    }

    fn missing(&mut self, builder: &mut ColumnBuilder, row: usize) {
        if let Err(error) = builder.push_null() {
            let value = error.value.clone();
            self.flaw(row, &error, value);
        }
    }

    #[cold]
    fn flaw(&mut self, row: usize, error: &ValueError, value: String) {
        let name = self.plan.name.clone();
        let reason = Reason::field(name, "type", error.to_string(), Some(value));
        self.flaws.push(Open { row: row as u32, stage: Stage::Type, reason });
    }
}

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

/// The length of a line without its line end.
fn content_len(line: &[u8], grammar: &Grammar) -> usize {
    let at = line.len() - usize::from(line.last() == Some(&grammar.line_end));
    grammar.content_end(line, 0, at)
}
