//! Parts of a pipeline that stand in files of their own, and their mistakes with the lines there.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gristmill_core::{Error, Mistake, Pointer, StepKind};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::node::{Node, Value};
use super::schema_check::{Checker, Place};
use super::{Definition, Diagnostic, Diagnostics, Item, Source, schema, yaml};
use crate::params::Secrets;

/// The option of a step that has rules as a text, and that which names a file of them.
const RULES: &str = "dqdl";
const RULES_FILE: &str = "dqdl_file";

impl Definition {
    /// Mistakes in the options at `at`, where these stand in a file of their own; the same mistakes
    /// where they do not.
    pub(super) fn diagnose_elsewhere(
        &self,
        at: &Pointer,
        mistakes: Vec<Mistake>,
    ) -> Result<Diagnostics, Vec<Mistake>> {
        if let Some((_, path, text)) = self.elsewhere.iter().find(|(part, ..)| part == at) {
            return Ok(options_file(path, text).diagnose(mistakes));
        }
        let dqdl = Pointer::root().key(RULES);
        let step = self.steps.iter().find(|step| &step.at == at);
        let rules = step.and_then(|step| self.rules(step));
        let (Some((path, Ok(text))), true) =
            (rules, mistakes.iter().any(|mistake| mistake.at == dqdl))
        else {
            return Err(mistakes);
        };
        let theirs = mistakes.into_iter().filter(|mistake| mistake.at == dqdl);
        let found = theirs.map(|mistake| Diagnostic {
            message: mistake.message,
            span: mistake.span,
            label: None,
            hint: mistake.hint,
        });
        let (path, secrets) = (path.display().to_string(), self.source.secrets.clone());
        Ok(Diagnostics::new(path, text.into(), secrets, found.collect()))
    }

    /// Says that the options at `at` stand in a file of their own.
    pub(crate) fn stands_in(&mut self, at: Pointer, path: &Path, text: &str) {
        self.elsewhere.push((at, path.to_owned(), text.to_owned()));
    }

    pub(super) fn is_elsewhere(&self, at: &Pointer) -> bool {
        self.elsewhere.iter().any(|(part, ..)| part == at)
            || self
                .steps
                .iter()
                .any(|step| &step.at == at && step.options.get(RULES_FILE).is_some())
    }

    /// The file of rules that a step names, and its text.
    fn rules(&self, step: &Item<StepKind>) -> Option<(PathBuf, Result<String, Error>)> {
        let file = step.options.get(RULES_FILE)?.as_str()?;
        let path = self.base.join(file);
        let text = fs::read_to_string(&path).map_err(|error| {
            Error::io(format!("cannot read the rules `{}`", path.display()), error)
        });
        Some((path, text))
    }

    /// The options of a step, with the rules of the file that it names.
    pub(super) fn with_rules(
        &self,
        step: &Item<StepKind>,
    ) -> Result<serde_json::Value, Diagnostics> {
        let mut options = step.options.clone();
        let Some((_, text)) = self.rules(step) else { return Ok(options) };
        let mistake = match (text, options.get(RULES)) {
            (Ok(text), None) => {
                options[RULES] = text.into();
                return Ok(options);
            }
            (_, Some(_)) => {
                Mistake::new(Pointer::root().key(RULES_FILE), "there are rules already, in `dqdl`")
                    .hint("give one or the other, or two `check` steps")
                    .on_key()
            }
            (Err(error), None) => {
                let causes: String =
                    error.causes().iter().map(|cause| format!(": {cause}")).collect();
                Mistake::new(Pointer::root().key(RULES_FILE), format!("{error}{causes}"))
                    .hint("paths are relative to the pipeline file")
            }
        };
        Err(self.source.diagnostics(vec![self.source.place(mistake.under(&step.at))]))
    }
}

/// Reads a file of options of its own, a YAML or JSON document.
///
/// # Errors
/// Every mistake in it, with its line.
pub(crate) fn read_options<T: JsonSchema + DeserializeOwned>(
    text: &str,
    path: &Path,
    name: &str,
    check: impl FnOnce(&T) -> Vec<Mistake>,
) -> Result<T, Diagnostics> {
    let mut source = options_file(path, text);
    let mut found = Vec::new();
    let text = Arc::clone(&source.text);
    source.root = match yaml::read(&text, &mut found) {
        Ok(root) => root,
        Err(mistake) => return Err(source.diagnostics(vec![mistake])),
    };
    let (schema, definitions) = schema::with_definitions(T::json_schema);
    let checker = Checker { definitions: &definitions };
    checker.check(&source.root, &schema, &Place::whole(name), &mut found);
    if !found.is_empty() {
        return Err(source.diagnostics(found));
    }
    let options = serde_json::from_value::<T>(source.root.to_json())
        .map_err(|error| source.diagnostics(vec![Diagnostic::of_file(error.to_string())]))?;
    found.extend(check(&options).into_iter().map(|mistake| source.place(mistake)));
    if found.is_empty() { Ok(options) } else { Err(source.diagnostics(found)) }
}

/// A file of options that can be read.
fn options_file(path: &Path, text: &str) -> Source {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let root = yaml::read(text, &mut Vec::new());
    Source {
        path: path.to_owned(),
        text: text.into(),
        secrets: Secrets::of_text(text),
        root: root.unwrap_or(Node { value: Value::Unknown, span: 0..0 }),
    }
}
