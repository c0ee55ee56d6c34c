//! Gathers what checks measure, a batch at a time, on any number of workers.
//!
//! Everything here is the same in whatever order batches come: counts, exact sums, extremes, and
//! counts of keys, which go to disk when they are many.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow_schema::{DataType, SchemaRef};
use arrow_select::filter::filter_record_batch;
use gristmill_core::text::{ColumnBuilder, ColumnPlan, value_text};
use gristmill_core::{Expression, ExpressionCompiler, ExpressionError, FieldType, Result, Space};
use gristmill_parallel::KeyHash;
use gristmill_parallel::spill::Counts;

use super::keys::{Skip, keys, text_keys};
use super::numbers::{Numbers, Pair};
use crate::arrays::with_text;

/// What is gathered of a column or several.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum What {
    /// Records.
    Rows,
    /// Records in which the column is not null.
    Complete(usize),
    /// How many times each key comes. Keys of one column of numbers or times are the values, in their order.
    Keys { columns: Vec<usize>, skip: Skip },
    /// As keys, of their texts, which values of different types share.
    Texts { columns: Vec<usize>, skip: Skip },
    /// Which of these keys of a column come.
    Found { column: usize, keys: Vec<KeyHash> },
    /// Sums and extremes of a column of numbers or times.
    Numbers(usize),
    /// Lengths of texts.
    Lengths(usize),
    /// Products of two columns of numbers.
    Pair(usize, usize),
    /// Records for which a condition is true.
    Holds(String),
    /// Records whose text can be read as a type.
    Parses(usize, FieldType),
}

/// What was gathered.
pub(crate) enum Gathered {
    Count(u64),
    Keys(Counts),
    /// Keys that were not found yet.
    Missing(HashSet<KeyHash>),
    Numbers(Box<Numbers>),
    Lengths(Option<(u64, u64)>),
    Pair(Box<Pair>),
}

struct Slot {
    filter: Option<usize>,
    what: What,
    condition: Option<Arc<dyn Expression>>,
    /// Keys are counted by several workers at once.
    gathered: RwLock<Gathered>,
}

/// Gathers for many checks at once. Two that ask for the same share it.
pub(crate) struct Gatherer {
    pub(crate) schema: SchemaRef,
    filters: Vec<Arc<dyn Expression>>,
    slots: Vec<Slot>,
}

impl Gatherer {
    pub(crate) fn new(schema: &SchemaRef) -> Self {
        Self { schema: schema.clone(), filters: Vec::new(), slots: Vec::new() }
    }

    /// Where it is gathered, of the records for which a condition is true or of all.
    pub(crate) fn slot(
        &mut self,
        filter: Option<&str>,
        what: What,
        expressions: &dyn ExpressionCompiler,
    ) -> Result<usize, ExpressionError> {
        let filter = match filter {
            None => None,
            Some(text) => match self.filters.iter().position(|known| known.text() == text) {
                Some(known) => Some(known),
                None => {
                    self.filters.push(condition(text, &self.schema, expressions)?);
                    Some(self.filters.len() - 1)
                }
            },
        };
        let condition = match &what {
            What::Holds(text) => Some(condition(text, &self.schema, expressions)?),
            _ => None,
        };
        Ok(self.shared(filter, what, condition))
    }

    /// Where it is gathered of all records; for what is no condition.
    pub(crate) fn plain(&mut self, what: What) -> usize {
        self.shared(None, what, None)
    }

    fn shared(
        &mut self,
        filter: Option<usize>,
        what: What,
        condition: Option<Arc<dyn Expression>>,
    ) -> usize {
        let same = |slot: &Slot| slot.filter == filter && slot.what == what;
        if let Some(known) = self.slots.iter().position(same) {
            return known;
        }
        let gathered = match &what {
            What::Rows | What::Complete(_) | What::Holds(_) | What::Parses(..) => {
                Gathered::Count(0)
            }
            What::Keys { .. } | What::Texts { .. } => Gathered::Keys(Counts::new(Space::default())),
            What::Found { keys, .. } => Gathered::Missing(keys.iter().copied().collect()),
            What::Numbers(_) => Gathered::Numbers(Box::default()),
            What::Lengths(_) => Gathered::Lengths(None),
            What::Pair(..) => Gathered::Pair(Box::default()),
        };
        self.slots.push(Slot { filter, what, condition, gathered: RwLock::new(gathered) });
        self.slots.len() - 1
    }

    /// Whether keys are counted, which may take much memory.
    pub(crate) fn remembers(&self) -> bool {
        self.keyed() > 0
    }

    fn keyed(&self) -> usize {
        let keyed = |slot: &&Slot| matches!(slot.what, What::Keys { .. } | What::Texts { .. });
        self.slots.iter().filter(keyed).count()
    }

    /// Divides the memory among the keys that are counted.
    pub(crate) fn open(&self, space: &Space) {
        let memory = space.memory / self.keyed().max(1);
        for slot in 0..self.slots.len() {
            if let Gathered::Keys(counts) = &mut *self.gathered(slot) {
                *counts = Counts::new(Space { memory, ..space.clone() });
            }
        }
    }

    /// Which records of a batch a slot counts, whatever its filter.
    ///
    /// # Errors
    /// When a condition cannot be evaluated, which is a bug.
    pub(crate) fn passes(&self, slot: usize, batch: &RecordBatch) -> Result<Vec<bool>> {
        let slot = &self.slots[slot];
        Ok(match (&slot.what, &slot.condition) {
            (What::Complete(column), _) => {
                let nulls = batch.column(*column).logical_nulls();
                let valid = |row| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
                (0..batch.num_rows()).map(valid).collect()
            }
            (What::Parses(column, field_type), _) => {
                let one = |row| parses(&batch.slice(row, 1), *column, *field_type) == 1;
                (0..batch.num_rows()).map(one).collect()
            }
            (_, Some(condition)) => holds(condition.as_ref(), batch)?.values().iter().collect(),
            _ => vec![true; batch.num_rows()],
        })
    }

    /// The keys that a slot counts, by record.
    pub(crate) fn keys(&self, slot: usize, batch: &RecordBatch) -> Vec<Option<KeyHash>> {
        match &self.slots[slot].what {
            What::Keys { columns, skip } => keys(batch, columns, *skip),
            What::Texts { columns, skip } => text_keys(batch, columns, *skip),
            _ => vec![None; batch.num_rows()],
        }
    }

    /// Of which records a slot is asked; of all if it has no condition.
    ///
    /// # Errors
    /// As [`Self::passes`].
    pub(crate) fn asked(&self, slot: usize, batch: &RecordBatch) -> Result<Option<BooleanArray>> {
        let filter = self.slots[slot].filter.map(|filter| &self.filters[filter]);
        filter.map(|filter| holds(filter.as_ref(), batch)).transpose()
    }

    /// Adds the records of a batch.
    ///
    /// # Errors
    /// When keys cannot be written to disk.
    pub(crate) fn add(&self, batch: &RecordBatch) -> Result<()> {
        let mut filtered: Vec<RecordBatch> = Vec::with_capacity(self.filters.len());
        for filter in &self.filters {
            filtered.push(filter_record_batch(batch, &holds(filter.as_ref(), batch)?)?);
        }
        for slot in &self.slots {
            slot.add(slot.filter.map_or(batch, |filter| &filtered[filter]))?;
        }
        Ok(())
    }

    /// Which of the keys that a slot looks for it has found.
    pub(crate) fn found(&self, slot: usize) -> Option<Vec<bool>> {
        match (&self.slots[slot].what, &*self.gathered(slot)) {
            (What::Found { keys, .. }, Gathered::Missing(missing)) => {
                Some(keys.iter().map(|key| !missing.contains(key)).collect())
            }
            _ => None,
        }
    }

    /// What was gathered there.
    pub(crate) fn gathered(&self, slot: usize) -> RwLockWriteGuard<'_, Gathered> {
        self.slots[slot].gathered.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn condition(
    text: &str,
    schema: &SchemaRef,
    expressions: &dyn ExpressionCompiler,
) -> Result<Arc<dyn Expression>, ExpressionError> {
    let expression = expressions.compile(text, schema)?;
    match expression.data_type() {
        DataType::Boolean => Ok(expression),
        other => Err(ExpressionError {
            message: format!("the condition gives {other}, not true or false"),
            span: None,
            hint: Some("compare it with something, as in `aum > 0`".to_owned()),
        }),
    }
}

/// For which records a condition is true.
fn holds(condition: &dyn Expression, batch: &RecordBatch) -> Result<BooleanArray> {
    let values = condition.evaluate(batch)?.values;
    let values = values.as_boolean();
    Ok(match values.nulls() {
        Some(nulls) => BooleanArray::new(values.values() & nulls.inner(), None),
        None => values.clone(),
    })
}

impl Slot {
    fn add(&self, batch: &RecordBatch) -> Result<()> {
        let lock = || self.gathered.write().unwrap_or_else(PoisonError::into_inner);
        let count = match &self.what {
            What::Rows => batch.num_rows() as u64,
            What::Complete(column) => {
                let column = batch.column(*column);
                (column.len() - column.logical_null_count()) as u64
            }
            What::Holds(_) => match &self.condition {
                Some(condition) => holds(condition.as_ref(), batch)?.true_count() as u64,
                None => 0,
            },
            What::Parses(column, field_type) => parses(batch, *column, *field_type),
            What::Keys { columns, skip } => {
                let keys = keys(batch, columns, *skip);
                return self.count(keys);
            }
            What::Texts { columns, skip } => {
                let keys = text_keys(batch, columns, *skip);
                return self.count(keys);
            }
            What::Found { column, .. } => {
                self.find(batch, *column);
                return Ok(());
            }
            What::Numbers(column) => {
                let numbers = Numbers::of(batch.column(*column));
                if let Gathered::Numbers(all) = &mut *lock() {
                    all.merge(&numbers);
                }
                return Ok(());
            }
            What::Lengths(column) => {
                let lengths = lengths(batch.column(*column));
                if let (Gathered::Lengths(all), Some((least, most))) = (&mut *lock(), lengths) {
                    let (low, high) = all.unwrap_or((least, most));
                    *all = Some((low.min(least), high.max(most)));
                }
                return Ok(());
            }
            What::Pair(a, b) => {
                let pair = Pair::of(batch.column(*a), batch.column(*b));
                if let Gathered::Pair(all) = &mut *lock() {
                    all.merge(&pair);
                }
                return Ok(());
            }
        };
        if let Gathered::Count(all) = &mut *lock() {
            *all += count;
        }
        Ok(())
    }

    /// Takes the keys that come out of those that are missing; once none is, nothing is looked at.
    fn find(&self, batch: &RecordBatch, column: usize) {
        let found: HashSet<KeyHash> = {
            let gathered = self.gathered.read().unwrap_or_else(PoisonError::into_inner);
            let Gathered::Missing(missing) = &*gathered else { return };
            if missing.is_empty() {
                return;
            }
            let keys = keys(batch, &[column], Skip::Any).into_iter().flatten();
            keys.filter(|key| missing.contains(key)).collect()
        };
        if found.is_empty() {
            return;
        }
        let mut gathered = self.gathered.write().unwrap_or_else(PoisonError::into_inner);
        if let Gathered::Missing(missing) = &mut *gathered {
            missing.retain(|key| !found.contains(key));
        }
    }

    fn count(&self, keys: Vec<Option<KeyHash>>) -> Result<()> {
        let keys: Vec<KeyHash> = keys.into_iter().flatten().collect();
        match &*self.gathered.read().unwrap_or_else(PoisonError::into_inner) {
            Gathered::Keys(counts) => counts.add(&keys),
            _ => Ok(()),
        }
    }
}

fn parses(batch: &RecordBatch, column: usize, field_type: FieldType) -> u64 {
    let (array, field) = (batch.column(column), batch.schema_ref().field(column));
    if FieldType::of(field) == Some(field_type) {
        return (array.len() - array.logical_null_count()) as u64;
    }
    let plan = ColumnPlan::new(field.name().clone(), field_type);
    let mut builder = ColumnBuilder::new(&plan, array.len());
    let texts = (0..array.len()).filter_map(|row| value_text(array, row));
    texts.filter(|text| builder.push(text.as_bytes()).is_ok()).count() as u64
}

fn lengths(array: &ArrayRef) -> Option<(u64, u64)> {
    with_text!(*array, text => {
        let lengths = text.iter().flatten().map(|text| text.chars().count() as u64);
        lengths.fold(None, |ends, length| {
            let (least, most) = ends.unwrap_or((length, length));
            Some((least.min(length), most.max(length)))
        })
    }, _ => None)
}

#[cfg(test)]
mod tests {
    use arrow_array::{Float64Array, Int64Array, StringViewArray};

    use super::super::keys::{key_facts, quantiles};
    use super::*;

    /// What keys with nulls in them count with this much memory, in batches of 7.
    fn nulls(memory: usize, columns: &[usize], skip: Skip) -> (u64, u64, u64) {
        let value = |i: i64, n: i64| (i % n != 0).then_some(i % n);
        let column =
            |n| Arc::new((0..600).map(|i| value(i, n)).collect::<Int64Array>()) as ArrayRef;
        let batch = RecordBatch::try_from_iter([("a", column(2)), ("b", column(301))]).unwrap();
        let mut gatherer = Gatherer::new(&batch.schema());
        let slot = gatherer.plain(What::Keys { columns: columns.to_vec(), skip });
        gatherer.open(&Space { memory, ..Space::default() });
        for start in (0..600).step_by(7) {
            gatherer.add(&batch.slice(start, (600 - start).min(7))).unwrap();
        }
        let Gathered::Keys(counts) = &mut *gatherer.gathered(slot) else { panic!() };
        let facts = key_facts(counts).unwrap();
        (facts.records, facts.distinct, facts.once)
    }

    #[test]
    fn nulls_are_keys_only_where_they_are_said_to_be() {
        for memory in [0, 64 << 20] {
            // `a` is null in every even record, `b` in records 0 and 301, of which only 0 is even; the other
            // values of `b` come twice, once in an even record, but 299 and 300 once.
            assert_eq!(nulls(memory, &[0], Skip::Any), (300, 1, 0));
            assert_eq!(nulls(memory, &[0], Skip::None), (600, 2, 0));
            assert_eq!(nulls(memory, &[1], Skip::All), (598, 300, 2));
            assert_eq!(nulls(memory, &[1], Skip::None), (600, 301, 2));
            assert_eq!(nulls(memory, &[0, 1], Skip::Any), (299, 299, 299));
            assert_eq!(nulls(memory, &[0, 1], Skip::All), (599, 599, 599));
            assert_eq!(nulls(memory, &[0, 1], Skip::None), (600, 600, 600));
        }
    }

    /// What a gatherer with this much memory says of 3,000 records in batches of 100.
    fn facts(memory: usize) -> (String, Vec<Option<f64>>) {
        let ids: Vec<i64> = (0..3_000).map(|i| i * 7 % 1_999 - 500).collect();
        let floats: Vec<f64> = ids.iter().map(|id| *id as f64 / 3.0).collect();
        let names: Vec<String> = ids.iter().map(|id| format!("n{}", id % 1_000)).collect();
        let batch = RecordBatch::try_from_iter([
            ("id", Arc::new(Int64Array::from(ids)) as ArrayRef),
            ("x", Arc::new(Float64Array::from(floats)) as ArrayRef),
            ("name", Arc::new(StringViewArray::from_iter_values(names)) as ArrayRef),
        ])
        .unwrap();
        let mut gatherer = Gatherer::new(&batch.schema());
        let keys = |columns: &[usize]| What::Keys { columns: columns.to_vec(), skip: Skip::Any };
        let slots: Vec<usize> = [keys(&[0]), keys(&[1]), keys(&[2]), keys(&[0, 2])]
            .into_iter()
            .map(|what| gatherer.plain(what))
            .collect();
        assert!(gatherer.remembers());
        gatherer.open(&Space { memory, ..Space::default() });
        for start in (0..3_000).step_by(100) {
            gatherer.add(&batch.slice(start, 100)).unwrap();
        }
        let mut all = String::new();
        for slot in &slots {
            let Gathered::Keys(counts) = &mut *gatherer.gathered(*slot) else { panic!() };
            all.push_str(&format!("{:?}\n", key_facts(counts).unwrap()));
        }
        let mut found = Vec::new();
        for (slot, data_type) in [(slots[0], DataType::Int64), (slots[1], DataType::Float64)] {
            let Gathered::Keys(counts) = &mut *gatherer.gathered(slot) else { panic!() };
            found.extend(quantiles(counts, &[0.0, 0.25, 1.0], &data_type).unwrap());
        }
        (all, found)
    }

    #[test]
    fn what_goes_to_disk_says_the_same() {
        let (text, found) = facts(64 << 20);
        assert_eq!(facts(0), (text.clone(), found.clone()));
        // i · 7 mod 1999 for 3,000 i: 1,999 values, of which 1,001 come a second time.
        assert!(text.starts_with("KeyFacts { records: 3000, distinct: 1999, once: 998,"), "{text}");
        let mut sorted: Vec<f64> = (0..3_000).map(|i| (i * 7 % 1_999 - 500) as f64).collect();
        sorted.sort_by(f64::total_cmp);
        let expected = [sorted[0], sorted[749], sorted[2_999]].map(Some);
        assert_eq!(found[..3], expected);
        assert_eq!(found[3..], expected.map(|value| value.map(|value| value / 3.0)));
    }
}
