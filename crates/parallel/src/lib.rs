//! Parallel work with bounds: an ordered map on a pool of workers, cancellation and retries.
pub mod cancel;
pub mod duration;
pub mod metrics;
pub mod ordered;
mod panics;
pub mod pool;
pub mod retry;

pub use cancel::Cancel;
pub use duration::Duration;
pub use metrics::{BatchMetrics, MapMetrics, ParallelMetrics};
pub use ordered::{MapOptions, OrderedMap, ordered_map};
pub use pool::Pool;
pub use retry::{Attempts, FailedAttempt, Jitter, Retry, retry};
