use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Float64Array, Int64Array, RecordBatch, StringViewArray};
use arrow_schema::{DataType, Field, Schema};
use gristmill_core::ErrorKind;
use gristmill_parallel::{BatchMerger, Keep, Merger, merge_ordered};
use proptest::prelude::*;

/// A key that may be missing, and the place in the input.
type Row = (Option<String>, i64);

fn parts(sorted: bool) -> impl Strategy<Value = Vec<Vec<Row>>> {
    let key = prop::option::of("[a-d]{0,2}");
    let parts = prop::collection::vec(prop::collection::vec(key, 0..20), 0..6);
    parts.prop_map(move |parts| {
        let mut place = 0;
        let mut number = |mut keys: Vec<Option<String>>| {
            if sorted {
                keys.sort();
            }
            keys.into_iter()
                .map(|key| {
                    place += 1;
                    (key, place)
                })
                .collect()
        };
        parts.into_iter().map(&mut number).collect()
    })
}

fn batch(rows: &[Row]) -> RecordBatch {
    let keys: StringViewArray = rows.iter().map(|row| row.0.as_deref()).collect();
    let places = Int64Array::from_iter_values(rows.iter().map(|row| row.1));
    RecordBatch::try_from_iter_with_nullable([
        ("key", Arc::new(keys) as _, true),
        ("place", Arc::new(places) as _, false),
    ])
    .unwrap()
}

fn rows(batch: &RecordBatch) -> Vec<Row> {
    let keys = batch["key"].as_string_view();
    let places = batch["place"].as_primitive::<Int64Type>();
    keys.iter().map(|key| key.map(str::to_owned)).zip(places.values().iter().copied()).collect()
}

/// The plain way: a quadratic search for another row with the same key.
fn unique(rows: Vec<Row>, keep: Keep) -> Vec<Row> {
    let stays = |at: usize| match keep {
        Keep::First => rows[..at].iter().all(|row| row.0 != rows[at].0),
        Keep::Last => rows[at + 1..].iter().all(|row| row.0 != rows[at].0),
    };
    (0..rows.len()).filter(|&at| stays(at)).map(|at| rows[at].clone()).collect()
}

fn key(row: &Row) -> Option<String> {
    row.0.clone()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn an_ordered_merge_is_a_stable_sort(parts in parts(true)) {
        let mut expected = parts.concat();
        expected.sort_by_key(key); // stable
        let merged = Merger::ordered(key).merge(parts.clone());
        prop_assert_eq!(&merged.items, &expected);
        prop_assert_eq!(merged.dropped, 0);
        let lazily: Vec<Row> = merge_ordered(parts.clone(), key).collect();
        prop_assert_eq!(&lazily, &expected);

        let batches: Vec<RecordBatch> = parts.iter().map(|part| batch(part)).collect();
        let merged = BatchMerger::ordered(["key"]).merge(&batch(&[]).schema(), &batches).unwrap();
        prop_assert_eq!(rows(&merged.batch), expected);
    }

    #[test]
    fn of_duplicates_one_stays_in_its_place(parts in parts(false), last in any::<bool>()) {
        let keep = if last { Keep::Last } else { Keep::First };
        let all = parts.concat();
        let expected = unique(all.clone(), keep);
        let merged = Merger::append().deduplicate(key, keep).merge(parts.clone());
        prop_assert_eq!(&merged.items, &expected);
        prop_assert_eq!(merged.dropped as usize, all.len() - expected.len());

        let batches: Vec<RecordBatch> = parts.iter().map(|part| batch(part)).collect();
        let merged = BatchMerger::append()
            .deduplicate(["key"], keep)
            .merge(&batch(&[]).schema(), &batches)
            .unwrap();
        prop_assert_eq!(merged.dropped as usize, all.len() - expected.len());
        prop_assert_eq!(rows(&merged.batch), expected);
    }

    #[test]
    fn ordered_and_unique_together(parts in parts(true), last in any::<bool>()) {
        let keep = if last { Keep::Last } else { Keep::First };
        let mut sorted = parts.concat();
        sorted.sort_by_key(key);
        let expected = unique(sorted, keep);
        let merged = Merger::ordered(key).deduplicate(key, keep).merge(parts.clone());
        prop_assert_eq!(&merged.items, &expected);
        let batches: Vec<RecordBatch> = parts.iter().map(|part| batch(part)).collect();
        let merged = BatchMerger::ordered(["key"])
            .deduplicate(["key"], keep)
            .merge(&batch(&[]).schema(), &batches)
            .unwrap();
        prop_assert_eq!(rows(&merged.batch), expected);
    }

    #[test]
    fn appending_loses_nothing(parts in parts(false)) {
        prop_assert_eq!(Merger::append().merge(parts.clone()).items, parts.concat());
        let batches: Vec<RecordBatch> = parts.iter().map(|part| batch(part)).collect();
        let merged = BatchMerger::append().merge(&batch(&[]).schema(), &batches).unwrap();
        prop_assert_eq!(rows(&merged.batch), parts.concat());
    }

    #[test]
    fn inputs_out_of_order_lose_nothing(parts in parts(false)) {
        let mut merged: Vec<Row> = merge_ordered(parts.clone(), key).collect();
        merged.sort_by_key(|row| row.1);
        prop_assert_eq!(merged, parts.concat());
    }
}

#[test]
fn equal_numbers_are_duplicates_however_they_are_written() {
    let numbers = Float64Array::from(vec![
        Some(0.0),
        Some(-0.0),
        Some(f64::NAN),
        None,
        Some(-f64::NAN),
        None,
    ]);
    let batch = RecordBatch::try_from_iter([("n", Arc::new(numbers) as _)]).unwrap();
    let merged = BatchMerger::append()
        .deduplicate(["n"], Keep::First)
        .merge(&batch.schema(), std::slice::from_ref(&batch))
        .unwrap();
    assert_eq!((merged.batch.num_rows(), merged.dropped), (3, 3));
}

#[test]
fn mistakes_are_told_before_rows_are_moved() {
    let good = batch(&[(Some("a".into()), 1)]);
    let other =
        RecordBatch::try_from_iter([("x", Arc::new(Int64Array::from(vec![1])) as _)]).unwrap();
    let error = BatchMerger::append().merge(&good.schema(), &[good.clone(), other]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Schema);
    assert!(error.to_string().contains("batch 2"));
    for merger in [
        BatchMerger::ordered(["nope"]),
        BatchMerger::append().deduplicate(["nope"], Keep::First),
        BatchMerger::ordered([""; 0]),
    ] {
        let error = merger.merge(&good.schema(), std::slice::from_ref(&good)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
    }
}

#[test]
fn nothing_merges_to_nothing_with_its_columns() {
    let schema = Arc::new(Schema::new(vec![Field::new("key", DataType::Utf8View, true)]));
    for merger in [BatchMerger::append(), BatchMerger::ordered(["key"])] {
        let merged = merger.merge(&schema, &[]).unwrap();
        assert_eq!((merged.batch.num_rows(), merged.batch.schema()), (0, Arc::clone(&schema)));
    }
}
