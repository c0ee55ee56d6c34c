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

use gristmill_core::{Error, ErrorKind, LoadContext, Result};
use gristmill_database::literal;
use gristmill_database::mysql::{Address, Client, DatabaseError, error_of, is_lost};

use super::change;
use super::fresh::{self, Fresh};
use super::loads;
use crate::patience::reconnect;
use crate::reading::listed;
use crate::session::{
    Sessions, Shared, busy, lost, not_committed, rolled_back, twice, unanswered, unknown,
};

/// Seconds that the table's lock of a lost connection is waited for.
const PATIENCE: u64 = 60;
/// Seconds that the lock of a table is waited for before it is said that another run has it: what
/// is left of a run that just died may need a moment to go.
const MOMENT: u64 = 4;

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
    /// Those of them that have no name yet.
    fresh: Vec<Fresh>,
    /// What changes tables that are there.
    changes: Vec<String>,
    numbers: u64,
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
    let is_wanted =
        |session: &Session| session.run == context.run && session.address.is_same(address);
    Shared::join(&SESSIONS, is_wanted, || {
        let client = Client::connect(address)?;
        Ok(Session {
            address: address.clone(),
            client: Some(client),
            run: context.run.to_owned(),
            pipeline: context.pipeline.to_owned(),
            transaction: 1,
            is_open: false,
            committed: Vec::new(),
            tables: Vec::new(),
            fresh: Vec::new(),
            changes: Vec::new(),
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

    /// Locks a table against other runs, and answers the number of the transaction and one for the
    /// table.
    pub(crate) fn claim(&mut self, table: &str) -> Result<(u64, u64)> {
        if self.tables.iter().any(|other| other == table) {
            return Err(twice(table, self.address.name()));
        }
        let locked = lock(self.client()?, table, MOMENT)
            .map_err(|e| error_of(&format!("cannot load table `{table}`"), e))?;
        if !locked {
            return Err(busy(table, self.address.name()));
        }
        self.tables.push(table.to_owned());
        self.numbers += 1;
        Ok((self.transaction, self.numbers))
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
        if self.is_open {
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
        self.is_open = true;
        Ok(())
    }

    /// That a transaction is still there, or comes yet.
    pub(crate) fn check(&self, transaction: u64) -> Result<()> {
        if transaction == self.transaction {
            return Ok(());
        }
        Err(rolled_back(self.address.name()))
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
        self.is_open = false;
        self.transaction += 1;
    }

    /// A loader is done with: what it did not commit is taken back.
    pub(crate) fn leave(&mut self, transaction: u64, table: &str) {
        if transaction == self.transaction {
            self.roll_back();
        }
        self.unlock(table);
        self.tables.retain(|other| other != table);
    }

    /// Commits the transaction with this number, unless another loader has.
    pub(crate) fn commit(&mut self, transaction: u64) -> Result<()> {
        if self.committed.contains(&transaction) {
            return Ok(());
        }
        self.check(transaction)?;
        if self.client.is_none() {
            return self.find_out(transaction);
        }
        let name = self.address.name().to_owned();
        let client = self.client()?;
        // Gone with the transaction, if the server rolled it back or something committed it.
        let whole = client.batch("RELEASE SAVEPOINT gristmill_begin");
        let committed = whole.and_then(|()| client.batch("COMMIT"));
        match committed.map(|()| fresh::show(client, &self.fresh)) {
            Ok(Ok(())) => {
                self.is_done(transaction);
                Ok(())
            }
            Ok(Err(error)) if !is_lost(&error) => {
                let hidden = listed(self.fresh.iter().map(|fresh| &fresh.hidden));
                self.is_done(transaction);
                Err(error_of(&format!("cannot name the new tables of `{name}`"), error)
                    .hint(format!("the load is committed, in {hidden}; the next run names them")))
            }
            Ok(Err(_)) => {
                self.client = None;
                self.find_out(transaction)
            }
            Err(error) if is_lost(&error) => {
                self.client = None;
                self.find_out(transaction)
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

    fn is_done(&mut self, transaction: u64) {
        self.tables.iter().for_each(|table| self.unlock(table));
        self.fresh.clear();
        self.is_open = false;
        self.committed.push(transaction);
        self.transaction += 1;
    }

    /// What became of a commit that was not answered.
    fn find_out(&mut self, transaction: u64) -> Result<()> {
        let name = self.address.name().to_owned();
        let unknown = |error| unknown(&name, &self.run, loads::TABLE, error);
        let client = reconnect(|| Client::connect(&self.address)).map_err(unknown)?;
        let asked = || -> Result<Option<bool>, DatabaseError> {
            for table in &self.tables {
                // Free once the lost connection's transaction is over, either way.
                if !lock(&client, table, PATIENCE)? {
                    return Ok(None);
                }
            }
            let committed = loads::has(&client, &self.run, None)?;
            match committed {
                true => fresh::show(&client, &fresh::left(&client, &self.fresh)?)?,
                false => fresh::drop(&client, &self.fresh),
            }
            Ok(Some(committed))
        };
        let committed = asked().map_err(|e| unknown(error_of(&unanswered(&name), e)))?;
        let committed = committed.ok_or_else(|| {
            unknown(Error::new(ErrorKind::Transient, "the server still holds its locks"))
        })?;
        if committed {
            self.client = Some(client);
            self.is_done(transaction);
            return Ok(());
        }
        self.fresh.clear();
        self.is_open = false;
        self.transaction += 1;
        Err(not_committed(&name))
    }
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
