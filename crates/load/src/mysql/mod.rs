//! MariaDB and MySQL: workers write rows for `LOAD DATA`, one transaction takes them, its commit
//! publishes them.
//!
//! Records that only become new rows (`append`, `replace`) go straight into the table. All others,
//! and those of a chunk of which the table refuses some, go into a temporary table first and are
//! merged from there by strict statements: `LOAD DATA LOCAL` itself would change values that do not
//! fit and drop rows that are refused, with a warning. Readers see the old rows until the commit. A load holds a lock by name on its table, so that two runs do not load one table at
//! once, and the lock of a run that died is gone with its connection. Tables without transactions
//! are refused.

mod catalogue;
mod change;
mod connection;
mod dimension;
mod direct;
mod fresh;
mod index;
mod loads;
mod session;
mod stage;
mod target;

use std::sync::Arc;

use arrow_schema::SchemaRef;
use chrono::{DateTime, Utc};
use gristmill_core::{
    Encoder, Findings, LoadContext, Loader, Origin, Preview, Result, Rows as Ordinals,
};
use gristmill_database::mysql::Address;
use gristmill_database::rows::Rows;

use crate::changes::known;
use crate::merge::{Merge, Outcome, Plan, empty};
use crate::part::{Staged, TableEncoder};
use crate::server::sides;
use crate::session::Shared;
use crate::statements::Silent;
use crate::table::{Mode, Options};
use crate::transaction::{Load, loader};
use direct::Direct;
use session::Session;
use stage::Stage;
use target::Target;

pub use loads::committed;

/// The table that records loads.
pub(crate) const LOADS: &str = loads::TABLE;
/// InnoDB allows 1017, of which a load keeps some.
pub(crate) const MAX_COLUMNS: usize = 1010;

/// Records in one attempt: what is refused has to be taken back, which is slow.
const STEP: i64 = 65_536;

/// A load of one table.
struct MySql {
    options: Options,
    schema: SchemaRef,
    started: DateTime<Utc>,
    target: Target,
    shared: Shared<Session>,
    /// Memory that rejects of the merge may take.
    room: u64,
    stage: Stage,
    /// The way of records that need not be staged, and what became of them.
    direct: Option<Direct>,
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
    let (transaction, number) = session.claim(&options.table)?;
    let space = context.space();
    let opened = Target::open(&mut session, number, options, schema);
    let opened = opened.and_then(|(target, unknown)| {
        let stage = Stage::create(session.client()?, number, &target, options, &space)?;
        Ok((target, stage, unknown))
    });
    let (target, stage, unknown) =
        opened.inspect_err(|_| session.leave(transaction, &options.table))?;
    let is_direct = matches!(options.mode, Mode::Append | Mode::Replace)
            && target.takes_as_sent
            // A table is changed as late as possible.
            && target.changes.is_empty()
            && session.client()?.takes_files();
    drop(session);
    let load = MySql {
        options: options.clone(),
        schema: known(schema, &unknown),
        started: context.started,
        direct: is_direct.then(|| Direct::new(&target)),
        target,
        shared,
        room: space.memory as u64 / 4,
        stage,
        outcome: Outcome::default(),
        begun: false,
        transaction,
    };
    Ok((loader(&options.table, address.name(), load), unknown))
}

impl MySql {
    /// Begins to change the table, once: old rows that are replaced go.
    fn begin(&mut self, session: &mut Session) -> Result<()> {
        session.transactions.check(self.transaction)?;
        session.begin(&self.options.table, self.target.planned)?;
        let first = !std::mem::replace(&mut self.begun, true);
        if first && self.options.mode == Mode::Replace && self.target.existed {
            let table = &self.options.table;
            empty(session.client()?, &self.target.table, Silent::default(), table)?;
        }
        Ok(())
    }

    /// Loads a chunk, straight into the table if that takes all of it.
    fn load(
        &mut self,
        rows: Rows,
        origins: &[(Arc<Origin>, Ordinals)],
        hashes: Vec<u64>,
        findings: &mut Findings,
    ) -> Result<()> {
        let shared = self.shared.clone();
        let mut session = shared.lock();
        session.transactions.check(self.transaction)?;
        let rows = self.stage.number(rows);
        if self.direct.is_none() {
            return self.stage.add(session.client()?, rows, origins, hashes);
        }
        self.begin(&mut session)?;
        let Self { target, options, stage, direct, outcome, .. } = self;
        let client = session.client()?;
        let count = rows.ends.len() as i64;
        if let Some(direct) = direct
            && direct.load(client, &rows, &options.table)?
        {
            outcome.inserted += count as u64;
            return Ok(());
        }
        stage.add(client, rows, origins, hashes)?;
        let last = stage.records.last;
        let merge = Merge {
            database: client,
            table: &options.table,
            plan: Plan::rows(client, sides(target, stage, options), options)?,
            step: STEP,
            spool: &mut stage.records.spool,
            outcome: std::mem::take(outcome),
            room: self.room,
        };
        *outcome = merge.run(last - count + 1, last, findings)?;
        // They are written down by now.
        outcome.refused.clear();
        stage.clear(client)
    }
}

impl Load for MySql {
    type Chunk = Staged;

    fn encoder(&self) -> Arc<dyn Encoder> {
        Arc::new(TableEncoder(Arc::new(self.target.layout(&self.schema, true))))
    }

    fn plan(&mut self) {
        self.target.as_it_is();
    }

    fn notes(&self) -> Vec<String> {
        let (table, change) = (&self.options.table, self.target.change_statement());
        let left = match self.target.planned {
            true => {
                "; a plan does not: values of new columns are not compared, and what only wider ones hold is rejected"
            }
            false => "",
        };
        let changed = !change.is_empty();
        changed.then(|| format!("table `{table}` is changed: {change}{left}")).into_iter().collect()
    }

    fn take(&mut self, chunk: Staged, findings: &mut Findings) -> Result<u64> {
        let Staged { rows, origins, rejects, hashes } = chunk;
        rejects.into_iter().for_each(|reject| findings.reject(reject));
        let bytes = rows.value_bytes();
        if !rows.is_empty() {
            self.load(rows, &origins, hashes, findings)?;
        }
        Ok(bytes)
    }

    fn settle(&mut self, findings: &mut Findings) -> Result<bool> {
        let session = self.shared.lock();
        session.transactions.check(self.transaction)?;
        self.stage.seal(session.client()?, &self.options, |_| Ok(()))?;
        self.stage.reject_losers(session.client()?, findings)
    }

    fn merge(
        &mut self,
        plans: bool,
        findings: &mut Findings,
    ) -> Result<(Outcome, Option<Preview>)> {
        let shared = self.shared.clone();
        let mut session = shared.lock();
        self.begin(&mut session)?;
        let client = session.client()?;
        let Self { target, options, stage, .. } = self;
        let merged = if self.direct.is_some() {
            (std::mem::take(&mut self.outcome), None)
        } else {
            let plan = match options.mode {
                Mode::Scd2 => dimension::plan(client, target, options, stage, self.started)?,
                _ => Plan::rows(client, sides(target, stage, options), options)?,
            };
            let merge = Merge {
                database: client,
                table: &options.table,
                plan,
                step: STEP,
                spool: &mut stage.records.spool,
                outcome: Outcome::default(),
                room: self.room,
            };
            merge.all(stage.records.last, plans, findings)?
        };
        if !plans {
            loads::record(client, &session, &target.name, options.mode, &merged.0)?;
        }
        Ok(merged)
    }

    fn commit(&mut self) -> Result<()> {
        self.shared.lock().commit(self.transaction)
    }
}

impl Drop for MySql {
    fn drop(&mut self) {
        let mut session = self.shared.lock();
        session.leave(self.transaction, &self.options.table);
        if let Ok(client) = session.client() {
            self.stage.drop(client);
        }
    }
}
