//! Records with what became of them.

use std::sync::Arc;

use arrow_array::builder::StringViewBuilder;
use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{Array, ArrayRef, BooleanArray, Float64Array, RecordBatch, new_null_array};
use arrow_ord::cmp::not_distinct;
use arrow_schema::{DataType, SchemaRef};
use gristmill_core::text::value_text;
use gristmill_core::{
    Batch, Findings, OrderedStep, Origin, Place, Reason, Records, Result, Space, Stage, TableStep,
    Turn,
};
use gristmill_parallel::ColumnKeys;
use serde_json::{Map, Value, json};

use super::super::matching::{Matching, Next, Piece, gathered, released};
use super::super::other::shown;

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
}

pub(super) struct ComparedRows {
    matching: Matching,
    /// What messages call the source.
    name: String,
    layout: Layout,
    new: u64,
    changed: u64,
    unchanged: u64,
    missing: u64,
    /// For each tracked column, how often it differs.
    differ: Vec<u64>,
}

impl ComparedRows {
    pub(super) fn new(matching: Matching, name: String, layout: Layout) -> Self {
        let differ = vec![0; layout.tracked.len()];
        Self { matching, name, layout, new: 0, changed: 0, unchanged: 0, missing: 0, differ }
    }

    fn piece(&mut self, piece: Piece) -> Result<Batch> {
        let Piece { batch, repeats, columns: found, nothing } = piece;
        let records = batch.columns().clone();
        let is_new = |row| nothing.as_ref().is_some_and(|nothing| nothing.is_null(row));
        let tracked = &self.layout.tracked;
        let same = tracked.iter().map(|it| same(records.column(it.place), &found[it.found]));
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

    fn rest(&mut self, found: Vec<ArrayRef>) -> Result<Batch> {
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
        columns.extend(self.old(&found));
        let columns = RecordBatch::try_new(Arc::clone(output), columns)?;
        let origin = Origin::columns("compare".into(), columns.clone());
        origin.set_place(Place { first_record: self.missing + 1, first_line: 1 });
        self.missing += rows as u64;
        Batch::whole(columns, Arc::new(origin))
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

impl TableStep for ComparedRows {
    fn give(&mut self, batch: Option<Batch>) -> Result<()> {
        self.matching.give(batch)
    }

    fn turn(&mut self) -> Result<Turn> {
        Ok(match self.matching.turn()? {
            Next::Piece(piece) => Turn::Gives(self.piece(*piece)?),
            Next::Rest(found) => Turn::Gives(self.rest(found)?),
            Next::Takes => Turn::Takes,
            Next::Done => Turn::Done,
        })
    }
}

impl OrderedStep for ComparedRows {
    fn load(&mut self, references: Vec<Records>) {
        references.into_iter().for_each(|records| self.matching.load(records));
    }

    fn open(&mut self, space: Space) {
        self.matching.open(space);
    }

    fn apply(&mut self, batch: Batch, _: &mut Findings) -> Result<Batch> {
        let output = Arc::clone(&self.layout.output);
        gathered(self, batch, &output)
    }

    fn release(&mut self, _: &mut Findings) -> Result<Option<Batch>> {
        released(self)
    }

    fn table(&mut self) -> Option<&mut dyn TableStep> {
        Some(self)
    }

    /// `source`, its `records`, how many are `new`, `changed`, `unchanged` and `missing`, and in how
    /// many of the changed ones each of the `columns` differs.
    fn report(&self) -> Option<Value> {
        let differ = self.layout.tracked.iter().zip(&self.differ).filter(|(_, count)| **count > 0);
        let differ: Map<String, Value> =
            differ.map(|(tracked, count)| (tracked.name.clone(), (*count).into())).collect();
        Some(json!({
            "source": self.name,
            "records": self.matching.counts().records,
            "new": self.new,
            "changed": self.changed,
            "unchanged": self.unchanged,
            "missing": self.missing,
            "columns": differ,
        }))
    }
}
