//! A source that is in memory: the rows of each key, as a list.

use arrow_array::cast::AsArray;
use arrow_array::types::UInt64Type;
use arrow_array::{Array, ArrayRef, RecordBatch, UInt32Array, new_empty_array};
use arrow_buffer::{BooleanBufferBuilder, NullBuffer};
use arrow_select::concat::concat;
use gristmill_core::Result;
use gristmill_parallel::KeyHash;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::{CODES, Cursor, NOTHING, Part, Side, taken};

pub(super) struct Here {
    /// The wanted columns of all records.
    columns: Vec<ArrayRef>,
    keys: HashTable<Key>,
    /// Behind each row, the next one with its key.
    next: Vec<u32>,
    /// Rows that were found.
    used: BooleanBufferBuilder,
    /// The first row that was not looked at for what nothing found.
    rest: usize,
}

/// A key, and the first and the last row that has it.
struct Key {
    hash: KeyHash,
    first: u32,
    last: u32,
}

impl Here {
    pub(super) fn new(side: &Side, batches: Vec<RecordBatch>) -> Result<Self> {
        let rows = batches.iter().map(RecordBatch::num_rows).sum();
        let mut keys: HashTable<Key> = HashTable::new();
        let mut next = vec![NOTHING; rows];
        let mut row = 0;
        for batch in &batches {
            let [high, low] = [0, 1].map(|at| batch.column(at).as_primitive::<UInt64Type>());
            for at in 0..batch.num_rows() {
                if high.is_valid(at) {
                    let hash = [high.value(at), low.value(at)];
                    match keys.entry(hash[1], |key| key.hash == hash, |key| key.hash[1]) {
                        Entry::Occupied(mut known) => {
                            let known = known.get_mut();
                            next[known.last as usize] = row;
                            known.last = row;
                        }
                        Entry::Vacant(place) => {
                            place.insert(Key { hash, first: row, last: row });
                        }
                    }
                }
                row += 1;
            }
        }
        let columns = side.schema.fields().iter().enumerate().map(|(at, field)| {
            let parts: Vec<&dyn Array> =
                batches.iter().map(|batch| batch.column(CODES + at).as_ref()).collect();
            Ok(match parts.is_empty() {
                true => new_empty_array(field.data_type()),
                false => concat(&parts)?,
            })
        });
        let columns = columns.collect::<Result<_>>()?;
        let mut used = BooleanBufferBuilder::new(rows);
        used.append_n(rows, false);
        Ok(Self { columns, keys, next, used, rest: 0 })
    }

    pub(super) fn columns(&self) -> &[ArrayRef] {
        &self.columns
    }

    /// The first row that has each key.
    pub(super) fn find(&self, hashes: &[KeyHash], nulls: Option<&NullBuffer>) -> Vec<u32> {
        let find = |(row, hash): (usize, &KeyHash)| {
            if nulls.is_some_and(|nulls| nulls.is_null(row)) {
                return NOTHING;
            }
            self.keys.find(hash[1], |key| key.hash == *hash).map_or(NOTHING, |key| key.first)
        };
        hashes.iter().enumerate().map(find).collect()
    }

    /// Adds pairs until there are so many, or the batch is at its end.
    pub(super) fn pairs(&mut self, first: &[u32], cursor: &mut Cursor, part: &mut Part) {
        while cursor.row < first.len() && part.left.len() < part.rows {
            let row = cursor.row as u32;
            let begins = cursor.next.is_none();
            let mut at = cursor.next.take().unwrap_or(first[cursor.row]);
            if begins && at == NOTHING {
                part.counts.nothing += 1;
                if part.wanted.alone {
                    part.left.push(row);
                    part.right.push(NOTHING);
                }
            } else if begins {
                part.counts.found += 1;
            }
            while at != NOTHING && part.left.len() < part.rows {
                part.left.push(row);
                part.right.push(at);
                if part.wanted.rest {
                    self.used.set_bit(at as usize, true);
                }
                at = self.next[at as usize];
            }
            match at {
                NOTHING => cursor.row += 1,
                _ => cursor.next = Some(at),
            }
        }
    }

    /// The next records that nothing found.
    pub(super) fn rest(&mut self, rows: usize) -> Result<Option<Vec<ArrayRef>>> {
        let mut rest = Vec::new();
        while self.rest < self.next.len() && rest.len() < rows {
            if !self.used.get_bit(self.rest) {
                rest.push(self.rest as u32);
            }
            self.rest += 1;
        }
        if rest.is_empty() {
            return Ok(None);
        }
        let rest = UInt32Array::from(rest);
        self.columns.iter().map(|column| taken(column, &rest)).collect::<Result<_>>().map(Some)
    }
}
