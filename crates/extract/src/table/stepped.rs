//! Databases whose rows come one by one: a thread of its own for each connection steps through them
//! and puts their values down as they are; workers make columns of them.
//!
//! Several connections take turns: each reads a range of the table, and what they read is handed on
//! in the order of the ranges. A connection is at most two pieces ahead.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;

use arrow_schema::SchemaRef;
use gristmill_core::{
    Batch, ByteSize, Chunk, Error, Extractor, FieldType, Findings, ReadPlan, Result,
};
use serde_json::Value;

use super::cells::{self, Piece};
use super::cut::{Cut, Part, joined};
use super::rows::Columns;

/// Bytes of a chunk, and of a piece at most.
pub(super) const CHUNK: usize = 4 << 20;

/// What chunks need to know of where they are from.
pub(super) struct Source {
    pub(super) columns: Columns,
    pub(super) types: Vec<FieldType>,
    pub(super) longest: ByteSize,
}

/// Steps through the rows of a connection.
pub(super) type Step = Box<dyn FnOnce(&mut Pieces) -> Result<()> + Send>;
/// Breaks a step off, from another thread.
pub(super) type Stop = Box<dyn Fn() + Send>;
/// The step of each connection, and what a reader of the report should know. Called when the first
/// chunk is asked for.
pub(super) type Begin = Box<dyn FnOnce() -> Result<(Vec<Step>, Option<String>)> + Send>;

/// Reads over one connection.
pub(super) fn alone(step: Step) -> Begin {
    Box::new(|| Ok((vec![step], None)))
}

/// A step that hands on all its rows in one turn.
pub(super) fn one_turn(step: impl FnOnce(&mut Pieces) -> Result<()> + Send + 'static) -> Step {
    Box::new(|pieces| {
        pieces.begin();
        step(pieces)?;
        pieces.finish();
        Ok(())
    })
}

/// Reads what a query answers.
pub(super) struct Stepped {
    source: Arc<Source>,
    begin: Option<Begin>,
    stop: Option<Stop>,
    readers: Option<Readers>,
    cut: Cut,
    bytes: u64,
    started: bool,
    notes: Vec<String>,
    bookmark: Option<(String, Value)>,
}

/// Rows that are put down, and handed over in pieces, by one of several threads.
pub(super) struct Pieces {
    rows: cells::Rows,
    start: usize,
    columns: usize,
    longest: u64,
    place: usize,
    is_open: bool,
    /// Memory that all rows took that were handed over.
    handed: usize,
    turns: Sender<usize>,
    sender: SyncSender<Result<Ended>>,
}

/// A piece, and whether it is the last one of its turn.
struct Ended(Piece, bool);

impl Pieces {
    /// Begins a turn. What comes is handed on when all turns that began before are over.
    pub(super) fn begin(&mut self) {
        self.is_open = true;
        let _ = self.turns.send(self.place); // or nobody listens
    }

    /// Ends a turn; answers whether somebody wants more.
    pub(super) fn finish(&mut self) -> bool {
        self.is_open = false;
        self.hand_over(true)
    }

    fn hand_over(&mut self, is_last: bool) -> bool {
        self.handed += self.rows.size();
        self.sender.send(Ok(Ended(self.rows.take(), is_last))).is_ok()
    }

    /// Memory that all rows took so far.
    pub(super) fn size(&self) -> u64 {
        (self.handed + self.rows.size()) as u64
    }

    /// Begins a row, whose values are added to what it answers.
    pub(super) fn row(&mut self) -> &mut cells::Rows {
        self.start = self.rows.begin();
        &mut self.rows
    }

    /// Ends a row; answers whether somebody wants more.
    pub(super) fn end(&mut self) -> bool {
        self.rows.end(self.start, self.columns, self.longest);
        self.rows.size() < CHUNK || self.hand_over(false)
    }

    /// Steps, and hands on what goes wrong.
    fn step(mut self, step: Step) {
        if let Err(error) = step(&mut self) {
            if !self.is_open {
                self.begin();
            }
            let _ = self.sender.send(Err(error)); // or nobody listens
        }
    }
}

/// The threads that step.
struct Readers {
    /// Whose turn it is, again and again.
    turns: Receiver<usize>,
    turn: Option<usize>,
    rows: Vec<Receiver<Result<Ended>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Readers {
    fn start(source: &Source, steps: Vec<Step>) -> Result<Self> {
        let (sender, turns) = channel();
        let mut readers = Self { turns, turn: None, rows: Vec::new(), threads: Vec::new() };
        for (place, step) in steps.into_iter().enumerate() {
            let turns = sender.clone();
            let (sender, rows) = sync_channel(1);
            let pieces = Pieces {
                rows: cells::Rows::default(),
                start: 0,
                columns: source.types.len(),
                longest: source.longest.0,
                place,
                is_open: false,
                handed: 0,
                turns,
                sender,
            };
            let thread = std::thread::Builder::new()
                .name("gristmill-rows".to_owned())
                .spawn(move || pieces.step(step))
                .map_err(|error| Error::io("cannot start a thread", error))?;
            readers.rows.push(rows);
            readers.threads.push(thread);
        }
        Ok(readers)
    }

    /// The next piece; `None` when all threads are done.
    fn next(&mut self) -> Result<Option<Piece>> {
        loop {
            let Some(turn) = self.turn.or_else(|| self.turns.recv().ok()) else {
                let ended = self.threads.drain(..).map(JoinHandle::join);
                let all_well = ended.fold(true, |well, thread| well & thread.is_ok());
                return all_well.then_some(None).ok_or_else(broken);
            };
            let Ended(piece, is_last) = self.rows[turn].recv().map_err(|_| broken())??;
            self.turn = (!is_last).then_some(turn);
            if piece.len() > 0 {
                return Ok(Some(piece));
            }
        }
    }
}

fn broken() -> Error {
    Error::internal("a thread that reads rows broke off")
}

impl Stepped {
    /// Steps when it is asked for the first chunk. Without `stop`, a step that nobody listens to
    /// any more ends by itself, at the end of a piece.
    pub(super) fn new(
        source: Source,
        begin: Begin,
        stop: Option<Stop>,
        notes: Vec<String>,
        bookmark: Option<(String, Value)>,
    ) -> Self {
        Self {
            source: Arc::new(source),
            begin: Some(begin),
            stop,
            readers: None,
            cut: Cut::default(),
            bytes: 0,
            started: false,
            notes,
            bookmark,
        }
    }

    /// The rows of the next chunk.
    fn next_parts(&mut self) -> Result<Option<Vec<Part>>> {
        if let Some(begin) = self.begin.take() {
            let (steps, note) = begin()?;
            self.notes.extend(note);
            self.readers = Some(Readers::start(&self.source, steps)?);
        }
        loop {
            if let Some(parts) = self.cut.next(CHUNK) {
                return Ok(Some(parts));
            }
            let Some(readers) = &mut self.readers else { return Ok(None) };
            match readers.next()? {
                Some(piece) => self.cut.push(piece),
                None => {
                    self.readers = None;
                    return Ok(self.cut.last());
                }
            }
        }
    }

    /// Ends the threads, whose rows nobody wants any more.
    fn end(&mut self) {
        let Some(Readers { rows, threads, .. }) = self.readers.take() else { return };
        drop(rows);
        if let Some(stop) = &self.stop {
            stop();
            for thread in threads {
                let _ = thread.join();
            }
        }
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
        let parts = self.next_parts();
        if parts.is_err() {
            self.end();
        }
        let Some(parts) = parts? else { return Ok(None) };
        let size = parts.iter().map(Part::size).sum();
        self.bytes += size as u64;
        Ok(Some(Box::new(Rows {
            source: Arc::clone(&self.source),
            size,
            parts,
            piece: None,
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
        self.end();
    }
}

/// Some rows.
struct Rows {
    source: Arc<Source>,
    parts: Vec<Part>,
    /// The parts, once they are joined.
    piece: Option<Arc<Piece>>,
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
        let parts = &mut self.parts;
        let piece = self.piece.get_or_insert_with(|| joined(std::mem::take(parts)));
        let rows = piece.batch(self.row);
        if rows.is_empty() {
            return Ok(None);
        }
        self.row = rows.end;
        let source = &self.source;
        let (columns, unfit) =
            piece.columns(rows, &source.columns.given, &source.types, source.longest)?;
        source.columns.batch(columns, unfit).map(Some)
    }
}
