//! Short texts as one number: up to 16 bytes, the first in the lowest bits.
//!
//! Every function here gives the same result as its counterpart in [`parse`](super::parse) or as
//! `str`'s methods, or answers that it cannot tell; then the caller takes the general way.

use super::{Case, parse};

/// How many bytes a word holds.
pub(super) const WORD: usize = 16;

const LOW: u128 = u128::MAX / 0xFF;
const HIGH: u128 = LOW * 0x80;

/// By a number of bytes, a word in which all bits of the first ones are set.
pub(super) const FIRST: [u128; WORD + 1] = {
    let mut masks = [0; WORD + 1];
    let mut len = 1;
    while len <= WORD {
        masks[len] = u128::MAX >> (8 * (WORD - len));
        len += 1;
    }
    masks
};

/// The word with only its first `len` bytes, at most 16; the others are zero.
#[inline(always)]
pub(super) fn first(word: u128, len: usize) -> u128 {
    word & FIRST[len]
}

/// The first `len` bytes, at most 12, in a case, as a view holds them: behind their number. `None`
/// if one is not ASCII.
#[inline(always)]
pub(super) fn view(word: u128, len: usize, case: Case) -> Option<u128> {
    #[cfg(target_arch = "x86_64")]
    return super::sse2::view(word, len, case);
    #[cfg(not(target_arch = "x86_64"))]
    portable_view(word, len, case)
}

/// As [`view`], on any processor.
#[cfg(any(test, not(target_arch = "x86_64")))]
#[inline(always)]
fn portable_view(word: u128, len: usize, case: Case) -> Option<u128> {
    let word = first(word, len);
    let cased = match case {
        Case::Keep => word,
        Case::Upper => word ^ (letters(word, b'a') >> 2),
        Case::Lower => word ^ (letters(word, b'A') >> 2),
    };
    (word & HIGH == 0).then_some(len as u128 | cased << 32)
}

/// Whether one of the first `len` bytes, at most 16, is `byte`.
#[inline(always)]
pub(super) fn has(word: u128, len: usize, byte: u8) -> bool {
    position(word, byte) < len
}

/// Where `byte` is found first; 16 if nowhere.
#[inline(always)]
fn position(word: u128, byte: u8) -> usize {
    let other = word ^ (LOW * u128::from(byte));
    // The lowest bit that is set belongs to the lowest byte that is zero; higher ones may be wrong.
    let zero = other.wrapping_sub(LOW) & !other & HIGH;
    zero.trailing_zeros() as usize / 8
}

/// The highest bit of each ASCII byte that is one of the 26 from `a` on.
#[cfg(any(test, not(target_arch = "x86_64")))]
#[inline(always)]
fn letters(word: u128, a: u8) -> u128 {
    let from = word.wrapping_add(LOW * u128::from(0x80 - a));
    let beyond = word.wrapping_add(LOW * u128::from(0x80 - a - 26));
    from & !beyond & HIGH
}

/// A decimal number without exponent, of at most 16 digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Number {
    pub(super) negative: bool,
    pub(super) digits: u64,
    /// Digits behind the point.
    pub(super) fraction: u32,
}

/// Reads a number from the last `len` bytes: digits, perhaps behind a minus, and with digits on
/// both sides of a point if there is one.
#[inline(always)]
pub(super) fn number(tail: u128, len: usize) -> Option<Number> {
    #[cfg(target_arch = "x86_64")]
    return super::sse2::number(tail, len);
    #[cfg(not(target_arch = "x86_64"))]
    portable_number(tail, len)
}

/// As [`number`], on any processor.
#[cfg(any(test, not(target_arch = "x86_64")))]
#[inline(always)]
fn portable_number(tail: u128, mut len: usize) -> Option<Number> {
    let mut word = tail.checked_shr(8 * WORD.checked_sub(len)? as u32)?;
    let negative = word as u8 == b'-';
    if negative {
        word >>= 8;
        len = len.wrapping_sub(1);
    }
    if len.wrapping_sub(1) >= WORD {
        return None;
    }
    let point = position(word, b'.');
    let mut fraction = 0;
    if point < len {
        fraction = len - point - 1;
        if point == 0 || fraction == 0 {
            return None;
        }
        let whole = FIRST[point];
        word = (word & whole) | ((word >> 8) & !whole);
        len -= 1;
    }
    // The last digit moves to the highest byte; what was behind it falls out, zeros come in front.
    let digits = (word ^ (LOW * u128::from(b'0'))) << (8 * (WORD - len));
    if (digits.wrapping_add(LOW * 0x76) | digits) & HIGH != 0 {
        return None;
    }
    let digits = eight_digits(digits as u64) * 100_000_000 + eight_digits((digits >> 64) as u64);
    Some(Number { negative, digits, fraction: fraction as u32 })
}

/// The number that eight bytes of digits make, the first in the lowest byte: pairs, then fours,
/// then all eight.
#[cfg(any(test, not(target_arch = "x86_64")))]
#[inline(always)]
fn eight_digits(digits: u64) -> u64 {
    let pairs = (digits.wrapping_mul(10).wrapping_add(digits >> 8)) & 0x00FF_00FF_00FF_00FF;
    let fours = (pairs.wrapping_mul(100).wrapping_add(pairs >> 16)) & 0x0000_FFFF_0000_FFFF;
    (fours.wrapping_mul(10_000).wrapping_add(fours >> 32)) & 0xFFFF_FFFF
}

const POWERS: [f64; 17] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16];

impl Number {
    /// The nearest `f64`. Exact: digits and power of ten are both `f64` without rounding, so the
    /// quotient is rounded once (William Clinger, "How to Read Floating Point Numbers Accurately").
    #[inline(always)]
    pub(super) fn double(self) -> Option<f64> {
        if self.digits > 1 << 53 {
            return None;
        }
        let value = self.digits as f64 / POWERS[(self.fraction & 15) as usize];
        Some(if self.negative { -value } else { value })
    }

    /// As an integer, where it was written as one.
    #[inline(always)]
    pub(super) fn int(self) -> Option<i64> {
        let value = self.digits as i64; // 16 digits: far below 2^63
        (self.fraction == 0).then_some(if self.negative { -value } else { value })
    }

    /// Scaled by 10^`scale`, where no digit is lost and `precision` digits hold it.
    #[inline(always)]
    pub(super) fn decimal(self, precision: u8, scale: i8) -> Option<i128> {
        let power = u32::try_from(i32::from(scale) - self.fraction as i32).ok()?;
        let value = i128::from(self.digits).checked_mul(10i128.checked_pow(power)?)?;
        let fits = value < 10i128.checked_pow(u32::from(precision))?;
        fits.then_some(if self.negative { -value } else { value })
    }
}

/// Reads `YYYY-MM-DD` from the first `len` bytes, as days since 1970-01-01.
#[inline(always)]
pub(super) fn date(word: u128, len: usize) -> Option<i32> {
    const FORM: u128 = u128::from_le_bytes(*b"0000-00-00\0\0\0\0\0\0");
    // What may be added to a digit, or to a hyphen, before the highest bit is set.
    const ROOM: u128 = u128::from_le_bytes([
        0x76, 0x76, 0x76, 0x76, 0x7F, 0x76, 0x76, 0x7F, 0x76, 0x76, 0, 0, 0, 0, 0, 0,
    ]);
    if len != 10 {
        return None;
    }
    let parts = first(word, 10) ^ FORM;
    if (parts.wrapping_add(ROOM) | parts) & HIGH != 0 {
        return None;
    }
    let digit = |at: u32| (parts >> (8 * at)) as u32 & 0xF;
    let year = digit(0) * 1000 + digit(1) * 100 + digit(2) * 10 + digit(3);
    let (month, day) = (digit(5) * 10 + digit(6), digit(8) * 10 + digit(9));
    parse::days(year, month, day)
}

/// Reads `true` or `false` from the first `len` bytes.
#[inline(always)]
pub(super) fn bool(word: u128, len: usize) -> Option<bool> {
    // Without a branch on which it is: nobody can guess that.
    const WORDS: [u64; 2] =
        [u64::from_le_bytes(*b"true\0\0\0\0"), u64::from_le_bytes(*b"false\0\0\0")];
    let which = len.wrapping_sub(4);
    let is_one = first(word, len.min(WORD)) as u64 == *WORDS.get(which)?;
    is_one.then_some(which == 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The text's word, with rubbish behind it as in a longer text.
    fn word(text: &[u8], behind: u8) -> u128 {
        let mut bytes = [behind; WORD];
        bytes[..text.len()].copy_from_slice(text);
        u128::from_le_bytes(bytes)
    }

    /// The word that ends with the text.
    fn tail(text: &[u8], before: u8) -> u128 {
        let mut bytes = [before; WORD];
        bytes[WORD - text.len()..].copy_from_slice(text);
        u128::from_le_bytes(bytes)
    }

    /// Where the word can tell, it agrees with the general parsers.
    fn agrees(text: &[u8], behind: u8) {
        let (head, tail, len) = (word(text, behind), tail(text, behind), text.len());
        let number = number(tail, len);
        assert_eq!(number, portable_number(tail, len));
        if let Some(value) = number.and_then(Number::double) {
            assert_eq!(parse::double(text).map(f64::to_bits), Some(value.to_bits()));
        }
        if let Some(value) = number.and_then(Number::int) {
            assert_eq!(parse::int(text), Some(value));
        }
        for (precision, scale) in [(38, 10), (18, 2), (5, 0), (9, -2), (16, 16)] {
            if let Some(value) = number.and_then(|number| number.decimal(precision, scale)) {
                assert_eq!(parse::decimal(text, precision, scale), Some(value));
            }
        }
        if let Some(value) = date(head, len) {
            assert_eq!(parse::date(text), Some(value));
        }
        if let Some(value) = bool(head, len) {
            assert_eq!(parse::bool(text), Some(value));
        }
    }

    #[test]
    fn usual_numbers_and_dates_are_told() {
        for (text, expected) in [
            ("0", 0.0),
            ("-1.5", -1.5),
            ("4951031.65", 4_951_031.65),
            ("9007199254740992", 2f64.powi(53)),
        ] {
            let number = number(tail(text.as_bytes(), b'7'), text.len()).unwrap();
            assert_eq!(number.double(), Some(expected), "{text}");
        }
        assert_eq!(
            number(tail(b"-0", b' '), 2).and_then(Number::double).map(f64::to_bits),
            Some((-0.0f64).to_bits())
        );
        assert_eq!(number(tail(b"9007199254740993", 0), 16).and_then(Number::double), None);
        assert_eq!(number(tail(b"1234.50", b','), 7).and_then(|n| n.decimal(18, 2)), Some(123_450));
        assert_eq!(number(tail(b"-42", b','), 3).and_then(Number::int), Some(-42));
        assert_eq!(date(word(b"1970-01-02", b','), 10), Some(1));
        assert_eq!(date(word(b"2024-13-45", b','), 10), None);
        for wrong in ["", "-", ".", "1.", ".5", "+1", "1e5", "1.2.3", "--1", "1-", "٣"] {
            assert_eq!(number(tail(wrong.as_bytes(), b'1'), wrong.len()), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn words_agree_with_the_general_parsers(
            text in prop_oneof!["-?[0-9]{1,8}(\\.[0-9]{1,6})?", "[-+.0-9e]{0,16}", "[0-9]{4}-[0-9]{2}-[0-9]{2}",
                "[ -~]{0,16}", "(true|false|t|f|1|0|True)"],
            behind in any::<u8>(),
        ) {
            agrees(text.as_bytes(), behind);
        }

        #[test]
        fn any_bytes_agree(text in prop::collection::vec(any::<u8>(), 0..=WORD), behind in any::<u8>()) {
            agrees(&text, behind);
        }

        #[test]
        fn views_agree_with_str(text in "([\\x00-\\x7f]{0,12}|\\PC{0,4})", behind in any::<u8>()) {
            prop_assume!(text.len() <= 12);
            let word = word(text.as_bytes(), behind);
            for case in [Case::Keep, Case::Upper, Case::Lower] {
                let cased = match case {
                    Case::Keep => text.clone(),
                    Case::Upper => text.to_ascii_uppercase(),
                    Case::Lower => text.to_ascii_lowercase(),
                };
                let mut expected = [0; WORD];
                expected[0] = text.len() as u8;
                expected[4..4 + text.len()].copy_from_slice(cased.as_bytes());
                let expected = text.is_ascii().then_some(u128::from_le_bytes(expected));
                prop_assert_eq!(view(word, text.len(), case), expected);
                prop_assert_eq!(portable_view(word, text.len(), case), expected);
            }
        }

        #[test]
        fn search_agrees_with_str(text in "[\\x00-\\x7f]{0,15}", byte in any::<u8>()) {
            let word = word(text.as_bytes(), b'a');
            prop_assert_eq!(has(word, text.len(), byte), text.as_bytes().contains(&byte));
        }
    }
}
