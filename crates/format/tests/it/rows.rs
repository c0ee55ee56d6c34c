//! Rows of typed columns as text, against a writer that goes cell by cell.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, RecordBatch,
    StringViewArray, TimestampMicrosecondArray, UInt16Array,
};
use gristmill_core::text::value_text;
use gristmill_format::json::Layout;
use gristmill_format::{Compression, Writer, csv, json};
use proptest::prelude::*;

use crate::support::{self, written};

/// The batch in two slices, as one part, twice: the second part takes the blocks of the first.
fn write(writer: &dyn Writer, batch: &RecordBatch, cut: usize) -> String {
    let slices = [batch.slice(0, cut), batch.slice(cut, batch.num_rows() - cut)];
    let parts = [slices.map(support::batch).to_vec()];
    written(writer, &parts);
    String::from_utf8(written(writer, &parts)).unwrap()
}

/// Texts around the lengths at which they are handled differently, some with what is quoted.
fn any_text() -> impl Strategy<Value = Option<String>> {
    let text = prop_oneof![
        3 => "[a-z0é€.,\"\\\\\r\n\t\u{0}\u{1f}\u{7f};-]{0,14}",
        2 => "[a-z ]{8,40}",
        2 => "[a-zß ]{8,40}[\",\\\\\n\u{8}\u{c}][a-z ]{0,20}",
        1 => "[a-z\"]{300}",
        1 => Just("0".to_owned()),
    ];
    proptest::option::weighted(0.8, text)
}

type Row = (
    Option<String>,
    (Option<i64>, Option<f64>, Option<i128>, Option<bool>),
    (Option<i32>, Option<i64>, Option<u16>),
    Option<String>,
);

fn any_row() -> impl Strategy<Value = Row> {
    let double = prop_oneof![
        any::<f64>(),
        (-1_000_000_000i64..1_000_000_000).prop_map(|n| n as f64 / 100.0),
    ];
    let decimal = prop_oneof![-100_000i128..100_000, -(10i128.pow(38) - 1)..10i128.pow(38)];
    (
        any_text(),
        (
            any::<Option<i64>>(),
            proptest::option::of(double),
            proptest::option::of(decimal),
            any::<Option<bool>>(),
        ),
        (
            proptest::option::of(-800_000i32..3_000_000),
            proptest::option::of(-(1i64 << 60)..1 << 60),
            any::<Option<u16>>(),
        ),
        any_text(),
    )
}

fn batch(rows: &[Row]) -> RecordBatch {
    let decimal: Decimal128Array = rows.iter().map(|row| row.1.2).collect();
    let at: TimestampMicrosecondArray = rows.iter().map(|row| row.2.1).collect();
    let columns: [(&str, ArrayRef); 9] = [
        ("text", Arc::new(rows.iter().map(|row| row.0.as_deref()).collect::<StringViewArray>())),
        ("int", Arc::new(rows.iter().map(|row| row.1.0).collect::<Int64Array>())),
        ("double", Arc::new(rows.iter().map(|row| row.1.1).collect::<Float64Array>())),
        ("decimal", Arc::new(decimal.with_precision_and_scale(38, 4).unwrap())),
        ("bool", Arc::new(rows.iter().map(|row| row.1.3).collect::<BooleanArray>())),
        ("date", Arc::new(rows.iter().map(|row| row.2.0).collect::<Date32Array>())),
        ("an instant, whose name is longer than other names", Arc::new(at.with_timezone("UTC"))),
        ("u16", Arc::new(rows.iter().map(|row| row.2.2).collect::<UInt16Array>())),
        ("again", Arc::new(rows.iter().map(|row| row.3.as_deref()).collect::<StringViewArray>())),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array, true)))
        .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]

    #[test]
    fn csv_is_written_as_cell_by_cell(
        rows in prop::collection::vec(any_row(), 1..50),
        cut in any::<prop::sample::Index>(),
        delimiter in prop_oneof![3 => Just(','), 1 => prop::char::range('!', '~')],
        null in prop_oneof![3 => Just(""), 1 => Just("0"), 1 => Just("true"), 1 => Just("NA")],
    ) {
        prop_assume!(delimiter != '"' && !null.contains(delimiter));
        let batch = batch(&rows);
        let options = csv::WriteOptions {
            delimiter: Some(delimiter.into()),
            null: null.into(),
            header: csv::Header::Absent,
            ..Default::default()
        };
        let writer = csv::writer(batch.schema(), &options, Compression::None);
        let written = write(writer.as_ref(), &batch, cut.index(rows.len()));

        let mut expected = String::new();
        for row in 0..rows.len() {
            let fields = batch.columns().iter().map(|column| match value_text(column, row) {
                None => null.to_owned(),
                Some(text) if text == null || text.contains([delimiter, '"', '\r', '\n']) => {
                    format!("\"{}\"", text.replace('"', "\"\""))
                }
                Some(text) => text,
            });
            expected += &fields.collect::<Vec<_>>().join(&delimiter.to_string());
            expected.push('\n');
        }
        prop_assert_eq!(&written, &expected);

        let mut read = ::csv::ReaderBuilder::new();
        let mut read = read.has_headers(false).delimiter(delimiter as u8).from_reader(written.as_bytes());
        for (row, record) in read.records().enumerate() {
            let record = record.unwrap();
            for (column, field) in batch.columns().iter().zip(&record) {
                let text = value_text(column, row);
                prop_assert_eq!(text.as_deref().unwrap_or(null), field);
            }
        }
    }

    #[test]
    fn json_is_written_as_serde_writes_it(
        rows in prop::collection::vec(any_row(), 1..50),
        cut in any::<prop::sample::Index>(),
    ) {
        let batch = batch(&rows);
        let writer = json::writer(batch.schema(), Layout::Lines, Compression::None);
        let written = write(writer.as_ref(), &batch, cut.index(rows.len()));

        let schema = batch.schema();
        let mut expected = String::new();
        for row in 0..rows.len() {
            let members = schema.fields().iter().zip(batch.columns()).map(|(field, column)| {
                let value = match value_text(column, row) {
                    None => "null".to_owned(),
                    Some(text) => match field.name().as_str() {
                        "double" if !text.ends_with(|last: char| last.is_ascii_digit()) => "null".into(),
                        "int" | "double" | "decimal" | "bool" | "u16" => text,
                        _ => serde_json::to_string(&text).unwrap(),
                    },
                };
                format!("{}:{value}", serde_json::to_string(field.name()).unwrap())
            });
            expected += &format!("{{{}}}\n", members.collect::<Vec<_>>().join(","));
        }
        prop_assert_eq!(&written, &expected);
    }
}

#[test]
fn every_byte_is_escaped_as_serde_escapes_it() {
    for pad in [0, 11, 13, 40] {
        let texts: Vec<_> = (0..0x100u32)
            .filter_map(char::from_u32)
            .map(|c| format!("{}{c}é", "x".repeat(pad)))
            .collect();
        let array: ArrayRef = Arc::new(StringViewArray::from_iter_values(&texts));
        let batch = RecordBatch::try_from_iter([("t", array)]).unwrap();
        let writer = json::writer(batch.schema(), Layout::Lines, Compression::None);
        let expected: String =
            texts.iter().map(|text| format!("{}\n", serde_json::json!({ "t": text }))).collect();
        assert_eq!(write(writer.as_ref(), &batch, 100), expected);
    }
}
