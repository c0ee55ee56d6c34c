//! Expressions: values, types, mistakes, rows that fail.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{
    Array, ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array,
    RecordBatch, StringViewArray, StructArray, TimestampMicrosecondArray, UInt32Array,
};
use arrow_ord::sort::sort_to_indices;
use arrow_schema::{DataType, Field, Fields};
use arrow_select::take::take;
use gristmill_core::text::value_text;
use gristmill_core::{Evaluated, ExpressionCompiler, ExpressionError, Known};
use gristmill_transform::Sql;
use proptest::prelude::*;

fn funds() -> RecordBatch {
    let city = StringViewArray::from(vec![Some("Paris"), None, Some("Oslo")]);
    let address = StructArray::new(
        Fields::from(vec![Field::new("City", DataType::Utf8View, true)]),
        vec![Arc::new(city)],
        None,
    );
    RecordBatch::try_from_iter([
        (
            "code",
            Arc::new(StringViewArray::from(vec![Some("fnd1"), Some(" Fnd2 "), None])) as ArrayRef,
        ),
        (
            "aum",
            Arc::new(
                Decimal128Array::from(vec![Some(120_050), Some(-50), None])
                    .with_precision_and_scale(18, 2)
                    .unwrap(),
            ),
        ),
        ("fee", Arc::new(Float64Array::from(vec![Some(0.01), Some(0.5), None]))),
        ("units", Arc::new(Int64Array::from(vec![Some(4), Some(0), None]))),
        ("as_of_date", Arc::new(Date32Array::from(vec![Some(0), Some(19_000), None]))),
        (
            "at",
            Arc::new(TimestampMicrosecondArray::from(vec![Some(0), Some(86_400_000_000), None])),
        ),
        ("active", Arc::new(BooleanArray::from(vec![Some(true), Some(false), None]))),
        ("Fund Name", Arc::new(StringViewArray::from(vec!["a", "b", "ß"]))),
        ("user", Arc::new(StringViewArray::from(vec!["u", "v", "w"]))),
        ("address", Arc::new(address)),
    ])
    .unwrap()
}

fn evaluate(text: &str) -> Evaluated {
    let batch = funds();
    let compiled = Sql::new().compile(text, &batch.schema()).unwrap_or_else(|mistake| {
        panic!("{text}: {mistake:?}");
    });
    let evaluated = compiled.evaluate(&batch).unwrap();
    assert_eq!(evaluated.values.len(), batch.num_rows(), "{text}");
    assert_eq!(evaluated.values.data_type(), compiled.data_type(), "{text}");
    evaluated
}

/// The values as text, nulls as `-`.
fn values(text: &str) -> String {
    let evaluated = evaluate(text);
    assert_eq!(evaluated.failures, [], "{text}");
    let shown: Vec<String> = (0..evaluated.values.len())
        .map(|row| value_text(&evaluated.values, row).unwrap_or_else(|| "-".into()))
        .collect();
    shown.join(" ")
}

fn mistake(text: &str) -> ExpressionError {
    match Sql::new().compile(text, &funds().schema()) {
        Err(mistake) => mistake,
        Ok(compiled) => panic!("{text} compiled to {:?}", compiled.data_type()),
    }
}

/// The part of the text that the mistake points at.
fn pointed(text: &str) -> &str {
    let found = mistake(text);
    &text[found.span.clone().unwrap_or_else(|| panic!("{text}: no place in {found:?}"))]
}

#[test]
fn functions_of_text_work_on_the_engines_strings() {
    for (text, expected) in [
        ("upper(trim(code))", "FND1 FND2 -"),
        ("lower(code)", "fnd1  fnd2  -"),
        ("substr(code, 1, 3)", "fnd  Fn -"),
        ("substring(code from 2 for 2)", "nd Fn -"),
        ("code || '-' || user", "fnd1-u  Fnd2 -v -"),
        ("concat(code, units)", "fnd14  Fnd2 0 "),
        ("coalesce(code, 'none')", "fnd1  Fnd2  none"),
        ("nullif(user, 'v')", "u - w"),
        ("replace(code, 'fnd', 'F')", "F1  Fnd2  -"),
        ("regexp_like(code, '^fnd\\d$')", "true false -"),
        ("regexp_replace(code, '\\d', '#')", "fnd#  Fnd#  -"),
        ("split_part('a,b', ',', 2)", "b b b"),
        ("length(code)", "4 6 -"),
        ("lpad(user, 3, '0')", "00u 00v 00w"),
        ("code like 'fnd%'", "true false -"),
        ("code ilike '%FND%'", "true true -"),
        ("code ~ '[0-9]'", "true true -"),
        ("user in ('u', 'w')", "true false true"),
        ("user between 'u' and 'v'", "true true false"),
        ("starts_with(code, 'fnd')", "true false -"),
        ("CAST(units AS string)", "4 0 -"),
        ("upper(\"Fund Name\")", "A B SS"),
        ("address.city", "Paris - Oslo"),
        (
            "md5(user)",
            "7b774effe4a349c6dd82ad4f4f21d34c 9e3669d19b675bd57058fd4664205d2a f1290186a5d0b1ceab27f4e77c0c5d68",
        ),
    ] {
        assert_eq!(values(text), expected, "{text}");
    }
}

#[test]
fn dates_and_conditions() {
    for (text, expected) in [
        ("date_part('year', as_of_date)", "1970 2022 -"),
        ("extract(month from as_of_date)", "1 1 -"),
        ("as_of_date >= '2022-01-01'", "false true -"),
        ("as_of_date = date '2022-01-08'", "false true -"),
        ("as_of_date + interval '1 day'", "1970-01-02 2022-01-09 -"),
        ("at < timestamp '1970-01-01T12:00:00'", "true false -"),
        ("to_date('31/12/2024', '%d/%m/%Y')", "2024-12-31 2024-12-31 2024-12-31"),
        ("date_trunc('month', as_of_date)", "1970-01-01T00:00:00 2022-01-01T00:00:00 -"),
        (
            "to_timestamp('2024-01-02T03:04:05.123456789')",
            "2024-01-02T03:04:05.123456 2024-01-02T03:04:05.123456 2024-01-02T03:04:05.123456",
        ),
        ("CAST('2024-02-29' AS date)", "2024-02-29 2024-02-29 2024-02-29"),
        ("case when active then 'yes' else 'no' end", "yes no no"),
        ("case when units = 0 then 0 else 100 / units end", "25 0 -"),
        ("units <> 0 and 100 / units > 10", "true false -"),
        ("active is null", "false false true"),
        ("not active or units > 3", "true true -"),
        ("user", "u v w"),
        ("UNITS", "4 0 -"),
        ("'a constant'", "a constant a constant a constant"),
        ("null", "- - -"),
    ] {
        assert_eq!(values(text), expected, "{text}");
    }
}

#[test]
fn literals_take_the_type_beside_them() {
    for (text, data_type, expected) in [
        ("fee * 100", DataType::Float64, "1.0 50.0 -"),
        ("fee * 0.5", DataType::Float64, "0.005 0.25 -"),
        ("coalesce(fee, 0.25)", DataType::Float64, "0.01 0.5 0.25"),
        ("case when active then fee else 0.1 end", DataType::Float64, "0.01 0.1 0.1"),
        ("greatest(fee, 0.05)", DataType::Float64, "0.05 0.5 0.05"),
        ("aum * 100", DataType::Decimal128(22, 2), "120050.00 -50.00 -"),
        ("aum * 0.5", DataType::Decimal128(20, 3), "600.250 -0.250 -"),
        ("aum + 1", DataType::Decimal128(19, 2), "1201.50 0.50 -"),
        ("aum * fee", DataType::Float64, "12.005 -0.25 -"),
        ("aum * 1e2", DataType::Float64, "120050.0 -50.0 -"),
        ("units * 2", DataType::Int64, "8 0 -"),
        ("units / 3", DataType::Int64, "1 0 -"),
        ("units * 1.5", DataType::Decimal128(23, 1), "6.0 0.0 -"),
        ("CAST(units AS int) + CAST('7' AS integer)", DataType::Int64, "11 7 -"),
        ("CAST(aum AS double)", DataType::Float64, "1200.5 -0.5 -"),
        ("CAST(fee AS decimal(5, 3))", DataType::Decimal128(5, 3), "0.010 0.500 -"),
        ("sqrt(0.25)", DataType::Float64, "0.5 0.5 0.5"),
        ("round(fee, 1)", DataType::Float64, "0.0 0.5 -"),
        ("power(units, 2)", DataType::Float64, "16.0 0.0 -"),
        ("-units", DataType::Int64, "-4 0 -"),
        ("0.10", DataType::Decimal128(2, 2), "0.10 0.10 0.10"),
    ] {
        let evaluated = evaluate(text);
        assert_eq!(
            (evaluated.values.data_type(), values(text)),
            (&data_type, expected.to_owned()),
            "{text}"
        );
    }
    assert_eq!(values("fee * aum < 1e300"), "true true -");
    assert_eq!(values("fee > 0.0000000000000000001"), "true true -");
    assert_eq!(values("fee between 0 and 0.05"), "true false -");
    assert_eq!(values("fee in (0.01, 3)"), "true false -");
    assert_eq!(values("aum < 1e30"), "true true -");
}

#[test]
fn mistakes_point_at_what_is_wrong() {
    assert_eq!(pointed("aum * fe"), "fe");
    assert_eq!(mistake("aum * fe").hint.as_deref(), Some("did you mean `fee`?"));
    assert_eq!(pointed("upper(coed) || 'é' || Units2"), "coed");
    assert_eq!(pointed("'é' || Units2"), "Units2");
    assert_eq!(pointed("address.town"), "town");
    assert_eq!(pointed("code.town"), "town");
    assert_eq!(pointed("1 + uper(code)"), "uper");
    assert_eq!(mistake("uper(code)").hint.as_deref(), Some("did you mean `upper`?"));
    assert_eq!(pointed("fee * code"), "code");
    assert!(mistake("fee * code").message.starts_with("`code` is a string"));
    assert_eq!(pointed("fee > 1 and code > 5"), "code");
    assert_eq!(pointed("code = as_of_date"), "code");
    assert_eq!(pointed("active and 1 + '5' > 2"), "'5'");
    assert_eq!(pointed("as_of_date > '2024-13-01'"), "'2024-13-01'");
    assert_eq!(pointed("units > 3 and as_of_date > date '2024-13-01'"), "'2024-13-01'");
    assert_eq!(
        mistake("user = \"usd\"").hint.as_deref(),
        Some("text stands between single quotes: 'usd'")
    );
    assert_eq!(mistake("units + 1 / 0").message, "division by zero");
    assert!(mistake("9223372036854775807 + 1 > units").message.contains("out of range"));
    let wrong = mistake("units + abs(active)");
    assert_eq!(wrong.message, "`abs` does not take (bool)");
    assert_eq!(wrong.hint.as_deref(), Some("function 'abs' expects Numeric but received bool"));
    assert_eq!(pointed("units + abs(active)"), "abs(active)");
    assert_eq!(
        mistake("regexp_like(code, '(')").message,
        "the regular expression is wrong: unclosed group"
    );
    assert_eq!(
        mistake("active + 1").message,
        "cannot coerce arithmetic expression bool + int to valid types"
    );
}

#[test]
fn what_is_not_a_deterministic_scalar_is_refused() {
    for (text, part) in [
        ("now()", "run to run"),
        ("as_of_date < current_date", "run to run"),
        ("random() < 0.5", "every call"),
        ("uuid()", "every call"),
        ("sum(units)", "many records"),
        ("max(units)", "many records"),
        ("row_number() over ()", "other records"),
        ("lag(units)", "other records"),
        ("(select 1)", "query"),
        ("units in (select 1)", "query"),
        ("exists (select 1)", "query"),
        ("count(*)", "many records"),
        ("version()", "no function"),
        ("units = $1", "stands for nothing"),
        ("select units", "statement"),
        ("units, fee", "unexpected `,`"),
    ] {
        let with = mistake(text);
        assert!(with.message.contains(part), "{text}: {with:?}");
        let without = Sql::new().check(text).unwrap_err();
        assert!(without.message.contains(part), "{text}: {without:?}");
        assert!(without.span.is_some() || part == "query", "{text}: {without:?}");
    }
    for text in ["any_column * 2 > other.one", "user = 'u'", "\"current_date\" is null"] {
        assert_eq!(Sql::new().check(text), Ok(()), "{text}");
    }
}

#[test]
fn a_name_that_two_columns_answer_to_wants_quotes() {
    let batch = RecordBatch::try_from_iter([
        ("ID", Arc::new(Int64Array::from(vec![1])) as ArrayRef),
        ("id", Arc::new(Int64Array::from(vec![2]))),
    ])
    .unwrap();
    let sql = Sql::new();
    let value = |text: &str| {
        let values = sql.compile(text, &batch.schema()).unwrap().evaluate(&batch).unwrap().values;
        values.as_primitive::<Int64Type>().value(0)
    };
    assert_eq!((value("id"), value("ID"), value("\"ID\"")), (2, 1, 1));
    let mistake = sql.compile("Id", &batch.schema()).unwrap_err();
    assert_eq!(mistake.message, "`Id` may be `ID` or `id`");
}

#[test]
fn one_zero_among_a_thousand_rows_fails_alone() {
    let divisors = (0..1000).map(|i| if i == 617 { 0 } else { i + 1 });
    let batch = RecordBatch::try_from_iter([(
        "n",
        Arc::new(Int64Array::from_iter_values(divisors)) as ArrayRef,
    )])
    .unwrap();
    let compiled = Sql::new().compile("100000 / n", &batch.schema()).unwrap();
    let evaluated = compiled.evaluate(&batch).unwrap();
    assert_eq!(evaluated.failures, [(617, "division by zero".to_owned())]);
    let values = evaluated.values.as_primitive::<Int64Type>();
    assert_eq!((values.null_count(), values.value(616), values.value(618)), (1, 162, 161));
    assert_eq!(compiled.columns(), ["n"]);
}

#[test]
fn rows_without_a_value_say_why() {
    for (text, row, message) in [
        ("100 / units", 1, "division by zero"),
        ("aum / units", 1, "division by zero"),
        ("CAST(code AS int)", 0, "`fnd1` is not a value of type int"),
        (
            "units + 9223372036854775807",
            0,
            "the result of `4 + 9223372036854775807` is out of range",
        ),
        (
            "units * 4611686018427387904",
            0,
            "the result of `4 * 4611686018427387904` is out of range",
        ),
    ] {
        let evaluated = evaluate(text);
        assert!(
            evaluated.failures.contains(&(row, message.to_owned())),
            "{text}: {:?}",
            evaluated.failures
        );
        assert!(evaluated.values.is_null(row as usize), "{text}");
    }
    assert_eq!(values("fee / 0"), "inf inf -");
    let digits = evaluate("CAST(aum AS decimal(38, 2)) * 1000000000000000000000000000000000000.0");
    assert_eq!(digits.failures.len(), 2, "{digits:?}");
}

#[test]
fn deep_expressions_compile_and_bottomless_ones_are_mistakes() {
    let sql = Sql::new();
    let batch = funds();
    for text in [
        vec!["units"; 190].join(" + "),
        vec!["user = 'x' and units * 2 > 7"; 190].join(" or "),
        format!("{}user{}", "upper(".repeat(45), ")".repeat(45)),
        format!("{}1{}", "case when active then ".repeat(45), " else 2 end".repeat(45)),
        format!("units in ({})", vec!["7"; 5000].join(", ")),
    ] {
        let compiled = sql.compile(&text, &batch.schema()).unwrap();
        assert_eq!(compiled.evaluate(&batch).unwrap().failures, [], "{text}");
    }
    for text in [
        vec!["units"; 1999].join(" + "),
        vec!["units"; 100_000].join(" + "),
        format!("{}units{}", "(".repeat(500), ")".repeat(500)),
        "(".repeat(100_000),
    ] {
        let mistake = sql.compile(&text, &batch.schema()).unwrap_err();
        assert_eq!(mistake.message, "the expression is nested too deeply");
        assert!(sql.check(&text).is_err());
    }
}

#[test]
fn an_empty_batch_has_no_failures() {
    let batch = funds().slice(0, 0);
    let compiled = Sql::new().compile("100 / units", &batch.schema()).unwrap();
    let evaluated = compiled.evaluate(&batch).unwrap();
    assert_eq!((evaluated.values.len(), evaluated.failures.len()), (0, 0));
}

fn numbers(rows: &[(Option<i64>, Option<i64>, Option<String>)]) -> RecordBatch {
    let a: Int64Array = rows.iter().map(|row| row.0).collect();
    let b: Int64Array = rows.iter().map(|row| row.1).collect();
    let x: Float64Array = rows.iter().map(|row| row.0.map(|a| a as f64 / 8.0)).collect();
    let s: StringViewArray = rows.iter().map(|row| row.2.as_deref()).collect();
    RecordBatch::try_from_iter_with_nullable([
        ("a", Arc::new(a) as ArrayRef, true),
        ("b", Arc::new(b), true),
        ("x", Arc::new(x), true),
        ("s", Arc::new(s), true),
    ])
    .unwrap()
}

fn rows() -> impl Strategy<Value = Vec<(Option<i64>, Option<i64>, Option<String>)>> {
    let int = || {
        prop_oneof![
            1 => Just(None),
            2 => Just(Some(0)),
            1 => Just(Some(i64::MAX)),
            1 => Just(Some(i64::MIN)),
            6 => (-100i64..100).prop_map(Some),
        ]
    };
    let text = proptest::option::of(prop_oneof!["[a-cA-Cé ]{0,6}", "-?[0-9]{1,3}"]);
    prop::collection::vec((int(), int(), text), 0..40)
}

/// What the model says of a row: a value, a null, or a failure.
type Modelled = Result<Option<String>, ()>;

fn model(text: &str, a: Option<i64>, b: Option<i64>, s: Option<&str>) -> Modelled {
    let both = |f: fn(i64, i64) -> Option<i64>| match (a, b) {
        (Some(a), Some(b)) => f(a, b).map(|value| Some(value.to_string())).ok_or(()),
        _ => Ok(None),
    };
    match text {
        "a + b" => both(i64::checked_add),
        "a - b" => both(i64::checked_sub),
        "a * b" => both(i64::checked_mul),
        "a / b" => both(i64::checked_div),
        "a % b" => both(|a, b| (b != 0).then(|| a.wrapping_rem(b))),
        "a < b" => Ok(a.zip(b).map(|(a, b)| (a < b).to_string())),
        "upper(s)" => Ok(s.map(str::to_uppercase)),
        "trim(s) || '!'" => Ok(s.map(|s| format!("{}!", s.trim_matches(' ')))),
        "length(s)" => Ok(s.map(|s| s.chars().count().to_string())),
        "substr(s, 2, 2)" => Ok(s.map(|s| s.chars().skip(1).take(2).collect())),
        "s in ('a', 'B', '7')" => Ok(s.map(|s| ["a", "B", "7"].contains(&s).to_string())),
        "coalesce(s, 'none')" => Ok(Some(s.unwrap_or("none").to_owned())),
        "case when b = 0 then -1 else a / b end" => match b {
            Some(0) => Ok(Some("-1".to_owned())),
            _ => both(i64::checked_div),
        },
        "CAST(s AS int)" => match s {
            Some(s) => s.trim().parse::<i64>().map(|n| Some(n.to_string())).map_err(drop),
            None => Ok(None),
        },
        _ => unreachable!("{text} has no model"),
    }
}

const MODELLED: [&str; 14] = [
    "a + b",
    "a - b",
    "a * b",
    "a / b",
    "a % b",
    "a < b",
    "upper(s)",
    "trim(s) || '!'",
    "length(s)",
    "substr(s, 2, 2)",
    "s in ('a', 'B', '7')",
    "coalesce(s, 'none')",
    "case when b = 0 then -1 else a / b end",
    "CAST(s AS int)",
];

#[test]
fn what_can_fail_or_is_computed_is_not_pruned() {
    let schema = numbers(&[]).schema();
    for condition in ["a / b > 1", "a / b > 1 and a > 3", "a > 3 or upper(s) = 'X'", "a < b"] {
        assert!(Sql::new().compile(condition, &schema).unwrap().prune().is_none(), "{condition}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn expressions_agree_with_a_model(rows in rows()) {
        let batch = numbers(&rows);
        let sql = Sql::new();
        for text in MODELLED {
            let compiled = sql.compile(text, &batch.schema()).unwrap();
            let evaluated = compiled.evaluate(&batch).unwrap();
            for (row, (a, b, s)) in rows.iter().enumerate() {
                let failed = evaluated.failures.iter().any(|(at, _)| *at as usize == row);
                let found = if failed { Err(()) } else { Ok(value_text(&evaluated.values, row)) };
                prop_assert_eq!(found, model(text, *a, *b, s.as_deref()), "{} of {:?}", text, rows[row]);
            }
        }
    }

    #[test]
    fn a_batch_gives_what_its_rows_give_alone(rows in rows()) {
        let batch = numbers(&rows);
        let sql = Sql::new();
        for text in [
            "a / b > 3 or s is null",
            "b <> 0 and a / b > 1",
            "a / b > 1 and b <> 0",
            "case when s = 'a' then a / b when a > 3 then a * b else CAST(s AS int) end",
            "coalesce(a / nullif(b, 0), CAST(s AS int))",
            "x / (b - b) + a",
            "concat(s, a) || CAST(x AS string)",
            "a * 1.5 / b",
        ] {
            let compiled = sql.compile(text, &batch.schema()).unwrap();
            let whole = compiled.evaluate(&batch).unwrap();
            for (row, of) in rows.iter().enumerate() {
                let alone = compiled.evaluate(&batch.slice(row, 1)).unwrap();
                let failure = whole.failures.iter().find(|(at, _)| *at as usize == row);
                prop_assert_eq!(
                    failure.map(|(_, why)| why),
                    alone.failures.first().map(|(_, why)| why),
                    "{} of {:?}", text, of
                );
                prop_assert_eq!(
                    value_text(&whole.values, row),
                    value_text(&alone.values, 0),
                    "{} of {:?}", text, of
                );
            }
        }
    }

    #[test]
    fn no_record_is_pruned_for_which_a_condition_is_true_or_fails(
        rows in rows(),
        (n, text) in (-100i64..100, "[a-cA-C]{1,2}"),
    ) {
        let batch = numbers(&rows);
        let known = |place: usize| {
            let column = batch.column(place);
            let indices = sort_to_indices(column, None, None).unwrap();
            let nulls = column.null_count();
            let value = |at: usize| take(column, &UInt32Array::from(vec![indices.value(at)]), None);
            let bounds = (nulls < rows.len())
                .then(|| (value(nulls).unwrap(), value(rows.len() - 1).unwrap()));
            Known { bounds, nulls: Some(nulls as u64) }
        };
        for condition in [
            format!("a = {n}"),
            format!("{n} < a"),
            format!("a <> {n} and b <= {n}"),
            format!("not (a > {n} or b > {n})"),
            format!("a between {n} and {n} + 7 or b is null"),
            format!("s in ('{text}', 'x') and a / b > 1"),
            format!("(s is null and a / b > 1) and a > {n}"),
            format!("a > {n} and (b > {n} and a / b > 1)"),
            format!("a > {n} or (b > {n} and a / b > 1)"),
            format!("s >= '{text}' and s is not null and a not in (1, 2)"),
            format!("a is null and s < '{text}'"),
        ] {
            let compiled = Sql::new().compile(&condition, &batch.schema()).unwrap();
            let prune = compiled.prune();
            let prune = prune.ok_or_else(|| TestCaseError::fail(condition.clone()))?;
            let known: Vec<_> = prune.columns().iter().map(|place| known(*place)).collect();
            if !prune.may_pass(rows.len() as u64, &known) {
                let evaluated = compiled.evaluate(&batch).unwrap();
                prop_assert!(evaluated.failures.is_empty(), "{} of {:?}", condition, rows);
                let kept = evaluated.values.as_boolean().true_count();
                prop_assert_eq!(kept, 0, "{} of {:?}", condition, rows);
            }
            // Nothing known, nothing left out.
            prop_assert!(prune.may_pass(1, &vec![Known::default(); known.len()]));
        }
    }

    #[test]
    fn doubles_compute_as_rust_does(pairs in prop::collection::vec((any::<f64>(), any::<f64>()), 1..20)) {
        let batch = RecordBatch::try_from_iter([
            ("x", Arc::new(Float64Array::from_iter_values(pairs.iter().map(|p| p.0))) as ArrayRef),
            ("y", Arc::new(Float64Array::from_iter_values(pairs.iter().map(|p| p.1)))),
        ]).unwrap();
        let sql = Sql::new();
        let compute = |text: &str| sql.compile(text, &batch.schema()).unwrap().evaluate(&batch).unwrap();
        let (sum, quotient, scaled) = (compute("x + y"), compute("x / y"), compute("x * 100"));
        for (row, (x, y)) in pairs.iter().enumerate() {
            for (found, expected) in [(&sum, x + y), (&quotient, x / y), (&scaled, x * 100.0)] {
                let found = found.values.as_primitive::<Float64Type>().value(row);
                prop_assert!(found.to_bits() == expected.to_bits() || (found.is_nan() && expected.is_nan()));
            }
        }
    }

    #[test]
    fn no_text_panics(text in "[a-z0-9 ()+*/'\",.<=>|-]{0,24}") {
        let sql = Sql::new();
        let schema = funds().schema();
        for found in [sql.check(&text).err(), sql.compile(&text, &schema).err()].into_iter().flatten() {
            if let Some(span) = found.span {
                prop_assert!(text.get(span).is_some());
            }
        }
    }
}
