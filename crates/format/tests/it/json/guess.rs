//! Columns told from the beginning of an input.

use std::sync::Arc;

use arrow_array::RecordBatch;
use gristmill_core::{FieldType, Findings, ReadPlan, Result};
use gristmill_format::json::{Columns, Layout, Reader};
use gristmill_format::{Reader as _, Sizes};
use proptest::prelude::*;

use super::{How, trickle};

/// The records of a text as batches of these columns, or of those that were guessed.
fn batches(
    how: &How,
    text: &[u8],
    plan: &ReadPlan,
    guess: Option<&Columns>,
) -> Result<(Vec<RecordBatch>, usize)> {
    let input = trickle(text, how.step);
    let mut reader = Reader::open("x".into(), input, how.layout, &how.options, how.sizes)?;
    if let Some(columns) = guess {
        reader = reader.with_guess(Arc::new(columns.clone()));
    }
    reader.begin(Some(plan))?;
    let (mut findings, mut batches) = (Findings::default(), Vec::new());
    while let Some(mut chunk) = reader.next_chunk()? {
        while let Some(batch) = chunk.next_batch(&mut findings)? {
            batches.push(batch.columns().clone());
        }
    }
    Ok((batches, findings.rejects().len()))
}

fn small() -> How {
    let sizes = Sizes { chunk: 96, batch: 48, max_record: 200 };
    How { sizes, ..How::of(Layout::Lines) }
}

#[test]
fn what_adds_to_the_columns_ends_a_chunk() {
    let how = small();
    let first = r#"{"a": 1, "b": {"x": "s"}, "c": 0.5, "d": null}"#;
    let columns = how.discover(first.as_bytes()).unwrap();
    for (second, agrees) in [
        (r#"{"b": {"x": null}, "c": 7, "a": null}"#, true),
        (r#"{"c": 123456789012345678901, "d": "now a string"}"#, true),
        (r#"{"a": 1, "e": }"#, true),
        (r#"{"a": 1, "e": 1, "e": 2}"#, true),
        (r#"{"e": null}"#, false),
        (r#"{"\u0065": 1}"#, false),
        (r#"{"a": 1.0}"#, false),
        (r#"{"a": 123456789012345678901}"#, false),
        (r#"{"b": {"y": null}}"#, false),
        (r#"{"b": {"x": 1}}"#, false),
        (r#"{"b": 1}"#, false),
        (r#"{"d": true}"#, false),
    ] {
        let text = format!("{first}\n{first}\n{first}\n{second}\n");
        for without in [None, Some("a"), Some("b"), Some("d")] {
            let mut plan = columns.plan();
            plan.columns.retain(|column| Some(column.name.as_str()) != without);
            let read = batches(&how, text.as_bytes(), &plan, Some(&columns));
            assert_eq!(read.is_ok(), agrees, "{second} without {without:?}: {read:?}");
        }
    }
}

fn value() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "null",
        "true",
        "1",
        "-7",
        "1.5",
        "1e2",
        "123456789012345678901",
        "\"x\"",
        "\"\\n\"",
        "[]",
        "[1]",
        "[\"s\", null]",
        "[{\"m\": 1}]",
        "{}",
        "{\"m\": 1}",
        "{\"m\": null, \"n\": [2]}",
    ])
}

fn record() -> impl Strategy<Value = String> {
    let member = (prop::sample::select(vec!["a", "b", "c", "\\u0061"]), value());
    let object = prop::collection::vec(member, 0..4).prop_map(|members| {
        let members: Vec<_> = members.iter().map(|(k, v)| format!("\"{k}\": {v}")).collect();
        format!("{{{}}}", members.join(", "))
    });
    prop_oneof![12 => object, 1 => Just("{\"a\": ".to_owned()), 1 => Just("[1]".to_owned())]
}

proptest! {
    #[test]
    fn a_guess_that_holds_is_what_all_of_the_input_says(
        // Few kinds of records, so that there are guesses that hold.
        kinds in prop::collection::vec(record(), 1..4),
        order in prop::collection::vec(any::<prop::sample::Index>(), 1..40),
        first in 1..8usize,
        without in any::<bool>(),
    ) {
        let how = small();
        let records: Vec<_> = order.iter().map(|at| at.get(&kinds).as_str()).collect();
        let text = records.join("\n");
        let beginning = records[..first.min(records.len())].join("\n");
        let guess = how.discover(beginning.as_bytes()).unwrap();
        let all = how.discover(text.as_bytes()).unwrap();

        let mut plan = guess.plan();
        if without && !plan.columns.is_empty() {
            plan.columns.remove(0);
        }
        let guessed = batches(&how, text.as_bytes(), &plan, Some(&guess));
        if guessed.is_ok() {
            prop_assert_eq!(guess.plan(), all.plan());
            let read = batches(&how, text.as_bytes(), &plan, None).unwrap();
            prop_assert_eq!(guessed.unwrap(), read);
        } else {
            // Values of one column that nothing but JSON takes may be of any kinds.
            let is_json = guess.plan().columns.iter().any(|column| {
                column.nested.is_some() || column.field_type == FieldType::Json
            });
            prop_assert!(guess.plan() != all.plan() || is_json);
        }
    }
}
