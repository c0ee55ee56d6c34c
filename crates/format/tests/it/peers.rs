//! Parquet files as other tools see them: pyarrow, Polars and DuckDB, of the Python that
//! `GRISTMILL_PYTHON` names. `cargo xtask test` installs them and runs these tests.

use std::process::Command;
use std::sync::Arc;

use ::parquet::arrow::ArrowWriter;
use ::parquet::arrow::arrow_writer::ArrowWriterOptions;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, ListArray, RecordBatch, StructArray};
use arrow_schema::Field;
use gristmill_format::parquet::Codec;

use crate::parquet::{columns, write_groups};

/// Asserts that the tools see in our file what they see in one of the crate's writer. Gives how
/// often they looked for a value.
fn peers_agree(all: &RecordBatch, group: usize, codec: Codec) -> usize {
    let python = std::env::var_os("GRISTMILL_PYTHON").expect("a Python that has the tools");
    let folder = tempfile::tempdir().unwrap();
    let (ours, theirs) = (folder.path().join("ours.parquet"), folder.path().join("theirs.parquet"));
    std::fs::write(&ours, write_groups(all, group, 4096, codec)).unwrap();
    // Without Arrow's own schema, which would ask for views.
    let options = ArrowWriterOptions::new().with_skip_arrow_metadata(true);
    let file = std::fs::File::create(&theirs).unwrap();
    let mut writer = ArrowWriter::try_new_with_options(file, all.schema(), options).unwrap();
    writer.write(all).unwrap();
    writer.close().unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/peers/parquet.py");
    let output = Command::new(python).arg(script).arg(&ours).arg(&theirs).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

#[test]
#[ignore = "needs Python with pyarrow, Polars and DuckDB"]
fn all_types_read_back() {
    let looked = peers_agree(&columns(30_000), 21_000, Codec::Snappy);
    assert!(looked > 100, "{looked}");
    peers_agree(&columns(5_000), 2_000, Codec::Zstd);
}

#[test]
#[ignore = "needs Python with pyarrow, Polars and DuckDB"]
fn few_records_read_back() {
    for rows in [0, 1] {
        peers_agree(&columns(rows), 10, Codec::Snappy);
    }
}

#[test]
#[ignore = "needs Python with pyarrow, Polars and DuckDB"]
fn lists_and_structs_read_back() {
    let lists =
        ListArray::from_iter_primitive::<Int64Type, _, _>((0..5_000).map(|i| match i % 7 {
            0 => None,
            n => Some((1..n).map(|n| (n != 4).then_some(i * n)).collect::<Vec<_>>()),
        }));
    let flat = columns(5_000);
    let fields = ["code", "double", "date"].map(|name| {
        let array = Arc::clone(flat.column_by_name(name).unwrap());
        (Arc::new(Field::new(name, array.data_type().clone(), true)), array)
    });
    let all = RecordBatch::try_from_iter_with_nullable([
        ("lists", Arc::new(lists) as ArrayRef, true),
        ("struct", Arc::new(StructArray::from(fields.to_vec())), true),
        ("few", Arc::clone(flat.column_by_name("few").unwrap()), true),
    ]);
    peers_agree(&all.unwrap(), 3_000, Codec::Snappy);
}
