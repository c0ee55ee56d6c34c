//! The `check` step.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use arrow_schema::SchemaRef;
use chrono::Utc;
use gristmill_core::{
    Batch, BindContext, CheckContext, CheckResult, ExpressionCompiler, Findings, Grain, Mistake,
    OrderedStep, Planned, Result, Space, Step, StepPlan,
};
use serde_json::Value;

use super::bind::{Bound, bind};
use super::rows::{Marking, with_results};
use super::{Check, Options, evaluate};
use crate::plan::expression_mistake;

/// Judges the records that pass as a whole: the `check` step.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Checks {
    checks: Vec<Check>,
    references: BTreeMap<String, Value>,
    row_results: bool,
    /// A file with rules that whoever runs the step has not read.
    unread: Option<PathBuf>,
}

impl Checks {
    /// A step with these checks.
    pub fn new(checks: impl IntoIterator<Item = Check>) -> Self {
        Self { checks: checks.into_iter().collect(), ..Self::default() }
    }

    /// The checks.
    pub fn checks(&self) -> &[Check] {
        &self.checks
    }

    /// Makes the step from its options.
    ///
    /// # Errors
    /// All mistakes that can be seen without columns.
    pub fn of(
        options: &Options,
        expressions: &dyn ExpressionCompiler,
    ) -> Result<Self, Vec<Mistake>> {
        let checks = options.checks()?;
        let mut mistakes = Vec::new();
        for (i, item) in options.checks.iter().enumerate() {
            let at = gristmill_core::Pointer::root().key("checks").index(i);
            for (key, text) in [("where", &item.filter), ("expr", &item.expr)] {
                if let Some(Err(error)) = text.as_ref().map(|text| expressions.check(text)) {
                    mistakes.push(expression_mistake(at.key(key), error));
                }
            }
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let references = options.references.iter();
        let references = references.map(|(name, source)| (name.clone(), source.clone().into()));
        let row_results = options.row_results;
        let unread = options.dqdl_file.clone().filter(|_| options.dqdl.is_none());
        Ok(Self { checks, references: references.collect(), row_results, unread })
    }
}

/// Makes the step from its definition.
pub(crate) fn plan(value: &Value, expressions: &dyn ExpressionCompiler) -> Planned {
    Ok(Box::new(Checks::of(&Options::read(value)?, expressions)?))
}

impl StepPlan for Checks {
    fn bind(
        &self,
        input: &SchemaRef,
        context: &BindContext<'_>,
    ) -> Result<gristmill_core::Bound, Vec<Mistake>> {
        if let Some(file) = &self.unread {
            let message = format!("the rules in `{}` were not read", file.display());
            let at = gristmill_core::Pointer::root().key("dqdl_file");
            return Err(vec![Mistake::new(at, message).hint("give their text as `dqdl`")]);
        }
        let bound = Arc::new(bind(&self.checks, input, context.expressions, Utc::now())?);
        let references = self.references.clone();
        let gathering =
            Gathering { bound: Arc::clone(&bound), references, space: Space::default() };
        let mut ordered: Option<Box<dyn OrderedStep>> = None;
        let mut output = Arc::clone(input);
        if self.row_results {
            output = with_results(input);
            ordered = Some(Box::new(Marking::new(bound, Arc::clone(&output))));
        }
        let local: Option<Box<dyn Step>> = Some(Box::new(gathering));
        Ok(gristmill_core::Bound { local, ordered, output, grain: Grain::Preserves })
    }
}

/// The step at work.
struct Gathering {
    bound: Arc<Bound>,
    references: BTreeMap<String, Value>,
    space: Space,
}

impl Step for Gathering {
    fn apply(&self, batch: Batch, _: &mut Findings) -> Result<Batch> {
        self.bound.gatherer.add(batch.columns())?;
        Ok(batch)
    }

    fn remembers(&self) -> bool {
        self.bound.gatherer.remembers()
    }

    fn open(&mut self, space: Space) {
        // A reference is read when all records have passed: it has half of the memory.
        let half = Space { memory: space.memory / 2, ..space };
        self.bound.gatherer.open(&half);
        self.space = half;
    }

    fn verdict(&self, context: &dyn CheckContext) -> Result<Vec<CheckResult>> {
        evaluate::judge(&self.bound, &self.references, &self.space, context)
    }
}
