//! `pivot` against SQLite, `unpivot` against a loop, and both against each other.

use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringViewArray};
use arrow_select::concat::concat_batches;
use gristmill_core::{Batch, BindContext, Findings, Mistake, Origin, StepPlan};
use gristmill_transform::{Pivot, PivotAggregate, Sql, Unpivot};
use proptest::prelude::*;

use crate::relational::{Given, MUCH, columns, many, row, run_with, shown, sqlite_with, texts};
use crate::{flaws, rows};

fn whole(given: &Given) -> RecordBatch {
    concat_batches(&given.schema, given.parts.iter().map(Batch::columns)).unwrap()
}

/// Numbers that `g` may have, of which one is not declared.
const VALUES: [&str; 3] = ["0", "1", "2"];

fn pivot(aggregate: PivotAggregate) -> Pivot {
    let step = Pivot::new(["k"], "g", "x", aggregate).prefix("g").ignore_others();
    VALUES.iter().fold(step, |step, value| step.value(*value, *value))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 60, ..ProptestConfig::default() })]

    #[test]
    fn cells_are_what_sqlite_gives(rows in prop::collection::vec(row(), 0..120), size in 1usize..60) {
        for (aggregate, function) in [
            (PivotAggregate::Sum, "sum"),
            (PivotAggregate::Count, "count"),
            (PivotAggregate::Min, "min"),
            (PivotAggregate::Max, "max"),
            (PivotAggregate::Avg, "avg"),
        ] {
            let given = run_with(&pivot(aggregate), &columns(&rows), &[], size, MUCH).unwrap();
            let cells = VALUES.map(|value| format!("{function}(x) FILTER (WHERE g = {value})"));
            let query = format!(
                "SELECT k, {} FROM input WHERE g IN (0, 1, 2) GROUP BY k ORDER BY k NULLS LAST",
                cells.join(", ")
            );
            prop_assert_eq!(texts(&whole(&given)), sqlite_with(&[("input", &rows)], &query), "{}", function);
            let left = rows.iter().filter(|row| row.g.is_none_or(|g| g > 2)).count() as u64;
            prop_assert_eq!(given.findings.filtered, left);
        }
    }
}

#[test]
fn first_and_last_are_in_the_order_of_the_input_whatever_the_memory() {
    let table = columns(&many(20_000));
    for aggregate in [PivotAggregate::First, PivotAggregate::Last] {
        let step = pivot(aggregate);
        let much = run_with(&step, &table, &[], 1_000, 256 << 20).unwrap();
        let little = run_with(&step, &table, &[], 1_000, 8 << 20).unwrap();
        assert_eq!(shown(&whole(&much)), shown(&whole(&little)));
        assert!(whole(&much).num_rows() > 4_000);
    }
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> Batch {
    let columns = columns.into_iter().map(|(name, array)| (name, array, true));
    let columns = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    let origin = Arc::new(Origin::columns("test".into(), columns.clone()));
    Batch::whole(columns, origin).unwrap()
}

fn words(values: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringViewArray::from_iter(values.iter().copied()))
}

#[test]
fn what_has_no_column_is_rejected() {
    let step = Pivot::new(["k"], "month", "x", PivotAggregate::Sum).value("jan", "Jan's");
    let input = batch(vec![
        ("k", words(&[Some("a"), Some("a"), Some("b"), Some("a")])),
        ("month", words(&[Some("Jan's"), Some("Feb"), None, Some("Jan's")])),
        ("x", Arc::new(Int64Array::from(vec![1, 2, 3, 4]))),
    ]);
    let sql = Sql::new();
    let bound = step.bind(&input.schema(), &BindContext::new(&sql)).unwrap();
    let after = bound.local.unwrap().apply(input.clone(), &mut Findings::default()).unwrap();
    let said: Vec<(u32, String)> =
        flaws(&after).into_iter().map(|(row, _, message)| (row, message)).collect();
    let no = "there is no column for";
    assert_eq!(said, [(1, format!("{no} `Feb`")), (2, format!("{no} null"))]);
    let step = step.ignore_others();
    let given = run_with(&step, input.columns(), &[], 2, MUCH).unwrap();
    assert_eq!(shown(&whole(&given)), [r#"{"k":"a","jan":5}"#]);
}

fn unpivot(step: &Unpivot, input: Batch) -> (Batch, Findings) {
    let sql = Sql::new();
    let bound = step.bind(&input.schema(), &BindContext::new(&sql)).unwrap();
    let mut findings = Findings::default();
    let after = bound.local.unwrap().apply(input, &mut findings).unwrap();
    assert_eq!(after.schema(), bound.output);
    (after, findings)
}

#[test]
fn columns_become_records() {
    let input = batch(vec![
        ("m_02", Arc::new(Int64Array::from(vec![Some(1), None, None]))),
        ("fund", words(&[Some("A"), Some("B"), None])),
        ("m_01", Arc::new(Int64Array::from(vec![Some(3), Some(4), None]))),
        ("other", Arc::new(Float64Array::from(vec![0.5, 1.5, 2.5]))),
    ]);
    let step = Unpivot::new(["m_*"]).to("month", "aum").strip_prefix("m_");
    let (after, findings) = unpivot(&step, input.clone());
    assert_eq!(
        rows(&after),
        [
            r#"{"fund":"A","other":0.5,"month":"02","aum":1}"#,
            r#"{"fund":"A","other":0.5,"month":"01","aum":3}"#,
            r#"{"fund":"B","other":1.5,"month":"02","aum":null}"#,
            r#"{"fund":"B","other":1.5,"month":"01","aum":4}"#,
            r#"{"fund":null,"other":2.5,"month":"02","aum":null}"#,
            r#"{"fund":null,"other":2.5,"month":"01","aum":null}"#,
        ]
    );
    assert_eq!((0..6).map(|row| after.rows().ordinal(row)).collect::<Vec<_>>(), [0, 0, 1, 1, 2, 2]);
    assert_eq!(findings.filtered, 0);
    let step = Unpivot::new(["m_01", "m_02", "m_01"]).drop_nulls();
    let (after, findings) = unpivot(&step, input);
    assert_eq!(
        rows(&after),
        [
            r#"{"fund":"A","other":0.5,"name":"m_01","value":3}"#,
            r#"{"fund":"A","other":0.5,"name":"m_02","value":1}"#,
            r#"{"fund":"B","other":1.5,"name":"m_01","value":4}"#,
        ]
    );
    assert_eq!(findings.filtered, 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_pivot_takes_an_unpivot_back(
        cells in prop::collection::vec(prop::array::uniform3(prop::option::of(-9i64..9)), 1..40),
        size in 1usize..20,
    ) {
        let column = |at: usize| -> ArrayRef {
            Arc::new(Int64Array::from_iter(cells.iter().map(|row| row[at])))
        };
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..cells.len() as i64));
        let input = batch(vec![("id", ids), ("a", column(0)), ("b", column(1)), ("c", column(2))]);
        let long = unpivot(&Unpivot::new(["a", "b", "c"]), input.clone()).0;
        prop_assert_eq!(long.num_rows(), 3 * cells.len());
        let step = Pivot::new(["id"], "name", "value", PivotAggregate::Sum);
        let step = ["a", "b", "c"].iter().fold(step, |step, name| step.value(*name, *name));
        let wide = run_with(&step, long.columns(), &[], size, MUCH).unwrap();
        prop_assert_eq!(shown(&whole(&wide)), shown(input.columns()));
    }
}

fn told(step: &dyn StepPlan) -> Vec<String> {
    let sql = Sql::new();
    let told = |mistake: &Mistake| {
        let hint = mistake.hint.as_deref().map(|hint| format!(" ({hint})")).unwrap_or_default();
        format!("{mistake}{hint}")
    };
    let found = step.bind(&columns(&[]).schema(), &BindContext::new(&sql));
    found.err().unwrap_or_default().iter().map(told).collect()
}

#[test]
fn mistakes_are_said_in_their_places() {
    assert_eq!(
        told(&Unpivot::new(["x", "kk", "z*"]).to("g", "g")),
        [
            "values_to: two new columns would be called `g`",
            "columns[1]: no column `kk` (did you mean `k`?)",
            "columns[2]: no column is like `z*` (the columns are `k`, `g`, `x`, `f`)",
            "names_to: there is a column `g` already (take another name)",
            "values_to: there is a column `g` already (take another name)",
        ]
    );
    assert_eq!(
        told(&Unpivot::new(["x", "f"])),
        [
            "columns: `x` is of type int and `f` of type double: values of one column are of one type (bring them to one type with `cast` before)"
        ]
    );
    assert_eq!(
        told(&Pivot::new(["kk"], "f", "y", PivotAggregate::Sum)),
        [
            "values: there is no value to make a column of",
            "by[0]: no column `kk` (did you mean `k`?)",
            "values_from: no column `y` (the columns are `k`, `g`, `x`, `f`)",
            "names_from: `f` is of type double: columns are made of texts, ints, bools and dates (`cast` it to string before)",
        ]
    );
    assert_eq!(
        told(&Pivot::new(["k"], "g", "x", PivotAggregate::Sum).value("k", "1")),
        [
            "values: `k` is a key already (say `prefix: …`, or the name of each: `values: {name: value}`)"
        ]
    );
    assert_eq!(
        told(&Pivot::new(["g"], "g", "k", PivotAggregate::Sum).value("one", "1")),
        [
            "values_from: `sum` does not take a string (cast it before: CAST(… AS DOUBLE), or a `cast` step)"
        ]
    );
}
