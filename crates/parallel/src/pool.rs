//! Worker threads with names. Which work runs on them is the business of the other modules.

use std::fmt;
use std::sync::Arc;

use gristmill_core::{Error, ErrorKind, Result};
use rayon::{ThreadPool, ThreadPoolBuilder};

/// A fixed number of worker threads, named `gristmill-worker-0`, `gristmill-worker-1` and so on.
///
/// Clones share the threads; they end when the last clone is dropped and the work given to them
/// is done.
///
/// ```
/// use gristmill_parallel::Pool;
///
/// let pool = Pool::new(4)?;
/// assert_eq!(pool.workers(), 4);
/// # Ok::<(), gristmill_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Pool {
    threads: Arc<ThreadPool>,
}

impl Pool {
    /// Starts `workers` threads.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] for no worker, [`ErrorKind::Io`] when the system refuses the
    /// threads.
    pub fn new(workers: usize) -> Result<Self> {
        Self::named("worker", workers)
    }

    /// Starts `workers` threads named `gristmill-ROLE-0`, `gristmill-ROLE-1` and so on.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn named(role: &'static str, workers: usize) -> Result<Self> {
        if workers == 0 {
            return Err(Error::new(ErrorKind::Configuration, "a pool of 0 workers does no work")
                .hint("ask for at least one worker"));
        }
        let threads = ThreadPoolBuilder::new()
            .num_threads(workers)
            .thread_name(move |n| format!("gristmill-{role}-{n}"))
            .build()
            .map_err(|source| {
                Error::new(ErrorKind::Io, format!("cannot start {workers} worker threads"))
                    .hint("ask for fewer workers")
                    .caused_by(source)
            })?;
        Ok(Self { threads: Arc::new(threads) })
    }

    /// Number of threads.
    pub fn workers(&self) -> usize {
        self.threads.current_num_threads()
    }

    /// Whether the calling thread is one of the workers.
    pub fn is_worker(&self) -> bool {
        self.threads.current_thread_index().is_some()
    }

    pub(crate) fn threads(&self) -> &ThreadPool {
        &self.threads
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("workers", &self.workers()).finish()
    }
}
