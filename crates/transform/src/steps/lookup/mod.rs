//! `lookup`: columns from other records that are found by a key.
//!
//! The other records are read once, before the first batch, and shared by all workers: a hash table
//! of keys (`index`), the versions of each key where they have some (`versions`), and the columns
//! that are taken (`table`). A batch is looked up as a whole: the code of each row's key, the row
//! that it finds, and one `take` for each column.

mod bind;
mod index;
mod options;
mod table;
mod versions;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use arrow_array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow_schema::SchemaRef;
use arrow_select::take::take;
use gristmill_core::text::value_text;
use gristmill_core::{
    Batch, BindContext, Bound, Findings, Grain, Mistake, Needs, Pointer, Reason, Reference, Result,
    Stage, Step, StepKind, StepPlan,
};
use serde_json::{Value, json};

use super::convert::Conversion;
use super::other::{Column, Key, shown};
use crate::options as reading;
use index::{Kind, NOTHING, NOWHERE};
use table::{Table, micros};
use versions::Held;

pub use options::{Early, Lookup, Otherwise};

/// The registry entry.
pub(super) const KIND: StepKind = StepKind {
    name: "lookup",
    about: "Adds columns from other records, found by a key, or by a key and a date.",
    example: "lookup: {from: {file: regions.csv}, on: region, take: [region_name], missing: reject}\n",
    schema: |generator| generator.subschema_for::<Lookup>(),
    plan: |options, _| {
        let plan: Lookup = reading::read(options)?;
        let mistakes = plan.mistakes();
        reading::planned(plan, mistakes)
    },
};

impl StepPlan for Lookup {
    fn references(&self) -> Vec<Reference> {
        let columns = self.take.as_ref().map(|take| {
            let dates = [&self.version_columns.effective_date, &self.version_columns.end_date];
            let dates = dates.into_iter().filter(|_| self.at.is_some());
            let named = self.on.pairs.iter().chain(&take.pairs).map(|(_, other)| other);
            named.chain(dates).cloned().collect()
        });
        let at = Pointer::root().key("from");
        vec![Reference { at, source: self.from.0.clone(), columns }]
    }

    fn needs(&self) -> Needs {
        // Without `take`, the source says what is added.
        let Some(take) = &self.take else { return Needs::All };
        let uses = self.on.pairs.iter().map(|(own, _)| own).chain(&self.at).cloned().collect();
        let adds = take.pairs.iter().map(|(name, _)| format!("{}{name}", self.prefix)).collect();
        Needs::Some { uses, adds }
    }

    fn bind(&self, input: &SchemaRef, context: &BindContext<'_>) -> Result<Bound, Vec<Mistake>> {
        let (plan, output) = bind::bind(self, input, context)?;
        let table = Table::empty(plan.kind);
        let step =
            BoundLookup { plan, table, found: AtomicU64::new(0), nothing: AtomicU64::new(0) };
        Ok(Bound { local: Some(Box::new(step)), ordered: None, output, grain: Grain::Preserves })
    }
}

/// A lookup bound to the columns of both sides.
struct Plan {
    /// What messages call the source.
    name: String,
    kind: Kind,
    keys: Vec<Key>,
    at: Option<At>,
    taken: Vec<Taken>,
    missing: Otherwise,
    early: Early,
    output: SchemaRef,
}

/// The time at which records hold.
struct At {
    name: String,
    place: usize,
    conversion: Conversion,
    /// When the source's versions began, and when they ended.
    dates: [Column; 2],
}

/// A column that records get.
struct Taken {
    /// Its place in the source.
    place: usize,
    /// The place of the column that it replaces.
    replaces: Option<usize>,
    /// What stands behind the source's records: a null, and the values for what is missing and for
    /// what is early.
    otherwise: [ArrayRef; 3],
}

impl Plan {
    /// Where the columns that are taken stand in the source.
    fn taken_places(&self) -> Vec<usize> {
        self.taken.iter().map(|column| column.place).collect()
    }

    fn key_names(&self) -> String {
        self.keys.iter().map(|key| format!("`{}`", key.name)).collect::<Vec<_>>().join(", ")
    }
}

struct BoundLookup {
    plan: Plan,
    table: Table,
    /// Records that found something, and those that did not.
    found: AtomicU64,
    nothing: AtomicU64,
}

/// Why a record finds nothing.
#[derive(Clone, Copy)]
enum Nothing {
    /// Its key is null.
    NullKey,
    /// Nothing has its key.
    Missing,
    /// It says no time.
    NullTime,
    /// It is earlier than the first version, which begins at the instant.
    Early(i64),
    /// No version holds at its time.
    Gap,
}

impl Step for BoundLookup {
    fn load(
        &mut self,
        records: &mut dyn Iterator<Item = Result<Batch>>,
        memory: usize,
    ) -> Result<()> {
        self.table = Table::load(&self.plan, records, memory)?;
        Ok(())
    }

    fn apply(&self, mut batch: Batch, _: &mut Findings) -> Result<Batch> {
        let columns = batch.columns().clone();
        let keys: Vec<ArrayRef> =
            self.plan.keys.iter().map(|key| Arc::clone(columns.column(key.place))).collect();
        let found = self.table.index.find(&keys)?;
        let (mut rows, nothing) = match &self.plan.at {
            None => rows(&found, &keys),
            Some(at) => {
                let (times, _) = at.conversion.apply(columns.column(at.place))?;
                self.versions(&found, &keys, &times)
            }
        };
        self.found.fetch_add((rows.len() - nothing.len()) as u64, Relaxed);
        self.nothing.fetch_add(nothing.len() as u64, Relaxed);
        let mut rejected = Vec::new();
        for (row, why) in nothing {
            let (otherwise, values) = match (why, &self.plan.early) {
                (Nothing::Early(_), Early::Nothing(otherwise)) => (otherwise, 2),
                _ => (&self.plan.missing, 1),
            };
            let place = match otherwise {
                Otherwise::Values(_) => values,
                Otherwise::Null => 0,
                Otherwise::Reject => {
                    rejected.push((row, why));
                    0
                }
            };
            rows[row] = (self.table.records + place) as u32;
        }
        let rows = UInt32Array::from(rows);
        let mut arrays = columns.columns().to_vec();
        for (column, values) in self.plan.taken.iter().zip(&self.table.taken) {
            let values = take(values.as_ref(), &rows, None)?;
            match column.replaces {
                Some(place) => arrays[place] = values,
                None => arrays.push(values),
            }
        }
        batch = batch.with_columns(RecordBatch::try_new(Arc::clone(&self.plan.output), arrays)?)?;
        for (row, why) in rejected {
            batch.add_flaw(row, Stage::Transform, self.reason(&columns, &keys, row, why));
        }
        Ok(batch)
    }

    /// `source`, its `records`, and how many records `found` one of them, or `nothing`.
    fn report(&self) -> Option<Value> {
        Some(json!({
            "source": self.plan.name,
            "records": self.table.records,
            "found": self.found.load(Relaxed),
            "nothing": self.nothing.load(Relaxed),
        }))
    }
}

impl BoundLookup {
    /// The rows of the versions that hold at the times of the records.
    fn versions(&self, found: &[Range<u32>], keys: &[ArrayRef], times: &ArrayRef) -> Rows {
        let mut nothing = Vec::new();
        let mut of = |(row, versions): (usize, &Range<u32>)| {
            let why = match micros(times, row) {
                _ if *versions == NOTHING => without_key(keys, row),
                None => Nothing::NullTime,
                Some(time) => match self.table.versions.at(versions, time) {
                    Held::Row(found) => return found,
                    Held::Early(first) if self.plan.early == Early::First => return first.row,
                    Held::Early(first) => Nothing::Early(first.start),
                    Held::Gap => Nothing::Gap,
                },
            };
            nothing.push((row, why));
            NOWHERE
        };
        let rows = found.iter().enumerate().map(&mut of).collect();
        (rows, nothing)
    }

    /// Why a record is rejected.
    fn reason(&self, columns: &RecordBatch, keys: &[ArrayRef], row: usize, why: Nothing) -> Reason {
        let Plan { name, at, .. } = &self.plan;
        let key = || shown(keys, row);
        let time = |column: &ArrayRef, row| value_text(column, row).unwrap_or_default();
        let at = at.as_ref().map(|at| (&at.name, time(columns.column(at.place), row)));
        let (at, time) = at.as_ref().map_or(("", ""), |(name, time)| (name.as_str(), time));
        let message = match why {
            Nothing::NullKey => format!("null finds nothing in `{name}`"),
            Nothing::Missing => format!("{} is not in `{name}`", key()),
            Nothing::NullTime => {
                format!("without `{at}`, no version of {} is found in `{name}`", key())
            }
            Nothing::Early(first) => {
                format!("{} is in `{name}` from {} on, after {time}", key(), instant(first))
            }
            Nothing::Gap => format!("no version of {} in `{name}` holds at {time}", key()),
        };
        match self.plan.keys.as_slice() {
            [only] => {
                Reason::field(only.name.clone(), "lookup", message, value_text(&keys[0], row))
            }
            _ => Reason::record("lookup", message),
        }
    }
}

/// The row of the source for each record, and the records that find none, with why.
type Rows = (Vec<u32>, Vec<(usize, Nothing)>);

/// The rows of keys that have one row each.
fn rows(found: &[Range<u32>], keys: &[ArrayRef]) -> Rows {
    let rows: Vec<u32> = found.iter().map(|rows| rows.start).collect();
    let missing = rows.iter().enumerate().filter(|(_, row)| **row == NOWHERE);
    let nothing = missing.map(|(row, _)| (row, without_key(keys, row))).collect();
    (rows, nothing)
}

/// Why a key finds nothing.
fn without_key(keys: &[ArrayRef], row: usize) -> Nothing {
    if keys.iter().any(|key| key.is_null(row)) { Nothing::NullKey } else { Nothing::Missing }
}

/// An instant for people: the day alone where it is a midnight.
fn instant(micros: i64) -> String {
    let column: ArrayRef = Arc::new(arrow_array::TimestampMicrosecondArray::from(vec![micros]));
    let text = value_text(&column, 0).unwrap_or_default();
    text.strip_suffix("T00:00:00").map(str::to_owned).unwrap_or(text)
}
