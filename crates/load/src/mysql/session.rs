//! One connection and one transaction for all tables that a run loads in a database.
//!
//! Most statements that define something commit what was done before, so tables are created before
//! the transaction begins, with the first merge, and get their names after it. A savepoint at its
//! beginning tells whether it is still the same when it is to be committed. Locks are the
//! connection's, by name.
//!
//! The first loader to publish commits what all of them prepared. When the connection is lost
//! while a commit is on its way, a new one waits until the old one's locks are gone, and looks in
//! `gristmill_loads` for what became of it.

use std::sync::Mutex;

use gristmill_core::{LoadContext, Result};
use gristmill_database::literal;
use gristmill_database::mysql::{Address, Client, DatabaseError, error_of, is_lost};

use super::change;
use super::fresh::{self, Fresh};
use super::loads;
use crate::reading::listed;
use crate::session::{Sessions, Shared, Transactions};

/// Seconds that the table's lock of a lost connection is waited for.
const PATIENCE: u64 = 60;
/// Seconds that the lock of a table is waited for before it is said that another run has it: what
/// is left of a run that just died may need a moment to go.
const MOMENT: u64 = 4;

static SESSIONS: Sessions<Session> = Mutex::new(Vec::new());

pub(crate) struct Session {
    address: Address,
    client: Option<Client>,
    pipeline: String,
    pub(crate) transactions: Transactions,
    /// Tables that have no name yet.
    fresh: Vec<Fresh>,
    /// What changes tables that are there.
    changes: Vec<String>,
}

/// Changes tables that are there, each as soon as nobody uses it for a moment.
fn alter(client: &Client, statements: &[String]) -> Result<(), DatabaseError> {
    if statements.is_empty() {
        return Ok(());
    }
    client.batch(&format!(
        "SET @gristmill_wait = @@lock_wait_timeout, SESSION lock_wait_timeout = {}",
        change::PATIENCE
    ))?;
    statements.iter().try_for_each(|statement| client.batch(statement))?;
    client.batch("SET SESSION lock_wait_timeout = @gristmill_wait")
}

/// The run's session with a database, opened if this is its first table.
pub(crate) fn join(address: &Address, context: &LoadContext<'_>) -> Result<Shared<Session>> {
    let is_wanted = |session: &Session| {
        session.transactions.run == context.run && session.address.is_same(address)
    };
    Shared::join(&SESSIONS, is_wanted, || {
        let client = Client::connect(address)?;
        Ok(Session {
            address: address.clone(),
            client: Some(client),
            pipeline: context.pipeline.to_owned(),
            transactions: Transactions::new(address.name(), context.run),
            fresh: Vec::new(),
            changes: Vec::new(),
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

    /// Locks a table against other runs, and answers the number of the transaction and one for the
    /// table.
    pub(crate) fn claim(&mut self, table: &str) -> Result<(u64, u64)> {
        self.transactions.check_free(table)?;
        let locked = lock(self.client()?, table, MOMENT)
            .map_err(|e| error_of(&format!("cannot load table `{table}`"), e))?;
        if !locked {
            return Err(self.transactions.busy(table));
        }
        Ok(self.transactions.add(table))
    }

    /// Remembers that a table has no name yet.
    pub(crate) fn is_new(&mut self, fresh: Fresh) {
        self.fresh.push(fresh);
    }

    /// Remembers a statement that changes a table, if it says something.
    pub(crate) fn is_changed(&mut self, statement: &str) {
        self.changes.extend((!statement.is_empty()).then(|| statement.to_owned()));
    }

    /// Opens the transaction unless it is open, once tables are changed. One of a run that `plans` is never committed.
    pub(crate) fn begin(&mut self, table: &str, plans: bool) -> Result<()> {
        if self.transactions.is_open {
            return Ok(());
        }
        let changes = std::mem::take(&mut self.changes);
        let client = self.client()?;
        if !plans {
            loads::create(client)?;
            alter(client, &changes)
                .map_err(|e| error_of(&format!("cannot change table `{table}`"), e))?;
        }
        client
            .batch("START TRANSACTION; SAVEPOINT gristmill_begin")
            .map_err(|e| error_of(&format!("cannot load table `{table}`"), e))?;
        self.transactions.is_open = true;
        Ok(())
    }

    /// Takes back everything that is not committed, of all loaders.
    fn roll_back(&mut self) {
        if let Some(client) = &self.client {
            if client.batch("ROLLBACK").is_ok() {
                fresh::drop(client, &self.fresh);
            } else {
                self.client = None; // closing it rolls back, too
            }
        }
        self.fresh.clear();
        self.changes.clear();
        self.transactions.end(false);
    }

    /// A loader is done with: what it did not commit is taken back.
    pub(crate) fn leave(&mut self, transaction: u64, table: &str) {
        if transaction == self.transactions.current {
            self.roll_back();
        }
        self.unlock(table);
        self.transactions.remove(table);
    }

    /// Commits the transaction with this number, unless another loader has.
    pub(crate) fn commit(&mut self, transaction: u64) -> Result<()> {
        if self.transactions.is_committed(transaction) {
            return Ok(());
        }
        self.transactions.check(transaction)?;
        let Some(client) = &self.client else { return self.find_out() };
        let name = self.transactions.database.clone();
        // Gone with the transaction, if the server rolled it back or something committed it.
        let whole = client.batch("RELEASE SAVEPOINT gristmill_begin");
        let committed = whole.and_then(|()| client.batch("COMMIT"));
        match committed.map(|()| fresh::show(client, &self.fresh)) {
            Ok(Ok(())) => {
                self.is_done();
                Ok(())
            }
            Ok(Err(error)) if !is_lost(&error) => {
                let hidden = listed(self.fresh.iter().map(|fresh| &fresh.hidden));
                self.is_done();
                Err(error_of(&format!("cannot name the new tables of `{name}`"), error)
                    .hint(format!("the load is committed, in {hidden}; the next run names them")))
            }
            Ok(Err(_)) => {
                self.client = None;
                self.find_out()
            }
            Err(error) if is_lost(&error) => {
                self.client = None;
                self.find_out()
            }
            Err(error) => {
                self.roll_back();
                Err(error_of(&format!("cannot commit to `{name}`"), error))
            }
        }
    }

    fn unlock(&self, table: &str) {
        if let Some(client) = &self.client {
            let unlock = format!("DO RELEASE_LOCK({})", name_of_lock(table));
            let _ = client.batch(&unlock); // it goes with the connection
        }
    }

    fn is_done(&mut self) {
        self.transactions.tables.iter().for_each(|table| self.unlock(table));
        self.fresh.clear();
        self.transactions.end(true);
    }

    /// What became of a commit that was not answered.
    fn find_out(&mut self) -> Result<()> {
        let (transactions, fresh) = (&self.transactions, &self.fresh);
        let connect = || Client::connect(&self.address);
        self.client = transactions.find_out(loads::TABLE, connect, |client| {
            for table in &transactions.tables {
                // Free once the lost connection's transaction is over, either way.
                if !lock(client, table, PATIENCE)? {
                    return Ok(None);
                }
            }
            let committed = loads::has(client, &transactions.run, &transactions.tables)?;
            match committed {
                true => fresh::show(client, &fresh::left(client, fresh)?)?,
                false => fresh::drop(client, fresh),
            }
            Ok(Some(committed))
        })?;
        if self.client.is_some() {
            self.is_done();
            return Ok(());
        }
        self.fresh.clear();
        self.transactions.end(false);
        Err(self.transactions.not_committed())
    }
}

/// Waits until the lock of a table is free; answers whether it is.
pub(crate) fn wait_for(client: &Client, table: &str) -> Result<bool, DatabaseError> {
    let is_free = lock(client, table, PATIENCE)?;
    client.batch(&format!("DO RELEASE_LOCK({})", name_of_lock(table)))?;
    Ok(is_free)
}

/// Waits for the lock of a table; answers whether it is ours.
fn lock(client: &Client, table: &str, seconds: u64) -> Result<bool, DatabaseError> {
    let sql = format!("SELECT GET_LOCK({}, {seconds})", name_of_lock(table));
    Ok(client.numbers(&sql, &[])? == [[1]])
}

/// What the lock of a table is called. Locks are the server's, so the database is part of it; a
/// name has 64 characters at most.
fn name_of_lock(table: &str) -> String {
    format!("concat('gristmill ', sha1(concat(database(), ' ', {})))", literal(table))
}
