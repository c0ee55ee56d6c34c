//! Text and bytes, from arrays of views.

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_buffer::{Buffer, ScalarBuffer, ToByteSlice};
use arrow_schema::DataType;
use parquet::data_type::ByteArray;
use parquet::file::statistics::{Statistics, ValueStatistics};
use xxhash_rust::xxh3::xxh3_64;

use super::dictionary::{Dictionary, Recent};
use super::kind::{Bounds, Kind};
use crate::simd::prefetch;

/// The length up to which a view holds its bytes.
const INLINE: usize = 12;
/// The length of bounds in statistics and in the column index, as the `parquet` crate has it.
const BOUND: usize = 64;
/// The length that stands before each value.
const PREFIX: usize = 4;

/// How many values ahead of the one that is looked up bytes are brought near.
const AHEAD: usize = 12;

/// Text, or bytes of any kind.
pub(super) struct Text {
    /// Whether bounds must stay text when they are shortened.
    pub(super) utf8: bool,
}

impl Kind for Text {
    type Cell = u128;
    type Bound = Vec<u8>;

    fn cells(&self, array: &dyn Array) -> Option<ScalarBuffer<u128>> {
        match array.data_type() {
            DataType::Utf8View => Some(array.as_string_view().views().clone()),
            DataType::BinaryView => Some(array.as_binary_view().views().clone()),
            _ => None,
        }
    }

    fn heap<'a>(&self, array: &'a dyn Array) -> &'a [Buffer] {
        match array.data_type() {
            DataType::Utf8View => array.as_string_view().data_buffers(),
            DataType::BinaryView => array.as_binary_view().data_buffers(),
            _ => &[],
        }
    }

    fn size(&self, cells: &[u128]) -> usize {
        cells.iter().map(|&view| len(view) + PREFIX).sum()
    }

    fn fit(&self, cells: &[u128], bytes: usize) -> usize {
        if self.size(cells) <= bytes {
            return cells.len();
        }
        let mut end = 0;
        let within = |view: &&u128| {
            end += len(**view) + PREFIX;
            end <= bytes
        };
        cells.iter().take_while(within).count()
    }

    /// A view that holds its bytes is already what `PLAIN` asks for, but for what comes after the
    /// last byte, and the next value is written over that.
    fn plain(&self, cells: &[u128], heap: &[Buffer], out: &mut Vec<u8>) {
        let mut at = out.len();
        out.resize(at + self.size(cells) + INLINE, 0);
        for view in cells {
            let len = len(*view);
            if len <= INLINE {
                out[at..at + PREFIX + INLINE].copy_from_slice(&view.to_le_bytes());
            } else {
                out[at..at + PREFIX].copy_from_slice(&(len as u32).to_le_bytes());
                out[at + PREFIX..at + PREFIX + len].copy_from_slice(bytes(view, heap));
            }
            at += PREFIX + len;
        }
        out.truncate(at);
    }

    fn intern(
        &self,
        cells: &[u128],
        heap: &[Buffer],
        dictionary: &mut Dictionary,
        ids: &mut Vec<u32>,
    ) {
        let write = |view: &u128, page: &mut Vec<u8>| {
            let value = bytes(view, heap);
            page.extend_from_slice(&(value.len() as u32).to_le_bytes());
            page.extend_from_slice(value);
        };
        if cells.iter().all(|&view| len(view) <= INLINE) {
            let id = |view: &u128| dictionary.intern(*view, |_, _| true, |page| write(view, page));
            return ids.extend(cells.iter().map(id));
        }
        // Equal long values mostly have equal views: a decoder shares their bytes.
        let mut recent = Recent::new();
        ids.extend(cells.iter().enumerate().map(|(at, view)| {
            if let Some(soon) = cells.get(at + AHEAD) {
                bring(*soon, heap);
            }
            recent.id(*view, || {
                if len(*view) <= INLINE {
                    return dictionary.intern(*view, |_, _| true, |page| write(view, page));
                }
                let value = bytes(view, heap);
                let key = u128::from(xxh3_64(value)) << 64 | u128::from(*view as u64);
                let same = |all: &Dictionary, id| &all.plain(id)[PREFIX..] == value;
                dictionary.intern(key, same, |page| write(view, page))
            })
        }));
    }

    fn bounds(&self, cells: &[u128], heap: &[Buffer]) -> Option<Bounds<Self>> {
        let first = cells.first()?;
        if cells.iter().all(|&view| len(view) <= INLINE) {
            let key = order(*first);
            let keys = cells.iter().map(|&view| order(view));
            let (min, max) = keys.fold((key, key), |(min, max), key| (min.min(key), max.max(key)));
            let owned = |key: u128| {
                let bytes = (key >> 32).to_be_bytes();
                bytes[4..4 + len(key)].to_vec()
            };
            return Some((owned(min), owned(max)));
        }
        // Most values are told apart by their first bytes, which every view has.
        let (mut min, mut max) = ((start(*first), first), (start(*first), first));
        for view in cells {
            let start = start(*view);
            if start < min.0 || start == min.0 && bytes(view, heap) < bytes(min.1, heap) {
                min = (start, view);
            }
            if start > max.0 || start == max.0 && bytes(view, heap) > bytes(max.1, heap) {
                max = (start, view);
            }
        }
        Some((bytes(min.1, heap).to_vec(), bytes(max.1, heap).to_vec()))
    }

    fn entry_bounds(
        &self,
        dictionary: &Dictionary,
        ids: impl Iterator<Item = usize>,
    ) -> Option<Bounds<Self>> {
        let mut values = ids.map(|id| &dictionary.plain(id)[PREFIX..]);
        let first = values.next()?;
        let (min, max) =
            values.fold((first, first), |(min, max), value| (min.min(value), max.max(value)));
        Some((min.to_vec(), max.to_vec()))
    }

    fn less(&self, a: &Vec<u8>, b: &Vec<u8>) -> bool {
        a < b
    }

    fn index(&self, bounds: &Bounds<Self>) -> (Vec<u8>, Vec<u8>) {
        let (min, max) = bounds;
        let low = self.at_most(min).unwrap_or_else(|| min.clone());
        let high = self.at_least(max).unwrap_or_else(|| max.clone());
        (low, high)
    }

    fn statistics(&self, bounds: Option<Bounds<Self>>, nulls: u64, _: bool) -> Statistics {
        let Some((min, max)) = bounds else {
            return Statistics::ByteArray(ValueStatistics::new(
                None,
                None,
                None,
                Some(nulls),
                false,
            ));
        };
        let (low, high) = (self.at_most(&min), self.at_least(&max));
        let exact = (low.is_none(), high.is_none());
        let (min, max) = (low.unwrap_or(min), high.unwrap_or(max));
        let (min, max) = (ByteArray::from(min), ByteArray::from(max));
        let values = ValueStatistics::new(Some(min), Some(max), None, Some(nulls), false);
        Statistics::ByteArray(values.with_min_is_exact(exact.0).with_max_is_exact(exact.1))
    }

    fn variable_bytes(&self, size: usize, values: usize) -> Option<i64> {
        Some((size - values * PREFIX) as i64)
    }
}

impl Text {
    /// A shorter value that is not greater; `None` if the value is short enough.
    fn at_most(&self, value: &[u8]) -> Option<Vec<u8>> {
        let short = value.get(..BOUND).filter(|_| value.len() > BOUND)?;
        match self.text(value) {
            Some(text) => Some(text[..text.floor_char_boundary(BOUND)].into()),
            None => Some(short.into()),
        }
    }

    /// A shorter value that is not less; `None` if the value is short enough, or if there is no
    /// such value.
    fn at_least(&self, value: &[u8]) -> Option<Vec<u8>> {
        let short = value.get(..BOUND).filter(|_| value.len() > BOUND)?;
        let Some(text) = self.text(value) else {
            let last = short.iter().rposition(|&byte| byte < u8::MAX)?;
            let mut bytes = short.to_vec();
            // As the `parquet` crate: what overflowed stays, as zeros.
            bytes[last] += 1;
            bytes[last + 1..].fill(0);
            return Some(bytes);
        };
        let text = &text[..text.floor_char_boundary(BOUND)];
        text.char_indices().rev().find_map(|(at, char)| {
            let next = char::from_u32(char as u32 + 1)?;
            (next.len_utf8() == char.len_utf8()).then(|| format!("{}{next}", &text[..at]).into())
        })
    }

    fn text<'a>(&self, value: &'a [u8]) -> Option<&'a str> {
        std::str::from_utf8(value).ok().filter(|_| self.utf8)
    }
}

fn len(view: u128) -> usize {
    view as u32 as usize
}

/// A view that holds its bytes, as a number in the order of the values.
fn order(view: u128) -> u128 {
    view.swap_bytes() << 32 | u128::from(view as u32)
}

/// The first four bytes, as a number in the order of the values.
fn start(view: u128) -> u32 {
    ((view >> 32) as u32).swap_bytes()
}

/// Has the bytes that a view points at brought near. No branch on whether it does: nobody can guess.
#[inline(always)]
fn bring(view: u128, heap: &[Buffer]) {
    let is_far = usize::from(len(view) > INLINE);
    let (buffer, offset) = ((view >> 64) as u32 as usize * is_far, (view >> 96) as usize * is_far);
    if let Some(buffer) = heap.get(buffer) {
        prefetch(buffer, offset);
    }
}

fn bytes<'a>(view: &'a u128, heap: &'a [Buffer]) -> &'a [u8] {
    let len = len(*view);
    if len <= INLINE {
        return &view.to_byte_slice()[PREFIX..PREFIX + len];
    }
    let (buffer, offset) = ((view >> 64) as u32 as usize, (view >> 96) as usize);
    &heap[buffer][offset..offset + len]
}
