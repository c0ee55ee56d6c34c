//! Writes CSV: workers make the text, the sink appends it.
//!
//! Fields are quoted as the `csv` crate quotes them, with two additions: a text that equals the
//! null token is quoted, so that it is not read as a null, and a null is never quoted. The one
//! exception is a record whose only field is null and written as nothing: a blank line is no
//! record, so it is written as `""`.

use std::io::Write;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, Field, SchemaRef};
use gristmill_core::json::write_json;
use gristmill_core::text::write_value;
use gristmill_core::{Batch, Encoded, Encoder, Error, Part, Result};
use memchr::memchr;

use super::grammar;
use super::options::{Header, LineEnd, QuoteStyle, WriteOptions};
use crate::{Compression, Sink, Writer};

/// A writer for batches of `schema`. Every part is a member of its own in the compressed file.
pub fn writer(
    schema: SchemaRef,
    options: &WriteOptions,
    compression: Compression,
) -> Arc<dyn Writer> {
    let delimiter = grammar::delimiter(options.delimiter.as_deref()).unwrap_or(b',');
    let line_end: &[u8] = match options.line_end {
        LineEnd::Lf => b"\n",
        LineEnd::Crlf => b"\r\n",
    };
    let mut special = [false; 256];
    for byte in [delimiter, b'"', b'\r', b'\n'] {
        special[usize::from(byte)] = true;
    }
    let style = options.quote;
    let null = options.null.clone().into_bytes();
    let form = Form { schema, delimiter, line_end, special, style, null, compression };
    Arc::new(CsvWriter { header: options.header, form: Arc::new(form) })
}

struct CsvWriter {
    header: Header,
    form: Arc<Form>,
}

impl Writer for CsvWriter {
    fn encoder(&self) -> Arc<dyn Encoder> {
        Arc::new(CsvEncoder(Arc::clone(&self.form)))
    }

    fn sink(&self, out: Box<dyn Write + Send>) -> Result<Box<dyn Sink>> {
        let mut sink = CsvSink { out, written: 0, compression: self.form.compression };
        if self.header == Header::Present && !self.form.schema.fields().is_empty() {
            sink.write(&self.form.compression.compress(&self.form.header())?)?;
        }
        Ok(Box::new(sink))
    }
}

/// What the text looks like.
struct Form {
    schema: SchemaRef,
    delimiter: u8,
    line_end: &'static [u8],
    /// Bytes that a field is quoted for.
    special: [bool; 256],
    style: QuoteStyle,
    null: Vec<u8>,
    compression: Compression,
}

impl Form {
    fn header(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let fields = self.schema.fields();
        for (index, field) in fields.iter().enumerate() {
            if index > 0 {
                out.push(self.delimiter);
            }
            let name = field.name().as_bytes();
            // A byte order mark would be left out when it is read again.
            let quoted = self.style != QuoteStyle::Necessary
                || self.is_special(name)
                || name.is_empty() && fields.len() == 1
                || name.starts_with("\u{FEFF}".as_bytes());
            put(&mut out, name, quoted);
        }
        out.extend_from_slice(self.line_end);
        out
    }

    fn is_special(&self, text: &[u8]) -> bool {
        text.iter().any(|&byte| self.special[usize::from(byte)])
    }

    /// Whether a value that is not null is quoted.
    fn quotes(&self, text: &[u8], kind: Kind) -> bool {
        match self.style {
            QuoteStyle::Always => true,
            QuoteStyle::NonNumeric if kind != Kind::Number => true,
            _ => text == self.null || self.is_special(text),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number,
    Nested,
    Other,
}

impl Kind {
    fn of(field: &Field) -> Self {
        let data_type = match field.data_type() {
            DataType::Dictionary(_, values) => values,
            other => other,
        };
        match data_type {
            number if number.is_numeric() => Kind::Number,
            nested if nested.is_nested() => Kind::Nested,
            _ => Kind::Other,
        }
    }
}

fn put(out: &mut Vec<u8>, text: &[u8], quoted: bool) {
    if !quoted {
        out.extend_from_slice(text);
        return;
    }
    out.push(b'"');
    let mut rest = text;
    while let Some(at) = memchr(b'"', rest) {
        out.extend_from_slice(&rest[..=at]);
        out.push(b'"');
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

struct CsvEncoder(Arc<Form>);

impl Encoder for CsvEncoder {
    fn begin(&self) -> Box<dyn Part> {
        let kinds = self.0.schema.fields().iter().map(|field| Kind::of(field)).collect();
        let form = Arc::clone(&self.0);
        Box::new(CsvPart { form, kinds, text: Vec::new(), value: Vec::new(), records: 0 })
    }
}

struct CsvPart {
    form: Arc<Form>,
    kinds: Vec<Kind>,
    text: Vec<u8>,
    value: Vec<u8>,
    records: u64,
}

impl CsvPart {
    fn field(&mut self, column: &ArrayRef, index: usize, row: usize) {
        let Self { form, kinds, text, value, .. } = self;
        if column.is_null(row) {
            text.extend_from_slice(&form.null);
            return;
        }
        let kind = kinds[index];
        value.clear();
        match kind {
            Kind::Nested => write_json(value, column, form.schema.field(index), row),
            Kind::Number | Kind::Other => write_value(value, column, row),
        }
        let quoted = form.quotes(value, kind) || value.is_empty() && kinds.len() == 1;
        put(text, value, quoted);
    }
}

impl Part for CsvPart {
    fn push(&mut self, batch: &Batch) -> Result<()> {
        let columns = batch.columns().columns();
        if columns.len() != self.kinds.len() {
            return Err(Error::internal(format!(
                "a batch of {} columns was written to a file of {}",
                columns.len(),
                self.kinds.len()
            )));
        }
        for row in 0..batch.num_rows() {
            let start = self.text.len();
            for (index, column) in columns.iter().enumerate() {
                if index > 0 {
                    self.text.push(self.form.delimiter);
                }
                self.field(column, index, row);
            }
            if self.text.len() == start {
                self.text.extend_from_slice(b"\"\"");
            }
            self.text.extend_from_slice(self.form.line_end);
        }
        self.records += batch.num_rows() as u64;
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Encoded> {
        let text = match self.form.compression {
            _ if self.text.is_empty() => Vec::new(),
            Compression::None => self.text,
            compression => compression.compress(&self.text)?,
        };
        Ok(Encoded { records: self.records, bytes: text.len() as u64, payload: Box::new(text) })
    }
}

struct CsvSink {
    out: Box<dyn Write + Send>,
    written: u64,
    compression: Compression,
}

impl CsvSink {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(|error| Error::io("cannot write CSV", error))?;
        self.written += bytes.len() as u64;
        Ok(())
    }
}

impl Sink for CsvSink {
    fn append(&mut self, part: Encoded) -> Result<()> {
        match part.payload.downcast::<Vec<u8>>() {
            Ok(text) => self.write(&text),
            Err(_) => Err(Error::internal("a part of another format was appended to a CSV file")),
        }
    }

    fn bytes_written(&self) -> u64 {
        self.written
    }

    fn finish(mut self: Box<Self>) -> Result<u64> {
        if self.written == 0 {
            self.write(&self.compression.compress(&[])?)?; // a compressed file has a member
        }
        self.out.flush().map_err(|error| Error::io("cannot write CSV", error))?;
        Ok(self.written)
    }
}
