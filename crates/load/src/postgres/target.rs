//! The table that is loaded: created when it is missing, else taken as it is.

use arrow_schema::{DataType, Field, Schema, SchemaRef};
use gristmill_core::{Error, ErrorKind, Result};
use gristmill_database::types::{ColumnType, Form, declared, oid, precision_and_scale};
use gristmill_database::{Client, DatabaseError, error_of, quoted};

use super::dimension;
use super::index::{current_index, index_name, key_columns, qualified};
use super::silent::silent;
use super::stage::key_list;
use crate::changes::{SchemaChanges, wider_decimal};
use crate::reading::{listed, misfit};
use crate::statements::{Silent, StagedValue};
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
}

impl Column {
    /// The type of its column in the staging table.
    pub(crate) fn staged_type(&self) -> &str {
        if self.form == Form::Cast { "text" } else { &self.kind.name }
    }

    /// Its value in the staging table, where it has the number `i`.
    pub(crate) fn value(&self, i: usize) -> StagedValue {
        let behind = match self.form {
            Form::Cast => format!("::{}", self.kind.name),
            _ => String::new(),
        };
        StagedValue { behind, ..StagedValue::plain(i) }
    }

    /// Whether the database can say that two values are equal.
    pub(crate) fn compares(&self) -> bool {
        self.form != Form::Cast && self.kind.oid != oid::JSON
    }
}

/// A column of the table, loaded or not.
struct Existing {
    name: String,
    kind: ColumnType,
    generated: bool,
    required: bool,
}

/// A table.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Target {
    /// Whether it was there before the run.
    pub(crate) existed: bool,
    /// Its name as in the options.
    pub(crate) name: String,
    /// Its name as SQL writes it, with its schema.
    pub(crate) table: String,
    /// In the order of the records' fields.
    pub(crate) columns: Vec<Column>,
    /// The column with the time from when on a record holds.
    pub(crate) time: Option<usize>,
    /// The type of the column with that time, in a dimension.
    pub(crate) time_type: String,
    /// All columns but those that the load keeps.
    pub(crate) attributes: Vec<String>,
    /// What `ALTER TABLE` does to a table that is there, before records are merged.
    pub(crate) changes: Vec<String>,
    pub(crate) silent: Silent,
}

impl Target {
    /// Looks at a table, and creates it where it is missing, in the transaction that is open.
    pub(crate) fn open(client: &Client, options: &Options, schema: &SchemaRef) -> Result<Self> {
        let refused = |e| error_of(&format!("cannot load table `{}`", options.table), e);
        let found = find(client, &options.table).map_err(refused)?;
        let existed = found.is_some();
        let (oid, table) = match found {
            Some((oid, table, kind)) => {
                if !matches!(kind.as_str(), "r" | "p" | "f") {
                    return Err(Error::new(
                        ErrorKind::Destination,
                        format!("`{}` is a view, and cannot be loaded", options.table),
                    )
                    .hint("load one of the tables that it shows"));
                }
                (oid, table)
            }
            None => {
                let create = create_statement(options, schema);
                if options.create == Create::Never {
                    let rest = finish_statements(options);
                    return Err(Error::new(
                        ErrorKind::NotFound,
                        format!("there is no table `{}`", options.table),
                    )
                    .hint(format!("leave out `create: never`, or run: {create} {rest}")));
                }
                client.batch(&create).map_err(refused)?;
                let found = find(client, &options.table).map_err(refused)?;
                let (oid, table, _) =
                    found.ok_or_else(|| Error::internal("a created table is not there"))?;
                (oid, table)
            }
        };
        let mut existing = existing_columns(client, oid).map_err(refused)?;
        let mut changes = Vec::new();
        if existed && options.schema_changes.adds() {
            changes = change(client, &mut existing, options, schema).map_err(refused)?;
        }
        let mut target = Self {
            existed,
            name: options.table.clone(),
            table,
            columns: Vec::new(),
            time: time(options, schema),
            time_type: String::new(),
            attributes: Vec::new(),
            changes,
            silent: if existed { silent(client, oid).map_err(refused)? } else { Silent::default() },
        };
        target.match_columns(&existing, options, schema)?;
        let mut keys = options.keys.clone();
        if existed && options.mode.is_keyed() {
            keys = key_columns(client, oid, &options.table, options, refused)?;
        }
        if options.mode.is_keyed() {
            for column in &mut target.columns {
                column.is_key = keys.iter().any(|key| key.eq_ignore_ascii_case(&column.name));
            }
        }
        target.check_keys(options)?;
        if options.mode == Mode::Scd2 {
            target.time_type = dimension::check_columns(&options.table, options, |name| {
                find_column(&existing, name).map(|column| column.kind.clone())
            })?;
        }
        Ok(target)
    }

    /// Finds the column for each field.
    fn match_columns(
        &mut self,
        existing: &[Existing],
        options: &Options,
        schema: &Schema,
    ) -> Result<()> {
        let name = &options.table;
        let mut missing = Vec::new();
        for field in schema.fields() {
            let Some(column) = find_column(existing, column_name(field.name(), options)) else {
                missing.push(field);
                continue;
            };
            if column.generated {
                return Err(misfit(
                    format!("column `{}` of table `{name}` is generated", column.name),
                    "drop the column from the records".to_owned(),
                ));
            }
            let form = Form::of(field, &column.kind).ok_or_else(|| {
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
            self.columns.push(Column {
                name: column.name.clone(),
                field: field.name().clone(),
                kind: column.kind.clone(),
                form,
                is_key: false,
            });
        }
        if !missing.is_empty() {
            let statements: Vec<String> = missing
                .iter()
                .map(|field| {
                    format!("ADD COLUMN {} {}", quoted(field.name()), declared(field.as_ref()))
                })
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
            .filter(|column| !column.generated && !is_kept(&column.name))
            .map(|column| column.name.clone())
            .collect();
        Ok(())
    }

    /// Refuses columns that records are found by, where the server would have to cast their values.
    fn check_keys(&self, options: &Options) -> Result<()> {
        let finds =
            |column: &&Column| column.is_key || options.partition_by.contains(&column.field);
        match self.columns.iter().filter(finds).find(|column| column.form == Form::Cast) {
            Some(column) => Err(misfit(
                format!(
                    "table `{}` keeps the key `{}` as {}, and the records have another type",
                    self.name, column.name, column.kind.name
                ),
                "`cast` it to the type of the table".to_owned(),
            )),
            None => Ok(()),
        }
    }

    /// Indices of the key columns.
    pub(crate) fn keys(&self) -> impl Iterator<Item = usize> {
        (0..self.columns.len()).filter(|&i| self.columns[i].is_key)
    }

    /// The time of a staged record, in the type of the dimension's column.
    pub(crate) fn time_value(&self) -> Option<String> {
        self.time.map(|i| format!("s.c{i}::{}", self.time_type))
    }

    /// Whether equal keys have equal bytes when they are sent, and only they.
    pub(crate) fn has_exact_keys(&self) -> bool {
        self.keys().chain(self.time).all(|i| {
            let column = &self.columns[i];
            column.form != Form::Cast && column.kind.is_exact()
        })
    }

    /// Whether the server need not cast anything.
    pub(crate) fn takes_as_sent(&self) -> bool {
        self.columns.iter().all(|column| column.form != Form::Cast)
    }

    /// The columns that records are loaded into, as SQL lists them.
    pub(crate) fn column_list(&self) -> String {
        let names: Vec<String> = self.columns.iter().map(|column| quoted(&column.name)).collect();
        names.join(", ")
    }

    /// The statement that adds columns and makes them wider; empty where nothing is to change.
    pub(crate) fn change_statement(&self) -> String {
        match self.changes.as_slice() {
            [] => String::new(),
            changes => format!("ALTER TABLE {} {};", self.table, changes.join(", ")),
        }
    }

    /// What is left to do once rows are there: an index over all rows is made faster than one that
    /// grows with them.
    pub(crate) fn finish_statements(&self, options: &Options) -> String {
        let mut sql = if self.existed { String::new() } else { finish_statements(options) };
        if options.mode == Mode::Scd2 {
            sql += &dimension::finish_statement(&self.table, options);
        }
        sql
    }
}

fn find_column<'a>(existing: &'a [Existing], name: &str) -> Option<&'a Existing> {
    let exact = existing.iter().find(|column| column.name == name);
    exact.or_else(|| {
        let mut like = existing.iter().filter(|column| column.name.eq_ignore_ascii_case(name));
        like.next().filter(|_| like.next().is_none())
    })
}

/// The columns of the records that a table does not have, where records with values there are
/// rejected; none when there is no table.
pub(crate) fn unknown(client: &Client, options: &Options, schema: &Schema) -> Result<Vec<usize>> {
    if options.schema_changes != SchemaChanges::Quarantine {
        return Ok(Vec::new());
    }
    let refused = |e| error_of(&format!("cannot load table `{}`", options.table), e);
    let Some((oid, ..)) = find(client, &options.table).map_err(refused)? else {
        return Ok(Vec::new());
    };
    let existing = existing_columns(client, oid).map_err(refused)?;
    let column = |i: usize| find_column(&existing, column_name(schema.field(i).name(), options));
    Ok((0..schema.fields().len()).filter(|i| column(*i).is_none()).collect())
}

/// The column for a field: in a dimension, the time may be kept in the column for it only.
fn column_name<'a>(field: &'a str, options: &'a Options) -> &'a str {
    if options.is_time(field) { &options.version_columns.effective_date } else { field }
}

/// Adds the columns that a table does not have to those that it has, and makes others as wide as
/// the records want them; answers what `ALTER TABLE` is told.
fn change(
    client: &Client,
    existing: &mut Vec<Existing>,
    options: &Options,
    schema: &Schema,
) -> Result<Vec<String>, DatabaseError> {
    // Name, type, and the place among those that are there.
    let mut wanted: Vec<(String, String, Option<usize>)> = Vec::new();
    for field in schema.fields() {
        let name = column_name(field.name(), options);
        match find_column(existing, name) {
            None => wanted.push((name.to_owned(), declared(field), None)),
            Some(column) if options.schema_changes == SchemaChanges::Widen => {
                if let Some(wider) = wider(&column.kind, field).filter(|_| !column.generated) {
                    let place = existing.iter().position(|other| other.name == column.name);
                    wanted.push((column.name.clone(), wider, place));
                }
            }
            Some(_) => {}
        }
    }
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    // The server says what these types are.
    let columns: Vec<String> =
        wanted.iter().enumerate().map(|(i, (_, kind, _))| format!("c{i} {kind}")).collect();
    let shape = "pg_temp.gristmill_shape";
    client.batch(&format!("CREATE TABLE {shape} ({})", columns.join(", ")))?;
    let rows = client.query("SELECT 'pg_temp.gristmill_shape'::regclass::oid", &[])?;
    let oid = rows.first().map_or(0, |row| row.get::<_, u32>(0));
    let shaped = existing_columns(client, oid)?;
    client.batch(&format!("DROP TABLE {shape}"))?;
    let mut changes = Vec::new();
    for ((name, _, place), shaped) in wanted.into_iter().zip(shaped) {
        let (column, kind) = (quoted(&name), &shaped.kind.name);
        match place {
            Some(place) => {
                changes.push(format!("ALTER COLUMN {column} TYPE {kind}"));
                existing[place].kind = shaped.kind;
            }
            None => {
                changes.push(format!("ADD COLUMN {column} {kind}"));
                existing.push(Existing { name, ..shaped });
            }
        }
    }
    Ok(changes)
}

/// The type that a column needs to hold all values of a field, where its own is narrower and of
/// the same sort.
fn wider(column: &ColumnType, field: &Field) -> Option<String> {
    let declared = declared(field);
    let narrow = match (column.oid, declared.as_str()) {
        (oid::INT2, "integer" | "bigint") | (oid::INT4, "bigint") => true,
        (oid::FLOAT4, "double precision") => true,
        (oid::VARCHAR | oid::BPCHAR, "text") => column.modifier >= 0,
        (oid::NUMERIC, _) => {
            let (&DataType::Decimal128(precision, scale), Some((digits, fraction))) =
                (field.data_type(), precision_and_scale(column.modifier))
            else {
                return None;
            };
            let has = (i32::from(digits), i32::from(fraction));
            let (whole, fraction) = wider_decimal(has, (precision, scale))?;
            return Some(format!("numeric({}, {fraction})", whole + fraction));
        }
        _ => false,
    };
    narrow.then_some(declared)
}

/// Identifier, quoted name and kind of a table.
fn find(client: &Client, name: &str) -> Result<Option<(u32, String, String)>, DatabaseError> {
    let (schema, table) = match name.split_once('.') {
        Some((schema, table)) => (Some(schema), table),
        None => (None, name),
    };
    let rows = client.query(
        "SELECT c.oid, n.nspname::text, c.relname::text, c.relkind::text \
         FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace \
         WHERE c.relname = $2 AND c.relkind IN ('r', 'p', 'v', 'm', 'f') \
         AND CASE WHEN $1::text IS NULL THEN pg_table_is_visible(c.oid) ELSE n.nspname = $1 END",
        &[&schema, &table],
    )?;
    Ok(rows.first().map(|row| {
        let (schema, table): (String, String) = (row.get(1), row.get(2));
        (row.get(0), format!("{}.{}", quoted(&schema), quoted(&table)), row.get(3))
    }))
}

fn existing_columns(client: &Client, table: u32) -> Result<Vec<Existing>, DatabaseError> {
    let rows = client.query(
        "SELECT a.attname::text, CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.oid END, \
         CASE t.typtype WHEN 'd' THEN t.typtypmod ELSE a.atttypmod END, t.typtype = 'e', \
         format_type(a.atttypid, a.atttypmod), a.attgenerated <> '', \
         a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' \
         FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid \
         WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
        &[&table],
    )?;
    let column = |row: &gristmill_database::Row| Existing {
        name: row.get(0),
        kind: ColumnType {
            oid: row.get(1),
            modifier: row.get(2),
            is_enum: row.get(3),
            name: row.get(4),
        },
        generated: row.get(5),
        required: row.get(6),
    };
    Ok(rows.iter().map(column).collect())
}

fn time(options: &Options, schema: &Schema) -> Option<usize> {
    let time = options.effective.as_ref()?;
    schema.fields().iter().position(|field| field.name() == time)
}

/// The statement that creates the table.
fn create_statement(options: &Options, schema: &Schema) -> String {
    let is_key = |name: &String| options.mode.is_keyed() && options.keys.contains(name);
    let mut columns: Vec<String> = schema
        .fields()
        .iter()
        .filter(|field| !(options.mode == Mode::Scd2 && options.is_time(field.name())))
        .map(|field| {
            // The unknown member of a dimension may have no key.
            let required = is_key(field.name()) && options.mode.finds_rows();
            let not_null = if required { " NOT NULL" } else { "" };
            format!("{} {}{not_null}", quoted(field.name()), declared(field))
        })
        .collect();
    if options.mode == Mode::Scd2 {
        let time = time(options, schema).map(|i| schema.field(i).data_type());
        let time = match time {
            Some(DataType::Date32 | DataType::Date64) => "date",
            Some(DataType::Timestamp(_, None)) => "timestamp",
            _ => "timestamptz",
        };
        dimension::add_columns(&mut columns, options, time);
    }
    format!("CREATE TABLE {} ({});", qualified(&options.table), columns.join(", "))
}

fn finish_statements(options: &Options) -> String {
    let table = qualified(&options.table);
    match options.mode {
        Mode::Upsert | Mode::InsertOnly => {
            format!("ALTER TABLE {table} ADD PRIMARY KEY ({});", key_list(options))
        }
        Mode::Scd2 => format!(
            "ALTER TABLE {table} ADD PRIMARY KEY ({}); {} CREATE UNIQUE INDEX {} ON {table} ({}, {});",
            quoted(&options.surrogate()),
            current_index(&options.table, options),
            index_name(&options.table, "version"),
            key_list(options),
            quoted(&options.version_columns.effective_date)
        ),
        Mode::Append | Mode::Replace | Mode::DeleteInsert => String::new(),
    }
}
