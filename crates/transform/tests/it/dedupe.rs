//! `dedupe` against a model that keeps everything in memory.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, Int64Array, ListArray, RecordBatch, StringViewArray};
use bytes::Bytes;
use gristmill_core::{Batch, BindContext, Findings, Origin, Place, Space, Span, StepPlan};
use gristmill_transform::{Dedupe, Sql};
use proptest::prelude::*;

use crate::{batch, told};

/// Text, number and list of a record.
type Record = (Option<String>, Option<f64>, Option<i64>);

/// A batch as a source gives it, whose first record has this number.
fn read(records: &[Record], first_record: u64) -> Batch {
    let text: StringViewArray = records.iter().map(|(text, ..)| text.as_deref()).collect();
    let number: Float64Array = records.iter().map(|(_, number, _)| *number).collect();
    let list = ListArray::from_iter_primitive::<arrow_array::types::Int64Type, _, _>(
        records.iter().map(|(.., item)| item.map(|item| [Some(item), None])),
    );
    let row: Int64Array = (0..records.len() as i64).map(Some).collect();
    let columns = RecordBatch::try_from_iter_with_nullable([
        ("text", Arc::new(text) as ArrayRef, true),
        ("number", Arc::new(number), true),
        ("list", Arc::new(list), true),
        ("row", Arc::new(row), true),
    ])
    .unwrap();
    let raw: String = (0..records.len()).map(|row| format!("{}\n", row % 10)).collect();
    let spans = (0..records.len() as u32).map(|row| Span { start: row * 2, len: 1 }).collect();
    let origin = Origin::text("in.csv".into(), Bytes::from(raw), 0, spans, b'\n');
    origin.set_place(Place { first_record, first_line: first_record + 1 });
    Batch::whole(columns, Arc::new(origin)).unwrap()
}

/// Numbers of the records that stay, batch by batch, and how many do not.
fn run(step: &Dedupe, memory: usize, batches: Vec<Batch>) -> (Vec<Vec<u64>>, u64) {
    let sql = Sql::new();
    let context = BindContext::new(&sql);
    let schema = batches[0].schema();
    let bound = step.bind(&schema, &context).unwrap();
    let (local, mut ordered) = (bound.local.unwrap(), bound.ordered.unwrap());
    ordered.open(Space { memory, ..Space::default() });
    let mut findings = Findings::default();
    let mut after = Vec::new();
    for batch in batches {
        let batch = local.apply(batch, &mut findings).unwrap();
        after.push(ordered.apply(batch, &mut findings).unwrap());
    }
    let mut released = Vec::new();
    while let Some(batch) = ordered.release(&mut findings).unwrap() {
        released.push(batch);
    }
    if !released.is_empty() {
        assert!(after.iter().all(|batch| batch.num_rows() == 0));
        assert_eq!(after.len(), released.len());
        after = released;
    }
    let kept = after.iter().map(|batch| {
        assert_eq!(batch.schema(), schema);
        let rows = 0..batch.num_rows();
        rows.map(|row| {
            let ordinal = batch.rows().ordinal(row) as usize;
            // The columns, the raw text and the place of a row go together.
            let column = batch.columns().column_by_name("row").unwrap();
            let column =
                arrow_array::cast::AsArray::as_primitive::<arrow_array::types::Int64Type>(column);
            assert_eq!(column.value(row), ordinal as i64);
            assert_eq!(batch.origin().raw(ordinal), (ordinal % 10).to_string());
            let location = batch.origin().locate(ordinal);
            assert_eq!(location.line, Some(location.record + 1));
            location.record
        })
        .collect()
    });
    (kept.collect(), findings.deduplicated)
}

fn key((text, number, list): &Record, columns: &[&str]) -> String {
    let number = number.map(|number| if number == 0.0 { "0".into() } else { number.to_string() });
    let values = [
        ("text", format!("{text:?}")),
        ("number", format!("{number:?}")),
        ("list", format!("{list:?}")),
    ];
    let mut key = String::new();
    for column in columns {
        key += &values.iter().find(|(name, _)| name == column).unwrap().1;
    }
    key
}

fn records() -> impl Strategy<Value = Vec<Record>> {
    let text = prop_oneof![
        Just(None),
        "[ab]{0,2}".prop_map(Some),
        Just(Some("a text that is longer than a view".to_owned()))
    ];
    let number = prop_oneof![
        Just(None),
        prop_oneof![Just(0.0), Just(-0.0), Just(f64::NAN), Just(-f64::NAN), Just(1.5)]
            .prop_map(Some),
        (0..400i32).prop_map(|n| Some(f64::from(n))),
    ];
    let list = prop_oneof![Just(None), (0..3i64).prop_map(Some)];
    prop::collection::vec((text, number, list), 1..1_200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn one_record_stays_for_each_key(
        records in records(),
        batch in 1usize..300,
        columns in prop::sample::select(vec![vec!["text"], vec!["number", "text"], vec!["list", "number"], vec!["text", "number", "list"]]),
        last: bool,
    ) {
        let mut expected: HashMap<String, u64> = HashMap::new();
        for (record, number) in records.iter().zip(1..) {
            let entry = expected.entry(key(record, &columns)).or_insert(number);
            if last {
                *entry = number;
            }
        }
        let mut expected: Vec<u64> = expected.into_values().collect();
        expected.sort_unstable();
        let step = Dedupe::by(columns);
        let step = if last { step.keep_last() } else { step };
        let mut before = None;
        for memory in [0, 20_000, 1 << 24] {
            let batches = records.chunks(batch).zip((1..).step_by(batch));
            let batches = batches.map(|(records, first)| read(records, first)).collect();
            let (kept, deduplicated) = run(&step, memory, batches);
            prop_assert_eq!(deduplicated as usize, records.len() - expected.len());
            prop_assert_eq!(&kept.concat(), &expected);
            // Where batches end is the same with any memory, too.
            prop_assert_eq!(before.get_or_insert_with(|| kept.clone()), &kept);
        }
    }
}

#[test]
fn without_keys_whole_records_are_compared() {
    let values =
        |values: &[Option<&str>]| Arc::new(StringViewArray::from(values.to_vec())) as ArrayRef;
    let field = |name: &str| gristmill_core::FieldType::String.field(name);
    let input = batch(vec![
        (field("a"), values(&[Some("x"), Some("x"), None, Some("x"), None, Some("")])),
        (field("b"), values(&[None, Some("y"), Some("z"), Some("y"), Some("z"), Some("z")])),
    ]);
    let sql = Sql::new();
    let context = BindContext::new(&sql);
    let bound = Dedupe::whole_records().bind(&input.schema(), &context).unwrap();
    let mut findings = Findings::default();
    let hashed = bound.local.unwrap().apply(input, &mut findings).unwrap();
    let kept = bound.ordered.unwrap().apply(hashed, &mut findings).unwrap();
    let ordinals: Vec<u32> = (0..kept.num_rows()).map(|row| kept.rows().ordinal(row)).collect();
    assert_eq!((ordinals, findings.deduplicated), (vec![0, 1, 2, 5], 2));
}

#[test]
fn an_order_says_which_is_first() {
    let input = batch(vec![(
        gristmill_core::FieldType::Int.field("day"),
        Arc::new(Int64Array::from(vec![1])) as ArrayRef,
    )]);
    let sql = Sql::new();
    let told = |step: &Dedupe| -> Vec<String> {
        let found = step.bind(&input.schema(), &BindContext::new(&sql)).err().unwrap();
        found.iter().map(ToString::to_string).collect()
    };
    assert_eq!(told(&Dedupe::by(["day"]).order_by(["dai desc"])), ["order_by[0]: no column `dai`"]);
    assert_eq!(
        told(&Dedupe::whole_records().order_by(["day"]).keep_last()),
        [
            "order_by: records that are the same in all columns have no order",
            "keep: with `order_by`, the first record stays",
        ]
    );
}

#[test]
fn columns_that_are_not_there_are_told_all_at_once() {
    let input = batch(vec![(
        gristmill_core::FieldType::Int.field("fund_code"),
        Arc::new(Int64Array::from(vec![1])) as ArrayRef,
    )]);
    let told = told(crate::apply(&Dedupe::by(["fundcode", "other", "other"]), input));
    assert_eq!(
        told,
        [
            "keys: `other` stands twice",
            "keys[0]: no column `fundcode`",
            "keys[1]: no column `other`",
            "keys[2]: no column `other`"
        ]
    );
}
