//! Tables and queries of MariaDB and MySQL.

use arrow_array::cast::AsArray;
use gristmill_core::ErrorKind;
use gristmill_scratch::mysql;
use serde_json::json;

use crate::support::Folder;

#[test]
fn columns_have_the_types_they_are_declared_with() {
    let Some(server) = mysql() else { return };
    server.run(
        "CREATE TABLE t (id int PRIMARY KEY, tiny tinyint unsigned, ok boolean, big bigint,
            huge bigint unsigned, aum decimal(18, 2), whole decimal(5, 0) unsigned, long_one decimal(60, 2),
            ratio double, single float, bits bit(12), flag bit, y year, day date, at time(6),
            local_at datetime(6), seen timestamp(3) NULL, name text, code char(3) CHARACTER SET latin1,
            mood enum('sad', 'glad'), flags set('a', 'b'), raw varbinary(9), doc blob);
         INSERT INTO t VALUES
            (1, 255, TRUE, -9223372036854775808, 18446744073709551615, 1200.50, 99999,
             12345678901234567890123456789012345678901234567890.25, 0.1, 0.1, b'101010101010', b'1', 1999,
             '2024-02-29', '23:59:59.000001', '2024-02-29 12:00:00.5', '2024-02-29 12:00:00.125', 'ä🦀', 'ß€',
             'glad', 'b,a', X'00ff', ''),
            (2, 0, FALSE, 7, 7, -0.01, 0, -1, -5e-324, 0, 0, b'0', 2155, '1000-01-01', '00:00:00', '9999-12-31',
             '1970-01-01 00:00:01', '', '', 'sad', '', X'', X'ff')",
    );
    server.run("INSERT INTO t (id) VALUES (3)");
    let folder = Folder::new(&[]);
    let read = folder.read(json!({"table": "t", "database": server.url()})).unwrap();
    assert_eq!(
        read.types(),
        [
            "int",
            "int",
            "bool",
            "int",
            "decimal(20, 0)",
            "decimal(18, 2)",
            "decimal(5, 0)",
            "string",
            "double",
            "double",
            "int",
            "bool",
            "int",
            "date",
            "time",
            "timestamp",
            "timestamptz",
            "string",
            "string",
            "string",
            "string",
            "binary",
            "binary"
        ]
    );
    assert_eq!(read.flaws, [""; 0]);
    for (column, values) in [
        ("tiny", ["255", "0"]),
        ("ok", ["true", "false"]),
        ("big", ["-9223372036854775808", "7"]),
        ("huge", ["18446744073709551615", "7"]),
        ("aum", ["1200.50", "-0.01"]),
        ("whole", ["99999", "0"]),
        ("long_one", ["12345678901234567890123456789012345678901234567890.25", "-1.00"]),
        ("ratio", ["0.1", "-5e-324"]),
        ("single", ["0.10000000149011612", "0.0"]),
        ("bits", ["2730", "0"]),
        ("flag", ["true", "false"]),
        ("y", ["1999", "2155"]),
        ("day", ["2024-02-29", "1000-01-01"]),
        ("at", ["23:59:59.000001", "00:00:00"]),
        ("local_at", ["2024-02-29T12:00:00.5", "9999-12-31T00:00:00"]),
        ("seen", ["2024-02-29T12:00:00.125Z", "1970-01-01T00:00:01Z"]),
        ("name", ["ä🦀", ""]),
        ("code", ["ß€", ""]),
        ("mood", ["glad", "sad"]),
        ("flags", ["a,b", ""]),
    ] {
        assert_eq!(read.column(column), [values[0], values[1], "-"], "{column}");
    }
    assert_eq!(read.columns.column(21).as_binary_view().value(0), b"\x00\xff");
}

#[test]
fn a_value_that_its_column_cannot_hold_rejects_its_record() {
    let Some(server) = mysql() else { return };
    server.run(
        "SET sql_mode = ''; CREATE TABLE t (id int, day date, seen datetime, at time, ok tinyint(1));
         INSERT INTO t VALUES (1, '0000-00-00', '2024-02-00 12:00:00', '-838:59:59', 2),
            (2, '2024-01-01', '2024-01-01 00:00:00', '01:00:00', 1)",
    );
    let folder = Folder::new(&[]);
    let read = folder.read(json!({"table": "t", "database": server.url()})).unwrap();
    let mut flaws = read.flaws.clone();
    flaws.sort();
    assert_eq!(
        flaws,
        [
            "`-838:59:59.000000` is not a time; with `at: string` under `columns` it is read",
            "`0000-00-00` is not a date; with `day: string` under `columns` it is read",
            "`2024-02-00T12:00:00.000000` is not a timestamp; with `seen: string` under `columns` it is read",
            "`2` is not a bool; with `ok: string` under `columns` it is read"
        ]
    );
    // Read as another type, all of them have a place.
    let columns = json!({"day": "string", "seen": "string", "at": "string", "ok": "int"});
    let item = json!({"table": "t", "database": server.url(), "columns": columns});
    let read = folder.read(item).unwrap();
    assert_eq!(read.flaws, [""; 0]);
    assert_eq!(read.column("ok"), ["2", "1"]);
    assert_eq!(read.column("day"), ["0000-00-00", "2024-01-01"]);
    assert_eq!(read.column("at"), ["-838:59:59.000000", "01:00:00.000000"]);
}

/// Numbers of more digits than ours, sets, documents, shapes: what there is no type for.
#[test]
fn what_has_no_type_here_is_text_or_bytes() {
    let Some(server) = mysql() else { return };
    let is_maria = server.texts("SELECT version()")[0][0].as_ref().unwrap().contains("MariaDB");
    server.run(
        "CREATE TABLE t (wide decimal(65, 30), bits bit(64), filled bigint(20) zerofill, small float unsigned,
            long_time time(6), doc json, place geometry, picked set('a', 'b', 'c'), fixed binary(3))",
    );
    server.run(
        "INSERT INTO t VALUES ('-12345678901234567890123456789012345.123456789012345678901234567890',
            b'1111111111111111111111111111111111111111111111111111111111111111', 18446744073709551615,
            1.5, '838:59:58.999999', '{\"a\": [1, null]}', ST_GeomFromText('POINT(1 2)', 0), 'c,a', 'x')",
    );
    let columns = json!({"long_time": "string", "doc": "json"});
    let item = json!({"table": "t", "database": server.url(), "columns": columns});
    let read = Folder::new(&[]).read(item).unwrap();
    assert_eq!(read.flaws, [""; 0]);
    for (column, value) in [
        ("wide", "-12345678901234567890123456789012345.123456789012345678901234567890"),
        ("bits", "18446744073709551615"),
        ("filled", "18446744073709551615"),
        ("small", "1.5"),
        ("long_time", "838:59:58.999999"),
        ("doc", "{\"a\": [1, null]}"),
        ("picked", "a,c"),
    ] {
        assert_eq!(read.column(column), [value], "{column}");
    }
    assert!(read.notes[0].contains("`wide`"), "{:?}", read.notes);
    // Four bytes for the reference system, then the shape as OGC has it.
    let place = read.columns.column_by_name("place").unwrap().as_binary_view().value(0).to_vec();
    assert_eq!((place.len(), &place[..5]), (25, &[0, 0, 0, 0, 1][..]));
    let fixed = read.columns.column_by_name("fixed").unwrap();
    assert_eq!(fixed.as_binary_view().value(0), b"x\0\0");
    if is_maria {
        server.run(
            "CREATE TABLE m (u uuid, a inet6, b inet4);
             INSERT INTO m VALUES ('123e4567-e89b-12d3-a456-426655440000', '2001:db8::1', '10.0.0.1')",
        );
        let item = json!({"table": "m", "database": server.url()});
        let read = Folder::new(&[]).read(item).unwrap();
        assert_eq!(read.column("u"), ["123e4567-e89b-12d3-a456-426655440000"]);
        assert_eq!(
            (read.column("a"), read.column("b")),
            (vec!["2001:db8::1".to_owned()], vec!["10.0.0.1".to_owned()])
        );
    }
}

#[test]
fn a_query_is_read_as_it_was_written() {
    let Some(server) = mysql() else { return };
    server.run("CREATE TABLE `we\"ird` (`a``b` int, c varchar(20)); INSERT INTO `we\"ird` VALUES (1, 'x\\y'), (2, 'it''s')");
    let folder = Folder::new(&[]);
    let query = "SELECT `a``b` AS n, c, count(*) AS many, sum(`a``b`) AS total FROM `we\"ird` \
                 WHERE c = \"x\\\\y\" OR c = \"it's\" GROUP BY 1, 2 ORDER BY n DESC;";
    let read = folder.read(json!({"query": query, "database": server.url()})).unwrap();
    assert_eq!(read.column("n"), ["2", "1"]);
    assert_eq!(read.column("c"), ["it's", "x\\y"]);
    assert_eq!(read.column("many"), ["1", "1"]);
    assert_eq!(read.column("total"), ["2", "1"]);
    let read = folder.read(json!({"table": "we\"\"ird", "database": server.url()}));
    assert!(read.is_err());
    let read = folder.read(json!({"table": "\"we\"\"ird\"", "database": server.url()})).unwrap();
    assert_eq!(read.column("a`b"), ["1", "2"]);
}

#[test]
fn many_rows_come_in_order() {
    let Some(server) = mysql() else { return };
    server.run("CREATE TABLE t (id int PRIMARY KEY, name varchar(200))");
    server.run(
        "INSERT INTO t WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 1000)
         SELECT a.n * 1000 + b.n, repeat('x', 100) FROM n AS a JOIN n AS b ON b.n <= 60",
    );
    let folder = Folder::new(&[]);
    let read = folder.read(json!({"table": "t", "database": server.url()})).unwrap();
    let ids: Vec<i64> = read.column("id").iter().map(|id| id.parse().unwrap()).collect();
    assert_eq!(ids.len(), 60_000);
    assert!(ids.is_sorted());
}

#[test]
fn what_cannot_be_read_is_said_when_opening() {
    let Some(server) = mysql() else { return };
    server.run("CREATE TABLE t (id int)");
    let folder = Folder::new(&[]);
    for (what, kind, words) in [
        (json!({"table": "nowhere"}), ErrorKind::NotFound, "doesn't exist"),
        (json!({"query": "SELECT ? FROM t"}), ErrorKind::Configuration, "parameters"),
        (json!({"query": "SELEC 1"}), ErrorKind::Configuration, "syntax"),
        (json!({"query": "SELECT 1 AS a, 2 AS a"}), ErrorKind::Schema, "two columns"),
        (json!({"query": "DELETE FROM t"}), ErrorKind::Configuration, "READ ONLY"),
    ] {
        let mut item = what;
        item["database"] = server.url().into();
        let error = folder.error(item);
        assert_eq!(error.kind(), kind, "{error:?}");
        let said = format!("{error} {:?}", error.causes());
        assert!(said.contains(words), "{said}");
    }
    let hasty = format!("{}?statement_timeout=1", server.url());
    let long = "SELECT count(*) AS n FROM information_schema.columns AS a, \
                information_schema.columns AS b, information_schema.columns AS c";
    let error = folder.error(json!({"query": long, "database": hasty}));
    assert_eq!(error.kind(), ErrorKind::Stopped, "{error:?}");
}
