//! Rules about files.

use super::DqdlError;
use super::compile::{number, number_condition};
use super::tree::{Call, Condition, ConditionKind, Operand, Tag};
use crate::check::expect::{self, Expect};
use crate::check::metric::{Checksum, FileChoice, FileTest, Metric};
use crate::suggest::nearest;

/// What a rule about files measures, and what it expects.
pub(super) fn metric(call: &Call) -> Result<(Metric, Expect), DqdlError> {
    let path = call.parameters.first().map(|(path, _)| path.clone());
    for (path, span) in &call.parameters {
        if path.contains("://") && !path.starts_with("file://") {
            let message = format!("\"{path}\" is not on this machine");
            return Err(DqdlError::new(message, span.clone())
                .hint("rules about files look at local ones; leave the path out for the files that are read"));
        }
    }
    let path = path.map(|path| path.trim_start_matches("file://").to_owned());
    let tags = Tags::of(call)?;
    let (test, expect) = match call.name.as_str() {
        "FileSize" => (FileTest::Size(number_condition(call.needed()?)?), call.threshold()?),
        "FileFreshness" => (FileTest::Modified(time_condition(call.needed()?)?), call.threshold()?),
        "FileUniqueness" => (FileTest::Unique, number_condition(call.needed()?)?),
        _ => (matches(call, tags.algorithm)?, call.threshold()?),
    };
    Ok((Metric::Files { path, choice: tags.choice, test }, expect))
}

/// Checksums, or another file or folder.
fn matches(call: &Call, algorithm: Option<Checksum>) -> Result<FileTest, DqdlError> {
    match (&call.condition, call.parameters.get(1)) {
        (None, Some((other, _))) => {
            Ok(FileTest::Same(other.trim_start_matches("file://").to_owned()))
        }
        (Some(Condition { kind: ConditionKind::In(items, false), span }), None) => {
            let sum = |operand: &Operand| match operand {
                Operand::Text(text) => Ok(text.clone()),
                _ => Err(DqdlError::new("a checksum is a text in quotes", span.clone())),
            };
            let sums = items.iter().map(sum).collect::<Result<_, _>>()?;
            Ok(FileTest::Sum(algorithm.unwrap_or(Checksum::Sha256), sums))
        }
        _ => Err(DqdlError::new("FileMatch compares with checksums, or two paths", call.span.clone())
            .hint("write FileMatch \"in.csv\" in [\"3ee0…\"] with hashAlgorithm = \"MD5\", or FileMatch \"folder\" \"other folder\"")),
    }
}

#[derive(Default)]
struct Tags {
    choice: FileChoice,
    algorithm: Option<Checksum>,
}

impl Tags {
    fn of(call: &Call) -> Result<Self, DqdlError> {
        let mut tags = Self::default();
        let known = match call.name.as_str() {
            "FileMatch" => &["hashAlgorithm", "recentFiles", "uriRegex"][..],
            _ => &["recentFiles", "uriRegex"],
        };
        for Tag { name, value, span } in &call.tags {
            let wrong = |message: String| DqdlError::new(message, span.clone());
            match (name.as_str(), value) {
                ("recentFiles", Operand::Number(number)) => match number.parse() {
                    Ok(count) if count > 0 => tags.choice.recent = Some(count),
                    _ => return Err(wrong(format!("`{number}` is no number of files"))),
                },
                ("uriRegex", Operand::Text(pattern)) => match regex::Regex::new(pattern) {
                    Ok(_) => tags.choice.pattern = Some(pattern.clone()),
                    Err(error) => {
                        return Err(wrong(format!("the pattern cannot be read: {error}")));
                    }
                },
                ("hashAlgorithm", Operand::Text(name)) if known.contains(&"hashAlgorithm") => {
                    let name = name.to_ascii_uppercase();
                    tags.algorithm = Some(match name.as_str() {
                        "MD5" => Checksum::Md5,
                        "SHA-1" | "SHA1" => Checksum::Sha1,
                        "SHA-256" | "SHA256" => Checksum::Sha256,
                        _ => {
                            let message = format!("`{name}` is no checksum that is known here");
                            return Err(wrong(message).hint("they are MD5, SHA-1 and SHA-256"));
                        }
                    });
                }
                (name, _) if known.contains(&name) => {
                    let example = if name == "recentFiles" { "3" } else { "\"…\"" };
                    return Err(wrong(format!("the value of `{name}` has another form"))
                        .hint(format!("write `with {name} = {example}`")));
                }
                (name, _) => {
                    let error = wrong(format!("{} has no tag `{name}`", call.name));
                    return Err(match nearest(name, known.iter().copied()) {
                        Some(near) => error.hint(format!("did you mean `{near}`?")),
                        None => error.hint(format!("its tags are {}", known.join(", "))),
                    });
                }
            }
        }
        Ok(tags)
    }
}

/// A condition on a time. Times of day are those of the day on which the run starts; of two ends,
/// whichever is earlier comes first.
fn time_condition(condition: &Condition) -> Result<Expect, DqdlError> {
    let operand = |operand: &Operand| -> Result<expect::Operand, DqdlError> {
        if let Operand::Text(text) = operand
            && let Some(seconds) = time_of_day(text)
        {
            return Ok(expect::Operand::Today(seconds));
        }
        number(operand).ok_or_else(|| {
            DqdlError::new("a time was expected here", condition.span.clone())
                .hint("write `now() - 24 hours`, \"2024-05-01\" or \"9:30 AM\"")
        })
    };
    let ConditionKind::Between { low, high, not } = &condition.kind else {
        return match &condition.kind {
            ConditionKind::Compare(op, value) => Ok(Expect::Compare(*op, operand(value)?)),
            _ => number_condition(condition),
        };
    };
    let (mut low, mut high) = (operand(low)?, operand(high)?);
    if let (expect::Operand::Ago(from), expect::Operand::Ago(to)) = (&low, &high)
        && from < to
    {
        std::mem::swap(&mut low, &mut high);
    }
    Ok(Expect::Between { low, high, inclusive: false, not: *not })
}

/// Seconds from midnight of `9:30 AM` or `21:30`.
fn time_of_day(text: &str) -> Option<f64> {
    let text = text.trim();
    let upper = text.to_ascii_uppercase();
    let (clock, half) = match (upper.strip_suffix("AM"), upper.strip_suffix("PM")) {
        (Some(clock), _) => (clock.trim(), Some(0)),
        (_, Some(clock)) => (clock.trim(), Some(12)),
        _ => (upper.as_str(), None),
    };
    let (hours, minutes) = clock.split_once(':')?;
    let (hours, minutes): (u32, u32) = (hours.parse().ok()?, minutes.parse().ok()?);
    let hours = match half {
        Some(half) if (1..=12).contains(&hours) => hours % 12 + half,
        None if hours < 24 => hours,
        _ => return None,
    };
    (minutes < 60).then(|| f64::from(hours * 3_600 + minutes * 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_day_are_read() {
        for (text, hours) in [
            ("9:30 AM", 9.5),
            ("9:30 PM", 21.5),
            ("12:00 AM", 0.0),
            ("12:15pm", 12.25),
            ("23:45", 23.75),
        ] {
            assert_eq!(time_of_day(text), Some(hours * 3_600.0), "{text}");
        }
        for text in ["13:00 PM", "24:00", "9", "2024-05-01", "9:60"] {
            assert_eq!(time_of_day(text), None, "{text}");
        }
    }
}
