//! Rows on their way into a database, one after the other.

use bytes::Bytes;

/// Rows one after the other, and where each of them ends.
#[derive(Debug, Default)]
pub struct Rows {
    pub(crate) bytes: Vec<u8>,
    pub(crate) ends: Vec<usize>,
    /// Bytes of values, without lengths and counts.
    pub(crate) values: u64,
}

impl Rows {
    /// Hands out each row, with numbers from `first` on, to be changed in place.
    pub(crate) fn change(&mut self, first: i64, mut change: impl FnMut(&mut [u8], i64)) {
        let mut start = 0;
        for (end, number) in self.ends.iter().zip(first..) {
            change(&mut self.bytes[start..*end], number);
            start = *end;
        }
    }

    /// Takes the last row out.
    pub fn pop(&mut self) {
        self.ends.pop();
        self.bytes.truncate(self.ends.last().copied().unwrap_or_default());
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes that they take.
    pub fn byte_size(&self) -> usize {
        self.bytes.len() + 8 * self.ends.len()
    }

    /// Bytes of their values.
    pub fn value_bytes(&self) -> u64 {
        self.values
    }

    /// Rows that are not changed any more: their bytes, and where each ends.
    pub fn finish(self) -> (Bytes, Vec<usize>) {
        (self.bytes.into(), self.ends)
    }
}

/// A value that a column cannot hold: the index of the field, and why.
pub type Unfit = (usize, &'static str);

/// What writes the rows of one batch.
pub trait RowWriter {
    /// Whether a value is null.
    fn is_null(&self, column: usize, row: usize) -> bool;

    /// The bytes of a value, as [`Self::push`] would send it; `None` for one that is not sent.
    fn value(&mut self, column: usize, row: usize) -> Option<&[u8]>;

    /// Adds a row.
    ///
    /// # Errors
    /// Every value that its column cannot hold; the row is not added then.
    fn push(&self, row: usize, rows: &mut Rows) -> Result<(), Vec<Unfit>>;
}
