//! The table that is loaded: what it looks like, or will look like.

use arrow_schema::{DataType, Field, Schema};
use gristmill_core::Result;
use rusqlite::{Connection, OptionalExtension};

use super::cells::{declared_type, is_kept};
use super::{Encoding, dimension, quoted, refused};
use crate::changes::SchemaChanges;
use crate::fit::{TableColumn, attributes, check_given, is_view, no_columns, no_index, no_table};
use crate::scd2::check_kept;
use crate::statements::Silent;
use crate::table::{Create, Mode, Options};

/// The columns that are loaded, in the order of the records' columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) exists: bool,
    /// The table's name as the database has it.
    pub(crate) name: String,
    pub(crate) columns: Vec<Column>,
    /// The records' columns in the order of the table's, when the table has no other columns.
    pub(crate) order: Option<Vec<usize>>,
    /// How the database keeps text.
    pub(crate) encoding: Encoding,
    /// The column with the time from when on a record holds.
    pub(crate) time: Option<usize>,
    /// All columns of a dimension but those that the load keeps, in the order of the table.
    pub(crate) attributes: Vec<String>,
    /// Statements that add columns to a table that is there.
    pub(crate) changes: Vec<String>,
    pub(crate) silent: Silent,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Column {
    /// The column's name as the table has it.
    pub(crate) name: String,
    /// Its name as the records have it.
    pub(crate) field: String,
    /// The type it is declared with.
    pub(crate) declared: String,
    /// The affinity that follows: what SQLite makes of the values that it is given.
    pub(crate) affinity: &'static str,
    /// Whether SQLite keeps the values as they are given.
    pub(crate) kept: bool,
    /// For a column of the key, how the unique index compares it.
    pub(crate) key: Option<String>,
}

struct Existing {
    name: String,
    declared: String,
    generated: bool,
    required: bool,
    in_primary_key: bool,
}

impl TableColumn for Existing {
    fn name(&self) -> &str {
        &self.name
    }

    fn is_generated(&self) -> bool {
        self.generated
    }

    fn is_required(&self) -> bool {
        self.required
    }
}

impl Target {
    pub(crate) fn inspect(
        connection: &Connection,
        options: &Options,
        schema: &Schema,
    ) -> Result<Self> {
        let reading = |e| refused(&format!("cannot read the table `{}`", options.table), e);
        let found: Option<(String, String, bool)> = connection
            .query_row(
                "SELECT name, type, strict FROM pragma_table_list \
                 WHERE schema = 'main' AND name = ?1 COLLATE NOCASE",
                [&options.table],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
            )
            .optional()
            .map_err(reading)?;
        let Some((name, kind, strict)) = found else {
            return Self::planned(options, schema, encoding(connection).map_err(reading)?);
        };
        if kind == "view" {
            return Err(is_view(&name));
        }
        let mut existing = existing_columns(connection, &name).map_err(reading)?;
        let mut changes = Vec::new();
        if options.schema_changes.adds() {
            changes = add_columns(&name, &mut existing, schema, strict);
        }
        let mut columns = Vec::new();
        let mut missing = Vec::new();
        for field in schema.fields() {
            match existing.iter().find(|column| column.name.eq_ignore_ascii_case(field.name())) {
                Some(column) => {
                    check_given(&name, column)?;
                    columns.push(Column {
                        name: column.name.clone(),
                        field: field.name().clone(),
                        affinity: affinity(&column.declared, strict),
                        kept: is_kept(field, affinity(&column.declared, strict)),
                        declared: column.declared.clone(),
                        key: None,
                    });
                }
                None => missing.push(field.as_ref()),
            }
        }
        if !missing.is_empty() {
            let statements: Vec<String> =
                missing.iter().map(|field| add_column(&name, field, strict).1).collect();
            return Err(no_columns(&name, &missing, &statements.join(" ")));
        }
        let given = |name: &str| columns.iter().any(|given| given.name == name);
        let attributes = attributes(&name, &existing, options, given)?;
        match options.mode {
            Mode::Upsert | Mode::InsertOnly => {
                let indexes = unique_indexes(connection, &name, &existing).map_err(reading)?;
                mark_keys(&mut columns, options, &name, &indexes)?;
            }
            Mode::Scd2 => {
                check_kept(&name, options, |kept| {
                    existing.iter().any(|column| column.name.eq_ignore_ascii_case(kept))
                })?;
                let indexes = current_indexes(connection, &name, options).map_err(reading)?;
                mark_keys(&mut columns, options, &name, &indexes)?;
                dimension::check_keys(&columns, &name)?;
                dimension::check_times(connection, &name, options, schema)?;
            }
            Mode::Append | Mode::Replace | Mode::DeleteInsert => {}
        }
        let place = |table: &Existing| columns.iter().position(|given| given.name == table.name);
        let order: Option<Vec<usize>> = existing.iter().map(place).collect();
        let encoding = encoding(connection).map_err(reading)?;
        let time = options.time(schema);
        let silent = silent(connection, &name).map_err(reading)?;
        Ok(Self { exists: true, name, columns, order, encoding, time, attributes, changes, silent })
    }

    /// The table that will be created.
    fn planned(options: &Options, schema: &Schema, encoding: Encoding) -> Result<Self> {
        let mut target = Self {
            exists: false,
            name: options.table.clone(),
            columns: Vec::new(),
            order: (options.mode != Mode::Scd2).then(|| (0..schema.fields().len()).collect()),
            encoding,
            time: options.time(schema),
            attributes: Vec::new(),
            changes: Vec::new(),
            silent: Silent::default(),
        };
        for field in schema.fields() {
            let declared = declared_type(field);
            target.columns.push(Column {
                name: field.name().clone(),
                field: field.name().clone(),
                affinity: affinity(&declared, false),
                kept: is_kept(field, affinity(&declared, false)),
                declared,
                key: options.keys.contains(field.name()).then(|| "BINARY".to_owned()),
            });
        }
        let attributes = target.columns.iter().filter(|column| !options.is_time(&column.name));
        target.attributes = attributes.map(|column| column.name.clone()).collect();
        if options.create == Create::Never {
            let (table, key) = target.create_statements(options);
            let create: Vec<String> = [Some(table), key].into_iter().flatten().collect();
            return Err(no_table(options, &create.join(" ")));
        }
        Ok(target)
    }

    /// The statement that creates it, and the one that adds its key once rows are there.
    pub(crate) fn create_statements(&self, options: &Options) -> (String, Option<String>) {
        if options.mode == Mode::Scd2 {
            return dimension::create_statements(self, options);
        }
        let keys = &options.keys;
        let mut parts: Vec<String> = self
            .columns
            .iter()
            .map(|column| {
                let not_null = if column.key.is_some() { " NOT NULL" } else { "" };
                format!("{} {}{not_null}", quoted(&column.name), column.declared)
            })
            .collect();
        let names: Vec<String> = keys.iter().map(|key| quoted(key)).collect();
        let names = names.join(", ");
        // A single number is the row id itself.
        let is_row_id =
            keys.len() == 1 && self.keys().all(|i| self.columns[i].declared == "INTEGER");
        if is_row_id {
            parts.push(format!("PRIMARY KEY ({names})"));
        }
        let table = quoted(&self.name);
        let index = quoted(&format!("{}_key", self.name));
        let key = (!keys.is_empty() && !is_row_id)
            .then(|| format!("CREATE UNIQUE INDEX {index} ON {table} ({names});"));
        (format!("CREATE TABLE {table} ({});", parts.join(", ")), key)
    }

    /// The statement that creates the staging table. Its columns are such that SQLite copies rows
    /// whole where it can.
    pub(crate) fn stage_statement(&self) -> String {
        let order = self.order.clone().unwrap_or_else(|| (0..self.columns.len()).collect());
        let columns: Vec<String> = order
            .iter()
            .map(|&i| {
                let column = &self.columns[i];
                // A value that the table keeps in another form must not be copied as it is.
                let affinity = if column.kept { column.affinity } else { "BLOB" };
                let key = column.key.as_ref().map_or_else(String::new, |collation| {
                    // As in a table that is created.
                    let not_null = if self.exists { "" } else { " NOT NULL" };
                    format!("{not_null} COLLATE {}", quoted(collation))
                });
                format!("c{i} {affinity}{key}")
            })
            .collect();
        let time = if self.time.is_some() { ",at TEXT" } else { "" };
        format!("CREATE TABLE rows({}{time})", columns.join(","))
    }

    /// Indices of the key columns.
    pub(crate) fn keys(&self) -> impl Iterator<Item = usize> {
        (0..self.columns.len()).filter(|&i| self.columns[i].key.is_some())
    }
}

/// The columns of the records that a table does not have, where records with values there are
/// rejected; none when there is no table.
pub(crate) fn unknown(
    connection: &Connection,
    options: &Options,
    schema: &Schema,
) -> Result<Vec<usize>> {
    if options.schema_changes != SchemaChanges::Quarantine {
        return Ok(Vec::new());
    }
    let reading = |e| refused(&format!("cannot read the table `{}`", options.table), e);
    let existing = existing_columns(connection, &options.table).map_err(reading)?;
    let is_there = |name: &str| existing.iter().any(|it| it.name.eq_ignore_ascii_case(name));
    let unknown = |i: &usize| !existing.is_empty() && !is_there(schema.field(*i).name());
    Ok((0..schema.fields().len()).filter(unknown).collect())
}

/// Adds the columns that a table does not have to those that it has, and answers the statements.
fn add_columns(
    table: &str,
    existing: &mut Vec<Existing>,
    schema: &Schema,
    strict: bool,
) -> Vec<String> {
    let mut statements = Vec::new();
    for field in schema.fields() {
        if existing.iter().any(|column| column.name.eq_ignore_ascii_case(field.name())) {
            continue;
        }
        let (declared, statement) = add_column(table, field, strict);
        existing.push(Existing {
            name: field.name().clone(),
            declared,
            generated: false,
            required: false,
            in_primary_key: false,
        });
        statements.push(statement);
    }
    statements
}

/// The type of a column that a table does not have, and the statement that adds it.
fn add_column(table: &str, field: &Field, strict: bool) -> (String, String) {
    let mut declared = declared_type(field);
    if strict {
        // A strict table knows these types only.
        declared = match affinity(&declared, false) {
            "NUMERIC" if *field.data_type() == DataType::Boolean => "INTEGER",
            "NUMERIC" => "TEXT",
            other => other,
        }
        .to_owned();
    }
    let column = quoted(field.name());
    let statement = format!("ALTER TABLE {} ADD COLUMN {column} {declared};", quoted(table));
    (declared, statement)
}

/// What a table may leave undone without a word: a trigger may say `RAISE(IGNORE)`, and a constraint
/// `ON CONFLICT IGNORE`.
fn silent(connection: &Connection, table: &str) -> rusqlite::Result<Silent> {
    let may_be: bool = connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM main.sqlite_schema WHERE tbl_name = ?1 \
         AND (type = 'trigger' OR type = 'table' AND sql LIKE '%CONFLICT%IGNORE%'))",
        [table],
        |row| row.get(0),
    )?;
    Ok(Silent { inserts: may_be, updates: may_be, deletes: may_be })
}

fn encoding(connection: &Connection) -> rusqlite::Result<Encoding> {
    let name: String = connection.pragma_query_value(None, "encoding", |row| row.get(0))?;
    Ok(match name.as_str() {
        "UTF-16le" => Encoding::Utf16Le,
        "UTF-16be" => Encoding::Utf16Be,
        _ => Encoding::Utf8,
    })
}

fn existing_columns(connection: &Connection, table: &str) -> rusqlite::Result<Vec<Existing>> {
    let mut statement = connection.prepare(
        "SELECT name, type, hidden, \"notnull\", dflt_value IS NULL, pk \
         FROM pragma_table_xinfo(?1, 'main')",
    )?;
    let rows = statement.query_map([table], |row| {
        let declared: String = row.get(1)?;
        let hidden: i64 = row.get(2)?;
        let (not_null, no_default): (bool, bool) = (row.get(3)?, row.get(4)?);
        let in_primary_key = row.get::<_, i64>(5)? > 0;
        // A column that may be an alias of the row id gets its value from SQLite.
        let may_be_row_id = in_primary_key && declared.eq_ignore_ascii_case("integer");
        Ok(Existing {
            name: row.get(0)?,
            generated: hidden > 1,
            required: not_null && no_default && hidden == 0 && !may_be_row_id,
            in_primary_key,
            declared,
        })
    })?;
    rows.collect()
}

/// The columns of each unique index, with their collations.
type Index = Vec<(String, String)>;

fn unique_indexes(
    connection: &Connection,
    table: &str,
    columns: &[Existing],
) -> rusqlite::Result<Vec<Index>> {
    let mut statement = connection.prepare(
        "SELECT name FROM pragma_index_list(?1, 'main') WHERE \"unique\" AND NOT partial",
    )?;
    let names: Vec<String> =
        statement.query_map([table], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    let mut indexes = parts_of(connection, names)?;
    // The row id's alias has no index of its own.
    let primary: Index = columns
        .iter()
        .filter(|column| column.in_primary_key)
        .map(|column| (column.name.clone(), "BINARY".to_owned()))
        .collect();
    if primary.len() == 1 {
        indexes.push(primary);
    }
    Ok(indexes)
}

/// The columns of each unique index on the current rows of a dimension.
fn current_indexes(
    connection: &Connection,
    table: &str,
    options: &Options,
) -> rusqlite::Result<Vec<Index>> {
    let mut statement = connection.prepare(
        "SELECT l.name FROM pragma_index_list(?1, 'main') AS l JOIN main.sqlite_schema AS s \
         ON s.name = l.name AND s.type = 'index' WHERE l.\"unique\" AND l.partial \
         AND instr(lower(s.sql), lower(?2)) > 0",
    )?;
    let current = options.version_columns.is_current.as_str();
    let names: Vec<String> = statement
        .query_map([table, current], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    parts_of(connection, names)
}

fn parts_of(connection: &Connection, names: Vec<String>) -> rusqlite::Result<Vec<Index>> {
    let mut indexes = Vec::new();
    for name in names {
        let mut statement = connection
            .prepare("SELECT name, coll FROM pragma_index_xinfo(?1, 'main') WHERE key")?;
        let parts: Vec<(Option<String>, String)> = statement
            .query_map([name], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<_>>()?;
        // An index on an expression has a part without a name, and does not count.
        indexes.extend(
            parts.into_iter().map(|(name, coll)| Some((name?, coll))).collect::<Option<Index>>(),
        );
    }
    Ok(indexes)
}

fn mark_keys(
    columns: &mut [Column],
    options: &Options,
    table: &str,
    indexes: &[Index],
) -> Result<()> {
    let is_key = |name: &str| options.keys.iter().any(|key| key.eq_ignore_ascii_case(name));
    let found = indexes.iter().find(|index| {
        index.len() == options.keys.len() && index.iter().all(|(name, _)| is_key(name))
    });
    let Some(index) = found else {
        let statement = if options.mode == Mode::Scd2 {
            dimension::current_index(table, options)
        } else {
            let keys: Vec<String> = options.keys.iter().map(|key| quoted(key)).collect();
            let index = quoted(&format!("{table}_key"));
            let on = format!("{} ({})", quoted(table), keys.join(", "));
            format!("CREATE UNIQUE INDEX {index} ON {on};")
        };
        return Err(no_index(table, options, &statement));
    };
    for column in columns {
        let part = index.iter().find(|(name, _)| name.eq_ignore_ascii_case(&column.name));
        column.key = part.map(|(_, collation)| collation.clone());
    }
    Ok(())
}

/// The affinity of a declared type: <https://sqlite.org/datatype3.html#determination_of_column_affinity>.
fn affinity(declared: &str, strict: bool) -> &'static str {
    let declared = declared.to_ascii_uppercase();
    let has = |parts: &[&str]| parts.iter().any(|part| declared.contains(part));
    if has(&["INT"]) {
        "INTEGER"
    } else if has(&["CHAR", "CLOB", "TEXT"]) {
        "TEXT"
    } else if declared.is_empty() || has(&["BLOB"]) || (strict && declared == "ANY") {
        "BLOB"
    } else if has(&["REAL", "FLOA", "DOUB"]) {
        "REAL"
    } else {
        "NUMERIC"
    }
}
