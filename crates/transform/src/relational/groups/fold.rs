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
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, TimeUnit};
use datafusion_common::{Result, internal_err};
use gristmill_core::exact::{ExactSum, ShortSum};

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

    /// Merges another group's words into those of the group of this number.
    #[inline]
    pub(super) fn merge(&self, into: &mut [u64], from: &[u64], group: u32, long: &mut Long) {
        let (known, new) = (into[0], from[0]);
        for (bit, &(fold, at)) in self.folds.iter().enumerate() {
            if new >> bit & 1 == 0 {
                continue;
            }
            let first = known >> bit & 1 == 0;
            match fold {
                Fold::Count => into[at] += from[at],
                Fold::Double => add(&mut into[at..at + 2], &from[at..at + 2], (group, at), long),
                Fold::Whole => {
                    let (low, high) = (low(&into[at..]), into[at + 2] as i64);
                    let (sum, carry) = low.overflowing_add(self::low(&from[at..]));
                    let high = high.wrapping_add(from[at + 2] as i64).wrapping_add(carry.into());
                    into[at..at + 3].copy_from_slice(&[
                        sum as u64,
                        (sum >> 64) as u64,
                        high as u64,
                    ]);
                }
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

    /// Whether every sum of doubles in these words is a short one: a value that is no number is not.
    pub(super) fn is_short(&self, words: &[u64]) -> bool {
        self.folds.iter().all(|&(fold, at)| match fold {
            Fold::Double => f64::from_bits(words[at]).is_finite(),
            _ => true,
        })
    }

    /// The words of records, one behind the other. `folded` has the values of each fold, none where
    /// every record counts, and which records it looks at.
    pub(super) fn of_records(&self, rows: usize, folded: &[Folded]) -> Result<Vec<u64>> {
        let mut words = vec![0; rows * self.width];
        for (bit, (&(fold, at), folded)) in self.folds.iter().zip(folded).enumerate() {
            let mut put = |row: usize, values: &[u64]| {
                let record = &mut words[row * self.width..];
                record[0] |= 1 << bit;
                record[at..at + values.len()].copy_from_slice(values);
            };
            let valid = folded.valid();
            let counts = |row: &usize| valid.as_ref().is_none_or(|valid| valid.is_valid(*row));
            let rows = (0..rows).filter(counts);
            match (fold, &folded.values) {
                (Fold::Count, _) => rows.for_each(|row| put(row, &[1])),
                (Fold::Double, Some(values)) => {
                    let values = values.as_primitive::<Float64Type>().values();
                    rows.for_each(|row| put(row, &[values[row].to_bits(), 0]));
                }
                (Fold::Whole, Some(values)) if values.data_type() == &DataType::Int64 => {
                    let values = values.as_primitive::<Int64Type>().values();
                    rows.for_each(|row| {
                        let sign = values[row] >> 63;
                        put(row, &[values[row] as u64, sign as u64, sign as u64]);
                    });
                }
                (Fold::Whole, Some(values)) => {
                    let values = values.as_primitive::<Decimal128Type>().values();
                    rows.for_each(|row| {
                        let value = values[row];
                        put(row, &[value as u64, (value >> 64) as u64, (value >> 127) as u64]);
                    });
                }
                (Fold::Extreme(_), Some(values)) => {
                    let values = ordered(values)?;
                    rows.for_each(|row| put(row, &[values[row] as u64]));
                }
                (Fold::WideExtreme(_), Some(values)) => {
                    let values = values.as_primitive::<Decimal128Type>().values();
                    rows.for_each(|row| {
                        put(row, &[values[row] as u64, (values[row] >> 64) as u64])
                    });
                }
                (_, None) => return internal_err!("a fold without values"),
            }
        }
        Ok(words)
    }

    /// The words that together are this sum, if it is a long one.
    pub(super) fn parts(&self, group: u32, words: &[u64], long: &Long) -> Option<Vec<Vec<u64>>> {
        let mut all: Option<Vec<Vec<u64>>> = None;
        for (bit, &(fold, at)) in self.folds.iter().enumerate() {
            let sum = match fold {
                Fold::Double => long.get(&(group, at as u32)),
                _ => None,
            };
            let Some(sum) = sum else { continue };
            let all = all.get_or_insert_with(|| vec![words.to_vec()]);
            all[0][at..at + 2].copy_from_slice(&[0, 0]);
            for part in sum.parts() {
                let mut more = vec![0; self.width];
                more[0] = 1 << bit;
                more[at] = part.to_bits();
                all.push(more);
            }
        }
        all
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
fn add(into: &mut [u64], from: &[u64], (group, at): (u32, usize), long: &mut Long) {
    let (sum, more) = (short(into), short(from));
    if long.is_empty() || !long.contains_key(&(group, at as u32)) {
        let both = sum.plus(more.high).and_then(|sum| match more.low {
            0.0 => Some(sum),
            low => sum.plus(low),
        });
        if let Some(ShortSum { high, low }) = both {
            into.copy_from_slice(&[high.to_bits(), low.to_bits()]);
            return;
        }
    }
    let long = long.entry((group, at as u32)).or_default();
    for part in [sum.high, sum.low, more.high, more.low] {
        long.add(part);
    }
    into.fill(0);
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
