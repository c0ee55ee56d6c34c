//! The pipeline file, from text to a checked definition.
//!
//! Raw → checked: the text becomes a tree that knows its places, parameters are put in, the tree is
//! checked against the JSON schemas of its options, each kind checks what its schema cannot say,
//! and at last the parts are compared with one another. Every mistake is gathered, each with its
//! line. Nothing is opened here: that is the run's business.

mod cross;
mod diagnostic;
mod elsewhere;
mod items;
mod node;
mod raw;
mod reference;
mod schema;
mod schema_check;
mod yaml;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gristmill_core::{
    ByteSize, Error, ErrorKind, ExpressionCompiler, ExtractorKind, LoaderKind, Mistake, Pointer,
    StepKind, StepPlan,
};
use gristmill_extract::file::Drift;
use gristmill_parallel::Retry;

pub(crate) use diagnostic::closest;
pub use diagnostic::{Diagnostic, Diagnostics};
pub(crate) use elsewhere::read_options;
pub use raw::Limits;

use crate::contract::{Contract, Said};
use crate::params::{Params, Resolver, Secrets};
use crate::run::BindError;
use crate::testing::TestCase;
use node::{Located, Node, Scalar, Value};
use schema_check::{Checker, Place};

/// A pipeline file of more bytes is refused.
const MAX_BYTES: u64 = 8 << 20;

/// The kinds of sources, steps and destinations that a pipeline can name.
#[derive(Clone)]
pub struct Registry {
    /// Kinds of sources.
    pub extractors: &'static [ExtractorKind],
    /// Kinds of steps.
    pub steps: Vec<&'static StepKind>,
    /// Kinds of destinations.
    pub loaders: &'static [LoaderKind],
    /// What checks the expressions in steps.
    pub expressions: Arc<dyn ExpressionCompiler>,
}

/// A checked pipeline: it has no mistake that can be found without opening anything.
#[derive(Debug)]
pub struct Definition {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// The file it was read from, as the caller named it.
    pub path: PathBuf,
    /// The folder that relative paths start from.
    pub base: PathBuf,
    /// Sources, in order.
    pub extract: Vec<Item<ExtractorKind>>,
    /// For each source, the contract that it is held to.
    pub(crate) contracts: Vec<Option<SourceContract>>,
    /// Steps, in order.
    pub steps: Vec<Item<StepKind>>,
    /// Destinations, in order.
    pub load: Vec<Item<LoaderKind>>,
    /// For each destination, the condition of the records that go there.
    pub conditions: Vec<Option<String>>,
    /// The file for rejects, relative to `base`.
    pub rejects: Option<PathBuf>,
    /// The file for the report, relative to `base`.
    pub report: Option<PathBuf>,
    /// What to do when the sources do not have the same columns.
    pub drift: Drift,
    /// Bounds of a run.
    pub limits: Limits,
    /// How opening and publishing are tried again.
    pub retry: Retry,
    /// Tests of it.
    pub tests: Vec<TestCase>,
    source: Source,
    /// Parts that stand in files of their own: where they belong, the file and its text.
    elsewhere: Vec<(Pointer, PathBuf, String)>,
}

/// The contract of a source.
#[derive(Debug, Clone)]
pub(crate) struct SourceContract {
    /// What it says.
    pub(crate) contract: Contract,
    /// Where it stands in the pipeline.
    pub(crate) at: Pointer,
}

/// A source, step or destination of a pipeline.
pub struct Item<K: 'static> {
    /// Its kind.
    pub kind: &'static K,
    /// The options that the kind takes: the whole item for a source or destination, what stands
    /// behind its name for a step.
    pub options: serde_json::Value,
    /// Where the options stand in the pipeline.
    pub at: Pointer,
}

impl<K> std::fmt::Debug for Item<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Item({})", self.at) // options may hold secrets
    }
}

/// Why a pipeline file gives no definition.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] Error),
    /// It has mistakes.
    #[error(transparent)]
    Mistakes(#[from] Diagnostics),
}

impl Registry {
    /// Reads and checks a pipeline file.
    ///
    /// # Errors
    /// When it cannot be read, or has mistakes.
    pub fn load(&self, path: &Path, params: &Params) -> Result<Definition, LoadError> {
        let text = read_file(path)?;
        let base = path.parent().unwrap_or(Path::new("")).to_owned();
        Ok(self.parse(&text, path, &base, params)?)
    }

    /// Checks the text of a pipeline. `path` is what messages call it; relative paths in it start
    /// from `base`.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn parse(
        &self,
        text: &str,
        path: &Path,
        base: &Path,
        params: &Params,
    ) -> Result<Definition, Diagnostics> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut source = Source {
            path: path.to_owned(),
            text: text.into(),
            secrets: Secrets::of_text(text),
            root: Node { value: Value::Unknown, span: 0..0 },
        };
        let mut found = Vec::new();
        source.root = match yaml::read(text, &mut found) {
            Ok(root) => root,
            Err(mistake) => return Err(source.diagnostics(vec![mistake])),
        };
        let mut resolver = Resolver::new(params, std::mem::take(&mut source.secrets));
        put_in(&mut source.root, text, &mut resolver, &mut found);
        found.extend(unused(&resolver));
        source.secrets = resolver.secrets;
        let (schema, definitions) = schema::top_level();
        let checker = Checker { definitions: &definitions };
        checker.check(&source.root, &schema, &Place::root(), &mut found);
        let parts = items::check(self, &source, &mut found);
        cross::check(&source, &parts, base, &mut found);
        found.extend(too_little_memory(&source));
        if !found.is_empty() {
            return Err(source.diagnostics(found));
        }
        match serde_json::from_value::<raw::Raw>(source.root.to_json()) {
            Err(error) => Err(source.diagnostics(vec![Diagnostic::of_file(error.to_string())])),
            Ok(raw) => Ok(Definition {
                contracts: parts.contracts.into_iter().map(source_contract).collect(),
                name: raw.pipeline,
                description: raw.description,
                path: path.to_owned(),
                base: base.to_owned(),
                extract: parts.extract,
                steps: parts.steps,
                load: parts.load,
                conditions: parts.conditions,
                rejects: raw.rejects,
                report: raw.report,
                drift: raw.drift,
                limits: raw.limits,
                retry: raw.retry,
                tests: raw.tests,
                source,
                elsewhere: Vec::new(),
            }),
        }
    }
}

impl Definition {
    /// The plans of the steps, in order.
    ///
    /// # Errors
    /// Mistakes in their options; none when `expressions` is what the definition was checked with.
    pub fn plans(
        &self,
        expressions: &dyn ExpressionCompiler,
    ) -> Result<Vec<Box<dyn StepPlan>>, Diagnostics> {
        let mut plans = Vec::with_capacity(self.steps.len());
        let mut found = Vec::new();
        for step in &self.steps {
            let options = self.with_rules(step)?;
            match (step.kind.plan)(&options, expressions) {
                Ok(plan) => plans.push(plan),
                Err(mistakes) if self.is_elsewhere(&step.at) => {
                    return Err(self.diagnose(&step.at, mistakes));
                }
                Err(mistakes) => {
                    found
                        .extend(mistakes.into_iter().map(|m| self.source.place(m.under(&step.at))));
                }
            }
        }
        if found.is_empty() { Ok(plans) } else { Err(self.source.diagnostics(found)) }
    }

    /// Mistakes found later (when the columns were seen) in the options at `at`, with their lines.
    pub fn diagnose(&self, at: &Pointer, mistakes: Vec<Mistake>) -> Diagnostics {
        self.diagnose_parts(vec![BindError { at: at.clone(), mistakes }])
    }

    /// Mistakes in several parts; those of a part that stands in a file of its own are told alone.
    pub(crate) fn diagnose_parts(&self, parts: Vec<BindError>) -> Diagnostics {
        let mut found = Vec::new();
        for BindError { at, mistakes } in parts {
            match self.diagnose_elsewhere(&at, mistakes) {
                Ok(found) => return found,
                Err(mistakes) => found.extend(
                    mistakes.into_iter().map(|mistake| self.source.place(mistake.under(&at))),
                ),
            }
        }
        self.source.diagnostics(found)
    }

    /// What must not be shown: passwords and secret parameters.
    pub fn secrets(&self) -> &Secrets {
        &self.source.secrets
    }

    /// The text of the pipeline file.
    pub fn text(&self) -> &str {
        &self.source.text
    }
}

/// The contract of a source; it has no mistakes.
fn source_contract(found: Option<(serde_json::Value, Pointer)>) -> Option<SourceContract> {
    let (contract, at) = found?;
    let Said(contract) = serde_json::from_value(contract).ok()?;
    Some(SourceContract { contract, at })
}

/// A YAML or JSON document as JSON.
///
/// # Errors
/// What is wrong with it first, with its line.
pub(crate) fn yaml_to_json(text: &str) -> Result<serde_json::Value, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut found = Vec::new();
    let read = yaml::read(text, &mut found);
    match (read, found.into_iter().next()) {
        (Err(mistake), _) | (Ok(_), Some(mistake)) => {
            let start = mistake.span.map_or(0, |span| span.start.min(text.len()));
            let line = text[..start].matches('\n').count() + 1;
            Err(format!("line {line}: {}", mistake.message))
        }
        (Ok(node), None) => Ok(node.to_json()),
    }
}

fn too_little_memory(source: &Source) -> Option<Diagnostic> {
    let at = Pointer::root().key("limits").key("memory");
    let limits = source.root.get("limits")?.value.to_json();
    let memory = serde_json::from_value::<ByteSize>(limits.get("memory")?.clone()).ok()?;
    let least = Limits::LEAST_MEMORY;
    (memory < least).then(|| {
        Diagnostic::new(source.root.locate(&at).span(), format!("no run fits into {memory}"))
            .hint(format!("give it {least} or more"))
    })
}

/// The text of a pipeline file and its tree.
struct Source {
    path: PathBuf,
    text: Arc<str>,
    secrets: Secrets,
    root: Node,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Source({})", self.path.display()) // the tree may hold secrets
    }
}

impl Source {
    /// Mistakes whose paths start at the root.
    fn diagnose(&self, mistakes: Vec<Mistake>) -> Diagnostics {
        self.diagnostics(mistakes.into_iter().map(|mistake| self.place(mistake)).collect())
    }

    fn diagnostics(&self, found: Vec<Diagnostic>) -> Diagnostics {
        let path = self.path.display().to_string();
        Diagnostics::new(path, self.text.clone(), self.secrets.clone(), found)
    }

    /// The place of a mistake whose path starts at the root.
    fn place(&self, mistake: Mistake) -> Diagnostic {
        let found = self.root.locate(&mistake.at);
        let part = mistake.span.as_ref().and_then(|part| found.part(&self.text, part));
        let span = match part {
            Some(part) => part,
            None if mistake.on_key => found.key_span(),
            None => found.span(),
        };
        Diagnostic { message: mistake.message, span: Some(span), label: None, hint: mistake.hint }
    }
}

fn read_file(path: &Path) -> Result<String, Error> {
    let name = path.display();
    let failed = |error| {
        let error = Error::io(format!("cannot read the pipeline file `{name}`"), error);
        match error.kind() {
            ErrorKind::NotFound => error.hint("`gristmill init DATA` writes one for a data file"),
            _ => error,
        }
    };
    let size = fs::metadata(path).map_err(failed)?.len();
    if size > MAX_BYTES {
        let message = format!("`{name}` is no pipeline file: it has {size} bytes");
        return Err(Error::new(ErrorKind::Configuration, message)
            .hint("give the pipeline file first; data files are named in it"));
    }
    let bytes = fs::read(path).map_err(failed)?;
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
        let message = format!("the pipeline file `{name}` is not UTF-8 text in line {line}");
        Error::new(ErrorKind::Configuration, message).hint("save it as UTF-8")
    })
}

/// Puts parameters into every scalar.
fn put_in(node: &mut Node, text: &str, resolver: &mut Resolver<'_>, found: &mut Vec<Diagnostic>) {
    match &mut node.value {
        Value::Unknown => {}
        Value::Sequence(items) => {
            items.iter_mut().for_each(|item| put_in(item, text, resolver, found));
        }
        Value::Mapping(entries) => {
            for entry in entries {
                put_in(&mut entry.value, text, resolver, found);
            }
        }
        Value::Scalar(scalar) => match resolver.resolve(&scalar.text) {
            Ok(None) => {}
            Ok(Some(resolved)) if scalar.plain && resolved.whole => {
                node.value = Value::Scalar(Scalar::plain(resolved.text));
            }
            Ok(Some(resolved)) => node.value = Value::Scalar(Scalar::quoted(resolved.text)),
            Err(problems) => {
                let located = Located { node, key: None };
                for problem in problems {
                    let span = located.part(text, &problem.span).unwrap_or(node.span.clone());
                    found.push(
                        Diagnostic::new(span, problem.message)
                            .suggest(problem.suggestion.as_deref())
                            .hint(problem.hint),
                    );
                }
                node.value = Value::Unknown;
            }
        },
    }
}

/// Parameters that were given and are not used.
fn unused(resolver: &Resolver<'_>) -> Vec<Diagnostic> {
    let used = diagnostic::name_list(resolver.used(), "and");
    let mistakes = resolver.unused().into_iter().map(|(name, near)| {
        let mistake = Diagnostic::of_file(format!("the pipeline has no parameter `{name}`"))
            .suggest(near.as_deref());
        match used.as_str() {
            "" => mistake.hint(format!("`${{{name}}}` stands nowhere in it")),
            used => mistake.hint(format!("its parameters are {used}")),
        }
    });
    mistakes.collect()
}
