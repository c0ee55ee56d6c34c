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
    /// an infinite one, are not read. Times without a zone should be UTC: local ones come twice in
    /// autumn.
    pub column: String,
    /// The least value that is read while nothing was read before. All records when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Value>,
    /// For a column of times (UTC): how long a record may take from its time until it is committed.
    /// Records younger than this are left to a later run, so that none is missed that another
    /// transaction still holds back; of dates, all records of days that are not over for as long.
    /// Without it, a record is missed that is committed later than one with the same or a greater
    /// value that was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag: Option<Duration>,
    /// What the ledger calls it, where that must not change: by default the table, the database and
    /// the column; for a query, the database and the column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// The column of a cursor, in its database.
pub(super) trait Column {
    /// Whether it has dates, which are as coarse as a day.
    fn is_date(&self) -> bool;

    /// A value as SQL writes it.
    fn written(&self, value: &Value) -> Result<String>;

    /// The condition for what is old enough to be read, by a lag in microseconds. `column` is the
    /// column as SQL writes it, here and below.
    fn is_settled(&self, column: &str, lag: u128) -> String;

    /// A condition without which a value would be the end of all reading.
    fn is_finite(&self, column: &str) -> Option<String>;

    /// The greatest value of the column in the rows of a FROM clause and what follows it; `None`
    /// where there is no value.
    fn greatest(&self, column: &str, from: &str) -> Result<Option<Value>>;
}

/// A source within the bounds of a run.
pub(super) struct Narrowed {
    /// A statement that gives its records.
    pub(super) select: String,
    /// Where the next run goes on.
    pub(super) bookmark: Option<(String, Value)>,
    /// What a reader of the report should know.
    pub(super) notes: Vec<String>,
}

/// Which records a run reads.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bounds {
    /// An operator and a value.
    lower: Option<(&'static str, Value)>,
    end: End,
}

/// Where the records end that a run reads.
#[derive(Debug, Clone, PartialEq)]
enum End {
    /// At the greatest value that there is, which is kept under this name.
    Found(String),
    /// An operator and a value.
    Given(&'static str, Value),
    /// With the data.
    Open,
    /// Before the first.
    Nowhere,
}

impl Bounds {
    /// The values that a person gave.
    pub(super) fn given(&self) -> impl Iterator<Item = &Value> {
        let from = self.lower.as_ref().filter(|(operator, _)| *operator == ">=");
        let to = match &self.end {
            End::Given("<", to) => Some(to),
            _ => None,
        };
        from.map(|(_, from)| from).into_iter().chain(to)
    }

    /// Where the last run ended.
    pub(super) fn last(&self) -> Option<&Value> {
        self.lower.as_ref().filter(|(operator, _)| *operator == ">").map(|(_, last)| last)
    }
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
                let end = value(to).map_or(End::Open, |to| End::Given("<", to));
                Bounds { lower, end }
            }
            Range::New(bookmarks) => {
                let name = self.bookmark(relation, database);
                Bounds { lower: self.after(bookmarks.get(&name)), end: End::Found(name) }
            }
            Range::Again { after, until } => {
                let name = self.bookmark(relation, database);
                let end = until.get(&name).map_or(End::Nowhere, |to| End::Given("<=", to.clone()));
                Bounds { lower: self.after(after.get(&name)), end }
            }
        }
    }

    /// What the ledger calls it.
    fn bookmark(&self, relation: &Relation, database: &str) -> String {
        self.name.clone().unwrap_or_else(|| {
            let what = if relation.table.is_some() { &relation.name } else { "query" };
            format!("{what} of {database} by {}", self.column)
        })
    }

    /// Where a run begins: after the last value that was read, else at the start.
    fn after(&self, last: Option<&Value>) -> Option<(&'static str, Value)> {
        let last = last.map(|last| (">", last.clone()));
        last.or_else(|| Some((">=", self.start.clone()?)))
    }

    /// The records of a relation within the bounds. `name` is the column as SQL writes it, behind
    /// `q.`, which is what the relation is called.
    pub(super) fn narrow(
        &self,
        relation: &Relation,
        bounds: &Bounds,
        name: &str,
        column: &dyn Column,
        lag: Option<u128>,
    ) -> Result<Narrowed> {
        let from = format!("FROM ({}\n) AS q", relation.select);
        let within = |conditions: &[String]| match conditions {
            [] => from.clone(),
            some => format!("{from} WHERE {}", some.join(" AND ")),
        };
        let narrowed = |conditions: &[String], bookmark, notes| Narrowed {
            select: match conditions {
                [] => relation.select.clone(),
                some => format!("SELECT * {}", within(some)),
            },
            bookmark,
            notes,
        };
        let mut conditions = Vec::new();
        if let Some((operator, value)) = &bounds.lower {
            conditions.push(format!("{name} {operator} {}", column.written(value)?));
        }
        let bookmark = match &bounds.end {
            End::Found(bookmark) => bookmark.clone(),
            End::Given(operator, value) => {
                conditions.push(format!("{name} {operator} {}", column.written(value)?));
                return Ok(narrowed(&conditions, None, Vec::new()));
            }
            End::Open => return Ok(narrowed(&conditions, None, Vec::new())),
            End::Nowhere => return Ok(narrowed(&["false".to_owned()], None, Vec::new())),
        };
        let mut notes = Vec::new();
        if column.is_date() && lag.is_none() {
            notes.push(format!(
                "`{}` of `{}` is a date: records that get the day that was read last after that are \
                 missed; a `lag` leaves days alone until they are over",
                self.column, relation.name
            ));
        }
        let finite = column.is_finite(name);
        let mut limited = conditions.clone();
        limited.extend(finite.clone());
        limited.extend(lag.map(|lag| column.is_settled(name, lag)));
        if let Some(greatest) = column.greatest(name, &within(&limited))? {
            conditions.push(format!("{name} <= {}", column.written(&greatest)?));
            return Ok(narrowed(&conditions, Some((bookmark, greatest)), notes));
        }
        if let Some(last) = bounds.last() {
            // Rows go, and a database may be one of yesterday: whether that is so, a person knows.
            let before: Vec<_> = finite.into_iter().collect();
            let behind = format!(
                "FROM (SELECT max({name}) AS m {}) AS q WHERE q.m < {}",
                within(&before),
                column.written(last)?
            );
            if let Some(there) = column.greatest("q.m", &behind)? {
                notes.push(format!(
                    "`{}` of `{}` ends at {}, before {}, where the last run ended: if records were \
                     put back, `gristmill bookmarks rewind` reads them again",
                    self.column,
                    relation.name,
                    shown(&there),
                    shown(last)
                ));
            }
        }
        let bookmark = bounds.last().map(|last| (bookmark, last.clone()));
        Ok(narrowed(&["false".to_owned()], bookmark, notes))
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

/// A value without the quotes of a text.
fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use serde_json::json;

    use super::*;

    #[test]
    fn a_run_goes_on_where_the_last_one_ended() {
        let cursor: Cursor = serde_json::from_value(json!({"column": "at", "start": 7})).unwrap();
        let table = Relation::table("t").unwrap();
        let bounds = |range: &Range| cursor.bounds(&table, "db", range);
        let first = bounds(&Range::default());
        assert_eq!(first.lower, Some((">=", json!(7))));
        let name = "t of db by at".to_owned();
        assert_eq!(first.end, End::Found(name.clone()));
        let kept = BTreeMap::from([(name.clone(), json!(12)), ("other".to_owned(), json!(99))]);
        let kept = Arc::new(kept);
        assert_eq!(bounds(&Range::New(Arc::clone(&kept))).lower, Some((">", json!(12))));
        let between = Range::Between { from: Some("1".to_owned()), to: None };
        let between = bounds(&between);
        assert_eq!((between.lower, between.end), (Some((">=", json!("1"))), End::Open));
        let again = |after: &Arc<_>, until: &Arc<_>| Range::Again {
            after: Arc::clone(after),
            until: Arc::clone(until),
        };
        let first = bounds(&again(&Arc::default(), &kept));
        assert_eq!(first.lower, Some((">=", json!(7))));
        assert_eq!(first.end, End::Given("<=", json!(12)));
        assert_eq!(bounds(&again(&kept, &kept)).lower, Some((">", json!(12))));
        assert_eq!(bounds(&again(&kept, &Arc::default())).end, End::Nowhere);
    }
}
