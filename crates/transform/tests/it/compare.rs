//! `compare`: against a model of one key at a time, and against itself with little memory.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{
    ArrayRef, Decimal128Array, Float64Array, Int64Array, RecordBatch, StringViewArray,
};
use arrow_select::concat::concat_batches;
use gristmill_core::{Batch, BindContext, Findings, Mistake, StepPlan};
use gristmill_transform::{Compare, Sql, Tolerance};
use proptest::prelude::*;
use serde_json::json;

use crate::relational::{Given, MUCH, Row, columns, many, row, run_as, run_with, shown, texts};

/// The records that stay, and those that are rejected with their reasons.
fn settled(given: &Given) -> (RecordBatch, Vec<String>) {
    let mut findings = Findings::default();
    let parts = given.parts.iter().map(|part| part.clone().settle(&mut findings).unwrap());
    let parts: Vec<_> = parts.collect();
    let whole = concat_batches(&given.schema, parts.iter().map(Batch::columns)).unwrap();
    let rejected = findings.rejects().iter().map(|reject| {
        let record = reject.origin.locate(reject.ordinal as usize).record;
        format!("{record}: {}", reject.errors[0].message)
    });
    (whole, rejected.collect())
}

fn text<T: ToString>(value: &Option<T>) -> String {
    value.as_ref().map_or("null".to_owned(), ToString::to_string)
}

fn real(value: &Option<f64>) -> String {
    value.map_or("null".to_owned(), |value| format!("{value:.9}"))
}

type Key = (Option<String>, Option<i64>);

fn key(row: &Row) -> Key {
    (row.k.clone(), row.g)
}

/// Rows with the first of each key only.
fn distinct(rows: Vec<Row>) -> Vec<Row> {
    let mut seen = HashSet::new();
    rows.into_iter().filter(|row| seen.insert(key(row))).collect()
}

/// What must come: the records, and how many are rejected.
fn expected(rows: &[Row], old: &[Row]) -> (Vec<Vec<String>>, usize) {
    let before: HashMap<Key, &Row> = old.iter().map(|row| (key(row), row)).collect();
    let (mut out, mut seen, mut rejected) = (Vec::new(), HashSet::new(), 0);
    let line = |row: &Row, word: &str, differ: &[&str], before: Option<&Row>| {
        let list = if differ.is_empty() { "null".to_owned() } else { differ.join(", ") };
        let old = before
            .map_or(["null".to_owned(), "null".to_owned()], |row| [text(&row.x), real(&row.f)]);
        let now = [text(&row.k), text(&row.g), text(&row.x), real(&row.f), word.to_owned(), list];
        now.into_iter().chain(old).collect()
    };
    for row in rows {
        if !seen.insert(key(row)) {
            rejected += 1;
            continue;
        }
        let Some(known) = before.get(&key(row)) else {
            out.push(line(row, "new", &[], None));
            continue;
        };
        let mut differ = Vec::new();
        differ.extend((row.x != known.x).then_some("x"));
        differ.extend((row.f != known.f).then_some("f"));
        let word = if differ.is_empty() { "unchanged" } else { "changed" };
        out.push(line(row, word, &differ, Some(known)));
    }
    let missing = old.iter().filter(|row| !seen.contains(&key(row)));
    out.extend(missing.map(|row| line(row, "missing", &[], Some(row))));
    (out, rejected)
}

fn step() -> Compare {
    let step = Compare::new(json!({"file": "old.csv"})).on("k").on("g");
    step.changed_columns("differs").old_prefix("old_")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 60, ..ProptestConfig::default() })]

    #[test]
    fn comparisons_are_those_of_one_key_at_a_time(
        rows in prop::collection::vec(row(), 0..80),
        mut old in prop::collection::vec(row(), 0..80),
        copied in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        size in 1usize..40,
    ) {
        if !rows.is_empty() {
            old.extend(copied.iter().map(|at| at.get(&rows).clone()));
        }
        let old = distinct(old);
        let given = run_with(&step(), &columns(&rows), &[columns(&old)], size, MUCH).unwrap();
        let (got, rejects) = settled(&given);
        let (expected, rejected) = expected(&rows, &old);
        prop_assert_eq!(texts(&got), expected);
        prop_assert_eq!(rejects.len(), rejected);
        let report = given.report.clone().unwrap();
        let count = |name: &str| report[name].as_u64().unwrap();
        let all = ["new", "changed", "unchanged", "missing"].map(count).iter().sum::<u64>();
        prop_assert_eq!(all, got.num_rows() as u64);
    }
}

#[test]
fn little_memory_makes_no_difference() {
    let (mut rows, mut old) = (many(12_000), distinct(many(14_000)));
    rows.iter_mut().step_by(3).for_each(|row| row.x = Some(-1));
    old.iter_mut().step_by(5).for_each(|row| row.f = None);
    let (input, source) = (columns(&rows), [columns(&old)]);
    let much = run_with(&step(), &input, &source, 1_000, 256 << 20).unwrap();
    let little = run_with(&step(), &input, &source, 1_000, 3 << 20).unwrap();
    assert_eq!(much.report, little.report);
    let sizes = |given: &Given| given.parts.iter().map(Batch::num_rows).collect::<Vec<_>>();
    assert_eq!(sizes(&much), sizes(&little));
    let (a, b) = (settled(&much), settled(&little));
    assert_eq!(shown(&a.0), shown(&b.0));
    assert_eq!(a.1, b.1);
    assert!(a.1.len() > 1_000);
    let (expected, rejected) = expected(&rows, &old);
    assert_eq!(texts(&a.0), expected);
    assert_eq!(a.1.len(), rejected);
}

#[test]
fn batch_by_batch_the_same_comes() {
    let (mut rows, old) = (many(3_000), distinct(many(12_000)));
    rows.extend(many(200)); // keys that came before
    let (input, source) = (columns(&rows), [columns(&old)]);
    let expected = run_with(&step(), &input, &source, 100, MUCH).unwrap();
    assert!(settled(&expected).1.len() > 50);
    for memory in [MUCH, 3 << 20] {
        let given = run_as(&step(), &input, &source, 100, memory, false).unwrap();
        let (a, b) = (settled(&given), settled(&expected));
        assert_eq!(shown(&a.0), shown(&b.0));
        assert_eq!(a.1, b.1);
        assert_eq!(given.report, expected.report);
    }
}

fn table(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let columns = columns.into_iter().map(|(name, array)| (name, array, true));
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

fn words(values: &[&str]) -> ArrayRef {
    Arc::new(StringViewArray::from_iter_values(values))
}

#[test]
fn values_are_compared_as_the_input_has_them() {
    let cents = |values: Vec<i128>, scale| -> ArrayRef {
        Arc::new(Decimal128Array::from(values).with_precision_and_scale(18, scale).unwrap())
    };
    let input = table(vec![
        ("id", Arc::new(Int64Array::from(vec![1, 2, 3, 4]))),
        ("fee", Arc::new(Float64Array::from(vec![0.0, f64::NAN, 1.5, 2.0]))),
        ("aum", cents(vec![100, 250, 300, 400], 2)),
        ("note", words(&["a", "b", "c", "d"])),
    ]);
    let old = table(vec![
        ("code", words(&["1", "2", "3", "5"])),
        ("fee", Arc::new(Float64Array::from(vec![-0.0, f64::NAN, 1.25, 5.0]))),
        ("aum", cents(vec![10_000, 25_000, 30_100, 50_000], 4)),
        ("gone", words(&["p", "q", "r", "s"])),
    ]);
    let step = Compare::new(json!({"file": "old.csv"}))
        .on_pair("id", "code")
        .column("what")
        .changed_columns("differs");
    let given = run_with(&step, &input, &[old], 10, MUCH).unwrap();
    assert_eq!(
        shown(&settled(&given).0),
        [
            r#"{"id":1,"fee":0.0,"aum":1.00,"note":"a","what":"unchanged","differs":null}"#,
            r#"{"id":2,"fee":null,"aum":2.50,"note":"b","what":"unchanged","differs":null}"#,
            r#"{"id":3,"fee":1.5,"aum":3.00,"note":"c","what":"changed","differs":"fee, aum"}"#,
            r#"{"id":4,"fee":2.0,"aum":4.00,"note":"d","what":"new","differs":null}"#,
            r#"{"id":5,"fee":5.0,"aum":5.00,"note":null,"what":"missing","differs":null}"#,
        ]
    );
    assert_eq!(
        given.report.unwrap(),
        json!({"source": "old.csv", "records": 4, "new": 1, "changed": 1, "unchanged": 2,
               "missing": 1, "columns": {"fee": 1, "aum": 1}})
    );
}

#[test]
fn numbers_within_their_tolerance_are_the_same() {
    let cents = |values: Vec<i128>, scale| -> ArrayRef {
        Arc::new(Decimal128Array::from(values).with_precision_and_scale(38, scale).unwrap())
    };
    let most = 10_i128.pow(37);
    let input = table(vec![
        ("id", Arc::new(Int64Array::from_iter_values(0..6))),
        (
            "fee",
            Arc::new(Float64Array::from(vec![0.1 + 0.2, 1.0, f64::NAN, f64::INFINITY, 0.0, 1e300])),
        ),
        ("aum", cents(vec![most, 0, 100, 100, -most, 5], 2)),
        (
            "units",
            Arc::new(Int64Array::from(vec![
                Some(i64::MAX),
                Some(0),
                None,
                Some(1000),
                Some(-1000),
                Some(7),
            ])),
        ),
    ]);
    let old = table(vec![
        ("id", Arc::new(Int64Array::from_iter_values(0..6))),
        ("fee", Arc::new(Float64Array::from(vec![0.3, 1.01, f64::NAN, 1.0, -0.0, -1e300]))),
        // The difference is seen in the last of 37 digits, which a double does not have.
        ("aum", cents(vec![most + 2, 1, 102, 100, -most, 5], 2)),
        (
            "units",
            Arc::new(Int64Array::from(vec![
                Some(i64::MIN),
                Some(0),
                None,
                Some(1001),
                Some(-1002),
                None,
            ])),
        ),
    ]);
    let step = Compare::new(json!({"file": "old.csv"}))
        .on("id")
        .changed_columns("differs")
        .tolerance("fee", Tolerance::Absolute(0.01))
        .tolerance("aum", Tolerance::Absolute(0.01))
        .tolerance("units", Tolerance::Relative(0.001));
    let given = run_with(&step, &input, std::slice::from_ref(&old), 10, MUCH).unwrap();
    let whole = settled(&given).0;
    let differs = whole.column_by_name("differs").unwrap().as_string_view();
    assert_eq!(
        differs.iter().collect::<Vec<_>>(),
        [Some("aum, units"), None, Some("aum"), Some("fee"), Some("units"), Some("fee, units")]
    );
    let exact = Compare::new(json!({"file": "old.csv"})).on("id").track("fee", "fee");
    let given = run_with(&exact, &input, &[old], 10, MUCH).unwrap();
    assert_eq!(given.report.unwrap()["changed"], 4); // 0.1 + 0.2 among them

    let texts: Compare = serde_json::from_value(
        json!({"with": {"file": "x"}, "on": "k", "tolerance": {"x": 2, "k": "0.5%", "y": "1%"}}),
    )
    .unwrap();
    assert_eq!(texts.tolerance["k"], Tolerance::Relative(0.005));
    assert_eq!(
        told(&texts, &columns(&[])),
        [
            "tolerance.k: `k` is not compared (the columns are `g`, `x`, `f`)",
            "tolerance.y: `y` is not compared (the columns are `g`, `x`, `f`)",
        ]
    );
    for wrong in [json!("5"), json!(-1), json!("x%"), json!("-1%")] {
        assert!(serde_json::from_value::<Tolerance>(wrong).is_err());
    }
}

#[test]
fn a_key_stands_for_one_record() {
    let input =
        table(vec![("k", words(&["a", "b", "a", "a"])), ("v", words(&["1", "2", "1", "3"]))]);
    let old = table(vec![("k", words(&["a"])), ("v", words(&["1"]))]);
    let step = Compare::new(json!({"file": "old.csv"})).on("k");
    let given = run_with(&step, &input, &[old], 3, MUCH).unwrap();
    let (kept, rejects) = settled(&given);
    assert_eq!(
        shown(&kept),
        [r#"{"k":"a","v":"1","change":"unchanged"}"#, r#"{"k":"b","v":"2","change":"new"}"#]
    );
    let why = "`a` came before: a key is compared once";
    assert_eq!(rejects, [format!("3: {why}"), format!("4: {why}")]);
    let twice =
        table(vec![("k", words(&["a", "b", "a", "b"])), ("v", words(&["1", "2", "3", "4"]))]);
    for size in [1, 10] {
        let error =
            run_with(&step, &input, std::slice::from_ref(&twice), size, MUCH).err().unwrap();
        assert_eq!(
            error.to_string(),
            "`old.csv` has several records with one key (`k`): `a` in records 1 and 3; `b` in records 2 and 4"
        );
    }
}

fn told(step: &dyn StepPlan, source: &RecordBatch) -> Vec<String> {
    let sql = Sql::new();
    let context = BindContext { references: vec![source.schema()], ..BindContext::new(&sql) };
    let told = |mistake: &Mistake| {
        let hint = mistake.hint.as_deref().map(|hint| format!(" ({hint})")).unwrap_or_default();
        format!("{mistake}{hint}")
    };
    let found = step.bind(&columns(&[]).schema(), &context);
    found.err().unwrap_or_default().iter().map(told).collect()
}

#[test]
fn mistakes_are_said_in_their_places() {
    let compare = || Compare::new(json!({"file": "old.csv"}));
    let old = columns(&[]);
    assert_eq!(
        told(&compare().on("k").track("xx", "x").track("x", "y").track("k", "k"), &old),
        [
            "track[2]: `k` is of the key: records that have another one are other records",
            "track[0]: no column `xx` (did you mean `x`?)",
            "track[1]: `old.csv` has no column `y` (the columns are `k`, `g`, `x`, `f`)",
        ]
    );
    assert_eq!(
        told(&compare().on("k").column("x").changed_columns("x").old_prefix(""), &old),
        [
            "old_prefix: the columns with earlier values need other names (write it like `old_prefix: old_`)",
            "column: there would be two columns `x` (take another name)",
            "changed_columns: there would be two columns `x` (take another name)",
        ]
    );
    assert_eq!(
        told(&compare().on("kk").on("g").on("x").on("f"), &old),
        [
            "on[0]: no column `kk` (did you mean `k`?)",
            "on[0]: `old.csv` has no column `kk` (did you mean `k`?)",
        ]
    );
    let other = table(vec![("k", words(&[])), ("y", words(&[]))]);
    assert_eq!(
        told(&compare().on("k"), &other),
        [
            "with: the records and `old.csv` have no columns in common but the key (say which columns are compared, `track: {fund_name: name}`, or compare keys only, `track: []`)"
        ]
    );
    assert_eq!(told(&compare().on("k").keys_only(), &other), [""; 0]);
}
