//! The column of a cursor. SQLite has no type for times: they are texts, and compared as such.

use gristmill_core::text::parse;
use gristmill_core::{Error, ErrorKind, FieldType, Result};
use gristmill_database::{literal, quoted};
use rusqlite::types::Value as Stored;
use rusqlite::{Connection, OptionalExtension};
use serde_json::Value;

use super::failure;
use crate::table::cursor::Column;

/// A column, and where the last run ended.
pub(super) struct CursorColumn<'a> {
    connection: &'a Connection,
    name: &'a str,
    of: FieldType,
    what: &'a str,
    last: Option<&'a Value>,
}

impl<'a> CursorColumn<'a> {
    /// # Errors
    /// When its values have no order.
    pub(super) fn new(
        connection: &'a Connection,
        name: &'a str,
        of: FieldType,
        what: &'a str,
        last: Option<&'a Value>,
    ) -> Result<Self> {
        let column = Self { connection, name, of, what, last };
        let others =
            matches!(of, FieldType::Int | FieldType::Double | FieldType::String | FieldType::Time);
        if column.is_time() || others {
            return Ok(column);
        }
        let message = format!("`{name}` is a {of}, which is no cursor");
        Err(Error::new(ErrorKind::Configuration, message)
            .hint("take a column of integers, or of times as ISO 8601 texts"))
    }

    pub(super) fn is_time(&self) -> bool {
        matches!(self.of, FieldType::Date | FieldType::Timestamp | FieldType::TimestampTz)
    }

    /// That values which a person gave are of the column's kind, and times in its form: they are
    /// compared as texts. A date is the beginning of its day in any form.
    pub(super) fn check_given<'v>(
        &self,
        given: impl Iterator<Item = &'v Value>,
        select: &str,
    ) -> Result<()> {
        let column = quoted(self.name);
        for value in given {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let wrong = |hint: String| {
                let message = format!("`{text}` is no value of the cursor `{}`", self.name);
                Err(Error::new(ErrorKind::Configuration, message).hint(hint))
            };
            if matches!(self.of, FieldType::Int | FieldType::Double) {
                if !text.parse::<f64>().is_ok_and(f64::is_finite) {
                    return wrong("it holds numbers".to_owned());
                }
                continue;
            }
            if !self.is_time() || parse::date(text.as_bytes()).is_some() {
                continue;
            }
            if parse::timestamp(text.as_bytes()).is_none() {
                return wrong(
                    "write a date like 2024-01-31, or a time as the column has it".to_owned(),
                );
            }
            let sql = format!(
                "SELECT v FROM (SELECT {column} AS v FROM ({select}\n) WHERE {column} IS NOT NULL LIMIT 1) \
                 WHERE {} <> {}",
                form("v"),
                form(&format!("({})", literal(&text))),
            );
            let other: Option<String> = self
                .connection
                .query_row(&sql, [], |row| row.get(0))
                .optional()
                .map_err(|error| failure(self.what, error))?;
            if let Some(other) = other {
                return wrong(format!(
                    "its times are written like {other}, and compared as texts: write it so, or a date"
                ));
            }
        }
        Ok(())
    }

    fn one(&self, sql: &str) -> Result<Stored> {
        let one = self.connection.query_row(sql, [], |row| row.get(0));
        one.map_err(|error| failure(self.what, error))
    }

    /// That texts of times sort as the times do: all have the same letter between date and time, and
    /// where a zone follows, the same zone and the same length.
    fn check_forms(&self, column: &str, from: &str) -> Result<()> {
        let last = self.last.and_then(Value::as_str).map_or_else(String::new, |last| {
            let select =
                format!("SELECT v, {} AS f FROM (SELECT {} AS v)", form("v"), literal(last));
            format!(" UNION ALL {select}")
        });
        let forms = format!(
            "SELECT group_concat(v, ' and ') FROM (SELECT min(v) AS v FROM \
             (SELECT {column} AS v, {} AS f {from}{last}) WHERE v IS NOT NULL GROUP BY f) \
             HAVING count(*) > 1",
            form(column)
        );
        let mut statement =
            self.connection.prepare(&forms).map_err(|error| failure(self.what, error))?;
        let mut rows = statement.query([]).map_err(|error| failure(self.what, error))?;
        let Some(row) = rows.next().map_err(|error| failure(self.what, error))? else {
            return Ok(());
        };
        let forms: String = row.get(0).map_err(|error| failure(self.what, error))?;
        let message =
            format!("`{}` has times in forms that do not sort as the times do: {forms}", self.name);
        Err(Error::new(ErrorKind::Corrupt, message).hint(format!(
            "read a query that gives them one form, with strftime('%Y-%m-%dT%H:%M:%fZ', {}) AS …, \
             and take that column as the cursor",
            self.name
        )))
    }
}

/// What the times of a column must have in common to sort as texts; see
/// [`CursorColumn::check_forms`].
fn form(column: &str) -> String {
    let zoned = format!("length({column}) > 16 AND substr({column}, -6, 1) IN ('+', '-')");
    format!(
        "CASE WHEN typeof({column}) <> 'text' THEN typeof({column}) \
         ELSE substr({column}, 11, 1) || CASE \
         WHEN {column} LIKE '%Z' THEN length({column}) || 'Z' \
         WHEN {zoned} THEN length({column}) || substr({column}, -6) ELSE '' END END"
    )
}

impl Column for CursorColumn<'_> {
    fn is_date(&self) -> bool {
        self.of == FieldType::Date
    }

    /// A text that is a number is one for a column of numbers.
    fn written(&self, value: &Value) -> Result<String> {
        Ok(match value {
            Value::String(text) => {
                let is_number = matches!(self.of, FieldType::Int | FieldType::Double)
                    && text.parse::<f64>().is_ok_and(f64::is_finite);
                if is_number { text.clone() } else { literal(text) }
            }
            other => other.to_string(),
        })
    }

    fn is_settled(&self, column: &str, lag: u128) -> String {
        let seconds = lag.div_ceil(1_000_000);
        if self.is_date() {
            return format!("{column} < date('now', '-{seconds} seconds')");
        }
        // Written as they are, whose letter is the same in all.
        format!(
            "{column} <= replace(datetime('now', '-{seconds} seconds'), ' ', \
             coalesce(nullif(substr({column}, 11, 1), ''), 'T'))"
        )
    }

    fn is_finite(&self, _: &str) -> Option<String> {
        None
    }

    fn greatest(&self, column: &str, from: &str) -> Result<Option<Value>> {
        if matches!(self.of, FieldType::Timestamp | FieldType::TimestampTz) {
            self.check_forms(column, from)?;
        }
        Ok(match self.one(&format!("SELECT max({column}) {from}"))? {
            Stored::Null => None,
            Stored::Integer(value) => Some(Value::from(value)),
            Stored::Real(value) => Some(Value::from(value)),
            Stored::Text(value) => Some(Value::from(value)),
            Stored::Blob(_) => {
                let message = format!("`{}` holds bytes, which are no cursor", self.name);
                return Err(Error::new(ErrorKind::Corrupt, message));
            }
        })
    }
}
