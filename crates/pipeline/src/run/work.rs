//! One chunk on its way through the run.

use std::time::{Duration, Instant};

use gristmill_core::{Batch, Encoded, Error, Findings, OrderedStep, Result, Step};
use gristmill_parallel::views::value_bytes;

use super::lines::Lines;

/// What one step did to one chunk.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tally {
    /// Fit records in.
    pub(super) read: u64,
    /// Fit records out.
    pub(super) passed: u64,
    pub(super) filtered: u64,
    pub(super) deduplicated: u64,
    pub(super) rejected: u64,
    pub(super) busy: Duration,
}

impl Tally {
    pub(super) fn add(&mut self, other: &Tally) {
        self.read += other.read;
        self.passed += other.passed;
        self.filtered += other.filtered;
        self.deduplicated += other.deduplicated;
        self.rejected += other.rejected;
        self.busy += other.busy;
    }
}

/// One chunk: what was read, what is left of it, and what was found.
#[derive(Default)]
pub(super) struct Work {
    /// Whether it starts a file or the like.
    pub(super) starts_source: bool,
    /// The batches read, and the rejects so far.
    pub(super) lines: Lines,
    /// What is left, in order; empty once encoded.
    pub(super) batches: Vec<Batch>,
    pub(super) findings: Findings,
    /// Decoding.
    pub(super) decoded: Tally,
    /// Steps, by their position in the job.
    pub(super) steps: Vec<(usize, Tally)>,
    /// Encoding.
    pub(super) encoded: Duration,
    /// The chunk for each destination, once encoded.
    pub(super) parts: Vec<Encoded>,
}

impl Work {
    pub(super) fn size(&self) -> usize {
        let batches = self
            .batches
            .iter()
            .map(|batch| value_bytes(batch.unfiltered().0) + batch.origin().byte_size());
        batches.sum::<usize>() + self.lines.size()
    }

    /// Writes down the rejects that were found.
    pub(super) fn write_rejects(&mut self) -> Result<()> {
        self.lines.add(self.findings.take_rejects())
    }

    /// Applies a row-local step to every batch.
    pub(super) fn step(&mut self, index: usize, step: &dyn Step) -> Result<()> {
        self.each(index, step.settles(), |batch, findings| step.apply(batch, findings))
    }

    /// Applies an ordered step to every batch.
    pub(super) fn ordered(&mut self, index: usize, step: &mut dyn OrderedStep) -> Result<()> {
        let settles = step.settles();
        self.each(index, settles, |batch, findings| step.apply(batch, findings))
    }

    fn each(
        &mut self,
        index: usize,
        settles: bool,
        mut apply: impl FnMut(Batch, &mut Findings) -> Result<Batch>,
    ) -> Result<()> {
        let mut tally = Tally::default();
        for batch in std::mem::take(&mut self.batches) {
            let findings = &mut self.findings;
            self.batches.push(apply_step(batch, findings, &mut tally, settles, &mut apply)?);
        }
        match self.steps.iter_mut().find(|(at, _)| *at == index) {
            // A step with a local and an ordered part: what the second took out, of the same records.
            Some((_, earlier)) => {
                earlier.passed = tally.passed;
                earlier.filtered += tally.filtered;
                earlier.deduplicated += tally.deduplicated;
                earlier.rejected += tally.rejected;
                earlier.busy += tally.busy;
            }
            None => self.steps.push((index, tally)),
        }
        Ok(())
    }
}

/// Applies one step to one batch, and counts what it did.
pub(super) fn apply_step(
    mut batch: Batch,
    findings: &mut Findings,
    tally: &mut Tally,
    settles: bool,
    apply: &mut impl FnMut(Batch, &mut Findings) -> Result<Batch>,
) -> Result<Batch> {
    if settles {
        batch = settle(batch, findings)?;
    }
    let before = Count::of(&batch);
    let (filtered, deduplicated) = (findings.filtered, findings.deduplicated);
    let rejects = findings.rejects().len();
    let started = Instant::now();
    let batch = apply(batch, findings)?;
    tally.busy += started.elapsed();
    let after = Count::of(&batch);
    tally.read += before.fit();
    tally.passed += after.fit();
    tally.filtered += findings.filtered - filtered;
    tally.deduplicated += findings.deduplicated - deduplicated;
    tally.rejected += (findings.rejects().len() - rejects) as u64;
    tally.rejected += after.flawed.saturating_sub(before.flawed);
    Ok(batch)
}

/// Turns flawed rows into rejects, and checks that each of them became one.
pub(super) fn settle(batch: Batch, findings: &mut Findings) -> Result<Batch> {
    checked(batch, findings, Batch::settle)
}

/// The same for a batch that is encoded next.
pub(super) fn settle_in_place(batch: Batch, findings: &mut Findings) -> Result<Batch> {
    checked(batch, findings, |batch, findings| Ok(batch.settle_in_place(findings)))
}

fn checked(
    batch: Batch,
    findings: &mut Findings,
    settle: impl FnOnce(Batch, &mut Findings) -> Result<Batch>,
) -> Result<Batch> {
    let flawed = Count::of(&batch).flawed;
    let before = findings.rejects().len();
    let batch = settle(batch, findings)?;
    let rejected = (findings.rejects().len() - before) as u64;
    if rejected != flawed {
        return Err(Error::internal(format!(
            "{flawed} records had flaws and {rejected} were rejected"
        )));
    }
    Ok(batch)
}

/// Rows of a batch, and how many of them have flaws.
#[derive(Debug, Clone, Copy)]
pub(super) struct Count {
    pub(super) rows: u64,
    pub(super) flawed: u64,
}

impl Count {
    pub(super) fn of(batch: &Batch) -> Self {
        let mut flawed: Vec<u32> = batch.flaws().iter().map(|flaw| flaw.row).collect();
        flawed.sort_unstable();
        flawed.dedup();
        Self { rows: batch.num_rows() as u64, flawed: flawed.len() as u64 }
    }

    pub(super) fn fit(self) -> u64 {
        self.rows - self.flawed
    }
}
