//! One connection and one transaction for all tables that a run loads in a database.
//!
//! The first loader to publish commits what all of them prepared. When the connection is lost
//! while a commit is on its way, a new one waits until the old one's locks are gone, and looks in
//! `gristmill_loads` for what became of it.

use std::cell::Cell;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use gristmill_core::{LoadContext, Result};
use gristmill_database::{Address, Client, DatabaseError, error_of, is_lost};

use super::loads;
use crate::session::{Sessions, Shared, Transactions};

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
    pipeline: String,
    pub(crate) transactions: Transactions,
    /// Whether the run had another session when this one was opened.
    has_sibling: bool,
}

/// The run's session with a database, opened if this is its first table.
pub(crate) fn join(address: &Address, context: &LoadContext<'_>) -> Result<Shared<Session>> {
    let has_sibling = Cell::new(false);
    let is_wanted = |session: &Session| {
        let is_ours = session.transactions.run == context.run;
        has_sibling.set(has_sibling.get() || is_ours);
        is_ours && session.address.is_same(address)
    };
    Shared::join(&SESSIONS, is_wanted, || {
        let client = Client::connect(address)?;
        loads::check(&client)?;
        client.batch(SETTINGS).map_err(|e| error_of("cannot prepare a load", e))?;
        Ok(Session {
            address: address.clone(),
            client: Some(client),
            pipeline: context.pipeline.to_owned(),
            transactions: Transactions::new(address.name(), context.run),
            has_sibling: has_sibling.get(),
        })
    })
}

impl Session {
    pub(crate) fn client(&self) -> Result<&Client> {
        self.client.as_ref().ok_or_else(|| self.transactions.lost())
    }

    pub(crate) fn run(&self) -> &str {
        &self.transactions.run
    }

    pub(crate) fn pipeline(&self) -> &str {
        &self.pipeline
    }

    /// Whether the run may have another transaction in the same database.
    pub(crate) fn has_sibling(&self) -> bool {
        self.has_sibling
    }

    /// Opens the transaction unless it is open, locks a table against other runs, and answers the
    /// transaction's number and one for the table.
    pub(crate) fn begin(&mut self, table: &str) -> Result<(u64, u64)> {
        self.transactions.check_free(table)?;
        let cannot = |e| error_of(&format!("cannot load table `{table}`"), e);
        if !self.transactions.is_open {
            self.client()?.batch("BEGIN").map_err(cannot)?;
            self.transactions.is_open = true;
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
            if self.transactions.tables.is_empty() {
                self.roll_back(table);
            }
            return Err(self.transactions.busy(table));
        }
        Ok(self.transactions.add(table))
    }

    /// Takes back everything that is not committed, of all loaders.
    pub(crate) fn roll_back(&mut self, table: &str) {
        if let Some(client) = &self.client
            && self.transactions.is_open
            && client.batch("ROLLBACK").is_err()
        {
            self.client = None; // closing it rolls back, too
        }
        self.transactions.end(false);
        self.transactions.remove(table);
    }

    /// A loader is done with: what it did not commit is taken back.
    pub(crate) fn leave(&mut self, transaction: u64, table: &str) {
        if transaction == self.transactions.current {
            self.roll_back(table);
        }
        self.transactions.remove(table);
    }

    /// Commits the transaction with this number, unless another loader has.
    pub(crate) fn commit(&mut self, transaction: u64) -> Result<()> {
        if self.transactions.is_committed(transaction) {
            return Ok(());
        }
        self.transactions.check(transaction)?;
        let Some(client) = &self.client else { return self.find_out() };
        match client.batch("COMMIT") {
            Ok(()) => {
                self.transactions.end(true);
                Ok(())
            }
            Err(error) if is_lost(&error) || client.is_closed() => {
                self.client = None;
                self.find_out()
            }
            Err(error) => {
                self.transactions.end(false);
                let name = &self.transactions.database;
                Err(error_of(&format!("cannot commit to `{name}`"), error))
            }
        }
    }

    /// What became of a commit that was not answered.
    fn find_out(&mut self) -> Result<()> {
        let transactions = &mut self.transactions;
        let connect = || Client::connect(&self.address);
        self.client = transactions.find_out(loads::TABLE, connect, |client| {
            wait_for(client, transactions.tables.iter().map(String::as_str))?;
            loads::has(client, &transactions.run, &transactions.tables).map(Some)
        })?;
        let committed = self.client.is_some();
        transactions.end(committed);
        if committed { Ok(()) } else { Err(transactions.not_committed()) }
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
