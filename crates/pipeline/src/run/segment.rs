//! Segments: the steps between two points where batches pass in source order.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use gristmill_core::{
    Batch, CheckContext, CheckResult, Chunk, Encoder, Findings, OrderedStep, Result, Step,
};

use super::work::{Count, Tally, Work, apply_step, settle_in_place};

/// Row-local steps, then perhaps an ordered one.
pub(super) struct Segment {
    pub(super) local: Arc<Local>,
    pub(super) ordered: Option<Ordered>,
}

/// Steps that a worker applies to each batch.
#[derive(Default)]
pub(super) struct Local {
    /// Steps that only batches of some sources need, since the others' decoders did them: by
    /// source, with their position in the job.
    pub(super) leading: Vec<Vec<(usize, Box<dyn Step>)>>,
    /// By source, the places of the columns behind those steps, where their order is not that of
    /// the first source.
    pub(super) order: Vec<Option<Vec<usize>>>,
    /// Steps with their position in the job.
    pub(super) steps: Vec<(usize, Box<dyn Step>)>,
}

/// A step that sees the batches in source order.
#[derive(Clone)]
pub(super) struct Ordered {
    pub(super) index: usize,
    pub(super) step: Arc<Mutex<Box<dyn OrderedStep>>>,
}

impl Ordered {
    /// Whether it makes a table of its own.
    pub(super) fn is_table(&self) -> bool {
        self.step.lock().unwrap_or_else(PoisonError::into_inner).table().is_some()
    }
}

impl Local {
    /// Decodes a chunk and does all of this segment to it while it is in cache.
    pub(super) fn decode(
        &self,
        mut chunk: Box<dyn Chunk>,
        source: usize,
        encoders: &[Arc<dyn Encoder>],
    ) -> Result<Work> {
        let mut work = Work { starts_source: chunk.starts_source(), ..Work::default() };
        let leading = self.leading.get(source).map_or(&[][..], Vec::as_slice);
        let order = self.order.get(source).and_then(Option::as_deref);
        let steps: Vec<_> = leading.iter().chain(&self.steps).collect();
        work.steps = steps.iter().map(|(index, _)| (*index, Tally::default())).collect();
        let mut encoding: Vec<_> = encoders.iter().map(|encoder| encoder.begin()).collect();
        loop {
            let started = Instant::now();
            let rejects = work.findings.rejects().len();
            let filtered = work.findings.filtered;
            let Some(mut batch) = chunk.next_batch(&mut work.findings)? else { break };
            work.decoded.busy += started.elapsed();
            let decoded = Count::of(&batch);
            work.decoded.read += batch.origin().len() as u64;
            work.decoded.passed += decoded.fit();
            work.decoded.rejected += (work.findings.rejects().len() - rejects) as u64;
            work.decoded.rejected += decoded.flawed;
            // What the source did not read because the first step would take it out.
            let unread = work.findings.filtered - filtered;
            work.decoded.passed += unread;
            if let Some((_, first)) = work.steps.first_mut() {
                first.read += unread;
                first.filtered += unread;
            }
            work.lines.read(batch.origin());
            let mut tallied = steps.iter().zip(&mut work.steps);
            let mut each = |count: usize, batch: Batch, findings: &mut Findings| {
                tallied.by_ref().take(count).try_fold(batch, |batch, ((_, step), (_, tally))| {
                    let mut apply = |batch, findings: &mut Findings| step.apply(batch, findings);
                    apply_step(batch, findings, tally, step.settles(), &mut apply)
                })
            };
            batch = each(leading.len(), batch, &mut work.findings)?;
            if let Some(places) = order {
                let columns = batch.columns().project(places)?;
                batch = batch.with_columns(columns)?;
            }
            batch = each(self.steps.len(), batch, &mut work.findings)?;
            if encoders.is_empty() {
                work.batches.push(batch);
            } else {
                let started = Instant::now();
                let batch = settle_in_place(batch, &mut work.findings)?;
                for part in &mut encoding {
                    part.push(&batch)?;
                }
                work.encoded += started.elapsed();
            }
            work.write_rejects()?;
        }
        work.write_rejects()?;
        let started = Instant::now();
        work.parts = encoding.into_iter().map(|part| part.finish()).collect::<Result<_>>()?;
        work.encoded += started.elapsed();
        Ok(work)
    }

    /// Goes on with a chunk that was decoded in an earlier segment.
    pub(super) fn apply(&self, mut work: Work, encoders: &[Arc<dyn Encoder>]) -> Result<Work> {
        for (index, step) in &self.steps {
            work.step(*index, step.as_ref())?;
        }
        if encoders.is_empty() {
            // What an ordered step took out in place is not held by the next one.
            let batches = std::mem::take(&mut work.batches).into_iter();
            work.batches = batches.map(Batch::copied).collect::<Result<_>>()?;
            return Ok(work);
        }
        let started = Instant::now();
        let mut encoding: Vec<_> = encoders.iter().map(|encoder| encoder.begin()).collect();
        work.write_rejects()?;
        for batch in std::mem::take(&mut work.batches) {
            let batch = settle_in_place(batch, &mut work.findings)?;
            for part in &mut encoding {
                part.push(&batch)?;
            }
            work.write_rejects()?;
        }
        work.parts = encoding.into_iter().map(|part| part.finish()).collect::<Result<_>>()?;
        work.encoded += started.elapsed();
        Ok(work)
    }
}

/// Gives each chunk its place in its source.
pub(super) struct Place {
    next: gristmill_core::Place,
}

impl Default for Place {
    fn default() -> Self {
        Self { next: gristmill_core::Place { first_record: 1, first_line: 1 } }
    }
}

impl Place {
    pub(super) fn set(&mut self, work: &mut Work) {
        if work.starts_source {
            *self = Self::default();
        }
        self.next = work.lines.place(self.next);
    }
}

/// Reads what steps add to the report, after the stream has gone.
pub(super) struct Reporters {
    local: Vec<Arc<Local>>,
    ordered: Vec<Ordered>,
}

impl Reporters {
    /// What steps say of the whole input.
    pub(super) fn verdict(&self, context: &dyn CheckContext) -> Result<Vec<CheckResult>> {
        let mut results = Vec::new();
        for (_, step) in self.local.iter().flat_map(|local| &local.steps) {
            results.extend(step.verdict(context)?);
        }
        Ok(results)
    }

    pub(super) fn of(segments: &[Segment]) -> Self {
        Self {
            local: segments.iter().map(|segment| Arc::clone(&segment.local)).collect(),
            ordered: segments.iter().filter_map(|segment| segment.ordered.clone()).collect(),
        }
    }

    /// What the step at this position reports: its local and its ordered part, merged.
    pub(super) fn report(&self, index: usize) -> Option<serde_json::Value> {
        let local = self.local.iter().flat_map(|local| &local.steps);
        let local = local.filter(|(at, _)| *at == index).find_map(|(_, step)| step.report());
        let ordered =
            self.ordered.iter().filter(|ordered| ordered.index == index).find_map(|ordered| {
                ordered.step.lock().unwrap_or_else(PoisonError::into_inner).report()
            });
        match (local, ordered) {
            (
                Some(serde_json::Value::Object(mut local)),
                Some(serde_json::Value::Object(ordered)),
            ) => {
                local.extend(ordered);
                Some(local.into())
            }
            (local, ordered) => local.or(ordered),
        }
    }
}
