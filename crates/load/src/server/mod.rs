//! What PostgreSQL, MariaDB and MySQL have in common as destinations: tables whose columns have
//! types, and temporary ones in which records are staged for them.
//!
//! How a server is asked for its tables, how it takes rows, and what it does when it commits are
//! its own.

pub(crate) mod dimension;
mod stage;
mod target;

use gristmill_database::quoted;

use crate::statements::{MergeColumn, Sides};
use crate::table::Options;

pub(crate) use stage::Stage;
pub(crate) use target::{Column, Existing, Kind, Target, create_columns, find_column, missing};

/// The table and the staged records as merges want them.
pub(crate) fn sides<K, F, W>(target: &Target<K, F>, stage: &Stage<W>, options: &Options) -> Sides {
    let columns = target.merged().map(|(i, column)| MergeColumn {
        name: quoted(&column.name),
        field: column.name.clone(),
        given: column.field.clone(),
        value: column.value(i),
        key: column.is_key.then(String::new),
        as_text: column.as_text,
        is_part: options.partition_by.contains(&column.field),
    });
    Sides {
        table: target.table.clone(),
        staged: stage.table.clone(),
        work: stage.work.clone(),
        losers: stage.losers().map(str::to_owned),
        columns: columns.collect(),
        marker: target.marker.as_deref().map(quoted),
        silent: target.silent,
    }
}

/// The columns of a key as SQL lists them.
pub(crate) fn key_list(options: &Options) -> String {
    let keys: Vec<String> = options.keys.iter().map(|key| quoted(key)).collect();
    keys.join(", ")
}

/// A table's name, perhaps with its schema or database, as SQL writes it.
pub(crate) fn qualified(name: &str) -> String {
    let parts: Vec<String> = name.splitn(2, '.').map(quoted).collect();
    parts.join(".")
}
