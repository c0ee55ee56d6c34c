//! The shapes of registry entries: what a connector or step says of itself.
//!
//! Each stage crate has one `KINDS` slice of these. An entry is found by the key that stands first
//! in its item of the pipeline file (`file`, `table`, `clean` …). Its JSON schema is generated from
//! the doc comments of its options struct and drives the check of the pipeline file, the option
//! reference and editors alike.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow_schema::SchemaRef;
use chrono::{DateTime, Utc};
use schemars::{Schema, SchemaGenerator};
use serde_json::Value;

use crate::error::Result;
use crate::expression::ExpressionCompiler;
use crate::loader::Loader;
use crate::mistake::Mistake;
use crate::size::ByteSize;
use crate::stage::{Extractor, Space, StepPlan};

/// An extractor that pipelines can name.
pub struct ExtractorKind {
    /// The key of its item, for example `file`.
    pub name: &'static str,
    /// One sentence for the reference.
    pub about: &'static str,
    /// An item that parses, in YAML, starting with `name:`.
    pub example: &'static str,
    /// The JSON schema of the item.
    pub schema: fn(&mut SchemaGenerator) -> Schema,
    /// Mistakes that the schema cannot express, found without I/O. The item fits the schema.
    pub check: fn(&Value) -> Vec<Mistake>,
    /// Opens the source. The item has no mistakes.
    pub open: fn(&Value, &ExtractContext) -> Result<Box<dyn Extractor>>,
}

/// What an extractor may use.
#[derive(Debug, Clone)]
pub struct ExtractContext {
    /// The folder that relative paths start from.
    pub base: PathBuf,
    /// A folder for temporary files, removed after the run.
    pub scratch: PathBuf,
    /// The memory that the run may use; a single record must stay well below it.
    pub memory: ByteSize,
    /// The number of workers for a pass of the extractor's own, for example to infer types.
    pub workers: usize,
    /// Which records of sources with a cursor are read.
    pub range: Range,
    /// Whether the extractor may guess its columns.
    pub guess: Option<Guess>,
}

/// Leave to tell columns from the beginning of an input, where all of it would have to be read
/// first to know them.
///
/// An extractor that makes use of it says so, and its chunks end the run with an error where a
/// record shows another plan than the guess. Whatever then fails before all chunks are decoded,
/// whoever gave the leave starts again without it; nothing was published.
#[derive(Debug, Clone, Default)]
pub struct Guess(Arc<AtomicBool>);

impl Guess {
    /// Says that there is a guess.
    pub fn make(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Says that every record agreed with it: what fails from now on would have failed without it.
    pub fn confirm(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// Whether there is one that may still be wrong.
    pub fn is_open(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Which records are read of a source that is read incrementally.
#[derive(Debug, Clone, PartialEq)]
pub enum Range {
    /// Those that came since the bookmarks that runs have left, by name.
    New(Arc<BTreeMap<String, Value>>),
    /// Those whose cursor is not below `from` and below `to`. No bookmark is left.
    Between {
        /// The first value that is read.
        from: Option<String>,
        /// The first value that is not read any more.
        to: Option<String>,
    },
    /// Those that a run has read before: what came after the bookmarks `after`, up to the bookmarks
    /// `until`, by name. A source that has none in `until` has no record to read. No bookmark is left.
    Again {
        /// Where the run began.
        after: Arc<BTreeMap<String, Value>>,
        /// Where it ended.
        until: Arc<BTreeMap<String, Value>>,
    },
}

impl Default for Range {
    fn default() -> Self {
        Range::New(Arc::default())
    }
}

/// The longest record that fits into this much memory: while it is read, cut into fields, encoded
/// and compressed there are up to twelve copies of it, and the program takes room of its own.
pub fn longest_record(memory: ByteSize) -> ByteSize {
    ByteSize(memory.0 / 20)
}

/// A step that pipelines can name: an item is `{name: options}`.
pub struct StepKind {
    /// The key of its item, for example `clean`.
    pub name: &'static str,
    /// One sentence for the reference.
    pub about: &'static str,
    /// An item that parses, in YAML, starting with `name:`.
    pub example: &'static str,
    /// The JSON schema of its options: what stands behind `name:`.
    pub schema: fn(&mut SchemaGenerator) -> Schema,
    /// Makes the step's plan from its options, which fit the schema, or says all mistakes in them,
    /// found without columns and without I/O (a bad pattern, an expression that does not parse).
    pub plan: fn(&Value, &dyn ExpressionCompiler) -> Planned,
}

/// A step's plan, or every mistake in its options.
pub type Planned = Result<Box<dyn StepPlan>, Vec<Mistake>>;

/// A loader that pipelines can name.
pub struct LoaderKind {
    /// The key of its item, for example `table`.
    pub name: &'static str,
    /// One sentence for the reference.
    pub about: &'static str,
    /// An item that parses, in YAML, starting with `name:`.
    pub example: &'static str,
    /// The JSON schema of the item.
    pub schema: fn(&mut SchemaGenerator) -> Schema,
    /// Mistakes that the schema cannot express, found without I/O. The item fits the schema.
    pub check: fn(&Value) -> Vec<Mistake>,
    /// Mistakes that need the columns to be seen, found without I/O.
    pub bind: fn(&Value, &SchemaRef) -> Vec<Mistake>,
    /// Opens the destination for batches of this schema. Nothing becomes visible before
    /// [`Loader::publish`].
    pub open: fn(&Value, &SchemaRef, &LoadContext<'_>) -> Result<Box<dyn Loader>>,
    /// Whether a run that did not come to say so has published to the destination. The arguments
    /// are the item, the folder that relative paths start from, and the run. `None` where nothing
    /// tells.
    pub published: fn(&Value, &Path, &str) -> Result<Option<bool>>,
}

/// What a loader may use and say.
#[derive(Debug, Clone, Copy)]
pub struct LoadContext<'a> {
    /// The folder that relative paths start from.
    pub base: &'a Path,
    /// Name of the pipeline.
    pub pipeline: &'a str,
    /// Id of the run; unique, and safe in file names.
    pub run: &'a str,
    /// When the run started.
    pub started: DateTime<Utc>,
    /// A folder for temporary files, removed after the run, or by a later one when it is killed.
    pub scratch: &'a Path,
    /// The memory that the run may use.
    pub memory: ByteSize,
    /// The number of workers for work of the loader's own, beside the run's encoding.
    pub workers: usize,
}

impl LoadContext<'_> {
    /// Room for what a loader keeps until the end.
    pub fn space(&self) -> Space {
        let memory = usize::try_from(self.memory.0).unwrap_or(usize::MAX);
        Space { scratch: self.scratch.to_owned(), memory, workers: self.workers }
    }
}
