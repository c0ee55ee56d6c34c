//! What a run needs to know: the parts of a pipeline, ready to be opened.

use std::path::PathBuf;
use std::sync::Arc;

use arrow_schema::SchemaRef;
use gristmill_core::{
    Error, ErrorKind, ExpressionCompiler, ExtractContext, Extractor, LoadContext, Loader, Mistake,
    Pointer, Result, StepPlan,
};
use gristmill_extract::file::Drift;
use gristmill_parallel::Retry;
use gristmill_transform::Filter;

pub use crate::definition::Limits;
use crate::report::records_of;

type OpenSource = Box<dyn Fn(&ExtractContext) -> Result<Box<dyn Extractor>> + Send>;
type OpenDestination = Box<dyn Fn(&SchemaRef, &LoadContext<'_>) -> Result<Box<dyn Loader>> + Send>;
type BindDestination = Box<dyn Fn(&SchemaRef) -> Vec<Mistake> + Send>;

/// A source that can be opened, and opened again after a transient error.
pub struct Source {
    open: OpenSource,
}

impl Source {
    /// A source opened by `open`.
    pub fn new(
        open: impl Fn(&ExtractContext) -> Result<Box<dyn Extractor>> + Send + 'static,
    ) -> Self {
        Self { open: Box::new(open) }
    }

    pub(super) fn open(&self, context: &ExtractContext) -> Result<Box<dyn Extractor>> {
        (self.open)(context)
    }
}

/// A destination that can be opened for a schema.
pub struct Destination {
    /// Where it stands in the definition.
    pub at: Pointer,
    /// Which records go there.
    pub(super) condition: Option<Filter>,
    bind: BindDestination,
    open: OpenDestination,
}

impl Destination {
    /// A destination opened by `open`. `bind` finds what does not fit the columns, without I/O.
    pub fn new(
        at: Pointer,
        bind: impl Fn(&SchemaRef) -> Vec<Mistake> + Send + 'static,
        open: impl Fn(&SchemaRef, &LoadContext<'_>) -> Result<Box<dyn Loader>> + Send + 'static,
    ) -> Self {
        Self { at, condition: None, bind: Box::new(bind), open: Box::new(open) }
    }

    /// Takes only the records for which an SQL condition is true.
    #[must_use]
    pub fn filter(mut self, condition: Option<impl Into<String>>) -> Self {
        self.condition = condition.map(Filter::new);
        self
    }

    pub(super) fn bind(&self, schema: &SchemaRef) -> Vec<Mistake> {
        (self.bind)(schema)
    }

    pub(super) fn open(
        &self,
        schema: &SchemaRef,
        context: &LoadContext<'_>,
    ) -> Result<Box<dyn Loader>> {
        (self.open)(schema, context)
    }
}

/// A step with its name and its place in the definition.
pub struct NamedStep {
    /// The step's key, for example `clean`.
    pub name: String,
    /// Where its options stand in the definition.
    pub at: Pointer,
    /// Its plan.
    pub plan: Box<dyn StepPlan>,
}

impl Limits {
    /// Stops as soon as there are too many rejects.
    pub(super) fn check_rejected(&self, rejected: u64) -> Result<()> {
        match self.rejected {
            Some(limit) if rejected > limit => Err(Error::new(
                ErrorKind::Stopped,
                format!("{} rejected, and the limit is {limit}", records_of(rejected)),
            )
            .hint(
                "read the rejects file; mend the source or the rules, or raise `limits.rejected`",
            )),
            _ => Ok(()),
        }
    }

    /// Judges the whole run.
    pub(super) fn check(&self, rejected: u64, read: u64) -> Result<()> {
        self.check_rejected(rejected)?;
        let Some(limit) = self.rejected_ratio else { return Ok(()) };
        let ratio = if read == 0 { 0.0 } else { rejected as f64 / read as f64 };
        if ratio <= limit.get() {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Stopped,
            format!(
                "{rejected} of {} rejected ({:.2}%), and the limit is {:.2}%",
                records_of(read),
                ratio * 100.0,
                limit.get() * 100.0
            ),
        )
        .hint(
            "read the rejects file; mend the source or the rules, or raise `limits.rejected_ratio`",
        ))
    }
}

/// What becomes of the rejects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejects {
    /// They are written to this file, which is there after each run.
    Always(PathBuf),
    /// They are written to this file, which is there only when there are some.
    IfAny(PathBuf),
    /// They are counted.
    Counted,
}

/// A pipeline ready to run.
pub struct Job {
    /// The pipeline's name.
    pub name: String,
    /// Sources, chained in this order.
    pub sources: Vec<Source>,
    /// Steps in order.
    pub steps: Vec<NamedStep>,
    /// Destinations; each gets every record.
    pub destinations: Vec<Destination>,
    /// Where rejects are written.
    pub rejects: Rejects,
    /// What to do when the sources do not have the same columns.
    pub drift: Drift,
    /// Limits.
    pub limits: Limits,
    /// How opening and publishing are tried again.
    pub retry: Retry,
    /// Compiles expressions.
    pub expressions: Arc<dyn ExpressionCompiler>,
}
