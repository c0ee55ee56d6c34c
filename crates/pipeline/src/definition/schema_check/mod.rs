//! Checks a document against the JSON schema of its options, and says every mistake in plain words
//! at its place.
//!
//! It knows the part of JSON schema that option structs generate: objects, lists, tuples, scalars
//! with their bounds, enums, one-of, references.

mod message;
mod one_of;

use std::ops::Range;

use gristmill_core::{ByteSize, FieldType};
use gristmill_parallel::Duration;
use serde_json::{Map, Value as Json};

use super::diagnostic::{Diagnostic, closest};
pub(crate) use message::describe;
use message::{first_sentence, one_line, unknown_key};

use super::node::{Entry, Kind, Located, Node, Scalar, Value};

/// Up to how many keys are listed after an unknown one.
const LISTED: usize = 12;

/// A checker for schemas that share these definitions (`$defs`).
pub(crate) struct Checker<'a> {
    pub(crate) definitions: &'a Map<String, Json>,
}

/// What messages call a value, and the key that leads to it.
#[derive(Clone)]
pub(crate) struct Place {
    name: String,
    key: Option<Range<usize>>,
}

impl Place {
    pub(crate) fn root() -> Self {
        Self { name: "the pipeline".to_owned(), key: None }
    }

    /// A document as a whole.
    pub(crate) fn whole(name: &str) -> Self {
        Self { name: name.to_owned(), key: None }
    }

    pub(crate) fn key(entry: &Entry) -> Self {
        Self { name: format!("`{}`", entry.key), key: Some(entry.key_span.clone()) }
    }

    pub(crate) fn named(name: &str) -> Self {
        Self { name: format!("`{name}`"), key: None }
    }

    pub(crate) fn item(&self) -> Self {
        let name = match self.name.strip_prefix("an item of ") {
            Some(_) => self.name.clone(),
            None => format!("an item of {}", self.name),
        };
        Self { name, key: None }
    }

    fn located<'n>(&'n self, node: &'n Node) -> Located<'n> {
        Located { node, key: self.key.as_ref() }
    }
}

type Found = Vec<Diagnostic>;

impl<'a> Checker<'a> {
    /// Adds every way in which `node` does not fit `schema`.
    pub(crate) fn check(&self, node: &Node, schema: &'a Json, place: &Place, found: &mut Found) {
        if node.value == Value::Unknown {
            return;
        }
        let Some(schema) = schema.as_object() else {
            if schema == &Json::Bool(false) {
                found.push(Diagnostic::new(
                    place.located(node).span(),
                    format!("{} cannot be given", place.name),
                ));
            }
            return;
        };
        if let Some((name, target)) = self.reference(schema) {
            if let (Some(text), Some(read)) = (text_of(node), known_text(name)) {
                if let Err(problem) = read(text) {
                    found.push(self.refused_text(node, &problem, place));
                }
                return;
            }
            self.check(node, target, place, found);
            return;
        }
        if let Some(branches) = branches_of(schema) {
            self.check_one_of(node, schema, branches, place, found);
            return;
        }
        if let Some(all) = schema.get("allOf").and_then(Json::as_array) {
            for part in all {
                self.check(node, part, place, found);
            }
        }
        if let Some(words) = words_of(schema) {
            if !text_of(node).is_some_and(|text| words.contains(&text)) {
                found.push(self.wrong_word(node, &words, &[], place));
            }
            return;
        }
        if !takes_kind(schema, node) {
            found.push(self.wrong_type(node, &[schema], place));
            return;
        }
        match &node.value {
            Value::Mapping(entries) => self.check_mapping(node, entries, schema, place, found),
            Value::Sequence(items) => self.check_items(node, items, schema, place, found),
            Value::Scalar(scalar) => self.check_scalar(node, scalar, schema, place, found),
            Value::Unknown => {}
        }
    }

    fn check_mapping(
        &self,
        node: &Node,
        entries: &[Entry],
        schema: &'a Map<String, Json>,
        place: &Place,
        found: &mut Found,
    ) {
        let properties = schema.get("properties").and_then(Json::as_object);
        let keys = || properties.into_iter().flat_map(|map| map.keys().map(String::as_str));
        let mut meant = Vec::new();
        for entry in entries {
            let inner = Place::key(entry);
            if let Some(schema) = properties.and_then(|map| map.get(&entry.key)) {
                self.check(&entry.value, schema, &inner, found);
                continue;
            }
            match schema.get("additionalProperties") {
                Some(Json::Bool(false)) => {
                    let free = keys().filter(|key| node.get(key).is_none());
                    let near = closest(&entry.key, free);
                    meant.extend(near);
                    found.push(unknown_key(entry, near, keys()));
                }
                Some(schema) => self.check(&entry.value, schema, &inner, found),
                None => {}
            }
        }
        for key in required_of(schema) {
            if node.get(key).is_some() || meant.contains(&key) {
                continue;
            }
            let span = place.located(node).key_span();
            let mut missing = Diagnostic::new(span, format!("the key `{key}` is missing"));
            if let Some(about) = properties.and_then(|map| self.description(map.get(key)?)) {
                missing = missing.hint(format!("`{key}`: {}", one_line(first_sentence(about))));
            }
            found.push(missing);
        }
        let count = entries.len() as u64;
        if schema.get("minProperties").and_then(Json::as_u64).is_some_and(|least| count < least) {
            let span = place.located(node).key_span();
            found.push(Diagnostic::new(span, format!("{} is empty", place.name)));
        }
    }

    fn check_items(
        &self,
        node: &Node,
        items: &[Node],
        schema: &'a Map<String, Json>,
        place: &Place,
        found: &mut Found,
    ) {
        let first: &[Json] =
            schema.get("prefixItems").and_then(Json::as_array).map_or(&[], Vec::as_slice);
        let inner = place.item();
        for (index, item) in items.iter().enumerate() {
            if let Some(schema) = first.get(index).or_else(|| schema.get("items")) {
                self.check(item, schema, &inner, found);
            }
        }
        let bound = |name: &str| schema.get(name).and_then(Json::as_u64);
        let count = items.len() as u64;
        let least = bound("minItems").filter(|least| count < *least);
        let most = bound("maxItems").filter(|most| count > *most);
        if let Some((word, limit)) =
            least.map(|least| ("at least", least)).or(most.map(|most| ("at most", most)))
        {
            let word = if bound("minItems") == bound("maxItems") { "exactly" } else { word };
            let items = if limit == 1 { "item" } else { "items" };
            let message = format!("{} takes {word} {limit} {items}, not {count}", place.name);
            found.push(Diagnostic::new(place.located(node).span(), message));
        }
    }

    fn check_scalar(
        &self,
        node: &Node,
        scalar: &Scalar,
        schema: &Map<String, Json>,
        place: &Place,
        found: &mut Found,
    ) {
        let refuse = |why: String| Diagnostic::new(place.located(node).span(), why);
        let name = &place.name;
        match &scalar.kind {
            Kind::NotFinite => {
                found.push(refuse(format!("{name} takes a finite number, not `{}`", scalar.text)));
            }
            Kind::Number(number) => {
                let Some(value) = number.as_f64() else { return };
                let bound = |name: &str| schema.get(name).and_then(Json::as_f64);
                let text = &scalar.text;
                if let Some(least) = bound("minimum").filter(|least| value < *least) {
                    found.push(refuse(format!("{name} cannot be {text}: {least} is the least")));
                } else if let Some(most) = bound("maximum").filter(|most| value > *most) {
                    found.push(refuse(format!("{name} cannot be {text}: {most} is the most")));
                } else if let Some(least) = bound("exclusiveMinimum").filter(|l| value <= *l) {
                    found.push(refuse(format!("{name} takes a number above {least}, not {text}")));
                } else if let Some(most) = bound("exclusiveMaximum").filter(|m| value >= *m) {
                    found.push(refuse(format!("{name} takes a number below {most}, not {text}")));
                }
            }
            Kind::String => {
                let length = scalar.text.chars().count() as u64;
                let bound = |name: &str| schema.get(name).and_then(Json::as_u64);
                let least = bound("minLength").unwrap_or(0);
                let most = bound("maxLength").unwrap_or(u64::MAX);
                let pattern = schema.get("pattern").and_then(Json::as_str);
                let fits = pattern
                    .and_then(|pattern| regex::Regex::new(pattern).ok())
                    .is_none_or(|pattern| pattern.is_match(&scalar.text));
                if !(least..=most).contains(&length) {
                    let wanted = match (least, most) {
                        (1, 1) => "one character".to_owned(),
                        (1, u64::MAX) => "a text that is not empty".to_owned(),
                        (least, u64::MAX) => format!("at least {least} characters"),
                        (least, most) => format!("{least} to {most} characters"),
                    };
                    found.push(refuse(format!("{name} takes {wanted}, not `{}`", scalar.text)));
                } else if !fits {
                    let mistake = refuse(format!("{name} cannot be `{}`", scalar.text));
                    found.push(match schema.get("description").and_then(Json::as_str) {
                        Some(about) => mistake.hint(one_line(about)),
                        None => mistake,
                    });
                }
            }
            Kind::Null | Kind::Bool(_) => {}
        }
    }

    fn reference(&self, schema: &'a Map<String, Json>) -> Option<(&'a str, &'a Json)> {
        let name = schema.get("$ref")?.as_str()?.rsplit('/').next()?;
        Some((name, self.definitions.get(name)?))
    }

    fn description(&self, schema: &'a Json) -> Option<&'a str> {
        let object = schema.as_object()?;
        match object.get("description").and_then(Json::as_str) {
            Some(text) => Some(text),
            None => self.description(self.reference(object)?.1),
        }
    }
}

type TextCheck = fn(&str) -> Result<(), String>;

/// Types whose texts check themselves, by the name of their schema.
fn known_text(name: &str) -> Option<TextCheck> {
    match name {
        "FieldType" => Some(|text| text.parse::<FieldType>().map(drop)),
        "Duration" => Some(|text| text.parse::<Duration>().map(drop)),
        "ByteSize" => Some(|text| text.parse::<ByteSize>().map(drop)),
        _ => None,
    }
}

fn branches_of(schema: &Map<String, Json>) -> Option<&[Json]> {
    schema.get("oneOf").or_else(|| schema.get("anyOf"))?.as_array().map(Vec::as_slice)
}

/// The texts that the schema allows, where it lists them.
fn words_of(schema: &Map<String, Json>) -> Option<Vec<&str>> {
    match (schema.get("const"), schema.get("enum")) {
        (Some(Json::String(word)), _) => Some(vec![word]),
        (None, Some(Json::Array(words))) => Some(words.iter().filter_map(Json::as_str).collect()),
        _ => None,
    }
}

fn required_of(schema: &Map<String, Json>) -> impl Iterator<Item = &str> {
    let required = schema.get("required").and_then(Json::as_array);
    required.into_iter().flatten().filter_map(Json::as_str)
}

fn types_of(schema: &Map<String, Json>) -> Vec<&str> {
    match schema.get("type") {
        Some(Json::String(name)) => vec![name],
        Some(Json::Array(names)) => names.iter().filter_map(Json::as_str).collect(),
        _ if schema.contains_key("properties") => vec!["object"],
        _ if words_of(schema).is_some() => vec!["string"],
        _ => Vec::new(),
    }
}

fn takes_kind(schema: &Map<String, Json>, node: &Node) -> bool {
    let types = types_of(schema);
    types.is_empty()
        || types.iter().any(|name| match (&node.value, *name) {
            (Value::Unknown, _) | (Value::Mapping(_), "object") | (Value::Sequence(_), "array") => {
                true
            }
            (Value::Scalar(scalar), name) => match &scalar.kind {
                Kind::Null => name == "null",
                Kind::Bool(_) => name == "boolean",
                Kind::Number(number) => name == "number" || (name == "integer" && !number.is_f64()),
                Kind::NotFinite => name == "number",
                Kind::String => name == "string",
            },
            _ => false,
        })
}

fn text_of(node: &Node) -> Option<&str> {
    match &node.value {
        Value::Scalar(Scalar { kind: Kind::String, text, .. }) => Some(text),
        _ => None,
    }
}
