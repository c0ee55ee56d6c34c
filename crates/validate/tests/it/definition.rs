//! How the step is written, and what is said about mistakes in it.

use gristmill_core::{Mistake, StepKind};
use gristmill_validate::{KINDS, Options, Validate};
use serde_json::{Value, json};

use crate::conditions::Conditions;
use crate::given::{batch, bind, step};

fn shown(mistakes: &[Mistake]) -> Vec<String> {
    mistakes
        .iter()
        .map(|mistake| {
            let span = mistake.span.clone().map(|span| format!(" {span:?}")).unwrap_or_default();
            let key = if mistake.on_key { " (key)" } else { "" };
            let hint = mistake.hint.as_deref().map(|hint| format!("; {hint}")).unwrap_or_default();
            format!("{}{key}{span}: {}{hint}", mistake.at, mistake.message)
        })
        .collect()
}

fn planned(definition: Value) -> Vec<String> {
    let StepKind { plan, .. } = &KINDS[0];
    shown(&plan(&definition, &Conditions).err().unwrap_or_default())
}

fn bound(definition: Value) -> Vec<String> {
    let columns = [
        ("fund_code", "string"),
        ("aum", "string"),
        ("fee", "double"),
        ("day", "date"),
        ("n", "int"),
    ];
    let input = batch(&columns, &[], 1);
    shown(&bind(&step(definition), &input).err().unwrap_or_default())
}

#[test]
fn one_or_many_rules_are_read_and_written_alike() {
    let definition = json!({
        "rules": {
            "a": "required",
            "b": ["required", {"matches": "^x", "name": "starts", "severity": "warn", "message": "no"}],
            "c": {"one_of": ["x", 1, true]},
            "d": [{"min": 0}, {"max": "10.50"}, {"between": [0, 0.05]}],
            "e": [{"length": 3}, {"length": {"min": 1, "max": 4}}, {"type": "decimal(18, 2)"}],
            "f": [{"before": "2024-01-01"}, {"after": "2023-01-01"}, {"expr": "f > 1"}, "unique"],
        },
        "record_rules": [{"name": "r", "expr": "a < b", "severity": "abort"}],
        "unique": ["a", "b"],
        "on_failure": "warn",
        "quality": {"keys": "a"},
    });
    let options = Options::read(&definition).unwrap();
    assert_eq!(serde_json::to_value(&options).unwrap(), definition);
    let again: Options = serde_json::from_value(definition).unwrap();
    assert_eq!(again, options);
    assert_eq!(options.rules["b"].rules[1].name.as_deref(), Some("starts"));
    for unique in [json!("a"), json!([["a"], ["a", "b"]])] {
        let definition = json!({"unique": unique, "on_failure": "reject", "quality": true});
        let options = Options::read(&definition).unwrap();
        assert_eq!(serde_json::to_value(&options).unwrap()["unique"], unique);
    }
}

#[test]
fn mistakes_in_the_shape_point_at_the_rule() {
    assert_eq!(
        planned(json!({"rules": {
            "a": ["required", {"matchs": "x"}, "requird", "min"],
            "b": {"min": 1, "max": 2},
            "c": {"severity": "warn"},
            "d": {"length": "two"},
            "e": {"type": "dat"},
            "f": 3,
            "g": {"required": false},
            "h": {"one_of": [[1]]},
            "i": {"severity": "fatal", "min": 1},
        }})),
        [
            "rules.a[1].matchs (key): `matchs` is not a rule; did you mean `matches`?",
            "rules.a[2]: `requird` is not a rule; did you mean `required`?",
            "rules.a[3]: the rule `min` needs a value; write it as a mapping: {min: …}",
            "rules.b.max (key): `max` stands beside `min` in one rule; make them two rules: [{min: …}, {max: …}]",
            "rules.c: a rule without a test; it takes one of required, unique, type, matches, one_of, min, max, between, length, before, after, expr",
            "rules.d.length: `\"two\"` is not a length: write a whole number or {min: 1, max: 40}",
            "rules.e.type: `dat` is not a type; the types are string, bool, int, double, decimal(p,s), date, time, timestamp, timestamptz, json, binary",
            "rules.f: a rule is a name or a mapping; for example `required` or `{min: 0}`",
            "rules.g.required: `required: false` asks nothing; leave it out",
            "rules.h.one_of: a list where a single value is expected",
            "rules.i.severity: unknown variant `fatal`, expected one of `reject`, `warn`, `abort`",
        ]
    );
    assert_eq!(
        planned(json!({"unique": ["a", ["b"]], "quality": {"keys": [[]]}})),
        [
            "unique: columns and lists of columns are mixed; write a column, [a, b], or [[a, b], [c]]",
            "quality.keys[0]: a key is a list of columns; write a column, [a, b], or [[a, b], [c]]",
        ]
    );
}

#[test]
fn mistakes_without_columns_are_found_in_one_go() {
    assert_eq!(
        planned(json!({
            "rules": {
                "a": {"matches": r"^FND(\d{6}$"},
                "b": [{"between": [2, 1]}, {"between": [1, "2024-01-01"]}, {"min": "ten"}],
                "c": {"one_of": []},
                "d": {"length": {"min": 3, "max": 2}},
                "e": {"before": "tomorrow"},
                "f": [{"expr": "abs(f"}],
                "g": [],
            },
            "record_rules": [{"name": "r", "expr": "(a"}],
        })),
        [
            r"rules.a.matches 4..5: `^FND(\d{6}$` is not a pattern: unclosed group",
            "rules.b[0].between: 2 is greater than 1; write [1, 2]",
            "rules.b[1].between: `1` and `2024-01-01` are not of one kind",
            "rules.b[2].min: `ten` is neither a number nor a date, timestamp or time; for example 10, 2024-12-31 or 18:00",
            "rules.c.one_of: an empty list lets no value pass",
            "rules.d.length: 3 is greater than 2",
            "rules.e.before: `tomorrow` is not a date, timestamp or time; write it in ISO 8601, for example 2024-12-31",
            "rules.f[0].expr 3..4: a parenthesis is not closed",
            "rules.g: `g` has no rule",
            "record_rules[0].expr 0..1: a parenthesis is not closed",
        ]
    );
    assert_eq!(
        planned(json!({})),
        [": the step has nothing to judge; give it `rules`, `record_rules`, `unique` or `quality`"]
    );
}

#[test]
fn missing_columns_are_told_together_with_those_that_are_there() {
    assert_eq!(
        bound(json!({
            "rules": {"fundcode": "required", "fee": {"min": 0}},
            "unique": [["fund_code", "isin"]],
        })),
        [
            "rules.fundcode (key): there are no columns `fundcode`, `isin`; did you mean `fund_code` for `fundcode`? the columns are fund_code, aum, fee, day, n"
        ]
    );
    assert_eq!(
        bound(json!({"unique": ["fund_code", "dya"]})),
        [
            "unique[1]: there is no column `dya`; did you mean `day`? the columns are fund_code, aum, fee, day, n"
        ]
    );
}

#[test]
fn rules_that_do_not_fit_their_column_are_refused() {
    assert_eq!(
        bound(json!({
            "rules": {
                "aum": [{"min": 0}, {"before": "2024-01-01"}, {"between": ["09:00", "10:00"]}],
                "n": [{"matches": "^1"}, {"before": "2024-01-01"}, {"type": "date"}, {"one_of": [1, 1.5, "x"]}],
                "day": [{"min": 5}, {"length": 10}],
                "fee": [{"max": "2024-01-01"}, {"expr": "fee * 2"}, {"expr": "fees < 2"}],
            },
            "record_rules": [{"name": "r", "expr": "n + 1"}],
        })),
        [
            "rules.aum[0].min: `aum` is a string; declare its type (`columns: {aum: decimal(18, 2)}` or a cast step) to compare it with numbers",
            "rules.aum[1].before: `aum` is a string; declare its type (`columns: {aum: date}` or a cast step) to compare it with dates and times",
            "rules.aum[2].between: `aum` is a string; declare its type (`columns: {aum: time}` or a cast step) to compare it with dates and times",
            "rules.n[0].matches: `n` is an int; `matches` judges text; compare it with `between`, `one_of` or `expr`",
            "rules.n[1].before: `n` is an int; `before` compares dates and times; use `max` for numbers",
            "rules.n[2].type: `n` is an int, not a date",
            "rules.n[3].one_of[1]: `1.5` cannot be a value of `n`, an int",
            "rules.n[3].one_of[2]: `x` is not a number",
            "rules.day[0].min: `5` is not a date or a timestamp such as 2024-12-31 or 2024-12-31T18:00:00",
            "rules.day[1].length: `day` is a date; `length` judges text; compare it with `between`, `one_of` or `expr`",
            "rules.fee[0].max: `2024-01-01` is not a number",
            "rules.fee[1].expr: `fee * 2` is a double, not a condition; a rule's expression is true or false, for example `aum >= 0`",
            "rules.fee[2].expr 0..4: there is no column `fees`",
            "record_rules[0].expr: `n + 1` is a double, not a condition; a rule's expression is true or false, for example `aum >= 0`",
        ]
    );
}

#[test]
fn a_step_without_order_has_no_ordered_part() {
    let input = batch(&[("x", "int")], &[], 1);
    let local_only = step(json!({"rules": {"x": {"min": 0}}}));
    assert!(bind(&local_only, &input).unwrap().ordered.is_none());
    assert!(bind(&Validate::new().unique(["x"]), &input).unwrap().ordered.is_some());
}

#[test]
fn the_schema_describes_every_option() {
    let mut generator = schemars::SchemaGenerator::default();
    let schema = (KINDS[0].schema)(&mut generator);
    let definitions = Value::Object(generator.take_definitions(true));
    assert_eq!(schema.as_value()["$ref"], "#/$defs/Options");
    let options = definitions["Options"]["properties"].as_object().unwrap();
    let names: Vec<&str> = options.keys().map(String::as_str).collect();
    assert_eq!(names, ["rules", "record_rules", "unique", "unique_nulls", "on_failure", "quality"]);
    for (name, property) in options {
        assert!(property["description"].is_string(), "{name}");
    }
    let rule = definitions["Rule"]["properties"].as_object().unwrap();
    assert_eq!(rule.len(), 15);
    for (name, property) in rule {
        assert!(property["description"].is_string(), "{name}");
    }
}
