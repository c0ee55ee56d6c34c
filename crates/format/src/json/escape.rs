//! Escapes of JSON strings.

/// Appends the text that a checked string's content stands for.
pub(super) fn unescape(mut text: &[u8], out: &mut Vec<u8>) {
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
