//! The report of a run: what became of every record, for people and for machines.

mod summary;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use gristmill_core::metrics::StageMetrics;
use gristmill_core::{
    Account, CheckResult, Encoded, Error, ErrorKind, Findings, Loaded, Loader, Preview,
    PublishedFile, Result, Stage,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use summary::{bytes, duration, records_of, summary, thousands};

use crate::params::Secrets;
use crate::run::{BindError, RunError};

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Everything was published.
    Published,
    /// It was a plan: nothing was published, and nothing is wrong.
    Planned,
    /// Something went wrong; nothing was published.
    Failed,
    /// A limit or a rule stopped it; nothing was published.
    Stopped,
    /// The definition does not fit the data; nothing was published.
    Invalid,
    /// It was interrupted; nothing was published.
    Interrupted,
}

impl Status {
    /// The exit code of the command.
    pub fn exit_code(self) -> u8 {
        match self {
            Status::Published | Status::Planned => 0,
            Status::Failed => 1,
            Status::Invalid => 2,
            Status::Stopped => 3,
            Status::Interrupted => 130,
        }
    }

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Status::Published => "published",
            Status::Planned => "planned",
            Status::Failed => "failed",
            Status::Stopped => "stopped",
            Status::Invalid => "invalid",
            Status::Interrupted => "interrupted",
        }
    }
}

/// Why a run did not publish.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What is wrong.
    pub message: String,
    /// What led to it, outermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// How the run ended.
    pub status: Status,
}

impl Failure {
    pub(crate) fn of(error: &RunError) -> Self {
        match error {
            RunError::Error(error) | RunError::Absent(error, _) => Self::of_error(error),
            RunError::Bind(parts) => {
                let mistakes = || parts.iter().flat_map(BindError::placed);
                Self {
                    message: mistakes().map(|it| it.to_string()).collect::<Vec<_>>().join("\n"),
                    causes: Vec::new(),
                    hint: mistakes().find_map(|mistake| mistake.hint),
                    status: Status::Invalid,
                }
            }
        }
    }

    fn of_error(error: &Error) -> Self {
        let status = match error.kind() {
            ErrorKind::Configuration => Status::Invalid,
            ErrorKind::Stopped => Status::Stopped,
            ErrorKind::Cancelled => Status::Interrupted,
            _ => Status::Failed,
        };
        Self {
            message: error.to_string(),
            causes: error.causes(),
            hint: error.hint_text().map(str::to_owned),
            status,
        }
    }

    pub(crate) fn status(&self) -> Status {
        self.status
    }
}

/// Records read from one file or the like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceReport {
    /// Its name.
    pub name: Arc<str>,
    /// Records read from it.
    pub records: u64,
}

/// What one step did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepReport {
    /// The step's key, or `read` and `write` for the ends.
    pub name: String,
    /// Records in and out, bytes, and time.
    pub metrics: StageMetrics,
    /// Records filtered out.
    pub filtered: u64,
    /// Records dropped as duplicates.
    pub deduplicated: u64,
    /// Records rejected.
    pub rejected: u64,
    /// What the step says itself, for example quality metrics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
}

impl StepReport {
    pub(crate) fn new(
        name: &str,
        account: &Account,
        metrics: StageMetrics,
        details: Option<Value>,
    ) -> Self {
        Self {
            name: name.to_owned(),
            metrics: StageMetrics {
                records_in: account.read,
                records_out: account.inserted,
                ..metrics
            },
            filtered: account.filtered,
            deduplicated: account.deduplicated,
            rejected: account.rejected,
            details,
        }
    }
}

/// What one destination was given and what it made of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DestinationReport {
    /// Its name.
    pub name: String,
    /// Whether it shows what this run loaded.
    #[serde(default)]
    pub published: bool,
    /// Its account: what it was given, and what became of it.
    pub account: Account,
    /// Rows that ended because no record had their key.
    #[serde(default, skip_serializing_if = "is_none")]
    pub retired: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Files published.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<PublishedFile>,
    /// Of a plan: what would change in rows that are there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preview: Option<Preview>,
}

fn is_none(rows: &u64) -> bool {
    *rows == 0
}

impl DestinationReport {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            published: false,
            account: Account::default(),
            retired: 0,
            bytes: 0,
            files: Vec::new(),
            preview: None,
        }
    }

    /// Takes over what the destination says it did.
    fn close(&mut self, loaded: Loaded) {
        self.account.inserted = loaded.inserted;
        self.account.updated = loaded.updated;
        self.account.closed = loaded.closed;
        self.account.unchanged = loaded.unchanged;
        self.account.deduplicated = loaded.deduplicated;
        self.retired = loaded.retired;
        self.bytes = loaded.bytes;
        self.files = loaded.files;
    }

    /// Hands over a chunk, and counts the records that the destination refused.
    pub(crate) fn append(&mut self, loader: &mut dyn Loader, part: Encoded) -> Result<Findings> {
        let mut refused = Findings::default();
        loader.append(part, &mut refused)?;
        self.account.rejected += refused.rejects().len() as u64;
        self.account.filtered += refused.filtered;
        Ok(refused)
    }

    /// Lets the destination judge a piece of what it was given; `None` when there is no more.
    pub(crate) fn settle(&mut self, loader: &mut dyn Loader) -> Result<Option<Findings>> {
        let mut refused = Findings::default();
        let more = loader.settle(&mut refused)?;
        self.account.rejected += refused.rejects().len() as u64;
        Ok((more || !refused.rejects().is_empty()).then_some(refused))
    }

    /// Makes the load durable, counts the records that the destination refused, and takes over what
    /// it will amount to.
    pub(crate) fn prepare(&mut self, loader: &mut dyn Loader) -> Result<Findings> {
        let mut refused = Findings::default();
        let loaded = loader.prepare(&mut refused)?;
        self.account.rejected += refused.rejects().len() as u64;
        self.close(loaded);
        self.preview = loader.preview();
        Ok(refused)
    }
}

/// How many records were rejected for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectTally {
    /// The stage that took the first of them out.
    pub stage: Stage,
    /// The field; none when it is about the record.
    pub field: Option<String>,
    /// The rule.
    pub rule: String,
    /// Records with this reason. A record may have several reasons.
    pub records: u64,
    /// The message of the first of them.
    pub example: String,
    /// The source of the first of them.
    pub source: String,
    /// Its number in the source.
    pub record: u64,
    /// Its line in the source.
    pub line: Option<u64>,
}

/// Records that failed a rule with severity `warn`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WarningTally {
    /// The field, empty when it is about the record.
    pub field: String,
    /// The rule.
    pub rule: String,
    /// Records that failed it.
    pub records: u64,
    /// The message of the first of them.
    pub example: String,
}

pub(crate) fn warnings(findings: &Findings) -> Vec<WarningTally> {
    let warnings: &BTreeMap<_, _> = findings.warnings();
    warnings
        .iter()
        .map(|((field, rule), warning)| WarningTally {
            field: field.clone(),
            rule: rule.clone(),
            records: warning.records,
            example: warning.message.clone(),
        })
        .collect()
}

/// Everything a run has to say. `report.json` is this, and so is the ledger's record of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Id of the run.
    pub run: String,
    /// Name of the pipeline.
    pub pipeline: String,
    /// Version of Gristmill.
    pub version: String,
    /// The folder that relative paths in the pipeline start from; empty for the current one.
    #[serde(default)]
    pub folder: PathBuf,
    /// How it ended.
    pub status: Status,
    /// Why it did not publish.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// When it started.
    pub started: DateTime<Utc>,
    /// When it ended.
    pub ended: Option<DateTime<Utc>>,
    /// How long it took.
    pub seconds: f64,
    /// Number of workers.
    pub workers: usize,
    /// The most memory that the process has held so far, where the system says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory_bytes: Option<u64>,
    /// Records read from all sources.
    pub read: u64,
    /// Bytes read, before decompression.
    pub bytes_read: u64,
    /// Records rejected, at any stage.
    pub rejected: u64,
    /// The run's account with its first destination. Each destination has its own below; upstream
    /// of them all have the same. After a step that changes the grain, `read` counts its rows.
    pub account: Account,
    /// Sources in the order they were read.
    pub sources: Vec<SourceReport>,
    /// Steps in order.
    pub steps: Vec<StepReport>,
    /// Destinations in order.
    pub destinations: Vec<DestinationReport>,
    /// Rejected records by reason, most frequent first.
    pub rejected_by: Vec<RejectTally>,
    /// The rejects file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejects_file: Option<PathBuf>,
    /// Failures of rules with severity `warn`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<WarningTally>,
    /// What checks of the whole input found, in the order of the steps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<CheckResult>,
    /// Things worth knowing about the sources.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// How far sources with a cursor were read, by name: where the next run goes on.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub bookmarks: BTreeMap<String, Value>,
}

impl Report {
    pub(crate) fn new(run: &str, pipeline: &str, started: DateTime<Utc>) -> Self {
        Self {
            run: run.to_owned(),
            pipeline: pipeline.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            folder: PathBuf::new(),
            status: Status::Failed,
            error: None,
            started,
            ended: None,
            seconds: 0.0,
            workers: 0,
            peak_memory_bytes: None,
            read: 0,
            bytes_read: 0,
            rejected: 0,
            account: Account::default(),
            sources: Vec::new(),
            steps: Vec::new(),
            destinations: Vec::new(),
            rejected_by: Vec::new(),
            rejects_file: None,
            warnings: Vec::new(),
            checks: Vec::new(),
            notes: Vec::new(),
            bookmarks: BTreeMap::new(),
        }
    }
}

impl Report {
    /// Takes back what destinations were about to publish and did not.
    pub(crate) fn take_back(&mut self) {
        self.bookmarks.clear();
        for (i, destination) in self.destinations.iter_mut().enumerate() {
            if destination.published {
                continue;
            }
            destination.bytes = 0;
            destination.files.clear();
            let run = if i == 0 { Some(&mut self.account) } else { None };
            for account in run.into_iter().chain([&mut destination.account]) {
                account.inserted = 0;
                account.updated = 0;
                account.closed = 0;
                account.unchanged = 0;
            }
        }
    }

    /// Puts `***` in place of secrets wherever a message may quote one.
    pub(crate) fn redact(&mut self, secrets: &Secrets) {
        if let Some(failure) = &mut self.error {
            failure.message = secrets.redact(&failure.message);
            failure.causes.iter_mut().for_each(|cause| *cause = secrets.redact(cause));
            failure.hint = failure.hint.take().map(|hint| secrets.redact(&hint));
        }
        for destination in &mut self.destinations {
            destination.name = secrets.redact(&destination.name);
            for sample in destination.preview.iter_mut().flat_map(|preview| &mut preview.samples) {
                *sample = secrets.redact(sample);
            }
        }
        for check in &mut self.checks {
            check.name = secrets.redact(&check.name);
            check.message = check.message.take().map(|message| secrets.redact(&message));
        }
        self.notes.iter_mut().for_each(|note| *note = secrets.redact(note));
    }
}
