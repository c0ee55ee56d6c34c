//! The files of a run in a folder that has those of other runs.
//!
//! They are renamed into it one by one, under names that contain the run's id. As long as that goes
//! on, the run's hidden folder is there; it goes in one step. So what a killed run has shown of its
//! files is known, and is taken out by the next run, to which it never published.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use gristmill_core::{Error, Result};

use crate::hidden::{self, Beside};

/// What the names of a run's files start with.
pub(super) fn start(run: &str) -> String {
    format!("part-{run}-")
}

/// Whether a run has published to a folder.
pub(crate) fn published(folder: &Path, run: &str) -> Result<bool> {
    let failed = |e| Error::io(format!("cannot list the folder `{}`", folder.display()), e);
    Ok(!Beside::new(folder)?.has(run) && has(folder, &start(run)).map_err(failed)?)
}

fn has(folder: &Path, start: &str) -> io::Result<bool> {
    let entries = match fs::read_dir(folder) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(false),
        entries => entries?,
    };
    let mut folders = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            folders.push(entry.path());
        } else if entry.file_name().to_string_lossy().starts_with(start) {
            return Ok(true);
        }
    }
    for folder in folders {
        if has(&folder, start)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Takes out what a killed run has shown of its files, by the hidden folder that it left.
pub(super) fn take_out_dead(folder: &Path, run: &str, hidden: &Path) -> Result<()> {
    take_out(hidden, folder, &start(run)).map_err(|e| {
        let message = format!("cannot take files of run {run} out of `{}`", folder.display());
        Error::io(message, e).hint("the run was killed while it published; they are not to be read")
    })
}

/// Takes a run's files out of a folder, and out of those below that its hidden folder has, too.
pub(super) fn take_out(hidden: &Path, folder: &Path, start: &str) -> io::Result<()> {
    let is_folder = |path: &Path| fs::symlink_metadata(path).is_ok_and(|found| found.is_dir());
    if !is_folder(hidden) || !is_folder(folder) {
        return Ok(());
    }
    for entry in fs::read_dir(hidden)? {
        let entry = entry?;
        let below = folder.join(entry.file_name());
        take_out(&entry.path(), &below, start)?;
        if is_folder(&below) {
            let _ = fs::remove_dir(&below); // where nothing else is in it
        }
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(start) {
            fs::remove_file(entry.path())?;
        }
    }
    let _ = hidden::sync(folder); // some file systems cannot
    Ok(())
}
