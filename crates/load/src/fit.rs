//! Whether a table and the records of a load fit each other, in words that all databases share.

use arrow_schema::Field;
use gristmill_core::{Error, ErrorKind, Result};

use crate::reading::{listed, misfit};
use crate::table::{Mode, Options};

/// What is asked of a column of a table, loaded or not.
pub(crate) trait TableColumn {
    fn name(&self) -> &str;
    /// Whether its values come from others of the row.
    fn is_generated(&self) -> bool;
    /// Whether a new row must have a value for it.
    fn is_required(&self) -> bool;
}

/// That there is no table, and none is to be created.
pub(crate) fn no_table(options: &Options, create: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no table `{}`", options.table))
        .hint(format!("leave out `create: never`, or run: {create}"))
}

pub(crate) fn is_view(table: &str) -> Error {
    let message = format!("`{table}` is a view, and cannot be loaded");
    Error::new(ErrorKind::Destination, message).hint("load one of the tables that it shows")
}

/// That the table lacks columns of the records, and what is run to add them.
pub(crate) fn no_columns(table: &str, missing: &[&Field], run: &str) -> Error {
    misfit(
        format!(
            "table `{table}` has no column{} {}",
            if missing.len() == 1 { "" } else { "s" },
            listed(missing.iter().map(|field| field.name()))
        ),
        format!(
            "drop them from the records, add them with `schema_changes: add_columns`, or run: {run}"
        ),
    )
}

/// That no unique index says what a key is, and what is run to have one.
pub(crate) fn no_index(table: &str, options: &Options, run: &str) -> Error {
    let has = if options.mode == Mode::Scd2 { ": the current rows have" } else { " has" };
    misfit(
        format!("table `{table}`{has} no unique index on {}", listed(&options.keys)),
        format!("run: {run}"),
    )
}

/// Refuses to load a column that the table makes itself.
pub(crate) fn check_given(table: &str, column: &impl TableColumn) -> Result<()> {
    if !column.is_generated() {
        return Ok(());
    }
    Err(misfit(
        format!("column `{}` of table `{table}` is generated", column.name()),
        "drop the column from the records".to_owned(),
    ))
}

/// Refuses a table that requires what the records do not have; answers its columns but those that
/// the load keeps.
pub(crate) fn attributes<C: TableColumn>(
    table: &str,
    existing: &[C],
    options: &Options,
    is_given: impl Fn(&str) -> bool,
) -> Result<Vec<String>> {
    let kept = if options.mode == Mode::Scd2 { options.kept() } else { Vec::new() };
    let is_kept = |column: &&C| kept.iter().any(|kept| kept.eq_ignore_ascii_case(column.name()));
    let others = || existing.iter().filter(|column| !is_kept(column));
    let is_lacking = |column: &&C| column.is_required() && !is_given(column.name());
    let lacking: Vec<&str> = others().filter(is_lacking).map(C::name).collect();
    if !lacking.is_empty() && !options.mode.finds_rows() {
        return Err(misfit(
            format!("table `{table}` requires {}, which the records do not have", listed(lacking)),
            "derive them, or give them a default in the table".to_owned(),
        ));
    }
    Ok(others().filter(|column| !column.is_generated()).map(|it| it.name().to_owned()).collect())
}
