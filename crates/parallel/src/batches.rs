//! Work on many records at a time, where a batch that fails is kept and told.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use gristmill_core::{Error, ErrorKind, Result as CoreResult};

use crate::failure::Failure;
use crate::metrics::BatchMetrics;
use crate::ordered::{MapOptions, OrderedMap, ordered_map};
use crate::panics::caught;
use crate::pool::Pool;
use crate::rebatch::Rebatch;

/// Cuts records into batches of one size, the remainder included, and calls a closure for each.
///
/// Results come in the order of the records. A batch whose closure fails or panics is neither lost
/// nor the end: it is given back with its records, its place and its error, and counted.
///
/// ```
/// use gristmill_parallel::{BatchProcessor, Pool};
///
/// let processor = BatchProcessor::new(4)?.on(&Pool::new(2)?);
/// let outcome = processor.process(1..=10, |batch: &[i32]| {
///     if batch.contains(&6) {
///         return Err("six is not accepted");
///     }
///     Ok(batch.iter().map(|n| n * n).collect())
/// });
/// assert_eq!(outcome.results, [1, 4, 9, 16, 81, 100]);
/// assert_eq!(outcome.failed[0].records, [5, 6, 7, 8]);
/// assert_eq!(outcome.failed[0].to_string(), "batch 2 (records 5 to 8): six is not accepted");
/// assert_eq!(outcome.metrics.records_processed, 6);
/// # Ok::<(), gristmill_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct BatchProcessor {
    batch_size: usize,
    pool: Option<Pool>,
}

/// A batch that did not go through. `B` holds its records: `Vec<T>` or
/// `RecordBatch`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedBatch<B, E> {
    /// Number of the batch, from 1.
    pub number: u64,
    /// Positions of its records in the input, from 0.
    pub range: Range<u64>,
    /// Its records.
    pub records: B,
    /// Why it failed.
    pub error: Failure<E>,
}

impl<B, E: std::fmt::Display> std::fmt::Display for FailedBatch<B, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { number, range, error, .. } = self;
        write!(f, "batch {number} (records {} to {}): {error}", range.start + 1, range.end)
    }
}

impl<B: std::fmt::Debug, E: std::error::Error> std::error::Error for FailedBatch<B, E> {}

/// What came of all batches.
#[derive(Debug, Clone)]
pub struct BatchOutcome<B, U, E> {
    /// What the closure made, in the order of the records.
    pub results: Vec<U>,
    /// Batches that failed, in the order of the records.
    pub failed: Vec<FailedBatch<B, E>>,
    /// What was done.
    pub metrics: BatchMetrics,
}

impl BatchProcessor {
    /// Batches of `batch_size` records, worked on one after the other on the calling thread.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] for batches of no record.
    pub fn new(batch_size: usize) -> CoreResult<Self> {
        if batch_size == 0 {
            return Err(Error::new(ErrorKind::Configuration, "a batch of 0 records holds nothing")
                .hint("ask for batches of at least one record"));
        }
        Ok(Self { batch_size, pool: None })
    }

    /// Works on batches in parallel. Called by one of the pool's own workers, batches are worked
    /// on one after the other.
    #[must_use]
    pub fn on(mut self, pool: &Pool) -> Self {
        self.pool = Some(pool.clone());
        self
    }

    /// Works on all records and gathers what comes of them.
    pub fn process<T, U, E, I, F>(&self, records: I, work: F) -> BatchOutcome<Vec<T>, U, E>
    where
        I: IntoIterator<Item = T>,
        F: Fn(&[T]) -> Result<Vec<U>, E> + Send + Sync + 'static,
        T: Send + 'static,
        U: Send + 'static,
        E: Send + 'static,
    {
        let mut batches = self.stream(records, work);
        let (mut results, mut failed) = (Vec::new(), Vec::new());
        for batch in batches.by_ref() {
            match batch {
                Ok(batch) => results.extend(batch),
                Err(batch) => failed.push(batch),
            }
        }
        BatchOutcome { results, failed, metrics: batches.metrics() }
    }

    /// As [`process`](Self::process), one batch at a time: pulls as many records as the pool can
    /// work on and gives each batch's results, or the batch, when its turn comes.
    ///
    /// # Panics
    /// The result's `next` does, when a worker of the pool calls it: it would wait for itself.
    pub fn stream<T, U, E, I, F>(
        &self,
        records: I,
        work: F,
    ) -> Batches<Vec<T>, U, E, Pieces<I::IntoIter>>
    where
        I: IntoIterator<Item = T>,
        F: Fn(&[T]) -> Result<Vec<U>, E> + Send + Sync + 'static,
        T: Send + 'static,
        U: Send + 'static,
        E: Send + 'static,
    {
        let pieces = Pieces {
            records: records.into_iter(),
            batch_size: self.batch_size,
            number: 0,
            position: 0,
        };
        self.batches(pieces, move |records: &Vec<T>| work(records))
    }

    /// As [`process`](Self::process), over the rows of Arrow batches: whatever their sizes, the
    /// closure gets `batch_size` rows at a time. Rows of different schemas never share a batch.
    ///
    /// # Errors
    /// When rows cannot be put together into one batch (more text than Arrow's offsets can say).
    pub fn process_columns<U, E, I, F>(
        &self,
        batches: I,
        work: F,
    ) -> CoreResult<BatchOutcome<RecordBatch, U, E>>
    where
        I: IntoIterator<Item = RecordBatch>,
        F: Fn(&RecordBatch) -> Result<Vec<U>, E> + Send + Sync + 'static,
        U: Send + 'static,
        E: Send + 'static,
    {
        let mut number = 0;
        let mut position = 0;
        let pieces = Rebatch::new(batches.into_iter(), self.batch_size).map(move |records| {
            let records = records?;
            let start = position;
            number += 1;
            position += records.num_rows() as u64;
            Ok(Piece { number, range: start..position, records })
        });
        let mut batches = self.batches(pieces, work);
        let (mut results, mut failed) = (Vec::new(), Vec::new());
        while let Some(batch) = batches.advance() {
            match batch? {
                Ok(batch) => results.extend(batch),
                Err(batch) => failed.push(batch),
            }
        }
        Ok(BatchOutcome { results, failed, metrics: batches.metrics() })
    }

    fn batches<B, U, E, I, F>(&self, pieces: I, work: F) -> Batches<B, U, E, I>
    where
        I: Iterator<Item = CoreResult<Piece<B>>>,
        F: Fn(&B) -> Result<Vec<U>, E> + Send + Sync + 'static,
        B: Send + 'static,
        U: Send + 'static,
        E: Send + 'static,
    {
        let work: Work<B, U, E> = Arc::new(work);
        let source = match &self.pool {
            Some(pool) if !pool.is_worker() => {
                let work = move |piece| Ok(done(piece, &*work));
                let map = ordered_map(pool, MapOptions::default(), pieces, |_| 0, work);
                Source::Pool(Box::new(map))
            }
            _ => Source::Here(pieces, work),
        };
        Batches { source, started: None, metrics: BatchMetrics::default() }
    }
}

/// Batches being worked on: for each its results or, when it failed, the batch itself.
pub struct Batches<B, U, E, I> {
    source: Source<B, U, E, I>,
    started: Option<Instant>,
    metrics: BatchMetrics,
}

impl<B, U, E, I> Batches<B, U, E, I> {
    /// What was done so far.
    pub fn metrics(&self) -> BatchMetrics {
        self.metrics
    }
}

impl<B, U, E, I> Batches<B, U, E, I>
where
    I: Iterator<Item = CoreResult<Piece<B>>>,
    B: Send + 'static,
    U: Send + 'static,
    E: Send + 'static,
{
    fn advance(&mut self) -> Option<CoreResult<BatchResult<B, U, E>>> {
        let started = *self.started.get_or_insert_with(Instant::now);
        let done = match &mut self.source {
            Source::Here(pieces, work) => {
                pieces.next().map(|piece| piece.map(|piece| done(piece, &**work)))
            }
            Source::Pool(map) => map.next(),
        };
        let metrics = &mut self.metrics;
        metrics.wall = started.elapsed();
        let Done { records, busy, result } = match done? {
            Ok(done) => done,
            Err(error) => return Some(Err(error)),
        };
        metrics.processing_time += busy;
        match &result {
            Ok(results) => {
                metrics.batches_processed += 1;
                metrics.records_processed += records;
                metrics.results += results.len() as u64;
            }
            Err(_) => {
                metrics.batches_failed += 1;
                metrics.records_failed += records;
            }
        }
        Some(Ok(result))
    }
}

impl<T, U, E, I> Iterator for Batches<Vec<T>, U, E, Pieces<I>>
where
    I: Iterator<Item = T>,
    T: Send + 'static,
    U: Send + 'static,
    E: Send + 'static,
{
    type Item = Result<Vec<U>, FailedBatch<Vec<T>, E>>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.advance()? {
            Ok(batch) => Some(batch),
            // Cutting records into batches cannot fail and nobody cancels: only misuse is left.
            Err(error) => panic!("{error}"),
        }
    }
}

/// A batch's results, or the batch.
type BatchResult<B, U, E> = Result<Vec<U>, FailedBatch<B, E>>;
type OnPool<B, U, E, I> = OrderedMap<Piece<B>, Done<B, U, E>, I>;
type Work<B, U, E> = Arc<dyn Fn(&B) -> Result<Vec<U>, E> + Send + Sync>;

enum Source<B, U, E, I> {
    Here(I, Work<B, U, E>),
    Pool(Box<OnPool<B, U, E, I>>),
}

/// Some records that follow each other in the input.
pub struct Piece<B> {
    number: u64,
    range: Range<u64>,
    records: B,
}

struct Done<B, U, E> {
    records: u64,
    busy: Duration,
    result: BatchResult<B, U, E>,
}

fn done<B, U, E>(
    piece: Piece<B>,
    work: &(dyn Fn(&B) -> Result<Vec<U>, E> + Send + Sync),
) -> Done<B, U, E> {
    let start = Instant::now();
    let result = caught(|| work(&piece.records));
    let busy = start.elapsed();
    let Piece { number, range, records } = piece;
    let count = range.end - range.start;
    let result = match result {
        Ok(Ok(results)) => Ok(results),
        Ok(Err(error)) => Err(Failure::Failed(error)),
        Err(message) => Err(Failure::Panicked(message)),
    };
    let result = result.map_err(|error| FailedBatch { number, range, records, error });
    Done { records: count, busy, result }
}

/// Records cut into batches.
pub struct Pieces<I> {
    records: I,
    batch_size: usize,
    number: u64,
    position: u64,
}

impl<T, I: Iterator<Item = T>> Iterator for Pieces<I> {
    type Item = CoreResult<Piece<Vec<T>>>;

    fn next(&mut self) -> Option<Self::Item> {
        let records: Vec<T> = self.records.by_ref().take(self.batch_size).collect();
        if records.is_empty() {
            return None;
        }
        let start = self.position;
        self.number += 1;
        self.position += records.len() as u64;
        Some(Ok(Piece { number: self.number, range: start..self.position, records }))
    }
}
