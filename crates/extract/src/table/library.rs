//! Tables and queries as the library says them.

use std::num::NonZeroUsize;

use gristmill_core::{ExtractContext, Extractor, FieldType, Result};
use indexmap::IndexMap;

use super::{Cursor, Query, Table, open};

/// What tables and queries are told alike.
macro_rules! source {
    ($source:ident, $field:ident, $what:literal, $example:literal $(, $more:ident)?) => {
        impl $source {
            #[doc = concat!($what, " of a SQLite database.")]
            ///
            /// ```
            #[doc = concat!("use gristmill_extract::", stringify!($source), ";")]
            ///
            #[doc = $example]
            /// assert_eq!(source.database, "sqlite://shop.db");
            /// ```
            pub fn sqlite(path: impl AsRef<std::path::Path>, $field: impl Into<String>) -> Self {
                Self::of(format!("sqlite://{}", path.as_ref().display()), $field)
            }

            #[doc = concat!($what, " of a PostgreSQL database: `postgres://ann@db/shop`.")]
            pub fn postgres(url: impl Into<String>, $field: impl Into<String>) -> Self {
                Self::of(url, $field)
            }

            #[doc = concat!($what, " of a MariaDB or MySQL database: `mysql://ann@db/shop`.")]
            pub fn mysql(url: impl Into<String>, $field: impl Into<String>) -> Self {
                Self::of(url, $field)
            }

            fn of(database: impl Into<String>, $field: impl Into<String>) -> Self {
                Self {
                    $field: $field.into(),
                    database: database.into(),
                    columns: IndexMap::new(),
                    cursor: None,
                    $($more: None,)?
                }
            }

            /// Declares the type of a column that the database does not tell.
            #[must_use]
            pub fn column(mut self, name: impl Into<String>, field_type: FieldType) -> Self {
                self.columns.insert(name.into(), field_type);
                self
            }

            /// Reads only what is new since the bookmark in the range of the [`ExtractContext`].
            #[must_use]
            pub fn cursor(mut self, cursor: Cursor) -> Self {
                self.cursor = Some(cursor);
                self
            }

            /// Opens it.
            ///
            /// # Errors
            /// When the database or the table cannot be read.
            pub fn extractor(&self, context: &ExtractContext) -> Result<Box<dyn Extractor>> {
                open(self.clone().wanted(), context)
            }
        }
    };
}

source!(
    Table,
    table,
    "A table or a view",
    r#"let source = Table::sqlite("shop.db", "orders");"#,
    connections
);
source!(
    Query,
    query,
    "What a query answers",
    r#"let source = Query::sqlite("shop.db", "SELECT id FROM orders ORDER BY id");"#
);

impl Table {
    /// Reads a table of PostgreSQL, MariaDB or MySQL over so many connections at the same time. The
    /// records and their order are the same for any number.
    #[must_use]
    pub fn connections(mut self, connections: NonZeroUsize) -> Self {
        self.connections = Some(connections);
        self
    }
}
