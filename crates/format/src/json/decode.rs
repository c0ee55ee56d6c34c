//! Decoding the records of a cut into batches.

use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::{Schema, SchemaRef};
use bytes::Bytes;
use gristmill_core::text::ColumnPlan;
use gristmill_core::{
    Batch, ByteSize, Chunk, Findings, Origin, ReadPlan, Reason, Reject, Result, Rows, Span, Stage,
};
use memchr::memchr;

use super::cut::{Cut, Records};
use super::fault::{Checked, Fault};
use super::keys::Keys;
use super::nested::{FieldPath, Flaws, Node, Record};
use super::token::{self, Inner, Token, is_blank};
use crate::Sizes;

/// Keys that are not planned and are remembered nevertheless.
const STRANGERS: usize = 1_000;

/// What workers share: what to read, and from where.
pub(super) struct Decoder {
    source: Arc<str>,
    schema: SchemaRef,
    columns: Vec<ColumnPlan>,
    /// The planned keys come first; others are only there to be guessed and skipped.
    keys: Keys,
    /// How many keys are planned.
    width: usize,
    /// The key that each column is read from.
    key_of: Vec<usize>,
    sizes: Sizes,
}

impl Decoder {
    pub(super) fn new(source: Arc<str>, plan: &ReadPlan, sizes: Sizes) -> Self {
        let fields: Vec<_> = plan.columns.iter().map(ColumnPlan::field).collect();
        let mut keys = Keys::new(STRANGERS);
        let key_of = plan.columns.iter().map(|column| keys.add(column.source.as_bytes())).collect();
        Self {
            source,
            schema: Arc::new(Schema::new(fields)),
            columns: plan.columns.clone(),
            width: keys.len(),
            keys,
            key_of,
            sizes,
        }
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }
}

/// A cut on its way through a worker.
pub(super) struct Text {
    decoder: Arc<Decoder>,
    cut: Cut,
    first: bool,
    /// First byte of the cut that is not in a batch yet.
    at: usize,
    /// First span that is not in a batch yet.
    next_span: usize,
    rows: Option<RowBuilder>,
}

impl Text {
    pub(super) fn new(decoder: Arc<Decoder>, cut: Cut, first: bool) -> Self {
        Self { decoder, cut, first, at: 0, next_span: 0, rows: None }
    }
}

impl Chunk for Text {
    fn size(&self) -> usize {
        self.cut.bytes.len()
    }

    fn starts_source(&self) -> bool {
        self.first
    }

    fn next_batch(&mut self, findings: &mut Findings) -> Result<Option<Batch>> {
        if self.at == self.cut.bytes.len() {
            return Ok(None);
        }
        let start = self.at;
        let (end, mut spans) =
            next_records(&self.cut, start, &mut self.next_span, self.decoder.sizes.batch);
        self.at = end;
        for span in &mut spans {
            span.start -= start as u32;
        }
        let text = self.cut.bytes.slice(start..end);
        let offset = self.cut.offset + start as u64;
        let rows = match &mut self.rows {
            Some(rows) => rows,
            empty => empty.insert(RowBuilder::new(Arc::clone(&self.decoder))?),
        };
        rows.batch(text, offset, spans, findings).map(Some)
    }
}

/// The records of a cut, from `start` on, that make up a batch of about `size` bytes: where its
/// text ends, and their spans in the cut.
pub(super) fn next_records(
    cut: &Cut,
    start: usize,
    next_span: &mut usize,
    size: usize,
) -> (usize, Vec<Span>) {
    match &cut.records {
        Records::Lines => {
            let (end, mut spans) = lines(&cut.bytes, start, size);
            if let (Some(cut_short), Some(last)) = (cut.cut_short, spans.last_mut())
                && last.start == cut_short.start
            {
                *last = cut_short;
            }
            (end, spans)
        }
        Records::Spans(all) => {
            let first = *next_span;
            while let Some(span) = all.get(*next_span) {
                *next_span += 1;
                let end = span.start as usize + span.len as usize;
                let last = *next_span == all.len();
                if end - start >= size && !last {
                    return (end, all[first..*next_span].to_vec());
                }
            }
            (cut.bytes.len(), all[first..].to_vec())
        }
    }
}

fn lines(text: &Bytes, start: usize, size: usize) -> (usize, Vec<Span>) {
    let mut spans = Vec::new();
    let mut at = start;
    while at < text.len() && at - start < size {
        let end = memchr(b'\n', &text[at..]).map_or(text.len(), |found| at + found);
        let line = &text[at..end];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if !line.iter().all(|&byte| is_blank(byte)) {
            spans.push(Span { start: at as u32, len: line.len() as u32 });
        }
        at = (end + 1).min(text.len());
    }
    (at, spans)
}

/// The record at `span`, once what can be said before it is tokenized is checked. `whole` is the
/// text where all of it is UTF-8.
fn check_text<'a>(
    text: &'a [u8],
    span: Span,
    whole: Option<&'a str>,
    max_record: usize,
) -> Result<&'a str, Reason> {
    let (start, len) = (span.start as usize, span.len as usize);
    if len > max_record {
        let limit = ByteSize(max_record as u64);
        return Err(Reason::record("record_size", format!("the record is longer than {limit}")));
    }
    if let Some(record) = whole.and_then(|whole| whole.get(start..start + len)) {
        return Ok(record);
    }
    let record = &text[start..start + len];
    str::from_utf8(record).map_err(|error| {
        let at = error.valid_up_to();
        let message = format!("the byte 0x{:02X} is not UTF-8", record[at]);
        Fault::new("encoding", at, message).reason(record)
    })
}

/// Builds the rows of batches.
///
/// Records are tokenized a block at a time; then the block's values go into one column after the
/// other, while the records are in the nearest cache.
struct RowBuilder {
    decoder: Arc<Decoder>,
    keys: Keys,
    columns: Vec<Node>,
    block: Block,
    flaws: Flaws,
}

/// The values of some records, the planned keys of one record after those of the other.
#[derive(Default)]
struct Block {
    slots: Vec<Option<Token>>,
    inner: Inner,
}

/// How many values a block has, if a record does not have more.
const BLOCK: usize = 4096;

/// How many records a block has at most.
const BLOCK_RECORDS: usize = 256;

impl RowBuilder {
    fn new(decoder: Arc<Decoder>) -> Result<Self> {
        let columns = decoder.columns.iter().map(Node::of_plan).collect::<Result<_>>()?;
        let (keys, block, flaws) = (decoder.keys.clone(), Block::default(), Flaws::default());
        Ok(Self { decoder, keys, columns, block, flaws })
    }

    fn batch(
        &mut self,
        text: Bytes,
        offset: u64,
        spans: Vec<Span>,
        findings: &mut Findings,
    ) -> Result<Batch> {
        let whole = str::from_utf8(&text).ok();
        let max_record = self.decoder.sizes.max_record;
        let block_records = (BLOCK / self.decoder.width.max(1)).clamp(1, BLOCK_RECORDS);
        let mut ordinals = Vec::new();
        let mut rejected = Vec::new();
        let mut rows = 0;
        let mut records = Vec::with_capacity(block_records);
        for (ordinal, span) in spans.iter().enumerate() {
            let judged = check_text(&text, *span, whole, max_record).and_then(|record| {
                self.tokenize(record, records.len())
                    .map_err(|fault| fault.reason(record.as_bytes()))?;
                Ok(record)
            });
            match judged {
                Ok(record) => {
                    if !rejected.is_empty() {
                        ordinals.push(ordinal as u32);
                    }
                    records.push(record);
                    if records.len() == block_records {
                        self.push(&mut records, &mut rows);
                    }
                }
                Err(reason) => {
                    if rejected.is_empty() {
                        ordinals.extend(0..ordinal as u32);
                    }
                    rejected.push((ordinal as u32, reason));
                }
            }
        }
        self.push(&mut records, &mut rows);
        let rows = if rejected.is_empty() { Rows::All(rows) } else { Rows::Some(ordinals.into()) };
        let source = Arc::clone(&self.decoder.source);
        let origin = Arc::new(Origin::text(source, text, offset, spans, b'\n'));
        for (ordinal, reason) in rejected {
            findings.reject(Reject {
                origin: Arc::clone(&origin),
                ordinal,
                stage: Stage::Parse,
                errors: vec![reason],
            });
        }
        let columns = self.columns.iter_mut().map(Node::finish).collect::<Result<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        let schema = Arc::clone(&self.decoder.schema);
        let columns = RecordBatch::try_new_with_options(schema, columns, &options)?;
        let mut batch = Batch::new(columns, origin, rows)?;
        batch.add_flaws(self.flaws.found.drain(..));
        Ok(batch)
    }

    /// Finds the values of the planned columns in a record, which is one of its block.
    fn tokenize(&mut self, record: &str, number: usize) -> Checked<()> {
        let width = self.decoder.width;
        let Block { slots, inner } = &mut self.block;
        slots.truncate(number * width); // what a bad record left
        slots.resize((number + 1) * width, None);
        let slots = &mut slots[number * width..];
        token::record(record.as_bytes(), &mut self.keys, inner, |position, value| {
            slots.get_mut(position).is_none_or(|slot| slot.replace(value).is_none())
        })
    }

    /// Makes rows of the records of a block.
    fn push(&mut self, records: &mut Vec<&str>, rows: &mut u32) {
        let Self { decoder, columns, block, flaws, .. } = self;
        let Block { slots, inner } = block;
        for ((column, &key), plan) in columns.iter_mut().zip(&decoder.key_of).zip(&decoder.columns)
        {
            let path = FieldPath::Column(&plan.name);
            for (i, text) in records.iter().enumerate() {
                flaws.row = *rows + i as u32;
                let record = Record { text, inner };
                column.push(record, slots[i * decoder.width + key], &path, flaws);
            }
        }
        *rows += records.len() as u32;
        records.clear();
        slots.clear();
        inner.clear();
    }
}
