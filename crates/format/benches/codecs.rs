//! The codecs on a megabyte of text: `cargo bench -p gristmill-format`.
//!
//! `GRISTMILL_SIMD=scalar` measures with plain words what has no level of its own here.

use std::fmt::Write;
use std::io::Cursor;
use std::sync::Arc;

use divan::Bencher;
use divan::counter::BytesCount;
use gristmill_core::{Batch, FieldType, Findings, ReadPlan};
use gristmill_format::csv::Level;
use gristmill_format::{Compression, Reader, Sizes, Writer, csv, json, parquet};

const RECORDS: u64 = 11_000;

const TYPES: [(&str, FieldType); 5] = [
    ("as_of_date", FieldType::Date),
    ("aum", FieldType::Double),
    ("fee", FieldType::Decimal { precision: 18, scale: 4 }),
    ("advisor", FieldType::Int),
    ("is_active", FieldType::Bool),
];

fn main() {
    divan::main();
}

fn levels() -> Vec<Level> {
    Level::supported().collect()
}

/// The fields of a record, in both forms.
fn record(number: u64, mut put: impl FnMut(&str, bool, std::fmt::Arguments<'_>)) {
    let n = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16;
    let name = ["Growth Fund", "Income, Balanced", "Euro Bond Fund"][n as usize % 3];
    put("fund_code", true, format_args!("FND{:06}", n % 200_000));
    put("fund_name", true, format_args!("{name}"));
    put("as_of_date", true, format_args!("2024-{:02}-{:02}", 1 + n % 12, 1 + n % 28));
    put("aum", false, format_args!("{}.{:02}", n % 9_000_000, n % 97));
    put("fee", false, format_args!("0.{:04}", n % 250));
    put("advisor", false, format_args!("{}", n % 50_000));
    put("is_active", false, format_args!("{}", n.is_multiple_of(2)));
}

fn csv_text() -> Vec<u8> {
    let mut text = String::new();
    record(0, |name, _, _| text.push_str(&format!("{name},")));
    for number in 0..RECORDS {
        text.pop();
        text.push('\n');
        record(number, |_, _, value| {
            let value = value.to_string();
            let quote = if value.contains(',') { "\"" } else { "" };
            let _ = write!(text, "{quote}{value}{quote},");
        });
    }
    text.pop();
    text.push('\n');
    text.into_bytes()
}

fn json_text() -> Vec<u8> {
    let mut text = String::new();
    for number in 0..RECORDS {
        text.push('{');
        record(number, |name, quoted, value| {
            let quote = if quoted { "\"" } else { "" };
            let _ = write!(text, "\"{name}\":{quote}{value}{quote},");
        });
        text.pop();
        text.push_str("}\n");
    }
    text.into_bytes()
}

fn typed(plan: &mut ReadPlan) {
    for (name, field_type) in TYPES {
        plan.column_mut(name).expect("the column is there").field_type = field_type;
    }
}

fn csv_reader(text: &[u8], level: Level) -> csv::Reader {
    let input = Box::new(Cursor::new(text.to_vec()));
    csv::Reader::open("funds.csv".into(), input, &csv::ReadOptions::default(), Sizes::default())
        .expect("the options are those of the default")
        .with_level(level)
}

/// All batches of a text; `plan` completes what is read.
fn batches(reader: &mut dyn Reader, plan: impl FnOnce(&mut ReadPlan)) -> Vec<Batch> {
    let mut read_plan = reader.read_plan().expect("there is a header").expect("it is text");
    plan(&mut read_plan);
    reader.begin(Some(&read_plan)).expect("the columns are there");
    let (mut findings, mut batches) = (Findings::default(), Vec::new());
    while let Some(mut chunk) = reader.next_chunk().expect("memory can be read") {
        while let Some(batch) = chunk.next_batch(&mut findings).expect("memory can be read") {
            batches.push(batch);
        }
    }
    assert_eq!(batches.iter().map(Batch::num_rows).sum::<usize>() as u64, RECORDS);
    batches
}

/// Record boundaries alone.
#[divan::bench(args = levels())]
fn csv_cut(bencher: Bencher, level: Level) {
    let text = csv_text();
    bencher
        .counter(BytesCount::new(text.len()))
        .with_inputs(|| csv_reader(&text, level))
        .bench_values(|mut reader| {
            let plan = reader.read_plan().expect("there is a header");
            reader.begin(plan.as_ref()).expect("the columns are there");
            let mut size = 0;
            while let Some(chunk) = reader.next_chunk().expect("memory can be read") {
                size += chunk.size();
            }
            size
        });
}

/// Boundaries, fields, and nothing but strings.
#[divan::bench(args = levels())]
fn csv_strings(bencher: Bencher, level: Level) {
    let text = csv_text();
    bencher
        .counter(BytesCount::new(text.len()))
        .with_inputs(|| csv_reader(&text, level))
        .bench_values(|mut reader| batches(&mut reader, |_| ()));
}

/// Typed columns.
#[divan::bench(args = levels())]
fn csv_typed(bencher: Bencher, level: Level) {
    let text = csv_text();
    bencher
        .counter(BytesCount::new(text.len()))
        .with_inputs(|| csv_reader(&text, level))
        .bench_values(|mut reader| batches(&mut reader, typed));
}

fn discovered(text: &[u8]) -> json::Columns {
    let options = json::ReadOptions::default();
    let input: Box<dyn std::io::Read + Send> = Box::new(Cursor::new(text.to_vec()));
    let mut columns = json::Columns::default();
    let (layout, sizes) = (json::Layout::Lines, Sizes::default());
    json::discover("funds.ndjson".into(), input, layout, &options, sizes, &mut columns)
        .expect("it is JSON");
    columns
}

fn json_reader(text: &[u8], columns: &json::Columns) -> json::Reader {
    let options = json::ReadOptions::default();
    let input = Box::new(Cursor::new(text.to_vec()));
    json::Reader::open(
        "funds.ndjson".into(),
        input,
        json::Layout::Lines,
        &options,
        Sizes::default(),
    )
    .expect("the options are those of the default")
    .with_columns(columns.clone())
}

/// The pass that finds columns and types.
#[divan::bench]
fn ndjson_discover(bencher: Bencher) {
    let text = json_text();
    bencher.counter(BytesCount::new(text.len())).bench(|| discovered(&text).plan());
}

/// Typed columns.
#[divan::bench]
fn ndjson_typed(bencher: Bencher) {
    let text = json_text();
    let columns = discovered(&text);
    bencher
        .counter(BytesCount::new(text.len()))
        .with_inputs(|| json_reader(&text, &columns))
        .bench_values(|mut reader| batches(&mut reader, typed));
}

/// Encodes the batches of the CSV text; bytes are those of the text.
fn encode(bencher: Bencher, writer: impl FnOnce(&Batch) -> Arc<dyn Writer>) {
    let text = csv_text();
    let batches = batches(&mut csv_reader(&text, Level::detect()), typed);
    let encoder = writer(&batches[0]).encoder();
    bencher.counter(BytesCount::new(text.len())).bench(|| {
        let mut part = encoder.begin();
        for batch in &batches {
            part.push(batch).expect("the batch is of the schema");
        }
        part.finish().expect("memory can be written").bytes
    });
}

#[divan::bench]
fn csv_encode(bencher: Bencher) {
    encode(bencher, |batch| {
        csv::writer(batch.schema(), &csv::WriteOptions::default(), Compression::None)
    });
}

#[divan::bench]
fn ndjson_encode(bencher: Bencher) {
    encode(bencher, |batch| json::writer(batch.schema(), json::Layout::Lines, Compression::None));
}

#[divan::bench]
fn parquet_encode(bencher: Bencher) {
    encode(bencher, |batch| {
        parquet::writer(&batch.schema(), &parquet::WriteOptions::default())
            .expect("Parquet has these types")
    });
}
