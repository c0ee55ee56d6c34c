//! Writing JSON documents and lines.

use std::io::Write;
use std::sync::Arc;

use arrow_schema::SchemaRef;
use gristmill_core::json::RowWriter;
use gristmill_core::{Batch, Encoded, Encoder, Error, Part, Result};

use super::Layout;
use crate::{Compression, Sink};

/// A writer of rows as JSON objects, keys in column order: one a line, or as the elements of one
/// array. Dates, times and binary values are strings, decimals are numbers with all their digits,
/// NaN and infinities, which JSON does not have, are null.
pub fn writer(
    schema: SchemaRef,
    layout: Layout,
    compression: Compression,
) -> Arc<dyn crate::Writer> {
    let _ = schema; // every batch says its names and types itself
    Arc::new(Writer { layout, compression })
}

struct Writer {
    layout: Layout,
    compression: Compression,
}

impl crate::Writer for Writer {
    fn encoder(&self) -> Arc<dyn Encoder> {
        Arc::new(RowEncoder { layout: self.layout, compression: self.compression })
    }

    fn sink(&self, out: Box<dyn Write + Send>) -> Result<Box<dyn Sink>> {
        Ok(Box::new(TextSink {
            out,
            layout: self.layout,
            compression: self.compression,
            written: 0,
            records: 0,
        }))
    }
}

struct RowEncoder {
    layout: Layout,
    compression: Compression,
}

impl Encoder for RowEncoder {
    fn begin(&self) -> Box<dyn Part> {
        Box::new(RowPart {
            layout: self.layout,
            compression: self.compression,
            out: Vec::new(),
            records: 0,
        })
    }
}

struct RowPart {
    layout: Layout,
    compression: Compression,
    out: Vec<u8>,
    records: u64,
}

impl Part for RowPart {
    fn push(&mut self, batch: &Batch) -> Result<()> {
        let rows = RowWriter::new(batch.columns());
        for row in 0..batch.num_rows() {
            if self.layout == Layout::Document && self.records > 0 {
                self.out.extend_from_slice(b",\n");
            }
            rows.write(&mut self.out, row);
            if self.layout == Layout::Lines {
                self.out.push(b'\n');
            }
            self.records += 1;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Encoded> {
        let bytes = compressed(self.compression, self.out)?;
        Ok(Encoded { records: self.records, bytes: bytes.len() as u64, payload: Box::new(bytes) })
    }
}

struct TextSink {
    out: Box<dyn Write + Send>,
    layout: Layout,
    compression: Compression,
    written: u64,
    records: u64,
}

impl TextSink {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(|error| Error::io("cannot write JSON", error))?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// What stands around the records of an array.
    fn write_around(&mut self, text: &[u8]) -> Result<()> {
        if self.layout == Layout::Document {
            let bytes = compressed(self.compression, text.to_vec())?;
            self.write(&bytes)?;
        }
        Ok(())
    }
}

impl Sink for TextSink {
    fn append(&mut self, part: Encoded) -> Result<()> {
        let Ok(bytes) = part.payload.downcast::<Vec<u8>>() else {
            return Err(Error::internal("a part of another encoder was appended to JSON"));
        };
        if part.records == 0 {
            return Ok(());
        }
        self.write_around(if self.records == 0 { b"[\n" } else { b",\n" })?;
        self.records += part.records;
        self.write(&bytes)
    }

    fn bytes_written(&self) -> u64 {
        self.written
    }

    fn finish(mut self: Box<Self>) -> Result<u64> {
        if self.records > 0 {
            self.write_around(b"\n]\n")?;
        } else if self.layout == Layout::Document {
            self.write_around(b"[]\n")?;
        } else if self.compression != Compression::None {
            // Nothing at all is no valid compressed file.
            let empty = self.compression.compress(b"")?;
            self.write(&empty)?;
        }
        self.out.flush().map_err(|error| Error::io("cannot write JSON", error))?;
        Ok(self.written)
    }
}

fn compressed(compression: Compression, text: Vec<u8>) -> Result<Vec<u8>> {
    if compression == Compression::None { Ok(text) } else { compression.compress(&text) }
}
