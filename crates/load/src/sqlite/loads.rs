//! `gristmill_loads`: one row for each load, committed with it.
//!
//! A run that dies near the commit is told apart by it: the row is there, and the load happened;
//! or it is not, and nothing did.

use std::path::Path;

use chrono::{DateTime, Utc};
use gristmill_core::{LoadContext, Loaded, Result};
use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::refused;
use crate::merge::Outcome;
use crate::table::Mode;

/// The table's name.
pub(crate) const TABLE: &str = "gristmill_loads";

pub(crate) fn create(connection: &Connection) -> Result<()> {
    connection
        .execute_batch(
            "CREATE TABLE IF NOT EXISTS main.gristmill_loads (\
             run TEXT NOT NULL, pipeline TEXT NOT NULL, destination TEXT NOT NULL, \
             mode TEXT NOT NULL, account TEXT NOT NULL, at TEXT NOT NULL, \
             PRIMARY KEY (run, destination))",
        )
        .map_err(|e| refused("cannot create the table `gristmill_loads`", e))
}

/// What an earlier attempt of this run made of a table, if one was committed.
pub(crate) fn find(connection: &Connection, run: &str, table: &str) -> Result<Option<Outcome>> {
    let account: Option<String> = connection
        .query_row(
            "SELECT account FROM main.gristmill_loads WHERE run = ?1 AND destination = ?2 COLLATE NOCASE",
            [run, table],
            |row| row.get(0),
        )
        .optional()
        .map_err(|e| refused("cannot read the table `gristmill_loads`", e))?;
    Ok(account.and_then(|account| serde_json::from_str(&account).ok()))
}

pub(crate) fn record(
    connection: &Connection,
    context: &Context,
    table: &str,
    outcome: &Outcome,
) -> Result<()> {
    let account = serde_json::to_string(outcome).unwrap_or_default();
    connection
        .execute(
            "INSERT INTO main.gristmill_loads (run, pipeline, destination, mode, account, at) \
             VALUES (?1, ?2, ?3, ?4, ?5, strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))",
            (&context.run, &context.pipeline, table, context.mode.name(), account),
        )
        .map_err(|e| refused("cannot write the table `gristmill_loads`", e))?;
    Ok(())
}

/// What of a run is recorded.
pub(crate) struct Context {
    pub(crate) run: String,
    pub(crate) pipeline: String,
    pub(crate) mode: Mode,
    pub(crate) started: DateTime<Utc>,
}

impl Context {
    pub(crate) fn new(context: &LoadContext<'_>, mode: Mode) -> Self {
        Self {
            run: context.run.to_owned(),
            pipeline: context.pipeline.to_owned(),
            mode,
            started: context.started,
        }
    }
}

/// Whether a run has loaded a table of a SQLite database, and what it made of the records: to tell
/// on which side of the commit a run died. A database that does not exist was not loaded.
///
/// # Errors
/// When the database cannot be read.
pub fn committed(database: &Path, run: &str, table: &str) -> Result<Option<Loaded>> {
    if !database.exists() {
        return Ok(None);
    }
    let reading = |e| refused(&format!("cannot read the database `{}`", database.display()), e);
    // What a run that died left half done is taken back by whoever opens the file next, and may.
    let connection = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_WRITE)
        .map_err(reading)?;
    let there: bool = connection
        .query_row("SELECT count(*) FROM sqlite_schema WHERE name = ?1", [TABLE], |row| row.get(0))
        .map_err(reading)?;
    if !there {
        return Ok(None);
    }
    let outcome = find(&connection, run, table)?;
    Ok(outcome.map(|outcome| outcome.loaded(0)))
}
