//! The options of the `validate` step.

use std::borrow::Cow;

use gristmill_core::{Mistake, Pointer, Severity};
use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;

use crate::rule::{Rules, first};

/// Judges records by rules. A record that fails is rejected with every rule it failed, kept with a
/// warning, or ends the run, as each rule's severity says.
///
/// A null passes every rule but `required`, as a null passes a `CHECK` in SQL. A field whose value
/// could not be read as its type has that reason already: neither its rules nor the record rules
/// that read it are asked.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Rules by column: one, or a list of them.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub rules: IndexMap<String, Rules>,
    /// Rules about several columns of a record.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub record_rules: Vec<RecordRule>,
    /// Keys that no two records may share: a column, a list of columns that are one key together,
    /// or a list of such lists. The first record in source order keeps its key; records that
    /// another rule rejects do not count. A key with a null in it is shared with none, unless
    /// `unique_nulls: equal`. Keys that do not fit in the step's share of `limits.memory` go to a temporary folder, 24 bytes each.
    #[serde(skip_serializing_if = "Keys::is_empty")]
    pub unique: Keys,
    /// What nulls in keys of `unique`, and of the rule `unique`, are to each other.
    #[serde(skip_serializing_if = "UniqueNulls::is_default")]
    pub unique_nulls: UniqueNulls,
    /// What becomes of a record that fails a rule which does not say so itself.
    pub on_failure: Severity,
    /// Measures the input for the report: nulls, type failures, negative numbers, least and
    /// greatest value and the number of different values of every column (estimated, with a
    /// standard error of 1.6 %), null and duplicate keys. `{keys: [[a, b]]}` names keys to count
    /// besides those of `unique`; each different key takes about 30 bytes of memory.
    #[serde(skip_serializing_if = "Quality::is_off")]
    pub quality: Quality,
}

/// What nulls in keys are to each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UniqueNulls {
    /// A key with a null in it is shared with none, as in a `UNIQUE` of SQL.
    #[default]
    Distinct,
    /// Nulls are equal: `UNIQUE NULLS NOT DISTINCT` of SQL.
    Equal,
}

impl UniqueNulls {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A rule about a whole record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordRule {
    /// What rejects and reports call it.
    pub name: String,
    /// An SQL expression that is true for good records; null passes, too.
    pub expr: String,
    /// What becomes of a record that fails it, in place of the step's `on_failure`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// What rejects say, in place of the expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Keys of records: a column, a list of columns that are one key together, or a list of such lists.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Keys {
    /// The columns of each key.
    pub keys: Vec<Vec<String>>,
    form: Form,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
enum Form {
    Column,
    Columns,
    #[default]
    Lists,
}

impl Keys {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Adds a key.
    pub fn push(&mut self, columns: Vec<String>) {
        self.form = Form::Lists;
        self.keys.push(columns);
    }

    /// Where key `key`, or column `column` of it, stands in a definition that has the keys at `at`.
    pub(crate) fn place(&self, at: &Pointer, key: usize, column: Option<usize>) -> Pointer {
        match (self.form, column) {
            (Form::Column, _) | (Form::Columns, None) => at.clone(),
            (Form::Columns, Some(column)) => at.index(column),
            (Form::Lists, None) => at.index(key),
            (Form::Lists, Some(column)) => at.index(key).index(column),
        }
    }

    fn read(value: &Value, at: &Pointer) -> Result<Self, Vec<Mistake>> {
        let wrong = |at: Pointer, message: &str| {
            vec![Mistake::new(at, message).hint("write a column, [a, b], or [[a, b], [c]]")]
        };
        let names = |items: &[Value]| -> Option<Vec<String>> {
            items.iter().map(|item| item.as_str().map(str::to_owned)).collect()
        };
        match value {
            Value::String(column) => {
                Ok(Self { keys: vec![vec![column.clone()]], form: Form::Column })
            }
            Value::Array(items) if items.is_empty() => Ok(Self::default()),
            Value::Array(items) if items.iter().all(Value::is_array) => {
                let mut keys = Vec::with_capacity(items.len());
                for (i, item) in items.iter().enumerate() {
                    let columns = item.as_array().and_then(|item| names(item));
                    match columns.filter(|columns| !columns.is_empty()) {
                        Some(columns) => keys.push(columns),
                        None => return Err(wrong(at.index(i), "a key is a list of columns")),
                    }
                }
                Ok(Self { keys, form: Form::Lists })
            }
            Value::Array(items) => match names(items) {
                Some(columns) => Ok(Self { keys: vec![columns], form: Form::Columns }),
                None => Err(wrong(at.clone(), "columns and lists of columns are mixed")),
            },
            _ => Err(wrong(at.clone(), "a key is a column or a list of columns")),
        }
    }
}

impl Serialize for Keys {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match (self.form, self.keys.as_slice()) {
            (Form::Column, [key]) if key.len() == 1 => key[0].serialize(serializer),
            (Form::Columns, [key]) => key.serialize(serializer),
            _ => self.keys.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::read(&Value::deserialize(deserializer)?, &Pointer::root()).map_err(first)
    }
}

impl JsonSchema for Keys {
    fn schema_name() -> Cow<'static, str> {
        "Keys".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A column, a list of columns that are one key together, or a list of such lists.",
            "anyOf": [
                {"type": "string"},
                {"type": "array", "items": {"anyOf": [
                    {"type": "string"},
                    {"type": "array", "items": {"type": "string"}, "minItems": 1}
                ]}}
            ]
        })
    }
}

/// Whether the input is measured, and which keys are counted besides those of `unique`.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Quality {
    /// Only nulls and failures of fields with rules are counted.
    #[default]
    Off,
    /// Everything is measured.
    On {
        /// Keys whose nulls and duplicates are counted, besides those of `unique`.
        keys: Keys,
    },
}

impl Quality {
    /// Whether the input is not measured.
    pub fn is_off(&self) -> bool {
        *self == Quality::Off
    }
}

/// `quality` as a mapping.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Quality")]
struct QualityKeys {
    /// Keys whose nulls and duplicates are counted, besides those of `unique`.
    keys: Keys,
}

impl Serialize for Quality {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Quality::Off => false.serialize(serializer),
            Quality::On { keys } if keys.is_empty() => true.serialize(serializer),
            Quality::On { keys } => QualityKeys { keys: keys.clone() }.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Quality {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Bool(false) => Ok(Quality::Off),
            Value::Bool(true) => Ok(Quality::On { keys: Keys::default() }),
            value @ Value::Object(_) => {
                let on: QualityKeys = serde_json::from_value(value).map_err(de::Error::custom)?;
                Ok(Quality::On { keys: on.keys })
            }
            _ => Err(de::Error::custom("write `true` or `{keys: [[a, b]]}`")),
        }
    }
}

impl JsonSchema for Quality {
    fn schema_name() -> Cow<'static, str> {
        "QualityOrNot".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let keys = generator.subschema_for::<QualityKeys>();
        json_schema!({
            "description": "Whether the input is measured; `{keys: …}` names keys to count.",
            "anyOf": [{"type": "boolean"}, keys]
        })
    }
}

impl Options {
    /// Reads the options of a definition.
    ///
    /// # Errors
    /// All mistakes, each with its place below the options.
    pub fn read(value: &Value) -> Result<Self, Vec<Mistake>> {
        let root = Pointer::root();
        let mut mistakes = Vec::new();
        if let Some(rules) = value.get("rules").and_then(Value::as_object) {
            for (field, rules) in rules {
                let at = root.key("rules").key(field);
                mistakes.extend(Rules::read(rules, &at).err().into_iter().flatten());
            }
        }
        if let Some(keys) = value.get("unique") {
            mistakes.extend(Keys::read(keys, &root.key("unique")).err().into_iter().flatten());
        }
        if let Some(keys) = value.get("quality").and_then(|quality| quality.get("keys")) {
            let at = root.key("quality").key("keys");
            mistakes.extend(Keys::read(keys, &at).err().into_iter().flatten());
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        serde_json::from_value(value.clone())
            .map_err(|error| vec![Mistake::new(root, error.to_string())])
    }
}
