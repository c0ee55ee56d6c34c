//! Flushing the files of a folder to the disk, several at the same time.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use gristmill_core::{Error, Result};
use gristmill_parallel::{OrderedQueue, Pool};

use super::failed;
use crate::hidden;

/// Flushes many files, several at the same time: a disk is asked once to make what it has been given
/// durable, for all that wait for it.
#[derive(Default)]
pub(super) struct Flushes {
    running: Option<OrderedQueue<()>>,
}

/// Files that are flushed at the same time.
const AT_ONCE: usize = 16;

/// Flushes that were asked for and not heard of, and so files that are open for them.
const MAX_PENDING: usize = 64;

impl Flushes {
    /// Flushes what a file holds by now; its [`all`](Self::all) has to follow.
    pub(super) fn data(&mut self, name: String, file: Arc<File>) -> Result<()> {
        self.ask(move || file.sync_data().map_err(|e| failed(&name, unflushed(e))))
    }

    /// Flushes a file that is complete.
    pub(super) fn all(&mut self, name: String, file: Arc<File>) -> Result<()> {
        self.ask(move || file.sync_all().map_err(|e| failed(&name, unflushed(e))))
    }

    /// Flushes the names in a folder.
    pub(super) fn folder(&mut self, path: PathBuf) -> Result<()> {
        self.ask(move || hidden::sync(&path))
    }

    /// Waits until all is durable that was asked for.
    pub(super) fn finish(&mut self) -> Result<()> {
        match &mut self.running {
            Some(running) => std::iter::from_fn(|| running.take()).collect(),
            None => Ok(()),
        }
    }

    fn ask(&mut self, flush: impl FnOnce() -> Result<()> + Send + 'static) -> Result<()> {
        let running = match &mut self.running {
            Some(running) => running,
            none => none.insert(OrderedQueue::new(Pool::named("flush", AT_ONCE)?)),
        };
        while let Some(flushed) = running.take_ready() {
            flushed?;
        }
        if running.len() >= MAX_PENDING {
            running.take().transpose()?;
        }
        running.submit(flush);
        Ok(())
    }
}

pub(super) fn unflushed(error: io::Error) -> Error {
    Error::io("cannot flush it to the disk", error)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file that cannot be flushed to a disk.
    fn pipe() -> File {
        let (read, _) = io::pipe().unwrap();
        File::from(std::os::fd::OwnedFd::from(read))
    }

    #[test]
    fn the_file_of_many_that_cannot_be_flushed_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let mut flushes = Flushes::default();
        let mut all = |names: &[&str]| {
            for name in names {
                let file = if *name == "pipe" { pipe() } else { tempfile::tempfile().unwrap() };
                flushes.all((*name).to_owned(), Arc::new(file))?;
            }
            flushes.folder(folder.path().to_owned())?;
            flushes.finish()
        };
        all(&["a"; 3 * MAX_PENDING]).unwrap();
        let error = all(&["a", "pipe", "b"]).unwrap_err();
        assert_eq!(error.to_string(), "cannot write `pipe`");
        all(&["a", "b"]).unwrap();
    }
}
