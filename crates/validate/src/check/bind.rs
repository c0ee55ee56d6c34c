//! Checks, bound to columns: what has to be gathered for each test.

use std::collections::BTreeMap;
use std::sync::Mutex;

use arrow_schema::{DataType, Schema, SchemaRef};
use chrono::{DateTime, Utc};
use gristmill_core::types::type_name;
use gristmill_core::{ExpressionCompiler, Mistake};

use super::gather::{Gatherer, What};
use super::keys::{Skip, key_of_text};
use super::metric::{Aggregate, Answer, Metric, Predicate};
use super::queries::Query;
use super::references::References;
use super::{Check, Nulls, Test, predicate};
use crate::limit;

/// Checks and what is gathered for them.
pub(crate) struct Bound {
    pub(crate) checks: Vec<Check>,
    pub(crate) gatherer: Gatherer,
    /// For each test, in the order of the checks, where its parts are gathered.
    pub(crate) slots: Vec<Vec<usize>>,
    /// What queries are asked of the records, in the order of the checks.
    pub(crate) queries: Mutex<Vec<Query>>,
    /// What is gathered of the inputs that are compared with.
    pub(crate) references: References,
}

/// Other inputs.
#[derive(Default)]
pub(crate) struct Others<'a> {
    /// The names of all.
    pub(super) names: Vec<&'a str>,
    /// For each query, those that it speaks of.
    pub(super) asked: Vec<Vec<(String, SchemaRef)>>,
    /// Those that are compared with.
    pub(super) compared: Vec<(String, SchemaRef)>,
}

/// Binds checks to columns, here and of other inputs. With `rows`, each record is to have its result.
///
/// # Errors
/// Every mistake that the columns show.
pub(crate) fn bind(
    checks: &[Check],
    schema: &SchemaRef,
    expressions: &dyn ExpressionCompiler,
    now: DateTime<Utc>,
    others: &Others<'_>,
    rows: bool,
) -> Result<Bound, Vec<Mistake>> {
    let tests: Vec<&Test> = checks.iter().flat_map(|check| check.rule.tests()).collect();
    let mut misfits = BTreeMap::new();
    let wrong = |test, found| {
        misfits.entry(test).or_insert(found);
    };
    let references = References::bind(&tests, schema, &others.compared, wrong);
    let mut gatherer = Gatherer::new(schema);
    let (mut slots, mut mistakes, mut queries) = (Vec::new(), Vec::new(), Vec::new());
    for check in checks {
        for test in check.rule.tests() {
            let index = slots.len();
            let mut found = slots_of(test, &mut gatherer, expressions, now);
            if let Metric::Query { text, answer } = &test.metric {
                let asked = others.asked.get(queries.len()).map_or(&[][..], Vec::as_slice);
                let others = (asked, others.names.as_slice());
                let query = Query::new(index, (text, *answer), schema, others, expressions, rows);
                found = found
                    .and_then(|slots| query.map(|query| queries.push(Some(query))).map(|()| slots));
                if found.is_err() {
                    queries.push(None);
                }
            }
            slots.push(Vec::new());
            match misfits.remove(&index).map_or(found, Err) {
                Ok(found) => slots[index] = found,
                Err((message, hint)) => {
                    let mut mistake = Mistake::new(check.at.clone(), message);
                    mistake.span.clone_from(&check.span);
                    mistake.hint = hint;
                    mistakes.push(mistake);
                }
            }
        }
    }
    if mistakes.is_empty() {
        let queries = Mutex::new(queries.into_iter().flatten().collect());
        Ok(Bound { checks: checks.to_vec(), gatherer, slots, queries, references })
    } else {
        Err(mistakes)
    }
}

pub(super) type Wrong = (String, Option<String>);

fn slots_of(
    test: &Test,
    gatherer: &mut Gatherer,
    expressions: &dyn ExpressionCompiler,
    now: DateTime<Utc>,
) -> Result<Vec<usize>, Wrong> {
    let whats = needs(&test.metric, &gatherer.schema, now)?;
    let mut slots = Vec::with_capacity(whats.len());
    for what in whats {
        let slot = gatherer.slot(test.filter.as_deref(), what, expressions);
        slots.push(slot.map_err(|error| (error.message, error.hint))?);
    }
    Ok(slots)
}

/// What a metric needs of the input.
fn needs(metric: &Metric, schema: &SchemaRef, now: DateTime<Utc>) -> Result<Vec<What>, Wrong> {
    let plain = |message: String| (message, None);
    let find = |name: &str| predicate::column(schema, name).map_err(plain);
    let find_all = |names: &[String]| -> Result<Vec<usize>, Wrong> {
        names.iter().map(|name| find(name)).collect()
    };
    let number = |name: &str| numeric(schema, name);
    Ok(match metric {
        Metric::RowCount => vec![What::Rows],
        Metric::Completeness(name) => vec![What::Rows, What::Complete(find(name)?)],
        Metric::PrimaryKey(names) => {
            vec![What::Rows, What::Keys { columns: find_all(names)?, skip: Skip::Any }]
        }
        Metric::Uniqueness(names, nulls)
        | Metric::UniqueValueRatio(names, nulls)
        | Metric::DistinctCount(names, nulls) => {
            let columns = find_all(names)?;
            let skip = match nulls {
                Nulls::IgnoreIfAll if columns.len() > 1 => Skip::All,
                Nulls::IgnoreIfAll | Nulls::IgnoreIfAny | Nulls::Distinct => Skip::Any,
                Nulls::Equal => Skip::None,
            };
            let keys = What::Keys { columns, skip };
            if *nulls == Nulls::Distinct { vec![keys, What::Rows] } else { vec![keys] }
        }
        Metric::Coverage(name, values) => {
            let column = find(name)?;
            let field = schema.field(column);
            let keys = values.iter().map(|value| key_of_text(field, value).map_err(plain));
            vec![What::Found { column, keys: keys.collect::<Result<_, _>>()? }]
        }
        Metric::Entropy(name) => vec![What::Keys { columns: vec![find(name)?], skip: Skip::Any }],
        Metric::Sum(name) | Metric::Mean(name) | Metric::StandardDeviation(name) => {
            vec![What::Numbers(number(name)?)]
        }
        Metric::Minimum(name) | Metric::Maximum(name) => {
            vec![What::Numbers(measured(schema, name)?)]
        }
        Metric::Age(name) => vec![What::Numbers(instant(schema, name)?)],
        Metric::Quantile(name, _) => {
            vec![What::Keys { columns: vec![measured(schema, name)?], skip: Skip::Any }]
        }
        Metric::MinimumLength(name) | Metric::MaximumLength(name) => {
            vec![What::Lengths(find(name)?)]
        }
        Metric::Correlation(a, b) => vec![What::Pair(number(a)?, number(b)?)],
        Metric::Share(Predicate::Type(name, field_type)) => {
            let column = find(name)?;
            vec![What::Complete(column), What::Parses(column, *field_type)]
        }
        Metric::Share(other) | Metric::Count(other) => {
            let sql = predicate::sql(other, schema, now).map_err(plain)?;
            vec![What::Rows, What::Holds(sql)]
        }
        Metric::ReferentialIntegrity { columns, .. } => {
            vec![What::Texts { columns: find_all(columns)?, skip: Skip::Any }]
        }
        Metric::RowCountMatch(_) | Metric::Query { answer: Answer::Share, .. } => vec![What::Rows],
        Metric::AggregateMatch(a, b) => {
            let mut whats = Vec::new();
            for aggregate in [a, b] {
                if let Aggregate { reference: None, column, .. } = aggregate {
                    whats.push(What::Numbers(number(column)?));
                }
            }
            whats
        }
        Metric::DatasetMatch { keys, columns, .. } => {
            let mine = |pairs: &[(String, String)]| -> Result<Vec<usize>, Wrong> {
                pairs.iter().map(|(mine, _)| find(mine)).collect()
            };
            dataset(mine(keys)?, mine(columns)?, schema)
        }
        Metric::ColumnNames(pattern) => match regex::Regex::new(pattern) {
            Ok(_) => Vec::new(),
            Err(error) => return Err(plain(error.to_string())),
        },
        Metric::ColumnCount
        | Metric::ColumnExists(_)
        | Metric::Schema(_)
        | Metric::SchemaMatch(_)
        | Metric::Query { .. }
        | Metric::Files { .. } => Vec::new(),
    })
}

/// What comparing record by record needs of either side: the number of records, their keys, and
/// their keys with what is compared.
pub(crate) fn dataset(keys: Vec<usize>, columns: Vec<usize>, schema: &Schema) -> Vec<What> {
    let mut all = keys.clone();
    if columns.is_empty() {
        // By name, so that both sides put them in one order.
        let mut rest: Vec<usize> =
            (0..schema.fields().len()).filter(|column| !keys.contains(column)).collect();
        rest.sort_by_key(|column| schema.field(*column).name().clone());
        all.extend(rest);
    } else {
        all.extend(columns);
    }
    vec![
        What::Rows,
        What::Texts { columns: keys, skip: Skip::Any },
        What::Texts { columns: all, skip: Skip::All },
    ]
}

/// A column of numbers.
pub(crate) fn numeric(schema: &Schema, name: &str) -> Result<usize, Wrong> {
    of_kind(schema, name, "numbers", |data_type| {
        limit::Measure::of(data_type).is_some_and(limit::Measure::is_number)
    })
}

/// A column of numbers or times.
fn measured(schema: &Schema, name: &str) -> Result<usize, Wrong> {
    of_kind(schema, name, "numbers or times", |data_type| limit::Measure::of(data_type).is_some())
}

/// A column of dates or timestamps.
fn instant(schema: &Schema, name: &str) -> Result<usize, Wrong> {
    of_kind(schema, name, "dates or timestamps", |data_type| {
        matches!(limit::Measure::of(data_type), Some(limit::Measure::Instant(_)))
    })
}

fn of_kind(
    schema: &Schema,
    name: &str,
    kind: &str,
    fits: impl Fn(&DataType) -> bool,
) -> Result<usize, Wrong> {
    let column = predicate::column(schema, name).map_err(|message| (message, None))?;
    let field = schema.field(column);
    if fits(field.data_type()) {
        return Ok(column);
    }
    let message = format!("column `{name}` is {}; this needs {kind}", type_name(field));
    let hint = "declare its type with `columns:` on the source, or put a `cast` before it";
    Err((message, Some(hint.to_owned())))
}
