//! Batches held back, in memory and on disk.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::reader::StreamDecoder;
use arrow_ipc::writer::StreamWriter;
use bytes::Bytes;
use gristmill_core::origin::{Archive, Content};
use gristmill_core::{Batch, Error, Location, Origin, Place, Result, Rows, Space, Span};

use super::{failed, file};
use crate::views::{compact, value_bytes};

/// Batches that wait, each with a byte noted for each row, and come back in order as they were:
/// with their provenance, so that a record can be rejected afterwards as if nothing had happened.
/// Their flaws are settled.
pub struct HeldBatches {
    space: Space,
    batches: VecDeque<Held>,
    bytes: usize,
    file: Option<File>,
    end: u64,
    sources: Vec<Arc<str>>,
    archives: Vec<Arc<dyn Archive>>,
}

enum Held {
    Here { batch: Batch, notes: Vec<u8>, bytes: usize },
    OnDisk { offset: u64, len: usize },
}

impl HeldBatches {
    /// Holds nothing.
    pub fn new(space: Space) -> Self {
        let (batches, sources, archives) = (VecDeque::new(), Vec::new(), Vec::new());
        Self { space, batches, bytes: 0, file: None, end: 0, sources, archives }
    }

    /// Holds a batch: in memory while there is room, then on disk.
    ///
    /// # Errors
    /// When the disk cannot be written, or when flaws of the batch are open.
    pub fn push(&mut self, batch: Batch, notes: Vec<u8>) -> Result<()> {
        if !batch.flaws().is_empty() {
            return Err(Error::internal("a batch with open flaws was held back"));
        }
        let bytes = value_bytes(batch.columns()) + batch.origin().byte_size() + notes.len();
        if self.file.is_none() && self.bytes + bytes <= self.space.memory {
            self.bytes += bytes;
            self.batches.push_back(Held::Here { batch, notes, bytes });
            return Ok(());
        }
        let encoded = self.encode(&batch, &notes)?;
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(file(&self.space)?),
        };
        file.write_all_at(&encoded, self.end).map_err(|source| failed(&self.space, source))?;
        self.batches.push_back(Held::OnDisk { offset: self.end, len: encoded.len() });
        self.end += encoded.len() as u64;
        Ok(())
    }

    /// The batch that has been held longest, and its notes.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn pop(&mut self) -> Result<Option<(Batch, Vec<u8>)>> {
        match self.batches.pop_front() {
            Some(Held::Here { batch, notes, bytes }) => {
                self.bytes -= bytes;
                Ok(Some((batch, notes)))
            }
            Some(Held::OnDisk { offset, len }) => self.read(offset, len).map(Some),
            None => Ok(None),
        }
    }

    /// A batch that stays held, by its place among those that are.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn get(&self, place: usize) -> Result<Option<Batch>> {
        match self.batches.get(place) {
            Some(Held::Here { batch, .. }) => Ok(Some(batch.clone())),
            Some(Held::OnDisk { offset, len }) => {
                self.read(*offset, *len).map(|(batch, _)| Some(batch))
            }
            None => Ok(None),
        }
    }

    fn read(&self, offset: u64, len: usize) -> Result<(Batch, Vec<u8>)> {
        let file = self.file.as_ref().ok_or_else(torn)?;
        let mut encoded = vec![0; len];
        file.read_exact_at(&mut encoded, offset).map_err(|source| failed(&self.space, source))?;
        self.decode(encoded)
    }

    fn source(&mut self, name: &Arc<str>) -> u64 {
        let known = self.sources.iter().rposition(|source| source == name);
        known.unwrap_or_else(|| {
            self.sources.push(Arc::clone(name));
            self.sources.len() - 1
        }) as u64
    }

    fn archive(&mut self, archive: &Arc<dyn Archive>) -> u64 {
        let known = self.archives.iter().rposition(|known| Arc::ptr_eq(known, archive));
        known.unwrap_or_else(|| {
            self.archives.push(Arc::clone(archive));
            self.archives.len() - 1
        }) as u64
    }

    fn encode(&mut self, batch: &Batch, notes: &[u8]) -> Result<Vec<u8>> {
        let mut out = Encoded::default();
        out.columns(batch.columns())?;
        let origin = batch.origin();
        out.number(self.source(origin.source()));
        // Records and lines are numbered from 1.
        let place = origin.place().unwrap_or(Place { first_record: 0, first_line: 0 });
        out.number(place.first_record);
        out.number(place.first_line);
        match origin.content() {
            Content::Text { bytes, offset, spans, line_end, .. } => {
                out.number(0);
                out.number(*offset);
                out.number(u64::from(*line_end));
                out.numbers(spans.iter().flat_map(|span| [span.start, span.len]), spans.len() * 2);
                out.bytes(bytes);
            }
            Content::Columns(columns) => {
                out.number(1);
                out.columns(columns)?;
            }
            Content::Kept { raw, location } => {
                out.number(2);
                out.number(location.record);
                for number in [location.line, location.offset, location.length] {
                    out.number(number.unwrap_or(NONE));
                }
                out.bytes(raw);
            }
            Content::Archived { archive, numbers } => {
                out.number(3);
                out.number(self.archive(archive));
                out.number(numbers.len() as u64);
                numbers.iter().for_each(|number| out.number(*number));
            }
        }
        match batch.rows() {
            Rows::All(_) => out.number(0),
            Rows::Some(ordinals) => {
                out.number(1);
                out.numbers(ordinals.iter().copied(), ordinals.len());
            }
        }
        out.bytes(notes);
        Ok(out.0)
    }

    fn decode(&self, encoded: Vec<u8>) -> Result<(Batch, Vec<u8>)> {
        let mut from = Decoder { buffer: Buffer::from_vec(encoded), at: 0 };
        let columns = from.columns()?;
        let source = self.sources.get(from.number()? as usize).ok_or_else(torn)?;
        let source = Arc::clone(source);
        let place = Place { first_record: from.number()?, first_line: from.number()? };
        let origin = match from.number()? {
            0 => {
                let (offset, line_end) = (from.number()?, from.number()? as u8);
                let spans = from.numbers()?;
                let spans = spans.as_chunks().0.iter().map(|&[start, len]| Span { start, len });
                Origin::text(source, from.text()?, offset, spans.collect(), line_end)
            }
            1 => Origin::columns(source, from.columns()?),
            3 => {
                let archive = self.archives.get(from.number()? as usize).ok_or_else(torn)?;
                let numbers = from.number()?;
                let numbers = (0..numbers).map(|_| from.number()).collect::<Result<_>>()?;
                Origin::archived(Arc::clone(archive), numbers)
            }
            _ => {
                let record = from.number()?;
                let mut number = || from.number().map(|number| (number != NONE).then_some(number));
                let (line, offset, length) = (number()?, number()?, number()?);
                let location = Location { record, line, offset, length };
                Origin::kept(source, from.text()?, location)
            }
        };
        if place.first_record > 0 {
            origin.set_place(place);
        }
        let rows = match from.number()? {
            0 => Rows::All(columns.num_rows() as u32),
            _ => Rows::Some(from.numbers()?.into()),
        };
        let notes = from.bytes()?.to_vec();
        Ok((Batch::new(columns, Arc::new(origin), rows)?, notes))
    }
}

/// In place of a number that is not known.
const NONE: u64 = u64::MAX;

/// Where columns start, so that they can be used where they are read to.
const ALIGNED: usize = 64;

#[derive(Default)]
struct Encoded(Vec<u8>);

impl Encoded {
    fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn numbers(&mut self, numbers: impl Iterator<Item = u32>, len: usize) {
        self.number(len as u64 * 4);
        self.0.reserve(len * 4);
        numbers.for_each(|number| self.0.extend_from_slice(&number.to_le_bytes()));
    }

    /// The length, room to the next boundary, and the columns as an Arrow stream.
    fn columns(&mut self, columns: &RecordBatch) -> Result<()> {
        let at = self.0.len();
        self.number(0);
        self.0.resize(self.0.len().next_multiple_of(ALIGNED), 0);
        let start = self.0.len();
        let columns = compact(columns)?;
        let mut stream = StreamWriter::try_new(&mut self.0, columns.schema_ref())?;
        stream.write(&columns)?;
        stream.finish()?;
        let len = (self.0.len() - start) as u64;
        self.0[at..at + 8].copy_from_slice(&len.to_le_bytes());
        Ok(())
    }
}

/// A text where it was read to.
struct Text(Buffer);

impl AsRef<[u8]> for Text {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

struct Decoder {
    buffer: Buffer,
    at: usize,
}

impl Decoder {
    fn slice(&mut self, len: usize) -> Result<Buffer> {
        let end = self.at.checked_add(len).filter(|end| *end <= self.buffer.len());
        let end = end.ok_or_else(torn)?;
        let slice = self.buffer.slice_with_length(self.at, len);
        self.at = end;
        Ok(slice)
    }

    fn number(&mut self) -> Result<u64> {
        let bytes = self.slice(8)?;
        Ok(bytes.as_slice().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes)))
    }

    fn bytes(&mut self) -> Result<Buffer> {
        let len = self.number()? as usize;
        self.slice(len)
    }

    fn text(&mut self) -> Result<Bytes> {
        self.bytes().map(|bytes| Bytes::from_owner(Text(bytes)))
    }

    fn numbers(&mut self) -> Result<Vec<u32>> {
        let bytes = self.bytes()?;
        Ok(bytes.as_chunks().0.iter().map(|number| u32::from_le_bytes(*number)).collect())
    }

    fn columns(&mut self) -> Result<RecordBatch> {
        let len = self.number()? as usize;
        self.at = self.at.next_multiple_of(ALIGNED);
        let mut stream = self.slice(len)?;
        let mut decoder = StreamDecoder::new();
        decoder.decode(&mut stream)?.ok_or_else(torn)
    }
}

fn torn() -> Error {
    Error::io("a batch kept on disk came back changed", io::Error::from(io::ErrorKind::InvalidData))
}

#[cfg(test)]
mod tests {
    use arrow_array::builder::{Int64Builder, ListBuilder};
    use arrow_array::cast::AsArray;
    use arrow_array::{ArrayRef, BooleanArray, Float64Array, StringViewArray};

    use super::*;

    fn batches() -> Vec<Batch> {
        let text = Bytes::from_static(b"a,1\n\"b\nb\",2\nc,3\n");
        let spans = [(0, 3), (4, 7), (12, 3)].map(|(start, len)| Span { start, len }).to_vec();
        let origin = Arc::new(Origin::text("x.csv".into(), text, 100, spans, b'\n'));
        origin.set_place(Place { first_record: 11, first_line: 21 });
        let mut lists = ListBuilder::new(Int64Builder::new());
        lists.append_value([Some(1), None]);
        lists.append_null();
        lists.append_value([]);
        let long = "a text that is too long to be in a view";
        let columns = RecordBatch::try_from_iter([
            (
                "text",
                Arc::new(StringViewArray::from(vec![Some(long), None, Some("c")])) as ArrayRef,
            ),
            ("list", Arc::new(lists.finish())),
            ("flag", Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)]))),
            ("number", Arc::new(Float64Array::from(vec![Some(-0.0), Some(f64::NAN), None]))),
        ])
        .unwrap();
        let whole = Batch::whole(columns.clone(), Arc::clone(&origin)).unwrap();
        let some = whole.clone().filter(&BooleanArray::from(vec![false, true, true])).unwrap();
        let from_columns = Arc::new(Origin::columns("t.parquet".into(), columns.clone()));
        let typed = Batch::whole(columns.clone(), from_columns).unwrap();
        let kept =
            Origin::kept(Arc::clone(origin.source()), Bytes::from_static(b"raw"), origin.locate(1));
        let kept = Batch::new(columns.slice(1, 1), Arc::new(kept), Rows::All(1)).unwrap();
        let none = whole.clone().filter(&BooleanArray::from(vec![false; 3])).unwrap();
        vec![whole, some, typed, kept, none]
    }

    #[test]
    fn batches_come_back_as_they_were() {
        for memory in [0, 3_000, 1 << 20] {
            let mut held = HeldBatches::new(Space { memory, ..Space::default() });
            for (n, batch) in batches().into_iter().enumerate() {
                held.push(batch, vec![n as u8; n]).unwrap();
            }
            assert_eq!(held.file.is_some(), memory < 1 << 20);
            for (n, batch) in batches().into_iter().enumerate() {
                let (back, notes) = held.pop().unwrap().unwrap();
                assert_eq!(notes, vec![n as u8; n]);
                assert_eq!(format!("{:?}", back.columns()), format!("{:?}", batch.columns()));
                assert_eq!(back.origin().source(), batch.origin().source());
                assert_eq!(back.origin().place(), batch.origin().place());
                assert_eq!(back.origin().byte_size() > 0, batch.origin().byte_size() > 0);
                for row in 0..batch.num_rows() {
                    let ordinal = batch.rows().ordinal(row) as usize;
                    assert_eq!(back.rows().ordinal(row) as usize, ordinal);
                    assert_eq!(back.origin().raw(ordinal), batch.origin().raw(ordinal));
                    assert_eq!(back.origin().locate(ordinal), batch.origin().locate(ordinal));
                }
            }
            assert!(held.pop().unwrap().is_none());
        }
    }

    #[test]
    fn text_that_nobody_refers_to_is_not_kept() {
        let long = StringViewArray::from(vec!["x".repeat(10_000), "y".repeat(20)]);
        let columns = RecordBatch::try_from_iter([("t", Arc::new(long) as ArrayRef)]).unwrap();
        let origin = Origin::kept(
            "x".into(),
            Bytes::new(),
            Location { record: 1, line: None, offset: None, length: None },
        );
        let batch = Batch::new(columns.slice(1, 1), Arc::new(origin), Rows::All(1)).unwrap();
        let mut held = HeldBatches::new(Space { memory: 0, ..Space::default() });
        held.push(batch, Vec::new()).unwrap();
        assert!(held.end < 2_000, "{}", held.end);
        let (back, _) = held.pop().unwrap().unwrap();
        assert_eq!(back.columns().column(0).as_string_view().value(0), "y".repeat(20));
    }
}
