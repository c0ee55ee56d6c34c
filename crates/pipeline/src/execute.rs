//! From a checked definition to a finished run: the job, the ledger, the report file.

use std::collections::BTreeMap;
use std::fs;
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

use crate::contract::{Agreement, Contracted, Way};
use crate::definition::{Definition, Diagnostics, Item, LoadError, Registry, SourceContract};
use crate::ledger::{self, Ledger, NewRun, run_id};
use crate::report::{Report, Status};
use crate::run::{
    self, Destination, Job, NamedStep, Observer, Rejects, RunContext, RunError, Source,
};

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

/// A range of a cursor that is read again, or for the first time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Backfill {
    /// The first value that is read.
    pub from: Option<String>,
    /// The first value that is not read any more.
    pub to: Option<String>,
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
    run_then(definition, options, |_| Ok(()))
}

/// As [`run_definition`]; what has run is handed to `after` before anything is said about it.
pub(crate) fn run_then(
    definition: &Definition,
    options: &RunOptions<'_>,
    after: impl FnOnce(&mut Report) -> Result<()>,
) -> Result<Outcome> {
    let started = Utc::now();
    let id = run_id(started);
    if options.backfill.is_some()
        && definition.extract.iter().all(|item| !is_incremental(&item.options))
    {
        let message = format!("no source of `{}` has a cursor", definition.name);
        return Err(Error::new(ErrorKind::Configuration, message).hint(
            "`--from` and `--to` are about the `cursor` of a `table` or a `query`, and about the \
             names of files that are not read again, with `read: new_or_changed`",
        ));
    }
    let folder = match &options.state {
        _ if options.plan => None,
        State::Beside => Some(definition.base.join(STATE_FOLDER)),
        State::Folder(folder) => Some(folder.clone()),
        State::None => None,
    };
    let ledger = folder.as_deref().map(Ledger::open).transpose()?;
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
    let known = match options.plan {
        true => Ledger::open_existing(&definition.base.join(STATE_FOLDER))?,
        false => None,
    };
    let mut notes = Vec::new();
    let range = match (&options.backfill, ledger.as_ref().or(known.as_ref())) {
        (Some(Backfill { from, to }), _) => Range::Between { from: from.clone(), to: to.clone() },
        (None, Some(past)) => {
            let positions = decided(definition, past, options.plan, &mut notes)?;
            Range::New(Arc::new(positions))
        }
        (None, None) => Range::default(),
    };
    let past = ledger.as_ref().or(known.as_ref());
    let history = |measure: &str, last: usize| {
        past.map_or(Ok(Vec::new()), |past| past.history(&definition.name, measure, last))
    };
    let of = ledger.as_ref();
    let mut outcome = attempt(definition, options, range, &id, started, of, &history);
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

/// Whether a source keeps how far it was read.
fn is_incremental(source: &Value) -> bool {
    let read = source.get("read").and_then(Value::as_str);
    source.get("cursor").is_some() || read.is_some_and(|which| which != "all")
}

/// Finds out what became of runs that ended while they published, since their destinations know, and
/// answers where sources go on. A plan leaves the ledger as it is.
fn decided(
    definition: &Definition,
    ledger: &Ledger,
    plan: bool,
    notes: &mut Vec<String>,
) -> Result<BTreeMap<String, Value>> {
    let mut planned = BTreeMap::new();
    for run in ledger.undecided(&definition.name)? {
        let (mut with, mut without) = (Vec::new(), Vec::new());
        for (i, item) in definition.load.iter().enumerate() {
            match (item.kind.published)(&item.options, &definition.base, &run)? {
                Some(true) => with.push(i + 1),
                Some(false) => without.push(i + 1),
                None => {}
            }
        }
        let published = !with.is_empty() && without.is_empty();
        if let ([first, ..], [other, ..]) = (with.as_slice(), without.as_slice()) {
            // None is lost.
            notes.push(format!(
                "run {run} ended when destination {first} had its records and destination {other} had \
                 not: they are read again, and a destination that appends has them twice"
            ));
        }
        tracing::info!(%run, published, "decided");
        if !plan {
            ledger.decide(&run, published)?;
        } else if published {
            planned.extend(ledger.pending(&run)?);
        }
    }
    let mut positions = ledger.positions(&definition.name)?;
    positions.extend(planned);
    Ok(positions)
}

/// What the ledger keeps of a run.
fn entry(outcome: &Outcome) -> ledger::Outcome {
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

fn attempt(
    definition: &Definition,
    options: &RunOptions<'_>,
    range: Range,
    id: &str,
    started: DateTime<Utc>,
    ledger: Option<&Ledger>,
    history: &run::History<'_>,
) -> Outcome {
    let folder = ledger.and_then(|ledger| ledger.path().parent());
    let rejects = match (&definition.rejects, folder) {
        _ if options.plan => Rejects::Counted,
        (Some(path), _) => Rejects::Always(definition.base.join(path)),
        (None, Some(folder)) => {
            Rejects::IfAny(folder.join("rejects").join(format!("{}-{id}.ndjson", definition.name)))
        }
        (None, None) => Rejects::Counted,
    };
    let before = match &range {
        Range::New(positions) => Some(Arc::clone(positions)),
        Range::Between { .. } => None,
    };
    let publishing = ledger.zip(before).map(|(ledger, before)| {
        move |bookmarks: &BTreeMap<String, Value>| match bookmarks.is_empty() {
            true => Ok(()),
            false => ledger.publishing(id, bookmarks, &before),
        }
    });
    let context = RunContext {
        id,
        base: &definition.base,
        started,
        workers: options.workers,
        range,
        cancel: options.cancel.clone(),
        observer: options.observer,
        plan: options.plan,
        history: Some(history),
        publishing: publishing.as_ref().map(|publishing| publishing as &run::Publishing<'_>),
    };
    let (mut report, error) = match job(definition, rejects) {
        Err(diagnostics) => {
            let mut report = Report::new(id, &definition.name, started);
            report.status = Status::Invalid;
            return Outcome { report, diagnostics: Some(diagnostics), reader_gone: false };
        }
        Ok(job) => run::run(job, &context),
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
