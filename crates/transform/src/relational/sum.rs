//! `sum` that does not wrap: of integers and decimals in 128 bits, and out of range is an error.

use std::fmt::Debug;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Int64Type};
use arrow_array::{Array, ArrayRef, BooleanArray, Decimal128Array, Int64Array};
use arrow_schema::{DataType, FieldRef};
use datafusion_common::{Result, ScalarValue, exec_datafusion_err, exec_err, not_impl_err};
use datafusion_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion_expr::utils::AggregateOrderSensitivity;
use datafusion_expr::{
    Accumulator, AggregateUDFImpl, EmitTo, GroupsAccumulator, ReversedUDAF, Signature,
};
use datafusion_functions_aggregate::sum::Sum as Wrapping;

/// DataFusion's `sum`, but for integers and decimals.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Sum {
    inner: Wrapping,
}

impl Sum {
    pub(super) fn new() -> Self {
        Self { inner: Wrapping::new() }
    }
}

/// Whether sums of this type are made here.
fn exact(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Int64 | DataType::Decimal128(..))
}

impl AggregateUDFImpl for Sum {
    fn name(&self) -> &str {
        "sum"
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arguments)
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let data_type = args.return_field.data_type().clone();
        if !exact(&data_type) {
            return self.inner.accumulator(args);
        }
        if args.is_distinct {
            return Ok(Box::new(Different { values: self.inner.accumulator(args)?, data_type }));
        }
        Ok(Box::new(Total::new(&data_type)))
    }

    fn create_sliding_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn Accumulator>> {
        if !exact(args.return_field.data_type()) {
            return self.inner.create_sliding_accumulator(args);
        }
        if args.is_distinct {
            return not_impl_err!("`sum(DISTINCT …)` over a window that moves");
        }
        Ok(Box::new(Total::new(args.return_field.data_type())))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let distinct = args.is_distinct;
        let exact = exact(args.return_field.data_type());
        let mut fields = self.inner.state_fields(args)?;
        if exact
            && !distinct
            && let [field] = &mut fields[..]
        {
            let scale = match field.data_type() {
                DataType::Decimal128(_, scale) => *scale,
                _ => 0,
            };
            let state = field.as_ref().clone().with_data_type(DataType::Decimal128(38, scale));
            *field = Arc::new(state);
        }
        Ok(fields)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        if !exact(args.return_field.data_type()) {
            return self.inner.create_groups_accumulator(args);
        }
        Ok(Box::new(Totals::new(args.return_field.data_type())))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.inner.order_sensitivity()
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }
}

/// Every value of a column that is not null.
fn each(values: &ArrayRef, mut take: impl FnMut(i128) -> Result<()>) -> Result<()> {
    match values.data_type() {
        DataType::Int64 => values
            .as_primitive::<Int64Type>()
            .iter()
            .flatten()
            .try_for_each(|value| take(i128::from(value))),
        _ => values.as_primitive::<Decimal128Type>().iter().flatten().try_for_each(take),
    }
}

fn add(total: i128, value: i128, data_type: &DataType) -> Result<i128> {
    total.checked_add(value).ok_or_else(|| out_of_range(data_type))
}

fn out_of_range(data_type: &DataType) -> datafusion_common::DataFusionError {
    match data_type {
        DataType::Decimal128(precision, scale) => {
            exec_datafusion_err!("a sum does not fit decimal({precision}, {scale})")
        }
        _ => exec_datafusion_err!(
            "a sum does not fit an int; cast what is summed to `decimal(38, 0)`"
        ),
    }
}

/// The sum, if it has the digits that its type allows.
pub(super) fn fit(total: i128, data_type: &DataType) -> Result<i128> {
    let fits = match data_type {
        DataType::Decimal128(precision, _) => {
            total.unsigned_abs() < 10u128.pow(u32::from(*precision))
        }
        _ => i64::try_from(total).is_ok(),
    };
    if fits { Ok(total) } else { Err(out_of_range(data_type)) }
}

/// The type of what is handed from one part of an aggregation to another.
fn state_type(data_type: &DataType) -> (u8, i8) {
    match data_type {
        DataType::Decimal128(_, scale) => (38, *scale),
        _ => (38, 0),
    }
}

/// One sum; of a window, from which values go again.
#[derive(Debug)]
struct Total {
    data_type: DataType,
    total: i128,
    count: u64,
}

impl Total {
    fn new(data_type: &DataType) -> Self {
        Self { data_type: data_type.clone(), total: 0, count: 0 }
    }
}

impl Accumulator for Total {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        each(&values[0], |value| {
            self.total = add(self.total, value, &self.data_type)?;
            self.count += 1;
            Ok(())
        })
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        each(&values[0], |value| {
            self.total =
                self.total.checked_sub(value).ok_or_else(|| out_of_range(&self.data_type))?;
            self.count -= 1;
            Ok(())
        })
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let (precision, scale) = state_type(&self.data_type);
        let total = (self.count > 0).then_some(self.total);
        Ok(vec![ScalarValue::Decimal128(total, precision, scale)])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let total = match self.count {
            0 => None,
            _ => Some(fit(self.total, &self.data_type)?),
        };
        Ok(match self.data_type {
            DataType::Decimal128(precision, scale) => {
                ScalarValue::Decimal128(total, precision, scale)
            }
            _ => ScalarValue::Int64(total.map(|total| total as i64)),
        })
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}

/// The sum of each different value once.
#[derive(Debug)]
struct Different {
    /// DataFusion's, which keeps the values.
    values: Box<dyn Accumulator>,
    data_type: DataType,
}

impl Accumulator for Different {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.values.update_batch(values)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.values.merge_batch(states)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.values.state()
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let mut total = Total::new(&self.data_type);
        for kept in self.values.state()? {
            let ScalarValue::List(lists) = kept else {
                return exec_err!("different values are not kept as a list");
            };
            lists.iter().flatten().try_for_each(|values| total.update_batch(&[values]))?;
        }
        total.evaluate()
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.values.size()
    }
}

/// A sum for each group.
#[derive(Debug)]
struct Totals {
    data_type: DataType,
    totals: Vec<i128>,
    /// Groups in which a value was not null.
    seen: Vec<bool>,
}

impl Totals {
    fn new(data_type: &DataType) -> Self {
        Self { data_type: data_type.clone(), totals: Vec::new(), seen: Vec::new() }
    }

    fn take(&mut self, emit: EmitTo) -> impl Iterator<Item = Option<i128>> {
        let totals = emit.take_needed(&mut self.totals);
        let seen = emit.take_needed(&mut self.seen);
        totals.into_iter().zip(seen).map(|(total, seen)| seen.then_some(total))
    }

    fn add(&mut self, group: usize, value: i128) -> Result<()> {
        self.totals[group] = add(self.totals[group], value, &self.data_type)?;
        self.seen[group] = true;
        Ok(())
    }
}

impl GroupsAccumulator for Totals {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.totals.resize(total, 0);
        self.seen.resize(total, false);
        let values = &values[0];
        let counts = |row: usize| {
            values.is_valid(row)
                && filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row))
        };
        let all = values.null_count() == 0 && filter.is_none();
        match values.data_type() {
            DataType::Int64 => {
                let numbers = values.as_primitive::<Int64Type>().values();
                for (row, (&group, &value)) in groups.iter().zip(numbers).enumerate() {
                    if all || counts(row) {
                        self.add(group, i128::from(value))?;
                    }
                }
            }
            _ => {
                let numbers = values.as_primitive::<Decimal128Type>().values();
                for (row, (&group, &value)) in groups.iter().zip(numbers).enumerate() {
                    if all || counts(row) {
                        self.add(group, value)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.update_batch(states, groups, None, total)
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let values = &values[0];
        let value = |row: usize| match values.data_type() {
            DataType::Int64 => i128::from(values.as_primitive::<Int64Type>().value(row)),
            _ => values.as_primitive::<Decimal128Type>().value(row),
        };
        let counts = |row: &usize| {
            let wanted = filter.is_none_or(|filter| filter.is_valid(*row) && filter.value(*row));
            wanted && values.is_valid(*row)
        };
        let states = (0..values.len()).map(|row| Some(row).filter(counts).map(value));
        let (precision, scale) = state_type(&self.data_type);
        let states: Decimal128Array = states.collect();
        Ok(vec![Arc::new(states.with_precision_and_scale(precision, scale)?)])
    }

    fn evaluate(&mut self, emit: EmitTo) -> Result<ArrayRef> {
        let data_type = self.data_type.clone();
        let totals = self.take(emit).map(|total| total.map(|t| fit(t, &data_type)).transpose());
        Ok(match data_type {
            DataType::Decimal128(precision, scale) => {
                let totals: Decimal128Array = totals.collect::<Result<_>>()?;
                Arc::new(totals.with_precision_and_scale(precision, scale)?)
            }
            _ => {
                let totals = totals.map(|total| Ok(total?.map(|total| total as i64)));
                Arc::new(totals.collect::<Result<Int64Array>>()?)
            }
        })
    }

    fn state(&mut self, emit: EmitTo) -> Result<Vec<ArrayRef>> {
        let (precision, scale) = state_type(&self.data_type);
        let totals: Decimal128Array = self.take(emit).collect();
        Ok(vec![Arc::new(totals.with_precision_and_scale(precision, scale)?)])
    }

    fn size(&self) -> usize {
        self.totals.capacity() * size_of::<i128>() + self.seen.capacity()
    }
}
