//! Parts of a query that look at one row at a time.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{Field, Schema, SchemaRef};
use arrow_select::filter::filter_record_batch;
use datafusion_common::{DFSchema, Result};
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion_expr::{Expr, LogicalPlan};
use datafusion_physical_expr::{PhysicalExpr, create_physical_expr};

use super::INPUT;
use crate::expression::bind::checked;

pub(super) type Physical = Arc<dyn PhysicalExpr>;

/// A part of a query that looks at one row at a time.
#[derive(Debug)]
pub(super) enum Stage {
    /// Columns of the input.
    Columns(Vec<usize>),
    Filter(Physical),
    Project(Vec<Physical>, SchemaRef),
}

impl Stage {
    pub(super) fn apply(&self, columns: &RecordBatch) -> Result<RecordBatch> {
        Ok(match self {
            Stage::Columns(places) => columns.project(places)?,
            Stage::Filter(keep) => {
                let keep = evaluated(keep, columns)?;
                filter_record_batch(columns, keep.as_boolean())?
            }
            Stage::Project(exprs, schema) => {
                let arrays = exprs.iter().map(|expr| evaluated(expr, columns));
                let arrays = arrays.collect::<Result<Vec<_>>>()?;
                let options = RecordBatchOptions::new().with_row_count(Some(columns.num_rows()));
                RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &options)?
            }
        })
    }
}

/// What is done to the input first, if nothing else is in this plan.
pub(super) fn before(node: &LogicalPlan) -> Option<Vec<Stage>> {
    match node {
        LogicalPlan::TableScan(scan) => {
            let plain = scan.filters.is_empty() && scan.fetch.is_none();
            if !plain || scan.table_name.table() != INPUT {
                return None;
            }
            Some(scan.projection.clone().map(Stage::Columns).into_iter().collect())
        }
        LogicalPlan::SubqueryAlias(alias) => before(&alias.input),
        LogicalPlan::Projection(projection) => {
            let mut stages = before(&projection.input)?;
            let schema = projection.input.schema();
            stages.push(project(&projection.expr, schema, projection.schema.as_arrow())?);
            Some(stages)
        }
        LogicalPlan::Filter(filter) => {
            let mut stages = before(&filter.input)?;
            stages.push(Stage::Filter(physical(&filter.predicate, filter.input.schema())?));
            Some(stages)
        }
        _ => None,
    }
}

pub(super) fn physical(expr: &Expr, schema: &DFSchema) -> Option<Physical> {
    let (props, context) = (ExecutionProps::new(), PhysicalPlanningContext::default());
    checked(create_physical_expr(expr, schema, &props, &context).ok()?).ok()
}

pub(super) fn project(exprs: &[Expr], schema: &DFSchema, output: &Schema) -> Option<Stage> {
    let exprs = exprs.iter().map(|expr| physical(expr, schema)).collect::<Option<Vec<_>>>()?;
    Some(Stage::Project(exprs, nullable(output)))
}

/// The same columns; whether there are nulls in them does not matter here.
pub(super) fn nullable(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter();
    let fields = fields.map(|field| Field::new(field.name(), field.data_type().clone(), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

pub(super) fn evaluated(expr: &Physical, columns: &RecordBatch) -> Result<ArrayRef> {
    expr.evaluate(columns)?.into_array(columns.num_rows())
}
