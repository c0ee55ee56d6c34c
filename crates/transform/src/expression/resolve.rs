//! Names: columns, struct fields and functions, and what an expression must not contain.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use arrow_schema::{DataType, Fields, Schema};
use datafusion_expr::Volatility;
use datafusion_sql::sqlparser::ast::{
    self, DuplicateTreatment, Expr, Function, FunctionArguments, Ident, ObjectNamePart, Query,
    TypedString, Value, ValueWithSpan, VisitMut, VisitorMut,
};
use gristmill_core::ExpressionError;

use super::parse::{error, range, span_of};
use super::provider::Functions;
use crate::relational::SetFunctions;
use crate::suggest;

const AGGREGATES: [&str; 22] = [
    "sum",
    "count",
    "avg",
    "mean",
    "min",
    "max",
    "median",
    "stddev",
    "stddev_pop",
    "stddev_samp",
    "var",
    "var_pop",
    "var_samp",
    "variance",
    "array_agg",
    "string_agg",
    "first_value",
    "last_value",
    "approx_distinct",
    "approx_median",
    "bool_and",
    "bool_or",
];
const WINDOWS: [&str; 8] =
    ["row_number", "rank", "dense_rank", "lag", "lead", "ntile", "nth_value", "percent_rank"];
const CLOCKS: [&str; 10] = [
    "now",
    "current_timestamp",
    "current_date",
    "current_time",
    "today",
    "localtime",
    "localtimestamp",
    "getdate",
    "sysdate",
    "clock_timestamp",
];
const CHANCES: [&str; 5] = ["random", "rand", "uuid", "gen_random_uuid", "newid"];

/// Makes every name in the tree the exact name of a column, a field or a function, and refuses
/// what is not a deterministic scalar expression. Without a schema, columns are not looked at.
/// Answers the columns that are read.
pub(super) fn resolve(
    text: &str,
    tree: &mut Expr,
    functions: &Functions,
    schema: Option<&Schema>,
) -> Result<BTreeSet<String>, ExpressionError> {
    resolve_with(text, tree, functions, schema, None)
}

/// The same for an expression that may call functions of many records, where there are some.
pub(crate) fn resolve_with(
    text: &str,
    tree: &mut Expr,
    functions: &Functions,
    schema: Option<&Schema>,
    sets: Option<&SetFunctions>,
) -> Result<BTreeSet<String>, ExpressionError> {
    let mut resolver = Resolver { text, functions, schema, sets, columns: BTreeSet::new() };
    match VisitMut::visit(tree, &mut resolver) {
        ControlFlow::Break(mistake) => Err(*mistake),
        ControlFlow::Continue(()) => Ok(resolver.columns),
    }
}

struct Resolver<'a> {
    text: &'a str,
    functions: &'a Functions,
    schema: Option<&'a Schema>,
    sets: Option<&'a SetFunctions>,
    columns: BTreeSet<String>,
}

type Flow = Result<(), Box<ExpressionError>>;

impl VisitorMut for Resolver<'_> {
    type Break = Box<ExpressionError>;

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<Self::Break> {
        ControlFlow::Break(subquery(None))
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        match self.node(expr) {
            Ok(()) => ControlFlow::Continue(()),
            Err(mistake) => ControlFlow::Break(mistake),
        }
    }
}

impl Resolver<'_> {
    fn node(&mut self, expr: &mut Expr) -> Flow {
        match expr {
            Expr::Identifier(name) => self.column(name),
            Expr::CompoundIdentifier(path) => self.path(path),
            Expr::Function(function) => {
                if let Some(column) = self.column_like_a_function(function) {
                    *expr = Expr::Identifier(column);
                    return self.node(expr);
                }
                self.function(function)
            }
            Expr::Value(ValueWithSpan { value: Value::Number(digits, _), span }) => {
                if is_double(digits) {
                    *expr = double_literal(digits, *span);
                }
                Ok(())
            }
            Expr::Value(ValueWithSpan { value: Value::Placeholder(name), span }) => {
                let hint = "parameters of a pipeline are written ${NAME}".to_owned();
                let message = format!("`{name}` stands for nothing here");
                Err(Box::new(error(message, range(self.text, *span), Some(hint))))
            }
            Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => {
                Err(subquery(span_of(self.text, expr)))
            }
            Expr::Wildcard(_) | Expr::QualifiedWildcard(..) => {
                Err(self.refuse(expr, "`*` has no value in an expression", "name a column"))
            }
            Expr::CompoundFieldAccess { .. } | Expr::Array(_) | Expr::Map(_) => Err(self.refuse(
                expr,
                "an expression cannot look into lists or maps",
                "make a record of each element with an `explode` step first",
            )),
            Expr::Lambda(_) => {
                Err(self.refuse(expr, "an expression cannot hold a function", "name a function"))
            }
            _ => Ok(()),
        }
    }

    fn refuse(&self, expr: &Expr, message: &str, hint: &str) -> Box<ExpressionError> {
        Box::new(error(message, span_of(self.text, expr), Some(hint.to_owned())))
    }

    fn column(&mut self, name: &mut Ident) -> Flow {
        let Some(schema) = self.schema else {
            return Ok(());
        };
        let known = names(schema.fields());
        name.value = self.find(name, &known, "column")?;
        if name.value.starts_with('@') {
            name.quote_style = Some('"'); // else it is a variable
        }
        self.columns.insert(name.value.clone());
        Ok(())
    }

    fn path(&mut self, path: &mut [Ident]) -> Flow {
        let Some(schema) = self.schema else {
            return Ok(());
        };
        let mut fields = schema.fields();
        for i in 0..path.len() {
            let kind = if i == 0 { "column" } else { "field" };
            path[i].value = self.find(&path[i], &names(fields), kind)?;
            let Some((_, field)) = fields.find(&path[i].value) else {
                return Ok(()); // `find` answers only names that are there
            };
            match field.data_type() {
                DataType::Struct(inner) => fields = inner,
                _ if i + 1 == path.len() => {}
                _ => {
                    let message = format!("`{}` has no fields", path[i].value);
                    let hint = format!("its type is {}", gristmill_core::types::type_name(field));
                    return Err(Box::new(error(
                        message,
                        range(self.text, path[i + 1].span),
                        Some(hint),
                    )));
                }
            }
        }
        self.columns.insert(path[0].value.clone());
        Ok(())
    }

    /// The exact name that is meant: itself, or, where it is not quoted, the only one that differs
    /// in case alone.
    fn find(
        &self,
        name: &Ident,
        known: &[&str],
        kind: &str,
    ) -> Result<String, Box<ExpressionError>> {
        if known.contains(&name.value.as_str()) {
            return Ok(name.value.clone());
        }
        let span = range(self.text, name.span);
        let folded = name.value.to_lowercase();
        let alike: Vec<&str> = match name.quote_style {
            Some(_) => Vec::new(),
            None => known.iter().copied().filter(|known| known.to_lowercase() == folded).collect(),
        };
        match alike[..] {
            [only] => Ok(only.to_owned()),
            [] => {
                let hint = match name.quote_style {
                    Some('"') if suggest::nearest(&name.value, known.iter().copied()).is_none() => {
                        format!("text stands between single quotes: '{}'", name.value)
                    }
                    _ => suggest::hint(&name.value, known.iter().copied()),
                };
                Err(Box::new(error(format!("no {kind} `{}`", name.value), span, Some(hint))))
            }
            _ => {
                let message = format!("`{}` may be {}", name.value, listed(&alike, " or "));
                let hint = format!("quote the one you mean: \"{}\"", alike[0]);
                Err(Box::new(error(message, span, Some(hint))))
            }
        }
    }

    /// Some columns have names that SQL reads as a function without arguments: `user`.
    fn column_like_a_function(&self, function: &Function) -> Option<Ident> {
        let FunctionArguments::None = function.args else {
            return None;
        };
        let [ObjectNamePart::Identifier(name)] = &function.name.0[..] else {
            return None;
        };
        let clock = CLOCKS.contains(&name.value.to_ascii_lowercase().as_str());
        (!clock).then(|| name.clone())
    }

    fn function(&self, function: &mut Function) -> Flow {
        let [ObjectNamePart::Identifier(ident)] = &mut function.name.0[..] else {
            let message = format!("no function `{}`", function.name);
            return Err(Box::new(error(message, None, None)));
        };
        let span = range(self.text, ident.span);
        let name = ident.value.to_ascii_lowercase();
        let fail = |message: String, hint: &str| {
            Err(Box::new(error(message, span.clone(), Some(hint.to_owned()))))
        };
        let windows = self.sets.is_some_and(|sets| std::ptr::eq(sets, SetFunctions::all()));
        let over = function.over.is_some() && !windows;
        if !over && let Some(canonical) = self.sets.and_then(|sets| sets.canonical(&name)) {
            ident.value = canonical.to_owned();
            ident.quote_style = None;
            if name == "count_distinct"
                && let FunctionArguments::List(list) = &mut function.args
            {
                list.duplicate_treatment = Some(DuplicateTreatment::Distinct);
            }
            return Ok(());
        }
        let records = function.over.is_some() || WINDOWS.contains(&name.as_str());
        if records && self.sets.is_some() {
            return fail(
                format!("`{name}` looks at other records, which it cannot do here"),
                "compute it in a `window` step",
            );
        }
        if records {
            return fail(
                format!("`{name}` looks at other records; an expression sees one"),
                "compute it in a `window` step",
            );
        }
        if CLOCKS.contains(&name.as_str())
            && self.schema.is_some_and(|schema| schema.index_of(&name).is_ok())
        {
            let hint = format!("for the column, write \"{name}\"");
            return fail(format!("`{name}` is the clock's in SQL"), &hint);
        }
        if let Some((message, hint)) = changing(&name, self.functions) {
            return fail(message, hint);
        }
        let known = self.functions.get(&name);
        if known.is_none() {
            if AGGREGATES.contains(&name.as_str()) {
                let hint = match name.as_str() {
                    "min" => "for the least of several columns write `least(a, b)`",
                    "max" => "for the greatest of several columns write `greatest(a, b)`",
                    _ => "compute it in an `aggregate` step",
                };
                let message = format!("`{name}` looks at many records; an expression sees one");
                return fail(message, hint);
            }
            let sets = self.sets.into_iter().flat_map(SetFunctions::names);
            let hint = match suggest::nearest(&name, self.functions.names().chain(sets)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "the functions are those of Apache DataFusion's SQL reference".to_owned(),
            };
            return fail(format!("no function `{}`", ident.value), &hint);
        }
        let distinct = matches!(
            &function.args,
            FunctionArguments::List(list)
                if list.duplicate_treatment == Some(DuplicateTreatment::Distinct)
        );
        if function.filter.is_some() || distinct || !function.within_group.is_empty() {
            return fail(
                format!("`{name}` is a function of one record and takes no DISTINCT or FILTER"),
                "use CASE WHEN … THEN … END",
            );
        }
        ident.value = name;
        ident.quote_style = None;
        Ok(())
    }
}

/// Why a function must not be called, where its value changes from run to run or from call to call;
/// and what to do instead.
pub(crate) fn changing(name: &str, functions: &Functions) -> Option<(String, &'static str)> {
    if CLOCKS.contains(&name) {
        return Some((
            format!(
                "`{name}` changes from run to run, so the same input would not give the same output"
            ),
            "pass the time to the run, `--param TODAY=2025-01-31`, and write DATE '${TODAY}'",
        ));
    }
    let volatile = functions
        .get(name)
        .is_some_and(|known| known.signature().volatility == Volatility::Volatile);
    (volatile || CHANCES.contains(&name)).then(|| {
        (
            format!(
                "`{name}` gives another value on every call, so the same input would not give the same output"
            ),
            "derive the value from the record, for example with `sha256` of its key, or pass it with `--param`",
        )
    })
}

fn subquery(span: Option<std::ops::Range<usize>>) -> Box<ExpressionError> {
    let hint = "bring values from elsewhere into the record with a `lookup` step".to_owned();
    Box::new(error("an expression cannot hold a query", span, Some(hint)))
}

fn names(fields: &Fields) -> Vec<&str> {
    fields.iter().map(|field| field.name().as_str()).collect()
}

fn listed(names: &[&str], between: &str) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(between)
}

/// Numbers with an exponent, or with more digits than a decimal holds, are doubles; other numbers
/// with a point are exact decimals.
pub(crate) fn is_double(digits: &str) -> bool {
    digits.contains(['e', 'E']) || digits.bytes().filter(u8::is_ascii_digit).count() > 38
}

pub(crate) fn double_literal(
    digits: &str,
    span: datafusion_sql::sqlparser::tokenizer::Span,
) -> Expr {
    let value = Value::SingleQuotedString(digits.replace('_', ""));
    Expr::TypedString(TypedString {
        data_type: ast::DataType::DoublePrecision,
        value: ValueWithSpan { value, span },
        uses_odbc_syntax: false,
    })
}
