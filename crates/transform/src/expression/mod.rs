//! SQL scalar expressions over batches, by Apache DataFusion's expression crates.
//!
//! [`Sql`] compiles the expressions of `derive`, `filter` and `expr` rules. What holds:
//!
//! - **Names.** A name means the column written exactly so; without quotes, else the only column
//!   that differs in case alone. Fields of structs are `column.field`. Type names are those of
//!   pipelines.
//! - **Numbers.** `100` is an int, `0.5` an exact decimal, `1e9` a double. A literal takes the
//!   type of the column beside it: `fee * 0.5` is a double when `fee` is one, a decimal when it is
//!   that. Where a decimal and a double column meet, the result is a double. `/` of two ints is an
//!   int, as in SQL.
//! - **Text** is not a number: `aum * 2` with a string column is a mistake, as is comparing a
//!   string column with anything but text. A literal is read as what it is compared with:
//!   `as_of_date >= '2025-01-01'`.
//! - **Deterministic.** What changes from run to run (`now()`, `random()`, `uuid()`) is refused.
//!   The time zone is UTC.
//! - **Rows fail alone.** A row that has no value (division of an int or a decimal by zero, a cast
//!   that fails, an overflow) is a failure of that row; the others have theirs. Doubles follow
//!   IEEE 754: `1e0 / 0` is infinite.

pub(crate) mod bind;
pub(crate) mod evaluate;
pub(crate) mod literal;
pub(crate) mod message;
pub(crate) mod parse;
pub(crate) mod provider;
pub(crate) mod prune;
pub(crate) mod resolve;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::thread;

use arrow_schema::SchemaRef;
use datafusion_sql::sqlparser::ast::{self, visit_expressions};
use gristmill_core::{Bound, Expression, ExpressionCompiler, ExpressionError};

use evaluate::Compiled;
use provider::Functions;

/// Compiles SQL scalar expressions. Making one collects the functions: make it once and share it.
///
/// ```
/// use std::sync::Arc;
/// use arrow_array::{Int64Array, RecordBatch};
/// use gristmill_core::ExpressionCompiler;
/// use gristmill_transform::Sql;
///
/// let batch = RecordBatch::try_from_iter([(
///     "units",
///     Arc::new(Int64Array::from(vec![4, 0])) as arrow_array::ArrayRef,
/// )])?;
/// let sql = Sql::new();
/// let per_unit = sql.compile("100 / units", &batch.schema())?;
/// let evaluated = per_unit.evaluate(&batch)?;
/// assert_eq!(evaluated.failures, [(1, "division by zero".to_owned())]);
///
/// let wrong = sql.compile("100 / unit", &batch.schema()).unwrap_err();
/// assert_eq!((wrong.message.as_str(), wrong.span), ("no column `unit`", Some(6..10)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Sql {
    functions: Functions,
}

impl Sql {
    /// A compiler with every deterministic scalar function.
    pub fn new() -> Self {
        Self { functions: Functions::new() }
    }
}

impl Default for Sql {
    fn default() -> Self {
        Self::new()
    }
}

impl ExpressionCompiler for Sql {
    fn compile(
        &self,
        text: &str,
        schema: &SchemaRef,
    ) -> Result<Arc<dyn Expression>, ExpressionError> {
        on_a_deep_stack(|| {
            let mut tree = parse::parse(text)?;
            let columns = resolve::resolve(text, &mut tree, &self.functions, Some(schema))?;
            let binder = bind::Binder::new(text, &self.functions, schema)?;
            let (physical, data_type) = binder.bind(&tree)?;
            let columns = columns.into_iter().collect();
            let compiled = Compiled::new(text, physical, &data_type, columns);
            Ok(Arc::new(compiled) as Arc<dyn Expression>)
        })
    }

    fn check(&self, text: &str) -> Result<(), ExpressionError> {
        on_a_deep_stack(|| {
            let mut tree = parse::parse(text)?;
            resolve::resolve(text, &mut tree, &self.functions, None).map(drop)
        })
    }

    fn query(
        &self,
        text: &str,
        input: (&str, &SchemaRef),
        others: &[(String, SchemaRef)],
        names: &[&str],
    ) -> Result<Bound, ExpressionError> {
        crate::steps::query_over(text, input, others, names)
    }
}

/// Names in an expression, some of which may be columns; `None` if it is none.
pub(crate) fn names(text: &str) -> Option<Vec<String>> {
    let found = on_a_deep_stack(|| {
        let tree = parse::parse(text)?;
        let mut names = Vec::new();
        let _ = visit_expressions(&tree, |part| {
            match part {
                ast::Expr::Identifier(name) => names.push(name.value.clone()),
                // Of a struct, or of a table.
                ast::Expr::CompoundIdentifier(parts) => {
                    names.extend(parts.iter().map(|part| part.value.clone()));
                }
                _ => {}
            }
            ControlFlow::<()>::Continue(())
        });
        Ok(names)
    });
    found.ok()
}

/// Parser and planner recurse with large frames: 25 calls within each other can overflow the stack
/// of an ordinary thread. The stack's pages are only taken when they are used.
pub(crate) fn on_a_deep_stack<T: Send>(
    work: impl FnOnce() -> Result<T, ExpressionError> + Send,
) -> Result<T, ExpressionError> {
    const STACK: usize = 64 << 20;
    thread::scope(|scope| {
        let builder = thread::Builder::new().name("expression".to_owned()).stack_size(STACK);
        let worker = builder.spawn_scoped(scope, work).map_err(|found| ExpressionError {
            message: format!("cannot compile the expression: {found}"),
            span: None,
            hint: Some("a thread could not be started; is a limit of the system reached?".into()),
        })?;
        worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
