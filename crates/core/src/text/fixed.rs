//! Columns of values of a fixed width while they are built, and which rows of a column are null.

use std::sync::Arc;

use arrow_array::{ArrayRef, ArrowPrimitiveType, BooleanArray, PrimitiveArray};
use arrow_buffer::{ArrowNativeType, BooleanBuffer, BooleanBufferBuilder, NullBuffer};

use super::fill;
use crate::types::FieldType;

/// The rows that are null, ascending.
#[derive(Debug, Default)]
pub(super) struct Nulls(Vec<u32>);

impl Nulls {
    /// Not inline: the loops that find nulls keep their state in registers.
    #[inline(never)]
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

/// The capacity for a batch like one of so many rows, so that few are grown.
pub(super) fn like(rows: usize) -> usize {
    rows + rows / 8
}

/// What is told of a field.
pub(super) enum Told<T> {
    Value(T),
    Null,
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

    /// Appends what is told of items, up to the first of which nothing is. Answers how many.
    #[inline(always)]
    pub(super) fn extend_while<I>(
        &mut self,
        items: &[I],
        mut tell: impl FnMut(&I) -> Option<Told<T>>,
    ) -> usize {
        let (rows, nulls) = (self.values.len(), &mut self.nulls);
        fill::extend_while(&mut self.values, items, |place, item| match tell(item)? {
            Told::Value(value) => Some(value),
            Told::Null => {
                nulls.push(rows + place);
                Some(T::default())
            }
        })
    }

    pub(super) fn take(&mut self) -> (Vec<T>, Option<NullBuffer>) {
        let rows = self.values.len();
        let values = std::mem::replace(&mut self.values, Vec::with_capacity(like(rows)));
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

impl Fixed<bool> {
    pub(super) fn finish_bits(&mut self) -> ArrayRef {
        let (values, nulls) = self.take();
        Arc::new(BooleanArray::new(
            BooleanBuffer::new(bits(&values).into(), 0, values.len()),
            nulls,
        ))
    }
}

/// One bit a value, the first in the lowest of a byte.
fn bits(values: &[bool]) -> Vec<u8> {
    let (eights, rest) = values.as_chunks::<8>();
    let mut bits = Vec::with_capacity(values.len().div_ceil(8));
    // Each byte of the factor moves the one bit of a byte to its place in the highest byte.
    bits.extend(eights.iter().map(|eight| {
        (u64::from_le_bytes(eight.map(u8::from)).wrapping_mul(0x0102_0408_1020_4080) >> 56) as u8
    }));
    if !rest.is_empty() {
        let bit = |(at, value): (usize, &bool)| u8::from(*value) << at;
        bits.push(rest.iter().enumerate().map(bit).fold(0, |byte, bit| byte | bit));
    }
    bits
}

#[cfg(test)]
mod tests {
    use arrow_array::Array;
    use arrow_array::cast::AsArray;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bits_are_the_values(values in prop::collection::vec(any::<Option<bool>>(), 0..40)) {
            let mut column = Fixed::new(0);
            for value in &values {
                match value {
                    Some(value) => column.push(*value),
                    None => column.push_null(),
                }
            }
            let array = column.finish_bits();
            array.to_data().validate_full().unwrap();
            prop_assert_eq!(array.as_boolean().iter().collect::<Vec<_>>(), values);
        }
    }
}
