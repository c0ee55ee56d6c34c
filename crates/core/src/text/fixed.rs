//! Columns of values of a fixed width while they are built, and which rows of a column are null.

use std::sync::Arc;

use arrow_array::{ArrayRef, ArrowPrimitiveType, PrimitiveArray};
use arrow_buffer::{ArrowNativeType, BooleanBufferBuilder, NullBuffer};

use crate::types::FieldType;

/// The rows that are null, ascending.
#[derive(Debug, Default)]
pub(super) struct Nulls(Vec<u32>);

impl Nulls {
    #[inline]
    pub(super) fn push(&mut self, row: usize) {
        self.0.push(row as u32);
    }

    /// Which of `rows` rows are valid, if one is not; none is null afterwards.
    pub(super) fn finish(&mut self, rows: usize) -> Option<NullBuffer> {
        if self.0.is_empty() {
            return None;
        }
        let mut valid = BooleanBufferBuilder::new(rows);
        valid.append_n(rows, true);
        for row in self.0.drain(..) {
            valid.set_bit(row as usize, false);
        }
        Some(NullBuffer::new(valid.finish()))
    }
}

/// The values of a column whose type has a fixed width.
pub(super) struct Fixed<T> {
    values: Vec<T>,
    nulls: Nulls,
}

impl<T: Copy + Default> Fixed<T> {
    pub(super) fn new(capacity: usize) -> Self {
        Self { values: Vec::with_capacity(capacity), nulls: Nulls::default() }
    }

    #[inline(always)]
    pub(super) fn push(&mut self, value: T) {
        self.values.push(value);
    }

    #[inline(always)]
    pub(super) fn push_null(&mut self) {
        self.nulls.push(self.values.len());
        self.values.push(T::default());
    }

    pub(super) fn take(&mut self) -> (Vec<T>, Option<NullBuffer>) {
        let rows = self.values.len();
        let values = std::mem::replace(&mut self.values, Vec::with_capacity(rows));
        (values, self.nulls.finish(rows))
    }

    pub(super) fn finish<P>(&mut self, field_type: FieldType) -> ArrayRef
    where
        P: ArrowPrimitiveType<Native = T>,
        T: ArrowNativeType,
    {
        let (values, nulls) = self.take();
        let array = PrimitiveArray::<P>::new(values.into(), nulls);
        Arc::new(array.with_data_type(field_type.arrow()))
    }
}
