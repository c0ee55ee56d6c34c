//! The columns of a query's result, and what they are read as.

use gristmill_core::FieldType;
use mysql::Column;
use mysql::consts::{ColumnFlags, ColumnType};

/// The character set of bytes.
const BINARY: u16 = 63;

/// A column of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultColumn {
    /// Its name.
    pub name: String,
    /// What it is read as.
    pub field_type: FieldType,
    /// Whether its values are numbers that come as bytes, as those of `BIT` do.
    pub is_bits: bool,
    /// Whether it has more digits than a decimal has, and is read as text.
    pub has_more_digits: bool,
}

impl ResultColumn {
    pub(super) fn new(column: &Column) -> Self {
        let kind = column.column_type();
        let is_unsigned = column.flags().contains(ColumnFlags::UNSIGNED_FLAG);
        let length = column.column_length();
        let is_bytes = column.character_set() == BINARY;
        let mut has_more_digits = false;
        let field_type = match kind {
            // What BOOLEAN is another word for.
            ColumnType::MYSQL_TYPE_TINY if length == 1 && !is_unsigned => FieldType::Bool,
            ColumnType::MYSQL_TYPE_BIT if length == 1 => FieldType::Bool,
            ColumnType::MYSQL_TYPE_LONGLONG if is_unsigned => UNSIGNED,
            ColumnType::MYSQL_TYPE_BIT if length == 64 => UNSIGNED,
            ColumnType::MYSQL_TYPE_TINY
            | ColumnType::MYSQL_TYPE_SHORT
            | ColumnType::MYSQL_TYPE_INT24
            | ColumnType::MYSQL_TYPE_LONG
            | ColumnType::MYSQL_TYPE_LONGLONG
            | ColumnType::MYSQL_TYPE_YEAR
            | ColumnType::MYSQL_TYPE_BIT => FieldType::Int,
            ColumnType::MYSQL_TYPE_FLOAT | ColumnType::MYSQL_TYPE_DOUBLE => FieldType::Double,
            ColumnType::MYSQL_TYPE_DECIMAL | ColumnType::MYSQL_TYPE_NEWDECIMAL => {
                // The length counts the point and the sign.
                let scale = column.decimals();
                let others = u32::from(scale > 0) + u32::from(!is_unsigned);
                let precision = u8::try_from(length.saturating_sub(others)).unwrap_or(u8::MAX);
                has_more_digits = precision > 38;
                match has_more_digits {
                    true => FieldType::String,
                    false => FieldType::Decimal { precision: precision.max(1), scale: scale as i8 },
                }
            }
            ColumnType::MYSQL_TYPE_DATE | ColumnType::MYSQL_TYPE_NEWDATE => FieldType::Date,
            ColumnType::MYSQL_TYPE_TIME | ColumnType::MYSQL_TYPE_TIME2 => FieldType::Time,
            ColumnType::MYSQL_TYPE_DATETIME | ColumnType::MYSQL_TYPE_DATETIME2 => {
                FieldType::Timestamp
            }
            ColumnType::MYSQL_TYPE_TIMESTAMP | ColumnType::MYSQL_TYPE_TIMESTAMP2 => {
                FieldType::TimestampTz
            }
            ColumnType::MYSQL_TYPE_JSON => FieldType::Json,
            ColumnType::MYSQL_TYPE_GEOMETRY => FieldType::Binary,
            ColumnType::MYSQL_TYPE_NULL => FieldType::String,
            _ if is_bytes => FieldType::Binary,
            _ => FieldType::String,
        };
        Self {
            name: column.name_str().into_owned(),
            field_type,
            is_bits: kind == ColumnType::MYSQL_TYPE_BIT,
            has_more_digits,
        }
    }
}

/// What holds every unsigned number of 64 bits.
const UNSIGNED: FieldType = FieldType::Decimal { precision: 20, scale: 0 };
