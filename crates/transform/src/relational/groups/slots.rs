//! Where numbers are found by a hash. What has a number is its owner's business.

/// Slots of a hash table with open addressing. What is in it has numbers from 0 on, in the order in
/// which it was added.
#[derive(Debug, Default)]
pub(super) struct Slots {
    /// A byte of the hash, and behind it the number plus one; 0 where there is nothing.
    slots: Vec<u32>,
}

/// No number.
pub(super) const NONE: u32 = u32::MAX;
/// Numbers that there may be: more do not fit a slot.
pub(super) const FULL: usize = 1 << 23;

const NUMBER: u32 = (1 << 24) - 1;

/// Mixes words into a hash.
#[inline]
pub(super) fn hash(words: impl IntoIterator<Item = u64>) -> u64 {
    const A: u64 = 0x9e37_79b9_7f4a_7c15;
    const B: u64 = 0xf39c_c060_5ced_c835;
    let mixed = words.into_iter().fold(A, |mixed, word| {
        let wide = u128::from(mixed ^ word) * u128::from(B);
        (wide >> 64) as u64 ^ wide as u64 ^ A
    });
    let wide = u128::from(mixed ^ B) * u128::from(A);
    (wide >> 64) as u64 ^ wide as u64
}

impl Slots {
    pub(super) fn bytes(&self) -> usize {
        self.slots.capacity() * size_of::<u32>()
    }

    /// What stands where this hash is looked for first, if it may be it; [`NONE`] if not. One look
    /// into memory, and no branch: the next ones need not wait for it.
    #[inline]
    pub(super) fn first(&self, hash: u64) -> u32 {
        let place = (hash >> 32) as usize & self.slots.len().wrapping_sub(1);
        let slot = self.slots.get(place).copied().unwrap_or_default();
        let same = slot & !NUMBER == tag(hash) && slot != 0;
        if same { (slot & NUMBER).wrapping_sub(1) } else { NONE }
    }

    /// The number with this hash of which `same` says that it is the one.
    #[inline]
    pub(super) fn find(&self, hash: u64, mut same: impl FnMut(u32) -> bool) -> Option<u32> {
        let mask = self.slots.len().checked_sub(1)?;
        let mut at = (hash >> 32) as usize & mask;
        loop {
            let slot = self.slots[at];
            if slot == 0 {
                return None;
            }
            if slot & !NUMBER == tag(hash) && same((slot & NUMBER).wrapping_sub(1)) {
                return Some((slot & NUMBER).wrapping_sub(1));
            }
            at = (at + 1) & mask;
        }
    }

    /// Adds the next number, of which there are `len`. `hashes` answers the hash of each.
    #[inline]
    pub(super) fn add(&mut self, hash: u64, len: usize, hashes: impl Fn(u32) -> u64) {
        if (len + 1) * 4 > self.slots.len() * 3 {
            self.grow(len, hashes);
        }
        self.put(hash, len as u32);
    }

    #[inline]
    fn put(&mut self, hash: u64, number: u32) {
        let mask = self.slots.len() - 1;
        let mut at = (hash >> 32) as usize & mask;
        while self.slots[at] != 0 {
            at = (at + 1) & mask;
        }
        self.slots[at] = tag(hash) | (number + 1);
    }

    #[cold]
    fn grow(&mut self, len: usize, hashes: impl Fn(u32) -> u64) {
        let slots = (self.slots.len() * 2).max(16);
        self.slots = Vec::new();
        self.slots = vec![0; slots];
        (0..len as u32).for_each(|number| self.put(hashes(number), number));
    }
}

/// The highest byte of a hash: those below it say where a slot is, and the lowest one chooses a table.
#[inline]
fn tag(hash: u64) -> u32 {
    (hash >> 32) as u32 & !NUMBER
}
