//! Window functions that look at a whole partition: one partition at a time.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow_array::{ArrayRef, RecordBatch};
use arrow_ord::sort::SortColumn;
use arrow_schema::{Schema, SchemaRef};
use arrow_select::concat::{concat, concat_batches};
use datafusion_common::utils::{evaluate_partition_ranges, get_row_at_idx};
use datafusion_common::{Result, ScalarValue};
use datafusion_execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion_execution::{SendableRecordBatchStream, TaskContext};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::window::WindowExpr;
use datafusion_physical_plan::ExecutionPlan;
use datafusion_physical_plan::stream::RecordBatchStreamAdapter;
use futures_util::{Stream, StreamExt};

use super::piped::Piped;

/// Rows that are given at once.
const ROWS: usize = 8192;

/// The rows of a plan that is sorted by partitions, with the values of these functions behind. A
/// partition must fit in memory.
pub(super) fn windows(
    input: Arc<dyn ExecutionPlan>,
    functions: Vec<Arc<dyn WindowExpr>>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let mut fields = input.schema().fields().to_vec();
    for function in &functions {
        fields.push(function.field()?);
    }
    let schema: SchemaRef =
        Arc::new(Schema::new(fields).with_metadata(input.schema().metadata().clone()));
    let of_batches = Arc::clone(&schema);
    let pipe = move |inputs: Vec<SendableRecordBatchStream>, context: &TaskContext| {
        let memory = MemoryConsumer::new("Partitions").register(context.memory_pool());
        let partitions = Partitions {
            input: futures_util::stream::iter(inputs).flatten().boxed(),
            functions: functions.clone(),
            schema: Arc::clone(&of_batches),
            held: Vec::new(),
            key: None,
            memory,
            ready: VecDeque::new(),
            ended: false,
        };
        let stream: SendableRecordBatchStream =
            Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&of_batches), partitions));
        Ok(stream)
    };
    Ok(Arc::new(Piped::new("Partitions", vec![input], schema, None, pipe)))
}

struct Partitions {
    input: futures_util::stream::BoxStream<'static, Result<RecordBatch>>,
    functions: Vec<Arc<dyn WindowExpr>>,
    schema: SchemaRef,
    /// Batches of partitions that are not over, or not worth computing yet.
    held: Vec<RecordBatch>,
    /// The partition that the last row belongs to.
    key: Option<Vec<ScalarValue>>,
    memory: MemoryReservation,
    ready: VecDeque<RecordBatch>,
    ended: bool,
}

impl Partitions {
    fn keys(&self, batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
        let keys: &[Arc<dyn PhysicalExpr>] = self.functions[0].partition_by();
        keys.iter().map(|key| key.evaluate(batch)?.into_array(batch.num_rows())).collect()
    }

    fn push(&mut self, batch: RecordBatch) -> Result<()> {
        let rows = batch.num_rows();
        if rows == 0 {
            return Ok(());
        }
        let keys = self.keys(&batch)?;
        let first = get_row_at_idx(&keys, 0)?;
        let goes_on = self.key.as_ref().is_none_or(|key| *key == first);
        let start = ranges(rows, &keys)?.last().map_or(0, |range| range.start);
        self.key = Some(get_row_at_idx(&keys, rows - 1)?);
        if !goes_on && start == 0 {
            self.compute()?;
        }
        if start > 0 {
            self.held.push(batch.slice(0, start));
            self.compute()?;
        }
        let rest = batch.slice(start, rows - start);
        self.memory.try_grow(rest.get_array_memory_size())?;
        self.held.push(rest);
        Ok(())
    }

    /// Computes the partitions that are held, all of which are over.
    fn compute(&mut self) -> Result<()> {
        let Some(first) = self.held.first() else { return Ok(()) };
        let all = concat_batches(&first.schema(), &self.held)?;
        self.held.clear();
        self.memory.free();
        let keys = self.keys(&all)?;
        let ranges = ranges(all.num_rows(), &keys)?;
        let mut columns = all.columns().to_vec();
        for function in &self.functions {
            let values = ranges
                .iter()
                .map(|range| function.evaluate(&all.slice(range.start, range.len())))
                .collect::<Result<Vec<_>>>()?;
            let values: Vec<_> = values.iter().map(AsRef::as_ref).collect();
            columns.push(concat(&values)?);
        }
        let computed = RecordBatch::try_new(Arc::clone(&self.schema), columns)?;
        for start in (0..computed.num_rows()).step_by(ROWS) {
            self.ready.push_back(computed.slice(start, ROWS.min(computed.num_rows() - start)));
        }
        Ok(())
    }
}

fn ranges(rows: usize, keys: &[ArrayRef]) -> Result<Vec<std::ops::Range<usize>>> {
    let columns = keys.iter().map(|key| SortColumn { values: Arc::clone(key), options: None });
    evaluate_partition_ranges(rows, &columns.collect::<Vec<_>>())
}

impl Stream for Partitions {
    type Item = Result<RecordBatch>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<RecordBatch>>> {
        loop {
            if let Some(batch) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(batch)));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            let done = match std::task::ready!(self.input.poll_next_unpin(context)) {
                Some(Ok(batch)) => self.push(batch),
                Some(Err(found)) => Err(found),
                None => {
                    self.ended = true;
                    self.compute()
                }
            };
            if let Err(found) = done {
                self.ended = true;
                return Poll::Ready(Some(Err(found)));
            }
        }
    }
}
