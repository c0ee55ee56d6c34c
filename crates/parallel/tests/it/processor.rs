use std::collections::BTreeSet;
use std::sync::Barrier;

use gristmill_parallel::{Failure, ParallelProcessor};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn each_item_has_its_own_result_in_its_own_place(
        items in prop::collection::vec(any::<u16>(), 0..300),
        workers in prop::sample::select(vec![1usize, 2, 7]),
        io in any::<bool>(),
    ) {
        let processor =
            if io { ParallelProcessor::io(workers) } else { ParallelProcessor::cpu(workers) }.unwrap();
        let results = processor.map(&items, |&item| {
            assert_ne!(item % 7, 3, "three is left");
            item.checked_add(1_000).ok_or("too large")
        });
        prop_assert_eq!(results.len(), items.len());
        for (result, &item) in results.iter().zip(&items) {
            match result {
                Err(Failure::Panicked(message)) => {
                    prop_assert_eq!(item % 7, 3);
                    prop_assert!(message.contains("three is left"));
                }
                Err(Failure::Failed(error)) => {
                    prop_assert!(item > u16::MAX - 1_000);
                    prop_assert_eq!(*error, "too large");
                }
                Ok(sum) => prop_assert_eq!(u32::from(*sum), u32::from(item) + 1_000),
            }
        }
        let metrics = processor.metrics();
        let panicked = items.iter().filter(|&item| item % 7 == 3).count() as u64;
        prop_assert_eq!(metrics.panicked, panicked);
        prop_assert_eq!(metrics.succeeded + metrics.failed + metrics.panicked, items.len() as u64);
    }
}

/// The names of the threads that `workers` items wait on together.
fn names(processor: &ParallelProcessor, workers: usize) -> BTreeSet<String> {
    let barrier = Barrier::new(workers); // passes only when all wait at once
    let names = processor.map(0..workers, |_| {
        barrier.wait();
        Ok::<_, ()>(std::thread::current().name().unwrap_or("").to_owned())
    });
    names.into_iter().map(Result::unwrap).collect()
}

#[test]
fn an_io_pool_waits_for_as_many_items_at_once_as_it_has_workers() {
    let io = ParallelProcessor::io(16).unwrap();
    let expected: BTreeSet<String> = (0..16).map(|n| format!("gristmill-io-{n}")).collect();
    assert_eq!(names(&io, 16), expected);
}

#[test]
fn cpu_workers_have_their_own_names() {
    let cpu = ParallelProcessor::cpu(1).unwrap();
    assert_eq!(names(&cpu, 1), BTreeSet::from(["gristmill-cpu-0".to_owned()]));
    assert_eq!(cpu.pool().workers(), 1);
}

#[test]
fn metrics_add_up_over_calls() {
    let cpu = ParallelProcessor::cpu(2).unwrap();
    for _ in 0..3 {
        cpu.map(0..10u32, |n| (1..=n).product::<u32>().checked_rem(n).ok_or("zero"));
    }
    let metrics = cpu.metrics();
    assert_eq!((metrics.succeeded, metrics.failed, metrics.panicked), (27, 3, 0));
    assert!(!metrics.busy.is_zero() && !metrics.wall.is_zero());
}

#[test]
fn one_processor_may_call_another_and_itself() {
    let cpu = ParallelProcessor::cpu(1).unwrap();
    let io = ParallelProcessor::io(2).unwrap();
    let results = cpu.map(0..5, |n| {
        let inner = io.map(0..n, Ok::<i32, ()>).len();
        let itself = cpu.map(0..n, Ok::<i32, ()>).len();
        Ok::<_, ()>(inner + itself)
    });
    assert_eq!(results.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [0, 2, 4, 6, 8]);
}
