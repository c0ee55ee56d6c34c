//! Records that only become new rows, on their way straight into the table.
//!
//! `LOAD DATA LOCAL` passes over what a table refuses, and changes what does not fit, with a warning.
//! A chunk with a single one is taken back, and goes by the staging table, where the statements are
//! strict.

use gristmill_core::Result;
use gristmill_database::mysql::types::Form;
use gristmill_database::mysql::{Client, error_of, refusal};
use gristmill_database::quoted;

use super::stage::{Numbered, load_statement};
use super::target::Target;
use crate::merge::undo;

/// Chunks that go by the staging table at most until one is tried again.
const MOST: u32 = 15;

/// The way straight into the table.
pub(crate) struct Direct {
    sql: String,
    /// So many chunks are not tried, since the table refused records of the last one, and so many
    /// were not before that.
    pause: u32,
    last_pause: u32,
}

impl Direct {
    /// The way into a table that takes what is sent as it is.
    pub(crate) fn new(target: &Target) -> Self {
        let columns: Vec<String> =
            target.columns.iter().map(|column| quoted(&column.name)).collect();
        let bytes = target.columns.iter().map(|column| matches!(column.form, Form::Bytes(_)));
        let bytes: Vec<bool> = bytes.collect();
        let sql = load_statement(&target.table, "@seq", &columns, &bytes);
        Self { sql, pause: 0, last_pause: 0 }
    }

    /// Loads a chunk; answers whether the table took all of it, or nothing was done.
    pub(crate) fn load(&mut self, client: &Client, rows: &Numbered, table: &str) -> Result<bool> {
        if self.pause > 0 {
            self.pause -= 1;
            return Ok(false);
        }
        let failed = |e| error_of(&format!("cannot load table `{table}`"), e);
        client.batch("SAVEPOINT gristmill").map_err(failed)?;
        match client.load(&self.sql, rows.bytes.clone()) {
            Ok((taken, 0)) if taken == rows.ends.len() as u64 => {
                client.batch("RELEASE SAVEPOINT gristmill").map_err(failed)?;
                self.last_pause = 0;
                return Ok(true);
            }
            Err(error) if refusal(&error).is_none() => return Err(failed(error)),
            Ok(_) | Err(_) => undo(client, table)?,
        }
        // Records that are refused rarely come alone.
        self.last_pause = (2 * self.last_pause + 1).min(MOST);
        self.pause = self.last_pause;
        Ok(false)
    }
}
