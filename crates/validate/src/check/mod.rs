//! Checks: what is asked of a whole input, judged once all of it has passed and before anything is
//! published.
//!
//! A check comes from YAML ([`Options`]) or from DQDL ([`dqdl`]) and is the same either way: a
//! [`Rule`] of [`Test`]s, each a [`Metric`] of the records for which a condition holds, and what is
//! [`Expect`]ed of it. What metrics need is gathered in one pass (`gather`), on any number of
//! workers, and is the same in any order.

mod bind;
pub mod dqdl;
mod evaluate;
mod expect;
mod files;
pub(crate) mod gather;
pub(crate) mod keys;
mod measure;
mod metric;
mod numbers;
mod offenders;
mod options;
mod predicate;
mod queries;
mod references;
mod rows;
mod step;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use gristmill_core::{Gravity, Pointer};

pub use expect::{Expect, Function, Operand, number};
pub use measure::{Measure, Nulls, Offenders};
pub use metric::{
    Aggregate, Answer, Checksum, FileChoice, FileTest, Literal, Metric, Op, Predicate, ValueTest,
};
pub use options::{CheckItem, Options};
pub use step::Checks;

pub(crate) use expect::time;
pub(crate) use step::plan;

/// A check.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// What reports call it.
    pub name: String,
    /// What it asks.
    pub rule: Rule,
    /// What it does when it fails.
    pub severity: Gravity,
    /// Where it stands in its definition.
    pub at: Pointer,
    /// The part of the text there.
    pub span: Option<Range<usize>>,
    /// Labels that it has in a ruleset.
    pub labels: BTreeMap<String, String>,
    /// What becomes of the records that offend against it.
    pub offenders: Offenders,
}

/// What a check asks.
#[derive(Debug, Clone, PartialEq)]
pub enum Rule {
    /// That all of these pass.
    All(Vec<Rule>),
    /// That one of these passes.
    Any(Vec<Rule>),
    /// One test.
    Test(Test),
}

/// What is measured, of which records, and what is expected of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Test {
    /// What is measured.
    pub metric: Metric,
    /// An SQL condition; only records for which it is true are measured.
    pub filter: Option<String>,
    /// What is expected.
    pub expect: Expect,
}

impl Rule {
    /// Its tests, in order.
    pub fn tests(&self) -> Vec<&Test> {
        match self {
            Rule::All(rules) | Rule::Any(rules) => rules.iter().flat_map(Rule::tests).collect(),
            Rule::Test(test) => vec![test],
        }
    }
}

impl Test {
    /// What the ledger calls what it measures.
    pub fn measure(&self) -> String {
        match &self.filter {
            Some(filter) => format!("{} where {filter}", self.metric),
            None => self.metric.to_string(),
        }
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.measure(), self.expect)
    }
}
