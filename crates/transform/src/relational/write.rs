//! Writing queries: a frame of our own around expressions of the user's.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use arrow_schema::{Schema, SchemaRef};
use datafusion_sql::sqlparser::ast::{
    self, Ident, SelectItem, SetExpr, Statement, Visit, VisitMut, Visitor, VisitorMut,
};
use datafusion_sql::sqlparser::dialect::GenericDialect;
use datafusion_sql::sqlparser::parser::Parser;
use gristmill_core::ExpressionError;

use super::catalog::functions;
use super::query::{Query, Table, query};
use super::{INPUT, SetFunctions, message};
use crate::expression::{bind, on_a_deep_stack, parse, resolve};

/// An expression of many records, its names resolved.
///
/// # Errors
/// When it cannot be parsed, or a name in it means nothing. Without a schema, columns are not
/// looked at.
pub(crate) fn expression(
    text: &str,
    sets: &'static SetFunctions,
    schema: Option<&SchemaRef>,
) -> Result<ast::Expr, ExpressionError> {
    on_a_deep_stack(|| {
        let mut tree = parse::parse(text)?;
        let columns: Option<&Schema> = schema.map(Arc::as_ref);
        resolve::resolve_with(text, &mut tree, functions(), columns, Some(sets))?;
        if let Some(schema) = schema {
            bind::inspect(text, functions(), schema, &tree)?;
        }
        Ok(tree)
    })
}

/// A name as SQL writes it, whatever is in it.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A result column.
pub(crate) fn named(expression: ast::Expr, name: &str) -> SelectItem {
    SelectItem::ExprWithAlias { expr: expression, alias: Ident::with_quote('"', name) }
}

/// A column as it is.
pub(crate) fn column(name: &str) -> SelectItem {
    SelectItem::UnnamedExpr(ast::Expr::Identifier(Ident::with_quote('"', name)))
}

/// The expression with this window for every function of many records that has none of its own.
///
/// # Errors
/// When the window is no SQL.
pub(crate) fn over(mut tree: ast::Expr, window: &str) -> Result<ast::Expr, ExpressionError> {
    let wrong = |why: String| ExpressionError { message: why, span: None, hint: None };
    let text = format!("count(*) OVER ({window})");
    let mut parser = Parser::new(&GenericDialect {})
        .try_with_sql(&text)
        .map_err(|found| wrong(found.to_string()))?;
    let model = parser.parse_expr().map_err(|found| wrong(found.to_string()))?;
    let ast::Expr::Function(ast::Function { over: Some(window), .. }) = model else {
        return Err(wrong(format!("`{window}` is no window")));
    };
    let _ = VisitMut::visit(&mut tree, &mut Over(window));
    Ok(tree)
}

struct Over(ast::WindowType);

impl VisitorMut for Over {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut ast::Expr) -> ControlFlow<()> {
        if let ast::Expr::Function(function) = expr
            && let [ast::ObjectNamePart::Identifier(name)] = &function.name.0[..]
            && function.over.is_none()
            && SetFunctions::all().canonical(&name.value).is_some()
        {
            function.over = Some(self.0.clone());
        }
        ControlFlow::Continue(())
    }
}

/// The query `SELECT results rest`.
///
/// # Errors
/// Never for a `rest` that is SQL.
pub(crate) fn select(results: Vec<SelectItem>, rest: &str) -> Result<ast::Query, ExpressionError> {
    let text = format!("SELECT 1 {rest}");
    let wrong = |why: String| ExpressionError { message: why, span: None, hint: None };
    let mut statements = Parser::parse_sql(&GenericDialect {}, &text)
        .map_err(|found| wrong(format!("`{rest}`: {found}")))?;
    match statements.pop() {
        Some(Statement::Query(mut query)) => {
            if let SetExpr::Select(select) = query.body.as_mut() {
                select.projection = results;
            }
            Ok(*query)
        }
        _ => Err(wrong(format!("`{rest}` is no part of a query"))),
    }
}

/// The plan of a query over the input.
///
/// # Errors
/// When it does not fit the columns.
pub(crate) fn planned(statement: ast::Query, tables: &[Table]) -> Result<Query, ExpressionError> {
    on_a_deep_stack(|| {
        query(statement, tables).map_err(|found| {
            let (message, hint) = message::planning(&found);
            ExpressionError { message, span: None, hint }
        })
    })
}

/// The table that a step gets.
pub(crate) fn input(schema: &SchemaRef) -> Table {
    Table { name: INPUT.to_owned(), schema: Arc::clone(schema) }
}

/// The names of the tables that a query speaks of but does not make itself, each once, and where
/// they stand in its text.
pub(crate) fn reads(text: &str, query: &ast::Query) -> Vec<(String, Option<Range<usize>>)> {
    let mut own = Own(Vec::new());
    let _ = query.visit(&mut own);
    let mut names: Vec<(String, Option<Range<usize>>)> = Vec::new();
    let _ = ast::visit_relations(query, |name| {
        if let Some(ast::ObjectNamePart::Identifier(ident)) = name.0.last()
            && !own.0.contains(&ident.value)
            && !names.iter().any(|(known, _)| known == &ident.value)
        {
            names.push((ident.value.clone(), parse::range(text, ident.span)));
        }
        ControlFlow::<()>::Continue(())
    });
    names
}

/// The names that `WITH` gives.
struct Own(Vec<String>);

impl Visitor for Own {
    type Break = ();

    fn pre_visit_query(&mut self, query: &ast::Query) -> ControlFlow<()> {
        let made = query.with.iter().flat_map(|with| &with.cte_tables);
        self.0.extend(made.map(|table| table.alias.name.value.clone()));
        ControlFlow::Continue(())
    }
}

/// A query of the user's.
///
/// # Errors
/// When it cannot be parsed, is no query, or holds what changes from run to run.
pub(crate) fn statement(text: &str) -> Result<ast::Query, ExpressionError> {
    on_a_deep_stack(|| {
        let mut query = parse::query(text)?;
        match VisitMut::visit(&mut query, &mut Changing { text }) {
            ControlFlow::Break(mistake) => Err(*mistake),
            ControlFlow::Continue(()) => Ok(query),
        }
    })
}

/// Refuses what changes from run to run, and gives functions and numbers the names and types that
/// they have in expressions.
struct Changing<'a> {
    text: &'a str,
}

impl VisitorMut for Changing<'_> {
    type Break = Box<ExpressionError>;

    fn pre_visit_expr(&mut self, expr: &mut ast::Expr) -> ControlFlow<Self::Break> {
        match expr {
            ast::Expr::Function(function) => {
                if let [ast::ObjectNamePart::Identifier(ident)] = &mut function.name.0[..] {
                    let name = ident.value.to_ascii_lowercase();
                    if let Some((message, hint)) = resolve::changing(&name, functions()) {
                        let span = parse::range(self.text, ident.span);
                        let mistake = parse::error(message, span, Some(hint.to_owned()));
                        return ControlFlow::Break(Box::new(mistake));
                    }
                    let canonical = SetFunctions::all().canonical(&name).unwrap_or(&name);
                    if name == "count_distinct"
                        && let ast::FunctionArguments::List(list) = &mut function.args
                    {
                        list.duplicate_treatment = Some(ast::DuplicateTreatment::Distinct);
                    }
                    ident.value = canonical.to_owned();
                    ident.quote_style = None;
                }
            }
            ast::Expr::Value(ast::ValueWithSpan { value: ast::Value::Number(digits, _), span })
                if resolve::is_double(digits) =>
            {
                *expr = resolve::double_literal(digits, *span);
            }
            ast::Expr::Value(ast::ValueWithSpan { value: ast::Value::Placeholder(name), span }) => {
                let hint = "parameters of a pipeline are written ${NAME}".to_owned();
                let message = format!("`{name}` stands for nothing here");
                let span = parse::range(self.text, *span);
                return ControlFlow::Break(Box::new(parse::error(message, span, Some(hint))));
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
