//! How staged records get into the target: the statements, and the way past them.

use gristmill_core::{Error, Result};
use rusqlite::{Connection, ErrorCode, params_from_iter};

use super::stage::Stage;
use super::target::Target;
use super::{quoted, refused};
use crate::database::Database;
use crate::dialect::Dialect;
use crate::merge::undo;
use crate::statements::{MergeColumn, Sides, StagedValue};
use crate::table::Options;

impl Database for Connection {
    type Error = rusqlite::Error;

    const DIALECT: Dialect = Dialect::Sqlite;

    fn batch(&self, sql: &str) -> rusqlite::Result<()> {
        self.execute_batch(sql)
    }

    fn execute(&self, sql: &str, parameters: &[Option<i64>]) -> rusqlite::Result<u64> {
        Ok(self.prepare_cached(sql)?.execute(params_from_iter(parameters))? as u64)
    }

    fn numbers(&self, sql: &str, parameters: &[Option<i64>]) -> rusqlite::Result<Vec<Vec<i64>>> {
        let mut statement = self.prepare_cached(sql)?;
        let columns = statement.column_count();
        let number = |row: &rusqlite::Row<'_>, i| row.get::<_, Option<i64>>(i);
        let rows = statement.query_map(params_from_iter(parameters), |row| {
            (0..columns).map(|i| Ok(number(row, i)?.unwrap_or_default())).collect()
        })?;
        rows.collect()
    }

    fn texts(&self, sql: &str) -> rusqlite::Result<Vec<Vec<Option<String>>>> {
        let mut statement = self.prepare(sql)?;
        let columns = statement.column_count();
        let rows = statement.query_map([], |row| (0..columns).map(|i| row.get(i)).collect())?;
        rows.collect()
    }

    fn is_in_transaction(&self) -> bool {
        !self.is_autocommit()
    }

    fn refusal(error: &rusqlite::Error) -> Option<String> {
        let refuses = matches!(
            error.sqlite_error_code(),
            Some(ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig)
        );
        refuses.then(|| match error {
            rusqlite::Error::SqliteFailure(_, Some(message)) => message.clone(),
            error => error.to_string(),
        })
    }

    fn refused(what: &str, error: rusqlite::Error) -> Error {
        refused(what, error)
    }
}

/// The table and the staged records as merges want them.
pub(crate) fn sides(target: &Target, stage: &Stage, options: &Options) -> Sides {
    let columns = target.columns.iter().enumerate().map(|(i, column)| MergeColumn {
        name: quoted(&column.name),
        field: column.name.clone(),
        given: column.field.clone(),
        value: StagedValue::plain(i),
        key: column.key.as_deref().map(quoted),
        as_text: false,
        is_part: options.partition_by.contains(&column.field),
    });
    Sides {
        table: format!("main.{}", quoted(&target.name)),
        staged: stage.table.clone(),
        work: format!("temp.gristmill_{}_", stage.number()),
        losers: stage.records.has_losers().then(|| format!("temp.{}", stage.losers())),
        columns: columns.collect(),
        marker: None,
        silent: target.silent,
    }
}

/// Copies all staged rows as they are, where SQLite does that; answers whether it did.
pub(crate) fn copy(connection: &Connection, target: &Target, stage: &Stage) -> Result<bool> {
    let cannot = |e| refused(&format!("cannot load table `{}`", target.name), e);
    let sql = format!("INSERT INTO main.{} SELECT * FROM {}", quoted(&target.name), stage.table);
    if target.order.is_none()
        || stage.records.has_losers()
        || !copies_rows(connection, &sql).map_err(cannot)?
    {
        return Ok(false);
    }
    let copied = connection
        .execute_batch("SAVEPOINT gristmill")
        .and_then(|()| Database::execute(connection, &sql, &[]))
        .and_then(|rows| connection.execute_batch("RELEASE gristmill").map(|()| rows));
    match copied {
        Ok(rows) if rows == stage.records.last as u64 => Ok(true),
        Ok(_) => Err(Error::internal("staged rows are missing")),
        // It may have rolled back more than this: a full disk does.
        Err(error) if Connection::refusal(&error).is_none() => Err(cannot(error)),
        Err(_) => undo(connection, &target.name).map(|()| false),
    }
}

/// Whether SQLite runs a statement by copying rows as they are.
fn copies_rows(connection: &Connection, sql: &str) -> rusqlite::Result<bool> {
    let mut program = connection.prepare(&format!("EXPLAIN {sql}"))?;
    let mut steps = program.query([])?;
    while let Some(step) = steps.next()? {
        if step.get_ref("opcode")?.as_str() == Ok("RowCell") {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_schema::Schema;
    use gristmill_core::{FieldType, Space};

    use super::*;
    use crate::statements::{Found, Statements};
    use crate::table::{Mode, Options};

    #[test]
    fn rows_are_found_by_their_key_and_never_by_a_walk_through_the_table() {
        let schema = Arc::new(Schema::new(vec![
            FieldType::String.field("k"),
            FieldType::Int.field("n"),
            FieldType::String.field("v"),
        ]));
        let mut options = Options::new("sqlite://unused", "t");
        options.mode = Mode::Upsert;
        options.keys = vec!["k".to_owned(), "n".to_owned()];
        for ddl in [
            "CREATE TABLE t (v TEXT, n INTEGER, k TEXT, PRIMARY KEY (k, n))",
            "CREATE TABLE t (v, n, k, id INTEGER PRIMARY KEY); CREATE UNIQUE INDEX i ON t (n, k COLLATE NOCASE)",
        ] {
            let connection = Connection::open_in_memory().unwrap();
            connection.execute_batch(ddl).unwrap();
            let target = Target::inspect(&connection, &options, &schema).unwrap();
            let mut stage = Stage::create(
                1,
                &target,
                options.duplicates,
                &Space { memory: 0, ..Space::default() },
            )
            .unwrap();
            stage.seal(&connection).unwrap();
            connection.execute_batch("INSERT INTO t DEFAULT VALUES").unwrap();
            let sides = sides(&target, &stage, &options);
            let merge = Statements::new(Dialect::Sqlite, &sides, Found::Change);
            for sql in [merge.update.as_ref().unwrap(), &merge.insert] {
                let mut plan = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
                let lines: Vec<String> = plan
                    .query_map([1, 2], |row| row.get("detail"))
                    .unwrap()
                    .collect::<Result<_, _>>()
                    .unwrap();
                let plan = lines.join("\n");
                assert!(plan.contains("SEARCH s USING INTEGER PRIMARY KEY"), "{plan}");
                assert!(plan.contains("SEARCH t USING") && !plan.contains("SCAN"), "{plan}");
            }
        }
    }

    #[test]
    fn a_full_disk_is_said() {
        let schema = Arc::new(Schema::new(vec![FieldType::String.field("v")]));
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE t (v TEXT); PRAGMA max_page_count = 20").unwrap();
        let options = Options::new("sqlite://unused", "t");
        let target = Target::inspect(&connection, &options, &schema).unwrap();
        let mut stage =
            Stage::create(1, &target, options.duplicates, &Space { memory: 0, ..Space::default() })
                .unwrap();
        connection
            .execute_batch(
                "CREATE TEMP TABLE more (v TEXT);
                 WITH RECURSIVE n(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM n WHERE n < 1000)
                 INSERT INTO more SELECT hex(zeroblob(1000)) FROM n;",
            )
            .unwrap();
        stage.table = "temp.more".to_owned();
        connection.execute_batch("BEGIN").unwrap();
        let error = copy(&connection, &target, &stage).unwrap_err();
        assert!(connection.is_autocommit(), "SQLite rolled it back");
        assert_eq!(error.to_string(), "cannot load table `t`");
        assert!(error.hint_text().unwrap().starts_with("the disk is full"));
    }
}
