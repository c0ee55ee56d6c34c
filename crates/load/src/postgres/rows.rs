//! Rows on their way into a table, and which of them it refuses.

use std::sync::Arc;

use bytes::Bytes;
use gristmill_core::Stage as RunStage;
use gristmill_core::{Findings, Origin, Reason, Reject, Result, Rows as Ordinals};
use gristmill_database::copy::{self, Rows};
use gristmill_database::{Client, Refusal, error_of, refusal};

use crate::merge::dropped_rows;

/// What became of rows.
pub(crate) struct Copied {
    /// Rows in the table.
    pub(crate) taken: u64,
}

/// Copies rows into a table, all but those that it refuses.
pub(crate) fn copy(
    client: &Client,
    into: &str,
    table: &str,
    rows: Rows,
    origins: &[(Arc<Origin>, Ordinals)],
    findings: &mut Findings,
) -> Result<Copied> {
    let (bytes, ends) = rows.finish();
    let mut copying = Copying {
        client,
        sql: format!("COPY {into} FROM STDIN (FORMAT BINARY)"),
        table,
        bytes,
        ends,
        origins,
        findings,
        taken: 0,
    };
    let last = copying.ends.len();
    copying.load(0, last)?;
    Ok(Copied { taken: copying.taken })
}

struct Copying<'a> {
    client: &'a Client,
    sql: String,
    /// The table, for messages.
    table: &'a str,
    bytes: Bytes,
    ends: Vec<usize>,
    origins: &'a [(Arc<Origin>, Ordinals)],
    findings: &'a mut Findings,
    taken: u64,
}

impl Copying<'_> {
    /// Copies the rows from `first` on, to `end`.
    fn load(&mut self, first: usize, end: usize) -> Result<()> {
        if first == end {
            return Ok(());
        }
        let Some(Refusal { message, line }) = self.attempt(first, end)? else { return Ok(()) };
        if end - first == 1 {
            self.reject(first, message);
            return Ok(());
        }
        match line.map(|line| first + line as usize - 1) {
            // The row that the message names alone, then what follows it, in growing steps: one
            // that is refused rarely comes alone.
            Some(row) if row < end => {
                self.load(first, row)?;
                self.load(row, row + 1)?;
                let mut start = row + 1;
                let mut step = 64;
                while start < end {
                    let stop = (start + step).min(end);
                    self.load(start, stop)?;
                    (start, step) = (stop, step * 2);
                }
                Ok(())
            }
            _ => {
                let middle = first + (end - first) / 2;
                self.load(first, middle)?;
                self.load(middle, end)
            }
        }
    }

    fn attempt(&mut self, first: usize, end: usize) -> Result<Option<Refusal>> {
        let start = first.checked_sub(1).map_or(0, |row| self.ends[row]);
        let rows = self.bytes.slice(start..self.ends[end - 1]);
        let cannot = |e| error_of(&format!("cannot load table `{}`", self.table), e);
        self.client.batch("SAVEPOINT gristmill").map_err(cannot)?;
        match self.client.copy_in(&self.sql, copy::pieces(rows)) {
            Ok(taken) => {
                self.client.batch("RELEASE SAVEPOINT gristmill").map_err(cannot)?;
                let missing = (end - first) as u64 - taken;
                if missing > 0 {
                    return Err(dropped_rows(self.table, missing));
                }
                self.taken += taken;
                Ok(None)
            }
            Err(error) => {
                let Some(refused) = refusal(&error) else { return Err(cannot(error)) };
                self.client
                    .batch("ROLLBACK TO SAVEPOINT gristmill; RELEASE SAVEPOINT gristmill")
                    .map_err(cannot)?;
                Ok(Some(refused))
            }
        }
    }

    fn reject(&mut self, row: usize, message: String) {
        let mut row = row;
        for (origin, ordinals) in self.origins {
            if row < ordinals.len() {
                let (origin, ordinal) = (Arc::clone(origin), ordinals.ordinal(row));
                let errors = vec![Reason::record("database", message)];
                self.findings.reject(Reject { origin, ordinal, stage: RunStage::Load, errors });
                return;
            }
            row -= ordinals.len();
        }
    }
}
