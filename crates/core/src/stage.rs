//! The traits that extractors and steps implement; those of loaders are in [`crate::loader`].
//!
//! They are sync and see batches. A pipeline opens each part from its checked definition, asks the
//! extractor what it can read ([`Extractor::read_plan`]), lets leading steps write themselves into
//! that plan, binds the other steps to the schema, and then moves chunks:
//!
//! ```text
//! Extractor ─▶ Chunk ─▶ Batch ─▶ Step … ─▶ Part (Encoder) ─▶ Encoded ─▶ Loader
//!  one thread   └────────── one worker per chunk ──────────┘     in order, one thread
//! ```

use std::path::PathBuf;
use std::sync::Arc;

use arrow_schema::SchemaRef;
use serde_json::Value;

use crate::batch::Batch;
use crate::check::{CheckContext, CheckResult};
use crate::error::Result;
use crate::expression::ExpressionCompiler;
use crate::findings::Findings;
use crate::mistake::{Mistake, Pointer};
use crate::plan::ReadPlan;
use crate::prune::Prune;

/// Opens a source and cuts it into independent chunks of work, in source order.
pub trait Extractor: Send {
    /// The columns as the source has them, where it decodes text and can be asked to clean and
    /// cast while doing so; `None` where columns come typed (Parquet, Arrow, a database).
    /// Reads no more than the header.
    ///
    /// # Errors
    /// When the source cannot be opened or has no readable header.
    fn read_plan(&mut self) -> Result<Option<ReadPlan>>;

    /// Decides what is read. Called once, before the first chunk, with the plan that
    /// [`Self::read_plan`] gave and steps completed, or `None` if it gave none. Infers types where
    /// the definition asks for it, which reads the whole input.
    ///
    /// # Errors
    /// When the source cannot be read as planned.
    fn begin(&mut self, plan: Option<ReadPlan>) -> Result<SchemaRef>;

    /// Reads only those of the columns that [`Self::begin`] gave, by their places and in this
    /// order, where that saves work: columns that lie apart in the source. Answers whether it does.
    /// Called before the first chunk.
    ///
    /// # Errors
    /// When a place is behind the last column.
    fn keep(&mut self, places: &[usize]) -> Result<bool> {
        let _ = places;
        Ok(false)
    }

    /// Leaves records unread where that saves work and `prune` tells that the first step takes them
    /// out. They are counted as read: in the origin of a batch without rows, and in
    /// [`Findings::filtered`]. Places are those of the columns that chunks have. Called before the
    /// first chunk, if at all.
    fn prune(&mut self, prune: &Arc<dyn Prune>) {
        let _ = prune;
    }

    /// The next piece of work; `None` at the end, and ever after. Boundaries follow the data only.
    ///
    /// # Errors
    /// When the source cannot be read on; nothing more comes after.
    fn next_chunk(&mut self) -> Result<Option<Box<dyn Chunk>>>;

    /// Bytes that will be read in all, before decompression, if that is known.
    fn total_bytes(&self) -> Option<u64>;

    /// Bytes read so far, before decompression.
    fn bytes_read(&self) -> u64;

    /// Things a reader of the report should know: drifted schemas, a byte order mark, a guessed
    /// dialect. One sentence each.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    /// Where the next run goes on, by name: what the ledger keeps when the run publishes. Asked
    /// after the last chunk.
    fn bookmarks(&self) -> Vec<(String, Value)> {
        Vec::new()
    }

    /// Of a source in several parts (files) that do not all have the same columns: the parts that
    /// lack some, with these. Known once [`Self::begin`] was called, or [`Self::read_plan`] where
    /// that gives a plan.
    fn gaps(&self) -> Vec<(Arc<str>, Vec<String>)> {
        Vec::new()
    }

    /// The name of the source, if it turned out to hold nothing, not even the names of columns.
    /// Known once [`Self::read_plan`] was called. Columns that the definition declares are there
    /// all the same; others are missing because of the source, not because of the definition.
    fn empty(&self) -> Option<&str> {
        None
    }
}

/// A piece of a source, decoded on whichever worker takes it into batches small enough to stay in
/// a cache.
pub trait Chunk: Send {
    /// Memory it holds, in bytes: what the budget counts.
    fn size(&self) -> usize;

    /// Whether it starts a new source (the next file): record and line numbers begin again.
    fn starts_source(&self) -> bool;

    /// The next batch; `None` at the end. Records that cannot be read go to `findings` and are
    /// counted in the batch's origin all the same, so a batch may have no rows.
    ///
    /// # Errors
    /// When the input as a whole cannot be read on. A bad record is a finding.
    fn next_batch(&mut self, findings: &mut Findings) -> Result<Option<Batch>>;
}

/// Whether a step's output rows are its input rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grain {
    /// Each output row is one input row: the account balances.
    Preserves,
    /// One input row may become any number of rows: a new account starts.
    Changes,
}

/// A source that a step reads besides the records that flow through it: the other side of a lookup
/// or of a join.
#[derive(Debug, Clone, PartialEq)]
pub struct Reference {
    /// Where it stands in the step's options.
    pub at: Pointer,
    /// Its definition: an item as `extract` has them.
    pub source: Value,
    /// The columns that the step needs, where it can say without seeing them.
    pub columns: Option<Vec<String>>,
}

/// Which columns of its input a step looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Needs {
    /// It may be any.
    All,
    /// These, and it passes all of them on, with some more. Names may differ in case.
    Some {
        /// The columns that it looks at.
        uses: Vec<String>,
        /// The columns that it adds or replaces.
        adds: Vec<String>,
    },
    /// These alone: nothing that comes after it sees another one.
    Only(Vec<String>),
}

/// A step's checked definition, not yet bound to columns.
pub trait StepPlan: Send + Sync {
    /// Which columns it looks at. A source need not make columns of text, which every record has,
    /// when no step looks at them.
    fn needs(&self) -> Needs {
        Needs::All
    }

    /// The sources that the step reads besides its input. Who runs the step opens them, hands their
    /// columns to [`Self::bind`], and their records to [`OrderedStep::load`], or to [`Step::load`]
    /// where the step has no ordered part.
    fn references(&self) -> Vec<Reference> {
        Vec::new()
    }

    /// Writes the step into the source's read plan and answers true, where the decoder can do all
    /// of it. Only called while every step before it answered true.
    ///
    /// # Errors
    /// Mistakes that need the columns to be seen, for example a column that does not exist.
    fn push_down(&self, plan: &mut ReadPlan) -> Result<bool, Vec<Mistake>> {
        let _ = plan;
        Ok(false)
    }

    /// The places of the columns that it keeps, for a step that does no more than leave columns
    /// out, or put them in another order: a source may leave the others unread.
    fn keeps(&self, columns: &[&str]) -> Option<Vec<usize>> {
        let _ = columns;
        None
    }

    /// What tells of many records, by the bounds of their columns, that the step takes all of them
    /// out as filtered; `None` where nothing does.
    fn prune(
        &self,
        input: &SchemaRef,
        expressions: &dyn ExpressionCompiler,
    ) -> Option<Arc<dyn Prune>> {
        let _ = (input, expressions);
        None
    }

    /// Compiles the step for batches of this schema.
    ///
    /// # Errors
    /// Mistakes that need the columns to be seen, all of them.
    fn bind(&self, input: &SchemaRef, context: &BindContext<'_>) -> Result<Bound, Vec<Mistake>>;
}

/// What a step may use while it is bound.
pub struct BindContext<'a> {
    /// Compiles SQL expressions.
    pub expressions: &'a dyn ExpressionCompiler,
    /// The columns of each of the step's [references](StepPlan::references).
    pub references: Vec<SchemaRef>,
}

impl<'a> BindContext<'a> {
    /// For a step without a reference.
    pub fn new(expressions: &'a dyn ExpressionCompiler) -> Self {
        Self { expressions, references: Vec::new() }
    }
}

/// A step compiled for a schema: a row-local part, an ordered part, or both in that order.
pub struct Bound {
    /// What workers do to each batch.
    pub local: Option<Box<dyn Step>>,
    /// What is done to the batches one after the other, in source order.
    pub ordered: Option<Box<dyn OrderedStep>>,
    /// The schema of the result.
    pub output: SchemaRef,
    /// Whether records in and out are the same records.
    pub grain: Grain,
}

/// A row-local step: sees one batch at a time, remembers nothing that changes its result.
pub trait Step: Send + Sync {
    /// Takes the records of the step's first [reference](StepPlan::references), in their order and
    /// without flaws. Called once, before the first batch, for steps that have one. It may hold
    /// `memory` bytes.
    ///
    /// # Errors
    /// When the records cannot be read, do not fit, or are not what the step needs.
    fn load(
        &mut self,
        records: &mut dyn Iterator<Item = Result<Batch>>,
        memory: usize,
    ) -> Result<()> {
        let _ = (records, memory);
        Ok(())
    }

    /// Transforms a batch. Rows that must go get a flaw, or are taken out and counted in
    /// `findings`.
    ///
    /// # Errors
    /// When the run cannot go on: a bug, or a rule with severity `abort`.
    fn apply(&self, batch: Batch, findings: &mut Findings) -> Result<Batch>;

    /// Whether it wants flawed rows to be settled first. Checking steps say false, so that a
    /// record is rejected with the reasons of all of them; anything that computes says true.
    fn settles(&self) -> bool {
        true
    }

    /// Anything the step adds to the run's report, asked once at the end.
    fn report(&self) -> Option<Value> {
        None
    }

    /// Whether what it gathers for [`Self::verdict`] may take much memory; if so, it is told what
    /// it may take.
    fn remembers(&self) -> bool {
        false
    }

    /// Says what a step that remembers may take. Called once, before the first batch.
    fn open(&mut self, space: Space) {
        let _ = space;
    }

    /// Its judgement of the whole input, asked once after the last batch and before anything is
    /// published.
    ///
    /// # Errors
    /// When it cannot be told: a reference cannot be read, the disk is full.
    fn verdict(&self, context: &dyn CheckContext) -> Result<Vec<CheckResult>> {
        let _ = context;
        Ok(Vec::new())
    }
}

/// What a step that remembers may take of the machine.
#[derive(Debug, Clone)]
pub struct Space {
    /// A folder for what does not fit in memory, removed after the run.
    pub scratch: PathBuf,
    /// The bytes of memory that it may hold.
    pub memory: usize,
    /// How many threads may work at once where all workers wait for it.
    pub workers: usize,
}

/// The records of a source, in their order and without flaws, read as they are asked for.
pub type Records = Box<dyn Iterator<Item = Result<Batch>> + Send>;

/// A step that needs to see all batches one after the other (uniqueness, for example).
pub trait OrderedStep: Send {
    /// Takes the records of the step's [references](StepPlan::references). Called once, before
    /// [`Self::open`]; a step reads them when it needs them.
    fn load(&mut self, references: Vec<Records>) {
        let _ = references;
    }

    /// Says what it may take. Called once, before the first batch; a step that is not told takes
    /// 64 MiB, and the system's folder for temporary files.
    fn open(&mut self, space: Space) {
        let _ = space;
    }

    /// As [`Step::apply`], called in source order.
    ///
    /// # Errors
    /// As [`Step::apply`].
    fn apply(&mut self, batch: Batch, findings: &mut Findings) -> Result<Batch>;

    /// Called after the last batch until it answers `None`. A step that held back the rows of the
    /// batches it was given gives them now: for each call of [`Self::apply`] one batch, in the same
    /// order, perhaps without rows.
    ///
    /// # Errors
    /// When what was held back cannot be read again.
    fn release(&mut self, findings: &mut Findings) -> Result<Option<Batch>> {
        let _ = findings;
        Ok(None)
    }

    /// The same step as one that makes a table of its own out of all batches, if it is one. Who can
    /// should use this: [`Self::apply`] has to answer at once with all that a batch becomes.
    fn table(&mut self) -> Option<&mut dyn TableStep> {
        None
    }

    /// Whether it counts all that it holds, so that it may be told to take more than others, of which
    /// nobody knows what they take beside what they count.
    fn keeps_within(&self) -> bool {
        false
    }

    /// As [`Step::settles`].
    fn settles(&self) -> bool {
        true
    }

    /// As [`Step::report`].
    fn report(&self) -> Option<Value> {
        None
    }
}

/// A step whose batches are not those that it was given: it sees its input as one table and makes
/// another, piece by piece.
pub trait TableStep {
    /// Hands over the next batch, whose flaws are settled; `None` at the end, once. Only called
    /// after [`Self::turn`] answered [`Turn::Takes`].
    ///
    /// # Errors
    /// When the run cannot go on.
    fn give(&mut self, batch: Option<Batch>) -> Result<()>;

    /// Works until it has something to give, needs more, or is done.
    ///
    /// # Errors
    /// When the run cannot go on.
    fn turn(&mut self) -> Result<Turn>;

    /// The records that it was given, did not give and is done with, since this was asked last:
    /// how many of them were filtered, and how many were duplicates. Where records in and out are
    /// the same ones, that explains all that are missing.
    fn left_out(&mut self) -> LeftOut {
        LeftOut::default()
    }
}

/// Records that went no further, with nothing wrong with them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// A condition took them out.
    pub filtered: u64,
    /// They were duplicates of another one.
    pub deduplicated: u64,
}

/// What a [`TableStep`] does next.
#[derive(Debug)]
pub enum Turn {
    /// It gives a batch of its own.
    Gives(Batch),
    /// It needs the next batch of its input.
    Takes,
    /// It has given everything. What there still is of its input does not matter to it.
    Done,
}

impl Default for Space {
    fn default() -> Self {
        Self { scratch: std::env::temp_dir(), memory: 64 << 20, workers: 1 }
    }
}
