//! Groups of records, folded on the workers.
//!
//! An aggregation whose functions do not care for order (counts, sums, averages, least and greatest
//! values; see [`plan`]) need not see batches in order, nor on one thread. Each worker folds the
//! groups of its batches as long as that makes them fewer, and hands them to one of [`PARTS`] tables
//! by the hash of their key. At the end, groups come in the order of their keys. Results are the same for any
//! number of workers and any amount of memory, because merging two parts of a group is exact
//! ([`fold`]); tables that do not fit are written to disk, sorted ([`runs`]).

mod fold;
mod plan;
mod runs;
mod table;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use gristmill_core::{
    Batch, Bound, Findings, Grain, OrderedStep, Origin, Place, Result, Rows, Space, Step,
    TableStep, Turn,
};

use super::message;
use super::query::Query;
use plan::Plan;
use runs::{Merge, Run, Store};
use table::{Table, restart_row, start_row};

/// Tables that share the groups.
const PARTS: usize = 64;
/// Words that a worker gathers for a table before it asks for it.
const GATHERED: usize = 16 << 10;
/// Bytes of the groups that a worker folds by itself.
const FOLDED: usize = 512 << 10;
/// Records that a worker does not fold after it found that there are about as many groups.
const UNFOLDED: usize = 1 << 20;
/// Runs of a part that are read together with those of all others.
const TOGETHER: usize = 8;
/// Groups of a batch, and bytes of their keys.
const GIVEN: (usize, usize) = (8192, 1 << 20);

/// The step that runs this query, if it can be done by folding groups.
pub(crate) fn bound(name: &'static str, query: &Query) -> Option<Bound> {
    let plan = plan::plan(&query.plan, &query.output)?;
    let output = Arc::clone(&plan.output);
    let shared = Arc::new(Shared {
        name,
        plan,
        space: RwLock::default(),
        workers: Mutex::default(),
        parts: std::iter::repeat_with(Mutex::default).take(PARTS).collect(),
        held: AtomicUsize::new(0),
    });
    let local = Some(Box::new(Folds(Arc::clone(&shared))) as Box<dyn Step>);
    let groups = Groups { shared, state: State::Taking, given: 0 };
    let ordered = Some(Box::new(groups) as Box<dyn OrderedStep>);
    Some(Bound { local, ordered, output, grain: Grain::Changes })
}

/// What workers and the step that gives the groups have in common.
struct Shared {
    name: &'static str,
    plan: Plan,
    space: RwLock<Space>,
    /// What is gathered by a worker that is not working now.
    workers: Mutex<Vec<Worker>>,
    parts: Vec<Mutex<Part>>,
    /// Bytes that all tables hold.
    held: AtomicUsize,
}

/// Groups whose keys have hashes of one kind.
#[derive(Default)]
struct Part {
    table: Table,
    /// Groups that were put away.
    store: Option<Store>,
}

/// Rows on their way to the tables.
struct Worker {
    folded: Table,
    /// Rows that went into `folded`.
    rows: usize,
    /// Rows that are handed over as they are before folding is tried again.
    unfolded: usize,
    /// Rows for each part.
    gathered: Vec<Vec<u64>>,
}

impl Default for Worker {
    fn default() -> Self {
        let gathered = vec![Vec::new(); PARTS];
        Self { folded: Table::default(), rows: 0, unfolded: 0, gathered }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn space(&self) -> Space {
        self.space.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Folds the records of a batch.
    fn take(&self, columns: &RecordBatch) -> Result<()> {
        let space = self.space();
        let mut worker = locked(&self.workers).pop().unwrap_or_default();
        let (mut outcome, mut row) = (Ok(()), Vec::new());
        let most = most_gathered(&space);
        let taken = self.plan.rows(columns, |key, words| {
            start_row(&mut row, key);
            if outcome.is_ok() {
                outcome = self.add(&mut worker, (&row, words), &space, most);
            }
        });
        locked(&self.workers).push(worker);
        taken.map_err(|found| message::running(self.name, space.memory, found))?;
        outcome
    }

    fn add(&self, worker: &mut Worker, row: Row<'_>, space: &Space, most: usize) -> Result<()> {
        if worker.unfolded > 0 {
            worker.unfolded -= 1;
            return self.gather(&mut worker.gathered, row, space, most);
        }
        worker.folded.fold_row(&self.plan.layout, row.0, row.1);
        worker.rows += 1;
        if worker.folded.bytes() < FOLDED {
            return Ok(());
        }
        if worker.rows < 2 * worker.folded.len() {
            worker.unfolded = UNFOLDED;
        }
        self.hand_over(worker, space)
    }

    /// Adds a row to those of its part.
    #[inline]
    fn gather(
        &self,
        gathered: &mut [Vec<u64>],
        (row, words): Row<'_>,
        space: &Space,
        most: usize,
    ) -> Result<()> {
        let part = row[0] as usize % PARTS;
        gathered[part].extend_from_slice(row);
        gathered[part].extend_from_slice(words);
        if gathered[part].len() >= most {
            self.fold(part, &mut gathered[part], space)?;
        }
        Ok(())
    }

    /// Folds rows into the groups of a part.
    fn fold(&self, part: usize, rows: &mut Vec<u64>, space: &Space) -> Result<()> {
        let Part { table, store } = &mut *locked(&self.parts[part]);
        let before = table.bytes();
        table.fold(&self.plan.layout, rows);
        rows.clear();
        let bytes = table.bytes();
        let held = self.held.fetch_add(bytes - before, Ordering::Relaxed) + bytes - before;
        let room = space.memory / 4 * 3;
        if (held > room && bytes > room / (2 * PARTS)) || table.is_full() {
            self.held.fetch_sub(bytes, Ordering::Relaxed);
            let store = match store {
                Some(store) => store,
                None => store.insert(Store::new(space)?),
            };
            store.put(&std::mem::take(table), &self.plan.layout, space)?;
        }
        Ok(())
    }

    /// Hands the groups that a worker folded to their parts.
    fn hand_over(&self, worker: &mut Worker, space: &Space) -> Result<()> {
        let folded = std::mem::take(&mut worker.folded);
        worker.rows = 0;
        let (mut row, most) = (Vec::new(), most_gathered(space));
        for group in 0..folded.len() as u32 {
            let mut outcome = Ok(());
            restart_row(&mut row, folded.key(group));
            folded.parts(&self.plan.layout, group, |words| {
                if outcome.is_ok() {
                    outcome = self.gather(&mut worker.gathered, (&row, words), space, most);
                }
            });
            outcome?;
        }
        Ok(())
    }

    /// All groups in order, once all records are there.
    fn finish(&self) -> Result<Merge> {
        let space = self.space();
        for mut worker in std::mem::take(&mut *locked(&self.workers)) {
            self.hand_over(&mut worker, &space)?;
            for (part, rows) in worker.gathered.iter_mut().enumerate() {
                self.fold(part, rows, &space)?;
            }
        }
        let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        let work = || {
            while let Some(part) = self.parts.get(next.fetch_add(1, Ordering::Relaxed)) {
                let runs = self.sorted(&mut locked(part), &space);
                locked(&done).push(runs);
            }
        };
        thread::scope(|scope| {
            (1..space.workers.min(PARTS)).for_each(|_| drop(scope.spawn(work)));
            work();
        });
        let runs = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        let runs: Vec<Vec<Run>> = runs.into_iter().collect::<Result<_>>()?;
        Ok(Merge::new(runs.into_iter().flatten().collect(), &self.plan.layout))
    }

    /// The groups of a part, in few runs.
    fn sorted(&self, part: &mut Part, space: &Space) -> Result<Vec<Run>> {
        let layout = &self.plan.layout;
        let run = Run::sorted(&std::mem::take(&mut part.table), layout)?;
        let Some(store) = part.store.take() else { return Ok(vec![run]) };
        let reads = |runs: usize| (space.memory / 8 / runs / 8 * 8).clamp(1 << 10, 64 << 10);
        if store.len() < TOGETHER {
            let mut runs = store.runs(reads(PARTS * TOGETHER), layout)?;
            runs.push(run);
            return Ok(runs);
        }
        let mut runs = store.runs(reads(store.len() * space.workers.max(1)), layout)?;
        runs.push(run);
        let mut merged = Store::new(space)?;
        merged.merge(runs, layout, space)?;
        merged.runs(reads(PARTS * TOGETHER), layout)
    }
}

/// The beginning of a row up to its words, and the words.
type Row<'a> = (&'a [u64], &'a [u64]);

/// Words that a worker gathers for a part: those of all workers are an eighth of the memory at most.
fn most_gathered(space: &Space) -> usize {
    GATHERED.min(space.memory / (8 * PARTS * space.workers.max(1) * size_of::<u64>()))
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
fn nothing_of(batch: &Batch, schema: SchemaRef) -> Result<Batch> {
    let none = Rows::Some(Arc::from([]));
    Batch::new(RecordBatch::new_empty(schema), Arc::clone(batch.origin()), none)
}

/// Gives the groups once all records are there.
struct Groups {
    shared: Arc<Shared>,
    state: State,
    /// Records given so far.
    given: u64,
}

enum State {
    Taking,
    /// Every record is there.
    Ended,
    Giving(Box<Merge>),
}

impl Groups {
    fn next(&mut self) -> Result<Option<Batch>> {
        let (most, most_bytes) = GIVEN;
        let Shared { name, plan, .. } = &*self.shared;
        let State::Giving(merge) = &mut self.state else { return Ok(None) };
        let mut groups = merge.groups(most, most_bytes)?;
        if groups.len() == 0 {
            if self.given > 0 || plan.has_keys() {
                return Ok(None);
            }
            // No records are one group where there are no keys.
            groups.push(&[], 0, &vec![0; plan.layout.width]);
        }
        let memory = self.shared.space().memory;
        let columns =
            plan.columns(&groups).map_err(|found| message::running(name, memory, found))?;
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
            State::Ended => self.state = State::Giving(Box::new(self.shared.finish()?)),
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
}
