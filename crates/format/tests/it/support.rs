//! What the tests of several codecs share: files in memory.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use arrow_array::RecordBatch;
use gristmill_core::{Batch, Origin};
use gristmill_format::Writer;

/// A file in memory that stays after its writer is gone.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A batch of a source without text.
pub(crate) fn batch(columns: RecordBatch) -> Batch {
    let origin = Origin::columns("test".into(), columns.clone());
    Batch::whole(columns, Arc::new(origin)).unwrap()
}

/// The file that a writer makes of these parts.
pub(crate) fn written(writer: &dyn Writer, parts: &[Vec<Batch>]) -> Vec<u8> {
    let out = Shared::default();
    let encoder = writer.encoder();
    let mut sink = writer.sink(Box::new(out.clone())).unwrap();
    for batches in parts {
        let mut part = encoder.begin();
        for batch in batches {
            part.push(batch).unwrap();
        }
        let part = part.finish().unwrap();
        assert_eq!(part.records, batches.iter().map(|batch| batch.num_rows() as u64).sum::<u64>());
        sink.append(part).unwrap();
    }
    let so_far = sink.bytes_written();
    let bytes = sink.finish().unwrap();
    let file = out.0.lock().unwrap().clone();
    assert_eq!(bytes, file.len() as u64);
    assert!(so_far <= bytes);
    file
}
