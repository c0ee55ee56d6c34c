//! A place to load tables into, of one kind of database or another.

use std::path::Path;

use gristmill_scratch::Postgres;
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use tempfile::{TempDir, tempdir};

/// A database of its own.
pub(crate) struct Warehouse {
    folder: TempDir,
    postgres: Option<Postgres>,
}

impl Warehouse {
    pub(crate) fn sqlite() -> Option<Self> {
        Some(Self { folder: tempdir().unwrap(), postgres: None })
    }

    /// None where the tests have no server.
    pub(crate) fn postgres() -> Option<Self> {
        let database = gristmill_scratch::postgres()?;
        Some(Self { folder: tempdir().unwrap(), postgres: Some(database) })
    }

    /// The folder of the pipeline file.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn url(&self) -> &str {
        self.postgres.as_ref().map_or("sqlite://test.db", Postgres::url)
    }

    fn connection(&self) -> Connection {
        Connection::open(self.folder().join("test.db")).unwrap()
    }

    pub(crate) fn run(&self, sql: &str) {
        match &self.postgres {
            Some(database) => database.run(sql),
            None => self.connection().execute_batch(sql).unwrap(),
        }
    }

    /// One statement or the other.
    pub(crate) fn run_either(&self, sqlite: &str, postgres: &str) {
        self.run(self.either(sqlite, postgres));
    }

    pub(crate) fn either<'a>(&self, sqlite: &'a str, postgres: &'a str) -> &'a str {
        if self.postgres.is_some() { postgres } else { sqlite }
    }

    /// The rows of a query as text.
    pub(crate) fn rows(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        if let Some(database) = &self.postgres {
            return database.texts(sql);
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
        if self.postgres.is_none() {
            return column.to_owned();
        }
        format!(
            "CASE pg_typeof({column}) WHEN 'date'::regtype THEN {column}::text \
             ELSE to_char({column}::timestamptz, 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') END"
        )
    }
}
