//! What a pipeline can say about files to read. The doc comments are the reference text.

use std::collections::BTreeMap;
use std::path::Path;

use gristmill_core::text::parse;
use gristmill_core::{FieldType, Mistake, Pointer};
use gristmill_format::{Compression, Format, csv, json};
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::paths;

/// Files to read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// A path, relative to the pipeline file; a pattern with `*`, `?`, `[…]` or `**`, whose files
    /// are read one after the other in the order of their names; or `-` for the standard input.
    pub file: String,
    /// Which of these files are read.
    #[serde(default)]
    pub read: Which,
    /// The format. By default what the name says, behind the compression's extension.
    #[serde(default)]
    pub format: Option<Format>,
    /// The compression. By default what the file's first bytes say.
    #[serde(default)]
    pub compression: Option<Compression>,
    /// Types of columns, by the name in the file or in any other spelling of it: `as_of_date` is
    /// also `As Of Date`. In CSV, columns without one are strings; in JSON, they have the type of
    /// their values. JSON numbers with a fraction are doubles, of 15 to 17 digits, and so is the
    /// rest of their column: declare a `decimal` to keep more.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, FieldType>")]
    pub columns: IndexMap<String, FieldType>,
    /// Whether the types of undeclared string columns are found by reading the whole input first.
    #[serde(default)]
    pub infer: bool,
    /// Formats (`strftime`) of declared date, time and timestamp columns, tried in order. ISO 8601
    /// unless said.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Vec<String>>")]
    pub date_formats: IndexMap<String, Vec<String>>,
    /// What to do when several files do not have the same columns. Their order does not matter.
    /// In JSON, where every record has its own keys, columns are those of all files.
    #[serde(default)]
    pub drift: Drift,
    /// How CSV is read.
    #[serde(default)]
    pub csv: Option<csv::ReadOptions>,
    /// How JSON and NDJSON are read.
    #[serde(default)]
    pub json: Option<json::ReadOptions>,
}

/// Which of the files that are there are read. The ledger keeps which ones were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Which {
    /// All of them, in each run.
    #[default]
    All,
    /// Those that no run that published has read, and those whose size or time of the last change is
    /// another since then. A changed file is read from its beginning: what was loaded from it
    /// before stays, unless the destination's `mode` says otherwise. With `--from` and `--to`,
    /// those whose names are in that range, whether read before or not.
    NewOrChanged,
    /// The same, but a file with another time is read again only if its content is another, told
    /// by a hash: for files that are copied or touched without a change. Each file is read once
    /// more for it.
    NewContent,
}

/// What to do when several files, or several sources, do not have the same columns: how their union is made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Drift {
    /// Stop and say which one has which columns too many or too few.
    #[default]
    Error,
    /// Read the columns of all of them; a column that one does not have is null there.
    Fill,
    /// Read the columns of the first one and the declared ones; leave others out.
    Ignore,
}

impl Options {
    /// Options for this file, all of them at their default.
    pub fn new(file: impl Into<String>) -> Self {
        Self {
            file: file.into(),
            read: Which::default(),
            format: None,
            compression: None,
            columns: IndexMap::new(),
            infer: false,
            date_formats: IndexMap::new(),
            drift: Drift::default(),
            csv: None,
            json: None,
        }
    }

    /// The format, where the options or the name tell it without looking.
    pub(super) fn known_format(&self) -> Option<Format> {
        self.format.or_else(|| Format::of_name(Path::new(&self.file)))
    }

    /// Mistakes that can be found without looking at files.
    pub fn check(&self) -> Vec<Mistake> {
        let at = |key: &str| Pointer::root().key(key);
        let mut mistakes = Vec::new();
        if self.file.is_empty() {
            mistakes.push(Mistake::new(at("file"), "the path is empty"));
            return mistakes;
        }
        if let Err(error) = paths::check_pattern(&self.file) {
            mistakes.push(
                Mistake::new(at("file"), format!("`{}` is not a pattern: {error}", self.file))
                    .hint("put brackets that are part of a name into brackets: `[[]`"),
            );
        }
        if self.file == paths::STDIN && self.read != Which::All {
            mistakes.push(
                Mistake::new(at("read"), "the standard input is new each time")
                    .on_key()
                    .hint("leave it out"),
            );
        }
        self.check_format(&mut mistakes);
        for (name, formats) in &self.date_formats {
            let at = at("date_formats").key(name);
            match self.columns.get(name) {
                Some(
                    FieldType::Date
                    | FieldType::Time
                    | FieldType::Timestamp
                    | FieldType::TimestampTz,
                ) => {}
                Some(other) => mistakes.push(
                    Mistake::new(at.clone(), format!("`{name}` is declared as {other}")).on_key(),
                ),
                None => mistakes.push(
                    Mistake::new(at.clone(), format!("`{name}` is not in `columns`"))
                        .hint("declare it there as date, time or timestamp")
                        .on_key(),
                ),
            }
            for (index, format) in formats.iter().enumerate() {
                if !parse::is_format(format) {
                    let message = format!("`{format}` is not a strftime format");
                    mistakes.push(Mistake::new(at.index(index), message));
                }
            }
        }
        mistakes
    }

    fn check_format(&self, mistakes: &mut Vec<Mistake>) {
        let at = |key: &str| Pointer::root().key(key);
        let Some(format) = self.known_format() else {
            if self.file == paths::STDIN {
                mistakes.push(
                    Mistake::new(at("file"), "the standard input has no name to tell its format")
                        .hint("say `format:`: csv, json, ndjson, parquet or arrow"),
                );
            } else if !paths::has_open_name(&self.file) {
                mistakes.push(
                    Mistake::new(at("file"), format!("cannot tell the format of `{}`", self.file))
                        .hint(paths::no_format(&self.file)),
                );
            }
            return;
        };
        let article = if format == Format::Arrow { "an" } else { "a" };
        let kind = format!("{article} {} file", format_name(format));
        if let Some(csv) = &self.csv {
            if format == Format::Csv {
                let path = Path::new(&self.file);
                let found = csv::check(&csv.for_path(path));
                mistakes.extend(found.into_iter().map(|mistake| mistake.under(&at("csv"))));
            } else {
                let message = format!("`csv` does not apply to {kind}");
                mistakes.push(Mistake::new(at("csv"), message).on_key());
            }
        }
        if let Some(json) = &self.json {
            if let Some(layout) = json::Layout::of(format) {
                let found = json.check(layout);
                mistakes.extend(found.into_iter().map(|mistake| mistake.under(&at("json"))));
            } else {
                let message = format!("`json` does not apply to {kind}");
                mistakes.push(Mistake::new(at("json"), message).on_key());
            }
        }
        if is_typed(format) {
            let declared = [
                ("columns", !self.columns.is_empty()),
                ("infer", self.infer),
                ("date_formats", !self.date_formats.is_empty()),
            ];
            for (key, said) in declared {
                if said {
                    let message = format!("the columns of {kind} have types already");
                    mistakes.push(
                        Mistake::new(at(key), message)
                            .hint("give them other types with a `cast` step")
                            .on_key(),
                    );
                }
            }
        }
    }
}

/// Mistakes in an item that fits the schema.
pub(super) fn check_value(value: &Value) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    // The schema cannot say what a type looks like.
    for (name, declared) in value.get("columns").and_then(Value::as_object).into_iter().flatten() {
        if let Some(Err(message)) = declared.as_str().map(str::parse::<FieldType>) {
            mistakes.push(Mistake::new(Pointer::root().key("columns").key(name), message));
        }
    }
    if !mistakes.is_empty() {
        return mistakes;
    }
    match serde_json::from_value::<Options>(value.clone()) {
        Ok(options) => options.check(),
        Err(error) => vec![Mistake::new(Pointer::root(), error.to_string())],
    }
}

/// Whether columns come with types, so that nothing is parsed from text.
pub(super) fn is_typed(format: Format) -> bool {
    matches!(format, Format::Parquet | Format::Arrow)
}

pub(super) fn format_name(format: Format) -> &'static str {
    match format {
        Format::Csv => "CSV",
        Format::Json => "JSON",
        Format::Ndjson => "NDJSON",
        Format::Parquet => "Parquet",
        Format::Arrow => "Arrow",
    }
}
