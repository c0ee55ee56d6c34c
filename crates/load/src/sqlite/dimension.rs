//! Dimensions of type 2: what the table looks like, and what the statements of [`crate::scd2`] call
//! it.

use arrow_schema::{DataType, Schema};
use chrono::{DateTime, Utc};
use gristmill_core::{Error, ErrorKind, Result};
use rusqlite::types::{ToSqlOutput, Value};
use rusqlite::{Connection, OptionalExtension, params_from_iter};

use super::stage::Stage;
use super::target::{Column, Target};
use super::{quoted, refused};
use crate::dialect::Dialect;
use crate::reading::listed;
use crate::scd2::{Missing, Names, Scope};
use crate::table::Options;
use crate::versions::Versions;

/// Judges the staged records of a dimension.
pub(crate) fn judge(
    connection: &Connection,
    target: &Target,
    options: &Options,
    stage: &Stage,
    started: DateTime<Utc>,
) -> Result<Versions> {
    let names = names(target, options, stage, started);
    let partition = match &options.scope {
        Scope::Full => Vec::new(),
        Scope::Partition(columns) => columns
            .iter()
            .filter_map(|column| {
                let name_of = |c: &Column| c.name.eq_ignore_ascii_case(column);
                let i = target.columns.iter().position(name_of)?;
                Some((quoted(&target.columns[i].name), format!("c{i}")))
            })
            .collect(),
    };
    add_unknown(connection, &names, options)
        .and_then(|unknown| {
            Versions::judge(connection, &names, options.missing, &partition, unknown)
        })
        .map_err(|e| refused(&format!("cannot load table `{}`", target.name), e))
}

fn names(target: &Target, options: &Options, stage: &Stage, started: DateTime<Utc>) -> Names {
    let kept = &options.version_columns;
    let columns: Vec<(&Column, String)> =
        target.columns.iter().zip(0..).map(|(column, i)| (column, format!("c{i}"))).collect();
    let pair = |(column, staged): &(&Column, String)| (quoted(&column.name), staged.clone());
    let tracks = |column: &Column| {
        // Options name columns as the records do.
        options.tracks(&column.field) && column.key.is_none()
    };
    Names {
        dialect: Dialect::Sqlite,
        table: format!("main.{}", quoted(&target.name)),
        staged: stage.table.clone(),
        work: format!("temp.gristmill_{}_", stage.number()),
        surrogate: quoted(&options.surrogate()),
        effective: quoted(&kept.effective_date),
        end: quoted(&kept.end_date),
        current: quoted(&kept.is_current),
        deleted: (options.missing == Missing::Mark).then(|| quoted(&kept.is_deleted)),
        columns: columns
            .iter()
            .filter(|(column, _)| !options.is_time(&column.field))
            .map(pair)
            .collect(),
        attributes: target.attributes.iter().map(|name| quoted(name)).collect(),
        keys: columns
            .iter()
            .filter_map(|(column, staged)| {
                let collation = column.key.as_ref()?;
                Some((quoted(&column.name), staged.clone(), quoted(collation)))
            })
            .collect(),
        tracked: columns
            .iter()
            .filter(|(column, _)| tracks(column) && !options.is_time(&column.field))
            .map(pair)
            .collect(),
        time: if target.time.is_some() {
            "s.at".to_owned()
        } else {
            format!("'{}'", started.format(STARTED))
        },
        time_type: "TEXT".to_owned(),
        timed: target.time.is_some(),
        records: stage.last,
        losers: stage.has_losers.then(|| format!("temp.{}", stage.losers())),
        asks_missing: options.missing != Missing::Keep,
    }
}

/// The form of a run's start; that of timestamps with microseconds.
const STARTED: &str = "%Y-%m-%dT%H:%M:%S%.6fZ";

/// Adds the row for unknown members unless it is there, and answers its surrogate key.
fn add_unknown(
    connection: &Connection,
    names: &Names,
    options: &Options,
) -> rusqlite::Result<Option<i64>> {
    let surrogate = options.surrogate();
    let Some(member) = &options.unknown_member else { return Ok(None) };
    let Some(number) = member.get(&surrogate).and_then(serde_json::Value::as_i64) else {
        return Ok(None);
    };
    let mut columns: Vec<String> = member.keys().map(|name| quoted(name)).collect();
    let values: Vec<ToSqlOutput<'_>> = member.values().map(bound).collect();
    let places: Vec<String> = (1..=values.len()).map(|i| format!("?{i}")).collect();
    columns.extend([&names.effective, &names.current].map(String::clone));
    columns.extend(names.deleted.clone());
    let Names { table, surrogate, staged, time, .. } = names;
    // Before all times, in the form that they have.
    let time = if names.timed { format!("(SELECT min(at) FROM {staged})") } else { time.clone() };
    let first = format!("'0001-01-01' || ifnull(substr({time}, 11), '')");
    let deleted = if names.deleted.is_some() { ", 0" } else { "" };
    let sql = format!(
        "INSERT INTO {table} ({}) SELECT {}, {first}, 1{deleted} \
         WHERE NOT EXISTS (SELECT 1 FROM {table} WHERE {surrogate} = {number})",
        columns.join(", "),
        places.join(", ")
    );
    let mut statement = connection.prepare(&sql)?;
    statement.execute(params_from_iter(values))?;
    Ok(Some(number))
}

fn bound(value: &serde_json::Value) -> ToSqlOutput<'_> {
    ToSqlOutput::Owned(match value {
        serde_json::Value::Bool(value) => Value::Integer(i64::from(*value)),
        serde_json::Value::Number(number) => match number.as_i64() {
            Some(number) => Value::Integer(number),
            None => Value::Real(number.as_f64().unwrap_or_default()),
        },
        serde_json::Value::String(text) => Value::Text(text.clone()),
        _ => Value::Null,
    })
}

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

/// Refuses a table without the columns that the load keeps.
pub(crate) fn check_columns(table: &str, there: &[&str], options: &Options) -> Result<()> {
    let lacks = |name: &String| !there.iter().any(|column| column.eq_ignore_ascii_case(name));
    let lacking: Vec<String> = options.kept().into_iter().filter(lacks).collect();
    if lacking.is_empty() {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Schema,
        format!("table `{table}` has no {}, which scd2 keeps", listed(&lacking)),
    )
    .hint("say what the table calls it with `surrogate_key` and `version_columns`, or add it"))
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
