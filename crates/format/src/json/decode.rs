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
use super::nested::{FieldPath, Flaws, Keys, Node};
use super::token::{self, Fault, Token, is_blank};
use crate::Sizes;

/// What workers share: what to read, and from where.
pub(super) struct Decoder {
    source: Arc<str>,
    schema: SchemaRef,
    columns: Vec<ColumnPlan>,
    keys: Keys,
    /// The key that each column is read from.
    key_of: Vec<usize>,
    sizes: Sizes,
}

impl Decoder {
    pub(super) fn new(source: Arc<str>, plan: &ReadPlan, sizes: Sizes) -> Self {
        let fields: Vec<_> = plan.columns.iter().map(ColumnPlan::field).collect();
        let mut keys = Keys::default();
        let key_of = plan.columns.iter().map(|column| keys.add(&column.source)).collect();
        Self {
            source,
            schema: Arc::new(Schema::new(fields)),
            columns: plan.columns.clone(),
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

/// The record at `span`, once what can be said before it is tokenized is checked.
pub(super) fn check_text(
    text: &[u8],
    span: Span,
    valid_utf8: bool,
    max_record: usize,
) -> Result<&[u8], Reason> {
    let (start, len) = (span.start as usize, span.len as usize);
    if len > max_record {
        let limit = ByteSize(max_record as u64);
        return Err(Reason::record("record_size", format!("the record is longer than {limit}")));
    }
    let record = &text[start..start + len];
    if valid_utf8 {
        return Ok(record);
    }
    match str::from_utf8(record) {
        Ok(_) => Ok(record),
        Err(error) => {
            let at = error.valid_up_to();
            let message = format!("the byte 0x{:02X} is not UTF-8", record[at]);
            Err(Fault::new("encoding", at, message).reason(record))
        }
    }
}

/// Builds the rows of batches.
struct RowBuilder {
    decoder: Arc<Decoder>,
    columns: Vec<Node>,
    slots: Vec<Option<Token>>,
    flaws: Flaws,
}

impl RowBuilder {
    fn new(decoder: Arc<Decoder>) -> Result<Self> {
        let columns = decoder.columns.iter().map(Node::of_plan).collect::<Result<_>>()?;
        let slots = vec![None; decoder.keys.len()];
        Ok(Self { decoder, columns, slots, flaws: Flaws::default() })
    }

    fn batch(
        &mut self,
        text: Bytes,
        offset: u64,
        spans: Vec<Span>,
        findings: &mut Findings,
    ) -> Result<Batch> {
        let valid_utf8 = str::from_utf8(&text).is_ok();
        let max_record = self.decoder.sizes.max_record;
        let mut ordinals = Vec::with_capacity(spans.len());
        let mut rejected = Vec::new();
        for (ordinal, span) in spans.iter().enumerate() {
            let judged = check_text(&text, *span, valid_utf8, max_record).and_then(|record| {
                self.tokenize(record).map_err(|fault| fault.reason(record))?;
                Ok(record)
            });
            match judged {
                Ok(record) => {
                    self.flaws.row = ordinals.len() as u32;
                    ordinals.push(ordinal as u32);
                    self.push_row(record);
                }
                Err(reason) => rejected.push((ordinal as u32, reason)),
            }
        }
        let rows = if rejected.is_empty() {
            Rows::All(ordinals.len() as u32)
        } else {
            Rows::Some(ordinals.into())
        };
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

    /// Finds the values of the planned columns in a record.
    fn tokenize(&mut self, record: &[u8]) -> token::Checked<()> {
        self.slots.fill(None);
        let (keys, slots) = (&self.decoder.keys, &mut self.slots);
        let mut guess = 0;
        token::record(record, |key, value| {
            let name = key.string(record);
            let Some(position) = keys.find(&name, guess) else {
                return Ok(());
            };
            guess = position + 1;
            match slots[position].replace(value) {
                None => Ok(()),
                Some(_) => {
                    let message = format!("the key `{}` again", String::from_utf8_lossy(&name));
                    Err(Fault::new("duplicate_key", key.start(), message))
                }
            }
        })
    }

    fn push_row(&mut self, record: &[u8]) {
        let decoder = &self.decoder;
        for ((column, &key), plan) in
            self.columns.iter_mut().zip(&decoder.key_of).zip(&decoder.columns)
        {
            let path = FieldPath::Column(&plan.name);
            column.push(record, self.slots[key], &path, &mut self.flaws);
        }
    }
}
