//! What each rule type of DQDL means: a tree of tests.

use gristmill_core::FieldType;

use super::tree::{Call, Condition, ConditionKind, Node, Operand};
use super::{DqdlError, files, sql};
use crate::check::expect::{self, Expect};
use crate::check::metric::{Aggregate, Literal, Metric, Op, Predicate, ValueTest};
use crate::check::{Nulls, Rule, Test};
use crate::suggest::nearest;

/// The rule types.
pub(super) const TYPES: [&str; 32] = [
    "AggregateMatch",
    "AllStatistics",
    "ColumnCorrelation",
    "ColumnCount",
    "ColumnDataType",
    "ColumnExists",
    "ColumnLength",
    "ColumnNamesMatchPattern",
    "ColumnValues",
    "Completeness",
    "CustomSql",
    "DataFreshness",
    "DatasetMatch",
    "DetectAnomalies",
    "DistinctValuesCount",
    "Entropy",
    "FileFreshness",
    "FileMatch",
    "FileSize",
    "FileUniqueness",
    "IsComplete",
    "IsPrimaryKey",
    "IsUnique",
    "Mean",
    "ReferentialIntegrity",
    "RowCount",
    "RowCountMatch",
    "SchemaMatch",
    "StandardDeviation",
    "Sum",
    "UniqueValueRatio",
    "Uniqueness",
];

/// How many runs `DetectAnomalies` looks back, and how far from their mean is unusual.
const USUAL: Expect = Expect::Usual { last: 30, deviations: 3.0 };

pub(super) fn rule(node: &Node) -> Result<Rule, DqdlError> {
    match node {
        Node::All(nodes, _) => nodes.iter().map(rule).collect::<Result<_, _>>().map(Rule::All),
        Node::Any(nodes, _) => nodes.iter().map(rule).collect::<Result<_, _>>().map(Rule::Any),
        Node::Call(call) => of_call(call),
    }
}

/// What is measured, and passes always.
pub(super) fn analyzer(call: &Call) -> Result<Rule, DqdlError> {
    if let Some(condition) = &call.condition {
        return Err(DqdlError::new("an analyzer has no condition", condition.span.clone())
            .hint("put it among the rules"));
    }
    let test =
        |metric| Rule::Test(Test { metric, filter: call.filter.clone(), expect: Expect::Anything });
    if call.name == "AllStatistics" {
        let column = call.column()?;
        return Ok(Rule::All(vec![
            test(Metric::RowCount),
            test(Metric::Completeness(column.clone())),
            test(Metric::Uniqueness(vec![column.clone()], Nulls::default())),
            test(Metric::DistinctCount(vec![column.clone()], Nulls::default())),
            test(Metric::Entropy(column)),
        ]));
    }
    Ok(Rule::All(call.metrics(&call.name, &call.parameters)?.into_iter().map(test).collect()))
}

type Parameter = (String, std::ops::Range<usize>);

fn of_call(call: &Call) -> Result<Rule, DqdlError> {
    if let (Some(tag), false) = (call.tags.first(), call.name.starts_with("File")) {
        let message = format!("{} has no tag `{}`", call.name, tag.name);
        return Err(DqdlError::new(message, tag.span.clone())
            .hint("`with threshold > 0.9` is for shares; tags are for rules about files"));
    }
    let one = |metric, expect| Ok(Rule::Test(Test { metric, filter: call.filter.clone(), expect }));
    match call.name.as_str() {
        "IsComplete" => one(Metric::Completeness(call.column()?), call.no_condition()?),
        "IsUnique" => {
            one(Metric::Uniqueness(call.columns()?, Nulls::default()), call.no_condition()?)
        }
        "IsPrimaryKey" => one(Metric::PrimaryKey(call.columns()?), call.no_condition()?),
        "ColumnExists" => one(Metric::ColumnExists(call.column()?), call.no_condition()?),
        "ColumnNamesMatchPattern" => {
            one(Metric::ColumnNames(call.parameter(0, "a pattern")?), call.no_condition()?)
        }
        "ColumnValues" => {
            let test = value_test(call.needed()?)?;
            let predicate = Predicate::Value(call.column()?, test);
            one(Metric::Share(predicate), call.threshold()?)
        }
        "ColumnLength" => {
            let test = value_test(call.needed()?)?;
            let predicate = Predicate::Length(call.column()?, test);
            one(Metric::Share(predicate), call.threshold()?)
        }
        "ColumnDataType" => {
            let predicate = Predicate::Type(call.column()?, data_type(call.needed()?)?);
            one(Metric::Share(predicate), call.threshold()?)
        }
        "DataFreshness" => {
            let predicate = Predicate::Value(call.column()?, age_test(call.needed()?)?);
            one(Metric::Share(predicate), call.threshold()?)
        }
        "CustomSql" => sql::rule(call),
        "DetectAnomalies" => {
            let name = call.parameter(0, "the name of a rule")?;
            let metrics = call.metrics(&name, &call.parameters[1..])?;
            let tests = metrics.into_iter().map(|metric| {
                Rule::Test(Test { metric, filter: call.filter.clone(), expect: USUAL })
            });
            Ok(Rule::All(tests.collect()))
        }
        "FileSize" | "FileFreshness" | "FileUniqueness" | "FileMatch" => {
            let (metric, expect) = files::metric(call)?;
            one(metric, expect)
        }
        "AllStatistics" => {
            Err(DqdlError::new("AllStatistics is an analyzer, no rule", call.name_span.clone())
                .hint("put it under `Analyzers = [ … ]`"))
        }
        _ => {
            let mut metrics = call.metrics(&call.name, &call.parameters)?;
            one(metrics.swap_remove(0), number_condition(call.needed()?)?)
        }
    }
}

impl Call {
    pub(super) fn parameter(&self, at: usize, what: &str) -> Result<String, DqdlError> {
        nth(&self.name, &self.name_span, &self.parameters, at, what)
    }

    fn column(&self) -> Result<String, DqdlError> {
        self.parameter(0, "a column")
    }

    fn columns(&self) -> Result<Vec<String>, DqdlError> {
        self.column()?;
        Ok(self.parameters.iter().map(|(name, _)| name.clone()).collect())
    }

    pub(super) fn needed(&self) -> Result<&Condition, DqdlError> {
        self.condition.as_ref().ok_or_else(|| {
            DqdlError::new(format!("{} needs a condition", self.name), self.span.clone())
                .hint("for example `> 0.9` or `between 1 and 10`")
        })
    }

    /// That everything passes.
    fn no_condition(&self) -> Result<Expect, DqdlError> {
        match &self.condition {
            None => self.threshold(),
            Some(condition) => Err(DqdlError::new(
                format!("{} has no condition", self.name),
                condition.span.clone(),
            )),
        }
    }

    pub(super) fn threshold(&self) -> Result<Expect, DqdlError> {
        self.threshold.as_ref().map_or(Ok(Expect::ALL), number_condition)
    }

    /// What a rule type measures.
    fn metrics(&self, name: &str, parameters: &[Parameter]) -> Result<Vec<Metric>, DqdlError> {
        let nth = |at: usize, what: &str| nth(name, &self.name_span, parameters, at, what);
        let column = || nth(0, "a column");
        let columns = || -> Result<Vec<String>, DqdlError> {
            column()?;
            Ok(parameters.iter().map(|(name, _)| name.clone()).collect())
        };
        Ok(vec![match name {
            "RowCount" => Metric::RowCount,
            "ColumnCount" => Metric::ColumnCount,
            "Completeness" => Metric::Completeness(column()?),
            "Uniqueness" => Metric::Uniqueness(columns()?, Nulls::default()),
            "UniqueValueRatio" => Metric::UniqueValueRatio(columns()?, Nulls::default()),
            "DistinctValuesCount" => Metric::DistinctCount(columns()?, Nulls::default()),
            "Entropy" => Metric::Entropy(column()?),
            "Mean" => Metric::Mean(column()?),
            "Sum" => Metric::Sum(column()?),
            "StandardDeviation" => Metric::StandardDeviation(column()?),
            "ColumnCorrelation" => Metric::Correlation(column()?, nth(1, "a second column")?),
            "ColumnLength" => {
                let column = column()?;
                return Ok(vec![
                    Metric::MinimumLength(column.clone()),
                    Metric::MaximumLength(column),
                ]);
            }
            "ColumnValues" => {
                let column = column()?;
                return Ok(vec![Metric::Minimum(column.clone()), Metric::Maximum(column)]);
            }
            "RowCountMatch" => Metric::RowCountMatch(nth(0, "a reference")?),
            "SchemaMatch" => Metric::SchemaMatch(nth(0, "a reference")?),
            "ReferentialIntegrity" => {
                let mine = names(&column()?);
                let (reference, theirs) = self.reference(&nth(1, "columns of a reference")?)?;
                if mine.len() != theirs.len() {
                    let message = format!("{} columns against {}", mine.len(), theirs.len());
                    return Err(DqdlError::new(message, self.span.clone()));
                }
                Metric::ReferentialIntegrity { columns: mine, reference, theirs }
            }
            "AggregateMatch" => {
                let one = |at| self.aggregate(&nth(at, "an aggregate")?);
                Metric::AggregateMatch(one(0)?, one(1)?)
            }
            "DatasetMatch" => Metric::DatasetMatch {
                reference: nth(0, "a reference")?,
                keys: mapped(&nth(1, "key columns")?),
                columns: parameters.get(2).map_or_else(Vec::new, |(text, _)| mapped(text)),
            },
            _ => {
                let error =
                    DqdlError::new(format!("unknown rule type `{name}`"), self.name_span.clone());
                return Err(match nearest(name, TYPES) {
                    Some(near) if near != name => error.hint(format!("did you mean `{near}`?")),
                    _ => error.hint("rule types are case-sensitive, as in `IsComplete \"id\"`"),
                });
            }
        }])
    }

    /// `reference.column` or `reference.{a,b}`.
    fn reference(&self, text: &str) -> Result<(String, Vec<String>), DqdlError> {
        let (reference, columns) = text.split_once('.').ok_or_else(|| {
            DqdlError::new(format!("\"{text}\" names no reference"), self.span.clone())
                .hint("write \"reference.column\" or \"reference.{a,b}\"")
        })?;
        let columns = columns.trim().trim_start_matches('{').trim_end_matches('}');
        Ok((reference.trim().to_owned(), names(columns)))
    }

    /// `sum(column)` or `avg(reference.column)`.
    fn aggregate(&self, text: &str) -> Result<Aggregate, DqdlError> {
        let wrong = || {
            DqdlError::new(format!("\"{text}\" is no aggregate"), self.span.clone())
                .hint("write \"sum(column)\" or \"avg(reference.column)\"")
        };
        let (function, rest) = text.split_once('(').ok_or_else(wrong)?;
        let inside = rest.trim().strip_suffix(')').ok_or_else(wrong)?.trim();
        let mean = match function.trim().to_ascii_lowercase().as_str() {
            "avg" => true,
            "sum" => false,
            _ => return Err(wrong()),
        };
        Ok(match inside.split_once('.') {
            Some((reference, column)) => Aggregate {
                mean,
                reference: Some(reference.trim().to_owned()),
                column: column.trim().to_owned(),
            },
            None => Aggregate { mean, reference: None, column: inside.to_owned() },
        })
    }
}

fn nth(
    name: &str,
    name_span: &std::ops::Range<usize>,
    parameters: &[Parameter],
    at: usize,
    what: &str,
) -> Result<String, DqdlError> {
    parameters.get(at).map(|(text, _)| text.clone()).ok_or_else(|| {
        DqdlError::new(format!("{name} needs {what}, in double quotes"), name_span.clone())
    })
}

/// A list with commas.
fn names(text: &str) -> Vec<String> {
    text.split(',').map(|name| name.trim().to_owned()).collect()
}

/// `a->b,c` as names here and there.
fn mapped(text: &str) -> Vec<(String, String)> {
    let pair = |name: String| match name.split_once("->") {
        Some((mine, theirs)) => (mine.trim().to_owned(), theirs.trim().to_owned()),
        None => (name.clone(), name),
    };
    names(text).into_iter().map(pair).collect()
}

/// A condition on a number that was measured.
pub(super) fn number_condition(condition: &Condition) -> Result<Expect, DqdlError> {
    let operand = |operand: &Operand| {
        number(operand)
            .ok_or_else(|| DqdlError::new("a number was expected here", condition.span.clone()))
    };
    Ok(match &condition.kind {
        ConditionKind::Compare(op, value) => Expect::Compare(*op, operand(value)?),
        ConditionKind::Between { low, high, not } => Expect::Between {
            low: operand(low)?,
            high: operand(high)?,
            inclusive: false,
            not: *not,
        },
        ConditionKind::In(items, not) => {
            Expect::In(items.iter().map(operand).collect::<Result<_, _>>()?, *not)
        }
        ConditionKind::Matches(..) => {
            let message = "a number matches no pattern";
            return Err(DqdlError::new(message, condition.span.clone()));
        }
    })
}

pub(super) fn number(operand: &Operand) -> Option<expect::Operand> {
    Some(match operand {
        Operand::Number(text) => expect::Operand::Number(text.parse().ok()?),
        Operand::Duration(value) | Operand::Size(value) => expect::Operand::Number(*value),
        Operand::Text(text) => match text.parse() {
            Ok(number) => expect::Operand::Number(number),
            Err(_) => {
                let micros = gristmill_core::text::parse::timestamp(text.as_bytes())?;
                expect::Operand::Time(micros as f64 / 1e6)
            }
        },
        Operand::Now => expect::Operand::Ago(0.0),
        Operand::Last(function, last) => expect::Operand::Last(*function, *last),
        Operand::Keyword(_) => return None,
        Operand::Calculate(a, op, b) => match (seconds_ago(operand), op) {
            (Some(seconds), _) => expect::Operand::Ago(seconds),
            (None, _) => {
                expect::Operand::Calculate(Box::new(number(a)?), *op, Box::new(number(b)?))
            }
        },
    })
}

/// `now() - 3 days` as seconds.
fn seconds_ago(operand: &Operand) -> Option<f64> {
    match operand {
        Operand::Now => Some(0.0),
        Operand::Calculate(a, op @ ('+' | '-'), b) => {
            let (ago, Operand::Duration(seconds)) = (seconds_ago(a)?, b.as_ref()) else {
                return None;
            };
            Some(if *op == '-' { ago + seconds } else { ago - seconds })
        }
        _ => None,
    }
}

/// A condition on each value.
fn value_test(condition: &Condition) -> Result<ValueTest, DqdlError> {
    let literal = |operand: &Operand| {
        literal(operand).ok_or_else(|| {
            DqdlError::new("this cannot be compared with each value", condition.span.clone())
                .hint("write a number, a text, a date, or `now() - 3 days`")
        })
    };
    Ok(match &condition.kind {
        ConditionKind::Compare(op, value) => ValueTest::Compare(*op, literal(value)?),
        ConditionKind::Between { low, high, not } => {
            ValueTest::Between { low: literal(low)?, high: literal(high)?, not: *not }
        }
        ConditionKind::In(items, not) => {
            ValueTest::In(items.iter().map(literal).collect::<Result<_, _>>()?, *not)
        }
        ConditionKind::Matches(pattern, not) => match regex::Regex::new(pattern) {
            Ok(_) => ValueTest::Matches(pattern.clone(), *not),
            Err(error) => {
                let message = format!("the pattern cannot be read: {error}");
                return Err(DqdlError::new(message, condition.span.clone()));
            }
        },
    })
}

fn literal(operand: &Operand) -> Option<Literal> {
    Some(match operand {
        Operand::Number(text) => Literal::Number(text.clone()),
        Operand::Text(text) => Literal::Text(text.clone()),
        Operand::Keyword("NULL") => Literal::Null,
        Operand::Keyword("EMPTY") => Literal::Empty,
        Operand::Keyword(_) => Literal::Blank,
        other => Literal::Ago(seconds_ago(other)?),
    })
}

/// A condition on the age of each value, as one on the value.
fn age_test(condition: &Condition) -> Result<ValueTest, DqdlError> {
    let ago = |operand: &Operand| match operand {
        Operand::Duration(seconds) => Ok(Literal::Ago(*seconds)),
        _ => Err(DqdlError::new("a length of time was expected", condition.span.clone())
            .hint("write `24 hours` or `2 days`")),
    };
    Ok(match &condition.kind {
        ConditionKind::Compare(op, value) => {
            let turned = match op {
                Op::Less => Op::Greater,
                Op::LessOrEqual => Op::GreaterOrEqual,
                Op::Greater => Op::Less,
                Op::GreaterOrEqual => Op::LessOrEqual,
                same => *same,
            };
            ValueTest::Compare(turned, ago(value)?)
        }
        ConditionKind::Between { low, high, not } => {
            ValueTest::Between { low: ago(high)?, high: ago(low)?, not: *not }
        }
        _ => {
            return Err(DqdlError::new(
                "an age is compared, as in `<= 24 hours`",
                condition.span.clone(),
            ));
        }
    })
}

fn data_type(condition: &Condition) -> Result<FieldType, DqdlError> {
    let wrong = |message: String| DqdlError::new(message, condition.span.clone());
    let ConditionKind::Compare(Op::Equal, Operand::Text(name)) = &condition.kind else {
        return Err(wrong("a type was expected".to_owned()).hint("write `= \"Integer\"`"));
    };
    match name.to_ascii_uppercase().as_str() {
        "BOOLEAN" => Ok(FieldType::Bool),
        "DATE" => Ok(FieldType::Date),
        "TIMESTAMP" => Ok(FieldType::Timestamp),
        "INTEGER" | "INT" | "LONG" | "SHORT" | "BYTE" => Ok(FieldType::Int),
        "DOUBLE" | "FLOAT" => Ok(FieldType::Double),
        "STRING" => Ok(FieldType::String),
        _ => name.parse().map_err(wrong),
    }
}
