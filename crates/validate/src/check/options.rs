//! The options of the `check` step.

use std::collections::BTreeMap;
use std::path::PathBuf;

use gristmill_core::{FieldType, Gravity, Mistake, Pointer};
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::expect::{Expect, Operand};
use super::measure::{Measure, Nulls, Offenders};
use super::metric::{Aggregate, Answer, Metric, Op, Predicate};
use super::references::references;
use super::{Check, Rule, Test, dqdl};
use crate::limit;
use crate::options::Keys;
use crate::scalar::Scalar;
use crate::suggest::nearest;

/// Judges all records that pass this point, as a whole, once the last of them has passed. When a
/// check with severity `error` fails, nothing is published and the exit code is 3. What was measured
/// is in the report, and the ledger keeps it.
///
/// What is measured is exact, and the same for any number of workers. Different keys that do not fit in the
/// step's share of `limits.memory` go to a temporary folder, 24 bytes each.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Checks, each a measure and what is expected of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<CheckItem>,
    /// Rules in DQDL, the language of AWS Glue Data Quality: `Rules = [ IsComplete "id" ]`. `CustomSql`
    /// runs any query over the records, `primary`, and over `references` by name: with a condition it gives
    /// the one number that is compared, without one the records that pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dqdl: Option<String>,
    /// The same, in a file of their own: a path relative to the pipeline file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dqdl_file: Option<PathBuf>,
    /// What rules in DQDL do when they fail.
    pub dqdl_severity: Gravity,
    /// Adds to each record what it has to do with the outcome: `DataQualityRulesPass`, `DataQualityRulesFail` and
    /// `DataQualityRulesSkip`, lists of checks, and `DataQualityEvaluationResult`, `Passed` or `Failed`. Checks that measure the
    /// whole are skipped. A `CustomSql` without a condition gives the records that pass: those whose values it gives, in the
    /// columns that have their names; so it selects at least one, best the key. All records wait until the last has come, on disk where they do not fit in memory.
    pub row_results: bool,
    /// Other inputs that checks compare with, by name: each an item as in `extract`.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub references: IndexMap<String, Map<String, Value>>,
}

/// A check: what is measured, of which records, and what is expected.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckItem {
    /// What is measured.
    pub measure: Measure,
    /// What reports call the check; what is measured and expected, where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The column that is measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// The columns that are measured together: those of a key, or the two of a correlation.
    #[serde(default, skip_serializing_if = "Keys::is_empty")]
    pub columns: Keys,
    /// Of `quantile`: the share of values that are not greater, between 0 and 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<f64>,
    /// Of `share`: an SQL condition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expr: Option<String>,
    /// Of `query`: a `SELECT` over the records, `input`, and over `references` by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// Of `share`: the values that the column may have. Of `coverage`: those that it should have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub one_of: Vec<Scalar>,
    /// Of `uniqueness`, `unique_value_ratio` and `distinct_count`: what a null in a key means.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nulls: Option<Nulls>,
    /// Of `schema`: the columns and their types.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub types: IndexMap<String, FieldType>,
    /// The name of the other input, one of `references`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The columns in the other input, where their names differ.
    #[serde(default, skip_serializing_if = "Keys::is_empty")]
    pub reference_columns: Keys,
    /// An SQL condition: only records for which it is true are measured.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// The least that passes: a number, a date or timestamp, or of `freshness` a time such as `2 days`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<Scalar>,
    /// The most that passes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Scalar>,
    /// The least and the most that pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub between: Option<[Scalar; 2]>,
    /// What passes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub equals: Option<Scalar>,
    /// Passes within so many standard deviations, and within a hundredth, of the mean of the last runs; while
    /// there were fewer than three, everything passes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deviations: Option<f64>,
    /// Passes when it differs from the mean of the last runs by no more than this share of it: `0.2` lets it be
    /// a fifth more or less. While there was no run, everything passes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<f64>,
    /// Of `deviations` and `change`: how many runs are looked back at, those that published. 30 for
    /// `deviations`, 1 for `change`, where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub last: Option<usize>,
    /// Whether a failure keeps the run from publishing, or is only reported.
    #[serde(default)]
    pub severity: Gravity,
    /// Of `uniqueness`, `primary_key` and `referential_integrity`: what becomes of the records that offend. With `reject`
    /// they go to the rejects, and the check passes, whatever the share was before, unless it says what is
    /// expected: with `min: 0.99` it fails where more than a hundredth offends. Other checks of the step measure
    /// the records with them.
    #[serde(default, skip_serializing_if = "Offenders::is_keep")]
    pub offenders: Offenders,
}

impl Options {
    /// Reads the options of a definition.
    ///
    /// # Errors
    /// All mistakes, each with its place below the options.
    pub fn read(value: &Value) -> Result<Self, Vec<Mistake>> {
        serde_json::from_value(value.clone())
            .map_err(|error| vec![Mistake::new(Pointer::root(), error.to_string())])
    }

    /// The checks, those of DQDL last.
    ///
    /// # Errors
    /// All mistakes that can be seen without columns.
    pub fn checks(&self) -> Result<Vec<Check>, Vec<Mistake>> {
        let root = Pointer::root();
        let (mut checks, mut mistakes) = (Vec::new(), Vec::new());
        for (i, item) in self.checks.iter().enumerate() {
            let at = root.key("checks").index(i);
            match item.check(&at) {
                Ok(check) => checks.push(check),
                Err(mistake) => mistakes.push(mistake),
            }
        }
        if let Some(text) = &self.dqdl {
            let at = root.key("dqdl");
            match dqdl::parse(text) {
                Ok(ruleset) => checks.extend(ruleset.checks(&at).into_iter().map(|check| {
                    let severity = check.severity.max(self.dqdl_severity);
                    Check { severity, ..check }
                })),
                Err(error) => mistakes.push(error.mistake(at)),
            }
        }
        if checks.is_empty() && mistakes.is_empty() && self.dqdl_file.is_none() {
            mistakes.push(
                Mistake::new(root.clone(), "the step has nothing to judge")
                    .hint("give it `checks`, `dqdl` or `dqdl_file`"),
            );
        }
        mistakes.extend(checks.iter().filter_map(|check| self.unknown_reference(check)));
        if mistakes.is_empty() { Ok(checks) } else { Err(mistakes) }
    }
}

impl Options {
    /// A check that compares with an input that there is not.
    fn unknown_reference(&self, check: &Check) -> Option<Mistake> {
        let tests = check.rule.tests().into_iter();
        let mut names = tests.flat_map(|test| references(&test.metric));
        let name = names.find(|name| !self.references.contains_key(*name))?;
        let known = self.references.keys().map(String::as_str);
        let near = nearest(name, known);
        let mut mistake =
            Mistake::new(check.at.clone(), format!("reference `{name}`: there is no such input"));
        mistake.span.clone_from(&check.span);
        let example = near.map_or_else(String::new, |near| format!("did you mean `{near}`? "));
        Some(mistake.hint(format!(
            "{example}name it under `references:` of the step, as in `{name}: {{file: {name}.csv}}`; with \
             `gristmill quality check`, pass `--reference {name}={name}.csv`"
        )))
    }
}

impl CheckItem {
    fn check(&self, at: &Pointer) -> Result<Check, Mistake> {
        let metric = self.metric(at)?;
        self.offends(at)?;
        let expect = self.expect(&metric, at)?;
        let test = Test { metric, filter: self.filter.clone(), expect };
        let name = self.name.clone().unwrap_or_else(|| test.to_string());
        let (rule, severity) = (Rule::Test(test), self.severity);
        let (labels, offenders) = (BTreeMap::new(), self.offenders);
        Ok(Check { name, rule, severity, at: at.clone(), span: None, labels, offenders })
    }

    fn column(&self, at: &Pointer) -> Result<String, Mistake> {
        match (&self.column, self.columns.keys.as_slice()) {
            (Some(column), _) => Ok(column.clone()),
            (None, [key]) if key.len() == 1 => Ok(key[0].clone()),
            _ => Err(self.lacks(at, "column", "the column that is measured")),
        }
    }

    fn columns(&self, at: &Pointer) -> Result<Vec<String>, Mistake> {
        match (&self.column, self.columns.keys.as_slice()) {
            (Some(column), []) => Ok(vec![column.clone()]),
            (None, [key]) => Ok(key.clone()),
            (None, keys) if keys.iter().all(|key| key.len() == 1) && !keys.is_empty() => {
                Ok(keys.concat())
            }
            _ => Err(self.lacks(at, "columns", "the columns that are measured together")),
        }
    }

    fn lacks(&self, at: &Pointer, key: &str, what: &str) -> Mistake {
        Mistake::new(at.clone(), format!("`{}` needs `{key}`: {what}", self.measure.name()))
    }

    fn reference(&self, at: &Pointer) -> Result<String, Mistake> {
        let lacks = || self.lacks(at, "reference", "the name of the other input");
        self.reference.clone().ok_or_else(lacks)
    }

    /// The columns, here and in the reference.
    fn pairs(&self, at: &Pointer) -> Result<Vec<(String, String)>, Mistake> {
        let mine = self.columns(at)?;
        let theirs = match self.reference_columns.keys.as_slice() {
            [] => mine.clone(),
            keys => keys.concat(),
        };
        if mine.len() != theirs.len() {
            let message = format!("{} columns against {} there", mine.len(), theirs.len());
            return Err(Mistake::new(at.key("reference_columns"), message));
        }
        Ok(mine.into_iter().zip(theirs).collect())
    }

    /// Whether there is an offender to reject.
    fn offends(&self, at: &Pointer) -> Result<(), Mistake> {
        use Measure::{PrimaryKey, ReferentialIntegrity, Uniqueness};
        match (self.offenders, self.measure) {
            (Offenders::Keep, _) | (_, PrimaryKey | ReferentialIntegrity | Uniqueness) => Ok(()),
            (Offenders::Reject, measure) => {
                let message = format!("`{}` names no record that offends", measure.name());
                let hint = "it belongs to `uniqueness`, `primary_key` and `referential_integrity`; what is asked of single records is a rule of `validate`";
                Err(Mistake::new(at.key("offenders"), message).on_key().hint(hint))
            }
        }
    }

    /// What nulls in the key mean; only of keys that may have some.
    fn nulls(&self, at: &Pointer) -> Result<Nulls, Mistake> {
        use Measure::{DistinctCount, PrimaryKey, UniqueValueRatio, Uniqueness};
        let keyed = matches!(self.measure, Uniqueness | UniqueValueRatio | DistinctCount);
        if self.nulls.is_none() || keyed {
            return Ok(self.nulls.unwrap_or_default());
        }
        let name = self.measure.name();
        let message =
            format!("`nulls` says what a null in a key means, and `{name}` has no use for it");
        let mistake = Mistake::new(at.key("nulls"), message).on_key();
        Err(mistake.hint(match self.measure {
            PrimaryKey => "a key with a null is no primary key; measure `uniqueness` for one that may have nulls",
            _ => "it belongs to `uniqueness`, `unique_value_ratio` and `distinct_count`",
        }))
    }

    fn metric(&self, at: &Pointer) -> Result<Metric, Mistake> {
        let column = || self.column(at);
        let nulls = self.nulls(at)?;
        Ok(match self.measure {
            Measure::RowCount => Metric::RowCount,
            Measure::ColumnCount => Metric::ColumnCount,
            Measure::Completeness => Metric::Completeness(column()?),
            Measure::PrimaryKey => Metric::PrimaryKey(self.columns(at)?),
            Measure::Uniqueness => Metric::Uniqueness(self.columns(at)?, nulls),
            Measure::UniqueValueRatio => Metric::UniqueValueRatio(self.columns(at)?, nulls),
            Measure::DistinctCount => Metric::DistinctCount(self.columns(at)?, nulls),
            Measure::Sum => Metric::Sum(column()?),
            Measure::Mean => Metric::Mean(column()?),
            Measure::Stddev => Metric::StandardDeviation(column()?),
            Measure::Min => Metric::Minimum(column()?),
            Measure::Max => Metric::Maximum(column()?),
            Measure::Quantile => match self.at {
                Some(share) if (0.0..=1.0).contains(&share) => Metric::Quantile(column()?, share),
                Some(_) => {
                    return Err(Mistake::new(at.key("at"), "a quantile is between 0 and 1"));
                }
                None => return Err(self.lacks(at, "at", "0.5 is the median")),
            },
            Measure::Entropy => Metric::Entropy(column()?),
            Measure::Correlation => match self.columns(at)?.as_slice() {
                [a, b] => Metric::Correlation(a.clone(), b.clone()),
                other => {
                    let message = format!("a correlation is of two columns, not {}", other.len());
                    return Err(Mistake::new(at.clone(), message).hint("write columns: [a, b]"));
                }
            },
            Measure::MinLength => Metric::MinimumLength(column()?),
            Measure::MaxLength => Metric::MaximumLength(column()?),
            Measure::Share => Metric::Share(self.share(at)?),
            Measure::Coverage if self.one_of.is_empty() => {
                return Err(self.lacks(at, "one_of", "the values that should occur"));
            }
            Measure::Coverage => {
                let values = self.one_of.iter().map(|value| value.text().into_owned());
                Metric::Coverage(column()?, values.collect())
            }
            Measure::Query => match &self.query {
                Some(_) if self.filter.is_some() => {
                    return Err(
                        Mistake::new(at.key("where"), "a query has its own `WHERE`").on_key()
                    );
                }
                Some(query) => Metric::Query { text: query.clone(), answer: Answer::Number },
                None => return Err(self.lacks(at, "query", "a `SELECT` that gives one number")),
            },
            Measure::Freshness => Metric::Age(column()?),
            Measure::Schema if self.types.is_empty() => {
                return Err(self.lacks(at, "types", "the columns and their types"));
            }
            Measure::Schema => {
                Metric::Schema(self.types.iter().map(|(name, t)| (name.clone(), *t)).collect())
            }
            Measure::ReferentialIntegrity => {
                let (columns, theirs) = self.pairs(at)?.into_iter().unzip();
                Metric::ReferentialIntegrity { columns, reference: self.reference(at)?, theirs }
            }
            Measure::RowCountMatch => Metric::RowCountMatch(self.reference(at)?),
            Measure::SumMatch | Measure::MeanMatch => {
                let mean = self.measure == Measure::MeanMatch;
                let reference = Some(self.reference(at)?);
                let column = column()?;
                let theirs = match self.reference_columns.keys.as_slice() {
                    [] => column.clone(),
                    keys => keys.concat().swap_remove(0),
                };
                Metric::AggregateMatch(
                    Aggregate { mean, reference: None, column },
                    Aggregate { mean, reference, column: theirs },
                )
            }
            Measure::SchemaMatch => Metric::SchemaMatch(self.reference(at)?),
            Measure::DatasetMatch => Metric::DatasetMatch {
                reference: self.reference(at)?,
                keys: self.pairs(at)?,
                columns: Vec::new(),
            },
        })
    }

    fn share(&self, at: &Pointer) -> Result<Predicate, Mistake> {
        match (&self.expr, self.one_of.as_slice()) {
            (Some(expr), []) => Ok(Predicate::Sql(expr.clone())),
            (None, [_, ..]) => {
                let column = self.column(at)?;
                let literal = |value: &Scalar| match serde_json::to_value(value) {
                    Ok(Value::Number(number)) => super::Literal::Number(number.to_string()),
                    _ => super::Literal::Text(value.text().into_owned()),
                };
                let items = self.one_of.iter().map(literal).collect();
                Ok(Predicate::Value(column, super::ValueTest::In(items, false)))
            }
            _ => Err(self.lacks(at, "expr", "or `column` and `one_of`")),
        }
    }

    fn expect(&self, metric: &Metric, at: &Pointer) -> Result<Expect, Mistake> {
        let operand = |key: &str, scalar: &Scalar| {
            self.operand(scalar).ok_or_else(|| {
                let text = scalar.text();
                let what = match self.measure {
                    Measure::Freshness => "no length of time; write `90 minutes` or `2 days`",
                    _ => "neither a number nor a date or timestamp",
                };
                Mistake::new(at.key(key), format!("`{text}` is {what}"))
            })
        };
        let limits = [
            self.min.is_some() || self.max.is_some(),
            self.between.is_some(),
            self.equals.is_some(),
            self.deviations.is_some(),
            self.change.is_some(),
        ];
        if limits.iter().filter(|given| **given).count() > 1 {
            let message = "`min` and `max`, `between`, `equals`, `deviations` and `change` are one or the other";
            return Err(Mistake::new(at.clone(), message));
        }
        if self.last.is_some() && self.deviations.is_none() && self.change.is_none() {
            let message = "`last` says how far `deviations` or `change` look back";
            return Err(Mistake::new(at.key("last"), message).on_key());
        }
        let above_zero = |key: &str| Mistake::new(at.key(key), format!("`{key}` is above 0"));
        let from_to = |low, high| Expect::Between { low, high, inclusive: true, not: false };
        Ok(match (&self.min, &self.max, &self.between, &self.equals) {
            (Some(min), Some(max), ..) => from_to(operand("min", min)?, operand("max", max)?),
            (Some(min), ..) => Expect::Compare(Op::GreaterOrEqual, operand("min", min)?),
            (_, Some(max), ..) => Expect::Compare(Op::LessOrEqual, operand("max", max)?),
            (_, _, Some([low, high]), _) => {
                from_to(operand("between", low)?, operand("between", high)?)
            }
            (.., Some(value)) => Expect::Compare(Op::Equal, operand("equals", value)?),
            _ => match (self.deviations, self.change) {
                (Some(deviations), _) if deviations > 0.0 => {
                    Expect::Usual { last: self.last.unwrap_or(30), deviations }
                }
                (_, Some(most)) if most > 0.0 => {
                    Expect::Change { last: self.last.unwrap_or(1), most }
                }
                (Some(_), _) => return Err(above_zero("deviations")),
                (_, Some(_)) => return Err(above_zero("change")),
                _ if self.offenders == Offenders::Reject => Expect::Anything,
                _ if metric.is_share() => Expect::ALL,
                _ => {
                    let name = self.measure.name();
                    let message = format!("`{name}` needs what is expected of it");
                    return Err(Mistake::new(at.clone(), message).hint(
                        "give it `min`, `max`, `between`, `equals`, `deviations` or `change`",
                    ));
                }
            },
        })
    }

    fn operand(&self, scalar: &Scalar) -> Option<Operand> {
        let text = scalar.text();
        if self.measure == Measure::Freshness {
            return dqdl::seconds(&text).map(Operand::Number);
        }
        if let Ok(number) = limit::number(&text) {
            return Some(Operand::Number(number));
        }
        let micros = gristmill_core::text::parse::timestamp(text.as_bytes())?;
        Some(Operand::Time(micros as f64 / 1e6))
    }
}
