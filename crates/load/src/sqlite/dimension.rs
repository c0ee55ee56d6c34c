//! Dimensions of type 2: what the table looks like, and what the statements of [`crate::scd2`] call
//! it.

use arrow_schema::{DataType, Schema};
use chrono::{DateTime, Utc};
use gristmill_core::{Error, ErrorKind, Result};
use rusqlite::{Connection, OptionalExtension};

use super::merge::sides;
use super::stage::Stage;
use super::target::{Column, Target};
use super::{quoted, refused};
use crate::merge::Plan;
use crate::scd2::{self, Missing, Times};
use crate::table::Options;

/// How the staged records of a dimension get in.
pub(crate) fn plan(
    connection: &Connection,
    target: &Target,
    options: &Options,
    stage: &Stage,
    started: DateTime<Utc>,
) -> Result<Plan> {
    let timed = target.time.is_some();
    let started = format!("'{}'", started.format(STARTED));
    let value = if timed { "s.at".to_owned() } else { started };
    // Before all times, in the form that they have.
    let some = match timed {
        true => format!("(SELECT min(at) FROM {})", stage.table),
        false => value.clone(),
    };
    let first = format!("'0001-01-01' || ifnull(substr({some}, 11), '')");
    let times = Times { value, kind: "TEXT".to_owned(), timed, first };
    let sides = sides(target, stage, options);
    scd2::plan(connection, sides, times, &target.attributes, stage.records.last as u64, options)
}

/// The form of a run's start; that of timestamps with microseconds.
const STARTED: &str = "%Y-%m-%dT%H:%M:%S%.6fZ";

/// The statement that creates a dimension, and those that add its indexes once rows are there.
pub(crate) fn create_statements(target: &Target, options: &Options) -> (String, Option<String>) {
    let kept = &options.version_columns;
    let is_time = |column: &&Column| options.is_time(&column.field);
    let time = match target.time.map(|i| &target.columns[i]) {
        Some(column) if column.declared == "DATE" => "DATE",
        _ => "TIMESTAMP",
    };
    let mut parts = vec![format!("{} INTEGER PRIMARY KEY", quoted(&options.surrogate()))];
    parts.extend(
        target
            .columns
            .iter()
            .filter(|column| !is_time(column))
            .map(|column| format!("{} {}", quoted(&column.name), column.declared)),
    );
    parts.push(format!("{} {time} NOT NULL", quoted(&kept.effective_date)));
    parts.push(format!("{} {time}", quoted(&kept.end_date)));
    parts.push(format!("{} BOOLEAN NOT NULL", quoted(&kept.is_current)));
    if options.missing == Missing::Mark {
        parts.push(format!("{} BOOLEAN NOT NULL DEFAULT 0", quoted(&kept.is_deleted)));
    }
    let table = quoted(&target.name);
    let version = format!(
        "CREATE UNIQUE INDEX {} ON {table} ({}, {});",
        quoted(&format!("{}_version", target.name)),
        keys(options),
        quoted(&kept.effective_date)
    );
    let create = format!("CREATE TABLE {table} ({});", parts.join(", "));
    (create, Some(format!("{} {version}", current_index(&target.name, options))))
}

/// The statement that makes sure that a key has one current row.
pub(crate) fn current_index(table: &str, options: &Options) -> String {
    format!(
        "CREATE UNIQUE INDEX {} ON {} ({}) WHERE {} = 1;",
        quoted(&format!("{table}_current")),
        quoted(table),
        keys(options),
        quoted(&options.version_columns.is_current)
    )
}

fn keys(options: &Options) -> String {
    let keys: Vec<String> = options.keys.iter().map(|key| quoted(key)).collect();
    keys.join(", ")
}

/// Refuses keys that the table would keep in another form than the records have.
pub(crate) fn check_keys(columns: &[Column], table: &str) -> Result<()> {
    match columns.iter().find(|column| column.key.is_some() && !column.kept) {
        Some(column) => Err(Error::new(
            ErrorKind::Schema,
            format!(
                "table `{table}` keeps the key `{}` as {}, and the records have another type",
                column.name, column.declared
            ),
        )
        .hint("`cast` it to the type of the table")),
        None => Ok(()),
    }
}

/// Refuses a table with times that do not sort among those of the records.
pub(crate) fn check_times(
    connection: &Connection,
    table: &str,
    options: &Options,
    schema: &Schema,
) -> Result<()> {
    let time = options.effective.as_ref().and_then(|name| schema.field_with_name(name).ok());
    let (form, length) = match time.map(|field| field.data_type()) {
        None => ("2025-12-31T23:59:59.000000Z", 27),
        Some(DataType::Date32) => ("2025-12-31", 10),
        Some(DataType::Timestamp(unit, zone)) => {
            let form = match unit {
                arrow_schema::TimeUnit::Second => "2025-12-31T23:59:59Z",
                arrow_schema::TimeUnit::Millisecond => "2025-12-31T23:59:59.000Z",
                arrow_schema::TimeUnit::Microsecond => "2025-12-31T23:59:59.000000Z",
                arrow_schema::TimeUnit::Nanosecond => "2025-12-31T23:59:59.000000000Z",
            };
            let form = if zone.is_some() { form } else { form.trim_end_matches('Z') };
            (form, form.len())
        }
        Some(_) => return Ok(()),
    };
    let column = quoted(&options.version_columns.effective_date);
    let sql = format!(
        "SELECT CAST({column} AS TEXT) FROM main.{} WHERE typeof({column}) <> 'text' \
         OR length({column}) <> ?1 OR substr({column}, 11, 1) NOT IN ('', 'T') LIMIT 1",
        quoted(table)
    );
    let other: Option<Option<String>> = connection
        .query_row(&sql, [length as i64], |row| row.get(0))
        .optional()
        .map_err(|e| refused(&format!("cannot read the table `{table}`"), e))?;
    let Some(other) = other else { return Ok(()) };
    Err(Error::new(
        ErrorKind::Schema,
        format!(
            "`{}` in column {column} of table `{table}` does not sort among times like `{form}`",
            other.as_deref().unwrap_or("null")
        ),
    )
    .hint("give `effective` a column of the type that the table has, or bring its times into that form"))
}
