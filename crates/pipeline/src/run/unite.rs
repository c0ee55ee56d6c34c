//! Sources that do not have the same columns, brought to the same ones.

use std::sync::Arc;

use arrow_schema::{FieldRef, Schema, SchemaRef};
use gristmill_core::types::type_name;
use gristmill_core::{Chunk, Error, ErrorKind, Extractor, ReadPlan, Result};
use gristmill_extract::adapt::Adaptation;
use gristmill_extract::file::Drift;
use serde_json::Value;

/// A source with the columns that it gives.
pub(super) type Begun = (Box<dyn Extractor>, SchemaRef);

/// Lets each source give the columns that the policy says.
///
/// # Errors
/// When sources have columns of one name and different types.
pub(super) fn unite(sources: Vec<Begun>, drift: Drift) -> Result<Vec<Begun>> {
    let mut fields: Vec<FieldRef> = Vec::new();
    for (number, (_, schema)) in (1..).zip(&sources) {
        for field in schema.fields() {
            match fields.iter().find(|known| known.name() == field.name()) {
                Some(known) if type_name(known) == type_name(field) => {}
                Some(known) => {
                    let message = format!(
                        "the sources of `extract` do not agree on `{}`: it is of type {}, and in source {number} of type {}",
                        field.name(),
                        type_name(known),
                        type_name(field)
                    );
                    return Err(Error::new(ErrorKind::Schema, message)
                        .hint("declare its type with `columns:` on each source"));
                }
                None if number == 1 || drift == Drift::Fill => {
                    fields.push(Arc::new(field.as_ref().clone().with_nullable(true)));
                }
                None => {}
            }
        }
    }
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    let adapt = |(inner, own): Begun| -> Begun {
        match Adaptation::new(&own, &schema) {
            Some(adaptation) => (Box::new(Adapted { inner, adaptation }), Arc::clone(&schema)),
            None => (inner, Arc::clone(&schema)),
        }
    };
    Ok(sources.into_iter().map(adapt).collect())
}

/// A source whose batches get other columns.
struct Adapted {
    inner: Box<dyn Extractor>,
    adaptation: Adaptation,
}

impl Extractor for Adapted {
    fn read_plan(&mut self) -> Result<Option<ReadPlan>> {
        self.inner.read_plan()
    }

    fn begin(&mut self, plan: Option<ReadPlan>) -> Result<SchemaRef> {
        self.inner.begin(plan)
    }

    fn next_chunk(&mut self) -> Result<Option<Box<dyn Chunk>>> {
        let chunk = self.inner.next_chunk()?;
        Ok(chunk.map(|chunk| self.adaptation.wrap(chunk)))
    }

    fn total_bytes(&self) -> Option<u64> {
        self.inner.total_bytes()
    }

    fn bytes_read(&self) -> u64 {
        self.inner.bytes_read()
    }

    fn notes(&self) -> Vec<String> {
        self.inner.notes()
    }

    fn bookmarks(&self) -> Vec<(String, Value)> {
        self.inner.bookmarks()
    }

    fn empty(&self) -> Option<&str> {
        self.inner.empty()
    }
}
