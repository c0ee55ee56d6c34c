//! Cutting an input at record ends, forward, on one thread. What is cut off follows the bytes of
//! the input and the sizes alone, not how much a read returns.

use std::io::Read;
use std::sync::Arc;

use bytes::Bytes;
use gristmill_core::reject::MAX_RAW;
use gristmill_core::{Error, ErrorKind, Result, Span};

use super::document::Document;
use super::lines::Lines;
use super::{Layout, ReadOptions};
use crate::Sizes;
use crate::buffer::{Buffer, Pool};
use crate::simd::PAD;

/// A piece of the input that ends where a record ends.
pub(super) struct Cut {
    /// Its bytes, and [`PAD`] more that mean nothing.
    pub(super) padded: Bytes,
    /// Position of the first byte in the input.
    pub(super) offset: u64,
    pub(super) records: Records,
    /// A record that is too long and of which only the beginning is here: the last one.
    pub(super) cut_short: Option<Span>,
}

impl Cut {
    /// Its bytes. Pieces tile the input, but for the tails of records that are too long.
    pub(super) fn text(&self) -> &[u8] {
        &self.padded[..self.padded.len() - PAD]
    }
}

/// Which bytes of a cut are records.
pub(super) enum Records {
    /// Every line that is not blank.
    Lines,
    /// These.
    Spans(Vec<Span>),
}

/// The span of a record that may be longer than a span can say.
pub(super) fn long_span(start: usize, len: u64) -> Span {
    Span { start: start as u32, len: u32::try_from(len).unwrap_or(u32::MAX) }
}

/// Cuts one input.
pub(super) enum Cutter {
    Lines(Lines),
    Document(Document),
}

impl Cutter {
    pub(super) fn new(
        name: &Arc<str>,
        input: Box<dyn Read + Send>,
        layout: Layout,
        options: &ReadOptions,
        sizes: Sizes,
    ) -> Result<Self> {
        if let Some(mistake) = options.check(layout).into_iter().next() {
            let error =
                Error::new(ErrorKind::Configuration, format!("`{name}`: {}", mistake.message));
            return Err(match mistake.hint {
                Some(hint) => error.hint(hint),
                None => error,
            });
        }
        let sizes = Sizes { chunk: sizes.chunk.max(1), ..sizes };
        let source = Source {
            name: Arc::clone(name),
            input,
            sizes,
            // As much as is buffered before a cut is found, if records are short.
            buffer: Buffer::new(Pool::new(sizes.chunk.saturating_add(2 * STEP))),
            offset: 0,
            begun: false,
            bom: false,
        };
        Ok(match layout {
            Layout::Lines => Cutter::Lines(Lines::new(source)),
            Layout::Document => Cutter::Document(Document::new(source, options.path())),
        })
    }

    pub(super) fn next(&mut self) -> Result<Option<Cut>> {
        match self {
            Cutter::Lines(lines) => lines.next(),
            Cutter::Document(document) => document.next(),
        }
    }

    /// Whether the input began with a byte order mark.
    pub(super) fn bom(&self) -> bool {
        match self {
            Cutter::Lines(lines) => lines.source.bom,
            Cutter::Document(document) => document.source.bom,
        }
    }
}

/// An input and what was read of it and not yet cut off.
pub(super) struct Source {
    pub(super) name: Arc<str>,
    input: Box<dyn Read + Send>,
    pub(super) sizes: Sizes,
    pub(super) buffer: Buffer,
    /// Position of the buffer's first byte in the input.
    pub(super) offset: u64,
    begun: bool,
    bom: bool,
}

/// How many bytes are read at a time where the next cut is not foreseen.
const STEP: usize = 1 << 20;

impl Source {
    /// Reads until the buffer has `len` bytes or the input ends.
    pub(super) fn fill(&mut self, len: usize) -> Result<()> {
        if !self.begun {
            self.begun = true;
            self.read_to(3)?;
            let text = self.buffer.text();
            if text.starts_with(b"\xef\xbb\xbf") {
                self.bom = true;
                self.offset = 3;
                self.buffer.skip(3);
            } else if text.starts_with(b"\xff\xfe") || text.starts_with(b"\xfe\xff") {
                let message = format!("`{}` is UTF-16, and JSON is UTF-8", self.name);
                return Err(Error::new(ErrorKind::Corrupt, message)
                    .hint("convert it first, for example with `iconv -f UTF-16 -t UTF-8`"));
            }
        }
        self.read_to(len)
    }

    fn read_to(&mut self, len: usize) -> Result<()> {
        self.buffer
            .fill(&mut self.input, len)
            .map_err(|error| Error::io(format!("cannot read `{}`", self.name), error))
    }

    /// What was read and not yet cut off.
    pub(super) fn text(&self) -> &[u8] {
        self.buffer.text()
    }

    /// Whether everything was read.
    pub(super) fn end(&self) -> bool {
        self.buffer.eof()
    }

    /// Takes the first `len` bytes, padded. The offset grows by `len` and by the bytes that were
    /// dropped.
    pub(super) fn cut(&mut self, len: usize, dropped: u64) -> (Bytes, u64) {
        let offset = self.offset;
        self.offset += len as u64 + dropped;
        (self.buffer.split(len), offset)
    }

    /// Forgets the first `len` bytes.
    pub(super) fn skip(&mut self, len: usize) {
        self.offset += len as u64;
        self.buffer.skip(len);
    }

    /// How many bytes are kept of a record that is too long.
    pub(super) fn kept(&self) -> usize {
        self.sizes.max_record.min(MAX_RAW + 1)
    }

    /// How many bytes are read at a time where the next cut is not foreseen.
    pub(super) fn step(&self) -> usize {
        self.sizes.chunk.min(STEP)
    }
}
