//! One rule of one field: what it asks, its name and its severity. How that is written is the
//! business of the module inside.

use gristmill_core::{Error, ErrorKind, FieldType, Mistake, Pointer, Result, Severity};
use serde_json::Value;

use crate::pattern::Pattern;
use crate::scalar::Scalar;

mod written;

pub(crate) use written::first;
use written::read;

/// What a rule asks of a value. A null passes every test but [`Test::Required`], as in SQL.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    /// The value is there: neither null nor an empty text.
    Required,
    /// No record before it, in source order, has the value.
    Unique,
    /// The text parses as this type; a typed column is of it.
    Type(FieldType),
    /// The pattern is found in the text.
    Matches(String),
    /// The value is one of these.
    OneOf(Vec<Scalar>),
    /// At least this.
    Min(Scalar),
    /// At most this.
    Max(Scalar),
    /// At least the first and at most the second.
    Between([Scalar; 2]),
    /// The number of Unicode characters.
    Length(Length),
    /// Earlier than this date, timestamp or time.
    Before(String),
    /// Later than this date, timestamp or time.
    After(String),
    /// An SQL expression that is true, or null.
    Expr(String),
}

impl Test {
    /// The key by which a definition names it, and the name of a rule that has no other.
    pub fn key(&self) -> &'static str {
        match self {
            Test::Required => "required",
            Test::Unique => "unique",
            Test::Type(_) => "type",
            Test::Matches(_) => "matches",
            Test::OneOf(_) => "one_of",
            Test::Min(_) => "min",
            Test::Max(_) => "max",
            Test::Between(_) => "between",
            Test::Length(_) => "length",
            Test::Before(_) => "before",
            Test::After(_) => "after",
            Test::Expr(_) => "expr",
        }
    }
}

/// How many characters a text may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Length {
    /// At least so many.
    pub min: usize,
    /// At most so many.
    pub max: Option<usize>,
}

/// A rule of one field.
///
/// In a definition it is a plain name (`required`, `unique`) or a mapping with the key of one test,
/// beside which `name`, `severity` and `message` may stand.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// What it asks.
    pub test: Test,
    /// What rejects and reports call it; the test's key if there is none.
    pub name: Option<String>,
    /// What becomes of a record that fails it; the step's `on_failure` if not said.
    pub severity: Option<Severity>,
    /// What rejects say, in place of the test's own words.
    pub message: Option<String>,
}

impl Rule {
    /// A rule without name, severity and message of its own.
    pub fn new(test: Test) -> Self {
        Self { test, name: None, severity: None, message: None }
    }

    /// The value is there: neither null nor an empty text.
    pub fn required() -> Self {
        Self::new(Test::Required)
    }

    /// No record before it has the value.
    pub fn unique() -> Self {
        Self::new(Test::Unique)
    }

    /// The text parses as this type.
    pub fn of_type(field_type: FieldType) -> Self {
        Self::new(Test::Type(field_type))
    }

    /// The pattern, see [`Pattern`], is found in the text.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] for a pattern that does not compile.
    pub fn matches(pattern: &str) -> Result<Self> {
        Pattern::new(pattern)
            .map_err(|error| Error::new(ErrorKind::Configuration, error.message))?;
        Ok(Self::new(Test::Matches(pattern.to_owned())))
    }

    /// The value is one of these.
    pub fn one_of<S: Into<Scalar>>(options: impl IntoIterator<Item = S>) -> Self {
        Self::new(Test::OneOf(options.into_iter().map(Into::into).collect()))
    }

    /// At least `limit`.
    pub fn min(limit: impl Into<Scalar>) -> Self {
        Self::new(Test::Min(limit.into()))
    }

    /// At most `limit`.
    pub fn max(limit: impl Into<Scalar>) -> Self {
        Self::new(Test::Max(limit.into()))
    }

    /// At least `low` and at most `high`.
    pub fn between(low: impl Into<Scalar>, high: impl Into<Scalar>) -> Self {
        Self::new(Test::Between([low.into(), high.into()]))
    }

    /// At least `min` and at most `max` characters.
    pub fn length(min: usize, max: Option<usize>) -> Self {
        Self::new(Test::Length(Length { min, max }))
    }

    /// Earlier than a date, timestamp or time in ISO 8601.
    pub fn before(limit: impl Into<String>) -> Self {
        Self::new(Test::Before(limit.into()))
    }

    /// Later than a date, timestamp or time in ISO 8601.
    pub fn after(limit: impl Into<String>) -> Self {
        Self::new(Test::After(limit.into()))
    }

    /// An SQL expression that is true, or null.
    pub fn expr(expression: impl Into<String>) -> Self {
        Self::new(Test::Expr(expression.into()))
    }

    /// Names the rule.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Says what becomes of a record that fails it.
    #[must_use]
    pub fn severity(mut self, severity: Severity) -> Self {
        self.severity = Some(severity);
        self
    }

    /// Says what rejects say.
    #[must_use]
    pub fn message(mut self, message: impl Into<String>) -> Self {
        self.message = Some(message.into());
        self
    }

    /// Where, below a rule at `at`, its test's value stands in the definition.
    pub(crate) fn value_at(&self, at: &Pointer) -> Pointer {
        match self.test {
            Test::Required | Test::Unique => at.clone(),
            _ => at.key(self.test.key()),
        }
    }
}

/// One rule, or a list of them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rules {
    /// The rules, in the order in which their reasons are listed.
    pub rules: Vec<Rule>,
    /// Whether the definition has a single rule in place of a list.
    single: bool,
}

impl Rules {
    /// Adds a rule.
    pub fn push(&mut self, rule: Rule) {
        self.single = false;
        self.rules.push(rule);
    }

    /// The rules with their places, where `at` is the place of all of them.
    pub(crate) fn places(&self, at: &Pointer) -> impl Iterator<Item = (Pointer, &Rule)> {
        self.rules
            .iter()
            .enumerate()
            .map(move |(i, rule)| (if self.single { at.clone() } else { at.index(i) }, rule))
    }

    /// Reads them, with all mistakes.
    pub(crate) fn read(value: &Value, at: &Pointer) -> Result<Self, Vec<Mistake>> {
        let Value::Array(items) = value else {
            return Ok(Self { rules: vec![read(value, at)?], single: true });
        };
        let mut rules = Vec::with_capacity(items.len());
        let mut mistakes = Vec::new();
        for (i, item) in items.iter().enumerate() {
            match read(item, &at.index(i)) {
                Ok(rule) => rules.push(rule),
                Err(more) => mistakes.extend(more),
            }
        }
        if mistakes.is_empty() { Ok(Self { rules, single: false }) } else { Err(mistakes) }
    }
}
