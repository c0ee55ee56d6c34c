//! Opening: sources and their columns, steps bound to them, segments made of the steps.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow_schema::{Schema, SchemaRef};
use gristmill_core::registry::Guess;
use gristmill_core::text::ColumnPlan;
use gristmill_core::types::type_name;
use gristmill_core::{
    BindContext, Chunk, Error, ErrorKind, ExtractContext, Extractor, Grain, Needs, Pointer,
    ReadPlan, Result, Space, Step, StepPlan,
};
use gristmill_extract::file::Drift;
use gristmill_parallel::retry;
use serde_json::Value;

use super::bind::{BindError, Binder, absent, extract_context};
use super::segment::{Local, Ordered, Segment};
use super::unite::unite;
use super::{Job, Progress, RunContext, RunError};

/// A step as the books know it.
pub(super) struct StepInfo {
    pub(super) name: String,
    pub(super) grain: Grain,
}

pub(super) struct Opened {
    pub(super) sources: OpenSources,
    pub(super) segments: Vec<Segment>,
    pub(super) steps: Vec<StepInfo>,
    /// The columns that destinations get.
    pub(super) schema: SchemaRef,
    /// What each destination does with records before it takes them.
    pub(super) before: Vec<Option<Arc<dyn Step>>>,
}

/// Memory limit divided by this is what the steps that remember may hold together.
const REMEMBERING_SHARE: u64 = 4;
/// So many times as much is for an ordered one that counts all that it holds, and may be held beside
/// it by one that does not.
const COUNTED: u64 = 2;
/// What ordered steps leave to the rest of the run, whatever its limit is: the program, a chunk that
/// is read, and chunks of theirs that are written.
const BESIDE: u64 = 96 << 20;

/// Whether steps read their references.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum References {
    /// Only their columns are looked at.
    Opened,
    Read,
}

/// Opens the sources, writes leading steps into their read plans, and binds the others.
pub(super) fn open(
    job: &Job,
    context: &RunContext<'_>,
    scratch: &Path,
    references: References,
    guess: Option<&Guess>,
) -> Result<Opened, RunError> {
    let mut read = Vec::new();
    parts(job, context, scratch, references, guess, &mut read).map_err(|error| match error {
        RunError::Bind(bind) => match read.into_iter().collect::<Option<Vec<_>>>() {
            Some(empty) if !empty.is_empty() => RunError::Error(without_columns(&empty, bind)),
            _ => RunError::Bind(bind.into_iter().chain(absent(job, context, scratch)).collect()),
        },
        RunError::Absent(error, wrong) => {
            let found_wrong = !wrong.is_empty();
            let parts = wrong.into_iter().chain(absent(job, context, scratch)).collect();
            if found_wrong { RunError::Bind(parts) } else { RunError::Absent(error, parts) }
        }
        other => other,
    })
}

/// A definition that does not fit because there is nothing that it could fit.
fn without_columns(sources: &[String], bind: Vec<BindError>) -> Error {
    let names: Vec<_> = sources.iter().map(|name| format!("`{name}`")).collect();
    let (verb, its) = if names.len() == 1 { ("is", "its") } else { ("are", "their") };
    let message = format!("{} {verb} empty, without the names of {its} columns", names.join(", "));
    let error = Error::new(ErrorKind::Schema, message)
        .hint("get the input again; where it may be empty, declare its columns with `columns:`");
    match bind.into_iter().flat_map(|part| part.mistakes).next() {
        Some(first) => error.caused_by(first.message),
        None => error,
    }
}

/// Opens everything. `read_so_far` gets the name of each source that is empty, nothing for the others.
fn parts(
    job: &Job,
    context: &RunContext<'_>,
    scratch: &Path,
    references: References,
    guess: Option<&Guess>,
    read_so_far: &mut Vec<Option<String>>,
) -> Result<Opened, RunError> {
    let (range, guess) = (context.range.clone(), guess.cloned());
    let extract = ExtractContext { range, guess, ..extract_context(job, context, scratch) };
    let unites = job.drift != Drift::Error && job.sources.len() > 1;
    let mut read = Vec::with_capacity(job.sources.len());
    for source in &job.sources {
        let (mut extractor, plan) = retry(&job.retry, &context.cancel, |_| {
            let mut extractor = source.open(&extract)?;
            let plan = extractor.read_plan()?;
            Ok((extractor, plan))
        })?;
        read_so_far.push(extractor.empty().map(str::to_owned));
        let (schema, pushed) = match plan {
            // Steps see the columns of all sources then.
            plan if unites => (extractor.begin(plan)?, 0),
            Some(plan) => {
                let (plan, pushed) = push_down(job, plan)?;
                (extractor.begin(Some(plan))?, pushed)
            }
            None => {
                let schema = extractor.begin(None)?;
                let (places, pushed) = kept(job, &schema);
                let (schema, pushed) = match pushed > 0 && extractor.keep(&places)? {
                    true => (Arc::new(schema.project(&places).map_err(Error::from)?), pushed),
                    false => (schema, 0),
                };
                // The books of one source know which step left records out.
                if let ([_], Some(step)) = (&job.sources[..], job.steps.get(pushed))
                    && let Some(prune) = step.plan.prune(&schema, &*job.expressions)
                {
                    extractor.prune(&prune);
                }
                (schema, pushed)
            }
        };
        read.push((extractor, schema, pushed));
    }
    if unites {
        let sources = read.into_iter().map(|(extractor, schema, _)| (extractor, schema)).collect();
        let united = unite(sources, job.drift)?.into_iter();
        read = united.map(|(extractor, schema)| (extractor, schema, 0)).collect();
    }
    let leading = read.iter().map(|(_, _, pushed)| *pushed).max().unwrap_or_default();

    let mut binder = Binder::new(job, context, scratch, references);
    let mut local = Local::default();
    let mut extractors = Vec::with_capacity(read.len());
    let mut schema: Option<SchemaRef> = None;
    for (extractor, mut own, pushed) in read {
        let mut steps = Vec::new();
        for index in pushed..leading {
            let bound = binder.bind(index, &own)?;
            steps.extend(bound.local.map(|step| (index, step)));
            own = bound.output;
        }
        local.leading.push(steps);
        local.order.push(match &schema {
            Some(first) => agree(first, &own, extractors.len() + 1)?,
            None => None,
        });
        schema.get_or_insert(own);
        extractors.push(extractor);
    }
    let mut schema =
        schema.ok_or_else(|| Error::internal("a pipeline without a source was run"))?;
    binder.steps = (0..leading).map(|index| binder.info(index, Grain::Preserves)).collect();

    let mut segments: Vec<Segment> = Vec::new();
    for index in leading..job.steps.len() {
        let bound = binder.bind(index, &schema)?;
        binder.steps.push(binder.info(index, bound.grain));
        local.steps.extend(bound.local.map(|step| (index, step)));
        if let Some(step) = bound.ordered {
            let ordered = Ordered { index, step: Arc::new(Mutex::new(step)) };
            let done = std::mem::take(&mut local);
            segments.push(Segment { local: Arc::new(done), ordered: Some(ordered) });
        }
        schema = bound.output;
    }
    segments.push(Segment { local: Arc::new(local), ordered: None });
    share_memory(&mut segments, job, scratch, super::workers(job, context));

    let mut before: Vec<Option<Arc<dyn Step>>> = Vec::with_capacity(job.destinations.len());
    for destination in &job.destinations {
        let mut mistakes = destination.bind(&schema);
        let context = BindContext::new(job.expressions.as_ref());
        let condition = destination.condition.as_ref();
        before.push(match condition.map(|condition| condition.bind(&schema, &context)) {
            Some(Ok(bound)) => bound.local.map(Arc::from),
            Some(Err(wrong)) => {
                let at = Pointer::root().key("where");
                mistakes.extend(wrong.into_iter().map(|mistake| mistake.under(&at)));
                None
            }
            None => None,
        });
        if !mistakes.is_empty() {
            return Err(BindError { at: destination.at.clone(), mistakes }.into());
        }
    }
    Ok(Opened {
        sources: OpenSources::new(extractors),
        segments,
        steps: binder.steps,
        schema,
        before,
    })
}

/// Says what they may take to the steps that remember.
fn share_memory(segments: &mut [Segment], job: &Job, scratch: &Path, workers: usize) {
    let count = |segment: &Segment| {
        let local = segment.local.steps.iter().filter(|(_, step)| step.remembers()).count();
        local + usize::from(segment.ordered.is_some())
    };
    let remembering = segments.iter().map(count).sum::<usize>().max(1);
    let limit = job.limits.memory.0;
    let all = limit / REMEMBERING_SHARE;
    let share = |all: u64| usize::try_from(all / remembering as u64).unwrap_or(usize::MAX);
    let (memory, ordered_memory) =
        (share(all), share(all.min(limit.saturating_sub(BESIDE) / COUNTED)));
    let space = Space { scratch: scratch.to_owned(), memory, workers };
    for segment in segments {
        if let Some(ordered) = &segment.ordered {
            let mut step = ordered.step.lock().unwrap_or_else(PoisonError::into_inner);
            let times = if step.keeps_within() { COUNTED as usize } else { 1 };
            let memory = ordered_memory.saturating_mul(times);
            step.open(Space { memory, ..space.clone() });
        }
        let local = Arc::get_mut(&mut segment.local).into_iter();
        for (_, step) in local.flat_map(|local| &mut local.steps) {
            if step.remembers() {
                step.open(space.clone());
            }
        }
    }
}

/// Lets leading steps write themselves into the plan; says how many did.
fn push_down(job: &Job, mut plan: ReadPlan) -> Result<(ReadPlan, usize), RunError> {
    for (index, step) in job.steps.iter().enumerate() {
        let mut next = plan.clone();
        match step.plan.push_down(&mut next) {
            Ok(true) => plan = next,
            Ok(false) => {
                leave_out(job, index, &mut plan);
                return Ok((plan, index));
            }
            Err(mistakes) => {
                return Err(BindError { at: step.at.clone(), mistakes }.into());
            }
        }
    }
    Ok((plan, job.steps.len()))
}

/// The columns that leading steps keep, and how many steps that are.
fn kept(job: &Job, schema: &Schema) -> (Vec<usize>, usize) {
    let mut places: Vec<usize> = (0..schema.fields().len()).collect();
    for (index, step) in job.steps.iter().enumerate() {
        let names: Vec<&str> =
            places.iter().map(|&place| schema.field(place).name().as_str()).collect();
        match step.plan.keeps(&names) {
            Some(kept) => places = kept.into_iter().map(|place| places[place]).collect(),
            None => return (places, index),
        }
    }
    (places, job.steps.len())
}

/// Leaves out texts that no step looks at, those from this one on. Of several sources nothing is left
/// out, since all are to have the same columns.
fn leave_out(job: &Job, from: usize, plan: &mut ReadPlan) {
    let mut needed: Vec<String> = Vec::new();
    let mut known: Vec<String> = plan.columns.iter().map(|column| column.name.clone()).collect();
    let is_in = |names: &[String], name: &str| {
        names.iter().any(|known| known.to_lowercase() == name.to_lowercase())
    };
    if job.sources.len() > 1 {
        return;
    }
    for step in &job.steps[from..] {
        let (uses, adds, ends) = match step.plan.needs() {
            Needs::All => return,
            Needs::Some { uses, adds } => (uses, adds, false),
            Needs::Only(uses) => (uses, Vec::new(), true),
        };
        // A mistake is told with the names of all columns.
        if !uses.iter().all(|name| is_in(&known, name)) {
            return;
        }
        needed.extend(uses);
        known.extend(adds);
        if ends {
            let used = |column: &ColumnPlan| is_in(&needed, &column.name);
            let stays = |column: &ColumnPlan| !column.takes_any_text() || used(column);
            // Records are counted by the rows of some column.
            if plan.columns.iter().any(stays) {
                plan.columns.retain(stays);
            }
            return;
        }
    }
}

/// Chained sources must give the same columns as the first. Answers where they are in this one,
/// when it has them in another order.
fn agree(first: &Schema, other: &Schema, number: usize) -> Result<Option<Vec<usize>>> {
    let describe = |schema: &Schema| -> Vec<String> {
        let fields = schema.fields().iter();
        fields.map(|field| format!("`{}` ({})", field.name(), type_name(field))).collect()
    };
    let (first, other) = (describe(first), describe(other));
    if first == other {
        return Ok(None);
    }
    let missing: Vec<_> = first.iter().filter(|column| !other.contains(column)).cloned().collect();
    let extra: Vec<_> = other.iter().filter(|column| !first.contains(column)).cloned().collect();
    let what = match (missing.is_empty(), extra.is_empty()) {
        (true, true) => {
            let place = |column| other.iter().position(|there| there == column);
            return Ok(Some(first.iter().filter_map(place).collect()));
        }
        (false, true) => format!("lacks {}", missing.join(", ")),
        (true, false) => format!("has {} besides", extra.join(", ")),
        (false, false) => format!("lacks {} and has {}", missing.join(", "), extra.join(", ")),
    };
    Err(Error::new(
        ErrorKind::Schema,
        format!("the sources of `extract` do not have the same columns: source {number} {what}"),
    )
    .hint("declare the types with `columns:` on each source, bring them into line with `select` and `cast`, or say `drift: fill` for the columns of all of them"))
}

/// The sources, one after the other, as chunks with the number of the source.
pub(super) struct OpenSources {
    extractors: Vec<Box<dyn Extractor>>,
    current: usize,
    shared: Arc<Shared>,
}

struct Shared {
    bytes: AtomicU64,
    total_bytes: Option<u64>,
    notes: Mutex<Vec<Vec<String>>>,
    bookmarks: Mutex<Vec<(String, Value)>>,
}

/// Sees how far the sources are read, from outside the stream.
#[derive(Clone)]
pub(super) struct ReadProgress(Arc<Shared>);

impl OpenSources {
    fn new(extractors: Vec<Box<dyn Extractor>>) -> Self {
        let total_bytes = extractors.iter().map(|extractor| extractor.total_bytes()).sum();
        let notes = extractors.iter().map(|extractor| extractor.notes()).collect();
        let shared = Shared {
            bytes: AtomicU64::new(0),
            total_bytes,
            notes: Mutex::new(notes),
            bookmarks: Mutex::default(),
        };
        Self { extractors, current: 0, shared: Arc::new(shared) }
    }

    pub(super) fn progress(&self) -> ReadProgress {
        ReadProgress(Arc::clone(&self.shared))
    }
}

impl Iterator for OpenSources {
    type Item = Result<(Box<dyn Chunk>, usize)>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let current = self.current;
            let next = self.extractors.get_mut(current)?.next_chunk();
            let bytes = self.extractors.iter().map(|extractor| extractor.bytes_read()).sum();
            self.shared.bytes.store(bytes, Ordering::Relaxed);
            match next {
                Ok(Some(chunk)) => return Some(Ok((chunk, current))),
                Ok(None) => {
                    let notes = self.extractors[current].notes();
                    let mut all = self.shared.notes.lock().unwrap_or_else(PoisonError::into_inner);
                    all[current] = notes;
                    drop(all);
                    let left = self.extractors[current].bookmarks();
                    let mut all =
                        self.shared.bookmarks.lock().unwrap_or_else(PoisonError::into_inner);
                    all.extend(left);
                    drop(all);
                    self.current += 1;
                }
                Err(error) => {
                    self.current = self.extractors.len();
                    return Some(Err(error));
                }
            }
        }
    }
}

impl ReadProgress {
    pub(super) fn bytes(&self) -> u64 {
        self.0.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn notes(&self) -> Vec<String> {
        self.0.notes.lock().unwrap_or_else(PoisonError::into_inner).concat()
    }

    /// The bookmarks that the sources leave.
    ///
    /// # Errors
    /// When two sources leave the same one: the next run could not tell them apart.
    pub(super) fn bookmarks(&self) -> Result<BTreeMap<String, Value>> {
        let all = self.0.bookmarks.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bookmarks = BTreeMap::new();
        for (name, value) in all.iter() {
            if bookmarks.insert(name.clone(), value.clone()).is_some() {
                let message = format!("two sources keep the bookmark `{name}`");
                return Err(Error::new(ErrorKind::Configuration, message)
                    .hint("give each cursor a name of its own, `cursor: {name: …}`, and let one source read a file"));
            }
        }
        Ok(bookmarks)
    }

    pub(super) fn so_far(&self, records: u64, rejected: u64, elapsed: Duration) -> Progress {
        Progress {
            bytes_read: self.bytes(),
            total_bytes: self.0.total_bytes,
            records,
            rejected,
            elapsed,
        }
    }
}
