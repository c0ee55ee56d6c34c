//! Masks over blocks of 64 bytes: one bit a byte, the lowest bit for the first byte.
//!
//! The only module of the codec with unsafe code. A [`Simd`] value is a proof that the processor
//! has the instructions it stands for, so its methods are safe; [`Level::run`] is the one place
//! that makes such values. Blocks are whole 64-byte arrays: callers pad their buffers ([`PAD`]), so
//! that no load reaches beyond one.
#![expect(unsafe_code, reason = "vector instructions; each use says why it is sound")]

use std::sync::OnceLock;

/// Bytes in a block.
pub(super) const BLOCK: usize = 64;

/// Readable bytes that a buffer must have behind its text.
pub(super) const PAD: usize = BLOCK;

/// The instructions that the codec uses. All of them give the same result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Level {
    /// 64-bit words, on any processor.
    Scalar,
    /// AVX2 and carry-less multiplication.
    Avx2,
}

impl Level {
    /// The best level of this processor, or a lower one that the environment variable
    /// `GRISTMILL_SIMD` (`scalar`, `avx2`) asks for.
    pub fn detect() -> Self {
        static LEVEL: OnceLock<Level> = OnceLock::new();
        *LEVEL.get_or_init(|| match std::env::var("GRISTMILL_SIMD").as_deref() {
            Ok("scalar") => Level::Scalar,
            _ if Level::Avx2.is_supported() => Level::Avx2,
            _ => Level::Scalar,
        })
    }

    /// Whether this processor can do it. A level that it cannot do is replaced by
    /// [`Level::Scalar`] where it is asked for.
    pub fn is_supported(self) -> bool {
        match self {
            Level::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => {
                is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("pclmulqdq")
                    && is_x86_feature_detected!("bmi1")
                    && is_x86_feature_detected!("bmi2")
                    && is_x86_feature_detected!("lzcnt")
                    && is_x86_feature_detected!("popcnt")
            }
            #[cfg(not(target_arch = "x86_64"))]
            Level::Avx2 => false,
        }
    }

    /// Runs a kernel with the instructions of this level.
    pub(super) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the processor has the features that `run_avx2` is compiled for.
            Level::Avx2 if self.is_supported() => unsafe { x86::run_avx2(kernel) },
            _ => kernel.run(Words),
        }
    }
}

/// Code that is compiled once for each level. Its `run` is `#[inline(always)]`, so that it becomes
/// part of a function that is compiled with the level's instructions.
pub(super) trait Kernel {
    type Output;

    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// The operations of one level.
pub(super) trait Simd: Copy {
    type Block: Copy;

    /// Loads a block.
    fn load(self, bytes: &[u8; BLOCK]) -> Self::Block;

    /// The bytes of a block that are equal to `byte`.
    fn equal(self, block: Self::Block, byte: u8) -> u64;

    /// Bit `i` of the result is the parity of bits `0..=i`.
    fn prefix_xor(self, mask: u64) -> u64;
}

/// The block of a padded text that starts at `at`.
#[inline(always)]
pub(super) fn block(text: &[u8], at: usize) -> &[u8; BLOCK] {
    text[at..].first_chunk().expect("texts are padded by a block")
}

/// Ones for the bytes of the block at `at` that are before `end`, which is behind `at`.
#[inline(always)]
pub(super) fn before(end: usize, at: usize) -> u64 {
    if end - at >= BLOCK { u64::MAX } else { (1 << (end - at)) - 1 }
}

/// The portable level: eight bytes in a word.
#[derive(Clone, Copy)]
struct Words;

const LOW: u64 = 0x7F7F_7F7F_7F7F_7F7F;

impl Simd for Words {
    type Block = [u64; 8];

    #[inline(always)]
    fn load(self, bytes: &[u8; BLOCK]) -> [u64; 8] {
        let (words, _) = bytes.as_chunks::<8>();
        std::array::from_fn(|i| u64::from_le_bytes(words[i]))
    }

    #[inline(always)]
    fn equal(self, block: [u64; 8], byte: u8) -> u64 {
        let pattern = u64::from_le_bytes([byte; 8]);
        let mut mask = 0;
        for (i, word) in block.into_iter().enumerate() {
            let differ = word ^ pattern;
            // The high bit of each byte that is zero in `differ`, exactly: no carry leaves a byte.
            let zero = !(((differ & LOW) + LOW) | differ | LOW);
            // Gathers the eight high bits.
            let bits = (zero >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56;
            mask |= bits << (8 * i);
        }
        mask
    }

    #[inline(always)]
    fn prefix_xor(self, mut mask: u64) -> u64 {
        for shift in [1, 2, 4, 8, 16, 32] {
            mask ^= mask << shift;
        }
        mask
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m256i, _mm_clmulepi64_si128, _mm_cvtsi128_si64, _mm_set_epi64x, _mm_set1_epi8,
        _mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_movemask_epi8, _mm256_set1_epi8,
    };

    use super::{BLOCK, Kernel, Simd};

    /// A proof that the processor has the features of [`run_avx2`]. Only made there.
    #[derive(Clone, Copy)]
    pub(super) struct Avx2(());

    #[target_feature(enable = "avx2,pclmulqdq,bmi1,bmi2,lzcnt,popcnt")]
    pub(super) fn run_avx2<K: Kernel>(kernel: K) -> K::Output {
        kernel.run(Avx2(()))
    }

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
            let product = unsafe {
                let mask = _mm_set_epi64x(0, mask.cast_signed());
                _mm_cvtsi128_si64(_mm_clmulepi64_si128(mask, _mm_set1_epi8(-1), 0))
            };
            product.cast_unsigned()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct Masks<'a>(&'a [u8; BLOCK], u8);

    impl Kernel for Masks<'_> {
        type Output = (u64, u64);

        #[inline(always)]
        fn run<S: Simd>(self, simd: S) -> (u64, u64) {
            let mask = simd.equal(simd.load(self.0), self.1);
            (mask, simd.prefix_xor(mask))
        }
    }

    proptest! {
        #[test]
        fn every_level_gives_the_same_masks(
            bytes in proptest::collection::vec(prop_oneof![Just(b','), Just(b'-'), any::<u8>()], 64),
            byte in prop_oneof![Just(b','), any::<u8>()],
        ) {
            let block: &[u8; BLOCK] = bytes.first_chunk().unwrap();
            let mut parity = 0;
            let mut expected = (0, 0);
            for (i, b) in block.iter().enumerate() {
                parity ^= u64::from(*b == byte);
                expected.0 |= u64::from(*b == byte) << i;
                expected.1 |= parity << i;
            }
            for level in [Level::Scalar, Level::Avx2] {
                prop_assert_eq!(level.run(Masks(block, byte)), expected, "{:?}", level);
            }
        }
    }
}
