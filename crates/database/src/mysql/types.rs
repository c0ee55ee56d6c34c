//! The types of MariaDB and MySQL: which one a created column has, and in which form a value is
//! sent to a column that is there.

use arrow_schema::{DataType, Field};
use gristmill_core::FieldType;
use gristmill_core::types::is_json;

use super::Flavour;
use crate::types::{is_binary, is_text, values_type};

/// Bytes of an index at most.
const INDEX: usize = 3072;
/// Digits of a decimal behind the point, that both know.
const SCALE: i8 = 30;

/// The type of a column that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnType {
    /// Its name, in lower case, without anything behind it.
    pub base: String,
    /// Its name as SQL writes it.
    pub name: String,
    /// Of texts: character set and collation.
    pub charset: String,
    /// See `charset`.
    pub collation: String,
    /// Of texts and bytes: the number of characters or bytes.
    pub length: u64,
    /// Digits behind the point, of decimals and of seconds.
    pub scale: u8,
}

impl ColumnType {
    /// Whether its values are texts.
    pub fn is_text(&self) -> bool {
        matches!(
            self.base.as_str(),
            "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" | "enum" | "set"
        )
    }

    fn is_binary(&self) -> bool {
        matches!(
            self.base.as_str(),
            "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob"
        )
    }

    fn is_unsigned(&self) -> bool {
        self.name.contains("unsigned")
    }

    /// The least and the greatest integer, of a column of integers.
    fn range(&self) -> Option<(i128, i128)> {
        let bits = match self.base.as_str() {
            "tinyint" => 8,
            "smallint" => 16,
            "mediumint" => 24,
            "int" => 32,
            "bigint" => 64,
            _ => return None,
        };
        Some(match self.is_unsigned() {
            true => (0, (1 << bits) - 1),
            false => (-(1 << (bits - 1)), (1 << (bits - 1)) - 1),
        })
    }

    /// Whether equal values have equal bytes when they are sent, and only they.
    pub fn is_exact(&self, flavour: Flavour) -> bool {
        self.range().is_some()
            || matches!(self.base.as_str(), "decimal" | "date" | "datetime" | "time" | "timestamp")
            || self.base == "varbinary"
            || (self.base == "varchar" && self.collation == flavour.exact_collation())
    }

    /// Whether two values have to be compared as texts.
    pub fn compares_as_text(&self) -> bool {
        self.base == "json"
    }
}

/// The type of a created column; that of a text that is one of `keys` columns of an index has a
/// length. What these databases have no type for is kept exactly in a wider one: instants in
/// `datetime(6)`, in UTC, lists and structs in `json`.
pub fn declared(field: &Field, keys: Option<usize>) -> String {
    let length = || (INDEX / 4).saturating_sub(8) / keys.unwrap_or(1).max(1);
    let name = match field.data_type() {
        DataType::Boolean => "boolean",
        DataType::Int8 | DataType::Int16 => "smallint",
        DataType::Int32 => "int",
        DataType::Int64 => "bigint",
        DataType::UInt8 => "tinyint unsigned",
        DataType::UInt16 => "smallint unsigned",
        DataType::UInt32 => "int unsigned",
        DataType::UInt64 => "bigint unsigned",
        // What a `float` holds is shown and compared with fewer digits than it has.
        data_type if data_type.is_floating() => "double",
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale) => {
            return match scale {
                // A negative scale is as good as zeros before the point.
                ..0 => {
                    format!(
                        "decimal({}, 0)",
                        precision.saturating_add(scale.unsigned_abs()).min(65)
                    )
                }
                0..=SCALE => format!("decimal({precision}, {scale})"),
                _ => text(keys.map(|_| length())),
            };
        }
        DataType::Date32 | DataType::Date64 => "date",
        DataType::Time32(_) | DataType::Time64(_) => "time(6)",
        DataType::Timestamp(..) => "datetime(6)",
        DataType::Dictionary(_, values) => {
            return declared(&Field::new(field.name(), values.as_ref().clone(), true), keys);
        }
        data_type if is_binary(data_type) => {
            return match keys {
                Some(_) => format!("varbinary({})", (4 * length()).min(255)),
                None => "longblob".to_owned(),
            };
        }
        data_type if data_type.is_nested() || is_json(field) => "json",
        _ => return text(keys.map(|_| length())),
    };
    name.to_owned()
}

fn text(length: Option<usize>) -> String {
    length.map_or_else(|| "longtext".to_owned(), |length| format!("varchar({})", length.min(255)))
}

/// In which form values of a field are sent to a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// 0 or 1.
    Bool,
    /// An integer; values beyond these are unfit, and so are numbers with a fraction.
    Int(i128, i128),
    /// A number of 8 bytes; NaN and infinity are unfit.
    Double,
    /// A decimal; values with more digits behind the point are unfit.
    Decimal(u8),
    /// Text; a longer one, in characters, is unfit, and so is one with other characters.
    Text(Option<u32>, Characters),
    /// Bytes, in hexadecimal digits; longer ones are unfit.
    Bytes(Option<u32>),
    /// A JSON document.
    Json,
    /// A day from the year 1 on.
    Date,
    /// A time of day; values with more digits behind the point are unfit.
    Time(u8),
    /// A point in time from the year 1 on; values with more digits behind the point are unfit.
    Timestamp(u8),
    /// As CSV has it; the server makes of it what it can.
    Written,
    /// Text that is read as this type, and sent as that.
    Parsed(FieldType, Parsed),
}

/// What becomes of text that is read as another type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    /// See [`Form::Int`].
    Int(i128, i128),
    /// See [`Form::Double`].
    Double,
    /// See [`Form::Decimal`].
    Decimal(u8),
    /// See [`Form::Date`].
    Date,
    /// See [`Form::Time`].
    Time(u8),
    /// See [`Form::Timestamp`].
    Timestamp(u8),
}

impl Parsed {
    /// The form of the values, once they are of the type.
    pub(super) fn form(self) -> Form {
        match self {
            Parsed::Int(least, greatest) => Form::Int(least, greatest),
            Parsed::Double => Form::Double,
            Parsed::Decimal(scale) => Form::Decimal(scale),
            Parsed::Date => Form::Date,
            Parsed::Time(digits) => Form::Time(digits),
            Parsed::Timestamp(digits) => Form::Timestamp(digits),
        }
    }
}

/// The characters that a column of keys holds. In a column that is no key, the server judges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Characters {
    /// All.
    All,
    /// Those of the first plane of Unicode.
    Utf8Mb3,
    /// Those of Windows-1252, which MySQL calls `latin1`.
    Latin1,
    /// Those of ASCII.
    Ascii,
}

impl Form {
    /// The form for values of a field in a column; `None` where the column cannot hold any of
    /// them.
    pub fn of(field: &Field, column: &ColumnType, is_key: bool) -> Option<Self> {
        let data_type = values_type(field.data_type());
        let base = column.base.as_str();
        if data_type.is_nested() {
            return (column.is_text() || base == "json").then_some(Form::Json);
        }
        let length = u32::try_from(column.length).ok().filter(|_| is_key);
        if is_binary(data_type) {
            return column.is_binary().then_some(Form::Bytes(length));
        }
        if is_text(data_type) {
            return Some(column.of_text(length));
        }
        let range = column.range();
        Some(match data_type {
            DataType::Boolean
                if range.is_some() || matches!(base, "bit" | "decimal" | "double") =>
            {
                Form::Bool
            }
            data_type
                if data_type.is_integer()
                    || data_type.is_floating()
                    || matches!(data_type, DataType::Decimal128(..)) =>
            {
                match (base, range) {
                    (_, Some((least, greatest))) => Form::Int(least, greatest),
                    ("decimal", _) if !data_type.is_floating() => Form::Decimal(column.scale),
                    ("double" | "float", _) if data_type.is_floating() => Form::Double,
                    _ => Form::Written,
                }
            }
            DataType::Date32 if matches!(base, "date" | "datetime" | "timestamp") => Form::Date,
            DataType::Time32(_) | DataType::Time64(_) if base == "time" => Form::Time(column.scale),
            DataType::Timestamp(..) if matches!(base, "datetime" | "timestamp") => {
                Form::Timestamp(column.scale)
            }
            _ => Form::Written,
        })
    }

    /// The type of its column in the staging table, which holds all values of the field. `key` is
    /// the column of the table, where it is part of the key: both compare alike then.
    pub fn staged(self, field: &Field, key: Option<&ColumnType>, flavour: Flavour) -> String {
        let data_type = values_type(field.data_type());
        let written = match data_type {
            data_type if data_type.is_floating() => "double",
            DataType::UInt64 => "bigint unsigned",
            data_type if data_type.is_integer() => "bigint",
            _ => "",
        };
        match self {
            Form::Bool => "tinyint".to_owned(),
            Form::Int(least, _) | Form::Parsed(_, Parsed::Int(least, _)) => {
                if least < 0 { "bigint" } else { "bigint unsigned" }.to_owned()
            }
            Form::Double | Form::Parsed(_, Parsed::Double) => "double".to_owned(),
            Form::Decimal(_) | Form::Parsed(_, Parsed::Decimal(_)) => {
                let scale = match (self, data_type) {
                    (Form::Parsed(_, Parsed::Decimal(scale)), _) => scale.min(SCALE as u8),
                    (_, DataType::Decimal128(_, scale)) => (*scale).clamp(0, SCALE) as u8,
                    _ => 0,
                };
                format!("decimal(65, {scale})")
            }
            Form::Date | Form::Parsed(_, Parsed::Date) => "date".to_owned(),
            Form::Time(_) | Form::Parsed(_, Parsed::Time(_)) => "time(6)".to_owned(),
            Form::Timestamp(_) | Form::Parsed(_, Parsed::Timestamp(_)) => "datetime(6)".to_owned(),
            Form::Bytes(_) => key.map_or_else(|| "longblob".to_owned(), |key| key.name.clone()),
            Form::Written if !written.is_empty() => written.to_owned(),
            Form::Text(..) | Form::Written | Form::Json => match key {
                Some(key) if key.is_text() => format!(
                    "varchar({}) CHARACTER SET {} COLLATE {}",
                    key.length, key.charset, key.collation
                ),
                Some(key) => key.name.clone(),
                None => {
                    format!("longtext CHARACTER SET utf8mb4 COLLATE {}", flavour.exact_collation())
                }
            },
        }
    }
}

impl ColumnType {
    /// The form of text. A text that is to be a number or a time is read as such here.
    fn of_text(&self, length: Option<u32>) -> Form {
        if self.is_text() {
            let characters = match self.charset.as_str() {
                "utf8mb3" | "utf8" if length.is_some() => Characters::Utf8Mb3,
                "latin1" if length.is_some() => Characters::Latin1,
                "ascii" if length.is_some() => Characters::Ascii,
                _ => Characters::All,
            };
            return Form::Text(length, characters);
        }
        if self.is_binary() {
            return Form::Bytes(length);
        }
        match (self.base.as_str(), self.range()) {
            ("bigint", Some((least, greatest))) if least == 0 => {
                let digits = FieldType::Decimal { precision: 20, scale: 0 };
                Form::Parsed(digits, Parsed::Int(least, greatest))
            }
            (_, Some((least, greatest))) => {
                Form::Parsed(FieldType::Int, Parsed::Int(least, greatest))
            }
            ("decimal", _) => {
                let scale = self.scale;
                let digits = FieldType::Decimal { precision: 38, scale: scale as i8 };
                Form::Parsed(digits, Parsed::Decimal(scale))
            }
            ("double" | "float", _) => Form::Parsed(FieldType::Double, Parsed::Double),
            ("date", _) => Form::Parsed(FieldType::Date, Parsed::Date),
            ("time", _) => Form::Parsed(FieldType::Time, Parsed::Time(self.scale)),
            ("datetime", _) => Form::Parsed(FieldType::Timestamp, Parsed::Timestamp(self.scale)),
            ("timestamp", _) => Form::Parsed(FieldType::TimestampTz, Parsed::Timestamp(self.scale)),
            _ => Form::Text(None, Characters::All),
        }
    }
}
