//! Numbers of columns, summed exactly.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type};
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use gristmill_core::exact::ExactSum;

use crate::arrays::{wide, with_whole};
use crate::limit::Measure;

/// Numbers of a column. Times are seconds since 1970 or since midnight.
#[derive(Debug, Clone, Default)]
pub(crate) struct Numbers {
    pub(crate) count: u64,
    /// The sum in the column's own units, while 128 bits hold it.
    whole: Option<i128>,
    sum: ExactSum,
    squares: ExactSum,
    pub(crate) extremes: Option<(f64, f64)>,
}

/// Sums of two columns.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pair {
    count: u64,
    sums: [ExactSum; 2],
    squares: [ExactSum; 2],
    products: ExactSum,
}

/// A whole number of a column's units as a number, times in seconds.
pub(super) fn of_whole(value: i128, measure: Measure) -> f64 {
    const SECOND: i128 = 1_000_000_000;
    match measure {
        Measure::Exact(scale) if scale > 0 => value as f64 / 10f64.powi(scale.into()),
        Measure::Exact(scale) => value as f64 * 10f64.powi((-scale).into()),
        Measure::Instant(nanos) | Measure::TimeOfDay(nanos) if nanos < SECOND => {
            value as f64 / (SECOND / nanos) as f64
        }
        Measure::Instant(nanos) | Measure::TimeOfDay(nanos) => {
            value as f64 * (nanos / SECOND) as f64
        }
        Measure::Double | Measure::Single => value as f64,
    }
}

/// The values of a column of numbers or times; nothing where one is null.
fn numbers(array: &ArrayRef) -> Vec<Option<f64>> {
    let nulls = array.logical_nulls();
    let valid = |row: usize| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
    let Some(measure) = Measure::of(array.data_type()) else { return vec![None; array.len()] };
    with_whole!(*array, whole => {
        let value = |row: usize| valid(row).then(|| of_whole(wide(whole.value(row)), measure));
        return (0..whole.len()).map(value).collect();
    }, _ => {});
    match array.data_type() {
        DataType::Float64 => array.as_primitive::<Float64Type>().iter().collect(),
        DataType::Float32 => {
            array.as_primitive::<Float32Type>().iter().map(|value| value.map(f64::from)).collect()
        }
        _ => vec![None; array.len()],
    }
}

impl Numbers {
    pub(super) fn of(array: &ArrayRef) -> Self {
        let mut all = Self { whole: Some(0), ..Self::default() };
        for value in numbers(array).into_iter().flatten() {
            all.count += 1;
            all.sum.add(value);
            all.squares.add_product(value, value);
            let (least, most) = all.extremes.unwrap_or((value, value));
            all.extremes = Some((least.min(value), most.max(value)));
        }
        let nulls = array.logical_nulls();
        with_whole!(*array, whole => {
            let valid = |row: &usize| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(*row));
            let mut values = (0..whole.len()).filter(valid).map(|row| wide(whole.value(row)));
            all.whole = values.try_fold(0i128, i128::checked_add);
        }, _ => {});
        all
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.whole = match (self.count, self.whole, other.whole) {
            (0, _, theirs) => theirs,
            (_, Some(mine), Some(theirs)) => mine.checked_add(theirs),
            _ => None,
        };
        self.count += other.count;
        self.sum.merge(&other.sum);
        self.squares.merge(&other.squares);
        self.extremes = match (self.extremes, other.extremes) {
            (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
            (a, b) => a.or(b),
        };
    }

    /// The sum of a column of this type.
    pub(crate) fn sum(&self, data_type: &DataType) -> f64 {
        match (Measure::of(data_type), self.whole) {
            (Some(measure @ Measure::Exact(_)), Some(whole)) => of_whole(whole, measure),
            _ => self.sum.rounded(),
        }
    }

    pub(crate) fn mean(&self, data_type: &DataType) -> Option<f64> {
        (self.count > 0).then(|| self.sum(data_type) / self.count as f64)
    }

    /// Of the population.
    pub(crate) fn standard_deviation(&self) -> Option<f64> {
        let n = self.count as f64;
        let sum = self.sum.double();
        let squares = self.squares.double().less_product(sum, sum, n);
        (self.count > 0).then(|| (squares / n).max(0.0).sqrt())
    }
}

impl Pair {
    pub(super) fn of(a: &ArrayRef, b: &ArrayRef) -> Self {
        let mut all = Self::default();
        for (a, b) in numbers(a).into_iter().zip(numbers(b)) {
            let (Some(a), Some(b)) = (a, b) else { continue };
            all.count += 1;
            for (i, value) in [a, b].into_iter().enumerate() {
                all.sums[i].add(value);
                all.squares[i].add_product(value, value);
            }
            all.products.add_product(a, b);
        }
        all
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.count += other.count;
        for i in 0..2 {
            self.sums[i].merge(&other.sums[i]);
            self.squares[i].merge(&other.squares[i]);
        }
        self.products.merge(&other.products);
    }

    /// None where one of them does not vary.
    pub(crate) fn correlation(&self) -> Option<f64> {
        let n = self.count as f64;
        let [a, b] = [0, 1].map(|i| self.sums[i].double());
        let together = self.products.double().less_product(a, b, n);
        let spread = |i: usize, sum| self.squares[i].double().less_product(sum, sum, n);
        let (of_a, of_b) = (spread(0, a), spread(1, b));
        (self.count > 0 && of_a > 0.0 && of_b > 0.0)
            .then(|| (together / (of_a.sqrt() * of_b.sqrt())).clamp(-1.0, 1.0))
    }
}
