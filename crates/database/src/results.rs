//! The columns of a query's result: what they are in PostgreSQL, and as what they are read.

use std::sync::Arc;

use arrow_schema::{DataType, Field};
use gristmill_core::FieldType;
use tokio_postgres::types::{Kind, Type};

use crate::types::{oid, precision_and_scale};

/// A column of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultColumn {
    /// Its name.
    pub name: String,
    /// How its values are read.
    pub reading: Reading,
    /// Whether the server is asked for text in place of the column's own type.
    pub cast: bool,
    /// The name of its type in PostgreSQL.
    pub type_name: String,
}

/// In which form a column's values come, and what they become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// One byte.
    Bool,
    /// An integer of 2 bytes.
    Int2,
    /// An integer of 4 bytes.
    Int4,
    /// An integer of 8 bytes.
    Int8,
    /// A number of 4 bytes.
    Float4,
    /// A number of 8 bytes.
    Float8,
    /// Digits to the base 10,000, for a decimal.
    Numeric {
        /// Digits in all.
        precision: u8,
        /// Digits behind the point.
        scale: u8,
    },
    /// Text as it is.
    Text,
    /// A JSON document, with the version before it that `jsonb` has, or without.
    Json {
        /// Whether it is `jsonb`.
        binary: bool,
    },
    /// 16 bytes, for text.
    Uuid,
    /// Days since 2000-01-01.
    Date,
    /// Microseconds since midnight.
    Time,
    /// Microseconds since 2000-01-01.
    Timestamp {
        /// Whether it is an instant.
        zone: bool,
    },
    /// Bytes.
    Bytes,
    /// An array of one dimension.
    List(Box<ResultColumn>),
}

impl ResultColumn {
    /// A column of this type. What there is no form for is read as the text that PostgreSQL
    /// writes: numbers without declared digits, intervals, addresses, ranges, rows …
    pub(crate) fn new(name: &str, of: &Type, modifier: i32) -> Self {
        let reading = Reading::of(of, modifier);
        Self {
            name: name.to_owned(),
            cast: reading.is_none(),
            reading: reading.unwrap_or(Reading::Text),
            type_name: of.name().to_owned(),
        }
    }

    /// The same, read as the text that PostgreSQL writes.
    #[must_use]
    pub fn as_text(self) -> Self {
        let cast = !matches!(self.reading, Reading::Text) || self.cast;
        Self { reading: Reading::Text, cast, ..self }
    }

    /// The column that it becomes.
    pub fn field(&self) -> Field {
        let declared = match &self.reading {
            Reading::Bool => FieldType::Bool,
            Reading::Int2 => return Field::new(&self.name, DataType::Int16, true),
            Reading::Int4 => return Field::new(&self.name, DataType::Int32, true),
            Reading::Int8 => FieldType::Int,
            Reading::Float4 => return Field::new(&self.name, DataType::Float32, true),
            Reading::Float8 => FieldType::Double,
            Reading::Numeric { precision, scale } => {
                FieldType::Decimal { precision: *precision, scale: *scale as i8 }
            }
            Reading::Text | Reading::Uuid => FieldType::String,
            Reading::Json { .. } => FieldType::Json,
            Reading::Date => FieldType::Date,
            Reading::Time => FieldType::Time,
            Reading::Timestamp { zone: false } => FieldType::Timestamp,
            Reading::Timestamp { zone: true } => FieldType::TimestampTz,
            Reading::Bytes => FieldType::Binary,
            Reading::List(item) => {
                let item = Arc::new(item.field());
                return Field::new(&self.name, DataType::List(item), true);
            }
        };
        declared.field(&self.name)
    }
}

impl Reading {
    fn of(of: &Type, modifier: i32) -> Option<Self> {
        Some(match of.kind() {
            Kind::Enum(_) => Reading::Text,
            Kind::Array(item) => {
                let item = ResultColumn::new("item", item, modifier);
                if item.cast {
                    return None;
                }
                Reading::List(Box::new(item))
            }
            Kind::Simple => match of.oid() {
                oid::BOOL => Reading::Bool,
                oid::INT2 => Reading::Int2,
                oid::INT4 => Reading::Int4,
                oid::INT8 => Reading::Int8,
                oid::FLOAT4 => Reading::Float4,
                oid::FLOAT8 => Reading::Float8,
                oid::NUMERIC => {
                    let (precision, scale) = precision_and_scale(modifier)?;
                    let precision =
                        u8::try_from(precision).ok().filter(|p| (1..=38).contains(p))?;
                    let scale = u8::try_from(scale).ok().filter(|scale| *scale <= precision)?;
                    Reading::Numeric { precision, scale }
                }
                oid::TEXT | oid::VARCHAR | oid::BPCHAR | oid::NAME => Reading::Text,
                oid::JSON => Reading::Json { binary: false },
                oid::JSONB => Reading::Json { binary: true },
                oid::UUID => Reading::Uuid,
                oid::DATE => Reading::Date,
                oid::TIME => Reading::Time,
                oid::TIMESTAMP => Reading::Timestamp { zone: false },
                oid::TIMESTAMPTZ => Reading::Timestamp { zone: true },
                oid::BYTEA => Reading::Bytes,
                _ => return None,
            },
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_without_a_form_is_text() {
        let column = |of: &Type, modifier| ResultColumn::new("x", of, modifier);
        let digits = |precision: i32, scale: i32| ((precision << 16) | (scale & 0x7ff)) + 4;
        let decimal = column(&Type::NUMERIC, digits(18, 2));
        assert_eq!(*decimal.field().data_type(), DataType::Decimal128(18, 2));
        for (of, modifier) in [
            (Type::NUMERIC, -1),
            (Type::NUMERIC, digits(39, 2)),
            (Type::NUMERIC, digits(2, 4)),
            (Type::NUMERIC, digits(5, -2)),
            (Type::NUMERIC_ARRAY, -1),
            (Type::INTERVAL, -1),
            (Type::TIMETZ, -1),
            (Type::INT4_RANGE, -1),
        ] {
            let column = column(&of, modifier);
            assert_eq!((column.cast, column.reading), (true, Reading::Text), "{of}");
        }
        let list = column(&Type::NUMERIC_ARRAY, digits(9, 3));
        assert!(!list.cast && matches!(list.field().data_type(), DataType::List(_)));
    }
}
