//! Keys made of the columns of an Arrow batch.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::{Array, ArrayRef, PrimitiveArray, RecordBatch};
use arrow_buffer::i256;
use arrow_schema::{DataType, TimeUnit};
use gristmill_core::json::write_json;
use gristmill_core::{Error, ErrorKind, Result};

use crate::key::{KeyForm, KeyHash};

/// The keys of a batch's rows, by some of its columns. Null is a value like any other.
pub struct ColumnKeys {
    columns: Vec<Column>,
    rows: usize,
}

/// Adds the value in a row to a form.
type Column = Box<dyn Fn(usize, &mut KeyForm)>;

impl ColumnKeys {
    /// The keys made of the columns with these names, in this order.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] when a column is not there or has a type that cannot be a key
    /// (lists, structs, maps, intervals), or when no column is named.
    pub fn new(batch: &RecordBatch, names: &[impl AsRef<str>]) -> Result<Self> {
        let columns = key_columns(batch, names)?
            .into_iter()
            .map(|index| {
                let column = batch.column(index);
                writer(column).ok_or_else(|| {
                    let name = batch.schema_ref().field(index).name();
                    let message =
                        format!("column `{name}` of type {} cannot be a key", column.data_type());
                    Error::new(ErrorKind::Configuration, message)
                        .hint("name columns that hold single values")
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self { columns, rows: batch.num_rows() })
    }

    /// The keys made of the columns at these positions, whatever their types: lists, structs and
    /// maps are told apart by their JSON form.
    pub fn at(batch: &RecordBatch, indices: &[usize]) -> Self {
        let columns = indices
            .iter()
            .map(|&index| {
                let column = batch.column(index);
                writer(column).unwrap_or_else(|| {
                    let (column, schema) = (Arc::clone(column), batch.schema());
                    Box::new(move |row, form| {
                        let field = schema.field(index);
                        form.nested(|out| write_json(out, column.as_ref(), field, row));
                    })
                })
            })
            .collect();
        Self { columns, rows: batch.num_rows() }
    }

    /// The hash of each row's key.
    pub fn hashes(&self) -> impl Iterator<Item = KeyHash> + '_ {
        let mut form = KeyForm::default();
        (0..self.rows).map(move |row| {
            form.clear();
            self.write(row, &mut form);
            form.hash_wide()
        })
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Adds the key of a row to a form.
    pub fn write(&self, row: usize, form: &mut KeyForm) {
        for column in &self.columns {
            column(row, form);
        }
    }
}

/// Positions of the named columns.
pub(crate) fn key_columns(batch: &RecordBatch, names: &[impl AsRef<str>]) -> Result<Vec<usize>> {
    if names.is_empty() {
        return Err(Error::new(ErrorKind::Configuration, "a key needs at least one column"));
    }
    let schema = batch.schema_ref();
    names
        .iter()
        .map(|name| {
            let name = name.as_ref();
            schema.index_of(name).map_err(|_| {
                let there: Vec<&str> =
                    schema.fields().iter().map(|field| field.name().as_str()).collect();
                Error::new(ErrorKind::Configuration, format!("there is no column `{name}`"))
                    .hint(format!("the columns are {}", there.join(", ")))
            })
        })
        .collect()
}

fn writer(array: &ArrayRef) -> Option<Column> {
    let value = value_writer(array)?;
    Some(match array.logical_nulls() {
        None => value,
        Some(nulls) => Box::new(
            move |row, form| {
                if nulls.is_null(row) { form.null() } else { value(row, form) }
            },
        ),
    })
}

/// A writer of values that are not null; `None` for types that cannot be keys.
fn value_writer(array: &ArrayRef) -> Option<Column> {
    use DataType as D;
    Some(match array.data_type() {
        D::Null => Box::new(|_, form| form.null()),
        D::Boolean => {
            let array = array.as_boolean().clone();
            Box::new(move |row, form| form.bool(array.value(row)))
        }
        D::Int8 => of::<Int8Type>(array, |value, form| form.int(value)),
        D::Int16 => of::<Int16Type>(array, |value, form| form.int(value)),
        D::Int32 => of::<Int32Type>(array, |value, form| form.int(value)),
        D::Int64 => of::<Int64Type>(array, |value, form| form.int(value)),
        D::UInt8 => of::<UInt8Type>(array, |value, form| form.int(value)),
        D::UInt16 => of::<UInt16Type>(array, |value, form| form.int(value)),
        D::UInt32 => of::<UInt32Type>(array, |value, form| form.int(value)),
        D::UInt64 => of::<UInt64Type>(array, |value, form| form.int(value)),
        D::Float16 => of::<Float16Type>(array, |value, form| form.float(value.to_f64())),
        D::Float32 => of::<Float32Type>(array, |value, form| form.float(value)),
        D::Float64 => of::<Float64Type>(array, |value, form| form.float(value)),
        D::Utf8 => {
            let array = array.as_string::<i32>().clone();
            Box::new(move |row, form| form.text(array.value(row)))
        }
        D::LargeUtf8 => {
            let array = array.as_string::<i64>().clone();
            Box::new(move |row, form| form.text(array.value(row)))
        }
        D::Utf8View => {
            let array = array.as_string_view().clone();
            Box::new(move |row, form| form.text(array.value(row)))
        }
        D::Binary => {
            let array = array.as_binary::<i32>().clone();
            Box::new(move |row, form| form.binary(array.value(row)))
        }
        D::LargeBinary => {
            let array = array.as_binary::<i64>().clone();
            Box::new(move |row, form| form.binary(array.value(row)))
        }
        D::BinaryView => {
            let array = array.as_binary_view().clone();
            Box::new(move |row, form| form.binary(array.value(row)))
        }
        D::FixedSizeBinary(_) => {
            let array = array.as_fixed_size_binary().clone();
            Box::new(move |row, form| form.binary(array.value(row)))
        }
        D::Decimal32(_, scale) => {
            decimal::<Decimal32Type>(array, *scale, |v| i256::from_i128(v.into()))
        }
        D::Decimal64(_, scale) => {
            decimal::<Decimal64Type>(array, *scale, |v| i256::from_i128(v.into()))
        }
        D::Decimal128(_, scale) => decimal::<Decimal128Type>(array, *scale, i256::from_i128),
        D::Decimal256(_, scale) => decimal::<Decimal256Type>(array, *scale, |v| v),
        D::Date32 => of::<Date32Type>(array, |days, form| form.date(days.into())),
        D::Date64 => of::<Date64Type>(array, |ms, form| form.date(ms.div_euclid(86_400_000))),
        D::Time32(TimeUnit::Second) => time::<Time32SecondType>(array, 1_000_000_000),
        D::Time32(_) => time::<Time32MillisecondType>(array, 1_000_000),
        D::Time64(TimeUnit::Microsecond) => time::<Time64MicrosecondType>(array, 1_000),
        D::Time64(_) => time::<Time64NanosecondType>(array, 1),
        D::Timestamp(unit, zone) => {
            let write = if zone.is_some() { KeyForm::instant } else { KeyForm::timestamp };
            match unit {
                TimeUnit::Second => nanoseconds::<TimestampSecondType>(array, *unit, write),
                TimeUnit::Millisecond => {
                    nanoseconds::<TimestampMillisecondType>(array, *unit, write)
                }
                TimeUnit::Microsecond => {
                    nanoseconds::<TimestampMicrosecondType>(array, *unit, write)
                }
                TimeUnit::Nanosecond => nanoseconds::<TimestampNanosecondType>(array, *unit, write),
            }
        }
        D::Duration(unit) => {
            let write = KeyForm::duration;
            match unit {
                TimeUnit::Second => nanoseconds::<DurationSecondType>(array, *unit, write),
                TimeUnit::Millisecond => {
                    nanoseconds::<DurationMillisecondType>(array, *unit, write)
                }
                TimeUnit::Microsecond => {
                    nanoseconds::<DurationMicrosecondType>(array, *unit, write)
                }
                TimeUnit::Nanosecond => nanoseconds::<DurationNanosecondType>(array, *unit, write),
            }
        }
        D::Dictionary(_, _) => {
            let dictionary = array.as_any_dictionary();
            let value = writer(dictionary.values())?;
            if dictionary.values().is_empty() {
                return Some(Box::new(|_, form| form.null()));
            }
            let keys = dictionary.normalized_keys();
            Box::new(move |row, form| value(keys[row], form))
        }
        _ => return None,
    })
}

fn of<T: ArrowPrimitiveType>(
    array: &ArrayRef,
    write: impl Fn(T::Native, &mut KeyForm) + 'static,
) -> Column {
    let array: PrimitiveArray<T> = array.as_primitive::<T>().clone();
    Box::new(move |row, form| write(array.value(row), form))
}

fn decimal<T: ArrowPrimitiveType>(
    array: &ArrayRef,
    scale: i8,
    widen: fn(T::Native) -> i256,
) -> Column {
    of::<T>(array, move |digits, form| form.decimal(widen(digits), scale))
}

fn time<T: ArrowPrimitiveType>(array: &ArrayRef, nanoseconds: i64) -> Column
where
    T::Native: Into<i64>,
{
    of::<T>(array, move |value, form| {
        let value: i64 = value.into();
        form.time(value.wrapping_mul(nanoseconds)); // a time of day never comes near the end
    })
}

fn nanoseconds<T: ArrowPrimitiveType<Native = i64>>(
    array: &ArrayRef,
    unit: TimeUnit,
    write: fn(&mut KeyForm, i128),
) -> Column {
    let nanoseconds: i128 = match unit {
        TimeUnit::Second => 1_000_000_000,
        TimeUnit::Millisecond => 1_000_000,
        TimeUnit::Microsecond => 1_000,
        TimeUnit::Nanosecond => 1,
    };
    of::<T>(array, move |value, form| write(form, i128::from(value) * nanoseconds))
}
