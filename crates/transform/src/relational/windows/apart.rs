//! Partitions that do not fit in memory together, some at a time.
//!
//! Rows go to disk in pieces, by the hash of their partition. Each piece is computed as if it were
//! all, and what comes out waits on disk as well, from where each record gets its own: the pieces
//! keep the order of the rows, and the hash tells in which of them a row is.

use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions, UInt32Array};
use arrow_schema::{ArrowError, Field, Schema, SchemaRef};
use arrow_select::concat::concat_batches;
use arrow_select::interleave::interleave_record_batch;
use arrow_select::take::take_record_batch;
use gristmill_core::{Result, Space};
use gristmill_parallel::ColumnKeys;
use gristmill_parallel::views::{compact, value_bytes};

use super::away::Away;
use super::here::Here;
use super::plan::{Plan, columns};
use super::{Shared, gone};
use crate::relational::numbered::number;
use crate::relational::parallel::each;
use crate::relational::store::{Store, Writer};

/// How many pieces there are.
const PIECES: usize = 64;
/// Bytes of rows that wait before they are written, at most.
const WAITING: usize = 16 << 20;

/// Rows in pieces.
pub(super) struct Apart {
    pieces: Vec<Piece>,
    /// Bytes that wait in all of them.
    waiting: usize,
    /// Rows that were taken.
    rows: u64,
    results: Vec<Reading>,
}

#[derive(Default)]
struct Piece {
    waiting: Vec<RecordBatch>,
    written: Option<Writer>,
}

/// What came out of a piece.
struct Reading {
    batches: Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>> + Send>,
    open: Option<RecordBatch>,
    /// The next row of it.
    row: usize,
}

impl Plan {
    /// Whether rows of different partitions have nothing to do with each other.
    pub(super) fn falls_apart(&self) -> bool {
        let mut windows = self.windows.iter().map(|window| &window.partitions);
        let first = windows.next().filter(|partitions| !partitions.is_empty());
        first.is_some_and(|first| windows.all(|partitions| partitions == first))
    }

    /// The piece that each row belongs to.
    fn pieces(&self, numbered: &RecordBatch) -> datafusion_common::Result<Vec<usize>> {
        let Some(window) = self.windows.first() else { return Ok(vec![0; numbered.num_rows()]) };
        let keys = columns(&window.partitions, &self.before(numbered)?)?;
        let fields = keys.iter().map(|key| Field::new("", key.data_type().clone(), true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let options = RecordBatchOptions::new().with_row_count(Some(numbered.num_rows()));
        let all: Vec<usize> = (0..keys.len()).collect();
        let keys = RecordBatch::try_new_with_options(schema, keys, &options)?;
        let first_bits = u64::BITS - PIECES.ilog2();
        let hashes = ColumnKeys::at(&keys, &all);
        Ok(hashes.hashes().map(|[high, _]| (high >> first_bits) as usize).collect())
    }
}

impl Apart {
    pub(super) fn new() -> Self {
        let pieces = (0..PIECES).map(|_| Piece::default()).collect();
        Self { pieces, waiting: 0, rows: 0, results: Vec::new() }
    }

    /// Takes the next rows.
    pub(super) fn take(
        &mut self,
        shared: &Shared,
        plan: &Plan,
        needed: &RecordBatch,
    ) -> Result<()> {
        let numbered = number(needed, self.rows, &shared.input);
        let numbered = numbered.map_err(|found| shared.failed(found))?;
        self.rows += numbered.num_rows() as u64;
        let mut rows: [Vec<u32>; PIECES] = [const { Vec::new() }; PIECES];
        let pieces = plan.pieces(&numbered).map_err(|found| shared.failed(found))?;
        pieces.iter().zip(0..).for_each(|(piece, row)| rows[*piece].push(row));
        let numbered = compact(&numbered)?;
        for (piece, rows) in self.pieces.iter_mut().zip(rows) {
            if !rows.is_empty() {
                let part = take_record_batch(&numbered, &UInt32Array::from(rows))?;
                self.waiting += value_bytes(&part);
                piece.waiting.push(part);
            }
        }
        if self.waiting > WAITING.min(shared.space.memory / 8) {
            self.write(&shared.space, &shared.input)?;
        }
        Ok(())
    }

    fn write(&mut self, space: &Space, schema: &SchemaRef) -> Result<()> {
        for Piece { waiting, written } in &mut self.pieces {
            if !waiting.is_empty() {
                let writer = match written {
                    Some(writer) => writer,
                    none => none.insert(Writer::of_many(space, schema)?),
                };
                writer.push(&concat_batches(schema, &std::mem::take(waiting))?)?;
            }
        }
        self.waiting = 0;
        Ok(())
    }

    /// Computes all pieces, once all rows were taken.
    pub(super) fn compute(&mut self, shared: &Shared, plan: &Plan) -> Result<()> {
        self.write(&shared.space, &shared.input)?;
        let pieces = std::mem::take(&mut self.pieces).into_iter();
        let stores = pieces
            .map(|piece| piece.written.map(|writer| writer.finish(&shared.input)).transpose());
        let stores = stores.collect::<Result<Vec<_>>>()?;
        let most = shared.space.memory / 2 / shared.space.workers.max(1);
        let computed = each(&stores, shared.space.workers, |store| match store {
            Some(store) => here(shared, plan, store, most),
            None => Ok(None),
        });
        for (computed, store) in computed.into_iter().zip(&stores) {
            let result = match (computed?, store) {
                (None, Some(store)) => Some(away(shared, store)?),
                (computed, _) => computed,
            };
            self.results.push(match result {
                Some(result) => Reading::new(&result)?,
                None => Reading::nothing(),
            });
        }
        Ok(())
    }

    /// What came out for these rows, which follow those that were asked for before.
    pub(super) fn next(
        &mut self,
        shared: &Shared,
        plan: &Plan,
        numbered: &RecordBatch,
    ) -> Result<RecordBatch> {
        let (mut sources, mut places) = (Vec::new(), Vec::with_capacity(numbered.num_rows()));
        let mut open = [None; PIECES];
        for piece in plan.pieces(numbered).map_err(|found| shared.failed(found))? {
            let reading = self.results.get_mut(piece).ok_or_else(gone)?;
            if reading.turn()? {
                open[piece] = None;
            }
            let batch = reading.open.as_ref().ok_or_else(gone)?;
            let source = *open[piece].get_or_insert_with(|| {
                sources.push(batch.clone());
                sources.len() - 1
            });
            places.push((source, reading.row));
            reading.row += 1;
        }
        let sources: Vec<_> = sources.iter().collect();
        Ok(interleave_record_batch(&sources, &places)?)
    }
}

impl Reading {
    fn new(result: &Arc<Store>) -> Result<Self> {
        Ok(Self { batches: Box::new(result.batches()?), open: None, row: 0 })
    }

    fn nothing() -> Self {
        Self { batches: Box::new(std::iter::empty()), open: None, row: 0 }
    }

    /// Reads on if there is no row left. Answers whether it did.
    fn turn(&mut self) -> Result<bool> {
        let left = self.open.as_ref().is_some_and(|batch| self.row < batch.num_rows());
        if !left {
            self.open = self.batches.next().transpose()?;
            self.row = 0;
        }
        Ok(!left)
    }
}

/// Computes a piece in memory, if it fits.
fn here(
    shared: &Shared,
    plan: &Plan,
    store: &Arc<Store>,
    most: usize,
) -> Result<Option<Arc<Store>>> {
    let failed = |found| shared.failed(found);
    let mut here = Here::default();
    for batch in store.batches()? {
        here.take(plan, &batch?).map_err(failed)?;
        if here.size(plan) > most {
            return Ok(None);
        }
    }
    let computed = here.computed(plan, 1).map_err(failed)?;
    let mut result = Writer::of_many(&shared.space, &shared.query.output)?;
    let mut given = 0;
    for batch in store.batches()? {
        let columns = plan.before(&batch?).map_err(failed)?;
        let rows = columns.num_rows();
        let columns = plan.after(&columns, computed.columns(given, rows).map_err(failed)?);
        result.push(&columns.map_err(failed)?)?;
        given += rows;
    }
    result.finish(&shared.query.output).map(Some)
}

/// Has DataFusion compute a piece.
fn away(shared: &Shared, store: &Arc<Store>) -> Result<Arc<Store>> {
    let mut result = Writer::of_many(&shared.space, &shared.query.output)?;
    let (mut away, mut lens) = (None, Vec::new());
    let needed: Vec<usize> = (0..shared.needs.len()).collect();
    for batch in store.batches()? {
        let columns = batch?.project(&needed)?;
        lens.push(columns.num_rows());
        let away = match &mut away {
            Some(away) => away,
            none => none.insert(Away::new(shared, &columns)?),
        };
        away.take(&columns)?;
        away.work(usize::MAX, false)?;
    }
    let mut away = away.ok_or_else(gone)?;
    for rows in lens {
        away.work(rows, true)?;
        result.push(&away.next(rows)?.ok_or_else(gone)?)?;
    }
    result.finish(&shared.query.output)
}
