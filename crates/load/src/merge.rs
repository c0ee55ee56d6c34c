//! From the staging table into the target, in ranges of records.
//!
//! A range is one attempt behind a savepoint. When the database refuses it, it is split until the
//! refused records stand alone; each is rejected with the database's own message, and the others
//! are loaded.

use gristmill_core::{Error, ErrorKind, Findings, Loaded, Preview, Reason, Reject, Result, Stage};
use serde::{Deserialize, Serialize};

use crate::database::Database;
use crate::partitions::Partitions;
use crate::preview::Changes;
use crate::spool::{Spool, origin};
use crate::statements::{Found, Sides, Silent, Statements};
use crate::table::{Mode, Options};
use crate::versions::Versions;

/// Records in one attempt, after a larger one was refused.
pub(crate) const RANGE: i64 = 8192;

/// What became of the staged records, as `gristmill_loads` keeps it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) inserted: u64,
    pub(crate) updated: u64,
    #[serde(default)]
    pub(crate) closed: u64,
    pub(crate) unchanged: u64,
    /// Rows that ended because no record had their key.
    #[serde(default)]
    pub(crate) retired: u64,
    /// Records that the database refused, by their number, with its message.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) refused: Vec<(i64, String)>,
}

impl Outcome {
    pub(crate) fn loaded(&self, bytes: u64) -> Loaded {
        Loaded {
            inserted: self.inserted,
            updated: self.updated,
            closed: self.closed,
            retired: self.retired,
            unchanged: self.unchanged,
            bytes,
            ..Loaded::default()
        }
    }
}

/// What loads a range.
pub(crate) enum Plan {
    Rows(Statements),
    Partitions(Statements, Partitions),
    Versions(Versions),
}

impl Plan {
    /// Loads rows; where they replace partitions, these are empty after this.
    pub(crate) fn rows<D: Database>(database: &D, sides: Sides, options: &Options) -> Result<Self> {
        let mut found = Found::of(options.mode);
        if found != Found::Nothing {
            let some = format!("SELECT EXISTS (SELECT 1 FROM {})", sides.table);
            let some = database.number(&some, &[]).map_err(|e| cannot::<D>(&options.table, e))?;
            found = if some == 0 { Found::Nothing } else { found };
        }
        let statements = Statements::new(D::DIALECT, &sides, found);
        Ok(match options.mode {
            Mode::DeleteInsert => {
                let partitions = Partitions::empty(database, sides, &options.table)?;
                Plan::Partitions(statements, partitions)
            }
            _ => Plan::Rows(statements),
        })
    }

    /// Whether each record becomes a row, and nothing else happens.
    pub(crate) fn only_adds(&self) -> bool {
        match self {
            Plan::Rows(statements) | Plan::Partitions(statements, _) => statements.all_new,
            Plan::Versions(_) => false,
        }
    }

    /// What it is about to change in rows that are there.
    pub(crate) fn changes(&self) -> &Changes {
        match self {
            Plan::Rows(statements) | Plan::Partitions(statements, _) => &statements.changes,
            Plan::Versions(versions) => versions.changes(),
        }
    }
}

/// A merge going on.
pub(crate) struct Merge<'a, D> {
    pub(crate) database: &'a D,
    /// The table, for messages.
    pub(crate) table: &'a str,
    pub(crate) plan: Plan,
    /// Records in one attempt at first.
    pub(crate) step: i64,
    pub(crate) spool: &'a mut Option<Spool>,
    pub(crate) outcome: Outcome,
    /// Memory that refused records may take until they are written down.
    pub(crate) room: u64,
}

impl<D: Database> Merge<'_, D> {
    /// Merges all records up to `last`; says what that changes in rows that are there, if asked.
    pub(crate) fn all(
        self,
        last: i64,
        plans: bool,
        findings: &mut Findings,
    ) -> Result<(Outcome, Option<Preview>)> {
        let preview = plans.then(|| self.plan.changes().preview(self.database)).transpose();
        let preview = preview.map_err(|e| cannot::<D>(self.table, e))?;
        Ok((self.run(1, last, findings)?, preview))
    }

    /// Merges the records from `first` to `last`.
    pub(crate) fn run(mut self, first: i64, last: i64, findings: &mut Findings) -> Result<Outcome> {
        self.in_steps(first, last, self.step, findings)?;
        while self.gives_back()? {
            self.in_steps(first, last, self.step, findings)?;
        }
        if let Plan::Versions(versions) = &mut self.plan {
            let counts = versions.finish(self.database).map_err(|e| cannot::<D>(self.table, e))?;
            if counts.dropped > 0 {
                return Err(silent(format!(
                    "table `{}` took no notice of the end of {} versions",
                    self.table, counts.dropped
                )));
            }
            self.outcome.retired = counts.retired;
            self.outcome.unchanged += counts.unchanged;
        }
        Ok(self.outcome)
    }

    /// Gives partitions back what they had, if no record of theirs is loaded; answers whether the
    /// others have to be loaded again, then.
    fn gives_back(&mut self) -> Result<bool> {
        let Plan::Partitions(statements, partitions) = &mut self.plan else { return Ok(false) };
        let again = partitions.give_back(self.database, &self.outcome.refused, self.table)?;
        let Some(again) = again else { return Ok(false) };
        *statements = again;
        self.outcome.inserted = 0;
        Ok(true)
    }

    fn in_steps(
        &mut self,
        mut first: i64,
        last: i64,
        step: i64,
        findings: &mut Findings,
    ) -> Result<()> {
        while first <= last {
            let end = first.saturating_add(step - 1).min(last);
            self.load(first, end, findings)?;
            first = end + 1;
        }
        Ok(())
    }

    fn load(&mut self, first: i64, last: i64, findings: &mut Findings) -> Result<()> {
        let error = match self.attempt(first, last) {
            Ok(0) => return Ok(()),
            Ok(dropped) => return Err(dropped_rows(self.table, dropped)),
            Err(error) => error,
        };
        let Some(message) = D::refusal(&error) else { return Err(cannot::<D>(self.table, error)) };
        undo(self.database, self.table)?;
        let records = last - first + 1;
        if records > 1 {
            let step = if records > RANGE { RANGE } else { (records + 1) / 2 };
            return self.in_steps(first, last, step, findings);
        }
        let members = match &self.plan {
            Plan::Versions(versions) => versions
                .members(self.database, first)
                .map_err(|e| D::refused("cannot read staged records", e))?,
            Plan::Rows(_) | Plan::Partitions(..) => vec![(first, true)],
        };
        for (seq, changes) in members {
            if changes {
                self.take_out(seq, message.clone(), findings)?;
            } else {
                self.outcome.unchanged += 1;
            }
        }
        Ok(())
    }

    /// Answers how many rows the database passed over without a word.
    fn attempt(&mut self, first: i64, last: i64) -> Result<u64, D::Error> {
        let range = [Some(first), Some(last)];
        self.database.batch("SAVEPOINT gristmill")?;
        match &mut self.plan {
            Plan::Versions(versions) => {
                let counts = versions.attempt(self.database, range)?;
                self.database.batch("RELEASE SAVEPOINT gristmill")?;
                versions.done(counts);
                self.outcome.inserted += counts.inserted;
                self.outcome.updated += counts.updated;
                self.outcome.closed += counts.closed;
                self.outcome.unchanged += counts.unchanged;
                Ok(counts.dropped)
            }
            Plan::Rows(statements) | Plan::Partitions(statements, _) => {
                let records = self.database.number(&statements.count, &range)? as u64;
                let [differing, new] = statements.expected(self.database, &range)?;
                let updated = match &statements.update {
                    Some(update) => self.database.execute(update, &range)?,
                    None => 0,
                };
                let inserted = self.database.execute(&statements.insert, &range)?;
                self.database.batch("RELEASE SAVEPOINT gristmill")?;
                self.outcome.updated += updated;
                self.outcome.inserted += inserted;
                let rest = records.saturating_sub(updated + inserted);
                if statements.all_new {
                    return Ok(rest);
                }
                self.outcome.unchanged += rest;
                Ok(differing.saturating_sub(updated) + new.saturating_sub(inserted))
            }
        }
    }

    fn take_out(&mut self, seq: i64, message: String, findings: &mut Findings) -> Result<()> {
        let size = reject_refused(seq, &message, self.spool, findings)?;
        self.outcome.refused.push((seq, message));
        let Some(room) = self.room.checked_sub(size) else {
            return Err(Error::new(
                ErrorKind::Destination,
                format!(
                    "table `{}` refuses more records than memory holds: {} so far",
                    self.table,
                    self.outcome.refused.len()
                ),
            )
            .hint("validate the records before they are loaded, or raise `limits.memory`"));
        };
        self.room = room;
        Ok(())
    }
}

/// Takes out all rows of a table, which has this name in SQL.
pub(crate) fn empty<D: Database>(
    database: &D,
    name: &str,
    silent: Silent,
    table: &str,
) -> Result<()> {
    let failed = |e| cannot::<D>(table, e);
    // TRUNCATE would show an empty table to readers that began before the commit, or commit itself.
    database.batch(&format!("DELETE FROM {name}")).map_err(failed)?;
    if silent.deletes {
        let left = database.number(&format!("SELECT count(*) FROM {name}"), &[]);
        kept_rows(table, left.map_err(failed)?)?;
    }
    Ok(())
}

pub(crate) fn cannot<D: Database>(table: &str, error: D::Error) -> Error {
    D::refused(&format!("cannot load table `{table}`"), error)
}

/// That a record would be lost in silence.
pub(crate) fn dropped_rows(table: &str, rows: u64) -> Error {
    silent(format!("table `{table}` took no notice of {rows} records"))
}

/// Refuses a table that still has rows which were to go.
pub(crate) fn kept_rows(table: &str, rows: i64) -> Result<()> {
    match rows {
        0 => Ok(()),
        rows => Err(silent(format!("table `{table}` keeps {rows} rows that were to go"))),
    }
}

fn silent(message: String) -> Error {
    Error::new(ErrorKind::Destination, message).hint(
        "a trigger, a rule or a policy drops rows silently: let it raise an exception, or load the \
         table that it writes to",
    )
}

/// Takes back what was done since the savepoint.
pub(crate) fn undo<D: Database>(database: &D, table: &str) -> Result<()> {
    if !database.is_in_transaction() {
        return Err(Error::new(
            ErrorKind::Destination,
            format!("the database rolled the load of table `{table}` back"),
        )
        .hint(
            "a trigger or a constraint says ROLLBACK; say ABORT, and only the record is refused",
        ));
    }
    database
        .batch("ROLLBACK TO SAVEPOINT gristmill; RELEASE SAVEPOINT gristmill")
        .map_err(|e| cannot::<D>(table, e))
}

/// Rejects a staged record and answers the memory that it takes.
pub(crate) fn reject_refused(
    seq: i64,
    message: &str,
    spool: &mut Option<Spool>,
    findings: &mut Findings,
) -> Result<u64> {
    let origin = origin(spool, seq)?;
    let size = (origin.byte_size() + message.len() + 512) as u64;
    let reason = Reason::record("database", message);
    findings.reject(Reject { origin, ordinal: 0, stage: Stage::Load, errors: vec![reason] });
    Ok(size)
}
