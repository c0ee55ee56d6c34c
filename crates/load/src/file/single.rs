//! One file, published by a rename.

use std::fs;
use std::io::BufWriter;
use std::path::PathBuf;
use std::sync::Arc;

use gristmill_core::{
    Encoded, Encoder, Error, ErrorKind, Findings, Loaded, Loader, PublishedFile, Result,
};
use gristmill_format::{Sink, Writer};
use gristmill_parallel::Flusher;

use super::failed;
use super::flush::unflushed;
use super::out::Out;
use crate::hidden::{Beside, Hidden};

pub(crate) struct Single {
    name: String,
    path: PathBuf,
    writer: Arc<dyn Writer>,
    sink: Option<Box<dyn Sink>>,
    flusher: Flusher,
    hidden: Hidden,
    records: u64,
    bytes: u64,
}

impl Single {
    pub(crate) fn open(
        name: &str,
        path: PathBuf,
        run: &str,
        writer: Arc<dyn Writer>,
    ) -> Result<Self> {
        refuse_what_is_no_file(name, &path)?;
        let (file, hidden) = Beside::new(&path)?.file(run)?;
        let copy = file.try_clone().map_err(|e| Error::io(format!("cannot write `{name}`"), e))?;
        let out = BufWriter::with_capacity(64 << 10, Out(copy));
        let sink = writer.sink(Box::new(out)).map_err(|e| failed(name, e))?;
        Ok(Self {
            name: name.to_owned(),
            path,
            writer,
            sink: Some(sink),
            flusher: Flusher::new(file),
            hidden,
            records: 0,
            bytes: 0,
        })
    }
}

/// A rename would replace a device or a pipe just as well as a file.
fn refuse_what_is_no_file(name: &str, path: &std::path::Path) -> Result<()> {
    let Ok(metadata) = fs::metadata(path) else { return Ok(()) };
    if metadata.is_dir() {
        return Err(Error::new(ErrorKind::Configuration, format!("`{name}` is a folder"))
            .hint("name a file in it; `partition_by` or `max_file_size` write a folder of files"));
    }
    if !metadata.is_file() {
        return Err(Error::new(ErrorKind::Configuration, format!("`{name}` is not a file"))
            .hint("write to `-` for the standard output; devices and pipes are not replaced"));
    }
    Ok(())
}

impl Loader for Single {
    fn name(&self) -> &str {
        &self.name
    }

    fn encoder(&self) -> Arc<dyn Encoder> {
        self.writer.encoder()
    }

    fn append(&mut self, part: Encoded, _: &mut Findings) -> Result<()> {
        let sink = self.sink.as_mut().ok_or_else(after_the_end)?;
        let bytes = part.bytes;
        self.records += part.records;
        sink.append(part).map_err(|e| failed(&self.name, e))?;
        self.flusher.wrote(bytes).map_err(|e| failed(&self.name, unflushed(e)))
    }

    fn prepare(&mut self, _: &mut Findings) -> Result<Loaded> {
        let sink = self.sink.take().ok_or_else(after_the_end)?;
        self.bytes = sink.finish().map_err(|e| failed(&self.name, e))?;
        self.flusher.finish().map_err(|e| failed(&self.name, unflushed(e)))?;
        Ok(self.loaded())
    }

    fn publish(&mut self) -> Result<Loaded> {
        if self.sink.is_some() {
            return Err(Error::internal(format!("`{}` was published unprepared", self.name)));
        }
        self.hidden.replace_file(&self.path)?;
        Ok(self.loaded())
    }

    fn abort(self: Box<Self>) {}
}

impl Single {
    fn loaded(&self) -> Loaded {
        let (path, records, bytes) = (self.path.clone(), self.records, self.bytes);
        let files = vec![PublishedFile { path, records, bytes }];
        Loaded { inserted: records, bytes, files, ..Loaded::default() }
    }
}

pub(crate) fn after_the_end() -> Error {
    Error::internal("a destination was written to after it was finished")
}
