//! Writing Parquet files.

use std::io::{BufWriter, Write};
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{Field, Schema, SchemaRef};
use gristmill_core::types::is_json;
use gristmill_core::{Batch, Encoded, Encoder, Error, ErrorKind, Part, Result};
use parquet::arrow::arrow_writer::{
    ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves,
};
use parquet::arrow::{ArrowSchemaConverter, add_encoded_arrow_schema_to_metadata};
use parquet::basic::{Compression, GzipLevel, LogicalType, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{WriterProperties, WriterPropertiesPtr};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{SchemaDescriptor, Type, TypePtr};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::compress::Compressor;
use super::pages::Chunk;
use super::tools::Tools;
use super::{kind, pages};
use crate::columnar::plain_schema;
use crate::{Sink, Writer};

/// Bytes that are gathered before they go to the file: a chunk comes in small pieces.
const OUT: usize = 256 << 10;

/// How Parquet files are written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "ParquetWrite")]
pub struct WriteOptions {
    /// How pages are compressed.
    pub compression: Codec,
}

/// The compression of pages in a Parquet file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Codec {
    /// Snappy: fast, and read by every tool.
    #[default]
    Snappy,
    /// Zstandard: smaller files.
    Zstd,
    /// gzip: small files, slowly.
    Gzip,
    /// LZ4 (`LZ4_RAW`): the fastest to read.
    Lz4,
    /// None.
    None,
}

impl From<Codec> for Compression {
    fn from(codec: Codec) -> Self {
        match codec {
            Codec::Snappy => Compression::SNAPPY,
            Codec::Zstd => Compression::ZSTD(ZstdLevel::default()),
            Codec::Gzip => Compression::GZIP(GzipLevel::default()),
            Codec::Lz4 => Compression::LZ4_RAW,
            Codec::None => Compression::UNCOMPRESSED,
        }
    }
}

/// A writer for batches of this schema. Each chunk becomes a row group; the same chunks give the
/// same bytes.
///
/// # Errors
/// When the schema has a type that Parquet does not have.
pub fn writer(schema: &SchemaRef, options: &WriteOptions) -> Result<Arc<dyn Writer>> {
    let layout = layout(schema).map_err(|error| {
        Error::new(ErrorKind::Schema, "a column's type cannot be written to Parquet")
            .caused_by(error)
            .hint("cast the column to another type, or drop it")
    })?;
    let mut properties =
        WriterProperties::builder().set_compression(options.compression.into()).build();
    add_encoded_arrow_schema_to_metadata(&plain_schema(schema), &mut properties);
    let properties = Arc::new(properties);
    let blank =
        SerializedFileWriter::new(std::io::sink(), Arc::clone(&layout), Arc::clone(&properties));
    let blank = blank.map_err(|error| Error::internal("a Parquet schema").caused_by(error))?;
    let factory = ArrowRowGroupWriterFactory::new(&blank, Arc::clone(schema));
    let columns = Columns {
        schema: Arc::clone(schema),
        leaves: SchemaDescriptor::new(Arc::clone(&layout)),
        compression: options.compression.into(),
        factory,
        idle: Mutex::default(),
    };
    Ok(Arc::new(FileWriter { layout, properties, encoder: Arc::new(Groups(Arc::new(columns))) }))
}

/// The Parquet schema, with the logical type JSON on columns that hold JSON.
fn layout(schema: &Schema) -> Result<TypePtr, ParquetError> {
    let root = ArrowSchemaConverter::new().convert(schema)?.root_schema_ptr();
    let mut fields = root.get_fields().to_vec();
    for (field, column) in fields.iter_mut().zip(schema.fields()) {
        if is_json(column) && field.is_primitive() {
            let info = field.get_basic_info();
            let json = Type::primitive_type_builder(field.name(), field.get_physical_type())
                .with_repetition(info.repetition())
                .with_logical_type(Some(LogicalType::Json))
                .build()?;
            *field = Arc::new(json);
        }
    }
    Ok(Arc::new(Type::group_type_builder(root.name()).with_fields(fields).build()?))
}

struct FileWriter {
    layout: TypePtr,
    properties: WriterPropertiesPtr,
    encoder: Arc<Groups>,
}

impl Writer for FileWriter {
    fn encoder(&self) -> Arc<dyn Encoder> {
        Arc::clone(&self.encoder) as _
    }

    fn sink(&self, out: Box<dyn Write + Send>) -> Result<Box<dyn Sink>> {
        let layout = Arc::clone(&self.layout);
        let out = BufWriter::with_capacity(OUT, out);
        let file = SerializedFileWriter::new(out, layout, Arc::clone(&self.properties));
        Ok(Box::new(File(file.map_err(cannot_write)?)))
    }
}

/// Encodes chunks as row groups.
struct Groups(Arc<Columns>);

/// The columns of every row group.
struct Columns {
    schema: SchemaRef,
    leaves: SchemaDescriptor,
    compression: Compression,
    factory: ArrowRowGroupWriterFactory,
    /// Of row groups that are encoded.
    idle: Mutex<Vec<Tools>>,
}

impl Columns {
    fn tools(&self) -> Result<Tools> {
        if let Some(idle) = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop() {
            return Ok(idle);
        }
        Compressor::new(self.compression).map(Tools::new).map_err(cannot_encode)
    }

    fn give_back(&self, tools: Tools) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(tools);
    }

    /// Encoders for a row group, one for each column of the schema, made when they are asked for.
    fn encoders(&self) -> impl Iterator<Item = Result<Column>> {
        let mut writers = None;
        let mut first = 0;
        self.schema.fields().iter().enumerate().map(move |(index, field)| {
            let count = (first..self.leaves.num_columns())
                .take_while(|&leaf| self.leaves.get_column_root_idx(leaf) == index)
                .count();
            let leaves = first..first + count;
            first += count;
            let direct = (count == 1)
                .then(|| kind::direct(field.data_type(), &self.leaves.column(leaves.start)));
            if let Some(direct) = direct.flatten() {
                return Ok(Column::Direct(direct));
            }
            if writers.is_none() {
                let all = self.factory.create_column_writers(0).map_err(cannot_encode)?;
                writers = Some(all.into_iter().map(Some).collect::<Vec<_>>());
            }
            let writers = writers.iter_mut().flatten().skip(leaves.start).take(count);
            Ok(Column::Leaves(writers.filter_map(Option::take).collect()))
        })
    }
}

impl Encoder for Groups {
    fn begin(&self) -> Box<dyn Part> {
        Box::new(Group { layout: Arc::clone(&self.0), held: Vec::new(), open: None, records: 0 })
    }
}

/// A column of a row group being encoded.
enum Column {
    /// By pages of our own.
    Direct(Box<dyn Chunk>),
    /// By the `parquet` crate's writers, one for each leaf.
    Leaves(Vec<ArrowColumnWriter>),
}

/// From this many columns on, the columns of a row group are encoded one after the other: a
/// dictionary for each of them at once would take many times the memory of the values.
const WIDE: usize = 256;

/// A row group being encoded.
struct Group {
    layout: Arc<Columns>,
    /// The batches of a wide row group, see [`WIDE`].
    held: Vec<RecordBatch>,
    /// The columns, and what they share, once there are records.
    open: Option<(Vec<Column>, Tools)>,
    records: u64,
}

/// A column chunk encoded.
enum EncodedColumn {
    Direct(pages::Encoded),
    Leaf(ArrowColumnChunk),
}

/// A row group encoded: one chunk for each leaf of the schema, none if there are no records.
struct EncodedGroup(Vec<EncodedColumn>);

impl Part for Group {
    fn push(&mut self, batch: &Batch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        self.records += batch.num_rows() as u64;
        let (columns, dropped) = batch.unfiltered();
        if columns.num_columns() >= WIDE {
            self.held.push(batch.columns().clone());
            return Ok(());
        }
        let (encoders, tools) = match &mut self.open {
            Some(open) => open,
            none => {
                none.insert((self.layout.encoders().collect::<Result<_>>()?, self.layout.tools()?))
            }
        };
        let fields = self.layout.schema.fields().iter().enumerate();
        for ((index, field), column) in fields.zip(encoders) {
            match column {
                Column::Direct(chunk) => {
                    chunk.append(columns.column(index), dropped, tools).map_err(cannot_encode)?
                }
                column => column.append(field, batch.columns().column(index), tools)?,
            }
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Encoded> {
        let mut group = EncodedGroup(Vec::new());
        let mut bytes = 0;
        if let Some((columns, mut tools)) = self.open.take() {
            for column in columns {
                bytes += column.finish(&mut tools, &mut group)?;
            }
            self.layout.give_back(tools);
        }
        if !self.held.is_empty() {
            let mut tools = self.layout.tools()?;
            for (index, column) in self.layout.encoders().enumerate() {
                let mut column = column?;
                let field = self.layout.schema.field(index);
                for batch in &self.held {
                    column.append(field, batch.column(index), &mut tools)?;
                }
                bytes += column.finish(&mut tools, &mut group)?;
            }
            self.layout.give_back(tools);
        }
        Ok(Encoded { records: self.records, bytes, payload: Box::new(group) })
    }
}

impl Column {
    fn append(&mut self, field: &Field, array: &ArrayRef, tools: &mut Tools) -> Result<()> {
        match self {
            Column::Direct(chunk) => chunk.append(array, &[], tools).map_err(cannot_encode),
            Column::Leaves(writers) => {
                let leaves = compute_leaves(field, array).map_err(cannot_encode)?;
                if leaves.len() != writers.len() {
                    return Err(Error::internal("a column has other leaves than its type"));
                }
                for (writer, leaf) in writers.iter_mut().zip(&leaves) {
                    writer.write(leaf).map_err(cannot_encode)?;
                }
                Ok(())
            }
        }
    }

    /// Adds the column to its row group; answers the bytes that it takes.
    fn finish(self, tools: &mut Tools, group: &mut EncodedGroup) -> Result<u64> {
        let mut bytes = 0;
        match self {
            Column::Direct(chunk) => {
                let chunk = chunk.finish(tools).map_err(cannot_encode)?;
                bytes += chunk.1.bytes_written;
                group.0.push(EncodedColumn::Direct(chunk));
            }
            Column::Leaves(writers) => {
                for writer in writers {
                    let chunk = writer.close().map_err(cannot_encode)?;
                    bytes += chunk.close().bytes_written;
                    group.0.push(EncodedColumn::Leaf(chunk));
                }
            }
        }
        Ok(bytes)
    }
}

struct File(SerializedFileWriter<BufWriter<Box<dyn Write + Send>>>);

impl Sink for File {
    fn append(&mut self, part: Encoded) -> Result<()> {
        let Ok(group) = part.payload.downcast::<EncodedGroup>() else {
            return Err(Error::internal("a part of another format came to a Parquet file"));
        };
        if group.0.is_empty() {
            return Ok(());
        }
        let mut file = self.0.next_row_group().map_err(cannot_write)?;
        for chunk in group.0 {
            match chunk {
                EncodedColumn::Direct((bytes, close)) => file.append_column(&bytes, close),
                EncodedColumn::Leaf(chunk) => chunk.append_to_row_group(&mut file),
            }
            .map_err(cannot_write)?;
        }
        file.close().map_err(cannot_write)?;
        Ok(())
    }

    fn bytes_written(&self) -> u64 {
        self.0.bytes_written() as u64
    }

    fn finish(mut self: Box<Self>) -> Result<u64> {
        self.0.finish().map_err(cannot_write)?;
        self.0.flush().map_err(|error| Error::io("cannot write Parquet data", error))?;
        Ok(self.0.bytes_written() as u64)
    }
}

fn cannot_encode(error: ParquetError) -> Error {
    Error::internal("a batch could not be encoded as Parquet").caused_by(error)
}

fn cannot_write(error: ParquetError) -> Error {
    match error {
        ParquetError::External(inner) => match inner.downcast::<std::io::Error>() {
            Ok(error) => Error::io("cannot write Parquet data", *error),
            Err(other) => cannot_encode(ParquetError::External(other)),
        },
        other => Error::new(ErrorKind::Destination, "cannot write Parquet data").caused_by(other),
    }
}
