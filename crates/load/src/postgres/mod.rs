//! PostgreSQL: workers encode rows for COPY, one transaction takes them, its commit publishes them.
//!
//! Records that only become new rows (`append`, `replace`) go straight into the table, where the
//! table stands alone in its database for the run and the server need not cast anything. All others
//! go into a temporary table first and are merged from there. Readers see the old rows until the
//! commit. A load holds an advisory lock on its table for as long as its transaction lasts, so that
//! two runs do not load one table at once, and the lock of a run that died is gone with its
//! connection.
//!
//! What the database refuses is found by the row that its message names, or by halving, behind
//! savepoints.

mod connection;
mod dimension;
mod index;
mod loads;
mod rows;
mod session;
mod silent;
mod stage;
mod target;

use std::sync::{Arc, OnceLock};

use arrow_schema::SchemaRef;
use chrono::{DateTime, Utc};
use gristmill_core::{Encoder, Findings, LoadContext, Loader, Preview, Result, Space};
use gristmill_database::{Address, error_of};

use crate::changes::known;
use crate::merge::{Merge, Outcome, Plan, empty};
use crate::part::{Staged, TableEncoder};
use crate::server::sides;
use crate::session::Shared;
use crate::statements::Silent;
use crate::table::{Mode, Options};
use crate::transaction::{Load, loader};
use rows::Copying;
use session::Session;
use stage::Stage;
use target::Target;

pub use loads::committed;

/// The table that records loads.
pub(crate) const LOADS: &str = loads::TABLE;
/// PostgreSQL allows no more.
pub(crate) const MAX_COLUMNS: usize = 1600;

/// A load of one table.
struct Postgres {
    options: Options,
    schema: SchemaRef,
    started: DateTime<Utc>,
    target: Target,
    shared: Shared<Session>,
    /// Number among the tables that the run loads in this database.
    number: u64,
    space: Space,
    /// How records get in; decided when all tables of the run are known.
    way: OnceLock<bool>,
    stage: Option<Stage>,
    /// What copies records straight into the table.
    direct: Option<Copying>,
    /// What records became that went straight into the table.
    outcome: Outcome,
    begun: bool,
    transaction: u64,
}

/// Opens the table. Answers which columns of the records it does not have, where they are not
/// loaded.
pub(crate) fn open(
    options: &Options,
    address: &Address,
    schema: &SchemaRef,
    context: &LoadContext<'_>,
) -> Result<(Box<dyn Loader>, Vec<usize>)> {
    let shared = session::join(address, context)?;
    let mut session = shared.lock();
    let (transaction, number) = session.begin(&options.table)?;
    let opened = Target::open(session.client()?, options, schema);
    let (target, unknown) = opened.inspect_err(|_| session.roll_back(&options.table))?;
    drop(session);
    let load = Postgres {
        options: options.clone(),
        schema: known(schema, &unknown),
        started: context.started,
        target,
        shared,
        number,
        space: context.space(),
        way: OnceLock::new(),
        stage: None,
        direct: None,
        outcome: Outcome::default(),
        begun: false,
        transaction,
    };
    Ok((loader(&options.table, address.name(), load), unknown))
}

impl Postgres {
    /// Whether records go straight into the table.
    fn is_direct(&self) -> bool {
        *self.way.get_or_init(|| {
            matches!(self.options.mode, Mode::Append | Mode::Replace)
                && self.target.takes_as_sent
                // COPY knows nothing of rules and policies.
                && self.target.silent == Silent::default()
                && self.target.changes.is_empty()
                && self.shared.lock().transactions.is_alone()
        })
    }

    /// What comes before the first row, once: constraints are told when to judge, and old rows that
    /// are replaced go.
    fn begin(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.begun, true) {
            return Ok(());
        }
        let session = self.shared.lock();
        let (client, target) = (session.client()?, &self.target);
        if session.transactions.is_alone() {
            // What is judged at the commit can be judged now, record by record.
            let begun = client.batch("SET CONSTRAINTS ALL IMMEDIATE");
            begun.map_err(|e| error_of(&cannot(&self.options.table), e))?;
        }
        if self.options.mode == Mode::Replace && target.existed {
            empty(client, &target.table, target.silent, &self.options.table)?;
        }
        Ok(())
    }

    /// Begins to stage records, if that was not done.
    fn stage(&mut self) -> Result<()> {
        if self.stage.is_none() {
            let session = self.shared.lock();
            session.transactions.check(self.transaction)?;
            let client = session.client()?;
            let Self { number, target, options, space, .. } = &*self;
            self.stage = Some(Stage::create(client, *number, target, options, space)?);
        }
        Ok(())
    }
}

fn cannot(table: &str) -> String {
    format!("cannot load table `{table}`")
}

impl Load for Postgres {
    type Chunk = Staged;

    fn encoder(&self) -> Arc<dyn Encoder> {
        Arc::new(TableEncoder(Arc::new(self.target.layout(&self.schema, !self.is_direct()))))
    }

    fn notes(&self) -> Vec<String> {
        let (table, change) = (&self.options.table, self.target.change_statement());
        let changed = !change.is_empty() && self.stage.is_some();
        changed.then(|| format!("table `{table}` is changed: {change};")).into_iter().collect()
    }

    fn take(&mut self, chunk: Staged, findings: &mut Findings) -> Result<u64> {
        let Staged { rows, origins, rejects, hashes } = chunk;
        rejects.into_iter().for_each(|reject| findings.reject(reject));
        let bytes = rows.value_bytes();
        if rows.is_empty() {
            return Ok(bytes);
        }
        let is_direct = self.is_direct();
        if is_direct {
            self.begin()?;
        } else {
            self.stage()?;
        }
        let session = self.shared.lock();
        session.transactions.check(self.transaction)?;
        let client = session.client()?;
        if let Some(stage) = &mut self.stage {
            stage.add(client, rows, origins, hashes, findings)?;
            if !session.transactions.is_alone() {
                // What loads another table needs the connection.
                stage.end_copy(client, findings)?;
            }
            return Ok(bytes);
        }
        let direct = self.direct.get_or_insert_with(|| {
            let into = format!("{} ({})", self.target.table, self.target.column_list());
            Copying::new(&into, &self.options.table, self.space.memory)
        });
        self.outcome.inserted += direct.add(client, rows, origins, findings)?;
        Ok(bytes)
    }

    fn settle(&mut self, findings: &mut Findings) -> Result<bool> {
        if let Some(direct) = &mut self.direct {
            let session = self.shared.lock();
            session.transactions.check(self.transaction)?;
            self.outcome.inserted += direct.end(session.client()?, findings)?;
        }
        let Some(stage) = &mut self.stage else { return Ok(false) };
        let session = self.shared.lock();
        session.transactions.check(self.transaction)?;
        stage.end_copy(session.client()?, findings)?;
        stage.complete(session.client()?, &self.target, &self.options)?;
        stage.reject_losers(session.client()?, findings)
    }

    fn merge(
        &mut self,
        plans: bool,
        findings: &mut Findings,
    ) -> Result<(Outcome, Option<Preview>)> {
        if self.stage.is_none() && self.options.mode == Mode::Scd2 {
            // An empty input may end rows, too.
            self.stage()?;
            self.settle(findings)?;
        }
        self.begin()?;
        let shared = self.shared.clone();
        let session = shared.lock();
        session.transactions.check(self.transaction)?;
        let client = session.client()?;
        let Self { target, options, stage, .. } = self;
        let loading = |e| error_of(&cannot(&options.table), e);
        let outcome = std::mem::take(&mut self.outcome);
        let merged = match stage {
            Some(stage) => {
                let lock = format!("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE", target.table);
                client.batch(&lock).map_err(loading)?;
                client.batch(&target.change_statement()).map_err(loading)?;
                let plan = match options.mode {
                    Mode::Scd2 => dimension::plan(client, target, options, stage, self.started)?,
                    _ => Plan::rows(client, sides(target, stage, options), options)?,
                };
                let merge = Merge {
                    database: client,
                    table: &options.table,
                    plan,
                    step: i64::MAX,
                    spool: &mut stage.records.spool,
                    outcome,
                    room: self.space.memory as u64 / 4,
                };
                merge.all(stage.records.last, plans, findings)?
            }
            None => (outcome, None),
        };
        client.batch(&target.finish_statements(options)).map_err(loading)?;
        loads::record(client, &session, target, options.mode, &merged.0)?;
        Ok(merged)
    }

    fn commit(&mut self) -> Result<()> {
        self.shared.lock().commit(self.transaction)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // The connection is busy until a COPY is given up.
        self.direct = None;
        self.stage = None;
        self.shared.lock().leave(self.transaction, &self.options.table);
    }
}
