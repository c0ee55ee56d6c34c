//! Compiles the step for the columns it is given, or says everything that does not fit them.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use arrow_schema::{DataType, Field, SchemaRef};
use gristmill_core::text::parse;
use gristmill_core::types::type_name;
use gristmill_core::{
    Bound, Expression, ExpressionCompiler, FieldType, Grain, Mistake, Pointer, Severity,
};

use crate::judge::{Among, Judge, Limit};
use crate::limit::{self, Measure, Round};
use crate::options::{Options, Quality};
use crate::ordered::{InOrder, UniqueKey};
use crate::pattern::Pattern;
use crate::plan::expression_mistake;
use crate::quality::Measures;
use crate::rule::{Rule, Test};
use crate::scalar::Scalar;
use crate::step::{Check, Checks, Ruled};
use crate::suggest::nearest;

pub(crate) fn bind(
    options: &Options,
    schema: &SchemaRef,
    expressions: &dyn ExpressionCompiler,
) -> Result<Bound, Vec<Mistake>> {
    let mut binder = Binder {
        options,
        schema,
        expressions,
        unknown: Vec::new(),
        mistakes: Vec::new(),
        keys: Vec::new(),
    };
    let columns = binder.columns();
    let records = binder.records();
    binder.unique();
    let measures = binder.measures();
    let Binder { unknown, mut mistakes, keys, .. } = binder;
    mistakes.splice(0..0, unknown_columns(&unknown, schema));
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    let checks = columns.iter().flat_map(|column: &Ruled| &column.checks).chain(&records);
    let aborts = checks
        .clone()
        .any(|check| check.severity == Severity::Abort)
        .then(|| Arc::new(Mutex::new(Vec::new())));
    let ordered = (aborts.is_some() || !keys.is_empty())
        .then(|| Box::new(InOrder::new(aborts.clone(), keys.clone())) as _);
    let local = Checks::new(columns, records, keys, aborts, measures);
    Ok(Bound {
        local: Some(Box::new(local)),
        ordered,
        output: Arc::clone(schema),
        grain: Grain::Preserves,
    })
}

struct Binder<'a> {
    options: &'a Options,
    schema: &'a SchemaRef,
    expressions: &'a dyn ExpressionCompiler,
    unknown: Vec<(String, Mistake)>,
    mistakes: Vec<Mistake>,
    keys: Vec<UniqueKey>,
}

impl Binder<'_> {
    /// The column's index; remembers it as unknown if there is none.
    fn find(&mut self, name: &str, at: Pointer, on_key: bool) -> Option<usize> {
        let found = self.schema.index_of(name).ok();
        if found.is_none() {
            let mut mistake = Mistake::new(at, String::new());
            mistake.on_key = on_key;
            self.unknown.push((name.to_owned(), mistake));
        }
        found
    }

    fn columns(&mut self) -> Vec<Ruled> {
        let options = self.options;
        let mut columns = Vec::with_capacity(options.rules.len());
        for (name, rules) in &options.rules {
            let at = Pointer::root().key("rules").key(name);
            let Some(index) = self.find(name, at.clone(), true) else { continue };
            let mut checks = Vec::with_capacity(rules.rules.len());
            for (at, rule) in rules.places(&at) {
                if rule.test == Test::Unique {
                    self.keys.push(UniqueKey {
                        columns: vec![index],
                        names: vec![name.clone()],
                        rule: rule.name.clone().unwrap_or_else(|| "unique".to_owned()),
                        nulls: options.unique_nulls,
                        severity: rule.severity.unwrap_or(options.on_failure),
                        message: rule.message.clone(),
                        failed: Arc::new(AtomicU64::new(0)),
                    });
                } else if let Some(judge) = self.judge(rule, index, &rule.value_at(&at)) {
                    checks.push(Check {
                        field: Some(name.clone()),
                        name: rule.name.clone().unwrap_or_else(|| rule.test.key().to_owned()),
                        severity: rule.severity.unwrap_or(options.on_failure),
                        message: rule.message.clone(),
                        judge,
                        failed: AtomicU64::new(0),
                    });
                }
            }
            columns.push(Ruled { index, name: name.clone(), checks, nulls: AtomicU64::new(0) });
        }
        columns
    }

    fn records(&mut self) -> Vec<Check> {
        let options = self.options;
        let mut records = Vec::with_capacity(options.record_rules.len());
        for (i, rule) in options.record_rules.iter().enumerate() {
            let at = Pointer::root().key("record_rules").index(i).key("expr");
            if let Some(expression) = self.condition(&rule.expr, &at) {
                records.push(Check {
                    field: None,
                    name: rule.name.clone(),
                    severity: rule.severity.unwrap_or(options.on_failure),
                    message: rule.message.clone(),
                    judge: Judge::Expr(expression),
                    failed: AtomicU64::new(0),
                });
            }
        }
        records
    }

    fn unique(&mut self) {
        let options = self.options;
        let at = Pointer::root().key("unique");
        for (i, names) in options.unique.keys.iter().enumerate() {
            if let Some(columns) = self.key(names, |column| options.unique.place(&at, i, column)) {
                self.keys.push(UniqueKey {
                    columns,
                    names: names.clone(),
                    rule: "unique".to_owned(),
                    nulls: options.unique_nulls,
                    severity: options.on_failure,
                    message: None,
                    failed: Arc::new(AtomicU64::new(0)),
                });
            }
        }
    }

    fn key(
        &mut self,
        names: &[String],
        place: impl Fn(Option<usize>) -> Pointer,
    ) -> Option<Vec<usize>> {
        if names.is_empty() {
            self.mistakes.push(Mistake::new(place(None), "a key without columns"));
        }
        let found: Vec<Option<usize>> = names
            .iter()
            .enumerate()
            .map(|(i, name)| self.find(name, place(Some(i)), false))
            .collect();
        found.into_iter().collect()
    }

    fn measures(&mut self) -> Option<Measures> {
        let Quality::On { keys } = &self.options.quality else { return None };
        let at = Pointer::root().key("quality").key("keys");
        let mut columns: Vec<Vec<usize>> = Vec::new();
        for key in self.keys.iter().map(|key| &key.columns) {
            if !columns.contains(key) {
                columns.push(key.clone());
            }
        }
        for (i, names) in keys.keys.iter().enumerate() {
            let key = self.key(names, |column| keys.place(&at, i, column));
            columns.extend(key.filter(|key| !columns.contains(key)));
        }
        Some(Measures::new(self.schema, columns))
    }

    fn condition(&mut self, text: &str, at: &Pointer) -> Option<Arc<dyn Expression>> {
        match self.expressions.compile(text, self.schema) {
            Ok(expression) if *expression.data_type() == DataType::Boolean => Some(expression),
            Ok(expression) => {
                let field = Field::new("", expression.data_type().clone(), true);
                let message =
                    format!("`{text}` is {}, not a condition", with_article(&type_name(&field)));
                self.mistakes.push(
                    Mistake::new(at.clone(), message)
                        .hint("a rule's expression is true or false, for example `aum >= 0`"),
                );
                None
            }
            Err(error) => {
                self.mistakes.push(expression_mistake(at.clone(), error));
                None
            }
        }
    }

    fn judge(&mut self, rule: &Rule, index: usize, at: &Pointer) -> Option<Judge> {
        let schema = self.schema;
        let field = schema.field(index);
        let result = match &rule.test {
            Test::Required => Ok(Judge::Required),
            Test::Type(wanted) => judge_type(field, *wanted),
            Test::Matches(pattern) if is_text(field) => {
                Pattern::new(pattern).map(Judge::Matches).map_err(|error| (error.message, None))
            }
            Test::Length(length) if is_text(field) => Ok(Judge::Length(*length)),
            Test::Matches(_) | Test::Length(_) | Test::Unique => Err(not_text(field, &rule.test)),
            Test::OneOf(options) => {
                let mut good = true;
                let among = judge_one_of(field, options, |i, message| {
                    good = false;
                    let at = if let Some(i) = i { at.index(i) } else { at.clone() };
                    self.mistakes.push(Mistake::new(at, message));
                });
                return among.filter(|_| good);
            }
            Test::Expr(text) => return self.condition(text, at).map(Judge::Expr),
            Test::Min(low) => {
                let low = low.text();
                range(field, Some(&low), None, Edge::In, Limit::Min(low.to_string()))
            }
            Test::Max(high) => {
                let high = high.text();
                range(field, None, Some(&high), Edge::In, Limit::Max(high.to_string()))
            }
            Test::Between([low, high]) => {
                let (low, high) = (low.text(), high.text());
                let limit = Limit::Between(low.to_string(), high.to_string());
                range(field, Some(&low), Some(&high), Edge::In, limit)
            }
            Test::Before(high) => before_after(field, &rule.test).and_then(|()| {
                range(field, None, Some(high), Edge::Out, Limit::Before(high.clone()))
            }),
            Test::After(low) => before_after(field, &rule.test)
                .and_then(|()| range(field, Some(low), None, Edge::Out, Limit::After(low.clone()))),
        };
        match result {
            Ok(judge) => Some(judge),
            Err((message, hint)) => {
                let mistake = Mistake::new(at.clone(), message);
                self.mistakes.push(match hint {
                    Some(hint) => mistake.hint(hint),
                    None => mistake,
                });
                None
            }
        }
    }
}

/// What does not fit, and what to do about it.
type Misfit = (String, Option<String>);

fn is_text(field: &Field) -> bool {
    matches!(FieldType::of(field), Some(FieldType::String | FieldType::Json))
}

fn a_type(field: &Field) -> String {
    format!("`{}` is {}", field.name(), with_article(&type_name(field)))
}

fn with_article(name: &str) -> String {
    let vowel = name.starts_with(['a', 'e', 'i', 'o', 'I']);
    format!("{} {name}", if vowel { "an" } else { "a" })
}

fn not_text(field: &Field, test: &Test) -> Misfit {
    let message = format!("{}; `{}` judges text", a_type(field), test.key());
    (message, Some("compare it with `between`, `one_of` or `expr`".to_owned()))
}

fn before_after(field: &Field, test: &Test) -> Result<(), Misfit> {
    if !Measure::of(field.data_type()).is_some_and(Measure::is_number) {
        return Ok(());
    }
    let key = test.key();
    let other = if key == "before" { "max" } else { "min" };
    let message = format!("{}; `{key}` compares dates and times", a_type(field));
    Err((message, Some(format!("use `{other}` for numbers"))))
}

fn judge_type(field: &Field, wanted: FieldType) -> Result<Judge, Misfit> {
    let found = FieldType::of(field);
    if is_text(field) {
        return Ok(match (found, wanted) {
            (_, FieldType::String | FieldType::Binary)
            | (Some(FieldType::Json), FieldType::Json) => Judge::Holds,
            _ => Judge::Type(wanted),
        });
    }
    let holds = match (field.data_type(), wanted) {
        _ if found == Some(wanted) => true,
        (
            DataType::Decimal32(p, s) | DataType::Decimal64(p, s) | DataType::Decimal128(p, s),
            FieldType::Decimal { precision, scale },
        ) => *s <= scale && *p as i16 - i16::from(*s) <= i16::from(precision) - i16::from(scale),
        (data_type, FieldType::Int) => data_type.is_integer(),
        (DataType::Float32, FieldType::Double) | (DataType::Date64, FieldType::Date) => true,
        (DataType::Time32(_) | DataType::Time64(_), FieldType::Time)
        | (DataType::Timestamp(_, None), FieldType::Timestamp)
        | (DataType::Timestamp(_, Some(_)), FieldType::TimestampTz) => true,
        _ => false,
    };
    if holds {
        return Ok(Judge::Holds);
    }
    Err((format!("{}, not {}", a_type(field), with_article(&wanted.to_string())), None))
}

/// Whether a limit itself passes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Edge {
    In,
    Out,
}

fn range(
    field: &Field,
    low: Option<&str>,
    high: Option<&str>,
    edge: Edge,
    limit: Limit,
) -> Result<Judge, Misfit> {
    let Some(measure) = Measure::of(field.data_type()) else {
        return Err(no_measure(field, low.or(high).unwrap_or_default()));
    };
    let plain = |message| (message, None);
    if matches!(measure, Measure::Double | Measure::Single) {
        let low = low.map(limit::number).transpose().map_err(plain)?;
        let high = high.map(limit::number).transpose().map_err(plain)?;
        let (low, high) = (low.unwrap_or(f64::NEG_INFINITY), high.unwrap_or(f64::INFINITY));
        return Ok(Judge::Float(low, high, limit));
    }
    // A limit between two values of the column: the values on the right side of it pass.
    let (low, high) = match edge {
        Edge::In => (
            low.map(|low| limit::whole(low, measure, Round::Up)).transpose(),
            high.map(|high| limit::whole(high, measure, Round::Down)).transpose(),
        ),
        Edge::Out => (
            low.map(|low| limit::whole(low, measure, Round::Down).map(|low| low + 1)).transpose(),
            high.map(|high| limit::whole(high, measure, Round::Up).map(|high| high - 1))
                .transpose(),
        ),
    };
    let low = low.map_err(plain)?.unwrap_or(i128::MIN);
    let high = high.map_err(plain)?.unwrap_or(i128::MAX);
    Ok(Judge::Whole(low, high, limit))
}

fn no_measure(field: &Field, limit: &str) -> Misfit {
    let name = field.name();
    if !is_text(field) {
        return (format!("{}, which has no order that limits know", a_type(field)), None);
    }
    let (example, what) = if limit::is_time(limit) {
        let wanted = if limit.len() > 10 {
            "timestamp"
        } else if limit.contains('-') {
            "date"
        } else {
            "time"
        };
        (wanted, "dates and times")
    } else {
        ("decimal(18, 2)", "numbers")
    };
    let message = format!(
        "`{name}` is a {}; declare its type (`columns: {{{name}: {example}}}` or a cast step) to compare it with {what}",
        type_name(field)
    );
    (message, None)
}

fn judge_one_of(
    field: &Field,
    options: &[Scalar],
    mut wrong: impl FnMut(Option<usize>, String),
) -> Option<Judge> {
    let texts: Vec<String> = options.iter().map(|option| option.text().into_owned()).collect();
    let mut each = texts.iter().enumerate();
    let mut refuse = |i: usize, text: &str, why: Option<String>| {
        let message = format!(
            "`{text}` cannot be a value of `{}`, {}",
            field.name(),
            with_article(&type_name(field))
        );
        wrong(Some(i), why.unwrap_or(message));
    };
    let among = if is_text(field) {
        Among::texts(texts.iter().map(|text| text.as_str().into()))
    } else if *field.data_type() == DataType::Boolean {
        let mut bools = Vec::new();
        each.for_each(|(i, text)| match parse::bool(text.as_bytes()) {
            Some(value) => bools.push(value),
            None => refuse(i, text, None),
        });
        Among::Bools(bools)
    } else {
        match Measure::of(field.data_type()) {
            Some(Measure::Double | Measure::Single) => {
                let mut floats = Vec::new();
                each.for_each(|(i, text)| match limit::number(text) {
                    Ok(number) => floats.push(number),
                    Err(message) => refuse(i, text, Some(message)),
                });
                Among::Floats(floats)
            }
            Some(measure) => Among::Whole(
                each.by_ref()
                    .filter_map(|(i, text)| {
                        let down = limit::whole(text, measure, Round::Down);
                        match (down, limit::whole(text, measure, Round::Up)) {
                            (Ok(down), Ok(up)) if down == up => return Some(down),
                            (Err(message), _) => refuse(i, text, Some(message)),
                            _ => refuse(i, text, None),
                        }
                        None
                    })
                    .collect(),
            ),
            None => {
                let message = format!("{}, which `one_of` cannot compare", a_type(field));
                wrong(None, message);
                return None;
            }
        }
    };
    let mut shown = texts.iter().take(3).map(String::as_str).collect::<Vec<_>>().join(", ");
    if texts.len() > 3 {
        shown.push_str(&format!(" (and {} more)", texts.len() - 3));
    }
    Some(Judge::OneOf(among, shown))
}

/// One mistake for all columns that are not there, with those that are.
fn unknown_columns(unknown: &[(String, Mistake)], schema: &SchemaRef) -> Option<Mistake> {
    const SHOWN: usize = 40;
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in unknown {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    let mut mistake = unknown.first()?.1.clone();
    let there: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    mistake.message = match names.as_slice() {
        [name] => format!("there is no column `{name}`"),
        _ => {
            let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            format!("there are no columns {}", names.join(", "))
        }
    };
    let meant: Vec<String> =
        names
            .iter()
            .filter_map(|name| Some((name, nearest(name, there.iter().copied())?)))
            .map(|(name, near)| {
                if names.len() == 1 {
                    format!("`{near}`")
                } else {
                    format!("`{near}` for `{name}`")
                }
            })
            .collect();
    let mut hint = String::new();
    if !meant.is_empty() {
        hint = format!("did you mean {}? ", meant.join(", "));
    }
    let more = match there.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    hint.push_str(&format!("the columns are {}{more}", there[..there.len().min(SHOWN)].join(", ")));
    Some(mistake.hint(hint))
}
