//! `filter`: records that a condition keeps.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, BooleanArray};
use arrow_schema::{DataType, Field, SchemaRef};
use gristmill_core::types::type_name;
use gristmill_core::{
    Batch, BindContext, Bound, Expression, ExpressionCompiler, Findings, Grain, Mistake, Needs,
    Pointer, Prune, Reason, Result, Stage, Step, StepKind, StepPlan,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{expression_mistake, failed};
use crate::{expression, options};

/// The registry entry.
pub(super) const KIND: StepKind = StepKind {
    name: "filter",
    about: "Keeps the records for which an SQL condition is true.",
    example: "filter: \"is_active AND aum > 0\"\n",
    schema: |generator| generator.subschema_for::<Filter>(),
    plan: |options, expressions| {
        let plan: Filter = options::read(options)?;
        let found = expressions.check(&plan.0).err();
        let mistakes =
            found.map(|found| expression_mistake(Pointer::root(), found)).into_iter().collect();
        options::planned(plan, mistakes)
    },
};

/// An SQL condition, for example `is_active AND aum > 0`. Records for which it is true go on;
/// those for which it is false or null are taken out and counted as filtered; those for which it
/// cannot be computed are rejected. Where it comes first, but for `select` and `drop`, and compares
/// columns with values, row groups of Parquet files in which it cannot be true for any record are
/// not read; their records are counted as read and filtered all the same.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Filter(String);

impl Filter {
    /// Keeps the records for which this SQL condition is true.
    pub fn new(condition: impl Into<String>) -> Self {
        Self(condition.into())
    }
}

impl StepPlan for Filter {
    fn needs(&self) -> Needs {
        match expression::names(&self.0) {
            Some(uses) => Needs::Some { uses, adds: Vec::new() },
            None => Needs::All,
        }
    }

    fn prune(
        &self,
        input: &SchemaRef,
        expressions: &dyn ExpressionCompiler,
    ) -> Option<Arc<dyn Prune>> {
        expressions.compile(&self.0, input).ok()?.prune()
    }

    fn bind(&self, input: &SchemaRef, context: &BindContext<'_>) -> Result<Bound, Vec<Mistake>> {
        let condition = context
            .expressions
            .compile(&self.0, input)
            .map_err(|found| vec![expression_mistake(Pointer::root(), found)])?;
        if condition.data_type() != &DataType::Boolean {
            let found = type_name(&Field::new("", condition.data_type().clone(), true));
            let message = format!("`{}` is not a condition: its type is {found}", self.0);
            return Err(vec![
                Mistake::new(Pointer::root(), message)
                    .hint("compare it with something, for example `aum > 0`"),
            ]);
        }
        Ok(Bound {
            local: Some(Box::new(BoundFilter { condition })),
            ordered: None,
            output: Arc::clone(input),
            grain: Grain::Preserves,
        })
    }
}

struct BoundFilter {
    condition: Arc<dyn Expression>,
}

impl Step for BoundFilter {
    fn apply(&self, mut batch: Batch, findings: &mut Findings) -> Result<Batch> {
        let evaluated = self.condition.evaluate(batch.columns())?;
        let values = evaluated.values.as_boolean();
        let mut keep: Vec<bool> =
            (0..values.len()).map(|row| values.is_valid(row) && values.value(row)).collect();
        for (row, why) in evaluated.failures {
            keep[row as usize] = true; // it leaves as a reject, not as filtered
            let reason = Reason::record("filter", failed(&why, self.condition.text()));
            batch.add_flaw(row as usize, Stage::Transform, reason);
        }
        let before = batch.num_rows();
        let batch = batch.filter(&BooleanArray::from(keep))?;
        findings.filtered += (before - batch.num_rows()) as u64;
        Ok(batch)
    }
}
