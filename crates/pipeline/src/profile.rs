//! Profiles of files and tables, for a terminal.

use std::fmt::Write as _;

use gristmill_core::{Error, Pointer, Result, StepKind};
use gristmill_validate::check::number;
use gristmill_validate::profile::{ColumnProfile, Counted, Profile, Profiling};
pub use gristmill_validate::profile::{dqdl as suggest_dqdl, yaml as suggest_yaml};

use serde_json::Value;

use crate::definition::Item;
use crate::execute::{Outcome, RunOptions, run_definition};
use crate::quality::{definition, discard, source};
use crate::report::{Status, thousands};

/// Reads an input in full and says what is in each of its columns. None where the run failed, as
/// the outcome says.
///
/// # Errors
/// When the name of the input says no format, or the run cannot begin.
pub fn profile(
    data: &str,
    infer: bool,
    options: &RunOptions<'_>,
) -> Result<(Outcome, Option<Profile>)> {
    let mut definition = definition("profile", &source(data, infer)?, &[])?;
    discard(&mut definition);
    let at = Pointer::root().key("steps");
    definition.steps.push(Item { kind: &PROFILE, options: Value::Null, at });
    let outcome = run_definition(&definition, options)?;
    if outcome.report.status != Status::Published {
        return Ok((outcome, None));
    }
    let step = outcome.report.steps.iter().find(|step| step.name == "profile");
    let details = step.and_then(|step| step.details.clone());
    let profile = details.and_then(|details| serde_json::from_value(details).ok());
    let profile: Profile = profile.ok_or_else(|| Error::internal("a profile was lost"))?;
    Ok((outcome, Some(profile)))
}

/// The step that profiles; no pipeline file can name it.
static PROFILE: StepKind = StepKind {
    name: "profile",
    about: "",
    example: "",
    schema: |_| schemars::Schema::default(),
    plan: |_, _| Ok(Box::new(Profiling)),
};

/// A profile as a person reads it.
pub fn table(data: &str, profile: &Profile) -> String {
    let columns = profile.columns.len();
    let mut out = format!("{data}: {} records, {columns} columns\n", thousands(profile.records));
    for column in &profile.columns {
        let key = if column.is_key(profile.records) { ", a key" } else { "" };
        let _ = writeln!(out, "\n{}  {}{key}", column.name, column.type_name);
        let share = column.nulls as f64 / profile.records.max(1) as f64 * 100.0;
        let nulls = thousands(column.nulls);
        row(&mut out, "nulls", &format!("{nulls} ({share:.1}%)"));
        row(&mut out, "distinct", &thousands(column.distinct));
        values(&mut out, column);
    }
    out
}

fn values(out: &mut String, column: &ColumnProfile) {
    if let (Some(min), Some(max)) = (&column.min, &column.max) {
        row(out, "from, to", &format!("{min}, {max}"));
    }
    if let Some(numbers) = &column.numbers {
        let (mean, stddev) = (number(numbers.mean), number(numbers.stddev));
        row(out, "mean", &format!("{mean}, deviation {stddev}, sum {}", number(numbers.sum)));
    }
    if !column.quantiles.is_empty() {
        let percent = |at: f64| (at * 100.0).round();
        let all = column.quantiles.iter();
        let all: Vec<_> = all.map(|q| format!("{}% {}", percent(q.at), q.value)).collect();
        row(out, "quantiles", &all.join(", "));
    }
    if !column.histogram.is_empty() {
        row(out, "histogram", &bars(&column.histogram));
    }
    if let Some([shortest, longest]) = column.lengths {
        row(out, "lengths", &format!("{shortest} to {longest}"));
    }
    if column.top.first().is_some_and(|first| first.count > 1) {
        row(out, "values", &counted(&column.top));
    }
    if !column.patterns.is_empty() {
        row(out, "patterns", &counted(&column.patterns));
    }
}

fn row(out: &mut String, name: &str, text: &str) {
    let _ = writeln!(out, "  {name:<10} {text}");
}

/// The first few, with how often they come.
fn counted(all: &[Counted]) -> String {
    const WIDTH: usize = 100;
    let mut text = String::new();
    for Counted { value, count } in all {
        let flat: String =
            value.chars().map(|c| if c.is_control() { ' ' } else { c }).take(40).collect();
        let next = format!("`{flat}` {}", thousands(*count));
        if !text.is_empty() {
            if text.chars().count() + next.chars().count() > WIDTH {
                text.push_str(", …");
                break;
            }
            text.push_str(", ");
        }
        text.push_str(&next);
    }
    text
}

fn bars(counts: &[u64]) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let most = counts.iter().copied().max().unwrap_or(1).max(1);
    let bar = |count: &u64| match count {
        0 => ' ',
        count => BARS[((count * 8).div_ceil(most) as usize).clamp(1, 8) - 1],
    };
    format!("[{}]", counts.iter().map(bar).collect::<String>())
}
