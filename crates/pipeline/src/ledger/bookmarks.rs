//! Bookmarks: how far each source with a cursor was read, and what each file was like that need not
//! be read again; and by which run.
//!
//! Each run that gets further adds one, so that they can be taken back run by run. They are pending
//! from just before a run publishes until it has said so: when it dies in between, the next run
//! finds out whether they hold.

use std::collections::{BTreeMap, BTreeSet};

use gristmill_core::{Error, ErrorKind, Result};
use rusqlite::{Connection, Transaction, TransactionBehavior, named_params};
use serde::Serialize;
use serde_json::Value;

use super::{Ledger, Outcome, Run, Status, run_of, time_text};

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

/// That it is known of a run whether it published: it has no bookmarks that are pending.
pub(super) fn settle(connection: &Connection, run: &str) -> rusqlite::Result<()> {
    connection.execute("UPDATE runs SET publishing = 0 WHERE id = ?1", [run])?;
    connection.execute("DELETE FROM pending WHERE run = ?1", [run]).map(drop)
}

fn pending(connection: &Connection, run: &str) -> rusqlite::Result<BTreeMap<String, Value>> {
    let mut pending = connection.prepare("SELECT name, value FROM pending WHERE run = ?1")?;
    let rows = pending.query_map([run], |row| Ok((row.get(0)?, value(row.get(1)?))))?;
    rows.collect()
}

fn latest(connection: &Connection, pipeline: Option<&str>) -> rusqlite::Result<Vec<Bookmark>> {
    let mut statement = connection.prepare(LATEST)?;
    let rows = statement.query_map(named_params! {":pipeline": pipeline}, |row| {
        Ok(Bookmark {
            pipeline: row.get(0)?,
            name: row.get(1)?,
            value: value(row.get(2)?),
            run: row.get(3)?,
        })
    })?;
    rows.collect()
}

fn value(text: String) -> Value {
    serde_json::from_str(&text).unwrap_or(Value::String(text))
}

impl Ledger {
    /// The bookmarks of one pipeline or of all.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn bookmarks(&self, pipeline: Option<&str>) -> Result<Vec<Bookmark>> {
        latest(&self.connection, pipeline).map_err(|error| self.failure("read", error))
    }

    /// Writes down that a run publishes next, and the bookmarks that it leaves if that succeeds.
    /// `before` is where its pipeline's sources went on when it began.
    ///
    /// # Errors
    /// When another run has published since then, or is about to: what this run read may be there
    /// already. When the ledger cannot be written.
    pub fn publishing(
        &self,
        run: &str,
        bookmarks: &BTreeMap<String, Value>,
        before: &BTreeMap<String, Value>,
    ) -> Result<()> {
        let pipeline = self.run(run)?.pipeline;
        let write = || -> rusqlite::Result<bool> {
            let change =
                Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?;
            let others: bool = change.query_row(
                "SELECT EXISTS (SELECT 1 FROM pending JOIN runs ON id = run WHERE pipeline = ?1)",
                [&pipeline],
                |row| row.get(0),
            )?;
            let now = latest(&change, Some(&pipeline))?.into_iter();
            let now: BTreeMap<_, _> = now.map(|b| (b.name, b.value)).collect();
            let same = |name: &String| now.get(name) == before.get(name);
            if !bookmarks.is_empty() && (others || !bookmarks.keys().all(same)) {
                return Ok(false);
            }
            change.execute("UPDATE runs SET publishing = 1 WHERE id = ?1", [run])?;
            for (name, value) in bookmarks {
                change.execute(
                    "INSERT INTO pending (run, name, value) VALUES (?1, ?2, ?3)",
                    (run, name, value.to_string()),
                )?;
            }
            change.commit()?;
            Ok(true)
        };
        if write().map_err(|error| self.failure("write", error))? {
            return Ok(());
        }
        let message = format!("another run of `{pipeline}` publishes what this one has read");
        Err(Error::new(ErrorKind::Transient, message)
            .hint("run again when it has ended: what is left is read then"))
    }

    /// The runs of a pipeline that have ended without saying whether they published, the first
    /// one first.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn undecided(&self, pipeline: &str) -> Result<Vec<Run>> {
        let read = || {
            let mut statement = self.connection.prepare(
                "SELECT * FROM runs WHERE pipeline = ?1 AND publishing ORDER BY started, id",
            )?;
            let runs = statement.query_map([pipeline], run_of)?;
            runs.collect::<rusqlite::Result<Vec<_>>>()
        };
        let runs = read().map_err(|error| self.failure("read", error))?;
        Ok(runs.into_iter().filter(|run| run.status != Status::Running).collect())
    }

    /// The bookmarks that a run leaves if it published.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn pending(&self, run: &str) -> Result<BTreeMap<String, Value>> {
        pending(&self.connection, run).map_err(|error| self.failure("read", error))
    }

    /// Says of a run whether it published: its bookmarks hold, or are forgotten.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub fn decide(&self, run: &str, published: bool) -> Result<()> {
        let write = || -> rusqlite::Result<()> {
            let change = self.connection.unchecked_transaction()?;
            let mut outcome = Outcome::new(Status::Published, 0);
            outcome.bookmarks = pending(&change, run)?;
            if published {
                keep(&change, run, &outcome)?;
                change.execute("UPDATE runs SET status = 'published' WHERE id = ?1", [run])?;
            }
            settle(&change, run)?;
            change.commit()
        };
        write().map_err(|error| self.failure("write", error))
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
    /// run reads again what they read; those that are pending as well, so that a run that ended
    /// while it published is not completed. Answers how many bookmarks went.
    ///
    /// # Errors
    /// When there is no such run, it left no bookmark, or the ledger cannot be written.
    pub fn rewind(&self, run: &str) -> Result<usize> {
        let run = self.run(run)?;
        let undecided = self.undecided(&run.pipeline)?;
        let write = || -> rusqlite::Result<usize> {
            let change = self.connection.unchecked_transaction()?;
            let mut gone = change.execute(
                "DELETE FROM bookmarks WHERE pipeline = :pipeline
                 AND set_at >= (SELECT min(set_at) FROM bookmarks WHERE run = :run)",
                named_params! {":pipeline": run.pipeline, ":run": run.id},
            )?;
            // Those that are pending are later than all others.
            let of_this = undecided.iter().any(|undecided| undecided.id == run.id);
            let later = gone > 0 || of_this;
            for undecided in undecided.iter().filter(|_| later) {
                gone += pending(&change, &undecided.id)?.len();
                settle(&change, &undecided.id)?;
            }
            change.commit()?;
            Ok(gone)
        };
        match write().map_err(|error| self.failure("write", error))? {
            0 => {
                let message = format!("the run `{}` left no bookmark", run.id);
                Err(Error::new(ErrorKind::NotFound, message)
                    .hint("`gristmill bookmarks list` shows which runs did"))
            }
            gone => Ok(gone),
        }
    }

    /// Forgets the bookmarks of a pipeline, all or those of one name, so that the next run reads
    /// from the start; those that are pending as well. Answers how many sources had some.
    ///
    /// # Errors
    /// When there are none, or the ledger cannot be written.
    pub fn reset(&self, pipeline: &str, name: Option<&str>) -> Result<usize> {
        let undecided = self.undecided(pipeline)?;
        let mut sources: BTreeSet<String> = self.positions(pipeline)?.into_keys().collect();
        for run in &undecided {
            sources.extend(self.pending(&run.id)?.into_keys());
        }
        let is_meant = |source: &String| name.is_none_or(|name| source == name);
        let sources = sources.iter().filter(|source| is_meant(source)).count();
        if sources == 0 {
            let what = name.map_or_else(String::new, |name| format!(" `{name}`"));
            let message = format!("the pipeline `{pipeline}` has no bookmark{what}");
            return Err(Error::new(ErrorKind::NotFound, message)
                .hint("`gristmill bookmarks list` shows all"));
        }
        let write = || -> rusqlite::Result<()> {
            let change = self.connection.unchecked_transaction()?;
            change.execute(
                "DELETE FROM bookmarks WHERE pipeline = :pipeline
                 AND (:name IS NULL OR name = :name)",
                named_params! {":pipeline": pipeline, ":name": name},
            )?;
            for run in &undecided {
                change.execute(
                    "DELETE FROM pending WHERE run = :run AND (:name IS NULL OR name = :name)",
                    named_params! {":run": run.id, ":name": name},
                )?;
            }
            change.commit()
        };
        write().map(|()| sources).map_err(|error| self.failure("write", error))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::NewRun;
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

    fn undecided(ledger: &Ledger) -> Vec<String> {
        ledger.undecided("p").unwrap().into_iter().map(|run| run.id).collect()
    }

    /// A run that ended while it published; its id.
    fn half(ledger: &Ledger, bookmarks: Value) -> String {
        let run = NewRun::of("p");
        ledger.start(&run).unwrap();
        let bookmarks = serde_json::from_value(bookmarks).unwrap();
        ledger.publishing(&run.id, &bookmarks, &ledger.positions("p").unwrap()).unwrap();
        ledger.finish(&run.id, &Outcome::new(Status::Failed, 1)).unwrap();
        run.id
    }

    #[test]
    fn what_is_taken_back_is_not_completed() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(folder.path()).unwrap();
        let first = run(&ledger, json!({"a": 1}));
        let second = half(&ledger, json!({"a": 2, "b": 2}));
        assert_eq!(undecided(&ledger), [&*second]);
        assert_eq!(ledger.rewind(&second).unwrap(), 2);
        assert_eq!(undecided(&ledger), [] as [&str; 0]);
        assert_eq!(ledger.positions("p").unwrap()["a"], json!(1));
        half(&ledger, json!({"a": 3}));
        assert_eq!(ledger.rewind(&first).unwrap(), 2);
        assert_eq!(undecided(&ledger), [] as [&str; 0]);
        let fourth = half(&ledger, json!({"a": 4, "b": 4}));
        assert_eq!(ledger.reset("p", Some("b")).unwrap(), 1);
        assert_eq!(ledger.pending(&fourth).unwrap().len(), 1);
        // One without bookmarks is asked about as well, and is in nobody's way.
        ledger.reset("p", None).unwrap();
        let fifth = half(&ledger, json!({}));
        assert_eq!(undecided(&ledger), [fourth, fifth]);
    }

    #[test]
    fn of_two_runs_that_read_the_same_one_publishes() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(folder.path()).unwrap();
        let none = BTreeMap::new();
        let left = |value: i64| BTreeMap::from([("a".to_owned(), json!(value))]);
        let start = || {
            let run = NewRun::of("p");
            ledger.start(&run).unwrap();
            run.id
        };
        let (first, second, third) = (start(), start(), start());
        ledger.publishing(&first, &left(1), &none).unwrap();
        assert_eq!(undecided(&ledger), [] as [&str; 0]); // it is at work
        let error = ledger.publishing(&second, &left(2), &none).unwrap_err();
        assert!(error.is_transient(), "{error}");
        ledger
            .finish(&first, &Outcome { bookmarks: left(1), ..Outcome::new(Status::Published, 0) })
            .unwrap();
        assert!(ledger.publishing(&second, &left(2), &none).is_err());
        ledger.publishing(&third, &left(3), &left(1)).unwrap();
        // A run that fails while it publishes may have published.
        ledger.finish(&third, &Outcome::new(Status::Failed, 1)).unwrap();
        assert_eq!(undecided(&ledger), [&*third]);
        ledger.decide(&third, true).unwrap();
        assert_eq!(ledger.positions("p").unwrap(), left(3));
        assert_eq!(ledger.run(&third).unwrap().status, Status::Published);
        let fourth = start();
        ledger.publishing(&fourth, &left(4), &left(3)).unwrap();
        ledger.finish(&fourth, &Outcome::new(Status::Failed, 1)).unwrap();
        ledger.decide(&fourth, false).unwrap();
        assert_eq!(ledger.positions("p").unwrap(), left(3));
        assert_eq!(undecided(&ledger), [] as [&str; 0]);
        assert_eq!(ledger.run(&fourth).unwrap().status, Status::Failed);
    }
}
