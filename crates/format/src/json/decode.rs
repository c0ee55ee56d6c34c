//! Decoding the records of a cut into batches.

use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::{Schema, SchemaRef};
use bytes::Bytes;
use gristmill_core::text::{ColumnPlan, SharedText};
use gristmill_core::{
    Batch, ByteSize, Chunk, Findings, Origin, ReadPlan, Reason, Reject, Result, Rows, Span, Stage,
};

use super::cut::{Cut, Records};
use super::discover::Columns;
use super::fault::{Checked, Fault};
use super::finder::Finder;
use super::guess::Guess;
use super::keys::{Keys, UNKNOWN};
use super::lines;
use super::nested::{FieldPath, Flaws, Node, Record};
use super::token::{self, Inner, Token};
use crate::Sizes;
use crate::simd::{Level, PAD};

/// How many values a batch has at most, if a record does not have more: where records have few of
/// very many columns, it is the nulls that take memory.
const BATCH: usize = 1 << 20;

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
    /// How many rows a batch has at most.
    most_rows: usize,
    /// What the columns were guessed to be, if they were.
    guess: Option<Guess>,
    sizes: Sizes,
}

impl Decoder {
    pub(super) fn new(
        source: Arc<str>,
        plan: &ReadPlan,
        guess: Option<Arc<Columns>>,
        sizes: Sizes,
    ) -> Self {
        let fields: Vec<_> = plan.columns.iter().map(ColumnPlan::field).collect();
        let mut keys = Keys::new(STRANGERS);
        let key_of = plan.columns.iter().map(|column| keys.add(column.source.as_bytes())).collect();
        let width = keys.len();
        let guess = guess.map(|columns| Guess::new(columns, &mut keys));
        Self {
            source,
            schema: Arc::new(Schema::new(fields)),
            columns: plan.columns.clone(),
            width,
            keys,
            guess,
            key_of,
            most_rows: (BATCH / plan.columns.len().max(1)).max(1),
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
        self.cut.text().len()
    }

    fn starts_source(&self) -> bool {
        self.first
    }

    fn next_batch(&mut self, findings: &mut Findings) -> Result<Option<Batch>> {
        if self.at == self.cut.text().len() {
            return Ok(None);
        }
        let start = self.at;
        let (size, most) = (self.decoder.sizes.batch, self.decoder.most_rows);
        let (end, mut spans) = next_records(&self.cut, start, &mut self.next_span, size, most);
        self.at = end;
        for span in &mut spans {
            span.start -= start as u32;
        }
        let text = self.cut.padded.slice(start..end + PAD);
        let offset = self.cut.offset + start as u64;
        let rows = match &mut self.rows {
            Some(rows) => rows,
            empty => empty.insert(RowBuilder::new(Arc::clone(&self.decoder))?),
        };
        rows.batch(text, offset, spans, findings).map(Some)
    }
}

/// The records of a cut, from `start` on, that make up a batch of about `size` bytes or of `most`
/// records: where its text ends, and their spans in the cut.
pub(super) fn next_records(
    cut: &Cut,
    start: usize,
    next_span: &mut usize,
    size: usize,
    most: usize,
) -> (usize, Vec<Span>) {
    match &cut.records {
        Records::Lines => {
            let (end, mut spans) = lines::spans(&cut.padded, start, size, most, Level::detect());
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
                if (end - start >= size || *next_span - first == most) && !last {
                    return (end, all[first..*next_span].to_vec());
                }
            }
            (cut.text().len(), all[first..].to_vec())
        }
    }
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
    /// For each key that is not planned, the record that had it last.
    strangers: Vec<u64>,
    /// Number of the record, from 1.
    record: u64,
    /// What records are found to add to guessed columns.
    finder: Option<Finder>,
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
        let finder = decoder.guess.as_ref().map(|guess| Finder::knowing(&guess.columns));
        Ok(Self { decoder, keys, columns, block, flaws, strangers: Vec::new(), record: 0, finder })
    }

    /// A batch of the records at `spans` of a padded text.
    fn batch(
        &mut self,
        padded: Bytes,
        offset: u64,
        spans: Vec<Span>,
        findings: &mut Findings,
    ) -> Result<Batch> {
        let text = padded.slice(..padded.len() - PAD);
        let shared = SharedText::new(padded, text.len());
        let whole = shared.as_ref().map(SharedText::as_str);
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
                    records.push((span.start, record));
                    if records.len() == block_records {
                        self.push(shared.as_ref(), &mut records, &mut rows);
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
        self.push(shared.as_ref(), &mut records, &mut rows);
        if let (Some(guess), Some(finder)) = (&self.decoder.guess, &self.finder) {
            guess.check(&self.decoder.source, finder)?;
        }
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
        self.record += 1;
        let (strangers, record_number) = (&mut self.strangers, self.record);
        let (guess, mut news) = (self.decoder.guess.as_ref(), false);
        let text = record.as_bytes();
        token::record(text, &mut self.keys, inner, |position, value| {
            news |= guess.is_some_and(|guess| guess.is_news(text, position, value));
            match slots.get_mut(position) {
                Some(slot) => slot.replace(value).is_none(),
                // Of the keys that nobody asked for, more than are remembered may come again.
                None if position == UNKNOWN => true,
                None => {
                    let stranger = position - width;
                    if strangers.len() <= stranger {
                        strangers.resize(stranger + 1, 0);
                    }
                    std::mem::replace(&mut strangers[stranger], record_number) != record_number
                }
            }
        })?;
        if let (true, Some(finder)) = (news, &mut self.finder) {
            finder.observe(text);
        }
        Ok(())
    }

    /// Makes rows of the records of a block. `shared` is the batch's text, if that is UTF-8.
    fn push(
        &mut self,
        shared: Option<&SharedText>,
        records: &mut Vec<(u32, &str)>,
        rows: &mut u32,
    ) {
        let Self { decoder, columns, block, flaws, .. } = self;
        let Block { slots, inner } = block;
        let number = records.len() as u32;
        let record = |(start, text)| (start, Record { text, inner: &*inner });
        let records: Vec<_> = records.drain(..).map(record).collect();
        for ((column, &key), plan) in columns.iter_mut().zip(&decoder.key_of).zip(&decoder.columns)
        {
            let path = FieldPath::Column(&plan.name);
            let token = |record: usize| slots[record * decoder.width + key];
            match (column, shared) {
                (Node::Leaf(leaf), Some(text)) => {
                    flaws.row = *rows;
                    leaf.extend(text, &records, token, &path, flaws);
                }
                (column, _) => {
                    for (i, (_, record)) in records.iter().enumerate() {
                        flaws.row = *rows + i as u32;
                        column.push(*record, token(i), &path, flaws);
                    }
                }
            }
        }
        *rows += number;
        slots.clear();
        inner.clear();
    }
}
