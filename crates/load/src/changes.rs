//! What a load does when the records have columns that the table does not have.

use std::sync::Arc;

use arrow_array::Array;
use arrow_schema::{Schema, SchemaRef};
use gristmill_core::text::value_text;
use gristmill_core::{
    Batch, Encoded, Encoder, Error, Findings, Loaded, Loader, Part, Preview, Reason, Reject,
    Result, Stage,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What happens when the records have columns that the table does not have, or wider types than
/// its columns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SchemaChanges {
    /// The load ends, and says which statement would add the columns.
    #[default]
    Error,
    /// Records with a value in such a column are rejected; the others are loaded without it.
    Quarantine,
    /// The columns are added to the table, in the transaction of the load: null in the rows that
    /// are there. Not in MariaDB and MySQL, whose transactions do not change tables.
    AddColumns,
    /// As `add_columns`; and in PostgreSQL, a column whose type is narrower than that of the
    /// records becomes as wide: `integer` a `bigint`, `varchar(20)` a `text`, `real` a
    /// `double precision`, and a `numeric` gets more digits. Integers of a pipeline have 64 bits. The
    /// server may have to write the whole table again for it. In SQLite, columns have no width.
    Widen,
}

impl SchemaChanges {
    /// Whether columns are added.
    pub(crate) fn adds(self) -> bool {
        matches!(self, SchemaChanges::AddColumns | SchemaChanges::Widen)
    }
}

/// The columns of the records, but for those at these places.
pub(crate) fn known(schema: &SchemaRef, unknown: &[usize]) -> SchemaRef {
    if unknown.is_empty() {
        return Arc::clone(schema);
    }
    let known = (0..schema.fields().len()).filter(|i| !unknown.contains(i));
    let fields: Vec<_> = known.map(|i| Arc::clone(&schema.fields()[i])).collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// A load of records from which columns are taken that the table does not have: those with a value
/// there are rejected.
pub(crate) fn quarantine(
    inner: Box<dyn Loader>,
    table: &str,
    schema: &SchemaRef,
    unknown: Vec<usize>,
) -> Box<dyn Loader> {
    if unknown.is_empty() {
        return inner;
    }
    let known = (0..schema.fields().len()).filter(|i| !unknown.contains(i)).collect();
    let unknown = unknown.into_iter().map(|i| (i, schema.field(i).name().clone())).collect();
    let columns = Arc::new(Columns { table: table.to_owned(), known, unknown });
    Box::new(Quarantine { inner, columns })
}

/// Columns of the records.
struct Columns {
    table: String,
    /// Places of those that the table has.
    known: Vec<usize>,
    /// Places and names of the others.
    unknown: Vec<(usize, String)>,
}

struct Quarantine {
    inner: Box<dyn Loader>,
    columns: Arc<Columns>,
}

/// A part of the inner loader, and the records that it was not given.
type Sorted = (Encoded, Vec<Reject>);

impl Loader for Quarantine {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn plan(&mut self) {
        self.inner.plan();
    }

    fn preview(&self) -> Option<Preview> {
        self.inner.preview()
    }

    fn notes(&self) -> Vec<String> {
        self.inner.notes()
    }

    fn encoder(&self) -> Arc<dyn Encoder> {
        let columns = Arc::clone(&self.columns);
        Arc::new(QuarantineEncoder { inner: self.inner.encoder(), columns })
    }

    fn append(&mut self, part: Encoded, findings: &mut Findings) -> Result<()> {
        let sorted = part.payload.downcast::<Sorted>();
        let (inner, rejects) =
            *sorted.map_err(|_| Error::internal("a table was given what another encoder made"))?;
        rejects.into_iter().for_each(|reject| findings.reject(reject));
        self.inner.append(inner, findings)
    }

    fn settle(&mut self, findings: &mut Findings) -> Result<bool> {
        self.inner.settle(findings)
    }

    fn prepare(&mut self, findings: &mut Findings) -> Result<Loaded> {
        self.inner.prepare(findings)
    }

    fn commits(&self) -> bool {
        self.inner.commits()
    }

    fn publish(&mut self) -> Result<Loaded> {
        self.inner.publish()
    }

    fn abort(self: Box<Self>) {
        self.inner.abort();
    }
}

struct QuarantineEncoder {
    inner: Arc<dyn Encoder>,
    columns: Arc<Columns>,
}

impl Encoder for QuarantineEncoder {
    fn begin(&self) -> Box<dyn Part> {
        let (inner, columns) = (self.inner.begin(), Arc::clone(&self.columns));
        Box::new(QuarantinePart { inner, columns, findings: Findings::default() })
    }
}

struct QuarantinePart {
    inner: Box<dyn Part>,
    columns: Arc<Columns>,
    findings: Findings,
}

impl Part for QuarantinePart {
    fn push(&mut self, batch: &Batch) -> Result<()> {
        let Columns { table, known, unknown } = &*self.columns;
        let mut batch = batch.clone();
        let mut reasons = Vec::new();
        for (place, name) in unknown {
            let column = batch.columns().column(*place);
            let nulls = column.logical_nulls();
            for row in 0..column.len() {
                if nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)) {
                    let message = format!("table `{table}` has no column `{name}`");
                    let value = value_text(column, row);
                    reasons.push((row, Reason::field(name.clone(), "column", message, value)));
                }
            }
        }
        for (row, reason) in reasons {
            batch.add_flaw(row, Stage::Load, reason);
        }
        let batch = batch.settle(&mut self.findings)?;
        let columns = batch.columns().project(known)?;
        self.inner.push(&batch.with_columns(columns)?)
    }

    fn finish(mut self: Box<Self>) -> Result<Encoded> {
        let inner = self.inner.finish()?;
        let rejects = self.findings.take_rejects();
        let (records, bytes) = (inner.records + rejects.len() as u64, inner.bytes);
        let sorted: Sorted = (inner, rejects);
        Ok(Encoded { records, bytes, payload: Box::new(sorted) })
    }
}
