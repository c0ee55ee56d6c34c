//! The ledger: what ran, when, and how it ended. A SQLite file beside the pipeline.
//!
//! A run is written down when it starts and again when it ends. One that was killed in between
//! stays `running` in the file; it is shown as *died* once its process is gone, and needs no mending.

mod bookmarks;
mod checks;
mod process;
mod schema;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat, Utc};
use gristmill_core::{Account, CheckResult, Error, ErrorKind, Result};
use rusqlite::{Connection, OptionalExtension, Row, named_params};
use serde::{Deserialize, Serialize};

use crate::definition::closest;
pub use bookmarks::Bookmark;
use process::Process;

/// The name of the ledger's file in its folder.
pub const FILE: &str = "ledger.db";

/// How long a statement waits for another process that writes.
const PATIENCE: Duration = Duration::from_secs(10);

/// The record of runs, in one file.
///
/// ```
/// use gristmill_pipeline::ledger::{Ledger, NewRun, Outcome, Status};
///
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path();
/// let ledger = Ledger::open(folder)?;
/// let run = NewRun::of("dim_fund");
/// ledger.start(&run)?;
/// ledger.finish(&run.id, &Outcome::new(Status::Published, 0))?;
/// assert_eq!(ledger.runs(Some("dim_fund"), 10)?[0].status, Status::Published);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Ledger {
    connection: Connection,
    path: PathBuf,
}

/// How a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It has not ended.
    Running,
    /// It published everything.
    Published,
    /// It ended with an error and published nothing.
    Failed,
    /// A limit or a check stopped it; it published nothing.
    Stopped,
    /// It was interrupted and published nothing.
    Interrupted,
    /// Its process ended without saying how. Never in the file: concluded when it is read.
    Died,
}

/// A run that starts.
#[derive(Debug, Clone)]
pub struct NewRun {
    /// Its id, from [`run_id`].
    pub id: String,
    /// The name of its pipeline.
    pub pipeline: String,
    /// The pipeline file, if there is one.
    pub path: Option<PathBuf>,
    /// When it started.
    pub started: DateTime<Utc>,
}

impl NewRun {
    /// A run of this pipeline that starts now.
    pub fn of(pipeline: impl Into<String>) -> Self {
        let started = Utc::now();
        Self { id: run_id(started), pipeline: pipeline.into(), path: None, started }
    }
}

/// How a run ended.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// How it ended.
    pub status: Status,
    /// The exit code of the command.
    pub exit_code: i32,
    /// When it ended.
    pub ended: DateTime<Utc>,
    /// Its books.
    pub account: Option<Account>,
    /// Its whole report. Secrets must have been taken out.
    pub report: Option<serde_json::Value>,
    /// Why it published nothing. Secrets must have been taken out.
    pub error: Option<String>,
    /// Where the next run of its pipeline goes on, by the names of sources.
    pub bookmarks: BTreeMap<String, serde_json::Value>,
    /// What its checks found.
    pub checks: Vec<CheckResult>,
}

impl Outcome {
    /// A run that ends now.
    pub fn new(status: Status, exit_code: i32) -> Self {
        Self {
            status,
            exit_code,
            ended: Utc::now(),
            account: None,
            report: None,
            error: None,
            bookmarks: BTreeMap::new(),
            checks: Vec::new(),
        }
    }
}

/// A run as the ledger knows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Run {
    /// Its id.
    pub id: String,
    /// The name of its pipeline.
    pub pipeline: String,
    /// The pipeline file.
    pub path: Option<PathBuf>,
    /// When it started.
    pub started: DateTime<Utc>,
    /// When it ended, if it said so.
    pub ended: Option<DateTime<Utc>>,
    /// How it stands.
    pub status: Status,
    /// The exit code of the command.
    pub exit_code: Option<i32>,
    /// Its books.
    pub account: Option<Account>,
    /// Its whole report.
    pub report: Option<serde_json::Value>,
    /// Why it published nothing.
    pub error: Option<String>,
}

/// An id for a run that starts at `started`: `20240131T235959-1f9a3c`, in UTC. Ids sort by time and
/// are safe in file names.
pub fn run_id(started: DateTime<Utc>) -> String {
    let random = uuid::Uuid::now_v7().into_bytes();
    let tail: String = random[13..].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{tail}", started.format("%Y%m%dT%H%M%S"))
}

impl Ledger {
    /// Opens the ledger in a folder; makes both where they are not there.
    ///
    /// # Errors
    /// When the folder cannot be written, or the file is damaged or of a later version.
    pub fn open(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        if let Err(error) = std::fs::create_dir_all(folder) {
            let message = format!("cannot make the folder `{}` for the ledger", folder.display());
            return Err(Error::io(message, error).hint(ELSEWHERE));
        }
        let opened = Connection::open(&path).and_then(|connection| {
            connection.busy_timeout(PATIENCE)?;
            keep_in_wal(&connection)?;
            connection.pragma_update(None, "synchronous", "normal")?;
            Ok(connection)
        });
        let mut ledger = match opened {
            Ok(connection) => Self { connection, path },
            Err(error) => return Err(failure(&path, "open", error)),
        };
        schema::migrate(&mut ledger.connection, &ledger.path)?;
        Ok(ledger)
    }

    /// Opens the ledger in a folder if there is one; makes nothing.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_existing(folder: &Path) -> Result<Option<Self>> {
        if folder.join(FILE).exists() { Self::open(folder).map(Some) } else { Ok(None) }
    }

    /// The ledger's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes down that a run has started, in this process.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub fn start(&self, run: &NewRun) -> Result<()> {
        let process = Process::current();
        let written = self.connection.execute(
            "INSERT INTO runs (id, pipeline, path, started, status, host, pid, process)
             VALUES (:id, :pipeline, :path, :started, 'running', :host, :pid, :process)",
            named_params! {
                ":id": run.id,
                ":pipeline": run.pipeline,
                ":path": run.path.as_ref().map(|path| path.to_string_lossy()),
                ":started": time_text(run.started),
                ":host": process.host,
                ":pid": process.pid,
                ":process": process.birth,
            },
        );
        written.map(drop).map_err(|error| self.failure("write", error))
    }

    /// Writes down how a run ended, the bookmarks that it leaves and what its checks found: all or
    /// nothing.
    ///
    /// # Errors
    /// When the ledger cannot be written, or does not know the run.
    pub fn finish(&self, id: &str, outcome: &Outcome) -> Result<()> {
        let json = |value: serde_json::Result<String>| {
            value.map_err(|error| Error::internal("a report that is no JSON").caused_by(error))
        };
        let account = outcome.account.map(|account| serde_json::to_string(&account)).map(json);
        let change = self
            .connection
            .unchecked_transaction()
            .map_err(|error| self.failure("write", error))?;
        let written = change.execute(
            "UPDATE runs SET ended = :ended, status = :status, exit_code = :exit_code,
                    account = :account, report = :report, error = :error
             WHERE id = :id",
            named_params! {
                ":id": id,
                ":ended": time_text(outcome.ended),
                ":status": outcome.status.to_string(),
                ":exit_code": outcome.exit_code,
                ":account": account.transpose()?,
                ":report": outcome.report.as_ref().map(ToString::to_string),
                ":error": outcome.error,
            },
        );
        match written {
            Ok(0) => Err(Error::internal(format!("the ledger has no run `{id}`"))),
            Ok(_) => bookmarks::keep(&change, id, outcome)
                .and_then(|()| checks::keep(&change, id, outcome))
                .and_then(|()| match outcome.status {
                    Status::Published => bookmarks::settle(&change, id),
                    _ => Ok(()),
                })
                .and_then(|()| change.commit())
                .map_err(|error| self.failure("write", error)),
            Err(error) => Err(self.failure("write", error)),
        }
    }

    /// The latest runs, the latest first, of one pipeline or of all.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn runs(&self, pipeline: Option<&str>, limit: usize) -> Result<Vec<Run>> {
        let read = || {
            let mut statement = self.connection.prepare(
                "SELECT * FROM runs WHERE :pipeline IS NULL OR pipeline = :pipeline
                 ORDER BY started DESC, id DESC LIMIT :limit",
            )?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let runs = statement
                .query_map(named_params! {":pipeline": pipeline, ":limit": limit}, run_of)?;
            runs.collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(|error| self.failure("read", error))
    }

    /// The run with this id, or the only one whose id begins so or ends so.
    ///
    /// # Errors
    /// When there is none or more than one, and when the ledger cannot be read.
    pub fn run(&self, id: &str) -> Result<Run> {
        let exact = self.connection.query_row("SELECT * FROM runs WHERE id = ?1", [id], run_of);
        if let Some(run) = exact.optional().map_err(|error| self.failure("read", error))? {
            return Ok(run);
        }
        let fits = |known: &&String| known.starts_with(id) || known.ends_with(id);
        let ids = self.ids()?;
        let found: Vec<_> = ids.iter().filter(fits).collect();
        match found.as_slice() {
            [] => {
                let near = closest(id, ids.iter().map(String::as_str));
                let hint = match (near, ids.first()) {
                    (Some(near), _) => format!("did you mean `{near}`?"),
                    (None, Some(latest)) => {
                        format!("the latest run is `{latest}`; `gristmill runs` lists them all")
                    }
                    (None, None) => "no pipeline has run here yet".to_owned(),
                };
                let message = format!("there is no run `{id}` in `{}`", self.path.display());
                Err(Error::new(ErrorKind::NotFound, message).hint(hint))
            }
            [one] => self
                .connection
                .query_row("SELECT * FROM runs WHERE id = ?1", [one], run_of)
                .map_err(|error| self.failure("read", error)),
            several => {
                let message = format!("{} runs fit `{id}`", several.len());
                let some: Vec<_> = several.iter().take(5).map(|id| format!("`{id}`")).collect();
                let more = if several.len() > 5 { " …" } else { "" };
                let hint = format!("write more of the id: {}{more}", some.join(", "));
                Err(Error::new(ErrorKind::NotFound, message).hint(hint))
            }
        }
    }

    /// All ids, the latest first.
    fn ids(&self) -> Result<Vec<String>> {
        let read = || {
            let mut statement =
                self.connection.prepare("SELECT id FROM runs ORDER BY started DESC, id DESC")?;
            let ids = statement.query_map([], |row| row.get(0))?;
            ids.collect::<rusqlite::Result<Vec<String>>>()
        };
        read().map_err(|error| self.failure("read", error))
    }

    fn failure(&self, what: &str, error: rusqlite::Error) -> Error {
        failure(&self.path, what, error)
    }
}

/// Has a file keep a write-ahead log. A file system without shared memory keeps its own journal:
/// slower, as safe.
///
/// Two processes that open a new file at the same time both read it before one may change its
/// journal, and `SQLite` refuses the other at once, whatever its patience: so this asks again.
fn keep_in_wal(connection: &Connection) -> rusqlite::Result<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        match connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(())) {
            Err(error) if is_busy(&error) && Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(5));
            }
            done => return done,
        }
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseBusy, DatabaseLocked};
    matches!(error.sqlite_error_code(), Some(DatabaseBusy | DatabaseLocked))
}

const ELSEWHERE: &str = "`--state DIR` keeps the ledger in another folder";

fn failure(path: &Path, what: &str, error: rusqlite::Error) -> Error {
    use rusqlite::ErrorCode;
    let name = path.display();
    let (kind, hint) = match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => (
            ErrorKind::Corrupt,
            "it is damaged or no ledger: move it away and a new one is made; the data that runs \
             published is not in it",
        ),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            (ErrorKind::Transient, "another process keeps it locked; try again when that has ended")
        }
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            (ErrorKind::Permission, ELSEWHERE)
        }
        Some(ErrorCode::DiskFull) => (ErrorKind::Io, ELSEWHERE),
        _ => (ErrorKind::Io, ELSEWHERE),
    };
    Error::new(kind, format!("cannot {what} the ledger `{name}`")).hint(hint).caused_by(error)
}

fn run_of(row: &Row<'_>) -> rusqlite::Result<Run> {
    let json = |name: &str| -> rusqlite::Result<Option<serde_json::Value>> {
        let text: Option<String> = row.get(name)?;
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
    };
    let time = |name: &str| -> rusqlite::Result<Option<DateTime<Utc>>> {
        let text: Option<String> = row.get(name)?;
        Ok(text.and_then(|text| text.parse().ok()))
    };
    let status: String = row.get("status")?;
    let mut status = status.parse().unwrap_or(Status::Died);
    if status == Status::Running {
        let process =
            Process { host: row.get("host")?, pid: row.get("pid")?, birth: row.get("process")? };
        if process.is_gone() {
            status = Status::Died;
        }
    }
    let path: Option<String> = row.get("path")?;
    Ok(Run {
        id: row.get("id")?,
        pipeline: row.get("pipeline")?,
        path: path.map(PathBuf::from),
        started: time("started")?.unwrap_or_default(),
        ended: time("ended")?,
        status,
        exit_code: row.get("exit_code")?,
        account: json("account")?.and_then(|account| serde_json::from_value(account).ok()),
        report: json("report")?,
        error: row.get("error")?,
    })
}

/// Times sort as texts.
fn time_text(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Status::Running => "running",
            Status::Published => "published",
            Status::Failed => "failed",
            Status::Stopped => "stopped",
            Status::Interrupted => "interrupted",
            Status::Died => "died",
        })
    }
}

impl FromStr for Status {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Ok(match text {
            "running" => Status::Running,
            "published" => Status::Published,
            "failed" => Status::Failed,
            "stopped" => Status::Stopped,
            "interrupted" => Status::Interrupted,
            _ => return Err(()),
        })
    }
}
