//! Converting a file from one format to another, without a pipeline file.

use std::path::{Path, PathBuf};

use gristmill_core::Result;
use serde_json::{Map, Value, json};

use crate::definition::LoadError;
use crate::execute::{Outcome, RunOptions, registry, run_definition};
use crate::params::Params;

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
pub fn convert(conversion: &Conversion, options: &RunOptions<'_>) -> Result<Outcome, LoadError> {
    let mut source = Map::from_iter([("file".to_owned(), literal(&conversion.input))]);
    let mut destination = Map::from_iter([("file".to_owned(), literal(&conversion.output))]);
    if let Some(format) = &conversion.from {
        source.insert("format".to_owned(), literal(format));
    }
    if let Some(format) = &conversion.to {
        destination.insert("format".to_owned(), literal(format));
    }
    if conversion.infer {
        source.insert("infer".to_owned(), true.into());
    }
    let mut pipeline = json!({"pipeline": "convert", "extract": [source], "load": [destination]});
    match &conversion.rejects {
        Some(path) => pipeline["rejects"] = literal(&path.to_string_lossy()),
        None => pipeline["limits"] = json!({"rejected": 0}),
    }
    let text = pipeline.to_string();
    let params = Params::default();
    let definition = registry().parse(&text, Path::new("convert"), Path::new(""), &params)?;
    Ok(run_definition(&definition, options)?)
}

/// A text in which `${` is no parameter.
fn literal(text: &str) -> Value {
    text.replace("${", "$${").into()
}
