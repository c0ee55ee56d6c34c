//! Walks through objects and arrays of records that were checked.

use std::borrow::Cow;

use super::keys::{Keys, UNKNOWN};
use super::lanes;
use super::token::{Inner, Kind, Span, Token, is_blank};

impl Token {
    /// The members of an object: the positions of their keys, which are [`UNKNOWN`] where `keys`
    /// does not know them, and their values.
    pub(super) fn members(
        self,
        record: &str,
        inner: &Inner,
        keys: &mut Keys,
        mut each: impl FnMut(usize, Token),
    ) {
        let mut walk = Walk::into(self, record, inner);
        let mut last = UNKNOWN;
        while walk.goes_on() {
            last = walk.key(keys, last);
            each(last, walk.value());
        }
    }

    /// The members of an object by their keys.
    pub(super) fn named_members(
        self,
        record: &str,
        inner: &Inner,
        mut each: impl FnMut(Cow<'_, [u8]>, Token),
    ) {
        let mut walk = Walk::into(self, record, inner);
        while walk.goes_on() {
            let key = walk.name();
            each(key.string(record.as_bytes()), walk.value());
        }
    }

    /// The elements of an array.
    pub(super) fn elements(self, record: &str, inner: &Inner, mut each: impl FnMut(Token)) {
        let mut walk = Walk::into(self, record, inner);
        while walk.goes_on() {
            each(walk.value());
        }
    }
}

/// A walk through the members or elements of a value that was checked.
struct Walk<'a> {
    text: &'a [u8],
    inner: &'a [Span],
    at: usize,
    /// The next inner value.
    next: usize,
}

impl<'a> Walk<'a> {
    fn into(token: Token, record: &'a str, inner: &'a Inner) -> Self {
        let (at, next) = (token.start as usize + 1, token.inner as usize + 1);
        Self { text: record.as_bytes(), inner: &inner.0, at, next }
    }

    #[inline(always)]
    fn skip_blank(&mut self) {
        while self.text[self.at] <= b' ' {
            self.at += 1;
        }
    }

    /// Goes to the next member or element, if there is one.
    #[inline(always)]
    fn goes_on(&mut self) -> bool {
        self.skip_blank();
        if self.text[self.at] == b',' {
            self.at += 1;
            self.skip_blank();
        }
        !matches!(self.text[self.at], b'}' | b']')
    }

    #[inline(always)]
    fn key(&mut self, keys: &mut Keys, last: usize) -> usize {
        if let Some((position, behind)) = keys.guess(self.text, self.at, last) {
            self.at = behind;
            self.skip_blank();
            return position;
        }
        let key = self.name();
        keys.find(&key.string(self.text), last)
    }

    fn name(&mut self) -> Token {
        let key = self.value();
        self.skip_blank();
        self.at += 1; // the colon
        self.skip_blank();
        key
    }

    #[inline(always)]
    fn value(&mut self) -> Token {
        let start = self.at;
        let (mut kind, mut inner) = (Kind::Null, 0);
        match self.text[start] {
            b'"' => {
                let (string, len) = skip_string(&self.text[start..]);
                kind = string;
                self.at += len;
            }
            byte @ (b'{' | b'[') => {
                kind = if byte == b'{' { Kind::Object } else { Kind::Array };
                inner = self.next as u32;
                let span = self.inner[self.next];
                self.at = span.end as usize;
                self.next = span.after as usize;
            }
            byte => {
                let rest = &self.text[start..];
                let end = |byte: &u8| matches!(byte, b',' | b'}' | b']') || is_blank(*byte);
                let len = rest.iter().position(end).unwrap_or(rest.len());
                self.at += len;
                if byte == b't' || byte == b'f' {
                    kind = Kind::Bool;
                } else if byte != b'n' {
                    let is_int = !rest[..len].iter().any(|byte| matches!(byte, b'.' | b'e' | b'E'));
                    kind = if is_int { Kind::Int } else { Kind::Number };
                }
            }
        }
        Token { kind, start: start as u32, end: self.at as u32, inner }
    }
}

/// The kind of the string that a text starts with, which was checked, and its length with its
/// quotes.
#[inline(always)]
pub(super) fn skip_string(text: &[u8]) -> (Kind, usize) {
    let mut kind = Kind::Plain;
    let mut at = 1;
    loop {
        at += lanes::ordinary(&text[at..]);
        if text[at] == b'"' {
            return (kind, at + 1);
        }
        kind = Kind::Escaped;
        at += 2;
    }
}
