//! Columns built from text.

use std::fmt;
use std::ops::Range;

use arrow_array::ArrayRef;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float64Type, Int64Type, Time64MicrosecondType,
    TimestampMicrosecondType,
};

use super::fields::{FieldSyntax, Fields};
use super::fixed::Fixed;
use super::texts::{SharedText, Texts};
use super::{Clean, ColumnPlan, parse, word};
use crate::types::FieldType;

/// A text that is not a value of its column's type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueError {
    /// The text after cleaning.
    pub value: String,
    /// The type it should have had.
    pub field_type: FieldType,
    /// The formats that were tried, where the column declares some.
    pub formats: Vec<String>,
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cut = self.value.char_indices().nth(100).map_or(self.value.len(), |(at, _)| at);
        let shown = &self.value[..cut];
        let more = if shown.len() < self.value.len() { "…" } else { "" };
        let article = if self.field_type == FieldType::Int { "an" } else { "a" };
        write!(f, "`{shown}{more}` is not {article} {}", self.field_type)?;
        if !self.formats.is_empty() {
            write!(f, " of the form {}", self.formats.join(" or "))?;
        }
        Ok(())
    }
}

impl std::error::Error for ValueError {}

enum Values {
    String(Texts),
    Json(Texts),
    Binary(Texts),
    Bool(Fixed<bool>),
    Int(Fixed<i64>),
    Double(Fixed<f64>),
    Decimal(Fixed<i128>, u8, i8),
    Date(Fixed<i32>),
    Time(Fixed<i64>),
    Timestamp(Fixed<i64>),
}

macro_rules! each {
    ($values:expr, $column:ident => $call:expr) => {
        match $values {
            Values::String($column) | Values::Json($column) | Values::Binary($column) => $call,
            Values::Bool($column) => $call,
            Values::Int($column) | Values::Time($column) | Values::Timestamp($column) => $call,
            Values::Double($column) => $call,
            Values::Decimal($column, ..) => $call,
            Values::Date($column) => $call,
        }
    };
}

/// Builds one column from text, cleaning and parsing each value.
pub struct ColumnBuilder {
    values: Values,
    field_type: FieldType,
    clean: Clean,
    formats: Vec<String>,
    plain: bool,
}

impl ColumnBuilder {
    /// A builder for about `capacity` rows.
    pub fn new(plan: &ColumnPlan, capacity: usize) -> Self {
        let values = match plan.field_type {
            FieldType::String => Values::String(Texts::new(false, capacity)),
            FieldType::Json => Values::Json(Texts::new(false, capacity)),
            FieldType::Binary => Values::Binary(Texts::new(true, capacity)),
            FieldType::Bool => Values::Bool(Fixed::new(capacity)),
            FieldType::Int => Values::Int(Fixed::new(capacity)),
            FieldType::Double => Values::Double(Fixed::new(capacity)),
            FieldType::Decimal { precision, scale } => {
                Values::Decimal(Fixed::new(capacity), precision, scale)
            }
            FieldType::Date => Values::Date(Fixed::new(capacity)),
            FieldType::Time => Values::Time(Fixed::new(capacity)),
            FieldType::Timestamp | FieldType::TimestampTz => {
                Values::Timestamp(Fixed::new(capacity))
            }
        };
        Self {
            values,
            field_type: plan.field_type,
            clean: plan.clean.clone(),
            formats: plan.formats.clone(),
            plain: plan.clean.is_noop(),
        }
    }

    /// Appends a value. A text that does not parse becomes a null, and the error says why. For
    /// types other than `string`, `json` and `binary`, an empty text is a null.
    ///
    /// # Errors
    /// [`ValueError`] for a text that is not of the column's type, or not UTF-8.
    pub fn push(&mut self, text: &[u8]) -> Result<(), ValueError> {
        if self.plain {
            return self.parse(text, None);
        }
        match str::from_utf8(text) {
            Ok(text) => self.push_str(text),
            Err(_) => self.fail(text),
        }
    }

    /// As [`Self::push`], for text that is known to be UTF-8.
    ///
    /// # Errors
    /// [`ValueError`] for a text that is not of the column's type.
    pub fn push_str(&mut self, text: &str) -> Result<(), ValueError> {
        if self.plain {
            return self.parse(text.as_bytes(), Some(text));
        }
        let clean = std::mem::take(&mut self.clean);
        let result = match clean.apply(Some(text)) {
            Some(cleaned) => self.parse(cleaned.as_bytes(), Some(&cleaned)),
            None => {
                self.append_null();
                Ok(())
            }
        };
        self.clean = clean;
        result
    }

    /// Appends a missing value: the column's default, or a null.
    ///
    /// # Errors
    /// [`ValueError`] when the default is not of the column's type.
    pub fn push_null(&mut self) -> Result<(), ValueError> {
        match self.clean.default.take() {
            Some(default) => {
                let result = self.parse(default.as_bytes(), Some(&default));
                self.clean.default = Some(default);
                result
            }
            None => {
                self.append_null();
                Ok(())
            }
        }
    }

    /// Appends a null, default or not: for a value that failed elsewhere.
    pub fn append_null(&mut self) {
        each!(&mut self.values, column => column.push_null());
    }

    /// Appends the fields of a text that stand at these places. What a glance at a field does not
    /// settle is left to `other`, which appends that row by one of the functions above: the result
    /// is the same as if all were.
    pub fn extend(
        &mut self,
        text: &SharedText,
        syntax: &FieldSyntax,
        places: &[Range<u32>],
        mut other: impl FnMut(&mut Self, usize),
    ) {
        if let Values::String(texts) = &mut self.values {
            texts.share(text);
        }
        let mut row = 0;
        while row < places.len() {
            row += self.glance(text, syntax, &places[row..]);
            if row < places.len() {
                other(self, row);
                row += 1;
            }
        }
    }

    /// Appends fields up to the first that takes more than a glance. Answers how many.
    fn glance(&mut self, text: &SharedText, syntax: &FieldSyntax, places: &[Range<u32>]) -> usize {
        let fields = Fields { text, syntax, places, clean: &self.clean };
        match &mut self.values {
            Values::String(texts) => fields.texts(texts),
            Values::Bool(column) => fields.words(column, |spot| word::bool(spot.head()?, spot.len)),
            Values::Int(column) => fields.words(column, |spot| spot.number()?.int()),
            Values::Double(column) => fields.words(column, |spot| spot.number()?.double()),
            Values::Decimal(column, precision, scale) => {
                let (precision, scale) = (*precision, *scale);
                fields.words(column, |spot| spot.number()?.decimal(precision, scale))
            }
            Values::Date(column) if self.formats.is_empty() => {
                fields.words(column, |spot| word::date(spot.head()?, spot.len))
            }
            _ => 0,
        }
    }

    /// The column, and an empty builder for the next one.
    pub fn finish(&mut self) -> ArrayRef {
        let field_type = self.field_type;
        match &mut self.values {
            Values::String(texts) | Values::Json(texts) | Values::Binary(texts) => texts.finish(),
            Values::Bool(column) => column.finish_bits(),
            Values::Int(column) => column.finish::<Int64Type>(field_type),
            Values::Double(column) => column.finish::<Float64Type>(field_type),
            Values::Decimal(column, ..) => column.finish::<Decimal128Type>(field_type),
            Values::Date(column) => column.finish::<Date32Type>(field_type),
            Values::Time(column) => column.finish::<Time64MicrosecondType>(field_type),
            Values::Timestamp(column) => column.finish::<TimestampMicrosecondType>(field_type),
        }
    }

    /// Parses cleaned text, which is given as a string, too, where it is known to be one.
    fn parse(&mut self, text: &[u8], known: Option<&str>) -> Result<(), ValueError> {
        let parsed = match &mut self.values {
            Values::String(texts) => {
                let text = known.or_else(|| simdutf8::basic::from_utf8(text).ok());
                text.map(|text| texts.push_str(text))
            }
            Values::Json(texts) => json(text).map(|text| texts.push_str(text)),
            Values::Binary(texts) => texts.push_binary(text),
            _ if text.is_empty() => {
                self.append_null();
                return Ok(());
            }
            Values::Bool(column) => parse::bool(text).map(|value| column.push(value)),
            Values::Int(column) => parse::int(text).map(|value| column.push(value)),
            Values::Double(column) => parse::double(text).map(|value| column.push(value)),
            Values::Decimal(column, precision, scale) => {
                parse::decimal(text, *precision, *scale).map(|value| column.push(value))
            }
            Values::Date(column) => formatted(text, &self.formats, parse::date, parse::date_as)
                .map(|value| column.push(value)),
            Values::Time(column) => formatted(text, &self.formats, parse::time, parse::time_as)
                .map(|value| column.push(value)),
            Values::Timestamp(column) => {
                formatted(text, &self.formats, parse::timestamp, parse::timestamp_as)
                    .map(|value| column.push(value))
            }
        };
        match parsed {
            Some(()) => Ok(()),
            None => self.fail(text),
        }
    }

    fn fail(&mut self, text: &[u8]) -> Result<(), ValueError> {
        self.append_null();
        Err(ValueError {
            value: String::from_utf8_lossy(text).into_owned(),
            field_type: self.field_type,
            formats: self.formats.clone(),
        })
    }
}

fn json(text: &[u8]) -> Option<&str> {
    serde_json::from_slice::<serde::de::IgnoredAny>(text).ok()?;
    str::from_utf8(text).ok()
}

fn formatted<T>(
    text: &[u8],
    formats: &[String],
    iso: fn(&[u8]) -> Option<T>,
    by_format: fn(&str, &[String]) -> Option<T>,
) -> Option<T> {
    if formats.is_empty() {
        return iso(text);
    }
    by_format(str::from_utf8(text).ok()?, formats)
}

#[cfg(test)]
mod tests {
    use arrow_array::{Array, cast::AsArray, types::Date32Type};

    use super::*;

    #[test]
    fn a_failed_value_is_a_null_and_a_message() {
        let mut plan = ColumnPlan::new("d", FieldType::Date);
        let mut builder = ColumnBuilder::new(&plan, 4);
        assert!(builder.push(b"1970-01-02").is_ok());
        assert_eq!(
            builder.push(b"2024-13-45").unwrap_err().to_string(),
            "`2024-13-45` is not a date"
        );
        assert!(builder.push(b"").is_ok());
        let column = builder.finish();
        assert_eq!(column.as_primitive::<Date32Type>().value(0), 1);
        assert_eq!(column.null_count(), 2);

        plan.formats = vec!["%d.%m.%Y".into()];
        let mut builder = ColumnBuilder::new(&plan, 1);
        assert_eq!(
            builder.push(b"1970-01-02").unwrap_err().to_string(),
            "`1970-01-02` is not a date of the form %d.%m.%Y"
        );
    }

    #[test]
    fn defaults_fill_nulls_before_parsing() {
        let mut plan = ColumnPlan::new("n", FieldType::Int);
        plan.clean = Clean {
            trim: true,
            nulls: vec!["-".into()],
            default: Some("0".into()),
            ..Clean::default()
        };
        let mut builder = ColumnBuilder::new(&plan, 3);
        for text in [&b" 7 "[..], b"-"] {
            assert!(builder.push(text).is_ok());
        }
        assert!(builder.push_null().is_ok());
        let column = builder.finish();
        assert_eq!(column.as_primitive::<Int64Type>().values(), &[7, 0, 0]);
    }
}
