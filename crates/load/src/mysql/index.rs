//! Unique indexes: which one says what a key is.

use gristmill_core::Result;
use gristmill_database::mysql::{Client, DatabaseError};
use gristmill_database::{literal, quoted};

use crate::fit::no_index;
use crate::server::{key_list, qualified};
use crate::table::{Mode, Options};

/// The columns of the unique index that a load goes by. `generated` tells the expression of a
/// generated column.
///
/// # Errors
/// When there is none; the hint is the statement that makes it.
pub(crate) fn key_columns(
    client: &Client,
    database: &str,
    table: &str,
    options: &Options,
    generated: impl Fn(&str) -> Option<String>,
    refused: impl Fn(DatabaseError) -> gristmill_core::Error,
) -> Result<Vec<String>> {
    let sql = format!(
        "SELECT index_name, column_name, sub_part IS NOT NULL FROM information_schema.statistics \
         WHERE table_schema = {} AND table_name = {} AND non_unique = 0 \
         ORDER BY index_name, seq_in_index",
        literal(database),
        literal(table)
    );
    let mut indexes: Vec<(String, Vec<String>)> = Vec::new();
    for row in client.texts(&sql).map_err(refused)? {
        let mut values = row.into_iter().map(Option::unwrap_or_default);
        let (index, column) = (values.next().unwrap_or_default(), values.next());
        // A part of a text, and an expression, are no column.
        let column = column.filter(|_| values.next().as_deref() == Some("0")).unwrap_or_default();
        match indexes.last_mut() {
            Some((last, columns)) if *last == index => columns.push(column),
            _ => indexes.push((index, vec![column])),
        }
    }
    let current = options.version_columns.is_current.to_lowercase();
    let names_current = |column: &String| {
        generated(column).is_some_and(|expression| expression.to_lowercase().contains(&current))
    };
    let is_key = |column: &String| options.keys.iter().any(|key| key.eq_ignore_ascii_case(column));
    let found = indexes.into_iter().find_map(|(_, mut columns)| {
        let all = columns.len();
        if options.mode == Mode::Scd2 {
            columns.retain(|column| !names_current(column));
        }
        let marked = (columns.len() < all) == (options.mode == Mode::Scd2);
        let fits = columns.len() == options.keys.len() && columns.iter().all(is_key);
        (marked && fits).then_some(columns)
    });
    found.ok_or_else(|| {
        let name = &options.table;
        let add = match options.mode {
            Mode::Scd2 => {
                let index = current_index(options).replacen("UNIQUE", "ADD UNIQUE", 2);
                format!("ADD COLUMN {}, {index}", marker(options))
            }
            _ => format!("ADD UNIQUE KEY ({})", key_list(options)),
        };
        let table = qualified(name);
        let run = format!("SET sql_mode = 'ANSI_QUOTES'; ALTER TABLE {table} {add};");
        no_index(name, options, &run)
    })
}

/// The column that makes sure that a key has one current row: it is null in all others, and nulls
/// are not equal in an index.
pub(crate) fn marker(options: &Options) -> String {
    let current = &options.version_columns.is_current;
    format!(
        "{} boolean GENERATED ALWAYS AS (CASE WHEN {} THEN 1 END) VIRTUAL INVISIBLE",
        quoted(&marker_name(options)),
        quoted(current)
    )
}

/// What the column of [`marker`] is called.
pub(crate) fn marker_name(options: &Options) -> String {
    format!("{}_or_null", options.version_columns.is_current)
}

/// Whether a generated column has the values of [`marker`], so that current rows are found by it.
pub(crate) fn is_marker(options: &Options, expression: &str) -> bool {
    let plain = |text: &str| text.to_lowercase().replace(['`', '"', '(', ')'], "");
    let marker = format!("case when {} then 1 end", options.version_columns.is_current);
    plain(expression) == plain(&marker)
}

/// The clauses that add the indexes of a dimension.
pub(crate) fn current_index(options: &Options) -> String {
    let keys = key_list(options);
    format!(
        "UNIQUE KEY \"current\" ({keys}, {}), UNIQUE KEY \"version\" ({keys}, {})",
        quoted(&marker_name(options)),
        quoted(&options.version_columns.effective_date)
    )
}
