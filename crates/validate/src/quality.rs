//! Measures of an input's quality. Batches may be added in any order: the result is the same.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type};
use arrow_array::{Array, ArrayAccessor, ArrayRef};
use arrow_schema::{Field, SchemaRef};
use gristmill_core::text::value_text;
use gristmill_core::types::{is_json, type_name};
use gristmill_core::{Batch, Stage};
use gristmill_parallel::KeyHash;
use hashbrown::HashSet;
use serde_json::{Map, Value, json};
use xxhash_rust::xxh3::xxh3_64;

use crate::arrays::{shortened, wide, with_text, with_whole};
use crate::distinct::Sketch;
use crate::key::{KeyReader, writer};
use crate::limit::Measure;

/// What is measured of all records that reach the step, those with open flaws included.
pub(crate) struct Measures {
    schema: SchemaRef,
    keys: Vec<Vec<usize>>,
    totals: Mutex<Totals>,
}

struct Totals {
    fields: Vec<FieldMeasures>,
    keys: Vec<KeyMeasures>,
}

#[derive(Default)]
struct KeyMeasures {
    nulls: u64,
    duplicates: u64,
    seen: HashSet<KeyHash>,
}

#[derive(Default)]
struct FieldMeasures {
    nulls: u64,
    type_failures: u64,
    negative: Option<u64>,
    extremes: Option<Extremes>,
    distinct: Sketch,
}

/// The least and the greatest value, with their texts.
#[derive(Debug, Clone, PartialEq)]
enum Extremes {
    Whole([(i128, String); 2]),
    Float([(f64, String); 2]),
    Text([String; 2]),
}

impl Measures {
    pub(crate) fn new(schema: &SchemaRef, keys: Vec<Vec<usize>>) -> Self {
        let totals = Totals {
            fields: schema.fields().iter().map(|_| FieldMeasures::default()).collect(),
            keys: keys.iter().map(|_| KeyMeasures::default()).collect(),
        };
        Self { schema: schema.clone(), keys, totals: Mutex::new(totals) }
    }

    pub(crate) fn add(&self, batch: &Batch) {
        let columns = batch.columns();
        let mut failures: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
        for flaw in batch.flaws().iter().filter(|flaw| flaw.stage == Stage::Type) {
            if let Some(field) = &flaw.reason.field {
                failures.entry(field.as_ref()).or_default().push(flaw.row);
            }
        }
        let fields: Vec<FieldMeasures> = self
            .schema
            .fields()
            .iter()
            .zip(columns.columns())
            .map(|(field, column)| {
                let mut failed = failures.remove(field.name().as_str()).unwrap_or_default();
                failed.sort_unstable();
                failed.dedup();
                measure(column, field, &failed)
            })
            .collect();
        let mut keys = Vec::with_capacity(self.keys.len());
        for key in &self.keys {
            let mut reader = KeyReader::new(columns, key);
            keys.push((0..columns.num_rows()).map(|row| reader.key(row)).collect::<Vec<_>>());
        }
        let mut totals = self.totals.lock().unwrap_or_else(PoisonError::into_inner);
        for (total, field) in totals.fields.iter_mut().zip(fields) {
            total.merge(field);
        }
        for (total, hashes) in totals.keys.iter_mut().zip(keys) {
            for hash in hashes {
                match hash {
                    None => total.nulls += 1,
                    Some(hash) => {
                        let new = total.seen.insert(hash);
                        total.duplicates += u64::from(!new);
                    }
                }
            }
        }
    }

    /// `fields`, `keys`, and over all keys `null_keys` and `duplicate_keys`.
    pub(crate) fn report(&self) -> Map<String, Value> {
        let totals = self.totals.lock().unwrap_or_else(PoisonError::into_inner);
        let fields: Map<String, Value> = self
            .schema
            .fields()
            .iter()
            .zip(&totals.fields)
            .map(|(field, measures)| (field.name().clone(), measures.report(field)))
            .collect();
        let mut report = Map::new();
        report.insert("fields".to_owned(), fields.into());
        if !self.keys.is_empty() {
            let name = |&index: &usize| self.schema.field(index).name().clone();
            let keys: Vec<Value> = self
                .keys
                .iter()
                .zip(&totals.keys)
                .map(|(key, total)| {
                    let columns: Vec<String> = key.iter().map(name).collect();
                    json!({"columns": columns, "nulls": total.nulls, "duplicates": total.duplicates})
                })
                .collect();
            let sum = |of: fn(&KeyMeasures) -> u64| totals.keys.iter().map(of).sum::<u64>();
            report.insert("keys".to_owned(), keys.into());
            report.insert("null_keys".to_owned(), sum(|key| key.nulls).into());
            report.insert("duplicate_keys".to_owned(), sum(|key| key.duplicates).into());
        }
        report
    }
}

impl FieldMeasures {
    fn merge(&mut self, other: Self) {
        self.nulls += other.nulls;
        self.type_failures += other.type_failures;
        if let Some(negative) = other.negative {
            *self.negative.get_or_insert(0) += negative;
        }
        self.extremes = match (self.extremes.take(), other.extremes) {
            (Some(mine), Some(theirs)) => Some(mine.merge(theirs)),
            (mine, theirs) => mine.or(theirs),
        };
        self.distinct.merge(&other.distinct);
    }

    fn report(&self, field: &Field) -> Value {
        let mut report = Map::new();
        report.insert("type".to_owned(), type_name(field).into());
        report.insert("nulls".to_owned(), self.nulls.into());
        report.insert("type_failures".to_owned(), self.type_failures.into());
        if let Some(negative) = self.negative {
            report.insert("negative".to_owned(), negative.into());
        }
        if let Some(extremes) = &self.extremes {
            let [min, max] = extremes.texts();
            report.insert("min".to_owned(), shortened(min).into());
            report.insert("max".to_owned(), shortened(max).into());
        }
        report.insert("distinct_estimate".to_owned(), self.distinct.estimate().into());
        report.into()
    }
}

impl Extremes {
    fn texts(&self) -> [&str; 2] {
        match self {
            Extremes::Whole([min, max]) => [&min.1, &max.1],
            Extremes::Float([min, max]) => [&min.1, &max.1],
            Extremes::Text([min, max]) => [min, max],
        }
    }

    fn merge(self, other: Self) -> Self {
        match (self, other) {
            (Extremes::Whole([a, b]), Extremes::Whole([c, d])) => {
                Extremes::Whole([a.min(c), b.max(d)])
            }
            (Extremes::Float([a, b]), Extremes::Float([c, d])) => Extremes::Float([
                if a.0.total_cmp(&c.0).is_le() { a } else { c },
                if b.0.total_cmp(&d.0).is_ge() { b } else { d },
            ]),
            (Extremes::Text([a, b]), Extremes::Text([c, d])) => {
                Extremes::Text([a.min(c), b.max(d)])
            }
            (mine, _) => mine, // a column keeps its type
        }
    }
}

fn measure(column: &ArrayRef, field: &Field, failed: &[u32]) -> FieldMeasures {
    let nulls = column.logical_nulls();
    let null = |row: usize| nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
    let unread = failed.iter().filter(|&&row| null(row as usize)).count();
    let all_nulls = nulls.as_ref().map_or(0, |nulls| nulls.null_count());
    let mut distinct = Sketch::default();
    let write = writer(column, field);
    let mut bytes = Vec::new();
    for row in (0..column.len()).filter(|&row| !null(row)) {
        bytes.clear();
        write(row, &mut bytes);
        distinct.add(xxh3_64(&bytes));
    }
    let (negative, extremes) = order(column, field);
    FieldMeasures {
        nulls: (all_nulls - unread) as u64,
        type_failures: failed.len() as u64,
        negative,
        extremes,
        distinct,
    }
}

/// Negative values, for numbers, and the least and greatest value, for types that have an order.
fn order(column: &ArrayRef, field: &Field) -> (Option<u64>, Option<Extremes>) {
    if is_json(field) {
        return (None, None);
    }
    let text = |row: usize| value_text(column, row).unwrap_or_default();
    with_text!(*column, array => {
        let ends = ends(array, Ord::cmp);
        let extremes = ends.map(|(min, max)| Extremes::Text([text(min), text(max)]));
        return (None, extremes);
    }, _ => {});
    let is_number = Measure::of(field.data_type()).is_some_and(Measure::is_number);
    with_whole!(*column, array => {
        let extremes = ends(array, Ord::cmp).map(|(min, max)| {
            let end = |row: usize| (wide(array.value(row)), text(row));
            Extremes::Whole([end(min), end(max)])
        });
        let negative = is_number.then(|| count(array, |value| wide(value) < 0));
        return (negative, extremes);
    }, _ => {});
    if let Some(array) = column.as_primitive_opt::<Float64Type>() {
        let extremes = floats(array, |value| value, text);
        return (Some(count(array, |value| value < 0.0)), extremes);
    }
    if let Some(array) = column.as_primitive_opt::<Float32Type>() {
        let extremes = floats(array, f64::from, text);
        return (Some(count(array, |value| value < 0.0)), extremes);
    }
    (None, None)
}

fn valid<A: ArrayAccessor + Copy>(array: A) -> impl Iterator<Item = usize> {
    (0..array.len()).filter(move |&row| array.is_valid(row))
}

fn count<A: ArrayAccessor + Copy>(array: A, counts: impl Fn(A::Item) -> bool) -> u64 {
    valid(array).filter(|&row| counts(array.value(row))).count() as u64
}

/// The rows of the least and the greatest value.
fn ends<A: ArrayAccessor + Copy>(
    array: A,
    compare: impl Fn(&A::Item, &A::Item) -> std::cmp::Ordering,
) -> Option<(usize, usize)> {
    let mut rows = valid(array);
    let first = rows.next()?;
    let (mut min, mut max) = (first, first);
    for row in rows {
        let value = array.value(row);
        if compare(&value, &array.value(min)).is_lt() {
            min = row;
        } else if compare(&value, &array.value(max)).is_gt() {
            max = row;
        }
    }
    Some((min, max))
}

/// NaN is neither least nor greatest.
fn floats<A: ArrayAccessor + Copy>(
    array: A,
    number: impl Fn(A::Item) -> f64,
    text: impl Fn(usize) -> String,
) -> Option<Extremes> {
    let numbers = || {
        valid(array).map(|row| (number(array.value(row)), row)).filter(|(value, _)| !value.is_nan())
    };
    let (min, min_row) = numbers().min_by(|a, b| a.0.total_cmp(&b.0))?;
    let (max, max_row) = numbers().max_by(|a, b| a.0.total_cmp(&b.0))?;
    Some(Extremes::Float([(min, text(min_row)), (max, text(max_row))]))
}
