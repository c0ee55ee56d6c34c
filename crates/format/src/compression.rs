//! Compression of whole files: told by name or by content, undone while reading, done part by part.
//!
//! A decoder reads files of several members (concatenated gzip files, Zstandard and LZ4 frames,
//! bzip2 streams) to their end. A file that stops in the middle of a member is an error and never
//! a short success, and so is anything that follows the last member and is not one itself.
//!
//! A decoder's [`Read`] fails with an [`io::Error`] whose text is a whole sentence about the file
//! and whose kind is [`io::ErrorKind::UnexpectedEof`] for a truncated file and
//! [`io::ErrorKind::InvalidData`] for a damaged one. Readers turn it into the error that crosses
//! stage boundaries with [`read_error`].

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use std::sync::Arc;

use gristmill_core::{Error, ErrorKind, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a file is compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// gzip (`.gz`).
    Gzip,
    /// Zstandard (`.zst`).
    Zstd,
    /// bzip2 (`.bz2`).
    Bzip2,
    /// LZ4 frames (`.lz4`).
    Lz4,
}

/// Bytes that [`Compression::of_content`] wants to see.
pub const PREFIX: usize = 10;

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const BZIP2: &[u8] = b"BZh";
const BZIP2_BLOCK: &[u8] = &[0x31, 0x41, 0x59, 0x26, 0x53, 0x59];
const BZIP2_END: &[u8] = &[0x17, 0x72, 0x45, 0x38, 0x50, 0x90];
const LZ4: &[u8] = &[0x04, 0x22, 0x4d, 0x18];

impl Compression {
    /// The compression that a file's name says.
    pub fn of_name(path: &Path) -> Self {
        let extension = path.extension().and_then(|ext| ext.to_str()).unwrap_or_default();
        match extension.to_ascii_lowercase().as_str() {
            "gz" | "gzip" => Compression::Gzip,
            "zst" | "zstd" => Compression::Zstd,
            "bz2" => Compression::Bzip2,
            "lz4" => Compression::Lz4,
            _ => Compression::None,
        }
    }

    /// The compression that a file's first bytes say; [`PREFIX`] of them are enough, where the
    /// file has so many.
    pub fn of_content(prefix: &[u8]) -> Self {
        if prefix.starts_with(GZIP) {
            Compression::Gzip
        } else if prefix.starts_with(ZSTD) || is_skippable(prefix) {
            Compression::Zstd
        } else if prefix.starts_with(LZ4) {
            Compression::Lz4
        } else if is_bzip2(prefix) {
            Compression::Bzip2
        } else {
            Compression::None
        }
    }

    /// The extension that files so compressed get behind their format's; empty for `None`.
    pub fn extension(self) -> &'static str {
        match self {
            Compression::None => "",
            Compression::Gzip => "gz",
            Compression::Zstd => "zst",
            Compression::Bzip2 => "bz2",
            Compression::Lz4 => "lz4",
        }
    }

    /// Reads the text of a compressed input. `name` is what messages call it. Reads the first
    /// bytes to see that they are what they should be; see the module about what later reads
    /// promise.
    ///
    /// # Errors
    /// When the input cannot be read, is empty, or begins with something else.
    pub fn decoder(self, name: &str, input: Box<dyn Read + Send>) -> Result<Box<dyn Read + Send>> {
        if self == Compression::None {
            return Ok(input);
        }
        let input = BufReader::with_capacity(BUFFER, Source { inner: input, ended: false });
        let mut decoder = Decoder {
            name: name.into(),
            compression: self,
            state: State::Between(input),
            members: 0,
            text: 0,
        };
        match decoder.next_member() {
            Ok(_) => Ok(Box::new(decoder)),
            Err(error) => Err(read_error(name, error)),
        }
    }

    /// Compresses `bytes` into one complete member. Members can be written one after the other
    /// into one file, which is how workers compress a file together; a file with no text is one
    /// member of no bytes. The same bytes give the same result everywhere.
    ///
    /// # Errors
    /// When memory runs out.
    pub fn compress(self, bytes: &[u8]) -> Result<Vec<u8>> {
        let failed = |error| Error::io(format!("cannot compress with {self}"), error);
        match self {
            Compression::None => Ok(bytes.to_vec()),
            Compression::Gzip => gzip(bytes).map_err(failed),
            Compression::Zstd => zstd(bytes).map_err(failed),
            Compression::Bzip2 => bzip2(bytes).map_err(failed),
            Compression::Lz4 => lz4(bytes).map_err(failed),
        }
    }

    /// The bytes that every file so compressed begins with.
    fn magic(self) -> &'static [u8] {
        match self {
            Compression::None => &[],
            Compression::Gzip => GZIP,
            Compression::Zstd => ZSTD,
            Compression::Bzip2 => BZIP2,
            Compression::Lz4 => LZ4,
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Zstd => "zstd",
            Compression::Bzip2 => "bzip2",
            Compression::Lz4 => "lz4",
        })
    }
}

/// The error for a failed read of the input that messages call `name`, whether it came through a
/// decoder or straight from a file.
pub fn read_error(name: &str, error: io::Error) -> Error {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Damage>()) {
        Some(damage) => Error::new(damage.kind, damage.to_string()).hint(damage.hint),
        None => Error::io(format!("cannot read `{name}`"), error),
    }
}

/// What is wrong with a compressed input.
#[derive(Debug, Clone)]
struct Damage {
    kind: ErrorKind,
    message: String,
    hint: &'static str,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Damage {}

impl From<Damage> for io::Error {
    fn from(damage: Damage) -> Self {
        let kind = match damage.kind {
            ErrorKind::Truncated => io::ErrorKind::UnexpectedEof,
            ErrorKind::Io => io::ErrorKind::Other,
            _ => io::ErrorKind::InvalidData,
        };
        io::Error::new(kind, damage)
    }
}

const BUFFER: usize = 64 << 10;

type Input = BufReader<Source>;

/// The compressed bytes. Marks its own errors, so that they are not taken for damage of the data,
/// and remembers whether somebody wanted to read past the end.
struct Source {
    inner: Box<dyn Read + Send>,
    ended: bool,
}

impl Read for Source {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.inner.read(buf) {
                Ok(n) => {
                    self.ended |= n == 0 && !buf.is_empty();
                    return Ok(n);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(io::Error::new(error.kind(), SourceError(error))),
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct SourceError(io::Error);

struct Decoder {
    name: Arc<str>,
    compression: Compression,
    state: State,
    members: u64,
    text: u64,
}

enum State {
    Between(Input),
    Gzip(Box<flate2::bufread::GzDecoder<Input>>),
    Zstd(zstd::stream::read::Decoder<'static, Input>),
    Bzip2(bzip2::bufread::BzDecoder<Input>),
    Lz4(Box<lz4_flex::frame::FrameDecoder<Input>>),
    Over,
    Failed(Damage),
}

impl Read for Decoder {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        loop {
            let read = match &mut self.state {
                State::Over => return Ok(0),
                State::Failed(damage) => return Err(damage.clone().into()),
                State::Between(_) => {
                    if !self.next_member()? {
                        return Ok(0);
                    }
                    continue;
                }
                State::Gzip(member) => member.read(buf),
                State::Zstd(member) => member.read(buf),
                State::Bzip2(member) => member.read(buf),
                State::Lz4(member) => member.read(buf),
            };
            match read {
                Ok(0) => self.end_member()?,
                Ok(n) => {
                    self.text += n as u64;
                    return Ok(n);
                }
                Err(error) => return Err(self.explain(error)),
            }
        }
    }
}

impl Decoder {
    /// Goes into the next member; false at the end of the input. Only between members.
    fn next_member(&mut self) -> io::Result<bool> {
        let State::Between(mut input) = std::mem::replace(&mut self.state, State::Over) else {
            return Ok(false);
        };
        if self.compression == Compression::Gzip && self.members > 0 {
            // Padding of tapes, which gzip itself allows.
            skip_zeros(&mut input).map_err(|error| self.lost(error))?;
        }
        let prefix = input.fill_buf().map_err(|error| self.lost(error))?;
        if prefix.is_empty() && self.members > 0 {
            return Ok(false);
        }
        if prefix.is_empty() {
            let message =
                format!("`{}` is empty: {} data has a header", self.name, self.compression);
            return Err(self.fail(ErrorKind::Truncated, message));
        }
        let magic = self.compression.magic();
        let seen = prefix.len().min(magic.len());
        let skippable = self.compression == Compression::Zstd && is_skippable(prefix);
        if prefix[..seen] != magic[..seen] && !skippable {
            return Err(self.foreign());
        }
        self.members += 1;
        self.state = match self.compression {
            Compression::None => State::Between(input),
            Compression::Gzip => State::Gzip(Box::new(flate2::bufread::GzDecoder::new(input))),
            Compression::Zstd => {
                let member = zstd::stream::read::Decoder::with_buffer(input);
                State::Zstd(member.map_err(|error| self.lost(error))?.single_frame())
            }
            Compression::Bzip2 => State::Bzip2(bzip2::bufread::BzDecoder::new(input)),
            Compression::Lz4 => State::Lz4(Box::new(lz4_flex::frame::FrameDecoder::new(input))),
        };
        Ok(true)
    }

    fn end_member(&mut self) -> io::Result<()> {
        let input = match std::mem::replace(&mut self.state, State::Over) {
            State::Gzip(member) => member.into_inner(),
            State::Zstd(member) => member.finish(),
            State::Bzip2(member) => member.into_inner(),
            State::Lz4(member) => {
                let input = member.into_inner();
                // This decoder takes the end of the input for the end of the frame.
                if input.get_ref().ended {
                    return Err(self.truncated());
                }
                input
            }
            other => {
                self.state = other;
                return Ok(());
            }
        };
        self.state = State::Between(input);
        Ok(())
    }

    fn explain(&mut self, error: io::Error) -> io::Error {
        if error.get_ref().is_some_and(|inner| inner.is::<SourceError>()) {
            return unmark(error);
        }
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return self.truncated();
        }
        let message = format!(
            "`{}` is damaged: its {} data cannot be decoded after {} bytes of text ({error})",
            self.name, self.compression, self.text
        );
        self.fail(ErrorKind::Corrupt, message)
    }

    /// The source failed where no member is open to be read again.
    fn lost(&mut self, error: io::Error) -> io::Error {
        let message = format!("`{}` could not be read on", self.name);
        drop(self.fail(ErrorKind::Io, message));
        unmark(error)
    }

    fn truncated(&mut self) -> io::Error {
        let message = format!(
            "`{}` ends in the middle of its {} data after {} bytes of text",
            self.name, self.compression, self.text
        );
        self.fail(ErrorKind::Truncated, message)
    }

    fn foreign(&mut self) -> io::Error {
        let message = if self.members == 0 {
            format!("`{}` is not {} data", self.name, self.compression)
        } else {
            format!(
                "`{}` goes on with something else behind its {} data, after {} bytes of text",
                self.name, self.compression, self.text
            )
        };
        self.fail(ErrorKind::Corrupt, message)
    }

    /// Stays failed: whoever reads on must not take it for the end.
    fn fail(&mut self, kind: ErrorKind, message: String) -> io::Error {
        let hint = match kind {
            ErrorKind::Truncated => "it was cut off while it was written or copied: get it again",
            ErrorKind::Io => "read it again from its beginning",
            _ if self.members == 0 => "say what it is with `compression:`, or rename the file",
            _ => "it was damaged while it was written or copied: get it again",
        };
        let damage = Damage { kind, message, hint };
        self.state = State::Failed(damage.clone());
        damage.into()
    }
}

fn unmark(error: io::Error) -> io::Error {
    let kind = error.kind();
    match error.into_inner().map(|inner| inner.downcast::<SourceError>()) {
        Some(Ok(source)) => source.0,
        Some(Err(other)) => io::Error::new(kind, other),
        None => kind.into(),
    }
}

fn skip_zeros(input: &mut Input) -> io::Result<()> {
    loop {
        let bytes = input.fill_buf()?;
        let zeros = bytes.iter().take_while(|&&b| b == 0).count();
        if zeros == 0 {
            return Ok(());
        }
        input.consume(zeros);
    }
}

/// A frame of user data that Zstandard decoders skip (RFC 8878, section 3.1.2); parallel
/// compressors begin files with one.
fn is_skippable(prefix: &[u8]) -> bool {
    matches!(prefix, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..])
}

fn is_bzip2(prefix: &[u8]) -> bool {
    // Text may well begin with "BZh1": the block's own magic decides where it can be seen.
    let Some([level, block @ ..]) = prefix.strip_prefix(BZIP2) else { return false };
    let seen = block.len().min(BZIP2_BLOCK.len());
    (b'1'..=b'9').contains(level)
        && (block[..seen] == BZIP2_BLOCK[..seen] || block[..seen] == BZIP2_END[..seen])
}

fn gzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    // The encoder leaves time and system out of the header.
    let out = Vec::with_capacity(bytes.len() / 4 + 64);
    let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::default());
    encoder.write_all(bytes)?;
    encoder.finish()
}

fn zstd(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = zstd::stream::write::Encoder::new(
        Vec::with_capacity(bytes.len() / 4 + 64),
        zstd::DEFAULT_COMPRESSION_LEVEL,
    )?;
    encoder.include_checksum(true)?;
    encoder.set_pledged_src_size(Some(bytes.len() as u64))?;
    encoder.write_all(bytes)?;
    encoder.finish()
}

fn bzip2(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let out = Vec::with_capacity(bytes.len() / 4 + 64);
    let mut encoder = bzip2::write::BzEncoder::new(out, bzip2::Compression::best());
    encoder.write_all(bytes)?;
    encoder.finish()
}

fn lz4(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let frame = lz4_flex::frame::FrameInfo::new()
        .block_size(lz4_flex::frame::BlockSize::Max1MB)
        .content_checksum(true)
        .content_size(Some(bytes.len() as u64));
    let out = Vec::with_capacity(bytes.len() / 2 + 64);
    let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(frame, out);
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}
