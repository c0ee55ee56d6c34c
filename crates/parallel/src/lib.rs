//! Parallel work with bounds, for pipelines and for programs of your own.
//!
//! Where a program has a loop over chunks, a thread pool, a process pool or a hash partitioner,
//! this crate has:
//!
//! | instead of | use |
//! |---|---|
//! | a loop that reads a chunk, works on it and appends the result | [`ordered_map`]: the same, on all cores, with results in order and memory bounded |
//! | slicing a list into chunks and losing the one that failed | [`BatchProcessor`]: batches of one size, failed ones given back with their records |
//! | a pool of threads for requests and files | [`ParallelProcessor::io`] |
//! | a pool of processes for computing | [`ParallelProcessor::cpu`]: threads, so nothing is copied between processes |
//! | `hash(key) % n`, with a hash that differs from run to run | [`Partitioner`], [`BatchPartitioner`]: a hash that is the same everywhere |
//! | concatenating results, sorting again, dropping duplicates | [`Merger`], [`BatchMerger`], [`merge_ordered`] |
//! | a loop with `sleep` around a call that fails now and then | [`retry()`], [`Attempts`] |
//! | a `set` of keys, or a list of everything, until the memory is full | [`spill`]: keys and batches that go on on disk |
//! | a global flag asked here and there | [`Cancel`] |
//!
//! Nothing here depends on the number of workers except how long it takes: results come in input
//! order, the first error in input order is the error, and a key's partition follows from the key.
//! A panic in a closure is an error of its item and never takes the process down.
//!
//! ```
//! use gristmill_parallel::{MapOptions, Pool, ordered_map};
//!
//! // Sums of squares of four chunks, at most 1 MiB of chunks in memory at once.
//! let pool = Pool::new(4)?;
//! let chunks = (0..4u64).map(|chunk| Ok((chunk * 1_000..(chunk + 1) * 1_000).collect::<Vec<_>>()));
//! let options = MapOptions { budget: 1 << 20, ..MapOptions::default() };
//! let sums = ordered_map(&pool, options, chunks, |chunk| chunk.len() * 8, |chunk| {
//!     Ok(chunk.iter().map(|n| n * n).sum::<u64>())
//! });
//! assert_eq!(sums.sum::<Result<u64, _>>()?, (0..4_000).map(|n: u64| n * n).sum::<u64>());
//! # Ok::<(), gristmill_core::Error>(())
//! ```

pub mod batches;
pub mod cancel;
pub mod columns;
pub mod duration;
pub mod failure;
pub mod flush;
pub mod key;
pub mod memory;
mod merge;
pub mod metrics;
pub mod ordered;
mod panics;
pub mod partition;
pub mod pool;
pub mod processor;
pub mod queue;
mod rebatch;
pub mod retry;
mod scatter;
pub mod spill;
pub mod views;

pub use batches::{BatchOutcome, BatchProcessor, Batches, FailedBatch};
pub use cancel::Cancel;
pub use columns::ColumnKeys;
pub use duration::Duration;
pub use failure::Failure;
pub use flush::Flusher;
pub use key::{Key, KeyForm, KeyHash};
pub use memory::Memory;
pub use merge::{BatchMerger, Keep, MergeOrdered, Merged, MergedBatch, Merger, merge_ordered};
pub use metrics::{BatchMetrics, MapMetrics, ParallelMetrics};
pub use ordered::{MapOptions, OrderedMap, ordered_map};
pub use partition::{BatchPartitioner, PartitionStatistics, Partitioner};
pub use pool::Pool;
pub use processor::ParallelProcessor;
pub use queue::OrderedQueue;
pub use retry::{Attempts, FailedAttempt, Jitter, Retry, retry};
pub use scatter::{NOWHERE, scatter};
