//! DQDL, the Data Quality Definition Language of AWS Glue: a ruleset as [checks](super::Check).
//!
//! What a rule means follows the reference of DQDL in the AWS Glue developer guide. Where that is silent:
//! a pattern matches the whole value; uniqueness does not count keys that are all null; the standard
//! deviation is that of the population; units of file sizes are powers of 1024; a rule that asks
//! about earlier runs passes while there are none; times of day are in UTC; a rule about files looks at
//! those on this machine; `CustomSql` runs queries over `primary` and references by name, which give one
//! number, or without a condition the records that pass.

mod compile;
mod files;
mod lex;
mod parse;
mod sql;
mod tree;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use gristmill_core::{Gravity, Mistake, Pointer};

use super::{Check, Offenders, Rule};

/// A ruleset: its rules as checks, and what it only measures.
#[derive(Debug, Clone, PartialEq)]
pub struct Ruleset {
    rules: Vec<Written>,
}

/// A rule as it is written.
#[derive(Debug, Clone, PartialEq)]
struct Written {
    name: String,
    rule: Rule,
    span: Range<usize>,
    severity: Gravity,
    labels: BTreeMap<String, String>,
}

impl Ruleset {
    /// Its rules, and its analyzers, which always pass. `at` is where the ruleset stands in a
    /// definition.
    pub fn checks(&self, at: &Pointer) -> Vec<Check> {
        let check = |written: &Written| Check {
            name: written.name.clone(),
            rule: written.rule.clone(),
            severity: written.severity,
            at: at.clone(),
            span: Some(written.span.clone()),
            labels: written.labels.clone(),
            offenders: Offenders::Keep,
        };
        self.rules.iter().map(check).collect()
    }
}

/// Reads a ruleset.
///
/// # Errors
/// The first mistake, with its place.
pub fn parse(text: &str) -> Result<Ruleset, DqdlError> {
    let document = parse::document(text)?;
    let mut rules = Vec::new();
    for node in &document.rules {
        let (span, rule, severity) = (node.span(), compile::rule(node)?, Gravity::Error);
        let name = words(&text[span.clone()]);
        let labels = document.labels.iter().chain(node.labels()).cloned().collect();
        rules.push(Written { name, rule, span, severity, labels });
    }
    for call in &document.analyzers {
        let (span, rule, severity) = (call.span.clone(), compile::analyzer(call)?, Gravity::Warn);
        let name = words(&text[span.clone()]);
        let labels = document.labels.iter().chain(&call.labels).cloned().collect();
        rules.push(Written { name, rule, span, severity, labels });
    }
    Ok(Ruleset { rules })
}

/// A text on one line.
fn words(text: &str) -> String {
    let lines = text
        .lines()
        .map(|line| if line.contains('"') { line } else { line.split('#').next().unwrap_or(line) });
    lines.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")
}

/// A mistake in a ruleset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DqdlError {
    /// What is wrong.
    pub message: String,
    /// The part of the text that it is about, in bytes.
    pub span: Range<usize>,
    /// What to do about it.
    pub hint: Option<String>,
}

impl DqdlError {
    fn new(message: impl Into<String>, span: Range<usize>) -> Self {
        Self { message: message.into(), span, hint: None }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// As a mistake in a definition that has the ruleset at `at`.
    pub fn mistake(self, at: Pointer) -> Mistake {
        let mut mistake = Mistake::new(at, self.message).span(self.span);
        mistake.hint = self.hint;
        mistake
    }
}

impl fmt::Display for DqdlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for DqdlError {}

/// Units: their size in seconds or bytes, and whether they are of time.
const UNITS: [(&str, f64, bool); 10] = [
    ("second", 1.0, true),
    ("minute", 60.0, true),
    ("hour", 3_600.0, true),
    ("day", 86_400.0, true),
    ("week", 604_800.0, true),
    ("b", 1.0, false),
    ("kb", 1_024.0, false),
    ("mb", 1_048_576.0, false),
    ("gb", 1_073_741_824.0, false),
    ("tb", 1_099_511_627_776.0, false),
];

/// The size of a unit, and whether it is of time.
fn unit(word: &str) -> Option<(f64, bool)> {
    let word = word.to_ascii_lowercase();
    let same = |name: &str, is_time: bool| {
        word == name || (is_time && word.strip_suffix('s').is_some_and(|word| word == name))
    };
    let found = UNITS.iter().find(|(name, _, is_time)| same(name, *is_time));
    found.map(|(_, size, is_time)| (*size, *is_time))
}

/// A length of time in its largest unit that is whole.
pub(crate) fn length(seconds: f64) -> String {
    let whole = |(_, size, is_time): &&(&str, f64, bool)| *is_time && seconds % size == 0.0;
    let (name, size, _) = UNITS.iter().rev().find(whole).unwrap_or(&UNITS[0]);
    let count = seconds / size;
    let s = if count == 1.0 { "" } else { "s" };
    format!("{} {name}{s}", super::number(count))
}

/// The seconds of a length of time such as `2 days`.
pub(crate) fn seconds(text: &str) -> Option<f64> {
    let text = text.trim();
    let (number, word) = text.split_at(text.find(|c: char| c.is_alphabetic())?);
    let (size, is_time) = unit(word.trim())?;
    let number: f64 = number.trim().parse().ok()?;
    is_time.then_some(number * size)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RULES: &str = "frequency = \"x\" Rules = [ # comment\n (IsComplete \"id\") and ((RowCount between 1 and avg(last(3)) * 2) or \
        (ColumnValues \"d\" > (now() - 3 days) where \"a > 1\" with threshold >= 0.5)), ColumnValues \"c\" in [\"é\", NULL, -1.5e3], \
        FileSize \"s\" > 2 MB ] Analyzers = [ Mean \"x\" ]";

    #[test]
    fn a_whole_ruleset_is_read() {
        let checks = parse(RULES).unwrap().checks(&Pointer::root());
        assert_eq!(checks.len(), 4);
        assert_eq!(checks[0].rule.tests().len(), 3);
        assert_eq!(checks[1].name, "ColumnValues \"c\" in [\"é\", NULL, -1.5e3]");
        assert_eq!(checks[3].severity, Gravity::Warn);
        let deep = format!("Rules = [ {}RowCount > 1", "(".repeat(100_000));
        assert_eq!(parse(&deep).unwrap_err().message, "brackets are nested too deeply");
        let deep = format!("Rules = [ RowCount > {}1", "(".repeat(100_000));
        assert_eq!(parse(&deep).unwrap_err().message, "brackets are nested too deeply");
    }

    #[test]
    fn lengths_of_time_are_read_and_written() {
        for (text, length_in_seconds) in
            [("3 days", 259_200.0), ("90 minutes", 5_400.0), ("1 week", 604_800.0)]
        {
            assert_eq!(seconds(text), Some(length_in_seconds));
            assert_eq!(length(length_in_seconds), text);
        }
        assert_eq!((seconds("2 MB"), seconds("soon"), seconds("5")), (None, None, None));
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_parser(
            text in prop_oneof!["\\PC{0,60}", r#"Rules = \[[ "A-Za-z0-9()<>=!,.$#é*/+-]{0,80}\]?"#],
            cut in 0usize..RULES.len(), skip in 0usize..20,
        ) {
            let _ = parse(&text);
            if RULES.is_char_boundary(cut) {
                let rest = RULES.get((cut + skip).min(RULES.len())..).unwrap_or_default();
                if let Err(error) = parse(&format!("{}{rest}", &RULES[..cut])) {
                    prop_assert!(error.span.start <= error.span.end);
                }
            }
        }
    }
}
