//! A parallel map over a list whose items fail one by one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gristmill_core::Result as CoreResult;
use rayon::prelude::*;

use crate::failure::Failure;
use crate::metrics::ParallelMetrics;
use crate::panics::caught;
use crate::pool::Pool;

/// Calls a closure for each item of a list on its own pool of workers.
///
/// Work that computes and work that waits want different pools: [`cpu`](Self::cpu) takes about as
/// many workers as the machine has cores and hands them runs of neighbouring items;
/// [`io`](Self::io) takes as many as may wait at once and hands them single items.
///
/// ```
/// use gristmill_parallel::ParallelProcessor;
///
/// let cpu = ParallelProcessor::cpu(4)?;
/// let numbers = cpu.map(["12", "x", "30"], |text| text.parse::<i64>());
/// assert_eq!(numbers[0], Ok(12));
/// assert!(numbers[1].is_err()); // the others go on
/// assert_eq!(numbers[2], Ok(30));
/// assert_eq!((cpu.metrics().succeeded, cpu.metrics().failed), (2, 1));
/// # Ok::<(), gristmill_core::Error>(())
/// ```
#[derive(Debug)]
pub struct ParallelProcessor {
    pool: Pool,
    longest_run: usize,
    counters: Counters,
}

#[derive(Debug, Default)]
struct Counters {
    succeeded: AtomicU64,
    failed: AtomicU64,
    panicked: AtomicU64,
    busy_nanos: AtomicU64,
    wall_nanos: AtomicU64,
}

impl ParallelProcessor {
    /// Workers for work that computes, named `gristmill-cpu-0` and so on.
    ///
    /// # Errors
    /// As [`Pool::new`].
    pub fn cpu(workers: usize) -> CoreResult<Self> {
        Self::new("cpu", workers, usize::MAX)
    }

    /// Workers for work that waits for files, servers or other programs, named `gristmill-io-0`
    /// and so on. At most `workers` items wait at once.
    ///
    /// # Errors
    /// As [`Pool::new`].
    pub fn io(workers: usize) -> CoreResult<Self> {
        Self::new("io", workers, 1)
    }

    fn new(role: &'static str, workers: usize, longest_run: usize) -> CoreResult<Self> {
        let pool = Pool::named(role, workers)?;
        Ok(Self { pool, longest_run, counters: Counters::default() })
    }

    /// Calls `work` for each item and gives what came of each, in the order of the items. An
    /// error or a panic concerns its own item alone.
    ///
    /// Everything is in memory at once; [`ordered_map`](crate::ordered_map) on
    /// [`pool`](Self::pool) is the map that is not.
    pub fn map<T, U, E, F>(
        &self,
        items: impl IntoIterator<Item = T>,
        work: F,
    ) -> Vec<Result<U, Failure<E>>>
    where
        T: Send,
        U: Send,
        E: Send,
        F: Fn(T) -> Result<U, E> + Sync + Send,
    {
        let start = Instant::now();
        let items: Vec<T> = items.into_iter().collect();
        let results = self.pool.threads().install(|| {
            items
                .into_par_iter()
                .with_max_len(self.longest_run)
                .map(|item| self.one(item, &work))
                .collect()
        });
        self.counters.wall_nanos.fetch_add(nanos(start), Ordering::Relaxed);
        results
    }

    /// The workers, for use with [`ordered_map`](crate::ordered_map).
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// What was done so far, over all calls.
    pub fn metrics(&self) -> ParallelMetrics {
        let Counters { succeeded, failed, panicked, busy_nanos, wall_nanos } = &self.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ParallelMetrics {
            succeeded: read(succeeded),
            failed: read(failed),
            panicked: read(panicked),
            busy: Duration::from_nanos(read(busy_nanos)),
            wall: Duration::from_nanos(read(wall_nanos)),
        }
    }

    fn one<T, U, E>(&self, item: T, work: impl Fn(T) -> Result<U, E>) -> Result<U, Failure<E>> {
        let start = Instant::now();
        let result = match caught(|| work(item)) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(Failure::Failed(error)),
            Err(message) => Err(Failure::Panicked(message)),
        };
        self.counters.busy_nanos.fetch_add(nanos(start), Ordering::Relaxed);
        let counter = match &result {
            Ok(_) => &self.counters.succeeded,
            Err(Failure::Failed(_)) => &self.counters.failed,
            Err(Failure::Panicked(_)) => &self.counters.panicked,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        result
    }
}

fn nanos(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)
}
