//! Columns of text and of bytes while they are built.
//!
//! A value of up to 12 bytes is held by its view. A longer one is copied, or, where the batch's
//! text is shared, only pointed at.
#![expect(unsafe_code, reason = "views of text that is known to be UTF-8 need no second look")]

use std::sync::Arc;

use arrow_array::{ArrayRef, BinaryViewArray, StringViewArray};
use arrow_buffer::{Buffer, ScalarBuffer};
use bytes::Bytes;

use super::Case;
use super::fill;
use super::fixed::{self, Nulls, Told};
use super::memo::Memo;
use super::word::{self, WORD};

/// The length up to which a view holds its bytes.
pub(super) const INLINE: usize = 12;
/// A block of copied values ends before its positions need more bits.
const BLOCK: usize = 1 << 30;

/// The text of a batch, which is UTF-8, for columns that point into it.
///
/// There are at least 16 bytes behind it that may be read and mean nothing.
#[derive(Debug, Clone)]
pub struct SharedText {
    padded: Bytes,
    len: usize,
}

impl SharedText {
    /// The first `len` bytes of `padded` as text; `None` where they are not UTF-8, or where fewer
    /// than 16 bytes stand behind them.
    #[must_use]
    pub fn new(padded: Bytes, len: usize) -> Option<Self> {
        let text = padded.get(..len)?;
        let fits = padded.len() >= len + WORD && u32::try_from(padded.len()).is_ok();
        (fits && simdutf8::basic::from_utf8(text).is_ok()).then_some(Self { padded, len })
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        // SAFETY: it was found to be UTF-8 when this was made, and `Bytes` do not change.
        unsafe { str::from_utf8_unchecked(self.bytes()) }
    }

    /// The bytes of the text.
    #[inline(always)]
    pub(super) fn bytes(&self) -> &[u8] {
        &self.padded[..self.len]
    }

    /// The text and what stands behind it.
    #[inline(always)]
    pub(super) fn padded(&self) -> &[u8] {
        &self.padded
    }

    /// The 16 bytes from `at` on, of which those behind the text mean nothing.
    #[inline(always)]
    pub(super) fn word(&self, at: usize) -> Option<u128> {
        Some(u128::from_le_bytes(*self.padded.get(at..)?.first_chunk()?))
    }

    /// Whether a character starts at `at`, or the text ends there.
    #[inline(always)]
    fn is_boundary(&self, at: usize) -> bool {
        match self.bytes().get(at) {
            None => at == self.len,
            Some(byte) => byte & 0xC0 != 0x80,
        }
    }
}

/// Values of a column of text, or of bytes.
///
/// Invariant of a column of text: every view is of UTF-8, see [`View`].
#[derive(Debug)]
pub(super) struct Texts {
    binary: bool,
    views: Vec<View>,
    nulls: Nulls,
    parts: Parts,
}

/// A value of a column of text that it was made for. One that holds its bytes is made from a `str`,
/// from a part of the shared text between two boundaries of characters, or from ASCII. Any other
/// points at such a part, or at a `str` that was copied to the heap, in the block it names.
#[derive(Debug, Clone, Copy)]
#[repr(transparent)]
pub(super) struct View(u128);

/// What views of one column point at.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// The text that is block 0, and whether a view points at it.
    shared: Option<(SharedText, bool)>,
    /// Blocks that are complete, behind the shared one.
    blocks: Vec<Buffer>,
    /// The last block.
    heap: Vec<u8>,
    /// Views of fields of the shared text.
    pub(super) memo: Memo,
}

impl View {
    pub(super) const NULL: Self = Self(0);

    /// The first `len` bytes of a word, up to 12, if they are ASCII.
    #[inline(always)]
    pub(super) fn keep(word: u128, len: usize) -> Option<Self> {
        Self::ascii(word, len, Case::Keep)
    }

    /// The same in upper case.
    #[inline(always)]
    pub(super) fn upper(word: u128, len: usize) -> Option<Self> {
        Self::ascii(word, len, Case::Upper)
    }

    /// The same in lower case.
    #[inline(always)]
    pub(super) fn lower(word: u128, len: usize) -> Option<Self> {
        Self::ascii(word, len, Case::Lower)
    }

    #[inline(always)]
    fn ascii(word: u128, len: usize, case: Case) -> Option<Self> {
        if len <= INLINE { word::view(word, len, case).map(Self) } else { None }
    }

    fn far(len: usize, prefix: u32, block: usize, at: usize) -> Self {
        let place = (block as u128) << 64 | (at as u128) << 96;
        Self(len as u128 | u128::from(prefix) << 32 | place)
    }
}

impl Parts {
    /// A view of bytes, which in a column of text are a `str`'s.
    #[inline]
    fn bytes(&mut self, bytes: &[u8]) -> View {
        let len = bytes.len();
        if len <= INLINE {
            let mut word = [0; WORD];
            word[..4].copy_from_slice(&(len as u32).to_le_bytes());
            word[4..4 + len].copy_from_slice(bytes);
            return View(u128::from_le_bytes(word));
        }
        if self.heap.len() + len > BLOCK && !self.heap.is_empty() {
            self.blocks.push(Buffer::from(std::mem::take(&mut self.heap)));
        }
        let (block, at) = (usize::from(self.shared.is_some()) + self.blocks.len(), self.heap.len());
        self.heap.extend_from_slice(bytes);
        let prefix = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        View::far(len, prefix, block, at)
    }

    /// A view of a part of the shared text, from `start` to `end`, if it is one.
    #[inline(always)]
    pub(super) fn part(&mut self, start: usize, end: usize) -> Option<View> {
        let (text, used) = self.shared.as_mut()?;
        if start > end || !text.is_boundary(start) || !text.is_boundary(end) {
            return None;
        }
        let (word, len) = (text.word(start)?, end - start);
        if len <= INLINE {
            return Some(View(len as u128 | word::first(word, len) << 32));
        }
        *used = true;
        Some(View::far(len, word as u32, 0, start))
    }

    /// A view of a part of the shared text in which every `quote`, an ASCII character, is doubled,
    /// with single ones, if it is such a part.
    pub(super) fn undoubled(&mut self, start: usize, end: usize, quote: u8) -> Option<View> {
        let (text, _) = self.shared.as_ref()?;
        let is_part = start < end && text.is_boundary(start) && text.is_boundary(end);
        if !is_part || !quote.is_ascii() {
            return None;
        }
        let (old, mut rest) = (self.heap.len(), &text.bytes()[start..end]);
        self.heap.reserve(rest.len());
        while let Some(first) = memchr::memchr(quote, rest) {
            if rest.get(first + 1) != Some(&quote) {
                self.heap.truncate(old);
                return None;
            }
            self.heap.extend_from_slice(&rest[..=first]);
            rest = &rest[first + 2..];
        }
        self.heap.extend_from_slice(rest);
        // What is left is UTF-8: only ASCII characters were taken out.
        let (len, block) = (self.heap.len() - old, 1 + self.blocks.len());
        let mut word = [0; WORD];
        if len <= INLINE {
            word[..len].copy_from_slice(&self.heap[old..]);
            self.heap.truncate(old);
            return Some(View(len as u128 | u128::from_le_bytes(word) << 32));
        }
        word[..4].copy_from_slice(&self.heap[old..old + 4]);
        Some(View::far(len, u128::from_le_bytes(word) as u32, block, old))
    }
}

impl Texts {
    pub(super) fn new(binary: bool, capacity: usize) -> Self {
        let views = Vec::with_capacity(capacity);
        Self { binary, views, nulls: Nulls::default(), parts: Parts::default() }
    }

    /// Values may be parts of this text from now on, until the column is finished. Nothing was
    /// pushed yet, or it is kept as it is and the text is not shared.
    pub(super) fn share(&mut self, text: &SharedText) {
        if self.views.is_empty() {
            self.parts.shared = Some((text.clone(), false));
        }
    }

    #[inline]
    pub(super) fn push_str(&mut self, text: &str) {
        let view = self.parts.bytes(text.as_bytes());
        self.views.push(view);
    }

    /// Appends bytes, if it is a column of bytes.
    pub(super) fn push_binary(&mut self, bytes: &[u8]) -> Option<()> {
        self.binary.then(|| self.views.push(self.parts.bytes(bytes)))
    }

    #[inline(always)]
    pub(super) fn push_null(&mut self) {
        self.nulls.push(self.views.len());
        self.views.push(View::NULL);
    }

    /// Appends what is told of items, up to the first of which nothing is. Answers how many.
    #[inline(always)]
    pub(super) fn extend_while<I>(
        &mut self,
        items: &[I],
        mut tell: impl FnMut(&mut Parts, &I) -> Option<Told<View>>,
    ) -> usize {
        let (rows, nulls, parts) = (self.views.len(), &mut self.nulls, &mut self.parts);
        fill::extend_while(&mut self.views, items, |place, item| match tell(parts, item)? {
            Told::Value(view) => Some(view),
            Told::Null => {
                nulls.push(rows + place);
                Some(View::NULL)
            }
        })
    }

    /// The column, and an empty one for the next.
    pub(super) fn finish(&mut self) -> ArrayRef {
        let rows = self.views.len();
        let views = std::mem::replace(&mut self.views, Vec::with_capacity(fixed::like(rows)));
        let views = ScalarBuffer::from(plain(views));
        let nulls = self.nulls.finish(rows);
        let Parts { shared, blocks: complete, heap, mut memo } = std::mem::take(&mut self.parts);
        memo.clear();
        self.parts.memo = memo;
        self.parts.heap = Vec::with_capacity(fixed::like(heap.len()));
        let mut blocks = Vec::new();
        if let Some((text, used)) = shared {
            // Not kept for nothing.
            blocks.push(if used { Buffer::from(text.padded) } else { Buffer::default() });
        }
        blocks.extend(complete);
        if !heap.is_empty() {
            blocks.push(Buffer::from(heap));
        }
        if blocks.iter().all(Buffer::is_empty) {
            blocks.clear();
        }
        if self.binary {
            // SAFETY: the views are in the bounds of the blocks they name, and any bytes will do.
            return Arc::new(unsafe { BinaryViewArray::new_unchecked(views, blocks, nulls) });
        }
        // SAFETY: as above, and the values are UTF-8: see `View`. Those of nulls are empty.
        Arc::new(unsafe { StringViewArray::new_unchecked(views, blocks, nulls) })
    }
}

/// The numbers that views are.
fn plain(views: Vec<View>) -> Vec<u128> {
    views.into_iter().map(|view| view.0).collect() // in place
}

#[cfg(test)]
mod tests {
    use arrow_array::Array;
    use arrow_array::cast::AsArray;
    use proptest::prelude::*;

    use super::*;

    fn shared(text: &str) -> SharedText {
        let mut padded = text.as_bytes().to_vec();
        padded.extend([0xFF; WORD]);
        SharedText::new(padded.into(), text.len()).unwrap()
    }

    #[test]
    fn text_that_is_not_utf8_or_not_padded_is_not_shared() {
        assert!(SharedText::new(Bytes::from_static(&[0xFF; 32]), 8).is_none());
        assert!(SharedText::new(Bytes::from_static(b"abc"), 3).is_none());
        assert!(SharedText::new(Bytes::from_static(b"abc"), 4).is_none());
    }

    impl Texts {
        fn push(&mut self, view: Option<View>) -> bool {
            self.views.extend(view);
            view.is_some()
        }

        fn push_part(&mut self, start: usize, end: usize) -> bool {
            let view = self.parts.part(start, end);
            self.push(view)
        }
    }

    #[test]
    fn parts_end_on_characters_and_within_the_text() {
        let text = shared("aé and something longer");
        let mut texts = Texts::new(false, 4);
        assert!(!texts.push_part(0, 1), "nothing is shared");
        texts.share(&text);
        assert!(!texts.push_part(0, 2), "within é");
        assert!(!texts.push_part(2, 3), "within é");
        assert!(!texts.push_part(0, text.len + 1));
        assert!(!texts.push_part(3, 2));
        assert!(texts.push_part(1, 3));
        assert!(texts.push_part(text.len, text.len));
        let array = texts.finish();
        assert_eq!(array.as_string_view().iter().flatten().collect::<Vec<_>>(), ["é", ""]);
        assert_eq!(array.as_string_view().data_buffers().len(), 0, "nothing points at the text");
    }

    proptest! {
        #[test]
        fn what_is_pushed_is_there(
            text in "(\\PC|[a\"]{1,3}){0,30}",
            parts in prop::collection::vec((0usize..70, 0usize..70, 0u8..4), 0..30),
            share in any::<bool>(),
        ) {
            let source = shared(&text);
            let mut texts = Texts::new(false, 0);
            let mut expected: Vec<Option<String>> = Vec::new();
            if share {
                texts.share(&source);
            }
            for (start, end, how) in parts {
                let part = text.get(start..end);
                match (how, part) {
                    (0, _) => { texts.push_null(); expected.push(None); }
                    (1, Some(part)) => { texts.push_str(part); expected.push(Some(part.to_owned())); }
                    (3, Some(part)) if share && !part.is_empty() => {
                        let doubled = part.replace("\"\"", "");
                        let view = texts.parts.undoubled(start, end, b'"');
                        let pushed = texts.push(view);
                        prop_assert_eq!(pushed, !doubled.contains('"'));
                        let single = part.replace("\"\"", "\"");
                        expected.extend(pushed.then_some(Some(single)));
                    }
                    (2, Some(part)) => {
                        let word = source.word(start).unwrap();
                        let pushed = texts.push(View::keep(word, part.len()));
                        prop_assert_eq!(pushed, part.is_ascii() && part.len() <= INLINE);
                        expected.extend(pushed.then_some(Some(part.to_owned())));
                    }
                    _ => {
                        let pushed = texts.push_part(start, end);
                        prop_assert_eq!(pushed, share && part.is_some());
                        expected.extend(pushed.then_some(part.map(str::to_owned)));
                    }
                }
            }
            let array = texts.finish();
            array.to_data().validate_full().unwrap();
            let found: Vec<_> = array.as_string_view().iter().map(|text| text.map(str::to_owned)).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
