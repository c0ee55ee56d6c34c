//! Steps on batches: what becomes of columns and records.

use std::sync::Arc;

use arrow_array::types::Int64Type;
use arrow_array::{
    Array, ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array,
    Int64Array, ListArray, StringViewArray, StructArray, TimestampMicrosecondArray,
};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, Field, Fields};
use gristmill_core::{Batch, FieldType, Stage, StepPlan};
use gristmill_transform::{
    Cast, CastTo, Clean, Derive, Drop, Explode, Filter, Flatten, MapFields, Select,
};

use crate::{apply, batch, flaws, rows, told};

fn text(name: &str, values: &[Option<&str>]) -> (Field, ArrayRef) {
    (FieldType::String.field(name), Arc::new(StringViewArray::from(values.to_vec())))
}

fn ints(name: &str, values: &[Option<i64>]) -> (Field, ArrayRef) {
    (FieldType::Int.field(name), Arc::new(Int64Array::from(values.to_vec())))
}

fn after(step: &dyn StepPlan, batch: Batch) -> Vec<String> {
    let (batch, _) = apply(step, batch).unwrap();
    assert_eq!(flaws(&batch), []);
    rows(&batch)
}

#[test]
fn clean_renames_trims_nulls_cases_and_fills() {
    let dirty = || {
        batch(vec![
            text("Fund-Code ", &[Some(" fnd1 "), Some("n/a"), None]),
            text("Currency", &[Some("usd"), Some(" eur"), Some("")]),
            ints("Units", &[Some(1), None, Some(3)]),
        ])
    };
    let clean = Clean::new()
        .snake_case()
        .trim_all()
        .upper(["fund_code", "Currency"])
        .nulls(["n/a", ""])
        .default_value("currency", "chf")
        .default_value("units", "0");
    assert_eq!(
        after(&clean, dirty()),
        [
            r#"{"fund_code":"FND1","currency":"USD","units":1}"#,
            r#"{"fund_code":null,"currency":"EUR","units":0}"#,
            r#"{"fund_code":null,"currency":"chf","units":3}"#,
        ]
    );
    let wrong = Clean::new()
        .snake_case()
        .upper(["fundcode", "currency"])
        .lower(["currency"])
        .trim(["cur"])
        .default_value("units", "none");
    assert_eq!(
        told(apply(&wrong, dirty())),
        [
            "trim[0]: no column `cur`",
            "upper[0]: no column `fundcode`",
            "lower[0]: `currency` is already in `upper`",
            "default.units: `none` is not an int",
        ]
    );
}

#[test]
fn a_default_takes_the_place_of_a_null_token_of_its_length() {
    let clean = Clean::new().nulls(["n/a"]).default_value("currency", "EUR");
    let currencies = batch(vec![text("currency", &[Some("n/a"), Some("USD")])]);
    assert_eq!(after(&clean, currencies), [r#"{"currency":"EUR"}"#, r#"{"currency":"USD"}"#]);
}

#[test]
fn clean_leaves_json_and_nested_columns_alone() {
    let json = (
        FieldType::Json.field("j"),
        Arc::new(StringViewArray::from(vec![Some(r#"{"a":"x"}"#), Some("null")])) as ArrayRef,
    );
    let columns = vec![json, text("s", &[Some("x"), Some("null")])];
    let clean = Clean::new().upper(["s"]).nulls(["null"]);
    assert_eq!(
        after(&clean, batch(columns.clone())),
        [r#"{"j":{"a":"x"},"s":"X"}"#, r#"{"j":null,"s":null}"#]
    );
    assert_eq!(
        told(apply(&Clean::new().upper(["j"]), batch(columns))),
        ["upper[0]: `j` holds JSON documents, which keep their case"]
    );
    assert_eq!(
        told(apply(&Clean::new().lower(["address"]), nested())),
        [
            "lower[0]: `address` is not text: its type is Struct(\"city\": Utf8View, \"geo\": Struct(\"lat\": Int64))"
        ]
    );
}

#[test]
fn cast_reads_text_and_notes_what_does_not_fit() {
    let columns = || {
        batch(vec![
            text("n", &[Some("1"), Some("x"), Some("")]),
            text("d", &[Some("31/12/2024"), Some("2024-12-31"), None]),
        ])
    };
    let cast = Cast::new()
        .column("d", CastTo::from(FieldType::Date).formats(["%d/%m/%Y"]))
        .column("n", FieldType::Int);
    let (cast_batch, _) = apply(&cast, columns()).unwrap();
    assert_eq!(
        rows(&cast_batch),
        [r#"{"n":1,"d":"2024-12-31"}"#, r#"{"n":null,"d":null}"#, r#"{"n":null,"d":null}"#]
    );
    assert_eq!(
        flaws(&cast_batch),
        [
            (1, "n".into(), "`x` is not an int".into()),
            (1, "d".into(), "`2024-12-31` is not a date of the form %d/%m/%Y".into()),
        ]
    );
    assert!(
        cast_batch
            .flaws()
            .iter()
            .all(|flaw| flaw.stage == Stage::Type && flaw.reason.rule == "type")
    );
    let wrong = Cast::new().column("m", FieldType::Int).column("dd", FieldType::Date);
    assert_eq!(told(apply(&wrong, columns())), ["m: no column `m`", "dd: no column `dd`"]);
}

/// Casts one column and answers its values, failures marked with `!`.
fn cast(from: ArrayRef, to: &str) -> Result<Vec<String>, String> {
    let field = Field::new("x", from.data_type().clone(), true);
    let step = Cast::new().column("x", to.parse::<FieldType>().unwrap());
    let (cast, _) =
        apply(&step, batch(vec![(field, from)])).map_err(|found| found[0].message.clone())?;
    let failed = flaws(&cast);
    let column = cast.columns().column(0);
    Ok((0..column.len())
        .map(|row| match failed.iter().find(|(at, ..)| *at as usize == row) {
            Some((.., message)) => {
                assert!(column.is_null(row));
                format!("! {message}")
            }
            None => gristmill_core::text::value_text(column, row).unwrap_or_else(|| "-".into()),
        })
        .collect())
}

#[test]
fn casts_between_types_lose_nothing_unsaid() {
    let double = || {
        Arc::new(Float64Array::from(vec![
            Some(300.0),
            Some(300.5),
            Some(1e300),
            Some(f64::NAN),
            None,
        ])) as ArrayRef
    };
    assert_eq!(
        cast(double(), "int").unwrap(),
        ["300", "! `300.5` is not an int", "! `1e300` is not an int", "! `NaN` is not an int", "-"]
    );
    assert_eq!(
        cast(double(), "decimal(6, 1)").unwrap(),
        [
            "300.0",
            "300.5",
            "! `1e300` is not a decimal(6, 1)",
            "! `NaN` is not a decimal(6, 1)",
            "-"
        ]
    );
    assert_eq!(cast(double(), "string").unwrap(), ["300.0", "300.5", "1e300", "NaN", "-"]);
    let edges = Arc::new(Float64Array::from(vec![
        -9_223_372_036_854_775_808.0,
        9_223_372_036_854_775_808.0,
        -0.0,
    ]));
    assert_eq!(
        cast(edges, "int").unwrap(),
        ["-9223372036854775808", "! `9.223372036854776e18` is not an int", "0"]
    );
    let decimal = || {
        let values = Decimal128Array::from(vec![Some(1_500), Some(1_505), Some(-200), None]);
        Arc::new(values.with_precision_and_scale(10, 3).unwrap()) as ArrayRef
    };
    assert_eq!(
        cast(decimal(), "decimal(5, 2)").unwrap(),
        ["1.50", "! `1.505` is not a decimal(5, 2)", "-0.20", "-"]
    );
    assert_eq!(
        cast(decimal(), "int").unwrap(),
        ["! `1.500` is not an int", "! `1.505` is not an int", "! `-0.200` is not an int", "-"]
    );
    assert_eq!(cast(decimal(), "double").unwrap(), ["1.5", "1.505", "-0.2", "-"]);
    let int = || Arc::new(Int64Array::from(vec![Some(1), Some(0), Some(1000), None])) as ArrayRef;
    assert_eq!(cast(int(), "double").unwrap(), ["1.0", "0.0", "1000.0", "-"]);
    assert_eq!(cast(int(), "bool").unwrap(), ["true", "false", "! `1000` is not a bool", "-"]);
    assert_eq!(
        cast(int(), "decimal(3, 0)").unwrap(),
        ["1", "0", "! `1000` is not a decimal(3, 0)", "-"]
    );
    assert_eq!(cast(int(), "date").unwrap_err(), "`x` is of type int and cannot be cast to date");
    assert_eq!(cast(Arc::new(Int32Array::from(vec![7])), "int").unwrap(), ["7"]);
    assert_eq!(cast(Arc::new(BooleanArray::from(vec![true, false])), "int").unwrap(), ["1", "0"]);
    let at = || {
        Arc::new(TimestampMicrosecondArray::from(vec![Some(90_061_000_001), Some(-1), None]))
            as ArrayRef
    };
    assert_eq!(cast(at(), "date").unwrap(), ["1970-01-02", "1969-12-31", "-"]);
    assert_eq!(cast(at(), "time").unwrap(), ["01:01:01.000001", "23:59:59.999999", "-"]);
    assert_eq!(cast(at(), "timestamptz").unwrap()[0], "1970-01-02T01:01:01.000001Z");
    let day = Arc::new(Date32Array::from(vec![1]));
    assert_eq!(cast(day, "timestamp").unwrap(), ["1970-01-02T00:00:00"]);
    let (_, address) = nested_columns().remove(0);
    assert_eq!(cast(address, "string").unwrap()[0], r#"{"city":"Paris","geo":{"lat":48}}"#);
    let (_, items) = nested_columns().remove(1);
    assert_eq!(cast(Arc::clone(&items), "json").unwrap()[0], "[1,2]");
    assert!(cast(items, "int").is_err());
}

#[test]
fn json_columns_are_read_as_their_values() {
    let json = StringViewArray::from(vec![Some("5"), Some("\"5\""), Some("{}"), None]);
    let columns = batch(vec![(FieldType::Json.field("x"), Arc::new(json))]);
    let (cast, _) = apply(&Cast::new().column("x", FieldType::Int), columns).unwrap();
    assert_eq!(rows(&cast), [r#"{"x":5}"#, r#"{"x":5}"#, r#"{"x":null}"#, r#"{"x":null}"#]);
    assert_eq!(flaws(&cast), [(2, "x".into(), "`{}` is not an int".into())]);

    let json = StringViewArray::from(vec!["[1]"]);
    let columns = batch(vec![(FieldType::Json.field("x"), Arc::new(json))]);
    let copy = Derive::new().column("copy", "x").column("text", "x || ''");
    assert_eq!(after(&copy, columns), [r#"{"x":[1],"copy":[1],"text":"[1]"}"#]);
}

fn users() -> Batch {
    batch(vec![
        ints("user_id", &[Some(1), Some(2)]),
        text("user_name", &[Some("a"), Some("b")]),
        text("note", &[None, Some("n")]),
    ])
}

#[test]
fn map_select_and_drop_move_columns_only() {
    let map = MapFields::new([("user_id", "id"), ("user_name", "name")]);
    assert_eq!(after(&map, users())[0], r#"{"id":1,"name":"a","note":null}"#);
    let swap = MapFields::new([("user_id", "note"), ("note", "user_id")]);
    assert_eq!(after(&swap, users())[0], r#"{"note":1,"user_name":"a","user_id":null}"#);
    assert_eq!(
        told(apply(&MapFields::new([("user_id", "note"), ("usr_name", "x")]), users())),
        ["usr_name: no column `usr_name`", "user_id: there would be two columns `note`"]
    );
    assert_eq!(after(&Select::new(["note", "user_id"]), users())[1], r#"{"note":"n","user_id":2}"#);
    assert_eq!(after(&Drop::new(["note"]), users())[1], r#"{"user_id":2,"user_name":"b"}"#);
    assert_eq!(told(apply(&Select::new(["notes"]), users())), ["[0]: no column `notes`"]);
    assert_eq!(
        told(apply(&Drop::new(["user_id", "user_name", "note"]), users())),
        ["no column would be left"]
    );
}

#[test]
fn derive_computes_in_order_and_rejects_rows_without_a_value() {
    let columns = || batch(vec![ints("a", &[Some(6), Some(7)]), ints("b", &[Some(2), Some(0)])]);
    let derive =
        Derive::new().column("ratio", "a / b").column("a", "a * 10").column("twice", "ratio + a");
    let (derived, mut findings) = apply(&derive, columns()).unwrap();
    assert_eq!(rows(&derived)[0], r#"{"a":60,"b":2,"ratio":3,"twice":63}"#);
    let left = derived.settle(&mut findings).unwrap();
    assert_eq!(left.num_rows(), 1);
    let reject = &findings.rejects()[0];
    assert_eq!((reject.ordinal, reject.stage), (1, Stage::Transform));
    assert_eq!(reject.errors[0].field.as_deref(), Some("ratio"));
    assert_eq!(reject.errors[0].rule, "derive");
    assert_eq!(reject.errors[0].message, "division by zero in `a / b`");

    let wrong = Derive::new().column("x", "c + 1").column("y", "x * 2").column("z", "a || lwer(b)");
    let mistakes = apply(&wrong, columns()).unwrap_err();
    let shown: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["x: no column `c`", "z: no function `lwer`"]);
    assert_eq!((mistakes[0].span.clone(), mistakes[1].span.clone()), (Some(0..1), Some(5..9)));
}

#[test]
fn filter_counts_what_it_takes_out_and_rejects_what_it_cannot_judge() {
    let columns = || {
        batch(vec![
            ints("a", &[Some(6), Some(7), Some(1), None, Some(9)]),
            ints("b", &[Some(2), Some(0), Some(1), Some(1), Some(1)]),
        ])
    };
    let (kept, mut findings) = apply(&Filter::new("a / b > 2"), columns()).unwrap();
    let kept = kept.settle(&mut findings).unwrap();
    assert_eq!(rows(&kept), [r#"{"a":6,"b":2}"#, r#"{"a":9,"b":1}"#]);
    assert_eq!((findings.filtered, findings.rejects().len()), (2, 1));
    assert_eq!(findings.rejects()[0].errors[0].message, "division by zero in `a / b > 2`");
    assert_eq!(
        told(apply(&Filter::new("a + b"), columns())),
        ["`a + b` is not a condition: its type is int"]
    );
}

fn nested_columns() -> Vec<(Field, ArrayRef)> {
    let geo = StructArray::new(
        Fields::from(vec![Field::new("lat", DataType::Int64, true)]),
        vec![Arc::new(Int64Array::from(vec![48, 59, 7]))],
        None,
    );
    let address = StructArray::new(
        Fields::from(vec![
            Field::new("city", DataType::Utf8View, true),
            Field::new("geo", geo.data_type().clone(), true),
        ]),
        vec![Arc::new(StringViewArray::from(vec!["Paris", "Oslo", "hidden"])), Arc::new(geo)],
        Some(NullBuffer::from(vec![true, true, false])),
    );
    let items = ListArray::from_iter_primitive::<Int64Type, _, _>([
        Some(vec![Some(1), Some(2)]),
        Some(vec![]),
        None,
    ]);
    vec![
        (Field::new("address", address.data_type().clone(), true), Arc::new(address)),
        (Field::new("items", items.data_type().clone(), true), Arc::new(items)),
        text("s", &[Some("a"), Some("b"), Some("c")]),
    ]
}

fn nested() -> Batch {
    batch(nested_columns().drain(..1).collect())
}

#[test]
fn flatten_makes_columns_of_fields_and_nulls_of_null_structs() {
    assert_eq!(
        after(&Flatten::all(), nested()),
        [
            r#"{"address_city":"Paris","address_geo_lat":48}"#,
            r#"{"address_city":"Oslo","address_geo_lat":59}"#,
            r#"{"address_city":null,"address_geo_lat":null}"#,
        ]
    );
    assert_eq!(
        after(&Flatten::columns(["address"]).depth(1).separator("."), nested())[0],
        r#"{"address.city":"Paris","address.geo":{"lat":48}}"#
    );
    let mut columns = nested_columns();
    columns.push(text("address_city", &[None, None, None]));
    assert_eq!(
        told(apply(&Flatten::all(), batch(columns))),
        ["there would be two columns `address_city`"]
    );
    let json =
        batch(vec![(FieldType::Json.field("j"), Arc::new(StringViewArray::from(vec!["{}"])))]);
    let mistakes = apply(&Flatten::columns(["j"]), json).unwrap_err();
    assert_eq!(mistakes[0].to_string(), "columns[0]: `j` is not a struct: its type is json");
    assert!(mistakes[0].hint.as_deref().is_some_and(|hint| hint.contains("nested: struct")));
}

#[test]
fn explode_makes_a_record_of_each_element() {
    let columns = || batch(nested_columns().drain(1..).collect());
    let step = Explode::new("items").position("n");
    let (exploded, findings) = apply(&step, columns()).unwrap();
    assert_eq!(
        rows(&exploded),
        [
            r#"{"items":1,"s":"a","n":1}"#,
            r#"{"items":2,"s":"a","n":2}"#,
            r#"{"items":null,"s":"b","n":null}"#,
            r#"{"items":null,"s":"c","n":null}"#,
        ]
    );
    assert_eq!(findings.filtered, 0);
    assert_eq!((0..4).map(|row| exploded.rows().ordinal(row)).collect::<Vec<_>>(), [0, 0, 1, 2]);

    let (exploded, findings) = apply(&Explode::new("items").drop_empty(), columns()).unwrap();
    assert_eq!(rows(&exploded), [r#"{"items":1,"s":"a"}"#, r#"{"items":2,"s":"a"}"#]);
    assert_eq!(findings.filtered, 2);
    assert_eq!(
        told(apply(&Explode::new("s").position("s"), columns())),
        [
            "position: there is a column `s` already",
            "column: `s` is not a list: its type is string"
        ]
    );
}
