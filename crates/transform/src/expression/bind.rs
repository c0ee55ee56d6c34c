//! From a resolved syntax tree to something that can be evaluated: types, coercions, constants.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use datafusion_common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion_common::{DFSchema, DFSchemaRef, DataFusionError, ScalarValue};
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion_expr::simplify::SimplifyContext;
use datafusion_expr::{Expr as Logical, ExprSchemable, planner::ContextProvider};
use datafusion_optimizer::simplify_expressions::ExprSimplifier;
use datafusion_physical_expr::expressions::BinaryExpr;
use datafusion_physical_expr::{PhysicalExpr, create_physical_expr};
use datafusion_sql::planner::{ParserOptions, PlannerContext, SqlToRel};
use datafusion_sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Value, Visit,
    Visitor,
};
use gristmill_core::ExpressionError;
use gristmill_core::types::type_name;

use super::literal::fit_literals;
use super::message;
use super::parse::{error, span_of};
use super::provider::Functions;

/// Binds expressions to one schema.
pub(crate) struct Binder<'a> {
    text: &'a str,
    functions: &'a Functions,
    schema: DFSchemaRef,
    simplifier: ExprSimplifier,
}

/// What could not be planned.
enum Failure {
    /// DataFusion says why.
    Plan(DataFusionError),
    /// A part without columns has no value; the text literal it was made from, where it is one.
    Constant(String, Option<String>),
}

impl From<DataFusionError> for Failure {
    fn from(found: DataFusionError) -> Self {
        Self::Plan(found)
    }
}

impl<'a> Binder<'a> {
    pub(crate) fn new(
        text: &'a str,
        functions: &'a Functions,
        schema: &SchemaRef,
    ) -> Result<Self, ExpressionError> {
        let schema = DFSchema::try_from(Arc::clone(schema))
            .map_err(|found| error(message::planning(&found), None, None))?;
        let schema = Arc::new(schema);
        let context = SimplifyContext::builder()
            .with_schema(Arc::clone(&schema))
            .with_config_options(Arc::new(functions.options().clone()))
            .build();
        Ok(Self { text, functions, schema, simplifier: ExprSimplifier::new(context) })
    }

    /// The expression, ready to be evaluated, and the type of its values.
    pub(crate) fn bind(
        &self,
        tree: &Expr,
    ) -> Result<(Arc<dyn PhysicalExpr>, DataType), ExpressionError> {
        let planned = self.plan(tree);
        let plan_parts = planned.is_err(); // to find the least part that has no plan
        let mut inspector = Inspector { binder: self, tree, plan_parts };
        if let ControlFlow::Break(mistake) = tree.visit(&mut inspector) {
            return Err(*mistake);
        }
        let bound = planned.and_then(|(planned, _)| {
            let simplified = self.simplifier.simplify(planned)?;
            let physical = physical(&simplified, &self.schema)?;
            let data_type = physical.data_type(self.schema.as_arrow())?;
            // A function that cannot work on these types says so now, not for every record.
            let empty = RecordBatch::new_empty(Arc::clone(self.schema.inner()));
            physical.evaluate(&empty)?;
            Ok((physical, data_type))
        });
        bound.map_err(|failure| self.explain(tree, tree, &failure))
    }

    /// The logical plan with every coercion made, and its type.
    fn plan(&self, tree: &Expr) -> Result<(Logical, DataType), Failure> {
        let options = ParserOptions::new()
            .with_parse_float_as_decimal(true)
            .with_enable_ident_normalization(false);
        let planner = SqlToRel::new_with_options(self.functions, options);
        let planned =
            planner.sql_to_expr(tree.clone(), &self.schema, &mut PlannerContext::new())?;
        let fitted = fit_literals(planned, &self.schema)?;
        let coerced = self.simplifier.coerce(fitted, &self.schema)?;
        let data_type = coerced.get_type(self.schema.as_ref())?;
        check_constants(&coerced)?;
        Ok((coerced, data_type))
    }

    fn type_of(&self, tree: &Expr) -> Option<DataType> {
        self.plan(tree).ok().map(|(_, data_type)| data_type)
    }

    /// Finds what a node does with text where it should not.
    fn inspect(&self, tree: &Expr) -> Result<(), ExpressionError> {
        match tree {
            Expr::BinaryOp { left, op, right } if is_arithmetic(op) => {
                self.refuse_text(left, op)?;
                self.refuse_text(right, op)?;
            }
            Expr::BinaryOp { left, op, right } if is_comparison(op) => {
                self.refuse_comparison(left, right)?;
            }
            Expr::IsDistinctFrom(left, right) | Expr::IsNotDistinctFrom(left, right) => {
                self.refuse_comparison(left, right)?;
            }
            Expr::Between { expr, low, high, .. } => {
                self.refuse_comparison(expr, low)?;
                self.refuse_comparison(expr, high)?;
            }
            Expr::InList { expr, list, .. } => {
                for item in list {
                    self.refuse_comparison(expr, item)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn refuse_text(&self, side: &Expr, op: &BinaryOperator) -> Result<(), ExpressionError> {
        let computed = matches!(side, Expr::BinaryOp { op, .. } if is_arithmetic(op)); // never text
        if computed || !self.type_of(side).is_some_and(|data_type| data_type.is_string()) {
            return Ok(());
        }
        let shown = self.shown(side);
        let hint = match op {
            BinaryOperator::Plus | BinaryOperator::Minus if is_literal(side) => {
                "text is joined with `||`; an interval is written INTERVAL '1 day'".to_owned()
            }
            _ => cast_hint(&shown, "DOUBLE"),
        };
        let message = format!("`{shown}` is a string, and `{op}` computes with numbers");
        Err(error(message, span_of(self.text, side), Some(hint)))
    }

    /// Text is compared with text. A literal is read as what it is compared with.
    fn refuse_comparison(&self, left: &Expr, right: &Expr) -> Result<(), ExpressionError> {
        let (Some(left_type), Some(right_type)) = (self.type_of(left), self.type_of(right)) else {
            return Ok(());
        };
        for (text, text_type, other, other_type) in
            [(left, &left_type, right, &right_type), (right, &right_type, left, &left_type)]
        {
            let mixed = text_type.is_string() && !other_type.is_string();
            if mixed && !other_type.is_null() && !is_literal(text) {
                let (shown, other_shown) = (self.shown(text), self.shown(other));
                let other_type = type_name(&Field::new("", other_type.clone(), true));
                let message = format!(
                    "`{shown}` is a string and is compared with `{other_shown}`, {} {other_type}",
                    article(&other_type)
                );
                let hint = cast_hint(&shown, &other_type.to_uppercase());
                return Err(error(message, span_of(self.text, text), Some(hint)));
            }
        }
        Ok(())
    }

    fn explain(&self, tree: &Expr, root: &Expr, failure: &Failure) -> ExpressionError {
        match failure {
            Failure::Constant(message, literal) => {
                let span = literal
                    .as_deref()
                    .and_then(|literal| self.find_literal(root, literal))
                    .or_else(|| span_of(self.text, tree));
                error(message.clone(), span, None)
            }
            Failure::Plan(found) => {
                let span = span_of(self.text, tree);
                if let Expr::Function(function) = tree
                    && !message::is_about_data(found)
                    && let Some(types) = self.argument_types(function)
                {
                    let message = format!("`{}` does not take ({types})", function.name);
                    return error(message, span, Some(message::expected(found)));
                }
                error(message::planning(found), span, None)
            }
        }
    }

    fn argument_types(&self, function: &Function) -> Option<String> {
        let FunctionArguments::List(list) = &function.args else {
            return None;
        };
        let types: Option<Vec<String>> = list
            .args
            .iter()
            .map(|argument| match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => {
                    Some(type_name(&Field::new("", self.type_of(expr)?, true)))
                }
                _ => None,
            })
            .collect();
        Some(types?.join(", "))
    }

    fn find_literal(&self, root: &Expr, literal: &str) -> Option<Range<usize>> {
        let mut span = None;
        let _ = datafusion_sql::sqlparser::ast::visit_expressions(root, |expr| {
            let value = match expr {
                Expr::Value(value) => Some(&value.value),
                Expr::TypedString(typed) => Some(&typed.value.value),
                _ => None,
            };
            if matches!(value, Some(Value::SingleQuotedString(text)) if text == literal) {
                span = span_of(self.text, expr);
                return ControlFlow::Break(());
            }
            ControlFlow::<()>::Continue(())
        });
        span
    }

    /// The part as the user wrote it.
    fn shown(&self, tree: &Expr) -> String {
        let whole = matches!(tree, Expr::Identifier(_) | Expr::CompoundIdentifier(_));
        match span_of(self.text, tree) {
            Some(span) if whole => self.text[span].to_owned(),
            _ => tree.to_string(),
        }
    }
}

struct Inspector<'a> {
    binder: &'a Binder<'a>,
    tree: &'a Expr,
    plan_parts: bool,
}

impl Visitor for Inspector<'_> {
    type Break = Box<ExpressionError>;

    fn post_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Self::Break> {
        let mut found = self.binder.inspect(expr);
        if found.is_ok() && self.plan_parts {
            let planned = self.binder.plan(expr).map(drop);
            found = planned.map_err(|failure| self.binder.explain(expr, self.tree, &failure));
        }
        match found {
            Ok(()) => ControlFlow::Continue(()),
            Err(mistake) => ControlFlow::Break(Box::new(mistake)),
        }
    }
}

/// Finds text where an expression computes with numbers or compares with something else, also in one
/// that calls functions of many records.
pub(crate) fn inspect(
    text: &str,
    functions: &Functions,
    schema: &SchemaRef,
    tree: &Expr,
) -> Result<(), ExpressionError> {
    let binder = Binder::new(text, functions, schema)?;
    match tree.visit(&mut Inspector { binder: &binder, tree, plan_parts: false }) {
        ControlFlow::Break(mistake) => Err(*mistake),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// The physical form, in which integers that overflow are errors rather than wrong.
fn physical(expr: &Logical, schema: &DFSchema) -> Result<Arc<dyn PhysicalExpr>, DataFusionError> {
    let context = PhysicalPlanningContext::default();
    checked(create_physical_expr(expr, schema, &ExecutionProps::new(), &context)?)
}

/// The same expression, in which integers that overflow are errors.
pub(crate) fn checked(
    physical: Arc<dyn PhysicalExpr>,
) -> Result<Arc<dyn PhysicalExpr>, DataFusionError> {
    let checked = physical.transform_up(|node| {
        Ok(match node.downcast_ref::<BinaryExpr>() {
            Some(binary) => {
                let (left, right) = (Arc::clone(binary.left()), Arc::clone(binary.right()));
                let checked =
                    BinaryExpr::new(left, *binary.op(), right).with_fail_on_overflow(true);
                Transformed::yes(Arc::new(checked) as Arc<dyn PhysicalExpr>)
            }
            None => Transformed::no(node),
        })
    })?;
    Ok(checked.data)
}

/// Evaluates the parts that have no columns, so that a date that does not exist is a mistake in
/// the definition and not in every record.
fn check_constants(expr: &Logical) -> Result<(), Failure> {
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let one = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options)
        .map_err(DataFusionError::from)?;
    let mut failure = None;
    expr.apply(|node| {
        if matches!(node, Logical::Literal(..)) {
            return Ok(TreeNodeRecursion::Jump);
        }
        if !node.column_refs().is_empty() {
            return Ok(TreeNodeRecursion::Continue);
        }
        let value = physical(node, &DFSchema::empty()).and_then(|node| node.evaluate(&one));
        match value {
            Err(found) if message::is_about_data(&found) => {
                failure = Some(Failure::Constant(message::failure(&found), text_literal(node)));
                Ok(TreeNodeRecursion::Stop)
            }
            _ => Ok(TreeNodeRecursion::Jump),
        }
    })?;
    failure.map_or(Ok(()), Err)
}

fn text_literal(expr: &Logical) -> Option<String> {
    let Logical::Cast(cast) = expr else {
        return None;
    };
    match cast.expr.as_ref() {
        Logical::Literal(
            ScalarValue::Utf8(text) | ScalarValue::Utf8View(text) | ScalarValue::LargeUtf8(text),
            _,
        ) => text.clone(),
        _ => None,
    }
}

fn is_arithmetic(op: &BinaryOperator) -> bool {
    matches!(
        op,
        BinaryOperator::Plus
            | BinaryOperator::Minus
            | BinaryOperator::Multiply
            | BinaryOperator::Divide
            | BinaryOperator::Modulo
    )
}

fn is_comparison(op: &BinaryOperator) -> bool {
    matches!(
        op,
        BinaryOperator::Eq
            | BinaryOperator::NotEq
            | BinaryOperator::Lt
            | BinaryOperator::LtEq
            | BinaryOperator::Gt
            | BinaryOperator::GtEq
    )
}

fn is_literal(expr: &Expr) -> bool {
    match expr {
        Expr::Nested(inner) => is_literal(inner),
        Expr::Value(_) => true,
        _ => false,
    }
}

fn article(type_name: &str) -> &'static str {
    if type_name.starts_with(['a', 'e', 'i', 'o', 'u', 'I']) { "an" } else { "a" }
}

fn cast_hint(shown: &str, data_type: &str) -> String {
    format!("cast it: CAST({shown} AS {data_type}), or a `cast` step before")
}
