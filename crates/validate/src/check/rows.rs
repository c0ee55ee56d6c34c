//! What each record has to do with the outcome of checks: four columns, as AWS Glue names them.
//!
//! A record passes or fails each rule that asks something of records one by one, uniqueness and references included, and a query that
//! gives the records that pass: it passes if the result has its values, in the columns that both have. A rule that
//! measures the whole, and a record that the rule's condition leaves out, are skipped.

use std::sync::{Arc, PoisonError};

use arrow_array::builder::{ListBuilder, StringViewBuilder};
use arrow_array::{ArrayRef, BooleanArray, RecordBatch, StringViewArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use gristmill_core::{Batch, Findings, OrderedStep, Result, Space};
use gristmill_parallel::KeyHash;
use gristmill_parallel::spill::{HeldBatches, Seen};

use super::bind::Bound;
use super::evaluate::with_keys;
use super::keys::collect;
use super::metric::Metric;
use super::{Rule, Test};

/// The columns that are added: three lists of rules, and `Passed` or `Failed`.
const COLUMNS: [&str; 4] = [
    "DataQualityRulesPass",
    "DataQualityRulesFail",
    "DataQualityRulesSkip",
    "DataQualityEvaluationResult",
];

/// The columns with those that are added.
pub(crate) fn with_results(schema: &Schema) -> SchemaRef {
    let item = Arc::new(Field::new("item", DataType::Utf8View, true));
    let lists =
        COLUMNS[..3].iter().map(|name| Field::new(*name, DataType::List(item.clone()), true));
    let result = Field::new(COLUMNS[3], DataType::Utf8View, true);
    let fields = schema.fields().iter().map(|field| field.as_ref().clone());
    let fields: Vec<Field> = fields.chain(lists).chain([result]).collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// How a record fares with a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Passes,
    Fails,
    Skipped,
}

/// Keys that tell how records fare with a test.
struct Told {
    /// Where the keys of the records are gathered.
    slot: usize,
    seen: Seen,
    /// Whether records pass whose key is among them.
    passes: bool,
    /// Whether records pass that have no key.
    without: bool,
}

/// Holds every batch back until all keys are counted, and gives it again with its results.
pub(crate) struct Marking {
    bound: Arc<Bound>,
    output: SchemaRef,
    space: Space,
    held: HeldBatches,
    /// For each test, the keys that tell how records fare; once the last batch has come.
    told: Option<Vec<Option<Told>>>,
}

impl Marking {
    pub(crate) fn new(bound: Arc<Bound>, output: SchemaRef) -> Self {
        let space = Space::default();
        Self { bound, output, held: HeldBatches::new(space.clone()), space, told: None }
    }

    fn told(&self) -> Result<Vec<Option<Told>>> {
        let tests = self.bound.checks.iter().flat_map(|check| check.rule.tests());
        let (own, others) = (&self.bound.gatherer, &self.bound.references);
        let memory = self.space.memory / 4 / self.bound.slots.len().max(1);
        let mut all = Vec::new();
        for (test, (index, slots)) in tests.zip(self.bound.slots.iter().enumerate()) {
            let part = match &test.metric {
                Metric::PrimaryKey(_) => 1,
                Metric::DatasetMatch { .. } => 2,
                Metric::Uniqueness(..)
                | Metric::UniqueValueRatio(..)
                | Metric::ReferentialIntegrity { .. } => 0,
                _ => {
                    all.push(None);
                    continue;
                }
            };
            let mut seen = Seen::new(Space { memory, ..self.space.clone() });
            let passes = match &test.metric {
                Metric::ReferentialIntegrity { reference, .. }
                | Metric::DatasetMatch { reference, .. } => {
                    let theirs = others.of(reference);
                    let slot = theirs.slots(index)[part];
                    with_keys(&theirs.gatherer, slot, |it| collect(it, &mut seen, |_| true))?;
                    true
                }
                _ => {
                    let repeated = |count| count > 1;
                    with_keys(own, slots[part], |it| collect(it, &mut seen, repeated))?;
                    false
                }
            };
            // A record without a key is as unique as can be and refers to nothing, but it has no primary key.
            let without = !matches!(test.metric, Metric::PrimaryKey(_));
            all.push(Some(Told { slot: slots[part], seen, passes, without }));
        }
        Ok(all)
    }

    fn mark(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        let bound = Arc::clone(&self.bound);
        let mut told = match self.told.take() {
            Some(told) => told,
            None => self.told()?,
        };
        let mut next = 0;
        let mut fates = Vec::with_capacity(bound.checks.len());
        for check in &bound.checks {
            fates.push(fates_of(&check.rule, &bound, &mut told, &mut next, batch)?);
        }
        self.told = Some(told);
        let list = |wanted: Fate| -> ArrayRef {
            let mut lists = ListBuilder::new(StringViewBuilder::new());
            for row in 0..batch.num_rows() {
                for (check, fates) in bound.checks.iter().zip(&fates) {
                    if fates[row] == wanted {
                        lists.values().append_value(&check.name);
                    }
                }
                lists.append(true);
            }
            Arc::new(lists.finish())
        };
        let failed = |row: usize| fates.iter().any(|fates| fates[row] == Fate::Fails);
        let result = (0..batch.num_rows()).map(|row| if failed(row) { "Failed" } else { "Passed" });
        let result: ArrayRef = Arc::new(StringViewArray::from_iter_values(result));
        let lists = [Fate::Passes, Fate::Fails, Fate::Skipped].map(list);
        let columns = batch.columns().iter().cloned().chain(lists).chain([result]).collect();
        Ok(RecordBatch::try_new(Arc::clone(&self.output), columns)?)
    }
}

impl OrderedStep for Marking {
    fn open(&mut self, space: Space) {
        let held = Space { memory: space.memory / 2, ..space.clone() };
        self.held = HeldBatches::new(held);
        self.space = space;
    }

    fn apply(&mut self, batch: Batch, _: &mut Findings) -> Result<Batch> {
        let columns = RecordBatch::new_empty(Arc::clone(&self.output));
        let none = BooleanArray::from(vec![false; batch.num_rows()]);
        let empty = batch.clone().filter(&none)?.with_columns(columns)?;
        let notes = vec![0; batch.num_rows()];
        self.held.push(batch, notes)?;
        Ok(empty)
    }

    fn release(&mut self, _: &mut Findings) -> Result<Option<Batch>> {
        let Some((batch, _)) = self.held.pop()? else { return Ok(None) };
        let columns = self.mark(batch.columns())?;
        batch.with_columns(columns).map(Some)
    }
}

fn fates_of(
    rule: &Rule,
    bound: &Bound,
    told: &mut [Option<Told>],
    next: &mut usize,
    batch: &RecordBatch,
) -> Result<Vec<Fate>> {
    let (rules, all) = match rule {
        Rule::Test(test) => {
            *next += 1;
            return fates_of_test(test, bound, *next - 1, told, batch);
        }
        Rule::All(rules) => (rules, true),
        Rule::Any(rules) => (rules, false),
    };
    let mut joined: Option<Vec<Fate>> = None;
    for rule in rules {
        let fates = fates_of(rule, bound, told, next, batch)?;
        joined = Some(match joined {
            None => fates,
            Some(before) => before.into_iter().zip(fates).map(|(a, b)| join(a, b, all)).collect(),
        });
    }
    Ok(joined.unwrap_or_else(|| vec![Fate::Skipped; batch.num_rows()]))
}

/// Of two rules together, the one that decides; else what was skipped.
fn join(a: Fate, b: Fate, all: bool) -> Fate {
    let decides = if all { Fate::Fails } else { Fate::Passes };
    match (a, b) {
        (a, b) if a == decides || b == decides => decides,
        (Fate::Skipped, _) | (_, Fate::Skipped) => Fate::Skipped,
        (a, _) => a,
    }
}

fn fates_of_test(
    test: &Test,
    bound: &Bound,
    index: usize,
    told: &mut [Option<Told>],
    batch: &RecordBatch,
) -> Result<Vec<Fate>> {
    let slots = &bound.slots[index];
    let gatherer = &bound.gatherer;
    let passes: Vec<bool> = match (&test.metric, &mut told[index]) {
        (Metric::Completeness(_) | Metric::Share(_) | Metric::Count(_), _) => {
            gatherer.passes(slots[1], batch)?
        }
        (Metric::Query { .. }, _) => {
            let mut queries = bound.queries.lock().unwrap_or_else(PoisonError::into_inner);
            let query = queries.iter_mut().find(|query| query.test == index);
            let given = query.map(|query| query.gives(batch)).transpose()?.flatten();
            let fate = |given| if given { Fate::Passes } else { Fate::Fails };
            let skipped = || vec![Fate::Skipped; batch.num_rows()];
            return Ok(given.map_or_else(skipped, |given| given.into_iter().map(fate).collect()));
        }
        (_, Some(Told { slot, seen, passes, without })) => {
            let keys: Vec<Option<KeyHash>> = gatherer.keys(*slot, batch);
            seen.fetch(&keys.iter().flatten().copied().collect::<Vec<_>>())?;
            let fares = |key: KeyHash| seen.get(key).is_some() == *passes;
            keys.into_iter().map(|key| key.map_or(*without, fares)).collect()
        }
        _ => return Ok(vec![Fate::Skipped; batch.num_rows()]),
    };
    let asked = gatherer.asked(slots[0], batch)?;
    let fate = |(row, passes)| match (asked.as_ref().is_none_or(|asked| asked.value(row)), passes) {
        (false, _) => Fate::Skipped,
        (true, true) => Fate::Passes,
        (true, false) => Fate::Fails,
    };
    Ok(passes.into_iter().enumerate().map(fate).collect())
}
