//! Sources that are read incrementally: what each run reads, and where the next one goes on.

use std::sync::Arc;

use gristmill_core::ErrorKind;
use gristmill_core::registry::Range;
use gristmill_scratch::{MySql, Postgres, mysql, postgres};
use serde_json::{Value, json};

use crate::support::{Folder, sqlite};

/// A database of each kind that there is.
enum Place {
    File(Folder),
    Server(Folder, Postgres),
    MySql(Folder, MySql),
}

fn places() -> Vec<Place> {
    let server = postgres().map(|server| Place::Server(Folder::new(&[]), server));
    let other = mysql().map(|server| Place::MySql(Folder::new(&[]), server));
    [Place::File(Folder::new(&[]))].into_iter().chain(server).chain(other).collect()
}

impl Place {
    fn run(&self, sql: &str) {
        match self {
            Place::File(folder) => sqlite(folder, "x.db", sql),
            Place::Server(_, server) => server.run(sql),
            Place::MySql(_, server) => {
                server.run(&sql.replace("at TIMESTAMP", "at TIMESTAMP(6) NULL"));
            }
        }
    }

    fn url(&self) -> &str {
        match self {
            Place::File(_) => "sqlite://x.db",
            Place::Server(_, server) => server.url(),
            Place::MySql(_, server) => server.url(),
        }
    }

    fn folder(&self) -> &Folder {
        match self {
            Place::File(folder) | Place::Server(folder, _) | Place::MySql(folder, _) => folder,
        }
    }

    /// The ids that a run reads, and the bookmarks that it leaves.
    fn read(&self, cursor: Value, range: &Range) -> (Vec<String>, Vec<(String, Value)>) {
        let item = json!({"table": "t", "database": self.url(), "cursor": cursor});
        let (read, bookmarks) = self.folder().read_range(item, range.clone()).unwrap();
        (read.column("id"), bookmarks)
    }
}

fn since(bookmarks: &[(String, Value)]) -> Range {
    Range::New(Arc::new(bookmarks.iter().cloned().collect()))
}

fn between(from: Option<&str>, to: Option<&str>) -> Range {
    Range::Between { from: from.map(str::to_owned), to: to.map(str::to_owned) }
}

const NOTHING: [&str; 0] = [];

#[test]
fn each_record_is_read_once() {
    for place in places() {
        place.run(
            "CREATE TABLE t (id INTEGER, at TIMESTAMP);
             INSERT INTO t VALUES (1, '2024-01-01 00:00:00'), (2, '2024-01-02 00:00:00.000001'),
                 (3, '2024-01-02 00:00:00.000001'), (4, NULL)",
        );
        let cursor = json!({"column": "at"});
        let (ids, first) = place.read(cursor.clone(), &Range::default());
        assert_eq!(ids, ["1", "2", "3"]);
        assert_eq!(first[0].1, "2024-01-02 00:00:00.000001");
        let (ids, second) = place.read(cursor.clone(), &since(&first));
        assert_eq!((ids.as_slice(), &second), (NOTHING.map(str::to_owned).as_slice(), &first));
        place.run(
            "INSERT INTO t VALUES (5, '2024-01-02 00:00:00.000002'), (6, '2023-01-01 00:00:00')",
        );
        let (ids, third) = place.read(cursor.clone(), &since(&second));
        assert_eq!(ids, ["5"]);
        // A range of its own reads what it says, and leaves no bookmark.
        let range = between(Some("2024-01-01 00:00:00"), Some("2024-01-02 00:00:00.000002"));
        let (ids, left) = place.read(cursor.clone(), &range);
        assert_eq!((ids, left), (["1", "2", "3"].map(str::to_owned).to_vec(), Vec::new()));
        let (ids, _) = place.read(cursor, &between(None, Some("2024-01-01 00:00:00")));
        assert_eq!(ids, ["6"]);
        let (ids, _) =
            place.read(json!({"column": "at", "start": "2024-01-02"}), &Range::default());
        assert_eq!(ids, ["2", "3", "5"]);
        // What a run read can be read again, whatever came since.
        let again = |after: &[(String, Value)], until: &[(String, Value)]| Range::Again {
            after: Arc::new(after.iter().cloned().collect()),
            until: Arc::new(until.iter().cloned().collect()),
        };
        let read = |after, until| place.read(json!({"column": "at"}), &again(after, until));
        assert_eq!(read(&[], &first), (["1", "2", "3", "6"].map(str::to_owned).to_vec(), vec![]));
        assert_eq!(read(&second, &third).0, ["5"]);
        assert_eq!((read(&third, &third).0, read(&first, &[]).0), (vec![], vec![]));
        // What another source left is not this one's.
        let other = json!({"column": "at", "name": "other"});
        assert_eq!(place.read(other, &since(&third)).0.len(), 5);
    }
}

#[test]
fn numbers_are_compared_as_numbers() {
    for place in places() {
        place.run("CREATE TABLE t (id INTEGER); INSERT INTO t VALUES (9), (10), (100)");
        let cursor = json!({"column": "id", "start": 10});
        let (ids, first) = place.read(cursor.clone(), &Range::default());
        assert_eq!(ids, ["10", "100"]);
        place.run("INSERT INTO t VALUES (11), (101)");
        assert_eq!(place.read(cursor.clone(), &since(&first)).0, ["101"]);
        assert_eq!(place.read(cursor, &between(Some("9"), Some("11"))).0, ["9", "10"]);
    }
}

#[test]
fn records_that_are_too_young_wait() {
    for place in places() {
        let (old, young) = match place {
            Place::File(_) => ("datetime('now', '-1 hour')", "datetime('now')"),
            Place::Server(..) => ("now() - interval '1 hour'", "now()"),
            Place::MySql(..) => ("now(6) - interval 1 hour", "now(6)"),
        };
        place.run(&format!(
            "CREATE TABLE t (id INTEGER, at TIMESTAMP);
             INSERT INTO t VALUES (1, {old}), (2, {young})"
        ));
        let cursor = json!({"column": "at", "lag": "10m"});
        let (ids, first) = place.read(cursor, &Range::default());
        assert_eq!(ids, ["1"]);
        // Later, with what was committed late: neither is lost, neither comes twice.
        place.run(&format!("INSERT INTO t VALUES (3, {young})"));
        assert_eq!(place.read(json!({"column": "at"}), &since(&first)).0, ["2", "3"]);
    }
}

/// A day that is not over may get more records.
#[test]
fn a_day_that_is_not_over_waits() {
    for place in places() {
        let (yesterday, today) = match place {
            Place::File(_) => ("date('now', '-1 day')", "date('now')"),
            Place::Server(..) => ("current_date - 1", "current_date"),
            Place::MySql(..) => ("utc_date() - interval 1 day", "utc_date()"),
        };
        place.run(&format!(
            "CREATE TABLE t (id INTEGER, day DATE); INSERT INTO t VALUES (1, {yesterday}), (2, {today})"
        ));
        let read = |cursor: Value| {
            let item = json!({"table": "t", "database": place.url(), "cursor": cursor});
            let (read, _) = place.folder().read_range(item, Range::default()).unwrap();
            (read.column("id"), read.notes)
        };
        let (ids, notes) = read(json!({"column": "day", "lag": "1ms"}));
        assert_eq!((ids, notes.len()), (vec!["1".to_owned()], 0));
        let (ids, _) = read(json!({"column": "day", "lag": "48h"}));
        assert_eq!(ids, NOTHING);
        let (ids, notes) = read(json!({"column": "day"}));
        assert_eq!(ids.len(), 2);
        assert!(notes[0].contains("`day` of `t` is a date"), "{notes:?}");
    }
}

/// A database that is one of yesterday again has records that were read, and then others.
#[test]
fn a_column_that_ends_before_the_last_run_is_said() {
    for place in places() {
        place.run("CREATE TABLE t (id INTEGER); INSERT INTO t VALUES (7), (12)");
        let item = json!({"table": "t", "database": place.url(), "cursor": {"column": "id"}});
        let read = |range: &Range| place.folder().read_range(item.clone(), range.clone()).unwrap();
        let (_, first) = read(&Range::default());
        let (none, second) = read(&since(&first));
        assert_eq!((none.columns.num_rows(), none.notes.len(), &second), (0, 0, &first));
        place.run("DELETE FROM t WHERE id = 12");
        let (none, third) = read(&since(&second));
        assert_eq!((none.columns.num_rows(), &third), (0, &first));
        let note = &none.notes[0];
        assert!(
            note.starts_with("`id` of `t` ends at 7, before 12, where the last run ended"),
            "{note}"
        );
        place.run("DELETE FROM t");
        assert_eq!(read(&since(&third)).0.notes, NOTHING);
    }
}

#[test]
fn a_query_is_read_on_as_a_table_is() {
    for place in places() {
        place.run(
            "CREATE TABLE t (id INTEGER, at TIMESTAMP);
             INSERT INTO t VALUES (1, '2024-01-01 00:00:00'), (2, '2024-01-02 00:00:00')",
        );
        let query = "WITH w AS (SELECT id + 10 AS id, at AS seen FROM t) SELECT * FROM w -- all";
        let item = json!({"query": query, "database": place.url(), "cursor": {"column": "seen"}});
        let read = |range: Range| {
            let (read, left) = place.folder().read_range(item.clone(), range).unwrap();
            (read.column("id"), left)
        };
        let (ids, first) = read(Range::default());
        assert_eq!(ids, ["11", "12"]);
        assert!(first[0].0.starts_with("query of "), "{first:?}");
        place.run("INSERT INTO t VALUES (3, '2024-01-03 00:00:00')");
        assert_eq!(read(since(&first)).0, ["13"]);
    }
}

/// The hour that comes twice in autumn is two hours.
#[test]
fn instants_are_compared_whatever_their_zone() {
    let Some(server) = postgres() else { return };
    let place = Place::Server(Folder::new(&[]), server);
    place.run(
        "CREATE TABLE t (id int, at timestamptz);
         INSERT INTO t VALUES (1, '2024-10-27 02:30 CEST'), (2, '2024-10-27 02:10+01')",
    );
    let cursor = json!({"column": "at"});
    let (ids, _) = place.read(
        cursor.clone(),
        &between(Some("2024-10-27T02:30:00+02:00"), Some("2024-10-27T02:10:00+01:00")),
    );
    assert_eq!(ids, ["1"]);
    let (_, first) = place.read(cursor.clone(), &Range::default());
    assert_eq!(first[0].1, "2024-10-27 01:10:00+00");
    place.run("INSERT INTO t VALUES (3, '2024-10-27 02:45 CEST'), (4, '2024-10-27 02:45 CET')");
    assert_eq!(place.read(cursor, &since(&first)).0, ["4"]);
}

/// SQLite compares times as texts.
#[test]
fn times_in_several_forms_are_no_cursor() {
    for (times, last) in [
        ("('2024-01-01T00:00:00'), ('2024-01-01 00:00:00')", None),
        ("('2024-01-01T00:00:00Z'), ('2024-01-01T00:00:00+02:00')", None),
        ("('2024-01-01T00:00:00.5Z'), ('2024-01-01T00:00:00Z')", None),
        ("('2024-01-01 00:00:00'), (1704067200)", None),
        ("('2024-01-02T00:00:00')", Some("2024-01-01 00:00:00")),
    ] {
        let place = Place::File(Folder::new(&[]));
        place.run(&format!("CREATE TABLE t (at DATETIME); INSERT INTO t VALUES {times}, (NULL)"));
        let range = last.map_or_else(Range::default, |last| {
            since(&[("t of x.db by at".to_owned(), json!(last))])
        });
        let item = json!({"table": "t", "database": place.url(), "cursor": {"column": "at"}});
        let Err(error) = place.folder().read_range(item, range) else { panic!("{times}") };
        assert!(error.to_string().contains("do not sort"), "{error}");
        assert!(error.hint_text().unwrap().contains("strftime"));
    }
    let place = Place::File(Folder::new(&[]));
    place.run(
        "CREATE TABLE t (id, at DATETIME); INSERT INTO t VALUES (1, '2024-01-01 00:00:00.25'),
         (2, '2024-01-01 00:00:00'), (3, NULL)",
    );
    assert_eq!(place.read(json!({"column": "at"}), &Range::default()).0, ["1", "2"]);
}

/// `infinity` would be the end of all reading.
#[test]
fn an_infinite_time_is_no_end() {
    let Some(server) = postgres() else { return };
    let place = Place::Server(Folder::new(&[]), server);
    place.run("CREATE TABLE t (id int, at timestamptz)");
    place.run("INSERT INTO t VALUES (1, 'infinity'), (2, '2024-01-01 00:00+02'), (3, '-infinity')");
    let (_, first) = place.read(json!({"column": "at", "start": "2000-01-01"}), &Range::default());
    assert_eq!(first[0].1, "2023-12-31 22:00:00+00");
}

#[test]
fn what_is_no_value_of_the_cursor_is_refused() {
    for place in places() {
        place.run(
            "CREATE TABLE t (id INTEGER, at TIMESTAMP);
             INSERT INTO t VALUES (1, '2024-01-01 00:00:00'), (2, '2024-01-02 00:00:00')",
        );
        let refused = |column: &str, range: &Range| {
            let cursor = json!({"column": column});
            let item = json!({"table": "t", "database": place.url(), "cursor": cursor});
            let error = place.folder().read_range(item, range.clone()).err().unwrap();
            format!("{error} {}", error.causes().join(" "))
        };
        for value in ["2024-13-01", "01.02.24x", ""] {
            let message = refused("at", &between(Some(value), None));
            assert!(message.contains(value), "{message}");
        }
        refused("id", &between(None, Some("soon")));
        let ids = |from, to| place.read(json!({"column": "at"}), &between(from, to)).0;
        assert_eq!(ids(Some("2024-01-02"), None), ["2"]);
        assert_eq!(ids(None, Some("2024-01-01 12:00:00")), ["1"]);
        if let Place::File(_) = place {
            // Compared as texts, a `T` would be behind all blanks.
            let message = refused("at", &between(Some("2024-01-02T00:00:00"), None));
            assert!(message.starts_with("`2024-01-02T00:00:00` is no value of"), "{message}");
        }
    }
}

#[test]
fn a_column_that_is_no_cursor_is_refused() {
    for place in places() {
        place.run("CREATE TABLE t (id INTEGER, name TEXT, at TIMESTAMP)");
        let error = |cursor: Value| {
            let item = json!({"table": "t", "database": place.url(), "cursor": cursor});
            let error = place.folder().error(item);
            (error.kind(), error.to_string())
        };
        assert_eq!(error(json!({"column": "nowhere"})).0, ErrorKind::Schema);
        let (kind, message) = error(json!({"column": "id", "lag": "1h"}));
        assert_eq!(kind, ErrorKind::Configuration);
        assert!(message.contains("`lag` is for times"), "{message}");
    }
}
