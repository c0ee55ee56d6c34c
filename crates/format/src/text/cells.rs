//! Columns as cells: what is to be known of a column's type is found out once for a batch.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float64Type, Int64Type, TimestampMicrosecondType,
};
use arrow_array::{Array, StringViewArray};
use arrow_buffer::{BooleanBuffer, NullBuffer};
use arrow_schema::{DataType, TimeUnit};
use gristmill_core::text::print::{self, Window};

/// A column of a batch.
pub(crate) struct Cells<'a> {
    pub(crate) array: &'a dyn Array,
    nulls: Option<&'a NullBuffer>,
    pub(crate) values: Values<'a>,
}

pub(crate) enum Values<'a> {
    Text(Texts<'a>),
    Bool(&'a BooleanBuffer),
    Int(&'a [i64]),
    Double(&'a [f64]),
    Decimal(&'a [i128], u8),
    Date(&'a [i32]),
    Timestamp(&'a [i64], bool),
    /// Types that are written by `write_value` or `write_json`.
    Other,
}

impl<'a> Cells<'a> {
    pub(crate) fn new(array: &'a dyn Array) -> Self {
        let values = match array.data_type() {
            DataType::Utf8View => Values::Text(Texts::new(array.as_string_view())),
            DataType::Boolean => Values::Bool(array.as_boolean().values()),
            DataType::Int64 => Values::Int(array.as_primitive::<Int64Type>().values()),
            DataType::Float64 => Values::Double(array.as_primitive::<Float64Type>().values()),
            DataType::Decimal128(_, scale) if (0..=38).contains(scale) => {
                let values = array.as_primitive::<Decimal128Type>().values();
                Values::Decimal(values, scale.unsigned_abs())
            }
            DataType::Date32 => Values::Date(array.as_primitive::<Date32Type>().values()),
            DataType::Timestamp(TimeUnit::Microsecond, zone) => {
                let values = array.as_primitive::<TimestampMicrosecondType>().values();
                Values::Timestamp(values, zone.is_some())
            }
            _ => Values::Other,
        };
        Self { array, nulls: array.nulls().filter(|nulls| nulls.null_count() > 0), values }
    }

    #[inline(always)]
    pub(crate) fn is_null(&self, row: usize) -> bool {
        match self.nulls {
            None => match self.values {
                // Types that have nulls without a mask of them.
                Values::Other => self.array.is_null(row),
                _ => false,
            },
            Some(nulls) => nulls.is_null(row),
        }
    }
}

/// A column of texts.
#[derive(Clone, Copy)]
pub(crate) struct Texts<'a> {
    array: &'a StringViewArray,
    views: &'a [u128],
}

/// One text.
pub(crate) enum Cell<'a> {
    /// Its bytes, followed by zeros, and its length.
    Short([u8; 16], usize),
    Long(&'a [u8]),
}

/// Bytes of a text that fits its view.
pub(crate) const SHORT: usize = 12;

impl<'a> Texts<'a> {
    fn new(array: &'a StringViewArray) -> Self {
        Self { array, views: array.views() }
    }

    #[inline(always)]
    pub(crate) fn cell(&self, row: usize) -> Cell<'a> {
        let view = self.views[row];
        let len = view as u32 as usize;
        if len <= SHORT {
            Cell::Short((view >> 32).to_le_bytes(), len)
        } else {
            Cell::Long(self.array.value(row).as_bytes())
        }
    }

    pub(crate) fn bytes(&self, row: usize) -> &'a [u8] {
        self.array.value(row).as_bytes()
    }
}

/// The window at `at` of a block that has room for it.
#[inline(always)]
pub(crate) fn window(block: &mut [u8], at: usize) -> &mut Window {
    match block[at..].first_chunk_mut() {
        Some(window) => window,
        None => short_of_room(),
    }
}

#[cold]
fn short_of_room() -> ! {
    unreachable!("rows are begun with room for their windows")
}

impl Values<'_> {
    /// Writes a value that is neither text nor of another type than listed, unquoted. Answers
    /// where it ends.
    #[inline(always)]
    pub(crate) fn print(&self, block: &mut [u8], at: usize, row: usize) -> usize {
        let out = window(block, at);
        at + match self {
            Values::Bool(values) => {
                let (text, len) = if values.value(row) { (*b"true ", 4) } else { (*b"false", 5) };
                out[..5].copy_from_slice(&text);
                len
            }
            Values::Int(values) => print::int(out, values[row]),
            Values::Double(values) => print::double(out, values[row]),
            Values::Decimal(values, scale) => print::decimal(out, values[row], *scale),
            Values::Date(values) => print::date(out, values[row].into()),
            Values::Timestamp(values, utc) => print::timestamp(out, values[row], *utc),
            Values::Text(_) | Values::Other => 0,
        }
    }
}

/// Copies 13 bytes or more of text, as long as none of them is special. Answers whether none is.
/// The block has room for them.
#[inline(always)]
pub(crate) fn copy_ordinary(
    block: &mut [u8],
    at: usize,
    text: &[u8],
    special: impl Fn(&[u8; 16]) -> bool,
) -> bool {
    let out = &mut block[at..at + text.len()];
    let Some(last) = text.last_chunk::<16>() else {
        let mut short = [b' '; 16];
        short[..text.len()].copy_from_slice(text);
        out.copy_from_slice(text);
        return !special(&short);
    };
    let (chunks, _) = text.as_chunks::<16>();
    let (places, _) = out.as_chunks_mut::<16>();
    for (place, chunk) in places.iter_mut().zip(chunks) {
        if special(chunk) {
            return false;
        }
        *place = *chunk;
    }
    let end = out.len();
    out[end - 16..].copy_from_slice(last);
    !special(last)
}

/// Whether one of the bytes is one of the set.
#[inline(always)]
pub(crate) fn any_of(bytes: &[u8; 16], set: [u8; 4]) -> bool {
    let [a, b, c, d] = set;
    bytes
        .iter()
        .fold(false, |found, &byte| found | (byte == a) | (byte == b) | (byte == c) | (byte == d))
}
