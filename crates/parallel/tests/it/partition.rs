use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, StringViewArray};
use gristmill_core::ErrorKind;
use gristmill_parallel::{BatchPartitioner, PartitionStatistics, Partitioner};
use proptest::prelude::*;

type Row = (Option<String>, Option<f64>, i64);

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let name = prop::option::of("[a-c]{0,2}");
    let number = prop::option::of(prop::sample::select(vec![0.0, -0.0, 1.5, f64::NAN, -f64::NAN]));
    prop::collection::vec((name, number), 0..80).prop_map(|rows| {
        rows.into_iter().zip(0..).map(|((name, number), id)| (name, number, id)).collect()
    })
}

fn batch(rows: &[Row], views: bool) -> RecordBatch {
    let names = rows.iter().map(|row| row.0.as_deref());
    let names: ArrayRef = if views {
        Arc::new(names.collect::<StringViewArray>())
    } else {
        Arc::new(names.collect::<StringArray>())
    };
    let numbers: Float64Array = rows.iter().map(|row| row.1).collect();
    let ids = Int64Array::from_iter_values(rows.iter().map(|row| row.2));
    RecordBatch::try_from_iter_with_nullable([
        ("name", names, true),
        ("number", Arc::new(numbers) as _, true),
        ("id", Arc::new(ids) as _, false),
    ])
    .unwrap()
}

fn ids(parts: &[RecordBatch]) -> Vec<Vec<i64>> {
    parts.iter().map(|part| part["id"].as_primitive::<Int64Type>().values().to_vec()).collect()
}

/// What a person calls the same key.
fn same_key(row: &Row) -> String {
    let number = row.1.map(|number| if number == 0.0 { "0".into() } else { format!("{number:?}") });
    format!("{:?} {number:?}", row.0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn items_and_columns_are_divided_alike(rows in rows(), n in 1usize..9, views in any::<bool>()) {
        let mut items = Partitioner::by_key(n, |row: &Row| (row.0.clone(), row.1)).unwrap();
        let mut columns = BatchPartitioner::by_columns(n, ["name", "number"]).unwrap();
        let by_item: Vec<Vec<i64>> = items
            .split(rows.clone())
            .into_iter()
            .map(|part| part.into_iter().map(|row| row.2).collect())
            .collect();
        let by_column = columns.split(&batch(&rows, views)).unwrap();
        prop_assert_eq!(&by_item, &ids(&by_column));
        prop_assert_eq!(items.statistics(), columns.statistics());

        // Every row once, in its order, and equal keys together.
        let mut all: Vec<i64> = by_item.concat();
        all.sort_unstable();
        prop_assert_eq!(all, (0..rows.len() as i64).collect::<Vec<_>>());
        let mut homes = HashMap::new();
        for (home, part) in by_item.iter().enumerate() {
            prop_assert!(part.is_sorted());
            for &id in part {
                let key = same_key(&rows[id as usize]);
                prop_assert_eq!(*homes.entry(key).or_insert(home), home);
            }
        }
    }

    #[test]
    fn round_robin_goes_on_from_call_to_call(sizes in prop::collection::vec(0usize..20, 0..6), n in 1usize..7) {
        let mut items = Partitioner::round_robin(n).unwrap();
        let mut columns = BatchPartitioner::round_robin(n).unwrap();
        let (mut by_item, mut by_column) = (vec![Vec::new(); n], vec![Vec::new(); n]);
        let mut next = 0i64;
        for size in sizes {
            let part: Vec<Row> = (next..next + size as i64).map(|id| (None, None, id)).collect();
            next += size as i64;
            for (home, ids) in ids(&columns.split(&batch(&part, true)).unwrap()).into_iter().enumerate() {
                by_column[home].extend(ids);
            }
            for (home, rows) in items.split(part).into_iter().enumerate() {
                by_item[home].extend(rows.into_iter().map(|row| row.2));
            }
        }
        let expected: Vec<Vec<i64>> =
            (0..n as i64).map(|home| (home..next).step_by(n).collect()).collect();
        prop_assert_eq!(&by_item, &expected);
        prop_assert_eq!(&by_column, &expected);
        let statistics = items.statistics();
        prop_assert_eq!(&statistics, &columns.statistics());
        prop_assert_eq!(statistics.total, next as u64);
    }
}

/// Fixed: a partition is on disk or on another machine when the next version looks for its keys.
#[test]
fn partitions_of_known_keys_never_change() {
    let mut partitioner = Partitioner::by_key(16, |key: &&str| *key).unwrap();
    // 0x70af_5ad7_9892_2819, 0xa29f_4b6d_59ab_87de and 0x207a_fa74_bebe_2b84 modulo 16.
    assert_eq!(partitioner.partition_of(&"FND001"), 9);
    assert_eq!(partitioner.partition_of(&"Zürich"), 14);
    assert_eq!(partitioner.partition_of(&""), 4);
}

#[test]
fn many_keys_are_spread_evenly() {
    let mut partitioner = Partitioner::by_form(8, |n: &u32, form| form.int(*n)).unwrap();
    partitioner.split(0..80_000);
    let statistics = partitioner.statistics();
    assert!(statistics.skew < 1.05, "{statistics:?}");
}

#[test]
fn statistics_say_how_uneven_it_is() {
    let statistics = PartitionStatistics::of([1, 0, 5, 2]);
    assert_eq!((statistics.count, statistics.total, statistics.largest), (4, 8, 5));
    assert_eq!((statistics.average, statistics.skew), (2.0, 2.5));
    assert_eq!(PartitionStatistics::of([0, 9, 0]).skew, 3.0);
    assert_eq!(PartitionStatistics::of([0, 0]).skew, 1.0);
    let none = PartitionStatistics::of([]);
    assert_eq!((none.average, none.skew, none.total), (0.0, 1.0, 0));
}

#[test]
fn what_holds_nothing_is_refused() {
    let configuration = |kind: ErrorKind| assert_eq!(kind, ErrorKind::Configuration);
    configuration(Partitioner::<u8>::round_robin(0).map(|_| ()).unwrap_err().kind());
    configuration(BatchPartitioner::round_robin(0).unwrap_err().kind());
    configuration(BatchPartitioner::by_columns(2, [""; 0]).unwrap_err().kind());
    let mut missing = BatchPartitioner::by_columns(2, ["fund"]).unwrap();
    configuration(missing.split(&batch(&[], true)).unwrap_err().kind());
}
