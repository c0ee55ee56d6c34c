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
use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveDateTime, Timelike};

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
        DataType::Int8 => print(out, array.as_primitive::<Int8Type>().value(row)),
        DataType::Int16 => print(out, array.as_primitive::<Int16Type>().value(row)),
        DataType::Int32 => print(out, array.as_primitive::<Int32Type>().value(row)),
        DataType::Int64 => print(out, array.as_primitive::<Int64Type>().value(row)),
        DataType::UInt8 => print(out, array.as_primitive::<UInt8Type>().value(row)),
        DataType::UInt16 => print(out, array.as_primitive::<UInt16Type>().value(row)),
        DataType::UInt32 => print(out, array.as_primitive::<UInt32Type>().value(row)),
        DataType::UInt64 => print(out, array.as_primitive::<UInt64Type>().value(row)),
        DataType::Float64 => float(out, array.as_primitive::<Float64Type>().value(row)),
        DataType::Float32 => print(out, array.as_primitive::<Float32Type>().value(row)),
        DataType::Decimal128(_, scale) => {
            decimal(out, array.as_primitive::<Decimal128Type>().value(row), *scale);
        }
        DataType::Date32 => date(out, array.as_primitive::<Date32Type>().value(row)),
        DataType::Time64(TimeUnit::Microsecond) => {
            time(out, array.as_primitive::<Time64MicrosecondType>().value(row));
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let at = array.as_primitive::<TimestampMicrosecondType>().value(row);
            if let Some(at) = DateTime::from_timestamp_micros(at) {
                timestamp(out, at.naive_utc());
                if zone.is_some() {
                    out.push(b'Z');
                }
            }
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

/// The shortest digits that read back as the same number: `0.5`, `1e300`, `NaN`, `inf`.
fn float(out: &mut Vec<u8>, value: f64) {
    if value != 0.0 && value.is_finite() && !(1e-5..1e16).contains(&value.abs()) {
        print(out, format_args!("{value:e}"));
    } else if value.is_finite() && value.fract() == 0.0 {
        print(out, format_args!("{value:.1}"));
    } else {
        print(out, value);
    }
}

fn decimal(out: &mut Vec<u8>, value: i128, scale: i8) {
    if scale <= 0 {
        print(out, value);
        out.extend(std::iter::repeat_n(
            b'0',
            if value == 0 { 0 } else { usize::from(scale.unsigned_abs()) },
        ));
        return;
    }
    let unit = 10u128.pow(u32::from(scale.unsigned_abs()));
    let digits = value.unsigned_abs();
    if value < 0 {
        out.push(b'-');
    }
    let width = usize::from(scale.unsigned_abs());
    print(out, format_args!("{}.{:0width$}", digits / unit, digits % unit));
}

fn date(out: &mut Vec<u8>, days: i32) {
    let epoch = NaiveDate::from_ymd_opt(1970, 1, 1).unwrap_or_default();
    let day = if days >= 0 {
        epoch.checked_add_days(Days::new(days.unsigned_abs().into()))
    } else {
        epoch.checked_sub_days(Days::new(days.unsigned_abs().into()))
    };
    if let Some(day) = day {
        print(out, format_args!("{:04}-{:02}-{:02}", day.year(), day.month(), day.day()));
    }
}

fn time(out: &mut Vec<u8>, micros: i64) {
    let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
    clock(out, seconds / 3600, seconds / 60 % 60, seconds % 60, fraction);
}

fn timestamp(out: &mut Vec<u8>, at: NaiveDateTime) {
    print(out, format_args!("{:04}-{:02}-{:02}T", at.year(), at.month(), at.day()));
    let fraction = i64::from(at.nanosecond() / 1000);
    clock(out, at.hour().into(), at.minute().into(), at.second().into(), fraction);
}

fn clock(out: &mut Vec<u8>, hour: i64, minute: i64, second: i64, micros: i64) {
    print(out, format_args!("{hour:02}:{minute:02}:{second:02}"));
    if micros != 0 {
        let digits = format!("{micros:06}");
        print(out, format_args!(".{}", digits.trim_end_matches('0')));
    }
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
        fn doubles_read_back_equal(value: f64) {
            let mut out = Vec::new();
            float(&mut out, value);
            let back = crate::text::parse::double(&out).unwrap();
            prop_assert!(back.to_bits() == value.to_bits() || (back.is_nan() && value.is_nan()));
        }
    }
}
