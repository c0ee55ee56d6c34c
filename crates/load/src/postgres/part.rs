//! What workers make of batches: rows for COPY, and what a later reject needs of the records.

use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

use arrow_schema::SchemaRef;
use gristmill_core::text::value_text;
use gristmill_core::{
    Batch, Encoded, Encoder, Origin, Part, Reason, Reject, Result, Rows as Ordinals,
    Stage as RunStage,
};
use gristmill_database::copy::Writer;
use gristmill_database::rows::{RowWriter, Rows};
use gristmill_database::types::Form;

use super::target::Target;

/// How records become rows.
pub(crate) struct Layout {
    schema: SchemaRef,
    forms: Vec<Form>,
    keys: Vec<usize>,
    /// The column with the time from when on a record holds.
    time: Option<usize>,
    /// Whether rows are numbered, for the staging table.
    numbered: bool,
    hashed: bool,
}

impl Layout {
    pub(crate) fn new(target: &Target, schema: &SchemaRef, numbered: bool) -> Self {
        Self {
            schema: Arc::clone(schema),
            forms: target.columns.iter().map(|column| column.form).collect(),
            keys: target.keys().collect(),
            time: target.time,
            numbered,
            hashed: numbered && target.has_exact_keys(),
        }
    }
}

/// One chunk's rows.
pub(crate) struct Staged {
    pub(crate) rows: Rows,
    /// Where the rows come from, in order.
    pub(crate) origins: Vec<(Arc<Origin>, Ordinals)>,
    /// Records that cannot be loaded whatever the table holds.
    pub(crate) rejects: Vec<Reject>,
    /// A hash of each row's key: rows with equal keys have equal hashes.
    pub(crate) hashes: Vec<u64>,
}

pub(crate) struct TableEncoder(pub(crate) Arc<Layout>);

impl Encoder for TableEncoder {
    fn begin(&self) -> Box<dyn Part> {
        Box::new(TablePart {
            layout: Arc::clone(&self.0),
            records: 0,
            staged: Staged {
                rows: Rows::default(),
                origins: Vec::new(),
                rejects: Vec::new(),
                hashes: Vec::new(),
            },
        })
    }
}

struct TablePart {
    layout: Arc<Layout>,
    records: u64,
    staged: Staged,
}

impl Part for TablePart {
    fn push(&mut self, batch: &Batch) -> Result<()> {
        let Layout { schema, forms, keys, time, numbered, hashed } = &*self.layout;
        let fields = schema.fields().iter().map(AsRef::as_ref).zip(forms);
        let columns = batch.columns().columns().iter().zip(fields);
        let columns = columns.map(|(array, (field, form))| (array, field, *form));
        let mut writer = Writer::new(columns, *numbered)?;
        let mut rejected = Vec::new();
        for row in 0..batch.num_rows() {
            let name = |i: usize| schema.field(i).name().clone();
            let mut errors: Vec<Reason> = Vec::new();
            for &i in keys.iter().filter(|&&i| writer.is_null(i, row)) {
                errors.push(Reason::field(name(i), "key", "a key has no value", None));
            }
            if let Some(i) = time.filter(|&i| writer.is_null(i, row)) {
                let message = "the effective date is missing";
                errors.push(Reason::field(name(i), "effective", message, None));
            }
            match writer.push(row, &mut self.staged.rows) {
                Ok(()) if errors.is_empty() => {}
                Ok(()) => self.staged.rows.pop(),
                Err(unfit) => errors.extend(unfit.into_iter().map(|(i, message)| {
                    let value = value_text(batch.columns().column(i), row);
                    Reason::field(name(i), "database", message, value)
                })),
            }
            if !errors.is_empty() {
                self.staged.rejects.push(Reject {
                    origin: Arc::clone(batch.origin()),
                    ordinal: batch.rows().ordinal(row),
                    stage: RunStage::Load,
                    errors,
                });
                rejected.push(row);
                continue;
            }
            if *hashed {
                let mut hasher = DefaultHasher::new();
                for &i in keys.iter().chain(time) {
                    hasher.write(writer.value(i, row).unwrap_or_default());
                }
                self.staged.hashes.push(hasher.finish());
            }
        }
        self.records += batch.num_rows() as u64;
        let rows = match rejected.as_slice() {
            [] => batch.rows().clone(),
            rejected => Ordinals::Some(
                (0..batch.num_rows())
                    .filter(|row| rejected.binary_search(row).is_err())
                    .map(|row| batch.rows().ordinal(row))
                    .collect(),
            ),
        };
        if !rows.is_empty() {
            self.staged.origins.push((Arc::clone(batch.origin()), rows));
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Encoded> {
        let origins: usize = self.staged.origins.iter().map(|(origin, _)| origin.byte_size()).sum();
        let bytes = self.staged.rows.byte_size() + origins;
        Ok(Encoded { records: self.records, bytes: bytes as u64, payload: Box::new(self.staged) })
    }
}
