//! Writing JSON documents and lines.

use std::io::Write;
use std::sync::Arc;

use arrow_schema::{Field, SchemaRef};
use gristmill_core::json::{write_json, write_string};
use gristmill_core::text::print;
use gristmill_core::types::is_json;
use gristmill_core::{Batch, Encoded, Encoder, Part, Result};

use super::{Layout, lanes};
use crate::text::blocks::{Pool, TextWriter, extend};
use crate::text::cells::{Cell, Cells, Values, copy_ordinary};
use crate::text::file::TextFile;
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
    Arc::new(Writer { layout, compression, pool: Arc::default() })
}

struct Writer {
    layout: Layout,
    compression: Compression,
    pool: Arc<Pool>,
}

impl crate::Writer for Writer {
    fn encoder(&self) -> Arc<dyn Encoder> {
        let (layout, compression) = (self.layout, self.compression);
        Arc::new(RowEncoder { layout, compression, pool: Arc::clone(&self.pool) })
    }

    fn sink(&self, out: Box<dyn Write + Send>) -> Result<Box<dyn Sink>> {
        Ok(Box::new(TextSink {
            file: TextFile::new("JSON", out, self.compression, &self.pool),
            layout: self.layout,
            records: 0,
        }))
    }
}

struct RowEncoder {
    layout: Layout,
    compression: Compression,
    pool: Arc<Pool>,
}

impl Encoder for RowEncoder {
    fn begin(&self) -> Box<dyn Part> {
        Box::new(RowPart {
            layout: self.layout,
            compression: self.compression,
            text: TextWriter::new(Arc::clone(&self.pool)),
            value: Vec::new(),
            records: 0,
        })
    }
}

struct RowPart {
    layout: Layout,
    compression: Compression,
    text: TextWriter,
    value: Vec<u8>,
    records: u64,
}

/// A column of the batch being written.
struct Member<'a> {
    /// What stands before each value: the key, and what divides it from the member before. If it
    /// is longer, `long_key` is used.
    key: [u8; KEY],
    key_len: usize,
    long_key: Vec<u8>,
    cells: Cells<'a>,
    field: &'a Field,
    form: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// As it is.
    Bare,
    /// Between quotes, escaped where it is text.
    Quoted,
    Nested,
}

const KEY: usize = 32;

impl<'a> Member<'a> {
    fn new(index: usize, field: &'a Field, cells: Cells<'a>) -> Self {
        let mut long_key = vec![if index == 0 { b'{' } else { b',' }];
        write_string(&mut long_key, field.name());
        long_key.push(b':');
        let (mut key, key_len) = ([0; KEY], long_key.len());
        if key_len <= KEY {
            key[..key_len].copy_from_slice(&long_key);
        }
        let form = match cells.values {
            Values::Text(_) if is_json(field) => Form::Nested,
            Values::Text(_) | Values::Date(_) | Values::Timestamp(..) => Form::Quoted,
            Values::Bool(_) | Values::Int(_) | Values::Double(_) | Values::Decimal(..) => {
                Form::Bare
            }
            Values::Other => Form::Nested,
        };
        Self { key, key_len, long_key, cells, field, form }
    }

    /// Bytes that key and value take at most, but for the text of long values.
    fn room(&self) -> usize {
        self.key_len.max(KEY) + size_of::<print::Window>() + 2
    }

    /// Writes key and value at a place of a block, and leaves room for `more` bytes. Answers where
    /// they end.
    #[inline(always)]
    fn write(
        &self,
        block: &mut Vec<u8>,
        at: usize,
        more: usize,
        row: usize,
        value: &mut Vec<u8>,
    ) -> usize {
        if self.key_len <= KEY {
            block[at..at + KEY].copy_from_slice(&self.key);
        } else {
            block[at..at + self.key_len].copy_from_slice(&self.long_key);
        }
        let at = at + self.key_len;
        if self.cells.is_null(row) || self.is_no_number(row) {
            block[at..at + 4].copy_from_slice(b"null");
            return at + 4;
        }
        match (self.form, &self.cells.values) {
            (Form::Bare, values) => values.print(block, at, row),
            (Form::Quoted, Values::Text(texts)) => match texts.cell(row) {
                Cell::Short(text, len) if !any_special(&padded(text, len)) => {
                    block[at] = b'"';
                    block[at + 1..at + 17].copy_from_slice(&text);
                    block[at + 1 + len] = b'"';
                    at + len + 2
                }
                Cell::Short(..) => escape(block, at, more, texts.bytes(row)),
                Cell::Long(text) => {
                    extend(block, at, text.len() + 2 + more);
                    if !copy_ordinary(block, at + 1, text, any_special) {
                        return escape(block, at, more, text);
                    }
                    block[at] = b'"';
                    block[at + 1 + text.len()] = b'"';
                    at + text.len() + 2
                }
            },
            (Form::Quoted, values) => {
                block[at] = b'"';
                let end = values.print(block, at + 1, row);
                block[end] = b'"';
                end + 1
            }
            (Form::Nested, _) => self.nested(block, at, more, row, value),
        }
    }

    /// NaN and infinities are not in JSON.
    #[inline(always)]
    fn is_no_number(&self, row: usize) -> bool {
        matches!(self.cells.values, Values::Double(values) if !values[row].is_finite())
    }

    #[inline(never)]
    fn nested(
        &self,
        block: &mut Vec<u8>,
        at: usize,
        more: usize,
        row: usize,
        value: &mut Vec<u8>,
    ) -> usize {
        value.clear();
        write_json(value, self.cells.array, self.field, row);
        extend(block, at, value.len() + more);
        block[at..at + value.len()].copy_from_slice(value);
        at + value.len()
    }
}

/// A short text with spaces behind it in place of zeros.
#[inline(always)]
fn padded(text: [u8; 16], len: usize) -> [u8; 16] {
    const SPACES: [[u8; 16]; 17] = {
        let mut table = [[0; 16]; 17];
        let mut len = 0;
        while len <= 16 {
            let mut at = len;
            while at < 16 {
                table[len][at] = b' ';
                at += 1;
            }
            len += 1;
        }
        table
    };
    let spaces = u128::from_le_bytes(SPACES[len]);
    (u128::from_le_bytes(text) | spaces).to_le_bytes()
}

/// Whether one of the bytes is escaped in a JSON string.
#[inline(always)]
fn any_special(bytes: &[u8; 16]) -> bool {
    bytes
        .iter()
        .fold(false, |found, &byte| found | (byte < 0x20) | (byte == b'"') | (byte == b'\\'))
}

/// Writes a JSON string at a place of a block, and leaves room for `more` bytes. Answers where it
/// ends.
#[inline(never)]
fn escape(block: &mut Vec<u8>, mut at: usize, more: usize, text: &[u8]) -> usize {
    extend(block, at, 6 * text.len() + 2 + more);
    let mut copy = |text: &[u8]| {
        block[at..at + text.len()].copy_from_slice(text);
        at += text.len();
    };
    let hex = |digit: u8| b"0123456789abcdef"[usize::from(digit & 15)];
    copy(b"\"");
    let mut rest = text;
    loop {
        let len = lanes::ordinary(rest);
        copy(&rest[..len]);
        let Some(&byte) = rest.get(len) else { break };
        rest = &rest[len + 1..];
        match byte {
            b'"' | b'\\' => copy(&[b'\\', byte]),
            b'\n' => copy(b"\\n"),
            b'\r' => copy(b"\\r"),
            b'\t' => copy(b"\\t"),
            0x08 => copy(b"\\b"),
            0x0c => copy(b"\\f"),
            byte => copy(&[b'\\', b'u', b'0', b'0', hex(byte >> 4), hex(byte)]),
        }
    }
    copy(b"\"");
    at
}

impl Part for RowPart {
    fn push(&mut self, batch: &Batch) -> Result<()> {
        let Self { layout, text, value, records, .. } = self;
        let schema = batch.schema();
        let members = schema.fields().iter().zip(batch.columns().columns()).enumerate();
        let members: Vec<_> = members
            .map(|(index, (field, array))| Member::new(index, field, Cells::new(array)))
            .collect();
        let room = 4 + members.iter().map(Member::room).sum::<usize>();
        let mut at = text.end();
        for row in 0..batch.num_rows() {
            let (block, start) = text.room(at, room);
            at = start;
            if *layout == Layout::Document && *records > 0 {
                block[at..at + 2].copy_from_slice(b",\n");
                at += 2;
            }
            if members.is_empty() {
                block[at] = b'{';
                at += 1;
            }
            for member in &members {
                at = member.write(block, at, room, row, value);
            }
            block[at] = b'}';
            at += 1;
            if *layout == Layout::Lines {
                block[at] = b'\n';
                at += 1;
            }
            *records += 1;
        }
        text.set_end(at);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Encoded> {
        let text = self.text.finish(self.compression)?;
        Ok(Encoded { records: self.records, bytes: text.len() as u64, payload: Box::new(text) })
    }
}

struct TextSink {
    file: TextFile,
    layout: Layout,
    records: u64,
}

impl TextSink {
    /// What stands around the records of an array.
    fn write_around(&mut self, text: &[u8]) -> Result<()> {
        match self.layout {
            Layout::Document => self.file.write(text),
            Layout::Lines => Ok(()),
        }
    }
}

impl Sink for TextSink {
    fn append(&mut self, part: Encoded) -> Result<()> {
        if part.records == 0 {
            return Ok(());
        }
        self.write_around(if self.records == 0 { b"[\n" } else { b",\n" })?;
        self.records += part.records;
        self.file.append(part)
    }

    fn bytes_written(&self) -> u64 {
        self.file.bytes_written()
    }

    fn finish(mut self: Box<Self>) -> Result<u64> {
        self.write_around(if self.records == 0 { b"[]\n" } else { b"\n]\n" })?;
        Box::new(self.file).finish()
    }
}
