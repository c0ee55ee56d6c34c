//! The start of a file: encoding, dialect, line ends, and the names of the columns.

use std::collections::HashSet;
use std::io::Read;

use gristmill_core::{Error, ErrorKind, Result};

use super::chunk::Width;
use super::encoding::{self, Start};
use super::exact::{self, Cause, Line, Step};
use super::grammar::{CR, Grammar, LF};
use super::options::{Dialect, Encoding, Header, ReadOptions};
use super::sniff;
use super::text::Text;
use crate::Sizes;
use crate::compression::read_error;

/// What the start of a file told.
pub(super) struct Head {
    /// The file, from its first byte.
    pub text: Text,
    /// Whether the text is that of the file in another encoding.
    pub transcoded: bool,
    /// What delimits its fields and records.
    pub grammar: Grammar,
    /// Names of the fields, each once.
    pub names: Vec<String>,
    /// What says how many they are.
    pub width: Width,
    /// Where the first record starts in the text.
    pub body: usize,
}

/// Reads the start of `input`, which messages call `name`. Adds to `notes` what a user should
/// know.
pub(super) fn read(
    input: Box<dyn Read + Send>,
    name: &str,
    options: &ReadOptions,
    grammar: Grammar,
    sizes: Sizes,
    notes: &mut Vec<String>,
) -> Result<Head> {
    HeadReader { name, options, grammar, sizes, notes }.read(input)
}

struct HeadReader<'a> {
    name: &'a str,
    options: &'a ReadOptions,
    grammar: Grammar,
    sizes: Sizes,
    notes: &'a mut Vec<String>,
}

impl HeadReader<'_> {
    fn read(mut self, input: Box<dyn Read + Send>) -> Result<Head> {
        let name = self.name;
        let (input, Start { encoding, mark }) = encoding::utf8(input, self.options.encoding)
            .map_err(|error| read_error(name, error))?;
        if self.options.encoding == Encoding::Auto && encoding != Encoding::Utf8 {
            let order = if encoding == Encoding::Utf16le { "little" } else { "big" };
            self.notes.push(format!("`{name}` is in UTF-16, {order}-endian"));
        } else if mark > 0 {
            self.notes.push(format!("`{name}` begins with a byte order mark"));
        }
        let mut text = Text::new(input, self.sizes.chunk);
        text.fill(name, sniff::SAMPLE)?;

        let mut at = mark;
        self.grammar.line_end = self.line_end(&mut text, at)?;
        for _ in 0..self.options.skip_rows {
            at = self.skip_line(&mut text, at)?;
        }
        self.guess_dialect(&text, at);
        if self.grammar.line_end == CR {
            self.notes.push(format!("lines of `{name}` end in CR alone"));
        }

        let found = self.first_record(&mut text, at)?;
        let given = self.options.names.clone();
        let (names, width, body) = match (found, self.options.header) {
            (None, _) => {
                if text.bytes().len() == mark {
                    self.notes.push(format!("`{name}` is empty"));
                } else {
                    self.notes.push(format!("`{name}` has no header and no record"));
                }
                (given, Width::Names, text.bytes().len())
            }
            (Some(first), Header::Present) => {
                let width = Width::Header;
                self.notes.extend(self.other_delimiter(&first));
                if given.is_empty() {
                    let names = unique(first.names(name)?, name, self.notes);
                    (names, width, first.next)
                } else if given.len() == first.fields.len() {
                    (given, width, first.next)
                } else {
                    return Err(Error::new(
                        ErrorKind::Schema,
                        format!(
                            "`names` has {} where the header of `{name}` has {}",
                            given.len(),
                            first.fields.len()
                        ),
                    )
                    .hint("give every column a name, or leave `names` out"));
                }
            }
            (Some(first), Header::Absent) if given.is_empty() => {
                let count = first.fields.len();
                let names = (1..=count).map(|position| format!("column_{position}")).collect();
                (names, Width::FirstRecord, first.start)
            }
            (Some(first), Header::Absent) => (given, Width::Names, first.start),
        };
        let transcoded = encoding != Encoding::Utf8;
        Ok(Head { text, transcoded, grammar: self.grammar, names, width, body })
    }

    fn line_end(&self, text: &mut Text, at: usize) -> Result<u8> {
        loop {
            let rest = &text.bytes()[at..];
            let comment =
                self.grammar.comment.is_some() && self.grammar.comment == rest.first().copied();
            let quotes = self.options.skip_rows == 0 && !comment;
            if let Some(byte) = sniff::line_end(rest, &self.grammar, text.eof(), quotes) {
                return Ok(byte);
            }
            if rest.len() > self.sizes.max_record {
                return Ok(LF);
            }
            text.fill(self.name, 2 * text.bytes().len())?;
        }
    }

    fn guess_dialect(&mut self, text: &Text, at: usize) {
        if self.options.dialect == Dialect::Fixed {
            return;
        }
        let text_len = text.bytes().len();
        let mut sample = &text.bytes()[at..text_len.min(at + sniff::SAMPLE)];
        if !(text.eof() && at + sample.len() == text_len)
            && let Some(end) = memchr::memrchr(self.grammar.line_end, sample)
        {
            sample = &sample[..=end];
        }
        let Some((delimiter, quote)) = sniff::dialect(sample, &self.grammar) else { return };
        self.grammar.delimiter = delimiter;
        self.grammar.quote = quote;
        let quote = match quote {
            Some(quote) => format!("quote `{}`", char::from(quote)),
            None => "no quote".to_owned(),
        };
        self.notes.push(format!(
            "`{}` was taken to have the delimiter `{}` and {quote}",
            self.name,
            char::from(delimiter).escape_default()
        ));
    }

    /// Answers where the line after the one at `at` starts.
    fn skip_line(&self, text: &mut Text, at: usize) -> Result<usize> {
        loop {
            match exact::line(text.bytes(), at, text.eof(), &self.grammar, self.sizes.max_record) {
                Line::Ends { next, .. } => return Ok(next),
                Line::More => text.fill(self.name, 2 * text.bytes().len())?,
                Line::Long => {
                    return Err(self.no_header("a line that is to be skipped is too long"));
                }
            }
        }
    }

    /// The record at `at` or behind the blank lines and comments there; `None` at the end.
    fn first_record(&self, text: &mut Text, mut at: usize) -> Result<Option<First>> {
        let max = self.sizes.max_record;
        loop {
            if at == text.bytes().len() && text.eof() {
                return Ok(None);
            }
            let mut delimiters = Vec::new();
            match exact::record(text.bytes(), at, text.eof(), &self.grammar, max, |delimiter| {
                delimiters.push(delimiter);
            }) {
                Step::Skip { next } => at = next,
                Step::More => text.fill(self.name, 2 * text.bytes().len())?,
                Step::Record { end, next } => {
                    delimiters.push(end);
                    let mut scratch = Vec::new();
                    let mut start = at;
                    let fields = delimiters
                        .into_iter()
                        .map(|end| {
                            let field = &text.bytes()[start..end];
                            start = end + 1;
                            exact::content(field, &self.grammar, &mut scratch).0.to_vec()
                        })
                        .collect();
                    return Ok(Some(First { start: at, next, fields }));
                }
                Step::Malformed(_) if self.options.header == Header::Absent => {
                    if self.options.names.is_empty() {
                        return Err(self.no_header(
                            "there are no names, and the first record does not tell how many \
                             fields there are",
                        ));
                    }
                    return Ok(Some(First { start: at, next: at, fields: Vec::new() }));
                }
                Step::Malformed(flaw) => {
                    return Err(self.no_header(match flaw.cause {
                        Cause::TextAfterQuote => "there is text after a closing quote",
                        Cause::Unclosed | Cause::UnclosedInLimit => "a quote is not closed",
                        Cause::TooLong | Cause::LongComment => "it is too long",
                    }));
                }
            }
        }
    }

    /// What may be wrong where the header is one name that holds a delimiter of other files.
    fn other_delimiter(&self, first: &First) -> Option<String> {
        let [name] = first.fields.as_slice() else { return None };
        let found = name.iter().find(|byte| b",;\t|".contains(byte))?;
        let delimiter = if *found == b'\t' { "tab".into() } else { char::from(*found).to_string() };
        Some(format!(
            "`{}` has one column; if its delimiter is `{delimiter}`, say `csv: {{delimiter: \"{delimiter}\"}}`",
            self.name
        ))
    }

    fn no_header(&self, why: &str) -> Error {
        Error::new(
            ErrorKind::Corrupt,
            format!("the header of `{}` cannot be read: {why}", self.name),
        )
        .hint("check `delimiter`, `quote`, `skip_rows` and `encoding`")
    }
}

/// The first record: the header, if there is one.
struct First {
    start: usize,
    next: usize,
    fields: Vec<Vec<u8>>,
}

impl First {
    fn names(&self, source: &str) -> Result<Vec<String>> {
        let name = |(index, field): (usize, &Vec<u8>)| {
            let what = match String::from_utf8(field.clone()) {
                Ok(name) if !name.contains('\0') => return Ok(name),
                Ok(_) => "holds a NUL byte",
                Err(_) => "is not UTF-8",
            };
            let position = index + 1;
            Err(Error::new(
                ErrorKind::Corrupt,
                format!("name {position} in the header of `{source}` {what}"),
            )
            .hint("say the file's `encoding`, for example `latin1` or `utf16`"))
        };
        self.fields.iter().enumerate().map(name).collect()
    }
}

/// Names that are not empty and not twice: an empty one becomes `column_3`, a second `name`
/// `name_2`. Says in `notes` what was changed in the input called `source`.
pub(super) fn unique(names: Vec<String>, source: &str, notes: &mut Vec<String>) -> Vec<String> {
    let mut taken: HashSet<String> =
        names.iter().filter(|name| !name.is_empty()).cloned().collect();
    let mut seen = HashSet::new();
    let mut unique = Vec::with_capacity(names.len());
    for (index, name) in names.into_iter().enumerate() {
        let position = index + 1;
        if name.is_empty() {
            let new = free(&format!("column_{position}"), &mut taken);
            notes.push(format!(
                "column {position} of `{source}` has no name in the header; it is called `{new}`"
            ));
            unique.push(new);
        } else if seen.insert(name.clone()) {
            unique.push(name);
        } else {
            let new = free(&name, &mut taken);
            notes.push(format!(
                "the header of `{source}` has `{name}` twice; column {position} is called `{new}`"
            ));
            unique.push(new);
        }
    }
    unique
}

fn free(name: &str, taken: &mut HashSet<String>) -> String {
    if taken.insert(name.to_owned()) {
        return name.to_owned();
    }
    (2..).map(|n| format!("{name}_{n}")).find(|new| taken.insert(new.clone())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_gets_a_name_of_its_own() {
        let mut notes = Vec::new();
        let names = ["a", "", "a", "a_2", "a", "", "column_6"].map(str::to_owned).to_vec();
        let unique = unique(names, "x.csv", &mut notes);
        assert_eq!(unique, ["a", "column_2", "a_3", "a_2", "a_4", "column_6_2", "column_6"]);
        assert_eq!(
            notes[0],
            "column 2 of `x.csv` has no name in the header; it is called `column_2`"
        );
        assert_eq!(notes[1], "the header of `x.csv` has `a` twice; column 3 is called `a_3`");
        assert_eq!(notes.len(), 4);
    }
}
