//! Tables and queries of a PostgreSQL server; nothing where there is none.

use std::time::{Duration, Instant};

use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use gristmill_core::json::row_to_string;
use gristmill_core::{ErrorKind, Extractor, Findings};
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
            "`infinity` is not a date; with `d: string` under `columns` it is read",
            "`-infinity` is not a date; with `d: string` under `columns` it is read",
            "`-infinity` is not a timestamptz; with `z: string` under `columns` it is read",
            "`infinity` is not a timestamptz; with `z: string` under `columns` it is read",
            "`24:00:00` is not a time; with `t: string` under `columns` it is read",
            "`an array of 2 dimensions` is not a List(Int32); with `a: string` under `columns` it is read",
        ]
    );
    // Without digits it is text, and any text is one.
    assert_eq!(read.column("n"), ["NaN", "1", "1"]);
}

/// Its text is what PostgreSQL writes, in forms that do not depend on where the server stands.
#[test]
fn what_has_no_type_here_is_text() {
    let Some(server) = postgres() else { return };
    server.run(
        "CREATE TYPE pair AS (a int, b text); CREATE TYPE floats AS RANGE (subtype = float8);
         CREATE DOMAIN code AS text CHECK (value <> ''); CREATE DOMAIN amount AS numeric(7, 3);",
    );
    let kinds = [
        ("money", "1200.5", "1200.50"),
        ("numeric", "'Infinity'", "Infinity"),
        (
            "numeric(60, 20)",
            "1e39",
            "1000000000000000000000000000000000000000.00000000000000000000",
        ),
        ("bit(5)", "B'10110'", "10110"),
        ("varbit", "B'1'", "1"),
        ("timetz", "'24:00+02'", "24:00:00+02"),
        ("interval", "'1 mon -2 days 03:04:05.000006'", "P1M-2DT3H4M5.000006S"),
        ("cidr", "'10.0.0.0/8'", "10.0.0.0/8"),
        ("macaddr", "'08002b010203'", "08:00:2b:01:02:03"),
        ("point", "'(1,2.5)'", "(1,2.5)"),
        ("tsrange", "'[2024-01-01,)'", "[\"2024-01-01 00:00:00\",)"),
        ("int4multirange", "'{[1,3),[5,6)}'", "{[1,3),[5,6)}"),
        ("floats", "'(0.1,2]'", "(0.1,2]"),
        ("pair", "ROW(1, 'x y')", "(1,\"x y\")"),
        ("code", "'ä'", "ä"),
        ("amount[]", "ARRAY[1.5, NULL]", "{1.500,NULL}"),
        ("numeric[]", "ARRAY['NaN', 0.10]", "{NaN,0.10}"),
        ("xml", "'<a/>'", "<a/>"),
        ("tsvector", "'b a'", "'a' 'b'"),
        ("oid", "4294967295", "4294967295"),
        ("\"char\"", "'x'", "x"),
        ("pg_lsn", "'16/B374D848'", "16/B374D848"),
    ];
    let names: Vec<_> = (0..kinds.len()).map(|i| format!("c{i}")).collect();
    let columns = kinds.iter().zip(&names).map(|((of, ..), name)| format!("{name} {of}"));
    let values = kinds.iter().map(|(of, value, _)| format!("({value})::{of}"));
    server.run(&format!(
        "CREATE TABLE t ({}); INSERT INTO t SELECT {}",
        columns.collect::<Vec<_>>().join(", "),
        values.collect::<Vec<_>>().join(", ")
    ));
    let read = Folder::new(&[]).read(json!({"table": "t", "database": server.url()})).unwrap();
    for ((of, _, text), name) in kinds.iter().zip(&names) {
        assert_eq!(read.column(name), [*text], "{of}");
    }
    assert_eq!(read.types(), vec!["string"; kinds.len()]);
    assert_eq!(read.flaws, [""; 0]);
    // Those that are numbers can be read as such, exactly or not at all.
    let columns = json!({"c0": "decimal(18, 2)", "c1": "decimal(38, 2)", "c2": "decimal(38, 0)"});
    let item = json!({"table": "t", "database": server.url(), "columns": columns});
    let read = Folder::new(&[]).read(item).unwrap();
    assert_eq!(read.column("c0"), ["1200.50"]);
    assert_eq!(
        read.flaws,
        [
            "`Infinity` is not a decimal(38, 2); with `c1: string` under `columns` it is read",
            "`1000000000000000000000000000000000000000.00000000000000000000` is not a decimal(38, 0); \
             with `c2: string` under `columns` it is read",
        ]
    );
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

/// A table with a row on each page but on those of a whole part, so that it has many parts.
fn spread(server: &Postgres) {
    server.run(
        "CREATE UNLOGGED TABLE t (id int, pad text) WITH (fillfactor = 10);
         INSERT INTO t SELECT n * 7919 % 9001, repeat('x', 900) FROM generate_series(1, 9000) AS n;
         DELETE FROM t WHERE (ctid >= '(1000,0)' AND ctid < '(1600,0)') OR id % 7 = 0",
    );
}

/// Ids in the order in which they are read, and how many are in each chunk.
fn ids(extractor: &mut dyn Extractor) -> (Vec<i32>, Vec<usize>) {
    extractor.begin(None).unwrap();
    let (mut ids, mut chunks) = (Vec::new(), Vec::new());
    while let Some(mut chunk) = extractor.next_chunk().unwrap() {
        let before = ids.len();
        while let Some(batch) = chunk.next_batch(&mut Findings::default()).unwrap() {
            ids.extend(batch.columns().column(0).as_primitive::<Int32Type>().values());
        }
        chunks.push(ids.len() - before);
    }
    (ids, chunks)
}

/// Chunks make row groups, so that their ends are to be seen in a file.
#[test]
fn any_number_of_connections_read_the_same() {
    let Some(server) = postgres() else { return };
    spread(&server);
    let folder = Folder::new(&[]);
    let whole = json!({"query": "SELECT * FROM t", "database": server.url()});
    let (whole, _) = ids(&mut *folder.open(whole).unwrap());
    assert!(whole.len() > 7000 && !whole.is_sorted());
    let read = |connections: usize| {
        let item = json!({"table": "t", "database": server.url(), "connections": connections});
        ids(&mut *folder.open(item).unwrap())
    };
    let alone = read(1);
    assert_eq!(alone.0, whole);
    assert!(alone.1.len() > 10, "{:?}", alone.1);
    for connections in [2, 3, 9] {
        assert_eq!(read(connections), alone, "{connections}");
    }
}

#[test]
fn all_connections_read_one_moment() {
    let Some(server) = postgres() else { return };
    spread(&server);
    let folder = Folder::new(&[]);
    let item = json!({"table": "t", "database": server.url(), "connections": 3});
    let before = folder.read(json!({"query": "SELECT id FROM t", "database": server.url()}));
    let mut extractor = folder.open(item).unwrap();
    server.run("DELETE FROM t WHERE id % 2 = 0; INSERT INTO t SELECT id, pad FROM t");
    extractor.begin(None).unwrap();
    for _ in 0..3 {
        assert!(extractor.next_chunk().unwrap().is_some());
    }
    let sql = "SELECT count(*) FROM pg_stat_activity
               WHERE query LIKE 'COPY%' AND datname = current_database()";
    assert_eq!(server.texts(sql)[0][0].as_deref(), Some("3"));
    drop(extractor); // its connections with it
    let item = json!({"table": "t", "database": server.url(), "connections": 3});
    let mut extractor = folder.open(item).unwrap();
    let there = server.texts("SELECT count(*) FROM t")[0][0].clone();
    server.run("DELETE FROM t");
    let read = ids(&mut *extractor).0.len();
    assert_ne!(read, before.unwrap().columns.num_rows());
    assert_eq!(Some(read.to_string()), there);
}

/// A server may have no connection left, and a user may see the columns of a table only.
#[test]
fn one_connection_is_enough() {
    let Some(server) = postgres() else { return };
    spread(&server);
    let role = server.texts("SELECT current_database()")[0][0].clone().unwrap();
    server.run(&format!(
        "CREATE ROLE {role} LOGIN CONNECTION LIMIT 1; GRANT SELECT ON t TO {role};
         CREATE VIEW v AS SELECT id FROM t; CREATE TABLE columns AS SELECT id FROM t;
         GRANT SELECT ON v TO {role}; GRANT SELECT (id) ON columns TO {role}"
    ));
    let url = server.url().replace("gristmill@", &format!("{role}@"));
    assert!(url.contains(&role));
    for table in ["t", "v", "columns"] {
        let item = json!({"table": table, "database": url, "connections": 3});
        let read = Folder::new(&[]).read(item).unwrap();
        assert!(read.columns.num_rows() > 7000, "{table}");
    }
    server.run(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

/// Who waits for a lock waits for the first connection, and others would wait behind it.
#[test]
fn nobody_waits_for_one_that_waits() {
    let Some(server) = postgres() else { return };
    spread(&server);
    let item = json!({"table": "t", "database": server.url(), "connections": 3});
    let mut extractor = Folder::new(&[]).open(item).unwrap();
    let (changing, watch) = (server.client(), server.client());
    std::thread::scope(|scope| {
        let changed = scope.spawn(move || {
            changing.batch("SET lock_timeout TO 30000; ALTER TABLE t ADD COLUMN more int")
        });
        let sql = "SELECT count(*)::int FROM pg_locks WHERE NOT granted
                   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        let begin = Instant::now();
        while watch.row(sql, &[]).unwrap().get::<_, i32>(0) == 0 {
            assert!(begin.elapsed() < Duration::from_secs(20), "nobody waits");
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(ids(&mut *extractor).0.len() > 7000);
        drop(extractor);
        changed.join().unwrap().unwrap();
    });
}

/// Children of a table are read with it, and lie in pages of their own.
#[test]
fn a_table_with_children_is_read_with_them() {
    let Some(server) = postgres() else { return };
    spread(&server);
    server.run("CREATE TABLE child () INHERITS (t); INSERT INTO child VALUES (-1, ''), (-2, '')");
    let item = json!({"table": "t", "database": server.url(), "connections": 2});
    let ids = ids(&mut *Folder::new(&[]).open(item).unwrap()).0;
    assert_eq!(ids[ids.len() - 2..], [-1, -2]);
}

/// Partitions of partitions, one with its columns in another order, are read in the order in which
/// the server reads them, by their pages.
#[test]
fn any_number_of_connections_read_partitions_the_same() {
    let Some(server) = postgres() else { return };
    server.run(
        "CREATE TABLE t (id int, pad text, n numeric) PARTITION BY RANGE (id);
         CREATE TABLE late PARTITION OF t FOR VALUES FROM (6000) TO (9000) PARTITION BY LIST (n);
         CREATE TABLE \"late Odd\" PARTITION OF late FOR VALUES IN (1);
         CREATE TABLE late_rest PARTITION OF late DEFAULT;
         CREATE TABLE empty PARTITION OF t FOR VALUES FROM (9000) TO (9999);
         CREATE UNLOGGED TABLE early (gone int, n numeric, pad text, id int) WITH (fillfactor = 10);
         ALTER TABLE early DROP COLUMN gone;
         ALTER TABLE t ATTACH PARTITION early FOR VALUES FROM (MINVALUE) TO (6000);
         INSERT INTO t SELECT k * 7919 % 9001 % 9000, repeat('x', 900), k % 2
             FROM generate_series(0, 8999) AS k",
    );
    let folder = Folder::new(&[]);
    let query = json!({"query": "SELECT * FROM t", "database": server.url()});
    let (whole, _) = ids(&mut *folder.open(query).unwrap());
    let item = |connections: usize| json!({"table": "t", "database": server.url(), "connections": connections});
    let alone = ids(&mut *folder.open(item(1)).unwrap());
    assert_eq!((whole.len(), alone.0 == whole), (9000, true));
    let mut extractor = folder.open(item(3)).unwrap();
    extractor.begin(None).unwrap();
    assert!(extractor.next_chunk().unwrap().is_some());
    let sql = "SELECT count(*) FROM pg_stat_activity
               WHERE query LIKE 'COPY%' AND datname = current_database()";
    let reading = server.texts(sql)[0][0].clone().unwrap();
    assert_eq!(reading, "2", "one for each 32 MiB");
    drop(extractor);
    assert_eq!(ids(&mut *folder.open(item(3)).unwrap()), alone);
    let read = folder.read(item(2)).unwrap();
    assert_eq!((read.column("n").len(), read.column("n")[0].len()), (9000, 1));
}

/// Policies of a table do not hold for its partitions when they are read by themselves.
#[test]
fn policies_of_a_table_with_partitions_hold() {
    let Some(server) = postgres() else { return };
    let role = server.texts("SELECT current_database()")[0][0].clone().unwrap();
    server.run(&format!(
        "CREATE TABLE t (id int, pad text) PARTITION BY HASH (id);
         CREATE TABLE p PARTITION OF t FOR VALUES WITH (MODULUS 1, REMAINDER 0) WITH (fillfactor = 10);
         INSERT INTO t SELECT k, repeat('x', 900) FROM generate_series(1, 6000) AS k;
         CREATE ROLE {role} LOGIN; GRANT SELECT ON t, p TO {role};
         CREATE POLICY few ON t USING (id <= 100); ALTER TABLE t ENABLE ROW LEVEL SECURITY"
    ));
    let url = server.url().replace("gristmill@", &format!("{role}@"));
    let item = json!({"table": "t", "database": url, "connections": 2});
    let of_table = Folder::new(&[]).read(item.clone()).unwrap().columns.num_rows();
    server.run("ALTER TABLE t DISABLE ROW LEVEL SECURITY; ALTER TABLE p ENABLE ROW LEVEL SECURITY");
    let of_partition = Folder::new(&[]).read(item).unwrap().columns.num_rows();
    server.run(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
    assert_eq!((of_table, of_partition), (100, 6000));
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
    server.run("CREATE TABLE kept AS SELECT 1 AS id");
    let (_, message) = query("DELETE FROM kept RETURNING id");
    assert!(message.contains("read-only") && message.contains("a source only reads"), "{message}");
    let hasty = format!("{url}?statement_timeout=1");
    let (kind, message) =
        error(json!({"query": "SELECT pg_sleep(60)::text AS s", "database": hasty}));
    assert_eq!(kind, ErrorKind::Stopped);
    assert!(message.contains("statement timeout"), "{message}");
    let closed = "postgres://ann:s3cret@127.0.0.1:1/dwh";
    let (kind, message) = error(json!({"table": "t", "database": closed}));
    assert_eq!(kind, ErrorKind::Transient);
    assert!(!message.contains("s3cret") && message.contains("127.0.0.1:1"), "{message}");
}
