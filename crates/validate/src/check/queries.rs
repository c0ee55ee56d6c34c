//! Queries over all records: what `CustomSql` asks that no other metric measures. Whoever compiles
//! expressions plans and runs them; here they get the batches, in order, and their answers are kept.

use arrow_schema::SchemaRef;
use gristmill_core::text::value_text;
use gristmill_core::{
    Batch, Error, ErrorKind, ExpressionCompiler, OrderedStep, Records, Result, Space, Turn,
};

use super::bind::Wrong;
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

impl Query {
    /// Plans the query of a test.
    pub(super) fn new(
        test: usize,
        (text, answer): (&str, Answer),
        schema: &SchemaRef,
        others: &[(String, SchemaRef)],
        expressions: &dyn ExpressionCompiler,
    ) -> Result<Self, Wrong> {
        let bound = expressions
            .query(text, (PRIMARY, schema), others)
            .map_err(|error| (error.message, error.hint))?;
        let fields = bound.output.fields();
        let is_number =
            fields.len() == 1 && Measure::of(fields[0].data_type()).is_some_and(Measure::is_number);
        if answer == Answer::Number && !is_number {
            let message = "the statement gives no single number to compare".to_owned();
            let hint = "select one number, as in `select count(*) from primary`; without a condition, the rule asks which records the statement gives";
            return Err((message, Some(hint.to_owned())));
        }
        let step = bound.ordered.ok_or_else(|| ("this is no query".to_owned(), None))?;
        let (text, others) = (text.to_owned(), others.len());
        Ok(Self { test, others, text, answer, step, rows: 0, number: None })
    }

    /// Takes its other inputs.
    pub(super) fn load(&mut self, references: &mut impl Iterator<Item = Records>) {
        self.step.load(references.take(self.others).collect());
    }

    pub(super) fn open(&mut self, space: Space) {
        self.step.open(space);
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
