//! The keys at the top of a pipeline file.

use std::path::PathBuf;

use gristmill_core::{ByteSize, Ratio};
use gristmill_extract::file::Drift;
use gristmill_parallel::Retry;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::contract::Said;
use crate::testing::TestCase;

/// A pipeline: where records come from, what is done to them, where they go.
///
/// Paths are relative to the folder of the pipeline file.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Raw {
    /// The name of the pipeline, in reports and in the ledger: letters, digits, `_`, `-` and `.`,
    /// beginning with a letter or a digit.
    #[schemars(regex(pattern = "^[A-Za-z0-9][A-Za-z0-9_.-]*$"))]
    pub(crate) pipeline: String,
    /// What the pipeline is for, in a sentence.
    #[serde(default)]
    pub(crate) description: Option<String>,
    /// Where records come from. Several sources are read one after the other, in this order. They have
    /// the same columns, not necessarily in the same order: that of the first source holds.
    #[schemars(length(min = 1))]
    pub(crate) extract: Vec<Map<String, Value>>,
    /// What to do when the sources of `extract` do not have the same columns. Their order does not
    /// matter. With `fill` or `ignore`, columns of one name must have one type as they are read,
    /// before any step.
    #[serde(default)]
    pub(crate) drift: Drift,
    /// What the records of each source were agreed to be, and what becomes of those that are not; or the
    /// path of a file that says so. A source's own `contract` goes before it.
    #[serde(default)]
    pub(crate) contract: Option<Said>,
    /// What is done to every record, in this order.
    #[serde(default)]
    pub(crate) steps: Vec<Map<String, Value>>,
    /// Where records go. Each of several destinations gets every record.
    #[schemars(length(min = 1))]
    pub(crate) load: Vec<Map<String, Value>>,
    /// The file for records that were taken out, with their reasons, one JSON object a line. It is
    /// there after each run. Without it, a run that rejects records keeps them in
    /// `.gristmill/rejects/` beside the pipeline file.
    #[serde(default)]
    pub(crate) rejects: Option<PathBuf>,
    /// The file for the run's report, as JSON.
    #[serde(default)]
    pub(crate) report: Option<PathBuf>,
    /// Bounds of a run.
    #[serde(default)]
    pub(crate) limits: Limits,
    /// How opening a source and publishing are tried again when they fail for a moment.
    #[serde(default)]
    pub(crate) retry: Retry,
    /// Tests of the pipeline, which `gristmill test` runs: input in place of its sources, and what must come of
    /// it.
    #[serde(default)]
    pub(crate) tests: Vec<TestCase>,
}

/// Bounds of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// The memory that a run may use, the program itself included: at least `128MiB`. Where it is
    /// short, fewer chunks are worked on at once; the output is the same. A record longer than a
    /// twentieth of it is rejected.
    pub memory: ByteSize,
    /// How many workers there are. Without it, one for each processor.
    #[schemars(range(min = 1, max = 1024))]
    pub workers: Option<usize>,
    /// How many records may be rejected. Past it, nothing is published.
    pub rejected: Option<u64>,
    /// What share of the records read may be rejected. Past it, nothing is published.
    pub rejected_ratio: Option<Ratio>,
}

impl Limits {
    /// The least that `memory` may be: 32 MiB for the program, a chunk of 8 MiB being worked on,
    /// with ten times its size for its columns, its encoded form and its rejects, and the next.
    pub const LEAST_MEMORY: ByteSize = ByteSize(128 << 20);
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory: ByteSize(1 << 30), workers: None, rejected: None, rejected_ratio: None }
    }
}
