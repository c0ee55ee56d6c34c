//! Checks: judgements about a whole input, made once all of it has passed.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Result;

/// What a check that fails does.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Gravity {
    /// Nothing is published.
    #[default]
    Error,
    /// The report says so.
    Warn,
}

/// What was measured for a check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// What it is a measure of, in words that stay the same from run to run.
    pub measure: String,
    /// The value; none when there was nothing to measure. Times are seconds since 1970.
    pub value: Option<f64>,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckResult {
    /// What the check is called.
    pub name: String,
    /// Whether it passed.
    pub passed: bool,
    /// What it does when it fails.
    pub severity: Gravity,
    /// What was measured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub observed: Vec<Observation>,
    /// Of a check that failed: what was found, and what was expected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Labels that it has in a ruleset.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// A file, for checks about files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFacts {
    /// Its path.
    pub path: String,
    /// Bytes in it.
    pub size: u64,
    /// When it was last changed.
    pub modified: DateTime<Utc>,
}

/// What checks may ask about the world outside of their input.
pub trait CheckContext {
    /// When the run started.
    fn now(&self) -> DateTime<Utc>;

    /// The last values of a measure that runs of this pipeline have observed, the latest first.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    fn history(&self, measure: &str, last: usize) -> Result<Vec<f64>>;

    /// The files at a path, that of a file or of a folder; those that were read where it is not given.
    ///
    /// # Errors
    /// When there is none.
    fn files(&self, path: Option<&str>) -> Result<Vec<FileFacts>>;
}
