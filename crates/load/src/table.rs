//! Tables of databases. This build knows SQLite, PostgreSQL, MariaDB and MySQL: see
//! [`crate::sqlite`], [`crate::postgres`] and [`crate::mysql`].

mod library;
mod published;
mod versions;

use std::collections::BTreeMap;
use std::path::PathBuf;

use arrow_schema::SchemaRef;
use gristmill_core::{LoadContext, Loader, LoaderKind, Mistake, Pointer, Result};
use gristmill_database::{Address, mysql::Address as MySqlAddress};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::changes::{SchemaChanges, quarantine};
use crate::reading::{self, no_column};
use crate::scd2::{Missing, Scope, UnknownMember, VersionColumns};
use crate::{mysql, postgres, sqlite};

pub use library::Table;

/// The registry entry.
pub const KIND: LoaderKind = LoaderKind {
    name: "table",
    about: "Loads a table of a SQLite, PostgreSQL, MariaDB or MySQL database in one transaction.",
    example: "table: dim_fund\ndatabase: sqlite://warehouse.db\nmode: upsert\nkeys: [fund_code, share_class]\n",
    schema: |generator| generator.subschema_for::<Options>(),
    check: |item| reading::check(item, Options::check),
    bind: |item, schema| reading::check(item, |options: &Options| options.bind(schema)),
    open: |item, schema, context| reading::options::<Options>(item)?.open(schema, context),
    published: |item, base, run| {
        reading::options::<Options>(item)?.has_published(base, run).map(Some)
    },
};

/// What happens to the rows that are there already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// They stay, and all records become new rows.
    #[default]
    Append,
    /// They go, and the records take their place.
    Replace,
    /// A record whose key is there changes that row where it differs; others become new rows.
    Upsert,
    /// A record whose key is there is left out, whatever else it says, and counts as unchanged;
    /// others become new rows.
    InsertOnly,
    /// The rows of each partition that a record has go, and the records take their place: see
    /// `partition_by`.
    DeleteInsert,
    /// A slowly changing dimension of type 2: a record that differs from the current row of its
    /// key ends that row and begins a new one. See `keys`, `track`, `effective` and `missing`.
    Scd2,
}

impl Mode {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Mode::Append => "append",
            Mode::Replace => "replace",
            Mode::Upsert => "upsert",
            Mode::InsertOnly => "insert_only",
            Mode::DeleteInsert => "delete_insert",
            Mode::Scd2 => "scd2",
        }
    }

    /// Whether a record may stand for a row that is there, told by its key.
    pub(crate) fn finds_rows(self) -> bool {
        matches!(self, Mode::Upsert | Mode::InsertOnly)
    }

    /// Whether records have a key.
    pub(crate) fn is_keyed(self) -> bool {
        self.finds_rows() || self == Mode::Scd2
    }
}

/// Which of several records with the same key, in one input, is loaded. The others are rejected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Duplicates {
    /// The last one in the order of the input.
    #[default]
    Last,
    /// The first one.
    First,
    /// None: all of them are rejected.
    Reject,
}

/// Whether a missing table is created.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Create {
    /// It is created with the columns of the records, and the database file too.
    #[default]
    IfMissing,
    /// It must be there.
    Never,
}

/// A table of a database.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Name of the table; perhaps with its schema in PostgreSQL, or its database in MariaDB and
    /// MySQL, as in `sales.dim_fund`.
    pub table: String,
    /// The database: `sqlite://` and a path relative to the pipeline file, as in
    /// `sqlite://warehouse.db`; `sqlite:///data/warehouse.db` is an absolute path. Or
    /// `postgres://user@host:5432/database`, with parameters like `sslmode` and
    /// `connect_timeout`; servers on other machines must show a certificate
    /// (`sslmode=verify-full`) unless said. The password comes from `PGPASSWORD`, from
    /// `~/.pgpass`, or from the URL by a parameter: `postgres://user:${PASSWORD}@host/database`.
    /// Or `mysql://user@host:3306/database` for MariaDB and MySQL, with the parameters `sslmode`
    /// (as above), `sslrootcert`, `connect_timeout`, `statement_timeout` and `socket`; the password
    /// comes from `MYSQL_PWD`, from `[client]` in `~/.my.cnf`, or from the URL.
    pub database: String,
    /// Whether rows are added, replaced, or matched by their key.
    #[serde(default)]
    pub mode: Mode,
    /// The columns that tell rows apart, for `upsert` and `insert_only`, or dimension members, for `scd2`. The table
    /// needs a unique index on them (for `scd2`, on those of the current rows); a table that is
    /// created has one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
    /// For `delete_insert`: the columns that say which rows the records replace, as in
    /// `[as_of_date]`. An empty input replaces none. Records that are rejected do not count: those
    /// of their partition that are not replace its rows, and a partition of which none is loaded
    /// keeps them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partition_by: Vec<String>,
    /// Which of several records with the same key (for `scd2`, the same key and time) is loaded.
    #[serde(default, skip_serializing_if = "is_default")]
    pub duplicates: Duplicates,
    /// For `scd2`: the columns whose change makes a new version. The others are written when a
    /// version begins, and left alone after that. All but the keys and `effective` when left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub track: Vec<String>,
    /// For `scd2`: the column with a number for each version, that facts refer to. The table's name
    /// with `_key` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub surrogate_key: Option<String>,
    /// For `scd2`: the column of dates or timestamps from when on a record holds; the run's start
    /// when left out. Records may come late, and in any order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effective: Option<String>,
    /// For `scd2`: what becomes of the current row of a key that no record has. It ends at the
    /// run's start, or at the latest time in the `effective` column. A rejected record does not
    /// count as there, and an empty input ends everything that is in scope.
    #[serde(default, skip_serializing_if = "is_default")]
    pub missing: Missing,
    /// For `scd2`: which keys the input is complete for: `full`, or `{partition: [columns]}`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub scope: Scope,
    /// For `scd2`: the names of the columns that the load keeps, for a table that calls them
    /// otherwise.
    #[serde(default, skip_serializing_if = "is_default")]
    pub version_columns: VersionColumns,
    /// For `scd2`: a row that facts refer to when they know no key, as in
    /// `{fund_key: -1, fund_name: unknown}`. It is added when it is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<BTreeMap<String, Value>>")]
    pub unknown_member: Option<UnknownMember>,
    /// Whether a missing table is created.
    #[serde(default)]
    pub create: Create,
    /// What happens when the records have columns that the table does not have.
    #[serde(default, skip_serializing_if = "is_default")]
    pub schema_changes: SchemaChanges,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Options {
    /// Appends to a table.
    pub fn new(database: impl Into<String>, table: impl Into<String>) -> Self {
        Self {
            table: table.into(),
            database: database.into(),
            mode: Mode::default(),
            keys: Vec::new(),
            partition_by: Vec::new(),
            duplicates: Duplicates::default(),
            track: Vec::new(),
            surrogate_key: None,
            effective: None,
            missing: Missing::default(),
            scope: Scope::default(),
            version_columns: VersionColumns::default(),
            unknown_member: None,
            create: Create::default(),
            schema_changes: SchemaChanges::default(),
        }
    }

    /// Where the database is.
    pub(crate) fn place(&self) -> Result<Place, Mistake> {
        let at = || Pointer::root().key("database");
        match self.database.split_once(':') {
            Some(("sqlite", rest)) => sqlite_path(rest)
                .map(Place::Sqlite)
                .map_err(|message| Mistake::new(at(), message).hint(EXAMPLES)),
            Some(("postgres" | "postgresql", _)) => {
                let address = Address::parse(&self.database).map_err(|mut mistake| {
                    mistake.at = at();
                    mistake
                })?;
                Ok(Place::Postgres(Box::new(address)))
            }
            Some(("mysql" | "mariadb", _)) => {
                let address =
                    MySqlAddress::parse(&self.database).map_err(|mistake| mistake.under(&at()))?;
                Ok(Place::MySql(Box::new(address)))
            }
            // The rest of the URL may hold a password, and stays out of the message.
            Some((scheme, _)) => Err(Mistake::new(
                at(),
                format!("`{scheme}` is not a kind of database that this build loads into"),
            )
            .hint(EXAMPLES)),
            None => Err(Mistake::new(at(), "a database is a URL").hint(EXAMPLES)),
        }
    }

    /// Mistakes that are seen without columns.
    pub(crate) fn check(&self) -> Vec<Mistake> {
        let at = |key: &str| Pointer::root().key(key);
        let mut mistakes = Vec::new();
        let place = self.place();
        let name = self.table.to_ascii_lowercase();
        let reserved = match &place {
            Ok(Place::Sqlite(_)) => name.starts_with("sqlite_") || name == sqlite::LOADS,
            Ok(Place::Postgres(_)) => name.rsplit('.').next() == Some(postgres::LOADS),
            Ok(Place::MySql(_)) => name.rsplit('.').next() == Some(mysql::LOADS),
            Err(_) => false,
        };
        if self.table.is_empty() || self.table.contains('\0') {
            mistakes.push(Mistake::new(at("table"), "a table needs a name"));
        } else if reserved {
            mistakes.push(
                Mistake::new(at("table"), format!("the name `{}` is reserved", self.table))
                    .hint("choose another name"),
            );
        }
        mistakes.extend(place.err());
        if self.mode.is_keyed() && self.keys.is_empty() {
            mistakes.push(
                Mistake::new(at("mode"), format!("{} needs keys", self.mode.name()))
                    .hint("add `keys:` with the columns that tell rows apart"),
            );
        }
        if self.mode == Mode::DeleteInsert && self.partition_by.is_empty() {
            mistakes.push(
                Mistake::new(at("mode"), "delete_insert needs partitions")
                    .hint("add `partition_by:` with the columns that say which rows are replaced"),
            );
        }
        let keyed = ["upsert", "insert_only", "scd2"];
        let versions = &keyed[2..];
        let unused = [
            ("partition_by", !self.partition_by.is_empty(), &["delete_insert"][..]),
            ("keys", !self.keys.is_empty(), &keyed[..]),
            ("duplicates", !is_default(&self.duplicates), &keyed[..]),
            ("track", !self.track.is_empty(), versions),
            ("surrogate_key", self.surrogate_key.is_some(), versions),
            ("effective", self.effective.is_some(), versions),
            ("missing", !is_default(&self.missing), versions),
            ("scope", !is_default(&self.scope), versions),
            ("version_columns", !is_default(&self.version_columns), versions),
            ("unknown_member", self.unknown_member.is_some(), versions),
        ];
        for (key, _, modes) in
            unused.into_iter().filter(|(_, set, modes)| *set && !modes.contains(&self.mode.name()))
        {
            mistakes.push(
                Mistake::new(
                    at(key),
                    format!("`{key}` has no meaning in mode `{}`", self.mode.name()),
                )
                .on_key()
                .hint(format!("add `mode: {}`, or leave it out", modes[0])),
            );
        }
        if self.mode == Mode::Scd2 {
            mistakes.extend(self.check_versions());
        }
        for (i, key) in self.keys.iter().enumerate() {
            if self.keys[..i].iter().any(|other| other.eq_ignore_ascii_case(key)) {
                let at = at("keys").index(i);
                mistakes.push(Mistake::new(at, format!("`{key}` is named twice")));
            }
        }
        mistakes
    }

    /// Mistakes that are seen with the columns.
    pub(crate) fn bind(&self, schema: &SchemaRef) -> Vec<Mistake> {
        let names: Vec<&String> = schema.fields().iter().map(|field| field.name()).collect();
        let mut mistakes = Vec::new();
        for (key, columns) in [("keys", &self.keys), ("partition_by", &self.partition_by)] {
            let unknown = columns.iter().enumerate().filter(|(_, column)| !names.contains(column));
            let at = |i| Pointer::root().key(key).index(i);
            mistakes.extend(unknown.map(|(i, column)| no_column(at(i), column, &names)));
        }
        if self.mode == Mode::Scd2 {
            mistakes.extend(self.bind_versions(schema));
        }
        let at = Pointer::root().key("table");
        let (max, alike) = match self.place() {
            Ok(Place::Postgres(_)) => (postgres::MAX_COLUMNS, None),
            Ok(Place::MySql(_)) => (mysql::MAX_COLUMNS, Some("MariaDB and MySQL")),
            _ => (sqlite::MAX_COLUMNS, Some("SQLite")),
        };
        for (i, name) in names.iter().enumerate().filter(|_| alike.is_some()) {
            if let Some(other) = names[..i].iter().find(|other| other.eq_ignore_ascii_case(name)) {
                mistakes.push(
                    Mistake::new(
                        at.clone(),
                        format!(
                            "columns `{other}` and `{name}` are the same in {}",
                            alike.unwrap_or_default()
                        ),
                    )
                    .hint("rename one of them with `map`"),
                );
            }
        }
        if names.is_empty() || names.len() > max {
            mistakes.push(Mistake::new(
                at,
                format!("a table has 1 to {max} columns, not {}", names.len()),
            ));
        }
        mistakes
    }

    /// Opens the table.
    ///
    /// # Errors
    /// When it cannot be loaded into, or the options have a mistake.
    pub(crate) fn open(
        &self,
        schema: &SchemaRef,
        context: &LoadContext<'_>,
    ) -> Result<Box<dyn Loader>> {
        if let Some(mistake) = self.check().into_iter().chain(self.bind(schema)).next() {
            return Err(reading::wrong(mistake));
        }
        let (loader, unknown) = match self.place().map_err(reading::wrong)? {
            Place::Sqlite(path) => sqlite::open(self, path, schema, context)?,
            Place::Postgres(address) => postgres::open(self, &address, schema, context)?,
            Place::MySql(address) => mysql::open(self, &address, schema, context)?,
        };
        Ok(quarantine(loader, &self.table, schema, unknown))
    }
}

/// Where a database is.
pub(crate) enum Place {
    /// The path of its file, as it was written.
    Sqlite(PathBuf),
    Postgres(Box<Address>),
    MySql(Box<MySqlAddress>),
}

const EXAMPLES: &str = "write it like sqlite://warehouse.db, postgres://user@host:5432/warehouse or mysql://user@host:3306/warehouse";

fn sqlite_path(rest: &str) -> Result<PathBuf, &'static str> {
    let path = rest.strip_prefix("//").unwrap_or(rest);
    if path.is_empty() || path.ends_with('/') || path.contains('\0') {
        return Err("the URL names no file");
    }
    if path == ":memory:" {
        return Err("a database in memory is gone after the run");
    }
    if path.contains('?') {
        return Err("parameters in a SQLite URL are not understood");
    }
    Ok(PathBuf::from(path))
}
