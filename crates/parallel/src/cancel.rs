//! The request to stop, shared by everyone who has to hear it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use gristmill_core::{Error, ErrorKind, Result};

/// A request to stop that is made once and never taken back. Clones share it.
///
/// Work that reaches its [point of no return](Self::commit) before the request is not stopped any
/// more; work that was asked to stop never gets there. So whoever asked may end the process at once
/// without leaving anything half-done.
///
/// ```
/// use gristmill_parallel::Cancel;
///
/// let cancel = Cancel::new();
/// let elsewhere = cancel.clone();
/// assert!(cancel.check().is_ok());
/// elsewhere.cancel();
/// assert!(cancel.is_cancelled());
/// ```
#[derive(Debug, Clone, Default)]
pub struct Cancel {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    cancelled: AtomicBool,
    /// Whether the point of no return was reached.
    committed: Mutex<bool>,
    woken: Condvar,
}

impl Cancel {
    /// A request not yet made.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks everyone to stop, and wakes those who [`wait`](Self::wait). Answers whether the request
    /// came in time; after [`Self::commit`] it changes nothing. Takes a lock for a moment, so call
    /// it from a thread that hears signals rather than from a signal handler.
    pub fn cancel(&self) -> bool {
        let committed = self.inner.committed.lock().unwrap_or_else(PoisonError::into_inner);
        if !*committed {
            self.inner.cancelled.store(true, Ordering::Release);
            self.inner.woken.notify_all();
        }
        self.is_cancelled()
    }

    /// Passes the point of no return: a request to stop that comes later is not heard.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`] when the request came first.
    pub fn commit(&self) -> Result<()> {
        let mut committed = self.inner.committed.lock().unwrap_or_else(PoisonError::into_inner);
        self.check()?;
        *committed = true;
        Ok(())
    }

    /// Hears requests to stop again, after [`Self::commit`]: other work begins.
    pub fn begin_again(&self) {
        *self.inner.committed.lock().unwrap_or_else(PoisonError::into_inner) = false;
    }

    /// Whether to stop.
    pub fn is_cancelled(&self) -> bool {
        self.inner.cancelled.load(Ordering::Acquire)
    }

    /// For use with `?` between two pieces of work.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`] once [`Self::cancel`] was called.
    pub fn check(&self) -> Result<()> {
        if self.is_cancelled() {
            return Err(Error::new(ErrorKind::Cancelled, "the work was interrupted"));
        }
        Ok(())
    }

    /// Sleeps for `time`, or until asked to stop. Answers whether to stop.
    pub fn wait(&self, time: Duration) -> bool {
        let end = Instant::now().checked_add(time);
        let mut guard = self.inner.committed.lock().unwrap_or_else(PoisonError::into_inner);
        while !self.is_cancelled() {
            // Times beyond what the clock can say are waited for in pieces.
            let left = match end {
                Some(end) => end.saturating_duration_since(Instant::now()),
                None => Duration::from_secs(3600),
            };
            if left.is_zero() {
                return false;
            }
            guard = self
                .inner
                .woken
                .wait_timeout(guard, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_heard_by_all_clones_and_stays() {
        let cancel = Cancel::new();
        let other = cancel.clone();
        assert!(other.check().is_ok());
        cancel.cancel();
        cancel.cancel();
        assert_eq!(other.check().unwrap_err().kind(), ErrorKind::Cancelled);
    }

    #[test]
    fn either_the_request_or_the_commit_comes_first() {
        let early = Cancel::new();
        assert!(early.cancel());
        assert!(early.commit().is_err());
        let late = Cancel::new();
        assert!(late.commit().is_ok());
        assert!(!late.cancel());
        assert!(late.check().is_ok());
    }

    #[test]
    fn a_wait_of_ages_ends_when_cancelled() {
        let cancel = Cancel::new();
        let waiter = cancel.clone();
        let waiting = std::thread::spawn(move || waiter.wait(Duration::MAX));
        cancel.cancel();
        assert!(waiting.join().unwrap());
    }

    #[test]
    fn a_wait_that_nobody_interrupts_says_so() {
        assert!(!Cancel::new().wait(Duration::ZERO));
    }
}
