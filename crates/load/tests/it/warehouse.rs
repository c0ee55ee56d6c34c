//! A place to load tables into, of one kind of database or another.

use std::path::Path;

use gristmill_scratch::{MySql, Postgres};
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};

/// Tests on each of these kinds of databases, in a module for each; nothing is done where the tests
/// have no server.
macro_rules! on {
    (@$place:ident [$($test:ident),* $(,)?]) => {
        mod $place {
            $(#[test]
            fn $test() {
                if let Some(warehouse) = crate::warehouse::Warehouse::$place() {
                    super::$test(&warehouse);
                }
            })*
        }
    };
    ($($place:ident),*: $tests:tt) => {
        $(on!(@$place $tests);)*
    };
}

/// A database of its own.
pub(crate) struct Warehouse {
    folder: TempDir,
    place: Place,
}

enum Place {
    Sqlite,
    Postgres(Postgres),
    MySql(MySql),
}

impl Warehouse {
    fn new(place: Place) -> Self {
        Self { folder: tempdir().unwrap(), place }
    }

    pub(crate) fn sqlite() -> Option<Self> {
        Some(Self::new(Place::Sqlite))
    }

    /// None where the tests have no server.
    pub(crate) fn postgres() -> Option<Self> {
        gristmill_scratch::postgres().map(Place::Postgres).map(Self::new)
    }

    /// None where the tests have no server.
    pub(crate) fn mysql() -> Option<Self> {
        gristmill_scratch::mysql().map(Place::MySql).map(Self::new)
    }

    /// Another one of its kind.
    pub(crate) fn another(&self) -> Option<Self> {
        match &self.place {
            Place::Sqlite => Self::sqlite(),
            Place::Postgres(_) => Self::postgres(),
            Place::MySql(_) => Self::mysql(),
        }
    }

    /// A destination: a table that is appended to.
    pub(crate) fn append_to(&self, table: &str) -> Value {
        json!({"table": table, "database": self.url()})
    }

    /// A destination: a table that has keys.
    pub(crate) fn upsert_to(&self, table: &str, keys: &[&str]) -> Value {
        json!({"table": table, "database": self.url(), "mode": "upsert", "keys": keys})
    }

    /// The folder of the pipeline file.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn url(&self) -> &str {
        match &self.place {
            Place::Sqlite => "sqlite://test.db",
            Place::Postgres(database) => database.url(),
            Place::MySql(database) => database.url(),
        }
    }

    fn connection(&self) -> Connection {
        Connection::open(self.folder().join("test.db")).unwrap()
    }

    pub(crate) fn run(&self, sql: &str) {
        match &self.place {
            Place::Sqlite => self.connection().execute_batch(sql).unwrap(),
            Place::Postgres(database) => database.run(sql),
            Place::MySql(database) => database.run(sql),
        }
    }

    /// What SQLite, PostgreSQL, or MariaDB and MySQL have in its place.
    pub(crate) fn either<'a>(&self, words: [&'a str; 3]) -> &'a str {
        match &self.place {
            Place::Sqlite => words[0],
            Place::Postgres(_) => words[1],
            Place::MySql(_) => words[2],
        }
    }

    /// Ends all connections to the server.
    pub(crate) fn disconnect(&self) {
        match &self.place {
            Place::Sqlite => {}
            Place::Postgres(database) => database.run(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                 WHERE datname = current_database() AND pid <> pg_backend_pid()",
            ),
            Place::MySql(database) => database.disconnect(),
        }
    }

    /// The rows of a query as text.
    pub(crate) fn rows(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        match &self.place {
            Place::Sqlite => {}
            Place::Postgres(database) => return database.texts(sql),
            Place::MySql(database) => return database.texts(sql),
        }
        let connection = self.connection();
        let mut statement = connection.prepare(sql).unwrap();
        let columns = statement.column_count();
        let text = |value: ValueRef<'_>| match value {
            ValueRef::Null => None,
            ValueRef::Integer(number) => Some(number.to_string()),
            ValueRef::Real(number) => Some(number.to_string()),
            ValueRef::Text(text) => Some(String::from_utf8(text.to_vec()).unwrap()),
            ValueRef::Blob(_) => panic!("a blob"),
        };
        let rows = statement
            .query_map([], |row| (0..columns).map(|i| Ok(text(row.get_ref(i)?))).collect());
        rows.unwrap().collect::<Result<_, _>>().unwrap()
    }

    /// The rows of a query, each as one line.
    pub(crate) fn lines(&self, sql: &str) -> Vec<String> {
        let shown = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        let line =
            |row: Vec<Option<String>>| row.into_iter().map(shown).collect::<Vec<_>>().join(" ");
        self.rows(sql).into_iter().map(line).collect()
    }

    /// A column of dates or instants in the form that SQLite keeps.
    pub(crate) fn iso(&self, column: &str) -> String {
        match &self.place {
            Place::Sqlite => column.to_owned(),
            Place::Postgres(_) => format!(
                "CASE pg_typeof({column}) WHEN 'date'::regtype THEN {column}::text \
                 ELSE to_char({column}::timestamptz, 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') END"
            ),
            Place::MySql(_) => format!(
                "CASE WHEN length({column}) = 10 THEN {column} \
                 ELSE date_format({column}, '%Y-%m-%dT%H:%i:%s.%fZ') END"
            ),
        }
    }
}
