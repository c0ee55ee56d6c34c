//! Rejects on their way to the file: written as text by the workers, but for their numbers in the
//! source, which are known once all batches before them are counted.
//!
//! What stays in memory of a chunk with many rejects is their text, not the structs they were
//! found as, and not the chunk.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use gristmill_core::origin::Locator;
use gristmill_core::{LineHead, Location, Origin, Place, Reason, Reject, Result, Stage};

use crate::report::RejectTally;

/// What stays known of an origin when its records are gone.
pub(super) struct Extent {
    pub(super) source: Arc<str>,
    /// Records and lines in it.
    pub(super) records: u64,
    pub(super) lines: u64,
    /// Whether it was read by the chunk that holds this; else a step or a destination kept a
    /// record of it.
    read: bool,
    origin: Weak<Origin>,
    place: Place,
}

const BEGINNING: Place = Place { first_record: 1, first_line: 1 };

impl Extent {
    /// A batch that was just read. Its place is not known yet.
    pub(super) fn read(origin: &Arc<Origin>) -> Self {
        Self {
            lines: origin.line_count(),
            records: origin.len() as u64,
            read: true,
            ..Self::kept(origin)
        }
    }

    fn kept(origin: &Arc<Origin>) -> Self {
        Self {
            source: Arc::clone(origin.source()),
            records: 0,
            lines: 0,
            read: false,
            origin: Arc::downgrade(origin),
            place: origin.place().unwrap_or(BEGINNING),
        }
    }

    fn is_of(&self, origin: &Arc<Origin>) -> bool {
        std::ptr::eq(self.origin.as_ptr(), Arc::as_ptr(origin))
    }
}

/// The origins of a chunk, and the rejects made of their records.
#[derive(Default)]
pub(super) struct Lines {
    extents: Vec<Extent>,
    entries: Vec<Entry>,
    /// The tails of the lines, one behind the other.
    text: Vec<u8>,
    tallies: Tallies,
}

/// A reject. Numbers count from its extent's beginning.
struct Entry {
    extent: u32,
    stage: Stage,
    record: u64,
    line: Option<u64>,
    start: usize,
    end: usize,
}

impl Lines {
    /// Lines of rejects whose place in the source is known.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub(super) fn of(rejects: Vec<Reject>) -> Result<Self> {
        let mut lines = Self::default();
        lines.add(rejects)?;
        Ok(lines)
    }

    /// Counts a batch that was read.
    pub(super) fn read(&mut self, origin: &Arc<Origin>) {
        self.extents.push(Extent::read(origin));
    }

    /// The batches that were read, in order.
    pub(super) fn batches(&self) -> impl Iterator<Item = &Extent> {
        self.extents.iter().filter(|extent| extent.read)
    }

    /// Says where the chunk begins; answers where it ends.
    pub(super) fn place(&mut self, mut next: Place) -> Place {
        for extent in self.extents.iter_mut().filter(|extent| extent.read) {
            extent.place = next;
            if let Some(origin) = extent.origin.upgrade() {
                origin.set_place(next);
            }
            next.first_record += extent.records;
            next.first_line += extent.lines;
        }
        next
    }

    /// Bytes that they hold.
    pub(super) fn size(&self) -> usize {
        self.text.capacity() + self.entries.capacity() * size_of::<Entry>()
    }

    /// Number of rejects.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no reject.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds rejects that were found in any order.
    ///
    /// # Errors
    /// When the record of one was put away, and cannot be read again.
    pub(super) fn add(&mut self, mut rejects: Vec<Reject>) -> Result<()> {
        for reject in &mut rejects {
            (reject.origin, reject.ordinal) = reject.origin.resolve(reject.ordinal)?;
        }
        let mut locator = Locator::default();
        // Rejects of one batch follow each other; lines are counted once while ordinals ascend.
        for group in rejects.chunk_by_mut(|a, b| Arc::ptr_eq(&a.origin, &b.origin)) {
            group.sort_by_key(|reject| reject.ordinal);
            let origin = &group[0].origin;
            let base = origin.place().unwrap_or(BEGINNING);
            let extent = self.extents.iter().rposition(|extent| extent.is_of(origin));
            let extent = extent.unwrap_or_else(|| {
                self.extents.push(Extent { place: base, ..Extent::kept(origin) });
                self.extents.len() - 1
            });
            for reject in group {
                let location = locator.locate(&reject.origin, reject.ordinal as usize);
                self.push(extent, base, reject, &location);
            }
        }
        Ok(())
    }

    fn push(&mut self, extent: usize, base: Place, reject: &Reject, location: &Location) {
        let start = self.text.len();
        reject.write_tail(location, &mut self.text);
        let entry = Entry {
            extent: extent as u32,
            stage: reject.stage,
            record: location.record.saturating_sub(base.first_record),
            line: location.line.map(|line| line.saturating_sub(base.first_line)),
            start,
            end: self.text.len(),
        };
        for reason in &reject.errors {
            self.tallies.count(reason, &entry);
        }
        self.entries.push(entry);
    }

    /// Hands out every line, in the order of the records.
    pub(super) fn each<E>(
        &self,
        mut write: impl FnMut(&LineHead<'_>, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let place = |entry: &Entry| self.extents[entry.extent as usize].place;
        let number = |entry: &&Entry| place(entry).first_record + entry.record;
        let mut order: Vec<&Entry> = self.entries.iter().collect();
        order.sort_by_key(number);
        for entry in order {
            let Place { first_record, first_line } = place(entry);
            let head = LineHead {
                stage: entry.stage,
                source: &self.extents[entry.extent as usize].source,
                record: first_record + entry.record,
                line: entry.line.map(|line| first_line + line),
            };
            write(&head, &self.text[entry.start..entry.end])?;
        }
        Ok(())
    }

    /// Adds how often each reason occurs to the reasons of the chunks before.
    pub(super) fn add_to(&self, totals: &mut BTreeMap<(String, String), RejectTally>) {
        for (field, rules) in &self.tallies.0 {
            for (rule, tally) in rules {
                let key = (field.clone(), rule.clone());
                let total = totals.entry(key).or_insert_with(|| {
                    let Extent { source, place, .. } = &self.extents[tally.extent as usize];
                    RejectTally {
                        stage: tally.stage,
                        field: tally.field.clone(),
                        rule: rule.clone(),
                        records: 0,
                        example: tally.example.clone(),
                        source: source.to_string(),
                        record: place.first_record + tally.record,
                        line: tally.line.map(|line| place.first_line + line),
                    }
                });
                total.records += tally.records;
            }
        }
    }
}

/// How often each reason occurs: by field and rule.
#[derive(Default)]
struct Tallies(BTreeMap<String, BTreeMap<String, Tally>>);

struct Tally {
    field: Option<String>,
    records: u64,
    /// The first record: what is said of it, and where it is.
    example: String,
    stage: Stage,
    extent: u32,
    record: u64,
    line: Option<u64>,
}

impl Tally {
    fn first(reason: &Reason, entry: &Entry) -> Self {
        let Entry { extent, stage, record, line, .. } = *entry;
        let (field, example) = (reason.field.as_deref().map(str::to_owned), reason.message.clone());
        Self { field, records: 0, example, stage, extent, record, line }
    }
}

impl Tallies {
    fn count(&mut self, reason: &Reason, entry: &Entry) {
        let field = reason.field.as_deref().unwrap_or_default();
        // No name is copied for a reason that was met before.
        if let Some(tally) = self.0.get_mut(field).and_then(|rules| rules.get_mut(&*reason.rule)) {
            // Extents are in the order in which they were read.
            if (entry.extent, entry.record) < (tally.extent, tally.record) {
                *tally = Tally { records: tally.records, ..Tally::first(reason, entry) };
            }
            tally.records += 1;
            return;
        }
        let rules = self.0.entry(field.to_owned()).or_default();
        rules.insert(reason.rule.to_string(), Tally { records: 1, ..Tally::first(reason, entry) });
    }
}
