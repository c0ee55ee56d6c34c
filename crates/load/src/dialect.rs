//! Where databases say the same in different words.

/// The SQL of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
    /// MariaDB and MySQL, where tables that last for the load are temporary, and where a statement
    /// of MySQL's may name such a table once only.
    MySql,
}

/// How the keys of a dimension are found that no record has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Absent {
    /// By the join that judges the records: the rows of either side that have no partner remain.
    Joined,
    /// By the judged records. Those that change nothing are kept among them for it.
    Unseen,
    /// By the staged records, whose keys have an index.
    NotStaged,
}

impl Dialect {
    /// The number of a staged record.
    pub(crate) fn row(self) -> &'static str {
        match self {
            Dialect::Sqlite => "rowid",
            Dialect::Postgres | Dialect::MySql => "seq",
        }
    }

    /// A join that is made in the order in which it is written, where a planner could mistake it.
    pub(crate) fn join(self) -> &'static str {
        match self {
            Dialect::Sqlite => "CROSS JOIN",
            Dialect::Postgres => "JOIN",
            Dialect::MySql => "STRAIGHT_JOIN",
        }
    }

    pub(crate) fn truth(self, value: bool) -> &'static str {
        match (self, value) {
            (Dialect::Sqlite, true) => "1",
            (Dialect::Sqlite, false) => "0",
            (_, true) => "TRUE",
            (_, false) => "FALSE",
        }
    }

    /// The parameter with this number, a 64-bit integer.
    pub(crate) fn parameter(self, number: usize) -> String {
        match self {
            Dialect::Sqlite | Dialect::MySql => format!("?{number}"),
            Dialect::Postgres => format!("${number}::bigint"),
        }
    }

    /// Equal, or both null.
    pub(crate) fn same(self, one: &str, other: &str) -> String {
        match self {
            Dialect::Sqlite => format!("{one} IS {other} COLLATE BINARY"),
            Dialect::Postgres => format!("{one} IS NOT DISTINCT FROM {other}"),
            Dialect::MySql => format!("{one} <=> {other}"),
        }
    }

    /// Equal, or both null, of values that perhaps can be compared as texts only.
    pub(crate) fn same_value(self, one: &str, other: &str, as_text: bool) -> String {
        match as_text {
            true => self.same(&self.text(one), &self.text(other)),
            false => self.same(one, other),
        }
    }

    /// A value as text, for people.
    pub(crate) fn text(self, value: &str) -> String {
        match self {
            Dialect::Sqlite => format!(
                "CASE typeof({value}) WHEN 'blob' THEN lower(hex({value})) \
                 ELSE CAST({value} AS TEXT) END"
            ),
            Dialect::Postgres => format!("CAST({value} AS TEXT)"),
            Dialect::MySql => format!("CAST({value} AS CHAR)"),
        }
    }

    /// Changes rows of a table `t` by those of others that fulfil a condition; columns with their
    /// values.
    pub(crate) fn update(
        self,
        table: &str,
        set: &[(String, String)],
        from: &str,
        condition: &str,
    ) -> String {
        let prefix = if self == Dialect::MySql { "t." } else { "" };
        let set: Vec<String> =
            set.iter().map(|(column, value)| format!("{prefix}{column} = {value}")).collect();
        let set = set.join(", ");
        match self {
            Dialect::MySql => {
                format!("UPDATE {from} STRAIGHT_JOIN {table} AS t SET {set} WHERE {condition}")
            }
            _ => format!("UPDATE {table} AS t SET {set} FROM {from} WHERE {condition}"),
        }
    }

    /// Takes out the rows of a table `t` for which there is one of another, with its alias, that
    /// fulfils a condition.
    pub(crate) fn delete(self, table: &str, other: &str, condition: &str) -> String {
        match self {
            Dialect::MySql => format!("DELETE t FROM {table} AS t JOIN {other} ON {condition};"),
            _ => format!(
                "DELETE FROM {table} AS t WHERE EXISTS (SELECT 1 FROM {other} WHERE {condition});"
            ),
        }
    }

    /// A column of the destination equals one of the staged records; a collation where the
    /// database needs to be told.
    pub(crate) fn same_key(self, row: &str, record: &str, collation: &str) -> String {
        match self {
            // The unary plus keeps the planner from walking the table to look up staged records.
            Dialect::Sqlite => format!("{row} = +{record} COLLATE {collation}"),
            Dialect::Postgres | Dialect::MySql => format!("{row} = {record}"),
        }
    }

    /// That a number is not in a column of a table that lasts for the load. Each database has one
    /// form of it that it answers by a lookup, and one that it answers by reading all rows each time.
    pub(crate) fn not_among(self, value: &str, column: &str, table: &str) -> String {
        match self {
            Dialect::Sqlite => {
                format!("{value} NOT IN (SELECT {column} FROM {table} WHERE {column} IS NOT NULL)")
            }
            Dialect::Postgres | Dialect::MySql => {
                format!("NOT EXISTS (SELECT 1 FROM {table} AS n WHERE n.{column} = {value})")
            }
        }
    }

    /// How the keys of a dimension are found that no record has.
    pub(crate) fn absent(self) -> Absent {
        match self {
            Dialect::Sqlite => Absent::Unseen,
            Dialect::Postgres => Absent::Joined,
            Dialect::MySql => Absent::NotStaged,
        }
    }

    /// Changes the rows of a table whose number is in the column `sk` of another.
    pub(crate) fn update_listed(
        self,
        table: &str,
        set: &[(String, String)],
        number: &str,
        listed: &str,
    ) -> String {
        if self == Dialect::MySql {
            // It would walk through the table to look up each of its rows.
            return self.update(
                table,
                set,
                &format!("{listed} AS g"),
                &format!("t.{number} = g.sk"),
            );
        }
        let set: Vec<String> =
            set.iter().map(|(column, value)| format!("{column} = {value}")).collect();
        format!("UPDATE {table} SET {} WHERE {number} IN (SELECT sk FROM {listed})", set.join(", "))
    }

    /// What an INSERT says behind the columns, so that it may give numbers that the database would
    /// give itself.
    pub(crate) fn overriding(self) -> &'static str {
        match self {
            Dialect::Sqlite | Dialect::MySql => "",
            Dialect::Postgres => " OVERRIDING SYSTEM VALUE",
        }
    }

    /// Before all times, and after all times.
    pub(crate) fn first_time(self) -> &'static str {
        match self {
            Dialect::Sqlite => "''",
            Dialect::Postgres => "'-infinity'",
            Dialect::MySql => "CAST('0001-01-01 00:00:00' AS DATETIME(6))",
        }
    }

    pub(crate) fn last_time(self) -> &'static str {
        match self {
            Dialect::Sqlite => "'~'",
            Dialect::Postgres => "'infinity'",
            Dialect::MySql => "CAST('9999-12-31 00:00:00' AS DATETIME(6))",
        }
    }

    /// A table that lasts for the load.
    pub(crate) fn create_table(self, name: &str, columns: &str, key: &str) -> String {
        match self {
            Dialect::Sqlite => {
                format!("CREATE TABLE {name} ({columns}, PRIMARY KEY ({key})) WITHOUT ROWID;")
            }
            Dialect::Postgres => format!("CREATE TABLE {name} ({columns});"),
            Dialect::MySql => {
                format!("CREATE TEMPORARY TABLE {name} ({columns}, PRIMARY KEY ({key}));")
            }
        }
    }

    /// A table that lasts for the load, with what a query answers.
    pub(crate) fn create_table_as(self, name: &str, query: &str) -> String {
        let temporary = if self == Dialect::MySql { "TEMPORARY " } else { "" };
        format!("CREATE {temporary}TABLE {name} AS {query};")
    }

    /// A table that lasts for the load, with the numbers of records, `seq`, that a query answers.
    pub(crate) fn create_numbers(self, name: &str, query: &str) -> String {
        match self {
            Dialect::Postgres => self.create_table_as(name, query) + &self.analyze(name),
            Dialect::Sqlite | Dialect::MySql => {
                let create = self.create_table(name, "seq BIGINT", "seq");
                format!("{create} INSERT INTO {name} {query}")
            }
        }
    }

    /// Takes a table that lasts for the load out, if it is there. Without the word, MySQL would
    /// commit what was done so far.
    pub(crate) fn drop_table(self, name: &str) -> String {
        let temporary = if self == Dialect::MySql { "TEMPORARY " } else { "" };
        format!("DROP {temporary}TABLE IF EXISTS {name};")
    }

    /// What the planner is told of a table that was filled.
    pub(crate) fn analyze(self, name: &str) -> String {
        match self {
            Dialect::Sqlite | Dialect::MySql => String::new(),
            Dialect::Postgres => format!("ANALYZE {name};"),
        }
    }
}
