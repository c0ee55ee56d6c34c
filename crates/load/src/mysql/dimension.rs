//! Dimensions of type 2: the columns that the load keeps, and what the statements of
//! [`crate::scd2`] call the table's.

use chrono::{DateTime, Utc};
use gristmill_core::Result;
use gristmill_database::mysql::types::ColumnType;
use gristmill_database::mysql::{Client, DatabaseError, error_of};
use gristmill_database::{literal, quoted};

use super::index::marker;
use super::misfit;
use super::stage::Stage;
use super::target::{Column, Target};
use crate::database::Database;
use crate::dialect::Dialect;
use crate::merge::Plan;
use crate::reading::listed;
use crate::scd2::{Missing, Names, Scope};
use crate::table::Options;
use crate::versions::{Versions, highest};

/// Adds the columns that the load keeps to those of a table that is created. Surrogate keys are
/// numbers that the load gives itself, and that rows added by hand get.
pub(crate) fn add_columns(columns: &mut Vec<String>, options: &Options, time: &str) {
    let kept = &options.version_columns;
    let surrogate = quoted(&options.surrogate());
    columns.insert(0, format!("{surrogate} bigint NOT NULL AUTO_INCREMENT PRIMARY KEY"));
    columns.push(format!("{} {time} NOT NULL", quoted(&kept.effective_date)));
    columns.push(format!("{} {time}", quoted(&kept.end_date)));
    columns.push(format!("{} boolean NOT NULL", quoted(&kept.is_current)));
    if options.missing == Missing::Mark {
        columns.push(format!("{} boolean NOT NULL DEFAULT FALSE", quoted(&kept.is_deleted)));
    }
    columns.push(marker(options));
}

/// Refuses a table without the columns that the load keeps, or with others than it can keep, and
/// answers the type of its times.
pub(crate) fn check_columns(
    table: &str,
    options: &Options,
    find: impl Fn(&str) -> Option<ColumnType>,
) -> Result<ColumnType> {
    let lacks = |name: &String| find(name).is_none();
    let lacking: Vec<String> = options.kept().into_iter().filter(lacks).collect();
    let columns = &options.version_columns;
    let Some((from, till)) =
        find(&columns.effective_date).zip(find(&columns.end_date)).filter(|_| lacking.is_empty())
    else {
        return Err(misfit(
            format!("table `{table}` has no {}, which scd2 keeps", listed(lacking)),
            "say what the table calls it with `surrogate_key` and `version_columns`, or add it"
                .to_owned(),
        ));
    };
    let wrong = |name: &str, is: &str, wants: &str| {
        misfit(
            format!("column `{name}` of table `{table}` is {is}, and scd2 keeps {wants} there"),
            "change its type, or name another column".to_owned(),
        )
    };
    let check = |name: &String, bases: &[&str], wants: &str| match find(name) {
        Some(kind) if !bases.contains(&kind.base.as_str()) => Err(wrong(name, &kind.name, wants)),
        _ => Ok(()),
    };
    check(&options.surrogate(), &["smallint", "mediumint", "int", "bigint"], "whole numbers")?;
    check(&columns.is_current, &["tinyint", "bit"], "truth values")?;
    if options.missing == Missing::Mark {
        check(&columns.is_deleted, &["tinyint", "bit"], "truth values")?;
    }
    let times = ["date", "datetime", "timestamp"];
    check(&columns.effective_date, &times, "dates or timestamps")?;
    if (&till.base, till.scale) != (&from.base, from.scale) {
        let wants = format!("values of type {}", from.name);
        return Err(wrong(&columns.end_date, &till.name, &wants));
    }
    Ok(from)
}

/// The type of times in the tables of a load.
pub(crate) fn time_type(kind: &ColumnType) -> String {
    match kind.base.as_str() {
        "date" => "DATE".to_owned(),
        _ => format!("DATETIME({})", kind.scale),
    }
}

/// How the staged records of a dimension get in.
pub(crate) fn plan(
    client: &Client,
    target: &Target,
    options: &Options,
    stage: &Stage,
    started: DateTime<Utc>,
) -> Result<Plan> {
    let names = names(target, options, stage, started);
    let refused = |e| error_of(&format!("cannot load table `{}`", target.name), e);
    let any = format!("SELECT EXISTS (SELECT 1 FROM {})", names.table);
    let is_empty = client.number(&any, &[]).map_err(refused)? == 0;
    let unknown = add_unknown(client, target, &names, options).map_err(refused)?;
    if is_empty && !names.timed {
        let highest = highest(client, &names.table, &names.surrogate).map_err(refused)?;
        return Ok(Plan::Rows(names.first_load(highest)));
    }
    let partition = match &options.scope {
        Scope::Full => Vec::new(),
        Scope::Partition(columns) => columns
            .iter()
            .filter_map(|column| {
                let i = target.columns.iter().position(|c| c.field == *column)?;
                Some((quoted(&target.columns[i].name), format!("c{i}")))
            })
            .collect(),
    };
    Versions::judge(client, &names, options.missing, &partition, unknown)
        .map(Plan::Versions)
        .map_err(refused)
}

fn names(target: &Target, options: &Options, stage: &Stage, started: DateTime<Utc>) -> Names {
    let kept = &options.version_columns;
    // Statements put the alias of the staging table before it; a collation goes behind.
    let staged = |column: &Column, i: usize| column.value(i)["s.".len()..].to_owned();
    let columns: Vec<(&Column, String)> =
        target.columns.iter().enumerate().map(|(i, column)| (column, staged(column, i))).collect();
    let pair = |(column, staged): &(&Column, String)| (quoted(&column.name), staged.clone());
    let written = |column: &Column| !options.is_time(&column.field);
    let tracks = |column: &Column| options.tracks(&column.field) && !column.is_key;
    let time_type = target.time_type.as_ref().map_or_else(|| "DATETIME(6)".to_owned(), time_type);
    Names {
        dialect: Dialect::MySql,
        table: target.table.clone(),
        staged: stage.table.clone(),
        work: stage.work.clone(),
        surrogate: quoted(&options.surrogate()),
        effective: quoted(&kept.effective_date),
        end: quoted(&kept.end_date),
        current: quoted(&kept.is_current),
        deleted: (options.missing == Missing::Mark).then(|| quoted(&kept.is_deleted)),
        columns: columns.iter().filter(|(column, _)| written(column)).map(pair).collect(),
        attributes: target.attributes.iter().map(|name| quoted(name)).collect(),
        keys: columns
            .iter()
            .filter(|(column, _)| column.is_key)
            .map(|(column, staged)| (quoted(&column.name), staged.clone(), String::new()))
            .collect(),
        tracked: columns
            .iter()
            .filter(|(column, _)| tracks(column) && written(column))
            .map(pair)
            .collect(),
        time: target.time_value().unwrap_or_else(|| {
            // Cut off to what the column keeps: rounded up, it would be in the future.
            let text = started.format("%Y-%m-%d %H:%M:%S%.6f").to_string();
            let digits = target.time_type.as_ref().map_or(6, |kind| usize::from(kind.scale));
            let length = text.len() - 6 + digits - usize::from(digits == 0);
            format!("CAST('{}' AS {time_type})", &text[..length])
        }),
        time_type: time_type.clone(),
        timed: target.time.is_some(),
        records: stage.records.last as u64,
        losers: stage.losers().map(str::to_owned),
        asks_missing: options.missing != Missing::Keep,
    }
}

/// Adds the row for unknown members unless it is there, and answers its surrogate key.
fn add_unknown(
    client: &Client,
    target: &Target,
    names: &Names,
    options: &Options,
) -> Result<Option<i64>, DatabaseError> {
    let surrogate = options.surrogate();
    let Some(member) = &options.unknown_member else { return Ok(None) };
    let Some(number) = member.get(&surrogate).and_then(serde_json::Value::as_i64) else {
        return Ok(None);
    };
    let Names { table, surrogate, effective, current, .. } = names;
    // The first time that the column holds.
    let first = match target.time_type.as_ref().map(|kind| kind.base.as_str()) {
        Some("timestamp") => "'1970-01-01 00:00:01'",
        Some("date") => "'0001-01-01'",
        _ => "'0001-01-01 00:00:00'",
    };
    let mut columns: Vec<String> = member.keys().map(|name| quoted(name)).collect();
    let mut values: Vec<String> = member.values().map(value).collect();
    columns.extend([effective.clone(), current.clone()]);
    values.extend([first.to_owned(), "TRUE".to_owned()]);
    if let Some(deleted) = &names.deleted {
        columns.push(deleted.clone());
        values.push("FALSE".to_owned());
    }
    client.batch(&format!(
        "INSERT INTO {table} ({}) SELECT {} FROM DUAL \
         WHERE NOT EXISTS (SELECT 1 FROM {table} WHERE {surrogate} = {number})",
        columns.join(", "),
        values.join(", "),
    ))?;
    Ok(Some(number))
}

/// A value of the pipeline file as SQL writes it.
fn value(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Bool(true) => "TRUE".to_owned(),
        serde_json::Value::Bool(false) => "FALSE".to_owned(),
        serde_json::Value::Number(number) => number.to_string(),
        serde_json::Value::String(text) => literal(text),
        _ => "NULL".to_owned(),
    }
}
