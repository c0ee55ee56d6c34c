//! Sixteen bytes at a time: the bytes of a string that need a look, digits, and known keys.
//!
//! On x86-64 by SSE2, which every such processor has; elsewhere by 64-bit words. Both give the same.
//! This is the only module of the codec with unsafe code.
#![cfg_attr(
    target_arch = "x86_64",
    expect(unsafe_code, reason = "SSE2 instructions, which are part of x86-64")
)]

/// How many bytes are looked at together.
pub(super) const LANES: usize = 16;

/// One bit a byte, the lowest for the first.
type Mask = u32;

/// The 16 bytes from `at` on, if there are as many.
#[inline(always)]
pub(super) fn at(text: &[u8], at: usize) -> Option<&[u8; LANES]> {
    text.get(at..)?.first_chunk()
}

/// The bytes that may not stand in a string as they are: quotes, backslashes and control
/// characters.
#[inline(always)]
pub(super) fn special(bytes: &[u8; LANES]) -> Mask {
    #[cfg(target_arch = "x86_64")]
    return sse2::special(bytes);
    #[cfg(not(target_arch = "x86_64"))]
    words::special(bytes)
}

/// The digits.
#[inline(always)]
pub(super) fn digits(bytes: &[u8; LANES]) -> Mask {
    #[cfg(target_arch = "x86_64")]
    return sse2::digits(bytes);
    #[cfg(not(target_arch = "x86_64"))]
    words::digits(bytes)
}

/// The bytes that are the same in both.
#[inline(always)]
pub(super) fn equal(a: &[u8; LANES], b: &[u8; LANES]) -> Mask {
    #[cfg(target_arch = "x86_64")]
    return sse2::equal(a, b);
    #[cfg(not(target_arch = "x86_64"))]
    words::equal(a, b)
}

/// How many bytes at the start of a text may stand in a string as they are.
#[inline(always)]
pub(super) fn ordinary(text: &[u8]) -> usize {
    let mut from = 0;
    while let Some(bytes) = at(text, from) {
        let found = special(bytes);
        if found != 0 {
            return from + found.trailing_zeros() as usize;
        }
        from += LANES;
    }
    from + gristmill_core::json::ordinary(&text[from..])
}

#[cfg(target_arch = "x86_64")]
mod sse2 {
    use std::arch::x86_64::{
        __m128i, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128,
        _mm_set1_epi8, _mm_sub_epi8,
    };

    use super::{LANES, Mask};

    #[inline(always)]
    fn load(bytes: &[u8; LANES]) -> __m128i {
        // SAFETY: x86-64 has SSE2, and the unaligned load is of the array's 16 bytes.
        unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
    }

    #[inline(always)]
    pub(super) fn special(bytes: &[u8; LANES]) -> Mask {
        let bytes = load(bytes);
        // SAFETY: x86-64 has SSE2.
        unsafe {
            let control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1F)), bytes);
            let quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'"'.cast_signed()));
            let backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'\\'.cast_signed()));
            let found = _mm_or_si128(_mm_or_si128(quote, backslash), control);
            _mm_movemask_epi8(found).cast_unsigned()
        }
    }

    #[inline(always)]
    pub(super) fn digits(bytes: &[u8; LANES]) -> Mask {
        let bytes = load(bytes);
        // SAFETY: x86-64 has SSE2.
        unsafe {
            let from_zero = _mm_sub_epi8(bytes, _mm_set1_epi8(b'0'.cast_signed()));
            let small = _mm_cmpeq_epi8(_mm_min_epu8(from_zero, _mm_set1_epi8(9)), from_zero);
            _mm_movemask_epi8(small).cast_unsigned()
        }
    }

    #[inline(always)]
    pub(super) fn equal(a: &[u8; LANES], b: &[u8; LANES]) -> Mask {
        // SAFETY: x86-64 has SSE2.
        unsafe { _mm_movemask_epi8(_mm_cmpeq_epi8(load(a), load(b))).cast_unsigned() }
    }
}

#[cfg(any(not(target_arch = "x86_64"), test))]
mod words {
    use super::{LANES, Mask};

    const ONES: u64 = 0x0101_0101_0101_0101;
    const LOW: u64 = ONES * 0x7F;

    #[inline(always)]
    fn each(bytes: &[u8; LANES], high_bits: impl Fn(u64) -> u64) -> Mask {
        let (words, _) = bytes.as_chunks::<8>();
        // The product gathers the high bit of each byte.
        let gather = |word: &[u8; 8]| {
            (high_bits(u64::from_le_bytes(*word)) >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
        };
        (gather(&words[0]) | gather(&words[1]) << 8) as Mask
    }

    /// The high bit of each byte that is zero, exactly: no carry leaves a byte.
    #[inline(always)]
    fn zero(word: u64) -> u64 {
        !(((word & LOW) + LOW) | word | LOW)
    }

    /// The high bit of each byte that is below `limit`, at most 0x80.
    #[inline(always)]
    fn below(word: u64, limit: u8) -> u64 {
        !(((word & LOW) + ONES * u64::from(0x80 - limit)) | word | LOW)
    }

    #[inline(always)]
    pub(super) fn special(bytes: &[u8; LANES]) -> Mask {
        each(bytes, |word| {
            let is = |byte: u8| zero(word ^ (ONES * u64::from(byte)));
            below(word, 0x20) | is(b'"') | is(b'\\')
        })
    }

    #[inline(always)]
    pub(super) fn digits(bytes: &[u8; LANES]) -> Mask {
        each(bytes, |word| below(word, b'9' + 1) & !below(word, b'0'))
    }

    #[inline(always)]
    pub(super) fn equal(a: &[u8; LANES], b: &[u8; LANES]) -> Mask {
        let differ = std::array::from_fn(|i| a[i] ^ b[i]);
        each(&differ, zero)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn lanes_and_words_and_bytes_agree(
            a in prop::array::uniform16(prop_oneof![
                any::<u8>(), prop::sample::select(b"\"\\/09:\x1f\x20\x00\x7f\x80".as_slice())]),
            b in prop::array::uniform16(prop::sample::select(b"\"\\09".as_slice())),
        ) {
            let mask = |is: &dyn Fn(usize) -> bool| -> Mask {
                (0..LANES).map(|i| Mask::from(is(i)) << i).sum()
            };
            let expected = mask(&|i| a[i] < 0x20 || a[i] == b'"' || a[i] == b'\\');
            prop_assert_eq!((special(&a), words::special(&a)), (expected, expected));
            let expected = mask(&|i| a[i].is_ascii_digit());
            prop_assert_eq!((digits(&a), words::digits(&a)), (expected, expected));
            let expected = mask(&|i| a[i] == b[i]);
            prop_assert_eq!((equal(&a, &b), words::equal(&a, &b)), (expected, expected));
        }

        #[test]
        fn ordinary_text_ends_at_the_first_special_byte(
            text in prop::collection::vec(prop_oneof![20 => b'a'..=b'z', 1 => any::<u8>()], 0..70),
        ) {
            let special = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
            let expected = text.iter().position(special).unwrap_or(text.len());
            prop_assert_eq!(ordinary(&text), expected);
        }
    }
}
