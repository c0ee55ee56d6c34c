//! Masks over blocks of 64 bytes: one bit a byte, the lowest bit for the first byte.
//!
//! A [`Simd`] value is a proof that the processor has the instructions it stands for, so its
//! methods are safe; [`Level::run`] is the one place that makes such values. Blocks are whole
//! 64-byte arrays: callers pad their buffers ([`PAD`]), so that no load reaches beyond one.
//! Unsafe code is here and in the modules of the processors, and each has [`Words`] as its twin.

#[cfg(target_arch = "aarch64")]
mod arm;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::sync::OnceLock;

/// Bytes in a block.
pub(crate) const BLOCK: usize = 64;

/// How far ahead of what is looked at text is brought near: somebody else read it.
pub(crate) const AHEAD: usize = 16 * BLOCK;

/// Readable bytes that a buffer must have behind its text.
pub(crate) const PAD: usize = BLOCK;

/// The instructions that the codecs use. All of them give the same result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Level {
    /// 64-bit words, on any processor.
    Scalar,
    /// NEON and polynomial multiplication, on 64-bit ARM.
    Neon,
    /// AVX2 and carry-less multiplication.
    Avx2,
    /// AVX-512 with BW and VBMI2: Intel since Ice Lake, AMD since Zen 4.
    Avx512,
}

impl Level {
    /// All of them, the best last.
    pub const ALL: [Level; 4] = [Level::Scalar, Level::Neon, Level::Avx2, Level::Avx512];

    /// The best level of this processor, or the one that the environment variable
    /// `GRISTMILL_SIMD` asks for by its name, where the processor can do it.
    pub fn detect() -> Self {
        static LEVEL: OnceLock<Level> = OnceLock::new();
        *LEVEL.get_or_init(|| {
            let asked = std::env::var("GRISTMILL_SIMD").ok();
            let mut best = Level::Scalar;
            for level in Self::supported() {
                if asked.as_deref() == Some(level.name()) {
                    return level;
                }
                best = level;
            }
            best
        })
    }

    /// What this processor can do, the best last.
    pub fn supported() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|level| level.is_supported())
    }

    /// Its name, as `GRISTMILL_SIMD` has it.
    pub fn name(self) -> &'static str {
        match self {
            Level::Scalar => "scalar",
            Level::Neon => "neon",
            Level::Avx2 => "avx2",
            Level::Avx512 => "avx512",
        }
    }

    /// Whether this processor can do it. A level that it cannot do is replaced by
    /// [`Level::Scalar`] where it is asked for.
    pub fn is_supported(self) -> bool {
        match self {
            Level::Scalar => true,
            #[cfg(target_arch = "aarch64")]
            Level::Neon => arm::has_neon(),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => x86::has_avx2(),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => x86::has_avx512(),
            _ => false,
        }
    }

    /// Runs a kernel with the instructions of this level.
    #[cfg_attr(
        any(target_arch = "x86_64", target_arch = "aarch64"),
        expect(
            unsafe_code,
            reason = "calls of functions with target features, once they are there"
        )
    )]
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self {
            #[cfg(target_arch = "aarch64")]
            // SAFETY: the processor has the features that `run_neon` is compiled for.
            Level::Neon if arm::has_neon() => unsafe { arm::run_neon(kernel) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the processor has the features that `run_avx2` is compiled for.
            Level::Avx2 if x86::has_avx2() => unsafe { x86::run_avx2(kernel) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the processor has the features that `run_avx512` is compiled for.
            Level::Avx512 if x86::has_avx512() => unsafe { x86::run_avx512(kernel) },
            _ => kernel.run(Words),
        }
    }
}

/// Code that is compiled once for each level. Its `run` is `#[inline(always)]`, so that it becomes
/// part of a function that is compiled with the level's instructions.
pub(crate) trait Kernel {
    type Output;

    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// The operations of one level.
pub(crate) trait Simd: Copy {
    type Block: Copy;

    /// Loads a block.
    fn load(self, bytes: &[u8; BLOCK]) -> Self::Block;

    /// The bytes of a block that are equal to `byte`.
    fn equal(self, block: Self::Block, byte: u8) -> u64;

    /// Bit `i` of the result is the parity of bits `0..=i`.
    fn prefix_xor(self, mask: u64) -> u64;

    /// Bit `i` of the result says whether the `i`-th bit that is set in `all` is set in `mask` too.
    /// `mask` has no other bits.
    #[inline(always)]
    fn ranks(self, mask: u64, all: u64) -> u64 {
        let (mut rest, mut ranks) = (mask, 0);
        while rest != 0 {
            ranks |= 1 << (all & ((1 << rest.trailing_zeros()) - 1)).count_ones();
            rest &= rest - 1;
        }
        ranks
    }

    /// Writes `base + i` for each bit `i` that is set, in order. What `out` holds behind them
    /// afterwards means nothing. `AT_ONCE`, which divides 64, is about how many there are: so many
    /// are written between two looks at whether there are more.
    #[inline(always)]
    fn positions<const AT_ONCE: usize>(self, mut mask: u64, base: u32, out: &mut [u32; BLOCK]) {
        for slots in out.as_chunks_mut::<AT_ONCE>().0 {
            for slot in slots {
                *slot = base.wrapping_add(mask.trailing_zeros());
                mask &= mask.wrapping_sub(1);
            }
            if mask == 0 {
                break;
            }
        }
    }
}

/// Has the bytes at `at`, within the text or behind it, brought near, where the processor can be
/// told so.
#[inline(always)]
pub(crate) fn prefetch(text: &[u8], at: usize) {
    #[cfg(target_arch = "x86_64")]
    x86::prefetch(text, at);
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (text, at);
}

/// The block of a padded text that starts at `at`.
#[inline(always)]
pub(crate) fn block(text: &[u8], at: usize) -> &[u8; BLOCK] {
    text[at..].first_chunk().expect("texts are padded by a block")
}

/// Ones for the bytes of the block at `at` that are before `end`, which is behind `at`.
#[inline(always)]
pub(crate) fn before(end: usize, at: usize) -> u64 {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct Masks<'a>(&'a [u8; BLOCK], u8, u64);

    #[derive(Debug, PartialEq)]
    struct Found {
        equal: u64,
        parity: u64,
        ranks: u64,
        positions: Vec<u32>,
    }

    impl Kernel for Masks<'_> {
        type Output = Found;

        #[inline(always)]
        fn run<S: Simd>(self, simd: S) -> Found {
            let equal = simd.equal(simd.load(self.0), self.1);
            let mut positions = [7; BLOCK];
            simd.positions::<8>(equal, 1000, &mut positions);
            Found {
                equal,
                parity: simd.prefix_xor(equal),
                ranks: simd.ranks(equal & self.2, equal),
                positions: positions[..equal.count_ones() as usize].to_vec(),
            }
        }
    }

    proptest! {
        #[test]
        fn every_level_gives_the_same_masks(
            bytes in prop_oneof![
                proptest::collection::vec(prop_oneof![Just(b','), Just(b'-')], 64),
                proptest::collection::vec(prop_oneof![1 => Just(b','), 9 => any::<u8>()], 64),
                Just(vec![b','; 64]),
            ],
            byte in prop_oneof![4 => Just(b','), 1 => any::<u8>()],
            some in any::<u64>(),
        ) {
            let block: &[u8; BLOCK] = bytes.first_chunk().unwrap();
            let mut expected = Found { equal: 0, parity: 0, ranks: 0, positions: vec![] };
            for (i, b) in block.iter().enumerate() {
                if *b == byte {
                    expected.ranks |= (some >> i & 1) << expected.positions.len();
                    expected.positions.push(1000 + i as u32);
                    expected.equal |= 1 << i;
                }
                expected.parity |= (expected.positions.len() as u64 & 1) << i;
            }
            for level in Level::ALL {
                let found = level.run(Masks(block, byte, some));
                prop_assert_eq!(&found, &expected, "{:?}", level);
            }
        }
    }
}
