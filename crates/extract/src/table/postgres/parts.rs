//! A table in parts: ranges of its pages, read by several connections at the same time.
//!
//! The server puts a `COPY` together on one of its processors, so that one connection gets no more
//! than that. Parts have so many pages each and come in the order of the pages, which is the order in
//! which one connection reads the whole: how many there are at once does not show in what is read. No
//! key is needed, and none that is skewed does harm.

use std::sync::Arc;

use bytes::Bytes;
use gristmill_core::{Error, Result};
use gristmill_database::{Address, Client, CopyOut, DatabaseError, literal, read_error_of};

/// Parts for which it pays to open one more connection.
const FEW: u64 = 8;
/// Bytes of a piece of what has one part, and at most of a piece of a part: most parts are one.
const PIECE: usize = 4 << 20;
const PART: usize = 2 * PIECE;

/// Begins to read. A scan that starts where another one is gives the rows in another order each time.
pub(super) const BEGIN: &str =
    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL synchronize_seqscans TO off";
/// So do scans of several of the server's processes, and of an index alone. A query may profit from them.
pub(super) const IN_ORDER: &str =
    "SET LOCAL max_parallel_workers_per_gather TO 0; SET LOCAL enable_indexonlyscan TO off";

/// The statement for each part.
type Statements = Arc<dyn Fn(u64) -> String + Send + Sync>;

/// The rows of all parts, in their order.
pub(super) struct Parts {
    first: Client,
    address: Address,
    /// What more connections begin with, once they see what the first one sees.
    lock: String,
    statements: Statements,
    at_once: u64,
    /// How many parts there are, and how many of them were read.
    parts: u64,
    read: u64,
    /// Each reads every so manyth part.
    connections: Vec<(CopyOut, Option<Client>)>,
}

impl Parts {
    /// Reads over a connection, and over as many more as pay, once it is asked for rows.
    pub(super) fn new(
        first: Client,
        address: Address,
        table: &str,
        parts: u64,
        statements: Statements,
        at_once: usize,
    ) -> Self {
        let at_once = (at_once as u64).min(parts.div_ceil(FEW)).max(1);
        let lock = format!("LOCK TABLE {table} IN ACCESS SHARE MODE NOWAIT");
        Self { first, address, lock, statements, at_once, parts, read: 0, connections: Vec::new() }
    }

    /// The next rows. What goes wrong is said with what it is that cannot be read.
    pub(super) fn next_piece(&mut self, what: &str) -> Result<Option<Bytes>> {
        let failed = |error| read_error_of(what, error);
        if self.connections.is_empty() {
            self.start().map_err(failed)?;
        }
        while self.read < self.parts {
            let turn = self.read as usize % self.connections.len();
            let piece = self.connections[turn].0.next();
            let piece = piece.ok_or_else(|| Error::internal("a COPY broke off"))?;
            let piece = piece.map_err(failed)?;
            self.read += u64::from(piece.is_last);
            if !piece.rows.is_empty() {
                return Ok(Some(piece.rows));
            }
        }
        Ok(None)
    }

    fn start(&mut self) -> Result<(), DatabaseError> {
        let more = self.more()?;
        let step = 1 + more.len();
        let size = if self.parts == 1 { PIECE } else { PART };
        for (first, client) in [None].into_iter().chain(more.into_iter().map(Some)).enumerate() {
            let statements = Arc::clone(&self.statements);
            let parts = (first as u64..self.parts).step_by(step);
            let copies = parts.map(move |part| statements(part));
            let copies = client.as_ref().unwrap_or(&self.first).copy_out(copies, size);
            self.connections.push((copies, client));
        }
        Ok(())
    }

    /// More connections that see what the first one sees. Those that cannot be had are not missed: a
    /// server has only so many, behind one address there may be several servers, and who waits for a
    /// lock that excludes readers waits for the first connection, while others wait behind it and
    /// the first one for them.
    fn more(&self) -> Result<Vec<Client>, DatabaseError> {
        let mut more = Vec::new();
        if self.at_once == 1 {
            return Ok(more);
        }
        let snapshot: String = self.first.row("SELECT pg_export_snapshot()", &[])?.get(0);
        let (snapshot, lock) = (literal(&snapshot), &self.lock);
        let begin = format!("{BEGIN}; {IN_ORDER}; SET TRANSACTION SNAPSHOT {snapshot}; {lock}");
        while (more.len() as u64) + 1 < self.at_once {
            let Ok(client) = Client::connect(&self.address) else { break };
            if client.batch(&begin).is_err() {
                break;
            }
            more.push(client);
        }
        Ok(more)
    }
}
