//! The records of another source that have the keys of the input's, in the order of the input and
//! then of the source.
//!
//! The source is read first. If it fits in memory, each batch of the input finds its records there
//! (`here`), and goes on at once. Else both go to disk (`away`): keys are sorted and merged, and
//! the pairs that come of it are brought into the order of the input, whose batches wait beside
//! them. What is given is the same either way, also how it is cut into batches: a piece is of one
//! batch of the input, and has so many rows at most, which follows the data only.

mod away;
mod here;
mod read;
mod rows;

use std::collections::VecDeque;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, UInt32Array};
use arrow_buffer::NullBuffer;
use arrow_schema::{Schema, SchemaRef};
use arrow_select::take::take;
use gristmill_core::{Batch, Error, Records, Result, Space};
use gristmill_parallel::spill::Seen;
use gristmill_parallel::views::value_bytes;

use super::hashed::{Hashed, Nulls};
use super::other::Column;
use away::{Away, Pairs};
use here::Here;
use read::Read;

pub(super) use read::unfit;
pub(super) use rows::{Matched, MatchedRows};

/// Bytes of values in a piece, about.
const PIECE: usize = 512 << 10;
/// The place of what is not there.
const NOTHING: u32 = u32::MAX;

/// The source besides the input.
pub(super) struct Side {
    /// What messages call it.
    pub(super) name: String,
    /// The columns of its key, and what the records call them.
    pub(super) keys: Vec<(Column, String)>,
    /// The columns that are wanted of it.
    pub(super) columns: Vec<Column>,
    /// What they are then.
    pub(super) schema: SchemaRef,
}

/// What is wanted besides the records that have each other's key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    /// What nulls in keys are to each other.
    pub(super) nulls: Nulls,
    /// Records of the input whose key the source does not have.
    pub(super) alone: bool,
    /// Records of the source whose key the input does not have, behind all others.
    pub(super) rest: bool,
    /// Whether a key stands for one record: two in the source are an error, and of the input's
    /// records those are told that come after another one.
    pub(super) unique: bool,
}

/// Records of the input with what was found for them.
pub(super) struct Piece {
    /// The records: one as often as records of the source have its key.
    pub(super) batch: Batch,
    /// Whether the key of each came before in the input; empty if nobody wants to know.
    pub(super) repeats: Vec<bool>,
    /// The wanted columns of the source, null where nothing was found.
    pub(super) columns: Vec<ArrayRef>,
    /// Where nothing was found.
    pub(super) nothing: Option<NullBuffer>,
}

/// What comes next.
pub(super) enum Next {
    Piece(Box<Piece>),
    /// Wanted columns of records of the source that the input does not have.
    Rest(Vec<ArrayRef>),
    Takes,
    Done,
}

/// How many records there were.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    /// In the source.
    pub(super) records: u64,
    /// In the input, that found some, and that found none.
    pub(super) found: u64,
    pub(super) nothing: u64,
}

/// Finds the records of a source for those of the input.
pub(super) struct Matching {
    step: &'static str,
    side: Arc<Side>,
    wanted: Wanted,
    space: Space,
    records: Option<Records>,
    /// The keys of the input, where each stands for one record.
    seen: Option<Seen>,
    state: State,
    /// Batches of the input that wait for the next turn; one at most, but when they come from disk.
    waiting: VecDeque<(Batch, Vec<bool>, Found)>,
    /// How far the first of them is.
    cursor: Cursor,
    /// Rows of a piece, once a first batch is known.
    rows: Option<usize>,
    /// Bytes of a record of the source.
    width: usize,
    ended: bool,
    counts: Counts,
}

enum State {
    New,
    Here(Here),
    Away(Box<Away>),
    Pairs(Box<Pairs>),
}

/// What the rows of a batch find.
enum Found {
    /// The first row of the source, of those that follow each other.
    Here(Vec<u32>),
    /// Pairs with numbers from this one on.
    Away(u64),
}

/// A place in a batch: a row, and how much of what it finds is given already.
#[derive(Debug, Clone, Copy, Default)]
struct Cursor {
    row: usize,
    /// The row of the source that comes next, or the number of those that came.
    next: Option<u32>,
}

impl Matching {
    /// For a step that messages call this.
    pub(super) fn new(step: &'static str, side: Side, wanted: Wanted) -> Self {
        Self {
            step,
            side: Arc::new(side),
            wanted,
            space: Space::default(),
            records: None,
            seen: None,
            state: State::New,
            waiting: VecDeque::new(),
            cursor: Cursor::default(),
            rows: None,
            width: 0,
            ended: false,
            counts: Counts::default(),
        }
    }

    /// The records of the source.
    pub(super) fn load(&mut self, records: Records) {
        self.records = Some(records);
    }

    /// What it may take of the machine.
    pub(super) fn open(&mut self, space: Space) {
        self.space = space;
    }

    /// What was counted so far.
    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    /// Takes a batch whose keys are hashed; `None` at the end. Only after [`Next::Takes`].
    pub(super) fn give(&mut self, batch: Option<Batch>) -> Result<()> {
        self.start()?;
        let Some(batch) = batch else {
            self.ended = true;
            return Ok(());
        };
        let Hashed { batch, hashes, nulls } = Hashed::of(batch)?;
        if batch.num_rows() == 0 {
            return Ok(());
        }
        if self.rows.is_none() {
            let width = self.width + value_bytes(batch.columns()) / batch.num_rows();
            self.rows = Some((PIECE / width.max(1)).clamp(64, 8192));
        }
        let mut repeats = Vec::new();
        if let Some(seen) = &mut self.seen {
            seen.fetch(&hashes)?;
            repeats.extend(hashes.iter().map(|key| seen.get_or_insert(*key, 0).is_some()));
        }
        match &mut self.state {
            State::Here(here) => {
                let found = Found::Here(here.find(&hashes, nulls.as_ref()));
                self.waiting.push_back((batch, repeats, found));
                Ok(())
            }
            State::Away(away) => away.push(batch, &hashes, nulls.as_ref(), &repeats),
            State::New | State::Pairs(_) => Err(Error::internal("a batch came that nobody took")),
        }
    }

    /// Works until there is something to say.
    pub(super) fn turn(&mut self) -> Result<Next> {
        loop {
            if let Some(piece) = self.piece()? {
                return Ok(Next::Piece(Box::new(piece)));
            }
            if !self.ended {
                return Ok(Next::Takes);
            }
            self.start()?;
            let rows = self.rows.unwrap_or(8192);
            match &mut self.state {
                State::Here(here) => {
                    let rest = if self.wanted.rest { here.rest(rows)? } else { None };
                    return Ok(rest.map_or(Next::Done, Next::Rest));
                }
                State::Away(_) => {
                    let State::Away(away) = std::mem::replace(&mut self.state, State::New) else {
                        continue;
                    };
                    let columns = Arc::clone(&self.side.schema);
                    let at_once = at_once(&self.space, self.width);
                    let pairs =
                        away.pairs(self.step, &self.space, at_once, self.wanted.rest, columns)?;
                    self.state = State::Pairs(Box::new(pairs));
                }
                State::Pairs(pairs) => {
                    if let Some((batch, repeats, first)) = pairs.batch()? {
                        self.waiting.push_back((batch, repeats, Found::Away(first)));
                        continue;
                    }
                    let rest = if self.wanted.rest { pairs.rest(rows)? } else { None };
                    return Ok(rest.map_or(Next::Done, Next::Rest));
                }
                State::New => return Err(Error::internal("a source was read and is gone")),
            }
        }
    }

    /// Reads the source, once.
    fn start(&mut self) -> Result<()> {
        if !matches!(self.state, State::New) {
            return Ok(());
        }
        if self.wanted.unique {
            let memory = self.space.memory / 8;
            self.seen = Some(Seen::new(Space { memory, ..self.space.clone() }));
        }
        let records = self.records.take().unwrap_or_else(|| Box::new(std::iter::empty()));
        let read = Read::all(&self.side, self.wanted, records, &self.space)?;
        (self.counts.records, self.width) = (read.records, read.width);
        self.state = match read.held {
            read::Held::Here(batches) => State::Here(Here::new(&self.side, batches)?),
            read::Held::Away(store) => State::Away(Box::new(Away::new(store, &self.space)?)),
        };
        Ok(())
    }

    /// The next piece of the batch that waits.
    fn piece(&mut self) -> Result<Option<Piece>> {
        let rows = self.rows.unwrap_or(8192);
        loop {
            let Some((batch, repeats, found)) = self.waiting.front() else { return Ok(None) };
            let (left, right, counts) = (Vec::new(), Vec::new(), self.counts);
            let mut part = Part { left, right, rows, wanted: self.wanted, counts };
            let (end, cursor) = (batch.num_rows(), &mut self.cursor);
            let columns = match (found, &mut self.state) {
                (Found::Here(first), State::Here(here)) => {
                    here.pairs(first, cursor, &mut part);
                    here.columns().to_vec()
                }
                (Found::Away(first), State::Pairs(pairs)) => {
                    pairs.pairs(*first, end, cursor, &mut part)?
                }
                _ => return Err(Error::internal("a batch waits for what is not there")),
            };
            self.counts = part.counts;
            let piece = (!part.left.is_empty()).then(|| part.piece(batch, repeats, &columns));
            if self.cursor.row == end {
                self.waiting.pop_front();
                self.cursor = Cursor::default();
            }
            if let Some(piece) = piece {
                return piece.map(Some);
            }
        }
    }
}

/// Rows of this width that are sorted and merged at once: many of them must fit. What is given does
/// not depend on it.
fn at_once(space: &Space, width: usize) -> usize {
    (space.memory / 128 / width.max(1)).clamp(64, 8192)
}

/// Pairs of rows: of the batch, and of what was found.
struct Part {
    left: Vec<u32>,
    right: Vec<u32>,
    /// How many there may be.
    rows: usize,
    wanted: Wanted,
    counts: Counts,
}

impl Part {
    fn piece(self, batch: &Batch, repeats: &[bool], columns: &[ArrayRef]) -> Result<Piece> {
        let Self { left, right, .. } = self;
        let repeats = match repeats {
            [] => Vec::new(),
            repeats => left.iter().map(|row| repeats[*row as usize]).collect(),
        };
        let whole = left.len() == batch.num_rows() && in_order(&left);
        let batch = if whole { batch.clone() } else { batch.clone().take(&left.into())? };
        let missing = right.contains(&NOTHING);
        if !missing && columns.iter().all(|column| column.len() == right.len()) && in_order(&right)
        {
            return Ok(Piece { batch, repeats, columns: columns.to_vec(), nothing: None });
        }
        let right: UInt32Array = match missing {
            false => right.into(),
            true => right.into_iter().map(|row| (row != NOTHING).then_some(row)).collect(),
        };
        let columns = columns.iter().map(|column| taken(column, &right)).collect::<Result<_>>()?;
        Ok(Piece { batch, repeats, columns, nothing: right.nulls().cloned() })
    }
}

/// Whether these are all rows up to the last, in order.
fn in_order(rows: &[u32]) -> bool {
    rows.iter().enumerate().all(|(at, row)| at == *row as usize)
}

fn taken(column: &ArrayRef, rows: &UInt32Array) -> Result<ArrayRef> {
    if column.is_empty() {
        return Ok(arrow_array::new_null_array(column.data_type(), rows.len()));
    }
    Ok(take(column.as_ref(), rows, None)?)
}

/// Columns of the source with the two of the hashes, and if they are `numbered` a number, in front.
fn coded(side: &Side) -> SchemaRef {
    let number = arrow_schema::Field::new("", arrow_schema::DataType::UInt64, false);
    let codes = super::hashed::fields().into_iter().chain([Arc::new(number)]);
    Arc::new(Schema::new(codes.chain(side.schema.fields().iter().cloned()).collect::<Vec<_>>()))
}

/// Columns in front of those of the source.
const CODES: usize = 3;
