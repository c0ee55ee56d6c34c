//! What a pipeline can say about a lookup. The doc comments are the reference text.

use std::borrow::Cow;

use gristmill_core::{Mistake, Pointer};
use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;

use crate::steps::other::{Columns, Source, key_builders, take_builders, take_mistakes};

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

    key_builders!();

    /// The version that holds at the date or timestamp in this column.
    #[must_use]
    pub fn at(mut self, column: impl Into<String>) -> Self {
        self.at = Some(column.into());
        self
    }

    take_builders!();

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
        let mut mistakes = self.on.key_mistakes();
        mistakes.extend(take_mistakes(self.take.as_ref(), &self.prefix));
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
