//! Where replayed records stood in the first place.
//!
//! Mended records are read from files made for the purpose. What is rejected again has its place
//! there, which says nothing to anybody and is gone after the run; its place in the source that it
//! came from is kept beside the records, and put back.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use gristmill_core::{Error, RejectLine, Result};

use super::lines;
use crate::report::Report;

/// A file of mended records in the making.
pub(super) struct Part {
    source: String,
    path: PathBuf,
    out: BufWriter<File>,
    places: BufWriter<File>,
    position: u64,
}

impl Part {
    /// Starts the file `path` for records of `source`.
    pub(super) fn create(source: &str, path: PathBuf) -> Result<Self> {
        let open = |path: &Path| {
            let file = File::options().read(true).write(true).create_new(true).open(path);
            file.map_err(|error| Error::io(format!("cannot write `{}`", path.display()), error))
        };
        let out = BufWriter::new(open(&path)?);
        let places = BufWriter::new(open(&path.with_extension("places"))?);
        Ok(Self { source: source.to_owned(), path, out, places, position: 0 })
    }

    /// Adds a mended record, as one line if `one_line`, and remembers where it was.
    pub(super) fn add(&mut self, line: &RejectLine, one_line: bool) -> io::Result<()> {
        let place = Place {
            begin: self.position,
            record: line.record,
            line: line.line,
            offset: line.offset,
            length: line.length,
        };
        self.places.write_all(&place.to_bytes())?;
        if one_line {
            // Within JSON, a line end is a blank.
            writeln!(self, "{}", line.raw.replace(['\n', '\r'], " "))
        } else {
            writeln!(self, "{}", line.raw)
        }
    }
}

impl Write for Part {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.position += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()?;
        self.places.flush()
    }
}

/// Where a record of a part begins, and where it was in its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    begin: u64,
    record: u64,
    line: Option<u64>,
    offset: Option<u64>,
    length: Option<u64>,
}

impl Place {
    const SIZE: u64 = 40;

    fn to_bytes(self) -> [u8; Self::SIZE as usize] {
        let known = |number: Option<u64>| number.unwrap_or(u64::MAX);
        let numbers =
            [self.begin, self.record, known(self.line), known(self.offset), known(self.length)];
        let mut bytes = [0; Self::SIZE as usize];
        for (slot, number) in bytes.chunks_exact_mut(8).zip(numbers) {
            slot.copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    fn of_bytes(bytes: [u8; Self::SIZE as usize]) -> Self {
        let mut numbers = bytes.chunks_exact(8).map(|slot| {
            slot.iter().rev().fold(0u64, |number, byte| number << 8 | u64::from(*byte))
        });
        let mut next = || numbers.next().unwrap_or_default();
        let (begin, record) = (next(), next());
        let mut known = || Some(next()).filter(|number| *number != u64::MAX);
        Self { begin, record, line: known(), offset: known(), length: known() }
    }
}

/// The places of all replayed records, by the name of the file that they are read from.
pub(super) struct Places {
    parts: BTreeMap<String, (String, File)>,
}

impl Places {
    /// Completes the files.
    pub(super) fn of(parts: impl IntoIterator<Item = Part>) -> Result<Self> {
        let failed = |error| Error::io("cannot write the mended records", error);
        let mut places = BTreeMap::new();
        for mut part in parts {
            part.flush().map_err(failed)?;
            let file = part.places.into_inner().map_err(|error| failed(error.into_error()))?;
            places.insert(file_name(&part.path.to_string_lossy()), (part.source, file));
        }
        Ok(Self { parts: places })
    }

    /// Puts the places of the records in their sources into the report and the rejects file.
    pub(super) fn restore(&mut self, report: &mut Report, rejects: &Path) -> Result<()> {
        let mut first = BTreeMap::new();
        if report.rejects_file.is_some() {
            self.rewrite(rejects, |line| {
                for reason in &line.errors {
                    let key = (reason.field.as_deref().map(str::to_owned), reason.rule.to_string());
                    first.entry(key).or_insert((line.source.clone(), line.record, line.line));
                }
            })?;
        }
        for tally in &mut report.rejected_by {
            let key = (tally.field.clone(), tally.rule.clone());
            if let Some(place) = first.remove(&key) {
                (tally.source, tally.record, tally.line) = place;
            }
        }
        for source in &mut report.sources {
            if let Some((name, _)) = self.parts.get(&file_name(&source.name)) {
                source.name = name.as_str().into();
            }
        }
        Ok(())
    }

    fn rewrite(&mut self, rejects: &Path, mut see: impl FnMut(&RejectLine)) -> Result<()> {
        let failed = |error| Error::io(format!("cannot write `{}`", rejects.display()), error);
        let folder = rejects.parent().filter(|folder| !folder.as_os_str().is_empty());
        let file = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")));
        let mut out = BufWriter::new(file.map_err(failed)?);
        for line in lines(rejects)? {
            let mut line = line?;
            self.put_back(&mut line).map_err(failed)?;
            see(&line);
            serde_json::to_writer(&mut out, &line)
                .map_err(io::Error::from)
                .and_then(|()| out.write_all(b"\n"))
                .map_err(failed)?;
        }
        let file = out.into_inner().map_err(|error| failed(error.into_error()))?;
        // Others may read it, as they may read the file that it replaces.
        fs::set_permissions(file.path(), fs::metadata(rejects).map_err(failed)?.permissions())
            .map_err(failed)?;
        file.persist(rejects).map_err(|error| failed(error.error))?;
        Ok(())
    }

    fn put_back(&mut self, line: &mut RejectLine) -> io::Result<()> {
        let Some((source, places)) = self.parts.get_mut(&file_name(&line.source)) else {
            return Ok(());
        };
        let Some(offset) = line.offset else { return Ok(()) };
        let Some(place) = find(places, offset)? else { return Ok(()) };
        line.source.clone_from(source);
        line.record = place.record;
        line.line = place.line;
        line.offset = place.offset;
        line.length = place.length;
        Ok(())
    }
}

/// The last place that begins at `offset` or before it.
fn find(places: &mut File, offset: u64) -> io::Result<Option<Place>> {
    let (mut low, mut high) = (0, places.seek(SeekFrom::End(0))? / Place::SIZE);
    let mut found = None;
    while low < high {
        let middle = low + (high - low) / 2;
        places.seek(SeekFrom::Start(middle * Place::SIZE))?;
        let mut bytes = [0; Place::SIZE as usize];
        places.read_exact(&mut bytes)?;
        let place = Place::of_bytes(bytes);
        if place.begin <= offset {
            found = Some(place);
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(found)
}

fn file_name(path: &str) -> String {
    Path::new(path).file_name().unwrap_or_default().to_string_lossy().into_owned()
}
