//! What is written is read back, by the codec and by the `csv` crate.

use std::io::Read;
use std::sync::Arc;

use arrow_array::builder::{Int64Builder, ListBuilder, StringViewBuilder};
use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringViewArray, StructArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use gristmill_core::text::ColumnBuilder;
use gristmill_core::{FieldType, text::ColumnPlan};
use gristmill_format::Compression;
use gristmill_format::csv::{
    self as codec, Header, LineEnd, QuoteStyle, ReadOptions, WriteOptions,
};
use proptest::prelude::*;

use super::{read, some};
use crate::support::{batch, written};

/// Writes one part a batch.
fn write(
    schema: &SchemaRef,
    batches: &[RecordBatch],
    options: &WriteOptions,
    compression: Compression,
) -> Vec<u8> {
    let writer = codec::writer(Arc::clone(schema), options, compression);
    let parts = batches.iter().map(|columns| vec![batch(columns.clone())]);
    written(&*writer, &parts.collect::<Vec<_>>())
}

fn strings(names: &[&str], columns: &[&[Option<&str>]]) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(names.iter().zip(columns).map(|(name, values)| {
        (*name, Arc::new(StringViewArray::from_iter(values.iter().copied())) as ArrayRef, true)
    }))
    .unwrap()
}

fn text(batch: &RecordBatch, options: &WriteOptions) -> String {
    let bytes = write(&batch.schema(), std::slice::from_ref(batch), options, Compression::None);
    String::from_utf8(bytes).unwrap()
}

#[test]
fn fields_are_quoted_where_it_is_necessary() {
    let batch = strings(
        &["a", "b,c"],
        &[
            &[Some("x"), Some("1,2"), Some(""), None, Some("l\nm")],
            &[Some("5\" pipe"), None, Some("y"), Some(""), Some(" z ")],
        ],
    );
    assert_eq!(
        text(&batch, &WriteOptions::default()),
        "a,\"b,c\"\nx,\"5\"\" pipe\"\n\"1,2\",\n\"\",y\n,\"\"\n\"l\nm\", z \n"
    );
    let options = WriteOptions { null: "NA".into(), ..WriteOptions::default() };
    let batch = strings(&["a", "b"], &[&[Some("NA"), None], &[Some(""), Some("x")]]);
    assert_eq!(text(&batch, &options), "a,b\n\"NA\",\nNA,x\n");
}

#[test]
fn a_record_is_never_a_blank_line() {
    let batch = strings(&["a"], &[&[None, Some(""), Some("x")]]);
    assert_eq!(text(&batch, &WriteOptions::default()), "a\n\"\"\n\"\"\nx\n");
}

#[test]
fn styles_line_ends_and_headers() {
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("n", Arc::new(Int64Array::from(vec![Some(1), None])) as ArrayRef, true),
        ("s", Arc::new(StringViewArray::from(vec![Some("x"), None])), true),
    ])
    .unwrap();
    let options = |quote| WriteOptions { quote, ..WriteOptions::default() };
    assert_eq!(text(&batch, &options(QuoteStyle::Always)), "\"n\",\"s\"\n\"1\",\"x\"\n,\n");
    assert_eq!(text(&batch, &options(QuoteStyle::NonNumeric)), "\"n\",\"s\"\n1,\"x\"\n,\n");
    let options = WriteOptions {
        delimiter: Some("tab".into()),
        header: Header::Absent,
        line_end: LineEnd::Crlf,
        ..WriteOptions::default()
    };
    assert_eq!(text(&batch, &options), "1\tx\r\n\t\r\n");
}

#[test]
fn nested_values_are_json() {
    let mut lists = ListBuilder::new(Int64Builder::new());
    lists.append_value([Some(1), None]);
    lists.append_null();
    let names: ArrayRef = Arc::new(StringViewArray::from(vec!["A", "B"]));
    let inner =
        StructArray::from(vec![(Arc::new(Field::new("name", DataType::Utf8View, true)), names)]);
    let mut tags = ListBuilder::new(StringViewBuilder::new());
    tags.append_value([Some("x")]);
    tags.append_value([Some("y"), Some("z")]);
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("l", Arc::new(lists.finish()) as ArrayRef, true),
        ("s", Arc::new(inner), true),
        ("t", Arc::new(tags.finish()), true),
    ])
    .unwrap();
    let text = text(&batch, &WriteOptions::default());
    let outcome = read(text.as_bytes(), &ReadOptions::default());
    assert_eq!(
        outcome.values(),
        [
            [Some("[1,null]"), Some(r#"{"name":"A"}"#), Some(r#"["x"]"#)],
            [None, Some(r#"{"name":"B"}"#), Some(r#"["y","z"]"#)],
        ]
    );
}

#[test]
fn parts_are_members_of_a_compressed_file() {
    let batch = strings(&["a"], &[&[Some("1"), Some("2")]]);
    let schema = batch.schema();
    for compression in [
        Compression::Gzip,
        Compression::Zstd,
        Compression::Bzip2,
        Compression::Lz4,
        Compression::None,
    ] {
        for header in [Header::Present, Header::Absent] {
            for batches in [&[][..], &[batch.clone(), batch.slice(0, 0), batch.clone()]] {
                let options = WriteOptions { header, ..WriteOptions::default() };
                let bytes = write(&schema, batches, &options, compression);
                let input = Box::new(std::io::Cursor::new(bytes));
                let mut text = String::new();
                let mut decoder = compression.decoder("x", input).unwrap();
                decoder.read_to_string(&mut text).unwrap();
                let head = if header == Header::Present { "a\n" } else { "" };
                let body = if batches.is_empty() { "" } else { "1\n2\n1\n2\n" };
                assert_eq!(text, format!("{head}{body}"), "{compression}");
            }
        }
    }
}

#[test]
fn typed_values_are_read_back_exactly() {
    let columns = [
        (FieldType::Int, vec!["-9223372036854775808", "0"]),
        (FieldType::Double, vec!["0.1", "1e300"]),
        (FieldType::Decimal { precision: 38, scale: 10 }, vec!["-0.0000000001", "7.5000000000"]),
        (FieldType::Bool, vec!["true", "false"]),
        (FieldType::Date, vec!["1969-12-31", "2024-02-29"]),
        (FieldType::Timestamp, vec!["2024-02-29T12:00:00.5", "1970-01-01T00:00:00"]),
        (FieldType::TimestampTz, vec!["2024-02-29T12:00:00Z", "1970-01-01T00:00:00Z"]),
    ];
    let mut fields = Vec::new();
    let mut arrays = Vec::new();
    for (index, (field_type, texts)) in columns.iter().enumerate() {
        let plan = ColumnPlan::new(format!("c{index}"), *field_type);
        let mut builder = ColumnBuilder::new(&plan, 2);
        texts.iter().for_each(|text| builder.push(text.as_bytes()).unwrap());
        fields.push(plan.field());
        arrays.push(builder.finish());
    }
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap();
    let outcome = read(text(&batch, &WriteOptions::default()).as_bytes(), &ReadOptions::default());
    for row in 0..2 {
        let expected: Vec<_> = columns.iter().map(|(_, texts)| Some(texts[row])).collect();
        assert_eq!(outcome.values()[row], expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn texts_round_trip_and_are_written_as_the_csv_crate_writes_them(
        rows in proptest::collection::vec(
            (proptest::option::of("[a,\"\r\n;é ]{0,5}|NA"), "[a,\"\r\n;é ]{0,5}|NA"), 0..12),
        null in prop_oneof![Just(""), Just("NA")],
    ) {
        let first: Vec<_> = rows.iter().map(|(a, _)| a.as_deref()).collect();
        let second: Vec<_> = rows.iter().map(|(_, b)| Some(b.as_str())).collect();
        let batch = strings(&["a", "b"], &[&first, &second]);
        let options = WriteOptions { null: null.into(), ..WriteOptions::default() };
        let written = text(&batch, &options);
        let options = ReadOptions { nulls: vec![null.into()], ..ReadOptions::default() };
        let outcome = read(written.as_bytes(), &options);
        let expected: Vec<Vec<_>> = first.iter().zip(&second).map(|(a, b)| vec![*a, *b]).collect();
        prop_assert_eq!(outcome.values(), expected);

        if null == "NA" && rows.iter().all(|(a, b)| a.as_deref() != Some("NA") && b != "NA") {
            let mut reference = csv::Writer::from_writer(Vec::new());
            reference.write_record(["a", "b"]).unwrap();
            for (a, b) in &rows {
                reference.write_record([a.as_deref().unwrap_or("NA"), b]).unwrap();
            }
            prop_assert_eq!(written, String::from_utf8(reference.into_inner().unwrap()).unwrap());
        }
    }
}

#[test]
fn a_header_that_begins_with_a_byte_order_mark_is_read_back() {
    let batch = strings(&["\u{FEFF}a", "b"], &[&[Some("1")], &[Some("2")]]);
    let outcome = read(text(&batch, &WriteOptions::default()).as_bytes(), &ReadOptions::default());
    assert_eq!(outcome.names, ["\u{FEFF}a", "b"]);
    assert_eq!(outcome.values(), some(&[&["1", "2"]]));
}
