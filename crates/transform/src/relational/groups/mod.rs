//! Groups of records, folded on the workers.
//!
//! An aggregation whose functions do not care for order (counts, sums, averages, least and greatest
//! values; see [`plan`]) need not see batches in order, nor on one thread. A key is a few numbers
//! ([`keys`]): texts have numbers among those of their column ([`texts`]). Workers fold records into
//! [`PARTS`] tables that they share, by the hash of the key ([`table`]); as long as that makes them
//! fewer, each into a table of its own first. At the end, groups are sorted and given in the order
//! of their keys ([`sorted`]). Tables and texts that do not fit together go to disk in that order,
//! and are read again as one with all others ([`runs`]). Results are the same for any number of
//! workers and any amount of memory, because merging two parts of a group is exact ([`fold`]).

mod fold;
mod keys;
mod plan;
mod runs;
mod slots;
mod sorted;
mod table;
mod texts;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use gristmill_core::{
    Batch, Bound, Findings, Grain, OrderedStep, Origin, Place, Result, Rows, Space, Step,
    TableStep, Turn,
};

use super::query::Query;
use super::{message, parallel};
use keys::{AllTexts, Codes};
use plan::{Plan, Records};
use runs::{Merge, Run, Store};
use sorted::{Given, Sorted};
use table::Table;

/// Tables that share the groups: a byte of a hash chooses one.
const PARTS: usize = 64;
/// Bytes of the groups that a worker folds by itself.
const FOLDED: usize = 512 << 10;
/// Records that a worker does not fold by itself after it found that there are about as many groups.
const UNFOLDED: usize = 1 << 20;
/// Records that are folded together.
const TOGETHER: usize = 1 << 16;
/// Memory for each batch that is made before it is given.
const AHEAD: usize = 8 << 20;
/// Runs of a file that are read together with those of the others.
const RUNS: usize = 32;

/// The step that runs this query, if it can be done by folding groups.
pub(crate) fn bound(name: &'static str, query: &Query) -> Option<Bound> {
    let plan = plan::plan(&query.plan, &query.output)?;
    let output = Arc::clone(&plan.output);
    let shared = Arc::new(Shared {
        name,
        space: RwLock::default(),
        memory: RwLock::new(Memory::new(&plan)),
        held: AtomicUsize::new(0),
        turns: AtomicUsize::new(0),
        plan,
    });
    let local = Some(Box::new(Folds(Arc::clone(&shared))) as Box<dyn Step>);
    let groups = Groups { shared, state: State::Taking, made: VecDeque::new(), given: 0 };
    let ordered = Some(Box::new(groups) as Box<dyn OrderedStep>);
    Some(Bound { local, ordered, output, grain: Grain::Changes })
}

/// What workers and the step that gives the groups have in common.
struct Shared {
    name: &'static str,
    plan: Plan,
    space: RwLock<Space>,
    /// Workers read it, each part behind a lock of its own; who puts all of it away writes.
    memory: RwLock<Memory>,
    /// Bytes that tables and texts hold.
    held: AtomicUsize,
    /// Counts batches: workers begin with different parts.
    turns: AtomicUsize,
}

/// All that is in memory, and where the rest is.
struct Memory {
    texts: AllTexts,
    parts: Vec<Mutex<Table>>,
    /// What is folded by a worker that is not working now.
    workers: Mutex<Vec<Worker>>,
    /// Groups that were put away.
    stores: Vec<Store>,
}

/// Groups of one worker.
struct Worker {
    folded: Table,
    /// Records that went into `folded`.
    records: usize,
    /// Records that go to the shared tables before folding is tried again.
    unfolded: usize,
}

impl Memory {
    fn new(plan: &Plan) -> Self {
        let parts = std::iter::repeat_with(|| Mutex::new(plan.table()));
        Self {
            texts: plan.keys.texts(),
            parts: parts.take(PARTS).collect(),
            workers: Mutex::default(),
            stores: Vec::new(),
        }
    }

    /// Takes the groups that are in memory, in order.
    fn sorted(&mut self, shared: &Shared) -> Result<Sorted> {
        for worker in std::mem::take(&mut *locked(&self.workers)) {
            shared.hand_over(&worker.folded, self);
        }
        let fresh = Self::new(&shared.plan);
        let parts = std::mem::replace(&mut self.parts, fresh.parts).into_iter();
        let tables = parts.map(|part| part.into_inner().unwrap_or_else(PoisonError::into_inner));
        let texts = std::mem::replace(&mut self.texts, fresh.texts);
        let (space, keys) = (shared.space(), &shared.plan.keys);
        let sorted = Sorted::new(tables.collect(), texts, keys, space.workers);
        shared.held.store(0, Ordering::Relaxed);
        sorted.map_err(|found| message::running(shared.name, space.memory, found))
    }

    fn is_full(&self) -> bool {
        let texts = self.texts.iter();
        texts
            .into_iter()
            .any(|texts| texts.read().unwrap_or_else(PoisonError::into_inner).is_full())
            || self.parts.iter().any(|part| locked(part).is_full())
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn space(&self) -> Space {
        self.space.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn reads(&self) -> RwLockReadGuard<'_, Memory> {
        self.memory.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn writes(&self) -> RwLockWriteGuard<'_, Memory> {
        self.memory.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Folds the records of a batch.
    fn take(&self, columns: &RecordBatch) -> Result<()> {
        let space = self.space();
        let room = space.memory / 16 * 15;
        let mut rows = 0;
        while rows < columns.num_rows() {
            let some = columns.slice(rows, TOGETHER.min(columns.num_rows() - rows));
            rows += some.num_rows();
            let records = self.plan.records(&some);
            let records =
                records.map_err(|found| message::running(self.name, space.memory, found))?;
            let memory = self.reads();
            let taken = self.fold(&records, &memory);
            taken.map_err(|found| message::running(self.name, space.memory, found))?;
            let full = self.held.load(Ordering::Relaxed) > room;
            if full || memory.is_full() {
                drop(memory);
                self.put_away(room, &space)?;
            }
        }
        Ok(())
    }

    fn fold(&self, records: &Records, memory: &Memory) -> datafusion_common::Result<()> {
        let Plan { keys, .. } = &self.plan;
        let (codes, grown) = keys.codes(&records.keys, records.rows, &memory.texts)?;
        self.held.fetch_add(grown, Ordering::Relaxed);
        let worker = locked(&memory.workers).pop();
        let mut worker =
            worker.unwrap_or_else(|| Worker { folded: self.plan.table(), records: 0, unfolded: 0 });
        if worker.unfolded > 0 {
            worker.unfolded = worker.unfolded.saturating_sub(records.rows);
            self.fold_shared(records, &codes, memory);
        } else {
            let rows: Vec<u32> = (0..records.rows as u32).collect();
            worker.folded.fold(&codes, &rows, &records.folds);
            worker.records += records.rows;
            if worker.folded.bytes() > FOLDED {
                if worker.records < 2 * worker.folded.len() {
                    worker.unfolded = UNFOLDED;
                }
                self.hand_over(&worker.folded, memory);
                (worker.folded, worker.records) = (self.plan.table(), 0);
            }
        }
        locked(&memory.workers).push(worker);
        Ok(())
    }

    /// Folds records into the tables that all share.
    fn fold_shared(&self, records: &Records, codes: &Codes, memory: &Memory) {
        let (rows, parts) = by_part(&codes.hashes);
        self.each_part(&parts, memory, |table, range| {
            table.fold(codes, &rows[range], &records.folds);
        });
    }

    /// Merges the groups that a worker folded into the tables that all share.
    fn hand_over(&self, folded: &Table, memory: &Memory) {
        let hashes: Vec<u64> =
            (0..folded.len() as u32).map(|group| keys::hash(folded.key(group))).collect();
        let (groups, parts) = by_part(&hashes);
        self.each_part(&parts, memory, |table, range| {
            table.merge(&self.plan.layout, folded, &groups[range]);
        });
    }

    /// Does something with the table of each part, and what is in its range.
    fn each_part(
        &self,
        parts: &[Range<usize>],
        memory: &Memory,
        mut work: impl FnMut(&mut Table, Range<usize>),
    ) {
        // Far from where another worker began.
        let first = self.turns.fetch_add(1, Ordering::Relaxed).wrapping_mul(PARTS / 2 + 7);
        for part in (0..PARTS).map(|part| first.wrapping_add(part) % PARTS) {
            if parts[part].is_empty() {
                continue;
            }
            let mut table = locked(&memory.parts[part]);
            let before = table.bytes();
            work(&mut table, parts[part].clone());
            self.held.fetch_add(table.bytes() - before, Ordering::Relaxed);
        }
    }

    /// Writes all groups to disk, if no other worker just did.
    fn put_away(&self, room: usize, space: &Space) -> Result<()> {
        let mut memory = self.writes();
        if self.held.load(Ordering::Relaxed) <= room && !memory.is_full() {
            return Ok(());
        }
        let sorted = memory.sorted(self)?;
        let threads = space.workers.max(1);
        while memory.stores.len() < threads {
            memory.stores.push(Store::new(space)?);
        }
        let each = sorted.len().div_ceil(threads);
        let ranges = (0..threads)
            .map(|part| (part * each).min(sorted.len())..((part + 1) * each).min(sorted.len()));
        let stores: Vec<_> = memory.stores.iter_mut().zip(ranges).collect();
        let put = parallel::each(stores, threads, |(store, mut range)| {
            store.put(space, || {
                let next = sorted.given(range.start, &self.plan.keys);
                let next = next.start..next.end.min(range.end);
                range.start = next.end;
                self.rows(&sorted, next)
            })
        });
        put.into_iter().collect()
    }

    fn rows(&self, sorted: &Sorted, groups: Range<usize>) -> Result<Vec<u64>> {
        let rows = sorted.rows(groups, &self.plan);
        rows.map_err(|found| message::running(self.name, self.space().memory, found))
    }

    /// All groups in order, once all records are there.
    fn finish(self: &Arc<Self>) -> Result<All> {
        let space = self.space();
        let mut memory = self.writes();
        let sorted = memory.sorted(self)?;
        let stores = std::mem::take(&mut memory.stores);
        if stores.is_empty() {
            return Ok(All::Sorted(Box::new(sorted), 0));
        }
        let layout = &self.plan.layout;
        let reads = |runs: usize| (space.memory / 8 / runs / 8 * 8).clamp(1 << 10, 64 << 10);
        let runs: usize = stores.iter().map(Store::len).sum();
        let stores = parallel::each(stores, space.workers, |mut store| {
            if store.len() > RUNS {
                store.merge(reads(runs), layout, &space)?;
            }
            Ok(store)
        });
        let stores = stores.into_iter().collect::<Result<Vec<_>>>()?;
        let mut runs = Vec::new();
        for store in &stores {
            runs.extend(store.runs(reads(RUNS * stores.len()), layout)?);
        }
        let (shared, mut at) = (Arc::clone(self), 0);
        let next = move || {
            let next = sorted.given(at, &shared.plan.keys);
            at = next.end;
            shared.rows(&sorted, next)
        };
        runs.push(Run::made(next, layout)?);
        Ok(All::Merged(Merge::new(runs, layout)))
    }
}

/// Numbers of hashes by the part that each belongs to, and where those of each part are.
fn by_part(hashes: &[u64]) -> (Vec<u32>, Vec<Range<usize>>) {
    let part = |hash: &u64| *hash as usize % PARTS;
    let mut parts = vec![0..0; PARTS];
    hashes.iter().for_each(|hash| parts[part(hash)].end += 1);
    let mut start = 0;
    for range in &mut parts {
        let len = range.end;
        *range = start..start;
        start += len;
    }
    let mut sorted = vec![0; hashes.len()];
    for (number, hash) in hashes.iter().enumerate() {
        let range = &mut parts[part(hash)];
        sorted[range.end] = number as u32;
        range.end += 1;
    }
    (sorted, parts)
}

/// Folds batches on workers; nothing is left of them.
struct Folds(Arc<Shared>);

impl Step for Folds {
    fn apply(&self, batch: Batch, _: &mut Findings) -> Result<Batch> {
        self.0.take(batch.columns())?;
        nothing_of(&batch, batch.schema())
    }
}

/// The batch without any of its records.
pub(super) fn nothing_of(batch: &Batch, schema: SchemaRef) -> Result<Batch> {
    let none = Rows::Some(Arc::from([]));
    Batch::new(RecordBatch::new_empty(schema), Arc::clone(batch.origin()), none)
}

/// Gives the groups once all records are there.
struct Groups {
    shared: Arc<Shared>,
    state: State,
    /// Batches that are given next.
    made: VecDeque<RecordBatch>,
    /// Records given so far.
    given: u64,
}

enum State {
    Taking,
    /// Every record is there.
    Ended,
    Giving(All),
}

/// All groups in order.
enum All {
    /// And how many of them were given.
    Sorted(Box<Sorted>, usize),
    Merged(Merge),
}

impl All {
    /// The columns of the next groups, in several batches; none at the end.
    fn next(&mut self, shared: &Shared) -> Result<Vec<RecordBatch>> {
        let Shared { name, plan, .. } = shared;
        let Space { memory, workers, .. } = shared.space();
        let batches = (memory / AHEAD).clamp(1, 2 * workers.max(1));
        let columns = match self {
            All::Sorted(sorted, start) => {
                let mut all = Vec::new();
                while all.len() < batches && *start < sorted.len() {
                    let groups = sorted.given(*start, &plan.keys);
                    *start = groups.end;
                    all.push(groups);
                }
                let sorted = &*sorted;
                let columns = |groups| plan.columns(sorted.groups(groups, plan)?);
                parallel::each(all, workers, columns)
            }
            All::Merged(merge) => {
                let mut all = Vec::new();
                while all.len() < batches {
                    let groups = merge.groups()?;
                    if groups.len() == 0 {
                        break;
                    }
                    all.push(groups);
                }
                parallel::each(all, workers, |groups| plan.columns(plan.merged(groups)?))
            }
        };
        let columns: datafusion_common::Result<_> = columns.into_iter().collect();
        columns.map_err(|found| message::running(name, memory, found))
    }
}

impl Groups {
    fn next(&mut self) -> Result<Option<Batch>> {
        let State::Giving(all) = &mut self.state else { return Ok(None) };
        if self.made.is_empty() {
            self.made = all.next(&self.shared)?.into();
        }
        let Shared { name, plan, .. } = &*self.shared;
        let columns = match self.made.pop_front() {
            Some(columns) => columns,
            None if self.given > 0 || plan.has_keys() => return Ok(None),
            // No records are one group where there are no keys.
            None => {
                let words = vec![0; plan.layout.width];
                let columns = plan.columns(Given { words, ..Given::default() });
                let memory = self.shared.space().memory;
                columns.map_err(|found| message::running(name, memory, found))?
            }
        };
        let origin = Origin::columns((*name).into(), columns.clone());
        origin.set_place(Place { first_record: self.given + 1, first_line: 1 });
        self.given += columns.num_rows() as u64;
        Batch::whole(columns, Arc::new(origin)).map(Some)
    }
}

impl TableStep for Groups {
    fn give(&mut self, batch: Option<Batch>) -> Result<()> {
        match batch {
            Some(batch) => self.shared.take(batch.columns())?,
            None => self.state = State::Ended,
        }
        Ok(())
    }

    fn turn(&mut self) -> Result<Turn> {
        match self.state {
            State::Taking => return Ok(Turn::Takes),
            State::Ended => self.state = State::Giving(self.shared.finish()?),
            State::Giving(_) => {}
        }
        Ok(self.next()?.map_or(Turn::Done, Turn::Gives))
    }
}

impl OrderedStep for Groups {
    fn open(&mut self, space: Space) {
        *self.shared.space.write().unwrap_or_else(PoisonError::into_inner) = space;
    }

    fn apply(&mut self, batch: Batch, _: &mut Findings) -> Result<Batch> {
        self.shared.take(batch.columns())?;
        nothing_of(&batch, Arc::clone(&self.shared.plan.output))
    }

    fn release(&mut self, _: &mut Findings) -> Result<Option<Batch>> {
        if let State::Taking = self.state {
            self.state = State::Ended;
        }
        match self.turn()? {
            Turn::Gives(batch) => Ok(Some(batch)),
            _ => Ok(None),
        }
    }

    fn table(&mut self) -> Option<&mut dyn TableStep> {
        Some(self)
    }

    fn keeps_within(&self) -> bool {
        true
    }
}
