//! The step's definition: how it is put together in code, and what is wrong with it on its own.

use std::cmp::Ordering;

use arrow_schema::SchemaRef;
use gristmill_core::{
    BindContext, Bound, ExpressionCompiler, ExpressionError, Mistake, Planned, Pointer, Severity,
    StepPlan,
};
use serde_json::Value;

use crate::limit;
use crate::options::{Keys, Options, Quality, RecordRule};
use crate::pattern::{Pattern, PatternError};
use crate::rule::{Rule, Test};

/// Judges records by rules: the `validate` step.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Validate {
    options: Options,
}

impl From<Options> for Validate {
    fn from(options: Options) -> Self {
        Self { options }
    }
}

impl Validate {
    /// A step without rules.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a rule about a column.
    #[must_use]
    pub fn rule(mut self, column: impl Into<String>, rule: Rule) -> Self {
        self.options.rules.entry(column.into()).or_default().push(rule);
        self
    }

    /// Adds a rule about the record: an SQL expression that is true, or null.
    #[must_use]
    pub fn record_rule(mut self, name: impl Into<String>, expr: impl Into<String>) -> Self {
        let (name, expr) = (name.into(), expr.into());
        self.options.record_rules.push(RecordRule { name, expr, severity: None, message: None });
        self
    }

    /// Adds columns that together are a key which no two records share.
    #[must_use]
    pub fn unique<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.options.unique.push(columns.into_iter().map(Into::into).collect());
        self
    }

    /// Says what becomes of records that fail; they are rejected if this is not called.
    #[must_use]
    pub fn severity(mut self, severity: Severity) -> Self {
        self.options.on_failure = severity;
        self
    }

    /// Measures every column for the report.
    #[must_use]
    pub fn quality(mut self) -> Self {
        if self.options.quality.is_off() {
            self.options.quality = Quality::On { keys: Keys::default() };
        }
        self
    }

    /// The definition, which can be written and read again.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Mistakes that can be seen without columns.
    pub fn check(&self, expressions: &dyn ExpressionCompiler) -> Vec<Mistake> {
        let options = &self.options;
        let root = Pointer::root();
        let mut mistakes = Vec::new();
        if options.rules.is_empty()
            && options.record_rules.is_empty()
            && options.unique.is_empty()
            && options.quality.is_off()
        {
            mistakes.push(
                Mistake::new(root.clone(), "the step has nothing to judge")
                    .hint("give it `rules`, `record_rules`, `unique` or `quality`"),
            );
        }
        for (field, rules) in &options.rules {
            let at = root.key("rules").key(field);
            if rules.rules.is_empty() {
                mistakes.push(Mistake::new(at.clone(), format!("`{field}` has no rule")));
            }
            for (at, rule) in rules.places(&at) {
                check_test(&rule.test, &rule.value_at(&at), expressions, &mut mistakes);
            }
        }
        for (i, rule) in options.record_rules.iter().enumerate() {
            let at = root.key("record_rules").index(i).key("expr");
            if let Err(error) = expressions.check(&rule.expr) {
                mistakes.push(expression_mistake(at, error));
            }
        }
        mistakes
    }
}

fn check_test(
    test: &Test,
    at: &Pointer,
    expressions: &dyn ExpressionCompiler,
    mistakes: &mut Vec<Mistake>,
) {
    let mut limit = |text: &str, at: Pointer| {
        let fits = limit::is_limit(text);
        if !fits {
            let message = format!("`{text}` is neither a number nor a date, timestamp or time");
            mistakes.push(Mistake::new(at, message).hint("for example 10, 2024-12-31 or 18:00"));
        }
        fits
    };
    match test {
        Test::Required | Test::Unique | Test::Type(_) => {}
        Test::Matches(pattern) => {
            if let Err(error) = Pattern::new(pattern) {
                mistakes.push(pattern_mistake(at.clone(), error));
            }
        }
        Test::OneOf(options) if options.is_empty() => {
            mistakes.push(Mistake::new(at.clone(), "an empty list lets no value pass"));
        }
        Test::OneOf(_) => {}
        Test::Min(value) | Test::Max(value) => drop(limit(&value.text(), at.clone())),
        Test::Between([low, high]) => {
            let (low, high) = (low.text(), high.text());
            let fit = [limit(&low, at.index(0)), limit(&high, at.index(1))];
            if fit != [true, true] {
                return;
            }
            match limit::compare(&low, &high) {
                Some(Ordering::Greater) => mistakes.push(
                    Mistake::new(at.clone(), format!("{low} is greater than {high}"))
                        .hint(format!("write [{high}, {low}]")),
                ),
                Some(_) => {}
                None => mistakes.push(Mistake::new(
                    at.clone(),
                    format!("`{low}` and `{high}` are not of one kind"),
                )),
            }
        }
        Test::Length(length) => {
            if let Some(max) = length.max.filter(|max| *max < length.min) {
                let message = format!("{} is greater than {max}", length.min);
                mistakes.push(Mistake::new(at.clone(), message));
            }
        }
        Test::Before(text) | Test::After(text) => {
            if !limit::is_time(text) {
                let message = format!("`{text}` is not a date, timestamp or time");
                mistakes.push(
                    Mistake::new(at.clone(), message)
                        .hint("write it in ISO 8601, for example 2024-12-31"),
                );
            }
        }
        Test::Expr(text) => {
            if let Err(error) = expressions.check(text) {
                mistakes.push(expression_mistake(at.clone(), error));
            }
        }
    }
}

fn pattern_mistake(at: Pointer, error: PatternError) -> Mistake {
    let mistake = Mistake::new(at, error.message);
    match error.span {
        Some(span) => mistake.span(span),
        None => mistake,
    }
}

/// A compiler's complaint, at the expression's place.
pub(crate) fn expression_mistake(at: Pointer, error: ExpressionError) -> Mistake {
    let mut mistake = Mistake::new(at, error.message);
    mistake.span = error.span;
    mistake.hint = error.hint;
    mistake
}

impl StepPlan for Validate {
    fn bind(&self, input: &SchemaRef, context: &BindContext<'_>) -> Result<Bound, Vec<Mistake>> {
        let mistakes = self.check(context.expressions);
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        crate::bind::bind(&self.options, input, context.expressions)
    }
}

/// Makes the step from its definition.
pub(crate) fn plan(value: &Value, expressions: &dyn ExpressionCompiler) -> Planned {
    let step = Validate::from(Options::read(value)?);
    let mistakes = step.check(expressions);
    if mistakes.is_empty() { Ok(Box::new(step)) } else { Err(mistakes) }
}
