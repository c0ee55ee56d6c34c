//! Bookmarks: how far each source with a cursor was read, and by which run.
//!
//! Each run that gets further adds one, so that they can be taken back run by run.

use std::collections::BTreeMap;

use gristmill_core::{Error, ErrorKind, Result};
use rusqlite::{Connection, named_params};
use serde::Serialize;
use serde_json::Value;

use super::{Ledger, Outcome, time_text};

/// How far a source was read.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Bookmark {
    /// The pipeline's name.
    pub pipeline: String,
    /// The source's name.
    pub name: String,
    /// The greatest value of its cursor that was read.
    pub value: Value,
    /// The run that read it.
    pub run: String,
}

/// The latest of each name.
const LATEST: &str = "
    SELECT pipeline, name, value, run, max(set_at) FROM bookmarks
    WHERE :pipeline IS NULL OR pipeline = :pipeline
    GROUP BY pipeline, name ORDER BY pipeline, name";

/// Adds what a run leaves, where it is not there already.
pub(super) fn keep(connection: &Connection, run: &str, outcome: &Outcome) -> rusqlite::Result<()> {
    for (name, value) in &outcome.bookmarks {
        connection.execute(
            "INSERT INTO bookmarks (pipeline, name, value, run, set_at)
             SELECT pipeline, :name, :value, id, :at FROM runs WHERE id = :run
             AND :value IS NOT (SELECT b.value FROM bookmarks AS b
                 WHERE b.pipeline = runs.pipeline AND b.name = :name
                 ORDER BY set_at DESC LIMIT 1)",
            named_params! {
                ":name": name,
                ":value": value.to_string(),
                ":at": time_text(outcome.ended),
                ":run": run,
            },
        )?;
    }
    Ok(())
}

impl Ledger {
    /// The bookmarks of one pipeline or of all.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn bookmarks(&self, pipeline: Option<&str>) -> Result<Vec<Bookmark>> {
        let read = || {
            let mut statement = self.connection.prepare(LATEST)?;
            let rows = statement.query_map(named_params! {":pipeline": pipeline}, |row| {
                let value: String = row.get(2)?;
                Ok(Bookmark {
                    pipeline: row.get(0)?,
                    name: row.get(1)?,
                    value: serde_json::from_str(&value).unwrap_or(Value::String(value)),
                    run: row.get(3)?,
                })
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(|error| self.failure("read", error))
    }

    /// Where a pipeline's sources go on, by name.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn positions(&self, pipeline: &str) -> Result<BTreeMap<String, Value>> {
        let bookmarks = self.bookmarks(Some(pipeline))?.into_iter();
        Ok(bookmarks.map(|bookmark| (bookmark.name, bookmark.value)).collect())
    }

    /// Takes back the bookmarks of a run and of all later runs of its pipeline, so that the next
    /// run reads again what they read. Answers how many bookmarks went.
    ///
    /// # Errors
    /// When there is no such run, it left no bookmark, or the ledger cannot be written.
    pub fn rewind(&self, run: &str) -> Result<usize> {
        let run = self.run(run)?;
        let gone = self.connection.execute(
            "DELETE FROM bookmarks WHERE pipeline = :pipeline
             AND set_at >= (SELECT min(set_at) FROM bookmarks WHERE run = :run)",
            named_params! {":pipeline": run.pipeline, ":run": run.id},
        );
        match gone.map_err(|error| self.failure("write", error))? {
            0 => {
                let message = format!("the run `{}` left no bookmark", run.id);
                Err(Error::new(ErrorKind::NotFound, message)
                    .hint("`gristmill bookmarks list` shows which runs did"))
            }
            gone => Ok(gone),
        }
    }

    /// Forgets the bookmarks of a pipeline, all or those of one name, so that the next run reads
    /// from the start. Answers how many sources had some.
    ///
    /// # Errors
    /// When there are none, or the ledger cannot be written.
    pub fn reset(&self, pipeline: &str, name: Option<&str>) -> Result<usize> {
        let known = self.bookmarks(Some(pipeline))?;
        let sources = known.iter().filter(|b| name.is_none_or(|name| b.name == name)).count();
        if sources == 0 {
            let what = name.map_or_else(String::new, |name| format!(" `{name}`"));
            let message = format!("the pipeline `{pipeline}` has no bookmark{what}");
            return Err(Error::new(ErrorKind::NotFound, message)
                .hint("`gristmill bookmarks list` shows all"));
        }
        let gone = self.connection.execute(
            "DELETE FROM bookmarks WHERE pipeline = :pipeline AND (:name IS NULL OR name = :name)",
            named_params! {":pipeline": pipeline, ":name": name},
        );
        gone.map(|_| sources).map_err(|error| self.failure("write", error))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{NewRun, Status};
    use super::*;

    /// A run that ends with these bookmarks; its id.
    fn run(ledger: &Ledger, bookmarks: Value) -> String {
        let run = NewRun::of("p");
        ledger.start(&run).unwrap();
        let bookmarks = serde_json::from_value(bookmarks).unwrap();
        let outcome = Outcome { bookmarks, ..Outcome::new(Status::Published, 0) };
        ledger.finish(&run.id, &outcome).unwrap();
        run.id
    }

    #[test]
    fn bookmarks_go_forth_and_back_by_runs() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(folder.path()).unwrap();
        let first = run(&ledger, json!({"a": 1, "b": "x"}));
        let second = run(&ledger, json!({"a": 2, "b": "x"}));
        run(&ledger, json!({}));
        let all = ledger.bookmarks(None).unwrap();
        let shown: Vec<_> = all.iter().map(|b| (&*b.name, &b.value, &*b.run)).collect();
        assert_eq!(shown, [("a", &json!(2), &*second), ("b", &json!("x"), &*first)]);
        assert_eq!(ledger.rewind(&second).unwrap(), 1);
        assert_eq!(ledger.positions("p").unwrap()["a"], json!(1));
        assert!(ledger.rewind(&second).is_err());
        assert_eq!(ledger.reset("p", Some("b")).unwrap(), 1);
        assert_eq!(ledger.positions("p").unwrap().len(), 1);
        assert!(ledger.reset("p", Some("b")).is_err() && ledger.reset("q", None).is_err());
        assert_eq!(ledger.reset("p", None).unwrap(), 1);
        assert_eq!(ledger.bookmarks(None).unwrap(), []);
    }
}
