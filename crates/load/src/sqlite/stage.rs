//! The staging table: what has arrived, in the session's temporary database.

use std::sync::Arc;

use arrow_schema::SchemaRef;
use gristmill_core::text::value_text;
use gristmill_core::{Batch, Error, Findings, Reason, Reject, Result, Stage as RunStage};
use rusqlite::{Connection, OptionalExtension};

use super::cells::Cells;
use super::refused;
use super::spool::Spool;
use super::target::Target;
use crate::table::{Duplicates, Options};

/// Staged records, numbered in the order in which they came.
pub(crate) struct Stage {
    /// The staging table, in the form in which statements name it.
    pub(crate) table: String,
    pub(crate) spool: Spool,
    schema: SchemaRef,
    keys: Vec<usize>,
    affinities: Vec<&'static str>,
    duplicates: Duplicates,
    insert: String,
    find: String,
    delete: String,
    mark: String,
    /// Number of the last record.
    pub(crate) last: i64,
    /// Bytes of values staged.
    pub(crate) bytes: u64,
}

impl Stage {
    pub(crate) fn create(
        connection: &Connection,
        number: u64,
        target: &Target,
        options: &Options,
        schema: &SchemaRef,
    ) -> Result<Self> {
        let table = format!("temp.gristmill_stage_{number}");
        let keys: Vec<usize> = target.keys().collect();
        let columns: Vec<String> = target
            .columns
            .iter()
            .enumerate()
            .map(|(i, column)| match &column.key {
                Some(collation) => {
                    format!(", c{i} {} COLLATE {}", column.affinity, super::quoted(collation))
                }
                None => format!(", c{i} {}", column.affinity),
            })
            .collect();
        let mut sql = format!(
            "CREATE TABLE {table} (seq INTEGER PRIMARY KEY, at INTEGER, dup INTEGER DEFAULT 0{});",
            columns.concat()
        );
        if !keys.is_empty() {
            let keys: Vec<String> = keys.iter().map(|i| format!("c{i}")).collect();
            sql += &format!(
                "CREATE UNIQUE INDEX temp.gristmill_key_{number} ON gristmill_stage_{number} ({});",
                keys.join(", ")
            );
        }
        connection.execute_batch(&sql).map_err(|e| refused("cannot create a staging table", e))?;
        let names: String = (0..target.columns.len()).map(|i| format!(", c{i}")).collect();
        let values: String = (0..target.columns.len()).map(|i| format!(", ?{}", i + 3)).collect();
        let of_key: Vec<String> =
            keys.iter().enumerate().map(|(n, i)| format!("c{i} = ?{}", n + 1)).collect();
        Ok(Self {
            insert: format!(
                "INSERT OR IGNORE INTO {table} (seq, at{names}) VALUES (?1, ?2{values})"
            ),
            find: format!("SELECT seq, at, dup FROM {table} WHERE {}", of_key.join(" AND ")),
            delete: format!("DELETE FROM {table} WHERE seq = ?1"),
            mark: format!("UPDATE {table} SET dup = 1 WHERE seq = ?1"),
            spool: Spool::new()
                .map_err(|e| Error::io("cannot create a temporary file for staged records", e))?,
            schema: Arc::clone(schema),
            duplicates: options.duplicates,
            affinities: target.columns.iter().map(|column| column.affinity).collect(),
            table,
            keys,
            last: 0,
            bytes: 0,
        })
    }

    /// Stages batches; records that cannot be loaded whatever the table holds are rejected.
    pub(crate) fn add(
        &mut self,
        connection: &Connection,
        batches: &[Batch],
        findings: &mut Findings,
    ) -> Result<()> {
        // Only the temporary database is written to, so no lock is taken on the other one.
        let own = connection.is_autocommit();
        let staging = |e| refused("cannot stage records", e);
        if own {
            connection.execute_batch("BEGIN").map_err(staging)?;
        }
        for batch in batches {
            self.add_batch(connection, batch, findings)?;
        }
        if own {
            connection.execute_batch("COMMIT").map_err(staging)?;
        }
        Ok(())
    }

    fn add_batch(
        &mut self,
        connection: &Connection,
        batch: &Batch,
        findings: &mut Findings,
    ) -> Result<()> {
        let schema = Arc::clone(&self.schema);
        let cells = batch
            .columns()
            .columns()
            .iter()
            .zip(schema.fields())
            .map(|(array, field)| Cells::new(array, field))
            .collect::<Result<Vec<_>>>()?;
        let staging = |e| refused("cannot stage records", e);
        let spooling = |e| Error::io("cannot write a temporary file of staged records", e);
        let mut insert = connection.prepare_cached(&self.insert).map_err(staging)?;
        let mut scratch = Vec::new();
        for row in 0..batch.num_rows() {
            let errors = self.unloadable(&cells, batch, row);
            if !errors.is_empty() {
                findings.reject(reject(batch, row, errors));
                continue;
            }
            self.last += 1;
            let at = self.spool.keep(batch, row).map_err(spooling)?;
            insert.raw_bind_parameter(1, self.last).map_err(staging)?;
            insert.raw_bind_parameter(2, at as i64).map_err(staging)?;
            for (i, cells) in cells.iter().enumerate() {
                self.bytes += cells.bind(row, &mut insert, i + 3, &mut scratch).map_err(staging)?;
            }
            if insert.raw_execute().map_err(staging)? == 0
                && self.meet_duplicate(connection, &cells, batch, row, findings)?
            {
                insert.raw_execute().map_err(staging)?;
            }
        }
        Ok(())
    }

    fn unloadable(&self, cells: &[Cells<'_>], batch: &Batch, row: usize) -> Vec<Reason> {
        let name = |i: usize| self.schema.field(i).name().clone();
        let mut errors = Vec::new();
        for &i in &self.keys {
            if cells[i].is_null(row) {
                errors.push(Reason::field(name(i), "key", "a key has no value", None));
            }
        }
        for (i, (cells, affinity)) in cells.iter().zip(&self.affinities).enumerate() {
            if cells.would_be_lost(row, affinity) {
                let message = "the column cannot hold this number";
                let value = value_text(batch.columns().column(i), row);
                errors.push(Reason::field(name(i), "database", message, value));
            }
        }
        errors
    }

    /// What becomes of a record whose key is staged already; answers whether it is to be staged
    /// after all.
    fn meet_duplicate(
        &mut self,
        connection: &Connection,
        cells: &[Cells<'_>],
        batch: &Batch,
        row: usize,
        findings: &mut Findings,
    ) -> Result<bool> {
        let staging = |e| refused("cannot stage records", e);
        let mut find = connection.prepare_cached(&self.find).map_err(staging)?;
        let mut scratch = Vec::new();
        for (n, &i) in self.keys.iter().enumerate() {
            cells[i].bind(row, &mut find, n + 1, &mut scratch).map_err(staging)?;
        }
        let found: Option<(i64, i64, bool)> = {
            let mut rows = find.raw_query();
            match rows.next().map_err(staging)? {
                Some(row) => Some((
                    row.get(0).map_err(staging)?,
                    row.get(1).map_err(staging)?,
                    row.get(2).map_err(staging)?,
                )),
                None => None,
            }
        };
        let Some((seq, at, marked)) = found else {
            return Err(Error::internal("a staged key was not found again"));
        };
        let key = self.key_of(batch, row);
        let reason = |which: &str| {
            let message = format!("the key {key} occurs more than once in this load; {which}");
            vec![Reason::record("duplicate_key", message)]
        };
        let mut reject_earlier = |errors| -> Result<()> {
            let origin = self
                .spool
                .origin(at as u64)
                .map_err(|e| Error::io("cannot read a temporary file of staged records", e))?;
            findings.reject(Reject { origin, ordinal: 0, stage: RunStage::Load, errors });
            Ok(())
        };
        match self.duplicates {
            Duplicates::Last => {
                reject_earlier(reason("the last one is loaded"))?;
                let sql = &self.delete;
                connection
                    .prepare_cached(sql)
                    .and_then(|mut s| s.execute([seq]))
                    .map_err(staging)?;
                return Ok(true);
            }
            Duplicates::First => {
                findings.reject(reject(batch, row, reason("the first one is loaded")));
            }
            Duplicates::Reject => {
                if !marked {
                    reject_earlier(reason("none is loaded"))?;
                    let sql = &self.mark;
                    connection
                        .prepare_cached(sql)
                        .and_then(|mut s| s.execute([seq]))
                        .map_err(staging)?;
                }
                findings.reject(reject(batch, row, reason("none is loaded")));
            }
        }
        Ok(false)
    }

    fn key_of(&self, batch: &Batch, row: usize) -> String {
        let values: Vec<String> =
            self.keys.iter().filter_map(|&i| value_text(batch.columns().column(i), row)).collect();
        format!("`{}`", values.join("`, `"))
    }

    /// Where a staged record is in the spool.
    pub(crate) fn place(&self, connection: &Connection, seq: i64) -> rusqlite::Result<Option<u64>> {
        let sql = format!("SELECT at FROM {} WHERE seq = ?1", self.table);
        let at: Option<i64> =
            connection.prepare_cached(&sql)?.query_row([seq], |row| row.get(0)).optional()?;
        Ok(at.map(|at| at as u64))
    }

    pub(crate) fn drop_table(&self, connection: &Connection) {
        let _ = connection.execute_batch(&format!("DROP TABLE IF EXISTS {}", self.table));
    }
}

fn reject(batch: &Batch, row: usize, errors: Vec<Reason>) -> Reject {
    Reject {
        origin: Arc::clone(batch.origin()),
        ordinal: batch.rows().ordinal(row),
        stage: RunStage::Load,
        errors,
    }
}
