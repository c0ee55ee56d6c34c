//! The step that runs a query over its input.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::UInt64Type;
use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::{Schema, SchemaRef};
use arrow_select::concat::concat_batches;
use gristmill_core::origin::{Content, Place};
use gristmill_core::{
    Batch, Bound, Error, Findings, Grain, LeftOut, OrderedStep, Origin, Records, Result, Space,
    TableStep, Turn,
};
use gristmill_parallel::spill::Provenance;
use gristmill_parallel::views::{compact, value_bytes};

use super::INPUT;
use super::numbered::{ROW, number, with_row};
use super::query::{Query, Table};
use super::run::{Execution, Progress};
use super::store::{Store, Writer};

/// Bytes of values that the parts of a plan hand each other at once, about.
const PART: usize = 512 << 10;

/// Runs a query over the records that it is given, and gives the result.
pub(crate) struct Tables {
    /// What messages call the step.
    name: &'static str,
    query: Query,
    input: SchemaRef,
    /// The other tables that it may read: name, columns, and records until they are on disk.
    others: Vec<(String, SchemaRef, Option<Records>)>,
    space: Space,
    state: State,
    /// Parts of the last batch that the query has not taken yet.
    pending: VecDeque<RecordBatch>,
    /// Whether all batches were given.
    ended: bool,
    /// Rows that the plan's parts hand each other at once. It follows the data only.
    rows: usize,
    /// Records given so far.
    given: u64,
    /// Where records stood, if those that are given are those that were.
    provenance: Option<Arc<Provenance>>,
    /// Whether records that it does not give are duplicates of one that it gives.
    drops_duplicates: bool,
    left_out: LeftOut,
}

enum State {
    /// Nothing has come yet.
    New,
    /// The query reads its input more than once, so all of it is kept first.
    Keeping(Box<Writer>),
    Running(Box<Execution>),
}

impl Tables {
    /// Runs this query over batches with these columns.
    pub(crate) fn new(name: &'static str, query: Query, input: SchemaRef) -> Self {
        let (space, state) = (Space::default(), State::New);
        let pending = VecDeque::new();
        let (ended, rows) = (false, 8192);
        Self {
            name,
            query,
            input,
            others: Vec::new(),
            space,
            state,
            pending,
            ended,
            rows,
            given: 0,
            provenance: None,
            drops_duplicates: false,
            left_out: LeftOut::default(),
        }
    }

    /// With these tables besides the input, whose records are its references.
    pub(crate) fn with_others(mut self, others: Vec<Table>) -> Self {
        self.others = others.into_iter().map(|table| (table.name, table.schema, None)).collect();
        self
    }

    /// Runs this query, whose input and result have a last column [`ROW`]: each record of the result
    /// is one of the input.
    pub(crate) fn same_records(name: &'static str, query: Query, input: &SchemaRef) -> Self {
        let provenance = Some(Arc::new(Provenance::new(Space::default())));
        Self { provenance, ..Self::new(name, query, with_row(input)) }
    }

    /// Counts records that are not in the result as duplicates.
    pub(crate) fn counting_duplicates(self) -> Self {
        Self { drops_duplicates: true, ..self }
    }

    /// As a step.
    pub(crate) fn bound(self, grain: Grain) -> Bound {
        let output = self.output();
        Bound { local: None, ordered: Some(Box::new(self)), output, grain }
    }

    /// The columns of what is given.
    fn output(&self) -> SchemaRef {
        let output = &self.query.output;
        match self.provenance {
            Some(_) => {
                let fields = output.fields().iter().filter(|field| field.name() != ROW);
                let schema = Schema::new(fields.cloned().collect::<Vec<_>>());
                Arc::new(schema.with_metadata(self.input.metadata().clone()))
            }
            None => Arc::clone(output),
        }
    }

    /// Starts when the first batch is there, or there is none.
    fn start(&mut self, first: Option<&RecordBatch>) -> Result<()> {
        if let Some(first) = first.filter(|first| first.num_rows() > 0) {
            let width = value_bytes(first) / first.num_rows();
            self.rows = (PART / width.max(1)).clamp(64, 8192);
        }
        let twice = self.query.reads.get(INPUT).is_some_and(|reads| *reads > 1);
        self.state = if twice {
            State::Keeping(Box::new(Writer::new(&self.space, &self.input)?))
        } else {
            let stored = self.stored()?;
            State::Running(self.execution(&stored)?)
        };
        Ok(())
    }

    /// The other tables that the query reads, on disk.
    fn stored(&mut self) -> Result<HashMap<String, Arc<Store>>> {
        let mut stored = HashMap::new();
        for (name, schema, records) in &mut self.others {
            if !self.query.reads.contains_key(name) {
                continue;
            }
            let mut table = Writer::new(&self.space, schema)?;
            for batch in records.take().into_iter().flatten() {
                let batch = batch?;
                for start in (0..batch.num_rows()).step_by(self.rows) {
                    let rows = self.rows.min(batch.num_rows() - start);
                    table.push(&batch.columns().slice(start, rows))?;
                }
            }
            stored.insert(name.clone(), table.finish(schema)?);
        }
        Ok(stored)
    }

    /// What the query sees of a batch, in parts that are small beside the memory there is.
    fn parts(&mut self, batch: &Batch) -> Result<()> {
        let mut columns = batch.columns().clone();
        if let Some(provenance) = &self.provenance {
            let first = provenance.push(batch)?;
            columns = number(&columns, first, &self.input).map_err(|found| {
                Error::internal("records could not be numbered").caused_by(found)
            })?;
        }
        if let State::New = self.state {
            self.start(Some(&columns))?;
        }
        for start in (0..columns.num_rows()).step_by(self.rows) {
            let part = columns.slice(start, self.rows.min(columns.num_rows() - start));
            self.pending.push_back(compact(&part)?);
        }
        Ok(())
    }

    fn execution(&self, stored: &HashMap<String, Arc<Store>>) -> Result<Box<Execution>> {
        let input = (INPUT, Arc::clone(&self.input));
        let (query, space) = (&self.query, &self.space);
        Execution::start(self.name, query, space, self.rows, input, stored).map(Box::new)
    }

    /// Records of the input, or of their own: what those came from is not known any more.
    fn batch(&mut self, columns: RecordBatch) -> Result<Batch> {
        if let Some(provenance) = &self.provenance {
            let mut arrays = columns.columns().to_vec();
            let rows = arrays.remove(columns.schema().index_of(ROW)?);
            let rows = rows.as_primitive::<UInt64Type>().values().iter().copied().collect();
            let origin = Origin::archived(Arc::<Provenance>::clone(provenance), rows);
            let options = RecordBatchOptions::new().with_row_count(Some(columns.num_rows()));
            let columns = RecordBatch::try_new_with_options(self.output(), arrays, &options)?;
            return Batch::whole(columns, Arc::new(origin));
        }
        let origin = Origin::columns(self.name.into(), columns.clone());
        origin.set_place(Place { first_record: self.given + 1, first_line: 1 });
        self.given += columns.num_rows() as u64;
        Batch::whole(columns, Arc::new(origin))
    }
}

impl TableStep for Tables {
    fn give(&mut self, batch: Option<Batch>) -> Result<()> {
        if let (Some(batch), true) = (&batch, self.drops_duplicates) {
            self.left_out.deduplicated += batch.num_rows() as u64;
        }
        match &batch {
            Some(batch) => self.parts(batch)?,
            None => self.ended = true,
        }
        if let State::New = self.state {
            self.start(None)?;
        }
        if let State::Keeping(kept) = &mut self.state {
            self.pending.drain(..).try_for_each(|part| kept.push(&part))?;
        }
        if self.ended && matches!(self.state, State::Keeping(_)) {
            let kept = std::mem::replace(&mut self.state, State::New);
            let State::Keeping(kept) = kept else { return Ok(()) };
            let mut stored = self.stored()?;
            stored.insert(INPUT.to_owned(), kept.finish(&self.input)?);
            self.state = State::Running(self.execution(&stored)?);
        }
        Ok(())
    }

    fn turn(&mut self) -> Result<Turn> {
        loop {
            let progress = match &mut self.state {
                State::Running(execution) => execution.turn()?,
                _ => Progress::Takes,
            };
            return Ok(match (progress, &mut self.state) {
                (Progress::Gives(columns), _) => {
                    if self.drops_duplicates {
                        self.left_out.deduplicated -= columns.num_rows() as u64;
                    }
                    Turn::Gives(self.batch(columns)?)
                }
                (Progress::Done, _) => Turn::Done,
                (Progress::Takes, State::Running(execution)) => match self.pending.pop_front() {
                    Some(part) => {
                        execution.give(Some(part));
                        continue;
                    }
                    None if self.ended => {
                        execution.give(None);
                        continue;
                    }
                    None => Turn::Takes,
                },
                (Progress::Takes, _) => Turn::Takes,
            });
        }
    }

    fn left_out(&mut self) -> LeftOut {
        std::mem::take(&mut self.left_out)
    }
}

impl OrderedStep for Tables {
    fn load(&mut self, references: Vec<Records>) {
        for ((_, _, records), given) in self.others.iter_mut().zip(references) {
            *records = Some(given);
        }
    }

    fn open(&mut self, mut space: Space) {
        if let Some(provenance) = &mut self.provenance {
            let quarter = space.memory / 4;
            space.memory -= quarter;
            *provenance = Arc::new(Provenance::new(Space { memory: quarter, ..space.clone() }));
        }
        self.space = space;
    }

    fn apply(&mut self, batch: Batch, _: &mut Findings) -> Result<Batch> {
        let (mut given, mut batch) = (Vec::new(), Some(batch));
        loop {
            match self.turn()? {
                Turn::Gives(part) => given.push(part),
                Turn::Takes if batch.is_some() => self.give(batch.take())?,
                Turn::Takes | Turn::Done => break,
            }
        }
        if given.len() == 1
            && let Some(only) = given.pop()
        {
            return Ok(only);
        }
        let parts: Vec<_> = given.iter().map(|part| part.columns().clone()).collect();
        let columns = concat_batches(&self.output(), &parts)?;
        let mut numbers = Vec::new();
        for part in &given {
            if let Content::Archived { numbers: of_part, .. } = part.origin().content() {
                numbers.extend_from_slice(of_part);
            }
        }
        let origin = match &self.provenance {
            Some(known) => Origin::archived(Arc::<Provenance>::clone(known), numbers.into()),
            None => Origin::columns(self.name.into(), columns.clone()),
        };
        let first_record = (self.given + 1).saturating_sub(columns.num_rows() as u64).max(1);
        origin.set_place(Place { first_record, first_line: 1 });
        Batch::whole(columns, Arc::new(origin))
    }

    fn release(&mut self, _: &mut Findings) -> Result<Option<Batch>> {
        loop {
            match self.turn()? {
                Turn::Gives(batch) => return Ok(Some(batch)),
                Turn::Takes => self.give(None)?,
                Turn::Done => return Ok(None),
            }
        }
    }

    fn table(&mut self) -> Option<&mut dyn TableStep> {
        Some(self)
    }
}
