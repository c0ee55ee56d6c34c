//! Window functions over the rows of partitions in their order.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::sync::Arc;

use arrow_arith::aggregate::sum;
use arrow_array::builder::{Int64Builder, PrimitiveBuilder, UInt32Builder};
use arrow_array::cast::AsArray;
use arrow_array::types::{ArrowPrimitiveType, Decimal128Type, Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef, PrimitiveArray, UInt32Array, UInt64Array};
use arrow_ord::ord::{DynComparator, make_comparator};
use arrow_schema::{DataType, SortOptions};
use arrow_select::take::take;
use datafusion_common::{Result, exec_datafusion_err, internal_err};

use super::frame::{Frame, Running, run};
use super::plan::{Function, What};
use crate::relational::sum::fit;

/// Partitions one behind the other.
pub(super) struct Partitions<'a> {
    /// The numbers of their rows, in order.
    pub(super) rows: &'a [u32],
    /// Where each ends in `rows`.
    pub(super) ends: &'a [usize],
    /// For each row the end of those that are equal to it in the order, within its partition;
    /// nothing if no function asks.
    pub(super) peers: &'a [u32],
}

impl<'a> Partitions<'a> {
    /// The rows of each, and the ends of what is equal.
    fn each(&self) -> impl Iterator<Item = (&'a [u32], &'a [u32])> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let (rows, peers) = (self.rows, self.peers);
        starts.zip(self.ends).map(move |(start, end)| {
            (&rows[start..*end], peers.get(start..*end).unwrap_or_default())
        })
    }
}

/// What a function gives for each row of partitions: values, or, where [`Function::gives_rows`],
/// the numbers of the rows that have them.
pub(super) fn computed(
    function: &Function,
    of: Option<&ArrayRef>,
    partitions: &Partitions<'_>,
) -> Result<ArrayRef> {
    let Function { what, frame, output, .. } = function;
    let Some(of) = of else {
        return Ok(match what {
            What::Count => running(partitions, *frame, Count::new(None))?,
            _ => Arc::new(ranks(*what, partitions)),
        });
    };
    Ok(match (what, of.data_type()) {
        (What::Count, _) => running(partitions, *frame, Count::new(Some(of)))?,
        (What::Least, _) => running(partitions, *frame, Extreme::new(of, Ordering::Less)?)?,
        (What::Greatest, _) => running(partitions, *frame, Extreme::new(of, Ordering::Greater)?)?,
        (What::Sum, DataType::Int64) => {
            let sum = |sum, _| fit(sum, output).map(|sum| sum as i64);
            running(partitions, *frame, Total::new(of.as_primitive::<Int64Type>(), output, sum))?
        }
        (What::Sum, DataType::Decimal128(..)) => {
            let of = of.as_primitive::<Decimal128Type>();
            let sum = |sum, _| fit(sum, output);
            running(partitions, *frame, Total::new(of, output, sum))?
        }
        (What::Mean, DataType::Decimal128(_, scale)) => {
            let of = of.as_primitive::<Decimal128Type>();
            running(partitions, *frame, Total::new(of, output, mean(*scale, output)?))?
        }
        (What::Sum | What::Mean, DataType::Float64) => {
            let of = of.as_primitive::<Float64Type>();
            running(partitions, *frame, Doubles::new(of, *what == What::Mean))?
        }
        (What::Shift(_) | What::First | What::Last, _) => Arc::new(places(function, partitions)),
        (what, data_type) => return internal_err!("no {what:?} of {data_type}"),
    })
}

impl Function {
    /// Whether it says which row has the value.
    pub(super) fn gives_rows(&self) -> bool {
        use What::{First, Greatest, Last, Least, Shift};
        matches!(self.what, Shift(_) | First | Last | Least | Greatest)
    }

    /// Whether it asks which rows are equal in the order.
    pub(super) fn asks_for_peers(&self) -> bool {
        matches!(self.what, What::Rank | What::DenseRank) || self.frame == Frame::Peers
    }
}

fn ranks(what: What, partitions: &Partitions<'_>) -> UInt64Array {
    let mut ranks = Vec::with_capacity(partitions.rows.len());
    for (rows, ends) in partitions.each() {
        if what == What::RowNumber {
            ranks.extend(1..=rows.len() as u64);
            continue;
        }
        let (mut start, mut dense) = (0, 0);
        for row in 0..rows.len() {
            if row == 0 || ends[row - 1] as usize == row {
                (start, dense) = (row, dense + 1);
            }
            ranks.push(if what == What::Rank { start as u64 + 1 } else { dense });
        }
    }
    ranks.into()
}

/// The rows that `lag`, `lead`, `first` and `last` name.
fn places(Function { what, frame, .. }: &Function, partitions: &Partitions<'_>) -> UInt32Array {
    let mut places = UInt32Builder::with_capacity(partitions.rows.len());
    for (rows, ends) in partitions.each() {
        for row in 0..rows.len() {
            let place = match what {
                What::Shift(offset) => {
                    (row as i64).checked_sub(*offset).and_then(|place| usize::try_from(place).ok())
                }
                What::First => {
                    let range = frame.range(row, rows.len(), ends);
                    range.clone().next()
                }
                _ => frame.range(row, rows.len(), ends).next_back(),
            };
            places.append_option(place.and_then(|place| rows.get(place)).copied());
        }
    }
    places.finish()
}

fn running(
    partitions: &Partitions<'_>,
    frame: Frame,
    mut running: impl Running + Done,
) -> Result<ArrayRef> {
    running.reserve(partitions.rows.len());
    for (rows, ends) in partitions.each() {
        run(frame, rows, ends, &mut running)?;
    }
    Ok(running.done())
}

/// Values that are complete.
trait Done {
    fn reserve(&mut self, rows: usize);
    fn done(self) -> ArrayRef;
}

/// How many values are not null.
struct Count<'a> {
    of: Option<&'a ArrayRef>,
    count: i64,
    counts: Int64Builder,
}

impl<'a> Count<'a> {
    fn new(of: Option<&'a ArrayRef>) -> Self {
        let of = of.filter(|of| of.logical_null_count() > 0);
        Self { of, count: 0, counts: Int64Builder::new() }
    }

    fn valid(&self, rows: &[u32]) -> i64 {
        match self.of {
            Some(of) => rows.iter().filter(|row| of.is_valid(**row as usize)).count() as i64,
            None => rows.len() as i64,
        }
    }
}

impl Running for Count<'_> {
    fn begin(&mut self) {
        self.count = 0;
    }

    fn add(&mut self, rows: &[u32]) -> Result<()> {
        self.count += self.valid(rows);
        Ok(())
    }

    fn remove(&mut self, rows: &[u32]) -> Result<()> {
        self.count -= self.valid(rows);
        Ok(())
    }

    fn put(&mut self, times: usize) -> Result<()> {
        self.counts.append_value_n(self.count, times);
        Ok(())
    }

    fn put_none(&mut self) {
        self.counts.append_value(0);
    }
}

impl Done for Count<'_> {
    fn reserve(&mut self, rows: usize) {
        self.counts = Int64Builder::with_capacity(rows);
    }

    fn done(mut self) -> ArrayRef {
        Arc::new(self.counts.finish())
    }
}

/// The sum of ints or decimals, which does not wrap, and what is made of it and the number of values.
struct Total<'a, T: ArrowPrimitiveType, M> {
    of: &'a PrimitiveArray<T>,
    output: &'a DataType,
    made: M,
    total: i128,
    count: u64,
    results: PrimitiveBuilder<T>,
}

impl<'a, T: ArrowPrimitiveType<Native: Into<i128>>, M> Total<'a, T, M> {
    fn new(of: &'a PrimitiveArray<T>, output: &'a DataType, made: M) -> Self {
        Self { of, output, made, total: 0, count: 0, results: PrimitiveBuilder::new() }
    }

    /// Takes the values of rows that have one in, or out.
    #[inline]
    fn fold(&mut self, rows: &[u32], fold: impl Fn(i128, i128) -> Option<i128>) -> Result<u64> {
        let mut count = 0;
        for row in rows.iter().map(|row| *row as usize).filter(|row| self.of.is_valid(*row)) {
            let total = fold(self.total, self.of.value(row).into());
            self.total = total.ok_or_else(|| self.out_of_range())?;
            count += 1;
        }
        Ok(count)
    }

    fn out_of_range(&self) -> datafusion_common::DataFusionError {
        let found = fit(i128::MAX, self.output).err();
        found.unwrap_or_else(|| exec_datafusion_err!("a sum does not fit its type"))
    }
}

impl<T, M> Running for Total<'_, T, M>
where
    T: ArrowPrimitiveType<Native: Into<i128>>,
    M: Fn(i128, u64) -> Result<T::Native>,
{
    fn begin(&mut self) {
        (self.total, self.count) = (0, 0);
    }

    fn add(&mut self, rows: &[u32]) -> Result<()> {
        self.count += self.fold(rows, i128::checked_add)?;
        Ok(())
    }

    fn remove(&mut self, rows: &[u32]) -> Result<()> {
        self.count -= self.fold(rows, i128::checked_sub)?;
        Ok(())
    }

    fn put(&mut self, times: usize) -> Result<()> {
        match self.count {
            0 => self.results.append_nulls(times),
            count => self.results.append_value_n((self.made)(self.total, count)?, times),
        }
        Ok(())
    }

    fn put_none(&mut self) {
        self.results.append_null();
    }
}

impl<T: ArrowPrimitiveType, M> Done for Total<'_, T, M> {
    fn reserve(&mut self, rows: usize) {
        let results = PrimitiveBuilder::with_capacity(rows);
        self.results = results.with_data_type(self.output.clone());
    }

    fn done(mut self) -> ArrayRef {
        Arc::new(self.results.finish())
    }
}

/// The mean of decimals of this scale, in the digits of the result, cut off behind them.
fn mean(scale: i8, output: &DataType) -> Result<impl Fn(i128, u64) -> Result<i128> + use<>> {
    let DataType::Decimal128(precision, to) = output else {
        return internal_err!("a mean of decimals in {output}");
    };
    let more = 10i128.pow(u32::from(to.abs_diff(scale)));
    let limit = 10u128.pow(u32::from(*precision));
    Ok(move |total: i128, count: u64| {
        let mean = total.checked_mul(more).map(|total| total / i128::from(count));
        mean.filter(|mean| mean.unsigned_abs() < limit)
            .ok_or_else(|| exec_datafusion_err!("Arithmetic Overflow in AvgAccumulator"))
    })
}

/// The sum or the mean of doubles.
struct Doubles<'a> {
    of: &'a PrimitiveArray<Float64Type>,
    mean: bool,
    total: f64,
    count: usize,
    results: PrimitiveBuilder<Float64Type>,
}

impl<'a> Doubles<'a> {
    fn new(of: &'a PrimitiveArray<Float64Type>, mean: bool) -> Self {
        Self { of, mean, total: 0.0, count: 0, results: PrimitiveBuilder::new() }
    }

    /// The sum of some rows, added up as Arrow does, and how many have a value.
    fn sum(&self, rows: &[u32]) -> Result<(Option<f64>, usize)> {
        match rows {
            [] => Ok((None, 0)),
            [row] if self.of.is_null(*row as usize) => Ok((None, 0)),
            [row] => Ok((Some(0.0 + self.of.value(*row as usize)), 1)),
            _ => {
                let rows = UInt32Array::from(rows.to_vec());
                let values = take(self.of, &rows, None)?;
                let count = values.len() - values.null_count();
                Ok((sum(values.as_primitive::<Float64Type>()), count))
            }
        }
    }
}

impl Running for Doubles<'_> {
    fn begin(&mut self) {
        (self.total, self.count) = (0.0, 0);
    }

    fn add(&mut self, rows: &[u32]) -> Result<()> {
        let (sum, count) = self.sum(rows)?;
        self.count += count;
        if let Some(sum) = sum {
            self.total += sum;
        }
        Ok(())
    }

    fn remove(&mut self, rows: &[u32]) -> Result<()> {
        let (sum, count) = self.sum(rows)?;
        self.count -= count;
        if let Some(sum) = sum {
            self.total -= sum;
        }
        Ok(())
    }

    fn put(&mut self, times: usize) -> Result<()> {
        match self.count {
            0 => self.results.append_nulls(times),
            count if self.mean => self.results.append_value_n(self.total / count as f64, times),
            _ => self.results.append_value_n(self.total, times),
        }
        Ok(())
    }

    fn put_none(&mut self) {
        self.results.append_null();
    }
}

impl Done for Doubles<'_> {
    fn reserve(&mut self, rows: usize) {
        self.results = PrimitiveBuilder::with_capacity(rows);
    }

    fn done(mut self) -> ArrayRef {
        Arc::new(self.results.finish())
    }
}

/// The row with the least or the greatest value.
struct Extreme<'a> {
    of: &'a ArrayRef,
    compare: DynComparator,
    /// How a value compares with those that it is wanted before.
    wanted: Ordering,
    /// Rows that are or may become it, each with its place among those that have a value.
    candidates: VecDeque<(usize, u32)>,
    added: usize,
    removed: usize,
    rows: UInt32Builder,
}

impl<'a> Extreme<'a> {
    fn new(of: &'a ArrayRef, wanted: Ordering) -> Result<Self> {
        let compare = make_comparator(of, of, SortOptions::default())?;
        let (candidates, rows) = (VecDeque::new(), UInt32Builder::new());
        Ok(Self { of, compare, wanted, candidates, added: 0, removed: 0, rows })
    }
}

impl Running for Extreme<'_> {
    fn begin(&mut self) {
        self.candidates.clear();
        (self.added, self.removed) = (0, 0);
    }

    fn add(&mut self, rows: &[u32]) -> Result<()> {
        for row in rows.iter().copied().filter(|row| self.of.is_valid(*row as usize)) {
            let stays = |last: u32| (self.compare)(last as usize, row as usize) == self.wanted;
            while self.candidates.back().is_some_and(|(_, last)| !stays(*last)) {
                self.candidates.pop_back();
            }
            self.candidates.push_back((self.added, row));
            self.added += 1;
        }
        Ok(())
    }

    fn remove(&mut self, rows: &[u32]) -> Result<()> {
        self.removed += rows.iter().filter(|row| self.of.is_valid(**row as usize)).count();
        while self.candidates.front().is_some_and(|(place, _)| *place < self.removed) {
            self.candidates.pop_front();
        }
        Ok(())
    }

    fn put(&mut self, times: usize) -> Result<()> {
        match self.candidates.front() {
            Some((_, row)) => self.rows.append_value_n(*row, times),
            None => self.rows.append_nulls(times),
        }
        Ok(())
    }

    fn put_none(&mut self) {
        self.rows.append_null();
    }
}

impl Done for Extreme<'_> {
    fn reserve(&mut self, rows: usize) {
        self.rows = UInt32Builder::with_capacity(rows);
    }

    fn done(mut self) -> ArrayRef {
        Arc::new(self.rows.finish())
    }
}
