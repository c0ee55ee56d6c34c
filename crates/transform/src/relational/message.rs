//! What goes wrong in a plan, in our words.

use datafusion_common::{DataFusionError, SchemaError};
use gristmill_core::{ByteSize, Error, ErrorKind};

use super::SetFunctions;
use super::catalog::functions;
use crate::expression::message;
use crate::suggest;

/// Why a query cannot be planned, and what to do.
pub(super) fn planning(found: &DataFusionError) -> (String, Option<String>) {
    if let DataFusionError::SchemaError(found, _) = found.find_root() {
        match found.as_ref() {
            SchemaError::FieldNotFound { field, valid_fields } => {
                let names = valid_fields.iter().map(|column| column.name.as_str());
                let hint = suggest::hint(&field.name, names);
                return (format!("no column `{}`", field.flat_name()), Some(hint));
            }
            SchemaError::AmbiguousReference { field } => {
                let message = format!("`{}` may be several columns", field.name);
                let hint = format!(
                    "say which, `table.{0}`; a result column gets another name with `AS`",
                    field.name
                );
                return (message, Some(hint));
            }
            _ => {}
        }
    }
    let text = found.find_root().strip_backtrace();
    if let Some(explained) = misused(&text) {
        return explained;
    }
    let text = message::planning(found);
    match text.split_once("; did you mean ") {
        Some((message, near)) => (message.to_owned(), Some(format!("did you mean {near}"))),
        None => (text, None),
    }
}

/// What the planner says at length.
fn misused(text: &str) -> Option<(String, Option<String>)> {
    let between = |text: &str, start: &str, end: &str| {
        let (_, rest) = text.split_once(start)?;
        rest.split_once(end).map(|(found, _)| found.to_owned())
    };
    if let Some(column) = between(text, "column \"", "\" must appear in the GROUP BY clause") {
        let name = column.strip_prefix("input.").unwrap_or(&column);
        let message = format!("`{name}` has many values in a group");
        let hint =
            format!("make it a key, or say which value is meant: `max({name})`, `first({name})`");
        return Some((message, Some(hint)));
    }
    if text.contains("failed to match any signature")
        && let Some(name) = between(text, "Function '", "'")
        && let Some(found) = between(text, "but received ", " ")
    {
        let message = format!("`{name}` does not take a {}", found.to_lowercase());
        let hint = "cast it before: CAST(… AS DOUBLE), or a `cast` step".to_owned();
        return Some((message, Some(hint)));
    }
    if let Some(name) = between(text, "Invalid function '", "'") {
        let known = functions().names().chain(SetFunctions::all().names());
        let hint = match suggest::nearest(&name, known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "the functions are those of Apache DataFusion's SQL reference".to_owned(),
        };
        return Some((format!("no function `{name}`"), Some(hint)));
    }
    text.contains("calls cannot be nested")
        .then(|| ("aggregate functions cannot stand within each other".to_owned(), None))
}

/// Why a plan cannot go on.
pub(super) fn running(step: &str, memory: usize, found: DataFusionError) -> Error {
    match found.find_root() {
        DataFusionError::ResourcesExhausted(text) if text.contains("disk") => Error::io(
            format!("step `{step}` cannot write to the temporary folder"),
            std::io::Error::other(found),
        ),
        DataFusionError::ResourcesExhausted(_) => {
            let memory = ByteSize(memory as u64);
            let message =
                format!("step `{step}` does not fit in its share of the memory, {memory}");
            Error::new(ErrorKind::Memory, message)
                .hint("raise `limits.memory`; a quarter of it is for the steps that see all records, in equal shares")
                .caused_by(found)
        }
        DataFusionError::IoError(_) => Error::io(
            format!("step `{step}` cannot use the temporary folder"),
            std::io::Error::other(found),
        ),
        _ if message::is_about_data(&found) => {
            let message = format!("step `{step}`: {}", message::failure(&found));
            Error::new(ErrorKind::Stopped, message)
                .hint("records that lead to it can be rejected before: `derive` the value, or `validate` what it is made of")
        }
        _ => Error::internal(format!("step `{step}` could not go on")).caused_by(found),
    }
}
