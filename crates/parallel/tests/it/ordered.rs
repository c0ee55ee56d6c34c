use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};

use gristmill_core::{Error, ErrorKind, Result};
use gristmill_parallel::{Cancel, MapOptions, Pool, ordered_map};
use proptest::prelude::*;

/// Takes longer for larger numbers, without sleeping; answers something that depends on all of it.
fn grind(item: usize) -> u64 {
    let mut value = item as u64 + 1;
    for _ in 0..item % 7_919 {
        value ^= value << 13;
        value ^= value >> 7;
        value ^= value << 17;
    }
    value
}

fn size(item: &usize) -> usize {
    *item
}

fn ok(items: impl IntoIterator<Item = usize>) -> impl Iterator<Item = Result<usize>> {
    items.into_iter().map(Ok)
}

fn within(budget: usize) -> MapOptions {
    MapOptions { budget, ..MapOptions::default() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn gives_what_a_sequential_map_gives(
        items in prop::collection::vec(0usize..20_000, 0..80),
        workers in prop::sample::select(vec![1usize, 2, 7]),
        budget in 0usize..100_000,
        max_in_flight in prop::option::of(0usize..9),
    ) {
        let pool = Pool::new(workers).unwrap();
        let options = MapOptions { budget, max_in_flight, ..MapOptions::default() };
        let largest = items.iter().copied().max().unwrap_or(0);
        let mut map = ordered_map(&pool, options, ok(items.clone()), size, |item| Ok(grind(item)));
        let results: Vec<u64> = map.by_ref().collect::<Result<_>>().unwrap();
        let metrics = map.metrics();
        prop_assert_eq!(results, items.iter().map(|&item| grind(item)).collect::<Vec<_>>());
        prop_assert_eq!(metrics.items, items.len() as u64);
        prop_assert!(metrics.peak_bytes <= budget.max(largest), "{:?}", metrics);
        let limit = max_in_flight.map_or(workers * 2 + 2, |max| max.max(1));
        prop_assert!(metrics.peak_items <= limit, "{:?}", metrics);
        prop_assert!(map.next().is_none());
    }

    #[test]
    fn the_first_error_in_input_order_ends_it(
        items in prop::collection::vec(0usize..5_000, 1..60),
        workers in prop::sample::select(vec![1usize, 2, 7]),
        bad in prop::collection::btree_set(0usize..60, 1..4),
        bad_input in 0usize..60,
    ) {
        let pool = Pool::new(workers).unwrap();
        let input = items.clone().into_iter().enumerate().map(move |(index, item)| {
            if index == bad_input {
                return Err(Error::new(ErrorKind::Truncated, format!("input {index}")));
            }
            Ok((index, item))
        });
        let failing = bad.clone();
        let mut map = ordered_map(&pool, MapOptions::default(), input, |_| 1, move |(index, item)| {
            if failing.contains(&index) {
                return Err(Error::new(ErrorKind::Corrupt, format!("work {index}")));
            }
            Ok(grind(item))
        });
        let first_bad = *bad.first().unwrap();
        let first = first_bad.min(bad_input);
        for &item in items.iter().take(first) {
            prop_assert_eq!(map.next().unwrap().unwrap(), grind(item));
        }
        if first < items.len() {
            let expected =
                if bad_input <= first_bad { format!("input {first}") } else { format!("work {first}") };
            prop_assert_eq!(map.next().unwrap().unwrap_err().to_string(), expected);
        }
        prop_assert!(map.next().is_none());
        prop_assert!(map.next().is_none());
    }
}

#[test]
fn an_item_larger_than_the_budget_runs_alone() {
    let pool = Pool::new(2).unwrap();
    let running = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&running);
    let mut map = ordered_map(&pool, within(10), ok([100, 200, 300]), size, move |item| {
        assert_eq!(seen.fetch_add(1, Ordering::SeqCst), 0);
        let result = grind(item);
        seen.fetch_sub(1, Ordering::SeqCst);
        Ok(result)
    });
    assert_eq!(map.by_ref().filter(Result::is_ok).count(), 3);
    assert_eq!((map.metrics().peak_items, map.metrics().peak_bytes), (1, 300));
}

#[test]
fn items_run_at_the_same_time() {
    let pool = Pool::new(2).unwrap();
    let barrier = Barrier::new(2); // passes only when two workers wait at it together
    let map = ordered_map(&pool, within(1_000), ok(0..8), size, move |item| {
        barrier.wait();
        Ok(item)
    });
    assert_eq!(map.map(Result::unwrap).collect::<Vec<_>>(), (0..8).collect::<Vec<_>>());
}

#[test]
fn a_panic_names_the_chunk_and_its_message() {
    let pool = Pool::new(2).unwrap();
    let mut map = ordered_map(&pool, within(1_000), ok(0..9), size, |item| {
        assert_ne!(item, 3, "the stone broke");
        Ok(item)
    });
    assert_eq!(map.by_ref().take(3).map(Result::unwrap).collect::<Vec<_>>(), [0, 1, 2]);
    let error = map.next().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    let message = error.to_string();
    assert!(message.starts_with("chunk 4 panicked: "), "{message}");
    assert!(message.contains("the stone broke"), "{message}");
    assert!(map.next().is_none());

    // The pool is as good as before.
    let again = ordered_map(&pool, within(1_000), ok(0..9), size, Ok);
    assert_eq!(again.map(Result::unwrap).sum::<usize>(), 36);
}

#[test]
fn maps_nest_on_one_pool_even_with_a_single_worker() {
    for workers in [1, 2, 7] {
        let pool = Pool::new(workers).unwrap();
        let first = ordered_map(&pool, within(9_000), ok(0..200), size, |item| Ok(item * 3));
        let second = ordered_map(&pool, within(20), first, |_| 7, |item| Ok(item + 1));
        let third = ordered_map(&pool, within(1), second, |_| 9, |item| Ok(grind(item)));
        let results: Vec<u64> = third.collect::<Result<_>>().unwrap();
        assert_eq!(results, (0..200).map(|item| grind(item * 3 + 1)).collect::<Vec<_>>());
    }
}

#[test]
fn an_error_of_the_inner_map_comes_out_of_the_outer() {
    let pool = Pool::new(2).unwrap();
    let first = ordered_map(&pool, within(99), ok(0..200), size, |item| {
        if item == 20 {
            return Err(Error::new(ErrorKind::Corrupt, "twenty"));
        }
        Ok(item)
    });
    let mut second = ordered_map(&pool, within(99), first, size, Ok);
    assert_eq!(second.by_ref().take_while(Result::is_ok).count(), 20);
    assert!(second.next().is_none());
}

/// Waits until a pool of one worker has done all it was given before.
fn drain(pool: &Pool) {
    assert_eq!(pool.workers(), 1);
    assert!(ordered_map(pool, within(1), ok([1]), size, Ok).next().unwrap().is_ok());
}

#[test]
fn dropped_early_it_waits_for_what_runs() {
    let pool = Pool::new(2).unwrap();
    let finished = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&finished);
    let (started, has_started) = mpsc::channel();
    let mut map = ordered_map(&pool, within(usize::MAX), ok(0..2), size, move |item| {
        if item == 1 {
            started.send(()).unwrap();
            for round in 0..300 {
                std::hint::black_box(grind(7_000 + round)); // long after the map is dropped
            }
        }
        seen.fetch_add(1, Ordering::SeqCst);
        Ok(item)
    });
    assert!(map.next().unwrap().is_ok());
    has_started.recv().unwrap();
    drop(map);
    assert_eq!(finished.load(Ordering::SeqCst), 2);
    assert_eq!(Arc::strong_count(&finished), 1, "the closure is gone with the map");
}

#[test]
fn dropped_early_it_starts_no_more() {
    let pool = Pool::new(1).unwrap();
    let started = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&started);
    // The second item runs until the map lets go of its input, with others queued behind it.
    let (input_lives, input_gone) = mpsc::channel::<()>();
    let input_gone = Mutex::new(input_gone);
    let input = ok(0..10_000).inspect(move |_| {
        let _ = &input_lives;
    });
    let mut map = ordered_map(&pool, within(usize::MAX), input, size, move |item| {
        seen.fetch_add(1, Ordering::SeqCst);
        if item == 1 {
            assert!(input_gone.lock().unwrap().recv().is_err());
        }
        Ok(item)
    });
    assert!(map.next().unwrap().is_ok());
    drop(map);
    drain(&pool);
    assert!(started.load(Ordering::SeqCst) <= 2);
}

#[test]
fn nothing_is_pulled_before_the_first_call() {
    let pool = Pool::new(1).unwrap();
    let input = std::iter::from_fn(|| -> Option<Result<usize>> { panic!("pulled") });
    drop(ordered_map(&pool, within(1), input, size, Ok));
}

#[test]
fn once_an_item_fails_later_ones_are_neither_pulled_nor_started() {
    let pool = Pool::new(1).unwrap();
    let (pulled, started) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (pulls, starts) = (Arc::clone(&pulled), Arc::clone(&started));
    let input = ok(0..1_000).inspect(move |_| {
        pulls.fetch_add(1, Ordering::SeqCst);
    });
    let mut map = ordered_map(&pool, within(usize::MAX), input, size, move |item| {
        starts.fetch_add(1, Ordering::SeqCst);
        if item == 1 {
            return Err(Error::new(ErrorKind::Corrupt, "no"));
        }
        Ok(item)
    });
    assert!(map.next().unwrap().is_ok());
    drain(&pool);
    assert!(map.next().unwrap().is_err());
    let pulled = pulled.load(Ordering::SeqCst);
    assert!((2..=5).contains(&pulled), "{pulled}: what was in flight before the failure");
    assert_eq!(started.load(Ordering::SeqCst), 2);
}

#[test]
fn cancelled_it_ends_with_an_error_that_says_so() {
    let pool = Pool::new(2).unwrap();
    let cancel = Cancel::new();
    let options = MapOptions { cancel: cancel.clone(), ..MapOptions::default() };
    let mut map = ordered_map(&pool, options, ok(0..1_000), size, Ok);
    assert_eq!(map.by_ref().take(10).filter(Result::is_ok).count(), 10);
    cancel.cancel();
    assert_eq!(map.next().unwrap().unwrap_err().kind(), ErrorKind::Cancelled);
    assert!(map.next().is_none());
}

#[test]
fn cancelled_from_within_the_work_no_item_is_started_after() {
    let pool = Pool::new(1).unwrap(); // one worker: what comes after starts after
    let started = Arc::new(AtomicUsize::new(0));
    let starts = Arc::clone(&started);
    let cancel = Cancel::new();
    let options = MapOptions { cancel: cancel.clone(), ..MapOptions::default() };
    let mut map = ordered_map(&pool, options, ok(0..100), size, move |item| {
        starts.fetch_add(1, Ordering::SeqCst);
        if item == 2 {
            cancel.cancel();
        }
        Ok(item)
    });
    let error = map.find_map(Result::err);
    drain(&pool);
    assert_eq!(error.unwrap().kind(), ErrorKind::Cancelled);
    assert!(started.load(Ordering::SeqCst) <= 3);
}

#[test]
fn cancelled_no_queued_item_is_started_while_nobody_asks() {
    let pool = Pool::new(1).unwrap();
    let started = Arc::new(AtomicUsize::new(0));
    let starts = Arc::clone(&started);
    let cancel = Cancel::new();
    let options = MapOptions { cancel: cancel.clone(), ..MapOptions::default() };
    let mut map = ordered_map(&pool, options, ok(0..100), size, move |item| {
        starts.fetch_add(1, Ordering::SeqCst);
        cancel.cancel();
        Ok(item)
    });
    assert!(map.next().unwrap().is_ok());
    drain(&pool);
    assert_eq!(started.load(Ordering::SeqCst), 1);
    assert_eq!(map.next().unwrap().unwrap_err().kind(), ErrorKind::Cancelled);
}

#[test]
fn read_by_a_worker_of_its_pool_it_refuses_instead_of_hanging() {
    let pool = Pool::new(1).unwrap();
    let inner = pool.clone();
    let mut outer = ordered_map(&pool, within(1), ok([1]), size, move |_| {
        ordered_map(&inner, within(1), ok([1]), size, Ok).collect::<Result<Vec<_>>>()
    });
    let error = outer.next().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert!(error.to_string().contains("worker of its pool"));
}

#[test]
fn workers_have_names() {
    let pool = Pool::new(3).unwrap();
    let names = ordered_map(&pool, within(1_000), ok(0..20), size, |_| {
        Ok(std::thread::current().name().map(str::to_owned))
    });
    for name in names {
        let name = name.unwrap().unwrap();
        let number = name.strip_prefix("gristmill-worker-").unwrap();
        assert!(number.parse::<usize>().unwrap() < 3, "{name}");
    }
}

#[test]
fn a_pool_of_no_workers_is_refused() {
    assert_eq!(Pool::new(0).unwrap_err().kind(), ErrorKind::Configuration);
}

#[test]
fn metrics_add_up() {
    let pool = Pool::new(2).unwrap();
    let mut map = ordered_map(&pool, within(60), ok(vec![20; 12]), size, |item| Ok(grind(item)));
    assert!(map.next().unwrap().is_ok());
    assert_eq!(map.metrics().items, 1);
    assert_eq!(map.by_ref().count(), 11);
    let metrics = map.metrics();
    assert_eq!((metrics.items, metrics.peak_bytes, metrics.peak_items), (12, 60, 3));
    assert!(!metrics.busy.is_zero() && !metrics.wall.is_zero());
}
