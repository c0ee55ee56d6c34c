//! A column chunk, encoded straight from arrays: pages of values, levels and dictionary, with
//! their statistics and indexes. Thrift is left to the `parquet` crate.

use std::ops::Range;

use arrow_array::Array;
use arrow_buffer::{BooleanBufferBuilder, Buffer, NullBuffer, NullBufferBuilder};
use parquet::basic::{BoundaryOrder, Encoding, EncodingMask};
use parquet::column::page::{CompressedPage, Page};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;
use parquet::file::metadata::{
    ColumnChunkMetaData, ColumnIndexBuilder, LevelHistogram, OffsetIndexBuilder,
};
use parquet::schema::types::ColumnDescPtr;

use super::dictionary::Dictionary;
use super::gathered::Gathered;
use super::hybrid;
use super::kind::{Bounds, Kind, widen};
use super::strided::{Place, Stride};
use super::tools::{HEAD, PAGE_BYTES, PAGE_ROWS, Tools};
use super::written::Written;

/// Bytes of a dictionary from which on no more values are looked up: the crate's default.
const DICTIONARY_BYTES: usize = 1 << 20;
/// The width of the smallest values that may have a shape.
const MIN_WIDTH: usize = 4;
/// Values after which a dictionary that found hardly a value twice is given up.
const TRIAL: usize = 2048;
/// Rows that are copied, looked up and compared before the next ones, so that they stay in the
/// nearest cache meanwhile.
const STEP: usize = 1024;

/// A column chunk being encoded.
pub(super) trait Chunk: Send {
    /// Adds the rows of an array but for those that are dropped, which ascend.
    fn append(
        &mut self,
        array: &dyn Array,
        dropped: &[u32],
        tools: &mut Tools,
    ) -> Result<(), ParquetError>;

    /// The bytes of the chunk and what the metadata says of it.
    fn finish(self: Box<Self>, tools: &mut Tools) -> Result<Encoded, ParquetError>;
}

/// A column chunk as it stands in the file, but for offsets, which begin at 0.
pub(super) type Encoded = (Gathered, ColumnCloseResult);

/// The pages of a column chunk.
pub(super) struct Pages<K: Kind> {
    kind: K,
    column: ColumnDescPtr,
    /// The page that is being filled.
    open: Open<K>,
    /// Pages that are full. They are put behind each other when it is known how long they are.
    complete: Vec<CompressedPage>,
    dictionary: Option<Dictionary>,
    /// Whether further values go through the dictionary.
    look_up: bool,
    /// Cells without dropped rows.
    kept: Vec<K::Cell>,
    /// Cells without nulls.
    dense: Vec<K::Cell>,
    rows: usize,
    nulls: usize,
    bounds: Option<Bounds<K>>,
    variable_bytes: Option<i64>,
    order: Order<K>,
    column_index: ColumnIndexBuilder,
    offset_index: OffsetIndexBuilder,
    /// How pages are compressed.
    place: Place,
}

/// A page being filled.
struct Open<K: Kind> {
    rows: usize,
    validity: NullBufferBuilder,
    /// Values as ids of the dictionary, or `PLAIN`, behind room for levels: one of both is empty.
    /// Without that room before the first rows come.
    ids: Vec<u32>,
    values: Vec<u8>,
    /// Values, and the bytes that they take as `PLAIN`.
    count: usize,
    size: usize,
    /// Bytes of the dictionary before this page.
    known: usize,
    bounds: Option<Bounds<K>>,
}

impl<K: Kind> Open<K> {
    fn new() -> Self {
        let validity = NullBufferBuilder::new(PAGE_ROWS);
        let (ids, values) = (Vec::new(), Vec::new());
        Self { rows: 0, validity, ids, values, count: 0, size: 0, known: 0, bounds: None }
    }
}

/// Whether the bounds of pages only grow, or only fall.
struct Order<K: Kind> {
    ascending: bool,
    descending: bool,
    last: Option<Bounds<K>>,
}

impl<K: Kind> Order<K> {
    fn note(&mut self, kind: &K, bounds: &Bounds<K>) {
        if let Some((min, max)) = &self.last {
            self.ascending &= !kind.less(&bounds.0, min) && !kind.less(&bounds.1, max);
            self.descending &= !kind.less(min, &bounds.0) && !kind.less(max, &bounds.1);
        }
        self.last = Some(bounds.clone());
    }

    fn boundary(&self) -> BoundaryOrder {
        match (self.ascending, self.descending) {
            (true, _) => BoundaryOrder::ASCENDING,
            (false, true) => BoundaryOrder::DESCENDING,
            (false, false) => BoundaryOrder::UNORDERED,
        }
    }
}

impl<K: Kind> Pages<K> {
    pub(super) fn new(kind: K, column: ColumnDescPtr) -> Self {
        let column_index = ColumnIndexBuilder::new(column.physical_type());
        Self {
            kind,
            column,
            open: Open::new(),
            complete: Vec::new(),
            dictionary: K::DICTIONARY.then(Dictionary::new),
            look_up: K::DICTIONARY,
            kept: Vec::new(),
            dense: Vec::new(),
            rows: 0,
            nulls: 0,
            bounds: None,
            variable_bytes: None,
            order: Order { ascending: true, descending: true, last: None },
            column_index,
            offset_index: OffsetIndexBuilder::new(),
            place: Place::default(),
        }
    }

    /// Adds rows, page by page.
    fn append_rows(
        &mut self,
        cells: &[K::Cell],
        heap: &[Buffer],
        nulls: Option<&NullBuffer>,
        tools: &mut Tools,
    ) -> Result<(), ParquetError> {
        if self.open.values.is_empty() {
            (self.open.values, self.open.ids) = tools.page();
        }
        let far: usize = heap.iter().map(Buffer::len).sum();
        let mut start = 0;
        while start < cells.len() {
            let mut rows = (cells.len() - start).min(PAGE_ROWS - self.open.rows).min(STEP);
            let trial = self.on_trial();
            if trial {
                rows = rows.min(TRIAL - self.open.count);
            }
            // What is looked up is written once, so that its size is of no matter.
            if !self.look_up || far > PAGE_BYTES {
                let bytes = (HEAD + PAGE_BYTES).saturating_sub(self.open.values.len());
                rows = self.kind.fit(&cells[start..start + rows], bytes).max(1);
            }
            let validity = nulls.map(|nulls| nulls.slice(start, rows));
            self.put(&cells[start..start + rows], heap, validity.as_ref());
            start += rows;

            if let Some(dictionary) = self.dictionary.as_ref().filter(|_| self.look_up) {
                let failed =
                    trial && self.open.count >= TRIAL && dictionary.len() * 8 > self.open.count * 7;
                if failed || dictionary.page().len() > DICTIONARY_BYTES {
                    self.give_up(tools)?;
                }
            }
            if self.open.rows >= PAGE_ROWS || self.open.values.len() >= HEAD + PAGE_BYTES {
                self.close_page(tools)?;
            }
        }
        Ok(())
    }

    /// Adds rows that the open page has room for.
    fn put(&mut self, cells: &[K::Cell], heap: &[Buffer], validity: Option<&NullBuffer>) {
        self.open.rows += cells.len();
        let Some(validity) = validity.filter(|validity| validity.null_count() > 0) else {
            self.open.validity.append_n_non_nulls(cells.len());
            return self.put_values(cells, heap);
        };
        self.open.validity.append_buffer(validity);
        let mut dense = std::mem::take(&mut self.dense);
        dense.clear();
        for (start, end) in validity.valid_slices() {
            dense.extend_from_slice(&cells[start..end]);
        }
        self.put_values(&dense, heap);
        self.dense = dense;
    }

    fn put_values(&mut self, cells: &[K::Cell], heap: &[Buffer]) {
        let (kind, open) = (&self.kind, &mut self.open);
        open.count += cells.len();
        match &mut self.dictionary {
            Some(dictionary) if self.look_up => {
                open.size += kind.size(cells);
                kind.intern(cells, heap, dictionary, &mut open.ids);
            }
            _ => {
                widen(kind, &mut open.bounds, kind.bounds(cells, heap));
                let before = open.values.len();
                kind.plain(cells, heap, &mut open.values);
                open.size += open.values.len() - before;
            }
        }
    }

    /// Whether the open page is the first one and has yet to show that a dictionary pays.
    fn on_trial(&self) -> bool {
        self.look_up && self.complete.is_empty() && self.open.count < TRIAL
    }

    /// Whether the open page is smaller by its ids and what it added to the dictionary.
    fn pays(&self, dictionary: &Dictionary) -> bool {
        let added = dictionary.page().len() - self.open.known;
        let ids = self.open.count * hybrid::width(dictionary.len()) as usize / 8;
        (added + ids) * 4 <= self.open.size * 3
    }

    /// Looks up no more values. The first page becomes `PLAIN` and the dictionary is forgotten;
    /// a later one ends here.
    fn give_up(&mut self, tools: &mut Tools) -> Result<(), ParquetError> {
        if self.complete.is_empty() {
            self.forget();
        } else if self.open.rows > 0 {
            self.close_page(tools)?;
        }
        self.look_up = false;
        Ok(())
    }

    fn forget(&mut self) {
        let Some(dictionary) = self.dictionary.take() else {
            return;
        };
        self.look_up = false;
        self.open.bounds = self.entry_bounds(&dictionary);
        for id in self.open.ids.drain(..) {
            self.open.values.extend_from_slice(dictionary.plain(id as usize));
        }
    }

    /// The bounds of those entries that the open page has.
    fn entry_bounds(&self, dictionary: &Dictionary) -> Option<Bounds<K>> {
        let mut present = vec![false; dictionary.len()];
        for &id in &self.open.ids {
            present[id as usize] = true;
        }
        let ids = present.iter().enumerate().filter_map(|(id, &present)| present.then_some(id));
        self.kind.entry_bounds(dictionary, ids)
    }

    fn close_page(&mut self, tools: &mut Tools) -> Result<(), ParquetError> {
        let pays = self.dictionary.as_ref().is_none_or(|dictionary| self.pays(dictionary));
        if self.look_up && !pays && self.complete.is_empty() {
            self.forget();
        }
        let encoding = self.write_values();
        self.look_up &= pays;

        let validity = self.open.validity.finish();
        let nulls = validity.as_ref().map_or(0, NullBuffer::null_count);
        let levels = &mut tools.levels;
        levels.clear();
        if self.column.max_def_level() > 0 {
            levels.extend_from_slice(&[0; 4]);
            hybrid::levels(self.open.rows, validity.as_ref(), levels);
            let len = levels.len() as u32 - 4;
            levels[..4].copy_from_slice(&len.to_le_bytes());
        } else if nulls > 0 {
            let name = self.column.name();
            return Err(ParquetError::General(format!("`{name}` must not be null, but is")));
        }
        let stride = self.stride(encoding, levels.len());
        self.open.values[HEAD - levels.len()..HEAD].copy_from_slice(levels);
        let page = &self.open.values[HEAD - levels.len()..];
        let data = Page::DataPage {
            buf: tools.compressor.compress(page, stride, &mut self.place)?,
            num_values: self.open.rows as u32,
            encoding,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        let data = CompressedPage::new(data, page.len());
        self.complete.push(data);
        self.note_page(nulls);

        let open = &mut self.open;
        open.values.truncate(HEAD);
        (open.rows, open.count, open.size) = (0, 0, 0);
        open.known = self.dictionary.as_ref().map_or(0, |dictionary| dictionary.page().len());
        Ok(())
    }

    /// Brings the values of the open page to the form that they have in the file.
    fn write_values(&mut self) -> Encoding {
        match &self.dictionary {
            Some(dictionary) if self.look_up => {
                self.open.bounds = self.entry_bounds(dictionary);
                let width = hybrid::width(dictionary.len());
                self.open.values.push(width as u8);
                hybrid::ids(&self.open.ids, width, &mut self.open.values);
                self.open.ids.clear();
                Encoding::RLE_DICTIONARY
            }
            _ => {
                self.kind.seal(&mut self.open.values, HEAD);
                Encoding::PLAIN
            }
        }
    }

    /// Where the values of the open page lie, if they seem to have all the same width.
    fn stride(&self, encoding: Encoding, first: usize) -> Option<Stride> {
        let (size, count) = (self.open.values.len() - HEAD, self.open.count);
        let is_plain = encoding == Encoding::PLAIN && count > 0;
        (is_plain && size >= count * MIN_WIDTH && size % count == 0)
            .then(|| Stride { first, width: size / count })
    }

    /// Statistics and indexes of a page.
    fn note_page(&mut self, nulls: usize) {
        let Open { rows, count, size, .. } = self.open;
        let bounds = self.open.bounds.take();
        let histogram = self.histogram(rows, nulls);
        let index = &mut self.column_index;
        match &bounds {
            _ if nulls == rows => index.append(true, Vec::new(), Vec::new(), nulls as i64),
            // Values without an order, such as NaN alone: nothing can be said of the page.
            None => index.to_invalid(),
            Some(bounds) => {
                self.order.note(&self.kind, bounds);
                let (min, max) = self.kind.index(bounds);
                index.append(false, min, max, nulls as i64);
            }
        }
        index.append_histograms(&None, &histogram);
        let variable_bytes = self.kind.variable_bytes(size, count);
        self.offset_index.append_row_count(rows as i64);
        self.offset_index.append_unencoded_byte_array_data_bytes(variable_bytes);
        if let Some(bytes) = variable_bytes {
            *self.variable_bytes.get_or_insert(0) += bytes;
        }
        widen(&self.kind, &mut self.bounds, bounds);
        self.rows += rows;
        self.nulls += nulls;
    }

    /// How often each definition level occurs.
    fn histogram(&self, rows: usize, nulls: usize) -> Option<LevelHistogram> {
        let mut histogram = LevelHistogram::try_new(self.column.max_def_level())?;
        histogram.increment_by(0, nulls as i64);
        histogram.increment_by(1, (rows - nulls) as i64);
        Some(histogram)
    }
}

/// The rows between those that are dropped, which ascend.
fn runs(dropped: &[u32], rows: usize) -> impl Iterator<Item = Range<usize>> {
    let mut next = 0;
    let ends = dropped.iter().map(|&row| row as usize).chain([rows]);
    ends.map(move |end| std::mem::replace(&mut next, end + 1)..end).filter(|run| !run.is_empty())
}

impl<K: Kind> Chunk for Pages<K> {
    fn append(
        &mut self,
        array: &dyn Array,
        dropped: &[u32],
        tools: &mut Tools,
    ) -> Result<(), ParquetError> {
        let Some(cells) = self.kind.cells(array) else {
            let message = format!("`{}` came as {}", self.column.name(), array.data_type());
            return Err(ParquetError::General(message));
        };
        let heap = self.kind.heap(array);
        if dropped.is_empty() {
            return self.append_rows(&cells, heap, array.nulls(), tools);
        }
        let mut kept = std::mem::take(&mut self.kept);
        kept.clear();
        let mut valid = array.nulls().map(|_| BooleanBufferBuilder::new(2 * STEP));
        for run in runs(dropped, cells.len()) {
            for start in run.clone().step_by(STEP) {
                let rows = start..run.end.min(start + STEP);
                if let (Some(valid), Some(nulls)) = (&mut valid, array.nulls()) {
                    let first = nulls.offset() + rows.start;
                    valid.append_packed_range(first..first + rows.len(), nulls.validity());
                }
                kept.extend_from_slice(&cells[rows]);
                if kept.len() >= STEP {
                    let nulls = valid.as_mut().map(|valid| NullBuffer::new(valid.finish()));
                    self.append_rows(&kept, heap, nulls.as_ref(), tools)?;
                    kept.clear();
                }
            }
        }
        let nulls = valid.as_mut().map(|valid| NullBuffer::new(valid.finish()));
        self.append_rows(&kept, heap, nulls.as_ref(), tools)?;
        self.kept = kept;
        Ok(())
    }

    fn finish(mut self: Box<Self>, tools: &mut Tools) -> Result<Encoded, ParquetError> {
        if self.open.rows > 0 {
            self.close_page(tools)?;
        }
        let mut first = None;
        if let Some(dictionary) = &self.dictionary {
            let page = Page::DictionaryPage {
                buf: tools.compressor.compress(dictionary.page(), None, &mut self.place)?,
                num_values: dictionary.len() as u32,
                encoding: Encoding::PLAIN,
                is_sorted: false,
            };
            first = Some(CompressedPage::new(page, dictionary.page().len()));
        }
        let Open { values, ids, .. } = &mut self.open;
        tools.give_back(std::mem::take(values), std::mem::take(ids));
        let pages = std::mem::take(&mut self.complete);
        let mut written = Written::new();
        for page in first.into_iter().chain(pages) {
            written.add(page, &mut self.offset_index)?;
        }
        let bytes = written.out.into_inner()?.finish();

        let encodings: Vec<_> = written.stats.iter().map(|stats| stats.encoding).collect();
        let encodings = EncodingMask::new_from_encodings(encodings.iter().chain(&[Encoding::RLE]));
        let signed = self.column.sort_order().is_signed();
        let nulls = self.nulls as u64;
        let metadata = ColumnChunkMetaData::builder(self.column.clone())
            .set_compression(tools.compressor.compression())
            .set_encodings_mask(encodings)
            .set_page_encoding_stats(written.stats)
            .set_total_compressed_size(bytes.len() as i64)
            .set_total_uncompressed_size(written.uncompressed as i64)
            .set_num_values(self.rows as i64)
            .set_data_page_offset(written.first.unwrap_or(0))
            .set_dictionary_page_offset(written.dictionary)
            .set_statistics(self.kind.statistics(self.bounds.take(), nulls, signed))
            .set_unencoded_byte_array_data_bytes(self.variable_bytes)
            .set_definition_level_histogram(self.histogram(self.rows, self.nulls))
            .build()?;
        self.column_index.set_boundary_order(self.order.boundary());
        let index = self.column_index;
        let close = ColumnCloseResult {
            bytes_written: bytes.len() as u64,
            rows_written: self.rows as u64,
            metadata,
            bloom_filter: None,
            column_index: if index.valid() { Some(index.build()?) } else { None },
            offset_index: Some(self.offset_index.build()),
        };
        Ok((bytes, close))
    }
}
