//! JSON documents and lines.

mod differential;
mod dirty;
mod guess;
mod typed;
mod write;

use std::io::{self, Read};
use std::sync::Arc;

use gristmill_core::origin::{Locator, Place};
use gristmill_core::{Batch, Findings, ReadPlan, Result, json::row_to_string};
use gristmill_format::json::{Columns, Layout, ReadOptions, Reader, discover};
use gristmill_format::{Reader as _, Sizes};
use serde_json::Value;

/// Hands out a few bytes at a time.
pub(crate) struct Trickle {
    pub(crate) bytes: Vec<u8>,
    pub(crate) at: usize,
    pub(crate) step: usize,
}

impl Read for Trickle {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = out.len().min(self.step).min(self.bytes.len() - self.at);
        out[..n].copy_from_slice(&self.bytes[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

pub(crate) fn trickle(bytes: &[u8], step: usize) -> Box<dyn Read + Send> {
    Box::new(Trickle { bytes: bytes.to_vec(), at: 0, step })
}

/// How an input is read.
#[derive(Debug, Clone)]
pub(crate) struct How {
    pub(crate) layout: Layout,
    pub(crate) options: ReadOptions,
    pub(crate) sizes: Sizes,
    pub(crate) step: usize,
}

impl How {
    pub(crate) fn of(layout: Layout) -> Self {
        Self { layout, options: ReadOptions::default(), sizes: Sizes::default(), step: 1 << 20 }
    }

    pub(crate) fn discover(&self, text: &[u8]) -> Result<Columns> {
        let mut columns = Columns::default();
        let input = trickle(text, self.step);
        discover("x".into(), input, self.layout, &self.options, self.sizes, &mut columns)?;
        Ok(columns)
    }

    /// Reads all of it with the discovered columns.
    pub(crate) fn read(&self, text: &[u8]) -> Result<Everything> {
        self.read_as(text, |_| ())
    }

    /// Reads all of it with a changed plan.
    pub(crate) fn read_as(
        &self,
        text: &[u8],
        change: impl FnOnce(&mut ReadPlan),
    ) -> Result<Everything> {
        let columns = self.discover(text)?;
        let input = trickle(text, self.step);
        let reader = Reader::open("x".into(), input, self.layout, &self.options, self.sizes)?;
        let mut reader = reader.with_columns(columns);
        let mut plan = reader.read_plan()?.unwrap();
        change(&mut plan);
        let schema = reader.begin(Some(&plan))?;
        let mut all = Everything::default();
        let (mut record, mut line) = (1, 1);
        while let Some(mut chunk) = reader.next_chunk()? {
            assert_eq!(chunk.starts_source(), all.chunks == 0);
            all.chunks += 1;
            while let Some(batch) = chunk.next_batch(&mut all.findings)? {
                assert_eq!(batch.schema(), schema);
                let origin = Arc::clone(batch.origin());
                origin.set_place(Place { first_record: record, first_line: line });
                record += origin.len() as u64;
                line += origin.line_count();
                all.read += origin.len();
                let raws = (0..origin.len()).map(|at| (origin.raw(at), origin.locate(at)));
                for (raw, location) in raws {
                    let start = location.offset.unwrap() as usize;
                    let newlines = text[..start].iter().filter(|&&byte| byte == b'\n').count();
                    assert_eq!(location.line, Some(newlines as u64 + 1), "line of {raw}");
                    let len = location.length.unwrap() as usize;
                    let record = String::from_utf8_lossy(&text[start..start + len]);
                    let long = len > self.sizes.max_record; // then only its beginning is kept
                    let kept = raw.trim_end_matches(['\n', '\u{fffd}']);
                    assert!(record == raw || long && record.starts_with(kept), "{raw}");
                    all.raws.push(raw.into_owned());
                }
                let batch = batch.settle(&mut all.findings)?;
                for row in 0..batch.num_rows() {
                    all.numbers.push(origin.locate(batch.rows().ordinal(row) as usize).record);
                    let text = row_to_string(batch.columns(), row);
                    // serde_json does not take `1e999`, which is JSON.
                    let value = serde_json::from_str(&text);
                    all.rows.push(value.unwrap_or_else(|error| Value::from(error.to_string())));
                }
                all.batches.push(batch);
            }
        }
        assert!(reader.next_chunk()?.is_none());
        assert_eq!(all.rows.len() + all.findings.rejects().len(), all.read);
        Ok(all)
    }
}

/// What came out of an input.
#[derive(Default)]
pub(crate) struct Everything {
    pub(crate) chunks: usize,
    pub(crate) read: usize,
    pub(crate) raws: Vec<String>,
    pub(crate) rows: Vec<Value>,
    /// Numbers of the records that the rows came from.
    pub(crate) numbers: Vec<u64>,
    pub(crate) batches: Vec<Batch>,
    pub(crate) findings: Findings,
}

impl Everything {
    /// Rejects as `line stage rule: message`.
    pub(crate) fn rejected(&self) -> Vec<String> {
        let mut locator = Locator::default();
        let lines = self.findings.rejects().iter().flat_map(|reject| {
            let line = reject.to_line("run", "pipeline", &mut locator);
            let at = line.line.unwrap();
            let stage = line.stage.name();
            line.errors
                .into_iter()
                .map(move |reason| format!("{at} {stage} {}: {}", reason.rule, reason.message))
        });
        lines.collect()
    }
}
