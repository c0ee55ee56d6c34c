//! Sums of floating numbers that are exact, and so the same in any order.
//!
//! Every finite `f64` is a whole number of 2⁻¹⁰⁷⁴. A sum is kept as such a whole number, in digits
//! of 32 bits, and rounded once, when it is asked for (Kulisch, "Very fast and exact accumulation of
//! products", 2011). Most sums are short: [`ShortSum`] holds those in two numbers, and says when one
//! is not.

/// Digits: 2098 bits of the greatest number, and room for 2⁶⁴ of them.
const DIGITS: usize = 68;
/// The exponent of the least digit's least bit.
const LEAST: i32 = -1074;
/// Additions after which digits are carried: each adds less than 2³² to a digit of 63 bits.
const CARRY_AFTER: u32 = 1 << 30;

/// An exact sum.
#[derive(Debug, Clone)]
pub struct ExactSum {
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
    /// Adds a number.
    pub fn add(&mut self, value: f64) {
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
    pub fn add_product(&mut self, a: f64, b: f64) {
        let product = a * b;
        self.add(product);
        if product.is_finite() {
            self.add(a.mul_add(b, -product));
        }
    }

    /// Adds all that another sum has.
    pub fn merge(&mut self, other: &Self) {
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
    pub fn rounded(&self) -> f64 {
        self.double().0
    }

    /// The sum as two numbers, the nearest and what is left, rounded: 106 bits.
    pub fn double(&self) -> Double {
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

    /// Numbers whose sum it is, exactly.
    pub fn parts(&self) -> Vec<f64> {
        let (mut rest, mut parts) = (self.clone(), Vec::new());
        parts.extend(rest.beyond.take());
        loop {
            // What is beyond the greatest number is taken in pieces of that.
            let part = rest.nearest().clamp(f64::MIN, f64::MAX);
            if part == 0.0 {
                return parts;
            }
            rest.add(-part);
            parts.push(part);
        }
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
pub struct Double(
    /// The number, rounded.
    pub f64,
    /// What rounding left.
    pub f64,
);

impl Double {
    /// `self - a · b / n`, in 106 bits.
    pub fn less_product(self, a: Double, b: Double, n: f64) -> f64 {
        let high = a.0 * b.0;
        let low = a.0.mul_add(b.0, -high) + (a.0 * b.1 + a.1 * b.0);
        // high / n, and what the division leaves.
        let quotient = high / n;
        let rest = (-quotient).mul_add(n, high) + low;
        let (difference, lost) = two_difference(self.0, quotient);
        difference + (lost + (self.1 - rest / n))
    }
}

/// An exact sum, while two numbers hold it: that of numbers whose digits are within some 100 bits.
///
/// ```
/// use gristmill_core::exact::ShortSum;
///
/// let sum = [0.1, 0.2, 0.3].into_iter().try_fold(ShortSum::default(), ShortSum::plus);
/// assert_eq!(sum.map(ShortSum::rounded), Some(0.6));
/// let far = [1e300, 1.0, 1e-300].into_iter().try_fold(ShortSum::default(), ShortSum::plus);
/// assert_eq!(far.map(ShortSum::rounded), None);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ShortSum {
    /// The sum, rounded.
    pub high: f64,
    /// What rounding left.
    pub low: f64,
}

impl ShortSum {
    /// The sum with one number more; `None` if two numbers do not hold it.
    #[inline]
    #[must_use]
    pub fn plus(self, value: f64) -> Option<Self> {
        let (high, rest) = two_sum(self.high, value);
        let (low, lost) = two_sum(self.low, rest);
        let (high, low) = two_sum(high, low);
        // Of numbers that are not finite, what is lost is no number.
        (lost == 0.0 && high.is_finite()).then_some(Self { high, low })
    }

    /// The sum, rounded to nearest.
    pub fn rounded(self) -> f64 {
        self.high + self.low
    }
}

/// `a + b`, and what its rounding lost (Knuth).
#[inline]
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let back = sum - a;
    (sum, (a - (sum - back)) + (b - back))
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

    /// Numbers of all sizes, many of which cancel.
    fn number() -> impl Strategy<Value = f64> {
        prop_oneof![
            4 => (-1_000_000i64..1_000_000).prop_map(|cents| cents as f64 / 100.0),
            2 => any::<f64>(),
            1 => prop_oneof![Just(1e300), Just(-1e300), Just(f64::MAX), Just(f64::MIN)],
            1 => prop_oneof![Just(5e-324), Just(-0.0), Just(1e-300)],
        ]
    }

    /// The same number; NaNs are one.
    fn same(left: f64, right: f64) -> bool {
        left == right || (left.is_nan() && right.is_nan())
    }

    proptest! {
        #[test]
        fn a_short_sum_is_the_exact_one_or_none(values in prop::collection::vec(number(), 0..12)) {
            if let Some(short) = values.iter().try_fold(ShortSum::default(), |sum, v| sum.plus(*v)) {
                prop_assert!(same(short.rounded(), sum(&values).rounded()), "{short:?}");
                let mut rest = sum(&values);
                rest.add(-short.high);
                rest.add(-short.low);
                prop_assert_eq!(rest.rounded(), 0.0);
            }
        }

        #[test]
        fn cents_have_a_short_sum(values in prop::collection::vec(-900_000_000i64..900_000_000, 0..50)) {
            let values: Vec<f64> = values.iter().map(|cents| *cents as f64 / 100.0).collect();
            let short = values.iter().try_fold(ShortSum::default(), |sum, v| sum.plus(*v));
            prop_assert_eq!(short.map(ShortSum::rounded), Some(sum(&values).rounded()));
        }

        #[test]
        fn the_parts_of_a_sum_are_all_of_it(values in prop::collection::vec(number(), 0..12)) {
            let whole = sum(&values);
            let again = sum(&whole.parts());
            prop_assert!(same(again.rounded(), whole.rounded()));
            let Double(high, low) = again.double();
            let Double(expected_high, expected_low) = whole.double();
            prop_assert!(same(high, expected_high) && same(low, expected_low));
        }

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
