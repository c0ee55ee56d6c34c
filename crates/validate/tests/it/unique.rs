//! Keys that no two records share, against a model.

use std::collections::HashMap;

use gristmill_core::Space;
use gristmill_validate::Validate;
use proptest::prelude::*;
use serde_json::json;

use crate::given::{batch, run, run_in, step};

const COLUMNS: &[(&str, &str)] = &[("a", "string"), ("b", "string")];

#[test]
fn the_first_in_source_order_wins() {
    let step = Validate::new().unique(["a", "b"]);
    let batches = vec![
        batch(COLUMNS, &["ab|c", "a|bc", "ab|c"], 1),
        batch(COLUMNS, &["a|bc", "~|c", "~|c", "|x", "|x"], 4),
    ];
    let outcome = run(&step, batches).unwrap();
    assert_eq!(
        outcome.reasons(),
        [
            "2 -.unique: the key (a, b) = (`ab`, `c`) was seen before, in record 1",
            "0 -.unique: the key (a, b) = (`a`, `bc`) was seen before, in record 2",
            "4 -.unique: the key (a, b) = (``, `x`) was seen before, in record 7",
        ]
    );
    assert_eq!(outcome.report["rules"], json!([{"field": "a, b", "rule": "unique", "failed": 3}]));
}

#[test]
fn nulls_are_equal_where_that_is_asked_for() {
    let rows = ["~|c", "~|c", "~|", "x|~", "~|~", "~|~", "x|~"];
    let reasons = |definition: serde_json::Value| {
        let (step, on_disk) = (step(definition), Space { memory: 0, ..Space::default() });
        let spilled = run_in(on_disk, &step, vec![batch(COLUMNS, &rows, 1)]);
        let outcome = run(&step, vec![batch(COLUMNS, &rows, 1)]).unwrap();
        assert_eq!(spilled.unwrap().reasons(), outcome.reasons());
        outcome.reasons()
    };
    let equal = json!({"unique": [["a", "b"]], "unique_nulls": "equal"});
    assert_eq!(
        reasons(equal),
        [
            "1 -.unique: the key (a, b) = (null, `c`) was seen before, in record 1",
            "5 -.unique: the key (a, b) = (null, null) was seen before, in record 5",
            "6 -.unique: the key (a, b) = (`x`, null) was seen before, in record 4",
        ]
    );
    let rule = json!({"rules": {"b": "unique"}, "unique_nulls": "equal"});
    assert_eq!(
        reasons(rule),
        [
            "1 b.unique: `c` was seen before, in record 1",
            "4 b.unique: null was seen before, in record 4",
            "5 b.unique: null was seen before, in record 4",
            "6 b.unique: null was seen before, in record 4",
        ]
    );
    assert_eq!(reasons(json!({"unique": [["a", "b"]], "unique_nulls": "distinct"})), [""; 0]);
}

#[test]
fn rejected_records_take_no_key() {
    let step = step(json!({
        "rules": {"a": ["unique", {"matches": "^.$"}], "b": {"one_of": ["x"]}},
    }));
    let outcome = run(&step, vec![batch(COLUMNS, &["k|y", "k|x", "k|x", "k|y"], 1)]).unwrap();
    assert_eq!(
        outcome.reasons(),
        [
            "0 b.one_of: `y` is not one of x",
            "2 a.unique: `k` was seen before, in record 2",
            "3 b.one_of: `y` is not one of x",
        ]
    );
}

#[test]
fn a_duplicate_of_one_key_takes_no_other_key() {
    let outcome = run(
        &Validate::new().unique(["a"]).unique(["b"]),
        vec![batch(COLUMNS, &["1|x", "1|y", "2|y"], 1)],
    );
    assert_eq!(outcome.unwrap().reasons(), ["1 a.unique: `1` was seen before, in record 1"]);
}

#[test]
fn keys_compare_as_values_of_their_column() {
    let count = |field_type: &str, rows: &[&str]| {
        let step = Validate::new().unique(["x"]);
        run(&step, vec![batch(&[("x", field_type)], rows, 1)]).unwrap().reasons().len()
    };
    assert_eq!(count("double", &["0.0", "-0.0", "NaN", "NaN", "1"]), 2);
    assert_eq!(count("decimal(9, 2)", &["1", "1.00", "1.01"]), 1);
    assert_eq!(count("string", &["1", "1.0", "~", "~"]), 0);
    assert_eq!(count("timestamptz", &["2024-01-01T01:00+01:00", "2024-01-01T00:00Z"]), 1);
    assert_eq!(count("bool", &["true", "t", "false"]), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn agrees_with_a_model(
        rows in proptest::collection::vec(("[ab]{0,3}|~", "[abc]{0,2}|~"), 1..200),
        cut in 1usize..60,
        with_rule: bool,
        memory in prop_oneof![Just(0usize), Just(1 << 20)],
    ) {
        let lines: Vec<String> = rows.iter().map(|(a, b)| format!("{a}|{b}")).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let batches = lines.chunks(cut).zip((1..).step_by(cut));
        let batches = batches.map(|(lines, first)| batch(COLUMNS, lines, first)).collect();
        let mut step = Validate::new().unique(["a", "b"]);
        if with_rule {
            step = step.rule("b", gristmill_validate::Rule::required());
        }
        let space = Space { memory, ..Space::default() };
        let outcome = run_in(space, &step, batches).unwrap();
        let mut seen: HashMap<(&str, &str), usize> = HashMap::new();
        let mut expected = Vec::new();
        for (i, (a, b)) in rows.iter().enumerate() {
            if with_rule && (b.is_empty() || b == "~") {
                continue;
            }
            if a == "~" || b == "~" {
                continue;
            }
            match seen.get(&(a.as_str(), b.as_str())) {
                Some(first) => expected.push((i, format!("in record {}", first + 1))),
                None => drop(seen.insert((a, b), i)),
            }
        }
        let found: Vec<(usize, String)> = outcome
            .findings
            .rejects()
            .iter()
            .filter(|reject| reject.errors[0].rule == "unique")
            .map(|reject| {
                let record = reject.origin.locate(reject.ordinal as usize).record as usize - 1;
                let message = &reject.errors[0].message;
                (record, message.rsplit(", ").next().unwrap().to_owned())
            })
            .collect();
        prop_assert_eq!(found, expected);
    }
}
