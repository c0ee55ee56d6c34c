//! Items and rows, divided among a number of partitions.

use arrow_array::RecordBatch;
use gristmill_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use crate::columns::ColumnKeys;
use crate::key::{Key, KeyForm};
use crate::scatter::scatter;

/// Divides items among partitions, numbered from 0.
///
/// By key, an item's partition is the hash of its key modulo the number of partitions; the hash is
/// the same on every machine and in every run ([`KeyForm`] says of what it is taken), so that a
/// key's records meet wherever they were divided. Within a partition items keep their order.
///
/// ```
/// use gristmill_parallel::Partitioner;
///
/// let mut by_fund = Partitioner::by_key(4, |(fund, _): &(&'static str, f64)| *fund)?;
/// let parts = by_fund.split([("FND001", 1.0), ("FND002", 2.0), ("FND001", 3.0)]);
/// let home = by_fund.partition_of(&("FND001", 0.0));
/// let amounts: Vec<f64> =
///     parts[home].iter().filter(|(fund, _)| *fund == "FND001").map(|(_, amount)| *amount).collect();
/// assert_eq!(amounts, [1.0, 3.0]);
///
/// let mut in_turn = Partitioner::round_robin(2)?;
/// assert_eq!(in_turn.split(["a", "b", "c"]), [vec!["a", "c"], vec!["b"]]);
/// assert_eq!(in_turn.statistics().sizes, [2, 1]);
/// # Ok::<(), gristmill_core::Error>(())
/// ```
pub struct Partitioner<T> {
    scheme: Scheme<T>,
    sizes: Vec<u64>,
}

enum Scheme<T> {
    /// The partition of the next item.
    RoundRobin(usize),
    Key(KeyWriter<T>, KeyForm),
}

type KeyWriter<T> = Box<dyn Fn(&T, &mut KeyForm) + Send + Sync>;

impl<T> Partitioner<T> {
    /// The first item goes to the first of `n` partitions, the next to the next, in turn.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] for no partition.
    pub fn round_robin(n: usize) -> Result<Self> {
        Ok(Self { scheme: Scheme::RoundRobin(0), sizes: empty(n)? })
    }

    /// Items with the same key go to the same of `n` partitions.
    ///
    /// # Errors
    /// As [`Self::round_robin`].
    pub fn by_key<K: Key>(n: usize, key: impl Fn(&T) -> K + Send + Sync + 'static) -> Result<Self> {
        Self::by_form(n, move |item, form| key(item).write(form))
    }

    /// As [`Self::by_key`], for keys that are borrowed from the item: `write` adds them to the
    /// form.
    ///
    /// # Errors
    /// As [`Self::round_robin`].
    pub fn by_form(
        n: usize,
        write: impl Fn(&T, &mut KeyForm) + Send + Sync + 'static,
    ) -> Result<Self> {
        Ok(Self { scheme: Scheme::Key(Box::new(write), KeyForm::default()), sizes: empty(n)? })
    }

    /// The partition to which the item would go now. Counts nothing.
    pub fn partition_of(&mut self, item: &T) -> usize {
        match &mut self.scheme {
            Scheme::RoundRobin(next) => *next,
            Scheme::Key(write, form) => {
                form.clear();
                write(item, form);
                partition(form, self.sizes.len())
            }
        }
    }

    /// Divides items. Round robin goes on where the call before left off.
    pub fn split(&mut self, items: impl IntoIterator<Item = T>) -> Vec<Vec<T>> {
        let mut parts: Vec<Vec<T>> = self.sizes.iter().map(|_| Vec::new()).collect();
        for item in items {
            let part = self.partition_of(&item);
            if let Scheme::RoundRobin(next) = &mut self.scheme {
                *next = (*next + 1) % self.sizes.len();
            }
            self.sizes[part] += 1;
            parts[part].push(item);
        }
        parts
    }

    /// How evenly items were divided, over all calls.
    pub fn statistics(&self) -> PartitionStatistics {
        PartitionStatistics::of(self.sizes.iter().copied())
    }
}

/// Divides the rows of Arrow batches among partitions, by the same rules as [`Partitioner`].
///
/// ```
/// use std::sync::Arc;
/// use arrow_array::{RecordBatch, StringViewArray, cast::AsArray};
/// use gristmill_parallel::BatchPartitioner;
///
/// let funds = Arc::new(StringViewArray::from(vec![Some("A"), Some("B"), None, Some("A")]));
/// let batch = RecordBatch::try_from_iter([("fund", funds as _)])?;
/// let mut by_fund = BatchPartitioner::by_columns(8, ["fund"])?;
/// let parts = by_fund.split(&batch)?;
/// assert_eq!(parts.len(), 8);
/// assert_eq!(parts.iter().map(|part| part.num_rows()).sum::<usize>(), 4);
/// assert!(by_fund.statistics().largest >= 2); // both rows of A are in one of them
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct BatchPartitioner {
    /// The key's columns; `None` for round robin.
    columns: Option<Vec<String>>,
    next: usize,
    sizes: Vec<u64>,
}

impl BatchPartitioner {
    /// The first row goes to the first of `n` partitions, the next to the next, in turn, going on
    /// from batch to batch.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] for no partition.
    pub fn round_robin(n: usize) -> Result<Self> {
        Ok(Self { columns: None, next: 0, sizes: empty(n)? })
    }

    /// Rows with the same values in these columns go to the same of `n` partitions. Null is a
    /// value of its own, -0.0 is 0.0, every NaN is the same.
    ///
    /// # Errors
    /// As [`Self::round_robin`], and when no column is named.
    pub fn by_columns<S: Into<String>>(
        n: usize,
        columns: impl IntoIterator<Item = S>,
    ) -> Result<Self> {
        let columns: Vec<String> = columns.into_iter().map(Into::into).collect();
        if columns.is_empty() {
            return Err(Error::new(ErrorKind::Configuration, "a key needs at least one column"));
        }
        Ok(Self { columns: Some(columns), next: 0, sizes: empty(n)? })
    }

    /// The partition of each row. Counts nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] when a column of the key is not there or cannot be a key.
    pub fn partitions_of(&self, batch: &RecordBatch) -> Result<Vec<usize>> {
        let n = self.sizes.len();
        let rows = 0..batch.num_rows();
        let Some(columns) = &self.columns else {
            return Ok(rows.map(|row| (self.next + row) % n).collect());
        };
        let keys = ColumnKeys::new(batch, columns)?;
        let mut form = KeyForm::default();
        Ok(rows
            .map(|row| {
                form.clear();
                keys.write(row, &mut form);
                partition(&form, n)
            })
            .collect())
    }

    /// Divides a batch: one batch for each partition, empty where no row went.
    ///
    /// # Errors
    /// As [`Self::partitions_of`].
    pub fn split(&mut self, batch: &RecordBatch) -> Result<Vec<RecordBatch>> {
        let places = self.partitions_of(batch)?;
        let places: Vec<u32> = places.into_iter().map(|part| part as u32).collect();
        let batches = std::slice::from_ref(batch);
        let parts = scatter(&batch.schema(), batches, &places, self.sizes.len())?;
        for (size, part) in self.sizes.iter_mut().zip(&parts) {
            *size += part.num_rows() as u64;
        }
        self.next = (self.next + batch.num_rows()) % self.sizes.len();
        Ok(parts)
    }

    /// How evenly rows were divided, over all calls.
    pub fn statistics(&self) -> PartitionStatistics {
        PartitionStatistics::of(self.sizes.iter().copied())
    }
}

fn partition(form: &KeyForm, n: usize) -> usize {
    (form.hash() % n as u64) as usize
}

fn empty(n: usize) -> Result<Vec<u64>> {
    if n == 0 {
        return Err(Error::new(ErrorKind::Configuration, "0 partitions hold nothing")
            .hint("ask for at least one partition"));
    }
    Ok(vec![0; n])
}

/// How evenly something is divided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PartitionStatistics {
    /// Number of partitions.
    pub count: u64,
    /// Size of each.
    pub sizes: Vec<u64>,
    /// All sizes together.
    pub total: u64,
    /// Size that each would have if all were the same; 0 without partitions.
    pub average: f64,
    /// Size of the largest.
    pub largest: u64,
    /// The largest size by the average: 1 when all are the same (or empty), `count` when one has
    /// everything.
    pub skew: f64,
}

impl PartitionStatistics {
    /// Statistics of partitions of these sizes.
    pub fn of(sizes: impl IntoIterator<Item = u64>) -> Self {
        let sizes: Vec<u64> = sizes.into_iter().collect();
        let total: u64 = sizes.iter().sum();
        let largest = sizes.iter().copied().max().unwrap_or(0);
        let average = if sizes.is_empty() { 0.0 } else { total as f64 / sizes.len() as f64 };
        let skew = if total == 0 { 1.0 } else { largest as f64 / average };
        Self { count: sizes.len() as u64, sizes, total, average, largest, skew }
    }
}
