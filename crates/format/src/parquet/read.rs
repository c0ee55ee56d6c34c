//! Reading Parquet files.

use std::fs::File;
use std::io::BufReader;
use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use bytes::Bytes;
use gristmill_core::types::{EXTENSION, JSON_EXTENSION};
use gristmill_core::{
    Batch, Chunk, Error, ErrorKind, Findings, Known, Origin, Prune, ReadPlan, Result, Rows,
};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder,
};
use parquet::basic::{Compression, LogicalType, Type as PhysicalType};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData};
use parquet::file::reader::{ChunkReader, Length};

use super::bounds;
use crate::columnar::{ReadAt, ReadFrom, batch, batch_rows, engine_schema, to_engine, view_type};

/// Uncompressed bytes that a chunk has at most, as far as whole batches allow.
const SLICE: usize = 32 << 20;

/// Reads one Parquet file.
pub struct Reader {
    source: Arc<Source>,
    group: usize,
    row: usize,
    started: bool,
    bytes: u64,
}

struct Source {
    name: Arc<str>,
    file: ReadAt,
    metadata: ArrowReaderMetadata,
    columns: ProjectionMask,
    order: Vec<usize>,
    schema: SchemaRef,
    prune: Option<Arc<dyn Prune>>,
}

impl Source {
    /// The columns of a row group that are read.
    fn read_columns<'a>(
        &self,
        group: &'a RowGroupMetaData,
    ) -> impl Iterator<Item = &'a ColumnChunkMetaData> {
        let columns = group.columns().iter().enumerate();
        columns.filter(|(leaf, _)| self.columns.leaf_included(*leaf)).map(|(_, column)| column)
    }

    /// Whether a record of a row group may go on.
    fn may_pass(&self, group: &RowGroupMetaData) -> bool {
        let Some(prune) = &self.prune else { return true };
        let known = prune.columns().iter().map(|&place| {
            let name = self.schema.field(place).name();
            match self.metadata.schema().index_of(name) {
                Ok(column) => bounds::known(&self.metadata, group, column, &self.schema),
                Err(_) => Known::default(),
            }
        });
        prune.may_pass(group.num_rows() as u64, &known.collect::<Vec<_>>())
    }
}

impl Reader {
    /// Reads the file's footer. `name` is what messages call the file.
    ///
    /// # Errors
    /// When the file is not a Parquet file, or only a part of one, or encrypted or compressed by
    /// a codec that is not supported.
    pub fn open(name: Arc<str>, file: File) -> Result<Self> {
        let cannot_read = |error| Error::io(format!("cannot read `{name}`"), error);
        let file = ReadAt::new(file).map_err(cannot_read)?;
        check_ends(&name, &file)?;
        let options = ArrowReaderOptions::new();
        let metadata = ArrowReaderMetadata::load(&file, options.clone())
            .map_err(|error| failure(&name, error))?;
        check_metadata(&name, metadata.metadata())?;
        let metadata = with_views(metadata, options);
        let schema = marked_schema(&metadata);
        let source = Source {
            columns: ProjectionMask::all(),
            order: (0..schema.fields().len()).collect(),
            schema: engine_schema(&schema),
            name,
            file,
            metadata,
            prune: None,
        };
        Ok(Self { source: Arc::new(source), group: 0, row: 0, started: false, bytes: 0 })
    }

    /// Reads only the columns that this schema has, too, in its order.
    ///
    /// # Errors
    /// Never for a file that could be opened.
    pub fn with_columns_of(self, schema: &Schema) -> Result<Self> {
        let source = &self.source;
        let names = schema.fields().iter().map(|field| field.name());
        let indices: Vec<_> = names.filter_map(|name| source.schema.index_of(name).ok()).collect();
        let mut read = indices.clone();
        read.sort_unstable();
        let source = Source {
            name: Arc::clone(&source.name),
            file: source.file.clone(),
            columns: ProjectionMask::roots(
                source.metadata.parquet_schema(),
                indices.iter().copied(),
            ),
            order: indices.iter().filter_map(|i| read.binary_search(i).ok()).collect(),
            schema: Arc::new(source.schema.project(&indices)?),
            metadata: source.metadata.clone(),
            prune: None,
        };
        Ok(Self { source: Arc::new(source), ..self })
    }

    /// Does not read row groups of whose records none may pass. Each of them becomes a batch
    /// without rows, its records counted as filtered. Places are those of [`Self::schema`].
    #[must_use]
    pub fn with_prune(mut self, prune: Option<Arc<dyn Prune>>) -> Self {
        if let Some(source) = Arc::get_mut(&mut self.source) {
            source.prune = prune;
        }
        self
    }

    /// The columns that are read.
    pub fn schema(&self) -> &SchemaRef {
        &self.source.schema
    }

    /// Records in the file.
    pub fn num_rows(&self) -> u64 {
        let groups = self.source.metadata.metadata().row_groups();
        groups.iter().map(|group| group.num_rows() as u64).sum()
    }
}

impl crate::Reader for Reader {
    fn read_plan(&mut self) -> Result<Option<ReadPlan>> {
        Ok(None)
    }

    fn begin(&mut self, _: Option<&ReadPlan>) -> Result<SchemaRef> {
        Ok(Arc::clone(&self.source.schema))
    }

    fn next_chunk(&mut self) -> Result<Option<Box<dyn Chunk>>> {
        let groups = self.source.metadata.metadata().row_groups();
        while let Some(group) = groups.get(self.group) {
            let rows = group.num_rows() as usize;
            let columns = self.source.read_columns(group);
            if self.row >= rows {
                self.bytes += columns.map(|column| column.compressed_size() as u64).sum::<u64>();
                self.group += 1;
                self.row = 0;
                continue;
            }
            if self.row == 0 && !self.source.may_pass(group) {
                self.group += 1;
                let starts_source = !std::mem::replace(&mut self.started, true);
                let source = Arc::clone(&self.source);
                return Ok(Some(Box::new(Unread { source, rows, starts_source, told: false })));
            }
            let bytes = columns.map(|column| column.uncompressed_size() as usize).sum::<usize>();
            let batch = batch_rows(rows, bytes);
            let slice = rows.div_ceil(bytes.div_ceil(SLICE).max(1)).next_multiple_of(batch);
            let take = slice.min(rows - self.row);
            let chunk = RowGroup {
                source: Arc::clone(&self.source),
                group: self.group,
                first: self.row,
                rows: take,
                batch,
                seen: 0,
                size: (bytes as u64 * take as u64 / rows as u64) as usize,
                starts_source: !self.started,
                decoder: None,
            };
            self.started = true;
            self.row += take;
            return Ok(Some(Box::new(chunk)));
        }
        Ok(None)
    }

    fn bytes_read(&self) -> Option<u64> {
        Some(self.bytes)
    }
}

/// Some rows of a row group.
struct RowGroup {
    source: Arc<Source>,
    group: usize,
    first: usize,
    rows: usize,
    batch: usize,
    seen: usize,
    size: usize,
    starts_source: bool,
    decoder: Option<ParquetRecordBatchReader>,
}

impl RowGroup {
    fn open(&self) -> Result<ParquetRecordBatchReader> {
        let source = &self.source;
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(
            source.file.clone(),
            source.metadata.clone(),
        );
        builder
            .with_row_groups(vec![self.group])
            .with_projection(source.columns.clone())
            .with_batch_size(self.batch)
            .with_offset(self.first)
            .with_limit(self.rows)
            .build()
            .map_err(|error| failure(&source.name, error))
    }
}

impl Chunk for RowGroup {
    fn size(&self) -> usize {
        self.size
    }

    fn starts_source(&self) -> bool {
        self.starts_source
    }

    fn next_batch(&mut self, _: &mut Findings) -> Result<Option<Batch>> {
        if self.seen == self.rows {
            return Ok(None);
        }
        let mut decoder = match self.decoder.take() {
            Some(decoder) => decoder,
            None => self.open()?,
        };
        let source = &self.source;
        let Some(columns) = decoder.next() else {
            let message = format!(
                "`{}` is damaged: row group {} ends after {} of {} records",
                source.name,
                self.group,
                self.first + self.seen,
                self.first + self.rows
            );
            return Err(Error::new(ErrorKind::Corrupt, message));
        };
        let columns = columns.map_err(|error| damaged(&source.name, error))?;
        self.seen += columns.num_rows();
        self.decoder = Some(decoder);
        let columns = columns.project(&source.order)?;
        let columns = to_engine(&source.name, &columns, &source.schema)?;
        batch(&source.name, columns).map(Some)
    }
}

/// A row group that is not read.
struct Unread {
    source: Arc<Source>,
    rows: usize,
    starts_source: bool,
    told: bool,
}

impl Chunk for Unread {
    fn size(&self) -> usize {
        0
    }

    fn starts_source(&self) -> bool {
        self.starts_source
    }

    fn next_batch(&mut self, findings: &mut Findings) -> Result<Option<Batch>> {
        if std::mem::replace(&mut self.told, true) {
            return Ok(None);
        }
        findings.filtered += self.rows as u64;
        let records = RecordBatchOptions::new().with_row_count(Some(self.rows));
        let records =
            RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &records)?;
        let origin = Arc::new(Origin::columns(Arc::clone(&self.source.name), records));
        let columns = RecordBatch::new_empty(Arc::clone(&self.source.schema));
        Batch::new(columns, origin, Rows::Some(Arc::default())).map(Some)
    }
}

impl Length for ReadAt {
    fn len(&self) -> u64 {
        self.size()
    }
}

impl ChunkReader for ReadAt {
    type T = BufReader<ReadFrom>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(BufReader::new(self.from(start)))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        Ok(self.read_exact_at(start, length)?.into())
    }
}

const MAGIC: &[u8] = b"PAR1";
const ENCRYPTED: &[u8] = b"PARE";

fn check_ends(name: &str, file: &ReadAt) -> Result<()> {
    let cannot_read = |error| Error::io(format!("cannot read `{name}`"), error);
    let part = |offset| -> Result<Vec<u8>> {
        let len = 4.min(file.size() - offset) as usize;
        file.read_exact_at(offset, len).map_err(cannot_read)
    };
    let start = part(0)?;
    if start == ENCRYPTED || part(file.size().saturating_sub(4))? == ENCRYPTED {
        return Err(Error::new(ErrorKind::Corrupt, format!("`{name}` is encrypted"))
            .hint("encrypted Parquet files are not supported: write it without encryption"));
    }
    if start.is_empty() || !MAGIC.starts_with(&start) {
        let what = if start.is_empty() { "empty and " } else { "" };
        return Err(Error::new(
            ErrorKind::Corrupt,
            format!("`{name}` is {what}not a Parquet file"),
        )
        .hint("say what it is with `format:`"));
    }
    if file.size() < 12 || part(file.size() - 4)? != MAGIC {
        return Err(Error::new(
            ErrorKind::Truncated,
            format!("`{name}` ends before its Parquet footer, after {} bytes", file.size()),
        )
        .hint("it was cut off while it was written or copied: get it again"));
    }
    Ok(())
}

fn check_metadata(name: &str, metadata: &ParquetMetaData) -> Result<()> {
    for group in metadata.row_groups() {
        let sizes = [group.num_rows(), group.total_byte_size(), group.compressed_size()];
        if sizes.iter().any(|&size| size < 0) {
            let message = format!("`{name}` is damaged: its footer has a negative size");
            return Err(Error::new(ErrorKind::Corrupt, message));
        }
        for column in group.columns() {
            if matches!(column.compression(), Compression::BROTLI(_) | Compression::LZO) {
                let message = format!(
                    "column `{}` of `{name}` is compressed with {}, which is not supported",
                    column.column_path().string(),
                    column.compression()
                );
                return Err(Error::new(ErrorKind::Corrupt, message)
                    .hint("write the file with snappy, zstd, gzip or lz4"));
            }
        }
    }
    Ok(())
}

/// Asks for texts as views right from the decoder, and for the old `INT96` timestamps in
/// microseconds, in which the year 9999 fits.
fn with_views(metadata: ArrowReaderMetadata, options: ArrowReaderOptions) -> ArrowReaderMetadata {
    let roots = metadata.parquet_schema().root_schema().get_fields();
    let fields = metadata.schema().fields().iter().zip(roots).map(|(field, root)| {
        let int96 = root.is_primitive() && root.get_physical_type() == PhysicalType::INT96;
        let data_type = match field.data_type() {
            DataType::Timestamp(TimeUnit::Nanosecond, None) if int96 => {
                DataType::Timestamp(TimeUnit::Microsecond, None)
            }
            other => view_type(other),
        };
        field.as_ref().clone().with_data_type(data_type)
    });
    let schema =
        Schema::new_with_metadata(fields.collect::<Vec<_>>(), metadata.schema().metadata().clone());
    // A hint that the decoder does not take is no loss: columns are converted after it.
    let hinted = options.with_schema(Arc::new(schema));
    ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), hinted).unwrap_or(metadata)
}

/// The decoder's schema, with JSON columns marked as such.
fn marked_schema(metadata: &ArrowReaderMetadata) -> Schema {
    let roots = metadata.parquet_schema().root_schema().get_fields();
    let fields = metadata.schema().fields().iter().zip(roots).map(|(field, root)| {
        let mut field: Field = field.as_ref().clone();
        if root.get_basic_info().logical_type_ref() == Some(&LogicalType::Json) {
            field.metadata_mut().insert(EXTENSION.into(), JSON_EXTENSION.into());
        }
        field
    });
    Schema::new(fields.collect::<Vec<_>>())
}

fn failure(name: &str, error: ParquetError) -> Error {
    match error {
        ParquetError::External(inner) => match inner.downcast::<std::io::Error>() {
            Ok(error) => Error::io(format!("cannot read `{name}`"), *error),
            Err(other) => damaged(name, ParquetError::External(other)),
        },
        other => damaged(name, other),
    }
}

fn damaged(name: &str, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Corrupt, format!("`{name}` is a damaged Parquet file"))
        .caused_by(error)
        .hint("get the file again, or write it again from its source")
}
