//! Sorts that keep the order of what is equal, and plans one behind the other.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array, UInt64Array};
use arrow_schema::{DataType, Field, Schema, SchemaRef, SortOptions};
use arrow_select::take::take_record_batch;
use datafusion_common::{Result, internal_err};
use datafusion_physical_expr::expressions::Column;
use datafusion_physical_expr::{LexOrdering, PhysicalExpr, PhysicalSortExpr};
use datafusion_physical_plan::limit::GlobalLimitExec;
use datafusion_physical_plan::projection::ProjectionExec;
use datafusion_physical_plan::sorts::sort::SortExec;
use datafusion_physical_plan::stream::RecordBatchStreamAdapter;
use datafusion_physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use futures_util::{StreamExt, stream};
use gristmill_parallel::views::value_bytes;

use super::piped::Piped;

type Plan = Arc<dyn ExecutionPlan>;

/// The name of a column with the number of each record of the input, from 0. No column of a
/// pipeline has a name that starts with a blank.
pub(crate) const ROW: &str = " row";

/// These columns and behind them the number of the row.
pub(crate) fn with_row(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().cloned();
    let fields = fields.chain([Arc::new(Field::new(ROW, DataType::UInt64, false))]);
    Arc::new(Schema::new(fields.collect::<Vec<_>>()).with_metadata(schema.metadata().clone()))
}

/// The batch with the numbers of its rows.
pub(super) fn number(batch: &RecordBatch, first: u64, schema: &SchemaRef) -> Result<RecordBatch> {
    let numbers = UInt64Array::from_iter_values(first..first + batch.num_rows() as u64);
    let mut columns = batch.columns().to_vec();
    columns.push(Arc::new(numbers) as ArrayRef);
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

/// Rows in the order of some keys; rows with equal ones in the order they come in.
pub(super) fn stable_sort(
    input: Plan,
    mut keys: Vec<PhysicalSortExpr>,
    fetch: Option<usize>,
) -> Result<Plan> {
    let width = input.schema().fields().len();
    let known = input.schema().index_of(ROW).ok();
    let input = if known.is_some() { input } else { numbered(input) };
    let row = ascending(ROW, known.unwrap_or(width));
    if !keys.contains(&row) {
        keys.push(row);
    }
    let Some(keys) = LexOrdering::new(keys) else { return internal_err!("a sort without keys") };
    if known.is_some() && input.equivalence_properties().ordering_satisfy(keys.clone())? {
        return Ok(match fetch {
            Some(_) => Arc::new(GlobalLimitExec::new(input, 0, fetch)),
            None => input,
        });
    }
    let sorted: Plan = Arc::new(SortExec::new(keys, owned(input)).with_fetch(fetch));
    if known.is_some() { Ok(sorted) } else { columns(sorted, 0..width) }
}

/// The same batches, none of which keeps much more in memory than its values: parts of a large batch
/// would each be taken for all of it.
pub(super) fn owned(input: Plan) -> Plan {
    let schema = input.schema();
    let of_batches = Arc::clone(&schema);
    Arc::new(Piped::new("Owned", vec![input], schema, None, move |inputs, _| {
        let batches = stream::iter(inputs).flatten().map(|batch| own(&batch?));
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&of_batches), batches)))
    }))
}

fn own(batch: &RecordBatch) -> Result<RecordBatch> {
    if batch.get_array_memory_size() < 2 * value_bytes(batch) + (16 << 10) {
        return Ok(batch.clone());
    }
    let rows = UInt32Array::from_iter_values(0..batch.num_rows() as u32);
    let copied = take_record_batch(batch, &rows)?;
    // A buffer of text may have room for much more than is in it.
    let columns = copied.columns().iter().map(|column| -> ArrayRef {
        match column.data_type() {
            DataType::Utf8View => Arc::new(column.as_string_view().gc()),
            DataType::BinaryView => Arc::new(column.as_binary_view().gc()),
            _ => Arc::clone(column),
        }
    });
    let options = RecordBatchOptions::new().with_row_count(Some(copied.num_rows()));
    Ok(RecordBatch::try_new_with_options(copied.schema(), columns.collect(), &options)?)
}

/// Smaller values of a column first, nulls last.
pub(super) fn ascending(name: &str, place: usize) -> PhysicalSortExpr {
    let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(name, place));
    PhysicalSortExpr::new(column, SortOptions::new(false, false))
}

/// Some columns of a plan.
pub(super) fn columns(plan: Plan, places: impl IntoIterator<Item = usize>) -> Result<Plan> {
    let schema = plan.schema();
    let columns = places.into_iter().map(|place| {
        let name = schema.field(place).name();
        let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(name, place));
        (column, name.clone())
    });
    Ok(Arc::new(ProjectionExec::try_new(columns.collect::<Vec<_>>(), plan)?))
}

/// The rows of a plan with their numbers, in the order of these.
pub(super) fn numbered(input: Plan) -> Plan {
    let width = input.schema().fields().len();
    let schema = with_row(&input.schema());
    let of_batches = Arc::clone(&schema);
    let order = LexOrdering::new([ascending(ROW, width)]);
    Arc::new(Piped::new("Numbered", vec![input], schema, order, move |inputs, _| {
        let schema = Arc::clone(&of_batches);
        let mut next = 0;
        let batches = stream::iter(inputs).flatten().map(move |batch| {
            let batch = batch?;
            let numbered = number(&batch, next, &schema)?;
            next += batch.num_rows() as u64;
            Ok(numbered)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&of_batches), batches)))
    }))
}

/// The rows of one plan behind those of another.
pub(super) fn chained(inputs: Vec<Plan>, schema: SchemaRef) -> Plan {
    let of_batches = Arc::clone(&schema);
    Arc::new(Piped::new("Chained", inputs, schema, None, move |inputs, _| {
        let schema = Arc::clone(&of_batches);
        let batches = stream::iter(inputs).flatten().map(move |batch| {
            Ok(RecordBatch::try_new(Arc::clone(&schema), batch?.columns().to_vec())?)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&of_batches), batches)))
    }))
}
