//! What mistakes are called: types, values and keys in plain words.

use serde_json::{Map, Value as Json};

use super::{Checker, LISTED, Place, required_of, takes_kind, text_of, types_of, words_of};
use crate::definition::diagnostic::{Diagnostic, closest, name_list};
use crate::definition::node::{Entry, Kind, Node, Scalar, Value};

impl Checker<'_> {
    pub(super) fn wrong_type(
        &self,
        node: &Node,
        schemas: &[&Map<String, Json>],
        place: &Place,
    ) -> Diagnostic {
        let mut wanted: Vec<String> = Vec::new();
        for schema in schemas {
            let nouns = match words_of(schema) {
                Some(words) => words.iter().map(|word| format!("`{word}`")).collect(),
                None => {
                    types_of(schema).iter().map(|name| noun(name).to_owned()).collect::<Vec<_>>()
                }
            };
            for noun in nouns {
                if noun != "null" && !wanted.contains(&noun) {
                    wanted.push(noun);
                }
            }
        }
        let wants = |noun: &str| wanted.iter().any(|wanted| wanted == noun);
        let span = place.located(node).span();
        let message = format!("{} takes {}, not {}", place.name, any_of(&wanted), describe(node));
        let mistake = Diagnostic::new(span, message);
        match &node.value {
            Value::Scalar(Scalar {
                kind: Kind::Bool(_) | Kind::Number(_) | Kind::NotFinite,
                text,
                ..
            }) if wants("a text") => mistake.hint(format!("quote it: `\"{text}\"`")),
            Value::Scalar(Scalar { kind: Kind::Null, text, .. })
                if wants("a text") && !text.is_empty() =>
            {
                mistake.hint(format!("quote it: `\"{text}\"`; without quotes it means nothing"))
            }
            Value::Scalar(scalar) if !scalar.plain && !wants("a list") => {
                let bare = Node {
                    value: Value::Scalar(Scalar::plain(scalar.text.clone())),
                    span: node.span.clone(),
                };
                if schemas.iter().any(|schema| takes_kind(schema, &bare)) && !scalar.text.is_empty()
                {
                    mistake.hint(format!("write it without quotes: `{}`", scalar.text))
                } else {
                    mistake
                }
            }
            Value::Scalar(Scalar { text, plain: true, .. })
                if wants("`true` or `false`") && switch(text).is_some() =>
            {
                mistake.hint(format!("write `{}`", switch(text) == Some(true)))
            }
            Value::Scalar(Scalar { kind: Kind::Null, .. }) if wants("a mapping") => {
                mistake.hint("indent its keys below it, or leave it out")
            }
            Value::Scalar(Scalar { kind: Kind::Null, .. }) => {
                mistake.hint("give it a value, or leave the key out")
            }
            Value::Scalar(Scalar { kind: Kind::String, .. }) if wants("a mapping") => {
                let key = schemas.iter().find_map(|schema| first_key(schema));
                match key {
                    Some(key) => mistake.hint(format!("write `{{{key}: …}}`")),
                    None => mistake,
                }
            }
            Value::Scalar(scalar)
                if wants("a list") && matches!(&*place.name, "`extract`" | "`load`") =>
            {
                mistake.hint(format!("write `- file: {}` on a line below it", scalar.text))
            }
            Value::Scalar(scalar) if wants("a list") => {
                mistake.hint(format!("write a list: `[{}]`", scalar.text))
            }
            Value::Mapping(_) if wants("a list") => mistake.hint("begin each item with `- `"),
            Value::Sequence(_) if wants("a mapping") => {
                mistake.hint("write `key: value` lines, without `- `")
            }
            _ => mistake,
        }
    }

    pub(super) fn wrong_word(
        &self,
        node: &Node,
        words: &[&str],
        tags: &[&str],
        place: &Place,
    ) -> Diagnostic {
        let span = place.located(node).span();
        let all = || words.iter().chain(tags).copied();
        let listed = name_list(all(), "or");
        match &node.value {
            Value::Scalar(Scalar { kind: Kind::String, text, .. }) => {
                Diagnostic::new(span, format!("{} cannot be `{text}`", place.name))
                    .suggest(closest(text, all()))
                    .hint(format!("it is {listed}"))
            }
            _ => Diagnostic::new(
                span,
                format!("{} takes {listed}, not {}", place.name, describe(node)),
            ),
        }
    }

    pub(super) fn refused_text(&self, node: &Node, problem: &str, place: &Place) -> Diagnostic {
        let span = place.located(node).span();
        match problem.split_once("; ") {
            Some((message, hint)) => {
                let names = hint.rsplit("are ").next().unwrap_or_default().split(", ");
                let text = text_of(node).unwrap_or_default();
                let near = closest(text, names.filter(|name| !name.contains(' ')));
                Diagnostic::new(span, message).suggest(near).hint(hint)
            }
            None => Diagnostic::new(span, problem),
        }
    }
}

/// A mistake in a key that is not among `keys`.
pub(crate) fn unknown_key<'k>(
    entry: &Entry,
    near: Option<&str>,
    keys: impl Iterator<Item = &'k str> + Clone,
) -> Diagnostic {
    let message = format!("unknown key `{}`", entry.key);
    let mistake = Diagnostic::new(entry.key_span.clone(), message).suggest(near);
    match keys.clone().count() {
        0 => mistake,
        1..=LISTED => mistake.hint(format!("the keys here are {}", name_list(keys, "and"))),
        _ if near.is_some() => mistake,
        _ => mistake.hint(format!("the keys here are {}", name_list(keys, "and"))),
    }
}

/// The key of a mapping that its text most likely belongs to: the only one that it needs.
fn first_key(schema: &Map<String, Json>) -> Option<&str> {
    let mut required = required_of(schema);
    required.next().filter(|_| required.next().is_none())
}

/// What YAML 1.1 and people take for a truth value.
fn switch(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "y" | "on" => Some(true),
        "no" | "n" | "off" => Some(false),
        _ => None,
    }
}

/// Names of what is wanted: "a text, a list or a mapping".
fn any_of(wanted: &[String]) -> String {
    match wanted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, first)) => format!("{} or {last}", first.join(", ")),
        None => "something else".to_owned(),
    }
}

fn noun(type_name: &str) -> &str {
    match type_name {
        "string" => "a text",
        "integer" => "an integer",
        "number" => "a number",
        "boolean" => "`true` or `false`",
        "array" => "a list",
        "object" => "a mapping",
        other => other,
    }
}

/// A value in a message: "the text `four`".
pub(crate) fn describe(node: &Node) -> String {
    match &node.value {
        Value::Unknown => "this".to_owned(),
        Value::Mapping(_) => "a mapping".to_owned(),
        Value::Sequence(_) => "a list".to_owned(),
        Value::Scalar(Scalar { kind, text, .. }) => match kind {
            Kind::Null => "nothing".to_owned(),
            Kind::Bool(_) => format!("the truth value `{text}`"),
            Kind::Number(_) | Kind::NotFinite => format!("the number `{text}`"),
            Kind::String => format!("the text `{}`", shortened(text)),
        },
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text.to_owned(),
    }
}

pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

pub(super) fn first_sentence(text: &str) -> &str {
    let end = text.find(". ").or_else(|| text.find(".\n")).unwrap_or(text.len());
    text[..end].trim_end_matches('.')
}
