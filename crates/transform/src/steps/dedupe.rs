//! `dedupe`: one record of those with the same key.
//!
//! Workers hash the keys and hand the hashes on as two more columns; what looks at all records, in
//! order, takes them off again.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::UInt64Type;
use arrow_array::{ArrayRef, BooleanArray, RecordBatch, UInt64Array};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use gristmill_core::{
    Batch, BindContext, Bound, Findings, Grain, Mistake, OrderedStep, Pointer, Result, Space, Step,
    StepKind, StepPlan,
};
use gristmill_parallel::spill::{HeldBatches, Lasts, Seen};
use gristmill_parallel::{ColumnKeys, KeyHash};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::options;

/// The registry entry.
pub(super) const KIND: StepKind = StepKind {
    name: "dedupe",
    about: "Keeps the first or the last of the records that have the same key.",
    example: "dedupe: {keys: [fund_code, share_class, as_of_date], keep: last}\n",
    schema: |generator| generator.subschema_for::<Dedupe>(),
    plan: |options, _| {
        let plan: Dedupe = options::read(options)?;
        let mistakes = plan.mistakes();
        options::planned(plan, mistakes)
    },
};

/// Keeps one record for each key, over the whole input. The others are counted as deduplicated.
/// The records that stay keep their order: each stands where it stood.
///
/// Keys are compared as values: nulls are equal to each other, as in a `SELECT DISTINCT`, and so
/// are NaNs, and zeros of either sign; texts are compared byte by byte, so clean them first. Keys
/// are told apart by 128-bit hashes: among a thousand million different ones, the probability that
/// two are taken for one is 10⁻²¹. To reject duplicates instead of dropping them, use `unique` in
/// a `validate` step.
///
/// Memory does not grow with the input: what does not fit in the step's share of `limits.memory`
/// goes to a temporary folder (`TMPDIR` names another), which takes about 24 bytes for each
/// different key, and with `keep: last` 16 bytes for each record and the records themselves.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Dedupe {
    /// The columns that are the key together. Without them, the key is the whole record.
    pub keys: Option<Vec<String>>,
    /// Which of the records with the same key stays.
    pub keep: Keep,
}

/// Which of the records with the same key stays.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "DedupeKeep")]
pub enum Keep {
    /// The first in the order of the input. Records go on as they are read.
    #[default]
    First,
    /// The last in the order of the input. No record goes on before all of them are read, so what
    /// later steps reject stands in the rejects file after what earlier ones did.
    Last,
}

impl Dedupe {
    /// One record for each combination of values in these columns.
    pub fn by<S: Into<String>>(columns: impl IntoIterator<Item = S>) -> Self {
        Self { keys: Some(columns.into_iter().map(Into::into).collect()), keep: Keep::default() }
    }

    /// One of the records that are the same in all columns.
    pub fn whole_records() -> Self {
        Self::default()
    }

    /// Keeps the last record with a key, in place of the first.
    #[must_use]
    pub fn keep_last(mut self) -> Self {
        self.keep = Keep::Last;
        self
    }

    fn mistakes(&self) -> Vec<Mistake> {
        let at = Pointer::root().key("keys");
        match &self.keys {
            Some(keys) if keys.is_empty() => vec![
                Mistake::new(at, "a key needs at least one column")
                    .hint("name the columns; without `keys`, the key is the whole record"),
            ],
            Some(keys) => {
                let twice = options::duplicate(keys.iter().map(String::as_str));
                let twice = twice.map(|name| Mistake::new(at, format!("`{name}` stands twice")));
                twice.into_iter().collect()
            }
            None => Vec::new(),
        }
    }
}

impl StepPlan for Dedupe {
    fn bind(&self, input: &SchemaRef, _: &BindContext<'_>) -> Result<Bound, Vec<Mistake>> {
        let names = options::names(input);
        let mut mistakes = self.mistakes();
        let mut keys = Vec::new();
        match &self.keys {
            Some(columns) => {
                for (i, name) in columns.iter().enumerate() {
                    match options::find(&names, name, Pointer::root().key("keys").index(i)) {
                        Ok(place) => keys.push(place),
                        Err(mistake) => mistakes.push(mistake),
                    }
                }
            }
            None => keys.extend(0..names.len()),
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let space = Space::default();
        let ordered: Box<dyn OrderedStep> = match self.keep {
            Keep::First => Box::new(KeepFirst { seen: Seen::new(space) }),
            Keep::Last => Box::new(KeepLast::new(space)),
        };
        let hashed = input.fields().iter().cloned().chain(
            // No name: only the ordered part sees them, by their place.
            (0..2).map(|_| Arc::new(Field::new("", DataType::UInt64, false))),
        );
        let hashed = Arc::new(Schema::new_with_metadata(
            hashed.collect::<Vec<_>>(),
            input.metadata().clone(),
        ));
        Ok(Bound {
            local: Some(Box::new(HashKeys { keys, schema: hashed })),
            ordered: Some(ordered),
            output: Arc::clone(input),
            grain: Grain::Preserves,
        })
    }
}

struct HashKeys {
    keys: Vec<usize>,
    schema: SchemaRef,
}

impl Step for HashKeys {
    fn apply(&self, batch: Batch, _: &mut Findings) -> Result<Batch> {
        let keys = ColumnKeys::at(batch.columns(), &self.keys);
        let (high, low): (Vec<u64>, Vec<u64>) =
            keys.hashes().map(|[high, low]| (high, low)).unzip();
        let hashes = [high, low].map(|half| Arc::new(UInt64Array::from(half)) as ArrayRef);
        let columns = batch.columns().columns().iter().cloned().chain(hashes).collect();
        let columns = RecordBatch::try_new(Arc::clone(&self.schema), columns)?;
        batch.with_columns(columns)
    }
}

/// The batch as it was, and the hashes that the local part added.
fn take_hashes(batch: Batch) -> Result<(Batch, Vec<KeyHash>)> {
    let columns = batch.columns().clone();
    let last = columns.num_columns() - 2;
    let half = |at: usize| columns.column(at).as_primitive::<UInt64Type>().values().clone();
    let (high, low) = (half(last), half(last + 1));
    let hashes = high.iter().zip(&low).map(|(high, low)| [*high, *low]).collect();
    let places: Vec<usize> = (0..last).collect();
    Ok((batch.with_columns(columns.project(&places)?)?, hashes))
}

/// Takes rows out as duplicates.
fn keep_only(batch: Batch, keep: Vec<bool>, findings: &mut Findings) -> Result<Batch> {
    let before = batch.num_rows();
    let batch = batch.filter(&BooleanArray::from(keep))?;
    findings.deduplicated += (before - batch.num_rows()) as u64;
    Ok(batch)
}

struct KeepFirst {
    seen: Seen,
}

impl OrderedStep for KeepFirst {
    fn open(&mut self, space: Space) {
        self.seen = Seen::new(space);
    }

    fn apply(&mut self, batch: Batch, findings: &mut Findings) -> Result<Batch> {
        let (batch, hashes) = take_hashes(batch)?;
        self.seen.fetch(&hashes)?;
        let keep = hashes.iter().map(|key| self.seen.get_or_insert(*key, 0).is_none()).collect();
        keep_only(batch, keep, findings)
    }
}

/// Holds every batch back until the last one has come.
struct KeepLast {
    lasts: Lasts,
    held: HeldBatches,
    resolved: bool,
}

impl KeepLast {
    fn new(space: Space) -> Self {
        let quarter = space.memory / 4;
        let lasts = Lasts::new(Space { memory: quarter, ..space.clone() });
        let held = HeldBatches::new(Space { memory: space.memory - quarter, ..space });
        Self { lasts, held, resolved: false }
    }
}

impl OrderedStep for KeepLast {
    fn open(&mut self, space: Space) {
        *self = Self::new(space);
    }

    fn apply(&mut self, batch: Batch, _: &mut Findings) -> Result<Batch> {
        let (batch, hashes) = take_hashes(batch)?;
        self.lasts.add(&hashes)?;
        let empty = batch.clone().filter(&BooleanArray::from(vec![false; hashes.len()]))?;
        self.held.push(batch, hashes.iter().map(|key| Lasts::part(*key)).collect())?;
        Ok(empty)
    }

    fn release(&mut self, findings: &mut Findings) -> Result<Option<Batch>> {
        if !self.resolved {
            self.lasts.resolve()?;
            self.resolved = true;
        }
        let Some((batch, parts)) = self.held.pop()? else { return Ok(None) };
        let keep = self.lasts.take(&parts)?;
        keep_only(batch, keep, findings).map(Some)
    }
}
