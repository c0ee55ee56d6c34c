//! Tests of a pipeline, as its file states them: input in place of its sources, and what must come
//! of it. No destination is opened, and the ledger is not written.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use gristmill_core::{Error, ErrorKind, LoaderKind, RejectLine, Result};
use gristmill_format::Format;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::definition::{Definition, Item, LoadError};
use crate::execute::{RunOptions, State, registry, run_definition};
use crate::params::Params;
use crate::report::{Report, Status};
use crate::scratch::Scratch;

/// A test of the pipeline: input in place of its sources, and what must come of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TestCase {
    /// What the test shows.
    pub name: String,
    /// The input as text, in the format of the pipeline's first source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The input as a list of records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<Vec<Map<String, Value>>>,
    /// The input as a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// What must come of it.
    pub expect: Expected,
}

/// What must come of a test's input. What is not named is not compared.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Expected {
    /// The records that destinations get, all of them, in their order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Vec<Map<String, Value>>>,
    /// The same, as a file with one JSON object a line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_file: Option<PathBuf>,
    /// The rejects, all of them, in their order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rejects: Option<Vec<ExpectedReject>>,
    /// Counts of records.
    pub account: ExpectedAccount,
    /// How the run ends: `published`, `stopped` or `failed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// A part of the message of a run that does not publish.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A reject that must be there.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ExpectedReject {
    /// The record's number in the input, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<u64>,
    /// The field that one of its reasons is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The rule of that reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// A part of the message of that reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Counts of records that must be right.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ExpectedAccount {
    /// Records read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read: Option<u64>,
    /// Records that destinations get.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loaded: Option<u64>,
    /// Records filtered out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filtered: Option<u64>,
    /// Records dropped as duplicates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deduplicated: Option<u64>,
    /// Records rejected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rejected: Option<u64>,
}

/// How a test went.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TestResult {
    /// What the test shows.
    pub name: String,
    /// What is not as expected; the test passed if there is nothing.
    pub differences: Vec<String>,
}

/// Runs the tests of a pipeline file.
///
/// # Errors
/// When the file cannot be read or has mistakes, when it has no tests, or when an input cannot be read.
pub fn run_tests(
    path: &Path,
    params: &Params,
    options: &RunOptions<'_>,
) -> Result<Vec<TestResult>, LoadError> {
    let load = || registry().load(path, params);
    let tests = load()?.tests;
    if tests.is_empty() {
        let message = format!("`{}` has no tests", path.display());
        let hint = "write them under `tests:`, each with an input and what is expected";
        return Err(Error::new(ErrorKind::Configuration, message).hint(hint).into());
    }
    let mut results = Vec::with_capacity(tests.len());
    for test in tests {
        let differences = run_test(load()?, &test, options)?;
        results.push(TestResult { name: test.name, differences });
    }
    Ok(results)
}

/// Results as a person reads them.
pub fn table(results: &[TestResult]) -> String {
    let mut out = String::new();
    for result in results {
        let word = if result.differences.is_empty() { "ok    " } else { "FAILED" };
        let _ = writeln!(out, "{word}  {}", result.name);
        for line in result.differences.iter().flat_map(|difference| difference.lines()) {
            let _ = writeln!(out, "        {line}");
        }
    }
    let passed = results.iter().filter(|result| result.differences.is_empty()).count();
    let _ = writeln!(out, "\n{passed} of {} tests passed", results.len());
    out
}

fn run_test(
    mut definition: Definition,
    test: &TestCase,
    options: &RunOptions<'_>,
) -> Result<Vec<String>> {
    let scratch = Scratch::new()?;
    let output = scratch.path().join("output.ndjson");
    let rejects = scratch.path().join("rejects.ndjson");
    let source = input(&definition, test, scratch.path())?;
    let kind = registry().extractors.iter().find(|kind| kind.name == "file");
    let kind = kind.ok_or_else(|| Error::internal("there is no extractor for files"))?;
    let at = definition.extract[0].at.clone();
    definition.extract = vec![Item { kind, options: source, at }];
    let at = definition.load[0].at.clone();
    definition.load = vec![Item { kind: file_loader()?, options: json!({"file": output}), at }];
    definition.rejects = Some(rejects.clone());
    definition.report = None;
    let options = RunOptions { state: State::None, plan: false, backfill: None, ..options.clone() };
    let outcome = run_definition(&definition, &options)?;
    if let Some(mistakes) = &outcome.diagnostics {
        return Ok(vec![mistakes.to_string()]);
    }
    let report = &outcome.report;
    let mut differences = ending(&test.expect, report);
    if differences.is_empty() {
        differences.extend(account(&test.expect.account, report));
        let expected = match (&test.expect.output, &test.expect.output_file) {
            (Some(records), _) => Some(records.iter().cloned().map(Value::from).collect()),
            (None, Some(file)) => Some(json_lines(&definition.base.join(file))?),
            (None, None) => None,
        };
        if let Some(expected) = expected {
            let found = if output.exists() { json_lines(&output)? } else { Vec::new() };
            differences.extend(records(&expected, &found));
        }
        if let Some(expected) = &test.expect.rejects {
            let found: Vec<RejectLine> = crate::rejects::lines(&rejects)?.collect::<Result<_>>()?;
            differences.extend(rejected(expected, &found));
        }
    }
    Ok(differences)
}

fn file_loader() -> Result<&'static LoaderKind> {
    let found = registry().loaders.iter().find(|kind| kind.name == "file");
    found.ok_or_else(|| Error::internal("there is no loader for files"))
}

/// The item of `extract` that reads a test's input.
fn input(definition: &Definition, test: &TestCase, scratch: &Path) -> Result<Value> {
    let wrong = |message: &str, hint: &str| {
        let message = format!("test `{}`: {message}", test.name);
        Err(Error::new(ErrorKind::Configuration, message).hint(hint))
    };
    let first = &definition.extract[0];
    let is_file = first.kind.name == "file";
    let mut options = if is_file { first.options.clone() } else { json!({}) };
    let write = |name: &str, text: &str| -> Result<PathBuf> {
        let path = scratch.join(name);
        fs::write(&path, text).map_err(|error| Error::io("cannot write a test's input", error))?;
        Ok(path)
    };
    match (&test.text, &test.records, &test.file) {
        (Some(text), None, None) if is_file => {
            let named = options.get("file").and_then(Value::as_str).unwrap_or_default();
            let said = options.get("format").cloned();
            let format =
                said.or_else(|| serde_json::to_value(Format::of_name(Path::new(named))?).ok());
            let end = format.as_ref().and_then(Value::as_str).unwrap_or("csv").to_owned();
            options["file"] = json!(write(&format!("input.{end}"), text)?);
            if let Some(options) = options.as_object_mut() {
                options.remove("compression");
            }
        }
        (Some(_), None, None) => {
            return wrong("the first source is no file, so it has no text", "give `records`");
        }
        (None, Some(records), None) => {
            let lines: Vec<String> = records
                .iter()
                .map(|record| Value::from(record.clone()).to_string() + "\n")
                .collect();
            let columns = first.options.get("columns").cloned();
            options = json!({"file": write("input.ndjson", &lines.concat())?});
            if let Some(columns) = columns {
                options["columns"] = columns;
            }
        }
        (None, None, Some(file)) => options["file"] = json!(absolute(&definition.base, file)?),
        _ => return wrong("it has not one input", "give it `text`, `records` or `file`"),
    }
    Ok(options)
}

fn absolute(base: &Path, path: &Path) -> Result<PathBuf> {
    let path = base.join(path);
    std::path::absolute(&path)
        .map_err(|error| Error::io(format!("cannot find `{}`", path.display()), error))
}

fn json_lines(path: &Path) -> Result<Vec<Value>> {
    let name = path.display();
    let text = fs::read_to_string(path)
        .map_err(|error| Error::io(format!("cannot read `{name}`"), error))?;
    let lines = text.lines().filter(|line| !line.trim().is_empty()).map(|line| {
        serde_json::from_str(line).map_err(|error| {
            Error::new(ErrorKind::Corrupt, format!("`{name}` is not one JSON object a line"))
                .caused_by(error)
        })
    });
    lines.collect()
}

/// Whether the run ended as it should.
fn ending(expect: &Expected, report: &Report) -> Vec<String> {
    let wanted = expect.status.as_deref().unwrap_or(match expect.error {
        Some(_) => report.status.name(),
        None => Status::Published.name(),
    });
    let said = report.error.as_ref().map_or("", |failure| failure.message.as_str());
    let mut differences = Vec::new();
    if wanted != report.status.name() {
        let why = if said.is_empty() { String::new() } else { format!(": {said}") };
        differences
            .push(format!("the run should be {wanted}, and was {}{why}", report.status.name()));
    }
    if let Some(part) = expect.error.as_deref().filter(|part| !said.contains(part)) {
        let said = if said.is_empty() { "there was none" } else { said };
        differences.push(format!("error\n  - …{part}…\n  + {said}"));
    }
    differences
}

fn account(expected: &ExpectedAccount, report: &Report) -> Vec<String> {
    let account = &report.account;
    let counts = [
        ("read", expected.read, report.read),
        ("loaded", expected.loaded, account.loaded()),
        ("filtered", expected.filtered, account.filtered),
        ("deduplicated", expected.deduplicated, account.deduplicated),
        ("rejected", expected.rejected, report.rejected),
    ];
    let wrong = counts.into_iter().filter_map(|(name, expected, found)| {
        let expected = expected.filter(|expected| *expected != found)?;
        Some(format!("{name}: expected {expected}, found {found}"))
    });
    wrong.collect()
}

/// What differs, as lines with `-` for what is missing and `+` for what is too much.
fn records(expected: &[Value], found: &[Value]) -> Option<String> {
    let mut text = String::new();
    let mut differ = 0;
    for at in 0..expected.len().max(found.len()) {
        let (wanted, got) = (expected.get(at), found.get(at));
        if let (Some(wanted), Some(got)) = (wanted, got)
            && same(wanted, got)
        {
            continue;
        }
        differ += 1;
        if differ > 5 {
            continue;
        }
        let _ = writeln!(text, "  record {}", at + 1);
        for (sign, record) in [('-', wanted), ('+', got)] {
            if let Some(record) = record {
                let _ = writeln!(text, "  {sign} {record}");
            }
        }
        if let (Some(Value::Object(wanted)), Some(Value::Object(got))) = (wanted, got) {
            let names = wanted.keys().chain(got.keys().filter(|name| !wanted.contains_key(*name)));
            let null = Value::Null;
            let of = |map: &Map<String, Value>, name: &String| map.get(name).cloned();
            let fields: Vec<String> = names
                .filter(|name| {
                    let (a, b) = (of(wanted, name), of(got, name));
                    a.is_some() != b.is_some()
                        || !same(a.as_ref().unwrap_or(&null), b.as_ref().unwrap_or(&null))
                })
                .map(|name| format!("`{name}`"))
                .collect();
            let _ = writeln!(text, "    differs in {}", fields.join(", "));
        }
    }
    if differ > 5 {
        let _ = writeln!(text, "  … and {} more", differ - 5);
    }
    (differ > 0).then(|| {
        let (wanted, got) = (expected.len(), found.len());
        format!("output (- expected {wanted} records, + found {got})\n{text}")
    })
}

/// Whether two values mean the same: numbers by their value, objects whatever the order of keys.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        (a, b) => a == b,
    }
}

fn rejected(expected: &[ExpectedReject], found: &[RejectLine]) -> Option<String> {
    let mut text = String::new();
    for at in 0..expected.len().max(found.len()) {
        let (wanted, got) = (expected.get(at), found.get(at));
        if let (Some(wanted), Some(got)) = (wanted, got)
            && wanted.fits(got)
        {
            continue;
        }
        if let Some(wanted) = wanted {
            let _ = writeln!(text, "  - {}", json!(wanted));
        }
        if let Some(got) = got {
            let _ = writeln!(text, "  + record {}: {}", got.record, got.raw.trim_end());
            for reason in &got.errors {
                let field = reason.field.as_deref().unwrap_or("record");
                let _ = writeln!(text, "      {field} {}: {}", reason.rule, reason.message);
            }
        }
    }
    (!text.is_empty()).then(|| {
        let (wanted, got) = (expected.len(), found.len());
        format!("rejects (- expected {wanted}, + found {got})\n{text}")
    })
}

impl ExpectedReject {
    fn fits(&self, found: &RejectLine) -> bool {
        let reason = |reason: &gristmill_core::Reason| {
            self.field.as_ref().is_none_or(|field| reason.field.as_deref() == Some(field))
                && self.rule.as_ref().is_none_or(|rule| reason.rule == rule.as_str())
                && self.message.as_ref().is_none_or(|part| reason.message.contains(part))
        };
        self.record.is_none_or(|record| record == found.record) && found.errors.iter().any(reason)
    }
}
