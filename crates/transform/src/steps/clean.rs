//! `clean`: names, blanks, case, null tokens and defaults.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use arrow_array::builder::StringViewBuilder;
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch, Scalar};
use arrow_cast::cast;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use arrow_select::zip::zip;
use gristmill_core::text::{self, Case, ColumnBuilder, ColumnPlan};
use gristmill_core::types::{is_json, type_name};
use gristmill_core::{
    Batch, BindContext, Bound, FieldType, Findings, Grain, Mistake, Pointer, ReadPlan, Result,
    Step, StepKind, StepPlan,
};
use indexmap::IndexMap;
use schemars::{JsonSchema, Schema as JsonSchemaOf, SchemaGenerator, json_schema};
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::compose::compose;
use crate::names::snake_case_all;
use crate::options;

/// The registry entry.
pub(super) const KIND: StepKind = StepKind {
    name: "clean",
    about: "Tidies column names, blanks, upper and lower case, null tokens and missing values.",
    example: "clean: {names: snake_case, trim: all, upper: [currency], nulls: [\"\", n/a], default: {region: EU}}\n",
    schema: |generator| generator.subschema_for::<Clean>(),
    plan: |options, _| {
        let plan: Clean = options::read(options)?;
        options::planned(plan, Vec::new())
    },
};

/// Tidies text: trims it, makes null tokens null, changes its case and fills missing values, in
/// this order. Right after the source (with `cast`, in any order) it is done while decoding: there
/// text is cleaned before it is parsed as the column's declared type. Later on, columns that are
/// not text are only given their defaults. Columns are named as they are called after renaming;
/// their names in the source are understood too.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Clean {
    /// What becomes of column names.
    pub names: Names,
    /// Where white space at both ends is removed: `all`, `none`, or a list of columns.
    pub trim: Trim,
    /// Columns whose text is changed to upper case.
    pub upper: Vec<String>,
    /// Columns whose text is changed to lower case.
    pub lower: Vec<String>,
    /// Texts that mean null, in every text column, compared after trimming and as they are written.
    pub nulls: Vec<Text>,
    /// The value to take where a column is null. Quote a number to keep it as it is written.
    pub default: IndexMap<String, Text>,
}

/// What becomes of column names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Names {
    /// They stay as they are.
    #[default]
    Keep,
    /// `Fund-Name ` and `fundName` become `fund_name`; empty names become `column_N`, and names
    /// that are taken get `_2`, `_3` ….
    SnakeCase,
}

/// Where white space at both ends is removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Trim {
    /// Nowhere.
    #[default]
    None,
    /// In every text column.
    All,
    /// In these columns.
    Columns(Vec<String>),
}

/// A text; a number or a truth value in the pipeline file is taken as it is written in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Text(pub String);

impl Clean {
    /// Changes nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Column names in snake case.
    #[must_use]
    pub fn snake_case(mut self) -> Self {
        self.names = Names::SnakeCase;
        self
    }

    /// Trims every text column.
    #[must_use]
    pub fn trim_all(mut self) -> Self {
        self.trim = Trim::All;
        self
    }

    /// Trims these columns.
    #[must_use]
    pub fn trim<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.trim = Trim::Columns(columns.into_iter().map(Into::into).collect());
        self
    }

    /// These columns in upper case.
    #[must_use]
    pub fn upper<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.upper.extend(columns.into_iter().map(Into::into));
        self
    }

    /// These columns in lower case.
    #[must_use]
    pub fn lower<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.lower.extend(columns.into_iter().map(Into::into));
        self
    }

    /// These texts mean null.
    #[must_use]
    pub fn nulls<S: Into<String>>(mut self, tokens: impl IntoIterator<Item = S>) -> Self {
        self.nulls.extend(tokens.into_iter().map(|token| Text(token.into())));
        self
    }

    /// The value of a column where it is null.
    #[must_use]
    pub fn default_value(mut self, column: impl Into<String>, text: impl Into<String>) -> Self {
        self.default.insert(column.into(), Text(text.into()));
        self
    }

    /// What is done to each of the columns with these names.
    fn resolve(&self, names: &[&str], mistakes: &mut Vec<Mistake>) -> Vec<Column> {
        let renamed = match self.names {
            Names::Keep => names.iter().map(|&name| name.to_owned()).collect(),
            Names::SnakeCase => snake_case_all(names),
        };
        let nulls: Vec<String> = self.nulls.iter().map(|token| token.0.clone()).collect();
        let mut columns: Vec<Column> = renamed
            .iter()
            .map(|name| Column {
                name: name.clone(),
                clean: text::Clean {
                    trim: self.trim == Trim::All,
                    nulls: nulls.clone(),
                    ..text::Clean::default()
                },
                trimmed_at: None,
                cased_at: None,
                default_at: Pointer::root(),
            })
            .collect();
        let known: Vec<&str> = renamed.iter().map(String::as_str).collect();
        let mut find = |name: &str, at: &Pointer| {
            let place = options::find(&known, name, at.clone());
            let place = place
                .or_else(|mistake| names.iter().position(|before| *before == name).ok_or(mistake));
            place.map_err(|mistake| mistakes.push(mistake)).ok()
        };
        if let Trim::Columns(trimmed) = &self.trim {
            for (i, name) in trimmed.iter().enumerate() {
                let at = Pointer::root().key("trim").index(i);
                if let Some(place) = find(name, &at) {
                    columns[place].clean.trim = true;
                    columns[place].trimmed_at = Some(at);
                }
            }
        }
        let mut twice = Vec::new();
        for (key, case, list) in
            [("upper", Case::Upper, &self.upper), ("lower", Case::Lower, &self.lower)]
        {
            for (i, name) in list.iter().enumerate() {
                let at = Pointer::root().key(key).index(i);
                if let Some(place) = find(name, &at) {
                    let column = &mut columns[place];
                    if column.clean.case == Case::Upper && case == Case::Lower {
                        let message = format!("`{name}` is already in `upper`");
                        twice
                            .push(Mistake::new(at.clone(), message).hint("name it in one of them"));
                    }
                    column.clean.case = case;
                    column.cased_at = Some(at);
                }
            }
        }
        for (name, value) in &self.default {
            let at = Pointer::root().key("default").key(name);
            if let Some(place) = find(name, &at) {
                columns[place].clean.default = Some(value.0.clone());
                columns[place].default_at = at;
            }
        }
        mistakes.extend(twice);
        columns
    }
}

/// What is done to one column.
struct Column {
    name: String,
    clean: text::Clean,
    /// Where the definition asks for it to be trimmed.
    trimmed_at: Option<Pointer>,
    /// Where the definition asks for another case.
    cased_at: Option<Pointer>,
    /// Where the definition gives a default.
    default_at: Pointer,
}

impl Column {
    /// A list or struct has a name and nothing else that could be cleaned.
    fn refuse_nested(&self, field: &Field, mistakes: &mut Vec<Mistake>) {
        let default_at = self.clean.default.is_some().then_some(&self.default_at);
        for at in self.trimmed_at.iter().chain(&self.cased_at).chain(default_at) {
            let message = format!("`{}` is not text: its type is {}", self.name, type_name(field));
            mistakes.push(Mistake::new(at.clone(), message));
        }
    }

    /// JSON documents keep their case.
    fn spare_json(&mut self, mistakes: &mut Vec<Mistake>) {
        self.clean.case = Case::Keep;
        if let Some(at) = &self.cased_at {
            let message = format!("`{}` holds JSON documents, which keep their case", self.name);
            mistakes.push(Mistake::new(at.clone(), message));
        }
    }

    fn check_default(&self, plan: &ColumnPlan, mistakes: &mut Vec<Mistake>) {
        if let Some(default) = &self.clean.default
            && let Err(found) = ColumnBuilder::new(plan, 1).push(default.as_bytes())
        {
            let at = self.default_at.clone();
            mistakes.push(Mistake::new(at, found.to_string()));
        }
    }
}

impl StepPlan for Clean {
    fn push_down(&self, plan: &mut ReadPlan) -> Result<bool, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let names: Vec<&str> = plan.columns.iter().map(|column| column.name.as_str()).collect();
        let columns = self.resolve(&names, &mut mistakes);
        let mut pushed = true;
        let mut cleaned = plan.clone();
        for (into, mut column) in cleaned.columns.iter_mut().zip(columns) {
            into.name.clone_from(&column.name);
            if let Some(nested) = &into.nested {
                column.refuse_nested(nested, &mut mistakes);
                continue;
            }
            if into.field_type == FieldType::Json {
                column.spare_json(&mut mistakes);
            }
            let mut plain = into.clone();
            plain.clean = text::Clean::default();
            column.check_default(&plain, &mut mistakes);
            match compose(&into.clean, &column.clean) {
                Some(both) => into.clean = both,
                None => pushed = false,
            }
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        if pushed {
            *plan = cleaned;
        }
        Ok(pushed)
    }

    fn bind(&self, input: &SchemaRef, _: &BindContext<'_>) -> Result<Bound, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let columns = self.resolve(&options::names(input), &mut mistakes);
        let (mut fields, mut actions) = (Vec::new(), Vec::new());
        for (field, mut column) in input.fields().iter().zip(columns) {
            let mut output = field.as_ref().clone().with_name(&column.name);
            let mut action = Action::Keep;
            if field.data_type().is_nested() {
                column.refuse_nested(field, &mut mistakes);
            } else if field.data_type().is_string() {
                if is_json(field) {
                    column.spare_json(&mut mistakes);
                    let plan = ColumnPlan::new(&column.name, FieldType::Json);
                    column.check_default(&plan, &mut mistakes);
                }
                output = output.with_data_type(DataType::Utf8View);
                action = match column.clean.is_noop() {
                    true if field.data_type() == &DataType::Utf8View => Action::Keep,
                    _ => Action::Text(column.clean),
                };
            } else if column.clean.default.is_some() {
                match default_of(field, &column) {
                    Ok(value) => action = Action::Fill(value),
                    Err(mistake) => mistakes.push(mistake),
                }
            }
            fields.push(output);
            actions.push(action);
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let output = Arc::new(Schema::new(fields).with_metadata(input.metadata().clone()));
        let local = BoundClean { schema: Arc::clone(&output), actions };
        let local: Option<Box<dyn Step>> = Some(Box::new(local));
        Ok(Bound { local, ordered: None, output, grain: Grain::Preserves })
    }
}

/// The default of a typed column, parsed, as an array of one value.
fn default_of(field: &Field, column: &Column) -> Result<ArrayRef, Mistake> {
    let at = column.default_at.clone();
    let data_type = field.data_type();
    let read_as = match FieldType::of(field) {
        Some(field_type) => field_type,
        None if data_type.is_integer() => FieldType::Int,
        None if data_type.is_floating() => FieldType::Double,
        None => {
            let message = format!("`{}` takes no default: its type is {data_type}", column.name);
            return Err(Mistake::new(at, message).hint("cast it first"));
        }
    };
    let mut builder = ColumnBuilder::new(&ColumnPlan::new(&column.name, read_as), 1);
    let text = column.clean.default.as_deref().unwrap_or_default();
    builder.push(text.as_bytes()).map_err(|found| Mistake::new(at.clone(), found.to_string()))?;
    let value = cast(&builder.finish(), data_type)
        .ok()
        .filter(|value| value.is_valid(0) || text.is_empty())
        .ok_or_else(|| Mistake::new(at, format!("`{text}` is not a {data_type}")))?;
    Ok(value)
}

enum Action {
    Keep,
    Text(text::Clean),
    Fill(ArrayRef),
}

struct BoundClean {
    schema: SchemaRef,
    actions: Vec<Action>,
}

impl Step for BoundClean {
    fn apply(&self, batch: Batch, _: &mut Findings) -> Result<Batch> {
        let columns = batch.columns().columns().iter().zip(&self.actions);
        let columns = columns
            .map(|(column, action)| match action {
                Action::Keep => Ok(Arc::clone(column)),
                Action::Text(clean) => clean_texts(column, clean),
                Action::Fill(value) if column.null_count() > 0 => {
                    let missing = arrow_array::BooleanArray::from_iter(
                        (0..column.len()).map(|row| Some(column.is_null(row))),
                    );
                    Ok(zip(&missing, &Scalar::new(Arc::clone(value)), column)?)
                }
                Action::Fill(_) => Ok(Arc::clone(column)),
            })
            .collect::<Result<Vec<ArrayRef>>>()?;
        batch.with_columns(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }

    fn settles(&self) -> bool {
        false
    }
}

fn clean_texts(column: &ArrayRef, clean: &text::Clean) -> Result<ArrayRef> {
    let column = cast(column, &DataType::Utf8View)?;
    let texts = column.as_string_view();
    let changes = |text: Option<&str>| match (text, clean.apply(text)) {
        // Mostly the very bytes: a default may be just as long.
        (Some(text), Some(Cow::Borrowed(cleaned))) => !std::ptr::eq(cleaned, text),
        (before, after) => after.as_deref() != before,
    };
    if !texts.iter().any(changes) {
        return Ok(column);
    }
    let mut cleaned = StringViewBuilder::with_capacity(texts.len());
    for text in texts {
        cleaned.append_option(clean.apply(text));
    }
    Ok(Arc::new(cleaned.finish()))
}

impl Serialize for Trim {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Trim::None => serializer.serialize_str("none"),
            Trim::All => serializer.serialize_str("all"),
            Trim::Columns(columns) => columns.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Trim {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Trim;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`all`, `none` or a list of columns")
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<Trim, E> {
                match word {
                    "all" => Ok(Trim::All),
                    "none" => Ok(Trim::None),
                    _ => Err(E::invalid_value(de::Unexpected::Str(word), &self)),
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Trim, A::Error> {
                let list = de::value::SeqAccessDeserializer::new(list);
                Vec::deserialize(list).map(Trim::Columns)
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

impl JsonSchema for Trim {
    fn schema_name() -> Cow<'static, str> {
        "Trim".into()
    }

    fn schema_id() -> Cow<'static, str> {
        concat!(module_path!(), "::Trim").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> JsonSchemaOf {
        json_schema!({
            "description": "`all`, `none`, or a list of columns.",
            "oneOf": [
                {"type": "string", "enum": ["all", "none"]},
                {"type": "array", "items": {"type": "string"}}
            ]
        })
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(text) => Ok(Self(text)),
            value @ (serde_json::Value::Number(_) | serde_json::Value::Bool(_)) => {
                Ok(Self(value.to_string()))
            }
            _ => Err(de::Error::custom("a text, a number or true or false is expected here")),
        }
    }
}

impl JsonSchema for Text {
    fn schema_name() -> Cow<'static, str> {
        "Text".into()
    }

    fn schema_id() -> Cow<'static, str> {
        concat!(module_path!(), "::Text").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> JsonSchemaOf {
        json_schema!({
            "description": "A text; a number or a truth value is taken as text.",
            "type": ["string", "number", "boolean"]
        })
    }
}
