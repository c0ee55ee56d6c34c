//! Partitions, merged into one.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::hash::Hash;

use arrow_array::RecordBatch;
use arrow_row::{RowConverter, SortField};
use arrow_schema::SchemaRef;
use arrow_select::concat::concat_batches;
use arrow_select::interleave::interleave_record_batch;
use gristmill_core::{Error, ErrorKind, Result};

use crate::columns::{ColumnKeys, key_columns};
use crate::key::KeyForm;

/// Which of several items with the same key stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// The one that comes first after merging.
    First,
    /// The one that comes last after merging.
    Last,
}

/// Merges partitions into one list, and can take out duplicates.
///
/// ```
/// use gristmill_parallel::{Keep, Merger};
///
/// let monday = vec![("A", 1), ("C", 3)];
/// let tuesday = vec![("B", 2), ("C", 4)];
/// let merged = Merger::ordered(|&(fund, _): &(&'static str, i32)| fund)
///     .deduplicate(|&(fund, _)| fund, Keep::Last)
///     .merge([monday, tuesday]);
/// assert_eq!(merged.items, [("A", 1), ("B", 2), ("C", 4)]);
/// assert_eq!(merged.dropped, 1);
/// ```
pub struct Merger<T> {
    order: Option<Order<T>>,
    deduplicate: Option<Deduplicate<T>>,
}

type Order<T> = Box<dyn Fn(Vec<Vec<T>>) -> Vec<T> + Send + Sync>;
type Deduplicate<T> = Box<dyn Fn(Vec<T>) -> Vec<T> + Send + Sync>;

/// What came of a merge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged<T> {
    /// The items that stay.
    pub items: Vec<T>,
    /// How many were dropped as duplicates.
    pub dropped: u64,
}

impl<T: 'static> Merger<T> {
    /// One partition after the other.
    pub fn append() -> Self {
        Self { order: None, deduplicate: None }
    }

    /// By key, ascending, where each partition is already so. Items with equal keys keep the order
    /// of the partitions, and within one their own.
    pub fn ordered<K: Ord>(key: impl Fn(&T) -> K + Send + Sync + 'static) -> Self {
        let order: Order<T> = Box::new(move |parts| merge_ordered(parts, &key).collect());
        Self { order: Some(order), deduplicate: None }
    }

    /// Of all items with the same key only one stays, in its place.
    #[must_use]
    pub fn deduplicate<K: Hash + Eq>(
        mut self,
        key: impl Fn(&T) -> K + Send + Sync + 'static,
        keep: Keep,
    ) -> Self {
        self.deduplicate = Some(Box::new(move |items| {
            let stays = unique(items.iter().map(&key), keep);
            items.into_iter().zip(stays).filter_map(|(item, stays)| stays.then_some(item)).collect()
        }));
        self
    }

    /// Merges the partitions.
    pub fn merge(&self, parts: impl IntoIterator<Item = Vec<T>>) -> Merged<T> {
        let parts = parts.into_iter();
        let items: Vec<T> = match &self.order {
            Some(order) => order(parts.collect()),
            None => parts.flatten().collect(),
        };
        let before = items.len();
        let items = match &self.deduplicate {
            Some(deduplicate) => deduplicate(items),
            None => items,
        };
        Merged { dropped: (before - items.len()) as u64, items }
    }
}

/// Merges iterators, each ascending by key, into one that is, holding one item of each at a time.
/// Items with equal keys come in the order of the iterators. Of iterators that are not ascending
/// every item comes too, but not in order.
///
/// ```
/// use gristmill_parallel::merge_ordered;
///
/// let merged = merge_ordered([vec![1, 4, 9], vec![2, 4]], |n| *n);
/// assert_eq!(merged.collect::<Vec<_>>(), [1, 2, 4, 4, 9]);
/// ```
pub fn merge_ordered<I, K, F>(
    inputs: impl IntoIterator<Item = I>,
    key: F,
) -> MergeOrdered<I::IntoIter, K, F>
where
    I: IntoIterator,
    K: Ord,
    F: Fn(&I::Item) -> K,
{
    let mut inputs: Vec<_> =
        inputs.into_iter().map(|input| Input { items: input.into_iter(), next: None }).collect();
    let heads = inputs
        .iter_mut()
        .enumerate()
        .filter_map(|(index, input)| Some(Reverse((input.advance(&key)?, index))))
        .collect();
    MergeOrdered { inputs, heads, key }
}

/// The items of several ordered iterators, in order: see [`merge_ordered`].
pub struct MergeOrdered<I: Iterator, K, F> {
    inputs: Vec<Input<I>>,
    /// The key of each input's next item, and the input: the smallest on top.
    heads: BinaryHeap<Reverse<(K, usize)>>,
    key: F,
}

struct Input<I: Iterator> {
    items: I,
    next: Option<I::Item>,
}

impl<I: Iterator> Input<I> {
    /// Takes the next item and answers its key.
    fn advance<K>(&mut self, key: impl Fn(&I::Item) -> K) -> Option<K> {
        self.next = self.items.next();
        self.next.as_ref().map(key)
    }
}

impl<I, K, F> Iterator for MergeOrdered<I, K, F>
where
    I: Iterator,
    K: Ord,
    F: Fn(&I::Item) -> K,
{
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        let Reverse((_, index)) = self.heads.pop()?;
        let input = &mut self.inputs[index];
        let item = input.next.take();
        if let Some(key) = input.advance(&self.key) {
            self.heads.push(Reverse((key, index)));
        }
        item
    }
}

/// For each key whether it stays.
fn unique<K: Hash + Eq>(
    keys: impl DoubleEndedIterator<Item = K> + ExactSizeIterator,
    keep: Keep,
) -> Vec<bool> {
    let mut seen = HashSet::with_capacity(keys.len());
    match keep {
        Keep::First => keys.map(|key| seen.insert(key)).collect(),
        Keep::Last => {
            let mut stays: Vec<bool> = keys.rev().map(|key| seen.insert(key)).collect();
            stays.reverse();
            stays
        }
    }
}

/// Merges Arrow batches into one, by the same rules as [`Merger`].
///
/// Keys are equal as [`KeyForm`] has it: null equals null, -0.0 equals 0.0, NaN equals NaN. Order is
/// ascending with nulls first, and by IEEE 754 total order for floating point numbers.
///
/// ```
/// use std::sync::Arc;
/// use arrow_array::{Int64Array, RecordBatch, cast::AsArray, types::Int64Type};
/// use gristmill_parallel::{BatchMerger, Keep};
///
/// let batch = |ids: Vec<i64>| RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(ids)) as _)]);
/// let parts = [batch(vec![1, 3, 5])?, batch(vec![2, 3])?];
/// let merged = BatchMerger::ordered(["id"])
///     .deduplicate(["id"], Keep::First)
///     .merge(&parts[0].schema(), &parts)?;
/// assert_eq!(merged.batch.column(0).as_primitive::<Int64Type>().values(), &[1, 2, 3, 5]);
/// assert_eq!(merged.dropped, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct BatchMerger {
    order: Option<Vec<String>>,
    deduplicate: Option<(Vec<String>, Keep)>,
}

/// What came of a merge of batches.
#[derive(Debug, Clone, PartialEq)]
pub struct MergedBatch {
    /// The rows that stay.
    pub batch: RecordBatch,
    /// How many were dropped as duplicates.
    pub dropped: u64,
}

impl BatchMerger {
    /// One batch after the other.
    pub fn append() -> Self {
        Self::default()
    }

    /// By these columns, ascending, where each batch is already so. Rows with equal keys keep the
    /// order of the batches, and within one their own.
    pub fn ordered<S: Into<String>>(columns: impl IntoIterator<Item = S>) -> Self {
        Self { order: Some(columns.into_iter().map(Into::into).collect()), deduplicate: None }
    }

    /// Of all rows with the same values in these columns only one stays, in its place.
    #[must_use]
    pub fn deduplicate<S: Into<String>>(
        mut self,
        columns: impl IntoIterator<Item = S>,
        keep: Keep,
    ) -> Self {
        self.deduplicate = Some((columns.into_iter().map(Into::into).collect(), keep));
        self
    }

    /// Merges batches, all of this schema.
    ///
    /// # Errors
    /// [`ErrorKind::Schema`] when a batch has another schema, [`ErrorKind::Configuration`] when a
    /// column of a key is not there or cannot be a key.
    pub fn merge(&self, schema: &SchemaRef, batches: &[RecordBatch]) -> Result<MergedBatch> {
        if let Some(at) = batches.iter().position(|batch| batch.schema_ref() != schema) {
            let message = format!("batch {} does not have the columns of the others", at + 1);
            return Err(Error::new(ErrorKind::Schema, message));
        }
        let filled: Vec<&RecordBatch> =
            batches.iter().filter(|batch| batch.num_rows() > 0).collect();
        if filled.is_empty() || (self.order.is_none() && self.deduplicate.is_none()) {
            return Ok(MergedBatch { batch: concat_batches(schema, filled)?, dropped: 0 });
        }
        let mut rows = match &self.order {
            Some(columns) => ordered_rows(&filled, columns)?,
            None => all_rows(&filled).collect(),
        };
        let before = rows.len();
        if let Some((columns, keep)) = &self.deduplicate {
            rows = deduplicated_rows(&filled, rows, columns, *keep)?;
        }
        let batch = interleave_record_batch(&filled, &rows)?;
        Ok(MergedBatch { batch, dropped: (before - rows.len()) as u64 })
    }
}

/// A batch and a row in it.
type RowAt = (usize, usize);

fn all_rows(batches: &[&RecordBatch]) -> impl Iterator<Item = RowAt> {
    let sizes: Vec<usize> = batches.iter().map(|batch| batch.num_rows()).collect();
    sizes.into_iter().enumerate().flat_map(|(batch, rows)| (0..rows).map(move |row| (batch, row)))
}

fn ordered_rows(batches: &[&RecordBatch], columns: &[String]) -> Result<Vec<RowAt>> {
    let positions = key_columns(batches[0], columns)?;
    let fields = positions
        .iter()
        .map(|&at| SortField::new(batches[0].column(at).data_type().clone()))
        .collect();
    let not_a_key = |source| {
        let message = format!("columns {} cannot be ordered", columns.join(", "));
        Error::new(ErrorKind::Configuration, message).caused_by(source)
    };
    let converter = RowConverter::new(fields).map_err(not_a_key)?;
    let keys = batches
        .iter()
        .map(|batch| {
            let arrays: Vec<_> =
                positions.iter().map(|&at| std::sync::Arc::clone(batch.column(at))).collect();
            converter.convert_columns(&arrays).map_err(not_a_key)
        })
        .collect::<Result<Vec<_>>>()?;
    let inputs = keys
        .iter()
        .enumerate()
        .map(|(batch, rows)| (0..rows.num_rows()).map(move |row| (batch, row)));
    Ok(merge_ordered(inputs, |&(batch, row)| keys[batch].row(row)).collect())
}

fn deduplicated_rows(
    batches: &[&RecordBatch],
    rows: Vec<RowAt>,
    columns: &[String],
    keep: Keep,
) -> Result<Vec<RowAt>> {
    let keys =
        batches.iter().map(|batch| ColumnKeys::new(batch, columns)).collect::<Result<Vec<_>>>()?;
    let key = |&(batch, row): &RowAt| {
        let mut form = KeyForm::default();
        keys[batch].write(row, &mut form);
        form
    };
    let stays = unique(rows.iter().map(key), keep);
    Ok(rows.into_iter().zip(stays).filter_map(|(row, stays)| stays.then_some(row)).collect())
}
