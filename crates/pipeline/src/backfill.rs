//! What a run with `--from` and `--to` reads of sources that are read incrementally.

use gristmill_core::text::parse;
use gristmill_core::{Error, ErrorKind, Result};
use serde_json::Value;

use crate::definition::Definition;

/// A range of a cursor that is read again, or for the first time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Backfill {
    /// The first value that is read.
    pub from: Option<String>,
    /// The first value that is not read any more.
    pub to: Option<String>,
}

impl Backfill {
    /// Refuses a range that no source has, or in which nothing can be.
    pub(crate) fn check(&self, definition: &Definition) -> Result<()> {
        if definition.extract.iter().all(|item| !is_incremental(&item.options)) {
            let message = format!("no source of `{}` has a cursor", definition.name);
            return Err(Error::new(ErrorKind::Configuration, message).hint(
                "`--from` and `--to` are about the `cursor` of a `table` or a `query`, and about \
                 the names of files that are not read again, with `read: new_or_changed`",
            ));
        }
        if let Self { from: Some(from), to: Some(to) } = self
            && is_not_before(from, to)
        {
            let message =
                format!("`--from {from}` is not before `--to {to}`: nothing would be read");
            return Err(Error::new(ErrorKind::Configuration, message).hint(
                "`--to` is the first value that is not read any more: for a day, the next day",
            ));
        }
        Ok(())
    }
}

/// Whether nothing is between two values, as far as numbers and ISO dates and times tell.
fn is_not_before(from: &str, to: &str) -> bool {
    let number = |text: &str| text.parse::<f64>().ok();
    let time = |text: &str| parse::timestamp(text.as_bytes());
    match (number(from).zip(number(to)), time(from).zip(time(to))) {
        (Some((from, to)), _) => from >= to,
        (None, Some((from, to))) => from >= to,
        (None, None) => false,
    }
}

/// Whether a source keeps how far it was read.
fn is_incremental(source: &Value) -> bool {
    let read = source.get("read").and_then(Value::as_str);
    source.get("cursor").is_some() || read.is_some_and(|which| which != "all")
}
