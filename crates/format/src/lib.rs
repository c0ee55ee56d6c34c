//! Codecs: bytes ⇄ batches, one module per format.
//!
//! A codec reads one input and cuts it into [`Chunk`]s that any worker decodes, and hands out an
//! [`Encoder`] that any worker encodes with. Which files there are, how they are opened and where
//! they are published is the business of the extract and load crates.
//!
//! ```
//! use gristmill_core::{FieldType, Findings};
//! use gristmill_format::{Reader, Sizes, csv};
//!
//! let text = "code,aum\nFND000001,10.50\nFND000002,n/a\nFND000003\n";
//! let input = Box::new(text.as_bytes());
//! let options = csv::ReadOptions::default();
//! let mut reader = csv::Reader::open("funds.csv".into(), input, &options, Sizes::default())?;
//!
//! let mut plan = reader.read_plan()?.expect("CSV is text");
//! plan.column_mut("aum").expect("it is in the header").field_type = FieldType::Double;
//! reader.begin(Some(&plan))?;
//!
//! let mut findings = Findings::default();
//! let mut chunk = reader.next_chunk()?.expect("there are records");
//! let batch = chunk.next_batch(&mut findings)?.expect("there are records");
//! assert_eq!(batch.num_rows(), 2);
//! assert_eq!(batch.flaws()[0].reason.message, "`n/a` is not a double");
//! assert_eq!(findings.rejects()[0].errors[0].message, "1 field where the header has 2");
//! # Ok::<(), gristmill_core::Error>(())
//! ```

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use arrow_schema::SchemaRef;
use gristmill_core::{Chunk, Encoded, Encoder, ReadPlan, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod buffer;
mod columnar;
pub mod compression;
pub mod csv;
pub mod infer;
pub mod ipc;
pub mod json;
pub mod parquet;
mod simd;
mod text;

pub use compression::Compression;
pub use simd::Level;

/// A file format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Comma-separated values, and any other delimiter (`.csv`, `.tsv`).
    Csv,
    /// One JSON document: an array of objects, or a single object (`.json`).
    Json,
    /// One JSON object a line (`.ndjson`, `.jsonl`).
    Ndjson,
    /// Apache Parquet (`.parquet`).
    Parquet,
    /// Arrow IPC file or stream (`.arrow`, `.feather`).
    Arrow,
}

impl Format {
    /// The format that a file's name says, behind the compression's extension if there is one.
    pub fn of_name(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?.to_ascii_lowercase();
        let name = match Compression::of_name(path) {
            Compression::None => name.as_str(),
            _ => name.rsplit_once('.')?.0,
        };
        Some(match name.rsplit_once('.')?.1 {
            "csv" | "tsv" | "psv" => Format::Csv,
            "json" => Format::Json,
            "ndjson" | "jsonl" => Format::Ndjson,
            "parquet" | "pq" => Format::Parquet,
            "arrow" | "ipc" | "feather" | "arrows" => Format::Arrow,
            _ => return None,
        })
    }

    /// The extension that files of this format get.
    pub fn extension(self) -> &'static str {
        match self {
            Format::Csv => "csv",
            Format::Json => "json",
            Format::Ndjson => "ndjson",
            Format::Parquet => "parquet",
            Format::Arrow => "arrow",
        }
    }
}

/// How large the pieces of an input are. They follow the data and never the number of workers, so
/// that a run's output is the same everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Bytes of decompressed text in a chunk, the unit that a worker takes.
    pub chunk: usize,
    /// Bytes of text in a batch, the unit that stays in a cache.
    pub batch: usize,
    /// Bytes that one record may have; a longer one is rejected.
    pub max_record: usize,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { chunk: 8 << 20, batch: 512 << 10, max_record: 16 << 20 }
    }
}

/// One input being read: a file, a pipe. Mirrors [`gristmill_core::Extractor`], which chains
/// readers.
pub trait Reader: Send {
    /// The columns that the input has, or `None` where they come typed. See
    /// [`gristmill_core::Extractor::read_plan`].
    ///
    /// # Errors
    /// When the input has no readable header.
    fn read_plan(&mut self) -> Result<Option<ReadPlan>>;

    /// Decides what is read. Columns of the plan that the input does not have (by
    /// `ColumnPlan::source`) are missing in every record; fields that are in the input but not in
    /// the plan are left out.
    ///
    /// # Errors
    /// When the input cannot be read as planned.
    fn begin(&mut self, plan: Option<&ReadPlan>) -> Result<SchemaRef>;

    /// The next chunk; `None` at the end and ever after. The first chunk starts a source.
    ///
    /// # Errors
    /// When the input cannot be read on.
    fn next_chunk(&mut self) -> Result<Option<Box<dyn Chunk>>>;

    /// Bytes of the file taken so far, where the reader was given a file. `None` where it was
    /// given a stream: whoever opened that counts its bytes.
    fn bytes_read(&self) -> Option<u64> {
        None
    }

    /// Sentences for the report.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Writes one format for batches of one schema.
pub trait Writer: Send + Sync {
    /// The encoder that workers share. What it makes goes to a [`Sink`] of the same writer.
    fn encoder(&self) -> Arc<dyn Encoder>;

    /// Starts a file.
    ///
    /// # Errors
    /// When its beginning cannot be written.
    fn sink(&self, out: Box<dyn Write + Send>) -> Result<Box<dyn Sink>>;
}

/// A file being written, part after part.
pub trait Sink: Send {
    /// Appends a part.
    ///
    /// # Errors
    /// When it cannot be written.
    fn append(&mut self, part: Encoded) -> Result<()>;

    /// Bytes written so far.
    fn bytes_written(&self) -> u64;

    /// Writes the end of the file and flushes. A file without parts is complete too: it has the
    /// header and the schema, and no record. Answers the bytes written in all.
    ///
    /// # Errors
    /// When it cannot be written.
    fn finish(self: Box<Self>) -> Result<u64>;
}
