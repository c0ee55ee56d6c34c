//! What checks may ask about the world outside of their input, and what their failure does.

use std::fs;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use gristmill_core::check::FileFacts;
use gristmill_core::{CheckContext, CheckResult, Error, ErrorKind, Gravity, Result};

use super::RunContext;
use crate::report::SourceReport;

/// The world as the checks of a run see it.
pub(super) struct Outside<'a> {
    pub(super) context: &'a RunContext<'a>,
    pub(super) sources: Vec<SourceReport>,
}

impl CheckContext for Outside<'_> {
    fn now(&self) -> DateTime<Utc> {
        self.context.started
    }

    fn history(&self, measure: &str, last: usize) -> Result<Vec<f64>> {
        self.context.history.map_or(Ok(Vec::new()), |history| history(measure, last))
    }

    fn files(&self, path: Option<&str>) -> Result<Vec<FileFacts>> {
        let mut found = Vec::new();
        match path {
            Some(path) => facts(&self.context.base.join(path), &mut found)?,
            None => {
                for source in &self.sources {
                    facts(&self.context.base.join(source.name.as_ref()), &mut found)?;
                }
            }
        }
        Ok(found)
    }
}

/// The files at a path: itself, or all in a folder and below, in the order of their names.
fn facts(path: &Path, found: &mut Vec<FileFacts>) -> Result<()> {
    let name = path.display().to_string();
    let failed = |error| Error::io(format!("cannot look at `{name}`"), error);
    let metadata = fs::metadata(path).map_err(failed)?;
    if metadata.is_dir() {
        let entries = fs::read_dir(path).map_err(failed)?;
        let mut paths = Vec::<PathBuf>::new();
        for entry in entries {
            paths.push(entry.map_err(failed)?.path());
        }
        paths.sort();
        return paths.iter().try_for_each(|path| facts(path, found));
    }
    let modified = metadata.modified().map_err(failed)?.into();
    found.push(FileFacts { path: name, size: metadata.len(), modified });
    Ok(())
}

/// Stops the run when a check failed that lets nothing be published.
pub(super) fn stop(results: &[CheckResult]) -> Result<()> {
    let failed: Vec<&CheckResult> = results
        .iter()
        .filter(|result| !result.passed && result.severity == Gravity::Error)
        .collect();
    let why = |result: &CheckResult| result.message.clone().unwrap_or_default();
    let message = match failed.as_slice() {
        [] => return Ok(()),
        [one] => format!("a check failed: {}", why(one)),
        many => {
            let all: Vec<_> = many.iter().map(|result| why(result)).collect();
            format!("{} checks failed: {}", many.len(), all.join("; "))
        }
    };
    Err(Error::new(ErrorKind::Stopped, message)
        .hint("mend the source, or let the check only warn: `severity: warn`"))
}
