//! The rejects file: one JSON object a line, written in source order, shown by rename.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use gristmill_core::{Error, Findings, LineWriter, Result};
use gristmill_parallel::Flusher;

use super::Rejects;
use super::lines::Lines;
use crate::report::RejectTally;

/// Bytes that are gathered before they go to the file.
const OUT: usize = 64 << 10;

/// Writes rejects and counts them by reason.
pub(super) struct RejectsFile {
    out: Option<Output>,
    keep_empty: bool,
    lines: LineWriter,
    count: u64,
    tallies: BTreeMap<(String, String), RejectTally>,
}

struct Output {
    path: PathBuf,
    temporary: PathBuf,
    writer: BufWriter<File>,
    flusher: Flusher,
}

impl RejectsFile {
    /// Starts the file beside where it will be, or counts only when there is no path.
    pub(super) fn create(rejects: &Rejects, run: &str, pipeline: &str) -> Result<Self> {
        let (path, keep_empty) = match rejects {
            Rejects::Always(path) => (Some(path), true),
            Rejects::IfAny(path) => (Some(path), false),
            Rejects::Counted => (None, false),
        };
        let out = path.map(|path| Output::create(path, run)).transpose()?;
        Ok(Self {
            out,
            keep_empty,
            lines: LineWriter::new(run, pipeline),
            count: 0,
            tallies: BTreeMap::new(),
        })
    }

    /// Writes the rejects of the next chunk, in the order of their records.
    pub(super) fn write(&mut self, lines: &Lines) -> Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        lines.add_to(&mut self.tallies);
        self.count += lines.len() as u64;
        let Some(out) = &mut self.out else { return Ok(()) };
        let Output { writer, flusher, .. } = &mut *out;
        let mut bytes = 0;
        lines
            .each(|head, tail| {
                bytes += self.lines.write(head, tail, writer)?;
                Ok(())
            })
            .and_then(|()| flusher.wrote(bytes))
            .map_err(|source| out.cannot_write(source))
    }

    /// Sees to it that the disk has little left to do when the file is published, which may be long
    /// after the last chunk.
    pub(super) fn hurry(&mut self) -> Result<()> {
        let Some(out) = &mut self.out else { return Ok(()) };
        let done = out.writer.flush().and_then(|()| out.flusher.hurry());
        done.map_err(|source| out.cannot_write(source))
    }

    /// Writes rejects of records whose place in their source is known.
    pub(super) fn write_findings(&mut self, findings: &mut Findings) -> Result<()> {
        self.write(&Lines::of(findings.take_rejects())?)
    }

    /// Records rejected so far.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Reasons, most frequent first.
    pub(super) fn tallies(&self) -> Vec<RejectTally> {
        let mut tallies: Vec<_> = self.tallies.values().cloned().collect();
        // Ties in the order of their first records: sources are numbered each from 1, so this is a
        // choice for reading, not a promise.
        tallies.sort_by_key(|tally| (std::cmp::Reverse(tally.records), tally.record));
        tallies
    }

    /// Shows the file under its name.
    pub(super) fn publish(mut self) -> Result<Option<PathBuf>> {
        match self.out.take() {
            Some(out) if self.count > 0 || self.keep_empty => out.publish().map(Some),
            _ => Ok(None),
        }
    }
}

impl Output {
    fn create(path: &Path, run: &str) -> Result<Self> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let failed =
            |source| Error::io(format!("cannot write rejects to `{}`", path.display()), source);
        if path.is_dir() {
            return Err(
                failed(std::io::ErrorKind::IsADirectory.into()).hint("give `rejects` a file name")
            );
        }
        fs::create_dir_all(folder).map_err(failed)?;
        sweep(folder, &name);
        let temporary = folder.join(format!(".{name}.gristmill-{run}.tmp"));
        let file = File::create_new(&temporary).map_err(failed)?;
        file.try_lock().map_err(|source| failed(source.into()))?;
        let flusher = Flusher::new(file.try_clone().map_err(failed)?);
        let writer = BufWriter::with_capacity(OUT, file);
        Ok(Self { path: path.to_owned(), temporary, writer, flusher })
    }

    fn publish(mut self) -> Result<PathBuf> {
        let done = self.writer.flush().and_then(|()| self.flusher.finish());
        done.and_then(|()| fs::rename(&self.temporary, &self.path))
            .map_err(|source| self.cannot_write(source))?;
        Ok(std::mem::take(&mut self.path))
    }

    fn cannot_write(&self, source: std::io::Error) -> Error {
        Error::io(format!("cannot write rejects to `{}`", self.path.display()), source)
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.temporary); // gone already after a rename
    }
}

/// Removes what runs that died left beside the file. A living run holds a lock on its own.
fn sweep(folder: &Path, name: &str) {
    let prefix = format!(".{name}.gristmill-");
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let found = entry.file_name();
        let found = found.to_string_lossy();
        if !(found.starts_with(&prefix) && found.ends_with(".tmp")) {
            continue;
        }
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        if is_file && File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}
