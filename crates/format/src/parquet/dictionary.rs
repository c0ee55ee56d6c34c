//! The dictionary of a column chunk: values by their order of appearance.

/// Distinct values of a column chunk, written out as a dictionary page asks for. A value is told
/// by a key of 128 bits: its own bits where they fit, else length, first bytes and hash, and then
/// its bytes are compared too.
#[derive(Debug)]
pub(super) struct Dictionary {
    /// Keys by hash, open addressing. A power of two, at most half full.
    slots: Vec<Slot>,
    keys: Vec<u128>,
    ends: Vec<usize>,
    page: Vec<u8>,
}

/// A key and its id plus one; 0 is free.
#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    key: u128,
    id: u32,
}

impl Dictionary {
    pub(super) fn new() -> Self {
        let slots = vec![Slot::default(); 256];
        Self { slots, keys: Vec::new(), ends: Vec::new(), page: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// All values, `PLAIN`.
    pub(super) fn page(&self) -> &[u8] {
        &self.page
    }

    pub(super) fn key(&self, id: usize) -> u128 {
        self.keys[id]
    }

    /// A value, `PLAIN`.
    pub(super) fn plain(&self, id: usize) -> &[u8] {
        let start = id.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.page[start..self.ends[id]]
    }

    /// The id of the value with this key. `same` says whether the entry of an id, whose key is
    /// equal, is the value; `write` writes it when it is new.
    #[inline(always)]
    pub(super) fn intern(
        &mut self,
        key: u128,
        same: impl Fn(&Self, usize) -> bool,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> u32 {
        let mask = self.slots.len() - 1;
        let mut at = hash(key) as usize & mask;
        loop {
            let Slot { key: other, id } = self.slots[at];
            let Some(id) = id.checked_sub(1) else {
                return self.add(at, key, write);
            };
            if other == key && same(self, id as usize) {
                return id;
            }
            at = (at + 1) & mask;
        }
    }

    #[inline(never)]
    fn add(&mut self, at: usize, key: u128, write: impl FnOnce(&mut Vec<u8>)) -> u32 {
        self.keys.push(key);
        write(&mut self.page);
        self.ends.push(self.page.len());
        let id = self.keys.len() as u32;
        self.slots[at] = Slot { key, id };
        if self.keys.len() * 2 > self.slots.len() {
            self.grow();
        }
        id - 1
    }

    fn grow(&mut self) {
        // Wide at once: a dictionary that grows is one of many values.
        let mask = self.slots.len() * 4 - 1;
        let mut slots = vec![Slot::default(); mask + 1];
        for (id, &key) in self.keys.iter().enumerate() {
            let mut at = hash(key) as usize & mask;
            while slots[at].id != 0 {
                at = (at + 1) & mask;
            }
            slots[at] = Slot { key, id: id as u32 + 1 };
        }
        self.slots = slots;
    }
}

/// The ids of cells seen a moment ago, by the bits of the cell alone.
#[derive(Debug)]
pub(super) struct Recent([Slot; 128]);

impl Recent {
    pub(super) fn new() -> Self {
        Self([Slot::default(); 128])
    }

    /// The id of the cell, from `find` if it is not known.
    #[inline(always)]
    pub(super) fn id(&mut self, cell: u128, find: impl FnOnce() -> u32) -> u32 {
        let slot = &mut self.0[hash(cell) as usize % 128];
        if slot.key != cell || slot.id == 0 {
            *slot = Slot { key: cell, id: find() + 1 };
        }
        slot.id - 1
    }
}

/// Multiplies and folds, so that every bit of the key moves the low ones.
#[inline(always)]
fn hash(key: u128) -> u64 {
    let low = key as u64 ^ 0x9E37_79B9_7F4A_7C15;
    let high = (key >> 64) as u64 ^ 0xD6E8_FEB8_6659_FD93;
    let product = u128::from(low) * u128::from(high);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_the_id_of_their_first_appearance() {
        let mut dictionary = Dictionary::new();
        for round in 0..2 {
            for value in 0..5000_u32 {
                let bytes = value.to_le_bytes();
                let write = |page: &mut Vec<u8>| page.extend_from_slice(&bytes);
                // Ten values share each key, as if their hashes were equal.
                let key = u128::from(value / 10) << 40;
                let id = dictionary.intern(key, |all, id| all.plain(id) == bytes, write);
                assert_eq!(id, value, "round {round}");
            }
        }
        assert_eq!(dictionary.len(), 5000);
        assert_eq!(dictionary.plain(4999), 4999_u32.to_le_bytes());
        assert_eq!(dictionary.page().len(), 20_000);
    }
}
