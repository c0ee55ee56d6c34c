//! `unpivot`: one record for each of several columns.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, StringViewArray, UInt32Array};
use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow_select::interleave::interleave;
use arrow_select::take::take;
use gristmill_core::types::type_name;
use gristmill_core::{
    Batch, BindContext, Bound, Findings, Grain, Mistake, Pointer, Result, Step, StepKind, StepPlan,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::options;

/// The registry entry.
pub(super) const KIND: StepKind = StepKind {
    name: "unpivot",
    about: "Makes one record of each of several columns: a column for each month becomes a record for each month.",
    example: "unpivot: {columns: [aum, management_fee], names_to: measure, values_to: value}\n",
    schema: |generator| generator.subschema_for::<Unpivot>(),
    plan: |options, _| {
        let plan: Unpivot = options::read(options)?;
        let mistakes = plan.mistakes();
        options::planned(plan, mistakes)
    },
};

/// Makes one record of each of several columns, which must be of one type. The other columns are
/// repeated; behind them come the name of the column and its value. Records keep their order, and
/// the columns theirs within a record. A record that a later step rejects still names its line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Unpivot")]
pub struct Unpivot {
    /// The columns, by name or with `*` for any letters: `[2023, 2024]`, `["month_*"]`.
    #[serde(deserialize_with = "names")]
    #[schemars(schema_with = "names_schema")]
    pub columns: Vec<String>,
    /// The name of the new column with the names of the columns.
    #[serde(default = "name")]
    pub names_to: String,
    /// The name of the new column with their values.
    #[serde(default = "value")]
    pub values_to: String,
    /// What is left out in front of the names: with `month_`, the name of `month_01` is `01`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub strip_prefix: String,
    /// What becomes of a value that is null.
    #[serde(default)]
    pub nulls: NullValues,
}

/// What becomes of a value that is null.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "UnpivotNulls")]
pub enum NullValues {
    /// A record like others.
    #[default]
    Keep,
    /// No record. One whose values are all null counts as filtered.
    Drop,
}

fn name() -> String {
    "name".to_owned()
}

fn value() -> String {
    "value".to_owned()
}

/// Names, of which a pipeline file may write some as numbers.
fn names<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let names = Vec::<serde_json::Value>::deserialize(deserializer)?;
    let name = |name: serde_json::Value| match name {
        serde_json::Value::String(name) => name,
        other => other.to_string(),
    };
    Ok(names.into_iter().map(name).collect())
}

fn names_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "array", "items": {"type": ["string", "number"]}})
}

impl Unpivot {
    /// One record for each of these columns.
    pub fn new<S: Into<String>>(columns: impl IntoIterator<Item = S>) -> Self {
        Self {
            columns: columns.into_iter().map(Into::into).collect(),
            names_to: name(),
            values_to: value(),
            strip_prefix: String::new(),
            nulls: NullValues::default(),
        }
    }

    /// The names of the new columns.
    #[must_use]
    pub fn to(mut self, names: impl Into<String>, values: impl Into<String>) -> Self {
        (self.names_to, self.values_to) = (names.into(), values.into());
        self
    }

    /// Leaves out what stands in front of the names.
    #[must_use]
    pub fn strip_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.strip_prefix = prefix.into();
        self
    }

    /// Makes no records of nulls.
    #[must_use]
    pub fn drop_nulls(mut self) -> Self {
        self.nulls = NullValues::Drop;
        self
    }

    fn mistakes(&self) -> Vec<Mistake> {
        let at = |key: &str| Pointer::root().key(key);
        let mut mistakes = Vec::new();
        if self.columns.is_empty() {
            mistakes.push(Mistake::new(at("columns"), "there is no column to make records of"));
        }
        for (key, name) in [("names_to", &self.names_to), ("values_to", &self.values_to)] {
            if name.is_empty() {
                mistakes.push(Mistake::new(at(key), "a column needs a name"));
            }
        }
        if self.names_to == self.values_to {
            let message = format!("two new columns would be called `{}`", self.values_to);
            mistakes.push(Mistake::new(at("values_to"), message));
        }
        mistakes
    }

    /// The columns that become records.
    fn places(&self, input: &Schema, mistakes: &mut Vec<Mistake>) -> Vec<usize> {
        let names = options::names(input);
        let mut places = Vec::new();
        for (index, wanted) in self.columns.iter().enumerate() {
            let at = Pointer::root().key("columns").index(index);
            let found: Vec<usize> = match names.iter().position(|name| name == wanted) {
                Some(place) => vec![place],
                None if wanted.contains('*') => {
                    let fits = |place: &usize| fits(wanted, names[*place]);
                    (0..names.len()).filter(fits).collect()
                }
                None => Vec::new(),
            };
            if found.is_empty() {
                let mut mistake = options::unknown(&names, wanted, at);
                if wanted.contains('*') {
                    mistake.message = format!("no column is like `{wanted}`");
                }
                mistakes.push(mistake);
            }
            for place in found {
                if !places.contains(&place) {
                    places.push(place);
                }
            }
        }
        places
    }
}

/// Whether a name is like a pattern, in which `*` stands for any letters.
fn fits(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, between)) = parts.split_last() else { return rest.is_empty() };
    for part in between {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

impl StepPlan for Unpivot {
    fn bind(&self, input: &SchemaRef, _: &BindContext<'_>) -> Result<Bound, Vec<Mistake>> {
        let mut mistakes = self.mistakes();
        let at = |key: &str| Pointer::root().key(key);
        let places = self.places(input, &mut mistakes);
        let others: Vec<usize> =
            (0..input.fields().len()).filter(|place| !places.contains(place)).collect();
        let mut fields: Vec<FieldRef> =
            others.iter().map(|&place| Arc::clone(&input.fields()[place])).collect();
        for (key, name) in [("names_to", &self.names_to), ("values_to", &self.values_to)] {
            if fields.iter().any(|field| field.name() == name) {
                let message = format!("there is a column `{name}` already");
                mistakes.push(Mistake::new(at(key), message).hint("take another name"));
            }
        }
        let mut like: Option<&FieldRef> = None;
        for &place in &places {
            let field = &input.fields()[place];
            let first = *like.get_or_insert(field);
            if first.data_type() != field.data_type() {
                let message = format!(
                    "`{}` is of type {} and `{}` of type {}: values of one column are of one type",
                    first.name(),
                    type_name(first),
                    field.name(),
                    type_name(field)
                );
                mistakes.push(
                    Mistake::new(at("columns"), message)
                        .hint("bring them to one type with `cast` before"),
                );
                break;
            }
        }
        let (Some(like), true) = (like, mistakes.is_empty()) else { return Err(mistakes) };
        fields.push(Arc::new(Field::new(&self.names_to, DataType::Utf8View, true)));
        fields.push(Arc::new(like.as_ref().clone().with_name(&self.values_to).with_nullable(true)));
        let name = |place: &usize| {
            let name = input.field(*place).name();
            name.strip_prefix(self.strip_prefix.as_str()).unwrap_or(name)
        };
        let names: StringViewArray = places.iter().map(|place| Some(name(place))).collect();
        let output = Arc::new(Schema::new_with_metadata(fields, input.metadata().clone()));
        let local = BoundUnpivot {
            places,
            others,
            names: Arc::new(names),
            nulls: self.nulls,
            output: Arc::clone(&output),
        };
        let local: Option<Box<dyn Step>> = Some(Box::new(local));
        Ok(Bound { local, ordered: None, output, grain: Grain::Changes })
    }
}

struct BoundUnpivot {
    places: Vec<usize>,
    others: Vec<usize>,
    /// The name of each place.
    names: ArrayRef,
    nulls: NullValues,
    output: SchemaRef,
}

impl Step for BoundUnpivot {
    fn apply(&self, batch: Batch, findings: &mut Findings) -> Result<Batch> {
        let columns = batch.columns().clone();
        let values: Vec<&dyn Array> =
            self.places.iter().map(|&place| columns.column(place).as_ref()).collect();
        let nulls: Vec<_> = values.iter().map(|column| column.logical_nulls()).collect();
        let drops = |row: usize, at: usize| {
            self.nulls == NullValues::Drop && nulls[at].as_ref().is_some_and(|it| it.is_null(row))
        };
        let (mut rows, mut cells, mut names) = (Vec::new(), Vec::new(), Vec::new());
        for row in 0..columns.num_rows() {
            let before = rows.len();
            for at in (0..values.len()).filter(|at| !drops(row, *at)) {
                rows.push(row as u32);
                cells.push((at, row));
                names.push(at as u32);
            }
            findings.filtered += u64::from(rows.len() == before);
        }
        let value = interleave(&values, &cells)?;
        let name = take(self.names.as_ref(), &UInt32Array::from(names), None)?;
        let batch = batch.take(&UInt32Array::from(rows))?;
        let others = batch.columns().project(&self.others)?;
        let columns = others.columns().iter().cloned().chain([name, value]).collect();
        batch.with_columns(RecordBatch::try_new(Arc::clone(&self.output), columns)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_letters() {
        for (pattern, name, expected) in [
            ("m_*", "m_01", true),
            ("m_*", "m_", true),
            ("m_*", "am_1", false),
            ("*_aum", "eu_aum", true),
            ("*_aum", "eu_aum_x", false),
            ("a*b*c", "a1b2c", true),
            ("a*b*c", "acb", false),
            ("a*a", "a", false),
            ("*", "", true),
            ("ab", "ab", true),
            ("ab", "abc", false),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }
}
