//! What a table may leave undone without a word.

use gristmill_database::{Client, DatabaseError};

use crate::statements::Silent;

/// Triggers before a row, rules that do something instead, policies that hide rows, and other
/// servers; also those of partitions and of tables that inherit. A trigger that drops updates which
/// change nothing is there to be silent.
const SILENT: &str = "WITH RECURSIVE tree (part) AS (SELECT $1::oid UNION \
     SELECT inhrelid FROM pg_inherits JOIN tree ON inhparent = part), \
     found (inserts, updates, deletes, redundant) AS (\
     SELECT tgtype & 4 > 0, tgtype & 16 > 0, tgtype & 8 > 0, \
     tgfoid = 'pg_catalog.suppress_redundant_updates_trigger'::regproc \
     FROM pg_trigger JOIN tree ON tgrelid = part WHERE tgtype & 3 = 3 AND tgenabled <> 'D' \
     UNION ALL SELECT ev_type = '3', ev_type = '2', ev_type = '4', FALSE \
     FROM pg_rewrite JOIN tree ON ev_class = part WHERE is_instead AND ev_enabled <> 'D' \
     UNION ALL SELECT TRUE, TRUE, TRUE, FALSE FROM pg_class JOIN tree ON oid = part \
     WHERE relkind = 'f' OR row_security_active(oid)) \
     SELECT coalesce(bool_or(inserts), FALSE), \
     coalesce(bool_or(updates) AND NOT bool_or(redundant), FALSE), \
     coalesce(bool_or(deletes), FALSE) FROM found";

/// Looks it up.
pub(crate) fn silent(client: &Client, table: u32) -> Result<Silent, DatabaseError> {
    let row = client.row(SILENT, &[&table])?;
    Ok(Silent { inserts: row.get(0), updates: row.get(1), deletes: row.get(2) })
}
