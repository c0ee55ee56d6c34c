//! Reading only what is new: a column that grows, and how far it was read.

use gristmill_core::registry::Range;
use gristmill_core::{Error, ErrorKind, Mistake, Pointer, Result};
use gristmill_parallel::Duration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::source::Relation;

/// What is read since the last run that published. The ledger keeps how far that was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    /// A column whose values grow from record to record: the time of the last change, or a number
    /// from a sequence. A run reads the records whose value is above the greatest one that was read
    /// before, up to the greatest one that there is when it starts. Records without a value, or with
    /// an infinite one, are not read.
    pub column: String,
    /// The least value that is read while nothing was read before. All records when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Value>,
    /// For a column of times (UTC): how long a record may take from its time until it is committed.
    /// Records younger than this are left to a later run, so that none is missed that another
    /// transaction still holds back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag: Option<Duration>,
    /// What the ledger calls it, where that must not change: by default the table, the database and
    /// the column; for a query, the database and the column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Which records a run reads.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bounds {
    /// An operator and a value.
    pub(super) lower: Option<(&'static str, Value)>,
    /// What is given as the end; else it is found in the data.
    pub(super) end: Option<Value>,
    /// Whether how far it is read is kept, and as what.
    pub(super) bookmark: Option<String>,
}

impl Cursor {
    pub(super) fn check(&self) -> Vec<Mistake> {
        let at = |key: &str| Pointer::root().key("cursor").key(key);
        let mut mistakes = Vec::new();
        if self.column.is_empty() {
            mistakes.push(Mistake::new(at("column"), "a cursor needs the name of a column"));
        }
        if !matches!(self.start, None | Some(Value::String(_) | Value::Number(_))) {
            mistakes.push(
                Mistake::new(at("start"), "a cursor starts at a number, a date or a time")
                    .hint("write it like 2024-01-01 or 1000"),
            );
        }
        mistakes
    }

    /// What a run of this range reads.
    pub(super) fn bounds(&self, relation: &Relation, database: &str, range: &Range) -> Bounds {
        match range {
            Range::Between { from, to } => {
                let value = |text: &Option<String>| text.clone().map(Value::String);
                let lower = value(from).map(|from| (">=", from));
                Bounds { lower, end: value(to), bookmark: None }
            }
            Range::New(bookmarks) => {
                let name = self.name.clone().unwrap_or_else(|| {
                    let what = if relation.is_query { "query" } else { &relation.name };
                    format!("{what} of {database} by {}", self.column)
                });
                let last = bookmarks.get(&name).map(|last| (">", last.clone()));
                let lower = last.or_else(|| Some((">=", self.start.clone()?)));
                Bounds { lower, end: None, bookmark: Some(name) }
            }
        }
    }

    /// The number of the column.
    pub(super) fn position(&self, relation: &Relation, names: &[String]) -> Result<usize> {
        names.iter().position(|name| *name == self.column).ok_or_else(|| {
            let message =
                format!("`{}` has no column `{}`, the cursor's", relation.name, self.column);
            Error::new(ErrorKind::Schema, message)
                .hint(format!("its columns are {}", names.join(", ")))
        })
    }

    /// The lag in microseconds, for a column of times.
    pub(super) fn lag_micros(&self, of_times: bool) -> Result<Option<u128>> {
        let Some(lag) = self.lag else { return Ok(None) };
        if !of_times {
            let message = format!("`lag` is for times, and `{}` is none", self.column);
            return Err(Error::new(ErrorKind::Configuration, message)
                .hint("take a column of timestamps as the cursor, or leave `lag` out"));
        }
        Ok(Some(lag.get().as_micros()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    #[test]
    fn a_run_goes_on_where_the_last_one_ended() {
        let cursor: Cursor = serde_json::from_value(json!({"column": "at", "start": 7})).unwrap();
        let table = Relation::table("t").unwrap();
        let bounds = |range: &Range| cursor.bounds(&table, "db", range);
        let first = bounds(&Range::default());
        assert_eq!(first.lower, Some((">=", json!(7))));
        let name = first.bookmark.unwrap();
        assert_eq!(name, "t of db by at");
        let kept = BTreeMap::from([(name, json!(12)), ("other".to_owned(), json!(99))]);
        assert_eq!(bounds(&Range::New(kept.into())).lower, Some((">", json!(12))));
        let between = Range::Between { from: Some("1".to_owned()), to: None };
        let between = bounds(&between);
        assert_eq!((between.lower, between.bookmark), (Some((">=", json!("1"))), None));
    }
}
