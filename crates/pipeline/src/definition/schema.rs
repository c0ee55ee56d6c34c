//! The JSON schema of pipeline files, for the check and for editors, generated from the option
//! structs.

use std::path::Path;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value as Json, json};

use super::Registry;
use super::items::SOURCE;
use super::raw::Raw;
use crate::contract::Said;
use crate::params::Params;

fn generator() -> SchemaGenerator {
    SchemaSettings::draft2020_12().into_generator()
}

/// The schema of the keys at the top, with items that can be anything, and its definitions.
pub(super) fn top_level() -> (Json, Map<String, Json>) {
    let (mut schema, definitions) = with_definitions(Raw::json_schema);
    for section in ["extract", "steps", "load"] {
        schema["properties"][section]["items"] = Json::Bool(true);
    }
    (schema, definitions)
}

/// A schema and the definitions that it refers to.
pub(super) fn with_definitions(
    schema: fn(&mut SchemaGenerator) -> Schema,
) -> (Json, Map<String, Json>) {
    let mut generator = generator();
    let schema = schema(&mut generator).to_value();
    (schema, generator.take_definitions(true))
}

/// The key of a source that says what its records were agreed to be.
pub(super) const CONTRACT: &str = "contract";

/// The schema of a source, and the definitions that it refers to: its own options, and what any source takes.
pub(super) fn of_source(schema: fn(&mut SchemaGenerator) -> Schema) -> (Json, Map<String, Json>) {
    let mut generator = generator();
    let mut schema = schema(&mut generator).to_value();
    let contract = generator.subschema_for::<Said>().to_value();
    let mut definitions = generator.take_definitions(true);
    add_contract(&mut schema, &mut definitions, contract);
    (schema, definitions)
}

fn add_contract(schema: &mut Json, definitions: &mut Map<String, Json>, mut contract: Json) {
    if let Some(contract) = contract.as_object_mut() {
        contract.insert("description".to_owned(), "What its records were agreed to be, and what becomes of those that are not; or the path of a file that says so. It goes before the `contract` of the pipeline, and stands in place of `columns`.".into());
    }
    add_key(schema, definitions, CONTRACT, contract);
}

fn add_key(schema: &mut Json, definitions: &mut Map<String, Json>, key: &str, value: Json) {
    let name = schema.get("$ref").and_then(Json::as_str).and_then(|at| at.rsplit('/').next());
    let options = match name.map(str::to_owned) {
        Some(name) => definitions.get_mut(&name),
        None => Some(schema),
    };
    if let Some(keys) = options.and_then(|it| it.get_mut("properties")?.as_object_mut()) {
        keys.insert(key.to_owned(), value);
    }
}

/// The key of a destination that says which records go there.
pub(super) const WHERE: &str = "where";

/// The schema of a destination, and the definitions that it refers to: its own options, and what
/// any destination takes.
pub(super) fn of_destination(
    schema: fn(&mut SchemaGenerator) -> Schema,
) -> (Json, Map<String, Json>) {
    let (mut schema, mut definitions) = with_definitions(schema);
    add_where(&mut schema, &mut definitions);
    (schema, definitions)
}

fn add_where(schema: &mut Json, definitions: &mut Map<String, Json>) {
    let condition = json!({
        "type": "string",
        "description": "An SQL condition, for example `amount < 0`: the records for which it is true go to this destination, the others count as filtered here. So records are split between destinations; one for which several conditions are true goes to each of them. Those for which it cannot be computed are rejected. Without it, all records go here.",
    });
    add_key(schema, definitions, WHERE, condition);
}

impl Registry {
    /// The JSON schema (draft 2020-12) of pipeline files with these kinds, for editors.
    pub fn json_schema(&self) -> Json {
        let mut generator = generator();
        let mut root = Raw::json_schema(&mut generator).to_value();
        let described = |about: &str, mut schema: Json| {
            if let Some(object) = schema.as_object_mut() {
                object.insert("description".to_owned(), about.into());
            }
            schema
        };
        let extract = self
            .extractors
            .iter()
            .map(|kind| described(kind.about, (kind.schema)(&mut generator).to_value()))
            .collect::<Vec<_>>();
        let load = self
            .loaders
            .iter()
            .map(|kind| described(kind.about, (kind.schema)(&mut generator).to_value()))
            .collect::<Vec<_>>();
        let steps = self.steps.iter().map(|kind| {
            let options = (kind.schema)(&mut generator).to_value();
            json!({
                "description": kind.about,
                "type": "object",
                "properties": {kind.name: options},
                "required": [kind.name],
                "additionalProperties": false,
            })
        });
        let steps = steps.collect::<Vec<_>>();
        let contract = generator.subschema_for::<Said>().to_value();
        let mut definitions = generator.take_definitions(true);
        let (mut extract, mut load) = (extract, load);
        extract.iter_mut().for_each(|schema| {
            add_contract(schema, &mut definitions, contract.clone());
        });
        load.iter_mut().for_each(|schema| add_where(schema, &mut definitions));
        if let Some(source) = definitions.get_mut(SOURCE) {
            *source = json!({"anyOf": extract});
        }
        for (section, kinds) in [("extract", extract), ("steps", steps), ("load", load)] {
            root["properties"][section]["items"] = json!({"anyOf": kinds});
        }
        let mut out = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "Gristmill pipeline",
        });
        if let (Some(out), Json::Object(root)) = (out.as_object_mut(), root) {
            out.extend(root.into_iter().filter(|(key, _)| key != "title"));
            out.insert("$defs".to_owned(), definitions.into());
        }
        out
    }
}

impl Registry {
    /// The kinds whose example does not pass the check, with what is wrong with it.
    pub fn broken_examples(&self) -> Vec<(&'static str, String)> {
        let source = self.extractors.first().map_or("", |kind| kind.example);
        let destination = self.loaders.first().map_or("", |kind| kind.example);
        let sources =
            self.extractors.iter().map(|kind| (kind.name, [kind.example, "", destination]));
        let steps = self.steps.iter().map(|kind| (kind.name, [source, kind.example, destination]));
        let loaders = self.loaders.iter().map(|kind| (kind.name, [source, "", kind.example]));
        let mut broken = Vec::new();
        for (name, [extract, step, load]) in sources.chain(steps).chain(loaders) {
            let mut text =
                format!("pipeline: example\nextract:\n{}load:\n{}", item(extract), item(load));
            if !step.is_empty() {
                text += &format!("steps:\n{}", item(step));
            }
            let path = Path::new("example.yaml");
            if let Err(found) = self.parse(&text, path, Path::new(""), &Params::default()) {
                broken.push((name, found.to_string()));
            }
        }
        broken
    }
}

/// An example as an item of a sequence.
fn item(example: &str) -> String {
    let mut lines = example.lines();
    let first = format!("  - {}\n", lines.next().unwrap_or_default());
    lines.fold(first, |text, line| text + &format!("    {line}\n"))
}
