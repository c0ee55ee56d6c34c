//! Profiles, compared with a count of all values one by one.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{Array, Float64Array, RecordBatch, StringViewArray};
use arrow_schema::{DataType, Field, Schema};
use chrono::{DateTime, Utc};
use gristmill_core::check::FileFacts;
use gristmill_core::{Batch, BindContext, CheckContext, Findings, Origin, Result, Space, StepPlan};
use gristmill_validate::profile::{ColumnProfile, Profile, Profiling};
use proptest::prelude::*;

use crate::conditions::Conditions;

/// A world that a profile does not ask.
struct Nothing;

impl CheckContext for Nothing {
    fn now(&self) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH
    }

    fn history(&self, _: &str, _: usize) -> Result<Vec<f64>> {
        Ok(Vec::new())
    }

    fn files(&self, _: Option<&str>) -> Result<Vec<FileFacts>> {
        Ok(Vec::new())
    }
}

/// The profile of columns that come in batches of so many rows.
fn profiled(columns: &RecordBatch, size: usize, memory: usize) -> Profile {
    let context = BindContext::new(&Conditions);
    let mut step = Profiling.bind(&columns.schema(), &context).unwrap().local.unwrap();
    step.open(Space { memory, ..Space::default() });
    for start in (0..columns.num_rows()).step_by(size) {
        let part = columns.slice(start, size.min(columns.num_rows() - start));
        let origin = Arc::new(Origin::columns("test".into(), part.clone()));
        step.apply(Batch::whole(part, origin).unwrap(), &mut Findings::default()).unwrap();
    }
    step.verdict(&Nothing).unwrap();
    serde_json::from_value(step.report().unwrap()).unwrap()
}

fn counts<T: Ord>(values: impl Iterator<Item = T>) -> BTreeMap<T, u64> {
    let mut counts = BTreeMap::new();
    values.for_each(|value| *counts.entry(value).or_default() += 1);
    counts
}

fn by_count<T: Ord + Clone>(counts: &BTreeMap<T, u64>, most: usize) -> Vec<(T, u64)> {
    let mut all: Vec<_> = counts.iter().map(|(value, count)| (value.clone(), *count)).collect();
    all.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    all.truncate(most);
    all
}

fn shown(found: &[gristmill_validate::profile::Counted]) -> Vec<(String, u64)> {
    found.iter().map(|one| (one.value.clone(), one.count)).collect()
}

/// What kind of character stands where.
fn pattern(text: &str) -> String {
    if text.chars().count() > 60 {
        return "…".to_owned();
    }
    let kind = |c: char| match c {
        _ if c.is_ascii_digit() => '9',
        _ if c.is_uppercase() => 'A',
        _ if c.is_alphabetic() => 'a',
        _ => c,
    };
    text.chars().map(kind).collect()
}

fn check_texts(column: &ColumnProfile, texts: &[Option<String>]) {
    let all = counts(texts.iter().flatten().cloned());
    assert_eq!(column.nulls, texts.iter().filter(|text| text.is_none()).count() as u64);
    assert_eq!(column.distinct, all.len() as u64);
    assert_eq!(column.once, all.values().filter(|count| **count == 1).count() as u64);
    let lengths = all.keys().map(|text| text.chars().count() as u64);
    assert_eq!(column.lengths, lengths.clone().min().zip(lengths.max()).map(<[u64; 2]>::from));
    assert_eq!(shown(&column.top), by_count(&all, 20));
    let patterns = counts(texts.iter().flatten().map(|text| pattern(text)));
    assert_eq!(shown(&column.patterns), by_count(&patterns, 10));
    // Of no records nothing is said.
    assert_eq!(column.all_patterns, !texts.is_empty() && patterns.len() <= 10);
}

fn check_numbers(column: &ColumnProfile, numbers: &[Option<i32>]) {
    let all = counts(numbers.iter().flatten().copied());
    assert_eq!(
        (column.distinct, column.nulls),
        (all.len() as u64, numbers.iter().filter(|n| n.is_none()).count() as u64)
    );
    assert_eq!(column.once, all.values().filter(|count| **count == 1).count() as u64);
    let text = |number: i32| {
        let number = f64::from(number) / 4.0;
        number.to_string()
    };
    let expected: Vec<_> =
        by_count(&all, 10).into_iter().map(|(n, count)| (text(n), count)).collect();
    assert_eq!(shown(&column.top), expected);
    let mut sorted: Vec<i32> = numbers.iter().flatten().copied().collect();
    sorted.sort_unstable();
    let at = |share: f64| sorted[((share * sorted.len() as f64).ceil() as usize).max(1) - 1];
    let expected: Vec<_> = match sorted.is_empty() {
        true => Vec::new(),
        false => [0.05, 0.25, 0.5, 0.75, 0.95].map(|share| (share, text(at(share)))).to_vec(),
    };
    let found: Vec<_> = column.quantiles.iter().map(|one| (one.at, one.value.clone())).collect();
    assert_eq!(found, expected);
    let bars: u64 = column.histogram.iter().sum();
    assert_eq!(bars, if all.len() < 2 { 0 } else { sorted.len() as u64 });
}

fn text() -> impl Strategy<Value = Option<String>> {
    prop_oneof![
        1 => Just(None),
        4 => "[A-C][a-c]{0,2}[0-9]?".prop_map(Some),
        2 => "[a-zÄßé 0-9-]{0,20}".prop_map(Some),
        1 => "[x-z]{58,63}".prop_map(Some),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_profile_counts_every_value(
        rows in prop::collection::vec((text(), prop::option::weighted(0.9, -40i32..40)), 0..300),
        size in 1usize..120,
        memory in prop_oneof![Just(0usize), Just(1 << 20)],
    ) {
        let (texts, numbers): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
        let quarters: Float64Array = numbers.iter().map(|n| n.map(|n| f64::from(n) / 4.0)).collect();
        let column: StringViewArray = texts.iter().map(Option::as_deref).collect();
        let schema = Schema::new(vec![
            Field::new("text", DataType::Utf8View, true),
            Field::new("number", quarters.data_type().clone(), true),
        ]);
        let columns = RecordBatch::try_new(Arc::new(schema), vec![Arc::new(column), Arc::new(quarters)]);
        let profile = profiled(&columns.unwrap(), size, memory);
        prop_assert_eq!(profile.records, texts.len() as u64);
        check_texts(&profile.columns[0], &texts);
        check_numbers(&profile.columns[1], &numbers);
    }
}
