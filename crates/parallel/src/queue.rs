//! Work handed over piece by piece, results taken in the same order.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};

use gristmill_core::{Error, Result};

use crate::panics::caught;
use crate::pool::Pool;

/// A queue of work that runs on a pool, for callers that have no iterator of it: where
/// [`ordered_map`](crate::ordered_map) pulls, this is pushed. It bounds nothing: the caller takes
/// results before it hands over more. Dropped, it starts nothing more.
///
/// ```
/// use gristmill_parallel::{OrderedQueue, Pool};
///
/// let mut queue = OrderedQueue::new(Pool::new(2)?);
/// for n in 1..=3 {
///     queue.submit(move || Ok(n * n));
/// }
/// let results: Vec<i32> = std::iter::from_fn(|| queue.take()).collect::<Result<_, _>>()?;
/// assert_eq!(results, [1, 4, 9]);
/// # Ok::<(), gristmill_core::Error>(())
/// ```
pub struct OrderedQueue<R> {
    pool: Pool,
    pending: VecDeque<Receiver<Result<R>>>,
    stop: Arc<AtomicBool>,
}

impl<R: Send + 'static> OrderedQueue<R> {
    /// An empty queue, whose work will run on the pool.
    pub fn new(pool: Pool) -> Self {
        Self { pool, pending: VecDeque::new(), stop: Arc::new(AtomicBool::new(false)) }
    }

    /// Hands work over. A panic in it becomes an error of kind
    /// [`Internal`](gristmill_core::ErrorKind::Internal).
    pub fn submit(&mut self, work: impl FnOnce() -> Result<R> + Send + 'static) {
        let (done, result) = sync_channel(1);
        let stop = Arc::clone(&self.stop);
        self.pool.threads().spawn(move || {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let outcome = caught(work).unwrap_or_else(|panic| {
                Err(Error::internal(format!("work on a queue panicked: {panic}")))
            });
            let _ = done.send(outcome); // nobody may want it any more
        });
        self.pending.push_back(result);
    }

    /// The oldest result that was not taken yet, waiting for it; `None` if all were taken.
    pub fn take(&mut self) -> Option<Result<R>> {
        let result = self.pending.pop_front()?;
        Some(result.recv().unwrap_or_else(|_| Err(lost())))
    }

    /// As [`Self::take`], but `None` also if it is not there yet.
    pub fn take_ready(&mut self) -> Option<Result<R>> {
        let result = match self.pending.front()?.try_recv() {
            Err(TryRecvError::Empty) => return None,
            Err(TryRecvError::Disconnected) => Err(lost()),
            Ok(result) => result,
        };
        self.pending.pop_front();
        Some(result)
    }

    /// Results that were not taken yet.
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// Whether every result was taken.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }
}

fn lost() -> Error {
    Error::internal("work on a queue ended without a result")
}

impl<R> Drop for OrderedQueue<R> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl<R> fmt::Debug for OrderedQueue<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pending = self.pending.len();
        f.debug_struct("OrderedQueue").field("pool", &self.pool).field("pending", &pending).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_and_a_panic_is_an_error_of_its_own() {
        let mut queue = OrderedQueue::new(Pool::new(3).unwrap());
        for n in 0..50u64 {
            queue.submit(move || {
                std::thread::sleep(std::time::Duration::from_micros(n * 37 % 200));
                assert!(n != 20, "twenty");
                Ok(n)
            });
        }
        assert_eq!(queue.len(), 50);
        for n in 0..50 {
            let result = if n % 2 == 0 { queue.take() } else { None };
            let result = result.or_else(|| queue.take_ready()).or_else(|| queue.take()).unwrap();
            match result {
                Ok(found) => assert_eq!(found, n),
                Err(error) => assert!(n == 20 && error.to_string().ends_with("twenty"), "{error}"),
            }
        }
        assert!(queue.is_empty() && queue.take().is_none() && queue.take_ready().is_none());
    }
}
