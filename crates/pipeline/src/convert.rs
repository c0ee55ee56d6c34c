//! Converting a file from one format to another, without a pipeline file.

use std::fs;
use std::path::{Path, PathBuf};

use gristmill_core::{Error, ErrorKind, Result};
use gristmill_format::Format;
use serde_json::{Map, Value, json};

use crate::execute::{Outcome, RunOptions, registry, run_definition};
use crate::params::Params;
use crate::report::Status;

/// What to convert, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversion {
    /// The file to read, or `-` for standard input.
    pub input: String,
    /// The file to write, or `-` for standard output.
    pub output: String,
    /// The input's format, where its name does not say it.
    pub from: Option<String>,
    /// The output's format, where its name does not say it.
    pub to: Option<String>,
    /// Whether types are inferred from the whole input.
    pub infer: bool,
    /// Where records that cannot be read go. Without it, the first one ends the conversion.
    pub rejects: Option<PathBuf>,
}

/// Converts a file. Paths are relative to the current folder.
///
/// # Errors
/// When a format is unknown, or cannot be told from a name.
pub fn convert(conversion: &Conversion, options: &RunOptions<'_>) -> Result<Outcome> {
    let from = format(&conversion.input, conversion.from.as_deref(), End::From)?;
    format(&conversion.output, conversion.to.as_deref(), End::To)?;
    if conversion.input != "-" && is_same_file(&conversion.input, &conversion.output) {
        let message = format!("`{}` cannot be converted into itself", conversion.input);
        return Err(Error::new(ErrorKind::Configuration, message).hint("write to another file"));
    }
    let mut source = Map::from_iter([("file".to_owned(), literal(&conversion.input))]);
    let mut destination = Map::from_iter([("file".to_owned(), literal(&conversion.output))]);
    if let Some(format) = &conversion.from {
        source.insert("format".to_owned(), literal(format));
    }
    if let Some(format) = &conversion.to {
        destination.insert("format".to_owned(), literal(format));
    }
    if conversion.infer && !matches!(from, Format::Parquet | Format::Arrow) {
        source.insert("infer".to_owned(), true.into());
    }
    let mut pipeline = json!({"pipeline": "convert", "extract": [source], "load": [destination]});
    match &conversion.rejects {
        Some(path) => pipeline["rejects"] = literal(&path.to_string_lossy()),
        None => pipeline["limits"] = json!({"rejected": 0}),
    }
    let text = pipeline.to_string();
    let params = Params::default();
    let parsed = registry().parse(&text, Path::new("convert"), Path::new(""), &params);
    let definition = parsed.map_err(|mistakes| {
        let said = mistakes.items().iter().map(|mistake| mistake.message.as_str());
        let said = said.collect::<Vec<_>>().join("; ");
        let what = format!("cannot convert `{}` to `{}`", conversion.input, conversion.output);
        Error::new(ErrorKind::Configuration, format!("{what}: {said}"))
    })?;
    let mut outcome = run_definition(&definition, options)?;
    if let (Some(failure), None) = (&mut outcome.report.error, &conversion.rejects)
        && failure.status == Status::Stopped
    {
        failure.message = "a record cannot be read".to_owned();
        failure.hint = Some(
            "`--rejects FILE` writes such records to a file of their own and goes on".to_owned(),
        );
    }
    Ok(outcome)
}

fn is_same_file(one: &str, other: &str) -> bool {
    one == other || fs::canonicalize(one).is_ok_and(|one| fs::canonicalize(other).ok() == Some(one))
}

/// An end of a conversion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    From,
    To,
}

/// The format of a file: what was said, else what its name says.
fn format(file: &str, said: Option<&str>, end: End) -> Result<Format> {
    const FORMATS: &str = "csv, json, ndjson, parquet or arrow";
    let option = if end == End::From { "--from" } else { "--to" };
    let wrong = |message: String, hint: String| {
        Err(Error::new(ErrorKind::Configuration, message).hint(hint))
    };
    if let Some(said) = said {
        return match serde_json::from_value(json!(said)) {
            Ok(format) => Ok(format),
            Err(_) => wrong(format!("`{said}` is not a format"), format!("it is {FORMATS}")),
        };
    }
    match Format::of_name(Path::new(file)) {
        Some(format) => Ok(format),
        None if file == "-" => {
            let stream = if end == End::From { "input" } else { "output" };
            wrong(
                format!("the standard {stream} has no name to tell its format"),
                format!("say it with `{option}`: {FORMATS}"),
            )
        }
        None => wrong(
            format!("the name `{file}` says no format"),
            format!("say it with `{option}`: {FORMATS}"),
        ),
    }
}

/// A text in which `${` is no parameter.
fn literal(text: &str) -> Value {
    text.replace("${", "$${").into()
}
