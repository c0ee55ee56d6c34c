//! Inputs and runs for the tests.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::Schema;
use bytes::Bytes;
use gristmill_core::text::{ColumnBuilder, ColumnPlan};
use gristmill_core::{
    Batch, BindContext, Bound, Error, FieldType, Findings, Mistake, Origin, Place, Reason, Space,
    Span, Stage, StepPlan,
};
use gristmill_validate::{Options, Validate};
use serde_json::Value;

use crate::conditions::Conditions;

/// A batch of text rows (cells separated by `|`, a null is `~`) whose columns are cast as a decoder
/// would: values that do not parse are nulls with a `type` flaw.
pub(crate) fn batch(columns: &[(&str, &str)], rows: &[&str], first_record: u64) -> Batch {
    let plans: Vec<ColumnPlan> = columns
        .iter()
        .map(|(name, field_type)| ColumnPlan::new(*name, field_type.parse::<FieldType>().unwrap()))
        .collect();
    let mut builders: Vec<ColumnBuilder> =
        plans.iter().map(|plan| ColumnBuilder::new(plan, rows.len())).collect();
    let mut failures = Vec::new();
    let (mut text, mut spans) = (String::new(), Vec::new());
    for (row, line) in rows.iter().enumerate() {
        spans.push(Span { start: text.len() as u32, len: line.len() as u32 });
        text.push_str(line);
        text.push('\n');
        let cells: Vec<&str> = line.split('|').collect();
        assert_eq!(cells.len(), columns.len(), "{line}");
        for ((cell, builder), plan) in cells.iter().zip(&mut builders).zip(&plans) {
            if *cell == "~" {
                builder.append_null();
            } else if let Err(error) = builder.push(cell.as_bytes()) {
                let value = Some(error.value.clone());
                let reason = Reason::field(plan.name.clone(), "type", error.to_string(), value);
                failures.push((row, reason));
            }
        }
    }
    let schema = Arc::new(Schema::new(plans.iter().map(ColumnPlan::field).collect::<Vec<_>>()));
    let arrays = builders.iter_mut().map(ColumnBuilder::finish).collect();
    let columns = RecordBatch::try_new(schema, arrays).unwrap();
    let origin = Arc::new(Origin::text("in.csv".into(), Bytes::from(text), 0, spans, b'\n'));
    origin.set_place(Place { first_record, first_line: first_record + 1 });
    let mut batch = Batch::whole(columns, origin).unwrap();
    for (row, reason) in failures {
        batch.add_flaw(row, Stage::Type, reason);
    }
    batch
}

/// The step that a definition makes.
pub(crate) fn step(definition: Value) -> Validate {
    Options::read(&definition).unwrap().into()
}

pub(crate) fn bind(step: &Validate, batch: &Batch) -> Result<Bound, Vec<Mistake>> {
    step.bind(&batch.schema(), &BindContext::new(&Conditions))
}

/// What became of some batches.
pub(crate) struct Outcome {
    pub(crate) kept: Vec<Batch>,
    pub(crate) findings: Findings,
    pub(crate) report: Value,
}

impl Outcome {
    pub(crate) fn records_kept(&self) -> usize {
        self.kept.iter().map(Batch::num_rows).sum()
    }

    /// `ordinal field.rule: message` for every reason of every reject.
    pub(crate) fn reasons(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for reject in self.findings.rejects() {
            for reason in &reject.errors {
                let field = reason.field.as_deref().unwrap_or("-");
                lines.push(format!(
                    "{} {field}.{}: {}",
                    reject.ordinal, reason.rule, reason.message
                ));
            }
        }
        lines
    }
}

/// Runs both parts of the step over batches, as a run does, and settles.
pub(crate) fn run(step: &Validate, batches: Vec<Batch>) -> Result<Outcome, Error> {
    run_in(Space::default(), step, batches)
}

/// As [`run`], with this much memory.
pub(crate) fn run_in(space: Space, step: &Validate, batches: Vec<Batch>) -> Result<Outcome, Error> {
    let mut bound = bind(step, &batches[0]).unwrap();
    if let Some(ordered) = &mut bound.ordered {
        ordered.open(space);
    }
    let read: usize = batches.iter().map(Batch::num_rows).sum();
    let mut findings = Findings::default();
    let mut kept = Vec::new();
    for mut batch in batches {
        if let Some(local) = &bound.local {
            assert!(!local.settles());
            batch = local.apply(batch, &mut findings)?;
        }
        if let Some(ordered) = &mut bound.ordered {
            assert!(!ordered.settles());
            batch = ordered.apply(batch, &mut findings)?;
        }
        kept.push(batch.settle(&mut findings)?);
    }
    let report = bound.local.and_then(|local| local.report()).unwrap_or_default();
    let outcome = Outcome { kept, findings, report };
    // Conservation: whatever the rules were.
    assert_eq!(read, outcome.records_kept() + outcome.findings.rejects().len());
    Ok(outcome)
}

/// The reasons for which rows of one column fail one rule or a list of them.
pub(crate) fn judged(field_type: &str, rules: Value, rows: &[&str]) -> Vec<String> {
    let step = step(serde_json::json!({"rules": {"x": rules}}));
    run(&step, vec![batch(&[("x", field_type)], rows, 1)]).unwrap().reasons()
}
