//! What a check in YAML measures, by name.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// The number of records.
    RowCount,
    /// The number of columns.
    ColumnCount,
    /// The share of records in which `column` is not null.
    Completeness,
    /// The share of records whose key, `columns`, is complete and that of no other record.
    PrimaryKey,
    /// The share of records whose key is that of no other record. Keys that are all null do not count,
    /// unless `nulls` says otherwise.
    Uniqueness,
    /// The share of different keys that come once.
    UniqueValueRatio,
    /// The number of different keys.
    DistinctCount,
    /// The share of the values `one_of` that occur in `column`: whether each is there, while `share` tells
    /// whether there are no others. What fails names the values that are missing.
    Coverage,
    /// The sum of a column.
    Sum,
    /// The mean of a column.
    Mean,
    /// The standard deviation of a column, of the population.
    Stddev,
    /// The least value of a column.
    Min,
    /// The greatest value of a column.
    Max,
    /// The value that the share `at` of a column's values does not exceed; always one of the values.
    Quantile,
    /// The entropy of a column's values, in nats.
    Entropy,
    /// The correlation of two `columns`, after Pearson.
    Correlation,
    /// The length in characters of the shortest text.
    MinLength,
    /// The length in characters of the longest text.
    MaxLength,
    /// The share of records for which `expr` is true, or whose `column` is `one_of` some values.
    Share,
    /// The one number that `query` gives, in the SQL of the `sql` step.
    Query,
    /// How old the newest value of a column of dates or timestamps is when the run starts.
    Freshness,
    /// The share of columns, of those in `types` and those there, that are both, with one type.
    Schema,
    /// The share of records whose key is that of a record of the `reference`.
    ReferentialIntegrity,
    /// The number of records, divided by that of the `reference`.
    RowCountMatch,
    /// The sum of a column, divided by that of the column of the `reference`.
    SumMatch,
    /// The mean of a column, divided by that of the column of the `reference`.
    MeanMatch,
    /// The share of columns that are also in the `reference`, with the same type.
    SchemaMatch,
    /// The share of records that are also in the `reference`, compared by the key `columns`.
    DatasetMatch,
}

/// What a null in a key means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "KeyNulls")]
pub enum Nulls {
    /// Records whose key is nothing but nulls do not count. Beside a value, a null is equal to a null.
    #[default]
    IgnoreIfAll,
    /// Records with a null in their key do not count.
    IgnoreIfAny,
    /// A null is a value like any other, equal to every null: `NULLS NOT DISTINCT` of SQL.
    Equal,
    /// A key with a null in it is that of no other record: `NULLS DISTINCT` of SQL.
    Distinct,
}

/// What becomes of the records that offend against a check.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Offenders {
    /// They go on, if the run does.
    #[default]
    Keep,
    /// They are rejected: all records with a key but the first, in source order, and those that refer to nothing.
    Reject,
}

impl Offenders {
    pub(super) fn is_keep(&self) -> bool {
        *self == Offenders::Keep
    }
}

impl Measure {
    /// As it is written.
    pub(super) fn name(self) -> String {
        match serde_json::to_value(self) {
            Ok(Value::String(name)) => name,
            _ => String::new(),
        }
    }
}
