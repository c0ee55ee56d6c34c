//! From an item of the pipeline file to checked options.

use gristmill_core::{Error, ErrorKind, Mistake, Pointer, Result};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Mistakes in an item that fits its schema; one that does not is itself a mistake.
pub(crate) fn check<O: DeserializeOwned>(
    item: &Value,
    mistakes: impl FnOnce(&O) -> Vec<Mistake>,
) -> Vec<Mistake> {
    match O::deserialize(item) {
        Ok(options) => mistakes(&options),
        Err(e) => vec![Mistake::new(Pointer::root(), e.to_string())],
    }
}

/// The options of an item.
pub(crate) fn options<O: DeserializeOwned>(item: &Value) -> Result<O> {
    O::deserialize(item).map_err(|e| Error::new(ErrorKind::Configuration, e.to_string()))
}

/// A mistake as an error, for definitions that are made by code.
pub(crate) fn wrong(mistake: Mistake) -> Error {
    let error = Error::new(ErrorKind::Configuration, mistake.to_string());
    match mistake.hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// That the records, whose columns have these names, do not have one.
pub(crate) fn no_column(at: Pointer, column: &str, names: &[&String]) -> Mistake {
    Mistake::new(at, format!("there is no column `{column}`"))
        .hint(format!("the columns are {}", listed(names)))
}

/// That the records of a load and the table do not fit each other.
pub(crate) fn misfit(message: String, hint: String) -> Error {
    Error::new(ErrorKind::Schema, message).hint(hint)
}

/// Names for a message: `a`, `b`, `c`.
pub(crate) fn listed<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("`{}`", name.as_ref())).collect();
    names.join(", ")
}
