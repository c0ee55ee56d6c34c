//! Queries over all records: what `CustomSql` asks that no other metric measures. Whoever compiles
//! expressions plans and runs them; here they get the batches, in order, and their answers are kept.

use arrow_array::RecordBatch;
use arrow_schema::{Schema, SchemaRef};
use gristmill_core::text::value_text;
use gristmill_core::{
    Batch, Error, ErrorKind, ExpressionCompiler, OrderedStep, Records, Result, Space, Turn,
};

use gristmill_parallel::KeyHash;
use gristmill_parallel::spill::Seen;

use super::bind::Wrong;
use super::keys::{Skip, text_keys};
use super::metric::Answer;
use super::{Check, Metric};
use crate::limit::Measure;

/// What statements call the records.
const PRIMARY: &str = "primary";

/// A query at work.
pub(crate) struct Query {
    /// The test that asks it.
    pub(super) test: usize,
    /// How many other inputs it reads.
    others: usize,
    text: String,
    answer: Answer,
    step: Box<dyn OrderedStep>,
    /// Records of its result so far.
    rows: u64,
    /// The number in the first.
    number: Option<f64>,
    /// Which records it gives, where each of them is to have its result.
    given: Option<Given>,
}

/// The records of a result, by the columns that it shares with the input.
struct Given {
    /// Their places in the input, and in the result.
    columns: (Vec<usize>, Vec<usize>),
    seen: Seen,
}

impl Given {
    fn new(input: &Schema, result: &Schema) -> Option<Self> {
        let names = input.fields().iter().map(|field| result.index_of(field.name()).ok());
        let shared = names.enumerate().filter_map(|(mine, theirs)| Some((mine, theirs?)));
        let columns: (Vec<usize>, Vec<usize>) = shared.unzip();
        let given = Self { columns, seen: Seen::new(Space::default()) };
        (!given.columns.0.is_empty()).then_some(given)
    }

    fn add(&mut self, result: &RecordBatch) -> Result<()> {
        let keys = text_keys(result, &self.columns.1, Skip::None);
        let keys: Vec<KeyHash> = keys.into_iter().flatten().collect();
        self.seen.fetch(&keys)?;
        for key in keys {
            self.seen.get_or_insert(key, 1);
        }
        Ok(())
    }

    fn has(&mut self, batch: &RecordBatch) -> Result<Vec<bool>> {
        let keys = text_keys(batch, &self.columns.0, Skip::None);
        self.seen.fetch(&keys.iter().flatten().copied().collect::<Vec<_>>())?;
        Ok(keys.iter().map(|key| key.is_some_and(|key| self.seen.get(key).is_some())).collect())
    }
}

/// The statements that are queries, and which of the other inputs each speaks of.
pub(crate) fn asked<'a>(
    checks: &'a [Check],
    known: impl Iterator<Item = &'a String> + Clone,
) -> Vec<Vec<&'a str>> {
    let tests = checks.iter().flat_map(|check| check.rule.tests());
    let texts = tests.filter_map(|test| match &test.metric {
        Metric::Query { text, .. } => Some(text),
        _ => None,
    });
    let speaks_of = |text: &str, name: &str| {
        text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == name)
    };
    let others = |text: &String| -> Vec<&'a str> {
        let known = known.clone().map(String::as_str);
        known.filter(|name| speaks_of(text, name)).collect()
    };
    texts.map(others).collect()
}

fn no_column() -> Wrong {
    let message = "the statement gives no column of the records, so it tells of none of them whether it passes";
    let hint = "select the columns that tell records apart, by their names, as in `select id from primary …`";
    (message.to_owned(), Some(hint.to_owned()))
}

impl Query {
    /// Plans the query of a test; with `rows`, so that it can tell which records it gives.
    pub(super) fn new(
        test: usize,
        (text, answer): (&str, Answer),
        schema: &SchemaRef,
        (others, names): (&[(String, SchemaRef)], &[&str]),
        expressions: &dyn ExpressionCompiler,
        rows: bool,
    ) -> Result<Self, Wrong> {
        let bound = expressions
            .query(text, (PRIMARY, schema), others, names)
            .map_err(|error| (error.message, error.hint))?;
        let fields = bound.output.fields();
        let is_number =
            fields.len() == 1 && Measure::of(fields[0].data_type()).is_some_and(Measure::is_number);
        if answer == Answer::Number && !is_number {
            let message = "the statement gives no single number to compare".to_owned();
            let hint = "select one number, as in `select count(*) from primary`; without a condition, the rule asks which records the statement gives";
            return Err((message, Some(hint.to_owned())));
        }
        let given = match answer {
            Answer::Records | Answer::Share if rows => {
                Some(Given::new(schema, &bound.output).ok_or_else(no_column)?)
            }
            _ => None,
        };
        let step = bound.ordered.ok_or_else(|| ("this is no query".to_owned(), None))?;
        let (text, others) = (text.to_owned(), others.len());
        Ok(Self { test, others, text, answer, step, rows: 0, number: None, given })
    }

    /// Takes its other inputs.
    pub(super) fn load(&mut self, references: &mut impl Iterator<Item = Records>) {
        self.step.load(references.take(self.others).collect());
    }

    pub(super) fn open(&mut self, space: Space) {
        let Some(given) = &mut self.given else { return self.step.open(space) };
        let half = Space { memory: space.memory / 2, ..space };
        given.seen = Seen::new(half.clone());
        self.step.open(half);
    }

    /// Which records of the input are in its result, where it can tell.
    pub(super) fn gives(&mut self, batch: &RecordBatch) -> Result<Option<Vec<bool>>> {
        self.given.as_mut().map(|given| given.has(batch)).transpose()
    }

    /// Takes the next batch, or says that there is none.
    pub(super) fn give(&mut self, batch: Option<Batch>) -> Result<()> {
        let Some(table) = self.step.table() else {
            return Err(Error::internal("a query makes no table"));
        };
        let (ends, mut next) = (batch.is_none(), Some(batch));
        loop {
            match table.turn()? {
                Turn::Gives(part) => {
                    if self.rows == 0 && part.num_rows() > 0 && self.answer == Answer::Number {
                        let text = value_text(part.columns().column(0), 0);
                        self.number = text.and_then(|text| text.parse().ok());
                    }
                    if let Some(given) = &mut self.given {
                        given.add(part.columns())?;
                    }
                    self.rows += part.num_rows() as u64;
                }
                Turn::Takes => match next.take() {
                    Some(next) => table.give(next)?,
                    None if ends => return Err(Error::internal("a query asks beyond the end")),
                    None => return Ok(()),
                },
                Turn::Done => return Ok(()),
            }
        }
    }

    /// What it comes to, of so many records.
    pub(super) fn answer(&self, records: u64) -> Result<Option<f64>> {
        let stop = |message: String, hint: &str| {
            Err(Error::new(ErrorKind::Stopped, format!("{message}: {}", self.text)).hint(hint))
        };
        match self.answer {
            Answer::Number if self.rows > 1 => stop(
                format!("the statement gives {} numbers, and one is compared", self.rows),
                "aggregate it: count, sum, min, max …",
            ),
            Answer::Number => Ok(self.number),
            Answer::Records => Ok(Some(self.rows as f64)),
            Answer::Share if self.rows > records => stop(
                format!("the statement gives {} of {records} records", self.rows),
                "the records that pass come once each: use `where exists (…)` or `in (…)` rather than a join",
            ),
            Answer::Share if records == 0 => Ok(Some(1.0)),
            Answer::Share => Ok(Some(self.rows as f64 / records as f64)),
        }
    }
}
