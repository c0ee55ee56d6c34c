//! Rows in the binary form of `COPY`, read into columns.
//!
//! Text and bytes are not copied: columns of them point into the piece that the server sent.

use std::sync::Arc;

use arrow_array::builder::make_view;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type,
    Int64Type, Time64MicrosecondType, TimestampMicrosecondType,
};
use arrow_array::{
    ArrayRef, BinaryViewArray, BooleanArray, ListArray, PrimitiveArray, RecordBatch,
    RecordBatchOptions, StringViewArray,
};
use arrow_buffer::{
    BooleanBufferBuilder, Buffer, NullBuffer, NullBufferBuilder, OffsetBuffer, ScalarBuffer,
};
use arrow_schema::{ArrowError, SchemaRef};
use bytes::Bytes;
use uuid::Uuid;

use crate::copy::{EPOCH_DAYS, EPOCH_MICROS};
use crate::results::{Reading, ResultColumn};

/// Bytes of rows that a batch has about.
const BATCH: usize = 1 << 20;
/// Rows that a batch has at most.
const MAX_ROWS: usize = 64 << 10;
const MICROS_PER_DAY: i64 = 86_400_000_000;

/// A value that is there and cannot be kept, or a row that is too long. In its place are nulls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// The row in its batch.
    pub row: usize,
    /// The number of its column; `None` for the whole row.
    pub column: Option<usize>,
    /// The value, as far as it has a text.
    pub value: String,
}

/// Rows that are not what the protocol promises.
#[derive(Debug)]
pub struct Malformed(String);

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Malformed {}

impl From<ArrowError> for Malformed {
    fn from(error: ArrowError) -> Self {
        Self(error.to_string())
    }
}

/// Reads a piece of whole rows, in batches that stay in a cache.
#[derive(Debug)]
pub struct Reader {
    columns: Arc<[ResultColumn]>,
    schema: SchemaRef,
    bytes: Bytes,
    at: usize,
    longest: u64,
    cells: Vec<Cell>,
    long: Vec<usize>,
}

impl Reader {
    /// For rows of these columns, whose fields are those of `schema`.
    pub fn new(columns: Arc<[ResultColumn]>, schema: SchemaRef, bytes: Bytes) -> Self {
        let (cells, long) = (Vec::new(), Vec::new());
        Self { columns, schema, bytes, at: 0, longest: u64::MAX, cells, long }
    }

    /// Leaves out the values of rows longer than this.
    #[must_use]
    pub fn longest(self, longest: u64) -> Self {
        Self { longest, ..self }
    }

    /// The next batch, and what of it could not be read; `None` at the end.
    ///
    /// # Errors
    /// When the bytes are not such rows.
    pub fn next_batch(&mut self) -> Result<Option<(RecordBatch, Vec<Unread>)>, Malformed> {
        let rows = self.split()?;
        if rows == 0 {
            return Ok(None);
        }
        let mut arrays = Vec::with_capacity(self.columns.len());
        let long = self.long.drain(..);
        let mut unread: Vec<_> =
            long.map(|row| Unread { row, column: None, value: String::new() }).collect();
        for (i, column) in self.columns.iter().enumerate() {
            let cells = Cells {
                bytes: &self.bytes,
                cells: &self.cells,
                first: i,
                step: self.columns.len(),
            };
            let mut bad = Vec::new();
            arrays.push(array(&column.reading, &cells, &mut bad)?);
            unread.extend(bad.into_iter().map(|(row, value)| Unread {
                row,
                column: Some(i),
                value,
            }));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let schema = Arc::clone(&self.schema);
        Ok(Some((RecordBatch::try_new_with_options(schema, arrays, &options)?, unread)))
    }

    /// Finds the values of the next rows, and says how many rows they are.
    fn split(&mut self) -> Result<usize, Malformed> {
        let bytes = &self.bytes[..];
        let cut_short = || Malformed("a row is cut short".to_owned());
        self.cells.clear();
        let (begin, mut rows) = (self.at, 0);
        while self.at < bytes.len() && self.at - begin < BATCH && rows < MAX_ROWS {
            let count = i16_at(bytes, self.at).ok_or_else(cut_short)?;
            let start = self.at;
            self.at += 2;
            if count == -1 {
                self.at = bytes.len();
                break;
            }
            if usize::try_from(count) != Ok(self.columns.len()) {
                return Err(Malformed(format!("a row has {count} values")));
            }
            for _ in 0..count {
                let cell = cell_at(bytes, &mut self.at).ok_or_else(cut_short)?;
                self.cells.push(cell);
            }
            if (self.at - start) as u64 > self.longest {
                let cells = self.cells.len() - self.columns.len();
                self.cells[cells..].fill(Cell { start: 0, len: -1 });
                self.long.push(rows);
            }
            rows += 1;
        }
        Ok(rows)
    }
}

/// Where a value is; a null has a length below zero.
#[derive(Debug, Clone, Copy)]
struct Cell {
    start: u32,
    len: i32,
}

fn cell_at(bytes: &[u8], at: &mut usize) -> Option<Cell> {
    let len = i32_at(bytes, *at)?;
    *at += 4;
    let cell = Cell { start: u32::try_from(*at).ok()?, len };
    *at += usize::try_from(len).unwrap_or(0);
    (*at <= bytes.len()).then_some(cell)
}

fn i16_at(bytes: &[u8], at: usize) -> Option<i16> {
    Some(i16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn i32_at(bytes: &[u8], at: usize) -> Option<i32> {
    Some(i32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The values of one column.
struct Cells<'a> {
    bytes: &'a Bytes,
    cells: &'a [Cell],
    first: usize,
    step: usize,
}

impl<'a> Cells<'a> {
    fn len(&self) -> usize {
        self.cells.len() / self.step
    }

    fn iter(&self) -> impl Iterator<Item = Option<(u32, &'a [u8])>> + use<'a> {
        let bytes: &'a [u8] = self.bytes;
        self.cells.iter().skip(self.first).step_by(self.step).map(move |cell| {
            let len = usize::try_from(cell.len).ok()?;
            let start = cell.start as usize;
            Some((cell.start, &bytes[start..start + len]))
        })
    }
}

/// Rows whose value cannot be kept, with the value.
type Bad = Vec<(usize, String)>;

fn array(reading: &Reading, cells: &Cells<'_>, bad: &mut Bad) -> Result<ArrayRef, Malformed> {
    Ok(match reading {
        Reading::Bool => Arc::new(bools(cells, bad)),
        Reading::Int2 => fixed::<Int16Type, 2>(cells, bad, |b| Ok(i16::from_be_bytes(b))),
        Reading::Int4 => fixed::<Int32Type, 4>(cells, bad, |b| Ok(i32::from_be_bytes(b))),
        Reading::Int8 => fixed::<Int64Type, 8>(cells, bad, |b| Ok(i64::from_be_bytes(b))),
        Reading::Float4 => fixed::<Float32Type, 4>(cells, bad, |b| Ok(f32::from_be_bytes(b))),
        Reading::Float8 => fixed::<Float64Type, 8>(cells, bad, |b| Ok(f64::from_be_bytes(b))),
        Reading::Numeric { precision, scale } => {
            let limit = 10_u128.pow(u32::from(*precision));
            let values =
                primitive::<Decimal128Type>(cells, bad, |bytes| decimal(bytes, *scale, limit));
            Arc::new(values.with_precision_and_scale(*precision, *scale as i8)?)
        }
        Reading::Date => fixed::<Date32Type, 4>(cells, bad, |b| match i32::from_be_bytes(b) {
            i32::MAX => Err("infinity".to_owned()),
            i32::MIN => Err("-infinity".to_owned()),
            days => days.checked_add(EPOCH_DAYS).ok_or_else(|| format!("2000-01-01 + {days} days")),
        }),
        Reading::Time => {
            fixed::<Time64MicrosecondType, 8>(cells, bad, |b| match i64::from_be_bytes(b) {
                MICROS_PER_DAY => Err("24:00:00".to_owned()),
                micros => Ok(micros),
            })
        }
        Reading::Timestamp { zone } => {
            let values = primitive::<TimestampMicrosecondType>(cells, bad, |bytes| {
                timestamp(i64::from_be_bytes(sized(bytes)?))
            });
            Arc::new(if *zone { values.with_timezone("UTC") } else { values })
        }
        Reading::Text => Arc::new(text(cells, 0, bad)?),
        Reading::Json { binary } => Arc::new(text(cells, usize::from(*binary), bad)?),
        Reading::Uuid => Arc::new(uuids(cells, bad)?),
        Reading::Bytes => {
            let (views, nulls) = views(cells, 0);
            Arc::new(BinaryViewArray::try_new(views, blocks(cells), nulls)?)
        }
        Reading::List(item) => Arc::new(lists(item, cells, bad)?),
    })
}

fn primitive<T: ArrowPrimitiveType>(
    cells: &Cells<'_>,
    bad: &mut Bad,
    read: impl Fn(&[u8]) -> Result<T::Native, String>,
) -> PrimitiveArray<T> {
    let mut values = Vec::with_capacity(cells.len());
    let mut nulls = NullBufferBuilder::new(cells.len());
    for (row, cell) in cells.iter().enumerate() {
        match cell.map(|(_, bytes)| read(bytes)) {
            Some(Ok(value)) => {
                values.push(value);
                nulls.append_non_null();
                continue;
            }
            Some(Err(value)) => bad.push((row, value)),
            None => {}
        }
        values.push(T::Native::default());
        nulls.append_null();
    }
    PrimitiveArray::new(values.into(), nulls.finish())
}

/// Values of one width.
fn fixed<T: ArrowPrimitiveType, const WIDTH: usize>(
    cells: &Cells<'_>,
    bad: &mut Bad,
    read: impl Fn([u8; WIDTH]) -> Result<T::Native, String>,
) -> ArrayRef {
    Arc::new(primitive::<T>(cells, bad, |bytes| read(sized(bytes)?)))
}

fn sized<const WIDTH: usize>(bytes: &[u8]) -> Result<[u8; WIDTH], String> {
    bytes.try_into().map_err(|_| format!("{} bytes", bytes.len()))
}

fn bools(cells: &Cells<'_>, bad: &mut Bad) -> BooleanArray {
    let mut values = BooleanBufferBuilder::new(cells.len());
    let mut nulls = NullBufferBuilder::new(cells.len());
    for (row, cell) in cells.iter().enumerate() {
        let value = cell.map(|(_, bytes)| sized::<1>(bytes));
        let known = matches!(value, Some(Ok(_)));
        values.append(matches!(value, Some(Ok([1]))));
        nulls.append(known);
        if let Some(Err(value)) = value {
            bad.push((row, value));
        }
    }
    BooleanArray::new(values.finish(), nulls.finish())
}

fn timestamp(micros: i64) -> Result<i64, String> {
    match micros {
        i64::MAX => Err("infinity".to_owned()),
        i64::MIN => Err("-infinity".to_owned()),
        micros => micros
            .checked_add(EPOCH_MICROS)
            .ok_or_else(|| format!("2000-01-01 + {micros} microseconds")),
    }
}

/// A decimal in units of a scale: groups of four digits, of which the first has a weight.
fn decimal(bytes: &[u8], scale: u8, limit: u128) -> Result<i128, String> {
    let cut_short = || format!("{} bytes", bytes.len());
    let word = |i: usize| i16_at(bytes, 2 * i).ok_or_else(cut_short);
    let (count, weight, sign) = (word(0)?, i32::from(word(1)?), word(2)? as u16);
    match sign {
        0 | 0x4000 => {}
        0xC000 => return Err("NaN".to_owned()),
        0xD000 => return Err("Infinity".to_owned()),
        0xF000 => return Err("-Infinity".to_owned()),
        _ => return Err(format!("the sign {sign:#x}")),
    }
    let too_long = || "a number of more digits than its column has".to_owned();
    let mut value = 0_u128;
    // The power of ten that the value so far is to be multiplied with.
    let mut power = 0;
    for i in 0..count {
        let group = u128::from(word(4 + i as usize)? as u16);
        power = 4 * (weight - i32::from(i)) + i32::from(scale);
        let (shift, group) = match power {
            0.. => (4, group),
            // Of the last group only the first digits are in front of the scale's end.
            -3..0 => {
                let rest = 10_u128.pow(power.unsigned_abs());
                if !group.is_multiple_of(rest) {
                    return Err(too_long());
                }
                (4 + power, group / rest)
            }
            _ if group == 0 => (0, 0),
            _ => return Err(too_long()),
        };
        let shifted = value.checked_mul(10_u128.pow(shift.unsigned_abs()));
        value = shifted.and_then(|v| v.checked_add(group)).ok_or_else(too_long)?;
    }
    if power > 0 && value != 0 {
        let unit = 10_u128.checked_pow(power.unsigned_abs());
        value = unit.and_then(|unit| value.checked_mul(unit)).ok_or_else(too_long)?;
    }
    if value >= limit {
        return Err(too_long());
    }
    let value = value as i128; // below 10^38
    Ok(if sign == 0 { value } else { -value })
}

/// What views point into.
fn blocks(cells: &Cells<'_>) -> Vec<Buffer> {
    vec![Buffer::from(cells.bytes.clone())]
}

/// Views of values without their first bytes.
fn views(cells: &Cells<'_>, skip: usize) -> (ScalarBuffer<u128>, Option<NullBuffer>) {
    let mut views = Vec::with_capacity(cells.len());
    let mut nulls = NullBufferBuilder::new(cells.len());
    for cell in cells.iter() {
        nulls.append(cell.is_some());
        views.push(cell.map_or(0, |(start, bytes)| {
            let skip = skip.min(bytes.len());
            make_view(&bytes[skip..], 0, start + skip as u32)
        }));
    }
    (views.into(), nulls.finish())
}

/// Text. A server whose encoding is `SQL_ASCII` sends whatever bytes it was given.
fn text(cells: &Cells<'_>, skip: usize, bad: &mut Bad) -> Result<StringViewArray, Malformed> {
    let (all, nulls) = views(cells, skip);
    if let Ok(array) = StringViewArray::try_new(all, blocks(cells), nulls) {
        return Ok(array);
    }
    let mut own = Vec::with_capacity(cells.len());
    let mut nulls = NullBufferBuilder::new(cells.len());
    for (row, cell) in cells.iter().enumerate() {
        let value =
            cell.map(|(start, bytes)| (start, str::from_utf8(&bytes[skip.min(bytes.len())..])));
        nulls.append(matches!(value, Some((_, Ok(_)))));
        own.push(match value {
            Some((start, Ok(text))) => make_view(text.as_bytes(), 0, start + skip as u32),
            Some((_, Err(_))) => {
                let bytes = cell.map_or(&[][..], |(_, bytes)| bytes);
                bad.push((row, String::from_utf8_lossy(bytes).into_owned()));
                0
            }
            None => 0,
        });
    }
    Ok(StringViewArray::try_new(own.into(), blocks(cells), nulls.finish())?)
}

fn uuids(cells: &Cells<'_>, bad: &mut Bad) -> Result<StringViewArray, Malformed> {
    const LEN: usize = 36;
    let mut texts = Vec::with_capacity(cells.len() * LEN);
    let mut views = Vec::with_capacity(cells.len());
    let mut nulls = NullBufferBuilder::new(cells.len());
    for (row, cell) in cells.iter().enumerate() {
        let uuid = cell.map(|(_, bytes)| sized(bytes).map(Uuid::from_bytes));
        nulls.append(matches!(uuid, Some(Ok(_))));
        views.push(match uuid {
            Some(Ok(uuid)) => {
                let at = texts.len() as u32;
                texts.extend_from_slice(uuid.hyphenated().encode_lower(&mut [0; LEN]).as_bytes());
                make_view(&texts[at as usize..], 0, at)
            }
            Some(Err(value)) => {
                bad.push((row, value));
                0
            }
            None => 0,
        });
    }
    Ok(StringViewArray::try_new(views.into(), vec![Buffer::from(texts)], nulls.finish())?)
}

/// Arrays of one dimension. What their first subscript is, is not kept.
fn lists(item: &ResultColumn, cells: &Cells<'_>, bad: &mut Bad) -> Result<ListArray, Malformed> {
    let cut_short = || Malformed("an array is cut short".to_owned());
    let mut offsets = vec![0_i32];
    let mut nulls = NullBufferBuilder::new(cells.len());
    let (mut inner, mut owners) = (Vec::new(), Vec::new());
    for (row, cell) in cells.iter().enumerate() {
        let mut known = cell.is_some();
        if let Some((start, value)) = cell {
            let dimensions = i32_at(value, 0).ok_or_else(cut_short)?;
            if dimensions == 1 {
                let count = i32_at(value, 12).ok_or_else(cut_short)?;
                let mut at = start as usize + 20;
                for _ in 0..count {
                    inner.push(cell_at(cells.bytes, &mut at).ok_or_else(cut_short)?);
                    owners.push(row);
                }
            } else if dimensions > 1 {
                bad.push((row, format!("an array of {dimensions} dimensions")));
                known = false;
            }
        }
        nulls.append(known);
        offsets.push(i32::try_from(inner.len()).map_err(|_| cut_short())?);
    }
    let mut bad_items = Vec::new();
    let within = Cells { bytes: cells.bytes, cells: &inner, first: 0, step: 1 };
    let items = array(&item.reading, &within, &mut bad_items)?;
    bad.extend(bad_items.into_iter().map(|(at, value)| (owners[at], value)));
    let offsets = OffsetBuffer::new(offsets.into());
    Ok(ListArray::try_new(Arc::new(item.field()), offsets, items, nulls.finish())?)
}
