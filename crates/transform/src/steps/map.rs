//! `map`: new names for columns.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{Schema, SchemaRef};
use gristmill_core::{
    Batch, BindContext, Bound, Findings, Grain, Mistake, Pointer, ReadPlan, Result, Step, StepKind,
    StepPlan,
};
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::options;

/// The registry entry.
pub(super) const KIND: StepKind = StepKind {
    name: "map",
    about: "Renames columns; the others stay as they are.",
    example: "map: {user_id: id, user_name: name}\n",
    schema: |generator| generator.subschema_for::<MapFields>(),
    plan: |options, _| {
        let plan: MapFields = options::read(options)?;
        let empty = plan.0.iter().filter(|(_, new)| new.is_empty());
        let mistakes = empty
            .map(|(old, _)| Mistake::new(Pointer::root().key(old), "a column needs a name"))
            .collect();
        options::planned(plan, mistakes)
    },
};

/// New names by old name. Columns stay in their places, and columns that are not named here stay
/// as they are.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct MapFields(IndexMap<String, String>);

impl MapFields {
    /// Renames columns, given as pairs of old and new name.
    pub fn new<O: Into<String>, N: Into<String>>(names: impl IntoIterator<Item = (O, N)>) -> Self {
        Self(names.into_iter().map(|(old, new)| (old.into(), new.into())).collect())
    }

    /// All names after renaming.
    fn rename(&self, names: &[&str]) -> Result<Vec<String>, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let mut renamed: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        for (old, new) in &self.0 {
            match options::find(names, old, Pointer::root().key(old)) {
                Ok(place) => renamed[place].clone_from(new),
                Err(mistake) => mistakes.push(mistake.on_key()),
            }
        }
        for (old, new) in &self.0 {
            let taken = renamed.iter().filter(|name| *name == new).count() > 1;
            if taken && names.contains(&old.as_str()) {
                let message = format!("there would be two columns `{new}`");
                let hint = "drop or rename the other one, or take another name";
                mistakes.push(Mistake::new(Pointer::root().key(old), message).hint(hint));
            }
        }
        if mistakes.is_empty() { Ok(renamed) } else { Err(mistakes) }
    }
}

impl StepPlan for MapFields {
    fn push_down(&self, plan: &mut ReadPlan) -> Result<bool, Vec<Mistake>> {
        let names: Vec<&str> = plan.columns.iter().map(|column| column.name.as_str()).collect();
        let renamed = self.rename(&names)?;
        for (column, name) in plan.columns.iter_mut().zip(renamed) {
            column.name = name;
        }
        Ok(true)
    }

    fn bind(&self, input: &SchemaRef, _: &BindContext<'_>) -> Result<Bound, Vec<Mistake>> {
        let renamed = self.rename(&options::names(input))?;
        let fields = input.fields().iter().zip(renamed);
        let fields: Vec<_> =
            fields.map(|(field, name)| field.as_ref().clone().with_name(name)).collect();
        let output = Arc::new(Schema::new(fields).with_metadata(input.metadata().clone()));
        Ok(Bound {
            local: Some(Box::new(BoundMap { schema: Arc::clone(&output) })),
            ordered: None,
            output,
            grain: Grain::Preserves,
        })
    }
}

struct BoundMap {
    schema: SchemaRef,
}

impl Step for BoundMap {
    fn apply(&self, batch: Batch, _: &mut Findings) -> Result<Batch> {
        let columns = batch.columns().columns().to_vec();
        batch.with_columns(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }

    fn settles(&self) -> bool {
        false
    }
}
