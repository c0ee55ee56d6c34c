//! `aggregate`: one record for each group.

use std::sync::Arc;

use arrow_schema::SchemaRef;
use datafusion_sql::sqlparser::ast;
use gristmill_core::{
    BindContext, Bound, ExpressionError, Grain, Mistake, Needs, Pointer, Result, StepKind, StepPlan,
};
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{computed, expression_mistake};
use crate::expression::names;
use crate::options;
use crate::relational::{
    INPUT, Query, SetFunctions, Tables, column, expression, grouped, input, named, planned, quoted,
    select,
};

/// The registry entry.
pub(super) const KIND: StepKind = StepKind {
    name: "aggregate",
    about: "Makes one record of all records with the same key: counts, sums, averages and the like.",
    example: "aggregate: {by: [fund_code], columns: {records: count(*), total_aum: sum(aum)}}\n",
    schema: |generator| generator.subschema_for::<Aggregate>(),
    plan: |options, _| {
        let plan: Aggregate = options::read(options)?;
        let mistakes = plan.check();
        options::planned(plan, mistakes)
    },
};

/// Makes one record of each group of records. The groups come in the order of their keys, nulls
/// last. Keys that are null are equal to each other.
///
/// A column is an SQL expression with aggregate functions, for example `sum(aum) / count(*)`,
/// `count(DISTINCT fund_code)` or `sum(aum) FILTER (WHERE region = 'EU')`. The functions are
/// `count`, `sum`, `avg`, `min`, `max`, `stddev`, `stddev_pop`, `var`, `var_pop`, `median`, `first`
/// and `last` (in the order of the input, or `first(x ORDER BY y)`), `count_distinct`,
/// `approx_distinct`, `approx_percentile_cont`, `bool_and`, `bool_or`, `string_agg`, `array_agg`,
/// `corr` and the others of Apache DataFusion's SQL reference. Nulls do not count, but in
/// `count(*)`.
///
/// Sums of integers and decimals are exact, and one that leaves its type ends the run. Groups that
/// do not fit in the step's share of `limits.memory` go to a temporary folder. Where the functions
/// are `count`, `sum` and `avg`, `min` and `max` of numbers, dates and times, without `DISTINCT`,
/// and no key is a double, all workers aggregate, and sums of doubles are exact, rounded once.
/// They go to disk all at once, sorted by key, each time memory is full, as 16 bytes, the key and 8 to 24 bytes for each
/// function; at the end these sorted runs are merged into one, which is read once for up to 32 runs for each worker and
/// twice for more. Otherwise one thread does, and sums of doubles may differ in their last digit from those of a run
/// with more memory.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Aggregate {
    /// The columns that are the key together. Without them, all records are one group.
    pub by: Vec<String>,
    /// New columns by name, each an SQL expression with aggregate functions. Without them, the
    /// result is each key once.
    #[schemars(with = "std::collections::BTreeMap<String, String>")]
    pub columns: IndexMap<String, String>,
}

impl Aggregate {
    /// One record for each combination of values in these columns.
    pub fn by<S: Into<String>>(columns: impl IntoIterator<Item = S>) -> Self {
        let by = columns.into_iter().map(Into::into).collect();
        Self { by, columns: IndexMap::new() }
    }

    /// One record of all records.
    pub fn all() -> Self {
        Self::default()
    }

    /// Adds a column, computed by an SQL expression with aggregate functions.
    #[must_use]
    pub fn column(mut self, name: impl Into<String>, expression: impl Into<String>) -> Self {
        self.columns.insert(name.into(), expression.into());
        self
    }

    fn check(&self) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        if self.by.is_empty() && self.columns.is_empty() {
            mistakes.push(
                Mistake::new(Pointer::root(), "there is nothing to aggregate")
                    .hint("name keys with `by`, and say what to compute with `columns`"),
            );
        }
        if let Some(twice) = options::duplicate(self.by.iter().map(String::as_str)) {
            let at = Pointer::root().key("by");
            mistakes.push(Mistake::new(at, format!("`{twice}` stands twice")));
        }
        for name in self.columns.keys().filter(|name| self.by.contains(name)) {
            let at = Pointer::root().key("columns").key(name);
            mistakes.push(Mistake::new(at, format!("`{name}` is a key already")).on_key());
        }
        mistakes.extend(computed::mistakes(&self.columns, SetFunctions::aggregates()));
        mistakes
    }

    fn query(
        &self,
        columns: &[(&str, &ast::Expr)],
        schema: &SchemaRef,
    ) -> Result<Query, ExpressionError> {
        let keys: Vec<String> = self.by.iter().map(|name| quoted(name)).collect();
        let grouped = match &keys[..] {
            [] => String::new(),
            keys => format!("GROUP BY {}", keys.join(", ")),
        };
        let results = self.by.iter().map(|name| column(name));
        let results = results
            .chain(columns.iter().map(|(name, expression)| named((*expression).clone(), name)));
        let statement = select(results.collect(), &format!("FROM {INPUT} {grouped}"))?;
        planned(statement, &[input(schema)])
    }
}

impl StepPlan for Aggregate {
    fn needs(&self) -> Needs {
        let names = self.columns.values().map(|text| names(text));
        match names.collect::<Option<Vec<_>>>() {
            Some(names) => Needs::Only([self.by.clone(), names.concat()].concat()),
            None => Needs::All,
        }
    }

    fn bind(&self, schema: &SchemaRef, _: &BindContext<'_>) -> Result<Bound, Vec<Mistake>> {
        let mut mistakes = self.check();
        let names = options::names(schema);
        for (i, name) in self.by.iter().enumerate() {
            let found = options::find(&names, name, Pointer::root().key("by").index(i));
            mistakes.extend(found.err());
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let columns = computed::trees(&self.columns, |name, text| {
            let tree = expression(text, SetFunctions::aggregates(), Some(schema))?;
            self.query(&[(name, &tree)], schema)?;
            Ok(tree)
        })?;
        let columns: Vec<_> = columns.iter().map(|(name, tree)| (*name, tree)).collect();
        let query = self
            .query(&columns, schema)
            .map_err(|found| vec![expression_mistake(Pointer::root(), found)])?;
        Ok(grouped(KIND.name, &query).unwrap_or_else(|| {
            Tables::new(KIND.name, query, Arc::clone(schema)).bound(Grain::Changes)
        }))
    }
}
