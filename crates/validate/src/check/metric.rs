//! What can be measured of a whole input.

use std::fmt;

use gristmill_core::FieldType;

use super::measure::Nulls;

/// A measure of the whole input. Its text is the same from run to run, and is the name under which
/// the ledger keeps its values.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Metric {
    /// The number of records.
    RowCount,
    /// The number of columns.
    ColumnCount,
    /// The share of records in which a column is not null.
    Completeness(String),
    /// The share of records whose key is complete and that of no other record.
    PrimaryKey(Vec<String>),
    /// The share of keys that are no other record's.
    Uniqueness(Vec<String>, Nulls),
    /// The share of different keys that come once.
    UniqueValueRatio(Vec<String>, Nulls),
    /// The number of different keys.
    DistinctCount(Vec<String>, Nulls),
    /// The share of these values that occur in a column.
    Coverage(String, Vec<String>),
    /// The entropy of a column's values, in nats: -Σ p · ln p over the different values.
    Entropy(String),
    /// The sum of a column.
    Sum(String),
    /// The mean of a column.
    Mean(String),
    /// The standard deviation of a column, that of the population: √(Σ(x - mean)² / n).
    StandardDeviation(String),
    /// The least value of a column.
    Minimum(String),
    /// The greatest value of a column.
    Maximum(String),
    /// The value of a column that this share of its values does not exceed: one of the values, the
    /// n-th smallest with n = ⌈share · count⌉.
    Quantile(String, f64),
    /// The length in characters of the shortest value.
    MinimumLength(String),
    /// The length in characters of the longest value.
    MaximumLength(String),
    /// Pearson's correlation of two columns, over records in which neither is null.
    Correlation(String, String),
    /// The share of records for which a condition is true.
    Share(Predicate),
    /// The number of records for which a condition is true.
    Count(Predicate),
    /// How old the newest value of a column is, in seconds.
    Age(String),
    /// 1 if there is a column of this name, else 0.
    ColumnExists(String),
    /// The share of columns whose name matches a pattern.
    ColumnNames(String),
    /// The share of columns, of those declared and those there, that are both, with the same type.
    Schema(Vec<(String, FieldType)>),
    /// The share of records whose key is that of a record of a reference. Records with a null in it
    /// do not count.
    ReferentialIntegrity {
        /// The columns of the key.
        columns: Vec<String>,
        /// The name of the reference.
        reference: String,
        /// The columns of the key in the reference.
        theirs: Vec<String>,
    },
    /// The number of records as a share of the number of records of a reference.
    RowCountMatch(String),
    /// As [`Metric::Schema`], with the columns of a reference.
    SchemaMatch(String),
    /// One aggregate as a share of another.
    AggregateMatch(Aggregate, Aggregate),
    /// The share of records, of the input or the reference, whichever has more, that are the same in
    /// both: equal keys, and equal values of the other columns.
    DatasetMatch {
        /// The name of the reference.
        reference: String,
        /// The columns of the key, here and there.
        keys: Vec<(String, String)>,
        /// The columns compared, here and there; all that both have if there is none.
        columns: Vec<(String, String)>,
    },
    /// What a query over the records, its table `primary`, and over references answers.
    Query {
        /// The query, in SQL.
        text: String,
        /// What of its result counts.
        answer: Answer,
    },
    /// The share of files for which a condition is true.
    Files {
        /// A file or a folder; the files that were read if there is none.
        path: Option<String>,
        /// Which of them are looked at.
        choice: FileChoice,
        /// What is asked of each.
        test: FileTest,
    },
}

/// What of a query's result counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The one number that it is.
    Number,
    /// How many records it has.
    Records,
    /// How many records it has, as a share of those of the input.
    Share,
}

/// The sum or the mean of a column, of the input or of a reference.
#[derive(Debug, Clone, PartialEq)]
pub struct Aggregate {
    /// Whether it is the mean rather than the sum.
    pub mean: bool,
    /// The reference; the input if there is none.
    pub reference: Option<String>,
    /// The column.
    pub column: String,
}

/// What is asked of each record.
#[derive(Debug, Clone, PartialEq)]
pub enum Predicate {
    /// That an SQL expression is true.
    Sql(String),
    /// Something about the value of a column.
    Value(String, ValueTest),
    /// Something about the length of a column's value in characters; a null has none, so 0.
    Length(String, ValueTest),
    /// That a column's value is a text that can be read as this type, or has it.
    Type(String, FieldType),
}

/// What is asked of a value. A null fails all but `!=`, `not in` and what names it.
#[derive(Debug, Clone, PartialEq)]
pub enum ValueTest {
    /// A comparison.
    Compare(Op, Literal),
    /// Between two values, without them.
    Between {
        /// The lower one.
        low: Literal,
        /// The higher one.
        high: Literal,
        /// Whether it must not be.
        not: bool,
    },
    /// One of some values.
    In(Vec<Literal>, bool),
    /// Matching a pattern, as a whole; or not.
    Matches(String, bool),
}

/// A value to compare with.
#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    /// A number, as it is written.
    Number(String),
    /// A text.
    Text(String),
    /// So many seconds before the run.
    Ago(f64),
    /// No value.
    Null,
    /// The empty text.
    Empty,
    /// A text of nothing but whitespace, at least one character of it.
    Blank,
}

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "their texts say it all")]
pub enum Op {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// What is asked of a file.
#[derive(Debug, Clone, PartialEq)]
pub enum FileTest {
    /// Its size in bytes.
    Size(super::Expect),
    /// When it was changed, in seconds since 1970.
    Modified(super::Expect),
    /// That no other has the same content.
    Unique,
    /// That its checksum is one of these, in hexadecimal digits.
    Sum(Checksum, Vec<String>),
    /// That its content is that of the file at this path, or of the file of the same name in the folder at
    /// this path; and that there are no more files there.
    Same(String),
}

/// How a checksum is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "their names say it all")]
pub enum Checksum {
    Md5,
    Sha1,
    Sha256,
}

/// Which files are looked at, of those that are there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileChoice {
    /// Only so many, those that were changed last.
    pub recent: Option<usize>,
    /// Only those whose path has a part that matches this pattern.
    pub pattern: Option<String>,
}

impl Op {
    /// As it is written.
    pub fn symbol(self) -> &'static str {
        match self {
            Op::Equal => "=",
            Op::NotEqual => "!=",
            Op::Less => "<",
            Op::LessOrEqual => "<=",
            Op::Greater => ">",
            Op::GreaterOrEqual => ">=",
        }
    }

    pub(crate) fn holds(self, a: f64, b: f64) -> bool {
        match self {
            Op::Equal => a == b,
            Op::NotEqual => a != b,
            Op::Less => a < b,
            Op::LessOrEqual => a <= b,
            Op::Greater => a > b,
            Op::GreaterOrEqual => a >= b,
        }
    }
}

impl Metric {
    /// Whether it is a share that a check expects to be 1 when nothing else is said.
    pub(crate) fn is_share(&self) -> bool {
        use Metric::*;
        matches!(
            self,
            Completeness(_)
                | PrimaryKey(_)
                | Uniqueness(..)
                | UniqueValueRatio(..)
                | Coverage(..)
                | Share(_)
                | ColumnExists(_)
                | ColumnNames(_)
                | Schema(_)
                | ReferentialIntegrity { .. }
                | RowCountMatch(_)
                | SchemaMatch(_)
                | AggregateMatch(..)
                | DatasetMatch { .. }
                | Query { answer: Answer::Share, .. }
                | Files { .. }
        )
    }
}

fn list(columns: &[String]) -> String {
    columns.iter().map(|column| format!("`{column}`")).collect::<Vec<_>>().join(", ")
}

/// What nulls in a key mean, where it is not the usual.
fn with(nulls: Nulls) -> &'static str {
    match nulls {
        Nulls::IgnoreIfAll => "",
        Nulls::IgnoreIfAny => " without nulls",
        Nulls::Equal => " with equal nulls",
        Nulls::Distinct => " with distinct nulls",
    }
}

fn pairs(columns: &[(String, String)]) -> String {
    let pair = |(mine, theirs): &(String, String)| {
        if mine == theirs { format!("`{mine}`") } else { format!("`{mine}` as `{theirs}`") }
    };
    columns.iter().map(pair).collect::<Vec<_>>().join(", ")
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use Metric::*;
        match self {
            RowCount => f.write_str("row count"),
            ColumnCount => f.write_str("column count"),
            Completeness(column) => write!(f, "completeness of `{column}`"),
            PrimaryKey(columns) => write!(f, "primary key share of {}", list(columns)),
            Uniqueness(columns, nulls) => {
                write!(f, "uniqueness of {}{}", list(columns), with(*nulls))
            }
            UniqueValueRatio(columns, nulls) => {
                write!(f, "unique value ratio of {}{}", list(columns), with(*nulls))
            }
            DistinctCount(columns, nulls) => {
                write!(f, "distinct count of {}{}", list(columns), with(*nulls))
            }
            Coverage(column, values) => {
                write!(f, "coverage of [{}] in `{column}`", values.join(", "))
            }
            Entropy(column) => write!(f, "entropy of `{column}`"),
            Sum(column) => write!(f, "sum of `{column}`"),
            Mean(column) => write!(f, "mean of `{column}`"),
            StandardDeviation(column) => write!(f, "standard deviation of `{column}`"),
            Minimum(column) => write!(f, "minimum of `{column}`"),
            Maximum(column) => write!(f, "maximum of `{column}`"),
            Quantile(column, at) => write!(f, "quantile {at} of `{column}`"),
            MinimumLength(column) => write!(f, "minimum length of `{column}`"),
            MaximumLength(column) => write!(f, "maximum length of `{column}`"),
            Correlation(a, b) => write!(f, "correlation of `{a}` and `{b}`"),
            Share(predicate) => write!(f, "share of records with {predicate}"),
            Count(predicate) => write!(f, "number of records with {predicate}"),
            Age(column) => write!(f, "age of the newest `{column}` in seconds"),
            ColumnExists(column) => write!(f, "existence of `{column}`"),
            ColumnNames(pattern) => write!(f, "share of columns named like {pattern}"),
            Schema(_) => f.write_str("share of columns as declared"),
            ReferentialIntegrity { columns, reference, theirs } => {
                write!(f, "share of {} in {} of `{reference}`", list(columns), list(theirs))
            }
            RowCountMatch(reference) => write!(f, "row count relative to `{reference}`"),
            SchemaMatch(reference) => write!(f, "share of columns as in `{reference}`"),
            AggregateMatch(mine, theirs) => write!(f, "{mine} relative to {theirs}"),
            DatasetMatch { reference, keys, columns } => {
                write!(f, "share of records as in `{reference}` by {}", pairs(keys))?;
                if columns.is_empty() { Ok(()) } else { write!(f, " in {}", pairs(columns)) }
            }
            Query { text, answer } => {
                f.write_str(match answer {
                    Answer::Number => "result of ",
                    Answer::Records => "records in the result of ",
                    Answer::Share => "share of records in the result of ",
                })?;
                f.write_str(&text.split_whitespace().collect::<Vec<_>>().join(" "))
            }
            Files { path, choice, test } => {
                f.write_str("share of files ")?;
                if let Some(path) = path {
                    write!(f, "at {path} ")?;
                }
                if let Some(pattern) = &choice.pattern {
                    write!(f, "named like {pattern} ")?;
                }
                if let Some(recent) = choice.recent {
                    write!(f, "among the last {recent} ")?;
                }
                match test {
                    FileTest::Size(expect) => write!(f, "with a size {expect}"),
                    FileTest::Modified(expect) => write!(f, "changed at a time {expect}"),
                    FileTest::Unique => f.write_str("of which there is one"),
                    FileTest::Sum(..) => f.write_str("with one of the checksums"),
                    FileTest::Same(other) => write!(f, "that are the same at {other}"),
                }
            }
        }
    }
}

impl fmt::Display for Aggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.mean { "mean of `" } else { "sum of `" })?;
        if let Some(reference) = &self.reference {
            write!(f, "{reference}.")?;
        }
        write!(f, "{}`", self.column)
    }
}

impl fmt::Display for Predicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Predicate::Sql(text) => f.write_str(text),
            Predicate::Value(column, test) => write!(f, "`{column}` {test}"),
            Predicate::Length(column, test) => write!(f, "length of `{column}` {test}"),
            Predicate::Type(column, field_type) => write!(f, "`{column}` as {field_type}"),
        }
    }
}

impl fmt::Display for ValueTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ValueTest::Compare(op, literal) => write!(f, "{} {literal}", op.symbol()),
            ValueTest::Between { low, high, not } => {
                write!(f, "{}between {low} and {high}", if *not { "not " } else { "" })
            }
            ValueTest::In(items, not) => {
                let items: Vec<_> = items.iter().map(ToString::to_string).collect();
                write!(f, "{}in [{}]", if *not { "not " } else { "" }, items.join(", "))
            }
            ValueTest::Matches(pattern, not) => {
                write!(f, "{}matching \"{pattern}\"", if *not { "not " } else { "" })
            }
        }
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Literal::Number(text) => f.write_str(text),
            Literal::Text(text) => write!(f, "\"{text}\""),
            Literal::Ago(seconds) if *seconds == 0.0 => f.write_str("now()"),
            Literal::Ago(seconds) => write!(f, "(now() - {})", super::dqdl::length(*seconds)),
            Literal::Null => f.write_str("NULL"),
            Literal::Empty => f.write_str("EMPTY"),
            Literal::Blank => f.write_str("WHITESPACES_ONLY"),
        }
    }
}
