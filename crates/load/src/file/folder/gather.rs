//! Rows gathered by partition over many chunks, until they make a row group worth its name.
//!
//! They are encoded on threads of their own, and come out in the order in which they were full,
//! which depends on the data alone.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::sync::Arc;

use arrow_array::RecordBatch;
use gristmill_core::{Batch, Encoded, Encoder, Error, Origin, Result};
use gristmill_parallel::{OrderedQueue, Pool};
use indexmap::IndexMap;

use crate::file::partition::Piece;

/// Bytes of values by which rows are gathered. They do not depend on the memory limit: what is in a
/// file does not.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    /// What is encoded together, at least.
    pub(crate) group: usize,
    /// What waits for more rows of its partition, over all partitions; and again what is being
    /// encoded.
    pub(crate) waiting: usize,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { group: 16 << 20, waiting: 48 << 20 }
    }
}

/// Rows on their way into files.
pub(super) struct Gather {
    sizes: Sizes,
    encoder: Arc<dyn Encoder>,
    /// Rows that are not yet encoded, by partition.
    waiting: IndexMap<String, Waiting>,
    waiting_bytes: usize,
    /// Rows being encoded, with their partition and their bytes.
    encoding: OrderedQueue<Encoded>,
    submitted: VecDeque<(String, usize)>,
    submitted_bytes: usize,
    /// What had to be waited for, to make room.
    encoded: VecDeque<(String, Encoded)>,
}

#[derive(Default)]
struct Waiting {
    columns: Vec<RecordBatch>,
    bytes: usize,
}

impl Gather {
    pub(super) fn new(sizes: Sizes, encoder: Arc<dyn Encoder>, workers: usize) -> Result<Self> {
        Ok(Self {
            sizes,
            encoder,
            waiting: IndexMap::new(),
            waiting_bytes: 0,
            encoding: OrderedQueue::new(Pool::named("encoder", workers)?),
            submitted: VecDeque::new(),
            submitted_bytes: 0,
            encoded: VecDeque::new(),
        })
    }

    /// Bytes of the rows that wait for more.
    #[cfg(test)]
    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Takes rows of a partition. They are encoded when there are enough of them, or `at_once`.
    pub(super) fn add(&mut self, piece: Piece, at_once: bool) -> Result<()> {
        let Piece { folder, columns, bytes } = piece;
        let entry = self.waiting.entry(folder);
        let at = entry.index();
        let waiting = entry.or_default();
        waiting.columns.push(columns);
        waiting.bytes += bytes;
        let enough = waiting.bytes >= self.sizes.group || at_once;
        self.waiting_bytes += bytes;
        if enough {
            return self.encode(at);
        }
        if self.waiting_bytes <= self.sizes.waiting {
            return Ok(());
        }
        let mut largest: Vec<usize> = (0..self.waiting.len()).collect();
        largest.sort_by_key(|&at| Reverse(self.waiting[at].bytes));
        for at in largest {
            if self.waiting_bytes <= self.sizes.waiting / 2 {
                break;
            }
            self.encode(at)?;
        }
        Ok(())
    }

    /// Has everything encoded that waits.
    pub(super) fn finish(&mut self) -> Result<()> {
        (0..self.waiting.len()).try_for_each(|at| self.encode(at))
    }

    /// The next rows that are encoded, if they are by now.
    pub(super) fn take_ready(&mut self) -> Result<Option<(String, Encoded)>> {
        if let Some(next) = self.encoded.pop_front() {
            return Ok(Some(next));
        }
        let ready = self.encoding.take_ready();
        ready.map(|encoded| self.with_partition(encoded)).transpose()
    }

    /// The next rows that are encoded, waiting for them; `None` if all were taken.
    pub(super) fn take(&mut self) -> Result<Option<(String, Encoded)>> {
        if let Some(next) = self.encoded.pop_front() {
            return Ok(Some(next));
        }
        let next = self.encoding.take();
        next.map(|encoded| self.with_partition(encoded)).transpose()
    }

    /// Has the rows of a partition encoded that wait.
    fn encode(&mut self, at: usize) -> Result<()> {
        let Some((partition, waiting)) = self.waiting.get_index_mut(at) else { return Ok(()) };
        if waiting.columns.is_empty() {
            return Ok(());
        }
        let Waiting { columns, bytes } = std::mem::take(waiting);
        let partition = partition.clone();
        self.waiting_bytes -= bytes;
        while self.submitted_bytes + bytes > self.sizes.waiting
            && let Some(encoded) = self.encoding.take()
        {
            let encoded = self.with_partition(encoded)?;
            self.encoded.push_back(encoded);
        }
        let mut part = self.encoder.begin();
        self.encoding.submit(move || {
            for columns in columns {
                // Rows of several origins; a format does not ask where they came from.
                let origin = Arc::new(Origin::columns("".into(), columns.clone()));
                part.push(&Batch::whole(columns, origin)?)?;
            }
            part.finish()
        });
        self.submitted.push_back((partition, bytes));
        self.submitted_bytes += bytes;
        Ok(())
    }

    fn with_partition(&mut self, encoded: Result<Encoded>) -> Result<(String, Encoded)> {
        let (partition, bytes) = self
            .submitted
            .pop_front()
            .ok_or_else(|| Error::internal("what was encoded has no partition"))?;
        self.submitted_bytes -= bytes;
        Ok((partition, encoded?))
    }
}
