//! Keys that were seen before, and where.

use std::sync::Arc;

use arrow_array::RecordBatch;
use gristmill_core::Batch;
use gristmill_core::text::value_text;

use crate::arrays::shortened;

/// The first record with a key: the index of its source's name, and its number in the source,
/// 0 if that is not known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct First {
    source: u32,
    record: u32,
}

impl First {
    pub(crate) fn to_bits(self) -> u64 {
        u64::from(self.source) << 32 | u64::from(self.record)
    }

    pub(crate) fn from_bits(bits: u64) -> Self {
        Self { source: (bits >> 32) as u32, record: bits as u32 }
    }
}

/// The names of the sources that records come from.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    names: Vec<Arc<str>>,
}

impl Sources {
    /// Goes on with a batch.
    pub(crate) fn enter(&mut self, batch: &Batch) {
        let name = batch.origin().source();
        if self.names.last().is_none_or(|last| last != name) {
            self.names.push(Arc::clone(name));
        }
    }

    /// The place of a row of that batch.
    pub(crate) fn place(&self, batch: &Batch, row: usize) -> First {
        let first_record = batch.origin().place().map(|place| place.first_record);
        let ordinal = u64::from(batch.rows().ordinal(row));
        let record = first_record.and_then(|first| u32::try_from(first + ordinal).ok());
        First { source: self.now(), record: record.unwrap_or_default() }
    }

    /// What to say of a key of that batch that was seen before.
    pub(crate) fn seen_before(&self, names: &[String], values: &[String], first: First) -> String {
        let mut message = format!("{} was seen before", named(names, values));
        if first.record > 0 {
            message.push_str(&format!(", in record {}", first.record));
            if first.source != self.now() {
                message.push_str(&format!(" of `{}`", self.names[first.source as usize]));
            }
        }
        message
    }

    fn now(&self) -> u32 {
        self.names.len().saturating_sub(1) as u32
    }
}

/// A key in a message.
pub(crate) fn named(names: &[String], values: &[String]) -> String {
    match (names, values) {
        ([_], [value]) => value.clone(),
        _ => format!("the key ({}) = ({})", names.join(", "), values.join(", ")),
    }
}

/// The values of a row's key for messages, and the value of a key of one column.
pub(crate) fn values(
    batch: &RecordBatch,
    columns: &[usize],
    row: usize,
) -> (Vec<String>, Option<String>) {
    let texts = columns.iter().map(|&index| value_text(batch.column(index), row));
    let mut texts: Vec<Option<String>> = texts.collect();
    let shown = |text: &Option<String>| match text {
        Some(text) => format!("`{}`", shortened(text)),
        None => "null".to_owned(),
    };
    let all = texts.iter().map(shown).collect();
    (all, if texts.len() == 1 { texts.remove(0) } else { None })
}
