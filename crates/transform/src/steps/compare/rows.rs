//! Records with what became of them.

use std::sync::Arc;

use arrow_array::builder::StringViewBuilder;
use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{Array, ArrayRef, BooleanArray, Float64Array, RecordBatch, new_null_array};
use arrow_ord::cmp::not_distinct;
use arrow_schema::{DataType, SchemaRef};
use gristmill_core::text::value_text;
use gristmill_core::{Batch, Reason, Result, Stage};
use gristmill_parallel::ColumnKeys;
use serde_json::{Map, Value};

use super::super::matching::{Counts, Matched, Piece};
use super::super::other::shown;
use super::tolerance::Tolerance;

/// Where columns are.
pub(super) struct Layout {
    /// The key: names and places among the records.
    pub(super) keys: Vec<(String, usize)>,
    /// For each column of the input, where it is in what was found.
    pub(super) of_input: Vec<Option<usize>>,
    pub(super) tracked: Vec<Tracked>,
    /// Whether the columns that differ are listed.
    pub(super) lists: bool,
    /// Whether earlier values are given.
    pub(super) old: bool,
    pub(super) output: SchemaRef,
}

/// A column that is compared.
pub(super) struct Tracked {
    pub(super) name: String,
    /// Its place among the records, and in what was found.
    pub(super) place: usize,
    pub(super) found: usize,
    pub(super) tolerance: Option<Tolerance>,
}

pub(super) struct Compared {
    layout: Layout,
    new: u64,
    changed: u64,
    unchanged: u64,
    /// For each tracked column, how often it differs.
    differ: Vec<u64>,
}

impl Compared {
    pub(super) fn new(layout: Layout) -> Self {
        let differ = vec![0; layout.tracked.len()];
        Self { layout, new: 0, changed: 0, unchanged: 0, differ }
    }

    /// Columns of the source that records get.
    fn old<'a>(&'a self, found: &'a [ArrayRef]) -> impl Iterator<Item = ArrayRef> + 'a {
        let tracked = self.layout.tracked.iter().filter(|_| self.layout.old);
        tracked.map(|it| Arc::clone(&found[it.found]))
    }

    fn came_before(&self, records: &RecordBatch, row: usize) -> Reason {
        let keys = self.layout.keys.iter().map(|(_, place)| Arc::clone(records.column(*place)));
        let keys: Vec<ArrayRef> = keys.collect();
        let message = format!("{} came before: a key is compared once", shown(&keys, row));
        match self.layout.keys.as_slice() {
            [(name, _)] => {
                Reason::field(name.clone(), "compare", message, value_text(&keys[0], row))
            }
            _ => Reason::record("compare", message),
        }
    }
}

impl Matched for Compared {
    fn output(&self) -> &SchemaRef {
        &self.layout.output
    }

    fn piece(&mut self, piece: Piece) -> Result<Batch> {
        let Piece { batch, repeats, columns: found, nothing } = piece;
        let records = batch.columns().clone();
        let is_new = |row| nothing.as_ref().is_some_and(|nothing| nothing.is_null(row));
        let tracked = &self.layout.tracked;
        let same = tracked.iter().map(|it| {
            let (mine, theirs) = (records.column(it.place), &found[it.found]);
            match it.tolerance {
                Some(tolerance) => tolerance.same(mine, theirs),
                None => same(mine, theirs),
            }
        });
        let same: Vec<BooleanArray> = same.collect::<Result<_>>()?;
        let rows = records.num_rows();
        let (mut change, mut lists) = (StringViewBuilder::new(), StringViewBuilder::new());
        for (row, repeats) in repeats.iter().enumerate().take(rows) {
            let counted = u64::from(!repeats);
            let differ = || (0..same.len()).filter(|at| !same[*at].value(row));
            let (word, count) = match () {
                () if is_new(row) => ("new", &mut self.new),
                () if differ().next().is_some() => ("changed", &mut self.changed),
                () => ("unchanged", &mut self.unchanged),
            };
            *count += counted;
            change.append_value(word);
            if word != "changed" {
                lists.append_null();
                continue;
            }
            differ().for_each(|at| self.differ[at] += counted);
            if self.layout.lists {
                let names: Vec<&str> = differ().map(|at| tracked[at].name.as_str()).collect();
                lists.append_value(names.join(", "));
            }
        }
        let mut columns = records.columns().to_vec();
        columns.push(Arc::new(change.finish()));
        if self.layout.lists {
            columns.push(Arc::new(lists.finish()));
        }
        columns.extend(self.old(&found));
        let columns = RecordBatch::try_new(Arc::clone(&self.layout.output), columns)?;
        let mut batch = batch.with_columns(columns)?;
        let repeated = repeats.iter().enumerate().filter(|(_, repeats)| **repeats);
        for (row, _) in repeated {
            batch.add_flaw(row, Stage::Transform, self.came_before(&records, row));
        }
        Ok(batch)
    }

    fn rest(&self, found: &[ArrayRef]) -> Result<RecordBatch> {
        let rows = found.first().map_or(0, |column| column.len());
        let output = &self.layout.output;
        let of_input = self.layout.of_input.iter().enumerate();
        let mut columns: Vec<ArrayRef> = of_input
            .map(|(place, at)| match at {
                Some(at) => Arc::clone(&found[*at]),
                None => new_null_array(output.field(place).data_type(), rows),
            })
            .collect();
        let mut change = StringViewBuilder::new();
        (0..rows).for_each(|_| change.append_value("missing"));
        columns.push(Arc::new(change.finish()));
        if self.layout.lists {
            columns.push(new_null_array(&DataType::Utf8View, rows));
        }
        columns.extend(self.old(found));
        Ok(RecordBatch::try_new(Arc::clone(output), columns)?)
    }

    /// How many records are `new`, `changed`, `unchanged` and `missing`, and in how many of the
    /// changed ones each of the `columns` differs.
    fn report(&self, _: Counts, alone: u64) -> Map<String, Value> {
        let differ = self.layout.tracked.iter().zip(&self.differ).filter(|(_, count)| **count > 0);
        let differ: Map<String, Value> =
            differ.map(|(tracked, count)| (tracked.name.clone(), (*count).into())).collect();
        let counts = [
            ("new", self.new.into()),
            ("changed", self.changed.into()),
            ("unchanged", self.unchanged.into()),
            ("missing", alone.into()),
            ("columns", differ.into()),
        ];
        counts.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
    }
}

/// Where values are the same, or both null.
fn same(mine: &ArrayRef, theirs: &ArrayRef) -> Result<BooleanArray> {
    Ok(match mine.data_type() {
        DataType::Float64 => not_distinct(&canonical(mine), &canonical(theirs))?,
        nested if nested.is_nested() || nested != theirs.data_type() => {
            let keys = |column: &ArrayRef| -> Result<Vec<_>> {
                let columns = [("", Arc::clone(column), true)];
                let columns = RecordBatch::try_from_iter_with_nullable(columns)?;
                Ok(ColumnKeys::at(&columns, &[0]).hashes().collect())
            };
            keys(mine)?.iter().zip(&keys(theirs)?).map(|(a, b)| Some(a == b)).collect()
        }
        _ => not_distinct(mine, theirs)?,
    })
}

/// One zero, and one value that is no number.
fn canonical(column: &ArrayRef) -> Float64Array {
    column.as_primitive::<Float64Type>().unary(|value| match value {
        value if value.is_nan() => f64::NAN,
        value => value + 0.0,
    })
}
