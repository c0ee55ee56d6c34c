//! What a step does that makes a table of its own out of all batches.

use std::collections::VecDeque;
use std::sync::PoisonError;
use std::time::Instant;

use gristmill_core::{Batch, Error, LeftOut, Result, Turn};
use gristmill_parallel::views::value_bytes;

use super::Stream;
use super::segment::Ordered;
use super::work::{Count, Tally, Work, settle};

/// The size of the chunks that a table is made into, as values in memory: some are in memory at once,
/// each with what it is encoded to. It follows the data only, since a chunk may become a row group.
const CHUNK: usize = 8 << 20;

/// First the chunks of the input, without their records, as the step takes them; and then, or in
/// between, chunks of what it gives.
pub(super) struct InTable {
    input: Stream,
    ordered: Ordered,
    /// The chunk that is being taken.
    taken: Option<Taken>,
    given: Work,
    bytes: usize,
    state: State,
}

/// A chunk whose batches are taken one after the other.
struct Taken {
    work: Work,
    /// Those that were not taken yet.
    batches: VecDeque<Batch>,
    /// Whether a local part of the step counted them already.
    counted: bool,
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
                    let count = Count::of(&batch);
                    self.tally(self.ordered.index, |tally| {
                        tally.passed += count.fit();
                        tally.rejected += count.flawed;
                    });
                    self.given.batches.push(batch);
                    if self.bytes >= CHUNK {
                        self.bytes = 0;
                        return Ok(Some(std::mem::take(&mut self.given)));
                    }
                }
                Turn::Takes => {
                    if let Some(taken) = &mut self.taken {
                        let Some(batch) = taken.next(ordered.index)? else {
                            return Ok(self.taken.take().map(|taken| taken.work));
                        };
                        step.give(Some(batch))?;
                        continue;
                    }
                    match self.input.next().transpose()? {
                        Some(work) => self.taken = Some(Taken::new(work, ordered.index)),
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
                    let LeftOut { filtered, deduplicated } = step.left_out();
                    self.tally(self.ordered.index, |tally| {
                        tally.filtered += filtered;
                        tally.deduplicated += deduplicated;
                    });
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
        let index = self.ordered.index;
        let next = match self.taken.take() {
            Some(taken) => Some(taken),
            None => self.input.next().transpose()?.map(|work| Taken::new(work, index)),
        };
        let Some(mut taken) = next else {
            self.state = State::Over;
            return Ok(Some(std::mem::take(&mut self.given)).filter(|work| !work.steps.is_empty()));
        };
        while taken.next(index)?.is_some() {}
        Ok(Some(taken.work))
    }

    fn tally(&mut self, index: usize, count: impl FnOnce(&mut Tally)) {
        count(tally(&mut self.given, index));
    }
}

impl Taken {
    fn new(mut work: Work, index: usize) -> Self {
        let batches = std::mem::take(&mut work.batches).into();
        let local = work.steps.iter_mut().find(|(at, _)| *at == index);
        // What goes on is counted when it is given.
        let counted = local.map(|(_, tally)| tally.passed = 0).is_some();
        Self { work, batches, counted }
    }

    /// The next batch, without its flaws, and counted as one that the step was given.
    fn next(&mut self, index: usize) -> Result<Option<Batch>> {
        let Some(batch) = self.batches.pop_front() else { return Ok(None) };
        let batch = settle(batch, &mut self.work.findings)?;
        if !self.counted {
            tally(&mut self.work, index).read += batch.num_rows() as u64;
        }
        Ok(Some(batch))
    }
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
