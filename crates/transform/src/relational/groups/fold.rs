//! What is known of a group: numbers that become one another's sum, in any order.
//!
//! A group's numbers stand in 64-bit words, the same way for one record as for a million, so that
//! all there is to do is to merge two of them. Nothing depends on the order of merging: doubles are
//! summed exactly, other numbers in as many bits as they can need.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float64Type, Int64Type, Time64MicrosecondType,
    TimestampMicrosecondType,
};
use arrow_array::{
    Array, ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array,
    Time64MicrosecondArray, TimestampMicrosecondArray,
};
use arrow_buffer::{NullBuffer, ScalarBuffer};
use arrow_schema::{DataType, TimeUnit};
use datafusion_common::{Result, internal_err};
use gristmill_core::exact::{ExactSum, ShortSum};

use super::table::Groups;
use crate::relational::sum::fit;

/// One number of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Fold {
    /// How many values there are.
    Count,
    /// The sum of doubles, as a [`ShortSum`].
    Double,
    /// The sum of ints or decimals, in 192 bits.
    Whole,
    /// The least or the greatest value of 64 bits.
    Extreme(Side),
    /// The same of decimals.
    WideExtreme(Side),
}

/// Which value of two is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Side {
    Least,
    Greatest,
}

impl Side {
    fn keeps<T: Ord>(self, old: T, new: T) -> bool {
        match self {
            Side::Least => old <= new,
            Side::Greatest => old >= new,
        }
    }
}

impl Fold {
    fn words(self) -> usize {
        match self {
            Fold::Count | Fold::Extreme(_) => 1,
            Fold::Double | Fold::WideExtreme(_) => 2,
            Fold::Whole => 3,
        }
    }
}

/// The numbers of every group: which, and where they stand. The first word has a bit for each of
/// them that has a value.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    folds: Vec<(Fold, usize)>,
    /// Words of a group.
    pub(super) width: usize,
}

/// Sums that two numbers do not hold, by group and by the place of the sum in its words.
pub(super) type Long = HashMap<(u32, u32), Box<ExactSum>>;

/// Folds that there may be: each has a bit.
pub(super) const MOST: usize = 64;

impl Layout {
    pub(super) fn new(folds: impl IntoIterator<Item = Fold>) -> Self {
        let mut width = 1;
        let place = |fold: Fold| {
            let at = width;
            width += fold.words();
            (fold, at)
        };
        let folds = folds.into_iter().map(place).collect();
        Self { folds, width }
    }

    /// Merges another group into one.
    #[inline]
    pub(super) fn merge(
        &self,
        (into, group, long): (&mut [u64], u32, &mut Long),
        (from, other, other_long): (&[u64], u32, &Long),
    ) {
        let (known, new) = (into[0], from[0]);
        for (bit, &(fold, at)) in self.folds.iter().enumerate() {
            if new >> bit & 1 == 0 {
                continue;
            }
            let first = known >> bit & 1 == 0;
            match fold {
                Fold::Count => into[at] += from[at],
                Fold::Double => {
                    add(&mut into[at..at + 2], short(&from[at..]), (group, at), long);
                    let more = match other_long.is_empty() {
                        true => None,
                        false => other_long.get(&(other, at as u32)),
                    };
                    if let Some(more) = more {
                        lengthen(&mut into[at..at + 2], (group, at), long).merge(more);
                    }
                }
                Fold::Whole => add_whole(&mut into[at..at + 3], low(&from[at..]), from[at + 2]),
                Fold::Extreme(side) => {
                    if first || !side.keeps(into[at] as i64, from[at] as i64) {
                        into[at] = from[at];
                    }
                }
                Fold::WideExtreme(side) => {
                    let (old, new) = (low(&into[at..]) as i128, low(&from[at..]) as i128);
                    if first || !side.keeps(old, new) {
                        into[at..at + 2].copy_from_slice(&from[at..at + 2]);
                    }
                }
            }
        }
        into[0] = known | new;
    }

    /// What there is to fold of records: `folded` has the values of each fold, none where every
    /// record counts, and which records it looks at.
    pub(super) fn records(&self, folded: &[Folded]) -> Result<Vec<Record>> {
        let folds = self.folds.iter().zip(folded).enumerate();
        let record = folds.map(|(bit, (&(fold, at), folded))| {
            let values = match (fold, &folded.values) {
                (Fold::Count, _) => Values::None,
                (Fold::Double, Some(values)) => {
                    Values::Doubles(values.as_primitive::<Float64Type>().values().clone())
                }
                (Fold::Whole, Some(values)) if values.data_type() == &DataType::Int64 => {
                    Values::Ints(values.as_primitive::<Int64Type>().values().clone())
                }
                (Fold::Whole, Some(values)) => {
                    Values::Decimals(values.as_primitive::<Decimal128Type>().values().clone())
                }
                (Fold::Extreme(side), Some(values)) => Values::Extremes(ordered(values)?, side),
                (Fold::WideExtreme(side), Some(values)) => {
                    let values = values.as_primitive::<Decimal128Type>().values();
                    Values::WideExtremes(values.clone(), side)
                }
                (_, None) => return internal_err!("a fold without values"),
            };
            Ok(Record { bit: 1 << bit, at, values, valid: folded.valid() })
        });
        record.collect()
    }

    /// Adds the long sums of a group to those of others, under another number.
    pub(super) fn long(&self, long: &Long, group: u32, number: u32, others: &mut Long) {
        for (fold, at) in &self.folds {
            let sum = match fold {
                Fold::Double => long.get(&(group, *at as u32)),
                _ => None,
            };
            others.extend(sum.map(|sum| ((number, *at as u32), sum.clone())));
        }
    }

    /// Hands over the words of a group, in as many parts as it takes for its long sums.
    pub(super) fn parts(
        &self,
        group: u32,
        words: &[u64],
        long: &Long,
        mut take: impl FnMut(&[u64]),
    ) {
        take(words);
        if long.is_empty() {
            return;
        }
        for (bit, (fold, at)) in self.folds.iter().enumerate() {
            let sum = match fold {
                Fold::Double => long.get(&(group, *at as u32)),
                _ => None,
            };
            for part in sum.into_iter().flat_map(|sum| sum.parts()) {
                let mut more = vec![0; self.width];
                more[0] = 1 << bit;
                more[*at] = part.to_bits();
                take(&more);
            }
        }
    }

    /// The column of one fold. `words` are those of all groups, `long` the sums that those do not
    /// hold.
    pub(super) fn column(
        &self,
        place: usize,
        words: &[u64],
        long: &Long,
        data_type: &DataType,
    ) -> Result<ArrayRef> {
        let (fold, at) = self.folds[place];
        let groups = || words.chunks_exact(self.width);
        let some = || groups().map(|group| (group[0] >> place & 1 == 1).then_some(group));
        Ok(match fold {
            Fold::Count => {
                Arc::new(Int64Array::from_iter_values(groups().map(|group| group[at] as i64)))
            }
            Fold::Double => {
                let sums = some().enumerate().map(|(number, group)| {
                    group.map(|group| match long.get(&(number as u32, at as u32)) {
                        Some(sum) => sum.rounded(),
                        None => short(&group[at..]).rounded(),
                    })
                });
                Arc::new(sums.collect::<Float64Array>())
            }
            Fold::Whole => {
                let sums = some().map(|group| {
                    group.map(|group| {
                        let sum = low(&group[at..]) as i128;
                        let held = (sum >> 127) as u64 == group[at + 2];
                        fit(if held { sum } else { i128::MAX }, data_type)
                    })
                });
                let sums = sums.map(Option::transpose);
                whole(sums.collect::<Result<Vec<_>>>()?.into_iter(), data_type)?
            }
            Fold::Extreme(_) => {
                let values = some().map(|group| group.map(|group| group[at] as i64));
                of_ordered(values, data_type)?
            }
            Fold::WideExtreme(_) => {
                whole(some().map(|group| group.map(|group| low(&group[at..]) as i128)), data_type)?
            }
        })
    }
}

/// One fold of the records of a batch.
pub(super) struct Record {
    /// The fold's bit in a group's first word, and the place of its words.
    bit: u64,
    at: usize,
    values: Values,
    /// The records that it looks at, if not all.
    valid: Option<NullBuffer>,
}

enum Values {
    None,
    Doubles(ScalarBuffer<f64>),
    Ints(ScalarBuffer<i64>),
    Decimals(ScalarBuffer<i128>),
    Extremes(Vec<i64>, Side),
    WideExtremes(ScalarBuffer<i128>, Side),
}

impl Record {
    /// Folds the values of these rows into their groups.
    pub(super) fn fold(&self, rows: &[u32], groups: &[u32], all: &mut Groups, long: &mut Long) {
        let at = self.at;
        match &self.values {
            Values::None => self.each(rows, groups, all, |words, _, _| words[at] += 1),
            Values::Doubles(values) => self.each(rows, groups, all, |words, row, group| {
                let value = ShortSum { high: values[row], low: 0.0 };
                add(&mut words[at..at + 2], value, (group, at), long);
            }),
            Values::Ints(values) => self.each(rows, groups, all, |words, row, _| {
                let value = i128::from(values[row]);
                add_whole(&mut words[at..at + 3], value as u128, (value >> 127) as u64);
            }),
            Values::Decimals(values) => self.each(rows, groups, all, |words, row, _| {
                let value = values[row];
                add_whole(&mut words[at..at + 3], value as u128, (value >> 127) as u64);
            }),
            Values::Extremes(values, side) => self.each(rows, groups, all, |words, row, _| {
                let known = words[0] & self.bit != 0;
                if !known || !side.keeps(words[at] as i64, values[row]) {
                    words[at] = values[row] as u64;
                }
            }),
            Values::WideExtremes(values, side) => self.each(rows, groups, all, |words, row, _| {
                let (known, new) = (words[0] & self.bit != 0, values[row]);
                if !known || !side.keeps(low(&words[at..]) as i128, new) {
                    words[at..at + 2].copy_from_slice(&[new as u64, (new >> 64) as u64]);
                }
            }),
        }
    }

    #[inline]
    fn each(
        &self,
        rows: &[u32],
        groups: &[u32],
        all: &mut Groups,
        mut fold: impl FnMut(&mut [u64], usize, u32),
    ) {
        let both = rows.iter().zip(groups);
        let mut fold = |row: u32, group: u32| {
            let words = all.words(group);
            fold(words, row as usize, group);
            words[0] |= self.bit;
        };
        match &self.valid {
            None => both.for_each(|(row, group)| fold(*row, *group)),
            Some(valid) => both
                .filter(|(row, _)| valid.is_valid(**row as usize))
                .for_each(|(row, group)| fold(*row, *group)),
        }
    }
}

/// The values of a fold.
pub(super) struct Folded {
    /// None where records count whatever is in them.
    pub(super) values: Option<ArrayRef>,
    /// The records that it looks at, if not all.
    pub(super) of: Option<BooleanArray>,
}

impl Folded {
    fn valid(&self) -> Option<NullBuffer> {
        let of = self.of.as_ref().map(|of| match of.nulls() {
            Some(nulls) => NullBuffer::new(of.values() & nulls.inner()),
            None => NullBuffer::new(of.values().clone()),
        });
        let values = self.values.as_ref().and_then(|values| values.logical_nulls());
        NullBuffer::union(of.as_ref(), values.as_ref())
    }
}

fn low(words: &[u64]) -> u128 {
    u128::from(words[0]) | u128::from(words[1]) << 64
}

fn short(words: &[u64]) -> ShortSum {
    ShortSum { high: f64::from_bits(words[0]), low: f64::from_bits(words[1]) }
}

#[inline]
fn add(into: &mut [u64], more: ShortSum, (group, at): (u32, usize), long: &mut Long) {
    if long.is_empty() || !long.contains_key(&(group, at as u32)) {
        let both = short(into).plus(more.high).and_then(|sum| match more.low {
            0.0 => Some(sum),
            low => sum.plus(low),
        });
        if let Some(ShortSum { high, low }) = both {
            into[0] = high.to_bits();
            into[1] = low.to_bits();
            return;
        }
    }
    let long = lengthen(into, (group, at), long);
    long.add(more.high);
    long.add(more.low);
}

/// The long sum of a group that had a short one.
#[cold]
fn lengthen<'a>(
    into: &mut [u64],
    (group, at): (u32, usize),
    long: &'a mut Long,
) -> &'a mut ExactSum {
    let long = long.entry((group, at as u32)).or_default();
    let sum = short(into);
    long.add(sum.high);
    long.add(sum.low);
    into.fill(0);
    long
}

/// Adds 192 bits: the lower 128, and the higher 64.
#[inline]
fn add_whole(into: &mut [u64], more: u128, high: u64) {
    let (sum, carry) = low(into).overflowing_add(more);
    let high = into[2].wrapping_add(high).wrapping_add(carry.into());
    into.copy_from_slice(&[sum as u64, (sum >> 64) as u64, high]);
}

/// Values in 64 bits whose order as ints is theirs.
fn ordered(values: &ArrayRef) -> Result<Vec<i64>> {
    Ok(match values.data_type() {
        DataType::Int64 => values.as_primitive::<Int64Type>().values().to_vec(),
        DataType::Date32 => {
            let days = values.as_primitive::<Date32Type>().values();
            days.iter().map(|day| i64::from(*day)).collect()
        }
        DataType::Time64(TimeUnit::Microsecond) => {
            values.as_primitive::<Time64MicrosecondType>().values().to_vec()
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            values.as_primitive::<TimestampMicrosecondType>().values().to_vec()
        }
        DataType::Float64 => {
            let values = values.as_primitive::<Float64Type>().values();
            values.iter().map(|value| turned(value.to_bits() as i64)).collect()
        }
        other => return internal_err!("no order of {other} in 64 bits"),
    })
}

/// The bits of a double as an int of the same order, and back (`f64::total_cmp`).
fn turned(bits: i64) -> i64 {
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

fn of_ordered(values: impl Iterator<Item = Option<i64>>, data_type: &DataType) -> Result<ArrayRef> {
    Ok(match data_type {
        DataType::Int64 => Arc::new(values.collect::<Int64Array>()),
        DataType::Date32 => {
            let days = values.map(|value| value.map(|value| value as i32));
            Arc::new(days.collect::<Date32Array>())
        }
        DataType::Time64(_) => Arc::new(values.collect::<Time64MicrosecondArray>()),
        DataType::Timestamp(_, zone) => {
            let times: TimestampMicrosecondArray = values.collect();
            Arc::new(times.with_timezone_opt(zone.clone()))
        }
        DataType::Float64 => {
            let values = values.map(|v| v.map(|v| f64::from_bits(turned(v) as u64)));
            Arc::new(values.collect::<Float64Array>())
        }
        other => return internal_err!("no {other} in 64 bits"),
    })
}

fn whole(values: impl Iterator<Item = Option<i128>>, data_type: &DataType) -> Result<ArrayRef> {
    Ok(match data_type {
        DataType::Decimal128(precision, scale) => {
            let values: Decimal128Array = values.collect();
            Arc::new(values.with_precision_and_scale(*precision, *scale)?)
        }
        _ => Arc::new(values.map(|value| value.map(|v| v as i64)).collect::<Int64Array>()),
    })
}

/// How a value of this type is the least or the greatest, if it can be told here.
pub(super) fn extreme(side: Side, data_type: &DataType) -> Option<Fold> {
    use DataType::{Date32, Decimal128, Float64, Int64, Time64, Timestamp};
    match data_type {
        Int64 | Date32 | Float64 => Some(Fold::Extreme(side)),
        Time64(TimeUnit::Microsecond) | Timestamp(TimeUnit::Microsecond, _) => {
            Some(Fold::Extreme(side))
        }
        Decimal128(..) => Some(Fold::WideExtreme(side)),
        _ => None,
    }
}
