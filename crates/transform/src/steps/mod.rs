//! The steps, one module each.

mod aggregate;
mod cast;
mod clean;
mod compare;
mod compose;
mod computed;
mod convert;
mod dedupe;
mod derive;
mod drop;
mod explode;
mod filter;
mod flatten;
mod hashed;
mod join;
mod keys;
mod lookup;
mod map;
mod matching;
mod other;
mod pivot;
mod select;
mod sort;
mod sql;
mod unpivot;
mod window;

use gristmill_core::{ExpressionError, Mistake, Pointer, StepKind};

pub use aggregate::Aggregate;
pub use cast::{Cast, CastTo};
pub use clean::{Clean, Names, Text, Trim};
pub use compare::{Compare, Tolerance};
pub use dedupe::{Dedupe, Keep};
pub use derive::Derive;
pub use drop::Drop;
pub use explode::{Empty, Explode};
pub use filter::Filter;
pub use flatten::{Flatten, Structs};
pub use join::{How, Join};
pub use lookup::{Early, Lookup, Otherwise};
pub use map::MapFields;
pub use pivot::{Others, Pivot, PivotAggregate};
pub use select::Select;
pub use sort::Sort;
pub use sql::SqlQuery;
pub(crate) use sql::query_over;
pub use unpivot::{NullValues, Unpivot};
pub use window::Window;

/// Every step of this crate.
pub static KINDS: &[StepKind] = &[
    clean::KIND,
    cast::KIND,
    map::KIND,
    select::KIND,
    drop::KIND,
    derive::KIND,
    filter::KIND,
    flatten::KIND,
    explode::KIND,
    dedupe::KIND,
    lookup::KIND,
    join::KIND,
    compare::KIND,
    aggregate::KIND,
    pivot::KIND,
    unpivot::KIND,
    sort::KIND,
    window::KIND,
    sql::KIND,
];

/// What is wrong with the expression at `at`.
fn expression_mistake(at: Pointer, found: ExpressionError) -> Mistake {
    let mut mistake = Mistake::new(at, found.message);
    mistake.span = found.span;
    mistake.hint = found.hint;
    mistake
}

/// Why a record has no value, with the expression that has none.
fn failed(why: &str, expression: &str) -> String {
    let shown: String = expression.chars().take(60).collect();
    let more = if shown.len() < expression.len() { "…" } else { "" };
    format!("{why} in `{shown}{more}`")
}
