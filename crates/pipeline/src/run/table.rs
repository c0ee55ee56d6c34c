//! What a step does that makes a table of its own out of all batches.

use std::collections::VecDeque;
use std::sync::PoisonError;
use std::time::Instant;

use gristmill_core::{Batch, Error, Result, Turn};
use gristmill_parallel::views::value_bytes;

use super::Stream;
use super::segment::Ordered;
use super::work::{Tally, Work, settle};

/// The size of the chunks that a table is made into, as values in memory. It follows the data only,
/// since a chunk may become a row group.
const CHUNK: usize = 16 << 20;

/// First the chunks of the input, without their records, as the step takes them; and then, or in
/// between, chunks of what it gives.
pub(super) struct InTable {
    input: Stream,
    ordered: Ordered,
    /// The chunk that is being taken, and those of its batches that were not taken yet.
    taken: Option<(Work, VecDeque<Batch>)>,
    given: Work,
    bytes: usize,
    state: State,
}

#[derive(PartialEq)]
enum State {
    Taking,
    /// There is no more input.
    Ended,
    /// The step needs no more input; there may be some.
    Full,
    Over,
}

impl InTable {
    pub(super) fn new(input: Stream, ordered: Ordered) -> Self {
        let (given, state) = (Work::default(), State::Taking);
        Self { input, ordered, taken: None, given, bytes: 0, state }
    }

    fn advance(&mut self) -> Result<Option<Work>> {
        let ordered = self.ordered.clone();
        let mut step = ordered.step.lock().unwrap_or_else(PoisonError::into_inner);
        let step = step.table().ok_or_else(|| Error::internal("a step is no table any more"))?;
        while self.state != State::Over {
            if self.state == State::Full {
                return self.drain();
            }
            let started = Instant::now();
            let turn = step.turn()?;
            self.tally(self.ordered.index, |tally| tally.busy += started.elapsed());
            match turn {
                Turn::Gives(batch) => {
                    self.bytes += value_bytes(batch.columns());
                    let rows = batch.num_rows() as u64;
                    self.tally(self.ordered.index, |tally| tally.passed += rows);
                    self.given.batches.push(batch);
                    if self.bytes >= CHUNK {
                        self.bytes = 0;
                        return Ok(Some(std::mem::take(&mut self.given)));
                    }
                }
                Turn::Takes => {
                    if let Some((work, batches)) = &mut self.taken {
                        let Some(batch) = batches.pop_front() else {
                            return Ok(self.taken.take().map(|(work, _)| work));
                        };
                        let batch = take(work, ordered.index, batch)?;
                        step.give(Some(batch))?;
                        continue;
                    }
                    match self.input.next().transpose()? {
                        Some(mut work) => {
                            let batches = std::mem::take(&mut work.batches).into();
                            self.taken = Some((work, batches));
                        }
                        None if self.state == State::Ended => {
                            return Err(Error::internal("a step wants more than there is"));
                        }
                        None => {
                            self.state = State::Ended;
                            step.give(None)?;
                        }
                    }
                }
                Turn::Done => {
                    self.state = State::Full;
                    if !self.given.batches.is_empty() {
                        return Ok(Some(std::mem::take(&mut self.given)));
                    }
                }
            }
        }
        Ok(None)
    }

    /// What is left of the input is read, and counted, all the same.
    fn drain(&mut self) -> Result<Option<Work>> {
        let next = match self.taken.take() {
            Some((work, batches)) => Some((work, batches)),
            None => self.input.next().transpose()?.map(|mut work| {
                let batches = std::mem::take(&mut work.batches).into();
                (work, batches)
            }),
        };
        let Some((mut work, batches)) = next else {
            self.state = State::Over;
            return Ok(Some(std::mem::take(&mut self.given)).filter(|work| !work.steps.is_empty()));
        };
        for batch in batches {
            take(&mut work, self.ordered.index, batch)?;
        }
        Ok(Some(work))
    }

    fn tally(&mut self, index: usize, count: impl FnOnce(&mut Tally)) {
        count(tally(&mut self.given, index));
    }
}

/// A batch, without its flaws, and counted as one that the step was given.
fn take(work: &mut Work, index: usize, batch: Batch) -> Result<Batch> {
    let batch = settle(batch, &mut work.findings)?;
    tally(work, index).read += batch.num_rows() as u64;
    Ok(batch)
}

fn tally(work: &mut Work, index: usize) -> &mut Tally {
    let place = work.steps.iter().position(|(at, _)| *at == index).unwrap_or_else(|| {
        work.steps.push((index, Tally::default()));
        work.steps.len() - 1
    });
    &mut work.steps[place].1
}

impl Iterator for InTable {
    type Item = Result<Work>;

    fn next(&mut self) -> Option<Self::Item> {
        let work = self.advance();
        if work.is_err() {
            self.state = State::Over;
        }
        work.transpose()
    }
}
