//! The standard output: spooled, and copied out at the end, so that a failed run writes nothing.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Read, Seek, SeekFrom, Write};
use std::sync::Arc;

use gristmill_core::{Encoded, Encoder, Error, ErrorKind, Findings, Loaded, Loader, Result};
use gristmill_format::{Format, Sink, Writer};

use super::failed;
use super::single::after_the_end;

const NAME: &str = "standard output";

pub(crate) struct Stdout {
    writer: Arc<dyn Writer>,
    sink: Option<Box<dyn Sink>>,
    spool: File,
    records: u64,
    bytes: u64,
    copied: u64,
}

impl Stdout {
    pub(crate) fn open(format: Format, writer: Arc<dyn Writer>) -> Result<Self> {
        let binary = matches!(format, Format::Parquet | Format::Arrow);
        if binary && io::stdout().is_terminal() {
            return Err(Error::new(
                ErrorKind::Configuration,
                format!("{} is not written to a terminal", format.extension()),
            )
            .hint("redirect the standard output, or name a file"));
        }
        let spooling = |e| Error::io("cannot create a temporary file for the standard output", e);
        let spool = tempfile::tempfile().map_err(spooling)?;
        let out = BufWriter::with_capacity(64 << 10, spool.try_clone().map_err(spooling)?);
        let sink = writer.sink(Box::new(out)).map_err(|e| failed(NAME, e))?;
        Ok(Self { writer, sink: Some(sink), spool, records: 0, bytes: 0, copied: 0 })
    }

    fn copy(&mut self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        let mut buffer = vec![0; 256 << 10];
        self.spool.seek(SeekFrom::Start(self.copied))?;
        loop {
            let n = self.spool.read(&mut buffer)?;
            if n == 0 {
                return out.flush();
            }
            out.write_all(&buffer[..n])?;
            self.copied += n as u64;
        }
    }
}

impl Stdout {
    fn loaded(&self) -> Loaded {
        Loaded { inserted: self.records, bytes: self.bytes, ..Loaded::default() }
    }
}

impl Loader for Stdout {
    fn name(&self) -> &str {
        NAME
    }

    fn encoder(&self) -> Arc<dyn Encoder> {
        self.writer.encoder()
    }

    fn append(&mut self, part: Encoded, _: &mut Findings) -> Result<()> {
        let sink = self.sink.as_mut().ok_or_else(after_the_end)?;
        self.records += part.records;
        sink.append(part).map_err(|e| failed(NAME, e))
    }

    fn prepare(&mut self, _: &mut Findings) -> Result<Loaded> {
        let sink = self.sink.take().ok_or_else(after_the_end)?;
        self.bytes = sink.finish().map_err(|e| failed(NAME, e))?;
        Ok(self.loaded())
    }

    fn publish(&mut self) -> Result<Loaded> {
        self.copy().map_err(|e| match e.kind() {
            io::ErrorKind::BrokenPipe => {
                Error::io("the program that reads the standard output stopped reading", e)
            }
            _ => Error::io("cannot write the standard output", e),
        })?;
        Ok(self.loaded())
    }

    fn abort(self: Box<Self>) {}
}
