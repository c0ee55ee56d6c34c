//! Writing Arrow IPC files.

use std::io::{self, BufWriter, Write};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{FileWriter, IpcWriteOptions};
use arrow_schema::{ArrowError, SchemaRef};
use arrow_select::concat::concat_batches;
use gristmill_core::{Batch, Encoded, Encoder, Error, ErrorKind, Part, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::columnar::{convert, plain_schema};
use crate::{Sink, Writer};

/// How Arrow files are written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "ArrowWrite")]
pub struct WriteOptions {
    /// How the buffers of columns are compressed.
    pub compression: Codec,
}

/// The compression of buffers in an Arrow file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "ArrowCodec")]
pub enum Codec {
    /// None: readers can map the file into memory.
    #[default]
    None,
    /// LZ4 frames.
    Lz4,
    /// Zstandard.
    Zstd,
}

/// A writer for batches of this schema. Each chunk becomes a record batch, or several if it is
/// large; the same chunks give the same bytes.
///
/// # Errors
/// When the schema has a type that Arrow files do not have.
pub fn writer(schema: &SchemaRef, options: &WriteOptions) -> Result<Arc<dyn Writer>> {
    let compression = match options.compression {
        Codec::None => None,
        Codec::Lz4 => Some(CompressionType::LZ4_FRAME),
        Codec::Zstd => Some(CompressionType::ZSTD),
    };
    let options = IpcWriteOptions::default().try_with_compression(compression)?;
    let writer = ArrowFile { schema: plain_schema(schema), options };
    // The crate says what it cannot write when a file begins.
    FileWriter::try_new_with_options(io::sink(), &writer.schema, writer.options.clone()).map_err(
        |error| {
            Error::new(ErrorKind::Schema, "a column's type cannot be written to an Arrow file")
                .caused_by(error)
                .hint("cast the column to another type, or drop it")
        },
    )?;
    Ok(Arc::new(writer))
}

struct ArrowFile {
    schema: SchemaRef,
    options: IpcWriteOptions,
}

impl Writer for ArrowFile {
    fn encoder(&self) -> Arc<dyn Encoder> {
        Arc::new(Plain(Arc::clone(&self.schema)))
    }

    fn sink(&self, out: Box<dyn Write + Send>) -> Result<Box<dyn Sink>> {
        let out = Counting { inner: BufWriter::new(out), bytes: 0 };
        FileWriter::try_new_with_options(out, &self.schema, self.options.clone())
            .map(|file| Box::new(OpenFile(file)) as _)
            .map_err(cannot_write)
    }
}

/// Bytes of columns from which on a chunk becomes several record batches.
const LARGE: usize = 64 << 20;

/// Makes the columns plain.
struct Plain(SchemaRef);

impl Encoder for Plain {
    fn begin(&self) -> Box<dyn Part> {
        Box::new(PlainPart {
            schema: Arc::clone(&self.0),
            pending: Vec::new(),
            pending_bytes: 0,
            done: Vec::new(),
            records: 0,
        })
    }
}

struct PlainPart {
    schema: SchemaRef,
    pending: Vec<RecordBatch>,
    pending_bytes: usize,
    done: Vec<RecordBatch>,
    records: u64,
}

impl PlainPart {
    fn close_batch(&mut self) -> Result<()> {
        if !self.pending.is_empty() {
            self.done.push(concat_batches(&self.schema, &self.pending)?);
            self.pending.clear();
            self.pending_bytes = 0;
        }
        Ok(())
    }
}

impl Part for PlainPart {
    fn push(&mut self, batch: &Batch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let columns = convert(batch.columns(), &self.schema)?;
        self.records += columns.num_rows() as u64;
        self.pending_bytes += columns.get_array_memory_size();
        self.pending.push(columns);
        if self.pending_bytes >= LARGE { self.close_batch() } else { Ok(()) }
    }

    fn finish(mut self: Box<Self>) -> Result<Encoded> {
        self.close_batch()?;
        let bytes = self.done.iter().map(|batch| batch.get_array_memory_size() as u64).sum();
        let payload = Box::new(PlainBatches(self.done));
        Ok(Encoded { records: self.records, bytes, payload })
    }
}

struct PlainBatches(Vec<RecordBatch>);

struct OpenFile(FileWriter<Counting>);

impl Sink for OpenFile {
    fn append(&mut self, part: Encoded) -> Result<()> {
        let Ok(batches) = part.payload.downcast::<PlainBatches>() else {
            return Err(Error::internal("a part of another format came to an Arrow file"));
        };
        for batch in &batches.0 {
            self.0.write(batch).map_err(cannot_write)?;
        }
        Ok(())
    }

    fn bytes_written(&self) -> u64 {
        self.0.get_ref().bytes
    }

    fn finish(mut self: Box<Self>) -> Result<u64> {
        self.0.finish().map_err(cannot_write)?; // flushes
        Ok(self.0.get_ref().bytes)
    }
}

struct Counting {
    inner: BufWriter<Box<dyn Write + Send>>,
    bytes: u64,
}

impl Write for Counting {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(buf)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn cannot_write(error: ArrowError) -> Error {
    match error {
        ArrowError::IoError(_, error) => Error::io("cannot write Arrow data", error),
        other => Error::new(ErrorKind::Destination, "cannot write Arrow data").caused_by(other),
    }
}
