//! The registry: every step's example parses, and its schema is made.

use gristmill_core::StepKind;
use gristmill_transform::{KINDS, Sql};
use serde_json::{Value, json};

fn kind(name: &str) -> &'static StepKind {
    KINDS.iter().find(|kind| kind.name == name).unwrap()
}

fn mistakes(name: &str, options: Value) -> Vec<String> {
    match (kind(name).plan)(&options, &Sql::new()) {
        Ok(_) => Vec::new(),
        Err(mistakes) => mistakes.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn every_step_is_listed_with_its_schema_and_example() {
    let names: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
    let expected = [
        "clean",
        "cast",
        "map",
        "select",
        "drop",
        "derive",
        "filter",
        "flatten",
        "explode",
        "dedupe",
        "lookup",
        "join",
        "compare",
        "aggregate",
        "pivot",
        "unpivot",
        "sort",
        "window",
        "sql",
    ];
    assert_eq!(names, expected);
    let mut generator = schemars::SchemaGenerator::default();
    for kind in KINDS {
        assert!(kind.example.starts_with(&format!("{}: ", kind.name)));
        assert!(kind.about.ends_with('.'));
        (kind.schema)(&mut generator);
    }
    for (name, schema) in generator.definitions() {
        assert!(schema.get("description").is_some(), "{name} has no description");
    }
}

#[test]
fn options_as_the_examples_write_them_are_understood() {
    for (name, options) in [
        (
            "clean",
            json!({"names": "snake_case", "trim": "all", "upper": ["currency"],
                   "nulls": ["", "n/a", -999], "default": {"region": "EU", "n": 0}}),
        ),
        ("clean", json!({"trim": ["a"]})),
        ("cast", json!({"aum": "decimal(18, 2)", "d": {"type": "date", "formats": ["%d/%m/%Y"]}})),
        ("map", json!({"user_id": "id"})),
        ("select", json!(["a", "b"])),
        ("drop", json!(["a"])),
        ("dedupe", json!({"keys": ["a", "b"], "keep": "last"})),
        ("dedupe", json!({})),
        ("dedupe", json!({"keys": ["a"], "order_by": ["b desc nulls first"]})),
        ("lookup", json!({"from": {"file": "r.csv"}, "on": ["a", "b"], "missing": null})),
        (
            "lookup",
            json!({"from": {"rows": []}, "on": {"a": "b"}, "at": "day", "take": {"x": "y"},
                   "missing": {"x": -1}, "early": "first", "version_columns": {"end_date": "to"}}),
        ),
        (
            "join",
            json!({"with": {"file": "r.csv"}, "on": {"a": "b"}, "how": "full", "take": ["x"], "prefix": "p_", "suffix": "_r"}),
        ),
        (
            "compare",
            json!({"with": {"file": "r.csv"}, "on": ["a"], "track": [], "column": "c", "changed_columns": "d", "old_prefix": "old_"}),
        ),
        (
            "pivot",
            json!({"names_from": "y", "values": [2023, "2024"], "values_from": "x", "aggregate": "first", "others": "ignore"}),
        ),
        (
            "pivot",
            json!({"by": ["k"], "names_from": "y", "values": {"a": 1}, "values_from": "x", "aggregate": "sum", "prefix": "p_"}),
        ),
        (
            "unpivot",
            json!({"columns": [2023, "m_*"], "names_to": "y", "values_to": "v", "strip_prefix": "m_", "nulls": "drop"}),
        ),
        ("join", json!({"with": {"rows": []}, "on": "a", "how": "anti"})),
        ("sql", json!({"query": "SELECT * FROM a", "tables": {"a": {"file": "a.csv"}}})),
        ("derive", json!({"pct": "management_fee * 100"})),
        ("filter", json!("is_active AND aum > 0")),
        ("flatten", json!({"columns": ["address"], "separator": "."})),
        ("flatten", json!({"columns": "all", "depth": 1})),
        ("explode", json!({"column": "items", "empty": "drop", "position": "n"})),
    ] {
        assert_eq!(mistakes(name, options.clone()), [""; 0], "{name}: {options}");
    }
}

#[test]
fn mistakes_in_options_are_all_said_and_in_their_places() {
    assert_eq!(
        mistakes(
            "cast",
            json!({"a": "decimal", "b": "int", "c": "dat",
            "d": {"type": "date", "formats": ["%d.%m.%Y", "%Q"]},
            "e": {"type": "int", "formats": ["%d"]}})
        ),
        [
            "a: a decimal needs its digits; write decimal(18, 2)",
            "c: `dat` is not a type; the types are string, bool, int, double, decimal(p,s), date, time, timestamp, timestamptz, json, binary",
            "d.formats[1]: `%Q` is not a strftime format",
            "e.formats: formats are for dates and times, not for int",
        ]
    );
    assert_eq!(
        mistakes("derive", json!({"a": "1 +", "b": "2", "c": "sum(b)"})),
        [
            "a: the text ends where an expression is expected",
            "c: `sum` looks at many records; an expression sees one",
        ]
    );
    assert_eq!(mistakes("select", json!(["a", "b", "a"])), ["[2]: `a` is selected twice"]);
    assert_eq!(
        mistakes(
            "lookup",
            json!({"from": {"file": "r.csv"}, "on": [], "take": {"x": "y"}, "prefix": "p_",
                   "early": "first"})
        ),
        [
            "on: a key needs at least one column",
            "prefix: the columns of a mapping have their names already",
            "early: `early` has no meaning without `at`",
        ]
    );
    assert_eq!(mistakes("flatten", json!({"depth": 0})).len(), 1);
    assert_eq!(mistakes("clean", json!({"trim": "some"})).len(), 1);
    assert_eq!(mistakes("clean", json!({"tirm": "all"})).len(), 1);
}
