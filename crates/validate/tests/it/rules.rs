//! Each rule on nulls, empties, Unicode, bounds and every type.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, Decimal128Array, Float32Array, Int8Array, RecordBatch, StringArray,
    TimestampMillisecondArray, UInt64Array,
};
use gristmill_core::{Batch, Origin};
use gristmill_validate::{Rule, Validate};
use proptest::prelude::*;
use serde_json::json;

use crate::given::{batch, judged, run, step};

#[test]
fn required_fails_on_nulls_and_empty_texts_and_is_the_only_reason() {
    let rules = json!([{"matches": "^a"}, "required", {"length": {"min": 1}}]);
    assert_eq!(
        judged("string", rules, &["a", "~", "", "b", " "]),
        [
            "1 x.required: is missing",
            "2 x.required: is missing",
            "3 x.matches: `b` does not match ^a",
            "4 x.matches: ` ` does not match ^a",
        ]
    );
    assert_eq!(judged("int", json!("required"), &["1", "~"]), ["1 x.required: is missing"]);
    assert_eq!(judged("double", json!("required"), &["NaN", "0"]), [] as [&str; 0]);
}

#[test]
fn nulls_pass_every_other_rule() {
    for (field_type, rule) in [
        ("string", json!({"type": "int"})),
        ("string", json!({"matches": "x"})),
        ("string", json!({"one_of": ["x"]})),
        ("string", json!({"length": 1})),
        ("int", json!({"one_of": [1]})),
        ("int", json!({"min": 5})),
        ("double", json!({"max": -5})),
        ("decimal(9,2)", json!({"between": [1, 2]})),
        ("date", json!({"before": "1900-01-01"})),
        ("timestamp", json!({"after": "2100-01-01"})),
        ("bool", json!({"one_of": [true]})),
        ("int", json!({"expr": "x > 5"})),
        ("string", json!("unique")),
    ] {
        assert_eq!(judged(field_type, rule, &["~", "~"]), [] as [&str; 0], "{field_type}");
    }
}

#[test]
fn type_judges_text_as_a_cast_would() {
    assert_eq!(
        judged("string", json!({"type": "int"}), &["1", "-2", "", "1.0", "x"]),
        ["3 x.type: `1.0` is not an int", "4 x.type: `x` is not an int"]
    );
    assert_eq!(
        judged("string", json!({"type": "decimal(5, 2)"}), &["999.99", "1.005", "1e2"]),
        ["1 x.type: `1.005` is not a decimal(5, 2)"]
    );
    assert_eq!(
        judged("string", json!({"type": "date"}), &["2024-02-29", "2023-02-29"]),
        ["1 x.type: `2023-02-29` is not a date"]
    );
    assert_eq!(
        judged("string", json!({"type": "timestamp"}), &["2024-02-29T10:00:00Z", "noon"]),
        ["1 x.type: `noon` is not a timestamp"]
    );
    assert_eq!(judged("string", json!({"type": "time"}), &["24:00"]).len(), 1);
    assert_eq!(judged("string", json!({"type": "bool"}), &["yes", "maybe"]).len(), 1);
    assert_eq!(judged("string", json!({"type": "double"}), &["1e300", "one"]).len(), 1);
    assert_eq!(judged("string", json!({"type": "json"}), &["{\"a\":1}", "{a}", ""]).len(), 2);
    assert_eq!(judged("int", json!({"type": "int"}), &["1"]), [] as [&str; 0]);
    assert_eq!(judged("decimal(9,2)", json!({"type": "decimal(18,4)"}), &["1"]).len(), 0);
}

#[test]
fn matches_searches_and_knows_unicode() {
    assert_eq!(
        judged("string", json!({"matches": r"^\w{3}$"}), &["äöü", "日本語", "ab", "abcd", ""]),
        [
            r"2 x.matches: `ab` does not match ^\w{3}$",
            r"3 x.matches: `abcd` does not match ^\w{3}$",
            r"4 x.matches: `` does not match ^\w{3}$",
        ]
    );
    assert_eq!(judged("string", json!({"matches": "b"}), &["abc"]), [] as [&str; 0]);
}

#[test]
fn one_of_compares_as_the_column_does() {
    let currencies = json!({"one_of": ["USD", "EUR", "GBP", "JPY", "CHF"]});
    assert_eq!(
        judged("string", currencies, &["USD", "XXX", "usd", ""]),
        [
            "1 x.one_of: `XXX` is not one of USD, EUR, GBP (and 2 more)",
            "2 x.one_of: `usd` is not one of USD, EUR, GBP (and 2 more)",
            "3 x.one_of: `` is not one of USD, EUR, GBP (and 2 more)",
        ]
    );
    let many: Vec<String> = (0..100).map(|n| format!("a rather long option {n}")).collect();
    let rows = ["a rather long option 99", "a rather long option 100"];
    assert_eq!(judged("string", json!({"one_of": many}), &rows).len(), 1);
    let one = json!({"one_of": [1, "2.0", 3.50]});
    assert_eq!(judged("decimal(9,2)", one, &["1.00", "2", "3.5", "4"]).len(), 1);
    let one = json!({"one_of": [0.1, 1]});
    assert_eq!(judged("double", one, &["0.1", "1.0", "0.2", "NaN"]).len(), 2);
    let one = json!({"one_of": ["2024-01-01"]});
    assert_eq!(judged("date", one, &["2024-01-01", "2024-01-02"]).len(), 1);
    assert_eq!(judged("bool", json!({"one_of": [true]}), &["true", "false"]).len(), 1);
    assert_eq!(judged("int", json!({"one_of": [7]}), &["7", "-7"]).len(), 1);
}

#[test]
fn limits_are_inclusive_and_exact() {
    assert_eq!(
        judged("int", json!({"min": 10}), &["10", "9", "-9223372036854775808"]),
        ["1 x.min: `9` is below 10", "2 x.min: `-9223372036854775808` is below 10"]
    );
    assert_eq!(judged("int", json!({"min": 0.5}), &["0", "1"]), ["0 x.min: `0` is below 0.5"]);
    assert_eq!(judged("int", json!({"max": "1e30"}), &["9223372036854775807"]).len(), 0);
    assert_eq!(judged("int", json!({"min": "1e30"}), &["9223372036854775807", "~"]).len(), 1);
    // As an f64, 9007199254740993 would be 9007199254740992.
    let rows = ["9007199254740992", "9007199254740993"];
    assert_eq!(
        judged("int", json!({"max": 9007199254740992_i64}), &rows),
        ["1 x.max: `9007199254740993` is above 9007199254740992"]
    );
    let between = json!({"between": [0, 0.05]});
    assert_eq!(
        judged("decimal(18,4)", between.clone(), &["0", "0.05", "0.0501", "-0.0001"]),
        [
            "2 x.between: `0.0501` is not between 0 and 0.05",
            "3 x.between: `-0.0001` is not between 0 and 0.05",
        ]
    );
    assert_eq!(
        judged("double", between, &["0.05", "0.05000000000000001", "-0.0", "NaN", "inf"]),
        [
            "1 x.between: `0.05000000000000001` is not between 0 and 0.05",
            "3 x.between: `NaN` is not a number",
            "4 x.between: `inf` is not between 0 and 0.05",
        ]
    );
    assert_eq!(
        judged("date", json!({"min": "2024-01-01"}), &["2024-01-01", "2023-12-31"]),
        ["1 x.min: `2023-12-31` is below 2024-01-01"]
    );
    assert_eq!(
        judged("time", json!({"between": ["09:00", "17:30"]}), &["17:30", "17:30:00.000001"]),
        ["1 x.between: `17:30:00.000001` is not between 09:00 and 17:30"]
    );
}

#[test]
fn before_and_after_exclude_their_limit() {
    let rows = ["2023-12-31", "2024-01-01", "2024-01-02"];
    assert_eq!(
        judged("date", json!({"before": "2024-01-01"}), &rows),
        [
            "1 x.before: `2024-01-01` is not before 2024-01-01",
            "2 x.before: `2024-01-02` is not before 2024-01-01",
        ]
    );
    assert_eq!(
        judged("date", json!({"after": "2024-01-01"}), &rows),
        [
            "0 x.after: `2023-12-31` is not after 2024-01-01",
            "1 x.after: `2024-01-01` is not after 2024-01-01",
        ]
    );
    // A day is its midnight: 2024-01-01 is before noon of that day.
    assert_eq!(judged("date", json!({"before": "2024-01-01T12:00"}), &rows).len(), 1);
    assert_eq!(judged("date", json!({"after": "2024-01-01T12:00"}), &rows).len(), 2);
    let rows = ["2023-12-31T23:59:59.999999", "2024-01-01T00:00:00", "2024-01-01T00:00:00.000001"];
    assert_eq!(judged("timestamp", json!({"before": "2024-01-01"}), &rows).len(), 2);
    assert_eq!(judged("timestamp", json!({"after": "2024-01-01"}), &rows).len(), 2);
    let rows = ["2024-01-01T01:00:00+02:00", "2024-01-01T01:00:00Z"];
    assert_eq!(judged("timestamptz", json!({"before": "2024-01-01"}), &rows).len(), 1);
}

#[test]
fn length_counts_characters() {
    let rows = ["", "ä", "日本", "ab", "abc", "👩‍🚀"];
    assert_eq!(
        judged("string", json!({"length": 2}), &rows),
        [
            "0 x.length: `` has 0 characters, not 2",
            "1 x.length: `ä` has 1 character, not 2",
            "4 x.length: `abc` has 3 characters, not 2",
            "5 x.length: `👩‍🚀` has 3 characters, not 2",
        ]
    );
    assert_eq!(judged("string", json!({"length": {"min": 1, "max": 2}}), &rows).len(), 3);
    assert_eq!(judged("string", json!({"length": {"max": 2}}), &rows).len(), 2);
    assert_eq!(
        judged("string", json!({"length": {"min": 3}}), &["ää"]),
        ["0 x.length: `ää` has 2 characters, not at least 3"]
    );
}

#[test]
fn expressions_judge_fields_and_records() {
    let step = step(json!({
        "rules": {"a": {"expr": "a < b"}},
        "record_rules": [
            {"name": "ratio", "expr": "a / b < 1"},
            {"name": "cap", "expr": "a * b < 100", "message": "too much"},
        ],
    }));
    let rows = ["1|2", "3|2", "1|0", "~|1", "20|30"];
    let outcome = run(&step, vec![batch(&[("a", "int"), ("b", "int")], &rows, 1)]).unwrap();
    assert_eq!(
        outcome.reasons(),
        [
            "1 a.expr: `3` fails `a < b`",
            "1 -.ratio: fails `a / b < 1` with a = `3`, b = `2`",
            "2 a.expr: `1` fails `a < b`",
            "2 -.ratio: cannot be computed: division by zero in `a / b < 1`",
            "4 -.cap: too much",
        ]
    );
    assert_eq!(outcome.findings.rejects()[0].errors[0].value.as_deref(), Some("3"));
}

#[test]
fn a_field_that_could_not_be_read_is_not_told_twice() {
    let step = step(json!({
        "rules": {"a": ["required", {"min": 0}, {"expr": "a is not null"}], "b": "required"},
        "record_rules": [
            {"name": "both", "expr": "a is not null"},
            {"name": "other", "expr": "b is not null"},
        ],
    }));
    let outcome = run(&step, vec![batch(&[("a", "int"), ("b", "int")], &["x|1", "x|~"], 1)]);
    assert_eq!(
        outcome.unwrap().reasons(),
        [
            "0 a.type: `x` is not an int",
            "1 a.type: `x` is not an int",
            "1 b.required: is missing",
            "1 -.other: fails `b is not null` with b = null",
        ]
    );
}

#[test]
fn a_later_step_adds_its_reasons_to_those_of_an_earlier_one() {
    let rules = [Rule::min(0), Rule::one_of([1, 2])];
    let [first, second] = rules.map(|rule| Validate::new().rule("x", rule));
    let input = batch(&[("x", "int")], &["-1", "1"], 1);
    let bound = [&first, &second].map(|step| crate::given::bind(step, &input).unwrap());
    let mut findings = Default::default();
    let mut judged = input;
    for part in bound {
        judged = part.local.unwrap().apply(judged, &mut findings).unwrap();
    }
    let left = judged.settle(&mut findings).unwrap();
    assert_eq!(left.num_rows(), 1);
    assert_eq!(findings.rejects()[0].errors.len(), 2);
}

fn columns_batch(column: ArrayRef) -> Batch {
    let columns = RecordBatch::try_from_iter([("x", column)]).unwrap();
    let origin = Arc::new(Origin::columns("in.parquet".into(), columns.clone()));
    Batch::whole(columns, origin).unwrap()
}

#[test]
fn columns_that_come_typed_are_judged_in_their_own_units() {
    let failures = |column: ArrayRef, rule: Rule| {
        run(&Validate::new().rule("x", rule), vec![columns_batch(column)]).unwrap().reasons().len()
    };
    let tiny: ArrayRef = Arc::new(Int8Array::from(vec![-128, 0, 127]));
    assert_eq!(failures(tiny.clone(), Rule::between(-1000, 1000)), 0);
    assert_eq!(failures(tiny.clone(), Rule::min(128)), 3);
    assert_eq!(failures(tiny, Rule::max(-129)), 3);
    let large: ArrayRef = Arc::new(UInt64Array::from(vec![0, u64::MAX]));
    assert_eq!(failures(large.clone(), Rule::min(-1)), 0);
    assert_eq!(failures(large.clone(), Rule::max("18446744073709551614")), 1);
    assert_eq!(failures(large, Rule::max(-1)), 2);
    let single: ArrayRef = Arc::new(Float32Array::from(vec![0.05, 0.06]));
    assert_eq!(failures(single, Rule::max(0.05)), 1);
    let hundreds: ArrayRef =
        Arc::new(Decimal128Array::from(vec![1, 2]).with_precision_and_scale(10, -2).unwrap());
    assert_eq!(failures(hundreds, Rule::max(199)), 1);
    let millis: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![-1, 0, 1]));
    assert_eq!(failures(millis.clone(), Rule::before("1970-01-01")), 2);
    assert_eq!(failures(millis.clone(), Rule::after("1970-01-01T00:00:00.0005")), 2);
    assert_eq!(failures(millis, Rule::before("1970-01-01T00:00:00.0005")), 1);
    let utf8: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None, Some("")]));
    assert_eq!(failures(utf8.clone(), Rule::required()), 2);
    assert_eq!(failures(utf8, Rule::matches("a").unwrap()), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn ranges_agree_with_a_loop(
        values in proptest::collection::vec(proptest::option::of(-500i64..500), 1..80),
        low in -600i64..600,
        width in 0i64..600,
    ) {
        // Cents against limits in cents, written as decimals.
        let texts: Vec<String> = values
            .iter()
            .map(|value| value.map_or("~".to_owned(), |cents| format!("{}e-2", cents)))
            .collect();
        let rows: Vec<&str> = texts.iter().map(String::as_str).collect();
        let high = low + width;
        let limits = json!({"between": [format!("{low}e-2"), format!("{high}e-2")]});
        let failed = judged("decimal(18, 2)", limits, &rows).len();
        let expected =
            values.iter().flatten().filter(|value| **value < low || **value > high).count();
        prop_assert_eq!(failed, expected);
    }

    #[test]
    fn lengths_agree_with_a_count(text in "[^|~\n]{0,12}", min in 0usize..8, width in 0usize..6) {
        let max = min + width;
        let failed = judged("string", json!({"length": {"min": min, "max": max}}), &[&text]).len();
        let n = text.chars().count();
        prop_assert_eq!(failed == 0, n >= min && n <= max);
    }
}
