//! Sources that steps read besides their input: opened like those of `extract`, and read in full.

use arrow_schema::SchemaRef;
use gristmill_core::{
    Batch, Chunk, Error, ErrorKind, ExtractContext, Extractor, ExtractorKind, Findings, Place,
    Reason, Reference, Result,
};
use gristmill_parallel::Cancel;
use serde_json::Value;

/// The kind of a source, as its definition says it.
pub(super) fn kind_of(source: &Value) -> Option<&'static ExtractorKind> {
    let mut keys = source.as_object().into_iter().flat_map(|item| item.keys());
    keys.find_map(|key| gristmill_extract::KINDS.iter().find(|kind| kind.name == key))
}

/// A source whose columns are known.
pub(super) struct OpenReference {
    extractor: Box<dyn Extractor>,
    pub(super) schema: SchemaRef,
}

impl OpenReference {
    /// Opens the source, and leaves out the columns that nobody needs where it can.
    pub(super) fn open(reference: &Reference, context: &ExtractContext) -> Result<Self> {
        let source = &reference.source;
        let wrong = |message: String| Error::new(ErrorKind::Configuration, message);
        let Some(kind) = kind_of(source) else {
            return Err(wrong("what a step looks records up in names no source".to_owned()));
        };
        if let Some(mistake) = (kind.check)(source).into_iter().next() {
            return Err(wrong(mistake.to_string()));
        }
        let mut extractor = (kind.open)(source, context)?;
        let mut plan = extractor.read_plan()?;
        if let (Some(plan), Some(needed)) = (&mut plan, &reference.columns) {
            let known = |name: &String| plan.columns.iter().any(|column| column.name == *name);
            if needed.iter().all(known) {
                plan.columns.retain(|column| needed.contains(&column.name));
            }
        }
        let schema = extractor.begin(plan)?;
        Ok(Self { extractor, schema })
    }

    /// Its records.
    pub(super) fn records(self, cancel: Cancel) -> Records {
        Records { extractor: self.extractor, cancel, chunk: None, next: BEGINNING }
    }
}

const BEGINNING: Place = Place { first_record: 1, first_line: 1 };

/// The records of a source, all of which can be read, or an error.
pub(super) struct Records {
    extractor: Box<dyn Extractor>,
    cancel: Cancel,
    chunk: Option<Box<dyn Chunk>>,
    next: Place,
}

impl Iterator for Records {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Result<Batch>> {
        self.read().transpose()
    }
}

impl Records {
    fn read(&mut self) -> Result<Option<Batch>> {
        loop {
            self.cancel.check()?;
            let Some(chunk) = &mut self.chunk else {
                let Some(chunk) = self.extractor.next_chunk()? else { return Ok(None) };
                if chunk.starts_source() {
                    self.next = BEGINNING;
                }
                self.chunk = Some(chunk);
                continue;
            };
            let mut findings = Findings::default();
            let Some(batch) = chunk.next_batch(&mut findings)? else {
                self.chunk = None;
                continue;
            };
            let origin = batch.origin();
            origin.set_place(self.next);
            self.next.first_record += origin.len() as u64;
            self.next.first_line += origin.line_count();
            let batch = batch.settle(&mut findings)?;
            match findings.rejects().first() {
                Some(reject) => return Err(unreadable(reject)),
                None => return Ok(Some(batch)),
            }
        }
    }
}

fn unreadable(reject: &gristmill_core::Reject) -> Error {
    let location = reject.origin.locate(reject.ordinal as usize);
    let place = match location.line {
        Some(line) => format!("line {line}"),
        None => format!("record {}", location.record),
    };
    let why = reject.errors.first().map_or("", |Reason { message, .. }| message);
    let field = reject.errors.first().and_then(|reason| reason.field.as_deref());
    let field = field.map(|field| format!("`{field}`: ")).unwrap_or_default();
    let message = format!("{place} of `{}` cannot be read: {field}{why}", reject.origin.source());
    Error::new(ErrorKind::Corrupt, message)
        .hint("every record that others are looked up in must be readable: mend it, or clean the source with a pipeline of its own")
}
