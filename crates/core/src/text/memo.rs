//! Fields of text seen a moment ago, and the views that they became.
//!
//! A column of few values pays once for a value's quotes, blanks and case, and the equal views it
//! gets for equal values are cheap to tell apart for whoever comes next.

use super::texts::View;
use super::word::{self, WORD};

/// Views by the bytes of fields, which say all that a view depends on within a batch.
#[derive(Debug, Default)]
pub(super) struct Memo {
    /// A slot for each hash; none before the first field.
    slots: Vec<Slot>,
    tried: usize,
    found: usize,
}

/// A field of up to two words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    words: [u128; 2],
    len: usize,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    /// Its length is 0 where there is none.
    key: Key,
    view: View,
}

const SLOTS: usize = 128;
const EMPTY: Slot = Slot { key: Key { words: [0; 2], len: 0 }, view: View::NULL };
/// Fields after which a column shows whether its values come again.
const TRIAL: usize = 256;

impl Key {
    /// The first `len` bytes of `padded`, if they are 1 to 32, and 32 are there.
    #[inline(always)]
    pub(super) fn new(padded: &[u8], len: usize) -> Option<Self> {
        if len == 0 || len > 2 * WORD {
            return None;
        }
        let (first, rest) = padded.split_first_chunk()?;
        let (head, tail) = (u128::from_le_bytes(*first), u128::from_le_bytes(*rest.first_chunk()?));
        let head = word::first(head, len.min(WORD));
        Some(Self { words: [head, word::first(tail, len.saturating_sub(WORD))], len })
    }

    #[inline(always)]
    fn slot(self) -> usize {
        let [head, tail] = self.words;
        let mixed = head ^ tail.rotate_left(29);
        let low = mixed as u64 ^ 0x9E37_79B9_7F4A_7C15;
        let high = (mixed >> 64) as u64 ^ 0xD6E8_FEB8_6659_FD93;
        let product = u128::from(low) * u128::from(high);
        (product as u64 ^ (product >> 64) as u64) as usize % SLOTS
    }
}

impl Memo {
    /// Whether it is worth to look: not in a column whose values hardly come again.
    #[inline(always)]
    pub(super) fn pays(&self) -> bool {
        self.tried < TRIAL || self.found * 2 > self.tried
    }

    /// The view of the field, if it was seen lately.
    #[inline(always)]
    pub(super) fn view(&mut self, key: Key) -> Option<View> {
        self.tried += 1;
        let slot = self.slots.get(key.slot())?;
        if slot.key != key {
            return None;
        }
        self.found += 1;
        Some(slot.view)
    }

    /// Remembers the view of a field.
    pub(super) fn note(&mut self, key: Key, view: View) {
        if self.slots.is_empty() {
            self.slots = vec![EMPTY; SLOTS];
        }
        self.slots[key.slot()] = Slot { key, view };
    }

    /// Forgets all: views are those of a batch.
    pub(super) fn clear(&mut self) {
        self.slots.fill(EMPTY);
        (self.tried, self.found) = (0, 0);
    }
}
