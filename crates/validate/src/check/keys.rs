//! Keys of records, as hashes or as values in their order, and what their counts say.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type};
use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, StringViewArray};
use arrow_schema::{DataType, Field};
use gristmill_core::Result;
use gristmill_core::text::{parse, value_text};
use gristmill_core::types::type_name;
use gristmill_parallel::KeyHash;
use gristmill_parallel::spill::{Counts, Seen};
use xxhash_rust::xxh3::xxh3_128;

use super::numbers::of_whole;
use crate::arrays::{wide, with_whole};
use crate::key::KeyReader;
use crate::limit::{self, Measure, Round};

/// Which keys with nulls in them are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Skip {
    /// Those with any.
    Any,
    /// Those that are nothing but nulls.
    All,
    /// No key: a null is a value.
    None,
}

/// The key of a null in a column alone. Ordered values end before it: no decimal has as many digits.
const NULL: KeyHash = [u64::MAX; 2];

/// The keys of a batch's records.
pub(crate) fn keys(batch: &RecordBatch, columns: &[usize], skip: Skip) -> Vec<Option<KeyHash>> {
    let mut keys = match columns {
        [column] => ordered_keys(batch.column(*column)),
        _ if skip == Skip::Any => None,
        _ => return text_keys(batch, columns, skip),
    }
    .unwrap_or_else(|| {
        let mut reader = KeyReader::new(batch, columns);
        (0..batch.num_rows()).map(|row| reader.key(row)).collect()
    });
    if skip == Skip::None {
        keys.iter_mut().for_each(|key| *key = Some(key.unwrap_or(NULL)));
    }
    keys
}

/// The key of the value of a column that a text says, the same that [`keys`] gives it.
///
/// # Errors
/// When it is no value of this column.
pub(super) fn key_of_text(field: &Field, text: &str) -> Result<KeyHash, String> {
    let wrong =
        || format!("`{text}` cannot be a value of `{}`, {}", field.name(), type_name(field));
    let array: ArrayRef = match (field.data_type(), Measure::of(field.data_type())) {
        (_, Some(Measure::Double)) => return limit::number(text).map(key_of_float),
        (_, Some(Measure::Single)) => {
            return limit::number(text).map(|number| key_of_float((number as f32).into()));
        }
        (_, Some(measure)) => {
            let value = limit::whole(text, measure, Round::Down)?;
            let exact = value == limit::whole(text, measure, Round::Up)?;
            return if exact { Ok(key_of_whole(value)) } else { Err(wrong()) };
        }
        (DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View, _) => {
            Arc::new(StringViewArray::from(vec![text]))
        }
        (DataType::Boolean, _) => match parse::bool(text.as_bytes()) {
            Some(value) => Arc::new(BooleanArray::from(vec![value])),
            None => return Err(wrong()),
        },
        _ => {
            return Err(format!(
                "`{}` is {}, which has no values to name",
                field.name(),
                type_name(field)
            ));
        }
    };
    let batch = RecordBatch::try_from_iter([(field.name(), array)]).map_err(|_| wrong())?;
    keys(&batch, &[0], Skip::Any).into_iter().flatten().next().ok_or_else(wrong)
}

/// The keys of records by the texts of their values.
pub(super) fn text_keys(
    batch: &RecordBatch,
    columns: &[usize],
    skip: Skip,
) -> Vec<Option<KeyHash>> {
    let mut bytes = Vec::new();
    let key = |row: usize| {
        bytes.clear();
        let mut nulls = 0;
        for column in columns {
            match value_text(batch.column(*column), row) {
                Some(text) => {
                    bytes.extend_from_slice(&(text.len() as u64 + 1).to_le_bytes());
                    bytes.extend_from_slice(text.as_bytes());
                }
                None => {
                    nulls += 1;
                    bytes.extend_from_slice(&0u64.to_le_bytes());
                }
            }
        }
        let counts = match skip {
            Skip::Any => nulls == 0,
            Skip::All => nulls < columns.len(),
            Skip::None => true,
        };
        counts.then(|| {
            let hash = xxh3_128(&bytes);
            [(hash >> 64) as u64, hash as u64]
        })
    };
    (0..batch.num_rows()).map(key).collect()
}

/// Values of numbers and times as keys whose order is theirs.
fn ordered_keys(array: &ArrayRef) -> Option<Vec<Option<KeyHash>>> {
    let nulls = array.logical_nulls();
    let valid = |row: usize| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
    let rows = 0..array.len();
    with_whole!(*array, whole => {
        let key = |row: usize| valid(row).then(|| key_of_whole(wide(whole.value(row))));
        return Some(rows.map(key).collect());
    }, _ => {});
    Some(match array.data_type() {
        DataType::Float64 => {
            let array = array.as_primitive::<Float64Type>();
            rows.map(|row| valid(row).then(|| key_of_float(array.value(row)))).collect()
        }
        DataType::Float32 => {
            let array = array.as_primitive::<Float32Type>();
            rows.map(|row| valid(row).then(|| key_of_float(array.value(row).into()))).collect()
        }
        _ => return None,
    })
}

fn key_of_whole(value: i128) -> KeyHash {
    let bits = value as u128 ^ 1 << 127;
    [(bits >> 64) as u64, bits as u64]
}

/// Zeros of either sign are one key, and so is every NaN, which comes last.
fn key_of_float(value: f64) -> KeyHash {
    let value = if value.is_nan() { f64::NAN.abs() } else { value + 0.0 };
    let bits = value.to_bits();
    let ordered = if bits >> 63 == 1 { !bits } else { bits | 1 << 63 };
    [ordered, 0]
}

/// The number that a key of an ordered column stands for.
pub(crate) fn number_of_key([high, low]: KeyHash, data_type: &DataType) -> Option<f64> {
    match Measure::of(data_type)? {
        Measure::Double | Measure::Single => {
            let bits = if high >> 63 == 1 { high ^ 1 << 63 } else { !high };
            Some(f64::from_bits(bits))
        }
        measure => {
            let bits = u128::from(high) << 64 | u128::from(low);
            Some(of_whole((bits ^ 1 << 127) as i128, measure))
        }
    }
}

/// What the counts of keys say.
#[derive(Debug, Clone, Default)]
pub(crate) struct KeyFacts {
    /// Records with a key.
    pub(crate) records: u64,
    pub(crate) distinct: u64,
    /// Keys that come once.
    pub(crate) once: u64,
    pub(crate) entropy: f64,
}

/// Looks at all keys.
///
/// # Errors
/// When the disk cannot be read.
pub(crate) fn key_facts(counts: &mut Counts) -> Result<KeyFacts> {
    let mut facts = KeyFacts::default();
    let mut by_count: BTreeMap<u64, u64> = BTreeMap::new();
    counts.each(|_, count| *by_count.entry(count).or_default() += 1)?;
    for (count, keys) in &by_count {
        facts.records += count * keys;
        facts.distinct += keys;
    }
    facts.once = by_count.get(&1).copied().unwrap_or_default();
    for (count, keys) in &by_count {
        let share = *count as f64 / facts.records as f64;
        facts.entropy -= *keys as f64 * share * share.ln();
    }
    facts.entropy = facts.entropy.abs(); // of one value: -0
    Ok(facts)
}

/// Collects the keys whose counts are wanted.
///
/// # Errors
/// When the disk cannot be read or written.
pub(super) fn collect(
    counts: &mut Counts,
    seen: &mut Seen,
    wanted: impl Fn(u64) -> bool,
) -> Result<()> {
    const AT_ONCE: usize = 4_096;
    let mut known = Vec::with_capacity(AT_ONCE);
    let mut add = |known: &mut Vec<KeyHash>| -> Result<()> {
        seen.fetch(known)?;
        for key in known.drain(..) {
            seen.get_or_insert(key, 1);
        }
        Ok(())
    };
    for entry in counts.entries()? {
        let (key, count) = entry?;
        if wanted(count) {
            known.push(key);
        }
        if known.len() == AT_ONCE {
            add(&mut known)?;
        }
    }
    add(&mut known)
}

/// The value of an ordered column that these shares of its values do not exceed.
///
/// # Errors
/// When the disk cannot be read.
pub(crate) fn quantiles(
    counts: &mut Counts,
    shares: &[f64],
    data_type: &DataType,
) -> Result<Vec<Option<f64>>> {
    let mut records = 0;
    counts.each(|_, count| records += count)?;
    let place = |share: f64| ((share * records as f64).ceil() as u64).clamp(1, records.max(1));
    let mut found = vec![None; shares.len()];
    let mut passed = 0;
    counts.each(|key, count| {
        for (share, found) in shares.iter().zip(&mut found) {
            let place = place(*share);
            if passed < place && place <= passed + count {
                *found = number_of_key(key, data_type);
            }
        }
        passed += count;
    })?;
    Ok(found)
}
