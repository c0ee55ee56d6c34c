//! The step that profiles what passes it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arrow_array::{ArrayRef, RecordBatch, StringViewArray};
use arrow_schema::{DataType, SchemaRef};
use gristmill_core::types::type_name;
use gristmill_core::{
    Batch, BindContext, Bound, CheckContext, CheckResult, Findings, Grain, Mistake, Result, Space,
    Step, StepPlan,
};
use gristmill_parallel::spill::Counts;
use serde_json::Value;

use super::shapes::{Tally, tally};
use super::{ColumnProfile, Counted, NumberProfile, Profile, Quantile};
use crate::check::gather::{Gathered, Gatherer, What};
use crate::check::keys::{Skip, key_facts, keys, number_of_key, quantiles};
use crate::check::{number, time};
use crate::limit::Measure;

/// Parts of a histogram.
const BARS: usize = 24;
/// Values and patterns that are shown.
const TOP: usize = 10;
/// Texts that are shown.
const MOST: usize = 20;
const SHARES: [f64; 5] = [0.05, 0.25, 0.5, 0.75, 0.95];

/// Profiles the records that pass. Its profile is what it reports.
#[derive(Debug, Clone, Copy, Default)]
pub struct Profiling;

impl StepPlan for Profiling {
    fn bind(&self, input: &SchemaRef, _: &BindContext<'_>) -> Result<Bound, Vec<Mistake>> {
        let mut gatherer = Gatherer::new(input);
        let rows = gatherer.plain(What::Rows);
        let columns = input.fields().iter().enumerate().map(|(index, field)| Slots {
            complete: gatherer.plain(What::Complete(index)),
            keys: gatherer.plain(What::Keys { columns: vec![index], skip: Skip::Any }),
            numbers: Measure::of(field.data_type()).map(|_| gatherer.plain(What::Numbers(index))),
            lengths: gatherer.plain(What::Lengths(index)),
            texts: Mutex::new(None),
        });
        let columns = columns.collect();
        let local = Local { gatherer, rows, columns, profile: OnceLock::new() };
        Ok(Bound {
            local: Some(Box::new(local)),
            ordered: None,
            output: input.clone(),
            grain: Grain::Preserves,
        })
    }
}

struct Local {
    gatherer: Gatherer,
    rows: usize,
    columns: Vec<Slots>,
    profile: OnceLock<Profile>,
}

/// Where the parts of a column are gathered.
struct Slots {
    complete: usize,
    keys: usize,
    numbers: Option<usize>,
    lengths: usize,
    /// Values and patterns.
    texts: Mutex<Option<(Tally, Tally)>>,
}

impl Step for Local {
    fn apply(&self, batch: Batch, _: &mut Findings) -> Result<Batch> {
        self.gatherer.add(batch.columns())?;
        for (array, slots) in batch.columns().columns().iter().zip(&self.columns) {
            let Some((values, patterns)) = tally(array) else { continue };
            let mut all = slots.texts.lock().unwrap_or_else(PoisonError::into_inner);
            match &mut *all {
                Some(all) => {
                    all.0.merge(values);
                    all.1.merge(patterns);
                }
                none => *none = Some((values, patterns)),
            }
        }
        Ok(batch)
    }

    fn remembers(&self) -> bool {
        true
    }

    fn open(&mut self, space: Space) {
        self.gatherer.open(&space);
    }

    fn verdict(&self, _: &dyn CheckContext) -> Result<Vec<CheckResult>> {
        let columns = self.columns.iter().enumerate();
        let columns = columns.map(|(index, slots)| self.column(index, slots));
        let columns = columns.collect::<Result<_>>()?;
        let _ = self.profile.set(Profile { records: self.count(self.rows), columns });
        Ok(Vec::new())
    }

    fn report(&self) -> Option<Value> {
        serde_json::to_value(self.profile.get()?).ok()
    }
}

impl Local {
    fn count(&self, slot: usize) -> u64 {
        match &*self.gatherer.gathered(slot) {
            Gathered::Count(count) => *count,
            _ => 0,
        }
    }

    fn column(&self, index: usize, slots: &Slots) -> Result<ColumnProfile> {
        let field = self.gatherer.schema.field(index);
        let data_type = field.data_type();
        let mut column = ColumnProfile {
            name: field.name().clone(),
            type_name: type_name(field),
            nulls: self.count(self.rows) - self.count(slots.complete),
            ..ColumnProfile::default()
        };
        let shown = |value: f64| shown(value, data_type);
        let mut ends = None;
        if let Some(slot) = slots.numbers
            && let Gathered::Numbers(numbers) = &*self.gatherer.gathered(slot)
        {
            ends = numbers.extremes;
            let is_number = Measure::of(data_type).is_some_and(Measure::is_number);
            column.numbers = match (ends, numbers.mean(data_type), numbers.standard_deviation()) {
                (Some((min, _)), Some(mean), Some(stddev)) if is_number => {
                    Some(NumberProfile { sum: numbers.sum(data_type), mean, stddev, min })
                }
                _ => None,
            };
        }
        column.min = ends.map(|(least, _)| shown(least));
        column.max = ends.map(|(_, most)| shown(most));
        if let Gathered::Keys(counts) = &mut *self.gatherer.gathered(slots.keys) {
            let facts = key_facts(counts)?;
            column.distinct = facts.distinct;
            column.once = facts.once;
            if let Some((least, most)) = ends {
                let values = quantiles(counts, &SHARES, data_type)?;
                let quantile =
                    |(at, value): (f64, Option<f64>)| Some(Quantile { at, value: shown(value?) });
                column.quantiles = SHARES.into_iter().zip(values).filter_map(quantile).collect();
                (column.histogram, column.top) = spread(counts, least, most, data_type)?;
            }
        }
        if let Gathered::Lengths(lengths) = &*self.gatherer.gathered(slots.lengths) {
            column.lengths = lengths.map(|(least, most)| [least, most]);
        }
        let texts = slots.texts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((values, patterns)) = &*texts {
            column.top = match values.is_complete() {
                true => values.top(MOST).0,
                false => self.frequent(index, slots, values)?,
            };
            let (patterns, all) = patterns.top(TOP);
            column.all_patterns = all == patterns.len();
            column.patterns = patterns;
        }
        Ok(column)
    }
}

impl Local {
    /// The most frequent texts, of a column with very many: their counts are those of its keys.
    fn frequent(&self, index: usize, slots: &Slots, kept: &Tally) -> Result<Vec<Counted>> {
        let texts: Vec<&str> = kept.texts().collect();
        let array: ArrayRef = Arc::new(StringViewArray::from_iter_values(&texts));
        let name = self.gatherer.schema.field(index).name();
        let batch = RecordBatch::try_from_iter([(name, array)])?;
        // Texts have one key whatever the type that holds them.
        let keys = keys(&batch, &[0], Skip::Any);
        let by_key = keys.into_iter().zip(texts).filter_map(|(key, text)| Some((key?, text)));
        let by_key: HashMap<_, _> = by_key.collect();
        let least = self.count(slots.complete) / kept.rare() + 1;
        let mut found: Vec<(u64, &str)> = Vec::new();
        if let Gathered::Keys(counts) = &mut *self.gatherer.gathered(slots.keys) {
            counts.each(|key, count| {
                if count >= least {
                    found.extend(by_key.get(&key).map(|text| (count, *text)));
                }
            })?;
        }
        found.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(b.1)));
        found.truncate(MOST);
        let counted = |(count, value): (u64, &str)| Counted { value: value.to_owned(), count };
        Ok(found.into_iter().map(counted).collect())
    }
}

/// How many values are in each part from the least to the greatest, and the most frequent ones.
fn spread(
    counts: &mut Counts,
    least: f64,
    most: f64,
    data_type: &DataType,
) -> Result<(Vec<u64>, Vec<Counted>)> {
    let mut bars = vec![0; BARS];
    let mut top: Vec<(u64, f64)> = Vec::new();
    let width = (most - least) / BARS as f64;
    counts.each(|key, count| {
        let Some(value) = number_of_key(key, data_type) else { return };
        if value.is_finite() && width > 0.0 {
            bars[(((value - least) / width) as usize).min(BARS - 1)] += count;
        }
        // Of those of one count, the least come first.
        let at = top.partition_point(|(other, _)| *other >= count);
        if at < TOP {
            top.insert(at, (count, value));
            top.truncate(TOP);
        }
    })?;
    if width.is_nan() || width <= 0.0 || !width.is_finite() {
        bars.clear();
    }
    let counted = |(count, value)| Counted { value: shown(value, data_type), count };
    Ok((bars, top.into_iter().map(counted).collect()))
}

/// A value of a column as people read it.
fn shown(value: f64, data_type: &DataType) -> String {
    match Measure::of(data_type) {
        Some(Measure::Instant(_)) => time(value),
        Some(Measure::TimeOfDay(_)) => {
            let whole = value as u64;
            format!("{:02}:{:02}:{:02}", whole / 3_600, whole / 60 % 60, whole % 60)
        }
        _ => number(value),
    }
}
