//! The table that is loaded: created under a hidden name when it is missing, else taken as it is.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef};
use gristmill_core::{Error, ErrorKind, Result};
use gristmill_database::mysql::types::{ColumnType, Form, declared};
use gristmill_database::mysql::{Flavour, error_of};
use gristmill_database::quoted;

use super::catalogue::{Existing, existing_columns, find, find_column, has_triggers};
use super::change::change;
use super::dimension;
use super::fresh::{self, Fresh};
use super::index::{current_index, is_marker, key_columns, key_list, marker_name, qualified};
use super::session::Session;
use crate::changes::{SchemaChanges, known};
use crate::reading::{listed, misfit};
use crate::statements::StagedValue;
use crate::table::{Create, Mode, Options};

/// A column that records are loaded into.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Column {
    pub(crate) name: String,
    /// The field of the records.
    pub(crate) field: String,
    pub(crate) kind: ColumnType,
    pub(crate) form: Form,
    pub(crate) is_key: bool,
    /// The type of its column in the staging table.
    pub(crate) staged: String,
    /// What makes a staged text one that is compared byte by byte.
    collated: String,
    /// Whether the load adds it to the table.
    pub(crate) is_new: bool,
}

impl Column {
    /// Its value in the staging table, where it has the number `i`.
    pub(crate) fn value(&self, i: usize) -> StagedValue {
        let (before, behind) = match self.kind.compares_as_text() {
            true => ("CAST(", " AS JSON)".to_owned()),
            false => ("", self.collated.clone()),
        };
        StagedValue { before, behind, ..StagedValue::plain(i) }
    }
}

/// A table.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Target {
    /// Whether it was there before the run.
    pub(crate) existed: bool,
    /// Its name as in the options.
    pub(crate) name: String,
    /// Its name as SQL writes it, with its database; while it is new, the hidden one.
    pub(crate) table: String,
    /// In the order of the records' fields.
    pub(crate) columns: Vec<Column>,
    /// The column with the time from when on a record holds.
    pub(crate) time: Option<usize>,
    /// The type of the column with that time, in a dimension.
    pub(crate) time_type: Option<ColumnType>,
    /// All columns but those that the load keeps.
    pub(crate) attributes: Vec<String>,
    /// In a dimension, the column that is 1 in current rows only.
    pub(crate) marker: Option<String>,
    /// What `ALTER TABLE` does to a table that is there, before the transaction.
    pub(crate) changes: Vec<String>,
    /// Whether something else happens when a row is added.
    has_triggers: bool,
    /// Whether the table is not changed.
    planned: bool,
}

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
                    return Err(Error::new(
                        ErrorKind::NotFound,
                        format!("there is no table `{}`", options.table),
                    )
                    .hint(format!("leave out `create: never`, or run: {create};")));
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
        let unknown = unknown(&existing, options, schema)?;
        let schema = &known(schema, &unknown);
        let mut keys = Vec::new();
        if options.mode.is_keyed() {
            keys.clone_from(&options.keys);
            if existed {
                let current = |name: &str| find_column(&existing, name)?.generated.clone();
                keys = key_columns(client, &database, name, options, current, refused)?;
            }
        }
        let mut target = Self {
            existed,
            name: options.table.clone(),
            table,
            columns: Vec::new(),
            time: time(options, schema),
            time_type: None,
            attributes: Vec::new(),
            marker: None,
            changes,
            planned: false,
            has_triggers: existed && has_triggers(client, &database, name).map_err(refused)?,
        };
        target.match_columns(&existing, options, schema, &keys, client.flavour())?;
        if options.mode == Mode::Scd2 {
            let find = |name: &str| find_column(&existing, name).map(|column| column.kind.clone());
            target.time_type = Some(dimension::check_columns(&options.table, options, find)?);
            let marks = |name: &String| {
                let generated = find_column(&existing, name)?.generated.as_ref()?;
                is_marker(options, generated).then_some(())
            };
            target.marker = Some(marker_name(options)).filter(|name| marks(name).is_some());
        }
        session.is_changed(&target.change_statement());
        Ok((target, unknown))
    }

    /// Finds the column for each field.
    fn match_columns(
        &mut self,
        existing: &[Existing],
        options: &Options,
        schema: &Schema,
        keys: &[String],
        flavour: Flavour,
    ) -> Result<()> {
        let name = &options.table;
        for field in schema.fields() {
            let Some(column) = column_of(field.name(), existing, options) else { continue };
            if column.generated.is_some() {
                return Err(misfit(
                    format!("column `{}` of table `{name}` is generated", column.name),
                    "drop the column from the records".to_owned(),
                ));
            }
            let is_key = keys.iter().any(|key| key.eq_ignore_ascii_case(&column.name));
            let form = Form::of(field, &column.kind, is_key).ok_or_else(|| {
                misfit(
                    format!(
                        "column `{}` of table `{name}` is {}, and cannot hold {}",
                        column.name,
                        column.kind.name,
                        gristmill_core::types::type_name(field)
                    ),
                    "cast the records' column, or drop it".to_owned(),
                )
            })?;
            if is_key {
                check_key(name, column, form)?;
            }
            let key = is_key.then_some(&column.kind);
            let is_text = matches!(form, Form::Text(..) | Form::Json | Form::Written);
            let staged = form.staged(field, key, flavour);
            let collated = match is_text && !is_key && staged.starts_with("longtext") {
                true if column.kind.is_text() => format!(" COLLATE {}", flavour.exact_collation()),
                _ => String::new(),
            };
            self.columns.push(Column {
                name: column.name.clone(),
                field: field.name().clone(),
                kind: column.kind.clone(),
                form,
                is_key,
                staged,
                collated,
                is_new: column.is_new,
            });
        }
        let kept = if options.mode == Mode::Scd2 { options.kept() } else { Vec::new() };
        let is_kept = |name: &str| kept.iter().any(|kept| kept.eq_ignore_ascii_case(name));
        let lacking: Vec<&str> = existing
            .iter()
            .filter(|column| {
                let given = self.columns.iter().any(|given| given.name == column.name);
                column.required && !given && !is_kept(&column.name)
            })
            .map(|column| column.name.as_str())
            .collect();
        if !lacking.is_empty() && !options.mode.finds_rows() {
            return Err(misfit(
                format!(
                    "table `{name}` requires {}, which the records do not have",
                    listed(lacking)
                ),
                "derive them, or give them a default in the table".to_owned(),
            ));
        }
        self.attributes = existing
            .iter()
            .filter(|column| column.generated.is_none() && !is_kept(&column.name))
            .map(|column| column.name.clone())
            .collect();
        Ok(())
    }

    /// The statement that adds columns and makes them wider; empty where nothing is to change.
    pub(crate) fn change_statement(&self) -> String {
        match self.changes.as_slice() {
            [] => String::new(),
            changes => format!("ALTER TABLE {} {}", self.table, changes.join(", ")),
        }
    }

    /// Leaves out what the load adds to the table, which a plan does not.
    pub(crate) fn as_it_is(&mut self) {
        let is_new = |name: &String| self.columns.iter().any(|it| it.is_new && it.name == *name);
        self.attributes.retain(|name| !is_new(name));
        self.planned = true;
    }

    /// The columns that are there when records are merged, with their numbers.
    pub(crate) fn merged(&self) -> impl Iterator<Item = (usize, &Column)> {
        let columns = self.columns.iter().enumerate();
        columns.filter(|(_, column)| !(self.planned && column.is_new))
    }

    /// Indices of the key columns.
    pub(crate) fn keys(&self) -> impl Iterator<Item = usize> {
        (0..self.columns.len()).filter(|&i| self.columns[i].is_key)
    }

    /// The time of a staged record, in the type of the dimension's column.
    pub(crate) fn time_value(&self) -> Option<String> {
        let i = self.time?;
        Some(format!("CAST(s.c{i} AS {})", dimension::time_type(self.time_type.as_ref()?)))
    }

    /// Whether `LOAD DATA` makes of what is sent what a statement would make of staged records: no
    /// column needs a cast, or takes the present time for a null.
    pub(crate) fn takes_as_sent(&self) -> bool {
        let fits = |column: &Column| {
            let base = column.kind.base.as_str();
            match column.form {
                Form::Text(..) | Form::Json => column.kind.is_text() || base == "json",
                Form::Written => false,
                _ => !matches!(base, "bit" | "timestamp"),
            }
        };
        !self.has_triggers && self.columns.iter().all(fits)
    }

    /// Whether equal keys have equal bytes when they are sent, and only they.
    pub(crate) fn has_exact_keys(&self, flavour: Flavour) -> bool {
        let exact = |i: usize| self.columns[i].kind.is_exact(flavour);
        // Times may have digits that the dimension's column does not keep.
        self.keys().all(exact) && self.time.is_none()
    }
}

/// The column that a field's values go into. In a dimension, the time may be kept in the column for
/// it only.
pub(super) fn column_of<'a>(
    field: &str,
    existing: &'a [Existing],
    options: &Options,
) -> Option<&'a Existing> {
    let kept = options.is_time(field).then_some(options.version_columns.effective_date.as_str());
    find_column(existing, kept.unwrap_or(field))
}

/// The columns of the records that the table does not have, where records with values there are
/// rejected.
///
/// # Errors
/// When the table has to have all of them.
fn unknown(existing: &[Existing], options: &Options, schema: &Schema) -> Result<Vec<usize>> {
    let name = &options.table;
    let fields = schema.fields();
    let is_missing = |i: &usize| column_of(fields[*i].name(), existing, options).is_none();
    let missing: Vec<usize> = (0..fields.len()).filter(is_missing).collect();
    if options.schema_changes == SchemaChanges::Quarantine {
        return Ok(missing);
    }
    let missing: Vec<&Arc<Field>> = missing.into_iter().map(|i| &fields[i]).collect();
    if !missing.is_empty() {
        let statements: Vec<String> = missing
            .iter()
            .map(|field| format!("ADD COLUMN {} {}", quoted(field.name()), declared(field, None)))
            .collect();
        return Err(misfit(
            format!(
                "table `{name}` has no column{} {}",
                if missing.len() == 1 { "" } else { "s" },
                listed(missing.iter().map(|field| field.name()))
            ),
            format!(
                "drop them from the records, add them with `schema_changes: add_columns`, or run: ALTER TABLE {} {};",
                qualified(name),
                statements.join(", ")
            ),
        ));
    }
    Ok(Vec::new())
}

/// Refuses keys that the server would have to convert, or that it compares in a way of its own.
fn check_key(table: &str, column: &Existing, form: Form) -> Result<()> {
    if matches!(form, Form::Written | Form::Json | Form::Parsed(..)) {
        return Err(misfit(
            format!(
                "table `{table}` keeps the key `{}` as {}, and the records have another type",
                column.name, column.kind.name
            ),
            "`cast` it to the type of the table".to_owned(),
        ));
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
        return Err(Error::new(
            ErrorKind::Destination,
            format!("`{table}` is a view, and cannot be loaded"),
        )
        .hint("load one of the tables that it shows"));
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

fn time(options: &Options, schema: &Schema) -> Option<usize> {
    let time = options.effective.as_ref()?;
    schema.fields().iter().position(|field| field.name() == time)
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
    let is_key = |name: &String| options.mode.is_keyed() && options.keys.contains(name);
    let mut parts: Vec<String> = schema
        .fields()
        .iter()
        .filter(|field| !(options.mode == Mode::Scd2 && options.is_time(field.name())))
        .map(|field| {
            let keys = is_key(field.name()).then_some(options.keys.len());
            // The unknown member of a dimension may have no key.
            let required = keys.is_some() && options.mode.finds_rows();
            let not_null = if required { " NOT NULL" } else { "" };
            format!("{} {}{not_null}", quoted(field.name()), declared(field, keys))
        })
        .collect();
    match options.mode {
        Mode::Scd2 => {
            let time = time(options, schema).map(|i| schema.field(i).data_type());
            let time = match time {
                Some(DataType::Date32 | DataType::Date64) => "date",
                _ => "datetime(6)",
            };
            dimension::add_columns(&mut parts, options, time);
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
