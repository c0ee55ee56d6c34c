//! Aggregations that workers fold: compared with the same query as it runs on one thread, and with
//! exact sums, in any order of batches, on several threads, with little memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;

use arrow_array::builder::StringViewBuilder;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{
    Array, ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array,
    RecordBatch, TimestampMicrosecondArray,
};
use arrow_schema::{Field, Schema};
use arrow_select::concat::concat_batches;
use gristmill_core::exact::ExactSum;
use gristmill_core::json::row_to_string;
use gristmill_core::{
    Batch, BindContext, Error, Findings, OrderedStep, Origin, Space, StepPlan, Turn,
};
use gristmill_transform::{Aggregate, Sql, SqlQuery};
use proptest::prelude::*;

const MUCH: usize = 64 << 20;

fn batch(columns: RecordBatch) -> Batch {
    let origin = Arc::new(Origin::columns("test".into(), columns.clone()));
    Batch::whole(columns, origin).unwrap()
}

/// What a step gives once it has all records.
fn given(ordered: &mut dyn OrderedStep) -> Result<Vec<RecordBatch>, Error> {
    let table = ordered.table().unwrap();
    let (mut parts, mut ended) = (Vec::new(), false);
    loop {
        match table.turn()? {
            Turn::Gives(part) => parts.push(part.columns().clone()),
            Turn::Takes => {
                assert!(!ended);
                table.give(None)?;
                ended = true;
            }
            Turn::Done => return Ok(parts),
        }
    }
}

/// The result of a step whose local part gets the batches on several threads, in no order.
fn folded(step: &Aggregate, batches: &[RecordBatch], memory: usize) -> Result<RecordBatch, Error> {
    let parts = folded_by(3, step, batches, memory)?;
    Ok(concat_batches(&parts[0].schema(), &parts)?)
}

/// The same on so many threads, in the batches in which it is given; an empty one if there are none.
fn folded_by(
    workers: usize,
    step: &Aggregate,
    batches: &[RecordBatch],
    memory: usize,
) -> Result<Vec<RecordBatch>, Error> {
    let sql = Sql::new();
    let schema = batches[0].schema();
    let bound = step.bind(&schema, &BindContext::new(&sql)).unwrap();
    let (local, mut ordered) = (bound.local.unwrap(), bound.ordered.unwrap());
    ordered.open(Space { memory, workers, ..Space::default() });
    let outcomes: Vec<Result<(), Error>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..workers)
            .map(|of| {
                let local = &local;
                scope.spawn(move || {
                    batches.iter().skip(of).step_by(workers).try_for_each(|columns| {
                        let left = local.apply(batch(columns.clone()), &mut Findings::default())?;
                        assert_eq!(left.num_rows(), 0);
                        Ok(())
                    })
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    outcomes.into_iter().collect::<Result<(), Error>>()?;
    let mut parts = given(ordered.as_mut())?;
    if parts.is_empty() {
        parts.push(RecordBatch::new_empty(bound.output));
    }
    Ok(parts)
}

/// The result of a query as it runs on one thread.
fn queried(query: &str, columns: &RecordBatch) -> Result<RecordBatch, Error> {
    let sql = Sql::new();
    let step = SqlQuery::new(query);
    let bound = step.bind(&columns.schema(), &BindContext::new(&sql)).unwrap();
    assert!(bound.local.is_none());
    let mut ordered = bound.ordered.unwrap();
    ordered.open(Space { memory: MUCH, ..Space::default() });
    let table = ordered.table().unwrap();
    assert!(matches!(table.turn()?, Turn::Takes));
    table.give(Some(batch(columns.clone())))?;
    Ok(concat_batches(&bound.output, &given(ordered.as_mut())?)?)
}

fn shown(columns: &RecordBatch) -> Vec<String> {
    (0..columns.num_rows()).map(|row| row_to_string(columns, row)).collect()
}

fn cut(columns: &RecordBatch, size: usize) -> Vec<RecordBatch> {
    let rows = columns.num_rows();
    let mut parts: Vec<_> =
        (0..rows).step_by(size).map(|at| columns.slice(at, size.min(rows - at))).collect();
    if parts.is_empty() {
        parts.push(columns.clone());
    }
    parts
}

#[derive(Debug, Clone)]
struct Row {
    k: Option<String>,
    n: Option<i64>,
    b: Option<bool>,
    d: Option<i32>,
    f: Option<f64>,
    c: Option<i128>,
}

/// Quarters, whose sums are exact in any order of additions.
fn row() -> impl Strategy<Value = Row> {
    let k = prop_oneof![
        1 => Just(None),
        1 => Just(Some(String::new())),
        4 => "[a-c]{1,9}".prop_map(Some),
        2 => "[ab]\u{0}?a tail that is longer than a view[ab]\u{0}?".prop_map(Some),
    ];
    let quarter = (-4000i32..4000).prop_map(|n| f64::from(n) / 4.0);
    (
        k,
        proptest::option::weighted(0.9, -3i64..3),
        proptest::option::weighted(0.9, any::<bool>()),
        proptest::option::weighted(0.9, -5i32..5),
        proptest::option::weighted(0.9, quarter),
        proptest::option::weighted(0.9, -1_000_000i128..1_000_000),
    )
        .prop_map(|(k, n, b, d, f, c)| Row { k, n, b, d, f, c })
}

fn columns(rows: &[Row]) -> RecordBatch {
    let mut k = StringViewBuilder::new();
    rows.iter().for_each(|row| k.append_option(row.k.as_deref()));
    let n: Int64Array = rows.iter().map(|row| row.n).collect();
    let b: BooleanArray = rows.iter().map(|row| row.b).collect();
    let d: Date32Array = rows.iter().map(|row| row.d).collect();
    let t: TimestampMicrosecondArray = rows.iter().map(|row| row.d.map(i64::from)).collect();
    let f: Float64Array = rows.iter().map(|row| row.f).collect();
    let c: Decimal128Array = rows.iter().map(|row| row.c).collect();
    let c = c.with_precision_and_scale(12, 2).unwrap();
    let columns: [(&str, ArrayRef); 7] = [
        ("k", Arc::new(k.finish())),
        ("n", Arc::new(n)),
        ("b", Arc::new(b)),
        ("d", Arc::new(d)),
        ("t", Arc::new(t)),
        ("f", Arc::new(f)),
        ("c", Arc::new(c)),
    ];
    let fields =
        columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    RecordBatch::try_new(schema, columns).unwrap()
}

/// New columns, each a name and an expression.
const RESULTS: [(&str, &str); 18] = [
    ("records", "count(*)"),
    ("ns", "count(n)"),
    ("n_sum", "sum(n)"),
    ("n_mean", "avg(n)"),
    ("n_least", "min(n)"),
    ("f_sum", "sum(f)"),
    ("f_mean", "avg(f)"),
    ("f_least", "min(f)"),
    ("f_most", "max(f)"),
    ("c_sum", "sum(c)"),
    ("c_least", "min(c)"),
    ("c_most", "max(c)"),
    ("d_least", "min(d)"),
    ("t_most", "max(t)"),
    ("some", "sum(n) FILTER (WHERE b AND f > 0)"),
    ("trues", "count(*) FILTER (WHERE b)"),
    ("share", "sum(c) / count(*)"),
    ("twice", "sum(f * 2) + count(n + 1)"),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn workers_fold_what_a_query_gives(
        rows in prop::collection::vec(row(), 0..300),
        size in 1usize..80,
        little in any::<bool>(),
        keys in prop::sample::subsequence(vec!["k", "n", "b", "d", "t", "c"], 0..4),
    ) {
        let table = columns(&rows);
        let mut step = if keys.is_empty() { Aggregate::all() } else { Aggregate::by(keys.clone()) };
        let mut selected: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
        for (name, expression) in RESULTS {
            step = step.column(name, expression);
            selected.push(format!("{expression} AS {name}"));
        }
        let keys = keys.join(", ");
        let (grouped, ordered) = match keys.as_str() {
            "" => (String::new(), String::new()),
            keys => (format!("GROUP BY {keys}"), format!("ORDER BY {keys}")),
        };
        let query = format!("SELECT {} FROM input {grouped} {ordered}", selected.join(", "));
        let expected = queried(&query, &table).unwrap();
        // Of 4 KiB, each few groups of a part go to disk.
        let memory = if little { 4 << 10 } else { MUCH };
        let found = folded(&step, &cut(&table, size), memory).unwrap();
        prop_assert_eq!(shown(&found), shown(&expected));
    }

    #[test]
    fn keys_as_far_apart_as_can_be_are_in_order(
        rows in prop::collection::vec(far(), 1..60),
        size in 1usize..20,
        little in any::<bool>(),
    ) {
        let n: Int64Array = rows.iter().map(|row| row.0).collect();
        let t: TimestampMicrosecondArray = rows.iter().map(|row| row.1).collect();
        let c: Decimal128Array = rows.iter().map(|row| row.2).collect();
        let c = c.with_precision_and_scale(38, 3).unwrap();
        let d: Date32Array = rows.iter().map(|row| row.3).collect();
        let columns: [(&str, ArrayRef); 4] =
            [("n", Arc::new(n)), ("t", Arc::new(t)), ("c", Arc::new(c)), ("d", Arc::new(d))];
        let table = RecordBatch::try_from_iter(columns).unwrap();
        let step = Aggregate::by(["t", "n", "c", "d"]).column("records", "count(*)");
        let query = "SELECT t, n, c, d, count(*) AS records FROM input GROUP BY t, n, c, d ORDER BY t, n, c, d";
        let expected = queried(query, &table).unwrap();
        let found = folded(&step, &cut(&table, size), if little { 4 << 10 } else { MUCH }).unwrap();
        prop_assert_eq!(shown(&found), shown(&expected));
    }

    #[test]
    fn sums_of_doubles_are_exact_in_any_order(
        rows in prop::collection::vec((0i64..4, double()), 1..200),
        size in 1usize..40,
        little in any::<bool>(),
    ) {
        let g: Int64Array = rows.iter().map(|(g, _)| Some(*g)).collect();
        let f: Float64Array = rows.iter().map(|(_, f)| Some(*f)).collect();
        let columns: [(&str, ArrayRef); 2] = [("g", Arc::new(g)), ("f", Arc::new(f))];
        let table = RecordBatch::try_from_iter(columns).unwrap();
        let mut sums: BTreeMap<i64, (ExactSum, u32)> = BTreeMap::new();
        for (g, f) in &rows {
            let (sum, count) = sums.entry(*g).or_default();
            sum.add(*f);
            *count += 1;
        }
        let step = Aggregate::by(["g"]).column("s", "sum(f)").column("m", "avg(f)");
        let found = folded(&step, &cut(&table, size), if little { 4 << 10 } else { MUCH }).unwrap();
        prop_assert_eq!(found.num_rows(), sums.len());
        for (row, (g, (sum, count))) in sums.iter().enumerate() {
            let value = |column: usize| found.column(column).as_primitive::<Float64Type>().value(row);
            let same = |left: f64, right: f64| left == right || (left.is_nan() && right.is_nan());
            prop_assert_eq!(found.column(0).as_primitive::<Int64Type>().value(row), *g);
            prop_assert!(same(value(1), sum.rounded()), "{} {}", value(1), sum.rounded());
            prop_assert!(same(value(2), sum.rounded() / f64::from(*count)));
        }
    }
}

/// Keys whose columns need all the bits of their types.
fn far() -> impl Strategy<Value = (Option<i64>, Option<i64>, Option<i128>, Option<i32>)> {
    let long = prop::sample::select(vec![i64::MIN, -1, 0, 1, i64::MAX]);
    // Instants that have a year.
    let time = prop::sample::select(vec![-62_000_000_000_000_000, 0, 1, 250_000_000_000_000_000]);
    let most = 10i128.pow(38) - 1;
    let wide = prop::sample::select(vec![-most, -(1 << 64), -1, 0, 1, 1 << 64, most]);
    let day = prop::sample::select(vec![-700_000, -1, 0, 2_900_000]);
    (
        proptest::option::weighted(0.8, long),
        proptest::option::weighted(0.8, time),
        proptest::option::weighted(0.8, wide),
        proptest::option::weighted(0.8, day),
    )
}

/// Numbers of all sizes, many of which cancel.
fn double() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => (-1_000_000i64..1_000_000).prop_map(|cents| cents as f64 / 100.0),
        2 => prop_oneof![Just(1e300), Just(-1e300), Just(1e-300), Just(1.0)],
        1 => any::<f64>(),
    ]
}

/// As many groups as records.
fn different(rows: i64) -> RecordBatch {
    let mut k = StringViewBuilder::new();
    (0..rows).for_each(|n| k.append_value(format!("key {:09}", n * 7_919 % rows)));
    let x = Int64Array::from_iter_values(0..rows);
    let columns: [(&str, ArrayRef); 2] = [("k", Arc::new(k.finish())), ("x", Arc::new(x))];
    RecordBatch::try_from_iter(columns).unwrap()
}

#[test]
fn as_many_groups_as_records_are_given_in_order_whatever_the_memory() {
    let table = different(30_000);
    let step = Aggregate::by(["k"]).column("records", "count(*)").column("x", "sum(x)");
    let batches = cut(&table, 1_000);
    let much = folded(&step, &batches, MUCH).unwrap();
    assert_eq!(much.num_rows(), 30_000);
    let keys = much.column(0).as_string_view();
    assert!((1..keys.len()).all(|row| keys.value(row - 1) < keys.value(row)));
    for row in [0, 1, 29_999] {
        let x = much.column(2).as_primitive::<Int64Type>().value(row);
        assert_eq!(keys.value(row), format!("key {:09}", x * 7_919 % 30_000));
    }
    // Each part of the groups is put away many times.
    let little = folded(&step, &batches, 256 << 10).unwrap();
    assert_eq!(much, little);
}

#[test]
fn any_number_of_workers_gives_the_same_batches_whatever_the_memory() {
    // One key has half of the records; of the others there are as many as records, and their texts
    // are more than a batch may have.
    let rows = 40_000;
    let (mut k, mut n) = (StringViewBuilder::new(), Vec::new());
    let mut expected: BTreeMap<(String, i64), (i64, i64)> = BTreeMap::new();
    for row in 0..rows {
        let (text, number) = match row % 2 {
            0 => ("every other".to_owned(), 0),
            _ => (format!("{:>250}", row * 7_919 % rows), row % 3),
        };
        k.append_value(&text);
        n.push(number);
        let group = expected.entry((text, number)).or_default();
        *group = (group.0 + 1, group.1 + row);
    }
    let columns: [(&str, ArrayRef); 3] = [
        ("k", Arc::new(k.finish())),
        ("n", Arc::new(Int64Array::from(n))),
        ("x", Arc::new(Int64Array::from_iter_values(0..rows))),
    ];
    let table = RecordBatch::try_from_iter(columns).unwrap();
    let step = Aggregate::by(["k", "n"]).column("records", "count(*)").column("x", "sum(x)");
    let batches = cut(&table, 3_000);
    let one = folded_by(1, &step, &batches, MUCH).unwrap();
    assert!(one.len() > 3);
    let all = concat_batches(&one[0].schema(), &one).unwrap();
    let number =
        |column: usize, row: usize| all.column(column).as_primitive::<Int64Type>().value(row);
    assert_eq!(all.num_rows(), expected.len());
    for (row, ((text, n), (records, x))) in expected.into_iter().enumerate() {
        assert_eq!(all.column(0).as_string_view().value(row), text);
        assert_eq!([number(1, row), number(2, row), number(3, row)], [n, records, x]);
    }
    for (workers, memory) in [(2, MUCH), (7, MUCH), (1, 1 << 20), (2, 1 << 20), (7, 1 << 20)] {
        let found = folded_by(workers, &step, &batches, memory).unwrap();
        assert!(found == one, "{workers} workers and {memory} bytes");
    }
}

#[test]
fn a_total_that_goes_out_of_range_and_comes_back_is_in_range() {
    let most = 10i128.pow(38) - 1;
    let values = vec![most, most, -most, -most, 7];
    let x = Decimal128Array::from(values).with_precision_and_scale(38, 0).unwrap();
    let table = RecordBatch::try_from_iter([("x", Arc::new(x) as ArrayRef)]).unwrap();
    let step = Aggregate::all().column("s", "sum(x)");
    for size in 1..=5 {
        let found = folded(&step, &cut(&table, size), MUCH).unwrap();
        assert_eq!(shown(&found), [r#"{"s":7}"#]);
    }
    let error = folded(&step, &cut(&table.slice(0, 2), 1), MUCH).unwrap_err();
    assert_eq!(error.to_string(), "step `aggregate`: a sum does not fit decimal(38, 0)");
}

#[test]
fn a_value_that_cannot_be_computed_ends_the_run() {
    let x = Arc::new(Int64Array::from(vec![1, 0])) as ArrayRef;
    let table = RecordBatch::try_from_iter([("x", x)]).unwrap();
    let step = Aggregate::all().column("s", "sum(1 / x)");
    let error = folded(&step, &cut(&table, 2), MUCH).unwrap_err();
    assert_eq!(error.to_string(), "step `aggregate`: division by zero");
}

#[test]
fn functions_that_take_an_order_are_not_folded() {
    let table = columns(&[]);
    let sql = Sql::new();
    for expression in
        ["first(n)", "median(f)", "count(DISTINCT k)", "array_agg(n)", "stddev(f)", "max(k)"]
    {
        let step = Aggregate::by(["d"]).column("x", expression);
        let bound = step.bind(&table.schema(), &BindContext::new(&sql)).unwrap();
        assert!(bound.local.is_none(), "{expression}");
    }
    let step = Aggregate::by(["f"]).column("x", "count(*)");
    assert!(step.bind(&table.schema(), &BindContext::new(&sql)).unwrap().local.is_none());
}
