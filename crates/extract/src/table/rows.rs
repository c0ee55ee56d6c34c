//! From the columns of a database to a batch: declared types, and values that do not fit.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use gristmill_core::text::{ColumnBuilder, ColumnPlan};
use gristmill_core::types::type_name;
use gristmill_core::{Batch, FieldType, Origin, Reason, Result, Stage};

/// Columns as they come and as they are wanted.
#[derive(Debug)]
pub(super) struct Columns {
    name: Arc<str>,
    /// The columns as the database gives them.
    pub(super) given: SchemaRef,
    /// The columns with the declared types.
    pub(super) schema: SchemaRef,
    /// The declared types; their columns are given as text.
    declared: Vec<Option<FieldType>>,
}

/// A value of a column that is null in its place: the row, the column, the value.
pub(super) struct Unfit {
    pub(super) row: usize,
    /// `None` when it is the record as a whole that is too long.
    pub(super) column: Option<usize>,
    pub(super) value: String,
}

impl Columns {
    pub(super) fn new(
        name: &Arc<str>,
        given: Vec<Field>,
        declared: Vec<Option<FieldType>>,
    ) -> Self {
        let wanted = given.iter().zip(&declared).map(|(field, declared)| match declared {
            Some(declared) => declared.field(field.name()),
            None => field.clone(),
        });
        let schema = Arc::new(Schema::new(wanted.collect::<Vec<_>>()));
        Self { name: Arc::clone(name), given: Arc::new(Schema::new(given)), schema, declared }
    }

    /// A batch of the columns that the database gave.
    pub(super) fn batch(&self, given: RecordBatch, unfit: Vec<Unfit>) -> Result<Batch> {
        let mut reasons: Vec<(usize, Reason)> = Vec::with_capacity(unfit.len());
        for Unfit { row, column, value } in unfit {
            reasons.push((
                row,
                match column {
                    Some(column) => self.reason(column, value),
                    None => {
                        let message = format!("the record is longer than {value}");
                        Reason::record("record_size", message)
                    }
                },
            ));
        }
        let mut columns = given.columns().to_vec();
        for (i, declared) in self.declared.iter().enumerate() {
            if let Some(declared) = declared {
                columns[i] = self.parse(i, *declared, &columns[i], &mut reasons)?;
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(given.num_rows()));
        let columns =
            RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?;
        let origin = Arc::new(Origin::columns(Arc::clone(&self.name), given));
        let mut batch = Batch::whole(columns, origin)?;
        for (row, reason) in reasons {
            batch.add_flaw(row, Stage::Type, reason);
        }
        Ok(batch)
    }

    /// A column of text as a column of the type that is declared for it.
    fn parse(
        &self,
        column: usize,
        declared: FieldType,
        text: &ArrayRef,
        reasons: &mut Vec<(usize, Reason)>,
    ) -> Result<ArrayRef> {
        let plan = ColumnPlan::new(self.schema.field(column).name(), declared);
        let mut builder = ColumnBuilder::new(&plan, text.len());
        for (row, text) in text.as_string_view().iter().enumerate() {
            match text {
                None => builder.append_null(),
                Some("") if !takes_all(declared) => {
                    builder.append_null();
                    reasons.push((row, self.reason(column, String::new())));
                }
                Some(text) => {
                    if let Err(error) = builder.push_str(text) {
                        reasons.push((row, self.reason(column, error.value)));
                    }
                }
            }
        }
        Ok(builder.finish())
    }

    fn reason(&self, column: usize, value: String) -> Reason {
        let field = self.schema.field(column);
        let shown: String = value.chars().take(100).collect();
        let more = if shown.len() < value.len() { "…" } else { "" };
        let name = type_name(field);
        let article = if name.starts_with(['a', 'e', 'i', 'o', 'I']) { "an" } else { "a" };
        // Any value has a text, but bytes.
        let is_text = matches!(field.data_type(), DataType::Utf8View | DataType::BinaryView);
        let hint = match is_text || value.ends_with(" bytes") {
            true => String::new(),
            false => format!("; with `{}: string` under `columns` it is read", field.name()),
        };
        let message = format!("`{shown}{more}` is not {article} {name}{hint}");
        Reason::field(field.name().clone(), "type", message, Some(value))
    }
}

/// Whether every text is a value of a type.
pub(super) fn takes_all(field_type: FieldType) -> bool {
    matches!(field_type, FieldType::String | FieldType::Json | FieldType::Binary)
}
