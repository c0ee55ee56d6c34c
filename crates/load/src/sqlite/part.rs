//! What workers make of batches: table pages, and what a later reject needs of the records.

use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

use arrow_array::Array;
use arrow_schema::{DataType, SchemaRef, TimeUnit};
use gristmill_core::text::{value_text, write_value};
use gristmill_core::{Batch, Encoded, Encoder, Origin, Part, Reason, Reject, Result, Rows};

use super::Encoding;
use super::cells::Cells;
use super::pages::Pages;
use super::record::Record;
use super::target::Target;
use crate::part::{no_key, no_time, origins_size, reject, remaining};

/// Bytes of a row, beyond which SQLite says what a reject says then; less what a row's types take.
const MAX_ROW: usize = 999_900_000;

/// How records become rows of the staging table.
pub(crate) struct Layout {
    pub(crate) schema: SchemaRef,
    pub(crate) encoding: Encoding,
    /// The records' columns in the order of the staging table's.
    pub(crate) order: Vec<usize>,
    pub(crate) affinities: Vec<&'static str>,
    pub(crate) keys: Vec<usize>,
    /// The column with the time from when on a record holds. The staging table has it once more,
    /// at the end, as text that sorts.
    pub(crate) time: Option<usize>,
}

impl Layout {
    pub(crate) fn new(target: &Target, schema: &SchemaRef) -> Self {
        Self {
            schema: Arc::clone(schema),
            encoding: target.encoding,
            order: target.order.clone().unwrap_or_else(|| (0..target.columns.len()).collect()),
            affinities: target.columns.iter().map(|column| column.affinity).collect(),
            keys: target.keys().collect(),
            time: target.time,
        }
    }
}

/// One chunk's rows.
pub(crate) struct Staged {
    pub(crate) pages: Pages,
    /// Where the rows come from, in order.
    pub(crate) origins: Vec<(Arc<Origin>, Rows)>,
    /// Records that cannot be loaded whatever the table holds.
    pub(crate) rejects: Vec<Reject>,
    /// A hash of each row's key: rows with equal keys have equal hashes.
    pub(crate) hashes: Vec<u64>,
    /// Bytes of values.
    pub(crate) bytes: u64,
}

pub(crate) struct TableEncoder(pub(crate) Arc<Layout>);

impl Encoder for TableEncoder {
    fn begin(&self) -> Box<dyn Part> {
        Box::new(TablePart {
            layout: Arc::clone(&self.0),
            record: Record::new(self.0.encoding),
            key: Record::new(self.0.encoding),
            scratch: Vec::new(),
            time: Vec::new(),
            records: 0,
            staged: Staged {
                pages: Pages::default(),
                origins: Vec::new(),
                rejects: Vec::new(),
                hashes: Vec::new(),
                bytes: 0,
            },
        })
    }
}

struct TablePart {
    layout: Arc<Layout>,
    record: Record,
    key: Record,
    scratch: Vec<u8>,
    time: Vec<u8>,
    records: u64,
    staged: Staged,
}

impl Part for TablePart {
    fn push(&mut self, batch: &Batch) -> Result<()> {
        let layout = Arc::clone(&self.layout);
        let columns = batch.columns().columns().iter().zip(layout.schema.fields());
        let cells =
            columns.map(|(array, field)| Cells::new(array, field)).collect::<Result<Vec<_>>>()?;
        // Where no column can have such values, no row is asked.
        let suspects: Vec<usize> = (0..cells.len())
            .filter(|&i| {
                matches!(cells[i], Cells::Double(_) | Cells::Unsigned(_))
                    || layout.keys.contains(&i)
                    || layout.time == Some(i)
            })
            .collect();
        let mut rejected = Vec::new();
        for row in 0..batch.num_rows() {
            let errors = unloadable(&layout, &suspects, &cells, batch, row);
            if !errors.is_empty() {
                self.staged.rejects.push(reject(batch, row, errors));
                rejected.push(row);
                continue;
            }
            self.record.clear();
            for &i in &layout.order {
                cells[i].write(row, &mut self.record, &mut self.scratch);
            }
            if self.record.body_len() > MAX_ROW {
                let errors = vec![Reason::record("database", "string or blob too big")];
                self.staged.rejects.push(reject(batch, row, errors));
                rejected.push(row);
                continue;
            }
            self.staged.bytes += self.record.body_len() as u64;
            self.time.clear();
            if let Some(i) = layout.time {
                write_time(&mut self.time, batch.columns().column(i).as_ref(), row);
                self.record.text(&self.time);
            }
            self.staged.pages.push(&self.record);
            if !layout.keys.is_empty() {
                self.key.clear();
                for &i in &layout.keys {
                    cells[i].write(row, &mut self.key, &mut self.scratch);
                }
                self.key.text(&self.time);
                let mut hasher = DefaultHasher::new();
                self.key.bytes(&mut self.scratch).iter().for_each(|part| hasher.write(part));
                self.staged.hashes.push(hasher.finish());
            }
        }
        self.records += batch.num_rows() as u64;
        self.staged.origins.extend(remaining(batch, &rejected));
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Encoded> {
        let bytes = self.staged.pages.bytes().len() + origins_size(&self.staged.origins);
        Ok(Encoded { records: self.records, bytes: bytes as u64, payload: Box::new(self.staged) })
    }
}

fn unloadable(
    layout: &Layout,
    suspects: &[usize],
    cells: &[Cells<'_>],
    batch: &Batch,
    row: usize,
) -> Vec<Reason> {
    let mut errors = Vec::new();
    for &i in suspects {
        let name = || layout.schema.field(i).name().clone();
        if layout.keys.contains(&i) && cells[i].is_null(row) {
            errors.push(no_key(name()));
        }
        if layout.time == Some(i) && cells[i].is_null(row) {
            errors.push(no_time(name()));
        }
        if cells[i].would_be_lost(row, layout.affinities[i]) {
            let message = "the column cannot hold this number";
            let value = value_text(batch.columns().column(i), row);
            errors.push(Reason::field(name(), "database", message, value));
        }
    }
    errors
}

/// Writes a date or a timestamp so that earlier ones sort before later ones: with all digits of
/// its unit.
fn write_time(out: &mut Vec<u8>, array: &dyn Array, row: usize) {
    write_value(out, array, row);
    let DataType::Timestamp(unit, _) = array.data_type() else { return };
    let digits = match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    };
    let utc = out.pop_if(|last| *last == b'Z').is_some();
    let point = out.iter().rposition(|byte| *byte == b'.').unwrap_or_else(|| {
        out.extend((digits > 0).then_some(b'.'));
        out.len() - usize::from(digits > 0)
    });
    out.resize(point + usize::from(digits > 0) + digits, b'0');
    out.extend(utc.then_some(b'Z'));
}

#[cfg(test)]
mod tests {
    use arrow_array::{
        ArrayRef, Date32Array, TimestampMicrosecondArray, TimestampMillisecondArray,
        TimestampSecondArray,
    };

    use super::*;

    #[test]
    fn times_sort_as_they_follow() {
        let micros = vec![0, 1, 10, 500_000, 999_999, 1_000_000, 86_400_000_000];
        let zoned = TimestampMicrosecondArray::from(micros.clone()).with_timezone("UTC");
        let arrays: Vec<ArrayRef> = vec![
            Arc::new(zoned),
            Arc::new(TimestampMicrosecondArray::from(micros)),
            Arc::new(TimestampMillisecondArray::from(vec![0, 1, 20, 300, 1000])),
            Arc::new(TimestampSecondArray::from(vec![0, 1, 100_000])),
            Arc::new(Date32Array::from(vec![-1, 0, 20_000])),
        ];
        for array in arrays {
            let texts: Vec<String> = (0..array.len())
                .map(|row| {
                    let mut text = Vec::new();
                    write_time(&mut text, array.as_ref(), row);
                    String::from_utf8(text).unwrap()
                })
                .collect();
            assert!(texts.is_sorted(), "{texts:?}");
            assert!(texts.iter().all(|text| text.len() == texts[0].len()), "{texts:?}");
        }
    }
}
