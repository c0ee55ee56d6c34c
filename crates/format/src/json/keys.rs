//! The keys of objects, and which is likely to come next.

use std::collections::HashMap;

use super::lanes::{self, LANES};

/// Keys and their positions.
///
/// Objects of one input mostly have the same keys in the same order. So the key that followed the
/// last one in the object before is tried first, by comparing bytes of the text. What a guess
/// finds is what a look into the map would have found.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    names: Vec<Name>,
    positions: HashMap<Box<[u8]>, usize>,
    /// The position that came first, and for each position the one that came after it last.
    next: Vec<usize>,
    /// How many more keys are remembered that nobody asked for.
    strangers: usize,
}

/// The position of a key that is not remembered.
pub(super) const UNKNOWN: usize = usize::MAX;

/// A key as it stands in a text: in quotes, and with the colon behind it.
#[derive(Debug, Clone)]
struct Name {
    key: Box<[u8]>,
    text: Box<[u8]>,
    head: [u8; LANES],
    /// The bytes of the head that count; none of them if the key cannot be guessed because it is
    /// written with escapes.
    mask: u32,
}

impl Name {
    fn new(key: &[u8]) -> Self {
        let text: Box<[u8]> = if lanes::ordinary(key) == key.len() {
            [b"\"", key, b"\":"].concat().into()
        } else {
            Box::default()
        };
        let len = text.len().min(LANES);
        let mut head = [0; LANES];
        head[..len].copy_from_slice(&text[..len]);
        Self { key: key.into(), text, head, mask: (1 << len) - 1 }
    }

    /// Whether a text has this key at `at`.
    #[inline(always)]
    fn is_at(&self, text: &[u8], at: usize) -> bool {
        match lanes::at(text, at) {
            Some(bytes) => {
                lanes::equal(bytes, &self.head) & self.mask == self.mask
                    && (self.text.len() <= LANES || text[at..].starts_with(&self.text))
                    && self.mask != 0
            }
            None => !self.text.is_empty() && text[at..].starts_with(&self.text),
        }
    }
}

impl Keys {
    /// No keys. Of those that are found in texts and were not added, `strangers` are remembered, so
    /// that they can be guessed.
    pub(super) fn new(strangers: usize) -> Self {
        Self { names: Vec::new(), positions: HashMap::new(), next: vec![0], strangers }
    }

    /// The position of a key, which is added if it is new.
    pub(super) fn add(&mut self, key: &[u8]) -> usize {
        if let Some(&position) = self.positions.get(key) {
            return position;
        }
        let position = self.names.len();
        self.names.push(Name::new(key));
        self.positions.insert(key.into(), position);
        self.next.push(position + 1);
        position
    }

    /// The key at `at` in a text if it is one that may be expected after `last`, which is none
    /// before the first one: its position, and where the text goes on behind its colon.
    #[inline(always)]
    pub(super) fn guess(&self, text: &[u8], at: usize, last: usize) -> Option<(usize, usize)> {
        let last = last.wrapping_add(1);
        let position = *self.next.get(last)?;
        let name = self.names.get(position)?;
        if name.is_at(text, at) {
            return Some((position, at + name.text.len()));
        }
        self.other_guess(text, at, [last, position + 1])
    }

    /// Where optional keys come and go, the key is often one of these.
    fn other_guess(&self, text: &[u8], at: usize, guesses: [usize; 2]) -> Option<(usize, usize)> {
        guesses.into_iter().find_map(|position| {
            let name = self.names.get(position)?;
            name.is_at(text, at).then(|| (position, at + name.text.len()))
        })
    }

    /// The position of a key that came after `last`, or [`UNKNOWN`].
    pub(super) fn find(&mut self, key: &[u8], last: usize) -> usize {
        let position = match self.positions.get(key) {
            Some(&position) => position,
            None if self.strangers > 0 => {
                self.strangers -= 1;
                self.add(key)
            }
            None => return UNKNOWN,
        };
        self.next[last.wrapping_add(1)] = position;
        position
    }

    /// The key at a position.
    pub(super) fn key(&self, position: usize) -> &[u8] {
        &self.names[position].key
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.names.len()
    }
}
