//! What the columnar formats share: the types that their columns take in the engine and in files,
//! files read at any position by many workers, and batches of a size that stays in a cache.

use std::fs::File;
use std::io;
use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit};
use gristmill_core::types::is_json;
use gristmill_core::{Batch, Error, ErrorKind, FieldType, Origin, Result};

/// Bytes of columns that a batch should have, as far as the file tells.
const BATCH: usize = 1 << 20;
/// Rows that a batch has at most.
const MAX_ROWS: usize = 64 << 10;

/// Rows for a batch of about [`BATCH`] bytes. Follows the data only.
pub(crate) fn batch_rows(rows: usize, bytes: usize) -> usize {
    let row = (bytes / rows.max(1)).max(1);
    (BATCH / row).clamp(1, MAX_ROWS)
}

/// A batch of rows that were columns in the source.
pub(crate) fn batch(name: &Arc<str>, columns: RecordBatch) -> Result<Batch> {
    let origin = Origin::columns(Arc::clone(name), columns.clone());
    Batch::whole(columns, Arc::new(origin))
}

/// The schema that columns of a file have in the engine. All text is `Utf8View` and all bytes are
/// `BinaryView`, also inside lists and structs; dictionaries and runs are written out; times,
/// timestamps and decimals take the unit and width of their declared type where no digit is lost
/// by it; every column may have nulls. Other types stay as they are.
pub(crate) fn engine_schema(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| {
        let text = DataType::Utf8View;
        match engine_type(field.data_type()) {
            data_type if data_type == text && is_json(field) => FieldType::Json.field(field.name()),
            data_type => {
                Field::new(field.name(), data_type, true).with_metadata(extension_metadata(field))
            }
        }
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The columns with the types of [`engine_schema`].
pub(crate) fn to_engine(
    name: &str,
    columns: &RecordBatch,
    schema: &SchemaRef,
) -> Result<RecordBatch> {
    convert(columns, schema).map_err(|error| {
        Error::new(ErrorKind::Corrupt, format!("`{name}` has a value that its type does not allow"))
            .caused_by(error)
    })
}

/// The schema that columns get in a file, so that any tool reads it: no views, no dictionaries
/// (which an Arrow file could have only one of), JSON marked as Arrow's extension type asks for.
pub(crate) fn plain_schema(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| {
        let mut plain = field.as_ref().clone().with_data_type(plain_type(field.data_type()));
        if is_json(field) {
            plain.metadata_mut().entry(EXTENSION_METADATA.into()).or_default();
        }
        plain
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Where Arrow keeps the parameters of an extension type; JSON has none, but the key.
const EXTENSION_METADATA: &str = "ARROW:extension:metadata";

/// The columns with the types of `schema`, which has the same columns.
pub(crate) fn convert(
    columns: &RecordBatch,
    schema: &SchemaRef,
) -> Result<RecordBatch, arrow_schema::ArrowError> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let arrays = columns.columns().iter().zip(schema.fields()).map(|(array, field)| {
        if array.data_type() == field.data_type() {
            return Ok(Arc::clone(array));
        }
        cast_with_options(array, field.data_type(), &options)
    });
    let arrays = arrays.collect::<Result<Vec<_>, _>>()?;
    let rows = RecordBatchOptions::new().with_row_count(Some(columns.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &rows)
}

/// The type with every text and every run of bytes as views, and nothing else changed but
/// dictionaries: what a Parquet decoder can be asked for.
pub(crate) fn view_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
        DataType::Dictionary(_, values) => view_type(values),
        other => nested(other, &view_type),
    }
}

fn engine_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
        DataType::Dictionary(_, values) => engine_type(values),
        DataType::RunEndEncoded(_, values) => engine_type(values.data_type()),
        DataType::Timestamp(unit, zone) => {
            let unit = match unit {
                TimeUnit::Nanosecond => TimeUnit::Nanosecond,
                _ => TimeUnit::Microsecond,
            };
            DataType::Timestamp(unit, zone.as_ref().map(|_| Arc::from("UTC")))
        }
        DataType::Time32(_) => DataType::Time64(TimeUnit::Microsecond),
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            DataType::Decimal128(*precision, *scale)
        }
        other => nested(other, &engine_type),
    }
}

fn plain_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::Dictionary(_, values) => plain_type(values),
        DataType::RunEndEncoded(_, values) => plain_type(values.data_type()),
        other => nested(other, &plain_type),
    }
}

fn nested(data_type: &DataType, change: &dyn Fn(&DataType) -> DataType) -> DataType {
    match data_type {
        DataType::List(item) => DataType::List(replaced(item, change)),
        DataType::LargeList(item) => DataType::LargeList(replaced(item, change)),
        DataType::FixedSizeList(item, n) => DataType::FixedSizeList(replaced(item, change), *n),
        DataType::Struct(fields) => {
            DataType::Struct(fields.iter().map(|field| replaced(field, change)).collect::<Fields>())
        }
        DataType::Map(entries, sorted) => DataType::Map(replaced(entries, change), *sorted),
        other => other.clone(),
    }
}

fn replaced(field: &FieldRef, change: &dyn Fn(&DataType) -> DataType) -> FieldRef {
    Arc::new(field.as_ref().clone().with_data_type(change(field.data_type())))
}

/// What says how a column is to be understood, without what other tools noted about the file.
fn extension_metadata(field: &Field) -> std::collections::HashMap<String, String> {
    let metadata = field.metadata().iter().filter(|(key, _)| key.starts_with("ARROW:extension:"));
    metadata.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// A file that many workers read at once, each where it wants.
#[derive(Debug, Clone)]
pub(crate) struct ReadAt {
    file: Arc<File>,
    len: u64,
}

impl ReadAt {
    pub(crate) fn new(file: File) -> io::Result<Self> {
        let len = file.metadata()?.len();
        Ok(Self { file: Arc::new(file), len })
    }

    pub(crate) fn size(&self) -> u64 {
        self.len
    }

    /// As many bytes from `offset` as the file has and `buf` takes.
    pub(crate) fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            let read = positioned(&self.file, buf, offset);
            match read {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    /// Exactly `len` bytes from `offset`.
    pub(crate) fn read_exact_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        if offset.checked_add(len as u64).is_none_or(|end| end > self.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut bytes = vec![0; len];
        let mut done = 0;
        while done < len {
            match self.read_at(&mut bytes[done..], offset + done as u64)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => done += n,
            }
        }
        Ok(bytes)
    }

    /// A reader from `offset` on.
    pub(crate) fn from(&self, offset: u64) -> ReadFrom {
        ReadFrom { file: self.clone(), offset }
    }
}

#[cfg(unix)]
fn positioned(file: &File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buf, offset)
}

#[cfg(windows)]
fn positioned(file: &File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buf, offset)
}

/// Reads a file from a position on.
#[derive(Debug)]
pub(crate) struct ReadFrom {
    file: ReadAt,
    offset: u64,
}

impl ReadFrom {
    /// Bytes up to the next one to be read.
    pub(crate) fn position(&self) -> u64 {
        self.offset
    }
}

impl io::Read for ReadFrom {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buf, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engine_types_reach_into_nested_ones() {
        let item = Field::new(
            "item",
            DataType::Dictionary(DataType::Int32.into(), DataType::LargeUtf8.into()),
            true,
        );
        let fields = vec![
            Field::new("tags", DataType::List(Arc::new(item)), false),
            Field::new(
                "at",
                DataType::Timestamp(TimeUnit::Millisecond, Some("+01:00".into())),
                true,
            ),
            Field::new("exact", DataType::Timestamp(TimeUnit::Nanosecond, None), true),
            Field::new("n", DataType::Int16, true),
        ];
        let schema = engine_schema(&Schema::new(fields));
        let item = Field::new("item", DataType::Utf8View, true);
        assert_eq!(
            schema.fields().iter().map(|field| field.data_type().clone()).collect::<Vec<_>>(),
            [
                DataType::List(Arc::new(item)),
                DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
                DataType::Timestamp(TimeUnit::Nanosecond, None), // nothing is cut off
                DataType::Int16,
            ]
        );
        assert!(schema.fields().iter().all(|field| field.is_nullable()));
    }

    #[test]
    fn batches_shrink_with_the_width_of_rows() {
        assert_eq!(batch_rows(1_000_000, 8_000_000), MAX_ROWS);
        assert_eq!(batch_rows(1_000, 4 << 20), 250);
        assert_eq!(batch_rows(2, 8 << 20), 1);
        assert_eq!(batch_rows(0, 0), MAX_ROWS);
    }
}
