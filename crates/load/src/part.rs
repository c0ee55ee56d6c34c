//! What workers make of batches for databases that take rows as bytes, and what a later reject
//! needs of the records.

use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_schema::{Field, SchemaRef};
use gristmill_core::text::value_text;
use gristmill_core::{
    Batch, Encoded, Encoder, Origin, Part, Reason, Reject, Result, Rows as Ordinals, Stage,
};
use gristmill_database::rows::{RowWriter, Rows};

/// The form in which a database takes the values of a column.
pub(crate) trait Wire: Copy + Send + Sync + 'static {
    type Writer<'a>: RowWriter;

    /// What writes the rows of a batch; `numbered` ones get their number later.
    fn writer<'a>(
        columns: impl Iterator<Item = (&'a ArrayRef, &'a Field, Self)>,
        numbered: bool,
    ) -> Result<Self::Writer<'a>>;
}

/// How records become rows.
pub(crate) struct Layout<W> {
    pub(crate) schema: SchemaRef,
    pub(crate) forms: Vec<W>,
    pub(crate) keys: Vec<usize>,
    /// The column with the time from when on a record holds.
    pub(crate) time: Option<usize>,
    /// Whether rows are numbered, for the staging table.
    pub(crate) numbered: bool,
    /// Whether rows with equal keys, and only they, have keys of equal bytes.
    pub(crate) hashed: bool,
}

/// One chunk's rows.
#[derive(Default)]
pub(crate) struct Staged {
    pub(crate) rows: Rows,
    /// Where the rows come from, in order.
    pub(crate) origins: Vec<(Arc<Origin>, Ordinals)>,
    /// Records that cannot be loaded whatever the table holds.
    pub(crate) rejects: Vec<Reject>,
    /// A hash of each row's key: rows with equal keys have equal hashes.
    pub(crate) hashes: Vec<u64>,
}

pub(crate) struct TableEncoder<W>(pub(crate) Arc<Layout<W>>);

impl<W: Wire> Encoder for TableEncoder<W> {
    fn begin(&self) -> Box<dyn Part> {
        Box::new(TablePart { layout: Arc::clone(&self.0), records: 0, staged: Staged::default() })
    }
}

struct TablePart<W> {
    layout: Arc<Layout<W>>,
    records: u64,
    staged: Staged,
}

impl<W: Wire> Part for TablePart<W> {
    fn push(&mut self, batch: &Batch) -> Result<()> {
        let Layout { schema, forms, keys, time, numbered, hashed } = &*self.layout;
        let fields = schema.fields().iter().map(AsRef::as_ref).zip(forms);
        let columns = batch.columns().columns().iter().zip(fields);
        let columns = columns.map(|(array, (field, form))| (array, field, *form));
        let mut writer = W::writer(columns, *numbered)?;
        let mut rejected = Vec::new();
        for row in 0..batch.num_rows() {
            let name = |i: usize| schema.field(i).name().clone();
            let mut errors: Vec<Reason> = Vec::new();
            errors
                .extend(keys.iter().filter(|&&i| writer.is_null(i, row)).map(|&i| no_key(name(i))));
            errors.extend(time.filter(|&i| writer.is_null(i, row)).map(|i| no_time(name(i))));
            match writer.push(row, &mut self.staged.rows) {
                Ok(()) if errors.is_empty() => {}
                Ok(()) => self.staged.rows.pop(),
                Err(unfit) => errors.extend(unfit.into_iter().map(|(i, message)| {
                    let value = value_text(batch.columns().column(i), row);
                    Reason::field(name(i), "database", message, value)
                })),
            }
            if !errors.is_empty() {
                self.staged.rejects.push(reject(batch, row, errors));
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
        self.staged.origins.extend(remaining(batch, &rejected));
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Encoded> {
        let bytes = self.staged.rows.byte_size() + origins_size(&self.staged.origins);
        Ok(Encoded { records: self.records, bytes: bytes as u64, payload: Box::new(self.staged) })
    }
}

/// That a key is null.
pub(crate) fn no_key(column: String) -> Reason {
    Reason::field(column, "key", "a key has no value", None)
}

/// That the time is null from when on a record holds.
pub(crate) fn no_time(column: String) -> Reason {
    Reason::field(column, "effective", "the effective date is missing", None)
}

/// A row of a batch that cannot be loaded whatever the table holds.
pub(crate) fn reject(batch: &Batch, row: usize, errors: Vec<Reason>) -> Reject {
    Reject {
        origin: Arc::clone(batch.origin()),
        ordinal: batch.rows().ordinal(row),
        stage: Stage::Load,
        errors,
    }
}

/// The rows of a batch but the rejected ones, if any are left.
pub(crate) fn remaining(batch: &Batch, rejected: &[usize]) -> Option<(Arc<Origin>, Ordinals)> {
    let rows = match rejected {
        [] => batch.rows().clone(),
        rejected => Ordinals::Some(
            (0..batch.num_rows())
                .filter(|row| rejected.binary_search(row).is_err())
                .map(|row| batch.rows().ordinal(row))
                .collect(),
        ),
    };
    (!rows.is_empty()).then(|| (Arc::clone(batch.origin()), rows))
}

/// Bytes that the records take.
pub(crate) fn origins_size(origins: &[(Arc<Origin>, Ordinals)]) -> usize {
    origins.iter().map(|(origin, _)| origin.byte_size()).sum()
}
