//! Records that need not be read, because of what is known of them before.

use arrow_array::ArrayRef;

/// What is known of a column in many records without reading them.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Two arrays of one value each, of the column's type: one that is not greater than the least
    /// value that is not null, one that is not less than the greatest. `None` if nothing is known,
    /// or if there is no such value.
    pub bounds: Option<(ArrayRef, ArrayRef)>,
    /// How many values are null, if that is known.
    pub nulls: Option<u64>,
}

/// Tells of many records at once that a step would take all of them out as filtered. A source that
/// knows something of its records, as the footer of a Parquet file does, leaves those unread and
/// counts them as read and filtered.
pub trait Prune: Send + Sync {
    /// The places of the columns that it asks for, each once.
    fn columns(&self) -> &[usize];

    /// Whether the step may keep, or reject, one of `rows` records of which this is known, for each
    /// of [`Self::columns`] in their order. Must be true if in doubt.
    fn may_pass(&self, rows: u64, known: &[Known]) -> bool;
}
