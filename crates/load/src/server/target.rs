//! The table that is loaded, as far as it does not matter which server has it.

use std::fmt::Debug;
use std::sync::Arc;

use arrow_schema::{Field, Schema, SchemaRef};
use gristmill_core::{Result, types::type_name};
use gristmill_database::quoted;

use super::qualified;
use crate::fit::{self, TableColumn};
use crate::part::{Layout, Wire};
use crate::reading::misfit;
use crate::statements::{Silent, StagedValue};
use crate::table::{Mode, Options};

/// The type of a column that is there.
pub(crate) trait Kind: Debug + Clone + PartialEq {
    /// As SQL writes it.
    fn name(&self) -> &str;
    fn is_integer(&self) -> bool;
    fn is_truth(&self) -> bool;
    /// Whether it holds dates or timestamps.
    fn is_time(&self) -> bool;
    /// Whether it holds the same times as another.
    fn is_same_time(&self, other: &Self) -> bool;
}

/// A column of the table, loaded or not.
pub(crate) struct Existing<K> {
    pub(crate) name: String,
    pub(crate) kind: K,
    /// The expression of a generated one; empty where nobody asks for it.
    pub(crate) generated: Option<String>,
    pub(crate) required: bool,
    /// Whether the load adds it.
    pub(crate) is_new: bool,
}

impl<K> TableColumn for Existing<K> {
    fn name(&self) -> &str {
        &self.name
    }

    fn is_generated(&self) -> bool {
        self.generated.is_some()
    }

    fn is_required(&self) -> bool {
        self.required
    }
}

/// A column that records are loaded into.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Column<K, F> {
    pub(crate) name: String,
    /// The field of the records.
    pub(crate) field: String,
    pub(crate) kind: K,
    pub(crate) form: F,
    pub(crate) is_key: bool,
    /// The type of its column in the staging table.
    pub(crate) staged: String,
    /// What stands before and behind a staged value.
    pub(crate) around: (&'static str, String),
    /// Whether two values can be compared as texts only.
    pub(crate) as_text: bool,
    /// Whether the load adds it to the table.
    pub(crate) is_new: bool,
}

impl<K: Kind, F> Column<K, F> {
    /// The column for a field, where values are staged as the table has them.
    ///
    /// # Errors
    /// When they have no form in which it takes them.
    pub(crate) fn new(
        table: &str,
        field: &Field,
        column: &Existing<K>,
        form: Option<F>,
    ) -> Result<Self> {
        let form = form.ok_or_else(|| {
            misfit(
                format!(
                    "column `{}` of table `{table}` is {}, and cannot hold {}",
                    column.name,
                    column.kind.name(),
                    type_name(field)
                ),
                "cast the records' column, or drop it".to_owned(),
            )
        })?;
        Ok(Self {
            name: column.name.clone(),
            field: field.name().clone(),
            kind: column.kind.clone(),
            form,
            is_key: false,
            staged: column.kind.name().to_owned(),
            around: ("", String::new()),
            as_text: false,
            is_new: column.is_new,
        })
    }

    /// That the server would have to make another type of the records' keys.
    pub(crate) fn wrong_key(&self, table: &str) -> gristmill_core::Error {
        misfit(
            format!(
                "table `{table}` keeps the key `{}` as {}, and the records have another type",
                self.name,
                self.kind.name()
            ),
            "`cast` it to the type of the table".to_owned(),
        )
    }
}

impl<K, F> Column<K, F> {
    /// Its value in the staging table, where it has the number `i`.
    pub(crate) fn value(&self, i: usize) -> StagedValue {
        let (before, behind) = self.around.clone();
        StagedValue { before, behind, ..StagedValue::plain(i) }
    }
}

/// A table.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Target<K, F> {
    /// Whether it was there before the run.
    pub(crate) existed: bool,
    /// Its name as in the options.
    pub(crate) name: String,
    /// Its name as SQL writes it, with its schema or database; perhaps a hidden one while it is new.
    pub(crate) table: String,
    /// In the order of the records' fields.
    pub(crate) columns: Vec<Column<K, F>>,
    /// The column with the time from when on a record holds.
    pub(crate) time: Option<usize>,
    /// The type of the column with that time, in a dimension.
    pub(crate) time_type: Option<K>,
    /// The time of a staged record, in that type.
    pub(crate) time_value: Option<String>,
    /// All columns but those that the load keeps.
    pub(crate) attributes: Vec<String>,
    /// In a dimension, the column that is 1 in current rows only, if it has one.
    pub(crate) marker: Option<String>,
    /// What `ALTER TABLE` does to a table that is there, before records are merged.
    pub(crate) changes: Vec<String>,
    pub(crate) silent: Silent,
    /// Whether it makes of what is sent what a statement would make of staged records.
    pub(crate) takes_as_sent: bool,
    /// Whether equal keys have equal bytes when they are sent, and only they.
    pub(crate) has_exact_keys: bool,
    /// Whether it is left as it is.
    pub(crate) planned: bool,
}

impl<K: Kind, F> Target<K, F> {
    /// A table of these columns: finds the one for each field that has one. `column` says how its
    /// values get in.
    pub(crate) fn new(
        table: String,
        existing: &[Existing<K>],
        options: &Options,
        schema: &Schema,
        column: impl Fn(&Field, &Existing<K>) -> Result<Column<K, F>>,
    ) -> Result<Self> {
        let mut columns = Vec::new();
        for field in schema.fields() {
            let Some(found) = find_column(existing, options.column_of(field.name())) else {
                continue;
            };
            fit::check_given(&options.table, found)?;
            columns.push(column(field, found)?);
        }
        Ok(Self {
            existed: true,
            name: options.table.clone(),
            table,
            columns,
            time: options.time(schema),
            time_type: None,
            time_value: None,
            attributes: Vec::new(),
            marker: None,
            changes: Vec::new(),
            silent: Silent::default(),
            takes_as_sent: false,
            has_exact_keys: false,
            planned: false,
        })
    }

    /// Looks whether the records have all that the table requires.
    pub(crate) fn complete(&mut self, existing: &[Existing<K>], options: &Options) -> Result<()> {
        let is_given = |name: &str| self.columns.iter().any(|given| given.name == name);
        self.attributes = fit::attributes(&options.table, existing, options, is_given)?;
        Ok(())
    }
}

impl<K, F> Target<K, F> {
    /// Indices of the key columns.
    pub(crate) fn keys(&self) -> impl Iterator<Item = usize> {
        (0..self.columns.len()).filter(|&i| self.columns[i].is_key)
    }

    /// The columns that are there when records are merged, with their numbers.
    pub(crate) fn merged(&self) -> impl Iterator<Item = (usize, &Column<K, F>)> {
        let columns = self.columns.iter().enumerate();
        columns.filter(|(_, column)| !(self.planned && column.is_new))
    }

    /// The statement that adds columns and makes them wider; empty where nothing is to change.
    pub(crate) fn change_statement(&self) -> String {
        match self.changes.as_slice() {
            [] => String::new(),
            changes => format!("ALTER TABLE {} {}", self.table, changes.join(", ")),
        }
    }

    /// Leaves out what the load adds to the table, for a plan that does not.
    pub(crate) fn as_it_is(&mut self) {
        let is_new = |name: &String| self.columns.iter().any(|it| it.is_new && it.name == *name);
        self.attributes.retain(|name| !is_new(name));
        self.planned = true;
    }
}

impl<K, F: Wire> Target<K, F> {
    /// How records become rows of it, or numbered ones of its staging table.
    pub(crate) fn layout(&self, schema: &SchemaRef, numbered: bool) -> Layout<F> {
        Layout {
            schema: Arc::clone(schema),
            forms: self.columns.iter().map(|column| column.form).collect(),
            keys: self.keys().collect(),
            time: self.time,
            numbered,
            hashed: numbered && self.has_exact_keys,
        }
    }
}

/// The column of this name; however it is written, if only one is written like that.
pub(crate) fn find_column<'a, K>(
    existing: &'a [Existing<K>],
    name: &str,
) -> Option<&'a Existing<K>> {
    let exact = existing.iter().find(|column| column.name == name);
    exact.or_else(|| {
        let mut like = existing.iter().filter(|column| column.name.eq_ignore_ascii_case(name));
        like.next().filter(|_| like.next().is_none())
    })
}

/// The columns of the records that a table does not have, and what is said where it has to have
/// them; `declared` is the type that a field's column would have.
pub(crate) fn missing<K>(
    existing: &[Existing<K>],
    options: &Options,
    schema: &Schema,
    declared: impl Fn(&Field) -> String,
) -> Option<(Vec<usize>, gristmill_core::Error)> {
    let column = |i: usize| find_column(existing, options.column_of(schema.field(i).name()));
    let missing: Vec<usize> = (0..schema.fields().len()).filter(|i| column(*i).is_none()).collect();
    let fields: Vec<&Field> = missing.iter().map(|i| schema.field(*i)).collect();
    let add = |field: &&Field| format!("ADD COLUMN {} {}", quoted(field.name()), declared(field));
    let add: Vec<String> = fields.iter().map(add).collect();
    let run = format!("ALTER TABLE {} {};", qualified(&options.table), add.join(", "));
    (!missing.is_empty()).then(|| (missing, fit::no_columns(&options.table, &fields, &run)))
}

/// The columns of the records as the statement lists them that creates a table; `declared` is the
/// type of one, that is told whether it is part of the key.
pub(crate) fn create_columns(
    options: &Options,
    schema: &Schema,
    declared: impl Fn(&Field, bool) -> String,
) -> Vec<String> {
    let fields = schema.fields().iter();
    fields
        .filter(|field| !(options.mode == Mode::Scd2 && options.is_time(field.name())))
        .map(|field| {
            let is_key = options.mode.is_keyed() && options.keys.contains(field.name());
            // The unknown member of a dimension may have no key.
            let required = is_key && options.mode.finds_rows();
            let not_null = if required { " NOT NULL" } else { "" };
            format!("{} {}{not_null}", quoted(field.name()), declared(field, is_key))
        })
        .collect()
}
