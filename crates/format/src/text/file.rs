//! A text file being written: what workers encoded, and what stands around it.

use std::io::Write;
use std::sync::Arc;

use gristmill_core::{Encoded, Error, Result};

use super::blocks::{Pool, Text};
use crate::{Compression, Sink};

pub(crate) struct TextFile {
    /// What it holds, for messages.
    format: &'static str,
    out: Box<dyn Write + Send>,
    compression: Compression,
    pool: Arc<Pool>,
    written: u64,
}

impl TextFile {
    /// One whose blocks come from a pool and go back there.
    pub(crate) fn new(
        format: &'static str,
        out: Box<dyn Write + Send>,
        compression: Compression,
        pool: &Arc<Pool>,
    ) -> Self {
        Self { format, out, compression, pool: Arc::clone(pool), written: 0 }
    }

    /// Writes text as a member of its own.
    pub(crate) fn write(&mut self, text: &[u8]) -> Result<()> {
        let member = self.compression.compress(text)?;
        self.out.write_all(&member).map_err(|error| self.cannot(error))?;
        self.written += member.len() as u64;
        Ok(())
    }

    fn cannot(&self, error: std::io::Error) -> Error {
        Error::io(format!("cannot write {}", self.format), error)
    }
}

impl Sink for TextFile {
    fn append(&mut self, part: Encoded) -> Result<()> {
        let format = self.format;
        let text = part.payload.downcast::<Text>().map_err(|_| {
            Error::internal(format!("a part of another format was appended to {format}"))
        })?;
        text.write_to(&mut self.out).map_err(|error| self.cannot(error))?;
        self.written += text.len() as u64;
        self.pool.give_back(*text);
        Ok(())
    }

    fn bytes_written(&self) -> u64 {
        self.written
    }

    fn finish(mut self: Box<Self>) -> Result<u64> {
        if self.written == 0 {
            self.write(&[])?; // a compressed file has a member
        }
        self.out.flush().map_err(|error| self.cannot(error))?;
        Ok(self.written)
    }
}
