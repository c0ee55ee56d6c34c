//! What a pipeline can say about a lookup. The doc comments are the reference text.

use std::borrow::Cow;

use gristmill_core::{Mistake, Pointer};
use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;

use crate::options;

/// Adds columns from other records that are found by a key: the name of a region by its code, or
/// the surrogate key of the version of a dimension member that held on the record's day. Records
/// stay as many as they are, and in their order.
///
/// The other records are read in full when the run starts, and held in memory: up to a quarter of
/// `limits.memory` for all lookups of a pipeline. Keys are compared as values of the type that they
/// have in the input: a text in a CSV file with 7 in it is found by the int 7. A null key finds
/// nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Lookup")]
pub struct Lookup {
    /// Where the other records come from: a source as in `extract`, for example
    /// `{file: regions.csv}`, `{table: dim_fund, database: sqlite://warehouse.db}` or
    /// `{rows: [{region: EU, region_name: Europe}]}`.
    pub from: Source,
    /// The columns that are the key: one name, a list, or `{column of the records: column of the
    /// source}` where the names differ. Two records of the source with the same key are an error,
    /// unless `at` tells them apart.
    pub on: Columns,
    /// The column with the date or timestamp at which the record holds: of the versions that the
    /// source has of a key, that one is found whose `effective_date` is not after it and whose
    /// `end_date` is after it, or null. Dates are midnight, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// The columns that records get: one name, a list, or `{new name: column of the source}`, which
    /// takes the place of a column that is there. All but the key, and with `at` all but the
    /// versions' dates, when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub take: Option<Columns>,
    /// What stands before the names of the columns that records get, except those named in a
    /// mapping.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefix: String,
    /// What becomes of a record whose key finds nothing.
    #[serde(default)]
    pub missing: Otherwise,
    /// With `at`: what becomes of a record that is earlier than all versions of its key, for
    /// dimensions that come late. As `missing` when left out.
    #[serde(default, deserialize_with = "said", skip_serializing_if = "Option::is_none")]
    pub early: Option<Early>,
    /// With `at`: what the source's columns with the versions' dates are called.
    #[serde(default, skip_serializing_if = "VersionDates::is_default")]
    pub version_columns: VersionDates,
}

/// A source, as an item of `extract` says it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Source(pub Value);

/// Columns by name: one, several, or pairs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Columns {
    /// Each column's name among the records, and in the source.
    pub pairs: Vec<(String, String)>,
    /// Whether they were written as pairs.
    pub renamed: bool,
}

/// What becomes of a record that finds nothing.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Otherwise {
    /// It is rejected.
    #[default]
    Reject,
    /// The columns that it gets are null.
    Null,
    /// The columns that it gets have these values, and the others are null.
    Values(IndexMap<String, Value>),
}

/// What becomes of a record that is earlier than all versions of its key.
#[derive(Debug, Clone, PartialEq)]
pub enum Early {
    /// It finds the first version.
    First,
    /// It finds nothing.
    Nothing(Otherwise),
}

/// What the source's columns with the versions' dates are called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct VersionDates {
    /// When a version began to hold; null for one that always did.
    pub effective_date: String,
    /// When it ceased to hold; null for the current one.
    pub end_date: String,
}

impl Default for VersionDates {
    fn default() -> Self {
        Self { effective_date: "effective_date".to_owned(), end_date: "end_date".to_owned() }
    }
}

impl VersionDates {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Lookup {
    /// Looks records up in a source: `json!({"file": "regions.csv"})`, or a `File`, `Table`,
    /// `Query` or `Rows` of `gristmill-extract`.
    pub fn new(from: impl Into<Value>) -> Self {
        Self {
            from: Source(from.into()),
            on: Columns::default(),
            at: None,
            take: None,
            prefix: String::new(),
            missing: Otherwise::default(),
            early: None,
            version_columns: VersionDates::default(),
        }
    }

    /// Adds a column to the key, which has the same name in both.
    #[must_use]
    pub fn on(self, column: impl Into<String>) -> Self {
        let column = column.into();
        self.on_pair(column.clone(), column)
    }

    /// Adds a column of the records to the key, and what it is called in the source.
    #[must_use]
    pub fn on_pair(mut self, column: impl Into<String>, other: impl Into<String>) -> Self {
        self.on.pairs.push((column.into(), other.into()));
        self
    }

    /// The version that holds at the date or timestamp in this column.
    #[must_use]
    pub fn at(mut self, column: impl Into<String>) -> Self {
        self.at = Some(column.into());
        self
    }

    /// Takes a column.
    #[must_use]
    pub fn take(mut self, column: impl Into<String>) -> Self {
        let column = column.into();
        self.take.get_or_insert_default().pairs.push((column.clone(), column));
        self
    }

    /// Takes a column under another name.
    #[must_use]
    pub fn take_as(mut self, name: impl Into<String>, column: impl Into<String>) -> Self {
        let take = self.take.get_or_insert_default();
        take.renamed = true;
        take.pairs.push((name.into(), column.into()));
        self
    }

    /// What stands before the names of the columns that records get.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// What becomes of a record whose key finds nothing.
    #[must_use]
    pub fn missing(mut self, missing: Otherwise) -> Self {
        self.missing = missing;
        self
    }

    /// What becomes of a record that is earlier than all versions of its key.
    #[must_use]
    pub fn early(mut self, early: Early) -> Self {
        self.early = Some(early);
        self
    }

    /// What the source's columns with the versions' dates are called.
    #[must_use]
    pub fn version_columns(
        mut self,
        effective_date: impl Into<String>,
        end_date: impl Into<String>,
    ) -> Self {
        self.version_columns =
            VersionDates { effective_date: effective_date.into(), end_date: end_date.into() };
        self
    }

    /// Mistakes that are seen without columns.
    pub(super) fn mistakes(&self) -> Vec<Mistake> {
        let at = |key: &str| Pointer::root().key(key);
        let mut mistakes = Vec::new();
        if self.on.pairs.is_empty() {
            mistakes.push(
                Mistake::new(at("on"), "a key needs at least one column")
                    .hint("write it like `on: region`, or `on: {region: region_code}`"),
            );
        }
        let names = |columns: &Columns, of: fn(&(String, String)) -> &String| {
            options::duplicate(columns.pairs.iter().map(|pair| of(pair).as_str()))
                .map(str::to_owned)
        };
        let twice = names(&self.on, |pair| &pair.0).or_else(|| names(&self.on, |pair| &pair.1));
        mistakes.extend(twice.map(|name| Mistake::new(at("on"), format!("`{name}` stands twice"))));
        if let Some(take) = &self.take {
            let twice = names(take, |pair| &pair.0);
            mistakes.extend(
                twice.map(|name| Mistake::new(at("take"), format!("`{name}` stands twice"))),
            );
            if take.renamed && !self.prefix.is_empty() {
                mistakes.push(
                    Mistake::new(at("prefix"), "the columns of a mapping have their names already")
                        .on_key()
                        .hint("write `take` as a list, or leave the prefix out"),
                );
            }
        }
        let only_with_at = [
            ("early", self.early.is_some()),
            ("version_columns", !self.version_columns.is_default()),
        ];
        for (key, _) in only_with_at.into_iter().filter(|(_, said)| *said && self.at.is_none()) {
            let message = format!("`{key}` has no meaning without `at`");
            mistakes.push(
                Mistake::new(at(key), message)
                    .on_key()
                    .hint("add `at:` with the column that has the record's date, or leave it out"),
            );
        }
        mistakes
    }
}

impl Columns {
    /// The place of the pair at this index in the options under `key`.
    pub(super) fn at(&self, key: &str, index: usize) -> Pointer {
        let at = Pointer::root().key(key);
        match self.pairs.as_slice() {
            pairs if self.renamed => at.key(&pairs[index].0),
            [_] => at, // as one name or as a list of one
            _ => at.index(index),
        }
    }
}

impl Serialize for Columns {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.pairs.iter().all(|(name, other)| name == other) && !self.renamed {
            return serializer.collect_seq(self.pairs.iter().map(|(name, _)| name));
        }
        serializer.collect_map(self.pairs.iter().map(|(name, other)| (name, other)))
    }
}

impl<'de> Deserialize<'de> for Columns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wrong = || de::Error::custom("a name, a list of names or pairs of names are expected");
        let name = |value: &Value| value.as_str().map(str::to_owned).ok_or_else(wrong);
        let same = |value: &Value| name(value).map(|name| (name.clone(), name));
        let (pairs, renamed) = match Value::deserialize(deserializer)? {
            Value::Array(names) => (names.iter().map(same).collect::<Result<_, _>>()?, false),
            Value::Object(pairs) => {
                let pair = |(new, old): (&String, &Value)| Ok((new.clone(), name(old)?));
                (pairs.iter().map(pair).collect::<Result<_, _>>()?, true)
            }
            one => (vec![same(&one)?], false),
        };
        Ok(Self { pairs, renamed })
    }
}

impl Serialize for Otherwise {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Otherwise::Reject => serializer.serialize_str("reject"),
            Otherwise::Null => serializer.serialize_unit(),
            Otherwise::Values(values) => values.serialize(serializer),
        }
    }
}

fn otherwise(value: Value) -> Result<Otherwise, String> {
    match value {
        Value::Null => Ok(Otherwise::Null),
        Value::Object(values) => Ok(Otherwise::Values(values.into_iter().collect())),
        Value::String(word) if word == "reject" => Ok(Otherwise::Reject),
        Value::String(word) if word == "null" => Ok(Otherwise::Null),
        other => Err(format!("`reject`, `null` or values are expected, not {other}")),
    }
}

impl<'de> Deserialize<'de> for Otherwise {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        otherwise(Value::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

impl Serialize for Early {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Early::First => serializer.serialize_str("first"),
            Early::Nothing(otherwise) => otherwise.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Early {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(word) if word == "first" => Ok(Early::First),
            value => otherwise(value).map(Early::Nothing).map_err(de::Error::custom),
        }
    }
}

/// What was said, also where that is `null`, which would be nothing for an option.
fn said<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Early>, D::Error> {
    Early::deserialize(deserializer).map(Some)
}

macro_rules! schema {
    ($type:ident, $schema:tt) => {
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn schema_id() -> Cow<'static, str> {
                concat!(module_path!(), "::", stringify!($type)).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

schema!(Source, {
    "description": "A source, as an item of `extract` says it.",
    "type": "object"
});

schema!(Columns, {
    "description": "A name, a list of names, or pairs of names.",
    "oneOf": [
        {"type": "string"},
        {"type": "array", "items": {"type": "string"}},
        {"type": "object", "additionalProperties": {"type": "string"}}
    ]
});

schema!(Otherwise, {
    "description": "What becomes of a record that finds nothing.",
    "default": "reject",
    "oneOf": [
        {"const": "reject", "description": "It is rejected."},
        {"const": "null", "description": "The columns that it gets are null."},
        {"type": "null"},
        {
            "type": "object",
            "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
            "description": "The columns that it gets have these values, for example those of the \
                            unknown member of a dimension: `{fund_key: -1}`. Others are null."
        }
    ]
});

schema!(Early, {
    "description": "What becomes of a record that is earlier than all versions of its key.",
    "oneOf": [
        {"const": "first", "description": "It finds the first version."},
        {"const": "reject", "description": "It is rejected."},
        {"const": "null", "description": "The columns that it gets are null."},
        {
            "type": "object",
            "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
            "description": "The columns that it gets have these values. Others are null."
        }
    ]
});
