//! Finding the end of a value by its strings and brackets: in blocks of 64 bytes by masks, and byte
//! by byte where a block does not look as it should.

use memchr::memchr2;

use crate::simd::{BLOCK, Kernel, Level, Simd, before, block};

/// Where a value ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// With the bracket or quote that closes it.
    Closed,
    /// Before a blank or a structural character.
    Break,
    /// Before the `,` or `]` of the array around it.
    Separator,
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// The value ends there.
    End(usize),
    /// A bracket that closes what it does not open.
    Mismatch(usize),
    /// Neither, in the text so far.
    More,
}

/// How far a value has been looked through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Delimiter {
    pub(super) until: Until,
    pub(super) depth: u32,
    /// The kinds of the innermost 128 brackets, a set bit for `[`.
    arrays: u128,
    pub(super) in_string: bool,
    escaped: bool,
}

impl Delimiter {
    pub(super) fn new(until: Until) -> Self {
        Self { until, depth: 0, arrays: 0, in_string: false, escaped: false }
    }

    /// Looks on from `at` in the first `len` bytes of a padded text.
    pub(super) fn find(&mut self, padded: &[u8], at: usize, len: usize, level: Level) -> Found {
        match self.until {
            Until::Break => self.find_in_bytes(&padded[..len], at),
            _ => level.run(Blocks { delimiter: self, padded, at, len }),
        }
    }

    /// As [`Self::find`], byte by byte.
    fn find_in_bytes(&mut self, bytes: &[u8], mut at: usize) -> Found {
        while at < bytes.len() {
            if self.in_string {
                if self.escaped {
                    self.escaped = false;
                    at += 1;
                }
                match memchr2(b'"', b'\\', &bytes[at..]) {
                    None => break,
                    Some(found) if bytes[at + found] == b'\\' => {
                        self.escaped = true;
                        at += found + 1;
                    }
                    Some(found) => {
                        self.in_string = false;
                        at += found + 1;
                        if self.depth == 0 && self.until == Until::Closed {
                            return Found::End(at);
                        }
                    }
                }
                continue;
            }
            match bytes[at] {
                b'"' => self.in_string = true,
                byte @ (b'{' | b'[') => self.open(byte == b'['),
                b',' | b']' if self.depth == 0 && self.until == Until::Separator => {
                    return Found::End(at);
                }
                b',' | b'}' | b']' | b' ' | b'\t' | b'\r' | b'\n'
                    if self.depth == 0 && self.until == Until::Break =>
                {
                    return Found::End(at);
                }
                byte @ (b'}' | b']') => {
                    if !self.close(byte == b']') {
                        return Found::Mismatch(at);
                    }
                    if self.depth == 0 && self.until == Until::Closed {
                        return Found::End(at + 1);
                    }
                }
                _ => {}
            }
            at += 1;
        }
        Found::More
    }

    #[inline(always)]
    fn open(&mut self, is_array: bool) {
        self.depth += 1;
        self.arrays = self.arrays << 1 | u128::from(is_array);
    }

    /// Whether the innermost bracket is of this kind, as far as is known.
    #[inline(always)]
    fn close(&mut self, is_array: bool) -> bool {
        let known = self.depth <= u128::BITS;
        if self.depth == 0 || (known && (self.arrays & 1 == 1) != is_array) {
            return false;
        }
        self.depth -= 1;
        self.arrays >>= 1;
        true
    }
}

struct Blocks<'a> {
    delimiter: &'a mut Delimiter,
    padded: &'a [u8],
    at: usize,
    len: usize,
}

impl Kernel for Blocks<'_> {
    type Output = Found;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Found {
        let Self { delimiter: open, padded, mut at, len } = self;
        while at < len {
            let bytes = simd.load(block(padded, at));
            let valid = before(len, at);
            let backslashes = simd.equal(bytes, b'\\') & valid;
            let (escaped, escapes_next) = escaped(backslashes, open.escaped);
            let quotes = simd.equal(bytes, b'"') & valid & !escaped;
            // Inside of strings, the opening quote included and the closing one not.
            let inside = simd.prefix_xor(quotes) ^ if open.in_string { u64::MAX } else { 0 };
            if backslashes & !inside != 0 {
                // Out of place: they do not escape anything.
                match open.find_in_bytes(&padded[..len.min(at + BLOCK)], at) {
                    Found::More => {
                        at += BLOCK;
                        continue;
                    }
                    found => return found,
                }
            }
            let outside = valid & !inside;
            let squares = simd.equal(bytes, b'[') & outside;
            let opens = squares | (simd.equal(bytes, b'{') & outside);
            let closing_squares = simd.equal(bytes, b']') & outside;
            let closes = closing_squares | (simd.equal(bytes, b'}') & outside);
            let ends = match open.until {
                Until::Separator => simd.equal(bytes, b',') & outside,
                _ => quotes & outside,
            };
            let mut ahead = u64::MAX;
            loop {
                // Outside of all brackets more than brackets counts.
                let events = ahead & (opens | closes | if open.depth == 0 { ends } else { 0 });
                if events == 0 {
                    break;
                }
                let bit = events & events.wrapping_neg();
                let found = at + bit.trailing_zeros() as usize;
                ahead = !(bit | (bit - 1));
                if opens & bit != 0 {
                    open.open(squares & bit != 0);
                } else if closes & bit != 0 {
                    let is_array = closing_squares & bit != 0;
                    if open.depth == 0 && is_array && open.until == Until::Separator {
                        return Found::End(found);
                    }
                    if !open.close(is_array) {
                        return Found::Mismatch(found);
                    }
                    if open.depth == 0 && open.until == Until::Closed {
                        return Found::End(found + 1);
                    }
                } else {
                    let is_quote = open.until == Until::Closed;
                    return Found::End(found + usize::from(is_quote));
                }
            }
            open.in_string = inside >> 63 != 0;
            open.escaped = match len - at {
                left @ 0..BLOCK => escaped >> left & 1 != 0,
                _ => escapes_next,
            };
            at += BLOCK;
        }
        Found::More
    }
}

/// The bytes behind backslashes that are not escaped themselves, and whether the byte behind the
/// block is one; `first` says whether the first byte of the block is.
#[inline(always)]
fn escaped(backslashes: u64, first: bool) -> (u64, bool) {
    const EVEN: u64 = 0x5555_5555_5555_5555;
    if backslashes == 0 {
        return (u64::from(first), false);
    }
    // In a run of backslashes every other one escapes the byte behind it. Adding a run's first bit
    // carries through it to the byte behind, which is escaped if the run's length is odd: if it
    // starts at an even position and the byte behind is at an odd one, or the other way round.
    let escaping = backslashes & !u64::from(first);
    let starts = escaping & !(escaping << 1);
    let (behind_even, _) = escaping.overflowing_add(starts & EVEN);
    let (behind_odd, overflows) = escaping.overflowing_add(starts & !EVEN);
    let behind = !escaping & ((behind_even & !EVEN) | (behind_odd & EVEN));
    (behind | u64::from(first), overflows)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::simd::PAD;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn blocks_find_what_bytes_find(
            text in prop_oneof![
                prop::collection::vec(prop::sample::select(b"\\\"{}[], a".as_slice()), 1..200),
                prop::collection::vec(prop::sample::select(b"\\\"a".as_slice()), 1..200),
                prop::collection::vec(prop::sample::select(b"\\\\\\\"{[aaaaaaaa".as_slice()), 1..300),
                prop::collection::vec(prop::sample::select(b"{}[]".as_slice()), 1..100),
            ],
            head in prop::sample::select(vec!["", "\"", "{", "[{\"", "{\"a\": \""]),
            depth in 0usize..140,
            (cut, from) in any::<(prop::sample::Index, prop::sample::Index)>(),
            until in prop::sample::select(vec![Until::Closed, Until::Separator]),
        ) {
            let mut text = [&b"[".repeat(depth), head.as_bytes(), &text].concat();
            let len = text.len();
            text.extend([b'"'; PAD]);
            let (from, cut) = (from.index(len.min(5)), cut.index(len + 1));
            let mut twin = Delimiter::new(until);
            let mut expected = twin.find_in_bytes(&text[..cut], from.min(cut));
            let at_cut = (expected, twin.clone());
            if expected == Found::More {
                expected = twin.find_in_bytes(&text[..len], cut.max(from));
            }
            for level in Level::supported() {
                let mut open = Delimiter::new(until);
                let mut found = open.find(&text, from.min(cut), cut, level);
                prop_assert_eq!(found, at_cut.0);
                if found == Found::More {
                    prop_assert_eq!(&open, &at_cut.1);
                    found = open.find(&text, cut.max(from), len, level);
                }
                prop_assert_eq!(found, expected, "{:?} {}", level, String::from_utf8_lossy(&text));
                if found == Found::More {
                    prop_assert_eq!(&open, &twin);
                }
            }
        }
    }
}
