//! `lookup`: against a loop over all records, and what it says.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::Array as _;
use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, BooleanArray, Date32Array, DictionaryArray, Float64Array, Int32Array, Int64Array,
    RecordBatch, StringArray, StringViewArray, TimestampMicrosecondArray,
};
use arrow_schema::SchemaRef;
use gristmill_core::{Batch, BindContext, Error, Findings, Mistake, Origin, Step, StepPlan};
use gristmill_transform::{Early, Lookup, Otherwise, Sql};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{flaws, rows};

fn columns<const N: usize>(columns: [(&str, ArrayRef); N]) -> Batch {
    named("records", columns)
}

fn named<const N: usize>(name: &str, columns: [(&str, ArrayRef); N]) -> Batch {
    let columns = columns.into_iter().map(|(name, array)| (name, array, true));
    let columns = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    Batch::whole(columns.clone(), Arc::new(Origin::columns(name.into(), columns))).unwrap()
}

fn texts<T: AsRef<str>>(texts: impl IntoIterator<Item = Option<T>>) -> ArrayRef {
    Arc::new(StringViewArray::from_iter(texts))
}

fn ints(ints: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(ints))
}

fn bind(
    lookup: &Lookup,
    input: &SchemaRef,
    source: &SchemaRef,
) -> Result<(Box<dyn Step>, SchemaRef), Vec<Mistake>> {
    let sql = Sql::new();
    let context = BindContext { references: vec![Arc::clone(source)], ..BindContext::new(&sql) };
    let bound = lookup.bind(input, &context)?;
    Ok((bound.local.unwrap(), bound.output))
}

/// The batch behind the lookup, with its flaws still open.
fn look_up(lookup: &Lookup, batch: Batch, source: &[Batch]) -> Result<Batch, Error> {
    let (mut step, output) = bind(lookup, &batch.schema(), &source[0].schema()).unwrap();
    step.load(&mut source.iter().cloned().map(Ok), 1 << 20)?;
    let after = step.apply(batch, &mut Findings::default())?;
    assert_eq!(after.schema(), output);
    Ok(after)
}

fn said(mistakes: Result<(Box<dyn Step>, SchemaRef), Vec<Mistake>>) -> Vec<String> {
    mistakes.err().unwrap().iter().map(ToString::to_string).collect()
}

fn lookup(options: Value) -> Lookup {
    serde_json::from_value(options).unwrap()
}

fn regions() -> Batch {
    named(
        "regions.csv",
        [
            ("code", texts([Some("EU"), Some("NA"), None])),
            ("name", texts([Some("Europe"), Some("North America"), Some("nowhere")])),
            ("n", ints([1, 2, 3])),
        ],
    )
}

fn sales() -> Batch {
    columns([
        ("region", texts([Some("NA"), Some("XX"), Some("EU"), None])),
        ("n", ints([10, 20, 30, 40])),
    ])
}

#[test]
fn records_get_columns_and_those_that_find_nothing_are_rejected_with_their_key() {
    let plan =
        lookup(json!({"from": {"file": "regions.csv"}, "on": {"region": "code"}, "take": "name"}));
    let after = look_up(&plan, sales(), &[regions()]).unwrap();
    assert_eq!(
        rows(&after)[..3],
        [
            r#"{"region":"NA","n":10,"name":"North America"}"#,
            r#"{"region":"XX","n":20,"name":null}"#,
            r#"{"region":"EU","n":30,"name":"Europe"}"#,
        ]
    );
    let expected = [
        (1, "region".to_owned(), "`XX` is not in `regions.csv`".to_owned()),
        (3, "region".to_owned(), "null finds nothing in `regions.csv`".to_owned()),
    ];
    assert_eq!(flaws(&after), expected);
    assert_eq!(after.flaws()[0].reason.value.as_deref(), Some("XX"));
}

#[test]
fn what_is_missing_is_null_or_has_the_values_that_were_said() {
    let mut plan =
        Lookup::new(json!({"file": "regions.csv"})).on_pair("region", "code").prefix("r_");
    plan = plan.missing(Otherwise::Null);
    let after = look_up(&plan, sales(), &[regions()]).unwrap();
    assert_eq!(rows(&after)[1], r#"{"region":"XX","n":20,"r_name":null,"r_n":null}"#);
    assert_eq!(rows(&after)[2], r#"{"region":"EU","n":30,"r_name":"Europe","r_n":1}"#);
    let plan = lookup(json!({
        "from": {"file": "regions.csv"}, "on": {"region": "code"},
        "take": {"region": "name", "order": "n"}, "missing": {"region": "elsewhere"},
    }));
    let after = look_up(&plan, sales(), &[regions()]).unwrap();
    assert_eq!(
        rows(&after),
        [
            r#"{"region":"North America","n":10,"order":2}"#,
            r#"{"region":"elsewhere","n":20,"order":null}"#,
            r#"{"region":"Europe","n":30,"order":1}"#,
            r#"{"region":"elsewhere","n":40,"order":null}"#,
        ]
    );
    assert!(after.flaws().is_empty());
}

#[test]
fn keys_are_compared_as_the_types_that_the_records_have() {
    let find = |mine: ArrayRef, theirs: ArrayRef| {
        let source = columns([("k", theirs), ("v", texts([Some("one"), Some("two")]))]);
        let plan = Lookup::new(json!({"file": "k.csv"})).on("k").take("v").missing(Otherwise::Null);
        let after = look_up(&plan, columns([("k", mine)]), &[source]).unwrap();
        let values = after.columns().column(1);
        (0..values.len())
            .map(|row| gristmill_core::text::value_text(values, row).unwrap_or_default())
            .collect::<Vec<_>>()
    };
    let plain = || texts([Some("7"), Some("8")]);
    assert_eq!(find(ints([8, 7, 9]), plain()), ["two", "one", ""]);
    assert_eq!(find(Arc::new(Int32Array::from(vec![8])), ints([7, 8])), ["two"]);
    assert_eq!(find(ints([8]), Arc::new(Int32Array::from(vec![7, 8]))), ["two"]);
    assert_eq!(find(texts([Some("8"), Some("08")]), ints([7, 8])), ["two", ""]);
    assert_eq!(find(Arc::new(Float64Array::from(vec![8.0])), plain()), ["two"]);
    let days = || Arc::new(Date32Array::from(vec![19_000, 19_001])) as ArrayRef;
    let noon = vec![19_001 * 86_400_000_000, 19_001 * 86_400_000_000 + 1];
    assert_eq!(find(Arc::new(TimestampMicrosecondArray::from(noon)), days()), ["two", ""]);
    assert_eq!(find(days(), texts([Some("2022-01-08"), Some("2022-01-09")])), ["one", "two"]);
    assert_eq!(find(Arc::new(StringArray::from(vec!["8"])), plain()), ["two"]);
    let dictionary: DictionaryArray<Int32Type> =
        [Some("8"), None, Some("x"), Some("7")].into_iter().collect();
    assert_eq!(find(Arc::new(dictionary), plain()), ["two", "", "", "one"]);
}

#[test]
fn what_cannot_be_compared_or_found_is_a_mistake() {
    let source = regions().schema();
    let input = sales().schema();
    let told = |options: Value| said(bind(&lookup(options), &input, &source));
    let from = json!({"file": "regions.csv"});
    assert_eq!(
        told(
            json!({"from": from, "on": {"region": "cod", "regio": "code"}, "take": ["nam"], "missing": {"x": 1}})
        ),
        [
            "on.region: `regions.csv` has no column `cod`",
            "on.regio: no column `regio`",
            "take: `regions.csv` has no column `nam`",
            "missing.x: the lookup takes no column `x`",
        ]
    );
    assert_eq!(
        told(json!({"from": from, "on": {"region": "code"}, "take": ["n"], "missing": {"n": "x"}})),
        [
            "take: the records have a column `n` already",
            "missing.n: the lookup takes no column `n`",
        ]
    );
    assert_eq!(
        told(
            json!({"from": from, "on": {"region": "code"}, "prefix": "r_", "missing": {"r_n": "x"}})
        ),
        ["missing.r_n: `x` is not an int"]
    );
    assert_eq!(
        told(json!({"from": from, "on": {"region": "code"}, "take": "name", "at": "n"})),
        [
            "at: `n` holds neither dates nor timestamps",
            "at: `regions.csv` has no column `effective_date`",
            "at: `regions.csv` has no column `end_date`",
        ]
    );
    let flags = columns([("region", Arc::new(BooleanArray::from(vec![true])) as ArrayRef)]);
    let plan = lookup(json!({"from": from, "on": {"region": "n"}, "take": "name"}));
    assert_eq!(
        said(bind(&plan, &flags.schema(), &source)),
        [
            "on.region: `region` is of type bool and `n` of `regions.csv` of type int: they cannot be compared"
        ]
    );
    let days = columns([("region", Arc::new(Date32Array::from(vec![1])) as ArrayRef)]);
    let times = columns([("n", Arc::new(TimestampMicrosecondArray::from(vec![1])) as ArrayRef)]);
    assert_eq!(
        said(bind(&plan, &days.schema(), &times.schema())).len(),
        2,
        "half a day would be lost"
    );
}

#[test]
fn a_source_that_cannot_be_looked_up_in_ends_the_run() {
    let plan = Lookup::new(json!({"file": "regions.csv"})).on_pair("region", "code").take("name");
    let doubled = [regions(), regions()];
    let error = look_up(&plan, sales(), &doubled).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`regions.csv` has several records with one key (`region`): `EU` in records 1 and 1; `NA` in records 2 and 2"
    );
    let plan = Lookup::new(json!({"file": "regions.csv"})).on_pair("n", "code").take("name");
    let error = look_up(&plan, sales(), &[regions()]).unwrap_err();
    assert_eq!(error.to_string(), "record 1 of `regions.csv`: `code`: `EU` is not an int");
    let many = columns([("code", ints(0..20_000)), ("name", ints(0..20_000))]);
    let (mut step, _) = bind(&plan, &sales().schema(), &many.schema()).unwrap();
    let error = step.load(&mut std::iter::once(Ok(many)), 1 << 20).unwrap_err();
    assert!(error.to_string().starts_with("`regions.csv` is too large to look things up in: its first 20000 records take more than 1 MiB"), "{error}");
}

fn dimension() -> Batch {
    named(
        "dim_fund",
        [
            ("fund_key", ints([1, 2, 3])),
            ("code", texts([Some("A"), Some("A"), Some("B")])),
            ("effective_date", texts([Some("2024-01-31"), Some("2024-02-29"), None])),
            ("end_date", texts([Some("2024-02-29"), None, Some("2024-03-31T12:00:00")])),
        ],
    )
}

fn facts(days: &[(&str, &str)]) -> Batch {
    let day = |text: &str| gristmill_core::text::parse::date(text.as_bytes());
    columns([
        ("code", texts(days.iter().map(|(code, _)| Some(*code)))),
        ("day", Arc::new(Date32Array::from_iter(days.iter().map(|(_, text)| day(text))))),
    ])
}

#[test]
fn facts_find_the_version_that_held_on_their_day() {
    let days = [
        ("A", "2024-01-31"),
        ("A", "2024-02-28"),
        ("A", "2024-02-29"),
        ("B", "1999-01-01"),
        ("A", "2024-01-30"),
        ("B", "2024-03-31"),
        ("B", "2024-04-01"),
        ("C", "2024-02-01"),
        ("A", ""),
    ];
    let plan = |more: Value| {
        let mut options =
            json!({"from": {"table": "dim_fund"}, "on": "code", "at": "day", "take": "fund_key"});
        options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        lookup(options)
    };
    let keys = |plan: &Lookup| {
        let after = look_up(plan, facts(&days), &[dimension()]).unwrap();
        let keys = Arc::clone(after.columns().column(2));
        (keys, flaws(&after))
    };
    let (found, reasons) = keys(&plan(json!({})));
    let expected = [Some(1), Some(1), Some(2), Some(3), None, Some(3), None, None, None];
    assert_eq!(found.as_ref(), &Int64Array::from_iter(expected) as &dyn arrow_array::Array);
    let reasons: Vec<_> = reasons.into_iter().map(|(row, _, why)| (row, why)).collect();
    assert_eq!(
        reasons,
        [
            (4, "`A` is in `dim_fund` from 2024-01-31 on, after 2024-01-30".to_owned()),
            (6, "no version of `B` in `dim_fund` holds at 2024-04-01".to_owned()),
            (7, "`C` is not in `dim_fund`".to_owned()),
            (8, "without `day`, no version of `A` is found in `dim_fund`".to_owned()),
        ]
    );
    let (found, reasons) = keys(&plan(json!({"missing": {"fund_key": -1}, "early": "first"})));
    let expected = [1, 1, 2, 3, 1, 3, -1, -1, -1];
    assert_eq!(found.as_ref(), ints(expected).as_ref());
    assert_eq!(reasons, []);
    let (found, _) = keys(&plan(json!({"missing": {"fund_key": -1}, "early": {"fund_key": -2}})));
    assert_eq!(found.as_ref(), ints([1, 1, 2, 3, -2, 3, -1, -1, -1]).as_ref());
    let (found, reasons) = keys(&plan(json!({"missing": {"fund_key": -1}, "early": "reject"})));
    assert_eq!((found.is_null(4), reasons.len()), (true, 1));
    let built = Lookup::new(json!({"table": "dim_fund"})).on("code").at("day").take("fund_key");
    assert_eq!(built.clone().early(Early::First), plan(json!({"early": "first"})));
    assert_eq!(lookup(serde_json::to_value(&built).unwrap()), built);
}

#[test]
fn versions_that_hold_at_the_same_time_end_the_run() {
    let plan = Lookup::new(json!({"table": "dim_fund"}))
        .on("code")
        .at("day")
        .take("v")
        .version_columns("from", "to");
    let source = named(
        "dim_fund",
        [
            ("code", texts([Some("A"), Some("A")])),
            ("v", ints([1, 2])),
            ("from", Arc::new(Date32Array::from(vec![1, 2]))),
            ("to", Arc::new(Date32Array::from(vec![3, 4]))),
        ],
    );
    let error = look_up(&plan, facts(&[]), &[source]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`dim_fund` has versions of one key that hold at the same time (`code`): records 1 and 2"
    );
}

proptest! {
    /// Against a map from texts, with any split of the source into batches.
    #[test]
    fn a_lookup_is_a_loop_over_all_records(
        source in prop::collection::hash_map(
            ("[ab]{0,2}|[ab]{11,14}", prop::option::weighted(0.9, 0i64..4)), 0i64..100, 0..30),
        records in prop::collection::vec(
            (prop::option::of("[ab]{0,2}|[ab]{11,14}"), prop::option::of(0i64..4)), 0..40),
        composite in any::<bool>(),
        cut in 0usize..30,
    ) {
        let mut known = HashMap::new();
        let source: Vec<_> = source
            .into_iter()
            .filter(|((text, n), value)| {
                let key = (text.clone(), composite.then_some(*n));
                known.insert(key, *value).is_none()
            })
            .collect();
        let known: HashMap<_, _> = source
            .iter()
            .map(|((text, n), value)| ((text.clone(), composite.then_some(*n)), *value))
            .collect();
        let batch = |rows: &[((String, Option<i64>), i64)]| columns([
            ("t", texts(rows.iter().map(|((text, _), _)| Some(text)))),
            ("n", Arc::new(Int64Array::from_iter(rows.iter().map(|((_, n), _)| *n)))),
            ("v", ints(rows.iter().map(|(_, value)| *value))),
        ]);
        let (one, other) = source.split_at(cut.min(source.len()));
        let mut plan = Lookup::new(json!({"file": "s.csv"})).on("t").take("v").missing(Otherwise::Null);
        if composite {
            plan = plan.on("n");
        }
        let input = columns([
            ("t", texts(records.iter().map(|(text, _)| text.as_ref()))),
            ("n", Arc::new(Int64Array::from_iter(records.iter().map(|(_, n)| *n)))),
        ]);
        let after = look_up(&plan, input, &[batch(one), batch(other)]).unwrap();
        let expected = records.iter().map(|(text, n)| {
            let text = text.clone()?;
            if composite && n.is_none() {
                return None;
            }
            known.get(&(text, composite.then_some(*n))).copied()
        });
        prop_assert_eq!(after.columns().column(2).as_ref(), &Int64Array::from_iter(expected) as &dyn arrow_array::Array);
    }
}
