//! Dimensions of type 2: what the statements of [`crate::scd2`] call the table's columns.

use chrono::{DateTime, Utc};
use gristmill_core::Result;
use gristmill_database::mysql::Client;
use gristmill_database::mysql::types::ColumnType;

use super::stage::Stage;
use super::target::Target;
use crate::merge::Plan;
use crate::scd2::{self, Times};
use crate::server::sides;
use crate::table::Options;

/// What a surrogate key is: a number that the load gives itself, and that rows added by hand get.
pub(crate) const SURROGATE: &str = "bigint NOT NULL AUTO_INCREMENT PRIMARY KEY";

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
        value: target.time_value.clone().unwrap_or_else(|| {
            // Cut off to what the column keeps: rounded up, it would be in the future.
            let text = started.format("%Y-%m-%d %H:%M:%S%.6f").to_string();
            let digits = target.time_type.as_ref().map_or(6, |kind| usize::from(kind.scale));
            let length = text.len() - 6 + digits - usize::from(digits == 0);
            format!("CAST('{}' AS {kind})", &text[..length])
        }),
        kind,
    };
    let sides = sides(target, stage, options);
    scd2::plan(client, sides, times, &target.attributes, stage.rows, options)
}
