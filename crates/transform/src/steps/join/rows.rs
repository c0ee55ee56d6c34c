//! Records beside those of another source, one for each pair.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, new_null_array};
use arrow_schema::SchemaRef;
use gristmill_core::{Batch, Result};
use serde_json::{Map, Value};

use super::super::matching::{Counts, Matched, Piece};

pub(super) struct Joined {
    /// The places of the key in the input, whose columns come first of those of the source then, if
    /// records go on that only the source has.
    pub(super) keys: Vec<usize>,
    pub(super) output: SchemaRef,
}

impl Matched for Joined {
    fn output(&self) -> &SchemaRef {
        &self.output
    }

    fn piece(&mut self, piece: Piece) -> Result<Batch> {
        let mut columns = piece.batch.columns().columns().to_vec();
        columns.extend(piece.columns.into_iter().skip(self.keys.len()));
        let columns = RecordBatch::try_new(Arc::clone(&self.output), columns)?;
        piece.batch.with_columns(columns)
    }

    fn rest(&self, found: &[ArrayRef]) -> Result<RecordBatch> {
        let rows = found.first().map_or(0, |column| column.len());
        let of_input = self.output.fields().len() + self.keys.len() - found.len();
        let columns =
            (0..of_input).map(|place| match self.keys.iter().position(|key| *key == place) {
                Some(key) => Arc::clone(&found[key]),
                None => new_null_array(self.output.field(place).data_type(), rows),
            });
        let columns = columns.chain(found[self.keys.len()..].iter().cloned()).collect();
        Ok(RecordBatch::try_new(Arc::clone(&self.output), columns)?)
    }

    /// How many records of the input `found` some of the source, or `nothing`, and how many of the
    /// source came `alone`.
    fn report(&self, counts: Counts, alone: u64) -> Map<String, Value> {
        let counts = [("found", counts.found), ("nothing", counts.nothing)];
        let alone = (!self.keys.is_empty()).then_some(("alone", alone));
        let counts = counts.into_iter().chain(alone);
        counts.map(|(name, count)| (name.to_owned(), count.into())).collect()
    }
}
