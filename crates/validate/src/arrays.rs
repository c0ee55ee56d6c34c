//! Arrays by the kinds of value that rules know: text, whole numbers, floating numbers.

/// Runs `$body` with the array as what it is if it holds text.
macro_rules! with_text {
    ($array:expr, $typed:ident => $body:expr, _ => $other:expr) => {
        match arrow_array::Array::data_type(&$array) {
            arrow_schema::DataType::Utf8View => {
                let $typed = arrow_array::cast::AsArray::as_string_view(&$array);
                $body
            }
            arrow_schema::DataType::Utf8 => {
                let $typed = arrow_array::cast::AsArray::as_string::<i32>(&$array);
                $body
            }
            arrow_schema::DataType::LargeUtf8 => {
                let $typed = arrow_array::cast::AsArray::as_string::<i64>(&$array);
                $body
            }
            _ => $other,
        }
    };
}

/// Runs `$body` with the array as what it is if its values are whole numbers of some unit:
/// integers, decimals, dates, times and timestamps.
macro_rules! with_whole {
    ($array:expr, $typed:ident => $body:expr, _ => $other:expr) => {{
        use arrow_array::{cast::AsArray as _, types as t};
        use arrow_schema::DataType::*;
        use arrow_schema::TimeUnit::*;
        match arrow_array::Array::data_type(&$array) {
            Int8 => {
                let $typed = $array.as_primitive::<t::Int8Type>();
                $body
            }
            Int16 => {
                let $typed = $array.as_primitive::<t::Int16Type>();
                $body
            }
            Int32 => {
                let $typed = $array.as_primitive::<t::Int32Type>();
                $body
            }
            Int64 => {
                let $typed = $array.as_primitive::<t::Int64Type>();
                $body
            }
            UInt8 => {
                let $typed = $array.as_primitive::<t::UInt8Type>();
                $body
            }
            UInt16 => {
                let $typed = $array.as_primitive::<t::UInt16Type>();
                $body
            }
            UInt32 => {
                let $typed = $array.as_primitive::<t::UInt32Type>();
                $body
            }
            UInt64 => {
                let $typed = $array.as_primitive::<t::UInt64Type>();
                $body
            }
            Decimal32(..) => {
                let $typed = $array.as_primitive::<t::Decimal32Type>();
                $body
            }
            Decimal64(..) => {
                let $typed = $array.as_primitive::<t::Decimal64Type>();
                $body
            }
            Decimal128(..) => {
                let $typed = $array.as_primitive::<t::Decimal128Type>();
                $body
            }
            Date32 => {
                let $typed = $array.as_primitive::<t::Date32Type>();
                $body
            }
            Date64 => {
                let $typed = $array.as_primitive::<t::Date64Type>();
                $body
            }
            Time32(Second) => {
                let $typed = $array.as_primitive::<t::Time32SecondType>();
                $body
            }
            Time32(Millisecond) => {
                let $typed = $array.as_primitive::<t::Time32MillisecondType>();
                $body
            }
            Time64(Microsecond) => {
                let $typed = $array.as_primitive::<t::Time64MicrosecondType>();
                $body
            }
            Time64(Nanosecond) => {
                let $typed = $array.as_primitive::<t::Time64NanosecondType>();
                $body
            }
            Timestamp(Second, _) => {
                let $typed = $array.as_primitive::<t::TimestampSecondType>();
                $body
            }
            Timestamp(Millisecond, _) => {
                let $typed = $array.as_primitive::<t::TimestampMillisecondType>();
                $body
            }
            Timestamp(Microsecond, _) => {
                let $typed = $array.as_primitive::<t::TimestampMicrosecondType>();
                $body
            }
            Timestamp(Nanosecond, _) => {
                let $typed = $array.as_primitive::<t::TimestampNanosecondType>();
                $body
            }
            _ => $other,
        }
    }};
}

pub(crate) use {with_text, with_whole};

/// A whole number of any width.
pub(crate) fn wide(value: impl Into<i128>) -> i128 {
    value.into()
}

/// At most the first 100 characters of a text, for messages.
pub(crate) fn shortened(text: &str) -> String {
    match text.char_indices().nth(100) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text.to_owned(),
    }
}
