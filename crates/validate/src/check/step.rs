//! The `check` step.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, MutexGuard, PoisonError};

use arrow_schema::SchemaRef;
use chrono::Utc;
use gristmill_core::{
    Batch, BindContext, CheckContext, CheckResult, ExpressionCompiler, Findings, Grain, Mistake,
    OrderedStep, Planned, Pointer, Records, Reference, Result, Space, Step, StepPlan,
};
use serde_json::Value;

use super::bind::{Bound, Others, bind};
use super::offenders::Rejecting;
use super::queries::{self, Query};
use super::references::compared;
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
    /// The checks that need no other input.
    fn alone(&self) -> Vec<Check> {
        let alone = |check: &&Check| {
            let check = std::slice::from_ref(*check);
            let asked = queries::asked(check, self.references.keys());
            asked.iter().all(Vec::is_empty) && compared(check).is_empty()
        };
        self.checks.iter().filter(alone).cloned().collect()
    }

    /// The other inputs that are read: for each query those that it speaks of, then those that are compared with.
    fn read(&self) -> (Vec<Vec<&str>>, Vec<&str>) {
        (queries::asked(&self.checks, self.references.keys()), compared(&self.checks))
    }

    /// The same, with their columns.
    fn others(&self, schemas: &[SchemaRef]) -> Result<Others<'_>, Vec<Mistake>> {
        let (asked, compared) = self.read();
        if let Some(name) = asked.iter().flatten().chain(&compared).nth(schemas.len()) {
            let at = Pointer::root().key("references").key(*name);
            return Err(vec![Mistake::new(at, format!("`{name}` was not opened"))]);
        }
        let mut schemas = schemas.iter();
        let mut with = |names: Vec<&str>| -> Vec<(String, SchemaRef)> {
            let named = names.into_iter().zip(&mut schemas);
            named.map(|(name, schema)| (name.to_owned(), Arc::clone(schema))).collect()
        };
        let asked = asked.into_iter().map(&mut with).collect();
        let names = self.references.keys().map(String::as_str).collect();
        Ok(Others { names, asked, compared: with(compared) })
    }
}

impl StepPlan for Checks {
    fn references(&self) -> Vec<Reference> {
        let (asked, compared) = self.read();
        let names = asked.into_iter().flatten().chain(compared);
        let reference = |name: &str| Reference {
            at: Pointer::root().key("references").key(name),
            source: self.references.get(name).cloned().unwrap_or_default(),
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
        let others = match self.others(&context.references) {
            Ok(others) => others,
            Err(mut mistakes) => {
                let alone = self.alone();
                let found =
                    bind(&alone, input, context.expressions, Utc::now(), &Others::default(), false);
                mistakes.extend(found.err().into_iter().flatten());
                return Err(mistakes);
            }
        };
        let bound =
            bind(&self.checks, input, context.expressions, Utc::now(), &others, self.row_results)?;
        let bound = Arc::new(bound);
        let gathering = Gathering { bound: Arc::clone(&bound) };
        let mut output = Arc::clone(input);
        let mut marking = None;
        if self.row_results {
            output = with_results(input);
            marking = Some(Marking::new(Arc::clone(&bound), Arc::clone(&output)));
        }
        let rejecting = Rejecting::of(&bound)
            .map_err(|error| vec![Mistake::new(Pointer::root(), error.to_string())])?;
        let ordered = InOrder { bound, rejecting, marking, ended: false };
        let ordered: Option<Box<dyn OrderedStep>> =
            ordered.parts().gt(&0).then(|| Box::new(ordered) as _);
        let local: Option<Box<dyn Step>> = Some(Box::new(gathering));
        Ok(gristmill_core::Bound { local, ordered, output, grain: Grain::Preserves })
    }
}

/// What sees the batches one after the other: the queries, then what rejects, then what marks records.
struct InOrder {
    bound: Arc<Bound>,
    rejecting: Option<Rejecting>,
    marking: Option<Marking>,
    ended: bool,
}

impl InOrder {
    fn queries(&self) -> MutexGuard<'_, Vec<Query>> {
        self.bound.queries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many parts share the memory.
    fn parts(&self) -> usize {
        let compares = usize::from(!self.bound.references.is_empty());
        let rejects = usize::from(self.rejecting.is_some());
        self.queries().len() + compares + rejects + usize::from(self.marking.is_some())
    }
}

impl OrderedStep for InOrder {
    fn load(&mut self, references: Vec<Records>) {
        let mut references = references.into_iter();
        self.queries().iter_mut().for_each(|query| query.load(&mut references));
        self.bound.references.load(references.collect());
    }

    fn open(&mut self, space: Space) {
        let space = Space { memory: space.memory / self.parts().max(1), ..space };
        self.queries().iter_mut().for_each(|query| query.open(space.clone()));
        self.bound.references.open(&space);
        if let Some(rejecting) = &mut self.rejecting {
            rejecting.open(&space);
        }
        if let Some(marking) = &mut self.marking {
            marking.open(space);
        }
    }

    fn apply(&mut self, mut batch: Batch, findings: &mut Findings) -> Result<Batch> {
        self.bound.references.read()?;
        self.queries().iter_mut().try_for_each(|query| query.give(Some(batch.clone())))?;
        if let Some(rejecting) = &mut self.rejecting {
            batch = rejecting.apply(batch, findings)?;
        }
        match &mut self.marking {
            Some(marking) => marking.apply(batch, findings),
            None => Ok(batch),
        }
    }

    fn release(&mut self, findings: &mut Findings) -> Result<Option<Batch>> {
        if !std::mem::replace(&mut self.ended, true) {
            self.bound.references.read()?;
            self.queries().iter_mut().try_for_each(|query| query.give(None))?;
        }
        self.marking.as_mut().map_or(Ok(None), |marking| marking.release(findings))
    }
}

/// The step at work.
struct Gathering {
    bound: Arc<Bound>,
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
        self.bound.gatherer.open(&space);
    }

    fn verdict(&self, context: &dyn CheckContext) -> Result<Vec<CheckResult>> {
        evaluate::judge(&self.bound, context)
    }
}
