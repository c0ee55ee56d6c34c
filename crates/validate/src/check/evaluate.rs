//! What checks come to, once everything has been gathered.

use std::sync::PoisonError;

use arrow_schema::{DataType, Schema};
use gristmill_core::types::type_name;
use gristmill_core::{CheckContext, CheckResult, Error, ErrorKind, Observation, Result};
use gristmill_parallel::spill::Counts;

use super::bind::Bound;
use super::expect::{Expect, Past, Verdict, number, time};
use super::gather::{Gathered, Gatherer};
use super::keys::{KeyFacts, key_facts, quantiles};
use super::metric::{Aggregate, Metric};
use super::references::Read;
use super::{Rule, Test, files};

/// Judges all checks.
///
/// # Errors
/// When the disk or the ledger fails.
pub(crate) fn judge(bound: &Bound, context: &dyn CheckContext) -> Result<Vec<CheckResult>> {
    let mut judging = Judging { bound, context, next: 0, observed: Vec::new() };
    let mut results = Vec::with_capacity(bound.checks.len());
    for check in &bound.checks {
        let verdict = judging.rule(&check.rule)?;
        results.push(CheckResult {
            name: check.name.clone(),
            passed: verdict.is_none(),
            severity: check.severity,
            observed: std::mem::take(&mut judging.observed),
            message: verdict,
            labels: check.labels.clone(),
        });
    }
    Ok(results)
}

struct Judging<'a> {
    bound: &'a Bound,
    context: &'a dyn CheckContext,
    /// The test that comes next.
    next: usize,
    observed: Vec<Observation>,
}

impl Judging<'_> {
    /// What is wrong, if anything is.
    fn rule(&mut self, rule: &Rule) -> Result<Option<String>> {
        match rule {
            Rule::Test(test) => self.test(test),
            Rule::All(rules) => {
                let mut failures = Vec::new();
                for rule in rules {
                    failures.extend(self.rule(rule)?);
                }
                Ok((!failures.is_empty()).then(|| failures.join("; ")))
            }
            Rule::Any(rules) => {
                let mut failures = Vec::new();
                for rule in rules {
                    failures.extend(self.rule(rule)?);
                }
                Ok((failures.len() == rules.len()).then(|| failures.join("; and ")))
            }
        }
    }

    fn test(&mut self, test: &Test) -> Result<Option<String>> {
        let index = self.next;
        self.next += 1;
        let measure = test.measure();
        let value = self.value(test, index)?;
        self.observed.push(Observation { measure: measure.clone(), value });
        let past = LastValues { context: self.context, measure: &measure };
        let Some(value) = value else {
            if test.expect == Expect::Anything {
                return Ok(None);
            }
            let kind = if let Metric::Correlation(..) = test.metric {
                "one of the columns does not vary"
            } else {
                "there is no value to measure"
            };
            return Ok(Some(format!("{measure}: {kind}, expected {}", test.expect)));
        };
        Ok(match test.expect.judge(value, &past)? {
            Verdict::Passed => None,
            Verdict::Failed(expected) => {
                let shown = self.shown(&test.metric, value);
                let lacks = self.lacks(&test.metric, index);
                Some(format!("{measure} is {shown}, expected {expected}{lacks}"))
            }
        })
    }

    /// A measured value as people read it.
    fn shown(&self, metric: &Metric, value: f64) -> String {
        if let Metric::Minimum(name) | Metric::Maximum(name) | Metric::Quantile(name, _) = metric
            && let Ok(field) = self.bound.gatherer.schema.field_with_name(name)
            && is_time(field.data_type())
        {
            return time(value);
        }
        number(value)
    }

    /// The values that should occur and do not, as they go on a message.
    fn lacks(&self, metric: &Metric, index: usize) -> String {
        const SHOWN: usize = 10;
        let Metric::Coverage(_, values) = metric else { return String::new() };
        let found = self.bound.gatherer.found(self.bound.slots[index][0]).unwrap_or_default();
        let missing = values.iter().zip(found).filter(|(_, found)| !found);
        let missing: Vec<String> = missing.map(|(value, _)| format!("`{value}`")).collect();
        let more = match missing.len().saturating_sub(SHOWN) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let named = missing[..missing.len().min(SHOWN)].join(", ");
        if named.is_empty() { named } else { format!("; it lacks {named}{more}") }
    }

    fn value(&self, test: &Test, index: usize) -> Result<Option<f64>> {
        let slots = &self.bound.slots[index];
        let gatherer = &self.bound.gatherer;
        let schema = &gatherer.schema;
        let share = |of: u64, all: u64| Some(if all == 0 { 1.0 } else { of as f64 / all as f64 });
        let data_type = |name: &str| schema.field_with_name(name).map(|f| f.data_type().clone());
        Ok(match &test.metric {
            Metric::RowCount => Some(count(gatherer, slots[0]) as f64),
            Metric::ColumnCount => Some(schema.fields().len() as f64),
            Metric::Completeness(_) | Metric::Share(_) => {
                share(count(gatherer, slots[1]), count(gatherer, slots[0]))
            }
            Metric::Count(_) => Some(count(gatherer, slots[1]) as f64),
            Metric::PrimaryKey(_) => {
                let once = with_keys(gatherer, slots[1], key_facts)?.once;
                share(once, count(gatherer, slots[0]))
            }
            Metric::Uniqueness(..) => {
                let facts = facts_of(gatherer, slots)?;
                share(facts.once, facts.records)
            }
            Metric::UniqueValueRatio(..) => {
                let facts = facts_of(gatherer, slots)?;
                share(facts.once, facts.distinct)
            }
            Metric::DistinctCount(..) => Some(facts_of(gatherer, slots)?.distinct as f64),
            Metric::Coverage(..) => gatherer.found(slots[0]).and_then(|found| {
                share(found.iter().filter(|it| **it).count() as u64, found.len() as u64)
            }),
            Metric::Entropy(_) => {
                let facts = with_keys(gatherer, slots[0], key_facts)?;
                (facts.records > 0).then_some(facts.entropy)
            }
            Metric::Quantile(name, at) => {
                let data_type = data_type(name)?;
                with_keys(gatherer, slots[0], |counts| quantiles(counts, &[*at], &data_type))?
                    .into_iter()
                    .next()
                    .flatten()
            }
            Metric::Sum(name) | Metric::Mean(name) => {
                let data_type = data_type(name)?;
                let Gathered::Numbers(numbers) = &*gatherer.gathered(slots[0]) else {
                    return Ok(None);
                };
                match &test.metric {
                    Metric::Sum(_) => Some(numbers.sum(&data_type)),
                    _ => numbers.mean(&data_type),
                }
            }
            Metric::StandardDeviation(_)
            | Metric::Minimum(_)
            | Metric::Maximum(_)
            | Metric::Age(_) => {
                let Gathered::Numbers(numbers) = &*gatherer.gathered(slots[0]) else {
                    return Ok(None);
                };
                match &test.metric {
                    Metric::StandardDeviation(_) => numbers.standard_deviation(),
                    Metric::Minimum(_) => numbers.extremes.map(|(least, _)| least),
                    Metric::Maximum(_) => numbers.extremes.map(|(_, most)| most),
                    _ => numbers.extremes.map(|(_, newest)| seconds(self.context) - newest),
                }
            }
            Metric::MinimumLength(_) | Metric::MaximumLength(_) => {
                let Gathered::Lengths(lengths) = &*gatherer.gathered(slots[0]) else {
                    return Ok(None);
                };
                lengths.map(|(least, most)| match &test.metric {
                    Metric::MinimumLength(_) => least as f64,
                    _ => most as f64,
                })
            }
            Metric::Correlation(..) => match &*gatherer.gathered(slots[0]) {
                Gathered::Pair(pair) => pair.correlation(),
                _ => None,
            },
            Metric::ColumnExists(name) => {
                Some(f64::from(u8::from(schema.column_with_name(name).is_some())))
            }
            Metric::ColumnNames(pattern) => {
                let pattern = regex::Regex::new(&format!("^(?:{pattern})$"))
                    .map_err(|error| Error::new(ErrorKind::Configuration, error.to_string()))?;
                let fits = schema.fields().iter().filter(|field| pattern.is_match(field.name()));
                share(fits.count() as u64, schema.fields().len() as u64)
            }
            Metric::Schema(declared) => {
                let columns = declared.iter().map(|(name, t)| (name.clone(), t.to_string()));
                Some(same_columns(schema, &columns.collect::<Vec<_>>()))
            }
            Metric::Files { path, choice, test } => {
                files::share(path.as_deref(), choice, test, self.context)?
            }
            Metric::ReferentialIntegrity { reference, .. } => {
                let Read { gatherer: them, .. } = self.bound.references.of(reference);
                let theirs = self.bound.references.of(reference).slots(index);
                let mut mine = Totals::default();
                self.join((gatherer, slots[0]), (them, theirs[0]), |count, other| {
                    mine.all += count;
                    mine.shared += if other > 0 { count } else { 0 };
                })?;
                share(mine.shared, mine.all)
            }
            Metric::Query { .. } => {
                let records = slots.first().map_or(0, |slot| count(gatherer, *slot));
                let queries = self.bound.queries.lock().unwrap_or_else(PoisonError::into_inner);
                match queries.iter().find(|query| query.test == index) {
                    Some(query) => query.answer(records)?,
                    None => return Err(Error::internal("a query was not asked")),
                }
            }
            Metric::RowCountMatch(reference) => {
                let theirs = self.bound.references.of(reference);
                let them = count(&theirs.gatherer, theirs.slots(index)[0]);
                (them > 0).then(|| count(gatherer, slots[0]) as f64 / them as f64)
            }
            Metric::SchemaMatch(reference) => {
                let them = &self.bound.references.of(reference).gatherer.schema;
                let columns = them.fields().iter().map(|f| (f.name().clone(), type_name(f)));
                Some(same_columns(schema, &columns.collect::<Vec<_>>()))
            }
            Metric::AggregateMatch(a, b) => {
                let mut own = slots.iter();
                let mut values = Vec::new();
                for aggregate in [a, b] {
                    let (gatherer, slot) = match &aggregate.reference {
                        None => (gatherer, own.next().copied()),
                        Some(name) => {
                            let reference = self.bound.references.of(name);
                            let slot = reference.aggregates.get(&(index, aggregate.to_string()));
                            (&reference.gatherer, slot.copied())
                        }
                    };
                    values.push(slot.and_then(|slot| aggregated(gatherer, slot, aggregate)));
                }
                match values.as_slice() {
                    [Some(a), Some(b)] if a == b => Some(1.0),
                    [Some(a), Some(b)] if *b != 0.0 => Some(a / b),
                    _ => None,
                }
            }
            Metric::DatasetMatch { reference, .. } => {
                let Read { gatherer: them, .. } = self.bound.references.of(reference);
                let theirs = self.bound.references.of(reference).slots(index);
                for (side, gatherer, slots) in
                    [("the input", gatherer, slots.as_slice()), (reference.as_str(), them, theirs)]
                {
                    let facts = with_keys(gatherer, slots[1], key_facts)?;
                    if facts.once != count(gatherer, slots[0]) {
                        let message = format!(
                            "{}: its keys are not unique and complete in {side}",
                            test.metric
                        );
                        return Err(Error::new(ErrorKind::Stopped, message)
                            .hint("records are compared by key; compare sums or counts instead"));
                    }
                }
                let mut same = 0;
                self.join((gatherer, slots[2]), (them, theirs[2]), |mine, other| {
                    same += mine.min(other);
                })?;
                share(same, count(gatherer, slots[0]).max(count(them, theirs[0])))
            }
        })
    }

    /// Goes over the keys of one side, with how often each comes there and on the other side.
    fn join(
        &self,
        mine: (&Gatherer, usize),
        theirs: (&Gatherer, usize),
        mut each: impl FnMut(u64, u64),
    ) -> Result<()> {
        let (mut mine, mut theirs) = (mine.0.gathered(mine.1), theirs.0.gathered(theirs.1));
        let (Gathered::Keys(mine), Gathered::Keys(theirs)) = (&mut *mine, &mut *theirs) else {
            return Err(Error::internal("keys were compared where none were counted"));
        };
        let mut theirs = theirs.entries()?.peekable();
        for entry in mine.entries()? {
            let (key, count) = entry?;
            let before = |other: &Result<(_, _)>| match other {
                Ok((other, _)) => *other < key,
                Err(_) => false,
            };
            while theirs.next_if(before).is_some() {}
            let same = |other: &Result<(_, _)>| match other {
                Ok((other, _)) => *other == key,
                Err(_) => true,
            };
            each(count, theirs.next_if(same).transpose()?.map_or(0, |(_, count)| count));
        }
        Ok(())
    }
}

#[derive(Default)]
struct Totals {
    all: u64,
    shared: u64,
}

fn seconds(context: &dyn CheckContext) -> f64 {
    context.now().timestamp_micros() as f64 / 1e6
}

fn is_time(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Date32 | DataType::Date64 | DataType::Timestamp(..))
}

fn count(gatherer: &Gatherer, slot: usize) -> u64 {
    match &*gatherer.gathered(slot) {
        Gathered::Count(count) => *count,
        _ => 0,
    }
}

pub(super) fn with_keys<T>(
    gatherer: &Gatherer,
    slot: usize,
    read: impl FnOnce(&mut Counts) -> Result<T>,
) -> Result<T> {
    match &mut *gatherer.gathered(slot) {
        Gathered::Keys(counts) => read(counts),
        _ => Err(Error::internal("keys were asked for where none were counted")),
    }
}

/// What the keys of a metric say. Where records are counted besides, those without a key are each unique.
fn facts_of(gatherer: &Gatherer, slots: &[usize]) -> Result<KeyFacts> {
    let mut facts = with_keys(gatherer, slots[0], key_facts)?;
    if let Some(rows) = slots.get(1) {
        let alone = count(gatherer, *rows) - facts.records;
        facts.records += alone;
        facts.distinct += alone;
        facts.once += alone;
    }
    Ok(facts)
}

fn aggregated(gatherer: &Gatherer, slot: usize, aggregate: &Aggregate) -> Option<f64> {
    let data_type = gatherer.schema.field_with_name(&aggregate.column).ok()?.data_type();
    match &*gatherer.gathered(slot) {
        Gathered::Numbers(numbers) if aggregate.mean => numbers.mean(data_type),
        Gathered::Numbers(numbers) => Some(numbers.sum(data_type)),
        _ => None,
    }
}

/// The share of columns that are in both, with the same type, of those that are in either.
fn same_columns(schema: &Schema, others: &[(String, String)]) -> f64 {
    let mine: Vec<(String, String)> =
        schema.fields().iter().map(|field| (field.name().clone(), type_name(field))).collect();
    let same = others.iter().filter(|other| mine.contains(other)).count();
    let names: std::collections::BTreeSet<&String> =
        mine.iter().chain(others).map(|(name, _)| name).collect();
    if names.is_empty() { 1.0 } else { same as f64 / names.len() as f64 }
}

/// The past of one measure.
pub(super) struct LastValues<'a> {
    pub(super) context: &'a dyn CheckContext,
    pub(super) measure: &'a str,
}

impl Past for LastValues<'_> {
    fn last(&self, n: usize) -> Result<Vec<f64>> {
        self.context.history(self.measure, n)
    }

    fn now(&self) -> f64 {
        seconds(self.context)
    }
}
