//! Judging a file or a table by rules, without a pipeline.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_schema::SchemaRef;
use gristmill_core::{
    Batch, CheckResult, Encoded, Encoder, Error, ErrorKind, Findings, Gravity, LoadContext, Loaded,
    Loader, LoaderKind, Part, Result,
};
use gristmill_format::Format;
use gristmill_validate::check::{self, number};
use indexmap::IndexMap;
use serde_json::{Value, json};

use crate::definition::{Definition, Item, LoadError, read_options, yaml_to_json};
use crate::execute::{Outcome, RunOptions, registry, run_definition};
use crate::params::Params;
use crate::report::{Status, thousands};

/// What to judge, and by what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// The rules: a DQDL file, or a YAML or JSON file with the options of a `check` step.
    pub rules: PathBuf,
    /// A file, or a table as `DATABASE#TABLE`.
    pub data: String,
    /// Other inputs by the names that rules have for them.
    pub references: Vec<(String, String)>,
    /// Whether types are inferred from the whole input.
    pub infer: bool,
    /// Where the records go with what each has to do with the outcome.
    pub rows: Option<String>,
}

/// Judges an input. Nothing is written but, where the options say so, the ledger.
///
/// # Errors
/// When the rules or the input cannot be read, or do not fit each other.
pub fn judge(judgement: &Judgement, options: &RunOptions<'_>) -> Result<Outcome, LoadError> {
    let check = check_step(judgement)?;
    let stem = judgement.rules.file_stem().unwrap_or_default().to_string_lossy();
    let safe = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let name = format!("quality-{}", stem.chars().map(safe).collect::<String>());
    let source = source(&judgement.data, judgement.infer)?;
    let mut definition = definition(&name, &source, &[json!({"check": check.options})])?;
    if let Some(text) = check.yaml {
        let at = definition.steps[0].at.clone();
        definition.stands_in(at, &judgement.rules, &text);
    }
    match &judgement.rows {
        Some(file) => into_file(&mut definition, file)?,
        None => discard(&mut definition),
    }
    let mut outcome = run_definition(&definition, options)?;
    // An input that is not there has no place in the rules.
    if let Some(mistakes) = outcome.diagnostics.take()
        && outcome.report.status == Status::Invalid
    {
        return Err(mistakes.into());
    }
    if let Some(failure) = &mut outcome.report.error
        && failure.status == Status::Stopped
    {
        failure.hint = None; // the table of rules says it all
    }
    Ok(outcome)
}

/// What a judgement found, in a line for each rule.
pub fn table(data: &str, outcome: &Outcome) -> String {
    let report = &outcome.report;
    let passed = report.checks.iter().filter(|check| check.passed).count();
    let mut out = format!(
        "{data}: {passed} of {} rules passed, {} records\n",
        report.checks.len(),
        thousands(report.read)
    );
    let rejected = |is_read: bool| {
        let steps = report.steps.iter().filter(|step| (step.name == "read") == is_read);
        steps.map(|step| step.rejected).sum::<u64>()
    };
    let (unread, offending) = (rejected(true), rejected(false));
    for (count, what) in [
        (unread, "could not be read and were not judged"),
        (offending, "offend against a check with `offenders: reject`; a run would reject them"),
    ] {
        if count > 0 {
            let _ = writeln!(out, "{} records {what}", thousands(count));
        }
    }
    let _ = writeln!(out);
    for check in &report.checks {
        let word = match (check.passed, check.severity) {
            (true, _) => "passed",
            (false, Gravity::Error) => "FAILED",
            (false, Gravity::Warn) => "warned",
        };
        let _ = writeln!(out, "  {word}  {}", check.name);
        for line in detail(check) {
            let _ = writeln!(out, "          {line}");
        }
    }
    out
}

fn detail(check: &CheckResult) -> Vec<String> {
    match &check.message {
        Some(message) => vec![message.clone()],
        None => check
            .observed
            .iter()
            .filter_map(|seen| Some(format!("{} is {}", seen.measure, number(seen.value?))))
            .collect(),
    }
}

/// The `check` step that the rules are.
struct CheckStep {
    options: Value,
    /// The text of rules in YAML.
    yaml: Option<String>,
}

fn check_step(judgement: &Judgement) -> Result<CheckStep, LoadError> {
    let path = &judgement.rules;
    let name = path.display();
    let text = fs::read_to_string(path)
        .map_err(|error| Error::io(format!("cannot read the rules `{name}`"), error))?;
    let is_yaml =
        path.extension().is_some_and(|end| end == "yaml" || end == "yml" || end == "json");
    let mut references = IndexMap::new();
    for (name, data) in &judgement.references {
        let Value::Object(source) = source(data, judgement.infer)? else { continue };
        references.insert(name.clone(), source);
    }
    let mut options = if is_yaml {
        // Columns are not known yet; what they show is found when the step is bound to them.
        let check = |options: &check::Options| {
            let known = references.iter().map(|(name, source)| (name.clone(), source.clone()));
            let mut options = options.clone();
            options.references.extend(known);
            options.checks().err().unwrap_or_default()
        };
        read_options::<check::Options>(&text, path, "the rules", check)?;
        yaml_to_json(&text).map_err(|found| Error::new(ErrorKind::Configuration, found))?
    } else {
        json!({"dqdl_file": literal(&name.to_string())})
    };
    if judgement.rows.is_some() {
        // The records are written whatever the outcome is.
        options["row_results"] = true.into();
        options["dqdl_severity"] = "warn".into();
    }
    for (name, source) in references {
        options["references"][name] = source.into();
    }
    Ok(CheckStep { options, yaml: is_yaml.then_some(text) })
}

/// The item of `extract` for a file, or for a table as `DATABASE#TABLE`.
///
/// # Errors
/// When the name of a file tells no format, or a database comes without a table.
pub(crate) fn source(data: &str, infer: bool) -> Result<Value> {
    if data.contains("://") {
        let Some((database, table)) = data.rsplit_once('#') else {
            let message = format!("`{data}` names no table");
            return Err(Error::new(ErrorKind::Configuration, message)
                .hint("write the database and the table, as in `sqlite://shop.db#orders`"));
        };
        return Ok(json!({"table": literal(table), "database": literal(database)}));
    }
    let format = Format::of_name(Path::new(data)).ok_or_else(|| {
        let is_rules = [".dqdl", ".yaml", ".yml"].iter().any(|end| data.ends_with(end));
        Error::new(ErrorKind::Configuration, format!("the name `{data}` says no format")).hint(
            match is_rules {
                true => "the rules come first, then the data",
                false => "its ending is that of csv, json, ndjson, parquet or arrow",
            },
        )
    })?;
    let mut item = json!({"file": literal(data)});
    if infer && !matches!(format, Format::Parquet | Format::Arrow) {
        item["infer"] = true.into();
    }
    Ok(item)
}

/// A pipeline of one source and some steps, into nothing yet.
pub(crate) fn definition(name: &str, source: &Value, steps: &[Value]) -> Result<Definition> {
    let pipeline = json!({
        "pipeline": name,
        "extract": [source],
        "steps": steps,
        "load": [{"file": "-", "format": "ndjson"}],
    });
    let text = pipeline.to_string();
    let parsed = registry().parse(&text, Path::new(name), Path::new(""), &Params::default());
    parsed.map_err(|mistakes| {
        let first = mistakes.items().first();
        let message = first.map(|mistake| mistake.message.clone()).unwrap_or_default();
        let error = Error::new(ErrorKind::Configuration, message);
        match first.and_then(|mistake| mistake.hint.clone()) {
            Some(hint) => error.hint(hint),
            None => error,
        }
    })
}

/// Lets a pipeline load one file.
pub(crate) fn into_file(definition: &mut Definition, file: &str) -> Result<()> {
    let kind = registry().loaders.iter().find(|kind| kind.name == "file");
    let kind = kind.ok_or_else(|| Error::internal("there is no loader for files"))?;
    let options = json!({"file": file});
    if let Some(mistake) = (kind.check)(&options).into_iter().next() {
        return Err(Error::new(ErrorKind::Configuration, mistake.to_string()));
    }
    let at = definition.load[0].at.clone();
    definition.load = vec![Item { kind, options, at }];
    Ok(())
}

/// Lets a pipeline load nothing anywhere.
pub(crate) fn discard(definition: &mut Definition) {
    for item in &mut definition.load {
        *item = Item { kind: &NOWHERE, options: Value::Null, at: item.at.clone() };
    }
}

/// A text in which `${` is no parameter.
pub(crate) fn literal(text: &str) -> Value {
    text.replace("${", "$${").into()
}

/// A destination that takes everything and keeps nothing.
static NOWHERE: LoaderKind = LoaderKind {
    name: "nowhere",
    about: "",
    example: "",
    schema: |_| schemars::Schema::default(),
    check: |_| Vec::new(),
    bind: |_, _| Vec::new(),
    open: nowhere,
    published: |_, _, _| Ok(None),
};

fn nowhere(_: &Value, _: &SchemaRef, _: &LoadContext<'_>) -> Result<Box<dyn Loader>> {
    Ok(Box::new(Nowhere::default()))
}

#[derive(Default)]
struct Nowhere {
    records: u64,
}

impl Loader for Nowhere {
    fn name(&self) -> &'static str {
        "nowhere"
    }

    fn encoder(&self) -> Arc<dyn Encoder> {
        Arc::new(Counting)
    }

    fn append(&mut self, part: Encoded, _: &mut Findings) -> Result<()> {
        self.records += part.records;
        Ok(())
    }

    fn prepare(&mut self, _: &mut Findings) -> Result<Loaded> {
        self.publish()
    }

    fn publish(&mut self) -> Result<Loaded> {
        Ok(Loaded { inserted: self.records, ..Loaded::default() })
    }

    fn abort(self: Box<Self>) {}
}

struct Counting;

struct Counted(u64);

impl Encoder for Counting {
    fn begin(&self) -> Box<dyn Part> {
        Box::new(Counted(0))
    }
}

impl Part for Counted {
    fn push(&mut self, batch: &Batch) -> Result<()> {
        self.0 += batch.num_rows() as u64;
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Encoded> {
        Ok(Encoded { records: self.0, bytes: 0, payload: Box::new(()) })
    }
}
