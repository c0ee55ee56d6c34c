//! The staging table: what has arrived, numbered in the order in which it came.

use gristmill_core::{Error, Findings, Result, Space};
use rusqlite::Connection;
use rusqlite::types::ValueRef;

use super::image::Image;
use super::part::Staged;
use super::target::Target;
use super::{quoted, refused};
use crate::records::{PIECE, Records};
use crate::table::Duplicates;

/// Staged records.
pub(crate) struct Stage {
    /// The staging table, in the form in which statements name it.
    pub(crate) table: String,
    number: u64,
    image: Image,
    tree: usize,
    /// Whether the connection sees it.
    is_attached: bool,
    pub(crate) records: Records,
    /// The key's columns: name in the staging table, affinity, collation.
    keys: Vec<(String, &'static str, String)>,
    /// Whether keys are staged in the form in which the destination keeps them.
    exact_keys: bool,
}

impl Stage {
    /// Makes an empty one, with room for files and for hashes of keys.
    pub(crate) fn create(
        number: u64,
        target: &Target,
        duplicates: Duplicates,
        space: &Space,
    ) -> Result<Self> {
        let staging = |e| Error::io("cannot create a temporary file for staged records", e);
        let may_refuse = target.exists || target.keys().next().is_some();
        let mut image = Image::new(target.encoding, &space.scratch).map_err(staging)?;
        let tree = image.add("rows".to_owned(), target.stage_statement());
        let time = target.time.map(|_| ("at".to_owned(), "TEXT", "BINARY".to_owned()));
        let keys = target
            .keys()
            .map(|i| {
                let column = &target.columns[i];
                let collation = column.key.clone().unwrap_or_else(|| "BINARY".to_owned());
                (format!("c{i}"), column.affinity, collation)
            })
            .chain(time)
            .collect();
        let is_exact = |i: usize| {
            let column = &target.columns[i];
            column.kept && column.key.as_deref() == Some("BINARY")
        };
        Ok(Self {
            table: format!("gristmill_stage_{number}.rows"),
            number,
            image,
            tree,
            is_attached: false,
            records: Records::new(duplicates, may_refuse, target.keys().all(is_exact), space)?,
            keys,
            exact_keys: target.keys().all(|i| target.columns[i].kept),
        })
    }

    /// Stages a chunk.
    pub(crate) fn add(&mut self, staged: Staged, findings: &mut Findings) -> Result<()> {
        let Staged { pages, origins, rejects, hashes, .. } = staged;
        rejects.into_iter().for_each(|reject| findings.reject(reject));
        self.records.add(pages.rows() as usize, &origins, hashes)?;
        self.image
            .append(self.tree, pages)
            .map_err(|e| Error::io("cannot write a temporary file of staged records", e))
    }

    /// Completes the staging table and shows it to the connection. Done once.
    pub(crate) fn seal(&mut self, connection: &Connection) -> Result<()> {
        if self.records.seal() {
            return Ok(());
        }
        let name = self
            .image
            .seal()
            .and_then(|()| self.image.name())
            .map_err(|e| Error::io("cannot write a temporary file of staged records", e))?;
        let staging = |e| refused("cannot read staged records", e);
        let schema = format!("gristmill_stage_{}", self.number);
        connection
            .execute(&format!("ATTACH ?1 AS {schema}"), [name.to_string_lossy()])
            .map_err(staging)?;
        self.is_attached = true;
        connection.pragma_update(Some(schema.as_str()), "cache_size", -2048).map_err(staging)?;
        self.find_losers(connection).map_err(staging)
    }

    /// Finds the records that are not loaded because others have the same key.
    fn find_losers(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        if self.keys.is_empty() || !self.records.may_repeat() {
            return Ok(());
        }
        let Self { number, table, .. } = &*self;
        let losers = self.losers();
        let names: Vec<&str> = self.keys.iter().map(|(name, ..)| name.as_str()).collect();
        let names = names.join(", ");
        // Nothing but the temporary database is written to, so no lock is taken on the other one.
        let own = connection.is_autocommit();
        let mut sql = if own { "BEGIN;".to_owned() } else { String::new() };
        sql += &format!("CREATE TABLE temp.{losers} (seq INTEGER PRIMARY KEY);");
        let mut source = format!("(SELECT rowid AS seq, {names} FROM {table})");
        if !self.exact_keys {
            // As the destination would keep them.
            let keys = format!("gristmill_keys_{number}");
            let columns: Vec<String> =
                self.keys.iter().map(|(name, affinity, _)| format!("{name} {affinity}")).collect();
            sql += &format!(
                "CREATE TABLE temp.{keys} (seq INTEGER PRIMARY KEY, {});\
                 INSERT INTO temp.{keys} SELECT rowid, {names} FROM {table};",
                columns.join(", ")
            );
            source = format!("temp.{keys}");
        }
        let parts: Vec<String> = self
            .keys
            .iter()
            .map(|(name, _, collation)| format!("{name} COLLATE {}", quoted(collation)))
            .collect();
        let loses = self.records.loses("seq", &format!("(PARTITION BY {})", parts.join(", ")));
        sql += &format!(
            "INSERT INTO temp.{losers} SELECT seq FROM \
             (SELECT seq, {loses} AS loses FROM {source}) WHERE loses;"
        );
        if !self.exact_keys {
            sql += &format!("DROP TABLE temp.gristmill_keys_{number};");
        }
        sql += if own { "COMMIT;" } else { "" };
        let found = connection
            .execute_batch(&sql)
            .and_then(|()| self.records.look(connection, &format!("temp.{losers}")));
        if found.is_err() && own && !connection.is_autocommit() {
            let _ = connection.execute_batch("ROLLBACK");
        }
        found
    }

    /// Its number among those of the connection.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// The table of records that are not loaded.
    pub(crate) fn losers(&self) -> String {
        format!("gristmill_losers_{}", self.number)
    }

    /// Rejects some of the records that are not loaded; answers whether there may be more.
    pub(crate) fn reject_losers(
        &mut self,
        connection: &Connection,
        findings: &mut Findings,
    ) -> Result<bool> {
        if !self.records.has_losers() {
            return Ok(false);
        }
        let staging = |e| refused("cannot read staged records", e);
        let names: Vec<String> = self.keys.iter().map(|(name, ..)| format!("s.{name}")).collect();
        let sql = format!(
            "SELECT l.seq, {} FROM temp.{} AS l CROSS JOIN {} AS s ON s.rowid = l.seq \
             WHERE l.seq > ?1 ORDER BY l.seq LIMIT {PIECE}",
            names.join(", "),
            self.losers(),
            self.table
        );
        let mut statement = connection.prepare_cached(&sql).map_err(staging)?;
        let mut rows = statement.query([self.records.rejected]).map_err(staging)?;
        let mut count = 0;
        while let Some(row) = rows.next().map_err(staging)? {
            let seq: i64 = row.get(0).map_err(staging)?;
            let values: Vec<String> = (0..self.keys.len())
                .map(|i| row.get_ref(i + 1).map(shown))
                .collect::<rusqlite::Result<_>>()
                .map_err(staging)?;
            self.records.reject(seq, &values, findings)?;
            count += 1;
        }
        Ok(count == PIECE)
    }

    /// Takes it out of the connection's sight.
    pub(crate) fn detach(&mut self, connection: &Connection) {
        if !self.is_attached {
            return;
        }
        // What cannot be done now is done when the connection is closed.
        connection.flush_prepared_statement_cache();
        let _ = connection.execute_batch(&format!(
            "DROP TABLE IF EXISTS temp.{}; DETACH gristmill_stage_{};",
            self.losers(),
            self.number
        ));
    }
}

/// A value as a message shows it.
fn shown(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => "null".to_owned(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        ValueRef::Blob(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}
