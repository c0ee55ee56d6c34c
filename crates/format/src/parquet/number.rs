//! Numbers, and what is stored as numbers: truth values, dates, times, decimals.

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrowPrimitiveType};
use arrow_buffer::{ArrowNativeType, Buffer, ScalarBuffer, ToByteSlice};
use parquet::data_type::FixedLenByteArray;
use parquet::file::statistics::{Statistics, ValueStatistics};

use super::dictionary::Dictionary;
use super::kind::{Bounds, Kind};

/// A number as a file has it: 32 or 64 bits, integer or float, or a decimal of up to 128 bits.
pub(super) trait Number: ArrowNativeType {
    fn key(self) -> u128;
    fn from_key(key: u128) -> Self;
    /// Least and greatest. `unsigned` integers have the bits of unsigned ones.
    fn extremes(cells: &[Self], unsigned: bool) -> Option<(Self, Self)>;
    fn less(self, other: Self, unsigned: bool) -> bool;
    fn write(cells: &[Self], width: usize, out: &mut Vec<u8>);
    fn statistics(
        bounds: Option<(Self, Self)>,
        width: usize,
        nulls: u64,
        signed: bool,
    ) -> Statistics;
}

/// Values of a fixed width.
pub(super) struct Fixed<T: Number> {
    read: fn(&dyn Array) -> Option<ScalarBuffer<T>>,
    width: usize,
    unsigned: bool,
}

impl<T: Number> Fixed<T> {
    /// Values that `read` takes out of an array.
    pub(super) fn new(read: fn(&dyn Array) -> Option<ScalarBuffer<T>>) -> Self {
        Self { read, width: size_of::<T>(), unsigned: false }
    }

    /// Integers whose bits are those of unsigned ones.
    pub(super) fn unsigned(mut self) -> Self {
        self.unsigned = true;
        self
    }

    /// Of each value the last `width` bytes.
    pub(super) fn wide(mut self, width: usize) -> Self {
        self.width = width;
        self
    }
}

/// The values of an array that has them as a file does, bit by bit.
pub(super) fn same<A: ArrowPrimitiveType, T: ArrowNativeType>(
    array: &dyn Array,
) -> Option<ScalarBuffer<T>> {
    let values = array.as_primitive_opt::<A>()?.values();
    Some(ScalarBuffer::new(values.inner().clone(), 0, values.len()))
}

impl<T: Number> Kind for Fixed<T> {
    type Cell = T;
    type Bound = T;

    fn cells(&self, array: &dyn Array) -> Option<ScalarBuffer<T>> {
        (self.read)(array)
    }

    fn size(&self, cells: &[T]) -> usize {
        cells.len() * self.width
    }

    fn fit(&self, cells: &[T], bytes: usize) -> usize {
        cells.len().min(bytes / self.width)
    }

    fn plain(&self, cells: &[T], _: &[Buffer], out: &mut Vec<u8>) {
        T::write(cells, self.width, out);
    }

    fn intern(&self, cells: &[T], _: &[Buffer], dictionary: &mut Dictionary, ids: &mut Vec<u32>) {
        ids.extend(cells.iter().map(|&cell| {
            let write = |page: &mut Vec<u8>| T::write(&[cell], self.width, page);
            dictionary.intern(cell.key(), |_, _| true, write)
        }));
    }

    fn bounds(&self, cells: &[T], _: &[Buffer]) -> Option<Bounds<Self>> {
        T::extremes(cells, self.unsigned)
    }

    fn entry_bounds(
        &self,
        dictionary: &Dictionary,
        ids: impl Iterator<Item = usize>,
    ) -> Option<Bounds<Self>> {
        let cells: Vec<T> = ids.map(|id| T::from_key(dictionary.key(id))).collect();
        T::extremes(&cells, self.unsigned)
    }

    fn less(&self, a: &T, b: &T) -> bool {
        a.less(*b, self.unsigned)
    }

    fn index(&self, bounds: &Bounds<Self>) -> (Vec<u8>, Vec<u8>) {
        let bytes = |value| {
            let mut bytes = Vec::with_capacity(self.width);
            T::write(&[value], self.width, &mut bytes);
            bytes
        };
        (bytes(bounds.0), bytes(bounds.1))
    }

    fn statistics(&self, bounds: Option<Bounds<Self>>, nulls: u64, signed: bool) -> Statistics {
        T::statistics(bounds, self.width, nulls, signed)
    }
}

fn values<T>(bounds: Option<(T, T)>, nulls: u64, signed: bool) -> ValueStatistics<T> {
    let (min, max) = bounds.unzip();
    ValueStatistics::new(min, max, None, Some(nulls), false)
        .with_backwards_compatible_min_max(signed)
}

/// Numbers whose bytes in a file are those in memory.
macro_rules! as_in_memory {
    ($variant:ident) => {
        fn write(cells: &[Self], _: usize, out: &mut Vec<u8>) {
            out.extend_from_slice(cells.to_byte_slice());
        }

        fn statistics(
            bounds: Option<(Self, Self)>,
            _: usize,
            nulls: u64,
            signed: bool,
        ) -> Statistics {
            Statistics::$variant(values(bounds, nulls, signed))
        }
    };
}

macro_rules! integer {
    ($type:ty, $bits:ty, $variant:ident) => {
        impl Number for $type {
            fn key(self) -> u128 {
                u128::from(self as $bits)
            }

            fn from_key(key: u128) -> Self {
                key as $bits as Self
            }

            fn extremes(cells: &[Self], unsigned: bool) -> Option<(Self, Self)> {
                let flip = if unsigned { Self::MIN } else { 0 };
                let first = *cells.first()? ^ flip;
                let (mut min, mut max) = (first, first);
                for &cell in cells {
                    min = min.min(cell ^ flip);
                    max = max.max(cell ^ flip);
                }
                Some((min ^ flip, max ^ flip))
            }

            fn less(self, other: Self, unsigned: bool) -> bool {
                if unsigned { (self as $bits) < (other as $bits) } else { self < other }
            }

            as_in_memory!($variant);
        }
    };
}

integer!(i32, u32, Int32);
integer!(i64, u64, Int64);

macro_rules! float {
    ($type:ty, $bits:ty, $variant:ident) => {
        impl Number for $type {
            fn key(self) -> u128 {
                u128::from(self.to_bits())
            }

            fn from_key(key: u128) -> Self {
                Self::from_bits(key as $bits)
            }

            /// NaN has no place in the order. A minimum of zero is -0 and a maximum of zero +0,
            /// since the zeros of a page may have either sign.
            fn extremes(cells: &[Self], _: bool) -> Option<(Self, Self)> {
                let mut min = [Self::INFINITY; 8];
                let mut max = [Self::NEG_INFINITY; 8];
                let mut lanes = cells.chunks_exact(8);
                for cells in &mut lanes {
                    for lane in 0..8 {
                        min[lane] = if cells[lane] < min[lane] { cells[lane] } else { min[lane] };
                        max[lane] = if cells[lane] > max[lane] { cells[lane] } else { max[lane] };
                    }
                }
                let rest = lanes.remainder();
                let min = rest.iter().chain(&min).fold(Self::INFINITY, |a, &b| a.min(b));
                let max = rest.iter().chain(&max).fold(Self::NEG_INFINITY, |a, &b| a.max(b));
                let zero = |value: Self, zero: Self| if value == 0.0 { zero } else { value };
                (min <= max).then(|| (zero(min, -0.0), zero(max, 0.0)))
            }

            fn less(self, other: Self, _: bool) -> bool {
                self < other
            }

            as_in_memory!($variant);
        }
    };
}

float!(f32, u32, Float);
float!(f64, u64, Double);

/// Decimals with more digits than an `i64` holds: two's complement, the highest byte first.
impl Number for i128 {
    fn key(self) -> u128 {
        self as u128
    }

    fn from_key(key: u128) -> Self {
        key as Self
    }

    fn extremes(cells: &[Self], _: bool) -> Option<(Self, Self)> {
        Some((*cells.iter().min()?, *cells.iter().max()?))
    }

    fn less(self, other: Self, _: bool) -> bool {
        self < other
    }

    fn write(cells: &[Self], width: usize, out: &mut Vec<u8>) {
        for cell in cells {
            out.extend_from_slice(&cell.to_be_bytes()[size_of::<Self>() - width..]);
        }
    }

    fn statistics(
        bounds: Option<(Self, Self)>,
        width: usize,
        nulls: u64,
        signed: bool,
    ) -> Statistics {
        let bytes = |value: Self| {
            let bytes = value.to_be_bytes();
            FixedLenByteArray::from(bytes[bytes.len() - width..].to_vec())
        };
        let bounds = bounds.map(|(min, max)| (bytes(min), bytes(max)));
        Statistics::FixedLenByteArray(values(bounds, nulls, signed))
    }
}

/// Truth values: a byte each until the page is full, then a bit each.
pub(super) struct Bool;

impl Kind for Bool {
    type Cell = u8;
    type Bound = u8;
    const DICTIONARY: bool = false;

    fn cells(&self, array: &dyn Array) -> Option<ScalarBuffer<u8>> {
        let bits = array.as_boolean_opt()?.values().sliced();
        let bits = &bits.as_slice()[..array.len().div_ceil(8)];
        let mut cells: Vec<u8> = bits.iter().flat_map(|&bits| spread(bits)).collect();
        cells.truncate(array.len());
        Some(cells.into())
    }

    fn size(&self, cells: &[u8]) -> usize {
        cells.len()
    }

    fn fit(&self, cells: &[u8], bytes: usize) -> usize {
        cells.len().min(bytes)
    }

    fn plain(&self, cells: &[u8], _: &[Buffer], out: &mut Vec<u8>) {
        out.extend_from_slice(cells);
    }

    fn seal(&self, values: &mut Vec<u8>, start: usize) {
        let count = values.len() - start;
        values.resize(start + count.next_multiple_of(8), 0);
        for group in 0..count.div_ceil(8) {
            let bytes = values[start + group * 8..].first_chunk();
            values[start + group] = bytes.map_or(0, gather);
        }
        values.truncate(start + count.div_ceil(8));
    }

    fn intern(&self, _: &[u8], _: &[Buffer], _: &mut Dictionary, _: &mut Vec<u32>) {}

    fn bounds(&self, cells: &[u8], _: &[Buffer]) -> Option<Bounds<Self>> {
        let first = *cells.first()?;
        let (all, any) = cells.iter().fold((first, first), |(all, any), &c| (all & c, any | c));
        Some((all, any))
    }

    fn entry_bounds(&self, _: &Dictionary, _: impl Iterator<Item = usize>) -> Option<Bounds<Self>> {
        None
    }

    fn less(&self, a: &u8, b: &u8) -> bool {
        a < b
    }

    fn index(&self, bounds: &Bounds<Self>) -> (Vec<u8>, Vec<u8>) {
        (vec![bounds.0], vec![bounds.1])
    }

    fn statistics(&self, bounds: Option<Bounds<Self>>, nulls: u64, signed: bool) -> Statistics {
        let bounds = bounds.map(|(min, max)| (min == 1, max == 1));
        Statistics::Boolean(values(bounds, nulls, signed))
    }
}

/// A byte for each bit, the lowest first.
fn spread(bits: u8) -> [u8; 8] {
    let each = (u64::from(bits) * 0x0101_0101_0101_0101) & 0x8040_2010_0804_0201;
    // Any bit of a byte carries into its highest one.
    ((each + 0x7F7F_7F7F_7F7F_7F7F) >> 7 & 0x0101_0101_0101_0101).to_le_bytes()
}

/// A bit for each byte, which is 0 or 1.
fn gather(bytes: &[u8; 8]) -> u8 {
    (u64::from_le_bytes(*bytes).wrapping_mul(0x0102_0408_1020_4080) >> 56) as u8
}
