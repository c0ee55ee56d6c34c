//! Rows in partitions, and within each in an order.

use std::cmp::Ordering;
use std::hash::BuildHasher;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_row::{RowConverter, SortField};
use arrow_schema::SortOptions;
use datafusion_common::Result;
use hashbrown::{DefaultHashBuilder, HashTable};

use super::plan::{self, Order};
use crate::relational::parallel::{each, sort};

/// Rows of a partition that are sorted by all threads together.
const MANY: usize = 1 << 14;

/// The partition of each row, and its keys as bytes that sort like them.
pub(super) struct Keys {
    partitions: Option<RowConverter>,
    /// Each partition's key, and where it is in `known`.
    table: HashTable<(u64, u32)>,
    hasher: DefaultHashBuilder,
    known: Bytes,
    /// The partition of each row, if there may be several.
    numbers: Vec<u32>,
    order: Option<RowConverter>,
    keys: Bytes,
    rows: usize,
}

/// Texts of bytes one behind the other.
#[derive(Default)]
struct Bytes {
    bytes: Vec<u8>,
    /// Where each ends, once they are not all of one length.
    ends: Vec<usize>,
    length: usize,
    len: usize,
}

impl Bytes {
    fn push(&mut self, bytes: &[u8]) {
        if self.len == 0 {
            self.length = bytes.len();
        } else if self.ends.is_empty() && bytes.len() != self.length {
            self.ends = (1..=self.len).map(|number| number * self.length).collect();
        }
        self.bytes.extend_from_slice(bytes);
        self.len += 1;
        if !self.ends.is_empty() {
            self.ends.push(self.bytes.len());
        }
    }

    #[inline]
    fn get(&self, number: usize) -> &[u8] {
        if self.ends.is_empty() {
            return &self.bytes[number * self.length..][..self.length];
        }
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[number]]
    }

    fn size(&self) -> usize {
        self.bytes.capacity() + self.ends.capacity() * size_of::<usize>()
    }

    /// Whether all are of one length, and no longer than this.
    fn short(&self, length: usize) -> bool {
        self.ends.is_empty() && self.length <= length
    }
}

fn converter(
    columns: &[ArrayRef],
    options: impl Iterator<Item = SortOptions>,
) -> Result<Option<RowConverter>> {
    if columns.is_empty() {
        return Ok(None);
    }
    let fields = columns
        .iter()
        .zip(options)
        .map(|(column, options)| SortField::new_with_options(column.data_type().clone(), options));
    Ok(Some(RowConverter::new(fields.collect())?))
}

impl Keys {
    pub(super) fn new() -> Self {
        Self {
            partitions: None,
            table: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            known: Bytes::default(),
            numbers: Vec::new(),
            order: None,
            keys: Bytes::default(),
            rows: 0,
        }
    }

    /// Adds the rows of a batch.
    pub(super) fn push(&mut self, order: &Order, columns: &RecordBatch) -> Result<()> {
        let partitions = plan::columns(&order.partitions, columns)?;
        let keys = plan::columns(order.keys.iter().map(|(key, _)| key), columns)?;
        if self.rows == 0 {
            let any = std::iter::repeat(SortOptions::default());
            self.partitions = converter(&partitions, any)?;
            self.order = converter(&keys, order.keys.iter().map(|(_, options)| *options))?;
        }
        self.rows += columns.num_rows();
        if let Some(converter) = &mut self.partitions {
            let rows = converter.convert_columns(&partitions)?;
            self.numbers.reserve(rows.num_rows());
            for row in &rows {
                let key = row.data();
                let hash = self.hasher.hash_one(key);
                let known = |(of, number): &(u64, u32)| {
                    *of == hash && self.known.get(*number as usize) == key
                };
                let number = match self.table.find(hash, known) {
                    Some((_, number)) => *number,
                    None => {
                        let number = self.known.len as u32;
                        self.table.insert_unique(hash, (hash, number), |(hash, _)| *hash);
                        self.known.push(key);
                        number
                    }
                };
                self.numbers.push(number);
            }
        }
        if let Some(converter) = &mut self.order {
            let rows = converter.convert_columns(&keys)?;
            rows.iter().for_each(|row| self.keys.push(row.data()));
        }
        Ok(())
    }

    /// Bytes of memory.
    pub(super) fn size(&self) -> usize {
        let table = self.table.capacity() * size_of::<(u64, u32)>() + self.known.size();
        table + self.numbers.capacity() * size_of::<u32>() + self.keys.size()
    }

    /// The rows in order.
    pub(super) fn sorted(mut self, threads: usize) -> Sorted {
        (self.table, self.known.bytes) = (HashTable::new(), Vec::new());
        let (rows, ends) = self.parted();
        let mut sorted = Sorted { rows, ends, keys: self.keys };
        if self.order.is_some() {
            match &sorted.keys {
                keys if keys.short(8) => sorted.sort(threads, |key| u64::from_be_bytes(front(key))),
                _ => sorted.sort(threads, |key| u128::from_be_bytes(front(key))),
            }
        }
        sorted
    }

    /// The rows of each partition, in the order of the input, and where each partition ends.
    fn parted(&mut self) -> (Vec<u32>, Vec<usize>) {
        if self.partitions.is_none() {
            return ((0..self.rows as u32).collect(), vec![self.rows]);
        }
        let mut ends = vec![0; self.known.len];
        self.numbers.iter().for_each(|number| ends[*number as usize] += 1);
        let mut start = 0;
        for end in &mut ends {
            (*end, start) = (start, start + *end);
        }
        let mut rows = vec![0; self.rows];
        for (row, number) in std::mem::take(&mut self.numbers).into_iter().enumerate() {
            let end = &mut ends[number as usize];
            rows[*end] = row as u32;
            *end += 1;
        }
        (rows, ends)
    }
}

/// The first bytes of a key, and zeros behind a shorter one.
#[inline]
fn front<const N: usize>(key: &[u8]) -> [u8; N] {
    let mut front = [0; N];
    let len = key.len().min(N);
    front[..len].copy_from_slice(&key[..len]);
    front
}

/// Rows in partitions and in order.
pub(super) struct Sorted {
    /// The numbers of the rows.
    pub(super) rows: Vec<u32>,
    /// Where each partition ends.
    pub(super) ends: Vec<usize>,
    keys: Bytes,
}

impl Sorted {
    /// Sorts each partition by its keys, of which `of` makes what tells most of them apart, and rows
    /// that are equal by their numbers.
    fn sort<K: Ord + Copy + Send>(&mut self, threads: usize, of: impl Fn(&[u8]) -> K + Sync) {
        let Self { rows, ends, keys } = self;
        let keys = &*keys;
        let exact = keys.short(size_of::<K>());
        let compare = |(one, left): &(K, u32), (other, right): &(K, u32)| {
            one.cmp(other)
                .then_with(|| match exact {
                    true => Ordering::Equal,
                    false => keys.get(*left as usize).cmp(keys.get(*right as usize)),
                })
                .then(left.cmp(right))
        };
        let sort_one = |rows: &mut [u32], keyed: &mut Vec<(K, u32)>, threads: usize| {
            keyed.clear();
            keyed.extend(rows.iter().map(|row| (of(keys.get(*row as usize)), *row)));
            sort(keyed, threads, &compare);
            rows.iter_mut().zip(&*keyed).for_each(|(row, (_, sorted))| *row = *sorted);
        };
        let pieces = pieces(ends);
        let (mut rest, mut several) = (&mut rows[..], Vec::new());
        for piece in &pieces {
            let start = piece.start.checked_sub(1).map_or(0, |before| ends[before]);
            let len = ends[piece.end - 1] - start;
            let (own, others) = std::mem::take(&mut rest).split_at_mut(len);
            rest = others;
            match piece.len() {
                1 if len > MANY => sort_one(own, &mut Vec::new(), threads),
                _ => several.push((own, start, &ends[piece.clone()])),
            }
        }
        each(several, threads, |(own, start, ends)| {
            let (mut keyed, mut done) = (Vec::new(), 0);
            for end in ends {
                sort_one(&mut own[done..end - start], &mut keyed, 1);
                done = end - start;
            }
        });
    }

    /// For each of these rows of partitions, the end of those that are equal to it within its own.
    pub(super) fn peers(&self, rows: &[u32], ends: &[usize]) -> Vec<u32> {
        let mut peers = vec![0; rows.len()];
        let mut start = 0;
        for end in ends.iter().copied() {
            let same = |one: u32, other: u32| {
                self.keys.len == 0 || self.keys.get(one as usize) == self.keys.get(other as usize)
            };
            let mut equal = end;
            for at in (start..end).rev() {
                if at + 1 < end && !same(rows[at], rows[at + 1]) {
                    equal = at + 1;
                }
                peers[at] = (equal - start) as u32;
            }
            start = end;
        }
        peers
    }
}

/// Partitions that are worked on together, by their ends.
pub(super) fn pieces(ends: &[usize]) -> Vec<std::ops::Range<usize>> {
    let (mut pieces, mut first, mut start) = (Vec::new(), 0, 0);
    for (number, end) in ends.iter().enumerate() {
        if end - start >= MANY || number + 1 == ends.len() {
            pieces.push(first..number + 1);
            (first, start) = (number + 1, *end);
        }
    }
    pieces
}
