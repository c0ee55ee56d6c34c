//! Profiles of files and tables, for a terminal.

use std::fmt::Write as _;
use std::path::Path;

use gristmill_core::{Error, ErrorKind, Pointer, Result, StepKind};
use gristmill_validate::check::number;
pub use gristmill_validate::profile::Profile;
use gristmill_validate::profile::{ColumnProfile, Counted, Profiling};
pub use gristmill_validate::profile::{
    contract as suggest_contract, dqdl as suggest_dqdl, yaml as suggest_yaml,
};
use serde::Serialize;
use serde_json::{Value, json};

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

/// A column whose values are those of a key of another input.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ForeignKey {
    /// The input that it is in.
    pub data: String,
    /// The column.
    pub column: String,
    /// The input with the key.
    pub references: String,
    /// The column that is a key there.
    pub key: String,
    /// The share of records, of those with a value, whose value is there.
    pub share: f64,
}

/// The least share of records that makes a column a candidate.
const LEAST: f64 = 0.95;
/// Keys of fewer records say little.
const FEWEST: u64 = 2;

/// Columns of inputs whose values are nearly all those of a key of another of them, the most alike first. Each
/// pair of columns of one type is compared in full, where their names do not speak against it: numbers count
/// only if they are called alike.
///
/// # Errors
/// When an input cannot be read again.
pub fn foreign_keys(
    profiles: &[(String, Profile)],
    infer: bool,
    options: &RunOptions<'_>,
) -> Result<Vec<ForeignKey>> {
    let mut found = Vec::new();
    for (mine, (data, profile)) in profiles.iter().enumerate() {
        let mut pairs: Vec<(usize, &str, &str)> = Vec::new();
        for (theirs, (other, their)) in profiles.iter().enumerate().filter(|(at, _)| *at != mine) {
            let keys = their.columns.iter().filter(|key| key.is_key(their.records));
            for key in keys.filter(|_| their.records >= FEWEST) {
                let columns = profile.columns.iter();
                let fits = columns.filter(|column| may_refer(column, key, other));
                pairs.extend(fits.map(|column| (theirs, column.name.as_str(), key.name.as_str())));
            }
        }
        if pairs.is_empty() {
            continue;
        }
        let mut references = json!({});
        for (theirs, ..) in &pairs {
            references[theirs.to_string()] = source(&profiles[*theirs].0, infer)?;
        }
        let check = |(theirs, column, key): &(usize, &str, &str)| {
            json!({
                "measure": "referential_integrity", "severity": "warn", "column": column,
                "reference": theirs.to_string(), "reference_columns": key,
            })
        };
        let checks: Vec<Value> = pairs.iter().map(check).collect();
        let step = json!({"check": {"checks": checks, "references": references}});
        let mut definition = definition("profile", &source(data, infer)?, &[step])?;
        discard(&mut definition);
        let report = run_definition(&definition, options)?.report;
        if report.status != Status::Published {
            let message = report.error.map_or_else(String::new, |failure| failure.message);
            return Err(Error::new(ErrorKind::Io, message));
        }
        for ((theirs, column, key), result) in pairs.into_iter().zip(&report.checks) {
            let share = result.observed.first().and_then(|seen| seen.value).unwrap_or(0.0);
            if share >= LEAST {
                found.push(ForeignKey {
                    data: data.clone(),
                    column: column.to_owned(),
                    references: profiles[theirs].0.clone(),
                    key: key.to_owned(),
                    share,
                });
            }
        }
    }
    Ok(found)
}

/// Whether a column may refer to a key, by what is known of both.
fn may_refer(column: &ColumnProfile, key: &ColumnProfile, data: &str) -> bool {
    let known = column.distinct > 1 && column.distinct <= key.distinct;
    let typed = column.type_name == key.type_name;
    // Two lists of numbers from 1 on are not of one kind for that, nor are two columns `id`.
    let stem = Path::new(data).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let (own, theirs) = (plain(&column.name), plain(&key.name));
    let (many, one) = (plain(stem), plain(stem).trim_end_matches('s').to_owned());
    let alike = (own == theirs && own != "id")
        || own == format!("{many}{theirs}")
        || own == format!("{one}{theirs}");
    known && typed && (alike || column.type_name == "string")
}

/// Letters and digits of a name, in lower case.
fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Candidates for foreign keys as a person reads them.
pub fn foreign_key_table(found: &[ForeignKey]) -> String {
    let mut out = String::from("\nmay refer to\n");
    for ForeignKey { data, column, references, key, share } in found {
        let percent = number((share * 1e3).round() / 10.0);
        let _ = writeln!(
            out,
            "  {data} {column} -> {references} {key}  {percent}% of its values are there"
        );
    }
    if found.is_empty() {
        out.push_str("  no column of one has the values of a key of another\n");
    }
    out
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
