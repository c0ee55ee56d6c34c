//! Values as JSON: the form of rows in rejects, records and JSON files.

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch, StringViewArray};
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

/// Writes the rows of a batch as [`write_row`] does. What the rows share is worked out once: the
/// keys as they stand in the text, and the types of the columns.
pub struct RowWriter<'a> {
    members: Vec<(Vec<u8>, Member<'a>)>,
}

enum Member<'a> {
    Text(&'a StringViewArray),
    Other(&'a dyn Array, &'a Field),
}

impl<'a> RowWriter<'a> {
    /// A writer of the rows of `columns`.
    pub fn new(columns: &'a RecordBatch) -> Self {
        let fields = columns.schema_ref().fields().iter();
        let members = fields.zip(columns.columns()).enumerate().map(|(i, (field, column))| {
            let mut key = vec![if i == 0 { b'{' } else { b',' }];
            write_string(&mut key, field.name());
            key.push(b':');
            let member = match column.as_string_view_opt() {
                Some(texts) if !is_json(field) => Member::Text(texts),
                _ => Member::Other(column.as_ref(), field.as_ref()),
            };
            (key, member)
        });
        Self { members: members.collect() }
    }

    /// Writes a row.
    pub fn write(&self, out: &mut Vec<u8>, row: usize) {
        if self.members.is_empty() {
            out.push(b'{');
        }
        for (key, member) in &self.members {
            out.extend_from_slice(key);
            match member {
                Member::Text(texts) if texts.is_valid(row) => write_string(out, texts.value(row)),
                Member::Text(_) => out.extend_from_slice(b"null"),
                Member::Other(array, field) => write_json(out, *array, field, row),
            }
        }
        out.push(b'}');
    }
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
    use std::sync::Arc;

    use arrow_array::{BooleanArray, Float64Array};

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

    #[test]
    fn a_row_writer_writes_what_write_row_writes() {
        let text: StringViewArray =
            [Some("plain"), Some("a \"b\" \n 😀 and more"), None].into_iter().collect();
        let double = Float64Array::from(vec![Some(0.1), Some(f64::NAN), None]);
        let flag = BooleanArray::from(vec![Some(true), None, Some(false)]);
        let columns = RecordBatch::try_from_iter([
            ("te\"xt", Arc::new(text) as ArrayRef),
            ("double", Arc::new(double)),
            ("flag", Arc::new(flag)),
        ])
        .unwrap();
        let writer = RowWriter::new(&columns);
        for row in 0..3 {
            let mut out = Vec::new();
            writer.write(&mut out, row);
            let text = String::from_utf8(out).unwrap();
            assert_eq!(text, row_to_string(&columns, row));
            serde_json::from_str::<Value>(&text).unwrap();
        }
        assert_eq!(
            row_to_string(&columns, 1),
            r#"{"te\"xt":"a \"b\" \n 😀 and more","double":null,"flag":null}"#
        );
    }
}
