//! Modes that mean the same on every database.

use gristmill_core::Batch;
use serde_json::json;

use crate::support::{batch, context, ints, load, rejects, texts};
use crate::warehouse::Warehouse;

/// Day, id, note.
fn input(rows: &[(Option<&str>, i64, &str)]) -> Batch {
    batch(
        1,
        vec![
            ("day", texts(rows.iter().map(|row| row.0))),
            ("id", ints(rows.iter().map(|row| row.1))),
            ("note", texts(rows.iter().map(|row| row.2))),
        ],
    )
}

fn only_new_keys_are_inserted(warehouse: &Warehouse) {
    let item = json!({
        "table": "t", "database": warehouse.url(), "mode": "insert_only", "keys": ["id"],
    });
    let folder = warehouse.folder();
    let first = input(&[(Some("a"), 1, "old"), (Some("a"), 2, "old")]);
    load(&item, &[first], &context(folder, "1")).unwrap();
    let second = input(&[(None, 2, "new"), (None, 3, "new"), (None, 3, "last")]);
    let (loaded, findings) = load(&item, &[second], &context(folder, "2")).unwrap();
    assert_eq!((loaded.inserted, loaded.updated, loaded.unchanged), (1, 0, 1));
    assert_eq!(rejects(&findings)[0].0, 2);
    let rows = warehouse.lines("SELECT id, note FROM t ORDER BY id");
    assert_eq!(rows, ["1 old", "2 old", "3 last"]);
}

fn the_partitions_of_the_input_are_replaced(warehouse: &Warehouse) {
    let item = json!({
        "table": "t", "database": warehouse.url(), "mode": "delete_insert", "partition_by": ["day"],
    });
    let folder = warehouse.folder();
    let all = [(Some("a"), 1, "x"), (Some("b"), 2, "x"), (None, 3, "x"), (Some("a"), 4, "x")];
    load(&item, &[input(&all)], &context(folder, "1")).unwrap();
    let rows = || warehouse.lines("SELECT day, id, note FROM t ORDER BY id, note");
    let again = [input(&[(Some("a"), 5, "y"), (None, 6, "y")]), input(&[(Some("a"), 7, "y")])];
    let (loaded, _) = load(&item, &again, &context(folder, "2")).unwrap();
    assert_eq!(loaded.inserted, 3);
    assert_eq!(rows(), ["b 2 x", "a 5 y", "- 6 y", "a 7 y"]);
    load(&item, &[input(&[])], &context(folder, "3")).unwrap();
    assert_eq!(rows().len(), 4);
    // Loading the same again changes nothing.
    load(&item, &again, &context(folder, "4")).unwrap();
    assert_eq!(rows(), ["b 2 x", "a 5 y", "- 6 y", "a 7 y"]);
}

fn what_a_trigger_drops_in_silence_is_no_load(warehouse: &Warehouse) {
    let folder = warehouse.folder();
    let mut items = [
        json!({"table": "t", "mode": "append"}),
        json!({"table": "t", "mode": "delete_insert", "partition_by": ["day"]}),
        json!({"table": "t", "mode": "scd2", "keys": ["id"]}),
    ];
    for (i, item) in items.iter_mut().enumerate() {
        warehouse.run("DROP TABLE IF EXISTS t; DROP TABLE IF EXISTS gristmill_loads");
        item["database"] = warehouse.url().into();
        load(item, &[input(&[(None, 1, "old")])], &context(folder, "1")).unwrap();
        warehouse.run(warehouse.either([
            "CREATE TRIGGER no BEFORE INSERT ON t WHEN NEW.id = 2 BEGIN SELECT RAISE(IGNORE); END",
            "CREATE OR REPLACE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
             CREATE TRIGGER no BEFORE INSERT ON t FOR EACH ROW WHEN (NEW.id = 2) EXECUTE FUNCTION no()",
            "", // where triggers cannot drop rows
        ]));
        let rows = [input(&[(Some("a"), 2, "new"), (Some("a"), 3, "new")])];
        let error = load(item, &rows, &context(folder, "2")).err().unwrap();
        assert!(error.to_string().contains("no notice of 1 records"), "{i}: {error}");
        assert_eq!(warehouse.lines("SELECT id FROM t"), ["1"], "{i}");
    }
}

macro_rules! on {
    ($place:ident: $tests:tt) => {
        mod $place {
            use crate::warehouse::Warehouse;

            on!($place $tests);
        }
    };
    ($place:ident [$($test:ident),* $(,)?]) => {
        $(#[test]
        fn $test() {
            if let Some(warehouse) = Warehouse::$place() {
                super::$test(&warehouse);
            }
        })*
    };
}

on!(sqlite: [
    only_new_keys_are_inserted,
    the_partitions_of_the_input_are_replaced,
    what_a_trigger_drops_in_silence_is_no_load,
]);
on!(postgres: [
    only_new_keys_are_inserted,
    the_partitions_of_the_input_are_replaced,
    what_a_trigger_drops_in_silence_is_no_load,
]);
on!(mysql: [only_new_keys_are_inserted, the_partitions_of_the_input_are_replaced]);
