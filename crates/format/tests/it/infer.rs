//! Inferred types hold for every value, and do not depend on how the values come.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, StringViewArray};
use gristmill_core::reject::{Reason, Stage};
use gristmill_core::text::{ColumnBuilder, ColumnPlan, value_text};
use gristmill_core::{Batch, FieldType, Origin, ReadPlan};
use gristmill_format::infer::{Inference, Inferred};
use proptest::prelude::*;

fn plan() -> ReadPlan {
    ReadPlan { columns: vec![ColumnPlan::new("x", FieldType::String)] }
}

fn batch(values: &[&str]) -> Batch {
    // `null` stands for a null.
    let texts: StringViewArray =
        values.iter().map(|value| Some(*value).filter(|value| *value != "null")).collect();
    let columns = RecordBatch::try_from_iter([("x", Arc::new(texts) as ArrayRef)]).unwrap();
    let origin = Arc::new(Origin::columns("x".into(), columns.clone()));
    Batch::whole(columns, origin).unwrap()
}

fn infer(values: &[&str]) -> Inferred {
    let mut inference = Inference::new(&plan());
    inference.observe(&batch(values)).unwrap();
    inference.finish().remove(0)
}

#[test]
fn a_type_fits_all_values() {
    let decimal = |scale| FieldType::Decimal { precision: 38, scale };
    for (values, expected) in [
        (&["1", "-20", "0", "null", ""][..], FieldType::Int),
        (&["9223372036854775807", "-9223372036854775808"], FieldType::Int),
        (&["1", "9223372036854775808"], decimal(0)),
        (&["1", "2.50"], FieldType::Double),
        (&["1", "-0"], FieldType::Double),
        (&["1.5e3", "-2E-7", "3"], FieldType::Double),
        (&["0.30000000000000004", "1e-20"], FieldType::Double), // what a double prints as
        (&["12345678901234567.89", "0.5"], decimal(2)),
        (&["9007199254740993", "0.5"], decimal(1)), // 2^53 + 1
        (&["1234567890123456789012345678901234567890"], FieldType::String),
        (&["12345678901234567.89", "1e5"], FieldType::String),
        (&["1e999"], FieldType::String),
        (&["007"], FieldType::String),
        (&["7", "007"], FieldType::String),
        (&["+1"], FieldType::String),
        (&[" 1"], FieldType::String),
        (&["1 "], FieldType::String),
        (&["1,000"], FieldType::String),
        (&["1_000"], FieldType::String),
        (&[".5"], FieldType::String),
        (&["5."], FieldType::String),
        (&["NaN", "inf"], FieldType::String),
        (&["0x10"], FieldType::String),
        (&["-"], FieldType::String),
        (&["true", "false"], FieldType::Bool),
        (&["True", "False", "null"], FieldType::Bool),
        (&["TRUE"], FieldType::Bool),
        (&["true", "False"], FieldType::String),
        (&["yes", "no"], FieldType::String),
        (&["0", "1"], FieldType::Int),
        (&["true", "1"], FieldType::String),
        (&["2024-02-29", "1999-12-31"], FieldType::Date),
        (&["2024-02-29", "2024-02-29T10:00"], FieldType::Timestamp),
        (&["2024-02-29 10:00:00.123456"], FieldType::Timestamp),
        (&["2024-02-29 10:00:00.123456789"], FieldType::String),
        (&["2024-02-29T10:00:00Z", "2024-02-29T10:00:00+02:00"], FieldType::TimestampTz),
        (&["2024-02-29T10:00:00Z", "2024-02-29T10:00:00"], FieldType::String),
        (&["2024-02-29T10:00:00Z", "2024-02-29"], FieldType::String),
        (&["2023-02-29"], FieldType::String),
        (&["20240229"], FieldType::Int),
        (&["29.02.2024"], FieldType::String),
        (&["2024-02-29", "7"], FieldType::String),
        (&["null", "", "null"], FieldType::String),
        (&[], FieldType::String),
    ] {
        assert_eq!(infer(values).field_type, expected, "{values:?}");
    }
}

#[test]
fn the_last_value_counts_like_the_first() {
    let mut values = vec!["42"; 10_000];
    assert_eq!(infer(&values).field_type, FieldType::Int);
    values.push("n/a");
    assert_eq!(infer(&values).field_type, FieldType::String);
    *values.last_mut().unwrap() = "0042";
    assert_eq!(infer(&values).field_type, FieldType::String);
    assert!(infer(&values).note.unwrap().contains("leading zeros"));
    *values.last_mut().unwrap() = "0.42";
    assert_eq!(infer(&values).field_type, FieldType::Double);
}

#[test]
fn only_undeclared_text_is_inferred() {
    let mut declared = ColumnPlan::new("x", FieldType::String);
    declared.declared = true;
    let mut inference = Inference::new(&ReadPlan { columns: vec![declared] });
    inference.observe(&batch(&["1", "2"])).unwrap();
    assert_eq!(inference.finish()[0].field_type, FieldType::String);

    let date = ReadPlan { columns: vec![ColumnPlan::new("x", FieldType::Date)] };
    assert_eq!(Inference::new(&date).finish()[0].field_type, FieldType::Date);
}

#[test]
fn rejected_rows_have_no_say() {
    let mut batch = batch(&["1", "x", "3"]);
    batch.add_flaw(1, Stage::Type, Reason::record("type", "another column is wrong"));
    let mut inference = Inference::new(&plan());
    inference.observe(&batch).unwrap();
    assert_eq!(inference.finish()[0].field_type, FieldType::Int);
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => any::<i64>().prop_map(|value| value.to_string()),
        8 => "-?[0-9]{1,3}",
        4 => "-?[0-9]{1,20}",
        8 => "-?[0-9]{1,12}\\.[0-9]{1,12}",
        4 => any::<f64>().prop_map(|value| value.to_string()),
        4 => any::<f64>().prop_map(|value| format!("{value:e}")),
        2 => "[+-]?[0-9.]{1,20}([eE][+-]?[0-9]{1,3})?",
        4 => "(true|false|True|False|TRUE|FALSE)",
        4 => "[0-9]{4}-[01][0-9]-[0-3][0-9]",
        4 => "20[0-9]{2}-0[1-9]-[12][0-9][T ][01][0-9]:[0-5][0-9](:[0-5][0-9](\\.[0-9]{1,7})?)?(Z|[+-]0[0-9]:?30)?",
        1 => "\\PC{0,6}",
        2 => Just("null".to_owned()),
    ]
}

/// Columns of mostly one kind, so that types other than string come out.
fn column() -> impl Strategy<Value = Vec<String>> {
    let of_a_kind = prop_oneof![
        prop::collection::vec("-?[1-9][0-9]{0,17}", 1..8),
        prop::collection::vec("-?(0|[1-9][0-9]{0,22})(\\.[0-9]{1,16})?", 1..8),
        prop::collection::vec("-?[1-9](\\.[0-9]{1,18})?(e-?[0-9]{1,3})?", 1..8),
        prop::collection::vec("[0-9]{4}-(0[1-9]|1[0-2])-[12][0-9]", 1..8),
        prop::collection::vec("20[0-9]{2}-0[1-9]-[12][0-9]([T ][01][0-9]:[0-5][0-9])?", 1..8),
        prop::collection::vec(
            "20[0-9]{2}-0[1-9]-[12][0-9]T[01][0-9]:[0-5][0-9](Z|-0[0-9]:30)",
            1..8
        ),
        prop::collection::vec("(true|false)", 1..8),
    ];
    (of_a_kind, prop::collection::vec(value(), 0..2)).prop_map(|(mut values, others)| {
        values.extend(others);
        values
    })
}

/// The number that a text writes, as digits and a power of ten.
fn number(text: &str) -> (bool, String, i64) {
    let (negative, text) = match text.strip_prefix('-') {
        Some(text) => (true, text),
        None => (false, text),
    };
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let trimmed = digits.trim_start_matches('0');
    let power = exponent.parse::<i64>().unwrap() + whole.len() as i64
        - (digits.len() - trimmed.len()) as i64;
    let trimmed = trimmed.trim_end_matches('0');
    if trimmed.is_empty() {
        (false, String::new(), 0)
    } else {
        (negative, trimmed.to_owned(), power)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_value_reads_back(values in column()) {
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let field_type = infer(&values).field_type;
        let mut builder = ColumnBuilder::new(&ColumnPlan::new("x", field_type), values.len());
        for value in values.iter().filter(|value| **value != "null" && !value.is_empty()) {
            prop_assert!(builder.push(value.as_bytes()).is_ok(), "{value} as {field_type}");
            let back = value_text(&builder.finish(), 0).unwrap();
            match field_type {
                FieldType::Int | FieldType::Date | FieldType::String => prop_assert_eq!(&back, value),
                FieldType::Double | FieldType::Decimal { .. } => {
                    prop_assert_eq!(number(&back), number(value), "{} {}", back, value);
                }
                FieldType::Bool => prop_assert!(back.eq_ignore_ascii_case(value)),
                FieldType::Timestamp | FieldType::TimestampTz => {
                    let utc = back.ends_with('Z');
                    prop_assert_eq!(utc, field_type == FieldType::TimestampTz);
                    let here = value.len() == 10 || back[..16] == value.replace(' ', "T")[..16];
                    prop_assert!(here || utc, "{} {}", back, value);
                }
                other => prop_assert!(false, "{other} was inferred"),
            }
        }
    }

    #[test]
    fn order_batches_and_merging_do_not_matter(
        values in prop_oneof![column(), prop::collection::vec(value(), 0..6)],
        shuffled: prop::sample::Index,
        size in 1usize..4,
    ) {
        let mut values: Vec<&str> = values.iter().map(String::as_str).collect();
        let expected = infer(&values);

        let mut merged = Inference::new(&plan());
        for part in values.chunks(size) {
            let mut inference = Inference::new(&plan());
            inference.observe(&batch(part)).unwrap();
            inference.merge(merged);
            merged = inference;
        }
        prop_assert_eq!(&merged.finish()[0], &expected);

        values.reverse();
        if !values.is_empty() {
            let by = shuffled.index(values.len());
            values.rotate_left(by);
        }
        let mut one_by_one = Inference::new(&plan());
        for part in values.chunks(1) {
            one_by_one.observe(&batch(part)).unwrap();
        }
        prop_assert_eq!(&one_by_one.finish()[0], &expected);
    }
}
