//! The parsers of single values, and a column built from text: `cargo bench -p gristmill-core`.

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use gristmill_core::FieldType;
use gristmill_core::text::{ColumnBuilder, ColumnPlan, parse, write_value};

const VALUES: usize = 1024;

fn main() {
    divan::main();
}

/// Texts with different numbers in them; the same in every run.
fn texts(form: fn(u64) -> String) -> Vec<String> {
    (0..VALUES as u64).map(|n| form(n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 11)).collect()
}

fn amounts() -> Vec<String> {
    texts(|n| format!("{}.{:02}", n % 9_000_000, n % 97))
}

fn all<T>(bencher: Bencher, texts: Vec<String>, parse: impl Fn(&[u8]) -> Option<T> + Sync) {
    assert!(texts.iter().all(|text| parse(text.as_bytes()).is_some()), "a text does not parse");
    bencher.counter(ItemsCount::new(VALUES)).bench(|| {
        for text in &texts {
            black_box(parse(black_box(text.as_bytes())));
        }
    });
}

#[divan::bench]
fn int(bencher: Bencher) {
    all(bencher, texts(|n| (n % 10_000_000).to_string()), parse::int);
}

#[divan::bench]
fn double_of_an_amount(bencher: Bencher) {
    all(bencher, amounts(), parse::double);
}

#[divan::bench]
fn double_of_17_digits(bencher: Bencher) {
    all(bencher, texts(|n| format!("0.{n:017}")), parse::double);
}

#[divan::bench]
fn double_with_exponent(bencher: Bencher) {
    all(bencher, texts(|n| format!("{}.{}e-{}", n % 10, n % 1000, n % 300)), parse::double);
}

#[divan::bench]
fn decimal_of_an_amount(bencher: Bencher) {
    all(bencher, amounts(), |text| parse::decimal(text, 18, 2));
}

#[divan::bench]
fn date(bencher: Bencher) {
    let dates = texts(|n| format!("{}-{:02}-{:02}", 2000 + n % 30, 1 + n % 12, 1 + n % 28));
    all(bencher, dates, parse::date);
}

#[divan::bench]
fn timestamp(bencher: Bencher) {
    let times = texts(|n| format!("2024-03-{:02}T{:02}:{:02}:09", 1 + n % 28, n % 24, n % 60));
    all(bencher, times, parse::timestamp);
}

#[divan::bench]
fn bool(bencher: Bencher) {
    all(bencher, texts(|n| (n.is_multiple_of(2)).to_string()), parse::bool);
}

fn built(bencher: Bencher, plan: &ColumnPlan, texts: &[String]) {
    bencher.counter(ItemsCount::new(VALUES)).bench(|| {
        let mut column = ColumnBuilder::new(plan, VALUES);
        for text in texts {
            column.push(black_box(text.as_bytes())).expect("every text is of the column's type");
        }
        column.finish()
    });
}

#[divan::bench]
fn column_of_doubles(bencher: Bencher) {
    built(bencher, &ColumnPlan::new("aum", FieldType::Double), &amounts());
}

#[divan::bench]
fn column_of_trimmed_strings(bencher: Bencher) {
    let mut plan = ColumnPlan::new("region", FieldType::String);
    plan.clean.trim = true;
    built(
        bencher,
        &plan,
        &texts(|n| format!("{}region {}", if n.is_multiple_of(5) { " " } else { "" }, n % 40)),
    );
}

#[divan::bench]
fn doubles_to_text(bencher: Bencher) {
    let mut column = ColumnBuilder::new(&ColumnPlan::new("aum", FieldType::Double), VALUES);
    for text in amounts() {
        column.push(text.as_bytes()).expect("every text is of the column's type");
    }
    let column = column.finish();
    let mut out = Vec::new();
    bencher.counter(ItemsCount::new(VALUES)).bench_local(|| {
        out.clear();
        for row in 0..VALUES {
            write_value(&mut out, &column, row);
        }
        black_box(out.len())
    });
}
