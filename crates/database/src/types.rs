//! PostgreSQL's types: which one a created column has, and in which form a value is sent to a
//! column that is there.

use arrow_schema::{DataType, Field, TimeUnit};
use gristmill_core::types::is_json;

/// Object identifiers of built-in types, as `pg_type` has them; they never change.
pub mod oid {
    #![expect(missing_docs, reason = "each is the type it is named after")]
    pub const BOOL: u32 = 16;
    pub const BYTEA: u32 = 17;
    pub const NAME: u32 = 19;
    pub const INT8: u32 = 20;
    pub const INT2: u32 = 21;
    pub const INT4: u32 = 23;
    pub const TEXT: u32 = 25;
    pub const JSON: u32 = 114;
    pub const FLOAT4: u32 = 700;
    pub const FLOAT8: u32 = 701;
    pub const BPCHAR: u32 = 1042;
    pub const VARCHAR: u32 = 1043;
    pub const DATE: u32 = 1082;
    pub const TIME: u32 = 1083;
    pub const TIMESTAMP: u32 = 1114;
    pub const TIMESTAMPTZ: u32 = 1184;
    pub const NUMERIC: u32 = 1700;
    pub const UUID: u32 = 2950;
    pub const JSONB: u32 = 3802;
}

/// The type of a column that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnType {
    /// Its identifier in `pg_type`; of a domain, that of the type beneath.
    pub oid: u32,
    /// `atttypmod`: length, or precision and scale; -1 without.
    pub modifier: i32,
    /// Whether it is an enumeration.
    pub is_enum: bool,
    /// Its name as SQL writes it, with its modifier.
    pub name: String,
}

impl ColumnType {
    /// Digits behind the point, where a column fixes them.
    fn scale(&self) -> Option<i16> {
        precision_and_scale(self.modifier).map(|(_, scale)| scale)
    }

    /// Whether equal values have equal bytes when they are sent, and only they.
    pub fn is_exact(&self) -> bool {
        use oid::{
            BOOL, BYTEA, DATE, INT2, INT4, INT8, TEXT, TIME, TIMESTAMP, TIMESTAMPTZ, UUID, VARCHAR,
        };
        matches!(
            self.oid,
            BOOL | BYTEA
                | INT2
                | INT4
                | INT8
                | TEXT
                | VARCHAR
                | DATE
                | TIME
                | TIMESTAMP
                | TIMESTAMPTZ
                | UUID
        )
    }
}

/// What the modifier of a `numeric` says, if there is one.
pub fn precision_and_scale(modifier: i32) -> Option<(u16, i16)> {
    let bits = modifier.checked_sub(4).filter(|bits| *bits >= 0)?;
    // Since PostgreSQL 15 a scale has 11 bits and a sign; before, it is at most 1000.
    let scale = (bits & 0x7ff ^ 1024) - 1024;
    Some(((bits >> 16) as u16, scale as i16))
}

/// The type of a created column. What PostgreSQL has no type for is kept exactly in a wider one:
/// unsigned 64-bit integers in `numeric(20, 0)`, lists and structs in `jsonb`.
pub fn declared(field: &Field) -> String {
    let name = match field.data_type() {
        DataType::Boolean => "boolean",
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => "smallint",
        DataType::Int32 | DataType::UInt16 => "integer",
        DataType::Int64 | DataType::UInt32 => "bigint",
        DataType::UInt64 => "numeric(20, 0)",
        DataType::Float16 | DataType::Float32 => "real",
        DataType::Float64 => "double precision",
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => {
            let (precision, scale) = match scale {
                0.. => (*precision, *scale),
                // A negative scale is as good as zeros before the point.
                _ => (precision.saturating_add(scale.unsigned_abs()), 0),
            };
            return format!("numeric({precision}, {scale})");
        }
        DataType::Date32 | DataType::Date64 => "date",
        DataType::Time32(_) | DataType::Time64(_) => "time",
        DataType::Timestamp(_, None) => "timestamp",
        DataType::Timestamp(_, Some(_)) => "timestamptz",
        DataType::Duration(_) | DataType::Interval(_) => "interval",
        DataType::Dictionary(_, values) => {
            return declared(&Field::new(field.name(), values.as_ref().clone(), true));
        }
        data_type if is_binary(data_type) => "bytea",
        data_type if data_type.is_nested() || is_json(field) => "jsonb",
        _ => "text",
    };
    name.to_owned()
}

/// In which form values of a field are sent to a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// One byte.
    Bool,
    /// A signed integer of 2, 4 or 8 bytes; values beyond are unfit.
    Int(u8),
    /// A number of 4 bytes.
    Float4,
    /// A number of 8 bytes.
    Float8,
    /// Digits to the base 10,000. With a scale, values with digits beyond it are unfit.
    Numeric(Option<i16>),
    /// Text as it is, or as CSV would have it.
    Text,
    /// A JSON document, with the version that `jsonb` wants before it or without.
    Json {
        /// Whether it is `jsonb`.
        binary: bool,
    },
    /// 16 bytes, from text.
    Uuid,
    /// Days since 2000-01-01.
    Date,
    /// Microseconds since midnight.
    Time,
    /// Microseconds since 2000-01-01.
    Timestamp,
    /// Bytes.
    Bytes,
    /// Text that the server casts to the type of the column.
    Cast,
}

impl Form {
    /// The form for values of a field in a column; `None` where the column cannot hold any of
    /// them.
    pub fn of(field: &Field, column: &ColumnType) -> Option<Self> {
        let data_type = values_type(field.data_type());
        let is_text = is_text(data_type);
        let is_nested = data_type.is_nested();
        Some(match column.oid {
            oid::TEXT | oid::VARCHAR | oid::BPCHAR | oid::NAME if is_nested => {
                Form::Json { binary: false }
            }
            _ if is_binary(data_type) => {
                return (column.oid == oid::BYTEA).then_some(Form::Bytes);
            }
            oid::JSON | oid::JSONB if is_text || is_nested => {
                Form::Json { binary: column.oid == oid::JSONB }
            }
            _ if is_nested => return None,
            oid::TEXT | oid::VARCHAR | oid::BPCHAR | oid::NAME => Form::Text,
            _ if column.is_enum && is_text => Form::Text,
            oid::BOOL if *data_type == DataType::Boolean => Form::Bool,
            oid::INT2 if data_type.is_integer() => Form::Int(2),
            oid::INT4 if data_type.is_integer() => Form::Int(4),
            oid::INT8 if data_type.is_integer() => Form::Int(8),
            oid::FLOAT4 if matches!(data_type, DataType::Float16 | DataType::Float32) => {
                Form::Float4
            }
            oid::FLOAT8 if data_type.is_floating() => Form::Float8,
            oid::NUMERIC
                if data_type.is_integer() || matches!(data_type, DataType::Decimal128(..)) =>
            {
                Form::Numeric(column.scale())
            }
            oid::UUID if is_text => Form::Uuid,
            oid::DATE if *data_type == DataType::Date32 => Form::Date,
            oid::TIME if matches!(data_type, DataType::Time32(_) | DataType::Time64(_)) => {
                Form::Time
            }
            oid::TIMESTAMP if matches!(data_type, DataType::Timestamp(_, None)) => Form::Timestamp,
            oid::TIMESTAMPTZ if matches!(data_type, DataType::Timestamp(_, Some(_))) => {
                Form::Timestamp
            }
            _ => Form::Cast,
        })
    }
}

/// Whether a field's values are times that PostgreSQL may not keep all digits of.
pub(crate) fn is_finer_than_micros(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Timestamp(TimeUnit::Nanosecond, _) | DataType::Time64(TimeUnit::Nanosecond)
    )
}

/// The type of the values, which a dictionary may hold.
pub fn values_type(data_type: &DataType) -> &DataType {
    match data_type {
        DataType::Dictionary(_, values) => values,
        data_type => data_type,
    }
}

/// Whether values are texts.
pub(crate) fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

/// Whether values are bytes.
pub fn is_binary(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView
            | DataType::FixedSizeBinary(_)
    )
}

#[cfg(test)]
mod tests {
    use gristmill_core::FieldType;

    use super::*;

    fn column(oid: u32, modifier: i32) -> ColumnType {
        ColumnType { oid, modifier, is_enum: false, name: String::new() }
    }

    #[test]
    fn a_scale_is_what_the_catalog_says() {
        let modifier = |precision: i32, scale: i32| ((precision << 16) | (scale & 0x7ff)) + 4;
        assert_eq!(column(oid::NUMERIC, modifier(18, 2)).scale(), Some(2));
        assert_eq!(column(oid::NUMERIC, modifier(5, -3)).scale(), Some(-3));
        assert_eq!(column(oid::NUMERIC, -1).scale(), None);
    }

    #[test]
    fn what_has_no_common_form_is_cast_by_the_server_or_refused() {
        let form = |field: FieldType, oid| Form::of(&field.field("x"), &column(oid, -1));
        assert_eq!(form(FieldType::String, oid::INT4), Some(Form::Cast));
        assert_eq!(form(FieldType::Double, oid::NUMERIC), Some(Form::Cast));
        assert_eq!(form(FieldType::Int, oid::INT2), Some(Form::Int(2)));
        assert_eq!(form(FieldType::Binary, oid::TEXT), None);
        assert_eq!(form(FieldType::Json, oid::JSONB), Some(Form::Json { binary: true }));
    }
}
