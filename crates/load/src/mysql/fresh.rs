//! Tables that a load creates. A table cannot be created in a transaction here, so it is made under
//! a hidden name and gets its own once its rows are committed.
//!
//! A run that dies in between leaves a hidden table behind. The next one that loads the table, and
//! so has its lock, finds it by its comment: with committed rows it gets its name after all, and
//! without it goes.

use gristmill_core::{Error, Result};
use gristmill_database::literal;
use gristmill_database::mysql::{Client, DatabaseError, is_missing};
use gristmill_database::quoted;
use serde::{Deserialize, Serialize};

use super::loads;

const PREFIX: &str = "gristmill_new_";

/// A hidden table, and the name that it is to get; both as SQL writes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fresh {
    pub(crate) hidden: String,
    pub(crate) table: String,
}

/// What a hidden table's comment says.
#[derive(Serialize, Deserialize)]
struct Comment {
    run: String,
    table: String,
}

/// A name for a hidden table, and the comment that it needs.
pub(crate) fn name(client: &Client, number: u64) -> Result<String, DatabaseError> {
    let id = client.texts("SELECT concat(connection_id(), '_', uuid_short())")?;
    let id = id.into_iter().flatten().flatten().next().unwrap_or_default();
    Ok(format!("{PREFIX}{id}_{number}"))
}

pub(crate) fn comment(run: &str, table: &str) -> String {
    let comment = Comment { run: run.to_owned(), table: table.to_owned() };
    literal(&serde_json::to_string(&comment).unwrap_or_default())
}

/// Gives hidden tables whose rows are committed their names, all at once.
pub(crate) fn show(client: &Client, tables: &[Fresh]) -> Result<(), DatabaseError> {
    if tables.is_empty() {
        return Ok(());
    }
    let name = |fresh: &Fresh| format!("{} TO {}", fresh.hidden, fresh.table);
    let names: Vec<String> = tables.iter().map(name).collect();
    client.batch(&format!("RENAME TABLE {}", names.join(", ")))?;
    for Fresh { table, .. } in tables {
        let _ = client.batch(&format!("ALTER TABLE {table} COMMENT = ''")); // it does no harm
    }
    Ok(())
}

/// Those of hidden tables that are still there.
pub(crate) fn left(client: &Client, tables: &[Fresh]) -> Result<Vec<Fresh>, DatabaseError> {
    let mut left = Vec::new();
    for fresh in tables {
        let there = client.texts(&format!("SELECT 1 FROM {} LIMIT 0", fresh.hidden));
        match there {
            Ok(_) => left.push(fresh.clone()),
            Err(error) if is_missing(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(left)
}

/// Takes hidden tables out that nobody will see.
pub(crate) fn drop(client: &Client, tables: &[Fresh]) {
    for Fresh { hidden, .. } in tables {
        // The next run that loads the table finds it otherwise.
        let _ = client.batch(&format!("DROP TABLE IF EXISTS {hidden}"));
    }
}

/// Sees to what a dead run left of a table whose lock is ours.
pub(crate) fn recover(
    client: &Client,
    schema: &str,
    table: &str,
    name: &str,
    refused: impl Fn(DatabaseError) -> Error + Copy,
) -> Result<()> {
    let sql = format!(
        "SELECT table_name, table_comment FROM information_schema.tables \
         WHERE table_schema = {} AND table_name LIKE '{PREFIX}%'",
        literal(schema)
    );
    for row in client.texts(&sql).map_err(refused)? {
        let [Some(hidden), Some(comment)] = row.as_slice() else { continue };
        let Ok(comment) = serde_json::from_str::<Comment>(comment) else { continue };
        if comment.table != name {
            continue;
        }
        let fresh = Fresh {
            hidden: format!("{}.{}", quoted(schema), quoted(hidden)),
            table: format!("{}.{}", quoted(schema), quoted(table)),
        };
        match loads::has(client, &comment.run, &[name.to_owned()]).map_err(refused)? {
            true => show(client, &[fresh]).map_err(refused)?,
            false => drop(client, &[fresh]),
        }
    }
    Ok(())
}
