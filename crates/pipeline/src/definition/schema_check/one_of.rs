//! Alternatives: which one is meant, and what is wrong with it.

use serde_json::{Map, Value as Json};

use super::message::{one_line, unknown_key};
use super::{Checker, Found, Place, branches_of, required_of, takes_kind, text_of, words_of};
use crate::definition::diagnostic::{Diagnostic, closest};
use crate::definition::node::{Kind, Node, Scalar, Value};

impl<'a> Checker<'a> {
    pub(super) fn check_one_of(
        &self,
        node: &Node,
        schema: &'a Map<String, Json>,
        branches: &'a [Json],
        place: &Place,
        found: &mut Found,
    ) {
        let mut all = Vec::new();
        self.flatten(branches, &mut all);
        let mut fitting: Vec<(&Branch<'a>, Found)> = Vec::new();
        for branch in &all {
            let mut trial = Vec::new();
            self.check(node, branch.schema, place, &mut trial);
            if trial.is_empty() {
                return;
            }
            if takes_kind(branch.object, node) {
                fitting.push((branch, trial));
            }
        }
        let words: Vec<&str> =
            all.iter().flat_map(|b| words_of(b.object).unwrap_or_default()).collect();
        let tags: Vec<_> = all.iter().filter_map(|branch| tag_of(branch.object)).collect();
        let names: Vec<&str> = tags.iter().map(|(name, _)| *name).collect();
        match &node.value {
            Value::Scalar(Scalar { kind: Kind::String, text, .. }) => {
                let is_key = |branch: &Branch<'_>| {
                    let keys = branch.object.get("properties").and_then(Json::as_object);
                    keys.is_some_and(|keys| keys.contains_key(text))
                };
                if !words.is_empty() && all.iter().any(is_key) {
                    let mistake = format!("`{text}` needs a value");
                    found.push(
                        Diagnostic::new(place.located(node).span(), mistake)
                            .hint(format!("write `{{{text}: …}}`")),
                    );
                    return;
                }
                fitting.retain(|(branch, _)| words_of(branch.object).is_none());
                if fitting.is_empty() && !(words.is_empty() && names.is_empty()) {
                    found.push(self.wrong_word(node, &words, &names, place));
                    return;
                }
            }
            Value::Mapping(entries) => {
                let tagged = entries.iter().find_map(|entry| {
                    tags.iter()
                        .find(|(name, _)| *name == entry.key)
                        .map(|(_, inner)| (entry, inner))
                });
                let structs = fitting.iter().any(|(branch, _)| tag_of(branch.object).is_none());
                if let Some((entry, inner)) = tagged.filter(|_| !structs) {
                    self.check(&entry.value, inner, &Place::key(entry), found);
                    for other in entries.iter().filter(|other| other.key != entry.key) {
                        let known = names.contains(&other.key.as_str());
                        let message =
                            format!("`{}` cannot stand beside `{}`", other.key, entry.key);
                        let mistake = Diagnostic::new(other.key_span.clone(), message);
                        found.push(if known {
                            mistake.hint("write a list, each with its own `{…}`")
                        } else {
                            mistake.hint(format!("{} takes one key", place.name))
                        });
                    }
                    return;
                }
                if let Some(entry) = entries.iter().find(|e| words.contains(&e.key.as_str()))
                    && !structs
                {
                    let message = format!("`{}` takes no value", entry.key);
                    found.push(
                        Diagnostic::new(entry.key_span.clone(), message)
                            .hint(format!("write `{}` alone", entry.key)),
                    );
                    return;
                }
                if let Some(entry) = entries.first().filter(|_| !names.is_empty() && !structs) {
                    let near = closest(&entry.key, names.iter().chain(&words).copied());
                    let keys = names.iter().chain(&words).copied();
                    found.push(unknown_key(entry, near, keys));
                    return;
                }
            }
            _ => {}
        }
        match fitting.into_iter().min_by_key(|(_, trial)| trial.len()) {
            Some((_, mut trial)) => {
                let about = schema.get("description").and_then(Json::as_str);
                if let ([one], Some(about)) = (trial.as_mut_slice(), about)
                    && one.hint.is_none()
                    && text_of(node).is_some()
                {
                    one.hint = Some(one_line(about));
                }
                found.append(&mut trial);
            }
            None => {
                let objects: Vec<_> = all.iter().map(|branch| branch.object).collect();
                found.push(self.wrong_type(node, &objects, place));
            }
        }
    }

    /// The alternatives, those of alternatives included.
    fn flatten(&self, branches: &'a [Json], out: &mut Vec<Branch<'a>>) {
        for schema in branches {
            let mut object = schema.as_object();
            while let Some((_, target)) = object.and_then(|object| self.reference(object)) {
                object = target.as_object();
            }
            let Some(object) = object else { continue };
            match branches_of(object) {
                Some(inner) if out.len() < 200 => self.flatten(inner, out),
                _ => out.push(Branch { schema, object }),
            }
        }
    }
}

struct Branch<'a> {
    schema: &'a Json,
    /// The schema with references followed.
    object: &'a Map<String, Json>,
}

/// The key and the value's schema of a schema for mappings with exactly one key: the form of an
/// enum variant with a value.
fn tag_of(schema: &Map<String, Json>) -> Option<(&str, &Json)> {
    let properties = schema.get("properties")?.as_object()?;
    let (name, inner) = properties.iter().next()?;
    let one = properties.len() == 1
        && schema.get("additionalProperties") == Some(&Json::Bool(false))
        && required_of(schema).any(|key| key == name);
    one.then_some((name.as_str(), inner))
}
