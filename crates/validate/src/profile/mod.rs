//! Profiles: what is in each column, exactly, and rules that the data satisfies.

mod gather;
mod shapes;
mod suggest;

use serde::{Deserialize, Serialize};

pub use gather::Profiling;
pub use suggest::{contract, dqdl, yaml};

/// What is in an input.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// Records.
    pub records: u64,
    /// Columns, in their order.
    pub columns: Vec<ColumnProfile>,
}

/// What is in a column.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ColumnProfile {
    /// Its name.
    pub name: String,
    /// Its type, by the name that pipelines have for it.
    #[serde(rename = "type")]
    pub type_name: String,
    /// Records in which it is null.
    pub nulls: u64,
    /// Different values.
    pub distinct: u64,
    /// Values that come once.
    pub once: u64,
    /// The least value, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<String>,
    /// The greatest value, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<String>,
    /// Of numbers: sum, mean and deviation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub numbers: Option<NumberProfile>,
    /// Of numbers and times: the values at 5, 25, 50, 75 and 95 percent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quantiles: Vec<Quantile>,
    /// Of numbers and times: how many values are in each of equal parts from the least to the
    /// greatest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub histogram: Vec<u64>,
    /// Of texts: the lengths in characters of the shortest and the longest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lengths: Option<[u64; 2]>,
    /// The most frequent values, with exact counts. Of texts of which there are more than 10,000, only those
    /// that are more than one of 10,001 records with a value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub top: Vec<Counted>,
    /// Of texts: the most frequent patterns, with `9` for a digit, `A` and `a` for letters; none if
    /// there are more than 1,000.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub patterns: Vec<Counted>,
    /// Whether these are all patterns.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all_patterns: bool,
}

/// Numbers about numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct NumberProfile {
    /// The sum.
    pub sum: f64,
    /// The mean.
    pub mean: f64,
    /// The standard deviation, that of the population.
    pub stddev: f64,
    /// The least value.
    pub min: f64,
}

/// A value that a share of the values does not exceed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Quantile {
    /// The share.
    pub at: f64,
    /// The value, as text.
    pub value: String,
}

/// A value or a pattern, and how many times it comes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// The text.
    pub value: String,
    /// How many.
    pub count: u64,
}

impl ColumnProfile {
    /// Whether it has a value in each record, and in each another.
    pub fn is_key(&self, records: u64) -> bool {
        records > 1 && self.nulls == 0 && self.once == records
    }
}
