//! `flatten`: fields of structs as columns of their own.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow_schema::{DataType, FieldRef, Schema, SchemaRef};
use arrow_select::nullif::nullif;
use gristmill_core::types::{is_json, type_name};
use gristmill_core::{
    Batch, BindContext, Bound, Findings, Grain, Mistake, Pointer, Result, Step, StepKind, StepPlan,
};
use schemars::{JsonSchema, Schema as JsonSchemaOf, SchemaGenerator, json_schema};
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::options;

/// The registry entry.
pub(super) const KIND: StepKind = StepKind {
    name: "flatten",
    about: "Makes columns of the fields of structs: `address` becomes `address_city`, `address_zip`.",
    example: "flatten: {columns: [address], separator: \"_\"}\n",
    schema: |generator| generator.subschema_for::<Flatten>(),
    plan: |options, _| {
        let plan: Flatten = options::read(options)?;
        let mut mistakes = Vec::new();
        if plan.depth == Some(0) {
            let at = Pointer::root().key("depth");
            mistakes.push(Mistake::new(at, "a depth of 0 flattens nothing").hint("1 is the least"));
        }
        options::planned(plan, mistakes)
    },
};

/// Puts the fields of struct columns in their place, named `column` + separator + `field`. A null
/// struct gives nulls. Lists stay: see `explode`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Flatten {
    /// The struct columns: `all`, or a list.
    pub columns: Structs,
    /// What stands between the names.
    pub separator: String,
    /// How many levels of structs are flattened; all when it is left out.
    pub depth: Option<u32>,
}

/// Which struct columns are flattened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Structs {
    /// Every one.
    #[default]
    All,
    /// These.
    Columns(Vec<String>),
}

impl Default for Flatten {
    fn default() -> Self {
        Self { columns: Structs::All, separator: "_".to_owned(), depth: None }
    }
}

impl Flatten {
    /// Flattens every struct.
    pub fn all() -> Self {
        Self::default()
    }

    /// Flattens these columns.
    pub fn columns<S: Into<String>>(columns: impl IntoIterator<Item = S>) -> Self {
        let columns = Structs::Columns(columns.into_iter().map(Into::into).collect());
        Self { columns, ..Self::default() }
    }

    /// Puts this between names instead of `_`.
    #[must_use]
    pub fn separator(mut self, separator: impl Into<String>) -> Self {
        self.separator = separator.into();
        self
    }

    /// Flattens so many levels at most.
    #[must_use]
    pub fn depth(mut self, depth: u32) -> Self {
        self.depth = Some(depth);
        self
    }

    /// How deep each column is flattened, in levels.
    fn levels(&self, input: &Schema) -> Result<Vec<u32>, Vec<Mistake>> {
        let depth = self.depth.unwrap_or(u32::MAX);
        let Structs::Columns(columns) = &self.columns else {
            return Ok(vec![depth; input.fields().len()]);
        };
        let names = options::names(input);
        let mut levels = vec![0; names.len()];
        let mut mistakes = Vec::new();
        for (i, name) in columns.iter().enumerate() {
            let at = Pointer::root().key("columns").index(i);
            match options::find(&names, name, at.clone()) {
                Ok(place) => {
                    levels[place] = depth;
                    mistakes.extend(not_a_struct(input.field(place), at));
                }
                Err(mistake) => mistakes.push(mistake),
            }
        }
        if mistakes.is_empty() { Ok(levels) } else { Err(mistakes) }
    }

    fn fields(&self, field: &FieldRef, levels: u32, nullable: bool, out: &mut Vec<FieldRef>) {
        match field.data_type() {
            DataType::Struct(inner) if levels > 0 => {
                for child in inner {
                    let name = format!("{}{}{}", field.name(), self.separator, child.name());
                    let child = Arc::new(child.as_ref().clone().with_name(name));
                    self.fields(&child, levels - 1, nullable || field.is_nullable(), out);
                }
            }
            _ => {
                let nullable = nullable || field.is_nullable();
                out.push(Arc::new(field.as_ref().clone().with_nullable(nullable)));
            }
        }
    }
}

fn not_a_struct(field: &arrow_schema::Field, at: Pointer) -> Option<Mistake> {
    if matches!(field.data_type(), DataType::Struct(_)) {
        return None;
    }
    let message = format!("`{}` is not a struct: its type is {}", field.name(), type_name(field));
    let mistake = Mistake::new(at, message);
    Some(if is_json(field) {
        mistake.hint("read the source with `nested: struct` to have its objects as structs")
    } else {
        mistake
    })
}

impl StepPlan for Flatten {
    fn bind(&self, input: &SchemaRef, _: &BindContext<'_>) -> Result<Bound, Vec<Mistake>> {
        let levels = self.levels(input)?;
        let mut fields = Vec::new();
        for (field, levels) in input.fields().iter().zip(&levels) {
            self.fields(field, *levels, false, &mut fields);
        }
        if let Some(twice) = options::duplicate(fields.iter().map(|field| field.name().as_str())) {
            let message = format!("there would be two columns `{twice}`");
            let hint = "take another `separator`, or rename or drop one of them first";
            return Err(vec![Mistake::new(Pointer::root(), message).hint(hint)]);
        }
        let output = Arc::new(Schema::new(fields).with_metadata(input.metadata().clone()));
        let local = BoundFlatten { schema: Arc::clone(&output), levels };
        let local: Option<Box<dyn Step>> = Some(Box::new(local));
        Ok(Bound { local, ordered: None, output, grain: Grain::Preserves })
    }
}

struct BoundFlatten {
    schema: SchemaRef,
    levels: Vec<u32>,
}

impl Step for BoundFlatten {
    fn apply(&self, batch: Batch, _: &mut Findings) -> Result<Batch> {
        let mut columns = Vec::with_capacity(self.schema.fields().len());
        for (column, levels) in batch.columns().columns().iter().zip(&self.levels) {
            flatten(column, *levels, &mut columns)?;
        }
        batch.with_columns(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}

fn flatten(column: &ArrayRef, levels: u32, out: &mut Vec<ArrayRef>) -> Result<()> {
    if levels == 0 || !matches!(column.data_type(), DataType::Struct(_)) {
        out.push(Arc::clone(column));
        return Ok(());
    }
    // What stands under a null struct is undefined: it becomes null too.
    let missing = column.nulls().map(|nulls| BooleanArray::new(!nulls.inner(), None));
    for child in column.as_struct().columns() {
        match &missing {
            Some(missing) => flatten(&nullif(child, missing)?, levels - 1, out)?,
            None => flatten(child, levels - 1, out)?,
        }
    }
    Ok(())
}

impl Serialize for Structs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Structs::All => serializer.serialize_str("all"),
            Structs::Columns(columns) => columns.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Structs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Structs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`all` or a list of columns")
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<Structs, E> {
                match word {
                    "all" => Ok(Structs::All),
                    _ => Err(E::invalid_value(de::Unexpected::Str(word), &self)),
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Structs, A::Error> {
                let list = de::value::SeqAccessDeserializer::new(list);
                Vec::deserialize(list).map(Structs::Columns)
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

impl JsonSchema for Structs {
    fn schema_name() -> Cow<'static, str> {
        "Structs".into()
    }

    fn schema_id() -> Cow<'static, str> {
        concat!(module_path!(), "::Structs").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> JsonSchemaOf {
        json_schema!({
            "description": "`all`, or a list of columns.",
            "oneOf": [
                {"type": "string", "enum": ["all"]},
                {"type": "array", "items": {"type": "string"}}
            ]
        })
    }
}
