//! From a checked definition to a finished run: the job, the ledger, the report file.

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arrow_schema::SchemaRef;
use chrono::{DateTime, Utc};
use gristmill_core::registry::Range;
use gristmill_core::types::type_name;
use gristmill_core::{
    Error, ErrorKind, ExpressionCompiler, ExtractorKind, Mistake, Pointer, Result,
};
use gristmill_parallel::Cancel;
use gristmill_transform::Sql;
use serde_json::Value;

pub use crate::backfill::Backfill;
use crate::contract::{Agreement, Contracted, Way};
use crate::definition::{Definition, Diagnostics, Item, LoadError, Registry, SourceContract};
use crate::ledger::{self, Ledger, NewRun, run_id};
use crate::report::{Failure, Report, Status};
use crate::run::{
    self, Destination, Job, NamedStep, Observer, Rejects, RunContext, RunError, Source,
};
use crate::unfinished;

/// The folder of the ledger beside a pipeline file.
pub const STATE_FOLDER: &str = ".gristmill";

/// Everything a pipeline file can name.
pub fn registry() -> Registry {
    let steps = gristmill_transform::KINDS.iter().chain(gristmill_validate::KINDS).collect();
    Registry {
        extractors: gristmill_extract::KINDS,
        steps,
        loaders: gristmill_load::KINDS,
        expressions: Arc::new(Sql::default()),
    }
}

/// Where a run is entered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum State {
    /// In `.gristmill` beside the pipeline file.
    #[default]
    Beside,
    /// In this folder.
    Folder(PathBuf),
    /// Nowhere.
    None,
}

/// The run that a process has entered in a ledger, seen from outside of it.
#[derive(Debug, Clone, Default)]
pub struct Entered(Arc<Mutex<Option<(PathBuf, String)>>>);

impl Entered {
    fn set(&self, entered: Option<(PathBuf, String)>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = entered;
    }

    /// Enters the end of a run that is interrupted and cannot say so: it waits for input that does
    /// not come, and its process is about to end.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub fn interrupted(&self) -> Result<()> {
        let entered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((folder, id)) = &*entered else { return Ok(()) };
        let code = Status::Interrupted.exit_code().into();
        Ledger::open(folder)?.finish(id, &ledger::Outcome::new(ledger::Status::Interrupted, code))
    }
}

/// How a definition is run.
#[derive(Clone, Default)]
pub struct RunOptions<'a> {
    /// Number of workers, whatever the pipeline says.
    pub workers: Option<usize>,
    /// Where the run is entered.
    pub state: State,
    /// Stops the run.
    pub cancel: Cancel,
    /// Watches the run.
    pub observer: Option<&'a dyn Observer>,
    /// Told what the ledger calls the run.
    pub entered: Entered,
    /// Whether everything is done but to publish: nothing is written, nothing entered in the
    /// ledger, and the report says what would be.
    pub plan: bool,
    /// Reads sources with a cursor in this range, and leaves their bookmarks alone.
    pub backfill: Option<Backfill>,
}

/// How a run ended.
#[derive(Debug)]
pub struct Outcome {
    /// What became of every record.
    pub report: Report,
    /// Mistakes in the pipeline file that only the columns showed.
    pub diagnostics: Option<Diagnostics>,
    /// Whether it failed because the program that reads its standard output has gone away: there
    /// is nobody left to be told.
    pub reader_gone: bool,
}

/// Runs a checked definition, writes its report, and enters it in the ledger.
///
/// # Errors
/// When the run could not be started: the ledger cannot be opened. Whatever happens to the run itself
/// is in the report.
pub fn run_definition(definition: &Definition, options: &RunOptions<'_>) -> Result<Outcome> {
    run_then(definition, options, true, |_| Ok(()))
}

/// As [`run_definition`]; what has run is handed to `after` before anything is said about it. A run
/// that does not continue what earlier ones began reads all that its sources have.
pub(crate) fn run_then(
    definition: &Definition,
    options: &RunOptions<'_>,
    continues: bool,
    after: impl FnOnce(&mut Report) -> Result<()>,
) -> Result<Outcome> {
    let started = Utc::now();
    let id = run_id(started);
    if let Some(backfill) = &options.backfill {
        backfill.check(definition)?;
    }
    let folder = match &options.state {
        State::Beside => Some(definition.base.join(STATE_FOLDER)),
        State::Folder(folder) => Some(folder.clone()),
        State::None => None,
    };
    let (ledger, known) = match &folder {
        None => (None, None),
        Some(folder) if options.plan => (None, Ledger::open_existing(folder)?),
        Some(folder) => (Some(Ledger::open(folder)?), None),
    };
    let past = ledger.as_ref().or(known.as_ref());
    if let Some(ledger) = &ledger {
        ledger.start(&NewRun {
            id: id.clone(),
            pipeline: definition.name.clone(),
            path: Some(definition.path.clone()),
            started,
        })?;
        options.entered.set(folder.clone().map(|folder| (folder, id.clone())));
    }
    tracing::info!(run = %id, pipeline = %definition.name, "started");
    let history = |measure: &str, last: usize| {
        past.map_or(Ok(Vec::new()), |past| past.history(&definition.name, measure, last))
    };
    let mut attempt = Attempt {
        definition,
        options,
        ledger: ledger.as_ref(),
        history: &history,
        id: &id,
        started,
        range: Range::default(),
        only: None,
    };
    let mut notes = Vec::new();
    let before = match (&options.backfill, past) {
        (Some(Backfill { from, to }), _) => {
            attempt.range = Range::Between { from: from.clone(), to: to.clone() };
            None
        }
        (None, Some(past)) if continues => match unfinished::settle(&attempt, past, &mut notes) {
            Ok(ControlFlow::Continue(positions)) => {
                attempt.range = Range::New(Arc::new(positions));
                None
            }
            Ok(ControlFlow::Break(outcome)) => Some(outcome),
            Err(error) => Some(attempt.failed(error)),
        },
        (None, _) => None,
    };
    let mut outcome = before.unwrap_or_else(|| attempt.run());
    id.clone_into(&mut outcome.report.run);
    outcome.report.notes.extend(notes);
    let after = after(&mut outcome.report);
    if let Some(path) = definition.report.as_ref().filter(|_| !options.plan) {
        let path = definition.base.join(path);
        if let Err(error) = write_report(&outcome.report, &path) {
            let why = std::iter::once(error.to_string()).chain(error.causes());
            let why = why.collect::<Vec<_>>().join(": ");
            outcome.report.notes.push(format!("there is no report: {why}"));
        }
    }
    if let Some(ledger) = &ledger {
        options.entered.set(None); // waits for who ends the process
        ledger.finish(&id, &entry(&outcome))?;
    }
    let report = &outcome.report;
    tracing::info!(
        run = %id, status = report.status.name(), read = report.read, rejected = report.rejected,
        loaded = report.account.loaded(), seconds = report.seconds, "ended"
    );
    after.map(|()| outcome)
}

/// What the ledger keeps of a run.
pub(crate) fn entry(outcome: &Outcome) -> ledger::Outcome {
    let report = &outcome.report;
    let status = match report.status {
        Status::Published | Status::Planned => ledger::Status::Published,
        Status::Failed | Status::Invalid => ledger::Status::Failed,
        Status::Stopped => ledger::Status::Stopped,
        Status::Interrupted => ledger::Status::Interrupted,
    };
    ledger::Outcome {
        account: Some(report.account),
        report: serde_json::to_value(report).ok(),
        error: report.error.as_ref().map(|failure| failure.message.clone()),
        bookmarks: report.bookmarks.clone(),
        checks: report.checks.clone(),
        ..ledger::Outcome::new(status, report.status.exit_code().into())
    }
}

/// A definition that is about to be run: all of it, or what is left of an earlier run.
#[derive(Clone)]
pub(crate) struct Attempt<'a> {
    pub(crate) definition: &'a Definition,
    pub(crate) options: &'a RunOptions<'a>,
    pub(crate) ledger: Option<&'a Ledger>,
    pub(crate) history: &'a run::History<'a>,
    pub(crate) id: &'a str,
    pub(crate) started: DateTime<Utc>,
    pub(crate) range: Range,
    /// Which destinations are loaded, by their numbers; all when `None`.
    pub(crate) only: Option<&'a [usize]>,
}

impl Attempt<'_> {
    pub(crate) fn run(self) -> Outcome {
        let Self { definition, options, ledger, id, started, .. } = self;
        let is_first = !matches!(self.range, Range::Again { .. });
        let folder = ledger.and_then(|ledger| ledger.path().parent());
        let rejects = match (&definition.rejects, folder) {
            _ if options.plan => Rejects::Counted,
            // Those of the run that comes next are written to the definition's file.
            (Some(path), _) if is_first => Rejects::Always(definition.base.join(path)),
            (_, Some(folder)) => Rejects::IfAny(
                folder.join("rejects").join(format!("{}-{id}.ndjson", definition.name)),
            ),
            (_, None) => Rejects::Counted,
        };
        let before = match &self.range {
            Range::New(positions) => Arc::clone(positions),
            Range::Between { .. } | Range::Again { .. } => Arc::default(),
        };
        let publishing = ledger.filter(|_| is_first).map(|ledger| {
            move |bookmarks: &BTreeMap<String, Value>| ledger.publishing(id, bookmarks, &before)
        });
        let context = RunContext {
            id,
            base: &definition.base,
            started,
            workers: options.workers,
            range: self.range,
            cancel: options.cancel.clone(),
            observer: options.observer,
            plan: options.plan,
            history: Some(self.history),
            publishing: publishing.as_ref().map(|publishing| publishing as &run::Publishing<'_>),
        };
        let (mut report, error) = match job(definition, rejects) {
            Err(diagnostics) => {
                let mut report = Report::new(id, &definition.name, started);
                report.status = Status::Invalid;
                return Outcome { report, diagnostics: Some(diagnostics), reader_gone: false };
            }
            Ok(mut job) => {
                let mut number = 0..;
                job.destinations.retain(|_| {
                    let number = number.next();
                    self.only.is_none_or(|only| number.is_some_and(|number| only.contains(&number)))
                });
                run::run(job, &context)
            }
        };
        report.folder = definition.base.clone();
        report.redact(definition.secrets());
        let reader_gone = matches!(&error, Some(RunError::Error(error)) if is_broken_pipe(error));
        let diagnostics = match error {
            Some(RunError::Bind(parts) | RunError::Absent(_, parts)) => {
                Some(definition.diagnose_parts(parts))
            }
            _ => None,
        };
        Outcome { report, diagnostics, reader_gone }
    }

    /// How it ends before it has begun.
    fn failed(&self, error: Error) -> Outcome {
        let mut report = Report::new(self.id, &self.definition.name, self.started);
        let failure = Failure::of(&RunError::Error(error));
        report.status = failure.status();
        report.error = Some(failure);
        report.redact(self.definition.secrets());
        Outcome { report, diagnostics: None, reader_gone: false }
    }
}

/// Destinations tell a connection that broke from a reader of the standard output that went away:
/// only the latter is a broken pipe.
fn is_broken_pipe(error: &Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref());
    cause.is_some_and(|cause: &std::io::Error| cause.kind() == std::io::ErrorKind::BrokenPipe)
}

/// The job that a definition describes.
fn job(definition: &Definition, rejects: Rejects) -> Result<Job, Diagnostics> {
    let expressions = Arc::new(Sql::default());
    let plans = definition.plans(expressions.as_ref())?;
    let steps = definition.steps.iter().zip(plans);
    let mut sources = Vec::with_capacity(definition.extract.len());
    for (index, item) in definition.extract.iter().enumerate() {
        let contract = definition.contracts.get(index).and_then(Option::as_ref);
        sources.push(match contract {
            None => {
                let (open, options) = (item.kind.open, item.options.clone());
                Source::new(move |context| open(&options, context))
            }
            Some(contract) => contracted(definition, item, contract, &expressions)?,
        });
    }
    Ok(Job {
        name: definition.name.clone(),
        sources,
        steps: steps
            .map(|(item, plan)| NamedStep {
                name: item.kind.name.to_owned(),
                at: item.at.clone(),
                plan,
            })
            .collect(),
        destinations: definition
            .load
            .iter()
            .zip(&definition.conditions)
            .map(|(item, condition)| {
                let (bind, for_bind) = (item.kind.bind, item.options.clone());
                let (open, options) = (item.kind.open, item.options.clone());
                Destination::new(
                    item.at.clone(),
                    move |schema| bind(&for_bind, schema),
                    move |schema, context| open(&options, schema, context),
                )
                .filter(condition.clone())
            })
            .collect(),
        rejects,
        drift: definition.drift,
        limits: definition.limits.clone(),
        retry: definition.retry.clone(),
        expressions,
    })
}

/// A source that is held to its contract.
fn contracted(
    definition: &Definition,
    item: &Item<ExtractorKind>,
    found: &SourceContract,
    expressions: &Arc<Sql>,
) -> Result<Source, Diagnostics> {
    let agreement = match Agreement::open(&found.contract, &definition.base) {
        Ok(agreement) => Arc::new(agreement),
        Err(LoadError::Mistakes(mistakes)) => return Err(mistakes),
        Err(LoadError::Io(error)) => {
            let causes = error.causes().into_iter().map(|cause| format!(": {cause}"));
            let message = format!("{error}{}", causes.collect::<String>());
            let mistake = Mistake::new(Pointer::root(), message);
            let mistake = match error.hint_text() {
                Some(hint) => mistake.hint(hint),
                None => mistake,
            };
            return Err(definition.diagnose(&found.at, vec![mistake]));
        }
    };
    let (open, mut options) = (item.kind.open, item.options.clone());
    if let (Some(options), "file") = (options.as_object_mut(), item.kind.name) {
        // Each file is compared with the contract, in place of the others.
        options.insert("drift".to_owned(), "fill".into());
        options.insert("infer".to_owned(), (agreement.field_type == Way::Evolve).into());
    }
    let name = options.get(item.kind.name).and_then(Value::as_str);
    let name = name.unwrap_or(item.kind.name).to_owned();
    let expressions: Arc<dyn ExpressionCompiler> = expressions.clone();
    Ok(Source::new(move |context| {
        let inner = open(&options, context)?;
        let (agreement, expressions) = (Arc::clone(&agreement), Arc::clone(&expressions));
        Ok(Box::new(Contracted::new(inner, agreement, name.clone(), expressions)))
    }))
}

/// What a check of a definition against its sources found.
#[derive(Debug)]
pub enum Checked {
    /// It fits; names and types of the columns that it loads.
    Fits(Vec<(String, String)>),
    /// It does not.
    Wrong(Diagnostics),
}

/// Opens the sources, reads their headers, and binds every step and destination to the columns;
/// moves no record.
///
/// # Errors
/// When a source cannot be opened.
pub fn check(definition: &Definition) -> Result<Checked> {
    let job = match job(definition, Rejects::Counted) {
        Ok(job) => job,
        Err(diagnostics) => return Ok(Checked::Wrong(diagnostics)),
    };
    let context = RunContext {
        id: "check",
        base: &definition.base,
        started: Utc::now(),
        workers: None,
        range: Range::default(),
        cancel: Cancel::new(),
        observer: None,
        plan: true,
        history: None,
        publishing: None,
    };
    match run::schema(&job, &context) {
        Ok(schema) => Ok(Checked::Fits(describe(&schema))),
        Err(RunError::Bind(parts) | RunError::Absent(_, parts)) => {
            Ok(Checked::Wrong(definition.diagnose_parts(parts)))
        }
        Err(RunError::Error(error)) => Err(error),
    }
}

fn describe(schema: &SchemaRef) -> Vec<(String, String)> {
    schema.fields().iter().map(|field| (field.name().clone(), type_name(field))).collect()
}

/// Writes a report by rename.
fn write_report(report: &Report, path: &Path) -> Result<()> {
    let failed = |source| Error::io(format!("cannot write `{}`", path.display()), source);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(failed)?;
    let text = serde_json::to_string_pretty(report).map_err(|error| {
        Error::new(ErrorKind::Internal, "the report has no JSON form").caused_by(error)
    })?;
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666)); // less the umask
    let mut file = builder.prefix(".gristmill-").tempfile_in(folder).map_err(|error| {
        // Its own text names the temporary file.
        failed(error.kind().into())
    })?;
    std::io::Write::write_all(&mut file, (text + "\n").as_bytes()).map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}
