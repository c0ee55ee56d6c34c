//! SQLite tables, read back with a connection of our own.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow_array::builder::{Int64Builder, ListBuilder};
use arrow_array::{
    ArrayRef, BinaryViewArray, BooleanArray, Date32Array, Decimal128Array, Float64Array,
    Int16Array, TimestampMicrosecondArray, UInt64Array,
};
use gristmill_core::{Batch, ErrorKind, Findings};
use proptest::prelude::*;
use rusqlite::Connection;
use rusqlite::types::Value as Cell;
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::support::{append, batch, context, ints, load, names, open, people, rejects, texts};

fn query(folder: &Path, sql: &str) -> Vec<Vec<Cell>> {
    let connection = Connection::open(folder.join("test.db")).unwrap();
    let mut statement = connection.prepare(sql).unwrap();
    let columns = statement.column_count();
    let rows = statement
        .query_map([], |row| (0..columns).map(|i| row.get(i)).collect::<Result<Vec<Cell>, _>>());
    rows.unwrap().collect::<Result<_, _>>().unwrap()
}

fn execute(folder: &Path, sql: &str) {
    Connection::open(folder.join("test.db")).unwrap().execute_batch(sql).unwrap();
}

fn text(value: &str) -> Cell {
    Cell::Text(value.to_owned())
}

fn append_to(table: &str) -> Value {
    json!({"table": table, "database": "sqlite://test.db"})
}

fn upsert_to(table: &str, keys: &[&str]) -> Value {
    json!({"table": table, "database": "sqlite://test.db", "mode": "upsert", "keys": keys})
}

#[test]
fn values_are_stored_exactly() {
    let folder = tempdir().unwrap();
    let mut lists = ListBuilder::new(Int64Builder::new());
    lists.append_value([Some(1), None]);
    lists.append_null();
    let decimals = Decimal128Array::from(vec![Some(120_050), None]);
    let times = TimestampMicrosecondArray::from(vec![Some(1_500_000), None]).with_timezone("UTC");
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("text", texts([Some("ü\0'\""), None])),
        ("int", ints([Some(i64::MIN), None])),
        ("short", Arc::new(Int16Array::from(vec![Some(-7), None]))),
        ("big", Arc::new(UInt64Array::from(vec![Some(7), None]))),
        ("double", Arc::new(Float64Array::from(vec![Some(0.1), None]))),
        ("bool", Arc::new(BooleanArray::from(vec![Some(true), None]))),
        ("decimal", Arc::new(decimals.with_precision_and_scale(18, 2).unwrap())),
        ("date", Arc::new(Date32Array::from(vec![Some(-1), None]))),
        ("at", Arc::new(times)),
        ("bytes", Arc::new(BinaryViewArray::from(vec![Some(&b"\x00\xff"[..]), None]))),
        ("list", Arc::new(lists.finish())),
    ];
    load(&append_to("t"), &[batch(1, columns)], &context(folder.path(), "1")).unwrap();
    let rows = query(folder.path(), "SELECT * FROM t ORDER BY rowid");
    assert_eq!(
        rows[0],
        [
            text("ü\0'\""),
            Cell::Integer(i64::MIN),
            Cell::Integer(-7),
            Cell::Integer(7),
            Cell::Real(0.1),
            Cell::Integer(1),
            text("1200.50"),
            text("1969-12-31"),
            text("1970-01-01T00:00:01.5Z"),
            Cell::Blob(vec![0, 0xff]),
            text("[1,null]"),
        ]
    );
    assert!(rows[1].iter().all(|cell| *cell == Cell::Null));
}

#[test]
fn an_existing_table_keeps_values_in_its_own_way() {
    // The second table is the first with an index: rows go another way, and are the same.
    let folder = tempdir().unwrap();
    for encoding in ["UTF-8", "UTF-16le"] {
        let _ = std::fs::remove_file(folder.path().join("test.db"));
        execute(folder.path(), &format!(
            "PRAGMA encoding = '{encoding}'; CREATE TABLE plain (b, r REAL, t TEXT, n NUMERIC, i INTEGER);
             CREATE TABLE indexed (b, r REAL, t TEXT, n NUMERIC, i INTEGER); CREATE INDEX x ON indexed (t);",
        ));
        let same = [Some("12"), Some("1.50"), Some("1e3"), Some("ü 12"), Some(""), None];
        let texts = || texts(same);
        let doubles =
            || Arc::new(Float64Array::from(vec![1.0, 0.5, -0.0, 1e300, 3.0, 2.0])) as ArrayRef;
        let whole = || ints([1, 0, -1, i64::MAX, 5, 6]);
        let inputs = [
            vec![("i", texts()), ("n", texts()), ("t", texts()), ("r", texts()), ("b", texts())],
            vec![
                ("i", doubles()),
                ("n", doubles()),
                ("t", doubles()),
                ("r", doubles()),
                ("b", doubles()),
            ],
            vec![("i", whole()), ("n", whole()), ("t", whole()), ("r", whole()), ("b", whole())],
            vec![("b", whole()), ("r", doubles()), ("t", texts()), ("n", whole()), ("i", whole())],
        ];
        for (i, columns) in inputs.into_iter().enumerate() {
            for table in ["plain", "indexed"] {
                let run = format!("{i}{table}");
                load(
                    &append_to(table),
                    &[batch(1, columns.clone())],
                    &context(folder.path(), &run),
                )
                .unwrap();
            }
        }
        let columns = "b, r, t, n, i, typeof(b), typeof(r), typeof(t), typeof(n), typeof(i)";
        let plain = query(folder.path(), &format!("SELECT {columns} FROM plain ORDER BY rowid"));
        assert_eq!(plain.len(), 24);
        assert_eq!(
            plain,
            query(folder.path(), &format!("SELECT {columns} FROM indexed ORDER BY rowid"))
        );
        assert_eq!(
            plain[0][..5],
            [text("12"), Cell::Real(12.0), text("12"), Cell::Integer(12), Cell::Integer(12)]
        );
        assert_eq!(plain[6][2], text("1.0"));
        assert_eq!(query(folder.path(), "PRAGMA integrity_check"), [[text("ok")]]);
    }
}

#[test]
fn append_adds_rows_in_order() {
    let folder = tempdir().unwrap();
    let batches = [people(1, &[Some(3), Some(1)], &[Some("c"), None]), people(3, &[None], &[None])];
    for run in ["1", "2"] {
        let (loaded, _) = load(&append_to("t"), &batches, &context(folder.path(), run)).unwrap();
        assert_eq!(loaded.inserted, 3);
    }
    let ids: Vec<Cell> =
        query(folder.path(), "SELECT id FROM t ORDER BY rowid").into_iter().flatten().collect();
    let once = [Cell::Integer(3), Cell::Integer(1), Cell::Null];
    assert_eq!(ids, [once.clone(), once].concat());
    assert_eq!(names(folder.path()), ["test.db"]);
}

#[test]
fn replace_shows_the_old_rows_until_the_new_ones() {
    let folder = tempdir().unwrap();
    let item = json!({"table": "t", "database": "sqlite://test.db", "mode": "replace"});
    load(&item, &[people(1, &[Some(1)], &[Some("old")])], &context(folder.path(), "1")).unwrap();
    let new = people(1, &[Some(2), Some(3)], &[Some("new"), Some("new")]);
    let mut findings = Findings::default();
    let mut loader = open(&item, &new.schema(), &context(folder.path(), "2")).unwrap();
    append(loader.as_mut(), &[new], &mut findings).unwrap();
    loader.prepare(&mut findings).unwrap();
    let names = "SELECT name FROM t";
    assert_eq!(query(folder.path(), names), [[text("old")]]);
    assert_eq!(loader.publish().unwrap().inserted, 2);
    assert_eq!(query(folder.path(), names), [[text("new")], [text("new")]]);
}

#[test]
fn upsert_counts_what_it_does() {
    let folder = tempdir().unwrap();
    let item = upsert_to("t", &["id"]);
    let first = people(1, &[Some(1), Some(2), Some(3)], &[Some("a"), None, Some("c")]);
    load(&item, &[first], &context(folder.path(), "1")).unwrap();
    let second = people(
        1,
        &[Some(4), Some(3), Some(2), Some(1), None],
        &[Some("d"), Some("C"), None, None, Some("nobody")],
    );
    let (loaded, findings) = load(&item, &[second], &context(folder.path(), "2")).unwrap();
    assert_eq!((loaded.inserted, loaded.updated, loaded.unchanged), (1, 2, 1));
    let found = rejects(&findings);
    assert_eq!((found[0].0, found[0].2.as_str()), (5, "key"));
    let rows = query(folder.path(), "SELECT id, name FROM t ORDER BY id");
    let expected = [(1, Cell::Null), (2, Cell::Null), (3, text("C")), (4, text("d"))];
    assert_eq!(rows, expected.map(|(id, name)| [Cell::Integer(id), name]));
}

#[test]
fn duplicates_of_a_key_are_rejected() {
    for (policy, kept, rejected) in [
        ("last", Some("c"), &[1, 2][..]),
        ("first", Some("a"), &[2, 3]),
        ("reject", None, &[1, 2, 3]),
    ] {
        let folder = tempdir().unwrap();
        let mut item = upsert_to("t", &["id"]);
        item["duplicates"] = policy.into();
        let batches = [
            people(1, &[Some(7), Some(7)], &[Some("a"), Some("b")]),
            people(3, &[Some(7), Some(8)], &[Some("c"), Some("d")]),
        ];
        let (_, findings) = load(&item, &batches, &context(folder.path(), "1")).unwrap();
        let found = rejects(&findings);
        let mut numbers: Vec<u64> = found.iter().map(|reject| reject.0).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, rejected, "{policy}");
        for (number, raw, rule, message) in found {
            assert_eq!((raw, rule.as_str()), (format!("record {number}"), "duplicate_key"));
            assert!(message.contains("the key `7`"), "{message}");
        }
        let rows = query(folder.path(), "SELECT name FROM t ORDER BY id");
        let expected: Vec<Vec<Cell>> =
            kept.into_iter().chain(["d"]).map(|name| vec![text(name)]).collect();
        assert_eq!(rows, expected, "{policy}");
    }
}

#[test]
fn keys_compare_as_the_index_compares() {
    let folder = tempdir().unwrap();
    execute(
        folder.path(),
        "CREATE TABLE T (Code TEXT COLLATE NOCASE, n INTEGER, note TEXT DEFAULT 'kept', UNIQUE (code));
         INSERT INTO t VALUES ('Abc', 1, 'mine');",
    );
    let input = batch(1, vec![("code", texts(["ABC", "x", "X"])), ("N", texts(["1", "2", "3"]))]);
    let (loaded, findings) =
        load(&upsert_to("t", &["code"]), &[input], &context(folder.path(), "1")).unwrap();
    assert_eq!((loaded.inserted, loaded.unchanged), (1, 1));
    assert_eq!(rejects(&findings)[0].0, 2);
    assert_eq!(
        query(folder.path(), "SELECT * FROM t ORDER BY n"),
        [
            [text("Abc"), Cell::Integer(1), text("mine")],
            [text("X"), Cell::Integer(3), text("kept")],
        ]
    );
}

#[test]
fn errors_say_the_statement_that_helps() {
    let folder = tempdir().unwrap();
    execute(folder.path(), r#"CREATE TABLE "my ""t" (id INTEGER)"#);
    let input = people(1, &[Some(1)], &[Some("a")]);
    let item = upsert_to("my \"t", &["id", "name"]);
    for kind in [ErrorKind::Schema, ErrorKind::Schema] {
        let error = open(&item, &input.schema(), &context(folder.path(), "1")).err().unwrap();
        assert_eq!(error.kind(), kind);
        let (_, statement) = error.hint_text().unwrap().split_once("run: ").unwrap();
        execute(folder.path(), statement);
    }
    let (loaded, _) = load(&item, &[input], &context(folder.path(), "1")).unwrap();
    assert_eq!(loaded.inserted, 1);

    let mut item = append_to("other");
    item["create"] = "never".into();
    let input = people(1, &[Some(1)], &[Some("a")]);
    let error = open(&item, &input.schema(), &context(folder.path(), "1")).err().unwrap();
    let (_, statement) = error.hint_text().unwrap().split_once("run: ").unwrap();
    execute(folder.path(), statement);
    load(&item, &[input], &context(folder.path(), "1")).unwrap();
}

#[test]
fn what_cannot_be_loaded_is_said_when_opening() {
    let folder = tempdir().unwrap();
    execute(
        folder.path(),
        "CREATE TABLE needs (id INTEGER PRIMARY KEY, name TEXT, must TEXT NOT NULL);
         CREATE TABLE makes (id INTEGER, name TEXT AS (id || '!'));
         CREATE VIEW looks AS SELECT id, name FROM needs;",
    );
    std::fs::write(folder.path().join("text.db"), "This is no database.".repeat(100)).unwrap();
    std::fs::create_dir(folder.path().join("folder.db")).unwrap();
    let input = people(1, &[Some(1)], &[Some("a")]);
    for (table, database, what) in [
        ("needs", "test.db", "requires `must`"),
        ("makes", "test.db", "generated"),
        ("looks", "test.db", "view"),
        ("t", "text.db", "cannot open the database `text.db`"),
        ("t", "folder.db", "`folder.db` is not a file"),
    ] {
        let item = json!({"table": table, "database": format!("sqlite:{database}")});
        let error = open(&item, &input.schema(), &context(folder.path(), "1")).err().unwrap();
        assert!(error.to_string().contains(what), "{error}");
        assert!(error.hint_text().is_some(), "{error}");
    }
}

#[test]
fn refused_records_are_rejected_with_the_databases_words() {
    let folder = tempdir().unwrap();
    execute(
        folder.path(),
        "CREATE TABLE parent (id INTEGER PRIMARY KEY);
         INSERT INTO parent VALUES (1);
         CREATE TABLE t (
            id INTEGER PRIMARY KEY CHECK (id < 100),
            name TEXT NOT NULL,
            parent INTEGER REFERENCES parent (id)
         ) STRICT;
         INSERT INTO t VALUES (5, 'there', 1);
         CREATE TRIGGER shy BEFORE INSERT ON t WHEN NEW.name = 'shy'
         BEGIN SELECT RAISE(ABORT, 'no shy people'); END;",
    );
    let input = batch(
        1,
        vec![
            ("id", texts(["1", "100", "2", "x", "5", "3", "4"])),
            (
                "name",
                texts([Some("a"), Some("b"), None, Some("c"), Some("d"), Some("shy"), Some("e")]),
            ),
            ("parent", ints([Some(1), Some(1), Some(1), Some(1), None, Some(1), Some(2)])),
        ],
    );
    let (loaded, findings) = load(&append_to("t"), &[input], &context(folder.path(), "1")).unwrap();
    assert_eq!(loaded.inserted, 1);
    let found: Vec<(u64, String)> =
        rejects(&findings).into_iter().map(|reject| (reject.0, reject.3)).collect();
    let expected = [
        (2, "CHECK constraint failed: id < 100"),
        (3, "NOT NULL constraint failed: t.name"),
        (4, "datatype mismatch"),
        (5, "UNIQUE constraint failed: t.id"),
        (6, "no shy people"),
        (7, "FOREIGN KEY constraint failed"),
    ];
    assert_eq!(found, expected.map(|(record, message)| (record, message.to_owned())));
    assert_eq!(query(folder.path(), "SELECT count(*) FROM t"), [[Cell::Integer(2)]]);
}

#[test]
fn a_constraint_that_rolls_back_ends_the_load() {
    let folder = tempdir().unwrap();
    execute(folder.path(), "CREATE TABLE t (id INTEGER UNIQUE ON CONFLICT ROLLBACK, name TEXT)");
    let input = people(1, &[Some(1), Some(1)], &[None, None]);
    let error = load(&append_to("t"), &[input], &context(folder.path(), "1")).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Destination);
    assert_eq!(query(folder.path(), "SELECT count(*) FROM t"), [[Cell::Integer(0)]]);
}

#[test]
fn deferred_references_are_judged_before_anything_is_published() {
    let folder = tempdir().unwrap();
    execute(
        folder.path(),
        "CREATE TABLE parent (id INTEGER PRIMARY KEY, name TEXT);
         CREATE TABLE child (id INTEGER, name TEXT, FOREIGN KEY (id) REFERENCES parent DEFERRABLE INITIALLY DEFERRED);",
    );
    let input = people(1, &[Some(1)], &[Some("a")]);
    let item = append_to("child");
    let mut loader = open(&item, &input.schema(), &context(folder.path(), "1")).unwrap();
    let mut findings = Findings::default();
    append(loader.as_mut(), std::slice::from_ref(&input), &mut findings).unwrap();
    let error = loader.prepare(&mut findings).unwrap_err();
    assert!(error.to_string().contains("deferred foreign keys"), "{error}");
    drop(loader);

    // With its parent's table, in whatever order, the child is welcome.
    let context = context(folder.path(), "2");
    let mut loaders =
        ["child", "parent"].map(|t| open(&append_to(t), &input.schema(), &context).unwrap());
    for loader in &mut loaders {
        append(loader.as_mut(), std::slice::from_ref(&input), &mut findings).unwrap();
        loader.prepare(&mut findings).unwrap();
    }
    for loader in &mut loaders {
        assert_eq!(loader.publish().unwrap().inserted, 1);
    }
    assert_eq!(query(folder.path(), "SELECT count(*) FROM child"), [[Cell::Integer(1)]]);
}

#[test]
fn a_number_that_sqlite_would_lose_is_rejected() {
    let folder = tempdir().unwrap();
    let numbers: ArrayRef = Arc::new(Float64Array::from(vec![f64::NAN, f64::INFINITY]));
    let (loaded, findings) =
        load(&append_to("t"), &[batch(1, vec![("x", numbers)])], &context(folder.path(), "1"))
            .unwrap();
    assert_eq!((loaded.inserted, rejects(&findings)[0].0), (1, 1));

    execute(folder.path(), "CREATE TABLE big (i INTEGER, x)");
    let big = |n| Arc::new(UInt64Array::from(vec![n, 1])) as ArrayRef;
    let input = batch(1, vec![("i", big(u64::MAX)), ("x", big(2))]);
    let (_, findings) = load(&append_to("big"), &[input], &context(folder.path(), "2")).unwrap();
    assert_eq!(rejects(&findings)[0].0, 1);
    let input = batch(1, vec![("i", big(1)), ("x", big(u64::MAX))]);
    load(&append_to("big"), &[input], &context(folder.path(), "3")).unwrap();
    let rows = query(folder.path(), "SELECT x FROM big");
    assert_eq!(rows, [[Cell::Integer(1)], [text("18446744073709551615")], [Cell::Integer(1)]]);
}

#[test]
fn any_name_is_only_a_name() {
    let folder = tempdir().unwrap();
    let odd = ["select", "Mixed Case", "a\"b", "semi;colon", "x'y", "[z]", "ünïcode", ""];
    let columns = odd.iter().map(|name| (*name, ints([1, 2]))).collect();
    let input = batch(1, columns);
    let table = "drop \"table\"; --";
    let item = upsert_to(table, &["a\"b", "select"]);
    // Both rows have different keys in one column only.
    let (loaded, _) = load(&item, &[input], &context(folder.path(), "1")).unwrap();
    assert_eq!(loaded.inserted, 2);
    let found: Vec<Cell> = query(
        folder.path(),
        "SELECT name FROM pragma_table_info('drop \"table\"; --') ORDER BY cid",
    )
    .into_iter()
    .flatten()
    .collect();
    assert_eq!(found, odd.map(text));
}

#[test]
fn tables_of_one_database_are_published_together() {
    let folder = tempdir().unwrap();
    execute(folder.path(), "CREATE TABLE x (i)");
    let input = people(1, &[Some(1)], &[Some("a")]);
    let context = context(folder.path(), "1");
    let mut findings = Findings::default();
    let mut loaders = ["a", "b"].map(|t| open(&append_to(t), &input.schema(), &context).unwrap());
    assert!(open(&append_to("A"), &input.schema(), &context).is_err());
    for loader in &mut loaders {
        append(loader.as_mut(), std::slice::from_ref(&input), &mut findings).unwrap();
    }
    for loader in &mut loaders {
        loader.prepare(&mut findings).unwrap();
    }
    let tables = "SELECT name FROM sqlite_schema WHERE name IN ('a', 'b') ORDER BY name";
    assert_eq!(query(folder.path(), tables).len(), 0);
    for loader in &mut loaders {
        assert_eq!(loader.publish().unwrap().inserted, 1);
    }
    drop(loaders);
    assert_eq!(query(folder.path(), tables), [[text("a")], [text("b")]]);
}

#[test]
fn a_destination_that_gives_up_takes_the_others_back() {
    let folder = tempdir().unwrap();
    let input = people(1, &[Some(1)], &[Some("a")]);
    let context = context(folder.path(), "1");
    let mut findings = Findings::default();
    let mut a = open(&append_to("a"), &input.schema(), &context).unwrap();
    let mut b = open(&append_to("b"), &input.schema(), &context).unwrap();
    for loader in [&mut a, &mut b] {
        append(loader.as_mut(), std::slice::from_ref(&input), &mut findings).unwrap();
        loader.prepare(&mut findings).unwrap();
    }
    a.abort();
    assert!(b.publish().is_err());
    drop(b);
    assert!(names(folder.path()).is_empty());
}

#[test]
fn a_run_that_was_committed_is_not_loaded_twice() {
    let folder = tempdir().unwrap();
    execute(folder.path(), "CREATE TABLE t (id INTEGER CHECK (id > 0), name TEXT)");
    let input = people(1, &[Some(1), Some(0), Some(2)], &[Some("a"), Some("b"), Some("c")]);
    let context = context(folder.path(), "same");
    let database = folder.path().join("test.db");
    assert_eq!(gristmill_load::sqlite::committed(&database, "same", "t").unwrap(), None);
    let first = load(&append_to("t"), std::slice::from_ref(&input), &context).unwrap();
    let again = load(&append_to("t"), &[input], &context).unwrap();
    assert_eq!(first.0, again.0);
    assert_eq!(rejects(&first.1), rejects(&again.1));
    assert_eq!(query(folder.path(), "SELECT count(*) FROM t"), [[Cell::Integer(2)]]);
    let known = gristmill_load::sqlite::committed(&database, "same", "t").unwrap().unwrap();
    assert_eq!(known.inserted, 2);
}

#[test]
fn a_new_database_appears_when_it_is_published() {
    let folder = tempdir().unwrap();
    let item = json!({"table": "t", "database": "sqlite://made/test.db"});
    let input = people(1, &[Some(1)], &[Some("a")]);
    let prepare = |run| {
        let mut findings = Findings::default();
        let mut loader = open(&item, &input.schema(), &context(folder.path(), run)).unwrap();
        append(loader.as_mut(), std::slice::from_ref(&input), &mut findings).unwrap();
        loader.prepare(&mut findings).unwrap();
        loader
    };
    let dropped = prepare("1");
    assert!(!folder.path().join("made/test.db").exists());
    drop(dropped);
    assert!(names(folder.path()).is_empty());

    let mut late = prepare("2");
    prepare("3").publish().unwrap();
    assert!(late.publish().is_err(), "the other run's database must stay");
    drop(late);
    assert_eq!(names(&folder.path().join("made")), ["test.db"]);
    let rows = query(&folder.path().join("made"), "SELECT run FROM gristmill_loads");
    assert_eq!(rows, [[text("3")]]);
}

fn records() -> impl Strategy<Value = Vec<(Option<i64>, Option<i64>)>> {
    let key = prop::option::weighted(0.9, 0..12i64);
    prop::collection::vec((key, prop::option::of(0..3i64)), 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// A map that is updated record by record is the reference.
    #[test]
    fn upserts_give_what_a_map_gives(runs in prop::collection::vec((records(), 1..9usize), 1..4)) {
        let folder = tempdir().unwrap();
        let mut model: BTreeMap<i64, Option<i64>> = BTreeMap::new();
        for (i, (records, size)) in runs.iter().enumerate() {
            let batches: Vec<Batch> = records
                .chunks(*size)
                .enumerate()
                .map(|(n, chunk)| {
                    let columns = vec![
                        ("k", ints(chunk.iter().map(|r| r.0))),
                        ("v", ints(chunk.iter().map(|r| r.1))),
                    ];
                    batch((n * size) as u64 + 1, columns)
                })
                .collect();
            let run = i.to_string();
            let item = upsert_to("t", &["k"]);
            let (loaded, findings) = load(&item, &batches, &context(folder.path(), &run)).unwrap();
            let last: BTreeMap<i64, (usize, Option<i64>)> = records
                .iter()
                .enumerate()
                .filter_map(|(n, (k, v))| Some(((*k)?, (n, *v))))
                .collect();
            let mut counts = (0, 0, 0);
            for (k, (_, v)) in &last {
                match model.insert(*k, *v) {
                    None => counts.0 += 1,
                    Some(old) if old != *v => counts.1 += 1,
                    Some(_) => counts.2 += 1,
                }
            }
            prop_assert_eq!((loaded.inserted, loaded.updated, loaded.unchanged), counts);
            let mut rejected: Vec<u64> = rejects(&findings).iter().map(|r| r.0).collect();
            rejected.sort_unstable();
            let loaded: Vec<usize> = last.values().map(|(n, _)| *n).collect();
            let expected: Vec<u64> = (0..records.len())
                .filter(|n| !loaded.contains(n))
                .map(|n| n as u64 + 1)
                .collect();
            prop_assert_eq!(rejected, expected);
        }
        let rows = query(folder.path(), "SELECT k, v FROM t ORDER BY k");
        let cell = |v: Option<i64>| v.map_or(Cell::Null, Cell::Integer);
        let expected: Vec<Vec<Cell>> =
            model.into_iter().map(|(k, v)| vec![Cell::Integer(k), cell(v)]).collect();
        prop_assert_eq!(rows, expected);
    }

    #[test]
    fn exactly_the_refused_records_are_rejected(bad in prop::collection::vec(any::<bool>(), 1..200)) {
        let folder = tempdir().unwrap();
        execute(folder.path(), "CREATE TABLE t (n INTEGER CHECK (n = 0))");
        let input = batch(1, vec![("n", ints(bad.iter().map(|&bad| i64::from(bad))))]);
        let (_, findings) = load(&append_to("t"), &[input], &context(folder.path(), "1")).unwrap();
        let rejected: Vec<u64> = rejects(&findings).iter().map(|r| r.0).collect();
        let expected: Vec<u64> = (0..bad.len()).filter(|&i| bad[i]).map(|i| i as u64 + 1).collect();
        prop_assert_eq!(rejected, expected);
    }
}

#[test]
fn a_constraint_that_ignores_rows_ends_the_load() {
    let folder = tempdir().unwrap();
    execute(
        folder.path(),
        "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT NOT NULL on conflict  ignore);
         INSERT INTO t VALUES (1, 'a')",
    );
    for ids in [[1, 3], [2, 3]] {
        let input = people(1, &ids.map(Some), &[None, Some("c")]);
        let item = upsert_to("t", &["id"]);
        let error = load(&item, &[input], &context(folder.path(), "1")).err().unwrap();
        assert!(error.to_string().contains("no notice of 1 records"), "{error}");
        assert_eq!(query(folder.path(), "SELECT name FROM t"), [[text("a")]]);
    }
}
