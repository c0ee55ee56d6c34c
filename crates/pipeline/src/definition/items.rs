//! The sources, steps and destinations of a pipeline: which kind each is, and what its kind has to
//! say about its options.

use gristmill_core::{ExtractorKind, LoaderKind, Mistake, Pointer, StepKind};
use schemars::{Schema, SchemaGenerator};

use super::diagnostic::{Diagnostic, closest, name_list};
use super::node::{Entry, Kind, Located, Node, Scalar, Value};
use super::schema;
use super::schema_check::{Checker, Place, describe};
use super::{Item, Registry, Source};
use crate::contract;

/// What the schema of a source in the options of a step is called.
pub(super) const SOURCE: &str = "Source";

/// The items that have a kind.
#[derive(Default)]
pub(super) struct Parts {
    pub(super) extract: Vec<Item<ExtractorKind>>,
    /// For each source, its contract, and where that stands.
    pub(super) contracts: Vec<Option<(serde_json::Value, Pointer)>>,
    pub(super) steps: Vec<Item<StepKind>>,
    pub(super) load: Vec<Item<LoaderKind>>,
    /// For each destination, which records go there.
    pub(super) conditions: Vec<Option<String>>,
}

/// Finds the kind of every item and gathers the mistakes in their options.
pub(super) fn check(registry: &Registry, source: &Source, found: &mut Vec<Diagnostic>) -> Parts {
    let mut parts = Parts::default();
    let sources: Vec<_> = registry.extractors.iter().map(|kind| kind.name).collect();
    let common = common_contract(source, found);
    for (item, at) in items(&source.root, "extract") {
        let Some(index) = kind_of(item, "extract", &sources, found) else { continue };
        let kind = &registry.extractors[index];
        let checked = Checked { source, node: item, place: Place::named(kind.name), at: &at };
        let has_common = common.is_some();
        let more = |options: &serde_json::Value| {
            let own = options.get(schema::CONTRACT);
            let options = without(options, schema::CONTRACT);
            let at = Pointer::root().key(schema::CONTRACT);
            let mut mistakes = own.map(contract::check).unwrap_or_default();
            mistakes = mistakes.into_iter().map(|mistake| mistake.under(&at)).collect();
            if own.is_some() || has_common {
                mistakes.extend(contract::said_twice(&options));
            }
            mistakes.extend((kind.check)(&options));
            mistakes
        };
        let options = checked.check_with(schema::of_source(kind.schema), more, found);
        let own = options.get(schema::CONTRACT).cloned();
        let own = own.map(|own| (own, at.key(schema::CONTRACT)));
        parts.contracts.push(own.or_else(|| common.clone()));
        let options = without(&options, schema::CONTRACT);
        parts.extract.push(Item { kind, options, at });
    }
    for (item, at) in items(&source.root, "steps") {
        let Some((kind, entry)) = step_of(item, &registry.steps, found) else { continue };
        let at = at.key(kind.name);
        let checked = Checked { source, node: &entry.value, place: Place::key(entry), at: &at };
        let plan = |options: &_| {
            (kind.plan)(options, registry.expressions.as_ref()).err().unwrap_or_default()
        };
        let options = checked.check(kind.schema, plan, found);
        for Takes { key, named } in sources_in(kind.schema) {
            let Some(from) = entry.value.get(&key) else { continue };
            let at = at.key(&key);
            match (&from.value.value, named) {
                (Value::Mapping(entries), true) => entries.iter().for_each(|from| {
                    reference(registry, source, from, &at.key(&from.key), found);
                }),
                _ => reference(registry, source, from, &at, found),
            }
        }
        parts.steps.push(Item { kind, options, at });
    }
    let destinations: Vec<_> = registry.loaders.iter().map(|kind| kind.name).collect();
    for (item, at) in items(&source.root, "load") {
        let Some(index) = kind_of(item, "load", &destinations, found) else { continue };
        let kind = &registry.loaders[index];
        let checked = Checked { source, node: item, place: Place::named(kind.name), at: &at };
        let condition = |options: &serde_json::Value| {
            let condition = options.get(schema::WHERE).and_then(|text| text.as_str());
            condition.map(|text| (text.to_owned(), without(options, schema::WHERE)))
        };
        let more = |options: &serde_json::Value| match condition(options) {
            None => (kind.check)(options),
            Some((text, options)) => {
                let wrong = registry.expressions.check(&text).err();
                let wrong = wrong.map(|found| Mistake {
                    span: found.span,
                    hint: found.hint,
                    ..Mistake::new(Pointer::root().key(schema::WHERE), found.message)
                });
                (kind.check)(&options).into_iter().chain(wrong).collect()
            }
        };
        let options = checked.check_with(schema::of_destination(kind.schema), more, found);
        let (condition, options) = match condition(&options) {
            Some((text, options)) => (Some(text), options),
            None => (None, options),
        };
        parts.conditions.push(condition);
        parts.load.push(Item { kind, options, at });
    }
    parts
}

/// The contract at the top of the pipeline.
fn common_contract(
    source: &Source,
    found: &mut Vec<Diagnostic>,
) -> Option<(serde_json::Value, Pointer)> {
    let entry = source.root.get(schema::CONTRACT)?;
    let at = Pointer::root().key(schema::CONTRACT);
    let contract = entry.value.to_json();
    // What does not fit the schema was found with the other keys at the top.
    if found.is_empty() && !entry.value.has_unknown() {
        let mistakes = contract::check(&contract).into_iter();
        found.extend(mistakes.map(|mistake| source.place(mistake.under(&at))));
    }
    Some((contract, at))
}

/// The options that the kind knows.
fn without(options: &serde_json::Value, key: &str) -> serde_json::Value {
    let mut options = options.clone();
    if let Some(options) = options.as_object_mut() {
        options.shift_remove(key);
    }
    options
}

/// A key of a step's options that takes a source, or sources by name.
struct Takes {
    key: String,
    named: bool,
}

/// The sources that a step reads, as its options have them, and where they stand in them.
pub(super) fn sources_of(item: &Item<StepKind>) -> Vec<(&serde_json::Value, Pointer)> {
    let mut sources = Vec::new();
    for Takes { key, named } in sources_in(item.kind.schema) {
        let Some(value) = item.options.get(&key) else { continue };
        let at = item.at.key(&key);
        match value.as_object() {
            Some(entries) if named => {
                sources.extend(entries.iter().map(|(name, value)| (value, at.key(name))));
            }
            _ => sources.push((value, at)),
        }
    }
    sources
}

fn sources_in(schema: fn(&mut SchemaGenerator) -> Schema) -> Vec<Takes> {
    let (schema, definitions) = schema::with_definitions(schema);
    let target = |schema: &serde_json::Value| {
        schema.get("$ref")?.as_str()?.rsplit('/').next().map(str::to_owned)
    };
    let options = match target(&schema) {
        Some(name) => definitions.get(&name).cloned().unwrap_or_default(),
        None => schema,
    };
    let keys = options.get("properties").and_then(|keys| keys.as_object());
    let is_source = |schema: &serde_json::Value| target(schema).is_some_and(|it| it == SOURCE);
    let takes = |(key, schema): (&String, &serde_json::Value)| {
        let named = schema.get("additionalProperties").is_some_and(is_source);
        (named || is_source(schema)).then(|| Takes { key: key.clone(), named })
    };
    keys.into_iter().flatten().filter_map(takes).collect()
}

/// Checks a source that a step reads.
fn reference(
    registry: &Registry,
    source: &Source,
    from: &Entry,
    at: &Pointer,
    found: &mut Vec<Diagnostic>,
) {
    let kinds: Vec<_> = registry.extractors.iter().map(|kind| kind.name).collect();
    if !matches!(from.value.value, Value::Mapping(_)) {
        // The schema says so; how it is written, it does not.
        let said = found.iter_mut().find(|it| it.span.as_ref() == Some(&from.value.span));
        if let (Some(said), Value::Scalar(scalar)) = (said, &from.value.value) {
            said.hint = Some(format!("write `{{file: {}}}`", scalar.text));
        }
        return;
    }
    let Some(index) = kind_of(&from.value, "extract", &kinds, found) else { return };
    let kind = &registry.extractors[index];
    let checked = Checked { source, node: &from.value, place: Place::named(kind.name), at };
    checked.check(kind.schema, |options| (kind.check)(options), found);
    if let Some(cursor) = from.value.get("cursor") {
        let message = "a step reads all records of its source, in every run";
        found.push(
            Diagnostic::new(cursor.key_span.clone(), message.to_owned())
                .hint("leave `cursor` out; a `query` can read some of the records"),
        );
    }
}

/// Options being checked.
struct Checked<'a> {
    source: &'a Source,
    node: &'a Node,
    place: Place,
    at: &'a Pointer,
}

impl Checked<'_> {
    /// By the schema; then, where that finds nothing, by the kind itself.
    fn check(
        &self,
        schema: fn(&mut SchemaGenerator) -> Schema,
        more: impl Fn(&serde_json::Value) -> Vec<Mistake>,
        found: &mut Vec<Diagnostic>,
    ) -> serde_json::Value {
        self.check_with(schema::with_definitions(schema), more, found)
    }

    fn check_with(
        &self,
        (schema, definitions): (serde_json::Value, serde_json::Map<String, serde_json::Value>),
        more: impl Fn(&serde_json::Value) -> Vec<Mistake>,
        found: &mut Vec<Diagnostic>,
    ) -> serde_json::Value {
        let before = found.len();
        let checker = Checker { definitions: &definitions };
        checker.check(self.node, &schema, &self.place, found);
        let options = self.node.to_json();
        if found.len() == before && !self.node.has_unknown() {
            let mistakes = more(&options).into_iter();
            found.extend(mistakes.map(|mistake| self.source.place(mistake.under(self.at))));
        }
        options
    }
}

fn items<'a>(root: &'a Node, key: &str) -> impl Iterator<Item = (&'a Node, Pointer)> {
    let list = root.get(key).and_then(|entry| entry.value.items()).unwrap_or_default();
    let at = Pointer::root().key(key);
    list.iter().enumerate().map(move |(index, node)| (node, at.index(index)))
}

/// The entries of an item, which must have one.
fn entries_of<'n>(
    item: &'n Node,
    section: &str,
    kinds: &[&str],
    found: &mut Vec<Diagnostic>,
) -> Option<&'n [Entry]> {
    let example = kinds.first().copied().unwrap_or_default();
    match &item.value {
        Value::Unknown => return None,
        Value::Mapping(entries) if !entries.is_empty() => return Some(entries),
        Value::Scalar(Scalar { text, .. }) if kinds.contains(&text.as_str()) => found.push(
            Diagnostic::new(item.span.clone(), format!("`{text}` needs its options"))
                .hint(format!("write `- {text}: …`")),
        ),
        Value::Mapping(_) => {
            found.push(Diagnostic::new(
                item.span.clone(),
                format!("this item of `{section}` is empty"),
            ));
        }
        _ => {
            let message = format!("an item of `{section}` takes a mapping, not {}", describe(item));
            let span = Located { node: item, key: None }.span();
            let hint = match &item.value {
                Value::Scalar(Scalar { kind: Kind::String, text, .. }) if section != "steps" => {
                    format!("write `- {example}: {text}`")
                }
                _ => format!("write `- {example}: …`"),
            };
            found.push(Diagnostic::new(span, message).hint(hint));
        }
    }
    None
}

/// The kind that the first fitting key of an item names.
fn kind_of(
    item: &Node,
    section: &str,
    kinds: &[&str],
    found: &mut Vec<Diagnostic>,
) -> Option<usize> {
    let entries = entries_of(item, section, kinds, found)?;
    let named = |entry: &Entry| kinds.iter().position(|name| *name == entry.key);
    if let Some(index) = entries.iter().find_map(named) {
        return Some(index);
    }
    let noun = if section == "extract" { "source" } else { "destination" };
    let list = name_list(kinds.iter().copied(), "or");
    let near =
        entries.iter().find_map(|entry| Some((entry, closest(&entry.key, kinds.iter().copied())?)));
    found.push(match near {
        Some((entry, name)) => {
            Diagnostic::new(entry.key_span.clone(), format!("unknown {noun} `{}`", entry.key))
                .suggest(Some(name))
        }
        None => {
            let span = entries[0].key_span.clone();
            Diagnostic::new(span, format!("this item names no {noun}"))
                .hint(format!("one of its keys is {list}"))
        }
    });
    None
}

fn step_of<'n>(
    item: &'n Node,
    kinds: &[&'static StepKind],
    found: &mut Vec<Diagnostic>,
) -> Option<(&'static StepKind, &'n Entry)> {
    let names: Vec<_> = kinds.iter().map(|kind| kind.name).collect();
    let named = |name: &str| kinds.iter().find(|kind| kind.name == name).copied();
    let (first, others) = entries_of(item, "steps", &names, found)?.split_first()?;
    let Some(kind) = named(&first.key) else {
        let near = closest(&first.key, names.iter().copied());
        let mistake =
            Diagnostic::new(first.key_span.clone(), format!("unknown step `{}`", first.key))
                .suggest(near);
        found.push(mistake.hint(format!("the steps are {}", name_list(names, "and"))));
        return None;
    };
    let Some(other) = others.first() else { return Some((kind, first)) };
    let span = other.key_span.clone();
    let bare = matches!(&first.value.value, Value::Scalar(Scalar { kind: Kind::Null, .. }));
    found.push(if named(&other.key).is_some() {
        let both = format!("one item has two steps, `{}` and `{}`", first.key, other.key);
        Diagnostic::new(span, both).hint("begin each step with its own `- `")
    } else {
        let message = format!("`{}` cannot stand beside `{}`", other.key, first.key);
        let hint = match bare {
            true => format!("indent the options of `{0}` further than `{0}`", first.key),
            false => format!("a step has one key; its options stand under `{}`", first.key),
        };
        Diagnostic::new(span, message).hint(hint)
    });
    None
}
