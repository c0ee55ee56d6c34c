//! Conversions of columns from one type to another, value by value, and nothing lost unsaid.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Float64Type, Int64Type, Time64MicrosecondType, TimestampMicrosecondType,
};
use arrow_array::{Array, ArrayRef};
use arrow_cast::cast;
use arrow_schema::{DataType, Field, FieldRef, TimeUnit};
use gristmill_core::text::{ColumnBuilder, ColumnPlan, ValueError, value_text, write_value};
use gristmill_core::types::{is_json, type_name};
use gristmill_core::{FieldType, Result, json};

use super::CastTo;

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// How a column of one field becomes another type.
#[derive(Clone)]
pub(super) struct Conversion {
    /// The Arrow type to widen to first: pipelines have one integer, one double, one clock.
    widen: Option<DataType>,
    from: FieldRef,
    plan: ColumnPlan,
    way: Way,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// It is of that type.
    Keep,
    /// Every value is written as text and parsed: the rules of text files hold.
    Text,
    /// Bytes are text already.
    Bytes,
    /// JSON text; strings in it lose their quotes.
    FromJson,
    /// As JSON text.
    ToJson,
    BoolToInt,
    IntToDouble,
    DoubleToInt,
    DecimalToInt,
    DateToTimestamp,
    TimestampToDate,
    TimestampToTime,
    TimestampToTimestamp,
}

/// Rows whose value is not of the type.
pub(super) type Failures = Vec<(usize, ValueError)>;

impl Conversion {
    /// The conversion of a field, or why there is none.
    pub(super) fn new(from: &FieldRef, to: &CastTo) -> Result<Self, String> {
        let target = to.field_type;
        let widen = (target != FieldType::String).then(|| widened(from.data_type())).flatten();
        let data_type = widen.as_ref().unwrap_or_else(|| from.data_type());
        let way = way(from, data_type, target).ok_or_else(|| {
            format!(
                "`{}` is of type {} and cannot be cast to {target}",
                from.name(),
                type_name(from)
            )
        })?;
        let mut plan = ColumnPlan::new(from.name(), target);
        plan.formats.clone_from(&to.formats);
        if way == Way::Text && !data_type.is_string() {
            plan.formats.clear(); // typed values are written in ISO 8601
        }
        Ok(Self { widen, from: Arc::clone(from), plan, way })
    }

    /// The converted column, null where a value does not fit.
    pub(super) fn apply(&self, column: &ArrayRef) -> Result<(ArrayRef, Failures)> {
        let widened = self.widen.as_ref().map(|wide| cast(column, wide)).transpose()?;
        let column = widened.as_ref().unwrap_or(column);
        let converted: ArrayRef =
            match self.way {
                Way::Keep => Arc::clone(column),
                Way::Text => return Ok(self.through_text(column, write_value)),
                Way::Bytes => {
                    let bytes = cast(column, &DataType::BinaryView)?;
                    return Ok(self.through_text(&bytes, |out, array, row| {
                        out.extend_from_slice(array.as_binary_view().value(row));
                    }));
                }
                Way::FromJson => return Ok(self.through_text(column, write_unquoted)),
                Way::ToJson => {
                    let field = &self.from;
                    return Ok(self.through_text(column, |out, array, row| {
                        json::write_json(out, array, field, row);
                    }));
                }
                Way::BoolToInt | Way::IntToDouble => cast(column, &self.plan.field_type.arrow())?,
                Way::DoubleToInt => return Ok(self.doubles_to_ints(column)),
                Way::DecimalToInt => {
                    return Ok(self.through_text(column, |out, array, row| {
                        write_value(out, array, row);
                        if let Some(point) = out.iter().position(|byte| *byte == b'.')
                            && out[point + 1..].iter().all(|digit| *digit == b'0')
                        {
                            out.truncate(point);
                        }
                    }));
                }
                Way::DateToTimestamp => {
                    let days = column.as_primitive::<Date32Type>();
                    let micros = days.unary::<_, TimestampMicrosecondType>(|day| {
                        i64::from(day).saturating_mul(MICROS_PER_DAY)
                    });
                    Arc::new(micros.with_data_type(self.plan.field_type.arrow()))
                }
                Way::TimestampToDate => {
                    let micros = column.as_primitive::<TimestampMicrosecondType>();
                    Arc::new(micros.unary_opt::<_, Date32Type>(|micros| {
                        i32::try_from(micros.div_euclid(MICROS_PER_DAY)).ok()
                    }))
                }
                Way::TimestampToTime => {
                    let micros = column.as_primitive::<TimestampMicrosecondType>();
                    Arc::new(micros.unary::<_, Time64MicrosecondType>(|micros| {
                        micros.rem_euclid(MICROS_PER_DAY)
                    }))
                }
                Way::TimestampToTimestamp => {
                    let micros = column.as_primitive::<TimestampMicrosecondType>().clone();
                    Arc::new(micros.with_data_type(self.plan.field_type.arrow()))
                }
            };
        Ok((converted, Failures::new()))
    }

    fn through_text(
        &self,
        column: &ArrayRef,
        write: impl Fn(&mut Vec<u8>, &dyn Array, usize),
    ) -> (ArrayRef, Failures) {
        let mut builder = ColumnBuilder::new(&self.plan, column.len());
        let mut failures = Failures::new();
        let mut text = Vec::new();
        for row in 0..column.len() {
            if column.is_null(row) {
                builder.append_null();
                continue;
            }
            text.clear();
            write(&mut text, column.as_ref(), row);
            if let Err(mut found) = builder.push(&text) {
                if self.way == Way::DecimalToInt {
                    found.value = value_text(column, row).unwrap_or_default();
                }
                failures.push((row, found));
            }
        }
        (builder.finish(), failures)
    }

    fn doubles_to_ints(&self, column: &ArrayRef) -> (ArrayRef, Failures) {
        let doubles = column.as_primitive::<Float64Type>();
        let past = -(i64::MIN as f64); // 2^63, exact as a double
        let whole = |value: f64| {
            (value.fract() == 0.0 && (-past..past).contains(&value)).then_some(value as i64)
        };
        let ints = doubles.unary_opt::<_, Int64Type>(whole);
        let mut failures = Failures::new();
        if ints.null_count() > doubles.null_count() {
            for row in (0..doubles.len()).filter(|&row| doubles.is_valid(row) && ints.is_null(row))
            {
                let value = value_text(column, row).unwrap_or_default();
                let field_type = FieldType::Int;
                failures.push((row, ValueError { value, field_type, formats: Vec::new() }));
            }
        }
        (Arc::new(ints), failures)
    }
}

/// The pipeline's type for what a narrower or finer Arrow type holds.
pub(super) fn widened(data_type: &DataType) -> Option<DataType> {
    Some(match data_type {
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::Int8 | DataType::Int16 | DataType::Int32 => DataType::Int64,
        DataType::UInt8 | DataType::UInt16 | DataType::UInt32 => DataType::Int64,
        DataType::UInt64 => DataType::Decimal128(20, 0),
        DataType::Float16 | DataType::Float32 => DataType::Float64,
        DataType::Date64 => DataType::Date32,
        DataType::Time32(_) | DataType::Time64(TimeUnit::Nanosecond) => {
            DataType::Time64(TimeUnit::Microsecond)
        }
        DataType::Timestamp(unit, zone) if *unit != TimeUnit::Microsecond => {
            DataType::Timestamp(TimeUnit::Microsecond, zone.clone())
        }
        DataType::Dictionary(_, values) => {
            widened(values).unwrap_or_else(|| values.as_ref().clone())
        }
        _ => return None,
    })
}

fn way(from: &Field, data_type: &DataType, to: FieldType) -> Option<Way> {
    use DataType as D;
    use FieldType as F;
    if data_type == &to.arrow() && is_json(from) == (to == F::Json) {
        return Some(Way::Keep);
    }
    Some(match (data_type, to) {
        (D::Utf8 | D::LargeUtf8 | D::Utf8View, F::Json) if is_json(from) => Way::Keep,
        (D::Utf8 | D::LargeUtf8 | D::Utf8View, _) if is_json(from) => Way::FromJson,
        (D::Utf8 | D::LargeUtf8 | D::Utf8View, _) => Way::Text,
        (D::Binary | D::LargeBinary | D::BinaryView, _) => Way::Bytes,
        (nested, F::Json | F::String) if nested.is_nested() => Way::ToJson,
        (_, F::Json) => Way::ToJson,
        (_, F::String) => Way::Text,
        (D::Boolean, F::Int) => Way::BoolToInt,
        (D::Int64, F::Double) => Way::IntToDouble,
        (D::Int64, F::Decimal { .. } | F::Bool) => Way::Text,
        (D::Float64, F::Int) => Way::DoubleToInt,
        (D::Float64, F::Decimal { .. }) => Way::Text,
        (decimal, F::Int) if decimal.is_decimal() => Way::DecimalToInt,
        (decimal, F::Double | F::Decimal { .. }) if decimal.is_decimal() => Way::Text,
        (D::Date32, F::Timestamp | F::TimestampTz) => Way::DateToTimestamp,
        (D::Timestamp(..), F::Date) => Way::TimestampToDate,
        (D::Timestamp(..), F::Time) => Way::TimestampToTime,
        (D::Timestamp(..), F::Timestamp | F::TimestampTz) => Way::TimestampToTimestamp,
        _ => return None,
    })
}

/// JSON text as a decoder would hand it to a typed column: a string without its quotes, null as
/// nothing, everything else as it stands.
fn write_unquoted(out: &mut Vec<u8>, array: &dyn Array, row: usize) {
    write_value(out, array, row);
    if out.trim_ascii().first() == Some(&b'"')
        && let Ok(text) = serde_json::from_slice::<String>(out)
    {
        *out = text.into_bytes();
    }
}
