//! Columns that DataFusion computes.

use std::collections::{HashMap, VecDeque};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use arrow_select::concat::concat_batches;
use gristmill_core::{Error, Result, Space};
use gristmill_parallel::views::{compact, value_bytes};

use super::Shared;
use crate::relational::INPUT;
use crate::relational::numbered::number;
use crate::relational::run::{Execution, Progress};

/// Bytes of values that the parts of a plan hand each other at once, about.
const PART: usize = 512 << 10;

/// A query on its way, which gets the columns that it reads and the number of each row.
pub(super) struct Away {
    execution: Execution,
    /// Its input and what of it was not taken yet.
    input: SchemaRef,
    pending: VecDeque<RecordBatch>,
    /// What it gave, in the order of the rows.
    made: VecDeque<RecordBatch>,
    /// Rows of `made`.
    done: usize,
    /// Rows that were taken.
    rows: u64,
    /// Rows that the plan's parts hand each other at once.
    together: usize,
}

impl Away {
    /// Starts. The first batch says how large rows are.
    pub(super) fn new(shared: &Shared, first: &RecordBatch) -> Result<Self> {
        let width = value_bytes(first) / first.num_rows().max(1);
        let space = Space { memory: shared.space.memory / 8 * 3, ..shared.space.clone() };
        let together = (PART.min(space.memory / 16) / width.max(1)).clamp(64, 8192);
        let (input, stored) = ((INPUT, shared.input.clone()), HashMap::new());
        let execution =
            Execution::start(shared.name, &shared.query, &space, together, input, &stored)?;
        let (pending, made) = (VecDeque::new(), VecDeque::new());
        Ok(Self {
            execution,
            input: shared.input.clone(),
            pending,
            made,
            done: 0,
            rows: 0,
            together,
        })
    }

    /// Takes the next rows.
    pub(super) fn take(&mut self, columns: &RecordBatch) -> Result<()> {
        let columns = number(columns, self.rows, &self.input)
            .map_err(|found| Error::internal("records could not be numbered").caused_by(found))?;
        self.rows += columns.num_rows() as u64;
        for start in (0..columns.num_rows()).step_by(self.together) {
            let part = columns.slice(start, self.together.min(columns.num_rows() - start));
            self.pending.push_back(compact(&part)?);
        }
        Ok(())
    }

    /// Works until so many rows are done, or all that were taken.
    pub(super) fn work(&mut self, rows: usize, ended: bool) -> Result<()> {
        while self.done < rows {
            match self.execution.turn()? {
                Progress::Gives(columns) => {
                    self.done += columns.num_rows();
                    self.made.push_back(columns);
                }
                Progress::Takes => match self.pending.pop_front() {
                    Some(part) => self.execution.give(Some(part)),
                    None if ended => self.execution.give(None),
                    None => break,
                },
                Progress::Done => break,
            }
        }
        Ok(())
    }

    /// The columns of the next rows, so many of them, if they are done.
    pub(super) fn next(&mut self, rows: usize) -> Result<Option<RecordBatch>> {
        if self.done < rows {
            return Ok(None);
        }
        let (mut parts, mut left) = (Vec::new(), rows);
        while left > 0
            && let Some(part) = self.made.pop_front()
        {
            let some = part.num_rows().min(left);
            parts.push(part.slice(0, some));
            if some < part.num_rows() {
                self.made.push_front(part.slice(some, part.num_rows() - some));
            }
            left -= some;
        }
        self.done -= rows;
        let schema = parts.first().map_or_else(|| self.input.clone(), RecordBatch::schema);
        Ok(Some(concat_batches(&schema, &parts)?))
    }
}
