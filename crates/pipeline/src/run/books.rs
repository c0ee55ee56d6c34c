//! The run's books: what every step did with every record, and whether it adds up.

use std::sync::Arc;
use std::time::Duration;

use gristmill_core::metrics::StageMetrics;
use gristmill_core::{Account, Error, Grain, Imbalance, Result};

use super::open::StepInfo;
use super::segment::Reporters;
use super::work::{Tally, Work};
use crate::report::{Report, SourceReport, StepReport};

pub(super) struct Books {
    names: Vec<(String, Grain)>,
    decoded: Tally,
    steps: Vec<Tally>,
    encoded: StageMetrics,
    sources: Vec<SourceReport>,
    /// Records that should have reached the destinations.
    passed: u64,
    /// The first disagreement between one step's records out and the next one's records in.
    broken: Option<Imbalance>,
}

impl Books {
    pub(super) fn new(steps: &[StepInfo]) -> Self {
        Self {
            names: steps.iter().map(|step| (step.name.clone(), step.grain)).collect(),
            decoded: Tally::default(),
            steps: vec![Tally::default(); steps.len()],
            encoded: StageMetrics::default(),
            sources: Vec::new(),
            passed: 0,
            broken: None,
        }
    }

    /// Adds the next chunk, in source order.
    pub(super) fn add(&mut self, work: &Work) {
        self.decoded.add(&work.decoded);
        self.encoded.busy += work.encoded;
        self.encoded.bytes += work.parts.iter().map(|part| part.bytes).sum::<u64>();
        if let Some(first) = work.lines.batches().next() {
            let new = self.sources.last().is_none_or(|last| last.name != first.source);
            if work.starts_source || new {
                self.sources.push(SourceReport { name: Arc::clone(&first.source), records: 0 });
            }
            if let Some(source) = self.sources.last_mut() {
                source.records += work.decoded.read;
            }
        }
        let mut current = work.decoded.passed;
        for (index, total) in self.steps.iter_mut().enumerate() {
            match work.steps.iter().find(|(at, _)| *at == index) {
                Some((_, tally)) => {
                    if tally.read != current && self.broken.is_none() {
                        let name = format!("step `{}`", self.names[index].0);
                        self.broken = Some(Imbalance { name, read: tally.read, out: current });
                    }
                    total.add(tally);
                    current = tally.passed;
                }
                // The decoder did it.
                None => total.add(&Tally { read: current, passed: current, ..Tally::default() }),
            }
        }
        self.passed += current;
    }

    pub(super) fn read(&self) -> u64 {
        self.decoded.read
    }

    pub(super) fn sources(&self) -> Vec<SourceReport> {
        self.sources.clone()
    }

    /// The steps' accounts, reading and encoding included.
    pub(super) fn steps(
        &self,
        reporters: &Reporters,
        wall: Duration,
        bytes_read: u64,
    ) -> Vec<StepReport> {
        let metrics = |busy, bytes| StageMetrics { bytes, busy, wall, ..StageMetrics::default() };
        let read = StepReport::new(
            "read",
            &self.account(&self.decoded),
            metrics(self.decoded.busy, bytes_read),
            None,
        );
        let steps =
            self.steps.iter().zip(&self.names).enumerate().map(|(index, (tally, (name, _)))| {
                StepReport::new(
                    name,
                    &self.account(tally),
                    metrics(tally.busy, 0),
                    reporters.report(index),
                )
            });
        let written = Account { read: self.passed, inserted: self.passed, ..Account::default() };
        let write = StepReport::new(
            "write",
            &written,
            metrics(self.encoded.busy, self.encoded.bytes),
            None,
        );
        std::iter::once(read).chain(steps).chain(std::iter::once(write)).collect()
    }

    /// Checks every step's account, then completes and checks those of the destinations and of the
    /// run. What destinations are about to publish is in the report by now.
    pub(super) fn check(&self, report: &mut Report) -> Result<()> {
        if let Some(broken) = &self.broken {
            return Err(unbalanced(broken.clone()));
        }
        self.account(&self.decoded).check("reading").map_err(unbalanced)?;
        for (tally, (name, grain)) in self.steps.iter().zip(&self.names) {
            if *grain == Grain::Preserves {
                self.account(tally).check(&format!("step `{name}`")).map_err(unbalanced)?;
            }
        }
        self.close(report)
    }

    fn close(&self, report: &mut Report) -> Result<()> {
        let upstream = self.upstream();
        for (i, destination) in report.destinations.iter_mut().enumerate() {
            let name = format!("destination `{}`", destination.name);
            if destination.account.read != self.passed {
                let read = destination.account.read;
                return Err(unbalanced(Imbalance { name, read, out: self.passed }));
            }
            destination.account.check(&name).map_err(unbalanced)?;
            let mut account = upstream;
            account.inserted = destination.account.inserted;
            account.updated = destination.account.updated;
            account.closed = destination.account.closed;
            account.unchanged = destination.account.unchanged;
            account.filtered += destination.account.filtered;
            account.deduplicated += destination.account.deduplicated;
            account.rejected += destination.account.rejected;
            account.check("the run").map_err(unbalanced)?;
            if i == 0 {
                report.account = account;
            }
        }
        Ok(())
    }

    /// What became of records before the destinations, since the grain last changed.
    fn upstream(&self) -> Account {
        let changed = self.names.iter().rposition(|(_, grain)| *grain == Grain::Changes);
        let (mut account, steps) = match changed {
            Some(at) => (
                Account { read: self.steps[at].passed, ..Account::default() },
                &self.steps[at + 1..],
            ),
            None => (
                Account {
                    read: self.decoded.read,
                    rejected: self.decoded.rejected,
                    ..Account::default()
                },
                &self.steps[..],
            ),
        };
        for tally in steps {
            account.filtered += tally.filtered;
            account.deduplicated += tally.deduplicated;
            account.rejected += tally.rejected;
        }
        account
    }

    fn account(&self, tally: &Tally) -> Account {
        Account {
            read: tally.read,
            inserted: tally.passed,
            filtered: tally.filtered,
            deduplicated: tally.deduplicated,
            rejected: tally.rejected,
            ..Account::default()
        }
    }
}

fn unbalanced(imbalance: Imbalance) -> Error {
    Error::internal("the run's books do not balance").caused_by(imbalance)
}
