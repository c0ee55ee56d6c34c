//! `sql`: any query over the input.

use std::sync::Arc;

use arrow_schema::SchemaRef;
use gristmill_core::{
    BindContext, Bound, Grain, Mistake, Pointer, Reference, Result, StepKind, StepPlan,
};
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::expression_mistake;
use super::other::Source;
use crate::relational::{INPUT, Table, Tables, input, planned, reads, statement};
use crate::{options, suggest};

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

/// Runs a query over the records, which are the table `input`, and over the `tables` named beside
/// it. Its result are the records that go on; what they came from is not known any more.
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
/// What does not fit in the step's share of `limits.memory` goes to a temporary folder; only that
/// side of a join must fit that is not the input. A `join` step has no such bound.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Sql")]
pub struct SqlQuery {
    /// The query.
    pub query: String,
    /// Other tables that the query may read, by name: each a source as in `extract`, for example
    /// `{regions: {file: regions.csv}}`.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    #[schemars(with = "std::collections::BTreeMap<String, Source>")]
    pub tables: IndexMap<String, Source>,
}

impl SqlQuery {
    /// The result of this query over the table `input`.
    pub fn new(query: impl Into<String>) -> Self {
        Self { query: query.into(), tables: IndexMap::new() }
    }

    /// Another table that the query may read: `json!({"file": "regions.csv"})`, or a `File`,
    /// `Table`, `Query` or `Rows` of `gristmill-extract`.
    #[must_use]
    pub fn table(mut self, name: impl Into<String>, source: impl Into<Value>) -> Self {
        self.tables.insert(name.into(), Source(source.into()));
        self
    }

    fn check(&self) -> Vec<Mistake> {
        let query = match statement(&self.query) {
            Ok(query) => query,
            Err(found) => return vec![expression_mistake(Pointer::root().key("query"), found)],
        };
        let mut unknown = reads(&self.query, &query);
        let read: Vec<String> = unknown.iter().map(|(name, _)| name.clone()).collect();
        unknown.retain(|(name, _)| name != INPUT && !self.tables.contains_key(name));
        let (mut mistakes, mut unread) = (Vec::new(), Vec::new());
        for name in self.tables.keys() {
            let at = Pointer::root().key("tables").key(name);
            if name == INPUT {
                let message = format!("`{INPUT}` are the records");
                mistakes
                    .push(Mistake::new(at, message).on_key().hint("give the table another name"));
            } else if !read.contains(name) {
                let message = format!("the query does not read the table `{name}`");
                let mistake = Mistake::new(at, message).on_key();
                let near = suggest::nearest(name, unknown.iter().map(|(name, _)| name.as_str()));
                if let Some(near) = near.map(str::to_owned) {
                    mistakes.push(mistake.hint(format!("it reads `{near}`: give both one name")));
                    unknown.retain(|(name, _)| *name != near);
                } else {
                    unread.push(mistake.hint("leave it out"));
                }
            }
        }
        // Which one is meant is not known while the query names one that is not there.
        if unknown.is_empty() {
            mistakes.append(&mut unread);
        }
        let known: Vec<&str> =
            [INPUT].into_iter().chain(self.tables.keys().map(String::as_str)).collect();
        let listed = known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        for (name, span) in unknown {
            let at = Pointer::root().key("query");
            let mut mistake = Mistake::new(at, format!("no table `{name}`"));
            mistake.span = span;
            let meant = suggest::nearest(&name, known.iter().copied())
                .map(|near| format!("did you mean `{near}`? "))
                .unwrap_or_default();
            mistakes.push(
                mistake.hint(format!(
                    "{meant}the tables are {listed}; others are named under `tables`"
                )),
            );
        }
        mistakes
    }
}

impl StepPlan for SqlQuery {
    fn references(&self) -> Vec<Reference> {
        let references = self.tables.iter().map(|(name, source)| {
            let at = Pointer::root().key("tables").key(name);
            Reference { at, source: source.0.clone(), columns: None }
        });
        references.collect()
    }

    fn bind(&self, schema: &SchemaRef, context: &BindContext<'_>) -> Result<Bound, Vec<Mistake>> {
        let others = self.tables.keys().zip(&context.references);
        let others =
            others.map(|(name, schema)| Table { name: name.clone(), schema: Arc::clone(schema) });
        let others: Vec<Table> = others.collect();
        let tables: Vec<Table> = std::iter::once(input(schema)).chain(others.clone()).collect();
        let query = statement(&self.query).and_then(|tree| planned(tree, &tables));
        let query =
            query.map_err(|found| vec![expression_mistake(Pointer::root().key("query"), found)])?;
        let tables = Tables::new(KIND.name, query, schema.clone()).with_others(others);
        Ok(tables.bound(Grain::Changes))
    }
}
