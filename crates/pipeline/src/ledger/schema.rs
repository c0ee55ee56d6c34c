//! The tables of the ledger, and how older files come to have them.

use std::path::Path;

use gristmill_core::{Error, ErrorKind, Result};
use rusqlite::{Connection, TransactionBehavior};

use super::failure;

/// What brings a file from each version to the next; the version is in `user_version`.
const MIGRATIONS: [&str; 5] = [
    "
    CREATE TABLE runs (
        id TEXT PRIMARY KEY,
        pipeline TEXT NOT NULL,
        path TEXT,
        started TEXT NOT NULL,
        ended TEXT,
        status TEXT NOT NULL,
        exit_code INTEGER,
        account TEXT,
        report TEXT,
        error TEXT,
        host TEXT NOT NULL,
        pid INTEGER NOT NULL,
        process TEXT
    ) STRICT;
    CREATE INDEX runs_by_pipeline ON runs (pipeline, started);
",
    "
    CREATE TABLE bookmarks (
        pipeline TEXT NOT NULL,
        name TEXT NOT NULL,
        value TEXT NOT NULL,
        run TEXT NOT NULL,
        set_at TEXT NOT NULL,
        PRIMARY KEY (pipeline, name, set_at)
    ) STRICT;
",
    "
    CREATE TABLE checks (
        pipeline TEXT NOT NULL,
        run TEXT NOT NULL,
        name TEXT NOT NULL,
        severity TEXT NOT NULL,
        passed INTEGER NOT NULL,
        measure TEXT,
        value REAL,
        message TEXT,
        judged_at TEXT NOT NULL
    ) STRICT;
    CREATE INDEX checks_by_measure ON checks (pipeline, measure, judged_at);
",
    "
    CREATE TABLE pending (
        run TEXT NOT NULL,
        name TEXT NOT NULL,
        value TEXT NOT NULL,
        PRIMARY KEY (run, name)
    ) STRICT;
",
    "
    ALTER TABLE runs ADD COLUMN publishing INTEGER NOT NULL DEFAULT 0;
    UPDATE runs SET publishing = 1 WHERE id IN (SELECT run FROM pending);
",
];

/// Brings a file to the newest version, in one transaction.
pub(super) fn migrate(connection: &mut Connection, path: &Path) -> Result<()> {
    let failed = |error| failure(path, "open", error);
    let version = |connection: &Connection| {
        connection.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))
    };
    let newest = MIGRATIONS.len() as i64;
    match version(connection).map_err(failed)? {
        version if version == newest => return Ok(()),
        version if version > newest => {
            let message = format!(
                "the ledger `{}` has version {version}; this Gristmill knows {newest}",
                path.display()
            );
            return Err(Error::new(ErrorKind::Configuration, message).hint(
                "use the newer Gristmill that wrote it, or `--state DIR` for another ledger",
            ));
        }
        _ => {}
    }
    let mut migrate = || -> rusqlite::Result<()> {
        let change = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let from = version(&change)?; // another process may have been first
        for step in MIGRATIONS.iter().skip(usize::try_from(from).unwrap_or(0)) {
            change.execute_batch(step)?;
        }
        change.pragma_update(None, "user_version", newest)?;
        change.commit()
    };
    migrate().map_err(failed)
}
