//! Conditions over the bounds of columns: for which records a condition is true is told without
//! them where it compares columns with literals.

use arrow_array::{ArrayRef, BooleanArray, Scalar};
use arrow_ord::cmp::{gt, gt_eq, lt, lt_eq};
use arrow_schema::ArrowError;
use datafusion_common::ScalarValue;
use datafusion_expr::Operator;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::{
    BinaryExpr, Column, InListExpr, IsNotNullExpr, IsNullExpr, Literal, NotExpr,
};
use gristmill_core::{Known, Prune};

/// A condition of which it can be told that it is true for no record, and fails for none: a record
/// for which a condition has no value is rejected, not filtered.
#[derive(Debug)]
pub(crate) struct Bounded {
    columns: Vec<usize>,
    test: Test,
}

/// What must hold so that a condition can be true, or can fail. Columns are places in
/// [`Bounded::columns`].
#[derive(Debug)]
enum Test {
    All(Vec<Test>),
    Any(Vec<Test>),
    Compare(usize, Operator, ArrayRef),
    HasNull(usize),
    HasValue(usize),
}

impl Bounded {
    /// What is to be told of a condition; `None` if nothing is.
    pub(crate) fn of(condition: &dyn PhysicalExpr) -> Option<Self> {
        let mut columns = Vec::new();
        let (test, _) = test(condition, &mut columns)?;
        Some(Self { columns, test })
    }
}

impl Prune for Bounded {
    fn columns(&self) -> &[usize] {
        &self.columns
    }

    fn may_pass(&self, rows: u64, known: &[Known]) -> bool {
        self.test.may_hold(rows, known)
    }
}

/// The test of a condition, and whether the condition may fail.
fn test(condition: &dyn PhysicalExpr, columns: &mut Vec<usize>) -> Option<(Test, bool)> {
    if let Some(binary) = condition.downcast_ref::<BinaryExpr>() {
        let (left, right) = (binary.left().as_ref(), binary.right().as_ref());
        match binary.op() {
            Operator::And => return conjunction(test(left, columns)?, test(right, columns)),
            Operator::Or => {
                let (left, left_fails) = test(left, columns)?;
                let (right, right_fails) = test(right, columns)?;
                return Some((Test::Any(vec![left, right]), left_fails || right_fails));
            }
            _ => {}
        }
    }
    Some((single(condition, columns)?, false))
}

/// What stands behind an `AND` is computed for records for which what stands before it is true or
/// null. So it may be anything, even nothing that can be told of, where that is false.
fn conjunction(
    (left, left_fails): (Test, bool),
    right: Option<(Test, bool)>,
) -> Option<(Test, bool)> {
    Some(match right {
        _ if left_fails => (left, true),
        Some((right, false)) => (Test::All(vec![left, right]), false),
        Some((right, true)) => (Test::All(vec![left.or_null(), right]), true),
        None => (left.or_null(), true),
    })
}

/// A condition without other ones in it.
fn single(condition: &dyn PhysicalExpr, columns: &mut Vec<usize>) -> Option<Test> {
    if let Some(binary) = condition.downcast_ref::<BinaryExpr>() {
        let (left, right) = (binary.left().as_ref(), binary.right().as_ref());
        return comparison(left, *binary.op(), right, columns)
            .or_else(|| comparison(right, binary.op().swap()?, left, columns));
    }
    if let Some(list) = condition.downcast_ref::<InListExpr>().filter(|list| !list.negated()) {
        let value = list.expr().as_ref();
        let items = list.list().iter();
        let items = items.map(|item| comparison(value, Operator::Eq, item.as_ref(), columns));
        return Some(Test::Any(items.collect::<Option<_>>()?));
    }
    if let Some(is_null) = condition.downcast_ref::<IsNullExpr>() {
        return Some(Test::HasNull(column(is_null.arg().as_ref(), columns)?));
    }
    if let Some(is_not_null) = condition.downcast_ref::<IsNotNullExpr>() {
        return Some(Test::HasValue(column(is_not_null.arg().as_ref(), columns)?));
    }
    let (flag, wanted) = match condition.downcast_ref::<NotExpr>() {
        Some(not) => (not.arg().as_ref(), false),
        None => (condition, true),
    };
    let wanted = ScalarValue::Boolean(Some(wanted)).to_array().ok()?;
    Some(Test::Compare(column(flag, columns)?, Operator::Eq, wanted))
}

/// A column beside a literal.
fn comparison(
    left: &dyn PhysicalExpr,
    op: Operator,
    right: &dyn PhysicalExpr,
    columns: &mut Vec<usize>,
) -> Option<Test> {
    use Operator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    let literal = right.downcast_ref::<Literal>()?.value();
    if !matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq) || literal.is_null() {
        return None;
    }
    let literal = literal.to_array().ok()?;
    Some(Test::Compare(column(left, columns)?, op, literal))
}

fn column(expression: &dyn PhysicalExpr, columns: &mut Vec<usize>) -> Option<usize> {
    let place = expression.downcast_ref::<Column>()?.index();
    let known = columns.iter().position(|column| *column == place);
    Some(known.unwrap_or_else(|| {
        columns.push(place);
        columns.len() - 1
    }))
}

impl Test {
    /// The same, or that one of the columns may be null.
    fn or_null(self) -> Self {
        let mut columns = Vec::new();
        self.columns(&mut columns);
        let nulls = columns.into_iter().map(Self::HasNull);
        Self::Any(std::iter::once(self).chain(nulls).collect())
    }

    fn columns(&self, columns: &mut Vec<usize>) {
        match self {
            Self::All(tests) | Self::Any(tests) => {
                tests.iter().for_each(|test| test.columns(columns));
            }
            Self::Compare(column, ..) | Self::HasNull(column) | Self::HasValue(column) => {
                columns.push(*column);
            }
        }
    }

    fn may_hold(&self, rows: u64, known: &[Known]) -> bool {
        match self {
            Self::All(tests) => tests.iter().all(|test| test.may_hold(rows, known)),
            Self::Any(tests) => tests.iter().any(|test| test.may_hold(rows, known)),
            Self::HasNull(column) => known[*column].nulls != Some(0),
            Self::HasValue(column) => known[*column].nulls != Some(rows),
            Self::Compare(column, op, literal) => match &known[*column] {
                Known { nulls, .. } if *nulls == Some(rows) => false,
                Known { bounds: Some((least, greatest)), .. } => {
                    // Bounds of another type than the literal tell nothing.
                    within(least, greatest, *op, literal).unwrap_or(true)
                }
                Known { bounds: None, .. } => true,
            },
        }
    }
}

/// Whether a value between the bounds may compare so with the literal.
fn within(
    least: &ArrayRef,
    greatest: &ArrayRef,
    op: Operator,
    literal: &ArrayRef,
) -> Result<bool, ArrowError> {
    let literal = Scalar::new(literal);
    let is = |answer: BooleanArray| answer.iter().all(|answer| answer.unwrap_or(true));
    Ok(match op {
        Operator::Eq => is(lt_eq(least, &literal)?) && is(gt_eq(greatest, &literal)?),
        Operator::NotEq => is(lt(least, &literal)?) || is(gt(greatest, &literal)?),
        Operator::Lt => is(lt(least, &literal)?),
        Operator::LtEq => is(lt_eq(least, &literal)?),
        Operator::Gt => is(gt(greatest, &literal)?),
        Operator::GtEq => is(gt_eq(greatest, &literal)?),
        _ => true,
    })
}
