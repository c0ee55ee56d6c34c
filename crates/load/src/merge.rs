//! From the staging table into the target, in ranges of records.
//!
//! A range is one attempt behind a savepoint. When the database refuses it, it is split until the
//! refused records stand alone; each is rejected with the database's own message, and the others
//! are loaded.

use gristmill_core::{Error, ErrorKind, Findings, Loaded, Reason, Reject, Result, Stage};
use serde::{Deserialize, Serialize};

use crate::database::Database;
use crate::dialect::Dialect;
use crate::preview::{Change, Changes};
use crate::spool::{Spool, origin};
use crate::table::Mode;
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

/// A column of the target, in the forms in which SQL writes it.
pub(crate) struct MergeColumn {
    pub(crate) name: String,
    /// Its name as people write it.
    pub(crate) field: String,
    /// Its value, of the staging table `s`.
    pub(crate) value: String,
    /// The collation, where it is part of the key.
    pub(crate) key: Option<String>,
    /// Whether two values have to be compared as text.
    pub(crate) as_text: bool,
}

/// The statements that take out the rows of all partitions that a staged record is in. `work` is
/// what prefixes tables that last for the load.
pub(crate) fn empty_partitions(
    dialect: Dialect,
    table: &str,
    staged: &str,
    work: &str,
    partition: &[&MergeColumn],
) -> String {
    let values: Vec<String> = partition
        .iter()
        .enumerate()
        .map(|(i, column)| format!("{} AS p{i}", column.value))
        .collect();
    let same: Vec<String> = partition
        .iter()
        .enumerate()
        .map(|(i, column)| dialect.same(&format!("t.{}", column.name), &format!("p.p{i}")))
        .collect();
    let parts = format!("{work}parts");
    let query = format!("SELECT DISTINCT {} FROM {staged} AS s", values.join(", "));
    [
        dialect.drop_table(&parts),
        dialect.create_table_as(&parts, &query),
        dialect.delete(table, &format!("{parts} AS p"), &same.join(" AND ")),
        dialect.drop_table(&parts),
    ]
    .concat()
}

/// The statements that load a range of records; the parameters are its first and last number.
pub(crate) struct Statements {
    /// Changes the rows that are there and differ.
    pub(crate) update: Option<String>,
    pub(crate) insert: String,
    pub(crate) count: String,
    /// What `update` changes.
    pub(crate) changes: Changes,
    /// Whether each record becomes a row.
    pub(crate) all_new: bool,
}

/// What becomes of rows that have the key of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// There are none, or keys mean nothing.
    Nothing,
    Change,
    Keep,
}

impl Found {
    /// For a table that has rows already.
    pub(crate) fn of(mode: Mode) -> Self {
        match mode {
            Mode::Upsert => Found::Change,
            Mode::InsertOnly => Found::Keep,
            Mode::Append | Mode::Replace | Mode::DeleteInsert | Mode::Scd2 => Found::Nothing,
        }
    }
}

impl Statements {
    /// With `Found::Change`, rows with the key of a record are changed where they differ, with
    /// `Found::Keep` they are left alone; `Found::Nothing` makes all records new rows.
    pub(crate) fn new(
        dialect: Dialect,
        table: &str,
        staged: &str,
        losers: Option<&str>,
        columns: &[MergeColumn],
        found: Found,
    ) -> Self {
        let row = dialect.row();
        let (first, last) = (dialect.parameter(1), dialect.parameter(2));
        let mut range = format!("s.{row} BETWEEN {first} AND {last}");
        if let Some(losers) = losers {
            range += &format!(" AND {}", dialect.not_among(&format!("s.{row}"), "seq", losers));
        }
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        let values: Vec<&str> = columns.iter().map(|column| column.value.as_str()).collect();
        let same_key: Vec<String> = columns
            .iter()
            .filter_map(|column| {
                let collation = column.key.as_deref()?;
                Some(dialect.same_key(&format!("t.{}", column.name), &column.value, collation))
            })
            .collect();
        let same_key = same_key.join(" AND ");
        let others: Vec<&MergeColumn> =
            columns.iter().filter(|column| column.key.is_none()).collect();
        let set: Vec<(String, String)> =
            others.iter().map(|column| (column.name.clone(), column.value.clone())).collect();
        let same = |column: &MergeColumn| {
            let (row, record) = (format!("t.{}", column.name), column.value.clone());
            match column.as_text {
                true => dialect.same(&dialect.text(&row), &dialect.text(&record)),
                false => dialect.same(&row, &record),
            }
        };
        let differs: Vec<String> =
            others.iter().map(|column| format!("NOT ({})", same(column))).collect();
        let differs = differs.join(" OR ");
        let wins = losers.map_or_else(
            || "1 = 1".to_owned(),
            |losers| dialect.not_among(&format!("s.{row}"), "seq", losers),
        );
        let mut changes = Changes::default();
        let changes_rows = found == Found::Change && !others.is_empty();
        if changes_rows {
            changes.rows = format!(
                "FROM {staged} AS s {} {table} AS t ON {same_key} WHERE {wins} AND ({differs})",
                dialect.join()
            );
            let keys = columns.iter().filter(|column| column.key.is_some());
            changes.keys =
                keys.map(|column| (column.field.clone(), column.value.clone())).collect();
            changes.columns = others
                .iter()
                .map(|column| Change {
                    name: column.field.clone(),
                    old: format!("t.{}", column.name),
                    new: column.value.clone(),
                    same: same(column),
                })
                .collect();
        }
        let is_new = if found != Found::Nothing {
            format!(" AND NOT EXISTS (SELECT 1 FROM {table} AS t WHERE {same_key})")
        } else {
            String::new()
        };
        Self {
            update: changes_rows.then(|| {
                let condition = format!("{range} AND {same_key} AND ({differs})");
                dialect.update(table, &set, &format!("{staged} AS s"), &condition)
            }),
            insert: format!(
                "INSERT INTO {table} ({}){} SELECT {} FROM {staged} AS s \
                 WHERE {range}{is_new} ORDER BY s.{row}",
                names.join(", "),
                dialect.overriding(),
                values.join(", ")
            ),
            count: format!("SELECT count(*) FROM {staged} AS s WHERE {range}"),
            changes,
            all_new: found == Found::Nothing,
        }
    }
}

/// What loads a range.
pub(crate) enum Plan {
    Rows(Statements),
    Versions(Versions),
}

impl Plan {
    /// What it is about to change in rows that are there.
    pub(crate) fn changes(&self) -> &Changes {
        match self {
            Plan::Rows(statements) => &statements.changes,
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
    /// Merges the records from 1 to `last`.
    pub(crate) fn run(mut self, last: i64, findings: &mut Findings) -> Result<Outcome> {
        self.in_steps(1, last, self.step, findings)?;
        if let Plan::Versions(versions) = &mut self.plan {
            let (retired, unchanged) =
                versions.finish(self.database).map_err(|e| cannot::<D>(self.table, e))?;
            self.outcome.retired = retired;
            self.outcome.unchanged += unchanged;
        }
        Ok(self.outcome)
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
            Plan::Rows(_) => vec![(first, true)],
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
            Plan::Rows(statements) => {
                let records = self.database.number(&statements.count, &range)? as u64;
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
                Ok(0)
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

fn cannot<D: Database>(table: &str, error: D::Error) -> Error {
    D::refused(&format!("cannot load table `{table}`"), error)
}

/// That a record would be lost in silence.
pub(crate) fn dropped_rows(table: &str, rows: u64) -> Error {
    Error::new(
        ErrorKind::Destination,
        format!("table `{table}` took no notice of {rows} records"),
    )
    .hint("a trigger drops rows silently: let it raise an exception, or load the table that it writes to")
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
