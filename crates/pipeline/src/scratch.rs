//! The run's folder for temporary files, in the system's (`TMPDIR`).
//!
//! It goes away with the run. A run that is killed leaves it behind, without the lock that a living
//! run holds on it: the next run of the same user removes it.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use gristmill_core::{Error, Result};
use tempfile::TempDir;

const PREFIX: &str = "gristmill-scratch-";

/// A folder of this run only.
#[derive(Debug)]
pub(crate) struct Scratch {
    folder: TempDir,
    /// Held while the run lives.
    _lock: File,
}

impl Scratch {
    pub(crate) fn new() -> Result<Self> {
        let parent = std::env::temp_dir();
        Self::below(&parent).map_err(|source| {
            let message = format!("cannot make a temporary folder in `{}`", parent.display());
            Error::io(message, source).hint("TMPDIR names another folder for temporary files")
        })
    }

    fn below(parent: &Path) -> io::Result<Self> {
        loop {
            let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent)?;
            let lock = match File::open(folder.path()) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue, // see below
                opened => opened?,
            };
            // Where locks are not supported nobody gets one, so nobody removes anything either.
            let _ = lock.lock();
            let own = lock.metadata()?;
            // Another run may have taken it for a leftover before the lock was held.
            if fs::metadata(folder.path()).is_ok_and(|there| there.ino() == own.ino()) {
                sweep(parent, &own);
                return Ok(Self { folder, _lock: lock });
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Removes what dead runs of the same user left.
fn sweep(parent: &Path, own: &Metadata) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        let Ok(found) = entry.metadata() else { continue }; // of a link, not of what it points to
        if !found.is_dir() || found.uid() != own.uid() || found.ino() == own.ino() {
            continue;
        }
        if let Ok(lock) = File::open(entry.path())
            && lock.try_lock().is_ok()
        {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_runs_may_start_at_once() {
        let parent = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..250 {
                        let scratch = Scratch::below(parent.path()).unwrap();
                        assert!(scratch.path().exists());
                    }
                });
            }
        });
    }

    #[test]
    fn folders_of_dead_runs_go_and_those_of_live_runs_stay() {
        let parent = tempfile::tempdir().unwrap();
        let at = |name: &str| parent.path().join(name);
        fs::create_dir_all(at("gristmill-scratch-dead/more")).unwrap();
        fs::create_dir(at("gristmill-other")).unwrap();
        fs::create_dir(at("elsewhere")).unwrap();
        std::os::unix::fs::symlink(at("elsewhere"), at("gristmill-scratch-link")).unwrap();
        let live = Scratch::below(parent.path()).unwrap();
        let next = Scratch::below(parent.path()).unwrap();
        assert!(live.path().exists() && next.path().exists());
        assert!(!at("gristmill-scratch-dead").exists());
        drop((live, next));
        let mut left: Vec<_> = fs::read_dir(parent.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, ["elsewhere", "gristmill-other", "gristmill-scratch-link"]);
    }
}
