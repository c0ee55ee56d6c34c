//! Arrow batches of any sizes, cut and joined into batches of one size.

use arrow_array::RecordBatch;
use arrow_select::concat::concat_batches;
use gristmill_core::Result;

/// Batches of `rows` rows each, in order; a batch before a change of schema and the last one may
/// have fewer. Empty batches vanish.
pub(crate) struct Rebatch<I> {
    batches: I,
    rows: usize,
    /// What was left of the last batch taken.
    left: Option<RecordBatch>,
}

impl<I: Iterator<Item = RecordBatch>> Rebatch<I> {
    pub(crate) fn new(batches: I, rows: usize) -> Self {
        Self { batches, rows, left: None }
    }
}

impl<I: Iterator<Item = RecordBatch>> Iterator for Rebatch<I> {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut parts: Vec<RecordBatch> = Vec::new();
        let mut rows = 0;
        while rows < self.rows {
            let Some(batch) = self.left.take().or_else(|| self.batches.next()) else { break };
            if batch.num_rows() == 0 {
                continue;
            }
            if parts.first().is_some_and(|first| first.schema() != batch.schema()) {
                self.left = Some(batch);
                break;
            }
            let room = self.rows - rows;
            if batch.num_rows() > room {
                self.left = Some(batch.slice(room, batch.num_rows() - room));
                parts.push(batch.slice(0, room));
            } else {
                parts.push(batch);
            }
            rows += parts[parts.len() - 1].num_rows();
        }
        match parts.as_slice() {
            [] => None,
            [whole] => Some(Ok(whole.clone())),
            [first, ..] => Some(concat_batches(&first.schema(), &parts).map_err(Into::into)),
        }
    }
}
