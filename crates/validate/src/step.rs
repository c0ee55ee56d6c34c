//! The part of the step that judges each batch on its own.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::{Array, ArrayRef, RecordBatch};
use gristmill_core::batch::Flaw;
use gristmill_core::text::value_text;
use gristmill_core::{Batch, Findings, Origin, Reason, Result, Severity, Stage, Step};
use serde_json::{Map, Value, json};

use crate::judge::{Failing, Judge, missing, values_read};
use crate::ordered::UniqueKey;
use crate::quality::Measures;

/// A rule, compiled.
#[derive(Debug)]
pub(crate) struct Check {
    pub(crate) field: Option<String>,
    pub(crate) name: String,
    pub(crate) severity: Severity,
    pub(crate) message: Option<String>,
    pub(crate) judge: Judge,
    pub(crate) failed: AtomicU64,
}

/// A column with rules.
#[derive(Debug)]
pub(crate) struct Ruled {
    pub(crate) index: usize,
    pub(crate) name: String,
    pub(crate) checks: Vec<Check>,
    pub(crate) nulls: AtomicU64,
}

/// A record that failed a rule with severity `abort`. Which one is the first is known only in
/// source order, and so is its line: the ordered part stops the run.
#[derive(Debug)]
pub(crate) struct Abort {
    pub(crate) origin: Arc<Origin>,
    pub(crate) ordinal: u32,
    pub(crate) reason: Reason,
}

/// Records to stop for, noted by the local part for the ordered one.
pub(crate) type Aborts = Arc<Mutex<Vec<Abort>>>;

pub(crate) struct Checks {
    columns: Vec<Ruled>,
    records: Vec<Check>,
    keys: Vec<UniqueKey>,
    aborts: Option<Aborts>,
    measures: Option<Measures>,
    seen: AtomicU64,
}

impl Checks {
    pub(crate) fn new(
        columns: Vec<Ruled>,
        records: Vec<Check>,
        keys: Vec<UniqueKey>,
        aborts: Option<Aborts>,
        measures: Option<Measures>,
    ) -> Self {
        Self { columns, records, keys, aborts, measures, seen: AtomicU64::new(0) }
    }
}

/// Rows by the field that could not be read or computed there.
#[derive(Default)]
pub(crate) struct Flawed(HashMap<String, Vec<u32>>);

impl Flawed {
    /// Fields whose value is not there because of a flaw; a failed rule leaves the value in place.
    pub(crate) fn of(flaws: &[Flaw]) -> Self {
        let mut fields: HashMap<String, Vec<u32>> = HashMap::new();
        for flaw in flaws.iter().filter(|flaw| flaw.stage != Stage::Validate) {
            if let Some(field) = &flaw.reason.field {
                match fields.get_mut(field.as_ref()) {
                    Some(rows) => rows.push(flaw.row),
                    None => drop(fields.insert(field.to_string(), vec![flaw.row])),
                }
            }
        }
        for rows in fields.values_mut() {
            rows.sort_unstable();
            rows.dedup();
        }
        Self(fields)
    }

    pub(crate) fn rows(&self, field: &str) -> &[u32] {
        self.0.get(field).map_or(&[], Vec::as_slice)
    }

    fn spare(&self, field: &str, failing: &mut Vec<u32>) {
        exclude(failing, self.rows(field));
    }
}

/// Removes rows, ascending as they are.
fn exclude(rows: &mut Vec<u32>, others: &[u32]) {
    if !others.is_empty() {
        rows.retain(|row| others.binary_search(row).is_err());
    }
}

/// One batch being judged.
struct Judging<'a> {
    columns: &'a RecordBatch,
    flaws: Vec<Flaw>,
    abort: Option<(u32, Reason)>,
}

impl Judging<'_> {
    fn act(
        &mut self,
        check: &Check,
        column: Option<&ArrayRef>,
        failing: Failing,
        findings: &mut Findings,
    ) {
        check.failed.fetch_add(failing.rows.len() as u64, Relaxed);
        for &row in &failing.rows {
            let value = || column.and_then(|column| value_text(column, row as usize));
            if check.severity == Severity::Warn {
                let message = || self.message(check, value().as_deref(), &failing, row);
                findings.warn(check.field.as_deref().unwrap_or_default(), &check.name, message);
                continue;
            }
            let value = value();
            let message = self.message(check, value.as_deref(), &failing, row);
            let reason = Reason {
                field: check.field.clone().map(Into::into),
                rule: check.name.clone().into(),
                message,
                value,
            };
            if check.severity == Severity::Abort
                && self.abort.as_ref().is_none_or(|(first, _)| row < *first)
            {
                self.abort = Some((row, reason.clone()));
            }
            self.flaws.push(Flaw { row, stage: Stage::Validate, reason });
        }
    }

    fn message(&self, check: &Check, value: Option<&str>, failing: &Failing, row: u32) -> String {
        if let Some(message) = &check.message {
            return message.clone();
        }
        if let Ok(at) = failing.why.binary_search_by_key(&row, |(row, _)| *row) {
            return failing.why[at].1.clone();
        }
        match (&check.field, &check.judge) {
            (None, Judge::Expr(expression)) => {
                let values = values_read(expression.as_ref(), self.columns, row as usize);
                check.judge.describe(None) + &values
            }
            (_, judge) => judge.describe(value),
        }
    }
}

impl Step for Checks {
    fn apply(&self, mut batch: Batch, findings: &mut Findings) -> Result<Batch> {
        let columns = batch.columns().clone();
        let flawed = Flawed::of(batch.flaws());
        self.seen.fetch_add(batch.num_rows() as u64, Relaxed);
        if let Some(measures) = &self.measures {
            measures.add(&batch);
        }
        let mut judging = Judging { columns: &columns, flaws: Vec::new(), abort: None };
        for column in &self.columns {
            let array = columns.column(column.index);
            column.nulls.fetch_add(array.logical_null_count() as u64, Relaxed);
            let required = column.checks.iter().any(|check| matches!(check.judge, Judge::Required));
            let missing = if required { missing(array) } else { Vec::new() };
            for check in &column.checks {
                let mut failing = match &check.judge {
                    Judge::Required => missing.clone().into(),
                    judge => {
                        let mut failing = judge.failing(array, &columns)?;
                        exclude(&mut failing.rows, &missing);
                        failing
                    }
                };
                flawed.spare(&column.name, &mut failing.rows);
                spare_read(&check.judge, &flawed, &mut failing);
                judging.act(check, Some(array), failing, findings);
            }
        }
        for check in &self.records {
            let Judge::Expr(expression) = &check.judge else { continue };
            let read = match expression.columns() {
                [only] => columns.column_by_name(only),
                _ => None,
            };
            let nothing: ArrayRef = Arc::new(arrow_array::NullArray::new(columns.num_rows()));
            let mut failing = check.judge.failing(&nothing, &columns)?;
            spare_read(&check.judge, &flawed, &mut failing);
            judging.act(check, read, failing, findings);
        }
        let Judging { flaws, abort, .. } = judging;
        if let (Some((row, reason)), Some(aborts)) = (abort, &self.aborts) {
            let ordinal = batch.rows().ordinal(row as usize);
            let abort = Abort { origin: Arc::clone(batch.origin()), ordinal, reason };
            aborts.lock().unwrap_or_else(PoisonError::into_inner).push(abort);
        }
        batch.add_flaws(flaws);
        Ok(batch)
    }

    fn settles(&self) -> bool {
        false
    }

    /// `records`, `rules: [{field, rule, failed}]` and `fields: {name: {nulls}}`; with quality
    /// measures, every field with all of them, `keys`, `null_keys` and `duplicate_keys`.
    fn report(&self) -> Option<Value> {
        let checks = self.columns.iter().flat_map(|column| &column.checks).chain(&self.records);
        let mut rules: Vec<Value> = checks
            .map(|check| {
                json!({"field": check.field, "rule": check.name, "failed": check.failed.load(Relaxed)})
            })
            .collect();
        rules.extend(self.keys.iter().map(|key| {
            json!({"field": key.names.join(", "), "rule": key.rule, "failed": key.failed.load(Relaxed)})
        }));
        let mut report = Map::new();
        report.insert("records".to_owned(), self.seen.load(Relaxed).into());
        report.insert("rules".to_owned(), rules.into());
        match &self.measures {
            Some(measures) => report.extend(measures.report()),
            None => {
                let nulls = |column: &Ruled| {
                    (column.name.clone(), json!({"nulls": column.nulls.load(Relaxed)}))
                };
                let fields: Map<String, Value> = self.columns.iter().map(nulls).collect();
                report.insert("fields".to_owned(), fields.into());
            }
        }
        Some(report.into())
    }
}

/// An expression is not asked about rows in which a column that it reads is flawed.
fn spare_read(judge: &Judge, flawed: &Flawed, failing: &mut Failing) {
    if let Judge::Expr(expression) = judge {
        for column in expression.columns() {
            flawed.spare(column, &mut failing.rows);
        }
    }
}
