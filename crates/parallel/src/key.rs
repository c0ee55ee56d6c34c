//! Keys as bytes that are the same on every machine and in every run.

use arrow_buffer::i256;
use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128_with_seed};

/// The seed of every key hash. Changing it moves every key to another partition.
const SEED: u64 = 0x6772_6973_746d_696c; // "gristmil"

/// 128 bits of a key's hash, which tell keys apart: among 10⁹ different keys, the probability that
/// any two of them have the same is about n² / 2¹²⁹ ≈ 1.5 · 10⁻²¹.
pub type KeyHash = [u64; 2];

/// A key in its canonical byte form, of which the hash is taken.
///
/// Each value is one tag byte and then, numbers in little-endian order:
///
/// | tag | value | bytes |
/// |---|---|---|
/// | 0 | null | none |
/// | 1 | bool | 0 or 1 |
/// | 2 | integer of any width and sign | 16, two's complement |
/// | 3 | floating point number, widened to 64 bits | 8; -0.0 is 0.0, every NaN is `0x7ff8000000000000` |
/// | 4 | text | 8 for the length in bytes, then the UTF-8 bytes |
/// | 5 | binary | 8 for the length, then the bytes |
/// | 6 | decimal | 1 for the scale and 32 for the digits, without trailing zeros after the point |
/// | 7 | date | 8: days since 1970-01-01 |
/// | 8 | time of day | 8: nanoseconds |
/// | 9 | timestamp without zone | 16: nanoseconds since 1970-01-01 00:00 |
/// | 10 | instant | 16: nanoseconds since 1970-01-01 00:00 UTC |
/// | 11 | length of time | 16: nanoseconds |
/// | 12 | list, struct or map | 8 for the length in bytes, then its JSON form |
///
/// The values of a key that has several follow each other; because each says where it ends,
/// `("ab", "c")` and `("a", "bc")` differ. The hash is XXH3 (64 bits) of the bytes with the seed
/// `0x6772_6973_746d_696c`. So the width of an integer, the unit of a timestamp, the scale of a
/// decimal and Arrow's way of storing a string make no difference, while values of different kinds
/// (the integer 1, the text "1") are different keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyForm {
    bytes: Vec<u8>,
}

impl KeyForm {
    /// The form of a key.
    pub fn of(key: &(impl Key + ?Sized)) -> Self {
        let mut form = Self::default();
        key.write(&mut form);
        form
    }

    /// The bytes so far.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// XXH3 of the bytes so far.
    pub fn hash(&self) -> u64 {
        xxh3_64_with_seed(&self.bytes, SEED)
    }

    /// XXH3 (128 bits) of the bytes so far, with the same seed.
    pub fn hash_wide(&self) -> KeyHash {
        let hash = xxh3_128_with_seed(&self.bytes, SEED);
        [(hash >> 64) as u64, hash as u64]
    }

    /// Forgets everything, to be used for the next key.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Adds a null.
    pub fn null(&mut self) {
        self.bytes.push(0);
    }

    /// Adds a truth value.
    pub fn bool(&mut self, value: bool) {
        self.bytes.extend([1, u8::from(value)]);
    }

    /// Adds an integer.
    pub fn int(&mut self, value: impl Into<i128>) {
        self.tagged(2, &value.into().to_le_bytes());
    }

    /// Adds a floating point number.
    pub fn float(&mut self, value: impl Into<f64>) {
        let value = value.into();
        let bits = if value.is_nan() {
            0x7ff8_0000_0000_0000
        } else if value == 0.0 {
            0
        } else {
            value.to_bits()
        };
        self.tagged(3, &bits.to_le_bytes());
    }

    /// Adds a text.
    pub fn text(&mut self, value: &str) {
        self.sized(4, value.as_bytes());
    }

    /// Adds bytes.
    pub fn binary(&mut self, value: &[u8]) {
        self.sized(5, value);
    }

    /// Adds `digits` × 10^-`scale`.
    pub fn decimal(&mut self, digits: i256, scale: i8) {
        let (digits, scale) = plain_decimal(digits, scale);
        let (low, high) = digits.to_parts();
        self.tagged(6, &scale.to_le_bytes());
        self.bytes.extend(low.to_le_bytes());
        self.bytes.extend(high.to_le_bytes());
    }

    /// Adds a day, counted from 1970-01-01.
    pub fn date(&mut self, days: i64) {
        self.tagged(7, &days.to_le_bytes());
    }

    /// Adds a time of day.
    pub fn time(&mut self, nanoseconds: i64) {
        self.tagged(8, &nanoseconds.to_le_bytes());
    }

    /// Adds a timestamp without a zone.
    pub fn timestamp(&mut self, nanoseconds: i128) {
        self.tagged(9, &nanoseconds.to_le_bytes());
    }

    /// Adds an instant.
    pub fn instant(&mut self, nanoseconds: i128) {
        self.tagged(10, &nanoseconds.to_le_bytes());
    }

    /// Adds a length of time.
    pub fn duration(&mut self, nanoseconds: i128) {
        self.tagged(11, &nanoseconds.to_le_bytes());
    }

    /// Adds a list, a struct or a map by its JSON form, which `write` appends.
    pub(crate) fn nested(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.sized(12, &[]);
        let start = self.bytes.len();
        write(&mut self.bytes);
        let length = (self.bytes.len() - start) as u64;
        self.bytes[start - size_of::<u64>()..start].copy_from_slice(&length.to_le_bytes());
    }

    fn tagged(&mut self, tag: u8, payload: &[u8]) {
        self.bytes.push(tag);
        self.bytes.extend_from_slice(payload);
    }

    fn sized(&mut self, tag: u8, payload: &[u8]) {
        self.tagged(tag, &(payload.len() as u64).to_le_bytes());
        self.bytes.extend_from_slice(payload);
    }
}

/// The same number without trailing zeros after the point, and without a negative scale unless
/// the digits would not fit.
fn plain_decimal(mut digits: i256, mut scale: i8) -> (i256, i8) {
    let ten = i256::from_i128(10);
    if digits == i256::ZERO {
        return (digits, 0);
    }
    while scale > 0 {
        match (digits.checked_rem(ten), digits.checked_div(ten)) {
            (Some(i256::ZERO), Some(tenth)) => digits = tenth,
            _ => break,
        }
        scale -= 1;
    }
    while scale < 0 {
        let Some(more) = digits.checked_mul(ten) else { break };
        digits = more;
        scale += 1;
    }
    (digits, scale)
}

/// A value by which items are told apart, with the same bytes on every machine and in every run
/// (see [`KeyForm`]). A tuple is a key of several values; `None` is a key value of its own.
pub trait Key {
    /// Adds the value to a form.
    fn write(&self, form: &mut KeyForm);
}

macro_rules! integer_keys {
    ($($type:ty)*) => {$(
        impl Key for $type {
            fn write(&self, form: &mut KeyForm) {
                form.int(*self);
            }
        }
    )*};
}

integer_keys!(i8 i16 i32 i64 i128 u8 u16 u32 u64);

macro_rules! tuple_keys {
    ($(($($name:ident)+))*) => {$(
        impl<$($name: Key),+> Key for ($($name,)+) {
            #[expect(non_snake_case, reason = "type parameters name the fields")]
            fn write(&self, form: &mut KeyForm) {
                let ($($name,)+) = self;
                $($name.write(form);)+
            }
        }
    )*};
}

tuple_keys!((A) (A B) (A B C) (A B C D) (A B C D E) (A B C D E F));

impl Key for usize {
    fn write(&self, form: &mut KeyForm) {
        form.int(*self as u64);
    }
}

impl Key for isize {
    fn write(&self, form: &mut KeyForm) {
        form.int(*self as i64);
    }
}

impl Key for bool {
    fn write(&self, form: &mut KeyForm) {
        form.bool(*self);
    }
}

impl Key for f32 {
    fn write(&self, form: &mut KeyForm) {
        form.float(*self);
    }
}

impl Key for f64 {
    fn write(&self, form: &mut KeyForm) {
        form.float(*self);
    }
}

impl Key for str {
    fn write(&self, form: &mut KeyForm) {
        form.text(self);
    }
}

impl Key for String {
    fn write(&self, form: &mut KeyForm) {
        form.text(self);
    }
}

impl Key for [u8] {
    fn write(&self, form: &mut KeyForm) {
        form.binary(self);
    }
}

impl<K: Key> Key for Option<K> {
    fn write(&self, form: &mut KeyForm) {
        match self {
            Some(key) => key.write(form),
            None => form.null(),
        }
    }
}

impl<K: Key + ?Sized> Key for &K {
    fn write(&self, form: &mut KeyForm) {
        (**self).write(form);
    }
}
