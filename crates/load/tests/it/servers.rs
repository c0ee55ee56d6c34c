//! What loads promise on every server.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use arrow_array::builder::{Int64Builder, ListBuilder};
use arrow_array::{
    ArrayRef, BinaryViewArray, BooleanArray, Date32Array, Decimal128Array, Float32Array,
    Float64Array, Int16Array, Time64MicrosecondArray, TimestampMicrosecondArray,
    TimestampNanosecondArray, UInt64Array,
};
use gristmill_core::{Batch, ErrorKind, Findings, Loaded};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{append, batch, context, ints, load, open, people, rejects, texts};
use crate::warehouse::Warehouse;

/// What is loaded, and what PostgreSQL has then; MariaDB and MySQL too, where it is not said.
fn values_are_stored_exactly(warehouse: &Warehouse) {
    let mut lists = ListBuilder::new(Int64Builder::new());
    lists.append_value([Some(1), None]);
    lists.append_null();
    let decimal = |value: i128, precision, scale| -> ArrayRef {
        let values = Decimal128Array::from(vec![Some(value), None]);
        Arc::new(values.with_precision_and_scale(precision, scale).unwrap())
    };
    let times = TimestampMicrosecondArray::from(vec![Some(1_500_000), None]).with_timezone("UTC");
    let (text, bytes) = ("ü'\"\\\n\t\r🦀 \\N", &b"\x00\xff\\\t\n"[..]);
    let doubles =
        |value: f64| -> ArrayRef { Arc::new(Float64Array::from(vec![Some(value), None])) };
    let reals = |value: f32| -> ArrayRef { Arc::new(Float32Array::from(vec![Some(value), None])) };
    let both = |text| [Some(text), Some(text)];
    let values: Vec<(&str, ArrayRef, [Option<&str>; 2])> = vec![
        ("text", texts([Some(text), None]), both(text)),
        ("zero", texts([Some("ü\0\r"), None]), [None, Some("ü\0\r")]),
        ("empty", texts([Some(""), None]), both("")),
        ("null", texts([Some("\\N"), None]), both("\\N")),
        ("int", ints([Some(i64::MIN), None]), both("-9223372036854775808")),
        ("short", Arc::new(Int16Array::from(vec![Some(-7), None])), both("-7")),
        (
            "big",
            Arc::new(UInt64Array::from(vec![Some(u64::MAX), None])),
            both("18446744073709551615"),
        ),
        ("double", doubles(0.1), both("0.1")),
        ("least", doubles(-5e-324), both("-5e-324")),
        ("nan", doubles(f64::NAN), [Some("NaN"), None]),
        ("real", reals(0.5), both("0.5")),
        ("tenth", reals(0.1), [Some("0.1"), None]),
        ("bool", Arc::new(BooleanArray::from(vec![Some(true), None])), [Some("t"), Some("1")]),
        ("decimal", decimal(120_050, 18, 2), both("1200.50")),
        ("tiny", decimal(-1, 38, 30), both("-0.000000000000000000000000000001")),
        ("smallest", decimal(-1, 38, 38), both("-0.00000000000000000000000000000000000001")),
        (
            "huge",
            decimal(10_i128.pow(38) - 1, 38, 0),
            both("99999999999999999999999999999999999999"),
        ),
        ("hundreds", decimal(-123_456, 10, -2), both("-12345600")),
        ("date", Arc::new(Date32Array::from(vec![Some(-1), None])), both("1969-12-31")),
        (
            "time",
            Arc::new(Time64MicrosecondArray::from(vec![Some(86_399_999_999), None])),
            both("23:59:59.999999"),
        ),
        (
            "at",
            Arc::new(times),
            [Some("1970-01-01 00:00:01.5+00"), Some("1970-01-01 00:00:01.500000")],
        ),
        (
            "local",
            Arc::new(TimestampNanosecondArray::from(vec![Some(1_000), None])),
            both("1970-01-01 00:00:00.000001"),
        ),
        (
            "bytes",
            Arc::new(BinaryViewArray::from(vec![Some(bytes), None])),
            [Some("\\x00ff5c090a"), Some("00FF5C090A")],
        ),
        ("list", Arc::new(lists.finish()), [Some("[1, null]"), Some("[1,null]")]),
    ];
    let which = usize::from(!warehouse.url().starts_with("postgres:"));
    let values: Vec<_> = values.into_iter().filter(|value| value.2[which].is_some()).collect();
    let columns = values.iter().map(|(name, array, _)| (*name, Arc::clone(array))).collect();
    let item = warehouse.append_to("t");
    load(&item, &[batch(1, columns)], &context(warehouse.folder(), "1")).unwrap();
    let shown = |name: &str| match (name, which) {
        ("bytes", 1) => "hex(bytes)".to_owned(),
        _ => format!("\"{name}\""),
    };
    let shown: Vec<String> = values.iter().map(|(name, ..)| shown(name)).collect();
    let sql = format!("SELECT {} FROM t ORDER BY text IS NULL", shown.join(", "));
    let rows = warehouse.rows(&sql);
    let expected: Vec<_> = values.iter().map(|value| value.2[which].map(str::to_owned)).collect();
    assert_eq!(rows[0], expected);
    assert!(rows[1].iter().all(Option::is_none));
}

fn exactly_the_refused_records_are_rejected(warehouse: &Warehouse) {
    let refused = prop::collection::vec(prop::bool::weighted(0.2), 1..200);
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(12) };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let cases = (refused, 1..70usize, any::<bool>());
    let outcome = runner.run(&cases, |(refused, size, upsert)| {
        warehouse.run(
            "DROP TABLE IF EXISTS t; CREATE TABLE t (id int PRIMARY KEY, ok boolean CHECK (ok))",
        );
        let rows: Vec<(i64, bool)> = (1..).zip(refused.iter().map(|refused| !refused)).collect();
        let batches: Vec<Batch> = rows
            .chunks(size)
            .map(|chunk| {
                let ok = BooleanArray::from_iter(chunk.iter().map(|row| Some(row.1)));
                let ids = ints(chunk.iter().map(|row| row.0));
                batch(chunk[0].0 as u64, vec![("id", ids), ("ok", Arc::new(ok))])
            })
            .collect();
        let item =
            if upsert { warehouse.upsert_to("t", &["id"]) } else { warehouse.append_to("t") };
        let (loaded, findings) = load(&item, &batches, &context(warehouse.folder(), "1")).unwrap();
        let mut found: Vec<u64> = rejects(&findings).iter().map(|reject| reject.0).collect();
        found.sort_unstable();
        let expected: Vec<u64> = rows.iter().filter(|row| !row.1).map(|row| row.0 as u64).collect();
        prop_assert_eq!(found, expected);
        let good: Vec<String> =
            rows.iter().filter(|row| row.1).map(|row| row.0.to_string()).collect();
        prop_assert_eq!(loaded.inserted, good.len() as u64);
        prop_assert_eq!(warehouse.lines("SELECT id FROM t ORDER BY id"), good);
        warehouse.run("DROP TABLE gristmill_loads");
        Ok(())
    });
    outcome.unwrap();
}

fn replace_shows_the_old_rows_until_the_new_ones(warehouse: &Warehouse) {
    let item = json!({"table": "t", "database": warehouse.url(), "mode": "replace"});
    let folder = warehouse.folder();
    load(&item, &[people(1, &[Some(1)], &[Some("old")])], &context(folder, "1")).unwrap();
    let new = people(1, &[Some(2), Some(3)], &[Some("new"), Some("new")]);
    let mut findings = Findings::default();
    let mut loader = open(&item, &new.schema(), &context(folder, "2")).unwrap();
    append(loader.as_mut(), &[new], &mut findings).unwrap();
    loader.prepare(&mut findings).unwrap();
    assert_eq!(warehouse.lines("SELECT name FROM t"), ["old"]);
    assert_eq!(loader.publish().unwrap().inserted, 2);
    assert_eq!(warehouse.lines("SELECT name FROM t"), ["new", "new"]);
    // An empty input replaces, too.
    load(&item, &[people(1, &[], &[])], &context(folder, "3")).unwrap();
    assert!(warehouse.lines("SELECT name FROM t").is_empty());
}

fn upsert_counts_what_it_does(warehouse: &Warehouse) {
    let item = warehouse.upsert_to("t", &["id"]);
    let folder = warehouse.folder();
    let first = people(1, &[Some(1), Some(2), Some(3)], &[Some("a"), None, Some("c")]);
    load(&item, &[first], &context(folder, "1")).unwrap();
    let ids = [Some(4), Some(3), Some(2), Some(1), None, Some(9), Some(9)];
    let names = [Some("d"), Some("C"), None, None, Some("nobody"), Some("first"), Some("last")];
    let (loaded, findings) =
        load(&item, &[people(1, &ids, &names)], &context(folder, "2")).unwrap();
    assert_eq!((loaded.inserted, loaded.updated, loaded.unchanged), (2, 2, 1));
    let found = rejects(&findings);
    assert_eq!((found[0].0, found[0].2.as_str()), (5, "key"));
    assert_eq!((found[1].0, found[1].2.as_str()), (6, "duplicate_key"));
    assert!(found[1].3.contains("the key `9`"), "{}", found[1].3);
    let rows = warehouse.lines("SELECT id, name FROM t ORDER BY id");
    assert_eq!(rows, ["1 -", "2 -", "3 C", "4 d", "9 last"]);
}

fn one_run_at_a_time_loads_a_table(warehouse: &Warehouse) {
    let item = warehouse.append_to("t");
    let input = people(1, &[Some(1)], &[Some("a")]);
    let first = open(&item, &input.schema(), &context(warehouse.folder(), "1")).unwrap();
    let error = open(&item, &input.schema(), &context(warehouse.folder(), "2")).err().unwrap();
    assert!(error.is_transient() && error.to_string().contains("another run"), "{error}");
    // The owner dies: its connection goes, and its lock with it.
    warehouse.disconnect();
    let (loaded, _) = load(&item, &[input], &context(warehouse.folder(), "2")).unwrap();
    assert_eq!(loaded.inserted, 1);
    drop(first);
}

fn tables_of_one_database_are_published_together(warehouse: &Warehouse) {
    warehouse.run("CREATE TABLE b (id int, name varchar(9) CHECK (name <> 'x'))");
    let input = people(1, &[Some(1)], &[Some("a")]);
    let context = context(warehouse.folder(), "1");
    let mut findings = Findings::default();
    let mut loaders: Vec<_> = ["a", "b"]
        .map(|table| open(&warehouse.append_to(table), &input.schema(), &context).unwrap())
        .into();
    let again = open(&warehouse.append_to("a"), &input.schema(), &context).err().unwrap();
    assert!(again.to_string().contains("destination twice"), "{again}");
    for loader in &mut loaders {
        append(loader.as_mut(), std::slice::from_ref(&input), &mut findings).unwrap();
    }
    for loader in &mut loaders {
        loader.prepare(&mut findings).unwrap();
    }
    assert_eq!(warehouse.lines("SELECT count(*) FROM b"), ["0"]);
    for loader in &mut loaders {
        loader.publish().unwrap();
    }
    let both =
        "SELECT (SELECT count(*) FROM a), (SELECT count(*) FROM b), count(*) FROM gristmill_loads";
    assert_eq!(warehouse.lines(both), ["1 1 2"]);
}

fn errors_say_the_statement_that_helps(warehouse: &Warehouse) {
    let collation = warehouse.either(["", "", "COLLATE utf8mb4_general_ci"]);
    warehouse.run(&format!("CREATE TABLE \"my \"\"t\" (id int) {collation}"));
    let input = batch(1, vec![("id", ints([1])), ("n", ints([1]))]);
    let context = context(warehouse.folder(), "1");
    let help = |item: &Value| {
        let error = open(item, &input.schema(), &context).err().unwrap();
        let (_, statement) = error.hint_text().unwrap().split_once("run: ").unwrap();
        warehouse.run(statement);
    };
    let item = warehouse.upsert_to("my \"t", &["id", "n"]);
    help(&item);
    help(&item);
    let (loaded, _) = load(&item, std::slice::from_ref(&input), &context).unwrap();
    assert_eq!(loaded.inserted, 1);
    let mut item = warehouse.append_to("other");
    item["create"] = "never".into();
    help(&item);
    load(&item, std::slice::from_ref(&input), &context).unwrap();
}

fn what_cannot_be_loaded_is_said_when_opening(warehouse: &Warehouse) {
    warehouse.run(
        "CREATE TABLE needs (id int, name text, must text NOT NULL, has int NOT NULL DEFAULT 1);
         CREATE TABLE makes (id int, name varchar(9) GENERATED ALWAYS AS ('!') STORED);
         CREATE VIEW looks AS SELECT id, name FROM needs;",
    );
    let binary: ArrayRef = Arc::new(BinaryViewArray::from(vec![&b"x"[..]]));
    for (table, id, what) in [
        ("needs", ints([1]), "requires `must`"),
        ("makes", ints([1]), "generated"),
        ("looks", ints([1]), "view"),
        ("needs", binary, "is int"),
    ] {
        let input = batch(1, vec![("id", id), ("name", texts(["a"]))]);
        let item = warehouse.append_to(table);
        let error = open(&item, &input.schema(), &context(warehouse.folder(), "1")).err().unwrap();
        assert!(error.to_string().contains(what), "{error}");
        assert!(error.hint_text().is_some(), "{error}");
    }
    let url = warehouse.url();
    let (_, port) = url.rsplit_once(':').unwrap();
    let (port, _) = port.split_once('/').unwrap();
    for (url, kind) in [
        (url.replace("gristmill@", "nobody:s3cret@"), ErrorKind::Permission),
        (format!("{url}_missing"), ErrorKind::NotFound),
        (url.replace(port, "1"), ErrorKind::Transient),
        (format!("{url}?sslmode=verify-full"), ErrorKind::Permission),
    ] {
        let item = json!({"table": "t", "database": url});
        let schema = people(1, &[], &[]).schema();
        let error = open(&item, &schema, &context(warehouse.folder(), "1")).err().unwrap();
        assert_eq!(error.kind(), kind, "{error:?}");
        assert!(error.hint_text().is_some(), "{error}");
        assert!(!format!("{error:?} {:?}", error.causes()).contains("s3cret"));
    }
}

/// What a connection to the server is put through.
#[derive(Debug, Clone, Copy)]
enum Cut {
    /// It ends before this piece of what the client sends reaches the server.
    Before(usize),
    /// It ends before the server is to commit.
    BeforeCommit,
    /// It ends after the server committed, and before the client hears of it.
    AfterCommit,
}

/// Stands between a loader and the server, and cuts its first connection; answers the URL, and
/// counts the pieces that the client sends.
fn proxy(url: &str, cut: Cut) -> (String, Arc<AtomicUsize>) {
    let (start, rest) = url.split_once('@').unwrap();
    let (place, database) = rest.split_once('/').unwrap();
    let place = place.to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let here = listener.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    thread::spawn(move || {
        for (number, client) in listener.incoming().enumerate() {
            let (client, server) = (client.unwrap(), TcpStream::connect(&place).unwrap());
            let back = (server.try_clone().unwrap(), client.try_clone().unwrap());
            let count = Arc::clone(&counted);
            let cut = (number == 0).then_some(cut);
            let forth = thread::spawn(move || forward(client, server, cut, &count));
            thread::spawn(move || backward(back.0, back.1));
            drop(forth);
        }
    });
    (format!("{start}@{here}/{database}?sslmode=disable"), count)
}

fn forward(mut client: TcpStream, mut server: TcpStream, cut: Option<Cut>, count: &AtomicUsize) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let n = match client.read(&mut buffer) {
            Ok(n) if n > 0 => n,
            _ => break,
        };
        let piece = count.fetch_add(1, Ordering::SeqCst) + 1;
        match cut {
            Some(Cut::Before(at)) if piece == at => break,
            Some(Cut::BeforeCommit) if is_commit(&buffer[..n]) => break,
            Some(Cut::AfterCommit) if is_commit(&buffer[..n]) => {
                client.shutdown(Shutdown::Write).unwrap();
                server.write_all(&buffer[..n]).unwrap();
                // The server commits, and ends when it has read all that there is.
                server.shutdown(Shutdown::Write).unwrap();
                thread::sleep(std::time::Duration::from_millis(200));
                break;
            }
            _ => {}
        }
        if server.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
    let _ = client.shutdown(Shutdown::Both);
    let _ = server.shutdown(Shutdown::Both);
}

/// Whether it is the statement, in a message of one server or the other.
fn is_commit(piece: &[u8]) -> bool {
    piece.ends_with(b"\x03COMMIT") || piece.windows(7).any(|piece| piece == b"COMMIT\0")
}

fn backward(mut server: TcpStream, mut client: TcpStream) {
    let _ = std::io::copy(&mut server, &mut client);
    let _ = client.shutdown(Shutdown::Both);
}

/// Two chunks into a table that has a row; answers how it went.
fn two_chunks(warehouse: &Warehouse, url: &str, mode: &str) -> gristmill_core::Result<Loaded> {
    let mut item = json!({"table": "t", "database": url, "mode": mode});
    if mode != "append" {
        item["keys"] = json!(["id"]);
    }
    let batches =
        [people(1, &[Some(1), Some(2)], &[Some("a"), Some("b")]), people(3, &[Some(3)], &[None])];
    Ok(load(&item, &batches, &context(warehouse.folder(), "2"))?.0)
}

fn wherever_the_connection_is_cut_all_or_nothing_is_loaded(warehouse: &Warehouse) {
    for mode in ["append", "upsert", "scd2"] {
        let reset = || {
            warehouse.run("DROP TABLE IF EXISTS t; DROP TABLE IF EXISTS gristmill_loads");
            let mut item = warehouse.append_to("t");
            if mode != "append" {
                (item["mode"], item["keys"]) = (mode.into(), json!(["id"]));
            }
            let old = people(1, &[Some(9)], &[Some("old")]);
            load(&item, &[old], &context(warehouse.folder(), "1")).unwrap();
        };
        let ids = || warehouse.lines("SELECT id FROM t ORDER BY id");
        reset();
        let (url, count) = proxy(warehouse.url(), Cut::Before(usize::MAX));
        two_chunks(warehouse, &url, mode).unwrap();
        let pieces = count.load(Ordering::SeqCst);
        assert!(pieces > 10, "{pieces}");
        assert_eq!(ids(), ["1", "2", "3", "9"]);
        // Login and settings come first. What the modes have in common is cut once, everywhere.
        for at in (4..=pieces).step_by(if mode == "append" { 1 } else { 4 }) {
            reset();
            let (url, _) = proxy(warehouse.url(), Cut::Before(at));
            match two_chunks(warehouse, &url, mode) {
                Ok(loaded) => {
                    assert_eq!((loaded.inserted, ids().len()), (3, 4), "{mode}, piece {at}");
                }
                Err(error) => {
                    assert_eq!(ids(), ["9"], "{mode}, piece {at}: {error}");
                    assert!(error.hint_text().is_some(), "{mode}, piece {at}: {error:?}");
                    two_chunks(warehouse, warehouse.url(), mode).unwrap();
                    assert_eq!(ids(), ["1", "2", "3", "9"], "{mode}, after piece {at}");
                }
            }
        }
    }
}

fn a_commit_that_is_not_answered_is_found_out(warehouse: &Warehouse) {
    let (url, _) = proxy(warehouse.url(), Cut::AfterCommit);
    let loaded = two_chunks(warehouse, &url, "append").unwrap();
    assert_eq!(loaded.inserted, 3);
    assert_eq!(warehouse.lines("SELECT count(*) FROM t"), ["3"]);
    let committed = match warehouse.url().starts_with("postgres:") {
        true => gristmill_load::postgres::committed,
        false => gristmill_load::mysql::committed,
    };
    let known = committed(warehouse.url(), "2", "t").unwrap();
    assert_eq!(known.map(|loaded| loaded.inserted), Some(3));
}

/// Two addresses of one database are two transactions: that one is committed says nothing of the
/// other.
fn a_lost_commit_is_not_taken_for_another_of_its_run(warehouse: &Warehouse) {
    let input = people(1, &[Some(1)], &[Some("a")]);
    for table in ["a", "b"] {
        let item = warehouse.append_to(table);
        load(&item, &[people(1, &[], &[])], &context(warehouse.folder(), "0")).unwrap();
    }
    for (run, cut, expected) in
        [("1", Cut::BeforeCommit, ["1", "0"]), ("2", Cut::AfterCommit, ["2", "1"])]
    {
        let (url, _) = proxy(warehouse.url(), cut);
        let context = context(warehouse.folder(), run);
        let mut findings = Findings::default();
        let mut loaders = [("a", warehouse.url()), ("b", &url)].map(|(table, url)| {
            let item = json!({"table": table, "database": url});
            open(&item, &input.schema(), &context).unwrap()
        });
        for loader in &mut loaders {
            append(loader.as_mut(), std::slice::from_ref(&input), &mut findings).unwrap();
            loader.prepare(&mut findings).unwrap();
        }
        let [first, second] = loaders.each_mut().map(|loader| loader.publish());
        first.unwrap();
        assert_eq!(second.is_ok(), run == "2", "{second:?}");
        drop(loaders);
        let counts = ["a", "b"]
            .map(|table| warehouse.lines(&format!("SELECT count(*) FROM {table}")).remove(0));
        assert_eq!(counts, expected, "{second:?}");
    }
}

on!(postgres, mysql: [
    values_are_stored_exactly,
    exactly_the_refused_records_are_rejected,
    replace_shows_the_old_rows_until_the_new_ones,
    upsert_counts_what_it_does,
    one_run_at_a_time_loads_a_table,
    tables_of_one_database_are_published_together,
    errors_say_the_statement_that_helps,
    what_cannot_be_loaded_is_said_when_opening,
    wherever_the_connection_is_cut_all_or_nothing_is_loaded,
    a_commit_that_is_not_answered_is_found_out,
    a_lost_commit_is_not_taken_for_another_of_its_run,
]);
