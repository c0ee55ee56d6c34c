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
use gristmill_core::{
    Encoded, Encoder, Error, Findings, LoadContext, Loaded, Loader, Preview, Result, Space,
};
use gristmill_database::{Address, error_of};

use crate::changes::known;
use crate::merge::{Merge, Outcome, Plan, empty};
use crate::part::{Staged, TableEncoder};
use crate::server::sides;
use crate::session::Shared;
use crate::statements::Silent;
use crate::table::{Mode, Options};
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
pub(crate) struct Postgres {
    /// The table and its database.
    name: String,
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
    bytes: u64,
    begun: bool,
    transaction: u64,
    prepared: Option<Outcome>,
    /// Whether nothing will be published, and what would change.
    plans: bool,
    preview: Option<Preview>,
}

impl Postgres {
    /// Opens the table. Answers which columns of the records it does not have, where they are not
    /// loaded.
    pub(crate) fn open(
        options: &Options,
        address: &Address,
        schema: &SchemaRef,
        context: &LoadContext<'_>,
    ) -> Result<(Self, Vec<usize>)> {
        let shared = session::join(address, context)?;
        let mut session = shared.lock();
        let (transaction, number) = session.begin(&options.table)?;
        let opened = Target::open(session.client()?, options, schema);
        let (target, unknown) = opened.inspect_err(|_| session.roll_back(&options.table))?;
        drop(session);
        let loader = Self {
            name: format!("{} in {}", options.table, address.name()),
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
            bytes: 0,
            begun: false,
            transaction,
            prepared: None,
            plans: false,
            preview: None,
        };
        Ok((loader, unknown))
    }

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

    /// Merges what is staged.
    fn merge(&mut self, findings: &mut Findings) -> Result<Outcome> {
        self.begin()?;
        let shared = self.shared.clone();
        let session = shared.lock();
        session.transactions.check(self.transaction)?;
        let client = session.client()?;
        let Self { target, options, stage, .. } = self;
        let loading = |e| error_of(&cannot(&options.table), e);
        let mut outcome = std::mem::take(&mut self.outcome);
        if let Some(stage) = stage {
            let lock = format!("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE", target.table);
            client.batch(&lock).map_err(loading)?;
            client.batch(&target.change_statement()).map_err(loading)?;
            let plan = if options.mode == Mode::Scd2 {
                dimension::plan(client, target, options, stage, self.started)?
            } else {
                Plan::rows(client, sides(target, stage, options), options)?
            };
            if self.plans {
                self.preview = Some(plan.changes().preview(client).map_err(loading)?);
            }
            let last = stage.records.last;
            let merge = Merge {
                database: client,
                table: &options.table,
                plan,
                step: i64::MAX,
                spool: &mut stage.records.spool,
                outcome,
                room: self.space.memory as u64 / 4,
            };
            outcome = merge.run(1, last, findings)?;
        }
        client.batch(&target.finish_statements(options)).map_err(loading)?;
        loads::record(client, &session, target, options.mode, &outcome)?;
        Ok(outcome)
    }
}

fn cannot(table: &str) -> String {
    format!("cannot load table `{table}`")
}

impl Loader for Postgres {
    fn name(&self) -> &str {
        &self.name
    }

    fn plan(&mut self) {
        self.plans = true;
    }

    fn preview(&self) -> Option<Preview> {
        self.preview.clone()
    }

    fn notes(&self) -> Vec<String> {
        let (table, change) = (&self.options.table, self.target.change_statement());
        let changed = !change.is_empty() && self.stage.is_some();
        changed.then(|| format!("table `{table}` is changed: {change};")).into_iter().collect()
    }

    fn encoder(&self) -> Arc<dyn Encoder> {
        Arc::new(TableEncoder(Arc::new(self.target.layout(&self.schema, !self.is_direct()))))
    }

    fn append(&mut self, part: Encoded, findings: &mut Findings) -> Result<()> {
        let staged = part
            .payload
            .downcast::<Staged>()
            .map_err(|_| Error::internal("a table was given what another encoder made"))?;
        let Staged { rows, origins, rejects, hashes } = *staged;
        rejects.into_iter().for_each(|reject| findings.reject(reject));
        self.bytes += rows.value_bytes();
        if rows.is_empty() {
            return Ok(());
        }
        if !self.is_direct() && self.stage.is_none() {
            let session = self.shared.lock();
            session.transactions.check(self.transaction)?;
            let stage = Stage::create(
                session.client()?,
                self.number,
                &self.target,
                &self.options,
                &self.space,
            )?;
            self.stage = Some(stage);
        }
        if let Some(stage) = &mut self.stage {
            let session = self.shared.lock();
            session.transactions.check(self.transaction)?;
            let client = session.client()?;
            stage.add(client, rows, origins, hashes, findings)?;
            // What loads another table needs the connection.
            return if session.transactions.is_alone() {
                Ok(())
            } else {
                stage.end_copy(client, findings)
            };
        }
        self.begin()?;
        let session = self.shared.lock();
        session.transactions.check(self.transaction)?;
        let direct = self.direct.get_or_insert_with(|| {
            let into = format!("{} ({})", self.target.table, self.target.column_list());
            Copying::new(&into, &self.options.table, self.space.memory)
        });
        self.outcome.inserted += direct.add(session.client()?, rows, origins, findings)?;
        Ok(())
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

    fn prepare(&mut self, findings: &mut Findings) -> Result<Loaded> {
        if self.stage.is_none() && self.options.mode == Mode::Scd2 {
            // An empty input may end rows, too.
            let session = self.shared.lock();
            let client = session.client()?;
            let stage =
                Stage::create(client, self.number, &self.target, &self.options, &self.space)?;
            drop(session);
            self.stage = Some(stage);
        }
        while self.settle(findings)? {}
        let outcome = self.merge(findings)?;
        let loaded = outcome.loaded(self.bytes);
        self.prepared = Some(outcome);
        Ok(loaded)
    }

    fn commits(&self) -> bool {
        true
    }

    fn publish(&mut self) -> Result<Loaded> {
        let Some(outcome) = &self.prepared else {
            return Err(Error::internal(format!("`{}` was published unprepared", self.name)));
        };
        self.shared.lock().commit(self.transaction)?;
        Ok(outcome.loaded(self.bytes))
    }

    fn abort(self: Box<Self>) {}
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // The connection is busy until a COPY is given up.
        self.direct = None;
        self.stage = None;
        self.shared.lock().leave(self.transaction, &self.options.table);
    }
}
