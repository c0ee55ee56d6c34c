//! What is asked of each record, as an SQL expression for the columns that there are.

use arrow_schema::{DataType, Schema};
use chrono::{DateTime, TimeDelta, Utc};
use gristmill_core::types::type_name;

use super::metric::{Literal, Op, Predicate, ValueTest};
use crate::limit::Measure;
use crate::suggest::nearest;

/// What values of a column are compared as.
#[derive(Debug, Clone, Copy, PartialEq)]
enum As {
    Text,
    Number,
    Date,
    Timestamp,
    Instant,
    Bool,
    Other,
}

/// How many columns a message names.
const SHOWN: usize = 12;

/// The index of a column.
///
/// # Errors
/// What to say where there is none.
pub(crate) fn column(schema: &Schema, name: &str) -> Result<usize, String> {
    schema.index_of(name).map_err(|_| {
        let names = schema.fields().iter().map(|field| field.name().as_str());
        match nearest(name, names) {
            Some(near) => format!("there is no column `{name}`; did you mean `{near}`?"),
            None => {
                let names = schema.fields().iter().map(|field| field.name().as_str());
                let shown: Vec<&str> = names.take(SHOWN).collect();
                let more = if schema.fields().len() > SHOWN { ", …" } else { "" };
                format!("there is no column `{name}`; the columns are {}{more}", shown.join(", "))
            }
        }
    })
}

/// The SQL condition that a predicate is.
///
/// # Errors
/// What to say where it does not fit the columns.
pub(crate) fn sql(
    predicate: &Predicate,
    schema: &Schema,
    now: DateTime<Utc>,
) -> Result<String, String> {
    match predicate {
        Predicate::Sql(text) => Ok(text.clone()),
        Predicate::Value(name, test) => {
            let field = schema.field(column(schema, name)?);
            let kind = kind_of(field.data_type());
            let value = Value { sql: quoted(name), name, kind, now };
            value
                .test(test)
                .map_err(|what| format!("column `{name}` is {}: {what}", type_name(field)))
        }
        Predicate::Length(name, test) => {
            let field = schema.field(column(schema, name)?);
            let text = if kind_of(field.data_type()) == As::Text {
                quoted(name)
            } else {
                format!("CAST({} AS string)", quoted(name))
            };
            let sql = format!("coalesce(char_length({text}), 0)");
            Value { sql, name, kind: As::Number, now }.test(test)
        }
        Predicate::Type(..) => Err("a type is no condition".to_owned()),
    }
}

fn kind_of(data_type: &DataType) -> As {
    match data_type {
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => As::Text,
        DataType::Boolean => As::Bool,
        DataType::Date32 | DataType::Date64 => As::Date,
        DataType::Timestamp(_, None) => As::Timestamp,
        DataType::Timestamp(_, Some(_)) => As::Instant,
        other if Measure::of(other).is_some_and(Measure::is_number) => As::Number,
        _ => As::Other,
    }
}

/// A name as SQL quotes it.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn text_literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

struct Value<'a> {
    sql: String,
    name: &'a str,
    kind: As,
    now: DateTime<Utc>,
}

impl Value<'_> {
    fn test(&self, test: &ValueTest) -> Result<String, String> {
        let value = &self.sql;
        Ok(match test {
            ValueTest::Compare(op, literal) => self.compare(*op, literal)?,
            ValueTest::Between { low, high, not } => {
                let inside = format!(
                    "({} AND {})",
                    self.compare(Op::Greater, low)?,
                    self.compare(Op::Less, high)?
                );
                if *not { format!("NOT {inside}") } else { inside }
            }
            ValueTest::In(items, not) => {
                let tests: Result<Vec<_>, _> = items
                    .iter()
                    .filter(|item| **item != Literal::Null)
                    .map(|item| self.compare(Op::Equal, item))
                    .collect();
                let mut tests = tests?;
                let has_null = items.contains(&Literal::Null);
                if tests.is_empty() {
                    tests.push("false".to_owned());
                }
                let any = tests.join(" OR ");
                match (not, has_null) {
                    (false, false) => format!("({any})"),
                    (false, true) => format!("({value} IS NULL OR {any})"),
                    (true, false) => format!("({value} IS NULL OR NOT ({any}))"),
                    (true, true) => format!("({value} IS NOT NULL AND NOT ({any}))"),
                }
            }
            ValueTest::Matches(pattern, not) => {
                let whole = text_literal(&format!("^(?:{pattern})$"));
                let matches = format!("regexp_like({}, {whole})", self.text());
                if *not { format!("NOT {matches}") } else { matches }
            }
        })
    }

    fn text(&self) -> String {
        match self.kind {
            As::Text => self.sql.clone(),
            _ => format!("CAST({} AS string)", self.sql),
        }
    }

    fn compare(&self, op: Op, literal: &Literal) -> Result<String, String> {
        let value = &self.sql;
        let condition = match (literal, op) {
            (Literal::Null, Op::Equal) => return Ok(format!("{value} IS NULL")),
            (Literal::Null, Op::NotEqual) => return Ok(format!("{value} IS NOT NULL")),
            (Literal::Empty, Op::Equal | Op::NotEqual) => format!("{} = ''", self.text()),
            (Literal::Blank, Op::Equal | Op::NotEqual) => {
                format!("regexp_like({}, '^\\s+$')", self.text())
            }
            (Literal::Null | Literal::Empty | Literal::Blank, _) => {
                return Err(format!("`{} {literal}` has no meaning", op.symbol()));
            }
            _ => {
                let (value, other) = self.sides(op, literal)?;
                let symbol = if op == Op::NotEqual { "=" } else { op.symbol() };
                format!("{value} {symbol} {other}")
            }
        };
        Ok(match op {
            Op::NotEqual => format!("({value} IS NULL OR NOT ({condition}))"),
            _ => condition,
        })
    }

    /// Both sides of a comparison, in one type.
    fn sides(&self, op: Op, literal: &Literal) -> Result<(String, String), String> {
        let value = self.sql.clone();
        let ordered = !matches!(op, Op::Equal | Op::NotEqual);
        let wrong = |what: &str| Err(format!("{literal} is not {what} to compare it with"));
        Ok(match (self.kind, literal) {
            (As::Number, Literal::Number(number)) => (value, number.clone()),
            (As::Number, Literal::Text(text)) => match crate::limit::number(text.trim()) {
                Ok(_) => (value, text.trim().to_owned()),
                Err(_) => return wrong("a number"),
            },
            (As::Text, Literal::Number(number)) if ordered => {
                (format!("TRY_CAST({value} AS double)"), number.clone())
            }
            (As::Text, Literal::Number(text) | Literal::Text(text)) => (value, text_literal(text)),
            (As::Text, Literal::Ago(_)) => {
                (format!("TRY_CAST({value} AS timestamp)"), self.time(literal, "timestamp")?)
            }
            (As::Date, Literal::Text(text)) if text.len() <= 10 => {
                (value, self.time(literal, "date")?)
            }
            (As::Date, Literal::Text(_) | Literal::Ago(_)) => {
                (format!("CAST({value} AS timestamp)"), self.time(literal, "timestamp")?)
            }
            (As::Timestamp, Literal::Text(_) | Literal::Ago(_)) => {
                (value, self.time(literal, "timestamp")?)
            }
            (As::Instant, Literal::Text(_) | Literal::Ago(_)) => {
                (value, self.time(literal, "timestamptz")?)
            }
            (As::Bool, Literal::Text(text)) => match text.to_ascii_lowercase().as_str() {
                "true" | "false" => (value, text.to_ascii_lowercase()),
                _ => return wrong("true or false"),
            },
            (As::Other, Literal::Text(text)) => (self.text(), text_literal(text)),
            _ => return wrong(&format!("something for `{}`", self.name)),
        })
    }

    fn time(&self, literal: &Literal, as_type: &str) -> Result<String, String> {
        let text = match literal {
            Literal::Ago(seconds) => {
                let ago = TimeDelta::microseconds((seconds * 1e6) as i64);
                (self.now - ago).format("%Y-%m-%dT%H:%M:%S%.6f").to_string()
            }
            Literal::Text(text) if crate::limit::is_time(text) => text.clone(),
            other => return Err(format!("{other} is not a date or a time")),
        };
        Ok(format!("CAST({} AS {as_type})", text_literal(&text)))
    }
}
