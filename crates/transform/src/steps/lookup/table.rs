//! The records of a lookup's source, read in full: their keys, their versions, and what is taken.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{Array, ArrayRef};
use arrow_select::concat::concat;
use gristmill_core::origin::Locator;
use gristmill_core::{Batch, ByteSize, Error, ErrorKind, Result};
use gristmill_parallel::views::{compact, value_bytes};

use super::Plan;
use super::index::{Index, Kind, NOWHERE, Numbers};
use super::versions::{Version, Versions};
use crate::steps::other::shown;

/// What a record needs beside the values that are taken of it: its key's code and its places in
/// the hash table and in the list of lines, and its slot in the index that is made at the end.
const RECORD: usize = 96;
/// Keys that an error shows.
const SHOWN: usize = 5;

/// The records of a source, ready to be found.
pub(super) struct Table {
    /// The row of each key, or its versions.
    pub(super) index: Index,
    pub(super) versions: Versions,
    /// The columns that are taken. Behind the records stand the rows for what is not found.
    pub(super) taken: Vec<ArrayRef>,
    /// Number of records.
    pub(super) records: usize,
}

impl Table {
    pub(super) fn empty(kind: Kind) -> Self {
        Self {
            index: Index::empty(kind),
            versions: Versions::default(),
            taken: Vec::new(),
            records: 0,
        }
    }

    /// Reads all records.
    pub(super) fn load(
        plan: &Plan,
        records: &mut dyn Iterator<Item = Result<Batch>>,
        memory: usize,
    ) -> Result<Self> {
        let mut table = Self::empty(plan.kind);
        let mut keyed = Numbers::new(plan.kind);
        let mut rows = Vec::new();
        let mut places = Places::default();
        let mut taken: Vec<Vec<ArrayRef>> = vec![Vec::new(); plan.taken.len()];
        let mut versions = Vec::new();
        let mut twice = Twice::default();
        let mut bytes = 0;
        for batch in records {
            let batch = batch?;
            places.add(&batch);
            let converted = |converted: Result<ArrayRef, (usize, String)>| {
                converted.map_err(|(row, why)| unfit(plan, &places, table.records + row, &why))
            };
            let keys = plan.keys.iter().map(|key| converted(key.source.of_source(&batch)?));
            let keys: Vec<ArrayRef> = keys.collect::<Result<_>>()?;
            let numbers = keyed.add(&keys)?;
            let dates: Vec<ArrayRef> = match &plan.at {
                Some(at) => at
                    .dates
                    .iter()
                    .map(|date| converted(date.of_source(&batch)?))
                    .collect::<Result<_>>()?,
                None => Vec::new(),
            };
            for (row, key) in numbers.into_iter().enumerate().filter(|(_, key)| *key != NOWHERE) {
                let at = (table.records + row) as u32;
                match dates.as_slice() {
                    [starts, ends] => versions.push(Version {
                        key,
                        row: at,
                        start: micros(starts, row).unwrap_or(i64::MIN),
                        end: micros(ends, row).unwrap_or(i64::MAX),
                    }),
                    _ => match rows.get(key as usize) {
                        Some(first) => twice.add([*first, at], || shown(&keys, row)),
                        None => rows.push(at),
                    },
                }
            }
            let columns = compact(&batch.columns().project(&plan.taken_places())?)?;
            bytes += value_bytes(&columns);
            for (column, pieces) in columns.columns().iter().zip(&mut taken) {
                pieces.push(Arc::clone(column));
            }
            table.records += batch.num_rows();
            let held = bytes + table.records * RECORD + Versions::size(versions.len());
            if held > memory || table.records >= NOWHERE as usize - 3 {
                return Err(too_large(&plan.name, table.records, memory));
            }
        }
        twice.check(plan, &places)?;
        let (sorted, overlaps) = Versions::new(keyed.len(), versions);
        for rows in overlaps {
            twice.add(rows, String::new);
        }
        twice.check(plan, &places)?;
        table.index = match plan.at {
            Some(_) => keyed.index(|key| sorted.of(key)),
            None => keyed.index(|key| rows[key]..rows[key] + 1),
        };
        table.versions = sorted;
        for (pieces, column) in taken.into_iter().zip(&plan.taken) {
            let pieces = pieces.iter().chain(&column.otherwise);
            let pieces: Vec<&dyn Array> = pieces.map(AsRef::as_ref).collect();
            table.taken.push(concat(&pieces)?);
        }
        Ok(table)
    }
}

/// A timestamp of a column of them.
pub(super) fn micros(column: &ArrayRef, row: usize) -> Option<i64> {
    let column = column.as_primitive::<TimestampMicrosecondType>();
    column.is_valid(row).then(|| column.value(row))
}

fn unfit(plan: &Plan, places: &Places, row: usize, why: &str) -> Error {
    let message = format!("{}: {why}", places.one(row as u32, &plan.name));
    Error::new(ErrorKind::Schema, message)
        .hint("its key is compared as the type that the column has in the records: mend the source, or `cast` the records' column to string before")
}

fn too_large(name: &str, records: usize, memory: usize) -> Error {
    let message = format!(
        "`{name}` is too large to look things up in: its first {records} records take more than {}, which is what `limits.memory` leaves for it",
        ByteSize(memory as u64)
    );
    Error::new(ErrorKind::Memory, message)
        .hint("`take` fewer columns, read only the records that are needed with a `query`, take `join`, which may go to disk, or raise `limits.memory`: a quarter of it is for lookups")
}

/// Where records stood.
#[derive(Default)]
struct Places {
    /// The first row of each source, its name, and whether it has lines.
    sources: Vec<(u32, Arc<str>, bool)>,
    /// Numbers of lines, or of records where there are no lines.
    numbers: Vec<u64>,
}

impl Places {
    fn add(&mut self, batch: &Batch) {
        let (origin, mut locator) = (batch.origin(), Locator::default());
        for row in 0..batch.num_rows() {
            let location = locator.locate(origin, batch.rows().ordinal(row) as usize);
            if row == 0 && self.sources.last().is_none_or(|(_, name, _)| name != origin.source()) {
                let first = self.numbers.len() as u32;
                self.sources.push((first, Arc::clone(origin.source()), location.line.is_some()));
            }
            self.numbers.push(location.line.unwrap_or(location.record));
        }
    }

    fn source(&self, row: u32) -> Option<(&str, bool)> {
        let at = self.sources.partition_point(|(first, ..)| *first <= row);
        self.sources[..at].last().map(|(_, name, lines)| (&**name, *lines))
    }

    /// A row, with the name of its source.
    fn one(&self, row: u32, name: &str) -> String {
        let (source, lines) = self.source(row).unwrap_or((name, false));
        let noun = if lines { "line" } else { "record" };
        format!("{noun} {} of `{source}`", self.numbers[row as usize])
    }

    /// Two rows; the names of their sources where there are several.
    fn two(&self, rows: [u32; 2]) -> String {
        if self.sources.len() > 1 {
            return rows.map(|row| self.one(row, "")).join(" and ");
        }
        let lines = self.source(rows[0]).is_some_and(|(_, lines)| lines);
        let noun = if lines { "lines" } else { "records" };
        let [one, other] = rows.map(|row| self.numbers[row as usize]);
        format!("{noun} {one} and {other}")
    }
}

/// Keys that come twice where each may come once.
#[derive(Default)]
struct Twice {
    count: usize,
    /// The first of them: their text, and the rows.
    first: Vec<(String, [u32; 2])>,
}

impl Twice {
    fn add(&mut self, rows: [u32; 2], key: impl FnOnce() -> String) {
        self.count += 1;
        if self.count <= SHOWN {
            self.first.push((key(), rows));
        }
    }

    fn check(&self, plan: &Plan, places: &Places) -> Result<()> {
        if self.count == 0 {
            return Ok(());
        }
        let place = |(key, rows): &(String, [u32; 2])| match key.as_str() {
            "" => places.two(*rows),
            key => format!("{key} in {}", places.two(*rows)),
        };
        let mut places: Vec<String> = self.first.iter().map(place).collect();
        if self.count > SHOWN {
            places.push(format!("and {} more", self.count - SHOWN));
        }
        let (name, keys) = (&plan.name, plan.key_names());
        let (what, hint) = match plan.at {
            Some(_) => (
                "versions of one key that hold at the same time",
                "a version ends when the next one begins: mend their dates",
            ),
            None => (
                "several records with one key",
                "a lookup needs one record for each key: remove the others, add a column to `on`, or read one of them with a `query`",
            ),
        };
        let message = format!("`{name}` has {what} ({keys}): {}", places.join("; "));
        Err(Error::new(ErrorKind::Schema, message).hint(hint))
    }
}
