//! What the parallel operations measure about themselves.

use std::time::Duration;

use gristmill_core::metrics::seconds;
use serde::{Deserialize, Serialize};

/// What an [`OrderedMap`](crate::OrderedMap) did so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapMetrics {
    /// Results given out.
    pub items: u64,
    /// Time spent in the work, added up over workers, in seconds.
    #[serde(with = "seconds")]
    pub busy: Duration,
    /// Time from the first call to the last, in seconds.
    #[serde(with = "seconds")]
    pub wall: Duration,
    /// Most bytes in flight at once.
    pub peak_bytes: usize,
    /// Most items in flight at once.
    pub peak_items: usize,
}

/// What a [`BatchProcessor`](crate::BatchProcessor) did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchMetrics {
    /// Batches that went through.
    pub batches_processed: u64,
    /// Records in them.
    pub records_processed: u64,
    /// Batches that failed.
    pub batches_failed: u64,
    /// Records in them.
    pub records_failed: u64,
    /// Results made of the batches that went through.
    pub results: u64,
    /// Time spent in the closure, added up over workers, in seconds.
    #[serde(with = "seconds")]
    pub processing_time: Duration,
    /// Time from the first batch to the last, in seconds.
    #[serde(with = "seconds")]
    pub wall: Duration,
}

/// What a [`ParallelProcessor`](crate::ParallelProcessor) did, over all its calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParallelMetrics {
    /// Items that went through.
    pub succeeded: u64,
    /// Items whose closure returned an error.
    pub failed: u64,
    /// Items whose closure panicked.
    pub panicked: u64,
    /// Time spent in closures, added up over workers, in seconds.
    #[serde(with = "seconds")]
    pub busy: Duration,
    /// Time spent in calls, added up over calls, in seconds.
    #[serde(with = "seconds")]
    pub wall: Duration,
}
