//! The trait by which expressions reach crates that must not know how they are evaluated.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, SchemaRef};

use crate::error::Result;
use crate::prune::Prune;
use crate::stage::Bound;

/// An SQL scalar expression, compiled against a schema.
pub trait Expression: Send + Sync + std::fmt::Debug {
    /// The text it was compiled from.
    fn text(&self) -> &str;
    /// The type of its values.
    fn data_type(&self) -> &DataType;
    /// Columns it reads.
    fn columns(&self) -> &[String];
    /// Its value for every row of a batch with the schema it was compiled against.
    ///
    /// # Errors
    /// Only for bugs and exhausted resources: a row that has no value (division by zero, a cast
    /// that fails, an overflow) is in [`Evaluated::failures`].
    fn evaluate(&self, columns: &RecordBatch) -> Result<Evaluated>;

    /// As a condition: what tells that it has a value, and is true, for none of many records.
    /// `None` where nothing does.
    fn prune(&self) -> Option<Arc<dyn Prune>> {
        None
    }
}

/// The values of an expression.
#[derive(Debug)]
pub struct Evaluated {
    /// One value for every row; null for rows that failed.
    pub values: ArrayRef,
    /// Rows that have no value, ascending, and why.
    pub failures: Vec<(u32, String)>,
}

/// Compiles expressions.
pub trait ExpressionCompiler: Send + Sync {
    /// Parses `text` and binds it to `schema`.
    ///
    /// # Errors
    /// [`ExpressionError`], pointing into the text.
    fn compile(
        &self,
        text: &str,
        schema: &SchemaRef,
    ) -> Result<Arc<dyn Expression>, ExpressionError>;

    /// Parses `text` without a schema, to find syntax mistakes before any I/O.
    ///
    /// # Errors
    /// [`ExpressionError`], pointing into the text.
    fn check(&self, text: &str) -> Result<(), ExpressionError>;

    /// Plans a query over records, the table `input`, which the text may call
    /// by another name, and over `others`. What it
    /// answers makes a table of its own of all batches ([`crate::OrderedStep::table`]); the records of the
    /// others are its references, in this order. `names` are those of all inputs that it might speak of.
    ///
    /// # Errors
    /// [`ExpressionError`]; always, where there is nothing that runs queries.
    fn query(
        &self,
        text: &str,
        input: (&str, &SchemaRef),
        others: &[(String, SchemaRef)],
        names: &[&str],
    ) -> Result<Bound, ExpressionError> {
        let _ = (text, input, others, names);
        Err(ExpressionError {
            message: "nothing here runs queries".to_owned(),
            span: None,
            hint: Some("measure it with a rule type of its own".to_owned()),
        })
    }
}

/// What is wrong with an expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ExpressionError {
    /// What is wrong, without a full stop.
    pub message: String,
    /// The part of the text it is about, in bytes.
    pub span: Option<Range<usize>>,
    /// What to do about it.
    pub hint: Option<String>,
}
