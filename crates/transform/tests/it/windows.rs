//! `window`: what it computes itself, compared with DataFusion's own windows in a query, and with
//! itself in little memory, on several threads and over other batches.

use std::sync::Arc;

use arrow_array::builder::StringViewBuilder;
use arrow_array::{ArrayRef, Date32Array, Decimal128Array, Float64Array, Int64Array, RecordBatch};
use arrow_schema::{Field, Schema};
use arrow_select::concat::concat_batches;
use gristmill_core::{Batch, Space};
use gristmill_transform::{SqlQuery, Window};
use proptest::prelude::*;

use crate::relational::{MUCH, run_in};

#[derive(Debug, Clone)]
struct Row {
    k: Option<String>,
    g: Option<i64>,
    d: Option<i32>,
    x: Option<i64>,
    f: Option<f64>,
    m: Option<i128>,
}

/// Few keys, with nulls and many ties; doubles that tell in which order they were added up.
fn row() -> impl Strategy<Value = Row> {
    let k = prop_oneof![
        1 => Just(None),
        6 => Just(Some("a".to_owned())),
        3 => "[a-d]{1,2}".prop_map(Some),
        1 => "[a-c]{1,2} and a tail that is longer than a view".prop_map(Some),
    ];
    let f = prop_oneof![
        1 => Just(None),
        8 => (-1e9f64..1e9).prop_map(Some),
        1 => prop_oneof![Just(-0.0), Just(0.0), Just(1e300), Just(f64::NAN), Just(f64::INFINITY)]
            .prop_map(Some),
    ];
    let some =
        |values: std::ops::Range<i64>| prop_oneof![1 => Just(None), 6 => values.prop_map(Some)];
    (k, some(0..4), some(-3..3), some(-50..50), f, some(-5_000..5_000)).prop_map(
        |(k, g, d, x, f, m)| Row { k, g, d: d.map(|d| d as i32), x, f, m: m.map(i128::from) },
    )
}

fn columns(rows: &[Row]) -> RecordBatch {
    let mut k = StringViewBuilder::new();
    rows.iter().for_each(|row| k.append_option(row.k.as_deref()));
    let m: Decimal128Array = rows.iter().map(|row| row.m).collect();
    let columns: [(&str, ArrayRef); 7] = [
        ("id", Arc::new(Int64Array::from_iter_values(0..rows.len() as i64))),
        ("k", Arc::new(k.finish())),
        ("g", Arc::new(rows.iter().map(|row| row.g).collect::<Int64Array>())),
        ("d", Arc::new(rows.iter().map(|row| row.d).collect::<Date32Array>())),
        ("x", Arc::new(rows.iter().map(|row| row.x).collect::<Int64Array>())),
        ("f", Arc::new(rows.iter().map(|row| row.f).collect::<Float64Array>())),
        ("m", Arc::new(m.with_precision_and_scale(18, 2).unwrap())),
    ];
    let field =
        |(name, column): &(&str, ArrayRef)| Field::new(*name, column.data_type().clone(), true);
    let schema = Schema::new(columns.iter().map(field).collect::<Vec<_>>());
    RecordBatch::try_new(Arc::new(schema), columns.map(|(_, column)| column).to_vec()).unwrap()
}

/// Windows: the partition, the order and the frame.
const WINDOWS: [(&[&str], &[&str], Option<&str>); 9] = [
    (&[], &[], None),
    (&["k"], &[], None),
    (&["k"], &["d"], None),
    (&["g", "k"], &["d desc", "x nulls first"], None),
    (&["f"], &["m"], None),
    (&["k"], &["k", "f"], None),
    (&["k"], &["d"], Some("rows between 2 preceding and current row")),
    (&["g"], &["f desc"], Some("rows between 1 following and 3 following")),
    (&["g"], &["x"], Some("rows between unbounded preceding and 2 preceding")),
];

/// Functions that the step computes itself.
const FUNCTIONS: [&str; 23] = [
    "row_number()",
    "rank()",
    "dense_rank()",
    "lag(k)",
    "lag(m, 2)",
    "lead(d)",
    "lead(f, -1)",
    "first(x)",
    "last(k)",
    "count(*)",
    "count(x)",
    "sum(x)",
    "sum(m)",
    "sum(f)",
    "avg(x)",
    "avg(f)",
    "avg(m)",
    "min(k)",
    "max(f)",
    "min(d)",
    "max(m)",
    "x - first(x) + rank()",
    "sum(x * 2)",
];

fn window(
    (partitions, order, frame): (&[&str], &[&str], Option<&str>),
    functions: &[&str],
) -> Window {
    let window =
        Window::new().partition_by(partitions.iter().copied()).order_by(order.iter().copied());
    let window = frame.iter().fold(window, |window, frame| window.frame(*frame));
    let columns = functions.iter().enumerate();
    columns.fold(window, |window, (n, function)| window.column(format!("c{n}"), *function))
}

/// The same as a query, which DataFusion runs.
fn query(
    (partitions, order, frame): (&[&str], &[&str], Option<&str>),
    functions: &[&str],
) -> SqlQuery {
    let partitions = match partitions {
        [] => String::new(),
        some => format!("PARTITION BY {}", some.join(", ")),
    };
    let order: Vec<String> = order
        .iter()
        .map(|key| match key.contains("nulls") {
            true => (*key).to_owned(),
            false => format!("{key} NULLS LAST"),
        })
        .collect();
    let order =
        if order.is_empty() { String::new() } else { format!("ORDER BY {}", order.join(", ")) };
    let over = format!("OVER ({partitions} {order} {})", frame.unwrap_or_default());
    let column = |(n, function): (usize, &&str)| {
        let mut function = match function.split_once(" FILTER") {
            Some(_) => format!("{function} {over}"),
            None => function.replace(")", &format!(") {over}")),
        };
        for name in ["first", "last"] {
            function = function.replace(&format!("{name}("), &format!("{name}_value("));
        }
        format!("{function} AS c{n}")
    };
    let columns: Vec<String> = functions.iter().enumerate().map(column).collect();
    SqlQuery::new(format!("SELECT *, {} FROM input ORDER BY id", columns.join(", ")))
}

fn given(
    step: &dyn gristmill_core::StepPlan,
    table: &RecordBatch,
    size: usize,
    memory: usize,
    workers: usize,
) -> Vec<RecordBatch> {
    let space = Space { memory, workers, ..Space::default() };
    let given = run_in(step, table, &[], size, space, true).unwrap();
    let batches = given.parts.iter().map(Batch::columns);
    batches.filter(|batch| batch.num_rows() > 0).cloned().collect()
}

/// All values, with every bit of a double that is a number.
fn exact(batches: &[RecordBatch]) -> Vec<String> {
    let Some(first) = batches.first() else { return Vec::new() };
    let all = concat_batches(&first.schema(), batches).unwrap();
    let text = |column: &ArrayRef, row: usize| {
        use arrow_array::Array;
        use arrow_array::cast::AsArray;
        use arrow_array::types::Float64Type;
        match column.as_primitive_opt::<Float64Type>() {
            Some(doubles) if doubles.is_valid(row) && !doubles.value(row).is_nan() => {
                format!("{:x}", doubles.value(row).to_bits())
            }
            _ => format!("{:?}", gristmill_core::text::value_text(column, row)),
        }
    };
    (0..all.num_rows())
        .map(|row| {
            all.columns().iter().map(|column| text(column, row)).collect::<Vec<_>>().join("|")
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, max_shrink_iters: 60, ..ProptestConfig::default() })]

    #[test]
    fn windows_are_what_datafusion_computes(
        rows in prop::collection::vec(row(), 0..120),
        size in 1usize..60,
        first in 0..FUNCTIONS.len(),
    ) {
        let table = columns(&rows);
        // Each window gets some functions, and each function several windows.
        let mut functions = FUNCTIONS.into_iter().cycle().skip(first);
        for window in WINDOWS {
            let some: Vec<&str> = functions.by_ref().take(6).collect();
            let expected = exact(&given(&query(window, &some), &table, size, MUCH, 1));
            let ours = exact(&given(&self::window(window, &some), &table, size, MUCH, 2));
            prop_assert_eq!(ours, expected, "{:?} {:?}", window, some);
        }
        // What it does not know, and with it all the others, is left to DataFusion.
        let some = ["lag(x, 1, 7)", "count(*) FILTER (WHERE x > 0)", "sum(f)", "row_number()"];
        let expected = exact(&given(&query(WINDOWS[3], &some), &table, size, MUCH, 1));
        let ours = exact(&given(&window(WINDOWS[3], &some), &table, size, MUCH, 1));
        prop_assert_eq!(ours, expected);
    }
}

/// Enough rows for several threads, most of them in one partition.
fn many(rows: usize) -> Vec<Row> {
    (0..rows)
        .map(|n| {
            let mixed = (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
            let key = if mixed.is_multiple_of(3) { mixed % 5_000 } else { 0 };
            Row {
                k: (!mixed.is_multiple_of(97))
                    .then(|| format!("a key that is longer than a view, {key}")),
                g: Some((mixed % 7) as i64),
                d: Some((mixed % 1_000) as i32),
                x: (!mixed.is_multiple_of(11)).then_some(n as i64),
                f: Some(mixed as f64 / 7.0),
                m: Some(i128::from(mixed % 10_000)),
            }
        })
        .collect()
}

#[test]
fn threads_and_memory_make_no_difference() {
    let table = columns(&many(30_000));
    for (window, functions) in [
        (WINDOWS[2], &["sum(m)", "lag(k)", "rank()", "avg(f)"][..]),
        (WINDOWS[3], &["sum(f)", "lag(k)", "rank() + x"][..]),
        ((&[], &["m"], None), &["row_number()", "last(m)"][..]),
        (WINDOWS[7], &["sum(f)", "max(k)", "x - min(x) OVER (PARTITION BY k ORDER BY d)"][..]),
    ] {
        let step = self::window(window, functions);
        let expected = given(&step, &table, 5_000, 256 << 20, 1);
        for workers in [2, 7] {
            assert_eq!(given(&step, &table, 5_000, 256 << 20, workers), expected, "{window:?}");
        }
        // Not even to where one batch ends and the next one begins.
        let away = given(&step, &table, 5_000, 4 << 20, 2);
        assert_eq!(away.len(), expected.len());
        for (little, much) in away.iter().zip(&expected) {
            assert_eq!(exact(std::slice::from_ref(little)), exact(std::slice::from_ref(much)));
        }
    }
}

#[test]
fn a_sum_that_does_not_fit_ends_the_run() {
    let row = |x| Row { k: None, g: None, d: None, x: Some(x), f: None, m: None };
    let table = columns(&[row(i64::MAX), row(1), row(-1)]);
    let run = |step: &Window, memory| {
        let space = Space { memory, ..Space::default() };
        run_in(step, &table, &[], 10, space, true).map(|_| ()).map_err(|found| found.to_string())
    };
    let running = Window::new().order_by(["id"]).column("s", "sum(x)");
    let failed = run(&running, MUCH).unwrap_err();
    assert!(failed.contains("a sum does not fit an int"), "{failed}");
    // What there was in between does not matter where nobody sees it.
    assert_eq!(run(&Window::new().column("s", "sum(x)"), MUCH), Ok(()));
}
