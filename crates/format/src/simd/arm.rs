//! The masks by NEON.
#![expect(unsafe_code, reason = "vector instructions; each use says why it is sound")]

use std::arch::aarch64::{
    uint8x16_t, vandq_u8, vceqq_u8, vdupq_n_u8, vgetq_lane_u64, vld1q_u8, vmull_p64, vpaddq_u8,
    vreinterpretq_u64_u8,
};
use std::arch::is_aarch64_feature_detected;

use super::{BLOCK, Kernel, Simd};

/// Whether [`run_neon`] may be called.
pub(super) fn has_neon() -> bool {
    is_aarch64_feature_detected!("neon")
        && is_aarch64_feature_detected!("aes")
        && is_aarch64_feature_detected!("pmull")
}

#[target_feature(enable = "neon,aes")]
pub(super) fn run_neon<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Neon(()))
}

/// A proof that the processor has the features of [`run_neon`]. Only made there.
#[derive(Clone, Copy)]
pub(super) struct Neon(());

/// The bit of a byte in the mask of its eight.
const BITS: [u8; 16] = [1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128];

impl Simd for Neon {
    type Block = [uint8x16_t; 4];

    #[inline(always)]
    fn load(self, bytes: &[u8; BLOCK]) -> [uint8x16_t; 4] {
        let pointer = bytes.as_ptr();
        // SAFETY: `self` proves NEON; the four loads are within the 64 bytes.
        unsafe {
            [
                vld1q_u8(pointer),
                vld1q_u8(pointer.add(16)),
                vld1q_u8(pointer.add(32)),
                vld1q_u8(pointer.add(48)),
            ]
        }
    }

    #[inline(always)]
    fn equal(self, block: [uint8x16_t; 4], byte: u8) -> u64 {
        // SAFETY: `self` proves NEON; the load is of the 16 bytes of `BITS`.
        unsafe {
            let (pattern, bits) = (vdupq_n_u8(byte), vld1q_u8(BITS.as_ptr()));
            let [a, b, c, d] = block.map(|part| vandq_u8(vceqq_u8(part, pattern), bits));
            // Three sums of neighbours leave one byte for each eight, in order, in the low half.
            let sums = vpaddq_u8(vpaddq_u8(a, b), vpaddq_u8(c, d));
            vgetq_lane_u64::<0>(vreinterpretq_u64_u8(vpaddq_u8(sums, sums)))
        }
    }

    #[inline(always)]
    fn prefix_xor(self, mask: u64) -> u64 {
        // SAFETY: `self` proves polynomial multiplication of 64 bits.
        unsafe { product(mask) }
    }
}

/// The low half of the product with all ones. It is inlined where the features are, which the
/// intrinsic itself would not be.
#[inline]
#[target_feature(enable = "neon,aes")]
fn product(mask: u64) -> u64 {
    vmull_p64(mask, u64::MAX) as u64
}
