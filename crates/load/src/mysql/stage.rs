//! The staging table: a temporary one, with a number for each record in the order in which it came.
//! It goes with the connection, and no other one sees it.

use std::sync::Arc;

use bytes::Bytes;
use gristmill_core::{Error, ErrorKind, Findings, Origin, Result, Rows as Ordinals, Space};
use gristmill_database::mysql::rows::{self, CLAUSES};
use gristmill_database::mysql::types::Form;
use gristmill_database::mysql::{Client, DatabaseError, error_of};
use gristmill_database::rows::Rows;

use super::target::Target;
use crate::dialect::Dialect;
use crate::records::Records;
use crate::scd2::Missing;
use crate::table::{Mode, Options};

/// Bytes of a statement, where rows are sent in statements.
const STATEMENT: usize = 512 << 10;

/// Rows with the numbers that they get when they are staged.
pub(crate) struct Numbered {
    pub(crate) bytes: Bytes,
    /// Where each row ends.
    pub(crate) ends: Vec<usize>,
}

/// Staged records.
pub(crate) struct Stage {
    /// The staging table, as SQL writes it.
    pub(crate) table: String,
    /// What prefixes the tables of a load of versions.
    pub(crate) work: String,
    losers: String,
    pub(crate) records: Records,
    /// Values of the key (and the time), of the staging table `s`.
    keys: Vec<String>,
    /// Which columns hold bytes, the number of the row among them.
    bytes: Vec<bool>,
}

impl Stage {
    /// Makes an empty one, with memory for hashes of keys.
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
            .map(|(i, column)| format!(", c{i} {}", column.staged))
            .collect();
        let table = format!("gristmill_stage_{number}");
        let mut columns = format!("seq BIGINT NOT NULL PRIMARY KEY{}", columns.concat());
        if options.mode == Mode::Scd2 && options.missing != Missing::Keep {
            // It is asked which keys are not there.
            let keys: Vec<String> = target.keys().map(|i| format!("c{i}")).collect();
            columns += &format!(", KEY ({})", keys.join(", "));
        }
        client
            .batch(&format!("CREATE TEMPORARY TABLE {table} ({columns}) DEFAULT CHARSET utf8mb4"))
            .map_err(|e| error_of("cannot stage records", e))?;
        let mut keys: Vec<String> =
            target.keys().map(|i| target.columns[i].value(i).of("s")).collect();
        keys.extend(target.time_value());
        let is_bytes = |form| matches!(form, Form::Bytes(_));
        let bytes = target.columns.iter().map(|column| is_bytes(column.form));
        let hashed = target.has_exact_keys(client.flavour());
        Ok(Self {
            table,
            work: format!("gristmill_{number}_"),
            losers: format!("gristmill_losers_{number}"),
            records: Records::new(options.duplicates, true, hashed, space)?,
            keys,
            bytes: [false].into_iter().chain(bytes).collect(),
        })
    }

    /// Gives rows the numbers that follow those of the staged ones.
    pub(crate) fn number(&self, mut rows: Rows) -> Numbered {
        rows::number(&mut rows, self.records.last + 1);
        let (bytes, ends) = rows.finish();
        Numbered { bytes, ends }
    }

    /// Stages a chunk.
    pub(crate) fn add(
        &mut self,
        client: &Client,
        rows: Numbered,
        origins: &[(Arc<Origin>, Ordinals)],
        hashes: Vec<u64>,
    ) -> Result<()> {
        let Numbered { bytes, ends } = rows;
        self.records.add(ends.len(), origins, hashes)?;
        let count = ends.len() as u64;
        let staging = |e| error_of("cannot stage records", e);
        if !client.takes_files() {
            return self.insert(client, &bytes, &ends).map_err(staging);
        }
        let columns: Vec<String> = (0..self.bytes.len() - 1).map(|i| format!("c{i}")).collect();
        let sql = load_statement(&self.table, "seq", &columns, &self.bytes[1..]);
        let (taken, warnings) = client.load(&sql, bytes).map_err(staging)?;
        // The staging table holds every value that is sent, so there is nothing to warn of.
        if (taken, warnings) == (count, 0) {
            return Ok(());
        }
        let said = client.texts("SHOW WARNINGS LIMIT 1").map_err(staging)?;
        let said = said.into_iter().flatten().flatten().next_back().unwrap_or_default();
        Err(Error::new(
            ErrorKind::Destination,
            format!("the server staged {taken} of {count} records, with {warnings} warnings"),
        )
        .caused_by(said)
        .hint("nothing was published; please report it with the server's version"))
    }

    /// Takes all staged records out.
    pub(crate) fn clear(&self, client: &Client) -> Result<()> {
        let clear = client.batch(&format!("DELETE FROM {}", self.table));
        clear.map_err(|e| error_of("cannot stage records", e))
    }

    /// Stages rows in statements, where the server takes no files.
    fn insert(&self, client: &Client, rows: &Bytes, ends: &[usize]) -> Result<(), DatabaseError> {
        let mut start = 0;
        while start < rows.len() {
            // At least one row.
            let stop = ends.partition_point(|end| *end <= start + STATEMENT);
            let first = ends.partition_point(|end| *end <= start);
            let end = ends[stop.saturating_sub(1).max(first)];
            let values = rows::values(&rows[start..end], &self.bytes);
            let values = String::from_utf8_lossy(&values);
            client.batch(&format!("INSERT INTO {} VALUES {values}", self.table))?;
            start = end;
        }
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
        self.find_losers(client).map_err(|e| {
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
        let create = Dialect::MySql.create_table(losers, "seq BIGINT", "seq");
        client.batch(&format!(
            "{create} INSERT INTO {losers} SELECT seq FROM (SELECT s.seq, {} AS loses \
             FROM {table} AS s WINDOW k AS (PARTITION BY {})) AS l WHERE loses",
            self.records.loses("s.seq", "k"),
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

    /// Takes it out.
    pub(crate) fn drop(&self, client: &Client) {
        let tables = [&self.table, &self.losers];
        let sql = tables.map(|table| Dialect::MySql.drop_table(table)).concat();
        let _ = client.batch(&sql); // it goes with the connection
    }
}

/// The statement that takes numbered rows from a file: their numbers go into `number`, a column or
/// a variable, their values into columns, some of which hold bytes.
pub(crate) fn load_statement(
    table: &str,
    number: &str,
    columns: &[String],
    bytes: &[bool],
) -> String {
    let mut fields = vec![number.to_owned()];
    let mut set = Vec::new();
    for (i, (column, is_bytes)) in columns.iter().zip(bytes).enumerate() {
        if *is_bytes {
            fields.push(format!("@b{i}"));
            set.push(format!("{column} = UNHEX(@b{i})"));
        } else {
            fields.push(column.clone());
        }
    }
    format!(
        "LOAD DATA LOCAL INFILE 'gristmill' INTO TABLE {table} {CLAUSES} ({}){}{}",
        fields.join(", "),
        if set.is_empty() { "" } else { " SET " },
        set.join(", ")
    )
}
