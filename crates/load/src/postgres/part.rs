//! What workers make of batches: rows for COPY.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_schema::{Field, SchemaRef};
use gristmill_core::Result;
use gristmill_database::copy::Writer;
use gristmill_database::types::Form;

use super::target::Target;
use crate::part::{Layout, Wire};

/// The binary form of COPY.
pub(crate) struct Binary;

impl Wire for Binary {
    type Form = Form;
    type Writer<'a> = Writer<'a>;

    fn writer<'a>(
        columns: impl Iterator<Item = (&'a ArrayRef, &'a Field, Form)>,
        numbered: bool,
    ) -> Result<Writer<'a>> {
        Writer::new(columns, numbered)
    }
}

/// How records become rows of a table, or numbered ones of its staging table.
pub(crate) fn layout(target: &Target, schema: &SchemaRef, numbered: bool) -> Layout<Binary> {
    Layout {
        schema: Arc::clone(schema),
        forms: target.columns.iter().map(|column| column.form).collect(),
        keys: target.keys().collect(),
        time: target.time,
        numbered,
        hashed: numbered && target.has_exact_keys(),
    }
}
