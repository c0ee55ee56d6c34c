//! One connection and one transaction for all tables that a run loads in a database.
//!
//! The first loader to publish commits what all of them prepared. When the connection is lost
//! while a commit is on its way, a new one waits until the old one's locks are gone, and looks in
//! `gristmill_loads` for what became of it.

use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use gristmill_core::{LoadContext, Result};
use gristmill_database::{Address, Client, DatabaseError, error_of, is_lost};

use super::loads;
use crate::patience::reconnect;
use crate::session::{
    Sessions, Shared, busy, lost, not_committed, rolled_back, twice, unanswered, unknown,
};

/// How long the table's lock of a lost connection is waited for.
const PATIENCE: &str = "60s";

/// How long the lock of a table is waited for before it is said that another run has it.
const MOMENT: Duration = Duration::from_secs(4);

/// What suits few statements over many rows. Each is run once, so that compiling it does not pay;
/// of staged records the planner wants to know how many there are and how often values repeat, which
/// a few thousand of them tell; they are joined and sorted in memory where they fit into that much,
/// and no server is made to give less than it does.
const SETTINGS: &str = "SELECT set_config(name, value, FALSE) FROM (VALUES \
    ('jit', 'off', NULL), ('default_statistics_target', '10', NULL), \
    ('work_mem', '64MB', 64 << 10), ('temp_buffers', '64MB', 8 << 10)) \
    AS wanted (name, value, least) JOIN pg_settings AS s USING (name) \
    WHERE CASE WHEN least IS NULL THEN TRUE ELSE s.setting::bigint < least END";

static SESSIONS: Sessions<Session> = Mutex::new(Vec::new());

pub(crate) struct Session {
    address: Address,
    client: Option<Client>,
    run: String,
    pipeline: String,
    /// Number of the transaction that is open or comes next, from 1.
    transaction: u64,
    is_open: bool,
    committed: Vec<u64>,
    /// Tables being loaded.
    tables: Vec<String>,
    numbers: u64,
}

/// The run's session with a database, opened if this is its first table.
pub(crate) fn join(address: &Address, context: &LoadContext<'_>) -> Result<Shared<Session>> {
    let is_wanted =
        |session: &Session| session.run == context.run && session.address.is_same(address);
    Shared::join(&SESSIONS, is_wanted, || {
        let client = Client::connect(address)?;
        loads::check(&client)?;
        client.batch(SETTINGS).map_err(|e| error_of("cannot prepare a load", e))?;
        Ok(Session {
            address: address.clone(),
            client: Some(client),
            run: context.run.to_owned(),
            pipeline: context.pipeline.to_owned(),
            transaction: 1,
            is_open: false,
            committed: Vec::new(),
            tables: Vec::new(),
            numbers: 0,
        })
    })
}

impl Session {
    pub(crate) fn client(&self) -> Result<&Client> {
        self.client.as_ref().ok_or_else(|| lost(self.address.name()))
    }

    pub(crate) fn run(&self) -> &str {
        &self.run
    }

    pub(crate) fn pipeline(&self) -> &str {
        &self.pipeline
    }

    /// Opens the transaction unless it is open, locks a table against other runs, and answers the
    /// transaction's number and one for the table.
    pub(crate) fn begin(&mut self, table: &str) -> Result<(u64, u64)> {
        if self.tables.iter().any(|other| other == table) {
            return Err(twice(table, self.address.name()));
        }
        let cannot = |e| error_of(&format!("cannot load table `{table}`"), e);
        if !self.is_open {
            self.client()?.batch("BEGIN").map_err(cannot)?;
            self.is_open = true;
        }
        let began = Instant::now();
        let mut locked = false;
        // What is left of a run that just died may need a moment to go.
        while !locked && began.elapsed() < MOMENT {
            let sql = "SELECT pg_try_advisory_xact_lock(hashtextextended($1, 0))";
            locked = self.client()?.row(sql, &[&lock(table)]).map_err(cannot)?.get(0);
            if !locked {
                thread::sleep(Duration::from_millis(50));
            }
        }
        if !locked {
            if self.tables.is_empty() {
                self.roll_back(table);
            }
            return Err(busy(table, self.address.name()));
        }
        self.tables.push(table.to_owned());
        self.numbers += 1;
        Ok((self.transaction, self.numbers))
    }

    /// Whether one table is loaded only.
    pub(crate) fn is_alone(&self) -> bool {
        self.tables.len() == 1
    }

    /// That a transaction is still there.
    pub(crate) fn check(&self, transaction: u64) -> Result<()> {
        if transaction == self.transaction && self.is_open {
            return Ok(());
        }
        Err(rolled_back(self.address.name()))
    }

    /// Takes back everything that is not committed, of all loaders.
    pub(crate) fn roll_back(&mut self, table: &str) {
        if let Some(client) = &self.client
            && self.is_open
            && client.batch("ROLLBACK").is_err()
        {
            self.client = None; // closing it rolls back, too
        }
        self.is_open = false;
        self.transaction += 1;
        self.tables.retain(|other| other != table);
    }

    /// A loader is done with: what it did not commit is taken back.
    pub(crate) fn leave(&mut self, transaction: u64, table: &str) {
        if transaction == self.transaction && self.is_open {
            self.roll_back(table);
        }
        self.tables.retain(|other| other != table);
    }

    /// Commits the transaction with this number, unless another loader has.
    pub(crate) fn commit(&mut self, transaction: u64) -> Result<()> {
        if self.committed.contains(&transaction) {
            return Ok(());
        }
        let name = self.address.name().to_owned();
        if self.client.is_none() && transaction == self.transaction {
            return self.find_out(transaction);
        }
        self.check(transaction)?;
        match self.client()?.batch("COMMIT") {
            Ok(()) => {
                self.is_open = false;
                self.committed.push(transaction);
                self.transaction += 1;
                Ok(())
            }
            Err(error) if is_lost(&error) || self.client()?.is_closed() => {
                self.client = None;
                self.find_out(transaction)
            }
            Err(error) => {
                self.is_open = false;
                self.transaction += 1;
                Err(error_of(&format!("cannot commit to `{name}`"), error))
            }
        }
    }

    /// What became of a commit that was not answered.
    fn find_out(&mut self, transaction: u64) -> Result<()> {
        let name = self.address.name().to_owned();
        let unknown = |error| unknown(&name, &self.run, loads::TABLE, error);
        let client = reconnect(|| Client::connect(&self.address)).map_err(unknown)?;
        let asked = || -> Result<bool, DatabaseError> {
            wait_for(&client, self.tables.iter().map(String::as_str))?;
            loads::has(&client, &self.run)
        };
        let committed = asked().map_err(|e| unknown(error_of(&unanswered(&name), e)))?;
        self.is_open = false;
        self.transaction += 1;
        if committed {
            self.committed.push(transaction);
            self.client = Some(client);
            return Ok(());
        }
        Err(not_committed(&name))
    }
}

/// Waits until the locks of tables are free: once a transaction is over, either way.
pub(crate) fn wait_for<'a>(
    client: &Client,
    tables: impl IntoIterator<Item = &'a str>,
) -> Result<(), DatabaseError> {
    client.batch(&format!("BEGIN; SET LOCAL lock_timeout TO '{PATIENCE}'"))?;
    for table in tables {
        let sql = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))";
        client.query(sql, &[&lock(table)])?;
    }
    client.batch("ROLLBACK")
}

/// What the lock of a table is called.
fn lock(table: &str) -> String {
    format!("gristmill {table}")
}
