//! Rules on a batch of 8,192 records: `cargo bench -p gristmill-validate`.

use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringViewArray};
use arrow_schema::SchemaRef;
use divan::Bencher;
use divan::counter::ItemsCount;
use gristmill_core::{
    Batch, BindContext, Expression, ExpressionCompiler, ExpressionError, Findings, Origin, StepPlan,
};
use gristmill_validate::{Rule, Validate};

const ROWS: u64 = 8192;

fn main() {
    divan::main();
}

/// None of the rules here is an expression.
struct NoExpressions;

impl ExpressionCompiler for NoExpressions {
    fn compile(&self, text: &str, _: &SchemaRef) -> Result<Arc<dyn Expression>, ExpressionError> {
        unreachable!("`{text}` is not among the rules")
    }

    fn check(&self, _: &str) -> Result<(), ExpressionError> {
        Ok(())
    }
}

fn texts(form: fn(u64) -> String) -> ArrayRef {
    let values = (0..ROWS).map(|n| form(n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16));
    Arc::new(StringViewArray::from_iter_values(values))
}

/// Judges a column that passes.
fn judged(bencher: Bencher, values: ArrayRef, rule: Rule) {
    let columns = RecordBatch::try_from_iter([("value", values)]).expect("it is one column");
    let step = Validate::new().rule("value", rule);
    let bound = step
        .bind(&columns.schema(), &BindContext::new(&NoExpressions))
        .expect("the rule fits the column");
    let local = bound.local.expect("the rule is about one record");
    let origin = Arc::new(Origin::columns("values".into(), columns.clone()));
    bencher
        .counter(ItemsCount::new(ROWS))
        .with_inputs(|| {
            Batch::whole(columns.clone(), Arc::clone(&origin)).expect("both are as long")
        })
        .bench_values(|batch| {
            let mut findings = Findings::default();
            let batch = local.apply(batch, &mut findings).expect("nothing aborts");
            assert!(batch.flaws().is_empty());
            batch
        });
}

#[divan::bench]
fn required(bencher: Bencher) {
    judged(bencher, texts(|n| format!("FND{:06}", n % 200_000)), Rule::required());
}

#[divan::bench]
fn matches_a_fixed_shape(bencher: Bencher) {
    let rule = Rule::matches("^FND[0-9]{6}$").expect("it is a pattern");
    judged(bencher, texts(|n| format!("FND{:06}", n % 200_000)), rule);
}

#[divan::bench]
fn matches_an_alternation(bencher: Bencher) {
    let rule = Rule::matches("^(FND|ETF)-?[0-9]+$").expect("it is a pattern");
    judged(bencher, texts(|n| format!("FND{:06}", n % 200_000)), rule);
}

#[divan::bench]
fn one_of_five(bencher: Bencher) {
    let currencies = ["USD", "EUR", "GBP", "JPY", "CHF"];
    let values = texts(|n| ["USD", "EUR", "GBP", "JPY", "CHF"][n as usize % 5].to_owned());
    judged(bencher, values, Rule::one_of(currencies));
}

#[divan::bench]
fn between(bencher: Bencher) {
    let values = Float64Array::from_iter_values((0..ROWS).map(|n| n as f64 / ROWS as f64 * 0.05));
    judged(bencher, Arc::new(values), Rule::between(0.0, 0.05));
}
