//! What a generated input is: its columns, the rules that it is judged by, its keys.
//!
//! A shape is said once. Our pipelines and the peers' queries are made from it.

use anyhow::Result;
use serde_json::{Value, json};

use super::random::Random;
use super::rows::Rows;

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Int,
    Double,
    Date,
    Timestamp,
    Bool,
    /// A list of texts in JSON, one text in CSV.
    Texts,
}

impl Kind {
    /// As pipeline files say it.
    pub(crate) fn field_type(self) -> &'static str {
        match self {
            Self::Text | Self::Texts => "string",
            Self::Int => "int",
            Self::Double => "double",
            Self::Date => "date",
            Self::Timestamp => "timestamp",
            Self::Bool => "bool",
        }
    }
}

/// One column.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    /// `outer.inner` for a field of an object.
    pub(crate) path: String,
    pub(crate) kind: Kind,
}

impl Column {
    /// Its name where there are no objects.
    pub(crate) fn name(&self) -> String {
        self.path.replace('.', "_")
    }
}

/// Columns from pairs of path and kind.
pub(crate) fn columns(pairs: &[(&str, Kind)]) -> Vec<Column> {
    pairs.iter().map(|(path, kind)| Column { path: (*path).to_owned(), kind: *kind }).collect()
}

/// What a value must be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Test {
    Present,
    Matches(&'static str),
    OneOf(&'static [&'static str]),
    Min(f64),
    Between(f64, f64),
}

/// A rule about one column; a missing value fails it.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) column: &'static str,
    pub(crate) test: Test,
}

impl Rule {
    /// As the peers take it.
    pub(crate) fn for_peers(&self) -> Value {
        let mut rule = json!({"column": self.column, "required": true});
        if let Some((name, value)) = self.argument() {
            rule[name] = value;
        }
        rule
    }

    /// As the `validate` step takes it.
    pub(crate) fn for_us(&self) -> Value {
        match self.argument() {
            None => json!("required"),
            Some((name, value)) => json!(["required", {name: value}]),
        }
    }

    fn argument(&self) -> Option<(&'static str, Value)> {
        Some(match self.test {
            Test::Present => return None,
            Test::Matches(pattern) => ("matches", json!(pattern)),
            Test::OneOf(values) => ("one_of", json!(values)),
            Test::Min(least) => ("min", json!(least)),
            Test::Between(low, high) => ("between", json!([low, high])),
        })
    }
}

/// A generated input.
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// How many records make about 180 MB of CSV.
    pub(crate) rows: u64,
    pub(crate) columns: Vec<Column>,
    pub(crate) trim: &'static [&'static str],
    pub(crate) upper: &'static [&'static str],
    pub(crate) rules: Vec<Rule>,
    /// The columns of a key that some records share.
    pub(crate) keys: &'static [&'static str],
    /// Columns of few values; none where there are no such columns.
    pub(crate) partition: &'static [&'static str],
    /// What is summed, and by what; nothing where there is no dimension.
    pub(crate) facts: Option<Facts>,
    /// Whether some fields are not what their column's type says.
    pub(crate) dirty: bool,
    /// Writes the record of this number.
    pub(crate) record: fn(u64, &mut Random, &mut Rows) -> Result<()>,
}

/// Records that are looked up in a dimension and summed by month.
pub(crate) struct Facts {
    /// The dimension: one record for each key.
    pub(crate) dimension: fn() -> Shape,
    /// The column that is the key in both.
    pub(crate) key: &'static str,
    /// The column that is taken from the dimension.
    pub(crate) take: &'static str,
    /// The column whose month is meant.
    pub(crate) date: &'static str,
    pub(crate) sums: &'static [&'static str],
    pub(crate) mean: &'static str,
}

impl Facts {
    /// Whether a column of these records matters to the result.
    pub(crate) fn uses(&self, name: &str) -> bool {
        [self.key, self.date, self.mean].contains(&name) || self.sums.contains(&name)
    }
}

impl Shape {
    /// Columns that are objects in JSON.
    pub(crate) fn objects(&self) -> Vec<&str> {
        let mut found = Vec::new();
        for column in &self.columns {
            if let Some((outer, _)) = column.path.split_once('.')
                && !found.contains(&outer)
            {
                found.push(outer);
            }
        }
        found
    }

    /// Columns that are lists in JSON.
    pub(crate) fn lists(&self) -> Vec<&str> {
        let lists = self.columns.iter().filter(|column| column.kind == Kind::Texts);
        lists.map(|column| column.path.as_str()).collect()
    }
}
