//! Tests of the transform crate, in one binary.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod compare;
mod dedupe;
mod expressions;
mod groups;
mod join;
mod lookup;
mod pivot;
mod push_down;
mod registry;
mod relational;
mod steps;
mod windows;

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{Field, Schema};
use gristmill_core::json::row_to_string;
use gristmill_core::{Batch, BindContext, Findings, Mistake, Origin, StepPlan};
use gristmill_transform::Sql;

/// A batch of these columns.
fn batch(columns: Vec<(Field, ArrayRef)>) -> Batch {
    let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = columns.into_iter().unzip();
    let columns = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap();
    let origin = Arc::new(Origin::columns("test".into(), columns.clone()));
    Batch::whole(columns, origin).unwrap()
}

/// The batch after one step, with its flaws still open.
fn apply(step: &dyn StepPlan, batch: Batch) -> Result<(Batch, Findings), Vec<Mistake>> {
    let sql = Sql::new();
    let bound = step.bind(&batch.schema(), &BindContext::new(&sql))?;
    let mut findings = Findings::default();
    let after = bound.local.expect("row-local").apply(batch, &mut findings).unwrap();
    assert_eq!(after.schema(), bound.output);
    Ok((after, findings))
}

/// All rows as JSON objects.
fn rows(batch: &Batch) -> Vec<String> {
    (0..batch.num_rows()).map(|row| row_to_string(batch.columns(), row)).collect()
}

/// The reasons noted so far: row, field, message.
fn flaws(batch: &Batch) -> Vec<(u32, String, String)> {
    let flaw = |flaw: &gristmill_core::batch::Flaw| {
        let field = flaw.reason.field.as_deref().unwrap_or_default().to_owned();
        (flaw.row, field, flaw.reason.message.clone())
    };
    batch.flaws().iter().map(flaw).collect()
}

/// The mistakes as `place: message`.
fn told(mistakes: Result<(Batch, Findings), Vec<Mistake>>) -> Vec<String> {
    mistakes.expect_err("mistakes").iter().map(ToString::to_string).collect()
}
