//! Keys of records, column by column, as hashes of their canonical bytes.
//!
//! Each value is written with its length before it, so that `("ab", "c")` and `("a", "bc")` differ;
//! zeros of either sign are one value, and so is every NaN. Keys are told apart by the 128-bit
//! XXH3 of these bytes. With 10⁹ different keys, the probability that any two of them are taken for
//! one is about n² / 2¹²⁹ ≈ 1.5 · 10⁻²¹.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, Field};
use gristmill_core::json::write_json;
use gristmill_parallel::KeyHash;
use xxhash_rust::xxh3::xxh3_128;

use crate::arrays::{wide, with_text, with_whole};

/// Writes the canonical bytes of a row's value, which is not null.
pub(crate) type Write<'a> = Box<dyn Fn(usize, &mut Vec<u8>) + 'a>;

/// The writer for a column.
pub(crate) fn writer<'a>(array: &'a ArrayRef, field: &'a Field) -> Write<'a> {
    with_text!(*array, text => {
        return Box::new(move |row, out| out.extend_from_slice(text.value(row).as_bytes()));
    }, _ => {});
    with_whole!(*array, whole => {
        return Box::new(move |row, out| out.extend_from_slice(&wide(whole.value(row)).to_le_bytes()));
    }, _ => {});
    match array.data_type() {
        DataType::Boolean => {
            let array = array.as_boolean();
            Box::new(move |row, out| out.push(u8::from(array.value(row))))
        }
        DataType::Float64 => {
            let array = array.as_primitive::<Float64Type>();
            Box::new(move |row, out| {
                out.extend_from_slice(&canonical(array.value(row)).to_le_bytes());
            })
        }
        DataType::Float32 => {
            let array = array.as_primitive::<Float32Type>();
            Box::new(move |row, out| {
                out.extend_from_slice(&canonical(array.value(row).into()).to_le_bytes());
            })
        }
        DataType::BinaryView => {
            let array = array.as_binary_view();
            Box::new(move |row, out| out.extend_from_slice(array.value(row)))
        }
        _ => Box::new(move |row, out| write_json(out, array, field, row)),
    }
}

fn canonical(value: f64) -> u64 {
    if value.is_nan() {
        f64::NAN.to_bits()
    } else if value == 0.0 {
        0
    } else {
        value.to_bits()
    }
}

/// Hashes the keys of a batch's rows.
pub(crate) struct KeyReader<'a> {
    columns: Vec<(Option<NullBuffer>, Write<'a>)>,
    bytes: Vec<u8>,
    equal_nulls: bool,
}

impl<'a> KeyReader<'a> {
    pub(crate) fn new(batch: &'a RecordBatch, indices: &[usize]) -> Self {
        let columns = indices
            .iter()
            .map(|&index| {
                let array = batch.column(index);
                let field = batch.schema_ref().fields()[index].as_ref();
                (array.logical_nulls(), writer(array, field))
            })
            .collect();
        Self { columns, bytes: Vec::new(), equal_nulls: false }
    }

    /// Keys with nulls have a hash, too: a null is equal to a null, and to nothing else.
    pub(crate) fn equal_nulls(self, equal_nulls: bool) -> Self {
        Self { equal_nulls, ..self }
    }

    /// The hash of a row's key; `None` where one of its columns is null, unless nulls are equal.
    pub(crate) fn key(&mut self, row: usize) -> Option<KeyHash> {
        const PREFIX: usize = size_of::<u64>();
        self.bytes.clear();
        for (nulls, write) in &self.columns {
            if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
                if !self.equal_nulls {
                    return None;
                }
                self.bytes.extend_from_slice(&[u8::MAX; PREFIX]); // no value is that long
                continue;
            }
            let start = self.bytes.len();
            self.bytes.extend_from_slice(&[0; PREFIX]);
            write(row, &mut self.bytes);
            let length = (self.bytes.len() - start - PREFIX) as u64;
            self.bytes[start..start + PREFIX].copy_from_slice(&length.to_le_bytes());
        }
        let hash = xxh3_128(&self.bytes);
        Some([(hash >> 64) as u64, hash as u64])
    }
}
