//! Columns of records as the values that rows are written from, whatever the form of the rows.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Decimal128Type, Time64MicrosecondType, Time64NanosecondType, TimestampMicrosecondType,
    TimestampNanosecondType,
};
use arrow_array::{Array, ArrayRef, Decimal128Array, Int64Array};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{DataType, TimeUnit};
use gristmill_core::Result;
use gristmill_core::text::write_value;

use crate::types::{is_finer_than_micros, values_type};

/// A number that none of the column's is.
pub(crate) const TOO_LARGE: &str = "the number is too large for the column";
/// A number that would be rounded.
pub(crate) const TOO_FINE: &str = "the column has fewer digits behind the point";

/// The column as one of another type.
pub(crate) fn to(array: &ArrayRef, data_type: &DataType) -> Result<ArrayRef> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    Ok(cast_with_options(array, data_type, &options)?)
}

/// Decimals, or integers as such.
pub(crate) fn decimals(array: &ArrayRef) -> Result<Decimal128Array> {
    let digits = match values_type(array.data_type()) {
        data_type @ DataType::Decimal128(..) => to(array, data_type)?,
        _ => to(array, &DataType::Decimal128(20, 0))?,
    };
    Ok(digits.as_primitive::<Decimal128Type>().clone())
}

/// Whether a decimal has more digits behind the point than a limit.
pub(crate) fn is_finer_than(value: i128, scale: i8, limit: i16) -> bool {
    let excess = i32::from(scale) - i32::from(limit);
    let unit = 10_u128.checked_pow(excess.max(0).unsigned_abs());
    value != 0 && unit.is_none_or(|unit| !value.unsigned_abs().is_multiple_of(unit))
}

/// Times of a day or points in time, as finely as they are given.
pub(crate) struct Times {
    values: Int64Array,
    nanos: bool,
}

impl Times {
    pub(crate) fn of_day(array: &ArrayRef) -> Result<Self> {
        let (nanos, unit) = unit(array);
        let times = to(array, &DataType::Time64(unit))?;
        let values = match nanos {
            true => times.as_primitive::<Time64NanosecondType>().reinterpret_cast(),
            false => times.as_primitive::<Time64MicrosecondType>().reinterpret_cast(),
        };
        Ok(Self { values, nanos })
    }

    pub(crate) fn of_points(array: &ArrayRef) -> Result<Self> {
        let (nanos, unit) = unit(array);
        let zone = match values_type(array.data_type()) {
            DataType::Timestamp(_, zone) => zone.clone(),
            _ => None,
        };
        let times = to(array, &DataType::Timestamp(unit, zone))?;
        let values = match nanos {
            true => times.as_primitive::<TimestampNanosecondType>().reinterpret_cast(),
            false => times.as_primitive::<TimestampMicrosecondType>().reinterpret_cast(),
        };
        Ok(Self { values, nanos })
    }

    pub(crate) fn is_null(&self, row: usize) -> bool {
        self.values.is_null(row)
    }

    /// A value in microseconds.
    pub(crate) fn micros(&self, row: usize) -> Result<i64, &'static str> {
        let value = self.values.value(row);
        match self.nanos {
            true if value % 1000 != 0 => {
                Err("the column keeps microseconds, and this has nanoseconds")
            }
            true => Ok(value / 1000),
            false => Ok(value),
        }
    }
}

fn unit(array: &ArrayRef) -> (bool, TimeUnit) {
    match is_finer_than_micros(values_type(array.data_type())) {
        true => (true, TimeUnit::Nanosecond),
        false => (false, TimeUnit::Microsecond),
    }
}

/// A value of a column, which may be a dictionary, as text.
pub(crate) fn write_dictionary(out: &mut Vec<u8>, array: &ArrayRef, row: usize) {
    match array.as_any_dictionary_opt() {
        Some(dictionary) => {
            let key = dictionary.normalized_keys()[row];
            write_value(out, dictionary.values().as_ref(), key);
        }
        None => write_value(out, array.as_ref(), row),
    }
}
