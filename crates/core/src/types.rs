//! Field types by the names that pipelines use, and their Arrow types.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arrow_schema::{DataType, Field, TimeUnit};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The type of a field that is read from text.
///
/// Columns of other Arrow types (lists, structs, narrow integers …) pass through a pipeline
/// unchanged; these are the types that a pipeline can declare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FieldType {
    /// UTF-8 text (`Utf8View`).
    String,
    /// True or false.
    Bool,
    /// A 64-bit signed integer.
    Int,
    /// A 64-bit IEEE 754 number.
    Double,
    /// An exact decimal number: `precision` digits (at most 38), `scale` of them fractional.
    Decimal {
        /// Digits in all.
        precision: u8,
        /// Digits after the point.
        scale: i8,
    },
    /// A day of the proleptic Gregorian calendar.
    Date,
    /// A time of day, in microseconds.
    Time,
    /// A date and time without zone, in microseconds.
    Timestamp,
    /// An instant, in microseconds UTC.
    TimestampTz,
    /// A JSON document, kept as text.
    Json,
    /// Bytes.
    Binary,
}

const NAMES: &str =
    "string, bool, int, double, decimal(p,s), date, time, timestamp, timestamptz, json, binary";

/// Metadata key by which Arrow marks an extension type.
pub const EXTENSION: &str = "ARROW:extension:name";
/// The extension name of a JSON column.
pub const JSON_EXTENSION: &str = "arrow.json";

impl FieldType {
    /// The Arrow type that carries it.
    pub fn arrow(self) -> DataType {
        match self {
            FieldType::String | FieldType::Json => DataType::Utf8View,
            FieldType::Bool => DataType::Boolean,
            FieldType::Int => DataType::Int64,
            FieldType::Double => DataType::Float64,
            FieldType::Decimal { precision, scale } => DataType::Decimal128(precision, scale),
            FieldType::Date => DataType::Date32,
            FieldType::Time => DataType::Time64(TimeUnit::Microsecond),
            FieldType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            FieldType::TimestampTz => {
                DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC")))
            }
            FieldType::Binary => DataType::BinaryView,
        }
    }

    /// A nullable Arrow field of this type.
    pub fn field(self, name: &str) -> Field {
        let field = Field::new(name, self.arrow(), true);
        if self == FieldType::Json {
            return field.with_metadata([(EXTENSION.into(), JSON_EXTENSION.into())].into());
        }
        field
    }

    /// The declared type that an Arrow field has, if it has one.
    pub fn of(field: &Field) -> Option<Self> {
        Some(match field.data_type() {
            DataType::Utf8View | DataType::Utf8 | DataType::LargeUtf8 if is_json(field) => {
                FieldType::Json
            }
            DataType::Utf8View | DataType::Utf8 | DataType::LargeUtf8 => FieldType::String,
            DataType::Boolean => FieldType::Bool,
            DataType::Int64 => FieldType::Int,
            DataType::Float64 => FieldType::Double,
            DataType::Decimal128(precision, scale) => {
                FieldType::Decimal { precision: *precision, scale: *scale }
            }
            DataType::Date32 => FieldType::Date,
            DataType::Time64(TimeUnit::Microsecond) => FieldType::Time,
            DataType::Timestamp(TimeUnit::Microsecond, None) => FieldType::Timestamp,
            DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => FieldType::TimestampTz,
            DataType::BinaryView | DataType::Binary | DataType::LargeBinary => FieldType::Binary,
            _ => return None,
        })
    }
}

/// Whether a field holds JSON documents as text.
pub fn is_json(field: &Field) -> bool {
    field.metadata().get(EXTENSION).is_some_and(|name| name == JSON_EXTENSION)
}

/// The name of a field's type for people: the declared name where there is one, else Arrow's.
pub fn type_name(field: &Field) -> String {
    match FieldType::of(field) {
        Some(declared) => declared.to_string(),
        None => field.data_type().to_string(),
    }
}

impl fmt::Display for FieldType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FieldType::String => "string",
            FieldType::Bool => "bool",
            FieldType::Int => "int",
            FieldType::Double => "double",
            FieldType::Decimal { precision, scale } => {
                return write!(f, "decimal({precision}, {scale})");
            }
            FieldType::Date => "date",
            FieldType::Time => "time",
            FieldType::Timestamp => "timestamp",
            FieldType::TimestampTz => "timestamptz",
            FieldType::Json => "json",
            FieldType::Binary => "binary",
        })
    }
}

impl FromStr for FieldType {
    type Err = String;

    /// Reads a type name. The names that SQL and pandas users type first are understood too:
    /// `text`, `varchar`, `integer`, `bigint`, `int64`, `float`, `float64`, `boolean`, `numeric(p,s)`,
    /// `datetime`.
    fn from_str(text: &str) -> Result<Self, String> {
        let name = text.trim().to_ascii_lowercase();
        if let Some((base, arguments)) = name.split_once('(') {
            return decimal(text, base.trim(), arguments);
        }
        Ok(match name.as_str() {
            "string" | "str" | "text" | "varchar" | "utf8" => FieldType::String,
            "bool" | "boolean" => FieldType::Bool,
            "int" | "integer" | "bigint" | "long" | "int64" => FieldType::Int,
            "double" | "float" | "float64" | "real" => FieldType::Double,
            "date" => FieldType::Date,
            "time" => FieldType::Time,
            "timestamp" | "datetime" => FieldType::Timestamp,
            "timestamptz" => FieldType::TimestampTz,
            "json" => FieldType::Json,
            "binary" | "bytes" => FieldType::Binary,
            "decimal" | "numeric" => {
                return Err("a decimal needs its digits; write decimal(18, 2)".to_owned());
            }
            _ => return Err(format!("`{text}` is not a type; the types are {NAMES}")),
        })
    }
}

fn decimal(text: &str, base: &str, arguments: &str) -> Result<FieldType, String> {
    if !matches!(base, "decimal" | "numeric") {
        return Err(format!("`{text}` is not a type; the types are {NAMES}"));
    }
    let wrong = || {
        format!(
            "`{text}` is not a decimal; write decimal(precision, scale), for example decimal(18, 2)"
        )
    };
    let Some(arguments) = arguments.strip_suffix(')') else {
        // What YAML makes of `{aum: decimal(18, 2)}`.
        return Err(match arguments.trim().parse::<u8>() {
            Ok(_) => format!(
                "`{text}` is cut off at its comma; write it in quotes, as in \"{text}, 2)\": between braces a comma ends an entry"
            ),
            Err(_) => wrong(),
        });
    };
    let (precision, scale) = arguments.split_once(',').unwrap_or((arguments, "0"));
    let precision: u8 = precision.trim().parse().map_err(|_| wrong())?;
    let scale: i8 = scale.trim().parse().map_err(|_| wrong())?;
    if !(1..=38).contains(&precision) || scale < 0 || scale as u8 > precision {
        return Err(format!(
            "`{text}`: the precision is between 1 and 38 and the scale between 0 and the precision"
        ));
    }
    Ok(FieldType::Decimal { precision, scale })
}

impl Serialize for FieldType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for FieldType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for FieldType {
    fn schema_name() -> Cow<'static, str> {
        "FieldType".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "string, bool, int, double, decimal(p, s), date, time, timestamp, timestamptz, json or binary.",
            "type": "string",
            "examples": ["string", "int", "decimal(18, 2)", "date"]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for name in [
            "string",
            "bool",
            "int",
            "double",
            "decimal(18, 2)",
            "date",
            "time",
            "timestamp",
            "timestamptz",
            "json",
            "binary",
        ] {
            let parsed: FieldType = name.parse().unwrap();
            assert_eq!(parsed.to_string(), name);
            assert_eq!(FieldType::of(&parsed.field("x")), Some(parsed));
        }
    }

    #[test]
    fn wrong_names_say_what_is_right() {
        assert!("decimal".parse::<FieldType>().unwrap_err().contains("decimal(18, 2)"));
        assert!("decimal(18".parse::<FieldType>().unwrap_err().contains("\"decimal(18, 2)\""));
        assert!("decimal(40,2)".parse::<FieldType>().unwrap_err().contains("38"));
        assert!("dat".parse::<FieldType>().unwrap_err().contains("types are"));
    }
}
