//! Where databases say the same in different words.

/// The SQL of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
}

impl Dialect {
    /// The number of a staged record.
    pub(crate) fn row(self) -> &'static str {
        match self {
            Dialect::Sqlite => "rowid",
            Dialect::Postgres => "seq",
        }
    }

    /// A join that is made in the order in which it is written, where a planner could mistake it.
    pub(crate) fn join(self) -> &'static str {
        match self {
            Dialect::Sqlite => "CROSS JOIN",
            Dialect::Postgres => "JOIN",
        }
    }

    pub(crate) fn truth(self, value: bool) -> &'static str {
        match (self, value) {
            (Dialect::Sqlite, true) => "1",
            (Dialect::Sqlite, false) => "0",
            (Dialect::Postgres, true) => "TRUE",
            (Dialect::Postgres, false) => "FALSE",
        }
    }

    /// The parameter with this number, a 64-bit integer.
    pub(crate) fn parameter(self, number: usize) -> String {
        match self {
            Dialect::Sqlite => format!("?{number}"),
            Dialect::Postgres => format!("${number}::bigint"),
        }
    }

    /// Equal, or both null.
    pub(crate) fn same(self, one: &str, other: &str) -> String {
        match self {
            Dialect::Sqlite => format!("{one} IS {other} COLLATE BINARY"),
            Dialect::Postgres => format!("{one} IS NOT DISTINCT FROM {other}"),
        }
    }

    /// A column of the destination equals one of the staged records; a collation where the
    /// database needs to be told.
    pub(crate) fn same_key(self, row: &str, record: &str, collation: &str) -> String {
        match self {
            // The unary plus keeps the planner from walking the table to look up staged records.
            Dialect::Sqlite => format!("{row} = +{record} COLLATE {collation}"),
            Dialect::Postgres => format!("{row} = {record}"),
        }
    }

    /// That a number is not in a column of a table that lasts for the load. Each database has one
    /// form of it that it answers by a lookup, and one that it answers by reading all rows each time.
    pub(crate) fn not_among(self, value: &str, column: &str, table: &str) -> String {
        match self {
            Dialect::Sqlite => {
                format!("{value} NOT IN (SELECT {column} FROM {table} WHERE {column} IS NOT NULL)")
            }
            Dialect::Postgres => {
                format!("NOT EXISTS (SELECT 1 FROM {table} AS n WHERE n.{column} = {value})")
            }
        }
    }

    /// Whether records that change nothing are kept among the judged ones, to know which keys the
    /// input has. Otherwise the same join finds out which keys are missing.
    pub(crate) fn keeps_unchanged(self) -> bool {
        self == Dialect::Sqlite
    }

    /// Whether it can join two tables so that the rows of either that have no partner remain.
    pub(crate) fn joins_fully(self) -> bool {
        self == Dialect::Postgres
    }

    /// What an INSERT says behind the columns, so that it may give numbers that the database would
    /// give itself.
    pub(crate) fn overriding(self) -> &'static str {
        match self {
            Dialect::Sqlite => "",
            Dialect::Postgres => " OVERRIDING SYSTEM VALUE",
        }
    }

    /// Before all times, and after all times.
    pub(crate) fn first_time(self) -> &'static str {
        match self {
            Dialect::Sqlite => "''",
            Dialect::Postgres => "'-infinity'",
        }
    }

    pub(crate) fn last_time(self) -> &'static str {
        match self {
            Dialect::Sqlite => "'~'",
            Dialect::Postgres => "'infinity'",
        }
    }

    /// A table that lasts for the load.
    pub(crate) fn create_table(self, name: &str, columns: &str, key: &str) -> String {
        match self {
            Dialect::Sqlite => {
                format!("CREATE TABLE {name} ({columns}, PRIMARY KEY ({key})) WITHOUT ROWID;")
            }
            Dialect::Postgres => format!("CREATE TABLE {name} ({columns});"),
        }
    }

    /// What the planner is told of a table that was filled.
    pub(crate) fn analyze(self, name: &str) -> String {
        match self {
            Dialect::Sqlite => String::new(),
            Dialect::Postgres => format!("ANALYZE {name};"),
        }
    }
}
