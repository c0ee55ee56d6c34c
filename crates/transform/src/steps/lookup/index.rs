//! Keys of whole batches, and where each of them is found.

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{AnyDictionaryArray, Array, ArrayRef, RecordBatch};
use arrow_buffer::NullBuffer;
use arrow_schema::DataType;
use gristmill_core::Result;
use gristmill_parallel::{ColumnKeys, KeyForm};
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

/// Where a key that finds nothing is found.
pub(super) const NOWHERE: u32 = u32::MAX;

/// A key in 128 bits. Texts of up to 12 bytes and ints are their own code; others are told apart by
/// their hash.
type Code = u128;

/// How keys become codes: by the types that they have in the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Int,
    /// By their canonical form, whatever their types.
    Form,
}

impl Kind {
    /// The kind of a key of columns with these types.
    pub(super) fn of(types: &[&DataType]) -> Self {
        match types {
            [DataType::Utf8View] => Kind::Text,
            [DataType::Int64] => Kind::Int,
            _ => Kind::Form,
        }
    }

    /// The code of every row. Those of rows with a null in their key mean nothing.
    fn codes(self, columns: &[ArrayRef]) -> Result<Vec<Code>> {
        Ok(match (self, columns) {
            (Kind::Text, [column]) => {
                let texts = column.as_string_view();
                let code = |(row, view): (usize, &u128)| match *view as u32 {
                    0..=12 => *view,
                    // No short text has this length.
                    _ => long(texts.value(row)) | Code::from(u32::MAX),
                };
                texts.views().iter().enumerate().map(code).collect()
            }
            (Kind::Int, [column]) => {
                let values = column.as_primitive::<Int64Type>().values();
                values.iter().map(|value| Code::from(*value as u64)).collect()
            }
            _ => {
                let names = (0..columns.len()).map(|i| i.to_string());
                let batch = RecordBatch::try_from_iter(names.zip(columns.iter().cloned()))?;
                let all: Vec<usize> = (0..columns.len()).collect();
                let keys = ColumnKeys::at(&batch, &all);
                keys.hashes()
                    .map(|[high, low]| (Code::from(high) << 64) | Code::from(low))
                    .collect()
            }
        })
    }
}

fn long(text: &str) -> Code {
    let mut form = KeyForm::default();
    form.text(text);
    let [high, low] = form.hash_wide();
    (Code::from(high) << 64) | Code::from(low)
}

/// Rows in which no column is null; `None` when that is all of them.
pub(super) fn complete(columns: &[ArrayRef]) -> Option<NullBuffer> {
    columns
        .iter()
        .fold(None, |all, column| NullBuffer::union(all.as_ref(), column.logical_nulls().as_ref()))
}

/// Keys and their numbers, from 0 in the order in which they were added.
pub(super) struct Index {
    kind: Kind,
    numbers: HashTable<u32>,
    codes: Vec<Code>,
}

impl Index {
    /// No keys yet.
    pub(super) fn new(kind: Kind) -> Self {
        Self { kind, numbers: HashTable::new(), codes: Vec::new() }
    }

    /// Adds the keys of rows, and answers each row's number: a new one, or that of the row before
    /// that has the same key; [`NOWHERE`] for a null key.
    pub(super) fn add(&mut self, columns: &[ArrayRef]) -> Result<Vec<u32>> {
        let complete = complete(columns);
        let codes = self.kind.codes(columns)?;
        let add = |(row, code): (usize, Code)| {
            if complete.as_ref().is_some_and(|complete| complete.is_null(row)) {
                return NOWHERE;
            }
            let all = &mut self.codes;
            let entry = self.numbers.entry(
                fold(code),
                |number| all[*number as usize] == code,
                |number| fold(all[*number as usize]),
            );
            match entry {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(place) => {
                    let number = all.len() as u32;
                    place.insert(number);
                    all.push(code);
                    number
                }
            }
        };
        Ok(codes.into_iter().enumerate().map(add).collect())
    }

    /// Number of different keys.
    pub(super) fn len(&self) -> usize {
        self.codes.len()
    }

    /// The number of every row's key; [`NOWHERE`] for those that were not added, and for nulls.
    pub(super) fn find(&self, columns: &[ArrayRef]) -> Result<Vec<u32>> {
        if let [column] = columns
            && let Some(dictionary) = column.as_any_dictionary_opt()
        {
            return self.find_values(column, dictionary);
        }
        let complete = complete(columns);
        let codes = self.kind.codes(columns)?;
        let find = |(row, code): (usize, Code)| {
            if complete.as_ref().is_some_and(|complete| complete.is_null(row)) {
                return NOWHERE;
            }
            let same = |number: &u32| self.codes[*number as usize] == code;
            self.numbers.find(fold(code), same).copied().unwrap_or(NOWHERE)
        };
        Ok(codes.into_iter().enumerate().map(find).collect())
    }

    /// As [`Self::find`] for a dictionary: each of its values is looked for once.
    fn find_values(
        &self,
        column: &ArrayRef,
        dictionary: &dyn AnyDictionaryArray,
    ) -> Result<Vec<u32>> {
        if dictionary.values().is_empty() {
            return Ok(vec![NOWHERE; column.len()]);
        }
        let numbers = self.find(std::slice::from_ref(dictionary.values()))?;
        let keys = dictionary.normalized_keys();
        let number = |row: usize| match column.is_null(row) {
            true => NOWHERE,
            false => numbers[keys[row]],
        };
        Ok((0..column.len()).map(number).collect())
    }
}

/// Mixes a code into the bits that a table looks at.
fn fold(code: Code) -> u64 {
    const LOW: u64 = 0x9e37_79b9_7f4a_7c15;
    const HIGH: u64 = 0xf39c_c060_5ced_c835;
    let low = u128::from(code as u64 ^ HIGH) * u128::from(LOW);
    let high = u128::from((code >> 64) as u64 ^ LOW) * u128::from(HIGH);
    let mixed = low ^ high;
    (mixed >> 64) as u64 ^ mixed as u64
}
