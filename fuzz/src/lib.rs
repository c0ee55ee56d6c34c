//! What the fuzz targets share: a whole text read as a pipeline reads it.

use std::sync::Arc;

use gristmill_core::json::row_to_string;
use gristmill_core::origin::{Locator, Place};
use gristmill_core::text::value_text;
use gristmill_core::{Findings, ReadPlan, Result};
use gristmill_format::csv::{self, Level};
use gristmill_format::json::{self, Columns, Layout};
use gristmill_format::{Reader, Sizes};

/// All that came out of a text.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Number and line of the record, and its values.
    pub rows: Vec<(u64, u64, Vec<Option<String>>)>,
    /// Rows as JSON.
    pub objects: Vec<String>,
    /// Number and line of the record, its raw text, and rule and message of each reason.
    pub rejects: Vec<(u64, u64, String, Vec<(String, String)>)>,
    /// Offset and length of every record.
    pub spans: Vec<(u64, u64)>,
}

/// Reads a CSV text. Books balance: each record is a row or a reject.
pub fn read_csv(
    text: &[u8],
    options: &csv::ReadOptions,
    sizes: Sizes,
    level: Level,
    change: impl FnOnce(&mut ReadPlan),
) -> Result<Outcome> {
    let input = Box::new(std::io::Cursor::new(text.to_vec()));
    let reader = csv::Reader::open("x.csv".into(), input, options, sizes)?.with_level(level);
    read(reader, change)
}

/// Reads a JSON text with the columns that are discovered in it.
pub fn read_json(
    text: &[u8],
    layout: Layout,
    options: &json::ReadOptions,
    sizes: Sizes,
) -> Result<Outcome> {
    let input = || Box::new(std::io::Cursor::new(text.to_vec()));
    let mut columns = Columns::default();
    json::discover("x.json".into(), input(), layout, options, sizes, &mut columns)?;
    let reader = json::Reader::open("x.json".into(), input(), layout, options, sizes)?;
    read(reader.with_columns(columns), |_| ())
}

fn read(mut reader: impl Reader, change: impl FnOnce(&mut ReadPlan)) -> Result<Outcome> {
    let mut plan = reader.read_plan()?.expect("texts have a plan");
    change(&mut plan);
    reader.begin(Some(&plan))?;
    let mut findings = Findings::default();
    let mut outcome = Outcome::default();
    let mut locator = Locator::default();
    let mut place = Place { first_record: 1, first_line: 1 };
    while let Some(mut chunk) = reader.next_chunk()? {
        while let Some(batch) = chunk.next_batch(&mut findings)? {
            let origin = Arc::clone(batch.origin());
            origin.set_place(place);
            place.first_record += origin.len() as u64;
            place.first_line += origin.line_count();
            let mut spans = Locator::default();
            for ordinal in 0..origin.len() {
                let location = spans.locate(&origin, ordinal);
                outcome.spans.push((location.offset.unwrap_or(0), location.length.unwrap_or(0)));
            }
            let batch = batch.settle(&mut findings)?;
            for row in 0..batch.num_rows() {
                let location = locator.locate(&origin, batch.rows().ordinal(row) as usize);
                let values = batch.columns().columns().iter().map(|column| value_text(column, row));
                let line = location.line.unwrap_or(0);
                outcome.rows.push((location.record, line, values.collect()));
                outcome.objects.push(row_to_string(batch.columns(), row));
            }
        }
    }
    assert!(reader.next_chunk()?.is_none(), "the end stays the end");
    for reject in findings.take_rejects() {
        let line = reject.to_line("run", "pipeline", &mut locator);
        let reasons = line.errors.iter().map(|r| (r.rule.to_string(), r.message.to_string()));
        let reasons = reasons.collect();
        outcome.rejects.push((line.record, line.line.unwrap_or(0), line.raw.to_string(), reasons));
    }
    outcome.rejects.sort();
    let rows = outcome.rows.iter().map(|row| row.0);
    let mut records: Vec<u64> = rows.chain(outcome.rejects.iter().map(|r| r.0)).collect();
    records.sort_unstable();
    let all = 1..=outcome.spans.len() as u64;
    assert!(records.into_iter().eq(all), "each record is a row or a reject");
    Ok(outcome)
}
