//! Values as JSON: the form of rows in rejects, records and JSON files.

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field};
use serde_json::Value;

use crate::text::write_value;
use crate::types::is_json;

/// Writes a value as JSON. Numbers and decimals are JSON numbers with all their digits, dates and
/// times are strings in ISO 8601, JSON columns are put in as they are, lists and structs become
/// arrays and objects. NaN and infinities, which JSON does not have, become null.
pub fn write_json(out: &mut Vec<u8>, array: &dyn Array, field: &Field, row: usize) {
    if array.is_null(row) {
        out.extend_from_slice(b"null");
        return;
    }
    match array.data_type() {
        DataType::Utf8View | DataType::Utf8 | DataType::LargeUtf8 if is_json(field) => {
            write_value(out, array, row);
        }
        DataType::Utf8View => write_string(out, array.as_string_view().value(row)),
        DataType::Utf8 => write_string(out, array.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => write_string(out, array.as_string::<i64>().value(row)),
        DataType::Float64 | DataType::Float32 | DataType::Float16 => {
            let start = out.len();
            write_value(out, array, row);
            if !out[start..].last().is_some_and(u8::is_ascii_digit) {
                out.truncate(start);
                out.extend_from_slice(b"null");
            }
        }
        data_type if data_type.is_numeric() || *data_type == DataType::Boolean => {
            write_value(out, array, row);
        }
        DataType::List(item) => write_list(out, &array.as_list::<i32>().value(row), item),
        DataType::LargeList(item) => write_list(out, &array.as_list::<i64>().value(row), item),
        DataType::FixedSizeList(item, _) => {
            write_list(out, &array.as_fixed_size_list().value(row), item);
        }
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns();
            let fields = fields.iter().map(AsRef::as_ref);
            write_object(out, fields.zip(columns), row);
        }
        DataType::Dictionary(..) => {
            let values = array.as_any_dictionary();
            let key = values.normalized_keys()[row];
            write_json(out, values.values(), field, key);
        }
        _ => {
            let mut text = Vec::new();
            write_value(&mut text, array, row);
            write_string(out, &String::from_utf8_lossy(&text));
        }
    }
}

/// Writes a row as a JSON object, keys in column order.
pub fn write_row(out: &mut Vec<u8>, columns: &RecordBatch, row: usize) {
    let schema = columns.schema_ref();
    let fields = schema.fields().iter().map(AsRef::as_ref);
    write_object(out, fields.zip(columns.columns()), row);
}

/// A row as a JSON object.
pub fn row_to_string(columns: &RecordBatch, row: usize) -> String {
    let mut out = Vec::new();
    write_row(&mut out, columns, row);
    String::from_utf8_lossy(&out).into_owned()
}

/// A value as [`serde_json::Value`]; decimals are strings there, so that they stay exact.
pub fn value(array: &ArrayRef, field: &Field, row: usize) -> Value {
    let mut out = Vec::new();
    if matches!(array.data_type(), DataType::Decimal128(..)) && array.is_valid(row) {
        write_value(&mut out, array, row);
        return Value::String(String::from_utf8_lossy(&out).into_owned());
    }
    write_json(&mut out, array, field, row);
    serde_json::from_slice(&out).unwrap_or(Value::Null)
}

/// Writes a JSON string.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    if ordinary(text.as_bytes()) == text.len() {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
        return;
    }
    let _ = serde_json::to_writer(out, text); // a Vec takes everything
}

/// How many bytes at the start of a text may stand in a JSON string as they are: neither a quote, a
/// backslash nor a control character.
pub fn ordinary(text: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
    let (words, rest) = text.as_chunks::<8>();
    for (i, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
        let quote = zero(word ^ (ONES * u64::from(b'"')));
        let backslash = zero(word ^ (ONES * u64::from(b'\\')));
        let found = control | quote | backslash; // the lowest bit is never a false one
        if found != 0 {
            return i * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let special = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
    words.len() * 8 + rest.iter().position(special).unwrap_or(rest.len())
}

fn write_list(out: &mut Vec<u8>, items: &ArrayRef, field: &Field) {
    out.push(b'[');
    for row in 0..items.len() {
        if row > 0 {
            out.push(b',');
        }
        write_json(out, items, field, row);
    }
    out.push(b']');
}

fn write_object<'a>(
    out: &mut Vec<u8>,
    fields: impl Iterator<Item = (&'a Field, &'a ArrayRef)>,
    row: usize,
) {
    out.push(b'{');
    for (i, (field, column)) in fields.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write_string(out, field.name());
        out.push(b':');
        write_json(out, column, field, row);
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_text_ends_at_the_first_special_byte() {
        for special in [b'"', b'\\', 0x1f, 0x00] {
            for at in 0..20 {
                let mut text = vec![b'\x80'; 20];
                text[at] = special;
                assert_eq!(ordinary(&text), at);
            }
        }
        assert_eq!(ordinary("äöü !#[]^_ß\u{7f}".as_bytes()), 16);
    }
}
