//! `drop`: the columns to leave out.

use arrow_schema::SchemaRef;
use gristmill_core::{BindContext, Bound, Mistake, Pointer, ReadPlan, Result, StepKind, StepPlan};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::select::{bind_places, keep_only};
use crate::options;

/// The registry entry.
pub(super) const KIND: StepKind = StepKind {
    name: "drop",
    about: "Leaves out the named columns. Where it comes first, they are not even read from Parquet \
            files, and are not in the `raw` text of rejects.",
    example: "drop: [internal_note]\n",
    schema: |generator| generator.subschema_for::<Drop>(),
    plan: |options, _| {
        let plan: Drop = options::read(options)?;
        options::planned(plan, Vec::new())
    },
};

/// The columns to leave out.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Drop(Vec<String>);

impl Drop {
    /// Leaves out these columns.
    pub fn new<S: Into<String>>(columns: impl IntoIterator<Item = S>) -> Self {
        Self(columns.into_iter().map(Into::into).collect())
    }

    /// The places of the columns that stay.
    fn places(&self, names: &[&str]) -> Result<Vec<usize>, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let mut keep = vec![true; names.len()];
        for (i, name) in self.0.iter().enumerate() {
            match options::find(names, name, Pointer::root().index(i)) {
                Ok(place) => keep[place] = false,
                Err(mistake) => mistakes.push(mistake),
            }
        }
        if !names.is_empty() && !keep.contains(&true) {
            mistakes.push(Mistake::new(Pointer::root(), "no column would be left"));
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        Ok((0..names.len()).filter(|&place| keep[place]).collect())
    }
}

impl StepPlan for Drop {
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
