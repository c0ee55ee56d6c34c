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
use chrono::{DateTime, Datelike};

const MICROS_PER_DAY: i64 = 86_400_000_000;

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
        DataType::UInt64 => int(out, array.as_primitive::<UInt64Type>().value(row)),
        DataType::Float64 => float(out, array.as_primitive::<Float64Type>().value(row)),
        DataType::Float32 => print(out, array.as_primitive::<Float32Type>().value(row)),
        DataType::Decimal128(_, scale) => {
            decimal(out, array.as_primitive::<Decimal128Type>().value(row), *scale);
        }
        DataType::Date32 => {
            date(out, array.as_primitive::<Date32Type>().value(row).into());
        }
        DataType::Time64(TimeUnit::Microsecond) => {
            time(out, array.as_primitive::<Time64MicrosecondType>().value(row));
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let at = array.as_primitive::<TimestampMicrosecondType>().value(row);
            if DateTime::from_timestamp_micros(at).is_some() {
                date(out, at.div_euclid(MICROS_PER_DAY));
                out.push(b'T');
                time(out, at.rem_euclid(MICROS_PER_DAY));
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
    let width = usize::from(scale.unsigned_abs());
    if value < 0 {
        out.push(b'-');
    }
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(value.unsigned_abs()).as_bytes();
    if scale <= 0 {
        out.extend_from_slice(digits);
        out.extend(std::iter::repeat_n(b'0', if value == 0 { 0 } else { width }));
    } else if digits.len() > width {
        let (whole, fraction) = digits.split_at(digits.len() - width);
        out.extend_from_slice(whole);
        out.push(b'.');
        out.extend_from_slice(fraction);
    } else {
        out.extend_from_slice(b"0.");
        out.extend(std::iter::repeat_n(b'0', width - digits.len()));
        out.extend_from_slice(digits);
    }
}

/// Days since 1970-01-01 of 0000-01-01 and 9999-12-31, between which years have four digits.
const FOUR_DIGIT_YEARS: std::ops::RangeInclusive<i64> = -719_528..=2_932_896;

fn date(out: &mut Vec<u8>, days: i64) {
    if !FOUR_DIGIT_YEARS.contains(&days) {
        if let Some(at) = DateTime::from_timestamp_secs(days * 86_400) {
            print(out, format_args!("{:04}-{:02}-{:02}", at.year(), at.month(), at.day()));
        }
        return;
    }
    // The algorithm `civil_from_days` of Howard Hinnant's "chrono-Compatible Low-Level Date
    // Algorithms".
    let days = (days + 719_468) as u32; // at least 0
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153; // from March
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + u32::from(month <= 2);
    two(out, year / 100);
    two(out, year % 100);
    out.push(b'-');
    two(out, month);
    out.push(b'-');
    two(out, day);
}

fn time(out: &mut Vec<u8>, micros: i64) {
    let (seconds, fraction) = ((micros / 1_000_000) as u32, (micros % 1_000_000) as u32);
    two(out, seconds / 3600);
    out.push(b':');
    two(out, seconds / 60 % 60);
    out.push(b':');
    two(out, seconds % 60);
    if fraction != 0 {
        out.push(b'.');
        two(out, fraction / 10_000);
        two(out, fraction / 100 % 100);
        two(out, fraction % 100);
        let zeros = out.iter().rev().take_while(|&&digit| digit == b'0').count();
        out.truncate(out.len() - zeros);
    }
}

/// Two digits of a number below 100.
fn two(out: &mut Vec<u8>, value: u32) {
    let digit = |value: u32| b'0' + (value % 10) as u8;
    out.extend_from_slice(&[digit(value / 10), digit(value)]);
}

fn int(out: &mut Vec<u8>, value: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
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
        fn times_agree_with_chrono(days in -800_000i64..3_000_000, micros in 0..MICROS_PER_DAY) {
            let at = DateTime::from_timestamp_micros(days * MICROS_PER_DAY + micros).unwrap();
            let mut out = Vec::new();
            date(&mut out, days);
            let expected =
                format!("{:04}-{:02}-{:02}", at.year(), at.month(), at.day());
            prop_assert_eq!(str::from_utf8(&out).unwrap(), expected);
            out.clear();
            time(&mut out, micros);
            let expected = at.format("%H:%M:%S%.6f").to_string();
            let expected = match micros % 1_000_000 {
                0 => &expected[..8],
                _ => expected.trim_end_matches('0'),
            };
            prop_assert_eq!(str::from_utf8(&out).unwrap(), expected);
        }

        #[test]
        fn decimals_read_back_equal(value in -(10i128.pow(38) - 1)..10i128.pow(38), scale in 0i8..=38) {
            let mut out = Vec::new();
            decimal(&mut out, value, scale);
            prop_assert_eq!(crate::text::parse::decimal(&out, 38, scale), Some(value));
        }

        #[test]
        fn doubles_read_back_equal(value: f64) {
            let mut out = Vec::new();
            float(&mut out, value);
            let back = crate::text::parse::double(&out).unwrap();
            prop_assert!(back.to_bits() == value.to_bits() || (back.is_nan() && value.is_nan()));
        }
    }
}
