//! Whether a run that did not come to say so has loaded a table.

use std::path::Path;

use gristmill_core::Result;

use super::{Options, Place};
use crate::{mysql, postgres, reading, sqlite};

impl Options {
    /// Whether a run has committed a load of the table.
    pub(super) fn has_published(&self, base: &Path, run: &str) -> Result<bool> {
        let loaded = match self.place().map_err(reading::wrong)? {
            Place::Sqlite(path) => sqlite::committed(&base.join(path), run, &self.table)?,
            Place::Postgres(_) => postgres::committed(&self.database, run, &self.table)?,
            Place::MySql(_) => mysql::committed(&self.database, run, &self.table)?,
        };
        Ok(loaded.is_some())
    }
}
