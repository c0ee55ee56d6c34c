//! Tables as the library says them.

use arrow_schema::SchemaRef;
use gristmill_core::{LoadContext, Loader, Result};
use serde_json::Value;

use super::{Create, Duplicates, Mode, Options};
use crate::changes::SchemaChanges;
use crate::scd2::{Missing, Scope, VersionColumns};

/// A table to load into, for the library: `Table::sqlite("warehouse.db", "dim_fund")`.
///
/// ```
/// use gristmill_load::Table;
/// use gristmill_load::scd2::{Missing, Scope};
/// use gristmill_load::table::{Create, Duplicates, Mode};
///
/// let table = || Table::sqlite("warehouse.db", "dim_fund");
/// // Changes the rows that differ, adds those that are new.
/// let upsert = table().mode(Mode::Upsert).keys(["fund_code"]).duplicates(Duplicates::First);
/// // Adds those that are new.
/// let once = table().mode(Mode::InsertOnly).keys(["fund_code"]).create(Create::Never);
/// // Replaces the days that the input has.
/// let days = table().mode(Mode::DeleteInsert).partition_by(["as_of_date"]);
/// // Keeps a row for each version.
/// let versions = table()
///     .mode(Mode::Scd2)
///     .keys(["fund_code"])
///     .track(["fund_name", "fee"])
///     .effective("as_of_date")
///     .missing(Missing::Close)
///     .scope(Scope::Partition(vec!["region".to_owned()]))
///     .surrogate_key("fund_key")
///     .unknown_member([("fund_key", -1)]);
/// for table in [upsert, once, days, versions] {
///     assert_eq!(table.item()["database"], "sqlite://warehouse.db");
///     assert!((gristmill_load::table::KIND.check)(&table.item()).is_empty());
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Table {
    options: Options,
}

impl Table {
    /// A table of a SQLite database, created when it is missing.
    pub fn sqlite(path: impl AsRef<std::path::Path>, table: impl Into<String>) -> Self {
        Self { options: Options::new(format!("sqlite://{}", path.as_ref().display()), table) }
    }

    /// A table of a PostgreSQL database: `Table::postgres("postgres://ann@db/warehouse", "funds")`.
    pub fn postgres(url: impl Into<String>, table: impl Into<String>) -> Self {
        Self { options: Options::new(url, table) }
    }

    /// A table of a MariaDB or MySQL database: `Table::mysql("mysql://ann@db/warehouse", "funds")`.
    pub fn mysql(url: impl Into<String>, table: impl Into<String>) -> Self {
        Self { options: Options::new(url, table) }
    }

    /// With the options of the pipeline file.
    pub fn with_options(options: Options) -> Self {
        Self { options }
    }

    /// What happens to the rows that are there already.
    #[must_use]
    pub fn mode(mut self, mode: Mode) -> Self {
        self.options.mode = mode;
        self
    }

    /// The columns that tell rows apart.
    #[must_use]
    pub fn keys<C: Into<String>>(mut self, keys: impl IntoIterator<Item = C>) -> Self {
        self.options.keys = keys.into_iter().map(Into::into).collect();
        self
    }

    /// The columns that say which rows are replaced, with [`Mode::DeleteInsert`].
    #[must_use]
    pub fn partition_by<C: Into<String>>(mut self, columns: impl IntoIterator<Item = C>) -> Self {
        self.options.partition_by = columns.into_iter().map(Into::into).collect();
        self
    }

    /// Which of several records with the same key is loaded.
    #[must_use]
    pub fn duplicates(mut self, duplicates: Duplicates) -> Self {
        self.options.duplicates = duplicates;
        self
    }

    /// The column with a number for each version, with [`Mode::Scd2`].
    #[must_use]
    pub fn surrogate_key(mut self, column: impl Into<String>) -> Self {
        self.options.surrogate_key = Some(column.into());
        self
    }

    /// The columns whose change makes a new version, with [`Mode::Scd2`].
    #[must_use]
    pub fn track<C: Into<String>>(mut self, columns: impl IntoIterator<Item = C>) -> Self {
        self.options.track = columns.into_iter().map(Into::into).collect();
        self
    }

    /// The column with the time from when on a record holds, with [`Mode::Scd2`].
    #[must_use]
    pub fn effective(mut self, column: impl Into<String>) -> Self {
        self.options.effective = Some(column.into());
        self
    }

    /// What becomes of keys that no record has, with [`Mode::Scd2`].
    #[must_use]
    pub fn missing(mut self, missing: Missing) -> Self {
        self.options.missing = missing;
        self
    }

    /// Which keys the input is complete for, with [`Mode::Scd2`].
    #[must_use]
    pub fn scope(mut self, scope: Scope) -> Self {
        self.options.scope = scope;
        self
    }

    /// What the columns are called that the load keeps, with [`Mode::Scd2`].
    #[must_use]
    pub fn version_columns(mut self, columns: VersionColumns) -> Self {
        self.options.version_columns = columns;
        self
    }

    /// A row that facts refer to when they know no key, with [`Mode::Scd2`]: a value for each
    /// column, among them the surrogate key.
    #[must_use]
    pub fn unknown_member<C: Into<String>, V: Into<Value>>(
        mut self,
        columns: impl IntoIterator<Item = (C, V)>,
    ) -> Self {
        let columns = columns.into_iter().map(|(name, value)| (name.into(), value.into()));
        self.options.unknown_member = Some(columns.collect());
        self
    }

    /// What happens when the records have columns that the table does not have.
    #[must_use]
    pub fn schema_changes(mut self, changes: SchemaChanges) -> Self {
        self.options.schema_changes = changes;
        self
    }

    /// Whether a missing table is created.
    #[must_use]
    pub fn create(mut self, create: Create) -> Self {
        self.options.create = create;
        self
    }

    /// The settings.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The item of the pipeline file that says the same.
    pub fn item(&self) -> Value {
        serde_json::to_value(&self.options).unwrap_or_default()
    }

    /// Opens it for batches of this schema.
    ///
    /// # Errors
    /// When the table cannot be loaded into, or does not fit the schema.
    pub fn open(&self, schema: &SchemaRef, context: &LoadContext<'_>) -> Result<Box<dyn Loader>> {
        self.options.open(schema, context)
    }
}
