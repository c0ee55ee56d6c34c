//! The staging table: a temporary one, with a number for each record in the order in which it came.
//! It goes with the connection, and no other one sees it.

use gristmill_core::{Findings, Result, Space};

use super::Target;
use crate::database::Database;
use crate::records::Records;
use crate::table::Options;

/// Staged records, and `W`, which gets them into their table.
pub(crate) struct Stage<W> {
    /// The staging table, as SQL writes it.
    pub(crate) table: String,
    /// What prefixes the tables of a load of versions.
    pub(crate) work: String,
    losers: String,
    pub(crate) records: Records,
    /// Values of the key (and the time), of the staging table `s`.
    keys: Vec<String>,
    /// How many records are in the table: all but those that were refused.
    pub(crate) rows: u64,
    pub(crate) way: W,
}

impl<W> Stage<W> {
    /// An empty one, whose tables have this number and are in this schema, if any, with room for
    /// files and for hashes of keys. `way` makes the table, whose name and columns it gets.
    pub(crate) fn new<K, F>(
        schema: &str,
        number: u64,
        target: &Target<K, F>,
        options: &Options,
        space: &Space,
        way: impl FnOnce(&str, &str) -> Result<W>,
    ) -> Result<Self> {
        let columns = target.columns.iter().enumerate();
        let columns: Vec<String> =
            columns.map(|(i, column)| format!(", c{i} {}", column.staged)).collect();
        let table = format!("{schema}gristmill_stage_{number}");
        let value = |i: usize| target.columns[i].value(i).of("s");
        let mut keys: Vec<String> = target.keys().map(value).collect();
        keys.extend(target.time_value.clone());
        Ok(Self {
            way: way(&table, &columns.concat())?,
            table,
            work: format!("{schema}gristmill_{number}_"),
            losers: format!("{schema}gristmill_losers_{number}"),
            records: Records::new(options.duplicates, true, target.has_exact_keys, space)?,
            keys,
            rows: 0,
        })
    }

    /// Completes the staging table: finds the records that are not loaded because others have the
    /// same key. Done once, after what the planner is told of the table.
    pub(crate) fn seal<D: Database>(
        &mut self,
        database: &D,
        options: &Options,
        analyze: impl FnOnce(&Self) -> Result<(), D::Error>,
    ) -> Result<()> {
        if self.records.seal() {
            return Ok(());
        }
        analyze(self).and_then(|()| self.find_losers(database)).map_err(|e| {
            let keys = options.keys.join("`, `");
            let table = &options.table;
            D::refused(&format!("cannot compare the keys `{keys}` of table `{table}`"), e)
        })
    }

    fn find_losers<D: Database>(&mut self, database: &D) -> Result<(), D::Error> {
        if self.keys.is_empty() || !self.records.may_repeat() {
            return Ok(());
        }
        let query = format!(
            "SELECT seq FROM (SELECT s.seq, {} AS loses FROM {} AS s \
             WINDOW k AS (PARTITION BY {})) AS l WHERE loses",
            self.records.loses("s.seq", "k"),
            self.table,
            self.keys.join(", ")
        );
        database.batch(&D::DIALECT.create_numbers(&self.losers, &query))?;
        self.records.look(database, &self.losers)
    }

    /// The table of records that are not loaded, if there are any.
    pub(crate) fn losers(&self) -> Option<&str> {
        self.records.has_losers().then_some(self.losers.as_str())
    }

    /// Rejects some of the records that are not loaded; answers whether there may be more.
    pub(crate) fn reject_losers<D: Database>(
        &mut self,
        database: &D,
        findings: &mut Findings,
    ) -> Result<bool> {
        let Self { records, table, losers, keys, .. } = self;
        records.reject_losers(database, table, losers, keys, findings)
    }

    /// Takes it out.
    pub(crate) fn drop<D: Database>(&self, database: &D) {
        let tables = [&self.table, &self.losers];
        let sql = tables.map(|table| D::DIALECT.drop_table(table)).concat();
        let _ = database.batch(&sql); // it goes with the connection
    }
}
