//! `CustomSql`: statements of one aggregate, or of the records that pass.

use super::DqdlError;
use super::compile::number_condition;
use super::tree::{Call, Condition, ConditionKind, Operand};
use crate::check::metric::{Metric, Predicate};
use crate::check::{Rule, Test};

/// A statement of one aggregate or of the rows that pass.
pub(super) fn rule(call: &Call) -> Result<Rule, DqdlError> {
    let statement = call.parameter(0, "a statement")?;
    let joins = statement.to_ascii_lowercase().contains(" join ");
    let refuse = |what: &str| {
        let error = DqdlError::new(what.to_owned(), call.span.clone());
        if joins {
            return error.hint(
                "a statement reads `primary` alone: ReferentialIntegrity compares keys with a reference, and a \
                 `lookup` or `sql` step before the check joins",
            );
        }
        error.hint(
            "a statement is `select count(*) from primary where …`, with count, sum, avg, min, max or stddev of a \
             column, or `select column from primary where …` for the records that pass",
        )
    };
    let pattern = r"(?is)^\s*select\s+(.+?)\s+from\s+primary\s*(?:\s+where\s+(.+?))?\s*;?\s*$";
    let shape = regex::Regex::new(pattern).map_err(|error| refuse(&error.to_string()))?;
    let parts = shape.captures(&statement).ok_or_else(|| refuse("this statement cannot be run"))?;
    let selected = parts[1].trim();
    let both = match (parts.get(2), &call.filter) {
        (Some(condition), Some(filter)) => Some(format!("({}) AND ({filter})", condition.as_str())),
        (Some(condition), None) => Some(condition.as_str().to_owned()),
        (None, filter) => filter.clone(),
    };
    let test = |metric, filter, expect| Ok(Rule::Test(Test { metric, filter, expect }));
    if let Some(condition) = &call.condition {
        return test(
            aggregate(selected).ok_or_else(|| refuse("this cannot be computed"))?,
            both,
            number_condition(condition)?,
        );
    }
    let Some(condition) = parts.get(2) else {
        return Err(refuse("the statement has neither a condition nor a `where`"));
    };
    let counts = |threshold: &Condition| matches!(&threshold.kind, ConditionKind::Compare(_, Operand::Number(n)) if n.parse::<f64>().is_ok_and(|n| n > 1.0));
    match &call.threshold {
        // A number of records rather than a share of them.
        Some(threshold) if counts(threshold) => {
            test(Metric::RowCount, both, number_condition(threshold)?)
        }
        _ => {
            let passes = Metric::Share(Predicate::Sql(condition.as_str().to_owned()));
            test(passes, call.filter.clone(), call.threshold()?)
        }
    }
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
        ("count", true) => Metric::DistinctCount(vec![name]),
        ("sum", false) => Metric::Sum(name),
        ("avg" | "mean", false) => Metric::Mean(name),
        ("min", _) => Metric::Minimum(name),
        ("max", _) => Metric::Maximum(name),
        ("stddev_pop", false) => Metric::StandardDeviation(name),
        _ => return None,
    })
}
