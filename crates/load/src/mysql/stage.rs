//! How records get into the staging table.

use std::sync::Arc;

use bytes::Bytes;
use gristmill_core::{Error, ErrorKind, Origin, Result, Rows as Ordinals, Space};
use gristmill_database::mysql::rows::{self, CLAUSES};
use gristmill_database::mysql::types::Form;
use gristmill_database::mysql::{Client, DatabaseError, error_of};
use gristmill_database::rows::Rows;

use super::target::Target;
use crate::scd2::Missing;
use crate::server;
use crate::table::{Mode, Options};

/// Bytes of a statement, where rows are sent in statements.
const STATEMENT: usize = 512 << 10;

/// Rows with the numbers that they get when they are staged.
pub(crate) struct Numbered {
    pub(crate) bytes: Bytes,
    /// Where each row ends.
    pub(crate) ends: Vec<usize>,
}

/// Which columns hold bytes, the number of the row among them.
pub(crate) struct BytesIn(Vec<bool>);

/// Staged records.
pub(crate) type Stage = server::Stage<BytesIn>;

impl Stage {
    /// Makes an empty one, with memory for hashes of keys.
    pub(crate) fn create(
        client: &Client,
        number: u64,
        target: &Target,
        options: &Options,
        space: &Space,
    ) -> Result<Self> {
        Self::new("", number, target, options, space, |table, columns| {
            let mut columns = format!("seq BIGINT NOT NULL PRIMARY KEY{columns}");
            if options.mode == Mode::Scd2 && options.missing != Missing::Keep {
                // It is asked which keys are not there.
                let keys: Vec<String> = target.keys().map(|i| format!("c{i}")).collect();
                columns += &format!(", KEY ({})", keys.join(", "));
            }
            let create = format!("CREATE TEMPORARY TABLE {table} ({columns})");
            client
                .batch(&format!("{create} DEFAULT CHARSET utf8mb4"))
                .map_err(|e| error_of("cannot stage records", e))?;
            let bytes = target.columns.iter().map(|column| matches!(column.form, Form::Bytes(_)));
            Ok(BytesIn([false].into_iter().chain(bytes).collect()))
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
        self.rows += count;
        let staging = |e| error_of("cannot stage records", e);
        if !client.takes_files() {
            return self.insert(client, &bytes, &ends).map_err(staging);
        }
        let bytes_in = &self.way.0[1..];
        let columns: Vec<String> = (0..bytes_in.len()).map(|i| format!("c{i}")).collect();
        let sql = load_statement(&self.table, "seq", &columns, bytes_in);
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
    pub(crate) fn clear(&mut self, client: &Client) -> Result<()> {
        self.rows = 0;
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
            let values = rows::values(&rows[start..end], &self.way.0);
            let values = String::from_utf8_lossy(&values);
            client.batch(&format!("INSERT INTO {} VALUES {values}", self.table))?;
            start = end;
        }
        Ok(())
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
