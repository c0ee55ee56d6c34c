//! New columns, each an SQL expression with aggregate or window functions.

use datafusion_sql::sqlparser::ast::Expr;
use gristmill_core::{ExpressionError, Mistake, Pointer};
use indexmap::IndexMap;

use super::expression_mistake;
use crate::relational::{SetFunctions, expression};

/// What is wrong with these columns, as far as that is seen without others.
pub(super) fn mistakes(
    columns: &IndexMap<String, String>,
    sets: &'static SetFunctions,
) -> Vec<Mistake> {
    let nameless = columns.contains_key("");
    let nameless = nameless.then(|| Mistake::new(at(""), "a column needs a name").on_key());
    let wrong = trees(columns, |_, text| expression(text, sets, None)).err();
    nameless.into_iter().chain(wrong.unwrap_or_default()).collect()
}

/// The trees of these columns, each computed on its own, so that a mistake is said where it is.
pub(super) fn trees(
    columns: &IndexMap<String, String>,
    compute: impl Fn(&str, &str) -> Result<Expr, ExpressionError>,
) -> Result<IndexMap<&str, Expr>, Vec<Mistake>> {
    let (mut trees, mut mistakes) = (IndexMap::new(), Vec::new());
    for (name, text) in columns {
        match compute(name, text) {
            Ok(tree) => drop(trees.insert(name.as_str(), tree)),
            Err(found) => mistakes.push(expression_mistake(at(name), found)),
        }
    }
    if mistakes.is_empty() { Ok(trees) } else { Err(mistakes) }
}

fn at(name: &str) -> Pointer {
    Pointer::root().key("columns").key(name)
}
