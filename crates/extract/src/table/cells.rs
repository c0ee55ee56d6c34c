//! Values of rows as they come one by one, and the columns that become of them.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::builder::make_view;
use arrow_array::{
    ArrayRef, BinaryViewArray, Float64Array, Int64Array, RecordBatch, RecordBatchOptions,
    StringViewArray,
};
use arrow_buffer::{Buffer, NullBuffer, NullBufferBuilder, ScalarBuffer};
use arrow_schema::SchemaRef;
use bytes::Bytes;
use gristmill_core::text::{ColumnBuilder, ColumnPlan, print};
use gristmill_core::{ByteSize, FieldType, Result};

use super::rows::{Unfit, takes_all};

/// Bytes that a batch has about.
const BATCH: usize = 1 << 20;
/// Integers up to this are numbers of 64 bits with a point, too.
const EXACT: i64 = 1 << 53;

/// A value. Texts and blobs stand in the bytes of their piece.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cell {
    Null,
    Int(i64),
    Real(f64),
    Text(u32, u32),
    Blob(u32, u32),
}

/// Some rows, one after the other, while they come.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) cells: Vec<Cell>,
    bytes: Vec<u8>,
    /// Where the bytes of each row end.
    ends: Vec<u32>,
    /// Rows that were too long.
    long: Vec<usize>,
}

/// Some rows that are there.
#[derive(Debug)]
pub(super) struct Piece {
    cells: Vec<Cell>,
    bytes: Bytes,
    ends: Vec<u32>,
    long: Vec<usize>,
}

impl Rows {
    /// Memory that they take.
    pub(super) fn size(&self) -> usize {
        self.bytes.len() + self.cells.len() * size_of::<Cell>()
    }

    /// Where the bytes of the next row begin.
    pub(super) fn begin(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn text(&mut self, text: &[u8]) {
        let (start, len) = self.keep(text);
        self.cells.push(Cell::Text(start, len));
    }

    pub(super) fn blob(&mut self, blob: &[u8]) {
        let (start, len) = self.keep(blob);
        self.cells.push(Cell::Blob(start, len));
    }

    fn keep(&mut self, bytes: &[u8]) -> (u32, u32) {
        let start = self.bytes.len() as u32;
        self.bytes.extend_from_slice(bytes);
        (start, bytes.len() as u32)
    }

    /// Ends a row; of one that is too long nothing is kept.
    pub(super) fn end(&mut self, start: usize, columns: usize, longest: u64) {
        if (self.bytes.len() - start) as u64 > longest {
            self.bytes.truncate(start);
            let first = self.cells.len() - columns;
            self.cells[first..].fill(Cell::Null);
            self.long.push(first / columns);
        }
        self.ends.push(self.bytes.len() as u32);
    }

    /// All of them, and none are left.
    pub(super) fn take(&mut self) -> Piece {
        let rows = std::mem::take(self);
        Piece { cells: rows.cells, bytes: rows.bytes.into(), ends: rows.ends, long: rows.long }
    }

    /// Adds rows of a piece.
    pub(super) fn extend(&mut self, piece: &Piece, rows: Range<usize>) {
        let (from, to) = (piece.bytes_of(rows.start), piece.bytes_of(rows.end));
        let (start, before) = (self.bytes.len() as u32, self.ends.len());
        let moved = |offset: u32| offset - from as u32 + start;
        let width = piece.width();
        let cells = &piece.cells[rows.start * width..rows.end * width];
        self.cells.extend(cells.iter().map(|cell| match *cell {
            Cell::Text(offset, len) => Cell::Text(moved(offset), len),
            Cell::Blob(offset, len) => Cell::Blob(moved(offset), len),
            other => other,
        }));
        self.bytes.extend_from_slice(&piece.bytes[from..to]);
        self.ends.extend(piece.ends[rows.clone()].iter().map(|end| moved(*end)));
        let long = piece.long.iter().filter(|row| rows.contains(row));
        self.long.extend(long.map(|row| row - rows.start + before));
    }
}

impl Piece {
    /// Memory that it takes.
    pub(super) fn size(&self) -> usize {
        self.bytes.len() + self.cells.len() * size_of::<Cell>()
    }

    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Memory that the first rows take.
    pub(super) fn size_of(&self, rows: usize) -> usize {
        self.bytes_of(rows) + rows * self.width() * size_of::<Cell>()
    }

    fn bytes_of(&self, rows: usize) -> usize {
        rows.checked_sub(1).map_or(0, |last| self.ends[last] as usize)
    }

    /// How many cells a row has.
    fn width(&self) -> usize {
        self.cells.len() / self.len().max(1)
    }

    /// The rows of the next batch, from `row` on.
    pub(super) fn batch(&self, row: usize) -> Range<usize> {
        let rows = self.len();
        let size = (self.size() / rows.max(1)).max(1);
        row..rows.min(row + (BATCH / size).max(1))
    }

    /// These rows as columns, and the values that their columns cannot hold.
    pub(super) fn columns(
        &self,
        rows: Range<usize>,
        schema: &SchemaRef,
        types: &[FieldType],
        longest: ByteSize,
    ) -> Result<(RecordBatch, Vec<Unfit>)> {
        let mut unfit = Vec::new();
        let long = self.long.iter().filter(|row| rows.contains(row));
        unfit.extend(long.map(|row| Unfit {
            row: row - rows.start,
            column: None,
            value: longest.to_string(),
        }));
        let cells = &self.cells[rows.start * types.len()..rows.end * types.len()];
        let mut arrays = Vec::with_capacity(types.len());
        for (i, field_type) in types.iter().enumerate() {
            let column = Column { bytes: &self.bytes, cells, first: i, step: types.len() };
            let mut bad = Vec::new();
            arrays.push(column.array(schema.field(i).name(), *field_type, &mut bad));
            unfit.extend(bad.into_iter().map(|(row, value)| Unfit { row, column: Some(i), value }));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        Ok((RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &options)?, unfit))
    }
}

/// One column of some rows.
struct Column<'a> {
    bytes: &'a Bytes,
    cells: &'a [Cell],
    first: usize,
    step: usize,
}

/// Rows whose value cannot be kept, with the value.
type Bad = Vec<(usize, String)>;

impl Column<'_> {
    fn iter(&self) -> impl Iterator<Item = Cell> {
        self.cells.iter().skip(self.first).step_by(self.step).copied()
    }

    fn slice(&self, start: u32, len: u32) -> &[u8] {
        &self.bytes[start as usize..start as usize + len as usize]
    }

    fn array(&self, name: &str, field_type: FieldType, bad: &mut Bad) -> ArrayRef {
        match field_type {
            FieldType::Int => {
                Arc::new(Int64Array::from_iter(self.numbers(bad, |cell| match cell {
                    Cell::Int(value) => Some(value),
                    _ => None,
                })))
            }
            FieldType::Double => {
                Arc::new(Float64Array::from_iter(self.numbers(bad, |cell| match cell {
                    Cell::Real(value) => Some(value),
                    Cell::Int(value) if (-EXACT..=EXACT).contains(&value) => Some(value as f64),
                    _ => None,
                })))
            }
            FieldType::String | FieldType::Json => match self.texts() {
                Some(texts) => Arc::new(texts),
                None => self.parsed(name, field_type, bad),
            },
            FieldType::Binary => match self.views(|cell| matches!(cell, Cell::Blob(..))) {
                Some((views, nulls)) => Arc::new(BinaryViewArray::new(views, self.blocks(), nulls)),
                None => self.parsed(name, field_type, bad),
            },
            _ => self.parsed(name, field_type, bad),
        }
    }

    fn numbers<T>(&self, bad: &mut Bad, number: impl Fn(Cell) -> Option<T>) -> Vec<Option<T>> {
        let value = |(row, cell)| match cell {
            Cell::Null => None,
            cell => {
                let number = number(cell);
                if number.is_none() {
                    bad.push((row, self.shown(cell)));
                }
                number
            }
        };
        self.iter().enumerate().map(value).collect()
    }

    fn blocks(&self) -> Vec<Buffer> {
        vec![Buffer::from(self.bytes.clone())]
    }

    /// Views of the values, where all are such or null.
    fn views(
        &self,
        fits: impl Fn(Cell) -> bool,
    ) -> Option<(ScalarBuffer<u128>, Option<NullBuffer>)> {
        let rows = self.cells.len() / self.step;
        let mut views = Vec::with_capacity(rows);
        let mut nulls = NullBufferBuilder::new(rows);
        for cell in self.iter() {
            views.push(match cell {
                Cell::Null => 0,
                Cell::Text(start, len) | Cell::Blob(start, len) if fits(cell) => {
                    make_view(self.slice(start, len), 0, start)
                }
                _ => return None,
            });
            nulls.append(!matches!(cell, Cell::Null));
        }
        Some((views.into(), nulls.finish()))
    }

    /// Texts that are all UTF-8.
    fn texts(&self) -> Option<StringViewArray> {
        let (views, nulls) = self.views(|cell| matches!(cell, Cell::Text(..)))?;
        StringViewArray::try_new(views, self.blocks(), nulls).ok()
    }

    /// Values of all kinds by their text.
    fn parsed(&self, name: &str, field_type: FieldType, bad: &mut Bad) -> ArrayRef {
        let mut builder =
            ColumnBuilder::new(&ColumnPlan::new(name, field_type), self.cells.len() / self.step);
        for (row, cell) in self.iter().enumerate() {
            let mut window = [0; 48];
            let text = match cell {
                Cell::Null => {
                    builder.append_null();
                    continue;
                }
                Cell::Text(start, len) if len > 0 || takes_all(field_type) => {
                    (field_type != FieldType::Binary).then(|| self.slice(start, len))
                }
                Cell::Blob(start, len) => {
                    (field_type == FieldType::Binary).then(|| self.slice(start, len))
                }
                Cell::Int(value) if takes_numbers(field_type) => {
                    let len = print::int(&mut window, value);
                    Some(&window[..len])
                }
                Cell::Real(value) if takes_numbers(field_type) => {
                    let len = print::double(&mut window, value);
                    Some(&window[..len])
                }
                _ => None,
            };
            match text {
                None => {
                    builder.append_null();
                    bad.push((row, self.shown(cell)));
                }
                Some(text) => {
                    if let Err(error) = builder.push(text) {
                        bad.push((row, error.value));
                    }
                }
            }
        }
        builder.finish()
    }

    fn shown(&self, cell: Cell) -> String {
        let mut window = [0; 48];
        let text = match cell {
            Cell::Null => return String::new(),
            Cell::Blob(_, len) => return format!("{len} bytes"),
            Cell::Text(start, len) => self.slice(start, len),
            Cell::Int(value) => {
                let len = print::int(&mut window, value);
                &window[..len]
            }
            Cell::Real(value) => {
                let len = print::double(&mut window, value);
                &window[..len]
            }
        };
        String::from_utf8_lossy(text).into_owned()
    }
}

/// Whether a number may stand for a value of a type.
fn takes_numbers(field_type: FieldType) -> bool {
    matches!(
        field_type,
        FieldType::String | FieldType::Json | FieldType::Bool | FieldType::Decimal { .. }
    )
}
