//! Records as text: one generator writes CSV and NDJSON.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::shape::Column;

/// Takes the fields of records in the order of the columns.
pub(crate) struct Rows {
    out: BufWriter<File>,
    line: Vec<u8>,
    form: Form,
    names: Vec<Name>,
    column: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Csv,
    Ndjson,
}

/// A column `outer.inner` is a field of an object in JSON and `outer_inner` in CSV.
struct Name {
    outer: Option<String>,
    inner: String,
}

impl Rows {
    /// Starts a file, whose form its name says.
    pub(crate) fn create(path: &Path, form: &str, columns: &[Column]) -> Result<Self> {
        let form = match form {
            "csv" => Form::Csv,
            "ndjson" => Form::Ndjson,
            other => bail!("data is written as csv and ndjson, not as `{other}`"),
        };
        let file =
            File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        let names = columns.iter().map(|column| match column.path.split_once('.') {
            Some((outer, inner)) => Name { outer: Some(outer.to_owned()), inner: inner.to_owned() },
            None => Name { outer: None, inner: column.path.clone() },
        });
        let mut out = BufWriter::with_capacity(1 << 20, file);
        if form == Form::Csv {
            let header: Vec<_> = columns.iter().map(Column::name).collect();
            writeln!(out, "{}", header.join(","))?;
        }
        Ok(Self { out, line: Vec::new(), form, names: names.collect(), column: 0 })
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.key();
        match self.form {
            Form::Ndjson => json_text(&mut self.line, text),
            Form::Csv => csv_text(&mut self.line, text),
        }
    }

    /// Text that stands without quotes in CSV and with them in JSON: a date, a time.
    pub(crate) fn plain(&mut self, text: std::fmt::Arguments<'_>) {
        self.key();
        let quote: &[u8] = if self.form == Form::Ndjson { b"\"" } else { b"" };
        self.line.extend_from_slice(quote);
        put(&mut self.line, text);
        self.line.extend_from_slice(quote);
    }

    pub(crate) fn int(&mut self, number: i64) {
        self.key();
        put(&mut self.line, format_args!("{number}"));
    }

    /// A number with so many decimals.
    pub(crate) fn fixed(&mut self, number: i64, scale: u32) {
        self.key();
        let sign = if number < 0 { "-" } else { "" };
        let (unit, number) = (10_u64.pow(scale), number.unsigned_abs());
        let (whole, part, width) = (number / unit, number % unit, scale as usize);
        put(&mut self.line, format_args!("{sign}{whole}.{part:0width$}"));
    }

    pub(crate) fn boolean(&mut self, value: bool) {
        self.key();
        self.line.extend_from_slice(if value { b"true" } else { b"false" });
    }

    pub(crate) fn null(&mut self) {
        self.key();
        if self.form == Form::Ndjson {
            self.line.extend_from_slice(b"null");
        }
    }

    /// Texts without blanks: an array in JSON, one text with blanks between in CSV.
    pub(crate) fn list(&mut self, texts: &[&str]) {
        if self.form == Form::Csv {
            return self.text(&texts.join(" "));
        }
        self.key();
        for (at, text) in texts.iter().enumerate() {
            self.line.push(if at == 0 { b'[' } else { b',' });
            json_text(&mut self.line, text);
        }
        self.line.extend_from_slice(if texts.is_empty() { b"[]" } else { b"]" });
    }

    /// The end of a record.
    pub(crate) fn end(&mut self) -> Result<()> {
        if self.form == Form::Ndjson {
            let open = self.names.last().is_some_and(|name| name.outer.is_some());
            self.line.extend_from_slice(if open { b"}}" } else { b"}" });
        }
        self.line.push(b'\n');
        self.out.write_all(&self.line)?;
        self.line.clear();
        self.column = 0;
        Ok(())
    }

    pub(crate) fn finish(mut self) -> Result<()> {
        Ok(self.out.flush()?)
    }

    /// What stands before a field.
    fn key(&mut self) {
        let at = self.column;
        self.column += 1;
        if self.form == Form::Csv {
            if at > 0 {
                self.line.push(b',');
            }
            return;
        }
        let before = if at == 0 { None } else { self.names[at - 1].outer.as_deref() };
        let Name { outer, inner } = &self.names[at];
        let outer = outer.as_deref();
        if before.is_some() && outer != before {
            self.line.push(b'}');
        }
        self.line.push(if at == 0 { b'{' } else { b',' });
        if let Some(outer) = outer.filter(|_| outer != before) {
            put(&mut self.line, format_args!("\"{outer}\":{{"));
        }
        put(&mut self.line, format_args!("\"{inner}\":"));
    }
}

fn put(line: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    line.write_fmt(text).expect("a vector takes every byte");
}

fn csv_text(line: &mut Vec<u8>, text: &str) {
    if !text.bytes().any(|byte| matches!(byte, b'"' | b',' | b'\n' | b'\r')) {
        return line.extend_from_slice(text.as_bytes());
    }
    line.push(b'"');
    for byte in text.bytes() {
        if byte == b'"' {
            line.push(b'"');
        }
        line.push(byte);
    }
    line.push(b'"');
}

fn json_text(line: &mut Vec<u8>, text: &str) {
    line.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' => line.extend_from_slice(b"\\\""),
            b'\\' => line.extend_from_slice(b"\\\\"),
            b'\n' => line.extend_from_slice(b"\\n"),
            b'\t' => line.extend_from_slice(b"\\t"),
            byte => line.push(byte),
        }
    }
    line.push(b'"');
}
