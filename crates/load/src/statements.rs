//! The statements that make rows of staged records, and what they are made of.

use crate::database::Database;
use crate::dialect::Dialect;
use crate::preview::{Change, Changes};
use crate::table::Mode;

/// A column of the target, in the forms in which SQL writes it.
#[derive(Debug, Clone)]
pub(crate) struct MergeColumn {
    pub(crate) name: String,
    /// Its name as people write it.
    pub(crate) field: String,
    /// Its name as the records have it.
    pub(crate) given: String,
    pub(crate) value: StagedValue,
    /// The collation, where it is part of the key.
    pub(crate) key: Option<String>,
    /// Whether two values have to be compared as text.
    pub(crate) as_text: bool,
    /// Whether it says which rows are replaced, with `delete_insert`.
    pub(crate) is_part: bool,
}

/// A value of a staged record: a column of the staging table, and what SQL writes around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StagedValue {
    pub(crate) before: &'static str,
    pub(crate) column: String,
    /// Perhaps a cast, or a collation.
    pub(crate) behind: String,
}

impl StagedValue {
    /// That of the staging table's column with this number, as it is.
    pub(crate) fn plain(i: usize) -> Self {
        Self { before: "", column: format!("c{i}"), behind: String::new() }
    }

    /// As SQL writes it, where the staging table, or a part of it, has this name.
    pub(crate) fn of(&self, table: &str) -> String {
        format!("{}{table}.{}{}", self.before, self.column, self.behind)
    }
}

/// The two sides of a merge, as SQL writes their names.
#[derive(Debug, Clone)]
pub(crate) struct Sides {
    pub(crate) table: String,
    pub(crate) staged: String,
    /// What prefixes tables that last for the load.
    pub(crate) work: String,
    /// The table of staged records that are not loaded, if there are any.
    pub(crate) losers: Option<String>,
    pub(crate) columns: Vec<MergeColumn>,
    /// A column that is 1 in the current rows of a dimension and null in others, with an index
    /// behind the key, if there is one.
    pub(crate) marker: Option<String>,
    pub(crate) silent: Silent,
}

/// What a table may leave undone without a word, because a trigger, a rule or a policy says so. It
/// is counted beforehand, then.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Silent {
    pub(crate) inserts: bool,
    pub(crate) updates: bool,
    pub(crate) deletes: bool,
}

/// What becomes of rows that have the key of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// There are none, or keys mean nothing.
    Nothing,
    Change,
    Keep,
}

impl Found {
    /// For a table that has rows already.
    pub(crate) fn of(mode: Mode) -> Self {
        match mode {
            Mode::Upsert => Found::Change,
            Mode::InsertOnly => Found::Keep,
            Mode::Append | Mode::Replace | Mode::DeleteInsert | Mode::Scd2 => Found::Nothing,
        }
    }
}

/// The statements that load a range of records; the parameters are its first and last number.
pub(crate) struct Statements {
    /// Changes the rows that are there and differ.
    pub(crate) update: Option<String>,
    pub(crate) insert: String,
    pub(crate) count: String,
    /// What `update` changes.
    pub(crate) changes: Changes,
    /// Whether each record becomes a row.
    pub(crate) all_new: bool,
    /// Count what `insert` is about to add and `update` to change, where the table may keep silent.
    new: Option<String>,
    differing: Option<String>,
}

impl Statements {
    /// Those that add a row for each record.
    pub(crate) fn all_new(insert: String, count: String) -> Self {
        let changes = Changes::default();
        Self { update: None, insert, count, changes, all_new: true, new: None, differing: None }
    }

    /// With `Found::Change`, rows with the key of a record are changed where they differ, with
    /// `Found::Keep` they are left alone; `Found::Nothing` makes all records new rows.
    pub(crate) fn new(dialect: Dialect, sides: &Sides, found: Found) -> Self {
        let Sides { table, staged, losers, columns, silent, .. } = sides;
        let row = dialect.row();
        let (first, last) = (dialect.parameter(1), dialect.parameter(2));
        let mut range = format!("s.{row} BETWEEN {first} AND {last}");
        let wins =
            losers.as_ref().map(|losers| dialect.not_among(&format!("s.{row}"), "seq", losers));
        if let Some(wins) = &wins {
            range += &format!(" AND {wins}");
        }
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        let values: Vec<String> = columns.iter().map(|column| column.value.of("s")).collect();
        let insert = format!(
            "INSERT INTO {table} ({}){} SELECT {} FROM {staged} AS s WHERE {range}",
            names.join(", "),
            dialect.overriding(),
            values.join(", ")
        );
        let order = format!("ORDER BY s.{row}");
        let count = format!("SELECT count(*) FROM {staged} AS s WHERE {range}");
        if found == Found::Nothing {
            return Self::all_new(format!("{insert} {order}"), count);
        }
        let same_key: Vec<String> = columns
            .iter()
            .filter_map(|column| {
                let collation = column.key.as_deref()?;
                Some(dialect.same_key(
                    &format!("t.{}", column.name),
                    &column.value.of("s"),
                    collation,
                ))
            })
            .collect();
        let same_key = same_key.join(" AND ");
        let is_new = format!("NOT EXISTS (SELECT 1 FROM {table} AS t WHERE {same_key})");
        let mut statements = Self {
            update: None,
            insert: format!("{insert} AND {is_new} {order}"),
            new: silent.inserts.then(|| format!("{count} AND {is_new}")),
            count,
            changes: Changes::default(),
            all_new: false,
            differing: None,
        };
        let others: Vec<&MergeColumn> =
            columns.iter().filter(|column| column.key.is_none()).collect();
        if found == Found::Keep || others.is_empty() {
            return statements;
        }
        let same = |column: &MergeColumn| {
            let row = format!("t.{}", column.name);
            dialect.same_value(&row, &column.value.of("s"), column.as_text)
        };
        let differs: Vec<String> =
            others.iter().map(|column| format!("NOT ({})", same(column))).collect();
        let differs = differs.join(" OR ");
        let join = dialect.join();
        let pairs = format!("FROM {staged} AS s {join} {table} AS t ON {same_key}");
        let set: Vec<(String, String)> =
            others.iter().map(|column| (column.name.clone(), column.value.of("s"))).collect();
        let condition = format!("{range} AND {same_key} AND ({differs})");
        statements.update =
            Some(dialect.update(table, &set, &format!("{staged} AS s"), &condition));
        statements.differing = silent
            .updates
            .then(|| format!("SELECT count(*) {pairs} WHERE {range} AND ({differs})"));
        let keys = columns.iter().filter(|column| column.key.is_some());
        statements.changes = Changes {
            rows: format!("{pairs} WHERE {} AND ({differs})", wins.as_deref().unwrap_or("1 = 1")),
            keys: keys.map(|column| (column.field.clone(), column.value.of("s"))).collect(),
            columns: others
                .iter()
                .map(|column| Change {
                    name: column.field.clone(),
                    old: format!("t.{}", column.name),
                    new: column.value.of("s"),
                    same: same(column),
                })
                .collect(),
        };
        statements
    }

    /// How many rows are about to be changed and added at least, as far as it has to be known.
    pub(crate) fn expected<D: Database>(
        &self,
        database: &D,
        range: &[Option<i64>],
    ) -> Result<[u64; 2], D::Error> {
        let count = |sql: &Option<String>| match sql {
            Some(sql) => database.number(sql, range).map(|rows| rows as u64),
            None => Ok(0),
        };
        Ok([count(&self.differing)?, count(&self.new)?])
    }
}
