//! A plan that runs: it takes batches when it needs them, and gives others.

use std::collections::HashMap;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use arrow_array::cast::AsArray;
use arrow_array::types::Decimal128Type;
use arrow_array::{Array, RecordBatch, RecordBatchOptions};
use arrow_schema::{DataType, Schema, SchemaRef};
use datafusion_common::{DataFusionError, Result, internal_datafusion_err};
use datafusion_execution::config::SessionConfig;
use datafusion_execution::disk_manager::{DiskManager, DiskManagerMode};
use datafusion_execution::memory_pool::FairSpillPool;
use datafusion_execution::runtime_env::RuntimeEnvBuilder;
use datafusion_execution::{SendableRecordBatchStream, TaskContext};
use datafusion_expr::TableScan;
use datafusion_physical_expr::LexOrdering;
use datafusion_physical_plan::ExecutionPlan;
use datafusion_physical_plan::stream::RecordBatchStreamAdapter;
use datafusion_physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures_util::{Stream, StreamExt, stream};
use gristmill_core::{Error, Space};
use tokio::runtime::{Builder, Runtime};

use super::message;
use super::numbered::{ROW, ascending};
use super::physical::Planner;
use super::query::{Query, options_of_plans};
use super::store::Store;
use crate::expression::on_a_deep_stack;

/// Where a plan reads a table from.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// Batches that are handed in one after the other.
    Feed(Arc<Feed>),
    /// A table on disk.
    Store(Arc<Store>),
    /// Batches that are there.
    Batches(SchemaRef, Vec<RecordBatch>),
}

impl Source {
    pub(super) fn plan(self, projection: Option<&Vec<usize>>) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = Arc::clone(self.schema());
        let parts: Vec<Arc<dyn PartitionStream>> = vec![Arc::new(self)];
        let places = projection.cloned().unwrap_or_else(|| (0..schema.fields().len()).collect());
        let row = places.iter().position(|&place| schema.field(place).name() == ROW);
        let order = row.and_then(|place| LexOrdering::new([ascending(ROW, place)]));
        Ok(Arc::new(StreamingTableExec::try_new(schema, parts, projection, order, false, None)?))
    }
}

impl PartitionStream for Source {
    fn schema(&self) -> &SchemaRef {
        match self {
            Source::Feed(feed) => &feed.schema,
            Source::Store(store) => store.schema(),
            Source::Batches(schema, _) => schema,
        }
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let schema = Arc::clone(self.schema());
        let batches: Pin<Box<dyn Stream<Item = Result<RecordBatch>> + Send>> = match self {
            Source::Feed(feed) => Box::pin(Fed(Arc::clone(feed))),
            Source::Store(store) => match store.batches() {
                Ok(batches) => Box::pin(stream::iter(batches).map(|batch| Ok(batch?))),
                Err(found) => Box::pin(stream::iter([Err(found.into())])),
            },
            Source::Batches(_, batches) => Box::pin(stream::iter(batches.clone()).map(Ok)),
        };
        Box::pin(RecordBatchStreamAdapter::new(schema, batches))
    }
}

/// A plan for batches that are there.
pub(super) fn fixed(
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
) -> Result<Arc<dyn ExecutionPlan>> {
    Source::Batches(schema, batches).plan(None)
}

/// Hands one batch at a time from the thread that has them to the plan that needs them.
pub(super) struct Feed {
    schema: SchemaRef,
    state: Mutex<FeedState>,
}

#[derive(Default)]
struct FeedState {
    next: Option<RecordBatch>,
    ended: bool,
    /// Whether the plan asked and got nothing.
    hungry: bool,
    /// Who asked.
    reader: Option<Waker>,
    /// Who waits for what the plan gives.
    driver: Option<Waker>,
}

impl Feed {
    fn state(&self) -> MutexGuard<'_, FeedState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed").field("schema", &self.schema).finish_non_exhaustive()
    }
}

struct Fed(Arc<Feed>);

impl Stream for Fed {
    type Item = Result<RecordBatch>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut state = self.0.state();
        if let Some(batch) = state.next.take() {
            return Poll::Ready(Some(Ok(batch)));
        }
        if state.ended {
            return Poll::Ready(None);
        }
        state.hungry = true;
        state.reader = Some(context.waker().clone());
        if let Some(driver) = &state.driver {
            driver.wake_by_ref(); // the plan may be read by a task of its own
        }
        Poll::Pending
    }
}

/// Threads that read what was kept on disk, a piece at a time: each more holds memory of its own.
const READERS: usize = 2;

/// A plan on its way.
pub(crate) struct Execution {
    step: &'static str,
    memory: usize,
    output: SchemaRef,
    feed: Arc<Feed>,
    /// Before the runtime: what it holds may still use it while it goes.
    stream: Option<SendableRecordBatchStream>,
    runtime: Runtime,
}

/// What a plan does next.
pub(crate) enum Progress {
    Gives(RecordBatch),
    Takes,
    Done,
}

impl Execution {
    /// Starts a query that takes the table `input`, with these columns, batch by batch. Its parts
    /// hand each other so many rows at once.
    pub(crate) fn start(
        step: &'static str,
        query: &Query,
        space: &Space,
        rows: usize,
        input: (&str, SchemaRef),
        stored: &HashMap<String, Arc<Store>>,
    ) -> gristmill_core::Result<Self> {
        let (name, schema) = input;
        let feed = Arc::new(Feed { schema, state: Mutex::default() });
        let scan = |scan: &TableScan| {
            let table = scan.table_name.table();
            let source = match stored.get(table) {
                Some(store) => Source::Store(Arc::clone(store)),
                None if table == name => Source::Feed(Arc::clone(&feed)),
                None => return Err(internal_datafusion_err!("the table `{table}` is not there")),
            };
            source.plan(scan.projection.as_ref())
        };
        let plan = on_a_deep_stack(|| Ok(Planner::new(&scan, space.memory).plan(&query.plan)))
            .map_err(|found| Error::internal(found.message))?
            .map_err(|found| message::running(step, space.memory, found))?;
        Self::begin(step, space, rows, plan, Arc::clone(&query.output), feed)
    }

    /// Starts a plan that needs nothing handed in.
    pub(crate) fn of(
        step: &'static str,
        space: &Space,
        rows: usize,
        plan: Arc<dyn ExecutionPlan>,
    ) -> gristmill_core::Result<Self> {
        let state = Mutex::new(FeedState { ended: true, ..FeedState::default() });
        let feed = Arc::new(Feed { schema: Arc::new(Schema::empty()), state });
        let output = plan.schema();
        Self::begin(step, space, rows, plan, output, feed)
    }

    fn begin(
        step: &'static str,
        space: &Space,
        rows: usize,
        plan: Arc<dyn ExecutionPlan>,
        output: SchemaRef,
        feed: Arc<Feed>,
    ) -> gristmill_core::Result<Self> {
        let failed = |found| message::running(step, space.memory, found);
        let runtime = Builder::new_current_thread()
            .max_blocking_threads(READERS)
            .build()
            .map_err(|source| Error::io(format!("step `{step}` cannot start"), source))?;
        let stream = {
            let _entered = runtime.enter();
            plan.execute(0, context(space, rows).map_err(failed)?).map_err(failed)?
        };
        Ok(Self { step, memory: space.memory, output, feed, stream: Some(stream), runtime })
    }

    /// Hands over what the plan asked for; `None` at the end.
    pub(crate) fn give(&mut self, batch: Option<RecordBatch>) {
        let mut state = self.feed.state();
        state.ended |= batch.is_none();
        state.next = batch;
        state.hungry = false;
        if let Some(reader) = state.reader.take() {
            reader.wake();
        }
    }

    /// Works until there is something to say.
    pub(crate) fn turn(&mut self) -> gristmill_core::Result<Progress> {
        let Some(stream) = &mut self.stream else { return Ok(Progress::Done) };
        let feed = &self.feed;
        let next = self.runtime.block_on(poll_fn(|context| {
            feed.state().driver = Some(context.waker().clone());
            match stream.poll_next_unpin(context) {
                Poll::Ready(next) => Poll::Ready(Some(next)),
                Poll::Pending if feed.state().hungry => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        }));
        match next {
            None => Ok(Progress::Takes),
            Some(None) => {
                self.stream = None;
                Ok(Progress::Done)
            }
            Some(Some(batch)) => batch
                .and_then(|batch| in_digits(&batch, &self.output))
                .map(Progress::Gives)
                .map_err(|found| message::running(self.step, self.memory, found)),
        }
    }
}

/// A batch in the columns that were promised. Arrow computes decimals within 128 bits and leaves
/// their digits unchecked.
pub(super) fn in_digits(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    for (column, field) in batch.columns().iter().zip(schema.fields()) {
        let &DataType::Decimal128(precision, scale) = column.data_type() else { continue };
        let decimals = column.as_primitive::<Decimal128Type>();
        let limit = 10i128.pow(u32::from(precision)).unsigned_abs();
        let fits = |row: usize| decimals.is_null(row) || decimals.value(row).unsigned_abs() < limit;
        if let Some(row) = (0..decimals.len()).find(|&row| !fits(row)) {
            let value = gristmill_core::text::value_text(column, row).unwrap_or_default();
            let name = field.name();
            return Err(DataFusionError::Execution(format!(
                "`{name}`: {value} does not fit decimal({precision}, {scale})"
            )));
        }
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let columns = batch.columns().to_vec();
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}

fn context(space: &Space, rows: usize) -> Result<Arc<TaskContext>> {
    let folder = DiskManagerMode::Directories(vec![space.scratch.clone()]);
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(FairSpillPool::new(space.memory)))
        .with_disk_manager_builder(DiskManager::builder().with_mode(folder))
        .build_arc()?;
    let options = options_of_plans();
    let config = SessionConfig::from(options)
        .with_batch_size(rows)
        .with_sort_spill_reservation_bytes((space.memory / 8).min(10 << 20))
        .with_sort_in_place_threshold_bytes((space.memory / 8).min(1 << 20));
    let (none, session) = (HashMap::new(), "gristmill".to_owned());
    let (scalar, aggregate) = (HashMap::new(), HashMap::new());
    let window = HashMap::new();
    Ok(Arc::new(TaskContext::new(None, session, config, scalar, none, aggregate, window, runtime)))
}
