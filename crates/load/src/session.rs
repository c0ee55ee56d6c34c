//! What connections have in common that several loaders of a run share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use gristmill_core::{Error, ErrorKind, Result};

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

/// That two loaders of a run would load one table.
pub(crate) fn twice(table: &str, database: &str) -> Error {
    Error::new(
        ErrorKind::Configuration,
        format!("table `{table}` of `{database}` is a destination twice"),
    )
    .hint("each destination needs a table of its own")
}

/// That another run has the lock of a table.
pub(crate) fn busy(table: &str, database: &str) -> Error {
    Error::new(
        ErrorKind::Transient,
        format!("another run is loading table `{table}` of `{database}`"),
    )
    .hint("run again when it is done; the lock of a run that died goes with its connection")
}

/// That the transaction of a loader is gone.
pub(crate) fn rolled_back(database: &str) -> Error {
    Error::new(
        ErrorKind::Destination,
        format!("the load of `{database}` was rolled back with another destination"),
    )
}

/// That the connection is gone.
pub(crate) fn lost(database: &str) -> Error {
    Error::new(ErrorKind::Transient, format!("the connection to `{database}` was lost"))
        .hint("run again")
}

/// What is said where a commit was not answered.
pub(crate) fn unanswered(database: &str) -> String {
    format!("the connection to `{database}` was lost while the load was committed")
}

/// That nobody can tell whether it was committed.
pub(crate) fn unknown(database: &str, run: &str, loads: &str, error: Error) -> Error {
    Error::new(ErrorKind::Transient, unanswered(database))
        .caused_by(error)
        .hint(format!("whether it was is in the table `{loads}`: it has a row for run {run} then"))
}

/// That it was not.
pub(crate) fn not_committed(database: &str) -> Error {
    Error::new(ErrorKind::Destination, unanswered(database))
        .caused_by("the server did not commit it")
        .hint("nothing was published; run again")
}
