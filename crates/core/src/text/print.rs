//! Numbers, dates and times as text, each written at the start of a [`Window`].
//!
//! A window has room for the longest of them, so that nothing is allocated and most of it is done
//! by stores of fixed size. Each function answers how long the text is; what stands behind it in
//! the window is of no meaning.

use std::io::Write;

use chrono::{DateTime, Datelike};

/// Bytes that a value is written into.
pub type Window = [u8; 48];

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// An integer.
pub fn int(out: &mut Window, value: i64) -> usize {
    out[0] = b'-';
    natural(out, usize::from(value < 0), value.unsigned_abs())
}

/// The shortest digits that read back as the same number: `0.5`, `3.0`, `1e300`, `NaN`, `inf`. With
/// an exponent where the number is below 1e-5 or not below 1e16.
pub fn double(out: &mut Window, value: f64) -> usize {
    // Most numbers that people write have few digits. What is a whole number of ten-thousandths
    // n, divided again, has at most 15 digits: no other number of 15 digits or fewer is the
    // same double, so that n, without its last zeros, is the shortest form.
    let size = value.abs();
    if size < 1e11 {
        let n = (size * 1e4 + 0.5) as u64;
        if n as f64 / 1e4 == size && n != 0 {
            return ten_thousandths(out, value < 0.0, n);
        }
    }
    shortest(out, value)
}

fn shortest(out: &mut Window, value: f64) -> usize {
    let mut buffer = zmij::Buffer::new();
    let text = buffer.format(value).as_bytes();
    match text.iter().position(|&byte| byte == b'+') {
        None => {
            out[..text.len()].copy_from_slice(text);
            text.len()
        }
        // It writes a sign before every exponent.
        Some(plus) => {
            out[..plus].copy_from_slice(&text[..plus]);
            out[plus..text.len() - 1].copy_from_slice(&text[plus + 1..]);
            text.len() - 1
        }
    }
}

fn ten_thousandths(out: &mut Window, negative: bool, n: u64) -> usize {
    let (whole, fraction) = (n / 10_000, (n % 10_000) as u32);
    out[0] = b'-';
    let at = natural(out, usize::from(negative), whole);
    let [a, b] = two(fraction / 100);
    let [c, d] = two(fraction % 100);
    out[at..at + 5].copy_from_slice(&[b'.', a, b, c, d]);
    let significant = u32::from_le_bytes([a, b, c, d]) ^ u32::from_le_bytes(*b"0000");
    let zeros = significant.leading_zeros() as usize / 8;
    at + 5 - zeros.min(3)
}

/// A whole number of units of 10^-`scale`, with all digits of its scale, which is at most 38.
pub fn decimal(out: &mut Window, value: i128, scale: u8) -> usize {
    let scale = usize::from(scale);
    out[0] = b'-';
    let at = usize::from(value < 0);
    match u64::try_from(value.unsigned_abs()) {
        Ok(size) if size < 10_000_000_000_000_000 && scale < 16 => {
            let mut digits = [b'0'; 32];
            let (high, low) = ((size / 100_000_000) as u32, (size % 100_000_000) as u32);
            digits[..8].copy_from_slice(&(eight(high) | ZEROS).to_le_bytes());
            digits[8..16].copy_from_slice(&(eight(low) | ZEROS).to_le_bytes());
            let zeros = match high {
                0 => 8 + eight(low).trailing_zeros() as usize / 8,
                _ => eight(high).trailing_zeros() as usize / 8,
            };
            let (start, point) = (zeros.min(15 - scale), 16 - scale);
            out[at..at + 16].copy_from_slice(&digits[start..start + 16]);
            let at = at + point - start;
            if scale == 0 {
                return at;
            }
            out[at] = b'.';
            out[at + 1..at + 17].copy_from_slice(&digits[point..point + 16]);
            at + 1 + scale
        }
        _ => long_decimal(out, at, value.unsigned_abs(), scale),
    }
}

fn long_decimal(out: &mut Window, mut at: usize, size: u128, scale: usize) -> usize {
    let mut put = |text: &[u8]| {
        out[at..at + text.len()].copy_from_slice(text);
        at += text.len();
    };
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(size).as_bytes();
    match digits.len().checked_sub(scale) {
        Some(whole) if whole > 0 => {
            put(&digits[..whole]);
            if scale > 0 {
                put(b".");
                put(&digits[whole..]);
            }
        }
        _ => {
            put(b"0.");
            put(&[b'0'; 38][digits.len()..][..scale - digits.len()]);
            put(digits);
        }
    }
    at
}

/// A day, counted from 1970-01-01, as `YYYY-MM-DD`. Days beyond chrono's years are no text.
pub fn date(out: &mut Window, days: i64) -> usize {
    if !FOUR_DIGIT_YEARS.contains(&days) {
        let Some(at) = DateTime::from_timestamp_secs(days.saturating_mul(86_400)) else { return 0 };
        let mut rest = &mut out[..];
        // It fits: a year of chrono has six digits at most.
        let _ = write!(rest, "{:04}-{:02}-{:02}", at.year(), at.month(), at.day());
        let left = rest.len();
        return out.len() - left;
    }
    // The algorithm `civil_from_days` of Howard Hinnant's "chrono-Compatible Low-Level Date
    // Algorithms".
    // With one era more, since its first day is in March, and year 0 begins before it.
    let days = (days + 719_468 + 146_097) as u32;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153; // from March
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + u32::from(month <= 2) - 400;
    let ([a, b], [c, d]) = (two(year / 100), two(year % 100));
    let ([e, f], [g, h]) = (two(month), two(day));
    out[..10].copy_from_slice(&[a, b, c, d, b'-', e, f, b'-', g, h]);
    10
}

/// Days since 1970-01-01 of 0000-01-01 and 9999-12-31, between which years have four digits.
const FOUR_DIGIT_YEARS: std::ops::RangeInclusive<i64> = -719_528..=2_932_896;

/// A time of day in microseconds, as `hh:mm:ss` and the digits of a fraction up to the last that
/// is not 0.
pub fn time(out: &mut Window, micros: i64) -> usize {
    time_at(out, 0, micros)
}

/// A time in microseconds since 1970 as date, `T` and time, with a `Z` where it is `utc`. Times
/// beyond chrono's years are no text.
pub fn timestamp(out: &mut Window, micros: i64, utc: bool) -> usize {
    if DateTime::from_timestamp_micros(micros).is_none() {
        return 0;
    }
    let at = date(out, micros.div_euclid(MICROS_PER_DAY));
    out[at] = b'T';
    let end = time_at(out, at + 1, micros.rem_euclid(MICROS_PER_DAY));
    out[end] = b'Z';
    end + usize::from(utc)
}

fn time_at(out: &mut Window, at: usize, micros: i64) -> usize {
    let (seconds, fraction) = ((micros / 1_000_000) as u32, (micros % 1_000_000) as u32);
    let ([a, b], [c, d]) = (two(seconds / 3600), two(seconds / 60 % 60));
    let [e, f] = two(seconds % 60);
    out[at..at + 8].copy_from_slice(&[a, b, b':', c, d, b':', e, f]);
    if fraction == 0 {
        return at + 8;
    }
    let ([a, b], [c, d]) = (two(fraction / 10_000), two(fraction / 100 % 100));
    let [e, f] = two(fraction % 100);
    let digits = [b'.', a, b, c, d, e, f];
    out[at + 8..at + 15].copy_from_slice(&digits);
    let zeros = digits.iter().rev().take_while(|&&digit| digit == b'0').count();
    at + 15 - zeros
}

/// A number without sign, at `at`, up to 24 bytes before the window's end.
fn natural(out: &mut Window, at: usize, value: u64) -> usize {
    if value < 100_000_000 {
        let digits = eight(value as u32);
        let zeros = (digits.trailing_zeros() / 8).min(7);
        let text = (digits | ZEROS) >> (8 * zeros);
        out[at..at + 8].copy_from_slice(&text.to_le_bytes());
        return at + 8 - zeros as usize;
    }
    let at = natural(out, at, value / 100_000_000);
    let digits = eight((value % 100_000_000) as u32) | ZEROS;
    out[at..at + 8].copy_from_slice(&digits.to_le_bytes());
    at + 8
}

/// Eight times `0`.
const ZEROS: u64 = u64::from_le_bytes(*b"00000000");

/// The eight digits of a number below 10^8, the first in the lowest byte. Halves the number three
/// times, all halves at once: in each lane, `x · ⌈2^k / d⌉ >> k` is `x / d` for all that occur.
fn eight(value: u32) -> u64 {
    let value = u64::from(value);
    let fours = (value / 10_000) | (value % 10_000) << 32;
    let hundreds = ((fours * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let twos = hundreds | (fours - hundreds * 100) << 16;
    let tens = ((twos * 103) >> 10) & 0x000f_000f_000f_000f;
    tens | (twos - tens * 10) << 8
}

/// The digits of a number below 100.
fn two(value: u32) -> [u8; 2] {
    const TWO: [[u8; 2]; 100] = {
        let mut table = [[0; 2]; 100];
        let mut i = 0;
        while i < 100 {
            table[i] = [b'0' + (i / 10) as u8, b'0' + (i % 10) as u8];
            i += 1;
        }
        table
    };
    TWO[value as usize % 100]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(print: impl Fn(&mut Window) -> usize) -> String {
        let mut out = [b'#'; 48];
        let len = print(&mut out);
        String::from_utf8(out[..len].to_vec()).unwrap()
    }

    /// The standard library's shortest digits, in our notation.
    fn std_double(value: f64) -> String {
        if value != 0.0 && value.is_finite() && !(1e-5..1e16).contains(&value.abs()) {
            format!("{value:e}")
        } else if value.is_finite() && value.fract() == 0.0 {
            format!("{value:.1}")
        } else {
            value.to_string()
        }
    }

    #[test]
    fn doubles_at_the_edges_are_as_the_standard_library_writes_them() {
        let mut values = vec![0.0, 1e-5, 1e16, 1e11, f64::MIN_POSITIVE, f64::MAX, f64::NAN];
        values.extend([
            5e-324,
            f64::INFINITY,
            0.00005,
            f64::from_bits(0.00015f64.to_bits() - 1),
            99_999_999_999.999_9,
        ]);
        for exponent in -330..310 {
            values.push(format!("1e{exponent}").parse().unwrap());
            values.push(format!("9.5e{exponent}").parse().unwrap());
        }
        for value in values {
            for value in [value, value.next_up(), value.next_down(), -value] {
                assert_eq!(text(|out| double(out, value)), std_double(value), "{value:e}");
            }
        }
    }

    #[test]
    fn all_groups_of_four_digits_are_split() {
        for n in 0..10_000u32 {
            let digits = (eight(n * 10_000 + (9_999 - n)) | ZEROS).to_le_bytes();
            assert_eq!(str::from_utf8(&digits).unwrap(), format!("{n:04}{:04}", 9_999 - n));
        }
    }

    /// As the standard library, but for the last digit where two are as near: of ….25, both ….2
    /// and ….3 are the shortest text.
    fn check_double(value: f64) {
        let (found, expected) = (text(|out| double(out, value)), std_double(value));
        if found != expected {
            assert_eq!(found.len(), expected.len(), "{found} for {expected}");
            let read = |text: &str| text.parse::<f64>().map(f64::to_bits);
            assert_eq!(read(&found), read(&expected), "{found} for {expected}");
        }
    }

    #[test]
    fn the_first_and_the_last_day_of_four_digit_years() {
        for (days, expected) in [
            (-719_528, "0000-01-01"),
            (-719_469, "0000-02-29"),
            (-719_468, "0000-03-01"),
            (2_932_896, "9999-12-31"),
        ] {
            assert_eq!(text(|out| date(out, days)), expected);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn doubles_are_as_the_standard_library_writes_them(value: f64) {
            check_double(value);
        }

        #[test]
        fn doubles_of_few_digits_are_as_the_standard_library_writes_them(
            n in -10i64.pow(15)..10i64.pow(15), digits in 0u32..16, places in 0i32..8
        ) {
            let value = (n / 10i64.pow(digits)) as f64 / 10f64.powi(places);
            check_double(value);
            check_double(value.next_up());
        }

        #[test]
        fn integers_are_as_the_standard_library_writes_them(value: i64, shift in 0u32..64) {
            prop_assert_eq!(text(|out| int(out, value >> shift)), (value >> shift).to_string());
        }

        #[test]
        fn decimals_have_the_digits_of_the_integer(value: i128, shift in 0u32..127, scale in 0u8..=38) {
            let value = value >> shift;
            let digits = format!("{:0>1$}", value.unsigned_abs(), usize::from(scale) + 1);
            let (whole, fraction) = digits.split_at(digits.len() - usize::from(scale));
            let sign = if value < 0 { "-" } else { "" };
            let point = if scale == 0 { "" } else { "." };
            let expected = format!("{sign}{whole}{point}{fraction}");
            prop_assert_eq!(text(|out| decimal(out, value, scale)), expected);
        }

        #[test]
        fn times_agree_with_chrono(days in -90_000_000i64..90_000_000, micros in 0..MICROS_PER_DAY) {
            let at = DateTime::from_timestamp_micros(days * MICROS_PER_DAY + micros).unwrap();
            let day = format!("{:04}-{:02}-{:02}", at.year(), at.month(), at.day());
            prop_assert_eq!(&text(|out| date(out, days)), &day);
            let clock = at.format("%H:%M:%S%.6f").to_string();
            let clock = match micros % 1_000_000 {
                0 => &clock[..8],
                _ => clock.trim_end_matches('0'),
            };
            prop_assert_eq!(&text(|out| time(out, micros)), clock);
            let at = days * MICROS_PER_DAY + micros;
            prop_assert_eq!(text(|out| timestamp(out, at, true)), format!("{day}T{clock}Z"));
        }
    }
}
