//! The dictionary of a column chunk: values by their order of appearance.

/// Distinct values of a column chunk, written out as a dictionary page asks for. A value is told
/// by a key of 128 bits: its own bits where they fit, else length, first bytes and hash, and then
/// its bytes are compared too.
#[derive(Debug)]
pub(super) struct Dictionary {
    /// Ids plus one by hash, open addressing; 0 is free. A power of two, at most half full.
    slots: Vec<u32>,
    keys: Vec<u128>,
    ends: Vec<usize>,
    page: Vec<u8>,
}

impl Dictionary {
    pub(super) fn new() -> Self {
        let slots = vec![0; 1024];
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

    /// The id of the value with this key. `same` says whether a value with an equal key, `PLAIN`,
    /// is the value; `write` writes it when it is new.
    #[inline]
    pub(super) fn intern(
        &mut self,
        key: u128,
        same: impl Fn(&[u8]) -> bool,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> u32 {
        let mask = self.slots.len() - 1;
        let mut slot = hash(key) as usize & mask;
        while let Some(id) = self.slots[slot].checked_sub(1) {
            if self.keys[id as usize] == key && same(self.plain(id as usize)) {
                return id;
            }
            slot = (slot + 1) & mask;
        }
        self.keys.push(key);
        write(&mut self.page);
        self.ends.push(self.page.len());
        self.slots[slot] = self.keys.len() as u32;
        if self.keys.len() * 2 > self.slots.len() {
            self.grow();
        }
        self.keys.len() as u32 - 1
    }

    #[cold]
    fn grow(&mut self) {
        let mask = self.slots.len() * 2 - 1;
        let mut slots = vec![0; mask + 1];
        for (id, &key) in self.keys.iter().enumerate() {
            let mut slot = hash(key) as usize & mask;
            while slots[slot] != 0 {
                slot = (slot + 1) & mask;
            }
            slots[slot] = id as u32 + 1;
        }
        self.slots = slots;
    }
}

/// Multiplies and folds, so that every bit of the key moves the low ones.
#[inline]
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
                let id = dictionary.intern(key, |plain| plain == bytes, write);
                assert_eq!(id, value, "round {round}");
            }
        }
        assert_eq!(dictionary.len(), 5000);
        assert_eq!(dictionary.plain(4999), 4999_u32.to_le_bytes());
        assert_eq!(dictionary.page().len(), 20_000);
    }
}
