//! Running mended records through their pipeline again.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use gristmill_core::registry::Range;
use gristmill_core::{Error, ErrorKind, ExtractContext, FieldType, LoaderKind, RejectLine, Result};
use gristmill_format::{Format, csv};
use serde_json::{Map, Value, json};

use super::lines;
use super::places::{Part, Places};
use crate::definition::{Definition, Item};
use crate::execute::{Outcome, RunOptions, registry, run_then};
use crate::scratch::Scratch;

/// Runs the records of a rejects file, mended in their `raw` text, through the same steps into the
/// pipeline's destinations, or into one file. Records that fail again go to `NAME-replayed.ndjson`
/// beside the rejects file.
///
/// # Errors
/// When the rejects file cannot be read, a record in it is cut short, or a destination would lose
/// what it holds: a file that each run replaces.
pub fn replay(
    file: &Path,
    mut definition: Definition,
    into: Option<&Path>,
    options: &RunOptions<'_>,
) -> Result<Outcome> {
    let [source] = definition.extract.as_slice() else {
        return Err(Error::new(
            ErrorKind::Configuration,
            format!("`{}` has several sources, and a reject does not say which it is from", definition.name),
        )
        .hint("copy the pipeline, keep the one source that the rejects are from, and replay with that"));
    };
    let scratch = Scratch::new()?;
    let mended = Mended { definition: &definition, source, scratch: scratch.path() };
    let (replaced, mut places) = mended.write(file)?;
    let kind = registry().extractors.iter().find(|kind| kind.name == "file");
    let kind = kind.ok_or_else(|| Error::internal("there is no extractor for files"))?;
    let at = definition.extract[0].at.clone();
    definition.extract[0] = Item { kind, options: replaced, at };
    let base = definition.base.clone();
    match into {
        Some(path) => {
            let path = from(&base, path)?;
            let kind = registry().loaders.iter().find(|kind| kind.name == "file");
            let kind = kind.ok_or_else(|| Error::internal("there is no loader for files"))?;
            let at = definition.load[0].at.clone();
            definition.load = vec![Item { kind, options: json!({"file": path}), at }];
        }
        None => keeps_what_is_there(&definition)?,
    }
    let rejects = beside(file);
    definition.rejects = Some(from(&base, &rejects)?);
    definition.report = None;
    run_then(&definition, options, false, |report| places.restore(report, &rejects))
}

/// A path of the caller's, as seen from the folder that the pipeline's paths start from.
fn from(base: &Path, path: &Path) -> Result<PathBuf> {
    if base.as_os_str().is_empty() {
        return Ok(path.to_owned());
    }
    std::path::absolute(path)
        .map_err(|source| Error::io(format!("cannot find `{}`", path.display()), source))
}

/// Refuses to replace a file by the few records that were mended.
fn keeps_what_is_there(definition: &Definition) -> Result<()> {
    for item in &definition.load {
        let mode = item.options.get("mode").and_then(Value::as_str);
        let replaces = match item.kind.name {
            "file" => mode != Some("append") && !is_stdout(item),
            _ => mode == Some("replace"),
        };
        if replaces {
            let name = item.options.get(item.kind.name).and_then(Value::as_str).unwrap_or_default();
            return Err(Error::new(
                ErrorKind::Configuration,
                format!("`{name}` is replaced by each run, so a replay would leave only the mended records in it"),
            )
            .hint("pass --into FILE to load the mended records into a file of their own"));
        }
    }
    Ok(())
}

fn is_stdout(item: &Item<LoaderKind>) -> bool {
    item.options.get("file").and_then(Value::as_str) == Some("-")
}

fn beside(file: &Path) -> PathBuf {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    file.with_file_name(format!("{stem}-replayed.ndjson"))
}

/// The mended records as files that the pipeline's source can read.
struct Mended<'a> {
    definition: &'a Definition,
    source: &'a Item<gristmill_core::ExtractorKind>,
    scratch: &'a Path,
}

impl Mended<'_> {
    /// Writes one file for each source that rejects are from, and gives the options to read them.
    fn write(&self, rejects: &Path) -> Result<(Value, Places)> {
        let mut files: BTreeMap<String, Part> = BTreeMap::new();
        let one_line = self.written_as()? == Format::Ndjson;
        let mut written = 0usize;
        let mut options = if self.is_file() { self.source.options.clone() } else { json!({}) };
        for line in lines(rejects)? {
            let line = line?;
            if line.truncated {
                return Err(Error::new(
                    ErrorKind::Configuration,
                    format!(
                        "record {} of `{}` is cut short in `{}`",
                        line.record,
                        line.source,
                        rejects.display()
                    ),
                )
                .hint("put its whole text into `raw` and set `truncated` to false, or remove the line"));
            }
            if !files.contains_key(&line.source) {
                let path =
                    self.scratch.join(format!("part-{:05}.{}", files.len(), self.extension()?));
                let mut out = Part::create(&line.source, path)?;
                self.begin(&line, &mut out, &mut options)?;
                files.insert(line.source.clone(), out);
            }
            if let Some(out) = files.get_mut(&line.source) {
                out.add(&line, one_line)
                    .map_err(|source| Error::io("cannot write the mended records", source))?;
                written += 1;
            }
        }
        if written == 0 {
            return Err(Error::new(
                ErrorKind::Configuration,
                format!("`{}` holds no record", rejects.display()),
            ));
        }
        let places = Places::of(files.into_values())?;
        let pattern = self.scratch.join(format!("part-*.{}", self.extension()?));
        let Value::Object(fields) = &mut options else {
            return Err(Error::internal("a source has no options"));
        };
        fields.insert("file".to_owned(), json!(pattern));
        fields.insert("format".to_owned(), json!(self.written_as()?));
        fields.remove("compression");
        fields.remove("read"); // these files are nobody's later on
        fields.insert("drift".to_owned(), json!("fill"));
        Ok((options, places))
    }

    /// Writes what stands before the first record, and fits the options to it.
    fn begin(&self, line: &RejectLine, out: &mut impl Write, options: &mut Value) -> Result<()> {
        match self.format()? {
            Format::Csv => {
                let text = options.get("csv").cloned().unwrap_or_else(|| json!({}));
                let mut read: csv::ReadOptions = serde_json::from_value(text).map_err(|error| {
                    Error::internal("csv options do not parse").caused_by(error)
                })?;
                if read.dialect == csv::Dialect::Auto {
                    return Err(Error::new(
                        ErrorKind::Configuration,
                        "a few mended lines do not tell what the file's dialect was",
                    )
                    .hint("say `delimiter:` and `quote:` under `csv:`, without `dialect: auto`"));
                }
                read = read.for_path(Path::new(&line.source));
                let names = self.columns(&line.source)?;
                let header = header(names.iter().map(|(name, _)| name.as_str()), &read);
                writeln!(out, "{header}")
                    .map_err(|source| Error::io("cannot write the mended records", source))?;
                read.header = csv::Header::Present;
                read.names = Vec::new();
                read.skip_rows = 0;
                read.encoding = csv::Encoding::default();
                options["csv"] = serde_json::to_value(read).map_err(|error| {
                    Error::internal("csv options have no JSON form").caused_by(error)
                })?;
            }
            Format::Json => {
                if let Some(Value::Object(json)) = options.get_mut("json") {
                    json.remove("records");
                }
            }
            Format::Ndjson => {}
            Format::Parquet | Format::Arrow => {
                let columns = self.columns(&line.source)?;
                let typed: Map<String, Value> = columns
                    .into_iter()
                    .filter_map(|(name, kind)| Some((name, json!(kind?.to_string()))))
                    .collect();
                options["columns"] = typed.into();
            }
        }
        Ok(())
    }

    /// Names of the columns of a source, and their types where they have one.
    fn columns(&self, source: &str) -> Result<Vec<(String, Option<FieldType>)>> {
        let mut options = self.source.options.clone();
        if self.is_file() {
            options["file"] = json!(source);
        }
        let context = ExtractContext {
            base: self.definition.base.clone(),
            scratch: self.scratch.to_owned(),
            memory: self.definition.limits.memory,
            workers: 1,
            range: Range::default(),
            guess: None,
        };
        let opened = (self.source.kind.open)(&options, &context);
        let mut extractor = opened.map_err(|error| {
            Error::new(error.kind(), format!("the columns of `{source}` cannot be read from it"))
                .caused_by(error)
                .hint("replay needs the source file for the names of its columns")
        })?;
        if let Some(plan) = extractor.read_plan()? {
            return Ok(plan.columns.into_iter().map(|column| (column.source, None)).collect());
        }
        let schema = extractor.begin(None)?;
        let fields = schema.fields().iter();
        Ok(fields.map(|field| (field.name().clone(), FieldType::of(field))).collect())
    }

    fn is_file(&self) -> bool {
        self.source.kind.name == "file"
    }

    fn format(&self) -> Result<Format> {
        if !self.is_file() {
            return Ok(Format::Arrow); // a database's columns come with types as well
        }
        let options = &self.source.options;
        if let Some(format) = options.get("format") {
            return serde_json::from_value(format.clone())
                .map_err(|error| Error::internal("a format does not parse").caused_by(error));
        }
        let file = options.get("file").and_then(Value::as_str).unwrap_or_default();
        Format::of_name(Path::new(file))
            .ok_or_else(|| Error::internal(format!("the format of `{file}` is not known")))
    }

    /// The format that mended records are written in: JSON for all that is not CSV.
    fn written_as(&self) -> Result<Format> {
        Ok(match self.format()? {
            Format::Csv => Format::Csv,
            Format::Json | Format::Ndjson | Format::Parquet | Format::Arrow => Format::Ndjson,
        })
    }

    fn extension(&self) -> Result<&'static str> {
        Ok(self.written_as()?.extension())
    }
}

/// A header line that the options read back.
fn header<'a>(names: impl Iterator<Item = &'a str>, options: &csv::ReadOptions) -> String {
    let delimiter = match options.delimiter.as_deref() {
        None => ",",
        Some("tab" | "\\t") => "\t",
        Some(other) => other,
    };
    let quoted = names.map(|name| match options.quote.as_deref() {
        Some(quote) if [quote, delimiter, "\n", "\r"].iter().any(|sign| name.contains(sign)) => {
            format!("{quote}{}{quote}", name.replace(quote, &quote.repeat(2)))
        }
        _ => name.to_owned(),
    });
    quoted.collect::<Vec<_>>().join(delimiter)
}
