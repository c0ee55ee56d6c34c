//! One execution of a pipeline: opens its parts, moves the chunks, keeps the books, publishes.
//!
//! ```text
//! chunks ─▶ ordered map: decode ▸ steps ▸ encode ─▶ in order: rejects, append ─▶ prepare ─▶ publish
//! ```
//!
//! A step that must see all batches one after the other splits the map in two; between them, and
//! at the end, batches pass in source order on the caller's thread.

mod bind;
mod books;
mod checks;
mod job;
mod lines;
mod open;
mod ordered;
mod reference;
mod rejects;
mod segment;
mod table;
mod unite;
mod work;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_schema::SchemaRef;
use chrono::{DateTime, Utc};
use gristmill_core::registry::{Guess, Range, longest_record};
use gristmill_core::{
    ByteSize, Chunk, Encoder, Error, ErrorKind, Findings, LoadContext, Loader, Reason, Result,
};
use gristmill_parallel::{Cancel, MapOptions, Memory, Pool, memory, ordered_map, retry};
use serde_json::Value;

pub use bind::BindError;
pub use job::{Destination, Job, Limits, NamedStep, Rejects, Source};

use crate::report::{DestinationReport, Failure, RejectTally, Report, Status};
use crate::scratch::Scratch;
use books::Books;
use open::{OpenSources, Opened, References};
use ordered::InOrder;
use rejects::RejectsFile;
use segment::{Place, Segment};
use table::InTable;
use work::Work;

/// What happens while a run goes on; for progress bars and logs.
pub trait Observer: Send + Sync {
    /// Called after each chunk, in source order.
    fn progress(&self, progress: &Progress);
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Bytes read from the sources, before decompression.
    pub bytes_read: u64,
    /// Bytes that will be read in all, where that is known.
    pub total_bytes: Option<u64>,
    /// Records read.
    pub records: u64,
    /// Records rejected.
    pub rejected: u64,
    /// Time since the start.
    pub elapsed: Duration,
}

/// Hears of the bookmarks that a run leaves if it publishes.
pub type Publishing<'a> = dyn Fn(&BTreeMap<String, Value>) -> Result<()> + 'a;

/// Who runs a job, and how it is watched and stopped.
pub struct RunContext<'a> {
    /// Id of the run, safe in file names.
    pub id: &'a str,
    /// The folder that relative paths start from.
    pub base: &'a Path,
    /// When the run started.
    pub started: DateTime<Utc>,
    /// Number of workers; what the job says, else the machine's cores, when `None`.
    pub workers: Option<usize>,
    /// Which records of sources with a cursor are read.
    pub range: Range,
    /// Stops the run.
    pub cancel: Cancel,
    /// Watches the run.
    pub observer: Option<&'a dyn Observer>,
    /// Whether everything is done but to publish, and then taken back.
    pub plan: bool,
    /// The last values of a measure, the latest first.
    pub history: Option<&'a History<'a>>,
    /// Told the bookmarks that the run leaves, just before it publishes; may refuse that.
    pub publishing: Option<&'a Publishing<'a>>,
}

/// Answers the last values of a measure, at most so many, the latest first.
pub type History<'a> = dyn Fn(&str, usize) -> Result<Vec<f64>> + 'a;

/// Why a run did not publish.
#[derive(Debug)]
pub enum RunError {
    /// Something it cannot go on after.
    Error(Error),
    /// Parts of the definition do not fit the columns that the sources have.
    Bind(Vec<BindError>),
    /// A source that a step reads is not there: why, and all of which that is so.
    Absent(Error, Vec<BindError>),
}

impl From<BindError> for RunError {
    fn from(part: BindError) -> Self {
        RunError::Bind(vec![part])
    }
}

impl From<Error> for RunError {
    fn from(error: Error) -> Self {
        RunError::Error(error)
    }
}

/// Runs a job. The report says what became of every record, whether the run published or not; the
/// error, if there is one, is also told in it.
pub fn run(job: Job, context: &RunContext<'_>) -> (Report, Option<RunError>) {
    let clock = Instant::now();
    let mut report = Report::new(context.id, &job.name, context.started);
    // Everything is opened again where a guess was wrong, and an input that is gone once it is read
    // cannot be: of their only source, files know whether it is one.
    let is_alone =
        job.sources.len() == 1 && job.steps.iter().all(|step| step.plan.references().is_empty());
    let guess = is_alone.then(Guess::default);
    let mut outcome = execute(&job, context, guess.as_ref(), &mut report, clock);
    if outcome.is_err() && may_be_misled(guess.as_ref(), context) {
        tracing::info!("columns were guessed from the beginning of an input: it is read in full");
        report = Report::new(context.id, &job.name, context.started);
        outcome = execute(&job, context, None, &mut report, clock);
    }
    report.seconds = clock.elapsed().as_secs_f64();
    report.peak_memory_bytes = memory::usage().map(|usage| usage.peak);
    report.ended = Some(context.started + clock.elapsed());
    match outcome {
        Ok(()) => {
            let plan = context.plan;
            report.status = if plan { Status::Planned } else { Status::Published };
            (report, None)
        }
        Err(error) => {
            let failure = Failure::of(&error);
            report.status = failure.status();
            report.take_back();
            report.error = Some(failure);
            (report, Some(error))
        }
    }
}

/// A contract that a record breaks, where its policy is to freeze.
fn broken(reason: &Reason, tallies: &[RejectTally]) -> Error {
    let same = |tally: &&RejectTally| {
        tally.field.as_deref() == reason.field.as_deref() && tally.rule.as_str() == reason.rule
    };
    let place = tallies.iter().find(same).map(|tally| match tally.line {
        Some(line) => format!(" ({}:{line})", tally.source),
        None => format!(" (record {} of {})", tally.record, tally.source),
    });
    let field = reason.field.as_deref().unwrap_or("record");
    let (message, place) = (&reason.message, place.unwrap_or_default());
    let message = format!("the contract is broken: `{field}` {message}{place}");
    let kind = if reason.rule == "type" { "type" } else { "null" };
    Error::new(ErrorKind::Stopped, message).hint(format!(
        "mend the source, or let such records be rejected: `policy: {{{kind}: quarantine_record}}`"
    ))
}

/// Whether what failed may not have failed with the right columns.
fn may_be_misled(guess: Option<&Guess>, context: &RunContext<'_>) -> bool {
    guess.is_some_and(Guess::is_open) && !context.cancel.is_cancelled()
}

/// Runs a job. With `guess`, sources may guess their columns. What fails while a guess is open
/// leaves nothing behind, no rejects either.
fn execute(
    job: &Job,
    context: &RunContext<'_>,
    guess: Option<&Guess>,
    report: &mut Report,
    clock: Instant,
) -> Result<(), RunError> {
    let workers = workers(job, context);
    report.workers = workers;
    let scratch = Scratch::new()?;
    let mut rejects = RejectsFile::create(&job.rejects, context.id, &job.name)?;

    let pool = Pool::new(workers)?;
    let Opened { sources, segments, steps, schema, before } =
        open::open(job, context, scratch.path(), References::Read, guess)?;
    let mut books = Books::new(&steps);
    let load_context = LoadContext {
        base: context.base,
        pipeline: &job.name,
        run: context.id,
        started: context.started,
        scratch: scratch.path(),
        memory: job.limits.memory,
        workers,
    };
    let mut loaders = Vec::with_capacity(job.destinations.len());
    for (destination, step) in job.destinations.iter().zip(before) {
        let opened =
            retry(&job.retry, &context.cancel, |_| destination.open(&schema, &load_context))?;
        loaders.push(match step {
            Some(step) => gristmill_load::before(step, opened),
            None => opened,
        });
    }
    if context.plan {
        loaders.iter_mut().for_each(|loader| loader.plan());
    }
    report.destinations =
        loaders.iter().map(|loader| DestinationReport::new(loader.name())).collect();

    let encoders: Vec<_> = loaders.iter().map(|loader| loader.encoder()).collect();
    let progress = sources.progress();
    let reporters = segment::Reporters::of(&segments);
    let budget = usize::try_from(job.limits.memory.0).unwrap_or(usize::MAX) / IN_FLIGHT_SHARE;
    let machine = Machine {
        pool,
        budget: budget / segments.len(),
        memory: Memory::of_process(job.limits.memory.0),
        cancel: context.cancel.clone(),
    };
    let mut findings = Findings::default();
    let mut take = |work: Work| -> Result<()> {
        books.add(&work);
        rejects.write(&work.lines)?;
        findings.append(work.findings);
        let parts = loaders.iter_mut().zip(work.parts).zip(&mut report.destinations);
        for ((loader, part), destination) in parts {
            destination.account.read += part.records;
            rejects.write_findings(&mut destination.append(loader.as_mut(), part)?)?;
        }
        if let Some(reason) = findings.stopped() {
            return Err(broken(reason, &rejects.tallies()));
        }
        if let Some(observer) = context.observer {
            observer.progress(&progress.so_far(books.read(), rejects.count(), clock.elapsed()));
        }
        job.limits.check_rejected(rejects.count())
    };
    let flow = Instant::now();
    let mut outcome = machine.stream(sources, segments, encoders).try_for_each(|work| take(work?));
    if outcome.is_err() && may_be_misled(guess, context) {
        loaders.into_iter().for_each(Loader::abort);
        return outcome.map_err(RunError::Error);
    }
    if let Some(guess) = guess {
        guess.confirm();
    }
    if outcome.is_ok() {
        let sources = books.sources();
        let outside = checks::Outside { context, sources };
        outcome = reporters.verdict(&outside).and_then(|found| {
            report.checks = found;
            checks::stop(&report.checks)
        });
    }
    if outcome.is_ok() {
        outcome = rejects.hurry();
    }
    if outcome.is_ok() {
        outcome = loaders.iter_mut().zip(&mut report.destinations).try_for_each(
            |(loader, destination)| {
                while let Some(mut refused) = destination.settle(loader.as_mut())? {
                    rejects.write_findings(&mut refused)?;
                    job.limits.check_rejected(rejects.count())?;
                }
                rejects.write_findings(&mut destination.prepare(loader.as_mut())?)
            },
        );
    }

    report.notes = progress.notes();
    report.notes.extend(loaders.iter().flat_map(|loader| loader.notes()));
    report.read = books.read();
    report.bytes_read = progress.bytes();
    report.sources = books.sources();
    report.steps = books.steps(&reporters, flow.elapsed(), progress.bytes());
    report.warnings = crate::report::warnings(&findings);
    report.rejected = rejects.count();
    report.rejected_by = rejects.tallies();
    report.notes.extend(short_of_memory(&report.rejected_by, job.limits.memory));
    if outcome.is_ok() {
        outcome = progress
            .bookmarks()
            .map(|bookmarks| report.bookmarks = bookmarks)
            .and_then(|()| books.check(report))
            .and_then(|()| job.limits.check(rejects.count(), books.read()))
            .and_then(|()| context.cancel.check());
    }
    if context.plan && outcome.is_ok() {
        loaders.into_iter().for_each(Loader::abort);
        return Ok(());
    }
    // Written even when the run fails: what was found wrong is worth knowing.
    let written = rejects.publish();
    report.rejects_file = written.as_ref().ok().cloned().flatten();
    outcome = outcome.and(written.map(drop));
    if let Some(publishing) = context.publishing.filter(|_| outcome.is_ok()) {
        outcome = publishing(&report.bookmarks);
    }
    if let Err(error) = outcome {
        loaders.into_iter().for_each(Loader::abort);
        return Err(error.into());
    }
    publish(loaders, job, context, report)?;
    Ok(())
}

/// The columns that destinations would get. Opens the sources and binds every part to them.
///
/// # Errors
/// When a source cannot be opened, or a part does not fit the columns.
pub fn schema(job: &Job, context: &RunContext<'_>) -> Result<SchemaRef, RunError> {
    let scratch = Scratch::new()?;
    Ok(open::open(job, context, scratch.path(), References::Opened, None)?.schema)
}

/// Memory limit divided by this is what chunks in flight may hold as source text: a chunk being
/// worked on also has its columns, its encoded form and its share of the writer's buffers.
const IN_FLIGHT_SHARE: usize = 6;

/// Publishes every destination: commits, which can still be refused, before mere renames.
fn publish(
    loaders: Vec<Box<dyn Loader>>,
    job: &Job,
    context: &RunContext<'_>,
    report: &mut Report,
) -> Result<()> {
    // From here on an interrupt is not heard: it could only leave one destination new and another
    // old.
    if let Err(error) = context.cancel.commit() {
        loaders.into_iter().for_each(Loader::abort);
        return Err(error);
    }
    let mut loaders: Vec<_> = loaders.into_iter().zip(&mut report.destinations).collect();
    loaders.sort_by_key(|(loader, _)| !loader.commits());
    let mut published = Vec::new();
    let mut loaders = loaders.into_iter();
    while let Some((mut loader, destination)) = loaders.next() {
        match retry(&job.retry, &context.cancel, |_| loader.publish()) {
            Ok(_) => {
                destination.published = true;
                published.push(format!("`{}`", destination.name));
            }
            Err(error) => {
                loader.abort();
                loaders.for_each(|(loader, _)| loader.abort());
                return Err(match published.as_slice() {
                    [] => error,
                    done => error.amend(&format!("(published before it: {})", done.join(", "))),
                });
            }
        }
    }
    Ok(())
}

/// What to say where records were too long for the memory there is.
fn short_of_memory(tallies: &[RejectTally], memory: ByteSize) -> Option<String> {
    let room = longest_record(memory);
    let long = tallies.iter().find(|tally| tally.rule == "record_size")?;
    long.example.ends_with(&room.to_string()).then(|| {
        format!("records longer than {room} were rejected, because `limits.memory` is {memory}: a record may take a twentieth of it")
    })
}

fn workers(job: &Job, context: &RunContext<'_>) -> usize {
    context.workers.or(job.limits.workers).unwrap_or_else(cores)
}

/// The machine's cores.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

struct Machine {
    pool: Pool,
    budget: usize,
    memory: Memory,
    cancel: Cancel,
}

type Stream = Box<dyn Iterator<Item = Result<Work>>>;

impl Machine {
    /// All chunks of the sources, decoded, worked on and encoded, in source order.
    fn stream(
        &self,
        sources: OpenSources,
        segments: Vec<Segment>,
        encoders: Vec<Arc<dyn Encoder>>,
    ) -> Stream {
        let last = segments.len() - 1;
        let mut segments = segments.into_iter().enumerate();
        let Some((_, first)) = segments.next() else { return Box::new(std::iter::empty()) };
        let mut waiting = first.ordered;
        let local = Arc::clone(&first.local);
        let first_encoders = if last == 0 { encoders.clone() } else { Vec::new() };
        let decoded = ordered_map(
            &self.pool,
            self.options(),
            sources,
            |item: &(Box<dyn Chunk>, usize)| item.0.size(),
            move |(chunk, source)| local.decode(chunk, source, &first_encoders),
        );
        let mut place = Place::default();
        let mut stream: Stream = Box::new(decoded.map(move |work| {
            let mut work = work?;
            place.set(&mut work);
            Ok(work)
        }));
        for (i, segment) in segments {
            if let Some(ordered) = waiting.take() {
                stream = if ordered.is_table() {
                    Box::new(InTable::new(stream, ordered))
                } else {
                    Box::new(InOrder::new(stream, ordered))
                };
            }
            let local = Arc::clone(&segment.local);
            let encoders = if i == last { encoders.clone() } else { Vec::new() };
            stream = Box::new(ordered_map(
                &self.pool,
                self.options(),
                stream,
                Work::size,
                move |work| local.apply(work, &encoders),
            ));
            waiting = segment.ordered;
        }
        stream
    }

    fn options(&self) -> MapOptions {
        MapOptions {
            budget: self.budget,
            memory: Some(self.memory),
            cancel: self.cancel.clone(),
            max_in_flight: None,
        }
    }
}
