//! How far numbers may be from each other and still be the same.

use std::borrow::Cow;

use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef, BooleanArray};
use arrow_cast::cast;
use arrow_schema::DataType;
use gristmill_core::Result;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;

/// How far numbers may be from each other and still be the same.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Tolerance {
    /// By so much.
    Absolute(f64),
    /// By this share of the one that is further from zero.
    Relative(f64),
}

/// What doubles lose when they are computed.
const ROUNDING: f64 = 4.0 * f64::EPSILON;

impl Tolerance {
    /// Where numbers are the same, or both null. Integers and decimals are compared exactly.
    pub(super) fn same(self, mine: &ArrayRef, theirs: &ArrayRef) -> Result<BooleanArray> {
        let exactly = |difference: u128, largest: u128, scale: i8| {
            let unit = 10f64.powi(i32::from(scale));
            let allowed = match self {
                Tolerance::Absolute(allowed) => allowed * unit,
                Tolerance::Relative(share) => share * largest as f64,
            };
            difference == 0 || difference as f64 <= allowed * (1.0 + ROUNDING)
        };
        Ok(match (mine.data_type(), theirs.data_type()) {
            (DataType::Int64, DataType::Int64) => {
                let [mine, theirs] =
                    [mine, theirs].map(|column| column.as_primitive::<Int64Type>());
                pairs(mine.iter(), theirs.iter(), |a, b| {
                    let largest = a.unsigned_abs().max(b.unsigned_abs());
                    exactly(a.abs_diff(b).into(), largest.into(), 0)
                })
            }
            (DataType::Decimal128(_, scale), DataType::Decimal128(_, other)) if scale == other => {
                let scale = *scale;
                let [mine, theirs] =
                    [mine, theirs].map(|column| column.as_primitive::<Decimal128Type>());
                pairs(mine.iter(), theirs.iter(), |a, b| {
                    exactly(a.abs_diff(b), a.unsigned_abs().max(b.unsigned_abs()), scale)
                })
            }
            _ => {
                let [mine, theirs] =
                    [cast(mine, &DataType::Float64)?, cast(theirs, &DataType::Float64)?];
                let [mine, theirs] =
                    [&mine, &theirs].map(|column| column.as_primitive::<Float64Type>());
                pairs(mine.iter(), theirs.iter(), |a, b| self.near(a, b))
            }
        })
    }

    fn near(self, a: f64, b: f64) -> bool {
        if a == b || a.is_nan() && b.is_nan() {
            return true;
        }
        let largest = a.abs().max(b.abs());
        let allowed = match self {
            Tolerance::Absolute(allowed) => allowed,
            Tolerance::Relative(share) => share * largest,
        };
        largest.is_finite() && (a - b).abs() <= allowed + ROUNDING * largest
    }
}

/// Pairs of values, nulls equal to each other.
fn pairs<T>(
    mine: impl Iterator<Item = Option<T>>,
    theirs: impl Iterator<Item = Option<T>>,
    same: impl Fn(T, T) -> bool,
) -> BooleanArray {
    let pairs = mine.zip(theirs).map(|pair| match pair {
        (Some(a), Some(b)) => same(a, b),
        (None, None) => true,
        _ => false,
    });
    BooleanArray::from(pairs.collect::<Vec<_>>())
}

impl Serialize for Tolerance {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self {
            Tolerance::Absolute(allowed) => serializer.serialize_f64(*allowed),
            Tolerance::Relative(share) => serializer.collect_str(&format!("{}%", share * 100.0)),
        }
    }
}

impl<'de> Deserialize<'de> for Tolerance {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let read = match Value::deserialize(deserializer)? {
            Value::Number(number) => number.as_f64().map(Tolerance::Absolute),
            Value::String(text) => {
                let share = text.trim().strip_suffix('%').and_then(|text| text.trim().parse().ok());
                share.map(|share: f64| Tolerance::Relative(share / 100.0))
            }
            _ => None,
        };
        let fits = |tolerance: &Tolerance| {
            let (Tolerance::Absolute(it) | Tolerance::Relative(it)) = tolerance;
            it.is_finite() && *it >= 0.0
        };
        read.filter(fits).ok_or_else(|| {
            de::Error::custom(
                "a tolerance is a number from 0, or a share of the value as in `0.1%`",
            )
        })
    }
}

impl JsonSchema for Tolerance {
    fn schema_name() -> Cow<'static, str> {
        "Tolerance".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A number, as in `0.01`, or a share of the value, as in `0.1%`.",
            "oneOf": [
                {"type": "number", "minimum": 0},
                {"type": "string", "pattern": "^[0-9]+([.][0-9]+)? *%$"}
            ]
        })
    }
}
