//! The `check` step.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use arrow_schema::SchemaRef;
use chrono::Utc;
use gristmill_core::{
    Batch, BindContext, CheckContext, CheckResult, ExpressionCompiler, Findings, Grain, Mistake,
    OrderedStep, Planned, Pointer, Records, Reference, Result, Space, Step, StepPlan,
};
use serde_json::Value;

use super::bind::{Bound, bind};
use super::queries::{self, Query};
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
            let at = Pointer::root().key("checks").index(i);
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

impl Checks {
    /// For each query, the inputs that it speaks of and their columns.
    fn others(&self, schemas: &[SchemaRef]) -> Result<Vec<Vec<(String, SchemaRef)>>, Vec<Mistake>> {
        let asked = queries::asked(&self.checks, self.references.keys());
        let names: Vec<&str> = asked.iter().flatten().copied().collect();
        if let Some(name) = names.get(schemas.len()) {
            let at = Pointer::root().key("references").key(*name);
            return Err(vec![Mistake::new(at, format!("`{name}` was not opened"))]);
        }
        let mut schemas = schemas.iter();
        let others = asked.into_iter().map(|names| {
            let named = names.into_iter().zip(&mut schemas);
            named.map(|(name, schema)| (name.to_owned(), Arc::clone(schema))).collect()
        });
        Ok(others.collect())
    }
}

impl StepPlan for Checks {
    /// The inputs that queries read, for each query.
    fn references(&self) -> Vec<Reference> {
        let asked = queries::asked(&self.checks, self.references.keys());
        let names = asked.into_iter().flatten();
        let reference = |name: &str| Reference {
            at: Pointer::root().key("references").key(name),
            source: self.references[name].clone(),
            columns: None,
        };
        names.map(reference).collect()
    }

    fn bind(
        &self,
        input: &SchemaRef,
        context: &BindContext<'_>,
    ) -> Result<gristmill_core::Bound, Vec<Mistake>> {
        if let Some(file) = &self.unread {
            let message = format!("the rules in `{}` were not read", file.display());
            let at = Pointer::root().key("dqdl_file");
            return Err(vec![Mistake::new(at, message).hint("give their text as `dqdl`")]);
        }
        let others = self.others(&context.references)?;
        let bound =
            bind(&self.checks, input, context.expressions, Utc::now(), &others, self.row_results)?;
        let asks = !bound.queries.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
        let bound = Arc::new(bound);
        let references = self.references.clone();
        let gathering =
            Gathering { bound: Arc::clone(&bound), references, space: Space::default() };
        let mut ordered: Option<Box<dyn OrderedStep>> = None;
        let mut output = Arc::clone(input);
        if self.row_results {
            output = with_results(input);
            ordered = Some(Box::new(Marking::new(Arc::clone(&bound), Arc::clone(&output))));
        }
        if asks {
            ordered = Some(Box::new(Asking { bound, marking: ordered, ended: false }));
        }
        let local: Option<Box<dyn Step>> = Some(Box::new(gathering));
        Ok(gristmill_core::Bound { local, ordered, output, grain: Grain::Preserves })
    }
}

/// Hands every batch to the queries, before results are marked, if they are.
struct Asking {
    bound: Arc<Bound>,
    marking: Option<Box<dyn OrderedStep>>,
    ended: bool,
}

impl Asking {
    fn each(&self, mut ask: impl FnMut(&mut Query) -> Result<()>) -> Result<()> {
        let mut queries = self.bound.queries.lock().unwrap_or_else(PoisonError::into_inner);
        queries.iter_mut().try_for_each(&mut ask)
    }
}

impl OrderedStep for Asking {
    fn load(&mut self, references: Vec<Records>) {
        let mut references = references.into_iter();
        let mut queries = self.bound.queries.lock().unwrap_or_else(PoisonError::into_inner);
        queries.iter_mut().for_each(|query| query.load(&mut references));
    }

    fn open(&mut self, space: Space) {
        let mut queries = self.bound.queries.lock().unwrap_or_else(PoisonError::into_inner);
        let memory = space.memory / (queries.len() + usize::from(self.marking.is_some()));
        let space = Space { memory, ..space };
        queries.iter_mut().for_each(|query| query.open(space.clone()));
        if let Some(marking) = &mut self.marking {
            marking.open(space);
        }
    }

    fn apply(&mut self, batch: Batch, findings: &mut Findings) -> Result<Batch> {
        self.each(|query| query.give(Some(batch.clone())))?;
        match &mut self.marking {
            Some(marking) => marking.apply(batch, findings),
            None => Ok(batch),
        }
    }

    fn release(&mut self, findings: &mut Findings) -> Result<Option<Batch>> {
        if !std::mem::replace(&mut self.ended, true) {
            self.each(|query| query.give(None))?;
        }
        self.marking.as_mut().map_or(Ok(None), |marking| marking.release(findings))
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
