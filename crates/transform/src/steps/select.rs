//! `select`: the columns to keep, in the order to keep them in.

use std::sync::Arc;

use arrow_schema::SchemaRef;
use gristmill_core::{
    Batch, BindContext, Bound, Findings, Grain, Mistake, Pointer, ReadPlan, Result, Step, StepKind,
    StepPlan,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::options;

/// The registry entry.
pub(super) const KIND: StepKind = StepKind {
    name: "select",
    about: "Keeps the named columns, in the given order, and leaves out the others. Where it comes \
            first, the others are not even read from Parquet files, and are not in the `raw` text of \
            rejects.",
    example: "select: [fund_code, fund_name, aum]\n",
    schema: |generator| generator.subschema_for::<Select>(),
    plan: |options, _| {
        let plan: Select = options::read(options)?;
        let mut mistakes = plan.check();
        if plan.0.is_empty() {
            mistakes.push(Mistake::new(Pointer::root(), "no column would be left"));
        }
        options::planned(plan, mistakes)
    },
};

/// The columns to keep, in this order.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Select(Vec<String>);

impl Select {
    /// Keeps these columns, in this order.
    pub fn new<S: Into<String>>(columns: impl IntoIterator<Item = S>) -> Self {
        Self(columns.into_iter().map(Into::into).collect())
    }

    fn check(&self) -> Vec<Mistake> {
        let repeated = |i: usize| self.0[..i].contains(&self.0[i]);
        (0..self.0.len())
            .filter(|&i| repeated(i))
            .map(|i| {
                let message = format!("`{}` is selected twice", self.0[i]);
                Mistake::new(Pointer::root().index(i), message)
            })
            .collect()
    }

    fn places(&self, names: &[&str]) -> Result<Vec<usize>, Vec<Mistake>> {
        let mut mistakes = self.check();
        let mut places = Vec::new();
        for (i, name) in self.0.iter().enumerate() {
            match options::find(names, name, Pointer::root().index(i)) {
                Ok(place) => places.push(place),
                Err(mistake) => mistakes.push(mistake),
            }
        }
        if mistakes.is_empty() { Ok(places) } else { Err(mistakes) }
    }
}

impl StepPlan for Select {
    fn push_down(&self, plan: &mut ReadPlan) -> Result<bool, Vec<Mistake>> {
        let names: Vec<&str> = plan.columns.iter().map(|column| column.name.as_str()).collect();
        let places = self.places(&names)?;
        Ok(keep_only(plan, &places))
    }

    fn keeps(&self, columns: &[&str]) -> Option<Vec<usize>> {
        self.places(columns).ok()
    }

    fn bind(&self, input: &SchemaRef, _: &BindContext<'_>) -> Result<Bound, Vec<Mistake>> {
        let places = self.places(&options::names(input))?;
        bind_places(input, places)
    }
}

/// Reads only the columns at these places. A column whose values may be wrong is still read,
/// and left out later, so that its records are rejected as they would be.
pub(super) fn keep_only(plan: &mut ReadPlan, places: &[usize]) -> bool {
    let left_out = |place: &usize| !places.contains(place);
    let any_text = |place: usize| plan.columns[place].takes_any_text();
    if !(0..plan.columns.len()).filter(left_out).all(any_text) {
        return false;
    }
    plan.columns = places.iter().map(|&place| plan.columns[place].clone()).collect();
    true
}

/// A step that keeps the columns at these places.
pub(super) fn bind_places(input: &SchemaRef, places: Vec<usize>) -> Result<Bound, Vec<Mistake>> {
    let output = input
        .project(&places)
        .map_err(|found| vec![Mistake::new(Pointer::root(), found.to_string())])?;
    Ok(Bound {
        local: Some(Box::new(BoundSelect { places })),
        ordered: None,
        output: Arc::new(output),
        grain: Grain::Preserves,
    })
}

struct BoundSelect {
    places: Vec<usize>,
}

impl Step for BoundSelect {
    fn apply(&self, batch: Batch, _: &mut Findings) -> Result<Batch> {
        let columns = batch.columns().project(&self.places)?;
        batch.with_columns(columns)
    }

    fn settles(&self) -> bool {
        false
    }
}
