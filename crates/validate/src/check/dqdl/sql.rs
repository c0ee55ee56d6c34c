//! `CustomSql`: statements that give a number, or the records that pass.
//!
//! One aggregate over the records, and a condition of single records, are gathered in the pass that
//! all rules share. Any other statement is a query over the records and other inputs.

use super::DqdlError;
use super::compile::number_condition;
use super::tree::{Call, Condition, ConditionKind, Operand};
use crate::check::metric::{Answer, Metric, Predicate};
use crate::check::{Nulls, Rule, Test};

/// Words of a statement that is no mere aggregate or condition.
const MORE: &str =
    r"(?i)\b(group\s+by|order\s+by|having|limit|union|intersect|except|select|over)\b";

/// What a statement measures, and what is expected of it.
pub(super) fn rule(call: &Call) -> Result<Rule, DqdlError> {
    let statement = call.parameter(0, "a statement")?;
    let refuse =
        |what: &str, hint: &str| DqdlError::new(what.to_owned(), call.span.clone()).hint(hint);
    let test = |metric, filter, expect| Ok(Rule::Test(Test { metric, filter, expect }));
    // A number of records rather than a share of them.
    let counts = |threshold: &Condition| matches!(&threshold.kind, ConditionKind::Compare(_, Operand::Number(n)) if n.parse::<f64>().is_ok_and(|n| n > 1.0));
    let counted = call.threshold.as_ref().filter(|threshold| counts(threshold));
    if let Some((selected, condition)) = simple(&statement) {
        let both = match (&condition, &call.filter) {
            (Some(condition), Some(filter)) => Some(format!("({condition}) AND ({filter})")),
            (condition, filter) => condition.as_ref().or(filter.as_ref()).cloned(),
        };
        match (&call.condition, condition) {
            (Some(condition), _) => {
                if let Some(metric) = aggregate(&selected) {
                    return test(metric, both, number_condition(condition)?);
                }
            }
            (None, Some(condition)) => match counted {
                Some(threshold) => {
                    let passing = Metric::Count(Predicate::Sql(condition));
                    return test(passing, call.filter.clone(), number_condition(threshold)?);
                }
                None => {
                    let passes = Metric::Share(Predicate::Sql(condition));
                    return test(passes, call.filter.clone(), call.threshold()?);
                }
            },
            (None, None) => {
                return Err(refuse(
                    "the statement has neither a condition nor a `where`",
                    "compare a number, `CustomSql \"select count(*) from primary\" > 10`, or select the records that pass, `select id from primary where …`",
                ));
            }
        }
    }
    if call.filter.is_some() {
        return Err(refuse(
            "`where` cannot stand behind this statement",
            "write the condition into the statement",
        ));
    }
    let query =
        |answer| Metric::Query { text: statement.trim().trim_end_matches(';').to_owned(), answer };
    match (&call.condition, counted) {
        (Some(condition), _) => test(query(Answer::Number), None, number_condition(condition)?),
        (None, Some(threshold)) => test(query(Answer::Records), None, number_condition(threshold)?),
        (None, None) => test(query(Answer::Share), None, call.threshold()?),
    }
}

/// What a statement over the records alone selects, and where, if it does no more than that.
fn simple(statement: &str) -> Option<(String, Option<String>)> {
    let pattern = r"(?is)^\s*select\s+(.+?)\s+from\s+primary\s*(?:\s+where\s+(.+?))?\s*;?\s*$";
    let parts = regex::Regex::new(pattern).ok()?.captures(statement)?;
    let more = regex::Regex::new(MORE).ok()?;
    let (selected, condition) = (parts[1].trim(), parts.get(2).map(|part| part.as_str()));
    let simple = !more.is_match(selected) && !condition.is_some_and(|it| more.is_match(it));
    simple.then(|| (selected.to_owned(), condition.map(str::to_owned)))
}

/// The metric of an SQL aggregate.
fn aggregate(text: &str) -> Option<Metric> {
    let (function, rest) = text.split_once('(')?;
    let inside = rest.trim().strip_suffix(')')?.trim();
    let function = function.trim().to_ascii_lowercase();
    if function == "count" && inside == "*" {
        return Some(Metric::RowCount);
    }
    let (distinct, name) = match inside.split_once(char::is_whitespace) {
        Some((word, rest)) if word.eq_ignore_ascii_case("distinct") => (true, rest.trim()),
        _ => (false, inside),
    };
    let name = name.trim_matches(['`', '"']).to_owned();
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_');
    Some(match (function.as_str(), distinct) {
        _ if !is_name => return None,
        ("count", true) => Metric::DistinctCount(vec![name], Nulls::default()),
        ("sum", false) => Metric::Sum(name),
        ("avg" | "mean", false) => Metric::Mean(name),
        ("min", _) => Metric::Minimum(name),
        ("max", _) => Metric::Maximum(name),
        ("stddev_pop", false) => Metric::StandardDeviation(name),
        _ => return None,
    })
}
