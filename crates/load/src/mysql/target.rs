//! The table that is loaded: created under a hidden name when it is missing, else taken as it is.

use arrow_schema::{DataType, Field, Schema, SchemaRef};
use gristmill_core::{Error, ErrorKind, Result};
use gristmill_database::mysql::types::{ColumnType, Form, declared};
use gristmill_database::mysql::{Flavour, error_of};
use gristmill_database::quoted;

use super::catalogue::{Existing, existing_columns, find, has_triggers};
use super::change::change;
use super::dimension;
use super::fresh::{self, Fresh};
use super::index::{current_index, is_marker, key_columns, marker, marker_name};
use super::session::Session;
use crate::changes::{SchemaChanges, known};
use crate::fit::{is_view, no_table};
use crate::reading::misfit;
use crate::server::dimension::{add_columns, check_columns};
use crate::server::{self, create_columns, find_column, key_list, missing, qualified};
use crate::table::{Create, Mode, Options};

impl server::Kind for ColumnType {
    fn name(&self) -> &str {
        &self.name
    }

    fn is_integer(&self) -> bool {
        matches!(self.base.as_str(), "smallint" | "mediumint" | "int" | "bigint")
    }

    fn is_truth(&self) -> bool {
        matches!(self.base.as_str(), "tinyint" | "bit")
    }

    fn is_time(&self) -> bool {
        matches!(self.base.as_str(), "date" | "datetime" | "timestamp")
    }

    fn is_same_time(&self, other: &Self) -> bool {
        (&self.base, self.scale) == (&other.base, other.scale)
    }
}

/// A column that records are loaded into.
type Column = server::Column<ColumnType, Form>;

/// A table, which may be under a hidden name while it is new.
pub(crate) type Target = server::Target<ColumnType, Form>;

impl Target {
    /// Looks at a table whose lock is ours, and creates it where it is missing. Answers which columns
    /// of the records it does not have, where they are not loaded.
    pub(crate) fn open(
        session: &mut Session,
        number: u64,
        options: &Options,
        schema: &SchemaRef,
    ) -> Result<(Self, Vec<usize>)> {
        let refused = |e| error_of(&format!("cannot load table `{}`", options.table), e);
        let client = session.client()?;
        let (database, name) = match options.table.split_once('.') {
            Some((database, table)) => (database.to_owned(), table),
            None => {
                let current = client.texts("SELECT database()").map_err(refused)?;
                let current = current.into_iter().flatten().flatten().next().unwrap_or_default();
                (current, options.table.as_str())
            }
        };
        fresh::recover(client, &database, name, &options.table, refused)?;
        let mut table = format!("{}.{}", quoted(&database), quoted(name));
        let engine = find(client, &database, name).map_err(refused)?;
        let existed = engine.is_some();
        let mut hidden = name.to_owned();
        match engine {
            Some(engine) => check_engine(&options.table, &engine)?,
            None => {
                let flavour = client.flavour();
                if options.create == Create::Never {
                    let create = create_statement(flavour, options, schema, &table, "");
                    return Err(no_table(options, &format!("{create};")));
                }
                hidden = fresh::name(client, number).map_err(refused)?;
                let named = std::mem::replace(
                    &mut table,
                    format!("{}.{}", quoted(&database), quoted(&hidden)),
                );
                let comment = fresh::comment(session.run(), &options.table);
                let comment = format!(" COMMENT={comment}");
                let create = create_statement(flavour, options, schema, &table, &comment);
                client.batch(&create).map_err(refused)?;
                session.is_new(Fresh { hidden: table.clone(), table: named });
            }
        }
        let client = session.client()?;
        let mut existing = existing_columns(client, &database, &hidden).map_err(refused)?;
        let mut changes = Vec::new();
        if existed && options.schema_changes.adds() {
            let table = (database.as_str(), name);
            changes = change(client, table, &mut existing, options, schema).map_err(refused)?;
        }
        let unknown = match missing(&existing, options, schema, |field| declared(field, None)) {
            Some((missing, _)) if options.schema_changes == SchemaChanges::Quarantine => missing,
            Some((_, error)) => return Err(error),
            None => Vec::new(),
        };
        let schema = &known(schema, &unknown);
        let mut keys = Vec::new();
        if options.mode.is_keyed() {
            keys.clone_from(&options.keys);
            if existed {
                let current = |name: &str| find_column(&existing, name)?.generated.clone();
                keys = key_columns(client, &database, name, options, current, refused)?;
            }
        }
        let flavour = client.flavour();
        let mut target = Self::new(table, &existing, options, schema, |field, column| {
            let is_key = keys.iter().any(|key| key.eq_ignore_ascii_case(&column.name));
            match_column(&options.table, field, column, is_key, flavour)
        })?;
        target.existed = existed;
        target.changes = changes;
        target.complete(&existing, options)?;
        if options.mode == Mode::Scd2 {
            let find = |name: &str| find_column(&existing, name).map(|column| column.kind.clone());
            let kind = check_columns(options, find)?;
            let cast = |i| format!("CAST(s.c{i} AS {})", dimension::time_type(&kind));
            target.time_value = target.time.map(cast);
            target.time_type = Some(kind);
            let marks = |name: &String| {
                let generated = find_column(&existing, name)?.generated.as_ref()?;
                is_marker(options, generated).then_some(())
            };
            target.marker = Some(marker_name(options)).filter(|name| marks(name).is_some());
        }
        let has_triggers = existed && has_triggers(client, &database, name).map_err(refused)?;
        target.takes_as_sent = !has_triggers && target.columns.iter().all(takes_as_sent);
        let exact = |i: usize| target.columns[i].kind.is_exact(flavour);
        // Times may have digits that the dimension's column does not keep.
        target.has_exact_keys = target.keys().all(exact) && target.time.is_none();
        session.is_changed(&target.change_statement());
        Ok((target, unknown))
    }
}

/// How the values of a field get into its column.
fn match_column(
    table: &str,
    field: &Field,
    column: &Existing,
    is_key: bool,
    flavour: Flavour,
) -> Result<Column> {
    let kind = &column.kind;
    let mut matched = Column::new(table, field, column, Form::of(field, kind, is_key))?;
    matched.is_key = is_key;
    if is_key {
        check_key(table, &matched)?;
    }
    let form = matched.form;
    let staged = form.staged(field, is_key.then_some(kind), flavour);
    let is_text = matches!(form, Form::Text(..) | Form::Json | Form::Written);
    matched.as_text = kind.compares_as_text();
    if matched.as_text {
        matched.around = ("CAST(", " AS JSON)".to_owned());
    } else if is_text && !is_key && staged.starts_with("longtext") && kind.is_text() {
        // Compared byte by byte.
        matched.around.1 = format!(" COLLATE {}", flavour.exact_collation());
    }
    matched.staged = staged;
    Ok(matched)
}

/// Whether `LOAD DATA` makes of what is sent what a statement would make of staged records: the
/// column needs no cast, and does not take the present time for a null.
fn takes_as_sent(column: &Column) -> bool {
    let base = column.kind.base.as_str();
    match column.form {
        Form::Text(..) | Form::Json => column.kind.is_text() || base == "json",
        Form::Written => false,
        _ => !matches!(base, "bit" | "timestamp"),
    }
}

/// Refuses keys that the server would have to convert, or that it compares in a way of its own.
fn check_key(table: &str, column: &Column) -> Result<()> {
    if matches!(column.form, Form::Written | Form::Json | Form::Parsed(..)) {
        return Err(column.wrong_key(table));
    }
    let charset = column.kind.charset.as_str();
    if !matches!(charset, "" | "utf8mb4" | "utf8mb3" | "utf8" | "latin1" | "ascii") {
        return Err(misfit(
            format!("the key `{}` of table `{table}` has the character set {charset}", column.name),
            "convert the column to utf8mb4".to_owned(),
        ));
    }
    Ok(())
}

/// Refuses what cannot be loaded so that readers see all of it or nothing.
fn check_engine(table: &str, (kind, engine): &(String, String)) -> Result<()> {
    if kind.contains("VIEW") {
        return Err(is_view(table));
    }
    if !engine.is_empty() {
        return Err(Error::new(
            ErrorKind::Destination,
            format!("table `{table}` is kept by {engine}, which has no transactions"),
        )
        .hint(format!("run: ALTER TABLE {} ENGINE=InnoDB;", qualified(table))));
    }
    Ok(())
}

/// The statement that creates a table, with all its indexes: one that is added later would commit
/// the load.
fn create_statement(
    flavour: Flavour,
    options: &Options,
    schema: &Schema,
    table: &str,
    comment: &str,
) -> String {
    let mut parts = create_columns(options, schema, |field, is_key| {
        declared(field, is_key.then_some(options.keys.len()))
    });
    match options.mode {
        Mode::Scd2 => {
            let time = options.time(schema).map(|i| schema.field(i).data_type());
            let time = match time {
                Some(DataType::Date32 | DataType::Date64) => "date",
                _ => "datetime(6)",
            };
            add_columns(&mut parts, options, dimension::SURROGATE, time);
            parts.push(marker(options));
            parts.push(current_index(options));
        }
        mode if mode.is_keyed() => parts.push(format!("PRIMARY KEY ({})", key_list(options))),
        _ => {}
    }
    format!(
        "CREATE TABLE {table} ({}) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE={}{comment}",
        parts.join(", "),
        flavour.exact_collation()
    )
}
