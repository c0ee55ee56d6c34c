//! The bytes that give a text its structure, checked.

use gristmill_core::{Mistake, Pointer};

use super::options::ReadOptions;

pub(super) const LF: u8 = b'\n';
pub(super) const CR: u8 = b'\r';

/// What delimits fields and records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Grammar {
    /// Between fields.
    pub delimiter: u8,
    /// Around fields.
    pub quote: Option<u8>,
    /// Takes the next byte literally, inside of quotes.
    pub escape: Option<u8>,
    /// Makes a line a comment.
    pub comment: Option<u8>,
    /// Ends a line: LF, or CR in a file without LF. A CR before LF belongs to the line end.
    pub line_end: u8,
}

impl Grammar {
    /// The grammar that the options say, for lines that end in LF.
    pub(super) fn new(options: &ReadOptions) -> Result<Self, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let mut seen: Vec<(&str, u8)> = Vec::new();
        let mut read = |key: &'static str, byte: Result<u8, String>| {
            let wrong = |message: String| Mistake::new(Pointer::root().key(key), message);
            match byte {
                Err(message) => mistakes.push(wrong(message)),
                Ok(byte) => match seen.iter().find(|(_, other)| *other == byte) {
                    Some((other, _)) => mistakes.push(wrong(format!(
                        "the {key} and the {other} are both `{}`",
                        char::from(byte).to_string().replace('\t', "\\t")
                    ))),
                    None => {
                        seen.push((key, byte));
                        return byte;
                    }
                },
            }
            0
        };
        let delimiter = read("delimiter", delimiter(options.delimiter.as_deref()));
        let quote = options.quote.as_deref().map(|text| read("quote", byte(text, "quote")));
        let comment = options.comment.as_deref().map(|text| read("comment", byte(text, "comment")));
        let escape = options.escape.as_deref().map(|text| read("escape", byte(text, "escape")));
        if escape.is_some() && quote.is_none() {
            mistakes.push(Mistake::new(
                Pointer::root().key("escape"),
                "an escape means something only inside of quotes, and there is no quote",
            ));
        }
        if mistakes.is_empty() {
            Ok(Self { delimiter, quote, escape, comment, line_end: LF })
        } else {
            Err(mistakes)
        }
    }

    /// Whether the masks of [`super::scan`] and [`super::index`] tell the structure. They know
    /// neither escapes nor comments.
    pub(super) fn is_plain(&self) -> bool {
        self.escape.is_none() && self.comment.is_none()
    }

    /// The end of a line's content, whose line end (or the end of the text) is at `at`: before the
    /// CR of a CRLF. Never before `start`.
    pub(super) fn content_end(&self, text: &[u8], start: usize, at: usize) -> usize {
        if self.line_end == LF && at > start && text[at - 1] == CR { at - 1 } else { at }
    }
}

/// The delimiter's byte, a comma unless it is said.
pub(super) fn delimiter(text: Option<&str>) -> Result<u8, String> {
    match text {
        None => Ok(b','),
        Some("tab" | "\\t") => Ok(b'\t'),
        Some(text) => byte(text, "delimiter"),
    }
}

fn byte(text: &str, what: &str) -> Result<u8, String> {
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (None, _) => Err("there is no character".to_owned()),
        (Some(_), Some(_)) => Err(format!("`{}` is not one character", text.escape_debug())),
        (Some('\n' | '\r'), None) => Err(format!("a line end cannot be a {what}")),
        (Some('\0'), None) => Err(format!("a NUL byte cannot be a {what}")),
        (Some(c), None) if c.is_ascii() => Ok(c as u8),
        (Some(c), None) => Err(format!("`{c}` is not an ASCII character")),
    }
}
