//! What one step does to all chunks, one after the other, in source order.

use std::collections::VecDeque;
use std::sync::PoisonError;
use std::time::Instant;

use gristmill_core::{OrderedStep, Result};

use super::Stream;
use super::segment::Ordered;
use super::work::{Tally, Work};

/// The chunks after the step. Of a step that held rows back, first come the chunks without them,
/// with what was found before, then chunks of the same batches with the rows that it released.
pub(super) struct InOrder {
    input: Option<Stream>,
    ordered: Ordered,
    /// The number of batches in each chunk.
    chunks: VecDeque<usize>,
}

impl InOrder {
    pub(super) fn new(input: Stream, ordered: Ordered) -> Self {
        Self { input: Some(input), ordered, chunks: VecDeque::new() }
    }
}

impl Iterator for InOrder {
    type Item = Result<Work>;

    fn next(&mut self) -> Option<Self::Item> {
        let ordered = self.ordered.clone();
        let mut step = ordered.step.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(input) = &mut self.input {
            match input.next() {
                Some(work) => {
                    return Some(work.and_then(|mut work| {
                        self.chunks.push_back(work.batches.len());
                        work.ordered(ordered.index, step.as_mut())?;
                        Ok(work)
                    }));
                }
                None => self.input = None,
            }
        }
        let released = release(ordered.index, step.as_mut(), self.chunks.pop_front()?);
        if !matches!(released, Ok(Some(_))) {
            self.chunks.clear();
        }
        released.transpose()
    }
}

/// The next chunk of what a step held back; `None` if it holds nothing.
fn release(index: usize, step: &mut dyn OrderedStep, batches: usize) -> Result<Option<Work>> {
    let started = Instant::now();
    let mut work = Work::default();
    for _ in 0..batches {
        let Some(batch) = step.release(&mut work.findings)? else { return Ok(None) };
        work.batches.push(batch);
    }
    // They were read into the step's account when they came.
    let passed = work.batches.iter().map(|batch| batch.num_rows() as u64).sum();
    let deduplicated = work.findings.deduplicated;
    let busy = started.elapsed();
    work.steps.push((index, Tally { passed, deduplicated, busy, ..Tally::default() }));
    Ok(Some(work))
}
