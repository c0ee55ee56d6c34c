//! Where staged records stood in their sources, kept on disk until the load is done.
//!
//! A record can be refused long after its batch is gone: by a later record with the same key, or
//! by a constraint of the table. What a reject needs of it waits in a temporary file without a
//! name, so that memory does not grow with the input.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::sync::Arc;

use bytes::Bytes;
use gristmill_core::origin::Locator;
use gristmill_core::reject::MAX_RAW;
use gristmill_core::{Batch, Location, Origin};

pub(crate) struct Spool {
    file: BufWriter<File>,
    end: u64,
    sources: Vec<Arc<str>>,
    locator: Locator,
}

const NONE: u64 = u64::MAX;
const HEADER: usize = 6 * 8;

impl Spool {
    pub(crate) fn new() -> io::Result<Self> {
        let file = BufWriter::with_capacity(256 << 10, tempfile::tempfile()?);
        Ok(Self { file, end: 0, sources: Vec::new(), locator: Locator::default() })
    }

    /// Keeps a row's record and answers where.
    pub(crate) fn keep(&mut self, batch: &Batch, row: usize) -> io::Result<u64> {
        let ordinal = batch.rows().ordinal(row) as usize;
        let origin = batch.origin();
        let location = self.locator.locate(origin, ordinal);
        let mut raw = origin.raw(ordinal).into_bytes();
        raw.truncate(MAX_RAW + 4); // a reject shows no more, and says that it was cut
        let header = [
            self.source(origin.source()),
            location.record,
            location.line.unwrap_or(NONE),
            location.offset.unwrap_or(NONE),
            location.length.unwrap_or(NONE),
            raw.len() as u64,
        ];
        let at = self.end;
        for number in header {
            self.file.write_all(&number.to_le_bytes())?;
        }
        self.file.write_all(&raw)?;
        self.end += (HEADER + raw.len()) as u64;
        Ok(at)
    }

    fn source(&mut self, name: &Arc<str>) -> u64 {
        let known = self.sources.iter().rposition(|source| source == name);
        known.unwrap_or_else(|| {
            self.sources.push(Arc::clone(name));
            self.sources.len() - 1
        }) as u64
    }

    /// The origin of a kept record, in which it has the ordinal 0.
    pub(crate) fn origin(&mut self, at: u64) -> io::Result<Arc<Origin>> {
        self.file.seek(SeekFrom::Start(at))?; // flushes
        let origin = self.read();
        self.file.seek(SeekFrom::Start(self.end))?;
        origin
    }

    fn read(&mut self) -> io::Result<Arc<Origin>> {
        let file = self.file.get_mut();
        let mut header = [[0; 8]; 6];
        for number in &mut header {
            file.read_exact(number)?;
        }
        let [source, record, line, offset, length, raw] = header.map(u64::from_le_bytes);
        let mut text = vec![0; raw as usize];
        file.read_exact(&mut text)?;
        let some = |number: u64| (number != NONE).then_some(number);
        let location =
            Location { record, line: some(line), offset: some(offset), length: some(length) };
        let source = Arc::clone(&self.sources[source as usize]);
        Ok(Arc::new(Origin::kept(source, Bytes::from(text), location)))
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::{Int64Array, RecordBatch};
    use gristmill_core::{Place, Rows, Span};

    use super::*;

    #[test]
    fn records_come_back_from_where_they_stood() {
        let mut spool = Spool::new().unwrap();
        let mut kept = Vec::new();
        for source in ["a.csv", "b.csv"] {
            let text = Bytes::from_static(b"1\n22\n\n333\n");
            let spans = [(0, 1), (2, 2), (6, 3)].map(|(start, len)| Span { start, len }).to_vec();
            let origin = Arc::new(Origin::text(source.into(), text, 7, spans, b'\n'));
            origin.set_place(Place { first_record: 5, first_line: 9 });
            let column = Arc::new(Int64Array::from(vec![333, 1])) as _;
            let columns = RecordBatch::try_from_iter([("n", column)]).unwrap();
            let rows = Rows::Some([2, 0].into());
            let batch = Batch::new(columns, Arc::clone(&origin), rows).unwrap();
            for (row, ordinal) in [(0, 2), (1, 0)] {
                kept.push((spool.keep(&batch, row).unwrap(), Arc::clone(&origin), ordinal));
            }
        }
        for (at, origin, ordinal) in kept.iter().rev() {
            let back = spool.origin(*at).unwrap();
            assert_eq!(back.raw(0), origin.raw(*ordinal));
            assert_eq!(back.locate(0), origin.locate(*ordinal));
            assert_eq!(back.source(), origin.source());
        }
    }
}
