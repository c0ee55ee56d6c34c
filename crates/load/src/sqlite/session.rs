//! One connection to a database for all tables that a run loads in it.
//!
//! SQLite has one writer at a time, so several loaders of one run share a connection and one
//! transaction: the first to publish commits what all of them prepared.
//!
//! A database that does not exist yet is built under a hidden name and gets its own when it is
//! published.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use gristmill_core::{Error, ErrorKind, LoadContext, Result};
use rusqlite::{Connection, OpenFlags};

use super::refused;
use crate::hidden::{Beside, Hidden};
use crate::session::{Sessions, Shared, Transactions};

/// How long another writer is waited for.
const PATIENCE: Duration = Duration::from_millis(if cfg!(test) { 20 } else { 10_000 });

static SESSIONS: Sessions<Session> = Mutex::new(Vec::new());

pub(crate) struct Session {
    connection: Option<Connection>,
    /// The database's name while it is new.
    new: Option<Hidden>,
    path: PathBuf,
    /// With tables in lower case.
    pub(crate) transactions: Transactions,
}

/// The run's session with a database, opened if this is its first table.
pub(crate) fn join(
    name: &str,
    path: &Path,
    may_create: bool,
    context: &LoadContext<'_>,
) -> Result<Shared<Session>> {
    let path = canonical(path);
    let is_wanted =
        |session: &Session| session.path == path && session.transactions.run == context.run;
    Shared::join(&SESSIONS, is_wanted, || Session::open(name, &path, may_create, context))
}

impl Session {
    fn open(name: &str, path: &Path, may_create: bool, context: &LoadContext<'_>) -> Result<Self> {
        let cannot = || format!("cannot open the database `{name}`");
        let new = match path.metadata() {
            Ok(metadata) if metadata.is_file() => None,
            Ok(_) => {
                return Err(Error::new(ErrorKind::Destination, format!("`{name}` is not a file"))
                    .hint("name the file of a SQLite database, or one that does not exist yet"));
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && may_create => {
                Some(Beside::new(path)?.file(context.run)?.1)
            }
            Err(e) => return Err(Error::io(cannot(), e)),
        };
        let file = new.as_ref().map_or(path, |hidden| hidden.path());
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection =
            Connection::open_with_flags(file, flags).map_err(|e| refused(&cannot(), e))?;
        let session = Self {
            connection: Some(connection),
            new,
            path: path.to_path_buf(),
            transactions: Transactions::new(name, context.run),
        };
        session.set_up(context).map_err(|e| refused(&cannot(), e))?;
        if session.connection()?.is_readonly("main").unwrap_or(false) {
            return Err(Error::new(
                ErrorKind::Permission,
                format!("the database `{name}` is read-only"),
            )
            .hint("give the user that runs the pipeline write access to the file"));
        }
        Ok(session)
    }

    fn set_up(&self, context: &LoadContext<'_>) -> rusqlite::Result<()> {
        let Some(connection) = &self.connection else { return Ok(()) };
        connection.busy_timeout(PATIENCE)?;
        connection.set_prepared_statement_cache_capacity(64);
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.pragma_update(None, "temp_store", "FILE")?;
        // Pages in memory, in KiB when negative. Rows that are appended need few; where keys are
        // looked up and indexes grow, more of them save reading the same ones again.
        let kib = pages(context.memory.0);
        connection.pragma_update(Some("temp"), "cache_size", -kib)?;
        connection.pragma_update(Some("main"), "cache_size", -kib.min(16 << 10))?;
        // The first look at the file: says whether it is a database at all.
        connection.query_row("SELECT count(*) FROM main.sqlite_schema", [], |_| Ok(()))
    }

    pub(crate) fn connection(&self) -> Result<&Connection> {
        self.connection
            .as_ref()
            .ok_or_else(|| Error::internal("a new database was used after it was published"))
    }

    /// Says that a table is loaded by one loader of the run, and numbers its staging table.
    pub(crate) fn claim(&mut self, table: &str) -> Result<u64> {
        let table = table.to_ascii_lowercase();
        self.transactions.check_free(&table)?;
        let (_, number) = self.transactions.add(&table);
        Ok(number)
    }

    fn name(&self) -> &str {
        &self.transactions.database
    }

    /// Makes room for more pages, for a load that looks rows up.
    pub(crate) fn look_up(&self, memory: u64) -> rusqlite::Result<()> {
        let Some(connection) = &self.connection else { return Ok(()) };
        connection.pragma_update(Some("main"), "cache_size", -pages(memory))
    }

    pub(crate) fn release(&mut self, table: &str) {
        self.transactions.remove(&table.to_ascii_lowercase());
    }

    /// Opens the transaction unless it is open, and answers its number.
    pub(crate) fn begin(&mut self) -> Result<u64> {
        let connection = self.connection()?;
        if connection.is_autocommit() {
            connection
                .execute_batch("BEGIN IMMEDIATE")
                .map_err(|e| refused(&format!("cannot write to `{}`", self.name()), e))?;
        }
        Ok(self.transactions.current)
    }

    /// Takes back everything that is not committed, of all loaders.
    pub(crate) fn roll_back(&mut self) {
        if let Some(connection) = &self.connection
            && !connection.is_autocommit()
        {
            let _ = connection.execute_batch("ROLLBACK"); // closing the connection does it too
        }
        self.transactions.end(false);
    }

    /// Takes back the transaction with this number, unless it is committed.
    pub(crate) fn abandon(&mut self, transaction: u64) {
        if transaction == self.transactions.current {
            self.roll_back();
        }
    }

    /// Commits the transaction with this number, unless another loader has.
    pub(crate) fn commit(&mut self, transaction: u64) -> Result<()> {
        if self.transactions.is_committed(transaction) {
            return Ok(());
        }
        self.transactions.check(transaction)?;
        let connection = self.connection()?;
        // After a busy database the transaction is still there and can be committed again.
        if !connection.is_autocommit() {
            connection
                .execute_batch("COMMIT")
                .map_err(|e| refused(&format!("cannot commit to `{}`", self.name()), e))?;
        }
        if let Some(hidden) = &mut self.new {
            if let Some(connection) = self.connection.take() {
                let _ = connection.close();
            }
            hidden.become_new(&self.path)?;
            self.new = None;
        }
        self.transactions.end(true);
        Ok(())
    }
}

/// KiB of pages that may stay in memory, of what the run may use.
fn pages(memory: u64) -> i64 {
    (memory / 16 / 1024).clamp(2 << 10, 64 << 10) as i64
}

/// The same path for every way to write it, also when the file does not exist yet.
fn canonical(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) => {
            folder.canonicalize().map_or_else(|_| path.to_path_buf(), |folder| folder.join(name))
        }
        _ => path.to_path_buf(),
    })
}

impl Drop for Session {
    fn drop(&mut self) {
        self.connection = None; // before its hidden file goes
    }
}

#[cfg(test)]
mod tests {
    use gristmill_core::ByteSize;

    use super::*;

    #[test]
    fn a_database_that_somebody_writes_to_is_busy_for_now() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test.db");
        let other = Connection::open(&path).unwrap();
        other
            .execute_batch("CREATE TABLE t (x); BEGIN IMMEDIATE; INSERT INTO t VALUES (1)")
            .unwrap();
        let context = LoadContext {
            base: folder.path(),
            pipeline: "test",
            run: "1",
            started: Default::default(),
            scratch: folder.path(),
            memory: ByteSize(64 << 20),
            workers: 1,
        };
        let shared = join("test.db", &path, false, &context).unwrap();
        let error = shared.lock().begin().unwrap_err();
        assert!(error.is_transient());
        other.execute_batch("COMMIT").unwrap();
        assert!(shared.lock().begin().is_ok());
    }
}
