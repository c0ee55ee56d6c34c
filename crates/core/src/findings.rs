//! What stages found out about the records they were given, besides the records they passed on.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::reject::{Reason, Reject};

/// What to do with a record that fails a rule.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Take the record out and go on.
    #[default]
    Reject,
    /// Keep the record and count the failure.
    Warn,
    /// Stop the run; nothing is published.
    Abort,
}

/// A rule with severity `warn` that records failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// How many records failed it.
    pub records: u64,
    /// What the first of them failed with.
    pub message: String,
}

/// Rejects, warnings and counts of records taken out. Every stage call adds to one.
#[derive(Debug, Default)]
pub struct Findings {
    rejects: Vec<Reject>,
    /// Records that a filter took out.
    pub filtered: u64,
    /// Records dropped as duplicates.
    pub deduplicated: u64,
    warnings: BTreeMap<(String, String), Warning>,
    stop: Option<Reason>,
}

impl Findings {
    /// Takes a record out.
    pub fn reject(&mut self, reject: Reject) {
        self.rejects.push(reject);
    }

    /// Rejects so far, in the order they were found.
    pub fn rejects(&self) -> &[Reject] {
        &self.rejects
    }

    /// Takes the rejects, leaving the counts.
    pub fn take_rejects(&mut self) -> Vec<Reject> {
        std::mem::take(&mut self.rejects)
    }

    /// Counts a failure that does not take the record out.
    pub fn warn(&mut self, field: &str, rule: &str, message: impl FnOnce() -> String) {
        self.warnings
            .entry((field.to_owned(), rule.to_owned()))
            .or_insert_with(|| Warning { records: 0, message: message() })
            .records += 1;
    }

    /// Says that the run must not go on, and why. Its record has that reason among its own.
    pub fn stop(&mut self, reason: Reason) {
        self.stop.get_or_insert(reason);
    }

    /// Why the run must not go on: the first reason in source order.
    pub fn stopped(&self) -> Option<&Reason> {
        self.stop.as_ref()
    }

    /// Warnings by field and rule.
    pub fn warnings(&self) -> &BTreeMap<(String, String), Warning> {
        &self.warnings
    }

    /// Adds the findings of what comes next in source order.
    pub fn append(&mut self, mut next: Findings) {
        self.rejects.append(&mut next.rejects);
        self.filtered += next.filtered;
        self.deduplicated += next.deduplicated;
        self.stop = self.stop.take().or(next.stop);
        for (key, warning) in next.warnings {
            match self.warnings.get_mut(&key) {
                Some(mine) => mine.records += warning.records,
                None => drop(self.warnings.insert(key, warning)),
            }
        }
    }
}
