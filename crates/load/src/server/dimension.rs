//! Dimensions of type 2: the columns that the load keeps.

use gristmill_core::{Error, Result};
use gristmill_database::quoted;

use super::Kind;
use crate::scd2::{Missing, check_kept, wrong_type};
use crate::table::Options;

/// Adds the columns that the load keeps to those of a table that is created; its surrogate keys are
/// numbers that the load gives itself, and that rows added by hand get.
pub(crate) fn add_columns(
    columns: &mut Vec<String>,
    options: &Options,
    surrogate: &str,
    time: &str,
) {
    let kept = &options.version_columns;
    columns.insert(0, format!("{} {surrogate}", quoted(&options.surrogate())));
    columns.push(format!("{} {time} NOT NULL", quoted(&kept.effective_date)));
    columns.push(format!("{} {time}", quoted(&kept.end_date)));
    columns.push(format!("{} boolean NOT NULL", quoted(&kept.is_current)));
    if options.missing == Missing::Mark {
        columns.push(format!("{} boolean NOT NULL DEFAULT FALSE", quoted(&kept.is_deleted)));
    }
}

/// Refuses a table without the columns that the load keeps, or with others than it can keep, and
/// answers the type of its times.
pub(crate) fn check_columns<K: Kind>(
    options: &Options,
    find: impl Fn(&str) -> Option<K>,
) -> Result<K> {
    let (table, columns) = (&options.table, &options.version_columns);
    check_kept(table, options, |name| find(name).is_some())?;
    let of = |name: &str| find(name).ok_or_else(|| Error::internal("a kept column is missing"));
    let check = |name: &str, fits: fn(&K) -> bool, wants: &str| match of(name)? {
        kind if fits(&kind) => Ok(kind),
        kind => Err(wrong_type(table, name, kind.name(), wants)),
    };
    check(&options.surrogate(), K::is_integer, "whole numbers")?;
    check(&columns.is_current, K::is_truth, "truth values")?;
    if options.missing == Missing::Mark {
        check(&columns.is_deleted, K::is_truth, "truth values")?;
    }
    let from = check(&columns.effective_date, K::is_time, "dates or timestamps")?;
    let till = of(&columns.end_date)?;
    if !till.is_same_time(&from) {
        let wants = format!("values of type {}", from.name());
        return Err(wrong_type(table, &columns.end_date, till.name(), &wants));
    }
    Ok(from)
}
