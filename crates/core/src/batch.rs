//! Batches: many records in columns, with their provenance and their open flaws.

use std::sync::{Arc, OnceLock};

use arrow_array::{Array, BooleanArray, RecordBatch, UInt32Array};
use arrow_buffer::BooleanBufferBuilder;
use arrow_schema::SchemaRef;
use arrow_select::{filter::filter_record_batch, take::take_record_batch};

use crate::error::{Error, Result};
use crate::findings::Findings;
use crate::origin::Origin;
use crate::reject::{Reason, Reject, Stage};

/// Which record of the origin each row of a batch came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rows {
    /// Row `i` is record `i`; the number of rows.
    All(u32),
    /// Row `i` is the record with this ordinal.
    Some(Arc<[u32]>),
}

impl Rows {
    /// The ordinal that a row came from.
    pub fn ordinal(&self, row: usize) -> u32 {
        match self {
            Rows::All(_) => row as u32,
            Rows::Some(ordinals) => ordinals[row],
        }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        match self {
            Rows::All(n) => *n as usize,
            Rows::Some(ordinals) => ordinals.len(),
        }
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All but these rows, which ascend.
    fn without(&self, dropped: &[u32]) -> Self {
        let mut kept = Vec::with_capacity(self.len() - dropped.len());
        let mut next = 0;
        for end in dropped.iter().copied().chain([self.len() as u32]) {
            match self {
                Rows::All(_) => kept.extend(next..end),
                Rows::Some(ordinals) => {
                    kept.extend_from_slice(&ordinals[next as usize..end as usize]);
                }
            }
            next = end + 1;
        }
        Rows::Some(kept.into())
    }

    fn select(&self, rows: impl Iterator<Item = usize>) -> Self {
        Rows::Some(rows.map(|row| self.ordinal(row)).collect())
    }
}

/// A reason for rejecting a row that is not yet acted on, so that later rules can add theirs.
#[derive(Debug, Clone, PartialEq)]
pub struct Flaw {
    /// Row in the batch.
    pub row: u32,
    /// Where it was found.
    pub stage: Stage,
    /// What is wrong.
    pub reason: Reason,
}

/// Many records in columns, with their provenance.
///
/// Casts and rules do not take a bad row out at once: they note a *flaw*, so that every reason is
/// known when [`Batch::settle`] turns flawed rows into rejects. A field with a flaw is null.
#[derive(Debug, Clone)]
pub struct Batch {
    columns: RecordBatch,
    /// Rows of `columns` that are no rows of the batch any more, ascending.
    dropped: Vec<u32>,
    /// The columns without these rows, once somebody asked for them.
    kept: OnceLock<RecordBatch>,
    origin: Arc<Origin>,
    rows: Rows,
    flaws: Vec<Flaw>,
}

impl Batch {
    /// A batch whose row `i` came from record `rows.ordinal(i)` of `origin`.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Internal`] when `rows` and `columns` disagree on the number of rows.
    pub fn new(columns: RecordBatch, origin: Arc<Origin>, rows: Rows) -> Result<Self> {
        if columns.num_rows() != rows.len() {
            return Err(Error::internal(format!(
                "a batch of {} rows has provenance for {}",
                columns.num_rows(),
                rows.len()
            )));
        }
        let (dropped, kept, flaws) = (Vec::new(), OnceLock::new(), Vec::new());
        Ok(Self { columns, dropped, kept, origin, rows, flaws })
    }

    /// A batch in which every record of the origin is a row.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn whole(columns: RecordBatch, origin: Arc<Origin>) -> Result<Self> {
        let rows = Rows::All(origin.len() as u32);
        Self::new(columns, origin, rows)
    }

    /// The columns.
    pub fn columns(&self) -> &RecordBatch {
        if self.dropped.is_empty() {
            return &self.columns;
        }
        self.kept.get_or_init(|| without(&self.columns, &self.dropped))
    }

    /// The columns with rows that [`Self::settle_in_place`] or [`Self::filter_in_place`] took out,
    /// and which those are, ascending.
    pub fn unfiltered(&self) -> (&RecordBatch, &[u32]) {
        (&self.columns, &self.dropped)
    }

    /// Names and types of the columns.
    pub fn schema(&self) -> SchemaRef {
        self.columns.schema()
    }

    /// Number of rows.
    pub fn num_rows(&self) -> usize {
        self.rows.len()
    }

    /// The provenance.
    pub fn origin(&self) -> &Arc<Origin> {
        &self.origin
    }

    /// Which record each row came from.
    pub fn rows(&self) -> &Rows {
        &self.rows
    }

    /// Flaws noted and not yet settled, in the order they were noted.
    pub fn flaws(&self) -> &[Flaw] {
        &self.flaws
    }

    /// Notes a reason to reject a row.
    pub fn add_flaw(&mut self, row: usize, stage: Stage, reason: Reason) {
        self.flaws.push(Flaw { row: row as u32, stage, reason });
    }

    /// Notes many.
    pub fn add_flaws(&mut self, flaws: impl IntoIterator<Item = Flaw>) {
        self.flaws.extend(flaws);
    }

    /// Takes back the flaws for which `keep` is false.
    pub fn retain_flaws(&mut self, keep: impl FnMut(&Flaw) -> bool) {
        self.flaws.retain(keep);
    }

    /// The same rows with other columns.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_columns(self, columns: RecordBatch) -> Result<Self> {
        let flaws = self.flaws;
        let mut batch = Self::new(columns, self.origin, self.rows)?;
        batch.flaws = flaws;
        Ok(batch)
    }

    /// The rows for which `keep` is true, in order; null counts as false. Flaws follow their rows.
    ///
    /// # Errors
    /// When `keep` has another length.
    pub fn filter(self, keep: &BooleanArray) -> Result<Self> {
        if keep.null_count() == 0
            && keep.true_count() == keep.len()
            && keep.len() == self.num_rows()
        {
            return Ok(self);
        }
        let columns = filter_record_batch(self.columns(), keep)?;
        let kept: Vec<usize> =
            (0..keep.len()).filter(|&row| keep.is_valid(row) && keep.value(row)).collect();
        let rows = self.rows.select(kept.iter().copied());
        let flaws = self
            .flaws
            .into_iter()
            .filter_map(|flaw| {
                let row = kept.binary_search(&(flaw.row as usize)).ok()?;
                Some(Flaw { row: row as u32, ..flaw })
            })
            .collect();
        let mut batch = Self::new(columns, self.origin, rows)?;
        batch.flaws = flaws;
        Ok(batch)
    }

    /// As [`Self::filter`], but the columns are not copied before somebody asks for them: for one
    /// thread that decides what others copy.
    ///
    /// # Errors
    /// When `keep` has another length.
    pub fn filter_in_place(self, keep: &[bool]) -> Result<Self> {
        if keep.len() != self.num_rows() || !self.flaws.is_empty() {
            return self.filter(&BooleanArray::from(keep.to_vec()));
        }
        let dropped = (0..keep.len()).filter(|&row| !keep[row]).map(|row| row as u32);
        Ok(self.without_in_place(dropped.collect()))
    }

    /// The same batch without rows that were taken out in place, so that it does not keep them.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn copied(self) -> Result<Self> {
        if self.dropped.is_empty() {
            return Ok(self);
        }
        let columns = self.columns().clone();
        self.with_columns(columns)
    }

    /// Without these rows, which ascend.
    fn without_in_place(self, dropped: Vec<u32>) -> Self {
        if dropped.is_empty() {
            return self;
        }
        let columns = self.columns().clone();
        let rows = self.rows.without(&dropped);
        Self { columns, dropped, kept: OnceLock::new(), rows, ..self }
    }

    /// The rows at `indices`, in that order; a row may be taken any number of times. Only for a
    /// batch without open flaws.
    ///
    /// # Errors
    /// When flaws are open or an index is out of range.
    pub fn take(self, indices: &UInt32Array) -> Result<Self> {
        if !self.flaws.is_empty() {
            return Err(Error::internal("rows were taken from a batch with open flaws"));
        }
        let columns = take_record_batch(self.columns(), indices)?;
        let rows = self.rows.select(indices.values().iter().map(|&row| row as usize));
        Self::new(columns, self.origin, rows)
    }

    /// Turns flawed rows into rejects with all their reasons, and keeps the others.
    ///
    /// # Errors
    /// When a column operation fails, which is a bug.
    pub fn settle(self, findings: &mut Findings) -> Result<Self> {
        self.settle_in_place(findings).copied()
    }

    /// As [`Self::settle`], but the columns are not copied without the rejected rows before
    /// somebody asks for them: for batches that are encoded next, since an encoder may skip rows.
    #[must_use]
    pub fn settle_in_place(mut self, findings: &mut Findings) -> Self {
        if self.flaws.is_empty() {
            return self;
        }
        let mut flaws = std::mem::take(&mut self.flaws);
        flaws.sort_by_key(|flaw| flaw.row); // stable: reasons stay in the order they were found
        let mut dropped = Vec::new();
        let mut flaws = flaws.into_iter().peekable();
        while let Some(first) = flaws.next() {
            let row = first.row;
            let stage = first.stage;
            let mut errors = vec![first.reason];
            while let Some(next) = flaws.next_if(|flaw| flaw.row == row) {
                errors.push(next.reason);
            }
            dropped.push(row);
            findings.reject(Reject {
                origin: Arc::clone(&self.origin),
                ordinal: self.rows.ordinal(row as usize),
                stage,
                errors,
            });
        }
        self.without_in_place(dropped)
    }
}

/// The columns without these rows.
fn without(columns: &RecordBatch, dropped: &[u32]) -> RecordBatch {
    let mut keep = BooleanBufferBuilder::new(columns.num_rows());
    keep.append_n(columns.num_rows(), true);
    dropped.iter().for_each(|&row| keep.set_bit(row as usize, false));
    filter_record_batch(columns, &BooleanArray::new(keep.finish(), None))
        .expect("a mask as long as the columns filters them")
}

#[cfg(test)]
mod tests {
    use arrow_array::cast::AsArray;
    use arrow_array::types::Int64Type;
    use arrow_array::{ArrayRef, Int64Array};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rows_are_filtered_in_place_as_by_copying() {
        let values: ArrayRef = Arc::new(Int64Array::from_iter_values(0..5));
        let columns = RecordBatch::try_from_iter([("x", values)]).unwrap();
        let origin = Arc::new(Origin::columns("x".into(), columns.clone()));
        let mut batch = Batch::whole(columns, origin).unwrap();
        for flawed in [None, Some(3)] {
            for (row, keep) in
                [[true; 5], [false, true, true, false, true], [false; 5]].iter().enumerate()
            {
                if let Some(flawed) = flawed {
                    batch.add_flaw(flawed, Stage::Validate, Reason::record("a", format!("{row}")));
                }
                let copied = batch.clone().filter(&BooleanArray::from(keep.to_vec())).unwrap();
                let in_place = batch.clone().filter_in_place(keep).unwrap();
                assert_eq!(
                    (in_place.columns(), in_place.num_rows()),
                    (copied.columns(), copied.num_rows())
                );
                let ordinals = |batch: &Batch| -> Vec<u32> {
                    (0..batch.num_rows()).map(|row| batch.rows().ordinal(row)).collect()
                };
                assert_eq!(ordinals(&in_place), ordinals(&copied));
                assert_eq!(in_place.flaws(), copied.flaws());
                // Once more, of rows that are out in place already.
                let first: Vec<bool> = (0..copied.num_rows()).map(|row| row != 0).collect();
                let again = in_place.clone().filter_in_place(&first).unwrap();
                assert_eq!(
                    again.columns(),
                    copied.filter(&BooleanArray::from(first)).unwrap().columns()
                );
                let alone = again.copied().unwrap();
                assert_eq!(alone.unfiltered(), (alone.columns(), &[][..]));
                assert_eq!(ordinals(&alone).len(), alone.num_rows());
                assert!(in_place.filter_in_place(&[true; 6]).is_err());
            }
        }
    }

    proptest! {
        #[test]
        fn settling_takes_out_the_flawed_rows(
            ordinals in prop::collection::btree_set(0u32..20, 0..12),
            all in any::<bool>(),
            flaws in prop::collection::vec((0usize..12, "[ab]"), 0..10),
        ) {
            let ordinals: Vec<u32> = ordinals.into_iter().collect();
            let rows = if all { Rows::All(ordinals.len() as u32) } else { Rows::Some(ordinals.into()) };
            let values: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows.len() as i64));
            let columns = RecordBatch::try_from_iter([("x", values)]).unwrap();
            let origin = Arc::new(Origin::columns("x".into(), columns.clone()));
            let mut batch = Batch::new(columns, origin, rows.clone()).unwrap();
            let flaws: Vec<_> = flaws.into_iter().filter(|(row, _)| *row < rows.len()).collect();
            for (row, rule) in &flaws {
                batch.add_flaw(*row, Stage::Validate, Reason::record(rule.clone(), ""));
            }
            let mut findings = Findings::default();
            let settled = batch.clone().settle(&mut findings).unwrap();
            let in_place = batch.settle_in_place(&mut Findings::default());
            prop_assert_eq!(settled.columns(), in_place.columns());
            prop_assert_eq!((settled.rows(), settled.num_rows()), (in_place.rows(), in_place.num_rows()));
            prop_assert_eq!(settled.unfiltered(), (settled.columns(), &[][..]));
            let flawed = |row: usize| flaws.iter().any(|(other, _)| *other == row);
            let kept: Vec<usize> = (0..rows.len()).filter(|&row| !flawed(row)).collect();
            let column = settled.columns().column(0).as_primitive::<Int64Type>();
            prop_assert_eq!(column.values().to_vec(), kept.iter().map(|&row| row as i64).collect::<Vec<_>>());
            for (at, row) in kept.into_iter().enumerate() {
                prop_assert_eq!(settled.rows().ordinal(at), rows.ordinal(row));
            }
            let rejected: Vec<_> = findings.rejects().iter()
                .map(|reject| (reject.ordinal, reject.errors.iter().map(|e| e.rule.to_string()).collect::<Vec<_>>()))
                .collect();
            let expected: Vec<_> = (0..rows.len()).filter(|&row| flawed(row))
                .map(|row| (rows.ordinal(row), flaws.iter().filter(|f| f.0 == row).map(|f| f.1.clone()).collect::<Vec<_>>()))
                .collect();
            prop_assert_eq!(rejected, expected);
        }
    }
}
