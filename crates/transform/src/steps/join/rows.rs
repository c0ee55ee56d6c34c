//! Records beside those of another source, one for each pair.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, new_null_array};
use arrow_schema::SchemaRef;
use gristmill_core::{
    Batch, Findings, OrderedStep, Origin, Place, Records, Result, Space, TableStep, Turn,
};
use serde_json::{Value, json};

use super::super::matching::{Matching, Next, Piece, gathered};

pub(super) struct JoinedRows {
    matching: Matching,
    /// What messages call the source.
    name: String,
    left: Left,
    output: SchemaRef,
    /// Records of the source given without one of the input.
    alone: u64,
}

/// What the input has in records that are only in the source.
pub(super) struct Left {
    /// The places of its key, whose columns come first of those of the source then.
    pub(super) keys: Vec<usize>,
}

impl JoinedRows {
    pub(super) fn new(matching: Matching, name: String, left: Left, output: SchemaRef) -> Self {
        Self { matching, name, left, output, alone: 0 }
    }

    fn piece(&self, piece: Piece) -> Result<Batch> {
        let mut columns = piece.batch.columns().columns().to_vec();
        columns.extend(piece.columns.into_iter().skip(self.left.keys.len()));
        let columns = RecordBatch::try_new(Arc::clone(&self.output), columns)?;
        piece.batch.with_columns(columns)
    }

    fn rest(&mut self, found: Vec<ArrayRef>) -> Result<Batch> {
        let rows = found.first().map_or(0, |column| column.len());
        let keys = self.left.keys.len();
        let of_input = self.output.fields().len() + keys - found.len();
        let columns =
            (0..of_input).map(|place| match self.left.keys.iter().position(|key| *key == place) {
                Some(key) => Arc::clone(&found[key]),
                None => new_null_array(self.output.field(place).data_type(), rows),
            });
        let columns = columns.chain(found[keys..].iter().cloned()).collect();
        let columns = RecordBatch::try_new(Arc::clone(&self.output), columns)?;
        let origin = Origin::columns("join".into(), columns.clone());
        origin.set_place(Place { first_record: self.alone + 1, first_line: 1 });
        self.alone += rows as u64;
        Batch::whole(columns, Arc::new(origin))
    }
}

impl TableStep for JoinedRows {
    fn give(&mut self, batch: Option<Batch>) -> Result<()> {
        self.matching.give(batch)
    }

    fn turn(&mut self) -> Result<Turn> {
        Ok(match self.matching.turn()? {
            Next::Piece(piece) => Turn::Gives(self.piece(*piece)?),
            Next::Rest(found) => Turn::Gives(self.rest(found)?),
            Next::Takes => Turn::Takes,
            Next::Done => Turn::Done,
        })
    }
}

impl OrderedStep for JoinedRows {
    fn load(&mut self, references: Vec<Records>) {
        references.into_iter().for_each(|records| self.matching.load(records));
    }

    fn open(&mut self, space: Space) {
        self.matching.open(space);
    }

    fn apply(&mut self, batch: Batch, _: &mut Findings) -> Result<Batch> {
        let output = Arc::clone(&self.output);
        gathered(self, batch, &output)
    }

    fn release(&mut self, _: &mut Findings) -> Result<Option<Batch>> {
        super::super::matching::released(self)
    }

    fn table(&mut self) -> Option<&mut dyn TableStep> {
        Some(self)
    }

    /// `source`, its `records`, how many records of the input `found` some of them, or `nothing`,
    /// and how many of the source came `alone`.
    fn report(&self) -> Option<Value> {
        let counts = self.matching.counts();
        let mut report = json!({
            "source": self.name,
            "records": counts.records,
            "found": counts.found,
            "nothing": counts.nothing,
        });
        if !self.left.keys.is_empty() {
            report["alone"] = self.alone.into();
        }
        Some(report)
    }
}
