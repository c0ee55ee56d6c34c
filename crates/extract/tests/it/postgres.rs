//! Tables and queries of a PostgreSQL server; nothing where there is none.

use std::time::{Duration, Instant};

use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use gristmill_core::ErrorKind;
use gristmill_core::json::row_to_string;
use gristmill_scratch::{Postgres, postgres};
use serde_json::{Value, json};

use crate::support::{Folder, Read};

fn query(server: &Postgres, sql: &str) -> Read {
    Folder::new(&[]).read(json!({"query": sql, "database": server.url()})).unwrap()
}

/// What goes wrong, with all its causes.
fn error(item: Value) -> (ErrorKind, String) {
    let error = Folder::new(&[]).error(item);
    let causes = error.causes().join(": ");
    (error.kind(), format!("{error}: {causes} [{}]", error.hint_text().unwrap_or_default()))
}

/// Types, random values of them in the order of the columns, and the type that their text has.
const TYPES: &[(&str, &str, &str)] = &[
    ("boolean", "random() < 0.5", "bool"),
    ("smallint", "(random() * 65535 - 32768)::int", "int"),
    ("integer", "(random() * 4294967295 - 2147483648)::bigint", "int"),
    ("bigint", "((random() - 0.5) * 1.8e19)::numeric(19, 0)", "int"),
    ("real", "((random() - 0.5) * 10 ^ (random() * 60 - 30))::real", "string"),
    ("double precision", "(random() - 0.5) * 10 ^ (random() * 400 - 200)", "double"),
    ("numeric(18, 2)", "(random() - 0.5) * 10 ^ (random() * 16)", "decimal(18, 2)"),
    (
        "numeric(38, 10)",
        "((random() - 0.5) * 1e28)::numeric + random()::numeric",
        "decimal(38, 10)",
    ),
    ("numeric(5, 5)", "random() * 0.9999", "decimal(5, 5)"),
    ("numeric(30, 0)", "((random() - 0.5) * 10 ^ (random() * 29))", "decimal(30, 0)"),
    ("amount", "random() * 1000", "decimal(7, 3)"),
    ("numeric", "(random() * 10 ^ (random() * 60 - 30))::numeric", "string"),
    ("text", "repeat(chr(97 + (random() * 1000)::int), (random() * 20)::int)", "string"),
    ("varchar(20)", "substr(md5(random()::text), 1, (random() * 20)::int)", "string"),
    ("name", "md5(random()::text)", "string"),
    ("mood", "(CASE WHEN random() < 0.5 THEN 'sad' ELSE 'not ''so'' sad' END)::mood", "string"),
    ("uuid", "md5(random()::text)::uuid", "string"),
    ("json", r#"json_build_object('a', random(), 'b', '"ä')"#, "json"),
    ("jsonb", "jsonb_build_array(random(), null, true)", "json"),
    ("date", "date '0001-01-01' + (random() * 3652058)::int", "date"),
    ("time", "time '00:00' + random() * interval '86399.999999 s'", "time"),
    ("timestamp", "timestamp '0001-01-01' + random() * interval '3652058 days'", "timestamp"),
    (
        "timestamptz",
        "timestamptz '0001-01-02 UTC' + random() * interval '3652050 days'",
        "timestamptz",
    ),
    ("interval", "random() * interval '1000 days'", "string"),
    ("inet", "inet '10.0.0.0' + (random() * 1000)::int", "string"),
    ("int4range", "int4range(1, (2 + random() * 10)::int)", "string"),
];

/// What is decoded from the binary form is what the server itself writes as text.
#[test]
fn every_type_keeps_its_values() {
    let Some(server) = postgres() else { return };
    let columns: Vec<_> = (0..TYPES.len()).map(|i| format!("c{i}")).collect();
    let declared: Vec<_> =
        TYPES.iter().zip(&columns).map(|((of, _, _), name)| format!("{name} {of}")).collect();
    let values: Vec<_> = TYPES
        .iter()
        .map(|(_, value, _)| format!("CASE WHEN random() < 0.9 THEN {value} END"))
        .collect();
    server.run(&format!(
        "CREATE TYPE mood AS ENUM ('sad', 'not ''so'' sad');
         CREATE DOMAIN amount AS numeric(7, 3);
         CREATE TABLE kinds ({});
         SELECT setseed(0.5);
         INSERT INTO kinds SELECT {} FROM generate_series(1, 3000);
         INSERT INTO kinds SELECT {};
         INSERT INTO kinds (c1, c2, c3, c5, c6, c7, c9) VALUES
             (-32768, -2147483648, -9223372036854775808, 'NaN', 0, 0.0000000001, 0),
             (32767, 2147483647, 9223372036854775807, '-Infinity', -0.01, -9999999999999999999999999999.9999999999, 10000),
             (0, 0, 0, 1e-307, 9999999999999999.99, 10000, 999999999999999999999999999999)",
        declared.join(", "),
        values.join(", "),
        vec!["NULL"; TYPES.len()].join(", "),
    ));
    let folder = Folder::new(&[]);
    let read = folder.read(json!({"table": "kinds", "database": server.url()})).unwrap();
    let texts: serde_json::Map<String, Value> =
        columns.iter().zip(TYPES).map(|(name, (_, _, of))| (name.clone(), json!(of))).collect();
    let text = folder
        .read(json!({"table": "public.kinds", "database": server.url(), "columns": texts}))
        .unwrap();
    assert_eq!((read.columns.num_rows(), read.flaws.len(), text.flaws.len()), (3004, 0, 0));
    for (name, (of, _, _)) in columns.iter().zip(TYPES) {
        let (read, text) = (read.column(name), text.column(name));
        for (read, text) in read.iter().zip(&text) {
            // Both are shortest forms of the same number.
            let equal = read == text
                || *of == "real" && read.parse::<f32>().is_ok_and(|n| Ok(n) == text.parse());
            assert!(equal, "{of}: {read} is {text}");
        }
    }
    let types = read.types();
    assert_eq!(types[..6], ["bool", "Int16", "Int32", "int", "Float32", "double"]);
    assert_eq!(types[10..12], ["decimal(7, 3)", "string"]);
    assert_eq!(read.notes.len(), 1, "{:?}", read.notes);
    assert!(read.notes[0].contains("`c11`"));
}

#[test]
fn arrays_are_lists_and_bytes_are_bytes() {
    let Some(server) = postgres() else { return };
    let read = query(
        &server,
        "SELECT * FROM (VALUES
             (ARRAY[1, NULL, 3], ARRAY['a', 'a text longer than a view'], '\\x00ff'::bytea, 'ab'::char(5)),
             ('{}', NULL, '', NULL), (NULL, ARRAY[NULL]::text[], NULL, '')) AS t (i, t, b, c)",
    );
    let texts = read.columns.project(&[0, 1]).unwrap();
    let rows: Vec<_> = (0..3).map(|row| row_to_string(&texts, row)).collect();
    assert_eq!(
        rows,
        [
            r#"{"i":[1,null,3],"t":["a","a text longer than a view"]}"#,
            r#"{"i":[],"t":null}"#,
            r#"{"i":null,"t":[null]}"#,
        ]
    );
    assert_eq!(read.columns.column(2).as_binary_view().value(0), b"\x00\xff");
    assert_eq!(read.column("c"), ["ab   ", "-", ""]);
    let nested = query(
        &server,
        "SELECT ARRAY[date '2024-02-29', NULL] AS d, ARRAY[1.5::numeric(4,1)]::numeric(4,1)[] AS n",
    );
    let row = row_to_string(&nested.columns, 0);
    assert_eq!(row, r#"{"d":["2024-02-29",null],"n":[1.5]}"#);
}

#[test]
fn what_has_no_value_here_rejects_its_record() {
    let Some(server) = postgres() else { return };
    let read = query(
        &server,
        "SELECT * FROM (VALUES
             (1, date 'infinity', timestamptz '-infinity', 'NaN'::numeric(5, 2), time '24:00', ARRAY[1]),
             (2, date '-infinity', timestamptz 'infinity', 1, time '23:59', ARRAY[[1], [2]]),
             (3, date '2024-01-01', timestamptz '2024-01-01 UTC', 1, time '00:00', ARRAY[2]))
         AS t (id, d, z, n, t, a)",
    );
    assert_eq!(
        read.flaws,
        [
            "`infinity` is not a date",
            "`-infinity` is not a date",
            "`-infinity` is not a timestamptz",
            "`infinity` is not a timestamptz",
            "`24:00:00` is not a time",
            "`an array of 2 dimensions` is not a List(Int32)",
        ]
    );
    // Without digits it is text, and any text is one.
    assert_eq!(read.column("n"), ["NaN", "1", "1"]);
}

#[test]
fn an_empty_table_has_its_columns() {
    let Some(server) = postgres() else { return };
    server
        .run(r#"CREATE SCHEMA "My Schema"; CREATE TABLE "My Schema"."select" ("A b" int, z date)"#);
    let item = json!({"table": "My Schema.select", "database": server.url()});
    let read = Folder::new(&[]).read(item).unwrap();
    assert_eq!((read.names(), read.columns.num_rows()), (vec!["A b", "z"], 0));
}

#[test]
fn a_long_text_is_whole_and_one_beyond_the_memory_is_rejected() {
    let Some(server) = postgres() else { return };
    let read = query(
        &server,
        "SELECT n, repeat('x', n) AS x FROM (VALUES (9000000), (20000000), (3)) AS v (n)",
    );
    let lengths: Vec<_> = read.column("x").iter().map(String::len).collect();
    assert_eq!(lengths, [9_000_000, 1, 3]); // a twentieth of 256 MiB is 12.8 MiB
    assert_eq!(read.flaws, ["the record is longer than 12.8 MiB"]);
}

/// The server waits until somebody takes its rows.
#[test]
fn no_more_is_taken_than_is_asked_for() {
    let Some(server) = postgres() else { return };
    let folder = Folder::new(&[]);
    let sql = "SELECT repeat('x', 1000) AS x, n FROM generate_series(1, 100000) AS n";
    let mut extractor = folder.open(json!({"query": sql, "database": server.url()})).unwrap();
    extractor.begin(None).unwrap();
    assert!(extractor.next_chunk().unwrap().is_some());
    let watch = server.client();
    let waits = || {
        let sql = "SELECT count(*)::int FROM pg_stat_activity WHERE wait_event = 'ClientWrite'
                   AND datname = current_database()";
        watch.row(sql, &[]).unwrap().get::<_, i32>(0) == 1
    };
    let begin = Instant::now();
    while !waits() {
        assert!(begin.elapsed() < Duration::from_secs(20), "the server is not held back");
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut chunks = 1;
    while extractor.next_chunk().unwrap().is_some() {
        chunks += 1;
    }
    assert!(chunks > 20, "{chunks}");
}

#[test]
fn all_of_it_is_of_one_moment_and_nothing_is_written() {
    let Some(server) = postgres() else { return };
    server.run("CREATE TABLE t AS SELECT n FROM generate_series(1, 10) AS n; CREATE SEQUENCE s");
    let folder = Folder::new(&[]);
    let mut extractor = folder.open(json!({"table": "t", "database": server.url()})).unwrap();
    server.run("DELETE FROM t");
    let read = crate::support::read(&mut *extractor, |_| {}).unwrap();
    assert_eq!(read.columns.column(0).as_primitive::<Int32Type>().values().len(), 10);
    let sql = "SELECT nextval('s')";
    let (_, message) = error(json!({"query": sql, "database": server.url()}));
    assert!(message.contains("read-only transaction"), "{message}");
}

#[test]
fn mistakes_are_said_with_the_servers_words_and_without_secrets() {
    let Some(server) = postgres() else { return };
    let url = server.url();
    let query = |sql: &str| error(json!({"query": sql, "database": url}));
    let (kind, message) = error(json!({"table": "nowhere", "database": url}));
    assert_eq!(kind, ErrorKind::NotFound);
    assert!(message.contains(r#"relation "nowhere" does not exist"#), "{message}");
    assert_eq!(query("SELEC 1").0, ErrorKind::Configuration);
    assert!(query("SELECT $1::int").1.contains("parameters"));
    assert!(query("SELECT 1 AS a, 2 AS a").1.contains("two columns `a`"));
    assert!(query("SELECT 1 AS a) TO PROGRAM 'id' --").1.contains("syntax error"));
    let late = "SELECT 1 / (n - 50000) AS n FROM generate_series(1, 100000) AS n";
    assert!(query(late).1.contains("division by zero"));
    let declared = json!({"query": "SELECT 1 AS a", "database": url, "columns": {"b": "int"}});
    assert!(error(declared).1.contains("no column `b`"));
    let closed = "postgres://ann:s3cret@127.0.0.1:1/dwh";
    let (kind, message) = error(json!({"table": "t", "database": closed}));
    assert_eq!(kind, ErrorKind::Transient);
    assert!(!message.contains("s3cret") && message.contains("127.0.0.1:1"), "{message}");
}
