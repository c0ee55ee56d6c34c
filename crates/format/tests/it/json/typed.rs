//! Columns, their types, and what is made of values that a plan reads otherwise.

use arrow_schema::DataType;
use gristmill_core::text::{Case, ColumnPlan};
use gristmill_core::types::type_name;
use gristmill_core::{FieldType, Findings};
use gristmill_format::json::{Columns, Layout, Nested, ReadOptions, Reader, discover};
use gristmill_format::{Reader as _, Sizes};
use proptest::prelude::*;
use serde_json::json;

use super::{How, trickle};

fn types(text: &str) -> Vec<String> {
    let columns = How::of(Layout::Lines).discover(text.as_bytes()).unwrap();
    let plan = columns.plan();
    let name = |column: &ColumnPlan| format!("{} {}", column.name, type_name(&column.field()));
    plan.columns.iter().map(name).collect()
}

#[test]
fn a_column_has_the_type_that_takes_all_its_values() {
    for (text, expected) in [
        ("{\"a\": 1}\n{\"b\": true, \"a\": null}", vec!["a int", "b bool"]),
        ("{\"a\": null}", vec!["a string"]),
        ("{\"a\": 1}\n{\"a\": 1.5}", vec!["a double"]),
        ("{\"a\": 1e3}", vec!["a double"]),
        ("{\"a\": 9223372036854775807}", vec!["a int"]),
        ("{\"a\": 9223372036854775808}\n{\"a\": 1}", vec!["a decimal(38, 0)"]),
        ("{\"a\": -99999999999999999999999999999999999999}", vec!["a decimal(38, 0)"]),
        ("{\"a\": 100000000000000000000000000000000000000}", vec!["a double"]),
        ("{\"a\": 18446744073709551616}\n{\"a\": 0.5}", vec!["a double"]),
        ("{\"a\": 1}\n{\"a\": \"1\"}", vec!["a json"]),
        ("{\"a\": {}}", vec!["a json"]),
        ("{\"a\": [1]}\n{\"a\": {\"b\": 1}}", vec!["a json"]),
        ("{\"a\": [1]}\n{\"a\": 1}", vec!["a json"]),
    ] {
        assert_eq!(types(text), expected, "{text}");
    }
    // A record that is rejected has no say.
    assert_eq!(types("{\"a\": 1}\n{\"a\": \"x\", \"b\": }"), ["a int"]);
    assert_eq!(
        types("{\"a\": 1}\n{\"a\": 1, \"a\": \"x\"}\n{\"c\": 1, \"\\u0063\": 2}"),
        ["a int"]
    );
}

#[test]
fn nested_values_are_structs_and_lists() {
    let how = How::of(Layout::Lines);
    let text =
        b"{\"a\": {\"x\": [1, null], \"y\": {\"z\": \"s\"}}}\n{\"a\": {\"x\": [2.5], \"w\": []}}";
    let columns = how.discover(text).unwrap();
    let plan = columns.plan();
    assert_eq!(plan.columns[0].field_type, FieldType::Json);
    let DataType::Struct(members) = plan.columns[0].field().data_type().clone() else {
        panic!("not a struct")
    };
    let names: Vec<&str> = members.iter().map(|member| member.name().as_str()).collect();
    assert_eq!(names, ["x", "y", "w"]);
    let DataType::List(item) = members[0].data_type() else { panic!("not a list") };
    assert_eq!(item.data_type(), &DataType::Float64);
    let DataType::List(item) = members[2].data_type() else { panic!("not a list") };
    assert_eq!(item.data_type(), &DataType::Utf8View);

    let mut as_json = how.clone();
    as_json.options.nested = Nested::Json;
    let all = as_json.read_as(text, |plan| assert_eq!(plan.columns[0].nested, None)).unwrap();
    assert_eq!(type_name(all.batches[0].schema().field(0)), "json");
    assert_eq!(all.rows[0], json!({"a": {"x": [1, null], "y": {"z": "s"}}}));
}

#[test]
fn an_object_with_very_many_keys_is_kept_as_text() {
    let records: String =
        (0..1_200).map(|n| format!("{{\"by_id\": {{\"k{n}\": {n}}}}}\n")).collect();
    assert_eq!(types(&records), ["by_id json"]);
    let records: String = (0..10_050).map(|n| format!("{{\"k{n}\": {n}}}\n")).collect();
    let error = How::of(Layout::Lines).discover(records.as_bytes()).unwrap_err();
    assert!(error.to_string().contains("more than 10000 different keys"));
}

#[test]
fn a_plan_reads_the_text_of_values() {
    let text = br#"{"price": 1200.10, "big": 123456789012345678901234567890.12345678, "day": "2024-02-29", "code": 7, "flag": true, "any": {"k": [1, "a b"]}, "esc": " \u0041\n"}
{"price": "n/a", "big": null, "day": 20240229, "code": "007", "flag": "no", "any": "text", "esc": null}
{"price": [1], "code": false}"#;
    let how = How::of(Layout::Lines);
    let all = how
        .read_as(text, |plan| {
            let decimal = |precision, scale| FieldType::Decimal { precision, scale };
            for (name, field_type) in [
                ("price", decimal(18, 2)),
                ("big", decimal(38, 8)),
                ("day", FieldType::Date),
                ("code", FieldType::String),
                ("flag", FieldType::Bool),
                ("any", FieldType::String),
                ("esc", FieldType::String),
            ] {
                let column = plan.column_mut(name).unwrap();
                column.field_type = field_type;
                column.declared = true;
                column.nested = None;
            }
            plan.column_mut("price").unwrap().clean.nulls = vec!["n/a".into()];
            let esc = plan.column_mut("esc").unwrap();
            esc.clean.trim = true;
            esc.clean.case = Case::Lower;
            esc.clean.default = Some("none".into());
            let mut absent = ColumnPlan::new("absent", FieldType::Int);
            absent.clean.default = Some("3".into());
            plan.columns.push(absent);
        })
        .unwrap();
    assert_eq!(
        all.rejected(),
        ["2 type type: `20240229` is not a date", "3 type type: `[1]` is not a decimal(18, 2)",]
    );
    let row = gristmill_core::json::row_to_string(all.batches[0].columns(), 0);
    assert_eq!(
        row,
        "{\"price\":1200.10,\"big\":123456789012345678901234567890.12345678,\"day\":\"2024-02-29\",\
         \"code\":\"7\",\"flag\":true,\"any\":\"{\\\"k\\\":[1,\\\"a b\\\"]}\",\"esc\":\"a\",\"absent\":3}"
    );
}

#[test]
fn values_of_another_kind_are_flaws_that_name_the_place() {
    let how = How::of(Layout::Lines);
    let text = br#"{"a": {"b": [{"c": 1}]}}
{"a": {"b": [{"c": 2}, {"c": "x"}]}}
{"a": {"b": 5}}
{"a": "s"}"#;
    let only_first = how.discover(text.split(|&byte| byte == b'\n').next().unwrap()).unwrap();
    let all = how.read_as(text, |plan| *plan = only_first.plan()).unwrap();
    assert_eq!(all.rows, [json!({"a": {"b": [{"c": 1}]}})]);
    let fields: Vec<_> = all
        .findings
        .rejects()
        .iter()
        .map(|reject| (reject.errors[0].field.clone().unwrap(), reject.errors[0].message.clone()))
        .collect();
    let expected = [
        ("a.b[1].c", "`x` is not an int"),
        ("a.b", "`5` is not an array"),
        ("a", "`\"s\"` is not an object"),
    ];
    assert_eq!(fields.len(), expected.len());
    for ((field, message), expected) in fields.iter().zip(expected) {
        assert_eq!((field.as_ref(), message.as_str()), expected);
    }
}

#[test]
fn a_number_that_no_double_holds_is_not_one() {
    let all = How::of(Layout::Lines).read(b"{\"a\": 1e999}\n{\"a\": -1e308}").unwrap();
    assert_eq!(all.rejected(), ["1 type type: `1e999` is not a double"]);
    assert_eq!(all.rows, [json!({"a": -1e308})]);
}

#[test]
fn columns_that_are_not_planned_are_left_out() {
    let how = How::of(Layout::Lines);
    let all = how
        .read_as(b"{\"a\": 1, \"b\": 2}\n{\"b\": 3, \"c\": 4}", |plan| {
            plan.columns.retain(|column| column.name == "b");
            plan.columns[0].name = "renamed".into();
        })
        .unwrap();
    assert_eq!(all.rows, [json!({"renamed": 2}), json!({"renamed": 3})]);
}

#[test]
fn options_say_what_is_wrong_with_them() {
    let options =
        |records: &str| ReadOptions { records: Some(records.into()), ..Default::default() };
    assert!(options("data.items").check(Layout::Document).is_empty());
    assert!(options("data..items").check(Layout::Document)[0].message.contains("empty key"));
    assert!(options("data").check(Layout::Lines)[0].message.contains("NDJSON"));
    assert!(serde_json::from_str::<ReadOptions>(r#"{"nestd": "json"}"#).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn columns_do_not_depend_on_how_the_input_is_cut(
        values in prop::collection::vec(
            ("[a-c]", prop::sample::select(vec![
                "1", "null", "2.5", "\"s\"", "true", "[1]", "[\"x\", null]", "{\"k\": 1}",
                "{\"k\": [], \"l\": 2}", "{}", "99999999999999999999", "bad",
            ])),
            1..30,
        ),
        split: prop::sample::Index,
        chunk in 1usize..50,
        step in 1usize..9,
    ) {
        let lines: Vec<String> =
            values.iter().map(|(key, value)| format!("{{\"{key}\": {value}}}\n")).collect();
        let whole = How::of(Layout::Lines).discover(lines.concat().as_bytes()).unwrap();

        let mut how = How::of(Layout::Lines);
        how.sizes = Sizes { chunk, batch: chunk, max_record: 1 << 20 };
        how.step = step;
        prop_assert_eq!(&how.discover(lines.concat().as_bytes()).unwrap(), &whole);

        // Over two inputs: one after the other into the same columns, or each alone and merged.
        let (first, second) = lines.split_at(split.index(lines.len()));
        let mut both = Columns::default();
        for part in [first, second] {
            let (name, input) = ("x".into(), trickle(part.concat().as_bytes(), step));
            discover(name, input, how.layout, &how.options, how.sizes, &mut both).unwrap();
        }
        prop_assert_eq!(&both, &whole);
        let mut merged = how.discover(first.concat().as_bytes()).unwrap();
        merged.merge(how.discover(second.concat().as_bytes()).unwrap()).unwrap();
        prop_assert_eq!(&merged.plan(), &whole.plan());
    }
}

#[test]
fn few_of_very_many_columns_make_small_batches() {
    let all: Vec<String> = (0..4_000).map(|i| format!("\"key {i}\": {i}")).collect();
    let text = format!("{{{}}}\n{}", all.join(","), "{\"key 7\": 1}\n".repeat(500));
    let how = How::of(Layout::Lines);
    let columns = how.discover(text.as_bytes()).unwrap();
    let input = trickle(text.as_bytes(), how.step);
    let reader = Reader::open("x".into(), input, how.layout, &how.options, how.sizes).unwrap();
    let mut reader = reader.with_columns(columns);
    assert_eq!(reader.begin(None).unwrap().fields().len(), 4_000);
    let (mut rows, mut largest) = (0, 0);
    while let Some(mut chunk) = reader.next_chunk().unwrap() {
        while let Some(batch) = chunk.next_batch(&mut Findings::default()).unwrap() {
            rows += batch.num_rows();
            largest = largest.max(batch.num_rows());
        }
    }
    assert_eq!(rows, 501);
    assert!(largest * 4_000 <= 1 << 20, "{largest} rows");
}
