//! Tables and queries of databases: PostgreSQL, MariaDB, MySQL and SQLite.
//!
//! A source is read in one read-only transaction, so that all of it is of one moment, and in the
//! order that the database gives. The caller's thread cuts what comes into pieces at the end of a
//! row; workers make columns of them. A value that its column cannot hold without a change
//! (`infinity` as a date, text in an integer column of SQLite) rejects its record.

mod cells;
mod cursor;
mod cut;
mod kept;
mod library;
mod mysql;
mod options;
mod postgres;
mod rows;
mod source;
mod sqlite;
mod stepped;

use gristmill_core::{Error, ErrorKind, ExtractContext, Extractor, ExtractorKind, Result};
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use cursor::Cursor;
pub use options::{Query, Table};

use kept::Kept;
use source::Wanted;

/// The registry's entry for tables.
pub const TABLE: ExtractorKind = ExtractorKind {
    name: "table",
    about: "Reads a table or a view of a database: PostgreSQL, MariaDB, MySQL or SQLite.",
    example: "table: funds\ndatabase: postgres://etl@db.example.com/warehouse\n\
              cursor:\n  column: updated_at\n  lag: 10m\n",
    schema: |generator| generator.subschema_for::<Table>(),
    check: |item| checked(item, Table::check),
    open: |item, context| open(read::<Table>(item)?.wanted(), context),
};

/// The registry's entry for queries.
pub const QUERY: ExtractorKind = ExtractorKind {
    name: "query",
    about: "Reads what a query of a database answers: PostgreSQL, MariaDB, MySQL or SQLite.",
    example: "query: SELECT code, sum(aum) AS aum FROM funds GROUP BY code ORDER BY code\n\
              database: sqlite://warehouse.db\n\
              columns:\n  aum: decimal(18, 2)\n",
    schema: |generator| generator.subschema_for::<Query>(),
    check: |item| checked(item, Query::check),
    open: |item, context| open(read::<Query>(item)?.wanted(), context),
};

fn read<T: DeserializeOwned>(item: &Value) -> Result<T> {
    serde_json::from_value(item.clone()).map_err(|error| {
        Error::new(ErrorKind::Configuration, "the options of a database source cannot be read")
            .caused_by(error)
    })
}

/// Mistakes in an item that fits the schema.
fn checked<T: DeserializeOwned>(
    item: &Value,
    check: impl Fn(&T) -> Vec<gristmill_core::Mistake>,
) -> Vec<gristmill_core::Mistake> {
    let mistakes = options::check_types(item);
    if !mistakes.is_empty() {
        return mistakes;
    }
    match serde_json::from_value(item.clone()) {
        Ok(options) => check(&options),
        Err(error) => {
            vec![gristmill_core::Mistake::new(gristmill_core::Pointer::root(), error.to_string())]
        }
    }
}

fn open(
    wanted: Result<Wanted, gristmill_core::Mistake>,
    context: &ExtractContext,
) -> Result<Box<dyn Extractor>> {
    let wanted =
        wanted.map_err(|mistake| Error::new(ErrorKind::Configuration, mistake.message.clone()))?;
    Ok(Box::new(Kept::open(wanted, context)?))
}
