//! Limits in a column's own units, so that comparing is exact.

use std::cmp::Ordering;

use arrow_schema::{DataType, TimeUnit};
use gristmill_core::text::parse;

/// How the values of a column are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measure {
    /// Whole numbers of 10^-scale.
    Exact(i8),
    /// `f64`.
    Double,
    /// `f32`.
    Single,
    /// Since 1970-01-01, in units of so many nanoseconds.
    Instant(i128),
    /// Since midnight, in units of so many nanoseconds.
    TimeOfDay(i128),
}

/// Nanoseconds of a time unit.
fn nanos(unit: TimeUnit) -> i128 {
    match unit {
        TimeUnit::Second => 1_000_000_000,
        TimeUnit::Millisecond => 1_000_000,
        TimeUnit::Microsecond => 1_000,
        TimeUnit::Nanosecond => 1,
    }
}

impl Measure {
    /// The measure of a type whose values have an order that limits understand.
    pub(crate) fn of(data_type: &DataType) -> Option<Self> {
        use DataType::*;
        Some(match data_type {
            Int8 | Int16 | Int32 | Int64 | UInt8 | UInt16 | UInt32 | UInt64 => Measure::Exact(0),
            Decimal32(_, scale) | Decimal64(_, scale) | Decimal128(_, scale) => {
                Measure::Exact(*scale)
            }
            Float64 => Measure::Double,
            Float32 => Measure::Single,
            Date32 => Measure::Instant(86_400 * 1_000_000_000),
            Date64 => Measure::Instant(1_000_000),
            Timestamp(unit, _) => Measure::Instant(nanos(*unit)),
            Time32(unit) | Time64(unit) => Measure::TimeOfDay(nanos(*unit)),
            _ => return None,
        })
    }

    /// Whether values are numbers rather than times.
    pub(crate) fn is_number(self) -> bool {
        matches!(self, Measure::Exact(_) | Measure::Double | Measure::Single)
    }

    /// What a limit of such a column has to look like.
    pub(crate) fn form(self) -> &'static str {
        match self {
            Measure::Exact(_) | Measure::Double | Measure::Single => "a number",
            Measure::Instant(_) => {
                "a date or a timestamp such as 2024-12-31 or 2024-12-31T18:00:00"
            }
            Measure::TimeOfDay(_) => "a time such as 18:00:00",
        }
    }
}

/// Which way a limit that lies between two values of the column is moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Round {
    Down,
    Up,
}

impl Round {
    fn divide(self, value: i128, by: i128) -> i128 {
        match self {
            Round::Down => value.div_euclid(by),
            Round::Up => -(-value).div_euclid(by),
        }
    }
}

/// A limit as a whole number of the units of a column measured by `measure`, the nearest below or
/// above it. Limits beyond what 128 bits hold become the least or the greatest number.
///
/// # Errors
/// When the text is no such limit.
pub(crate) fn whole(text: &str, measure: Measure, round: Round) -> Result<i128, String> {
    let wrong = || format!("`{text}` is not {}", measure.form());
    let bytes = text.as_bytes();
    match measure {
        Measure::Exact(scale) => exact(text, scale, round),
        Measure::Instant(unit) => {
            let micros = parse::timestamp(bytes).ok_or_else(wrong)?;
            Ok(round.divide(i128::from(micros) * 1_000, unit))
        }
        Measure::TimeOfDay(unit) => {
            let micros = parse::time(bytes).ok_or_else(wrong)?;
            Ok(round.divide(i128::from(micros) * 1_000, unit))
        }
        Measure::Double | Measure::Single => Err(wrong()),
    }
}

fn exact(text: &str, scale: i8, round: Round) -> Result<i128, String> {
    for finer in scale..=38 {
        if let Some(value) = parse::decimal(text.as_bytes(), 38, finer) {
            let by = 10i128.pow(u32::from(finer.abs_diff(scale)).min(38));
            return Ok(round.divide(value, by));
        }
    }
    let number = number(text)?;
    if number.abs() * 10f64.powi(scale.into()) < 1e37 {
        return Err(format!("`{text}` has more digits than can be compared exactly"));
    }
    Ok(if number < 0.0 { i128::MIN } else { i128::MAX })
}

/// A limit as a floating number.
///
/// # Errors
/// When the text is no number.
pub(crate) fn number(text: &str) -> Result<f64, String> {
    parse::double(text.as_bytes())
        .filter(|number| !number.is_nan())
        .ok_or_else(|| format!("`{text}` is not a number"))
}

/// The order of two limits, if they are of one kind.
pub(crate) fn compare(a: &str, b: &str) -> Option<Ordering> {
    if let (Ok(a), Ok(b)) = (exact(a, 19, Round::Down), exact(b, 19, Round::Down))
        && a != b
    {
        return Some(a.cmp(&b));
    }
    if let (Ok(a), Ok(b)) = (number(a), number(b)) {
        return a.partial_cmp(&b);
    }
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if let (Some(a), Some(b)) = (parse::timestamp(a), parse::timestamp(b)) {
        return Some(a.cmp(&b));
    }
    Some(parse::time(a)?.cmp(&parse::time(b)?))
}

/// Whether a text can be a limit of any column.
pub(crate) fn is_limit(text: &str) -> bool {
    number(text).is_ok() || is_time(text)
}

/// Whether a text can be a limit of a column of dates, times or timestamps.
pub(crate) fn is_time(text: &str) -> bool {
    parse::timestamp(text.as_bytes()).is_some() || parse::time(text.as_bytes()).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_between_two_values_move_to_the_right_side() {
        let int = Measure::Exact(0);
        assert_eq!(whole("0.5", int, Round::Up), Ok(1));
        assert_eq!(whole("0.5", int, Round::Down), Ok(0));
        assert_eq!(whole("-0.5", int, Round::Up), Ok(0));
        assert_eq!(whole("-0.5", int, Round::Down), Ok(-1));
        assert_eq!(whole("1e9", int, Round::Down), Ok(1_000_000_000));
        assert_eq!(whole("1e300", int, Round::Down), Ok(i128::MAX));
        assert_eq!(whole("-1e300", int, Round::Up), Ok(i128::MIN));
        assert_eq!(whole("0.05", Measure::Exact(2), Round::Down), Ok(5));
        assert_eq!(whole("12345", Measure::Exact(-2), Round::Down), Ok(123));
        assert!(whole("1e-60", int, Round::Down).unwrap_err().contains("more digits"));
        assert!(whole("ten", int, Round::Down).unwrap_err().contains("not a number"));
        let day = Measure::of(&DataType::Date32).unwrap();
        assert_eq!(whole("1970-01-02T12:00", day, Round::Down), Ok(1));
        assert_eq!(whole("1970-01-02T12:00", day, Round::Up), Ok(2));
        assert_eq!(whole("1969-12-31", day, Round::Up), Ok(-1));
    }

    #[test]
    fn limits_compare_within_their_kind() {
        assert_eq!(compare("9", "10"), Some(Ordering::Less));
        assert_eq!(compare("1e300", "1e200"), Some(Ordering::Greater));
        assert_eq!(compare("2024-01-02", "2024-01-01T23:00"), Some(Ordering::Greater));
        assert_eq!(compare("09:00", "10:00"), Some(Ordering::Less));
        assert_eq!(compare("9", "2024-01-01"), None);
    }
}
