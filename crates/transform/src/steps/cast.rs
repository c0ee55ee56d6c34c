//! `cast`: types of columns.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{Schema, SchemaRef};
use gristmill_core::text::{ColumnBuilder, ColumnPlan, parse};
use gristmill_core::{
    Batch, BindContext, Bound, FieldType, Findings, Grain, Mistake, Pointer, ReadPlan, Reason,
    Result, Stage, Step, StepKind, StepPlan,
};
use indexmap::IndexMap;
use schemars::{JsonSchema, Schema as JsonSchemaOf, SchemaGenerator, json_schema};
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::convert::Conversion;
use crate::options;

/// The registry entry.
pub(super) const KIND: StepKind = StepKind {
    name: "cast",
    about: "Changes the types of columns; values that do not fit are rejected.",
    example: "cast: {aum: \"decimal(18, 2)\", as_of_date: {type: date, formats: [\"%d/%m/%Y\"]}}\n",
    schema: |generator| generator.subschema_for::<Cast>(),
    plan: |options, _| {
        let Value::Object(columns) = options else {
            return Err(options::read::<Cast>(options).err().unwrap_or_default());
        };
        let (mut cast, mut mistakes) = (Cast::new(), Vec::new());
        for (name, to) in columns {
            match CastTo::deserialize(to) {
                Ok(to) => drop(cast.0.insert(name.clone(), to)),
                Err(found) => {
                    mistakes.push(Mistake::new(Pointer::root().key(name), found.to_string()));
                }
            }
        }
        mistakes.extend(cast.check());
        options::planned(cast, mistakes)
    },
};

/// Types by column. A value that is not of the type takes its record to the rejects. Nothing is
/// rounded or cut off: 300.5 is not an int, 1.005 not a decimal(18, 2). A timestamp becomes the
/// date it is on, a date its midnight, a list or struct its JSON text.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Cast(IndexMap<String, CastTo>);

/// A type, with the formats of dates and times where they are not ISO 8601.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CastTo {
    /// The type.
    pub field_type: FieldType,
    /// `strftime` formats of dates, times and timestamps in text, tried in order.
    pub formats: Vec<String>,
}

impl Cast {
    /// No columns yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives a column a type.
    #[must_use]
    pub fn column(mut self, name: impl Into<String>, to: impl Into<CastTo>) -> Self {
        self.0.insert(name.into(), to.into());
        self
    }

    fn check(&self) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        for (name, to) in &self.0 {
            let at = Pointer::root().key(name).key("formats");
            let timely = matches!(
                to.field_type,
                FieldType::Date | FieldType::Time | FieldType::Timestamp | FieldType::TimestampTz
            );
            if !timely && !to.formats.is_empty() {
                let message = format!("formats are for dates and times, not for {}", to.field_type);
                mistakes.push(Mistake::new(at.clone(), message));
            }
            for (i, format) in to.formats.iter().enumerate() {
                if !parse::is_format(format) {
                    let message = format!("`{format}` is not a strftime format");
                    mistakes.push(
                        Mistake::new(at.index(i), message)
                            .hint("for example %d/%m/%Y for 31/12/2024, %H:%M:%S for 23:59:59"),
                    );
                }
            }
        }
        mistakes
    }
}

impl CastTo {
    /// With these formats of dates and times.
    #[must_use]
    pub fn formats<S: Into<String>>(mut self, formats: impl IntoIterator<Item = S>) -> Self {
        self.formats = formats.into_iter().map(Into::into).collect();
        self
    }
}

impl From<FieldType> for CastTo {
    fn from(field_type: FieldType) -> Self {
        Self { field_type, formats: Vec::new() }
    }
}

impl StepPlan for Cast {
    fn push_down(&self, plan: &mut ReadPlan) -> Result<bool, Vec<Mistake>> {
        let mut mistakes = self.check();
        let names: Vec<&str> = plan.columns.iter().map(|column| column.name.as_str()).collect();
        let mut found = Vec::new();
        for (name, to) in &self.0 {
            match options::find(&names, name, Pointer::root().key(name)) {
                Ok(place) => found.push((place, name, to)),
                Err(mistake) => mistakes.push(mistake.on_key()),
            }
        }
        let mut pushed = true;
        let mut cast = plan.clone();
        for (place, name, to) in found {
            let column = &mut cast.columns[place];
            // Text that is already parsed as one type and then cast to another is two steps.
            let other = column.field_type != to.field_type || column.formats != to.formats;
            if column.declared && column.field_type != FieldType::String && other {
                pushed = false;
                continue;
            }
            column.field_type = to.field_type;
            column.formats.clone_from(&to.formats);
            column.declared = true;
            column.nested = None;
            if let Some(default) = &column.clean.default {
                let plain = ColumnPlan { clean: Default::default(), ..column.clone() };
                if let Err(wrong) = ColumnBuilder::new(&plain, 1).push(default.as_bytes()) {
                    let message = format!("the default of `{name}` does not fit: {wrong}");
                    mistakes.push(Mistake::new(Pointer::root().key(name), message));
                }
            }
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        if pushed {
            *plan = cast;
        }
        Ok(pushed)
    }

    fn bind(&self, input: &SchemaRef, _: &BindContext<'_>) -> Result<Bound, Vec<Mistake>> {
        let mut mistakes = self.check();
        let names = options::names(input);
        let mut fields = input.fields().to_vec();
        let mut conversions = Vec::new();
        for (name, to) in &self.0 {
            let at = Pointer::root().key(name);
            let place = match options::find(&names, name, at.clone()) {
                Ok(place) => place,
                Err(mistake) => {
                    mistakes.push(mistake.on_key());
                    continue;
                }
            };
            match Conversion::new(&fields[place], to) {
                Ok(conversion) => conversions.push((place, conversion)),
                Err(message) => mistakes.push(Mistake::new(at, message)),
            }
            fields[place] = Arc::new(to.field_type.field(name));
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let output = Arc::new(Schema::new(fields).with_metadata(input.metadata().clone()));
        let local = BoundCast { schema: Arc::clone(&output), conversions };
        let local: Option<Box<dyn Step>> = Some(Box::new(local));
        Ok(Bound { local, ordered: None, output, grain: Grain::Preserves })
    }
}

struct BoundCast {
    schema: SchemaRef,
    conversions: Vec<(usize, Conversion)>,
}

impl Step for BoundCast {
    fn apply(&self, batch: Batch, _: &mut Findings) -> Result<Batch> {
        let mut columns = batch.columns().columns().to_vec();
        let mut wrong = Vec::new();
        for (place, conversion) in &self.conversions {
            let (converted, failures) = conversion.apply(&columns[*place])?;
            columns[*place] = converted;
            wrong.extend(failures.into_iter().map(|(row, found)| (row, *place, found)));
        }
        wrong.sort_by_key(|(row, place, _)| (*row, *place));
        let columns = RecordBatch::try_new(Arc::clone(&self.schema), columns)?;
        let mut batch = batch.with_columns(columns)?;
        for (row, place, found) in wrong {
            let name = self.schema.field(place).name().clone();
            let reason = Reason::field(name, "type", found.to_string(), Some(found.value));
            batch.add_flaw(row, Stage::Type, reason);
        }
        Ok(batch)
    }

    fn settles(&self) -> bool {
        false
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Long {
    #[serde(rename = "type")]
    field_type: FieldType,
    #[serde(default)]
    formats: Vec<String>,
}

impl Serialize for CastTo {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.formats.is_empty() {
            return self.field_type.serialize(serializer);
        }
        Long { field_type: self.field_type, formats: self.formats.clone() }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for CastTo {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = CastTo;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a type, or a mapping with `type` and `formats`")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<CastTo, E> {
                name.parse::<FieldType>().map(CastTo::from).map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<CastTo, A::Error> {
                let map = de::value::MapAccessDeserializer::new(map);
                let Long { field_type, formats } = Long::deserialize(map)?;
                Ok(CastTo { field_type, formats })
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

impl JsonSchema for CastTo {
    fn schema_name() -> Cow<'static, str> {
        "CastTo".into()
    }

    fn schema_id() -> Cow<'static, str> {
        concat!(module_path!(), "::CastTo").into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> JsonSchemaOf {
        let field_type = generator.subschema_for::<FieldType>();
        json_schema!({
            "description": "A type, or a type with the formats of its dates and times.",
            "oneOf": [
                field_type,
                {
                    "type": "object",
                    "properties": {
                        "type": field_type,
                        "formats": {
                            "description": "`strftime` formats of dates, times and timestamps in text, tried in order.",
                            "type": "array",
                            "items": {"type": "string"}
                        }
                    },
                    "required": ["type"],
                    "additionalProperties": false
                }
            ]
        })
    }
}
