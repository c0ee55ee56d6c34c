//! What a pipeline can say about tables and queries to read. The doc comments are the reference
//! text.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use gristmill_core::{FieldType, Mistake, Pointer};
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::cursor::Cursor;
use super::source::{Database, Relation, Wanted};

/// A table of a database.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Options")]
pub struct Table {
    /// Name of the table or view, in the upper and lower case that it has; `schema.table` for one
    /// of another schema. A part with a dot in it stands in double quotes.
    pub table: String,
    /// The database: `postgres://user@host:5432/name`, where a password may come from `PGPASSWORD`
    /// or the password file, and `sslmode`, `sslrootcert`, `connect_timeout` and `options` may
    /// follow as parameters; `mysql://user@host:3306/name` for MariaDB and MySQL, where a password
    /// may come from `MYSQL_PWD` or `~/.my.cnf`, and `sslmode`, `sslrootcert`, `connect_timeout`,
    /// `statement_timeout` and `socket` may follow; or `sqlite://` and a path relative to the
    /// pipeline file.
    pub database: String,
    /// Types of columns that are read as text otherwise: PostgreSQL's `numeric` without declared
    /// digits, and columns of SQLite whose declared type says nothing. Any other column with a
    /// type here is read as text too, and the text as this type.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, FieldType>")]
    pub columns: IndexMap<String, FieldType>,
    /// Reads only the records that are new since the last run that published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Cursor>,
    /// How many connections read a table at the same time, all of them at one moment. Records come
    /// in the same order whatever the number is. Of a table of PostgreSQL each reads some of its
    /// pages: as many as there are workers, but four at most, when left out; one reads what is
    /// small, views, and what a cursor leaves. MariaDB and MySQL are read by one when it is left
    /// out: others can only begin at the same moment while `LOCK TABLES … READ` keeps programs from
    /// changing the table, for some milliseconds, and the user needs the privilege for that. Each
    /// then reads ranges of the key. That pays where the server is another machine with processors
    /// to spare, since server and run do more work for it, and memory is for one connection per 32
    /// MiB of `limits.memory`. The table is one of InnoDB without partitions, whose primary key
    /// begins with a whole number, a date or a time. Where that is not so, or the lock is refused,
    /// or a transaction that changes the table does not end within a second, one connection reads
    /// all, and the report says why. SQLite is read by one: its rows are made by the run itself, and
    /// another connection would compete with the workers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<NonZeroUsize>,
}

/// What a query answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Options")]
pub struct Query {
    /// One SELECT statement. Without ORDER BY the database may give the records in another order
    /// each time.
    pub query: String,
    /// The database: `postgres://user@host:5432/name`, where a password may come from `PGPASSWORD`
    /// or the password file, and `sslmode`, `sslrootcert`, `connect_timeout` and `options` may
    /// follow as parameters; `mysql://user@host:3306/name` for MariaDB and MySQL, where a password
    /// may come from `MYSQL_PWD` or `~/.my.cnf`, and `sslmode`, `sslrootcert`, `connect_timeout`,
    /// `statement_timeout` and `socket` may follow; or `sqlite://` and a path relative to the
    /// pipeline file.
    pub database: String,
    /// Types of columns that are read as text otherwise: PostgreSQL's `numeric` without declared
    /// digits, which sums and averages are, and columns that SQLite computes. Any other column with
    /// a type here is read as text too, and the text as this type.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, FieldType>")]
    pub columns: IndexMap<String, FieldType>,
    /// Reads only the records that are new since the last run that published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Cursor>,
}

impl Table {
    pub(super) fn wanted(self) -> Result<Wanted, Mistake> {
        Ok(Wanted {
            database: Database::parse(&self.database)?,
            relation: Relation::table(&self.table)?,
            columns: self.columns,
            cursor: self.cursor,
            connections: self.connections,
        })
    }

    pub(super) fn check(&self) -> Vec<Mistake> {
        let relation = Relation::table(&self.table).err();
        let cursor = self.cursor.iter().flat_map(Cursor::check);
        let mut mistakes: Vec<_> = relation.into_iter().chain(cursor).collect();
        match Database::parse(&self.database) {
            Err(mistake) => mistakes.push(mistake),
            Ok(Database::Postgres(_) | Database::MySql(_)) => {}
            Ok(Database::Sqlite(_)) if self.connections.is_some_and(|many| many.get() > 1) => mistakes.push(
                Mistake::new(
                    Pointer::root().key("connections"),
                    "a SQLite file is read by one connection: another one would compete with the workers",
                )
                .hint("leave `connections` out"),
            ),
            Ok(_) => {}
        }
        mistakes
    }
}

impl Query {
    pub(super) fn wanted(self) -> Result<Wanted, Mistake> {
        Ok(Wanted {
            database: Database::parse(&self.database)?,
            relation: Relation::query(&self.query)?,
            columns: self.columns,
            cursor: self.cursor,
            connections: None,
        })
    }

    pub(super) fn check(&self) -> Vec<Mistake> {
        let relation = Relation::query(&self.query).err();
        let cursor = self.cursor.iter().flat_map(Cursor::check);
        relation.into_iter().chain(Database::parse(&self.database).err()).chain(cursor).collect()
    }
}

impl From<Table> for Value {
    /// The item that says the same in a pipeline file.
    fn from(table: Table) -> Self {
        serde_json::to_value(table).expect("names are texts")
    }
}

impl From<Query> for Value {
    /// The item that says the same in a pipeline file.
    fn from(query: Query) -> Self {
        serde_json::to_value(query).expect("names are texts")
    }
}

/// Mistakes in the names of types: the schema cannot say what a type looks like.
pub(super) fn check_types(item: &Value) -> Vec<Mistake> {
    let columns = item.get("columns").and_then(Value::as_object).into_iter().flatten();
    let wrong = columns.filter_map(|(name, declared)| {
        let message = declared.as_str()?.parse::<FieldType>().err()?;
        Some(Mistake::new(Pointer::root().key("columns").key(name), message))
    });
    wrong.collect()
}
