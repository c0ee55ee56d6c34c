//! Which queries are computed here, and what of them is done where.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, SchemaRef, SortOptions};
use datafusion_common::{DFSchema, Result, ScalarValue};
use datafusion_expr::expr::{NullTreatment, WindowFunction, WindowFunctionParams};
use datafusion_expr::{
    Expr, LogicalPlan, Window, WindowFrame, WindowFrameBound, WindowFrameUnits,
    WindowFunctionDefinition,
};

use super::frame::Frame;
use crate::relational::run::in_digits;
use crate::relational::stage::{Physical, Stage, before, evaluated, nullable, physical, project};

/// What becomes of batches.
#[derive(Debug)]
pub(super) struct Plan {
    before: Vec<Stage>,
    /// What functions take, each once.
    pub(super) values: Vec<Physical>,
    pub(super) windows: Vec<Order>,
    /// The columns before, and those of the windows.
    windowed: SchemaRef,
    after: Vec<Stage>,
    /// The columns of the result.
    output: SchemaRef,
}

/// Functions that see rows in the same partitions and the same order.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) partitions: Vec<Physical>,
    pub(super) keys: Vec<(Physical, SortOptions)>,
    pub(super) functions: Vec<Function>,
}

/// A column that is computed from several rows.
#[derive(Debug)]
pub(super) struct Function {
    pub(super) what: What,
    /// The place of the values that it takes.
    pub(super) of: Option<usize>,
    pub(super) frame: Frame,
    pub(super) output: DataType,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    RowNumber,
    Rank,
    DenseRank,
    /// The value so many rows behind.
    Shift(i64),
    First,
    Last,
    Least,
    Greatest,
    Count,
    Sum,
    Mean,
}

/// The plan of a query that gives every row of the input, in its order, if it has one of these.
pub(super) fn plan(query: &LogicalPlan, output: &SchemaRef) -> Option<Plan> {
    let (mut above, mut node) = (Vec::new(), query);
    let mut windows: Vec<&Window> = Vec::new();
    loop {
        match node {
            LogicalPlan::SubqueryAlias(alias) => node = &alias.input,
            // By the numbers of the rows, in which order they are given anyway.
            LogicalPlan::Sort(sort) if windows.is_empty() => node = &sort.input,
            LogicalPlan::Projection(projection) if windows.is_empty() => {
                above.push(projection);
                node = &projection.input;
            }
            LogicalPlan::Window(window) => {
                windows.push(window);
                node = &window.input;
            }
            _ => break,
        }
    }
    let windowed = nullable(windows.first()?.schema.as_arrow());
    let stages = before(node)?;
    if stages.iter().any(|stage| matches!(stage, Stage::Filter(_))) {
        return None;
    }
    let mut plan = Plan {
        before: stages,
        values: Vec::new(),
        windows: Vec::new(),
        windowed,
        after: Vec::new(),
        output: Arc::clone(output),
    };
    for window in windows.into_iter().rev() {
        // What a function takes is a column of the input, not of another window.
        let order = order(window, node.schema(), &mut plan.values)?;
        plan.windows.push(order);
    }
    for projection in above.iter().rev() {
        let schema = projection.input.schema();
        plan.after.push(project(&projection.expr, schema, projection.schema.as_arrow())?);
    }
    Some(plan)
}

fn order(window: &Window, input: &DFSchema, values: &mut Vec<Physical>) -> Option<Order> {
    let columns = window.schema.fields().iter();
    let computed = columns.skip(window.input.schema().fields().len());
    let mut same: Option<WindowFunctionParams> = None;
    let mut functions = Vec::new();
    for (expr, field) in window.window_expr.iter().zip(computed) {
        let Expr::WindowFunction(function) = expr.clone().unalias_nested().data else {
            return None;
        };
        let WindowFunction { fun, params } = *function;
        functions.push(self::function(&fun, &params, field.data_type(), input, values)?);
        match &same {
            Some(first)
                if first.partition_by != params.partition_by
                    || first.order_by != params.order_by =>
            {
                return None;
            }
            Some(_) => {}
            None => same = Some(params),
        }
    }
    let WindowFunctionParams { partition_by, order_by, .. } = same?;
    let partitions = partition_by.iter().map(|expr| physical(expr, input));
    let keys = order_by.iter().map(|key| {
        let options = SortOptions::new(!key.asc, key.nulls_first);
        Some((physical(&key.expr, input)?, options))
    });
    Some(Order {
        partitions: partitions.collect::<Option<_>>()?,
        keys: keys.collect::<Option<_>>()?,
        functions,
    })
}

fn function(
    fun: &WindowFunctionDefinition,
    params: &WindowFunctionParams,
    output: &DataType,
    input: &DFSchema,
    values: &mut Vec<Physical>,
) -> Option<Function> {
    let ignores_nulls = params.null_treatment == Some(NullTreatment::IgnoreNulls);
    if params.distinct || params.filter.is_some() || ignores_nulls {
        return None;
    }
    let frame = frame(&params.window_frame);
    let mut of = |expr: &Expr| {
        let value = physical(expr, input)?;
        let data_type = value.data_type(input.as_arrow()).ok()?;
        let known = values.iter().position(|known| known.eq(&value));
        let place = known.unwrap_or_else(|| {
            values.push(value);
            values.len() - 1
        });
        Some((place, data_type))
    };
    let function =
        |what, of: Option<usize>, frame| Some(Function { what, of, frame, output: output.clone() });
    let (name, args) = (fun.name(), &params.args[..]);
    if let WindowFunctionDefinition::WindowUDF(_) = fun {
        let what = match (name, args) {
            ("row_number", []) => return function(What::RowNumber, None, Frame::Whole),
            ("rank", []) => return function(What::Rank, None, Frame::Whole),
            ("dense_rank", []) => return function(What::DenseRank, None, Frame::Whole),
            ("lag", _) => What::Shift(shift(args)?),
            ("lead", _) => What::Shift(shift(args)?.checked_neg()?),
            ("first_value", [_]) => What::First,
            ("last_value", [_]) => What::Last,
            _ => return None,
        };
        let frame = if matches!(what, What::Shift(_)) { Frame::Whole } else { frame? };
        let (place, data_type) = of(args.first()?)?;
        return if data_type == *output { function(what, Some(place), frame) } else { None };
    }
    let [argument] = args else { return None };
    if name == "count" {
        let all = matches!(argument, Expr::Literal(value, _) if !value.is_null());
        let place = if all { None } else { Some(of(argument)?.0) };
        return function(What::Count, place, frame?);
    }
    let (place, data_type) = of(argument)?;
    let what = match (name, &data_type, output) {
        ("sum", DataType::Int64, DataType::Int64)
        | ("sum", DataType::Float64, DataType::Float64)
        | ("sum", DataType::Decimal128(..), DataType::Decimal128(..)) => What::Sum,
        ("avg", DataType::Float64, DataType::Float64) => What::Mean,
        // A sum of so many digits has room in 128 bits, with those that a mean has more.
        ("avg", DataType::Decimal128(..=25, _), DataType::Decimal128(..)) => What::Mean,
        ("min", kind, same) if kind == same && compared(kind) => What::Least,
        ("max", kind, same) if kind == same && compared(kind) => What::Greatest,
        _ => return None,
    };
    function(what, Some(place), frame?)
}

/// The offset of `lag`; a value in place of what is not there is not looked for here.
fn shift(args: &[Expr]) -> Option<i64> {
    match args {
        [_] => Some(1),
        [_, Expr::Literal(ScalarValue::Int64(Some(offset)), _)] => Some(*offset),
        _ => None,
    }
}

/// Types of which there is a least value.
fn compared(data_type: &DataType) -> bool {
    use DataType::{Boolean, Date32, Decimal128, Float64, Int64, Time64, Timestamp, Utf8View};
    matches!(
        data_type,
        Boolean | Date32 | Decimal128(..) | Float64 | Int64 | Time64(_) | Timestamp(..) | Utf8View
    )
}

fn frame(frame: &WindowFrame) -> Option<Frame> {
    let (start, end) = (&frame.start_bound, &frame.end_bound);
    if start.is_unbounded() && end.is_unbounded() {
        return Some(Frame::Whole);
    }
    let bound = |bound: &WindowFrameBound| match bound {
        bound if bound.is_unbounded() => Some(None),
        WindowFrameBound::CurrentRow => Some(Some(0)),
        WindowFrameBound::Preceding(ScalarValue::UInt64(Some(rows))) => {
            Some(Some(-i64::try_from(*rows).ok()?))
        }
        WindowFrameBound::Following(ScalarValue::UInt64(Some(rows))) => {
            Some(Some(i64::try_from(*rows).ok()?))
        }
        _ => None,
    };
    match frame.units {
        WindowFrameUnits::Rows => Some(Frame::Rows(bound(start)?, bound(end)?)),
        WindowFrameUnits::Range if start.is_unbounded() && *end == WindowFrameBound::CurrentRow => {
            Some(Frame::Peers)
        }
        _ => None,
    }
}

impl Plan {
    /// The columns before the windows.
    pub(super) fn before(&self, columns: &RecordBatch) -> Result<RecordBatch> {
        self.before.iter().try_fold(columns.clone(), |columns, stage| stage.apply(&columns))
    }

    /// The result of columns before the windows, and those of the windows.
    pub(super) fn after(
        &self,
        columns: &RecordBatch,
        computed: Vec<ArrayRef>,
    ) -> Result<RecordBatch> {
        let mut arrays = columns.columns().to_vec();
        arrays.extend(computed);
        let windowed = RecordBatch::try_new(Arc::clone(&self.windowed), arrays)?;
        let all = self.after.iter().try_fold(windowed, |columns, stage| stage.apply(&columns))?;
        in_digits(&all, &self.output)
    }
}

/// The values of some columns.
pub(super) fn columns<'a>(
    exprs: impl IntoIterator<Item = &'a Physical>,
    columns: &RecordBatch,
) -> Result<Vec<ArrayRef>> {
    exprs.into_iter().map(|expr| evaluated(expr, columns)).collect()
}
