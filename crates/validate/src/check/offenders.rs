//! Records that offend against a check and are rejected for it: duplicates of a key, and records that refer to nothing.

use std::sync::Arc;

use arrow_array::{BooleanArray, RecordBatch};
use gristmill_core::{Batch, Error, Findings, Reason, Result, Space, Stage};
use gristmill_parallel::KeyHash;
use gristmill_parallel::spill::Seen;

use super::Check;
use super::bind::Bound;
use super::evaluate::with_keys;
use super::keys::collect;
use super::measure::Offenders;
use super::metric::Metric;
use crate::first::{First, Sources, named, values};

/// Takes offenders out, in source order.
pub(super) struct Rejecting {
    bound: Arc<Bound>,
    tests: Vec<Offense>,
    sources: Sources,
}

/// What offends.
struct Offense {
    /// Where the keys of the records are gathered.
    slot: usize,
    columns: Vec<usize>,
    names: Vec<String>,
    /// What rejects call it: the check's name, if it has one of its own.
    rule: String,
    kind: Kind,
    /// Keys that came, or those of the reference.
    seen: Seen,
}

#[derive(Clone, PartialEq)]
enum Kind {
    /// A key that came before.
    Duplicate,
    /// A key that came before, or has a null.
    NoKey,
    /// A key that the reference, where it is gathered in this slot, does not have.
    Orphan { reference: String, slot: usize, read: bool },
}

impl Rejecting {
    /// What checks reject; nothing if they reject nothing.
    pub(super) fn of(bound: &Arc<Bound>) -> Result<Option<Self>> {
        let mut tests = Vec::new();
        let mut test = 0;
        for check in &bound.checks {
            if check.offenders == Offenders::Reject {
                tests.extend(Offense::of(bound, check, test)?);
            }
            test += check.rule.tests().len();
        }
        let bound = Arc::clone(bound);
        Ok((!tests.is_empty()).then(|| Self { bound, tests, sources: Sources::default() }))
    }

    pub(super) fn open(&mut self, space: &Space) {
        let memory = space.memory / self.tests.len().max(1);
        for test in &mut self.tests {
            test.seen = Seen::new(Space { memory, ..space.clone() });
        }
    }

    /// Rejects the offenders of a batch. A record that is rejected takes no key from a later one.
    pub(super) fn apply(&mut self, mut batch: Batch, findings: &mut Findings) -> Result<Batch> {
        let columns = batch.columns().clone();
        self.sources.enter(&batch);
        let mut asked = Vec::with_capacity(self.tests.len());
        for test in &mut self.tests {
            asked.push(test.keys(&self.bound, &columns)?);
        }
        for row in 0..columns.num_rows() {
            let of_row = || asked.iter().map(|asked| asked.key(row));
            let mut kept = true;
            for (test, key) in self.tests.iter().zip(of_row()) {
                let reason = key.and_then(|key| test.reason(key, &columns, row, &self.sources));
                if let Some((message, value)) = reason {
                    let field = match test.names.as_slice() {
                        [name] => Some(name.clone().into()),
                        _ => None,
                    };
                    let reason = Reason { field, rule: test.rule.clone().into(), message, value };
                    batch.add_flaw(row, Stage::Validate, reason);
                    kept = false;
                }
            }
            if kept {
                let first = self.sources.place(&batch, row).to_bits();
                for (test, key) in self.tests.iter_mut().zip(of_row()) {
                    if let (Some(Some(key)), Kind::Duplicate | Kind::NoKey) = (key, &test.kind) {
                        test.seen.get_or_insert(key, first);
                    }
                }
            }
        }
        batch.settle(findings)
    }
}

/// The keys of a batch, and of which records a test is asked.
struct Asked {
    keys: Vec<Option<KeyHash>>,
    rows: Option<BooleanArray>,
}

impl Asked {
    /// The key of a row that is asked for; nothing within if it has a null that makes it none.
    fn key(&self, row: usize) -> Option<Option<KeyHash>> {
        self.rows.as_ref().is_none_or(|rows| rows.value(row)).then(|| self.keys[row])
    }
}

impl Offense {
    /// What offends against a check, whose only test is this one.
    fn of(bound: &Bound, check: &Check, test: usize) -> Result<Option<Self>> {
        let Some(asked) = check.rule.tests().first().copied() else { return Ok(None) };
        let slots = &bound.slots[test];
        let (names, rule, slot, kind) = match asked.metric.clone() {
            Metric::Uniqueness(names, _) => (names, "uniqueness", slots[0], Kind::Duplicate),
            Metric::PrimaryKey(names) => (names, "primary_key", slots[1], Kind::NoKey),
            Metric::ReferentialIntegrity { columns, reference, .. } => {
                let slot = bound.references.of(&reference).slots(test)[0];
                let kind = Kind::Orphan { reference, slot, read: false };
                (columns, "referential_integrity", slots[0], kind)
            }
            _ => return Ok(None),
        };
        let unnamed = check.name == asked.to_string();
        let rule = if unnamed { rule.to_owned() } else { check.name.clone() };
        let schema = &bound.gatherer.schema;
        let columns = names.iter().map(|name| schema.index_of(name));
        let columns = columns.collect::<Result<_, _>>().map_err(Error::from)?;
        let seen = Seen::new(Space::default());
        Ok(Some(Self { slot, columns, names, rule, kind, seen }))
    }

    fn keys(&mut self, bound: &Bound, batch: &RecordBatch) -> Result<Asked> {
        if let Kind::Orphan { reference, slot, read: read @ false } = &mut self.kind {
            *read = true;
            let theirs = &bound.references.of(reference).gatherer;
            with_keys(theirs, *slot, |counts| collect(counts, &mut self.seen, |_| true))?;
        }
        let keys = bound.gatherer.keys(self.slot, batch);
        self.seen.fetch(&keys.iter().flatten().copied().collect::<Vec<_>>())?;
        Ok(Asked { keys, rows: bound.gatherer.asked(self.slot, batch)? })
    }

    /// Why a record offends, if it does, and the value that does so.
    fn reason(
        &self,
        key: Option<KeyHash>,
        batch: &RecordBatch,
        row: usize,
        sources: &Sources,
    ) -> Option<(String, Option<String>)> {
        let known = key.and_then(|key| self.seen.get(key));
        let offends = match &self.kind {
            Kind::Duplicate => known.is_some(),
            Kind::NoKey => key.is_none() || known.is_some(),
            Kind::Orphan { .. } => key.is_some() && known.is_none(),
        };
        if !offends {
            return None; // as most records, whose values nobody wants to see
        }
        let (shown, value) = values(batch, &self.columns, row);
        let named = || named(&self.names, &shown);
        let message = match (&self.kind, key, known) {
            (Kind::NoKey, None, _) if self.names.len() == 1 => {
                "a primary key is not null".to_owned()
            }
            (Kind::NoKey, None, _) => format!("{} has a null, and a primary key has none", named()),
            (Kind::Orphan { reference, .. }, Some(_), None) => {
                format!("{} is in no record of `{reference}`", named())
            }
            (Kind::Duplicate | Kind::NoKey, _, Some(first)) => {
                sources.seen_before(&self.names, &shown, First::from_bits(first))
            }
            _ => return None,
        };
        Some((message, value))
    }
}
