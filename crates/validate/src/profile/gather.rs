//! The step that profiles what passes it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use arrow_array::{ArrayRef, RecordBatch, StringViewArray};
use arrow_schema::{DataType, SchemaRef};
use gristmill_core::types::type_name;
use gristmill_core::{
    Batch, BindContext, Bound, CheckContext, CheckResult, Findings, Grain, Mistake, Result, Space,
    Step, StepPlan,
};
use gristmill_parallel::KeyHash;
use gristmill_parallel::spill::Counts;
use serde_json::Value;

use super::shapes::{Tally, Texts};
use super::{ColumnProfile, Counted, NumberProfile, Profile, Quantile};
use crate::check::gather::{Gathered, Gatherer, What};
use crate::check::keys::{Skip, keys, number_of_key};
use crate::check::{number, time};
use crate::key::KeyReader;
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
        let columns = input.fields().iter().enumerate().map(|(index, field)| {
            use DataType::{LargeUtf8, Utf8, Utf8View};
            let complete = gatherer.plain(What::Complete(index));
            let of = match field.data_type() {
                Utf8View | Utf8 | LargeUtf8 => Of::Texts {
                    counts: RwLock::new(Counts::new(Space::default())),
                    texts: Box::default(),
                },
                data_type => Of::Values {
                    keys: gatherer.plain(What::Keys { columns: vec![index], skip: Skip::Any }),
                    numbers: Measure::of(data_type).map(|_| gatherer.plain(What::Numbers(index))),
                },
            };
            Slots { complete, of }
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
    of: Of,
}

enum Of {
    /// How often each text comes, by its key; and what else there is to say of texts.
    Texts {
        counts: RwLock<Counts>,
        texts: Box<Mutex<Option<Texts>>>,
    },
    Values {
        keys: usize,
        numbers: Option<usize>,
    },
}

impl Step for Local {
    fn apply(&self, batch: Batch, _: &mut Findings) -> Result<Batch> {
        let columns = batch.columns();
        self.gatherer.add(columns)?;
        for (index, slots) in self.columns.iter().enumerate() {
            let Of::Texts { counts, texts: all } = &slots.of else { continue };
            let Some(mut texts) = Texts::of(columns.column(index)) else { continue };
            let different = std::mem::take(&mut texts.different);
            let (mut reader, place) = (KeyReader::new(columns, &[index]), [0; 2]);
            // Each row that stands for others has a text, and so a key.
            let key = |(row, times): (u32, u64)| (reader.key(row as usize).unwrap_or(place), times);
            counts
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .add_times(different.into_iter().map(key))?;
            let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
            match &mut *all {
                Some(all) => all.merge(texts),
                none => *none = Some(texts),
            }
        }
        Ok(batch)
    }

    fn remembers(&self) -> bool {
        true
    }

    fn open(&mut self, space: Space) {
        let is_text = |slots: &&Slots| matches!(slots.of, Of::Texts { .. });
        let texts = self.columns.iter().filter(is_text).count();
        let each = space.memory / self.columns.len().max(1);
        for slots in &self.columns {
            if let Of::Texts { counts, .. } = &slots.of {
                let own = Counts::new(Space { memory: each, ..space.clone() });
                *counts.write().unwrap_or_else(PoisonError::into_inner) = own;
            }
        }
        self.gatherer.open(&Space { memory: space.memory - each * texts, ..space });
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
        match &slots.of {
            Of::Values { keys, numbers } => {
                self.values(&mut column, data_type, slots.complete, (*keys, *numbers))?;
            }
            Of::Texts { counts, texts } => {
                let counts = &mut *counts.write().unwrap_or_else(PoisonError::into_inner);
                let texts = texts.lock().unwrap_or_else(PoisonError::into_inner);
                self.texts(&mut column, slots.complete, counts, texts.as_ref())?;
            }
        }
        Ok(column)
    }

    fn values(
        &self,
        column: &mut ColumnProfile,
        data_type: &DataType,
        complete: usize,
        (keys, numbers): (usize, Option<usize>),
    ) -> Result<()> {
        let shown = |value: f64| shown(value, data_type);
        let mut ends = None;
        if let Some(slot) = numbers
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
        let Gathered::Keys(counts) = &mut *self.gatherer.gathered(keys) else { return Ok(()) };
        let Some(ends) = ends else { return count(counts, column, |_, _| {}) };
        // Keys come in the order of the values.
        let records = self.count(complete);
        let mut spread = Spread::new(ends, records);
        count(counts, column, |key, count| {
            if let Some(value) = number_of_key(key, data_type) {
                spread.add(value, count);
            }
        })?;
        let Spread { found, bars, top, .. } = spread;
        let quantile = |(at, value)| Quantile { at, value: shown(value) };
        column.quantiles = SHARES.into_iter().zip(found).map(quantile).collect();
        column.histogram = bars;
        let counted = |(count, value)| Counted { value: shown(value), count };
        column.top = top.into_iter().map(counted).collect();
        Ok(())
    }

    fn texts(
        &self,
        column: &mut ColumnProfile,
        complete: usize,
        counts: &mut Counts,
        texts: Option<&Texts>,
    ) -> Result<()> {
        let Some(Texts { values, patterns, lengths, .. }) = texts else { return Ok(()) };
        column.lengths = *lengths;
        let (patterns, all) = patterns.top(TOP);
        column.all_patterns = all == patterns.len();
        column.patterns = patterns;
        if values.is_complete() {
            column.top = values.top(MOST).0;
            return count(counts, column, |_, _| {});
        }
        // Of very many texts, counts are those of their keys.
        let kept = by_key(values)?;
        let least = self.count(complete) / values.rare() + 1;
        let mut found: Vec<(u64, &str)> = Vec::new();
        count(counts, column, |key, count| {
            if count >= least {
                found.extend(kept.get(&key).map(|text| (count, *text)));
            }
        })?;
        found.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(b.1)));
        found.truncate(MOST);
        let counted = |(count, value): (u64, &str)| Counted { value: value.to_owned(), count };
        column.top = found.into_iter().map(counted).collect();
        Ok(())
    }
}

/// Says how many keys there are, and looks at each.
fn count(
    counts: &mut Counts,
    column: &mut ColumnProfile,
    mut each: impl FnMut(KeyHash, u64),
) -> Result<()> {
    counts.each(|key, count| {
        column.distinct += 1;
        column.once += u64::from(count == 1);
        each(key, count);
    })
}

/// The texts that are kept, by their keys.
fn by_key(kept: &Tally) -> Result<HashMap<KeyHash, &str>> {
    let texts: Vec<&str> = kept.texts().collect();
    let array: ArrayRef = Arc::new(StringViewArray::from_iter_values(&texts));
    let batch = RecordBatch::try_from_iter([("", array)])?;
    // Texts have one key whatever the type that holds them.
    let keys = keys(&batch, &[0], Skip::Any);
    Ok(keys.into_iter().zip(texts).filter_map(|(key, text)| Some((key?, text))).collect())
}

/// What values say that come in their order, each with how often it comes.
struct Spread {
    /// Which of the records have the values that shares of them do not exceed, and these values.
    places: [u64; SHARES.len()],
    found: Vec<f64>,
    passed: u64,
    /// The least value, and the width of a part from there to the greatest.
    least: f64,
    width: f64,
    /// How many values are in each part.
    bars: Vec<u64>,
    /// The most frequent values; of those of one count, the least come first.
    top: Vec<(u64, f64)>,
}

impl Spread {
    fn new((least, most): (f64, f64), records: u64) -> Self {
        let place = |share: f64| ((share * records as f64).ceil() as u64).clamp(1, records.max(1));
        let width = (most - least) / BARS as f64;
        // Otherwise there is no part that a value is in.
        let parts = if width > 0.0 && width.is_finite() { BARS } else { 0 };
        Self {
            places: SHARES.map(place),
            found: Vec::new(),
            passed: 0,
            least,
            width,
            bars: vec![0; parts],
            top: Vec::new(),
        }
    }

    fn add(&mut self, value: f64, count: u64) {
        self.passed += count;
        while self.places.get(self.found.len()).is_some_and(|place| *place <= self.passed) {
            self.found.push(value);
        }
        if value.is_finite() && !self.bars.is_empty() {
            let part = ((value - self.least) / self.width) as usize;
            self.bars[part.min(BARS - 1)] += count;
        }
        if self.top.len() == TOP && self.top.last().is_some_and(|(least, _)| *least >= count) {
            return;
        }
        let at = self.top.partition_point(|(other, _)| *other >= count);
        self.top.insert(at, (count, value));
        self.top.truncate(TOP);
    }
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
