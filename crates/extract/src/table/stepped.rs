//! Databases whose rows come one by one: a thread of its own steps through them and puts their values
//! down as they are; workers make columns of them.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use arrow_schema::SchemaRef;
use gristmill_core::{
    Batch, ByteSize, Chunk, Error, Extractor, FieldType, Findings, ReadPlan, Result,
};
use serde_json::Value;

use super::cells::{self, Piece};
use super::rows::Columns;

/// Bytes of a chunk.
const CHUNK: usize = 4 << 20;

/// What chunks need to know of where they are from.
pub(super) struct Source {
    pub(super) columns: Columns,
    pub(super) types: Vec<FieldType>,
    pub(super) longest: ByteSize,
}

/// Steps through all rows.
pub(super) type Step = Box<dyn FnOnce(&mut Pieces) -> Result<()> + Send>;
/// Breaks a step off, from another thread.
pub(super) type Stop = Box<dyn Fn() + Send>;

/// Reads what a query answers.
pub(super) struct Stepped {
    source: Arc<Source>,
    step: Option<Step>,
    stop: Option<Stop>,
    rows: Option<Receiver<Result<Piece>>>,
    thread: Option<JoinHandle<()>>,
    bytes: u64,
    started: bool,
    notes: Vec<String>,
    bookmark: Option<(String, Value)>,
}

/// Rows that are put down, and handed over in pieces.
pub(super) struct Pieces {
    rows: cells::Rows,
    start: usize,
    columns: usize,
    longest: u64,
    sender: SyncSender<Result<Piece>>,
}

impl Pieces {
    /// Begins a row, whose values are added to what it answers.
    pub(super) fn row(&mut self) -> &mut cells::Rows {
        self.start = self.rows.begin();
        &mut self.rows
    }

    /// Ends a row; answers whether somebody wants more.
    pub(super) fn end(&mut self) -> bool {
        self.rows.end(self.start, self.columns, self.longest);
        self.rows.size() < CHUNK || self.sender.send(Ok(self.rows.take())).is_ok()
    }
}

impl Stepped {
    /// Steps when it is asked for the first chunk. Without `stop`, a step that nobody listens to
    /// any more ends by itself, at its next row.
    pub(super) fn new(
        source: Source,
        step: Step,
        stop: Option<Stop>,
        notes: Vec<String>,
        bookmark: Option<(String, Value)>,
    ) -> Self {
        Self {
            source: Arc::new(source),
            step: Some(step),
            stop,
            rows: None,
            thread: None,
            bytes: 0,
            started: false,
            notes,
            bookmark,
        }
    }

    /// Starts the thread that steps.
    fn start(&mut self, step: Step) -> Result<Receiver<Result<Piece>>> {
        let (sender, rows) = sync_channel(1);
        let mut pieces = Pieces {
            rows: cells::Rows::default(),
            start: 0,
            columns: self.source.types.len(),
            longest: self.source.longest.0,
            sender,
        };
        let thread = std::thread::Builder::new()
            .name("gristmill-rows".to_owned())
            .spawn(move || {
                let last = match step(&mut pieces) {
                    Ok(()) if pieces.rows.cells.is_empty() => return,
                    Ok(()) => Ok(pieces.rows.take()),
                    Err(error) => Err(error),
                };
                let _ = pieces.sender.send(last); // or nobody listens
            })
            .map_err(|error| Error::io("cannot start a thread", error))?;
        self.thread = Some(thread);
        Ok(rows)
    }
}

impl Extractor for Stepped {
    fn read_plan(&mut self) -> Result<Option<ReadPlan>> {
        Ok(None)
    }

    fn begin(&mut self, _: Option<ReadPlan>) -> Result<SchemaRef> {
        Ok(Arc::clone(&self.source.columns.schema))
    }

    fn next_chunk(&mut self) -> Result<Option<Box<dyn Chunk>>> {
        if let Some(step) = self.step.take() {
            self.rows = Some(self.start(step)?);
        }
        let next = self.rows.as_ref().and_then(|rows| rows.recv().ok()).transpose();
        let Ok(Some(piece)) = next else {
            self.rows = None;
            return match self.thread.take().map(JoinHandle::join) {
                Some(Err(_)) => Err(Error::internal("the thread that reads rows broke off")),
                _ => next.map(|_| None),
            };
        };
        self.bytes += piece.size() as u64;
        Ok(Some(Box::new(Rows {
            source: Arc::clone(&self.source),
            size: piece.size(),
            piece,
            row: 0,
            starts_source: !std::mem::replace(&mut self.started, true),
        })))
    }

    fn total_bytes(&self) -> Option<u64> {
        None
    }

    fn bytes_read(&self) -> u64 {
        self.bytes
    }

    fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }

    fn bookmarks(&self) -> Vec<(String, Value)> {
        self.bookmark.clone().into_iter().collect()
    }
}

impl Drop for Stepped {
    fn drop(&mut self) {
        self.rows = None;
        if let (Some(thread), Some(stop)) = (self.thread.take(), &self.stop) {
            stop();
            let _ = thread.join(); // nobody wants its rows any more
        }
    }
}

/// Some rows.
struct Rows {
    source: Arc<Source>,
    piece: Piece,
    size: usize,
    row: usize,
    starts_source: bool,
}

impl Chunk for Rows {
    fn size(&self) -> usize {
        self.size
    }

    fn starts_source(&self) -> bool {
        self.starts_source
    }

    fn next_batch(&mut self, _: &mut Findings) -> Result<Option<Batch>> {
        let source = &self.source;
        let rows = self.piece.batch(source.types.len(), self.row);
        if rows.is_empty() {
            return Ok(None);
        }
        self.row = rows.end;
        let (columns, unfit) =
            self.piece.columns(rows, &source.columns.given, &source.types, source.longest)?;
        source.columns.batch(columns, unfit).map(Some)
    }
}
