//! From a query's syntax tree to an optimized plan, and the columns of its result.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef};
use datafusion_common::config::ConfigOptions;
use datafusion_common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion_common::{Column, DFSchema, DataFusionError, Result};
use datafusion_expr::expr_rewriter::NamePreserver;
use datafusion_expr::utils::merge_schema;
use datafusion_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, cast};
use datafusion_optimizer::{Analyzer, Optimizer, OptimizerContext};
use datafusion_sql::planner::{ParserOptions, SqlToRel};
use datafusion_sql::sqlparser::ast::{self, Statement};

use super::catalog::{Catalog, functions};
use crate::expression::evaluate::pipeline_type;
use crate::expression::literal::fit_literals;

/// A table that a query may read.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    /// Its name.
    pub(crate) name: String,
    /// Its columns.
    pub(crate) schema: SchemaRef,
}

/// A planned query.
#[derive(Debug, Clone)]
pub(crate) struct Query {
    pub(super) plan: Arc<LogicalPlan>,
    /// The columns of its result.
    pub(crate) output: SchemaRef,
    /// How often it reads each table that it reads.
    pub(super) reads: HashMap<String, usize>,
}

impl Query {
    /// The columns that it reads of a table with so many.
    pub(crate) fn needs(&self, table: &str, columns: usize) -> Vec<usize> {
        let mut needed = Vec::new();
        let _ = self.plan.apply_with_subqueries(|node| {
            match node {
                LogicalPlan::TableScan(scan) if scan.table_name.table() == table => {
                    match &scan.projection {
                        Some(places) => needed.extend(places),
                        None => needed.extend(0..columns),
                    }
                }
                _ => {}
            }
            Ok(TreeNodeRecursion::Continue)
        });
        needed.sort_unstable();
        needed.dedup();
        needed
    }
}

/// Plans a query over these tables.
///
/// # Errors
/// When it does not fit the tables.
pub(crate) fn query(statement: ast::Query, tables: &[Table]) -> Result<Query> {
    let catalog = Catalog::new(tables);
    let options = ParserOptions::new()
        .with_parse_float_as_decimal(true)
        .with_enable_ident_normalization(false);
    let planner = SqlToRel::new_with_options(&catalog, options);
    let plan = planner.sql_statement_to_plan(Statement::Query(Box::new(statement)))?;
    let plan = fitted(plan)?;
    let options = options_of_plans();
    let plan = Analyzer::new().execute_and_check(plan, &options, |_, _| {})?;
    let (plan, output) = in_our_types(plan, tables)?;
    let plan = Analyzer::new().execute_and_check(plan, &options, |_, _| {})?;
    let context = OptimizerContext::new_with_config_options(Arc::new(options));
    let plan = Optimizer::new().optimize(plan, &context, |_, _| {})?;
    let mut reads = HashMap::new();
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            *reads.entry(scan.table_name.table().to_owned()).or_default() += 1;
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(Query { plan: Arc::new(plan), output, reads })
}

/// How plans are made: one partition, and nothing that depends on the machine.
pub(super) fn options_of_plans() -> ConfigOptions {
    let mut options = functions_options();
    options.execution.target_partitions = 1;
    options.optimizer.enable_dynamic_filter_pushdown = false;
    options.optimizer.enable_topk_dynamic_filter_pushdown = false;
    options.optimizer.enable_join_dynamic_filter_pushdown = false;
    options.optimizer.enable_aggregate_dynamic_filter_pushdown = false;
    options.optimizer.enable_physical_uncorrelated_scalar_subquery = false;
    options
}

fn functions_options() -> ConfigOptions {
    use datafusion_expr::planner::ContextProvider;
    functions().options().clone()
}

/// Gives every number literal in it the type that it has in an expression of one record.
fn fitted(plan: LogicalPlan) -> Result<LogicalPlan> {
    let fitted = plan.transform_up_with_subqueries(|node| {
        let schema = match &node {
            LogicalPlan::TableScan(_) | LogicalPlan::Values(_) | LogicalPlan::EmptyRelation(_) => {
                return Ok(Transformed::no(node));
            }
            _ => merge_schema(&node.inputs()),
        };
        let names = NamePreserver::new(&node);
        let mapped = node.map_expressions(|expr| {
            let name = names.save(&expr);
            let fitted = fit_literals(expr, &schema)?;
            Ok(Transformed::yes(name.restore(fitted)))
        })?;
        mapped.map_data(LogicalPlan::recompute_schema)
    })?;
    Ok(fitted.data)
}

/// The plan with results in the types that pipelines have. What is a column of a table stays as it
/// is.
fn in_our_types(plan: LogicalPlan, tables: &[Table]) -> Result<(LogicalPlan, SchemaRef)> {
    let is_column = |field: &Field| {
        tables
            .iter()
            .flat_map(|table| table.schema.fields())
            .any(|column| column.name() == field.name() && column.data_type() == field.data_type())
    };
    let mut fields: Vec<Field> = Vec::with_capacity(plan.schema().fields().len());
    let mut results = Vec::with_capacity(fields.capacity());
    for (qualifier, field) in plan.schema().iter() {
        let result_type = match field.data_type() {
            same if is_column(field) => same.clone(),
            DataType::UInt64 => DataType::Int64,
            other => pipeline_type(other),
        };
        if let Some(twice) = fields.iter().find(|other| other.name() == field.name()) {
            let name = twice.name();
            return Err(DataFusionError::Plan(format!(
                "two columns of the result are called `{name}`: give one of them another name with `AS`"
            )));
        }
        let column = Expr::Column(Column::from((qualifier, field)));
        let result = if &result_type == field.data_type() {
            column
        } else {
            cast(column, result_type.clone())
        };
        results.push(result.alias(field.name()));
        let result = Field::new(field.name(), result_type, true);
        fields.push(result.with_metadata(field.metadata().clone()));
    }
    let same = results.iter().zip(plan.schema().fields()).all(|(result, field)| {
        matches!(result.get_type(plan.schema()), Ok(result) if &result == field.data_type())
    });
    let plan =
        if same { plan } else { LogicalPlanBuilder::from(plan).project(results)?.build()? };
    Ok((plan, Arc::new(Schema::new(fields))))
}

/// Whether a plan reads a table.
pub(super) fn reads(plan: &LogicalPlan, name: &str) -> bool {
    plan.exists(|node| {
        Ok(matches!(node, LogicalPlan::TableScan(scan) if scan.table_name.table() == name))
    })
    .unwrap_or(true)
}

/// The columns of both, as an expression over them sees them.
pub(super) fn both(left: (&DFSchema, &[usize]), right: (&DFSchema, &[usize])) -> Result<DFSchema> {
    let fields = [left, right].into_iter().flat_map(|(schema, places)| {
        places.iter().map(|&place| {
            let (qualifier, field) = schema.qualified_field(place);
            (qualifier.cloned(), Arc::clone(field))
        })
    });
    DFSchema::new_with_metadata(fields.collect(), HashMap::new())
}
