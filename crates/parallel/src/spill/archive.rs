//! Where records stood and what they were, for as long as they are on their way in another order.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::Schema;
use bytes::Bytes;
use gristmill_core::origin::Archive;
use gristmill_core::{Batch, Error, Origin, Result, Space};

use super::HeldBatches;

/// Puts away the provenance of batches, without their columns: in memory while there is room, then
/// on disk. Their rows are numbered from 0, in the order in which the batches come.
pub struct Provenance(Mutex<Kept>);

struct Kept {
    held: HeldBatches,
    /// The number of each batch's first row.
    starts: Vec<u64>,
    rows: u64,
    /// The batch that was asked for last.
    last: Option<(usize, Batch)>,
}

impl Provenance {
    /// Knows nothing.
    pub fn new(space: Space) -> Self {
        let held = HeldBatches::new(space);
        Self(Mutex::new(Kept { held, starts: Vec::new(), rows: 0, last: None }))
    }

    /// Puts a batch away; answers the number of its first row.
    ///
    /// # Errors
    /// When the disk cannot be written, or when flaws of the batch are open.
    pub fn push(&self, batch: &Batch) -> Result<u64> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let schema = Arc::new(Schema::empty());
        let columns = RecordBatch::try_new_with_options(schema, Vec::new(), &options)?;
        kept.held.push(batch.clone().with_columns(columns)?, Vec::new())?;
        let first = kept.rows;
        kept.starts.push(first);
        kept.rows += batch.num_rows() as u64;
        Ok(first)
    }
}

impl Archive for Provenance {
    fn record(&self, number: u64) -> Result<Arc<Origin>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let unknown = || Error::internal(format!("there is no row {number}"));
        // Batches without rows start where the next one does.
        let place = kept.starts.partition_point(|start| *start <= number).checked_sub(1);
        let place = place.ok_or_else(unknown)?;
        let batch = match &kept.last {
            Some((last, batch)) if *last == place => batch.clone(),
            _ => {
                let batch = kept.held.get(place)?.ok_or_else(unknown)?;
                kept.last = Some((place, batch.clone()));
                batch
            }
        };
        let ordinal = batch.rows().ordinal((number - kept.starts[place]) as usize);
        let (origin, ordinal) = batch.origin().resolve(ordinal)?;
        let location = origin.locate(ordinal as usize);
        let raw = Bytes::from(origin.raw(ordinal as usize).into_owned());
        Ok(Arc::new(Origin::kept(Arc::clone(origin.source()), raw, location)))
    }
}

impl fmt::Debug for Provenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Provenance")
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::BooleanArray;
    use gristmill_core::origin::{Place, Span};

    use super::*;

    #[test]
    fn records_are_found_again() {
        for memory in [0, 1 << 20] {
            let archive = Arc::new(Provenance::new(Space { memory, ..Space::default() }));
            for (n, source) in ["a.csv", "b.csv"].into_iter().enumerate() {
                let text = Bytes::from_static(b"a,1\n\"b\nb\",2\nc,3\n");
                let spans = [(0, 3), (4, 7), (12, 3)].map(|(start, len)| Span { start, len });
                let origin = Origin::text(source.into(), text, 100, spans.to_vec(), b'\n');
                origin.set_place(Place { first_record: 11, first_line: 21 });
                let options = RecordBatchOptions::new().with_row_count(Some(3));
                let schema = Arc::new(Schema::empty());
                let columns =
                    RecordBatch::try_new_with_options(schema, Vec::new(), &options).unwrap();
                let batch = Batch::whole(columns, Arc::new(origin)).unwrap();
                let none = batch.clone().filter(&BooleanArray::from(vec![false; 3])).unwrap();
                assert_eq!(archive.push(&none).unwrap(), 2 * n as u64);
                let some = batch.filter(&BooleanArray::from(vec![false, true, true])).unwrap();
                assert_eq!(archive.push(&some).unwrap(), 2 * n as u64);
            }
            let archived = Origin::archived(archive, [3, 0].into());
            let archived = Arc::new(archived);
            assert_eq!((archived.raw(0), archived.raw(1)), ("c,3".into(), "\"b\nb\",2".into()));
            assert_eq!(archived.locate(0).line, Some(24));
            let (origin, ordinal) = archived.resolve(1).unwrap();
            assert_eq!((&**origin.source(), ordinal), ("a.csv", 0));
            assert_eq!(origin.locate(0).record, 12);
            assert_eq!(&**archived.resolve(0).unwrap().0.source(), "b.csv");
        }
    }
}
