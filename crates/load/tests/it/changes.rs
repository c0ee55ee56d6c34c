//! Records with columns that the table does not have, or with wider types than it has.

use std::sync::Arc;

use arrow_array::{ArrayRef, Date32Array, Decimal128Array, Float64Array};
use gristmill_core::{Batch, Findings};
use serde_json::{Value, json};

use crate::support::{append, batch, context, ints, load, open, rejects, texts};
use crate::warehouse::Warehouse;

/// Id and name.
fn old() -> Batch {
    batch(1, vec![("id", ints([1, 2])), ("name", texts(["one", "two"]))])
}

/// Id, a note and a day that the table does not have, and name: the columns in another order.
fn new() -> Batch {
    batch(
        1,
        vec![
            ("id", ints([2, 3, 4])),
            ("note", texts([None, Some("hello"), None])),
            ("Day", Arc::new(Date32Array::from(vec![None, None, Some(19_724)])) as ArrayRef),
            ("name", texts(["zwei", "three", "four"])),
        ],
    )
}

/// Each mode that has keys, and the others, with these changes.
fn items(warehouse: &Warehouse, changes: &str) -> Vec<Value> {
    let item = |mode: &str, keys: &[&str], partition: &[&str]| {
        let mut item = json!({
            "table": "t", "database": warehouse.url(), "mode": mode, "schema_changes": changes,
        });
        if !keys.is_empty() {
            item["keys"] = keys.into();
        }
        if !partition.is_empty() {
            item["partition_by"] = partition.into();
        }
        item
    };
    vec![
        item("append", &[], &[]),
        item("replace", &[], &[]),
        item("upsert", &["id"], &[]),
        item("insert_only", &["id"], &[]),
        item("delete_insert", &[], &["id"]),
        item("scd2", &["id"], &[]),
    ]
}

fn begin(warehouse: &Warehouse, item: &Value) {
    warehouse.run("DROP TABLE IF EXISTS t; DROP TABLE IF EXISTS gristmill_loads");
    load(item, &[old()], &context(warehouse.folder(), "1")).unwrap();
}

fn columns(warehouse: &Warehouse) -> Vec<String> {
    warehouse.lines(warehouse.either([
        "SELECT name FROM pragma_table_info('t')",
        "SELECT attname FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum > 0 ORDER BY attnum",
        "SELECT column_name FROM information_schema.columns WHERE table_name = 't'
         AND table_schema = database() ORDER BY ordinal_position",
    ]))
}

fn new_columns_end_the_load_with_the_statement_that_adds_them(warehouse: &Warehouse) {
    let item = &items(warehouse, "error")[2];
    begin(warehouse, item);
    let error = load(item, &[new()], &context(warehouse.folder(), "2")).unwrap_err();
    assert_eq!(error.to_string(), "table `t` has no columns `note`, `Day`");
    let hint = error.hint_text().unwrap();
    assert!(hint.contains("schema_changes: add_columns"), "{hint}");
    warehouse.run(hint.split_once("or run: ").unwrap().1);
    let (loaded, _) = load(item, &[new()], &context(warehouse.folder(), "3")).unwrap();
    assert_eq!((loaded.inserted, loaded.updated), (2, 1));
}

fn records_with_values_in_new_columns_are_quarantined(warehouse: &Warehouse) {
    for item in items(warehouse, "quarantine") {
        begin(warehouse, &item);
        let (before, mode) = (columns(warehouse), &item["mode"]);
        let (_, findings) = load(&item, &[new()], &context(warehouse.folder(), "2")).unwrap();
        let rejects = rejects(&findings);
        let reject = |record: u64, message: &str| {
            (record, format!("record {record}"), "column".to_owned(), message.to_owned())
        };
        assert_eq!(
            rejects,
            [
                reject(2, "table `t` has no column `note`"),
                reject(3, "table `t` has no column `Day`")
            ],
            "{mode}"
        );
        assert_eq!(findings.rejects()[0].errors[0].value.as_deref(), Some("hello"));
        assert_eq!(columns(warehouse), before, "{mode}");
        let names = warehouse.lines("SELECT DISTINCT name FROM t ORDER BY name");
        let expected: &[&str] = match mode.as_str().unwrap() {
            "replace" => &["zwei"],
            "append" => &["one", "two", "zwei"],
            "insert_only" => &["one", "two"],
            _ => &["one", "zwei"], // in a dimension, two records of one instant
        };
        assert_eq!(names, expected, "{mode}");
    }
    // A table that is created has all columns.
    warehouse.run("DROP TABLE t; DROP TABLE gristmill_loads");
    let item = &items(warehouse, "quarantine")[0];
    let (loaded, _) = load(item, &[new()], &context(warehouse.folder(), "3")).unwrap();
    assert_eq!(loaded.inserted, 3);
}

fn new_columns_are_added_with_the_records(warehouse: &Warehouse) {
    for item in items(warehouse, "add_columns") {
        begin(warehouse, &item);
        let (before, mode) = (columns(warehouse), &item["mode"]);
        let context = context(warehouse.folder(), "2");
        // Neither a plan nor a run that ends before it publishes changes the table.
        for plans in [true, false] {
            let mut loader = open(&item, &new().schema(), &context).unwrap();
            if plans {
                loader.plan();
            }
            let mut findings = Findings::default();
            append(loader.as_mut(), &[new()], &mut findings).unwrap();
            loader.prepare(&mut findings).unwrap();
            let notes = loader.notes().join(" ");
            for added in ["ADD COLUMN \"note\"", "ADD COLUMN \"Day\""] {
                assert!(notes.contains(added), "{notes}");
            }
            loader.abort();
            // In MariaDB and MySQL, columns stay that are added for a load that fails.
            if warehouse.either(["", "", "stay"]).is_empty() || plans {
                assert_eq!(columns(warehouse), before, "{mode}");
            } else {
                assert_eq!(columns(warehouse)[before.len()..], ["note", "Day"], "{mode}");
                let rows = warehouse.lines("SELECT id, name, note, \"Day\" FROM t ORDER BY id");
                assert_eq!(rows, ["1 one - -", "2 two - -"], "{mode}");
                warehouse.run("ALTER TABLE t DROP COLUMN note, DROP COLUMN \"Day\"");
            }
        }
        let (_, findings) = load(&item, &[new()], &context).unwrap();
        assert_eq!(rejects(&findings), []);
        let now = columns(warehouse);
        assert_eq!(now[..before.len()], before, "{mode}");
        assert_eq!(now[before.len()..], ["note", "Day"], "{mode}");
        let rows = warehouse.lines("SELECT id, name, note, \"Day\" FROM t ORDER BY id, name");
        let both = ["3 three hello -", "4 four - 2024-01-02"];
        let expected: &[&str] = match mode.as_str().unwrap() {
            "append" => &["1 one - -", "2 two - -", "2 zwei - -"],
            "replace" => &["2 zwei - -"],
            "insert_only" => &["1 one - -", "2 two - -"],
            _ => &["1 one - -", "2 zwei - -"],
        };
        assert_eq!(rows, [expected, &both].concat(), "{mode}");
        // What is there is not added again.
        let (_, findings) =
            load(&item, &[new()], &crate::support::context(warehouse.folder(), "3")).unwrap();
        assert_eq!((rejects(&findings), columns(warehouse)), (vec![], now), "{mode}");
    }
}

fn wide() -> Batch {
    batch(
        1,
        vec![
            ("id", ints([5_000_000_000])),
            ("name", texts(["a name of more than ten letters"])),
            ("fee", decimal()),
            ("rate", Arc::new(Float64Array::from(vec![0.1])) as ArrayRef),
        ],
    )
}

fn decimal() -> ArrayRef {
    let digits = Decimal128Array::from(vec![1_234_567_891]);
    Arc::new(digits.with_precision_and_scale(12, 4).unwrap())
}

fn narrow_columns_become_as_wide_as_the_records(warehouse: &Warehouse, types: [&str; 4]) {
    let item = |changes: &str| {
        json!({
            "table": "t", "database": warehouse.url(), "mode": "upsert", "keys": ["id"],
            "schema_changes": changes,
        })
    };
    warehouse.run(
        "CREATE TABLE t (id integer PRIMARY KEY, name varchar(10) NOT NULL DEFAULT 'x',
             fee numeric(9, 2), rate real);
         INSERT INTO t VALUES (1, 'one', 1234567.25, 0.5)",
    );
    let have = || {
        warehouse.lines(warehouse.either([
            "",
            "SELECT format_type(atttypid, atttypmod) FROM pg_attribute
             WHERE attrelid = 't'::regclass AND attnum > 0 ORDER BY attnum",
            "SELECT column_type FROM information_schema.columns WHERE table_name = 't'
             AND table_schema = database() ORDER BY ordinal_position",
        ]))
    };
    let before = have();
    let folder = warehouse.folder();
    let (_, findings) = load(&item("add_columns"), &[wide()], &context(folder, "1")).unwrap();
    assert_eq!((findings.rejects().len(), have()), (1, before.clone()));
    // A plan says what becomes wider. Where that cannot be taken back it rejects what fits only then.
    let mut loader = open(&item("widen"), &wide().schema(), &context(folder, "plan")).unwrap();
    loader.plan();
    let mut findings = Findings::default();
    append(loader.as_mut(), &[wide()], &mut findings).unwrap();
    let planned = loader.prepare(&mut findings).unwrap();
    let notes = loader.notes().join(" ");
    let rejected = usize::from(notes.contains("what only wider ones hold is rejected"));
    assert_eq!(rejected, warehouse.either(["", "", "1"]).len());
    assert_eq!((planned.inserted as usize, findings.rejects().len()), (1 - rejected, rejected));
    for column in ["id", "name", "fee"] {
        assert!(notes.contains(&format!("COLUMN \"{column}\"")), "{notes}");
    }
    loader.abort();
    assert_eq!(have(), before);
    let (loaded, findings) = load(&item("widen"), &[wide()], &context(folder, "2")).unwrap();
    assert_eq!((loaded.inserted, rejects(&findings)), (1, vec![]));
    assert_eq!(have(), types);
    // All else that was said of a column still holds.
    warehouse.run("INSERT INTO t (id) VALUES (2)");
    assert_eq!(
        warehouse.lines("SELECT id, name, fee, rate FROM t ORDER BY id"),
        [
            "1 one 1234567.2500 0.5",
            "2 x - -",
            "5000000000 a name of more than ten letters 123456.7891 0.1"
        ]
    );
    let mut loader = open(&item("widen"), &wide().schema(), &context(folder, "3")).unwrap();
    append(loader.as_mut(), &[wide()], &mut Findings::default()).unwrap();
    loader.prepare(&mut Findings::default()).unwrap();
    assert!(loader.notes().is_empty(), "nothing is wider than the table any more");
}

#[test]
fn narrow_columns_become_as_wide_as_the_records_in_postgres() {
    let Some(warehouse) = Warehouse::postgres() else { return };
    let types = ["bigint", "text", "numeric(12,4)", "double precision"];
    narrow_columns_become_as_wide_as_the_records(&warehouse, types);
}

#[test]
fn narrow_columns_become_as_wide_as_the_records_in_mysql() {
    let Some(warehouse) = Warehouse::mysql() else { return };
    let types = ["bigint(20)", "longtext", "decimal(12,4)", "double"];
    narrow_columns_become_as_wide_as_the_records(&warehouse, types);
}

#[test]
fn a_strict_table_of_sqlite_gets_columns_of_its_types() {
    let Some(warehouse) = Warehouse::sqlite() else { return };
    warehouse.run("CREATE TABLE t (id INTEGER, name TEXT) STRICT");
    let item = &items(&warehouse, "add_columns")[0];
    let (loaded, _) = load(item, &[new()], &context(warehouse.folder(), "1")).unwrap();
    assert_eq!(loaded.inserted, 3);
    assert_eq!(
        warehouse.lines("SELECT name, type FROM pragma_table_info('t')"),
        ["id INTEGER", "name TEXT", "note TEXT", "Day TEXT"]
    );
}

on!(sqlite, postgres, mysql: [
    new_columns_end_the_load_with_the_statement_that_adds_them,
    records_with_values_in_new_columns_are_quarantined,
    new_columns_are_added_with_the_records,
]);
