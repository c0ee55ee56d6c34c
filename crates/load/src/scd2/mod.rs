//! Slowly changing dimensions of type 2: a row for each version of a key, with the time in which
//! it held.
//!
//! A key's versions are half-open intervals `[effective_date, end_date)`; the current one has no
//! end. A record says what held from its time on:
//!
//! - it equals the version that held until then, in all tracked columns: nothing happens;
//! - it differs: that version ends, and a new one begins at the same instant. When the version was
//!   not the current one (the record comes late), the new one ends where the old one ended;
//! - it differs from a version that began at the very same instant: that version is corrected;
//! - no version held then (a new key, one that was gone, or a time before all versions): a new one
//!   begins, and ends where the next one begins.
//!
//! Several records of a key are applied in the order of their times. Unless records come late, the
//! result is the same whether they come in one load or in several.
//!
//! The options are here; `plan` says what the statements are about, `statements` makes what databases
//! are asked, and the crate's `versions` asks it in order.

mod gone;
mod plan;
mod statements;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(crate) use plan::{Times, check_kept, plan, wrong_type};
pub(crate) use statements::{Names, verdict};

/// What becomes of the current version of a key that no record of the load has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    /// It stays current: the input holds changes only.
    #[default]
    Keep,
    /// It ends.
    Close,
    /// It ends, and a copy of it begins that is marked as deleted.
    Mark,
}

/// Which keys the input is complete for, so that others count as missing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// All keys of the table.
    #[default]
    Full,
    /// The keys whose current version has the same values in these columns as some record.
    Partition(Vec<String>),
}

/// What the columns are called that the load keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct VersionColumns {
    /// When a version began to hold.
    pub effective_date: String,
    /// When it ceased to hold; empty for the current one.
    pub end_date: String,
    /// Whether it is the current one.
    pub is_current: String,
    /// Whether the key was missing at the time, with `missing: mark`.
    pub is_deleted: String,
}

impl Default for VersionColumns {
    fn default() -> Self {
        Self {
            effective_date: "effective_date".to_owned(),
            end_date: "end_date".to_owned(),
            is_current: "is_current".to_owned(),
            is_deleted: "is_deleted".to_owned(),
        }
    }
}

/// The row that facts refer to when they know no key: its surrogate key and other columns.
pub type UnknownMember = IndexMap<String, Value>;
