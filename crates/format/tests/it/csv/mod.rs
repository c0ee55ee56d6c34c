//! The CSV codec, from bytes to batches and back.

mod differential;
mod dirt;
mod encodings;
mod limits;
mod model;
mod options;
mod write;

use std::sync::Arc;

use gristmill_core::origin::{Locator, Place};
use gristmill_core::text::value_text;
use gristmill_core::{Findings, ReadPlan, RejectLine, Result};
use gristmill_format::csv::{Level, ReadOptions, Reader};
use gristmill_format::{Reader as _, Sizes};

/// A record that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub record: u64,
    pub line: u64,
    pub offset: u64,
    pub length: u64,
    pub values: Vec<Option<String>>,
}

/// All that came out of a text.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Outcome {
    pub names: Vec<String>,
    pub rows: Vec<Row>,
    pub rejects: Vec<RejectLine>,
    /// Position and length of every record, rejected ones included.
    pub spans: Vec<(u64, u64)>,
    pub notes: Vec<String>,
}

impl Outcome {
    pub(super) fn values(&self) -> Vec<Vec<Option<&str>>> {
        self.rows.iter().map(|row| row.values.iter().map(Option::as_deref).collect()).collect()
    }

    /// Line, rule, message and raw text of every reject.
    pub(super) fn reasons(&self) -> Vec<(u64, &str, &str, &str)> {
        let reasons = self.rejects.iter().map(|reject| {
            let reason = &reject.errors[0];
            (reject.line.unwrap(), &*reason.rule, &*reason.message, &*reject.raw)
        });
        reasons.collect()
    }
}

pub(super) fn sizes(chunk: usize, batch: usize, max_record: usize) -> Sizes {
    Sizes { chunk, batch, max_record }
}

/// Reads a whole text as a pipeline does.
pub(super) fn read_as(
    text: &[u8],
    options: &ReadOptions,
    sizes: Sizes,
    level: Level,
    plan: impl FnOnce(&mut ReadPlan),
) -> Result<Outcome> {
    let input = Box::new(std::io::Cursor::new(text.to_vec()));
    let mut reader = Reader::open("x.csv".into(), input, options, sizes)?.with_level(level);
    let mut read_plan = reader.read_plan()?.unwrap();
    plan(&mut read_plan);
    let schema = reader.begin(Some(&read_plan))?;
    let mut findings = Findings::default();
    let mut locator = Locator::default();
    let mut outcome = Outcome {
        names: schema.fields().iter().map(|field| field.name().clone()).collect(),
        rows: Vec::new(),
        rejects: Vec::new(),
        spans: Vec::new(),
        notes: Vec::new(),
    };
    let mut place = Place { first_record: 1, first_line: 1 };
    let mut first = true;
    while let Some(mut chunk) = reader.next_chunk()? {
        assert_eq!(chunk.starts_source(), first);
        first = false;
        while let Some(batch) = chunk.next_batch(&mut findings)? {
            let origin = Arc::clone(batch.origin());
            origin.set_place(place);
            place.first_record += origin.len() as u64;
            place.first_line += origin.line_count();
            for ordinal in 0..origin.len() {
                let location = origin.locate(ordinal);
                outcome.spans.push((location.offset.unwrap(), location.length.unwrap()));
            }
            let batch = batch.settle(&mut findings)?;
            assert_eq!(batch.schema(), schema);
            for row in 0..batch.num_rows() {
                let location = locator.locate(&origin, batch.rows().ordinal(row) as usize);
                outcome.rows.push(Row {
                    record: location.record,
                    line: location.line.unwrap(),
                    offset: location.offset.unwrap(),
                    length: location.length.unwrap(),
                    values: batch.columns().columns().iter().map(|c| value_text(c, row)).collect(),
                });
            }
        }
    }
    assert!(reader.next_chunk()?.is_none(), "the end stays the end");
    outcome.notes = reader.notes();
    let rejects = findings.take_rejects();
    outcome.rejects =
        rejects.iter().map(|reject| reject.to_line("run", "p", &mut locator)).collect();
    outcome.rejects.sort_by_key(|reject| reject.record); // types are settled after a batch
    Ok(outcome)
}

pub(super) fn read(text: &[u8], options: &ReadOptions) -> Outcome {
    read_as(text, options, Sizes::default(), Level::detect(), |_| {}).unwrap()
}

pub(super) fn some<'a>(rows: &[&[&'a str]]) -> Vec<Vec<Option<&'a str>>> {
    rows.iter().map(|row| row.iter().map(|value| Some(*value)).collect()).collect()
}
