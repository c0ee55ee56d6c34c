//! From a planned query to something that runs: in one partition, with every order defined.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{Schema, SchemaRef, SortOptions};
use arrow_select::concat::concat;
use datafusion_common::{DFSchema, JoinType, Result, ScalarValue, internal_err, not_impl_err};
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_expr::expr::{AggregateFunction, NullTreatment, WindowFunction, physical_name};
use datafusion_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion_expr::{
    Aggregate, Expr, FetchType, GroupingSet, Join, LogicalPlan, SkipType, SortExpr, TableScan,
    Unnest, Values,
};
use datafusion_physical_expr::aggregate::{AggregateExprBuilder, AggregateFunctionExpr};
use datafusion_physical_expr::expressions::Literal;
use datafusion_physical_expr::window::WindowExpr;
use datafusion_physical_expr::{
    LexOrdering, OrderingRequirements, PhysicalExpr, PhysicalSortExpr, create_physical_expr,
};
use datafusion_physical_plan::aggregates::{AggregateExec, AggregateMode, PhysicalGroupBy};
use datafusion_physical_plan::empty::EmptyExec;
use datafusion_physical_plan::filter::FilterExec;
use datafusion_physical_plan::joins::utils::JoinFilter;
use datafusion_physical_plan::joins::{
    CrossJoinExec, HashJoinExec, NestedLoopJoinExec, PartitionMode,
};
use datafusion_physical_plan::limit::GlobalLimitExec;
use datafusion_physical_plan::placeholder_row::PlaceholderRowExec;
use datafusion_physical_plan::projection::ProjectionExec;
use datafusion_physical_plan::sorts::sort::SortExec;
use datafusion_physical_plan::unnest::{ListUnnest, UnnestExec};
use datafusion_physical_plan::windows::{BoundedWindowAggExec, create_window_expr};
use datafusion_physical_plan::{ExecutionPlan, ExecutionPlanProperties, InputOrderMode};

use super::INPUT;
use super::numbered::{ROW, ascending, chained, columns, numbered, owned, stable_sort};
use super::partitions::windows;
use super::piped::Rooms;
use super::query::{both, reads};
use super::run::fixed;
use crate::expression::bind::checked;

type Plan = Arc<dyn ExecutionPlan>;

/// Makes plans. Tables are read through `scan`.
pub(super) struct Planner<'a> {
    pub(super) scan: &'a dyn Fn(&TableScan) -> Result<Plan>,
    rooms: Rooms,
    props: ExecutionProps,
    context: PhysicalPlanningContext,
}

impl<'a> Planner<'a> {
    /// Parts of a plan that take memory share this much.
    pub(super) fn new(scan: &'a dyn Fn(&TableScan) -> Result<Plan>, memory: usize) -> Self {
        let (context, rooms) = (PhysicalPlanningContext::default(), Rooms::new(memory));
        Self { scan, rooms, props: ExecutionProps::new(), context }
    }

    pub(super) fn plan(&self, node: &LogicalPlan) -> Result<Plan> {
        match node {
            LogicalPlan::TableScan(scan) => (self.scan)(scan),
            LogicalPlan::SubqueryAlias(alias) => self.plan(&alias.input),
            LogicalPlan::Projection(projection) => {
                let input = self.plan(&projection.input)?;
                let schema = projection.input.schema();
                let columns = projection.expr.iter().zip(projection.schema.fields());
                let columns = columns
                    .map(|(expr, field)| Ok((self.expr(expr, schema)?, field.name().clone())))
                    .collect::<Result<Vec<_>>>()?;
                Ok(Arc::new(ProjectionExec::try_new(columns, input)?))
            }
            LogicalPlan::Filter(filter) => {
                let input = self.plan(&filter.input)?;
                let keep = self.expr(&filter.predicate, filter.input.schema())?;
                Ok(Arc::new(FilterExec::try_new(keep, input)?))
            }
            LogicalPlan::Sort(sort) => {
                let input = self.plan(&sort.input)?;
                let keys = self.keys(&sort.expr, sort.input.schema())?;
                Ok(self.rooms.room(stable_sort(input, keys, sort.fetch)?))
            }
            LogicalPlan::Limit(limit) => {
                let input = self.plan(&limit.input)?;
                match (limit.get_skip_type()?, limit.get_fetch_type()?) {
                    (SkipType::Literal(skip), FetchType::Literal(fetch)) => {
                        Ok(Arc::new(GlobalLimitExec::new(input, skip, fetch)))
                    }
                    _ => not_impl_err!("LIMIT and OFFSET take numbers"),
                }
            }
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate),
            LogicalPlan::Window(window) => {
                let input = self.plan(&window.input)?;
                self.window(&window.window_expr, input, window.input.schema())
            }
            LogicalPlan::Join(join) => self.join(join),
            LogicalPlan::Union(union) => {
                let parts = union.inputs.iter().map(|input| self.plan(input));
                let parts = parts.collect::<Result<Vec<_>>>()?;
                Ok(chained(parts, Arc::new(union.schema.as_arrow().clone())))
            }
            LogicalPlan::EmptyRelation(empty) => {
                let schema: SchemaRef = Arc::new(empty.schema.as_arrow().clone());
                Ok(match empty.produce_one_row {
                    true => Arc::new(PlaceholderRowExec::new(schema)),
                    false => Arc::new(EmptyExec::new(schema)),
                })
            }
            LogicalPlan::Values(values) => self.values(values),
            LogicalPlan::Unnest(unnest) => self.unnest(unnest),
            LogicalPlan::RecursiveQuery(_) => {
                not_impl_err!("a query that refers to itself (WITH RECURSIVE) is not supported")
            }
            other => not_impl_err!("`{}` is not supported in a query", other.display()),
        }
    }

    fn expr(&self, expr: &Expr, schema: &DFSchema) -> Result<Arc<dyn PhysicalExpr>> {
        checked(create_physical_expr(expr, schema, &self.props, &self.context)?)
    }

    fn exprs(&self, exprs: &[Expr], schema: &DFSchema) -> Result<Vec<Arc<dyn PhysicalExpr>>> {
        exprs.iter().map(|expr| self.expr(expr, schema)).collect()
    }

    fn keys(&self, keys: &[SortExpr], schema: &DFSchema) -> Result<Vec<PhysicalSortExpr>> {
        keys.iter()
            .map(|key| {
                let options = SortOptions::new(!key.asc, key.nulls_first);
                Ok(PhysicalSortExpr::new(self.expr(&key.expr, schema)?, options))
            })
            .collect()
    }

    /// Groups in the order of their keys, nulls last.
    fn aggregate(&self, aggregate: &Aggregate) -> Result<Plan> {
        let mut input = self.plan(&aggregate.input)?;
        let schema = aggregate.input.schema();
        // What is first or last must not depend on what was written to disk in between.
        if aggregate.aggr_expr.iter().any(takes_order) {
            input = numbered(input);
        }
        let groups = self.groups(&aggregate.group_expr, schema)?;
        let (mut functions, mut filters) = (Vec::new(), Vec::new());
        for expr in &aggregate.aggr_expr {
            let (function, filter) = self.function(expr, schema, &input.schema())?;
            functions.push(Arc::new(function));
            filters.push(filter);
        }
        let made = |input: Plan| {
            let (schema, single) = (input.schema(), AggregateMode::Single);
            AggregateExec::try_new(
                single,
                groups.clone(),
                functions.clone(),
                filters.clone(),
                input,
                schema,
            )
        };
        let mut plan = made(Arc::clone(&input))?;
        // Functions that need their values in some order.
        let required = match plan.required_input_ordering().into_iter().next().flatten() {
            Some(OrderingRequirements::Hard(all) | OrderingRequirements::Soft(all)) => {
                all.into_iter().next()
            }
            None => None,
        };
        if let Some(required) = required
            && !input.equivalence_properties().ordering_satisfy_requirement(required.clone())?
        {
            let keys: LexOrdering = required.into();
            let sorted = stable_sort(input, keys.into_iter().collect(), None)?;
            plan = made(self.rooms.room(sorted))?;
        }
        let grouped = plan.group_expr().output_exprs().len();
        let schema = plan.schema();
        let keys = (0..grouped).map(|place| ascending(schema.field(place).name(), place));
        Ok(match LexOrdering::new(keys) {
            Some(keys) => {
                let groups = owned(self.rooms.room(Arc::new(plan)));
                self.rooms.room(Arc::new(SortExec::new(keys, groups)))
            }
            None => self.rooms.room(Arc::new(plan)),
        })
    }

    fn groups(&self, exprs: &[Expr], schema: &DFSchema) -> Result<PhysicalGroupBy> {
        let named = |expr: &Expr| Ok((self.expr(expr, schema)?, physical_name(expr)?));
        let sets = match exprs {
            [Expr::GroupingSet(GroupingSet::GroupingSets(sets))] => sets,
            [Expr::GroupingSet(_)] => return internal_err!("grouping sets are not enumerated"),
            _ => {
                let all = exprs.iter().map(named).collect::<Result<_>>()?;
                return Ok(PhysicalGroupBy::new_single(all));
            }
        };
        let mut all: Vec<&Expr> = Vec::new();
        for expr in sets.iter().flatten() {
            if !all.contains(&expr) {
                all.push(expr);
            }
        }
        let keys = all.iter().map(|expr| named(expr)).collect::<Result<Vec<_>>>()?;
        let nulls = keys.iter().map(|(key, name)| {
            let null = ScalarValue::try_new_null(&key.data_type(schema.as_arrow())?)?;
            Ok((Arc::new(Literal::new(null)) as Arc<dyn PhysicalExpr>, name.clone()))
        });
        let nulls = nulls.collect::<Result<Vec<_>>>()?;
        let masks = sets.iter().map(|set| all.iter().map(|expr| !set.contains(expr)).collect());
        Ok(PhysicalGroupBy::new(keys, nulls, masks.collect(), true))
    }

    fn function(
        &self,
        expr: &Expr,
        schema: &DFSchema,
        physical: &SchemaRef,
    ) -> Result<(AggregateFunctionExpr, Option<Arc<dyn PhysicalExpr>>)> {
        let name = match expr {
            Expr::Alias(alias) => alias.name.clone(),
            _ => expr.schema_name().to_string(),
        };
        let Expr::AggregateFunction(AggregateFunction { func, params }) =
            expr.clone().unalias_nested().data
        else {
            return internal_err!("`{expr}` is no aggregate function");
        };
        let filter = params.filter.as_ref().map(|filter| self.expr(filter, schema)).transpose()?;
        let ignore_nulls = params.null_treatment == Some(NullTreatment::IgnoreNulls);
        let order = match takes_order(expr) {
            true => vec![ascending(ROW, schema.fields().len())],
            false => self.keys(&params.order_by, schema)?,
        };
        let function = AggregateExprBuilder::new(func, self.exprs(&params.args, schema)?)
            .order_by(order)
            .schema(Arc::clone(physical))
            .alias(name)
            .with_ignore_nulls(ignore_nulls)
            .with_distinct(params.distinct)
            .build()?;
        Ok((function, filter))
    }

    /// Rows in the order of the partitions, and within each in the order that the functions need.
    fn window(&self, exprs: &[Expr], input: Plan, schema: &DFSchema) -> Result<Plan> {
        let physical = Arc::new(schema.as_arrow().clone());
        let functions = exprs
            .iter()
            .map(|expr| self.window_function(expr, schema, &physical))
            .collect::<Result<Vec<_>>>()?;
        let Some(first) = functions.first() else { return Ok(input) };
        let mut keys: Vec<PhysicalSortExpr> = Vec::new();
        let partitions = first
            .partition_by()
            .iter()
            .map(|expr| PhysicalSortExpr::new(Arc::clone(expr), SortOptions::new(false, false)));
        for key in partitions.chain(first.order_by().iter().cloned()) {
            if !keys.iter().any(|known| known.expr.eq(&key.expr)) {
                keys.push(key);
            }
        }
        let sorted = match keys.is_empty() {
            true => input,
            false => self.rooms.room(stable_sort(input, keys, None)?),
        };
        if functions.iter().all(|function| function.uses_bounded_memory()) {
            let mode = InputOrderMode::Sorted;
            return Ok(Arc::new(BoundedWindowAggExec::try_new(functions, sorted, mode, false)?));
        }
        Ok(self.rooms.room(windows(sorted, functions)?))
    }

    fn window_function(
        &self,
        expr: &Expr,
        schema: &DFSchema,
        physical: &SchemaRef,
    ) -> Result<Arc<dyn WindowExpr>> {
        let name = match expr {
            Expr::Alias(alias) => alias.name.clone(),
            _ => expr.schema_name().to_string(),
        };
        let Expr::WindowFunction(function) = expr.clone().unalias_nested().data else {
            return internal_err!("`{expr}` is no window function");
        };
        let WindowFunction { fun, params } = *function;
        let filter = params.filter.as_ref().map(|filter| self.expr(filter, schema)).transpose()?;
        create_window_expr(
            &fun,
            name,
            &self.exprs(&params.args, schema)?,
            &self.exprs(&params.partition_by, schema)?,
            &self.keys(&params.order_by, schema)?,
            Arc::new(params.window_frame),
            Arc::clone(physical),
            params.null_treatment == Some(NullTreatment::IgnoreNulls),
            params.distinct,
            filter,
        )
    }

    /// The side that is not the input is held in memory, and the other one passes by; where both or
    /// none are, the left one passes. Rows come in the order of the one that passes.
    fn join(&self, join: &Join) -> Result<Plan> {
        self.joined(join).map(|joined| self.rooms.room(joined))
    }

    fn joined(&self, join: &Join) -> Result<Plan> {
        let (left, right) = (self.plan(&join.left)?, self.plan(&join.right)?);
        let filter = join.filter.as_ref().map(|filter| self.join_filter(join, filter));
        let filter = filter.transpose()?;
        let left_passes = reads(&join.left, INPUT) || !reads(&join.right, INPUT);
        let left_passes = left_passes && !join.null_aware;
        let on = join.on.iter().map(|(of_left, of_right)| {
            let left = self.expr(of_left, join.left.schema())?;
            Ok((left, self.expr(of_right, join.right.schema())?))
        });
        let on = on.collect::<Result<Vec<_>>>()?;
        let (left, right) = match left_passes {
            true => (left, owned(right)),
            false => (owned(left), right),
        };
        if on.is_empty() {
            return nested(left, right, filter, join.join_type, left_passes);
        }
        let joined = |left, right, filter| -> Result<Plan> {
            let (mode, kind) = (PartitionMode::CollectLeft, &join.join_type);
            let (nulls, aware) = (join.null_equality, join.null_aware);
            let joined = HashJoinExec::try_new(
                left,
                right,
                on.clone(),
                filter,
                kind,
                None,
                mode,
                nulls,
                aware,
            )?;
            if left_passes { joined.swap_inputs(mode) } else { Ok(Arc::new(joined)) }
        };
        // A row without a match would come behind those of its batch that have one.
        let outer = match join.join_type {
            JoinType::Left => left_passes,
            JoinType::Right => !left_passes,
            JoinType::Full => true,
            _ => false,
        };
        if !outer {
            return joined(left, right, filter);
        }
        let (of_left, of_right) = (left.schema().fields().len(), right.schema().fields().len());
        if left_passes {
            // The numbers stand between the columns of the two sides.
            let joined = joined(numbered(left), right, filter)?;
            columns(joined, (0..of_left).chain(of_left + 1..of_left + 1 + of_right))
        } else {
            columns(joined(left, numbered(right), filter)?, 0..of_left + of_right)
        }
    }

    fn join_filter(&self, join: &Join, filter: &Expr) -> Result<JoinFilter> {
        let places = |schema: &DFSchema| {
            let columns = filter.column_refs();
            let mut places: Vec<usize> =
                columns.iter().filter_map(|column| schema.maybe_index_of_column(column)).collect();
            places.sort_unstable();
            places
        };
        let (left, right) = (places(join.left.schema()), places(join.right.schema()));
        let schema = both((join.left.schema(), &left), (join.right.schema(), &right))?;
        let expr = self.expr(filter, &schema)?;
        let indices = JoinFilter::build_column_indices(left, right);
        Ok(JoinFilter::new(expr, indices, Arc::new(schema.as_arrow().clone())))
    }

    fn values(&self, values: &Values) -> Result<Plan> {
        let schema: SchemaRef = Arc::new(values.schema.as_arrow().clone());
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        let one = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options)?;
        let nothing = DFSchema::empty();
        let column = |place: usize| -> Result<ArrayRef> {
            let cells = values
                .values
                .iter()
                .map(|row| self.expr(&row[place], &nothing)?.evaluate(&one)?.into_array(1));
            let cells = cells.collect::<Result<Vec<_>>>()?;
            let cells: Vec<&dyn Array> = cells.iter().map(AsRef::as_ref).collect();
            Ok(concat(&cells)?)
        };
        let columns = (0..schema.fields().len()).map(column).collect::<Result<Vec<_>>>()?;
        fixed(Arc::clone(&schema), vec![RecordBatch::try_new(schema, columns)?])
    }

    fn unnest(&self, unnest: &Unnest) -> Result<Plan> {
        let input = self.plan(&unnest.input)?;
        let lists = unnest
            .list_type_columns
            .iter()
            .map(|(place, list)| ListUnnest { index_in_input_schema: *place, depth: list.depth });
        let schema = Arc::new(unnest.schema.as_arrow().clone());
        let structs = unnest.struct_type_columns.clone();
        let options = unnest.options.clone();
        Ok(Arc::new(UnnestExec::new(input, lists.collect(), structs, schema, options)?))
    }
}

/// Whether an aggregate function takes its values in the order of the input.
fn takes_order(expr: &Expr) -> bool {
    const FUNCTIONS: [&str; 6] =
        ["first_value", "last_value", "nth_value", "any_value", "array_agg", "string_agg"];
    match expr {
        Expr::Alias(alias) => takes_order(&alias.expr),
        Expr::AggregateFunction(AggregateFunction { func, params }) => {
            params.order_by.is_empty() && !params.distinct && FUNCTIONS.contains(&func.name())
        }
        _ => false,
    }
}

/// A join without equal keys: every row of one side with every row of the other. In the order of the
/// side that passes, and then of the other.
fn nested(
    left: Plan,
    right: Plan,
    filter: Option<JoinFilter>,
    kind: JoinType,
    left_passes: bool,
) -> Result<Plan> {
    let (left, right) = (numbered(left), numbered(right));
    let joined: Plan = if kind == JoinType::Inner && filter.is_none() {
        let crossed = CrossJoinExec::new(left, right);
        if left_passes { crossed.swap_inputs()? } else { Arc::new(crossed) }
    } else {
        let nested = NestedLoopJoinExec::try_new(left, right, filter, &kind, None)?;
        if left_passes { nested.swap_inputs()? } else { Arc::new(nested) }
    };
    let schema = joined.schema();
    let places = 0..schema.fields().len();
    let (rows, others): (Vec<usize>, Vec<usize>) =
        places.partition(|&place| schema.field(place).name() == ROW);
    let mut keys: Vec<_> = rows.iter().map(|&place| ascending(ROW, place)).collect();
    if !left_passes {
        keys.reverse();
    }
    let Some(keys) = LexOrdering::new(keys) else { return columns(joined, others) };
    columns(Arc::new(SortExec::new(keys, owned(joined))), others)
}
