//! Checks a document against the JSON schema of its options, and says every mistake in plain words
//! at its place.
//!
//! It knows the part of JSON schema that option structs generate: objects, lists, tuples, scalars
//! with their bounds, enums, one-of, references.

use std::ops::Range;

use gristmill_core::{ByteSize, FieldType};
use gristmill_parallel::Duration;
use serde_json::{Map, Value as Json};

use super::diagnostic::{Diagnostic, closest, name_list};
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

    fn check_one_of(
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

    fn wrong_type(&self, node: &Node, schemas: &[&Map<String, Json>], place: &Place) -> Diagnostic {
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

    fn wrong_word(&self, node: &Node, words: &[&str], tags: &[&str], place: &Place) -> Diagnostic {
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

    fn refused_text(&self, node: &Node, problem: &str, place: &Place) -> Diagnostic {
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

struct Branch<'a> {
    schema: &'a Json,
    /// The schema with references followed.
    object: &'a Map<String, Json>,
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

fn text_of(node: &Node) -> Option<&str> {
    match &node.value {
        Value::Scalar(Scalar { kind: Kind::String, text, .. }) => Some(text),
        _ => None,
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn first_sentence(text: &str) -> &str {
    let end = text.find(". ").or_else(|| text.find(".\n")).unwrap_or(text.len());
    text[..end].trim_end_matches('.')
}
