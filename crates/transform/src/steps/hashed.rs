//! Hashes of keys, made on workers and handed on as two more columns; what looks at all records, in
//! order, takes them off again.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::UInt64Type;
use arrow_array::{Array, ArrayRef, RecordBatch, UInt64Array};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef};
use gristmill_core::{Batch, Findings, Result, Step};
use gristmill_parallel::{ColumnKeys, KeyHash};

/// What nulls in keys are to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nulls {
    /// Values like others.
    Equal,
    /// A key with a null in it is equal to none.
    Unequal,
}

/// The hashes of each row's key, in two columns: null where a key is equal to none.
pub(super) fn hashes(keys: &RecordBatch, nulls: Nulls) -> [ArrayRef; 2] {
    let all: Vec<usize> = (0..keys.num_columns()).collect();
    let hashes = ColumnKeys::at(keys, &all);
    let (high, low): (Vec<u64>, Vec<u64>) = hashes.hashes().map(|[high, low]| (high, low)).unzip();
    let complete = match nulls {
        Nulls::Equal => None,
        Nulls::Unequal => keys.columns().iter().fold(None, |all, column| {
            NullBuffer::union(all.as_ref(), column.logical_nulls().as_ref())
        }),
    };
    [high, low].map(|half| Arc::new(UInt64Array::new(half.into(), complete.clone())) as ArrayRef)
}

/// The columns that hold hashes. They have no name: they are known by their place.
pub(super) fn fields() -> [FieldRef; 2] {
    [(); 2].map(|()| Arc::new(Field::new("", DataType::UInt64, true)))
}

/// Adds the hashes of keys behind the columns.
pub(super) struct HashKeys {
    keys: Vec<usize>,
    schema: SchemaRef,
    nulls: Nulls,
}

impl HashKeys {
    /// Keys are made of the columns at these places.
    pub(super) fn new(input: &Schema, keys: Vec<usize>, nulls: Nulls) -> Self {
        let fields = input.fields().iter().cloned().chain(fields());
        let schema =
            Schema::new(fields.collect::<Vec<_>>()).with_metadata(input.metadata().clone());
        Self { keys, schema: Arc::new(schema), nulls }
    }
}

impl Step for HashKeys {
    fn apply(&self, batch: Batch, _: &mut Findings) -> Result<Batch> {
        let hashes = hashes(&batch.columns().project(&self.keys)?, self.nulls);
        let columns = batch.columns().columns().iter().cloned().chain(hashes).collect();
        let columns = RecordBatch::try_new(Arc::clone(&self.schema), columns)?;
        batch.with_columns(columns)
    }
}

/// A batch as it was, and the hashes of its keys.
pub(super) struct Hashed {
    pub(super) batch: Batch,
    pub(super) hashes: Vec<KeyHash>,
    /// Rows whose key is equal to none, if there are any.
    pub(super) nulls: Option<NullBuffer>,
}

impl Hashed {
    /// Takes off the columns that [`HashKeys`] added.
    pub(super) fn of(batch: Batch) -> Result<Self> {
        let columns = batch.columns().clone();
        let last = columns.num_columns() - 2;
        let hashes = Self::halves(columns.column(last), columns.column(last + 1));
        let nulls = columns.column(last).nulls().cloned();
        let places: Vec<usize> = (0..last).collect();
        let batch = batch.with_columns(columns.project(&places)?)?;
        Ok(Self { batch, hashes, nulls })
    }

    /// Hashes of their halves.
    pub(super) fn halves(high: &ArrayRef, low: &ArrayRef) -> Vec<KeyHash> {
        let [high, low] = [high, low].map(|half| half.as_primitive::<UInt64Type>().values());
        high.iter().zip(low).map(|(high, low)| [*high, *low]).collect()
    }
}
