//! SQLite: a thread of its own steps through the rows and puts their values down as they are;
//! workers make columns of them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use arrow_schema::Field;
use gristmill_core::registry::longest_record;
use gristmill_core::{Error, ErrorKind, ExtractContext, FieldType, Result};
use gristmill_database::quoted;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::file::relative_to;

use super::cells::Cell;
use super::rows::Columns;
use super::source::{Wanted, declared};
use super::stepped::{Pieces, Source, Stepped, alone, one_turn};
use cursor::CursorColumn;

mod cursor;

/// How long a statement waits for another process that writes.
const PATIENCE: Duration = Duration::from_secs(10);

/// Opens the file, and asks which columns there are.
pub(super) fn open(wanted: &Wanted, path: &Path, context: &ExtractContext) -> Result<Stepped> {
    let file: PathBuf = context.base.join(path);
    let relation = &wanted.relation;
    if !file.exists() {
        let message = format!("cannot read `{}`: there is no such file", path.display());
        return Err(Error::new(ErrorKind::NotFound, message).hint(relative_to(&context.base)));
    }
    let what = format!("cannot read `{}` of `{}`", relation.name, path.display());
    let failed = |error| failure(&what, error);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(&file, flags).map_err(failed)?;
    connection.busy_timeout(PATIENCE).map_err(failed)?;
    connection.execute_batch("PRAGMA query_only = on; BEGIN").map_err(failed)?;
    let (names, types) = {
        let statement = connection.prepare(&relation.select).map_err(failed)?;
        if statement.parameter_count() > 0 {
            return Err(Error::new(ErrorKind::Configuration, what)
                .caused_by("the query has places for parameters such as ?")
                .hint("write values into the query; ${NAME} takes a parameter of the pipeline"));
        }
        let columns = statement.columns();
        columns
            .map(|column| (column.name().to_owned(), field_type(column.decl_type())))
            .unzip::<_, _, Vec<_>, Vec<_>>()
    };
    let declared = declared(relation, &names, &wanted.columns)?;
    // A declared type takes the place of the column's own; nothing goes through text.
    let types: Vec<_> =
        types.into_iter().zip(declared).map(|(own, declared)| declared.unwrap_or(own)).collect();
    let (mut select, mut bookmark, mut notes) = (relation.select.clone(), None, Vec::new());
    if let Some(cursor) = &wanted.cursor {
        let of = types[cursor.position(relation, &names)?];
        let bounds = cursor.bounds(relation, &path.to_string_lossy(), &context.range);
        let column = CursorColumn::new(&connection, &cursor.column, of, &what, bounds.last())?;
        column.check_given(bounds.given(), &relation.select)?;
        let lag = cursor.lag_micros(column.is_time())?;
        let name = format!("q.{}", quoted(&cursor.column));
        let narrowed = cursor.narrow(relation, &bounds, &name, &column, lag)?;
        (select, bookmark, notes) = (narrowed.select, narrowed.bookmark, narrowed.notes);
    }
    let fields: Vec<Field> =
        names.iter().zip(&types).map(|(name, field_type)| field_type.field(name)).collect();
    let given = vec![None; fields.len()];
    let longest = longest_record(context.memory);
    let columns = Columns::new(&relation.name, fields, given);
    let source = Source { columns, types, longest };
    let interrupt = connection.get_interrupt_handle();
    let step = one_turn(move |pieces| {
        step(&connection, &select, pieces).map_err(|error| failure(&what, error))
    });
    let stop = Some(Box::new(move || interrupt.interrupt()) as _);
    Ok(Stepped::new(source, alone(step), stop, notes, bookmark))
}

/// Steps through all rows.
fn step(connection: &Connection, select: &str, pieces: &mut Pieces) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(select)?;
    let columns = statement.column_count();
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let piece = pieces.row();
        for i in 0..columns {
            match row.get_ref(i)? {
                ValueRef::Null => piece.cells.push(Cell::Null),
                ValueRef::Integer(value) => piece.cells.push(Cell::Int(value)),
                ValueRef::Real(value) => piece.cells.push(Cell::Real(value)),
                ValueRef::Text(text) => piece.text(text),
                ValueRef::Blob(blob) => piece.blob(blob),
            }
        }
        if !pieces.end() {
            return Ok(());
        }
    }
    Ok(())
}

/// The type of a column, by the type that it was declared with: as our own tables declare them, and
/// else by <https://sqlite.org/datatype3.html#determination_of_column_affinity>. What a column of
/// another type or of none holds is read as text.
fn field_type(declared: Option<&str>) -> FieldType {
    let Some(declared) = declared else { return FieldType::String };
    let declared = declared.trim().to_ascii_uppercase();
    let digits = declared.strip_prefix("DECIMAL_TEXT").map(|digits| format!("DECIMAL{digits}"));
    let digits = digits.as_deref().unwrap_or(&declared);
    if digits.contains('(')
        && let Ok(decimal @ FieldType::Decimal { .. }) = digits.parse()
    {
        return decimal;
    }
    let has = |words: &[&str]| words.iter().any(|word| declared.contains(word));
    match declared.split('(').next().unwrap_or_default().trim() {
        "BOOL" | "BOOLEAN" => FieldType::Bool,
        "DATE" => FieldType::Date,
        "TIME" => FieldType::Time,
        "TIMESTAMP" | "DATETIME" => FieldType::Timestamp,
        "TIMESTAMPTZ" | "TIMESTAMP WITH TIME ZONE" => FieldType::TimestampTz,
        "JSON" => FieldType::Json,
        _ if has(&["INT"]) => FieldType::Int,
        _ if has(&["CHAR", "CLOB", "TEXT"]) => FieldType::String,
        _ if has(&["BLOB"]) => FieldType::Binary,
        _ if has(&["REAL", "FLOA", "DOUB"]) => FieldType::Double,
        _ => FieldType::String,
    }
}

fn failure(what: &str, error: rusqlite::Error) -> Error {
    let text = error.to_string();
    let (kind, hint) = match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            (ErrorKind::Corrupt, Some("the file is damaged, or no SQLite database"))
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            (ErrorKind::Transient, Some("another process keeps it locked; run again"))
        }
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => {
            (ErrorKind::Permission, None)
        }
        Some(ErrorCode::OperationInterrupted) => (ErrorKind::Cancelled, None),
        _ if text.starts_with("no such table") => {
            (ErrorKind::NotFound, Some("look at the name of the table, and of the file"))
        }
        _ if matches!(error, rusqlite::Error::SqlInputError { .. }) => {
            (ErrorKind::Configuration, None)
        }
        _ => (ErrorKind::Io, None),
    };
    let outer = Error::new(kind, what).caused_by(error);
    match hint {
        Some(hint) => outer.hint(hint),
        None => outer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_declared_type_says_what_a_column_holds() {
        for (declared, expected) in [
            ("DECIMAL_TEXT(18, 2)", "decimal(18, 2)"),
            ("numeric(9,3)", "decimal(9, 3)"),
            ("NUMERIC", "string"),
            ("Boolean", "bool"),
            ("DATETIME", "timestamp"),
            ("timestamp with time zone", "timestamptz"),
            ("UNSIGNED BIG INT", "int"),
            ("VARCHAR(20)", "string"),
            ("DOUBLE PRECISION", "double"),
            ("BLOB", "binary"),
            ("json", "json"),
            ("POINT", "int"), // as SQLite has it
            ("", "string"),
        ] {
            assert_eq!(field_type(Some(declared)).to_string(), expected, "{declared}");
        }
        assert_eq!(field_type(None), FieldType::String);
    }
}
