//! What a contract says of each batch: values of another type, nulls, columns that should not or should be there.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow_schema::{FieldRef, Schema, SchemaRef};
use gristmill_core::text::value_text;
use gristmill_core::{Batch, Chunk, FieldType, Findings, Reason, Result, Stage, Step};

use super::{Agreed, Agreement, NullWay, Way};

/// Columns that are not there.
#[derive(Debug, Clone, Default)]
pub(super) struct Absent {
    /// In no file, where that rejects records.
    pub(super) everywhere: Vec<String>,
    /// In these files; others have them.
    pub(super) files: HashMap<Arc<str>, Vec<String>>,
    /// Whether that rejects records.
    pub(super) rejects: bool,
}

/// What is done to each batch.
pub(super) struct Judge {
    pub(super) cast: Option<Box<dyn Step>>,
    /// What becomes of values that are not of their type, and of nulls.
    way: Way,
    null: NullWay,
    /// Names of the columns as they are read, those that are left out among them.
    pub(super) names: Vec<String>,
    /// Columns that have an agreed type which a value can fail.
    typed: Vec<usize>,
    /// Columns that may not be null, by the names that the contract has for them.
    complete: Vec<(usize, String)>,
    /// Columns that may have no value, with their names.
    pub(super) fresh: Vec<(usize, String)>,
    absent: Absent,
    /// What comes out: which column, or null.
    pub(super) picks: Vec<(Option<usize>, FieldRef)>,
    pub(super) schema: SchemaRef,
}

impl Judge {
    pub(super) fn new(agreement: &Agreement, absent: Absent) -> Self {
        Self {
            cast: None,
            way: agreement.field_type,
            null: agreement.null,
            names: Vec::new(),
            typed: Vec::new(),
            complete: Vec::new(),
            fresh: Vec::new(),
            absent,
            picks: Vec::new(),
            schema: Arc::new(Schema::empty()),
        }
    }

    /// Holds a column to what was agreed about it.
    pub(super) fn hold(&mut self, agreed: &Agreed, at: usize) {
        if agreed.field_type().is_some_and(|field_type| field_type != FieldType::String) {
            self.typed.push(at);
        }
        if !agreed.column.nullable {
            self.complete.push((at, agreed.name.clone()));
        }
    }

    fn apply(&self, mut batch: Batch, findings: &mut Findings) -> Result<Batch> {
        if let Some(cast) = &self.cast {
            batch = cast.apply(batch, findings)?;
        }
        self.types(&mut batch, findings);
        self.nulls(&mut batch, findings);
        let origin = Arc::clone(batch.origin());
        let of_file = self.absent.files.get(origin.source()).filter(|_| self.absent.rejects);
        let of_file = of_file.into_iter().flatten();
        for name in self.absent.everywhere.iter().chain(of_file) {
            for row in 0..batch.num_rows() {
                let message = "there is no such column, and the contract has it";
                let reason = Reason::field(name.clone(), "missing_column", message, None);
                batch.add_flaw(row, Stage::Validate, reason);
            }
        }
        for (at, name) in &self.fresh {
            let column = Arc::clone(batch.columns().column(*at));
            for row in (0..column.len()).filter(|row| column.is_valid(*row)) {
                let message = "there is a value, and the contract has no such column";
                let value = value_text(&column, row);
                let reason = Reason::field(name.clone(), "new_column", message, value);
                batch.add_flaw(row, Stage::Validate, reason);
            }
        }
        self.project(batch)
    }

    /// Values that are not of their type are flaws by now.
    fn types(&self, batch: &mut Batch, findings: &mut Findings) {
        if self.way == Way::QuarantineRecord || batch.flaws().is_empty() {
            return;
        }
        let names: HashSet<&str> = self.typed.iter().map(|at| self.names[*at].as_str()).collect();
        let is_typed = |reason: &Reason| {
            reason.rule == "type"
                && reason.field.as_deref().is_some_and(|name| names.contains(name))
        };
        if self.way == Way::Freeze {
            let flaws = batch.flaws().iter().filter(|flaw| is_typed(&flaw.reason));
            if let Some(first) = flaws.min_by_key(|flaw| flaw.row) {
                findings.stop(first.reason.clone());
            }
        } else if self.way == Way::NullValue {
            batch.retain_flaws(|flaw| {
                let goes = flaw.stage == Stage::Type && is_typed(&flaw.reason);
                if goes {
                    let field = flaw.reason.field.as_deref().unwrap_or_default();
                    findings.warn(field, "type", || {
                        format!("{}: null in its place", flaw.reason.message)
                    });
                }
                !goes
            });
        }
    }

    fn nulls(&self, batch: &mut Batch, findings: &mut Findings) {
        if self.null == NullWay::Evolve {
            return;
        }
        let mut first: Option<(usize, Reason)> = None;
        let lacks = self.absent.files.get(batch.origin().source()).cloned().unwrap_or_default();
        for (at, name) in self.complete.iter().filter(|(_, name)| !lacks.contains(name)) {
            let column = Arc::clone(batch.columns().column(*at));
            if column.logical_null_count() == 0 {
                continue;
            }
            // What was no value of its type is null, and has its reason.
            let own = self.names[*at].as_str();
            let flaws = batch.flaws().iter();
            let known = flaws.filter(|flaw| flaw.reason.field.as_deref() == Some(own));
            let known: HashSet<u32> = known.map(|flaw| flaw.row).collect();
            let nulls = column.logical_nulls();
            let is_null = |row: &usize| {
                nulls.as_ref().is_some_and(|nulls| nulls.is_null(*row))
                    && !known.contains(&(*row as u32))
            };
            for row in (0..column.len()).filter(is_null) {
                let message = "is null, and the contract says that it is not";
                let reason = Reason::field(name.clone(), "not_null", message, None);
                if first.as_ref().is_none_or(|(other, _)| row < *other) {
                    first = Some((row, reason.clone()));
                }
                batch.add_flaw(row, Stage::Validate, reason);
            }
        }
        if let Some((_, reason)) = first.filter(|_| self.null == NullWay::Freeze) {
            findings.stop(reason);
        }
    }

    fn project(&self, batch: Batch) -> Result<Batch> {
        let rows = batch.num_rows();
        let column = |(at, field): &(Option<usize>, FieldRef)| -> ArrayRef {
            match at {
                Some(at) => Arc::clone(batch.columns().column(*at)),
                None => new_null_array(field.data_type(), rows),
            }
        };
        let columns = self.picks.iter().map(column).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let schema = Arc::clone(&self.schema);
        let columns = RecordBatch::try_new_with_options(schema, columns, &options)?;
        batch.with_columns(columns)
    }
}

/// A chunk whose batches are judged.
pub(super) struct Judged {
    pub(super) inner: Box<dyn Chunk>,
    pub(super) judge: Arc<Judge>,
}

impl Chunk for Judged {
    fn size(&self) -> usize {
        self.inner.size()
    }

    fn starts_source(&self) -> bool {
        self.inner.starts_source()
    }

    fn next_batch(&mut self, findings: &mut Findings) -> Result<Option<Batch>> {
        let batch = self.inner.next_batch(findings)?;
        batch.map(|batch| self.judge.apply(batch, findings)).transpose()
    }
}
