//! Values parsed from text as the standard library, `chrono` or plain arithmetic has them.
#![no_main]

use chrono::NaiveDate;
use gristmill_core::text::parse;
use libfuzzer_sys::fuzz_target;

/// A decimal number's sign, digits without the point, and power of ten.
fn split(text: &str) -> Option<(bool, String, i64)> {
    let (negative, text) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], text[at + 1..].parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let good = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    good.then(|| (negative, digits, i64::from(exponent) - fraction.len() as i64))
}

/// The digits of an exact decimal with this precision and scale, if it holds the value.
fn decimal(text: &str, precision: usize, scale: i64) -> Option<i128> {
    let (negative, digits, power) = split(text)?;
    let digits = digits.trim_start_matches('0');
    let kept = digits.trim_end_matches('0');
    if kept.is_empty() {
        return Some(0);
    }
    let power = power + (digits.len() - kept.len()) as i64 + scale;
    let zeros = usize::try_from(power).ok().filter(|zeros| zeros + kept.len() <= precision)?;
    let value: i128 = format!("{kept}{}", "0".repeat(zeros)).parse().ok()?;
    Some(if negative { -value } else { value })
}

fuzz_target!(|text: &str| {
    let bytes = text.as_bytes();
    assert_eq!(parse::int(bytes), text.parse::<i64>().ok());
    for (precision, scale) in [(38, 0), (38, 10), (12, 3), (1, 1)] {
        let ours = parse::decimal(bytes, precision, scale);
        assert_eq!(ours, decimal(text, precision.into(), scale.into()), "({precision}, {scale})");
    }

    let theirs: Option<f64> = text.parse().ok();
    let theirs = theirs.filter(|v| v.is_finite() || !bytes.iter().any(u8::is_ascii_digit));
    let bits = |value: Option<f64>| value.map(|v| if v.is_nan() { 1 } else { v.to_bits() });
    assert_eq!(bits(parse::double(bytes)), bits(theirs));

    let digits = bytes.len() == 10
        && bytes
            .iter()
            .enumerate()
            .all(|(i, b)| if i == 4 || i == 7 { *b == b'-' } else { b.is_ascii_digit() });
    let date = if digits { NaiveDate::parse_from_str(text, "%Y-%m-%d").ok() } else { None };
    let epoch = NaiveDate::from_ymd_opt(1970, 1, 1).expect("the epoch is a date");
    let days = date.map(|date| (date - epoch).num_days() as i32);
    assert_eq!(parse::date(bytes), days);
    if let Some(day) = days {
        assert_eq!(parse::timestamp(bytes), Some(i64::from(day) * 86_400_000_000));
    }
    if let Some(micros) = parse::time(bytes) {
        assert!((0..86_400_000_000).contains(&micros));
    }
    let _ = (parse::timestamp(bytes), parse::bool(bytes));
});
