//! What a pipeline can say about a join. The doc comments are the reference text.

use gristmill_core::{Mistake, Pointer};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::steps::other::{Columns, Source, key_builders, take_builders, take_mistakes};

/// Brings records together with those of another source that have the same key, one record for each
/// pair: a key that the source has several times makes as many of a record. Where a key may find one
/// record only, use `lookup`, which says which keys are double.
///
/// Records come in the order of the input, those that one of them finds in the order of the source.
/// Keys are compared as values of the type that they have in the input. A null key is equal to
/// none, not to another null either.
///
/// A source that does not fit in half of the step's share of `limits.memory` goes to a temporary
/// folder, and the input with it. Keys are told apart by 128-bit hashes, as in `dedupe`. A record
/// that a later step rejects still names its line, unless only the source has it.
///
/// `semi` and `anti` take records out, which count as filtered. The others begin a new account:
/// what came in is not what goes out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Join")]
pub struct Join {
    /// The other source, as in `extract`, for example `{file: orders.csv}`,
    /// `{table: orders, database: sqlite://warehouse.db}` or `{rows: [{region: EU}]}`.
    pub with: Source,
    /// The columns that are the key: one name, a list, or `{column of the records: column of the
    /// source}` where the names differ. A null key is equal to none.
    pub on: Columns,
    /// Which records go on.
    #[serde(default)]
    pub how: How,
    /// The columns of the source that records get: one name, a list, or `{new name: column of the
    /// source}`. All but the key when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub take: Option<Columns>,
    /// What stands before the names of the columns that records get, except those named in a
    /// mapping.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefix: String,
    /// What stands behind the names of those columns whose name is there already. Without it, such
    /// a column is a mistake.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub suffix: String,
}

/// Which records go on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "JoinHow")]
pub enum How {
    /// Pairs, in the order of the input and then of the source: a key that the source has several
    /// times makes as many of a record. Where that would be a mistake, use `lookup`.
    #[default]
    Inner,
    /// Pairs, and each record that finds nothing, with nulls for what it would have got.
    Left,
    /// Pairs, and behind them, in their order, records of the source that nothing found: the key is
    /// theirs, and nulls stand for the other columns of the input.
    Right,
    /// All of `left`, and behind it what `right` adds.
    Full,
    /// Records whose key the source has, once each, as they are. The others count as filtered.
    Semi,
    /// Records whose key the source does not have, as they are; those with a null key too. The others
    /// count as filtered.
    Anti,
}

impl How {
    /// Whether records stay as they are, and are only taken out.
    pub(super) fn only_asks(self) -> bool {
        matches!(self, How::Semi | How::Anti)
    }

    /// Whether records of the input go on that find nothing.
    pub(super) fn keeps_records(self) -> bool {
        matches!(self, How::Left | How::Full)
    }

    /// Whether records of the source go on that nothing finds.
    pub(super) fn keeps_other(self) -> bool {
        matches!(self, How::Right | How::Full)
    }
}

impl Join {
    /// Joins with a source: `json!({"file": "orders.csv"})`, or a `File`, `Table`, `Query` or `Rows`
    /// of `gristmill-extract`.
    pub fn new(with: impl Into<Value>) -> Self {
        Self {
            with: Source(with.into()),
            on: Columns::default(),
            how: How::default(),
            take: None,
            prefix: String::new(),
            suffix: String::new(),
        }
    }

    key_builders!();

    /// Which records go on.
    #[must_use]
    pub fn how(mut self, how: How) -> Self {
        self.how = how;
        self
    }

    take_builders!();

    /// What stands behind the names of columns whose name is there already.
    #[must_use]
    pub fn suffix(mut self, suffix: impl Into<String>) -> Self {
        self.suffix = suffix.into();
        self
    }

    /// Mistakes that are seen without columns.
    pub(super) fn mistakes(&self) -> Vec<Mistake> {
        let at = |key: &str| Pointer::root().key(key);
        let mut mistakes = self.on.key_mistakes();
        mistakes.extend(take_mistakes(self.take.as_ref(), &self.prefix));
        let columns = [
            ("take", self.take.is_some()),
            ("prefix", !self.prefix.is_empty()),
            ("suffix", !self.suffix.is_empty()),
        ];
        for (key, _) in columns.into_iter().filter(|(_, said)| *said && self.how.only_asks()) {
            let message = format!(
                "records get no columns by a join that only takes some out, so `{key}` has no meaning"
            );
            mistakes.push(
                Mistake::new(at(key), message)
                    .on_key()
                    .hint("leave it out, or say `how: inner` or `how: left`"),
            );
        }
        mistakes
    }
}
