//! The table that is loaded: created when it is missing, else taken as it is.

use arrow_schema::{DataType, Field, Schema, SchemaRef};
use gristmill_core::{Error, Result};
use gristmill_database::types::{ColumnType, Form, declared, oid, precision_and_scale};
use gristmill_database::{Client, DatabaseError, error_of, quoted};

use super::dimension;
use super::index::{current_index, index_name, key_columns};
use super::silent::silent;
use crate::changes::{SchemaChanges, known, wider_decimal};
use crate::fit::{is_view, no_table};
use crate::server::dimension::{add_columns, check_columns};
use crate::server::{self, create_columns, find_column, key_list, missing, qualified};
use crate::table::{Create, Mode, Options};

impl server::Kind for ColumnType {
    fn name(&self) -> &str {
        &self.name
    }

    fn is_integer(&self) -> bool {
        matches!(self.oid, oid::INT2 | oid::INT4 | oid::INT8)
    }

    fn is_truth(&self) -> bool {
        self.oid == oid::BOOL
    }

    fn is_time(&self) -> bool {
        matches!(self.oid, oid::DATE | oid::TIMESTAMP | oid::TIMESTAMPTZ)
    }

    fn is_same_time(&self, other: &Self) -> bool {
        self.oid == other.oid
    }
}

/// A column that records are loaded into.
type Column = server::Column<ColumnType, Form>;

/// A column of the table, loaded or not.
type Existing = server::Existing<ColumnType>;

/// A table.
pub(crate) type Target = server::Target<ColumnType, Form>;

impl Target {
    /// Looks at a table, and creates it where it is missing, in the transaction that is open. Answers
    /// which columns of the records it does not have, where they are not loaded.
    pub(crate) fn open(
        client: &Client,
        options: &Options,
        schema: &SchemaRef,
    ) -> Result<(Self, Vec<usize>)> {
        let refused = |e| error_of(&format!("cannot load table `{}`", options.table), e);
        let found = find(client, &options.table).map_err(refused)?;
        let existed = found.is_some();
        let (oid, table) = match found {
            Some((oid, table, kind)) => {
                if !matches!(kind.as_str(), "r" | "p" | "f") {
                    return Err(is_view(&options.table));
                }
                (oid, table)
            }
            None => {
                let create = create_statement(options, schema);
                if options.create == Create::Never {
                    let rest = finish_statements(options);
                    return Err(no_table(options, &format!("{create} {rest}")));
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
        let lacking = missing(&existing, options, schema, declared);
        let unknown = match &lacking {
            Some((missing, _)) if options.schema_changes == SchemaChanges::Quarantine => {
                missing.clone()
            }
            _ => Vec::new(),
        };
        let schema = &known(schema, &unknown);
        let mut target = Self::new(table, &existing, options, schema, |field, column| {
            match_column(&options.table, field, column)
        })?;
        if let Some((_, error)) = lacking.filter(|_| unknown.is_empty()) {
            return Err(error);
        }
        target.existed = existed;
        target.changes = changes;
        if existed {
            target.silent = silent(client, oid).map_err(refused)?;
        }
        target.complete(&existing, options)?;
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
            let find = |name: &str| find_column(&existing, name).map(|column| column.kind.clone());
            let kind = check_columns(options, find)?;
            target.time_value = target.time.map(|i| format!("s.c{i}::{}", kind.name));
            target.time_type = Some(kind);
        }
        let is_cast = |column: &Column| column.form == Form::Cast;
        target.takes_as_sent = !target.columns.iter().any(is_cast);
        let is_exact = |i: usize| {
            let column = &target.columns[i];
            !is_cast(column) && column.kind.is_exact()
        };
        let has_exact_keys = target.keys().chain(target.time).all(is_exact);
        target.has_exact_keys = has_exact_keys;
        Ok((target, unknown))
    }

    /// Refuses columns that records are found by, where the server would have to cast their values.
    fn check_keys(&self, options: &Options) -> Result<()> {
        let finds =
            |column: &&Column| column.is_key || options.partition_by.contains(&column.field);
        match self.columns.iter().filter(finds).find(|column| column.form == Form::Cast) {
            Some(column) => Err(column.wrong_key(&self.name)),
            None => Ok(()),
        }
    }

    /// The columns that records are loaded into, as SQL lists them.
    pub(crate) fn column_list(&self) -> String {
        let names: Vec<String> = self.columns.iter().map(|column| quoted(&column.name)).collect();
        names.join(", ")
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

/// How the values of a field get into its column.
fn match_column(table: &str, field: &Field, column: &Existing) -> Result<Column> {
    let kind = &column.kind;
    let mut matched = Column::new(table, field, column, Form::of(field, kind))?;
    if matched.form == Form::Cast {
        matched.staged = "text".to_owned();
        matched.around.1 = format!("::{}", kind.name);
    }
    // The database cannot say that two of them are equal.
    matched.as_text = matched.form == Form::Cast || kind.oid == oid::JSON;
    Ok(matched)
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
        let name = options.column_of(field.name());
        match find_column(existing, name) {
            None => wanted.push((name.to_owned(), declared(field), None)),
            Some(column) if options.schema_changes == SchemaChanges::Widen => {
                if let Some(wider) =
                    wider(&column.kind, field).filter(|_| column.generated.is_none())
                {
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
        generated: row.get::<_, bool>(5).then(String::new),
        required: row.get(6),
        is_new: false,
    };
    Ok(rows.iter().map(column).collect())
}

/// The statement that creates the table.
fn create_statement(options: &Options, schema: &Schema) -> String {
    let mut columns = create_columns(options, schema, |field, _| declared(field));
    if options.mode == Mode::Scd2 {
        let time = options.time(schema).map(|i| schema.field(i).data_type());
        let time = match time {
            Some(DataType::Date32 | DataType::Date64) => "date",
            Some(DataType::Timestamp(_, None)) => "timestamp",
            _ => "timestamptz",
        };
        add_columns(&mut columns, options, dimension::SURROGATE, time);
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
