//! Reading Arrow IPC files and streams.

use std::fs::File;
use std::io::{self, BufReader};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::reader::{FileDecoder, StreamReader, read_footer_length};
use arrow_ipc::{Block, convert::fb_to_schema, root_as_footer, root_as_message};
use arrow_schema::{ArrowError, SchemaRef};
use gristmill_core::{Batch, Chunk, Error, ErrorKind, Findings, ReadPlan, Result};

use crate::columnar::{ReadAt, ReadFrom, batch, batch_rows, engine_schema, to_engine};

/// Reads one Arrow IPC file or stream.
pub struct Reader {
    name: Arc<str>,
    file: ReadAt,
    schema: SchemaRef,
    batches: Batches,
    started: bool,
    bytes: u64,
}

enum Batches {
    File { decoder: Arc<FileDecoder>, blocks: std::vec::IntoIter<Block> },
    Stream { reader: Box<StreamReader<BufReader<Counted>>>, position: Arc<AtomicU64> },
}

const FILE: &[u8] = b"ARROW1";
const FEATHER_1: &[u8] = b"FEA1";
/// Magic and padding in front, footer length and magic behind.
const FRAME: u64 = 8 + 10;

impl Reader {
    /// Reads the schema, and for a file the places of its batches and its dictionaries. `name` is
    /// what messages call the file.
    ///
    /// # Errors
    /// When the file is neither an Arrow file nor a stream, or a file cut off before its footer.
    pub fn open(name: Arc<str>, file: File) -> Result<Self> {
        let cannot_read = |error| Error::io(format!("cannot read `{name}`"), error);
        let file = ReadAt::new(file).map_err(cannot_read)?;
        let len = file.size().min(6) as usize;
        let start = file.read_exact_at(0, len).map_err(cannot_read)?;
        if start == FILE {
            return Self::open_file(name, file);
        }
        if start.starts_with(FEATHER_1) {
            let message = format!("`{name}` is a Feather file of version 1");
            return Err(Error::new(ErrorKind::Corrupt, message)
                .hint("write it as version 2, which is Arrow IPC"));
        }
        if start.is_empty() || FILE.starts_with(&start) {
            return Err(cut(&name, file.size()));
        }
        Self::open_stream(name, file)
    }

    fn open_file(name: Arc<str>, file: ReadAt) -> Result<Self> {
        let size = file.size();
        if size < FRAME {
            return Err(cut(&name, size));
        }
        let bytes = |offset, len| -> Result<Vec<u8>> {
            file.read_exact_at(offset, len).map_err(|error| unreadable(&name, error))
        };
        let mut tail = [0; 10];
        tail.copy_from_slice(&bytes(size - 10, 10)?);
        if &tail[4..] != FILE {
            return Err(cut(&name, size));
        }
        let footer_len = read_footer_length(tail).map_err(|error| damaged(&name, error))?;
        if footer_len as u64 > size - FRAME {
            return Err(Error::new(
                ErrorKind::Corrupt,
                format!("`{name}` is a damaged Arrow file"),
            )
            .hint(AGAIN));
        }
        let footer = bytes(size - 10 - footer_len as u64, footer_len)?;
        let footer = root_as_footer(&footer)
            .map_err(|error| damaged(&name, ArrowError::ParseError(format!("{error:?}"))))?;
        let Some(schema) = footer.schema().filter(|s| s.endianness().equals_to_target_endianness())
        else {
            let message = format!("`{name}` has no schema in this machine's byte order");
            return Err(Error::new(ErrorKind::Corrupt, message).hint(AGAIN));
        };
        let schema = Arc::new(fb_to_schema(schema));
        let mut decoder = FileDecoder::new(Arc::clone(&schema), footer.version());
        for block in footer.dictionaries().iter().flatten() {
            let buffer = read_block(&name, &file, block)?;
            decoder.read_dictionary(block, &buffer).map_err(|error| failure(&name, error))?;
        }
        let blocks: Vec<Block> = footer.recordBatches().iter().flatten().copied().collect();
        let batches = Batches::File { decoder: Arc::new(decoder), blocks: blocks.into_iter() };
        let schema = engine_schema(&schema);
        Ok(Self { name, file, schema, batches, started: false, bytes: 0 })
    }

    fn open_stream(name: Arc<str>, file: ReadAt) -> Result<Self> {
        check_stream(&name, &file)?;
        let position = Arc::new(AtomicU64::new(0));
        let counted = Counted { file: file.from(0), position: Arc::clone(&position) };
        let reader = StreamReader::try_new(BufReader::new(counted), None)
            .map_err(|error| failure(&name, error))?;
        let schema = engine_schema(&reader.schema());
        let batches = Batches::Stream { reader: Box::new(reader), position };
        Ok(Self { name, file, schema, batches, started: false, bytes: 0 })
    }
}

/// Walks over the messages of a stream, so that lengths are believed only where the file has so
/// many bytes: the crate's reader allocates what a message says.
fn check_stream(name: &str, file: &ReadAt) -> Result<()> {
    let mut offset = 0;
    while offset < file.size() {
        let word = |at| -> Result<Option<i32>> {
            match file.read_exact_at(at, 4) {
                Ok(bytes) => Ok(bytes.try_into().ok().map(i32::from_le_bytes)),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
                Err(error) => Err(Error::io(format!("cannot read `{name}`"), error)),
            }
        };
        let mut at = offset;
        let mut len = word(at)?;
        let marked = len == Some(CONTINUATION);
        if marked {
            at += 4;
            len = word(at)?;
        }
        let Some(len) = len else { return Err(cut_message(name)) };
        let foreign = || {
            let message = format!("`{name}` is not Arrow data");
            Error::new(ErrorKind::Corrupt, message).hint("say what it is with `format:`")
        };
        if len == 0 && offset > 0 {
            return Ok(()); // the mark of the end
        }
        let Some(len) = usize::try_from(len).ok().filter(|&len| len > 0) else {
            return Err(foreign());
        };
        at += 4;
        if at + len as u64 > file.size() {
            return Err(if marked || offset > 0 { cut_message(name) } else { foreign() });
        }
        let metadata = file.read_exact_at(at, len).map_err(|error| unreadable(name, error))?;
        let Ok(message) = root_as_message(&metadata) else {
            return Err(if offset == 0 { foreign() } else { damaged_stream(name) });
        };
        let Ok(body) = u64::try_from(message.bodyLength()) else {
            return Err(damaged_stream(name));
        };
        at += len as u64;
        if body > file.size() - at {
            return Err(cut_message(name));
        }
        offset = at + body;
    }
    Ok(())
}

/// Stands before the length of every message since format version 0.15.
const CONTINUATION: i32 = -1;

impl crate::Reader for Reader {
    fn read_plan(&mut self) -> Result<Option<ReadPlan>> {
        Ok(None)
    }

    fn begin(&mut self, _: Option<&ReadPlan>) -> Result<SchemaRef> {
        Ok(Arc::clone(&self.schema))
    }

    fn next_chunk(&mut self) -> Result<Option<Box<dyn Chunk>>> {
        let (content, size) = match &mut self.batches {
            Batches::File { decoder, blocks } => {
                let Some(block) = blocks.next() else { return Ok(None) };
                let size = block.bodyLength().max(0) as usize;
                self.bytes = (block.offset().max(0) as u64 + size as u64).min(self.file.size());
                let file = self.file.clone();
                (Content::Block { decoder: Arc::clone(decoder), file, block }, size)
            }
            Batches::Stream { reader, position } => {
                let Some(columns) = reader.next() else { return Ok(None) };
                self.bytes = position.load(Ordering::Relaxed);
                let columns = columns.map_err(|error| failure(&self.name, error))?;
                let size = columns.get_array_memory_size();
                (Content::Decoded(columns), size)
            }
        };
        let chunk = Slices {
            name: Arc::clone(&self.name),
            schema: Arc::clone(&self.schema),
            content: Some(content),
            columns: None,
            row: 0,
            size,
            starts_source: !self.started,
        };
        self.started = true;
        Ok(Some(Box::new(chunk)))
    }

    fn bytes_read(&self) -> Option<u64> {
        Some(self.bytes)
    }
}

enum Content {
    Block { decoder: Arc<FileDecoder>, file: ReadAt, block: Block },
    Decoded(RecordBatch),
}

/// One record batch, handed on in slices that stay in a cache.
struct Slices {
    name: Arc<str>,
    schema: SchemaRef,
    content: Option<Content>,
    columns: Option<RecordBatch>,
    row: usize,
    size: usize,
    starts_source: bool,
}

impl Chunk for Slices {
    fn size(&self) -> usize {
        self.size
    }

    fn starts_source(&self) -> bool {
        self.starts_source
    }

    fn next_batch(&mut self, _: &mut Findings) -> Result<Option<Batch>> {
        match self.content.take() {
            Some(Content::Decoded(columns)) => self.columns = Some(columns),
            Some(Content::Block { decoder, file, block }) => {
                let buffer = read_block(&self.name, &file, &block)?;
                self.columns = decoder
                    .read_record_batch(&block, &buffer)
                    .map_err(|error| failure(&self.name, error))?;
            }
            None => {}
        }
        let Some(columns) = &self.columns else { return Ok(None) };
        let rows = columns.num_rows();
        if self.row >= rows {
            self.columns = None;
            return Ok(None);
        }
        let take = batch_rows(rows, self.size).min(rows - self.row);
        let slice = columns.slice(self.row, take);
        self.row += take;
        let slice = to_engine(&self.name, &slice, &self.schema)?;
        batch(&self.name, slice).map(Some)
    }
}

fn read_block(name: &str, file: &ReadAt, block: &Block) -> Result<Buffer> {
    let (offset, metadata) = (block.offset(), i64::from(block.metaDataLength()));
    let len = metadata.checked_add(block.bodyLength());
    let (Ok(offset), Some(Ok(len))) = (u64::try_from(offset), len.map(usize::try_from)) else {
        return Err(
            Error::new(ErrorKind::Corrupt, format!("`{name}` is a damaged Arrow file")).hint(AGAIN)
        );
    };
    if metadata < 0 || block.bodyLength() < 0 {
        return Err(
            Error::new(ErrorKind::Corrupt, format!("`{name}` is a damaged Arrow file")).hint(AGAIN)
        );
    }
    let bytes = file.read_exact_at(offset, len).map_err(|error| unreadable(name, error))?;
    Ok(Buffer::from_vec(bytes))
}

/// Reads the file and says how far.
struct Counted {
    file: ReadFrom,
    position: Arc<AtomicU64>,
}

impl io::Read for Counted {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buf);
        self.position.store(self.file.position(), Ordering::Relaxed);
        read
    }
}

const AGAIN: &str = "get the file again, or write it again from its source";

fn cut(name: &str, size: u64) -> Error {
    let message = match size {
        0 => format!("`{name}` is empty: an Arrow file has a schema"),
        _ => format!("`{name}` ends before its Arrow footer, after {size} bytes"),
    };
    Error::new(ErrorKind::Truncated, message)
        .hint("it was cut off while it was written or copied: get it again")
}

fn cut_message(name: &str) -> Error {
    Error::new(ErrorKind::Truncated, format!("`{name}` ends in the middle of an Arrow message"))
        .hint("it was cut off while it was written or copied: get it again")
}

fn damaged_stream(name: &str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("`{name}` is a damaged Arrow stream")).hint(AGAIN)
}

fn unreadable(name: &str, error: io::Error) -> Error {
    match error.kind() {
        // The footer speaks of bytes that are not there.
        io::ErrorKind::UnexpectedEof => damaged(name, error),
        _ => Error::io(format!("cannot read `{name}`"), error),
    }
}

fn failure(name: &str, error: ArrowError) -> Error {
    match error {
        ArrowError::IoError(_, error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            cut_message(name)
        }
        ArrowError::IoError(_, error) => Error::io(format!("cannot read `{name}`"), error),
        other => damaged(name, other),
    }
}

fn damaged(name: &str, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Corrupt, format!("`{name}` is a damaged Arrow file"))
        .caused_by(error)
        .hint(AGAIN)
}
