//! What the server says of a table and its columns.

use gristmill_database::literal;
use gristmill_database::mysql::types::ColumnType;
use gristmill_database::mysql::{Client, DatabaseError};

use crate::server;

/// A column of the table, loaded or not.
pub(super) type Existing = server::Existing<ColumnType>;

/// The kind of a table, and its engine if that has no transactions.
pub(super) fn find(
    client: &Client,
    database: &str,
    name: &str,
) -> Result<Option<(String, String)>, DatabaseError> {
    let sql = format!(
        "SELECT t.table_type, CASE WHEN e.transactions = 'NO' THEN t.engine ELSE '' END \
         FROM information_schema.tables AS t \
         LEFT JOIN information_schema.engines AS e ON e.engine = t.engine \
         WHERE t.table_schema = {} AND t.table_name = {}",
        literal(database),
        literal(name)
    );
    let row = client.texts(&sql)?.into_iter().next();
    Ok(row.map(|row| {
        let mut values = row.into_iter().flatten();
        (values.next().unwrap_or_default(), values.next().unwrap_or_default())
    }))
}

/// Whether the table has triggers that see new rows, as far as they are shown.
pub(super) fn has_triggers(
    client: &Client,
    database: &str,
    name: &str,
) -> Result<bool, DatabaseError> {
    let sql = format!(
        "SELECT count(*) FROM information_schema.triggers WHERE event_manipulation = 'INSERT' \
         AND event_object_schema = {} AND event_object_table = {}",
        literal(database),
        literal(name)
    );
    Ok(client.numbers(&sql, &[])? != [[0]])
}

/// All columns of a table.
pub(super) fn existing_columns(
    client: &Client,
    database: &str,
    table: &str,
) -> Result<Vec<Existing>, DatabaseError> {
    let sql = format!(
        "SELECT column_name, data_type, column_type, coalesce(character_set_name, ''), \
         coalesce(collation_name, ''), coalesce(character_maximum_length, 0), \
         coalesce(datetime_precision, numeric_scale, 0), \
         CASE WHEN extra LIKE '%VIRTUAL GENERATED%' OR extra LIKE '%STORED GENERATED%' \
         THEN coalesce(generation_expression, '') END, \
         is_nullable = 'NO' AND column_default IS NULL AND extra NOT LIKE '%auto_increment%' \
         AND extra NOT LIKE '%GENERATED%' \
         FROM information_schema.columns WHERE table_schema = {} AND table_name = {} \
         ORDER BY ordinal_position",
        literal(database),
        literal(table)
    );
    let column = |row: Vec<Option<String>>| {
        let text = |i: usize| row[i].clone().unwrap_or_default();
        Existing {
            name: text(0),
            kind: ColumnType {
                base: text(1).to_ascii_lowercase(),
                name: text(2),
                charset: text(3),
                collation: text(4),
                length: text(5).parse().unwrap_or_default(),
                scale: text(6).parse().unwrap_or_default(),
            },
            generated: row[7].clone(),
            required: text(8) == "1",
            is_new: false,
        }
    };
    Ok(client.texts(&sql)?.into_iter().map(column).collect())
}
