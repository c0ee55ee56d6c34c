//! Contracts of the Open Data Contract Standard (version 3): the columns that they agree on.
//!
//! Of each property the name, the type and `required` count. Quality rules, keys and service levels are for
//! other tools, or for a `check` step.

use gristmill_core::FieldType;
use indexmap::IndexMap;
use serde_json::Value;

use super::options::{Column, Contract};

/// Whether a document says that it is one.
pub(super) fn is_one(document: &Value) -> bool {
    document.get("kind").and_then(Value::as_str) == Some("DataContract")
}

/// The columns of the entry of this name under `schema`, or of the only one.
///
/// # Errors
/// What is not as the standard has it, or not known here.
pub(super) fn read(document: &Value, wanted: Option<&str>) -> Result<Contract, String> {
    let entries = document.get("schema").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let names: Vec<String> =
        entries.iter().filter_map(name).map(|name| format!("`{name}`")).collect();
    let entry = match (wanted, entries) {
        (_, []) => return Err("the data contract has no `schema`".to_owned()),
        (None, [only]) => only,
        (None, _) => {
            let names = names.join(", ");
            return Err(format!("the data contract is about {names}: say which, with `schema:`"));
        }
        (Some(wanted), entries) => {
            let called = |entry: &&Value| {
                ["name", "physicalName"]
                    .iter()
                    .any(|key| entry.get(*key).and_then(Value::as_str) == Some(wanted))
            };
            entries.iter().find(called).ok_or_else(|| {
                format!(
                    "the data contract has no `{wanted}` under `schema`: there is {}",
                    names.join(", ")
                )
            })?
        }
    };
    let properties = entry.get("properties").and_then(Value::as_array);
    let properties = properties.filter(|properties| !properties.is_empty());
    let properties = properties.ok_or("the data contract has no `properties` under `schema`")?;
    let mut columns = IndexMap::new();
    for property in properties {
        let Some(name) = name(property) else {
            return Err("a property of the data contract has no `name`".to_owned());
        };
        let field_type =
            type_of(property).map_err(|found| format!("property `{name}`: {found}"))?;
        let required = property.get("required").and_then(Value::as_bool).unwrap_or(false);
        let column = Column { field_type, nullable: !required, formats: Vec::new() };
        // In files and tables a property has its physical name.
        let physical = property.get("physicalName").and_then(Value::as_str).unwrap_or(name);
        columns.insert(physical.to_owned(), column);
    }
    Ok(Contract { columns, ..Contract::default() })
}

fn name(entry: &Value) -> Option<&str> {
    entry.get("name")?.as_str()
}

/// The type of a property. A number is a decimal where its physical type says the digits.
fn type_of(property: &Value) -> Result<Option<FieldType>, String> {
    let text = |key: &str| property.get(key).and_then(Value::as_str);
    let physical = text("physicalType").and_then(|name| name.parse::<FieldType>().ok());
    Ok(match text("logicalType") {
        None => physical,
        Some("string") => Some(FieldType::String),
        Some("boolean") => Some(FieldType::Bool),
        Some("integer") => Some(FieldType::Int),
        Some("number") => match physical {
            Some(known @ (FieldType::Decimal { .. } | FieldType::Int)) => Some(known),
            _ => Some(FieldType::Double),
        },
        // Before version 3.1 every time is a date to the standard.
        Some("date") => match physical {
            Some(known @ (FieldType::Timestamp | FieldType::TimestampTz | FieldType::Time)) => {
                Some(known)
            }
            _ => Some(FieldType::Date),
        },
        Some("timestamp") => match physical {
            Some(FieldType::TimestampTz) => physical,
            _ => Some(FieldType::Timestamp),
        },
        Some("time") => Some(FieldType::Time),
        Some("object" | "array") => None,
        Some(other) => return Err(format!("`{other}` is no logical type")),
    })
}
