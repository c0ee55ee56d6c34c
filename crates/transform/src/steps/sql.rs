//! `sql`: any query over the input.

use arrow_schema::SchemaRef;
use gristmill_core::{BindContext, Bound, Grain, Mistake, Pointer, Result, StepKind, StepPlan};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::expression_mistake;
use crate::options;
use crate::relational::{Tables, input, planned, statement};

/// The registry entry.
pub(super) const KIND: StepKind = StepKind {
    name: "sql",
    about: "Runs an SQL query over the records.",
    example: "sql: {query: \"SELECT region, count(*) AS funds FROM input GROUP BY region HAVING count(*) > 1\"}\n",
    schema: |generator| generator.subschema_for::<SqlQuery>(),
    plan: |options, _| {
        let plan: SqlQuery = options::read(options)?;
        let mistakes = plan.check();
        options::planned(plan, mistakes)
    },
};

/// Runs a query over the records, which are the table `input`. Its result are the records that go
/// on; what they came from is not known any more.
///
/// The query is a `SELECT` in the SQL of Apache DataFusion, with joins, subqueries, `WITH`, `UNION`,
/// aggregates and window functions. Names are written as the columns are called, also without
/// quotes. What changes from run to run (`now()`, `random()`) is refused. Each result column needs
/// a name of its own.
///
/// Without `ORDER BY`, groups and distinct records come in the order of their values, nulls last,
/// windows in the order of their partitions, and everything else in the order of the input. An
/// `ORDER BY` keeps the order of the input among equal records. A value that cannot be computed (a
/// division by zero, a sum that leaves its type) ends the run.
///
/// What does not fit in the step's share of `limits.memory` goes to a temporary folder; only the
/// smaller side of a join must fit.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Sql")]
pub struct SqlQuery {
    /// The query.
    pub query: String,
}

impl SqlQuery {
    /// The result of this query over the table `input`.
    pub fn new(query: impl Into<String>) -> Self {
        Self { query: query.into() }
    }

    fn check(&self) -> Vec<Mistake> {
        let at = Pointer::root().key("query");
        statement(&self.query)
            .err()
            .map(|found| expression_mistake(at, found))
            .into_iter()
            .collect()
    }
}

impl StepPlan for SqlQuery {
    fn bind(&self, schema: &SchemaRef, _: &BindContext<'_>) -> Result<Bound, Vec<Mistake>> {
        let query = statement(&self.query).and_then(|tree| planned(tree, &[input(schema)]));
        let query =
            query.map_err(|found| vec![expression_mistake(Pointer::root().key("query"), found)])?;
        Ok(Tables::new(KIND.name, query, schema.clone()).bound(Grain::Changes))
    }
}
