//! The types of number literals.
//!
//! A literal with a point is an exact decimal of its own digits. Beside a double it becomes a
//! double; beside a decimal column an integer literal becomes a decimal of its own digits, so that
//! `aum * 100` with a `decimal(18, 2)` is a `decimal(22, 2)`. Where a double and a decimal
//! column meet, the decimal becomes a double: the other way round, which is DataFusion's own for
//! comparisons, loses large and small doubles.

use arrow_schema::DataType;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{DFSchema, Result, ScalarValue};
use datafusion_expr::expr::{Between, InList};
use datafusion_expr::{Cast, Expr, ExprSchemable, Operator};

/// Gives every number literal, and every decimal that meets a double, the type it should have.
pub(crate) fn fit_literals(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    Ok(expr.transform_up(|node| fit(node, schema))?.data)
}

fn fit(mut node: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let arithmetic = match &node {
        Expr::BinaryExpr(binary) => matches!(
            binary.op,
            Operator::Plus
                | Operator::Minus
                | Operator::Multiply
                | Operator::Divide
                | Operator::Modulo
        ),
        _ => false,
    };
    let mut meeting: Vec<&mut Expr> = match &mut node {
        Expr::BinaryExpr(binary) => vec![&mut binary.left, &mut binary.right],
        Expr::Between(Between { expr, low, high, .. }) => vec![expr, low, high],
        Expr::InList(InList { expr, list, .. }) => {
            std::iter::once(expr.as_mut()).chain(list).collect()
        }
        Expr::ScalarFunction(function) => function.args.iter_mut().collect(),
        Expr::Case(case) => {
            let results = case.when_then_expr.iter_mut().map(|(_, result)| result.as_mut());
            results.chain(case.else_expr.as_deref_mut()).collect()
        }
        _ => return Ok(Transformed::no(node)),
    };
    let types: Vec<DataType> =
        meeting.iter().map(|expr| expr.get_type(schema)).collect::<Result<_>>()?;
    let doubles = types.iter().any(DataType::is_floating);
    let decimals = types.iter().any(DataType::is_decimal);
    for (expr, data_type) in meeting.iter_mut().zip(&types) {
        if doubles && data_type.is_decimal() {
            to_double(expr);
        } else if arithmetic && decimals && !doubles {
            to_decimal(expr);
        }
    }
    Ok(Transformed::yes(node))
}

fn to_double(expr: &mut Expr) {
    if let Expr::Literal(value, _) = expr
        && let Ok(double) = value.cast_to(&DataType::Float64)
    {
        *expr = Expr::Literal(double, None);
        return;
    }
    let inner = std::mem::take(expr);
    *expr = Expr::Cast(Cast::new(Box::new(inner), DataType::Float64));
}

fn to_decimal(expr: &mut Expr) {
    if let Expr::Literal(ScalarValue::Int64(Some(value)), _) = expr {
        let digits = value.unsigned_abs().checked_ilog10().unwrap_or(0) + 1;
        let value = ScalarValue::Decimal128(Some(i128::from(*value)), digits as u8, 0);
        *expr = Expr::Literal(value, None);
    }
}
