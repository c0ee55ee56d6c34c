//! Rows dealt out to several batches.
//!
//! Each row is read once and written once, in the order in which rows are held, where taking the
//! rows of one batch after the other reads all over the columns as often as there are batches.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{BinaryViewType, ByteViewType, StringViewType};
use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, BooleanArray, GenericByteViewArray, PrimitiveArray,
    RecordBatch, RecordBatchOptions, UInt64Array, downcast_primitive,
};
use arrow_buffer::{BooleanBufferBuilder, Buffer, NullBuffer};
use arrow_schema::{DataType, SchemaRef};
use arrow_select::concat::concat;
use arrow_select::take::take;
use gristmill_core::Result;

/// The place of a row that goes nowhere.
pub const NOWHERE: u32 = u32::MAX;

/// The length up to which a view holds its bytes.
const INLINE: usize = 12;
/// A block of text ends before its positions need more bits.
const BLOCK: usize = 1 << 30;

/// Deals the rows of batches of one schema, one after the other, out to `n` batches: each to the
/// batch that its place says, [`NOWHERE`] for none. Rows keep their order, and text is copied, so
/// that nothing is kept of the batches that they came from.
///
/// # Errors
/// When there are more dictionaries than fit into one.
///
/// # Panics
/// When a place is neither below `n` nor `NOWHERE`.
pub fn scatter(
    schema: &SchemaRef,
    batches: &[RecordBatch],
    places: &[u32],
    n: usize,
) -> Result<Vec<RecordBatch>> {
    let deal = Deal::new(places, n);
    let mut dealt: Vec<Vec<ArrayRef>> = vec![Vec::with_capacity(schema.fields().len()); n];
    for index in 0..schema.fields().len() {
        let column: Vec<&ArrayRef> = batches.iter().map(|batch| batch.column(index)).collect();
        let arrays = deal.column(schema.field(index).data_type(), &column)?;
        dealt.iter_mut().zip(arrays).for_each(|(columns, array)| columns.push(array));
    }
    let batch = |(columns, rows): (Vec<ArrayRef>, &Range<usize>)| {
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
    };
    dealt.into_iter().zip(&deal.ranges).map(batch).collect()
}

/// Where rows go. They are written place by place into one run of values first, which takes one
/// store for each and no question, and is cut up then.
struct Deal<'a> {
    places: &'a [u32],
    /// Where each row goes in the run of values; the last position of it is for those that go
    /// nowhere.
    to: Vec<u32>,
    /// The part of the run that each place has.
    ranges: Vec<Range<usize>>,
}

impl<'a> Deal<'a> {
    fn new(places: &'a [u32], n: usize) -> Self {
        let mut ends = vec![0; n];
        let mut total = 0;
        for &place in places.iter().filter(|&&place| place != NOWHERE) {
            ends[place as usize] += 1;
            total += 1;
        }
        let mut end = 0;
        let mut ranges = Vec::with_capacity(n);
        for rows in &mut ends {
            let start = end;
            end += std::mem::replace(rows, start as u32) as usize;
            ranges.push(start..end);
        }
        let mut next = ends;
        let to = places.iter().map(|&place| match next.get_mut(place as usize) {
            Some(next) => std::mem::replace(next, *next + 1),
            None => total,
        });
        Self { places, to: to.collect(), ranges }
    }

    fn column(&self, data_type: &DataType, column: &[&ArrayRef]) -> Result<Vec<ArrayRef>> {
        macro_rules! primitive {
            ($t:ty) => {
                self.primitive::<$t>(data_type, column)
            };
        }
        Ok(downcast_primitive! {
            data_type => (primitive),
            DataType::Boolean => self.booleans(column),
            DataType::Utf8View => self.views::<StringViewType>(column),
            DataType::BinaryView => self.views::<BinaryViewType>(column),
            _ => return self.taken(column),
        })
    }

    fn primitive<T: ArrowPrimitiveType>(
        &self,
        data_type: &DataType,
        column: &[&ArrayRef],
    ) -> Vec<ArrayRef> {
        let run = self.run(column.iter().map(|array| &array.as_primitive::<T>().values()[..]));
        let array = |(range, nulls): (&Range<usize>, Option<NullBuffer>)| -> ArrayRef {
            let values = run[range.clone()].to_vec();
            let array = PrimitiveArray::<T>::new(values.into(), nulls);
            Arc::new(array.with_data_type(data_type.clone()))
        };
        self.ranges.iter().zip(self.nulls(column)).map(array).collect()
    }

    /// The values of all rows, place by place, and one more.
    fn run<'v, T: Copy + Default + 'v>(&self, column: impl Iterator<Item = &'v [T]>) -> Vec<T> {
        let mut run = vec![T::default(); self.places.len() + 1];
        let mut to = &self.to[..];
        for values in column {
            let (here, rest) = to.split_at(values.len());
            values.iter().zip(here).for_each(|(&value, &to)| run[to as usize] = value);
            to = rest;
        }
        run
    }

    fn booleans(&self, column: &[&ArrayRef]) -> Vec<ArrayRef> {
        let mut dealt = self.each(BooleanBufferBuilder::new);
        let values = column.iter().flat_map(|array| array.as_boolean().values());
        self.bits(values, &mut dealt);
        let array = |(mut values, nulls): (BooleanBufferBuilder, _)| -> ArrayRef {
            Arc::new(BooleanArray::new(values.finish(), nulls))
        };
        dealt.into_iter().zip(self.nulls(column)).map(array).collect()
    }

    fn views<T: ByteViewType>(&self, column: &[&ArrayRef]) -> Vec<ArrayRef> {
        let column: Vec<&GenericByteViewArray<T>> =
            column.iter().map(|array| array.as_byte_view()).collect();
        let mut lengths = vec![0; self.ranges.len()];
        let mut places = self.places;
        for array in &column {
            let (here, rest) = places.split_at(array.len());
            places = rest;
            if array.data_buffers().is_empty() {
                continue;
            }
            for (&view, &place) in array.views().iter().zip(here) {
                let bytes = view as u32 as usize;
                if let Some(length) = lengths.get_mut(place as usize) {
                    *length += if bytes > INLINE { bytes } else { 0 };
                }
            }
        }
        let mut texts: Vec<Texts> = lengths.into_iter().map(Texts::with_capacity).collect();
        // Views that refer to what was copied.
        let mut start = 0;
        let copied: Vec<Cow<'_, [u128]>> = column
            .iter()
            .map(|array| {
                let places = &self.places[start..start + array.len()];
                start += array.len();
                if array.data_buffers().is_empty() && array.null_count() == 0 {
                    return Cow::Borrowed(&array.views()[..]);
                }
                let (blocks, nulls) = (array.data_buffers(), array.nulls());
                let rows = array.views().iter().zip(places).enumerate();
                rows.map(|(row, (&view, &place))| match texts.get_mut(place as usize) {
                    _ if view as u32 as usize <= INLINE => view,
                    Some(texts) if nulls.is_none_or(|nulls| nulls.is_valid(row)) => {
                        texts.copy(view, blocks)
                    }
                    _ => 0,
                })
                .collect()
            })
            .collect();
        let run = self.run(copied.iter().map(|views| &views[..]));
        let parts = texts.into_iter().zip(&self.ranges).zip(self.nulls(&column));
        parts
            .map(|((texts, range), nulls)| texts.finish::<T>(run[range.clone()].to_vec(), nulls))
            .collect()
    }

    /// Values of other types, by the kernel that takes those of one batch.
    fn taken(&self, column: &[&ArrayRef]) -> Result<Vec<ArrayRef>> {
        let mut rows = self.each(Vec::with_capacity);
        for (row, &place) in self.places.iter().enumerate() {
            if let Some(rows) = rows.get_mut(place as usize) {
                rows.push(row as u64);
            }
        }
        let column: Vec<&dyn Array> = column.iter().map(|array| array.as_ref()).collect();
        let column = concat(&column)?;
        let take = |rows| Ok(take(column.as_ref(), &UInt64Array::from(rows), None)?);
        rows.into_iter().map(take).collect()
    }

    /// Which values are null at each place; `None` where none is.
    fn nulls<A: Array>(&self, column: &[A]) -> Vec<Option<NullBuffer>> {
        if column.iter().all(|array| array.null_count() == 0) {
            return vec![None; self.ranges.len()];
        }
        let mut dealt = self.each(BooleanBufferBuilder::new);
        let valid = column.iter().flat_map(|array| {
            let nulls = array.nulls();
            (0..array.len()).map(move |row| nulls.is_none_or(|nulls| nulls.is_valid(row)))
        });
        self.bits(valid, &mut dealt);
        let nulls = dealt.into_iter().map(|mut valid| NullBuffer::new(valid.finish()));
        nulls.map(|nulls| Some(nulls).filter(|nulls| nulls.null_count() > 0)).collect()
    }

    fn bits(&self, bits: impl Iterator<Item = bool>, dealt: &mut [BooleanBufferBuilder]) {
        for (bit, &place) in bits.zip(self.places) {
            if let Some(dealt) = dealt.get_mut(place as usize) {
                dealt.append(bit);
            }
        }
    }

    /// Something for each place, with room for its rows.
    fn each<T>(&self, with_capacity: impl Fn(usize) -> T) -> Vec<T> {
        self.ranges.iter().map(|rows| with_capacity(rows.len())).collect()
    }
}

/// The text that views at one place refer to.
///
/// Invariant: what [`copy`](Self::copy) answers refers to a copy of a value of the column, in the
/// block that it names.
struct Texts {
    blocks: Vec<Buffer>,
    /// The last block.
    open: Vec<u8>,
}

impl Texts {
    fn with_capacity(bytes: usize) -> Self {
        Self { blocks: Vec::new(), open: Vec::with_capacity(bytes.min(BLOCK)) }
    }

    /// The view of a copy of what a view refers to.
    #[inline]
    fn copy(&mut self, view: u128, blocks: &[Buffer]) -> u128 {
        let (len, prefix) = (view as u32 as usize, view & u128::from(u64::MAX));
        let (block, start) = ((view >> 64) as u32 as usize, (view >> 96) as usize);
        if self.open.len() + len > BLOCK && !self.open.is_empty() {
            self.blocks.push(Buffer::from(std::mem::take(&mut self.open)));
        }
        let (to, at) = (self.blocks.len(), self.open.len());
        self.open.extend_from_slice(&blocks[block][start..start + len]);
        prefix | (to as u128) << 64 | (at as u128) << 96
    }

    /// The column of these views, each of them empty or of a value of the column that holds its
    /// bytes or was copied here.
    #[expect(unsafe_code, reason = "values that were UTF-8 still are and need no second look")]
    fn finish<T: ByteViewType>(mut self, views: Vec<u128>, nulls: Option<NullBuffer>) -> ArrayRef {
        if !self.open.is_empty() {
            self.blocks.push(Buffer::from(self.open));
        }
        // SAFETY: every value is one of an array of this type, see the type's invariant, and stands
        // in the bounds of the block that its view names.
        Arc::new(unsafe {
            GenericByteViewArray::<T>::new_unchecked(views.into(), self.blocks, nulls)
        })
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::types::Int32Type;
    use arrow_array::{
        BinaryViewArray, Decimal256Array, DictionaryArray, Int8Array, StringArray, StringViewArray,
        TimestampMicrosecondArray,
    };
    use arrow_buffer::i256;
    use arrow_select::concat::concat_batches;
    use arrow_select::take::take_record_batch;
    use proptest::prelude::*;

    use super::*;

    /// A column of each kind. A value of 0 is a null.
    fn batch(values: &[u8]) -> RecordBatch {
        let some = |value: u8| (value > 0).then_some(value);
        let text = |value: u8| some(value).map(|value| "é".repeat(usize::from(value) % 20));
        let columns: [(&str, ArrayRef); 8] = [
            ("small", Arc::new(values.iter().map(|&v| v as i8).collect::<Int8Array>())),
            (
                "time",
                Arc::new(
                    TimestampMicrosecondArray::from_iter(
                        values.iter().map(|&v| some(v).map(i64::from)),
                    )
                    .with_timezone("UTC"),
                ),
            ),
            (
                "wide",
                Arc::new(
                    Decimal256Array::from_iter(
                        values.iter().map(|&v| some(v).map(|v| i256::from_i128(i128::from(v)))),
                    )
                    .with_precision_and_scale(50, 3)
                    .unwrap(),
                ),
            ),
            (
                "bool",
                Arc::new(
                    values.iter().map(|&v| some(v).map(|v| v % 2 == 0)).collect::<BooleanArray>(),
                ),
            ),
            ("text", Arc::new(values.iter().map(|&v| text(v)).collect::<StringViewArray>())),
            (
                "bytes",
                Arc::new(BinaryViewArray::from_iter(
                    values.iter().map(|&v| text(v).map(String::into_bytes)),
                )),
            ),
            ("old", Arc::new(values.iter().map(|&v| text(v)).collect::<StringArray>())),
            (
                "dictionary",
                Arc::new(
                    values
                        .iter()
                        .map(|&v| some(v).map(|v| if v % 2 == 0 { "even" } else { "odd" }))
                        .collect::<DictionaryArray<Int32Type>>(),
                ),
            ),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array, true)))
            .unwrap()
    }

    proptest! {
        #[test]
        fn rows_are_those_that_are_taken_one_batch_after_the_other(
            rows in prop::collection::vec(
                prop::collection::vec((prop_oneof![0..40u8, 1..3u8], 0..6u32), 0..40), 1..5),
            skip in 0usize..4,
        ) {
            let batches: Vec<RecordBatch> = rows.iter().map(|rows| {
                let values: Vec<u8> = rows.iter().map(|row| row.0).collect();
                let batch = batch(&values);
                let skip = skip.min(values.len());
                batch.slice(skip, values.len() - skip)
            }).collect();
            let places: Vec<u32> = rows.iter().flat_map(|rows| rows.iter().skip(skip))
                .map(|row| if row.1 == 5 { NOWHERE } else { row.1 }).collect();
            let schema = batches[0].schema();
            let all = concat_batches(&schema, &batches).unwrap();
            let dealt = scatter(&schema, &batches, &places, 5).unwrap();
            prop_assert_eq!(dealt.len(), 5);
            for (place, dealt) in dealt.iter().enumerate() {
                let rows = places.iter().enumerate().filter(|row| *row.1 == place as u32);
                let rows: UInt64Array = rows.map(|(row, _)| row as u64).collect();
                let taken = take_record_batch(&all, &rows).unwrap();
                prop_assert_eq!(dealt, &taken);
                for (dealt, taken) in dealt.columns().iter().zip(taken.columns()) {
                    dealt.to_data().validate_full().unwrap();
                    prop_assert_eq!(dealt.nulls(), taken.nulls());
                }
            }
        }
    }

    #[test]
    fn text_of_other_rows_is_not_kept() {
        let batches = [batch(&[19, 18, 17, 16])];
        let dealt = scatter(&batches[0].schema(), &batches, &[1, 0, NOWHERE, 1], 2).unwrap();
        let text = dealt[1].column_by_name("text").unwrap().as_string_view();
        assert_eq!(text.data_buffers().len(), 1);
        assert_eq!(text.data_buffers()[0].len(), 2 * (19 + 16));
    }
}
