//! A step over rows that have each other's key, whatever it makes of them.

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::SchemaRef;
use arrow_select::concat::concat_batches;
use gristmill_core::{
    Batch, Findings, OrderedStep, Origin, Place, Records, Result, Rows, Space, TableStep, Turn,
};
use serde_json::{Map, Value};
use std::sync::Arc;

use super::{Counts, Matching, Next, Piece};

/// What a step makes of rows that have each other's key.
pub(in crate::steps) trait Matched: Send {
    /// The columns of all that it makes.
    fn output(&self) -> &SchemaRef;

    /// Records of the input with what was found for them.
    ///
    /// # Errors
    /// When the columns are not those of the output.
    fn piece(&mut self, piece: Piece) -> Result<Batch>;

    /// Records that only the source has, of the columns that are wanted of it.
    ///
    /// # Errors
    /// As [`Self::piece`].
    fn rest(&self, found: &[ArrayRef]) -> Result<RecordBatch>;

    /// What the report says besides the source and how many records it has; so many of these nothing
    /// found, and were given `alone`.
    fn report(&self, counts: Counts, alone: u64) -> Map<String, Value>;
}

/// A step that makes something of rows that have each other's key.
pub(in crate::steps) struct MatchedRows<M> {
    matching: Matching,
    matched: M,
    /// Records of the source given without one of the input.
    alone: u64,
}

impl<M: Matched> MatchedRows<M> {
    pub(in crate::steps) fn new(matching: Matching, matched: M) -> Self {
        Self { matching, matched, alone: 0 }
    }

    fn rest(&mut self, found: &[ArrayRef]) -> Result<Batch> {
        let columns = self.matched.rest(found)?;
        let origin = Origin::columns(self.matching.step.into(), columns.clone());
        origin.set_place(Place { first_record: self.alone + 1, first_line: 1 });
        self.alone += columns.num_rows() as u64;
        Batch::whole(columns, Arc::new(origin))
    }
}

impl<M: Matched> TableStep for MatchedRows<M> {
    fn give(&mut self, batch: Option<Batch>) -> Result<()> {
        self.matching.give(batch)
    }

    fn turn(&mut self) -> Result<Turn> {
        Ok(match self.matching.turn()? {
            Next::Piece(piece) => Turn::Gives(self.matched.piece(*piece)?),
            Next::Rest(found) => Turn::Gives(self.rest(&found)?),
            Next::Takes => Turn::Takes,
            Next::Done => Turn::Done,
        })
    }
}

impl<M: Matched> OrderedStep for MatchedRows<M> {
    fn load(&mut self, references: Vec<Records>) {
        references.into_iter().for_each(|records| self.matching.load(records));
    }

    fn open(&mut self, space: Space) {
        self.matching.open(space);
    }

    /// All pieces of the batch as one: nothing else comes before the end.
    fn apply(&mut self, batch: Batch, _: &mut Findings) -> Result<Batch> {
        let origin = Arc::clone(batch.origin());
        let (mut given, mut batch) = (Vec::new(), Some(batch));
        loop {
            match self.turn()? {
                Turn::Gives(part) => given.push(part),
                Turn::Takes if batch.is_some() => self.give(batch.take())?,
                Turn::Takes | Turn::Done => break,
            }
        }
        let columns = concat_batches(self.matched.output(), given.iter().map(Batch::columns))?;
        let rows =
            given.iter().flat_map(|part| (0..part.num_rows()).map(|row| part.rows().ordinal(row)));
        let mut batch = Batch::new(columns, origin, Rows::Some(rows.collect()))?;
        let mut before = 0;
        for part in given {
            for flaw in part.flaws() {
                batch.add_flaw(before + flaw.row as usize, flaw.stage, flaw.reason.clone());
            }
            before += part.num_rows();
        }
        Ok(batch)
    }

    fn release(&mut self, _: &mut Findings) -> Result<Option<Batch>> {
        loop {
            match self.turn()? {
                Turn::Gives(batch) => return Ok(Some(batch)),
                Turn::Takes => self.give(None)?,
                Turn::Done => return Ok(None),
            }
        }
    }

    fn table(&mut self) -> Option<&mut dyn TableStep> {
        Some(self)
    }

    fn report(&self) -> Option<Value> {
        let counts = self.matching.counts();
        let mut report = Map::new();
        report.insert("source".to_owned(), self.matching.side.name.clone().into());
        report.insert("records".to_owned(), counts.records.into());
        report.extend(self.matched.report(counts, self.alone));
        Some(report.into())
    }
}
