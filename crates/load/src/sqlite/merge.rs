//! From the staging table into the target, in ranges of records.
//!
//! A range is one attempt behind a savepoint. When the database refuses it, it is halved until the
//! refused records stand alone; each is rejected with the database's own message, and the others
//! are loaded.

use gristmill_core::{Error, ErrorKind, Findings, Reason, Reject, Result, Stage as RunStage};
use rusqlite::{Connection, ErrorCode};
use serde::{Deserialize, Serialize};

use super::stage::Stage;
use super::target::Target;
use super::versions::Versions;
use super::{quoted, refused};
use crate::table::{Mode, Options};

/// Records in one attempt.
const RANGE: i64 = 8192;

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

pub(crate) struct Merge<'a> {
    connection: &'a Connection,
    table: &'a str,
    /// Changes the rows that are there and differ; none when all columns are keys, or no row is
    /// there.
    update: Option<String>,
    insert: String,
    /// Inserts all staged records, each a copy of its staged row.
    copy: Option<String>,
    count: String,
    /// Loads versions instead.
    versions: Option<Versions>,
    outcome: Outcome,
    /// Memory that refused records may take until they are written down.
    room: u64,
}

impl<'a> Merge<'a> {
    pub(crate) fn new(
        connection: &'a Connection,
        target: &'a Target,
        stage: &Stage,
        options: &Options,
        versions: Option<Versions>,
        room: u64,
    ) -> rusqlite::Result<Self> {
        let table = format!("main.{}", quoted(&target.name));
        let staged = &stage.table;
        let mut range = "s.rowid BETWEEN ?1 AND ?2".to_owned();
        if stage.has_losers {
            range += &format!(" AND s.rowid NOT IN (SELECT seq FROM temp.{})", stage.losers());
        }
        let names: Vec<String> = target.columns.iter().map(|c| quoted(&c.name)).collect();
        let values: Vec<String> = (0..names.len()).map(|i| format!("s.c{i}")).collect();
        // The unary plus keeps the planner from walking the table to look up staged rows.
        let same_key: Vec<String> = target
            .keys()
            .map(|i| {
                let collation = target.columns[i].key.as_deref().unwrap_or("BINARY");
                format!("t.{} = +s.c{i} COLLATE {}", names[i], quoted(collation))
            })
            .collect();
        let same_key = same_key.join(" AND ");
        let others: Vec<usize> =
            (0..names.len()).filter(|&i| target.columns[i].key.is_none()).collect();
        let set: Vec<String> = others.iter().map(|&i| format!("{} = s.c{i}", names[i])).collect();
        let differs: Vec<String> = others
            .iter()
            .map(|&i| format!("t.{} IS NOT s.c{i} COLLATE BINARY", names[i]))
            .collect();
        let some = format!("SELECT EXISTS (SELECT 1 FROM {table})");
        let upsert =
            options.mode == Mode::Upsert && connection.query_row(&some, [], |row| row.get(0))?;
        let is_new = if upsert {
            format!(" AND NOT EXISTS (SELECT 1 FROM {table} AS t WHERE {same_key})")
        } else {
            String::new()
        };
        let copy = format!("INSERT INTO {table} SELECT * FROM {staged}");
        let copies = target.order.is_some() && !upsert && !stage.has_losers && versions.is_none();
        Ok(Self {
            connection,
            table: &target.name,
            update: (upsert && !others.is_empty()).then(|| {
                format!(
                    "UPDATE {table} AS t SET {} FROM {staged} AS s WHERE {range} AND {same_key} AND ({})",
                    set.join(", "),
                    differs.join(" OR ")
                )
            }),
            insert: format!(
                "INSERT INTO {table} ({}) SELECT {} FROM {staged} AS s WHERE {range}{is_new} ORDER BY s.rowid",
                names.join(", "),
                values.join(", ")
            ),
            copy: (copies && copies_rows(connection, &copy)?).then_some(copy),
            count: format!("SELECT count(*) FROM {staged} AS s WHERE {range}"),
            versions,
            outcome: Outcome::default(),
            room,
        })
    }

    /// Merges all staged records.
    pub(crate) fn run(mut self, stage: &mut Stage, findings: &mut Findings) -> Result<Outcome> {
        if self.copy(stage)? {
            return Ok(self.outcome);
        }
        let last = stage.last as i64;
        let mut first = 1;
        while first <= last {
            let end = (first + RANGE - 1).min(last);
            self.load(first, end, stage, findings)?;
            first = end + 1;
        }
        if let Some(versions) = &mut self.versions {
            self.outcome.retired = versions
                .finish(self.connection)
                .map_err(|e| refused(&format!("cannot load table `{}`", self.table), e))?;
        }
        Ok(self.outcome)
    }

    /// Copies all staged rows, if that can be done.
    fn copy(&mut self, stage: &Stage) -> Result<bool> {
        let Some(copy) = &self.copy else { return Ok(false) };
        let copied = self
            .connection
            .execute_batch("SAVEPOINT gristmill")
            .and_then(|()| self.connection.execute(copy, []))
            .and_then(|rows| {
                self.connection.execute_batch("RELEASE gristmill")?;
                Ok(rows as u64)
            });
        match copied {
            Ok(rows) if rows == stage.last => {
                self.outcome.inserted = rows;
                Ok(true)
            }
            Ok(_) => Err(Error::internal("staged rows are missing")),
            Err(error) => {
                self.undo()?;
                if is_refusal(&error) {
                    return Ok(false);
                }
                Err(refused(&format!("cannot load table `{}`", self.table), error))
            }
        }
    }

    fn load(
        &mut self,
        first: i64,
        last: i64,
        stage: &mut Stage,
        findings: &mut Findings,
    ) -> Result<()> {
        let Err(error) = self.attempt(first, last) else { return Ok(()) };
        self.undo()?;
        if !is_refusal(&error) {
            return Err(refused(&format!("cannot load table `{}`", self.table), error));
        }
        if first < last {
            let middle = first + (last - first) / 2;
            self.load(first, middle, stage, findings)?;
            return self.load(middle + 1, last, stage, findings);
        }
        let message = message(&error);
        let members = match &self.versions {
            Some(versions) => versions
                .members(self.connection, first)
                .map_err(|e| refused("cannot read staged records", e))?,
            None => vec![(first, true)],
        };
        for (seq, changes) in members {
            if changes {
                self.take_out(seq, message.clone(), stage, findings)?;
            } else {
                self.outcome.unchanged += 1;
            }
        }
        Ok(())
    }

    fn attempt(&mut self, first: i64, last: i64) -> rusqlite::Result<()> {
        let execute = |sql: &str| -> rusqlite::Result<u64> {
            Ok(self.connection.prepare_cached(sql)?.execute([first, last])? as u64)
        };
        self.connection.execute_batch("SAVEPOINT gristmill")?;
        if let Some(versions) = &mut self.versions {
            let counts = versions.attempt(self.connection, first, last)?;
            self.connection.execute_batch("RELEASE gristmill")?;
            versions.done(counts);
            self.outcome.inserted += counts.inserted;
            self.outcome.updated += counts.updated;
            self.outcome.closed += counts.closed;
            self.outcome.unchanged += counts.unchanged;
            return Ok(());
        }
        let records: i64 = self
            .connection
            .prepare_cached(&self.count)?
            .query_row([first, last], |row| row.get(0))?;
        let updated = match &self.update {
            Some(update) => execute(update)?,
            None => 0,
        };
        let inserted = execute(&self.insert)?;
        self.connection.execute_batch("RELEASE gristmill")?;
        self.outcome.updated += updated;
        self.outcome.inserted += inserted;
        self.outcome.unchanged += records as u64 - updated - inserted;
        Ok(())
    }

    fn undo(&self) -> Result<()> {
        if self.connection.is_autocommit() {
            return Err(Error::new(
                ErrorKind::Destination,
                format!("the database rolled the load of table `{}` back", self.table),
            )
            .hint("a trigger or a constraint says ROLLBACK; say ABORT, and only the record is refused"));
        }
        self.connection
            .execute_batch("ROLLBACK TO gristmill; RELEASE gristmill")
            .map_err(|e| refused(&format!("cannot load table `{}`", self.table), e))
    }

    fn take_out(
        &mut self,
        seq: i64,
        message: String,
        stage: &mut Stage,
        findings: &mut Findings,
    ) -> Result<()> {
        let size = reject_refused(seq, &message, stage, findings)?;
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

/// Rejects a staged record and answers the memory that it takes.
pub(crate) fn reject_refused(
    seq: i64,
    message: &str,
    stage: &mut Stage,
    findings: &mut Findings,
) -> Result<u64> {
    let origin = stage.origin(seq)?;
    let size = (origin.byte_size() + message.len() + 512) as u64;
    let reason = Reason::record("database", message);
    findings.reject(Reject { origin, ordinal: 0, stage: RunStage::Load, errors: vec![reason] });
    Ok(size)
}

/// Whether SQLite runs a statement by copying rows as they are.
fn copies_rows(connection: &Connection, sql: &str) -> rusqlite::Result<bool> {
    let mut program = connection.prepare(&format!("EXPLAIN {sql}"))?;
    let mut steps = program.query([])?;
    while let Some(step) = steps.next()? {
        if step.get_ref("opcode")?.as_str() == Ok("RowCell") {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether the database refuses what is in the records, and not the load as such.
fn is_refusal(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    matches!(
        code,
        Some(ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig)
    )
}

fn message(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqliteFailure(_, Some(message)) => message.clone(),
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_schema::Schema;
    use gristmill_core::FieldType;

    use super::*;
    use crate::table::Options;

    #[test]
    fn rows_are_found_by_their_key_and_never_by_a_walk_through_the_table() {
        let schema = Arc::new(Schema::new(vec![
            FieldType::String.field("k"),
            FieldType::Int.field("n"),
            FieldType::String.field("v"),
        ]));
        let mut options = Options::new("sqlite://unused", "t");
        options.mode = Mode::Upsert;
        options.keys = vec!["k".to_owned(), "n".to_owned()];
        for ddl in [
            "CREATE TABLE t (v TEXT, n INTEGER, k TEXT, PRIMARY KEY (k, n))",
            "CREATE TABLE t (v, n, k, id INTEGER PRIMARY KEY); CREATE UNIQUE INDEX i ON t (n, k COLLATE NOCASE)",
        ] {
            let connection = Connection::open_in_memory().unwrap();
            connection.execute_batch(ddl).unwrap();
            let target = Target::inspect(&connection, &options, &schema).unwrap();
            let mut stage = Stage::create(1, &target, options.duplicates, 0).unwrap();
            stage.seal(&connection).unwrap();
            connection.execute_batch("INSERT INTO t DEFAULT VALUES").unwrap();
            let merge = Merge::new(&connection, &target, &stage, &options, None, 0).unwrap();
            for sql in [merge.update.as_ref().unwrap(), &merge.insert] {
                let mut plan = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
                let lines: Vec<String> = plan
                    .query_map([1, 2], |row| row.get("detail"))
                    .unwrap()
                    .collect::<Result<_, _>>()
                    .unwrap();
                let plan = lines.join("\n");
                assert!(plan.contains("SEARCH s USING INTEGER PRIMARY KEY"), "{plan}");
                assert!(plan.contains("SEARCH t USING") && !plan.contains("SCAN"), "{plan}");
            }
        }
    }
}
