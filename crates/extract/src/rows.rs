//! Records that stand in the pipeline file itself: small tables to look things up in, and tests.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{Schema, SchemaRef};
use gristmill_core::text::{ColumnBuilder, ColumnPlan};
use gristmill_core::{
    Batch, Chunk, Error, ErrorKind, ExtractContext, Extractor, ExtractorKind, FieldType, Findings,
    Mistake, Origin, Pointer, ReadPlan, Result,
};
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The registry's entry.
pub const KIND: ExtractorKind = ExtractorKind {
    name: "rows",
    about: "Records that stand in the pipeline file itself.",
    example: "rows:\n  - {region: EU, region_name: Europe}\n  - {region: NA, region_name: North America}\n",
    schema: |generator| generator.subschema_for::<Rows>(),
    check: |item| match serde_json::from_value::<Rows>(item.clone()) {
        Ok(rows) => rows.columns().err().unwrap_or_default(),
        Err(error) => vec![Mistake::new(Pointer::root(), error.to_string())],
    },
    open: |item, context| {
        let rows: Rows = serde_json::from_value(item.clone()).map_err(|error| {
            Error::new(ErrorKind::Configuration, "the options of `rows` cannot be read")
                .caused_by(error)
        })?;
        rows.extractor(context)
    },
};

/// Rows of a batch.
const BATCH: usize = 8192;

/// Records that stand in the pipeline file itself.
///
/// ```
/// use gristmill_extract::Rows;
/// use serde_json::json;
///
/// let regions = Rows::new([
///     json!({"region": "EU", "region_name": "Europe"}),
///     json!({"region": "NA", "region_name": "North America"}),
/// ]);
/// assert_eq!(regions.rows[1]["region"], "NA");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Options")]
pub struct Rows {
    /// The records, each a mapping of columns to values. A column that a record does not have is
    /// null there.
    pub rows: Vec<Map<String, Value>>,
    /// Types of columns. Others have the type of their values: bool, int, double or string; json
    /// for lists and mappings.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    #[schemars(with = "BTreeMap<String, FieldType>")]
    pub columns: IndexMap<String, FieldType>,
}

impl Rows {
    /// These records. What is no object has no columns.
    pub fn new(rows: impl IntoIterator<Item = Value>) -> Self {
        let rows = rows.into_iter().map(|row| match row {
            Value::Object(row) => row,
            _ => Map::new(),
        });
        Self { rows: rows.collect(), columns: IndexMap::new() }
    }

    /// Declares the type of a column.
    #[must_use]
    pub fn column(mut self, name: impl Into<String>, field_type: FieldType) -> Self {
        self.columns.insert(name.into(), field_type);
        self
    }

    /// Makes columns of them.
    ///
    /// # Errors
    /// When a value is not of its column's type.
    pub fn extractor(&self, _: &ExtractContext) -> Result<Box<dyn Extractor>> {
        let columns = self.columns().map_err(|mistakes| {
            let said = mistakes.iter().map(ToString::to_string).collect::<Vec<_>>();
            Error::new(ErrorKind::Configuration, said.join("; "))
        })?;
        Ok(Box::new(RowsExtractor { schema: columns.schema(), columns: Some(columns) }))
    }

    /// Names and types, in the order in which they first come; then what is only declared.
    fn types(&self) -> IndexMap<&str, FieldType> {
        let mut types: IndexMap<&str, Option<FieldType>> = IndexMap::new();
        for (name, value) in self.rows.iter().flatten() {
            let known = types.entry(name).or_default();
            *known = match (*known, type_of(value)) {
                (known, None) => known,
                (None, new) => new,
                (Some(known), Some(new)) if known == new => Some(known),
                (
                    Some(FieldType::Int | FieldType::Double),
                    Some(FieldType::Int | FieldType::Double),
                ) => Some(FieldType::Double),
                (Some(FieldType::Json), _) | (_, Some(FieldType::Json)) => Some(FieldType::Json),
                _ => Some(FieldType::String),
            };
        }
        let mut types: IndexMap<&str, FieldType> = types
            .into_iter()
            .map(|(name, known)| (name, known.unwrap_or(FieldType::String)))
            .collect();
        types.extend(self.columns.iter().map(|(name, declared)| (name.as_str(), *declared)));
        types
    }

    fn columns(&self) -> Result<RecordBatch, Vec<Mistake>> {
        let types = self.types();
        let at = Pointer::root().key("rows");
        if types.is_empty() {
            return Err(vec![
                Mistake::new(at, "there are no records, and no columns")
                    .hint("without records, declare the columns with `columns:`"),
            ]);
        }
        let mut mistakes = Vec::new();
        let mut fields = Vec::with_capacity(types.len());
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(types.len());
        for (name, field_type) in types {
            let plan = ColumnPlan::new(name, field_type);
            let mut builder = ColumnBuilder::new(&plan, self.rows.len());
            for (index, row) in self.rows.iter().enumerate() {
                let pushed = match row.get(name) {
                    None | Some(Value::Null) => {
                        builder.append_null();
                        Ok(())
                    }
                    Some(Value::String(text)) if field_type != FieldType::Json => {
                        builder.push_str(text)
                    }
                    Some(value) => builder.push_str(&value.to_string()),
                };
                if let Err(found) = pushed {
                    mistakes.push(Mistake::new(at.index(index).key(name), found.to_string()));
                }
            }
            fields.push(plan.field());
            arrays.push(builder.finish());
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows.len()));
        RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)
            .map_err(|error| vec![Mistake::new(at, error.to_string())])
    }
}

impl From<Rows> for Value {
    /// The item that says the same in a pipeline file.
    fn from(rows: Rows) -> Self {
        serde_json::to_value(rows).expect("names are texts")
    }
}

/// The type that a value alone suggests; none for a null.
fn type_of(value: &Value) -> Option<FieldType> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(_) => FieldType::Bool,
        Value::Number(number) if number.is_i64() => FieldType::Int,
        Value::Number(_) => FieldType::Double,
        Value::String(_) => FieldType::String,
        Value::Array(_) | Value::Object(_) => FieldType::Json,
    })
}

struct RowsExtractor {
    schema: SchemaRef,
    columns: Option<RecordBatch>,
}

impl Extractor for RowsExtractor {
    fn read_plan(&mut self) -> Result<Option<ReadPlan>> {
        Ok(None)
    }

    fn begin(&mut self, _: Option<ReadPlan>) -> Result<SchemaRef> {
        Ok(Arc::clone(&self.schema))
    }

    fn next_chunk(&mut self) -> Result<Option<Box<dyn Chunk>>> {
        let chunk = self.columns.take().map(|columns| {
            let rows = 0..columns.num_rows();
            Box::new(RowsChunk { columns, rows }) as Box<dyn Chunk>
        });
        Ok(chunk)
    }

    fn total_bytes(&self) -> Option<u64> {
        Some(0)
    }

    fn bytes_read(&self) -> u64 {
        0
    }
}

struct RowsChunk {
    columns: RecordBatch,
    rows: Range<usize>,
}

impl Chunk for RowsChunk {
    fn size(&self) -> usize {
        self.columns.get_array_memory_size().max(1)
    }

    fn starts_source(&self) -> bool {
        true
    }

    fn next_batch(&mut self, _: &mut Findings) -> Result<Option<Batch>> {
        if self.rows.is_empty() {
            return Ok(None);
        }
        let count = self.rows.len().min(BATCH);
        let columns = self.columns.slice(self.rows.start, count);
        self.rows.start += count;
        let origin = Arc::new(Origin::columns("rows".into(), columns.clone()));
        Batch::whole(columns, origin).map(Some)
    }
}
