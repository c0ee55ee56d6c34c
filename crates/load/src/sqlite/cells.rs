//! Column values as SQLite values.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, UInt64Type};
use arrow_array::{
    Array, ArrayRef, BinaryViewArray, BooleanArray, Float64Array, Int64Array, StringViewArray,
    UInt64Array,
};
use arrow_cast::cast;
use arrow_schema::{DataType, Field};
use gristmill_core::json::write_json;
use gristmill_core::text::write_value;
use gristmill_core::{FieldType, Result};

use super::record::Record;

/// The type that a created column is declared with.
///
/// SQLite has no exact decimals: they are kept as text, with all their digits, in columns declared
/// `DECIMAL_TEXT(p, s)`. Dates and times are text in ISO 8601, truth values 1 and 0, lists and
/// structs JSON text.
pub(crate) fn declared_type(field: &Field) -> String {
    let name = match field.data_type() {
        DataType::Boolean => "BOOLEAN",
        DataType::Decimal128(precision, scale) => {
            return format!("DECIMAL_TEXT({precision}, {scale})");
        }
        DataType::Date32 | DataType::Date64 => "DATE",
        DataType::Time32(_) | DataType::Time64(_) => "TIME",
        DataType::Timestamp(..) => "TIMESTAMP",
        DataType::Float16 | DataType::Float32 | DataType::Float64 => "REAL",
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => "BLOB",
        data_type if data_type.is_integer() => "INTEGER",
        DataType::Dictionary(_, values) => {
            return declared_type(&Field::new(field.name(), values.as_ref().clone(), true));
        }
        _ => "TEXT",
    };
    name.to_owned()
}

/// One column of a batch, ready to be written down.
pub(crate) enum Cells<'a> {
    Text(StringViewArray),
    Int(Int64Array),
    Unsigned(UInt64Array),
    Double(Float64Array),
    Bool(BooleanArray),
    Blob(BinaryViewArray),
    /// The text that CSV gets.
    Written(&'a ArrayRef),
    /// JSON text.
    Nested(&'a ArrayRef, &'a Field),
}

impl<'a> Cells<'a> {
    pub(crate) fn new(array: &'a ArrayRef, field: &'a Field) -> Result<Self> {
        let data_type = values_type(array.data_type());
        Ok(match data_type {
            DataType::Utf8View | DataType::Utf8 | DataType::LargeUtf8 => {
                Cells::Text(cast(array, &DataType::Utf8View)?.as_string_view().clone())
            }
            DataType::Boolean => Cells::Bool(cast(array, &DataType::Boolean)?.as_boolean().clone()),
            DataType::UInt64 => {
                Cells::Unsigned(cast(array, data_type)?.as_primitive::<UInt64Type>().clone())
            }
            data_type if data_type.is_integer() => {
                Cells::Int(cast(array, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
            }
            data_type if data_type.is_floating() => Cells::Double(
                cast(array, &DataType::Float64)?.as_primitive::<Float64Type>().clone(),
            ),
            DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView
            | DataType::FixedSizeBinary(_) => {
                Cells::Blob(cast(array, &DataType::BinaryView)?.as_binary_view().clone())
            }
            _ if FieldType::of(field).is_none() && data_type.is_nested() => {
                Cells::Nested(array, field)
            }
            _ => Cells::Written(array),
        })
    }

    pub(crate) fn is_null(&self, row: usize) -> bool {
        match self {
            Cells::Text(array) => array.is_null(row),
            Cells::Int(array) => array.is_null(row),
            Cells::Unsigned(array) => array.is_null(row),
            Cells::Double(array) => array.is_null(row),
            Cells::Bool(array) => array.is_null(row),
            Cells::Blob(array) => array.is_null(row),
            Cells::Written(array) | Cells::Nested(array, _) => array.is_null(row),
        }
    }

    /// A number that SQLite would quietly store as another one, or as a null, in a column of this
    /// affinity.
    pub(crate) fn would_be_lost(&self, row: usize, affinity: &str) -> bool {
        match self {
            Cells::Double(array) => array.is_valid(row) && array.value(row).is_nan(),
            Cells::Unsigned(array) => {
                array.is_valid(row)
                    && i64::try_from(array.value(row)).is_err()
                    && !matches!(affinity, "TEXT" | "BLOB")
            }
            _ => false,
        }
    }

    /// Adds a value to a row.
    pub(crate) fn write(&self, row: usize, record: &mut Record, scratch: &mut Vec<u8>) {
        match self {
            _ if self.is_null(row) => record.null(),
            Cells::Text(array) => record.text(array.value(row).as_bytes()),
            Cells::Int(array) => record.int(array.value(row)),
            Cells::Unsigned(array) => match i64::try_from(array.value(row)) {
                Ok(value) => record.int(value),
                Err(_) => record.text(array.value(row).to_string().as_bytes()),
            },
            // The two zeros are one number, and one key.
            Cells::Double(array) => record.real(array.value(row) + 0.0),
            Cells::Bool(array) => record.int(i64::from(array.value(row))),
            Cells::Blob(array) => record.blob(array.value(row)),
            Cells::Written(array) => {
                scratch.clear();
                write_value(scratch, array.as_ref(), row);
                record.text(scratch);
            }
            Cells::Nested(array, field) => {
                scratch.clear();
                write_json(scratch, array.as_ref(), field, row);
                record.text(scratch);
            }
        }
    }
}

fn values_type(data_type: &DataType) -> &DataType {
    match data_type {
        DataType::Dictionary(_, values) => values,
        data_type => data_type,
    }
}

/// Whether a column of this affinity keeps the values of a field as they are written, so that
/// SQLite has nothing to convert: <https://sqlite.org/datatype3.html#type_affinity>.
pub(crate) fn is_kept(field: &Field, affinity: &str) -> bool {
    let data_type = values_type(field.data_type());
    match affinity {
        "BLOB" => true,
        "TEXT" => {
            !data_type.is_integer() && !data_type.is_floating() && *data_type != DataType::Boolean
        }
        "REAL" => data_type.is_floating() || is_binary(data_type),
        // No date or time looks like a number.
        _ => {
            data_type.is_integer()
                || is_binary(data_type)
                || matches!(
                    data_type,
                    DataType::Boolean
                        | DataType::Date32
                        | DataType::Date64
                        | DataType::Time32(_)
                        | DataType::Time64(_)
                        | DataType::Timestamp(..)
                )
        }
    }
}

fn is_binary(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView
            | DataType::FixedSizeBinary(_)
    )
}
