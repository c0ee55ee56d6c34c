//! What a destination made of the records it was given.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What a destination made of the records it was given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loaded {
    /// New rows.
    pub inserted: u64,
    /// Rows changed.
    pub updated: u64,
    /// Rows closed and reopened.
    pub closed: u64,
    /// Records already there, equal.
    pub unchanged: u64,
    /// Rows that ended because no record had their key.
    #[serde(default)]
    pub retired: u64,
    /// Records dropped as duplicates of another one in this load.
    pub deduplicated: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Files published, for destinations made of files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<PublishedFile>,
}

/// A file that a run published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedFile {
    /// Where it is.
    pub path: PathBuf,
    /// Records in it.
    pub records: u64,
    /// Its size.
    pub bytes: u64,
}
