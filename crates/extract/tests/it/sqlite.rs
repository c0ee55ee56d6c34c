//! Tables and queries of SQLite files.

use arrow_array::cast::AsArray;
use gristmill_core::ErrorKind;
use proptest::prelude::*;
use rusqlite::Connection;
use rusqlite::types::{Value as Cell, ValueRef};
use serde_json::json;

use crate::support::{Folder, Read, sqlite};

fn read(sql: &str, query: &str) -> Read {
    let folder = Folder::new(&[]);
    sqlite(&folder, "x.db", sql);
    folder.read(json!({"query": query, "database": "sqlite://x.db"})).unwrap()
}

#[test]
fn columns_have_the_types_they_are_declared_with() {
    let read = read(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, ok BOOLEAN, aum DECIMAL_TEXT(18, 2), price NUMERIC(9, 3),
             day DATE, at TIME, seen TIMESTAMP, ratio REAL, name TEXT, doc JSON, raw BLOB, any);
         INSERT INTO t VALUES
             (1, 1, '1200.50', 12.125, '2024-02-29', '23:59:59.5', '2024-02-29T12:00:00', 1, 'ä', '{}', x'00ff', 7),
             (2, 0, '-0.01', 3, NULL, '00:00', '2024-02-29 12:00:00Z', 0.5, '', NULL, x'', 'text'),
             (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'a text longer than a view', NULL, NULL, 1.5)",
        "SELECT *, id + 1 AS next FROM t ORDER BY id",
    );
    assert_eq!(
        read.types(),
        [
            "int",
            "bool",
            "decimal(18, 2)",
            "decimal(9, 3)",
            "date",
            "time",
            "timestamp",
            "double",
            "string",
            "json",
            "binary",
            "string",
            "string"
        ]
    );
    assert_eq!(read.flaws, [""; 0]);
    assert_eq!(read.column("ok"), ["true", "false", "-"]);
    assert_eq!(read.column("aum"), ["1200.50", "-0.01", "-"]);
    assert_eq!(read.column("price"), ["12.125", "3.000", "-"]);
    assert_eq!(read.column("seen"), ["2024-02-29T12:00:00", "2024-02-29T12:00:00", "-"]);
    assert_eq!(read.column("ratio"), ["1.0", "0.5", "-"]);
    assert_eq!(read.column("name"), ["ä", "", "a text longer than a view"]);
    assert_eq!(read.columns.column(10).as_binary_view().value(0), b"\x00\xff");
    assert_eq!(read.column("any"), ["7", "text", "1.5"]);
    assert_eq!(read.column("next"), ["2", "3", "4"]);
}

#[test]
fn a_value_that_its_column_cannot_hold_rejects_its_record() {
    let read = read(
        "CREATE TABLE t (i INTEGER, d DATE, n DECIMAL(5, 2), r REAL, b BLOB, t TEXT, k BOOLEAN);
         INSERT INTO t VALUES
             ('x', '29.02.2024', 1000, 'y', 'text', CAST(x'ff' AS TEXT), 2),
             (1.5, '', 0.001, x'00', 1, x'00', 'no'),
             (1, '2024-01-01', 999.99, 1, x'00', 'z', 1)",
        "SELECT * FROM t",
    );
    let mut flaws = read.flaws.clone();
    flaws.sort();
    assert_eq!(
        flaws,
        [
            "`0.001` is not a decimal(5, 2); with `n: string` under `columns` it is read",
            "`1 bytes` is not a double",
            "`1 bytes` is not a string",
            "`1.5` is not an int; with `i: string` under `columns` it is read",
            "`1000` is not a decimal(5, 2); with `n: string` under `columns` it is read",
            "`1` is not a binary",
            "`29.02.2024` is not a date; with `d: string` under `columns` it is read",
            "`2` is not a bool; with `k: string` under `columns` it is read",
            "`` is not a date; with `d: string` under `columns` it is read",
            "`text` is not a binary",
            "`x` is not an int; with `i: string` under `columns` it is read",
            "`y` is not a double; with `r: string` under `columns` it is read",
            "`\u{fffd}` is not a string",
        ]
    );
    assert_eq!(read.column("k")[1], "false"); // `no` is a word for it
}

#[test]
fn declared_types_take_the_place_of_the_columns_own() {
    let folder = Folder::new(&[]);
    sqlite(
        &folder,
        "x.db",
        "CREATE TABLE t (a, b TEXT); INSERT INTO t VALUES (1, '2024-01-01'), (2, 'x')",
    );
    let columns = json!({"a": "int", "b": "date", "n": "int"});
    let item = json!({
        "query": "SELECT a, b, count(*) OVER () AS n FROM t", "database": "sqlite://x.db",
        "columns": columns
    });
    let read = folder.read(item).unwrap();
    assert_eq!(read.types(), ["int", "date", "int"]);
    assert_eq!(
        (read.column("n"), read.flaws),
        (
            vec!["2".to_owned(); 2],
            vec!["`x` is not a date; with `b: string` under `columns` it is read".to_owned()]
        )
    );
}

#[test]
fn mistakes_name_the_file_and_the_table() {
    let folder =
        Folder::new(&[("text.db", "this is not a database, but it is long enough for one")]);
    sqlite(&folder, "x.db", "CREATE TABLE t (a)");
    let error = |item| {
        let error = folder.error(item);
        (error.kind(), format!("{error}: {}", error.causes().join(": ")))
    };
    let table = |table: &str, file: &str| {
        error(json!({"table": table, "database": format!("sqlite://{file}")}))
    };
    let (kind, message) = table("t", "none.db");
    assert_eq!(kind, ErrorKind::NotFound);
    assert!(message.contains("`none.db`"), "{message}");
    assert!(!folder.path().join("none.db").exists());
    let (kind, message) = table("u", "x.db");
    assert_eq!(kind, ErrorKind::NotFound);
    assert!(message.contains("`u` of `x.db`") && message.contains("no such table: u"), "{message}");
    assert_eq!(table("t", "text.db").0, ErrorKind::Corrupt);
    let query = |sql: &str| error(json!({"query": sql, "database": "sqlite://x.db"}));
    assert_eq!(query("SELEC 1").0, ErrorKind::Configuration);
    assert!(query("SELECT ?").1.contains("parameters"));
    assert!(
        query("DELETE FROM t RETURNING a").1.contains("query_only")
            || query("DELETE FROM t RETURNING a").1.contains("readonly")
    );
}

/// A reader that is dropped lets go of the file at once.
#[test]
fn a_source_that_is_left_early_stops() {
    let folder = Folder::new(&[]);
    sqlite(&folder, "x.db", "CREATE TABLE t (a)");
    let sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n";
    let item = json!({"query": sql, "database": "sqlite://x.db"});
    let mut extractor = folder.open(item).unwrap();
    extractor.begin(None).unwrap();
    assert!(extractor.next_chunk().unwrap().is_some());
    drop(extractor); // of rows without end
}

fn cell() -> impl Strategy<Value = Cell> {
    prop_oneof![
        Just(Cell::Null),
        any::<i64>().prop_map(Cell::Integer),
        (-1000_i64..1000).prop_map(Cell::Integer),
        any::<f64>().prop_map(Cell::Real),
        "[0-9a-zé]{0,20}".prop_map(Cell::Text),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(Cell::Blob),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Whatever a column holds, each value is there as SQLite has it, or rejected.
    #[test]
    fn nothing_is_changed_silently(cells in prop::collection::vec(cell(), 1..40)) {
        let folder = Folder::new(&[]);
        let names = ["i INTEGER", "r REAL", "t TEXT", "b BLOB", "n NUMERIC(9, 2)", "x"];
        sqlite(&folder, "x.db", &format!("CREATE TABLE t ({})", names.join(", ")));
        let connection = Connection::open(folder.path().join("x.db")).unwrap();
        connection.execute_batch("PRAGMA synchronous = off; BEGIN").unwrap();
        for cell in &cells {
            let values = [cell; 6];
            let insert = "INSERT INTO t VALUES (?, ?, ?, ?, ?, ?)";
            connection.execute(insert, rusqlite::params_from_iter(values)).unwrap();
        }
        connection.execute_batch("COMMIT").unwrap();
        let read = folder.read(json!({"table": "t", "database": "sqlite://x.db"})).unwrap();
        let mut statement = connection.prepare("SELECT * FROM t").unwrap();
        let mut rows = statement.query([]).unwrap();
        let mut missing = 0;
        let mut at = 0;
        while let Some(row) = rows.next().unwrap() {
            for i in 0..6 {
                let column = read.columns.column(i);
                let value = row.get_ref(i).unwrap();
                if column.is_null(at) {
                    missing += usize::from(value != ValueRef::Null);
                    continue;
                }
                let text = &read.column(read.schema.field(i).name())[at];
                let same = match value {
                    ValueRef::Null => false,
                    ValueRef::Integer(int) => text.parse::<f64>().unwrap() == int as f64,
                    ValueRef::Real(real) => text.parse::<f64>().unwrap() == real,
                    ValueRef::Text(bytes) => text.as_bytes() == bytes,
                    ValueRef::Blob(bytes) => column.as_binary_view().value(at) == bytes,
                };
                prop_assert!(same, "{value:?} became {text}");
            }
            at += 1;
        }
        prop_assert_eq!(missing, read.flaws.len());
    }
}
