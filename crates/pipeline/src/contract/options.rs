//! What a pipeline, or a file of its own, says about the records of a source. The doc comments are the
//! reference text.

use std::borrow::Cow;
use std::path::PathBuf;

use gristmill_core::text::parse;
use gristmill_core::{FieldType, Mistake, Pointer};
use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::Value;

/// What the records of a source were agreed to be, and what becomes of those that are not. It is judged as
/// they are read, after leading steps that only clean text and before any other.
///
/// It stands in place of a source's `columns`, which say types alone, and of its `drift`, which compares the files
/// of a source with each other: with a contract, each file is compared with that. `drift` at the top of a
/// pipeline, for sources that differ, stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Contract {
    /// A file with `columns` and `policy`, or a data contract of the Open Data Contract Standard; a path
    /// relative to the pipeline file. Of the latter, names, types and `required` count.
    pub file: Option<PathBuf>,
    /// Of a file of the Open Data Contract Standard with several entries under `schema`: the name of the one
    /// that is meant.
    pub schema: Option<String>,
    /// The columns by name, in the source's spelling or any other: `as_of_date` is also `As Of Date`. Each
    /// has a type, or a type with more about it.
    #[schemars(with = "std::collections::BTreeMap<String, Column>")]
    pub columns: IndexMap<String, Column>,
    /// What becomes of what is not as agreed. What is said here goes before what the file says.
    pub policy: Policy,
}

/// What becomes of a difference, by its kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// A column that the contract does not have. `evolve`, the default, takes it along; `freeze` stops the
    /// run; `quarantine_record` rejects the records that have a value in it, and leaves it out;
    /// `null_value` leaves it out.
    pub new_column: Option<Way>,
    /// A column that is not there, in the source or in one of its files. `freeze`, the default, stops the
    /// run; `evolve` goes on without it; `quarantine_record` rejects the records that lack it; in
    /// `null_value`, it is null. In JSON a column is there if one record has it.
    pub missing_column: Option<Way>,
    /// A value that is not of its column's type. `quarantine_record`, the default, rejects its record;
    /// `freeze` stops the run at the first one; `null_value` puts a null in its place and counts it in the report;
    /// `evolve` lets the column have the type that its values have, which for text is found by reading
    /// the whole input first.
    #[serde(rename = "type")]
    pub field_type: Option<Way>,
    /// A null in a column that has `nullable: false`. `quarantine_record`, the default, rejects its record;
    /// `freeze` stops the run at the first one; `evolve` lets it pass.
    pub null: Option<NullWay>,
}

impl Policy {
    /// What this one says, and the other where it says nothing.
    pub(crate) fn or(self, other: Policy) -> Policy {
        Policy {
            new_column: self.new_column.or(other.new_column),
            missing_column: self.missing_column.or(other.missing_column),
            field_type: self.field_type.or(other.field_type),
            null: self.null.or(other.null),
        }
    }
}

/// What becomes of a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// It is taken as it is.
    Evolve,
    /// The run stops, with exit code 3, and nothing is published.
    Freeze,
    /// The record is rejected.
    QuarantineRecord,
    /// The value is left out.
    NullValue,
}

/// What becomes of a null.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NullWay {
    /// It is taken as it is.
    Evolve,
    /// The run stops, with exit code 3, and nothing is published.
    Freeze,
    /// The record is rejected.
    QuarantineRecord,
}

/// A column of a contract.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Column {
    /// Its type; any where it is not said.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub field_type: Option<FieldType>,
    /// Whether it may be null.
    pub nullable: bool,
    /// `strftime` formats of dates, times and timestamps in text, tried in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub formats: Vec<String>,
}

/// A contract as a pipeline says it: itself, or the file that it is in.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Said(
    /// The contract.
    pub Contract,
);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Long {
    #[serde(rename = "type", default)]
    field_type: Option<FieldType>,
    #[serde(default = "yes")]
    nullable: bool,
    #[serde(default)]
    formats: Vec<String>,
    /// For people.
    #[serde(default, rename = "description")]
    _description: Option<String>,
}

fn yes() -> bool {
    true
}

impl<'de> Deserialize<'de> for Column {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(name) => {
                let field_type = Some(name.parse().map_err(de::Error::custom)?);
                Ok(Self { field_type, nullable: true, formats: Vec::new() })
            }
            other => {
                let long = Long::deserialize(other).map_err(de::Error::custom)?;
                let Long { field_type, nullable, formats, .. } = long;
                Ok(Self { field_type, nullable, formats })
            }
        }
    }
}

impl JsonSchema for Column {
    fn schema_name() -> Cow<'static, str> {
        "Column".into()
    }

    fn schema_id() -> Cow<'static, str> {
        concat!(module_path!(), "::Column").into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let field_type = generator.subschema_for::<FieldType>();
        json_schema!({
            "description": "A type, or a mapping.",
            "oneOf": [
                field_type,
                {
                    "type": "object",
                    "properties": {
                        "type": field_type,
                        "nullable": {
                            "description": "Whether it may be null: `true` unless said.",
                            "type": "boolean"
                        },
                        "formats": {
                            "description": "`strftime` formats of dates, times and timestamps in text, tried in order.",
                            "type": "array",
                            "items": {"type": "string"}
                        },
                        "description": {
                            "description": "What it holds, for people.",
                            "type": "string"
                        }
                    },
                    "additionalProperties": false
                }
            ]
        })
    }
}

impl<'de> Deserialize<'de> for Said {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(file) => {
                Ok(Self(Contract { file: Some(file.into()), ..Contract::default() }))
            }
            other => Contract::deserialize(other).map(Self).map_err(de::Error::custom),
        }
    }
}

impl JsonSchema for Said {
    fn schema_name() -> Cow<'static, str> {
        "ContractOrFile".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let contract = generator.subschema_for::<Contract>();
        json_schema!({
            "description": "A contract, or the path of the file that it is in.",
            "oneOf": [{"type": "string"}, contract]
        })
    }
}

impl Contract {
    /// Mistakes that the schema cannot express.
    pub(crate) fn check(&self) -> Vec<Mistake> {
        let at = |key: &str| Pointer::root().key(key);
        let mut mistakes = Vec::new();
        match (&self.file, self.columns.is_empty()) {
            (Some(_), false) => mistakes.push(
                Mistake::new(at("columns"), "the columns are those of the file")
                    .hint("say `file` or `columns`; `policy` can stand beside each")
                    .on_key(),
            ),
            (None, true) => mistakes.push(
                Mistake::new(Pointer::root(), "the contract has no columns")
                    .hint("say `columns`, or `file`; `gristmill profile DATA --suggest contract` writes one"),
            ),
            _ => {}
        }
        if self.schema.is_some() && self.file.is_none() {
            mistakes.push(
                Mistake::new(
                    at("schema"),
                    "`schema` names an entry of a file, and there is no `file`",
                )
                .on_key(),
            );
        }
        for (name, column) in &self.columns {
            let at = at("columns").key(name).key("formats");
            let timely = matches!(
                column.field_type,
                Some(
                    FieldType::Date
                        | FieldType::Time
                        | FieldType::Timestamp
                        | FieldType::TimestampTz
                )
            );
            if !timely && !column.formats.is_empty() {
                let message = "formats are for dates and times";
                mistakes.push(Mistake::new(at.clone(), message).on_key());
            }
            for (index, format) in column.formats.iter().enumerate() {
                if !parse::is_format(format) {
                    let message = format!("`{format}` is not a strftime format");
                    mistakes.push(
                        Mistake::new(at.index(index), message)
                            .hint("for example %d/%m/%Y for 31/12/2024, %H:%M:%S for 23:59:59"),
                    );
                }
            }
        }
        mistakes
    }
}

/// Keys of a source that say what its contract says.
const SAID_BY_CONTRACT: [(&str, &str); 4] = [
    ("columns", "the contract says the types of columns"),
    ("date_formats", "the contract says the formats of dates, with `formats`"),
    ("infer", "the contract says the types of columns"),
    ("drift", "the contract says what becomes of columns that are new or missing, with `policy`"),
];

/// Mistakes in a contract, as it stands in a pipeline.
pub(crate) fn check(contract: &Value) -> Vec<Mistake> {
    match serde_json::from_value::<Said>(contract.clone()) {
        Ok(Said(contract)) => contract.check(),
        Err(error) => vec![Mistake::new(Pointer::root(), error.to_string())],
    }
}

/// What a source with a contract cannot say.
pub(crate) fn said_twice(source: &Value) -> Vec<Mistake> {
    let said = SAID_BY_CONTRACT.into_iter().filter(|(key, _)| source.get(*key).is_some());
    said.map(|(key, why)| {
        Mistake::new(Pointer::root().key(key), why).hint("leave it out here").on_key()
    })
    .collect()
}
