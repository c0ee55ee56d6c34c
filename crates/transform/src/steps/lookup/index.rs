//! Keys of whole batches, and where each of them is found.

use std::ops::Range;

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

    /// Hands over the code of every row, in order. Those of rows with a null in their key mean
    /// nothing.
    fn codes(self, columns: &[ArrayRef], mut take: impl FnMut(usize, Code)) -> Result<()> {
        match (self, columns) {
            (Kind::Text, [column]) => {
                let texts = column.as_string_view();
                for (row, view) in texts.views().iter().enumerate() {
                    take(
                        row,
                        match *view as u32 {
                            0..=12 => *view,
                            // No short text has this length.
                            _ => long(texts.value(row)) | Code::from(u32::MAX),
                        },
                    );
                }
            }
            (Kind::Int, [column]) => {
                let values = column.as_primitive::<Int64Type>().values();
                values
                    .iter()
                    .enumerate()
                    .for_each(|(row, value)| take(row, Code::from(*value as u64)));
            }
            _ => {
                let names = (0..columns.len()).map(|i| i.to_string());
                let batch = RecordBatch::try_from_iter(names.zip(columns.iter().cloned()))?;
                let all: Vec<usize> = (0..columns.len()).collect();
                let keys = ColumnKeys::at(&batch, &all);
                for (row, [high, low]) in keys.hashes().enumerate() {
                    take(row, (Code::from(high) << 64) | Code::from(low));
                }
            }
        }
        Ok(())
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
pub(super) struct Numbers {
    kind: Kind,
    numbers: HashTable<u32>,
    codes: Vec<Code>,
}

impl Numbers {
    /// No keys yet.
    pub(super) fn new(kind: Kind) -> Self {
        Self { kind, numbers: HashTable::new(), codes: Vec::new() }
    }

    /// Adds the keys of rows, and answers each row's number: a new one, or that of the row before
    /// that has the same key; [`NOWHERE`] for a null key.
    pub(super) fn add(&mut self, columns: &[ArrayRef]) -> Result<Vec<u32>> {
        let complete = complete(columns);
        let Self { kind, numbers, codes } = self;
        let mut found = Vec::with_capacity(columns.first().map_or(0, Array::len));
        kind.codes(columns, |row, code| {
            if complete.as_ref().is_some_and(|complete| complete.is_null(row)) {
                return found.push(NOWHERE);
            }
            let entry = numbers.entry(
                fold(code),
                |number| codes[*number as usize] == code,
                |number| fold(codes[*number as usize]),
            );
            found.push(match entry {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(place) => {
                    let number = codes.len() as u32;
                    place.insert(number);
                    codes.push(code);
                    number
                }
            });
        })?;
        Ok(found)
    }

    /// Number of different keys.
    pub(super) fn len(&self) -> usize {
        self.codes.len()
    }

    /// The index that finds this for each number.
    pub(super) fn index(self, found: impl Fn(usize) -> Range<u32>) -> Index {
        let mut slots = HashTable::with_capacity(self.codes.len());
        for (number, code) in self.codes.into_iter().enumerate() {
            let Range { start, end } = found(number);
            slots.insert_unique(fold(code), Slot { code, start, end }, |slot| fold(slot.code));
        }
        Index { kind: self.kind, slots }
    }
}

/// Where keys are found: a range of rows or of versions.
pub(super) struct Index {
    kind: Kind,
    slots: HashTable<Slot>,
}

/// What is found stands beside the key, so that a key costs one look into memory.
struct Slot {
    code: Code,
    start: u32,
    end: u32,
}

/// What is found of a key that is not there.
pub(super) const NOTHING: Range<u32> = NOWHERE..NOWHERE;

impl Index {
    /// Finds nothing.
    pub(super) fn empty(kind: Kind) -> Self {
        Self { kind, slots: HashTable::new() }
    }

    /// What every row's key finds; [`NOTHING`] for those that were not added, and for nulls.
    pub(super) fn find(&self, columns: &[ArrayRef]) -> Result<Vec<Range<u32>>> {
        if let [column] = columns
            && let Some(dictionary) = column.as_any_dictionary_opt()
        {
            return self.find_values(column, dictionary);
        }
        let complete = complete(columns);
        let mut found = Vec::with_capacity(columns.first().map_or(0, Array::len));
        self.kind.codes(columns, |row, code| {
            let slot = match &complete {
                Some(complete) if complete.is_null(row) => None,
                _ => self.slots.find(fold(code), |slot| slot.code == code),
            };
            found.push(slot.map_or(NOTHING, |slot| slot.start..slot.end));
        })?;
        Ok(found)
    }

    /// As [`Self::find`] for a dictionary: each of its values is looked for once.
    fn find_values(
        &self,
        column: &ArrayRef,
        dictionary: &dyn AnyDictionaryArray,
    ) -> Result<Vec<Range<u32>>> {
        if dictionary.values().is_empty() {
            return Ok(vec![NOTHING; column.len()]);
        }
        let found = self.find(std::slice::from_ref(dictionary.values()))?;
        let keys = dictionary.normalized_keys();
        let of_row = |row: usize| match column.is_null(row) {
            true => NOTHING,
            false => found[keys[row]].clone(),
        };
        Ok((0..column.len()).map(of_row).collect())
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
