//! A step that records pass on their way to one destination only.

use std::sync::Arc;

use gristmill_core::{
    Batch, Encoded, Encoder, Error, Findings, Loaded, Loader, Part, Preview, Result, Step,
};

/// A destination that gets what a row-local step leaves of the records: other destinations do not
/// notice. What the step takes out is in the findings of [`Loader::append`].
pub fn before(step: Arc<dyn Step>, destination: Box<dyn Loader>) -> Box<dyn Loader> {
    Box::new(Before { inner: destination, step })
}

struct Before {
    inner: Box<dyn Loader>,
    step: Arc<dyn Step>,
}

/// A part of the destination, and what the step found.
type Stepped = (Encoded, Findings);

impl Loader for Before {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn plan(&mut self) {
        self.inner.plan();
    }

    fn preview(&self) -> Option<Preview> {
        self.inner.preview()
    }

    fn notes(&self) -> Vec<String> {
        self.inner.notes()
    }

    fn encoder(&self) -> Arc<dyn Encoder> {
        Arc::new(BeforeEncoder { inner: self.inner.encoder(), step: Arc::clone(&self.step) })
    }

    fn append(&mut self, part: Encoded, findings: &mut Findings) -> Result<()> {
        let stepped = part.payload.downcast::<Stepped>();
        let (part, found) = *stepped
            .map_err(|_| Error::internal("a destination was given what another encoder made"))?;
        findings.append(found);
        self.inner.append(part, findings)
    }

    fn settle(&mut self, findings: &mut Findings) -> Result<bool> {
        self.inner.settle(findings)
    }

    fn prepare(&mut self, findings: &mut Findings) -> Result<Loaded> {
        self.inner.prepare(findings)
    }

    fn commits(&self) -> bool {
        self.inner.commits()
    }

    fn publish(&mut self) -> Result<Loaded> {
        self.inner.publish()
    }

    fn abort(self: Box<Self>) {
        self.inner.abort();
    }
}

struct BeforeEncoder {
    inner: Arc<dyn Encoder>,
    step: Arc<dyn Step>,
}

impl Encoder for BeforeEncoder {
    fn begin(&self) -> Box<dyn Part> {
        let (inner, step) = (self.inner.begin(), Arc::clone(&self.step));
        Box::new(BeforePart { inner, step, records: 0, findings: Findings::default() })
    }
}

struct BeforePart {
    inner: Box<dyn Part>,
    step: Arc<dyn Step>,
    /// Records before the step.
    records: u64,
    findings: Findings,
}

impl Part for BeforePart {
    fn push(&mut self, batch: &Batch) -> Result<()> {
        self.records += batch.num_rows() as u64;
        let batch = batch.clone().with_columns(batch.columns().clone())?;
        let batch = self.step.apply(batch, &mut self.findings)?;
        self.inner.push(&batch.settle_in_place(&mut self.findings))
    }

    fn finish(self: Box<Self>) -> Result<Encoded> {
        let part = self.inner.finish()?;
        let bytes = part.bytes;
        let stepped: Stepped = (part, self.findings);
        Ok(Encoded { records: self.records, bytes, payload: Box::new(stepped) })
    }
}
