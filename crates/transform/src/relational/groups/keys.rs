//! Keys as numbers in a few words.
//!
//! A key's columns stand side by side in 64-bit words: a number or a time as it is, in an order of
//! its own bits, a text as its number among the [texts](super::texts) of its column, and a bit for
//! each column that says null. So keys are short and all of one length, and two are the same if
//! their words are.

use std::sync::{Arc, PoisonError, RwLock};

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Int64Type, Time64MicrosecondType, TimestampMicrosecondType,
};
use arrow_array::{
    Array, ArrayRef, BooleanArray, Date32Array, Decimal128Array, Int64Array, StringViewArray,
    Time64MicrosecondArray, TimestampMicrosecondArray, UInt32Array,
};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, TimeUnit};
use arrow_select::take::take;
use datafusion_common::{Result, internal_err};

use super::slots;
use super::texts::{Texts, hashes};

/// The columns of a key, and where each stands in the words.
#[derive(Debug)]
pub(super) struct Keys {
    columns: Vec<Column>,
    /// Words of a key.
    pub(super) words: usize,
}

#[derive(Debug)]
struct Column {
    data_type: DataType,
    /// One bit: whether it is null. Nulls come last.
    null: Field,
    /// The value; of 128 bits, the higher half.
    value: Field,
    lower: Option<Field>,
    /// The place of its texts among those of all columns.
    texts: Option<usize>,
}

/// Bits of a key's words.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Field {
    word: usize,
    shift: u32,
    bits: u32,
}

impl Field {
    #[inline]
    pub(super) fn get(self, key: &[u64]) -> u64 {
        key[self.word] >> self.shift & (u64::MAX >> (64 - self.bits))
    }
}

/// A key's bits, the most important first, and whose texts they number.
pub(super) struct Part {
    pub(super) field: Field,
    pub(super) texts: Option<usize>,
}

/// Bits of a text's number, as many as [`slots`] has.
const TEXT: u32 = 24;
const SIGN: u64 = 1 << 63;

/// The keys of records.
pub(super) struct Codes {
    pub(super) words: Vec<u64>,
    pub(super) hashes: Vec<u64>,
}

/// The texts of each key column that has some.
pub(super) type AllTexts = Vec<RwLock<Texts>>;

impl Keys {
    /// Keys of columns of these types, if they can be keys here: doubles have zeros and values that
    /// are no number, which are best told apart in one place.
    pub(super) fn new<'a>(types: impl IntoIterator<Item = &'a DataType>) -> Option<Self> {
        use DataType::{Boolean, Date32, Decimal128, Int64, Time64, Timestamp, Utf8View};
        let mut places = Places::default();
        let mut texts = 0;
        let columns = types.into_iter().map(|data_type| {
            let (bits, lower) = match data_type {
                Boolean => (1, None),
                Date32 => (32, None),
                Int64 | Time64(TimeUnit::Microsecond) | Timestamp(TimeUnit::Microsecond, _) => {
                    (64, None)
                }
                Decimal128(..) => (64, Some(places.of(64))),
                Utf8View => (TEXT, None),
                _ => return None,
            };
            let number = (*data_type == Utf8View).then_some(texts);
            texts += usize::from(number.is_some());
            Some(Column {
                data_type: data_type.clone(),
                null: places.of(1),
                value: places.of(bits),
                lower,
                texts: number,
            })
        });
        let columns = columns.collect::<Option<Vec<_>>>()?;
        Some(Self { columns, words: places.free.len() })
    }

    /// No texts yet.
    pub(super) fn texts(&self) -> AllTexts {
        self.columns
            .iter()
            .filter(|column| column.texts.is_some())
            .map(|_| RwLock::default())
            .collect()
    }

    /// The keys of these columns, whose texts get numbers. Answers also by how many bytes the texts
    /// grew.
    pub(super) fn codes(
        &self,
        columns: &[ArrayRef],
        rows: usize,
        texts: &AllTexts,
    ) -> Result<(Codes, usize)> {
        let mut codes = vec![0; rows * self.words];
        let mut grown = 0;
        for (column, values) in self.columns.iter().zip(columns) {
            let nulls = values.logical_nulls();
            let nulls = nulls.as_ref().filter(|nulls| nulls.null_count() > 0);
            let mut into = Into { codes: &mut codes, words: self.words, nulls };
            if let Some(nulls) = nulls {
                let null = |row| u64::from(nulls.is_null(row));
                Into { nulls: None, ..into.again() }.put(column.null, (0..rows).map(null));
            }
            match (&column.data_type, column.texts.and_then(|place| texts.get(place))) {
                (_, Some(texts)) => {
                    let (numbers, more) = numbered(values.as_string_view(), texts);
                    grown += more;
                    into.put(column.value, numbers.into_iter().map(u64::from));
                }
                (DataType::Boolean, _) => {
                    let values = values.as_boolean().values();
                    into.put(column.value, values.iter().map(u64::from));
                }
                (DataType::Date32, _) => {
                    let days = values.as_primitive::<Date32Type>().values().iter();
                    into.put(column.value, days.map(|day| u64::from(*day as u32 ^ 1 << 31)));
                }
                (DataType::Decimal128(..), _) => {
                    let values = values.as_primitive::<Decimal128Type>().values();
                    let high = values.iter().map(|value| (value >> 64) as u64 ^ SIGN);
                    into.put(column.value, high);
                    let low = values.iter().map(|value| *value as u64);
                    into.put(column.lower.unwrap_or_default(), low);
                }
                _ => {
                    let values = in_64_bits(values)?;
                    into.put(column.value, values.iter().map(|value| *value as u64 ^ SIGN));
                }
            }
        }
        let hashes = match self.words {
            0 => vec![0; rows],
            words => codes.chunks_exact(words).map(hash).collect(),
        };
        Ok((Codes { words: codes, hashes }, grown))
    }

    /// The bits by which keys are ordered, as numbers.
    pub(super) fn parts(&self) -> impl Iterator<Item = Part> {
        self.columns.iter().flat_map(|column| {
            let of = |field, texts| Part { field, texts };
            let lower = column.lower.map(|lower| of(lower, None));
            [of(column.null, None), of(column.value, column.texts)].into_iter().chain(lower)
        })
    }

    /// Bytes of the texts of a key.
    pub(super) fn text_bytes(&self, key: &[u64], texts: &[StringViewArray]) -> usize {
        let texts = self.columns.iter().filter_map(|column| {
            let texts = &texts[column.texts.filter(|_| column.null.get(key) == 0)?];
            Some(texts.views()[column.value.get(key) as usize] as u32 as usize)
        });
        texts.sum()
    }

    /// The columns of keys.
    pub(super) fn columns<'a>(
        &self,
        keys: impl Iterator<Item = &'a [u64]> + Clone,
        texts: &[StringViewArray],
    ) -> Result<Vec<ArrayRef>> {
        self.columns.iter().map(|column| column.values(keys.clone(), texts)).collect()
    }
}

/// The hash of a key.
#[inline]
pub(super) fn hash(key: &[u64]) -> u64 {
    match key {
        // The same without a loop.
        [one] => slots::hash([*one]),
        [one, two] => slots::hash([*one, *two]),
        _ => slots::hash(key.iter().copied()),
    }
}

/// The numbers of texts, and by how many bytes those that are kept grew.
fn numbered(column: &StringViewArray, texts: &RwLock<Texts>) -> (Vec<u32>, usize) {
    let mut numbers = Vec::with_capacity(column.len());
    let hashes = hashes(column);
    let known = texts.read().unwrap_or_else(PoisonError::into_inner);
    let new = known.find(column, &hashes, &mut numbers);
    drop(known);
    if new.is_empty() {
        return (numbers, 0);
    }
    let mut texts = texts.write().unwrap_or_else(PoisonError::into_inner);
    let before = texts.bytes();
    texts.add(column, &hashes, &new, &mut numbers);
    (numbers, texts.bytes() - before)
}

/// The words of keys, to which values are added.
struct Into<'a> {
    codes: &'a mut [u64],
    words: usize,
    /// Rows whose values mean nothing.
    nulls: Option<&'a NullBuffer>,
}

impl Into<'_> {
    fn again(&mut self) -> Into<'_> {
        Into { codes: self.codes, words: self.words, nulls: self.nulls }
    }

    #[inline]
    fn put(&mut self, Field { word, shift, .. }: Field, values: impl Iterator<Item = u64>) {
        let codes = self.codes.chunks_exact_mut(self.words);
        match self.nulls {
            None => codes.zip(values).for_each(|(code, value)| code[word] |= value << shift),
            Some(nulls) => {
                for (row, (code, value)) in codes.zip(values).enumerate() {
                    if nulls.is_valid(row) {
                        code[word] |= value << shift;
                    }
                }
            }
        }
    }
}

/// Bits that are still free in each word.
#[derive(Default)]
struct Places {
    free: Vec<u32>,
}

impl Places {
    /// A place for so many bits, in the first word that has room.
    fn of(&mut self, bits: u32) -> Field {
        let word = self.free.iter().position(|free| *free >= bits).unwrap_or_else(|| {
            self.free.push(64);
            self.free.len() - 1
        });
        self.free[word] -= bits;
        Field { word, shift: self.free[word], bits }
    }
}

fn in_64_bits(values: &ArrayRef) -> Result<&[i64]> {
    Ok(match values.data_type() {
        DataType::Int64 => values.as_primitive::<Int64Type>().values(),
        DataType::Time64(TimeUnit::Microsecond) => {
            values.as_primitive::<Time64MicrosecondType>().values()
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            values.as_primitive::<TimestampMicrosecondType>().values()
        }
        other => return internal_err!("no key of {other}"),
    })
}

impl Column {
    fn values<'a>(
        &self,
        keys: impl Iterator<Item = &'a [u64]> + Clone,
        texts: &[StringViewArray],
    ) -> Result<ArrayRef> {
        let valid = |key: &[u64]| self.null.get(key) == 0;
        let some = keys.map(|key| valid(key).then(|| (self.value.get(key), key)));
        let long = some.clone().map(|some| some.map(|(value, _)| (value ^ SIGN) as i64));
        Ok(match (&self.data_type, self.texts) {
            (_, Some(place)) => {
                let rows = some.map(|some| some.map(|(number, _)| number as u32));
                take(&texts[place], &rows.collect::<UInt32Array>(), None)?
            }
            (DataType::Boolean, _) => {
                let values = some.map(|some| some.map(|(value, _)| value == 1));
                Arc::new(values.collect::<BooleanArray>())
            }
            (DataType::Date32, _) => {
                let days = some.map(|some| some.map(|(day, _)| (day as u32 ^ 1 << 31) as i32));
                Arc::new(days.collect::<Date32Array>())
            }
            (DataType::Decimal128(precision, scale), _) => {
                let lower = self.lower.unwrap_or_default();
                let wide = some.map(|some| {
                    some.map(|(high, key)| {
                        i128::from((high ^ SIGN) as i64) << 64 | i128::from(lower.get(key))
                    })
                });
                let values: Decimal128Array = wide.collect();
                Arc::new(values.with_precision_and_scale(*precision, *scale)?)
            }
            (DataType::Time64(_), _) => Arc::new(long.collect::<Time64MicrosecondArray>()),
            (DataType::Timestamp(_, zone), _) => {
                let times: TimestampMicrosecondArray = long.collect();
                Arc::new(times.with_timezone_opt(zone.clone()))
            }
            _ => Arc::new(long.collect::<Int64Array>()),
        })
    }
}
