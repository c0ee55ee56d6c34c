//! The JSON schema of pipeline files, for the check and for editors, generated from the option
//! structs.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value as Json, json};

use super::Registry;
use super::raw::Raw;

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
        for (section, kinds) in [("extract", extract), ("steps", steps), ("load", load)] {
            root["properties"][section]["items"] = json!({"anyOf": kinds});
        }
        let mut out = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "Gristmill pipeline",
        });
        if let (Some(out), Json::Object(root)) = (out.as_object_mut(), root) {
            out.extend(root.into_iter().filter(|(key, _)| key != "title"));
            out.insert("$defs".to_owned(), generator.take_definitions(true).into());
        }
        out
    }
}
