//! Columns of any values, nulls and repetitions come back from our pages through the `parquet`
//! crate's reader.
#![no_main]

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::{
    Array, ArrayRef, BinaryViewArray, BooleanArray, Float64Array, Int64Array, RecordBatch,
    StringViewArray,
};
use arrow_cast::cast;
use arrow_schema::{Field, Schema};
use arrow_select::concat::concat_batches;
use gristmill_core::{Batch, Origin};
use gristmill_format::parquet::{self, Codec};
use libfuzzer_sys::fuzz_target;
use parquet_crate::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fuzz_target!(|input: &[u8]| {
    let [size, flags, repeat, seeds @ ..] = input else { return };
    if seeds.is_empty() {
        return;
    }
    // Runs of rows from windows of the input; with `repeat`, values come again and again.
    let rows = (seeds.len() * (1 + usize::from(*repeat))).min(3_000);
    let null = |row: usize| flags & 1 == 1 && seeds[row % seeds.len()] % 5 == 0;
    let window = |row: usize| {
        let at = (row * 7) % seeds.len();
        let length = usize::from(seeds[row % seeds.len()]) % 24;
        &seeds[at..seeds.len().min(at + length)]
    };
    let word = |row: usize| {
        let mut bytes = [0; 8];
        let window = window(row);
        let length = window.len().min(8);
        bytes[..length].copy_from_slice(&window[..length]);
        u64::from_le_bytes(bytes)
    };
    let all = || (0..rows).map(|row| (!null(row)).then_some(row));
    let text = |row| String::from_utf8_lossy(window(row)).into_owned();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(all().map(|row| row.map(word).map(u64::cast_signed)).collect::<Int64Array>()),
        Arc::new(all().map(|row| row.map(word).map(f64::from_bits)).collect::<Float64Array>()),
        Arc::new(all().map(|row| row.map(word).map(|w| w & 1 == 1)).collect::<BooleanArray>()),
        Arc::new(all().map(|row| row.map(text)).collect::<StringViewArray>()),
        Arc::new(all().map(|row| row.map(window)).collect::<BinaryViewArray>()),
    ];
    let field = |(i, column): (usize, &ArrayRef)| {
        Field::new(format!("c{i}"), column.data_type().clone(), true)
    };
    let schema = Arc::new(Schema::new(columns.iter().enumerate().map(field).collect::<Vec<_>>()));
    let table = RecordBatch::try_new(Arc::clone(&schema), columns).expect("columns of one length");

    let compression = [Codec::default(), Codec::Zstd, Codec::Gzip][usize::from(flags >> 1) % 3];
    let writer = parquet::writer(&schema, &parquet::WriteOptions { compression })
        .expect("these types can be written");
    let out = Shared::default();
    let mut sink = writer.sink(Box::new(out.clone())).expect("memory can be written to");
    let mut part = writer.encoder().begin();
    let step = usize::from(*size) * 16 + 1;
    for start in (0..rows).step_by(step) {
        let slice = table.slice(start, step.min(rows - start));
        let origin = Arc::new(Origin::columns("fuzz".into(), slice.clone()));
        let batch = Batch::whole(slice, origin).expect("a batch of all rows");
        part.push(&batch).expect("these values can be written");
    }
    sink.append(part.finish().expect("a part ends")).expect("memory can be written to");
    sink.finish().expect("memory can be written to");

    let file = out.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(file))
        .expect("the file has a footer");
    let back: Result<Vec<_>, _> = reader.build().expect("the file has row groups").collect();
    let back = back.expect("the file has pages");
    let back = concat_batches(&back[0].schema(), &back).expect("batches of one schema");
    for (ours, back) in table.columns().iter().zip(back.columns()) {
        let back = cast(back, ours.data_type()).expect("the same type");
        // By the values' bits: NaN is what it was.
        let bits = |array: &ArrayRef| match array.as_any().downcast_ref::<Float64Array>() {
            Some(doubles) => Arc::new(
                doubles
                    .iter()
                    .map(|v| v.map(|v| v.to_bits().cast_signed()))
                    .collect::<Int64Array>(),
            ),
            None => Arc::clone(array),
        };
        assert_eq!(&bits(ours), &bits(&back));
    }
});
