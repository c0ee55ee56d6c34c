//! A first pipeline for a data file: its columns with the types that fit all of its values, and
//! the steps and destinations that most pipelines begin with, to be uncommented.

use std::fmt::Write as _;
use std::path::{Component, Path, PathBuf};

use arrow_schema::{DataType, Field, Schema};
use gristmill_core::registry::Range;
use gristmill_core::{
    ByteSize, Error, ErrorKind, ExpressionCompiler, ExtractContext, FieldType, Mistake, Result,
};
use gristmill_transform::{Sql, snake_case_all};
use serde_json::{Value as Json, json};

use crate::execute::{RunOptions, State};
use crate::profile::{profile, suggest_contract};
use crate::scratch::Scratch;

/// The memory that looking at a file may use.
const MEMORY: ByteSize = ByteSize(1 << 30);

/// A pipeline file, in YAML with comments, for a data file. The whole file is read to find the
/// types of its columns. Paths in it are relative to the folder of `output`, which is where the
/// caller is going to write it; to the current folder without it. With a `contract`, types stand in one,
/// with which columns have a value in every record.
///
/// # Errors
/// When the data cannot be read, or its name does not tell the format.
pub fn pipeline_for(data: &Path, output: Option<&Path>, contract: bool) -> Result<String> {
    let base = output.and_then(Path::parent).unwrap_or(Path::new(""));
    let path = relative(data, base)?;
    let look = look_at(data)?;
    let name = pipeline_name(data);
    let columns = Columns::of(&look.schema);
    let mut out = String::new();
    let shown = data.display();
    let _ = writeln!(
        out,
        "# A pipeline for {}. Every key is explained in the reference;",
        one_line(&shown.to_string())
    );
    out.push_str("# `gristmill check` finds mistakes, `gristmill run` runs it.\n\n");
    let _ = writeln!(out, "pipeline: {}\n", text(&name));
    let _ = writeln!(out, "extract:\n  - file: {}", text(&pattern(&path)));
    if contract {
        out.push_str(
            "    # What was agreed about the records: here, what holds for all of this file.\n",
        );
        out.push_str("    # `gristmill contract diff` tells how other files differ from it.\n");
        out.push_str("    contract:\n");
        for line in contract_for(data)?.lines() {
            let _ = writeln!(out, "      {line}");
        }
    } else if look.declares {
        out.push_str("    # The types that fit every value. A value that does not fit its type, ");
        out.push_str("in a later file,\n    # is rejected with its record.\n");
        if look.schema.fields().is_empty() {
            out.push_str("    columns: {}\n");
        } else {
            out.push_str("    columns:\n");
        }
        for field in look.schema.fields() {
            if let Some(declared) = FieldType::of(field) {
                let _ = writeln!(out, "      {}: {declared}", text(field.name()));
            }
        }
    }
    out.push_str("\nsteps:\n");
    out.push_str("  # Column names in snake case, no blanks around texts.\n");
    out.push_str("  - clean: {names: snake_case, trim: all}\n");
    columns.example_steps(&mut out);
    let stem = text(&format!("out/{name}.parquet"));
    let _ = writeln!(out, "\nload:\n  - file: {stem}");
    out.push_str("  # A table of a SQLite database as well:\n");
    let _ = writeln!(out, "  # - table: {}", text(&name.replace(['-', '.'], "_")));
    let _ = writeln!(out, "  #   database: {}", text("sqlite://out/warehouse.db"));
    if let Some(key) = &columns.key {
        let _ = writeln!(out, "  #   mode: upsert\n  #   keys: [{}]", text(key));
    }
    out.push_str("\n# Records that were taken out, each with its reasons and its raw text.\n");
    let _ = writeln!(out, "rejects: {}", text(&format!("out/{name}.rejects.ndjson")));
    out.push_str("\n# Past a limit nothing is published.\n");
    out.push_str("# limits: {rejected_ratio: 0.05}\n");
    Ok(out)
}

/// A contract that a data file keeps.
fn contract_for(data: &Path) -> Result<String> {
    let options = RunOptions { state: State::None, ..RunOptions::default() };
    let (outcome, profile) = profile(&pattern(&data.to_string_lossy()), true, &options)?;
    let profile = profile.ok_or_else(|| {
        let why = outcome.report.error.map(|failure| failure.message).unwrap_or_default();
        Error::new(ErrorKind::Corrupt, format!("cannot read `{}`: {why}", data.display()))
    })?;
    Ok(suggest_contract(&profile))
}

/// What is in a data file.
struct Look {
    schema: Schema,
    /// Whether its columns come as text, so that types can be declared.
    declares: bool,
}

fn look_at(data: &Path) -> Result<Look> {
    let kind = gristmill_extract::KINDS
        .iter()
        .find(|kind| kind.name == "file")
        .ok_or_else(|| Error::internal("there is no extractor for files"))?;
    let path = data.to_str().ok_or_else(|| {
        let message = format!("the path `{}` is not UTF-8", data.display());
        Error::new(ErrorKind::Configuration, message).hint("rename the file")
    })?;
    let scratch = Scratch::new()?;
    let context = ExtractContext {
        base: PathBuf::new(),
        scratch: scratch.path().to_owned(),
        memory: MEMORY,
        workers: crate::run::cores(),
        range: Range::default(),
        guess: None,
    };
    let open = |options: &Json| {
        if let Some(mistake) = (kind.check)(options).into_iter().next() {
            return Err(refused(mistake));
        }
        (kind.open)(options, &context)
    };
    let plain = json!({"file": pattern(path)});
    let mut extractor = open(&plain)?;
    if let Some(plan) = extractor.read_plan()? {
        drop((plan, extractor));
        let mut inferring = open(&json!({"file": pattern(path), "infer": true}))?;
        let plan = inferring.read_plan()?;
        let schema = inferring.begin(plan)?;
        return Ok(Look { schema: schema.as_ref().clone(), declares: true });
    }
    let schema = extractor.begin(None)?;
    Ok(Look { schema: schema.as_ref().clone(), declares: false })
}

fn refused(mistake: Mistake) -> Error {
    let error = Error::new(ErrorKind::Configuration, mistake.message);
    match mistake.hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// The columns as they are named behind the `clean` step.
struct Columns {
    /// The first column that could tell records apart.
    key: Option<String>,
    text: Option<String>,
    number: Option<String>,
    time: Option<String>,
}

impl Columns {
    fn of(schema: &Schema) -> Self {
        let source: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let names = snake_case_all(&source);
        let first = |fits: &dyn Fn(&Field) -> bool| {
            let index = schema.fields().iter().position(|field| fits(field))?;
            names.get(index).cloned()
        };
        let is_text = |field: &Field| FieldType::of(field) == Some(FieldType::String);
        let is_id = |field: &Field| is_text(field) || matches!(field.data_type(), DataType::Int64);
        Self {
            key: first(&is_id),
            text: first(&is_text),
            number: first(&|field| {
                matches!(field.data_type(), DataType::Float64 | DataType::Decimal128(..))
            })
            .or_else(|| first(&|field| *field.data_type() == DataType::Int64)),
            time: first(&|field| {
                matches!(field.data_type(), DataType::Date32 | DataType::Timestamp(..))
            }),
        }
    }

    /// Steps to uncomment, with names that exist.
    fn example_steps(&self, out: &mut String) {
        let mut rules: Vec<(&str, &str)> = Vec::new();
        let candidates = [
            (&self.key, "required"),
            (&self.number, "[required, {min: 0}]"),
            (&self.time, "{after: 1900-01-01}"),
        ];
        for (name, rule) in candidates {
            if let Some(name) = name
                && rules.iter().all(|(other, _)| other != name)
            {
                rules.push((name, rule));
            }
        }
        if !rules.is_empty() {
            out.push_str(
                "  # Records that break a rule are rejected with every rule they break.\n",
            );
            out.push_str("  # - validate:\n  #     rules:\n");
            for (name, rule) in rules {
                let _ = writeln!(out, "  #       {}: {rule}", text(name));
            }
            if let Some(key) = &self.key {
                let _ = writeln!(out, "  #     unique: [{}]", text(key));
            }
        }
        let derived = match (&self.number, &self.text) {
            (Some(number), _) => Some((number, format!("{} * 2", identifier(number)))),
            (None, Some(text)) => Some((text, format!("upper({})", identifier(text)))),
            (None, None) => None,
        };
        if let Some((name, expression)) = derived {
            out.push_str("  # New columns, by SQL expressions.\n");
            let suffix = if self.number.is_some() { "doubled" } else { "upper" };
            let name = text(&format!("{name}_{suffix}"));
            let _ = writeln!(out, "  # - derive: {{{name}: {}}}", quoted(&expression));
        }
    }
}

/// A column in an expression; quoted where it is a word of SQL.
fn identifier(name: &str) -> String {
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if plain && Sql::default().check(&format!("{name} * 2")).is_ok() {
        return name.to_owned();
    }
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The name of a pipeline for a file: its name up to the first dot, without what a name cannot
/// hold.
fn pipeline_name(data: &Path) -> String {
    let stem = data.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let stem = stem.trim_start_matches('.').split('.').next().unwrap_or_default();
    let fits = |ch: char| ch.is_ascii_alphanumeric() || matches!(ch, '_' | '-');
    let name: String = stem.chars().map(|ch| if fits(ch) { ch } else { '_' }).collect();
    let name = name.trim_matches(['_', '-']);
    if name.is_empty() { "pipeline".to_owned() } else { name.to_owned() }
}

/// A path from `base` to `data`, both relative to the current folder.
fn relative(data: &Path, base: &Path) -> Result<String> {
    let absolute = |path: &Path| {
        std::path::absolute(path)
            .map_err(|error| Error::io(format!("cannot find `{}`", path.display()), error))
    };
    let here = if base.as_os_str().is_empty() { Path::new(".") } else { base };
    let path = if data.is_absolute() {
        data.to_owned()
    } else {
        let (data, base) = (without_dots(&absolute(data)?), without_dots(&absolute(here)?));
        let shared = data.components().zip(base.components()).take_while(|(a, b)| a == b).count();
        let up = base.components().skip(shared).map(|_| Component::ParentDir);
        up.chain(data.components().skip(shared)).collect()
    };
    let path = path.to_string_lossy();
    Ok(if cfg!(windows) { path.replace('\\', "/") } else { path.into_owned() })
}

fn without_dots(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(out.pop()),
            part => out.push(part),
        }
    }
    out
}

/// A path that is read as it stands, not as a pattern.
fn pattern(path: &str) -> String {
    if Path::new(path).exists() && path.contains(['*', '?', '[']) {
        return glob::Pattern::escape(path);
    }
    path.to_owned()
}

/// A text as YAML: bare where that is the same text in a block and in a list.
pub(crate) fn text(value: &str) -> String {
    let bare = |ch: char| ch.is_alphanumeric() || matches!(ch, '_' | '/' | '.' | '-');
    let words = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let starts = value.starts_with(|ch: char| ch.is_alphabetic() || ch == '_' || ch == '/');
    if starts && value.chars().all(bare) && !words.contains(&value.to_lowercase().as_str()) {
        return value.to_owned();
    }
    quoted(value)
}

fn quoted(value: &str) -> String {
    Json::from(value.replace("${", "$${")).to_string()
}

fn one_line(text: &str) -> String {
    text.chars().map(|ch| if ch.is_control() { ' ' } else { ch }).collect()
}
