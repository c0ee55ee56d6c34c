//! Rows on their way into a table, and which of them it refuses.
//!
//! Chunks share a COPY for as long as nothing is refused, so that the server need not wait between
//! them. They are kept until it is done: a COPY that is refused leaves nothing, and its chunks are
//! copied again one by one.

use std::sync::Arc;

use bytes::Bytes;
use gristmill_core::Stage as RunStage;
use gristmill_core::{Findings, Origin, Reason, Reject, Result, Rows as Ordinals};
use gristmill_database::copy;
use gristmill_database::rows::Rows;
use gristmill_database::{Client, CopyIn, Refusal, error_of, refusal};

use crate::merge::dropped_rows;

/// What chunks of one COPY may take, with the records that they come from.
const MOST: u64 = 64 << 20;
/// The share of the run's memory that they may take.
const SHARE: u64 = 16;

/// Copies rows into a table, all but those that it refuses. Dropped before [`Self::end`], it takes
/// back what it did since.
pub(crate) struct Copying {
    sql: String,
    /// The table, for messages.
    table: String,
    open: Option<CopyIn>,
    /// What the open COPY has.
    chunks: Vec<Chunk>,
    bytes: u64,
    /// What the chunks of this COPY may take. Which chunks share one depends on the records alone,
    /// so that rejects come in the same order each time.
    room: u64,
    most: u64,
}

/// Rows, and where they come from.
struct Chunk {
    bytes: Bytes,
    ends: Vec<usize>,
    origins: Vec<(Arc<Origin>, Ordinals)>,
}

impl Copying {
    /// Copies into a table with these columns, as SQL writes them; `table` is its name for
    /// messages, and `memory` that of the run in bytes.
    pub(crate) fn new(into: &str, table: impl Into<String>, memory: usize) -> Self {
        let most = (memory as u64 / SHARE).min(MOST);
        Self {
            sql: format!("COPY {into} FROM STDIN (FORMAT BINARY)"),
            table: table.into(),
            open: None,
            chunks: Vec::new(),
            bytes: 0,
            room: most,
            most,
        }
    }

    /// Takes the next chunk, and answers how many rows of the ones so far were found to be in the
    /// table. The connection is busy until [`Self::end`] is called.
    pub(crate) fn add(
        &mut self,
        client: &Client,
        rows: Rows,
        origins: Vec<(Arc<Origin>, Ordinals)>,
        findings: &mut Findings,
    ) -> Result<u64> {
        // A full COPY ends when the next one can begin with rows at once, so that the server does
        // not wait for more; what the old one held is let go while the server works.
        let (taken, done) =
            if self.bytes < self.room { (0, Vec::new()) } else { self.close(client, findings)? };
        let sources: usize = origins.iter().map(|(origin, _)| origin.byte_size()).sum();
        self.bytes += (rows.byte_size() + sources) as u64;
        let (bytes, ends) = rows.finish();
        let open = match &mut self.open {
            Some(open) => open,
            None => self.open.insert(begin(client, &self.sql, &self.table)?),
        };
        copy::pieces(bytes.clone()).for_each(|piece| open.send(piece));
        self.chunks.push(Chunk { bytes, ends, origins });
        drop(done);
        Ok(taken)
    }

    /// Ends the open COPY, and answers as [`Self::add`].
    pub(crate) fn end(&mut self, client: &Client, findings: &mut Findings) -> Result<u64> {
        Ok(self.close(client, findings)?.0)
    }

    /// Ends the open COPY; answers as [`Self::add`], and with the chunks that were taken as one.
    fn close(&mut self, client: &Client, findings: &mut Findings) -> Result<(u64, Vec<Chunk>)> {
        let Some(open) = self.open.take() else { return Ok((0, Vec::new())) };
        let chunks = std::mem::take(&mut self.chunks);
        let size = std::mem::take(&mut self.bytes);
        let rows = chunks.iter().map(|chunk| chunk.ends.len() as u64).sum();
        if finish(client, open, rows, &self.table)?.is_none() {
            self.room = self.room.max(size).saturating_mul(2).min(self.most);
            return Ok((rows, chunks));
        }
        // Records that are refused rarely come alone.
        self.room = 0;
        let mut taken = 0;
        for chunk in chunks {
            let last = chunk.ends.len();
            let mut again =
                Again { client, sql: &self.sql, table: &self.table, chunk, findings, taken: 0 };
            again.load(0, last)?;
            taken += again.taken;
        }
        Ok((taken, Vec::new()))
    }
}

/// Begins a COPY behind a savepoint.
fn begin(client: &Client, sql: &str, table: &str) -> Result<CopyIn> {
    let begun = client.batch("SAVEPOINT gristmill").and_then(|()| client.copy_in(sql));
    let mut open = begun.map_err(|e| error_of(&cannot(table), e))?;
    open.send(copy::start());
    Ok(open)
}

/// Ends a COPY of so many rows, and answers why it was refused, if it was.
fn finish(client: &Client, mut copy: CopyIn, rows: u64, table: &str) -> Result<Option<Refusal>> {
    let failed = |e| error_of(&cannot(table), e);
    copy.send(copy::end());
    match copy.finish() {
        Ok(taken) => {
            client.batch("RELEASE SAVEPOINT gristmill").map_err(failed)?;
            match rows.saturating_sub(taken) {
                0 => Ok(None),
                missing => Err(dropped_rows(table, missing)),
            }
        }
        Err(error) => {
            let Some(refused) = refusal(&error) else { return Err(failed(error)) };
            client
                .batch("ROLLBACK TO SAVEPOINT gristmill; RELEASE SAVEPOINT gristmill")
                .map_err(failed)?;
            Ok(Some(refused))
        }
    }
}

fn cannot(table: &str) -> String {
    format!("cannot load table `{table}`")
}

/// Copies a chunk some of whose rows are refused, perhaps.
struct Again<'a> {
    client: &'a Client,
    sql: &'a str,
    table: &'a str,
    chunk: Chunk,
    findings: &'a mut Findings,
    taken: u64,
}

impl Again<'_> {
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
        let Chunk { bytes, ends, .. } = &self.chunk;
        let start = first.checked_sub(1).map_or(0, |row| ends[row]);
        let mut copy = begin(self.client, self.sql, self.table)?;
        copy::pieces(bytes.slice(start..ends[end - 1])).for_each(|piece| copy.send(piece));
        let rows = (end - first) as u64;
        let refused = finish(self.client, copy, rows, self.table)?;
        if refused.is_none() {
            self.taken += rows;
        }
        Ok(refused)
    }

    fn reject(&mut self, row: usize, message: String) {
        let mut row = row;
        for (origin, ordinals) in &self.chunk.origins {
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
