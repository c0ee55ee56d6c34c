//! SQLite: records are staged as they come, merged in one transaction and published by its commit.
//!
//! Staging takes no lock: workers lay rows out as SQLite's own pages, and a temporary file takes
//! them up. The transaction that merges is short; into a plain table it copies rows as they are.
//! Readers wait or see the old rows until the commit. Neither the journal mode nor `synchronous`
//! of a database is changed; foreign keys are enforced.
//!
//! Values are stored exactly. Where a created column cannot hold a type, it holds its text: see
//! the declared types of a created table in the option reference. A column of an existing table
//! keeps its own affinity, so that a decimal in a column declared `DECIMAL` becomes what SQLite
//! makes of it.

mod cells;
mod dimension;
mod image;
mod loads;
mod merge;
mod pages;
mod part;
mod record;
mod session;
mod stage;
mod target;

use std::path::PathBuf;
use std::sync::Arc;

use arrow_schema::SchemaRef;
use gristmill_core::{Encoder, Error, ErrorKind, Findings, LoadContext, Loader, Preview, Result};
use rusqlite::{Connection, ErrorCode};

pub use loads::committed;

use loads::Context;
use part::{Layout, Staged, TableEncoder};
use session::Session;
use stage::Stage;
use target::Target;

use crate::changes::known;
use crate::merge::{Merge, Outcome, Plan, RANGE, empty, reject_refused};
use crate::session::Shared;
use crate::table::{Create, Mode, Options};
use crate::transaction::{Load, loader};

/// The table that records loads.
pub(crate) const LOADS: &str = loads::TABLE;
/// SQLite allows no more.
pub(crate) const MAX_COLUMNS: usize = 2000;

/// How a database keeps text, by its number in the file's header.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Encoding {
    #[default]
    Utf8 = 1,
    Utf16Le = 2,
    Utf16Be = 3,
}

/// A load of one table.
struct Sqlite {
    options: Options,
    schema: SchemaRef,
    context: Context,
    target: Target,
    shared: Shared<Session>,
    stage: Stage,
    /// Memory that rejects of the merge may take.
    room: u64,
    /// The one that records are merged in.
    transaction: Option<u64>,
}

/// Opens the table. Answers which columns of the records it does not have, where they are not
/// loaded.
pub(crate) fn open(
    options: &Options,
    path: PathBuf,
    schema: &SchemaRef,
    context: &LoadContext<'_>,
) -> Result<(Box<dyn Loader>, Vec<usize>)> {
    let name = path.display().to_string();
    let may_create = options.create == Create::IfMissing;
    let shared = session::join(&name, &context.base.join(path), may_create, context)?;
    let mut session = shared.lock();
    let unknown = target::unknown(session.connection()?, options, schema)?;
    let schema = &known(schema, &unknown);
    let target = Target::inspect(session.connection()?, options, schema)?;
    if !options.keys.is_empty() {
        let cannot = |e| refused(&format!("cannot open the database `{name}`"), e);
        session.look_up(context.memory.0).map_err(cannot)?;
    }
    let number = session.claim(&options.table)?;
    let stage = Stage::create(number, &target, options.duplicates, &context.space());
    let stage = stage.inspect_err(|_| session.release(&options.table))?;
    drop(session);
    let load = Sqlite {
        options: options.clone(),
        schema: Arc::clone(schema),
        context: Context::new(context, options.mode),
        target,
        shared,
        stage,
        room: context.memory.0 / 4,
        transaction: None,
    };
    Ok((loader(&options.table, &name, load), unknown))
}

impl Sqlite {
    fn attempt(
        &mut self,
        plans: bool,
        findings: &mut Findings,
    ) -> Result<(Outcome, Option<Preview>)> {
        let shared = self.shared.clone();
        let mut session = shared.lock();
        self.transaction = Some(session.begin()?);
        // A record that another table of the run refers to may come with that table.
        let alone = session.transactions.is_alone();
        let connection = session.connection()?;
        loads::create(connection)?;
        let earlier = loads::find(connection, &self.context.run, &self.target.name)?;
        if let Some(earlier) = earlier {
            for (seq, message) in &earlier.refused {
                reject_refused(*seq, message, &mut self.stage.records.spool, findings)?;
            }
            return Ok((earlier, None));
        }
        if Target::inspect(connection, &self.options, &self.schema)? != self.target {
            return Err(Error::new(
                ErrorKind::Transient,
                format!("table `{}` was changed during the run", self.options.table),
            )
            .hint("run again"));
        }
        let name = self.options.table.clone();
        let writing = |e| refused(&format!("cannot write table `{name}`"), e);
        let broken = if alone { broken_references(connection).map_err(writing)? } else { None };
        let (table, key) = self.target.create_statements(&self.options);
        if !self.target.exists {
            connection.execute_batch(&table).map_err(writing)?;
        }
        for statement in &self.target.changes {
            connection.execute_batch(statement).map_err(writing)?;
        }
        if self.options.mode == Mode::Replace {
            let table = format!("main.{}", quoted(&self.target.name));
            empty(connection, &table, self.target.silent, &name)?;
        }
        let merged = self.load(connection, plans, findings)?;
        // An index over all rows is made faster than one that grows with them.
        if let (false, Some(key)) = (self.target.exists, key) {
            connection.execute_batch(&key).map_err(writing)?;
        }
        if broken.is_some() && broken_references(connection).map_err(writing)? > broken {
            return Err(Error::new(
                ErrorKind::Destination,
                format!(
                    "the load of table `{}` would break deferred foreign keys",
                    self.options.table
                ),
            )
            .hint("load the rows that are referred to first, or together with this table"));
        }
        loads::record(connection, &self.context, &self.target.name, &merged.0)?;
        Ok(merged)
    }

    fn load(
        &mut self,
        connection: &Connection,
        plans: bool,
        findings: &mut Findings,
    ) -> Result<(Outcome, Option<Preview>)> {
        let Self { target, stage, options, .. } = self;
        let plan = if options.mode == Mode::Scd2 {
            let started = self.context.started;
            dimension::plan(connection, target, options, stage, started)?
        } else {
            let sides = merge::sides(target, stage, options);
            let plan = Plan::rows(connection, sides, options)?;
            if plan.only_adds() && merge::copy(connection, target, stage)? {
                let inserted = stage.records.last as u64;
                return Ok((Outcome { inserted, ..Outcome::default() }, None));
            }
            plan
        };
        let merge = Merge {
            database: connection,
            table: &target.name,
            plan,
            step: RANGE,
            spool: &mut stage.records.spool,
            outcome: Outcome::default(),
            room: self.room,
        };
        merge.all(stage.records.last, plans, findings)
    }
}

/// References to rows that do not exist, where the database judges some of them at the commit:
/// by then it is too late to say which.
fn broken_references(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    let deferred: bool = connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM main.sqlite_schema WHERE sql LIKE '%INITIALLY%DEFERRED%')",
        [],
        |row| row.get(0),
    )?;
    if !deferred {
        return Ok(None);
    }
    connection
        .query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |row| row.get(0))
        .map(Some)
}

impl Load for Sqlite {
    type Chunk = Staged;

    fn encoder(&self) -> Arc<dyn Encoder> {
        Arc::new(TableEncoder(Arc::new(Layout::new(&self.target, &self.schema))))
    }

    fn notes(&self) -> Vec<String> {
        let table = &self.options.table;
        self.target.changes.iter().map(|sql| format!("table `{table}` is changed: {sql}")).collect()
    }

    fn take(&mut self, chunk: Staged, findings: &mut Findings) -> Result<u64> {
        let bytes = chunk.bytes;
        self.stage.add(chunk, findings)?;
        Ok(bytes)
    }

    fn settle(&mut self, findings: &mut Findings) -> Result<bool> {
        let session = self.shared.lock();
        let connection = session.connection()?;
        self.stage.seal(connection)?;
        self.stage.reject_losers(connection, findings)
    }

    fn merge(
        &mut self,
        plans: bool,
        findings: &mut Findings,
    ) -> Result<(Outcome, Option<Preview>)> {
        let merged = self.attempt(plans, findings);
        merged.inspect_err(|_| self.shared.lock().roll_back())
    }

    fn commit(&mut self) -> Result<()> {
        let transaction = self.transaction.ok_or_else(|| Error::internal("nothing was merged"))?;
        self.shared.lock().commit(transaction)
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        let mut session = self.shared.lock();
        if let Some(transaction) = self.transaction {
            session.abandon(transaction);
        }
        session.release(&self.options.table);
        if let Ok(connection) = session.connection() {
            self.stage.detach(connection);
        }
    }
}

/// A name as SQL writes it.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// What the database said, as an error of the run.
pub(crate) fn refused(what: &str, error: rusqlite::Error) -> Error {
    let (kind, hint) = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => (
            ErrorKind::Transient,
            Some("another program is writing to the database; run again when it is done"),
        ),
        Some(ErrorCode::DiskFull) => {
            (ErrorKind::Io, Some("the disk is full; nothing was published"))
        }
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => (
            ErrorKind::Permission,
            Some(
                "the file and its folder must be writable: SQLite keeps a journal beside the database",
            ),
        ),
        Some(ErrorCode::NotADatabase) => {
            (ErrorKind::Destination, Some("the file is not a SQLite database; name another one"))
        }
        Some(ErrorCode::DatabaseCorrupt) => {
            (ErrorKind::Corrupt, Some("SQLite's `PRAGMA integrity_check` says what is damaged"))
        }
        Some(ErrorCode::SystemIoFailure) => (ErrorKind::Io, None),
        _ => (ErrorKind::Destination, None),
    };
    let outer = Error::new(kind, what).caused_by(error);
    match hint {
        Some(hint) => outer.hint(hint),
        None => outer,
    }
}
