//! The tokenizer: RFC 8259 exactly, over one record's bytes, which are UTF-8.
//!
//! A record is checked in full before anything is made of it; what is made of it then works on
//! [`Token`]s and cannot fail.

use std::borrow::Cow;

use super::escape::{Piece, character, hex, pieces};
use super::fault::{Checked, Fault, WHOLE};
use super::keys::{Keys, UNKNOWN};
use super::lanes;
use super::walk::skip_string;

/// Levels that objects and arrays may be nested in one another.
pub(super) const MAX_DEPTH: u32 = 128;

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    Bool,
    /// A number without fraction and exponent.
    Int,
    /// Any other number.
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
            Kind::Int | Kind::Number => "a number",
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
    pub(super) start: u32,
    pub(super) end: u32,
    /// Of an array or object, its position in [`Inner`].
    pub(super) inner: u32,
}

/// Where the arrays and objects of records end that are inside of others or of fields, in the
/// order in which they start: so none is read again to find its end.
#[derive(Debug, Default)]
pub(super) struct Inner(pub(super) Vec<Span>);

#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    /// Behind its bracket.
    pub(super) end: u32,
    /// The position in [`Inner`] of the first that starts after it.
    pub(super) after: u32,
}

impl Inner {
    /// Forgets all. The tokens that were made so far must not be looked into any more.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

impl Token {
    /// Its first byte in the record, and the one behind its last.
    pub(super) fn range(self) -> (usize, usize) {
        (self.start as usize, self.end as usize)
    }

    /// How many bytes it has.
    pub(super) fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    /// The value as it stands, quotes included.
    pub(super) fn text(self, record: &str) -> &str {
        &record[self.start as usize..self.end as usize]
    }

    /// A string's text between its quotes, escapes as they stand.
    pub(super) fn content(self, record: &str) -> &str {
        &record[self.start as usize + 1..self.end as usize - 1]
    }

    /// A string's value.
    pub(super) fn string(self, record: &[u8]) -> Cow<'_, [u8]> {
        let content = &record[self.start as usize + 1..self.end as usize - 1];
        if self.kind == Kind::Escaped {
            let mut value = Vec::new();
            pieces(content, |piece| match piece {
                Piece::Same(range) => value.extend_from_slice(&content[range]),
                Piece::Char(char) => {
                    value.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
                }
            });
            return Cow::Owned(value);
        }
        Cow::Borrowed(content)
    }

    /// Appends a string's value.
    pub(super) fn string_into(self, record: &str, out: &mut String) {
        let content = self.content(record);
        pieces(content.as_bytes(), |piece| match piece {
            Piece::Same(range) => out.push_str(&content[range]),
            Piece::Char(char) => out.push(char),
        });
    }

    /// Appends the value without the white space between its tokens.
    pub(super) fn compact_into(self, record: &str, out: &mut Vec<u8>) {
        let mut rest = self.text(record).as_bytes();
        while let Some((&byte, behind)) = rest.split_first() {
            if byte == b'"' {
                let (_, len) = skip_string(rest);
                out.extend_from_slice(&rest[..len]);
                rest = &rest[len..];
                continue;
            }
            if !is_blank(byte) {
                out.push(byte);
            }
            rest = behind;
        }
    }
}

/// Checks a record and hands out its members: the positions of their keys, which are [`UNKNOWN`]
/// where `keys` does not know them, and their values. `each` answers whether a key may come.
///
/// # Errors
/// The first fault. Members before it were handed out.
#[inline(always)]
pub(super) fn record(
    text: &[u8],
    keys: &mut Keys,
    inner: &mut Inner,
    mut each: impl FnMut(usize, Token) -> bool,
) -> Checked<()> {
    let mut cursor = Cursor { text, at: 0, depth: 0, inner };
    cursor.skip_blank();
    let start = cursor.at;
    let kind = if cursor.peek() == Some(b'{') {
        let mut last = UNKNOWN;
        cursor.object(|cursor| {
            let start = cursor.at;
            last = cursor.known_key(keys, last)?;
            let value = cursor.value()?;
            if each(last, value) { Ok(()) } else { Err(again(text, start)) }
        })?;
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

#[cold]
fn again(record: &[u8], key: usize) -> Box<Fault> {
    let (kind, len) = skip_string(&record[key..]);
    let token = Token { kind, start: key as u32, end: (key + len) as u32, inner: 0 };
    let message = format!("the key `{}` again", String::from_utf8_lossy(&token.string(record)));
    Fault::new("duplicate_key", key, message)
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
    inner: &'a mut Inner,
}

impl Cursor<'_> {
    #[inline(always)]
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    #[inline(always)]
    fn skip_blank(&mut self) {
        while let Some(byte) = self.peek()
            && byte <= b' '
            && is_blank(byte)
        {
            self.at += 1;
        }
    }

    #[cold]
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

    #[inline(always)]
    fn token(&self, kind: Kind, start: usize) -> Token {
        Token { kind, start: start as u32, end: self.at as u32, inner: 0 }
    }

    #[inline(always)]
    fn value(&mut self) -> Checked<Token> {
        let start = self.at;
        let kind = match self.peek() {
            Some(b'"') => self.string()?,
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b'{' | b'[') => return self.container(),
            Some(b't') => self.word(b"true", Kind::Bool)?,
            Some(b'f') => self.word(b"false", Kind::Bool)?,
            Some(b'n') => self.word(b"null", Kind::Null)?,
            _ => return Err(self.expected("a value")),
        };
        Ok(self.token(kind, start))
    }

    /// An array or object and all that is in it.
    fn container(&mut self) -> Checked<Token> {
        let (start, position) = (self.at, self.inner.0.len());
        self.inner.0.push(Span { end: 0, after: 0 });
        let kind = if self.text[start] == b'{' {
            self.object(|cursor| {
                cursor.key()?;
                cursor.value()?;
                Ok(())
            })?;
            Kind::Object
        } else {
            self.array()?;
            Kind::Array
        };
        let after = self.inner.0.len() as u32;
        self.inner.0[position] = Span { end: self.at as u32, after };
        Ok(Token { inner: position as u32, ..self.token(kind, start) })
    }

    #[inline(always)]
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

    #[inline(always)]
    fn object(&mut self, mut member: impl FnMut(&mut Self) -> Checked<()>) -> Checked<()> {
        self.descend()?;
        if self.peek() == Some(b'}') {
            self.ascend();
            return Ok(());
        }
        loop {
            member(self)?;
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

    /// The position of a key, which came after `last`.
    #[inline(always)]
    fn known_key(&mut self, keys: &mut Keys, last: usize) -> Checked<usize> {
        if let Some((position, behind)) = keys.guess(self.text, self.at, last) {
            self.at = behind;
            self.skip_blank();
            return Ok(position);
        }
        let key = self.key()?;
        Ok(keys.find(&key.string(self.text), last))
    }

    /// A key, and the colon behind it.
    fn key(&mut self) -> Checked<Token> {
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
        Ok(key)
    }

    fn array(&mut self) -> Checked<()> {
        self.descend()?;
        if self.peek() == Some(b']') {
            self.ascend();
            return Ok(());
        }
        loop {
            self.value()?;
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

    #[inline(always)]
    fn number(&mut self) -> Checked<Kind> {
        match lanes::at(self.text, self.at).and_then(short_number) {
            Some((kind, len)) => {
                self.at += len;
                Ok(kind)
            }
            None => self.any_number(),
        }
    }

    fn any_number(&mut self) -> Checked<Kind> {
        let mut kind = Kind::Int;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.peek() == Some(b'.') {
            kind = Kind::Number;
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            kind = Kind::Number;
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(kind)
    }

    fn digits(&mut self) -> Checked<()> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start { Err(self.expected("a digit")) } else { Ok(()) }
    }

    /// A string from its opening quote to behind its closing one.
    #[inline(always)]
    fn string(&mut self) -> Checked<Kind> {
        let start = self.at;
        self.at += 1;
        self.at += lanes::ordinary(&self.text[self.at..]);
        if self.peek() == Some(b'"') {
            self.at += 1;
            return Ok(Kind::Plain);
        }
        self.long_string(start)
    }

    /// The rest of a string that has more than ordinary characters.
    fn long_string(&mut self, start: usize) -> Checked<Kind> {
        let mut kind = Kind::Plain;
        loop {
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
            self.at += lanes::ordinary(&self.text[self.at..]);
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

/// The number that starts with these bytes, if it has no exponent and ends within them.
#[inline(always)]
pub(super) fn short_number(bytes: &[u8; lanes::LANES]) -> Option<(Kind, usize)> {
    let digits = lanes::digits(bytes);
    let run = |from: usize| (!(digits >> from)).trailing_zeros() as usize;
    let sign = usize::from(bytes[0] == b'-');
    let whole = run(sign);
    if whole == 0 || (whole > 1 && bytes[sign] == b'0') {
        return None;
    }
    let mut end = sign + whole;
    let mut kind = Kind::Int;
    if *bytes.get(end)? == b'.' {
        let fraction = run(end + 1);
        if fraction == 0 {
            return None;
        }
        end += 1 + fraction;
        kind = Kind::Number;
    }
    if matches!(bytes.get(end)?, b'e' | b'E') { None } else { Some((kind, end)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> String {
        match record(text.as_bytes(), &mut Keys::new(8), &mut Inner::default(), |_, _| true) {
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
        let text = r#"{"a": { "b c" : [ 1.50 , "\" x" ] } }"#;
        let mut out = Vec::new();
        record(text.as_bytes(), &mut Keys::new(8), &mut Inner::default(), |_, value| {
            value.compact_into(text, &mut out);
            true
        })
        .unwrap();
        assert_eq!(str::from_utf8(&out).unwrap(), r#"{"b c":[1.50,"\" x"]}"#);
    }
}
