//! Escapes of JSON strings.

use std::ops::Range;

/// A part of what a string's content stands for.
pub(super) enum Piece {
    /// Content that stands for itself.
    Same(Range<usize>),
    /// The character of an escape.
    Char(char),
}

/// The text that a checked string's content stands for, one piece after the other.
#[inline]
pub(super) fn pieces(content: &[u8], mut each: impl FnMut(Piece)) {
    let mut at = 0;
    while let Some(len) = memchr::memchr(b'\\', &content[at..]) {
        if len > 0 {
            each(Piece::Same(at..at + len));
        }
        let escape = content[at + len + 1];
        at += len + 2;
        each(Piece::Char(match escape {
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => match character(&content[at..]) {
                Some((char, len)) => {
                    at += len;
                    char
                }
                None => continue,
            },
            other => char::from(other),
        }));
    }
    each(Piece::Same(at..content.len()));
}

/// Four hexadecimal digits.
pub(super) fn hex(text: &[u8]) -> Option<u32> {
    text.get(..4)?
        .iter()
        .try_fold(0, |value, &byte| Some(value << 4 | char::from(byte).to_digit(16)?))
}

/// The character whose code stands behind `\u`, with the second half of a surrogate pair if it
/// needs one, and the length of all that.
pub(super) fn character(code: &[u8]) -> Option<(char, usize)> {
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
