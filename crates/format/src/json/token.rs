//! The tokenizer: RFC 8259 exactly, over one record's bytes, which are UTF-8.
//!
//! A value is checked in full before anything is made of it; what is made of it then works on its
//! [`Token`] and cannot fail.

use std::borrow::Cow;

use gristmill_core::Reason;
use gristmill_core::json::ordinary;

/// Levels that objects and arrays may be nested in one another.
pub(super) const MAX_DEPTH: u32 = 128;

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    Bool,
    Number,
    /// A string without escapes.
    Plain,
    /// A string with escapes.
    Escaped,
    Array,
    Object,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Null => "null",
            Kind::Bool => "a truth value",
            Kind::Number => "a number",
            Kind::Plain | Kind::Escaped => "a string",
            Kind::Array => "an array",
            Kind::Object => "an object",
        }
    }
}

/// A checked value: its kind and its bytes in the record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token {
    pub(super) kind: Kind,
    start: u32,
    end: u32,
}

impl Token {
    /// Its first byte in the record.
    pub(super) fn start(self) -> usize {
        self.start as usize
    }

    /// The value as it stands, quotes included.
    pub(super) fn text(self, record: &[u8]) -> &[u8] {
        &record[self.start as usize..self.end as usize]
    }

    /// A string's text between its quotes, escapes as they stand.
    fn inner(self, record: &[u8]) -> &[u8] {
        &record[self.start as usize + 1..self.end as usize - 1]
    }

    /// A string's value.
    pub(super) fn string(self, record: &[u8]) -> Cow<'_, [u8]> {
        if self.kind == Kind::Escaped {
            let mut value = Vec::new();
            unescape(self.inner(record), &mut value);
            return Cow::Owned(value);
        }
        Cow::Borrowed(self.inner(record))
    }

    /// Appends a string's value.
    pub(super) fn string_into(self, record: &[u8], out: &mut Vec<u8>) {
        unescape(self.inner(record), out);
    }

    /// Appends the value without the white space between its tokens.
    pub(super) fn compact_into(self, record: &[u8], out: &mut Vec<u8>) {
        let mut in_string = false;
        let mut escaped = false;
        for &byte in self.text(record) {
            if in_string {
                out.push(byte);
                in_string = escaped || byte != b'"';
                escaped = !escaped && byte == b'\\';
            } else if !is_blank(byte) {
                out.push(byte);
                in_string = byte == b'"';
            }
        }
    }

    /// The members of an object.
    pub(super) fn members(self, record: &[u8], mut each: impl FnMut(Cow<'_, [u8]>, Token)) {
        let mut cursor = Cursor { text: record, at: self.start as usize, depth: 0 };
        // The value was checked: the walk cannot find a fault.
        let _ = cursor.object(|key, token| {
            each(key.string(record), token);
            Ok(())
        });
    }

    /// The elements of an array.
    pub(super) fn elements(self, record: &[u8], each: impl FnMut(Token)) {
        let mut cursor = Cursor { text: record, at: self.start as usize, depth: 0 };
        let _ = cursor.array(each);
    }
}

/// Why a record is not a JSON object.
#[derive(Debug)]
pub(super) struct Fault {
    rule: &'static str,
    at: usize,
    message: String,
}

pub(super) type Checked<T> = Result<T, Box<Fault>>;

/// The rule that a record is an object.
const WHOLE: &str = "object";

impl Fault {
    pub(super) fn new(rule: &'static str, at: usize, message: impl Into<String>) -> Box<Self> {
        Box::new(Self { rule, at, message: message.into() })
    }

    /// The reason for the reject, which says where in the record the fault is, unless it is about
    /// the record as a whole.
    pub(super) fn reason(&self, record: &[u8]) -> Reason {
        if self.rule == WHOLE {
            return Reason::record(self.rule, self.message.clone());
        }
        let before = &record[..self.at.min(record.len())];
        let lines = memchr::memchr_iter(b'\n', before).count();
        let line_start = memchr::memrchr(b'\n', before).map_or(0, |at| at + 1);
        let column = String::from_utf8_lossy(&before[line_start..]).chars().count() + 1;
        let place = match lines {
            0 => format!("column {column} of the record"),
            _ => format!("line {}, column {column} of the record", lines + 1),
        };
        Reason::record(self.rule, format!("{} at {place}", self.message))
    }
}

/// Checks a record and hands out its members.
///
/// # Errors
/// The first fault. Members before it were handed out.
pub(super) fn record(text: &[u8], each: impl FnMut(Token, Token) -> Checked<()>) -> Checked<()> {
    let mut cursor = Cursor { text, at: 0, depth: 0 };
    cursor.skip_blank();
    let start = cursor.at;
    let kind = if cursor.peek() == Some(b'{') {
        cursor.object(each)?;
        Kind::Object
    } else {
        cursor.value()?.kind
    };
    cursor.skip_blank();
    if cursor.at < text.len() {
        return Err(cursor.expected("the end of the record"));
    }
    if kind != Kind::Object {
        let message = format!("the record is {}, not an object", kind.name());
        return Err(Fault::new(WHOLE, start, message));
    }
    Ok(())
}

pub(super) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// The length without blanks at the end.
pub(super) fn trimmed_len(text: &[u8]) -> usize {
    text.iter().rposition(|&byte| !is_blank(byte)).map_or(0, |at| at + 1)
}

struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
    depth: u32,
}

impl Cursor<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn skip_blank(&mut self) {
        while self.peek().is_some_and(is_blank) {
            self.at += 1;
        }
    }

    fn expected(&self, what: &str) -> Box<Fault> {
        let rest = &self.text[self.at.min(self.text.len())..];
        let head = String::from_utf8_lossy(&rest[..rest.len().min(4)]);
        let found = match head.chars().next() {
            Some(char @ ('"' | '\'')) => format!("`{char}`"),
            Some(char) => format!("`{}`", char.escape_debug()),
            None => "its end".to_owned(),
        };
        Fault::new("json", self.at, format!("expected {what} but found {found}"))
    }

    fn token(&self, kind: Kind, start: usize) -> Token {
        Token { kind, start: start as u32, end: self.at as u32 }
    }

    fn value(&mut self) -> Checked<Token> {
        let start = self.at;
        let kind = match self.peek() {
            Some(b'"') => self.string()?,
            Some(b'-' | b'0'..=b'9') => {
                self.number()?;
                Kind::Number
            }
            Some(b'{') => {
                self.object(|_, _| Ok(()))?;
                Kind::Object
            }
            Some(b'[') => {
                self.array(|_| ())?;
                Kind::Array
            }
            Some(b't') => self.word(b"true", Kind::Bool)?,
            Some(b'f') => self.word(b"false", Kind::Bool)?,
            Some(b'n') => self.word(b"null", Kind::Null)?,
            _ => return Err(self.expected("a value")),
        };
        Ok(self.token(kind, start))
    }

    fn word(&mut self, word: &'static [u8], kind: Kind) -> Checked<Kind> {
        if !self.text[self.at..].starts_with(word) {
            return Err(self.expected("a value"));
        }
        self.at += word.len();
        Ok(kind)
    }

    fn descend(&mut self) -> Checked<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            let message = format!("more than {MAX_DEPTH} levels of objects and arrays");
            return Err(Fault::new("depth", self.at, message));
        }
        self.at += 1;
        self.skip_blank();
        Ok(())
    }

    fn ascend(&mut self) {
        self.at += 1;
        self.depth -= 1;
    }

    fn object(&mut self, mut each: impl FnMut(Token, Token) -> Checked<()>) -> Checked<()> {
        self.descend()?;
        if self.peek() == Some(b'}') {
            self.ascend();
            return Ok(());
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err(self.expected("a key in quotes"));
            }
            let start = self.at;
            let kind = self.string()?;
            let key = self.token(kind, start);
            self.skip_blank();
            if self.peek() != Some(b':') {
                return Err(self.expected("`:`"));
            }
            self.at += 1;
            self.skip_blank();
            let value = self.value()?;
            each(key, value)?;
            self.skip_blank();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.ascend();
                    return Ok(());
                }
                _ => return Err(self.expected("`,` or `}`")),
            }
            self.skip_blank();
        }
    }

    fn array(&mut self, mut each: impl FnMut(Token)) -> Checked<()> {
        self.descend()?;
        if self.peek() == Some(b']') {
            self.ascend();
            return Ok(());
        }
        loop {
            let value = self.value()?;
            each(value);
            self.skip_blank();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.ascend();
                    return Ok(());
                }
                _ => return Err(self.expected("`,` or `]`")),
            }
            self.skip_blank();
        }
    }

    fn number(&mut self) -> Checked<()> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Checked<()> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start { Err(self.expected("a digit")) } else { Ok(()) }
    }

    /// A string from its opening quote to behind its closing one.
    fn string(&mut self) -> Checked<Kind> {
        let start = self.at;
        self.at += 1;
        let mut kind = Kind::Plain;
        loop {
            self.at += ordinary(&self.text[self.at..]);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(kind);
                }
                Some(b'\\') => {
                    kind = Kind::Escaped;
                    self.escape()?;
                }
                Some(byte) => {
                    let message = format!(
                        "a string has the control character U+{byte:04X}, which must be escaped"
                    );
                    return Err(Fault::new("json", self.at, message));
                }
                None => return Err(Fault::new("json", start, "a string is not closed; it opens")),
            }
        }
    }

    fn escape(&mut self) -> Checked<()> {
        let escape = self.text.get(self.at + 1);
        match escape {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 2;
                return Ok(());
            }
            Some(b'u') => {}
            _ => {
                self.at += 1;
                return Err(self.expected("an escape"));
            }
        }
        let code = &self.text[self.at + 2..];
        if hex(code).is_none() {
            return Err(Fault::new("json", self.at, "`\\u` without four hexadecimal digits"));
        }
        match character(code) {
            Some(('\0', _)) => Err(Fault::new("nul", self.at, "a string has the character U+0000")),
            Some((_, len)) => {
                self.at += 2 + len;
                Ok(())
            }
            None => Err(Fault::new("json", self.at, "half a surrogate pair")),
        }
    }
}

fn unescape(mut text: &[u8], out: &mut Vec<u8>) {
    while let Some(at) = memchr::memchr(b'\\', text) {
        out.extend_from_slice(&text[..at]);
        let escape = text[at + 1];
        text = &text[at + 2..];
        out.push(match escape {
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                if let Some((char, len)) = character(text) {
                    out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
                    text = &text[len..];
                }
                continue;
            }
            other => other,
        });
    }
    out.extend_from_slice(text);
}

/// Four hexadecimal digits.
fn hex(text: &[u8]) -> Option<u32> {
    text.get(..4)?
        .iter()
        .try_fold(0, |value, &byte| Some(value << 4 | char::from(byte).to_digit(16)?))
}

/// The character whose code stands behind `\u`, with the second half of a surrogate pair if it
/// needs one, and the length of all that.
fn character(code: &[u8]) -> Option<(char, usize)> {
    let high = hex(code)?;
    if let Some(char) = char::from_u32(high) {
        return Some((char, 4));
    }
    let low = hex(code.get(4..)?.strip_prefix(b"\\u")?)?;
    if !(0xD800..0xDC00).contains(&high) || !(0xDC00..0xE000).contains(&low) {
        return None;
    }
    Some((char::from_u32(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))?, 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> String {
        match record(text.as_bytes(), |_, _| Ok(())) {
            Ok(()) => "none".into(),
            Err(fault) => {
                let reason = fault.reason(text.as_bytes());
                format!("{}: {}", reason.rule, reason.message)
            }
        }
    }

    #[test]
    fn faults_name_the_rule_and_the_column() {
        for (text, expected) in [
            (r#"{"a": 1} "#, "none"),
            (r#"{"a" 1}"#, "json: expected `:` but found `1` at column 6 of the record"),
            (r#"{"é": x}"#, "json: expected a value but found `x` at column 7 of the record"),
            (
                "{\"a\": 1,\n \"b\"}",
                "json: expected `:` but found `}` at line 2, column 5 of the record",
            ),
            (r#"{"a": 01}"#, "json: expected `,` or `}` but found `1` at column 8 of the record"),
            (r#"{"a": "x"#, "json: a string is not closed; it opens at column 7 of the record"),
            (r#"{"a": "\ud800x"}"#, "json: half a surrogate pair at column 8 of the record"),
            (
                r#"{"a": "\u0000"}"#,
                "nul: a string has the character U+0000 at column 8 of the record",
            ),
            ("[1]", "object: the record is an array, not an object"),
            ("", "json: expected a value but found its end at column 1 of the record"),
        ] {
            assert_eq!(rule(text), expected, "{text}");
        }
        assert!(rule(&format!("{{\"a\":{}{}}}", "[".repeat(127), "]".repeat(127))) == "none");
        assert!(
            rule(&format!("{{\"a\":{}{}}}", "[".repeat(128), "]".repeat(128))).starts_with("depth")
        );
    }

    #[test]
    fn compact_text_keeps_blanks_in_strings() {
        let text = br#"{"a": { "b c" : [ 1.50 , "\" x" ] } }"#;
        let mut out = Vec::new();
        record(text, |_, value| {
            value.compact_into(text, &mut out);
            Ok(())
        })
        .unwrap();
        assert_eq!(str::from_utf8(&out).unwrap(), r#"{"b c":[1.50,"\" x"]}"#);
    }
}
