//! The different values of a column, as a step that names them has them.

use std::fs;

use gristmill_core::{Error, ErrorKind, Result};
use serde_json::{Value, json};

use crate::execute::{Outcome, RunOptions, run_definition};
use crate::init::text;
use crate::quality::{definition, into_file, literal, source};
use crate::report::{Status, thousands};
use crate::scratch::Scratch;

/// So many values are listed, at most: a column of a record for each.
pub const MOST: usize = 1000;

/// The different values of a column of an input in their order, nulls aside. None where the run failed,
/// as the outcome says.
///
/// # Errors
/// When there is no such column, it has more than [`MOST`] values, or the input cannot be opened.
pub fn values(
    data: &str,
    column: &str,
    infer: bool,
    options: &RunOptions<'_>,
) -> Result<(Outcome, Option<Vec<Value>>)> {
    let scratch = Scratch::new()?;
    let file = scratch.path().join("values.ndjson");
    let name = column.replace('"', "\"\"");
    let steps = [
        json!({"filter": literal(&format!("\"{name}\" IS NOT NULL"))}),
        json!({"aggregate": {"by": [literal(column)]}}),
    ];
    let mut definition = definition("values", &source(data, infer)?, &steps)?;
    into_file(&mut definition, &file.to_string_lossy())?;
    let outcome = run_definition(&definition, options)?;
    if let Some(diagnostics) = &outcome.diagnostics {
        let mistake = diagnostics.items().first();
        let message = mistake.map(|it| it.message.clone()).unwrap_or_default();
        let hint = mistake.and_then(|it| it.hint.clone()).unwrap_or_default();
        return Err(Error::new(ErrorKind::Configuration, message).hint(hint));
    }
    if outcome.report.status != Status::Published {
        return Ok((outcome, None));
    }
    let lines = fs::read_to_string(&file)
        .map_err(|error| Error::io("cannot read the values again", error))?;
    let found = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let found = found.filter_map(|line| line.get(column).cloned());
    let found: Vec<Value> = found.collect();
    if found.len() > MOST {
        let (many, most) = (thousands(found.len() as u64), thousands(MOST as u64));
        let message =
            format!("`{column}` has {many} different values, and at most {most} are listed");
        return Err(Error::new(ErrorKind::Configuration, message)
            .hint("a column for each would be too many: keep them as records"));
    }
    Ok((outcome, Some(found)))
}

/// The values as `pivot` has them.
pub fn yaml(values: &[Value]) -> String {
    let values = values.iter().map(|value| match value {
        Value::String(value) => text(value),
        other => other.to_string(),
    });
    format!("values: [{}]\n", values.collect::<Vec<_>>().join(", "))
}
