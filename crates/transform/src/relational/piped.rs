//! Plans of our own: streams made of the streams of other plans.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow_schema::SchemaRef;
use datafusion_common::tree_node::TreeNodeRecursion;
use datafusion_common::{Result, internal_datafusion_err};
use datafusion_execution::memory_pool::{FairSpillPool, MemoryPool};
use datafusion_execution::runtime_env::RuntimeEnvBuilder;
use datafusion_execution::{SendableRecordBatchStream, TaskContext};
use datafusion_physical_expr::{EquivalenceProperties, LexOrdering, Partitioning, PhysicalExpr};
use datafusion_physical_plan::execution_plan::{Boundedness, EmissionType, PlanProperties};
use datafusion_physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan};

type Pipe = dyn Fn(Vec<SendableRecordBatchStream>, &TaskContext) -> Result<SendableRecordBatchStream>
    + Send
    + Sync;

/// Gives each of several parts of a plan a share of the memory of its own, so that one which takes
/// all there is, as a merge of what was written to disk does, leaves the others theirs.
#[derive(Debug, Clone)]
pub(super) struct Rooms {
    memory: usize,
    parts: Arc<AtomicUsize>,
}

impl Rooms {
    /// This memory, for no part yet.
    pub(super) fn new(memory: usize) -> Self {
        Self { memory, parts: Arc::default() }
    }

    /// The plan, up to parts of it that have a share already, with a share of its own.
    pub(super) fn room(&self, plan: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
        self.parts.fetch_add(1, Ordering::Relaxed);
        let properties = Arc::clone(plan.properties());
        let pipe = |mut inputs: Vec<SendableRecordBatchStream>, _: &TaskContext| {
            inputs.pop().ok_or_else(|| internal_datafusion_err!("a share of nothing"))
        };
        let (name, pipe) = ("Room", Arc::new(pipe));
        let rooms = Some(self.clone());
        Arc::new(Piped { name, inputs: vec![plan], properties, pipe, rooms })
    }

    /// The same surroundings with one part's share of the memory. The plan is complete by now.
    fn share(&self, context: &TaskContext) -> Result<Arc<TaskContext>> {
        let share = self.memory / self.parts.load(Ordering::Relaxed).max(1);
        let pool: Arc<dyn MemoryPool> = Arc::new(FairSpillPool::new(share));
        let runtime = RuntimeEnvBuilder::from_runtime_env(&context.runtime_env());
        let own = TaskContext::default()
            .with_session_config(context.session_config().clone())
            .with_runtime(runtime.with_memory_pool(pool).build_arc()?);
        Ok(Arc::new(own))
    }
}

/// A plan in one partition that makes its stream of those of its inputs.
pub(super) struct Piped {
    name: &'static str,
    inputs: Vec<Arc<dyn ExecutionPlan>>,
    properties: Arc<PlanProperties>,
    pipe: Arc<Pipe>,
    /// Who shares the memory, where the inputs get a share.
    rooms: Option<Rooms>,
}

impl Piped {
    /// Batches have this schema, and come in this order, if in any.
    pub(super) fn new(
        name: &'static str,
        inputs: Vec<Arc<dyn ExecutionPlan>>,
        schema: SchemaRef,
        order: Option<LexOrdering>,
        pipe: impl Fn(Vec<SendableRecordBatchStream>, &TaskContext) -> Result<SendableRecordBatchStream>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new_with_orderings(schema, order),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        let (properties, pipe) = (Arc::new(properties), Arc::new(pipe));
        Self { name, inputs, properties, pipe, rooms: None }
    }
}

impl fmt::Debug for Piped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(self.name).field("inputs", &self.inputs).finish_non_exhaustive()
    }
}

impl DisplayAs for Piped {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl ExecutionPlan for Piped {
    fn name(&self) -> &'static str {
        self.name
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.inputs.iter().collect()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        inputs: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let (properties, pipe) = (Arc::clone(&self.properties), Arc::clone(&self.pipe));
        let (name, rooms) = (self.name, self.rooms.clone());
        Ok(Arc::new(Self { name, inputs, properties, pipe, rooms }))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let context = match &self.rooms {
            Some(rooms) => rooms.share(&context)?,
            None => context,
        };
        let inputs = self.inputs.iter().map(|input| input.execute(partition, Arc::clone(&context)));
        (self.pipe)(inputs.collect::<Result<_>>()?, &context)
    }
}
