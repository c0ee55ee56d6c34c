//! Parsers of single values. Each takes the text as it stands, without white space around it, and
//! answers `None` when the text is not such a value.

use chrono::format::{Item, StrftimeItems};
use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, Timelike};

const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;

/// `true`, `t`, `yes`, `y`, `on`, `1` and their opposites, in any case.
pub fn bool(text: &[u8]) -> Option<bool> {
    const TRUE: [&[u8]; 6] = [b"true", b"t", b"yes", b"y", b"on", b"1"];
    const FALSE: [&[u8]; 6] = [b"false", b"f", b"no", b"n", b"off", b"0"];
    if TRUE.iter().any(|word| text.eq_ignore_ascii_case(word)) {
        return Some(true);
    }
    FALSE.iter().any(|word| text.eq_ignore_ascii_case(word)).then_some(false)
}

/// An optional sign and digits, within 64 bits.
pub fn int(text: &[u8]) -> Option<i64> {
    let (negative, digits) = sign(text);
    if digits.is_empty() {
        return None;
    }
    let mut value: i64 = 0;
    for &byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?;
        value = if negative {
            value.checked_sub(i64::from(digit))?
        } else {
            value.checked_add(i64::from(digit))?
        };
    }
    Some(value)
}

/// A decimal number with an optional exponent, rounded to the nearest `f64`; `nan`, `inf` and
/// `infinity` in any case. Digits of a number that no `f64` holds (`1e999`) are none.
pub fn double(text: &[u8]) -> Option<f64> {
    let value: f64 = fast_float2::parse(text).ok()?;
    (value.is_finite() || !text.iter().any(u8::is_ascii_digit)).then_some(value)
}

/// An exact decimal number, as an integer scaled by 10^`scale`. A value with more digits than
/// `precision` and `scale` hold is none; trailing zeros do not count. An exponent is understood.
pub fn decimal(text: &[u8], precision: u8, scale: i8) -> Option<i128> {
    let (negative, text) = sign(text);
    let (mantissa, exponent) = match text.iter().position(|&b| b == b'e' || b == b'E') {
        Some(at) => (&text[..at], i32::try_from(int(&text[at + 1..])?).ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = match mantissa.iter().position(|&b| b == b'.') {
        Some(at) => (&mantissa[..at], &mantissa[at + 1..]),
        None => (mantissa, &[][..]),
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    // digits × 10^power = the value; power + scale zeros are missing or too many.
    let mut value: i128 = 0;
    let mut zeros = 0u32; // pending zeros, so that trailing ones never overflow
    for &byte in whole.iter().chain(fraction) {
        let digit = byte.wrapping_sub(b'0');
        match digit {
            0 => zeros += u32::from(value != 0),
            1..=9 => {
                value = value.checked_mul(10i128.checked_pow(zeros + 1)?)?;
                value = value.checked_add(i128::from(digit))?;
                zeros = 0;
            }
            _ => return None,
        }
    }
    if value == 0 {
        return Some(0);
    }
    let power = zeros as i64 + i64::from(exponent) - fraction.len() as i64 + i64::from(scale);
    let power = u32::try_from(power).ok()?; // negative: digits beyond the scale
    let value = value.checked_mul(10i128.checked_pow(power)?)?;
    if value >= 10i128.checked_pow(u32::from(precision))? {
        return None;
    }
    Some(if negative { -value } else { value })
}

/// `YYYY-MM-DD`, as days since 1970-01-01.
pub fn date(text: &[u8]) -> Option<i32> {
    let [y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1] = *text else {
        return None;
    };
    let year = u32::from(two(y0, y1)?) * 100 + u32::from(two(y2, y3)?);
    days(year, u32::from(two(m0, m1)?), u32::from(two(d0, d1)?))
}

/// `HH:MM`, `HH:MM:SS` or `HH:MM:SS.f` with up to 6 digits (more when they are zeros), as
/// microseconds since midnight.
pub fn time(text: &[u8]) -> Option<i64> {
    let (hh, mm, rest) = match *text {
        [h0, h1, b':', m0, m1, ref rest @ ..] => (two(h0, h1)?, two(m0, m1)?, rest),
        _ => return None,
    };
    let (ss, fraction) = match *rest {
        [] => (0, 0),
        [b':', s0, s1] => (two(s0, s1)?, 0),
        [b':', s0, s1, b'.' | b',', ref digits @ ..] => (two(s0, s1)?, micros(digits)?),
        _ => return None,
    };
    if hh > 23 || mm > 59 || ss > 59 {
        return None;
    }
    let seconds = i64::from(hh) * 3600 + i64::from(mm) * 60 + i64::from(ss);
    Some(seconds * MICROS_PER_SECOND + fraction)
}

/// `YYYY-MM-DD`, or that followed by `T` or a blank and a [`time`], and optionally `Z` or an offset
/// `±HH:MM`, `±HHMM`, `±HH`; as microseconds since 1970-01-01. With an offset, of the instant in UTC;
/// without, of the time as written.
pub fn timestamp(text: &[u8]) -> Option<i64> {
    let (day, rest) = text.split_at_checked(10)?;
    let day = i64::from(date(day)?) * MICROS_PER_DAY;
    let [b'T' | b't' | b' ', rest @ ..] = rest else {
        return rest.is_empty().then_some(day);
    };
    let zone =
        rest.iter().position(|b| matches!(b, b'Z' | b'z' | b'+' | b'-')).unwrap_or(rest.len());
    let (clock, zone) = rest.split_at(zone);
    let clock = clock.strip_suffix(b" ").unwrap_or(clock);
    day.checked_add(time(clock)?)?.checked_sub(offset(zone)?)
}

/// A date in one of these `strftime` formats, the first that fits.
pub fn date_as(text: &str, formats: &[String]) -> Option<i32> {
    formats.iter().find_map(|format| {
        let date = NaiveDate::parse_from_str(text, format)
            .or_else(|_| NaiveDateTime::parse_from_str(text, format).map(|at| at.date()))
            .ok()?;
        Some(date.num_days_from_ce() - EPOCH)
    })
}

/// Whether a `strftime` format can be understood.
pub fn is_format(format: &str) -> bool {
    StrftimeItems::new(format).all(|item| item != Item::Error)
}

/// A time of day in one of these `strftime` formats, as microseconds since midnight.
pub fn time_as(text: &str, formats: &[String]) -> Option<i64> {
    formats.iter().find_map(|format| {
        let time = NaiveTime::parse_from_str(text, format).ok()?;
        let seconds = i64::from(time.num_seconds_from_midnight());
        Some(seconds * MICROS_PER_SECOND + i64::from(time.nanosecond() / 1000))
    })
}

/// A timestamp in one of these `strftime` formats; a date alone is its midnight.
pub fn timestamp_as(text: &str, formats: &[String]) -> Option<i64> {
    formats.iter().find_map(|format| {
        if let Ok(at) = DateTime::parse_from_str(text, format) {
            return Some(at.timestamp_micros());
        }
        if let Ok(at) = NaiveDateTime::parse_from_str(text, format) {
            return Some(at.and_utc().timestamp_micros());
        }
        let day = NaiveDate::parse_from_str(text, format).ok()?;
        Some(i64::from(day.num_days_from_ce() - EPOCH) * MICROS_PER_DAY)
    })
}

/// Days from 0001-01-01 to 1970-01-01, plus one, as chrono counts.
const EPOCH: i32 = 719_163;

fn sign(text: &[u8]) -> (bool, &[u8]) {
    match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    }
}

fn two(tens: u8, ones: u8) -> Option<u8> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens <= 9 && ones <= 9).then(|| tens * 10 + ones)
}

fn micros(digits: &[u8]) -> Option<i64> {
    if digits.is_empty() {
        return None;
    }
    let mut value = 0;
    for (i, &byte) in digits.iter().enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 || (i >= 6 && digit != 0) {
            return None;
        }
        if i < 6 {
            value += i64::from(digit) * 10i64.pow(5 - i as u32);
        }
    }
    Some(value)
}

fn offset(zone: &[u8]) -> Option<i64> {
    let (sign, digits) = match zone {
        [] | [b'Z' | b'z'] => return Some(0),
        [b'+', digits @ ..] => (1, digits),
        [b'-', digits @ ..] => (-1, digits),
        _ => return None,
    };
    let (hours, minutes) = match *digits {
        [h0, h1] => (two(h0, h1)?, 0),
        [h0, h1, m0, m1] | [h0, h1, b':', m0, m1] => (two(h0, h1)?, two(m0, m1)?),
        _ => return None,
    };
    if hours > 23 || minutes > 59 {
        return None;
    }
    Some(sign * (i64::from(hours) * 60 + i64::from(minutes)) * 60 * MICROS_PER_SECOND)
}

/// Days in the months of a common and of a leap year.
const LENGTHS: [[u8; 12]; 2] = [
    [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31],
    [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31],
];

/// Days before the months of a common and of a leap year.
const BEFORE: [[u16; 12]; 2] = [before(&LENGTHS[0]), before(&LENGTHS[1])];

const fn before(lengths: &[u8; 12]) -> [u16; 12] {
    let mut before = [0; 12];
    let mut month = 1;
    while month < 12 {
        before[month] = before[month - 1] + lengths[month - 1] as u16;
        month += 1;
    }
    before
}

/// Days since 1970-01-01 of a date in the years 0 to 9999. Tables in place of branches on the
/// month, which nobody can guess.
pub(super) fn days(year: u32, month: u32, day: u32) -> Option<i32> {
    let fourth = year.is_multiple_of(4) & (!year.is_multiple_of(25) | year.is_multiple_of(16));
    let leap = usize::from(fourth);
    let month = month.wrapping_sub(1) as usize;
    let length = *LENGTHS[leap].get(month)?;
    if day.wrapping_sub(1) >= u32::from(length) {
        return None;
    }
    // Leap days of the years before; year 0 is one of them.
    let last = year as i32 - 1;
    let leaps = (last + 400) / 4 - (last + 400) / 100 + (last + 400) / 400 - 97;
    let before = last * 365 + leaps + i32::from(BEFORE[leap][month]);
    Some(before + day as i32 - EPOCH)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ints_take_the_whole_64_bits() {
        assert_eq!(int(b"-9223372036854775808"), Some(i64::MIN));
        assert_eq!(int(b"9223372036854775808"), None);
        assert_eq!(int(b"+7"), Some(7));
        for wrong in [&b""[..], b"-", b"1.0", b"1_000", b" 1", b"0x1"] {
            assert_eq!(int(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn decimals_are_exact_or_nothing() {
        assert_eq!(decimal(b"1200.5", 18, 2), Some(120_050));
        assert_eq!(decimal(b"-.5", 18, 2), Some(-50));
        assert_eq!(decimal(b"1.2e3", 18, 2), Some(120_000));
        assert_eq!(decimal(b"1.500000000000000000000000000000000000000000", 18, 1), Some(15));
        assert_eq!(decimal(b"1.505", 18, 2), None);
        assert_eq!(decimal(b"1000", 5, 2), None);
        assert_eq!(decimal(b"999.99", 5, 2), Some(99_999));
        assert_eq!(decimal(b"0.00", 5, 2), Some(0));
        assert_eq!(
            decimal(b"99999999999999999999999999999999999999", 38, 0),
            Some(10i128.pow(38) - 1)
        );
        for wrong in [&b""[..], b".", b"-", b"1,5", b"e5", b"1e", b"nan"] {
            assert_eq!(decimal(wrong, 18, 2), None, "{wrong:?}");
        }
    }

    #[test]
    fn doubles_do_not_become_infinite() {
        assert_eq!(double(b"1e999"), None);
        assert_eq!(double(b"-1e308"), Some(-1e308));
        assert_eq!(double(b"-inf"), Some(f64::NEG_INFINITY));
        assert!(double(b"NaN").is_some_and(f64::is_nan));
    }

    #[test]
    fn timestamps_read_iso_8601() {
        let noon = 43_200 * MICROS_PER_SECOND;
        for text in [
            "1970-01-01T12:00",
            "1970-01-01 12:00:00",
            "1970-01-01T12:00:00.000000000Z",
            "1970-01-01T14:00:00+02:00",
            "1970-01-01 07:00:00.0-0500",
        ] {
            assert_eq!(timestamp(text.as_bytes()), Some(noon), "{text}");
        }
        assert_eq!(timestamp(b"1970-01-02"), Some(MICROS_PER_DAY));
        for wrong in
            ["1970-01-01T", "1970-01-01T24:00", "1970-01-01T12:00:00.1234567", "1970-01-01X"]
        {
            assert_eq!(timestamp(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn formats_are_tried_in_order() {
        let formats = ["%d/%m/%Y".to_owned(), "%Y%m%d".to_owned()];
        assert_eq!(date_as("02/01/1970", &formats), Some(1));
        assert_eq!(date_as("19700103", &formats), Some(2));
        assert_eq!(date_as("1970-01-03", &formats), None);
        assert!(formats.iter().all(|format| is_format(format)));
        assert!(!is_format("%Q") && !is_format("%"));
    }

    proptest! {
        #[test]
        fn dates_agree_with_chrono(text in "[0-9]{4}-[01][0-9]-[0-3][0-9]") {
            let expected = NaiveDate::parse_from_str(&text, "%Y-%m-%d").ok();
            prop_assert_eq!(date(text.as_bytes()), expected.map(|d| d.num_days_from_ce() - EPOCH));
        }

        #[test]
        fn days_agree_with_chrono(year in 0u32..10_000, month in 0u32..14, day in 0u32..33) {
            let expected = NaiveDate::from_ymd_opt(year as i32, month, day);
            prop_assert_eq!(days(year, month, day), expected.map(|d| d.num_days_from_ce() - EPOCH));
        }

        #[test]
        fn decimals_agree_with_integers(value in -10i64.pow(15)..10i64.pow(15)) {
            let text = format!("{}{}.{:04}", if value < 0 { "-" } else { "" },
                value.abs() / 10_000, value.abs() % 10_000);
            prop_assert_eq!(decimal(text.as_bytes(), 20, 4), Some(i128::from(value)));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,30}") {
            let bytes = text.as_bytes();
            let _ = (bool(bytes), int(bytes), double(bytes), decimal(bytes, 38, 10));
            let _ = (date(bytes), time(bytes), timestamp(bytes));
        }
    }
}
