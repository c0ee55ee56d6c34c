//! How records get into the staging table.

use std::collections::BTreeSet;
use std::sync::Arc;

use gristmill_core::{Findings, Origin, Result, Rows as Ordinals, Space};
use gristmill_database::copy;
use gristmill_database::rows::Rows;
use gristmill_database::{Client, error_of};

use super::rows::Copying;
use super::target::Target;
use crate::server;
use crate::table::Options;

/// Staged records.
pub(crate) type Stage = server::Stage<Copying>;

impl Stage {
    /// Makes an empty one, with room for files and for hashes of keys.
    pub(crate) fn create(
        client: &Client,
        number: u64,
        target: &Target,
        options: &Options,
        space: &Space,
    ) -> Result<Self> {
        Self::new("pg_temp.", number, target, options, space, |table, columns| {
            client
                .batch(&format!("CREATE TABLE {table} (seq bigint{columns})"))
                .map_err(|e| error_of("cannot stage records", e))?;
            Ok(Copying::new(table, "of staged records", space.memory))
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
        self.rows += self.way.add(client, rows, origins, findings)?;
        Ok(())
    }

    /// Sees to it that all records that were added are in the table, but for those that it refuses.
    pub(crate) fn end_copy(&mut self, client: &Client, findings: &mut Findings) -> Result<()> {
        self.rows += self.way.end(client, findings)?;
        Ok(())
    }

    /// Completes the staging table. Done once.
    pub(crate) fn complete(
        &mut self,
        client: &Client,
        target: &Target,
        options: &Options,
    ) -> Result<()> {
        let is_part = |i: &usize| options.partition_by.contains(&target.columns[*i].field);
        let parts = (0..target.columns.len()).filter(is_part);
        let looked_up: BTreeSet<usize> = target.keys().chain(target.time).chain(parts).collect();
        let looked_up: Vec<String> = looked_up.iter().map(|i| format!(", c{i}")).collect();
        // Temporary tables are not analysed by the server itself.
        self.seal(client, options, |stage| {
            client.batch(&format!("ANALYZE {} (seq{})", stage.table, looked_up.concat()))
        })
    }
}
