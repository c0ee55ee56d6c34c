//! Records that offend against checks, against a model.

use std::collections::HashSet;

use gristmill_core::{Batch, BindContext, Findings, Records, Space, StepPlan};
use gristmill_validate::check::{Checks, Options};
use proptest::prelude::*;
use serde_json::json;

use crate::conditions::Conditions;
use crate::given::batch;

const COLUMNS: &[(&str, &str)] = &[("id", "int"), ("a", "string"), ("b", "string")];
const CODES: &[(&str, &str)] = &[("code", "string")];

/// The numbers of the records that go on, and the reasons of those that do not.
fn judged(
    checks: serde_json::Value,
    rows: &[&str],
    cut: usize,
    memory: usize,
) -> (Vec<u64>, Vec<String>) {
    let options = json!({"checks": checks, "references": {"codes": {"file": "codes.csv"}}});
    let step = Checks::of(&Options::read(&options).unwrap(), &Conditions).unwrap();
    let codes = batch(CODES, &["x", "y", "x"], 1);
    let mut context = BindContext::new(&Conditions);
    context.references = step.references().iter().map(|_| codes.schema()).collect();
    let batches: Vec<Batch> = rows
        .chunks(cut)
        .zip((1..).step_by(cut))
        .map(|(rows, first)| batch(COLUMNS, rows, first))
        .collect();
    let bound = step.bind(&batches[0].schema(), &context).unwrap();
    let (mut local, mut ordered) = (bound.local.unwrap(), bound.ordered.unwrap());
    let records =
        context.references.iter().map(|_| Box::new([Ok(codes.clone())].into_iter()) as Records);
    ordered.load(records.collect());
    ordered.open(Space { memory, ..Space::default() });
    local.open(Space { memory, ..Space::default() });
    let (mut findings, mut kept) = (Findings::default(), Vec::new());
    for batch in batches {
        let batch = local.apply(batch, &mut findings).unwrap();
        let batch = ordered.apply(batch, &mut findings).unwrap();
        let number = |row| batch.origin().locate(batch.rows().ordinal(row) as usize).record;
        kept.extend((0..batch.num_rows()).map(number));
    }
    let reasons = findings.rejects().iter().flat_map(|reject| {
        let record = reject.origin.locate(reject.ordinal as usize).record;
        reject.errors.iter().map(move |it| format!("{record} {}: {}", it.rule, it.message))
    });
    (kept, reasons.collect())
}

#[test]
fn every_reason_is_told_and_nulls_are_what_the_check_says() {
    let checks = json!([
        {"measure": "primary_key", "columns": ["id", "a"], "offenders": "reject", "name": "key"},
        {"measure": "referential_integrity", "column": "b", "reference": "codes", "reference_columns": "code",
         "offenders": "reject", "name": "code"},
        {"measure": "uniqueness", "column": "b", "nulls": "equal", "offenders": "reject", "name": "once"},
    ]);
    let rows = ["1|u|x", "1|~|y", "1|v|z", "2|v|~", "3|v|~", "1|u|z", "4|v|y"];
    let (kept, reasons) = judged(checks, &rows, 3, 1 << 20);
    assert_eq!(kept, [1, 4, 7]);
    assert_eq!(
        reasons,
        [
            "2 key: the key (id, a) = (`1`, null) has a null, and a primary key has none",
            "3 code: `z` is in no record of `codes`",
            "5 once: null was seen before, in record 4",
            "6 key: the key (id, a) = (`1`, `u`) was seen before, in record 1",
            "6 code: `z` is in no record of `codes`",
        ]
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn agrees_with_a_model(
        rows in proptest::collection::vec((0u8..40, "[ab]?|~", "[xyz]|~"), 1..200),
        cut in 1usize..60,
        memory in prop_oneof![Just(0usize), Just(1 << 20)],
    ) {
        let checks = json!([
            {"measure": "uniqueness", "columns": ["id", "a"], "nulls": "equal", "offenders": "reject"},
            {"measure": "referential_integrity", "column": "b", "reference": "codes",
             "reference_columns": "code", "offenders": "reject"},
        ]);
        let lines: Vec<String> = rows.iter().map(|(id, a, b)| format!("{id}|{a}|{b}")).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let (kept, _) = judged(checks, &lines, cut, memory);
        let mut seen = HashSet::new();
        let expected = rows.iter().zip(1..).filter(|((id, a, b), _)| b != "z" && seen.insert((id, a)));
        prop_assert_eq!(kept, expected.map(|(_, number)| number).collect::<Vec<u64>>());
    }
}
