//! A length of time as pipelines write it.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A length of time, written `500ms`, `1s`, `1.5s`, `2m`, `1h` or `1d`.
///
/// ```
/// use gristmill_parallel::Duration;
///
/// let backoff: Duration = "500ms".parse()?;
/// assert_eq!(backoff, Duration::from_millis(500));
/// assert_eq!(Duration::from_secs(120).to_string(), "2m");
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(pub time::Duration);

/// Nanoseconds in each unit, the largest first.
const UNITS: [(&str, u128); 7] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

impl Duration {
    /// No time.
    pub const ZERO: Duration = Duration(time::Duration::ZERO);

    /// Whole seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(time::Duration::from_secs(seconds))
    }

    /// Whole milliseconds.
    pub const fn from_millis(milliseconds: u64) -> Self {
        Self(time::Duration::from_millis(milliseconds))
    }

    /// As the standard library has it.
    pub const fn get(self) -> time::Duration {
        self.0
    }
}

impl From<time::Duration> for Duration {
    fn from(value: time::Duration) -> Self {
        Self(value)
    }
}

impl From<Duration> for time::Duration {
    fn from(value: Duration) -> Self {
        value.0
    }
}

impl FromStr for Duration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse(text.trim()).map(Self).ok_or_else(|| {
            format!("`{text}` is not a length of time; write it like 500ms, 1s, 2m or 1h")
        })
    }
}

fn parse(text: &str) -> Option<time::Duration> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(unit_at);
    let unit = unit.trim_start();
    let (_, nanos) = *UNITS.iter().find(|(name, _)| *name == unit)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || fraction.is_empty() || fraction.len() > 18 {
        return None;
    }
    let whole = whole.parse::<u128>().ok()?.checked_mul(nanos)?;
    // What is below a nanosecond is cut off.
    let fraction = fraction.parse::<u128>().ok()? * nanos / 10u128.pow(fraction.len() as u32);
    let total = whole.checked_add(fraction)?;
    let seconds = u64::try_from(total / 1_000_000_000).ok()?;
    Some(time::Duration::new(seconds, (total % 1_000_000_000) as u32))
}

impl fmt::Display for Duration {
    /// The largest unit that says it in a whole number, so that it reads back exactly.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.0.as_nanos();
        if total == 0 {
            return f.write_str("0s");
        }
        let (name, nanos) =
            UNITS.iter().find(|(_, nanos)| total.is_multiple_of(*nanos)).unwrap_or(&("ns", 1));
        write!(f, "{}{name}", total / nanos)
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl de::Visitor<'_> for Text {
            type Value = Duration;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a length of time with its unit, like 500ms, 1s, 2m or 1h")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

impl JsonSchema for Duration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A length of time, written 500ms, 1s, 1.5s, 2m, 1h or 1d.",
            "type": "string",
            "pattern": "^\\s*[0-9]+(\\.[0-9]{1,18})?\\s*(ns|us|ms|s|m|h|d)\\s*$",
            "examples": ["500ms", "1s", "2m"]
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, millis) in
            [("500ms", 500), ("1s", 1_000), (" 1.5 s", 1_500), ("2m", 120_000), ("1h", 3_600_000)]
        {
            assert_eq!(text.parse(), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn refuses_what_has_no_unit_or_no_number() {
        for text in [
            "",
            "5",
            "s",
            "-1s",
            "1.s",
            ".5s",
            "1 fortnight",
            "1s2",
            "1e3s",
            "99999999999999999999999d",
        ] {
            let error = text.parse::<Duration>().unwrap_err();
            assert!(error.contains("500ms"), "{text}: {error}");
        }
        let error = serde_json::from_str::<Duration>("5").unwrap_err().to_string();
        assert!(error.contains("with its unit"), "{error}");
    }

    proptest! {
        #[test]
        fn text_reads_back_exactly(seconds in any::<u64>(), nanos in 0u32..1_000_000_000) {
            let value = Duration(time::Duration::new(seconds, nanos));
            prop_assert_eq!(value.to_string().parse(), Ok(value));
            let json = serde_json::to_string(&value).unwrap();
            prop_assert_eq!(serde_json::from_str::<Duration>(&json).unwrap(), value);
        }
    }
}
