//! Pipelines written in Rust.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_schema::SchemaRef;
use chrono::Utc;
use gristmill_core::registry::Range;
use gristmill_core::{
    Error, ExtractContext, Extractor, LoadContext, Loader, Pointer, Result, StepPlan,
};
use gristmill_extract::file::Drift;
use gristmill_parallel::{Cancel, Retry};
use gristmill_transform::Sql;

use crate::ledger::run_id;
use crate::report::Report;
use crate::run::{
    self, BindError, Destination, Job, Limits, NamedStep, Rejects, RunContext, RunError, Source,
};

/// A source that a [`Pipeline`] can open.
pub trait IntoSource {
    /// Opens it. Called again after a transient error.
    ///
    /// # Errors
    /// When it cannot be opened.
    fn open(&self, context: &ExtractContext) -> Result<Box<dyn Extractor>>;
}

/// A destination that a [`Pipeline`] can open.
pub trait IntoDestination {
    /// Opens it for batches of this schema. Called again after a transient error.
    ///
    /// # Errors
    /// When it cannot be opened.
    fn open(&self, schema: &SchemaRef, context: &LoadContext<'_>) -> Result<Box<dyn Loader>>;
}

impl IntoSource for gristmill_extract::File {
    fn open(&self, context: &ExtractContext) -> Result<Box<dyn Extractor>> {
        self.extractor(context)
    }
}

impl IntoSource for gristmill_extract::Table {
    fn open(&self, context: &ExtractContext) -> Result<Box<dyn Extractor>> {
        self.extractor(context)
    }
}

impl IntoSource for gristmill_extract::Query {
    fn open(&self, context: &ExtractContext) -> Result<Box<dyn Extractor>> {
        self.extractor(context)
    }
}

impl IntoSource for gristmill_extract::Rows {
    fn open(&self, context: &ExtractContext) -> Result<Box<dyn Extractor>> {
        self.extractor(context)
    }
}

impl IntoDestination for gristmill_load::File {
    fn open(&self, schema: &SchemaRef, context: &LoadContext<'_>) -> Result<Box<dyn Loader>> {
        gristmill_load::File::open(self, schema, context)
    }
}

impl IntoDestination for gristmill_load::Table {
    fn open(&self, schema: &SchemaRef, context: &LoadContext<'_>) -> Result<Box<dyn Loader>> {
        gristmill_load::Table::open(self, schema, context)
    }
}

/// A pipeline put together in Rust: the same sources, steps and destinations as in a pipeline file.
///
/// ```
/// use gristmill_pipeline::{Mode, Pipeline, Query, Rows, SourceTable, Table};
/// use serde_json::json;
///
/// let folder = tempfile::tempdir()?;
/// let shop = folder.path().join("shop.db");
/// let orders = |day: &str, amounts: [i64; 2]| {
///     Rows::new(amounts.map(|amount| json!({"day": day, "amount": amount})))
/// };
/// let to_shop = |table: &str| Table::sqlite(folder.path().join("shop.db"), table);
/// for day in ["2025-01-01", "2025-01-02"] {
///     Pipeline::new("orders").extract(orders(day, [1, 2])).load(to_shop("orders")).run()?;
/// }
///
/// // A day that is loaded again takes the place of what was there.
/// let days = to_shop("orders").mode(Mode::DeleteInsert).partition_by(["day"]);
/// Pipeline::new("orders").extract(orders("2025-01-02", [5, 6])).load(days).run()?;
///
/// // From one table into another, by its key.
/// let sums = Query::sqlite(&shop, "SELECT day, sum(amount) AS total FROM orders GROUP BY day");
/// let by_day = to_shop("days").mode(Mode::Upsert).keys(["day"]);
/// let report = Pipeline::new("days").extract(sums).load(by_day).run()?;
/// assert_eq!(report.account.inserted, 2);
///
/// // A row for each version of a day.
/// let history = to_shop("dim_day").mode(Mode::Scd2).keys(["day"]);
/// let report =
///     Pipeline::new("dim_day").extract(SourceTable::sqlite(&shop, "days")).load(history).run()?;
/// assert_eq!((report.read, report.account.inserted), (2, 2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Pipeline {
    name: String,
    base: PathBuf,
    sources: Vec<Source>,
    steps: Vec<NamedStep>,
    destinations: Vec<Destination>,
    rejects: Rejects,
    drift: Drift,
    limits: Limits,
    retry: Retry,
    cancel: Cancel,
}

impl Pipeline {
    /// A pipeline without parts. Relative paths start from the current folder.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            base: PathBuf::new(),
            sources: Vec::new(),
            steps: Vec::new(),
            destinations: Vec::new(),
            rejects: Rejects::Counted,
            drift: Drift::default(),
            limits: Limits::default(),
            retry: Retry::default(),
            cancel: Cancel::new(),
        }
    }

    /// Adds a source, read after the ones before it.
    #[must_use]
    pub fn extract(mut self, source: impl IntoSource + Send + 'static) -> Self {
        self.sources.push(Source::new(move |context| source.open(context)));
        self
    }

    /// Adds a step, done after the ones before it.
    #[must_use]
    pub fn step(mut self, plan: impl StepPlan + 'static) -> Self {
        let index = self.steps.len();
        self.steps.push(NamedStep {
            name: format!("step {}", index + 1),
            at: Pointer::root().key("steps").index(index),
            plan: Box::new(plan),
        });
        self
    }

    /// Adds a destination. Each gets every record.
    #[must_use]
    pub fn load(mut self, destination: impl IntoDestination + Send + 'static) -> Self {
        let at = Pointer::root().key("load").index(self.destinations.len());
        self.destinations.push(Destination::new(
            at,
            |_| Vec::new(),
            move |schema, context| destination.open(schema, context),
        ));
        self
    }

    /// Adds a destination for the records for which an SQL condition is true.
    #[must_use]
    pub fn load_where(
        self,
        condition: impl Into<String>,
        destination: impl IntoDestination + Send + 'static,
    ) -> Self {
        let mut pipeline = self.load(destination);
        if let Some(last) = pipeline.destinations.pop() {
            pipeline.destinations.push(last.filter(Some(condition)));
        }
        pipeline
    }

    /// The folder that relative paths start from.
    #[must_use]
    pub fn base(mut self, folder: impl AsRef<Path>) -> Self {
        self.base = folder.as_ref().to_owned();
        self
    }

    /// Writes rejects to this file. Without it they are counted.
    #[must_use]
    pub fn rejects(mut self, path: impl AsRef<Path>) -> Self {
        self.rejects = Rejects::Always(path.as_ref().to_owned());
        self
    }

    /// Says what to do when the sources do not have the same columns.
    #[must_use]
    pub fn drift(mut self, drift: Drift) -> Self {
        self.drift = drift;
        self
    }

    /// Sets the limits.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Says how opening and publishing are tried again.
    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Lets this stop the run.
    #[must_use]
    pub fn cancel(mut self, cancel: Cancel) -> Self {
        self.cancel = cancel;
        self
    }

    /// Runs it: publishes everything, or nothing.
    ///
    /// # Errors
    /// When nothing was published: what the run could not go on after, or all mistakes in a part that
    /// does not fit the columns.
    pub fn run(self) -> Result<Report> {
        if self.sources.is_empty() || self.destinations.is_empty() {
            return Err(Error::new(
                gristmill_core::ErrorKind::Configuration,
                format!("pipeline `{}` needs a source and a destination", self.name),
            ));
        }
        let started = Utc::now();
        let id = run_id(started);
        let context = RunContext {
            publishing: None,
            range: Range::default(),
            id: &id,
            base: &self.base,
            started,
            workers: None,
            cancel: self.cancel,
            observer: None,
            plan: false,
            history: None,
        };
        let rejects = match self.rejects {
            Rejects::Always(path) => Rejects::Always(self.base.join(path)),
            other => other,
        };
        let job = Job {
            name: self.name,
            sources: self.sources,
            steps: self.steps,
            destinations: self.destinations,
            rejects,
            drift: self.drift,
            limits: self.limits,
            retry: self.retry,
            expressions: Arc::new(Sql::default()),
        };
        match run::run(job, &context) {
            (report, None) => Ok(report),
            (_, Some(RunError::Error(error) | RunError::Absent(error, _))) => Err(error),
            (_, Some(RunError::Bind(parts))) => {
                let mistakes = parts.iter().flat_map(BindError::placed);
                let text: Vec<String> = mistakes.map(|mistake| mistake.to_string()).collect();
                Err(Error::new(gristmill_core::ErrorKind::Configuration, text.join("; ")))
            }
        }
    }
}
