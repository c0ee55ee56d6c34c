//! Tables of MariaDB and MySQL that several connections read, by ranges of the key.

use std::sync::atomic::{AtomicBool, Ordering};

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use gristmill_core::text::value_text;
use gristmill_core::{ErrorKind, Extractor, Findings};
use gristmill_scratch::{MySql, mysql};
use serde_json::{Value, json};

use crate::support::{Folder, Read};

/// A text that makes rows so large that some thousands are several chunks.
const PAD: &str = "repeat('x', 900)";
/// Numbers from 1 to 12,000.
const NUMBERS: &str =
    "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 1000),
                       m(m) AS (SELECT 1 UNION ALL SELECT m + 1 FROM m WHERE m < 12)
                       SELECT";
const ALL: &str = "FROM n JOIN m";
/// One of them, in an order that is not theirs.
const N: &str = "((m - 1) * 1000 + n) * 7919 % 12007";

fn item(server: &MySql, table: &str, connections: usize) -> Value {
    json!({"table": table, "database": server.url(), "connections": connections})
}

fn read(server: &MySql, table: &str, connections: usize) -> Read {
    Folder::new(&[]).read(item(server, table, connections)).unwrap()
}

/// The first column as it is read, and how many records are in each chunk.
fn keys(extractor: &mut dyn Extractor) -> (Vec<String>, Vec<usize>) {
    extractor.begin(None).unwrap();
    let (mut keys, mut chunks) = (Vec::new(), Vec::new());
    while let Some(mut chunk) = extractor.next_chunk().unwrap() {
        let before = keys.len();
        while let Some(batch) = chunk.next_batch(&mut Findings::default()).unwrap() {
            let column = batch.columns().column(0);
            keys.extend((0..column.len()).map(|row| value_text(column, row).unwrap()));
        }
        chunks.push(keys.len() - before);
    }
    (keys, chunks)
}

/// Chunks make row groups, so that their ends are to be seen in a file.
#[test]
fn any_number_of_connections_read_the_same() {
    let Some(server) = mysql() else { return };
    for (table, columns, rows) in [
        // Close together at first, and then hardly any up to the last number that there is.
        (
            "holes",
            "id bigint PRIMARY KEY, pad text",
            format!(
                "IF({N} < 10000, {N} - 8000, IF({N} = 12006, 9223372036854775807, {N} * 100000000000)), {PAD}"
            ),
        ),
        (
            "unsigned_ones",
            "id bigint unsigned PRIMARY KEY, pad text",
            format!("18446744073709551615 - {N} * 300000000000000, {PAD}"),
        ),
        ("small", "id smallint PRIMARY KEY, pad text, KEY (pad(1))", format!("{N} - 6000, ''")),
        // One value has half of the records.
        (
            "composite",
            "a int, b varchar(20), pad text, PRIMARY KEY (a, b)",
            format!("IF({N} < 6000, 500, {N} % 1000), concat('k', {N}), {PAD}"),
        ),
        (
            "days",
            "day date, id int, pad text, UNIQUE (pad(9)), UNIQUE (day, id)",
            format!("date '2020-01-01' + INTERVAL {N} % 90 DAY, {N}, concat({N}, {PAD})"),
        ),
        (
            "moments",
            "at datetime(6) PRIMARY KEY, pad text",
            format!("timestamp '2020-01-01 00:00:00' + INTERVAL {N} * 1234567 MICROSECOND, {PAD}"),
        ),
        // An index on other columns has them all, so that it might be read in place of the table.
        ("covered", "id int PRIMARY KEY, v int, KEY (v)", format!("{N}, -{N}")),
        ("exact", "id decimal(20, 2) PRIMARY KEY, pad text", format!("{N} / 4, {PAD}")),
    ] {
        let columns =
            columns.replace("date,", "date NOT NULL,").replace("id int,", "id int NOT NULL,");
        let columns = columns.replace("pad text, UNIQUE", "pad varchar(1000) NULL, UNIQUE");
        server.run(&format!("CREATE TABLE {table} ({columns}) ENGINE = InnoDB"));
        server.run(&format!("INSERT INTO {table} {NUMBERS} {rows} {ALL}"));
        let order = if columns.contains("(a, b)") { "1, 2" } else { "1" };
        let order = if columns.contains("(day, id)") { "1, 2" } else { order };
        let whole = json!({"query": format!("SELECT * FROM {table} ORDER BY {order}"), "database": server.url()});
        let folder = Folder::new(&[]);
        let whole = keys(&mut *folder.open(whole).unwrap());
        assert_eq!(whole.0.len(), 12_000, "{table}");
        assert!(whole.1.len() > 2 || columns.contains("int PRIMARY"), "{table}: {:?}", whole.1);
        for connections in [1, 4] {
            let mut extractor = folder.open(item(&server, table, connections)).unwrap();
            let read = keys(&mut *extractor);
            assert_eq!(extractor.notes(), [""; 0], "{table}");
            assert_eq!(read.1, whole.1, "{table} by {connections}");
            assert!(read.0 == whole.0, "{table} by {connections}");
        }
    }
    server.run("DELETE FROM small WHERE id <> 7; CREATE TABLE none LIKE small");
    for (table, rows) in [("small", vec!["7".to_owned()]), ("none", vec![])] {
        let read = read(&server, table, 4);
        assert_eq!((read.column("id"), read.notes.len()), (rows, 0));
    }
}

/// A program moves amounts from one end of the table to the other, and records to other keys.
#[test]
fn all_connections_read_one_moment() {
    let Some(server) = mysql() else { return };
    server.run("CREATE TABLE t (id int PRIMARY KEY, v bigint NOT NULL) ENGINE = InnoDB");
    server.run(&format!("INSERT INTO t {NUMBERS} {N} * 2, 100 {ALL}"));
    let is_over = AtomicBool::new(false);
    let (mut split, mut seen) = (0, Vec::new());
    let writer = mysql_client(&server);
    std::thread::scope(|scope| {
        let is_over = &is_over;
        scope.spawn(move || {
            for turn in 1.. {
                let (key, other) = (turn * 7919 % 24_000, turn * 8009 % 24_000 + 20_000);
                let sql = format!(
                    "BEGIN; UPDATE t SET v = v - {turn} ORDER BY id LIMIT 1;
                     UPDATE t SET v = v + {turn} ORDER BY id DESC LIMIT 1;
                     UPDATE IGNORE t SET id = {other} WHERE id = {key}; COMMIT"
                );
                writer.batch(&sql).unwrap();
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        for _ in 0..30 {
            let read = read(&server, "t", 7);
            let values = read.columns.column(1).as_primitive::<Int64Type>();
            seen.push((values.len(), values.values().iter().sum::<i64>()));
            split += usize::from(read.notes.is_empty());
        }
        is_over.store(true, Ordering::Relaxed);
    });
    assert_eq!(seen, [(12_000, 1_200_000); 30]);
    assert!(split > 0, "the lock was never had");
}

#[test]
fn a_connection_that_breaks_ends_the_run() {
    let Some(server) = mysql() else { return };
    server.run("CREATE TABLE t (id int PRIMARY KEY, pad longtext) ENGINE = InnoDB");
    server.run(&format!("INSERT INTO t {NUMBERS} {N}, repeat('x', 3000) {ALL}"));
    let mut extractor = Folder::new(&[]).open(item(&server, "t", 3)).unwrap();
    extractor.begin(None).unwrap();
    assert!(extractor.next_chunk().unwrap().is_some());
    server.disconnect();
    let error = loop {
        match extractor.next_chunk() {
            Ok(chunk) => assert!(chunk.is_some(), "it ended as if all were well"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Transient);
    assert!(error.to_string().starts_with("cannot read `t`"), "{error}");
    assert!(error.hint_text().unwrap().contains("run again"), "{error:?}");
    assert!(extractor.next_chunk().unwrap().is_none(), "the end stays the end");
}

/// Who wants to change what the table is waits for all that read it, and they do not wait behind him.
#[test]
fn nobody_waits_for_one_that_waits() {
    let Some(server) = mysql() else { return };
    server.run("CREATE TABLE t (id int PRIMARY KEY, pad longtext) ENGINE = InnoDB");
    server.run(&format!("INSERT INTO t {NUMBERS} {N}, repeat('x', 3000) {ALL}"));
    let mut extractor = Folder::new(&[]).open(item(&server, "t", 3)).unwrap();
    extractor.begin(None).unwrap();
    assert!(extractor.next_chunk().unwrap().is_some());
    let (changing, watch) = (mysql_client(&server), mysql_client(&server));
    std::thread::scope(|scope| {
        let changed = scope.spawn(move || {
            changing.batch("SET lock_wait_timeout = 30; ALTER TABLE t ADD COLUMN more int")
        });
        let waiting = format!(
            "SELECT count(*) FROM information_schema.processlist
             WHERE db = '{}' AND state LIKE 'Waiting for table metadata lock%'",
            server.name()
        );
        while watch.numbers(&waiting, &[]).unwrap()[0][0] == 0 {
            assert!(!changed.is_finished(), "it did not wait");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        while extractor.next_chunk().unwrap().is_some() {}
        drop(extractor);
        changed.join().unwrap().unwrap();
    });
}

/// What one connection reads, because others may not or cannot begin at the same moment.
#[test]
fn one_connection_is_enough() {
    let Some(server) = mysql() else { return };
    let inner = "ENGINE = InnoDB";
    server.run(&format!(
        "CREATE TABLE t (id int PRIMARY KEY, at datetime) {inner}; CREATE TABLE old (id int PRIMARY KEY) ENGINE = MyISAM;
         CREATE TABLE nokey (id int, UNIQUE (id)) {inner}; CREATE TABLE texts (id varchar(9) PRIMARY KEY) {inner};
         CREATE TABLE beginnings (id varchar(99), PRIMARY KEY (id(3))) {inner};
         CREATE TABLE parts (id int PRIMARY KEY) {inner} PARTITION BY HASH (id) PARTITIONS 3;
         CREATE VIEW v AS SELECT * FROM t"
    ));
    for (table, values) in [
        ("t", "(1, '2024-01-01'), (2, NULL)"),
        ("old", "(1), (2)"),
        ("nokey", "(1), (2)"),
        ("texts", "(1), (2)"),
        ("beginnings", "(1), (2)"),
        ("parts", "(1), (2)"),
    ] {
        server.run(&format!("INSERT INTO {table} VALUES {values}"));
    }
    let why = |item: Value| {
        let read = Folder::new(&[]).read(item).unwrap();
        let mut ids = read.column("id");
        ids.sort();
        assert_eq!(ids, ["1", "2"]);
        assert_eq!(read.notes.len(), 1, "{:?}", read.notes);
        read.notes[0].clone()
    };
    for (table, reason) in [
        ("old", "InnoDB"),
        ("nokey", "unique one"),
        ("parts", "in one part"),
        ("v", "InnoDB"),
        ("beginnings", "key"),
        ("texts", "whole number"),
    ] {
        let note = why(item(&server, table, 4));
        assert!(note.starts_with(&format!("`{table}` is read by one connection: ")), "{note}");
        assert!(note.contains(reason), "{note}");
        assert_eq!(read(&server, table, 1).notes, [""; 0]);
    }
    let mut cursor = item(&server, "t", 4);
    cursor["cursor"] = json!({"column": "id"});
    assert!(why(cursor).contains("cursor"));

    // A transaction that changed the table, and is not over.
    let writer = mysql_client(&server);
    writer.batch("BEGIN; INSERT INTO t VALUES (3, NULL)").unwrap();
    let note = why(item(&server, "t", 4));
    assert!(note.contains("LOCK TABLES: ") && note.contains("timeout"), "{note}");
    writer.batch("ROLLBACK").unwrap();
    assert_eq!(read(&server, "t", 4).notes, [""; 0]);

    // A user who may read, and no more.
    let user = server.name();
    server.run(&format!("CREATE USER {user}@'%'; GRANT SELECT ON {user}.* TO {user}@'%'"));
    let mut reader = item(&server, "t", 4);
    reader["database"] = server.url().replace("gristmill@", &format!("{user}@")).into();
    let note = why(reader);
    server.run(&format!("DROP USER {user}@'%'"));
    assert!(note.contains("LOCK TABLES: Access denied"), "{note}");
}

/// The moment is taken when records are asked for, and the columns are those of before.
#[test]
fn a_table_that_changes_after_it_was_opened_is_not_read() {
    let Some(server) = mysql() else { return };
    server.run(
        "CREATE TABLE t (id int PRIMARY KEY, v int) ENGINE = InnoDB; INSERT INTO t VALUES (1, 1)",
    );
    let mut extractor = Folder::new(&[]).open(item(&server, "t", 2)).unwrap();
    server.run("SET lock_wait_timeout = 5; ALTER TABLE t MODIFY v text");
    extractor.begin(None).unwrap();
    let error = extractor.next_chunk().err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Transient);
    assert!(error.causes().concat().contains("columns changed"), "{error:?}");
}

fn mysql_client(server: &MySql) -> gristmill_database::mysql::Client {
    let address = gristmill_database::mysql::Address::parse(server.url()).unwrap();
    gristmill_database::mysql::Client::connect(&address).unwrap()
}
