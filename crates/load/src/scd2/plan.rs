//! How the staged records of a dimension get in, on any database.

use gristmill_core::{Error, Result};
use gristmill_database::{literal, quoted};
use serde_json::Value;

use super::{Missing, Names, Scope};
use crate::database::Database;
use crate::dialect::Dialect;
use crate::merge::{Plan, cannot};
use crate::reading::{listed, misfit};
use crate::statements::{Sides, StagedValue};
use crate::table::Options;
use crate::versions::{Versions, highest};

/// From when on records hold, as SQL says it.
pub(crate) struct Times {
    /// A record's time: a value of the staging table `s`, or a literal.
    pub(crate) value: String,
    /// Its type.
    pub(crate) kind: String,
    /// Whether it comes from the records, so that a key may have several.
    pub(crate) timed: bool,
    /// When the unknown member begins to hold.
    pub(crate) first: String,
}

/// Adds the unknown member and judges the records. `attributes` are all columns of the table but
/// those that the load keeps.
pub(crate) fn plan<D: Database>(
    database: &D,
    sides: Sides,
    times: Times,
    attributes: &[String],
    records: u64,
    options: &Options,
) -> Result<Plan> {
    let first = times.first.clone();
    let partition: Vec<(String, StagedValue)> = match &options.scope {
        Scope::Full => Vec::new(),
        Scope::Partition(columns) => {
            let found = columns.iter().filter_map(|name| {
                let column = sides.columns.iter().find(|column| column.given == *name)?;
                Some((column.name.clone(), column.value.clone()))
            });
            found.collect()
        }
    };
    let names = Names::new(D::DIALECT, sides, times, attributes, records, options);
    let judged = || -> Result<Plan, D::Error> {
        let any = format!("SELECT EXISTS (SELECT 1 FROM {})", names.table);
        let is_empty = database.number(&any, &[])? == 0;
        let unknown = add_unknown(database, &names, &first, options)?;
        if is_empty && !names.timed {
            let highest = highest(database, &names.table, &names.surrogate)?;
            return Ok(Plan::Rows(names.first_load(highest)));
        }
        Versions::judge(database, &names, options.missing, &partition, unknown).map(Plan::Versions)
    };
    judged().map_err(|e| cannot::<D>(&options.table, e))
}

impl Names {
    fn new(
        dialect: Dialect,
        sides: Sides,
        times: Times,
        attributes: &[String],
        records: u64,
        options: &Options,
    ) -> Self {
        let kept = &options.version_columns;
        let Sides { table, staged, work, losers, columns, marker, silent } = sides;
        let written = columns.iter().filter(|column| !options.is_time(&column.given));
        let (mut all, mut tracked) = (Vec::new(), Vec::new());
        for column in written {
            let (name, value) = (column.name.clone(), column.value.clone());
            if options.tracks(&column.given) && column.key.is_none() {
                tracked.push((name.clone(), value.clone(), column.as_text));
            }
            all.push((name, value));
        }
        let keys = columns.iter().filter_map(|column| {
            Some((column.name.clone(), column.value.clone(), column.key.clone()?))
        });
        Self {
            dialect,
            keys: keys.collect(),
            columns: all,
            tracked,
            table,
            staged,
            work,
            losers,
            marker,
            silent,
            surrogate: quoted(&options.surrogate()),
            effective: quoted(&kept.effective_date),
            end: quoted(&kept.end_date),
            current: quoted(&kept.is_current),
            deleted: (options.missing == Missing::Mark).then(|| quoted(&kept.is_deleted)),
            attributes: attributes.iter().map(|name| quoted(name)).collect(),
            time: times.value,
            time_type: times.kind,
            timed: times.timed,
            records,
            asks_missing: options.missing != Missing::Keep,
        }
    }
}

/// Adds the row for unknown members unless it is there, and answers its surrogate key.
fn add_unknown<D: Database>(
    database: &D,
    names: &Names,
    first: &str,
    options: &Options,
) -> Result<Option<i64>, D::Error> {
    let Some(member) = &options.unknown_member else { return Ok(None) };
    let number = member.get(&options.surrogate()).and_then(Value::as_i64);
    let Some(number) = number else { return Ok(None) };
    let Names { dialect, table, surrogate, effective, current, deleted, .. } = names;
    let value = |value: &Value| match value {
        Value::Bool(truth) => dialect.truth(*truth).to_owned(),
        Value::Number(number) => number.to_string(),
        // It takes the type of its column.
        Value::String(text) => literal(text),
        _ => "NULL".to_owned(),
    };
    let mut columns: Vec<String> = member.keys().map(|name| quoted(name)).collect();
    let mut values: Vec<String> = member.values().map(value).collect();
    columns.extend([effective, current].map(String::clone).into_iter().chain(deleted.clone()));
    values.extend([first.to_owned(), dialect.truth(true).to_owned()]);
    values.extend(deleted.as_ref().map(|_| dialect.truth(false).to_owned()));
    database.batch(&format!(
        "INSERT INTO {table} ({}){} SELECT {}{} \
         WHERE NOT EXISTS (SELECT 1 FROM {table} WHERE {surrogate} = {number})",
        columns.join(", "),
        dialect.overriding(),
        values.join(", "),
        if *dialect == Dialect::MySql { " FROM DUAL" } else { "" },
    ))?;
    Ok(Some(number))
}

/// Refuses a table without the columns that the load keeps.
pub(crate) fn check_kept(
    table: &str,
    options: &Options,
    is_there: impl Fn(&str) -> bool,
) -> Result<()> {
    let lacking: Vec<String> = options.kept().into_iter().filter(|name| !is_there(name)).collect();
    if lacking.is_empty() {
        return Ok(());
    }
    Err(misfit(
        format!("table `{table}` has no {}, which scd2 keeps", listed(&lacking)),
        "say what the table calls it with `surrogate_key` and `version_columns`, or add it"
            .to_owned(),
    ))
}

/// That a column has another type than what the load keeps there.
pub(crate) fn wrong_type(table: &str, column: &str, is: &str, wants: &str) -> Error {
    misfit(
        format!("column `{column}` of table `{table}` is {is}, and scd2 keeps {wants} there"),
        "change its type, or name another column".to_owned(),
    )
}
