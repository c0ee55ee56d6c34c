//! Quality measures, against a slow model.

use std::collections::HashSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::given::{batch, bind, run, step};

const COLUMNS: &[(&str, &str)] =
    &[("id", "string"), ("aum", "decimal(9,2)"), ("day", "date"), ("fee", "double")];

#[test]
fn measures_what_was_read() {
    let step = step(json!({
        "rules": {"aum": {"min": 0}},
        "unique": "id",
        "quality": {"keys": [["id", "day"], ["id"]]},
    }));
    let rows = [
        "a|1.50|2024-01-01|0.5",
        "a|-2|2024-13-01|-1",
        "b|x|2023-05-01|NaN",
        "~|~|~|~",
        "a|3|2024-01-01|2",
    ];
    let report = run(&step, vec![batch(COLUMNS, &rows, 1)]).unwrap().report;
    assert_eq!(
        report,
        json!({
            "records": 5,
            "rules": [
                {"field": "aum", "rule": "min", "failed": 1},
                {"field": "id", "rule": "unique", "failed": 1},
            ],
            "fields": {
                "id": {"type": "string", "nulls": 1, "type_failures": 0,
                       "min": "a", "max": "b", "distinct_estimate": 2},
                "aum": {"type": "decimal(9, 2)", "nulls": 1, "type_failures": 1, "negative": 1,
                        "min": "-2.00", "max": "3.00", "distinct_estimate": 3},
                "day": {"type": "date", "nulls": 1, "type_failures": 1,
                        "min": "2023-05-01", "max": "2024-01-01", "distinct_estimate": 2},
                "fee": {"type": "double", "nulls": 1, "type_failures": 0, "negative": 1,
                        "min": "-1.0", "max": "2.0", "distinct_estimate": 4},
            },
            "keys": [
                {"columns": ["id"], "nulls": 1, "duplicates": 2},
                {"columns": ["id", "day"], "nulls": 2, "duplicates": 1},
            ],
            "null_keys": 3,
            "duplicate_keys": 3,
        })
    );
}

#[test]
fn without_quality_only_ruled_fields_are_counted() {
    let step = step(json!({"rules": {"id": "required"}}));
    let rows = ["a|1|~|~", "~|1|~|~", "|1|~|~"];
    assert_eq!(
        run(&step, vec![batch(COLUMNS, &rows, 1)]).unwrap().report,
        json!({
            "records": 3,
            "rules": [{"field": "id", "rule": "required", "failed": 2}],
            "fields": {"id": {"nulls": 1}},
        })
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn agrees_with_a_model_in_any_order(
        rows in proptest::collection::vec(("[a-d]{0,2}|~", "-?[0-9]{1,2}|~|x"), 1..60),
        size in 1usize..20,
    ) {
        let columns = &[("k", "string"), ("n", "int")];
        let lines: Vec<String> = rows.iter().map(|(k, n)| format!("{k}|{n}")).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let step = step(json!({"quality": {"keys": "k"}}));
        let mut batches: Vec<_> = lines.chunks(size).map(|rows| batch(columns, rows, 1)).collect();
        let forward = run(&step, batches.clone()).unwrap().report;
        let local = bind(&step, &batches[0]).unwrap().local.unwrap();
        batches.reverse();
        for batch in batches {
            local.apply(batch, &mut Default::default()).unwrap();
        }
        prop_assert_eq!(&forward, &local.report().unwrap());

        let keys: Vec<&str> = rows.iter().map(|(k, _)| k.as_str()).filter(|k| *k != "~").collect();
        let numbers: Vec<i64> = rows.iter().filter_map(|(_, n)| n.parse().ok()).collect();
        let end = |value: Option<String>| value.map_or(Value::Null, Value::from);
        let field = |name: &str, what: &str| forward["fields"][name][what].clone();
        let distinct = keys.iter().collect::<HashSet<_>>().len();
        prop_assert_eq!(field("k", "nulls"), rows.len() - keys.len());
        prop_assert_eq!(field("k", "distinct_estimate"), distinct);
        prop_assert_eq!(field("k", "min"), end(keys.iter().min().map(ToString::to_string)));
        prop_assert_eq!(field("k", "max"), end(keys.iter().max().map(ToString::to_string)));
        prop_assert_eq!(field("n", "nulls"), rows.iter().filter(|(_, n)| n == "~").count());
        prop_assert_eq!(field("n", "type_failures"), rows.iter().filter(|(_, n)| n == "x").count());
        prop_assert_eq!(field("n", "negative"), numbers.iter().filter(|n| **n < 0).count());
        prop_assert_eq!(field("n", "min"), end(numbers.iter().min().map(ToString::to_string)));
        prop_assert_eq!(field("n", "max"), end(numbers.iter().max().map(ToString::to_string)));
        prop_assert_eq!(forward["duplicate_keys"].clone(), keys.len() - distinct);
        prop_assert_eq!(forward["null_keys"].clone(), rows.len() - keys.len());
    }
}
