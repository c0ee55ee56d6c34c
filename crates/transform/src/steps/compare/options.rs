//! What a pipeline can say about a comparison. The doc comments are the reference text.

use gristmill_core::{Mistake, Pointer};
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::tolerance::Tolerance;
use crate::steps::other::{Columns, Source, key_builders};

/// Compares records with an earlier state of them, by key, and says of each what became of it:
/// `new`, `changed`, `unchanged`, or `missing` for a record of the earlier state whose key no record
/// has. Destinations with `where: change = 'new'` and the like then each get theirs.
///
/// Values are compared as the type that they have in the input, nulls are equal to each other, and
/// so are NaNs. A key stands for one record: of the input's records with the same key all but the
/// first are rejected, and two in the source end the run, with a list of them. Nulls in a key are
/// equal to each other too.
///
/// Records come in the order of the input. Missing ones come behind them in the order of the source,
/// with the source's values in the columns that both have. A record that a later step rejects still
/// names its line, unless it is missing. The step begins a new account.
///
/// A source that does not fit in half of the step's share of `limits.memory` goes to a temporary
/// folder, and the input with it. Keys are told apart by 128-bit hashes, as in `dedupe`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Compare")]
pub struct Compare {
    /// The earlier state: a source as in `extract`, for example `{file: yesterday.csv}`, or
    /// `{query: "SELECT * FROM dim_fund WHERE is_current", database: sqlite://warehouse.db}`.
    pub with: Source,
    /// The columns that are the key: one name, a list, or `{column of the records: column of the
    /// source}` where the names differ. Of records with the same key all but the first are rejected;
    /// two in the source end the run. Nulls are equal to each other.
    pub on: Columns,
    /// The columns that are compared: one name, a list, or `{column of the records: column of the
    /// source}`. All that both have but the key when left out; with an empty list, keys only. Nulls
    /// are equal to each other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub track: Option<Columns>,
    /// How far numbers may be from each other and still be the same, by column: `{aum: 0.01}` for so
    /// much, `{fee: 0.1%}` for a share of the greater one. Other columns are compared exactly.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    #[schemars(with = "std::collections::BTreeMap<String, Tolerance>")]
    pub tolerance: IndexMap<String, Tolerance>,
    /// The name of the new column that says what became of the record: `new`, `changed`, `unchanged`,
    /// or `missing` for one that only the source has. Missing records come last, with the source's
    /// values in the columns that both have.
    #[serde(default = "change")]
    pub column: String,
    /// The name of a new column with the names of the columns that differ, `fund_name, aum`; null
    /// where a record is not changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_columns: Option<String>,
    /// What stands before the names of new columns with the earlier values of the tracked columns;
    /// there are none when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_prefix: Option<String>,
}

fn change() -> String {
    "change".to_owned()
}

impl Compare {
    /// Compares with a source: `json!({"file": "yesterday.csv"})`, or a `File`, `Table`, `Query` or
    /// `Rows` of `gristmill-extract`.
    pub fn new(with: impl Into<Value>) -> Self {
        Self {
            with: Source(with.into()),
            on: Columns::default(),
            track: None,
            tolerance: IndexMap::new(),
            column: change(),
            changed_columns: None,
            old_prefix: None,
        }
    }

    key_builders!();

    /// Compares a column of the records with one of the source.
    #[must_use]
    pub fn track(mut self, column: impl Into<String>, other: impl Into<String>) -> Self {
        self.track.get_or_insert_default().push_pair(column, other);
        self
    }

    /// Lets the numbers in a column be so far from each other and still be the same.
    #[must_use]
    pub fn tolerance(mut self, column: impl Into<String>, tolerance: Tolerance) -> Self {
        self.tolerance.insert(column.into(), tolerance);
        self
    }

    /// Compares nothing but keys.
    #[must_use]
    pub fn keys_only(mut self) -> Self {
        self.track = Some(Columns::default());
        self
    }

    /// The name of the column that says what became of the record.
    #[must_use]
    pub fn column(mut self, name: impl Into<String>) -> Self {
        self.column = name.into();
        self
    }

    /// Adds a column with the names of those that differ.
    #[must_use]
    pub fn changed_columns(mut self, name: impl Into<String>) -> Self {
        self.changed_columns = Some(name.into());
        self
    }

    /// Adds columns with the earlier values of the tracked ones.
    #[must_use]
    pub fn old_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.old_prefix = Some(prefix.into());
        self
    }

    /// Mistakes that are seen without columns.
    pub(super) fn mistakes(&self) -> Vec<Mistake> {
        let at = |key: &str| Pointer::root().key(key);
        let mut mistakes = self.on.key_mistakes();
        if let Some(track) = &self.track {
            mistakes.extend(track.twice("track"));
            for (index, (name, _)) in track.pairs.iter().enumerate() {
                if self.on.pairs.iter().any(|(key, _)| key == name) {
                    let message = format!(
                        "`{name}` is of the key: records that have another one are other records"
                    );
                    mistakes.push(Mistake::new(track.at("track", index), message));
                }
            }
        }
        for (key, empty) in [
            ("column", self.column.is_empty()),
            ("changed_columns", self.changed_columns.as_deref() == Some("")),
        ] {
            if empty {
                mistakes.push(Mistake::new(at(key), "a column needs a name"));
            }
        }
        if self.old_prefix.as_deref() == Some("") {
            mistakes.push(
                Mistake::new(at("old_prefix"), "the columns with earlier values need other names")
                    .hint("write it like `old_prefix: old_`"),
            );
        }
        mistakes
    }
}
