//! The option reference, in Markdown, generated from the same schemas that check pipeline files.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use gristmill_core::ByteSize;
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value as Json};

use super::items::SOURCE;
use super::{Registry, schema};

impl Registry {
    /// Every key that a pipeline file can have: type, default, meaning, with an example for each
    /// kind of source, step and destination.
    pub fn reference(&self) -> String {
        let mut out = String::from(
            "# Pipeline reference\n\nGenerated from the doc comments of the option structs by \
             `cargo xtask gen`. Do not edit.\n\n## Top-level keys\n\n",
        );
        let (root, definitions) = schema::top_level();
        Page::new("top", definitions, &mut out).write(&root);
        for (section, heading, kinds) in self.sections() {
            let _ = writeln!(out, "\n<a id=\"{section}\"></a>\n\n## {heading}");
            for kind in kinds {
                let example = list_item(kind.example);
                let _ = writeln!(out, "\n### `{}`\n\n{}\n", kind.name, kind.about);
                let _ = writeln!(out, "```yaml\n{example}\n```\n");
                let (schema, definitions) = match section {
                    "extract" => schema::of_source(kind.schema),
                    "load" => schema::of_destination(kind.schema),
                    _ => schema::with_definitions(kind.schema),
                };
                let prefix = format!("{section}-{}", kind.name);
                Page::new(&prefix, definitions, &mut out).write(&schema);
            }
        }
        out
    }

    fn sections(&self) -> [(&'static str, &'static str, Vec<Described>); 3] {
        macro_rules! described {
            ($kinds:expr) => {
                $kinds
                    .iter()
                    .map(|kind| Described {
                        name: kind.name,
                        about: kind.about,
                        example: kind.example,
                        schema: kind.schema,
                    })
                    .collect()
            };
        }
        [
            ("extract", "Sources (`extract`)", described!(self.extractors)),
            ("steps", "Steps (`steps`)", described!(self.steps)),
            ("load", "Destinations (`load`)", described!(self.loaders)),
        ]
    }
}

/// The keys whose lists have kinds, and what the items are called.
const SECTIONS: [(&str, &str); 3] =
    [("extract", "sources"), ("steps", "steps"), ("load", "destinations")];

/// What the three sorts of kinds have in common.
struct Described {
    name: &'static str,
    about: &'static str,
    example: &'static str,
    schema: fn(&mut SchemaGenerator) -> Schema,
}

/// The example of a kind as an item of a list.
fn list_item(example: &str) -> String {
    let mut out = String::new();
    for (index, line) in example.trim_end().lines().enumerate() {
        let lead = if index == 0 { "- " } else { "  " };
        out.push_str(format!("{lead}{line}").trim_end());
        out.push('\n');
    }
    out.truncate(out.trim_end().len());
    out
}

struct Page<'a> {
    /// What the anchors of its types begin with.
    prefix: &'a str,
    definitions: Map<String, Json>,
    /// Types with keys of their own that were named so far.
    named: BTreeSet<String>,
    out: &'a mut String,
}

impl<'a> Page<'a> {
    fn new(prefix: &'a str, definitions: Map<String, Json>, out: &'a mut String) -> Self {
        Self { prefix, definitions, named: BTreeSet::new(), out }
    }

    /// The options of a schema, and every type that they name.
    fn write(mut self, schema: &Json) {
        self.options(schema);
        self.named_types();
    }

    fn anchor(&self, name: &str) -> String {
        format!("{}-{}", self.prefix, name.to_lowercase())
    }

    /// The keys of a type as a table, or its forms.
    fn options(&mut self, schema: &Json) {
        let schema = self.resolved(schema).clone();
        if let Some(properties) = schema.get("properties").and_then(Json::as_object) {
            let required: Vec<_> = schema
                .get("required")
                .and_then(Json::as_array)
                .map(|keys| keys.iter().filter_map(Json::as_str).collect())
                .unwrap_or_default();
            self.out.push_str("| key | takes | default | meaning |\n|---|---|---|---|\n");
            for (key, schema) in properties {
                let takes = match SECTIONS.iter().find(|(name, _)| *name == key) {
                    Some((name, noun)) if self.prefix == "top" => {
                        format!("list of [{noun}](#{name})")
                    }
                    _ => self.type_name(schema),
                };
                let default = match schema.get("default") {
                    _ if required.contains(&key.as_str()) => "required".to_owned(),
                    Some(Json::Object(_) | Json::Null) | None => String::new(),
                    Some(Json::String(text)) => format!("`{text}`"),
                    Some(Json::Number(bytes)) if takes == "byte size" => {
                        format!("`{}`", ByteSize(bytes.as_u64().unwrap_or_default()))
                    }
                    Some(value) => format!("`{value}`"),
                };
                let about = cell(self.description(schema).unwrap_or_default());
                let _ = writeln!(self.out, "| `{key}` | {takes} | {default} | {about} |");
            }
            return;
        }
        if let Some(branches) = branches(&schema) {
            self.out.push_str("| form | meaning |\n|---|---|\n");
            for branch in branches {
                let said = self.forms(branch).into_iter().filter(|(form, _)| !form.is_empty());
                for (form, about) in said {
                    let about = cell(&about);
                    let _ = writeln!(self.out, "| {form} | {about} |");
                }
            }
            return;
        }
        let name = self.type_name(&schema);
        let _ = writeln!(self.out, "Takes {name}.");
    }

    /// A section for each type that was named, and for those that these name.
    fn named_types(&mut self) {
        let mut done = BTreeSet::new();
        while let Some(name) = self.named.difference(&done).next().cloned() {
            done.insert(name.clone());
            let Some(schema) = self.definitions.get(&name).cloned() else { continue };
            let about = schema.get("description").and_then(Json::as_str).unwrap_or_default();
            let anchor = self.anchor(&name);
            let _ = writeln!(self.out, "\n<a id=\"{anchor}\"></a>\n\n#### {name}\n");
            if !about.is_empty() {
                let _ = writeln!(self.out, "{about}\n");
            }
            self.options(&schema);
        }
    }

    /// The ways to write one alternative.
    fn forms(&mut self, branch: &Json) -> Vec<(String, String)> {
        let about = self.description(branch).unwrap_or_default().to_owned();
        let words = branch.get("enum").and_then(Json::as_array).cloned().unwrap_or_default();
        let words = words.iter().chain(branch.get("const")).filter_map(Json::as_str);
        let forms: Vec<_> = words.map(|word| (format!("`{word}`"), about.clone())).collect();
        if !forms.is_empty() {
            return forms;
        }
        match branch.get("properties").and_then(Json::as_object) {
            Some(properties) if properties.len() == 1 => {
                let (key, schema) = properties.iter().next().unwrap_or_else(|| unreachable!());
                let takes = self.type_name(schema);
                vec![(format!("`{key}:` {takes}"), about)]
            }
            _ => vec![(self.type_name(branch), about)],
        }
    }

    /// What a value of this schema is called.
    fn type_name(&mut self, schema: &Json) -> String {
        if let Some((name, target)) = self.reference(schema) {
            if name == SOURCE {
                return format!("[source](#{})", SECTIONS[0].0);
            }
            if name == "ContractOrFile" && self.prefix != "top" {
                return "text or [contract](#top-contract)".to_owned();
            }
            let (name, target) = (name.to_owned(), target.clone());
            if target.get("properties").is_some() || branches(&target).is_some_and(many_forms) {
                let link = format!("[{name}](#{})", self.anchor(&name));
                self.named.insert(name);
                return link;
            }
            return match target.get("type").and_then(Json::as_str) {
                Some("string") if target.get("enum").is_none() && target.get("const").is_none() => {
                    spaced(&name)
                }
                _ if name == "ByteSize" => spaced(&name),
                _ => self.type_name(&target),
            };
        }
        if let Some(branches) = branches(schema) {
            let mut names: Vec<String> = Vec::new();
            for branch in branches {
                let name = self.type_name(branch);
                if !name.is_empty() && !names.contains(&name) {
                    names.push(name);
                }
            }
            return names.join(" or ");
        }
        if let Some(word) = schema.get("const").and_then(Json::as_str) {
            return format!("`{word}`");
        }
        if let Some(words) = schema.get("enum").and_then(Json::as_array) {
            let words: Vec<_> =
                words.iter().filter_map(Json::as_str).map(|word| format!("`{word}`")).collect();
            return words.join(" or ");
        }
        let types: Vec<_> = match schema.get("type") {
            Some(Json::String(name)) => vec![name.clone()],
            Some(Json::Array(names)) => {
                names.iter().filter_map(Json::as_str).map(str::to_owned).collect()
            }
            _ => {
                return if schema.get("type").is_none() {
                    "anything".into()
                } else {
                    String::new()
                };
            }
        };
        let mut names = Vec::new();
        for name in types.iter().filter(|name| *name != "null") {
            names.push(match name.as_str() {
                "string" => "text".to_owned(),
                "boolean" => "`true` or `false`".to_owned(),
                "array" => match schema.get("items") {
                    Some(items) => {
                        let name = self.type_name(items);
                        match name.strip_prefix("list of ") {
                            Some(inner) => format!("list of lists of {inner}"),
                            None if name.contains(" or ") => format!("list of ({name})"),
                            None => format!("list of {name}"),
                        }
                    }
                    None => "list".to_owned(),
                },
                "object" => match schema.get("additionalProperties") {
                    Some(values) if values.is_object() => {
                        format!("mapping of names to {}", self.type_name(values))
                    }
                    _ => match schema.get("properties").and_then(Json::as_object) {
                        Some(keys) => {
                            let keys: Vec<_> = keys.keys().map(|key| format!("`{key}:`")).collect();
                            format!("mapping with {}", keys.join(", "))
                        }
                        None => "mapping".to_owned(),
                    },
                },
                other => other.to_owned(),
            });
        }
        names.join(" or ")
    }

    fn description<'s>(&'s self, schema: &'s Json) -> Option<&'s str> {
        match schema.get("description").and_then(Json::as_str) {
            Some(text) => Some(text),
            None => self.description(self.reference(schema)?.1),
        }
    }

    fn resolved<'s>(&'s self, schema: &'s Json) -> &'s Json {
        match self.reference(schema) {
            Some((_, target)) => self.resolved(target),
            None => schema,
        }
    }

    fn reference<'s>(&'s self, schema: &'s Json) -> Option<(&'s str, &'s Json)> {
        let name = schema.get("$ref")?.as_str()?.rsplit('/').next()?;
        self.definitions.get_key_value(name).map(|(name, target)| (name.as_str(), target))
    }
}

fn branches(schema: &Json) -> Option<&[Json]> {
    schema.get("oneOf").or_else(|| schema.get("anyOf"))?.as_array().map(Vec::as_slice)
}

/// Whether alternatives are more than a list of words or of simple types.
fn many_forms(branches: &[Json]) -> bool {
    branches.iter().any(|branch| {
        branch.get("properties").is_some()
            || (branch.get("const").is_some() && branch.get("description").is_some())
    })
}

/// Text for a cell of a table: one line, bars escaped.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

/// `FieldType` as "field type".
fn spaced(name: &str) -> String {
    let mut out = String::new();
    for ch in name.chars() {
        if ch.is_uppercase() && !out.is_empty() {
            out.push(' ');
        }
        out.extend(ch.to_lowercase());
    }
    out
}
