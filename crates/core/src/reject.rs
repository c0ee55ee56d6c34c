//! Rejects: records taken out, with every reason, and their form in the rejects file.

use std::borrow::Cow;
use std::io::{self, Write};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::json::write_string;
use crate::origin::{Location, Locator, Origin};

/// The stage that took a record out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The record could not be read: ragged, badly quoted, undecodable.
    Parse,
    /// A value is not of its column's type.
    Type,
    /// A rule failed.
    Validate,
    /// A step could not be computed.
    Transform,
    /// The destination refused the record.
    Load,
}

impl Stage {
    /// The name in the rejects file.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Parse => "parse",
            Stage::Type => "type",
            Stage::Validate => "validate",
            Stage::Transform => "transform",
            Stage::Load => "load",
        }
    }
}

/// One reason why a record was taken out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// The field it is about; none when it is about the record.
    pub field: Option<Cow<'static, str>>,
    /// The rule that failed, for example `required`, `type`, `fee_cap`, `fields`.
    pub rule: Cow<'static, str>,
    /// What is wrong, in words.
    pub message: String,
    /// The value found, as text; none for a null.
    pub value: Option<String>,
}

impl Reason {
    /// A reason about the whole record.
    pub fn record(rule: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { field: None, rule: rule.into(), message: message.into(), value: None }
    }

    /// A reason about one field.
    pub fn field(
        field: impl Into<Cow<'static, str>>,
        rule: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
        value: Option<String>,
    ) -> Self {
        Self { field: Some(field.into()), rule: rule.into(), message: message.into(), value }
    }
}

/// A record taken out of the flow.
#[derive(Debug, Clone)]
pub struct Reject {
    /// Provenance of the batch it was in.
    pub origin: Arc<Origin>,
    /// Which record of the origin.
    pub ordinal: u32,
    /// The stage that took it out; with reasons of several stages, the first.
    pub stage: Stage,
    /// Every reason, at least one.
    pub errors: Vec<Reason>,
}

/// A reject as one line of the rejects file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RejectLine {
    /// Id of the run.
    pub run: String,
    /// Name of the pipeline.
    pub pipeline: String,
    /// The stage that took it out.
    pub stage: Stage,
    /// Name of the source.
    pub source: String,
    /// Number of the record in the source, from 1.
    pub record: u64,
    /// Line on which the record starts, from 1.
    pub line: Option<u64>,
    /// First byte of the record in the source's decompressed UTF-8 text.
    pub offset: Option<u64>,
    /// Length of the record in bytes.
    pub length: Option<u64>,
    /// The record as it stood in the source.
    pub raw: String,
    /// Whether `raw` was cut short.
    pub truncated: bool,
    /// Every reason.
    pub errors: Vec<Reason>,
}

/// The longest `raw` that the rejects file keeps, in bytes.
pub const MAX_RAW: usize = 1 << 20;

/// Of a [`RejectLine`] what depends on where in its source a batch stands.
#[derive(Debug)]
pub struct LineHead<'a> {
    /// As in [`RejectLine`].
    pub stage: Stage,
    /// As in [`RejectLine`].
    pub source: &'a str,
    /// As in [`RejectLine`].
    pub record: u64,
    /// As in [`RejectLine`].
    pub line: Option<u64>,
}

/// Writes the lines of a rejects file: [`RejectLine`]s as JSON.
#[derive(Debug)]
pub struct LineWriter {
    /// A line up to the stage.
    start: Vec<u8>,
    /// The last source, and the line from behind the stage up to the record's number.
    source: Option<(String, Vec<u8>)>,
    /// The line up to its tail.
    head: Vec<u8>,
}

impl LineWriter {
    /// A writer for the rejects of one run of a pipeline.
    pub fn new(run: &str, pipeline: &str) -> Self {
        let mut start = b"{\"run\":".to_vec();
        write_string(&mut start, run);
        start.extend_from_slice(b",\"pipeline\":");
        write_string(&mut start, pipeline);
        start.extend_from_slice(b",\"stage\":\"");
        Self { start, source: None, head: Vec::new() }
    }

    /// Writes the line that has this head and ends with a [tail](Reject::write_tail), and a line
    /// end. Answers how many bytes that are.
    ///
    /// # Errors
    /// When `out` takes no more.
    pub fn write(
        &mut self,
        line: &LineHead<'_>,
        tail: &[u8],
        out: &mut impl Write,
    ) -> io::Result<u64> {
        let source = match &mut self.source {
            Some((last, text)) if last == line.source => text,
            other => {
                let mut text = b"\",\"source\":".to_vec();
                write_string(&mut text, line.source);
                text.extend_from_slice(b",\"record\":");
                &mut other.insert((line.source.to_owned(), text)).1
            }
        };
        self.head.clear();
        self.head.extend_from_slice(&self.start);
        self.head.extend_from_slice(line.stage.name().as_bytes());
        self.head.extend_from_slice(source);
        write_number(&mut self.head, Some(line.record));
        self.head.extend_from_slice(b",\"line\":");
        write_number(&mut self.head, line.line);
        self.head.push(b',');
        out.write_all(&self.head)?;
        out.write_all(tail)?;
        out.write_all(b"\n")?;
        Ok((self.head.len() + tail.len() + 1) as u64)
    }
}

impl Reject {
    /// The reject as it is written. Call it in source order, with one locator, so that lines are
    /// counted once.
    pub fn to_line(&self, run: &str, pipeline: &str, locator: &mut Locator) -> RejectLine {
        let location = locator.locate(&self.origin, self.ordinal as usize);
        let (raw, truncated) = self.raw(&location);
        RejectLine {
            run: run.to_owned(),
            pipeline: pipeline.to_owned(),
            stage: self.stage,
            source: self.origin.source().to_string(),
            record: location.record,
            line: location.line,
            offset: location.offset,
            length: location.length,
            raw: raw.into_owned(),
            truncated,
            errors: self.errors.clone(),
        }
    }

    /// Appends what stands behind `line` in the [`RejectLine`]: the part that is known before
    /// anybody knows where in its source the batch stands. See [`LineWriter`].
    pub fn write_tail(&self, location: &Location, out: &mut Vec<u8>) {
        let (raw, truncated) = self.raw(location);
        out.extend_from_slice(b"\"offset\":");
        write_number(out, location.offset);
        out.extend_from_slice(b",\"length\":");
        write_number(out, location.length);
        out.extend_from_slice(b",\"raw\":");
        write_string(out, &raw);
        out.extend_from_slice(b",\"truncated\":");
        out.extend_from_slice(if truncated { b"true" } else { b"false" });
        out.extend_from_slice(b",\"errors\":[");
        for (n, reason) in self.errors.iter().enumerate() {
            out.extend_from_slice(if n == 0 { b"{\"field\":" } else { b",{\"field\":" });
            write_text(out, reason.field.as_deref());
            out.extend_from_slice(b",\"rule\":");
            write_string(out, &reason.rule);
            out.extend_from_slice(b",\"message\":");
            write_string(out, &reason.message);
            out.extend_from_slice(b",\"value\":");
            write_text(out, reason.value.as_deref());
            out.push(b'}');
        }
        out.extend_from_slice(b"]}");
    }

    /// The record as it stood, as much of it as the rejects file keeps, and whether that is less
    /// than all.
    fn raw(&self, location: &Location) -> (Cow<'_, str>, bool) {
        let raw = self.origin.raw(self.ordinal as usize);
        let truncated = location.length.is_some_and(|length| length > raw.len() as u64);
        if raw.len() <= MAX_RAW {
            return (raw, truncated);
        }
        let cut = raw.floor_char_boundary(MAX_RAW);
        match raw {
            Cow::Borrowed(raw) => (Cow::Borrowed(&raw[..cut]), true),
            Cow::Owned(mut raw) => {
                raw.truncate(cut);
                (Cow::Owned(raw), true)
            }
        }
    }
}

fn write_number(out: &mut Vec<u8>, number: Option<u64>) {
    let mut digits = itoa::Buffer::new();
    out.extend_from_slice(number.map_or("null", |number| digits.format(number)).as_bytes());
}

fn write_text(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        Some(text) => write_string(out, text),
        None => out.extend_from_slice(b"null"),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::origin::{Place, Span};

    #[test]
    fn a_line_of_head_and_tail_is_the_line() {
        let text = Bytes::from_static("id,née\n1,\"a\nb\"\n".as_bytes());
        let spans = vec![Span { start: 0, len: 7 }, Span { start: 8, len: 70 }];
        let origin = Arc::new(Origin::text("x \"y\".csv".into(), text, 5, spans, b'\n'));
        origin.set_place(Place { first_record: 10, first_line: 20 });
        let errors = vec![
            Reason::record("fields", "1 field"),
            Reason::field("née", "type", "`\"` is not an int", Some("\"".to_owned())),
        ];
        let mut lines = LineWriter::new("r\"", "p");
        for ordinal in 0..2 {
            let origin = Arc::clone(&origin);
            let reject = Reject { origin, ordinal, stage: Stage::Parse, errors: errors.clone() };
            let line = reject.to_line("r\"", "p", &mut Locator::default());
            let location = reject.origin.locate(ordinal as usize);
            let (mut tail, mut out) = (b"kept".to_vec(), Vec::new());
            reject.write_tail(&location, &mut tail);
            let head = LineHead {
                stage: Stage::Parse,
                source: reject.origin.source(),
                record: location.record,
                line: location.line,
            };
            lines.write(&head, &tail[4..], &mut out).unwrap();
            assert_eq!(out, (serde_json::to_string(&line).unwrap() + "\n").into_bytes());
        }
    }
}
