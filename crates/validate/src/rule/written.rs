//! Rules as they are written: read with all mistakes in their places, written, and described.

use std::borrow::Cow;

use gristmill_core::{FieldType, Mistake, Pointer, Result, Severity};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Map, Value};

use super::{Length, Rule, Rules, Test};
use crate::scalar::Scalar;

/// The keys of a rule that is written as a mapping: exactly one test, and optionally `name`,
/// `severity` and `message`.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Rule")]
struct Keys {
    /// `true`: the value is there. A null fails, and so does an empty text. The plain name
    /// `required` says the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    required: Option<bool>,
    /// `true`: no record before it, in source order, has the value; nulls are compared only with
    /// `unique_nulls: equal`. The plain name `unique` says the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    unique: Option<bool>,
    /// The text parses as this type; for a typed column, it is of this type.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    field_type: Option<FieldType>,
    /// A regular expression that is found in the text; anchor it with `^` and `$` to match the
    /// whole text. The syntax is that of the Rust `regex` crate, without look-around.
    #[serde(skip_serializing_if = "Option::is_none")]
    matches: Option<String>,
    /// The value is one of these. Numbers, dates and times are compared as values of the column's
    /// type: `1.0` and `1` are the same number.
    #[serde(skip_serializing_if = "Option::is_none")]
    one_of: Option<Vec<Scalar>>,
    /// The least value allowed: a number, date, timestamp or time.
    #[serde(skip_serializing_if = "Option::is_none")]
    min: Option<Scalar>,
    /// The greatest value allowed: a number, date, timestamp or time.
    #[serde(skip_serializing_if = "Option::is_none")]
    max: Option<Scalar>,
    /// The least and the greatest value allowed: `[low, high]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    between: Option<[Scalar; 2]>,
    /// The number of Unicode characters of the text: a number, or `{min, max}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    length: Option<Length>,
    /// The value is earlier than this date, timestamp or time, in ISO 8601. A date is its midnight.
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<String>,
    /// The value is later than this date, timestamp or time, in ISO 8601. A date is its midnight.
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<String>,
    /// An SQL expression over the record's columns that is true; null passes, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    expr: Option<String>,
    /// What rejects and reports call the rule, in place of the test's key.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// What becomes of a record that fails the rule, in place of the step's `on_failure`.
    #[serde(skip_serializing_if = "Option::is_none")]
    severity: Option<Severity>,
    /// What rejects say, in place of the test's own words.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

const PLAIN: [&str; 2] = ["required", "unique"];
const TESTS: &str = "required, unique, type, matches, one_of, min, max, between, length, before, \
                     after, expr";

/// Reads one rule, with all mistakes.
pub(super) fn read(value: &Value, at: &Pointer) -> Result<Rule, Vec<Mistake>> {
    match value {
        Value::String(name) => match name.as_str() {
            "required" => Ok(Rule::required()),
            "unique" => Ok(Rule::unique()),
            _ => Err(vec![plain(name, at)]),
        },
        Value::Object(map) => read_keys(map, at),
        _ => Err(vec![
            Mistake::new(at.clone(), "a rule is a name or a mapping")
                .hint("for example `required` or `{min: 0}`"),
        ]),
    }
}

fn plain(name: &str, at: &Pointer) -> Mistake {
    let mistake = if TESTS.split(", ").any(|test| test == name) {
        Mistake::new(at.clone(), format!("the rule `{name}` needs a value"))
            .hint(format!("write it as a mapping: {{{name}: …}}"))
    } else {
        Mistake::new(at.clone(), format!("`{name}` is not a rule"))
            .hint(format!("the rules are {TESTS}"))
    };
    match crate::suggest::nearest(name, PLAIN) {
        Some(near) => mistake.hint(format!("did you mean `{near}`?")),
        None => mistake,
    }
}

fn read_keys(map: &Map<String, Value>, at: &Pointer) -> Result<Rule, Vec<Mistake>> {
    let keys: Keys = match serde_json::from_value(Value::Object(map.clone())) {
        Ok(keys) => keys,
        Err(error) => {
            // Each key is optional: alone, it shows whether it is the wrong one.
            let wrong = |(key, value): (&String, &Value)| {
                let alone = Map::from_iter([(key.clone(), value.clone())]);
                let error = serde_json::from_value::<Keys>(Value::Object(alone)).err()?;
                let message = error.to_string();
                if !message.starts_with("unknown field") {
                    return Some(Mistake::new(at.key(key), message));
                }
                let known = TESTS.split(", ").chain(["name", "severity", "message"]);
                let hint = match crate::suggest::nearest(key, known) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("the rules are {TESTS}"),
                };
                let message = format!("`{key}` is not a rule");
                Some(Mistake::new(at.key(key), message).on_key().hint(hint))
            };
            let mistakes: Vec<Mistake> = map.iter().filter_map(wrong).collect();
            if mistakes.is_empty() {
                return Err(vec![Mistake::new(at.clone(), error.to_string())]);
            }
            return Err(mistakes);
        }
    };
    keys.rule(at).map_err(|mistake| vec![mistake])
}

impl Keys {
    fn rule(self, at: &Pointer) -> Result<Rule, Mistake> {
        let off = |key: &str| {
            Mistake::new(at.key(key), format!("`{key}: false` asks nothing")).hint("leave it out")
        };
        let mut tests = Vec::new();
        for (value, key, test) in
            [(self.required, "required", Test::Required), (self.unique, "unique", Test::Unique)]
        {
            match value {
                Some(true) => tests.push(test),
                Some(false) => return Err(off(key)),
                None => {}
            }
        }
        tests.extend(self.field_type.map(Test::Type));
        tests.extend(self.matches.map(Test::Matches));
        tests.extend(self.one_of.map(Test::OneOf));
        tests.extend(self.min.map(Test::Min));
        tests.extend(self.max.map(Test::Max));
        tests.extend(self.between.map(Test::Between));
        tests.extend(self.length.map(Test::Length));
        tests.extend(self.before.map(Test::Before));
        tests.extend(self.after.map(Test::After));
        tests.extend(self.expr.map(Test::Expr));
        let mut tests = tests.into_iter();
        let Some(test) = tests.next() else {
            return Err(Mistake::new(at.clone(), "a rule without a test")
                .hint(format!("it takes one of {TESTS}")));
        };
        if let Some(second) = tests.next() {
            let (a, b) = (test.key(), second.key());
            return Err(Mistake::new(at.key(b), format!("`{b}` stands beside `{a}` in one rule"))
                .on_key()
                .hint(format!("make them two rules: [{{{a}: …}}, {{{b}: …}}]")));
        }
        Ok(Rule { test, name: self.name, severity: self.severity, message: self.message })
    }
}

impl From<&Rule> for Keys {
    fn from(rule: &Rule) -> Self {
        let mut keys = Keys {
            name: rule.name.clone(),
            severity: rule.severity,
            message: rule.message.clone(),
            ..Keys::default()
        };
        match rule.test.clone() {
            Test::Required => keys.required = Some(true),
            Test::Unique => keys.unique = Some(true),
            Test::Type(field_type) => keys.field_type = Some(field_type),
            Test::Matches(pattern) => keys.matches = Some(pattern),
            Test::OneOf(options) => keys.one_of = Some(options),
            Test::Min(limit) => keys.min = Some(limit),
            Test::Max(limit) => keys.max = Some(limit),
            Test::Between(limits) => keys.between = Some(limits),
            Test::Length(length) => keys.length = Some(length),
            Test::Before(limit) => keys.before = Some(limit),
            Test::After(limit) => keys.after = Some(limit),
            Test::Expr(text) => keys.expr = Some(text),
        }
        keys
    }
}

/// The first of them, for serde, which knows one error only.
pub(crate) fn first<E: de::Error>(mistakes: Vec<Mistake>) -> E {
    E::custom(mistakes.first().map(ToString::to_string).unwrap_or_default())
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let plain = self.name.is_none() && self.severity.is_none() && self.message.is_none();
        match self.test {
            Test::Required | Test::Unique if plain => serializer.serialize_str(self.test.key()),
            _ => Keys::from(self).serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Rule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read(&Value::deserialize(deserializer)?, &Pointer::root()).map_err(first)
    }
}

impl JsonSchema for Rule {
    fn schema_name() -> Cow<'static, str> {
        "RuleOrName".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let keys = generator.subschema_for::<Keys>();
        json_schema!({
            "description": "A rule: `required`, `unique`, or a mapping with one test.",
            "anyOf": [{"type": "string", "enum": PLAIN}, keys]
        })
    }
}

impl Serialize for Rules {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.rules.as_slice() {
            [rule] if self.single => rule.serialize(serializer),
            rules => rules.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Rules {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::read(&Value::deserialize(deserializer)?, &Pointer::root()).map_err(first)
    }
}

impl JsonSchema for Rules {
    fn schema_name() -> Cow<'static, str> {
        "Rules".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let rule = generator.subschema_for::<Rule>();
        let keys = generator.subschema_for::<Keys>();
        json_schema!({
            "description": "One rule, or a list of rules.",
            "anyOf": [
                {"type": "string", "enum": PLAIN},
                keys,
                {"type": "array", "items": rule, "minItems": 1}
            ]
        })
    }
}

/// `length` as a mapping.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct LengthRange {
    /// At least so many characters.
    #[serde(default)]
    min: usize,
    /// At most so many characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max: Option<usize>,
}

impl Serialize for Length {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.max == Some(self.min) {
            return self.min.serialize(serializer);
        }
        LengthRange { min: self.min, max: self.max }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        if value.is_object() {
            let range: LengthRange = serde_json::from_value(value).map_err(de::Error::custom)?;
            return Ok(Self { min: range.min, max: range.max });
        }
        let exact = value.as_u64().and_then(|n| usize::try_from(n).ok());
        let n = exact.ok_or_else(|| {
            de::Error::custom(format!(
                "`{value}` is not a length: write a whole number or {{min: 1, max: 40}}"
            ))
        })?;
        Ok(Self { min: n, max: Some(n) })
    }
}

impl JsonSchema for Length {
    fn schema_name() -> Cow<'static, str> {
        "Length".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let range = generator.subschema_for::<LengthRange>();
        json_schema!({
            "description": "A number of characters: exactly so many, or from `min` to `max`.",
            "anyOf": [{"type": "integer", "minimum": 0}, range]
        })
    }
}
