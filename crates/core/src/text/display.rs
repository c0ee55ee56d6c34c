//! Values as text.

use std::io::Write;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, Time64MicrosecondType, TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{DataType, TimeUnit};

use super::print;

/// Writes a value in the form that [`super::parse`] reads back: ISO 8601 dates and times, exact
/// decimals with all digits of their scale, the shortest text that gives the same `double`,
/// `true` and `false`, text as it is. A null writes nothing. Types without such a form (lists,
/// structs) are written as Arrow displays them.
pub fn write_value(out: &mut Vec<u8>, array: &dyn Array, row: usize) {
    if array.is_null(row) {
        return;
    }
    match array.data_type() {
        DataType::Utf8View => out.extend_from_slice(array.as_string_view().value(row).as_bytes()),
        DataType::Utf8 => out.extend_from_slice(array.as_string::<i32>().value(row).as_bytes()),
        DataType::LargeUtf8 => {
            out.extend_from_slice(array.as_string::<i64>().value(row).as_bytes())
        }
        DataType::Boolean => {
            out.extend_from_slice(if array.as_boolean().value(row) { b"true" } else { b"false" });
        }
        DataType::Int8 => int(out, array.as_primitive::<Int8Type>().value(row)),
        DataType::Int16 => int(out, array.as_primitive::<Int16Type>().value(row)),
        DataType::Int32 => int(out, array.as_primitive::<Int32Type>().value(row)),
        DataType::Int64 => int(out, array.as_primitive::<Int64Type>().value(row)),
        DataType::UInt8 => int(out, array.as_primitive::<UInt8Type>().value(row)),
        DataType::UInt16 => int(out, array.as_primitive::<UInt16Type>().value(row)),
        DataType::UInt32 => int(out, array.as_primitive::<UInt32Type>().value(row)),
        DataType::UInt64 => print(out, array.as_primitive::<UInt64Type>().value(row)),
        DataType::Float64 => {
            let value = array.as_primitive::<Float64Type>().value(row);
            window(out, |window| print::double(window, value));
        }
        DataType::Float32 => print(out, array.as_primitive::<Float32Type>().value(row)),
        DataType::Decimal128(_, scale) => {
            let value = array.as_primitive::<Decimal128Type>().value(row);
            window(out, |window| print::decimal(window, value, (*scale).max(0).unsigned_abs()));
            if *scale < 0 && value != 0 {
                out.extend(std::iter::repeat_n(b'0', usize::from(scale.unsigned_abs())));
            }
        }
        DataType::Date32 => {
            let days = array.as_primitive::<Date32Type>().value(row);
            window(out, |window| print::date(window, days.into()));
        }
        DataType::Time64(TimeUnit::Microsecond) => {
            let micros = array.as_primitive::<Time64MicrosecondType>().value(row);
            window(out, |window| print::time(window, micros));
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let micros = array.as_primitive::<TimestampMicrosecondType>().value(row);
            window(out, |window| print::timestamp(window, micros, zone.is_some()));
        }
        _ => {
            let options = FormatOptions::default();
            if let Ok(formatter) = ArrayFormatter::try_new(array, &options) {
                print(out, formatter.value(row));
            }
        }
    }
}

/// The value as text, `None` for a null.
pub fn value_text(array: &ArrayRef, row: usize) -> Option<String> {
    if array.is_null(row) {
        return None;
    }
    let mut out = Vec::new();
    write_value(&mut out, array, row);
    Some(String::from_utf8_lossy(&out).into_owned())
}

fn print(out: &mut Vec<u8>, value: impl std::fmt::Display) {
    let _ = write!(out, "{value}"); // a Vec takes everything
}

fn int(out: &mut Vec<u8>, value: impl Into<i64>) {
    window(out, |window| print::int(window, value.into()));
}

fn window(out: &mut Vec<u8>, print: impl FnOnce(&mut print::Window) -> usize) {
    let mut window = [0; size_of::<print::Window>()];
    let len = print(&mut window);
    out.extend_from_slice(&window[..len]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::text::{ColumnBuilder, ColumnPlan};
    use crate::types::FieldType;

    #[test]
    fn text_round_trips() {
        for (field_type, texts) in [
            (FieldType::Double, vec!["0.1", "1e300", "-2.5", "3.0", "1e-7", "NaN", "inf"]),
            (FieldType::Decimal { precision: 10, scale: 2 }, vec!["-0.05", "1200.50", "0.00"]),
            (FieldType::Date, vec!["1969-12-31", "2024-02-29", "0001-01-01"]),
            (FieldType::Time, vec!["23:59:59.000001", "00:00:00", "12:30:00.5"]),
            (FieldType::Timestamp, vec!["1969-12-31T23:59:59.999999", "2024-02-29T00:00:00"]),
            (FieldType::TimestampTz, vec!["2024-02-29T12:00:00.25Z"]),
            (FieldType::Bool, vec!["true", "false"]),
        ] {
            let mut builder = ColumnBuilder::new(&ColumnPlan::new("x", field_type), 8);
            for text in &texts {
                assert!(builder.push(text.as_bytes()).is_ok(), "{text}");
            }
            let column = builder.finish();
            for (row, text) in texts.iter().enumerate() {
                assert_eq!(value_text(&column, row).as_deref(), Some(*text));
            }
        }
    }

    proptest! {
        #[test]
        fn decimals_read_back_equal(value in -(10i128.pow(38) - 1)..10i128.pow(38), scale in 0i8..=38) {
            let mut out = Vec::new();
            window(&mut out, |window| print::decimal(window, value, scale.unsigned_abs()));
            prop_assert_eq!(crate::text::parse::decimal(&out, 38, scale), Some(value));
        }

        #[test]
        fn doubles_read_back_equal(value: f64) {
            let mut out = Vec::new();
            window(&mut out, |window| print::double(window, value));
            let back = crate::text::parse::double(&out).unwrap();
            prop_assert!(back.to_bits() == value.to_bits() || (back.is_nan() && value.is_nan()));
        }
    }
}
