//! Batches of one source brought to the columns that several have together.

use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions, new_null_array};
use arrow_schema::{Schema, SchemaRef};
use gristmill_core::{Batch, Chunk, Findings, Result};

/// Where each column of all sources is in one of them; missing ones are null.
#[derive(Debug, Clone)]
pub struct Adaptation {
    schema: SchemaRef,
    picks: Arc<[Option<usize>]>,
}

impl Adaptation {
    /// From `own` to `schema`; `None` if there is nothing to do. Columns of one name have one type.
    pub fn new(own: &Schema, schema: &SchemaRef) -> Option<Self> {
        let picks = schema.fields().iter().map(|field| own.index_of(field.name()).ok());
        let picks: Arc<[_]> = picks.collect();
        let same = own.fields().len() == picks.len()
            && picks.iter().enumerate().all(|(index, pick)| *pick == Some(index));
        (!same).then(|| Self { schema: Arc::clone(schema), picks })
    }

    /// A chunk whose batches have these columns.
    pub fn wrap(&self, inner: Box<dyn Chunk>) -> Box<dyn Chunk> {
        Box::new(Adapted { inner, adaptation: self.clone() })
    }

    fn apply(&self, batch: Batch) -> Result<Batch> {
        let rows = batch.num_rows();
        let columns = self.picks.iter().zip(self.schema.fields()).map(|(pick, field)| match pick {
            Some(index) => Arc::clone(batch.columns().column(*index)),
            None => new_null_array(field.data_type(), rows),
        });
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let columns = RecordBatch::try_new_with_options(
            Arc::clone(&self.schema),
            columns.collect(),
            &options,
        )?;
        batch.with_columns(columns)
    }
}

struct Adapted {
    inner: Box<dyn Chunk>,
    adaptation: Adaptation,
}

impl Chunk for Adapted {
    fn size(&self) -> usize {
        self.inner.size()
    }

    fn starts_source(&self) -> bool {
        self.inner.starts_source()
    }

    fn next_batch(&mut self, findings: &mut Findings) -> Result<Option<Batch>> {
        match self.inner.next_batch(findings)? {
            Some(batch) => self.adaptation.apply(batch).map(Some),
            None => Ok(None),
        }
    }
}
