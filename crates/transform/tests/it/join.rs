//! `join`, and other tables of `sql`: against SQLite over generated tables, and against themselves
//! with little memory.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringViewArray};
use arrow_select::concat::concat_batches;
use gristmill_core::{Batch, BindContext, Mistake, StepPlan};
use gristmill_transform::{How, Join, Sql, SqlQuery};
use proptest::prelude::*;
use serde_json::json;

use crate::relational::{
    Given, MUCH, Row, columns, many, row, run_as, run_with, shown, sqlite_with, texts,
};

fn whole(given: &Given) -> RecordBatch {
    concat_batches(&given.schema, given.parts.iter().map(Batch::columns)).unwrap()
}

/// Each way to join by text and number, and what SQLite calls it. The order is the input's, then the
/// source's.
fn ways() -> [(How, &'static str); 6] {
    let pairs = |join: &str, k: &str, g: &str| -> &'static str {
        format!(
            "SELECT {k} AS k, {g} AS g, a.x, a.f, b.x, b.f FROM input AS a {join} JOIN other AS b
               ON a.k = b.k AND a.g = b.g ORDER BY a.rowid NULLS LAST, b.rowid"
        )
        .leak()
    };
    let asks = |word: &str| -> &'static str {
        format!(
            "SELECT * FROM input AS a WHERE {word} EXISTS (SELECT 1 FROM other AS b
               WHERE a.k = b.k AND a.g = b.g) ORDER BY rowid"
        )
        .leak()
    };
    let (k, g) = (
        "CASE WHEN a.rowid IS NULL THEN b.k ELSE a.k END",
        "CASE WHEN a.rowid IS NULL THEN b.g ELSE a.g END",
    );
    [
        (How::Inner, pairs("INNER", "a.k", "a.g")),
        (How::Left, pairs("LEFT", "a.k", "a.g")),
        (How::Right, pairs("RIGHT", k, g)),
        (How::Full, pairs("FULL", k, g)),
        (How::Semi, asks("")),
        (How::Anti, asks("NOT")),
    ]
}

fn join(how: How) -> Join {
    let join = Join::new(json!({"file": "other.csv"})).on("k").on("g").how(how);
    if matches!(how, How::Semi | How::Anti) { join } else { join.suffix("_other") }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 60, ..ProptestConfig::default() })]

    #[test]
    fn joins_are_what_sqlite_gives(
        rows in prop::collection::vec(row(), 0..80),
        others in prop::collection::vec(row(), 0..80),
        size in 1usize..40,
    ) {
        let (input, other) = (columns(&rows), columns(&others));
        compare(&input, &[other], (&rows, &others), size, MUCH)?;
    }

    #[test]
    fn other_tables_of_a_query_are_what_sqlite_gives(
        rows in prop::collection::vec(row(), 0..60),
        others in prop::collection::vec(row(), 0..60),
        more in prop::collection::vec(row(), 0..20),
        size in 1usize..40,
    ) {
        let sources = [columns(&others), columns(&more)];
        for query in [
            "SELECT a.k AS k, a.x AS x, b.x AS y FROM input AS a JOIN other AS b ON a.k = b.k AND a.g < b.g",
            "SELECT o.g AS g, count(*) AS n, sum(m.x) AS s FROM other AS o LEFT JOIN more AS m ON o.g = m.g GROUP BY o.g",
            "SELECT x FROM input WHERE g IN (SELECT g FROM other) AND k NOT IN (SELECT k FROM more WHERE k IS NOT NULL)",
            "SELECT k FROM other UNION ALL SELECT k FROM more UNION ALL SELECT k FROM input",
        ] {
            let mut step = SqlQuery::new(query);
            for name in ["other", "more"] {
                if query.contains(&format!(" {name}")) {
                    step = step.table(name, json!({"file": "x.csv"}));
                }
            }
            let used: Vec<_> = step.tables.keys().map(|name| sources[usize::from(name == "more")].clone()).collect();
            let given = run_with(&step, &columns(&rows), &used, size, MUCH).unwrap();
            let mut got = texts(&whole(&given));
            let tables: [(&str, &[Row]); 3] = [("input", &rows), ("other", &others), ("more", &more)];
            let mut expected = sqlite_with(&tables, query);
            got.sort();
            expected.sort();
            prop_assert_eq!(got, expected, "{}", query);
        }
    }
}

/// Compares every way to join with SQLite's.
fn compare(
    input: &RecordBatch,
    sources: &[RecordBatch],
    (rows, others): (&[Row], &[Row]),
    size: usize,
    memory: usize,
) -> Result<(), TestCaseError> {
    for (how, query) in ways() {
        let expected = sqlite_with(&[("input", rows), ("other", others)], query);
        let given = run_with(&join(how), input, sources, size, memory).unwrap();
        prop_assert_eq!(texts(&whole(&given)), expected, "{:?}", how);
        let out = given.parts.iter().map(Batch::num_rows).sum::<usize>() as u64;
        if matches!(how, How::Semi | How::Anti) {
            prop_assert_eq!(out + given.findings.filtered, rows.len() as u64);
        }
    }
    Ok(())
}

#[test]
fn little_memory_makes_no_difference() {
    let (input, mut others) = (many(9_000), many(12_000));
    // Some keys come very often.
    others.iter_mut().skip(4_000).step_by(50).for_each(|row| row.k.clone_from(&input[7].k));
    let (input, others) = (columns(&input), [columns(&others)]);
    for how in [How::Inner, How::Left, How::Right, How::Full, How::Semi, How::Anti] {
        let step = Join::new(json!({"file": "other.csv"})).on("k").how(how);
        let step = if matches!(how, How::Semi | How::Anti) { step } else { step.prefix("o_") };
        let much = run_with(&step, &input, &others, 1_000, 256 << 20).unwrap();
        let little = run_with(&step, &input, &others, 1_000, 3 << 20).unwrap();
        let rows =
            |given: &Given| -> Vec<usize> { given.parts.iter().map(Batch::num_rows).collect() };
        assert_eq!(rows(&much), rows(&little), "{how:?}"); // row groups are made of them
        assert_eq!(shown(&whole(&much)), shown(&whole(&little)), "{how:?}");
        assert!(whole(&much).num_rows() > 100, "{how:?}");
        assert_eq!(much.report, little.report);
        for (a, b) in much.parts.iter().zip(&little.parts) {
            for row in [0, a.num_rows().saturating_sub(1)] {
                if a.num_rows() > 0 {
                    let place = |batch: &Batch| {
                        let ordinal = batch.rows().ordinal(row) as usize;
                        let origin = batch.origin();
                        (
                            origin.source().clone(),
                            origin.locate(ordinal),
                            origin.raw(ordinal).into_owned(),
                        )
                    };
                    assert_eq!(place(a), place(b), "{how:?}");
                }
            }
        }
    }
}

fn table<const N: usize>(columns: [(&str, ArrayRef); N]) -> RecordBatch {
    let columns = columns.into_iter().map(|(name, array)| (name, array, true));
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

fn texts_of<const N: usize>(values: [Option<&str>; N]) -> ArrayRef {
    Arc::new(StringViewArray::from_iter(values))
}

fn ints<const N: usize>(values: [Option<i64>; N]) -> ArrayRef {
    Arc::new(Int64Array::from_iter(values))
}

#[test]
fn keys_have_the_type_of_the_input_and_records_their_origin() {
    let input = table([
        ("id", ints([Some(7), None, Some(8)])),
        ("v", texts_of([Some("a"), Some("b"), Some("c")])),
    ]);
    let other = table([
        ("number", texts_of([Some("8"), Some("07"), Some("9"), Some("7"), None])),
        ("w", ints([1, 2, 3, 4, 5].map(Some))),
    ]);
    let step = Join::new(json!({"file": "o.csv"})).on_pair("id", "number").how(How::Full);
    let given = run_with(&step, &input, &[other], 10, MUCH).unwrap();
    assert_eq!(
        shown(&whole(&given)),
        [
            r#"{"id":7,"v":"a","w":2}"#,
            r#"{"id":7,"v":"a","w":4}"#,
            r#"{"id":null,"v":"b","w":null}"#,
            r#"{"id":8,"v":"c","w":1}"#,
            r#"{"id":9,"v":null,"w":3}"#,
            r#"{"id":null,"v":null,"w":5}"#,
        ]
    );
    let first = &given.parts[0];
    let record = |row| first.origin().locate(first.rows().ordinal(row) as usize).record;
    assert_eq!([0, 1, 2, 3].map(record), [1, 1, 2, 3]);
    assert_eq!(
        given.report.unwrap(),
        json!({"source": "o.csv", "records": 5, "found": 2, "nothing": 1, "alone": 2})
    );
    let wrong = table([("number", texts_of([Some("8"), Some("x")]))]);
    for how in [How::Inner, How::Anti] {
        let step = Join::new(json!({"file": "o.csv"})).on_pair("id", "number").how(how);
        let error = run_with(&step, &input, std::slice::from_ref(&wrong), 10, MUCH).err().unwrap();
        assert_eq!(error.to_string(), "record 2 of `other`: `number`: `x` is not an int");
    }
}

#[test]
fn batch_by_batch_the_same_comes() {
    let (input, other) = (columns(&many(3_000)), [columns(&many(12_000))]);
    for how in [How::Inner, How::Left, How::Right, How::Full] {
        let step = Join::new(json!({"file": "o.csv"})).on("k").on("g").how(how).prefix("o_");
        let expected = run_with(&step, &input, &other, 100, MUCH).unwrap();
        for memory in [MUCH, 3 << 20] {
            let given = run_as(&step, &input, &other, 100, memory, false).unwrap();
            assert_eq!(shown(&whole(&given)), shown(&whole(&expected)), "{how:?}");
            assert_eq!(records(&given), records(&expected), "{how:?}");
            assert_eq!(given.report, expected.report, "{how:?}");
            // In memory, each batch is answered at once.
            assert_eq!(given.parts[0].num_rows() > 0, memory == MUCH, "{how:?}");
        }
    }
}

/// Where each record stood.
fn records(given: &Given) -> Vec<(String, u64)> {
    let records = given.parts.iter().flat_map(|part| {
        let place = |row| part.origin().locate(part.rows().ordinal(row) as usize).record;
        (0..part.num_rows()).map(move |row| (part.origin().source().to_string(), place(row)))
    });
    records.collect()
}

#[test]
fn any_share_of_memory_gives_the_same_or_says_how_much_more_it_takes() {
    let (input, other) = (columns(&many(4_000)), [columns(&many(6_000))]);
    for how in [How::Inner, How::Full] {
        let step = Join::new(json!({"file": "o.csv"})).on("k").on("g").how(how).prefix("o_");
        let expected = run_with(&step, &input, &other, 500, MUCH).unwrap();
        let (mut same, mut refused) = (0, 0);
        for memory in [64 << 10, 256 << 10, 1 << 20, 3 << 20, 5 << 20, 12 << 20] {
            match run_with(&step, &input, &other, 500, memory) {
                Ok(given) => {
                    same += 1;
                    assert_eq!(shown(&whole(&given)), shown(&whole(&expected)), "{how:?} {memory}");
                    assert_eq!(given.report, expected.report);
                }
                Err(error) => {
                    refused += 1;
                    assert!(memory < 3 << 20, "{error}");
                    let hint = error.hint_text().unwrap();
                    assert!(
                        hint.contains("`limits.memory` to ") && hint.contains(" times as much"),
                        "{hint}"
                    );
                }
            }
        }
        assert!(same >= 3 && refused >= 1, "{same} {refused}");
    }
}

#[test]
fn one_record_may_find_more_than_fits_in_a_batch() {
    let other = table([("k", ints([Some(1); 1])), ("y", ints([Some(0)]))]);
    let other = concat_batches(&other.schema(), vec![&other; 20_000]).unwrap();
    let input = table([("k", ints([Some(1), Some(2), Some(1)]))]);
    let step = Join::new(json!({"file": "o.csv"})).on("k").how(How::Left);
    for memory in [MUCH, 1 << 20] {
        let given = run_with(&step, &input, std::slice::from_ref(&other), 1_000, memory).unwrap();
        let rows: Vec<usize> = given.parts.iter().map(Batch::num_rows).collect();
        assert_eq!(rows, [8192, 8192, 8192, 8192, 7233], "{memory}");
        let last = given.parts.last().unwrap();
        assert_eq!(last.origin().locate(last.rows().ordinal(0) as usize).record, 3);
    }
}

fn told(step: &dyn StepPlan, sources: &[RecordBatch]) -> Vec<String> {
    let sql = Sql::new();
    let references = sources.iter().map(|source| source.schema()).collect();
    let context = BindContext { references, ..BindContext::new(&sql) };
    let told = |mistake: &Mistake| {
        let hint = mistake.hint.as_deref().map(|hint| format!(" ({hint})")).unwrap_or_default();
        format!("{mistake}{hint}")
    };
    let found = step.bind(&columns(&[]).schema(), &context);
    found.err().unwrap_or_default().iter().map(told).collect()
}

#[test]
fn mistakes_are_said_in_their_places() {
    let other = [columns(&[])];
    let join = || Join::new(json!({"file": "o.csv"}));
    assert_eq!(
        told(&join().on("kk").on_pair("f", "h").take("y"), &other),
        [
            "on[0]: no column `kk` (did you mean `k`?)",
            "on[0]: `o.csv` has no column `kk` (did you mean `k`?)",
            "on[1]: `o.csv` has no column `h` (the columns are `k`, `g`, `x`, `f`)",
            "take: `o.csv` has no column `y` (the columns are `k`, `g`, `x`, `f`)",
        ]
    );
    // What would only follow from a wrong key is not said.
    let unknown = "on: `o.csv` has no column `kk` (did you mean `k`?)";
    assert_eq!(told(&join().on_pair("k", "kk"), &other), [unknown]);
    assert_eq!(
        told(&join().on("k").take("x"), &other),
        [
            "take: there would be two columns `x` (say `suffix: _other`, a `prefix`, or which columns: `take: {other_x: x}`)"
        ]
    );
    assert_eq!(
        told(&join().on("k").how(How::Anti).take("x").suffix("_b"), &other),
        [
            "take: records get no columns by a join that only takes some out, so `take` has no meaning (leave it out, or say `how: inner` or `how: left`)",
            "suffix: records get no columns by a join that only takes some out, so `suffix` has no meaning (leave it out, or say `how: inner` or `how: left`)",
        ]
    );
    assert_eq!(
        told(&join().take_as("a", "x").prefix("p"), &other),
        [
            "on: a key needs at least one column (write it like `on: region`, or `on: {region: region_code}`)",
            "prefix: the columns of a mapping have their names already (write `take` as a list, or leave the prefix out)",
        ]
    );
    let query =
        SqlQuery::new("SELECT * FROM regions").table("input", json!({})).table("region", json!({}));
    assert_eq!(
        told_of_tables(&query),
        [
            "tables.input: `input` are the records (give the table another name)",
            "tables.region: the query does not read the table `region` (it reads `regions`: give both one name)",
        ]
    );
}

/// What is wrong with the tables of a query, before columns are known.
fn told_of_tables(query: &SqlQuery) -> Vec<String> {
    let kind = gristmill_transform::KINDS.iter().find(|kind| kind.name == "sql").unwrap();
    let found = (kind.plan)(&serde_json::to_value(query).unwrap(), &Sql::new()).err();
    let hinted =
        |mistake: &Mistake| format!("{mistake} ({})", mistake.hint.as_deref().unwrap_or_default());
    found.unwrap_or_default().iter().map(hinted).collect()
}

#[test]
fn tables_that_are_not_there_are_named() {
    let query = |text: &str| SqlQuery::new(text).table("f", json!({}));
    // What is wrong is the name in the query, not that `f` is not read.
    assert_eq!(
        told_of_tables(&query("SELECT * FROM inpt")),
        [
            "query: no table `inpt` (did you mean `input`? the tables are `input`, `f`; others are named under `tables`)"
        ]
    );
    assert_eq!(
        told_of_tables(&query(
            "SELECT * FROM f JOIN regions AS r ON true WHERE r.x IN (SELECT x FROM regions)"
        )),
        [
            "query: no table `regions` (the tables are `input`, `f`; others are named under `tables`)"
        ]
    );
    assert_eq!(
        told_of_tables(&SqlQuery::new("SELECT * FROM data")),
        ["query: no table `data` (the tables are `input`; others are named under `tables`)"]
    );
    assert_eq!(
        told_of_tables(&query("SELECT * FROM input")),
        ["tables.f: the query does not read the table `f` (leave it out)"]
    );
    let sql = Sql::new();
    let quoted = SqlQuery::new("SELECT * FROM input WHERE k = \"F1\"");
    let mistakes = quoted.bind(&columns(&[]).schema(), &BindContext::new(&sql)).err().unwrap();
    assert_eq!(mistakes[0].to_string(), "query: no column `F1`");
    assert_eq!(mistakes[0].hint.as_deref(), Some("text stands between single quotes: 'F1'"));
    // What the query makes itself is there.
    let own =
        "WITH a AS (SELECT * FROM input), b AS (SELECT * FROM a) SELECT * FROM b JOIN f ON true";
    assert_eq!(told_of_tables(&query(own)), [""; 0]);
}
