//! A folder with files, and everything that an extractor gives.

use std::path::Path;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use arrow_select::concat::concat_batches;
use gristmill_core::registry::Range;
use gristmill_core::text::value_text;
use gristmill_core::{ByteSize, Error, ExtractContext, Extractor, Findings, ReadPlan, Result};
use gristmill_extract::KINDS;
use rusqlite::Connection;
use serde_json::Value;
use tempfile::TempDir;

pub(crate) struct Folder(pub TempDir);

impl Folder {
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        for (name, text) in files {
            folder.write(name, text.as_bytes());
        }
        folder
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn context(&self) -> ExtractContext {
        ExtractContext {
            base: self.path().to_owned(),
            scratch: self.path().join(".scratch"),
            memory: ByteSize(256 << 20),
            workers: 2,
            range: Range::default(),
            guess: None,
        }
    }

    /// Opens an item as a pipeline does.
    pub(crate) fn open(&self, item: Value) -> Result<Box<dyn Extractor>> {
        let kind = KINDS.iter().find(|kind| item.get(kind.name).is_some()).unwrap();
        assert_eq!((kind.check)(&item), [], "{item}");
        (kind.open)(&item, &self.context())
    }

    /// As a run of this range reads it: what it gives, and the bookmarks that it leaves.
    pub(crate) fn read_range(
        &self,
        item: Value,
        range: Range,
    ) -> Result<(Read, Vec<(String, Value)>)> {
        let kind = KINDS.iter().find(|kind| item.get(kind.name).is_some()).unwrap();
        assert_eq!((kind.check)(&item), [], "{item}");
        let mut extractor = (kind.open)(&item, &ExtractContext { range, ..self.context() })?;
        let read = read(&mut *extractor, |_| {})?;
        Ok((read, extractor.bookmarks()))
    }

    pub(crate) fn read(&self, item: Value) -> Result<Read> {
        read(&mut *self.open(item)?, |_| {})
    }

    pub(crate) fn error(&self, item: Value) -> Error {
        self.read(item).err().unwrap()
    }
}

/// Makes or changes a SQLite file in a folder.
pub(crate) fn sqlite(folder: &Folder, name: &str, sql: &str) {
    let connection = Connection::open(folder.path().join(name)).unwrap();
    connection.execute_batch(sql).unwrap();
}

pub(crate) struct Read {
    pub schema: SchemaRef,
    pub columns: RecordBatch,
    /// How many records each source gave, in order, rejects counted.
    pub sources: Vec<(Arc<str>, usize)>,
    pub rejects: usize,
    pub flaws: Vec<String>,
    pub notes: Vec<String>,
}

impl Read {
    pub(crate) fn names(&self) -> Vec<&str> {
        self.schema.fields().iter().map(|field| field.name().as_str()).collect()
    }

    pub(crate) fn types(&self) -> Vec<String> {
        self.schema.fields().iter().map(|field| gristmill_core::types::type_name(field)).collect()
    }

    /// The values of a column as text, nulls as `-`.
    pub(crate) fn column(&self, name: &str) -> Vec<String> {
        let column = self.columns.column_by_name(name).unwrap();
        let text = |row| value_text(column, row).unwrap_or_else(|| "-".to_owned());
        (0..column.len()).map(text).collect()
    }
}

pub(crate) fn read(
    extractor: &mut dyn Extractor,
    steps: impl FnOnce(&mut ReadPlan),
) -> Result<Read> {
    let mut plan = extractor.read_plan()?;
    if let Some(plan) = &mut plan {
        steps(plan);
    }
    let schema = extractor.begin(plan)?;
    let mut findings = Findings::default();
    let mut batches = Vec::new();
    let mut sources: Vec<(Arc<str>, usize)> = Vec::new();
    let mut flaws = Vec::new();
    let mut bytes = 0;
    while let Some(mut chunk) = extractor.next_chunk()? {
        assert!(extractor.bytes_read() >= bytes, "progress goes forward");
        bytes = extractor.bytes_read();
        let mut starts = chunk.starts_source();
        while let Some(batch) = chunk.next_batch(&mut findings)? {
            if std::mem::take(&mut starts) {
                sources.push((Arc::clone(batch.origin().source()), 0));
            }
            let (name, records) = sources.last_mut().unwrap();
            assert_eq!(name, batch.origin().source());
            *records += batch.origin().len();
            assert_eq!(batch.schema(), schema);
            flaws.extend(batch.flaws().iter().map(|flaw| flaw.reason.message.clone()));
            batches.push(batch.columns().clone());
        }
    }
    for _ in 0..2 {
        assert!(extractor.next_chunk()?.is_none(), "the end stays the end");
    }
    if let Some(total) = extractor.total_bytes() {
        assert_eq!(extractor.bytes_read(), total);
    }
    Ok(Read {
        columns: concat_batches(&schema, &batches)?,
        schema,
        sources,
        rejects: findings.rejects().len(),
        flaws,
        notes: extractor.notes(),
    })
}
