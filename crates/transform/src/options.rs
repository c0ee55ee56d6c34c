//! Reading step options, and finding the columns they name.

use arrow_schema::Schema;
use gristmill_core::{Mistake, Planned, Pointer, StepPlan};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::suggest;

/// Options that fit their schema.
///
/// # Errors
/// A mistake where they do not.
pub(crate) fn read<T: DeserializeOwned>(options: &Value) -> Result<T, Vec<Mistake>> {
    T::deserialize(options).map_err(|found| vec![Mistake::new(Pointer::root(), found.to_string())])
}

/// A plan without mistakes, or its mistakes.
pub(crate) fn planned(plan: impl StepPlan + 'static, mistakes: Vec<Mistake>) -> Planned {
    if mistakes.is_empty() { Ok(Box::new(plan)) } else { Err(mistakes) }
}

/// The place of the first column with this name, or a mistake with a suggestion.
pub(crate) fn find(names: &[&str], name: &str, at: Pointer) -> Result<usize, Mistake> {
    names.iter().position(|known| *known == name).ok_or_else(|| unknown(names, name, at))
}

/// There is no such column.
pub(crate) fn unknown(names: &[&str], name: &str, at: Pointer) -> Mistake {
    Mistake::new(at, format!("no column `{name}`")).hint(suggest::hint(name, names.iter().copied()))
}

/// Names of a schema's columns, in order.
pub(crate) fn names(schema: &Schema) -> Vec<&str> {
    schema.fields().iter().map(|field| field.name().as_str()).collect()
}

/// The first name that stands twice.
pub(crate) fn duplicate<'a>(names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let mut seen = std::collections::HashSet::new();
    names.into_iter().find(|name| !seen.insert(*name))
}
