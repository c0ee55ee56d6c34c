//! A source that is on disk, and the input with it: their keys are sorted and merged, and the pairs
//! brought back into the order of the input.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::UInt64Type;
use arrow_array::{Array, ArrayRef, RecordBatch, UInt64Array, new_empty_array};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use arrow_select::concat::concat;
use gristmill_core::{Batch, ByteSize, Error, ErrorKind, Result, Space};
use gristmill_parallel::KeyHash;
use gristmill_parallel::spill::HeldBatches;

use super::{Cursor, NOTHING, Part};
use crate::relational::{Execution, Progress, Store, Writer, merged};

/// The input on its way to disk.
pub(super) struct Away {
    source: Arc<Store>,
    /// The hashes of its keys, and the numbers of its records.
    keys: Writer,
    schema: SchemaRef,
    batches: HeldBatches,
    given: u64,
}

impl Away {
    pub(super) fn new(source: Arc<Store>, space: &Space) -> Result<Self> {
        let [high, low] = super::super::hashed::fields();
        let number = Arc::new(Field::new("", DataType::UInt64, false));
        let schema = Arc::new(Schema::new(vec![high, low, number]));
        let keys = Writer::new(space, &schema)?;
        let batches = HeldBatches::new(Space { memory: space.memory / 4, ..space.clone() });
        Ok(Self { source, keys, schema, batches, given: 0 })
    }

    pub(super) fn push(
        &mut self,
        batch: Batch,
        hashes: &[KeyHash],
        nulls: Option<&NullBuffer>,
        repeats: &[bool],
    ) -> Result<()> {
        let known = || (0..hashes.len()).filter(|row| nulls.is_none_or(|it| it.is_valid(*row)));
        let high = UInt64Array::from_iter_values(known().map(|row| hashes[row][0]));
        let low = UInt64Array::from_iter_values(known().map(|row| hashes[row][1]));
        let numbers = UInt64Array::from_iter_values(known().map(|row| self.given + row as u64));
        let columns: Vec<ArrayRef> = vec![Arc::new(high), Arc::new(low), Arc::new(numbers)];
        self.keys.push(&RecordBatch::try_new(Arc::clone(&self.schema), columns)?)?;
        self.given += hashes.len() as u64;
        self.batches.push(batch, repeats.iter().map(|repeat| u8::from(*repeat)).collect())
    }

    /// Starts to bring together what has the same key.
    pub(super) fn pairs(
        self,
        step: &'static str,
        space: &Space,
        rows: usize,
        rest: bool,
        columns: SchemaRef,
    ) -> Result<Pairs> {
        let keys = self.keys.finish(&self.schema)?;
        let space = Space { memory: space.memory / 2, ..space.clone() };
        let share = space.memory * 2;
        let pairs = merged(step, &space, rows, keys, self.source, rest)
            .map_err(|error| too_little(error, share))?;
        Ok(Pairs { pairs, columns, batches: self.batches, given: 0, part: None, at: 0, share })
    }
}

/// The input, and beside it the pairs in its order.
pub(super) struct Pairs {
    pairs: Execution,
    /// The wanted columns of the source.
    columns: SchemaRef,
    batches: HeldBatches,
    /// Records of the input given so far.
    given: u64,
    /// Pairs at hand, and how many of them are taken: the number of the record of the input, which
    /// is null for what it does not have, that of the source's, and its columns.
    part: Option<RecordBatch>,
    at: usize,
    /// The memory that the step has.
    share: usize,
}

/// What keys and columns of a source that went to disk are sorted and merged in, at least.
const LEAST: usize = 3 << 20;

/// Says how much more memory is needed, where it is that which lacks.
fn too_little(error: Error, share: usize) -> Error {
    if error.kind() != ErrorKind::Memory {
        return error;
    }
    let more = LEAST.div_ceil(share.max(1)).max(2);
    let share = ByteSize(share as u64);
    error.hint(format!(
        "raise `limits.memory` to {more} times as much: a quarter of it is for the steps that see all records, in equal shares, of which this one, {share}, is too small for a source that goes to disk"
    ))
}

impl Pairs {
    /// The next batch of the input, whether its keys came before, and its first number.
    pub(super) fn batch(&mut self) -> Result<Option<(Batch, Vec<bool>, u64)>> {
        let Some((batch, repeats)) = self.batches.pop()? else { return Ok(None) };
        let first = self.given;
        self.given += batch.num_rows() as u64;
        Ok(Some((batch, repeats.into_iter().map(|repeat| repeat != 0).collect(), first)))
    }

    /// Adds pairs until there are so many, or the batch is at its end. Answers the columns that
    /// they point into.
    pub(super) fn pairs(
        &mut self,
        first: u64,
        end: usize,
        cursor: &mut Cursor,
        part: &mut Part,
    ) -> Result<Vec<ArrayRef>> {
        let mut taken = Taken::default();
        while cursor.row < end && part.left.len() < part.rows {
            let found = self.peek(&mut taken)? == Some(first + cursor.row as u64);
            let begins = cursor.next.is_none();
            if found {
                part.counts.found += u64::from(begins);
                part.left.push(cursor.row as u32);
                part.right.push(taken.rows);
                taken.rows += 1;
                self.at += 1;
                cursor.next = Some(NOTHING);
                continue;
            }
            if begins {
                part.counts.nothing += 1;
                if part.wanted.alone {
                    part.left.push(cursor.row as u32);
                    part.right.push(NOTHING);
                }
            }
            *cursor = Cursor { row: cursor.row + 1, next: None };
        }
        self.take(&mut taken);
        taken.columns(&self.columns)
    }

    /// The next records of the source that the input does not have, behind all pairs.
    pub(super) fn rest(&mut self, rows: usize) -> Result<Option<Vec<ArrayRef>>> {
        let mut taken = Taken::default();
        while (taken.rows as usize) < rows {
            self.peek(&mut taken)?;
            let Some(part) = &self.part else { break };
            let more = (part.num_rows() - self.at).min(rows - taken.rows as usize);
            taken.rows += more as u32;
            self.at += more;
        }
        if taken.rows == 0 {
            return Ok(None);
        }
        self.take(&mut taken);
        taken.columns(&self.columns).map(Some)
    }

    /// The number of the input's record in the next pair.
    fn peek(&mut self, taken: &mut Taken) -> Result<Option<u64>> {
        loop {
            if let Some(part) = &self.part {
                let numbers = part.column(0).as_primitive::<UInt64Type>();
                if self.at < part.num_rows() {
                    return Ok(numbers.is_valid(self.at).then(|| numbers.value(self.at)));
                }
            }
            self.take(taken);
            match self.pairs.turn().map_err(|error| too_little(error, self.share))? {
                Progress::Gives(part) => (self.part, self.at) = (Some(part), 0),
                Progress::Takes | Progress::Done => {
                    self.part = None;
                    return Ok(None);
                }
            }
        }
    }

    /// Puts away what was taken of the pairs at hand.
    fn take(&mut self, taken: &mut Taken) {
        let Some(part) = &self.part else { return };
        let before: usize = taken.parts.iter().map(RecordBatch::num_rows).sum();
        let more = taken.rows as usize - before;
        if more > 0 {
            taken.parts.push(part.slice(self.at - more, more));
        }
    }
}

/// Pairs that were taken.
#[derive(Default)]
struct Taken {
    parts: Vec<RecordBatch>,
    /// How many, those at hand included.
    rows: u32,
}

impl Taken {
    /// The columns of the source in them.
    fn columns(&self, schema: &Schema) -> Result<Vec<ArrayRef>> {
        let columns = schema.fields().iter().enumerate().map(|(at, field)| {
            let parts: Vec<&dyn Array> =
                self.parts.iter().map(|part| part.column(2 + at).as_ref()).collect();
            Ok(match parts.is_empty() {
                true => new_empty_array(field.data_type()),
                false => concat(&parts)?,
            })
        });
        columns.collect()
    }
}
