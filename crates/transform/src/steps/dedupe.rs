//! `dedupe`: one record of those with the same key.
//!
//! Workers hash the keys and hand the hashes on as two more columns; what looks at all records, in
//! order, takes them off again.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{DataType, SchemaRef};
use gristmill_core::{
    Batch, BindContext, Bound, Findings, Grain, Mistake, OrderedStep, Pointer, Result, Rows, Space,
    StepKind, StepPlan,
};
use gristmill_parallel::spill::{HeldBatches, Lasts, Seen};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::hashed::{HashKeys, Hashed, Nulls};
use super::{expression_mistake, keys};
use crate::options;
use crate::relational::{
    INPUT, ROW, Tables, column, input as table, planned, quoted, select, with_row,
};

/// The registry entry.
pub(super) const KIND: StepKind = StepKind {
    name: "dedupe",
    about: "Keeps the first or the last of the records that have the same key, or the first in an order.",
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
/// different key, with `keep: last` 16 bytes for each record and the records themselves, and with
/// `order_by` the records, which are sorted.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Dedupe {
    /// The columns that are the key together. Without them, the key is the whole record.
    pub keys: Option<Vec<String>>,
    /// Which of the records with the same key stays.
    pub keep: Keep,
    /// Columns by which the records with the same key are ordered, of which the first stays: with
    /// `[updated_at desc]` the latest. Behind a name, `desc` stands for the largest values first, and
    /// `nulls first` for nulls before everything else. Records that are equal in all of them are taken
    /// in the order of the input.
    pub order_by: Option<Vec<String>>,
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
        Self { keys: Some(columns.into_iter().map(Into::into).collect()), ..Self::default() }
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

    /// Keeps the record that is the first by these columns, each with `desc` and `nulls first` where
    /// that is meant.
    #[must_use]
    pub fn order_by<S: Into<String>>(mut self, keys: impl IntoIterator<Item = S>) -> Self {
        self.order_by = Some(keys.into_iter().map(Into::into).collect());
        self
    }

    fn mistakes(&self) -> Vec<Mistake> {
        let at = Pointer::root().key("keys");
        let mut mistakes = self.order_mistakes();
        mistakes.extend(match &self.keys {
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
        });
        mistakes
    }

    fn order_mistakes(&self) -> Vec<Mistake> {
        let at = |key: &str| Pointer::root().key(key);
        let Some(order) = &self.order_by else { return Vec::new() };
        let mut mistakes = Vec::new();
        if order.is_empty() {
            mistakes.push(Mistake::new(at("order_by"), "an order needs at least one column"));
        }
        if self.keys.is_none() {
            let message = "records that are the same in all columns have no order";
            mistakes.push(
                Mistake::new(at("order_by"), message).on_key().hint("name the key with `keys`"),
            );
        }
        if self.keep == Keep::Last {
            let message = "with `order_by`, the first record stays";
            mistakes.push(
                Mistake::new(at("keep"), message).on_key().hint(
                    "leave `keep` out, and write `order_by: [updated_at desc]` for the latest",
                ),
            );
        }
        mistakes
    }

    /// The first record of each key in an order, where it stood.
    fn ordered(
        &self,
        input: &SchemaRef,
        keys: &[usize],
        order: &[String],
    ) -> Result<Bound, Vec<Mistake>> {
        /// Where a record stands among those with its key. No column of a pipeline has such a name.
        const RANK: &str = " rank";
        let names = options::names(input);
        let (mut mistakes, mut sorted) = (Vec::new(), Vec::new());
        for (i, text) in order.iter().enumerate() {
            match keys::key(&names, text, Pointer::root().key("order_by").index(i)) {
                Ok(key) => sorted.push(key),
                Err(mistake) => mistakes.push(mistake),
            }
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        sorted.push(quoted(ROW));
        let key = |place: &usize| match input.field(*place).data_type() {
            // One zero.
            DataType::Float64 => format!("{} + 0.0", quoted(names[*place])),
            _ => quoted(names[*place]),
        };
        let keys: Vec<String> = keys.iter().map(key).collect();
        let (rank, row) = (quoted(RANK), quoted(ROW));
        let window = format!("PARTITION BY {} ORDER BY {}", keys.join(", "), sorted.join(", "));
        let rest = format!(
            "FROM (SELECT *, row_number() OVER ({window}) AS {rank} FROM {INPUT}) WHERE {rank} = 1 ORDER BY {row}"
        );
        let results = names.into_iter().chain([ROW]).map(column).collect();
        let query = select(results, &rest)
            .and_then(|statement| planned(statement, &[table(&with_row(input))]))
            .map_err(|found| vec![expression_mistake(Pointer::root(), found)])?;
        Ok(Tables::same_records(KIND.name, query, input)
            .counting_duplicates()
            .bound(Grain::Preserves))
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
        if let Some(order) = &self.order_by {
            return self.ordered(input, &keys, order);
        }
        let space = Space::default();
        let ordered: Box<dyn OrderedStep> = match self.keep {
            Keep::First => Box::new(KeepFirst { seen: Seen::new(space) }),
            Keep::Last => Box::new(KeepLast::new(space)),
        };
        Ok(Bound {
            local: Some(Box::new(HashKeys::new(input, keys, Nulls::Equal))),
            ordered: Some(ordered),
            output: Arc::clone(input),
            grain: Grain::Preserves,
        })
    }
}

/// Takes rows out as duplicates.
fn keep_only(batch: Batch, keep: Vec<bool>, findings: &mut Findings) -> Result<Batch> {
    let before = batch.num_rows();
    let batch = batch.filter_in_place(&keep)?;
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
        let Hashed { batch, hashes, .. } = Hashed::of(batch)?;
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
    /// No row of the columns.
    nothing: Option<RecordBatch>,
}

impl KeepLast {
    fn new(space: Space) -> Self {
        let quarter = space.memory / 4;
        let lasts = Lasts::new(Space { memory: quarter, ..space.clone() });
        let held = HeldBatches::new(Space { memory: space.memory - quarter, ..space });
        Self { lasts, held, resolved: false, nothing: None }
    }
}

impl OrderedStep for KeepLast {
    fn open(&mut self, space: Space) {
        *self = Self::new(space);
    }

    fn apply(&mut self, batch: Batch, _: &mut Findings) -> Result<Batch> {
        let Hashed { batch, hashes, .. } = Hashed::of(batch)?;
        self.lasts.add(&hashes)?;
        let nothing = self.nothing.get_or_insert_with(|| RecordBatch::new_empty(batch.schema()));
        let none = Rows::Some(Arc::default());
        let empty = Batch::new(nothing.clone(), Arc::clone(batch.origin()), none)?;
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

    fn keeps_within(&self) -> bool {
        true
    }
}
