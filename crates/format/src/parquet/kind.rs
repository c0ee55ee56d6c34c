//! The physical types of flat columns: how their values are copied, told apart and ordered.

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, Time64MicrosecondType, TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use arrow_buffer::{ArrowNativeType, Buffer, ScalarBuffer};
use arrow_schema::{DataType, TimeUnit};
use parquet::basic::{ConvertedType, LogicalType, Type};
use parquet::file::statistics::Statistics;
use parquet::schema::types::ColumnDescPtr;

use super::dictionary::Dictionary;
use super::number::{Bool, Fixed, same};
use super::pages::{Chunk, Pages};
use super::text::Text;

/// Values of one physical type. All kernels take values without nulls.
pub(super) trait Kind: Send + 'static {
    /// A value as arrays hold it.
    type Cell: ArrowNativeType;
    /// A value that is a minimum or maximum.
    type Bound: Clone + Send;
    /// Whether the type may have a dictionary.
    const DICTIONARY: bool = true;

    /// The cells of an array, one a row, also where it is null; `None` for another type.
    fn cells(&self, array: &dyn Array) -> Option<ScalarBuffer<Self::Cell>>;

    /// Where cells that do not hold their own bytes point to.
    fn heap<'a>(&self, _array: &'a dyn Array) -> &'a [Buffer] {
        &[]
    }

    /// Bytes of the cells, `PLAIN`.
    fn size(&self, cells: &[Self::Cell]) -> usize;

    /// How many of the first cells take no more than `bytes`, `PLAIN`.
    fn fit(&self, cells: &[Self::Cell], bytes: usize) -> usize;

    /// Writes the cells, `PLAIN`.
    fn plain(&self, cells: &[Self::Cell], heap: &[Buffer], out: &mut Vec<u8>);

    /// Ends the values of a page, which begin at `start`, once all its cells are written.
    fn seal(&self, _values: &mut Vec<u8>, _start: usize) {}

    /// The ids of the cells in the dictionary, which takes those that are new.
    fn intern(
        &self,
        cells: &[Self::Cell],
        heap: &[Buffer],
        dictionary: &mut Dictionary,
        ids: &mut Vec<u32>,
    );

    /// The least and the greatest cell in the order of the column; `None` when there is none
    /// that has an order.
    fn bounds(&self, cells: &[Self::Cell], heap: &[Buffer]) -> Option<Bounds<Self>>;

    /// The least and the greatest of those entries of a dictionary.
    fn entry_bounds(
        &self,
        dictionary: &Dictionary,
        ids: impl Iterator<Item = usize>,
    ) -> Option<Bounds<Self>>;

    /// Whether a bound comes before another.
    fn less(&self, a: &Self::Bound, b: &Self::Bound) -> bool;

    /// The bounds as the column index has them, shortened where the type allows it.
    fn index(&self, bounds: &Bounds<Self>) -> (Vec<u8>, Vec<u8>);

    /// The bounds and the number of nulls as statistics of a chunk.
    fn statistics(&self, bounds: Option<Bounds<Self>>, nulls: u64, signed: bool) -> Statistics;

    /// Bytes of values without what `PLAIN` adds, where the format wants to know them.
    fn variable_bytes(&self, _size: usize, _values: usize) -> Option<i64> {
        None
    }
}

/// The least and the greatest value.
pub(super) type Bounds<K> = (<K as Kind>::Bound, <K as Kind>::Bound);

/// The bounds of both.
pub(super) fn widen<K: Kind + ?Sized>(
    kind: &K,
    bounds: &mut Option<Bounds<K>>,
    with: Option<Bounds<K>>,
) {
    match (bounds, with) {
        (_, None) => {}
        (bounds @ None, with) => *bounds = with,
        (Some((min, max)), Some((low, high))) => {
            if kind.less(&low, min) {
                *min = low;
            }
            if kind.less(max, &high) {
                *max = high;
            }
        }
    }
}

/// The encoder of a column, if it is flat and of a type that is encoded here. All others are
/// left to the `parquet` crate's writers.
pub(super) fn direct(column: &DataType, file: &ColumnDescPtr) -> Option<Box<dyn Chunk>> {
    let is_flat = file.max_rep_level() == 0 && file.max_def_level() <= 1;
    if !is_flat || file.path().parts().len() != 1 {
        return None;
    }
    fn pages<K: Kind>(kind: K, file: &ColumnDescPtr) -> Option<Box<dyn Chunk>> {
        Some(Box::new(Pages::new(kind, file.clone())))
    }
    macro_rules! cast {
        ($from:ty => $to:ty) => {
            Fixed::<$to>::new(|array| {
                let values = array.as_primitive_opt::<$from>()?.values();
                Some(values.iter().map(|&value| value as $to).collect())
            })
        };
    }
    use TimeUnit::Microsecond;
    match (column, file.physical_type()) {
        (DataType::Boolean, Type::BOOLEAN) => pages(Bool, file),
        (DataType::Int8, Type::INT32) => pages(cast!(Int8Type => i32), file),
        (DataType::Int16, Type::INT32) => pages(cast!(Int16Type => i32), file),
        (DataType::UInt8, Type::INT32) => pages(cast!(UInt8Type => i32).unsigned(), file),
        (DataType::UInt16, Type::INT32) => pages(cast!(UInt16Type => i32).unsigned(), file),
        (DataType::Int32, Type::INT32) => pages(Fixed::<i32>::new(same::<Int32Type, _>), file),
        (DataType::Date32, Type::INT32) => pages(Fixed::<i32>::new(same::<Date32Type, _>), file),
        (DataType::UInt32, Type::INT32) => {
            pages(Fixed::<i32>::new(same::<UInt32Type, _>).unsigned(), file)
        }
        (DataType::Int64, Type::INT64) => pages(Fixed::<i64>::new(same::<Int64Type, _>), file),
        (DataType::UInt64, Type::INT64) => {
            pages(Fixed::<i64>::new(same::<UInt64Type, _>).unsigned(), file)
        }
        (DataType::Time64(Microsecond), Type::INT64) => {
            pages(Fixed::<i64>::new(same::<Time64MicrosecondType, _>), file)
        }
        (DataType::Timestamp(Microsecond, _), Type::INT64) => {
            pages(Fixed::<i64>::new(same::<TimestampMicrosecondType, _>), file)
        }
        (DataType::Float32, Type::FLOAT) => pages(Fixed::<f32>::new(same::<Float32Type, _>), file),
        (DataType::Float64, Type::DOUBLE) => pages(Fixed::<f64>::new(same::<Float64Type, _>), file),
        (DataType::Decimal128(..), Type::INT32) => pages(cast!(Decimal128Type => i32), file),
        (DataType::Decimal128(..), Type::INT64) => pages(cast!(Decimal128Type => i64), file),
        (DataType::Decimal128(..), Type::FIXED_LEN_BYTE_ARRAY) => {
            let width = usize::try_from(file.type_length()).ok()?;
            pages(Fixed::<i128>::new(same::<Decimal128Type, _>).wide(width), file)
        }
        (DataType::Utf8View | DataType::BinaryView, Type::BYTE_ARRAY) => {
            let utf8 = file.converted_type() == ConvertedType::UTF8
                || file.logical_type_ref() == Some(&LogicalType::String);
            pages(Text { utf8 }, file)
        }
        _ => None,
    }
}
