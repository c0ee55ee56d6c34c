//! The ordered parallel map: work runs on a pool, results come in input order.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gristmill_core::{Error, Result};

use crate::cancel::Cancel;
use crate::memory::{Memory, Window};
use crate::metrics::MapMetrics;
use crate::panics::caught;
use crate::pool::Pool;

/// Bounds of an [`ordered_map`].
#[derive(Debug, Clone)]
pub struct MapOptions {
    /// Sizes of the items in flight together, in bytes. One item always runs, however large.
    pub budget: usize,
    /// Bounds the items in flight by the process's memory too: by what it holds, and what the
    /// items before took. One item always runs.
    pub memory: Option<Memory>,
    /// Stops the map: no item is started after it.
    pub cancel: Cancel,
    /// Items in flight at once; `None` for twice the workers and two more.
    pub max_in_flight: Option<usize>,
}

impl Default for MapOptions {
    /// No bound in bytes, nobody to cancel, the usual number in flight.
    fn default() -> Self {
        Self { budget: usize::MAX, memory: None, cancel: Cancel::new(), max_in_flight: None }
    }
}

/// Runs `work` for each item of `input` on the pool and gives the results in input order.
///
/// The map is lazy: each call of `next` pulls items from `input`, on the calling thread, until the
/// bounds are reached, hands them to the pool and waits for the oldest. An item is *in flight*
/// from its submission until its result is given out; `size` says what it counts against the
/// budget. An item that was pulled and does not fit waits outside the budget, one at a time.
///
/// - The first error in input order, of `input` or of `work`, is given out and ends the iterator.
///   Once an item fails, later ones are neither pulled nor started.
/// - A panic in `work` becomes an error of kind [`Internal`](gristmill_core::ErrorKind::Internal)
///   that names the chunk (the number of the item, from 1) and the panic's message. The process's
///   panic hook runs as for any panic.
/// - Once cancelled, the next call gives an error of kind
///   [`Cancelled`](gristmill_core::ErrorKind::Cancelled) and the iterator ends.
/// - Dropping the map waits for the work that runs; what has not started never does. When it is
///   dropped, so is every clone of `work`.
///
/// Maps nest: `input` may be another map on the same pool, because both are pulled on the calling
/// thread and no worker ever waits. For that reason the caller must not be a worker of the pool:
/// there the map gives an error of kind `Internal` instead of waiting for itself.
///
/// ```
/// use gristmill_parallel::{MapOptions, Pool, ordered_map};
///
/// let pool = Pool::new(2)?;
/// let lines = ["1", "20", "300"].map(|line| Ok(line.to_owned()));
/// let options = MapOptions { budget: 64 << 20, ..MapOptions::default() };
/// let lengths: Vec<usize> =
///     ordered_map(&pool, options, lines.into_iter(), String::len, |line| Ok(line.len()))
///         .collect::<Result<_, _>>()?;
/// assert_eq!(lengths, [1, 2, 3]);
/// # Ok::<(), gristmill_core::Error>(())
/// ```
pub fn ordered_map<T, R, I, W>(
    pool: &Pool,
    options: MapOptions,
    input: I,
    size: fn(&T) -> usize,
    work: W,
) -> OrderedMap<T, R, I>
where
    I: Iterator<Item = Result<T>>,
    T: Send + 'static,
    R: Send + 'static,
    W: Fn(T) -> Result<R> + Send + Sync + 'static,
{
    let max_items = options.max_in_flight.unwrap_or(pool.workers() * 2 + 2).max(1);
    OrderedMap {
        pool: pool.clone(),
        budget: options.budget,
        cancel: options.cancel,
        window: Window::new(options.memory, max_items),
        input: Some(input),
        size,
        work: Arc::new(work),
        shared: Arc::new(Shared::default()),
        waiting: None,
        sizes: VecDeque::new(),
        bytes: 0,
        submitted: 0,
        input_error: None,
        ended: false,
        started: None,
        metrics: MapMetrics::default(),
    }
}

/// The results of an [`ordered_map`], in input order.
pub struct OrderedMap<T, R, I> {
    pool: Pool,
    budget: usize,
    cancel: Cancel,
    window: Window,
    /// `None` at its end.
    input: Option<I>,
    size: fn(&T) -> usize,
    work: Arc<dyn Fn(T) -> Result<R> + Send + Sync>,
    shared: Arc<Shared<R>>,
    /// Pulled, and too large for now.
    waiting: Option<(T, usize)>,
    /// Sizes of the items in flight, oldest first.
    sizes: VecDeque<usize>,
    bytes: usize,
    submitted: u64,
    /// The input's error: given out after everything before it.
    input_error: Option<Error>,
    ended: bool,
    started: Option<Instant>,
    metrics: MapMetrics,
}

impl<T, R, I> OrderedMap<T, R, I> {
    /// What the map did so far.
    pub fn metrics(&self) -> MapMetrics {
        MapMetrics { busy: self.shared.lock().busy, ..self.metrics }
    }
}

impl<T, R, I> Iterator for OrderedMap<T, R, I>
where
    I: Iterator<Item = Result<T>>,
    T: Send + 'static,
    R: Send + 'static,
{
    type Item = Result<R>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        if self.started.is_none() {
            self.window.open();
        }
        let started = *self.started.get_or_insert_with(Instant::now);
        let item = self.advance();
        match &item {
            Some(Ok(_)) => self.metrics.items += 1,
            Some(Err(_)) | None => {
                self.ended = true;
                self.shared.stop.store(true, Ordering::Relaxed);
            }
        }
        self.metrics.wall = started.elapsed();
        item
    }
}

impl<T, R, I> std::iter::FusedIterator for OrderedMap<T, R, I>
where
    I: Iterator<Item = Result<T>>,
    T: Send + 'static,
    R: Send + 'static,
{
}

impl<T, R, I> OrderedMap<T, R, I>
where
    I: Iterator<Item = Result<T>>,
    T: Send + 'static,
    R: Send + 'static,
{
    fn advance(&mut self) -> Option<Result<R>> {
        if self.pool.is_worker() {
            return Some(Err(Error::internal("an ordered map was read by a worker of its pool")));
        }
        if let Err(cancelled) = self.cancel.check() {
            return Some(Err(cancelled));
        }
        self.fill();
        let Some(size) = self.sizes.pop_front() else {
            if let Some(error) = self.input_error.take() {
                return Some(Err(error));
            }
            // Cancelled while filling, before anything was in flight.
            return self.cancel.check().err().map(Err);
        };
        let result = self.shared.oldest();
        self.window.learn(self.sizes.len() + 1);
        self.bytes -= size;
        Some(result)
    }

    fn fill(&mut self) {
        while self.window.has_room(self.sizes.len())
            && !self.shared.has_failed()
            && !self.cancel.is_cancelled()
        {
            // The first result goes out as soon as it can: those who wait for it have had nothing to
            // do yet. Until then no more is pulled than keeps the workers busy.
            let is_first = self.metrics.items == 0;
            if is_first && (self.sizes.len() > self.pool.workers() || self.shared.has_oldest()) {
                break;
            }
            let Some((item, size)) = self.waiting.take().or_else(|| self.pull()) else { break };
            if !self.sizes.is_empty() && size > self.budget.saturating_sub(self.bytes) {
                self.waiting = Some((item, size));
                break;
            }
            self.window.first(size);
            self.submit(item, size);
        }
    }

    fn pull(&mut self) -> Option<(T, usize)> {
        match self.input.as_mut()?.next() {
            Some(Ok(item)) => {
                let size = (self.size)(&item);
                Some((item, size))
            }
            Some(Err(error)) => {
                self.input_error = Some(error);
                self.input = None;
                None
            }
            None => {
                self.input = None;
                None
            }
        }
    }

    fn submit(&mut self, item: T, size: usize) {
        let index = self.submitted;
        self.submitted += 1;
        self.sizes.push_back(size);
        self.bytes = self.bytes.saturating_add(size);
        self.metrics.peak_bytes = self.metrics.peak_bytes.max(self.bytes);
        self.metrics.peak_items = self.metrics.peak_items.max(self.sizes.len());
        self.shared.expect_one();
        let shared = Arc::clone(&self.shared);
        let work = Arc::clone(&self.work);
        let cancel = self.cancel.clone();
        self.pool.threads().spawn(move || {
            let mut busy = Duration::ZERO;
            // Dropping an item unused is inside too: nothing may unwind past `finish`.
            let outcome = caught(|| {
                if shared.skips(index) {
                    drop(item);
                    return Err(Error::internal("the result of a skipped item was asked for"));
                }
                cancel.check()?;
                let start = Instant::now();
                let result = caught(|| work(item));
                busy = start.elapsed();
                result.unwrap_or_else(|panic| Err(panicked(index, &panic)))
            });
            let result = outcome.unwrap_or_else(|panic| Err(panicked(index, &panic)));
            drop(work); // before the result is seen: what `work` holds is free by then
            shared.finish(index, result, busy);
        });
    }
}

fn panicked(index: u64, message: &str) -> Error {
    Error::internal(format!("chunk {} panicked: {message}", index + 1))
}

impl<T, R, I> Drop for OrderedMap<T, R, I> {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        // An inner map stops now too, not after this one has waited.
        self.input = None;
        if !self.pool.is_worker() {
            self.shared.wait_for_all();
        }
    }
}

impl<T, R, I> fmt::Debug for OrderedMap<T, R, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OrderedMap")
            .field("pool", &self.pool)
            .field("in_flight", &self.sizes.len())
            .field("bytes", &self.bytes)
            .field("metrics", &self.metrics())
            .finish_non_exhaustive()
    }
}

/// What the caller and the workers share.
struct Shared<R> {
    state: Mutex<State<R>>,
    changed: Condvar,
    /// Nothing more is wanted.
    stop: AtomicBool,
    /// The first item known to have failed.
    failed: AtomicU64,
}

struct State<R> {
    /// Index of the item in the first slot.
    first: u64,
    slots: VecDeque<Option<Result<R>>>,
    unfinished: usize,
    busy: Duration,
}

impl<R> Default for Shared<R> {
    fn default() -> Self {
        let state = State { first: 0, slots: VecDeque::new(), unfinished: 0, busy: Duration::ZERO };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
            stop: AtomicBool::new(false),
            failed: AtomicU64::new(u64::MAX),
        }
    }
}

impl<R> Shared<R> {
    fn lock(&self) -> MutexGuard<'_, State<R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn expect_one(&self) {
        let mut state = self.lock();
        state.slots.push_back(None);
        state.unfinished += 1;
    }

    fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed) != u64::MAX
    }

    /// Whether the result of this item will never be given out.
    fn skips(&self, index: u64) -> bool {
        self.stop.load(Ordering::Relaxed) || self.failed.load(Ordering::Relaxed) < index
    }

    fn finish(&self, index: u64, result: Result<R>, busy: Duration) {
        if result.is_err() {
            self.failed.fetch_min(index, Ordering::Relaxed);
        }
        let mut state = self.lock();
        let slot = (index - state.first) as usize;
        state.slots[slot] = Some(result);
        state.unfinished -= 1;
        state.busy += busy;
        // Under the lock, so that the state is this thread's last touch of anything shared.
        self.changed.notify_all();
    }

    /// Whether the oldest item is done.
    fn has_oldest(&self) -> bool {
        matches!(self.lock().slots.front(), Some(Some(_)))
    }

    /// Waits for the oldest item and takes its result. There is one.
    fn oldest(&self) -> Result<R> {
        let mut state = self.lock();
        loop {
            if let Some(result) = state.slots.front_mut().and_then(Option::take) {
                state.slots.pop_front();
                state.first += 1;
                return result;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until no work runs, and drops the results that nobody took.
    fn wait_for_all(&self) {
        let mut state = self.lock();
        while state.unfinished > 0 {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.slots.clear(); // here, not on the worker that lets go of `self` last
    }
}
