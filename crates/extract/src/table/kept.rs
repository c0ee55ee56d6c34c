//! Tables of which only some columns are read: those that leading steps keep.

use std::sync::Arc;

use arrow_schema::SchemaRef;
use gristmill_core::{Chunk, Error, ErrorKind, ExtractContext, Extractor, ReadPlan, Result};
use serde_json::Value;

use super::source::{Database, Wanted};
use super::{mysql, postgres, sqlite};

/// A table or a query that is opened again, with other columns, while nothing was read.
pub(super) struct Kept {
    wanted: Wanted,
    context: ExtractContext,
    /// `None` while it is opened again.
    inner: Option<Box<dyn Extractor>>,
    /// Whether records come in the same order whatever columns they have.
    has_order: bool,
    schema: Option<SchemaRef>,
}

impl Kept {
    /// Opens a source with all its columns.
    pub(super) fn open(wanted: Wanted, context: &ExtractContext) -> Result<Self> {
        let (inner, has_order) = open(&wanted, context)?;
        let context = context.clone();
        Ok(Self { wanted, context, inner: Some(inner), has_order, schema: None })
    }

    fn inner(&mut self) -> Result<&mut dyn Extractor> {
        match &mut self.inner {
            Some(inner) => Ok(inner.as_mut()),
            None => Err(Error::internal("a table that could not be opened again was read")),
        }
    }
}

/// A source, and whether its records come in the same order whatever columns are asked for. SQLite
/// gives some columns in the order of an index that has them, not in that of the table; so do MariaDB
/// and MySQL where they are not told which order it is.
fn open(wanted: &Wanted, context: &ExtractContext) -> Result<(Box<dyn Extractor>, bool)> {
    Ok(match &wanted.database {
        Database::Postgres(address) => {
            (Box::new(postgres::PostgresExtractor::open(wanted, address, context)?), true)
        }
        Database::MySql(address) => {
            let (extractor, has_order) = mysql::open(wanted, address, context)?;
            (Box::new(extractor), has_order)
        }
        Database::Sqlite(path) => (Box::new(sqlite::open(wanted, path, context)?), false),
    })
}

impl Extractor for Kept {
    fn read_plan(&mut self) -> Result<Option<ReadPlan>> {
        self.inner()?.read_plan()
    }

    fn begin(&mut self, plan: Option<ReadPlan>) -> Result<SchemaRef> {
        let schema = self.inner()?.begin(plan)?;
        self.schema = Some(Arc::clone(&schema));
        Ok(schema)
    }

    /// Of a query it is not known what its columns cost, or what else they do.
    fn keep(&mut self, places: &[usize]) -> Result<bool> {
        let Some(schema) = self.schema.as_ref().filter(|_| self.has_order) else {
            return Ok(false);
        };
        let kept = schema.project(places)?;
        let names: Vec<&str> = kept.fields().iter().map(|field| field.name().as_str()).collect();
        let needs = self.wanted.cursor.as_ref().map(|cursor| cursor.column.as_str());
        if names.is_empty() || needs.is_some_and(|needed| !names.contains(&needed)) {
            return Ok(false);
        }
        let Some(relation) = self.wanted.relation.keep(&names) else { return Ok(false) };
        self.wanted.relation = relation;
        self.wanted.columns.retain(|name, _| names.contains(&name.as_str()));
        self.inner = None;
        let (inner, has_order) = open(&self.wanted, &self.context)?;
        self.has_order = has_order;
        let inner = self.inner.insert(inner);
        match inner.begin(None)? == Arc::new(kept) {
            true => Ok(true),
            false => Err(Error::new(
                ErrorKind::Transient,
                format!(
                    "the columns of `{}` changed while it was opened",
                    self.wanted.relation.name
                ),
            )
            .hint("run again")),
        }
    }

    fn next_chunk(&mut self) -> Result<Option<Box<dyn Chunk>>> {
        self.inner()?.next_chunk()
    }

    fn total_bytes(&self) -> Option<u64> {
        self.inner.as_ref()?.total_bytes()
    }

    fn bytes_read(&self) -> u64 {
        self.inner.as_ref().map_or(0, |inner| inner.bytes_read())
    }

    fn notes(&self) -> Vec<String> {
        self.inner.as_ref().map_or_else(Vec::new, |inner| inner.notes())
    }

    fn bookmarks(&self) -> Vec<(String, Value)> {
        self.inner.as_ref().map_or_else(Vec::new, |inner| inner.bookmarks())
    }
}
