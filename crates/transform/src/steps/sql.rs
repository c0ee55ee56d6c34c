//! `sql`: any query over the input.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use arrow_schema::SchemaRef;
use datafusion_sql::sqlparser::ast::{self, VisitMut, VisitorMut};
use gristmill_core::{
    BindContext, Bound, ExpressionError, Grain, Mistake, Pointer, Reference, Result, StepKind,
    StepPlan,
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
        let at = Pointer::root().key("query");
        let unknown = unknown.iter().map(|table| no_table(table, &known, "under `tables`"));
        mistakes.extend(unknown.map(|found| expression_mistake(at.clone(), found)));
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
        let query = query.map_err(|found| of_quotes(&self.query, found));
        let query =
            query.map_err(|found| vec![expression_mistake(Pointer::root().key("query"), found)])?;
        let tables = Tables::new(KIND.name, query, schema.clone()).with_others(others);
        Ok(tables.bound(Grain::Changes))
    }
}

/// Says of what stands between double quotes, and is no column, that it may be meant as a text.
fn of_quotes(text: &str, found: ExpressionError) -> ExpressionError {
    let name = found.message.strip_prefix("no column `").and_then(|rest| rest.strip_suffix('`'));
    match name.filter(|name| text.contains(&format!("\"{name}\""))) {
        Some(name) => {
            let hint = format!("text stands between single quotes: '{name}'");
            ExpressionError { hint: Some(hint), ..found }
        }
        None => found,
    }
}

/// There is no such table; others are named somewhere.
fn no_table(
    (name, span): &(String, Option<Range<usize>>),
    known: &[&str],
    elsewhere: &str,
) -> ExpressionError {
    let listed = known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let meant = suggest::nearest(name, known.iter().copied())
        .map(|near| format!("did you mean `{near}`? "))
        .unwrap_or_default();
    ExpressionError {
        message: format!("no table `{name}`"),
        span: span.clone(),
        hint: Some(format!("{meant}the tables are {listed}; others are named {elsewhere}")),
    }
}

/// A query of a check: over records that it calls by this name, or `input`, and over other inputs.
///
/// # Errors
/// When it does not fit them.
pub(crate) fn query_over(
    text: &str,
    (name, schema): (&str, &SchemaRef),
    others: &[(String, SchemaRef)],
    names: &[&str],
) -> Result<Bound, ExpressionError> {
    let mut tree = statement(text)?;
    let known: Vec<&str> = [name, INPUT].into_iter().chain(names.iter().copied()).collect();
    let unknown = reads(text, &tree).into_iter().find(|(name, _)| !known.contains(&name.as_str()));
    if let Some(table) = unknown {
        return Err(no_table(&table, &known, "under `references`, or with --reference NAME=DATA"));
    }
    let _ = VisitMut::visit(&mut tree, &mut Renamed { name });
    let others: Vec<Table> = others
        .iter()
        .map(|(name, schema)| Table { name: name.clone(), schema: Arc::clone(schema) })
        .collect();
    let tables: Vec<Table> = std::iter::once(input(schema)).chain(others.clone()).collect();
    let query = planned(tree, &tables).map_err(|found| of_quotes(text, found))?;
    Ok(Tables::new("check", query, Arc::clone(schema)).with_others(others).bound(Grain::Changes))
}

/// Calls the records by the name that they have in queries.
struct Renamed<'a> {
    name: &'a str,
}

impl VisitorMut for Renamed<'_> {
    type Break = ();

    fn pre_visit_table_factor(&mut self, table: &mut ast::TableFactor) -> ControlFlow<()> {
        if let ast::TableFactor::Table { name, alias, .. } = table
            && let [ast::ObjectNamePart::Identifier(ident)] = &mut name.0[..]
            && ident.value == self.name
        {
            alias.get_or_insert_with(|| ast::TableAlias {
                name: ast::Ident::new(self.name),
                columns: Vec::new(),
                explicit: true,
                at: None,
            });
            *ident = ast::Ident::new(INPUT);
        }
        ControlFlow::Continue(())
    }
}
