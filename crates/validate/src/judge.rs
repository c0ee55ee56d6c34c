//! Tests compiled for a column: which rows fail, a column at a time, and in which words.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type};
use arrow_array::{
    Array, ArrayAccessor, ArrayRef, ArrowNativeTypeOp, ArrowPrimitiveType, PrimitiveArray,
    RecordBatch,
};
use arrow_buffer::NullBuffer;
use arrow_schema::DataType;
use gristmill_core::text::{ValueError, parse, value_text};
use gristmill_core::{Error, Expression, FieldType, Result};
use hashbrown::HashSet;

use crate::arrays::{shortened, wide, with_text, with_whole};
use crate::pattern::Pattern;
use crate::rule::Length;

/// A test compiled for a column.
#[derive(Debug)]
pub(crate) enum Judge {
    /// The column's type says it already.
    Holds,
    /// Neither null nor an empty text.
    Required,
    /// A text that parses.
    Type(FieldType),
    /// A text in which the pattern is found.
    Matches(Pattern),
    /// A value of a set, and the set in words.
    OneOf(Among, String),
    /// From the first to the second, in the column's units.
    Whole(i128, i128, Limit),
    /// From the first to the second.
    Float(f64, f64, Limit),
    /// A text of so many characters.
    Length(Length),
    /// True or null.
    Expr(Arc<dyn Expression>),
}

/// A limit in the words of the definition.
#[derive(Debug)]
pub(crate) enum Limit {
    Min(String),
    Max(String),
    Between(String, String),
    Before(String),
    After(String),
}

/// The values that `one_of` allows.
#[derive(Debug)]
pub(crate) enum Among {
    /// So few that looking at each is fastest.
    FewTexts(Vec<Box<str>>),
    Texts(HashSet<Box<str>>),
    Whole(HashSet<i128>),
    Floats(Vec<f64>),
    Bools(Vec<bool>),
}

impl Among {
    pub(crate) fn texts(options: impl ExactSizeIterator<Item = Box<str>>) -> Self {
        if options.len() <= 8 {
            Among::FewTexts(options.collect())
        } else {
            Among::Texts(options.collect())
        }
    }
}

/// Rows that fail a test, ascending, and why those of them do whose reason is not the test's.
#[derive(Debug, Default)]
pub(crate) struct Failing {
    pub(crate) rows: Vec<u32>,
    pub(crate) why: Vec<(u32, String)>,
}

impl From<Vec<u32>> for Failing {
    fn from(rows: Vec<u32>) -> Self {
        Self { rows, why: Vec::new() }
    }
}

impl Judge {
    /// The rows that fail. `column` is the rule's, `columns` are all of them.
    pub(crate) fn failing(&self, column: &ArrayRef, columns: &RecordBatch) -> Result<Failing> {
        Ok(match self {
            Judge::Holds => Failing::default(),
            Judge::Required => missing(column).into(),
            Judge::Type(field_type) => texts(column, |text| !parses(text, *field_type)).into(),
            Judge::Matches(pattern) => {
                let glance = |view| pattern.is_match_view(view);
                texts_told(column, glance, |text| pattern.is_match(text)).into()
            }
            Judge::OneOf(among, _) => not_among(column, among).into(),
            Judge::Whole(low, high, _) => {
                with_whole!(*column, array => outside(array, *low, *high), _ => Vec::new()).into()
            }
            Judge::Float(low, high, _) => floats_outside(column, *low, *high).into(),
            Judge::Length(length) => texts(column, |text| !length.allows(text)).into(),
            Judge::Expr(expression) => return untrue(expression.as_ref(), columns),
        })
    }

    /// Why `value`, a row's value of the rule's column, fails; null when there is none.
    pub(crate) fn describe(&self, value: Option<&str>) -> String {
        let Some(value) = value else {
            return match self {
                Judge::Expr(expression) => format!("fails `{}`", expression.text()),
                _ => "is missing".to_owned(),
            };
        };
        let shown = shortened(value);
        match self {
            Judge::Holds => format!("`{shown}` fails"),
            Judge::Required => "is missing".to_owned(),
            Judge::Type(field_type) => {
                let value = value.to_owned();
                ValueError { value, field_type: *field_type, formats: Vec::new() }.to_string()
            }
            Judge::Matches(pattern) => format!("`{shown}` does not match {}", pattern.text()),
            Judge::OneOf(_, options) => format!("`{shown}` is not one of {options}"),
            Judge::Whole(.., limit) | Judge::Float(.., limit) => limit.describe(&shown),
            Judge::Length(length) => length.describe(&shown, value.chars().count()),
            Judge::Expr(expression) => format!("`{shown}` fails `{}`", expression.text()),
        }
    }
}

impl Limit {
    fn describe(&self, shown: &str) -> String {
        if shown == "NaN" {
            return "`NaN` is not a number".to_owned();
        }
        match self {
            Limit::Min(limit) => format!("`{shown}` is below {limit}"),
            Limit::Max(limit) => format!("`{shown}` is above {limit}"),
            Limit::Between(low, high) => format!("`{shown}` is not between {low} and {high}"),
            Limit::Before(limit) => format!("`{shown}` is not before {limit}"),
            Limit::After(limit) => format!("`{shown}` is not after {limit}"),
        }
    }
}

impl Length {
    fn allows(&self, text: &str) -> bool {
        // A character is 1 to 4 bytes: most texts need no counting.
        let max = self.max.unwrap_or(usize::MAX);
        if text.len() < self.min {
            return false;
        }
        if text.len() <= max && text.len() >= self.min.saturating_mul(4) {
            return true;
        }
        let n = text.chars().count();
        n >= self.min && n <= max
    }

    fn describe(&self, shown: &str, n: usize) -> String {
        let wanted = match (self.min, self.max) {
            (min, Some(max)) if min == max => format!("{min}"),
            (0, Some(max)) => format!("at most {max}"),
            (min, Some(max)) => format!("{min} to {max}"),
            (min, None) => format!("at least {min}"),
        };
        let s = if n == 1 { "" } else { "s" };
        format!("`{shown}` has {n} character{s}, not {wanted}")
    }
}

/// Whether a text is a value of the type. An empty text is a null to every type but text.
fn parses(text: &str, field_type: FieldType) -> bool {
    let bytes = text.as_bytes();
    match field_type {
        FieldType::String | FieldType::Binary => true,
        FieldType::Json => serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok(),
        _ if text.is_empty() => true,
        FieldType::Bool => parse::bool(bytes).is_some(),
        FieldType::Int => parse::int(bytes).is_some(),
        FieldType::Double => parse::double(bytes).is_some(),
        FieldType::Decimal { precision, scale } => {
            parse::decimal(bytes, precision, scale).is_some()
        }
        FieldType::Date => parse::date(bytes).is_some(),
        FieldType::Time => parse::time(bytes).is_some(),
        FieldType::Timestamp | FieldType::TimestampTz => parse::timestamp(bytes).is_some(),
        _ => true,
    }
}

/// The rows that are null or an empty text.
pub(crate) fn missing(column: &ArrayRef) -> Vec<u32> {
    let nulls = column.logical_nulls().filter(|nulls| nulls.null_count() > 0);
    let mut rows = match column.as_string_view_opt() {
        // A view begins with the length.
        Some(array) => {
            let empty = |view: &u128| *view as u32 == 0;
            failing(array.views(), array.nulls(), empty, |_| true)
        }
        None => texts(column, str::is_empty),
    };
    if let Some(nulls) = nulls {
        rows.extend((!nulls.inner()).set_indices().map(|row| row as u32));
        rows.sort_unstable();
    }
    rows
}

/// The rows, nulls left out, that fail: those that `suspect` points out and `fails` confirms.
fn failing<T>(
    values: &[T],
    nulls: Option<&NullBuffer>,
    suspect: impl Fn(&T) -> bool,
    mut fails: impl FnMut(usize) -> bool,
) -> Vec<u32> {
    let valid = |row: usize| nulls.is_none_or(|nulls| nulls.is_valid(row));
    let mut rows = Vec::new();
    // Usually none of a block is suspect, which is found without a branch for each value.
    for (block, values) in values.chunks(64).enumerate() {
        if !values.iter().fold(false, |any, value| any | suspect(value)) {
            continue;
        }
        let base = block * 64;
        let rest = values.iter().enumerate().filter(|(_, value)| suspect(value));
        rows.extend(
            rest.map(|(at, _)| base + at)
                .filter(|&row| valid(row) && fails(row))
                .map(|row| row as u32),
        );
    }
    rows
}

/// The rows, nulls left out, for which `fails` is true.
fn rows<A: ArrayAccessor>(array: A, mut fails: impl FnMut(A::Item) -> bool) -> Vec<u32> {
    let mut judge = |row: &usize| fails(array.value(*row));
    match array.nulls() {
        None => (0..array.len()).filter(&mut judge).map(|row| row as u32).collect(),
        Some(nulls) => nulls.valid_indices().filter(&mut judge).map(|row| row as u32).collect(),
    }
}

/// The rows, nulls left out, whose text is not `good`, which a glance at the view may tell.
fn texts_told(
    column: &ArrayRef,
    glance: impl Fn(u128) -> Option<bool>,
    good: impl Fn(&str) -> bool,
) -> Vec<u32> {
    match column.as_string_view_opt() {
        Some(array) => {
            let suspect = |view: &u128| glance(*view) != Some(true);
            failing(array.views(), array.nulls(), suspect, |row| !good(array.value(row)))
        }
        None => texts(column, |text| !good(text)),
    }
}

fn texts(column: &ArrayRef, fails: impl FnMut(&str) -> bool) -> Vec<u32> {
    with_text!(*column, array => rows(array, fails), _ => Vec::new())
}

fn not_among(column: &ArrayRef, among: &Among) -> Vec<u32> {
    match among {
        Among::FewTexts(options) => {
            // Short texts are equal if their views are.
            let views: Vec<u128> =
                options.iter().filter_map(|option| inline_view(option)).collect();
            let glance = |view| {
                views.iter().fold(false, |any, other| any | (*other == view)).then_some(true)
            };
            texts_told(column, glance, |text| options.iter().any(|option| **option == *text))
        }
        Among::Texts(options) => texts(column, |text| !options.contains(text)),
        Among::Whole(options) => with_whole!(*column, array => {
            rows(array, |value| !options.contains(&wide(value)))
        }, _ => Vec::new()),
        Among::Floats(options) => match column.data_type() {
            DataType::Float32 => rows(column.as_primitive::<Float32Type>(), |value| {
                !options.iter().any(|&option| option as f32 == value)
            }),
            _ => rows(column.as_primitive::<Float64Type>(), |value| !options.contains(&value)),
        },
        Among::Bools(options) => rows(column.as_boolean(), |value| !options.contains(&value)),
    }
}

/// The view that holds a text, if one can.
fn inline_view(text: &str) -> Option<u128> {
    let mut view = [0; 16];
    view[..4].copy_from_slice(&u32::try_from(text.len()).ok()?.to_le_bytes());
    view[4..].get_mut(..text.len())?.copy_from_slice(text.as_bytes());
    Some(u128::from_le_bytes(view))
}

/// The rows outside `low ..= high`, limits that may lie beyond the type.
fn outside<T>(array: &PrimitiveArray<T>, low: i128, high: i128) -> Vec<u32>
where
    T: ArrowPrimitiveType,
    T::Native: TryFrom<i128>,
{
    let native = |limit: i128| T::Native::try_from(limit).ok();
    let low = native(low).or((low < 0).then_some(T::Native::MIN_TOTAL_ORDER));
    let high = native(high).or((high > 0).then_some(T::Native::MAX_TOTAL_ORDER));
    match (low, high) {
        (Some(low), Some(high)) => out_of(array, low, high),
        _ => rows(array, |_| true),
    }
}

fn out_of<T: ArrowPrimitiveType>(
    array: &PrimitiveArray<T>,
    low: T::Native,
    high: T::Native,
) -> Vec<u32> {
    let fails = |value: T::Native| !(value >= low && value <= high); // NaN fails
    failing(array.values(), array.nulls(), |value| fails(*value), |_| true)
}

fn floats_outside(column: &ArrayRef, low: f64, high: f64) -> Vec<u32> {
    match column.data_type() {
        DataType::Float32 => out_of(column.as_primitive::<Float32Type>(), low as f32, high as f32),
        _ => out_of(column.as_primitive::<Float64Type>(), low, high),
    }
}

fn untrue(expression: &dyn Expression, columns: &RecordBatch) -> Result<Failing> {
    let evaluated = expression.evaluate(columns)?;
    let values = evaluated
        .values
        .as_boolean_opt()
        .ok_or_else(|| Error::internal(format!("`{}` is not a truth value", expression.text())))?;
    let mut failing = Failing::from(rows(values, |value| !value));
    if !evaluated.failures.is_empty() {
        failing.rows.extend(evaluated.failures.iter().map(|(row, _)| *row));
        failing.rows.sort_unstable();
        failing.rows.dedup();
        failing.why = evaluated
            .failures
            .into_iter()
            .map(|(row, why)| (row, format!("cannot be computed: {why}")))
            .collect();
    }
    Ok(failing)
}

/// The values that a record rule's expression read, in words: ` with a = 1, b = 2`.
pub(crate) fn values_read(
    expression: &dyn Expression,
    columns: &RecordBatch,
    row: usize,
) -> String {
    let read: Vec<String> = expression
        .columns()
        .iter()
        .take(4)
        .filter_map(|name| {
            let value = value_text(columns.column_by_name(name)?, row);
            Some(match value {
                Some(value) => format!("{name} = `{}`", shortened(&value)),
                None => format!("{name} = null"),
            })
        })
        .collect();
    if read.is_empty() { String::new() } else { format!(" with {}", read.join(", ")) }
}
