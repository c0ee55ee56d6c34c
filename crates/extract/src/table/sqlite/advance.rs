//! Which rows are new, by a cursor.

use gristmill_core::{Error, ErrorKind, FieldType, Result};
use gristmill_database::{literal, quoted};
use rusqlite::Connection;
use rusqlite::types::Value as Stored;
use serde_json::Value;

use super::failure;
use crate::table::cursor::{Bounds, Cursor};
use crate::table::source::Relation;

/// A statement for the records within the bounds, and the bookmark that is left when they are read.
pub(super) fn advance(
    connection: &Connection,
    relation: &Relation,
    cursor: &Cursor,
    bounds: Bounds,
    field_type: FieldType,
    what: &str,
) -> Result<(String, Option<(String, Value)>)> {
    let failed = |error| failure(what, error);
    let is_time =
        matches!(field_type, FieldType::Date | FieldType::Timestamp | FieldType::TimestampTz);
    let has_order = is_time
        || matches!(
            field_type,
            FieldType::Int | FieldType::Double | FieldType::String | FieldType::Time
        );
    if !has_order {
        let message = format!("`{}` is a {field_type}, which is no cursor", cursor.column);
        return Err(Error::new(ErrorKind::Configuration, message)
            .hint("take a column of integers, or of times as ISO 8601 texts"));
    }
    let lag = cursor.lag_micros(is_time)?;
    let name = format!("q.{}", quoted(&cursor.column));
    let select = &relation.select;
    let from = format!("FROM ({select}\n) AS q");
    let narrowed = |conditions: &[String]| match conditions {
        [] => format!("SELECT * {from}"),
        some => format!("SELECT * {from} WHERE {}", some.join(" AND ")),
    };
    let written = |value: &Value| written(value, field_type);
    let lower = bounds.lower.iter();
    let mut conditions: Vec<String> =
        lower.map(|(operator, value)| format!("{name} {operator} {}", written(value))).collect();
    let Some(bookmark) = bounds.bookmark else {
        conditions.extend(bounds.end.iter().map(|end| format!("{name} < {}", written(end))));
        return Ok((narrowed(&conditions), None));
    };
    let last = bounds.lower.filter(|(operator, _)| *operator == ">").map(|(_, last)| last);
    let one = |sql: &str| -> Result<Stored> {
        connection.query_row(sql, [], |row| row.get(0)).map_err(failed)
    };
    let mut limited = conditions.clone();
    if let Some(lag) = lag {
        // Times are compared as texts, so that this one is written as they are.
        let seconds = lag.div_ceil(1_000_000);
        let age = if field_type == FieldType::Date {
            format!("date('now', '-{seconds} seconds')")
        } else {
            format!(
                "replace(datetime('now', '-{seconds} seconds'), ' ',
                         coalesce((SELECT nullif(substr(max({name}), 11, 1), '') {from}), 'T'))"
            )
        };
        limited.push(format!("{name} <= {age}"));
    }
    let within = match limited.as_slice() {
        [] => String::new(),
        some => format!(" WHERE {}", some.join(" AND ")),
    };
    let greatest = match one(&format!("SELECT max({name}) {from}{within}"))? {
        Stored::Null => None,
        Stored::Integer(value) => Some(Value::from(value)),
        Stored::Real(value) => Some(Value::from(value)),
        Stored::Text(value) => Some(Value::from(value)),
        Stored::Blob(_) => {
            let message = format!("`{}` holds bytes, which are no cursor", cursor.column);
            return Err(Error::new(ErrorKind::Corrupt, message));
        }
    };
    Ok(match greatest {
        Some(greatest) => {
            conditions.push(format!("{name} <= {}", written(&greatest)));
            (narrowed(&conditions), Some((bookmark, greatest)))
        }
        None => (narrowed(&["false".to_owned()]), last.map(|last| (bookmark, last))),
    })
}

/// A value as SQL has it. A text that is a number is one for a column of numbers.
fn written(value: &Value, field_type: FieldType) -> String {
    match value {
        Value::String(text) => {
            let is_number = matches!(field_type, FieldType::Int | FieldType::Double)
                && text.parse::<f64>().is_ok_and(f64::is_finite);
            if is_number { text.clone() } else { literal(text) }
        }
        other => other.to_string(),
    }
}
