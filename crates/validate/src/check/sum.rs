//! Sums of floating numbers that are exact, and so the same in any order.
//!
//! Every finite `f64` is a whole number of 2⁻¹⁰⁷⁴. A sum is kept as such a whole number, in digits
//! of 32 bits, and rounded once, when it is asked for (Kulisch, "Very fast and exact accumulation of
//! products", 2011).

/// Digits: 2098 bits of the greatest number, and room for 2⁶⁴ of them.
const DIGITS: usize = 68;
/// The exponent of the least digit's least bit.
const LEAST: i32 = -1074;
/// Additions after which digits are carried: each adds less than 2³² to a digit of 63 bits.
const CARRY_AFTER: u32 = 1 << 30;

/// An exact sum.
#[derive(Debug, Clone)]
pub(crate) struct ExactSum {
    digits: [i64; DIGITS],
    added: u32,
    /// The sum of the values that are not finite, if there is one.
    beyond: Option<f64>,
}

impl Default for ExactSum {
    fn default() -> Self {
        Self { digits: [0; DIGITS], added: 0, beyond: None }
    }
}

impl ExactSum {
    pub(crate) fn add(&mut self, value: f64) {
        if !value.is_finite() {
            self.beyond = Some(self.beyond.unwrap_or_default() + value);
            return;
        }
        let bits = value.to_bits();
        let exponent = (bits >> 52 & 0x7FF) as u32;
        let fraction = bits & ((1 << 52) - 1);
        let (mantissa, place) =
            if exponent == 0 { (fraction, 0) } else { (fraction | 1 << 52, exponent - 1) };
        let shifted = u128::from(mantissa) << (place % 32);
        let first = (place / 32) as usize;
        for (i, digit) in self.digits[first..first + 3].iter_mut().enumerate() {
            let part = (shifted >> (32 * i)) as u32;
            *digit += if value < 0.0 { -i64::from(part) } else { i64::from(part) };
        }
        self.added += 1;
        if self.added == CARRY_AFTER {
            self.carry();
        }
    }

    /// Adds `a · b`, exactly unless it underflows.
    pub(crate) fn add_product(&mut self, a: f64, b: f64) {
        let product = a * b;
        self.add(product);
        if product.is_finite() {
            self.add(a.mul_add(b, -product));
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        let mut other = other.clone();
        other.carry();
        self.carry();
        for (mine, theirs) in self.digits.iter_mut().zip(other.digits) {
            *mine += theirs;
        }
        self.added = 2;
        if let Some(beyond) = other.beyond {
            self.beyond = Some(self.beyond.unwrap_or_default() + beyond);
        }
    }

    /// Brings all digits but the last into 0..2³²; the last has the sign.
    fn carry(&mut self) {
        let mut carried = 0;
        for digit in &mut self.digits[..DIGITS - 1] {
            *digit += carried;
            carried = *digit >> 32;
            *digit &= 0xFFFF_FFFF;
        }
        self.digits[DIGITS - 1] += carried;
        self.added = 1;
    }

    /// The sum, rounded to nearest.
    pub(crate) fn rounded(&self) -> f64 {
        self.double().0
    }

    /// The sum as two numbers, the nearest and what is left, rounded: 106 bits.
    pub(crate) fn double(&self) -> Double {
        if let Some(beyond) = self.beyond {
            return Double(beyond, 0.0);
        }
        let high = self.nearest();
        if !high.is_finite() {
            return Double(high, 0.0);
        }
        let mut rest = self.clone();
        rest.add(-high);
        Double(high, rest.nearest())
    }

    fn nearest(&self) -> f64 {
        let mut sum = self.clone();
        sum.carry();
        let negative = sum.digits[DIGITS - 1] < 0;
        if negative {
            sum.digits.iter_mut().for_each(|digit| *digit = -*digit);
            sum.carry();
        }
        let Some(top) = sum.digits.iter().rposition(|digit| *digit != 0) else { return 0.0 };
        // The three highest digits have 65 bits or more; what is below them only matters when it
        // decides between two neighbours, and one bit tells that.
        let low = top.saturating_sub(2);
        let mut whole = sum.digits[low..=top]
            .iter()
            .rev()
            .fold(0u128, |whole, digit| whole << 32 | *digit as u128);
        if sum.digits[..low].iter().any(|digit| *digit != 0) {
            whole |= 1;
        }
        let exponent = 32 * low as i32 + LEAST;
        let half = exponent / 2;
        let value = whole as f64 * 2f64.powi(half) * 2f64.powi(exponent - half);
        if negative { -value } else { value }
    }
}

/// A number as the sum of two, the second far smaller.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Double(pub(crate) f64, pub(crate) f64);

impl Double {
    /// `self - a · b / n`, in 106 bits.
    pub(crate) fn less_product(self, a: Double, b: Double, n: f64) -> f64 {
        let high = a.0 * b.0;
        let low = a.0.mul_add(b.0, -high) + (a.0 * b.1 + a.1 * b.0);
        // high / n, and what the division leaves.
        let quotient = high / n;
        let rest = (-quotient).mul_add(n, high) + low;
        let (difference, lost) = two_difference(self.0, quotient);
        difference + (lost + (self.1 - rest / n))
    }
}

/// `a - b`, and what its rounding lost.
fn two_difference(a: f64, b: f64) -> (f64, f64) {
    let difference = a - b;
    let back = difference - a;
    (difference, (a - (difference - back)) - (b + back))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sum(values: &[f64]) -> ExactSum {
        let mut sum = ExactSum::default();
        values.iter().for_each(|value| sum.add(*value));
        sum
    }

    #[test]
    fn what_cancels_leaves_the_rest() {
        assert_eq!(sum(&[1e300, 1.0, -1e300]).rounded(), 1.0);
        assert_eq!(sum(&[1e16, 1.0, 1e-9]).rounded(), 10_000_000_000_000_002.0);
        assert_eq!(sum(&[0.1; 10]).rounded(), 1.0);
        assert_eq!(sum(&[-5e-324, -5e-324]).rounded(), -1e-323);
        assert_eq!(sum(&[f64::MAX, f64::MAX]).rounded(), f64::INFINITY);
        assert_eq!(sum(&[f64::MAX, f64::MAX, -f64::MAX]).rounded(), f64::MAX);
        assert_eq!(sum(&[]).rounded(), 0.0);
        assert_eq!(sum(&[f64::INFINITY, 1.0]).rounded(), f64::INFINITY);
        assert!(sum(&[f64::INFINITY, f64::NEG_INFINITY]).rounded().is_nan());
    }

    #[test]
    fn products_are_exact() {
        // (10⁸ + 1)² = 10¹⁶ + 2·10⁸ + 1, which an f64 does not hold.
        let mut squares = ExactSum::default();
        squares.add_product(100_000_001.0, 100_000_001.0);
        squares.add(-1e16);
        assert_eq!(squares.rounded(), 200_000_001.0);
    }

    proptest! {
        #[test]
        fn integers_sum_as_integers_in_any_order(
            mut values in prop::collection::vec(any::<i64>(), 0..40), cut in 0usize..40,
        ) {
            let floats = |values: &[i64]| values.iter().map(|v| *v as f64).collect::<Vec<_>>();
            let expected: i128 = floats(&values).iter().map(|v| *v as i128).sum();
            prop_assert_eq!(sum(&floats(&values)).rounded(), expected as f64);
            values.reverse();
            let (left, right) = values.split_at(cut.min(values.len()));
            let mut merged = sum(&floats(left));
            merged.merge(&sum(&floats(right)));
            prop_assert_eq!(merged.rounded(), expected as f64);
            let Double(high, low) = merged.double();
            prop_assert_eq!(high as i128 + low as i128, expected);
        }
    }
}
