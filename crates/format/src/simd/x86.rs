//! The masks by AVX2 and by AVX-512.
#![expect(unsafe_code, reason = "vector instructions; each use says why it is sound")]

use std::arch::x86_64::{
    __m128i, __m256i, __m512i, _MM_HINT_T0, _mm_clmulepi64_si128, _mm_cvtsi128_si64, _mm_prefetch,
    _mm_set_epi64x, _mm_set1_epi8, _mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_movemask_epi8,
    _mm256_set1_epi8, _mm512_add_epi32, _mm512_castsi512_si128, _mm512_cmpeq_epi8_mask,
    _mm512_cvtepu8_epi32, _mm512_extracti32x4_epi32, _mm512_loadu_si512,
    _mm512_maskz_compress_epi8, _mm512_set1_epi8, _mm512_set1_epi32, _mm512_storeu_si512,
    _pext_u64,
};

use super::{BLOCK, Kernel, Simd};

/// Whether [`run_avx2`] may be called.
pub(super) fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("pclmulqdq")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("lzcnt")
        && is_x86_feature_detected!("popcnt")
}

/// Whether [`run_avx512`] may be called.
pub(super) fn has_avx512() -> bool {
    has_avx2()
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vbmi2")
}

#[target_feature(enable = "avx2,pclmulqdq,bmi1,bmi2,lzcnt,popcnt")]
pub(super) fn run_avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx2(()))
}

#[target_feature(
    enable = "avx2,pclmulqdq,bmi1,bmi2,lzcnt,popcnt,avx512f,avx512bw,avx512vl,avx512vbmi2"
)]
pub(super) fn run_avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx512(()))
}

/// A proof that the processor has the features of [`run_avx2`]. Only made there.
#[derive(Clone, Copy)]
pub(super) struct Avx2(());

impl Simd for Avx2 {
    type Block = [__m256i; 2];

    #[inline(always)]
    fn load(self, bytes: &[u8; BLOCK]) -> [__m256i; 2] {
        let pointer = bytes.as_ptr().cast::<__m256i>();
        // SAFETY: `self` proves AVX2; both unaligned loads are within the 64 bytes.
        unsafe { [_mm256_loadu_si256(pointer), _mm256_loadu_si256(pointer.add(1))] }
    }

    #[inline(always)]
    fn equal(self, block: [__m256i; 2], byte: u8) -> u64 {
        // SAFETY: `self` proves AVX2.
        let [low, high] = unsafe {
            let pattern = _mm256_set1_epi8(byte.cast_signed());
            block.map(|half| _mm256_movemask_epi8(_mm256_cmpeq_epi8(half, pattern)))
        };
        u64::from(low.cast_unsigned()) | u64::from(high.cast_unsigned()) << 32
    }

    #[inline(always)]
    fn prefix_xor(self, mask: u64) -> u64 {
        // SAFETY: `self` proves PCLMULQDQ.
        unsafe { carryless_prefix_xor(mask) }
    }

    #[inline(always)]
    fn ranks(self, mask: u64, all: u64) -> u64 {
        // SAFETY: `self` proves BMI2.
        unsafe { _pext_u64(mask, all) }
    }
}

/// A proof that the processor has the features of [`run_avx512`]. Only made there.
#[derive(Clone, Copy)]
pub(super) struct Avx512(());

impl Simd for Avx512 {
    type Block = __m512i;

    #[inline(always)]
    fn load(self, bytes: &[u8; BLOCK]) -> __m512i {
        // SAFETY: `self` proves AVX-512F; the unaligned load is of the 64 bytes.
        unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
    }

    #[inline(always)]
    fn equal(self, block: __m512i, byte: u8) -> u64 {
        // SAFETY: `self` proves AVX-512BW.
        unsafe { _mm512_cmpeq_epi8_mask(block, _mm512_set1_epi8(byte.cast_signed())) }
    }

    #[inline(always)]
    fn prefix_xor(self, mask: u64) -> u64 {
        // SAFETY: `self` proves PCLMULQDQ.
        unsafe { carryless_prefix_xor(mask) }
    }

    #[inline(always)]
    fn ranks(self, mask: u64, all: u64) -> u64 {
        // SAFETY: `self` proves BMI2.
        unsafe { _pext_u64(mask, all) }
    }

    #[inline(always)]
    fn positions<const AT_ONCE: usize>(self, mask: u64, base: u32, out: &mut [u32; BLOCK]) {
        let quarters = out.as_chunks_mut::<16>().0;
        let quarters: &mut [_; 4] = quarters.first_chunk_mut().expect("four times 16 are 64");
        // SAFETY: `self` proves AVX-512F and VBMI2.
        unsafe { positions(mask, base, quarters) }
    }
}

/// See [`super::prefetch`].
#[inline(always)]
pub(super) fn prefetch(text: &[u8], at: usize) {
    let place = text.as_ptr().wrapping_add(at);
    // SAFETY: every x86-64 processor has SSE; no address is wrong to ask for.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(place.cast()) };
}

/// The product with all ones, without carries: each bit is the sum of those up to it.
#[inline]
#[target_feature(enable = "pclmulqdq")]
fn carryless_prefix_xor(mask: u64) -> u64 {
    let mask = _mm_set_epi64x(0, mask.cast_signed());
    _mm_cvtsi128_si64(_mm_clmulepi64_si128(mask, _mm_set1_epi8(-1), 0)).cast_unsigned()
}

/// The numbers of the bytes in a block.
const NUMBERS: [u8; BLOCK] = {
    let mut numbers = [0; BLOCK];
    let mut i = 0;
    while i < BLOCK {
        numbers[i] = i as u8;
        i += 1;
    }
    numbers
};

/// See [`Simd::positions`]: 16 at a time, as many as there are.
#[inline]
#[target_feature(enable = "avx512f,avx512vbmi2,popcnt")]
fn positions(mask: u64, base: u32, out: &mut [[u32; 16]; 4]) {
    let base = _mm512_set1_epi32(base.cast_signed());
    // SAFETY: the load is of the 64 bytes of `NUMBERS`.
    let numbers = unsafe { _mm512_loadu_si512(NUMBERS.as_ptr().cast()) };
    let numbers = _mm512_maskz_compress_epi8(mask, numbers);
    let write = |part: __m128i, out: &mut [u32; 16]| {
        let wide = _mm512_add_epi32(_mm512_cvtepu8_epi32(part), base);
        // SAFETY: the store is of the 64 bytes of `out`.
        unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), wide) }
    };
    let count = mask.count_ones();
    write(_mm512_castsi512_si128(numbers), &mut out[0]);
    if count > 16 {
        write(_mm512_extracti32x4_epi32::<1>(numbers), &mut out[1]);
    }
    if count > 32 {
        write(_mm512_extracti32x4_epi32::<2>(numbers), &mut out[2]);
        write(_mm512_extracti32x4_epi32::<3>(numbers), &mut out[3]);
    }
}
