//! What a load does when the records have columns that the table does not have.

use std::sync::Arc;

use arrow_array::Array;
use arrow_schema::{Schema, SchemaRef};
use gristmill_core::text::value_text;
use gristmill_core::{Batch, Findings, Loader, Reason, Result, Stage, Step};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::before::before;

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
    /// are there. MariaDB and MySQL do not change tables in a transaction: there they are added
    /// right before it, once others have let go of the table for a moment (a minute is waited for
    /// that), and stay, without values, when the load fails then.
    AddColumns,
    /// As `add_columns`; and a column whose type is narrower than that of the records becomes as
    /// wide: `integer` a `bigint`, `varchar(20)` a `text` (`longtext` in MariaDB and MySQL, unless it
    /// is in an index), `real` or `float` a `double precision`, and a `numeric` gets more digits.
    /// Integers of a pipeline have 64 bits. The server may have to write the whole table again for
    /// it. In SQLite, columns have no width.
    Widen,
}

impl SchemaChanges {
    /// Whether columns are added.
    pub(crate) fn adds(self) -> bool {
        matches!(self, SchemaChanges::AddColumns | SchemaChanges::Widen)
    }
}

/// Digits before and behind the point of a decimal column that is to hold its own values and those
/// of a field, by the digits of both, all and behind the point; `None` where it holds them.
pub(crate) fn wider_decimal(
    (digits, fraction): (i32, i32),
    (precision, scale): (u8, i8),
) -> Option<(i32, i32)> {
    let (precision, scale) = (i32::from(precision), i32::from(scale.max(0)));
    let whole = (precision - scale).max(digits - fraction);
    let wide = scale.max(fraction);
    (whole > digits - fraction || wide > fraction).then_some((whole, wide))
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
    before(Arc::new(Quarantine { table: table.to_owned(), known, unknown }), inner)
}

struct Quarantine {
    table: String,
    /// Places of the columns that the table has.
    known: Vec<usize>,
    /// Places and names of the others.
    unknown: Vec<(usize, String)>,
}

impl Step for Quarantine {
    fn apply(&self, mut batch: Batch, _: &mut Findings) -> Result<Batch> {
        let columns = batch.columns().clone();
        for (place, name) in &self.unknown {
            let column = columns.column(*place);
            let nulls = column.logical_nulls();
            for row in 0..column.len() {
                if nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)) {
                    let message = format!("table `{}` has no column `{name}`", self.table);
                    let value = value_text(column, row);
                    let reason = Reason::field(name.clone(), "column", message, value);
                    batch.add_flaw(row, Stage::Load, reason);
                }
            }
        }
        batch.with_columns(columns.project(&self.known)?)
    }
}
