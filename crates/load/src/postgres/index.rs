//! Unique indexes: which one says what a key is.

use gristmill_core::Result;
use gristmill_database::{Client, DatabaseError, quoted};

use crate::fit::no_index;
use crate::server::{key_list, qualified};
use crate::table::{Mode, Options};

/// The columns of the unique index that a load goes by.
///
/// # Errors
/// When there is none; the hint is the statement that makes it.
pub(crate) fn key_columns(
    client: &Client,
    table: u32,
    name: &str,
    options: &Options,
    refused: impl Fn(DatabaseError) -> gristmill_core::Error,
) -> Result<Vec<String>> {
    let rows = client
        .query(
            "SELECT (SELECT array_agg(a.attname::text ORDER BY k.n) FROM unnest(i.indkey::int2[]) \
                 WITH ORDINALITY AS k(attnum, n) JOIN pg_attribute AS a \
                 ON a.attrelid = i.indrelid AND a.attnum = k.attnum WHERE k.n <= i.indnkeyatts), \
             pg_get_expr(i.indpred, i.indrelid) \
             FROM pg_index AS i WHERE i.indrelid = $1 AND i.indisunique AND i.indisvalid \
             AND i.indexprs IS NULL",
            &[&table],
        )
        .map_err(refused)?;
    let current = &options.version_columns.is_current;
    let found = rows.iter().find_map(|row| {
        let columns: Option<Vec<String>> = row.get(0);
        let condition: Option<String> = row.get(1);
        let applies = match (&condition, options.mode) {
            (Some(condition), Mode::Scd2) => {
                condition.to_lowercase().contains(&current.to_lowercase())
            }
            (None, Mode::Scd2) | (Some(_), _) => false,
            (None, _) => true,
        };
        let columns = columns.unwrap_or_default();
        let fits = applies
            && columns.len() == options.keys.len()
            && columns
                .iter()
                .all(|column| options.keys.iter().any(|key| key.eq_ignore_ascii_case(column)));
        fits.then_some(columns)
    });
    found.ok_or_else(|| {
        let create = match options.mode {
            Mode::Scd2 => current_index(name, options),
            _ => format!(
                "CREATE UNIQUE INDEX {} ON {} ({});",
                index_name(name, "key"),
                qualified(name),
                key_list(options)
            ),
        };
        no_index(name, options, &create)
    })
}

/// The statement that makes sure that a key has one current row.
pub(crate) fn current_index(table: &str, options: &Options) -> String {
    format!(
        "CREATE UNIQUE INDEX {} ON {} ({}) WHERE {};",
        index_name(table, "current"),
        qualified(table),
        key_list(options),
        quoted(&options.version_columns.is_current)
    )
}

/// The name of an index, as SQL writes it; it is in the schema of its table.
pub(crate) fn index_name(table: &str, what: &str) -> String {
    let (_, table) = table.split_once('.').unwrap_or(("", table));
    quoted(&format!("{table}_{what}"))
}
