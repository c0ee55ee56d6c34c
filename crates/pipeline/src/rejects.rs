//! The rejects file after the run: its summary, and the way back for mended records.

mod places;
mod replay;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use gristmill_core::{Error, ErrorKind, RejectLine, Result};
use serde::Serialize;

use crate::report::{records_of, thousands};

pub use replay::replay;

/// How many records of a rejects file have a reason in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Group {
    /// The field; none when it is about the record.
    pub field: Option<String>,
    /// The rule.
    pub rule: String,
    /// Records with this reason.
    pub records: u64,
    /// The first few of them.
    pub examples: Vec<Example>,
}

/// One record with a reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Example {
    /// Its source.
    pub source: String,
    /// Its number in the source.
    pub record: u64,
    /// Its line in the source.
    pub line: Option<u64>,
    /// What is wrong with it.
    pub message: String,
}

/// What a rejects file holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// The file.
    pub file: PathBuf,
    /// Records in it.
    pub records: u64,
    /// Pipelines and runs that rejected them.
    pub runs: Vec<String>,
    /// Records by source.
    pub sources: BTreeMap<String, u64>,
    /// Records by reason, most frequent first. A record may have several reasons.
    pub reasons: Vec<Group>,
}

/// Examples kept of each reason.
const EXAMPLES: usize = 3;

/// Reads a rejects file.
///
/// # Errors
/// When it cannot be read, or a line in it is not a reject.
pub fn summarise(path: &Path) -> Result<Summary> {
    let mut summary = Summary {
        file: path.to_owned(),
        records: 0,
        runs: Vec::new(),
        sources: BTreeMap::new(),
        reasons: Vec::new(),
    };
    let mut groups: BTreeMap<(Option<String>, String), Group> = BTreeMap::new();
    for line in lines(path)? {
        let line = line?;
        summary.records += 1;
        let run = format!("{} {}", line.pipeline, line.run);
        if !summary.runs.contains(&run) {
            summary.runs.push(run);
        }
        *summary.sources.entry(line.source.clone()).or_default() += 1;
        for reason in &line.errors {
            let field = reason.field.as_deref().map(str::to_owned);
            let rule = reason.rule.to_string();
            let group = groups.entry((field.clone(), rule.clone())).or_insert_with(|| Group {
                field,
                rule,
                records: 0,
                examples: Vec::new(),
            });
            group.records += 1;
            if group.examples.len() < EXAMPLES {
                group.examples.push(Example {
                    source: line.source.clone(),
                    record: line.record,
                    line: line.line,
                    message: reason.message.clone(),
                });
            }
        }
    }
    summary.reasons = groups.into_values().collect();
    summary.reasons.sort_by_key(|group| std::cmp::Reverse(group.records));
    Ok(summary)
}

/// The rejects in a file, in order.
pub(crate) fn lines(path: &Path) -> Result<impl Iterator<Item = Result<RejectLine>>> {
    let name = path.display().to_string();
    let file = File::open(path)
        .map_err(|source| Error::io(format!("cannot read the rejects file `{name}`"), source))?;
    let lines = BufReader::new(file).lines().enumerate();
    Ok(lines.filter_map(move |(index, line)| {
        let line = match line {
            Ok(line) if line.trim().is_empty() => return None,
            Ok(line) => line,
            Err(source) => return Some(Err(Error::io(format!("cannot read `{name}`"), source))),
        };
        Some(serde_json::from_str(&line).map_err(|source| {
            // What serde sees is one line; which one, the message says.
            let why = source.to_string().replace(" at line 1 column ", " at column ");
            Error::new(ErrorKind::Corrupt, format!("line {} of `{name}` is not a reject", index + 1))
                .caused_by(why)
                .hint("a rejects file has one JSON object a line, as a run wrote it; only `raw` is for mending")
        }))
    }))
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {} rejected", self.file.display(), records_of(self.records))?;
        for run in &self.runs {
            writeln!(f, "  run      {run}")?;
        }
        for (source, records) in &self.sources {
            writeln!(f, "  source   {source}: {}", thousands(*records))?;
        }
        for group in &self.reasons {
            let field = group.field.as_deref().unwrap_or("record");
            writeln!(f, "\n  {:>9}  {field} {}", thousands(group.records), group.rule)?;
            for example in &group.examples {
                let at = match example.line {
                    Some(line) => format!("{}:{line}", example.source),
                    None => format!("{} record {}", example.source, example.record),
                };
                writeln!(f, "             {at}: {}", example.message)?;
            }
        }
        Ok(())
    }
}
