//! Where staged records stood in their sources, kept on disk until the load is done.
//!
//! A record can be refused long after its batch is gone: by a later record with the same key, or
//! by a constraint of the table. What a reject needs of it waits in a temporary file without a
//! name, so that memory does not grow with the input. A batch is kept as it came, text and all;
//! only a record that is asked for is looked at.

use std::fs::File;
use std::io::{self, Cursor, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use bytes::Bytes;
use gristmill_core::origin::{Archive, Content, Locator};
use gristmill_core::reject::MAX_RAW;
use gristmill_core::{Error, Location, Origin, Place, Result, Rows, Span};

pub(crate) struct Spool {
    file: File,
    end: u64,
    sources: Vec<Arc<str>>,
    archives: Vec<Arc<dyn Archive>>,
    blocks: Vec<Block>,
    /// The block that was read last, and where records stand in it.
    last: Option<(usize, Arc<Origin>, Rows)>,
    locator: Locator,
}

/// One batch in the file.
struct Block {
    /// Number of its first row.
    first: u64,
    at: u64,
    source: usize,
}

const NONE: u64 = u64::MAX;
const TEXT: u64 = 0;
const COLUMNS: u64 = 1;
const KEPT: u64 = 2;
const ARCHIVED: u64 = 3;
/// Numbers at the start of a block: kind, four that depend on it, ordinals, spans, bytes.
const HEADER: usize = 8;

impl Spool {
    pub(crate) fn new(scratch: &Path) -> io::Result<Self> {
        Ok(Self {
            file: tempfile::tempfile_in(scratch)?,
            end: 0,
            sources: Vec::new(),
            archives: Vec::new(),
            blocks: Vec::new(),
            last: None,
            locator: Locator::default(),
        })
    }

    /// Keeps the records of rows that are numbered from `first`.
    pub(crate) fn keep(&mut self, first: u64, origin: &Arc<Origin>, rows: &Rows) -> io::Result<()> {
        let ordinals: &[u32] = match rows {
            Rows::All(_) => &[],
            Rows::Some(ordinals) => ordinals,
        };
        let count = if matches!(rows, Rows::All(_)) { NONE } else { ordinals.len() as u64 };
        let place = origin.place().unwrap_or(Place { first_record: 1, first_line: 1 });
        let written;
        let (kind, numbers, spans, bytes) = match origin.content() {
            Content::Text { bytes, offset, spans, line_end, .. } => {
                let numbers = [place.first_record, place.first_line, *offset, u64::from(*line_end)];
                (TEXT, numbers, spans.as_slice(), &bytes[..])
            }
            Content::Columns(columns) => {
                let mut writer = StreamWriter::try_new(Vec::new(), &columns.schema())
                    .map_err(io::Error::other)?;
                writer.write(columns).map_err(io::Error::other)?;
                written = writer.into_inner().map_err(io::Error::other)?;
                (COLUMNS, [place.first_record, 0, 0, 0], &[][..], &written[..])
            }
            Content::Kept { raw, location } => {
                let Location { record, line, offset, length } = location;
                let numbers =
                    [*record, line.unwrap_or(NONE), offset.unwrap_or(NONE), length.unwrap_or(NONE)];
                (KEPT, numbers, &[][..], &raw[..])
            }
            Content::Archived { archive, numbers } => {
                written = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
                (ARCHIVED, [self.archive(archive), 0, 0, 0], &[][..], &written[..])
            }
        };
        let [a, b, c, d] = numbers;
        let header: [u64; HEADER] =
            [kind, a, b, c, d, count, spans.len() as u64, bytes.len() as u64];
        let mut head = Vec::with_capacity(8 * (HEADER + spans.len()) + 4 * ordinals.len());
        head.extend(header.iter().flat_map(|number| number.to_le_bytes()));
        head.extend(ordinals.iter().flat_map(|ordinal| ordinal.to_le_bytes()));
        for span in spans {
            head.extend_from_slice(&span.start.to_le_bytes());
            head.extend_from_slice(&span.len.to_le_bytes());
        }
        self.file.write_all(&head)?;
        self.file.write_all(bytes)?;
        let source = self.source(origin.source());
        self.blocks.push(Block { first, at: self.end, source });
        self.end += (head.len() + bytes.len()) as u64;
        Ok(())
    }

    fn source(&mut self, name: &Arc<str>) -> usize {
        let known = self.sources.iter().rposition(|source| source == name);
        known.unwrap_or_else(|| {
            self.sources.push(Arc::clone(name));
            self.sources.len() - 1
        })
    }

    fn archive(&mut self, archive: &Arc<dyn Archive>) -> u64 {
        let known = self.archives.iter().rposition(|known| Arc::ptr_eq(known, archive));
        known.unwrap_or_else(|| {
            self.archives.push(Arc::clone(archive));
            self.archives.len() - 1
        }) as u64
    }

    /// The record of a row, as an origin in which it has the ordinal 0. Cheap for rows in order.
    pub(crate) fn origin(&mut self, row: u64) -> io::Result<Arc<Origin>> {
        let block = self.blocks.partition_point(|block| block.first <= row);
        let block = block.checked_sub(1).ok_or(io::ErrorKind::NotFound)?;
        let (origin, rows) = match &self.last {
            Some((last, origin, rows)) if *last == block => (Arc::clone(origin), rows.clone()),
            _ => {
                let (origin, rows) = self.read(block)?;
                self.last = Some((block, Arc::clone(&origin), rows.clone()));
                (origin, rows)
            }
        };
        let ordinal = rows.ordinal((row - self.blocks[block].first) as usize);
        let (origin, ordinal) = origin.resolve(ordinal).map_err(io::Error::other)?;
        let ordinal = ordinal as usize;
        let location = self.locator.locate(&origin, ordinal);
        let mut raw = origin.raw(ordinal).into_owned().into_bytes();
        raw.truncate(MAX_RAW + 4); // a reject shows no more, and says that it was cut
        Ok(Arc::new(Origin::kept(Arc::clone(origin.source()), Bytes::from(raw), location)))
    }

    fn read(&self, block: usize) -> io::Result<(Arc<Origin>, Rows)> {
        let Block { at, source, .. } = self.blocks[block];
        let source = Arc::clone(&self.sources[source]);
        let mut head = [0; 8 * HEADER];
        self.file.read_exact_at(&mut head, at)?;
        let mut numbers = head
            .chunks_exact(8)
            .map(|bytes| bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes)));
        let [kind, a, b, c, d, count, spans, length] =
            std::array::from_fn(|_| numbers.next().unwrap_or(0));
        let ordinals = if count == NONE { 0 } else { count as usize };
        let mut rest = vec![0; 4 * ordinals + 8 * spans as usize + length as usize];
        self.file.read_exact_at(&mut rest, at + head.len() as u64)?;
        let rest = Bytes::from(rest);
        let words = |range: std::ops::Range<usize>| -> Vec<u32> {
            let bytes = rest[range].chunks_exact(4);
            bytes.filter_map(|b| b.first_chunk().map(|b| u32::from_le_bytes(*b))).collect()
        };
        let (spans_at, text_at) = (4 * ordinals, 4 * ordinals + 8 * spans as usize);
        let text = rest.slice(text_at..);
        let origin = match kind {
            TEXT => {
                let spans = words(spans_at..text_at);
                let spans = spans.chunks_exact(2).map(|s| Span { start: s[0], len: s[1] });
                let origin = Origin::text(source, text, c, spans.collect(), d as u8);
                origin.set_place(Place { first_record: a, first_line: b });
                origin
            }
            COLUMNS => {
                let mut reader =
                    StreamReader::try_new(Cursor::new(text), None).map_err(io::Error::other)?;
                let columns = reader.next().ok_or(io::ErrorKind::UnexpectedEof)?;
                let origin = Origin::columns(source, columns.map_err(io::Error::other)?);
                origin.set_place(Place { first_record: a, first_line: 1 });
                origin
            }
            ARCHIVED => {
                let archive = self.archives.get(a as usize).ok_or(io::ErrorKind::InvalidData)?;
                let numbers = text.as_chunks().0.iter().map(|bytes| u64::from_le_bytes(*bytes));
                Origin::archived(Arc::clone(archive), numbers.collect())
            }
            _ => {
                let some = |number: u64| (number != NONE).then_some(number);
                let location =
                    Location { record: a, line: some(b), offset: some(c), length: some(d) };
                Origin::kept(source, text, location)
            }
        };
        let rows = if count == NONE {
            Rows::All(origin.len() as u32)
        } else {
            Rows::Some(words(0..spans_at).into())
        };
        Ok((Arc::new(origin), rows))
    }
}

/// The record of a staged row, with the ordinal 0.
pub(crate) fn origin(spool: &mut Option<Spool>, seq: i64) -> Result<Arc<Origin>> {
    let spool = spool
        .as_mut()
        .ok_or_else(|| Error::internal("a record was refused by a table that cannot refuse any"))?;
    spool
        .origin(seq as u64)
        .map_err(|e| Error::io("cannot read a temporary file of staged records", e))
}

#[cfg(test)]
mod tests {
    use arrow_array::{Int64Array, RecordBatch};

    use super::*;

    fn text(source: &str) -> Arc<Origin> {
        let text = Bytes::from_static(b"1\n22\n\n333\n");
        let spans = [(0, 1), (2, 2), (6, 3)].map(|(start, len)| Span { start, len }).to_vec();
        let origin = Arc::new(Origin::text(source.into(), text, 7, spans, b'\n'));
        origin.set_place(Place { first_record: 5, first_line: 9 });
        origin
    }

    #[test]
    fn records_come_back_from_where_they_stood() {
        let column = Arc::new(Int64Array::from(vec![333, 1])) as _;
        let columns = RecordBatch::try_from_iter([("n", column)]).unwrap();
        let columns = Arc::new(Origin::columns("c.parquet".into(), columns));
        columns.set_place(Place { first_record: 70, first_line: 1 });
        let kept = Origin::kept("d.csv".into(), Bytes::from("x"), text("").locate(1));
        let origins = [
            (text("a.csv"), Rows::Some([2, 0].into())),
            (columns, Rows::All(2)),
            (text("b.csv"), Rows::All(3)),
            (Arc::new(kept), Rows::All(1)),
        ];
        let mut spool = Spool::new(&std::env::temp_dir()).unwrap();
        let mut first = 1;
        let mut all = Vec::new();
        for (origin, rows) in &origins {
            spool.keep(first, origin, rows).unwrap();
            for row in 0..rows.len() {
                all.push((first + row as u64, origin, rows.ordinal(row) as usize));
            }
            first += rows.len() as u64;
        }
        for (row, origin, ordinal) in all.iter().chain(all.iter().rev()) {
            let back = spool.origin(*row).unwrap();
            assert_eq!(back.raw(0), origin.raw(*ordinal));
            assert_eq!(back.locate(0), origin.locate(*ordinal));
            assert_eq!(back.source(), origin.source());
        }
    }
}
