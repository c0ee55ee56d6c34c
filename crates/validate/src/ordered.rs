//! The part of the step that sees the batches one after the other: keys that no two records share,
//! and the record that ends the run.
//!
//! A key that was seen is a 128-bit hash and where it was first seen; what does not fit in memory is
//! looked up on disk.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError};

use gristmill_core::{
    Batch, Error, ErrorKind, Findings, OrderedStep, Origin, Reason, Result, Severity, Space, Stage,
};
use gristmill_parallel::KeyHash;
use gristmill_parallel::spill::Seen;

use crate::first::{First, Sources, values};
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

pub(crate) struct InOrder {
    aborts: Option<Aborts>,
    keys: Vec<(UniqueKey, Seen)>,
    sources: Sources,
}

impl InOrder {
    pub(crate) fn new(aborts: Option<Aborts>, keys: Vec<UniqueKey>) -> Self {
        let keys = keys.into_iter().map(|key| (key, Seen::new(Space::default()))).collect();
        Self { aborts, keys, sources: Sources::default() }
    }

    /// Takes what the local part noted about this batch.
    fn aborted(&self, origin: &Arc<Origin>) -> Option<Abort> {
        let aborts = self.aborts.as_ref()?;
        let mut aborts = aborts.lock().unwrap_or_else(PoisonError::into_inner);
        let mine = |abort: &mut Abort| Arc::ptr_eq(&abort.origin, origin);
        aborts.extract_if(.., mine).min_by_key(|abort| abort.ordinal)
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
        self.sources.enter(&batch);
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
                let (values, value) = values(&columns, &key.columns, row);
                let message = || match &key.message {
                    Some(message) => message.clone(),
                    None => self.sources.seen_before(&key.names, &values, first),
                };
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
            let first = self.sources.place(&batch, row).to_bits();
            for ((_, seen), hashes) in self.keys.iter_mut().zip(&hashes) {
                if let Some(hash) = hashes[at] {
                    seen.get_or_insert(hash, first);
                }
            }
        }
        Ok(batch)
    }

    fn settles(&self) -> bool {
        false
    }
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
