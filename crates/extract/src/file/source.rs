//! One input: opened as often as it is needed, decompressed, its bytes counted.

use std::fs;
use std::io::{self, Cursor, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use gristmill_core::{Error, ErrorKind, Result};
use gristmill_format::Format;
use gristmill_format::compression::{self, Compression, PREFIX};
use tempfile::NamedTempFile;
use xxhash_rust::xxh3::Xxh3Default;

use super::paths::{self, Found};

/// An input and what is known about it.
#[derive(Debug)]
pub(super) struct Source {
    pub name: Arc<str>,
    pub format: Format,
    path: Option<PathBuf>,
    base: PathBuf,
    compression: Option<Compression>,
    stamp: Option<Stamp>,
    /// The input as it came, for one that cannot be read twice.
    spooled: Option<NamedTempFile>,
    /// The decompressed input, for formats that are read at any position.
    unpacked: Option<NamedTempFile>,
}

/// What a file looked like when it was first opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    size: u64,
    modified: Option<SystemTime>,
}

impl Source {
    pub(super) fn new(
        found: Found,
        format: Format,
        compression: Option<Compression>,
        base: &Path,
    ) -> Result<Self> {
        let stamp = match &found.path {
            None => None,
            Some(path) => {
                stamp(path).map_err(|error| paths::unopened(&found.name, path, base, error))?
            }
        };
        Ok(Self {
            name: found.name,
            format,
            path: found.path,
            base: base.to_owned(),
            compression,
            stamp,
            spooled: None,
            unpacked: None,
        })
    }

    /// Its path, or its name where there is none: what options may depend on.
    pub(super) fn path(&self) -> &Path {
        self.path.as_deref().unwrap_or(Path::new(&*self.name))
    }

    /// Its size before decompression, where it has one.
    pub(super) fn size(&self) -> Option<u64> {
        self.stamp.map(|stamp| stamp.size)
    }

    /// When it was changed last, where that is known.
    pub(super) fn modified(&self) -> Option<SystemTime> {
        self.stamp.and_then(|stamp| stamp.modified)
    }

    /// A hash of its bytes as they are stored: XXH3 of 128 bits, in hexadecimal.
    pub(super) fn hash(&self) -> Result<String> {
        let mut input = self.raw(&Arc::default())?;
        let mut hasher = Xxh3Default::new();
        let mut buffer = vec![0; 256 << 10];
        loop {
            match input.read(&mut buffer) {
                Ok(0) => return Ok(format!("{:032x}", hasher.digest128())),
                Ok(n) => hasher.update(&buffer[..n]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(compression::read_error(&self.name, error)),
            }
        }
    }

    /// Whether it can be read again from the start. A pipe cannot.
    pub(super) fn is_rereadable(&self) -> bool {
        self.stamp.is_some() || self.spooled.is_some()
    }

    /// Makes it readable again by copying it into `scratch`, if it is not.
    pub(super) fn make_rereadable(&mut self, scratch: &Path) -> Result<()> {
        if self.is_rereadable() {
            return Ok(());
        }
        let mut input = self.raw(&Arc::default())?;
        self.spooled = Some(copy(&self.name, &mut input, scratch)?);
        Ok(())
    }

    /// The decompressed bytes from the start. `bytes` counts what is read before decompression;
    /// `note` is told when the content is not what the name says.
    pub(super) fn text(
        &self,
        bytes: &Arc<AtomicU64>,
        note: impl FnOnce(String),
    ) -> Result<Box<dyn Read + Send>> {
        let (compression, input) = self.sniffed(self.raw(bytes)?, note)?;
        compression.decoder(&self.name, input)
    }

    /// The decompressed bytes as a file that can be read at any position.
    pub(super) fn file(&mut self, scratch: &Path, note: impl FnOnce(String)) -> Result<fs::File> {
        if let Some(unpacked) = &self.unpacked {
            return self.reopen(unpacked);
        }
        let (compression, input) = self.sniffed(self.raw(&Arc::default())?, note)?;
        if let (Compression::None, Some(path), Some(_)) = (compression, &self.path, self.stamp) {
            return self.open_path(path);
        }
        let mut input = compression.decoder(&self.name, input)?;
        let unpacked = copy(&self.name, &mut input, scratch)?;
        let file = self.reopen(&unpacked)?;
        self.unpacked = Some(unpacked);
        Ok(file)
    }

    /// Drops copies that were made of it.
    pub(super) fn forget_copies(&mut self) {
        self.spooled = None;
        self.unpacked = None;
    }

    fn raw(&self, bytes: &Arc<AtomicU64>) -> Result<Box<dyn Read + Send>> {
        let inner: Box<dyn Read + Send> = match (&self.spooled, &self.path) {
            (Some(spooled), _) => Box::new(self.reopen(spooled)?),
            (None, Some(path)) => Box::new(self.open_path(path)?),
            (None, None) => Box::new(io::stdin()),
        };
        Ok(Box::new(Counted { inner, bytes: Arc::clone(bytes) }))
    }

    fn open_path(&self, path: &Path) -> Result<fs::File> {
        let unopened = |error| paths::unopened(&self.name, path, &self.base, error);
        let file = fs::File::open(path).map_err(unopened)?;
        if self.stamp.is_some() && stamp(path).map_err(unopened)? != self.stamp {
            let message = format!("`{}` was changed while it was read", self.name);
            return Err(Error::new(ErrorKind::Io, message)
                .hint("run again when nobody writes to it; a writer should rename a file into place when it is whole"));
        }
        Ok(file)
    }

    fn reopen(&self, copy: &NamedTempFile) -> Result<fs::File> {
        let mut file = copy.reopen().map_err(|error| unspooled(&self.name, error))?;
        file.rewind().map_err(|error| unspooled(&self.name, error))?;
        Ok(file)
    }

    /// The compression: what was said, else what the content says.
    fn sniffed(
        &self,
        mut input: Box<dyn Read + Send>,
        note: impl FnOnce(String),
    ) -> Result<(Compression, Box<dyn Read + Send>)> {
        let mut prefix = Vec::with_capacity(PREFIX);
        (&mut input)
            .take(PREFIX as u64)
            .read_to_end(&mut prefix)
            .map_err(|error| compression::read_error(&self.name, error))?;
        let content = Compression::of_content(&prefix);
        let named = Compression::of_name(self.path());
        let compression = match self.compression {
            Some(said) => said,
            // Too short to tell: let the decoder that the name asks for say what is missing.
            None if prefix.len() < 4 => named,
            None => {
                if content != named {
                    let name = &self.name;
                    note(match content {
                        Compression::None => {
                            format!("`{name}` is not compressed, though its name says so")
                        }
                        _ => format!(
                            "`{name}` is compressed with {content}, which its name does not say"
                        ),
                    });
                }
                content
            }
        };
        Ok((compression, Box::new(Cursor::new(prefix).chain(input))))
    }
}

/// What a regular file looks like now; `None` for pipes and devices.
fn stamp(path: &Path) -> io::Result<Option<Stamp>> {
    let metadata = path.metadata()?;
    let stamp = Stamp { size: metadata.len(), modified: metadata.modified().ok() };
    Ok(metadata.is_file().then_some(stamp))
}

fn copy(name: &str, input: &mut dyn Read, scratch: &Path) -> Result<NamedTempFile> {
    let failed = |error| unspooled(name, error);
    fs::create_dir_all(scratch).map_err(failed)?;
    let mut copy = NamedTempFile::new_in(scratch).map_err(failed)?;
    let mut buffer = vec![0; 256 << 10];
    loop {
        let n = match input.read(&mut buffer) {
            Ok(0) => return Ok(copy),
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(compression::read_error(name, error)),
        };
        io::Write::write_all(&mut copy, &buffer[..n]).map_err(failed)?;
    }
}

fn unspooled(name: &str, error: io::Error) -> Error {
    Error::io(format!("cannot keep a temporary copy of `{name}`"), error)
        .hint("it is needed because the input is read twice; `TMPDIR` says where copies are kept")
}

struct Counted {
    inner: Box<dyn Read + Send>,
    bytes: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.bytes.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}
