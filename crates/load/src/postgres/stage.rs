//! The staging table: a temporary one, with a number for each record in the order in which it came.

use std::collections::BTreeSet;
use std::sync::Arc;

use gristmill_core::Stage as RunStage;
use gristmill_core::{Error, Findings, Origin, Reason, Reject, Result, Rows as Ordinals, Space};
use gristmill_database::copy;
use gristmill_database::rows::Rows;
use gristmill_database::{Client, DatabaseError, error_of, quoted};

use super::rows::Copying;
use super::target::Target;
use crate::spool::{Spool, origin};
use crate::table::{Duplicates, Options};

/// Rejects found in one go, before they are written down.
const PIECE: usize = 4096;

/// Staged records.
pub(crate) struct Stage {
    /// The staging table, as SQL writes it.
    pub(crate) table: String,
    /// What prefixes the tables of a load of versions.
    pub(crate) work: String,
    losers: String,
    copying: Copying,
    sealed: bool,
    pub(crate) spool: Option<Spool>,
    duplicates: Duplicates,
    /// Values of the key (and the time), of the staging table `s`.
    keys: Vec<String>,
    /// Hashes of the keys, while there is room for all of them.
    hashes: Option<Vec<u64>>,
    room: usize,
    has_losers: bool,
    /// The last loser that was rejected.
    rejected: i64,
    /// Number of the last record.
    pub(crate) last: i64,
    /// How many records are in the table: all but those that were refused.
    pub(crate) records: u64,
    /// Columns that are looked up, for the planner.
    looked_up: String,
}

impl Stage {
    /// Makes an empty one, with room for files and for hashes of keys.
    pub(crate) fn create(
        client: &Client,
        number: u64,
        target: &Target,
        options: &Options,
        space: &Space,
    ) -> Result<Self> {
        let columns: Vec<String> = target
            .columns
            .iter()
            .enumerate()
            .map(|(i, column)| format!(", c{i} {}", column.staged_type()))
            .collect();
        let table = format!("pg_temp.gristmill_stage_{number}");
        client
            .batch(&format!("CREATE TABLE {table} (seq bigint{})", columns.concat()))
            .map_err(|e| error_of("cannot stage records", e))?;
        let spool = Spool::new(&space.scratch)
            .map_err(|e| Error::io("cannot create a temporary file for staged records", e))?;
        let value = |i: usize| target.columns[i].value(i);
        let mut keys: Vec<String> = target.keys().map(value).collect();
        keys.extend(target.time_value());
        let is_part = |i: &usize| options.partition_by.contains(&target.columns[*i].field);
        let parts = (0..target.columns.len()).filter(is_part);
        let looked_up: BTreeSet<usize> = target.keys().chain(target.time).chain(parts).collect();
        let looked_up: Vec<String> = looked_up.iter().map(|i| format!(", c{i}")).collect();
        Ok(Self {
            copying: Copying::new(&table, "of staged records", space.memory),
            table,
            work: format!("pg_temp.gristmill_{number}_"),
            losers: format!("pg_temp.gristmill_losers_{number}"),
            sealed: false,
            spool: Some(spool),
            duplicates: options.duplicates,
            keys,
            hashes: target.has_exact_keys().then(Vec::new),
            room: space.memory / 8,
            has_losers: false,
            rejected: 0,
            last: 0,
            records: 0,
            looked_up: looked_up.concat(),
        })
    }

    /// Stages a chunk. The connection is busy until [`Self::end_copy`] is called.
    pub(crate) fn add(
        &mut self,
        client: &Client,
        mut rows: Rows,
        origins: Vec<(Arc<Origin>, Ordinals)>,
        hashes: Vec<u64>,
        findings: &mut Findings,
    ) -> Result<()> {
        if self.sealed {
            return Err(Error::internal("a table was given records after it was prepared"));
        }
        let mut next = self.last + 1;
        copy::number(&mut rows, next);
        if let Some(spool) = &mut self.spool {
            for (origin, rows) in &origins {
                spool
                    .keep(next as u64, origin, rows)
                    .map_err(|e| Error::io("cannot write a temporary file of staged records", e))?;
                next += rows.len() as i64;
            }
        }
        self.last += rows.len() as i64;
        if next != self.last + 1 {
            return Err(Error::internal("rows were staged without their origin"));
        }
        if let Some(all) = &mut self.hashes {
            all.extend(hashes);
            if all.len() > self.room {
                self.hashes = None;
            }
        }
        self.records += self.copying.add(client, rows, origins, findings)?;
        Ok(())
    }

    /// Sees to it that all records that were added are in the table, but for those that it refuses.
    pub(crate) fn end_copy(&mut self, client: &Client, findings: &mut Findings) -> Result<()> {
        self.records += self.copying.end(client, findings)?;
        Ok(())
    }

    /// Completes the staging table. Done once.
    pub(crate) fn seal(
        &mut self,
        client: &Client,
        target: &Target,
        options: &Options,
    ) -> Result<()> {
        if std::mem::replace(&mut self.sealed, true) {
            return Ok(());
        }
        // Temporary tables are not analysed by the server itself.
        client
            .batch(&format!("ANALYZE {} (seq{})", self.table, self.looked_up))
            .and_then(|()| self.find_losers(client))
            .map_err(|e| {
                let keys = options.keys.join("`, `");
                error_of(&format!("cannot compare the keys `{keys}` of table `{}`", target.name), e)
            })
    }

    /// Finds the records that are not loaded because others have the same key.
    fn find_losers(&mut self, client: &Client) -> Result<(), DatabaseError> {
        if self.keys.is_empty() || !self.may_repeat() {
            return Ok(());
        }
        let Self { table, losers, .. } = &*self;
        let loses = match self.duplicates {
            Duplicates::Last => "s.seq <> max(s.seq) OVER k",
            Duplicates::First => "s.seq <> min(s.seq) OVER k",
            Duplicates::Reject => "1 <> count(*) OVER k",
        };
        client.batch(&format!(
            "CREATE TABLE {losers} AS SELECT seq FROM (SELECT s.seq, {loses} AS loses FROM {table} AS s \
             WINDOW k AS (PARTITION BY {})) AS l WHERE loses; ANALYZE {losers}",
            self.keys.join(", ")
        ))?;
        self.has_losers =
            client.row(&format!("SELECT EXISTS (SELECT 1 FROM {losers})"), &[])?.get(0);
        Ok(())
    }

    /// Whether two records may have the same key: when no two hashes are equal, none has.
    fn may_repeat(&mut self) -> bool {
        let Some(mut hashes) = self.hashes.take() else { return true };
        hashes.sort_unstable();
        hashes.windows(2).any(|pair| pair[0] == pair[1])
    }

    /// The table of records that are not loaded, if there are any.
    pub(crate) fn losers(&self) -> Option<&str> {
        self.has_losers.then_some(self.losers.as_str())
    }

    /// Rejects some of the records that are not loaded; answers whether there may be more.
    pub(crate) fn reject_losers(
        &mut self,
        client: &Client,
        findings: &mut Findings,
    ) -> Result<bool> {
        if !self.has_losers {
            return Ok(false);
        }
        let keys: Vec<String> = self.keys.iter().map(|key| format!("({key})::text")).collect();
        let sql = format!(
            "SELECT s.seq, ARRAY[{}] FROM {} AS l JOIN {} AS s ON s.seq = l.seq \
             WHERE l.seq > $1 ORDER BY l.seq LIMIT {PIECE}",
            keys.join(", "),
            self.losers,
            self.table
        );
        let rows = client
            .query(&sql, &[&self.rejected])
            .map_err(|e| error_of("cannot read staged records", e))?;
        let which = match self.duplicates {
            Duplicates::Last => "the last one is loaded",
            Duplicates::First => "the first one is loaded",
            Duplicates::Reject => "none is loaded",
        };
        for row in &rows {
            let (seq, values): (i64, Vec<String>) = (row.get(0), row.get(1));
            let message = format!(
                "the key `{}` occurs more than once in this load; {which}",
                values.join("`, `")
            );
            let origin = origin(&mut self.spool, seq)?;
            let errors = vec![Reason::record("duplicate_key", message)];
            findings.reject(Reject { origin, ordinal: 0, stage: RunStage::Load, errors });
            self.rejected = seq;
        }
        Ok(rows.len() == PIECE)
    }
}

/// The columns of a key as SQL lists them.
pub(super) fn key_list(options: &Options) -> String {
    let keys: Vec<String> = options.keys.iter().map(|key| quoted(key)).collect();
    keys.join(", ")
}
