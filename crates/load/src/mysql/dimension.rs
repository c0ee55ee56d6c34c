//! Dimensions of type 2: the columns that the load keeps, and what the statements of
//! [`crate::scd2`] call the table's.

use chrono::{DateTime, Utc};
use gristmill_core::{Error, Result};
use gristmill_database::mysql::Client;
use gristmill_database::mysql::types::ColumnType;
use gristmill_database::quoted;

use super::index::marker;
use super::sides;
use super::stage::Stage;
use super::target::Target;
use crate::merge::Plan;
use crate::scd2::{self, Missing, Times, check_kept, wrong_type};
use crate::table::Options;

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
    check_kept(table, options, |name| find(name).is_some())?;
    let columns = &options.version_columns;
    let of = |name: &String| find(name).ok_or_else(|| Error::internal("a kept column is missing"));
    let (from, till) = (of(&columns.effective_date)?, of(&columns.end_date)?);
    let wrong = |name: &str, is: &str, wants: &str| wrong_type(table, name, is, wants);
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
    let kind = target.time_type.as_ref().map_or_else(|| "DATETIME(6)".to_owned(), time_type);
    // The first time that the column holds.
    let first = match target.time_type.as_ref().map(|kind| kind.base.as_str()) {
        Some("timestamp") => "'1970-01-01 00:00:01'",
        Some("date") => "'0001-01-01'",
        _ => "'0001-01-01 00:00:00'",
    };
    let times = Times {
        timed: target.time.is_some(),
        first: first.to_owned(),
        value: target.time_value().unwrap_or_else(|| {
            // Cut off to what the column keeps: rounded up, it would be in the future.
            let text = started.format("%Y-%m-%d %H:%M:%S%.6f").to_string();
            let digits = target.time_type.as_ref().map_or(6, |kind| usize::from(kind.scale));
            let length = text.len() - 6 + digits - usize::from(digits == 0);
            format!("CAST('{}' AS {kind})", &text[..length])
        }),
        kind,
    };
    let sides = sides(target, stage, options);
    let records = stage.records.last as u64;
    scd2::plan(client, sides, times, &target.attributes, records, options)
}
