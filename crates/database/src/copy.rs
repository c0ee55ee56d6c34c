//! Rows in the binary form of `COPY`
//! (<https://www.postgresql.org/docs/current/sql-copy.html>, "Binary Format").

use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Decimal128Type, Float32Type, Float64Type, Int64Type};
use arrow_array::{
    Array, ArrayRef, BinaryViewArray, BooleanArray, Date32Array, Decimal128Array, Float32Array,
    Float64Array, Int64Array, StringViewArray,
};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{DataType, Field};
use bytes::Bytes;
use gristmill_core::Result;
use gristmill_core::json::write_json;
use gristmill_core::text::write_value;
use uuid::Uuid;

use crate::rows::{RowWriter, Rows, Unfit};
use crate::types::{Form, is_text, values_type};
use crate::values::{self, TOO_FINE, TOO_LARGE, Times, is_finer_than, write_dictionary};

/// What comes before the rows.
pub(crate) const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What comes after the rows.
pub(crate) const TRAILER: &[u8] = &[0xff, 0xff];
/// Rows are sent in pieces of this many bytes.
const PIECE: usize = 256 << 10;
/// Days from 1970-01-01 to 2000-01-01, where PostgreSQL's times begin.
pub(crate) const EPOCH_DAYS: i32 = 10_957;
pub(crate) const EPOCH_MICROS: i64 = EPOCH_DAYS as i64 * 86_400_000_000;

/// The rows in pieces to be sent one after the other, between [`start`] and [`end`].
pub fn pieces(rows: Bytes) -> impl Iterator<Item = Bytes> {
    let count = rows.len().div_ceil(PIECE);
    (0..count).map(move |i| rows.slice(i * PIECE..rows.len().min((i + 1) * PIECE)))
}

/// What comes before the first row of a COPY.
pub fn start() -> Bytes {
    Bytes::from_static(HEADER)
}

/// What comes after its last row.
pub fn end() -> Bytes {
    Bytes::from_static(TRAILER)
}

/// Adds the numbers that rows are to have, from `first` on, to rows that were written with room for
/// them.
pub fn number(rows: &mut Rows, first: i64) {
    // Behind the number of columns and the length of the first one.
    rows.change(first, |row, number| row[6..14].copy_from_slice(&number.to_be_bytes()));
}

/// Writes the rows of one batch.
pub struct Writer<'a> {
    columns: Vec<Cells<'a>>,
    numbered: bool,
    scratch: Vec<u8>,
}

impl<'a> Writer<'a> {
    /// For columns with these fields and forms. Where rows are `numbered`, each has an additional
    /// first column for [`number`].
    ///
    /// # Errors
    /// When a column cannot be brought into its form at all.
    pub fn new(
        columns: impl Iterator<Item = (&'a ArrayRef, &'a Field, Form)>,
        numbered: bool,
    ) -> Result<Self> {
        let columns = columns
            .map(|(array, field, form)| Cells::new(array, field, form))
            .collect::<Result<_>>()?;
        Ok(Self { columns, numbered, scratch: Vec::new() })
    }
}

impl RowWriter for Writer<'_> {
    fn is_null(&self, column: usize, row: usize) -> bool {
        self.columns[column].is_null(row)
    }

    /// With its length before it.
    fn value(&mut self, column: usize, row: usize) -> Option<&[u8]> {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        let written = self.columns[column].write(row, &mut scratch);
        self.scratch = scratch;
        written.ok().map(|()| self.scratch.as_slice())
    }

    fn push(&self, row: usize, rows: &mut Rows) -> Result<(), Vec<Unfit>> {
        let out = &mut rows.bytes;
        let start = out.len();
        let count = self.columns.len() + usize::from(self.numbered);
        out.extend_from_slice(&(count as u16).to_be_bytes());
        if self.numbered {
            out.extend_from_slice(&8_i32.to_be_bytes());
            out.extend_from_slice(&[0; 8]);
        }
        let mut unfit = Vec::new();
        for (i, cells) in self.columns.iter().enumerate() {
            if let Err(why) = cells.write(row, out) {
                unfit.push((i, why));
            }
        }
        if unfit.is_empty() {
            rows.values += (out.len() - start - 2 - 4 * count) as u64;
            rows.ends.push(out.len());
            Ok(())
        } else {
            out.truncate(start);
            Err(unfit)
        }
    }
}

/// One column, ready to be sent.
enum Cells<'a> {
    Bool(BooleanArray),
    Int(Int64Array, u8),
    Float4(Float32Array),
    Float8(Float64Array),
    Numeric(Decimal128Array, u8, Option<i16>),
    Text(StringViewArray),
    Uuid(StringViewArray),
    Json {
        array: &'a ArrayRef,
        field: &'a Field,
        binary: bool,
    },
    Date(Date32Array),
    /// From where PostgreSQL counts, in microseconds.
    Micros {
        times: Times,
        from: i64,
    },
    Bytes(BinaryViewArray),
    /// As CSV has it.
    Written(&'a ArrayRef),
}

impl<'a> Cells<'a> {
    fn new(array: &'a ArrayRef, field: &'a Field, form: Form) -> Result<Self> {
        let to = |data_type: &DataType| values::to(array, data_type);
        let values_type = values_type(array.data_type());
        Ok(match form {
            Form::Bool => Cells::Bool(to(&DataType::Boolean)?.as_boolean().clone()),
            // A number that 64 bits with a sign do not hold is unfit, not an error.
            Form::Int(8) if *values_type == DataType::UInt64 => {
                let digits = to(&DataType::Decimal128(20, 0))?;
                return Ok(Cells::Numeric(
                    digits.as_primitive::<Decimal128Type>().clone(),
                    8,
                    None,
                ));
            }
            Form::Int(width) => {
                let safe = cast_with_options(array, &DataType::Int64, &CastOptions::default())?;
                match safe.null_count() == array.null_count() {
                    true => Cells::Int(safe.as_primitive::<Int64Type>().clone(), width),
                    false => {
                        let digits = to(&DataType::Decimal128(20, 0))?;
                        let digits = digits.as_primitive::<Decimal128Type>().clone();
                        Cells::Numeric(digits, width, None)
                    }
                }
            }
            Form::Float4 => {
                Cells::Float4(to(&DataType::Float32)?.as_primitive::<Float32Type>().clone())
            }
            Form::Float8 => {
                Cells::Float8(to(&DataType::Float64)?.as_primitive::<Float64Type>().clone())
            }
            Form::Numeric(scale) => Cells::Numeric(values::decimals(array)?, 0, scale),
            Form::Text if is_text(values_type) => {
                Cells::Text(to(&DataType::Utf8View)?.as_string_view().clone())
            }
            Form::Uuid => Cells::Uuid(to(&DataType::Utf8View)?.as_string_view().clone()),
            Form::Json { binary } => Cells::Json { array, field, binary },
            Form::Date => Cells::Date(to(&DataType::Date32)?.as_primitive::<Date32Type>().clone()),
            Form::Time => Cells::Micros { times: Times::of_day(array)?, from: 0 },
            Form::Timestamp => {
                Cells::Micros { times: Times::of_points(array)?, from: EPOCH_MICROS }
            }
            Form::Bytes => Cells::Bytes(to(&DataType::BinaryView)?.as_binary_view().clone()),
            Form::Text | Form::Cast => Cells::Written(array),
        })
    }

    fn is_null(&self, row: usize) -> bool {
        match self {
            Cells::Bool(array) => array.is_null(row),
            Cells::Int(array, _) => array.is_null(row),
            Cells::Float4(array) => array.is_null(row),
            Cells::Float8(array) => array.is_null(row),
            Cells::Numeric(array, ..) => array.is_null(row),
            Cells::Text(array) | Cells::Uuid(array) => array.is_null(row),
            Cells::Date(array) => array.is_null(row),
            Cells::Micros { times, .. } => times.is_null(row),
            Cells::Bytes(array) => array.is_null(row),
            Cells::Json { array, .. } | Cells::Written(array) => array.is_null(row),
        }
    }

    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<(), &'static str> {
        match self {
            _ if self.is_null(row) => out.extend_from_slice(&(-1_i32).to_be_bytes()),
            Cells::Bool(array) => bytes(out, &[u8::from(array.value(row))]),
            Cells::Int(array, width) => int(out, array.value(row), *width)?,
            Cells::Float4(array) => bytes(out, &array.value(row).to_be_bytes()),
            // The two zeros are one number, and one key.
            Cells::Float8(array) => bytes(out, &(array.value(row) + 0.0).to_be_bytes()),
            Cells::Numeric(array, 0, scale) => {
                numeric(out, array.value(row), array.scale(), *scale)?;
            }
            Cells::Numeric(array, width, _) => {
                int(out, i64::try_from(array.value(row)).map_err(|_| TOO_LARGE)?, *width)?;
            }
            Cells::Text(array) => bytes(out, array.value(row).as_bytes()),
            Cells::Uuid(array) => {
                let uuid = Uuid::try_parse(array.value(row)).map_err(|_| "it is not a uuid")?;
                bytes(out, uuid.as_bytes());
            }
            Cells::Json { array, field, binary } => sized(out, |out| {
                out.extend(binary.then_some(1));
                if field.data_type().is_nested() {
                    write_json(out, array.as_ref(), field, row);
                } else {
                    write_value(out, array.as_ref(), row);
                }
            }),
            Cells::Date(array) => {
                let days = array.value(row).checked_sub(EPOCH_DAYS).ok_or(TOO_EARLY)?;
                bytes(out, &days.to_be_bytes());
            }
            Cells::Micros { times, from } => {
                let value = times.micros(row)?.checked_sub(*from).ok_or(TOO_EARLY)?;
                bytes(out, &value.to_be_bytes());
            }
            Cells::Bytes(array) => bytes(out, array.value(row)),
            Cells::Written(array) => sized(out, |out| write_dictionary(out, array, row)),
        }
        Ok(())
    }
}

const TOO_EARLY: &str = "the time is before all times that the column holds";

fn bytes(out: &mut Vec<u8>, value: &[u8]) {
    out.extend_from_slice(&(value.len() as i32).to_be_bytes());
    out.extend_from_slice(value);
}

fn sized(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    write(out);
    let length = (out.len() - start - 4) as i32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

fn int(out: &mut Vec<u8>, value: i64, width: u8) -> Result<(), &'static str> {
    match width {
        2 => bytes(out, &i16::try_from(value).map_err(|_| TOO_LARGE)?.to_be_bytes()),
        4 => bytes(out, &i32::try_from(value).map_err(|_| TOO_LARGE)?.to_be_bytes()),
        _ => bytes(out, &value.to_be_bytes()),
    }
    Ok(())
}

/// A decimal: the number of groups of four digits, the weight of the first, a sign, the number of
/// digits behind the point, the groups.
fn numeric(
    out: &mut Vec<u8>,
    value: i128,
    scale: i8,
    limit: Option<i16>,
) -> Result<(), &'static str> {
    let mut rest = value.unsigned_abs();
    if limit.is_some_and(|limit| is_finer_than(value, scale, limit)) {
        return Err(TOO_FINE);
    }
    // Groups start at the point, so the last one is filled up with zeros.
    let after = i32::from(scale.max(0));
    let groups_after = (after + 3) / 4;
    let mut groups = [0_u16; 24];
    let mut count = 0;
    let mut push = |group: u128| {
        groups[count] = group as u16;
        count += 1;
    };
    if scale < 0 {
        // Whole groups of zeros need not be sent; the others are part of the first group.
        let zeros = u32::from(scale.unsigned_abs());
        let unit = 10_u128.pow(zeros % 4);
        push(rest % (10_000 / unit) * unit);
        rest /= 10_000 / unit;
    } else if after % 4 != 0 {
        let digits = 10_u128.pow((after % 4) as u32);
        push(rest % digits * (10_000 / digits));
        rest /= digits;
    }
    while rest > u128::from(u64::MAX) {
        push(rest % 10_000);
        rest /= 10_000;
    }
    let mut rest = rest as u64;
    while rest > 0 {
        push(u128::from(rest % 10_000));
        rest /= 10_000;
    }
    let below = if scale < 0 { i32::from(scale.unsigned_abs()) / 4 } else { -groups_after };
    let weight = count as i32 + below - 1;
    out.extend_from_slice(&(8 + 2 * count as i32).to_be_bytes());
    out.extend_from_slice(&(count as u16).to_be_bytes());
    out.extend_from_slice(&(weight as i16).to_be_bytes());
    out.extend_from_slice(&(if value < 0 { 0x4000_u16 } else { 0 }).to_be_bytes());
    out.extend_from_slice(&(after as u16).to_be_bytes());
    for group in groups[..count].iter().rev() {
        out.extend_from_slice(&group.to_be_bytes());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What the digits amount to, in units of the scale.
    fn read(bytes: &[u8]) -> (i128, u16) {
        let word = |i: usize| u16::from_be_bytes([bytes[2 * i], bytes[2 * i + 1]]);
        let (count, weight, scale) = (word(2), word(3) as i16, word(5));
        let mut value = 0_i128;
        for i in 0..count {
            let exponent = 4 * (i32::from(weight) - i32::from(i)) + i32::from(scale);
            let digit = i128::from(word(6 + usize::from(i)));
            value += match exponent {
                0.. => digit * 10_i128.pow(exponent as u32),
                _ => digit / 10_i128.pow(exponent.unsigned_abs()),
            };
        }
        (if word(4) == 0x4000 { -value } else { value }, scale)
    }

    proptest! {
        #[test]
        fn a_decimal_keeps_its_value(value in -10_i128.pow(38) + 1..10_i128.pow(38), scale in -4_i8..=38) {
            let value = if scale < 0 { value / 10_000 } else { value };
            let mut out = Vec::new();
            numeric(&mut out, value, scale, None).unwrap();
            let unit = 10_i128.pow(u32::from(scale.min(0).unsigned_abs()));
            prop_assert_eq!(read(&out), (value * unit, scale.max(0) as u16));
        }
    }

    #[test]
    fn digits_that_a_column_would_round_away_are_unfit() {
        let mut out = Vec::new();
        assert!(numeric(&mut out, 1250, 3, Some(2)).is_ok());
        assert!(numeric(&mut out, 1251, 3, Some(2)).is_err());
        assert!(numeric(&mut out, 0, 38, Some(-1000)).is_ok());
    }
}
