//! The staging table: a temporary one, with a number for each record in the order in which it came.

use std::collections::BTreeSet;
use std::sync::Arc;

use gristmill_core::{Findings, Origin, Result, Rows as Ordinals, Space};
use gristmill_database::copy;
use gristmill_database::rows::Rows;
use gristmill_database::{Client, DatabaseError, error_of, quoted};

use super::rows::Copying;
use super::target::Target;
use crate::records::Records;
use crate::table::Options;

/// Staged records.
pub(crate) struct Stage {
    /// The staging table, as SQL writes it.
    pub(crate) table: String,
    /// What prefixes the tables of a load of versions.
    pub(crate) work: String,
    losers: String,
    copying: Copying,
    pub(crate) records: Records,
    /// Values of the key (and the time), of the staging table `s`.
    keys: Vec<String>,
    /// How many records are in the table: all but those that were refused.
    pub(crate) rows: u64,
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
        let records = Records::new(options.duplicates, true, target.has_exact_keys(), space)?;
        let value = |i: usize| target.columns[i].value(i).of("s");
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
            records,
            keys,
            rows: 0,
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
        let first = self.records.add(rows.len(), &origins, hashes)?;
        copy::number(&mut rows, first);
        self.rows += self.copying.add(client, rows, origins, findings)?;
        Ok(())
    }

    /// Sees to it that all records that were added are in the table, but for those that it refuses.
    pub(crate) fn end_copy(&mut self, client: &Client, findings: &mut Findings) -> Result<()> {
        self.rows += self.copying.end(client, findings)?;
        Ok(())
    }

    /// Completes the staging table. Done once.
    pub(crate) fn seal(
        &mut self,
        client: &Client,
        target: &Target,
        options: &Options,
    ) -> Result<()> {
        if self.records.seal() {
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
        if self.keys.is_empty() || !self.records.may_repeat() {
            return Ok(());
        }
        let Self { table, losers, .. } = &*self;
        let loses = self.records.loses("s.seq", "k");
        client.batch(&format!(
            "CREATE TABLE {losers} AS SELECT seq FROM (SELECT s.seq, {loses} AS loses FROM {table} AS s \
             WINDOW k AS (PARTITION BY {})) AS l WHERE loses; ANALYZE {losers}",
            self.keys.join(", ")
        ))?;
        self.records.look(client, &self.losers)
    }

    /// The table of records that are not loaded, if there are any.
    pub(crate) fn losers(&self) -> Option<&str> {
        self.records.has_losers().then_some(self.losers.as_str())
    }

    /// Rejects some of the records that are not loaded; answers whether there may be more.
    pub(crate) fn reject_losers(
        &mut self,
        client: &Client,
        findings: &mut Findings,
    ) -> Result<bool> {
        let Self { records, table, losers, keys, .. } = self;
        records.reject_losers(client, table, losers, keys, findings)
    }
}

/// The columns of a key as SQL lists them.
pub(super) fn key_list(options: &Options) -> String {
    let keys: Vec<String> = options.keys.iter().map(|key| quoted(key)).collect();
    keys.join(", ")
}
