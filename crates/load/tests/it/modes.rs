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

/// A trigger that drops what is done to row 2, `when` it is done.
fn drops(warehouse: &Warehouse, when: &str) {
    let row = if when == "DELETE" { "OLD" } else { "NEW" };
    let raise = format!(
        "CREATE TRIGGER drops BEFORE {when} ON t WHEN {row}.id = 2 BEGIN SELECT RAISE(IGNORE); END"
    );
    let returns = format!(
        "CREATE OR REPLACE FUNCTION drops() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
         CREATE TRIGGER drops BEFORE {when} ON t FOR EACH ROW WHEN ({row}.id = 2) EXECUTE FUNCTION drops()",
    );
    warehouse.run(warehouse.either([&raise, &returns, ""])); // MariaDB's cannot
}

fn what_a_trigger_drops_in_silence_is_no_load(warehouse: &Warehouse) {
    let folder = warehouse.folder();
    let keyed = |mode: &str| json!({"table": "t", "mode": mode, "keys": ["id"]});
    let parts = json!({"table": "t", "mode": "delete_insert", "partition_by": ["day"]});
    let replace = json!({"table": "t", "mode": "replace"});
    let mut gone = keyed("scd2");
    gone["missing"] = "close".into();
    let old = [(None, 1, "old")];
    let new = [(Some("a"), 2, "new"), (Some("a"), 3, "new")];
    let known = [(Some("a"), 2, "old"), (Some("a"), 3, "old")];
    let records = "no notice of 1 records";
    for (mut item, before, when, what) in [
        (json!({"table": "t", "mode": "append"}), &old[..], "INSERT", records),
        (replace.clone(), &old, "INSERT", records),
        (replace, &known, "DELETE", "keeps 1 rows that were to go"),
        (parts.clone(), &old, "INSERT", records),
        (parts, &known, "DELETE", "keeps 1 rows that were to go"),
        (keyed("upsert"), &old, "INSERT", records),
        (keyed("upsert"), &known, "UPDATE", records),
        (keyed("insert_only"), &old, "INSERT", records),
        (keyed("scd2"), &old, "INSERT", records),
        (keyed("scd2"), &known, "UPDATE", records),
        (gone, &known, "UPDATE", "no notice of the end of 1 versions"),
    ] {
        warehouse.run("DROP TABLE IF EXISTS t; DROP TABLE IF EXISTS gristmill_loads");
        item["database"] = warehouse.url().into();
        load(&item, &[input(before)], &context(folder, "1")).unwrap();
        drops(warehouse, when);
        let state = || warehouse.lines("SELECT id, note FROM t ORDER BY id, note");
        let seen = state();
        let rows = if item.get("missing").is_some() { &new[1..] } else { &new };
        let mut later = context(folder, "2");
        later.started += chrono::Duration::days(1);
        let error = load(&item, &[input(rows)], &later).err();
        let error = error.unwrap_or_else(|| panic!("{item}, {when}: it is loaded"));
        assert!(error.to_string().contains(what), "{item}, {when}: {error}");
        assert_eq!(state(), seen, "{item}");
    }
}

fn a_trigger_may_change_values_and_let_known_rows_pass(warehouse: &Warehouse) {
    let loud = "CREATE TRIGGER loud BEFORE INSERT ON t FOR EACH ROW SET NEW.note = upper(NEW.note)";
    let louder = loud.replace("INSERT", "UPDATE").replace("loud", "louder");
    let [after, again] = ["INSERT", "UPDATE OF note"].map(|when| {
        format!(
            "CREATE TRIGGER on_{} AFTER {when} ON t BEGIN \
             UPDATE t SET note = upper(note) WHERE id = NEW.id AND note <> upper(note); END;",
            &when[..6]
        )
    });
    let function = "CREATE FUNCTION loud() RETURNS trigger LANGUAGE plpgsql AS \
        $$ BEGIN NEW.note := upper(NEW.note); RETURN NEW; END $$;
        CREATE TRIGGER loud BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION loud();
        CREATE TRIGGER same BEFORE UPDATE ON t FOR EACH ROW \
        EXECUTE FUNCTION suppress_redundant_updates_trigger()";
    warehouse.run("CREATE TABLE t (id int PRIMARY KEY, day varchar(9), note varchar(9))");
    warehouse.run(warehouse.either([&(after + &again), function, &format!("{loud}; {louder}")]));
    let folder = warehouse.folder();
    let item = |mode: &str| json!({"table": "t", "database": warehouse.url(), "mode": mode, "keys": ["id"]});
    let first = [input(&[(None, 1, "a"), (None, 2, "b")])];
    load(&item("upsert"), &first, &context(folder, "1")).unwrap();
    let second = [input(&[(None, 1, "A"), (None, 2, "b"), (None, 3, "c")])];
    let (loaded, _) = load(&item("upsert"), &second, &context(folder, "2")).unwrap();
    assert_eq!((loaded.inserted, loaded.updated + loaded.unchanged), (1, 2));
    let third = [input(&[(None, 1, "x"), (None, 4, "d")])];
    let (loaded, _) = load(&item("insert_only"), &third, &context(folder, "3")).unwrap();
    assert_eq!((loaded.inserted, loaded.unchanged), (1, 1));
    assert_eq!(warehouse.lines("SELECT id, note FROM t ORDER BY id"), ["1 A", "2 B", "3 C", "4 D"]);
}

fn a_partition_keeps_its_rows_unless_a_record_takes_their_place(warehouse: &Warehouse) {
    warehouse.run(
        "CREATE TABLE t (day varchar(9), id int CHECK (id < 100), note varchar(9), UNIQUE (note));
         INSERT INTO t VALUES ('a', 1, 'a'), ('a', 2, 'aa'), ('b', 3, 'b'), ('c', 4, 'c'), (NULL, 5, 'n')",
    );
    let item = json!({
        "table": "t", "database": warehouse.url(), "mode": "delete_insert", "partition_by": ["day"],
    });
    // All of `a` and of the nameless one are refused; then `b` has a note that is in `a`.
    let records = [
        (Some("a"), 101, "x"),
        (Some("b"), 11, "aa"),
        (Some("c"), 12, "y"),
        (Some("c"), 102, "z"),
        (None, 103, "v"),
        (Some("a"), 104, "w"),
    ];
    let input = [input(&records)];
    let (loaded, findings) = load(&item, &input, &context(warehouse.folder(), "1")).unwrap();
    assert_eq!(loaded.inserted, 1);
    let mut refused: Vec<u64> = rejects(&findings).iter().map(|reject| reject.0).collect();
    refused.sort_unstable();
    assert_eq!(refused, [1, 2, 4, 5, 6]);
    let rows = warehouse.lines("SELECT day, id, note FROM t ORDER BY id");
    assert_eq!(rows, ["a 1 a", "a 2 aa", "b 3 b", "- 5 n", "c 12 y"]);
}

/// A table that somebody made: reserved words, names in mixed case, a column that the database
/// numbers, one that it computes, and one that the records do not have. In PostgreSQL it is in a
/// schema.
fn a_hand_made_table_keeps_what_the_database_makes(warehouse: &Warehouse) {
    let table = warehouse.either(["Order", "Sales.Order", "Order"]);
    let name = warehouse.either(["\"Order\"", "\"Sales\".\"Order\"", "\"Order\""]);
    let number = warehouse.either([
        "integer PRIMARY KEY AUTOINCREMENT",
        "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
        "bigint AUTO_INCREMENT PRIMARY KEY",
    ]);
    let schema = warehouse.either(["", "CREATE SCHEMA IF NOT EXISTS \"Sales\";", ""]);
    for (mode, expected) in [
        ("append", ["1 a -2 kept", "2 a -4 kept", "7 b -14 kept", "8 b -16 kept"].as_slice()),
        ("replace", &["7 b -14 kept", "8 b -16 kept"]),
        ("upsert", &["1 a -2 kept", "2 a -4 kept", "7 b -14 kept", "8 b -16 kept"]),
        ("insert_only", &["1 a -2 kept", "2 a -4 kept", "7 b -14 kept", "8 b -16 kept"]),
        ("delete_insert", &["1 a -2 kept", "2 a -4 kept", "7 b -14 kept", "8 b -16 kept"]),
    ] {
        warehouse.run(&format!(
            "{schema} DROP TABLE IF EXISTS {name}; DROP TABLE IF EXISTS gristmill_loads;
             CREATE TABLE {name} (\"Row\" {number}, \"select\" int NOT NULL UNIQUE,
                 \"Group By\" varchar(9), \"a\"\"b\" int GENERATED ALWAYS AS (\"select\" * -2) STORED,
                 note varchar(9) NOT NULL DEFAULT 'kept')"
        ));
        let mut item = json!({"table": table, "database": warehouse.url(), "mode": mode});
        match mode {
            "upsert" | "insert_only" => item["keys"] = ["select"].into(),
            "delete_insert" => item["partition_by"] = ["Group By"].into(),
            _ => {}
        }
        let rows = |group: &'static str, ids: [i64; 2]| {
            let groups = texts([Some(group), Some(group)]);
            batch(1, vec![("Group By", groups), ("select", ints(ids))])
        };
        for (run, input) in [("1", rows("a", [1, 2])), ("2", rows("b", [7, 8]))] {
            let context = context(warehouse.folder(), run);
            let (loaded, _) = load(&item, &[input], &context).unwrap();
            assert_eq!(loaded.inserted, 2, "{mode}");
        }
        let rows = warehouse.lines(&format!(
            "SELECT \"select\", \"Group By\", \"a\"\"b\", note FROM {name} ORDER BY \"Row\""
        ));
        assert_eq!(rows, expected, "{mode}");
    }
}

fn any_name_is_only_a_name(warehouse: &Warehouse) {
    let odd =
        ["select", "Mixed Case", "a\"b", "semi;colon", "x'y", "[z]", "ünïcode", "a`b", "$1", "?"];
    let columns = odd.iter().map(|name| (*name, ints([1, 2]))).collect();
    let item = json!({
        "table": "drop \"table\"; --", "database": warehouse.url(), "mode": "upsert",
        "keys": ["a\"b", "select"],
    });
    let (loaded, _) = load(&item, &[batch(1, columns)], &context(warehouse.folder(), "1")).unwrap();
    assert_eq!(loaded.inserted, 2);
    let names = odd.map(|name| format!("\"{}\"", name.replace('"', "\"\""))).join(", ");
    let rows =
        warehouse.lines(&format!("SELECT {names} FROM \"drop \"\"table\"\"; --\" ORDER BY 1"));
    assert_eq!(rows, [["1"; 10].join(" "), ["2"; 10].join(" ")]);
}

on!(sqlite, postgres: [
    only_new_keys_are_inserted,
    the_partitions_of_the_input_are_replaced,
    what_a_trigger_drops_in_silence_is_no_load,
    a_trigger_may_change_values_and_let_known_rows_pass,
    a_partition_keeps_its_rows_unless_a_record_takes_their_place,
    a_hand_made_table_keeps_what_the_database_makes,
    any_name_is_only_a_name,
]);
on!(mysql: [
    only_new_keys_are_inserted,
    the_partitions_of_the_input_are_replaced,
    a_trigger_may_change_values_and_let_known_rows_pass,
    a_partition_keeps_its_rows_unless_a_record_takes_their_place,
    a_hand_made_table_keeps_what_the_database_makes,
    any_name_is_only_a_name,
]);
