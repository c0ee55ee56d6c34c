//! Reading the other source: into memory, or when it does not fit, to disk.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, UInt64Array};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::DataType;
use gristmill_core::origin::Locator;
use gristmill_core::{Batch, Error, ErrorKind, Records, Result, Space};
use gristmill_parallel::spill::Seen;
use gristmill_parallel::views::{compact, value_bytes};

use super::super::hashed::{Hashed, Nulls, hashes};
use super::super::other::shown;
use super::{NOTHING, Side, Wanted, at_once, coded};
use crate::relational::{Store, Writer};

/// What a record takes beside its values, in the index that is made of them.
const RECORD: usize = 80;
/// Keys that an error shows.
const SHOWN: usize = 5;

/// What was read.
pub(super) struct Read {
    pub(super) held: Held,
    pub(super) records: u64,
    /// Bytes of a record, about.
    pub(super) width: usize,
}

/// Where it is: hashes, numbers and the wanted columns.
pub(super) enum Held {
    Here(Vec<RecordBatch>),
    Away(Arc<Store>),
}

impl Read {
    pub(super) fn all(
        side: &Side,
        wanted: Wanted,
        records: Records,
        space: &Space,
    ) -> Result<Self> {
        let schema = coded(side);
        let mut twice = wanted.unique.then(|| Twice::new(space));
        let (mut here, mut writer) = (Vec::new(), None);
        let (mut bytes, mut read, mut width) = (0, 0, None);
        for batch in records {
            let batch = batch?;
            if batch.num_rows() == 0 {
                continue;
            }
            let converted = |converted: Result<ArrayRef, (usize, String)>| {
                converted.map_err(|(row, why)| unfit(&batch, row, &why))
            };
            let keys = side.keys.iter().map(|(key, _)| converted(key.of_source(&batch)?));
            let keys: Vec<ArrayRef> = keys.collect::<Result<_>>()?;
            let columns = side.columns.iter().zip(side.schema.fields()).map(|(column, field)| {
                let column = converted(column.of_source(&batch)?)?;
                typed(column, field.data_type())
            });
            let columns: Vec<ArrayRef> = columns.collect::<Result<_>>()?;
            let codes = hash(&keys, wanted.nulls)?;
            if let Some(twice) = &mut twice {
                twice.add(&batch, &keys, &codes)?;
            }
            let numbers = UInt64Array::from_iter_values(read..read + batch.num_rows() as u64);
            let all = codes.into_iter().chain([Arc::new(numbers) as ArrayRef]).chain(columns);
            let all = compact(&RecordBatch::try_new(Arc::clone(&schema), all.collect())?)?;
            read += batch.num_rows() as u64;
            let size = value_bytes(&all);
            width.get_or_insert(size / batch.num_rows());
            bytes += size;
            match &mut writer {
                Some(writer) => write(writer, &all, space)?,
                None => here.push(all),
            }
            // Values are there twice while they are put together.
            let fits = 2 * bytes + read as usize * RECORD <= space.memory / 2;
            if writer.is_none() && (!fits || read >= u64::from(NOTHING)) {
                let mut file = Writer::new(space, &schema)?;
                here.drain(..).try_for_each(|batch| write(&mut file, &batch, space))?;
                writer = Some(file);
            }
        }
        if let Some(twice) = twice {
            twice.check(side)?;
        }
        let held = match writer {
            Some(writer) => Held::Away(writer.finish(&schema)?),
            None => Held::Here(here),
        };
        Ok(Self { held, records: read, width: width.unwrap_or(0) })
    }
}

/// Writes a batch in parts that are small beside the memory there is.
fn write(file: &mut Writer, batch: &RecordBatch, space: &Space) -> Result<()> {
    let rows = at_once(space, value_bytes(batch) / batch.num_rows().max(1));
    let parts = (0..batch.num_rows()).step_by(rows);
    let mut parts = parts.map(|at| batch.slice(at, rows.min(batch.num_rows() - at)));
    parts.try_for_each(|part| file.push(&part))
}

/// The column in this type. Types that are compared as they are may differ in width.
fn typed(column: ArrayRef, data_type: &DataType) -> Result<ArrayRef> {
    if column.data_type() == data_type {
        return Ok(column);
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    Ok(cast_with_options(&column, data_type, &options)?)
}

fn hash(keys: &[ArrayRef], nulls: Nulls) -> Result<[ArrayRef; 2]> {
    let names = (0..keys.len()).map(|i| i.to_string());
    let keys = names.zip(keys.iter().cloned()).map(|(name, key)| (name, key, true));
    Ok(hashes(&RecordBatch::try_from_iter_with_nullable(keys)?, nulls))
}

/// Where a row stood: the number of its line or record, and whether it is a line.
fn place(batch: &Batch, row: usize, locator: &mut Locator) -> (u64, bool) {
    let location = locator.locate(batch.origin(), batch.rows().ordinal(row) as usize);
    (location.line.unwrap_or(location.record), location.line.is_some())
}

/// A value of the source that is not what it is compared with.
pub(in crate::steps) fn unfit(batch: &Batch, row: usize, why: &str) -> Error {
    let (number, is_line) = place(batch, row, &mut Locator::default());
    let noun = if is_line { "line" } else { "record" };
    let message = format!("{noun} {number} of `{}`: {why}", batch.origin().source());
    Error::new(ErrorKind::Schema, message)
        .hint("it is compared as the type that the column has in the records: mend the source, or `cast` the records' column to string before")
}

/// Keys that come twice where each may come once.
struct Twice {
    seen: Seen,
    count: usize,
    /// The first of them: the key, and where it stands.
    first: Vec<String>,
}

impl Twice {
    fn new(space: &Space) -> Self {
        let memory = space.memory / 8;
        Self { seen: Seen::new(Space { memory, ..space.clone() }), count: 0, first: Vec::new() }
    }

    fn add(&mut self, batch: &Batch, keys: &[ArrayRef], codes: &[ArrayRef; 2]) -> Result<()> {
        let [high, low] = codes;
        let hashes = Hashed::halves(high, low);
        self.seen.fetch(&hashes)?;
        let mut locator = Locator::default();
        for (row, hash) in hashes.into_iter().enumerate() {
            let (number, is_line) = place(batch, row, &mut locator);
            let Some(before) = self.seen.get_or_insert(hash, number) else { continue };
            self.count += 1;
            if self.count <= SHOWN {
                let noun = if is_line { "lines" } else { "records" };
                let key = shown(keys, row);
                self.first.push(format!("{key} in {noun} {before} and {number}"));
            }
        }
        Ok(())
    }

    fn check(mut self, side: &Side) -> Result<()> {
        if self.count == 0 {
            return Ok(());
        }
        if self.count > SHOWN {
            self.first.push(format!("and {} more", self.count - SHOWN));
        }
        let names: Vec<_> = side.keys.iter().map(|(_, name)| format!("`{name}`")).collect();
        let message = format!(
            "`{}` has several records with one key ({}): {}",
            side.name,
            names.join(", "),
            self.first.join("; ")
        );
        Err(Error::new(ErrorKind::Schema, message).hint(
            "a key stands for one record here: remove the others, add a column to `on`, or read one of them with a `query`",
        ))
    }
}
