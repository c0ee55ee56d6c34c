//! Tables of MariaDB and MySQL: what is special about them. What all databases share is tested with
//! each.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use arrow_array::{
    ArrayRef, BinaryViewArray, Decimal128Array, Float64Array, TimestampMicrosecondArray,
};
use gristmill_core::{Batch, Findings};
use gristmill_database::mysql;
use gristmill_scratch::server::{MARIADB, Server, Setup};
use serde_json::json;
use tempfile::tempdir;

use crate::support::{append, batch, context, ints, load, open, rejects, texts};
use crate::warehouse::Warehouse;

fn people(ids: &[i64], names: &[&str]) -> Batch {
    batch(1, vec![("id", ints(ids.iter().copied())), ("name", texts(names.iter().copied()))])
}

#[test]
fn an_existing_table_gets_values_of_its_own_types() {
    let Some(warehouse) = Warehouse::mysql() else { return };
    warehouse.run(
        "CREATE TABLE \"T x\" (
            id int AUTO_INCREMENT PRIMARY KEY, u tinyint unsigned, m enum('sad', 'glad'),
            flags set('a', 'b'), c varchar(3) CHARACTER SET latin1 CHECK (c <> 'bad'),
            n decimal(6, 1), i int, r float, j json, y year, bits bit(3), d date, at datetime,
            stamp timestamp(3) NULL, \"select\" text, note varchar(9) DEFAULT 'kept', ch char(4),
            twice int AS (i * 2))",
    );
    let doubles: ArrayRef = Arc::new(Float64Array::from(vec![0.5, 1e4]));
    let decimals = Decimal128Array::from(vec![3, 4]).with_precision_and_scale(3, 1).unwrap();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("u", ints([200, 256])),
        ("m", texts(["glad", "glad"])),
        ("flags", texts(["b,a", ""])),
        ("c", texts(["ß€", "b"])),
        ("n", Arc::new(decimals)),
        ("i", texts(["7", "1.5"])),
        ("r", doubles),
        ("j", texts(["{\"a\": 1}", "1"])),
        ("y", ints([1999, 2000])),
        ("bits", ints([5, 1])),
        ("d", texts(["2025-01-31", "2025-01-31"])),
        ("at", texts(["2025-01-31T01:02:03", "2025-01-31T01:02:03.5"])),
        ("stamp", texts(["2025-01-31T01:02:03.25+01:00", "2025-01-31T01:02:03Z"])),
        ("select", texts(["x", "x"])),
        ("CH", texts(["a", "b"])),
    ];
    let input = [batch(1, columns)];
    for (run, mode) in [("1", "append"), ("2", "replace")] {
        let mut item = warehouse.append_to("T x");
        item["mode"] = mode.into();
        let (loaded, findings) = load(&item, &input, &context(warehouse.folder(), run)).unwrap();
        assert_eq!(loaded.inserted, 1);
        let reasons: Vec<&str> =
            findings.rejects()[0].errors.iter().map(|reason| reason.message.as_str()).collect();
        assert_eq!(
            reasons,
            [
                "the number is too large for the column",
                "it is not an integer",
                "the column keeps fewer digits of a second"
            ]
        );
        let rows = warehouse.lines(
            "SELECT u, m, flags, c, n, i, r, j, y, bits + 0, d, at, stamp, \"select\", note, ch, twice
             FROM \"T x\"",
        );
        let line = "200 glad a,b ß€ 0.3 7 0.5 {\"a\": 1} 1999 5 2025-01-31 2025-01-31 01:02:03 \
                    2025-01-31 00:02:03.250 x kept a 14";
        assert_eq!(rows, [line]);
    }
}

#[test]
fn refused_records_are_rejected_with_the_databases_words() {
    let Some(warehouse) = Warehouse::mysql() else { return };
    warehouse.run(
        "CREATE TABLE parent (id int PRIMARY KEY); INSERT INTO parent VALUES (1);
         CREATE TABLE t (
            id int PRIMARY KEY CHECK (id < 100), name varchar(5) NOT NULL, parent int,
            mood enum('sad', 'glad'), doc json, plain varchar(9) CHARACTER SET ascii,
            FOREIGN KEY (parent) REFERENCES parent (id));
         INSERT INTO t VALUES (5, 'there', 1, NULL, NULL, NULL)",
    );
    warehouse.run(
        "CREATE TRIGGER shy BEFORE INSERT ON t FOR EACH ROW
         IF NEW.name = 'shy' THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no shy people'; END IF",
    );
    let ids = [1, 100, 2, 5, 3, 4, 6, 7, 8, 9, 10, 11];
    let mut names = ids.map(|_| Some("a"));
    (names[2], names[4], names[6]) = (None, Some("shy"), Some("too long"));
    let one = |at: usize, odd: i64| ints((0..12).map(move |i| if i == at { odd } else { 1 }));
    let word = |at: usize, odd: &'static str, even: &'static str| {
        texts((0..12).map(move |i| if i == at { odd } else { even }))
    };
    let input = batch(
        1,
        vec![
            ("id", ints(ids)),
            ("name", texts(names)),
            ("parent", one(5, 2)),
            ("mood", word(7, "angry", "glad")),
            ("doc", word(8, "{", "{}")),
            ("plain", word(9, "ü", "u")),
        ],
    );
    let said = [
        (2, "CONSTRAINT"),
        (3, "Column 'name' cannot be null"),
        (4, "Duplicate entry '5' for key 'PRIMARY'"),
        (5, "no shy people"),
        (6, "a foreign key constraint fails"),
        (7, "Data too long for column 'name'"),
        (8, "Data truncated for column 'mood'"),
        (9, "CONSTRAINT"),
        (10, "Incorrect string value"),
    ];
    let item = warehouse.append_to("t");
    let (loaded, findings) = load(&item, &[input], &context(warehouse.folder(), "1")).unwrap();
    let mut found = rejects(&findings);
    found.sort();
    for ((record, raw, _, message), (number, words)) in found.iter().zip(said) {
        assert_eq!((*record, raw.as_str()), (number, format!("record {number}").as_str()));
        assert!(message.contains(words), "{message}, not {words}");
    }
    assert_eq!((found.len(), loaded.inserted), (9, 3));
    assert_eq!(warehouse.lines("SELECT id FROM t ORDER BY id"), ["1", "5", "10", "11"]);
}

#[test]
fn keys_are_compared_as_their_index_compares_them() {
    let Some(warehouse) = Warehouse::mysql() else { return };
    let names = ["a", "A", "a ", "ä", "a"];
    let input = || people(&[1, 2, 3, 4, 5], &names);
    let folder = warehouse.folder();
    let item = warehouse.upsert_to("exact", &["name"]);
    for run in ["1", "2"] {
        let (loaded, findings) = load(&item, &[input()], &context(folder, run)).unwrap();
        let unchanged = if run == "1" { 0 } else { 4 };
        assert_eq!((loaded.inserted, loaded.unchanged), (4 - unchanged, unchanged));
        assert_eq!(rejects(&findings)[0].0, 1);
    }
    // A table of somebody who sees no difference.
    warehouse.run(
        "CREATE TABLE loose (id int, name varchar(9) COLLATE utf8mb4_general_ci PRIMARY KEY);
         CREATE TABLE old (id int, name varchar(9) CHARACTER SET latin1 PRIMARY KEY);
         INSERT INTO loose VALUES (0, 'Á'); INSERT INTO old VALUES (0, 'Ä');",
    );
    for (table, count) in [("loose", 1), ("old", 1)] {
        let item = warehouse.upsert_to(table, &["name"]);
        let (loaded, findings) = load(&item, &[input()], &context(folder, table)).unwrap();
        let rows = warehouse.lines(&format!("SELECT count(*), max(id) FROM {table}"));
        assert_eq!(loaded.updated, 1, "{table}: {rows:?}");
        assert_eq!(loaded.inserted + loaded.updated + findings.rejects().len() as u64, 5);
        assert!(findings.rejects().len() > count, "{table}");
    }
    let longer = people(&[1, 2], &["0123456789", "ok"]);
    let item = warehouse.upsert_to("loose", &["name"]);
    let (loaded, findings) = load(&item, &[longer], &context(folder, "9")).unwrap();
    assert_eq!(loaded.inserted, 1);
    assert_eq!(rejects(&findings)[0].3, "the text is longer than the column takes");
}

#[test]
fn a_change_of_case_or_of_spaces_is_a_change() {
    let Some(warehouse) = Warehouse::mysql() else { return };
    warehouse.run(
        "CREATE TABLE t (id int PRIMARY KEY, name varchar(9) COLLATE utf8mb4_general_ci);
         INSERT INTO t VALUES (1, 'a'), (2, 'a'), (3, 'a'), (4, NULL)",
    );
    let input = people(&[1, 2, 3, 4], &["A", "a ", "a", "a"]);
    let item = warehouse.upsert_to("t", &["id"]);
    let (loaded, _) = load(&item, &[input], &context(warehouse.folder(), "1")).unwrap();
    assert_eq!((loaded.updated, loaded.unchanged), (3, 1));
}

#[test]
fn tables_without_transactions_are_refused() {
    let Some(warehouse) = Warehouse::mysql() else { return };
    warehouse.run("CREATE TABLE t (id int, name text) ENGINE = MyISAM");
    let input = people(&[1], &["a"]);
    let context = context(warehouse.folder(), "1");
    let error = open(&warehouse.append_to("t"), &input.schema(), &context).err().unwrap();
    assert!(error.to_string().contains("no transactions"), "{error}");
    let (_, statement) = error.hint_text().unwrap().split_once("run: ").unwrap();
    warehouse.run(statement);
    let (loaded, _) = load(&warehouse.append_to("t"), &[input], &context).unwrap();
    assert_eq!(loaded.inserted, 1);
}

/// Tables of the database, hidden ones too.
fn tables(warehouse: &Warehouse) -> Vec<String> {
    warehouse.lines(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = database() ORDER BY 1",
    )
}

#[test]
fn a_new_table_is_there_with_all_its_rows_or_not_at_all() {
    let Some(warehouse) = Warehouse::mysql() else { return };
    let input = people(&[1, 2], &["a", "b"]);
    let item = warehouse.append_to("t");
    let mut findings = Findings::default();
    let prepare = |run: &str, findings: &mut Findings| {
        let context = context(warehouse.folder(), run);
        let mut loader = open(&item, &input.schema(), &context).unwrap();
        append(loader.as_mut(), std::slice::from_ref(&input), findings).unwrap();
        loader.prepare(findings).unwrap();
        loader
    };
    let loader = prepare("1", &mut findings);
    assert!(!tables(&warehouse).contains(&"t".to_owned()));
    drop(loader);
    assert_eq!(tables(&warehouse), ["gristmill_loads"]);
    // A run that dies leaves a hidden table, and the next one takes it out.
    let loader = prepare("2", &mut findings);
    warehouse.disconnect();
    assert_eq!(tables(&warehouse).len(), 2);
    drop(loader);
    // One that dies between its commit and the name of the table leaves all rows.
    let mut loader = prepare("3", &mut findings);
    assert_eq!(tables(&warehouse).len(), 2);
    loader.publish().unwrap();
    drop(loader);
    assert_eq!(tables(&warehouse), ["gristmill_loads", "t"]);
    warehouse.run(
        "RENAME TABLE t TO gristmill_new_1; \
         ALTER TABLE gristmill_new_1 COMMENT = '{\"run\": \"3\", \"table\": \"t\"}'",
    );
    drop(open(&item, &input.schema(), &context(warehouse.folder(), "4")).unwrap());
    assert_eq!(tables(&warehouse), ["gristmill_loads", "t"]);
    assert_eq!(warehouse.lines("SELECT count(*) FROM t"), ["2"]);
}

#[test]
fn a_transaction_that_something_committed_is_noticed() {
    let Some(warehouse) = Warehouse::mysql() else { return };
    warehouse.run("CREATE TABLE t (id int, name text)");
    let input = people(&[1], &["a"]);
    let item = warehouse.append_to("t");
    let mut findings = Findings::default();
    let context = context(warehouse.folder(), "1");
    let mut loader = open(&item, &input.schema(), &context).unwrap();
    append(loader.as_mut(), &[input], &mut findings).unwrap();
    loader.prepare(&mut findings).unwrap();
    // As a deadlock does: the server ends the transaction, and the connection stays.
    let id = "SELECT id FROM information_schema.processlist WHERE db = database() \
              AND id <> connection_id()";
    let id = &warehouse.lines(id)[0];
    warehouse.run(&format!("KILL {id}"));
    let error = loader.publish().unwrap_err();
    assert!(error.to_string().contains("lost while the load was committed"), "{error}");
    assert_eq!(warehouse.lines("SELECT count(*) FROM t"), ["0"]);
}

#[test]
fn rows_get_in_without_files_too() {
    // A server of its own: all others would lose them, too.
    let setup = Setup { before: "", options: "--local-infile=0" };
    let Some(server) = Server::own(&MARIADB, setup) else { return };
    let folder = tempdir().unwrap();
    let one = "x".repeat(300_000);
    let long = [one.as_str(), "it's\\", "a\tb\nc\\N", "", &one, &one];
    let bytes: ArrayRef =
        Arc::new(BinaryViewArray::from(vec![Some(&b"\x00'"[..]), None, None, None, None, None]));
    let input = batch(1, vec![("id", ints(1..7)), ("text", texts(long)), ("bytes", bytes)]);
    let item = json!({"table": "t", "database": server.url});
    let (loaded, _) = load(&item, &[input], &context(folder.path(), "1")).unwrap();
    assert_eq!(loaded.inserted, 6);
    let rows = gristmill_scratch::texts(&server.url, "SELECT text, hex(bytes) FROM t ORDER BY id");
    let texts: Vec<&str> = rows.iter().map(|row| row[0].as_deref().unwrap()).collect();
    assert_eq!(texts, long);
    assert_eq!(rows[0][1].as_deref(), Some("0027"));
    assert_eq!(rows[1][1], None);
}

/// What a table takes straight away, and what it refuses of which chunk, is the same as where each
/// record is staged: a trigger that does nothing makes the difference.
#[test]
fn rows_that_go_straight_in_are_those_that_statements_would_add() {
    let Some(warehouse) = Warehouse::mysql() else { return };
    warehouse.run(
        "CREATE TABLE parent (id int PRIMARY KEY); INSERT INTO parent VALUES (0), (1);
         CREATE TABLE straight (id int PRIMARY KEY, name varchar(5) NOT NULL, parent int,
            bytes varbinary(3), n decimal(6, 1) CHECK (n < 10), at datetime, doc json,
            FOREIGN KEY (parent) REFERENCES parent (id));
         CREATE TABLE staged (id int PRIMARY KEY, name varchar(5) NOT NULL, parent int,
            bytes varbinary(3), n decimal(6, 1) CHECK (n < 10), at datetime, doc json,
            FOREIGN KEY (parent) REFERENCES parent (id));
         CREATE TRIGGER nothing BEFORE INSERT ON staged FOR EACH ROW SET @nothing = 1",
    );
    let chunk = |n: i64| {
        let ids = (0..40).map(|i| n * 40 + i);
        // A few of some chunks are refused, each for its reason, and all of one chunk.
        let odd = move |every: i64, of: i64| move |i: i64| n % every == of && i % 13 == of;
        let (long, none, lost, high, bad) = (odd(5, 1), odd(5, 2), odd(7, 3), odd(6, 4), odd(9, 5));
        let name = |i| match (long(i), none(i) || n == 6) {
            (true, _) => Some("too long"),
            (_, true) => None,
            _ => Some("\\\t\n"),
        };
        let bytes = BinaryViewArray::from_iter((0..40).map(|i| (i % 3 > 0).then_some(b"\x00\xff")));
        let decimals = (0..40).map(|i| Some(if high(i) { 100 } else { i128::from(i) }));
        let decimals = Decimal128Array::from_iter(decimals).with_precision_and_scale(3, 1).unwrap();
        let at = TimestampMicrosecondArray::from_iter((0..40).map(|i| Some(i * 1_000_000)));
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("id", ints(ids)),
            ("name", texts((0..40).map(name))),
            ("parent", ints((0..40).map(|i| if lost(i) { 9 } else { i % 2 }))),
            ("bytes", Arc::new(bytes)),
            ("n", Arc::new(decimals)),
            ("at", Arc::new(at)),
            ("doc", texts((0..40).map(|i| if bad(i) { "{" } else { "{}" }))),
        ];
        batch(1 + n as u64 * 40, columns)
    };
    let chunks: Vec<Batch> = (0..12).map(chunk).collect();
    let found = ["straight", "staged"].map(|table| {
        let item = warehouse.append_to(table);
        let (loaded, findings) = load(&item, &chunks, &context(warehouse.folder(), table)).unwrap();
        let rows = warehouse.rows(&format!(
            "SELECT id, name, parent, hex(bytes), n, at, doc FROM {table} ORDER BY id"
        ));
        let mut rejects = rejects(&findings);
        rejects.iter_mut().for_each(|reject| reject.3 = reject.3.replace("staged", "straight"));
        (loaded.inserted, rows, rejects)
    });
    assert_eq!(found[0], found[1]);
    assert!(found[0].0 > 400 && found[0].2.len() > 50, "{} {}", found[0].0, found[0].2.len());
}

/// A table that is to change is waited for while somebody uses it.
#[test]
fn a_change_waits_for_whoever_uses_the_table() {
    let Some(warehouse) = Warehouse::mysql() else { return };
    warehouse.run("CREATE TABLE t (id int); INSERT INTO t VALUES (1)");
    let address = mysql::Address::parse(warehouse.url()).unwrap();
    let reader = mysql::Client::connect(&address).unwrap();
    reader.batch("START TRANSACTION").unwrap();
    reader.texts("SELECT * FROM t").unwrap();
    let mut item = warehouse.append_to("t");
    item["schema_changes"] = "widen".into();
    let input = batch(1, vec![("id", ints([5_000_000_000])), ("new", texts(["a"]))]);
    thread::scope(|scope| {
        let load =
            scope.spawn(|| load(&item, &[input], &context(warehouse.folder(), "1")).unwrap());
        let waiting = "SELECT count(*) FROM information_schema.processlist \
                       WHERE db = database() AND state = 'Waiting for table metadata lock'";
        while warehouse.lines(waiting) == ["0"] {
            assert!(!load.is_finished(), "the table was changed while it was read");
            thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(warehouse.lines("SHOW COLUMNS FROM t").len(), 1);
        reader.batch("COMMIT").unwrap();
        assert_eq!(load.join().unwrap().0.inserted, 1);
    });
    assert_eq!(warehouse.lines("SELECT id, new FROM t ORDER BY id"), ["1 -", "5000000000 a"]);
}
