//! Scalars of the definition: the limits and the options that values are compared with.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::Value;

/// A number, a text or a truth value of the definition. What it means depends on the column it is
/// compared with: `10`, `"10.00"` and `2024-12-31` are read as the column's type.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Scalar(Value);

impl Scalar {
    /// Its text: of a number the shortest digits that mean it.
    pub fn text(&self) -> Cow<'_, str> {
        match &self.0 {
            Value::String(text) => Cow::Borrowed(text),
            other => Cow::Owned(other.to_string()),
        }
    }
}

impl From<&str> for Scalar {
    fn from(text: &str) -> Self {
        Self(Value::from(text))
    }
}

impl From<String> for Scalar {
    fn from(text: String) -> Self {
        Self(Value::from(text))
    }
}

impl From<i32> for Scalar {
    fn from(number: i32) -> Self {
        Self(Value::from(number))
    }
}

impl From<i64> for Scalar {
    fn from(number: i64) -> Self {
        Self(Value::from(number))
    }
}

impl From<f64> for Scalar {
    /// NaN and the infinities are no limits; a step with one is refused when it is bound.
    fn from(number: f64) -> Self {
        Self(
            serde_json::Number::from_f64(number)
                .map_or_else(|| Value::String(number.to_string()), Value::Number),
        )
    }
}

impl From<bool> for Scalar {
    fn from(value: bool) -> Self {
        Self(Value::from(value))
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Null => Err(de::Error::custom("a null is not a value to compare with")),
            Value::Array(_) => Err(de::Error::custom("a list where a single value is expected")),
            Value::Object(_) => {
                Err(de::Error::custom("a mapping where a single value is expected"))
            }
            scalar => Ok(Self(scalar)),
        }
    }
}

impl JsonSchema for Scalar {
    fn schema_name() -> Cow<'static, str> {
        "Scalar".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A number, a text (dates and times too) or a truth value.",
            "type": ["number", "string", "boolean"]
        })
    }
}
