//! Flushing a file to the disk while there is more to come, so that the last flush is short.

use std::fs::File;
use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

/// How much is written between two flushes: what is left for the last one.
const STEP: u64 = 8 << 20;

/// Flushes what has been written to a file on a thread of its own. A small file needs none.
#[derive(Debug)]
pub struct Flusher {
    file: File,
    /// Written since the last flush was asked for.
    written: u64,
    running: Option<(SyncSender<()>, JoinHandle<io::Result<()>>)>,
}

impl Flusher {
    /// A flusher of this file.
    pub fn new(file: File) -> Self {
        Self { file, written: 0, running: None }
    }

    /// Takes note of so many more bytes.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn wrote(&mut self, bytes: u64) -> io::Result<()> {
        self.written += bytes;
        if self.written >= STEP { self.ask() } else { Ok(()) }
    }

    /// Begins to flush what a large file has still to flush, and does not wait for it.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn hurry(&mut self) -> io::Result<()> {
        if self.running.is_some() { self.ask() } else { Ok(()) }
    }

    fn ask(&mut self) -> io::Result<()> {
        self.written = 0;
        let (ask, _) = match &mut self.running {
            Some(running) => running,
            none => {
                let file = self.file.try_clone()?;
                let (ask, asked) = sync_channel(1);
                let flush = move || asked.iter().try_for_each(|()| file.sync_data());
                none.insert((ask, thread::Builder::new().name("flush".to_owned()).spawn(flush)?))
            }
        };
        let _ = ask.try_send(()); // one is asked for already, or the thread has failed: see `finish`
        Ok(())
    }

    /// Makes all of the file durable, but for what its folder says of it and its times. An error that an earlier flush met is not told twice by the
    /// system, so it is told here.
    ///
    /// # Errors
    /// When a flush failed, this one or one before.
    pub fn finish(&mut self) -> io::Result<()> {
        self.join()?;
        self.file.sync_data()
    }

    fn join(&mut self) -> io::Result<()> {
        let Some((ask, thread)) = self.running.take() else { return Ok(()) };
        drop(ask);
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the flushing thread panicked")))
    }
}

impl Drop for Flusher {
    /// Nothing of the file is held open behind the loader's back.
    fn drop(&mut self) {
        let _ = self.join();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn flushing_on_the_way_changes_nothing() {
        let mut file = tempfile::tempfile().unwrap();
        let mut flusher = Flusher::new(file.try_clone().unwrap());
        for step in [STEP / 2, STEP, STEP, 1] {
            file.write_all(b"x").unwrap();
            flusher.wrote(step).unwrap();
            flusher.hurry().unwrap();
        }
        assert!(flusher.running.is_some());
        flusher.finish().unwrap();
        assert!(flusher.running.is_none());
        assert_eq!(file.metadata().unwrap().len(), 4);
    }

    #[test]
    fn an_error_of_an_earlier_flush_is_told_at_the_end() {
        let (read, _write) = io::pipe().unwrap();
        // A pipe cannot be flushed to a disk.
        let file = File::from(std::os::fd::OwnedFd::from(read));
        let mut flusher = Flusher::new(file);
        flusher.wrote(STEP).unwrap();
        assert!(flusher.finish().is_err());
    }
}
