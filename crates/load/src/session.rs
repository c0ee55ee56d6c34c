//! What connections have in common that several loaders of a run share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use gristmill_core::{Error, ErrorKind, Result};

use crate::database::Database;
use crate::patience::reconnect;

/// The sessions that are open.
pub(crate) type Sessions<S> = Mutex<Vec<Weak<Mutex<S>>>>;

/// A loader's hold on a session.
pub(crate) struct Shared<S> {
    session: Arc<Mutex<S>>,
}

impl<S> Clone for Shared<S> {
    fn clone(&self) -> Self {
        Self { session: Arc::clone(&self.session) }
    }
}

impl<S> Shared<S> {
    /// The session that is the wanted one, opened if there is none.
    pub(crate) fn join(
        sessions: &Sessions<S>,
        is_wanted: impl Fn(&S) -> bool,
        open: impl FnOnce() -> Result<S>,
    ) -> Result<Self> {
        let mut sessions = sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|session| session.strong_count() > 0);
        for session in sessions.iter().filter_map(Weak::upgrade) {
            let shared = Self { session };
            let wanted = is_wanted(&shared.lock());
            if wanted {
                return Ok(shared);
            }
        }
        let session = Arc::new(Mutex::new(open()?));
        sessions.push(Arc::downgrade(&session));
        Ok(Self { session })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, S> {
        // A panic in another loader leaves a transaction that is never committed.
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The transactions of a connection, one after the other, and the tables that are loaded in them:
/// what the loaders that share it have to know of each other.
pub(crate) struct Transactions {
    /// The database, for messages.
    pub(crate) database: String,
    pub(crate) run: String,
    /// Number of the one that is open or comes next, from 1.
    pub(crate) current: u64,
    /// Whether it is open, where the connection does not know.
    pub(crate) is_open: bool,
    committed: Vec<u64>,
    /// Tables being loaded.
    pub(crate) tables: Vec<String>,
    /// How many were, so far.
    numbers: u64,
}

impl Transactions {
    /// None yet, of a run with a database of this name.
    pub(crate) fn new(database: impl Into<String>, run: impl Into<String>) -> Self {
        Self {
            database: database.into(),
            run: run.into(),
            current: 1,
            is_open: false,
            committed: Vec::new(),
            tables: Vec::new(),
            numbers: 0,
        }
    }

    /// Whether one table is loaded only.
    pub(crate) fn is_alone(&self) -> bool {
        self.tables.len() == 1
    }

    /// That no other loader of the run loads a table.
    pub(crate) fn check_free(&self, table: &str) -> Result<()> {
        if !self.tables.iter().any(|other| other == table) {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Configuration,
            format!("table `{table}` of `{}` is a destination twice", self.database),
        )
        .hint("each destination needs a table of its own"))
    }

    /// Takes a table up, and answers the number of its transaction and one for the table.
    pub(crate) fn add(&mut self, table: &str) -> (u64, u64) {
        self.tables.push(table.to_owned());
        self.numbers += 1;
        (self.current, self.numbers)
    }

    /// A table's loader is done with.
    pub(crate) fn remove(&mut self, table: &str) {
        self.tables.retain(|other| other != table);
    }

    /// That one is still there, or comes yet.
    pub(crate) fn check(&self, transaction: u64) -> Result<()> {
        if transaction == self.current {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Destination,
            format!("the load of `{}` was rolled back with another destination", self.database),
        ))
    }

    pub(crate) fn is_committed(&self, transaction: u64) -> bool {
        self.committed.contains(&transaction)
    }

    /// The current one is over, either way.
    pub(crate) fn end(&mut self, committed: bool) {
        self.committed.extend(committed.then_some(self.current));
        self.is_open = false;
        self.current += 1;
    }

    /// That another run has the lock of a table.
    pub(crate) fn busy(&self, table: &str) -> Error {
        Error::new(
            ErrorKind::Transient,
            format!("another run is loading table `{table}` of `{}`", self.database),
        )
        .hint("run again when it is done; the lock of a run that died goes with its connection")
    }

    /// That the connection is gone.
    pub(crate) fn lost(&self) -> Error {
        let message = format!("the connection to `{}` was lost", self.database);
        Error::new(ErrorKind::Transient, message).hint("run again")
    }

    /// What became of a commit that was not answered: the new connection, if it was committed.
    /// `ask` answers whether it was, or nothing while the server holds the locks of the lost one;
    /// `loads` is the table that knows.
    ///
    /// # Errors
    /// When nobody can tell.
    pub(crate) fn find_out<D: Database>(
        &self,
        loads: &str,
        connect: impl Fn() -> Result<D>,
        ask: impl FnOnce(&D) -> Result<Option<bool>, D::Error>,
    ) -> Result<Option<D>> {
        let unknown = |error: Error| {
            let run = &self.run;
            Error::new(ErrorKind::Transient, self.unanswered()).caused_by(error).hint(format!(
                "whether it was is in the table `{loads}`: it has a row for run {run} then"
            ))
        };
        let database = reconnect(connect).map_err(unknown)?;
        match ask(&database).map_err(|e| unknown(D::refused(&self.unanswered(), e)))? {
            Some(committed) => Ok(committed.then_some(database)),
            None => {
                Err(unknown(Error::new(ErrorKind::Transient, "the server still holds its locks")))
            }
        }
    }

    /// That it was not committed.
    pub(crate) fn not_committed(&self) -> Error {
        Error::new(ErrorKind::Destination, self.unanswered())
            .caused_by("the server did not commit it")
            .hint("nothing was published; run again")
    }

    fn unanswered(&self) -> String {
        format!("the connection to `{}` was lost while the load was committed", self.database)
    }
}
