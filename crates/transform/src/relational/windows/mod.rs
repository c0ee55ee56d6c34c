//! Columns that are computed from the records around each record.
//!
//! The records wait as they are, with their provenance ([`HeldBatches`]), and get their new columns
//! in the end; so no record is sorted. What is computed here ([`plan`]) needs little of each record:
//! the number of its partition, its key as bytes ([`order`]), and the values that functions take.
//! Numbers of rows are sorted, and functions go over them ([`functions`]). Partitions for which there
//! is no room together are computed some at a time ([`apart`]). What this does not know, and where it
//! has no room for one partition, is DataFusion's: it gets the columns that the functions need and
//! the number of each record, and gives the new columns in the order of these. The result is the
//! same.

mod apart;
mod away;
mod frame;
mod functions;
mod here;
mod order;
mod plan;

use std::collections::VecDeque;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::SchemaRef;
use datafusion_common::DataFusionError;
use gristmill_core::{
    Batch, Bound, Error, Findings, Grain, OrderedStep, Result, Space, TableStep, Turn,
};
use gristmill_parallel::spill::HeldBatches;

use super::groups::nothing_of;
use super::message;
use super::numbered::{number, with_row};
use super::query::Query;
use apart::Apart;
use away::Away;
use here::{Computed, Here};
use plan::Plan;

/// Gives records the columns that a query computes of them.
pub(crate) struct Windows {
    shared: Shared,
    held: HeldBatches,
    /// The rows of each batch that is held.
    lens: VecDeque<usize>,
    state: State,
    ended: bool,
}

/// What does not change once the step is open.
struct Shared {
    /// What messages call the step.
    name: &'static str,
    /// The columns of what is given, and where each is.
    output: SchemaRef,
    places: Vec<Place>,
    query: Query,
    /// The columns of the input that the query reads: where they are, and they and the row's number.
    needs: Vec<usize>,
    input: SchemaRef,
    /// How the query is computed here, if it can be.
    plan: Option<Plan>,
    space: Space,
}

/// Where a column is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place {
    /// Among those of the input.
    Input(usize),
    /// Among those of the query.
    Query(usize),
}

enum State {
    Here(Here),
    Apart(Apart),
    Away(Away),
    /// All is computed, and so many rows were given.
    Giving(Computed, usize),
    /// The same in pieces.
    GivingApart(Apart, usize),
}

impl Windows {
    /// Gives records the columns at these places. The query reads the columns of the input that it
    /// `needs`, with the numbers of the rows behind them, and gives its own in the order of these.
    pub(crate) fn new(
        name: &'static str,
        query: Query,
        needs: (SchemaRef, Vec<usize>),
        (output, places): (SchemaRef, Vec<Place>),
    ) -> Self {
        let (input, needs) = (with_row(&needs.0), needs.1);
        let plan = plan::plan(&query.plan, &query.output);
        let space = Space::default();
        let held = HeldBatches::new(space.clone());
        let shared = Shared { name, output, places, query, needs, input, plan, space };
        let (lens, state) = (VecDeque::new(), State::Here(Here::default()));
        Self { shared, held, lens, state, ended: false }
    }

    /// As a step.
    pub(crate) fn bound(self) -> Bound {
        let output = Arc::clone(&self.shared.output);
        Bound { local: None, ordered: Some(Box::new(self)), output, grain: Grain::Preserves }
    }

    fn take(&mut self, batch: Batch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let columns = self.shared.needed(&batch)?;
        self.lens.push_back(batch.num_rows());
        self.held.push(batch, Vec::new())?;
        match &mut self.state {
            State::Away(away) => away.take(&columns),
            State::Apart(apart) => {
                let plan = self.shared.plan.as_ref().ok_or_else(gone)?;
                apart.take(&self.shared, plan, &columns)
            }
            State::Giving(..) | State::GivingApart(..) => {
                Err(Error::internal("a record came behind the last"))
            }
            State::Here(here) => match &self.shared.plan {
                Some(plan) => {
                    let numbered = number(&columns, here.rows() as u64, &self.shared.input);
                    let taken = numbered.and_then(|columns| here.take(plan, &columns));
                    taken.map_err(|found| self.shared.failed(found))?;
                    if here.size(plan) > self.shared.space.memory / 4 * 3 {
                        self.leave()
                    } else {
                        Ok(())
                    }
                }
                None => self.leave(),
            },
        }
    }

    /// Goes on in pieces, or has DataFusion do it, which see all that came until now once more.
    fn leave(&mut self) -> Result<()> {
        self.state = State::Here(Here::default());
        if let Some(plan) = self.shared.plan.as_ref().filter(|plan| plan.falls_apart()) {
            let mut apart = Apart::new();
            for place in 0..self.lens.len() {
                let columns = self.shared.needed(&self.held.get(place)?.ok_or_else(gone)?)?;
                apart.take(&self.shared, plan, &columns)?;
            }
            self.state = State::Apart(apart);
            return Ok(());
        }
        let mut away: Option<Away> = None;
        for place in 0..self.lens.len() {
            let columns = self.shared.needed(&self.held.get(place)?.ok_or_else(gone)?)?;
            let away = match &mut away {
                Some(away) => away,
                none => none.insert(Away::new(&self.shared, &columns)?),
            };
            away.take(&columns)?;
            away.work(usize::MAX, false)?;
        }
        self.state = State::Away(away.ok_or_else(gone)?);
        Ok(())
    }

    /// The next batch, if its columns are there.
    fn next(&mut self) -> Result<Option<Batch>> {
        let Self { shared, state, .. } = self;
        if let (State::Here(here), true) = (&mut *state, self.ended) {
            let (here, threads) = (std::mem::take(here), shared.space.workers);
            let computed = shared.plan.as_ref().map(|plan| here.computed(plan, threads));
            let computed = computed.transpose().map_err(|found| shared.failed(found))?;
            *state = State::Giving(computed.unwrap_or_default(), 0);
        }
        if let (State::Apart(apart), true, Some(plan)) = (&mut *state, self.ended, &shared.plan) {
            let mut apart = std::mem::replace(apart, Apart::new());
            apart.compute(shared, plan)?;
            *state = State::GivingApart(apart, 0);
        }
        let Some(rows) = self.lens.front().copied() else { return Ok(None) };
        let known = match state {
            State::Here(_) | State::Apart(_) => return Ok(None),
            State::Away(away) => {
                away.work(rows, self.ended)?;
                match away.next(rows)? {
                    None if self.ended => return Err(gone()),
                    None => return Ok(None),
                    known => known,
                }
            }
            State::Giving(..) | State::GivingApart(..) => None,
        };
        let (batch, _) = self.held.pop()?.ok_or_else(gone)?;
        self.lens.pop_front();
        let known = match (known, state, &shared.plan) {
            (Some(known), ..) => known,
            (None, State::GivingApart(apart, given), Some(plan)) => {
                let columns = number(&shared.needed(&batch)?, *given as u64, &shared.input)
                    .map_err(|found| shared.failed(found))?;
                *given += rows;
                apart.next(shared, plan, &columns)?
            }
            (None, State::Giving(computed, given), Some(plan)) => {
                let columns = shared.needed(&batch)?;
                let columns = number(&columns, *given as u64, &shared.input)
                    .and_then(|columns| plan.before(&columns))
                    .and_then(|columns| plan.after(&columns, computed.columns(*given, rows)?));
                *given += rows;
                columns.map_err(|found| shared.failed(found))?
            }
            _ => return Err(gone()),
        };
        shared.with(batch, &known).map(Some)
    }
}

fn gone() -> Error {
    Error::internal("a batch that was held is gone")
}

impl Shared {
    fn failed(&self, found: DataFusionError) -> Error {
        message::running(self.name, self.space.memory, found)
    }

    /// The columns that the query reads.
    fn needed(&self, batch: &Batch) -> Result<RecordBatch> {
        Ok(batch.columns().project(&self.needs)?)
    }

    /// The batch with what was computed for it.
    fn with(&self, batch: Batch, computed: &RecordBatch) -> Result<Batch> {
        let columns = self.places.iter().map(|place| match place {
            Place::Input(place) => Arc::clone(batch.columns().column(*place)),
            Place::Query(place) => one_nan(computed.column(*place)),
        });
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let (output, columns) = (Arc::clone(&self.output), columns.collect());
        let columns = RecordBatch::try_new_with_options(output, columns, &options)?;
        batch.with_columns(columns)
    }
}

/// The column with the same bits for every double that is no number: which ones come of an addition
/// is the compiler's business.
fn one_nan(column: &ArrayRef) -> ArrayRef {
    match column.as_primitive_opt::<Float64Type>() {
        Some(doubles) if doubles.values().iter().any(|value| value.is_nan()) => {
            let one = |value: f64| if value.is_nan() { f64::NAN } else { value };
            Arc::new(doubles.unary::<_, Float64Type>(one))
        }
        _ => Arc::clone(column),
    }
}

impl TableStep for Windows {
    fn give(&mut self, batch: Option<Batch>) -> Result<()> {
        match batch {
            Some(batch) => self.take(batch),
            None => {
                self.ended = true;
                Ok(())
            }
        }
    }

    fn turn(&mut self) -> Result<Turn> {
        Ok(match self.next()? {
            Some(batch) => Turn::Gives(batch),
            None if self.ended => Turn::Done,
            None => Turn::Takes,
        })
    }
}

impl OrderedStep for Windows {
    fn open(&mut self, space: Space) {
        self.held = HeldBatches::new(Space { memory: space.memory / 4, ..space.clone() });
        self.shared.space = space;
    }

    fn apply(&mut self, batch: Batch, _: &mut Findings) -> Result<Batch> {
        let nothing = nothing_of(&batch, Arc::clone(&self.shared.output))?;
        self.take(batch)?;
        Ok(self.next()?.unwrap_or(nothing))
    }

    fn release(&mut self, _: &mut Findings) -> Result<Option<Batch>> {
        self.ended = true;
        self.next()
    }

    fn table(&mut self) -> Option<&mut dyn TableStep> {
        Some(self)
    }

    fn keeps_within(&self) -> bool {
        true
    }
}
