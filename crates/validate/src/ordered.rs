//! The part of the step that sees the batches one after the other: keys that no two records share,
//! and the record that ends the run.
//!
//! A key that was seen is a 128-bit hash and where it was first seen; what does not fit in memory is
//! looked up on disk.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError};

use arrow_array::RecordBatch;
use gristmill_core::text::value_text;
use gristmill_core::{
    Batch, Error, ErrorKind, Findings, OrderedStep, Origin, Reason, Result, Severity, Space, Stage,
};
use gristmill_parallel::KeyHash;
use gristmill_parallel::spill::Seen;

use crate::arrays::shortened;
use crate::key::KeyReader;
use crate::options::UniqueNulls;
use crate::step::{Abort, Aborts};

/// A key that no two records share.
#[derive(Debug, Clone)]
pub(crate) struct UniqueKey {
    pub(crate) columns: Vec<usize>,
    pub(crate) names: Vec<String>,
    pub(crate) rule: String,
    pub(crate) nulls: UniqueNulls,
    pub(crate) severity: Severity,
    pub(crate) message: Option<String>,
    pub(crate) failed: Arc<AtomicU64>,
}

/// The first record with a key: the index of its source's name, and its number in the source,
/// 0 if that is not known.
#[derive(Debug, Clone, Copy)]
struct First {
    source: u32,
    record: u32,
}

impl First {
    fn to_bits(self) -> u64 {
        u64::from(self.source) << 32 | u64::from(self.record)
    }

    fn from_bits(bits: u64) -> Self {
        Self { source: (bits >> 32) as u32, record: bits as u32 }
    }
}

pub(crate) struct InOrder {
    aborts: Option<Aborts>,
    keys: Vec<(UniqueKey, Seen)>,
    sources: Vec<Arc<str>>,
}

impl InOrder {
    pub(crate) fn new(aborts: Option<Aborts>, keys: Vec<UniqueKey>) -> Self {
        let keys = keys.into_iter().map(|key| (key, Seen::new(Space::default()))).collect();
        Self { aborts, keys, sources: Vec::new() }
    }

    /// Takes what the local part noted about this batch.
    fn aborted(&self, origin: &Arc<Origin>) -> Option<Abort> {
        let aborts = self.aborts.as_ref()?;
        let mut aborts = aborts.lock().unwrap_or_else(PoisonError::into_inner);
        let mine = |abort: &mut Abort| Arc::ptr_eq(&abort.origin, origin);
        aborts.extract_if(.., mine).min_by_key(|abort| abort.ordinal)
    }

    fn source(&mut self, name: &Arc<str>) -> u32 {
        if self.sources.last().is_none_or(|last| last != name) {
            self.sources.push(Arc::clone(name));
        }
        (self.sources.len() - 1) as u32
    }

    fn message(&self, key: &UniqueKey, first: First, source: u32, values: &[String]) -> String {
        if let Some(message) = &key.message {
            return message.clone();
        }
        let mut message = match (key.names.as_slice(), values) {
            ([_], [value]) => format!("{value} was seen before"),
            (names, values) => {
                format!("the key ({}) = ({}) was seen before", names.join(", "), values.join(", "))
            }
        };
        if first.record > 0 {
            message.push_str(&format!(", in record {}", first.record));
            if first.source != source {
                message.push_str(&format!(" of `{}`", self.sources[first.source as usize]));
            }
        }
        message
    }
}

impl OrderedStep for InOrder {
    fn open(&mut self, space: Space) {
        let memory = space.memory / self.keys.len().max(1);
        for (_, seen) in &mut self.keys {
            *seen = Seen::new(Space { memory, ..space.clone() });
        }
    }

    fn apply(&mut self, mut batch: Batch, findings: &mut Findings) -> Result<Batch> {
        if let Some(abort) = self.aborted(batch.origin()) {
            return Err(stop(&abort));
        }
        if self.keys.is_empty() {
            return Ok(batch);
        }
        let columns = batch.columns().clone();
        let source = self.source(&batch.origin().source().clone());
        let first_record = batch.origin().place().map(|place| place.first_record);
        let mut open = vec![false; batch.num_rows()];
        for flaw in batch.flaws() {
            open[flaw.row as usize] = true;
        }
        let fit: Vec<usize> = (0..columns.num_rows()).filter(|&row| !open[row]).collect();
        let mut hashes = Vec::with_capacity(self.keys.len());
        for (key, seen) in &mut self.keys {
            let mut reader =
                KeyReader::new(&columns, &key.columns).equal_nulls(key.nulls == UniqueNulls::Equal);
            let of_rows: Vec<Option<KeyHash>> = fit.iter().map(|&row| reader.key(row)).collect();
            seen.fetch(&of_rows.iter().flatten().copied().collect::<Vec<_>>())?;
            hashes.push(of_rows);
        }
        for (at, &row) in fit.iter().enumerate() {
            let mut kept = true;
            for ((key, seen), hashes) in self.keys.iter().zip(&hashes) {
                let Some(first) = hashes[at].and_then(|hash| seen.get(hash)) else { continue };
                let first = First::from_bits(first);
                key.failed.fetch_add(1, Relaxed);
                let (values, value) = values(&columns, key, row);
                let message = || self.message(key, first, source, &values);
                if key.severity == Severity::Warn {
                    findings.warn(&key.names.join(", "), &key.rule, message);
                    continue;
                }
                let field = match key.names.as_slice() {
                    [name] => Some(name.clone().into()),
                    _ => None,
                };
                let message = message();
                let reason = Reason { field, rule: key.rule.clone().into(), message, value };
                if key.severity == Severity::Abort {
                    let ordinal = batch.rows().ordinal(row);
                    let origin = Arc::clone(batch.origin());
                    return Err(stop(&Abort { origin, ordinal, reason }));
                }
                kept = false;
                batch.add_flaw(row, Stage::Validate, reason);
            }
            if !kept {
                continue; // a rejected record takes no key from a later one
            }
            let ordinal = u64::from(batch.rows().ordinal(row));
            let record = first_record
                .and_then(|first| u32::try_from(first + ordinal).ok())
                .unwrap_or_default();
            for ((_, seen), hashes) in self.keys.iter_mut().zip(&hashes) {
                if let Some(hash) = hashes[at] {
                    seen.get_or_insert(hash, First { source, record }.to_bits());
                }
            }
        }
        Ok(batch)
    }

    fn settles(&self) -> bool {
        false
    }
}

/// The values of a key for its message, and the value of a key of one column.
fn values(columns: &RecordBatch, key: &UniqueKey, row: usize) -> (Vec<String>, Option<String>) {
    let texts = key.columns.iter().map(|&index| value_text(columns.column(index), row));
    let mut texts: Vec<Option<String>> = texts.collect();
    let shown = |text: &Option<String>| match text {
        Some(text) => format!("`{}`", shortened(text)),
        None => "null".to_owned(),
    };
    let all = texts.iter().map(shown).collect();
    (all, if texts.len() == 1 { texts.remove(0) } else { None })
}

fn stop(abort: &Abort) -> Error {
    let Abort { origin, ordinal, reason } = abort;
    let location = origin.locate(*ordinal as usize);
    let source = origin.source();
    let at = match (origin.place(), location.line, location.offset) {
        (Some(_), Some(line), _) => {
            format!("record {} (line {line}) of `{source}`", location.record)
        }
        (Some(_), None, _) => format!("record {} of `{source}`", location.record),
        (None, _, Some(offset)) => format!("the record at byte {offset} of `{source}`"),
        (None, ..) => format!("a record of `{source}`"),
    };
    let field = match &reason.field {
        Some(field) => format!("field `{field}`, "),
        None => String::new(),
    };
    Error::new(
        ErrorKind::Stopped,
        format!("{at}: {field}rule `{}`: {}", reason.rule, reason.message),
    )
    .hint("the rule has severity `abort`; mend the record, or let the rule reject or warn")
}
