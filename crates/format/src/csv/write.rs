//! Writes CSV: workers make the text, the sink appends it.
//!
//! Fields are quoted as the `csv` crate quotes them, with two additions: a text that equals the
//! null token is quoted, so that it is not read as a null, and a null is never quoted. The one
//! exception is a record whose only field is null and written as nothing: a blank line is no
//! record, so it is written as `""`.

use std::io::Write;
use std::sync::Arc;

use arrow_schema::{DataType, Field, SchemaRef};
use gristmill_core::json::write_json;
use gristmill_core::text::{print, write_value};
use gristmill_core::{Batch, Encoded, Encoder, Error, Part, Result};
use memchr::memchr;

use super::grammar;
use super::options::{Header, LineEnd, QuoteStyle, WriteOptions};
use crate::text::blocks::{Pool, TextWriter, extend};
use crate::text::cells::{Cell, Cells, SHORT, Values, any_of, copy_ordinary};
use crate::text::file::TextFile;
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
    let style = options.quote;
    let null = options.null.clone().into_bytes();
    let mut short_null = [0; 16];
    if null.len() <= SHORT {
        short_null[..null.len()].copy_from_slice(&null);
    }
    let form = Form { schema, delimiter, line_end, style, null, short_null, compression };
    Arc::new(CsvWriter { header: options.header, form: Arc::new(form), pool: Arc::default() })
}

struct CsvWriter {
    header: Header,
    form: Arc<Form>,
    pool: Arc<Pool>,
}

impl Writer for CsvWriter {
    fn encoder(&self) -> Arc<dyn Encoder> {
        Arc::new(CsvEncoder { form: Arc::clone(&self.form), pool: Arc::clone(&self.pool) })
    }

    fn sink(&self, out: Box<dyn Write + Send>) -> Result<Box<dyn Sink>> {
        let mut file = TextFile::new("CSV", out, self.form.compression, &self.pool);
        if self.header == Header::Present && !self.form.schema.fields().is_empty() {
            file.write(&self.form.header())?;
        }
        Ok(Box::new(file))
    }
}

/// What the text looks like.
struct Form {
    schema: SchemaRef,
    delimiter: u8,
    line_end: &'static [u8],
    style: QuoteStyle,
    null: Vec<u8>,
    /// The null token as a short text, if it is one.
    short_null: [u8; 16],
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

    /// Bytes that a field is quoted for.
    fn special(&self) -> [u8; 4] {
        [self.delimiter, b'"', b'\r', b'\n']
    }

    fn is_special(&self, text: &[u8]) -> bool {
        text.iter().any(|byte| self.special().contains(byte))
    }

    /// Whether values other than text can be such that they are quoted.
    fn quotes_values(&self) -> bool {
        let byte_of_a_value = |byte: &u8| b"0123456789+-.:TZefinNalrstu".contains(byte);
        self.style != QuoteStyle::Necessary
            || byte_of_a_value(&self.delimiter)
            || !self.null.is_empty() && self.null.iter().all(byte_of_a_value)
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
    let at = out.len();
    let end = put_at(out, at, 0, text, quoted);
    out.truncate(end);
}

/// Writes a field at a place of a block, and leaves room for `more` bytes. Answers where it ends.
fn put_at(out: &mut Vec<u8>, mut at: usize, more: usize, text: &[u8], quoted: bool) -> usize {
    extend(out, at, 2 * text.len() + 2 + more);
    let mut copy = |text: &[u8]| {
        out[at..at + text.len()].copy_from_slice(text);
        at += text.len();
    };
    if !quoted {
        copy(text);
        return at;
    }
    copy(b"\"");
    let mut rest = text;
    while let Some(quote) = memchr(b'"', rest) {
        copy(&rest[..=quote]);
        rest = &rest[quote..];
        copy(b"\"");
        rest = &rest[1..];
    }
    copy(rest);
    copy(b"\"");
    at
}

struct CsvEncoder {
    form: Arc<Form>,
    pool: Arc<Pool>,
}

impl Encoder for CsvEncoder {
    fn begin(&self) -> Box<dyn Part> {
        let kinds = self.form.schema.fields().iter().map(|field| Kind::of(field)).collect();
        let form = Arc::clone(&self.form);
        let text = TextWriter::new(Arc::clone(&self.pool));
        Box::new(CsvPart { form, kinds, text, value: Vec::new(), records: 0 })
    }
}

struct CsvPart {
    form: Arc<Form>,
    kinds: Vec<Kind>,
    text: TextWriter,
    value: Vec<u8>,
    records: u64,
}

/// A column of the batch being written.
struct Column<'a> {
    cells: Cells<'a>,
    field: &'a Field,
    kind: Kind,
    /// Whether each value is looked at as text before it is written.
    examined: bool,
    /// Whether it is the only column.
    alone: bool,
}

impl Column<'_> {
    /// Writes a field at a place of a block, and leaves room for `more` bytes. Answers where it
    /// ends.
    #[inline(always)]
    fn write(
        &self,
        form: &Form,
        block: &mut Vec<u8>,
        at: usize,
        more: usize,
        row: usize,
        value: &mut Vec<u8>,
    ) -> usize {
        if self.cells.is_null(row) {
            block[at..at + form.null.len()].copy_from_slice(&form.null);
            return at + form.null.len();
        }
        if self.examined {
            return self.examine(form, block, at, more, row, value);
        }
        if let Values::Text(texts) = &self.cells.values {
            let special = form.special();
            match texts.cell(row) {
                Cell::Short(text, len) => {
                    let is_null = len == form.null.len() && text == form.short_null;
                    if !is_null && !any_of(&text, special) {
                        block[at..at + 16].copy_from_slice(&text);
                        return at + len;
                    }
                }
                Cell::Long(text) => {
                    extend(block, at, text.len() + more);
                    let ordinary = |text: &[u8; 16]| any_of(text, special);
                    if copy_ordinary(block, at, text, ordinary) && text != form.null {
                        return at + text.len();
                    }
                }
            }
        } else {
            let end = self.cells.values.print(block, at, row);
            if end > at {
                return end;
            }
        }
        self.examine(form, block, at, more, row, value)
    }

    #[inline(never)]
    fn examine(
        &self,
        form: &Form,
        block: &mut Vec<u8>,
        at: usize,
        more: usize,
        row: usize,
        value: &mut Vec<u8>,
    ) -> usize {
        value.clear();
        let text = match (&self.cells.values, self.kind) {
            (Values::Text(texts), _) => texts.bytes(row),
            (_, Kind::Nested) => {
                write_json(value, self.cells.array, self.field, row);
                value
            }
            (_, Kind::Number | Kind::Other) => {
                write_value(value, self.cells.array, row);
                value
            }
        };
        let quoted = form.quotes(text, self.kind) || text.is_empty() && self.alone;
        put_at(block, at, more, text, quoted)
    }
}

impl Part for CsvPart {
    fn push(&mut self, batch: &Batch) -> Result<()> {
        let Self { form, kinds, text, value, .. } = self;
        let columns = batch.columns().columns();
        if columns.len() != kinds.len() {
            return Err(Error::internal(format!(
                "a batch of {} columns was written to a file of {}",
                columns.len(),
                kinds.len()
            )));
        }
        let quotes_values = form.quotes_values();
        let columns = columns.iter().zip(form.schema.fields()).zip(&*kinds);
        let columns = columns.map(|((array, field), &kind)| {
            let cells = Cells::new(array);
            let examined = match cells.values {
                Values::Text(_) => form.style != QuoteStyle::Necessary,
                Values::Other => true,
                _ => quotes_values,
            };
            Column { cells, field, kind, examined, alone: kinds.len() == 1 }
        });
        let columns: Vec<_> = columns.collect();
        // What is not text of more than a few bytes, with its delimiter; and the line's end.
        let field = form.null.len().max(size_of::<print::Window>()) + 1;
        let room = (columns.len() + 1) * field;
        let mut at = text.end();
        for row in 0..batch.num_rows() {
            let (block, start) = text.room(at, room);
            at = start;
            for (index, column) in columns.iter().enumerate() {
                if index > 0 {
                    block[at] = form.delimiter;
                    at += 1;
                }
                at = column.write(form, block, at, room, row, value);
            }
            if at == start {
                block[at..at + 2].copy_from_slice(b"\"\"");
                at += 2;
            }
            block[at..at + form.line_end.len()].copy_from_slice(form.line_end);
            at += form.line_end.len();
        }
        text.set_end(at);
        self.records += batch.num_rows() as u64;
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Encoded> {
        let text = self.text.finish(self.form.compression)?;
        Ok(Encoded { records: self.records, bytes: text.len() as u64, payload: Box::new(text) })
    }
}
