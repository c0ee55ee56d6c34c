//! Records whose key another source has, or does not have: they are kept or taken out as they come.

use arrow_array::{Array, BooleanArray, RecordBatch};
use gristmill_core::{Batch, Findings, OrderedStep, Records, Result, Space};
use gristmill_parallel::spill::Seen;
use serde_json::{Value, json};

use super::super::hashed::{Hashed, Nulls, hashes};
use super::super::matching::{Side, unfit};

pub(super) struct Keep {
    side: Side,
    /// Whether records stay whose key is there; else those whose key is not.
    there: bool,
    space: Space,
    records: Option<Records>,
    /// The keys of the source, once it is read.
    keys: Option<Seen>,
    read: u64,
    found: u64,
    nothing: u64,
}

impl Keep {
    pub(super) fn new(side: Side, there: bool) -> Self {
        let space = Space::default();
        Self { side, there, space, records: None, keys: None, read: 0, found: 0, nothing: 0 }
    }

    fn read(&mut self) -> Result<Seen> {
        let mut keys = Seen::new(self.space.clone());
        for batch in self.records.take().into_iter().flatten() {
            let batch = batch?;
            let columns = self.side.keys.iter().map(|(key, name)| {
                let column = key.of_source(&batch)?;
                Ok((name, column.map_err(|(row, why)| unfit(&batch, row, &why))?, true))
            });
            let columns = columns.collect::<Result<Vec<_>>>()?;
            let columns = RecordBatch::try_from_iter_with_nullable(columns)?;
            let [high, low] = hashes(&columns, Nulls::Unequal);
            let hashed = Hashed::halves(&high, &low);
            let known = high.nulls();
            keys.fetch(&hashed)?;
            for (row, hash) in hashed.into_iter().enumerate() {
                if known.is_none_or(|known| known.is_valid(row)) {
                    keys.get_or_insert(hash, 0);
                }
            }
            self.read += batch.num_rows() as u64;
        }
        Ok(keys)
    }
}

impl OrderedStep for Keep {
    fn load(&mut self, references: Vec<Records>) {
        self.records = references.into_iter().next();
    }

    fn open(&mut self, space: Space) {
        self.space = space;
    }

    fn apply(&mut self, batch: Batch, findings: &mut Findings) -> Result<Batch> {
        let Hashed { batch, hashes, nulls } = Hashed::of(batch)?;
        let keys = match self.keys.take() {
            Some(keys) => keys,
            None => self.read()?,
        };
        let keys = self.keys.insert(keys);
        keys.fetch(&hashes)?;
        let null = |row| nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
        let found = |(row, hash): (usize, &_)| !null(row) && keys.get(*hash).is_some();
        let found: Vec<bool> = hashes.iter().enumerate().map(found).collect();
        let there = found.iter().filter(|found| **found).count() as u64;
        self.found += there;
        self.nothing += found.len() as u64 - there;
        let keep: BooleanArray = found.into_iter().map(|found| Some(found == self.there)).collect();
        findings.filtered += (keep.len() - keep.true_count()) as u64;
        batch.filter(&keep)
    }

    fn report(&self) -> Option<Value> {
        Some(json!({
            "source": self.side.name,
            "records": self.read,
            "found": self.found,
            "nothing": self.nothing,
        }))
    }
}
