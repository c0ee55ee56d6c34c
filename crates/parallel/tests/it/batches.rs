use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Int64Array, RecordBatch, StringViewArray};
use arrow_select::concat::concat_batches;
use gristmill_core::ErrorKind;
use gristmill_parallel::{BatchOutcome, BatchProcessor, Failure, Pool};
use proptest::prelude::*;

/// Doubles; fails on a batch with a multiple of 17, panics on one with a multiple of 23.
fn double(batch: &[u32]) -> Result<Vec<u64>, String> {
    if let Some(n) = batch.iter().find(|n| n.is_multiple_of(17)) {
        return Err(format!("{n} is a multiple of 17"));
    }
    assert!(!batch.iter().any(|n| n.is_multiple_of(23)), "a multiple of 23");
    Ok(batch.iter().map(|&n| u64::from(n) * 2).collect())
}

fn processors(batch_size: usize) -> Vec<BatchProcessor> {
    let mut all = vec![BatchProcessor::new(batch_size).unwrap()];
    for workers in [1, 2, 7] {
        all.push(BatchProcessor::new(batch_size).unwrap().on(&Pool::new(workers).unwrap()));
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn every_record_is_in_the_results_or_in_a_failed_batch(
        records in prop::collection::vec(1u32..200, 0..150),
        batch_size in 1usize..20,
    ) {
        for processor in processors(batch_size) {
            let BatchOutcome { results, failed, metrics } =
                processor.process(records.clone(), double);
            // Batch by batch, in order, as a plain loop over slices would have it.
            let mut failed = failed.into_iter();
            let mut results = results.into_iter();
            let mut went_through = 0;
            for (index, batch) in records.chunks(batch_size).enumerate() {
                if batch.iter().all(|n| n % 17 != 0 && n % 23 != 0) {
                    went_through += batch.len() as u64;
                    for n in batch {
                        prop_assert_eq!(results.next(), Some(u64::from(*n) * 2));
                    }
                } else {
                    let batch_failed = failed.next().unwrap();
                    let start = (index * batch_size) as u64;
                    prop_assert_eq!(batch_failed.number, index as u64 + 1);
                    prop_assert_eq!(batch_failed.range, start..start + batch.len() as u64);
                    prop_assert_eq!(batch_failed.records, batch);
                    match batch.iter().find(|n| *n % 17 == 0) {
                        Some(n) => prop_assert_eq!(
                            batch_failed.error,
                            Failure::Failed(format!("{n} is a multiple of 17"))
                        ),
                        None => prop_assert_eq!(
                            batch_failed.error,
                            Failure::Panicked("a multiple of 23".to_owned())
                        ),
                    }
                }
            }
            prop_assert!(failed.next().is_none() && results.next().is_none());
            let total = records.len() as u64;
            prop_assert_eq!(metrics.records_processed, went_through);
            prop_assert_eq!(metrics.records_processed + metrics.records_failed, total);
            prop_assert_eq!(
                metrics.batches_processed + metrics.batches_failed,
                records.chunks(batch_size).count() as u64
            );
            prop_assert_eq!(metrics.results, went_through);
        }
    }

    #[test]
    fn arrow_batches_are_cut_and_joined_to_one_size(
        sizes in prop::collection::vec(0usize..40, 0..12),
        batch_size in 1usize..30,
    ) {
        let total: usize = sizes.iter().sum();
        let mut next = 0i64;
        let input: Vec<RecordBatch> = sizes
            .iter()
            .map(|&size| {
                let ids = Int64Array::from_iter_values(next..next + size as i64);
                next += size as i64;
                RecordBatch::try_from_iter([("id", Arc::new(ids) as _)]).unwrap()
            })
            .collect();
        for processor in processors(batch_size) {
            let outcome = processor
                .process_columns(input.clone(), |batch| Ok::<_, String>(vec![batch.clone()]))
                .unwrap();
            prop_assert!(outcome.failed.is_empty());
            let lengths: Vec<usize> = outcome.results.iter().map(RecordBatch::num_rows).collect();
            let mut expected = vec![batch_size; total / batch_size];
            expected.extend(Some(total % batch_size).filter(|rest| *rest > 0));
            prop_assert_eq!(lengths, expected);
            if let Some(first) = outcome.results.first() {
                let all = concat_batches(&first.schema(), &outcome.results).unwrap();
                let ids: Vec<i64> = (0..total as i64).collect();
                prop_assert_eq!(all.column(0).as_primitive::<Int64Type>().values(), &ids[..]);
            }
            prop_assert_eq!(outcome.metrics.records_processed, total as u64);
        }
    }
}

#[test]
fn rows_of_different_schemas_never_share_a_batch() {
    let ids = || Arc::new(Int64Array::from(vec![1, 2, 3]));
    let names = Arc::new(StringViewArray::from(vec!["a", "b"]));
    let input = [
        RecordBatch::try_from_iter([("id", ids() as _)]).unwrap(),
        RecordBatch::try_from_iter([("name", names as _)]).unwrap(),
        RecordBatch::try_from_iter([("id", ids() as _)]).unwrap(),
    ];
    for processor in processors(2) {
        let outcome = processor
            .process_columns(input.clone(), |batch| {
                let name = batch.schema().field(0).name().clone();
                if name == "name" {
                    return Err("not a number");
                }
                Ok(vec![(name, batch.num_rows())])
            })
            .unwrap();
        let id = |rows| ("id".to_owned(), rows);
        assert_eq!(outcome.results, [id(2), id(1), id(2), id(1)]);
        let failed = &outcome.failed[0];
        assert_eq!((failed.number, failed.range.clone()), (3, 3..5));
        assert_eq!(failed.records, input[1]);
    }
}

#[test]
fn a_stream_gives_each_batch_in_its_turn_and_pulls_no_more_than_it_needs() {
    let pool = Pool::new(2).unwrap();
    let endless = BatchProcessor::new(10).unwrap().on(&pool);
    let mut stream =
        endless.stream(1u32.., |batch: &[u32]| Ok::<_, String>(vec![batch.iter().sum::<u32>()]));
    assert_eq!(stream.next().unwrap().unwrap(), [55]);
    assert_eq!(stream.next().unwrap().unwrap(), [155]);
    assert_eq!(stream.metrics().batches_processed, 2);
}

#[test]
fn called_by_a_worker_of_its_own_pool_it_does_the_work_there() {
    let pool = Pool::new(1).unwrap();
    let inner = BatchProcessor::new(2).unwrap().on(&pool);
    let outer = BatchProcessor::new(5).unwrap().on(&pool);
    let outcome = outer.process(1..=10u32, move |batch: &[u32]| {
        let sums = inner.process(batch.to_vec(), |pair: &[u32]| {
            Ok::<_, String>(vec![pair.iter().sum::<u32>()])
        });
        Ok::<_, String>(sums.results)
    });
    assert_eq!(outcome.results, [3, 7, 5, 13, 17, 10]);
}

#[test]
fn batches_of_no_record_are_refused() {
    assert_eq!(BatchProcessor::new(0).unwrap_err().kind(), ErrorKind::Configuration);
}
