//! The files of a folder, while they are written.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gristmill_core::{Encoded, Error, Result};
use gristmill_format::{Sink, Writer};
use indexmap::IndexMap;

use super::below;
use crate::file::failed;
use crate::file::flush::Flushes;
use crate::file::out::Out;

/// Files that are written to at the same time. Records of a partition whose file was closed to
/// make room go into its next file.
const MAX_OPEN: usize = 64;

/// A file that is complete.
pub(super) struct Part {
    /// Its path below the folder.
    pub(super) path: PathBuf,
    pub(super) records: u64,
    pub(super) bytes: u64,
}

/// A file being written.
struct OpenPart {
    path: PathBuf,
    file: Arc<File>,
    sink: Box<dyn Sink>,
    records: u64,
    /// Written since it was flushed last.
    unflushed: u64,
}

/// How much of a file is written between two flushes.
const STEP: u64 = 1 << 20;

/// Where files of a folder are made, and how they are called.
pub(super) struct Place {
    /// The folder as messages say it.
    pub(super) name: String,
    pub(super) folder: PathBuf,
    /// What file names start and end with, beside their number.
    pub(super) start: String,
    pub(super) end: String,
    pub(super) max_file_size: Option<u64>,
}

/// Files by partition.
pub(super) struct Parts {
    place: Place,
    writer: Arc<dyn Writer>,
    /// Files being written; the one used last is the last.
    open: IndexMap<String, OpenPart>,
    /// Files begun in each partition.
    begun: IndexMap<String, u32>,
    complete: Vec<Part>,
    flushes: Flushes,
}

impl Parts {
    pub(super) fn new(place: Place, writer: Arc<dyn Writer>) -> Self {
        Self {
            place,
            writer,
            open: IndexMap::new(),
            begun: IndexMap::new(),
            complete: Vec::new(),
            flushes: Flushes::default(),
        }
    }

    /// Whether no file was begun.
    pub(super) fn is_empty(&self) -> bool {
        self.begun.is_empty()
    }

    /// Appends what was encoded to the file of its partition, or to the partition's next file.
    pub(super) fn write(&mut self, partition: String, encoded: Encoded) -> Result<()> {
        if let Some((partition, part)) = self.open.shift_remove_entry(&partition) {
            if self.has_room(&part, &encoded) {
                self.open.insert(partition, part);
            } else {
                self.complete(part)?;
            }
        }
        if !self.open.contains_key(&partition) {
            self.begin(&partition)?;
            if self.open.len() > MAX_OPEN
                && let Some((_, oldest)) = self.open.shift_remove_index(0)
            {
                self.complete(oldest)?;
            }
        }
        let Some(part) = self.open.get_mut(&partition) else { return Ok(()) };
        part.records += encoded.records;
        part.unflushed += encoded.bytes;
        part.sink.append(encoded).map_err(|e| failed(&below(&self.place.name, &part.path), e))?;
        if part.unflushed >= STEP {
            part.unflushed = 0;
            let name = below(&self.place.name, &part.path);
            self.flushes.data(name, Arc::clone(&part.file))?;
        }
        Ok(())
    }

    /// Begins a file, empty but for what every file of the format has.
    pub(super) fn begin(&mut self, partition: &str) -> Result<()> {
        let number = self.begun.entry(partition.to_owned()).or_insert(0);
        let file = format!("{}{number:05}{}", self.place.start, self.place.end);
        *number += 1;
        let path = Path::new(partition).join(file);
        let target = self.place.folder.join(&path);
        let writing = |e| failed(&below(&self.place.name, &path), e);
        let creating = |e| writing(Error::io("cannot create it", e));
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder).map_err(creating)?;
        }
        let file = Arc::new(File::create_new(&target).map_err(creating)?);
        let out = BufWriter::with_capacity(32 << 10, Out(Arc::clone(&file)));
        let sink = self.writer.sink(Box::new(out)).map_err(writing)?;
        let part = OpenPart { path, file, sink, records: 0, unflushed: 0 };
        self.open.insert(partition.to_owned(), part);
        Ok(())
    }

    /// Completes all files and makes them, and the names of the folder, durable. They come out by
    /// name.
    pub(super) fn finish(&mut self) -> Result<Vec<Part>> {
        for (_, part) in std::mem::take(&mut self.open) {
            self.complete(part)?;
        }
        self.complete.sort_by(|a, b| a.path.cmp(&b.path));
        for folder in folders(self.complete.iter().map(|part| part.path.as_path())) {
            self.flushes.folder(self.place.folder.join(folder))?;
        }
        self.flushes.finish()?;
        Ok(std::mem::take(&mut self.complete))
    }

    /// A file takes at least one piece, and no further one that takes it past the size.
    fn has_room(&self, part: &OpenPart, next: &Encoded) -> bool {
        let max = self.place.max_file_size;
        part.records == 0 || max.is_none_or(|max| part.sink.bytes_written() + next.bytes <= max)
    }

    fn complete(&mut self, part: OpenPart) -> Result<()> {
        let OpenPart { path, file, sink, records, .. } = part;
        let name = below(&self.place.name, &path);
        let bytes = sink.finish().map_err(|e| failed(&name, e))?;
        self.flushes.all(name, file)?;
        self.complete.push(Part { path, records, bytes });
        Ok(())
    }
}

/// The folders of some files, the outermost (empty) one included, inner ones first.
pub(super) fn folders<'a>(files: impl Iterator<Item = &'a Path>) -> Vec<&'a Path> {
    let mut folders: Vec<&Path> =
        files.flat_map(|file| file.ancestors().skip(1)).chain([Path::new("")]).collect();
    folders.sort_by(|a, b| b.cmp(a));
    folders.dedup();
    folders
}
