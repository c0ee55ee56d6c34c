//! Steps bound to columns, with the sources that they read besides their input.

use std::path::Path;
use std::sync::Arc;

use arrow_schema::SchemaRef;
use gristmill_core::registry::Range;
use gristmill_core::{
    BindContext, Bound, ErrorKind, ExtractContext, Grain, Mistake, Pointer, Result,
};
use gristmill_parallel::{Cancel, retry};

use super::open::{References, StepInfo};
use super::reference::{OpenReference, kind_of};
use super::{Job, NamedStep, RunContext, RunError};

/// Memory limit divided by this is what the sources that steps look records up in may hold together.
const REFERENCE_SHARE: u64 = 4;

/// A part of the definition that does not fit the columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindError {
    /// Where the part's options stand in the definition.
    pub at: Pointer,
    /// Every mistake in them.
    pub mistakes: Vec<Mistake>,
}

impl BindError {
    /// The mistakes, in their places in the definition.
    pub(crate) fn placed(&self) -> impl Iterator<Item = Mistake> + '_ {
        self.mistakes.iter().map(|mistake| mistake.clone().under(&self.at))
    }
}

/// Binds steps to columns.
pub(super) struct Binder<'a> {
    job: &'a Job,
    pub(super) steps: Vec<StepInfo>,
    /// How references are opened.
    extract: ExtractContext,
    cancel: Cancel,
    references: References,
    /// The memory that each reference may hold.
    share: usize,
}

impl<'a> Binder<'a> {
    pub(super) fn new(
        job: &'a Job,
        context: &RunContext<'_>,
        scratch: &Path,
        references: References,
    ) -> Self {
        let with_reference =
            job.steps.iter().filter(|step| !step.plan.references().is_empty()).count();
        let share = job.limits.memory.0 / REFERENCE_SHARE / with_reference.max(1) as u64;
        Self {
            job,
            steps: Vec::new(),
            extract: extract_context(job, context, scratch),
            cancel: context.cancel.clone(),
            references,
            share: usize::try_from(share).unwrap_or(usize::MAX),
        }
    }

    pub(super) fn bind(&self, index: usize, schema: &SchemaRef) -> Result<Bound, RunError> {
        let step = &self.job.steps[index];
        let mut context = BindContext::new(self.job.expressions.as_ref());
        let references = step.plan.references().into_iter().map(|reference| {
            retry(&self.job.retry, &self.cancel, |_| OpenReference::open(&reference, &self.extract))
        });
        let references = references.collect::<Result<Vec<_>>>();
        let references = references.map_err(|error| match error.kind() {
            ErrorKind::NotFound => RunError::Absent(error, self.without_references(step, schema)),
            _ => RunError::Error(error),
        })?;
        context.references = references.iter().map(|it| Arc::clone(&it.schema)).collect();
        let mut bound = step
            .plan
            .bind(schema, &context)
            .map_err(|mistakes| BindError { at: step.at.clone(), mistakes })?;
        if self.references == References::Opened {
            return Ok(bound);
        }
        let mut records = references.into_iter().map(|it| it.records(self.cancel.clone()));
        match (&mut bound.ordered, &mut bound.local) {
            (Some(ordered), _) => ordered.load(records.map(|it| Box::new(it) as _).collect()),
            (None, Some(local)) => {
                if let Some(mut records) = records.next() {
                    local.load(&mut records, self.share)?;
                }
            }
            (None, None) => {}
        }
        Ok(bound)
    }

    /// What is wrong with a step, as far as that is seen without its references.
    fn without_references(&self, step: &NamedStep, schema: &SchemaRef) -> Vec<BindError> {
        let context = BindContext::new(self.job.expressions.as_ref());
        let mut mistakes = step.plan.bind(schema, &context).err().unwrap_or_default();
        let references = step.plan.references();
        mistakes.retain(|mistake| !references.iter().any(|it| it.at == mistake.at));
        let part = BindError { at: step.at.clone(), mistakes };
        (!part.mistakes.is_empty()).then_some(part).into_iter().collect()
    }

    pub(super) fn info(&self, index: usize, grain: Grain) -> StepInfo {
        StepInfo { name: self.job.steps[index].name.clone(), grain }
    }
}

/// Sources that steps read and that are not there, so that all of them are told at once.
pub(super) fn absent(job: &Job, context: &RunContext<'_>, scratch: &Path) -> Vec<BindError> {
    let extract = extract_context(job, context, scratch);
    let parts = job.steps.iter().map(|step| {
        let references = step.plan.references().into_iter();
        let mistakes = references.filter_map(|reference| {
            let error = OpenReference::open(&reference, &extract).err()?;
            let kind = kind_of(&reference.source).map(|kind| kind.name);
            let at = kind.map_or(reference.at.clone(), |name| reference.at.key(name));
            let because = error.causes().into_iter().map(|cause| format!(": {cause}"));
            let mistake = Mistake::new(at, format!("{error}{}", because.collect::<String>()));
            let mistake = match error.hint_text() {
                Some(hint) => mistake.hint(hint),
                None => mistake,
            };
            (error.kind() == ErrorKind::NotFound).then_some(mistake)
        });
        BindError { at: step.at.clone(), mistakes: mistakes.collect() }
    });
    parts.filter(|part| !part.mistakes.is_empty()).collect()
}

/// How sources are opened, all of them.
pub(super) fn extract_context(
    job: &Job,
    context: &RunContext<'_>,
    scratch: &Path,
) -> ExtractContext {
    ExtractContext {
        base: context.base.to_owned(),
        scratch: scratch.to_owned(),
        memory: job.limits.memory,
        workers: super::workers(job, context),
        range: Range::default(),
        guess: None,
    }
}
