//! Work that several threads share while nothing else is to be done.

use std::cmp::Ordering;
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Items that are sorted by one thread.
const FEW: usize = 1 << 14;

/// Sorts with so many threads.
pub(super) fn sort<T: Send>(
    items: &mut [T],
    threads: usize,
    compare: &(impl Fn(&T, &T) -> Ordering + Sync),
) {
    if threads < 2 || items.len() < FEW {
        return items.sort_unstable_by(compare);
    }
    let left_threads = threads / 2;
    let middle = items.len() / threads * left_threads;
    let (left, _, right) = items.select_nth_unstable_by(middle, compare);
    thread::scope(|scope| {
        scope.spawn(|| sort(left, left_threads, compare));
        sort(right, threads - left_threads, compare);
    });
}

/// Does something with each item, and answers the results in their order.
pub(super) fn each<T: Send, R: Send>(
    items: impl IntoIterator<Item = T, IntoIter: Send>,
    threads: usize,
    work: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    let items = Mutex::new(items.into_iter().enumerate());
    let next = || items.lock().unwrap_or_else(PoisonError::into_inner).next();
    let works = || {
        let mut done = Vec::new();
        while let Some((number, item)) = next() {
            done.push((number, work(item)));
        }
        done
    };
    let mut done = thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(works)).collect();
        let mut done = works();
        for other in others {
            match other.join() {
                Ok(more) => done.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        done
    });
    done.sort_unstable_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, result)| result).collect()
}
