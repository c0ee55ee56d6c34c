//! `pivot`: one column for each of several values.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BooleanArray};
use arrow_schema::{DataType, SchemaRef};
use gristmill_core::text::value_text;
use gristmill_core::types::type_name;
use gristmill_core::{
    Batch, BindContext, Bound, ExpressionError, Findings, Grain, Mistake, Pointer, Reason, Result,
    Stage, Step, StepKind, StepPlan,
};
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::expression_mistake;
use crate::options;
use crate::relational::{
    INPUT, Query, SetFunctions, Tables, column, expression, input, named, planned, quoted, select,
};

/// The registry entry.
pub(super) const KIND: StepKind = StepKind {
    name: "pivot",
    about: "Makes columns of values: a record for each month becomes a column for each month.",
    example: "pivot: {by: [fund_code], names_from: currency, values: [USD, EUR], values_from: aum, aggregate: sum}\n",
    schema: |generator| generator.subschema_for::<Pivot>(),
    plan: |options, _| {
        let plan: Pivot = options::read(options)?;
        let mistakes = plan.mistakes();
        options::planned(plan, mistakes)
    },
};

/// Makes one record of each group of records, with a column for each of the `values` that
/// `names_from` may have. The columns are known before the first record is read, so the values are
/// declared; a record with another one is rejected, or left out.
///
/// Groups come in the order of their keys, nulls last, as in `aggregate`. A cell that no record falls
/// into is null, or 0 when records are counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Pivot")]
pub struct Pivot {
    /// The columns that are the key together. Without them, all records are one group.
    #[serde(default)]
    pub by: Vec<String>,
    /// The column whose values become columns: texts, ints, bools or dates.
    pub names_from: String,
    /// Its values, which are the names of the new columns: a list, which `gristmill profile DATA --values
    /// COLUMN` writes, or `{new name: value}`.
    #[serde(deserialize_with = "values")]
    #[schemars(schema_with = "values_schema")]
    pub values: IndexMap<String, String>,
    /// The column that has what stands in the new columns.
    pub values_from: String,
    /// What is made of the values of several records that fall into one cell. A cell that none falls
    /// into is null, or 0 when they are counted.
    pub aggregate: PivotAggregate,
    /// What stands before the names of the new columns.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefix: String,
    /// What becomes of a record with another value, or null, in `names_from`.
    #[serde(default)]
    pub others: Others,
}

/// What is made of the values of several records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PivotAggregate {
    /// Their sum; exact for integers and decimals.
    Sum,
    /// How many are not null.
    Count,
    /// The smallest.
    Min,
    /// The largest.
    Max,
    /// Their mean.
    Avg,
    /// That of the first record, in the order of the input.
    First,
    /// That of the last record.
    Last,
}

/// What becomes of a record with a value that is not among those declared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "PivotOthers")]
pub enum Others {
    /// It is rejected.
    #[default]
    Reject,
    /// It is left out, and counts as filtered.
    Ignore,
}

fn values<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<IndexMap<String, String>, D::Error> {
    use serde_json::Value;
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match Value::deserialize(deserializer)? {
        Value::Array(values) => {
            let mut names = IndexMap::new();
            for value in values.iter().map(text) {
                if names.insert(value.clone(), value.clone()).is_some() {
                    return Err(serde::de::Error::custom(format!("`{value}` stands twice")));
                }
            }
            Ok(names)
        }
        Value::Object(values) => {
            Ok(values.iter().map(|(name, value)| (name.clone(), text(value))).collect())
        }
        _ => Err(serde::de::Error::custom("a list of values, or values by name, are expected")),
    }
}

fn values_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "oneOf": [
            {"type": "array", "items": {"type": ["string", "number", "boolean"]}},
            {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}}
        ]
    })
}

impl PivotAggregate {
    fn function(self) -> &'static str {
        match self {
            PivotAggregate::Sum => "sum",
            PivotAggregate::Count => "count",
            PivotAggregate::Min => "min",
            PivotAggregate::Max => "max",
            PivotAggregate::Avg => "avg",
            PivotAggregate::First => "first",
            PivotAggregate::Last => "last",
        }
    }
}

impl Pivot {
    /// One record for each combination of values in `by`.
    pub fn new<S: Into<String>>(
        by: impl IntoIterator<Item = S>,
        names_from: impl Into<String>,
        values_from: impl Into<String>,
        aggregate: PivotAggregate,
    ) -> Self {
        Self {
            by: by.into_iter().map(Into::into).collect(),
            names_from: names_from.into(),
            values: IndexMap::new(),
            values_from: values_from.into(),
            aggregate,
            prefix: String::new(),
            others: Others::default(),
        }
    }

    /// A column for this value, with this name.
    #[must_use]
    pub fn value(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.values.insert(name.into(), value.into());
        self
    }

    /// What stands before the names of the new columns.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Leaves out records with other values.
    #[must_use]
    pub fn ignore_others(mut self) -> Self {
        self.others = Others::Ignore;
        self
    }

    fn mistakes(&self) -> Vec<Mistake> {
        let at = |key: &str| Pointer::root().key(key);
        let mut mistakes = Vec::new();
        if self.values.is_empty() {
            mistakes.push(Mistake::new(at("values"), "there is no value to make a column of"));
        }
        if let Some(twice) = options::duplicate(self.by.iter().map(String::as_str)) {
            mistakes.push(Mistake::new(at("by"), format!("`{twice}` stands twice")));
        }
        for name in self.values.keys() {
            let name = format!("{}{name}", self.prefix);
            if name.is_empty() || self.by.contains(&name) {
                let message = match name.is_empty() {
                    true => "a column needs a name".to_owned(),
                    false => format!("`{name}` is a key already"),
                };
                mistakes.push(
                    Mistake::new(at("values"), message)
                        .hint("say `prefix: …`, or the name of each: `values: {name: value}`"),
                );
            }
        }
        mistakes
    }

    fn query(&self, schema: &SchemaRef) -> Result<Query, ExpressionError> {
        let keys: Vec<String> = self.by.iter().map(|name| quoted(name)).collect();
        let grouped = match &keys[..] {
            [] => String::new(),
            keys => format!("GROUP BY {}", keys.join(", ")),
        };
        let (names, values) = (quoted(&self.names_from), quoted(&self.values_from));
        let mut results: Vec<_> = self.by.iter().map(|name| column(name)).collect();
        for (name, value) in &self.values {
            let text = format!(
                "{}({values}) FILTER (WHERE cast({names} AS string) = '{}')",
                self.aggregate.function(),
                value.replace('\'', "''")
            );
            let made = expression(&text, SetFunctions::aggregates(), Some(schema))?;
            results.push(named(made, &format!("{}{name}", self.prefix)));
        }
        planned(select(results, &format!("FROM {INPUT} {grouped}"))?, &[input(schema)])
    }
}

impl StepPlan for Pivot {
    fn bind(&self, schema: &SchemaRef, _: &BindContext<'_>) -> Result<Bound, Vec<Mistake>> {
        let at = |key: &str| Pointer::root().key(key);
        let mut mistakes = self.mistakes();
        let names = options::names(schema);
        for (i, name) in self.by.iter().enumerate() {
            mistakes.extend(options::find(&names, name, at("by").index(i)).err());
        }
        mistakes.extend(options::find(&names, &self.values_from, at("values_from")).err());
        let place = match options::find(&names, &self.names_from, at("names_from")) {
            Ok(place) => place,
            Err(mistake) => {
                mistakes.push(mistake);
                return Err(mistakes);
            }
        };
        let field = schema.field(place);
        let fits = match field.data_type() {
            DataType::Utf8View | DataType::Utf8 | DataType::Boolean | DataType::Date32 => true,
            other => other.is_integer(),
        };
        if !fits {
            let message = format!(
                "`{}` is of type {}: columns are made of texts, ints, bools and dates",
                field.name(),
                type_name(field)
            );
            let hint = "`cast` it to string before";
            mistakes.push(Mistake::new(at("names_from"), message).hint(hint));
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let query = self
            .query(schema)
            .map_err(|found| vec![expression_mistake(at("values_from"), found)])?;
        let local = Known {
            place,
            name: self.names_from.clone(),
            values: self.values.values().cloned().collect(),
            others: self.others,
        };
        let bound = Tables::new(KIND.name, query, Arc::clone(schema)).bound(Grain::Changes);
        Ok(Bound { local: Some(Box::new(local)), ..bound })
    }
}

/// Takes out records whose value makes no column.
struct Known {
    place: usize,
    name: String,
    values: Vec<String>,
    others: Others,
}

impl Known {
    fn knows(&self, column: &ArrayRef, row: usize) -> bool {
        if column.is_null(row) {
            return false;
        }
        if let Some(texts) = column.as_string_view_opt() {
            return self.values.iter().any(|value| value == texts.value(row));
        }
        value_text(column, row).is_some_and(|text| self.values.contains(&text))
    }
}

impl Step for Known {
    fn apply(&self, mut batch: Batch, findings: &mut Findings) -> Result<Batch> {
        let column = Arc::clone(batch.columns().column(self.place));
        let known: Vec<bool> = (0..column.len()).map(|row| self.knows(&column, row)).collect();
        if self.others == Others::Ignore {
            findings.filtered += known.iter().filter(|known| !**known).count() as u64;
            return batch.filter(&BooleanArray::from(known));
        }
        for row in (0..known.len()).filter(|row| !known[*row]) {
            let text = value_text(&column, row);
            let message = match &text {
                Some(text) => format!("there is no column for `{text}`"),
                None => "there is no column for null".to_owned(),
            };
            let reason = Reason::field(self.name.clone(), "pivot", message, text);
            batch.add_flaw(row, Stage::Transform, reason);
        }
        Ok(batch)
    }
}
