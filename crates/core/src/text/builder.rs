//! Columns built from text.

use std::fmt;
use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::{
    BinaryViewBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Float64Builder,
    Int64Builder, StringViewBuilder, Time64MicrosecondBuilder, TimestampMicrosecondBuilder,
};

use super::{Clean, ColumnPlan, parse};
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
        let shown: String = self.value.chars().take(100).collect();
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
    String(StringViewBuilder),
    Json(StringViewBuilder),
    Bool(BooleanBuilder),
    Int(Int64Builder),
    Double(Float64Builder),
    Decimal(Decimal128Builder, u8, i8),
    Date(Date32Builder),
    Time(Time64MicrosecondBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    Binary(BinaryViewBuilder),
}

macro_rules! each {
    ($values:expr, $builder:ident => $call:expr) => {
        match $values {
            Values::String($builder) | Values::Json($builder) => $call,
            Values::Bool($builder) => $call,
            Values::Int($builder) => $call,
            Values::Double($builder) => $call,
            Values::Decimal($builder, ..) => $call,
            Values::Date($builder) => $call,
            Values::Time($builder) => $call,
            Values::Timestamp($builder) => $call,
            Values::Binary($builder) => $call,
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
            FieldType::String => Values::String(StringViewBuilder::with_capacity(capacity)),
            FieldType::Json => Values::Json(StringViewBuilder::with_capacity(capacity)),
            FieldType::Bool => Values::Bool(BooleanBuilder::with_capacity(capacity)),
            FieldType::Int => Values::Int(Int64Builder::with_capacity(capacity)),
            FieldType::Double => Values::Double(Float64Builder::with_capacity(capacity)),
            FieldType::Decimal { precision, scale } => Values::Decimal(
                Decimal128Builder::with_capacity(capacity).with_data_type(plan.field_type.arrow()),
                precision,
                scale,
            ),
            FieldType::Date => Values::Date(Date32Builder::with_capacity(capacity)),
            FieldType::Time => Values::Time(Time64MicrosecondBuilder::with_capacity(capacity)),
            FieldType::Timestamp | FieldType::TimestampTz => Values::Timestamp(
                TimestampMicrosecondBuilder::with_capacity(capacity)
                    .with_data_type(plan.field_type.arrow()),
            ),
            FieldType::Binary => Values::Binary(BinaryViewBuilder::with_capacity(capacity)),
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
        each!(&mut self.values, builder => builder.append_null());
    }

    /// The column, and an empty builder for the next one.
    pub fn finish(&mut self) -> ArrayRef {
        each!(&mut self.values, builder => Arc::new(builder.finish()))
    }

    /// Parses cleaned text, which is given as a string, too, where it is known to be one.
    fn parse(&mut self, text: &[u8], known: Option<&str>) -> Result<(), ValueError> {
        let parsed = match &mut self.values {
            Values::String(builder) => {
                let text = known.or_else(|| str::from_utf8(text).ok());
                text.map(|text| builder.append_value(text))
            }
            Values::Json(builder) => json(text).map(|text| builder.append_value(text)),
            Values::Binary(builder) => {
                builder.append_value(text);
                Some(())
            }
            _ if text.is_empty() => {
                self.append_null();
                return Ok(());
            }
            Values::Bool(builder) => parse::bool(text).map(|value| builder.append_value(value)),
            Values::Int(builder) => parse::int(text).map(|value| builder.append_value(value)),
            Values::Double(builder) => parse::double(text).map(|value| builder.append_value(value)),
            Values::Decimal(builder, precision, scale) => {
                parse::decimal(text, *precision, *scale).map(|value| builder.append_value(value))
            }
            Values::Date(builder) => formatted(text, &self.formats, parse::date, parse::date_as)
                .map(|value| builder.append_value(value)),
            Values::Time(builder) => formatted(text, &self.formats, parse::time, parse::time_as)
                .map(|value| builder.append_value(value)),
            Values::Timestamp(builder) => {
                formatted(text, &self.formats, parse::timestamp, parse::timestamp_as)
                    .map(|value| builder.append_value(value))
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
        assert_eq!(column.as_primitive::<arrow_array::types::Int64Type>().values(), &[7, 0, 0]);
    }
}
