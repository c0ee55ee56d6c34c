//! Which queries can be done by folding groups, and what of them is done where.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{ArrayRef, BooleanArray, Float64Array, RecordBatch, RecordBatchOptions};
use arrow_row::{RowConverter, Rows, SortField};
use arrow_schema::{DataType, SchemaRef, SortOptions};
use datafusion_common::{DFSchema, Result};
use datafusion_expr::expr::AggregateFunction;
use datafusion_expr::{Aggregate, Expr, LogicalPlan};

use super::fold::{Fold, Folded, Layout, MOST, Record, Side, extreme};
use super::keys::Keys;
use super::runs::Merged;
use super::sorted::Given;
use super::table::Table;
use crate::relational::run::in_digits;
use crate::relational::stage::{Physical, Stage, before, evaluated, nullable, physical, project};

/// What becomes of batches on their way to the groups, and of groups on theirs to batches.
#[derive(Debug)]
pub(super) struct Plan {
    before: Vec<Stage>,
    key_columns: Vec<Physical>,
    pub(super) keys: Keys,
    folded: Vec<Value>,
    results: Vec<Output>,
    /// Keys as bytes that sort like them, nulls last.
    converter: RowConverter,
    pub(super) layout: Layout,
    /// Keys and results.
    grouped: SchemaRef,
    after: Vec<Stage>,
    /// The columns of the result.
    pub(super) output: SchemaRef,
}

/// What a fold is made of.
#[derive(Debug, PartialEq, Eq)]
struct Value {
    fold: Fold,
    of: Option<Physical>,
    filter: Option<Physical>,
}

/// A column made of folds.
#[derive(Debug)]
enum Output {
    Fold(usize),
    /// The sum and the count of doubles.
    Mean(usize, usize),
}

/// The plan of a query, if it has one of these.
pub(super) fn plan(query: &LogicalPlan, output: &SchemaRef) -> Option<Plan> {
    let (mut above, mut node) = (Vec::new(), query);
    let aggregate = loop {
        match node {
            LogicalPlan::Aggregate(aggregate) => break aggregate,
            LogicalPlan::Projection(projection) => {
                above.push(projection);
                node = &projection.input;
            }
            LogicalPlan::SubqueryAlias(alias) => node = &alias.input,
            _ => return None,
        }
    };
    let before = before(&aggregate.input)?;
    let mut after = Vec::new();
    for projection in above.iter().rev() {
        let schema = projection.input.schema();
        after.push(project(&projection.expr, schema, projection.schema.as_arrow())?);
    }
    grouped(aggregate, before, after, output)
}

fn grouped(
    aggregate: &Aggregate,
    before: Vec<Stage>,
    after: Vec<Stage>,
    output: &SchemaRef,
) -> Option<Plan> {
    let schema = aggregate.input.schema();
    let grouped = nullable(aggregate.schema.as_arrow());
    let (key_fields, result_fields) = grouped.fields().split_at(aggregate.group_expr.len());
    if aggregate.group_expr.iter().any(|expr| matches!(expr, Expr::GroupingSet(_)))
        || result_fields.len() != aggregate.aggr_expr.len()
    {
        return None;
    }
    let keys = Keys::new(key_fields.iter().map(|field| field.data_type()))?;
    let key_columns = aggregate.group_expr.iter().map(|expr| physical(expr, schema));
    let key_columns = key_columns.collect::<Option<Vec<_>>>()?;
    let mut folded = Vec::new();
    let results = aggregate.aggr_expr.iter().zip(result_fields);
    let results = results.map(|(expr, field)| result(expr, field.data_type(), schema, &mut folded));
    let results = results.collect::<Option<Vec<_>>>()?;
    if folded.len() > MOST {
        return None;
    }
    let options = SortOptions { descending: false, nulls_first: false };
    let fields = key_fields.iter().map(|field| field.data_type().clone());
    let fields = fields.map(|data_type| SortField::new_with_options(data_type, options));
    Some(Plan {
        before,
        key_columns,
        keys,
        converter: RowConverter::new(fields.collect()).ok()?,
        layout: Layout::new(folded.iter().map(|value| value.fold)),
        folded,
        results,
        grouped,
        after,
        output: Arc::clone(output),
    })
}

fn result(
    expr: &Expr,
    data_type: &DataType,
    schema: &DFSchema,
    folded: &mut Vec<Value>,
) -> Option<Output> {
    let expr = expr.clone().unalias_nested().data;
    let Expr::AggregateFunction(AggregateFunction { func, params }) = expr else { return None };
    if params.distinct || !params.order_by.is_empty() || params.null_treatment.is_some() {
        return None;
    }
    let filter = match &params.filter {
        Some(filter) => Some(physical(filter, schema)?),
        None => None,
    };
    let [argument] = &params.args[..] else { return None };
    let of = physical(argument, schema)?;
    let value_type = of.data_type(schema.as_arrow()).ok()?;
    let counts_all = matches!(argument, Expr::Literal(value, _) if !value.is_null());
    let mut place = |fold: Fold| {
        let counted = fold == Fold::Count && counts_all;
        let of = (!counted).then(|| Arc::clone(&of));
        let value = Value { fold, of, filter: filter.clone() };
        folded.iter().position(|known| *known == value).unwrap_or_else(|| {
            folded.push(value);
            folded.len() - 1
        })
    };
    Some(match (func.name(), &value_type) {
        ("count", _) => Output::Fold(place(Fold::Count)),
        ("sum", DataType::Int64 | DataType::Decimal128(..)) => Output::Fold(place(Fold::Whole)),
        ("sum", DataType::Float64) => Output::Fold(place(Fold::Double)),
        ("avg", DataType::Float64) if data_type == &DataType::Float64 => {
            Output::Mean(place(Fold::Double), place(Fold::Count))
        }
        ("min", kind) => Output::Fold(place(extreme(Side::Least, kind)?)),
        ("max", kind) => Output::Fold(place(extreme(Side::Greatest, kind)?)),
        _ => return None,
    })
}

impl Plan {
    /// What there is to group of a batch.
    pub(super) fn records(&self, columns: &RecordBatch) -> Result<Records> {
        let mut columns = columns.clone();
        for stage in &self.before {
            columns = stage.apply(&columns)?;
        }
        let keys = self.key_columns.iter().map(|key| evaluated(key, &columns));
        let keys = keys.collect::<Result<Vec<_>>>()?;
        let folded = self.folded.iter().map(|value| {
            let of = value.filter.as_ref().map(|filter| evaluated(filter, &columns)).transpose()?;
            let of: Option<BooleanArray> = of.map(|of| of.as_boolean().clone());
            let values = value.of.as_ref().map(|values| evaluated(values, &columns)).transpose()?;
            Ok(Folded { values, of })
        });
        let folded = folded.collect::<Result<Vec<_>>>()?;
        Ok(Records { rows: columns.num_rows(), keys, folds: self.layout.records(&folded)? })
    }

    /// Keys as bytes that sort like them, nulls last; none where they have no columns.
    pub(super) fn key_bytes(&self, keys: &[ArrayRef]) -> Result<Option<Rows>> {
        if keys.is_empty() {
            return Ok(None);
        }
        Ok(Some(self.converter.convert_columns(keys)?))
    }

    /// Groups that come from runs.
    pub(super) fn merged(&self, groups: Merged) -> Result<Given> {
        let keys = match self.key_columns.is_empty() {
            true => Vec::new(),
            false => {
                let parser = self.converter.parser();
                self.converter.convert_rows(groups.keys().map(|key| parser.parse(key)))?
            }
        };
        Ok(Given { keys, words: groups.words, long: groups.long })
    }

    /// The result's columns for some groups.
    pub(super) fn columns(&self, groups: Given) -> Result<RecordBatch> {
        let Given { keys: mut arrays, words, long } = groups;
        let places = self.key_columns.len()..;
        for (result, place) in self.results.iter().zip(places) {
            let data_type = self.grouped.field(place).data_type();
            let column = |fold: usize, data_type: &DataType| {
                self.layout.column(fold, &words, &long, data_type)
            };
            arrays.push(match result {
                Output::Fold(fold) => column(*fold, data_type)?,
                Output::Mean(sum, count) => {
                    let sums = column(*sum, &DataType::Float64)?;
                    let counts = column(*count, &DataType::Int64)?;
                    let counts = counts.as_primitive::<Int64Type>();
                    let sums = sums.as_primitive::<Float64Type>();
                    let means = sums.iter().zip(counts.values());
                    let means = means.map(|(sum, count)| sum.map(|sum| sum / *count as f64));
                    Arc::new(means.collect::<Float64Array>())
                }
            });
        }
        let rows = words.len() / self.layout.width;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let grouped = Arc::clone(&self.grouped);
        let mut columns = RecordBatch::try_new_with_options(grouped, arrays, &options)?;
        for stage in &self.after {
            columns = stage.apply(&columns)?;
        }
        in_digits(&columns, &self.output)
    }

    /// No groups yet.
    pub(super) fn table(&self) -> Table {
        Table::new(self.keys.words, &self.layout)
    }

    /// Whether there may be several groups.
    pub(super) fn has_keys(&self) -> bool {
        !self.key_columns.is_empty()
    }
}

/// The keys of records, and what is folded of them.
pub(super) struct Records {
    pub(super) rows: usize,
    pub(super) keys: Vec<ArrayRef>,
    pub(super) folds: Vec<Record>,
}
