//! The words of x86-64, whose vectors hold one: the twins of functions in [`word`](super::word).
#![expect(unsafe_code, reason = "SSE2 is part of every x86-64 processor, but is called unsafe")]

use std::arch::x86_64::{
    __m128i, _mm_add_epi8, _mm_add_epi16, _mm_adds_epu8, _mm_and_si128, _mm_andnot_si128,
    _mm_cmpeq_epi8, _mm_cmplt_epi8, _mm_cvtsi32_si128, _mm_cvtsi128_si64, _mm_loadu_si128,
    _mm_madd_epi16, _mm_movemask_epi8, _mm_mullo_epi16, _mm_or_si128, _mm_packs_epi32,
    _mm_set1_epi8, _mm_set1_epi16, _mm_set1_epi32, _mm_slli_si128, _mm_srli_epi16,
    _mm_storeu_si128, _mm_xor_si128,
};

use super::Case;
use super::word::{FIRST, Number, WORD};

/// By a number from 0 to 16, a word whose bytes from there on are ones.
const FROM: [u128; WORD + 1] = {
    let mut masks = [0; WORD + 1];
    let mut at = 0;
    while at < WORD {
        masks[at] = u128::MAX << (8 * at);
        at += 1;
    }
    masks
};

/// By a place, a word whose bytes behind it are ones; all of them for 16.
const BEHIND: [u128; WORD + 1] = {
    let mut masks = [u128::MAX; WORD + 1];
    let mut at = 0;
    while at < WORD {
        masks[at] = FROM[at + 1];
        at += 1;
    }
    masks
};

#[inline(always)]
pub(super) fn number(tail: u128, len: usize) -> Option<Number> {
    let start = WORD.checked_sub(len)?;
    // SAFETY: every x86-64 processor has SSE2.
    unsafe {
        let word = vector(&tail);
        let minuses = _mm_movemask_epi8(_mm_cmpeq_epi8(word, _mm_set1_epi8(b'-' as i8)));
        let negative = minuses as usize >> start & 1;
        let start = start + negative;
        let points = _mm_movemask_epi8(_mm_cmpeq_epi8(word, _mm_set1_epi8(b'.' as i8)));
        // The first point, or 16.
        let point = (points as u32 >> start << start | 1 << WORD).trailing_zeros() as usize;
        let has_point = usize::from(point < WORD);
        // Digits stand on both sides of a point, or there is one at least.
        if point == start || point == WORD - 1 {
            return None;
        }
        // Those before the point move up to the others, and zeros come in front.
        let behind = vector(&BEHIND[point]);
        let moved = _mm_andnot_si128(behind, _mm_slli_si128::<1>(word));
        let digits = _mm_or_si128(_mm_and_si128(behind, word), moved);
        let digits = _mm_xor_si128(digits, _mm_set1_epi8(b'0' as i8));
        let digits = _mm_and_si128(digits, vector(&FROM[start + has_point]));
        if _mm_movemask_epi8(_mm_adds_epu8(digits, _mm_set1_epi8(0x76))) != 0 {
            return None;
        }
        // Pairs, then fours, then eights.
        let tens = _mm_mullo_epi16(_mm_and_si128(digits, _mm_set1_epi16(0xFF)), _mm_set1_epi16(10));
        let pairs = _mm_add_epi16(tens, _mm_srli_epi16::<8>(digits));
        let fours = _mm_madd_epi16(pairs, _mm_set1_epi32(1 << 16 | 100));
        let fours = _mm_packs_epi32(fours, fours);
        let eights = _mm_madd_epi16(fours, _mm_set1_epi32(1 << 16 | 10_000));
        let eights = _mm_cvtsi128_si64(eights) as u64;
        let digits = (eights & 0xFFFF_FFFF) * 100_000_000 + (eights >> 32);
        let fraction = (WORD - 1).wrapping_sub(point) * has_point;
        Some(Number { negative: negative != 0, digits, fraction: fraction as u32 })
    }
}

#[inline(always)]
pub(super) fn view(word: u128, len: usize, case: Case) -> Option<u128> {
    let mut view = 0u128;
    // SAFETY: every x86-64 processor has SSE2; the store is of the 16 bytes of the view.
    let high_bits = unsafe {
        let word = _mm_and_si128(vector(&word), vector(&FIRST[len]));
        let cased = match case {
            Case::Keep => word,
            Case::Upper => _mm_xor_si128(word, letters(word, b'a')),
            Case::Lower => _mm_xor_si128(word, letters(word, b'A')),
        };
        let packed = _mm_or_si128(_mm_slli_si128::<4>(cased), _mm_cvtsi32_si128(len as i32));
        _mm_storeu_si128((&raw mut view).cast(), packed);
        _mm_movemask_epi8(word)
    };
    (high_bits == 0).then_some(view)
}

/// The bit that tells cases apart, for each byte that is one of the 26 from `a` on.
#[inline(always)]
fn letters(word: __m128i, a: u8) -> __m128i {
    // SAFETY: every x86-64 processor has SSE2.
    unsafe {
        // The 26 become the least of all.
        let moved = _mm_add_epi8(word, _mm_set1_epi8(0x80_u8.wrapping_sub(a) as i8));
        let letters = _mm_cmplt_epi8(moved, _mm_set1_epi8(i8::MIN + 26));
        _mm_and_si128(letters, _mm_set1_epi8(0x20))
    }
}

#[inline(always)]
fn vector(word: &u128) -> __m128i {
    // SAFETY: every x86-64 processor has SSE2; the load is of the 16 bytes of the word.
    unsafe { _mm_loadu_si128((&raw const *word).cast()) }
}
