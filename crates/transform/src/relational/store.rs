//! A table that a query reads more than once, on disk.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, SchemaRef};
use gristmill_core::{Error, Result, Space};
use gristmill_parallel::views::compact;

/// Bytes that are read or written at once.
const BUFFER: usize = 128 << 10;
/// The same of a table among many.
const SMALL_BUFFER: usize = 8 << 10;

/// A table being written.
pub(crate) struct Writer {
    out: StreamWriter<BufWriter<File>>,
    buffer: usize,
}

/// A table that can be read.
#[derive(Debug)]
pub(crate) struct Store {
    file: File,
    schema: SchemaRef,
    buffer: usize,
}

impl Writer {
    pub(crate) fn new(space: &Space, schema: &SchemaRef) -> Result<Self> {
        Self::with_buffer(space, schema, BUFFER)
    }

    /// A table of many that are written, and read, at the same time.
    pub(super) fn of_many(space: &Space, schema: &SchemaRef) -> Result<Self> {
        Self::with_buffer(space, schema, SMALL_BUFFER)
    }

    fn with_buffer(space: &Space, schema: &SchemaRef, buffer: usize) -> Result<Self> {
        let file = tempfile::tempfile_in(&space.scratch).map_err(failed)?;
        let file = BufWriter::with_capacity(buffer, file);
        Ok(Self { out: StreamWriter::try_new(file, schema).map_err(arrow)?, buffer })
    }

    pub(crate) fn push(&mut self, batch: &RecordBatch) -> Result<()> {
        self.out.write(&compact(batch)?).map_err(arrow)
    }

    pub(crate) fn finish(mut self, schema: &SchemaRef) -> Result<Arc<Store>> {
        self.out.finish().map_err(arrow)?;
        let file = self.out.into_inner().map_err(arrow)?;
        let file = file.into_inner().map_err(|error| failed(error.into_error()))?;
        Ok(Arc::new(Store { file, schema: Arc::clone(schema), buffer: self.buffer }))
    }
}

impl Store {
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// All its batches.
    pub(super) fn batches(
        self: &Arc<Self>,
    ) -> Result<impl Iterator<Item = Result<RecordBatch, ArrowError>> + Send + use<>, ArrowError>
    {
        let from = At { store: Arc::clone(self), at: 0 };
        StreamReader::try_new(BufReader::with_capacity(self.buffer, from), None)
    }
}

/// Reads the file from its start, whatever others read.
struct At {
    store: Arc<Store>,
    at: u64,
}

impl Read for At {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.store.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

fn failed(source: io::Error) -> Error {
    Error::io("cannot keep records in the temporary folder", source)
}

fn arrow(found: ArrowError) -> Error {
    match found {
        ArrowError::IoError(_, source) => failed(source),
        other => other.into(),
    }
}
